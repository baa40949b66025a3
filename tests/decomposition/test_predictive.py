"""Predictive sparse decomposition: falling costs, optimal codes, an encoder that learns, scale."""

import numpy as np
import pytest

import kernelmill
from kernelmill.decomposition import DictionaryLearning, PredictiveSparseDecomposition
from kernelmill.decomposition._codes import codes
from kernelmill.decomposition._predictive import Encoder

RNG = np.random.default_rng(1)
D = RNG.normal(size=(6, 10))
D /= np.linalg.norm(D, axis=1, keepdims=True)
X = (RNG.normal(size=(250, 6)) * (RNG.random((250, 6)) < 0.3)) @ D
X += 0.03 * RNG.normal(size=X.shape)


def model(**parameters):
    given = {"alpha": 0.05, "max_iter": 25, "random_state": 0, "tol": 1e-5}
    return PredictiveSparseDecomposition(6, **given | parameters)


def cost(fitted, rows, C):
    F = fitted.encoder_gain_ * np.tanh(rows @ fitted.encoder_weights_.T + fitted.encoder_bias_)
    rest, off = rows - C @ fitted.components_, C - F
    return (
        (rest**2).sum() / 2 + fitted.alpha * np.abs(C).sum()
        + fitted.predictor_weight / 2 * (off**2).sum()
    )  # fmt: skip


@pytest.mark.parametrize("beta", [0.0, 0.3, 5.0])
def test_the_cost_falls_and_is_that_of_the_codes(beta):
    fitted = model(predictor_weight=beta).fit(X)
    steps = np.diff(fitted.error_)
    assert len(steps) > 3
    assert steps.max() <= 1e-9 * fitted.error_[0]
    # codes of least cost in the final model cost no more than those of the last iteration
    C = fitted.set_params(transform_algorithm="energy").transform(X)
    assert cost(fitted, X, C) <= fitted.error_[-1] * (1 + 1e-6)
    assert np.linalg.norm(fitted.components_, axis=1).max() <= 1 + 1e-12


def test_codes_of_least_cost_meet_their_conditions():
    fitted = model(predictor_weight=0.7, transform_algorithm="energy").fit(X)
    C = fitted.transform(X)
    F = fitted.set_params(transform_algorithm="encoder").transform(X)
    slope = (X - C @ fitted.components_) @ fitted.components_.T + 0.7 * (F - C)
    used = C != 0
    np.testing.assert_allclose(slope[used], 0.05 * np.sign(C[used]), atol=2e-3)
    assert np.abs(slope).max() < 0.05 + 2e-3
    assert 0.05 < used.mean() < 0.9
    # against brute force: rows and atoms with the prediction beside them
    beside = (
        np.hstack([X, np.sqrt(0.7) * F]),
        np.hstack([fitted.components_, np.sqrt(0.7) * np.eye(6)]),
    )
    how = fitted._coding()._replace(algorithm="lasso_lars")
    np.testing.assert_allclose(C, codes(*beside, how), atol=2e-3)


def test_the_encoder_predicts_codes_that_are_its_own():
    fitted = model(predictor_weight=1.0, max_iter=60).fit(X)
    F = fitted.transform(X)
    C = fitted.set_params(transform_algorithm="energy").transform(X)
    share = ((F - C) ** 2).sum() / (C**2).sum()
    assert share < 0.1
    # codes without its pull are farther from what a layer can predict
    alone = DictionaryLearning(6, alpha=0.05, max_iter=60, random_state=0).fit(X)
    L = alone.set_params(transform_algorithm="lasso_cd").transform(X)
    layer = Encoder.of(X, alone.components_).fitted(X, L, 400)
    assert ((layer.predict(X) - L) ** 2).sum() / (L**2).sum() > share
    # and rows not seen are predicted as well
    rng = np.random.default_rng(2)
    new = (rng.normal(size=(200, 6)) * (rng.random((200, 6)) < 0.3)) @ D
    fitted.set_params(transform_algorithm="encoder")
    rest = new - fitted.inverse_transform(fitted.transform(new))
    assert (rest**2).sum() < 0.2 * (new**2).sum()


def test_slopes_of_the_encoder():
    begin = Encoder.of(X, D)
    C = X @ D.T
    one = begin.fitted(X, C, 1)
    many = begin.fitted(X, C, 200)
    far = [((e.predict(X) - C) ** 2).sum() for e in (begin, one, many)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 0.02 * (C**2).sum()  # a straight layer is in its reach


@pytest.mark.parametrize("c", [2.0**-40, 2.0**40])
def test_scaled_rows(c):
    one = model(max_iter=5).fit(X)
    other = model(max_iter=5, alpha=0.05 * c).fit(X * c)
    np.testing.assert_allclose(other.components_, one.components_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.transform(X * c), c * one.transform(X), rtol=1e-8)
    np.testing.assert_allclose(other.error_, np.array(one.error_) * c * c, rtol=1e-9)


def test_float32_threads_and_files(tmp_path):
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            results.append(model(max_iter=4).fit(X).transform(X))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    single = model(max_iter=4).fit(X.astype(np.float32))
    assert single.components_.dtype == single.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.transform(X.astype(np.float32)), results[0], atol=1e-3)


def test_other_codes_and_refusals():
    fitted = model(split_sign=True).fit(X)
    Z = fitted.transform(X)
    assert Z.shape == (250, 12)
    assert Z.min() >= 0
    assert len(fitted.get_feature_names_out()) == 12
    fitted = model(transform_algorithm="omp", transform_n_nonzero_coefs=2).fit(X)
    assert (fitted.transform(X) != 0).sum(axis=1).max() == 2
    with pytest.raises(ValueError, match="PredictiveSparseDecomposition: predictor_weight must be"):
        model(predictor_weight=-1).fit(X)
    still = model(max_iter=3).fit(np.zeros((20, 10)))
    assert np.isfinite(still.transform(np.zeros((2, 10)))).all()
