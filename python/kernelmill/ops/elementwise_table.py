"""The table of elementwise functions: one row each, read by everything that runs them.

An expression is valid Python and valid C: arithmetic, parenthesised comparisons, literals, and
calls of functions that are rows themselves (``where(c, a, b)`` is the choice). The NumPy
specification evaluates it in float64; ``cmake/elementwise_rows.py`` writes it for the C++ and CUDA
loops; a tape may evaluate it on its tensors. A derivative is the expression of what flows back to
an argument, in ``dout``, the arguments and the ``result``; it becomes a row of its own, one
pass without temporaries, unless some row already has that expression.

This module imports nothing but the standard library: the build reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

TYPES = {
    "bool": ("bool",),
    "float": ("float32", "float64"),
    "number": ("int32", "int64", "float32", "float64"),
}


@dataclass(frozen=True)
class Row:
    """One function.

    Attributes
    ----------
    name, about : str
        Name of the op, and its summary.
    arguments : str
        Names, separated by commas; ``name: bool`` for an argument that is bool whatever the others.
    expression : str
        The result in terms of the arguments.
    notes : str
        Special values.
    ulp : tuple of float
        Largest error of the C++ loop in units in the last place, for float32 and float64.
    scale : str
        What the unit is taken of: ``result``, or an expression where terms may cancel; ``tiny`` is
        the smallest normal number.
    types : {"float", "number", "bool"}
        The dtypes that arguments may have.
    result : {"T", "bool"}
        Dtype of the result; T is that of the arguments.
    derivatives : dict
        Argument to expression; ``"dout"`` passes on, ``"0"`` is zero everywhere.
    example : tuple of str
        Arguments and printed result for the docstring.
    """

    name: str
    about: str
    expression: str
    arguments: str = "x"
    notes: str = ""
    ulp: tuple[float, float] = (0.5, 0.5)
    scale: str = "result"
    types: str = "float"
    result: str = "T"
    derivatives: dict[str, str] = field(default_factory=dict)
    example: tuple[str, str] = ("", "")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arguments."""
        return tuple(part.partition(":")[0].strip() for part in self.arguments.split(","))

    @property
    def kinds(self) -> tuple[str, ...]:
        """``"T"`` or ``"bool"`` for each argument."""
        return tuple(part.partition(":")[2].strip() or "T" for part in self.arguments.split(","))


class Derivative(NamedTuple):
    """What flows back to one argument: ``row`` applied to the values named in ``arguments``.

    ``row`` is None where ``dout`` passes on unchanged or nothing flows (``expression`` is ``"0"``).
    The expression is linear in ``dout``; the row gives 0 wherever ``dout`` is 0.
    """

    expression: str
    row: str | None
    arguments: tuple[str, ...]


_COMPARISON = "NaN compares unequal to everything, itself included."
_GELU_TANH = "tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))"

