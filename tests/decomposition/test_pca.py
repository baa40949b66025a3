"""Principal components: the definition, scikit-learn where it is right, and known hard cases."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.decomposition as peer

import kernelmill
from kernelmill import stream
from kernelmill.decomposition import PCA, IncrementalPCA, TruncatedSVD
from kernelmill.decomposition._axes import CentredRows, by_random, by_values
from kernelmill.decomposition._pca import dimension_of, solver_of

EPS = np.finfo(np.float64).eps
EXACT = ("full", "covariance_eigh", "dual_eigh", "arpack")
SHAPES = [(60, 5), (40, 40), (12, 50)]


def rows_of(n, d, seed=0, rank=None):
    """Rows with falling variances about a mean of a few deviations."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.linspace(3, 1, d) + np.arange(d)
    return X if rank is None else X[:, :rank] @ rng.normal(size=(rank, d))


def defined(X, k, w=None):
    """Variances and axes by eigenvectors of the covariance, in float64."""
    X = X.astype(np.float64)
    w = np.ones(len(X)) if w is None else w
    A = (X - w @ X / w.sum()) * np.sqrt(w)[:, None]
    _, s, V = np.linalg.svd(A, full_matrices=False)
    V *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(1)])[:, None]
    return s[:k] ** 2 / (w.sum() - 1), V[:k]


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_solver_gives_the_definition(solver, n, d, weighted):
    if solver == "dual_eigh" and n > d:
        pytest.skip("products of rows are for fewer rows than features")
    X, k = rows_of(n, d), 4
    w = np.random.default_rng(1).uniform(0.5, 2, n) if weighted else None
    model = PCA(k, svd_solver=solver, random_state=0).fit(X, sample_weight=w)
    variances, axes = defined(X, k, w)
    np.testing.assert_allclose(model.explained_variance_, variances, rtol=1e-10)
    np.testing.assert_allclose(model.components_, axes, rtol=0, atol=1e-9)
    assert (model.n_samples_, model.n_components_, model.svd_solver_) == (n, k, solver)
    if w is None:
        other = peer.PCA(k, svd_solver="full").fit(X)
        for name in ("explained_variance_ratio_", "singular_values_", "mean_", "noise_variance_"):
            np.testing.assert_allclose(
                getattr(model, name), getattr(other, name), rtol=1e-9, atol=1e-12
            )
        np.testing.assert_allclose(model.transform(X), other.transform(X), rtol=0, atol=1e-8)
        np.testing.assert_allclose(model.score_samples(X), other.score_samples(X), rtol=1e-9)
        np.testing.assert_allclose(model.get_precision(), other.get_precision(), atol=1e-9)
        np.testing.assert_allclose(
            model.get_precision() @ model.get_covariance(), np.eye(d), atol=1e-9
        )


@pytest.mark.parametrize(
    ("shape", "k", "solver"),
    [
        ((100, 20, 3)[:2], 3, "covariance_eigh"),
        ((20, 100), 3, "dual_eigh"),
        ((300, 300), 3, "full"),
        ((2000, 1500), 3, "randomized"),
        ((2000, 1500), 1400, "full"),
        ((20_000, 1000), 900, "covariance_eigh"),
    ],
)
def test_the_shape_chooses(shape, k, solver):
    assert solver_of(*shape, k, False, False) == solver
    assert solver_of(*shape, k, True, False) != "randomized"


@pytest.mark.parametrize(
    ("shape", "k", "solver"),
    [((73, 834), 6, "arpack"), ((73, 834), 30, "covariance_eigh"), ((5000, 2000), 6, "arpack"),
     ((900, 300), 6, "covariance_eigh"), ((50_000, 900), 6, "covariance_eigh")],
)  # fmt: skip
def test_the_shape_of_sparse_rows_chooses(shape, k, solver):
    assert solver_of(*shape, k, False, True) == solver
    assert solver_of(*shape, k, True, True) == "covariance_eigh"


@pytest.mark.parametrize("name", ["auto", "QR", "LU", "none"])
def test_random_directions_find_what_stands_out(name):
    X = rows_of(90, 70, rank=4)
    model = PCA(
        4, svd_solver="randomized", random_state=3, power_iteration_normalizer=name
    ).fit(X)
    variances, axes = defined(X, 4)
    np.testing.assert_allclose(model.explained_variance_, variances, rtol=1e-10)
    np.testing.assert_allclose(model.components_, axes, rtol=0, atol=1e-8)
    again = PCA(
        4, svd_solver="randomized", random_state=3, power_iteration_normalizer=name
    ).fit(X)
    np.testing.assert_array_equal(model.components_, again.components_)


