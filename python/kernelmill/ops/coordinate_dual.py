"""What the specifications of `coordinate.dual` and `coordinate.joint` do in an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

# Columns of the state of a problem of `dual`.
STATE = (
    "intercept",  # weight of the constant feature
    "offset",  # what is added to all predictions
    "positive",  # factor of the prices of rows whose target is above 0
    "violation",  # the largest of the last epoch; infinity at first
    "kept",  # losses of the rows that have settled
    "gap",  # of the last epoch, an estimate; once it has finished, primal minus dual objective
    "objective",  # the primal one, with the same reserve
    "finished",  # 1 where the problem is left alone
    "epochs",
)
SETTINGS = (
    "loss",  # number of one of the LOSSES
    "epsilon",
    "constant",  # value of the constant feature, 0 for none
    "tol",  # the gap that ends a problem, as a share of its objective
    "several",  # whether y holds numbers of problems rather than the targets of one
    "shrinking",  # whether rows that have settled are left out
)
JOINT_STATE = STATE[3:4] + STATE[5:]
LOSSES = ("hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive")


def _terms(
    y: float, price: float, p: float, b: float, given: dict[str, float]
) -> tuple[float, float, float, float, float, float]:
    """Of one row: q, D, the bounds of b, its loss, and its share of the gap."""
    loss, eps = int(given["loss"]), given["epsilon"] if given["loss"] >= 2 else 0.0
    curvature = 0.5 / price if loss in (1, 3) else 0.0
    high = np.inf if loss in (1, 3) else price
    if loss < 2:
        beyond = max(0.0, 1 - y * p)
        low, top = (0.0, high) if y > 0 else (-high, 0.0)
    else:
        beyond, low, top = max(0.0, abs(p - y) - eps), -high, high
    value = price * (beyond * beyond if loss in (1, 3) else beyond)
    gap = b * p - y * b + eps * abs(b) + curvature / 2 * b * b + value
    return -y, curvature, low, top, value, gap


def _examined(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, i: int, problem: int, w: np.ndarray,
    b: float, one: dict[str, float], given: dict[str, float],
) -> tuple[float, float, tuple]:  # fmt: skip
    """Price and prediction of a row, and its terms."""
    target = (1.0 if y[i] == problem else -1.0) if given["several"] else float(y[i])
    cost = float(price[i]) * (one["positive"] if target > 0 else 1.0)
    p = float(X[i].astype(np.float64) @ w) + given["constant"] * one["intercept"] + one["offset"]
    return cost, p, _terms(target, cost, p, b, given)


def _judge_dual(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, weights: np.ndarray, beta: np.ndarray,
    settled: np.ndarray, states: list[dict[str, float]], first: int, given: dict[str, float],
) -> None:  # fmt: skip
    """The end of an epoch: finish problems whose gap is small, or look at all rows again."""
    norms = [
        float(weights[:, j] @ weights[:, j]) / 2 + one["intercept"] ** 2 / 2
        for j, one in enumerate(states)
    ]
    asking = []
    for j, one in enumerate(states):
        if one["finished"]:
            continue
        one["objective"] += norms[j] + one["kept"]
        one["epochs"] += 1
        if one["gap"] <= given["tol"] * one["objective"]:
            asking.append(j)
    if not asking:
        return
    for j, one in enumerate(states):
        if one["finished"]:
            continue
        one["gap"], one["objective"] = 0.0, norms[j]
        for i in range(len(X)):
            if price[i] > 0:
                terms = _examined(X, y, price, i, first + j, weights[:, j], beta[i, j], one, given)[
                    2
                ]
                one["objective"] += terms[4]
                one["gap"] += terms[5]
        one["finished"] = float(one["gap"] <= given["tol"] * one["objective"])
    if not all(states[j]["finished"] for j in asking):
        settled[...] = 0
        for one in states:
            if not one["finished"]:
                one["violation"], one["kept"] = np.inf, 0.0


def dual_epoch(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, squares: np.ndarray, rows: np.ndarray,
    weights: np.ndarray, beta: np.ndarray, settled: np.ndarray, states: list[dict[str, float]],
    first: int, given: dict[str, float],
) -> None:  # fmt: skip
    """One epoch of a block of `dual`, and its end."""
    running = [j for j, one in enumerate(states) if not one["finished"]]
    for j in running:
        states[j]["gap"] = states[j]["objective"] = 0.0
    largest = dict.fromkeys(running, 0.0)
    constant, eps = given["constant"], given["epsilon"] if given["loss"] >= 2 else 0.0
    for i in rows:
        if settled[i] or not price[i] > 0:
            continue
        rests: Any = bool(given["shrinking"])
        changes = {}
        losses = {}
        for j in running:
            one, b = states[j], float(beta[i, j])
            terms = _examined(X, y, price, i, first + j, weights[:, j], b, one, given)
            _, p, (q, curvature, low, high, value, gap) = terms
            one["gap"] += gap
            one["objective"] += value
            losses[j] = value
            g = p + q + curvature * b
            up = g + (eps if b >= 0 else -eps) if b < high else np.inf
            down = g + (eps if b > 0 else -eps) if b > low else -np.inf
            largest[j] = max(largest[j], -up, down)
            rests = rests and up > one["violation"] and down < -one["violation"]
            H = squares[i] + constant * constant + curvature
            if H > 0:
                z = b - g / H
                after = min(max(np.copysign(max(abs(z) - eps / H, 0.0), z), low), high)
            else:
                after = high if up < 0 else low if down > 0 else b
            changes[j] = after - b
        if rests:
            settled[i] = 1
            for j in running:
                states[j]["kept"] += losses[j]
                states[j]["objective"] -= losses[j]
            continue
        x = X[i].astype(np.float64)
        for j, change in changes.items():
            beta[i, j] += change
            weights[:, j] += change * x
            states[j]["intercept"] += change * constant
    for j in running:
        states[j]["violation"] = largest[j]
    _judge_dual(X, y, price, weights, beta, settled, states, first, given)


def _joint_slack(
    x: np.ndarray, own: int, weights: np.ndarray, intercepts: np.ndarray, constant: float
) -> np.ndarray:
    scores = np.einsum("d,bdw->bw", x.astype(np.float64), weights).ravel()[: len(intercepts)]
    scores = scores + constant * intercepts
    return scores + (np.arange(len(intercepts)) != own)


def _joint_step(slack: np.ndarray, b: np.ndarray, own: int, price: float, H: float) -> np.ndarray:
    """Multipliers ``min(C [m = own], (level - B_m) / H)`` of sum 0."""
    B = slack - H * b
    bounds = np.where(np.arange(len(b)) == own, price, 0.0)
    falling = np.sort(B + H * bounds)[::-1]
    level, count = falling[0] - H * price, 1
    while count < len(b) and level < count * falling[count]:
        level, count = level + falling[count], count + 1
    free = (level / count - B) / H
    after = np.minimum(0.0, free)
    after[own] = 0.0  # what makes the sum 0, and 0 where all others are
    after[own] = price if free[own] >= price else min(price, -after.sum())
    return after


def joint_epoch(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, squares: np.ndarray, rows: np.ndarray,
    weights: np.ndarray, intercepts: np.ndarray, beta: np.ndarray, settled: np.ndarray,
    one: dict[str, float], constant: float, tol: float, shrinking: bool,
) -> None:  # fmt: skip
    """One epoch of `joint`, and its end."""
    classes, blocks, k = np.arange(beta.shape[1]), len(weights), beta.shape[1]
    largest = one["gap"] = one["objective"] = 0.0
    for i in rows:
        if settled[i] or not price[i] > 0:
            continue
        own, b = int(y[i]), beta[i]
        slack = _joint_slack(X[i], own, weights, intercepts, constant)
        loss = price[i] * (slack.max() - slack[own])
        one["gap"] += b @ slack + loss
        one["objective"] += loss
        may_grow = b < np.where(classes == own, price[i], 0.0)
        violation = max(0.0, slack.max() - slack[may_grow].min(initial=np.inf))
        largest = max(largest, violation)
        margin = slack[own] - np.delete(slack, own).max(initial=-np.inf)
        if shrinking and not b.any() and margin > one["violation"]:
            settled[i] = 1
            continue
        H = squares[i] + constant * constant
        if not H > 0 or not violation > 0:
            continue
        change = _joint_step(slack, b, own, price[i], H) - b
        beta[i] += change
        intercepts += constant * change
        padded = np.append(change, np.zeros(8 * blocks - k)).reshape(blocks, 1, 8)
        weights += X[i].astype(np.float64)[None, :, None] * padded
    norm = float((weights**2).sum() + intercepts @ intercepts) / 2
    one["violation"] = largest
    one["epochs"] += 1
    one["objective"] += norm
    if one["gap"] <= tol * one["objective"]:
        one["gap"], one["objective"] = 0.0, norm
        for i in np.flatnonzero(price > 0):
            slack = _joint_slack(X[i], int(y[i]), weights, intercepts, constant)
            loss = price[i] * (slack.max() - slack[int(y[i])])
            one["objective"] += loss
            one["gap"] += beta[i] @ slack + loss
        if one["gap"] <= tol * one["objective"]:
            one["finished"] = 1.0
        else:
            settled[...] = 0
            one["violation"] = np.inf
