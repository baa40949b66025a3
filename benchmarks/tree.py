"""Exact trees, forests and boosting beside their peers: fits, predictions, one row."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._harness import Case, Work


def _make(n: int, d: int, kind: str, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    signal = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + 0.7 * rng.standard_normal(n)
    if kind != "classifier":
        return X, signal
    cuts = np.quantile(signal, np.arange(1, classes) / classes) if classes > 2 else [0.0]
    return X, np.digitize(signal, cuts)


def _model(module: Any, kind: str, **options: Any) -> Any:
    name = "DecisionTreeClassifier" if kind == "classifier" else "DecisionTreeRegressor"
    return getattr(module, name)(random_state=0, **options)


def _modules() -> dict[str, Any]:
    import sklearn.tree

    from kernelmill import tree

    return {"kernelmill": tree, "scikit-learn": sklearn.tree}


def _fit(n: int, d: int, kind: str, label: str, **options: Any) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            model = _model(_modules()[system], kind, **options)
            return lambda: model.fit(*data)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        """Ties are broken otherwise, so trees differ: training score and size decide."""
        a, b = (m.score(*data) for m in (ours, other))
        leaves = ours.get_n_leaves(), other.get_n_leaves()
        if a < b - 1e-3 or leaves[0] > 1.05 * leaves[1]:
            return f"score {a} and {b}, leaves {leaves}"
        return ""

    return Case(
        f"{kind} {label} n={n} d={d} float32",
        lambda: _make(n, d, kind),
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, model: Work(
            0.0, 8.0 * d * n * model.get_depth() / 2, "entries read and written, half the depth"
        ),
    )


def _predict(n: int, rows: int, kind: str) -> Case:
    def make() -> Any:
        X, y = _make(n, 20, kind)
        models = {name: _model(m, kind, max_depth=12).fit(X, y) for name, m in _modules().items()}
        return X[:rows], models

    def prepared(system: str) -> Any:
        return lambda data: lambda: data[1][system].predict(data[0])

    def check(data: Any, ours: Any, other: Any) -> str:
        """Means are rounded otherwise, and ties broken."""
        same = float(np.mean(np.isclose(ours, other, rtol=1e-9)))
        return "" if same > 0.97 else f"equal predictions: {same}"

    return Case(
        f"predict {kind} of depth 12, {rows} rows of 20 float32",
        make,
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, result: Work(0.0, data[0].nbytes, "the rows read"),
    )


def _ensembles() -> dict[str, Any]:
    import sklearn.ensemble

    from kernelmill import ensemble

    found = {"kernelmill": ensemble, "scikit-learn": sklearn.ensemble}
    try:
        import sklearnex.ensemble

        found["scikit-learn-intelex"] = sklearnex.ensemble
    except ImportError:
        pass
    return found


def _ensemble(
    name: str, n: int, d: int, rows: int, hist: bool = False, classes: int = 2, **options: Any
) -> list[Case]:
    """A fit, and predictions of other rows; accuracies or R^2 decide."""
    kind = "classifier" if name.endswith("Classifier") else "regressor"
    systems = {s: m for s, m in _ensembles().items() if hasattr(m, name)}
    if hist:
        systems["kernelmill, exact splits"] = systems["kernelmill"]
    if "Forest" not in name:
        systems.pop("scikit-learn-intelex", None)

    def made(system: str) -> Any:
        threads = 1 if n <= 1000 else 2
        more: dict[str, Any] = {} if "Forest" not in name else {"n_jobs": threads}
        if hist and system == "kernelmill":
            more["split"] = "hist"
        return getattr(systems[system], name)(random_state=0, **options, **more)

    def fitting(system: str) -> Any:
        def prepare(data: Any) -> Any:
            model = made(system)
            return lambda: model.fit(*data)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        X, y = _make(20_000, d, kind, classes)
        a, b = ours.score(X[-4000:], y[-4000:]), other.score(X[-4000:], y[-4000:])
        # Small forests over few rows differ by their draws alone.
        return "" if a > b - 0.01 - 2 / np.sqrt(n) else f"score {a} and {b}"

    def predicting() -> Any:
        X, y = _make(n, d, kind, classes)
        X_new = np.random.default_rng(1).standard_normal((rows, d), dtype=np.float32)
        return X_new, {system: made(system).fit(X, y) for system in systems}

    def same(data: Any, ours: Any, other: Any) -> str:
        share = float(np.mean(ours == other))
        close = share if kind == "classifier" else float(np.corrcoef(ours, other)[0, 1])
        return "" if close > (0.9 if n > 10_000 else 0.6) else f"agreement: {close}"

    words = f"{name} {' '.join(f'{k}={v}' for k, v in options.items())}"
    words += " split=hist" if hist else ""
    words += f" classes={classes}" if classes > 2 else ""
    fit = Case(
        f"{words} n={n} d={d} float32",
        lambda: _make(n, d, kind, classes),
        {system: fitting(system) for system in systems},
        check,
        lambda data, model: Work(0.0, 4.0 * d * n, "the rows read once"),
    )
    predict = Case(
        f"predict {words}, {rows} rows of {d} float32",
        predicting,
        {s: lambda data, s=s: lambda: data[1][s].predict(data[0]) for s in systems},
        same,
        lambda data, result: Work(0.0, data[0].nbytes, "the rows read"),
    )
    return [fit, predict] if rows else [fit]


def _small() -> list[Case]:
    """Fits of few rows, of peers on one thread."""
    names = "RandomForest{}", "ExtraTrees{}", "AdaBoost{}", "GradientBoosting{}"
    kinds = "Classifier", "Regressor"
    return [
        case
        for n, name, kind in itertools.product((100, 1000), names, kinds)
        for case in _ensemble(name.format(kind), n, 10, 0, n_estimators=50)
    ]


def _contributions(n: int, rows: int) -> Case:
    """Shapley values of boosted trees; the peers' are of their own trees."""
    from kernelmill.ensemble import HistGradientBoostingClassifier

    def light(data: Any) -> Any:
        import lightgbm

        model = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, verbose=-1)
        model.fit(*data[:2])
        return lambda: model.predict(data[2], pred_contrib=True)

    def other(data: Any) -> Any:
        import xgboost

        model = xgboost.XGBClassifier(
            n_estimators=100, max_leaves=31, max_depth=0, grow_policy="lossguide"
        ).fit(*data[:2])
        matrix = xgboost.DMatrix(data[2])
        return lambda: model.get_booster().predict(matrix, pred_contribs=True)

    def own(data: Any) -> Any:
        model = HistGradientBoostingClassifier(early_stopping=False).fit(*data[:2])
        return lambda: model.predict_contributions(data[2])

    def check(data: Any, ours: Any, peer: Any) -> str:
        """Models differ, so their sums do a little."""
        alike = float(np.corrcoef(ours.sum(axis=1), np.asarray(peer).sum(axis=1))[0, 1])
        return "" if alike > 0.95 else f"correlation of sums: {alike}"

    return Case(
        f"contributions of 100 trees of 31 leaves, {rows} rows of 20 float32",
        lambda: (*_make(n, 20, "classifier"), _make(rows, 20, "classifier")[0]),
        {"kernelmill": own, "LightGBM": light, "XGBoost": other},
        check,
        lambda data, result: Work(0.0, result.nbytes, "the values written"),
    )


