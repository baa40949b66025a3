"""Regression: beside scikit-learn, known values, gradients, degenerate data, jitter."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import sklearn.gaussian_process as peers
import sklearn.gaussian_process.kernels as theirs
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import kernelmill
from kernelmill.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    SparseGaussianProcessRegressor,
    _regressor,
    _scoring,
)
from kernelmill.gaussian_process import kernels as ours
from kernelmill.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    PairwiseKernel,
    WhiteKernel,
)
from kernelmill.gaussian_process.kernels._kernel import own_kernel

KERNELS = {
    "noise": lambda m: m.RBF(1.0) + m.WhiteKernel(0.1),
    "ARD": lambda m: 2.0 * m.RBF([1.0, 1.0, 1.0]) + m.WhiteKernel(1.0),
    "Matern": lambda m: m.Matern(1.0, nu=2.5) * m.ConstantKernel(1.0) + m.WhiteKernel(0.1),
}


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + 0.1 * rng.normal(size=n), rng.normal(size=(7, 3))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_scikit_learn(name, normalize, several):
    X, y, Z = data()
    y = np.stack([y, y * y], axis=1) if several else y
    noise = np.linspace(0.01, 1, 60) if several else 1e-10  # one variance for each row
    options = {"normalize_y": normalize, "optimizer": None, "alpha": noise}
    model = GaussianProcessRegressor(KERNELS[name](ours), **options).fit(X, y)
    peer = peers.GaussianProcessRegressor(KERNELS[name](theirs), **options).fit(X, y)
    theta = peer.kernel_.theta
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    expected, slope = peer.log_marginal_likelihood(theta, eval_gradient=True)
    # Both are sums of n terms of a factor of condition about 1e3.
    assert value == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-8)
    for kind in ({}, {"return_std": True}, {"return_cov": True}):
        found, wanted = model.predict(Z, **kind), peer.predict(Z, **kind)
        pairs = zip(found, wanted, strict=True) if kind else [(found, wanted)]
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, strict=True)
    assert model.sample_y(Z, 5).shape == peer.sample_y(Z, 5).shape


def test_optimum():
    X, y, _ = data()
    assert own_kernel(None, "") == ConstantKernel() * RBF()  # as scikit-learn's
    model = GaussianProcessRegressor(KERNELS["noise"](ours)).fit(X, y)
    peer = peers.GaussianProcessRegressor(KERNELS["noise"](theirs)).fit(X, y)
    best = peer.log_marginal_likelihood_value_
    assert model.log_marginal_likelihood_value_ >= best - 1e-6 * abs(best)
    # A larger set begins on half of its rows; both searches end at one optimum.
    X, y, _ = data(1100)
    fits = [
        GaussianProcessRegressor(KERNELS["noise"](ours), optimizer=o, random_state=0).fit(X, y)
        for o in ("scoring", "fmin_l_bfgs_b")
    ]
    model, other = fits
    theta = model.kernel_.theta
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(model.log_marginal_likelihood_value_, rel=1e-12)
    assert value >= other.log_marginal_likelihood_value_ - 1e-6 * abs(value)
    # What is left to gain is g'M^-1 g / 2; a search ends where it foresees 1e-7 of the value.
    assert np.abs(gradient).max() < 1e-4 * abs(value)
    np.testing.assert_allclose(theta, other.kernel_.theta, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_best_of_several_starts_is_kept():
    X, y, _ = data(40)
    # From here all rows look independent, and noise alone explains them.
    kernel = RBF(1e-4) + WhiteKernel(0.1)
    one = GaussianProcessRegressor(kernel, random_state=0).fit(X, y)
    several = GaussianProcessRegressor(kernel, n_restarts_optimizer=4, random_state=0).fit(X, y)
    assert several.log_marginal_likelihood_value_ > one.log_marginal_likelihood_value_ + 1


def test_variances_of_exact_readings_are_above_zero():
    """At the rows of a fit without noise they are rounding, which may have any sign."""
    X = np.linspace(0, 60, 50)[:, None]
    model = GaussianProcessRegressor(RBF(1.0), alpha=0.0, optimizer=None).fit(X, np.sin(X[:, 0]))
    std = model.predict(X, return_std=True)[1]
    assert (std >= np.sqrt(np.finfo(float).eps)).all()
    assert std.max() < 1e-6


def test_gradients_in_the_rows():
    X, y, Z = data()
    for name in KERNELS:
        model = GaussianProcessRegressor(KERNELS[name](ours), optimizer=None, normalize_y=True)
        model.fit(X, np.stack([y, y + X[:, 1]], axis=1))
        mean, std = model.predict_gradient(Z, return_std=True)
        for p in range(3):
            step = 1e-5 * np.eye(3)[p]
            above, below = (model.predict(Z + s, return_std=True) for s in (step, -step))
            np.testing.assert_allclose(mean[:, p], (above[0] - below[0]) / 2e-5, atol=1e-7)
            np.testing.assert_allclose(std[:, p], (above[1] - below[1]) / 2e-5, atol=1e-7)


def test_variances_near_nothing():
    x = np.arange(0, 5, 0.5)[:, None]
    kernel = 0.1 * DotProduct(1.0) ** 2
    model = GaussianProcessRegressor(kernel, alpha=1e-10, optimizer=None)
    model.fit(x, np.sin((x[:, 0] - 2.5) ** 2))
    mean, std = model.predict([[2.2], [5.0]], return_std=True)
    # K has a condition of 1e12: its factor leaves four digits.
    np.testing.assert_allclose(mean, [0.547195, -0.578420], rtol=2e-4)
    np.testing.assert_allclose(std**2, [2.28715e-11, 1.38333e-10], rtol=1e-3)
    cov = model.predict([[2.2], [5.0]], return_cov=True)[1]
    np.testing.assert_allclose(np.diag(cov), std**2, rtol=1e-14)
    grid = np.linspace(-1, 6, 200)[:, None]
    assert (model.predict(grid, return_std=True)[1] > 0).all()


def test_readings_at_one_place():
    model = GaussianProcessRegressor(RBF(1.0), alpha=0.1, optimizer=None)
    model.fit([[0.0], [0.0], [1.0]], [0.0, 0.2, 1.0])
    mean, std = model.predict([[0.0], [0.5], [3.0]], return_std=True)
    np.testing.assert_allclose(mean, [0.131541, 0.552531, 0.163098], atol=1e-6)
    np.testing.assert_allclose(std, [0.215653, 0.270120, 0.988793], atol=1e-6)
    assert model.log_marginal_likelihood() == pytest.approx(-2.529328, abs=1e-6)
    same = GaussianProcessRegressor(RBF(1.0), alpha=[0.05, 0.1], optimizer=None)
    same.fit([[0.0], [1.0]], [0.1, 1.0])
    for a, b in zip(same.predict([[0.5]], True), model.predict([[0.5]], True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_equal_rows_need_a_jitter(scale):
    kernel = ConstantKernel(scale, "fixed") * RBF(1.0, "fixed")
    model = GaussianProcessRegressor(kernel, alpha=0.0)
    with pytest.warns(RuntimeWarning, match="needed .* more on its diagonal") as caught:
        model.fit([[0.0], [0.0], [1.0]], [0.1, 0.1, 1.0])
    assert len(caught) == 1
    assert model.jitter_ == pytest.approx(1e-12 * scale)  # relative to the kernel's diagonal
    drawn = model.sample_y([[0.3], [0.3]], 3)
    # Rows of the covariance are equal up to rounding of the prior variance.
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-6 * math.sqrt(scale))


def test_no_factor_says_why():
    kernel = DotProduct(0.0, "fixed") * ConstantKernel(-1.0, "fixed")
    with pytest.raises(ValueError, match="constant_value must be finite numbers of at least 0"):
        GaussianProcessRegressor(kernel).fit([[1.0], [2.0]], [0.0, 1.0])
    far = PairwiseKernel(metric=lambda a, b, gamma: 1.0 + float(a[0] != b[0]))  # eigenvalue -1
    with pytest.raises(ValueError, match=r"got a pivot of -3 in row 1 with jitter up to 0.0001 on"):
        GaussianProcessRegressor(far, optimizer=None).fit([[1.0], [20.0]], [0.0, 1.0])


@pytest.mark.parametrize("normalize", [False, True])
def test_shapes_of_several_targets(normalize):
    rng = np.random.default_rng(0)
    X, Y, Z = rng.normal(size=(7, 3)), rng.normal(size=(7, 2)), rng.normal(size=(4, 3))
    model = GaussianProcessRegressor(RBF(1.0), normalize_y=normalize, optimizer=None)
    assert model.predict(Z).shape == (4,)
    assert model.sample_y(Z, 5).shape == (4, 5)
    model.fit(X, Y)
    assert [a.shape for a in model.predict(Z, return_std=True)] == [(4, 2), (4, 2)]
    assert model.predict(Z, return_cov=True)[1].shape == (4, 4, 2)
    assert model.sample_y(Z, 5).shape == (4, 2, 5)
    prior = GaussianProcessRegressor(n_targets=2)
    assert [a.shape for a in prior.predict(Z, return_std=True)] == [(4, 2), (4, 2)]
    assert prior.sample_y(Z, 5).shape == (4, 2, 5)


def test_chunks_of_predictions():
    X, y, _ = data()
    model = GaussianProcessRegressor(KERNELS["noise"](ours), optimizer=None).fit(X, y)
    Z = np.random.default_rng(5).normal(size=(2300, 3))
    mean, std = model.predict(Z, return_std=True)
    for part in (slice(0, 3), slice(998, 1003), slice(2290, 2300)):
        a, b = model.predict(Z[part], return_std=True)
        np.testing.assert_allclose(mean[part], a, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(std[part], b, rtol=1e-9)


def test_files():
    X, y, Z = data(20)
    model = GaussianProcessRegressor(KERNELS["ARD"](ours), optimizer=None).fit(X, y)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    loaded = kernelmill.load(file)
    assert loaded.kernel_ == model.kernel_
    np.testing.assert_array_equal(loaded.predict(Z), model.predict(Z))


def test_refusals():
    X, y, _ = data(10)
    with pytest.raises(ValueError, match="alpha must be a number or one number"):
        GaussianProcessRegressor(alpha=np.ones(3)).fit(X, y)
    with pytest.raises(ValueError, match="y must have n_targets = 2 columns, got 1"):
        GaussianProcessRegressor(n_targets=2).fit(X, y)
    model = GaussianProcessRegressor(optimizer=None).fit(X, y)
    with pytest.raises(RuntimeError, match="only one of return_std and return_cov"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match=r"^RBF: length_scale must be finite numbers of at least"):
        GaussianProcessRegressor(RBF("wide")).fit(X, y)
    kernel = RBF(1.0, (1e-5, np.inf))
    with pytest.raises(ValueError, match="bounds of hyperparameters must be finite"):
        GaussianProcessRegressor(kernel, n_restarts_optimizer=1).fit(X, y)


@pytest.mark.parametrize("optimizer", ["scoring", "fmin_l_bfgs_b"])
def test_bounds(optimizer):
    X, y, _ = data(30)
    for bounds in ((10, 1), (-1, 1), (np.nan, 1)):
        with pytest.raises(ValueError, match="length_scale_bounds must be a least value of at le"):
            GaussianProcessRegressor(RBF(1.0, bounds), optimizer=optimizer).fit(X, y)
    free = RBF(1.0, (0, np.inf)) + WhiteKernel(0.1, (0, np.inf))
    wide = RBF(1.0, (1e-9, 1e9)) + WhiteKernel(0.1, (1e-9, 1e9))
    found, want = (GaussianProcessRegressor(k, optimizer=optimizer).fit(X, y) for k in (free, wide))
    np.testing.assert_allclose(found.kernel_.theta, want.kernel_.theta, rtol=1e-3)
    with pytest.warns(ConvergenceWarning, match="close to the specified"):
        model = GaussianProcessRegressor(RBF(1.0, (2, 2)), optimizer=optimizer).fit(X, y)
    assert model.kernel_.length_scale == pytest.approx(2, rel=1e-15)


def test_constant_targets_have_no_say_about_the_kernel():
    X, _, new = data(60)
    with pytest.warns(ConvergenceWarning, match="close to the specified"):  # and of nothing else
        model = GaussianProcessRegressor(RBF(), normalize_y=True).fit(X[:, :2], np.ones(60))
    np.testing.assert_allclose(model.predict(new[:, :2]), 1, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [None, "scoring"])
@pytest.mark.parametrize("n", [1, 60, 300])
def test_the_factor_is_a_lower_triangle(n, optimizer):
    X, y, _ = data(n)
    model = GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.1), optimizer=optimizer).fit(X, y)
    np.testing.assert_array_equal(np.triu(model.L_, 1), 0)
    np.testing.assert_allclose(
        model.L_ @ model.L_.T, model.kernel_(X) + 1e-10 * np.eye(n), atol=1e-12
    )


@pytest.mark.parametrize("model", [GaussianProcessRegressor, GaussianProcessClassifier])
def test_threads_of_blas_change_no_bit_up_to_512_rows(model):
    X, y, _ = data(300)
    y = y > np.median(y) if model is GaussianProcessClassifier else y
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fitted = model(RBF(1.0), optimizer=None).fit(X, y)
            theta = fitted.kernel_.theta + 0.1
            found.append(fitted.log_marginal_likelihood(theta, eval_gradient=True))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_the_likelihood_may_move_the_kernel_of_the_fit():
    X, y, _ = data(10)
    model = GaussianProcessRegressor(RBF(1.0), optimizer=None).fit(X, y)
    kernel = model.kernel_
    model.log_marginal_likelihood([0.5])
    assert kernel.theta == [0.0]
    model.log_marginal_likelihood([0.5], clone_kernel=False)
    assert kernel is model.kernel_
    assert kernel.theta == [0.5]


def test_an_optimizer_of_ones_own():
    def halfway(objective, start, bounds):
        value, _ = objective(start)
        return start, value

    X, y, _ = data(10)
    model = GaussianProcessRegressor(1.5 * RBF(2.0), optimizer=halfway, alpha=0.1).fit(X, y)
    np.testing.assert_allclose(np.exp(model.kernel_.theta), [1.5, 2.0])


@pytest.mark.parametrize("c", [1e-12, 1e-3, 1e6, 1e12])
def test_scaled_rows_and_length_scales(c):
    X, y, Z = data()
    options = {"optimizer": None, "alpha": 0.01}
    model = GaussianProcessRegressor(RBF([1.0, 2.0, 0.5]), **options).fit(X, y)
    scaled = GaussianProcessRegressor(RBF([c, 2 * c, 0.5 * c]), **options).fit(c * X, y)
    for a, b in zip(scaled.predict(c * Z, True), model.predict(Z, True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    labels = GaussianProcessClassifier(RBF(1.0), optimizer=None).fit(X, y > 0)
    others = GaussianProcessClassifier(RBF(c), optimizer=None).fit(c * X, y > 0)
    np.testing.assert_allclose(others.predict_proba(c * Z), labels.predict_proba(Z), rtol=1e-9)
    # Targets times c, with the variances along.
    kernel = ConstantKernel(c * c) * RBF([1.0, 2.0, 0.5])
    taller = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.01 * c * c).fit(X, c * y)
    for a, b in zip(taller.predict(Z, True), model.predict(Z, True), strict=True):
        np.testing.assert_allclose(a / c, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "model", [GaussianProcessClassifier, GaussianProcessRegressor, SparseGaussianProcessRegressor]
)
def test_a_compound_kernel_is_no_kernel_of_one_process(model):
    kernel = ours.CompoundKernel([ours.RBF(), ours.Matern()])
    with pytest.raises(ValueError, match="must be that of one process, got a CompoundKernel"):
        model(kernel).fit([[0.0], [1.0]], [0, 1])


def test_a_pairwise_kernel_shows_its_metric():
    assert repr(ours.PairwiseKernel(metric="rbf")) == "PairwiseKernel(gamma=1, metric=rbf)"


@pytest.mark.parametrize("join", [lambda a, b: a + b, lambda a, b: a * b])
def test_kernels_of_both_libraries_join_in_any_order(rng, join):
    X = rng.normal(size=(20, 2))
    y = X[:, 0]
    made = [join(a.RBF(2.0), b.Matern()) for a, b in [(theirs, ours), (ours, theirs), (ours, ours)]]
    found = [GaussianProcessRegressor(k, alpha=0.1, optimizer=None).fit(X, y) for k in made]
    for model in found[:2]:
        np.testing.assert_array_equal(model.predict(X), found[2].predict(X))


def test_the_information_is_that_of_its_definition(rng):
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    kernel = 2.0 * RBF([1.0, 2.0, 0.7]) + WhiteKernel(0.3)
    *_, M = _regressor._likelihood(kernel, X, Y, 0.1, "", -math.inf)
    K, D = kernel(X, eval_gradient=True)
    inverse = np.linalg.inv(K + 0.1 * np.eye(30))
    v = np.einsum("ijp,jt->pit", D, inverse @ Y)
    np.testing.assert_allclose(M, np.einsum("pit,ij,qjt->pq", v, inverse, v) / 2, rtol=1e-9)
    # Its mean over targets drawn from the model is the Fisher information.
    drawn = np.linalg.cholesky(K + 0.1 * np.eye(30)) @ rng.normal(size=(30, 4000))
    *_, M = _regressor._likelihood(kernel, X, drawn, 0.1, "", -math.inf)
    fisher = np.einsum("ij,jkp,kl,liq->pq", inverse, D, inverse, D, optimize=True) / 2
    scale = np.sqrt(np.outer(np.diag(fisher), np.diag(fisher)))
    assert (np.abs(M / 4000 - fisher) / scale).max() < 0.15  # deviations of about 2 / sqrt(4000)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_features_that_do_not_matter(rng):
    """Their length scales go to their bounds, where the likelihood is flat."""
    X = rng.normal(size=(80, 6))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=80)
    count = []
    evaluate = _regressor._likelihood

    def counted(*args):
        count.append(args[-1])
        return evaluate(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_regressor, "_likelihood", counted)
        model = GaussianProcessRegressor(RBF(np.ones(6)) + WhiteKernel(0.1)).fit(X, y)
    peer = peers.GaussianProcessRegressor(theirs.RBF(np.ones(6)) + theirs.WhiteKernel(0.1))
    peer.fit(X, y)
    best = peer.log_marginal_likelihood_value_
    assert model.log_marginal_likelihood_value_ >= best - 1e-6 * abs(best)
    assert np.exp(model.kernel_.theta[1:-1]).max() > 1e4
    assert len(count) < 60


def quadratic(B, peak):
    def evaluate(theta, least):
        move = peak - theta
        return -0.5 * move @ B @ move, B @ move, B

    return evaluate


def test_scoring_of_a_quadratic_in_a_box():
    B, peak = np.array([[2.0, 1.9], [1.9, 2.0]]), np.array([1.0, -1.0])
    bounds = np.array([(-5.0, 0.5), (-5.0, 5.0)])
    theta, value = _scoring.ascend(quadratic(B, peak), np.zeros(2), bounds, np.zeros(2), "")
    # With the first at its bound, the second solves B_22 (peak_2 - t_2) = -B_21 (peak_1 - 0.5).
    np.testing.assert_allclose(theta, [0.5, -1 + 1.9 * 0.5 / 2.0], atol=1e-6)
    assert value == pytest.approx(quadratic(B, peak)(theta, 0)[0], abs=1e-9)
    fixed = np.array([(0.2, 0.2), (0.3, 0.3)])
    theta, _ = _scoring.ascend(quadratic(B, peak), np.zeros(2), fixed, np.zeros(2), "")
    np.testing.assert_array_equal(theta, [0.2, 0.3])


@pytest.mark.parametrize("slope", [0.1, 1.0, 30.0])
def test_scoring_with_a_wrong_information(slope):
    """The steps taken correct a matrix that misjudges the curvature, and none goes down."""
    wanted = []

    def evaluate(theta, least):
        wanted.append(least)
        return -slope * np.cosh(theta - 1).sum(), -slope * np.sinh(theta - 1), np.eye(2)

    bounds = np.array([(-10.0, 10.0)] * 2)
    theta, _ = _scoring.ascend(evaluate, np.array([-4.0, 6.0]), bounds, np.zeros(2), "", gain=1e-9)
    # A gain of 1e-7 of the value, 2 slope, is left at a distance of 6e-4.
    np.testing.assert_allclose(theta, [1.0, 1.0], atol=1e-3)
    assert (np.diff(wanted[1:]) >= 0).all()
    assert len(wanted) < 30


def test_scoring_that_does_not_end_warns():
    def evaluate(theta, least):
        return float(theta[0]), np.ones(1), 1e-3 * np.ones((1, 1))

    bounds = np.array([(0.0, 1e6)])
    with pytest.warns(ConvergenceWarning, match="failed to converge in 3 iterations"):
        _scoring.ascend(evaluate, np.zeros(1), bounds, np.zeros(1), "Test", max_iter=3)


def test_a_bad_start_on_a_part_of_the_rows_is_left(monkeypatch):
    X, y, _ = data(1000)
    starts = []

    def ascend(evaluate, start, bounds, powers, owner, *, gain):
        starts.append(start)
        bad = start + 5 if len(starts) == 1 else start
        return bad, evaluate(bad, np.inf)[0]

    monkeypatch.setattr(_regressor, "ascend", ascend)
    GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.1), random_state=0).fit(X, y)
    assert len(starts) == 3
    np.testing.assert_array_equal(starts[2], starts[0])


@pytest.mark.parametrize(
    "model", [GaussianProcessRegressor(), SparseGaussianProcessRegressor(n_inducing=4)]
)
def test_one_column_of_targets_has_predictions_without_an_axis(model):
    X = np.linspace(0, 3, 7)[:, None]
    model.fit(X, np.sin(X))
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (7,)
    assert model.predict(X, return_cov=True)[1].shape == (7, 7)
    assert model.sample_y(X, 5).shape == (7, 5)


def test_a_search_whose_information_is_nearly_singular_goes_on():
    """The entries of B are 1e8 and 1e19, and rounding leaves it indefinite."""
    X = np.array([[1.0], [3], [5], [6], [7], [8]])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(100.0, (1e-3, 1e3))
    model = GaussianProcessRegressor(kernel).fit(X, (X * np.sin(X)).ravel())
    assert np.isfinite(model.log_marginal_likelihood_value_)
