"""Speed for code that exists: scikit-learn's and hmmlearn's classes run here, in this process.

``kernelmill.accelerate()`` replaces the classes in their public modules by subclasses that fit and
predict here where they can, and there where they cannot; ``kernelmill.accelerate.report()`` says
which. ``python -m kernelmill.accelerate script.py`` does so for a script that nobody edits.

Examples
--------
>>> import kernelmill
>>> import numpy as np
>>> X = np.array([[0.0], [0.2], [4.0], [4.2]])
>>> with kernelmill.accelerate():
...     from sklearn.cluster import KMeans
...     labels = KMeans(2, random_state=0).fit_predict(X)
>>> [(call.name, call.where) for call in kernelmill.accelerate.report()]
[('KMeans.fit_predict', 'kernelmill')]
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._lazy import lazy

if TYPE_CHECKING:
    from kernelmill.accelerate._switch import Acceleration

__getattr__, __dir__, __all__ = lazy(
    __name__, {"report": "_records", "stop": "_switch", "undo": "_switch"}
)


class _Callable(ModuleType):
    """A module that is also the function after which it is named."""

    def __call__(self, *names: str) -> Acceleration:
        """Replace scikit-learn's and hmmlearn's classes by ours in this process.

        Parameters
        ----------
        *names : str
            Classes such as "KMeans"; all that exist in both libraries where none is named.

        Returns
        -------
        acceleration : Acceleration
            Undoes it by ``undo()`` or at the end of a ``with`` block.
        """
        from kernelmill.accelerate._switch import start

        return start(*names)


this: Any = sys.modules[__name__]
this.__class__ = _Callable
