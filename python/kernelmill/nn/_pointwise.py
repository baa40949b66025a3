"""More functions of each element, under torch's names: composed, or from SciPy with a gradient."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import is_cupy, namespace
from ._documents import complete
from ._dtypes import FLOATS, finfo
from ._elementwise import (
    apply,
    arithmetic,
    common_dtype,
    compare,
    gate,
    raw,
    unified,
    where,
)
from ._tape import RESULT, Node, Rule, array_of
from ._tensor import Tensor, as_tensor


def _pair(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands of one float dtype, the first of them a tensor."""
    (a, b), _ = unified((as_tensor(x), y))
    return a, b


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of tensors what a function gives of arrays, without a gradient."""

    def run(*values: Any) -> Tensor:
        arrays = [array_of(v) for v in values]
        return Tensor(namespace(arrays[0]).asarray(function(*arrays)))

    return run


# --- special functions ----------------------------------------------------------------------------


def _scipy(name: str, x: Any, *first: Any) -> Any:
    place = "cupyx.scipy.special" if is_cupy(x) else "scipy.special"
    function = getattr(importlib.import_module(place), name)
    with np.errstate(all="ignore"):
        return namespace(x).asarray(function(*first, x)).astype(x.dtype, copy=False)


def _special(name: str, function: str, slope: Callable[[Any, Any], Any]) -> Rule:
    """A function of SciPy's; ``slope(x, result)`` in differentiable operations."""

    def backward(g: Any, saved: tuple, node: Node) -> Any:
        with np.errstate(all="ignore"):
            return gate(g, slope(*saved))

    return Rule(name, lambda x: _scipy(function, x), backward, {0: (), RESULT: ()})


def _polygamma_backward(g: Any, saved: tuple, node: Node) -> Any:
    return gate(g, _polygamma(saved[0], n=node.options["n"] + 1))


_polygamma: Rule = Rule(
    "polygamma", lambda x, n: _scipy("polygamma", x, n), _polygamma_backward, {0: ()}
)
_digamma = _special("digamma", "digamma", lambda x, y: _polygamma(x, n=1))
_lgamma = _special("lgamma", "gammaln", lambda x, y: _digamma(x))
_erfinv = _special(
    "erfinv", "erfinv", lambda x, y: raw("exp")(y * y) * (math.sqrt(math.pi) / 2)
)
_erfc = _special(
    "erfc", "erfc", lambda x, y: raw("exp")(-(x * x)) * (-2 / math.sqrt(math.pi))
)


def erfc(input: Any) -> Tensor:
    """One minus the error function."""
    return _erfc(as_tensor(input)._floating())


def erfinv(input: Any) -> Tensor:
    """The inverse of the error function."""
    return _erfinv(as_tensor(input)._floating())


def lgamma(input: Any) -> Tensor:
    """The logarithm of the magnitude of the gamma function."""
    return _lgamma(as_tensor(input)._floating())


def digamma(input: Any) -> Tensor:
    """The derivative of :func:`lgamma`."""
    return _digamma(as_tensor(input)._floating())


def polygamma(n: int, input: Any) -> Tensor:
    """The n-th derivative of :func:`digamma`."""
    if n < 0:
        raise RuntimeError(f"nn.polygamma: n must not be negative, got {n}")
    return digamma(input) if n == 0 else _polygamma(as_tensor(input)._floating(), n=int(n))


def sinc(input: Any) -> Tensor:
    """``sin(pi x) / (pi x)``, and 1 at 0."""
    x = as_tensor(input)._floating() * math.pi
    zero = x.data == 0
    safe = where(zero, 1.0, x)
    return where(zero, 1.0 - x * x / 6.0, safe.sin() / safe)


def logit(input: Any, eps: float | None = None) -> Tensor:
    """The logarithm of ``x / (1 - x)``, of x limited to [eps, 1 - eps] if eps is given."""
    x = as_tensor(input)._floating()
    if eps is not None:
        x = x.clamp(eps, 1.0 - eps)
    return x.log() - (-x).log1p()


def xlogy(input: Any, other: Any) -> Tensor:
    """``x log(y)``, and 0 where x is 0 and y is no NaN."""
    x, y = _pair(input, other)
    y = as_tensor(y)
    zero = (x.data == 0) & (y.data == y.data)
    return where(zero, 0.0, x * where(zero, 1.0, y).log())


def logaddexp(input: Any, other: Any) -> Tensor:
    """The logarithm of the sum of two exponentials, without overflow."""
    x, y = _pair(input, other)
    y = as_tensor(y)
    larger = x.data >= y.data
    top, low = where(larger, x, y), where(larger, y, x)
    same = (x.data == y.data) & np.isinf(x.data)
    gap = where(same, 0.0, low - top)
    return where(same, 0.5 * (x + y), top + gap.exp().log1p())


