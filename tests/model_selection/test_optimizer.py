"""Ask and tell: the model, suggestions for several workers, failures, finite spaces."""

from __future__ import annotations

import numpy as np
import pytest

from kernelmill.gaussian_process import GaussianProcessRegressor
from kernelmill.gaussian_process.kernels import Matern, WhiteKernel
from kernelmill.model_selection import BayesianOptimizer, Categorical, Integer, Real
from kernelmill.model_selection._space import Space
from kernelmill.model_selection._surrogate import Posterior, Surrogate, Warp, _representative


def bowl(x):
    return (x[0] - 0.3) ** 2 + (x[1] + 0.2) ** 2


def test_warp_is_monotone_and_has_an_inverse():
    rng = np.random.default_rng(0)
    for y in (rng.normal(size=30), rng.exponential(size=30) ** 5, np.r_[0.0, 1e300, 2e300]):
        warp = Warp.of(y)
        at = np.sort(y)
        w = warp(at)
        assert (np.diff(w) > 0).all()
        assert abs(w.mean()) < 1e-8
        assert w.std() == pytest.approx(1.0, abs=1e-8)
        np.testing.assert_allclose(warp.inverse(w), at, rtol=1e-6, atol=1e-8 * np.ptp(y))
    below = Warp.of(np.array([1.0, 2.0, 3.0]))
    assert below.inverse(np.array([-3.0]))[0] < 1.0


@pytest.mark.parametrize("c", [1e-300, 1e-7, 3.7, 1e300])
def test_warp_does_not_see_the_unit(c):
    y = np.random.default_rng(0).normal(size=20)
    assert (Warp.of(c * y)(c * y) == Warp.of(y)(y)).all()
    assert (Warp.of(y + 17)(y + 17) == Warp.of(y)(y)).all()


def test_warp_of_equal_values():
    for y in ([], [2.0], [5.0, 5.0], [0.0, 0.0, 0.0]):
        assert (Warp.of(np.array(y))(np.array(y)) == 0).all()


def test_scale_does_not_follow_values_that_crowd():
    early = np.array([0.0, 10.0, 20.0, 30.0])
    late = np.r_[early, np.full(60, 1e-6)]
    assert Warp.of(late, 4).scale == pytest.approx(15 / 64)  # in units of a power of 2
    assert Warp.of(late, 4).exponent == 6


