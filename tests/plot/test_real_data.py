"""Displays of data as they come: missing values, files, samples, one feature, long names."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy.sparse import csr_array
from sklearn.cluster import DBSCAN
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import silhouette_score
from sklearn.pipeline import make_pipeline

from kernelmill.cluster import KMeans
from kernelmill.hmm import GaussianHMM
from kernelmill.mixture import GaussianMixture, MixtureClassifier
from kernelmill.plot import (
    ClusterDisplay,
    DensityDisplay,
    ElbowDisplay,
    SilhouetteDisplay,
    StatePathDisplay,
    TransitionDisplay,
)
from kernelmill.plot._rows import complete, gaussians_of
from kernelmill.preprocessing import StandardScaler


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def X(rng):
    groups = np.repeat([[0.0, 0, 0], [9.0, 0, 3], [0.0, 9, -3]], 40, axis=0)
    return groups + rng.standard_normal((120, 3)) @ [[1, 0.5, 0.3], [0, 1, 0.4], [0, 0, 1]]


@pytest.fixture
def labels():
    return np.repeat([0, 1, 2], 40)


@pytest.fixture
def gaps(X, rng):
    """X with missing values; nothing is known of rows 5 and 50."""
    X = np.where(rng.random(X.shape) < 0.15, np.nan, X)
    X[[5, 50]] = np.nan
    return X


def rings(ax):
    """Offsets of the points that are drawn hollow."""
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    parts = [c.get_offsets() for c in points if not c.get_facecolor().size]
    return np.concatenate(parts) if parts else np.empty((0, 2))


# --- missing values -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_missing_values_become_their_conditional_means(gaps, kind):
    """Against Bayes' rule for each row, from the joint density of its values."""
    from scipy.stats import multivariate_normal

    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(gaps)
    gaussians = gaussians_of("Display", model)
    full = complete("Display", gaps, gaussians, model.predict_proba(gaps))
    assert np.flatnonzero(~full.kept).tolist() == [5, 50]
    for row, given in zip(full.rows, gaps[full.kept], strict=True):
        o = np.flatnonzero(~np.isnan(given))
        density, means = [], []
        for w, mean, S in zip(
            model.weights_, gaussians.means, gaussians.covariances, strict=True
        ):
            density.append(w * multivariate_normal(mean[o], S[np.ix_(o, o)]).pdf(given[o]))
            means.append(mean + S[:, o] @ np.linalg.solve(S[np.ix_(o, o)], given[o] - mean[o]))
        expected = np.array(density) @ means / np.sum(density)
        assert np.array_equal(row[o], given[o]), "what is known is not changed"
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("features", [(0, 2), None])
def test_density_of_rows_with_gaps(gaps, features):
    model = GaussianMixture(3, random_state=0).fit(gaps)
    display = DensityDisplay.from_estimator(model, gaps, features=features)
    shown = gaps if features is None else gaps[:, list(features)]
    known = ~np.isnan(gaps).all(axis=1)
    hollow = np.isnan(shown).any(axis=1)[known]
    assert len(display.points) == known.sum()
    assert np.array_equal(display.imputed, hollow)
    assert np.array_equal(rings(display.ax_), display.points[hollow])
    if features:
        assert np.array_equal(display.points[~hollow], shown[known][~hollow])
    assert np.array_equal(display.memberships, model.predict_proba(gaps)[known])
    assert display.note == (
        f"hollow: {hollow.sum()} rows with missing values, at the conditional mean\n"
        "2 rows without values left out"
    )
    assert display.note in [text.get_text() for text in display.ax_.texts]
    display.figure_.canvas.draw()


