"""A search space: its dimensions, which of them are active, and points as rows of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelmill._estimator._parameters import shown
from kernelmill.model_selection._dimensions import Categorical, Dimension, as_dimension

# Finite spaces of up to so many points are listed, and all points compared.
MOST_LISTED = 4096


class Space:
    """The space of a search.

    Parameters
    ----------
    given : sequence of dimensions, dict of dimensions, or sequence of such dicts
        Points of a sequence are lists, of dicts dicts. Several dicts are alternatives.
    owner : str
        Name of the caller in errors.

    Attributes
    ----------
    dimensions : list of Dimension
        Parents before those whose activity depends on them.
    points : ndarray or None
        All points, as rows of numbers, if there are at most `MOST_LISTED`.
    """

    def __init__(self, given: Any, owner: str) -> None:
        self.owner = owner
        self.as_dict = True
        self._branches: list[list[str]] = []  # names of each alternative
        labels: list[str] = []  # unique, unlike names: alternatives may share these
        found: list[Dimension] = []
        if isinstance(given, Mapping) and given:
            found = [as_dimension(v, owner, str(k)) for k, v in given.items()]
            labels = [*map(str, given)]
        elif isinstance(given, Sequence) and given and all(isinstance(g, Mapping) for g in given):
            found, labels = self._alternatives(given)
        elif isinstance(given, Sequence) and given and not isinstance(given, str):
            self.as_dict = False
            found = [as_dimension(v, owner) for v in given]
            labels = [d.name or f"x{i}" for i, d in enumerate(found)]
        else:
            raise ValueError(
                f"{owner}: the space must be a list of dimensions, a dict from names to dimensions "
                f"or a list of such dicts, with at least one dimension, got {shown(given)}"
            )
        if len(set(labels)) < len(labels):
            raise ValueError(f"{owner}: names of dimensions must differ, got {labels}")
        self.dimensions, self.labels = found, labels
        self._conditions = [self._condition(d) for d in found]
        self._order = self._sorted()
        widths = [d.width for d in found]
        stops = np.cumsum(widths)
        self.columns = [slice(b - w, b) for b, w in zip(stops, widths, strict=True)]
        self.n_columns = int(stops[-1])
        # Which dimension a column belongs to: its columns share a length scale.
        self.owner_of_column = np.repeat(np.arange(len(found)), widths)
        self.continuous = np.array([d.is_continuous for d in found])
        self.points = self._listed()

    @property
    def names(self) -> list[str]:
        """Names of dimensions; ``x0``, ``x1``, ... where there are none."""
        return [d.name or label for d, label in zip(self.dimensions, self.labels, strict=True)]

    @property
    def size(self) -> float:
        """Number of points, infinity if they were not counted."""
        return np.inf if self.points is None else len(self.points)

    def _alternatives(self, given: Sequence[Mapping]) -> tuple[list[Dimension], list[str]]:
        choice = Categorical(range(len(given)))
        choice.is_ordered, choice.width = False, len(given) if len(given) > 2 else choice.width
        found, labels = [choice], [""]
        for b, branch in enumerate(given):
            names = [str(name) for name in branch]
            self._branches.append(names)
            for name, value in zip(names, branch.values(), strict=True):
                dimension = as_dimension(value, self.owner, name)
                when = {f"{b} {k}": v for k, v in (dimension.when or {}).items()}
                dimension.when = {"": [b], **when}
                found.append(dimension)
                labels.append(f"{b} {name}")
        return found, labels

    def _condition(self, dimension: Dimension) -> list[tuple[int, np.ndarray]]:
        """Parents by index, and the codes of theirs with which the dimension is active."""
        found = []
        for name, values in (dimension.when or {}).items():
            at = self.labels.index(name) if name in self.labels else -1
            if at < 0 or not isinstance(self.dimensions[at], Categorical):
                raise ValueError(
                    f"{self.owner}: when must name categorical dimensions of the space, got "
                    f"{name!r} for {dimension!r}"
                )
            parent = self.dimensions[at]
            try:
                found.append((at, np.array([parent._number(v) for v in values])))
            except ValueError as error:
                raise ValueError(f"{self.owner}: in when of {dimension!r}, {error}") from None
        return found

    def _sorted(self) -> list[int]:
        """Indices of dimensions, parents first."""
        order: list[int] = []
        waiting = list(range(len(self.dimensions)))
        while waiting:
            ready = [i for i in waiting if all(p in order for p, _ in self._conditions[i])]
            if not ready:
                names = ", ".join(repr(self.dimensions[i].name) for i in waiting)
                raise ValueError(
                    f"{self.owner}: when must not lead back to where it starts, got a circle of "
                    f"{names}"
                )
            order += ready
            waiting = [i for i in waiting if i not in order]
        return order

    def _listed(self) -> np.ndarray | None:
        """All points, if they are few."""
        V = np.full((1, len(self.dimensions)), np.nan)
        for i in self._order:
            levels = self.dimensions[i].levels
            active = self._is_active(V, i)
            if levels is None or active.sum() * levels + (~active).sum() > MOST_LISTED:
                if levels is None and not active.any():
                    continue
                return None
            several = np.repeat(V[active], levels, axis=0)
            values = self.dimensions[i]._draw((np.arange(levels) + 0.5) / levels)
            low = getattr(self.dimensions[i], "low", None)
            if low is not None:  # an integer's prior is not even
                values = low + np.arange(levels, dtype=np.float64)
            several[:, i] = np.tile(values, int(active.sum()))
            V = np.concatenate([several, V[~active]])
        return V

    def _is_active(self, V: np.ndarray, i: int) -> np.ndarray:
        active = np.ones(len(V), dtype=bool)
        for parent, codes in self._conditions[i]:
            active &= np.isin(V[:, parent], codes)  # an inactive parent is NaN: in no set
        return active

    def active(self, V: np.ndarray) -> np.ndarray:
        """Which dimensions of codes are active, (n, k)."""
        return np.stack([self._is_active(V, i) for i in range(V.shape[1])], axis=1)

    def completed(self, V: np.ndarray, U: np.ndarray) -> np.ndarray:
        """Codes with NaN where a dimension is not active, and drawn from U where they were NaN."""
        V = V.copy()
        for i in self._order:
            missing = np.isnan(V[:, i])
            if missing.any():
                V[missing, i] = self.dimensions[i]._draw(U[missing, i])
            V[~self._is_active(V, i), i] = np.nan
        return V

    def enabled(self, V: np.ndarray, chosen: list[int]) -> np.ndarray:
        """Codes with which the chosen dimensions are active, unless chosen ones forbid it."""
        V, wanted = V.copy(), set(chosen)
        for i in reversed(self._order):
            for parent, codes in self._conditions[i] if i in wanted else ():
                if parent not in chosen:
                    V[~np.isin(V[:, parent], codes), parent] = codes[0]
                    wanted.add(parent)
        return V

    def draw(self, U: np.ndarray) -> np.ndarray:
        """Codes of points that are distributed by the priors, from U of shape (n, k)."""
        return self.completed(np.full(U.shape, np.nan), U)

    def undraw(self, V: np.ndarray, U: np.ndarray) -> np.ndarray:
        """What `draw` turns into these codes; U where they are not active."""
        U = U.copy()
        for i, dimension in enumerate(self.dimensions):
            known = ~np.isnan(V[:, i])
            U[known, i] = dimension._undraw(V[known, i])
        return U

    def positions(self, V: np.ndarray) -> np.ndarray:
        """What models see of codes, (n, n_columns); the middle where a dimension is not active."""
        Z = np.full((len(V), self.n_columns), 0.5)
        for i, columns in enumerate(self.columns):
            known = ~np.isnan(V[:, i])
            if known.all():
                Z[:, columns] = self.dimensions[i]._positions(V[:, i])
            elif known.any():
                Z[known, columns] = self.dimensions[i]._positions(V[known, i])
        return Z

    def numbers(self, V: np.ndarray) -> np.ndarray:
        """The numbers of codes, (n, k)."""
        return self._each("numbers", V)

    def codes(self, N: np.ndarray) -> np.ndarray:
        """The codes of numbers, (n, k)."""
        return self._each("codes", N)

    def _each(self, method: str, given: np.ndarray) -> np.ndarray:
        found = given.copy()
        for i, dimension in enumerate(self.dimensions):
            known = ~np.isnan(given[:, i])
            found[known, i] = getattr(dimension, f"_{method}")(given[known, i])
        return found

    def point(self, row: np.ndarray) -> Any:
        """The user's point of a row of numbers."""
        values = [
            None if np.isnan(one) else dimension._value(one)
            for one, dimension in zip(row, self.dimensions, strict=True)
        ]
        if not self.as_dict:
            return values
        return {
            dimension.name: value
            for one, dimension, value in zip(row, self.dimensions, values, strict=True)
            if dimension.name is not None and not np.isnan(one)
        }

    def row(self, x: Any) -> np.ndarray:
        """The numbers of a user's point.

        Raises
        ------
        ValueError
            If it is not in the space.
        """
        k = len(self.dimensions)
        if not self.as_dict:
            if isinstance(x, str | Mapping) or not hasattr(x, "__len__") or len(x) != k:
                raise ValueError(
                    f"{self.owner}: a point must be a list of {k} values, got {shown(x)}"
                )
            return self._row_of(dict(zip(self.labels, x, strict=True)), x)
        if not isinstance(x, Mapping):
            raise ValueError(f"{self.owner}: a point must be a dict, got {shown(x)}")
        if not self._branches:
            return self._row_of(x, x)
        errors = []
        for b in range(len(self._branches)):
            try:
                return self._row_of({"": b, **{f"{b} {name}": v for name, v in x.items()}}, x)
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    def _row_of(self, values: Mapping[str, Any], x: Any) -> np.ndarray:
        row = np.full(len(self.dimensions), np.nan)
        left = {k for k, value in values.items() if self.as_dict or value is not None}
        for i in self._order:
            label = self.labels[i]
            if not self._is_active(row[None], i)[0]:
                continue
            if label not in left:
                raise ValueError(
                    f"{self.owner}: a point must have a value for {self.names[i]!r}, got {shown(x)}"
                )
            left.discard(label)
            try:
                row[i] = self.dimensions[i]._number(values[label])
            except ValueError as error:
                raise ValueError(f"{self.owner}: {error}") from None
        if left:
            raise ValueError(
                f"{self.owner}: a point must have values for active dimensions only, got "
                f"{shown(x)} with {', '.join(sorted(map(repr, left)))}"
            )
        return row

    def stored(self, row: np.ndarray) -> list[Any]:
        """What a file keeps of a row of numbers."""
        return [
            None if np.isnan(one) else float(one) if d.levels is None else int(one)
            for one, d in zip(row, self.dimensions, strict=True)
        ]

    def described(self) -> list[str]:
        """The dimensions as text that is the same in another process."""
        return [re.sub(r" at 0x[0-9a-fA-F]+", "", repr(dimension)) for dimension in self.dimensions]

    def __repr__(self) -> str:
        return f"Space({self.dimensions!r})"


def keys(N: np.ndarray) -> set[bytes]:
    """What tells points apart."""
    return {row.tobytes() for row in np.ascontiguousarray(N)}
