"""Thresholds: the share that was asked for, ties, weights, and the methods that they open."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture
from kernelmill.mixture._thresholds import threshold

ONES = np.ones(10)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.49, 0.5])
def test_as_many_as_were_asked_for(rng, share):
    scores = rng.permutation(np.arange(10.0))
    below = (scores < threshold(scores, ONES, share)).sum()
    assert below == int(10 * share + 1e-9)


def test_it_lies_half_way():
    assert threshold(np.arange(10.0), ONES, 0.2) == 1.5
    assert threshold(np.arange(10.0), ONES, 0.01) == 0.0
    close = np.array([1.0, np.nextafter(1.0, 2), 3.0])
    assert (close < threshold(close, np.ones(3), 0.4)).sum() == 1


def test_equal_scores_lie_on_one_side():
    scores = np.array([1.0, 2, 2, 2, 3, 3, 3, 3, 3, 3])
    assert (scores < threshold(scores, ONES, 0.3)).sum() == 1
    assert (scores < threshold(scores, ONES, 0.4)).sum() == 4
    assert threshold(np.ones(10), ONES, 0.5) == 1.0


def test_weights_equal_repetition(rng):
    scores, w = rng.random(50), rng.integers(0, 4, size=50)
    for share in (0.05, 0.1, 0.37, 0.5):
        repeated = np.repeat(scores, w)
        assert threshold(scores, w.astype(float), share) == threshold(
            repeated, np.ones(len(repeated)), share
        )


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_outliers_of_a_mixture(X, cls):
    model = cls(3, random_state=0, contamination=0.1, max_iter=500).fit(X)
    assert model.is_outlier(X).sum() == 40
    np.testing.assert_array_equal(model.decision_function(X) < 0, model.is_outlier(X))
    np.testing.assert_allclose(
        model.decision_function(X), model.score_samples(X) - model.offset_, rtol=1e-12
    )
    assert model.is_outlier([[1e3, 0, 0]]).tolist() == [True]
    assert set(model.predict(X)) == {0, 1, 2}  # components, as ever
    model.set_params(contamination=None).fit(X)
    assert not hasattr(model, "offset_")
    assert not hasattr(model, "decision_function")
    with pytest.raises(AttributeError):
        model.is_outlier(X)
    with pytest.raises(NotFittedError):
        cls(contamination=0.1).decision_function(X)
