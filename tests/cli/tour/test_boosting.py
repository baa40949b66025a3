"""The tour's boosting: tumours are told apart, contributions are drawn."""

import pytest


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    first, second = toured.parts["boosting"].rows
    assert float(first.score.split()[1]) > 0.97
    assert 0.6 < float(second.score.split()[1]) < 0.9
    assert (toured.out / "boosting-contributions.png").stat().st_size > 5_000
