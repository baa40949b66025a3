"""Public fitted attributes, carried over by name, and those that only a fit can make."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

THEIR_OWN = ("monitor_",)  # of a kind that each library has for itself


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def copied(source: Any, target: Any, without: tuple[str, ...] = ()) -> None:
    """Public fitted attributes from one model to the other, arrays copied."""
    for name, value in vars(source).items():
        static = inspect.getattr_static(type(target), name, None)
        if _is_fitted_name(name) and not isinstance(static, property) and name not in without:
            setattr(target, name, copy.deepcopy(value) if name[-2] != "_" else value)


def fitted_on(
    rows: Callable[[Any], Any],
    targets: Callable[[Any], Any],
    finish: Callable[[Any, Any], None] | None = None,
    **given: Any,
) -> Callable[[Any, Any], None]:
    """Their fit on a few rows, for the attributes that are private; then ours for the public.

    Parameters
    ----------
    rows, targets : callable
        What theirs is fitted on, of our model.
    finish : callable, optional
        ``finish(theirs, ours)``, after that.
    **given : object
        Parameters of that fit, of those that theirs has; functions of our model or values.
    """

    def back(theirs: Any, ours: Any) -> None:
        parameters = theirs.get_params(deep=False)
        own = {
            name: value(ours) if callable(value) else value
            for name, value in given.items()
            if name in parameters
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such a fit need not converge
            theirs.set_params(**own).fit(rows(ours), targets(ours))
        theirs.set_params(**parameters)
        copied(ours, theirs, THEIR_OWN)
        if finish is not None:
            finish(theirs, ours)

    return back
