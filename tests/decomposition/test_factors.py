"""Factor analysis and probabilistic components: likelihoods, theorems of EM, missing entries."""

import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition as peer
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import kernelmill
from kernelmill.decomposition import PCA, FactorAnalysis, ProbabilisticPCA
from kernelmill.decomposition._factor_analysis import rotated
from kernelmill.decomposition._low_rank import LowRank


def rows_of(n=300, d=6, k=2, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, k)) @ rng.normal(size=(k, d)) * 2
    return signal + noise * rng.normal(size=(n, d)) + 3


def with_gaps(X, share=0.2, seed=1):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


# --- Gaussians of low rank ------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_gaussian_of_low_rank_is_the_gaussian(k):
    rng = np.random.default_rng(k)
    W, noise, x = rng.normal(size=(k, 5)), rng.uniform(0.1, 2, 5), rng.normal(size=(20, 5))
    model = LowRank(W, noise)
    C = W.T @ W + np.diag(noise)
    np.testing.assert_allclose(model.covariance(), C, atol=1e-14)
    np.testing.assert_allclose(model.precision(), np.linalg.inv(C), atol=1e-11)
    want = scipy.stats.multivariate_normal(np.zeros(5), C).logpdf(x)
    np.testing.assert_allclose(model.prepared().log_density(x), want, rtol=1e-11)


def test_a_density_keeps_its_digits_where_noise_is_small():
    """|x|^2 / s less the part in the span of W cancels 12 of 16 digits; the residual does not."""
    W, noise = np.array([[1.0, 0, 0]]), np.full(3, 1e-12)
    x = np.array([[1.0, 1e-6, -2e-6]])
    want = -0.5 * (3 * np.log(2 * np.pi) + np.log(1 + 1e-12) + 2 * np.log(1e-12) + 1 + 1 + 4)
    assert LowRank(W, noise).prepared().log_density(x)[0] == pytest.approx(want, rel=1e-11)


# --- factor analysis ------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [None, "varimax", "quartimax"])
@pytest.mark.parametrize("n", [300, 5])
def test_factors_of_standardised_rows_are_scikit_learns(rotation, n):
    X = rows_of(n)
    X = (X - X.mean(0)) / X.std(0)
    model = FactorAnalysis(2, rotation=rotation).fit(X)
    other = peer.FactorAnalysis(2, svd_method="lapack", rotation=rotation).fit(X)
    assert model.n_iter_ == other.n_iter_
    np.testing.assert_allclose(model.loglike_, other.loglike_, rtol=1e-8)
    np.testing.assert_allclose(np.abs(model.components_), np.abs(other.components_), atol=1e-7)
    np.testing.assert_allclose(model.noise_variance_, other.noise_variance_, atol=1e-7)
    np.testing.assert_allclose(np.abs(model.transform(X)), np.abs(other.transform(X)), atol=1e-6)
    np.testing.assert_allclose(model.score(X), other.score(X), rtol=1e-8)
    np.testing.assert_allclose(model.get_covariance(), other.get_covariance(), atol=1e-7)
    np.testing.assert_allclose(model.get_precision(), other.get_precision(), rtol=1e-5, atol=1e-5)
    assert np.diff(model.loglike_).min() > -1e-9 * abs(model.loglike_[0])


def test_the_last_log_likelihood_is_the_models():
    X = rows_of()
    model = FactorAnalysis(2).fit(X)
    assert model.loglike_[-1] == pytest.approx(model.score_samples(X).sum(), rel=1e-11)


def test_a_weight_is_a_repetition_and_a_stream_the_rows():
    X, w = rows_of(80), np.arange(80) % 3
    weighted = FactorAnalysis(2, tol=1e-2).fit(X, sample_weight=w)
    repeated = FactorAnalysis(2, tol=1e-2).fit(np.repeat(X, w, axis=0))
    streamed = FactorAnalysis(2, tol=1e-2).fit(np.array_split(np.repeat(X, w, axis=0), 3))
    for other in (repeated, streamed):
        np.testing.assert_allclose(weighted.components_, other.components_, atol=1e-8)
        np.testing.assert_allclose(weighted.noise_variance_, other.noise_variance_, atol=1e-8)


