"""Steps of optimisers against their rules and against torch; norms over lists."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps, joined
from test_elementwise import WITH_ERRORS, Approximate

from kernelmill.ops import optim
from kernelmill.ops.optim_table import RULES, TABLE

SHAPES = ((5,), (3, 4), (), (2, 1, 3), (0, 4), (1,), *((n,) for n in SIZES))


def bounds(rule, args, options):
    """First-order running errors of the rule at the dtype of each array, for what is updated."""
    parameters = args[0]
    total: dict[str, list] = {name: [] for name in ("parameter", *rule.kept)}
    for i, parameter in enumerate(parameters):
        arrays = {
            name: None if items is None else items[i]
            for name, items in zip(("parameter", "gradient", *rule.kept), args, strict=True)
        }
        given = {n: v[i] if isinstance(v, list) else v for n, v in options.items()}
        exact = {
            n: None if a is None else Approximate(a, np.zeros(a.shape), a.dtype)
            for n, a in arrays.items()
        }
        made = optim.move(rule, exact, {**rule.every_option, **given}, WITH_ERRORS)
        for name, parts in total.items():
            if arrays[name] is not None:
                unit = np.spacing(np.abs(made[name].value).astype(parameter.dtype))
                parts.append(np.ravel(2 * made[name].error + unit))
    return tuple(joined(parts) for parts in total.values())


def draw(rule, shapes, rng, missing=(), dtype=None, options=None):
    dtypes = [dtype or DTYPES[i % 2] for i in range(len(shapes))]
    signs = [rng.choice([-1, 1], s) for s in shapes]

    def some(low, high, signed=True):
        return [
            np.ascontiguousarray(rng.uniform(low, high, s) * (g if signed else 1), t).reshape(s)
            for s, g, t in zip(shapes, signs, dtypes, strict=True)
        ]

    # Momenta with the sign of the gradient: the sign of their sum (Lion) is beyond rounding. The
    # mean of squares above the square of the mean.
    states = {name: some(0.5, 1.5, name in ("exp_avg", "momentum_buffer")) for name in rule.kept}
    states |= {name: some(0.01, 0.1) for name in ("grad_avg",) if name in states}
    states |= {name: None for name in missing}
    args = (some(0.5, 2), some(0.5, 2), *(states[name] for name in rule.kept))
    return args, options or {}


def settings(rule):
    """Options that let every term count."""
    large = {"eps": 0.3, "weight_decay": 0.125, "lr": 0.25, "momentum": 0.5, "dampening": 0.25,
             "lr_decay": 0.125, "beta1": 0.75, "beta2": 0.625, "alpha": 0.75, "rho": 0.75,
             "decay": 0.75, "eta": 0.25, "lambd": 0.5, "step_size_max": 1.25,
             "mu": 0.5, "mu_next": 0.75, "mu_product": 0.375}  # fmt: skip
    yield {}
    yield {name: large[name] for name in rule.options if name in large} | {"step": 3}
    for flag in ("nesterov", "decoupled"):
        if flag in rule.options:
            yield {**{n: large[n] for n in rule.options if n in large}, flag: True, "step": 2}


def register(rule):
    @cases(f"optim.{rule.name}")
    def generate():
        rng = np.random.default_rng(1)
        optional = [name.rstrip("?") for name in rule.states if name.endswith("?")]
        updated = tuple(i for i in range(2 + len(rule.kept)) if i != 1)

        def case(name, args, options, big=False):
            return Case(name, args, options, bounds(rule, args, options), updated, big=big)

        for options in settings(rule):
            yield case(f"{options}", *draw(rule, SHAPES, rng, options=options))
            for missing in [(name,) for name in optional] + [tuple(optional)]:
                args, _ = draw(rule, SHAPES, rng, missing)
                yield case(f"{options} without {missing}", args, options)
            each = {"step": [1, 2, 7], "scale": [1, -0.5, 2.0], **options}
            args, _ = draw(rule, [(4,), (3, 2), (33,)], rng)
            yield case(f"{options} one for each", args, {**options, **each})
        for dtype in DTYPES:
            args, _ = draw(rule, [(3, 4), (2, 5)], rng, dtype=dtype)
            yield case(f"{dtype.__name__}", args, {})
        yield case("no arrays", tuple([] for _ in range(2 + len(rule.kept))), {})
        shapes = [(40_001,), (30,), (0,), (300, 200), (7,)]
        yield case("big", *draw(rule, shapes, rng), big=True)


for _rule in RULES:
    register(_rule)


@cases("optim.norm")
def norms():
    rng = np.random.default_rng(2)
    for order in (2.0, 1.0, math.inf, 3.0, 0.5):
        arrays = [np.asarray(rng.normal(size=s), DTYPES[i % 2]) for i, s in enumerate(SHAPES)]

        def case(name, arrays, big=False, order=order):
            want = optim.norm.specification(arrays, order)
            n = sum(a.size for a in arrays) + 1
            bound = want * (4 + math.sqrt(n)) * eps(np.zeros(0)) * max(1, 1 / order)
            return Case(f"{name} {order}", (arrays, order), bounds=(bound,), big=big)

        yield case("shapes", arrays)
        yield case("one", arrays[:2])
        yield case("no arrays", [])
        for scale in (1e200, 1e-200, 0.0):
            yield case(f"{scale}", [np.asarray(a * np.float64(scale)) for a in arrays])
        yield case("large float32", [np.full(100, 1e38, np.float32)])
        for special in (math.nan, math.inf):
            yield case(f"{special}", [*arrays, np.array([1.0, special, 0.0])])
        yield case("two", [np.array([[3.0, 1.0], [2.0, 5.0]]), np.array([4.0])])
        yield case("big", [rng.normal(size=50_000), rng.normal(size=(3, 40_000))], big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("optim")


@pytest.mark.parametrize("run", [optim.sgd.implementation("cpu"), optim.sgd.specification])
def test_wrong_calls_are_refused(run):
    p, g = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    for args, error, message in [
        ((p, [g]), TypeError, "parameters must be a list of arrays, got ndarray"),
        (([p], g), TypeError, "gradients must be a list of arrays, got ndarray"),
        (([3.0], [g]), TypeError, r"parameters\[0\] must be a NumPy array, got float"),
        (([p], [g, g]), ValueError, "gradients must have 1 arrays like parameters, got 2"),
        (([p], [g.astype("d")]), ValueError, r"gradients\[0\] must be float32 of shape \(2, 3\)"),
        (([p], [g[:1]]), ValueError, r"gradients\[0\] must be float32 of .* \(1, 3\)"),
        (([p.T], [g.T]), ValueError, r"parameters\[0\] must be C-contiguous, .* is not C-con"),
        (([p.astype(int)], [g]), ValueError, r"parameters\[0\] must be float32 or float64"),
        (([p], [g], [p[:1]]), ValueError, r"momentum_buffer\[0\] must be float32 of shape"),
        ((), TypeError, "missing a required argument: 'parameters'"),
    ]:  # fmt: skip
        with pytest.raises(error, match=rf"^optim\.sgd: {message}" if args else message):
            run(*args)
    frozen = p.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="an array that is read-only"):
        run([frozen], [g])
    with pytest.raises(ValueError, match="lr must have 1 numbers, one for each array, got 2"):
        run([p], [g], lr=[1, 2])
    with pytest.raises(TypeError, match="lr must be a number or a list of numbers, got str"):
        run([p], [g], lr="1")
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        run([p], [g], rate=1.0)
    assert (p == 1).all()


def test_every_rule_says_what_it_is():
    for rule in RULES:
        parameters = inspect.signature(getattr(optim, rule.name)).parameters
        assert [*parameters][:2] == ["parameters", "gradients"]
        assert set(rule.every_option) < set(parameters)


def test_epsilon_of_adam_is_outside_the_correction():
    p = np.zeros(1)
    optim.adam([p], [np.array([2.0])], [np.zeros(1)], [np.zeros(1)], lr=0.1, eps=1.0)
    np.testing.assert_allclose(p, -0.1 * 2 / 3, rtol=1e-14)


def test_a_parameter_of_infinity_stays_without_decay():
    """0 times infinity is not formed."""
    for name in ("sgd", "adam"):
        p = np.array([np.inf])
        states = [[np.zeros(1)] for s in TABLE[name].states if not s.endswith("?")]
        getattr(optim, name)([p], [np.ones(1)], *states)
        assert p[0] == np.inf


def test_enormous_gradients_have_a_norm():
    assert optim.norm([np.full(100, 1e20, np.float32)]) == pytest.approx(1e21)
    p, g = np.zeros(100, np.float32), np.full(100, 1e20, np.float32)
    optim.sgd([p], [g], lr=1.0, scale=1 / 1e21)
    np.testing.assert_allclose(p, -0.1, rtol=1e-6)
