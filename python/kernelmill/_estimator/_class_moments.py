"""Weighted moments of the rows of each class, in one pass wherever the rows are.

With n_c the weight, o_c the origin, s_c and S_c the sums of ``w z`` and ``w z z'`` of a class,
where ``z = x - o_c``,

    mean       m_c = o_c + s_c / n_c
    scatter    sum w (x - m_c) (x - m_c)' = S_c - s_c s_c' / n_c

The sums of two sets of rows about the same origins add up, so they are all that ``partial_fit``
has to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count
from kernelmill.ops import moments

KINDS = ("full", "pooled", "diag")
_PILOT = 32  # rows of a class whose mean is its origin
# Squares outside may have overflowed, or lost digits to underflow.
_LEAST, _MOST = 1e-280, 1e300
# A mean this many deviations from the origin costs half of the digits of the deviation.
_FAR = 1e4

_NAMES = ("origins", "class_weight", "weights", "sums", "squares", "rows")
_STATE = tuple(f"_moments_{name}" for name in _NAMES)


class Sums(NamedTuple):
    """What a pass gives; see `kernelmill.ops.moments`.

    Attributes
    ----------
    weights : ndarray of shape (k,), or (k, d) of the observed entries where `squares` are diagonal
    sums : ndarray of shape (k, d)
    squares : ndarray of shape (k, d, d), (1, d, d) or (k, d)
    """

    weights: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class ClassMoments:
    """Sums of the rows of each class about origins.

    Attributes
    ----------
    origins : ndarray of shape (k, d), float64
        NaN of classes that have no rows yet.
    class_weight : ndarray of shape (k,), float64
        Weight of the rows of each class, missing entries or not.
    sums : Sums
    rows : int
        Number of rows.
    """

    origins: np.ndarray
    class_weight: np.ndarray
    sums: Sums
    rows: int

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.is_diagonal:
            return "diag"
        return "full" if len(self.sums.squares) == len(self.origins) else "pooled"

    @property
    def is_diagonal(self) -> bool:
        """Whether second moments are those of single features."""
        return self.sums.squares.ndim == 2

    @cached_property
    def weights(self) -> np.ndarray:
        """(k, 1) or (k, d): weights, 1 where there are none."""
        weights = self.sums.weights.reshape(len(self.origins), -1)
        return np.where(weights > 0, weights, 1.0)

    @cached_property
    def shifts(self) -> np.ndarray:
        """Means about the origins (k, d)."""
        return self.sums.sums / self.weights

    @cached_property
    def means(self) -> np.ndarray:
        """Means (k, d); zeros of a class or entry that was not seen."""
        return np.where(np.isnan(self.origins), 0.0, self.origins) + self.shifts

    @cached_property
    def scatter(self) -> np.ndarray:
        """Second moments about the means, in the shape of ``sums.squares``."""
        s, m = self.sums.sums, self.shifts
        if self.is_diagonal:
            return np.maximum(self.sums.squares - s * m, 0.0)
        if self.kind == "full":
            return self.sums.squares - s[:, :, None] * m[:, None, :]
        return self.sums.squares - (s.T @ m)[None]

    @cached_property
    def within(self) -> np.ndarray:
        """Second moments about the means of the classes, over all classes: (d, d) or (d,)."""
        return self.scatter.sum(0)

    @cached_property
    def total_weight(self) -> np.ndarray:
        """Weight of all rows, (1,), or of all observed entries, (d,)."""
        return self.sums.weights.reshape(len(self.origins), -1).sum(0)

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean of all rows (d,)."""
        some = np.where(self.total_weight > 0, self.total_weight, 1.0)
        near = self.means[int(np.argmax(self.class_weight))]
        weights = self.sums.weights.reshape(len(self.origins), -1)
        return near + (weights * (self.means - near)).sum(0) / some

    @cached_property
    def between(self) -> np.ndarray:
        """Second moments of the means of the classes about the mean: (d, d) or (d,)."""
        apart = self.means - self.mean
        weights = self.sums.weights.reshape(len(self.origins), -1)
        if self.is_diagonal:
            return (weights * apart * apart).sum(0)
        return (weights * apart).T @ apart

    @cached_property
    def variances(self) -> np.ndarray:
        """Variances of features within all classes together (d,)."""
        within = self.within if self.is_diagonal else np.diagonal(self.within)
        some = np.where(self.total_weight > 0, self.total_weight, 1.0)
        return np.maximum(within, 0.0) / some

    def keep(self, model: Any) -> None:
        """Make these the state of a model, as attributes that model files hold."""
        values = self.origins, self.class_weight, *self.sums, self.rows
        model.__dict__.update(zip(_STATE, values, strict=True))

    @classmethod
    def kept_by(cls, model: Any) -> ClassMoments:
        """The state of a model."""
        origins, class_weight, *sums, rows = (vars(model)[name] for name in _STATE)
        return cls(origins, class_weight, Sums(*sums), rows)

    def plus(self, other: ClassMoments) -> ClassMoments:
        """The moments of both sets of rows; `other` was taken about these origins."""
        return ClassMoments(
            other.origins,
            self.class_weight + other.class_weight,
            Sums(*(a + b for a, b in zip(self.sums, other.sums, strict=True))),
            self.rows + other.rows,
        )


