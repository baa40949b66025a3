"""seed_of: ints are fixed, generators advance, None follows NumPy's global state."""

import numpy as np
import pytest

from kernelmill._estimator._random import generator, legacy_state, seed_of


def test_ints_are_fixed():
    assert seed_of(3) == seed_of(3) == seed_of(np.int64(3))
    assert len({seed_of(i) for i in range(100)}) == 100


def test_generators_advance():
    for make in (np.random.RandomState, np.random.default_rng):
        state = make(0)
        first, second = seed_of(state), seed_of(state)
        assert first != second
        assert (first, second) == (lambda s: (seed_of(s), seed_of(s)))(make(0))
        assert 0 <= first < 2**63


def test_none_follows_the_global_state():
    np.random.seed(5)  # noqa: NPY002
    first = seed_of(None)
    assert seed_of(None) != first
    np.random.seed(5)  # noqa: NPY002
    assert seed_of(None) == first


def test_host_generators_are_functions_of_seed_and_stream():
    for make in (generator, legacy_state):
        draw = lambda *args, make=make: tuple(make(*args).uniform(size=3))  # noqa: E731
        assert draw(1, 2) == draw(1, 2)
        assert len({draw(1, 2), draw(2, 1), draw(1, 3)}) == 3


def test_what_is_no_random_state_is_refused():
    with pytest.raises(ValueError, match=r"random_state must be None, a whole number, .* got 'a'"):
        seed_of("a")


@pytest.mark.parametrize("seed", [-1, 2**63, np.int64(-5)])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=r"random_state must be a whole number from 0 to 2\*\*63"):
        seed_of(seed)
    assert seed_of(2**63 - 1) == 2**63 - 1
