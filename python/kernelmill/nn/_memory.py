"""What a tensor says of its memory, new tensors like it, and numbers drawn into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import beside, is_cupy, namespace
from . import _tape
from ._documents import complete
from ._dtypes import FLOATS, finfo
from ._shape import sizes_of


class MemoryMethods:
    """Sizes and places of the elements, tensors like this one, random numbers in place."""

    __slots__ = ()
    data: Any
    shape: tuple[int, ...]
    ndim: int
    dtype: np.dtype
    _replace: Any

    def nelement(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    def ndimension(self) -> int:
        """The number of axes."""
        return self.data.ndim

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.data.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.data.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.data.nbytes

    @property
    def is_cuda(self) -> bool:
        """Whether the values are on a GPU."""
        return is_cupy(self.data)

    @property
    def is_cpu(self) -> bool:
        """Whether the values are on the CPU."""
        return not is_cupy(self.data)

    def is_contiguous(self) -> bool:
        """Whether the elements lie in C order without gaps."""
        return bool(self.data.flags.c_contiguous)

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self.data.dtype.kind in "i" + FLOATS

    def is_same_size(self, other: Any) -> bool:
        """Whether another tensor has this shape."""
        return self.data.shape == tuple(other.shape)

    def stride(self, dim: int | None = None) -> Any:
        """Distances of neighbours along the axes, in elements, or along one."""
        steps = tuple(s // self.data.itemsize for s in self.data.strides)
        return steps if dim is None else steps[dim]

    # --- new tensors like it ---

    def new_empty(self, *shape: Any) -> Any:
        """A tensor of a shape, in this dtype, of whatever memory holds."""
        return _tape.Tensor(namespace(self.data).empty(sizes_of(shape), self.data.dtype))

    def new_ones(self, *shape: Any) -> Any:
        """Ones of a shape, in this dtype."""
        return self.new_full(sizes_of(shape), 1)

    def new_tensor(self, data: Any) -> Any:
        """A copy of data, in this dtype."""
        from ._tensor import as_array

        return _tape.Tensor(beside(as_array(data, self.data.dtype), self.data).copy())

    def new_zeros(self, *shape: Any) -> Any:
        """Zeros of a shape, in this dtype."""
        return self.new_full(sizes_of(shape), 0)

    def new_full(self, shape: Any, value: float) -> Any:
        """One value in a shape, in this dtype."""
        return _tape.Tensor(namespace(self.data).full(tuple(shape), value, self.data.dtype))

    def _drawn(self, name: str, kind: str, make: Any, generator: Any) -> Any:
        from ._random import random_array

        dtype = self.data.dtype if self.data.dtype.kind in FLOATS else np.dtype(np.float64)
        return self._replace(name, make(random_array(kind, self.shape, dtype, generator)))

    def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Any:
        """Draw all elements from a uniform distribution."""
        return self._drawn("uniform_", "uniform", lambda u: low + (high - low) * u, generator)

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
        """Draw all elements from a normal distribution."""
        return self._drawn("normal_", "normal", lambda z: mean + std * z, generator)

    def bernoulli_(self, p: float = 0.5, *, generator: Any = None) -> Any:
        """Draw zeros and ones, ones with a probability."""
        return self._drawn("bernoulli_", "uniform", lambda u: u < p, generator)

    def exponential_(self, lambd: float = 1.0, *, generator: Any = None) -> Any:
        """Draw all elements from an exponential distribution with this rate."""
        return self._drawn("exponential_", "uniform", lambda u: -np.log1p(-u) / lambd, generator)

    def random_(self, low: int = 0, high: int | None = None, *, generator: Any = None) -> Any:
        """Draw integers from ``low`` to ``high - 1``; with one limit, below it."""
        if high is None and low:
            low, high = 0, low
        elif high is None:  # up to here the dtype, and any of integers, has all whole numbers
            high = 2 ** (finfo(self.dtype).nmant + 1) if self.dtype.kind in FLOATS else 127
        if high <= low:
            raise RuntimeError(f"Tensor.random_: high must be above low, got {low} and {high}")
        count = high - low
        return self._drawn(
            "random_", "uniform", lambda u: low + np.floor(u.astype(np.float64) * count), generator
        )

    def fill_diagonal_(self, fill_value: float) -> Any:
        """Set the elements with equal indices to one value."""
        places = (np.arange(min(self.shape)),) * self.ndim
        self[places] = fill_value  # type: ignore[index]
        return self

    def polygamma(self, n: int) -> Any:
        """The n-th derivative of ``digamma`` of each element."""
        from ._pointwise import polygamma

        return polygamma(n, self)


complete(globals())
