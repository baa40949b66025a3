"""Boosting on the tour: tumours, the progression of diabetes, and what judgements rest on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ._context import INK, MUTED, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Boosting on held-out rows of two real sets; contributions are drawn."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    from ...ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    data = load_breast_cancer()
    A, B, a, b = train_test_split(data.data, data.target, random_state=0, stratify=data.target)
    model = HistGradientBoostingClassifier(max_iter=60)
    _, seconds = context.timed(functools.partial(model.fit, A, a))
    score = f"AUC {roc_auc_score(b, model.predict_proba(B)[:, 1]):.3f}"
    yield Row("boosting", "breast cancer, held out", A.shape, seconds, score, context.where())
    if context.plot:
        size = np.abs(model.predict_contributions(B)[:, :-1]).mean(axis=0)
        _draw(context, size, data.feature_names)

    X, y = load_diabetes(return_X_y=True)
    C, D, c, d = train_test_split(X, y, random_state=0)
    inside, seconds = np.ones(len(d), bool), 0.0
    for q, keeps in ((0.1, np.greater_equal), (0.9, np.less_equal)):
        bound = HistGradientBoostingRegressor(
            "quantile", quantile=q, max_iter=40, max_leaf_nodes=4, learning_rate=0.1
        )
        _, own = context.timed(functools.partial(bound.fit, C, c))
        seconds += own
        inside &= keeps(d, bound.predict(D))
    score = f"coverage {inside.mean():.2f}"
    yield Row("boosted quantiles", "diabetes, held out", C.shape, seconds, score, context.where())


def _draw(context: Context, size: Any, names: Any) -> None:
    first = size.argsort()[::-1][:10][::-1]
    figure = context.figure(8, 5)
    axes = figure.subplots()
    axes.barh([str(names[i]) for i in first], size[first], color="#3b7dd8")
    axes.set_xlabel("mean size of the contribution to the log odds", color=MUTED)
    axes.set_title("What the judgement of a tumour rests on", loc="left", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    context.save(figure, "boosting-contributions", "contributions of features, breast tumours")
