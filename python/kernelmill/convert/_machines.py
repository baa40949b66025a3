"""Support vector machines of scikit-learn as ours, and back."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse

from kernelmill._arrays import is_sparse, to_host
from kernelmill.convert._attributes import fitted_on

_THERE = ("linear", "poly", "rbf", "sigmoid", "precomputed")


def here(ours: Any, theirs: Any) -> None:
    """Constants of the pairs, from intercepts about the origin 0, and sigmoids."""
    width = getattr(theirs, "_gamma", None)  # no public attribute has what "scale" gave
    ours._gamma = float(theirs.gamma if width is None else width)
    ours._origin = None
    ours.n_support_ = np.array(theirs.n_support_)
    if callable(theirs.kernel):  # the rows of the fit, which theirs keeps privately
        rows = next(v for k, v in vars(theirs).items() if k.endswith("__Xfit"))
        ours.support_vectors_ = _picked(rows, theirs.support_)
        ours.n_features_in_ = ours.support_vectors_.shape[1]
    intercepts = np.array(theirs.intercept_)
    if not hasattr(theirs, "classes_"):
        ours._constant = float(intercepts[0])
        return
    ours._constants = -intercepts if len(theirs.classes_) == 2 else intercepts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn 1.9 means to remove them
        if len(theirs.probA_):
            ours.probA_, ours.probB_ = np.array(theirs.probA_), np.array(theirs.probB_)


def _picked(rows: Any, chosen: np.ndarray) -> Any:
    """Some rows, of numbers or of objects as one column."""
    if hasattr(rows, "shape"):
        return rows[chosen]
    column = np.empty((len(chosen), 1), object)
    column[:, 0] = [rows[i] for i in chosen]
    return column


def _vectors(ours: Any) -> Any:
    """Support vectors as theirs keeps them; refuses what theirs cannot hold."""
    if not callable(ours.kernel) and ours.kernel not in _THERE:
        raise NotImplementedError(
            f"to_sklearn: kernel must be a function or one of {', '.join(_THERE)}, got "
            f"{ours.kernel!r} (scikit-learn has no machine of that name; it takes "
            f"sklearn.metrics.pairwise.{ours.kernel}_kernel as a function)"
        )
    own = to_host(ours.support_vectors_)
    if own.dtype.kind == "O":
        return list(own[:, 0])
    if not is_sparse(own):
        return np.ascontiguousarray(own, np.float64)
    own = scipy.sparse.csr_matrix(own, dtype=np.float64, copy=True)
    own.sort_indices()
    own.indices, own.indptr = own.indices.astype(np.int32), own.indptr.astype(np.int32)
    return own


def _rows(ours: Any) -> Any:
    """Rows that theirs is fitted on: two of each class, of what a row is like."""
    vectors, k = _vectors(ours), len(getattr(ours, "classes_", (0,)))
    if callable(ours.kernel):  # takes rows of its own kind alone
        ends = np.cumsum(ours.n_support_)
        chosen = np.concatenate([np.resize(np.arange(e - m, e), 2) if m else np.zeros(2, int)
                                 for e, m in zip(ends, ours.n_support_, strict=True)])  # fmt: skip
        return _picked_as_given(vectors, chosen)
    blank = np.zeros((2 * k, 2 * k if ours.kernel == "precomputed" else ours.n_features_in_))
    blank[:, 0] = np.repeat(np.arange(k), 2)
    if ours.kernel == "precomputed":
        blank = np.kron(np.eye(k), np.ones((2, 2)))
    return scipy.sparse.csr_matrix(blank) if is_sparse(vectors) else blank


def _picked_as_given(vectors: Any, chosen: np.ndarray) -> Any:
    return vectors[chosen] if hasattr(vectors, "shape") else [vectors[i] for i in chosen]


def _targets(ours: Any) -> Any:
    return np.repeat(ours.classes_, 2) if hasattr(ours, "classes_") else np.arange(2.0)


def _finish(theirs: Any, ours: Any) -> None:
    """The attributes that LIBSVM reads, most of which are private."""
    vectors, signed = _vectors(ours), hasattr(ours, "classes_")
    count = len(ours.support_)
    theirs.support_ = np.array(ours.support_, np.int32)
    theirs.shape_fit_ = tuple(ours.shape_fit_)
    if callable(ours.kernel):  # numbers of rows in what it was fitted on
        theirs.support_, theirs.shape_fit_ = np.arange(count, dtype=np.int32), (count, count)
        name = next(name for name in vars(theirs) if name.endswith("__Xfit"))
        setattr(theirs, name, vectors)
    elif ours.kernel != "precomputed":
        theirs.support_vectors_ = vectors
    if ours.kernel == "precomputed" or callable(ours.kernel):
        theirs.support_vectors_ = np.empty((0, 0))
    theirs._gamma = 0.0 if ours._gamma is None else float(ours._gamma)
    number = np.zeros_like(theirs._n_support)
    number[: len(ours.n_support_)] = ours.n_support_
    theirs._n_support = number
    flip = -1.0 if signed and len(ours.classes_) == 2 else 1.0  # theirs has both signs
    theirs.intercept_ = np.array(to_host(ours.intercept_), np.float64)
    if hasattr(ours, "offset_"):  # a row on the border, up to rounding, is inside here
        size = float(np.abs(theirs.intercept_).max() + np.abs(ours._dual).sum())
        theirs.intercept_ += 32 * np.finfo(ours._precision()).eps * size
        theirs.offset_ = -theirs.intercept_
    theirs._intercept_ = flip * theirs.intercept_
    dense = np.ascontiguousarray(ours._dual, np.float64)
    theirs.dual_coef_, theirs._dual_coef_ = dense, flip * dense
    if is_sparse(vectors) and not callable(ours.kernel):
        theirs.dual_coef_, theirs._dual_coef_ = _stored(dense), _stored(flip * dense)
    theirs._effective_probability = hasattr(ours, "probA_")
    theirs._probA = np.array(getattr(ours, "probA_", ()), np.float64)
    theirs._probB = np.array(getattr(ours, "probB_", ()), np.float64)


def _stored(dense: np.ndarray) -> scipy.sparse.csr_matrix:
    """A CSR matrix that stores its zeros, too: LIBSVM reads its data as a dense array."""
    k, m = dense.shape
    indices, begins = np.tile(np.arange(m), k), np.arange(0, k * m + 1, max(m, 1))[: k + 1]
    begins = begins if m else np.zeros(k + 1, np.int64)
    return scipy.sparse.csr_matrix((dense.ravel().copy(), indices, begins), shape=dense.shape)


back = fitted_on(
    _rows,
    _targets,
    _finish,
    nu=0.5,
    C=1.0,
    max_iter=1000,
    class_weight=None,
    probability=lambda ours: False,
    break_ties=False,
)
