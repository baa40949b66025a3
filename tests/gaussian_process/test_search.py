"""Searches for hyperparameters: callbacks, files from which they go on to the same bits, Ctrl-C."""

from __future__ import annotations

import numpy as np
import pytest

import kernelmill
from kernelmill.callbacks import Checkpoint
from kernelmill.cluster import AffinityPropagation
from kernelmill.decomposition import PCA, IncrementalPCA
from kernelmill.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    SparseGaussianProcessRegressor,
    _regressor,
)
from kernelmill.gaussian_process.kernels import RBF, WhiteKernel
from kernelmill.kernel_ridge import KernelRidge
from kernelmill.linear_model import Ridge
from kernelmill.mixture import BayesianGaussianMixture

pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 2))
y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=90)
LABELS = (X[:, 0] > 0) * 1 + (X[:, 1] > 0.5)
MODELS = {
    "scoring": GaussianProcessRegressor(
        RBF(1e-2) + WhiteKernel(0.5), n_restarts_optimizer=1, random_state=None
    ),
    "L-BFGS": GaussianProcessRegressor(
        RBF([1.0, 1.0]) + WhiteKernel(0.5), optimizer="fmin_l_bfgs_b", normalize_y=True
    ),
    "classes": GaussianProcessClassifier(RBF(1.0)),
    "classes, warm": GaussianProcessClassifier(RBF(1.0), warm_start=True),
    "sparse": SparseGaussianProcessRegressor(n_inducing=6, max_iter=6, random_state=None),
    "steps": SparseGaussianProcessRegressor(n_inducing=6, max_iter=6, batch_size=40),
}


class Watch:
    """Counts evaluations, and raises or stops after some."""

    def __init__(self, after=None, error=None):
        self.after, self.error, self.count = after, error, 0

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        self.count += context.parent is not None and context.task_name != "run"
        if self.count == self.after and self.error is not None:
            raise self.error
        return self.count == self.after


def results(model):
    if isinstance(model, GaussianProcessClassifier):
        return model.predict_proba(X)
    return np.concatenate(model.predict(X, return_std=True))


def fitted(model, *callbacks, n=90):
    np.random.seed(3)  # noqa: NPY002 - what random_state=None takes
    targets = LABELS if isinstance(model, GaussianProcessClassifier) else y
    return model.set_callbacks(*callbacks).fit(X[:n], targets[:n])


