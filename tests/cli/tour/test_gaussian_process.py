"""The tour's Gaussian processes."""

from __future__ import annotations


def test_a_band_and_classes(toured):
    rows = toured.parts["gaussian_process"].rows
    assert [row.model for row in rows] == ["Gaussian process"] * 2
    held, accuracy = (float(row.score.rpartition(" ")[2]) for row in rows)
    assert 0.5 < held < 1.0  # forecast for three cycles, of which two were the highest on record
    assert accuracy > 0.93
