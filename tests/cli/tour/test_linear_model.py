"""The tour's linear models."""

from __future__ import annotations


def test_planes_tell_held_out_rows_apart(toured):
    part = toured.parts["linear_model"]
    rows = part.rows
    least = {
        "Perceptron": 0.9,
        "SGDClassifier": 0.93,
        "LogisticRegression": 0.95,
        "SGDRegressor": 0.3,
        "Ridge": 0.3,
        "LassoCV": 0.3,
        "BayesianRidge": 0.3,
    }
    assert [row.model for row in rows] == list(least)
    for row in rows:
        assert float(row.score.split()[1].rstrip(",")) > least[row.model]
    assert "features" in rows[5].score
    assert 0.85 < float(rows[6].score.split()[-1].rstrip("%")) / 100 <= 1
    assert [path.name for path, _ in part.pictures] == ["linear.png"]
    assert part.pictures[0][0].stat().st_size > 50_000
