"""Where variational fits to symbols start: symbols that stand beside the same ones share a state.

With N the counts of pairs of successive symbols, the states i, j of symbols m, n explain
``N(m, n) ~ f_m A(i, j) g_n``, so N has rank K up to noise, and symbols of one state have parallel
rows and columns. k-means therefore groups symbols by the K leading singular vectors of N, scaled by
the frequencies; these are raised by their mean, without which rare symbols take the vectors over
(Qin and Rohe 2013, "Regularized spectral clustering under the degree-corrected stochastic
blockmodel"). The groups are no more than a hint: half of each symbol's counts is spread at random.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from kernelmill._arrays import to_host
from kernelmill.hmm._dirichlet import soft_shares, start_numbers
from kernelmill.hmm._normal_start import centers_of
from kernelmill.hmm._observations import Symbols

_EXTRA, _STEPS = 10, 5  # vectors beside the wanted ones, and steps of subspace iteration


def successions(observed: Symbols, lengths: np.ndarray, weight: Any, M: int) -> Any:
    """How often each symbol is followed by which, sparse (M, M + 1); the last one is no symbol."""
    from scipy import sparse

    codes = to_host(observed.codes)
    after = np.append(codes[1:], -1)
    after[np.cumsum(lengths)[lengths > 0] - 1] = -1
    after[after < 0] = M
    seen = codes >= 0
    if not seen.all():
        codes, after = codes[seen], after[seen]
    shape = M, M + 1
    if len(codes) >= M * (M + 1):  # 20 times as fast as sorting
        pairs = np.bincount(codes * (M + 1) + after, minlength=M * (M + 1))
        return sparse.csr_array(pairs.reshape(shape).astype(np.float64))
    return sparse.coo_array((np.ones(len(codes)), (codes, after)), shape=shape).tocsr()


def embedded(follows: Any, counts: np.ndarray, K: int) -> np.ndarray:
    """Each symbol in the leading singular vectors of the scaled counts of pairs, (M, 2 K at most).

    By subspace iteration: LAPACK is cubic in M, and ARPACK stops where the rank is below K.
    """
    from scipy import sparse

    scale = sparse.diags_array(1.0 / np.sqrt(counts + counts.mean()))
    S = (scale @ follows @ scale).tocsr()
    basis = np.random.default_rng(0).standard_normal((len(counts), min(len(counts), K + _EXTRA)))
    for _ in range(_STEPS):
        basis = np.linalg.qr(S @ (S.T @ basis))[0]
    left, sizes, right = np.linalg.svd((S.T @ basis).T, full_matrices=False)
    return scale @ np.hstack([(basis @ left * sizes)[:, :K], (right.T * sizes)[:, :K]])


def start_counts(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    """The counts of the symbols, shared out among the states, (K, M)."""
    K, M = int(model.n_components), data.width
    numbers = start_numbers(model.random_state)
    follows = data.map_reduce(successions, M, merge=operator.add)
    counts = follows.sum(axis=1)
    shares = soft_shares(numbers, K, M).T
    seen = np.flatnonzero(counts)
    if K > 1 and len(seen):
        points = embedded(follows[:, :M], counts, K)[seen]
        labels = centers_of(model, points, K, counts[seen])[1]
        shares[:, seen] *= 0.5
        shares[labels, seen] += 0.5
    return shares * counts
