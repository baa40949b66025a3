"""Maps by eigenvectors and majorisation, beside scikit-learn's and their definitions."""

import io

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.manifold as peer
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.isotonic import IsotonicRegression

import kernelmill
from kernelmill.manifold import (
    MDS,
    ClassicalMDS,
    Isomap,
    LocallyLinearEmbedding,
    SpectralEmbedding,
    _principal,
    locally_linear_embedding,
    smacof,
    spectral_embedding,
    trustworthiness,
)
from kernelmill.manifold._locally_linear import barycenters, matrix_of
from kernelmill.manifold._mds import _Order
from kernelmill.manifold._principal import principal
from kernelmill.neighbors import NearestNeighbors


def roll(n, seed=0):
    X, t = make_swiss_roll(n, random_state=seed)
    arc = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2  # isometric coordinates of the sheet
    return X, np.stack([arc, X[:, 1]], axis=1)


def aligned(a, b):
    return a * np.sign((a * b).sum(axis=0))


def close(a, b, atol=1e-6):
    np.testing.assert_allclose(aligned(a, b), b, rtol=0, atol=atol * np.abs(b).max())


# --- locally linear embeddings ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["standard", "modified", "ltsa"])
@pytest.mark.parametrize("n", [300, 900])  # all eigenvectors, and Lanczos' iteration
def test_locally_linear(method, n):
    X = roll(n)[0]
    ours = LocallyLinearEmbedding(n_neighbors=12, method=method).fit(X)
    other = peer.LocallyLinearEmbedding(n_neighbors=12, method=method, eigen_solver="dense").fit(X)
    close(ours.embedding_, other.embedding_, 1e-5)
    np.testing.assert_allclose(
        ours.reconstruction_error_, other.reconstruction_error_, rtol=1e-4, atol=1e-12
    )
    np.testing.assert_allclose((ours.embedding_**2).sum(axis=0), 1, rtol=1e-10)


def test_hessian_maps_find_the_sheet():
    """Affine functions of isometric coordinates have no second derivatives."""
    X, sheet = roll(900)
    for method in ("hessian", "ltsa"):
        Y = LocallyLinearEmbedding(n_neighbors=14, method=method).fit_transform(X)
        A = np.column_stack([Y, np.ones(900)])
        rest = sheet - A @ np.linalg.lstsq(A, sheet, rcond=None)[0]
        assert (rest.var(axis=0) < 0.01 * sheet.var(axis=0)).all()


def test_hessians_of_a_plane_vanish(rng):
    """On a flat sheet linear functions give 0, and squares do not."""
    X = rng.normal(size=(80, 2))
    near = NearestNeighbors(n_neighbors=10).fit(X).kneighbors(return_distance=False)
    options = {"reg": 1e-3, "hessian_tol": 1e-4, "modified_tol": 1e-12}
    for method in ("hessian", "ltsa", "modified", "standard"):
        M = matrix_of(X, near, method, 2, **options)
        assert np.abs(M @ np.ones(80)).max() < 1e-10
        assert np.linalg.eigvalsh(M.toarray()).min() > -1e-10
        if method in ("hessian", "ltsa"):
            assert np.abs(M @ X).max() < 1e-10
            assert np.abs(M @ (X[:, 0] * X[:, 1])).max() > 1e-2


def test_weights(rng):
    X, Q = rng.normal(size=(30, 4)), rng.normal(size=(7, 4))
    near = NearestNeighbors(n_neighbors=5).fit(X).kneighbors(Q, return_distance=False)
    w = barycenters(Q, X, near, 1e-3)
    np.testing.assert_allclose(w.sum(axis=1), 1, rtol=1e-12)
    for i in range(7):
        G = (X[near[i]] - Q[i]) @ (X[near[i]] - Q[i]).T
        want = np.linalg.solve(G + 1e-3 * np.trace(G) * np.eye(5), np.ones(5))
        np.testing.assert_allclose(w[i], want / want.sum(), rtol=1e-10)
    np.testing.assert_allclose(barycenters(X[:1], X[[0] * 6], np.arange(5)[None], 1e-3), 0.2)


