"""What the docstrings of displays have in common."""

from __future__ import annotations

from kernelmill._docstrings import Words

_ROWS = "array-like of shape (n_samples,)"
_NAMES = "sequence of str", "Names for the legend; numbers by default."

WORDS = Words(
    arguments={
        "max_points": ("int",
            "Maximum number of rows to draw; a random sample is drawn if there are more."),
        "random_state": ("int, RandomState instance or None",
            "Seed or generator for the sample; pass an int for reproducible results."),
        "ax": ("matplotlib Axes", "Axes to draw on; a new figure is created by default."),
        "**kwargs": ("", "Passed to ``plot``."),
        "component_names": _NAMES,
        "state_names": _NAMES,
        "lengths": ("array-like of shape (S,)", "Lengths of the sequences."),
        "level": ("float", "Probability of the intervals, or of the band."),
        "output": ("label or int",
            "The class, or the output, whose coefficients are drawn; needed if there are several."),
        "from_estimator.feature_names": ("sequence of str",
            "Names of the features that the model sees; those of X by default."),
        "features": ("pair of int or str", "As in `from_estimator`."),
    },
    parameters={
        "labels": (_ROWS, "Cluster of each row."),
        "axis_names": ("tuple of two str", "Labels of the axes."),
        "imputed": (f"{_ROWS}, bool",
            "Rows to draw hollow, because values of theirs are missing and have been filled in."),
        "feature_names": ("sequence of str", "Names of the features; numbers by default."),
        "level": ("float", "Probability of the intervals, or of the band."),
        "note": ("str", "Text between the title and the axes."),
        "estimator_name": ("str", "Name for the title."),
    },
    attributes={
        "ax_": ("matplotlib Axes", "Axes of the plot."),
        "figure_": ("matplotlib Figure", "Figure that contains the axes."),
    },
    raises={"ax": "ImportError\n    If matplotlib is not installed."},
)
