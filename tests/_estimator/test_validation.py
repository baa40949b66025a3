"""Checks of X and of weights: no copy of what is good, one clear sentence about what is not."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn

from kernelmill._arrays import check_weights
from kernelmill._estimator import _validation
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import all_finite, check_values, chunk_check


class Model(Estimator):
    pass


def check_X(model, X, *, reset, accept_sparse=True, allow_nan=False):
    model._accepts_sparse, model._accepts_missing = accept_sparse, allow_nan
    return model._rows(X, reset=reset).X


@pytest.fixture
def model():
    return Model()


GOOD = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda X: X,
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: X[::-1, ::-1],
        lambda X: np.broadcast_to(X[:1], (5, 3)),
    ],
    ids=["C", "F", "strided", "negative", "broadcast"],
)
def test_floats_are_not_copied(model, make, dtype):
    X = make(GOOD.astype(dtype))
    X.flags.writeable = False
    assert check_X(model, X, reset=True) is X
    assert model.n_features_in_ == 3


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.longdouble, object])
def test_other_numbers_become_float64(model, dtype):
    X = check_X(model, GOOD.astype(dtype), reset=True)
    assert X.dtype == np.float64
    np.testing.assert_array_equal(X, GOOD.astype(dtype).astype(np.float64))


def test_foreign_byte_order_keeps_the_width(model):
    X = check_X(model, GOOD.astype(">f4"), reset=True)
    assert X.dtype == np.float32
    assert X.dtype.isnative
    np.testing.assert_array_equal(X, GOOD)


def test_memory_map_is_not_copied(model, tmp_path):
    np.save(tmp_path / "X.npy", GOOD)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(check_X(model, X, reset=True), X)


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_sparse_becomes_csr(model, kind):
    X = check_X(model, kind(GOOD), reset=True)
    assert X.format == "csr"
    np.testing.assert_array_equal(X.toarray(), GOOD)
    assert check_X(model, sp.csr_array(GOOD.astype(np.int64)), reset=True).dtype == np.float64
    assert check_X(model, sp.csr_array(GOOD.astype(np.float32)), reset=True).dtype == np.float32


def test_sparse_is_refused_with_its_dense_size(model):
    with pytest.raises(TypeError, match=r"^Model: X must be dense, got a sparse matrix .*\(1000, "):
        check_X(model, sp.csr_array((1000, 200)), reset=True, accept_sparse=False)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames_keep_names_and_values(model, frame):
    table = frame({"age": GOOD[:, 0].astype(np.float32), "size": GOOD[:, 1].astype(np.float32)})
    X = check_X(model, table, reset=True)
    np.testing.assert_array_equal(X, GOOD[:, :2])
    assert X.dtype == np.float32
    assert model.feature_names_in_.tolist() == ["age", "size"]
    check_X(model, table, reset=False)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        check_X(model, GOOD[:, :2], reset=False)
    with pytest.raises(ValueError, match=r"names unseen at fit time:\n- weight\n.*\n- size\n$"):
        check_X(model, frame({"age": GOOD[:, 0], "weight": GOOD[:, 1]}), reset=False)
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        check_X(model, frame({"size": GOOD[:, 0], "age": GOOD[:, 1]}), reset=False)
    check_X(model, GOOD[:, :2], reset=True)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but Model was fitted without"):
        check_X(model, table, reset=False)


def test_feature_count_must_match(model):
    check_X(model, GOOD, reset=True)
    with pytest.raises(ValueError, match="X has 2 features, but Model is expecting 3 features"):
        check_X(model, GOOD[:, :2], reset=False)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2.0], r"must be 2-D, got shape \(2,\) \(Reshape your data"),
        (np.zeros((2, 2, 2)), r"must be 2-D, got shape \(2, 2, 2\)"),
        (5.0, r"must be 2-D"),
        (None, "must be a 2-D array, got None"),
        (np.zeros((0, 3)), r"must have at least 1 row, got 0 sample\(s\)"),
        (np.zeros((3, 0)), r"must have features, got 0 feature\(s\) \(shape=\(3, 0\)\)"),
        ([[1, 2], [3]], "must have rows of equal length"),
        ([["a", "b"]], "must be numeric, got dtype <U1"),
        (np.array([["a", 1]], dtype=object), "must be numeric, got could not convert"),
        (np.zeros((2, 2), dtype=complex), "must be real, got complex128"),
        (sp.csr_array(np.eye(2) * 1j), "must be real, got complex128"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "must be numeric, got dtype datetime64"),
        (pd.DataFrame({"a": ["x"]}), "must have numeric columns only, got column 'a'"),
    ],
)
def test_wrong_inputs(model, X, message):
    with pytest.raises(ValueError, match=f"^Model: X {message}"):
        check_X(model, X, reset=True)


def test_objects_that_are_no_numbers(model):
    with pytest.raises(TypeError, match=r"^Model: X must be numeric, got float"):
        check_X(model, np.array([[{}]], dtype=object), reset=True)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0]])
    with pytest.raises(TypeError, match=r"^Model: X must be an array, got numpy\.matrix"):
        check_X(model, matrix, reset=True)


@pytest.mark.parametrize("n", [4, 3000])
def test_first_bad_value_is_named(model, n):
    X = np.zeros((n, 3))
    X[3, 1] = np.nan
    X[3, 2] = np.inf
    with pytest.raises(
        ValueError, match=r"^Model: X must be finite, got NaN at row 3, column 1 and 1 more \(imp"
    ):
        check_X(model, X, reset=True)
    X[3, 1] = -np.inf
    with pytest.raises(ValueError, match=r"got -inf at row 3, column 1 and 1 more \(clip"):
        check_X(model, X, reset=True)
    with pytest.raises(ValueError, match=r"got NaN at row 1, column 0 \('age'\) \(impute"):
        check_X(model, pd.DataFrame({"age": [1.0, np.nan]}), reset=True)
    rows = sp.csr_array(np.array([[0, 0], [0, 0], [0, np.nan]]))
    with pytest.raises(ValueError, match="got NaN at row 2, column 1 "):
        check_X(model, rows, reset=True)


def test_search_goes_on_past_the_first_block(model, monkeypatch):
    monkeypatch.setattr(_validation, "_SEARCH_ROWS", 7)
    X = np.zeros((2000, 3))
    X[1001, 2] = X[1999, 0] = np.nan
    with pytest.raises(ValueError, match="at row 1001, column 2 and 1 more"):
        check_X(model, X, reset=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 4095, 5000])
def test_all_finite(dtype, n):
    X = np.full((n, 2), np.finfo(dtype).max, dtype=dtype)  # the sum overflows
    assert all_finite(X)
    for place in ((0, 0), (n - 1, 1)):
        for value in (np.nan, np.inf, -np.inf):
            Y = X.copy()
            Y[place] = value
            assert not all_finite(Y)
    cancelling = np.zeros((n + 1, 2), dtype=dtype)
    cancelling[0, 0], cancelling[-1, 1] = np.inf, -np.inf
    assert not all_finite(cancelling)


def test_assume_finite_is_honoured(model):
    X = np.array([[np.nan, 1.0]])
    with sklearn.config_context(assume_finite=True):
        assert check_X(model, X, reset=True) is X


def test_weights():
    def check(w, dtype=np.float32):
        return check_weights(w, 4, dtype, "Model")

    assert check(None) is None
    w = np.ones(4, dtype=np.float32)
    assert check(w) is w
    assert check([1, 2, 3, 4]).dtype == np.float32
    np.testing.assert_array_equal(check(2), [2, 2, 2, 2])
    np.testing.assert_array_equal(check(pd.Series([0, 1, 0, 0])), [0, 1, 0, 0])


@pytest.mark.parametrize(
    ("w", "message"),
    [
        ([1, 2], r"must have shape \(4,\), one for each row of X, got \(2,\)"),
        (np.ones((4, 1)), r"must have shape \(4,\)"),
        ([1, 1, -1, 1], "must be finite and not negative, got -1 at row 2"),
        ([1, np.nan, -1, 1], "must be finite and not negative, got NaN at row 1"),
        ([1, 1, 1, np.inf], "must be finite and not negative, got inf at row 3"),
        (["a", "b", "c", "d"], "must be numeric"),
    ],
)
def test_wrong_weights(w, message):
    with pytest.raises(ValueError, match=f"^Model: sample_weight {message}"):
        check_weights(w, 4, np.float64, "Model")


def test_chunk_check_counts_rows_of_the_whole():
    validate = chunk_check("Model", ["a", "b", "c"])
    assert validate(GOOD, 100) is GOOD
    bad = GOOD.copy()
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match=re.escape("got NaN at row 102, column 1 ('b')")):
        validate(bad, 100)


def test_nan_may_stand_for_a_missing_entry(model):
    X = GOOD.copy()
    X[1, 2] = np.nan
    assert check_X(model, X, reset=True, allow_nan=True) is X
    X[3, 0] = -np.inf
    with pytest.raises(
        ValueError, match=r"^Model: X must be finite or NaN, got -inf at row 3, col"
    ):
        check_X(model, X, reset=True, allow_nan=True)
    validate = chunk_check("Model", allow_nan=True)
    assert validate(X[:3], 0) is not None
    with pytest.raises(ValueError, match="got -inf at row 13, column 0"):
        validate(X, 10)
    with sklearn.config_context(assume_finite=True):
        check_X(model, X, reset=True, allow_nan=True)


def test_sparse_chunks_may_be_refused():
    validate = chunk_check("Model", accept_sparse=False)
    with pytest.raises(TypeError, match=r"^Model: X must be dense, got a sparse chunk of shape"):
        validate(sp.csr_array(GOOD), 0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_missing_values_do_not_hide_what_else_is_wrong(order):
    X = np.array([[np.nan, 1.0], [2.0, np.nan], [-3.0, 0.5]], order=order)
    assert check_values(X, "Owner", allow_nan=True)
    assert check_values(np.full((3, 2), np.nan), "Owner", allow_nan=True)
    for bad in (np.inf, -np.inf):
        Y = X.copy(order="K")
        Y[2, 1] = bad
        with pytest.raises(ValueError, match=rf"finite or NaN, got {bad} at row 2, column 1"):
            check_values(Y, "Owner", allow_nan=True)
    with pytest.raises(ValueError, match="finite, got NaN at row 0, column 0 and 1 more"):
        check_values(X, "Owner")
    X[2, 0] = -1e200
    with pytest.raises(ValueError, match=r"small enough to be squared in float64, got .* 1e"):
        check_values(X, "Owner", allow_nan=True)
    assert check_values(X, "Owner", allow_nan=True, squared=False)
