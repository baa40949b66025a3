"""Reductions, running sums and orders on the tape."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._arrays import namespace
from ..ops import reduction
from . import _tape
from ._documents import complete
from ._dtypes import FLOATS
from ._elementwise import _select, gate, raw, to_dtype, widened
from ._elementwise import get_default_dtype as _default
from ._shape import axis_of, broadcast, expanded, gather_along, getitem, permute, reshape
from ._tape import RESULT, Node, Rule, array_of


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with the reduced axes at size 1."""
    if len(axes) == len(shape):
        return (1,) * len(shape)
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _spread(value: Any, node: Node) -> Any:
    """A value per group with axes that broadcast against the input."""
    shape = _kept(node.parents[0].shape, node.options["axis"])
    return value.reshape(shape) if type(value) is np.ndarray else reshape(value, shape=shape)


def _shared(value: Any, node: Node, factor: float = 1.0) -> Any:
    """A value per group, times a factor, in each of its places."""
    value, shape = _spread(value, node), node.parents[0].shape
    value = value if factor == 1.0 else value * factor
    # Arrays need no rule: two calls less are half of the cost of a small gradient.
    return expanded(value, shape) if type(value) is np.ndarray else broadcast(value, shape=shape)


def _count(node: Node) -> int:
    shape = node.parents[0].shape
    return math.prod([shape[a] for a in node.options["axis"]])


def _reduce(name: str) -> Any:
    run = getattr(reduction, name)
    if name == "variance":
        return lambda x, axis, ddof, keepdims: run(x, axis, ddof, keepdims)
    return lambda x, axis, keepdims: run(x, axis, keepdims)


total: Rule = Rule(
    "sum",
    _reduce("sum"),
    lambda g, saved, node: _shared(g, node),
)
mean: Rule = Rule(
    "mean",
    _reduce("mean"),
    lambda g, saved, node: _shared(g, node, 1.0 / max(_count(node), 1)),
)


def _extreme_backward(g: Any, saved: tuple, node: Node) -> Any:
    """Elements that equal the result share its gradient."""
    x, result = map(array_of, saved)
    axis = node.options["axis"]
    mask = x == result.reshape(_kept(x.shape, axis))
    share = mask / np.maximum(mask.sum(axis, keepdims=True), 1)
    return gate(broadcast(_spread(g, node), shape=x.shape), share.astype(x.dtype))


largest: Rule = Rule("amax", _reduce("max"), _extreme_backward, {0: (), RESULT: ()})
smallest: Rule = Rule("amin", _reduce("min"), _extreme_backward, {0: (), RESULT: ()})


def _centred(x: Any, axis: tuple[int, ...]) -> Any:
    return x - mean(x, axis=axis, keepdims=True)


def _variance_backward(g: Any, saved: tuple, node: Node) -> Any:
    divisor = _count(node) - node.options["ddof"]
    return _centred(saved[0], node.options["axis"]) * _spread(
        g * (2.0 / divisor if divisor > 0 else math.nan), node
    )


_variance_of = _reduce("variance")
variance: Rule = Rule("var", _variance_of, _variance_backward, {0: ()})


def _deviation_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, result = saved
    divisor = _count(node) - node.options["ddof"]
    safe = _select(array_of(result) == 0, 1.0, result)  # constant groups: 0 is a subgradient
    return _centred(x, node.options["axis"]) * _spread(
        g / safe * (1.0 / divisor if divisor > 0 else math.nan), node
    )


deviation: Rule = Rule(
    "std",
    lambda x, axis, ddof, keepdims: np.sqrt(_variance_of(x, axis, ddof, keepdims)),
    _deviation_backward,
    {0: (), RESULT: ()},
)


def _log_sum_exp_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, result = saved
    safe = _select(array_of(result) == -math.inf, 0.0, result)
    return gate(_spread(g, node), raw("exp")(x - _spread(safe, node)))


