"""Plots of models, training runs, forecasts and attention, in the style of scikit-learn's displays.

They require matplotlib. Displays of models are created by ``from_estimator`` or
``from_predictions``, which compute and draw; all can be drawn with ``plot``. ``from_estimator``
also takes a pipeline, with the untransformed data. Nothing is shown: call
``matplotlib.pyplot.show`` or save ``figure_``.
"""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AttentionDisplay": "_attention",
        "ClusterDisplay": "_clusters",
        "CoefficientDisplay": "_coefficients",
        "CoefficientPathDisplay": "_coefficients",
        "ConvergenceDisplay": "_convergence",
        "DendrogramDisplay": "_dendrogram",
        "DensityDisplay": "_density",
        "ElbowDisplay": "_elbow",
        "EmbeddingDisplay": "_embedding",
        "ExplainedVarianceDisplay": "_explained",
        "ForecastDisplay": "_forecast",
        "HistoryDisplay": "_history",
        "ObjectiveDisplay": "_objective",
        "PredictiveBandDisplay": "_band",
        "ReachabilityDisplay": "_reachability",
        "SilhouetteDisplay": "_silhouette",
        "StatePathDisplay": "_states",
        "TransitionDisplay": "_transitions",
    },
)
