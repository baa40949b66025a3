"""The tour's Bayesian search."""

from __future__ import annotations

from kernelmill.cli.tour import Context, model_selection


def test_a_search(tmp_path):
    context = Context("cpu", tmp_path)
    (row,) = model_selection.rows(context)
    assert row.model == "Bayesian search"
    assert float(row.score.rpartition(" ")[2]) < 57.4  # the mean as prediction: 77
    assert [path.name for path, _ in context.pictures] == ["bayesian-search.png"] * context.plot
