"""Predictions some steps ahead, against the densities of what might come next, one by one."""

import itertools

import numpy as np
import pytest
from hmm_kinds import KINDS
from scipy.special import ndtri

from kernelmill.hmm import CategoricalHMM, GaussianHMM, MultinomialHMM, PoissonHMM

LEVELS = np.array([0.001, 0.1, 0.5, 0.9, 0.999])


def possible(model, X, kind):
    """For each feature the values of interest, and rows that hold them and nothing else."""
    if isinstance(model, MultinomialHMM):
        n, M = model.n_trials_, X.shape[1]
        rows = [row for row in itertools.product(range(n + 1), repeat=M) if sum(row) == n]
        return None, np.array(rows, dtype=float)
    if "Categorical" in kind.name:
        return None, np.arange(model.emissionprob_.shape[1], dtype=float)[:, None]
    whole = isinstance(model, PoissonHMM)
    grid = np.arange(80.0) if whole else np.linspace(X.min() - 50.0, X.max() + 50.0, 20_001)
    rows = np.full((X.shape[1], len(grid), X.shape[1]), np.nan)
    for j in range(X.shape[1]):
        rows[j, :, j] = grid
    return grid, rows


def densities(model, X, rows, step):
    """p(x_{T - 1 + step} | X) of each row: the steps between are missing."""
    gap = np.full((step - 1, rows.shape[1]), np.nan)
    sequences = [np.concatenate([X, gap, row[None]]) for row in rows]
    scores = model._scores(np.concatenate(sequences), [len(X) + step] * len(rows))
    return np.exp(scores - model.score(X))


@pytest.mark.parametrize("step", [1, 3])
def test_moments_and_quantiles_equal_those_of_the_density(kind, step, rng):
    X = kind.rows(rng, 30).astype(float)
    model = kind.make(2, random_state=0).fit(X)
    grid, rows = possible(model, X[:5], kind)
    found = model.predict_next(X[:5], steps=step)
    assert found.states.sum() == pytest.approx(1.0, abs=1e-12)
    if grid is None:  # all that may come
        p = densities(model, X[:5], rows, step)
        assert p.sum() == pytest.approx(1.0, rel=1e-10)
        if "Categorical" in kind.name:
            np.testing.assert_allclose(found.mean[0], p, rtol=1e-10)
            np.testing.assert_allclose(found.variance[0], p * (1 - p), rtol=1e-10)
            return
        mean = p @ rows
        np.testing.assert_allclose(found.mean[0], mean, rtol=1e-10)
        np.testing.assert_allclose(found.variance[0], p @ (rows - mean) ** 2, rtol=1e-9)
        quantiles = model.predict_next(X[:5], steps=step, quantiles=LEVELS).quantiles[0]
        for j, level in itertools.product(range(rows.shape[1]), range(len(LEVELS))):
            counts = np.bincount(rows[:, j].astype(int), weights=p)
            assert quantiles[level, j] == np.searchsorted(np.cumsum(counts), LEVELS[level])
        return
    quantiles = model.predict_next(X[:5], steps=step, quantiles=LEVELS).quantiles[0]
    for j in range(X.shape[1]):
        p = densities(model, X[:5], rows[j], step)
        if isinstance(model, PoissonHMM):
            cumulative = np.cumsum(p)
            assert quantiles[:, j].tolist() == np.searchsorted(cumulative, LEVELS).tolist()
        else:
            # The trapezoidal rule is exact for smooth densities that end within the grid.
            p *= grid[1] - grid[0]
            cumulative = np.cumsum(p) - p / 2
            at = np.interp(quantiles[:, j], grid, cumulative)
            np.testing.assert_allclose(at, LEVELS, atol=2e-5)  # of linear interpolation
        assert p.sum() == pytest.approx(1.0, abs=1e-6)
        mean = p @ grid
        assert found.mean[0, j] == pytest.approx(mean, abs=1e-6)
        assert found.variance[0, j] == pytest.approx(p @ (grid - mean) ** 2, rel=1e-4)


