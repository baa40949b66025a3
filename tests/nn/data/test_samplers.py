"""Data sets, samplers and collation, each by its definition."""

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import data


def test_random_orders():
    sampler = data.RandomSampler(range(50), generator=nn.Generator(1))
    first, second = [*sampler], [*sampler]
    assert sorted(first) == sorted(second) == [*range(50)]
    assert first != second
    assert first == [*data.RandomSampler(range(50), generator=nn.Generator(1))]
    more = [*data.RandomSampler(range(3), num_samples=8)]
    assert sorted(more[:3]) == sorted(more[3:6]) == [0, 1, 2]
    drawn = [*data.RandomSampler(range(3), True, 3000, nn.Generator(0))]
    # A share of 1/3 among 3000 draws has a standard deviation of 0.0086: five of them.
    np.testing.assert_allclose(np.bincount(drawn) / 3000, 1 / 3, rtol=0, atol=0.043)
    assert sorted(data.SubsetRandomSampler([4, 2])) == [2, 4]


def test_weighted_draws():
    drawn = [*data.WeightedRandomSampler([1.0, 0.0, 3.0], 4000, generator=nn.Generator(0))]
    share = np.bincount(drawn, minlength=3) / 4000
    np.testing.assert_allclose(share, [0.25, 0, 0.75], rtol=0, atol=5 * 0.0069)
    assert sorted(data.WeightedRandomSampler([1.0, 2.0, 3.0], 3, replacement=False)) == [0, 1, 2]
    with pytest.raises(ValueError, match="one axis"):
        data.WeightedRandomSampler([[1.0]], 1)
    with pytest.raises(ValueError, match="num_samples"):
        data.WeightedRandomSampler([1.0], 0)


@pytest.mark.parametrize("size", [1, 7, 32])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.7, 0.2, 0.05, 0.05]])
def test_stratified_batches_keep_the_shares(rng, shares, size):
    """The bound of the docstring: each class is evenly spaced, so its count is off by less than 1
    from the length of the run on the epoch, which the classes together know to within C."""
    y = rng.permutation(np.repeat(np.arange(len(shares)), (np.array(shares) * 200).astype(int)))
    order = np.array([*data.StratifiedSampler(y, nn.Generator(2))])
    assert sorted(order) == [*range(200)]
    p = np.array(shares)
    for start in range(200 - size + 1):
        counts = np.bincount(y[order[start : start + size]], minlength=len(p))
        assert (np.abs(counts - size * p) <= 1 + p * (len(p) - 2) + 1e-9).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_buckets(rng, shuffle):
    lengths = rng.integers(1, 100, 500)
    sampler = data.BucketBatchSampler(lengths, 16, shuffle, generator=nn.Generator(0), pool=10)
    batches = [*sampler]
    assert sorted(i for b in batches for i in b) == [*range(500)]
    assert len(batches) == len(sampler) == 32
    padding = sum(len(b) * lengths[b].max() - lengths[b].sum() for b in batches)
    plain = [range(i, min(i + 16, 500)) for i in range(0, 500, 16)]
    unsorted = sum(len(b) * lengths[[*b]].max() - lengths[[*b]].sum() for b in plain)
    assert padding < 0.25 * unsorted
    assert ([*sampler] != batches) == shuffle
    limited = data.BucketBatchSampler(lengths, 64, shuffle, max_tokens=200)
    for b in limited:
        assert len(b) * lengths[b].max() <= 200
    with pytest.raises(TypeError, match="not known beforehand"):
        len(limited)
    longer = data.BucketBatchSampler([500, 1], 64, False, max_tokens=200)
    assert [*longer] == [[1], [0]]
    whole = data.BucketBatchSampler(lengths, 16, shuffle, drop_last=True)
    assert {len(b) for b in whole} == {16}
    with pytest.raises(ValueError, match="lengths must be one whole number"):
        data.BucketBatchSampler([0.5], 2)


def test_data_sets():
    X, y = np.arange(6.0).reshape(3, 2), np.arange(3)
    one = data.TensorDataset(X, nn.Tensor(y))
    assert one[2][0].tolist() == [4.0, 5.0]
    joined = one + one
    assert isinstance(joined, data.ConcatDataset)
    assert [joined[i][1].item() for i in (0, 3, -1)] == [0, 0, 2]
    with pytest.raises(IndexError, match="below 6, got 6"):
        joined[6]
    assert data.StackDataset(y, "abc")[1] == (1, "b")
    with pytest.raises(ValueError, match="equal length"):
        data.StackDataset(y, "ab")
    with pytest.raises(ValueError, match=r"equal length, got lengths \[3, 2\]"):
        data.TensorDataset(X, y[:2])
    with pytest.raises(ValueError, match="lengths must add up to 3"):
        data.random_split(y, [1, 1])
    parts = data.random_split(range(7), [0.5, 0.5], nn.Generator(0))
    assert [len(p) for p in parts] == [4, 3]
    assert sorted([*parts[0], *parts[1]]) == [*range(7)]
    for made in (data.Dataset(), data.IterableDataset(), data.Sampler()):
        with pytest.raises(NotImplementedError):
            made[0] if type(made) is data.Dataset else iter(made)


def test_collation():
    samples = [{"x": np.float32([1, 2]), "n": (1, True), "s": "a"},
               {"x": np.float32([3, 4]), "n": (2, False), "s": "b"}]  # fmt: skip
    batch = data.default_collate(samples)
    assert batch["x"].dtype == np.float32
    assert batch["x"].tolist() == [[1, 2], [3, 4]]
    assert [part.tolist() for part in batch["n"]] == [[1, 2], [True, False]]
    assert batch["s"] == ["a", "b"]
    with pytest.raises(ValueError, match="pad_collate pads"):
        data.default_collate([np.ones(2), np.ones(3)])
    with pytest.raises(TypeError, match="got object"):
        data.default_collate([object()])
    X = [np.ones((3, 2)), np.ones((1, 2))]
    padded, tags, n = data.pad_collate(
        [(X[0], np.array([1, 2, 3])), (X[1], np.array([4]))], padding_value=(0.0, -100)
    )
    assert padded.shape == (2, 3, 2)
    assert padded.data[1].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert tags.tolist() == [[1, 2, 3], [4, -100, -100]]
    assert n.tolist() == [3, 1]
    assert data.pad_collate(X, lengths=False).shape == (2, 3, 2)
    with pytest.raises(ValueError, match="one for each of 2 fields, got 1"):
        data.pad_collate([(1, 2)], padding_value=(0,))
    with pytest.raises(ValueError, match="first axis only"):
        data.pad_collate([np.ones((2, 2)), np.ones((2, 3))])
