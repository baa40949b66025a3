"""The tour's Markov models: what they find in the stock and in the letters."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kernelmill.cli.tour import Context, hmm


def test_letters_are_english():
    text = hmm._english()
    assert set(text) <= set(hmm.LETTERS)
    assert len(text) > 5000
    assert "  " not in text
    assert text.split().count("the") > 50


def test_vowels_are_told_from_consonants():
    from kernelmill.hmm import CategoricalHMM

    codes = np.array([hmm.LETTERS.index(letter) for letter in hmm._english()])
    model = CategoricalHMM(2, n_iter=200, random_state=0).fit(codes[:, None])
    joint = model.get_stationary_distribution()[:, None] * model.emissionprob_
    state = joint.argmax(axis=0)
    vowels = {hmm.LETTERS[j] for j in np.flatnonzero(state == state[hmm.LETTERS.index("e")])}
    assert set("aeiou") <= vowels
    assert not vowels & set("bcdfgjklmnpqrsvwxz")


def test_rows_and_pictures(toured):
    pytest.importorskip("matplotlib", reason="the prices come with matplotlib")
    part = toured.parts["hmm"]
    rows = part.rows
    assert [row.model for row in rows] == ["GaussianHMM", "CategoricalHMM", "MarkovChain"]
    assert [row.shape[1] for row in rows] == [1, 1, 1]
    assert {path.name for path, _ in part.pictures} == {"stock.png", "letters.png"}


def test_without_matplotlib_there_is_no_stock(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.cbook", None)
    context = Context("cpu", tmp_path)
    assert [row.model for row in hmm.rows(context)] == ["CategoricalHMM", "MarkovChain"]
    assert "No stock" in context.notes[-1]
    assert "pip install 'kernelmill[plot]'" in context.notes[-1]
    assert not list(tmp_path.iterdir())