BASIC = (
    Row("negative", "Negative", "-x", notes="The sign of zero changes too.",
        derivatives={"x": "-dout"}, example=("[1.0, -2.0]", "[-1.,  2.]")),
    Row("abs", "Absolute value", "abs(x)",
        notes="The derivative at 0 is 0.",
        derivatives={"x": "dout * where(x > 0, 1, where(x < 0, -1, x))"},
        example=("[1.0, -2.0]", "[1., 2.]")),
    Row("sign", "Sign: -1, 0 or 1", "where(x > 0, 1, where(x < 0, -1, x))",
        notes="+-0 gives +-0.", derivatives={"x": "0"}, example=("[3.0, -2.0]", "[ 1., -1.]")),
    Row("square", "Square", "x * x", derivatives={"x": "dout * 2 * x"},
        example=("[3.0, -2.0]", "[9., 4.]")),
    Row("sqrt", "Square root", "sqrt(x)", notes="x < 0 gives NaN, -0 gives -0.",
        derivatives={"x": "0.5 * dout / result"}, example=("[9.0, 4.0]", "[3., 2.]")),
    Row("rsqrt", "Reciprocal square root", "1 / sqrt(x)", ulp=(1.5, 1.5),
        notes="x < 0 gives NaN, +-0 gives +-inf, inf gives 0.",
        derivatives={"x": "-0.5 * dout * result * result * result"},
        example=("[0.25, 4.0]", "[2. , 0.5]")),
    Row("reciprocal", "Reciprocal", "1 / x", notes="+-0 gives +-inf.",
        derivatives={"x": "-dout * result * result"}, example=("[0.25, 4.0]", "[4.  , 0.25]")),
    Row("exp", "Exponential function", "exp(x)", ulp=(1.05, 1.1),
        notes="-inf gives 0, inf and overflow give inf, underflow is gradual.",
        derivatives={"x": "dout * result"}, example=("[-inf, 0.0]", "[0., 1.]")),
    Row("expm1", "e^x - 1, accurate for small x", "expm1(x)", ulp=(2.0, 2.5),
        notes="-inf gives -1, inf and overflow give inf, +-0 gives +-0.",
        derivatives={"x": "dout * exp(x)"}, example=("[-inf, -0.0]", "[-1., -0.]")),
    Row("log", "Natural logarithm", "log(x)", ulp=(1.0, 1.0),
        notes="x < 0 gives NaN, +-0 gives -inf, inf gives inf.",
        derivatives={"x": "dout / x"}, example=("[0.0, 1.0]", "[-inf,   0.]")),
    Row("log1p", "Natural logarithm of 1 + x, accurate for small x", "log1p(x)", ulp=(1.5, 1.5),
        notes="x < -1 gives NaN, -1 gives -inf, inf gives inf, +-0 gives +-0.",
        derivatives={"x": "dout / (1 + x)"}, example=("[-1.0, -0.0]", "[-inf,  -0.]")),
    Row("tanh", "Hyperbolic tangent", "tanh(x)", ulp=(2.5, 3.0),
        notes="+-inf gives +-1, +-0 gives +-0; odd in every bit, never beyond 1.",
        derivatives={"x": "dout * (1 - result) * (1 + result)"},
        example=("[-inf, -0.0]", "[-1., -0.]")),
    Row("erf", "Error function", "erf(x)", ulp=(1.5, 1.5),
        notes="+-inf gives +-1, +-0 gives +-0; odd in every bit, never beyond 1.",
        derivatives={"x": "dout * 1.1283791670955126 * exp(-x * x)"},
        example=("[-inf, -0.0]", "[-1., -0.]")),
)  # fmt: skip

ACTIVATIONS = (
    Row("logistic", "Logistic function (sigmoid), 1 / (1 + e^-x)", "logistic(x)", ulp=(2.5, 2.5),
        notes="-inf gives 0, inf gives 1; far below zero the result is e^x, down to denormals.",
        derivatives={"x": "dout * result * (1 - result)"}, example=("[-inf, 0.0]", "[0. , 0.5]")),
    Row("relu", "Rectifier: the larger of x and 0", "where(x <= 0, 0, x)",
        notes="The derivative at 0 is 0.", derivatives={"x": "where(result <= 0, 0, dout)"},
        example=("[-1.0, 2.0]", "[0., 2.]")),
    Row("leaky_relu", "Rectifier with a slope for negative x", "where(x > 0, x, slope * x)",
        "x, slope", notes="The derivative at 0 is the slope.",
        derivatives={"x": "where(x > 0, dout, slope * dout)",
                     "slope": "where(x > 0, 0, x * dout)"},
        example=("[-1.0, 2.0], 0.5", "[-0.5,  2. ]")),
    Row("elu", "Exponential linear unit", "where(x > 0, x, alpha * expm1(x))", "x, alpha",
        ulp=(4.5, 5.5), notes="-inf gives -alpha.",
        derivatives={"x": "where(x > 0, dout, dout * alpha * exp(x))",
                     "alpha": "where(x > 0, 0, dout * expm1(x))"},
        example=("[-inf, 2.0], 0.5", "[-0.5,  2. ]")),
    Row("selu", "Self-normalising exponential linear unit (Klambauer et al. 2017)",
        "where(x > 0, 1.0507009873554805 * x, 1.7580993408473768 * expm1(x))", ulp=(5.5, 5.5),
        notes="-inf gives -1.758...",
        derivatives={"x": "where(x > 0, 1.0507009873554805 * dout, "
                          "dout * 1.7580993408473768 * exp(x))"},
        example=("[0.0, 1.0]", "[0.        , 1.05070099]")),
    Row("gelu", "Gaussian error linear unit: x times the normal distribution function of x",
        "where(x < -40, 0, x) * 0.5 * (1 + erf(x * 0.7071067811865476))",
        ulp=(2.0, 2.0), scale="abs(x)", notes="-inf gives 0, inf gives inf.",
        derivatives={"x": "dout * (0.5 * (1 + erf(x * 0.7071067811865476))"
                          " + clip(x, -40, 40) * 0.3989422804014327 * exp(-0.5 * x * x))"},
        example=("[-inf, 0.0]", "[0., 0.]")),
    Row("gelu_tanh", "Gaussian error linear unit, approximated with tanh",
        f"where(x < -40, 0, x) * 0.5 * (1 + {_GELU_TANH})",
        ulp=(3.0, 3.0), scale="abs(x)", notes="-inf gives 0, inf gives inf.",
        derivatives={"x": f"dout * (0.5 * (1 + {_GELU_TANH}) + 0.5 * clip(x, -40, 40)"
                          f" * (1 - {_GELU_TANH}) * (1 + {_GELU_TANH})"
                          " * (0.7978845608028654 + 0.1070322243 * clip(x, -40, 40)"
                          " * clip(x, -40, 40)))"},
        example=("[-inf, 0.0]", "[0., 0.]")),
    Row("silu", "Sigmoid linear unit (swish): x times its logistic function",
        "where(x < -1000, 0, x) * logistic(x)", ulp=(5.5, 5.5),
        scale="maximum(abs(result), abs(x) * tiny)",
        notes="-inf gives 0, inf gives inf.",
        derivatives={"x": "dout * logistic(x) * (1 + clip(x, -1000, 1000) * logistic(-x))"},
        example=("[-inf, 0.0]", "[0., 0.]")),
    Row("softplus", "Softplus, log(1 + e^x)", "maximum(x, 0) + log1p(exp(-abs(x)))",
        ulp=(4.0, 4.0), notes="-inf gives 0, inf gives inf; never overflows.",
        derivatives={"x": "dout * logistic(x)"}, example=("[-inf, inf]", "[ 0., inf]")),
    Row("log_sigmoid", "Logarithm of the logistic function", "minimum(x, 0) - log1p(exp(-abs(x)))",
        ulp=(4.0, 4.0), notes="-inf gives -inf, inf gives 0 (-0 where it is rounded).",
        derivatives={"x": "dout * logistic(-x)"}, example=("[-inf, -800.0]", "[ -inf, -800.]")),
)  # fmt: skip