def cases(quick: bool) -> list[Case]:
    """Grown to the end and limited, small and large; predictions."""
    if quick:
        return [
            _fit(200, 4, "classifier", "grown"),
            _predict(200, 20, "regressor"),
            *_ensemble("RandomForestClassifier", 300, 5, 50, n_estimators=10),
            *_ensemble("RandomForestRegressor", 300, 5, 0, hist=True, n_estimators=10),
            *_ensemble("AdaBoostClassifier", 300, 5, 0, n_estimators=3),
            _contributions(300, 20),
        ]
    return [
        _fit(50_000, 20, "classifier", "fully grown"),
        _fit(50_000, 20, "regressor", "fully grown"),
        _fit(50_000, 20, "regressor", "8 deep", max_depth=8),
        _fit(50_000, 20, "classifier", "entropy", criterion="entropy"),
        _fit(200_000, 30, "regressor", "31 leaves", max_leaf_nodes=31),
        _fit(100, 5, "classifier", "fully grown"),
        _fit(1_000, 5, "regressor", "fully grown"),
        _fit(2_000, 5, "regressor", "absolute error", criterion="absolute_error", max_depth=6),
        _predict(50_000, 50_000, "regressor"),
        _predict(50_000, 1, "regressor"),
        *_ensemble("RandomForestClassifier", 50_000, 20, 200_000, n_estimators=100),
        *_ensemble("RandomForestClassifier", 50_000, 20, 0, classes=3, n_estimators=30),
        *_ensemble("RandomForestClassifier", 50_000, 20, 0, classes=10, n_estimators=30),
        *_ensemble("RandomForestClassifier", 1_000, 20, 1, n_estimators=100),
        *_ensemble("RandomForestRegressor", 20_000, 20, 20_000, n_estimators=20),
        *_small(),
        *_ensemble("RandomForestClassifier", 200_000, 20, 0, hist=True, n_estimators=20),
        *_ensemble("RandomForestRegressor", 200_000, 20, 0, hist=True, n_estimators=5),
        *_ensemble("ExtraTreesClassifier", 50_000, 20, 0, n_estimators=50),
        *_ensemble("AdaBoostClassifier", 50_000, 20, 0, n_estimators=50),
        *_ensemble("AdaBoostClassifier", 10_000, 20, 0, n_estimators=100),
        _contributions(20_000, 2_000),
        *_ensemble("GradientBoostingRegressor", 20_000, 20, 20_000, n_estimators=50),
    ]
