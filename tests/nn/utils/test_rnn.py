"""Packed and padded batches of sequences."""

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.utils import rnn


def test_packing_and_back():
    x = nn.Tensor(np.arange(24.0).reshape(4, 3, 2), True)
    packed = rnn.pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 3, 2, 1]
    assert packed.sorted_indices.tolist() == [1, 2, 0]
    assert packed.unsorted_indices.tolist() == [2, 0, 1]
    padded, lengths = rnn.pad_packed_sequence(packed, padding_value=-1)
    assert lengths.tolist() == [2, 4, 3]
    exists = np.arange(4)[:, None] < np.array([2, 4, 3])
    np.testing.assert_array_equal(padded.data, np.where(exists[..., None], x.data, -1))
    padded.sum().backward()
    np.testing.assert_array_equal(x.grad.data, np.repeat(exists[..., None] * 1.0, 2, 2))


def test_gradients_twice():
    x = nn.Tensor(np.random.default_rng(0).normal(size=(3, 2, 2)), True)

    def run(x):
        packed = rnn.pack_padded_sequence(x, [1, 3], True, False)
        return rnn.pad_packed_sequence(packed._replace(data=packed.data**3), total_length=4)[0]

    inputs = (x.transpose(0, 1).detach().requires_grad_(),)
    assert nn.gradcheck(run, inputs)
    assert nn.gradgradcheck(run, inputs, atol=1e-4)


def test_conversions_keep_the_batch():
    packed = rnn.pack_sequence([np.ones((2, 1), np.float32), np.ones((1, 1), np.float32)])
    assert packed.double().data.dtype == np.float64
    assert packed.to(np.float64).float().cpu().data.dtype == np.float32
    assert packed.double().batch_sizes is packed.batch_sizes
    pair = rnn.PackedSequence((packed.data, packed.batch_sizes))
    assert pair.data is packed.data
    assert pair.sorted_indices is pair.unsorted_indices is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rnn.pack_padded_sequence(nn.ones(3), [1]), RuntimeError, "must have an axis of"),
        (lambda: rnn.pack_padded_sequence(nn.ones(3, 2), [1, 2]), RuntimeError,
         r"lengths must never rise, got \[1, 2\] \(enforce_sorted=False sorts"),
        (lambda: rnn.pack_padded_sequence(nn.ones(3, 2), [2, 0]), RuntimeError,
         "lengths must be at least 1, got 0"),
        (lambda: rnn.pack_padded_sequence(nn.ones(3, 0), []), RuntimeError, "at least 1, got none"),
        (lambda: rnn.pack_padded_sequence(nn.ones(3, 2), [4, 1]), RuntimeError,
         "lengths must be at most 3, the steps of input, got 4"),
        (lambda: rnn.pack_padded_sequence(nn.ones(3, 2), [1]), RuntimeError,
         r"lengths must have one entry for each of 2 sequences, got shape \(1,\)"),
        (lambda: rnn.pad_packed_sequence(rnn.pack_sequence([nn.ones(3)]), total_length=2),
         ValueError, "total_length must be at least the length of the longest sequence, 3, got 2"),
        (lambda: rnn.pad_sequence([]), RuntimeError, "sequences must be at least one"),
        (lambda: rnn.pad_sequence([nn.ones(2, 1), nn.ones(2, 2)]), RuntimeError, "equal shapes"),
        (lambda: rnn.pad_sequence([nn.ones(2)], padding_side="up"), ValueError, "right or left"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
