"""Forests and boosting beside their peers in quality: scores of held-out rows over many splits.

``python -m benchmarks.compare_ensembles [--seeds 30] [--save FILE] [--match TEXT]``. Each seed
splits each data set anew and seeds the models. Leaves, learning rates and rounds are equal; all
else is each library's default. CatBoost and YDF take part where they are installed. Scores are to
be maximised: R^2, or minus the Brier score of forests and minus the log loss of boosting. A model
is worse than the best peer where its mean lies below that peer's by more than the standard error of
the peer's mean.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROUNDS, RATE, LEAVES, TREES = 50, 0.1, 31, 100


class Table(NamedTuple):
    """A data set."""

    name: str
    X: np.ndarray
    y: np.ndarray
    classes: int  # 0: regression
    categories: list[int]


def _with_levels(X: np.ndarray, columns: list[int], rng: np.random.Generator) -> np.ndarray:
    """Some columns cut into levels whose codes have no order, and a tenth of all values missing."""
    X = X.astype(float)
    for f in columns:
        edges = np.quantile(X[:, f], np.linspace(0, 1, 9)[1:-1])
        X[:, f] = rng.permutation(8)[np.searchsorted(edges, X[:, f])]
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def tables() -> list[Table]:
    """Four sets that come with scikit-learn, one made of them, and a synthetic one."""
    from sklearn import datasets

    rng = np.random.default_rng(0)
    out = []
    for name in ("breast_cancer", "digits", "wine"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        chosen = rng.permutation(len(X))[:900]
        out.append(Table(name, X[chosen].astype(float), y[chosen], len(np.unique(y)), []))
    X, y = datasets.load_diabetes(return_X_y=True)
    out.append(Table("diabetes", X, y, 0, []))
    X, y = datasets.load_breast_cancer(return_X_y=True)
    mixed = _with_levels(X[:, :12], [0, 3, 7], rng)
    out.append(Table("breast cancer, levels and gaps", mixed, y, 2, [0, 3, 7]))
    n = 1500
    codes = rng.integers(0, 20, (n, 2))
    X = np.concatenate([codes, rng.normal(size=(n, 4))], axis=1)
    y = rng.normal(size=20)[codes[:, 0]] + X[:, 2] * X[:, 3] + np.abs(X[:, 4])
    y = y + 0.5 * rng.normal(size=n)
    X[rng.random(X.shape) < 0.1] = np.nan
    out.append(Table("synthetic, levels and gaps", X, y, 0, [0, 1]))
    return out


def _kind(table: Table) -> str:
    return "Classifier" if table.classes else "Regressor"


def _frame(table: Table, X: np.ndarray) -> Any:
    """What LightGBM and XGBoost take for levels."""
    import pandas as pd

    frame = pd.DataFrame(X)
    for f in table.categories:
        codes = np.where(np.isnan(X[:, f]), -1, X[:, f]).astype(int)
        known = int(np.nanmax(table.X[:, f])) + 1
        frame[f] = pd.Categorical.from_codes(codes, categories=range(known))
    return frame


def _plain(table: Table, X: np.ndarray) -> np.ndarray:
    return X


def _words(table: Table, X: np.ndarray) -> Any:
    """What CatBoost takes for levels: text, also for those that are missing."""
    frame = _frame(table, X)
    for f in table.categories:
        frame[f] = frame[f].cat.codes.astype(str)
    return frame


class _Decisions:
    """A model of YDF with the names of scikit-learn."""

    def __init__(self, learner: str, table: Table, **options: Any) -> None:
        self._learner, self._table, self._options = learner, table, options

    def _named(self, X: Any) -> dict[str, Any]:
        named = {}
        for f in range(X.shape[1]):
            own = X.iloc[:, f]
            levels = f in self._table.categories
            named[f"f{f}"] = own.cat.codes.astype(str).to_numpy() if levels else own.to_numpy()
            if levels:
                named[f"f{f}"] = np.where(own.isna(), "", named[f"f{f}"])
        return named

    def fit(self, X: Any, y: np.ndarray) -> _Decisions:
        import ydf

        ydf.verbose(0)
        task = ydf.Task.CLASSIFICATION if self._table.classes else ydf.Task.REGRESSION
        learner = getattr(ydf, self._learner)(label="y", task=task, num_threads=1, **self._options)
        self._model = learner.train({**self._named(X), "y": y})
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.asarray(self._model.predict(self._named(X)), float)

    def predict_proba(self, X: Any) -> np.ndarray:
        own = self.predict(X)
        own = np.stack([1 - own, own], axis=1) if own.ndim == 1 else own
        order = [int(name) for name in self._model.label_classes()]
        return own[:, np.argsort(order)]


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _boosting(table: Table) -> dict[str, tuple[Callable[[int], Any], Any]]:
    """Makers of models by seed, and what they are fed."""
    import lightgbm
    import sklearn.ensemble as peer
    import xgboost

    from kernelmill import ensemble

    name, levels = f"HistGradientBoosting{_kind(table)}", table.categories or None
    same = {
        "max_iter": ROUNDS, "learning_rate": RATE, "max_leaf_nodes": LEAVES,
        "early_stopping": False, "categorical_features": levels,
    }  # fmt: skip
    light = {
        "n_estimators": ROUNDS, "learning_rate": RATE, "num_leaves": LEAVES, "n_jobs": 1,
        "verbose": -1,
    }  # fmt: skip
    other = {
        "n_estimators": ROUNDS, "learning_rate": RATE, "max_leaves": LEAVES, "max_depth": 0,
        "grow_policy": "lossguide", "tree_method": "hist", "enable_categorical": True, "n_jobs": 1,
    }  # fmt: skip
    kind = _kind(table)
    more: dict[str, tuple[Callable[[int], Any], Any]] = {}
    if _installed("catboost"):
        import catboost

        cat = {
            "iterations": ROUNDS, "learning_rate": RATE, "grow_policy": "Lossguide",
            "max_leaves": LEAVES, "cat_features": levels, "thread_count": 1, "silent": True,
            "allow_writing_files": False,
        }  # fmt: skip
        make = getattr(catboost, f"CatBoost{kind}")
        more["catboost"] = (lambda s: make(**cat, random_seed=s), _words)
    if _installed("ydf"):
        own = {
            "num_trees": ROUNDS, "shrinkage": RATE, "growing_strategy": "BEST_FIRST_GLOBAL",
            "max_num_nodes": LEAVES, "max_depth": -1, "early_stopping": "NONE",
            "validation_ratio": 0.0,
        }  # fmt: skip
        learner = "GradientBoostedTreesLearner"
        more["ydf"] = (lambda s: _Decisions(learner, table, **own, random_seed=s), _frame)
    return more | {
        "kernelmill": (lambda s: getattr(ensemble, name)(**same, random_state=s), _plain),
        # Some features a split: randomness, as CatBoost has by default and scikit-learn has not.
        **{
            f"kernelmill, max_features={share}": (
                lambda s, share=share: getattr(ensemble, name)(
                    **same, max_features=share, random_state=s
                ),
                _plain,
            )
            for share in (0.3, 0.7)
        },
        "scikit-learn": (lambda s: getattr(peer, name)(**same, random_state=s), _plain),
        "lightgbm": (
            lambda s: getattr(lightgbm, f"LGBM{kind}")(**light, random_state=s), _frame
        ),
        "xgboost": (lambda s: getattr(xgboost, f"XGB{kind}")(**other, random_state=s), _frame),
    }  # fmt: skip


def _forests(table: Table) -> dict[str, tuple[Callable[[int], Any], Any]]:
    import sklearn.ensemble as peer

    from kernelmill import ensemble

    name, levels = f"RandomForest{_kind(table)}", table.categories or None
    own = getattr(ensemble, name)
    found = {
        "kernelmill": (
            lambda s: own(TREES, random_state=s, categorical_features=levels), _plain
        ),
        "scikit-learn": (lambda s: getattr(peer, name)(TREES, random_state=s, n_jobs=1), _plain),
    }  # fmt: skip
    if _installed("ydf"):
        found["ydf"] = (
            lambda s: _Decisions("RandomForestLearner", table, num_trees=TREES, random_seed=s),
            _frame,
        )
    if not table.classes:  # what YDF's default is for regression; scikit-learn's is all
        found["kernelmill, a third"] = (
            lambda s: own(
                TREES, max_features=1 / 3, random_state=s, categorical_features=levels
            ), _plain
        )
    if levels:
        found["kernelmill without levels"] = (lambda s: own(TREES, random_state=s), _plain)
    return found


def _score(table: Table, model: Any, X: Any, y: np.ndarray, family: str) -> float:
    if not table.classes:
        off, spread = y - model.predict(X), y - y.mean()
        return float(1 - (off @ off) / (spread @ spread))
    proba = model.predict_proba(X).astype(float)
    if family == "boosting":
        return float(np.log(np.maximum(proba[np.arange(len(y)), y], 1e-15)).mean())
    return float(-((proba - np.eye(table.classes)[y]) ** 2).sum(axis=1).mean())


def scores(table: Table, family: str, seeds: int) -> Iterator[tuple[str, list[float]]]:
    """Scores of each system over the seeds."""
    from sklearn.model_selection import train_test_split

    systems = (_boosting if family == "boosting" else _forests)(table)
    found: dict[str, list[float]] = {name: [] for name in systems}
    for seed in range(seeds):
        train, test = train_test_split(
            np.arange(len(table.y)), test_size=0.3, random_state=seed,
            stratify=table.y if table.classes else None,
        )  # fmt: skip
        for name, (make, feed) in systems.items():
            X, Z = feed(table, table.X[train]), feed(table, table.X[test])
            model = make(seed).fit(X, table.y[train])
            found[name].append(_score(table, model, Z, table.y[test], family))
    yield from found.items()


def outcome(table: Table, family: str, seeds: int) -> dict[str, Any]:
    """Means, standard errors, and how far the mean lies above the best peer's, in its errors."""
    found = {name: np.array(own) for name, own in scores(table, family, seeds)}
    mean = {name: float(own.mean()) for name, own in found.items()}
    error = {name: float(own.std(ddof=1) / np.sqrt(len(own))) for name, own in found.items()}
    best = max((name for name in found if not name.startswith("kernelmill")), key=mean.__getitem__)
    paired = found["kernelmill"] - found[best]
    return {
        "set": table.name,
        "family": family,
        "rows": len(table.y),
        "score": "R^2" if not table.classes else
        ("-log loss" if family == "boosting" else "-Brier score"),
        "mean": mean,
        "standard_error": error,
        "best_peer": best,
        "above_in_errors": (mean["kernelmill"] - mean[best]) / error[best],
        "paired_mean": float(paired.mean()),
        "paired_error": float(paired.std(ddof=1) / np.sqrt(len(paired))),
        "no_worse": bool(mean["kernelmill"] >= mean[best] - error[best]),
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Print a line for each set and family; status 1 where ours is worse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_ensembles")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--match", default="", metavar="TEXT")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    outcomes = []
    for table in tables():
        for family in ("boosting", "forests"):
            if arguments.match not in f"{table.name} {family}":
                continue
            one = outcome(table, family, arguments.seeds)
            outcomes.append(one)
            means = ", ".join(
                f"{name} {mean:.4f} ({one['standard_error'][name]:.4f})"
                for name, mean in one["mean"].items()
            )
            print(
                f"{'ok   ' if one['no_worse'] else 'WORSE'} {table.name}, {family}, "
                f"{one['score']}: {means}; paired {one['paired_mean']:+.4f} "
                f"({one['paired_error']:.4f}) beside {one['best_peer']}",
                flush=True,
            )
    if arguments.save:
        import kernelmill

        about = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.compare_ensembles {' '.join(argv or sys.argv[1:])}",
            "seeds": arguments.seeds,
            "rounds": ROUNDS, "rate": RATE, "leaves": LEAVES, "trees": TREES,
            "info": kernelmill.info(),
            "peers": {
                name: importlib.import_module(name).__version__
                for name in ("sklearn", "lightgbm", "xgboost", "catboost", "ydf")
                if _installed(name)
            },
        }  # fmt: skip
        arguments.save.parent.mkdir(parents=True, exist_ok=True)
        arguments.save.write_text(json.dumps({**about, "outcomes": outcomes}, indent=1) + "\n")
    return 0 if all(one["no_worse"] for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
