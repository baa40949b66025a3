"""Recurrent layers: values worked out by hand, gradients twice, states carried, refusals."""

import copy
import pickle

import numpy as np
import pytest

import kernelmill
from kernelmill import nn
from kernelmill.nn.functional import _recurrent
from kernelmill.nn.utils import rnn

RNG = np.random.default_rng(0)
KINDS = ("RNN", "LSTM", "GRU")


def test_the_reset_gate_multiplies_product_and_bias():
    cell = nn.GRUCell(1, 1, dtype=np.float64)
    for p in cell.parameters():
        nn.init.zeros_(p)
    cell.bias_ih.data[0], cell.bias_hh.data[2] = -100, 1
    assert cell([[0.0]], np.array([[0.8]])).item() == pytest.approx(0.4, rel=1e-15)


def test_the_backward_direction_starts_at_the_end_of_the_sequence():
    layer = nn.RNN(1, 1, nonlinearity="relu", bidirectional=True)
    for name, p in layer.named_parameters():
        nn.init.constant_(p, 0.0 if "bias_hh" in name else 1.0)
    x = nn.Tensor([[1.0], [2], [3], [0], [0]])[:, None]
    output, last = layer(rnn.pack_padded_sequence(x, [3]))
    padded, _ = rnn.pad_packed_sequence(output, total_length=5)
    assert padded[:, 0].tolist() == [[2, 9], [5, 7], [9, 4], [0, 0], [0, 0]]
    assert last[:, 0, 0].tolist() == [9, 9]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["tanh", "relu", "lstm", "projected lstm", "gru"])
def test_gradients_equal_differences_twice(kind, reverse):
    """Of outputs and final states by inputs, initial states and all weights."""
    name = kind.split()[-1]
    rows, p = 2 * _recurrent.GATES[name], 1 if "projected" in kind else 2
    shapes = [(5, 2), (2, p), (2, 2), (rows, 2), (rows, p), (rows,), (rows,), (p, 2)]
    given = [nn.Tensor(RNG.normal(size=s), True) for s in shapes]
    used = [i for i in range(8) if (i != 2 or name == "lstm") and (i != 7 or p == 1)]

    def run(*values):
        x, h, c, *weights = (values[used.index(i)] if i in used else None for i in range(8))
        sizes = np.array([2, 2, 1])
        results = _recurrent.recurrence(name, x, h, c, tuple(weights), sizes, reverse)
        return nn.cat([r.reshape(-1) for r in results])

    assert nn.gradcheck(run, [given[i] for i in used])
    assert nn.gradgradcheck(run, [given[i] for i in used], atol=1e-4)


@pytest.mark.parametrize("kind", ["tanh", "relu", "lstm", "gru"])
def test_the_composition_gives_the_same(kind):
    gates = _recurrent.GATES[kind]
    sizes = np.array([3, 3, 2])
    shapes = [(8, 4), (3, 5), (3, 5), (5 * gates, 4), (5 * gates, 5), (5 * gates,), (5 * gates,)]
    values = [RNG.normal(size=s) for s in shapes]
    results = []
    for run in (_recurrent._rules[kind], _recurrent._composed):
        given = [nn.Tensor(v, True) for v in values]
        if kind != "lstm":
            given[2] = None
        result = run(*given, None, kind=kind, sizes=sizes, reverse=True)
        sum((r * np.arange(r.numel()).reshape(r.shape)).sum() for r in result).backward()
        results.append([*result, *(g.grad for g in given if g is not None)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_carried_states_continue_a_sequence(kind):
    """Pieces with the state of the piece before give the whole, and its gradients."""
    layer = getattr(nn, kind)(3, 4, num_layers=2, dtype=np.float64)
    x = nn.Tensor(RNG.normal(size=(9, 2, 3)))
    whole, last = layer(x)
    (whole**2).sum().backward()
    wanted = [p.grad.data for p in layer.parameters()]
    layer.zero_grad()
    outputs, state = [], None
    for begin, end in ((0, 1), (1, 5), (5, 9)):
        output, state = layer(x[begin:end], state)
        outputs.append(output)
    pieces = nn.cat(outputs)
    (pieces**2).sum().backward()
    np.testing.assert_allclose(pieces.data, whole.data, rtol=1e-13)
    for p, want in zip(layer.parameters(), wanted, strict=True):
        np.testing.assert_allclose(p.grad.data, want, rtol=1e-11, atol=1e-12)
    ends = zip(*[s if isinstance(s, tuple) else (s,) for s in (state, last)], strict=True)
    for a, b in ends:
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_make_the_steps_of_a_layer(kind):
    layer, cell = getattr(nn, kind)(3, 4), getattr(nn, f"{kind}Cell")(3, 4)
    cell.load_state_dict({n.removesuffix("_l0"): p for n, p in layer.state_dict().items()})
    x, state = nn.Tensor(RNG.normal(size=(5, 2, 3)).astype(np.float32)), None
    output, _ = layer(x)
    for step, want in zip(x, output, strict=True):
        state = cell(step, state)
        h = state[0] if isinstance(state, tuple) else state
        np.testing.assert_allclose(h.data, want.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_count(kind):
    """A packed batch gives each sequence what it gives alone, to the bit."""
    layer = getattr(nn, kind)(3, 6, num_layers=2, bidirectional=True)
    given = [RNG.normal(size=(n, 3)).astype(np.float32) for n in (3, 9, 1, 4)]
    output, _ = layer(rnn.pack_sequence(given, enforce_sorted=False))
    for one, sequence in zip(rnn.unpack_sequence(output), given, strict=True):
        np.testing.assert_array_equal(one.data, layer(nn.Tensor(sequence))[0].data)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind):
    layer = getattr(nn, kind)(40, 64, num_layers=2, bidirectional=True)
    x = RNG.normal(size=(12, 33, 40)).astype(np.float32)
    found = []
    for threads in (1, 2, 7):
        layer.zero_grad()
        with kernelmill.threads(threads):
            output, _ = layer(nn.Tensor(x))
            output.sum().backward()
        found.append([output.data, *(p.grad.data for p in layer.parameters())])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert a.tobytes() == b.tobytes()


def test_dropout_acts_between_layers_in_training():
    nn.manual_seed(0)
    layer = nn.GRU(3, 50, num_layers=2, dropout=0.5)
    x = nn.ones(4, 2, 3)
    assert not np.array_equal(layer(x)[0].data, layer(x)[0].data)
    first = layer(x)[1][0]
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].data, layer(x)[0].data)
    np.testing.assert_array_equal(layer(x)[1][0].data, first.data)
    with pytest.warns(UserWarning, match="GRU: dropout acts between layers and must have num_lay"):
        nn.GRU(3, 4, dropout=0.5)


