"""The tour's networks: digits are told apart, filters are drawn."""

from __future__ import annotations

import pytest


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    rows = toured.parts["neural_network"].rows
    scores = [float(row.score.rpartition(" ")[2]) for row in rows]
    assert [row.shape for row in rows] == [(1347, 64), (331, 10), (1347, 64)]
    assert scores[0] > 0.94
    assert scores[1] > 0.25
    assert scores[2] >= 0.98  # a small convolutional network, in seconds
    assert (toured.out / "digits-network.png").stat().st_size > 10_000
