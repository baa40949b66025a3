"""Recurrent layers beside torch: outputs, states and all gradients from the same numbers.

Float64, so that both sides are exact but for rounding: 1e-10 of the largest entry.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.utils import rnn

torch = pytest.importorskip("torch", reason="torch is not installed")
theirs_rnn = torch.nn.utils.rnn


def close(ours, theirs, name, tolerance=1e-10):
    ours = np.asarray(ours.data if isinstance(ours, nn.Tensor) else ours, np.float64)
    theirs = np.asarray(theirs.detach().numpy(force=True), np.float64)
    assert ours.shape == theirs.shape, name
    size = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * size, err_msg=name)


def flat(result):
    """The tensors of a result, packed or not."""
    output, states = result
    output = getattr(output, "data", output) if isinstance(output, tuple) else output
    return [output, *(states if isinstance(states, tuple) else (states,))]


def compare(name, ours, theirs, run_ours, run_theirs, inputs, tolerance=1e-10):
    """Results and gradients of inputs and parameters, of a sum with random weights."""
    a = [None if x is None else nn.Tensor(x.copy(), True) for x in inputs]
    b = [None if x is None else torch.tensor(x, requires_grad=True) for x in inputs]
    results_a, results_b = flat(run_ours(ours, *a)), flat(run_theirs(theirs, *b))
    rng = np.random.default_rng(7)
    losses: list = [0.0, 0.0]
    for i, (p, q) in enumerate(zip(results_a, results_b, strict=True)):
        close(p, q, f"{name}: result {i}", tolerance)
        weight = rng.normal(size=tuple(q.shape)).astype(p.dtype)
        losses[0] = losses[0] + (p * weight).sum()
        losses[1] = losses[1] + (q * torch.tensor(weight)).sum()
    losses[0].backward()
    losses[1].backward()
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        if p is not None:
            close(p.grad, q.grad, f"{name}: gradient of input {i}", 10 * tolerance)
    parameters = dict(theirs.named_parameters())
    assert [*parameters] == [n for n, _ in ours.named_parameters()]
    for n, p in ours.named_parameters():
        close(p.grad, parameters[n].grad, f"{name}: gradient of {n}", 10 * tolerance)


def layers(kind, *args, dtype=np.float64, **options):
    """The same layer on both sides."""
    torch.manual_seed(3)
    theirs = getattr(torch.nn, kind)(*args, **options)
    theirs = theirs.double() if dtype == np.float64 else theirs
    ours = getattr(nn, kind)(*args, **options, dtype=dtype)
    assert repr(ours) == repr(theirs)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


KINDS = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "LSTM": {},
    "LSTM projected": {"proj_size": 3},
    "GRU": {},
}
OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
    for layers, both, bias, first in itertools.product(
        (1, 2), (False, True), (True, False), (False, True)
    )
    if bias or not first
]


def states(kind, options, batch, rng, width=5):
    """Initial states for hx, as one tensor or a pair."""
    count = options["num_layers"] * (1 + options["bidirectional"])
    size = KINDS[kind].get("proj_size", width)
    shapes = [(count, *batch, size), (count, *batch, width)]
    return [rng.normal(size=s) for s in (shapes if "LSTM" in kind else shapes[:1])]


def with_states(layer, x, *hx):
    return layer(x, hx if len(hx) == 2 else hx[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layers(kind, options):
    ours, theirs = layers(kind.split()[0], 4, 5, **options, **KINDS[kind])
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 7, 4) if options["batch_first"] else (7, 3, 4))
    compare(kind, ours, theirs, *[lambda m, x: m(x)] * 2, [x])
    ours.zero_grad()
    theirs.zero_grad()
    compare(kind, ours, theirs, *[with_states] * 2, [x, *states(kind, options, (3,), rng)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (6, 1), (4, 0)], ids=str)
def test_short_sequences_and_small_batches(kind, shape):
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = layers(kind.split()[0], 4, 5, **options, **KINDS[kind])
    rng = np.random.default_rng(2)
    inputs = [rng.normal(size=(*shape, 4)), *states(kind, options, shape[1:], rng)]
    compare(kind, ours, theirs, *[with_states] * 2, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_without_a_batch(kind):
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    ours, theirs = layers(kind.split()[0], 4, 5, **options, **KINDS[kind])
    rng = np.random.default_rng(2)
    compare(kind, ours, theirs, *[lambda m, x: m(x)] * 2, [rng.normal(size=(6, 4))])
    inputs = [rng.normal(size=(6, 4)), *states(kind, options, (), rng)]
    ours.zero_grad()
    theirs.zero_grad()
    compare(kind, ours, theirs, *[with_states] * 2, inputs)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_one_unit(kind):
    ours, theirs = layers(kind, 1, 1, bidirectional=True)
    x = np.random.default_rng(2).normal(size=(6, 2, 1))
    compare(kind, ours, theirs, *[lambda m, x: m(x)] * 2, [x])


LENGTHS = ([7, 5, 5, 2, 1], [2, 7, 1, 5, 7], [1, 1], [4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_packed_sequences(kind, lengths):
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = layers(kind.split()[0], 4, 5, **options, **KINDS[kind])
    rng = np.random.default_rng(3)
    x = rng.normal(size=(8, len(lengths), 4))

    def run(library):
        def packed(layer, x, *hx):
            batch = library.pack_padded_sequence(x, lengths, enforce_sorted=False)
            output, last = with_states(layer, batch, *hx)
            padded, found = library.pad_packed_sequence(output, total_length=9)
            assert found.tolist() == lengths
            return padded, last

        return packed

    inputs = [x, *states(kind, options, (len(lengths),), rng)]
    compare(kind, ours, theirs, run(rnn), run(theirs_rnn), inputs)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(), (1,), (6,), (0,)], ids=str)
def test_cells(kind, bias, batch):
    ours, theirs = layers(f"{kind}Cell", 4, 5, bias=bias)
    rng = np.random.default_rng(4)
    count = 2 if kind == "LSTM" else 1
    inputs = [rng.normal(size=(*batch, 4)), *(rng.normal(size=(*batch, 5)) for _ in range(count))]

    def run(cell, x, *hx):
        for _ in range(3):  # weights gather gradients of several steps
            new = cell(x, hx if len(hx) == 2 else hx[0])
            hx = new if isinstance(new, tuple) else (new,)
        return hx[0], hx

    compare(kind, ours, theirs, run, run, inputs)
    first = [flat((0, m(x)))[1] for m, x in ((ours, nn.Tensor(inputs[0])),
                                             (theirs, torch.tensor(inputs[0])))]  # fmt: skip
    close(*first, "no state")


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_float32(kind):
    """Sums of 60 and 50 terms below 1, 30 steps that do not amplify errors."""
    ours, theirs = layers(kind, 60, 50, dtype=np.float32)
    x = np.random.default_rng(5).normal(size=(30, 20, 60)).astype(np.float32)
    compare(kind, ours, theirs, *[lambda m, x: m(x)] * 2, [x], 110 * 30 * 1.2e-7 / 8)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_some_gradients_are_not_wanted(kind):
    """Frozen weights, and a loss of the last state alone."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(5, 3, 4))
    for trained in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        ours, theirs = layers(kind, 4, 5, bidirectional=True)
        for layer in (ours, theirs):
            for name, parameter in layer.named_parameters():
                parameter.requires_grad_(name.startswith(trained))
            last = layer(nn.Tensor(x) if layer is ours else torch.tensor(x))[1]
            (last[1] if isinstance(last, tuple) else last).sum().backward()
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            if q.grad is None:
                assert p.grad is None
            else:
                close(p.grad, q.grad, name)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_second_derivatives(kind):
    """Of a penalty on the gradient of the input, through packed sequences."""
    ours, theirs = layers(kind, 3, 4, bidirectional=True)
    x = np.random.default_rng(8).normal(size=(5, 3, 3))

    def penalty(layer, x, library, grad):
        batch = library.pack_padded_sequence(x, [5, 4, 1])
        output, last = layer(batch)
        last = last if isinstance(last, tuple) else (last,)
        loss = (output.data**2).sum() + sum((s**3).sum() for s in last)
        (g,) = grad(loss, [x], create_graph=True)
        return (g**2).sum()

    a, b = nn.Tensor(x, True), torch.tensor(x, requires_grad=True)
    penalty(ours, a, rnn, nn.grad).backward()
    penalty(theirs, b, theirs_rnn, torch.autograd.grad).backward()
    close(a.grad, b.grad, "x")
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, name)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_truncated_backpropagation(kind):
    """The state is carried over pieces of a long sequence, its history is not."""
    ours, theirs = layers(kind, 3, 4, num_layers=2)
    x = np.random.default_rng(9).normal(size=(12, 2, 3))
    for layer, whole in ((ours, nn.Tensor(x)), (theirs, torch.tensor(x))):
        state = None
        for begin in range(0, 12, 4):
            output, state = layer(whole[begin : begin + 4], state)
            (output**2).sum().backward()
            pair = isinstance(state, tuple)
            state = tuple(s.detach() for s in state) if pair else state.detach()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, name)


