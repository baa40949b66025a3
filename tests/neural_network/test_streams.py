"""Perceptrons and networks on streams: the model of the same rows in memory."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from kernelmill import nn
from kernelmill._estimator import _rows
from kernelmill.neural_network import MLPClassifier, MLPRegressor
from kernelmill.stream import source

RNG = np.random.default_rng(0)
X = RNG.normal(size=(230, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + 2 * (X[:, 2] > 0.5)
V = X @ RNG.normal(size=(4, 2))
W = RNG.uniform(0.5, 2, len(X))
EDGES = (0, 50, 51, 180, 230)

SMALL = {"hidden_layer_sizes": 8, "max_iter": 3, "batch_size": 32}
MODELS = {
    "MLPClassifier": (lambda **o: MLPClassifier(**SMALL, **o), Y),
    "MLPRegressor": (lambda **o: MLPRegressor(**SMALL, **o), V),
    "NeuralNetClassifier": (
        lambda **o: nn.NeuralNetClassifier(max_epochs=3, batch_size=32, module__hidden=8, **o), Y
    ),
    "NeuralNetRegressor": (
        lambda **o: nn.NeuralNetRegressor(max_epochs=3, batch_size=32, module__hidden=8, **o), V
    ),
}  # fmt: skip


def chunks(weights=None):
    for a, b in itertools.pairwise(EDGES):
        yield X[a:b] if weights is None else (X[a:b], weights[a:b])


def outputs(model, rows=X):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


@pytest.fixture
def _nothing_is_kept(monkeypatch):
    """Every stream is read anew in each epoch."""
    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)


def quiet(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three epochs are not enough to converge
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_streams_that_are_kept_give_the_same_model(name, early_stopping, tmp_path):
    make, y = MODELS[name]
    options = {"random_state": 3, "early_stopping": early_stopping}
    want = outputs(quiet(make(**options), X, y))
    np.save(tmp_path / "rows.npy", X)
    for rows in (chunks, source(chunks), str(tmp_path / "rows.npy"), chunks()):
        model = quiet(make(**options), rows, y)
        np.testing.assert_array_equal(outputs(model), want)
        np.testing.assert_array_equal(outputs(model, chunks), want)
        np.testing.assert_array_equal(outputs(model, chunks()), want)
    assert model.score(chunks, y) == model.score(X, y)
    weighted = outputs(quiet(make(**options), X, y, sample_weight=W))
    model = quiet(make(**options), lambda: chunks(W), y)
    np.testing.assert_array_equal(outputs(model), weighted)


@pytest.mark.usefixtures("_nothing_is_kept")
@pytest.mark.parametrize("name", MODELS)
def test_larger_streams_are_read_in_each_epoch(name):
    """In order they give the bits of the rows in memory; shuffled in windows, a model as good."""
    make, y = MODELS[name]
    for weight in (None, W):
        want = quiet(make(random_state=3, shuffle=False), X, y, sample_weight=weight)
        model = quiet(make(random_state=3, shuffle=False), lambda w=weight: chunks(w), y)
        np.testing.assert_array_equal(outputs(model), outputs(want))
    mixed = quiet(make(random_state=3), chunks, y)
    assert mixed.score(X, y) > want.score(X, y) - 0.2
    assert (outputs(mixed) != outputs(want)).any()
    again = quiet(make(random_state=3), chunks, y)
    np.testing.assert_array_equal(outputs(again), outputs(mixed))
    stopped = quiet(make(random_state=3, early_stopping=True), chunks, y)
    assert np.isfinite(outputs(stopped)).all()


@pytest.mark.parametrize("name", MODELS)
def test_partial_fit_takes_streams_and_iterators(name):
    make, y = MODELS[name]
    first = {"classes": np.unique(y)} if "Classifier" in name else {}
    models = []
    for rows in (lambda: X, lambda: chunks, lambda: chunks(), lambda: source(chunks)):
        model = make(random_state=1)
        model.partial_fit(rows(), y, **first)
        model.partial_fit(rows(), y)
        models.append(outputs(model))
    for other in models[1:]:
        np.testing.assert_array_equal(other, models[0])


@pytest.mark.parametrize("name", MODELS)
def test_targets_must_fit_the_stream(name, monkeypatch):
    make, y = MODELS[name]
    with pytest.raises(ValueError, match="one entry for each row of X, got 200 for 230"):
        make().fit(chunks, y[:200])
    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)
    with pytest.raises(ValueError, match="must be readable more than once where it is larger"):
        make().fit(chunks(), y)
    if name.startswith("MLP"):
        with pytest.raises(ValueError, match="solver must be 'adam' or 'sgd'"):
            make(solver="lbfgs").fit(chunks, y)


@pytest.mark.usefixtures("_nothing_is_kept")
def test_class_weights_of_a_stream():
    options = {"random_state": 3, "shuffle": False, "class_weight": "balanced"}
    make = MODELS["NeuralNetClassifier"][0]
    want = make(**options).fit(X, Y)
    np.testing.assert_array_equal(outputs(make(**options).fit(chunks, Y)), outputs(want))
    want = make(**options).fit(X, Y, sample_weight=W)
    model = make(**options).fit(lambda: chunks(W), Y)
    np.testing.assert_allclose(outputs(model), outputs(want), rtol=1e-12)
