"""Moments of rows: what least squares, ridge, principal components and discriminants need.

Of all rows (`products`), or of the rows of each class in the same pass: their second moments, of
pairs or of single features, sums, and how often each value occurs, which is what naive Bayes needs.
With the moments of all rows, one more pass gives the residuals of rows left out (`left_out`).

Symbols: X is (n, d) data, Y (n, m) targets, w weights, o an origin near the means. A pass over rows
gives sums that add up over chunks with the same origin; the moments about the means follow from
them (`kernelmill._estimator._moments`, `._class_moments`). Labels c are numbers of k classes, from
0 on.

NaN and infinity propagate to the sums that they are in, and may to others of the same row, unless
an op says that it leaves NaN out. Empty X gives zeros. Sums are in float64, in chunks whose bounds
depend on the sizes alone: the same bits at any thread count. Shapes and dtypes that do not fit, and
labels out of range, raise ValueError. Cost n (d + m)^2 flops, half of the product; for CSR rows
with an origin of zeros the square of what a row stores. What is not of pairs costs a few flops an
entry: the time to read X.
"""

from __future__ import annotations

import numpy as np

from ._op import op

_CPU = "the models that use it run on the CPU only"


@op(
    "X: T[n,d]|csr, Y: f64[n,m], origin: f64[p], sample_weight: T[n]? -> products: f64[p+1,p+1]",
    cuda=_CPU,
)
def products(
    X: np.ndarray,
    Y: np.ndarray,
    origin: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Sum ``w z z'`` over rows ``z = (x - o, y - o', 1)``.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows. Repeated entries of a CSR row add up.
    Y : ndarray of shape (n, m), float64
        Targets, m = 0 where there are none.
    origin : ndarray of shape (d + m,), float64
        What is taken off the columns of X and of Y. The nearer to the means, the fewer digits the
        moments about the means lose: (distance / deviation)^2 of those of float64.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    products : ndarray of shape (d + m + 1, d + m + 1), float64
        The symmetric matrix of sums: of products, of z in the last row and column, and of the
        weights in the corner.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import moments
    >>> X, Y = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> moments.products(X, Y, np.array([2.0, 0.0]))
    array([[5., 1., 1.],
           [1., 2., 2.],
           [1., 2., 3.]])
    """
    n, d = X.shape
    if len(origin) != d + Y.shape[1]:
        raise ValueError(
            f"moments.products: origin must have shape (d + m,), got ({len(origin)},) for d = {d} "
            f"and m = {Y.shape[1]}"
        )
    z = np.hstack([X.astype(np.float64) - origin[:d], Y - origin[d:], np.ones((n, 1))])
    weight = np.ones(n) if sample_weight is None else sample_weight.astype(np.float64)
    return (z * weight[:, None]).T @ z


@op(
    "X: T[n,d]|csr, Y: f64[n,m], origin: f64[p], vectors: f64[d,r], scales: f64[a,r],"
    " right: f64[r,m], share: float, brief: bool, sample_weight: T[n]?"
    " -> errors: f64[a,m], residuals: f64[brief?0:a,n,m]",
    cuda=_CPU,
)
def left_out(
    X: np.ndarray,
    Y: np.ndarray,
    origin: np.ndarray,
    vectors: np.ndarray,
    scales: np.ndarray,
    right: np.ndarray,
    share: float,
    brief: bool = False,
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of rows that are left out one at a time, for several ridge penalties.

    With ``z = V'(x - o)`` a penalty of scales s fits ``sum_q z_q s_q t_q`` to ``y - o'``, and a row
    of weight w has the leverage ``h = w (share + sum_q s_q z_q^2)``: without the row the residual
    ``e = y - o' - sum_q z_q s_q t_q`` is ``e / (1 - h)`` (Sherman and Morrison). For ridge
    regression, V are eigenvectors of the weighted products of the centred rows, ``s_q`` one over an
    eigenvalue plus the penalty, t is ``V'X'W(y - o')``, and share one over the sum of the weights.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    Y : ndarray of shape (n, m), float64
        Targets.
    origin : ndarray of shape (d + m,), float64
        What is taken off the columns of X and of Y.
    vectors : ndarray of shape (d, r), float64
        V, a vector a column.
    scales : ndarray of shape (a, r), float64
        s of each penalty.
    right : ndarray of shape (r, m), float64
        t of each target.
    share : float
        The part of the leverage that all rows have.
    brief : bool, default=False
        Whether to leave out the residuals.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    errors : ndarray of shape (a, m), float64
        Weighted sums of the squared residuals.
    residuals : ndarray of shape (a, n, m), or (0, n, m) if brief, float64
        Infinite or NaN where ``h = 1``: nothing is known of a row but what it says itself.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Notes
    -----
    Cost 2 n r (d + a + a m) flops, and one pass over X.

    References
    ----------
    Rifkin and Lippert (2007), "Notes on regularized least squares", MIT-CSAIL-TR-2007-025.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import moments
    >>> X, Y = np.array([[-1.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [3.0]])
    >>> V, s, t = np.eye(1), np.array([[0.5]]), np.array([[3.0]])
    >>> errors, residuals = moments.left_out(X, Y, np.array([0.0, 1.0]), V, s, t, 1 / 3)
    >>> residuals[0, :, 0].round(6).tolist(), errors.round(6).tolist()
    ([3.0, -1.5, 3.0], [[20.25]])
    """
    n, d = X.shape
    if len(origin) != d + Y.shape[1]:
        raise ValueError(
            f"moments.left_out: origin must have shape (d + m,), got ({len(origin)},) for d = {d} "
            f"and m = {Y.shape[1]}"
        )
    weight = np.ones(n) if sample_weight is None else sample_weight.astype(np.float64)
    z = (X.astype(np.float64) - origin[:d]) @ vectors
    rest = (Y - origin[d:]) - np.einsum("nr,ar,rm->anm", z, scales, right)
    kept = 1 - weight * (share + scales @ (z * z).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = rest / kept[:, :, None]
        errors = np.einsum("n,anm->am", weight, residuals * residuals)
    return errors, residuals[:0] if brief else residuals


@op(
    "X: T[n,d], labels: i64[n], origins: f64[k>=1,d], pooled: bool, sample_weight: T[n]?"
    " -> weights: f64[k], sums: f64[k,d], squares: f64[pooled?1:k,d,d]",
    cuda=_CPU,
)
def class_products(
    X: np.ndarray,
    labels: np.ndarray,
    origins: np.ndarray,
    pooled: bool = False,
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum w, ``w z`` and ``w z z'`` over the rows of each class, where ``z = x - o_c``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    labels : ndarray of shape (n,), int64
        The class of each row.
    origins : ndarray of shape (k, d), float64
        An origin near the mean of each class.
    pooled : bool, default=False
        Whether the products are summed over the classes.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        Sums of the weights.
    sums : ndarray of shape (k, d), float64
        Sums of ``w z``.
    squares : ndarray of shape (k, d, d), or (1, d, d) if pooled, float64
        Sums of ``w z z'``.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a label is not a class.
    """
    k, d = origins.shape
    _check_labels("class_products", labels, k)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    z = X.astype(np.float64) - origins[labels]
    weights, sums, squares = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    for c in range(k):
        own = labels == c
        weighted = z[own] * weight[own, None]
        weights[c], sums[c], squares[c] = weight[own].sum(), weighted.sum(0), weighted.T @ z[own]
    return weights, sums, squares.sum(0, keepdims=True) if pooled else squares


@op(
    "X: T[n,d], labels: i64[n], origins: f64[k>=1,d], sample_weight: T[n]?"
    " -> weights: f64[k,d], sums: f64[k,d], squares: f64[k,d]",
    cuda=_CPU,
)
def class_squares(
    X: np.ndarray,
    labels: np.ndarray,
    origins: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum w, ``w z`` and ``w z^2`` over the entries of each class and feature; NaN is left out.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows; NaN is a missing entry.
    labels : ndarray of shape (n,), int64
        The class of each row.
    origins : ndarray of shape (k, d), float64
        An origin near the mean of each class.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    weights, sums, squares : ndarray of shape (k, d), float64
        Of ``z = x - o_c`` for the entries that are there.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a label is not a class.
    """
    k = len(origins)
    _check_labels("class_squares", labels, k)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    z = X.astype(np.float64) - origins[labels]
    there = ~np.isnan(z)
    own, z = there * weight[:, None], np.where(there, z, 0.0)
    of_class = (labels == np.arange(k)[:, None]).astype(np.float64)
    return of_class @ own, of_class @ (own * z), of_class @ (own * z * z)


@op(
    "X: T[n,d]|csr, labels: i64[n], k: int, threshold: float, sample_weight: T[n]?"
    " -> weights: f64[k], sums: f64[k,d], least: float",
    cuda=_CPU,
)
def class_sums(
    X: np.ndarray,
    labels: np.ndarray,
    k: int,
    threshold: float = np.nan,
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Sum ``w x`` over the rows of each class, or w where x is above a threshold.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows. Repeated entries of a CSR row add up in sums, and are compared one by one with a
        threshold, which must not be negative for CSR rows.
    labels : ndarray of shape (n,), int64
        The class of each row.
    k : int
        Number of classes.
    threshold : float, default=nan
        NaN for sums of the entries themselves. NaN in X is never above a threshold.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        Sums of the weights.
    sums : ndarray of shape (k, d), float64
        Sums of the entries.
    least : float
        The least entry, for CSR rows at most 0; inf without any. NaN is passed over.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a label is not a class.
    """
    _check_labels("class_sums", labels, k)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    X = X.astype(np.float64)
    least = float(np.nanmin(X, initial=np.inf))
    entries = X if np.isnan(threshold) else (threshold < X).astype(np.float64)
    sums = np.zeros((k, X.shape[1]))
    for c in range(k):
        own = labels == c
        sums[c] = (weight[own, None] * entries[own]).sum(0)
    weights = np.array([weight[labels == c].sum() for c in range(k)])
    return weights, sums, least


@op(
    "X: T[n,d], labels: i64[n], starts: i64[d+1], tallies: inout f64[k>=1,m],"
    " sample_weight: T[n]? -> ",
    cuda=_CPU,
)
def class_tallies(
    X: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    tallies: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> None:
    """Add up w for each class and each value of each feature, where values are whole numbers.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows of whole numbers from 0 on; what is behind a point is dropped, and NaN is passed over.
    labels : ndarray of shape (n,), int64
        The class of each row.
    starts : ndarray of shape (d + 1,), int64
        Where the values of each feature begin, and after the last where they end; rising from 0 to
        at most m. Values of ``starts[p + 1] - starts[p]`` and more are passed over.
    tallies : ndarray of shape (k, m), float64
        Updated: ``tallies[c, starts[p] + v]`` grows by w for each entry v of feature p.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, a label is not a class, or `starts` does not rise.
    """
    k, m = tallies.shape
    _check_labels("class_tallies", labels, k)
    last = 0
    for start in starts:
        if start < last or start > m:
            raise ValueError(
                f"moments.class_tallies: starts must rise from 0 to {m}, got {start} after {last}"
            )
        last = int(start)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    for p in range(X.shape[1]):
        counted = (X[:, p] >= 0) & (X[:, p] < starts[p + 1] - starts[p])
        place = starts[p] + X[counted, p].astype(np.int64)
        np.add.at(tallies, (labels[counted], place), weight[counted])


def _check_labels(name: str, labels: np.ndarray, k: int) -> None:
    bad = (labels < 0) | (labels >= k)
    if bad.any():
        raise ValueError(
            f"moments.{name}: labels must be from 0 to {k - 1}, got {labels[bad.argmax()]}"
        )
