"""Classification: beside scikit-learn, gradients, integrals, several classes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sklearn.gaussian_process as peers
import sklearn.gaussian_process.kernels as theirs
from scipy.integrate import quad
from scipy.special import expit
from sklearn.datasets import load_iris

import kernelmill
from kernelmill.gaussian_process import GaussianProcessClassifier
from kernelmill.gaussian_process import kernels as ours
from kernelmill.gaussian_process._classifier import averaged

KERNELS = {
    "RBF": lambda m: 1.0 * m.RBF(1.0),
    "ARD": lambda m: 4.0 * m.RBF([1.0, 2.0, 3.0, 1.0]),
    "Matern": lambda m: 9.0 * m.Matern(1.0, nu=1.5),
}


def iris(classes=(1, 2)):
    X, y = load_iris(return_X_y=True)
    chosen = np.isin(y, classes)
    return X[chosen][::2], y[chosen][::2]


@pytest.mark.parametrize("name", KERNELS)
def test_two_classes(name):
    X, y = iris()
    model = GaussianProcessClassifier(KERNELS[name](ours), optimizer=None).fit(X, y)
    peer = peers.GaussianProcessClassifier(KERNELS[name](theirs), optimizer=None).fit(X, y)
    theta = model.kernel_.theta
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    expected, slope = peer.log_marginal_likelihood(theta, eval_gradient=True)
    # The peer ends Newton's method where a step gains 1e-10, ours where it is exact to rounding.
    assert value == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(gradient, slope, atol=1e-4)
    np.testing.assert_array_equal(model.predict(X), peer.predict(X))
    # The peer's integral is an approximation by five error functions.
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-3)
    for found, wanted in zip(
        model.latent_mean_and_variance(X), peer.latent_mean_and_variance(X), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    step = 1e-4
    for q, direction in enumerate(step * np.eye(len(theta))):
        up, down = (model.log_marginal_likelihood(theta + s * direction) for s in (1, -1))
        assert gradient[q] == pytest.approx((up - down) / (2 * step), rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("mode", ["one_vs_rest", "one_vs_one"])
def test_three_classes(mode):
    X, y = iris((0, 1, 2))
    model = GaussianProcessClassifier(KERNELS["RBF"](ours), multi_class=mode).fit(X, y)
    peer = peers.GaussianProcessClassifier(KERNELS["RBF"](theirs), multi_class=mode).fit(X, y)
    assert model.log_marginal_likelihood() == pytest.approx(
        peer.log_marginal_likelihood(), abs=1e-5
    )
    assert (model.predict(X) == peer.predict(X)).all()
    theta = np.zeros(2)
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    every, parts = model.log_marginal_likelihood(np.tile(theta, 3), eval_gradient=True)
    assert value == pytest.approx(every, rel=1e-14)
    np.testing.assert_allclose(parts.reshape(3, 2).sum(0), gradient, rtol=1e-12)
    assert model.kernel_(X).shape == (len(X), len(X), 3)
    if mode == "one_vs_one":
        with pytest.raises(ValueError, match="multi_class must be 'one_vs_rest'"):
            model.predict_proba(X)
    else:
        np.testing.assert_array_equal(
            model.classes_[model.predict_proba(X).argmax(1)], model.predict(X)
        )


@pytest.mark.parametrize("mode", ["two", "one_vs_rest", "one_vs_one"])
def test_the_posterior_is_scikit_learns(mode):
    X, y = load_iris(return_X_y=True)
    keep = y < 2 if mode == "two" else slice(None)
    X, y = X[keep][::5], y[keep][::5]
    options = {"optimizer": None, "multi_class": "one_vs_rest" if mode == "two" else mode}
    found, wanted = (
        cls(k.RBF(1.0), **options).fit(X, y).base_estimator_
        for cls, k in ((GaussianProcessClassifier, ours), (peers.GaussianProcessClassifier, theirs))
    )
    pairs = [(found, wanted)]
    if mode != "two":
        np.testing.assert_array_equal(found.classes_, wanted.classes_)
        pairs = list(zip(found.estimators_, wanted.estimators_, strict=True))
    for one, other in pairs:
        other = getattr(other, "estimator", other)
        for name in ("X_train_", "y_train_", "classes_"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        # Their Newton steps end where the likelihood gains less than 1e-10.
        for name in ("pi_", "W_sr_", "L_", "log_marginal_likelihood_value_"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-5
            )
        assert repr(one.kernel_) == repr(ours.RBF(1.0))


def test_integrals():
    for mean in (0.0, 0.3, -2.0, 5.0, -12.0):
        assert averaged(np.array([mean]), np.zeros(1))[0] == pytest.approx(expit(mean), rel=1e-14)
        for std in (0.1, 0.99, 1.0, 3.0, 30.0):

            def density(z, mean=mean, std=std):
                return expit(mean + std * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

            parts = [(-10, -3), (-3, 0), (0, 3), (3, 10)]
            exact = sum(quad(density, a, b, epsabs=1e-14, limit=300)[0] for a, b in parts)
            found = averaged(np.array([mean]), np.array([std**2]))[0]
            assert found == pytest.approx(exact, abs=1e-10)


def test_warm_start_gives_the_same():
    X, y = iris()
    cold = GaussianProcessClassifier(KERNELS["RBF"](ours)).fit(X, y)
    warm = GaussianProcessClassifier(KERNELS["RBF"](ours), warm_start=True).fit(X, y)
    np.testing.assert_allclose(warm.predict_proba(X), cold.predict_proba(X), atol=1e-5)


def test_files():
    X, y = iris((0, 1, 2))
    model = GaussianProcessClassifier(KERNELS["RBF"](ours), optimizer=None).fit(X, y)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_array_equal(kernelmill.load(file).predict_proba(X), model.predict_proba(X))


def test_refusals():
    X, y = iris()
    with pytest.raises(ValueError, match="y must have at least 2 classes, got 1"):
        GaussianProcessClassifier().fit(X, np.zeros(len(X)))
    model = GaussianProcessClassifier().fit(X, y)
    with pytest.raises(ValueError, match="theta must be given with eval_gradient=True"):
        model.log_marginal_likelihood(eval_gradient=True)
    with pytest.raises(ValueError, match="theta must have 0 entries"):
        model.log_marginal_likelihood([1.0, 2.0, 3.0])


def test_equal_votes_are_decided_by_confidences(monkeypatch):
    X, y = iris((0, 1, 2))
    model = GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one").fit(X, y)

    class Said:
        def __init__(self, probability):
            self.logit = np.log(probability / (1 - probability))

        def latent(self, X):
            return np.full(len(X), self.logit), np.zeros(len(X))

    # 1 beats 0 clearly; 0 beats 2 and 2 beats 1 narrowly: a vote each.
    monkeypatch.setattr(model, "_processes", lambda: [Said(0.9), Said(0.4), Said(0.6)])
    assert (model.predict(X) == 1).all()