ARITHMETIC = (
    Row("add", "Sum", "x + y", "x, y", derivatives={"x": "dout", "y": "dout"},
        example=("[1.0, 2.0], 3.0", "[4., 5.]")),
    Row("subtract", "Difference", "x - y", "x, y", derivatives={"x": "dout", "y": "-dout"},
        example=("[1.0, 2.0], 3.0", "[-2., -1.]")),
    Row("multiply", "Product", "x * y", "x, y",
        derivatives={"x": "dout * y", "y": "dout * x"}, example=("[1.0, 2.0], 3.0", "[3., 6.]")),
    Row("divide", "Quotient", "x / y", "x, y", notes="0 / 0 gives NaN.",
        derivatives={"x": "dout / y", "y": "-dout * result / y"},
        example=("[1.0, 2.0], 0.5", "[2., 4.]")),
    Row("maximum", "The larger of two values", "where(x != x, x, where(x > y, x, y))", "x, y",
        notes="NaN in either gives NaN. Of equal values each gets half the gradient.",
        derivatives={"x": "where(x == y, 0.5 * dout, where(x < y, 0, dout))",
                     "y": "where(x == y, 0.5 * dout, where(x > y, 0, dout))"},
        example=("[1.0, 3.0], 2.0", "[2., 3.]")),
    Row("minimum", "The smaller of two values", "where(x != x, x, where(x < y, x, y))", "x, y",
        notes="NaN in either gives NaN. Of equal values each gets half the gradient.",
        derivatives={"x": "where(x == y, 0.5 * dout, where(x > y, 0, dout))",
                     "y": "where(x == y, 0.5 * dout, where(x < y, 0, dout))"},
        example=("[1.0, 3.0], 2.0", "[1., 2.]")),
    Row("clip", "x limited to the interval from low to high", "minimum(maximum(x, low), high)",
        "x, low, high",
        notes="NaN in any gives NaN; low > high gives high. At an end x keeps its gradient.",
        derivatives={"x": "where((x < low) | (x > high), 0, dout)",
                     "low": "where((x < low) & (low <= high), dout, 0)",
                     "high": "where(maximum(x, low) > high, dout, 0)"},
        example=("[-1.0, 0.5, 3.0], 0.0, 1.0", "[0. , 0.5, 1. ]")),
    Row("multiply_add", "x y + z, rounded once or twice", "x * y + z", "x, y, z",
        ulp=(1.0, 1.0), scale="abs(x * y) + abs(z)",
        derivatives={"x": "dout * y", "y": "dout * x", "z": "dout"},
        example=("[1.0, 2.0], 3.0, 0.5", "[3.5, 6.5]")),
    Row("where", "x where the condition holds, else y", "where(condition, x, y)",
        "condition: bool, x, y", types="number",
        derivatives={"x": "where(condition, dout, 0)", "y": "where(condition, 0, dout)"},
        example=("[True, False], 1.0, 2.0", "[1., 2.]")),
)  # fmt: skip


