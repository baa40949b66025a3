"""One against one: decisions of pairs of classes, votes, and calibrated probabilities."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from kernelmill._arrays import namespace


def pairs(k: int) -> list[tuple[int, int]]:
    """Pairs of classes in the order of decisions: (0, 1), (0, 2), ..., (1, 2), ..."""
    return list(combinations(range(k), 2))


def votes(decisions: np.ndarray, k: int) -> np.ndarray:
    """Number of pairs that each class wins, (n, k); a decision of 0 counts for the first."""
    found = namespace(decisions).zeros((len(decisions), k))
    for column, (i, j) in enumerate(pairs(k)):
        first = decisions[:, column] >= 0
        found[:, i] += first
        found[:, j] += ~first
    return found


def one_against_rest(decisions: np.ndarray, k: int) -> np.ndarray:
    """A score for each class: its votes, and less than a third for the sum of its decisions."""
    sums = namespace(decisions).zeros((len(decisions), k))
    for column, (i, j) in enumerate(pairs(k)):
        sums[:, i] += decisions[:, column]
        sums[:, j] -= decisions[:, column]
    return votes(decisions, k) + sums / (3 * (abs(sums) + 1))


def slope(decisions: np.ndarray, first: np.ndarray, weights: np.ndarray) -> float:
    """The a >= 0 of ``1 / (1 + exp(-a f))`` that is most likely, with Platt's targets.

    Parameters
    ----------
    decisions : ndarray of shape (n,)
        Held-out decisions f.
    first : ndarray of shape (n,), bool
        Whether a row is of the class for which f should be positive.
    weights : ndarray of shape (n,)
        Weights of the rows.
    """
    own = float(weights[first].sum()), float(weights[~first].sum())
    target = np.where(first, (own[0] + 1) / (own[0] + 2), 1 / (own[1] + 2))
    size = float(np.abs(decisions).max(initial=0.0))
    if size == 0:
        return 0.0
    f = decisions / size
    a = 1.0
    for _ in range(100):  # Newton on a concave function of one variable
        p = 1 / (1 + np.exp(-np.clip(a * f, -500, 500)))
        climb = float(weights @ ((target - p) * f))
        bend = float(weights @ (p * (1 - p) * f * f)) + 1e-12 * float(weights @ (f * f))
        step = climb / bend
        step = min(max(step, -0.5 * (a + 1)), 2 * (a + 1))
        a = max(a + step, 0.0)
        if abs(step) <= 1e-10 * (1 + a) or (a == 0 and climb <= 0):
            break
    return a / size


def coupled(decisions: np.ndarray, slopes: np.ndarray, k: int) -> np.ndarray:
    """Probabilities of k classes that fit those of all pairs best.

    They minimise ``sum_i sum_j (r_ji p_i - r_ij p_j)^2`` where p sums to one: the second method of
    Wu, Lin and Weng (2004).
    """
    n = len(decisions)
    r = np.full((n, k, k), 0.5)
    for column, (i, j) in enumerate(pairs(k)):
        inner = np.clip(slopes[column] * decisions[:, column], -30, 30)
        r[:, i, j] = 1 / (1 + np.exp(-inner))
        r[:, j, i] = 1 / (1 + np.exp(inner))
    if k == 2:
        return np.stack([r[:, 0, 1], r[:, 1, 0]], axis=1)
    # Stationary: sum_j r_ji (r_ji p_i - r_ij p_j) is the same for all i.
    system = np.zeros((n, k + 1, k + 1))
    system[:, :k, :k] = -r.transpose(0, 2, 1) * r
    diagonal = (r.transpose(0, 2, 1) ** 2).sum(axis=2) - 0.25
    system[:, range(k), range(k)] = diagonal
    system[:, :k, k] = system[:, k, :k] = 1.0
    right = np.zeros((n, k + 1, 1))
    right[:, k] = 1.0
    found = np.linalg.solve(system, right)[:, :k, 0]
    found = np.maximum(found, 0.0)
    return found / found.sum(axis=1, keepdims=True)


def stepped(decisions: np.ndarray, slopes: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """The same by the steps of LIBSVM, where its model came from there.

    Its sigmoids have offsets, so the largest probability need not be that of the class that most
    pairs vote for. Algorithm 2 of Wu, Lin and Weng (2004): one probability after another moves to
    its best value and all are divided by their sum, until no condition is missed by ``0.005 / k``.
    """
    n = len(decisions)
    r = np.zeros((n, k, k))
    for column, (i, j) in enumerate(pairs(k)):
        inner = np.clip(slopes[column] * decisions[:, column] + offsets[column], -500, 500)
        r[:, i, j] = np.clip(1 / (1 + np.exp(-inner)), 1e-7, 1 - 1e-7)
        r[:, j, i] = 1 - r[:, i, j]
    Q = -r.transpose(0, 2, 1) * r
    Q[:, range(k), range(k)] = (r**2).sum(axis=1)
    p = np.full((n, k), 1 / k)
    left = np.arange(n)
    for _ in range(max(100, k)):
        q, own = Q[left], p[left]
        Qp = (q @ own[:, :, None])[:, :, 0]
        pQp = (own * Qp).sum(axis=1)
        going = np.abs(Qp - pQp[:, None]).max(axis=1, initial=0.0) >= 0.005 / k
        if not going.any():
            break
        left, q, own, Qp, pQp = left[going], q[going], own[going], Qp[going], pQp[going]
        for t in range(k):
            step = (pQp - Qp[:, t]) / q[:, t, t]
            own[:, t] += step
            pQp = (pQp + step * (step * q[:, t, t] + 2 * Qp[:, t])) / (1 + step) ** 2
            Qp = (Qp + step[:, None] * q[:, t]) / (1 + step)[:, None]
            own /= (1 + step)[:, None]
        p[left] = own
    return p


def led_by(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The nearest probabilities of which that of the label is the largest, and the first such."""
    found = probabilities.copy()
    rows = np.flatnonzero(found.argmax(axis=1) != labels)
    for row in rows:
        own, label = found[row], labels[row]
        order = np.argsort(-own, kind="stable")
        order = order[order != label]
        group, mean = [label], own[label]
        for other in order:  # all that are at least the mean of the group join it
            if own[other] < mean:
                break
            group.append(other)
            mean = own[group].mean()
        own[group] = mean
        share = 4 * np.finfo(float).eps * mean * (len(group) - 1)
        own[group[1:]] -= share / (len(group) - 1)
        own[label] += share
    return found
