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
from scipy.special import psi, xlogy

from ._op import op

_WHY = "the models that use it run on the CPU only"
CONTRASTS = ("logcosh", "exp", "cube")
EPS = float(np.finfo(np.float64).eps)
_LEAST_SQUARES = 1e-280  # a sum of squares below has lost some of them


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
    "Z: T[n>=1,k], found: f64[f,k], w: inout f64[k], contrast: int[0,3), alpha: float,"
    " most: int[0,2**31), tol: float -> done: int, turned: float",
    cuda=_WHY,
)
def deflation(
    Z: np.ndarray, found: np.ndarray, w: np.ndarray, contrast: int, alpha: float, most: int,
    tol: float,
) -> tuple[int, float]:  # fmt: skip
    """Fixed-point steps of FastICA for one direction beside those that are found.

    A step is ``w <- E[g(u) z] - E[g'(u)] w`` for ``u = w'z``, less what it has of the rows of
    `found`, at length 1.

    Parameters
    ----------
    Z : ndarray of shape (n, k), float32 or float64
        Whitened rows.
    found : ndarray of shape (f, k), float64
        Orthonormal directions.
    w : ndarray of shape (k,), float64, C-contiguous, updated in place
        The direction that is sought, of length 1.
    contrast, alpha : int, float
        As in `contrasts`.
    most : int
        Most steps.
    tol : float
        Steps end after one in which `turned` is less.

    Returns
    -------
    done : int
        Number of steps.
    turned : float
        ``|1 - |cos||`` of the angle that the last step turned w by; 1 if there was none.

    Notes
    -----
    Cost of a step 4 n k flops and n values of g.

    References
    ----------
    Hyvarinen and Oja (2000), "Independent component analysis: algorithms and applications".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> Z, w = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]), np.array([0.8, 0.6])
    >>> decomposition.deflation(Z, np.empty((0, 2)), w, 0, 1.0, 50, 1e-9)[0], abs(w).round(6)
    (4, array([1., 0.]))
    """
    done, turned = 0, 1.0
    while done < most:
        products, slopes = contrasts.specification(Z, w[None], contrast, alpha)
        new = (products[0] - slopes[0] * w) / len(Z)
        new -= found.T @ (found @ new)
        new /= np.sqrt(new @ new) or 1.0
        turned = abs(abs(float(new @ w)) - 1)
        w[:] = new
        done += 1
        if turned < tol:
            break
    return done, turned


