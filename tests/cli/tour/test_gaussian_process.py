"""The tour's Gaussian processes."""

from __future__ import annotations

from kernelmill.cli.tour import Context, gaussian_process


def test_a_band_and_classes(tmp_path):
    context = Context("cpu", tmp_path)
    rows = list(gaussian_process.rows(context))
    assert [row.model for row in rows] == ["Gaussian process"] * 2
    held, accuracy = (float(row.score.rpartition(" ")[2]) for row in rows)
    assert 0.5 < held < 1.0  # forecast for three cycles, of which two were the highest on record
    assert accuracy > 0.93
