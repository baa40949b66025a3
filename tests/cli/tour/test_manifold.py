"""The tour's maps: both keep digits beside their like."""

import pytest


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    found = toured.parts["manifold"].rows
    assert [row.model for row in found] == ["TSNE", "UMAP"]
    assert all(float(row.score.split()[1].rstrip(",")) > 0.97 for row in found)
    assert all(float(row.score.split()[3]) > 0.98 for row in found)
    assert (toured.out / "digits-maps.png").stat().st_size > 20_000
