"""Steps of optimisers over lists of arrays: the rules of :mod:`kernelmill.ops.optim_table`.

All parameters of a model move in one call, whatever their shapes and dtypes; the rules share one
contract, written into each docstring. On a GPU parameters and gradients may be float16 or bfloat16,
with states in float32: a parameter is rounded once. :func:`norm` is what a step's gradients are
clipped by. NaN follows from the arithmetic. Empty lists and arrays are allowed. Deterministic: the
bits of an element depend on its own numbers alone, those of a norm on the sizes. Cost: one pass
over memory.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._op import Op, register
from .elementwise import LANGUAGE
from .optim_table import TABLE, Rule

_DOCUMENT = """{about}: one step of all parameters, in place.

Parameters
----------
parameters : list of ndarray, float32 or float64
    Updated: C-contiguous and writeable, of any shapes; dtypes may differ.
gradients : list of ndarray
    Like the parameters in number, dtype and shape; any strides.
{states}{options}
Raises
------
ValueError
    If lists differ in length, arrays in shape or dtype, or an updated array cannot be written.
TypeError
    If an argument is no list, an array is no array, or an option is no number.

Notes
-----
After {source}; exactly::

{rule}

{notes}Options are numbers, or lists of one number for each parameter. NaN follows from
the expressions. Empty lists and arrays are allowed. Deterministic: the bits of an element depend on
its own numbers alone. Cost: one pass over memory.