def test_a_constant_feature_has_no_noise_and_no_part():
    X = np.column_stack([rows_of(50, 4), np.full(50, 2.0)])
    model = FactorAnalysis(2, tol=1e-6).fit(X)
    part = FactorAnalysis(2, tol=1e-6).fit(X[:, :4])
    assert model.noise_variance_[4] == 0
    assert (model.components_[:, 4] == 0).all()
    np.testing.assert_allclose(model.components_[:, :4], part.components_, atol=1e-9)
    np.testing.assert_allclose(model.transform(X), part.transform(X[:, :4]), atol=1e-9)
    with pytest.raises(ValueError, match="must be regular"):
        model.score(X)


def test_the_scale_of_features_changes_nothing():
    """scikit-learn's start has a noise of 1, whatever the unit."""
    X, c = rows_of(), np.array([1e-150, 1e-3, 1, 10, 1e6, 1e120])
    plain, scaled = FactorAnalysis(2).fit(X), FactorAnalysis(2).fit(X * c)
    assert scaled.n_iter_ == plain.n_iter_
    np.testing.assert_allclose(scaled.noise_variance_ / c**2, plain.noise_variance_, rtol=1e-7)
    np.testing.assert_allclose(
        np.abs(scaled.transform(X * c)), np.abs(plain.transform(X)), atol=1e-8
    )


def test_varimax_finds_a_simple_structure_at_any_scale():
    W = np.zeros((2, 6))
    W[0, :3] = W[1, 3:] = [1, 2, 3]
    turn = np.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]])
    for scale in (1, 1e-150, 1e150):
        for method in ("varimax", "quartimax"):
            found = np.abs(rotated(scale * (turn @ W), method)) / scale
            found = found[np.argsort(-found[:, 0])]
            np.testing.assert_allclose(found, W, atol=1e-3)  # its tolerance is 1e-6


def test_bad_noise_and_too_few_iterations():
    X = rows_of(30)
    with pytest.raises(ValueError, match="noise_variance_init must hold 6 positive numbers"):
        FactorAnalysis(2, noise_variance_init=[1, 2]).fit(X)
    with pytest.raises(ValueError, match="n_components must be at most n_features=6, got 7"):
        FactorAnalysis(7).fit(X)
    with pytest.warns(ConvergenceWarning, match="did not converge in max_iter=2"):
        FactorAnalysis(2, max_iter=2, tol=0).fit(X)


# --- probabilistic components ---------------------------------------------------------------------


def test_the_closed_form_is_that_of_pca_and_em_finds_it():
    X = rows_of()
    model, pca = ProbabilisticPCA(2).fit(X), PCA(2).fit(X)
    n = len(X)
    np.testing.assert_allclose(model.components_, pca.components_, atol=1e-10)
    np.testing.assert_allclose(model.explained_variance_, pca.explained_variance_ * (n - 1) / n)
    np.testing.assert_allclose(model.noise_variance_, pca.noise_variance_ * (n - 1) / n)
    np.testing.assert_allclose(model.lower_bound_, model.score(X), rtol=1e-12)
    noise = np.full(X.shape[1], model.noise_variance_)
    C = model.get_covariance()
    want = scipy.stats.multivariate_normal(model.mean_, C).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), want, rtol=1e-10)
    spread = np.sqrt(model.explained_variance_ - noise[0])
    np.testing.assert_allclose(
        model.transform(X), pca.transform(X) * spread / model.explained_variance_, atol=1e-10
    )
    far = X + 0.0
    far[0, 0] += 1e-9
    em = ProbabilisticPCA(2, method="em", tol=1e-13, max_iter=3000).fit(far)
    np.testing.assert_allclose(em.components_, model.components_, atol=1e-6)
    np.testing.assert_allclose(em.noise_variance_, model.noise_variance_, rtol=1e-6)


