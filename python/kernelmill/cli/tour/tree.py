"""Trees on the tour: tumours judged from measurements of cell nuclei, and a tree drawn."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ._context import INK, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Pruned trees on held-out rows, and quantiles of the progression of diabetes."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    from ...tree import DecisionTreeClassifier, DecisionTreeRegressor

    data = load_breast_cancer()
    A, B, a, b = train_test_split(data.data, data.target, random_state=0, stratify=data.target)
    model = DecisionTreeClassifier(ccp_alpha=0.008)
    _, seconds = context.timed(functools.partial(model.fit, A, a))
    score = f"AUC {roc_auc_score(b, model.predict_proba(B)[:, 1]):.3f}"
    yield Row("decision tree", "breast cancer, held out", A.shape, seconds, score, context.where())
    if context.plot:
        _draw(context, model, data)

    X, y = load_diabetes(return_X_y=True)
    C, D, c, d = train_test_split(X, y, random_state=0)
    inside = np.ones(len(d), bool)
    seconds = 0.0
    for q, keeps in ((0.1, np.greater_equal), (0.9, np.less_equal)):
        bound = DecisionTreeRegressor(criterion="quantile", quantile=q, min_samples_leaf=30)
        _, own = context.timed(functools.partial(bound.fit, C, c))
        seconds += own
        inside &= keeps(d, bound.predict(D))
    score = f"coverage {inside.mean():.2f}"
    yield Row("quantile trees", "diabetes, held out", C.shape, seconds, score, context.where())
    yield from _forests(context, data, (A, B, a, b), (C, D, c, d))


def _forests(context: Context, data: Any, classes: Any, values: Any) -> Iterator[Row]:
    """A forest with its importances, a forest's band of quantiles, and outliers."""
    from sklearn.metrics import roc_auc_score

    from ...ensemble import RandomForestClassifier, RandomForestRegressor

    A, B, a, b = classes
    model = RandomForestClassifier(oob_score=True, random_state=0)
    _, seconds = context.timed(functools.partial(model.fit, A, a))
    score = f"AUC {roc_auc_score(b, model.predict_proba(B)[:, 1]):.3f}"
    yield Row("random forest", "breast cancer, held out", A.shape, seconds, score, context.where())
    if context.plot:
        _draw_importances(context, model, data)
    C, D, c, d = values
    bands = RandomForestRegressor(min_samples_leaf=10, keep_targets=True, random_state=0)
    _, seconds = context.timed(functools.partial(bands.fit, C, c))
    low, high = bands.predict_quantiles(D, [0.1, 0.9]).T
    score = f"coverage {((low <= d) & (d <= high)).mean():.2f}"
    yield Row("quantile forest", "diabetes, held out", C.shape, seconds, score, context.where())


def _draw_importances(context: Context, model: Any, data: Any) -> None:
    order = model.feature_importances_.argsort()[-12:]
    figure = context.figure(7, 4)
    axes = figure.subplots()
    axes.barh([data.feature_names[f] for f in order], model.feature_importances_[order])
    axes.set_xlabel("share of the decrease of impurity")
    axes.set_title("What a forest looks at", loc="left", color=INK)
    context.save(figure, "breast-cancer-forest", "importances of a random forest of breast tumours")


def _draw(context: Context, model: Any, data: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from sklearn.tree import plot_tree

    figure = context.figure(12, 6)
    FigureCanvasAgg(figure)  # plot_tree measures its text
    axes = figure.subplots()
    plot_tree(
        model, feature_names=[*data.feature_names], class_names=[*data.target_names], filled=True,
        impurity=False, rounded=True, ax=axes, fontsize=8,
    )  # fmt: skip
    title = "A few measurements of cell nuclei separate most tumours"
    axes.set_title(title, loc="left", color=INK)
    context.save(figure, "breast-cancer-tree", "a pruned decision tree of breast tumours")
