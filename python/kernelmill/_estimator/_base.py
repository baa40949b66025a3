"""The decorator of every ``fit``: checks parameters, tears down callbacks, undoes failed fits."""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, cast

from kernelmill._estimator._parameters import check_parameters
from kernelmill._estimator._progress import Progress, heard, with_callbacks

# What a fit takes from X and y before it iterates.
FEATURES = ("n_features_in_", "feature_names_in_", "classes_", "n_outputs_", "out_activation_")
Method = TypeVar("Method", bound=Callable[..., Any])


class _Begun(threading.local):
    """What models had when the fit under way in this thread began, by id."""

    def __init__(self) -> None:
        self.models: dict[int, dict[str, Any]] = {}


_begun = _Begun()


def is_fitted_name(name: str) -> bool:
    """Whether an attribute is a public one of a fit."""
    return name.endswith("_") and not name.startswith("_")


def begun_with(model: Any) -> dict[str, Any]:
    """The attributes of a model that the fit under way has found."""
    return _begun.models.get(id(model), {})


def fitting(method: Method) -> Method:
    """Decorate ``fit`` or ``partial_fit``.

    Parameters are checked first, scikit-learn's callbacks are torn down afterwards (they see one
    task, at its end, of a ``fit`` that opens no `Progress`), and any exception restores the
    estimator. Ctrl-C does so too, unless ``warm_start=True``: then the estimator keeps the
    attributes that `climb` had reached, attributes of an earlier fit that these do not replace are
    dropped, and ``interrupted_`` is True until the next fit that succeeds.

    Parameters
    ----------
    method : callable
        A method that sets fitted attributes and returns the estimator.
    """
    managed = with_callbacks(method)

    @functools.wraps(method)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_parameters(self)
        before = self.__dict__.copy()
        begun = _begun.models
        outer = begun.get(id(self))
        begun[id(self)] = before
        heard().setdefault(id(self), False)
        try:
            result = managed(self, *args, **kwargs)
            if outer is None and method.__name__ == "fit" and not heard()[id(self)]:
                _report_whole(self, *args, **kwargs)
        except BaseException as error:
            reached = getattr(error, "attributes", None)
            features = {name: vars(self)[name] for name in FEATURES if name in vars(self)}
            self.__dict__.clear()
            self.__dict__.update(before)
            if reached is not None and getattr(self, "warm_start", False):
                for name in before:
                    if is_fitted_name(name):
                        del self.__dict__[name]
                self.__dict__.update(features, **reached, interrupted_=True)
            raise
        finally:
            if outer is None:
                del begun[id(self)]
                heard().pop(id(self), None)
            else:
                begun[id(self)] = outer
        self.__dict__.pop("interrupted_", None)
        return result

    return cast(Method, fit)


def fitting_at_once(method: Callable) -> Callable:
    """`fitting` for a method without iterations: callbacks see one task."""

    @fitting
    @functools.wraps(method)
    def fit(self: Any, X: Any, y: Any = None, *weights: Any, **options: Any) -> Any:
        given = [*weights, options.get("sample_weight")][0]
        if method.__name__ == "fit":
            # What an earlier fit found may be the same object again, as X is: none of it stays.
            for name in filter(is_fitted_name, list(vars(self))):
                self.__dict__.pop(name, None)
            _begun.models[id(self)] = {}
        with _whole(self, X, y, given) as progress:
            method(self, X, y, *weights, **options)
            progress.end_fit(lambda: _public(self))
        return self

    return fit


def _whole(model: Any, X: Any, y: Any, weight: Any) -> Progress:
    """Of a fit that is one task."""
    metadata = None if weight is None else {"sample_weight": weight}
    return Progress(model, False, runs=0, X=X, y=y, metadata=metadata)


def _public(model: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(model).items() if is_fitted_name(name)}


@with_callbacks
def _report_whole(model: Any, X: Any = None, y: Any = None, *weights: Any, **options: Any) -> None:
    """Tell callbacks of a fit that has told them nothing."""
    _begun.models[id(model)] = {}  # all that it has is of this fit
    weight = [*weights, options.get("sample_weight")][0]
    with _whole(model, X, y, weight) as progress:
        progress.end_fit(lambda: _public(model))


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and report the user's line that called into this package or scikit-learn."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(
        ("kernelmill.", "sklearn.", "contextlib")
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1 if frame is not None else 1)
