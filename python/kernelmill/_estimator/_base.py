"""The decorator of every ``fit``: parameters first, callbacks around, all or nothing; warnings."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, cast

from kernelmill._estimator._parameters import check_parameters
from kernelmill._estimator._progress import with_callbacks

FEATURES = ("n_features_in_", "feature_names_in_")
Method = TypeVar("Method", bound=Callable[..., Any])


def fitting(method: Method) -> Method:
    """Make a method of an estimator a fit.

    The parameters are checked, scikit-learn's callbacks are torn down afterwards, and the fit
    either happens or does not: on any exception the estimator is put back to what it was. Ctrl-C
    does the same, unless ``warm_start=True`` asks to go on later: then the estimator keeps what
    `climb` had reached and ``interrupted_`` is True until the next fit that ends well.

    Parameters
    ----------
    method : callable
        ``fit`` or ``partial_fit``.
    """
    managed = with_callbacks(method)

    @functools.wraps(method)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_parameters(self)
        before = self.__dict__.copy()
        try:
            result = managed(self, *args, **kwargs)
        except BaseException as error:
            reached = getattr(error, "attributes", None)
            features = {name: vars(self)[name] for name in FEATURES if name in vars(self)}
            self.__dict__.clear()
            self.__dict__.update(before)
            if reached is not None and getattr(self, "warm_start", False):
                self.__dict__.update(features, **reached, interrupted_=True)
            raise
        self.__dict__.pop("interrupted_", None)
        return result

    return cast(Method, fit)


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's that called into this package.

    Parameters
    ----------
    message : str
        One sentence.
    category : type
        Of the warning.
    """
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(
        ("kernelmill.", "sklearn.callback", "contextlib")
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1 if frame is not None else 1)
