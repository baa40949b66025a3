"""Where variational fits to symbols start: symbols that stand beside the same ones share a state.

With N the counts of pairs of successive symbols, the states i, j of symbols m, n explain
``N(m, n) ~ f_m A(i, j) g_n``, so N has rank K up to noise, and symbols of one state have parallel
rows and columns. k-means therefore groups symbols by the K leading singular vectors of N, scaled by
the frequencies; these are raised by their mean, without which rare symbols take the vectors over
(Qin and Rohe 2013, "Regularized spectral clustering under the degree-corrected stochastic
blockmodel"). The groups are no more than a hint: half of each symbol's counts is spread at random.

Where symbols are rare, most of N is empty. The counts of pairs some steps apart have the rank of N,
too, and are more; they stand beside N, for in a chain that alternates they tell nothing.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from kernelmill._arrays import to_host
from kernelmill.hmm._dirichlet import soft_shares, start_numbers
from kernelmill.hmm._normal_start import centers_of
from kernelmill.hmm._observations import Symbols

_EXTRA, _STEPS = 10, 5  # vectors beside the wanted ones, and steps of subspace iteration
# Symbols that occur less often than this have too few neighbours, so symbols further ahead count,
# too, until there are about so many. With 4 occurrences that is a loss where states alternate.
_RARE, _PAIRS = 3, 20


def successions(observed: Symbols, lengths: np.ndarray, weight: Any, M: int, lags: int) -> Any:
    """How often each symbol is followed by which, sparse (M, 2 M + 1).

    The first M columns count the next symbols, the others those after them, up to `lags` steps
    ahead; the last one counts symbols that none follows.
    """
    from scipy import sparse

    codes, last = to_host(observed.codes), np.cumsum(lengths)[lengths > 0] - 1
    ends = np.repeat(last, lengths[lengths > 0]) if lags > 1 else last
    pairs = []
    for lag in range(1, lags + 1):
        after = np.append(codes[lag:], np.full(min(lag, len(codes)), -1, codes.dtype))
        if lag == 1:
            after[last] = -1
            seen = codes >= 0
        else:
            after[np.arange(lag, len(codes) + lag) > ends] = -1
            after[after >= 0] += M
            seen = (codes >= 0) & (after >= 0)
        after[after < 0] = 2 * M
        pairs.append((codes, after) if seen.all() else (codes[seen], after[seen]))
    before, after = pairs[0] if lags == 1 else map(np.concatenate, zip(*pairs, strict=True))
    shape = M, 2 * M + 1
    if len(before) >= math.prod(shape):  # 20 times as fast as sorting
        counts = np.bincount(before * shape[1] + after, minlength=math.prod(shape))
        return sparse.csr_array(counts.reshape(shape).astype(np.float64))
    return sparse.coo_array((np.ones(len(before)), (before, after)), shape=shape).tocsr()


def embedded(follows: Any, counts: np.ndarray, K: int, lags: int) -> np.ndarray:
    """Each symbol in the leading singular vectors of the scaled counts of pairs, (M, 3 K at most).

    By subspace iteration: LAPACK is cubic in M, and ARPACK stops where the rank is below K.
    """
    from scipy import sparse

    M = len(counts)
    scale = sparse.diags_array(1.0 / np.sqrt(counts + counts.mean()))
    blocks = [scale @ follows[:, :M] @ scale]
    if lags > 1:  # with the noise of the first block
        blocks.append(scale @ follows[:, M : 2 * M] @ scale / np.sqrt(lags - 1.0))
    S = sparse.hstack(blocks).tocsr()
    basis = np.random.default_rng(0).standard_normal((M, min(M, K + _EXTRA)))
    for _ in range(_STEPS):
        basis = np.linalg.qr(S @ (S.T @ basis))[0]
    left, sizes, right = np.linalg.svd((S.T @ basis).T, full_matrices=False)
    sides = [basis @ left * sizes, *np.split(right.T * sizes, len(blocks))]
    return scale @ np.hstack([side[:, :K] for side in sides])


def start_counts(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    """The counts of the symbols, shared out among the states, (K, M)."""
    K, M = int(model.n_components), data.width
    numbers = start_numbers(model.random_state)
    some = data.some_rows
    repeats = max(data.count / M, len(some) / len(np.unique(some)))
    lags = math.ceil(_PAIRS / repeats) if repeats < _RARE else 1
    follows = data.map_reduce(successions, M, lags, merge=operator.add)
    counts = follows[:, :M].sum(axis=1) + follows[:, 2 * M :].sum(axis=1)
    shares = soft_shares(numbers, K, M).T
    seen = np.flatnonzero(counts)
    if K > 1 and len(seen):
        points = embedded(follows, counts, K, lags)[seen]
        labels = centers_of(model, points, K, counts[seen])[1]
        shares[:, seen] *= 0.5
        shares[labels, seen] += 0.5
    return shares * counts
