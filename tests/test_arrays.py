"""What arrays are, where they live, and errors instead of fallbacks where there is no GPU."""

import builtins
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from kernelmill._arrays import as_matrix, beside, kind, namespace, require_cuda, to_device, to_host
from kernelmill._estimator._parameters import DEVICE
from kernelmill.cluster import HDBSCAN
from kernelmill.decomposition import LatentDirichletAllocation, MiniBatchNMF
from kernelmill.naive_bayes import BernoulliNB
from kernelmill.preprocessing import RobustScaler
from kernelmill.svm import LinearSVC


def test_rule():
    for value in (None, "cpu", "cuda"):
        assert DEVICE.accepts(value)
    for value in ("mps", "gpu", 0, "cuda:0"):
        assert not DEVICE.accepts(value)
    assert "NVIDIA" in DEVICE.words


def test_numpy_stays_where_it_is():
    X = np.eye(2)
    assert to_device(X, None) is X
    assert to_device(X, "cpu") is X
    assert beside(X, X) is X
    assert to_host((X, 1))[0] is X
    assert namespace(X) is np
    assert to_host(X) is X


def test_cuda_without_cupy_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "cupy":
            raise ImportError("No module named 'cupy'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        RuntimeError, match=r"^Model: device must be 'cpu' or None here, got 'cuda' \(CuPy must be"
    ):
        require_cuda("Model")


class FakeCupy(types.ModuleType):
    """CuPy on a machine without a driver, or with some GPUs."""

    def __init__(self, devices):
        super().__init__("cupy")

        def count():
            if isinstance(devices, Exception):
                raise devices
            return devices

        self.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=count))


@pytest.mark.parametrize(
    ("devices", "message"), [(RuntimeError("no driver"), "no driver"), (0, "no GPU was found")]
)
def test_cuda_without_a_gpu(monkeypatch, devices, message):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(devices))
    with pytest.raises(RuntimeError, match=f"Model: device must be .* got 'cuda' .*{message}"):
        require_cuda("Model")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.eye(2), "numpy"),
        (sp.csr_array(np.eye(2)), "sparse"),
        (pd.DataFrame({"a": [1]}), "frame"),
        (pl.DataFrame({"a": [1]}), "frame"),
        (pa.table({"a": [1]}), "frame"),
        (pl.DataFrame({"a": [1]}).lazy(), "lazy"),
        ("a.npy", "path"),
        (["a.parquet", Path("b.parquet")], "paths"),
        ([np.eye(2)], "chunks"),
        (lambda: iter([]), "chunks"),
        ([[1.0], [2.0]], "nested"),
        ([], "nested"),
        (pd.Series([1.0]), "array-like"),
        (None, "other"),
        ({"a": 1}, "other"),
        (int, "other"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kinds(value, what):
    assert kind(value) == what


def test_object_columns_of_numbers_are_numbers():
    frame = pd.DataFrame({"a": [1, None], "b": [1.5, 2]}, dtype=object)
    np.testing.assert_array_equal(as_matrix(frame, "Model"), [[1, 1.5], [np.nan, 2]])
    with pytest.raises(ValueError, match=r"^Model: X must have numeric columns only, got col"):
        as_matrix(frame.assign(b=["1", "x"]), "Model")


def not_canonical(X, kind=sp.csr_matrix):
    """CSR rows whose columns descend, with each entry in two parts."""
    n, d = X.shape
    columns = np.tile(np.repeat(np.arange(d), 2)[::-1], n)
    parts = np.repeat(X[:, ::-1], 2, axis=1).ravel() / 2
    return kind((parts, columns, np.arange(0, 2 * d * n + 1, 2 * d)), shape=X.shape)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_entries_of_sparse_rows_are_added_up_in_a_copy(rng, kind):
    X = np.round(rng.normal(size=(7, 4)) * 16) / 16
    given = not_canonical(X, kind)
    before = given.data.copy(), given.indices.copy(), given.indptr.copy()
    matrix = as_matrix(given, "Model")
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(matrix.toarray(), X)
    for own, kept in zip((given.data, given.indices, given.indptr), before, strict=True):
        np.testing.assert_array_equal(own, kept)
    plain = kind(X)
    assert as_matrix(plain, "Model") is plain


@pytest.mark.parametrize(
    "model",
    [
        HDBSCAN(min_cluster_size=3),
        MiniBatchNMF(2, init="random", random_state=0, max_iter=3000),
        LatentDirichletAllocation(2, random_state=0),
        LinearSVC(),
        BernoulliNB(),
        RobustScaler(with_centering=False),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_add_entries_of_sparse_rows_up(rng, model):
    X = np.maximum(np.round(rng.normal(size=(40, 3)) * 16), 0) / 16
    y, given = X[:, 0] > X[:, 1], not_canonical(X)
    before = given.indices.copy()
    want, found = clone(model).fit(sp.csr_matrix(X), y), clone(model).fit(given, y)
    np.testing.assert_array_equal(given.indices, before)
    name = next(n for n in ("labels_", "components_", "coef_", "feature_log_prob_", "scale_")
                if hasattr(want, n))  # fmt: skip
    np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
