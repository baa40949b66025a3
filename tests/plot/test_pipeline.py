"""Displays of pipelines: the same picture as of the model with the transformed rows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from kernelmill.cluster import KMeans
from kernelmill.hmm import GaussianHMM
from kernelmill.mixture import GaussianMixture
from kernelmill.plot import (
    ClusterDisplay,
    DensityDisplay,
    ElbowDisplay,
    SilhouetteDisplay,
    StatePathDisplay,
    TransitionDisplay,
)
from kernelmill.plot._pipeline import feature_names, split, transform
from kernelmill.stream import source

pandas = pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def frame(rng):
    """Three groups, in columns whose units differ by a factor of 1000."""
    groups = np.repeat([[0.0, 0.0], [12.0, 0.0], [0.0, 12.0]], 40, axis=0)
    X = (groups + rng.standard_normal((120, 2))) * [1, 1000]
    return pandas.DataFrame(X, columns=["height", "weight"])


def wrapped(model, frame, kind):
    """A fitted estimator around the scaled model, and the model fitted by hand."""
    scaled = StandardScaler().fit_transform(frame)
    by_hand = type(model)(**model.get_params()).fit(scaled)
    if kind == "nested":
        estimator = make_pipeline("passthrough", make_pipeline(StandardScaler(), model))
    elif kind == "search":
        pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
        estimator = GridSearchCV(pipeline, {"scale__with_mean": [True]}, cv=2)
    else:
        estimator = make_pipeline(StandardScaler(), None, model)
    if kind == "pandas":
        estimator.set_output(transform="pandas")
    return estimator.fit(frame), by_hand, scaled


KINDS = ["plain", "nested", "search", "pandas"]


@pytest.mark.parametrize("kind", KINDS)
def test_clusters(frame, kind):
    estimator, model, scaled = wrapped(KMeans(3, random_state=0), frame, kind)
    display = ClusterDisplay.from_estimator(estimator, frame)
    expected = ClusterDisplay.from_estimator(model, scaled)
    for name in ("points", "labels", "centers"):
        assert np.array_equal(getattr(display, name), getattr(expected, name)), name
    for found, wanted in zip(display.regions, expected.regions, strict=True):
        assert np.array_equal(found, wanted)
    assert display.ax_.get_xlabel() == "height (after StandardScaler)"
    assert display.ax_.get_ylabel() == "weight (after StandardScaler)"
    assert display.ax_.get_title(loc="left") == "KMeans: 3 clusters"


@pytest.mark.parametrize("kind", KINDS)
def test_silhouette(frame, kind):
    estimator, model, scaled = wrapped(KMeans(3, random_state=0), frame, kind)
    display = SilhouetteDisplay.from_estimator(estimator, frame)
    assert np.array_equal(display.values, SilhouetteDisplay.from_estimator(model, scaled).values)


@pytest.mark.parametrize("kind", ["plain", "nested", "pandas"])
def test_elbow_fits_the_steps_once(frame, kind):
    fits = []

    class Counted(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y, sample_weight)

    model = KMeans(n_init=2, random_state=0)
    estimator = make_pipeline(Counted(), model)
    if kind == "nested":
        estimator = make_pipeline("passthrough", estimator)
    if kind == "pandas":
        estimator.set_output(transform="pandas")
    display = ElbowDisplay.from_estimator(estimator, frame, k=range(1, 6), silhouette=True)
    expected = ElbowDisplay.from_estimator(
        model, StandardScaler().fit_transform(frame), k=range(1, 6), silhouette=True
    )
    assert np.array_equal(display.inertias, expected.inertias)
    assert np.array_equal(display.silhouettes, expected.silhouettes, equal_nan=True)
    assert display.knee_ == 3
    assert fits == [120]
    with pytest.raises(NotFittedError):
        estimator.predict(frame)  # clones were fitted


@pytest.mark.parametrize("kind", KINDS)
def test_density(frame, kind):
    estimator, model, scaled = wrapped(GaussianMixture(3, random_state=0), frame, kind)
    expected = DensityDisplay.from_estimator(model, scaled)
    for display in (
        DensityDisplay.from_estimator(estimator, frame, features=("height", "weight")),
        DensityDisplay.from_predictions(estimator, frame, model.predict_proba(scaled)),
    ):
        for name in ("points", "memberships", "means", "covariances", "weights"):
            assert np.array_equal(getattr(display, name), getattr(expected, name)), name
        assert display.ax_.get_xlabel() == "height (after StandardScaler)"
    with pytest.raises(ValueError, match=r"two different columns of the 2 of X, got \('a', 'b'\)"):
        DensityDisplay.from_estimator(estimator, frame, features=("a", "b"))


def hidden_model():
    return GaussianHMM(2, random_state=0)


@pytest.fixture
def series(rng):
    X = np.repeat([0.0, 9.0, 0.0], 40)[:, None] + rng.standard_normal((120, 1))
    index = pandas.date_range("2024-01-01", periods=120, freq="h")
    return pandas.DataFrame(1000 * X, columns=["load"], index=index)


@pytest.mark.parametrize("kind", KINDS)
def test_state_paths_are_drawn_in_the_units_of_the_frame(series, kind):
    estimator, model, scaled = wrapped(hidden_model(), series, kind)
    display = StatePathDisplay.from_estimator(estimator, series, [50, 70])
    assert np.array_equal(display.states, model.predict(scaled, [50, 70]))
    assert np.array_equal(display.probabilities, model.predict_proba(scaled, [50, 70]))
    assert np.array_equal(display.series, series.to_numpy())
    assert np.array_equal(display.times, series.index.to_numpy())
    assert display.ax_.get_ylabel() == "load"
    assert display.ax_.get_title(loc="left") == "GaussianHMM: 2 states"


@pytest.mark.parametrize("kind", KINDS)
def test_transitions(series, kind):
    estimator, model, _ = wrapped(hidden_model(), series, kind)
    display = TransitionDisplay.from_estimator(estimator)
    assert np.array_equal(display.transmat, model.transmat_)
    assert np.array_equal(display.weights, model.get_stationary_distribution())
    assert display.ax_.get_title(loc="left") == "GaussianHMM: transitions"


def test_frames_with_strings(frame):
    mixed = frame.assign(colour=np.resize(["red", "green"], 120))
    encode = make_column_transformer(
        (StandardScaler(), ["height", "weight"]), (OneHotEncoder(sparse_output=False), ["colour"])
    )
    estimator = make_pipeline(encode, KMeans(3, random_state=0)).fit(mixed)
    display = ClusterDisplay.from_estimator(estimator, mixed)
    assert display.points.shape == (120, 2)
    assert "of variance" in display.ax_.get_xlabel()
    assert SilhouetteDisplay.from_estimator(estimator, mixed).score_ > 0.5
    mixture = make_pipeline(encode, GaussianMixture(3, reg_covar=1e-3, random_state=0)).fit(mixed)
    names = ("standardscaler__height", "onehotencoder__colour_red")
    display = DensityDisplay.from_estimator(mixture, mixed, features=names)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == names
    decode = make_pipeline(encode, GaussianHMM(3, covars_prior=0.05, random_state=0)).fit(mixed)
    with pytest.raises(ValueError, match=r"series must be numeric, got .*'colour'.* \(select the"):
        StatePathDisplay.from_estimator(decode, mixed)
    display = StatePathDisplay.from_estimator(decode, mixed, series=mixed[["height"]])
    assert display.series.shape == (120, 1)


def test_text_in_a_sparse_pipeline():
    text = ["red apple", "green apple", "red car", "blue car", "green tree", "blue sky"] * 5
    estimator = make_pipeline(TfidfVectorizer(), KMeans(2, random_state=0)).fit(text)
    display = ClusterDisplay.from_estimator(estimator, text, max_points=20)
    assert display.points.shape == (20, 2)
    assert np.isfinite(display.points).all()
    assert display.centers.shape == (2, 2)


@pytest.mark.parametrize(
    ("steps", "names", "labels"),
    [
        ([], ["height", "weight"], ["height", "weight"]),
        ([PCA(2)], ["pca0", "pca1"], ["pca0", "pca1"]),
        (
            [StandardScaler(), PCA(1)],
            ["pca0"],
            ["pca0"],
        ),
        (
            [FunctionTransformer(np.abs, feature_names_out="one-to-one"), StandardScaler()],
            ["height", "weight"],
            [f"{n} (after FunctionTransformer, StandardScaler)" for n in ("height", "weight")],
        ),
        (
            [FunctionTransformer(lambda X: np.asarray(X)[:, :1])],
            ["Feature 0"],
            ["Feature 0 (after FunctionTransformer)"],
        ),
        (
            [ColumnTransformer([("pass", "passthrough", ["weight"])])],
            ["pass__weight"],
            ["pass__weight"],
        ),
    ],
)
def test_names_of_features(frame, steps, names, labels):
    seen = make_pipeline(*steps).fit_transform(frame) if steps else frame
    assert feature_names(steps, frame, source(seen)) == (names, labels)
    assert np.array_equal(transform("Display", steps, frame), seen)


def test_names_of_features_without_a_frame(frame):
    scaler = StandardScaler().fit(frame.to_numpy())
    numbered = ["Feature 0", "Feature 1"]
    rows = frame.to_numpy()
    assert feature_names([], rows, source(rows)) == (numbered, numbered)
    labels = [f"{name} (after StandardScaler)" for name in numbered]
    assert feature_names([scaler], rows, source(rows)) == (numbered, labels)
    # Fitted on a frame, shown with an array: the names of the fit.
    assert feature_names([StandardScaler().fit(frame)], rows, source(rows))[0] == list(frame)


DRAW = [
    ClusterDisplay.from_estimator,
    SilhouetteDisplay.from_estimator,
    DensityDisplay.from_estimator,
    StatePathDisplay.from_estimator,
    lambda estimator, X: TransitionDisplay.from_estimator(estimator),
    lambda estimator, X: DensityDisplay.from_predictions(estimator, X, None),
]
LAST = [KMeans(2), KMeans(2), GaussianMixture(2), GaussianHMM(2), GaussianHMM(2), GaussianMixture()]


@pytest.mark.parametrize(("draw", "model"), list(zip(DRAW, LAST, strict=True)))
def test_an_unfitted_pipeline_is_refused(frame, draw, model):
    unfitted = make_pipeline(StandardScaler(), clone(model))
    message = rf"^\w+Display: estimator must be fitted, got an unfitted {type(model).__name__} "
    with pytest.raises(NotFittedError, match=message):
        draw(unfitted, frame)
    halfway = Pipeline([("scale", StandardScaler()), ("model", clone(model).fit(frame))])
    if draw is not DRAW[4]:  # transitions need no rows
        with pytest.raises(NotFittedError, match="must be fitted, got an unfitted StandardScaler"):
            draw(halfway, frame)


@pytest.mark.parametrize("draw", DRAW)
def test_a_last_step_that_is_no_such_model_is_refused(frame, draw):
    fitted = make_pipeline(PCA(2), StandardScaler()).fit(frame)
    message = r"^\w+Display: estimator must be a model with .*, or a pipeline that ends with.*, got"
    with pytest.raises(ValueError, match=f"{message} StandardScaler$"):
        draw(fitted, frame)
    with pytest.raises(ValueError, match=f"{message} 'passthrough'$"):
        draw(make_pipeline(PCA(2), "passthrough").fit(frame), frame)
    with pytest.raises(ValueError, match=f"{message} StandardScaler$"):
        draw(StandardScaler().fit(frame), frame)


def test_elbow_of_a_pipeline_without_clusters_is_refused(frame):
    with pytest.raises(ValueError, match=r"a model with n_clusters, or a pipeline .*, got PCA$"):
        ElbowDisplay.from_estimator(make_pipeline(StandardScaler(), PCA()), frame)


def test_any_object_with_the_attributes_is_a_model():
    class Model:
        transmat_ = np.eye(2)

    assert split("Display", Model(), "transmat_")[0] == []
