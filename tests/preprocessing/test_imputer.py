"""SimpleImputer agrees with scikit-learn's, wherever the rows are."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.impute import SimpleImputer as Peer
from sklearn.pipeline import make_pipeline

import kernelmill
from kernelmill import stream
from kernelmill.cluster import KMeans
from kernelmill.preprocessing import SimpleImputer, StandardScaler, _imputer

MODELS = [
    SimpleImputer(),
    SimpleImputer(strategy="median"),
    SimpleImputer(strategy="most_frequent"),
    SimpleImputer(strategy="constant", fill_value=-1.5),
    SimpleImputer(add_indicator=True),
]
# The mean of 200 values around 0 is off by 1e-15 at most: 200 roundings of about 1e-16 / 200 each,
# of sums of up to 20.
# Arrays without names after tables with names are what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


@pytest.fixture(params=MODELS, ids=repr)
def model(request):
    return clone(request.param)


def test_as_scikit_learns(model, X):
    theirs = Peer(**model.get_params()).fit(X)
    mine = model.fit(X)
    learned = theirs.statistics_.astype(np.float64)
    np.testing.assert_allclose(mine.statistics_, learned, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(mine.transform(X), theirs.transform(X), rtol=1e-14, atol=1e-14)
    assert mine.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    low = mine.transform(X.astype(np.float32))
    assert low.dtype == np.float32
    np.testing.assert_array_equal(low, mine.transform(X.astype(np.float32).astype(float))
                                  .astype(np.float32))


def test_the_same_wherever_the_rows_are(model, X, streamed, tmp_path):
    whole = clone(model).fit(X)
    data = streamed(X, tmp_path)
    model.fit(data)
    np.testing.assert_allclose(model.statistics_, whole.statistics_, rtol=1e-14, atol=1e-14)
    Z = model.transform(data)
    assert isinstance(Z, stream.Source)
    rows = np.concatenate([part for part, _ in Z])
    np.testing.assert_array_equal(rows, model.transform(X))
    assert rows.shape[1] == Z.n_features
    once = clone(model).fit(iter([X[:70], X[70:]]))
    np.testing.assert_allclose(once.statistics_, whole.statistics_, rtol=1e-14, atol=1e-14)


def test_weights_are_repetitions(model, X, rng):
    weight = rng.integers(0, 4, size=len(X)).astype(np.float64)
    repeated = clone(model).fit(np.repeat(X, weight.astype(int), axis=0))
    for data, w in ((X, weight), ([(X[:90], weight[:90]), (X[90:], weight[90:])], None)):
        model.fit(data, sample_weight=w)
        np.testing.assert_allclose(model.statistics_, repeated.statistics_, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("indicated", [False, True])
@pytest.mark.parametrize("made", [np.array, sp.csr_matrix])
def test_a_constant_that_is_not_a_number_leaves_nothing_out(made, indicated):
    X = made([[1.0, 5.0, np.nan], [-1.0, np.nan, np.nan], [2.0, 3.0, -1.0]])
    model = SimpleImputer(
        strategy="constant", fill_value=np.nan, keep_empty_features=True, add_indicator=indicated
    )
    theirs = Peer(**model.get_params()).fit(X)
    dense = sp.csr_matrix.toarray if made is sp.csr_matrix else np.asarray
    got, expected = dense(model.fit_transform(X)), dense(theirs.transform(X))
    np.testing.assert_array_equal(got, expected)
    assert got.shape == (3, 5 if indicated else 3)
    assert len(model.get_feature_names_out()) == got.shape[1]
    with pytest.warns(UserWarning, match=r"Skipping features .*: \[0 1 2\]"):
        assert model.set_params(keep_empty_features=False).fit(X).transform(X).shape[1] == (
            2 if indicated else 0
        )


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_features_without_entries(strategy, keep):
    X = np.array([[np.nan, 1.0, np.nan], [np.nan, np.nan, 2.0]])
    model = SimpleImputer(strategy=strategy, keep_empty_features=keep, fill_value=7.0)
    theirs = Peer(**model.get_params()).fit(X)
    if keep:
        model.fit(X)
        expected = theirs.transform(X)
    else:
        with pytest.warns(UserWarning, match=r"Skipping features without any observed values: \[0"):
            model.fit(X)
        with pytest.warns(UserWarning, match="Skipping"):
            expected = theirs.transform(X)
    np.testing.assert_array_equal(model.transform(X), expected)
    assert model.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    if keep:
        chunks = clone(model).fit([X[:1], X[1:]])
        np.testing.assert_array_equal(chunks.transform(X), expected)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_marks_other_than_nan(strategy, rng):
    X = rng.integers(-1, 4, size=(60, 3)).astype(float)
    model = SimpleImputer(missing_values=-1, strategy=strategy, fill_value=0.5)
    theirs = Peer(**model.get_params()).fit(X)
    before = X.copy()
    np.testing.assert_allclose(model.fit_transform(X), theirs.transform(X), rtol=1e-14)
    np.testing.assert_array_equal(X, before)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="SimpleImputer: X must be finite, got NaN at row 3"):
        model.fit(X)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("mark", [np.nan, -1.0])
def test_sparse_rows(strategy, mark, rng):
    X = rng.integers(0, 4, size=(80, 4)) * (rng.random((80, 4)) < 0.7).astype(float)
    X[rng.random(X.shape) < 0.1] = mark
    model = SimpleImputer(missing_values=mark, strategy=strategy, fill_value=2.0)
    filled = model.fit(sp.csr_array(X)).transform(sp.csr_array(X))
    assert sp.issparse(filled)
    np.testing.assert_allclose(filled.toarray(), clone(model).fit_transform(X), rtol=1e-14)
    chunks = clone(model).fit([sp.csr_array(X[:30]), sp.csr_array(X[30:])])
    np.testing.assert_allclose(chunks.statistics_, model.statistics_, rtol=1e-14)
    model.set_params(add_indicator=True)
    flagged = model.fit(sp.csr_array(X)).transform(sp.csr_array(X))
    assert sp.issparse(flagged)
    assert flagged.dtype == X.dtype
    np.testing.assert_allclose(flagged.toarray(), clone(model).fit_transform(X), rtol=1e-14)
    assert flagged.shape[1] == 4 + len(model._flagged) > 4
    no_marks = SimpleImputer(missing_values=0)
    for call in (no_marks.fit, no_marks.fit(np.eye(3)).transform):
        with pytest.raises(ValueError, match="missing_values must not be 0 for sparse X"):
            call(sp.csr_array(np.eye(3)))


def test_too_many_values_to_count(monkeypatch):
    monkeypatch.setattr(_imputer, "_DISTINCT", 100)
    X = np.arange(150.0).reshape(-1, 1)
    with pytest.raises(ValueError, match="at most 100 distinct values in each column of a stream"):
        SimpleImputer(strategy="most_frequent").fit([X[:75], X[75:]])


def test_pipelines_over_files(X, streamed, tmp_path):
    steps = SimpleImputer(), StandardScaler(), KMeans(3, random_state=0, init="random", n_init=1)
    pipe = make_pipeline(*map(clone, steps)).fit(streamed(X, tmp_path))
    whole = make_pipeline(*map(clone, steps)).fit(X)
    assert pipe.predict(X).shape == (200,)
    np.testing.assert_allclose(pipe[1].scale_, whole[1].scale_, rtol=1e-12)
    assert pipe[-1].labels_.shape == (200,)


def test_models_are_kept(model, X, tmp_path):
    model.fit(X)
    kernelmill.save(model, tmp_path / "m.safetensors")
    for other in (kernelmill.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(X), model.transform(X))


def test_frames(X):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    model = SimpleImputer(add_indicator=True).set_output(transform="pandas")
    out = model.fit_transform(frame)
    flagged = [f"missingindicator_{name}" for name in "adef"]
    assert out.columns.tolist() == [*"abcdef", *flagged]
    np.testing.assert_array_equal(out[flagged[0]], np.isnan(X[:, 0]))


@pytest.mark.parametrize("mark", ["NA", None])
def test_nullable_columns(mark):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, None, 3], "b": [None, 2.5, 2.5]}).convert_dtypes()
    mark = pandas.NA if mark == "NA" else mark
    model = SimpleImputer(missing_values=mark, add_indicator=True)
    expected = SimpleImputer(add_indicator=True).fit_transform(frame)
    np.testing.assert_array_equal(model.fit_transform(frame), expected)
    np.testing.assert_array_equal(expected[:, :2], [[1, 2.5], [2, 2.5], [3, 2.5]])
    with pytest.raises(ValueError, match=r"missing_values must be a number, NaN, pandas\.NA or"):
        SimpleImputer(missing_values="a").fit([[1.0]])


def test_callbacks_see_the_fit(X):
    utils = pytest.importorskip("sklearn.callback.tests._utils")
    callback = utils.RecordingCallback()
    model = SimpleImputer(add_indicator=True).set_callbacks(callback).fit(X)
    assert callback.count_hooks("on_fit_task_end") == 1
    (end,) = (record for record in callback.record if record["name"] == "on_fit_task_end")
    learned = end["kwargs"]["fitted_estimator"]
    np.testing.assert_array_equal(learned.transform(X), model.transform(X))


def test_entries_that_are_stored_twice():
    parts = np.array([-1.0, 3.0, -1.0, np.nan, 4.0, -2.0, 1.0])
    X = sp.csr_array((parts, np.array([0, 0, 1, 2, 2, 1, 1]), np.array([0, 2, 5, 7])), shape=(3, 3))
    for mark in (np.nan, -1.0):
        given = X if mark != mark else sp.csr_array((np.nan_to_num(parts), X.indices, X.indptr))
        model = SimpleImputer(missing_values=mark, add_indicator=True, keep_empty_features=True)
        want = clone(model).fit_transform(given.toarray())
        np.testing.assert_array_equal(model.fit_transform(given).toarray(), want)
        assert given.nnz == 7
