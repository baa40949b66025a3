"""What all transformers of columns share: fits in one pass, and transforms that stay lazy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator._base import fitting
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._rows import Estimator, Rows, streams_unwrapped
from kernelmill._estimator._words import WORDS


def fitting_in_one_pass(method: Callable) -> Callable:
    """`fitting` for a method without iterations: callbacks see one task."""

    @fitting
    @functools.wraps(method)
    def fit(self: Any, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(self, False, runs=0, X=X, y=y, metadata=metadata) as progress:
            method(self, X, y, sample_weight)
            learned = {n: v for n, v in vars(self).items() if n in self._private or n[-1] == "_"}
            progress.end_fit(lambda: learned)
        return self

    return fit


class ColumnTransformer(TransformerMixin, Estimator):
    """Base of scalers and imputers; subclasses name an op and its state in `_transformation`."""

    _accepts_missing: ClassVar[bool] = True
    _words = WORDS.extended(
        raises={"X": "ValueError\n    If X has infinite entries or other features than in ``fit``."}
    )
    _private: ClassVar[tuple[str, ...]] = ()  # fitted attributes without a final underscore

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _transformation(self) -> tuple[Callable, tuple]:
        """``op`` and ``state`` of the transform ``op(X, *state)``."""
        raise NotImplementedError

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and transform the rows.

        Parameters
        ----------
        X : array-like of shape (n, d), or a stream
            Rows; see ``fit``. An iterator, which can be read once, is refused.

        Returns
        -------
        array or Source
            As ``transform`` gives.
        """
        if hasattr(X, "__next__"):
            self._source(X, None, reset=True, once=False)  # raises
        return self.fit(X, y, sample_weight=sample_weight).transform(X)

    def transform(self, X: Any, copy: Any = None) -> Any:
        """Transform rows with what ``fit`` has learned.

        Parameters
        ----------
        X : array-like of shape (n, d), or a stream
            Rows; see ``fit``. Missing entries (NaN) of scalers stay missing.

        Returns
        -------
        array of shape (n, d), dtype of X, or Source
            A new array for rows in memory. For a stream a `kernelmill.stream.Source` that
            transforms each chunk as it is read, as often as needed, with the weights that come
            with the chunks. ``set_output`` concerns rows in memory.

        Raises
        ------
        ValueError
            If X has infinite entries or other features than in ``fit``.
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self)
        op, state = self._transformation()
        return self._mapped(X, op, state, self._columns_out())

    def _columns_out(self) -> int | None:
        """Number of columns of the transform; None where it is that of X."""
        return None


# `TransformerMixin` has wrapped both when the class was made.
for _name in ("transform", "fit_transform"):
    setattr(ColumnTransformer, _name, streams_unwrapped(getattr(ColumnTransformer, _name)))


class Scaler(OneToOneFeatureMixin, ColumnTransformer):
    """Base of scalers: their transform can be undone."""

    def _inverse(self) -> tuple[Callable, tuple]:
        """``op`` and ``state`` of the inverse transform."""
        raise NotImplementedError

    def inverse_transform(self, X: Any, copy: Any = None) -> Any:
        """Undo ``transform``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Scaled rows.

        Returns
        -------
        array of shape (n, d), dtype of X, or Source
            Rows before they were scaled, up to rounding and clipping; for a stream as ``transform``
            does.
        """
        check_is_fitted(self)
        return self._mapped(X, *self._inverse())


class IncrementalScaler(Scaler):
    """Base of scalers whose statistics add up."""

    def _learned(self) -> Any:
        """The statistics of all rows seen so far."""
        raise NotImplementedError

    def _learn(self, rows: Rows, before: Any) -> Any:
        """Set the attributes from rows, and what `_learned` gave before them or None."""
        raise NotImplementedError

    @fitting_in_one_pass
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Compute the statistics of each feature.

        Raises
        ------
        ValueError
            If X or the weights are not finite (NaN in X apart).
        TypeError
            If X is sparse and the scaler shifts features, which would make it dense.
        """
        return self._learn(self._rows(X, sample_weight, reset=True, once=True), None)

    @fitting_in_one_pass
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Add rows to what earlier calls have seen.

        Raises
        ------
        ValueError
            As in ``fit``, or if X has other features than before.
        """
        before = self._learned() if "n_samples_seen_" in vars(self) else None
        return self._learn(self._rows(X, sample_weight, reset=before is None, once=True), before)
