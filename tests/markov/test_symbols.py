"""Counting runs of symbols: every way to count gives what a dictionary gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kernelmill.markov import _symbols
from kernelmill.markov._symbols import SymbolTable, add_grams, count_grams, count_starts


def by_hand(sequences, weights, n):
    found: Counter = Counter()
    for s, w in zip(sequences, weights, strict=True):
        for t in range(len(s) - n + 1):
            found[tuple(s[t : t + n])] += w
    return {run: count for run, count in found.items() if count}


def as_dict(grams):
    return dict(zip(map(tuple, grams.rows.tolist()), grams.counts.tolist(), strict=True))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("limit", [2**62, 1])
@pytest.mark.parametrize("M", [2, 300])
def test_runs_are_counted_as_by_hand(rng, n, limit, M, monkeypatch):
    monkeypatch.setattr(_symbols, "_LARGEST_CODE", limit)  # codes, or row by row
    sequences = [rng.integers(0, M, k) for k in (0, 1, 2, 3, 50, 0, 7)]
    lists = [s.tolist() for s in sequences]
    for weights in (None, np.array([1.0, 0, 2, 1, 3, 1, 0])):
        (batch,) = SymbolTable(range(M)).read(sequences, sample_weight=weights)
        used = np.ones(7) if weights is None else weights
        found = count_grams(batch, n)
        assert as_dict(found) == by_hand(lists, used, n)
        assert found.rows.tolist() == sorted(found.rows.tolist())
        heads = [s[:n] for s in lists]
        assert as_dict(count_starts(batch, n)) == by_hand(heads, used, n)
        twice = add_grams(found, found)
        assert as_dict(twice) == {run: 2 * count for run, count in as_dict(found).items()}


def test_codes_do_not_depend_on_the_container(rng):
    x = rng.integers(0, 9, 100)
    small = (x - 128).astype(np.int8)
    forms = (x, x.tolist(), x.astype(str), tuple(x), x - 10**6, 10**9 * x, small)
    coded = [SymbolTable().encode(form) for form in (*forms, "".join(map(str, x)))]
    for codes in coded[1:]:
        assert np.array_equal(codes, coded[0])
    assert coded[0][0] == 0, "in order of appearance"


def test_classes_are_sorted_where_they_can_be():
    table = SymbolTable("banana")
    classes, rank = table.classes()
    assert classes.tolist() == ["a", "b", "n"]
    assert classes[rank[table.encode("ban")]].tolist() == ["b", "a", "n"]
    assert SymbolTable([2, "a", 1]).classes()[0].tolist() == [2, "a", 1]
    assert SymbolTable([2**70, 1]).classes()[0].tolist() == [1, 2**70]


def test_missing_symbols_are_refused():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    for missing in (np.nan, pandas.NA, pandas.NaT):
        with pytest.raises(ValueError, match="symbols must not be missing"):
            SymbolTable().encode(["a", missing])
