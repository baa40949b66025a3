"""AffinityPropagation beside scikit-learn, on equals and on what does not settle."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster as peer
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.cluster import AffinityPropagation, affinity_propagation


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damping", [0.5, 0.9])
def test_beside_scikit_learn(seed, damping):
    X = make_blobs(150, 3, centers=4, random_state=seed)[0]
    options = {"damping": damping, "preference": -50.0, "random_state": 0}
    ours, other = AffinityPropagation(**options).fit(X), peer.AffinityPropagation(**options).fit(X)
    np.testing.assert_array_equal(ours.labels_, other.labels_)
    np.testing.assert_array_equal(ours.cluster_centers_indices_, other.cluster_centers_indices_)
    assert ours.n_iter_ == other.n_iter_
    np.testing.assert_array_equal(ours.cluster_centers_, X[ours.cluster_centers_indices_])
    np.testing.assert_array_equal(ours.predict(X), other.predict(X))
    S = ours.affinity_matrix_
    exemplars, labels, steps = affinity_propagation(
        S, preference=-50.0, damping=damping, random_state=0, return_n_iter=True
    )
    np.testing.assert_array_equal(labels, ours.labels_)
    assert steps == ours.n_iter_
    # The net similarity is no less than that of any one exemplar.
    net = -50.0 * len(exemplars) + S[np.arange(150), exemplars[labels]].sum()
    assert net >= (S.sum(axis=0) - S.diagonal() - 50).max()


def test_preferences():
    X = make_blobs(90, 2, centers=3, random_state=0)[0]
    few = AffinityPropagation(preference=-500, random_state=0).fit(X)
    many = AffinityPropagation(preference=-1, random_state=0).fit(X)
    assert len(few.cluster_centers_) < len(many.cluster_centers_)
    wanted = np.full(90, -1e6)
    wanted[[3, 7]] = 0
    model = AffinityPropagation(preference=wanted, random_state=0).fit(X)
    assert set(model.cluster_centers_indices_) == {3, 7}
    with pytest.raises(ValueError, match=r"preference must have shape \(90,\), got \(89,\)"):
        AffinityPropagation(preference=wanted[1:]).fit(X)


def test_equal_similarities():
    S = np.full((4, 4), -1.0)
    for preference, words, labels in (
        (-0.5, "each is an exemplar", [0, 1, 2, 3]),
        (-2.0, "the first is an exemplar", [0, 0, 0, 0]),
        (-1.0, "the first is an exemplar", [0, 0, 0, 0]),
    ):
        with pytest.warns(UserWarning, match=f"all rows are equally similar, so {words}"):
            assert affinity_propagation(S, preference=preference)[1].tolist() == labels
    with pytest.warns(UserWarning, match="the first is an exemplar"):
        assert AffinityPropagation().fit_predict(np.zeros((8, 1))).tolist() == [0] * 8


def test_what_does_not_settle():
    X = make_blobs(60, 2, centers=3, random_state=0)[0]
    with pytest.warns(ConvergenceWarning, match="exemplars did not settle in max_iter=2"):
        model = AffinityPropagation(max_iter=2, random_state=0).fit(X)
    with pytest.warns(ConvergenceWarning, match="all labels are -1"):
        assert (model.predict(X[:3]) == -1).all()
    with pytest.raises(ValueError, match="X must be square for affinity='precomputed'"):
        AffinityPropagation(affinity="precomputed").fit(X)


def test_sparse_rows():
    X = np.round(make_blobs(60, 3, centers=3, random_state=0)[0])
    want = AffinityPropagation(random_state=0).fit(X)
    model = AffinityPropagation(random_state=0).fit(sp.csr_matrix(X))
    np.testing.assert_array_equal(model.labels_, want.labels_)
    np.testing.assert_array_equal(model.cluster_centers_.toarray(), want.cluster_centers_)
    for fitted in (model, want):
        for queries in (X, sp.csc_array(X)):
            np.testing.assert_array_equal(fitted.predict(queries), want.labels_)
    with pytest.raises(TypeError, match="X must be dense for affinity='precomputed'"):
        AffinityPropagation(affinity="precomputed").fit(sp.csr_matrix(X[:3]))


def test_bits_and_scale():
    X = make_blobs(80, 2, centers=3, random_state=1)[0]
    want = AffinityPropagation(random_state=0).fit(X)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            got = AffinityPropagation(random_state=0).fit(X)
            np.testing.assert_array_equal(got.labels_, want.labels_)
    for c in (2.0**-200, 2.0**200):
        got = AffinityPropagation(random_state=0).fit(c * X)
        np.testing.assert_array_equal(got.labels_, want.labels_)
