"""Every row of the table against its specification, its derivative, and its stated error."""

from __future__ import annotations

import itertools
import operator
from pathlib import Path

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases
from scipy import special

from kernelmill.ops import elementwise
from kernelmill.ops.elementwise_table import BACKWARD, DERIVATIVES, FORWARD, ROWS, TYPES

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1000.0, -1000.0, 88.7,
           -87.4, 709.7, -745.2, 0.5, 2.0)  # fmt: skip
# Largest errors of CUDA's own functions, where they are above those of the C++ loops.
CUDA_ULP = {"erf": 2.0}


# --- error bounds ---------------------------------------------------------------------------------


class Approximate:
    """A float64 value with a bound of the rounding errors that a loop in ``dtype`` makes.

    First-order running error analysis: each operation adds half a unit of its result, each function
    its stated error, and passes on the errors of its operands times its slope.
    """

    def __init__(self, value, error, dtype):
        self.value, self.error, self.dtype = np.asarray(value, np.float64), error, dtype

    def rounded(self, value, error, ulp=0.5):
        unit = np.spacing(np.abs(value).astype(self.dtype)).astype(np.float64)
        return Approximate(value, error + 2 * ulp * unit, self.dtype)

    def apply(self, function, slope, ulp):
        return self.rounded(function(self.value), np.abs(slope(self.value)) * self.error, ulp)

    def __neg__(self):
        return Approximate(-self.value, self.error, self.dtype)

    def __add__(self, other):
        other = self.of(other)
        return self.rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other):
        return self + -self.of(other)

    def __mul__(self, other):
        other = self.of(other)
        with np.errstate(all="ignore"):
            passed = np.abs(self.value) * other.error + np.abs(other.value) * self.error
        return self.rounded(self.value * other.value, np.nan_to_num(passed, nan=0.0))

    def __truediv__(self, other):
        other = self.of(other)
        quotient = self.value / other.value
        passed = (self.error + np.abs(quotient) * other.error) / np.abs(other.value)
        return self.rounded(quotient, np.nan_to_num(passed, nan=0.0))

    def of(self, other):
        if isinstance(other, Approximate):
            return other
        return Approximate(other, np.abs(other) * np.finfo(self.dtype).eps, self.dtype)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other):
        return self.of(other) - self

    def __rtruediv__(self, other):
        return self.of(other) / self

    def _compare(self, other, compare):
        return compare(self.value, self.of(other).value)

    def __lt__(self, other):
        return self._compare(other, operator.lt)

    def __le__(self, other):
        return self._compare(other, operator.le)

    def __gt__(self, other):
        return self._compare(other, operator.gt)

    def __ge__(self, other):
        return self._compare(other, operator.ge)

    def __eq__(self, other):
        return self._compare(other, operator.eq)

    def __ne__(self, other):
        return self._compare(other, operator.ne)

    __hash__ = None


def _choose(condition, x, y):
    one = x if isinstance(x, Approximate) else y
    if not isinstance(one, Approximate):
        return np.where(condition, x, y)
    x, y = one.of(x), one.of(y)
    return Approximate(
        np.where(condition, x.value, y.value), np.where(condition, x.error, y.error), one.dtype
    )


def _maximum(x, y):
    return _choose(x != x, x, _choose(x > y, x, y))


def _minimum(x, y):
    return _choose(x != x, x, _choose(x < y, x, y))


def _function(name, slope):
    exact = elementwise.LANGUAGE[name]
    ulp = max(*ROWS[name].ulp, CUDA_ULP.get(name, 0))
    return lambda x: x.apply(exact, slope, ulp)


def _logistic_slope(v):
    e = np.exp(-np.abs(v))
    return e / (1 + e) ** 2


WITH_ERRORS = {
    "exp": _function("exp", np.exp),
    "expm1": _function("expm1", np.exp),
    "log": _function("log", lambda v: 1 / v),
    "log1p": _function("log1p", lambda v: 1 / (1 + v)),
    "tanh": _function("tanh", lambda v: 1 / np.cosh(v) ** 2),
    "erf": _function("erf", lambda v: 1.13 * np.exp(-v * v)),
    "logistic": _function("logistic", _logistic_slope),
    "sqrt": _function("sqrt", lambda v: 0.5 / np.sqrt(v)),
    "abs": lambda x: Approximate(np.abs(x.value), x.error, x.dtype),
    "where": _choose,
    "maximum": _maximum,
    "minimum": _minimum,
    "clip": lambda x, low, high: _minimum(_maximum(x, low), high),
}


