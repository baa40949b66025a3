"""Bayesian optimisation on the tour: hyperparameters of boosted trees, and how they were found."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ._context import INK, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """A search of five hyperparameters beside as many random candidates."""
    from scipy.stats import loguniform, randint
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import KFold, RandomizedSearchCV

    from ...ensemble import HistGradientBoostingRegressor
    from ...model_selection import BayesSearchCV

    if context.device == "cuda":
        context.notes.append("Bayesian optimisation ran on the CPU.")
    X, y = load_diabetes(return_X_y=True)
    model = HistGradientBoostingRegressor(early_stopping=False, random_state=0)
    space = {
        "learning_rate": loguniform(1e-3, 0.5),
        "l2_regularization": loguniform(1e-6, 100.0),
        "max_iter": randint(10, 201),
        "max_leaf_nodes": randint(2, 65),
        "min_samples_leaf": randint(1, 81),
    }
    options = {
        "n_iter": 30, "scoring": "neg_root_mean_squared_error", "random_state": 0,
        "cv": KFold(3, shuffle=True, random_state=0),
    }  # fmt: skip
    search = BayesSearchCV(model, space, **options)
    _, seconds = context.timed(functools.partial(search.fit, X, y))
    yield Row(
        "Bayesian search", "diabetes, 30 boostings", X.shape, seconds,
        f"held-out error {-search.best_score_:.1f}", context.where(),
    )  # fmt: skip
    if not context.plot:
        return
    from ...plot import ConvergenceDisplay

    random = RandomizedSearchCV(model, space, refit=False, **options).fit(X, y)
    values = {
        "Bayesian search": search.search_result_.func_vals,
        "random search": -random.cv_results_["mean_test_score"],
    }
    figure = context.figure(7.4, 4)
    display = ConvergenceDisplay(
        values, n_initial_points=search.search_result_.n_initial_points
    ).plot(ax=figure.subplots())
    display.ax_.set(ylabel="least held-out error so far")
    title = "A Bayesian search chooses each candidate by what those before it have shown"
    display.ax_.set_title(title, loc="left", color=INK, fontsize=11)
    context.save(figure, "bayesian-search", "a Bayesian search beside a random one")
