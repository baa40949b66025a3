"""The tour's naive Bayes."""

from __future__ import annotations

from kernelmill.cli.tour import Context, naive_bayes


def test_held_out_rows_are_told_apart_also_with_gaps(tmp_path):
    rows = list(naive_bayes.rows(Context("cpu", tmp_path)))
    assert [row.model for row in rows] == ["GaussianNB", "GaussianNB", "BernoulliNB"]
    assert all(float(row.score.split()[1]) > 0.87 for row in rows)
