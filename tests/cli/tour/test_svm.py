"""The tour's support vector machines."""

from __future__ import annotations

from kernelmill.cli.tour import Context, svm


def test_machines_predict_held_out_rows(tmp_path):
    rows = list(svm.rows(Context("cpu", tmp_path)))
    assert [row.model for row in rows] == ["SVC", "SVR"]
    scores = [float(row.score.rpartition(" ")[2]) for row in rows]
    assert scores[0] > 0.98
    assert scores[1] > 0.2
