"""What all transformers of columns share: fits in one pass, and transforms that stay lazy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator._base import fitting
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._rows import Estimator, is_stream


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
    _private: ClassVar[tuple[str, ...]] = ()  # fitted attributes without a final underscore

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _transformation(self) -> tuple[Callable, tuple]:
        """``op`` and ``state`` of the transform ``op(X, *state)``."""
        raise NotImplementedError

    def _apply(self, X: Any, op: Callable, state: tuple, d: int | None = None) -> Any:
        """``op(X, *state)``: an array for rows in memory, a lazy `Source` for a stream."""
        # A Source stays one, also where its rows are in memory: a later step may need its weights.
        if is_stream(X):
            opened = self._source(X, None, reset=False, once=True)
            return opened.apply(op, *state, n_features=d)
        return self._rows(X, reset=False).map(op, *state)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and transform the rows.

        Parameters
        ----------
        X : array-like of shape (n, d), or a stream
            Rows; see ``fit``. An iterator, which can be read once, is refused.
        y : ignored
            Ignored; present for API compatibility.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

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
        copy : ignored
            Ignored; present for API compatibility. X is never modified.

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
        return self._apply(X, op, state, self._columns_out())

    def _columns_out(self) -> int | None:
        """Number of columns of the transform; None where it is that of X."""
        return None


def _streams_unwrapped(wrapped: Callable) -> Callable:
    """A transform whose lazy results scikit-learn does not try to make frames of."""

    @functools.wraps(wrapped)
    def transform(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if is_stream(X):
            return wrapped.__wrapped__(self, X, *args, **kwargs)  # type: ignore[attr-defined]
        return wrapped(self, X, *args, **kwargs)

    return transform


# `TransformerMixin` has wrapped both when the class was made.
ColumnTransformer.transform = _streams_unwrapped(  # type: ignore[method-assign]
    ColumnTransformer.transform
)
ColumnTransformer.fit_transform = _streams_unwrapped(  # type: ignore[method-assign]
    ColumnTransformer.fit_transform
)