log_sum_exp: Rule = Rule(
    "logsumexp", _reduce("logsumexp"), _log_sum_exp_backward, {0: (), RESULT: ()}
)


def _norm_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, result = saved
    safe = _select(array_of(result) == 0, 1.0, result)
    return x * _spread(g / safe, node)


euclidean: Rule = Rule("norm", _reduce("norm"), _norm_backward, {0: (), RESULT: ()})


def _p_norm_forward(x: Any, axis: tuple[int, ...], keepdims: bool, p: float) -> Any:
    xp = namespace(x)
    size = abs(x)
    some = all(x.shape[a] for a in axis)
    big = (size.max if some else size.sum)(axis, keepdims=True)
    scale = xp.where((big > 0) & (big < math.inf), big, x.dtype.type(1))
    result = scale * ((size / scale) ** p).sum(axis, keepdims=True) ** (1 / p)
    if not keepdims:
        result = result.reshape([n for i, n in enumerate(x.shape) if i not in axis])
    return xp.asarray(result).astype(x.dtype, copy=False)


def _p_norm_backward(g: Any, saved: tuple, node: Node) -> Any:
    from ._elementwise import power

    x, result = saved
    p = node.options["p"]
    safe = _spread(_select(array_of(result) == 0, 1.0, result), node)
    slope = power(raw("abs")(x) / safe, p - 1.0)
    return gate(_spread(g, node), slope * np.sign(array_of(x)))


p_norm: Rule = Rule("norm", _p_norm_forward, _p_norm_backward, {0: (), RESULT: ()})


# --- running products and sums --------------------------------------------------------------------


def _reverse(x: Any, axis: int) -> Any:
    return getitem(x, index=(*(slice(None),) * axis, slice(None, None, -1)))


cumsum: Rule = Rule(
    "cumsum",
    lambda x, axis: namespace(x).cumsum(x, axis, dtype=x.dtype),
    lambda g, saved, node: _reverse(
        cumsum(_reverse(g, node.options["axis"]), axis=node.options["axis"]), node.options["axis"]
    ),
)


def _slice_of(x: Any, axis: int, at: int) -> Any:
    return getitem(x, index=(*(slice(None),) * axis, slice(at, at + 1)))