def pilot_of_classes(X: Any, codes: np.ndarray, origins: np.ndarray, weight: Any) -> np.ndarray:
    """Origins, those that are NaN set to the mean of a few rows of their class.

    The mean is taken about the first of these rows, so that it is exact where all are equal.
    """
    unknown = np.isnan(origins).all(1)
    if not unknown.any():
        return origins
    k, n = len(origins), len(codes)
    step = max(1, n // (2 * _PILOT * k))
    rows, own = (X, codes) if step == 1 else (X[::step], codes[::step])
    if weight is not None:
        some = np.flatnonzero(weight[::step] > 0)
        rows, own = rows[some], own[some]
    first = _first_of(own, k)
    if step > 1 and (unknown & (first < 0)).any():  # a class that is rare
        absent = unknown & (first < 0)
        places = _first_of(codes if weight is None else np.where(weight > 0, codes, k), k + 1)[:k]
        absent &= places >= 0
        rows = np.concatenate([rows, X[places[absent]]])
        first[absent] = len(own) + np.arange(int(absent.sum()))
        own = np.concatenate([own, np.flatnonzero(absent)])
    begin = rows[first].astype(np.float64)
    begin[~np.isfinite(begin)] = 0.0
    count, sums, _ = moments.class_squares(rows, own, begin)
    found = begin + sums / np.maximum(count, 1.0)
    found[first < 0] = np.nan
    return found if unknown.all() else np.where(unknown[:, None], found, origins)


def _first_of(codes: np.ndarray, k: int) -> np.ndarray:
    """The place of the first row of each class, -1 where there is none."""
    first = np.full(k, -1)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def _one_pass(rows: Rows, codes: np.ndarray, origins: np.ndarray, kind: str) -> Sums:
    given = np.where(np.isnan(origins), 0.0, origins)
    if kind == "diag":
        return Sums(*rows.map_reduce(moments.class_squares, codes, given))
    return Sums(*rows.map_reduce(moments.class_products, codes, given, kind == "pooled"))


def _of_rows(rows: Rows, codes: np.ndarray, origins: np.ndarray, kind: str) -> ClassMoments:
    """Moments of rows in memory."""
    k = len(origins)
    new = np.isnan(origins).all(1)  # classes without an origin so far
    with np.errstate(invalid="ignore", over="ignore"):  # values may not be checked yet
        origins = pilot_of_classes(rows.X, codes, origins, rows.weight)
        sums = _one_pass(rows, codes, origins, kind)
    squares = sums.squares if kind == "diag" else sums.squares.diagonal(axis1=1, axis2=2)
    if not (squares.max(initial=1.0) < _MOST and squares.min(initial=1.0) > _LEAST):
        rows.check()
    class_weight = sums.weights
    if kind == "diag":
        class_weight = np.bincount(codes, rows.weight, minlength=k).astype(np.float64)
    found = ClassMoments(origins, class_weight, sums, rows.count)
    # Rows that are no sample of their class, such as sorted ones, are read once more.
    if kind == "pooled":
        far = found.shifts**2 * class_weight.sum() > _FAR * found.within.diagonal()
    else:
        scatter = found.scatter if kind == "diag" else found.scatter.diagonal(axis1=1, axis2=2)
        far = found.shifts**2 * found.weights > _FAR * scatter
    if far[new].any():
        again = np.where(new[:, None] & ~np.isnan(origins), found.means, origins)
        found = ClassMoments(again, class_weight, _one_pass(rows, codes, again, kind), rows.count)
    return found


def class_moments_of(
    rows: Rows, codes: np.ndarray, k: int, kind: str, before: ClassMoments | None = None
) -> ClassMoments:
    """Moments of all rows, in one pass.

    Parameters
    ----------
    rows : Rows
        Values that were not checked are checked where the sums are out of range.
    codes : ndarray of shape (n,), int64
        The class of each row, in memory, also of a stream.
    k : int
        Number of classes.
    kind : {"full", "pooled", "diag"}
        Second moments of pairs in each class, over all classes, or of single features; the last
        leaves missing entries out.
    before : ClassMoments, optional
        Those of earlier rows, which are added.

    Raises
    ------
    ValueError
        If there is not one class for each row.
    """
    if not rows.is_stream:
        check_count(codes, rows.count, rows.owner)
    total, start = before, 0
    origins = np.full((k, rows.n_features), np.nan) if before is None else before.origins
    for chunk in rows.chunks():
        own = codes[start : start + chunk.count]
        start += chunk.count
        if len(own) < chunk.count:
            check_count(codes, start, rows.owner)
        part = _of_rows(chunk, own, origins, kind)
        total = part if total is None else total.plus(part)
        origins = total.origins
    check_count(codes, start, rows.owner)
    assert total is not None  # there is a row
    return total