def test_posterior_is_that_of_the_regressor():
    rng = np.random.default_rng(0)
    Z, w, at = rng.random((15, 3)), rng.normal(size=15), rng.random((7, 3))
    kernel = 1.3 * Matern([0.4, 0.5, 0.6], nu=2.5)
    own = Posterior(kernel, 0.01, Z, w)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.01), alpha=0.0, optimizer=None)
    mean, std = model.fit(Z, w).predict(at, return_std=True)
    m, s = own.at(at)
    np.testing.assert_allclose(m, mean, rtol=1e-10)
    np.testing.assert_allclose(s**2 + 0.01, std**2, rtol=1e-10)
    m2, s2, dm, ds = own.with_gradients(at)
    np.testing.assert_allclose([m2, s2], [m, s], rtol=1e-8)
    for p in range(3):
        step = 1e-6 * np.eye(3)[p]
        (up, s_up), (down, s_down) = own.at(at + step), own.at(at - step)
        np.testing.assert_allclose(dm[:, p], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(ds[:, p], (s_up - s_down) / 2e-6, rtol=1e-4, atol=1e-8)
    # A point taken at its mean changes no mean, and leaves no doubt but noise.
    more = own.extended(at[:1])
    np.testing.assert_allclose(more.at(at)[0], m, rtol=1e-8)
    assert more.at(at[:1])[1] < 0.11
    draws = own.draw(at, rng.standard_normal((4000, 7)))
    np.testing.assert_allclose(draws.mean(0), m, atol=0.1)
    np.testing.assert_allclose(draws.std(0), s, rtol=0.1)


def test_model_of_failures():
    space = Space([(0.0, 1.0), (0.0, 1.0)], "t")
    N = np.random.default_rng(0).random((25, 2))
    y = np.where(N[:, 0] < 0.5, np.nan, N[:, 1])
    model = Surrogate(space, N, y)
    at = np.array([[0.1, 0.5], [0.9, 0.5], [0.45, 0.2]])
    log = model.success(at)
    assert log[0] < np.log(0.1)
    assert log[1] > np.log(0.9)
    again, slope = model.success_with_gradient(at)
    np.testing.assert_allclose(again, log, rtol=1e-8)
    for p in range(2):
        step = 1e-6 * np.eye(2)[p]
        difference = (model.success(at + step) - model.success(at - step)) / 2e-6
        np.testing.assert_allclose(slope[:, p], difference, rtol=1e-4, atol=1e-7)


def test_length_scales_tell_what_matters():
    space = Space([(0.0, 1.0), (0.0, 1.0), ["a", "b", "c"]], "t")
    rng = np.random.default_rng(0)
    N = space.draw(rng.random((40, 3)))
    model = Surrogate(space, N, np.sin(6 * N[:, 0]))
    scales = model.kernel_.k1.k2.length_scale
    assert scales[0] < 0.5 * scales[1]
    assert scales[2] == scales[3] == scales[4]  # the columns of a choice share one
    points = [space.point(row) for row in N[:5]]
    mean, std = model.predict(points, return_std=True)
    np.testing.assert_allclose(mean, np.sin(6 * N[:5, 0]), atol=0.05)
    assert (std > 0).all()


def test_many_points():
    """Hyperparameters are those of a part of them, the process has all."""
    rng = np.random.default_rng(0)
    space = Space([(0.0, 1.0), (0.0, 1.0)], "t")
    N = rng.random((400, 2))
    y = np.sin(5 * N[:, 0]) + N[:, 1]
    model = Surrogate(space, N, y)
    assert len(model.process.w) == 400
    assert np.abs(model.predict(N.tolist()) - y).max() < 1e-2
    part = _representative(y)
    assert len(np.unique(part)) == 300
    assert set(np.argsort(y)[:150]) <= set(part)
    assert _representative(y[:300]).tolist() == list(range(300))


def test_ask_is_repeatable_and_batches_differ():
    def run(n):
        optimizer = BayesianOptimizer([(-1.0, 1.0)] * 2, random_state=3)
        for _ in range(4):
            for x in optimizer.ask(n):
                optimizer.tell(x, bowl(x))
        return optimizer

    a, b = run(3), run(3)
    assert a.result().x_iters == b.result().x_iters
    points = np.array(a.ask(4)) / 2
    gaps = np.abs(points[:, None] - points).max(-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.99e-3
    assert len(a.pending) == 4


def test_pending_points_are_taken_into_account():
    together = BayesianOptimizer([(-1.0, 1.0)] * 2, random_state=0)
    apart = BayesianOptimizer([(-1.0, 1.0)] * 2, random_state=0)
    for x in together.ask(5):
        together.tell(x, bowl(x))
        apart.ask()
        apart.tell(x, bowl(x))
    assert together.ask(3) == [apart.ask() for _ in range(3)]
    # Told out of order, and points that nobody asked for.
    pending = apart.pending
    for x in reversed(pending):
        apart.tell(x, bowl(x))
    apart.tell([0.5, 0.5], bowl([0.5, 0.5]))
    assert apart.pending == []
    assert apart.n_told == 9


@pytest.mark.parametrize("acquisition", ["EI", "PI", "UCB", "Thompson"])
def test_every_acquisition_finds_the_minimum(acquisition):
    optimizer = BayesianOptimizer([(-1.0, 1.0)] * 2, acquisition=acquisition, random_state=0)
    for _ in range(25):
        x = optimizer.ask()
        optimizer.tell(x, bowl(x))
    assert optimizer.result().fun < 2e-3  # of values up to 3.1; a random search: 0.02


def test_finite_spaces_end():
    space = {"a": [1, 2, 3], "b": Integer(0, 2), "c": Categorical(["x", "y"])}
    optimizer = BayesianOptimizer(space, random_state=0)
    asked = []
    while not optimizer.is_exhausted:
        x = optimizer.ask()
        asked.append(tuple(x.items()))
        optimizer.tell(x, x["a"] * x["b"])
    assert len(asked) == len(set(asked)) == 18
    assert optimizer.ask(2) == []
    with pytest.raises(RuntimeError, match="a space whose 18 points have all been asked for"):
        optimizer.ask()
    few = BayesianOptimizer([[1, 2, 3]], random_state=0)
    assert len(few.ask(5)) == 3


def test_mixed_space_with_conditions():
    space = {
        "kind": ["flat", "steep"],
        "scale": Real(1e-3, 1e3, "log-uniform", when={"kind": "steep"}),
        "n": Integer(1, 200),
    }

    def f(x):
        if x["kind"] == "flat":
            return 3.0
        return abs(np.log10(x["scale"]) - 1) + abs(x["n"] - 50) / 50

    optimizer = BayesianOptimizer(space, random_state=1)
    for _ in range(40):
        x = optimizer.ask()
        assert ("scale" in x) == (x["kind"] == "steep")
        assert type(x["n"]) is int
        optimizer.tell(x, f(x))
    assert optimizer.result().fun < 0.1


def test_all_failed_and_then_not():
    optimizer = BayesianOptimizer([(0.0, 1.0)], n_initial_points=3, random_state=0)
    for _ in range(8):
        optimizer.tell(optimizer.ask(), np.nan)
    result = optimizer.result()
    assert result.x is None
    assert np.isnan(result.fun)
    assert not result.success
    xs = np.sort(np.ravel(result.x_iters))
    assert np.diff(xs).max() < 0.45  # it goes on looking elsewhere
    optimizer.tell([0.5], 1.0, None)
    assert optimizer.result().x == [0.5]
    optimizer.ask()


def test_refusals():
    optimizer = BayesianOptimizer([(0.0, 1.0)])
    with pytest.raises(ValueError, match=r"BayesianOptimizer: a value must be a number from"):
        optimizer.tell([2.0], 1.0)
    with pytest.raises(ValueError, match="y must be a number, or NaN where"):
        optimizer.tell([0.5], "1")
    with pytest.raises(ValueError, match="n_points must be a whole number of at least 1, got 0"):
        optimizer.ask(0)
    with pytest.raises(ValueError, match="acquisition must be one of 'EI', 'PI'"):
        BayesianOptimizer([(0.0, 1.0)], acquisition="ei")
