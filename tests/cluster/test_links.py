"""Pairs: closure, contradictions with their reason, colourings that obey, chains that help."""

import itertools

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from kernelmill.cluster import _links
from kernelmill.cluster._links import (
    Links,
    Unsatisfiable,
    first_labels,
    improve,
    pairs_of,
    peeling_order,
)


def graph_of(edges, s):
    """Neighbours of each node."""
    near = [set() for _ in range(s)]
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    return [np.array(sorted(found), dtype=np.int64) for found in near]


def colour(edges, s, k, cost=None, seed=0):
    cost = np.random.default_rng(seed).random((s, k)) if cost is None else cost
    return first_labels(
        cost, graph_of(edges, s), list(range(s)), np.random.default_rng(seed), "Model"
    )


def obeys(labels, edges):
    return all(labels[a] != labels[b] for a, b in edges)


def colourable(edges, s, k):
    """By trying everything."""
    return any(obeys(labels, edges) for labels in itertools.product(range(k), repeat=s))


def test_closure():
    links = Links(np.array([[0, 1], [1, 2], [4, 5]]), np.array([[2, 4], [0, 5], [3, 0]]), 7, "M")
    assert links.size == 4
    group = links.group
    assert group[0] == group[1] == group[2] != group[4] == group[5]
    # (2, 4) and (0, 5) are the same exclusion of two groups.
    assert sorted(links.neighbours[group[0]].tolist()) == sorted([group[4], group[3]])
    assert links.neighbours[group[6]].tolist() == []


def test_contradictions_name_the_chain():
    must = np.array([[0, 1], [1, 2], [5, 2], [7, 8]])
    with pytest.raises(ValueError, match=r"got \(0, 5\), .* through rows 0 - 1 - 2 - 5 \(drop"):
        Links(must, np.array([[7, 3], [0, 5]]), 9, "Model")
    with pytest.raises(ValueError, match=r"cannot_link must join different rows, got \(4, 4\)"):
        Links(must, np.array([[4, 4]]), 9, "Model")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 9)], r"must_link must be between 0 and 8, got pair \(0, 9\)"),
        ([(-1, 2)], r"got pair \(-1, 2\)"),
        (
            [(0, 1, 2)],
            r"must be pairs of row numbers of shape \(m, 2\), got int64 of shape \(1, 3\)",
        ),
        ([(0.5, 1)], "must be pairs of row numbers .* got float64"),
    ],
)
def test_wrong_pairs(pairs, message):
    with pytest.raises(ValueError, match=f"^Model: .*{message}"):
        pairs_of(pairs, 9, "must_link", "Model")
    assert pairs_of(None, 9, "must_link", "Model").shape == (0, 2)
    assert pairs_of([], 9, "must_link", "Model").shape == (0, 2)


def test_too_large_a_clique_is_named():
    edges = [*itertools.combinations([1, 4, 6, 9], 2), (0, 1), (2, 3)]
    with pytest.raises(
        Unsatisfiable, match=r"rows 1, 4, 6, 9 that all exclude one another .*to at least 4"
    ):
        colour(edges, 10, 3)


def test_a_wheel_without_a_clique_is_refuted_by_search():
    """An odd wheel needs four colours and has no clique of four."""
    edges = [(i, (i + 1) % 5) for i in range(5)] + [(i, 5) for i in range(5)]
    with pytest.raises(Unsatisfiable, match="no labelling satisfies, by exhaustive search"):
        colour(edges, 6, 3)
    assert obeys(colour(edges, 6, 4), edges)


@pytest.mark.parametrize("case", range(60))
def test_search_agrees_with_trying_everything(case, seed):
    rng = np.random.default_rng([seed, case])
    s, k = int(rng.integers(4, 9)), int(rng.integers(2, 4))
    every = list(itertools.combinations(range(s), 2))
    edges = [edge for edge in every if rng.random() < rng.choice([0.3, 0.5, 0.7])]
    if colourable(edges, s, k):
        assert obeys(colour(edges, s, k, seed=case), edges)
    else:
        with pytest.raises(Unsatisfiable):
            colour(edges, s, k, seed=case)


def test_hard_but_possible(rng):
    """A dense graph with a hidden colouring, where greedy orders fail."""
    hidden = rng.integers(4, size=60)
    edges = [
        (a, b)
        for a, b in itertools.combinations(range(60), 2)
        if hidden[a] != hidden[b] and rng.random() < 0.5
    ]
    assert obeys(colour(edges, 60, 4), edges)


