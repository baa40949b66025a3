"""MLPClassifier and MLPRegressor: scikit-learn's numbers from equal weights, its interface."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn import neural_network as peers
from sklearn.datasets import load_breast_cancer, load_diabetes, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kernelmill
from kernelmill.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def moons(rng):
    X = rng.normal(size=(300, 2))
    return X, np.where(X[:, 0] ** 2 > X[:, 1], "in", "out")


def started(ours, peer, X, y, **options):
    """Both after one fit from the weights of the peer's start, in order, in one batch size."""
    options = {"shuffle": False, "batch_size": 40, "warm_start": True, "tol": 0.0, **options}
    a, b = ours(random_state=0, max_iter=1, **options), peer(random_state=0, max_iter=1, **options)
    b.fit(X, y), a.fit(X, y)
    a.coefs_ = [w.copy() for w in b.coefs_]
    a.intercepts_ = [v.copy() for v in b.intercepts_]
    return a, b


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [2, 3])
def test_predictions_and_loss_equal_scikit_learns(rng, activation, classes):
    X = rng.normal(size=(200, 4))
    y = rng.integers(0, classes, 200)
    a, b = started(MLPClassifier, peers.MLPClassifier, X, y, activation=activation)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9)
    assert (a.predict(X) == b.predict(X)).all()
    np.testing.assert_allclose(a.predict_log_proba(X), b.predict_log_proba(X), rtol=1e-9)


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_descent_equals_scikit_learns(rng, nesterov):
    """SGD without momentum history: the same weights after an epoch."""
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 3, 200)
    options = {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": nesterov, "alpha": 0.1,
               "shuffle": False, "batch_size": 40, "learning_rate_init": 0.05}  # fmt: skip
    b = peers.MLPClassifier(8, max_iter=3, random_state=0, tol=0, **options)
    b._random_state = np.random.RandomState(0)
    b.partial_fit(X, y, classes=[0, 1, 2])
    a = MLPClassifier(8, random_state=0, **options)
    a.partial_fit(X, y, classes=[0, 1, 2])
    start = peers.MLPClassifier(8, random_state=0, learning_rate_init=1e-300, solver="sgd")
    start.partial_fit(X, y, classes=[0, 1, 2])
    fresh = MLPClassifier(8, random_state=0, **{**options, "learning_rate_init": 1e-300})
    fresh.partial_fit(X, y, classes=[0, 1, 2])
    fresh.coefs_, fresh.intercepts_ = start.coefs_, start.intercepts_
    fresh._rate, fresh._optimizer_state = 0.05, None
    fresh.partial_fit(X, y)
    for w, v in zip(fresh.coefs_ + fresh.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-7, atol=1e-9)
    assert fresh.loss_ == pytest.approx(b.loss_, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_no_worse_than_scikit_learn_on_real_data(seed):
    X, y = load_breast_cancer(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=seed)
    scale = StandardScaler().fit(A)
    ours = MLPClassifier(random_state=seed).fit(scale.transform(A), a).score(scale.transform(B), b)
    assert ours > 0.94
    X, y = load_diabetes(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=seed)
    options = {"solver": "lbfgs", "alpha": 3000.0, "max_iter": 500, "random_state": seed}
    scale = StandardScaler().fit(A)
    ours = MLPRegressor(hidden_layer_sizes=10, **options).fit(scale.transform(A), a)
    peer = peers.MLPRegressor(hidden_layer_sizes=10, **options).fit(scale.transform(A), a)
    # So much decay leaves about one optimum, whatever the start.
    assert ours.score(scale.transform(B), b) > peer.score(scale.transform(B), b) - 0.05
    assert ours.score(scale.transform(B), b) > 0.3


def test_lbfgs_ends_where_scikit_learns_does_from_the_same_start():
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    for seed in range(3):
        options = {"solver": "lbfgs", "alpha": 100.0, "warm_start": True, "random_state": seed}
        b = peers.MLPRegressor(max_iter=1, **options).fit(X, y)
        a = MLPRegressor(max_iter=1, **options).fit(X, y)
        a.coefs_ = [w.copy() for w in b.coefs_]
        a.intercepts_ = [v.copy() for v in b.intercepts_]
        a.set_params(max_iter=1000).fit(X, y), b.set_params(max_iter=1000).fit(X, y)
        np.testing.assert_allclose(a.loss_, b.loss_, rtol=1e-4)
        np.testing.assert_allclose(a.score(X, y), b.score(X, y), rtol=1e-2)


def test_solvers_learn(moons):
    X, y = moons
    for solver, options in [("adam", {}), ("lbfgs", {}), ("sgd", {"learning_rate_init": 0.2}),
                            ("sgd", {"learning_rate": "adaptive", "learning_rate_init": 0.2}),
                            ("sgd", {"learning_rate": "invscaling", "learning_rate_init": 0.5,
                                     "power_t": 0.1})]:  # fmt: skip
        model = MLPClassifier(30, solver=solver, random_state=0, max_iter=400, **options).fit(X, y)
        assert model.score(X, y) > 0.93, (solver, options)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        assert model.n_iter_ >= 1
        assert [w.shape for w in model.coefs_] == [(2, 30), (30, 1)]
        assert model.n_layers_ == 3
        assert model.n_outputs_ == 1
        assert model.out_activation_ == "logistic"


def test_several_labels(rng):
    X, y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    X = StandardScaler().fit_transform(X)
    model = MLPClassifier(20, solver="lbfgs", random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.predict_proba(X).shape == model.predict(X).shape == (200, 3)
    with pytest.raises(ValueError, match="0 and 1"):
        model.fit(X, y * 2)


def test_regression(rng):
    X = rng.normal(size=(300, 3))
    y = X[:, 0] * X[:, 1]
    model = MLPRegressor(hidden_layer_sizes=40, solver="lbfgs", random_state=0, max_iter=1000)
    assert model.fit(X, y).score(X, y) > 0.95
    both = model.fit(X, np.column_stack([y, -y]))
    assert both.predict(X).shape == (300, 2)
    counts = rng.poisson(np.exp(X[:, 0]))
    model = MLPRegressor("poisson", 20, random_state=0, solver="lbfgs").fit(X, counts)
    assert (model.predict(X) > 0).all()
    assert np.corrcoef(model.predict(X), np.exp(X[:, 0]))[0, 1] > 0.9
    with pytest.raises(ValueError, match="not be negative"):
        model.fit(X, -1 - counts)
    with pytest.raises(ValueError, match="must have 1 columns"):
        MLPRegressor(random_state=0).partial_fit(X, y).partial_fit(X, np.column_stack([y, y]))


def test_early_stopping_keeps_the_best(moons):
    X, y = moons
    model = MLPClassifier(30, early_stopping=True, random_state=0, max_iter=300,
                          n_iter_no_change=5, learning_rate_init=0.02).fit(X, y)  # fmt: skip
    assert model.n_iter_ < 300
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_loss_ is None
    with pytest.raises(ValueError, match="validation_fraction must leave at least 2"):
        MLPClassifier(early_stopping=True, validation_fraction=0.01).fit(X[:20], y[:20])


def test_partial_fit_knows_the_classes():
    m = MLPClassifier(random_state=0)
    m.partial_fit([[1], [2], [3]], list("abc"), classes=list("abcd"))
    m.partial_fit([[4]], ["d"])
    assert m.predict_proba([[1.0]]).shape == (1, 4)
    assert m.n_iter_ == 2
    assert m.t_ == 4
    with pytest.raises(ValueError, match="known classes only"):
        m.partial_fit([[4]], ["e"])
    with pytest.raises(ValueError, match="those of the first call"):
        m.partial_fit([[4]], ["a"], classes=list("abc"))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit([[1]], ["a"])
    for model in (MLPClassifier(early_stopping=True), MLPRegressor(early_stopping=True)):
        y = [0, 1] * 20
        model.fit(np.arange(40.0)[:, None], y)
        with pytest.raises(ValueError, match="early_stopping must be False for partial_fit"):
            model.partial_fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(AttributeError, match="only available for"):
        MLPClassifier(solver="lbfgs").partial_fit([[1]], ["a"], classes=["a", "b"])


def test_order_is_respected_without_shuffling(rng):
    X, y = rng.normal(size=(100, 2)), rng.integers(0, 2, 100)
    fits = [
        MLPClassifier(5, shuffle=False, random_state=0, max_iter=3, batch_size=10).fit(A, b)
        for A, b in ((X, y), (X.copy(), y), (X[::-1], y[::-1]))
    ]
    assert (fits[0].coefs_[0] == fits[1].coefs_[0]).all()
    assert (fits[0].coefs_[0] != fits[2].coefs_[0]).any()


def test_weights_equal_repetition(rng):
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    w = rng.integers(0, 3, 60)
    options = {"solver": "lbfgs", "alpha": 0, "random_state": 0, "max_iter": 20}
    for model in (MLPClassifier(8, **options), MLPRegressor(hidden_layer_sizes=8, **options)):
        a = model.fit(X, y, sample_weight=w).coefs_[0]
        b = model.fit(np.repeat(X, w, 0), np.repeat(y, w)).coefs_[0]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_bits_do_not_depend_on_threads_and_float32_stays(rng):
    X, y = rng.normal(size=(500, 20)).astype(np.float32), rng.integers(0, 3, 500)
    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            found.append(MLPClassifier(50, random_state=0, max_iter=5).fit(X, y))
    for model in found:
        assert model.coefs_[0].dtype == np.float32
        assert model.coefs_[0].tobytes() == found[0].coefs_[0].tobytes()
        assert model.predict_proba(X).dtype == np.float32


def test_sparse_rows_and_files(rng, tmp_path):
    from scipy.sparse import random as sparse

    X = sparse(100, 30, 0.2, format="csr", random_state=0)
    y = rng.integers(0, 2, 100)
    a = MLPClassifier(5, random_state=0, max_iter=10).fit(X, y)
    b = MLPClassifier(5, random_state=0, max_iter=10).fit(X.toarray(), y)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], rtol=1e-12)
    kernelmill.save(a, tmp_path / "m.safetensors")
    for other in (kernelmill.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(a))):
        np.testing.assert_array_equal(other.predict_proba(X), a.predict_proba(X))
        other.partial_fit(X, y)


