"""Rows for a plot: a sample of any X, what the model says of it, and its missing values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_sparse, to_host
from .._gaussian._parameters import Gaussians
from .._gaussian._passes import completion, parts_of
from ..stream import source
from ..stream._source import READ_ONCE
from ._style import counted

MAX_POINTS = 20_000  # more points only add ink


class DrawnRows:
    """Some rows of X, at most as many as are worth drawing.

    Parameters
    ----------
    name : str
        The display, for messages.
    seen : anything `kernelmill.stream.source` takes
        All rows, as the model sees them.
    most : int or None
        How many to draw, without replacement; None draws all.
    random_state : int, RandomState instance or None
        Seed or generator of the draw.

    Attributes
    ----------
    source : Source
        All rows.
    count : int
        Number of all rows.
    chosen : ndarray of int
        Which of them are drawn.
    rows : ndarray of shape (m, d)
        Those.

    Raises
    ------
    ValueError
        If the rows are no numeric matrix, or can be read only once.
    """

    def __init__(self, name: str, seen: Any, most: int | None, random_state: Any) -> None:
        if hasattr(seen, "__next__"):
            raise ValueError(
                f"{name}: X must be readable more than once, got a {type(seen).__name__} "
                f"({READ_ONCE})"
            )
        self._name, self._seen, self.source = name, seen, source(seen, owner=name)
        self.count = self.source.count_rows()
        if most is not None and not (isinstance(most, (int, np.integer)) and most > 0):
            raise ValueError(
                f"{name}: the number of rows to draw must be a whole number above 0, got {most!r}"
            )
        self.chosen = np.arange(self.count)
        if most is not None and self.count > most:
            from sklearn.utils import check_random_state

            self.chosen = check_random_state(random_state).permutation(self.count)[:most]
        self.rows = dense(self.source.take(self.chosen))

    def ask(self, method: Callable) -> np.ndarray:
        """What a method of the model returns, for all rows or, of a stream, for those drawn.

        The states of a hidden Markov model depend on the rows around them, so rows in memory are
        passed as a whole.
        """
        if self.source.in_memory is None:
            return ask(method, self.rows)
        return np.asarray(to_host(method(self._seen)))

    def of(self, values: np.ndarray) -> np.ndarray:
        """The part of one value per row, or of an answer, that belongs to the rows drawn."""
        if len(values) == self.count:
            return values[self.chosen]
        if self.source.in_memory is None and len(values) == len(self.rows):
            return values
        raise ValueError(
            f"{self._name}: X must be the matrix that the {len(values)} labels belong to, got "
            f"shape {(self.count, self.source.n_features)}"
        )


def dense(rows: Any) -> np.ndarray:
    """Rows as a NumPy array."""
    rows = to_host(rows)
    return rows.toarray() if is_sparse(rows) else np.asarray(rows)


def ask(method: Callable, rows: Any) -> np.ndarray:
    """What a method of the model returns for rows in the order of its features, without names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return np.asarray(to_host(method(rows)))


# --- missing values -------------------------------------------------------------------------------


def full_covariances(name: str, estimator: Any, k: int, d: int) -> np.ndarray:
    """Covariances of any type as matrices of shape (k, d, d)."""
    covariances = getattr(estimator, "covariances_", None)
    if covariances is None:
        covariances = estimator.covars_
    covariances = np.asarray(covariances, dtype=np.float64)
    kind = getattr(estimator, "covariance_type", None)
    if covariances.ndim == 3:  # full, or what hmmlearn gives for every type
        return covariances
    if kind == "tied" or (kind is None and covariances.shape == (d, d) and k != d):
        return np.broadcast_to(covariances, (k, d, d))
    if covariances.ndim == 2:
        return covariances[:, :, None] * np.eye(d)
    if covariances.shape == (k,):
        return covariances[:, None, None] * np.eye(d)
    raise ValueError(
        f"{name}: covariances_ must be full, tied, diag or spherical for {k} components and {d} "
        f"features, got shape {covariances.shape}"
    )


def gaussians_of(name: str, model: Any) -> Gaussians | None:
    """Components of a model, for a classifier those of all classes; None if it has none."""
    parts = getattr(model, "mixtures_", [model])
    if not all(
        np.ndim(getattr(part, "means_", 0)) == 2
        and (hasattr(part, "covariances_") or hasattr(part, "covars_"))
        for part in parts
    ):
        return None
    means = [np.asarray(part.means_, dtype=np.float64) for part in parts]
    matrices = np.concatenate(
        [full_covariances(name, part, *m.shape) for part, m in zip(parts, means, strict=True)]
    )
    return Gaussians("full", np.concatenate(means), matrices, matrices)


def memberships_of(model: Any, drawn: DrawnRows) -> np.ndarray:
    """Probability of each component of `gaussians_of` for each row drawn."""
    shares = drawn.of(drawn.ask(model.predict_proba))
    if not hasattr(model, "mixtures_"):
        return shares
    own = [drawn.of(drawn.ask(part.predict_proba)) for part in model.mixtures_]
    return np.concatenate([shares[:, [c]] * part for c, part in enumerate(own)], axis=1)


class Completed(NamedTuple):
    """Rows without missing values.

    Attributes
    ----------
    rows : ndarray of shape (m, d)
        Missing values are conditional means, where components are known.
    kept : ndarray of shape (n,), bool
        Which of the given rows they are.
    imputed : ndarray of shape (m, d), bool
        Which values were missing.
    """

    rows: np.ndarray
    kept: np.ndarray
    imputed: np.ndarray


def complete(
    name: str, rows: np.ndarray, gaussians: Gaussians | None, memberships: Any
) -> Completed:
    """Fill in missing values with their means given the observed ones; leave out the other rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows; NaN is a missing value.
    gaussians : Gaussians or None
        Components of the model. Without them, and in rows without values, nothing is filled in.
    memberships : ndarray of shape (n, k) or callable
        Probability of each component for each row, given its observed values, or what returns it.
    """
    missing = np.isnan(rows)
    if gaussians is not None and missing.any():
        shares = memberships() if callable(memberships) else memberships
        rows = rows.astype(np.float64)
        for places, observed, values in parts_of(rows) or ():
            if not 0 < len(observed) < rows.shape[1]:
                continue
            spread, _ = completion(gaussians, observed)
            expected = np.zeros((len(places), rows.shape[1]))
            for j, mean in enumerate(gaussians.means):
                offset = (values - mean[observed]) @ spread[j].T
                expected += shares[places, j, None] * (mean + offset)
            expected[:, observed] = values
            rows[places] = expected
    kept = ~np.isnan(rows).any(axis=1)
    if not kept.any():
        raise ValueError(f"{name}: X must have a row without missing values, got none")
    return Completed(rows[kept], kept, missing[kept])


def note_of(imputed: int, left_out: int, mixture: bool) -> str:
    """What a plot says of rows with missing values: filled in, where the model is a mixture."""
    lines = []
    if imputed:
        rows = counted(imputed, "row")
        lines.append(f"hollow: {rows} with missing values, at the conditional mean")
    if left_out:
        which = "without values" if mixture else "with missing values"
        lines.append(f"{counted(left_out, 'row')} {which} left out")
    return "\n".join(lines)
