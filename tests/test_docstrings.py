"""Docstrings are completed from tables, and say what they said themselves."""

from __future__ import annotations

from kernelmill._docstrings import Documented, Words, complete, entries, sections

WORDS = Words(
    arguments={
        "x": ("int", "First number."),
        "y": ("ignored", "Ignored."),
        "scale.x": ("float", "What to scale."),
        "**rest": ("", "Passed on."),
    },
    parameters={"size": ("int", "Size.")},
    attributes={"a_": ("float", "One."), "b_": ("float", "Two.")},
    raises={"x": "ValueError\n    If x is negative."},
)


class Model:
    """A model.

    Parameters
    ----------
    kind : str, default="plain"
        Its own words.

    Attributes
    ----------
    a_, b_
    c_ : int
        Three.

    Notes
    -----
    Last.
    """

    def __init__(self, size=3, kind="plain"):
        pass

    def fit(self, x, y=None):
        """Fit."""

    def scale(self, x, y=None, *, z=1.0, **rest):
        """Scale.

        Parameters
        ----------
        z : float, default=1
            Its own words.

        Notes
        -----
        Last.
        """

    def _private(self, x):
        """Nothing is added."""

    @classmethod
    def made(cls, x):
        """Make one.

        Raises
        ------
        ValueError
            For another reason.
        """


def parts_of(function, section):
    return list(entries(sections(function.__doc__)[section]).values())


def test_what_lacks_is_added_in_the_order_of_the_signature():
    complete(Model, WORDS)
    assert parts_of(Model, "Parameters") == [
        "size : int, default=3\n    Size.",
        'kind : str, default="plain"\n    Its own words.',
    ]
    names = [entry.partition(" ")[0] for entry in parts_of(Model, "Attributes")]
    assert names == ["a_", "b_", "c_"]
    assert parts_of(Model.fit, "Parameters") == [
        "x : int\n    First number.",
        "y : ignored\n    Ignored.",
    ]
    assert parts_of(Model.fit, "Returns") == ["self : Model\n    The fitted model."]
    assert "Raises" not in sections(Model.fit.__doc__)
    assert parts_of(Model.scale, "Parameters") == [
        "x : float\n    What to scale.",
        "y : ignored\n    Ignored.",
        "z : float, default=1\n    Its own words.",
        "**rest\n    Passed on.",
    ]
    assert parts_of(Model.scale, "Raises") == ["ValueError\n    If x is negative."]
    assert list(sections(Model.scale.__doc__)) == ["", "Parameters", "Raises", "Notes"]
    assert parts_of(Model.made, "Raises") == ["ValueError\n    For another reason."]
    assert Model._private.__doc__ == "Nothing is added."
    before = Model.__doc__
    complete(Model, WORDS)
    assert Model.__doc__ == before


def test_classes_of_users_are_left_alone():
    class Mine(Documented):
        _words = WORDS

        def scale(self, x):
            """Mine."""

    assert Mine.scale.__doc__ == "Mine."


def test_a_model_without_docstrings_is_left_alone():
    def scale(x):
        pass

    complete(scale, WORDS)
    assert scale.__doc__ is None
