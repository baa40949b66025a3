"""The tour's scalers: what they do for k-means."""

from __future__ import annotations


def test_scaled_wines_are_told_apart(toured):
    rows = {row.model: row for row in toured.parts["preprocessing"].rows}
    assert set(rows) == {"SimpleImputer", "StandardScaler", "RobustScaler", "MinMaxScaler"}
    scores = {name: float(row.score.removeprefix("ARI ")) for name, row in rows.items()}
    raw = scores.pop("SimpleImputer")
    assert all(score > raw + 0.3 for score in scores.values())
