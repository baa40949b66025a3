"""What `histogram.grow` means: steps, histograms, cuts, growth."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .random import philox4x32

EQUAL = 2.0**-40  # a gain below this share of what the children gain is rounding
COARSE = (8191.0, 16383.0)  # largest multiples of coarse steps


class Rule(NamedTuple):
    """The numbers that govern growth."""

    rate: float
    l2: float
    l1: float
    min_leaf: float
    min_hessian: float
    max_depth: float
    share: float
    min_gain: float
    coarse: float


class Cut(NamedTuple):
    """A split of one node."""

    gain: float
    feature: int
    code: int  # -1: categorical
    missing_left: bool
    left: np.ndarray  # bool (256,)
    values: tuple[float, float]


@dataclass(eq=False)
class Leaf:
    """A node while the tree grows."""

    rows: np.ndarray
    depth: int
    sums: np.ndarray  # G, H, rows
    low: float = -math.inf
    high: float = math.inf
    groups: np.ndarray | None = None
    cut: Cut | None = None
    children: list[Leaf] = field(default_factory=list)


def noise(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two multiples of 2**-16 in [0, 1) for each row."""
    x = rows.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32((seed ^ seed >> 32) & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return (x & np.uint32(0xFFFF)) / 65536.0, (x >> np.uint32(16)) / 65536.0


def _fine_step(values: np.ndarray, n: int) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0:
        return 1.0
    exponent = math.frexp(largest)[1] - (52 - int(n).bit_length())
    return math.ldexp(1.0, max(exponent, -1074))


def in_steps(
    gradient: np.ndarray, hessian: np.ndarray, coarse: float, seed: int
) -> tuple[np.ndarray, np.ndarray, float, float, bool]:
    """Whole multiples, and the steps; whether these are coarse."""
    n, one = len(gradient), len(hessian) == 1
    top, most = np.abs(gradient).max(initial=0.0), hessian.max(initial=0.0)
    u, v = noise(np.arange(n), seed)
    gradient_step, hessian_step = top / COARSE[0], most / COARSE[1]
    small = 16 * gradient_step <= np.abs(gradient).sum() / max(n, 1) and (
        one or 16 * hessian_step <= hessian.sum() / max(n, 1)
    )
    if n >= coarse and small and top > 0 and most > 0:
        g = np.minimum(np.floor(gradient * (COARSE[0] / top) + u), COARSE[0])
        if one:
            return g, np.ones(n), gradient_step, float(hessian[0]), True
        return g, np.floor(hessian * (COARSE[1] / most) + v), gradient_step, hessian_step, True
    gradient_step = _fine_step(gradient, n)
    g = np.rint(gradient / gradient_step)
    if one:
        return g, np.ones(n), gradient_step, float(hessian[0]), False
    hessian_step = _fine_step(hessian, n)
    return g, np.rint(hessian / hessian_step), gradient_step, hessian_step, False


class Growth:
    """A tree on codes of shape (n, d)."""

    def __init__(
        self, codes: np.ndarray, counts: np.ndarray, categorical: np.ndarray, gradient: np.ndarray,
        hessian: np.ndarray, rule: np.ndarray, monotonic: np.ndarray | None,
        groups: np.ndarray | None, seed: int,
    ) -> None:  # fmt: skip
        self.codes, self.counts, self.categorical = codes, counts, categorical
        self.gradient, self.hessian = gradient, np.broadcast_to(hessian, len(gradient))
        self.rule, self.monotonic, self.groups, self.seed = Rule(*rule), monotonic, groups, seed
        self.g, self.h, self.gradient_step, self.hessian_step, self.coarse = in_steps(
            gradient, hessian, self.rule.coarse, seed
        )
        self.l1 = self.rule.l1 / self.gradient_step
        self.l2 = self.rule.l2 / self.hessian_step if self.hessian_step else 0.0
        self.opened = 0

    def threshold(self, G: Any) -> Any:
        return np.sign(G) * np.maximum(np.abs(G) - self.l1, 0.0)

    def value(self, G: Any, H: Any, low: float, high: float, more: float = 0.0) -> Any:
        """The best value within bounds, in steps; `more` is added to the penalty."""
        H = H + self.l2 + more
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(H > 0, -self.threshold(G) / H, 0.0)
        scale = self.gradient_step / self.hessian_step if self.hessian_step else 1.0
        return np.clip(value, low / scale, high / scale)

    def lowers(self, G: Any, H: Any, value: Any, more: float = 0.0) -> Any:
        """Twice what a leaf of this value lowers the objective, in steps."""
        H = H + self.l2 + more
        return -(2 * G * value + H * value * value + 2 * self.l1 * np.abs(value))

    def open(self, rows: np.ndarray, depth: int, parent: Leaf | None = None) -> Leaf:
        sums = np.array([self.g[rows].sum(), self.h[rows].sum(), len(rows)])
        groups: Any = parent.groups if parent is not None else None
        if self.groups is not None and parent is None:
            groups = np.ones(len(self.groups), bool)
        return Leaf(rows, depth, sums, groups=groups)

    def look(self, leaf: Leaf) -> None:
        """Find the best cut of a leaf."""
        number, self.opened = self.opened, self.opened + 1
        rule, d = self.rule, len(self.counts)
        if len(leaf.rows) < 2 * rule.min_leaf or 0 < rule.max_depth <= leaf.depth:
            return
        allowed: Any = np.ones(d, bool)
        if self.groups is not None:
            allowed = self.groups[leaf.groups].any(axis=0)
        most = max(1, math.ceil(rule.share * allowed.sum()))
        if most < allowed.sum():
            blocks = philox4x32(np.arange(-(-d // 4), dtype=np.uint64), self.seed, number)
            order = np.argsort(blocks.ravel()[:d], kind="stable")
            allowed[order[allowed[order]][most:]] = False
        for f in np.flatnonzero(allowed):
            cut = self.best_cut(leaf, int(f))
            if cut is not None and (leaf.cut is None or cut.gain > leaf.cut.gain):
                leaf.cut = cut

    def best_cut(self, leaf: Leaf, f: int) -> Cut | None:
        rule, count = self.rule, int(self.counts[f])
        code = self.codes[leaf.rows, f]
        own = np.stack(
            [np.bincount(code, x, count) for x in (self.g[leaf.rows], self.h[leaf.rows])]
            + [np.bincount(code, minlength=count)]
        )
        tried = []  # codes that go left, in the order of ties
        more = 0.0
        if self.categorical[f]:
            more = (rule.min_leaf - 1) * leaf.sums[1] / leaf.sums[2]
            rare = (own[2] > 0) & (own[2] < rule.min_leaf / 2)
            groups = [np.array([c]) for c in np.flatnonzero((own[2] > 0) & ~rare)]
            if rare.any():
                groups.append(np.flatnonzero(rare))
            order = []
            for codes in groups:
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = own[0, codes].sum() / (own[1, codes].sum() + self.l2 + more)
                order.append((0.0 if np.isnan(ratio) else float(ratio), int(codes[0]), codes))
            order.sort(key=lambda group: group[:2])
            for cut in range(1, len(order)):
                tried.append((-1, False, np.concatenate([codes for *_, codes in order[:cut]])))
        else:
            for left in (False, True) if own[2, 0] else (False,):
                for cut in range(1, count if own[2, 0] and not left else count - 1):
                    codes = np.arange(1, cut + 1)
                    tried.append((cut, left, np.append(codes, 0) if left else codes))
        best = None
        node = self.lowers(
            leaf.sums[0], leaf.sums[1], self.value(leaf.sums[0], leaf.sums[1], leaf.low, leaf.high)
        )
        sign = 0 if self.monotonic is None else int(self.monotonic[f])
        feigned = 0.0
        if self.coarse:
            ratio = leaf.sums[0] / max(leaf.sums[1], 1)
            feigned = 8 * (1 + ratio * ratio) * leaf.sums[2] / max(leaf.sums[1], 1)
        unit = self.gradient_step**2 / self.hessian_step / 2 if self.hessian_step else 0.0
        for cut, missing_left, codes in tried:
            left = own[:, codes].sum(axis=1)
            sides = left, leaf.sums - left
            least = rule.min_hessian / self.hessian_step if self.hessian_step else 0.0
            if min(s[2] for s in sides) < max(rule.min_leaf, 1):
                continue
            if min(s[1] for s in sides) < least or min(s[1] for s in sides) <= 0:
                continue
            values = [float(self.value(s[0], s[1], leaf.low, leaf.high, more)) for s in sides]
            if sign * values[0] > sign * values[1]:
                continue
            pairs = zip(sides, values, strict=True)
            children = sum(float(self.lowers(s[0], s[1], v, more)) for s, v in pairs)
            gain = children - float(node)
            if gain <= max(EQUAL * abs(children), feigned):
                continue
            if rule.min_gain > 0 and gain * unit <= rule.min_gain:
                continue
            if best is not None and gain <= best.gain:
                continue
            goes = np.zeros(256, bool)
            larger = left[2] > sides[1][2]
            if self.categorical[f]:
                goes[:] = larger
                goes[np.flatnonzero(own[2])] = False
            else:
                missing_left = bool(missing_left if own[2, 0] else larger)
                goes[0] = missing_left
            goes[codes] = True
            if self.categorical[f]:
                missing_left = bool(goes[0])
            plain = [float(self.value(s[0], s[1], leaf.low, leaf.high)) for s in sides]
            best = Cut(gain, f, cut, missing_left, goes, (plain[0], plain[1]))
        return best

    def split(self, leaf: Leaf) -> None:
        cut = leaf.cut
        assert cut is not None
        goes = cut.left[self.codes[leaf.rows, cut.feature]]
        sign = 0 if self.monotonic is None else int(self.monotonic[cut.feature])
        scale = self.gradient_step / self.hessian_step
        middle = (cut.values[0] + cut.values[1]) / 2 * scale
        for left in (True, False):
            child = self.open(leaf.rows[goes == left], leaf.depth + 1, leaf)
            child.low, child.high = leaf.low, leaf.high
            if sign:
                if left == (sign > 0):
                    child.high = middle
                else:
                    child.low = middle
            if self.groups is not None and child.groups is not None:
                child.groups = child.groups & self.groups[:, cut.feature]
            leaf.children.append(child)

    def tree(self, rows: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        split, stats = np.zeros((nodes, 8), np.int32), np.zeros((nodes, 4))
        sides = np.zeros((nodes, 32), np.uint8)
        n = len(self.gradient)
        root = self.open(np.arange(n), 0)
        self.look(root)
        waiting, count = [root], 1
        while count + 2 <= nodes:
            able = [(w.cut.gain, -i, w) for i, w in enumerate(waiting) if w.cut is not None]
            if not able:
                break
            best = max(able)[2]
            waiting.remove(best)
            self.split(best)
            count += 2
            for child in best.children:
                if count + 2 <= nodes:
                    self.look(child)
                waiting.append(child)
        place, number = 0, itertools.count()

        def emit(leaf: Leaf) -> int:
            nonlocal place
            me, start = next(number), place
            if leaf.cut is None or not leaf.children:
                rows[place : place + len(leaf.rows)] = leaf.rows
                place += len(leaf.rows)
                split[me] = (-1, 0, 0, -1, -1, start, place, leaf.depth)
                G, H = self.gradient[leaf.rows].sum(), self.hessian[leaf.rows].sum()
                l1, l2 = self.rule.l1, self.rule.l2
                value = -np.sign(G) * max(abs(G) - l1, 0.0) / (H + l2) if H + l2 > 0 else 0.0
                value = min(max(value, leaf.low), leaf.high)
                stats[me] = 0.0, self.rule.rate * value, G, H
                return me
            G, H = leaf.sums[:2]
            value = float(self.value(G, H, leaf.low, leaf.high))
            value *= self.gradient_step / self.hessian_step
            gain = leaf.cut.gain * self.gradient_step / 2 / self.hessian_step * self.gradient_step
            left, right = map(emit, leaf.children)
            cut = leaf.cut
            split[me] = (
                cut.feature, cut.code, cut.missing_left, left, right, start, place, leaf.depth
            )  # fmt: skip
            stats[me] = gain, self.rule.rate * value, G * self.gradient_step, (
                H * self.hessian_step
            )
            sides[me] = np.packbits(cut.left, bitorder="little")
            return me

        emit(root)
        return split, stats, sides, count
