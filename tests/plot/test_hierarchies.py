"""Dendrograms and reachability plots: what they draw of fitted models."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.cluster.hierarchy import dendrogram

from kernelmill.cluster import OPTICS, AgglomerativeClustering
from kernelmill.plot import DendrogramDisplay, ReachabilityDisplay


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


@pytest.fixture
def X(rng):
    return np.repeat(9 * np.eye(3), 12, axis=0) + rng.normal(size=(36, 3))


def segments(display):
    return display.ax_.collections[0].get_segments()


def test_the_tree_is_that_of_scipy(X):
    """The same merges at the same heights; leaves in an order without crossings."""
    model = AgglomerativeClustering(3).fit(X)
    display = DendrogramDisplay.from_estimator(model)
    drawn = sorted((s[0, 1], s[3, 1], s[1, 1]) for s in segments(display))
    known = dendrogram(model.linkage_matrix_, no_plot=True)
    want = sorted((d[0], d[3], d[1]) for d in known["dcoord"])
    np.testing.assert_allclose(
        [[*sorted(d[:2]), d[2]] for d in sorted(drawn, key=lambda d: d[2])],
        [[*sorted(d[:2]), d[2]] for d in sorted(want, key=lambda d: d[2])],
    )
    assert sorted(display.leaves_) == list(range(36))
    place = {leaf: i for i, leaf in enumerate(display.leaves_)}
    for c in range(3):  # a cluster is a range of leaves
        own = sorted(place[i] for i in np.flatnonzero(model.labels_ == c))
        assert own == list(range(own[0], own[0] + len(own)))
    heights = model.distances_
    assert heights[-3] < display.threshold < heights[-2]
    shades = {tuple(c) for c in display.ax_.collections[0].get_colors()}
    assert len(shades) == 4  # three clusters, and what joins them


def test_the_last_merges_alone(X):
    display = DendrogramDisplay.from_estimator(AgglomerativeClustering(3).fit(X), last=4)
    assert len(segments(display)) == 4
    texts = [text.get_text() for text in display.ax_.get_xticklabels()]
    counts = [int(text.strip("()")) if text.startswith("(") else 1 for text in texts]
    assert len(texts) == 5
    assert sum(counts) == 36
    with pytest.raises(ValueError, match="names must be a list of 36 names, got 2"):
        display.plot(names=["a", "b"])
    with pytest.raises(ValueError, match=r"linkage_matrix must have shape \(n - 1, 4\)"):
        DendrogramDisplay([[1, 2, 3]])


def test_reachability(X):
    model = OPTICS(min_samples=5, min_cluster_size=8).fit(X)
    display = ReachabilityDisplay.from_estimator(model)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names[: model.labels_.max() + 1] == [str(c) for c in range(model.labels_.max() + 1)]
    assert display.ax_.get_xlim() == (0, 36)
    finite = model.reachability_[np.isfinite(model.reachability_)]
    assert display.ax_.get_ylim()[1] == pytest.approx(1.05 * finite.max())
    assert display.ax_.get_title(loc="left") == "OPTICS: reachability"
    with pytest.raises(ValueError, match="estimator must be a model with reachability_"):
        ReachabilityDisplay.from_estimator(AgglomerativeClustering(2).fit(X))
