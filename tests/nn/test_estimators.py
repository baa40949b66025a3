"""NeuralNetClassifier and NeuralNetRegressor: parameters, weights, states, any module."""

import io
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kernelmill
from kernelmill import nn
from kernelmill.nn import NeuralNetClassifier, NeuralNetRegressor, optim


@kernelmill.register(key="tests.Net")
class Net(nn.Module):
    """A network with dropout, for any sizes."""

    def __init__(self, n_features, n_outputs, hidden=16, p=0.0):
        super().__init__()
        self.hidden, self.out = nn.Linear(n_features, hidden), nn.Linear(hidden, n_outputs)
        self.p = p

    def forward(self, x):
        h = nn.functional.dropout(self.hidden(x).tanh(), self.p, self.training)
        return self.out(h)


@pytest.fixture
def moons(rng):
    X = rng.normal(size=(240, 2))
    return X, np.where(X[:, 0] ** 2 > X[:, 1], "in", "out")


def same(a, b, X):
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    for p, q in zip(a.module_.parameters(), b.module_.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_parameters_are_routed(moons):
    X, y = moons
    model = NeuralNetClassifier(
        Net, module__hidden=5, optimizer=optim.SGD, optimizer__momentum=0.9, lr=0.1, max_epochs=2,
        criterion__label_smoothing=0.1, random_state=0,
    )  # fmt: skip
    assert model.get_params()["module__hidden"] == 5
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert "module__hidden=5" in repr(model)
    assert model.fit(X, y).module_.hidden.weight.shape == (5, 2)
    assert model.set_params(module__hidden=7, max_epochs=3).module__hidden == 7
    assert model.fit(X, y).module_.hidden.weight.shape == (7, 2)
    assert len(model.history_) == model.n_iter_ == 3
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden'"):
        NeuralNetClassifier(Net, hidden=3)
    with pytest.raises(ValueError, match="Invalid parameter 'hidden'"):
        model.set_params(hidden=3)
    with pytest.raises(ValueError, match="module must be a class for module__"):
        NeuralNetClassifier(nn.Linear(2, 2), module__hidden=3).fit(X, y)
    with pytest.raises(ValueError, match=r"module must give a kernelmill\.nn\.Module"):
        NeuralNetClassifier(lambda: 3).fit(X, y)
    with pytest.raises(ValueError, match="early_stopping must be True for metrics"):
        NeuralNetClassifier(metrics="accuracy").fit(X, y)
    with pytest.raises(ValueError, match="lr must be a number above 0"):
        NeuralNetClassifier(lr=0).fit(X, y)
    with pytest.raises(ValueError, match="module must give 3 numbers for each row, got 2"):
        NeuralNetClassifier(nn.Linear(2, 2), max_epochs=1).fit(X, np.arange(len(X)) % 3)
    with pytest.raises(ValueError, match="module must give 1 numbers for each row, got 3"):
        NeuralNetRegressor(nn.Linear(2, 3), max_epochs=1).fit(X, X[:, 0])
    more = NeuralNetClassifier(nn.Linear(2, 5), max_epochs=1).fit(X, y)
    assert more.predict_proba(X).shape == (len(X), 2)


def test_an_instance_is_not_changed(moons):
    X, y = moons
    own = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    before = [p.data.copy() for p in own.parameters()]
    model = NeuralNetClassifier(own, max_epochs=3, lr=0.05, random_state=0)
    first = [p.data.copy() for p in model.fit(X, y).module_.parameters()]
    for p, q in zip(own.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, q)
    again = model.fit(X, y).module_.parameters()
    for p, q in zip(again, first, strict=True):
        np.testing.assert_array_equal(p.data, q)


def test_in_searches_and_pipelines(moons):
    X, y = moons
    pipeline = make_pipeline(
        StandardScaler(),
        NeuralNetClassifier(Net, lr=0.03, max_epochs=25, random_state=0, early_stopping=True,
                            metrics="accuracy", monitor="valid_accuracy", n_iter_no_change=8),
    )  # fmt: skip
    search = GridSearchCV(
        pipeline,
        {"neuralnetclassifier__module__hidden": [1, 30],
         "neuralnetclassifier__optimizer": [optim.Adam]},
        cv=3, error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert search.best_params_["neuralnetclassifier__module__hidden"] == 30
    assert search.score(X, y) > 0.9
    best = search.best_estimator_[-1]
    found = [row["valid_accuracy"] for row in best.history_]
    assert best.best_epoch_ == 1 + int(np.argmax(found))


@pytest.mark.parametrize("module", [Net, None])
def test_files(moons, module):
    X, y = moons
    model = NeuralNetClassifier(
        module, max_epochs=3, random_state=0, lr_scheduler=optim.lr_scheduler.StepLR,
        lr_scheduler__step_size=2, warm_start=True, criterion=nn.CrossEntropyLoss(),
    )  # fmt: skip
    model.fit(X, y)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    loaded = kernelmill.load(file)
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        same(other, model, X)
        assert other.history_ == model.history_
    model.fit(X, y)
    same(loaded.fit(X, y), model, X)  # the optimiser, the schedule and the generators too
    np.testing.assert_allclose(
        [row["lr"] for row in model.history_], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    )

    cyclic = NeuralNetClassifier(lr_scheduler=optim.lr_scheduler.OneCycleLR)
    file = io.BytesIO()
    kernelmill.save(cyclic, file)
    file.seek(0)
    assert kernelmill.load(file).lr_scheduler is optim.lr_scheduler.OneCycleLR

    class Own(nn.Module):
        pass

    with pytest.raises(TypeError, match=r"kernelmill\.register"):
        kernelmill.save(NeuralNetClassifier(Own), io.BytesIO())


def test_going_on_equals_one_fit(moons):
    """Six epochs, three and three, and six single ones of partial_fit; with dropout."""
    X, y = moons
    options = {"module__p": 0.3, "lr": 0.01, "random_state": 3, "batch_size": 50}
    whole = NeuralNetClassifier(Net, max_epochs=6, **options).fit(X, y)
    halves = NeuralNetClassifier(Net, max_epochs=3, warm_start=True, **options).fit(X, y)
    same(halves.fit(X, y), whole, X)
    single = NeuralNetClassifier(Net, **options)
    for _ in range(6):
        single.partial_fit(X, y, classes=["in", "out"])
    same(single, whole, X)
    assert [r["epoch"] for r in single.history_] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        NeuralNetClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="known classes only"):
        single.partial_fit(X[:1], ["other"])
    with pytest.raises(ValueError, match="early_stopping must be False for partial_fit"):
        NeuralNetRegressor(early_stopping=True).partial_fit(X, X)


def test_threads_do_not_change_bits(moons):
    X, y = moons
    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            found.append(NeuralNetClassifier(Net, module__p=0.2, random_state=0).fit(X, y))
    same(found[0], found[1], X)
    same(found[0], found[2], X)
    nn.manual_seed(1)
    before = nn.rand(1).item()
    nn.manual_seed(1)
    NeuralNetClassifier(Net, module__p=0.2, max_epochs=1).fit(X, y)
    assert nn.rand(1).item() == before  # the default generator is left alone


@pytest.mark.parametrize("estimator", [NeuralNetClassifier, NeuralNetRegressor])
def test_weights_equal_repetition(rng, estimator):
    """All rows in one batch, so that their order is that of a sum."""
    X = rng.normal(size=(60, 3))
    y = rng.integers(0, 3, 60)
    w = rng.integers(0, 4, 60)
    options = {"random_state": 0, "batch_size": 500, "max_epochs": 15, "lr": 0.05}
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3 if estimator is
                                                                 NeuralNetClassifier else 1))
    a = estimator(module.double(), **options).fit(X, y, sample_weight=w)
    b = estimator(module.double(), **options).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(
        a.module_[0].weight.data, b.module_[0].weight.data, rtol=1e-9, atol=1e-11
    )
    assert a.history_[-1]["train_loss"] == pytest.approx(b.history_[-1]["train_loss"], rel=1e-9)