def observed_density(model, row):
    seen = ~np.isnan(row)
    C = model.get_covariance()[np.ix_(seen, seen)]
    if not seen.any():
        return 0.0
    return scipy.stats.multivariate_normal(model.mean_[seen], C).logpdf(row[seen])


def test_missing_entries_are_integrated_out():
    X = with_gaps(rows_of(120))
    X[5] = np.nan
    model = ProbabilisticPCA(2, tol=1e-12, max_iter=5000).fit(X)
    want = [observed_density(model, row) for row in X]
    np.testing.assert_allclose(model.score_samples(X), want, rtol=1e-9, atol=1e-12)
    filled = model.impute(X)
    C, row = model.get_covariance(), X[3]
    seen = ~np.isnan(row)
    gone = np.linalg.solve(C[np.ix_(seen, seen)], (row - model.mean_)[seen])
    np.testing.assert_allclose(
        filled[3][~seen], model.mean_[~seen] + C[np.ix_(~seen, seen)] @ gone, rtol=1e-9
    )
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    np.testing.assert_allclose(filled[5], model.mean_, rtol=1e-12)
    np.testing.assert_allclose(model.transform(X[5:6]), 0, atol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(np.zeros((1, 2))), [model.mean_])


def test_it_is_a_maximum_of_the_likelihood():
    """The slope of the log-likelihood is zero in the mean, the noise and W, by differences."""
    X = with_gaps(rows_of(80))
    model = ProbabilisticPCA(2, tol=1e-14, max_iter=20000).fit(X)
    best = model.score(X)
    for name, by in (("mean_", 1e-3), ("noise_variance_", 1e-3), ("components_", 1e-3)):
        kept = getattr(model, name)
        for sign in (1, -1):
            step = sign * by * np.random.default_rng(3).normal(size=np.shape(kept))
            setattr(model, name, kept + step)
            if name == "components_":
                model.components_ /= np.linalg.norm(model.components_, axis=1, keepdims=True)
            assert model.score(X) < best
        setattr(model, name, kept)


def test_em_never_decreases_and_a_stream_is_the_rows():
    X = with_gaps(rows_of(90))
    with pytest.warns(ConvergenceWarning):
        values = [ProbabilisticPCA(2, tol=0, max_iter=i).fit(X).score(X) for i in range(1, 8)]
    assert np.diff(values).min() > 0
    whole = ProbabilisticPCA(2).fit(X)
    streamed = ProbabilisticPCA(2).fit(np.array_split(X, 4))
    np.testing.assert_allclose(streamed.components_, whole.components_, atol=1e-9)
    w = np.arange(90) % 3
    weighted = ProbabilisticPCA(2).fit(X, sample_weight=w)
    repeated = ProbabilisticPCA(2).fit(np.repeat(X, w, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=1e-8)
    np.testing.assert_allclose(weighted.noise_variance_, repeated.noise_variance_, rtol=1e-8)


def test_features_and_rows_that_say_nothing():
    X = with_gaps(rows_of(40))
    X[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"observed value in every column, got none .* column 2"):
        ProbabilisticPCA(2).fit(X)
    with pytest.raises(ValueError, match="features that vary"):
        ProbabilisticPCA(1).fit(np.ones((5, 3)))
    with pytest.raises(ValueError, match="less than n_features"):
        ProbabilisticPCA(3).fit(np.eye(3))


def test_bits_do_not_depend_on_threads(tmp_path):
    X = with_gaps(rows_of(500))
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = ProbabilisticPCA(2).fit(X)
            found.append((model.components_, FactorAnalysis(2).fit(rows_of()).components_))
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_array_equal(other[1], found[0][1])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.impute(X), model.impute(X))


@pytest.mark.parametrize("name", ["transform", "impute", "score_samples", "inverse_transform"])
def test_probabilistic_components_must_be_fitted(name):
    with pytest.raises(NotFittedError):
        getattr(ProbabilisticPCA(), name)(np.ones((3, 2)))
