"""Fitted models of scikit-learn, hmmlearn, LightGBM and XGBoost become ours, and go back.

Examples
--------
>>> import kernelmill
>>> from sklearn.linear_model import Ridge
>>> theirs = Ridge().fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 3.0])
>>> ours = kernelmill.convert(theirs)
>>> type(ours).__module__.split(".")[0]
'kernelmill'
>>> bool((ours.predict([[5.0]]) == theirs.predict([[5.0]])).all())
True
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"to_sklearn": "_models", "classes": "_models"})


class _Callable(ModuleType):
    """A module that is also the function after which it is named."""

    def __call__(self, model: Any) -> Any:
        """Make our model of a fitted one of another library, with equal predictions.

        Parameters
        ----------
        model : estimator or booster
            Fitted, of one of `kernelmill.convert.classes`, or of LightGBM or XGBoost.

        Returns
        -------
        model : estimator
            Of our class of that name, with copies of the arrays; models of LightGBM and XGBoost
            become `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor`, which
            predict for sparse rows too: entries that are not stored are 0 for LightGBM and missing
            for XGBoost, as they are there.

        Raises
        ------
        NotImplementedError
            If ours cannot predict the same.
        """
        from kernelmill.convert._models import convert

        return convert(model)


this: Any = sys.modules[__name__]
this.__class__ = _Callable
