"""The tour's discriminants."""

from __future__ import annotations


def test_held_out_digits_are_told_apart_and_drawn(toured):
    part = toured.parts["discriminant_analysis"]
    rows = part.rows
    assert [row.model for row in rows] == ["discriminants", "nearest mean"]
    for row, least in zip(rows, (0.93, 0.88), strict=True):
        assert float(row.score.split()[1]) > least
    for path, _ in part.pictures:
        assert path.stat().st_size > 10_000
