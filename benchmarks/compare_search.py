"""Compare searches by what they find: ``python -m benchmarks.compare_search [task ...]``.

Each task is minimised with a budget of evaluations from each of N seeds by `minimize`, by the
default sampler of Optuna, and by drawing from the priors. What counts is the regret: the best value
found less the least known one. Prints the median over seeds, with quartiles, after a half and all
of the budget, and the seconds that a suggestion takes. Status 1 if our median is larger than
Optuna's on a task.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kernelmill
from kernelmill.model_selection import Categorical, Integer, Real, minimize
from kernelmill.model_selection._space import Space


@dataclass(frozen=True)
class Task:
    """An objective, its space, the number of evaluations, and the least value, if it is known."""

    make: Callable[[], Callable[[dict[str, Any]], float]]
    space: dict[str, Any]
    budget: int
    least: float | None = None


def branin(x: dict[str, Any]) -> float:
    """Three equal minima of 0.397887."""
    a, b = x["a"], x["b"]
    bowl = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return float(bowl**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


_A = np.array([
    [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
])  # fmt: skip
_P = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
])  # fmt: skip


def hartmann6(x: dict[str, Any]) -> float:
    """Six minima, the least -3.322368."""
    at = np.array([*x.values()])
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(_A * (at - _P) ** 2).sum(1)))


def ackley(x: dict[str, Any]) -> float:
    """A funnel with a ripple, 0 at the origin."""
    at = np.array([*x.values()])
    ripple = np.exp(np.cos(2 * np.pi * at).mean())
    return float(20 + np.e - 20 * np.exp(-0.2 * np.sqrt((at * at).mean())) - ripple)


def _cross_validated(estimator: Any, X: Any, y: Any, **options: Any) -> Callable:
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    def objective(x: dict[str, Any]) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that end before they converge
            scores = cross_val_score(clone(estimator).set_params(**x), X, y, **options)
        return -float(scores.mean())

    return objective


def svc() -> Callable:
    """Error of a support vector machine on the breast cancer data."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from kernelmill.svm import SVC

    model = make_pipeline(StandardScaler(), SVC())
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    return _cross_validated(model, *load_breast_cancer(return_X_y=True), cv=cv)


