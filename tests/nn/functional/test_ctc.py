"""The CTC loss on the tape, and decoding; tests/ops/test_ctc.py tests the recursion itself."""

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F
from kernelmill.nn.functional import _ctc

RNG = np.random.default_rng(0)
TARGETS, STEPS, LENGTHS = [[1, 1, 2], [2, 3, 0], [1, 0, 0]], [6, 5, 4], [3, 2, 0]


def log_probs(steps=6, n=3, classes=4):
    return F.log_softmax(nn.Tensor(RNG.normal(size=(steps, n, classes))), 2).data


def loss(x, **options):
    return F.ctc_loss(x, TARGETS, STEPS, LENGTHS, **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("normalised", [True, False])
def test_gradients_equal_differences_twice(reduction, normalised):
    """Also where log_probs are not normalised: the gradient is that of the argument itself."""
    z = nn.Tensor(RNG.normal(size=(4, 3, 3)), requires_grad=True)

    def function(z):
        x = F.log_softmax(z, 2) if normalised else z
        return F.ctc_loss(x, [1, 1, 2], [4, 3, 2], [2, 1, 0], reduction=reduction)

    assert nn.gradcheck(function, (z,))
    assert nn.gradgradcheck(function, (z,), atol=1e-4)


def test_both_lanes_and_the_composition_agree():
    """With an impossible target, an empty one, a blank in the middle, and steps behind the end."""
    x = nn.Tensor(log_probs(9, 5, 6), requires_grad=True)
    target = np.array([[1, 1, 5], [1, 3, 0], [5, 5, 5], [0, 0, 0], [4, 0, 9]])
    steps, lengths = np.array([9, 7, 4, 3, 0]), np.array([3, 3, 3, 0, 0])
    weight = nn.Tensor(RNG.normal(size=5))
    weight.data[2] = 1.0
    losses = F.ctc_loss(x, target, steps, lengths, blank=2, reduction="none")
    composed = _ctc._composed(x, target, steps, lengths, 2, True)
    assert losses.data[2] == np.inf
    assert composed.data[2] == np.inf
    np.testing.assert_allclose(composed.data, losses.data, rtol=1e-13)
    (twice,) = nn.grad(losses, x, weight, create_graph=True)
    (first,) = nn.grad(losses, x, weight)
    (second,) = nn.grad(composed, x, weight)
    np.testing.assert_allclose(second.data, first.data, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(twice.data, first.data, rtol=1e-11, atol=1e-14)
    assert not first.data[:, 2].any()
    assert not first.data[3:, 3].any()


@pytest.mark.parametrize("zero", [True, False])
def test_impossible_targets(zero):
    """A loss of inf has gradient 0 either way, so that an optimiser's step survives."""
    x = nn.Tensor(log_probs(2, 2, 6), requires_grad=True)
    losses = F.ctc_loss(x, [[1, 1], [1, 2]], [2, 2], [2, 2], 5, "none", zero_infinity=zero)
    assert losses.data[0] == (0.0 if zero else np.inf)
    losses.sum().backward()
    assert not x.grad.data[:, 0].any()
    np.testing.assert_allclose(x.grad.data[:, 1].sum(1), -1)


def test_a_sample_without_weight_adds_nothing_even_where_it_is_nan():
    x = nn.Tensor(log_probs(), requires_grad=True)
    x.data[0, 1, 2] = np.nan
    losses = loss(x, reduction="none")
    assert np.isnan(losses.data).tolist() == [False, True, False]
    losses.backward(nn.Tensor([1.0, 0.0, 1.0]))
    assert np.isfinite(x.grad.data).all()
    assert not x.grad.data[:, 1].any()


def test_arguments_have_many_forms():
    x = log_probs()
    want = loss(x, reduction="none").data
    flat = np.array([1, 1, 2, 2, 3])
    for targets in (flat, flat.astype(np.int32), nn.Tensor(np.array(TARGETS))):
        got = F.ctc_loss(x, targets, tuple(STEPS), nn.Tensor(np.array(LENGTHS)), reduction="none")
        np.testing.assert_array_equal(got.data, want)
    for i in range(3):
        one = F.ctc_loss(x[:, i], TARGETS[i][: LENGTHS[i]], STEPS[i], LENGTHS[i], reduction="none")
        assert one.shape == ()
        np.testing.assert_allclose(one.data, want[i], rtol=1e-15)
    assert loss(x.astype(np.float32)).dtype == np.float32


def test_reductions():
    x = log_probs()
    losses = loss(x, reduction="none").data
    np.testing.assert_allclose(loss(x, reduction="sum").data, losses.sum())
    np.testing.assert_allclose(loss(x).data, np.mean(losses / [3, 2, 1]))
    np.testing.assert_allclose(nn.CTCLoss(reduction="sum")(x, TARGETS, STEPS, LENGTHS).data,
                               losses.sum())  # fmt: skip


def test_empty_batches():
    for classes, steps in ((3, 4), (3, 0)):
        x = nn.Tensor(np.zeros((steps, 0, classes)), requires_grad=True)
        total = F.ctc_loss(x, np.zeros((0, 2), int), [], [], reduction="sum")
        assert total.item() == 0
        total.backward()
        assert x.grad.shape == x.shape


def test_wrong_arguments_are_named():
    x = log_probs()
    for arguments, message in (
        ((x[0, 0], TARGETS, STEPS, LENGTHS), r"F.ctc_loss: log_probs must have shape \(T, N, C\)"),
        ((x, [1, 2], STEPS, LENGTHS), r"targets must have shape \(3, S\), or \(5,\) with all"),
        ((x, TARGETS, [6, 5], LENGTHS), r"input_lengths must have shape \(3,\), got \(2,\)"),
        ((x, TARGETS, STEPS, [4, 2, 0]), r"target_lengths must be in \[0, 3\], got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            F.ctc_loss(*arguments)
    with pytest.raises(TypeError, match="targets must be integers, got float64"):
        F.ctc_loss(x, np.array(TARGETS, float), STEPS, LENGTHS)
    with pytest.raises(ValueError, match="reduction must be mean, sum or none, got 'all'"):
        loss(x, reduction="all")


# --- decoding -------------------------------------------------------------------------------------


def merged(path, blank):
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


@pytest.mark.parametrize("seed", range(5))
def test_decoding_equals_trying_everything(seed):
    """A beam that loses nothing finds the most probable labels, with their whole probability."""
    y = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), 5)
    blank = seed % 3
    mass, best = {}, (0.0, ())
    for path in itertools.product(range(3), repeat=5):
        p = float(np.prod([y[t, k] for t, k in enumerate(path)]))
        labels = merged(path, blank)
        mass[labels] = mass.get(labels, 0.0) + p
        best = max(best, (p, labels))
    with np.errstate(divide="ignore"):
        logs = np.log(y)
    labels, score = nn.ctc_decode(logs, blank=blank, beam_width=1000)
    assert tuple(labels) == max(mass, key=mass.__getitem__)
    np.testing.assert_allclose(np.exp(score), max(mass.values()), rtol=1e-12)
    loss = F.ctc_loss(logs, np.array(labels, int), 5, len(labels), blank, "sum")
    np.testing.assert_allclose(-score, loss.item(), rtol=1e-12)
    labels, score = nn.ctc_decode(nn.Tensor(logs), blank=blank)
    assert tuple(labels) == best[1]
    np.testing.assert_allclose(np.exp(score), best[0], rtol=1e-12)


def test_decoding_of_batches_and_edges():
    x = log_probs()
    labels, scores = nn.ctc_decode(x, [6, 0, 3], beam_width=4)
    assert labels[1] == []
    assert scores[1] == 0.0
    assert labels[2] == nn.ctc_decode(x[:3, 2], beam_width=4)[0]
    narrow, wide = (nn.ctc_decode(x, beam_width=w)[1] for w in (1, 64))
    assert all(b >= a - 1e-12 for a, b in zip(narrow, wide, strict=True))
    with pytest.raises(ValueError, match=r"nn.ctc_decode: blank must be in \[0, 4\), got 4"):
        nn.ctc_decode(x, blank=4)
    with pytest.raises(ValueError, match="beam_width must be positive, got 0"):
        nn.ctc_decode(x, beam_width=0)


def test_a_network_learns_to_align():
    """Labels at unknown places of noise: a linear layer learns what they look like."""
    rng = np.random.default_rng(7)
    shapes = 3.0 * rng.normal(size=(4, 8))

    def draw(n):
        x, target = rng.normal(size=(20, n, 8)), rng.integers(1, 5, (n, 4))
        place = np.sort(rng.permuted(np.tile(np.arange(7), (n, 1)), axis=1)[:, :4]) * 3
        for row in range(4):
            for width in range(2):  # two steps each, and at least one between them
                x[place[:, row] + width, np.arange(n)] += shapes[target[:, row] - 1]
        return x.astype(np.float32), target

    nn.manual_seed(0)
    layer = nn.Linear(8, 5)
    optimizer = nn.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(100):
        x, target = draw(32)
        optimizer.zero_grad()
        F.ctc_loss(F.log_softmax(layer(x), 2), target, 20, 4).backward()
        optimizer.step()
    x, target = draw(100)
    labels, _ = nn.ctc_decode(F.log_softmax(layer(x), 2))
    right = np.mean([found == list(t) for found, t in zip(labels, target, strict=True)])
    assert right > 0.8