def test_random_directions_are_no_worse_than_scikit_learns():
    """On a spectrum that falls slowly, where they err."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 200)) / np.sqrt(1 + np.arange(200))
    best = defined(X, 10)[0].sum()
    lost = [best - PCA(10, svd_solver="randomized", random_state=s).fit(X).explained_variance_.sum()
            for s in range(5)]  # fmt: skip
    others = [best - peer.PCA(10, svd_solver="randomized", random_state=s)
              .fit(X).explained_variance_.sum() for s in range(5)]  # fmt: skip
    model = PCA(10, svd_solver="randomized", random_state=0).fit(X)
    scores = model.transform(X)
    np.testing.assert_allclose(scores.var(0, ddof=1), model.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(np.corrcoef(scores.T), np.eye(10), atol=1e-10)
    assert min(lost) > -1e-12 * best
    assert np.mean(lost) < np.mean(others) + 1e-12 * best


def test_shares_and_the_evidence_choose():
    X = rows_of(100, 6)
    for share in (0.3, 0.5, 0.77, 0.999999):
        assert PCA(share).fit(X).n_components_ == peer.PCA(share).fit(X).n_components_
    rng = np.random.default_rng(2)
    for seed in range(5):
        X = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 9)) * 3 + rng.normal(size=(60, 9))
        model, other = PCA("mle").fit(X), peer.PCA("mle").fit(X)
        assert model.n_components_ == other.n_components_, seed
        np.testing.assert_allclose(model.noise_variance_, other.noise_variance_, rtol=1e-9)
    assert dimension_of(np.array([5.0, 4.0, 1.02, 1.0, 0.98]), 1000) == 2
    assert dimension_of(1e200 * np.array([5.0, 4.0, 1.02, 1.0, 0.98]), 1000) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stream_is_read_once(dtype, tmp_path):
    X = rows_of(200, 6).astype(dtype)
    w = np.arange(200) % 3 + 0.5
    path = tmp_path / "rows.npy"
    np.save(path, X)
    plain = PCA(3).fit(X)
    for data in (path, iter(np.array_split(X, 7)), stream.source(X, chunk_rows=33)):
        model = PCA(3).fit(data)
        np.testing.assert_allclose(model.explained_variance_, plain.explained_variance_, rtol=1e-5)
        np.testing.assert_allclose(model.components_, plain.components_, atol=2e-5)
        assert model.n_samples_ == 200
    weighted = PCA(3).fit(iter([(X[:90], w[:90]), (X[90:], w[90:])]))
    np.testing.assert_allclose(weighted.explained_variance_, defined(X, 3, w)[0], rtol=1e-5)
    lazy = plain.transform(stream.source(X, chunk_rows=50))
    np.testing.assert_allclose(
        np.concatenate([chunk for chunk, _ in lazy]), plain.transform(X), rtol=1e-5, atol=1e-5
    )


# --- hard cases -----------------------------------------------------------------------------------


def test_float32_far_from_the_origin():
    """scikit-learn/scikit-learn#28591, scikit-learn/scikit-learn#9354"""
    base = [[0, 0], [1, .5], [2, -.5], [3, 0], [4, 1], [5, -1], [6, 0], [7, .5], [8, -.5], [9, 0]]
    X = np.float32(1e4 + np.array(base * 3))
    variances = defined(X, 2)[0]
    np.testing.assert_allclose(variances, [8.5397, 0.3051], atol=1e-4)
    for solver in ("auto", "full", "covariance_eigh", "randomized"):
        model = PCA(svd_solver=solver, random_state=0).fit(X)
        np.testing.assert_allclose(model.explained_variance_, variances, rtol=1e-5)
        np.testing.assert_allclose(model.transform(X).var(0, ddof=1), variances, rtol=1e-5)
    model = PCA().fit(np.array_split(X, 5))
    np.testing.assert_allclose(model.explained_variance_, variances, rtol=1e-5)
    far = PCA(1).fit(np.float32(X + np.float32([1e6, 0])))
    np.testing.assert_allclose(far.explained_variance_, variances[:1], rtol=1e-5)
    # a mean between two numbers of float32, which are 1/16 apart
    rows = np.float32(1e6) + np.float32([[0, 0], [0.0625, 0.25], [0.0625, 0.5]])
    np.testing.assert_allclose(PCA().fit_transform(rows).mean(0), 0, atol=1e-6)


