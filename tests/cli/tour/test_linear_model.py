"""The tour's linear models."""

from __future__ import annotations

from kernelmill.cli.tour import Context, linear_model


def test_planes_tell_held_out_rows_apart(tmp_path):
    rows = list(linear_model.rows(Context("cpu", tmp_path)))
    assert [row.model for row in rows] == ["Perceptron", "SGDClassifier", "SGDRegressor"]
    scores = [float(row.score.rpartition(" ")[2]) for row in rows]
    assert scores[0] > 0.9
    assert scores[1] > 0.93
    assert scores[2] > 0.3