def rounding_bound(row, arguments, dtype):
    """What rounding may do to ``row`` evaluated in ``dtype``."""
    with np.errstate(all="ignore"):
        values = {
            name: a if a.dtype == bool else Approximate(a, np.zeros(a.shape), dtype)
            for name, a in zip(row.names, arguments, strict=True)
        }
        result = eval(row.expression, {"__builtins__": {}, **WITH_ERRORS}, values)
        shape = np.broadcast_shapes(*(a.shape for a in arguments))
        tiny = np.finfo(dtype).smallest_subnormal
        # CUDA and the specification round too; a function may lose denormal digits.
        return np.broadcast_to(np.nan_to_num(2 * result.error, nan=0.0) + 4 * tiny, shape)


def stated_bound(row, arguments, want):
    with np.errstate(all="ignore"):
        scale = want.astype(np.float64)
        if row.scale != "result":
            wide = {n: a.astype(np.float64) for n, a in zip(row.names, arguments, strict=True)}
            tiny = np.finfo(want.dtype).tiny
            scale = elementwise.evaluate(row.scale, {**wide, "result": scale, "tiny": tiny})
        unit = np.spacing(np.abs(scale).astype(want.dtype)).astype(np.float64)
    # One more: the specification rounds too.
    return (max(*row.ulp, CUDA_ULP.get(row.name, 0)) + 1) * unit


# --- cases ----------------------------------------------------------------------------------------


def case(row, name, arguments, big=False):
    if row.result == "bool" or (row.name == "where" and arguments[1].dtype.kind == "i"):
        return Case(name, arguments, big=big)
    dtype = next(a.dtype for a in arguments if a.dtype.kind == "f")
    if row in BACKWARD:
        return Case(name, arguments, bounds=(rounding_bound(row, arguments, dtype),), big=big)
    want = elementwise.__dict__[row.name].specification(*arguments)
    return Case(name, arguments, bounds=(stated_bound(row, arguments, want),), big=big)


def draw(row, rng, shapes, dtype, scale=1.0):
    """Random arguments; every fourth is rounded, so that some are equal."""
    made = []
    for kind, shape in zip(row.kinds, shapes, strict=True):
        if kind == "bool" or dtype == "bool":
            made.append(rng.integers(0, 2, shape).astype(bool))
        elif np.dtype(dtype).kind == "i":
            made.append(rng.integers(-3, 4, shape).astype(dtype))
        else:
            x = np.asarray(rng.normal(size=shape) * scale)
            if row.name.startswith("is"):
                x = np.where(x > 0.3 * scale, rng.choice([np.nan, np.inf, -np.inf], shape), x)
            made.append(np.asarray(np.where(rng.uniform(size=shape) < 0.25, np.round(x), x), dtype))
    return tuple(made)


def specials(row, dtype):
    values = SPECIAL
    if row in BACKWARD:
        # A gradient is evaluated factor by factor in its dtype, and what overflows or vanishes in
        # float32 need not in the specification.
        values = [v for v in SPECIAL if abs(v) not in (1e-30, 709.7, 745.2)]
    if len(row.names) <= 2:
        chosen = list(itertools.product(values, repeat=len(row.names)))
    else:
        chosen = np.random.default_rng(3).choice(values, (600, len(row.names)))
    columns = np.array(chosen).T
    return tuple(
        np.array(c > 0 if kind == "bool" else c, bool if kind == "bool" else dtype)
        for kind, c in zip(row.kinds, columns, strict=True)
    )