def boosting() -> Callable:
    """Mean squared error of boosted trees on the diabetes data."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import KFold

    from kernelmill.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(early_stopping=False, random_state=0)
    cv = KFold(3, shuffle=True, random_state=0)
    X, y = load_diabetes(return_X_y=True)
    return _cross_validated(model, X, y, cv=cv, scoring="neg_mean_squared_error")


TASKS = {
    "Branin": Task(
        lambda: branin, {"a": Real(-5, 10), "b": Real(0, 15)}, 50, 0.397887357729738
    ),
    "Hartmann-6": Task(
        lambda: hartmann6, {f"x{i}": Real(0, 1) for i in range(6)}, 80, -3.322368011391339
    ),
    "Ackley-5": Task(
        lambda: ackley, {f"x{i}": Real(-32.768, 32.768) for i in range(5)}, 80, 0.0
    ),
    "SVC on breast cancer": Task(
        svc,
        {
            "svc__kernel": Categorical(["linear", "rbf", "poly"]),
            "svc__C": Real(1e-3, 100, "log-uniform"),
            "svc__gamma": Real(1e-5, 10, "log-uniform"),
        },
        40,
    ),
    "boosting on diabetes": Task(
        boosting,
        {
            "learning_rate": Real(1e-3, 0.5, "log-uniform"),
            "max_iter": Integer(10, 200, "log-uniform"),
            "max_leaf_nodes": Integer(2, 64, "log-uniform"),
            "min_samples_leaf": Integer(1, 80, "log-uniform"),
            "l2_regularization": Real(1e-6, 100, "log-uniform"),
        },
        40,
    ),
}  # fmt: skip


def _ours(f: Callable, task: Task, seed: int) -> None:
    minimize(f, task.space, n_calls=task.budget, random_state=seed)


def _random(f: Callable, task: Task, seed: int) -> None:
    space = Space(task.space, "compare_search")
    U = np.random.default_rng(seed).random((task.budget, len(space.dimensions)))
    for row in space.numbers(space.draw(U)):
        f(space.point(row))


def _optuna(f: Callable, task: Task, seed: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def suggested(trial: Any, name: str, dimension: Any) -> Any:
        if isinstance(dimension, Categorical):
            return trial.suggest_categorical(name, dimension.choices)
        log = dimension.prior == "log-uniform"
        kind = trial.suggest_int if isinstance(dimension, Integer) else trial.suggest_float
        return kind(name, dimension.low, dimension.high, log=log)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(
        lambda trial: f({k: suggested(trial, k, d) for k, d in task.space.items()}),
        n_trials=task.budget,
    )


SYSTEMS = {"kernelmill": _ours, "Optuna, TPE": _optuna, "random": _random}


def _run(task: Task, system: Callable, seed: int, known: dict) -> tuple[list[float], float]:
    """The least value after each evaluation, and the seconds of processor of a suggestion."""
    objective, values, inside = task.make(), [], 0.0

    def f(x: dict[str, Any]) -> float:
        nonlocal inside
        began = time.process_time()
        key = tuple(x.values())
        if key not in known:  # of a finite space, several searches ask the same
            known[key] = objective(x)
        values.append(known[key])
        inside += time.process_time() - began
        return values[-1]

    began = time.process_time()
    system(f, task, seed)
    seconds = (time.process_time() - began - inside) / task.budget
    return np.minimum.accumulate(values).tolist(), seconds


def main(argv: list[str] | None = None) -> int:
    """Print a line for each task and system; status 1 when ours finds less than Optuna's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="*", help=f"default: all of {', '.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the JSON there")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.task) - set(TASKS)
    if unknown:
        parser.error(f"task must be of {', '.join(TASKS)}, got {', '.join(sorted(unknown))}")
    try:
        import optuna

        version = optuna.__version__
    except ImportError:
        version = None
        print("no Optuna: pip install optuna")
    systems = {k: run for k, run in SYSTEMS.items() if version or run is not _optuna}
    results, worse = [], False
    for name in arguments.task or TASKS:
        task, known = TASKS[name], {}
        curves: dict[str, list[list[float]]] = {}
        seconds: dict[str, float] = {}
        for system, run in systems.items():
            found = [_run(task, run, seed, known) for seed in range(arguments.seeds)]
            curves[system] = [curve for curve, _ in found]
            seconds[system] = float(np.median([cost for _, cost in found]))
        least = min(min(c[-1] for c in own) for own in curves.values())
        least = least if task.least is None else task.least
        print(f"{name}, {task.budget} evaluations, least {least:.6g}")
        for system, own in curves.items():
            regret = np.array(own) - least
            half, whole = (
                np.percentile(regret[:, at - 1], [50, 25, 75])
                for at in (task.budget // 2, task.budget)
            )
            text = " ".join(f"{q:9.3g} [{a:.2g} .. {b:.2g}]" for q, a, b in (half, whole))
            print(f"  {system:14} {text}   {1e3 * seconds[system]:.1f} ms a suggestion", flush=True)
            results.append({
                "task": name, "system": system, "budget": task.budget, "least": least,
                "regret_at_half": half.tolist(), "regret": whole.tolist(),
                "final": regret[:, -1].tolist(), "seconds_per_suggestion": seconds[system],
            })  # fmt: skip
        medians = {k: float(np.median([c[-1] for c in own])) for k, own in curves.items()}
        worse |= medians["kernelmill"] > medians.get("Optuna, TPE", np.inf)
        if arguments.save:  # after each task, as all of them take long
            about = {
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "command": f"python -m benchmarks.compare_search {' '.join(argv or sys.argv[1:])}",
                "seeds": arguments.seeds, "info": kernelmill.info(), "optuna": version,
                "regret": "median and quartiles over seeds of the least value found less `least`",
            }  # fmt: skip
            arguments.save.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