def _products_before(x: Any, axis: int) -> Any:
    """The product of all elements before each along an axis."""
    from ._shape import concatenate

    n = x.shape[axis]
    xp = namespace(array_of(x))
    one = xp.ones((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
    head = getitem(x, index=(*(slice(None),) * axis, slice(0, n - 1)))
    return cumprod(concatenate(one, head, axis=axis, sizes=(1, n - 1)), axis=axis)


def _cumprod_backward(g: Any, saved: tuple, node: Node) -> Any:
    """No division, so that zeros are right: before[k] (g[k] + x[k+1] (g[k+1] + x[k+2] (...)))."""
    from ._shape import concatenate

    (x,) = saved
    axis = node.options["axis"]
    n = x.shape[axis]
    if n == 0:
        return g
    behind = [_slice_of(g, axis, n - 1)]
    for k in range(n - 2, -1, -1):
        behind.append(_slice_of(g, axis, k) + _slice_of(x, axis, k + 1) * behind[-1])
    sums = concatenate(*behind[::-1], axis=axis, sizes=(1,) * n)
    return _products_before(x, axis) * sums


cumprod: Rule = Rule(
    "cumprod",
    lambda x, axis: namespace(x).cumprod(x, axis, dtype=x.dtype),
    _cumprod_backward,
    {0: ()},
)


def _product_backward(g: Any, saved: tuple, node: Node) -> Any:
    """The product of the others, without a division: one zero leaves one gradient."""
    (x,) = saved
    axis = node.options["axis"]
    if x.shape[axis] == 0:
        return x * 0.0
    others = _products_before(x, axis) * _reverse(_products_before(_reverse(x, axis), axis), axis)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return reshape(g, shape=shape) * others


product: Rule = Rule(
    "prod",
    lambda x, axis: namespace(x).asarray(x.prod(axis, dtype=x.dtype)),
    _product_backward,
    {0: ()},
)


class Extreme(NamedTuple):
    """Values along an axis and where they were."""

    values: Any
    indices: Any


class ReductionMethods:
    """Sums, means, extremes and orders of a tensor."""

    __slots__ = ()
    data: Any
    shape: tuple[int, ...]
    ndim: int
    dtype: np.dtype

    def _axes(self, name: str, dim: Any) -> tuple[int, ...]:
        if dim is None:
            return tuple(range(self.ndim))
        if type(dim) is int and self.ndim:
            return (axis_of(name, dim, self.ndim),)
        dims = dim if isinstance(dim, tuple | list) else (dim,)
        axes = tuple(sorted(axis_of(name, d, self.ndim) for d in dims))
        if len(set(axes)) < len(axes):
            raise RuntimeError(f"nn.{name}: dim must name different axes, got {dim}")
        return axes if self.ndim else ()

    def _floating(self) -> Any:
        return self if self.data.dtype.kind in FLOATS else to_dtype(self, _default())

    def sum(self, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        """The sum over all axes, or over those of ``dim``."""
        axes = self._axes("sum", dim)
        if dtype is not None:
            return self.to(dtype).sum(dim, keepdim)  # type: ignore[attr-defined]
        if self.data.dtype.kind not in FLOATS:
            xp = namespace(self.data)
            return _tape.Tensor(xp.asarray(self.data.sum(axes, keepdims=keepdim, dtype=np.int64)))
        return total(self, axis=axes, keepdims=keepdim)

    def mean(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The arithmetic mean."""
        return mean(self._floating(), axis=self._axes("mean", dim), keepdims=keepdim)

    def var(self, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        """The variance: squares about the mean, divided by n minus the correction."""
        axes = self._axes("var", dim)
        return variance(self._floating(), axis=axes, ddof=float(correction), keepdims=keepdim)

    def std(self, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        """The standard deviation; the gradient of a constant group is 0."""
        axes = self._axes("std", dim)
        return deviation(self._floating(), axis=axes, ddof=float(correction), keepdims=keepdim)

    def amax(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; ties share the gradient equally."""
        return self._extreme("amax", largest, dim, keepdim)

    def amin(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; ties share the gradient equally."""
        return self._extreme("amin", smallest, dim, keepdim)

    def _extreme(self, name: str, rule: Any, dim: Any, keepdim: bool) -> Any:
        axes = self._axes(name, dim)
        if self.data.dtype.kind in FLOATS:
            return rule(self, axis=axes, keepdims=keepdim)
        found = getattr(self.data, name[1:])(axes, keepdims=keepdim)
        return _tape.Tensor(namespace(self.data).asarray(found))

    def _chosen(self, name: str, dim: Any, keepdim: bool) -> Any:
        if isinstance(dim, _tape.Tensor) or hasattr(dim, "dtype"):
            from ._elementwise import apply

            return apply({"max": "maximum", "min": "minimum"}[name], self, dim)
        if dim is None:
            return self.amax() if name == "max" else self.amin()
        axis = axis_of(name, dim, self.ndim)
        indices = getattr(self, f"arg{name}")(axis, keepdim=True).data
        values = gather_along(self, indices, axis)
        if not keepdim:
            shape = (*self.shape[:axis], *self.shape[axis + 1 :])
            values, indices = reshape(values, shape=shape), indices.reshape(shape)
        return Extreme(values, _tape.Tensor(indices))

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; with ``dim``, values and indices along the axis (first of ties)."""
        return self._chosen("max", dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; with ``dim``, values and indices along the axis (first of ties)."""
        return self._chosen("min", dim, keepdim)

    def _argument(self, name: str, dim: Any, keepdim: bool) -> Any:
        if self.data.dtype.kind in FLOATS:
            axis = None if dim is None else axis_of(name, dim, self.ndim)
            data = widened(self.data)
            return _tape.Tensor(getattr(reduction, name)(data, axis=axis, keepdims=keepdim))
        found = getattr(self.data, name)(dim, keepdims=keepdim)
        return _tape.Tensor(namespace(self.data).asarray(found))

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """Index of the largest element; the first of ties."""
        return self._argument("argmax", dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """Index of the smallest element; the first of ties."""
        return self._argument("argmin", dim, keepdim)

    def logsumexp(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The logarithm of the sum of exponentials."""
        axes = self._axes("logsumexp", dim)
        return log_sum_exp(self._floating(), axis=axes, keepdims=keepdim)

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
        """The p-norm of the elements; the gradient of a zero vector is 0."""
        axes = self._axes("norm", dim)
        x = self._floating()
        if p in (2, "fro"):
            return euclidean(x, axis=axes, keepdims=keepdim)
        if p == 1:
            return total(abs(x), axis=axes, keepdims=keepdim)
        if p in (math.inf, -math.inf):
            return (largest if p > 0 else smallest)(abs(x), axis=axes, keepdims=keepdim)
        if p == 0:
            return (x != 0).sum(dim, keepdim).to(x.dtype)
        return p_norm(x, axis=axes, keepdims=keepdim, p=float(p))

    def prod(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The product; where an element is 0 its gradient is the product of the others."""
        x: Any = self if dim is not None else reshape(self, shape=(-1,))
        axis = axis_of("prod", 0 if dim is None else dim, x.ndim)
        result = product(x, axis=axis) if x.ndim else x
        return result.unsqueeze(axis) if keepdim and dim is not None else result

    def cumsum(self, dim: int) -> Any:
        """Running sums along an axis."""
        return cumsum(self, axis=axis_of("cumsum", dim, self.ndim))

    def cumprod(self, dim: int) -> Any:
        """Running products along an axis."""
        return cumprod(self, axis=axis_of("cumprod", dim, self.ndim))

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
        """Indices that sort an axis.

        Parameters
        ----------
        stable : bool
            Ignored: the sort always is.
        """
        axis = axis_of("argsort", dim, self.ndim)
        data = self.data
        if not descending:
            return _tape.Tensor(data.argsort(axis, kind="stable"))
        last = data.shape[axis] - 1 if self.ndim else 0
        flipped = namespace(data).flip(data, axis).argsort(axis, kind="stable")
        return _tape.Tensor(last - namespace(data).flip(flipped, axis))

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
        """Values and indices sorted along an axis.

        Parameters
        ----------
        stable : bool
            Ignored: the sort always is.
        """
        indices = self.argsort(dim, descending)
        axis = axis_of("sort", dim, self.ndim)
        return Extreme(gather_along(self, indices.data, axis), indices)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> Any:
        """Values and indices of the k largest or smallest elements along an axis, sorted."""
        axis = axis_of("topk", dim, self.ndim)
        if not 0 <= k <= self.shape[axis]:
            raise RuntimeError(f"nn.topk: k must be at most {self.shape[axis]}, got {k}")
        order = self.argsort(axis, descending=largest).data
        indices = order[(*(slice(None),) * axis, slice(0, k))]
        return Extreme(gather_along(self, indices, axis), _tape.Tensor(indices))

    def all(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Whether all elements are true."""
        return self._truth("all", dim, keepdim)

    def any(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Whether an element is true."""
        return self._truth("any", dim, keepdim)

    def _truth(self, name: str, dim: Any, keepdim: bool) -> Any:
        found = getattr(self.data, name)(self._axes(name, dim), keepdims=keepdim)
        return _tape.Tensor(namespace(self.data).asarray(found))


complete(globals())
__all__ = ["Extreme", "ReductionMethods", "permute"]
