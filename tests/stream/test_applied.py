"""Sources made from sources: with one more check, or with a function applied to every chunk."""

import numpy as np
import pytest
import scipy.sparse
from stream_kinds import assert_equal, moments, real_numbers, small_integers

from kernelmill import stream


def test_a_source_gets_the_check_of_whoever_reads_it(make, tmp_path):
    X, checked = real_numbers(), []

    def check(part, first_row):
        checked.append((first_row, part.shape[0]))
        return part

    s = stream.source(make(X, tmp_path), chunk_rows=50)
    _ = s.count_rows()
    for model in range(2):
        seen = stream.source(s, validate=check)
        assert_equal(seen.map_reduce(moments), s.map_reduce(moments))
        assert_equal(seen.map_reduce(moments), s.map_reduce(moments))
        assert checked == [(0, 50), (50, 50), (100, 3)] * (model + 1)
    whole = stream.source(stream.source(make(X, tmp_path), validate=check), validate=check)
    before = len(checked)
    if whole.in_memory is None:
        _ = whole.map_reduce(moments)
        assert len(checked) == before + 2 * len(whole.chunk_lengths())


def twice_and_sum(X, factor):
    X = X.toarray() if scipy.sparse.issparse(X) else X
    return np.column_stack([factor * X, X.sum(axis=1)])


@pytest.mark.parametrize("chunk_rows", [None, 20])
def test_applied_sources_are_sources(make, chunk_rows, tmp_path):
    X, w = small_integers(dtype=np.float64), np.arange(103.0)
    inner = stream.source(make(X, tmp_path), w, chunk_rows=chunk_rows)
    s = inner.apply(twice_and_sum, 2.0, n_features=6)
    expected = twice_and_sum(X, 2.0)
    assert (s.n_features, s.dtype, s.feature_names) == (6, np.float64, None)
    assert s.count_rows() == s.n_rows == 103
    assert s.chunk_lengths() == inner.chunk_lengths()
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([part for part, _ in s]), expected)
        np.testing.assert_array_equal(np.concatenate([v for _, v in s]), w)
    assert_equal(s.map_reduce(moments, 1.0), moments(expected, 1.0, sample_weight=w))
    np.testing.assert_array_equal(np.concatenate(list(s.map(np.abs))), np.abs(expected))
    np.testing.assert_array_equal(s.take([5, 100, 5]), expected[[5, 100, 5]])
    rows, weight, indices = s.sample(4, random_state=0)
    np.testing.assert_array_equal(rows, expected[indices])
    np.testing.assert_array_equal(weight, w[indices])
    if s.in_memory is not None:
        np.testing.assert_array_equal(s.in_memory, expected)
    third = s.apply(np.multiply, 0.5)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in third]), expected / 2)


def test_applied_rows_are_checked_with_their_numbers_in_x():
    X = real_numbers()
    X[70] = -1.0

    def refuse(part, first_row):
        bad = np.flatnonzero(np.isnan(part).any(axis=1))
        if len(bad):
            raise ValueError(f"NaN in row {first_row + bad[0]}")
        return part

    def root(part):
        with np.errstate(invalid="ignore"):
            return np.sqrt(part + 0.5 * (part != -1.0) * 20)

    s = stream.source(X, chunk_rows=50).apply(root)
    with pytest.raises(ValueError, match="NaN in row 70"):
        _ = stream.source(s, validate=refuse).map_reduce(moments)
    assert np.isnan(s.map_reduce(moments)[1]).any()
