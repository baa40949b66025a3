"""The file of a search: what was evaluated, so that it can go on later.

It is JSON: what the search was made of, and an entry for each evaluation, with numbers as the user
sees them, and indices of choices. Python writes floats so that they are read back to the last bit.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator.persistence import write_atomically
from kernelmill.model_selection._space import Space

FORMAT, SCHEMA = "kernelmill-search", 1


class Entry(NamedTuple):
    """One evaluation."""

    row: np.ndarray  # numbers of the point
    y: float  # NaN if it failed
    error: str | None = None
    details: dict[str, Any] | None = None  # scores of splits


def _plain(value: Any) -> Any:
    """A value without NaN and infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        if list(value) == ["float"]:
            return float(value["float"])
        return {k: _unplain(v) for k, v in value.items()}
    return [_unplain(v) for v in value] if isinstance(value, list) else value


class Record:
    """The entries of a search, and the file that keeps them.

    Parameters
    ----------
    owner : str
        Name of the caller in errors.
    space : Space
        The space.
    path : str, os.PathLike or None
        The file; nothing is kept without one. One that exists is gone on from.
    made_of : dict
        What must be the same for a search to go on, by the name of the argument.
    seed : int
        Seed of the search.
    keeps_seed : bool
        Whether another seed in the file is taken rather than refused.

    Attributes
    ----------
    entries : list of Entry
        All evaluations.
    seed : int
        The seed of the search.
    """

    def __init__(
        self, owner: str, space: Space, path: Any, made_of: dict[str, Any], seed: int,
        keeps_seed: bool,
    ) -> None:  # fmt: skip
        self.path, self._space, self.seed = path, space, seed
        self.entries: list[Entry] = []
        self._made_of = _unplain(_plain({"search": owner, "space": space.described(), **made_of}))
        if path is None:
            return
        if os.path.exists(path):
            self._read(owner, keeps_seed)
        self.write()  # a path that cannot be written is known at once

    def _read(self, owner: str, keeps_seed: bool) -> None:
        try:
            with open(self.path, encoding="utf-8") as file:
                found = json.load(file)
            if found["format"] != FORMAT or found["schema"] != SCHEMA:
                raise ValueError(f"format {found['format']!r}, schema {found['schema']!r}")
            made_of, seed = _unplain(found["made_of"]), int(found["seed"])
            entries = [
                Entry(
                    np.array(e["x"], dtype=np.float64),
                    *(_unplain(e[key]) for key in ("y", "error", "more")),
                )
                for e in found["entries"]
                if made_of == self._made_of
            ]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{owner}: checkpoint must be a file that a search has written, or no file, got "
                f"{os.fspath(self.path)!r} ({error})"
            ) from error
        other = [k for k in {**made_of, **self._made_of} if made_of.get(k) != self._made_of.get(k)]
        if not other and seed != self.seed and not keeps_seed:
            other = ["random_state"]
        if other:
            raise ValueError(
                f"{owner}: checkpoint must be of the same search, got one with another "
                f"{other[0]} (remove {os.fspath(self.path)!r} to start anew)"
            )
        self.seed, self.entries = seed, entries

    def write(self) -> None:
        """Write the file: the old one stays whole until the new one is."""
        if self.path is None:
            return
        document = {
            "format": FORMAT, "schema": SCHEMA, "seed": self.seed, "made_of": _plain(self._made_of),
            "entries": [
                {"x": _plain(self._space.stored(e.row)), "y": _plain(e.y), "error": e.error,
                 "more": _plain(e.details)}
                for e in self.entries
            ],
        }  # fmt: skip
        text = json.dumps(document, allow_nan=False, indent=1)
        write_atomically(self.path, [text.encode()])
