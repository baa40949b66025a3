"""Every kind of source, and an op whose sums show what was read in which order."""

import numpy as np
import pytest
import scipy.sparse


def moments(X, shift=0.0, sample_weight=None):
    """An op: weighted count, sum and Gram matrix of the shifted rows, in float64."""
    X = X.toarray() if scipy.sparse.issparse(X) else X
    X = np.ascontiguousarray(X, dtype=np.float64) - shift  # BLAS sums by layout
    w = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    return w.sum(), (w[:, None] * X).sum(axis=0), {"gram": (X * w[:, None]).T @ X}


def small_integers(n=103, d=5, dtype=np.float32):
    """Sums of these are exact in any order."""
    return np.random.default_rng(0).integers(-8, 9, size=(n, d)).astype(dtype)


def real_numbers(n=103, d=5, dtype=np.float64):
    return np.random.default_rng(1).normal(size=(n, d)).astype(dtype)


def assert_equal(a, b):
    assert a[0] == b[0]
    np.testing.assert_array_equal(a[1], b[1])
    np.testing.assert_array_equal(a[2]["gram"], b[2]["gram"])


def chunked(X, rows, w=None):
    for start in range(0, len(X), rows):
        part = X[start : start + rows]
        yield part if w is None else (part, w[start : start + rows])


def make_npy(X, folder):
    np.save(folder / "X.npy", X)
    return folder / "X.npy"


def make_memmap(X, folder, order="C", mode="r"):
    shape = X.shape
    written = np.memmap(folder / "X.bin", dtype=X.dtype, mode="w+", shape=shape, order=order)
    written[:] = X
    written.flush()
    return np.memmap(folder / "X.bin", dtype=X.dtype, mode=mode, shape=shape, order=order)


def make_frame(kind):
    def make(X, folder):
        module = pytest.importorskip(kind, reason=f"{kind} is not installed")
        columns = {f"c{j}": X[:, j] for j in range(X.shape[1])}
        return (module.table if kind == "pyarrow" else module.DataFrame)(columns)

    return make


def make_parquet(X, folder, name="X.parquet", group=17):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    table = pyarrow.table({f"c{j}": X[:, j] for j in range(X.shape[1])})
    parquet.write_table(table, folder / name, row_group_size=group)
    return folder / name


def read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


SOURCES = {
    "array": lambda X, folder: X,
    "read-only": read_only,
    "Fortran": lambda X, folder: np.asfortranarray(X),
    "reversed": lambda X, folder: X[::-1, ::-1].copy()[::-1, ::-1],
    "lists": lambda X, folder: X.tolist(),
    "csr matrix": lambda X, folder: scipy.sparse.csr_matrix(X),
    "csr array": lambda X, folder: scipy.sparse.csr_array(X),
    "coo array": lambda X, folder: scipy.sparse.coo_array(X),
    "pandas": make_frame("pandas"),
    "polars": make_frame("polars"),
    "pyarrow": make_frame("pyarrow"),
    "npy path": make_npy,
    "npy text path": lambda X, folder: str(make_npy(X, folder)),
    "memmap": make_memmap,
    "memmap Fortran": lambda X, folder: make_memmap(X, folder, order="F"),
    "memmap r+": lambda X, folder: make_memmap(X, folder, mode="r+"),
    "memmap copy-on-write": lambda X, folder: make_memmap(X, folder, mode="c"),
    "memmap slice": lambda X, folder: make_memmap(np.vstack([X, X]), folder)[: len(X)],
    "memmap reversed": lambda X, folder: make_memmap(X[::-1], folder)[::-1],
    "list of chunks": lambda X, folder: list(chunked(X, 7)),
    "function": lambda X, folder: lambda: chunked(X, 7),
    "list of frames": lambda X, folder: [make_frame("pandas")(p, folder) for p in chunked(X, 40)],
    "list of csr": lambda X, folder: [scipy.sparse.csr_array(p) for p in chunked(X, 40)],
    "polars lazy": lambda X, folder: make_frame("polars")(X, folder).lazy(),
    "polars scan": lambda X, folder: pytest.importorskip("polars").scan_parquet(
        make_parquet(X, folder)
    ),
    "dataset": lambda X, folder: pytest.importorskip("pyarrow.dataset").dataset(
        make_parquet(X, folder), format="parquet"
    ),
    "Parquet": make_parquet,
    "Parquet text": lambda X, folder: str(make_parquet(X, folder)),
    "Parquet list": lambda X, folder: [
        make_parquet(X[:50], folder, "z.parquet"),
        make_parquet(X[50:], folder, "a.parquet"),
    ],
    "Parquet folder": lambda X, folder: [
        make_parquet(X[:50], folder, "1.parquet"),
        make_parquet(X[50:], folder, "2.parquet"),
        folder,
    ][-1],
    "Parquet glob": lambda X, folder: [
        make_parquet(X[:50], folder, "1.parquet"),
        make_parquet(X[50:], folder, "2.parquet"),
        str(folder / "*.parquet"),
    ][-1],
}
