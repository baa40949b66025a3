"""scikit-learn's metrics and scorers on the outputs of a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from ..ops import elementwise


def kind_of(loss: Any) -> str:
    """What the outputs of a network are, by its loss: logits, log_probabilities, ..., values."""
    name = getattr(loss, "__name__", type(loss).__name__)
    return {
        "CrossEntropyLoss": "logits", "cross_entropy": "logits", "MultiMarginLoss": "logits",
        "NLLLoss": "log_probabilities", "nll_loss": "log_probabilities",
        "BCEWithLogitsLoss": "binary_logits", "binary_cross_entropy_with_logits": "binary_logits",
        "BCELoss": "binary", "binary_cross_entropy": "binary",
    }.get(name, "values")  # fmt: skip


def decided(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Predictions from outputs: the largest class, labels above one half, or the values."""
    if kind in ("logits", "log_probabilities"):
        return outputs.argmax(1)
    if kind in ("binary_logits", "binary"):
        return (outputs > (0.0 if kind == "binary_logits" else 0.5)).astype(np.int64)
    return outputs


def probabilities(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Probabilities of the classes, (n, n_classes, ...), or of each label."""
    if kind == "logits":
        from .functional import softmax

        return softmax(outputs, 1).data
    if kind == "log_probabilities":
        p = np.exp(outputs)
        return p / p.sum(1, keepdims=True)  # rounding of the network's dtype
    return elementwise.logistic(outputs) if kind == "binary_logits" else outputs


class _Outputs(BaseEstimator):
    """Outputs that were computed before, as a fitted estimator that a scorer can ask."""

    def __init__(self, outputs: Any = None, kind: str = "values") -> None:
        self.outputs, self.kind = outputs, kind

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> np.ndarray:
        return decided(self.outputs, self.kind)


class _Classes(ClassifierMixin, _Outputs):
    @property
    def classes_(self) -> np.ndarray:
        binary = self.kind.startswith("binary")
        return np.arange(2 if binary else self.outputs.shape[1])

    def predict(self, X: Any) -> np.ndarray:
        found = decided(self.outputs, self.kind)
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found

    def predict_proba(self, X: Any) -> np.ndarray:
        p = probabilities(self.outputs, self.kind)
        if not self.kind.startswith("binary") or (p.ndim == 2 and p.shape[1] > 1):
            return p
        p = p.reshape(len(p), 1)
        return np.hstack([1 - p, p])

    def decision_function(self, X: Any) -> np.ndarray:
        out = self.outputs
        if self.kind.startswith("binary"):
            return out.reshape(len(out), -1)[:, 0] if out.size == len(out) else out
        return out[:, 1] - out[:, 0] if out.shape[1] == 2 else out


class _Values(RegressorMixin, _Outputs):
    pass


def named(metrics: Any) -> dict[str, Callable]:
    """Functions of (outputs as an estimator, target, weight) by name.

    Metrics are names of scikit-learn's scorers, scorers, or functions of (y_true, y_pred).
    """
    if metrics is None:
        return {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Mapping):
        metrics = {m if isinstance(m, str) else getattr(m, "__name__", repr(m)): m for m in metrics}
    return {name: _wrapped(metric) for name, metric in metrics.items()}


def _wrapped(metric: Any) -> Callable:
    if isinstance(metric, str):
        metric = get_scorer(metric)
    if next(iter(inspect.signature(metric).parameters), "") == "estimator":  # a scorer
        return lambda model, target, options: metric(model, None, target, **options)
    return lambda model, target, options: metric(target, model.predict(None), **options)


def scores(
    metrics: Mapping[str, Callable], outputs: np.ndarray, target: np.ndarray, kind: str,
    weight: Any = None,
) -> dict[str, float]:  # fmt: skip
    """Each metric of the outputs; ``weight`` are weights of the rows."""
    model: Any = (_Values if kind == "values" else _Classes)(outputs, kind)
    options = {} if weight is None else {"sample_weight": weight}
    if kind.startswith("binary"):
        target = target.astype(np.int64)
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    return {name: float(metric(model, target, options)) for name, metric in metrics.items()}