def test_search_that_gives_up_says_that_it_proves_nothing(monkeypatch):
    monkeypatch.setattr(_links, "_SEARCH_STEPS", 3)
    edges = [(i, (i + 1) % 5) for i in range(5)] + [(i, 5) for i in range(5)]
    with pytest.raises(Unsatisfiable, match="which is no proof"):
        colour(edges, 6, 3)


def test_peeling_leaves_the_core():
    edges = [*itertools.combinations(range(4), 2), (3, 4), (4, 5)]
    core, order = peeling_order(graph_of(edges, 7), 3)
    assert sorted(core) == [0, 1, 2, 3]
    assert sorted(order) == list(range(7))
    assert sorted(order[:4]) == [0, 1, 2, 3]
    assert peeling_order(graph_of(edges, 7), 4)[0] == []


def test_two_clusters_need_chains():
    """With two clusters no group of a pair can move alone: both must change places."""
    cost = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.5]])
    near = graph_of([(0, 1), (2, 3)], 4)
    labels = improve(np.array([0, 1, 0, 1], dtype=np.int32), cost, near)
    assert labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("case", range(20))
def test_improve_obeys_and_never_costs_more(case, seed):
    rng = np.random.default_rng([seed, case])
    s, k = 25, 4
    edges = [edge for edge in itertools.combinations(range(s), 2) if rng.random() < 0.12]
    cost = rng.random((s, k))
    before = colour(edges, s, k, cost=rng.random((s, k)), seed=case)
    kept = before.copy()
    after = improve(before, cost, graph_of(edges, s))
    np.testing.assert_array_equal(before, kept)
    assert obeys(after, edges)
    price = [cost[np.arange(s), labels].sum() for labels in (before, after)]
    assert price[1] <= price[0]
    # Free groups are at their cheapest.
    free = [g for g, near in enumerate(graph_of(edges, s)) if not len(near)]
    np.testing.assert_array_equal(after[free], cost[free].argmin(axis=1))


@pytest.mark.parametrize("scale", [1e-290, 1.0, 1e290])
def test_a_costly_group_hides_no_gain(scale):
    cost = scale * np.array([[1e14, 0.0], [1.0, 0.0], [0.0, 1.0]])
    near = graph_of([(1, 2)], 3)
    labels = improve(np.array([0, 0, 1], dtype=np.int32), cost, near)
    assert labels.tolist() == [1, 1, 0]


def test_a_limit_of_improvements_is_told(monkeypatch):
    monkeypatch.setattr(_links, "_CHAINS", 0)
    start = np.array([0, 1, 0, 1], dtype=np.int32)
    with pytest.warns(ConvergenceWarning, match="^Model: Labels that satisfy .* after 0 impr"):
        labels = improve(start, np.eye(2)[start], graph_of([(0, 1)], 4), "Model")
    assert labels.tolist() == start.tolist()


@pytest.mark.parametrize("case", range(40))
def test_exact_search_alone(case, seed):
    """Without the greedy orders before it, which solve most small cases."""
    rng = np.random.default_rng([seed, case])
    s, k = 8, 3
    edges = [edge for edge in itertools.combinations(range(s), 2) if rng.random() < 0.6]
    near = graph_of(edges, s)
    core = peeling_order(near, k)[0]
    inside = [edge for edge in edges if set(edge) <= set(core)]
    if colourable(edges, s, k):
        found = _links._colour_core(core, near, k, list(range(s)), "Model")
        assert sorted(found) == sorted(core)
        assert obeys(found, inside)
    else:
        with pytest.raises(Unsatisfiable):
            _links._colour_core(core, near, k, list(range(s)), "Model")


def test_exact_search_backtracks(seed):
    """Cores that the order by saturation alone does not colour at the first try."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        hidden = rng.integers(3, size=40)
        edges = [
            (a, b)
            for a, b in itertools.combinations(range(40), 2)
            if hidden[a] != hidden[b] and rng.random() < 0.2
        ]
        near = graph_of(edges, 40)
        core = peeling_order(near, 3)[0]
        found = _links._colour_core(core, near, 3, list(range(40)), "Model")
        assert obeys(found, [edge for edge in edges if set(edge) <= set(core)])
