"""Kernels that users write by scikit-learn's protocol, from our base and from theirs."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sklearn.gaussian_process as peers
import sklearn.gaussian_process.kernels as theirs

import kernelmill
from kernelmill.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    SparseGaussianProcessRegressor,
)
from kernelmill.gaussian_process import kernels as ours


class Written:
    """A Gaussian kernel with a variance of its own, times a slope in the first feature."""

    def __init__(self, rate=1.0, width=(1.0, 1.0), rate_bounds=(1e-5, 1e5), width_bounds=(0.1, 9)):
        self.rate, self.width = rate, width
        self.rate_bounds, self.width_bounds = rate_bounds, width_bounds

    @property
    def hyperparameter_rate(self):
        return self.made("rate", "numeric", self.rate_bounds)

    @property
    def hyperparameter_width(self):
        return self.made("width", "numeric", self.width_bounds, 2)

    def __call__(self, X, Y=None, eval_gradient=False):
        X = np.asarray(X)
        Z = X if Y is None else np.asarray(Y)
        D = (X[:, None] - Z) ** 2 / np.asarray(self.width) ** 2
        K = self.rate * np.exp(-0.5 * D.sum(-1)) * np.exp(0.1 * (X[:, :1] + Z[:, 0]))
        if not eval_gradient:
            return K
        found = [] if self.hyperparameter_rate.fixed else [K]
        if not self.hyperparameter_width.fixed:
            found += [K * D[:, :, p] for p in range(2)]
        return K, np.stack(found, -1) if found else np.empty((*K.shape, 0))

    def diag(self, X):
        return self.rate * np.exp(0.2 * np.asarray(X)[:, 0])

    def is_stationary(self):
        return False


@kernelmill.register(key="tests.Ours")
class Ours(Written, ours.Kernel):
    made = staticmethod(ours.Hyperparameter)


class Theirs(Written, theirs.Kernel):
    made = staticmethod(theirs.Hyperparameter)


FORMS = {
    "alone": lambda k, m: k(1.3, (0.7, 1.4)),
    "sum and product": lambda k, m: m.WhiteKernel(0.1) + 2.0 * k(0.8, (1.0, 2.0)) * m.RBF(3.0),
    "power, fixed": lambda k, m: k(1.1, (2.0, 1.0), width_bounds="fixed") ** 2 + m.DotProduct(0.5),
    "nothing free": lambda k, m: k(rate_bounds="fixed", width_bounds="fixed") + m.WhiteKernel(0.1),
}
# Ours from our base, theirs in our algebra, theirs in theirs, and one made by hand.
KINDS = [
    (Ours, ours), (Theirs, ours), (Theirs, theirs),
    (lambda *a, **o: ours.KernelAdapter(Theirs(*a, **o)), ours),
]  # fmt: skip


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("form", FORMS)
def test_models_are_scikit_learns(form, kind):
    X, Z = rows(300), rows(7, 1)  # more than one block
    y = np.sin(X[:, 0]) + 0.1 * X[:, 1]
    kernel, peer = FORMS[form](*KINDS[kind]), FORMS[form](Theirs, theirs)
    options = {"optimizer": None, "alpha": 0.05}
    model = GaussianProcessRegressor(kernel, **options).fit(X, y)
    other = peers.GaussianProcessRegressor(peer, **options).fit(X, y)
    theta = other.kernel_.theta
    np.testing.assert_allclose(model.kernel_.theta, theta, rtol=1e-15)
    np.testing.assert_allclose(model.kernel_.bounds, other.kernel_.bounds, rtol=1e-15)
    assert len(model.kernel_.hyperparameters) == len(other.kernel_.hyperparameters)
    assert model.kernel_.is_stationary() == other.kernel_.is_stationary()
    value, gradient = model.log_marginal_likelihood(theta + 0.1, eval_gradient=True)
    expected, slope = other.log_marginal_likelihood(theta + 0.1, eval_gradient=True)
    assert value == pytest.approx(expected, rel=1e-8)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-8)
    for a, b in zip(model.predict(Z, True), other.predict(Z, True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)
    np.testing.assert_allclose(
        model.predict(Z, return_cov=True)[1], other.predict(Z, return_cov=True)[1], atol=1e-10
    )
    step = 1e-5 * np.array([1.0, 0])
    change = (model.predict(Z + step) - model.predict(Z - step)) / 2e-5
    np.testing.assert_allclose(model.predict_gradient(Z)[:, 0], change, rtol=1e-5, atol=1e-7)
    if kind < 2 and form != "nothing free":
        labels = GaussianProcessClassifier(kernel, optimizer=None).fit(X[:60], y[:60] > 0)
        peer = peers.GaussianProcessClassifier(peer, optimizer=None).fit(X[:60], y[:60] > 0)
        value, gradient = labels.log_marginal_likelihood(theta, eval_gradient=True)
        expected, slope = peer.log_marginal_likelihood(theta, eval_gradient=True)
        assert value == pytest.approx(expected, abs=1e-7)
        np.testing.assert_allclose(gradient, slope, atol=1e-4)  # the peer's mode, to 1e-10


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_searches_move_them():
    X = rows(60)
    y = np.sin(2 * X).sum(1) + 0.3 * np.random.default_rng(2).normal(size=60)
    found = [
        GaussianProcessRegressor(cls() + ours.WhiteKernel(0.1)).fit(X, y) for cls in (Ours, Theirs)
    ]
    np.testing.assert_array_equal(found[0].kernel_.theta, found[1].kernel_.theta)
    peer = peers.GaussianProcessRegressor(Theirs() + theirs.WhiteKernel(0.1)).fit(X, y)
    best = peer.log_marginal_likelihood_value_
    assert found[0].log_marginal_likelihood_value_ >= best - 1e-6 * abs(best)
    assert isinstance(found[0].kernel_.k1, Ours)
    assert isinstance(found[1].kernel_.k1.kernel, Theirs)
    given = {"n_inducing": 8, "max_iter": 3, "random_state": 0}
    a, b = (SparseGaussianProcessRegressor(c(), **given).fit(X, y) for c in (Ours, Theirs))
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, rel=1e-9)


NOISE = ours.WhiteKernel(0.1, "fixed")


class Doubled(ours.RBF):
    """A kernel of the package whose values a user has changed."""

    def __call__(self, X, Y=None, eval_gradient=False):
        found = super().__call__(X, Y, eval_gradient)
        return tuple(2 * part for part in found) if eval_gradient else 2 * found

    def diag(self, X):
        return 2 * super().diag(X)


class Louder(ours.RBF):
    """One with a hyperparameter more, before and after that of RBF in the alphabet."""

    def __init__(self, length_scale=1.0, amp=2.0, zoom=3.0, bounds=(1e-3, 1e3)):
        super().__init__(length_scale)
        self.amp, self.zoom, self.bounds_ = amp, zoom, bounds

    @property
    def hyperparameter_amp(self):
        return ours.Hyperparameter("amp", "numeric", self.bounds_)

    @property
    def hyperparameter_zoom(self):
        return ours.Hyperparameter("zoom", "numeric", "fixed")

    def __call__(self, X, Y=None, eval_gradient=False):
        found = super().__call__(X, Y, eval_gradient)
        if not eval_gradient:
            return self.amp * self.zoom * found
        K, G = (self.amp * self.zoom * part for part in found)
        return K, np.concatenate([K[:, :, None], G], -1)

    def diag(self, X):
        return self.amp * self.zoom * super().diag(X)


def test_a_class_that_derives_from_one_of_the_package_has_hyperparameters_of_its_own():
    X = rows(20)
    y = np.sin(X[:, 0])
    own, plain = Louder(0.7), 2.0 * ours.RBF(0.7) * ours.ConstantKernel(3.0, "fixed")
    assert [h.name for h in own.hyperparameters] == ["amp", "length_scale", "zoom"]
    np.testing.assert_array_equal(own.theta, plain.theta)
    models = [
        GaussianProcessRegressor(k, alpha=0.1, optimizer=None).fit(X, y) for k in (own, plain)
    ]
    at = own.theta + 0.1
    found = [m.log_marginal_likelihood(at, eval_gradient=True) for m in models]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_values_of_a_class_that_derives_from_one_of_the_package_are_its_own():
    X = rows(20)
    y = np.sin(X[:, 0])
    two = ours.ConstantKernel(2.0, "fixed")
    for own, plain in (
        (Doubled(0.7), two * ours.RBF(0.7)),
        (Doubled(0.7) + NOISE, two * ours.RBF(0.7) + NOISE),
        (3.0 * Doubled(0.7) ** 2, 3.0 * (two * ours.RBF(0.7)) ** 2),
    ):
        options = {"optimizer": None, "alpha": 0.1}
        a, b = (GaussianProcessRegressor(k, **options).fit(X, y) for k in (own, plain))
        for x, z in zip(a.predict(X, True), b.predict(X, True), strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-9)
        at = a.kernel_.theta + 0.1
        for x, z in zip(*(m.log_marginal_likelihood(at, True) for m in (a, b)), strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-9)
        moved = GaussianProcessRegressor(own, alpha=0.1).fit(X, y)
        assert moved.log_marginal_likelihood_value_ > a.log_marginal_likelihood_value_
    assert isinstance(ours.RBF(0.7) + 1.0 * ours.Matern(), ours.Sum)
    for kernel in (ours.RBF(), ours.Matern(), ours.WhiteKernel(), ours.RBF() + ours.RBF(), Ours()):
        assert GaussianProcessRegressor(kernel, optimizer=None, alpha=0.1).fit(
            X, y
        ).kernel_ == kernel  # fmt: skip


def test_files_and_parameters():
    X = rows(20)
    model = GaussianProcessRegressor(2.0 * Ours(), optimizer=None, alpha=0.1).fit(X, X[:, 0])
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_array_equal(kernelmill.load(file).predict(X), model.predict(X))
    kernel = ours.RBF() + Theirs()
    assert kernel.get_params()["k2__kernel__rate"] == 1.0
    assert kernel.set_params(k2__kernel__rate=3.0).k2.kernel.rate == 3.0
    assert kernel == ours.RBF() + Theirs(3.0)
    assert kernel != ours.RBF() + Theirs(2.0)
    assert repr(kernel) == f"RBF(length_scale=1) + {Theirs(3.0)!r}"


def test_refusals():
    class Wrong(Theirs):
        def __call__(self, X, Y=None, eval_gradient=False):
            return super().__call__(X, Y, eval_gradient).T

    class Empty(ours.Kernel):
        pass

    model = GaussianProcessRegressor(Wrong(), optimizer=None, alpha=0.1).fit(rows(5), np.ones(5))
    with pytest.raises(ValueError, match=r"must have shape \(3, 5\), got \(5, 3\)"):
        model.predict(rows(3))
    with pytest.raises(NotImplementedError, match="Empty: a kernel must define __call__"):
        GaussianProcessRegressor(Empty()).fit(rows(5), np.ones(5))
    with pytest.raises(NotImplementedError, match="Empty: a kernel must define is_stationary"):
        Empty().is_stationary()
    with pytest.raises(ValueError, match="kernel must be a kernel or None, got"):
        GaussianProcessRegressor(Theirs).fit(rows(5), np.ones(5))
    with pytest.raises(ValueError, match="rate_bounds must be one pair or 1 pairs, got an array"):
        GaussianProcessRegressor(Ours(rate_bounds=[1, 2, 3])).fit(rows(5), np.ones(5))
