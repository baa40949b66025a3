"""Functions on tensors under torch's names: mostly the tensor's methods, on array-likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._documents import as_function, complete
from ._dtypes import dtype_of
from ._elementwise import arctan2 as _arctan2
from ._elementwise import float_dtype, get_default_dtype, unified
from ._elementwise import hypot as _hypot
from ._shape import cat, sizes_of, stack
from ._tensor import Tensor, as_tensor, tensor
from ._torch_names import ALIASES

_METHODS = [
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bmm",
    "ceil",
    "chunk",
    "clamp",
    "clip",
    "clone",
    "cos",
    "cosh",
    "cumprod",
    "cumsum",
    "diag",
    "detach",
    "diagonal",
    "dot",
    "eq",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "flatten",
    "flip",
    "floor",
    "gather",
    "ge",
    "gt",
    "index_add",
    "index_select",
    "is_same_size",
    "is_signed",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_and",
    "logical_or",
    "logsumexp",
    "lt",
    "masked_fill",
    "masked_select",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mm",
    "movedim",
    "mul",
    "mv",
    "narrow",
    "ne",
    "neg",
    "norm",
    "outer",
    "permute",
    "pow",
    "prod",
    "reciprocal",
    "relu",
    "remainder",
    "repeat_interleave",
    "reshape",
    "roll",
    "rsqrt",
    "scatter_add",
    "select",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "std",
    "sub",
    "sum",
    "t",
    "take_along_dim",
    "tan",
    "tanh",
    "tile",
    "topk",
    "trace",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "unbind",
    "unflatten",
    "unsqueeze",
    "var",
]


def _function(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        return method(as_tensor(input), *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    as_function(method, function)
    return function


FUNCTIONS = {name: _function(name) for name in _METHODS}
globals().update(FUNCTIONS)


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input)."""
    (y, x), _ = unified((as_tensor(input), other))
    return _arctan2(y, x)


def hypot(input: Any, other: Any) -> Tensor:
    """The length of the vector (input, other), without overflow."""
    (x, y), _ = unified((as_tensor(input), other))
    return _hypot(x, y)


def _filled(value: float, name: str) -> Callable[..., Tensor]:
    def make(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        return Tensor(np.full(sizes_of(size), value, float_dtype(dtype)), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""A tensor of {name}.

Examples
--------
>>> from kernelmill import nn
>>> nn.{name}(2).tolist()
[{value}, {value}]
"""
    return make


zeros = _filled(0.0, "zeros")
ones = _filled(1.0, "ones")


def full(size: Any, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in a shape.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.full((2,), 3.0).tolist()
    [3.0, 3.0]
    """
    made = np.full(sizes_of((size,)), fill_value, None if dtype is None else dtype_of(dtype))
    if dtype is None and made.dtype == np.float64:
        made = made.astype(get_default_dtype())
    return Tensor(made, requires_grad)


def _like(make: Callable[..., Any]) -> Callable[..., Tensor]:
    def like(input: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        from .._arrays import namespace

        x = as_tensor(input)
        xp = namespace(x.data)
        wanted = dtype_of(dtype or x.dtype)
        return Tensor(getattr(xp, make.__name__)(x.shape, wanted), requires_grad)

    like.__name__ = like.__qualname__ = f"{make.__name__}_like"
    like.__doc__ = f"A tensor of {make.__name__} in the shape, dtype and place of another."
    return like


zeros_like = _like(zeros)
ones_like = _like(ones)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Numbers from ``start`` to below ``end``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.arange(3).tolist()
    [0, 1, 2]
    """
    values = np.arange(start) if end is None else np.arange(start, end, step)
    if dtype is not None:
        values = values.astype(dtype_of(dtype))
    elif values.dtype == np.float64:
        values = values.astype(get_default_dtype())
    return Tensor(values)


def linspace(start: float, end: float, steps: int, dtype: Any = None) -> Tensor:
    """Evenly spaced numbers, both ends among them.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    return Tensor(np.linspace(start, end, steps).astype(float_dtype(dtype)))


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """Ones on the diagonal of a matrix.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return Tensor(np.eye(n, m, dtype=float_dtype(dtype)))


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> nn.from_numpy(np.arange(2)).tolist()
    [0, 1]
    """
    return Tensor(array)


concat = concatenate = cat


def __getattr__(name: str) -> Any:
    from .. import nn

    if name in ALIASES:
        return getattr(nn, ALIASES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


complete(globals())
__all__ = ["as_tensor", "stack", "tensor"]
