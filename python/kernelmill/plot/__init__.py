"""Plots of models and training runs, in the style of scikit-learn's displays.

They require matplotlib. Each is created by ``from_estimator`` or ``from_predictions``, which
compute and draw, and can be drawn again with ``plot``. ``from_estimator`` also takes a pipeline,
with the untransformed data. Nothing is shown: call ``matplotlib.pyplot.show`` or save ``figure_``.
"""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ClusterDisplay": "_clusters",
        "DensityDisplay": "_density",
        "ElbowDisplay": "_elbow",
        "HistoryDisplay": "_history",
        "SilhouetteDisplay": "_silhouette",
        "StatePathDisplay": "_states",
        "TransitionDisplay": "_transitions",
    },
)