def test_clusters_of_rows_with_gaps(gaps, labels):
    model = GaussianMixture(3, random_state=0).fit(gaps[:, :2])
    display = ClusterDisplay.from_estimator(model, gaps[:, :2])
    density = DensityDisplay.from_estimator(model, gaps[:, :2])
    assert np.array_equal(display.points, density.points)
    assert np.array_equal(display.labels, model.predict(gaps[:, :2])[~np.isnan(gaps[:, :2]).all(1)])
    assert len(rings(display.ax_)) == display.imputed.sum() > 0
    assert display.regions is not None
    # In a frame, behind a scaler.
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(gaps, columns=["height", "width", "depth"])
    chain = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)).fit(frame)
    scaled = ClusterDisplay.from_estimator(chain, frame)
    assert (len(scaled.points), scaled.imputed.sum()) == (118, np.isnan(gaps).any(1).sum() - 2)
    # The components of a classifier are those of all classes.
    classifier = MixtureClassifier(2, random_state=0).fit(gaps, labels)
    classes = ClusterDisplay.from_estimator(classifier, gaps)
    assert np.isfinite(classes.points).all()
    assert len(classes.points) == 118
    # Models without components say nothing of what is missing.
    trees = HistGradientBoostingClassifier(max_iter=5).fit(gaps, labels)
    left = ClusterDisplay.from_estimator(trees, gaps)
    complete_rows = ~np.isnan(gaps).any(axis=1)
    assert len(left.points) == complete_rows.sum()
    assert left.note == f"{(~complete_rows).sum()} rows with missing values left out"
    with pytest.raises(ValueError, match="X must have a row without missing values, got none"):
        ClusterDisplay.from_estimator(trees, gaps[5:6])


def test_what_is_missing_takes_the_state_of_its_time(rng):
    """A hidden Markov model: the posterior of the path, not of the row alone."""
    X = np.repeat([[0.0, 0], [9.0, 9]], 30, axis=0) + 0.1 * rng.standard_normal((60, 2))
    model = GaussianHMM(2, random_state=0).fit(X)
    X[[10, 50], 1] = np.nan
    display = DensityDisplay.from_estimator(model, X)
    assert np.abs(display.points[[10, 50], 1] - [0, 9]).max() < 1
    assert np.array_equal(np.flatnonzero(display.imputed), [10, 50])


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "outlier"), [("abc", -1), ("abc", "?"), ([3, 5, 9], -1), ([-1, 0, 1], 7)]
)
def test_regions_of_a_classifier(X, labels, names, outlier):
    y = np.array(list(names))[labels]
    model = MixtureClassifier(random_state=0, contamination=0.05, outlier_label=outlier)
    display = ClusterDisplay.from_estimator(model.fit(X[:, :2], y), X[:, :2])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["outlier", *map(str, names)]
    assert display.ax_.get_title(loc="left") == "MixtureClassifier: 3 classes"
    assert display.ax_.get_legend().get_title().get_text() == "Class"
    codes = display.ax_.images[0].get_array()
    _, _, cells = display.regions
    assert np.array_equal(codes.mask, cells == outlier)
    for code, name in enumerate(names):
        assert np.array_equal((codes == code).filled(False), cells == name)
    grey = display.ax_.collections[0]
    assert len(grey.get_offsets()) == model.is_outlier(X[:, :2]).sum() > 0
    display.figure_.canvas.draw()


def test_a_class_of_minus_one_is_no_noise(X, labels):
    model = MixtureClassifier(random_state=0).fit(X[:, :2], labels - 1)
    display = ClusterDisplay.from_estimator(model, X[:, :2])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["-1", "0", "1"]


# --- files, sparse rows and samples ---------------------------------------------------------------


def test_displays_of_files(X, tmp_path):
    pandas, path = pytest.importorskip("pandas"), tmp_path / "rows.npy"
    X = X[:, :2]
    np.save(path, X)
    chain = make_pipeline(StandardScaler(), KMeans(3, random_state=0))
    for model in (chain.fit(X), KMeans(3, random_state=0).fit(X)):
        for display in (ClusterDisplay, SilhouetteDisplay):
            drawn = display.from_estimator(model, path)
            expected = display.from_estimator(model, X)
            assert np.array_equal(drawn.labels, expected.labels)
        assert ElbowDisplay.from_estimator(model, path, silhouette=True).knee_ == 3
    mixture = GaussianMixture(3, random_state=0).fit(X)
    drawn = DensityDisplay.from_estimator(mixture, path, max_points=50)
    expected = DensityDisplay.from_estimator(mixture, X, max_points=50)
    assert np.array_equal(drawn.points, expected.points)
    assert np.array_equal(drawn.memberships, expected.memberships)
    table = tmp_path / "rows.parquet"
    pandas.DataFrame(X, columns=["height", "width"]).to_parquet(table)
    display = ClusterDisplay.from_estimator(KMeans(3, random_state=0).fit(table), table)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("height", "width")
    assert display.regions is not None
    with pytest.raises(ValueError, match="X must be readable more than once, got a list_iterator"):
        ClusterDisplay.from_estimator(KMeans(3, random_state=0).fit(X), iter([X, X]))


