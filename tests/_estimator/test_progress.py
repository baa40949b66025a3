"""Bars under verbose, scikit-learn's callbacks where they exist, nothing otherwise."""

import logging

import numpy as np
import pytest

from kernelmill._estimator import _progress
from kernelmill._estimator._progress import Progress
from kernelmill.cluster import KMeans

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")

X = np.random.default_rng(0).normal(size=(300, 3))
START = X[:5]


class Recorder:
    """Writes down the tasks it hears of; stops after some iterations."""

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.models = [], [], []
        self.stop_after = stop_after
        self.torn_down = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.models.append(fitted_estimator.score(X))
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_after


def test_callbacks_hear_of_every_iteration():
    recorder = Recorder()
    model = KMeans(5, init=START).set_callbacks(recorder).fit(X)
    quiet = KMeans(5, init=START).fit(X)
    np.testing.assert_array_equal(model.labels_, quiet.labels_)
    assert model.n_iter_ == quiet.n_iter_
    assert recorder.ended == ["iteration"] * model.n_iter_ + ["run", "fit"]
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.torn_down == 1
    # Models of the iterations get better, and the last one is the fitted one.
    scores = recorder.models
    assert np.all(np.diff(scores) >= -1e-9 * abs(scores[0]))
    assert scores[-1] == pytest.approx(-model.inertia_, rel=1e-12)


def test_callbacks_can_stop():
    recorder = Recorder(stop_after=2)
    model = KMeans(5, init="random", n_init=3, random_state=0).set_callbacks(recorder).fit(X)
    assert model.n_iter_ == 2
    assert recorder.ended.count("run") == 1


def test_teardown_happens_when_fit_fails():
    recorder = Recorder()
    recorder.on_fit_task_end = None  # calling it raises
    model = KMeans(5, init=START).set_callbacks(recorder)
    with pytest.raises(TypeError):
        model.fit(X)
    assert recorder.torn_down == 1
    assert not hasattr(model, "cluster_centers_")
    assert not hasattr(model, "_callback_fit_ctx")


def test_scoring_monitor():
    monitor = callback.ScoringMonitor(scoring="rand_score")
    model = KMeans(5, init=START).set_callbacks(monitor)
    model.fit(X, y=np.zeros(len(X), dtype=int))
    assert model.labels_.shape == (300,)


def test_progress_bar():
    pytest.importorskip("rich", reason="scikit-learn's bar needs rich")
    model = KMeans(5, init=START).set_callbacks(callback.ProgressBar())
    assert model.fit(X).n_iter_ > 1


def test_bar_shows_iterations_and_objective(capfd):
    model = KMeans(5, init=START, verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{model.n_iter_}/{model.n_iter_}" in err
    assert "objective=" in err
    quiet = KMeans(5, init=START).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, quiet.cluster_centers_)


def test_silence_by_default(capfd):
    KMeans(5, n_init=3, init="random", random_state=0).fit(X).predict(X)
    assert capfd.readouterr() == ("", "")


def test_log(caplog):
    with caplog.at_level(logging.DEBUG, logger="kernelmill"):
        KMeans(5, n_init=2, random_state=0).fit(X)
    assert [record.getMessage()[:20] for record in caplog.records] == [
        "KMeans: run 1 of 2: ",
        "KMeans: run 2 of 2: ",
    ]


def test_objective_is_asked_for_now_and_then_only(monkeypatch, capfd):
    clock = iter(np.arange(0, 1000, 0.01))
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: next(clock))
    asked = []
    with Progress(KMeans(), verbose=1, iterations=1000) as progress:
        progress.begin_run()
        for _ in range(1000):
            progress.step(objective=lambda: asked.append(1) or 0.0)
    assert 10 < len(asked) < 50
    capfd.readouterr()


def test_old_scikit_learn_has_stand_ins(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    try:
        fresh = importlib.reload(_progress)
        assert not hasattr(fresh.CallbackSupportMixin, "set_callbacks")
        assert fresh.with_callbacks(len) is len
        with fresh.Progress(KMeans(), verbose=0) as progress:
            assert not progress.listening
    finally:
        monkeypatch.undo()
        importlib.reload(_progress)