def register(row):
    @cases(f"elementwise.{row.name}")
    def generate():
        n_args = len(row.names)
        for dtype in TYPES[row.types]:
            rng = np.random.default_rng(1)
            floats = np.dtype(dtype).kind == "f"
            for n in (0, *SIZES):
                scales = (0.1, 3.0, 60.0) if floats else (1.0,)
                for scale in scales if n in (1, 17, 8 * 32 + 2) else scales[-2:-1] or scales:
                    arguments = draw(row, rng, [(n,)] * n_args, dtype, scale)
                    yield case(row, f"{n} x {scale} {dtype}", arguments)
            if floats:
                yield case(row, f"special values {dtype}", specials(row, dtype))
            yield case(row, f"no axes {dtype}", draw(row, rng, [()] * n_args, dtype))
            yield case(row, f"empty {dtype}", draw(row, rng, [(3, 0, 7)] * n_args, dtype))
            strided = draw(row, rng, [(3, 5, 8)] * n_args, dtype, 3.0)
            yield case(row, f"strided {dtype}", tuple(x[:, ::-2, 1::2] for x in strided))
            arguments = draw(row, rng, [(40, 31)] * n_args, dtype)
            yield case(row, f"transposed {dtype}", (arguments[0].T.copy().T, *arguments[1:]))
            if n_args > 1:
                # Rows, columns, one element; short and long last axes (below and above a block).
                for width in (3, 700):
                    for i in range(n_args):
                        for small in ((width,), (5, 1), (), (2, 1, 1)):
                            shapes = [(2, 5, width)] * n_args
                            shapes[i] = small
                            arguments = draw(row, rng, shapes, dtype)
                            yield case(row, f"{shapes} {dtype}", arguments)
                yield case(
                    row, f"outer {dtype}", draw(row, rng, [(7, 1), *[(1, 9)] * (n_args - 1)], dtype)
                )
            big = draw(row, rng, [(300, 230)] * n_args, dtype)
            yield case(row, f"big {dtype}", big, big=True)
            if n_args > 1:
                big = draw(row, rng, [(300, 230), *[(230,)] * (n_args - 1)], dtype)
                yield case(row, f"big rows {dtype}", big, big=True)


for _row in ROWS.values():
    register(_row)

test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("elementwise")


# --- derivatives and errors -----------------------------------------------------------------------

DIFFERENTIABLE = [(name, argument) for name, d in DERIVATIVES.items() for argument in d]


@pytest.mark.parametrize(("name", "argument"), DIFFERENTIABLE)
def test_derivatives_equal_differences(name, argument):
    """Central differences of fourth order in float64, away from kinks, which are at 0 and ties."""
    row, derivative = ROWS[name], elementwise.derivative(name, argument)
    rng = np.random.default_rng(5)
    values = {}
    for n, kind in zip(row.names, row.kinds, strict=True):
        x = rng.uniform(0.6, 3.0, 2000) * rng.choice([-1.0, 1.0], 2000)
        values[n] = x > 0 if kind == "bool" else x
    if name in ("sqrt", "rsqrt", "log", "log1p"):
        values["x"] = np.abs(values["x"])
    kinks = [
        abs(a - b)
        for a, b in itertools.combinations(values.values(), 2)
        if a.dtype != bool and b.dtype != bool
    ]
    far = np.all([k > 0.05 for k in kinks], axis=0) if kinks else np.ones(2000, bool)
    values = {n: a[far] for n, a in values.items()}

    def at(step):
        moved = {**values, argument: values[argument] + step}
        return elementwise.evaluate(row.expression, moved)

    h = 1e-3
    want = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    dout = rng.normal(size=far.sum())
    known = {**values, "dout": dout, "result": at(0.0)}
    got = np.broadcast_to(elementwise.evaluate(derivative.expression, known), dout.shape)
    # The fifth derivatives times h^4 / 30, and rounding over h.
    np.testing.assert_allclose(got, dout * want, rtol=1e-9, atol=1e-9)
    if derivative.row is not None:
        op = elementwise.__dict__[derivative.row]
        fused = op(*(known[n] for n in derivative.arguments))
        np.testing.assert_allclose(fused, got, rtol=1e-13, atol=1e-15)