def test_class_weights(rng):
    X = rng.normal(size=(200, 2))
    y = (X[:, 0] > 1.2).astype(int)
    options = {"random_state": 0, "batch_size": 500, "max_epochs": 10}
    a = NeuralNetClassifier(class_weight={0: 1.0, 1: 5.0}, **options).fit(X, y)
    b = NeuralNetClassifier(**options).fit(X, y, sample_weight=np.where(y == 1, 5.0, 1.0))
    same(a, b, X)
    balanced = NeuralNetClassifier(class_weight="balanced", **options).fit(X, y)
    plain = NeuralNetClassifier(**options).fit(X, y)
    assert balanced.predict(X).sum() > plain.predict(X).sum()


def test_losses_and_outputs(rng, moons):
    X, y = moons
    models = [
        NeuralNetClassifier(criterion=nn.BCEWithLogitsLoss),
        NeuralNetClassifier(),
        NeuralNetClassifier(criterion=nn.NLLLoss, module=nn.Sequential(
            nn.Linear(2, 30), nn.ReLU(), nn.Linear(30, 2), nn.LogSoftmax(1))),
        NeuralNetClassifier(criterion=nn.BCELoss, module=nn.Sequential(
            nn.Linear(2, 30), nn.ReLU(), nn.Linear(30, 1), nn.Sigmoid(), nn.Flatten(0))),
    ]  # fmt: skip
    for model in models:
        model.set_params(lr=0.03, max_epochs=40, random_state=0, early_stopping=True,
                         metrics=["neg_log_loss", "roc_auc"]).fit(X, y)  # fmt: skip
        p = model.predict_proba(X)
        assert p.shape == (240, 2)
        assert p.dtype == np.float64
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
        np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(1)])
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
        assert model.score(X, y) > 0.9
        row = model.history_[-1]
        assert row["valid_neg_log_loss"] == pytest.approx(-row["valid_loss"], rel=1e-4)
        assert log_loss(y, p) < 0.4
    with pytest.raises(ValueError, match="criterion must take class numbers for 3 classes"):
        models[0].fit(X, np.arange(240) % 3)
    A, b = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    A = StandardScaler().fit_transform(A)
    several = NeuralNetClassifier(lr=0.03, max_epochs=60, random_state=0).fit(A, b)
    assert several.predict_proba(A).shape == several.predict(A).shape == (200, 3)
    assert several.score(A, b) > 0.8
    weighted = several.fit(A, b, sample_weight=np.ones(200))
    assert weighted.score(A, b) > 0.8


