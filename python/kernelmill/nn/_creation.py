"""More tensors that are made, and questions about tensors, under torch's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import beside, namespace
from ._documents import complete
from ._dtypes import FLOATS, dtype_of
from ._elementwise import common_dtype, float_dtype
from ._random import Generator, current, randint, random_array
from ._shape import sizes_of
from ._tape import array_of
from ._tensor import Tensor, as_tensor


def empty(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor whose values are whatever memory holds."""
    return Tensor(np.empty(sizes_of(size), float_dtype(dtype)), requires_grad)


def empty_like(input: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor in the shape and dtype of another, of whatever memory holds."""
    x = as_tensor(input).data
    return Tensor(namespace(x).empty(x.shape, x.dtype if dtype is None else dtype_of(dtype)),
                  requires_grad)  # fmt: skip


def full_like(
    input: Any, fill_value: float, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value in the shape and dtype of another tensor."""
    made = empty_like(input, dtype)
    made.data[...] = fill_value
    return made.requires_grad_(requires_grad)


def fill(input: Any, value: Any) -> Tensor:
    """One value in the shape and dtype of a tensor."""
    return full_like(input, value)


def _drawn_like(kind: str, input: Any, dtype: Any, generator: Any, requires_grad: bool) -> Tensor:
    x = as_tensor(input)
    wanted = x.dtype if dtype is None else dtype_of(dtype)
    return Tensor(beside(random_array(kind, x.shape, wanted, generator), x.data), requires_grad)


def rand_like(input: Any, dtype: Any = None, requires_grad: bool = False,
              generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers on [0, 1) in the shape and dtype of another tensor."""
    return _drawn_like("uniform", input, dtype, generator, requires_grad)


def randn_like(input: Any, dtype: Any = None, requires_grad: bool = False,
               generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Standard normal numbers in the shape and dtype of another tensor."""
    return _drawn_like("normal", input, dtype, generator, requires_grad)


def randint_like(input: Any, low: int, high: int | None = None, dtype: Any = None,
                 generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform integers in the shape and dtype of another tensor."""
    x = as_tensor(input)
    drawn = randint(low, high, x.shape, generator=generator).data
    return Tensor(beside(drawn.astype(x.dtype if dtype is None else dtype_of(dtype)), x.data))


def normal(mean: Any, std: Any = 1.0, size: Any = None, *,
           generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers with these means and standard deviations."""
    shape = np.broadcast_shapes(np.shape(array_of(mean)), np.shape(array_of(std)))
    shape = shape if size is None else sizes_of((size,))
    like = next((v.dtype for v in (mean, std) if hasattr(v, "dtype")), None)
    return Tensor(random_array("normal", shape, like, generator)) * std + mean


def logspace(start: float, end: float, steps: int, base: float = 10.0, dtype: Any = None) -> Tensor:
    """Powers of a base with evenly spaced exponents."""
    return Tensor(np.logspace(start, end, steps, base=base).astype(float_dtype(dtype)))


def scalar_tensor(s: Any, dtype: Any = None) -> Tensor:
    """A tensor without axes."""
    return Tensor(np.asarray(s, float_dtype(dtype)))


def asarray(obj: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor over the memory of an array, or of a list's numbers."""
    return Tensor(obj, requires_grad, dtype)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's."""
    return Tensor(ext_tensor)


# --- questions ------------------------------------------------------------------------------------


def numel(input: Any) -> int:
    """The number of elements."""
    return as_tensor(input).numel()


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Any) -> bool:
    """Whether the elements are floats."""
    return as_tensor(input).dtype.kind in FLOATS


def is_nonzero(input: Any) -> bool:
    """Whether the only element is not 0."""
    return bool(as_tensor(input))


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype of what two operands are combined to."""
    return common_dtype((tensor1, tensor2))


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The least dtype that two can be converted to."""
    return common_dtype((np.zeros(1, dtype_of(type1)), np.zeros(1, dtype_of(type2))))


def get_rng_state() -> tuple[int, int]:
    """The state of the default generator."""
    return current().get_state()


def set_rng_state(new_state: tuple[int, int]) -> None:
    """Let the default generator continue from a state."""
    current().set_state(new_state)


def initial_seed() -> int:
    """The seed of the default generator."""
    return current().initial_seed()


complete(globals())
