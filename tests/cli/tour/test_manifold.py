"""The tour's maps: t-SNE and UMAP keep digits beside their like, which a plane does not."""

import pytest


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    found = toured.parts["manifold"].rows
    assert [row.model for row in found] == ["PCA", "TSNE", "UMAP"]
    accuracy = [float(row.score.split()[1].rstrip(",")) for row in found]
    trust = [float(row.score.split()[3]) for row in found]
    assert min(accuracy[1:]) > 0.97 > 0.8 > accuracy[0] > 0.5
    assert min(trust[1:]) > 0.98 > 0.9 > trust[0] > 0.7
    assert (toured.out / "digits-maps.png").stat().st_size > 20_000
