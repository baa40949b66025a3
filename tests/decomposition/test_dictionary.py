"""Sparse codes and dictionaries: optimality conditions, monotone costs, scikit-learn."""

import numpy as np
import pytest
import sklearn.decomposition as peer
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.decomposition import DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder
from kernelmill.decomposition._codes import fitted_dictionary

RNG = np.random.default_rng(0)
D = RNG.normal(size=(10, 12))
D /= np.linalg.norm(D, axis=1, keepdims=True)
X = (RNG.normal(size=(120, 10)) * (RNG.random((120, 10)) < 0.25)) @ D
X += 0.05 * RNG.normal(size=X.shape)


@pytest.mark.parametrize("algorithm", ["lasso_lars", "lasso_cd"])
@pytest.mark.parametrize("positive", [False, True])
def test_codes_meet_the_conditions_of_the_lasso(algorithm, positive):
    alpha = 0.1
    coder = SparseCoder(
        D, transform_algorithm=algorithm, transform_alpha=alpha, positive_code=positive
    )
    C = coder.fit(X).transform(X)
    slope = (X - C @ D) @ D.T  # alpha sign(c) where c is not 0, within alpha elsewhere
    near = 1e-5 if algorithm == "lasso_lars" else 3e-3
    used = C != 0
    np.testing.assert_allclose(slope[used], alpha * np.sign(C[used]), atol=near)
    assert (slope if positive else np.abs(slope)).max() < alpha + near
    if positive:
        assert C.min() >= 0
    assert 0.05 < used.mean() < 0.7


@pytest.mark.parametrize(
    ("algorithm", "positive"),
    [("lasso_lars", False), ("lars", False), ("omp", False), ("threshold", False),
     ("threshold", True)],
)  # fmt: skip
@pytest.mark.parametrize("split", [False, True])
def test_codes_are_scikit_learns(algorithm, positive, split):
    options = {
        "transform_algorithm": algorithm, "transform_alpha": 0.1, "positive_code": positive,
        "transform_n_nonzero_coefs": 3, "split_sign": split,
    }  # fmt: skip
    model, other = SparseCoder(D, **options), peer.SparseCoder(D, **options)
    found = model.fit(X).transform(X)
    np.testing.assert_allclose(found, other.fit(X).transform(X), atol=1e-6)
    np.testing.assert_allclose(
        model.inverse_transform(found), (found[:, :10] - found[:, 10:] if split else found) @ D,
        atol=1e-12,
    )  # fmt: skip
    assert list(model.get_feature_names_out())[-1] == f"sparsecoder{found.shape[1] - 1}"


@pytest.mark.parametrize("algorithm", ["lars", "cd"])
def test_dictionaries_are_scikit_learns(algorithm):
    options = {
        "alpha": 0.1, "max_iter": 15, "fit_algorithm": algorithm, "random_state": 0,
        "dict_init": D + 0.2, "code_init": np.zeros((len(X), 10)),
    }  # fmt: skip
    model = DictionaryLearning(10, **options).fit(X)
    other = peer.DictionaryLearning(10, **options).fit(X)
    np.testing.assert_allclose(model.error_, other.error_, rtol=1e-4)
    assert model.n_iter_ == other.n_iter_
    assert np.diff(model.error_).max() < 0
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-12
    seen = []
    DictionaryLearning(10, max_iter=3, callback=seen.append).fit(X)
    assert [len(s["errors"]) for s in seen[-1:]] == [3]


@pytest.mark.parametrize("c", [1e-140, 1e-6, 1e6, 1e140])
def test_codes_of_scaled_rows_are_scaled(c):
    pairs = ("omp", None), ("lasso_lars", 0.1), ("lars", None), ("threshold", 0.1)
    for algorithm, alpha in pairs:
        plain = SparseCoder(D, transform_algorithm=algorithm, transform_alpha=alpha)
        scaled = SparseCoder(D, transform_algorithm=algorithm, transform_alpha=alpha and alpha * c)
        want = plain.transform(X)
        np.testing.assert_allclose(scaled.transform(c * X) / c, want, atol=1e-6)