def logaddexp2(input: Any, other: Any) -> Tensor:
    """The logarithm to base 2 of the sum of two powers of 2."""
    scale = math.log(2.0)
    return logaddexp(as_tensor(input) * scale, as_tensor(other) * scale) / scale


# --- arithmetic -----------------------------------------------------------------------------------


def addcmul(input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = as_tensor(tensor1) * tensor2
    return as_tensor(input) + (product if value == 1 else value * product)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    ratio = as_tensor(tensor1) / tensor2
    return as_tensor(input) + (ratio if value == 1 else value * ratio)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """``input + weight * (end - input)``, exact at both ends."""
    x, y = _pair(input, end)
    w = array_of(weight)
    if np.ndim(w) == 0 and not isinstance(weight, Tensor):
        return x + float(w) * (y - x) if abs(float(w)) < 0.5 else y - (y - x) * (1.0 - float(w))
    return where(abs(w) < 0.5, x + weight * (y - x), y - (y - x) * (1.0 - as_tensor(weight)))


def fmod(input: Any, other: Any) -> Tensor:
    """The remainder of a division that rounds towards zero: it has the sign of the input."""
    x, y = as_tensor(input), other
    y = y if hasattr(y, "dtype") or np.isscalar(y) else as_tensor(y)
    if common_dtype((x, y)).kind not in FLOATS:
        return _constant(np.fmod)(x, y)
    x, y = _pair(x, y)
    quotient = Tensor(np.trunc(x.data / array_of(y)))
    exact = Tensor(namespace(x.data).fmod(x.data, array_of(y)).astype(x.dtype))
    smooth = x - quotient * y
    return smooth + (exact - smooth.detach())  # the gradient of x - q y, the value of fmod


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Divide by another operand.

    Parameters
    ----------
    other : Tensor, array or number
        The second operand.
    rounding_mode : {"trunc", "floor"}, optional
        Round the quotient towards 0, or down.
    """
    x: Any = as_tensor(input)
    if rounding_mode == "floor":
        return arithmetic("floor_divide", x, other)
    if rounding_mode not in (None, "trunc"):
        raise RuntimeError(
            f"nn.div: rounding_mode must be 'trunc', 'floor' or None, got {rounding_mode!r}"
        )
    quotient = arithmetic("divide", x, other)
    if rounding_mode is None:
        return quotient
    if as_tensor(other).dtype.kind in FLOATS or x.dtype.kind in FLOATS:
        return quotient.trunc()
    down = arithmetic("floor_divide", x, other)  # exact, also for large integers
    return down + ((down < 0) & (down * other != x))


def round(input: Any, *, decimals: int = 0) -> Tensor:
    """Round to the nearest number, halves to the even one.

    Parameters
    ----------
    decimals : int
        Digits behind the point that are kept; below 0 tens, hundreds and so on.
    """
    x: Any = as_tensor(input)
    if x.data.dtype.kind not in FLOATS:
        if decimals:
            raise RuntimeError(f"nn.round: decimals must be 0 for integers, got {decimals}")
        return x
    scale = 10.0 ** abs(decimals)
    if decimals < 0:
        return raw("rint")(x / scale) * scale
    return raw("rint")(x * scale) / scale if decimals else raw("rint")(x._floating())


def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient, rounded down."""
    return arithmetic("floor_divide", as_tensor(input), other)


def float_power(input: Any, exponent: Any) -> Tensor:
    """A power computed in float64."""
    if isinstance(exponent, Tensor):
        exponent = exponent.double()
    return as_tensor(input).double() ** exponent


def frac(input: Any) -> Tensor:
    """What is behind the decimal point, with the sign of the number."""
    x = as_tensor(input)
    return x - x.detach().trunc()


def ldexp(input: Any, other: Any) -> Tensor:
    """``x 2^y``."""
    return as_tensor(input)._floating() * as_tensor(other)._floating().exp2()


def rsub(input: Any, other: Any, alpha: float = 1) -> Tensor:
    """``other - alpha * input``."""
    x = as_tensor(input)
    return other - (x if alpha == 1 else alpha * x)


def positive(input: Any) -> Tensor:
    """The tensor itself."""
    return as_tensor(input)


def deg2rad(input: Any) -> Tensor:
    """Radians from degrees."""
    return as_tensor(input)._floating() * (math.pi / 180.0)


def rad2deg(input: Any) -> Tensor:
    """Degrees from radians."""
    return as_tensor(input)._floating() * (180.0 / math.pi)


def clamp_min(input: Any, min: Any) -> Tensor:
    """The larger of each element and a limit."""
    return as_tensor(input).clamp(min=min)


def clamp_max(input: Any, max: Any) -> Tensor:
    """The smaller of each element and a limit."""
    return as_tensor(input).clamp(max=max)


def _but_nan(name: str, input: Any, other: Any) -> Tensor:
    x, y = _pair(input, other)
    y = as_tensor(y)
    return apply(name, where(np.isnan(x.data), y, x), where(np.isnan(y.data), x, y))


def fmax(input: Any, other: Any) -> Tensor:
    """The larger of two numbers, or the one that is no NaN."""
    return _but_nan("maximum", input, other)


def fmin(input: Any, other: Any) -> Tensor:
    """The smaller of two numbers, or the one that is no NaN."""
    return _but_nan("minimum", input, other)


def copysign(input: Any, other: Any) -> Tensor:
    """The magnitude of one number with the sign of another."""
    x, y = _pair(input, other)
    sign = np.where(np.signbit(array_of(y)), -1, 1).astype(x.dtype)
    return abs(x) * sign


def sgn(input: Any) -> Tensor:
    """The sign: -1, 0 or 1."""
    return as_tensor(input).sign()


def nan_to_num(
    input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Numbers in place of NaN and infinities, by default 0 and the ends of the dtype."""
    x = as_tensor(input)
    if x.dtype.kind not in FLOATS:
        return x
    ends = finfo(x.dtype)
    x = where(x.data != x.data, nan, x)
    x = where(x.data == math.inf, float(ends.max) if posinf is None else posinf, x)
    return where(x.data == -math.inf, float(ends.min) if neginf is None else neginf, x)


def heaviside(input: Any, values: Any) -> Tensor:
    """0 below 0, 1 above, and ``values`` at 0; its gradient is 0."""
    x = as_tensor(input).data
    at_zero = namespace(x).asarray(array_of(values)).astype(x.dtype)
    return Tensor(namespace(x).heaviside(x, at_zero))


# --- without gradients ----------------------------------------------------------------------------


def nextafter(input: Any, other: Any) -> Tensor:
    """The next number towards another."""
    x, y = _pair(input, other)
    return _constant(np.nextafter)(x, y)


def signbit(input: Any) -> Tensor:
    """Whether the sign is negative, also of a zero."""
    return _constant(np.signbit)(as_tensor(input))


def isneginf(input: Any) -> Tensor:
    """Which elements are minus infinity."""
    return as_tensor(input) == -math.inf


def isposinf(input: Any) -> Tensor:
    """Which elements are plus infinity."""
    return as_tensor(input) == math.inf


def isreal(input: Any) -> Tensor:
    """True for each element: all tensors are real."""
    return Tensor(np.ones(as_tensor(input).shape, bool))


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Which elements differ by at most ``atol + rtol * |other|``."""
    x, y = unified((as_tensor(input), as_tensor(other)), floating=False)[0]
    xp = namespace(x.data)
    with np.errstate(invalid="ignore"):
        found = xp.isclose(x.data, y.data, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return Tensor(xp.asarray(found))


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, as :func:`isclose` says."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have one shape and the same elements."""
    x, y = as_tensor(input), as_tensor(other)
    return x.shape == y.shape and bool((x == y).all())


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False,
         invert: bool = False) -> Tensor:  # fmt: skip
    """Which elements are among others."""
    x, y = as_tensor(elements).data, as_tensor(test_elements).data
    return Tensor(namespace(x).isin(x, y, assume_unique=assume_unique, invert=invert))


def logical_not(input: Any) -> Tensor:
    """Which elements are 0."""
    return as_tensor(input) == 0


def logical_xor(input: Any, other: Any) -> Tensor:
    """Where exactly one of two elements is true."""
    return compare("logical_xor", as_tensor(input), other)


def _whole(name: str, about: str) -> Callable[..., Tensor]:
    function = getattr(np, name)

    def both(input: Any, other: Any) -> Tensor:
        x, y = unified((as_tensor(input), other), floating=False)[0]
        if x.dtype.kind in FLOATS or getattr(y, "dtype", x.dtype).kind in FLOATS:
            raise RuntimeError(f"nn.{name}: tensors must be integers or bool, got {x.dtype}")
        return _constant(function)(x, y)

    both.__name__ = both.__qualname__ = name
    both.__doc__ = about
    return both


bitwise_and = _whole("bitwise_and", "The bits that two integers share, or the truth of both.")
bitwise_or = _whole("bitwise_or", "The bits of either of two integers.")
bitwise_xor = _whole("bitwise_xor", "The bits of exactly one of two integers.")
bitwise_left_shift = _whole("bitwise_left_shift", "Bits moved up, so many places.")
bitwise_right_shift = _whole("bitwise_right_shift", "Bits moved down, so many places.")
gcd = _whole("gcd", "The greatest common divisor.")
lcm = _whole("lcm", "The least common multiple.")


def bitwise_not(input: Any) -> Tensor:
    """All bits of integers inverted; truth turned around."""
    x = as_tensor(input)
    if x.dtype.kind in FLOATS:
        raise RuntimeError(f"nn.bitwise_not: the tensor must be integers or bool, got {x.dtype}")
    return _constant(np.invert)(x)


complete(globals())
