"""The displays: what they compute, what they draw, and that they show nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.cluster import DBSCAN, KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill.metrics import silhouette_samples, silhouette_score
from kernelmill.plot import ClusterDisplay, ElbowDisplay, SilhouetteDisplay
from kernelmill.plot._elbow import knee
from kernelmill.plot._style import PALETTE, cluster_colors


@pytest.fixture(autouse=True)
def _no_figure_is_shown_or_left(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    yield
    plt.close("all")


@pytest.fixture
def X(rng):
    centers = np.array([[0.0, 0.0], [12.0, 0.0], [0.0, 12.0]])
    return np.repeat(centers, 40, axis=0) + rng.standard_normal((120, 2))


@pytest.fixture
def model(X):
    return KMeans(3, n_init=2, random_state=0).fit(X)


def test_knee_is_farthest_from_the_chord():
    k = np.arange(1, 9)
    inertia = np.array([90, 50, 12, 11, 10, 9.5, 9, 8.5])
    u, v = np.log(k) / np.log(8), np.log(inertia / 8.5) / np.log(90 / 8.5)
    assert knee(k, inertia) == np.abs(u + v - 1).argmax() == 2
    assert knee(k, 1e-9 * inertia) == 2, "the unit must not matter"
    assert knee(k, [90, 50, 12, 0, 0, 0, 0, 0]) == 3, "nothing is left of four distinct rows"
    assert knee(k, k**-0.4) is None, "the power law of data without clusters has no knee"
    assert knee(k, 100.0 - (k - 1) ** 2) is None, "nor has a concave curve"
    assert knee(k, k) is None
    assert knee([1, 2], [5, 1]) is None


def inertias(X, most):
    return [KMeans(k, n_init=4, random_state=0).fit(X).inertia_ for k in range(1, most + 1)]


@pytest.mark.parametrize("most", [10, 14])
@pytest.mark.parametrize("d", [2, 6])
@pytest.mark.parametrize("clusters", [2, 3, 4, 5, 6, 8])
def test_the_knee_counts_clear_clusters(clusters, d, most, rng):
    """Of unequal sizes; a chord of the inertia itself finds no more than three or four."""
    centers = np.zeros((clusters, d))
    centers[:, 0], centers[:, 1] = 8 * (np.arange(clusters) % 3), 8 * (np.arange(clusters) // 3)
    sizes = 30 + 20 * (np.arange(clusters) % 4)
    X = np.repeat(centers, sizes, axis=0) + rng.standard_normal((sizes.sum(), d))
    found = knee(np.arange(1, most + 1), inertias(X, most))
    assert found is not None
    assert found + 1 == clusters


@pytest.mark.parametrize("d", [2, 6])
@pytest.mark.parametrize("draw", ["standard_normal", "random"])
def test_data_without_clusters_have_no_knee(draw, d, rng):
    X = getattr(rng, draw)((400, d))
    assert knee(np.arange(1, 13), inertias(X, 12)) is None


def test_elbow_fits_clones_and_finds_the_knee(X):
    estimator = KMeans(n_init=2, random_state=0)
    display = ElbowDisplay.from_estimator(estimator, X, k=[6, 1, 2, 3, 4, 5, 5], silhouette=True)
    assert not hasattr(estimator, "labels_")
    assert display.n_clusters.tolist() == [1, 2, 3, 4, 5, 6]
    for k, inertia, score in zip(
        display.n_clusters, display.inertias, display.silhouettes, strict=True
    ):
        fitted = KMeans(int(k), n_init=2, random_state=0).fit(X)
        assert inertia == pytest.approx(fitted.inertia_, rel=1e-12)
        if k > 1:
            assert score == pytest.approx(silhouette_score(X, fitted.labels_), rel=1e-12)
    assert np.isnan(display.silhouettes[0])
    assert display.knee_ == 3
    assert any("k = 3" in text.get_text() for text in display.ax_.texts)
    assert np.array_equal(display.line_.get_ydata(), display.inertias)
    assert display.silhouette_ax_ is not None


def test_elbow_weights_and_sample(X):
    weight = np.ones(len(X))
    weight[:40] = 0
    estimator = KMeans(n_init=2, random_state=0)
    display = ElbowDisplay.from_estimator(
        estimator, X, k=[1, 2], sample_weight=weight, silhouette=True, silhouette_sample_size=50
    )
    assert display.inertias[1] < 0.1 * display.inertias[0], "two weighted groups remain"
    assert display.knee_ is None
    assert 0 < display.silhouettes[1] < 1


def test_elbow_refuses(X):
    with pytest.raises(ValueError, match="ElbowDisplay: k must contain numbers of at least 1, got"):
        ElbowDisplay.from_estimator(KMeans(), X, k=[0, 2])
    with pytest.raises(ValueError, match=r"must be a model with n_clusters, or .*, got DBSCAN"):
        ElbowDisplay.from_estimator(DBSCAN(), X)


def test_silhouette_draws_one_blade_per_cluster(X, model):
    display = SilhouetteDisplay.from_estimator(model, X)
    values = silhouette_samples(X, model.labels_)
    assert np.array_equal(display.values, values)
    assert display.score_ == pytest.approx(values.mean(), rel=1e-12)
    blades = display.ax_.collections
    assert len(blades) == 3
    for g, blade in enumerate(blades):
        tip = blade.get_paths()[0].vertices[:, 0].max()
        assert tip == pytest.approx(values[model.labels_ == g].max(), rel=1e-12)
    ticks = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert ticks == ["0  (40)", "1  (40)", "2  (40)"]


def test_silhouette_names_clusters_of_any_type_and_shows_negative_values(X):
    labels = np.array(["a", "b", "c"])[np.r_[np.repeat([0, 1, 2], 40)]]
    labels[0] = "b"
    display = SilhouetteDisplay.from_predictions(X, labels)
    assert display.values[0] < 0
    assert display.ax_.get_xlim()[0] < display.values.min()
    assert display.ax_.get_yticklabels()[1].get_text() == "b  (41)"


def test_clusters_in_the_plane_with_regions(X, model):
    display = ClusterDisplay.from_estimator(model, X)
    xs, ys, cells = display.regions
    at = np.random.default_rng(0).integers(0, len(xs), (50, 2))
    places = np.column_stack([xs[at[:, 0]], ys[at[:, 1]]])
    assert np.array_equal(cells[at[:, 1], at[:, 0]], model.predict(places))
    drawn = [c.get_offsets() for c in display.ax_.collections]
    for g in range(3):
        assert np.array_equal(drawn[g], X[model.labels_ == g])
    assert np.array_equal(drawn[3], model.cluster_centers_)
    assert len(display.ax_.images) == 1


def test_clusters_of_many_features_are_projected(rng):
    X = rng.standard_normal((80, 6)) * [9, 1, 1, 5, 1, 1]
    model = KMeans(2, n_init=1, random_state=0).fit(X)
    display = ClusterDisplay.from_estimator(model, X)
    # The two widest features span the plane.
    kept = display.points.var(axis=0).sum()
    assert kept >= X[:, [0, 3]].var(axis=0).sum()
    assert display.regions is None
    assert "of variance" in display.ax_.get_xlabel()
    assert display.centers.shape == (2, 2)
    with pytest.raises(ValueError, match="regions must be left out"):
        ClusterDisplay.from_estimator(model, X, regions=True)


def test_clusters_noise_frames_one_feature_and_pipelines(X, model):
    pandas = pytest.importorskip("pandas")
    display = ClusterDisplay.from_estimator(DBSCAN(0.7).fit(X), X)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names[0] == "noise"
    frame = pandas.DataFrame(X, columns=["height", "width"])
    display = ClusterDisplay.from_estimator(KMeans(3, n_init=1, random_state=0).fit(frame), frame)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("height", "width")
    chain = make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(X)
    assert ClusterDisplay.from_estimator(chain, X).regions is not None
    line = KMeans(2, n_init=1, random_state=0).fit(X[:, :1])
    assert ClusterDisplay.from_estimator(line, X[:, :1]).points.shape == (120, 2)
    with pytest.raises(
        ValueError, match="ClusterDisplay: X must be the matrix that the 120 labels"
    ):
        ClusterDisplay.from_estimator(DBSCAN().fit(X), X[:5])


def test_large_data_are_sampled(X, model):
    display = ClusterDisplay.from_estimator(model, X, max_points=30)
    assert display.points.shape == (30, 2)
    rows = {tuple(row) for row in X}
    assert all(tuple(point) in rows for point in display.points)
    again = ClusterDisplay.from_estimator(model, X, max_points=30)
    assert np.array_equal(display.points, again.points)


def test_given_axes_and_keywords_are_used(X, model):
    figure, axes = plt.subplots(1, 3)
    elbow = ElbowDisplay([1, 2, 3], [9.0, 2.0, 1.0]).plot(ax=axes[0], color="black")
    blades = SilhouetteDisplay.from_estimator(model, X, ax=axes[1], alpha=0.5)
    scatter = ClusterDisplay.from_estimator(model, X, ax=axes[2], marker="s")
    for display, ax in zip((elbow, blades, scatter), axes, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is figure
        assert display.plot(ax=ax) is display
    assert plt.get_fignums() == [figure.number]
    assert elbow.knee_ == 2
    figure.canvas.draw()


@pytest.mark.parametrize("n", [1, 2, len(PALETTE), len(PALETTE) + 1, 30])
def test_colors_are_distinct(n):
    from matplotlib.colors import to_hex

    assert len({to_hex(color) for color in cluster_colors(n)}) == n


def test_importing_needs_no_matplotlib_and_plotting_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
import kernelmill.plot
from kernelmill.plot import ElbowDisplay, SilhouetteDisplay
from sklearn.cluster import KMeans
for draw in (
    lambda: SilhouetteDisplay([0.5, 0.2], [0, 1]).plot(),
    lambda: ElbowDisplay.from_estimator(KMeans(), None),
):
    try:
        draw()
    except ImportError as error:
        assert "pip install 'kernelmill[plot]'" in str(error), error
    else:
        raise SystemExit("no ImportError")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
