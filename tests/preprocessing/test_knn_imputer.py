"""KNNImputer against scikit-learn, its definition, and inputs on which others failed."""

import numpy as np
import pytest
import sklearn.impute

import kernelmill
from kernelmill.preprocessing import KNNImputer


def gapped(rng, n, d, share=0.2):
    X = rng.normal(size=(n, d))
    X[rng.random((n, d)) < share] = np.nan
    return X


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 4, 300])
def test_values_are_those_of_scikit_learn(rng, weights, k):
    X, Z = gapped(rng, 250, 6), gapped(rng, 60, 6)
    ours = KNNImputer(n_neighbors=k, weights=weights).fit(X)
    peer = sklearn.impute.KNNImputer(n_neighbors=k, weights=weights).fit(X)
    np.testing.assert_allclose(ours.transform(Z), peer.transform(Z), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.transform(X), peer.transform(X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("keep", [False, True])
def test_indicators_and_empty_features(rng, keep):
    X = gapped(rng, 80, 5)
    X[:, 2] = np.nan
    X[:, 4] = rng.normal(size=80)  # without ties, which others break in no order
    options = {"add_indicator": True, "keep_empty_features": keep}
    ours, peer = KNNImputer(**options).fit(X), sklearn.impute.KNNImputer(**options).fit(X)
    np.testing.assert_allclose(ours.transform(X), peer.transform(X), rtol=1e-10, atol=1e-12)
    names = ours.get_feature_names_out()
    assert len(names) == ours.transform(X).shape[1]
    if not keep:  # scikit-learn 1.9.1 does not name the features that it keeps
        np.testing.assert_array_equal(names, peer.get_feature_names_out())


def test_a_number_may_stand_for_missing(rng):
    X = rng.integers(0, 5, (50, 3)).astype(float)
    marked = np.where(X == 0, np.nan, X)
    got = KNNImputer(missing_values=0).fit_transform(X)
    np.testing.assert_array_equal(got, KNNImputer().fit_transform(marked))


def test_functions(rng):
    from sklearn.metrics.pairwise import nan_euclidean_distances

    def metric(x, y, missing_values):
        return nan_euclidean_distances([x], [y], missing_values=missing_values)[0, 0]

    X = gapped(rng, 40, 4)
    want = KNNImputer(n_neighbors=3).fit_transform(X)
    rules = [lambda d: np.where(np.isnan(d), 0, 1), lambda d: d * 0 + 2, lambda d: None]
    for options in ({"metric": metric}, *({"weights": rule} for rule in rules)):
        got = KNNImputer(n_neighbors=3, **options).fit_transform(X)
        np.testing.assert_allclose(got, want, rtol=1e-12)
    with pytest.raises(ValueError, match=r"weights must give an array of shape \(\d+, 3\)"):
        KNNImputer(n_neighbors=3, weights=lambda d: d[0]).fit_transform(X)


def test_donors_without_a_common_coordinate():
    """scikit-learn/scikit-learn#29079, elixir-nx/scholar#364"""
    model = KNNImputer(n_neighbors=2).fit([[1, 1], [np.nan, 2]])
    assert model.transform([[0, np.nan]]).tolist() == [[0, 1]]
    # No row shares a feature: the mean, not the first rows of the table.
    model = KNNImputer(n_neighbors=1).fit([[1.0, np.nan], [3.0, np.nan], [np.nan, 5.0]])
    assert model.transform([[np.nan, 4.0]]).tolist() == [[2.0, 4.0]]


def test_float32_is_kept_and_threads_change_nothing(rng):
    X = gapped(rng, 400, 5).astype(np.float32)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            found.append(KNNImputer().fit_transform(X))
    assert found[0].dtype == np.float32
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
