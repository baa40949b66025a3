"""Learning curves of trainers, estimators over networks and perceptrons."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill import nn
from kernelmill.neural_network import MLPClassifier
from kernelmill.plot import HistoryDisplay


@pytest.fixture(autouse=True)
def _no_figure_is_left(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    yield
    plt.close("all")


@pytest.fixture
def data(rng):
    X = rng.normal(size=(100, 2))
    return X, (X[:, 0] > 0).astype(int)


def test_curves_of_an_estimator_in_a_pipeline(data):
    X, y = data
    model = nn.NeuralNetClassifier(
        max_epochs=6, early_stopping=True, metrics="accuracy", random_state=0, lr=0.01
    )
    display = HistoryDisplay.from_estimator(make_pipeline(StandardScaler(), model).fit(X, y))
    assert [*display.lines_] == ["train_loss", "valid_loss", "valid_accuracy"]
    for name, line in display.lines_.items():
        assert line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
        want = [row[name] for row in display.history]
        np.testing.assert_array_equal(line.get_ydata(), want)
    assert display.lines_["valid_accuracy"].axes is display.metric_ax_
    assert display.lines_["valid_loss"].axes is display.ax_
    assert [text.get_text() for text in display.ax_.texts] == ["best"]
    assert display.ax_.get_title(loc="left") == "NeuralNetClassifier: training"
    _, ax = plt.subplots()
    assert display.plot(ax, linewidth=5).lines_["train_loss"].get_linewidth() == 5
    assert display.ax_ is ax


def test_curves_of_a_trainer_and_of_perceptrons(data):
    X, y = data
    network = nn.Linear(2, 2)
    trainer = nn.Trainer(3).fit(
        network, nn.CrossEntropyLoss(), nn.optim.SGD(network.parameters(), 0.1),
        [(X.astype(np.float32), y)],
    )  # fmt: skip
    display = HistoryDisplay.from_estimator(trainer)
    assert [*display.lines_] == ["train_loss"]
    assert display.metric_ax_ is None
    model = MLPClassifier(5, early_stopping=True, random_state=0, n_iter_no_change=2, tol=1.0)
    display = HistoryDisplay.from_estimator(model.fit(X, y))
    np.testing.assert_array_equal(display.curves["train_loss"], model.loss_curve_)
    np.testing.assert_array_equal(display.curves["valid_score"], model.validation_scores_)
    assert display.best_epoch == 1 + int(np.argmax(model.validation_scores_))
    only = HistoryDisplay([{"valid_score": 1.0}]).plot()
    assert only.ax_.get_ylabel() == "Metric"
    with pytest.raises(ValueError, match="must have at least one row"):
        HistoryDisplay([])
    with pytest.raises(ValueError, match="must be a model with history_ or loss_curve_"):
        HistoryDisplay.from_estimator(StandardScaler().fit(X))