def test_copies_and_pickles():
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    x = nn.ones(5, 2, 3)
    want = layer(x)[0].data
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(made(x)[0].data, want)
    assert [len(w) for w in layer.all_weights] == [5] * 4
    layer.flatten_parameters()


def test_little_is_kept_for_the_way_back():
    """Gates, cells and outputs: six numbers a unit and step, and no more."""
    layer = nn.LSTM(8, 16)
    output, _ = layer(nn.ones(10, 4, 8))
    node = output._node
    while not getattr(node, "saved", None):
        node = node.node if hasattr(node, "node") else node.parents[0]
    arrays = [a for a in node.saved[8:] if a is not None]
    assert sum(a.size for a in arrays) == 10 * 4 * 16 * 6


def test_jordan_networks_feed_the_output_back():
    net = nn.JordanRNN(2, 3, 1, batch_first=True, dtype=np.float64)
    x, y = RNG.normal(size=(4, 6, 2)), np.full((4, 1), 0.3)
    output, last = net(x, y)
    w = {name: p.data for name, p in net.named_parameters()}
    for t in range(6):
        h = np.tanh(x[:, t] @ w["weight_ih"].T + w["bias_ih"] + y @ w["weight_oh"].T)
        y = h @ w["weight_ho"].T + w["bias_ho"]
        np.testing.assert_allclose(output.data[:, t], y, rtol=1e-13)
    np.testing.assert_array_equal(last.data, output.data[:, -1])
    inputs = (nn.Tensor(x[:, :3], True), nn.Tensor(y, True))
    assert nn.gradcheck(lambda x, y: net(x, y)[0], inputs)
    assert nn.gradgradcheck(lambda x, y: net(x, y)[0], inputs, atol=1e-4)
    assert repr(net) == "JordanRNN(2, 3, 1)"
    assert nn.JordanRNN(2, 3, 1, "relu", bias=False)(nn.ones(3, 2, 2))[0].shape == (3, 2, 1)


def test_dtypes_are_brought_together():
    layer = nn.LSTM(3, 4)
    assert layer(nn.ones(2, 2, 3))[0].dtype == np.float32
    assert layer(np.ones((2, 2, 3)))[0].dtype == np.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(3, 0), ValueError, "LSTM: hidden_size must be at least 1, got 0"),
        (lambda: nn.GRU(3, 4, 0), ValueError, "GRU: num_layers must be at least 1, got 0"),
        (lambda: nn.GRUCell(0, 4), ValueError, "GRUCell: input_size must be at least 1, got 0"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "LSTM: proj_size must be below hidden"),
        (lambda: nn.RNNBase("GRU", 3, 4, proj_size=2), ValueError, "proj_size must be .* got 2"),
        (lambda: nn.LSTM(3, 4, 2, dropout=2), ValueError, "LSTM: dropout must be a probability"),
        (lambda: nn.RNN(3, 4, nonlinearity="elu"), ValueError, "RNN: nonlinearity must be tanh"),
        (lambda: nn.RNNCell(3, 4, nonlinearity="elu"), ValueError, "RNNCell: nonlinearity must"),
        (lambda: nn.GRU(3, 4)(nn.ones(3)), RuntimeError, "GRU: input must have 2 or 3 axes, got"),
        (lambda: nn.GRU(3, 4)(nn.ones(0, 2, 3)), RuntimeError, "GRU: input must have at least one"),
        (lambda: nn.GRU(3, 4)(nn.ones(5, 2, 4)), RuntimeError, "GRU: input must have 3 features"),
        (lambda: nn.GRU(3, 4)(nn.ones(5, 2, 3), nn.ones(1, 3, 4)), RuntimeError,
         r"GRU: h_0 must have shape \(1, 2, 4\), got \(1, 3, 4\)"),
        (lambda: nn.LSTM(3, 4)(nn.ones(5, 2, 3), nn.ones(1, 2, 4)), RuntimeError,
         "LSTM: hx must be a pair of initial states, got Tensor"),
        (lambda: nn.LSTMCell(3, 4)(nn.ones(2, 3), nn.ones(2, 4)), RuntimeError,
         "LSTMCell: hx must be a pair of states, got Tensor"),
        (lambda: nn.GRUCell(3, 4)(nn.ones(2, 2, 3)), RuntimeError, "GRUCell: input must have 1 or"),
        (lambda: nn.GRUCell(3, 4)(nn.ones(2, 3), nn.ones(3, 4)), RuntimeError, "hx must have shap"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
