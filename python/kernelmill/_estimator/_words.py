"""What the docstrings of estimators have in common."""

from __future__ import annotations

from kernelmill._docstrings import Words

_WEIGHTS = "array-like of shape (n,)"
_IGNORED = "Ignored; present for API compatibility."
_SOURCES = (
    "nested lists; or anything `kernelmill.stream.source` takes: a path to ``.npy`` or Parquet "
    "files, a memory map, an iterable of chunks, a Dask collection."
)
DENSE_ROWS = (
    "array-like of shape (n, d), or a stream",
    f"Rows: NumPy or CuPy array of any strides, pandas or polars frame, pyarrow Table, {_SOURCES} "
    "NaN is a missing value.",
)

WORDS = Words(
    arguments={
        "X": ("{array-like, sparse matrix} of shape (n, d), or a stream", "Rows; see ``fit``."),
        "fit.X": ("{array-like, sparse matrix} of shape (n, d), or a stream",
            "Rows: NumPy or CuPy array of any strides, SciPy sparse matrix, pandas or polars "
            f"frame, pyarrow Table, {_SOURCES}"),
        "y": ("ignored", _IGNORED),
        "copy": ("ignored", f"{_IGNORED} X is never modified."),
        "sample_weight": (_WEIGHTS, "Weights of the rows."),
        "fit.**params": ("", "Arguments for the splitter and the scorer, as ``groups``, which "
            "scikit-learn's metadata routing passes on where it is enabled."),
        "score.**params": ("", "Arguments for the scorer, by scikit-learn's metadata routing."),
        "fit.sample_weight": (_WEIGHTS,
            "Weights of the rows, or the name of a column of a frame or Parquet file. A weight of "
            "2 counts a row twice; rows with zero weight are ignored."),
    },
    parameters={
        "copy": ("bool", f"{_IGNORED} X is never modified."),
        "random_state": ("int, RandomState, Generator or None",
            "Seed or generator; an int gives the same result, bit for bit, at any number of "
            "threads."),
        "verbose": ("int", "Whether to show a progress bar; nothing else is printed."),
        "verbose_interval": ("int", _IGNORED),
    },
    attributes={
        "n_features_in_": ("int", "Number of features d."),
        "feature_names_in_": ("ndarray of shape (d,), object",
            "Column names of X, if it has string names."),
        "n_iter_": ("int", "Iterations of the best start."),
    },
    raises={"X": "ValueError\n    If X is not finite or has other features than in ``fit``."},
)
