"""select_order finds the order of chains that have one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kernelmill.markov import MarkovChain, select_order


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_order_is_recovered(order):
    M = 3
    rng = np.random.default_rng(order)
    P = rng.dirichlet(np.ones(M), M ** max(order, 1))
    if order == 0:
        P[:] = P[0]
    chain = MarkovChain.from_matrix(P, order=max(order, 1), random_state=order)
    x = chain.sample(5000, n_sequences=4)
    found = select_order(list(x), 4)
    assert found.order == order
    assert found.orders.tolist() == [0, 1, 2, 3, 4]
    assert (np.diff(found.log_likelihood) >= -1e-9).all(), "a longer memory fits no worse"
    assert found.n_parameters.tolist() == [2 * 3.0**m for m in range(5)]
    wide = select_order(list(x), 4, criterion="aic")
    assert wide.order >= order
    assert np.array_equal(wide.criterion, 2 * found.n_parameters - 2 * found.log_likelihood)


def test_log_likelihoods_are_those_of_fits(rng):
    """Given the first symbols, the order m chain fitted to the same transitions."""
    x = rng.integers(0, 3, 200).tolist()
    found = select_order([x, x[:2]], 2)
    # Order 2: all transitions of the fit count.
    chain = MarkovChain(2).fit(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nansum(chain.counts_ * np.log(chain.transmat_))
    assert found.log_likelihood[2] == pytest.approx(expected, rel=1e-12)
    # Order 1 and 0, from the same predicted symbols.
    chain = MarkovChain().fit(x[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nansum(chain.counts_ * np.log(chain.transmat_))
    assert found.log_likelihood[1] == pytest.approx(expected, rel=1e-12)
    p = np.bincount(x[2:]) / 198
    assert found.log_likelihood[0] == pytest.approx((198 * p * np.log(p)).sum(), rel=1e-12)
    assert found.criterion[1] == pytest.approx(
        6 * math.log(198) - 2 * found.log_likelihood[1], rel=1e-12
    )


def test_weights_and_streams(rng):
    sequences = [rng.integers(0, 2, 30) for _ in range(6)]
    weight = [0, 1, 2, 1, 3, 1]
    repeated = list(itertools.chain(*([s] * w for s, w in zip(sequences, weight, strict=True))))
    a = select_order(repeated, 2)
    b = select_order(iter(sequences), 2, sample_weight=weight)
    assert a.order == b.order
    assert np.array_equal(a.criterion, b.criterion)
    c = select_order(np.concatenate(repeated), 2, lengths=[30] * len(repeated))
    assert np.array_equal(a.criterion, c.criterion)


def test_refusals():
    with pytest.raises(ValueError, match="select_order: max_order must be a whole number"):
        select_order("abc", -1)
    with pytest.raises(ValueError, match="select_order: criterion must be 'bic' or 'aic'"):
        select_order("abc", 1, criterion="best")
    with pytest.raises(ValueError, match="select_order: sequences must have more than 3 symbols"):
        select_order("abc", 3)
    with pytest.raises(ValueError, match="select_order: symbols must not be missing"):
        select_order([1.0, np.nan], 1)
