"""What a wrong target or class weight is answered with."""

import re

import numpy as np
import pandas as pd
import pytest

from kernelmill.kernel_ridge import KernelRidge
from kernelmill.linear_model import (
    BayesianRidge,
    HuberRegressor,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
    TweedieRegressor,
)
from kernelmill.svm import SVR, SVRCV

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "model",
    [
        BayesianRidge, HuberRegressor, KernelRidge, LassoCV, LinearRegression, SVR, SVRCV,
        TweedieRegressor,
    ],
)  # fmt: skip
def test_targets_whose_squares_overflow_are_refused(model):
    words = f"{model.__name__}: y must be small enough to be squared in float64, got values of up"
    with pytest.raises(ValueError, match=words):
        model().fit(X, 1e200 * Y)
    with pytest.raises(ValueError, match=words):
        model().fit(X, -1e200 * abs(Y))
    assert np.isfinite(model().fit(X, 1e100 * Y).predict(X)).all()


@pytest.mark.parametrize("model", [PoissonRegressor(), QuantileRegressor(alpha=0.0)])
def test_targets_that_are_not_squared_may_be_large(model):
    assert np.isfinite(model.fit(X, 1e200 * abs(Y)).predict(X)).all()


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "got NaN at row 3 (Input y contains NaN"), (np.inf, "got inf at row 3 (Input y con"),
     (-np.inf, "got -inf at row 3 (Input y contains infinity")],
)  # fmt: skip
def test_targets_that_are_not_finite_are_named(value, words):
    y = Y.copy()
    y[3] = value
    with pytest.raises(ValueError, match=re.escape(words)):
        LinearRegression().fit(X, y)
    y = np.column_stack([Y, Y])
    y[5:7, 1] = value
    with pytest.raises(ValueError, match=re.escape("at row 5, column 1 and 1 more (Input")):
        LinearRegression().fit(X, y)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression, LogisticRegressionCV, Perceptron, RidgeClassifier, RidgeClassifierCV,
        SGDClassifier,
    ],
)  # fmt: skip
def test_weights_of_unknown_classes_name_the_model(model):
    words = f"{model.__name__}: class_weight must fit y, got others"
    with pytest.raises(ValueError, match=words):
        model(class_weight={"other": 2.0}).fit(X, np.where(Y > 0, "yes", "no"))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_missing_labels_are_named(missing, kind):
    labels = np.where(Y > 0, "yes", "no").astype(object)
    labels[3] = missing
    y = kind(list(labels)) if kind is not np.array else labels
    with pytest.raises(ValueError, match=r"a label for each row, got \S+ at row 3"):
        LogisticRegression().fit(X, y)