def test_planted_atoms_are_found():
    near = D + 0.1 * RNG.normal(size=D.shape)
    model = DictionaryLearning(10, alpha=0.1, max_iter=200, dict_init=near)
    found = model.fit(X).components_
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert np.median(np.abs(found @ D.T).max(0)) > 0.99


def test_batches_are_scikit_learns():
    options = {
        "alpha": 0.1, "max_iter": 3, "batch_size": 30, "shuffle": False, "dict_init": D,
        "fit_algorithm": "cd", "random_state": 0,
    }  # fmt: skip
    model = MiniBatchDictionaryLearning(10, **options).fit(X)
    other = peer.MiniBatchDictionaryLearning(10, **options).fit(X)
    assert (model.n_steps_, model.n_iter_) == (other.n_steps_, other.n_iter_)
    np.testing.assert_allclose(model.components_, other.components_, atol=1e-4)
    parts, theirs = MiniBatchDictionaryLearning(10, **options), peer.MiniBatchDictionaryLearning(
        10, **options
    )
    for i in (0, 30, 60):
        parts.partial_fit(X[i : i + 30])
        theirs.partial_fit(X[i : i + 30])
    assert parts.n_steps_ == 3
    np.testing.assert_allclose(parts.components_, theirs.components_, atol=1e-4)


def test_one_row_after_another_is_a_fit_of_batches_of_one():
    options = {"alpha": 0.5, "batch_size": 1, "dict_init": D, "random_state": 0}
    whole = MiniBatchDictionaryLearning(
        10, **options, max_iter=2, shuffle=False, tol=0, max_no_improvement=None
    ).fit(X[:20])
    parts = MiniBatchDictionaryLearning(10, **options)
    for _ in range(2):
        for row in X[:20]:
            parts.partial_fit(row[None])
    assert parts.n_steps_ == whole.n_steps_ == 40
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-12)


def test_a_code_that_needs_more_sweeps_is_said():
    few = {"transform_alpha": 1e-3, "transform_max_iter": 1}
    coder = SparseCoder(D, transform_algorithm="lasso_cd", **few)
    with pytest.warns(ConvergenceWarning, match="did not converge in transform_max_iter=1"):
        coder.transform(X)


def test_an_atom_that_nobody_uses_is_drawn_anew():
    C = np.array([[1.0, 0.0], [2.0, 0.0]])
    rows = np.array([[1.0, 0.0], [2.0, 0.1]])
    atom = lambda: np.array([3.0, 4.0])  # noqa: E731 - in place of a random one
    fresh, drawn = fitted_dictionary(np.eye(2), C.T @ C, C.T @ rows, False, atom)
    assert drawn == [1]
    np.testing.assert_allclose(fresh[1], [0.6, 0.8])
    np.testing.assert_allclose(fresh[0], np.array([1.0, 0.04]) / np.hypot(1.0, 0.04))
    signed = fitted_dictionary(-np.eye(2), C.T @ C, -C.T @ rows, True, lambda: -np.ones(2))[0]
    assert (signed == 0).all()


@pytest.mark.parametrize("positive", [False, True])
def test_signs_of_dictionaries(positive):
    model = DictionaryLearning(
        5, alpha=0.1, max_iter=10, positive_dict=True, positive_code=positive, fit_algorithm="cd",
        transform_algorithm="lasso_cd",
    ).fit(np.abs(X))  # fmt: skip
    assert model.components_.min() >= 0
    if positive:
        assert model.transform(np.abs(X)).min() >= 0


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (DictionaryLearning(3, positive_code=True), "fit_algorithm must be 'cd'"),
        (DictionaryLearning(3, dict_init=np.eye(2)), r"dict_init must have shape \(3, 12\)"),
        (SparseCoder(D, positive_code=True), "positive_code must be False for"),
        (SparseCoder(np.ones(3)), "dictionary must have two axes"),
    ],
)
def test_bad_input_is_refused(model, words):
    with pytest.raises(ValueError, match=words):
        model.fit(X).transform(X)
    with pytest.raises(ValueError, match="X has 12 features"):
        SparseCoder(D[:, 1:]).fit(X)


def test_bits_do_not_depend_on_threads(tmp_path):
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = DictionaryLearning(6, alpha=0.1, max_iter=5).fit(X)
            found.append(np.hstack([model.components_, model.transform(X[:6])]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(X), model.transform(X))
