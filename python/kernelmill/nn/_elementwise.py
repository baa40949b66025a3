"""Functions of each element on the tape: the rows of ``ops/elementwise_table.py``, and some more.

A row's gradient is one fused op in the array lane. In the tensor lane it is the row's expression,
evaluated on tensors: expressions are linear in ``dout``, so the slope is their value at 1. Wherever
an incoming gradient is 0, nothing flows, even where the slope is infinite: a branch that was not
taken has no gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np

from .. import _runtime
from .._arrays import beside, is_cupy, namespace
from ..ops import elementwise as table
from ..ops.elementwise_table import DERIVATIVES, ROWS
from . import _backward, _tape
from ._documents import complete
from ._dtypes import FLOATS, dtype_of, is_half, narrowed, promoted, widened
from ._tape import RESULT, Leaf, Node, Part, Rule, check_unwritten, recording, sum_to

_default = np.dtype(np.float32)


def get_default_dtype() -> np.dtype:
    """The dtype of tensors made from Python floats.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.get_default_dtype()
    dtype('float32')
    """
    return _default


def float_dtype(dtype: Any = None) -> np.dtype:
    """A dtype, by default that of tensors made from Python floats."""
    return _default if dtype is None else dtype_of(dtype)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of tensors made from Python floats, float32 at first.

    Raises
    ------
    TypeError
        If it is neither float32 nor float64.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.set_default_dtype("float32")
    """
    global _default
    wanted = np.dtype(dtype)
    if wanted.name not in ("float32", "float64"):
        raise TypeError(
            f"nn.set_default_dtype: dtype must be float32 or float64, got {wanted.name}"
        )
    _default = wanted


# --- one dtype for the operands -------------------------------------------------------------------

def _converted(x: Any, dtype: np.dtype) -> Any:
    if is_half(dtype) and x.dtype.kind in FLOATS:
        return narrowed(widened(x), dtype)
    with np.errstate(over="ignore"):
        return widened(x).astype(dtype, copy=False)


cast: Rule = Rule(
    "to",
    lambda x, dtype, source: _converted(x, dtype),
    lambda g, saved, node: cast(g, dtype=node.options["source"], source=node.options["dtype"]),
)


def to_dtype(x: Any, dtype: np.dtype) -> Any:
    """A tensor or array of this dtype; itself where it has it."""
    if x.dtype == dtype:
        return x
    if is_half(dtype):
        _tape.use_half()
    return cast(x, dtype=dtype, source=x.dtype)


def common_dtype(values: tuple[Any, ...]) -> np.dtype:
    """The dtype of a result, as torch has it: kinds rank bool, int, float; then the shapes do.

    Numbers count for their kind only, arrays without axes for their kind beside arrays with axes.
    """
    ranks = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2}
    best: tuple[int, int] = (-1, -1)
    chosen: list[np.dtype] = []
    for value in values:
        if hasattr(value, "dtype"):
            dtype, level = np.dtype(value.dtype), 1 + (value.ndim > 0)
        else:
            kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f"
            dtype, level = {"b": np.dtype(bool), "i": np.dtype(np.int64), "f": _default}[kind], 0
        if dtype.kind not in ranks:
            raise TypeError(f"nn: tensors must hold numbers, got {dtype}")
        rank = (ranks[dtype.kind], level)
        if rank > best:
            best, chosen = rank, [dtype]
        elif rank == best:
            chosen.append(dtype)
    return promoted(chosen)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.bool_)


def unified(values: tuple[Any, ...], floating: bool = True) -> tuple[tuple[Any, ...], np.dtype]:
    """Operands of one dtype (numbers stay numbers), and that dtype.

    With ``floating`` whole numbers become floats of the default dtype.
    """
    arrays = tuple(
        v if isinstance(v, _tape.Tensor) or _is_number(v) or is_cupy(v) else np.asarray(v)
        for v in values
    )
    if any(is_cupy(_tape.array_of(v)) for v in arrays):
        arrays = _beside(arrays)
    # A list has no dtype of its own: like a number it counts for its kind only.
    dtype = common_dtype(
        tuple(
            a.dtype.type(0).item() if isinstance(v, list | tuple) else a
            for v, a in zip(values, arrays, strict=True)
        )
    )
    values = arrays
    if floating and dtype.kind not in FLOATS:
        dtype = _default
    return tuple(to_dtype(v, dtype) if hasattr(v, "dtype") else v for v in values), dtype


