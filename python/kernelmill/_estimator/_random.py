"""``random_state`` as a seed for counter-based numbers.

One 64-bit seed is drawn when a fit starts; every number after that is a function of (seed, stream,
index), so it is the same at any thread count and on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def seed_of(random_state: Any) -> int:
    """A 64-bit seed from any ``random_state``.

    Parameters
    ----------
    random_state : None, int, RandomState or Generator
        An int is the seed itself. A generator gives one draw, so two fits differ. None draws from
        NumPy's global state, as in scikit-learn, so ``numpy.random.seed`` determines it.

    Returns
    -------
    int
        In [0, 2**63).

    Raises
    ------
    ValueError
        If it is none of these, or outside of that range.

    Examples
    --------
    >>> from kernelmill._estimator._random import seed_of
    >>> seed_of(7) == seed_of(7)
    True
    """
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        # Philox turns consecutive keys into unrelated streams, so no mixing is needed.
        if not 0 <= random_state < 2**63:
            raise ValueError(
                f"random_state must be a whole number from 0 to 2**63 - 1, got {random_state}"
            )
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if random_state is None:
        return int(np.random.randint(2**63, dtype=np.int64))  # noqa: NPY002 - the global state
    if not isinstance(random_state, np.random.RandomState):
        raise ValueError(
            f"random_state must be None, a whole number, a RandomState or a Generator, got "
            f"{random_state!r}"
        )
    return int(random_state.randint(2**63, dtype=np.int64))


def legacy_state(seed: int, stream: int) -> np.random.RandomState:
    """A RandomState, for users' functions that expect one, such as a callable ``init``."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, stream])))


def generator(seed: int, stream: int) -> np.random.Generator:
    """A Generator for small draws on the host."""
    return np.random.default_rng([seed, stream])