def test_variances_have_one_divisor():
    """scikit-learn/scikit-learn#9105, #11001, #11492"""
    model = PCA().fit([[1.0, 0], [0, 1]])
    np.testing.assert_allclose(model.explained_variance_, [1, 0], atol=4 * EPS)
    assert (model.explained_variance_ >= 0).all()
    X = rows_of(50, 4)
    for solver in ("full", "covariance_eigh"):
        Z = PCA(whiten=True, svd_solver=solver).fit_transform(X)
        np.testing.assert_allclose(np.cov(Z.T), np.eye(4), atol=1e-12)
    Z = IncrementalPCA(whiten=True, batch_size=20).fit_transform(X)
    np.testing.assert_allclose(np.cov(Z.T), np.eye(4), atol=1e-12)


@pytest.mark.parametrize("whiten", [False, True])
def test_whitening_changes_no_density(whiten):
    """scikit-learn/scikit-learn#13898"""
    X = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    model = PCA(whiten=whiten).fit(X)
    np.testing.assert_allclose(model.get_covariance(), np.diag([8 / 3, 2 / 3]), atol=1e-14)
    assert model.score(X) == pytest.approx(-2.8755591, abs=1e-7)
    X = rows_of(80, 5)
    model = PCA(2, whiten=whiten).fit(X)
    np.testing.assert_allclose(model.score_samples(X), peer.PCA(2).fit(X).score_samples(X))


@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "randomized", "arpack"])
@pytest.mark.parametrize("shape", [(1000, 10), (8, 10)])
def test_whitening_a_direction_without_variance(solver, shape):
    """scikit-learn/scikit-learn#29534, scikit-learn/scikit-learn#34866"""
    n, d = shape
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.normal(size=(n, min(n, d))))[0]
    V = np.linalg.qr(rng.normal(size=(d, d)))[0][: U.shape[1]]
    s = np.geomspace(1e-9, 1e-13, U.shape[1])
    s[:2] = 1, 0.5
    X = (U * s) @ V
    k = min(n, d) - 1
    model = PCA(k, whiten=True, svd_solver=solver, random_state=0).fit(X)
    # Other rows that are drawn alike have scores of a size, with the rounding of what was kept.
    new = (rng.normal(size=(200, U.shape[1])) / np.sqrt(n) * s) @ V
    for rows in (X, new):  # eight rows say little of seven variances
        assert np.abs(model.transform(rows)).max() < (6 if n > d else 20)
    none = model.explained_variance_ == 0
    assert (model.transform(X)[:, none] == 0).all()
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=2e-9)
    if solver == "covariance_eigh":
        assert none.sum() == k - 2  # squares of 1e-9 are below its rounding


def test_a_dual_fit_has_orthonormal_components_to_the_last():
    X = rows_of(10, 60)
    model = PCA().fit(X)
    assert model.svd_solver_ == "dual_eigh"
    assert model.components_.shape == (10, 60)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(10), atol=1e-12)
    assert model.explained_variance_[-1] == 0  # ten rows span nine directions about their mean
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-12)


def test_degenerate_densities_are_refused():
    model = PCA(1).fit(rows_of(20, 3, rank=1))
    with pytest.raises(ValueError, match="PCA: the covariance of the model must be regular"):
        model.score(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="must be regular"):
        model.get_precision()


