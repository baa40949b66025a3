"""Scalers agree with scikit-learn's in memory, and with themselves wherever the rows are."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import preprocessing as peer
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import kernelmill
from kernelmill import stream
from kernelmill.cluster import KMeans, MiniBatchKMeans
from kernelmill.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

MODELS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    StandardScaler(with_mean=False, with_std=False),
    MinMaxScaler(),
    MinMaxScaler(feature_range=(-2, 5), clip=True),
    RobustScaler(),
    RobustScaler(quantile_range=(5.0, 90.0), unit_variance=True),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
]
# Arrays without names after tables with names are what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")
LEARNED = ("mean_", "var_", "scale_", "min_", "data_min_", "data_max_", "data_range_", "center_")


@pytest.fixture(params=MODELS, ids=repr)
def model(request):
    return clone(request.param)


def rival(model):
    return getattr(peer, type(model).__name__)(**model.get_params())


def assert_learned_alike(model, other, rtol, names=LEARNED, atol=0.0):
    for name in names:
        mine, theirs = getattr(model, name, None), getattr(other, name, None)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.dtype == np.float64
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol, err_msg=name)


def test_as_scikit_learns(model, X):
    theirs = rival(model).fit(X)
    mine = model.fit(X)
    # Sums of 200 numbers: 200 roundings at most. Variances of the constants are 0 here, and the
    # rounding of the mean (1e-17)**2 there.
    assert_learned_alike(mine, theirs, rtol=1e-13, atol=1e-30)
    seen = getattr(theirs, "n_samples_seen_", None)
    np.testing.assert_array_equal(getattr(mine, "n_samples_seen_", None), seen)
    Z = mine.transform(X)
    # Column 4 is 1e8 away: what is left of its digits after the mean is gone.
    np.testing.assert_allclose(Z, theirs.transform(X), rtol=1e-12, atol=1e-7)
    # The mean of 200 times -7.3 is -7.3 here and 21 units in the last place off there.
    np.testing.assert_allclose(Z[:, :4], theirs.transform(X)[:, :4], rtol=1e-13, atol=3e-14)
    if not getattr(model, "clip", False):
        np.testing.assert_allclose(mine.inverse_transform(Z), X, rtol=1e-13, atol=1e-14)
    assert mine.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()


def test_float32_stays_float32(model, rng):
    X = (rng.normal(size=(500, 4)) + np.array([0, 10, 1000, -5])).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    before = X.tobytes()
    Z = model.fit(X).transform(X)
    assert X.tobytes() == before
    assert Z.dtype == np.float32
    exact = clone(model).fit(X.astype(np.float64))
    assert_learned_alike(model, exact, rtol=1e-15)
    # One rounding of the float64 result.
    np.testing.assert_array_equal(Z, exact.transform(X.astype(np.float64)).astype(np.float32))
    assert model.inverse_transform(Z).dtype == np.float32


def test_the_same_wherever_the_rows_are(model, X, streamed, tmp_path):
    whole = clone(model).fit(X)
    data = streamed(X, tmp_path)
    model.fit(data)
    assert_learned_alike(model, whole, rtol=1e-13, atol=1e-30)
    Z = model.transform(data)
    assert isinstance(Z, stream.Source)
    assert Z.dtype == np.float64
    expected = model.transform(X)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([part for part, _ in Z]), expected)
    np.testing.assert_array_equal(Z.take([150, 3]), expected[[150, 3]])
    back = model.inverse_transform(Z)
    np.testing.assert_array_equal(
        np.concatenate([part for part, _ in back]), model.inverse_transform(expected)
    )
    lazy = model.fit_transform(data)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in lazy]), expected)


def test_weights_are_repetitions(model, X, rng):
    weight = rng.integers(0, 4, size=len(X)).astype(np.float64)
    X = X.copy()
    X[weight == 0] = 1e6  # of no account
    repeated = clone(model).fit(np.repeat(X, weight.astype(int), axis=0))
    model.fit(X, sample_weight=weight)
    assert_learned_alike(model, repeated, rtol=1e-13, atol=1e-30)
    pairs = [(X[:70], weight[:70]), (X[70:], weight[70:])]
    assert_learned_alike(clone(model).fit(pairs), repeated, rtol=1e-13, atol=1e-30)


def test_iterators_are_fitted_in_one_pass(model, X):
    model.fit(X[i : i + 50] for i in range(0, 200, 50))
    assert_learned_alike(model, clone(model).fit(X), rtol=1e-13, atol=1e-30)
    Z = model.transform(X[i : i + 50] for i in range(0, 200, 50))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in Z]), model.transform(X))
    with pytest.raises(ValueError, match="an iterator can be read once"):
        list(Z)
    with pytest.raises(ValueError, match=r"got a generator \(an iterator can be read once"):
        model.fit_transform(X for _ in range(2))


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler])
def test_partial_fit_adds_up(kind, X):
    model, theirs = kind(), getattr(peer, kind.__name__)()
    for part in (X[:9], X[9:50], X[50:]):
        model.partial_fit(part)
        theirs.partial_fit(part)
        # Their mean of the column at 1e8 is rounded to 1e-8 after each part, that of constants to
        # (200 eps 7.3)**2 in the variance.
        assert_learned_alike(model, theirs, rtol=1e-8, atol=1e-25)
    assert_learned_alike(model, kind().fit(X), rtol=1e-13, atol=1e-30)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.partial_fit(X[:, :2])
    streamed = kind().partial_fit([X[:50]]).partial_fit(iter([X[50:60], X[60:]]))
    assert_learned_alike(streamed, model, rtol=1e-13, atol=1e-30)


@pytest.mark.parametrize("model", [StandardScaler(with_mean=False), RobustScaler(
    with_centering=False)], ids=repr)
@pytest.mark.parametrize("chunks", [False, True])
def test_sparse_rows(model, chunks, rng):
    dense = rng.normal(size=(300, 5)) * (rng.random((300, 5)) < [0.9, 0.8, 0.95, 1, 1])
    dense[5, 0] = np.nan
    dense[:, 4] = 3.0
    X = sp.csr_array(dense)
    weight = rng.integers(0, 3, size=300)
    for w in (None, weight):
        fitted = clone(model).fit([X[:100], X[100:]] if chunks and w is None else X, None, w)
        like = clone(model).fit(dense, sample_weight=w)
        np.testing.assert_allclose(fitted.scale_, like.scale_, rtol=1e-13)
    Z = fitted.transform(X)
    assert sp.issparse(Z)
    np.testing.assert_allclose(Z.toarray(), like.transform(dense), rtol=1e-13)
    np.testing.assert_allclose(fitted.inverse_transform(Z).toarray(), dense, rtol=1e-13)
    name = "with_mean" if isinstance(model, StandardScaler) else "with_centering"
    with pytest.raises(TypeError, match="X must be dense"):
        clone(model).set_params(**{name: True}).fit(X)
    # Stored twice is the sum.
    twice = sp.csr_array((np.ones(4), [0, 0, 1, 0], [0, 2, 3, 4]), shape=(3, 2))
    np.testing.assert_allclose(
        clone(model).fit(twice).scale_, clone(model).fit(twice.toarray()).scale_, rtol=1e-15
    )


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_scaled_rows_have_the_same_transform(model, scale, rng):
    if not (getattr(model, "with_std", True) and getattr(model, "with_scaling", True)):
        pytest.skip("keeps the unit of X")
    X = rng.normal(size=(300, 3)) + np.array([0, 10, -100])
    np.testing.assert_allclose(
        model.fit_transform(X * scale), clone(model).fit_transform(X), rtol=1e-11, atol=1e-12
    )


def test_variances_far_from_the_origin(rng):
    """Deviations that are exact in binary, so that the right variance is known."""
    steps = rng.integers(-512, 513, size=(20000, 1)) / 1024.0
    exact = steps.var(axis=0)
    for origin in (0.0, 1e6, 1e9, -(2.0**42)):
        np.testing.assert_allclose(StandardScaler().fit(steps + origin).var_, exact, rtol=1e-12)
        chunks = np.array_split(steps + origin, 7)
        np.testing.assert_allclose(StandardScaler().fit(chunks).var_, exact, rtol=1e-12)
    X = (steps + 4096).astype(np.float32)
    np.testing.assert_allclose(StandardScaler().fit(X).var_, X.astype(float).var(0), rtol=1e-12)


def test_constants_have_scale_one(rng):
    for constant in (0.0, 0.1, 1e10 / 3, -1e-9):
        X = np.full((1000, 1), constant)
        for model in (StandardScaler(), RobustScaler()):
            assert model.fit(X).scale_ == 1.0
            assert (model.transform(X) == 0).all()
        assert MinMaxScaler().fit(X).scale_ == 1.0
    noise = 0.3 + np.array([[0.0], [5e-17], [0.0]])  # one unit in the last place
    assert StandardScaler().fit(noise).scale_ == 1.0


def test_columns_without_entries_stay_empty():
    X = np.array([[1.0, np.nan], [3.0, np.nan]])
    for model in (StandardScaler(), MinMaxScaler(), RobustScaler()):
        Z = model.fit(X).transform(X)
        assert np.isnan(Z[:, 1]).all()
        assert not np.isnan(Z[:, 0]).any()
        np.testing.assert_array_equal(clone(model).fit([X[:1], X[1:]]).transform(X), Z)


def test_infinite_entries_are_refused_and_named(model, X):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X[150, 1] = np.inf
    name = type(model).__name__
    for data in (X, [X[:100], X[100:]]):
        with pytest.raises(ValueError, match=f"^{name}: X must be finite or NaN, got inf at"):
            model.fit(data)
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    with pytest.raises(ValueError, match=r"row 150, column 1 \('b'\)"):
        model.fit([frame[:100], frame[100:]])


def test_range_of_magnitudes():
    """Only the variance squares what it is given."""
    X = np.array([[1e200], [3e200], [2e200]])
    np.testing.assert_allclose(MinMaxScaler().fit_transform(X).ravel(), [0, 1, 0.5])
    np.testing.assert_allclose(RobustScaler().fit_transform(X).ravel(), [-1, 1, 0])
    with pytest.raises(ValueError, match="small enough to be squared"):
        StandardScaler().fit(X)


# --- pipelines, frames, files ---------------------------------------------------------------------


def test_pipelines_of_scikit_learn_pass_streams_on(rng, tmp_path, streamed):
    X = rng.normal(size=(400, 3)) * [1, 100, 1e4] + np.repeat([[0], [8]], 200, axis=0) * [1, 100, 1]
    whole = make_pipeline(StandardScaler(), KMeans(2, random_state=0)).fit(X)
    data = streamed(X, tmp_path)
    pipe = make_pipeline(StandardScaler(), KMeans(2, random_state=0)).fit(data)
    np.testing.assert_allclose(pipe[-1].inertia_, whole[-1].inertia_, rtol=1e-9)
    agreement = (pipe[-1].labels_ == whole[-1].labels_).mean()
    assert agreement in (0.0, 1.0)
    np.testing.assert_array_equal(pipe.predict(data), pipe[-1].labels_)
    np.testing.assert_array_equal(pipe.predict(X), pipe[-1].labels_)
    assert pipe.score(data) == pytest.approx(pipe.score(X), rel=1e-12)
    long = make_pipeline(RobustScaler(), MinMaxScaler(), MiniBatchKMeans(2, random_state=0))
    assert long.fit_predict(data).shape == (400,)


def test_pipelines_from_a_file(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", rng.normal(size=(1000, 3)))
    pipe = make_pipeline(StandardScaler(), KMeans(8, random_state=0)).fit("rows.npy")
    assert pipe[-1].labels_.shape == (1000,)


def test_the_next_step_checks_what_it_gets(X, streamed, tmp_path):
    """Missing entries pass the scaler; the model names their place in X."""
    X = np.where(np.isnan(X), 0.0, X)
    X[120, 1] = np.nan
    pipe = make_pipeline(StandardScaler(), KMeans(2))
    with pytest.raises(ValueError, match=r"^KMeans: X must be finite, got NaN at row 120, col"):
        pipe.fit(streamed(X, tmp_path))


def test_weights_of_a_stream_travel_on(rng):
    X, w = rng.normal(size=(300, 2)), rng.integers(0, 3, size=300).astype(float)
    source = stream.source(X, w, chunk_rows=80)
    pipe = make_pipeline(StandardScaler(), KMeans(3, init=X[:3])).fit(source)
    Z = StandardScaler().fit(X, sample_weight=w).transform(X)
    like = KMeans(3, init=X[:3]).fit(Z, sample_weight=w)
    np.testing.assert_allclose(pipe[-1].inertia_, like.inertia_, rtol=1e-9)


def test_frames_keep_their_names(model, X):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcdef"), index=np.arange(200) * 2)
    out = model.set_output(transform="pandas").fit(frame).transform(frame)
    assert out.columns.tolist() == list("abcdef")
    assert out.index.tolist() == frame.index.tolist()
    np.testing.assert_array_equal(out.to_numpy(), clone(model).fit(X).transform(X))
    # Streams have no frame to become.
    assert isinstance(model.transform([frame]), stream.Source)
    assert isinstance(model.fit_transform([frame]), stream.Source)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("bacdef")])


def test_models_are_kept(model, X, tmp_path):
    model.fit(X)
    kernelmill.save(model, tmp_path / "m.safetensors")
    for other in (kernelmill.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(X), model.transform(X))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (MinMaxScaler(feature_range=(1, 1)), "feature_range must be a pair"),
        (MinMaxScaler(feature_range=3), "feature_range must be a pair"),
        (RobustScaler(quantile_range=(75, 25)), "quantile_range must be a pair"),
        (RobustScaler(quantile_range=(-1, 50)), "quantile_range must be a pair"),
        (StandardScaler(with_mean="no"), "with_mean must be True or False"),
    ],
)
def test_parameters(model, words):
    with pytest.raises(ValueError, match=words):
        model.fit(np.ones((3, 1)))


def test_copy_is_accepted_and_x_is_never_modified(X):
    before, scaler = X.copy(), StandardScaler().fit(X)
    scaled = scaler.transform(X, copy=False)
    np.testing.assert_array_equal(scaled, scaler.transform(X, copy=True))
    np.testing.assert_array_equal(
        scaler.inverse_transform(scaled, copy=False), scaler.inverse_transform(scaled)
    )
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("value", [1.0, 100.0, 0.1])
@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_array])
def test_weighted_constants_in_sparse_rows(value, container, rng):
    """A column that is stored in every row has no zeros, whatever the weights add up to."""
    rows = container(np.full((100, 1), value))
    for weight in rng.random((20, 100)):
        scaler = StandardScaler(with_mean=False).fit(rows, sample_weight=weight)
        assert scaler.scale_[0] == 1.0
        assert scaler.var_[0] < 1e-30 * value**2


@pytest.mark.parametrize("exponent", [-120, -60, 60, 120])
def test_float32_rows_of_any_magnitude(exponent, rng):
    """Sums are float64, so squares that float32 does not hold do not matter."""
    X = rng.normal(3, 1, size=(60, 3)).astype(np.float32)
    expected = StandardScaler().fit(X)
    scaler = StandardScaler().fit(np.ldexp(X, exponent))
    np.testing.assert_array_equal(scaler.scale_, np.ldexp(expected.scale_, exponent))
    np.testing.assert_array_equal(scaler.transform(np.ldexp(X, exponent)), expected.transform(X))
    chunks = StandardScaler().fit([np.ldexp(X[:25], exponent), np.ldexp(X[25:], exponent)])
    np.testing.assert_allclose(chunks.scale_, scaler.scale_, rtol=1e-13)
    with pytest.raises(ValueError, match="small enough to be squared in float64"):
        StandardScaler().fit(np.full((4, 2), 1e200))


def test_callbacks_see_one_task(model, X):
    utils = pytest.importorskip("sklearn.callback.tests._utils")
    for method in ("fit", "partial_fit") if hasattr(model, "partial_fit") else ("fit",):
        callback, fitted = utils.RecordingCallback(), clone(model)
        fitted.set_callbacks(callback)
        getattr(fitted, method)(X)
        for hook in ("setup", "teardown", "on_fit_task_begin", "on_fit_task_end"):
            assert callback.count_hooks(hook) == 1, hook
        (end,) = (record for record in callback.record if record["name"] == "on_fit_task_end")
        learned = end["kwargs"]["fitted_estimator"]
        np.testing.assert_array_equal(learned.transform(X), fitted.transform(X))
        if method == "partial_fit":
            again = learned.partial_fit(X).transform(X)
            np.testing.assert_array_equal(again, fitted.partial_fit(X).transform(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_is_kept_and_makes_no_difference(model, X, dtype):
    X = X.astype(dtype)
    expected = model.fit(X).transform(X)
    assert expected.flags.c_contiguous
    columns = model.transform(np.asfortranarray(X))
    assert columns.flags.f_contiguous
    np.testing.assert_array_equal(columns, expected)
    strided = model.transform(np.repeat(X, 2, axis=0)[::2])
    assert strided.flags.c_contiguous
    np.testing.assert_array_equal(strided, expected)
    if hasattr(model, "inverse_transform"):
        np.testing.assert_array_equal(
            model.inverse_transform(columns), model.inverse_transform(expected)
        )
