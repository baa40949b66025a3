"""The tour's support vector machines."""

from __future__ import annotations

import pytest

from kernelmill.cli.tour import Context, svm


def test_machines_predict_held_out_rows(tmp_path):
    context = Context("cpu", tmp_path)
    rows = list(svm.rows(context))
    assert [row.model for row in rows] == ["SVC", "SVR", "LinearSVC", "Nystroem, LinearSVC"]
    scores = [float(row.score.rpartition(" ")[2]) for row in rows]
    assert scores[0] > 0.98
    assert scores[1] > 0.2
    assert scores[2] > 0.93
    assert scores[3] > 0.9
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    ((path, _),) = context.pictures
    assert path.stat().st_size > 20_000
