"""Passes over rows for independent components, nonnegative factors and topics.

Symbols: X or Z is (n, d) rows, k the number of components. Each op is a pass whose rows do not
depend on each other.

NaN and infinity propagate to the sums and rows that they are in. Empty input, n = 0 or k = 0,
gives zeros and changes nothing. Deterministic: sums are added up in chunks whose bounds depend on
the sizes alone, the same bits at any thread count. Shapes and dtypes that do not fit raise
ValueError. Cost is given with each op.
"""

from __future__ import annotations

import numpy as np
from scipy.special import psi

from ._op import op

_WHY = "the models that use it run on the CPU only"
CONTRASTS = ("logcosh", "exp", "cube")
EPS = float(np.finfo(np.float64).eps)


@op(
    "Z: T[n,k], W: f64[m,k], contrast: int[0,3), alpha: float"
    " -> products: f64[m,k], slopes: f64[m]",
    cuda=_WHY,
)
def contrasts(
    Z: np.ndarray, W: np.ndarray, contrast: int, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the fixed-point step of FastICA: ``sum g(u) z'`` and ``sum g'(u)`` for ``u = W z``.

    Parameters
    ----------
    Z : ndarray of shape (n, k), float32 or float64
        Whitened rows.
    W : ndarray of shape (m, k), float64
        Directions; used in the dtype of Z.
    contrast : int
        The function g: 0 is ``tanh(alpha u)``, of log cosh; 1 is ``u exp(-u^2 / 2)``; 2 is u^3.
    alpha : float
        Factor of the first.

    Returns
    -------
    products : ndarray of shape (m, k), float64
        ``sum g(u) z'``.
    slopes : ndarray of shape (m,), float64
        ``sum g'(u)``.

    Notes
    -----
    One pass: u and g(u) of a block of rows stay in the cache. Products are added at the dtype of Z
    within blocks of about a hundred rows. Cost 4 n m k flops and n m values of g.

    References
    ----------
    Hyvarinen and Oja (2000), "Independent component analysis: algorithms and applications".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> Z = np.array([[1.0, 0.0], [2.0, 1.0]])
    >>> decomposition.contrasts(Z, np.array([[1.0, 0.0]]), 2, 1.0)
    (array([[17.,  8.]]), array([15.]))
    """
    z = Z.astype(np.float64)
    u = z @ W.astype(Z.dtype).astype(np.float64).T
    if contrast == 0:
        g = np.tanh(alpha * u)
        slope = alpha * (1 - g * g)
    elif contrast == 1:
        e = np.exp(-u * u / 2)
        g, slope = u * e, (1 - u * u) * e
    else:
        g, slope = u**3, 3 * u * u
    return g.T @ z, slope.sum(0)


@op(
    "G: T[k,k], Q: T[n,k], order: i64[r], W: inout T[n,k] -> violation: float",
    cuda=_WHY,
)
def nonnegative(G: np.ndarray, Q: np.ndarray, order: np.ndarray, W: np.ndarray) -> float:
    """One sweep of coordinate descent for ``min 1/2 w'G w - q'w`` with w >= 0, in every row of W.

    A coordinate t moves to ``max(0, w_t - a / G_tt)`` with the slope ``a = G_t w - q_t``; where
    ``G_tt`` is not above 0 it stays.

    Parameters
    ----------
    G : ndarray of shape (k, k), float32 or float64
        Symmetric: products of the components, and penalties.
    Q : ndarray of shape (n, k), dtype of G
        Products of the rows with the components, less penalties.
    order : ndarray of shape (r,), int64
        Coordinates, in the order of the sweep.
    W : ndarray of shape (n, k), dtype of G, C-contiguous, updated in place
        Coefficients of at least 0.

    Returns
    -------
    violation : float
        Sum of what keeps each coordinate from its optimum when it is visited: the size of its
        slope, only of a slope below 0 where w_t is 0.

    Raises
    ------
    IndexError
        If a number in order is not in [0, k).

    Notes
    -----
    Sums are at the dtype of W, the violation in float64. Cost 2 n k r flops.

    References
    ----------
    Cichocki and Phan (2009), "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations". Hsieh and Dhillon (2011), "Fast coordinate descent methods with variable
    selection for non-negative matrix factorization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> W = np.zeros((1, 2))
    >>> decomposition.nonnegative(np.eye(2), np.array([[3.0, -1.0]]), np.arange(2), W)
    3.0
    >>> W
    array([[3., 0.]])
    """
    if order.size and not (order.min() >= 0 and order.max() < len(G)):
        wrong = order[(order < 0) | (order >= len(G))][0]
        raise IndexError(
            f"decomposition.nonnegative: order must be in [0, {len(G)}), got {wrong}"
        )
    violation = 0.0
    w, g, q = W.astype(np.float64), G.astype(np.float64), Q.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        for t in order:
            slope = w @ g[t] - q[:, t]
            counted = np.where(w[:, t] == 0, np.minimum(slope, 0), slope)
            violation += float(np.abs(counted).sum())
            if g[t, t] > 0:
                w[:, t] = np.maximum(w[:, t] - slope / g[t, t], 0)
    W[...] = w
    return violation


@op(
    "X: T[n,d]|csr, topics: f64[d,k], prior: f64[k], gamma: inout f64[n,k], tol: float,"
    " most: int[0,2**31) -> statistics: f64[d,k]",
    cuda=_WHY,
)
def topics(
    X: np.ndarray, topics: np.ndarray, prior: np.ndarray, gamma: np.ndarray, tol: float, most: int
) -> np.ndarray:
    """The E step of latent Dirichlet allocation: each row's topics, and what they say of the words.

    Until gamma changes by less than `tol` in the mean, at most so often:

        theta = exp(psi(gamma) - psi(sum gamma))
        gamma = prior + theta * sum_j x_j b_j / (theta . b_j + eps)

    with b_j the rows of `topics`.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Counts of at least 0. Repeated entries of a CSR row add up.
    topics : ndarray of shape (d, k), float64
        ``exp E[log b]`` of each word in each topic.
    prior : ndarray of shape (k,), float64
        Parameters of the Dirichlet prior of a row's topics.
    gamma : ndarray of shape (n, k), float64, C-contiguous, updated in place
        Parameters of the posterior of each row's topics, above 0, from which the iteration starts.
    tol : float
        Mean absolute change that ends the iteration of a row.
    most : int
        Most iterations of a row.

    Returns
    -------
    statistics : ndarray of shape (d, k), float64
        ``sum x_j theta / (theta . b_j + eps)`` over the rows, theta that of the last gamma. Times
        `topics` these are the expected counts of words in topics.

    Notes
    -----
    A row without counts has gamma = prior. Cost of an iteration 4 k flops for each entry, and k
    values of psi and exp for each row.

    References
    ----------
    Hoffman, Blei and Bach (2010), "Online learning for latent Dirichlet allocation".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> gamma, words = np.ones((1, 2)), np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> found = decomposition.topics(np.array([[4.0, 0.0]]), words, np.full(2, 0.5), gamma, 0, 50)
    >>> gamma.round(3)
    array([[4.483, 0.517]])
    """
    n = len(X)
    statistics = np.zeros(topics.shape)
    with np.errstate(all="ignore"):
        for i in range(n):
            x = X[i].astype(np.float64)
            own = np.flatnonzero(x)
            count, b = x[own], topics[own]
            for _ in range(most):
                theta = np.exp(psi(gamma[i]) - psi(gamma[i].sum()))
                new = prior + theta * ((count / (b @ theta + EPS)) @ b)
                change = np.abs(new - gamma[i]).mean() if len(prior) else 0.0
                gamma[i] = new
                if change < tol:
                    break
            theta = np.exp(psi(gamma[i]) - psi(gamma[i].sum()))
            statistics[own] += np.multiply.outer(count / (b @ theta + EPS), theta)
    return statistics
