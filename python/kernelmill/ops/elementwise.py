"""Functions of each element: the rows of :mod:`kernelmill.ops.elementwise_table`, one op each.

All of them share one contract, written into each docstring: shapes broadcast by NumPy's rules, any
strides, ``out=`` for the result. ``exp_dx``-like ops are gradients: ``derivative("tanh", "x")``
names the op and what it is applied to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ._op import Op, registry
from .elementwise_table import BACKWARD, DERIVATIVES, FORWARD, ROWS, TYPES, Derivative, Row


def _scipy(name: str) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        import scipy.special  # 0.2 s: only where a specification runs

        return getattr(scipy.special, name)(x)

    return function


# What the expressions call.
LANGUAGE: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "erf": _scipy("erf"),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": _scipy("expit"),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "where": np.where,
}

_DOCUMENT = """{about}.

Parameters
----------
{parameters}
out : ndarray, optional
    Where the result is written: of its shape and dtype, any strides. It may be an argument.

Returns
-------
result : ndarray of the broadcast shape, {result}
    New and C-contiguous, or ``out``.

Raises
------
ValueError
    If dtypes differ or are others, shapes do not broadcast, or out does not fit.
TypeError
    If an argument is neither an array nor a number of the dtype.

Notes
-----
``{expression}``. {notes}Shapes broadcast by NumPy's rules. A number or an array without axes takes
the dtype of the other arrays; other dtypes are not converted. Empty arguments give an empty result.
Deterministic: the bits of an element depend on its arguments alone, at any place, length and
thread count. {error}Cost: one pass over memory.
{examples}"""

_MEANING = {
    "dout": "Gradient with respect to the result of the function",
    "result": "Result of the function",
}


def _document(row: Row) -> str:
    dtypes = " or ".join(TYPES[row.types])
    parameters = "\n".join(
        f"{name} : ndarray{' or number' if i else ''}, {'bool' if kind == 'bool' else dtypes}\n"
        f"    {_MEANING.get(name, 'Argument')}."
        for i, (name, kind) in enumerate(zip(row.names, row.kinds, strict=True))
    )
    notes = row.notes + " " if row.notes and row not in BACKWARD else ""
    propagates = row.result == "T" and row.name != "where" and row not in BACKWARD
    notes += "NaN gives NaN. " if propagates else "NaN follows from the expression. "
    error = ""
    if row.result == "T" and row not in BACKWARD:
        of = "the result" if row.scale == "result" else f"``{row.scale}``"
        error = (
            f"Largest error of the C++ loop: {row.ulp[0]} (float32) and {row.ulp[1]} (float64) "
            f"units in the last place of {of}. "
        )
    examples = ""
    if row.example[0]:
        first, bracket, rest = row.example[0].partition("]")
        first = first.replace("inf", "np.inf").replace("nan", "np.nan")
        examples = (
            "\nExamples\n--------\n>>> import numpy as np\n"
            ">>> from kernelmill.ops import elementwise\n"
            f">>> elementwise.{row.name}(np.array({first}{bracket}){rest})\n"
            f"array({row.example[1]})\n"
        )
    return _DOCUMENT.format(
        about=row.about,
        parameters=parameters,
        result="bool" if row.result == "bool" else "the dtype of the arguments",
        expression=row.expression,
        notes=notes,
        error=error,
        examples=examples,
    )


def _operands(row: Row, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], np.dtype]:
    """Arguments of one dtype, and that dtype."""
    op = f"elementwise.{row.name}"
    kinds = ["bool" if row.types == "bool" else kind for kind in row.kinds]
    typed = [
        (a.ndim == 0, i)
        for i, a in enumerate(given)
        if isinstance(a, np.ndarray) and (kinds[i] == "T" or row.types == "bool")
    ]
    dtype = np.dtype(np.float64)
    if typed:
        first = min(typed)[1]
        dtype = given[first].dtype.newbyteorder("=")
        if dtype.name not in TYPES[row.types]:
            raise ValueError(
                f"{op}: {row.names[first]} must be {' or '.join(TYPES[row.types])}, got {dtype} "
                "(convert it with astype)"
            )
    operands = []
    for name, kind, a in zip(row.names, kinds, given, strict=True):
        want = np.dtype(bool) if kind == "bool" else dtype
        if isinstance(a, np.ndarray) and a.ndim == 0 and a.dtype != want and want.kind != "b":
            a = a.item()
        if not isinstance(a, np.ndarray):
            fits: dict[str, tuple[type, ...]] = {"b": (bool,), "i": (int, np.integer)}
            good = isinstance(a, fits.get(want.kind, (int, float, np.number)))
            if good and want.kind == "i":
                limits = np.iinfo(want.name)
                good = limits.min <= a <= limits.max
            if not good:
                raise TypeError(
                    f"{op}: {name} must be an array or a number that fits {want}, got {a!r}"
                )
        elif a.dtype.newbyteorder("=") != want:
            like = "" if kind == "bool" else " like the other arrays"
            raise ValueError(
                f"{op}: {name} must be {want}{like}, got {a.dtype} (convert it with astype)"
            )
        with np.errstate(over="ignore"):
            operands.append(np.asarray(a).astype(want))
    try:
        np.broadcast_shapes(*(a.shape for a in operands))
    except ValueError:
        raise ValueError(
            f"{op}: {', '.join(row.names)} must have shapes that broadcast together, got "
            f"{', '.join(str(a.shape) for a in operands)}"
        ) from None
    return tuple(operands), dtype


def evaluate(expression: str, values: dict[str, Any]) -> Any:
    """An expression of the table, on float64 arrays or on whatever ``LANGUAGE`` can handle."""
    return eval(expression, {"__builtins__": {}, **LANGUAGE}, values)


def _specification(row: Row) -> Callable[..., Any]:
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in row.names]
    signature = inspect.Signature(
        [*parameters, inspect.Parameter("out", parameters[0].kind, default=None)]
    )

    def specification(*args: Any, **kwargs: Any) -> np.ndarray:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        *arguments, out = given.arguments.values()
        operands, dtype = _operands(row, tuple(arguments))
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in operands]
        with np.errstate(all="ignore"):
            result = evaluate(row.expression, dict(zip(row.names, wide, strict=True)))
            shape = np.broadcast_shapes(*(a.shape for a in wide))
            result = np.broadcast_to(result, shape).astype(bool if row.result == "bool" else dtype)
        if out is None:
            return np.ascontiguousarray(result).reshape(shape)
        if (out.shape, out.dtype) != (result.shape, result.dtype) or not out.flags.writeable:
            raise ValueError(
                f"elementwise.{row.name}: out must be a writeable {result.dtype} array of shape "
                f"{result.shape}, got {out.dtype} of shape {out.shape}"
            )
        out[...] = result
        return out

    specification.__name__ = specification.__qualname__ = row.name
    specification.__signature__ = signature  # type: ignore[attr-defined]
    specification.__doc__ = _document(row)
    return specification


for _row in (*FORWARD, *BACKWARD):
    _op = Op(_specification(_row))
    globals()[_row.name] = registry[_op.name] = _op
__all__ = ["derivative", "evaluate", *ROWS]


def __getattr__(name: str) -> Op:  # for type checkers: the ops are made above
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def derivative(name: str, argument: str) -> Derivative:
    """How the gradient of a function flows back to one of its arguments.

    Parameters
    ----------
    name : str
        The function, e.g. ``"tanh"``.
    argument : str
        Name of the argument, e.g. ``"x"``.

    Returns
    -------
    derivative : Derivative
        ``row`` is the op that makes it in one pass and ``arguments`` what it is applied to:
        ``"dout"``, arguments of the function by name, and ``"result"``. ``row`` is None
        where ``expression`` is ``"dout"`` (passed on) or ``"0"``. The sum over broadcast axes is
        the caller's.

    Raises
    ------
    KeyError
        If the function has no derivative with respect to the argument.

    Examples
    --------
    >>> from kernelmill.ops import elementwise
    >>> elementwise.derivative("tanh", "x")[1:]
    ('tanh_dx', ('dout', 'result'))
    >>> elementwise.derivative("exp", "x")[1:]
    ('exp_dx', ('dout', 'result'))
    """
    return DERIVATIVES[name][argument]
