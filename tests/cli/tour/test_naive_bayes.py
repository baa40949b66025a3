"""The tour's naive Bayes."""

from __future__ import annotations


def test_held_out_rows_are_told_apart_also_with_gaps(toured):
    rows = toured.parts["naive_bayes"].rows
    assert [row.model for row in rows] == ["GaussianNB", "GaussianNB", "BernoulliNB"]
    assert all(float(row.score.split()[1]) > 0.87 for row in rows)
