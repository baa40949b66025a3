"""The tour's trees: tumours are told apart, a tree is drawn."""

import pytest


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    first, second, third, fourth = toured.parts["tree"].rows
    assert float(first.score.split()[1]) > 0.9
    assert 0.6 < float(second.score.split()[1]) < 0.9
    assert float(third.score.split()[1]) > 0.97
    assert 0.6 < float(fourth.score.split()[1]) < 0.95
    for name in ("breast-cancer-tree", "breast-cancer-forest"):
        assert (toured.out / f"{name}.png").stat().st_size > 10_000