def test_checkpoints_can_be_used(moons, tmp_path):
    from kernelmill.callbacks import Checkpoint

    X, y = moons
    model = MLPClassifier(5, random_state=0, max_iter=3)
    if not hasattr(model, "set_callbacks"):
        pytest.skip("scikit-learn before 1.9 has no callbacks")
    model.fit(X, np.where(y == "in", "a", "b"))  # whose classes the next fit does not have
    model.set_callbacks(Checkpoint(tmp_path / "m", every=0)).fit(X, y)
    np.testing.assert_array_equal(
        kernelmill.load(tmp_path / "m").predict_proba(X), model.predict_proba(X)
    )
    assert set(kernelmill.load(tmp_path / "m").predict(X)) <= {"in", "out"}


def test_in_a_grid_search(moons):
    X, y = moons
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(random_state=0, solver="lbfgs")),
        {"mlpclassifier__hidden_layer_sizes": [(2,), (20,)]}, cv=3,
    )  # fmt: skip
    assert search.fit(X, y).best_params_ == {"mlpclassifier__hidden_layer_sizes": (20,)}


def test_going_on_and_stopping(moons):
    X, y = moons
    model = MLPClassifier(10, random_state=0, max_iter=3, warm_start=True)
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        model.fit(X, y)
    first = model.loss_
    model.fit(X, y)
    assert model.loss_ < first
    assert len(model.loss_curve_) == 6
    before = [w.copy() for w in model.coefs_]
    with pytest.raises(ValueError, match=r"the classes of the last fit .* got \[.*\] for"):
        model.fit(X[y == y[0]], y[y == y[0]])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.coefs_, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        MLPClassifier(10, random_state=0, tol=0.1, n_iter_no_change=2).fit(X, y)


def test_bad_input():
    X = np.ones((4, 2))
    for model, y, message in [
        (MLPClassifier(), None, "y must be given"), (MLPRegressor(), None, "y must be given"),
        (MLPClassifier(), [1, 2, 3], "one entry for each row"),
        (MLPClassifier(), [0.5, 1.5, 1, 2], "class labels"),
        (MLPRegressor(), ["a"] * 4, "numbers"), (MLPRegressor(), [np.nan, 1, 1, 1], "finite"),
        (MLPClassifier(0), [0, 1, 0, 1], "hidden_layer_sizes"),
        (MLPClassifier(solver="x"), [0, 1, 0, 1], "solver"),
        (MLPClassifier(alpha=-1), [0, 1, 0, 1], "alpha"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)
    with pytest.raises(ValueError, match="loss must stay finite"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0, max_iter=50).fit(
            X * 1e3, [1.0, 2, 3, 4]
        )