def _wide_language():
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.prec = 80
    erf = np.vectorize(
        lambda x: np.longdouble(str(mpmath.erf(mpmath.mpf(str(x))))), otypes=[np.longdouble]
    )
    return {
        **elementwise.LANGUAGE,
        "erf": erf,
        "logistic": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", [r.name for r in FORWARD if r.result == "T" and r.types == "float"]
)
def test_errors_stay_within_the_stated_ulp(name, dtype):
    """Beside the expression at the next wider precision: float64, or 64 bits and mpmath."""
    row = ROWS[name]
    rng = np.random.default_rng(7)
    n = 400_000 if dtype is np.float32 else 40_000 if "erf" not in row.expression else 1_000
    magnitudes = np.exp2(rng.uniform(-30, 7, (len(row.names), n)))
    arguments = [np.array(m * rng.choice([-1, 1], n), dtype) for m in magnitudes]
    wide_type = np.float64 if dtype is np.float32 else np.longdouble
    if np.finfo(wide_type).eps > np.finfo(dtype).eps / 1000:
        pytest.skip("this machine has no wider type")
    language = elementwise.LANGUAGE if dtype is np.float32 else _wide_language()
    wide = {k: a.astype(wide_type) for k, a in zip(row.names, arguments, strict=True)}
    with np.errstate(all="ignore"):
        expression = row.expression
        if dtype is np.float64:  # constants of the expression, to more digits
            root = "(1 / sqrt(2 + 0 * x))"
            expression = expression.replace("0.7071067811865476", root)
        want = np.asarray(eval(expression, {"__builtins__": {}, **language}, wide), wide_type)
        tiny = np.finfo(dtype).tiny
        scale = eval(row.scale, {**language}, {**wide, "result": want, "tiny": tiny})
        got = elementwise.__dict__[name](*arguments)
        unit = np.spacing(np.abs(np.asarray(scale, wide_type)).astype(dtype)).astype(wide_type)
        known = np.isfinite(unit) & np.isfinite(got)
        np.testing.assert_array_equal(got[~known], want[~known].astype(dtype))
        error = np.abs(got.astype(wide_type) - want)[known] / unit[known]
    assert error.max() <= row.ulp[dtype is np.float64] + 1e-3, error.max()


def test_float32_gelu_follows_the_tail():
    """The slope to 1.5e-7 where terms cancel, and digits of gelu where 1 + erf has none left."""
    x = np.linspace(-14, 14, 200_001, dtype=np.float32)
    wide = x.astype(np.float64)
    slope = special.ndtr(wide) + wide * np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    dout = np.float32(2.0)
    got = elementwise.gelu_dx(np.full_like(x, dout), x)
    assert np.abs(got / dout - slope).max() <= 1.5e-7
    below = (x > -4) & (x < -1)
    want = wide * special.ndtr(wide)
    np.testing.assert_allclose(elementwise.gelu(x)[below], want[below], rtol=5e-5)
    # The largest numbers pass through, far below zero nothing is left, also of infinity.
    far = np.array([-np.inf, -3e38, -40, -11, 11, 3e38, np.inf], np.float32)
    np.testing.assert_array_equal(elementwise.gelu(far), np.maximum(far, 0))
    np.testing.assert_array_equal(elementwise.gelu_dx(np.ones_like(far), far), far > 0)


# --- the contract of calls ------------------------------------------------------------------------


def on_both(name):
    op = elementwise.__dict__[name]
    return [op, op.specification]


@pytest.mark.parametrize("name", sorted(ROWS))
def test_other_dtypes_are_refused(name):
    row = ROWS[name]
    wrong = np.zeros(3, np.complex64)
    good = {"bool": np.zeros(3, bool), "T": np.zeros(3, TYPES[row.types][0])}
    arguments = [good[kind] for kind in row.kinds]
    at = row.kinds.index("T")
    arguments[at] = wrong
    first = row.names[at]
    for function in on_both(name):
        with pytest.raises(
            ValueError, match=rf"^elementwise\.{name}: {first} must be .*, got complex64"
        ):
            function(*arguments)


def test_integers_are_refused_by_float_rows():
    for function in on_both("exp"):
        with pytest.raises(ValueError, match="x must be float32 or float64, got int64"):
            function(np.arange(3))


def test_dtypes_are_not_mixed():
    one, two = np.ones(3, np.float32), np.ones(3)
    for function in on_both("add"):
        with pytest.raises(
            ValueError, match="y must be float32 like the other arrays, got float64"
        ):
            function(one, two)
        for weak in (2, 2.0, np.float64(2.0), np.float32(2.0), np.array(2.0), np.array(2)):
            assert function(one, weak).dtype == np.float32
        assert function(np.array(2.0), one).dtype == np.float32
        with pytest.raises(TypeError, match="y must be an array or a number that fits float32"):
            function(one, "2")
        with pytest.raises(TypeError, match="y must be an array or a number that fits float32"):
            function(one, [1.0, 2.0, 3.0])
    for function in on_both("less"):
        assert function(np.arange(3), 1).tolist() == [True, False, False]
        for half in (0.5, np.array(0.5)):
            with pytest.raises(TypeError, match=r"number that fits int64, got 0\.5"):
                function(np.arange(3), half)
        with pytest.raises(TypeError, match=r"number that fits int32, got 4294967296"):
            function(np.arange(3, dtype=np.int32), 2**32)
        assert function(np.arange(3, dtype=np.int32), np.array(1)).tolist() == [True, False, False]
    for function in on_both("where"):
        with pytest.raises(ValueError, match="condition must be bool, got float64"):
            function(two, two, two)
        assert function(two > 0, 1.0, 2.0).dtype == np.float64


