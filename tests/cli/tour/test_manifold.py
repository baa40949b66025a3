"""The tour's maps: both keep digits beside their like."""

import pytest

from kernelmill.cli.tour import Context, manifold


def test_rows_and_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    found = list(manifold.rows(Context("cpu", tmp_path)))
    assert [row.model for row in found] == ["TSNE", "UMAP"]
    assert all(float(row.score.split()[1].rstrip(",")) > 0.97 for row in found)
    assert all(float(row.score.split()[3]) > 0.98 for row in found)
    assert (tmp_path / "digits-maps.png").stat().st_size > 20_000