def test_quantiles_of_one_gaussian():
    model = GaussianHMM(1, "full")
    model.startprob_, model.transmat_ = [1.0], [[1.0]]
    model.means_, model.covars_ = [[1e6, -3.0]], [[[4.0, 0.5], [0.5, 0.25]]]
    levels = [1e-300, 0.025, 0.5, 0.975, 1 - 1e-16]
    z = np.r_[ndtri(levels[:2]), 0.0, -ndtri([1 - levels[3], 1 - levels[4]])]
    [found] = model.predict_next([[0.0, 0.0]], quantiles=levels).quantiles
    expected = np.array([1e6, -3.0]) + z[:, None] * [2.0, 0.5]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_quantiles_between_far_states():
    """Where nothing lies, the quantile is the edge: half the mass is 1e6 away."""
    model = PoissonHMM(2, random_state=0)
    model.startprob_, model.transmat_ = [0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]
    model.lambdas_ = np.array([[0.0], [1e6]])
    found = model.predict_next([[0.0]], quantiles=[0.25, 0.5, 0.75]).quantiles[0, :, 0]
    assert found[:2].tolist() == [0.0, 0.0]
    assert abs(found[2] - 1e6) < 1.0


def test_steps_and_levels_are_axes(kind, rng):
    X = kind.rows(rng, 60)
    model = kind.make(2, random_state=0).fit(X)
    levels = None if "Categorical" in kind.name else [0.1, 0.9]
    lengths, steps = [25, 35], [4, 1, 2]
    many = model.predict_next(X, lengths, steps=steps, quantiles=levels)
    assert many.states.shape == (2, 3, 2)
    for h, step in enumerate(steps):
        one = model.predict_next(X, lengths, steps=step, quantiles=levels)
        for part, whole in zip(one, many, strict=True):
            if whole is not None:
                np.testing.assert_allclose(part, whole[:, h], rtol=1e-12)
        if levels is not None:
            median = model.predict_next(X, lengths, steps=step, quantiles=0.9).quantiles
            np.testing.assert_allclose(median, one.quantiles[:, 1], rtol=1e-12)
    filter = model.filter()
    for x in X[25:]:
        filter.update(x)
    for part, whole in zip(filter.predict(steps, levels), many, strict=True):
        if whole is not None:
            np.testing.assert_allclose(part, whole[1], rtol=1e-9)


def test_far_ahead_lies_the_stationary_distribution(rng):
    X = KINDS["GaussianHMM-full"].rows(rng, 60)
    model = GaussianHMM(2, "full", random_state=0).fit(X)
    far = model.predict_next(X, steps=10**9).states[0]
    np.testing.assert_allclose(far, model.get_stationary_distribution(), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": [1, -2]}, "steps must be a whole number of at least 1"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1"),
        ({"quantiles": 0.0}, "quantiles must be a number above 0 and below 1"),
        ({"quantiles": [0.5, 1.0]}, "quantiles must be a number above 0 and below 1"),
        ({"quantiles": [0.5, np.nan]}, "quantiles must be a number above 0 and below 1"),
    ],
)
def test_predictions_that_are_none(options, message, rng):
    model = GaussianHMM(1).fit(rng.standard_normal((10, 1)))
    with pytest.raises(ValueError, match=f"GaussianHMM: {message}"):
        model.predict_next([[0.0]], **options)


def test_observations_without_quantiles(rng):
    model = CategoricalHMM(1, random_state=0).fit([[0], [1]])
    with pytest.raises(ValueError, match="quantiles must be None where symbols have no order"):
        model.predict_next([[0]], quantiles=0.5)
    model = MultinomialHMM(1, random_state=0).fit([[1, 2], [4, 0]])
    prediction = model.predict_next([[1, 2]])
    np.testing.assert_allclose(prediction.mean, model.emissionprob_, rtol=1e-15)
    with pytest.raises(ValueError, match="None where n_trials is not a single number"):
        model.predict_next([[1, 2]], quantiles=0.5)
