"""LocallyLinearEmbedding and its relatives: maps that keep what holds within each neighbourhood."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from sklearn.utils.validation import check_is_fitted

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._linalg import lapack_threads, largest_eigenpairs, some_eigenpairs
from kernelmill._estimator._random import seed_of
from kernelmill.manifold._laplacian import WHOLE, factors
from kernelmill.manifold._rows import Neighbourly, normals, turned
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import SEARCH, check_pair

_BLOCK_BYTES = 32 << 20
_SHIFT = 1e-12  # of the matrix before its factors, relative to its mean diagonal


class LocallyLinearEmbedding(Neighbourly):
    """A map on which each row depends on its neighbours as it does in X.

    ``"standard"`` finds weights w that give a row back from its k neighbours, ``x_i ~ sum_j w_ij
    x_j`` with ``sum_j w_ij = 1``, and then the points with ``y_i ~ sum_j w_ij y_j``: eigenvectors
    of ``M = (I - W)' (I - W)`` with the least eigenvalues but for the constant one. The other
    methods sum up another M of each neighbourhood.

    Parameters
    ----------
    n_neighbors : int, default=5
        Neighbours of a row, without itself.
    reg : float, default=0.001
        What is added to the diagonal of the Gram matrix of a neighbourhood, relative to its trace.
    tol : float, default=1e-6
        Ignored; present for API compatibility: eigenvectors have the precision of floats.
    max_iter : int, default=100
        Ignored; present for API compatibility.
    method : {"standard", "hessian", "modified", "ltsa"}, default="standard"
        ``"modified"`` uses several independent weights of a neighbourhood, ``"hessian"`` its second
        derivatives, ``"ltsa"`` its tangent space.
    hessian_tol : float, default=1e-4
        Sums of columns below it do not scale them, for ``"hessian"``.
    modified_tol : float, default=1e-12
        Shorter vectors are no directions, for ``"modified"``.

    Attributes
    ----------
    embedding_
    reconstruction_error_ : float
        Sum of the eigenvalues.
    nbrs_ : NearestNeighbors
        The rows of ``fit``, ready to be searched.
    n_features_in_, feature_names_in_

    Notes
    -----
    No row is its own neighbour, also where rows are equal. The constant vector is an eigenvector of
    0 for every method; Lanczos' iteration works on what is orthogonal to it. Columns have length 1.

    References
    ----------
    Roweis, Saul (2000), "Nonlinear dimensionality reduction by locally linear embedding"; Donoho,
    Grimes (2003), "Hessian eigenmaps"; Zhang, Wang (2006), "MLLE: modified locally linear embedding
    using multiple weights"; Zhang, Zha (2004), "Principal manifolds and nonlinear dimensionality
    reduction via tangent space alignment".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import LocallyLinearEmbedding
    >>> t = np.linspace(0, 3, 60)
    >>> X = np.stack([np.cos(t), np.sin(t)], axis=1)
    >>> model = LocallyLinearEmbedding(n_neighbors=6, n_components=1).fit(X)
    >>> y = model.embedding_.ravel()
    >>> bool((np.diff(y) > 0).all() or (np.diff(y) < 0).all())
    True
    """

    _accepts_sparse = False
    _parameters: ClassVar = {
        "n_neighbors": rule.integer(1),
        "n_components": rule.integer(1),
        "reg": rule.real(0),
        "eigen_solver": rule.one_of("auto", "arpack", "dense"),
        "tol": rule.real(0),
        "max_iter": rule.integer(1),
        "method": rule.one_of("standard", "hessian", "modified", "ltsa"),
        "hessian_tol": rule.real(0),
        "modified_tol": rule.real(0),
        "neighbors_algorithm": SEARCH["algorithm"],
        "random_state": rule.RANDOM_STATE,
        "n_jobs": SEARCH["n_jobs"],
    }
    embedding_: Any

    def __init__(
        self,
        *,
        n_neighbors=5,
        n_components=2,
        reg=1e-3,
        eigen_solver="auto",
        tol=1e-6,
        max_iter=100,
        method="standard",
        hessian_tol=1e-4,
        modified_tol=1e-12,
        neighbors_algorithm="auto",
        random_state=None,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    @property
    def algorithm(self):  # type: ignore[override]
        """How to search."""
        return self.neighbors_algorithm

    @property
    def _asked(self) -> int:
        return int(self.n_neighbors)

    @fitting
    def fit(self, X, y=None):
        """Make the map of X.

        Raises
        ------
        ValueError
            If X is not finite, or has too few rows, features or neighbours for the method.
        """
        owner = type(self).__name__
        rows = self._fit_rows(X)
        n, d = rows.X.shape
        q, k = int(self.n_components), int(self.n_neighbors)
        check_pair(n, owner)
        if k >= n:
            raise ValueError(
                f"{owner}: n_neighbors must be less than the number of rows, {n}, got {k} "
                f"(Expected n_neighbors < n_samples, but n_samples = {n}, n_neighbors = {k})"
            )
        if q > d:
            raise ValueError(
                f"{owner}: n_components must be at most the number of features, {d}, got {q} "
                "(output dimension must be less than or equal to input dimension)"
            )
        least = {"hessian": q * (q + 3) // 2 + 1, "modified": q, "ltsa": q}.get(self.method, 1)
        if k < least:
            raise ValueError(
                f"{owner}: n_neighbors must be at least {least} for method={self.method!r} and "
                f"n_components={q}, got {k}"
            )
        near = self._nearest(None, k)[1]
        M = matrix_of(
            rows.X.astype(np.float64),
            near,
            self.method,
            q,
            reg=float(self.reg),
            hessian_tol=float(self.hessian_tol),
            modified_tol=float(self.modified_tol),
        )
        values, vectors = flattest(M, q, seed_of(self.random_state))
        self.embedding_ = vectors.astype(rows.dtype)
        self.reconstruction_error_ = float(values.sum())
        return self

    def transform(self, X):
        """Put other rows on the map, by their weights of neighbours in ``fit``.

        Returns
        -------
        embedding : ndarray of shape (n, q), dtype of X
            Their points.
        """
        check_is_fitted(self, "embedding_")
        near = self._nearest(X, int(self.n_neighbors))[1]
        space = self._space
        Q = self._queries(X)[0].astype(np.float64)
        w = barycenters(Q, space.rows.astype(np.float64), near, float(self.reg))
        points = np.einsum("ij,ijc->ic", w, self.embedding_[near].astype(np.float64))
        return points.astype(self.embedding_.dtype)


def locally_linear_embedding(
    X,
    *,
    n_neighbors,
    n_components,
    reg=1e-3,
    eigen_solver="auto",
    tol=1e-6,
    max_iter=100,
    method="standard",
    hessian_tol=1e-4,
    modified_tol=1e-12,
    random_state=None,
    n_jobs=None,
):
    """A map on which each row depends on its neighbours as it does in X.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows in memory.
    reg : float, default=0.001
        As for `LocallyLinearEmbedding`, like all that follow.
    tol : float, default=1e-6
        Ignored.
    max_iter : int, default=100
        Ignored.
    method : {"standard", "hessian", "modified", "ltsa"}, default="standard"
        Which matrix.
    hessian_tol : float, default=1e-4
        For ``"hessian"``.
    modified_tol : float, default=1e-12
        For ``"modified"``.

    Returns
    -------
    embedding : ndarray of shape (n, q), dtype of X
        The map.
    squared_error : float
        Sum of the eigenvalues.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import locally_linear_embedding
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> locally_linear_embedding(X, n_neighbors=5, n_components=2)[0].shape
    (40, 2)
    """
    model = LocallyLinearEmbedding(
        n_neighbors=n_neighbors, n_components=n_components, reg=reg, eigen_solver=eigen_solver,
        tol=tol, max_iter=max_iter, method=method, hessian_tol=hessian_tol,
        modified_tol=modified_tol, random_state=random_state, n_jobs=n_jobs
    ).fit(X)  # fmt: skip
    return model.embedding_, model.reconstruction_error_


def barycenters(Q: np.ndarray, X: np.ndarray, near: np.ndarray, reg: float) -> np.ndarray:
    """Weights of the neighbours that give each query back, with sum 1: (n, k).

    ``(G + r I) w = 1`` with ``G_ab = (x_a - q) (x_b - q)`` and r a share of the trace of G; where
    all neighbours are equal to the query they have equal weights.
    """
    n, k = near.shape
    w = np.empty((n, k))
    step = max(1, _BLOCK_BYTES // (8 * k * (X.shape[1] + k)))
    for start in range(0, n, step):
        part = slice(start, start + step)
        Z = X[near[part]] - Q[part, None]
        G = Z @ Z.transpose(0, 2, 1)
        trace = np.trace(G, axis1=1, axis2=2)
        G[:, np.arange(k), np.arange(k)] += np.where(trace > 0, reg * trace, 1.0)[:, None]
        ones = np.ones((len(G), k, 1))
        try:
            found = np.linalg.solve(G, ones)[:, :, 0]
        except np.linalg.LinAlgError:  # without a regulariser
            found = (np.linalg.pinv(G, hermitian=True) @ ones)[:, :, 0]
        w[part] = found / found.sum(axis=1, keepdims=True)
    return w


def matrix_of(
    X: np.ndarray, near: np.ndarray, method: str, q: int, *, reg: float, hessian_tol: float,
    modified_tol: float
) -> scipy.sparse.csr_array:  # fmt: skip
    """The matrix M of a method, positive semidefinite; the constant vector gives 0."""
    n, k = near.shape
    if method == "standard":
        W = scipy.sparse.csr_array(
            (barycenters(X, X, near, reg).ravel(), near.ravel(), np.arange(0, n * k + 1, k)),
            shape=(n, n),
        )
        A = scipy.sparse.eye_array(n, format="csr") - W
        return (A.T @ A).tocsr()
    if method == "modified":
        B = _several_weights(X, near, q, reg, modified_tol)
        return _summed(B @ B.transpose(0, 2, 1), np.column_stack([np.arange(n), near]), n)
    Z = X[near]
    Z = Z - Z.mean(axis=1, keepdims=True)
    # The leading left singular vectors: of the smaller of both squares.
    U = np.linalg.svd(Z, full_matrices=False)[0][:, :, :q]
    if U.shape[2] < q:  # fewer features than coordinates cannot be: q <= d, and q <= k
        raise AssertionError
    if method == "ltsa":
        G = np.concatenate([np.full((n, k, 1), 1 / np.sqrt(k)), U], axis=2)
        return _summed(np.eye(k) - G @ G.transpose(0, 2, 1), near, n)
    pairs = [U[:, :, a] * U[:, :, b] for a in range(q) for b in range(a, q)]
    Y = np.concatenate([np.ones((n, k, 1)), U, np.stack(pairs, axis=2)], axis=2)
    H = np.linalg.qr(Y)[0][:, :, q + 1 :]
    sums = H.sum(axis=1, keepdims=True)
    H = H / np.where(np.abs(sums) < hessian_tol, 1, sums)
    return _summed(H @ H.transpose(0, 2, 1), near, n)


def _several_weights(X: np.ndarray, near: np.ndarray, q: int, reg: float, tol: float) -> np.ndarray:
    """For each row the columns ``(1, -w)`` of its independent weights w, zeros beyond."""
    n, k = near.shape
    Z = X[near] - X[:, None]
    G = Z @ Z.transpose(0, 2, 1)
    values, V = np.linalg.eigh(G)  # ascending
    values = np.maximum(values, 0)
    w = barycenters(X, X, near, reg)
    # Shares of what lies outside the q widest directions, and the median of them.
    total = values.sum(axis=1)
    outside = np.cumsum(values, axis=1)  # the least 1, 2, ... together
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = outside[:, k - q - 1] / (total - outside[:, k - q - 1]) if k > q else np.zeros(n)
        share = outside / (total[:, None] - outside)
    eta = float(np.median(np.nan_to_num(rho)))
    # As many as stay below it, and at least one.
    most = max(k - q, 1)
    count = np.maximum((np.nan_to_num(share[:, :most]) < eta).sum(axis=1), 1)
    used = np.arange(k) < count[:, None]
    V = V * used[:, None]
    ones = V.sum(axis=1)
    alpha = np.linalg.norm(ones, axis=1) / np.sqrt(count)
    h = np.where(used, alpha[:, None], 0) - ones
    length = np.linalg.norm(h, axis=1, keepdims=True)
    h = np.where(length < tol, 0, h / np.where(length < tol, 1, length))
    W = V - 2 * (V @ h[:, :, None]) * h[:, None]
    W += (1 - alpha)[:, None, None] * w[:, :, None] * used[:, None]
    return np.concatenate([used[:, None].astype(float), -W], axis=1)


def _summed(parts: np.ndarray, near: np.ndarray, n: int) -> scipy.sparse.csr_array:
    """The sum of a small matrix for each row, in the places of its neighbours."""
    k = near.shape[1]
    row = np.repeat(near, k, axis=1).ravel()
    column = np.tile(near, (1, k)).ravel()
    return scipy.sparse.coo_array((parts.ravel(), (row, column)), shape=(n, n)).tocsr()


def flattest(M: Any, q: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The q least eigenvalues of M and their vectors, orthogonal to the constant one."""
    n = M.shape[0]
    mean = M.diagonal().sum() / n
    if n <= WHOLE or q + 2 >= n:
        full = M.toarray()
        full = (full + full.T) / 2
        full += mean  # the constant vector gets the largest eigenvalue
        with lapack_threads(n):
            values, vectors = some_eigenpairs(full, 0, min(q, n - 1) - 1)
        return np.maximum(values, 0), turned(vectors)
    shift = _SHIFT * mean
    factor = factors(M.T + shift * scipy.sparse.eye_array(n, format="csc"))

    def solved(v: np.ndarray) -> np.ndarray:
        v = v.ravel()
        x = factor.solve(v - v.mean())
        return x - x.mean()

    inverse = scipy.sparse.linalg.LinearOperator((n, n), solved, dtype=np.float64)
    v0 = normals(seed, 11, n, 1).ravel()
    # The eigenvalues of the inverse lie far apart, so few vectors do.
    values, vectors = largest_eigenpairs(inverse, q, v0 - v0.mean(), ncv=min(n - 1, 2 * q + 6))
    return np.maximum(1 / values[::-1] - shift, 0), turned(vectors[:, ::-1])


complete(locally_linear_embedding, WORDS)
