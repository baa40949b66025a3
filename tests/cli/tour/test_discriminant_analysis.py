"""The tour's discriminants."""

from __future__ import annotations

from kernelmill.cli.tour import Context, discriminant_analysis


def test_held_out_digits_are_told_apart_and_drawn(tmp_path):
    context = Context("cpu", tmp_path)
    rows = list(discriminant_analysis.rows(context))
    assert [row.model for row in rows] == ["discriminants", "nearest mean"]
    for row, least in zip(rows, (0.93, 0.88), strict=True):
        assert float(row.score.split()[1]) > least
    if context.plot:
        (path, _), = context.pictures
        assert path.stat().st_size > 10_000
