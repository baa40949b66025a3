"""Acquisition functions: known values, limits, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from kernelmill.model_selection._acquisition import (
    acquisition,
    log_expected_improvement,
    log_h,
    log_probability_of_improvement,
)


def test_logarithm_of_expected_improvement():
    # 50-digit values of log(phi(z) + z Phi(z)).
    m = np.array([1.0, 5.0, 10.0, 40.0])
    value, dm, ds = log_expected_improvement(m, 1.0, 0.0)
    expected = [-2.485121, -16.744301, -55.553122, -808.298568]
    np.testing.assert_allclose(value, expected, atol=1e-6, rtol=0)
    assert np.isfinite(dm).all()
    assert np.isfinite(ds).all()


def test_without_deviation_there_is_no_division():
    value, dm, ds = log_expected_improvement(np.array([-2.0, 0.0, 3.0]), 0.0, 0.0)
    assert np.exp(value).tolist() == pytest.approx([2.0, 0.0, 0.0])
    assert not np.isnan([*dm, *ds]).any()
    value, dm, ds = log_probability_of_improvement(np.array([-2.0, 0.0, 3.0]), 0.0, 0.0)
    assert np.exp(value).tolist() == [1.0, 0.0, 0.0]
    assert not np.isnan([*dm, *ds]).any()


@pytest.mark.parametrize("z", [-3.0, -0.5, 0.0, 0.7, 4.0])
def test_expectation_is_an_integral(z):
    def integrand(f):
        return max(z - f, 0.0) * np.exp(-0.5 * f * f) / np.sqrt(2 * np.pi)

    expected = quad(integrand, -12, z)[0]
    assert np.exp(log_h(np.array([z]))[0][0]) == pytest.approx(expected, rel=1e-8)


def test_both_forms_meet():
    """At t = 50 the closed form ends; at 0 the two halves do."""
    for at, gap in ((-50.0, 1e-9), (0.0, 1e-12)):
        (a, b), (p, q) = log_h(np.array([at - gap, at + gap]))
        assert a == pytest.approx(b, rel=1e-7, abs=1e-10)
        assert p == pytest.approx(q, rel=1e-7)
    # log h(z) = -z^2 / 2 - log sqrt(2 pi) - 2 log|z| + O(z^-2)
    z = -1e8
    value, slope = log_h(np.array([z]))
    assert value[0] == pytest.approx(-0.5 * z * z - 0.9189385 - 2 * np.log(-z), rel=1e-15)
    assert slope[0] == pytest.approx(-z, rel=1e-12)


@pytest.mark.parametrize("name", ["EI", "PI", "UCB"])
def test_derivatives_are_differences(name):
    rng = np.random.default_rng(0)
    m, s = rng.normal(size=200) * 4, rng.uniform(0.05, 2, 200)
    h = 1e-6
    value, dm, ds = acquisition(name, m, s, -0.5, 0.1, 1.5)
    up, down = (acquisition(name, m + k * h, s, -0.5, 0.1, 1.5)[0] for k in (1, -1))
    np.testing.assert_allclose(dm, (up - down) / (2 * h), rtol=1e-5, atol=1e-6)
    up, down = (acquisition(name, m, s + k * h, -0.5, 0.1, 1.5)[0] for k in (1, -1))
    np.testing.assert_allclose(ds, (up - down) / (2 * h), rtol=1e-4, atol=1e-4)
    assert np.isfinite(value).all()


def test_least_improvement_counts():
    plain = acquisition("EI", np.zeros(1), np.ones(1), 0.0, 0.0, 0.0)[0]
    wanting = acquisition("EI", np.zeros(1), np.ones(1), 0.0, 1.0, 0.0)[0]
    assert wanting < plain
    assert acquisition("UCB", np.array([2.0]), np.array([3.0]), 0, 0, 2.0)[0][0] == 4.0