def test_no_row_is_its_own_neighbour():
    """scikit-learn/scikit-learn#34275, scikit-learn/scikit-learn#29715"""
    X = np.array([[0.0, 1], [0, 1], [-1, 2], [1, 3], [2, 2], [0, 4]])
    model = LocallyLinearEmbedding(n_neighbors=2, n_components=1).fit(X)
    assert np.isfinite(model.embedding_).all()
    near = model._nearest(None, 2)[1]
    assert (near != np.arange(6)[:, None]).all()
    with pytest.raises(ValueError, match="n_neighbors must be less than the number of rows, 6"):
        LocallyLinearEmbedding(n_neighbors=6).fit(X)
    with pytest.raises(ValueError, match="n_neighbors must be at least 6 for method='hessian'"):
        LocallyLinearEmbedding(n_neighbors=5, method="hessian").fit(X)


def test_new_rows_on_a_locally_linear_map():
    X, _ = roll(600)
    model = LocallyLinearEmbedding(n_neighbors=12).fit(X[:500])
    other = peer.LocallyLinearEmbedding(n_neighbors=12, eigen_solver="dense").fit(X[:500])
    close(model.transform(X[500:]), other.transform(X[500:]), 1e-5)
    Y, error = locally_linear_embedding(X[:500], n_neighbors=12, n_components=2)
    np.testing.assert_array_equal(Y, model.embedding_)
    assert error == model.reconstruction_error_


# --- Isomap ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"n_neighbors": 8},
        {"n_neighbors": None, "radius": 6.0},
        {"n_neighbors": None, "radius": np.inf},
    ],
)
def test_isomap(options):
    X = roll(500)[0]
    ours, other = Isomap(**options).fit(X[:400]), peer.Isomap(**options).fit(X[:400])
    close(ours.embedding_, other.embedding_)
    np.testing.assert_allclose(ours.dist_matrix_, other.dist_matrix_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.reconstruction_error(), other.reconstruction_error(), rtol=1e-6)
    close(ours.transform(X[400:]), other.transform(X[400:]))


@pytest.mark.filterwarnings("ignore:Isomap. the graph of neighbours has:UserWarning")
@pytest.mark.parametrize(
    "metric", ["minkowski", "cosine", "sqeuclidean", "seuclidean", "haversine"]
)
def test_the_rows_of_fit_can_be_searched(rng, metric):
    X = rng.uniform(0.1, 1, (150, 2)) * (1 if metric == "haversine" else 40)
    model = Isomap(n_neighbors=6, metric=metric).fit(X)
    assert "nbrs_" in dir(model)
    peer_model = NearestNeighbors(n_neighbors=6, metric=metric).fit(X)
    for queries in (None, X[:9] + 0.01):
        got, want = model.nbrs_.kneighbors(queries), peer_model.kneighbors(queries)
        np.testing.assert_array_equal(got[1], want[1])
        np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
    embedding = model.kernel_pca_.fit_transform(-0.5 * model.dist_matrix_**2)
    close(embedding, model.embedding_)
    nearest = LocallyLinearEmbedding(n_neighbors=4).fit(X).nbrs_
    want = NearestNeighbors(n_neighbors=4).fit(X).kneighbors()
    np.testing.assert_array_equal(nearest.kneighbors()[0], want[0])


def test_isomap_unrolls():
    X, sheet = roll(700)
    Y = Isomap(n_neighbors=10).fit_transform(X)  # more rows than are solved whole
    A = np.column_stack([Y, np.ones(700)])
    rest = sheet - A @ np.linalg.lstsq(A, sheet, rcond=None)[0]
    assert (rest.var(axis=0) < 0.02 * sheet.var(axis=0)).all()


def test_parts_are_connected_by_their_closest_rows(rng):
    X = np.vstack([rng.normal(size=(20, 2)), rng.normal(size=(20, 2)) + 50])
    with pytest.warns(UserWarning, match="has 2 parts"):
        model = Isomap(n_neighbors=4).fit(X)
    gap = np.sqrt(((X[:20, None] - X[None, 20:]) ** 2).sum(axis=2))
    i, j = np.unravel_index(gap.argmin(), gap.shape)
    assert model.dist_matrix_[i, 20 + j] == pytest.approx(gap.min())
    assert np.isfinite(model.dist_matrix_).all()
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    with pytest.warns(UserWarning, match="has 2 parts"):
        given = Isomap(n_neighbors=4, metric="precomputed").fit(D)
    np.testing.assert_allclose(given.dist_matrix_, model.dist_matrix_, rtol=1e-12)


def test_isomap_of_equal_rows():
    X = np.repeat([[0.0], [1.0], [2.0]], 3, axis=0)
    for path_method in ("D", "FW"):
        model = Isomap(n_neighbors=4, n_components=1, path_method=path_method).fit(X)
        np.testing.assert_array_equal(model.dist_matrix_[0], [0, 0, 0, 1, 1, 1, 2, 2, 2])
        np.testing.assert_allclose(np.abs(np.diff(model.embedding_[::3, 0])), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="n_neighbors or radius must be None, and not both"):
        Isomap(n_neighbors=4, radius=1.0).fit(X)


