"""Linear models on the tour: planes between classes and lines through numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ._context import Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Digits by perceptrons, tumours by planes, diabetes by lines and their band."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import scale

    from ...linear_model import (
        BayesianRidge,
        LassoCV,
        LogisticRegression,
        Perceptron,
        Ridge,
        SGDClassifier,
        SGDRegressor,
    )

    if context.device == "cuda":
        context.notes.append("Linear models ran on the CPU.")
    logistic = SGDClassifier(loss="log_loss", penalty="l1", alpha=0.01, random_state=0)
    for name, load, model in (
        ("digits", load_digits, Perceptron(early_stopping=True)),
        ("tumours", load_breast_cancer, logistic),
        ("tumours", load_breast_cancer, LogisticRegression()),
        ("diabetes", load_diabetes, SGDRegressor(average=True, random_state=0)),
        ("diabetes", load_diabetes, Ridge()),
        ("diabetes", load_diabetes, LassoCV()),
        ("diabetes", load_diabetes, BayesianRidge()),
    ):
        X, y = load(return_X_y=True)
        A, B, a, b = train_test_split(scale(X), y, random_state=0)
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        measure = "R2" if name == "diabetes" else "accuracy"
        score = f"{measure} {model.score(B, b):.3f}"
        if isinstance(model, LassoCV):
            score += f", {int((model.coef_ != 0).sum())} features"
        if isinstance(model, BayesianRidge):
            mean, band = model.predict(B, return_std=True)
            score += f", band {float((abs(b - mean) < 1.96 * band).mean()):.0%}"
        data, where = f"{name}, held out", context.where()
        yield Row(type(model).__name__, data, A.shape, seconds, score, where)
    if context.plot:
        _draw(context)


def _draw(context: Context) -> None:
    """The path of the lasso, a Bayesian band, and logistic coefficients with intervals."""
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ...linear_model import BayesianLinearRegression, LassoCV, LogisticRegression
    from ...plot import CoefficientDisplay, CoefficientPathDisplay, PredictiveBandDisplay

    diabetes, tumours = load_diabetes(), load_breast_cancer()
    X, y = diabetes.data, diabetes.target
    A, B, a, b = train_test_split(X, y, random_state=0)
    figure = context.figure(17, 5)
    path, band, sizes = figure.subplots(1, 3, width_ratios=(5, 5, 4.6))
    lasso = make_pipeline(StandardScaler(), LassoCV()).fit(X, y)
    CoefficientPathDisplay.from_estimator(
        lasso, X, y, feature_names=diabetes.feature_names, ax=path
    )
    bayes = make_pipeline(StandardScaler(), BayesianLinearRegression()).fit(A, a)
    PredictiveBandDisplay.from_estimator(bayes, B, b, ax=band)
    band.set(xlabel="Prediction of rows held out", ylabel="Progression of the disease")
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    logistic.fit(tumours.data, tumours.target)
    CoefficientDisplay.from_estimator(
        logistic, tumours.data, feature_names=tumours.feature_names, ax=sizes, most=14
    )
    sizes.set_xlabel("Coefficient, for a benign tumour")
    context.save(figure, "linear", "the lasso's path, a predictive band, logistic coefficients")
