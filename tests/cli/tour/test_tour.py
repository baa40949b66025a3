"""``kernelmill tour``: the table, the pictures, and what it says when something is missing."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from kernelmill import cli
from kernelmill.cli import tour
from kernelmill.cli.tour import Context, sequences


def _row(text: str, *words: str) -> re.Match:
    """The seconds and score of the line that holds all the words."""
    line = next(line for line in text.splitlines() if all(word in line for word in words))
    measure = "ARI|AUC|PSNR|log L|bits|accuracy|coverage|R2|nats|MAE"
    found = re.search(
        rf"(?P<seconds>\d+\.\d{{3}})  +(?P<measure>{measure}) (?P<value>-?\d+\.\d+)", line
    )
    assert found, line
    return found


def test_every_family_has_a_row(toured):
    text = toured.text
    assert toured.status == 0
    expected = "boosting cluster decomposition discriminant_analysis gaussian_process hmm"
    more = "linear_model manifold mixture model_selection naive_bayes neighbors neural_network"
    last = "preprocessing sequences svm tree"
    assert tour.families() == [*expected.split(), *more.split(), *last.split()]
    for words in (
        ("KMeans", "handwritten digits"),
        ("BisectingKMeans", "handwritten digits"),
        ("ConstrainedKMeans", "handwritten digits"),
        ("Ward's tree", "wines"),
        ("KMeans", "in memory"),
        ("MiniBatchKMeans", "in memory"),
        ("KMeans", "from disk"),
        ("GaussianHMM", "a stock"),
        ("CategoricalHMM", "letters"),
        ("MarkovChain", "letters"),
        ("PCA", "2 dimensions"),
        ("TSNE", "digits"),
        ("UMAP", "digits"),
        ("GaussianMixture", "wines  "),
        ("GaussianMixture", "2 measurements"),
        ("Perceptron", "digits"),
        ("SVC", "digits"),
        ("SGDRegressor", "diabetes"),
        ("MLPClassifier", "digits"),
        ("MLPRegressor", "diabetes"),
        ("nn, convolutions", "digits"),
        ("StandardScaler", "file with gaps"),
        ("nn, LSTM", "help texts"),
        ("nn, GRU", "sunspots"),
        ("nn, attention", "sentence"),
        ("decision tree", "breast cancer"),
        ("quantile trees", "diabetes"),
        ("boosting", "breast cancer"),
        ("boosted quantiles", "diabetes"),
    ):
        _row(text, *words)


def test_columns_stand_under_each_other(toured):
    text = toured.text
    lines = text.splitlines()
    table = lines[: lines.index("")]
    ruler = table[1]
    for line in table[2:]:
        for at, mark in enumerate(ruler):
            if mark == " " and at < len(line):
                assert line[at] == " ", f"{line!r} crosses a column border at {at}"


def test_scores_are_good(toured):
    """k-means on the digits is known to reach an adjusted Rand index near 0.67."""
    text = toured.text
    assert float(_row(text, "KMeans", "digits")["value"]) >= 0.6
    memory = float(_row(text, "KMeans", "in memory")["value"])
    disk = float(_row(text, "KMeans", "from disk")["value"])
    assert memory >= 29  # dB, 32 colours
    assert abs(memory - disk) <= 0.2  # the same algorithm on the same data
    # Mixtures are known to tell these wines apart; 27 letters take 4.75 bits, 4.1 by frequency.
    assert float(_row(text, "GaussianMixture", "wines  ")["value"]) >= 0.85
    assert float(_row(text, "CategoricalHMM", "letters")["value"]) <= 4.0
    assert float(_row(text, "MarkovChain", "letters")["value"]) <= 3.5


def test_pictures_are_there(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from PIL import Image

    text, out = toured.text, toured.out
    assert {path.name for path in out.iterdir()} == {
        f"{name}.png"
        for name in (
            *("attention", "breast-cancer-tree", "digits", "digits-network", "photograph"),
            *("breast-cancer-forest", "stock", "letters", "sunspots", "wine"),
            *("boosting-contributions", "sunspots-process", "time-zones", "discriminants"),
            *("bayesian-search", "digits-maps", "digits-pca", "manual-topics", "moons-machines"),
            *("linear", "wine-tree"),
        )
    }
    for path in out.iterdir():
        assert path.name in text
        with Image.open(path) as picture:
            assert min(picture.size) >= 500
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # not blank


def test_without_matplotlib_the_table_is_still_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    context = Context("cpu", tmp_path)
    assert not context.plot
    assert "pip install 'kernelmill[plot]'" in " ".join(context.notes)
    monkeypatch.setattr(tour, "families", lambda: ["cluster"])
    assert cli.main(["tour", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    _row(text, "KMeans", "digits")
    assert "pip install 'kernelmill[plot]'" in text
    assert not (tmp_path / "out").exists()


def test_without_pillow_the_photograph_is_left_out(tmp_path, monkeypatch, capsys):
    """No family needs pictures. The longest training is not repeated."""
    for training in ("train_characters", "train_classifier"):
        monkeypatch.setattr(sequences, training, lambda model, *args: model.eval())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert cli.main(["tour", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    _row(text, "KMeans", "digits")
    assert "pillow" in text
    assert "photo colours" not in text


def test_a_device_that_cannot_run_is_said_in_one_sentence(tmp_path, monkeypatch, capsys):
    from kernelmill.cli.tour import cluster

    def rows(context):
        raise NotImplementedError("kmeans.lloyd: the CUDA module must be installed, got none")

    monkeypatch.setattr(cluster, "rows", rows)
    assert cli.main(["tour", "--device", "cuda", "--out", str(tmp_path)]) == 1
    assert "the CUDA module must be installed" in capsys.readouterr().err
