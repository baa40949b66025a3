"""The tour's sequences: what is learnt in seconds, beside simple methods on the same data."""

from __future__ import annotations

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.cli.tour import sequences


def test_rows_notes_and_pictures(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    part = toured.parts["sequences"]
    rows = part.rows
    assert [row.model for row in rows] == ["nn, LSTM", "nn, GRU", "nn, attention"]
    assert float(rows[0].score.removeprefix("nats ").partition("/")[0]) < 2.0
    error, naive = (float(part.split()[1]) for part in rows[1].score.split(", "))
    assert error < 0.95 * naive
    assert float(rows[2].score.split()[1]) > 0.8
    assert part.notes[0].startswith('The LSTM writes: "The ')
    assert {path.name for path, _ in part.pictures} == {"sunspots.png", "attention.png"}


def test_held_out_topics_share_no_paragraph():
    train, held = sequences.topics()
    assert len(train) > 200_000
    assert len(held) > 40_000
    assert not set(train.split("\n\n")) & set(held.split("\n\n"))


def test_sunspots_are_those_of_the_record():
    datasets = pytest.importorskip("statsmodels.datasets", reason="needs statsmodels")
    record = datasets.sunspots.load_pandas().data
    np.testing.assert_array_equal(record.YEAR, sequences.YEARS)
    np.testing.assert_allclose(record.SUNACTIVITY, sequences.SUNSPOTS, atol=0.5)


def test_the_band_holds_as_many_years_as_it_says():
    """Quantiles that were learnt before 1900 hold for the century behind, and beat the cycle's."""
    series, windows, places = sequences.sunspot_windows()
    assert len(series) == 200
    model = sequences.train_forecaster(series, windows.shape[1], sequences.CYCLE)
    low, middle, high = np.moveaxis(sequences.predicted(model, windows), 2, 0)
    before, truth = sequences._windows(sequences.SUNSPOTS, places, sequences.CYCLE, sequences.CYCLE)
    inside = (truth >= low) & (truth <= high)
    assert 0.7 < inside.mean() < 0.9
    assert np.abs(middle - truth).mean() < 0.95 * np.abs(before - truth).mean()


def test_attention_keeps_up_with_a_bag_of_words(toured):
    """On few sentences, where words alone tell nearly all (docs/sequences.md has the figures)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words, labels, held = sequences.sentences()
    texts = np.array([" ".join(s) for s in words])
    bag = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True)
    baseline = LogisticRegression(C=10.0, max_iter=500)
    baseline.fit(bag.fit_transform(texts[~held]), labels[~held])
    accuracy = float(toured.parts["sequences"].rows[2].score.removeprefix("accuracy "))
    assert accuracy > baseline.score(bag.transform(texts[held]), labels[held]) - 0.02


def test_attention_is_shared_among_the_words():
    words, _, held = sequences.sentences()
    codes, count = sequences.coded(words, held)
    nn.manual_seed(0)
    model = sequences.AttentiveClassifier(count, len(sequences.LIBRARIES)).eval()
    with nn.no_grad():
        _, weights = model(*sequences.padded(codes[::20]))
    np.testing.assert_allclose(weights.data.sum(0), 1, rtol=1e-5)
