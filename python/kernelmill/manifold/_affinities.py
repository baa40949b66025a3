"""Probabilities of neighbours with a given perplexity, for t-SNE."""

from __future__ import annotations

import numpy as np
import scipy.sparse

_MOST_STEPS = 100
# Entropies are within this of what is asked for.
_CLOSE = 1e-8


def conditional(squares: np.ndarray, perplexity: float) -> np.ndarray:
    """p(j | i), proportional to ``exp(-beta_i s_ij)``, of entropy ``log(perplexity)`` in each row.

    Parameters
    ----------
    squares : ndarray of shape (n, k), float64
        Squared distances s.
    perplexity : float
        Effective number of neighbours.

    Notes
    -----
    Distances enter as ``u = (s - min s) / mean(s - min s)``, so their unit does not matter. The
    entropy ``H = log(sum_j exp(-beta u_j)) + beta E[u]`` falls with beta, ``dH / d log(beta) =
    -beta^2 Var[u]``; Newton's step in log(beta) is taken where it stays within the bracket, else
    its middle. Where more rows are equally near than the perplexity, or fewer neighbours there are,
    no beta does, and the limit is taken: neighbours at the least distance alone, or all alike.
    """
    n, k = squares.shape
    u = squares - squares.min(axis=1, keepdims=True)
    mean = u.mean(axis=1, keepdims=True)
    P = np.full((n, k), 1.0 / max(k, 1))
    nearest = (u == 0).sum(axis=1)
    target = np.log(perplexity)
    # Those at the least distance alone.
    alone = (np.log(nearest) >= target) & (mean[:, 0] > 0)
    P[alone] = (u[alone] == 0) / nearest[alone, None]
    open_rows = np.flatnonzero(~alone & (mean[:, 0] > 0) & (np.log(k) > target))
    u = u[open_rows] / mean[open_rows]
    x = np.zeros(len(u))  # log beta
    low, high = np.full(len(u), -np.inf), np.full(len(u), np.inf)
    for _ in range(_MOST_STEPS):
        if not len(open_rows):
            break
        beta = np.exp(x)
        e = np.exp(-beta[:, None] * u)
        total = e.sum(axis=1)
        e /= total[:, None]
        first = (e * u).sum(axis=1)
        variance = np.maximum((e * u * u).sum(axis=1) - first**2, 0)
        excess = np.log(total) + beta * first - target
        P[open_rows] = e
        going = np.abs(excess) > _CLOSE
        high = np.where(excess < 0, np.minimum(high, x), high)
        low = np.where(excess > 0, np.maximum(low, x), low)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = x + np.clip(excess / (beta**2 * variance), -3, 3)
        middle = np.where(np.isinf(low), x - 3, np.where(np.isinf(high), x + 3, (low + high) / 2))
        x = np.where((newton > low) & (newton < high), newton, middle)
        x, u, open_rows, low, high = (v[going] for v in (x, u, open_rows, low, high))
    return P


def joint(distances: np.ndarray, indices: np.ndarray, perplexity: float) -> scipy.sparse.csr_array:
    """``P = (C + C') / (2 n)`` of the conditional probabilities C of the neighbours.

    Parameters
    ----------
    distances, indices : ndarrays of shape (n, k)
        Neighbours of each row.
    """
    n, k = distances.shape
    top = distances.max(axis=1, keepdims=True)
    squares = (distances / np.where(top > 0, top, 1)) ** 2  # in a unit of each row
    C = scipy.sparse.csr_array(
        (conditional(squares, perplexity).ravel(), indices.ravel(), np.arange(0, n * k + 1, k)),
        shape=(n, n),
    )
    P = (C + C.T).tocsr()
    P.sort_indices()
    P.data /= P.data.sum()
    return P