# --- sparse, bad input, threads -------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["auto", "arpack", "covariance_eigh", "randomized"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows_are_dense_ones(solver, weighted):
    S = sp.random(80, 30, 0.2, format="csr", random_state=0)
    w = np.random.default_rng(0).uniform(0.5, 2, 80) if weighted else None
    model = PCA(3, svd_solver=solver, random_state=0, iterated_power=60).fit(S, sample_weight=w)
    dense = PCA(3, svd_solver="full").fit(S.toarray(), sample_weight=w)
    np.testing.assert_allclose(model.explained_variance_, dense.explained_variance_, rtol=1e-7)
    np.testing.assert_allclose(model.components_, dense.components_, atol=1e-5)
    np.testing.assert_allclose(model.mean_, dense.mean_, atol=1e-14)
    np.testing.assert_allclose(model.noise_variance_, dense.noise_variance_, rtol=1e-9)
    np.testing.assert_allclose(model.transform(S), dense.transform(S.toarray()), atol=1e-5)
    np.testing.assert_allclose(
        model.score_samples(S), dense.score_samples(S.toarray()), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "X", "words"),
    [
        ({"n_components": 5}, np.eye(3), r"must be at most min\(n_samples, n_features\)=3, got 5"),
        ({"n_components": 3, "svd_solver": "arpack"}, np.eye(3), "less than min"),
        ({"n_components": "mle"}, np.ones((2, 3)), "only supported if n_samples >= n_features"),
        ({"n_components": 0.5, "svd_solver": "arpack"}, np.eye(3), "must be a whole number"),
        ({"svd_solver": "dual_eigh"}, np.ones((5, 2)), "at most as many rows as features"),
        ({"svd_solver": "full"}, sp.eye(3, format="csr"), "for sparse X, got 'full'"),
        ({"svd_solver": "full"}, [np.eye(3)] * 2, "'covariance_eigh' for a stream, got 'full'"),
        ({}, np.ones((1, 3)), "at least 2 rows, got 1"),
        ({}, [[np.nan, 1], [2, 3]], "X must be finite, got NaN at row 0, column 0"),
        ({"svd_solver": "full"}, [[np.inf, 1], [2, 3]], "X must be finite, got inf"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, X, words):
    with pytest.raises(ValueError, match=words):
        PCA(**arguments).fit(X)


def test_scores_of_another_width_are_refused():
    model = PCA(2).fit(rows_of(20, 4))
    with pytest.raises(ValueError, match=r"must have 2 columns, .* got shape \(1, 3\)"):
        model.inverse_transform([[1.0, 2, 3]])


def test_bits_do_not_depend_on_threads(tmp_path):
    X = rows_of(3000, 30).astype(np.float32)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = PCA(3).fit(X)
            random = by_random(CentredRows(model._rows(X, reset=False), True), 3, 0, 5, 2, "auto")
            found.append((model.components_, model.transform(X), random.components))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(X), found[0][1])


def test_equal_rows_have_no_variance():
    model = PCA(2, whiten=True).fit(np.full((10, 3), 7.3))
    assert (model.explained_variance_ == 0).all()
    assert (model.explained_variance_ratio_ == 0).all()
    assert (model.transform(np.full((10, 3), 7.3)) == 0).all()


def test_the_triangle_of_tall_rows_has_their_values():
    X = rows_of(50, 7)
    A = CentredRows(PCA()._rows(X, reset=True), True)
    axes = by_values(A, 7)
    np.testing.assert_allclose(axes.values, np.linalg.svd(A.A)[1], rtol=1e-12)
    assert axes.total == pytest.approx(float((axes.values**2).sum()))


# --- batches --------------------------------------------------------------------------------------


def test_batches_of_any_size():
    """scikit-learn/scikit-learn#13114, #12234, #5950, #17693"""
    model = IncrementalPCA(2).partial_fit([[-1.0, -1], [-2, -1], [-3, -2], [1, 1], [2, 1]])
    model.partial_fit([[3.0, 2]])
    np.testing.assert_allclose(model.singular_values_, [6.30061, 0.54980], atol=1e-5)
    np.testing.assert_allclose(model.mean_, 0, atol=1e-15)
    np.testing.assert_allclose(np.abs(model.transform([[3.0, 2]])), [[3.6053, 0.0422]], atol=1e-4)
    assert model.explained_variance_ratio_.sum() <= 1 + 4 * EPS
    first = IncrementalPCA(3).partial_fit(rows_of(1, 5)).partial_fit(rows_of(1, 5, 1))
    assert first.components_.shape == (2, 5)
    assert first.partial_fit(rows_of(9, 5, 2)).components_.shape == (3, 5)
    many = rows_of(140_000, 2)  # the product of the counts of both halves is beyond 32 bits
    model = IncrementalPCA(2, batch_size=70_000).fit(many)
    np.testing.assert_allclose(model.var_, many.var(0), rtol=1e-12)
    np.testing.assert_allclose(model.mean_, many.mean(0), atol=1e-12)


@pytest.mark.parametrize("sizes", [[30, 30], [59, 1], [1, 2, 57], [7] * 9])
def test_batches_without_loss_are_the_whole(sizes):
    X = rows_of(63, 5)[: sum(sizes)]
    model = IncrementalPCA()
    for part in np.split(X, np.cumsum(sizes)[:-1]):
        model.partial_fit(part)
    whole = PCA(svd_solver="full").fit(X)
    assert model.n_samples_seen_ == len(X)
    np.testing.assert_allclose(model.explained_variance_, whole.explained_variance_, rtol=1e-11)
    np.testing.assert_allclose(model.components_, whole.components_, atol=1e-10)
    np.testing.assert_allclose(model.var_, X.var(0), rtol=1e-11)
    np.testing.assert_allclose(model.get_covariance(), np.cov(X.T), atol=1e-11)
    np.testing.assert_allclose(model.score(X), whole.score(X), rtol=1e-10)


