"""Clusters between steep parts of a reachability plot (Ankerst et al. 1999, section 4.3)."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass
class Descent:
    """A steep part that goes down: its ends, and the highest place since."""

    first: int
    last: int
    since: float = 0.0


def steep_clusters(
    heights: np.ndarray, before: np.ndarray, order: np.ndarray, xi: float, least: int, size: int,
    corrected: bool
) -> np.ndarray:  # fmt: skip
    """First and last places of the clusters, the smaller ones first.

    Parameters
    ----------
    heights, before : ndarrays of shape (n,)
        Reachabilities and predecessors in the order.
    xi : float
        A step is steep where the next height is at most ``1 - xi`` of this one, or the reverse.
    least : int
        Most steps in a row that go on in a steep part without being steep.
    size : int
        Fewest places of a cluster.
    corrected : bool
        Whether a cluster ends at a row that was reached from inside it.
    """
    factor = 1 - xi
    h = np.append(heights, np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = h[:-1] / h[1:]
        rises, falls = ratio < 1, ratio > 1
        steep_up, steep_down = ratio <= factor, ratio >= 1 / factor
    descents: list[Descent] = []
    found: list[tuple[int, int]] = []
    at, top = 0, 0.0
    for place in np.flatnonzero(steep_up | steep_down).tolist():
        if place < at:
            continue
        top = max(top, float(h[at : place + 1].max()))
        descents = _still_deep(descents, top, h, factor)
        if steep_down[place]:
            last = _extended(steep_down, rises, place, least)
            descents.append(Descent(place, last))
        else:
            last = _extended(steep_up, falls, place, least)
            mine = [_between(d, place, last, h, factor) for d in descents]
            for d, ends in zip(reversed(descents), reversed(mine), strict=True):
                if ends is not None and corrected:
                    ends = _inside(h, before, order, *ends)
                if ends is None or ends[1] - ends[0] + 1 < size:
                    continue
                if ends[0] <= d.last and ends[1] >= place:
                    found.append(ends)
        at = last + 1
        top = float(h[at])
    return np.array(found, np.int64).reshape(-1, 2)


def _extended(steep: np.ndarray, against: np.ndarray, start: int, least: int) -> int:
    """The last steep place of a part: until a step against it, or too many that are not steep."""
    last, flat = start, 0
    for place in range(start, len(steep)):
        if steep[place]:
            last, flat = place, 0
        elif against[place]:
            break
        else:
            flat += 1
            if flat > least:
                break
    return last


def _still_deep(descents: list[Descent], top: float, h: np.ndarray, factor: float) -> list[Descent]:
    """Descents from higher than what came since, by a steep step."""
    if np.isinf(top):
        return []
    kept = [d for d in descents if top <= h[d.first] * factor]
    for d in kept:
        d.since = max(d.since, top)
    return kept


def _between(d: Descent, up: int, last: int, h: np.ndarray, factor: float) -> tuple | None:
    """The cluster from a descent to a rise, with ends of about one height."""
    first, end, start = d.first, h[last + 1], h[d.first]
    if end * factor < d.since:
        return None
    if start * factor >= end:  # starts higher than it ends
        while h[first + 1] > end and first < d.last:
            first += 1
    elif end * factor >= start:
        while h[last - 1] > start and last > up:
            last -= 1
    return first, last


def _inside(
    h: np.ndarray, before: np.ndarray, order: np.ndarray, first: int, last: int
) -> tuple | None:
    """The cluster without what follows the last row that was reached from inside."""
    while first < last:
        if h[first] > h[last] or (order[first:last] == before[last]).any():
            return first, last
        last -= 1
    return None