# --- spectral embedding ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [200, 700])
@pytest.mark.parametrize("affinity", ["nearest_neighbors", "rbf"])
def test_spectral_embedding(rng, n, affinity):
    X = rng.normal(size=(n, 2))
    options = {"affinity": affinity, "n_neighbors": 12}
    ours = SpectralEmbedding(**options).fit(X)
    other = peer.SpectralEmbedding(**options, eigen_tol=1e-13, random_state=0).fit(X)
    close(ours.embedding_, other.embedding_, 1e-5)
    given = SpectralEmbedding(affinity="precomputed").fit(ours.affinity_matrix_)
    close(given.embedding_, ours.embedding_)


def test_a_path_of_four_nodes():
    """scikit-learn/scikit-learn#8129"""
    A = np.array([[0.0, 1, 0, 0], [1, 0, 2, 0], [0, 2, 0, 1], [0, 0, 1, 0]])
    for W in (A, sp.csr_matrix(A)):
        f = SpectralEmbedding(1, affinity="precomputed").fit_transform(W).ravel()
        np.testing.assert_allclose(f / f[0], [1, 1 / 3, -1 / 3, -1], rtol=1e-12)
    f = spectral_embedding(A, n_components=2, norm_laplacian=False, drop_first=False)
    L = np.diag(A.sum(axis=0)) - A
    np.testing.assert_allclose(f[:, 1] @ L @ f[:, 1], np.linalg.eigvalsh(L)[1], rtol=1e-12)
    np.testing.assert_allclose(f[:, 0], 0.5, rtol=1e-12)
    for lacking in (np.zeros((0, 0)), np.zeros((2, 3)), np.zeros(4)):
        with pytest.raises(ValueError, match="adjacency must be square with nodes, got shape"):
            spectral_embedding(lacking)
    with pytest.raises(ValueError, match="adjacency must be finite and at least 0"):
        spectral_embedding(-A)
    with pytest.warns(UserWarning, match="adjacency is not symmetric"):
        spectral_embedding(np.triu(A), n_components=1)
    with pytest.warns(UserWarning, match="the graph has 2 parts"):
        spectral_embedding(np.kron(np.eye(2), [[0, 1], [1, 0]]), n_components=1)


# --- scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [1200, 3])
@pytest.mark.parametrize("shape", [(50, 4), (30, 80)])
def test_principal_components(rng, shape, whole, monkeypatch):
    """By products of features, of rows, and by Lanczos' iteration."""
    monkeypatch.setattr(_principal, "_WHOLE", whole)
    scales = np.append(20, np.linspace(9, 1, shape[1] - 1))
    X = rng.normal(size=shape) * scales + 100
    want = PCA(2, svd_solver="full").fit_transform(X)
    for given in (X, sp.csr_matrix(X)):
        close(principal(given, 2, 0), want, 1e-6)


def test_principal_components_that_lack():
    """Directions without variance start at random, as wide as the last that has some."""
    Y = principal(np.arange(9.0)[:, None], 2, 0)
    assert np.linalg.matrix_rank(Y) == 2
    assert 0.2 < Y[:, 1].std() / Y[:, 0].std() < 5
    assert np.linalg.matrix_rank(principal(np.ones((9, 3)), 2, 0)) == 2


@pytest.mark.parametrize("n", [200, 700])
def test_few_eigenvectors_of_many_rows(n):
    """By a Krylov space: also a pair of equal eigenvalues, few dimensions, none at all."""
    t = np.arange(n) * 2 * np.pi / n
    ring = np.column_stack([np.cos(t), np.sin(t), np.zeros(n)])
    model = ClassicalMDS(3).fit(ring)
    np.testing.assert_allclose(model.eigenvalues_, [n / 2, n / 2, 0], atol=1e-12 * n)
    np.testing.assert_allclose(model.embedding_ @ model.embedding_.T, ring @ ring.T, atol=1e-13 * n)
    assert not ClassicalMDS(2).fit(np.ones((n, 3))).embedding_.any()


