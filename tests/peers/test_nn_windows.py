"""Windows, shuffles and what is made of them, beside torch: results and two derivatives."""

import sys
from pathlib import Path

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
sys.path.insert(0, str(Path(__file__).parent))
from test_nn import close, compare  # noqa: E402 - after torch was found

TF = torch.nn.functional

FUNCTIONS = {
    # name: (arguments, shapes of the input, kind)
    "unfold": ((2,), [(2, 3, 5, 4), (3, 5, 4)], ""),
    "unfold ": (((2, 3), (2, 1), (1, 2), (2, 1)), [(2, 3, 7, 6)], ""),
    "fold": (((5, 4), 2), [(2, 12, 12), (12, 12)], ""),
    "fold ": (((7, 6), (2, 3), (2, 1), (1, 2), (2, 1)), [(2, 18, 32)], ""),
    "pixel_shuffle": ((2,), [(2, 8, 3, 2), (4, 1, 1), (2, 3, 4, 2, 2)], ""),
    "pixel_unshuffle": ((3,), [(2, 2, 3, 6), (1, 3, 3)], ""),
    "channel_shuffle": ((2,), [(2, 6, 3, 2), (1, 2, 1, 1)], ""),
    "local_response_norm": ((2,), [(2, 5, 4), (2, 5, 3, 4)], ""),
    "local_response_norm ": ((5, 0.3, 0.6, 1.5), [(2, 3, 4, 2, 3)], ""),
    "lp_pool1d": ((2, 3), [(2, 3, 8), (3, 8)], "positive"),
    "lp_pool1d ": ((3, 2, 1, True), [(2, 3, 7)], "positive"),
    "lp_pool2d": ((2, (2, 3), 2), [(2, 3, 6, 7)], "positive"),
    "lp_pool3d": ((1.5, 2), [(1, 2, 4, 5, 4)], "positive"),
    "pdist": ((), [(6, 4), (2, 3), (1, 3)], ""),
    "rrelu": ((0.2, 0.6), [(4, 5)], ""),
}
CASES = [(name, shape) for name, (_, shapes, _) in FUNCTIONS.items() for shape in shapes]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_functions_equal_torch(name, shape):
    args, _, kind = FUNCTIONS[name]
    ours, theirs = getattr(F, name.strip()), getattr(TF, name.strip())
    # torch has no second derivative of pdist.
    second = name != "pdist"
    compare(name, lambda x: ours(x, *args), lambda x: theirs(x, *args), [shape], kind, second)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_distance_of_ones_own(swap, reduction):
    options = {"margin": 0.7, "swap": swap, "reduction": reduction}
    for distance in (None, lambda a, b: ((a - b) ** 2).sum(-1)):
        ours = nn.TripletMarginWithDistanceLoss(distance_function=distance, **options)
        theirs = torch.nn.TripletMarginWithDistanceLoss(distance_function=distance, **options)
        compare("triplet", ours, theirs, [(4, 5)] * 3)


LAYERS = {
    # name: (arguments, shape of the input)
    "ChannelShuffle": ((3,), (2, 6, 2, 2)), "Fold": (((4, 5), 2), (2, 8, 12)),
    "Unfold": ((2, 1, 1, 2), (2, 3, 4, 5)), "PixelShuffle": ((2,), (2, 4, 3, 3)),
    "PixelUnshuffle": ((2,), (2, 4, 4, 2)), "LocalResponseNorm": ((3,), (2, 4, 5)),
    "Softmax2d": ((), (2, 3, 2, 2)), "LPPool2d": ((2, 2), (2, 3, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_torchs(name):
    args, shape = LAYERS[name]
    compare(name, getattr(nn, name)(*args), getattr(torch.nn, name)(*args), [shape])


def test_random_slopes_lie_between_their_bounds():
    x = nn.Tensor(-np.ones(10_000), requires_grad=True)
    layer = nn.RReLU(0.25, 0.75)
    y = layer(x)
    slopes = -y.data
    assert ((slopes >= 0.25) & (slopes < 0.75)).all()
    assert abs(slopes.mean() - 0.5) < 0.01
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, slopes)
    assert (layer.eval()(x).data == -0.5).all()
    assert (layer.train()(-x).data == 1).all()


def test_infinite_values_stay_in_their_windows():
    x = np.arange(9.0).reshape(1, 3, 3)
    x[0, 0, 0] = np.inf
    assert np.isinf(F.unfold(x, 2).data).sum() == 1
    assert np.isinf(F.fold(F.unfold(x, 2), 3, 2).data).sum() == 1


@pytest.mark.parametrize("bias", [False, True])
def test_the_adaptive_softmax_is_torchs(bias):
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(9, 30, [5, 12], 2.0, head_bias=bias).double()
    ours = nn.AdaptiveLogSoftmaxWithLoss(9, 30, [5, 12], 2.0, head_bias=bias, dtype=np.float64)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    target = np.array([0, 4, 5, 29, 11, 12])
    compare("loss", lambda x: ours(x, target).loss,
            lambda x: theirs(x, torch.tensor(target)).loss, [(6, 9)])  # fmt: skip
    compare("output", lambda x: ours(x, target[:3]).output,
            lambda x: theirs(x, torch.tensor(target[:3])).output, [(3, 9)])  # fmt: skip
    compare("one", lambda x: ours(x, np.array(29)).output,
            lambda x: theirs(x, torch.tensor(29)).output, [(9,)])  # fmt: skip
    compare("log_prob", ours.log_prob, theirs.log_prob, [(6, 9)])
    x = np.random.default_rng(0).normal(size=(50, 9))
    close(ours.predict(x), theirs.predict(torch.tensor(x)), "predict")
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        ours(x[:6], target).loss.backward()
        theirs(torch.tensor(x[:6]), torch.tensor(target)).loss.backward()
        close(p.grad, q.grad, "gradient of a weight")
        ours.zero_grad(), theirs.zero_grad()
    with pytest.raises(RuntimeError, match=r"target must be in \[0, 30\), got 0 to 30"):
        ours(x[:2], np.array([0, 30]))
    with pytest.raises(ValueError, match="cutoffs must rise from above 0 to below 30, got"):
        nn.AdaptiveLogSoftmaxWithLoss(9, 30, [5, 30])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.unfold(np.ones((1, 2, 2)), 3), "kernel_size must fit into the padded image"),
        (lambda: F.unfold(np.ones(3), 1), "input must have 3 or 4 axes"),
        (lambda: F.fold(np.ones((1, 3, 4)), 3, 2), "a multiple of 4 rows and 4 columns"),
        (lambda: F.fold(np.ones(3), 3, 2), "input must have 2 or 3 axes"),
        (lambda: F.pixel_shuffle(np.ones((3, 2, 2)), 2), "a multiple of 4 channels"),
        (lambda: F.pixel_unshuffle(np.ones((3, 2, 3)), 2), "height and width must be multiples"),
        (lambda: F.channel_shuffle(np.ones((1, 3, 2)), 2), "a multiple of 2 channels"),
        (lambda: F.local_response_norm(np.ones((1, 3)), 2), "input must have 3 or more axes"),
        (lambda: F.pdist(np.ones(3)), "input must have 2 axes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()
