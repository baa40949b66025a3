"""Stepwise EM: its statistics, what it converges to, and that the parameters are all its state."""

import pickle

import numpy as np
import pytest

from kernelmill.mixture import GaussianMixture


def test_one_batch_after_a_fit_by_hand():
    """One Gaussian: moments (1 - g) s + g s_B, with g = 2^-0.7 for the second batch."""
    A, B = np.array([[0.0], [2.0]]), np.array([[5.0], [5.0], [8.0]])
    model = GaussianMixture(reg_covar=0).partial_fit(A).partial_fit(B)
    g = 2.0**-0.7
    mean = (1 - g) * A.mean() + g * B.mean()
    second = (1 - g) * (A**2).mean() + g * (B**2).mean()
    np.testing.assert_allclose(model.means_, [[mean]], rtol=1e-13)
    np.testing.assert_allclose(model.covariances_, [[[second - mean**2]]], rtol=1e-12)
    assert model.n_batches_ == 2


def test_steps_of_one_over_t_average_all_batches(X, kind):
    """learning_decay=1, learning_offset=1: for one Gaussian that is the fit to all rows at once."""
    model = GaussianMixture(covariance_type=kind, learning_decay=1.0, learning_offset=1.0)
    for batch in np.split(X, 8):
        model.partial_fit(batch)
    whole = GaussianMixture(covariance_type=kind).fit(X)
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-10)
    np.testing.assert_allclose(model.covariances_, whole.covariances_, rtol=1e-9)
    assert model.n_batches_ == 8


@pytest.mark.parametrize("missing", [False, True])
def test_it_comes_close_to_the_fit(make, rng, kind, missing):
    X = make(20_000, 3, 3, spread=4.0)
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    model = GaussianMixture(3, covariance_type=kind, random_state=0)
    for batch in np.split(X, 100):
        model.partial_fit(batch)
    whole = GaussianMixture(3, covariance_type=kind, random_state=0, n_init=3).fit(X)
    assert model.score(X) == pytest.approx(whole.score(X), abs=0.02)


def test_the_parameters_are_all_the_state(X, kind):
    one = GaussianMixture(3, covariance_type=kind, random_state=0)
    other = GaussianMixture(3, covariance_type=kind, random_state=0)
    for batch in np.split(X, 4):
        one.partial_fit(batch)
        other = pickle.loads(pickle.dumps(other.partial_fit(batch)))
    np.testing.assert_array_equal(one.means_, other.means_)
    after = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    before = after.means_.copy()
    after.partial_fit(X)
    # All rows again, at the optimum: nothing is to be gained.
    np.testing.assert_allclose(after.means_, before, atol=0.05)
    assert after.n_batches_ == 2
    assert not hasattr(after.fit(X), "n_batches_")


def test_weights_within_a_batch(X, rng):
    w = rng.integers(0, 3, size=100)
    one = GaussianMixture(2, random_state=0).fit(X)
    other = GaussianMixture(2, random_state=0).fit(X)
    one.partial_fit(X[:100], sample_weight=w)
    other.partial_fit(np.repeat(X[:100], w, axis=0))
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-10)
    np.testing.assert_allclose(one.covariances_, other.covariances_, rtol=1e-9, atol=1e-12)


def test_float32_far_from_the_origin(make):
    X = make(4000, 3, 3, np.float32, shift=1e4)
    model = GaussianMixture(3, random_state=0)
    for batch in np.split(X, 20):
        model.partial_fit(batch)
    whole = GaussianMixture(3, random_state=0).fit(X)
    assert model.means_.dtype == np.float32
    assert model.score(X) == pytest.approx(whole.score(X), abs=0.05)


def test_messages(X):
    with pytest.raises(
        ValueError, match=r"^GaussianMixture: n_components must be at most the number of rows"
    ):
        GaussianMixture(5).partial_fit(X[:4])
    model = GaussianMixture(2, random_state=0).partial_fit(X)
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3"):
        model.partial_fit(X[:, :2])


@pytest.mark.parametrize("fitted", [False, True])
def test_iterators_are_refused_in_every_call(X, fitted):
    model = GaussianMixture(2, random_state=0)
    if fitted:
        model.partial_fit(X)
    with pytest.raises(ValueError, match="X must be readable more than once, got a list_iterator"):
        model.partial_fit(iter([X]))
