"""Displays of decompositions: shares of the variance, rows in a plane."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill.decomposition import PCA
from kernelmill.plot import EmbeddingDisplay, ExplainedVarianceDisplay

X = np.random.default_rng(0).normal(size=(60, 5)) * [5, 3, 1, 0.5, 0.1]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_shares_are_drawn_and_the_threshold_marked():
    model = PCA().fit(X)
    display = ExplainedVarianceDisplay.from_estimator(model)
    np.testing.assert_allclose(
        [bar.get_height() for bar in display.ax_.patches], model.explained_variance_ratio_
    )
    np.testing.assert_allclose(
        display.ax_.lines[0].get_ydata(), np.cumsum(model.explained_variance_ratio_)
    )
    assert display.reached_ == 2
    assert "components" in display.ax_.texts[0].get_text()
    assert ExplainedVarianceDisplay([0.5, 0.4], threshold=0.95).plot().reached_ is None
    assert ExplainedVarianceDisplay([0.5, 0.4], threshold=None).reached_ is None
    assert ExplainedVarianceDisplay([0.5, 0.4]).reached_ == 2
    with pytest.raises(ValueError, match="explained_variance_ratio_"):
        ExplainedVarianceDisplay.from_estimator(StandardScaler().fit(X))


def test_rows_are_drawn_where_the_model_puts_them():
    model = make_pipeline(StandardScaler(), PCA(3)).fit(X)
    y = np.array(["left", "right"])[(X[:, 0] > 0).astype(int)]
    display = EmbeddingDisplay.from_estimator(model, X, y, components=(2, 0))
    Z = model.transform(X)[:, [2, 0]]
    np.testing.assert_allclose(display.points, Z)
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in display.ax_.collections])
    np.testing.assert_allclose(drawn, np.concatenate([Z[y == "left"], Z[y == "right"]]))
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["left", "right"]
    assert display.ax_.get_ylabel() == "PCA 0"
    with pytest.raises(ValueError, match="components must be two of 3 columns"):
        EmbeddingDisplay.from_estimator(model, X, components=(0, 3))


def test_an_embedding_of_the_training_rows_is_drawn_as_it_is():
    class Model:
        embedding_ = X[:, :2]

        def __sklearn_is_fitted__(self):
            return True

        def fit(self, X):
            return self

    display = EmbeddingDisplay.from_estimator(Model(), X, X[:, 0], max_points=20)
    assert len(display.points) == 20
    np.testing.assert_allclose(display.target, display.points[:, 0])
    assert len(display.figure_.axes) == 2


def test_one_component_has_one_whole_tick():
    ax = ExplainedVarianceDisplay([0.4]).plot().ax_
    low, high = ax.get_xlim()
    assert [t for t in ax.get_xticks() if low <= t <= high] == [1]
