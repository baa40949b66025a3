"""The climb: callbacks, stopping, the best of some starts, Ctrl-C; starts obey weights."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture


class Recorder:
    """Writes down the tasks it hears of; stops after some iterations."""

    def __init__(self, stop_after=None):
        self.ended, self.scores = [], []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X))
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_after


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_callbacks_hear_of_every_iteration_and_get_models(X, cls):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    recorder = Recorder()
    options = {"n_components": 3, "random_state": 0, "max_iter": 500}
    model = cls(**options).set_callbacks(recorder).fit(X)
    quiet = cls(**options).fit(X)
    np.testing.assert_array_equal(model.means_, quiet.means_)
    assert recorder.ended == ["iteration"] * model.n_iter_ + ["run", "fit"]
    assert len(recorder.scores) >= model.n_iter_
    assert recorder.scores[-1] == pytest.approx(model.score(X), rel=1e-12)


def test_callbacks_can_stop(X):
    """Without a warning: the user's callback stopped the fit, not max_iter."""
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    recorder = Recorder(stop_after=2)
    model = GaussianMixture(3, init_params="random", n_init=3, tol=0, random_state=0)
    model.set_callbacks(recorder).fit(X)
    assert model.n_iter_ == 2
    assert not model.converged_
    assert recorder.ended.count("run") == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_interrupted_fit_is_usable_and_continues(X, cls, monkeypatch, tmp_path):
    """The same parameters as a fit stopped by max_iter, whatever was fitted before."""
    import kernelmill
    from kernelmill.mixture import _model

    def interrupted(rows):
        expect, calls = _model_expectation(rows), []

        def limited(model):
            calls.append(1)
            if len(calls) > 3:
                raise KeyboardInterrupt
            return expect(model)

        return limited

    _model_expectation = _model.expectation
    options = {"n_components": 3, "tol": 0, "random_state": 0, "init_params": "random"}
    model = cls(warm_start=True, contamination=0.1, **options)
    with monkeypatch.context() as patch:
        patch.setattr(_model, "expectation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
    short = cls(max_iter=3, **options).fit(X)
    assert model.interrupted_
    np.testing.assert_array_equal(model.means_, short.means_)
    np.testing.assert_array_equal(model.predict(X), short.predict(X))
    kernelmill.save(model, tmp_path / "model")
    loaded = kernelmill.load(tmp_path / "model")
    for continued in (model, loaded):
        continued.set_params(max_iter=4).fit(X)
        assert not hasattr(continued, "interrupted_")
        np.testing.assert_allclose(
            continued.means_, cls(max_iter=7, **options).fit(X).means_, rtol=1e-9, atol=1e-9
        )
    with monkeypatch.context() as patch:
        patch.setattr(_model, "expectation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X[:100])
    assert not hasattr(model, "offset_")  # of the earlier fit


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts_obey_weights(X, rng, kind, init):
    """A start of one component is the weighted mean and covariance: weights are in its moments."""
    w = rng.random(len(X))
    options = {"covariance_type": kind, "init_params": init, "max_iter": 0, "random_state": 0}
    model = GaussianMixture(1, **options).fit(X, sample_weight=w)
    np.testing.assert_allclose(model.means_[0], np.average(X, axis=0, weights=w), rtol=1e-10)
    several = GaussianMixture(3, **options)
    several.fit(np.vstack([X, X + 100]), sample_weight=np.r_[w, 0 * w])
    assert (several.means_ < 50).all()
    np.testing.assert_allclose(
        several.weights_ @ several.means_, np.average(X, axis=0, weights=w), rtol=1e-9, atol=1e-9
    )


def test_starts_are_made_in_blocks(X, monkeypatch):
    from kernelmill.mixture import _densities

    def fit(init):
        return GaussianMixture(3, init_params=init, max_iter=0, random_state=0).fit(X)

    for init in ("kmeans", "random"):
        whole = fit(init)
        with monkeypatch.context() as patch:
            patch.setattr(_densities, "BLOCK_BYTES", 8 * 3 * 7)
            parts = fit(init)
        np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(parts.covariances_, whole.covariances_, rtol=1e-9, atol=1e-12)


SLOW_FIT = """
import numpy as np
from kernelmill.mixture import GaussianMixture
rng = np.random.default_rng(0)
X = rng.normal(size=(40_000, 8))
model = GaussianMixture(5, random_state=0, max_iter=5, tol=100).fit(X[:1000])
before = model.means_.copy()
model.set_params(n_components=20, n_init=1000, tol=0, max_iter=1000)
print("ready", flush=True)
try:
    model.fit(X)
except KeyboardInterrupt:
    assert np.array_equal(model.means_, before), "half a fit was left behind"
    assert model.predict(X[:5]).shape == (5,)
    print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_leaves_the_model_as_it_was():
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_FIT], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "stopped\n"
        finally:
            process.kill()
