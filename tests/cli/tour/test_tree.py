"""The tour's trees: tumours are told apart, a tree is drawn."""

import pytest

from kernelmill.cli.tour import Context, tree


def test_rows_and_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    first, second, third, fourth = tree.rows(Context("cpu", tmp_path))
    assert float(first.score.split()[1]) > 0.9
    assert 0.6 < float(second.score.split()[1]) < 0.9
    assert float(third.score.split()[1]) > 0.97
    assert 0.6 < float(fourth.score.split()[1]) < 0.95
    for name in ("breast-cancer-tree", "breast-cancer-forest"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
