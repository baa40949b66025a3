"""Linear models trained row by row: stochastic gradient descent and passive-aggressive steps.

Symbols: X is (n, d) data, W (k, d) weights of k models that see the same rows, b their intercepts.
A row x with target y moves each model by one step, in the given order, so the ops are serial over
rows; models are independent of each other. Weights and everything else are float64 even for
float32 rows: a step may be 1e-7 of a weight.

NaN and infinity in X reach the weights, from the first row on that holds them; a model whose
objective is no longer finite is stopped. Empty X or an empty order changes nothing. Deterministic:
models never share a sum, so results have the same bits at any thread count. Shapes, dtypes and
settings that do not fit raise ValueError. Cost about 4 k d flops a row, for CSR 4 k a stored value.

The L1 penalty is that of Tsuruoka, Tsujii and Ananiadou (2009), "Stochastic gradient descent
training for L1-regularized log-linear models with cumulative penalty"; passive-aggressive steps
are those of Crammer et al. (2006), "Online passive-aggressive algorithms"; averages are those of
Polyak and Juditsky (1992).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._op import op
from .elementwise import LANGUAGE
from .sgd_table import LOSSES

# Columns of the state of a model.
STATE = (
    "intercept",
    "average_intercept",
    "step",  # number of the next step, from 1
    "rate",  # of the last step; the first is the caller's
    "shrinkage",  # the whole L1 penalty of a weight so far
    "positive_weight",  # factor of steps for rows whose target is above 0
    "negative_weight",  # and for others
    "total",  # sum of the loss and the L2 penalty at each row since the epoch began
    "rows",  # and their number
    "objective",  # mean of the last epoch that was judged
    "best",  # the least of these
    "without_gain",  # epochs since then
    "epochs",  # epochs judged
    "stopped",  # 1 where the model no longer learns
)
# Settings, the same for all models.
SETTINGS = (
    "loss",  # number of a row of the table
    "margin",
    "schedule",  # number of one of the SCHEDULES
    "eta0",
    "power_t",
    "alpha",  # of the schedule "optimal"
    "l1",
    "l2",
    "fit_intercept",
    "average",  # number of the first step that is averaged, or 0
    "tol",  # least gain that counts; -inf never stops
    "patience",  # epochs without gain that stop a model
    "judged",  # whether each order is an epoch that is judged at its end
)
SCHEDULES = ("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2")
_ADAPTIVE, _PA1, _PA2 = 3, 4, 5
LARGEST_SLOPE = 1e12
LEAST_RATE = 1e-6  # an adaptive rate at or below it is not lowered further
_SERIAL = "steps follow one another, row by row, and run on the CPU only"


class _Model:
    """One row of the state, with names."""

    _values: Any

    def __init__(self, values: np.ndarray) -> None:
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> Any:
        return float(self._values[STATE.index(name)])

    def __setattr__(self, name: str, value: float) -> None:
        self._values[STATE.index(name)] = value


def _settings(op: str, values: np.ndarray) -> dict[str, float]:
    given = dict(zip(SETTINGS, values.tolist(), strict=True))
    for name, most in (("loss", len(LOSSES)), ("schedule", len(SCHEDULES))):
        if not 0 <= given[name] < most:
            raise ValueError(f"sgd.{op}: {name} must be in [0, {most}), got {given[name]:g}")
    return given


def _evaluate(expression: str, y: float, p: float, margin: float) -> float:
    names = {"y": y, "p": p, "margin": margin}
    with np.errstate(all="ignore"):
        return float(eval(expression, {"__builtins__": {}, **LANGUAGE}, names))


def _judge(model: _Model, given: dict[str, float], w: np.ndarray) -> None:
    objective = model.total / max(model.rows, 1)
    if given["schedule"] not in (_PA1, _PA2):
        objective += given["l1"] * float(np.abs(w).sum())
    gained = not (given["tol"] > -math.inf and objective > model.best - given["tol"])
    model.without_gain = 0 if gained else model.without_gain + 1
    model.best = min(objective, model.best)
    model.objective, model.epochs = objective, model.epochs + 1
    model.total = model.rows = 0
    if not math.isfinite(objective):
        model.stopped = 1
    elif model.without_gain >= given["patience"]:
        if given["schedule"] == _ADAPTIVE and model.rate > LEAST_RATE:
            model.rate, model.without_gain = model.rate / 5, 0
        else:
            model.stopped = 1


def _rate(model: _Model, given: dict[str, float]) -> float:
    schedule = SCHEDULES[int(given["schedule"])]
    if schedule == "optimal":  # Bottou: 1 / (alpha (t0 + t - 1)) begins at the size of a weight
        alpha = given["alpha"]
        typical = math.sqrt(1 / math.sqrt(alpha)) if alpha > 0 else math.inf
        return 1 / (alpha * (1 / (typical * alpha) + model.step - 1)) if alpha > 0 else math.inf
    if schedule == "invscaling":
        return given["eta0"] / model.step ** given["power_t"]
    return model.rate


def _step(
    model: _Model,
    w: np.ndarray,
    x: np.ndarray,
    y: float,
    factor: float,
    given: dict[str, float],
    applied: np.ndarray | None,
    mean: np.ndarray | None,
) -> None:
    loss, schedule = LOSSES[int(given["loss"])], int(given["schedule"])
    aggressive = schedule in (_PA1, _PA2)
    p = float(w @ x) + model.intercept
    value = _evaluate(loss.value, y, p, given["margin"])
    model.total += value + (0.0 if aggressive else given["l2"] / 2 * float(w @ w))
    model.rows += 1
    model.rate = _rate(model, given)
    squares = float(x @ x)
    if schedule == _PA1 and squares == 0:
        return
    slope = _evaluate(loss.slope, y, p, given["margin"])
    if aggressive:
        size = min(given["eta0"], value / squares) if schedule == _PA1 else (
            value / (squares + 0.5 / given["eta0"])
        )  # fmt: skip
        update = -math.copysign(size, slope) if slope else 0.0
    else:
        update = -model.rate * float(np.clip(slope, -LARGEST_SLOPE, LARGEST_SLOPE))
    update *= factor * (model.positive_weight if y > 0 else model.negative_weight)
    w *= max(0.0, 1 - model.rate * given["l2"])
    if update:
        w += update * x
        model.intercept += update if given["fit_intercept"] else 0.0
    if applied is not None:
        model.shrinkage += given["l1"] * model.rate
        before = w.copy()
        lower = np.maximum(0, w - (model.shrinkage + applied))
        upper = np.minimum(0, w + (model.shrinkage - applied))
        w[...] = np.where(w > 0, lower, np.where(w < 0, upper, w))
        applied += w - before
    if mean is not None and 0 < given["average"] <= model.step:
        count = model.step - given["average"] + 1
        mean += (w - mean) / count
        model.average_intercept += (model.intercept - model.average_intercept) / count
    model.step += 1


@op(
    "X: T[n,d]|csr, y: f64[n], order: i64[e,m], weights: inout f64[k,d], state: inout f64[k,14],"
    " applied: inout f64[p=k|0,d], averages: inout f64[a=k|0,d], settings: f64[13],"
    " sample_weight: T[n]? -> taken: int",
    cuda=_SERIAL,
)
def epochs(
    X: np.ndarray,
    y: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    state: np.ndarray,
    applied: np.ndarray,
    averages: np.ndarray,
    settings: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> int:
    """Steps over rows in a given order, for some epochs; models that have stopped are left alone.

    With ``p = w.x + b``, rate ``r`` and loss ``l(y, p)``, a row moves a model by
    ``w <- max(0, 1 - r l2) w - r l'(y, p) x`` and ``b <- b - r l'(y, p)``, then the L1 penalty
    takes what a weight still owes of the sum of all ``r l1`` so far, down to zero at most.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    y : ndarray of shape (n,), float64
        Targets of one model, 1 and -1 for classes; numbers of classes where k > 1: the target of
        model j is 1 where y is j, and -1 elsewhere.
    order : ndarray of shape (e, m), int64
        Numbers of rows, for each of e epochs in the order of the steps.
    weights : ndarray of shape (k, d), float64, C-contiguous, updated in place
        W.
    state : ndarray of shape (k, 14), float64, C-contiguous, updated in place
        The columns STATE.
    applied : ndarray of shape (k, d) or (0, d), float64, C-contiguous, updated in place
        Sum of what the L1 penalty has added to each weight; zeros at first. With shape (0, d)
        there is no such penalty.
    averages : ndarray of shape (k, d) or (0, d), float64, C-contiguous, updated in place
        Mean of the weights over the steps from ``average`` on; with shape (0, d) none is kept.
    settings : ndarray of shape (13,), float64
        The values of SETTINGS.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Factor of the step of each row, 1 when left out.

    Returns
    -------
    taken : int
        Epochs that some model took: less than e where all stopped.

    Raises
    ------
    IndexError
        If a number in order is not in [0, n).
    ValueError
        If shapes, dtypes or settings do not fit.

    Notes
    -----
    Passive-aggressive steps move by ``min(eta0, l / |x|^2)`` or ``l / (|x|^2 + 1 / (2 eta0))``
    against the sign of l'. A slope is clipped to 1e12. Epochs end as in `judge` if ``judged``. For
    CSR rows the L1 penalty of a weight waits until a row has its feature, and is settled at the end
    of the epoch: with ``l2`` above 0 it then differs by the decay in between.
    """
    given = _settings("epochs", settings)
    if order.size and not (order.min() >= 0 and order.max() < len(X)):
        wrong = order[(order < 0) | (order >= len(X))][0]
        raise IndexError(f"sgd.epochs: order must be in [0, {len(X)}), got {wrong}")
    most = 0
    for j in range(len(weights)):
        model, taken = _Model(state[j]), 0
        while taken < len(order) and not model.stopped:
            for i in order[taken]:
                target = float(y[i]) if len(weights) == 1 else (1.0 if y[i] == j else -1.0)
                factor = 1.0 if sample_weight is None else float(sample_weight[i])
                with np.errstate(all="ignore"):
                    _step(
                        model, weights[j], X[i].astype(np.float64), target, factor, given,
                        applied[j] if len(applied) else None,
                        averages[j] if len(averages) else None,
                    )  # fmt: skip
            taken += 1
            if given["judged"]:
                _judge(model, given, weights[j])
        most = max(most, taken)
    return most


@op("weights: f64[k,d], state: inout f64[k,14], settings: f64[13] -> running: int", cuda=_SERIAL)
def judge(weights: np.ndarray, state: np.ndarray, settings: np.ndarray) -> int:
    """End an epoch: compare its objective with the best, and stop models without gain.

    Parameters
    ----------
    weights : ndarray of shape (k, d), float64
        W at the end of the epoch.
    state : ndarray of shape (k, 14), float64, C-contiguous, updated in place
        The columns STATE.
    settings : ndarray of shape (13,), float64
        The values of SETTINGS.

    Returns
    -------
    running : int
        Number of models that go on.

    Raises
    ------
    ValueError
        If shapes, dtypes or settings do not fit.

    Notes
    -----
    The objective is the mean over the rows of the loss before the step, unweighted, plus
    ``l2/2 |w|^2``, and ``l1 |w|_1`` at the end; passive-aggressive schedules have no penalties in
    it. It is a gain where it is at most ``best - tol``. After ``patience`` epochs without gain the
    schedule ``"adaptive"`` divides the rate by 5 unless it is at most 1e-6; all others stop.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import sgd
    >>> state, settings = np.zeros((1, 14)), np.zeros(13)
    >>> state[0, sgd.STATE.index("total")] = 6.0
    >>> state[0, sgd.STATE.index("rows")] = 3.0
    >>> settings[sgd.SETTINGS.index("patience")] = 1.0
    >>> sgd.judge(np.zeros((1, 2)), state, settings)
    0
    >>> state[0, sgd.STATE.index("objective")].item()
    2.0
    """
    given = _settings("judge", settings)
    for w, row in zip(weights, state, strict=True):
        if not row[STATE.index("stopped")]:
            _judge(_Model(row), given, w)
    return int((state[:, STATE.index("stopped")] == 0).sum())