@op("X: T[n,d], mean: f64[d], axes: T[k,d] -> Z: T[n,k]", cuda=_WHY)
def scores(X: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Products of centred rows with axes, ``Z = (X - mean) axes'``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    mean : ndarray of shape (d,), float64
        Taken off in float64, so that float32 rows far from zero keep their digits.
    axes : ndarray of shape (k, d), dtype of X
        Axes as rows.

    Returns
    -------
    Z : ndarray of shape (n, k), dtype of X
        Scores.

    Notes
    -----
    One pass: centred rows stay in the cache. Products are added at the dtype of X. Cost 2 n d k
    flops.

    References
    ----------
    Jolliffe (2002), "Principal Component Analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> decomposition.scores(np.array([[3.0, 4.0]]), np.array([1.0, 1.0]), np.eye(2)[:1])
    array([[2.]])
    """
    centred = (X.astype(np.float64) - mean).astype(X.dtype).astype(np.float64)
    return (centred @ axes.astype(np.float64).T).astype(X.dtype)


@op(
    "K: f64[n,n], start: f64[n], k: int[1,2**31), most: int[0,2**31), tol: float"
    " -> values: f64[k], vectors: f64[k,n], found: int",
    cuda=_WHY,
)
def leading(
    K: np.ndarray, start: np.ndarray, k: int, most: int, tol: float = 0.0
) -> tuple[np.ndarray, np.ndarray, int]:
    """The largest eigenvalues of a symmetric matrix by Lanczos' iteration, and none is missed.

    Columns Q (n, m) are an orthonormal basis of ``v, K v, K^2 v, ...``, so that
    ``K Q = Q T + b q e'`` with a tridiagonal T and the next column q. An eigenvector s of T at
    theta gives Q s, whose residual is ``r = |b s_m|``. In a basis that begins with Q, K is T, a
    matrix C, and b between them. The trace and the sum of squares of C, of order ``N = n - m``,
    are what K has and T and b do not; so with the mean g of its eigenvalues and their sum of
    squares F, none is above

        c = g + sqrt((N - 1) / N (F - N g^2)).

    Beside the k largest theta no eigenvalue of K reaches theta_k if

        theta_k > c + sum_{i > k} r_i^2 / (theta_k - theta_i),

    for then theta_k less the rest of K is positive definite, by its Schur complement.

    Parameters
    ----------
    K : ndarray of shape (n, n), float64
        Symmetric.
    start : ndarray of shape (n,), float64
        The first vector v, not 0.
    k : int
        How many.
    most : int
        Most products with K.
    tol : float, default=0
        Residual relative to the largest magnitude of a theta; at least 8 eps.

    Returns
    -------
    values : ndarray of shape (k,), float64
        Falling; zeros if not found.
    vectors : ndarray of shape (k, n), float64
        Orthonormal rows, whose product with `start` is at least 0; zeros if not found.
    found : int
        1 if residuals are small and no eigenvalue is missed, else 0: within `most` products one of
        the two was not reached, or is out of reach. So it mostly is where eigenvalues are equal.

    Notes
    -----
    Both are asked at every fourth product. Where c is twice theta_k after 12 + 2 k of them, as in a
    matrix with many eigenvalues of one size, the iteration ends. Cost 2 n^2 + 4 n m flops a
    product.

    References
    ----------
    Parlett (1980), "The symmetric eigenvalue problem". Wolkowicz, Styan (1980), "Bounds for
    eigenvalues using traces", for c.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> K = np.diag([1.0, 5.0, 2.0])
    >>> values, vectors, found = decomposition.leading(K, np.ones(3), 1, 3)
    >>> values.round(6), abs(vectors.round(6)), found
    (array([5.]), array([[0., 1., 0.]]), 1)
    """
    n = len(K)
    alpha: list[float] = []
    beta: list[float] = []
    Q = [start / np.linalg.norm(start)]
    squares, trace, nothing = float((K * K).sum()), float(np.trace(K)), np.zeros((k, n))
    if not _LEAST_SQUARES < squares < np.inf:
        return nothing[:, 0], nothing, 0
    for m in range(1, min(most, n) + 1):
        w = K @ Q[-1]
        alpha.append(float(w @ Q[-1]))
        for _ in range(3):
            w = w - np.array(Q).T @ (np.array(Q) @ w)
        b = float(np.linalg.norm(w))
        ended = b <= n * EPS * np.sqrt(squares)
        b = 0.0 if ended else b
        if m >= k and (ended or m % 4 == 0 or m == min(most, n)):
            T = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
            theta, S = np.linalg.eigh(T)
            theta, S = theta[::-1], S[:, ::-1]
            r, size = b * S[-1], np.abs(theta).max()
            N = n - m
            rest = squares - np.sum(T * T) - 2 * b * b + 64 * EPS * squares
            g = (trace - sum(alpha)) / max(N, 1)
            c = g + np.sqrt(max(rest - N * g * g, 0.0) * (N - 1) / N) if N else -np.inf
            with np.errstate(divide="ignore", invalid="ignore"):
                above = c + (r[k:] ** 2 / (theta[k - 1] - theta[k:])).sum()
            if np.abs(r[:k]).max() <= max(tol, 8 * EPS) * size and theta[k - 1] > above:
                S = S[:, :k] * np.where(S[0, :k] < 0, -1, 1)
                return theta[:k], S.T @ np.array(Q), 1
            if m >= 12 + 2 * k and c > 2 * theta[k - 1]:
                break
        if ended:
            break
        beta.append(b)
        Q.append(w / b)
    return nothing[:, 0], nothing, 0


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
    "X: T[n,d], penalties: f64[4], orders: i64[m,k], first: float, tol: float, W: inout T[n,k],"
    " H: inout T[k,d] -> done: int, start: float, violation: float",
    cuda=_WHY,
)
def alternations(
    X: np.ndarray, penalties: np.ndarray, orders: np.ndarray, first: float, tol: float,
    W: np.ndarray, H: np.ndarray,
) -> tuple[int, float, float]:  # fmt: skip
    """Coordinate descent for ``1/2 |X - W H|^2`` and penalties over W, then H, by turns.

    Each half is a sweep of `nonnegative` over W with ``G = H H' + l2 I`` and ``Q = X H' - l1``, or
    over H' with ``W'W`` and ``X'W``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    penalties : ndarray of shape (4,), float64
        Of the entries of W and of half their squares, then of those of H: l1, l2, l1, l2.
    orders : ndarray of shape (m, k), int64
        Coordinates in the order of each sweep, two rows an alternation.
    first : float
        Violation of the first alternation of the fit; below 0 where that is the first of these.
    tol : float
        The share of it that ends the iteration.
    W : ndarray of shape (n, k), dtype of X, C-contiguous, updated in place
        Coefficients of at least 0.
    H : ndarray of shape (k, d), dtype of X, C-contiguous, updated in place
        Components of at least 0.

    Returns
    -------
    done : int
        Number of alternations.
    start : float
        The first violation.
    violation : float
        That of the last alternation, both sweeps added; 0 if there is none.

    Raises
    ------
    IndexError
        If a number in orders is not in [0, k).

    Notes
    -----
    Cost of an alternation 4 n d k + 2 (n + d) k^2 flops.

    References
    ----------
    Cichocki and Phan (2009), "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations". Hsieh and Dhillon (2011), "Fast coordinate descent methods with variable
    selection for non-negative matrix factorization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> X, W, H = np.array([[1.0, 2.0], [2.0, 4.0]]), np.ones((2, 1)), np.ones((1, 2))
    >>> orders = np.zeros((20, 1), dtype=np.int64)
    >>> done, start, violation = decomposition.alternations(X, np.zeros(4), orders, -1.0, 0.1, W, H)
    >>> done, (W @ H).round(6)
    (2, array([[1., 2.],
           [2., 4.]]))
    """
    done, violation, k = 0, 0.0, W.shape[1]
    wrong = orders[(orders < 0) | (orders >= k)]
    if wrong.size:
        raise IndexError(
            f"decomposition.alternations: orders must be in [0, {k}), got {wrong[0]}"
        )
    x, w, h = (A.astype(np.float64) for A in (X, W, H))

    def swept(A: np.ndarray, B: np.ndarray, C: np.ndarray, l1: float, l2: float, i: int) -> float:
        return nonnegative.specification(
            B @ B.T + l2 * np.eye(k), A @ B.T - l1, orders[i], C
        )

    for i in range(0, len(orders) - 1, 2):
        ht = h.T.copy()
        violation = swept(x, h, w, penalties[0], penalties[1], i)
        violation += swept(x.T, w.T, ht, penalties[2], penalties[3], i + 1)
        h = ht.T
        done += 1
        first = violation if first < 0 else first
        if violation <= tol * first:
            break
    W[...], H[...] = w, h
    return done, float(first), float(violation)


@op(
    "X: T[n,d], W: T[n,k], H: T[k,d], beta: float, penalties: f64[2], costs: bool"
    " -> new: T[n,k], above: T[n,k], below: T[n,k], divergence: float",
    cuda=_WHY,
)
def multiplicative(
    X: np.ndarray, W: np.ndarray, H: np.ndarray, beta: float, penalties: np.ndarray, costs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The multiplicative update of W for the beta-divergence of X from ``Y = W H``.

    With ``above = (X Y^(beta - 2)) H'`` and ``below = Y^(beta - 1) H'``

        new = W (above / (below + l1 + l2 W))^gamma

    entry by entry, 0 where the divisor is; gamma is ``1 / (2 - beta)`` below 1, ``1 / (beta - 1)``
    above 2, and else 1. The update of H is that of H' for X' and W'.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows of at least 0, above 0 for beta of at most 0.
    W : ndarray of shape (n, k), dtype of X
        Coefficients of at least 0.
    H : ndarray of shape (k, d), dtype of X
        Components of at least 0.
    beta : float
        Of the divergence: 2 is half the squared distance, 1 that of Kullback and Leibler, 0 that of
        Itakura and Saito.
    penalties : ndarray of shape (2,), float64
        l1 and l2.
    costs : bool
        Whether to compute the divergence.

    Returns
    -------
    new : ndarray of shape (n, k), dtype of X
        W after the update.
    above, below : ndarray of shape (n, k), dtype of X
        Numerator, and denominator without penalties.
    divergence : float
        That of X from ``W H`` before the update, or 0. With y for Y and x for X it is a sum of
        ``(x - y)^2 / 2``, ``x log(x / y) - x + y``, ``x / y - log(x / y) - 1``, or
        ``(x^b + (b - 1) y^b - b x y^(b - 1)) / (b (b - 1))``.

    Notes
    -----
    Unless beta is 2, y is at least ``eps^2`` times the largest entries of W and H. Y is made and
    used up tile by tile. Sums are at the dtype of X, the divergence in float64. Cost 4 n d k
    flops, for beta other than 1 and 2 6 n d k and n d powers.

    References
    ----------
    Lee and Seung (2001), "Algorithms for non-negative matrix factorization". Fevotte and Idier
    (2011), "Algorithms for nonnegative matrix factorization with the beta-divergence".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import decomposition
    >>> X, W, H = np.array([[1.0, 3.0]]), np.ones((1, 1)), np.ones((1, 2))
    >>> new, above, below, value = decomposition.multiplicative(X, W, H, 2, np.zeros(2), True)
    >>> new, above, below, value
    (array([[2.]]), array([[4.]]), array([[2.]]), 2.0)
    """
    x, w, h = (A.astype(np.float64) for A in (X, W, H))
    y, info = w @ h, np.finfo(X.dtype)
    if beta != 2:
        tiny = float(info.eps) ** 2 * float(w.max(initial=0)) * float(h.max(initial=0))
        y = np.maximum(y, tiny or float(info.tiny))
    power = y ** (beta - 2)
    above, below = (x * power) @ h.T, (power * y) @ h.T
    divisor = below + penalties[0] + penalties[1] * w
    gamma = 1 / (2 - beta) if beta < 1 else 1 / (beta - 1) if beta > 2 else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        new = w * np.where(divisor > 0, above / divisor, 0.0) ** gamma
    value = 0.0
    if costs and beta == 2:
        value = float(np.square(x - y).sum()) / 2
    elif costs and beta == 1:
        value = float((xlogy(x, x / y) - x + y).sum())
    elif costs and beta == 0:
        value = float((x / y - np.log(x / y) - 1).sum())
    elif costs:
        terms = x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)
        value = float(terms.sum()) / (beta * (beta - 1))
    return new.astype(X.dtype), above.astype(X.dtype), below.astype(X.dtype), value


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
