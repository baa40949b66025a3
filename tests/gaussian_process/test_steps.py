"""Stochastic steps of the sparse process: exact where they must be, unbiased elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

import kernelmill
from kernelmill._estimator._rows import Rows
from kernelmill.gaussian_process import SparseGaussianProcessRegressor
from kernelmill.gaussian_process._bound import Bound, Coordinates, Data, Gaussian
from kernelmill.gaussian_process._steps import Descent, begin
from kernelmill.gaussian_process.kernels import RBF, DotProduct, Matern, RationalQuadratic

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KERNELS = [1.3 * RBF([1.0, 2.0]), Matern(1.2) * 2.0 + DotProduct(0.5), RationalQuadratic(1.0, 0.7)]
NOISE = 0.2


def problem(n=80, m=6):
    """Rows, two targets, inducing inputs, and some q that is not the best."""
    rng = np.random.default_rng(0)
    X, Z, half = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), rng.normal(size=(m, m))
    Y = np.stack([np.sin(X[:, 0]), X[:, 1]], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return X, Y, Z, Gaussian(np.eye(m) + half @ half.T, rng.normal(size=(m, 2)))


def data(X, Y):
    return Data(Rows(X, None, "test"), Y, "test")


def flat(bound):
    dtheta, dnoise, dZ = bound.gradient(True)
    return np.concatenate([dtheta, [dnoise], dZ.ravel()])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_whole_step_on_all_rows_is_the_optimum(kernel):
    X, Y, Z, q = problem()
    best = Bound(kernel, NOISE, Z, data(X, Y))
    start = Bound(kernel, NOISE, Z, data(X, Y), q)
    found = Bound(kernel, NOISE, Z, data(X, Y), start.natural(q, 1.0))
    assert start.value < best.value - 1
    assert found.value == pytest.approx(best.value, rel=1e-12)
    np.testing.assert_allclose(found.mu, best.mu, rtol=1e-9)
    np.testing.assert_allclose(np.tril(found.LB), np.tril(best.LB), rtol=1e-12)
    # There the formula for any q is that of the collapsed bound.
    np.testing.assert_allclose(flat(found), flat(best), rtol=1e-8, atol=1e-9)
    # The estimator's first step, too, whatever its parameters are.
    coordinates = Coordinates(kernel, NOISE, Z, None, None)
    state = Descent(coordinates, "test", 0.1, 0.01, True).step(begin(coordinates, 2), X, Y, 80)
    LB = np.tril(found.LB)
    np.testing.assert_allclose(state.q.precision, LB @ LB.T, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_batches_are_unbiased(kernel):
    """The mean over the batches of a partition is what all rows give, at any q."""
    X, Y, Z, q = problem()
    whole = Bound(kernel, NOISE, Z, data(X, Y), q)
    parts = [
        Bound(kernel, NOISE, Z, data(x, y), q, 80)
        for x, y in zip(np.split(X, 8), np.split(Y, 8), strict=True)
    ]
    assert np.mean([part.value for part in parts]) == pytest.approx(whole.value, rel=1e-12)
    np.testing.assert_allclose(
        np.mean([flat(part) for part in parts], axis=0), flat(whole), rtol=1e-10, atol=1e-9
    )
    for mean, wanted in zip(
        (np.mean(a, axis=0) for a in zip(*(p.natural(q, 0.3) for p in parts), strict=True)),
        whole.natural(q, 0.3), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(mean, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("batch", [False, True], ids=["best q", "some q, a batch"])
def test_gradients_are_central_differences(kernel, batch):
    X, Y, Z, q = problem()
    # 20 rows that stand for 80 multiply what rounding leaves of a difference by 4.
    rows, atol = (data(X[:20], Y[:20]), 1e-5) if batch else (data(X, Y), 2e-6)
    rest = (q, 80) if batch else ()
    at = (kernel.theta, np.log(NOISE), Z)

    def value(theta, log_noise, Z):
        return Bound(kernel.clone_with_theta(theta), np.exp(log_noise), Z, rows, *rest).value

    found = Bound(kernel, NOISE, Z, rows, *rest).gradient(True)
    h = 1e-5
    for part, gradient in enumerate(found):
        for place in np.ndindex(np.shape(at[part])):
            sides = []
            for sign in (h, -h):
                moved = [np.array(a, dtype=float) for a in at]
                moved[part][place] += sign
                sides.append(value(*moved))
            change = (sides[0] - sides[1]) / (2 * h)
            assert np.asarray(gradient)[place] == pytest.approx(change, rel=1e-6, abs=atol)


def sines(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 10, (n, 1))
    return X, np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)


def same(a, b, X, **options):
    for found, wanted in zip(
        a.predict(X, return_std=True), b.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(found, wanted, **options)


def test_parts_without_an_optimizer_are_one_fit():
    X, y = sines()
    options = {
        "inducing_inputs": np.linspace(0, 10, 12)[:, None], "optimizer": None,
        "noise_variance": 0.01,
    }  # fmt: skip
    whole = SparseGaussianProcessRegressor(1.0 * RBF(1.0), **options).fit(X, y)
    parts = SparseGaussianProcessRegressor(1.0 * RBF(1.0), **options)
    for part in np.split(np.arange(1500), [10, 400, 401, 1000]):
        parts.partial_fit(X[part], y[part])
    assert parts.n_steps_ == 5
    same(parts, whole, X[:50], rtol=1e-7)
    batches = SparseGaussianProcessRegressor(1.0 * RBF(1.0), batch_size=64, **options)
    same(batches.partial_fit(lambda: iter(np.array_split(X, 7)), y), whole, X[:50], rtol=1e-7)
    # After a fit of some rows, the others are added.
    half = SparseGaussianProcessRegressor(1.0 * RBF(1.0), **options).fit(X[:700], y[:700])
    same(half.partial_fit(X[700:], y[700:]), whole, X[:50], rtol=1e-7)


def test_fits_in_batches_and_streams_learn():
    X, y = sines()
    options = {"n_inducing": 15, "random_state": 0}
    start = SparseGaussianProcessRegressor(optimizer=None, **options).fit(X, y)
    whole = SparseGaussianProcessRegressor(max_iter=30, **options).fit(X, y)
    model = SparseGaussianProcessRegressor(batch_size=150, max_iter=20, **options).fit(X, y)
    assert model.lower_bound_ > start.lower_bound_ + 0.95 * (
        whole.lower_bound_ - start.lower_bound_
    )
    assert model.noise_variance_ == pytest.approx(0.01, rel=0.15)
    assert model.n_steps_ == 10 * model.n_iter_
    online = SparseGaussianProcessRegressor(batch_size=50, **options)
    for part in np.array_split(np.random.default_rng(0).permutation(1500), 5):
        for _ in range(3):
            online.partial_fit(X[part], y[part])
    assert online.noise_variance_ < 0.03  # from 0.05
    assert np.abs(online.predict(X) - np.sin(X[:, 0])).max() < 0.2
    assert online._seen == pytest.approx(50 * 1.9 / 0.1, rel=1e-3)  # b (2 - rho) / rho


def test_a_stream_is_its_rows():
    X, y = sines(300)
    make = SparseGaussianProcessRegressor(
        1.0 * RBF(1.0), inducing_inputs=X[:8], batch_size=64, max_iter=3, random_state=0
    )
    memory = clone(make).fit(X, y)
    streamed = make.fit(lambda: iter([X[:100], X[100:]]), y)
    np.testing.assert_array_equal(streamed.kernel_.theta, memory.kernel_.theta)
    np.testing.assert_array_equal(streamed.inducing_inputs_, memory.inducing_inputs_)
    same(streamed, memory, X[:20], rtol=1e-9)  # the last pass adds up chunk by chunk


@pytest.mark.parametrize("c", [1e-6, 1e6])
def test_scaled_rows_and_targets(c):
    X, y = sines(300)
    given = {"n_inducing": 8, "batch_size": 64, "max_iter": 5, "normalize_y": True}
    plain = SparseGaussianProcessRegressor(1.0 * RBF(1.0), random_state=0, **given).fit(X, y)
    kernel = 1.0 * RBF(c, (1e-5 * c, 1e5 * c))
    scaled = SparseGaussianProcessRegressor(kernel, random_state=0, **given).fit(c * X, c * y)
    for a, b in zip(
        scaled.predict(c * X[:20], return_std=True), plain.predict(X[:20], return_std=True),
        strict=True,
    ):  # fmt: skip
        # Rounding of c X moves the centers of k-means and 25 steps of Adam.
        np.testing.assert_allclose(a / c, b, rtol=1e-6, atol=1e-9)


def test_threads():
    X, y = sines(400)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = SparseGaussianProcessRegressor(
                n_inducing=10, batch_size=50, max_iter=3, random_state=0
            ).fit(X, y)
            model.partial_fit(X[:99], y[:99])
            found.append(model.predict(X, return_std=True))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_parts_of_a_stream_with_other_options():
    """What moves is asked at each call; inducing inputs and noise stay where they were left."""
    X, y = sines(200)
    model = SparseGaussianProcessRegressor(n_inducing=5, random_state=0, batch_size=20)
    model.partial_fit(X, y)
    Z, noise, mean = model.inducing_inputs_, model.noise_variance_, model.predict(X)
    model.set_params(optimize_inducing=False, noise_variance_bounds="fixed").partial_fit(X, y)
    np.testing.assert_allclose(model.inducing_inputs_, Z, rtol=1e-14)
    assert model.noise_variance_ == pytest.approx(noise, rel=1e-14)
    assert not np.allclose(model.predict(X), mean, rtol=1e-3)  # the kernel and q move
    steps = model.n_steps_
    model.set_params(optimize_inducing=True, noise_variance_bounds=(1e-8, 1e8)).partial_fit(X, y)
    assert model.n_steps_ == steps + 10
    assert (model.inducing_inputs_ != Z).all()
    assert model.noise_variance_ != noise


def test_refusals():
    X, y = sines(30)
    with pytest.raises(ValueError, match="natural_step must be a number above 0 and at most 1"):
        SparseGaussianProcessRegressor(natural_step=1.5).fit(X, y)
    model = SparseGaussianProcessRegressor(n_inducing=4, random_state=0).partial_fit(X, y)
    with pytest.raises(ValueError, match="y must have 1 columns, as before, got 2"):
        model.partial_fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="2 features"):
        model.partial_fit(np.hstack([X, X]), y)
    for bounds in ((1, 0.1), (-1, 1), (1, 2, 3), (np.nan, 1)):
        for method in ("fit", "partial_fit"):
            with pytest.raises(ValueError, match="noise_variance_bounds must be 'fixed' or two"):
                getattr(clone(model).set_params(noise_variance_bounds=bounds), method)(X, y)
    for method in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match="X must have at least one row, got none"):
            method(lambda: iter([X[:0]]), y[:0])