def test_regressions(rng):
    X = rng.normal(size=(300, 2)).astype(np.float32)
    y = X[:, 0] * X[:, 1]
    model = NeuralNetRegressor(lr=0.03, max_epochs=60, random_state=0, metrics="r2",
                               early_stopping=True).fit(X, y)  # fmt: skip
    assert model.score(X, y) > 0.9
    assert model.predict(X).dtype == np.float32
    assert model.predict(X).shape == (300,)
    both = model.fit(X, np.column_stack([y, -y]))
    assert both.predict(X).shape == (300, 2)
    flat = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))  # gives a vector
    assert NeuralNetRegressor(flat, max_epochs=1).fit(X, y).predict(X).shape == (300,)
    robust = NeuralNetRegressor(criterion=nn.HuberLoss(delta=0.1), max_epochs=2)
    assert robust.fit(X, y, sample_weight=np.arange(300)).predict(X[:1]).shape == (1,)

    def loss(output, target):
        return (output - target).abs().mean()

    assert NeuralNetRegressor(criterion=loss, max_epochs=1).fit(X, y).n_iter_ == 1
    with pytest.raises(ValueError, match="criterion must have a reduction"):
        NeuralNetRegressor(criterion=loss).fit(X, y, sample_weight=np.ones(300))


def test_images_and_tokens(rng):
    X = rng.normal(size=(120, 1, 6, 6)).astype(np.float32)
    y = (X.mean((1, 2, 3)) > 0).astype(int)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    model = NeuralNetClassifier(module, lr=0.01, max_epochs=30, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(np.zeros((3, 2, 6, 6)))
    with pytest.raises(ValueError, match="sample_weight must have a positive sum"):
        model.fit(X, y, sample_weight=np.zeros(120))
    with pytest.raises(ValueError, match="X must be finite numbers"):
        model.fit(np.full((3, 1, 6, 6), np.nan), [0, 1, 0])
    assert (model.predict(X[:5].tolist()) == model.predict(X[:5])).all()
    words = rng.integers(0, 9, (150, 5))
    y = (words == 3).any(1).astype(int)
    bag = nn.Sequential(nn.Embedding(9, 8), nn.Flatten(), nn.Linear(40, 2))
    model = NeuralNetClassifier(bag, lr=0.03, max_epochs=40, input_dtype="int64", random_state=0)
    assert model.fit(words, y).score(words, y) > 0.95


def test_ctrl_c_keeps_the_last_whole_epoch(moons):
    X, y = moons
    calls = []

    class Stopping(Net):
        def forward(self, x):
            calls.append(1)
            if len(calls) == 12:  # in the third epoch of five batches
                raise KeyboardInterrupt
            return super().forward(x)

    options = {"batch_size": 50, "random_state": 0, "lr": 0.01}
    model = NeuralNetClassifier(Stopping, max_epochs=10, warm_start=True, **options)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.interrupted_
    assert model.n_iter_ == 2
    same(model, NeuralNetClassifier(Net, max_epochs=2, **options).fit(X, y), X)
    model.set_params(max_epochs=1).fit(X, y)
    same(model, NeuralNetClassifier(Net, max_epochs=3, **options).fit(X, y), X)
    calls.clear()
    other = NeuralNetClassifier(Stopping, max_epochs=10, **options)
    with pytest.raises(KeyboardInterrupt):
        other.fit(X, y)
    assert not hasattr(other, "module_")


def test_checkpoints_of_callbacks(moons, tmp_path):
    from kernelmill.callbacks import Checkpoint

    X, y = moons
    model = NeuralNetClassifier(Net, max_epochs=3, random_state=0)
    if not hasattr(model, "set_callbacks"):
        pytest.skip("scikit-learn before 1.9 has no callbacks")
    model.set_callbacks(Checkpoint(tmp_path / "model", every=0)).fit(X, y)
    same(kernelmill.load(tmp_path / "model"), model, X)


def test_a_loss_that_is_not_finite_leaves_the_model_alone(moons):
    X, y = moons
    y = X[:, 0]
    model = NeuralNetRegressor(Net, max_epochs=2, random_state=0).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="NeuralNetRegressor: the loss must stay finite"):
        model.set_params(lr=1e30, warm_start=True, optimizer=optim.SGD).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