Examples
--------
>>> import numpy as np
>>> from kernelmill.ops import optim
>>> p = np.zeros(2)
>>> optim.{name}([p], [np.array([1.0, -2.0])]{example})
>>> p
{shown}
"""
_MEANING = {
    "step": "Number of this step, from 1",
    "scale": "Factor of the gradients, for clipping, loss scaling and (-1) ascent",
    "lr": "Learning rate",
    "weight_decay": "Share of the parameter that is added to its gradient, or taken off it",
    "eps": "Added to the divisor",
    "nesterov": "Whether the step looks ahead along the momentum (0 or 1)",
    "decoupled": "Whether the decay moves the parameter and not the gradient (0 or 1)",
}
_EXAMPLES = {
    "sgd": (", lr=0.1", "array([-0.1,  0.2])"),
    "adagrad": (", [np.zeros(2)], lr=0.1", "array([-0.1,  0.1])"),
    "rmsprop": (", [np.zeros(2)], lr=0.1, alpha=0.75", "array([-0.2,  0.2])"),
    "adadelta": (", [np.zeros(2)], [np.zeros(2)], eps=1.0", "array([-0.95346259,  1.69030851])"),
    "adam": (", [np.zeros(2)], [np.zeros(2)], lr=0.1", "array([-0.1,  0.1])"),
    "nadam": (", [np.zeros(2)], [np.zeros(2)], lr=0.1", "array([-0.14736842,  0.14736842])"),
    "radam": (", [np.zeros(2)], [np.zeros(2)], lr=0.1", "array([-0.1,  0.2])"),
    "adamax": (", [np.zeros(2)], [np.zeros(2)], lr=0.1", "array([-0.1,  0.1])"),
    "rprop": (", [np.zeros(2)], [np.full(2, 0.1)]", "array([-0.1,  0.1])"),
    "asgd": (", [np.zeros(2)], eta=0.1", "array([-0.1,  0.2])"),
    "lion": (", [np.zeros(2)], lr=0.1", "array([-0.1,  0.1])"),
    "ema": (", decay=0.5", "array([ 0.5, -1. ])"),
}


def _document(rule: Rule) -> str:
    states = "".join(
        f"{kept} : list of ndarray{', optional' if kept != name else ''}\n"
        "    State: updated, like the parameters; zeros before the first step.\n"
        for name, kept in zip(rule.states, rule.kept, strict=True)
    )
    options = "".join(
        f"{name} : float, default={default:g}\n    {_MEANING.get(name, 'Option of the rule')}.\n"
        for name, default in rule.every_option.items()
    )
    lines = [f"{name} = {expression}" for name, expression in rule.scalars.items()]
    lines += ["gradient = scale * gradient", *rule.statements]
    return _DOCUMENT.format(
        about=rule.about,
        name=rule.name,
        source=rule.source,
        states=states,
        options=options,
        rule="\n".join(f"    {line}" for line in lines),
        notes=f"{rule.notes} " if rule.notes else "",
        example=_EXAMPLES[rule.name][0],
        shown=_EXAMPLES[rule.name][1],
    )


def _arrays(op: str, name: str, given: Any) -> list[np.ndarray]:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{op}: {name} must be a list of arrays, got {type(given).__name__}")
    for i, a in enumerate(given):
        if not isinstance(a, np.ndarray):
            raise TypeError(f"{op}: {name}[{i}] must be a NumPy array, got {type(a).__name__}")
        if a.dtype.name not in ("float32", "float64"):
            raise ValueError(
                f"{op}: {name}[{i}] must be float32 or float64, got {a.dtype} (convert it with "
                "astype)"
            )
    return [*given]


def _list_like(
    op: str, name: str, given: Any, first: Sequence[np.ndarray] | None, updated: bool
) -> list[np.ndarray]:
    arrays = _arrays(op, name, given)
    if first is not None and len(arrays) != len(first):
        raise ValueError(
            f"{op}: {name} must have {len(first)} arrays like parameters, got {len(arrays)}"
        )
    for i, a in enumerate(arrays):
        flags = a.flags
        if updated and not (flags.carray and a.dtype.isnative):
            why = "byte-swapped or unaligned" if flags.writeable else "read-only"
            raise ValueError(
                f"{op}: {name}[{i}] must be C-contiguous, aligned and writeable, got an array that "
                f"is {why if flags.c_contiguous else 'not C-contiguous'}"
            )
        if first is not None and (a.shape, a.dtype.name) != (first[i].shape, first[i].dtype.name):
            raise ValueError(
                f"{op}: {name}[{i}] must be {first[i].dtype} of shape {first[i].shape} like the "
                f"parameter, got {a.dtype} of shape {a.shape}"
            )
    return arrays


def _numbers(op: str, name: str, given: Any, n: int) -> list[float]:
    values = given if isinstance(given, (list, tuple)) else [given] * n
    if len(values) != n:
        raise ValueError(
            f"{op}: {name} must have {n} numbers, one for each array, got {len(values)}"
        )
    for value in values:
        if not isinstance(value, (bool, int, float, np.number)):
            raise TypeError(
                f"{op}: {name} must be a number or a list of numbers, got {type(value).__name__}"
            )
    return [float(value) for value in values]


def move(
    rule: Rule,
    arrays: dict[str, Any],
    options: dict[str, float],
    language: dict[str, Any] = LANGUAGE,
) -> dict[str, Any]:
    """What a rule assigns, by name, for one array of each kind (None for a state left out)."""
    known = {**language, "__builtins__": {}}
    values: dict[str, Any] = dict(options)
    for name, expression in rule.scalars.items():
        values[name] = float(eval(expression, {**LANGUAGE, "pow": math.pow}, values))
    for name, array in arrays.items():
        values[name] = 0.0 if array is None else array
        values[f"has_{name}"] = array is not None
    values["gradient"] = values["scale"] * values["gradient"]
    with np.errstate(all="ignore"):
        for statement in rule.statements:
            target, _, expression = statement.partition(" = ")
            values[target] = eval(expression, known, values)
    return values


def _specification(rule: Rule) -> Callable[..., None]:
    op = f"optim.{rule.name}"
    kind, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    optional = [name.rstrip("?") for name in rule.states if name.endswith("?")]
    lists = [
        inspect.Parameter(name, kind, default=None if name in optional else inspect.Parameter.empty)
        for name in ("parameters", "gradients", *rule.kept)
    ]
    signature = inspect.Signature(
        [*lists] + [inspect.Parameter(n, keyword, default=v) for n, v in rule.every_option.items()]
    )

    def specification(*args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{op}: {error}") from None
        bound.apply_defaults()
        given = bound.arguments
        parameters = _list_like(op, "parameters", given["parameters"], None, updated=True)
        checked: dict[str, list] = {"parameter": parameters}
        checked["gradient"] = _list_like(op, "gradients", given["gradients"], parameters, False)
        for name in rule.kept:
            missing = given[name] is None and name in optional
            checked[name] = (
                [None] * len(parameters)
                if missing
                else _list_like(op, name, given[name], parameters, updated=True)
            )
        options = {
            name: _numbers(op, name, given[name], len(parameters)) for name in rule.every_option
        }
        for i in range(len(parameters)):
            arrays = {name: items[i] for name, items in checked.items()}
            wide = {n: None if a is None else a.astype(np.float64) for n, a in arrays.items()}
            made = move(rule, wide, {name: values[i] for name, values in options.items()})
            for name, array in arrays.items():
                if name != "gradient" and array is not None:
                    with np.errstate(over="ignore"):
                        array[...] = made[name]

    specification.__name__ = specification.__qualname__ = rule.name
    specification.__signature__ = signature  # type: ignore[attr-defined]
    specification.__doc__ = _document(rule)
    return specification


for _rule in TABLE.values():
    globals()[_rule.name] = register(Op(_specification(_rule)))


def _norm(arrays: Sequence[np.ndarray], order: float = 2.0) -> float:
    """Norm of all elements of a list of arrays, as if they were one vector.

    Parameters
    ----------
    arrays : list of ndarray, float32 or float64
        Of any shapes and strides; dtypes may differ.
    order : float, default=2.0
        Order p of the norm ``(sum |x|^p)^(1/p)``, above 0; infinity gives the largest magnitude.

    Returns
    -------
    norm : float
        The norm in float64: it neither overflows nor underflows unless the result does.

    Raises
    ------
    ValueError
        If an array has another dtype or order is not above 0.
    TypeError
        If arrays is no list of arrays.

    Notes
    -----
    NaN gives NaN, no elements give 0. Deterministic: parts depend on sizes alone and are combined
    in order. Cost: one pass over memory, two where squares leave the range of float64.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import optim
    >>> optim.norm([np.full(3, 1e200), np.array([[1e200]])])
    2e+200
    """
    if not order > 0:
        raise ValueError(f"optim.norm: order must be above 0, got {order:g}")
    parts = [np.abs(a.astype(np.float64)).ravel() for a in _arrays("optim.norm", "arrays", arrays)]
    x = np.concatenate([np.zeros(0), *parts])
    largest = float(x.max(initial=0.0))
    if not 0 < largest < math.inf or order == math.inf:
        return largest
    return largest * float(((x / largest) ** order).sum()) ** (1 / order)


_norm.__name__ = _norm.__qualname__ = "norm"
norm = register(Op(_norm))
__all__ = ["move", "norm", *TABLE]


def __getattr__(name: str) -> Op:  # for type checkers: the ops are made above
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