@pytest.mark.parametrize("name", MODELS)
def test_a_search_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_regressor, "_COARSE", 50)  # a search on half of the rows comes first
    fresh = lambda **options: kernelmill_clone(MODELS[name]).set_params(**options)  # noqa: E731
    watch = Watch()
    whole = fitted(fresh(), watch)
    expected, total = results(whole), watch.count
    np.testing.assert_array_equal(results(fitted(fresh())), expected)
    for after in (2, total // 2, total - 1):
        model = fresh()
        with pytest.raises(MemoryError):
            fitted(model, Checkpoint(tmp_path / "m", every=0), Watch(after, MemoryError()))
        kept = kernelmill.load(tmp_path / "m")
        assert np.isfinite(results(kept)).all()
        watch = Watch()
        kept.set_params(warm_start=True).set_callbacks(watch)
        kept.fit(X, LABELS if "classes" in name else y)
        np.testing.assert_array_equal(results(kept), expected)
        assert watch.count == total - after
        assert "_search" not in vars(kept)
    # Ctrl-C keeps what was reached, and the next fit goes on.
    if name != "classes":  # whose Newton steps begin elsewhere with warm_start
        model = fresh(warm_start=True)
        with pytest.raises(KeyboardInterrupt):
            fitted(model, Watch(3, KeyboardInterrupt()))
        assert model.interrupted_
        assert np.isfinite(results(model)).all()
        np.testing.assert_array_equal(results(fitted(model)), expected)


def kernelmill_clone(model):
    from sklearn.base import clone

    return clone(model)


@pytest.mark.parametrize("name", ["scoring", "classes", "sparse", "steps"])
def test_a_search_of_others_is_refused(name, tmp_path):
    model = kernelmill_clone(MODELS[name]).set_params(random_state=0)
    with pytest.raises(MemoryError):
        fitted(model, Checkpoint(tmp_path / "m", every=0), Watch(2, MemoryError()))
    kept = kernelmill.load(tmp_path / "m")
    assert np.isfinite(results(fitted(kept, n=80))).all()  # without warm_start a new one begins
    others = "must go on with the rows, targets and options of the"
    kept = kernelmill.load(tmp_path / "m").set_params(warm_start=True)
    with pytest.raises(ValueError, match=others):
        fitted(kept, n=80)
    if name in ("sparse", "steps"):  # other rows with the same inducing inputs and targets
        model.set_params(inducing_inputs=X[:6])
        with pytest.raises(MemoryError):
            fitted(model, Checkpoint(tmp_path / "m", every=0), Watch(2, MemoryError()))
        kept = kernelmill.load(tmp_path / "m").set_params(warm_start=True)
        with pytest.raises(ValueError, match=others):
            kept.fit(X + 1, y)
    # Starts and bounds that a repr does not show are options, too.
    for kernel in (RBF(1.0, "fixed") + WhiteKernel(0.5), RBF(1.0) + WhiteKernel(0.50001)):
        model.set_params(kernel=RBF(1.0) + WhiteKernel(0.5))
        with pytest.raises(MemoryError):
            fitted(model, Checkpoint(tmp_path / "m", every=0), Watch(2, MemoryError()))
        kept = kernelmill.load(tmp_path / "m").set_params(warm_start=True, kernel=kernel)
        with pytest.raises(ValueError, match=others):
            fitted(kept)


@pytest.mark.parametrize("later", ["fit", "partial_fit"])
def test_an_interrupted_search_ends_with_what_comes_later(later):
    model = kernelmill_clone(MODELS["steps"]).set_params(random_state=0, warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        fitted(model, Watch(3, KeyboardInterrupt()))
    getattr(model.set_params(warm_start=False).set_callbacks(), later)(X, y)
    assert "_search" not in vars(model)


def test_a_stop_among_some_of_the_rows_leaves_the_best_of_all(monkeypatch):
    """Their likelihoods are larger than those of all rows, and say nothing of them."""
    options = {"optimizer": "scoring", "random_state": 0}
    kernel = RBF(1.0) + WhiteKernel(0.5)
    first = Watch()
    monkeypatch.setattr(_regressor, "_COARSE", 50)
    one = GaussianProcessRegressor(kernel, **options).set_callbacks(first).fit(X, 9 * y)
    assert one.log_marginal_likelihood_value_ < -100
    two = GaussianProcessRegressor(kernel, n_restarts_optimizer=1, **options)
    two.set_callbacks(Watch(first.count + 5)).fit(X, 9 * y)
    np.testing.assert_array_equal(two.kernel_.theta, one.kernel_.theta)


def test_an_optimizer_that_goes_elsewhere_is_refused(tmp_path):
    def walk(objective, start, bounds):
        for step in (0.0, 0.1, rng.normal()):
            value = objective(start + step)[0]
        return start, value

    model = GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.5), optimizer=walk, warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        fitted(model, Watch(3, KeyboardInterrupt()))
    with pytest.raises(ValueError, match="an optimizer that makes the same steps again"):
        fitted(model)


@pytest.mark.parametrize("name", ["L-BFGS", "classes", "sparse", "steps"])
def test_a_callback_stops_a_search(name):
    model = kernelmill_clone(MODELS[name]).set_params(random_state=0)
    watch = Watch(3)
    assert np.isfinite(results(fitted(model, watch))).all()
    assert watch.count == 3


def test_the_last_file_is_the_model(tmp_path):
    own = GaussianProcessRegressor(optimizer=None, alpha=0.1, copy_X_train=False)
    others = [KernelRidge(kernel="rbf", leave_one_out=True), Ridge(), PCA(1), IncrementalPCA(1),
              BayesianGaussianMixture(2), AffinityPropagation(max_iter=9)]  # fmt: skip
    for model in (*MODELS.values(), own, *others):
        model = kernelmill_clone(model)
        targets = LABELS if isinstance(model, GaussianProcessClassifier) else y
        for _ in range(2):  # what a fit sets anew may be the same object as before, as X is
            checkpoint = Checkpoint(tmp_path / "m", every=np.inf)
            model.set_callbacks(checkpoint).fit(X, targets)
            assert checkpoint.n_saved >= 1
            found = kernelmill.load(tmp_path / "m")
            if isinstance(model, (PCA, IncrementalPCA)):
                np.testing.assert_array_equal(found.transform(X), model.transform(X))
            elif type(model) in map(type, others):
                np.testing.assert_array_equal(found.predict(X), model.predict(X))
            else:
                np.testing.assert_array_equal(results(found), results(model))


def test_a_direct_fit_keeps_nothing_of_the_one_before(tmp_path):
    model = KernelRidge(kernel="rbf", leave_one_out=True).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="alpha must be at least 0, one number or one for each"):
        model.set_params(alpha=[1.0, 2.0]).fit(X, y)
    assert vars(model).keys() == before.keys()
    model.set_params(alpha=1.0, leave_one_out=False).set_callbacks(Checkpoint(tmp_path / "m"))
    model.fit(X[:50], y[:50])
    for kept in (model, kernelmill.load(tmp_path / "m")):
        assert not hasattr(kept, "loo_predictions_")
