"""Messages between rows that choose exemplars among themselves.

With similarities S, whose diagonal holds how much each row wants to be an exemplar, row i tells
row j how well it would serve as its exemplar (the responsibility r_ij), and hears how much others
think so (the availability a_ij).

S must be finite, and messages begin as zeros; NaN and infinity give messages without meaning. Empty
S and a single row, which has no other to compare with, are refused. What does not fit raises
ValueError. Deterministic: the same bits at any number of threads. Cost is stated per op.
"""

from __future__ import annotations

import numpy as np

from ._op import op

_HOST = "similarities are a matrix in the memory of the host, as AffinityPropagation makes it"


@op(
    "S: f64[n>=2,n], R: inout f64[n,n], A: inout f64[n,n], damping: float, m: int[0,2**31)"
    " -> evidence: f64[m,n]",
    cuda=_HOST,
)
def exchange(S: np.ndarray, R: np.ndarray, A: np.ndarray, damping: float, m: int = 1) -> np.ndarray:
    """Some exchanges of messages.

    In each of them, new messages

        r(i, j) = s(i, j) - max over j' != j of a(i, j') + s(i, j')
        a(i, j) = min(0, r(j, j) + sum over i' not in {i, j} of max(0, r(i', j)))
        a(j, j) = sum over i' != j of max(0, r(i', j))

    take the place of the old ones, responsibilities first, each as ``damping old + (1 - damping)
    new``.

    Parameters
    ----------
    S : ndarray of shape (n, n), float64
        Similarities.
    R : ndarray of shape (n, n), float64, C-contiguous, updated in place
        Responsibilities.
    A : ndarray of shape (n, n), float64, C-contiguous, updated in place
        Availabilities.
    damping : float
        Share of the old messages, in [0, 1).
    m : int, default=1
        Number of exchanges.

    Returns
    -------
    evidence : ndarray of shape (m, n), float64
        ``r(j, j) + a(j, j)`` after each exchange; exemplars are where it is above 0.

    Raises
    ------
    ValueError
        If damping is out of range.

    Notes
    -----
    Cost about 12 n^2 operations an exchange, bound by memory: S, R and A are read, and R and A
    written, once.

    References
    ----------
    Frey, Dueck (2007), "Clustering by passing messages between data points".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import affinity
    >>> S = np.array([[-1.0, -0.5, -9.0], [-0.5, -1.0, -9.0], [-9.0, -9.0, -1.0]])
    >>> R, A = np.zeros((3, 3)), np.zeros((3, 3))
    >>> affinity.exchange(S, R, A, 0.5)
    array([[-0.125, -0.125,  4.   ]])
    """
    if not 0 <= damping < 1:
        raise ValueError(f"affinity.exchange: damping must be in [0, 1), got {damping}")
    n = len(S)
    every, evidence = np.arange(n), np.zeros((m, n))
    for e in range(m):
        best = np.empty((n, n))
        for j in range(n):
            best[:, j] = np.delete(A + S, j, axis=1).max(axis=1, initial=-np.inf)
        R[:] = damping * R + (1 - damping) * (S - best)
        positive = np.maximum(R, 0)
        positive[every, every] = R[every, every]
        new = positive.sum(axis=0) - positive
        own = new[every, every]
        new = np.minimum(new, 0)
        new[every, every] = own
        A[:] = damping * A + (1 - damping) * new
        evidence[e] = R[every, every] + A[every, every]
    return evidence
