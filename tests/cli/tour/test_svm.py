"""The tour's support vector machines."""

from __future__ import annotations

import pytest


def test_machines_predict_held_out_rows(toured):
    part = toured.parts["svm"]
    rows = part.rows
    assert [row.model for row in rows] == ["SVC", "SVR", "LinearSVC", "Nystroem, LinearSVC"]
    scores = [float(row.score.rpartition(" ")[2]) for row in rows]
    assert scores[0] > 0.98
    assert scores[1] > 0.2
    assert scores[2] > 0.93
    assert scores[3] > 0.9
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    ((path, _),) = part.pictures
    assert path.stat().st_size > 20_000
