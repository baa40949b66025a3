"""Dimensions and spaces: what users write, priors, conditions, numbers there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kernelmill.model_selection import Categorical, Integer, Real
from kernelmill.model_selection._dimensions import as_dimension
from kernelmill.model_selection._space import Space, keys

DIMENSIONS = [
    Real(-3.0, 5.0),
    Real(1e-6, 1e3, "log-uniform"),
    Real(-1.7e308, 1.7e308),
    Real(1e9, 1e9 + 1e-3),
    Integer(-2, 7),
    Integer(1, 10**6, "log-uniform"),
    Integer(4, 4),
    Categorical(["a", None, ("b", 2)]),
    Categorical([64, 16, 32]),
    Categorical([True, False]),
    as_dimension(stats.loguniform(1e-3, 1e2), "test"),
    as_dimension(stats.norm(3, 2), "test"),
]


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=repr)
def test_values_go_there_and_back(dimension):
    u = np.r_[0.0, np.random.default_rng(0).random(200), 1 - 2.0**-53]
    v = dimension._draw(u)
    numbers = dimension._numbers(v)
    values = [dimension._value(n) for n in numbers]
    assert [dimension._number(x) for x in values] == numbers.tolist()
    # A code is rounded, a number is not.
    again = dimension._numbers(dimension._codes(numbers))
    np.testing.assert_allclose(again, numbers, rtol=1e-9)
    back = dimension._draw(dimension._undraw(dimension._codes(numbers)))
    np.testing.assert_allclose(dimension._numbers(back), numbers, rtol=1e-9)
    Z = dimension._positions(v)
    assert Z.shape == (len(u), dimension.width)
    assert ((Z >= 0) & (Z <= 1)).all()
    if dimension.width == 1:
        np.testing.assert_allclose(dimension._nearest(Z[:, 0]), v, atol=1e-12, rtol=0)


def test_priors():
    u = (np.arange(10_000) + 0.5) / 10_000
    dimension = Real(1e-2, 1e2, "log-uniform")
    numbers = dimension._numbers(dimension._draw(u))
    counts, _ = np.histogram(np.log10(numbers), bins=4, range=(-2, 2))
    np.testing.assert_allclose(counts, 2500, atol=1)
    counts = np.bincount(Integer(1, 4)._draw(u).astype(int))
    np.testing.assert_allclose(counts[1:], 2500, atol=1)
    counts = np.bincount(Integer(1, 100, "log-uniform")._draw(u).astype(int))
    expected = 1e4 * np.diff(np.log(np.arange(0.5, 101))) / math.log(100.5 / 0.5)
    np.testing.assert_allclose(counts[1:], expected, atol=1.01)
    assert np.bincount(Categorical(["x", "y"])._draw(u).astype(int)).tolist() == [5000, 5000]


def test_what_users_write():
    assert isinstance(as_dimension((1, 5), "t"), Integer)
    assert isinstance(as_dimension((1, 5.0), "t"), Real)
    assert as_dimension((1e-3, 1.0, "log-uniform"), "t").prior == "log-uniform"
    for choices in ([1, 5], range(3), np.array([0.5, 2.0]), ["a"]):
        assert isinstance(as_dimension(choices, "t"), Categorical)
    assert as_dimension(stats.randint(2, 9), "t").high == 8
    # A dimension that is used in two spaces keeps its name in each.
    shared = Real(0, 1)
    assert Space({"p": shared, "q": shared}, "t").names == ["p", "q"]
    assert shared.name is None


def test_choices_of_numbers_are_ordered_and_others_are_not():
    Z = Categorical([64, 16, 32])._positions(np.array([0.0, 1.0, 2.0]))
    assert Z[:, 0].tolist() == [1.0, 0.0, 0.5]
    Z = Categorical(["a", "b", "c"])._positions(np.array([0.0, 1.0, 2.0]))
    gaps = ((Z[:, None] - Z) ** 2).sum(-1)
    np.testing.assert_allclose(gaps, 1 - np.eye(3), atol=1e-15)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Real(2, 1), "low and high must be finite numbers with low below high, got 2 and"),
        (lambda: Real(0, math.inf), "low and high must be finite numbers"),
        (lambda: Integer(0.5, 2), "low and high must be whole numbers"),
        (lambda: Real(0, 1, "log-uniform"), "low must be above 0 with a log-uniform prior"),
        (lambda: Real(1, 2, "log"), "prior must be 'uniform' or 'log-uniform', got 'log'"),
        (lambda: Categorical([]), "choices must be a sequence of at least one"),
        (lambda: Categorical("abc"), "choices must be a sequence of at least one"),
        (lambda: Categorical([1, 2, 1]), "choices must differ, got 1 twice"),
        (lambda: Real(0, 1, name=3), "name must be a string"),
        (lambda: Real(0, 1, when="kernel"), "when must be a dict"),
        (lambda: Space([], "t"), "the space must be a list of dimensions"),
        (lambda: Space([(1, 2, 3, 4)], "t"), "a dimension must be a list of choices"),
        (lambda: Space({"a": "x"}, "t"), "dimension 'a' must be a list of choices"),
        (lambda: Space([Real(0, 1, name="a"), Real(0, 1, name="a")], "t"), "names .* must differ"),
        (lambda: Space({"a": Real(0, 1, when={"b": 1})}, "t"), "when must name categorical"),
        (
            lambda: Space({"b": ["x"], "a": Real(0, 1, when={"b": "y"})}, "t"),
            "in when of Real.*b must be one of",
        ),
        (
            lambda: Space(
                {
                    "a": Categorical([1, 2], when={"b": 1}),
                    "b": Categorical([1, 2], when={"a": 1}),
                },
                "t",
            ),
            "got a circle of 'a', 'b'",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_points_that_are_not_in_the_space():
    space = Space({"k": ["a", "b"], "c": Real(0, 1, when={"k": "a"})}, "t")
    with pytest.raises(ValueError, match=r"t: c must be a number from 0.0 to 1.0, got 2"):
        space.row({"k": "a", "c": 2})
    with pytest.raises(ValueError, match="must have a value for 'c'"):
        space.row({"k": "a"})
    with pytest.raises(ValueError, match=r"active dimensions only, got .* with 'c'"):
        space.row({"k": "b", "c": 0.5})
    with pytest.raises(ValueError, match="a point must be a dict, got \\[1\\]"):
        space.row([1])
    with pytest.raises(ValueError, match="a point must be a list of 1 values"):
        Space([(0, 1)], "t").row([1, 2])


CONDITIONAL = {
    # A child may stand before its parent.
    "degree": Integer(2, 4, when={"kernel": "poly"}),
    "kernel": ["linear", "poly", "rbf"],
    "gamma": Real(1e-4, 1.0, "log-uniform", when={"kernel": ["rbf", "poly"]}),
    "scale": Categorical(["auto", "own"], when={"kernel": "rbf"}),
    "own": Integer(1, 3, when={"scale": "own"}),
}


def test_conditions():
    space = Space(CONDITIONAL, "t")
    rng = np.random.default_rng(0)
    V = space.draw(rng.random((300, 5)))
    names = {
        "linear": {"kernel"}, "poly": {"kernel", "degree", "gamma"},
        "rbf auto": {"kernel", "gamma", "scale"}, "rbf own": {"kernel", "gamma", "scale", "own"},
    }  # fmt: skip
    seen = set()
    for row in space.numbers(V):
        x = space.point(row)
        kind = x["kernel"] + (f" {x['scale']}" if "scale" in x else "")
        assert set(x) == names[kind]
        assert space.row(x).tobytes() == row.tobytes()
        seen.add(kind)
    assert seen == set(names)
    assert np.isnan(V).any()
    assert np.isfinite(space.positions(V)).all()
    # What a dimension that is not active would be makes no difference to a model.
    linear = space.positions(V[V[:, 1] == 0])
    assert (linear == linear[0]).all()


def test_finite_spaces_are_counted():
    assert len(Space([range(3), (1, 4)], "t").points) == 12
    finite = {k: v for k, v in CONDITIONAL.items() if k != "gamma"}
    space = Space(finite, "t")
    assert len(space.points) == len(keys(space.points)) == 1 + 3 + 1 + 3
    assert Space([(1, 10**9)], "t").points is None
    assert Space([(0.0, 1.0), [1]], "t").points is None
    # A continuum that no choice activates does not make a space infinite.
    branch = Space([{"a": [1]}, {"a": [2, 3]}], "t")
    assert len(branch.points) == 3


def test_alternatives():
    space = Space([{"a": [1, 2]}, {"a": [2, 3], "b": (0.0, 1.0)}, {"c": ["x"]}], "t")
    for x in ({"a": 1}, {"a": 3, "b": 0.25}, {"a": 2}, {"c": "x"}):
        assert space.point(space.row(x)) == x
    with pytest.raises(ValueError, match="t: "):
        space.row({"a": 3})
    V = space.draw(np.random.default_rng(0).random((50, 5)))
    drawn = [space.point(row) for row in space.numbers(V)]
    assert {tuple(x) for x in drawn} == {("a",), ("a", "b"), ("c",)}
