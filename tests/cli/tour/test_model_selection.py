"""The tour's Bayesian search."""

from __future__ import annotations


def test_a_search(toured):
    part = toured.parts["model_selection"]
    (row,) = part.rows
    assert row.model == "Bayesian search"
    assert float(row.score.rpartition(" ")[2]) < 57.4  # the mean as prediction: 77
    assert [path.name for path, _ in part.pictures] == ["bayesian-search.png"]
