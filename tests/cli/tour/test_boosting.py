"""The tour's boosting: tumours are told apart, contributions are drawn."""

import pytest

from kernelmill.cli.tour import Context, boosting


def test_rows_and_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    first, second = boosting.rows(Context("cpu", tmp_path))
    assert float(first.score.split()[1]) > 0.97
    assert 0.6 < float(second.score.split()[1]) < 0.9
    assert (tmp_path / "boosting-contributions.png").stat().st_size > 5_000
