"""The record of a fit, when it stops a fit, and what is said where it does not."""

import io
import warnings

import numpy as np
import pytest
from hmm_kinds import KINDS
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.hmm import CategoricalHMM, ConvergenceMonitor, GaussianHMM


def test_the_monitor(caplog):
    monitor = ConvergenceMonitor(0.5, 5, False)
    assert not monitor.converged
    monitor.report(-10.0)
    monitor.report(-9.0)
    assert not monitor.converged
    assert "history=[-10.0, -9.0]" in repr(monitor)
    monitor.report(-8.8, -8.0)
    assert not monitor.converged
    monitor.report(-8.9, -7.9)
    assert monitor.converged
    assert not caplog.records
    monitor.report(-30.0)
    assert "the objective must not fall, got -30 after -7.9" in caplog.text
    caplog.clear()
    for scale in (1e-12, 1.0, 1e12):  # of the weights of sequences, and of tol with them
        scaled = ConvergenceMonitor(1e-2 * scale, 5, False)
        scaled.report(-10.0 * scale)
        scaled.report(-10.000001 * scale)  # rounding of float32 rows
        assert not caplog.records
        scaled.report(-10.001 * scale)
        assert "must not fall" in caplog.text
        caplog.clear()
    short = ConvergenceMonitor(0.5, 2, False)
    short.report(-10.0)
    short.report(-5.0)
    assert not short.converged  # n_iter ends a fit, which has then not converged
    monitor._reset()
    assert (monitor.iter, monitor.history, monitor.objective) == (0, [], [])
    with pytest.raises(ValueError, match="malformed"):
        ConvergenceMonitor.__kernelmill_restore__({"tol": 1.0})


def test_a_monitor_of_the_users_is_not_saved_as_data(rng):
    class Mine(ConvergenceMonitor):
        pass

    model = GaussianHMM(1)
    model.monitor_ = Mine(0.1, 3, False)
    model.fit(rng.standard_normal((10, 1)))
    with pytest.raises(TypeError, match=r"GaussianHMM\._monitor must be data"):
        kernelmill.save(model, io.BytesIO())


def test_the_monitor_stops_a_fit(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 60)
    model = GaussianHMM(3, n_iter=100, tol=1e-2, random_state=0).fit(X)
    assert model.monitor_.converged
    assert 1 < model.monitor_.iter < 100
    gains = np.diff(model.monitor_.objective)
    assert gains[-1] < 1e-2
    assert (gains[:-1] >= 1e-2).all()

    class Threshold(ConvergenceMonitor):
        @property
        def converged(self):
            return self.iter == self.n_iter or self.history[-1] >= self.tol

    target = model.monitor_.history[2]
    other = GaussianHMM(3, n_iter=100, random_state=0)
    other.monitor_ = Threshold(target - 1e-9, 100, False)
    other.fit(X)
    assert other.monitor_.iter == 3
    assert type(other.monitor_) is Threshold


def test_a_failed_fit_leaves_the_users_monitor_as_it_was():
    class Mine(ConvergenceMonitor):
        pass

    model = CategoricalHMM(1, n_iter=2, init_params="", tol=-np.inf)
    model.startprob_, model.transmat_, model.emissionprob_ = [1.0], [[1.0]], [[1.0, 0.0]]
    model.monitor_ = given = Mine(0.1, 2, False)
    model.fit([[0], [0], [0]])
    for _ in range(2):
        assert model.monitor_ is given
        assert given.history == given.objective == [0.0, 0.0]
        with pytest.raises(ValueError, match="X must be possible"):
            model.fit([[0], [1]])


def test_new_parameters_reach_the_monitor(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 60)
    model = GaussianHMM(3, n_iter=2, tol=-np.inf, random_state=0).fit(X)
    assert model.monitor_.n_iter == 2
    model.set_params(n_iter=4).fit(X)
    assert model.monitor_.iter == 4


def test_a_fit_that_ends_too_early_is_warned_of(kind, rng):
    X = kind.rows(rng, 60)
    message = "did not converge in n_iter=2 iterations"
    with pytest.warns(ConvergenceWarning, match=message):
        model = kind.make(3, n_iter=2, tol=1e-9, random_state=0).fit(X)
    assert not model.monitor_.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = kind.make(3, n_iter=500, tol=1e-2, random_state=0).fit(X)
        assert done.monitor_.converged
        kind.make(3, n_iter=2, tol=-np.inf, random_state=0).fit(X)  # as many as were asked for
        kind.make(3, n_iter=0, random_state=0).fit(X)
