"""Inducing inputs: the bound, its gradient, its limits, streams."""

from __future__ import annotations

import io

import numpy as np
import pytest

import kernelmill
from kernelmill.gaussian_process import GaussianProcessRegressor, SparseGaussianProcessRegressor
from kernelmill.gaussian_process.kernels import RBF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bound(Z, y, noise=0.1):
    model = SparseGaussianProcessRegressor(
        RBF(1.0), inducing_inputs=Z, noise_variance=noise, optimizer=None
    )
    return model.fit(np.arange(4.0)[:, None], y)


def test_known_bounds():
    first, second = [1.0, 0, 1, 2], [0.0, 1, 1, 0]
    Z, X = [[0.5], [2.5]], np.arange(4.0)[:, None]
    assert bound(Z, first).lower_bound_ == pytest.approx(-15.026640, abs=1e-6)
    assert bound(Z, second).lower_bound_ == pytest.approx(-9.811949, abs=1e-6)
    both = np.stack([first, second], axis=1)
    assert bound(Z, both).lower_bound_ == pytest.approx(-15.026640 - 9.811949, abs=2e-6)
    assert bound(X, first).lower_bound_ == pytest.approx(-5.987221, abs=1e-6)
    assert bound(X, second).lower_bound_ == pytest.approx(-4.072766, abs=1e-6)
    values = [bound([[0.5], [2.5], *more], first).lower_bound_ for more in ([], [[1]], [[1], [3]])]
    assert sorted(values) == values
    assert values[-1] < -5.987221


def test_inducing_inputs_at_the_rows_are_exact():
    X, y = np.arange(4.0)[:, None], [1.0, 0, 1, 2]
    exact = GaussianProcessRegressor(RBF(1.0), alpha=0.1, optimizer=None).fit(X, y)
    Z = [[0.3], [0.5], [9.0]]
    for kind in ("return_std", "return_cov"):
        pairs = zip(*(m.predict(Z, **{kind: True}) for m in (bound(X, y), exact)), strict=True)
        for found, wanted in pairs:
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-14)
    draws = [m.sample_y(Z, 3, random_state=1) for m in (bound(X, y), exact)]
    np.testing.assert_allclose(*draws, rtol=1e-6)


def test_draws():
    """Their moments are the mean and the covariances; scaled and several targets too."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 6, (200, 1))
    Y = np.stack([np.sin(X[:, 0]), 30 + 5 * np.cos(X[:, 0])], axis=1)
    model = SparseGaussianProcessRegressor(
        RBF(1.0), n_inducing=4, noise_variance=0.1, optimizer=None, normalize_y=True, random_state=0
    ).fit(X, Y)
    Z = np.array([[0.5], [2.0], [9.0]])
    mean, cov = model.predict(Z, return_cov=True)
    std = model.predict(Z, return_std=True)[1]
    assert cov.shape == (3, 3, 2)
    np.testing.assert_allclose(np.einsum("iit->it", cov), std**2, rtol=1e-12)
    drawn = model.sample_y(Z, 20_000, random_state=0)
    assert drawn.shape == (3, 2, 20_000)
    # Five deviations of a mean of 20,000 draws, and of their products.
    assert (np.abs(drawn.mean(2) - mean) < 5 * std / 141).all()
    for t in range(2):
        found = np.cov(drawn[:, t])
        scale = np.outer(std[:, t], std[:, t])
        assert (np.abs(found - cov[:, :, t]) < 5 * 1.5 * scale / 141).all()


def test_learns_and_never_falls():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 10, (1500, 1))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=1500)
    start = SparseGaussianProcessRegressor(n_inducing=15, random_state=0, optimizer=None).fit(X, y)
    model = SparseGaussianProcessRegressor(n_inducing=15, random_state=0, max_iter=30).fit(X, y)
    assert model.lower_bound_ > start.lower_bound_
    assert model.noise_variance_ == pytest.approx(0.01, rel=0.1)  # 1500 draws: 4 % and the fit
    exact = GaussianProcessRegressor(
        model.kernel_, alpha=model.noise_variance_, optimizer=None
    ).fit(X, y)
    assert model.lower_bound_ <= exact.log_marginal_likelihood_value_
    assert model.lower_bound_ > exact.log_marginal_likelihood_value_ - 5
    assert model.inducing_inputs_.shape == (15, 1)


def test_streams(tmp_path):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(400, 2)), rng.normal(size=400)
    Z = X[:8] + 0.1
    make = SparseGaussianProcessRegressor(RBF(1.0), inducing_inputs=Z, max_iter=3, normalize_y=True)
    memory = make.fit(X, y)
    expected = memory.predict(X[:50], return_std=True), memory.lower_bound_
    parts = [X[:150], X[150:]]
    streamed = make.fit(lambda: iter(parts), y)
    assert streamed.lower_bound_ == pytest.approx(expected[1], rel=1e-9)
    for a, b in zip(
        streamed.predict(lambda: iter([X[:50]]), return_std=True), expected[0], strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_files():
    X = np.arange(4.0)[:, None]
    model, file = bound(X, [1.0, 0, 1, 2]), io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_array_equal(kernelmill.load(file).predict(X), model.predict(X))


def test_refusals():
    with pytest.raises(RuntimeError, match="only one of return_std and return_cov"):
        bound([[0.5]], [1.0, 0, 1, 2]).predict([[0.0]], return_std=True, return_cov=True)
    with pytest.raises(ValueError, match=r"inducing_inputs must be finite, of shape \(m, 1\)"):
        bound([[1.0, 2.0]], [1.0, 0, 1, 2])


@pytest.mark.parametrize("factor", [1e-120, 1e120])
def test_targets_of_extreme_sizes_are_refused_or_scaled(factor):
    X, y = np.arange(8.0)[:, None], np.sin(np.arange(8.0))
    given = {"n_inducing": 4, "max_iter": 2, "random_state": 0}
    with pytest.raises(ValueError, match="y must have sizes between 1e-70 and 1e"):
        SparseGaussianProcessRegressor(**given).fit(X, factor * y)
    found, plain = (
        SparseGaussianProcessRegressor(normalize_y=True, **given).fit(X, c * y).predict(X)
        for c in (factor, 1.0)
    )
    np.testing.assert_allclose(found / factor, plain, rtol=1e-6, atol=1e-9)