SEQUENCES = ([3, 1, 4], [5], [2, 2])


@pytest.mark.parametrize("lengths", SEQUENCES, ids=str)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding(lengths, first, side):
    rng = np.random.default_rng(1)
    given = [rng.normal(size=(n, 2)) for n in lengths]
    a = [nn.Tensor(s, True) for s in given]
    b = [torch.tensor(s, requires_grad=True) for s in given]
    more = (first, -1.0, side)
    padded = rnn.pad_sequence(a, *more), theirs_rnn.pad_sequence(b, *more)
    close(*padded, "padded")
    (padded[0] ** 2).sum().backward()
    (padded[1] ** 2).sum().backward()
    for p, q in zip(a, b, strict=True):
        close(p.grad, q.grad, "gradient")
    packed = rnn.pack_sequence(a, False), theirs_rnn.pack_sequence(b, False)
    for p, q in zip(*packed, strict=True):
        close(p, q, "packed")
    for p, q in zip(rnn.unpack_sequence(packed[0]), theirs_rnn.unpack_sequence(packed[1]),
                    strict=True):  # fmt: skip
        close(p, q, "unpacked")


@pytest.mark.parametrize("first", [False, True])
def test_packing_of_whole_numbers_and_extra_axes(first):
    x = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    lengths = [1, 2, 2] if not first else [3, 1]
    more = (lengths, first, False)
    ours = rnn.pack_padded_sequence(x, *more)
    theirs = theirs_rnn.pack_padded_sequence(torch.tensor(x), *more)
    for p, q in zip(ours, theirs, strict=True):
        close(p, q, "packed")
    back = rnn.pad_packed_sequence(ours, first, -7, 4)
    want = theirs_rnn.pad_packed_sequence(theirs, first, -7, 4)
    for p, q in zip(back, want, strict=True):
        close(p, q, "padded")
    assert back[0].dtype == np.int64


def test_public_names_of_the_module_of_sequences():
    public = {n for n in theirs_rnn.__all__ if not n.startswith("_")}
    assert public <= set(rnn.__all__), public - set(rnn.__all__)
