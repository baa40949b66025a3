"""Principal components, as the first places of maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.linalg

from kernelmill._arrays import is_sparse
from kernelmill._estimator._linalg import lapack_threads, largest_triplets, some_eigenpairs
from kernelmill.manifold._rows import normals, turned

_WHOLE = 1200  # rows or features up to which all eigenvectors are computed


def principal(X: Any, q: int, seed: int) -> np.ndarray:
    """The first q principal components of X, float64 (n, q); random ones beyond the rank.

    Random columns have the deviation of the last component, so that the map is not a line.
    """
    n, d = X.shape
    if not is_sparse(X):
        X = np.ascontiguousarray(X)  # sums have one order
    mean = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    k = min(q, n, d)
    if is_sparse(X) or min(n, d) > _WHOLE:
        A = X.astype(np.float64)
        product = scipy.sparse.linalg.LinearOperator(
            (n, d),
            matvec=lambda v: A @ v.ravel() - mean @ v.ravel(),
            rmatvec=lambda u: A.T @ u.ravel() - mean * u.sum(),
            dtype=np.float64,
        )
        if k >= min(n, d):  # more than Lanczos' iteration gives
            return principal(A.toarray() if is_sparse(X) else A, q, seed)
        start = normals(seed, 7, min(n, d), 1).ravel()
        left, values, _ = largest_triplets(product, k, start)
        places = left * values
    else:
        C = X.astype(np.float64, order="C") - mean
        with lapack_threads(min(n, d)):
            if d <= n:
                vectors = some_eigenpairs(C.T @ C, d - k, d - 1)[1]
                places = C @ vectors[:, ::-1]
            else:
                values, left = some_eigenpairs(C @ C.T, n - k, n - 1)
                places = (left * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    places = turned(places)
    deviation = places.std(axis=0)
    lost = np.ones(q, bool)
    top = deviation.max(initial=0)
    lost[:k] = deviation <= 1e-10 * top
    if top == 0:
        return normals(seed, 8, n, q)
    out = np.zeros((n, q))
    out[:, :k] = places
    out[:, lost] = normals(seed, 8, n, int(lost.sum())) * deviation[~lost[:k]].min()
    return out
