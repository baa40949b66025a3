"""The fuzzy graph of neighbours that UMAP lays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

_MOST_STEPS = 64
_CLOSE = 1e-6
# A width is at least this share of the mean distance of the neighbours.
_LEAST_WIDTH = 1e-3


def memberships(distances: np.ndarray, local_connectivity: float, total: float) -> np.ndarray:
    """Weights ``exp(-max(0, d_ij - rho_i) / sigma_i)`` that sum to `total` in each row.

    See `widths`.
    """
    rho, unit, share = widths(distances, local_connectivity, total)
    u = np.maximum(distances - rho[:, None], 0) / unit[:, None]
    with np.errstate(under="ignore"):
        return np.exp(-u / share[:, None])


def widths(
    distances: np.ndarray, local_connectivity: float, total: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rho of each row, and its sigma as a unit, the mean distance, times a share.

    Parameters
    ----------
    distances : ndarray of shape (n, k), float64
        Ascending distances of the neighbours.
    local_connectivity : float
        Neighbours, of those at a distance above 0, that have weight 1; rho is the distance of the
        last of them, interpolated.
    total : float
        Sum of the weights.

    Notes
    -----
    ``sum(sigma)`` rises with sigma; its root is bracketed and halved in log(sigma), all rows at
    once. Distances enter relative to their mean, so their unit does not matter. Rows that are equal
    to more than `total` neighbours have the least width.
    """
    n, k = distances.shape
    rho = np.zeros(n)
    above = distances > 0
    counts = above.sum(axis=1)
    first = k - counts  # ascending: zeros come first
    whole = int(np.floor(local_connectivity))
    part = local_connectivity - whole
    rows = np.flatnonzero(counts > 0)
    last = np.minimum(first[rows] + np.maximum(whole, 1) - 1, k - 1)
    at = distances[rows, last]
    if whole == 0:
        at = part * at
    elif part > 0:
        at = at + part * (distances[rows, np.minimum(last + 1, k - 1)] - at)
    rho[rows] = at
    mean = distances.mean(axis=1)
    overall = float(mean.mean())
    unit = np.where(mean > 0, mean, overall if overall > 0 else 1.0)
    u = np.maximum(distances - rho[:, None], 0) / unit[:, None]
    low, high = np.full(n, np.log(_LEAST_WIDTH)), np.full(n, np.log(1e6))
    for _ in range(_MOST_STEPS):
        middle = (low + high) / 2
        with np.errstate(under="ignore"):
            excess = np.exp(-u / np.exp(middle)[:, None]).sum(axis=1) - total
        high = np.where(excess > 0, middle, high)
        low = np.where(excess > 0, low, middle)
        if (high - low).max(initial=0) < _CLOSE:
            break
    return rho, unit, np.exp(high)


def fuzzy_graph(distances: np.ndarray, indices: np.ndarray, options: dict) -> Any:
    """The symmetric graph: the union of what each row says of its neighbours, or their meet.

    Parameters
    ----------
    distances, indices : ndarrays of shape (n, k)
        Neighbours of each row, without itself.
    options : dict
        ``local_connectivity`` and ``mix``: ``mix (a + b - a b) + (1 - mix) a b``.
    """
    n, k = distances.shape
    weights = memberships(distances, options["local_connectivity"], np.log2(k + 1))
    A = scipy.sparse.csr_array(
        (weights.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n)
    )
    B = A.T.tocsr()
    both = A.multiply(B)
    mix = options["mix"]
    graph = (mix * (A + B) + (1 - 2 * mix) * both).tocsr()
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def curve(spread: float, min_dist: float) -> tuple[float, float]:
    """a and b with ``1 / (1 + a x^(2 b))`` near 1 up to `min_dist`, then near an exponential.

    The least squares fit to ``exp(-(x - min_dist) / spread)`` at 300 places up to ``3 spread``.
    """
    x = np.linspace(0, 3 * spread, 300)
    y = np.where(x < min_dist, 1.0, np.exp(-(x - min_dist) / spread))
    (a, b), _ = scipy.optimize.curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), x, y)
    return float(a), float(b)
