"""Epochs of linear models against the specification; theorems of the single step."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import sgd
from kernelmill.ops.sgd_table import LOSSES, TABLE

UPDATED = (3, 4, 5, 6)
STATE = {name: i for i, name in enumerate(sgd.STATE)}


def settings(**given):
    made = dict.fromkeys(sgd.SETTINGS, 0.0)
    made |= {"margin": 0.3, "eta0": 0.05, "power_t": 0.25, "alpha": 0.01, "fit_intercept": 1.0,
             "tol": -np.inf, "patience": 2.0}  # fmt: skip
    made |= given
    if "loss" in given:
        made["loss"] = [*TABLE].index(given["loss"])
    if "schedule" in given:
        made["schedule"] = sgd.SCHEDULES.index(given["schedule"])
    return np.array([float(made[name]) for name in sgd.SETTINGS])


def state_of(k, rate=0.05, **given):
    state = np.zeros((k, len(STATE)))
    whole = {"step": 1, "rate": rate, "positive_weight": 1, "negative_weight": 1, "best": np.inf}
    for name, value in {**whole, **given}.items():
        state[:, STATE[name]] = value
    return state


def call(
    X, y, k, order, options, sample_weight=None, l1=False, average=False, state=None, rng=None
):  # fmt: skip
    d = X.shape[1]
    weights = np.zeros((k, d)) if rng is None else rng.normal(0, 0.1, (k, d))
    state = state_of(k) if state is None else state
    applied, averages = np.zeros((k * l1, d)), np.zeros((k * average, d))
    return X, y, order, weights, state, applied, averages, options, sample_weight


def bounded(args):
    """Rounding is carried from step to step; the losses are convex, so it hardly grows."""
    result = [np.array(a) for a in args[3:7]]
    sgd.epochs.specification(*args[:3], *result, *args[7:])
    steps = args[2].size + 1
    bounds = (4 * 2.3e-16 * steps * (np.abs(a).max(initial=0.0) + 1) * 30 for a in result)
    return (None, *bounds)


def problem(n, d, k, dtype, rng):
    X = rng.normal(size=(n, d)).astype(dtype)
    y = rng.integers(0, k, n).astype(float) if k > 1 else rng.choice([-1.0, 1.0], n)
    return X, y


@cases("sgd.epochs")
def epochs():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)

        def case(name, *args, rng=rng, big=False, **more):
            args = call(*args, rng=rng, **more)
            return Case(name, args, bounds=bounded(args), updated=UPDATED, big=big)

        for loss, schedule in itertools.product(TABLE, sgd.SCHEDULES[:4]):
            X, y = problem(11, 17, 1, dtype, rng)
            order = np.stack([rng.permutation(11) for _ in range(3)])
            options = settings(loss=loss, schedule=schedule, judged=1, tol=1e-3, l2=0.01)
            yield case(f"{loss} {schedule}", X, y, 1, order, options)
            weight = rng.uniform(0, 2, 11).astype(dtype)
            options = settings(loss=loss, schedule=schedule, average=9, fit_intercept=0)
            yield case("weighted, averaged", X, y, 1, order, options, weight, average=True)
        for schedule, loss in itertools.product(("pa1", "pa2"), ("hinge", "epsilon_insensitive")):
            X, y = problem(11, 17, 1, dtype, rng)
            X[4] = 0
            options = settings(loss=loss, schedule=schedule, margin=1.0, average=5)
            order = np.stack([rng.permutation(11) for _ in range(2)])
            yield case(f"{loss} {schedule}", X, y, 1, order, options, average=True)
        for n, d, k in ((5, 1, 1), (9, 3, 3), (6, 16, 2), (4, 33, 5), (7, 64, 1), (3, 0, 2)):
            X, y = problem(n, d, k, dtype, rng)
            order = np.stack([rng.permutation(n) for _ in range(2)])
            for l1, l2 in ((0.0, 0.0), (0.02, 0.0), (0.01, 0.05), (0.0, 30.0)):
                options = settings(loss="log_loss", l1=l1, l2=l2, judged=1, average=3)
                state = state_of(k, positive_weight=2.0, negative_weight=0.5)
                args = X, y, k, order, options
                yield case(f"{n} {d} {k} {l1} {l2}", *args, l1=l1 > 0, average=True, state=state)
        X, y = problem(8, 5, 3, dtype, rng)
        state = state_of(3)
        state[1, STATE["stopped"]] = 1
        yield case("one has stopped", X, y, 3, np.arange(8)[None], settings(), state=state)
        yield case("rows repeated", X, y, 3, rng.integers(0, 8, (2, 13)), settings())
        stopping = settings(loss="hinge", judged=1, tol=1e9, patience=1)
        yield case("stops", X, y, 3, np.tile(np.arange(8), (5, 1)), stopping)
        yield case("no rows", X, y, 3, np.zeros((2, 0), np.int64), settings(judged=1))
        yield case("no epochs", X, y, 3, np.zeros((0, 8), np.int64), settings())
        # Whole numbers: exact.
        X = rng.integers(-3, 4, (40, 6)).astype(dtype)
        y = np.where(X @ rng.integers(-2, 3, 6) + 1 > 0, 1.0, -1.0)
        options = settings(loss="hinge", margin=0.0, judged=1, tol=1e-3)
        args = call(X, y, 1, np.tile(np.arange(40), (4, 1)), options, state=state_of(1, 1.0))
        yield Case("perceptron", args, updated=UPDATED)
        X, y = problem(60, 40, 1, dtype, rng)
        X[rng.random(X.shape) < 0.7] = 0
        for l2, l1, wide in ((0.0, 0.02, False), (0.05, 0.0, True)):
            csr = scipy.sparse.csr_matrix(X)
            if wide:
                csr.indices, csr.indptr = csr.indices.astype("i8"), csr.indptr.astype("i8")
            order = np.stack([rng.permutation(60) for _ in range(2)])
            for schedule in ("constant", "pa2"):
                options = settings(loss="hinge", margin=1.0, schedule=schedule, l1=l1, l2=l2,
                                   judged=1, average=1)  # fmt: skip
                if schedule == "constant" or not l1:
                    average = not l1  # what waits is not in the mean yet
                    yield case("CSR", csr, y, 1, order, options, l1=l1 > 0, average=average)
        twice = scipy.sparse.csr_matrix((np.array([1, 2, 3], dtype), [1, 1, 0], [0, 2, 3]), (2, 3))
        options = settings(loss="hinge", margin=1.0, schedule="pa1", eta0=9.0)
        yield case("repeated columns", twice, np.array([1.0, -1.0]), 1, np.array([[0, 1]]), options)
        X, y = problem(60, 50, 16, dtype, rng)
        order = rng.permutation(60)[None]
        yield case("big", X, y, 16, order, settings(loss="log_loss", judged=1), big=True)


@cases("sgd.judge")
def judge():
    rng = np.random.default_rng(2)
    for schedule in ("constant", "adaptive", "pa1"):
        state = state_of(9, total=5.0, rows=4.0, epochs=3.0)
        state[:, STATE["best"]] = rng.uniform(0, 3, 9)
        state[:, STATE["without_gain"]] = rng.integers(0, 3, 9)
        state[2, STATE["stopped"]] = 1
        state[3, STATE["total"]] = np.nan
        state[4, STATE["rate"]] = 1e-6
        weights = rng.normal(size=(9, 20))
        options = settings(schedule=schedule, tol=0.1, l1=0.1, l2=0.2)
        bounds = (None, 1e-14 * (1 + np.nan_to_num(np.abs(state), posinf=0).max()))
        yield Case(schedule, (weights, state, options), bounds=bounds, updated=(1,))
    many = np.ones((3, 4000)), state_of(3), settings()
    yield Case("one task", many, bounds=(None, 1e-9), updated=(1,), big=True)
    yield Case("no models", (np.zeros((0, 3)), state_of(0), settings()), updated=(1,))


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("sgd")


def test_slopes_are_derivatives():
    rng = np.random.default_rng(3)
    for loss in LOSSES:
        for y, p, margin in zip(rng.choice([-1.0, 1.0], 200), rng.normal(0, 2, 200),
                                rng.uniform(0, 1, 200), strict=True):  # fmt: skip
            step = 1e-6
            up, down = (sgd._evaluate(loss.value, y, p + s, margin) for s in (step, -step))
            slope = sgd._evaluate(loss.slope, y, p, margin)
            assert slope == pytest.approx((up - down) / (2 * step), abs=1e-5), loss.name


def test_a_passive_aggressive_step_reaches_the_margin():
    X, y = np.array([[3.0, 4.0]]), np.array([1.0])
    options = settings(loss="hinge", margin=1.0, schedule="pa1", eta0=10.0, fit_intercept=0)
    args = call(X, y, 1, np.array([[0]]), options)
    sgd.epochs(*args)
    assert (args[3] @ X[0]).item() == pytest.approx(1.0)


def test_large_decay_stops_at_zero_and_is_averaged():
    X, y = np.ones((3, 2)), np.ones(3)
    options = settings(loss="squared_error", l2=1e3, average=1)
    args = call(X, y, 1, np.array([[0, 1, 2]]), options, average=True)
    wanted = [np.array(a) for a in args]
    sgd.epochs(*args)
    sgd.epochs.specification(*wanted[:-1], None)
    np.testing.assert_allclose(args[6], wanted[6], rtol=1e-14)
    assert (args[3] > 0).all()


@pytest.mark.parametrize("run", [sgd.epochs.implementation("cpu"), sgd.epochs.specification])
def test_errors(run):
    X, y = np.ones((3, 2)), np.ones(3)
    for place in (3, -1):
        args = call(X, y, 1, np.array([[0, place]]), settings())
        with pytest.raises(IndexError, match=rf"^sgd.epochs: order must .*\[0, 3\), got {place}"):
            run(*args)
    for name in ("loss", "schedule"):
        wrong = settings()
        wrong[sgd.SETTINGS.index(name)] = 99
        with pytest.raises(ValueError, match=rf"^sgd.epochs: {name} must be in \[0, \d\), got 99"):
            run(*call(X, y, 1, np.array([[0]]), wrong))