def test_pyarrow_tables_name_their_features(X):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"height": X[:, 0], "width": X[:, 1]})
    display = ClusterDisplay.from_estimator(KMeans(3, random_state=0).fit(table), table)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("height", "width")
    hidden = GaussianHMM(2, random_state=0).fit(X[:, :1])
    path = StatePathDisplay.from_estimator(hidden, X[:, :1], series=table.select(["width"]))
    assert path.ax_.get_ylabel() == "width"


def test_series_of_nullable_columns(X):
    pandas = pytest.importorskip("pandas")
    series = pandas.DataFrame({"load": X[:, 0]}).convert_dtypes()
    series.loc[3, "load"] = pandas.NA
    display = StatePathDisplay.from_predictions(series, np.zeros(120, dtype=int))
    assert np.flatnonzero(np.isnan(display.series[:, 0])).tolist() == [3]


def test_silhouettes_of_a_sample(X, labels):
    model = KMeans(3, random_state=0).fit(X)
    display = SilhouetteDisplay.from_estimator(model, X, sample_size=60, random_state=3)
    expected = silhouette_score(X, model.labels_, sample_size=60, random_state=3)
    assert display.score_ == pytest.approx(expected, rel=1e-9)
    assert len(display.values) == 60
    assert display.ax_.get_ylabel() == "Cluster (rows, 60 of 120 drawn at random)"
    again = SilhouetteDisplay.from_predictions(X, model.labels_, sample_size=60, random_state=3)
    assert np.array_equal(again.values, display.values)
    whole = SilhouetteDisplay.from_predictions(X, labels, sample_size=500)
    assert len(whole.values) == 120
    assert whole.ax_.get_ylabel() == "Cluster (rows)"
    with pytest.raises(ValueError, match=r"must be a whole number above 0, got 0\.5"):
        SilhouetteDisplay.from_predictions(X, labels, sample_size=0.5)
    with pytest.raises(ValueError, match="X must be the matrix that the 60 labels belong to"):
        SilhouetteDisplay.from_predictions(X, labels[:60], sample_size=60)
    with pytest.raises(ValueError, match="X must be the matrix that the 120 labels belong to"):
        SilhouetteDisplay.from_estimator(DBSCAN().fit(X), X[:5])


def test_silhouettes_of_sparse_rows(X):
    sparse = csr_array(np.where(X > 0, X, 0))
    model = KMeans(3, random_state=0).fit(sparse)
    display = SilhouetteDisplay.from_estimator(model, sparse)
    assert display.score_ == pytest.approx(silhouette_score(sparse, model.labels_), rel=1e-9)


# --- one feature ----------------------------------------------------------------------------------


def test_density_of_one_feature(rng):
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(6, 0.5, 100), [np.nan]])[:, None]
    model = GaussianMixture(2, random_state=0).fit(x)
    display = DensityDisplay.from_estimator(model, x)
    xs, values = display.density
    expected = np.exp(model.score_samples(xs[:, None]))
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=0)
    bars = [p for p in display.ax_.patches if to_hex(p.get_facecolor()) == "#d9dde2"]
    area = sum(bar.get_width() * bar.get_height() for bar in bars)
    assert area == pytest.approx(1, rel=1e-9), "on the scale of the density"
    assert min(bar.get_width() for bar in bars) < model.covariances_.min() ** 0.5
    curves = [line for line in display.ax_.get_lines() if line.get_linestyle() == "-"]
    peaks = [line.get_xdata()[np.nanargmax(line.get_ydata())] for line in curves]
    assert np.abs(np.array(peaks) - model.means_[:, 0]).max() < xs[1] - xs[0]
    assert display.ax_.get_ylabel() == "Density"
    assert display.note == "1 row without values left out"
    bare = display.plot(contours=False, ellipses=False, shading=False, color="red")
    assert not bare.ax_.get_lines()
    assert to_hex(bare.ax_.patches[0].get_facecolor()) == "#ff0000"
    far = np.append(x[:-1], [[1e6]], axis=0)
    outlier = DensityDisplay.from_estimator(model, far)
    assert len(outlier.ax_.patches) <= 100
    same = DensityDisplay([[1.0]] * 3, np.ones((3, 1)), [[1.0]], [[[0.0]]], [1.0])
    assert np.isfinite(same.density[1]).all()
    same.plot().figure_.canvas.draw()