def test_classical_scaling_is_principal_components(rng):
    for shape in ((40, 3), (700, 4)):
        X = rng.normal(size=shape) * np.arange(1, shape[1] + 1)
        ours = ClassicalMDS().fit(X)
        close(ours.embedding_, PCA(2).fit_transform(X), 1e-9)
        values = np.linalg.svd(X - X.mean(axis=0))[1][:2] ** 2
        np.testing.assert_allclose(ours.eigenvalues_, values, rtol=1e-9)
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    close(ClassicalMDS(metric="precomputed").fit_transform(D), ours.embedding_, 1e-9)
    with pytest.raises(ValueError, match="X must be symmetric for metric='precomputed'"):
        ClassicalMDS(metric="precomputed").fit(np.triu(D))


@pytest.mark.parametrize("n", [50, 610])  # all of the matrix, and Lanczos' iteration
def test_rows_at_one_place(n):
    for places in (
        ClassicalMDS(2, metric="precomputed").fit_transform(np.zeros((n, n))),
        ClassicalMDS(2).fit_transform(np.ones((n, 3))),
        Isomap(eigen_solver="arpack").fit_transform(np.ones((n, 3))),
    ):
        np.testing.assert_array_equal(places, np.zeros((n, 2)))
    assert np.isfinite(principal(sp.csr_array((n, 3)), 2, 0)).all()


def test_a_start_may_be_given_to_fit(rng):
    X, start = rng.normal(size=(15, 3)), rng.normal(size=(15, 2))
    want = MDS(init=start, max_iter=5).fit_transform(X)
    np.testing.assert_array_equal(MDS(max_iter=5).fit_transform(X, init=start), want)
    np.testing.assert_array_equal(MDS(max_iter=5).fit(X, None, start).embedding_, want)
    for bad in (start + np.nan, "random"):
        with pytest.raises(ValueError, match="MDS: init must"):
            MDS().fit(X, init=bad)


def test_more_dimensions_than_there_are():
    model = ClassicalMDS(3).fit([[0.0], [1.0], [3.0]])
    np.testing.assert_allclose(model.embedding_[:, 1:], 0, atol=1e-7)


@pytest.mark.parametrize("metric_mds", [True, False])
def test_stress_falls(rng, metric_mds):
    X = rng.normal(size=(40, 5))
    stresses = [
        MDS(metric_mds=metric_mds, max_iter=steps, eps=0, init="random", random_state=0)
        .fit(X)
        .stress_
        for steps in (1, 2, 3, 5, 9, 20, 60)
    ]
    assert (np.diff(stresses) < 0).all()


@pytest.mark.parametrize("metric_mds", [True, False])
def test_mds_beside_scikit_learn(rng, metric_mds):
    X = rng.normal(size=(50, 5))
    start = rng.normal(size=(50, 2))
    options = {"metric_mds": metric_mds, "n_init": 1, "max_iter": 500, "eps": 1e-9}
    ours = MDS(init=start, **options).fit(X)
    other = peer.smacof(
        ours.dissimilarity_matrix_, metric=metric_mds, init=start, n_init=1, max_iter=500, eps=1e-9
    )
    np.testing.assert_allclose(ours.stress_, other[1], rtol=1e-2)
    D = np.sqrt(((ours.embedding_[:, None] - ours.embedding_[None]) ** 2).sum(axis=2))
    if metric_mds:
        want = ((D - ours.dissimilarity_matrix_) ** 2).sum() / 2
        np.testing.assert_allclose(ours.stress_, want, rtol=1e-9)


def test_equal_distances_have_one_disparity(rng):
    """The isotonic regression on distances with ties, all pairs counted."""
    Y = rng.normal(size=(14, 2))
    D = np.round(rng.uniform(1, 4, (14, 14)))
    D = np.triu(D, 1) + np.triu(D, 1).T
    h = _Order(D)(_distances(Y))
    pairs = np.triu_indices(14, 1)
    want = IsotonicRegression().fit_transform(D[pairs], _distances(Y)[pairs])
    np.testing.assert_allclose(h[pairs], want * np.sqrt(91 / (want @ want)), rtol=1e-10)
    np.testing.assert_array_equal(h, h.T)


def test_order_alone_counts(rng):
    """A map of the cubes of distances is a map of the distances."""
    X = rng.normal(size=(30, 2))
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    model = MDS(metric_mds=False, metric="precomputed", max_iter=2000, eps=1e-12, random_state=0)
    assert model.fit(D**3).stress_ < 0.02
    Y, stress, steps = smacof(D, init=X, return_n_iter=True)
    assert stress < 1e-20
    assert steps <= 2
    np.testing.assert_allclose(_distances(Y), D, atol=1e-12)


