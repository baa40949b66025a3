"""The tour's decompositions: digits keep their variance, the manual has topics."""

import numpy as np
import pytest

from kernelmill.cli.tour import decomposition


def test_rows_and_pictures(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    part = toured.parts["decomposition"]
    digits, topics = part.rows
    assert digits.score == "90 % in 21 of 64"
    assert topics.shape[0] > 50
    assert "Topics of Python's manual" in part.notes[-1]
    for name in ("digits-pca", "manual-topics"):
        assert (toured.out / f"{name}.png").stat().st_size > 10_000


def test_words_of_a_topic():
    names = np.array(["a", "b", "c"])
    assert decomposition.words_of(np.array([[0.1, -0.9, 0.5]]), names, 2) == [["c", "a"]]
