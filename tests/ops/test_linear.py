"""Dense layers against their specification, and their gradients against differences."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

import kernelmill
from kernelmill.ops import linear
from kernelmill.ops.elementwise_table import ROWS
from kernelmill.ops.linear import ACTIVATIONS

STEEPEST = 2.0  # of any activation with a parameter of at most 1: selu reaches 1.76


def product_bound(a, b):
    """Roundings of a sum of |a b| (Higham 2002, section 3.5)."""
    total = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    return (a.shape[1] + 4) * eps(a) * total


def forward_case(name, x, weight, bias=None, activation=0, parameter=0.0, **more):
    z_bound = product_bound(x, weight.T)
    if bias is not None:
        z_bound = z_bound + 2 * eps(x) * np.abs(bias)
    y_bound = z_bound
    if activation:
        y = linear.forward.specification(x, weight, bias, activation, parameter)[0]
        ulp = ROWS[ACTIVATIONS[activation]].ulp[x.dtype == np.float64] + 1
        y_bound = STEEPEST * z_bound + ulp * eps(x) * (np.abs(y) + z_bound)
    arguments = (x, weight, bias, activation, parameter, False)
    return Case(name, arguments, bounds=(y_bound, z_bound), **more)


@cases("linear.forward")
def forward():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)

        def normal(*shape, rng=rng, dtype=dtype):
            return rng.normal(size=shape).astype(dtype)

        for i, n in enumerate(SIZES):
            d, o = SIZES[(7 * i + 3) % len(SIZES)], SIZES[-1 - i]
            x, weight = (rng.integers(-9, 9, (k, d)).astype(dtype) for k in (n, o))
            bias = rng.integers(-9, 9, o).astype(dtype)
            yield Case(f"{n} {d} {o} integers", (x, weight, bias, 1, 0.0, False))
            x, weight, bias = normal(n, d), normal(o, d) / np.sqrt(dtype(d)), normal(o)
            at = i % len(ACTIVATIONS)
            yield forward_case(f"{n} {d} {o} {ACTIVATIONS[at]}", x, weight, bias, at, 0.25)
        for n, o in ((1, 70), (2, 35), (3, 33), (4, 64), (70, 1), (33, 3), (20, 40)):
            for at, name in enumerate(ACTIVATIONS):  # few rows or columns; a deep product
                x, weight = normal(n, 1100), normal(o, 1100) / 33
                yield forward_case(f"{n} {o} {name}", x, weight, normal(o), at, 0.5)
        yield forward_case("no bias", normal(20, 30), normal(40, 30), None, 4)
        yield forward_case("a product alone", normal(20, 30), normal(40, 30))
        yield forward_case("no rows", normal(0, 30), normal(40, 30), normal(40))
        yield forward_case("no inputs", normal(5, 0), normal(40, 0), normal(40), 3)
        yield forward_case("no outputs", normal(5, 3), normal(0, 3), normal(0), 3)
        x, weight, bias = normal(15, 8), normal(17, 8), normal(17)
        bounds = (product_bound(x, weight.T) + 2 * eps(x) * np.abs(bias),)
        yield Case("evaluate", (x, weight, bias, 0, 0.0, True), bounds=bounds)
        big = normal(300, 700), normal(260, 700) / 26, normal(260)
        yield forward_case("big", *big, 4, big=True)
        yield forward_case("tall", normal(2000, 20), normal(50, 20), normal(50), 6, big=True)
        big = normal(1, 900), normal(999, 900) / 30, normal(999)
        yield forward_case("one row", *big, 2, big=True)


@cases("linear.backward")
def backward():
    def case(name, dout, x, weight, *skip, **more):
        dbias = np.abs(dout).astype(np.float64).sum(0) * 2 * eps(dout)
        bounds = (product_bound(dout, weight), product_bound(dout.T, x), dbias)
        bounds = tuple(None if s else b for s, b in zip((*skip, 0, 0, 0)[:3], bounds, strict=True))
        return Case(name, (dout, x, weight, *skip), bounds=bounds, **more)

    for dtype in DTYPES:
        rng = np.random.default_rng(1)

        def operands(n, d, o, rng=rng, dtype=dtype):
            return [rng.normal(size=s).astype(dtype) for s in ((n, o), (n, d), (o, d))]

        for i, n in enumerate(SIZES):
            yield case(f"{n}", *operands(n, SIZES[(7 * i + 3) % len(SIZES)], SIZES[-1 - i]))
        yield case("no rows", *operands(0, 3, 2))
        yield case("no outputs", *operands(5, 3, 0))
        for skip in np.ndindex(2, 2, 2):
            yield case(f"skipped {skip}", *operands(20, 9, 17), *map(bool, skip))
        yield case("big", *operands(400, 300, 200), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("linear")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)))
def test_rows_do_not_depend_on_the_batch(dtype, activation):
    rng = np.random.default_rng(2)
    x, weight = rng.normal(size=(40, 600)).astype(dtype), rng.normal(size=(70, 600)).astype(dtype)
    bias = rng.normal(size=70).astype(dtype)
    whole = linear.forward(x, weight, bias, activation, 0.5)[0]
    for n in (1, 2, 3, 4, 5, 17):
        part = linear.forward(x[:n], weight, bias, activation, 0.5)[0]
        np.testing.assert_array_equal(part, whole[:n])


def test_the_activation_is_the_elementwise_function():
    from kernelmill.ops import elementwise

    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(13, 5)), rng.normal(size=(37, 5))
    for activation, name in enumerate(ACTIVATIONS[1:], 1):
        more = (np.float64(0.5),) if name in ("leaky_relu", "elu") else ()
        y, z = linear.forward(x, weight, None, activation, 0.5, False)
        np.testing.assert_array_equal(y, getattr(elementwise, name)(z, *more))


@pytest.mark.parametrize("outputs", [512, 500])
def test_large_results_before_an_activation_are_whole(outputs):
    """They go past the caches where rows begin at whole vectors, as not all do here."""
    rng = np.random.default_rng(4)
    x, weight = (rng.integers(-3, 4, s).astype(np.float32) for s in ((1100, 8), (outputs, 8)))
    more = (weight, np.ones(outputs, np.float32), ACTIVATIONS.index("gelu"), 0.0)
    y, z = linear.forward(x, *more, False)
    np.testing.assert_array_equal(z, x @ weight.T + 1)
    few = [linear.forward(x[i : i + 50], *more)[0] for i in range(0, 1100, 50)]
    np.testing.assert_array_equal(y, np.concatenate(few))


@pytest.mark.parametrize("n", [600, 3])
def test_bias_sums_have_the_same_bits_beside_any_other_gradient(n):
    """The product of the weights' gradient makes them where it reads outputs one by one."""
    rng = np.random.default_rng(5)
    dout, x, weight = (rng.normal(size=s).astype(np.float32)
                       for s in ((n, 384), (n, 128), (384, 128)))  # fmt: skip
    alone = linear.backward(dout, x, weight, True, True, False)[2]
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            for given in (dout, np.asfortranarray(dout)):
                np.testing.assert_array_equal(linear.backward(given, x, weight)[2], alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((4, 2))), "weight must"),
        ((np.ones((2, 3)), np.ones((4, 3), np.float32)), "weight must"),
        ((np.ones((2, 3)), np.ones((4, 3)), np.ones(3)), "bias must"),
        ((np.ones((2, 3)), np.ones((4, 3)), None, 12), "activation must"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=rf"^linear\.forward: {message}.* got "):
        linear.forward(*arguments)