def test_density_of_one_feature_behind_a_scaler(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"wait": np.r_[rng.normal(54, 6, 100), rng.normal(80, 6, 170)]})
    for model in (GaussianMixture(2, random_state=0), GaussianHMM(2, random_state=0)):
        chain = make_pipeline(StandardScaler(), model).fit(frame)
        display = DensityDisplay.from_estimator(chain, frame)
        assert display.ax_.get_xlabel() == "wait (after StandardScaler)"


# --- names ----------------------------------------------------------------------------------------

NAMES = ["Long-term recovery", "A very long state name indeed", "bear", "high_volatility_regime"]


@pytest.mark.parametrize("size", [(5.6, 5.4), (4.4, 4.2), (9, 4)])
def test_long_names_stay_in_their_nodes(rng, size):
    A = rng.random((4, 4)) + np.eye(4)
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    display = TransitionDisplay(A / A.sum(axis=1, keepdims=True), state_names=NAMES)
    display.plot(ax=ax, kind="graph", values=False)
    for factor in (1, 0.8, 1.5):  # also where the window changes its size
        figure.set_size_inches(*np.multiply(size, factor))
        figure.canvas.draw()
        nodes = [patch for patch in ax.patches if hasattr(patch, "radius")]
        assert len(nodes) == len(ax.texts) == 4
        for node, text in zip(nodes, ax.texts, strict=True):
            inside = node.get_window_extent().padded(1)
            box = text.get_window_extent()
            assert inside.contains(*box.p0), (text.get_text(), factor)
            assert inside.contains(*box.p1), (text.get_text(), factor)
            assert 4 < text.get_fontsize() <= 10
    shown = [text.get_text().replace("\n", " ").replace("  ", " ") for text in ax.texts]
    if ax.get_legend() is None:
        assert [t.replace(" ", "") for t in shown] == [n.replace(" ", "") for n in NAMES]
    else:
        assert shown == ["0", "1", "2", "3"]


def test_names_that_cannot_be_read_in_nodes_go_beside_them(rng):
    A = rng.random((9, 9)) + np.eye(9)
    names = [f"customer segment {i}" for i in range(9)]
    display = TransitionDisplay(
        A / A.sum(axis=1, keepdims=True), state_names=names, weights=np.r_[0.9, np.full(8, 0.0125)]
    )
    display.plot(kind="graph", values=False)
    assert [text.get_text() for text in display.ax_.texts] == [str(i) for i in range(9)]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [f"{i}  {name}" for i, name in enumerate(names)]
    display.figure_.canvas.draw()
    right = display.ax_.get_legend().get_window_extent().x1
    assert right < display.figure_.bbox.x1, "the figure is wide enough"


@pytest.mark.parametrize("K", [2, 4, 7])
def test_names_of_columns_do_not_touch(rng, K):
    names = (NAMES * 2)[:K]
    display = TransitionDisplay(np.full((K, K), 1 / K), state_names=names).plot(values=False)
    display.figure_.canvas.draw()
    labels = display.ax_.get_xticklabels()
    if labels[0].get_rotation():
        return
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("K", [6, 8, 10])
def test_arcs_stay_clear_of_other_nodes(K):
    display = TransitionDisplay(np.full((K, K), 1 / K)).plot(kind="graph")
    nodes = [patch for patch in display.ax_.patches if hasattr(patch, "radius")]
    arrows = [patch for patch in display.ax_.patches if not hasattr(patch, "radius")]
    pairs = [(i, j) for i in range(K) for j in range(K)]
    for (i, j), arrow in zip(pairs, arrows, strict=True):
        if i == j:
            continue
        start, control, stop = arrow._path_original.vertices
        middle = (start + 2 * control + stop) / 4
        for other in set(range(K)) - {i, j}:
            assert np.hypot(*(middle - nodes[other].center)) > nodes[other].radius, (i, j, other)
