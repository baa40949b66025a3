"""Random tensors: a counter-based generator, so that numbers depend on a seed and a count alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .._arrays import beside, to_host
from ..ops import random as numbers
from ._documents import complete
from ._dtypes import finfo, is_half
from ._elementwise import float_dtype
from ._shape import sizes_of
from ._tensor import Tensor, as_array


class Generator:
    """A source of random numbers: each draw takes the next stream of a seed.

    Parameters
    ----------
    seed : int, default=0

    Examples
    --------
    >>> from kernelmill import nn
    >>> a = nn.rand(3, generator=nn.Generator(5))
    >>> bool((a == nn.rand(3, generator=nn.Generator(5))).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Restart from a seed."""
        if not hasattr(seed, "__index__"):
            raise TypeError(f"nn.Generator: seed must be an integer, got {seed!r}")
        self._seed = int(seed) % 2**64
        self._next = 0
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return self._seed

    def get_state(self) -> tuple[int, int]:
        """The seed and the number of draws so far."""
        return self._seed, self._next

    def set_state(self, state: tuple[int, int]) -> Generator:
        """Continue from a state that :meth:`get_state` returned."""
        seed, position = state
        self._seed, self._next = int(seed), int(position)
        return self

    def draw(self) -> tuple[int, int]:
        """The seed and stream of the next draw."""
        with self._lock:
            stream = self._next
            self._next += 1
        return self._seed, stream

    def fork(self) -> Generator:
        """A generator whose numbers are unrelated to those of this one."""
        seed, stream = self.draw()
        return Generator(int(numbers.integers(seed, stream, 0, 1, 2**63)[0]))

    def __getstate__(self) -> tuple[int, int]:
        return self.get_state()

    def __setstate__(self, state: tuple[int, int]) -> None:
        self._lock = threading.Lock()
        self.set_state(state)


default_generator = Generator(0)
_current: ContextVar[Generator] = ContextVar("kernelmill_generator", default=default_generator)


def current(generator: Generator | None = None) -> Generator:
    """The generator to use: the one given, else the one in force in this thread."""
    return _current.get() if generator is None else generator


@contextmanager
def using(generator: Generator) -> Iterator[None]:
    """Draw from this generator inside the block."""
    token = _current.set(generator)
    try:
        yield
    finally:
        _current.reset(token)


def manual_seed(seed: int) -> Generator:
    """Seed the generator that layers and functions draw from by default.

    Examples
    --------
    >>> from kernelmill import nn
    >>> _ = nn.manual_seed(1)
    >>> a = nn.randn(2)
    >>> _ = nn.manual_seed(1)
    >>> bool((a == nn.randn(2)).all())
    True
    """
    return current().manual_seed(seed)


def random_array(
    kind: str, shape: tuple[int, ...], dtype: Any = None, generator: Generator | None = None
) -> np.ndarray:
    """Uniform numbers on [0, 1) or standard normal ones."""
    seed, stream = current(generator).draw()
    wanted = float_dtype(dtype)
    drawn = np.dtype(np.float32) if is_half(wanted) else wanted
    made = getattr(numbers, kind)(seed, stream, 0, math.prod(shape), drawn.type).reshape(shape)
    if drawn == wanted:
        return made
    if kind == "uniform":  # below 1 after rounding, too
        steps = 2.0 ** (finfo(wanted).nmant + 1)
        made = np.floor(made * steps) / steps
    return made.astype(wanted)


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None,
         requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Uniform numbers on [0, 1).

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.rand(2, 3).shape
    (2, 3)
    """
    return Tensor(random_array("uniform", sizes_of(size), dtype, generator), requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None,
          requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Standard normal numbers.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.randn(2, 3).shape
    (2, 3)
    """
    return Tensor(random_array("normal", sizes_of(size), dtype, generator), requires_grad)


def randint(low: int, high: int | None = None, size: Any = (), *,
            generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform integers from ``low`` (0 if only one limit is given) to ``high - 1``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> bool((nn.randint(0, 3, (10,)) < 3).all())
    True
    """
    if high is None:
        low, high = 0, low
    if high <= low:
        raise RuntimeError(f"nn.randint: high must be above low, got {low} and {high}")
    seed, stream = current(generator).draw()
    shape = sizes_of((size,))
    drawn = numbers.integers(seed, stream, 0, math.prod(shape), high - low)
    return Tensor(drawn.reshape(shape) + low)


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    Examples
    --------
    >>> from kernelmill import nn
    >>> sorted(nn.randperm(3).tolist())
    [0, 1, 2]
    """
    return Tensor(random_array("uniform", (n,), np.float64, generator).argsort(kind="stable"))


def bernoulli(probability: Any, *, generator: Generator | None = None) -> Tensor:
    """1 with the given probabilities, else 0.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.bernoulli(nn.ones(2)).tolist()
    [1.0, 1.0]
    """
    given = as_array(probability)
    p = to_host(given)
    drawn = random_array("uniform", p.shape, p.dtype, generator)
    return Tensor(beside((drawn < p).astype(p.dtype), given))


def multinomial(weights: Any, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Indices drawn with probabilities proportional to the weights of each row.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.multinomial(nn.Tensor([0.0, 1.0]), 3, replacement=True).tolist()
    [1, 1, 1]
    """
    given = as_array(weights)
    w = to_host(given).astype(np.float64)
    rows = w.reshape(-1, w.shape[-1])
    if not np.isfinite(rows).all() or (rows < 0).any() or (rows.sum(-1) <= 0).any():
        raise RuntimeError(
            "nn.multinomial: weights must be finite and not negative, with a positive sum in each "
            "row, got others"
        )
    if replacement:
        u = random_array("uniform", (len(rows), num_samples), np.float64, generator)
        sums = np.cumsum(rows, axis=1)
        drawn = np.stack([
            np.searchsorted(s, v * s[-1], side="right") for s, v in zip(sums, u, strict=True)
        ])  # fmt: skip
        last = np.array([np.flatnonzero(r)[-1] for r in rows])
        drawn = np.minimum(drawn, last[:, None])
    else:
        if ((rows > 0).sum(-1) < num_samples).any():
            raise RuntimeError(
                f"nn.multinomial: each row must have {num_samples} positive weights to draw from "
                "without replacement, got fewer"
            )
        # The largest of log u / w are a sample without replacement (Efraimidis and Spirakis 2006).
        u = random_array("uniform", rows.shape, np.float64, generator)
        with np.errstate(divide="ignore"):
            keys = np.where(rows > 0, np.log(np.maximum(u, 2.0**-54)) / rows, -np.inf)
        drawn = np.argsort(-keys, axis=1, kind="stable")[:, :num_samples]
    return Tensor(beside(drawn.reshape(*w.shape[:-1], num_samples), given))


complete(globals())