def test_shapes_must_broadcast():
    for function in on_both("clip"):
        with pytest.raises(
            ValueError,
            match=r"x, low, high must have shapes that broadcast.*, got \(3,\), \(\), \(2, 4\)",
        ):
            function(np.ones(3), np.array(0.0), np.ones((2, 4)))


def test_out_is_written_and_returned():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 700)), rng.normal(size=700)
    want = x * y
    for function in on_both("multiply"):
        for out in (np.zeros((6, 700)), np.zeros((700, 6)).T, np.zeros((12, 1400))[::-2, ::2]):
            assert function(x, y, out=out) is out
            np.testing.assert_array_equal(out, want)
        for wrong in (np.zeros((6, 700), np.float32), np.zeros(700), np.zeros((7, 700))):
            with pytest.raises(
                ValueError, match=r"^elementwise\.multiply: out must be a writeable"
            ):
                function(x, y, out=wrong)
        readonly = np.zeros((6, 700))
        readonly.flags.writeable = False
        with pytest.raises(ValueError, match="out must be a writeable"):
            function(x, y, out=readonly)
    with pytest.raises(TypeError, match="out must be an array, got list"):
        elementwise.multiply(x, y, out=[])
    for shape in ((0, 3), (3, 0)):
        out = np.zeros(shape)
        assert elementwise.add(np.zeros(shape), np.zeros(shape), out=out) is out
    less = np.zeros((6, 700), bool)
    assert elementwise.less(x, y, out=less) is less
    np.testing.assert_array_equal(less, x < y)


def test_out_may_overlap():
    """An argument itself is written in place; any other overlap goes through a copy."""
    rng = np.random.default_rng(0)
    store = rng.normal(size=100_001)
    for views in (
        lambda s: (s[:-1], s[:-1]),
        lambda s: (s[:-1], s[1:]),
        lambda s: (s[1:], s[:-1]),
        lambda s: (s[:50_000], s[50_000:0:-1]),
        lambda s: (s[:99_856].reshape(316, 316).T, s[:99_856].reshape(316, 316)),
        lambda s: (s[:1], s[:-1]),
    ):
        ours, theirs = store.copy(), store.copy()
        x, out = views(ours)
        want_x, want_out = views(theirs)
        np.add(want_x, want_out, out=want_out)
        elementwise.add(x, out, out=out)
        np.testing.assert_array_equal(ours, theirs)


def test_expressions_mean_the_same_in_c():
    """Operators bind differently in C: & and | need parentheses around comparisons; no powers."""
    import ast

    allowed = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr, ast.USub)
    for row in ROWS.values():
        tree = ast.parse(row.expression, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp | ast.UnaryOp):
                assert isinstance(node.op, allowed), row.name
            if isinstance(node, ast.Compare):
                assert len(node.ops) == 1, row.name
            if isinstance(node, ast.Call):
                assert node.func.id in elementwise.LANGUAGE, row.name
                assert node.func.id in ROWS, row.name
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
                for side in (node.left, node.right):
                    before = row.expression[: side.col_offset].rstrip()
                    assert isinstance(side, ast.Name) or before.endswith("("), row.name


def test_the_page_lists_every_row():
    page = Path(__file__).parents[2] / "docs" / "vector-math.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    for row in FORWARD:
        exact = row.result == "bool" or row.name == "where"
        error = "exact" if exact else f"{row.ulp[0]} / {row.ulp[1]}"
        if row.scale != "result":
            error += f" of `{row.scale}`"
        expression = row.expression.replace("|", "\\|")
        assert f"| `{row.name}({', '.join(row.names)})` | `{expression}` | {error} |" in lines