def test_best_of_several_starts(rng):
    X = rng.normal(size=(25, 6))
    one = [MDS(init="random", random_state=0, n_init=k).fit(X).stress_ for k in (1, 4)]
    assert one[1] <= one[0]
    np.testing.assert_allclose(
        MDS(normalized_stress=True).fit(X).stress_,
        np.sqrt(MDS().fit(X).stress_ / (_distances(MDS().fit(X).embedding_) ** 2).sum() * 2),
        rtol=1e-9,
    )


def _distances(Y):
    return np.sqrt(((Y[:, None] - Y[None]) ** 2).sum(axis=2))


# --- trustworthiness -------------------------------------------------------------------------


def test_trustworthiness(rng):
    X, Y = rng.normal(size=(80, 5)), rng.normal(size=(80, 2))
    for k in (1, 5, 30):
        got = trustworthiness(X, Y, n_neighbors=k)
        np.testing.assert_allclose(got, peer.trustworthiness(X, Y, n_neighbors=k), rtol=1e-12)
    assert trustworthiness(X, 3 * X) == 1
    D = _distances(X)
    assert trustworthiness(D, Y, metric="precomputed") == trustworthiness(X, Y)
    with pytest.raises(ValueError, match="n_neighbors must be less than n_samples / 2, 40, got 40"):
        trustworthiness(X, Y, n_neighbors=40)
    with pytest.raises(ValueError, match="X_embedded must have 80 rows as X has, got 79"):
        trustworthiness(X, Y[:79])
    with pytest.raises(ValueError, match="n_neighbors must be a whole number of at least 1"):
        trustworthiness(X, Y, n_neighbors=0)


# --- what all share --------------------------------------------------------------------------

MODELS = {
    "ClassicalMDS": lambda: ClassicalMDS(),
    "Isomap": lambda: Isomap(n_neighbors=8),
    "LocallyLinearEmbedding": lambda: LocallyLinearEmbedding(n_neighbors=8),
    "MDS": lambda: MDS(random_state=0),
    "SpectralEmbedding": lambda: SpectralEmbedding(n_neighbors=9, random_state=0),
}
UNITS = {"ClassicalMDS": 1, "Isomap": 1, "MDS": 1}


@pytest.mark.parametrize("name", MODELS)
def test_the_law_of_scale(rng, name):
    X = rng.normal(size=(100, 3))
    want = MODELS[name]().fit_transform(X)
    squared = name in ("ClassicalMDS", "MDS")  # stress and eigenvalues have squared units
    for e in (-40, 40) if squared else (-660, -40, 40, 660):
        got = np.ldexp(MODELS[name]().fit_transform(np.ldexp(X, e)), -e * UNITS.get(name, 0))
        np.testing.assert_array_equal(got, want)
    for c in (1e-6, 1e6):
        got = MODELS[name]().fit_transform(c * X) / c ** UNITS.get(name, 0)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())
    if squared:
        with pytest.raises(ValueError, match=f"{name}: X must"):
            MODELS[name]().fit(1e200 * X)


@pytest.mark.parametrize("name", MODELS)
def test_same_bits(rng, name):
    X = rng.normal(size=(700, 3))
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            found.append(MODELS[name]().fit(X[:300]).embedding_.tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded(rng, name):
    X = rng.normal(size=(60, 3))
    model = MODELS[name]().fit(X)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    again = kernelmill.load(file)
    np.testing.assert_array_equal(again.embedding_, model.embedding_)
    if hasattr(model, "transform"):
        np.testing.assert_array_equal(again.transform(X + 1), model.transform(X + 1))


@pytest.mark.parametrize("name", MODELS)
def test_dtypes(rng, name):
    X = rng.normal(size=(60, 3)).astype(np.float32)
    assert MODELS[name]().fit(X).embedding_.dtype == np.float32
    names = MODELS[name]().fit(X).get_feature_names_out()
    assert names[1] == f"{name.lower()}1"


@pytest.mark.parametrize("affinity", ["rbf", "nearest_neighbors"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_graphs_made_here_are_symmetric_to_the_bit(rng, affinity, dtype):
    """So nobody asks whether they are."""
    model = SpectralEmbedding(affinity=affinity, n_neighbors=9)
    A = model.fit(rng.normal(size=(203, 5)).astype(dtype)).affinity_matrix_
    A = A.toarray() if sp.issparse(A) else A
    assert A.dtype == np.float64
    np.testing.assert_array_equal(A, A.T)