def test_few_components_of_batches_are_scikit_learns():
    X = rows_of(200, 6)
    model = IncrementalPCA(3, batch_size=40, whiten=True).fit(X)
    other = peer.IncrementalPCA(3, batch_size=40, whiten=True).fit(X)
    for name in ("components_", "explained_variance_ratio_", "singular_values_", "mean_", "var_"):
        got, want = getattr(model, name), getattr(other, name)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.transform(X), other.transform(X), atol=1e-10)
    chunks = IncrementalPCA(3, batch_size=40).fit(np.array_split(X, 3))
    np.testing.assert_allclose(chunks.components_, model.components_, atol=1e-10)
    # what is left of all variances, not of those of the last batch
    left = (X.var(0).sum() * 200 / 199 - model.explained_variance_.sum()) / 3
    assert model.noise_variance_ == pytest.approx(left)


def test_batches_of_float32_far_away():
    X = rows_of(300, 3)
    far = np.float32(X + 1e4)
    model = IncrementalPCA(3, batch_size=50).fit(far)
    np.testing.assert_allclose(model.explained_variance_, defined(far, 3)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="n_components must be at most n_features=3, got 4"):
        IncrementalPCA(4).fit(X)


# --- no centring ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["randomized", "arpack"])
@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (900, 1100)])
@pytest.mark.parametrize("sparse", [False, True])
def test_singular_values_of_uncentred_rows(algorithm, shape, sparse):
    rng = np.random.default_rng(0)
    X = sp.random(*shape, 0.05 if shape[0] > 100 else 0.4, format="csr", random_state=1)
    X = X + sp.csr_matrix((rng.random((shape[0], 1)) < 0.2) * [[2.0] * 3 + [0.0] * (shape[1] - 3)])
    X = X.tocsr() if sparse else X.toarray()
    dense = X.toarray() if sparse else X
    model = TruncatedSVD(2, algorithm=algorithm, n_iter=80, random_state=0).fit(X)
    _, s, V = np.linalg.svd(dense, full_matrices=False)
    V *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(1)])[:, None]
    np.testing.assert_allclose(model.singular_values_, s[:2], rtol=1e-8)
    np.testing.assert_allclose(model.components_, V[:2], atol=1e-4)
    Z = model.transform(X)
    np.testing.assert_allclose(Z, dense @ model.components_.T, atol=1e-10)
    np.testing.assert_allclose(model.explained_variance_, Z.var(0), rtol=1e-8)
    np.testing.assert_allclose(
        model.explained_variance_ratio_, Z.var(0) / dense.var(0).sum(), rtol=1e-8
    )
    np.testing.assert_allclose(model.inverse_transform(Z), Z @ model.components_, atol=1e-12)


def test_uncentred_rows_of_a_stream_and_far_away():
    X = rows_of(100, 5) + 1e6
    model = TruncatedSVD(2).fit(np.array_split(X, 4))
    s = np.linalg.svd(X)[1]
    # squares have errors of eps s_1^2: here 1e-4 of the second
    np.testing.assert_allclose(model.singular_values_, s[:2], rtol=4 * EPS * (s[0] / s[1]) ** 2)
    variances = (X @ model.components_.T).var(0)
    np.testing.assert_allclose(model.explained_variance_, variances, rtol=1e-5)
    with pytest.raises(ValueError, match=r"n_components\(9\) must be <= n_features\(5\)"):
        TruncatedSVD(9).fit(X)


@pytest.mark.parametrize("solver", ["auto", "arpack"])
@pytest.mark.parametrize("given", [sp.csr_array, np.asarray])
def test_rows_of_zeros_and_no_components(solver, given):
    X = given(np.zeros((20, 420)))
    model = PCA(3, svd_solver=solver).fit(X)
    np.testing.assert_array_equal(model.explained_variance_, np.zeros(3))
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-14)
    np.testing.assert_array_equal(model.transform(X), np.zeros((20, 3)))
    assert not TruncatedSVD(3, algorithm="arpack").fit(X).singular_values_.any()
    X = given(rows_of(20, 420))
    model = PCA(0).fit(X)
    assert model.transform(X).shape == (20, 0)
    variance = X.toarray().var(axis=0) if sp.issparse(X) else X.var(axis=0)
    np.testing.assert_allclose(model.noise_variance_, variance.sum() / 19, rtol=1e-12)
