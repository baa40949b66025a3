"""Neighbours on the tour: handwritten digits, and places that share the Earth's crowded parts."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import re
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ._context import INK, MUTED, Context, Row

EARTH_KM = 6371.0
REACH_KM = 550.0
_PLACE = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?([+-])(\d\d\d)(\d\d)(\d\d)?")


def rows(context: Context) -> Iterator[Row]:
    """Digits by their nearest neighbours, and a map of the world's time zones."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from ...neighbors import KNeighborsClassifier

    X, y = load_digits(return_X_y=True)
    A, B, a, b = train_test_split(X.astype(np.float32), y, random_state=0, stratify=y)
    model = KNeighborsClassifier(5, weights="distance").fit(A, a)
    found, seconds = context.timed(functools.partial(model.predict, B))
    score = f"accuracy {(found == b).mean():.3f}"
    yield Row("k nearest rows", "digits, held out", A.shape, seconds, score, context.where())
    yield from _map(context)


def _map(context: Context) -> Iterator[Row]:
    from ...cluster import DBSCAN

    places = time_zones()
    if places is None:
        context.notes.append("No table of time zones was found: the map of places was left out.")
        return
    model = DBSCAN(REACH_KM / EARTH_KM, min_samples=4, metric="haversine")
    _, seconds = context.timed(functools.partial(model.fit, np.deg2rad(places)))
    count, noise = model.labels_.max() + 1, (model.labels_ < 0).mean()
    score = f"{count} groups, {noise:.0%} apart"
    yield Row("DBSCAN on a sphere", "places of time zones", places.shape, seconds, score,
              context.where())  # fmt: skip
    if context.plot:
        _draw(context, places, model.labels_)


def time_zones() -> np.ndarray | None:
    """Latitude and longitude in degrees of a place of each time zone, from the time zone database.

    None where no copy of it is found.
    """
    folders = [Path(folder) for folder in zoneinfo.TZPATH]
    with contextlib.suppress(ModuleNotFoundError):
        folders.append(Path(str(importlib.resources.files("tzdata") / "zoneinfo")))
    for folder in folders:
        if (folder / "zone.tab").is_file():
            text = (folder / "zone.tab").read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            return np.array([_degrees(line.split("\t")[1]) for line in lines])
    return None


def _degrees(text: str) -> tuple[float, float]:
    """``+5130-00007`` or ``+513030-0000731``: degrees, minutes, perhaps seconds."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError(f"tour: a place must be written as +5130-00007, got {text!r}")
    parts = match.groups()

    def angle(sign: str, degrees: str, minutes: str, seconds: str | None) -> float:
        size = int(degrees) + int(minutes) / 60 + int(seconds or 0) / 3600
        return -size if sign == "-" else size

    return angle(*parts[:4]), angle(*parts[4:])


def _draw(context: Context, places: np.ndarray, labels: np.ndarray) -> None:
    figure = context.figure(11, 5.5)
    axes = figure.subplots()
    alone = labels < 0
    axes.scatter(*places[alone].T[::-1], s=8, color=MUTED, label="apart")
    own = ~alone
    axes.scatter(*places[own].T[::-1], s=18, c=labels[own] % 20, cmap="tab20")
    axes.set(xlim=(-180, 180), ylim=(-80, 85), xlabel="longitude (degrees)")
    axes.set_ylabel("latitude (degrees)")
    axes.set_aspect("equal")
    title = f"Places of time zones, grouped where four lie within {REACH_KM:.0f} km of one"
    axes.set_title(title, loc="left", color=INK)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.99), borderaxespad=0)
    context.save(figure, "time-zones", "groups of places on the Earth, found by DBSCAN")
