"""Rules accept what they say, and their words complete "must be"."""

import math

import numpy as np
import pytest

from kernelmill._estimator import _parameters as rule
from kernelmill.cluster import HDBSCAN
from kernelmill.gaussian_process import GaussianProcessRegressor
from kernelmill.hmm import GaussianHMM
from kernelmill.mixture import GaussianMixture
from kernelmill.neighbors import KernelDensity


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (rule.integer(1), [1, np.int32(7), 10**30], [0, -1, 1.0, True, "1", None, np.float64(2)]),
        (rule.real(0), [0, 0.5, np.float32(2), 3], [-1e-9, math.nan, math.inf, "0", True, None]),
        (rule.real(0, above=True), [1e-300], [0, 0.0]),
        (rule.real(0, high=1), [0, 1], [1.0001]),
        (rule.one_of("a", "b"), ["a", "b"], ["c", None, 1, ["a"], np.array(["a", "b"])]),
        (rule.one_of("a", None), ["a", None], ["None", 0]),
        (rule.boolean(), [True, np.False_], [0, 1, "True", None]),
        (rule.array("(n,)"), [[1], (1,), np.zeros(2)], ["text", 1, None, list]),
        (rule.function("(X)"), [len, lambda X: X], [list, "len", None]),
        (rule.nothing(), [None], [0, False, ""]),
        (rule.finite(), [0, -1.5, 2**70], [math.nan, math.inf, None, "1", np.ones(2)]),
        (rule.infinity(), [math.inf, np.float32("inf")], [-math.inf, 1, None, np.full(2, np.inf)]),
        (rule.DEVICE, [None, "cpu"], ["tpu", 0, np.ones(2), ["cpu", "cpu"]]),
        (rule.any_of(rule.integer(2), rule.nothing()), [2, None], [1, "x"]),
        (
            rule.RANDOM_STATE,
            [None, 0, 2**32 - 1, np.random.RandomState(0), np.random.default_rng(0)],
            [-1, 2**32, 1.5, "0", np.random],
        ),
        (rule.VERBOSE, [0, 3, True], [-1, 0.5, "yes"]),
    ],
)
def test_rules(constraint, good, bad):
    for value in good:
        assert constraint.accepts(value), value
    for value in bad:
        assert not constraint.accepts(value), value
    assert constraint.words


class Model:
    _parameters = {"k": rule.integer(1), "mode": rule.one_of("x", "y")}  # noqa: RUF012

    def __init__(self, k=1, mode="x"):
        self.k, self.mode = k, mode


def test_check_parameters_names_class_parameter_and_value():
    rule.check_parameters(Model())
    with pytest.raises(
        rule.InvalidParameterError, match=r"^Model: k must be a whole number of at least 1, got 0$"
    ):
        rule.check_parameters(Model(k=0))
    with pytest.raises(ValueError, match=r"^Model: mode must be one of 'x', 'y', got 'z'$"):
        rule.check_parameters(Model(mode="z"))
    with pytest.raises(TypeError, match=r"got str 'aaa"):
        rule.check_parameters(Model(mode="a" * 500))


@pytest.mark.parametrize("value", [-1, 2.0, True, None, "a", [2]])
def test_numbers_of_draws_are_whole(value):
    rows = np.random.default_rng(0).normal(size=(12, 2))
    for model, method in (
        (GaussianProcessRegressor(optimizer=None), lambda m: m.sample_y(rows[:2], value)),
        (KernelDensity(), lambda m: m.sample(value)),
        (GaussianHMM(tol=1e9), lambda m: m.sample(value)),
        (GaussianMixture(), lambda m: m.sample(value)),
        (HDBSCAN(), lambda m: m.dbscan_clustering(0.5, value)),
    ):
        fitted = model.fit(rows, rows[:, 0]) if hasattr(model, "sample_y") else model.fit(rows)
        with pytest.raises(ValueError, match=f"{type(model).__name__}: .* must be a whole number"):
            method(fitted)
    if isinstance(value, str | list | None):
        with pytest.raises(ValueError, match="HDBSCAN: cut_distance must be a number, got"):
            fitted.dbscan_clustering(value)
