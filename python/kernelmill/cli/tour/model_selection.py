"""Bayesian optimisation on the tour: hyperparameters of a classifier, and how they were found."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ._context import INK, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """A search of three hyperparameters beside as many random candidates."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ...model_selection import BayesSearchCV, Real
    from ...svm import SVC

    if context.device == "cuda":
        context.notes.append("Bayesian optimisation ran on the CPU.")
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), SVC())
    space = {
        "svc__kernel": ["linear", "rbf"],
        "svc__C": (1e-3, 1e3, "log-uniform"),
        "svc__gamma": Real(1e-5, 10.0, "log-uniform", when={"svc__kernel": "rbf"}),
    }
    options = {"n_iter": 25, "cv": 5, "scoring": "roc_auc", "random_state": 0}
    search = BayesSearchCV(model, space, **options)
    _, seconds = context.timed(functools.partial(search.fit, X, y))
    yield Row(
        "Bayesian search", "breast cancer, 25 SVCs", X.shape, seconds,
        f"AUC {search.best_score_:.4f}", context.where(),
    )  # fmt: skip
    if not context.plot:
        return
    from scipy.stats import loguniform

    drawn = [
        {"svc__kernel": ["linear"], "svc__C": loguniform(1e-3, 1e3)},
        {
            "svc__kernel": ["rbf"], "svc__C": loguniform(1e-3, 1e3),
            "svc__gamma": loguniform(1e-5, 10.0),
        },
    ]  # fmt: skip
    random = RandomizedSearchCV(model, drawn, refit=False, **options).fit(X, y)
    from ...plot import ConvergenceDisplay

    values = {
        "Bayesian search": search.search_result_.func_vals,
        "random search": -random.cv_results_["mean_test_score"],
    }
    figure = context.figure(7, 4)
    display = ConvergenceDisplay(
        {name: np.asarray(v) + 1 for name, v in values.items()},
        n_initial_points=search.search_result_.n_initial_points,
    ).plot(ax=figure.subplots())
    display.ax_.set(ylabel="1 - area under the curve", yscale="log")
    title = "Each candidate of a Bayesian search is chosen by what the ones before it have shown"
    display.ax_.set_title(title, loc="left", color=INK, fontsize=10)
    context.save(figure, "bayesian-search", "a Bayesian search beside a random one")