def _comparison(name: str, about: str, operator: str, result: str) -> Row:
    return Row(name, about, f"x {operator} y", "x, y", notes=_COMPARISON, types="number",
               result="bool", example=("[1.0, 2.0], 2.0", result))  # fmt: skip


COMPARISONS = (
    _comparison("equal", "Whether x equals y", "==", "[False,  True]"),
    _comparison("not_equal", "Whether x differs from y", "!=", "[ True, False]"),
    _comparison("less", "Whether x is below y", "<", "[ True, False]"),
    _comparison("less_equal", "Whether x is at most y", "<=", "[ True,  True]"),
    _comparison("greater", "Whether x is above y", ">", "[False, False]"),
    _comparison("greater_equal", "Whether x is at least y", ">=", "[False,  True]"),
    Row("isnan", "Whether x is NaN", "x != x", result="bool",
        example=("[nan, inf]", "[ True, False]")),
    Row("isinf", "Whether x is infinite", "(x == x) & (x - x != 0)", result="bool",
        example=("[nan, inf]", "[False,  True]")),
    Row("isfinite", "Whether x is neither NaN nor infinite", "x - x == 0", result="bool",
        example=("[nan, 1.0]", "[False,  True]")),
    Row("logical_not", "Whether x is false", "x == 0", types="bool", result="bool",
        example=("[True, False]", "[False,  True]")),
    Row("logical_and", "Whether both are true", "x & y", "x, y", types="bool", result="bool",
        example=("[True, False], True", "[ True, False]")),
    Row("logical_or", "Whether one or both are true", "x | y", "x, y", types="bool", result="bool",
        example=("[True, False], False", "[ True, False]")),
)  # fmt: skip

FORWARD = (*BASIC, *ACTIVATIONS, *ARITHMETIC, *COMPARISONS)
_NAME = re.compile(r"\b[a-z_]\w*\b(?!\()")  # a variable: no call follows


def _shape(expression: str) -> tuple[str, tuple[str, ...]]:
    """The expression with its variables numbered, and the variables in that order."""
    names = tuple(dict.fromkeys(_NAME.findall(expression)))
    return _NAME.sub(lambda m: f"v{names.index(m[0])}", expression), names


def _derive() -> tuple[tuple[Row, ...], dict[str, dict[str, Derivative]]]:
    known: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
    for row in FORWARD:
        form, order = _shape(row.expression)
        # `where` and comparisons mix dtypes; a derivative is floats with at most a bool of its own.
        if row.result == "T" and row.types == "float":
            known.setdefault(form, (row.name, order, row.names))
    rows: list[Row] = []
    found: dict[str, dict[str, Derivative]] = {}
    for row in FORWARD:
        found[row.name] = {}
        for argument, expression in row.derivatives.items():
            if expression in ("dout", "0"):
                found[row.name][argument] = Derivative(expression, None, ())
                continue
            # 0 times a slope that is infinite is 0: a branch not taken has no gradient.
            scales = "*" in expression or "/" in expression
            fused = f"where(dout == 0, 0, {expression})" if scales else expression
            form, variables = _shape(fused)
            key = form + "?" * ("condition" in variables)
            if key not in known:
                kinds = {**dict(zip(row.names, row.kinds, strict=True)), "dout": "T", "result": "T"}
                order = tuple(n for n in ("dout", *row.names, "result") if n in variables)
                declared = ", ".join(n + ": bool" * (kinds[n] == "bool") for n in order)
                name = f"{row.name}_d{argument}"
                about = f"Gradient of :func:`{row.name}` with respect to {argument}"
                rows.append(Row(name, about, fused, declared, notes=row.notes))
                known[key] = (name, variables, order)
            other, theirs, order = known[key]
            translate = dict(zip(theirs, variables, strict=True))
            found[row.name][argument] = Derivative(
                expression, other, tuple(translate[n] for n in order)
            )
    return tuple(rows), found


BACKWARD, DERIVATIVES = _derive()
ROWS = {row.name: row for row in (*FORWARD, *BACKWARD)}