def _beside(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Plain arrays and lists on the GPU where another operand is; tensors stay where they are."""
    like = next(a for a in map(_tape.array_of, values) if is_cupy(a))
    return tuple(beside(v, like) if type(v) is np.ndarray else v for v in values)


# --- rows of the table ----------------------------------------------------------------------------


def _forward(name: str) -> Callable:
    run = getattr(table, name)
    if len(ROWS[name].names) == 1:
        return run
    return lambda *arrays: run(*_with_array_first(name, arrays))


def _with_array_first(name: str, arrays: tuple) -> tuple:
    """The op is chosen by the first argument, which must be an array."""
    if hasattr(arrays[0], "dtype"):
        return arrays
    like = next((a for a in arrays if hasattr(a, "dtype") and a.dtype.kind in FLOATS), None)
    if like is None:
        like = next(a for a in arrays if hasattr(a, "dtype"))
        return (namespace(like).asarray(arrays[0], dtype=_default), *arrays[1:])
    return (namespace(like).asarray(arrays[0], dtype=like.dtype), *arrays[1:])


def _elementwise_rule(name: str) -> Rule:
    """The rule of one row."""
    row, derivatives = ROWS[name], DERIVATIVES[name]
    names = row.names
    found = [derivatives.get(argument) for argument in names]
    expressions = ["0" if d is None else d.expression for d in found]
    users: dict[str, list[int]] = {}
    for i, d in enumerate(found):
        for used in () if d is None or d.expression == "0" else d.arguments:
            if used != "dout":
                users.setdefault(used, []).append(i)
    positions = {**{n: i for i, n in enumerate(names)}, "result": RESULT}
    order = list(users)
    saves = {positions[used]: tuple(users[used]) for used in order}
    plan: tuple[Any, ...] = tuple(
        None if d is None or d.expression == "0"
        else True if d.row is None
        else (getattr(table, d.row), tuple(map(["dout", *order].index, d.arguments)))
        for d in found
    )  # fmt: skip
    codes = [compile(expression, f"<d{name}>", "eval") for expression in expressions]

    def backward(g: Any, saved: tuple, node: Node) -> Any:
        return tuple(
            None if parent is None or step is None
            else g if step is True
            else step[0](*[saved[k - 1] if k else g for k in step[1]])
            for parent, step in zip(node.parents, plan, strict=True)
        )  # fmt: skip

    def twice(g: Any, saved: tuple, node: Node) -> Any:
        one = _tape.Tensor(namespace(g.data).ones((), g.data.dtype))
        values = {**dict(zip(order, saved, strict=True)), "dout": one}
        gradients: list[Any] = []
        for parent, expression, code in zip(node.parents, expressions, codes, strict=True):
            if parent is None or expression == "0":
                gradients.append(None)
            elif expression == "dout":
                gradients.append(g)
            else:
                gradients.append(gate(g, eval(code, {"__builtins__": {}, **_LANGUAGE}, values)))
        return tuple(gradients)

    return Rule(name, _forward(name), backward, saves, twice=twice, broadcasts=True, plan=plan)


_GUARDED = getattr(table, str(DERIVATIVES["multiply"]["x"].row))
gate: Rule = Rule(
    "gate",  # a gradient times a slope, nothing where the gradient is 0
    lambda g, slope: _GUARDED(g, slope),
    lambda g, saved, node: (
        None if node.parents[0] is None else gate(g, saved[1]),
        None if node.parents[1] is None else gate(g, saved[0]),
    ),
    {0: (1,), 1: (0,)},
    broadcasts=True,
)

RULES = {name: _elementwise_rule(name) for name, row in ROWS.items() if row.name in DERIVATIVES}


# What whole numbers have as well, and keep their dtype.
_EXACT: dict[str, Callable[..., Any]] = {
    "sign": np.sign, "square": np.square, "maximum": np.maximum, "minimum": np.minimum,
    "relu": lambda x: x * (x > 0),
}  # fmt: skip


def apply(name: str, *values: Any) -> Any:
    """A function of the table on tensors, arrays and numbers, converted to one dtype."""
    first = values[0]
    if len(values) == 1 and isinstance(first, _tape.Tensor) and first.data.dtype.kind in FLOATS:
        return RULES[name](first)
    if name in _EXACT:
        values, dtype = unified(values, floating=False)
        if dtype.kind not in FLOATS:
            arrays = [v.data if isinstance(v, _tape.Tensor) else v for v in values]
            return _tape.Tensor(namespace(arrays[0]).asarray(_EXACT[name](*arrays)))
    values, _ = unified(values)
    return RULES[name](*_somewhere(values))


def _somewhere(values: tuple) -> tuple:
    """At least one tensor, so that the result is one."""
    if any(isinstance(v, _tape.Tensor) for v in values):
        return values
    first = values[0]
    if not hasattr(first, "dtype"):
        first = np.asarray(first, dtype=_default)
    return (_tape.Tensor(first), *values[1:])


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Elements of ``x`` where the condition holds, else of ``y``.

    With the condition alone, where it holds: an index for each axis.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.where(nn.Tensor([True, False]), 1.0, 2.0).tolist()
    [1.0, 2.0]
    """
    if x is None and y is None:
        from ._arrangement import nonzero

        return nonzero(condition, as_tuple=True)
    if isinstance(condition, _tape.Tensor):
        condition = condition.data
    if not is_cupy(condition):
        condition = np.asarray(condition)
    (x, y), dtype = unified((x, y), floating=False)
    if any(is_cupy(_tape.array_of(v)) for v in (condition, x, y)):
        condition, x, y = _beside((condition, x, y))
    if dtype.kind in FLOATS and (hasattr(x, "dtype") or hasattr(y, "dtype")):
        if not hasattr(x, "dtype"):  # the loops take their dtype from an array
            x = namespace(condition).asarray(x, dtype=dtype)
        return RULES["where"](*_wrap_one((condition, x, y)))
    xp = namespace(condition)
    data = [v.data if isinstance(v, _tape.Tensor) else v for v in (x, y)]
    return _tape.Tensor(xp.asarray(xp.where(condition, *data)).astype(dtype, copy=False))


def _wrap_one(values: tuple) -> tuple:
    if any(isinstance(v, _tape.Tensor) for v in values):
        return values
    return (*values[:-1], _tape.Tensor(namespace(values[0]).asarray(values[-1], values[1].dtype)))


# --- functions outside the table, from NumPy or CuPy ----------------------------------------------


def _unary(name: str, slope: Callable[[Any, Any], Any] | None) -> Rule:
    """A function of NumPy's; ``slope(x, result)`` in differentiable operations, None for 0."""

    def forward(x: Any) -> Any:
        xp = namespace(x)
        with np.errstate(all="ignore"):
            return xp.asarray(getattr(xp, name)(x))

    def backward(g: Any, saved: tuple, node: Node) -> Any:
        if slope is None:
            return g * 0.0
        with np.errstate(all="ignore"):
            return gate(g, slope(*saved))

    return Rule(name, forward, backward, {} if slope is None else {0: (), RESULT: ()})


def _call(name: str) -> Callable[[Any], Any]:
    """A rule by name, for slopes that use each other."""
    return lambda x: (_UNARY[name] if name in _UNARY else RULES[name])(x)


_UNARY: dict[str, Rule] = {}
_SLOPES: dict[str, Callable[[Any, Any], Any] | None] = {
    "sin": lambda x, y: _call("cos")(x),
    "cos": lambda x, y: -_call("sin")(x),
    "tan": lambda x, y: 1.0 + y * y,
    "arcsin": lambda x, y: 1.0 / _call("sqrt")(1.0 - x * x),
    "arccos": lambda x, y: -1.0 / _call("sqrt")(1.0 - x * x),
    "arctan": lambda x, y: 1.0 / (1.0 + x * x),
    "sinh": lambda x, y: _call("cosh")(x),
    "cosh": lambda x, y: _call("sinh")(x),
    "arcsinh": lambda x, y: 1.0 / _call("sqrt")(x * x + 1.0),
    "arccosh": lambda x, y: 1.0 / (_call("sqrt")(x - 1.0) * _call("sqrt")(x + 1.0)),
    "arctanh": lambda x, y: 1.0 / ((1.0 - x) * (1.0 + x)),
    "exp2": lambda x, y: y * float(np.log(2.0)),
    "log2": lambda x, y: float(1 / np.log(2.0)) / x,
    "log10": lambda x, y: float(1 / np.log(10.0)) / x,
    "floor": None,
    "ceil": None,
    "rint": None,
    "trunc": None,
}
_UNARY.update({name: _unary(name, slope) for name, slope in _SLOPES.items()})


def _power_forward(x: Any, y: Any) -> Any:
    xp = namespace(x if hasattr(x, "dtype") else y)
    with np.errstate(all="ignore"):
        return xp.asarray(xp.power(x, y))


def _power_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, y, result = saved
    dx = dy = None
    with np.errstate(all="ignore"):
        if node.parents[0] is not None:
            if hasattr(y, "dtype"):  # the slope is 0 for y = 0, at x = 0 too
                zero = y == 0 if not isinstance(y, _tape.Tensor) else y.data == 0
                slope = y * power(x, y - 1)
                dx = gate(g, _select(zero, 0.0, slope))
            else:
                dx = gate(g, y * power(x, y - 1)) if y != 0 else g * 0.0
        if node.parents[1] is not None:  # x^y log x, 0 at x = 0 for y > 0
            x_data = x.data if isinstance(x, _tape.Tensor) else x
            zero = namespace(result if not isinstance(result, _tape.Tensor) else result.data)
            at_zero = zero.asarray(x_data == 0)
            base = _select(at_zero, 1.0, x) if hasattr(x, "dtype") else (x if x != 0 else 1.0)
            logarithm = RULES["log"](base) if hasattr(base, "dtype") else float(np.log(base))
            dy = gate(g, _select(at_zero, 0.0, result * logarithm))
    return dx, dy


def _select(condition: Any, x: float, y: Any) -> Any:
    """``x`` where the condition holds, else ``y``: on tensors and on arrays."""
    if isinstance(y, _tape.Tensor):
        return where(condition, x, y)
    return namespace(y).where(condition, y.dtype.type(x), y)


power: Rule = Rule(
    "power", _power_forward, _power_backward, {0: (), 1: (), RESULT: (1,)}, broadcasts=True
)


def _angle_backward(g: Any, saved: tuple, node: Node) -> Any:
    y, x = saved  # scaled before it is squared, so that tiny arguments do not underflow
    big = _largest(x, y)
    u, v = y / big, x / big
    square = u * u + v * v
    dy = None if node.parents[0] is None else gate(g, v / square / big)
    dx = None if node.parents[1] is None else gate(g, -(u / square) / big)
    return dy, dx


def _largest(x: Any, y: Any) -> Any:
    """The larger magnitude of two, as a constant."""
    a, b = (v.data if isinstance(v, _tape.Tensor) else v for v in (x, y))
    xp = namespace(a if hasattr(a, "dtype") else b)
    big = xp.asarray(xp.maximum(abs(a), abs(b)))
    return xp.where(big == 0, big.dtype.type(1), big)


arctan2: Rule = Rule(
    "atan2",
    lambda y, x: namespace(y).asarray(namespace(y).arctan2(y, x)),
    _angle_backward,
    {0: (), 1: ()},
    broadcasts=True,
)


def _hypot_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, y, result = saved
    zero = (result.data if isinstance(result, _tape.Tensor) else result) == 0
    safe = _select(zero, 1.0, result)
    return tuple(
        None if p is None else gate(g, v / safe) for p, v in zip(node.parents, (x, y), strict=True)
    )


hypot: Rule = Rule(
    "hypot",
    lambda x, y: namespace(x).asarray(namespace(x).hypot(x, y)),
    _hypot_backward,
    {0: (), 1: (), RESULT: ()},
    broadcasts=True,
)

_LANGUAGE: dict[str, Callable] = {
    name: functools.partial(lambda name, *v: apply(name, *v), name)
    for name in (
        "abs", "clip", "erf", "exp", "expm1", "log", "log1p", "logistic", "maximum", "minimum",
        "sqrt", "tanh",
    )
}  # fmt: skip
_LANGUAGE["where"] = where


def compare(name: str, x: Any, y: Any) -> Any:
    """A comparison or a logical function: a tensor of bool."""
    (x, y), _ = unified((x, y), floating=False)
    x, y = (v.data if isinstance(v, _tape.Tensor) else v for v in (x, y))
    xp = namespace(x if hasattr(x, "dtype") else y)
    return _tape.Tensor(xp.asarray(getattr(xp, name)(x, y)))


def arithmetic(name: str, x: Any, y: Any) -> Any:
    """One of the four operations, or power, remainder and floor division."""
    if name == "power":
        return _to_power(x, y)
    first = type(x) in (int, float) and isinstance(y, _tape.Tensor)
    if first and y.data.dtype.kind in FLOATS and name in RULES:  # 1 - y, 1 / y
        return RULES[name](x, y)
    for v in (x, y):
        known = isinstance(v, _tape.Tensor | list | tuple) or _is_number(v)
        if not (known or hasattr(v, "__array__") or is_cupy(v)):
            return NotImplemented
    (x, y), dtype = unified((x, y), floating=name == "divide")
    if dtype.kind not in FLOATS:
        return _whole(name, x, y)
    if name in RULES:
        return RULES[name](*_somewhere((x, y)))
    return _RULE_OF[name](*_somewhere((x, y)))


def _whole(name: str, x: Any, y: Any) -> Any:
    """Arithmetic of whole numbers, which has no gradient."""
    if name == "divide":
        return arithmetic(name, x.to(_default), y)
    a, b = (v.data if isinstance(v, _tape.Tensor) else v for v in (x, y))
    xp = namespace(a if hasattr(a, "dtype") else b)
    return _tape.Tensor(xp.asarray(getattr(xp, name)(a, b)))


def _to_power(x: Any, y: Any) -> Any:
    if isinstance(y, Number) and isinstance(x, _tape.Tensor) and x.data.dtype.kind in FLOATS:
        if y == 2:
            return RULES["square"](x)
        if y == 1:
            return RULES["multiply"](x, 1.0)
        if y == 3:
            return x * RULES["square"](x)
        if y == 0.5:
            return RULES["sqrt"](x)
        if y == -1:
            return RULES["reciprocal"](x)
        return power(x, float(y))  # type: ignore[arg-type]
    (x, y), dtype = unified((x, y), floating=False)
    if dtype.kind not in FLOATS:
        return _whole("power", x, y)
    return power(*_somewhere((x, y)))


def _remainder_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, y = saved
    a, b = (v.data if isinstance(v, _tape.Tensor) else v for v in (x, y))
    quotient = -namespace(a).floor_divide(a, b) if node.parents[1] is not None else None
    return g, None if quotient is None else gate(g, quotient)


_RULE_OF = {
    "remainder": Rule(
        "remainder",
        lambda x, y: namespace(x).asarray(namespace(x).remainder(x, y)),
        _remainder_backward,
        {0: (1,), 1: (1,)},
        broadcasts=True,
    ),
    "floor_divide": Rule(
        "floor_divide",
        lambda x, y: namespace(x).asarray(namespace(x).floor_divide(x, y)),
        lambda g, saved, node: tuple(None if p is None else g * 0.0 for p in node.parents),
        broadcasts=True,
    ),
}
def connect(tensor: type) -> None:
    """Give the class its four fast operators, and the tape of ``cpp/runtime`` what it calls.

    An operator there does the commonest case, floats of one dtype in NumPy arrays, and leaves all
    others to :func:`arithmetic`. What it saves for the backward pass is checked here.
    """
    fast = ("add", "subtract", "multiply", "divide")
    assert [RULES[n].saves for n in fast] == [
        (), (), ((1, (0,)), (0, (1,))), ((1, (0, 1)), (RESULT, (1,))),
    ]  # fmt: skip
    _runtime.connect(
        tensor, Leaf, Part, Rule, np.dtype(np.float32), np.dtype(np.float64), recording,
        arithmetic, _backward.deliver, _backward.hooked, _backward.freed, check_unwritten, sum_to,
        _backward.add, _backward.rerun,
        tuple(getattr(table, n) for n in fast), tuple(RULES[n] for n in fast),
    )  # fmt: skip


def raw(name: str) -> Rule:
    """The rule of a function, for rules that are written on either lane."""
    return RULES.get(name) or _UNARY[name]


def binary_methods() -> dict[str, Callable]:
    """Python's operators as methods, but for the four of :func:`connect`."""
    methods: dict[str, Callable] = {}
    for method, name in {
        "pow": "power", "mod": "remainder", "floordiv": "floor_divide",
    }.items():
        methods[f"__{method}__"] = lambda self, other, name=name: arithmetic(name, self, other)
        methods[f"__r{method}__"] = lambda self, other, name=name: arithmetic(name, other, self)
    for method, name in {
        "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
        "eq": "equal", "ne": "not_equal",
    }.items():  # fmt: skip
        methods[f"__{method}__"] = lambda self, other, name=name: compare(name, self, other)
    for method, name in {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}.items():
        methods[f"__{method}__"] = lambda self, other, name=name: compare(name, self, other)
        methods[f"__r{method}__"] = methods[f"__{method}__"]
    return methods


def recorded(value: Any) -> bool:
    """Whether an operation on this tensor is recorded now."""
    return value._node is not None and recording.get()


complete(globals())
