"""Layers that take the number of their inputs from the first batch."""

import copy
import pickle

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.modules._deferred import LAYERS


def given(name):
    if "InstanceNorm" in name:
        return (), {"affine": True, "track_running_stats": True}
    return ((4, 3), {"groups": 2}) if "Conv" in name else ((), {})


@pytest.mark.parametrize("name", [*sorted(LAYERS), "LazyLinear"])
def test_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    args = (5,) if name == "LazyLinear" else given(name)[0]
    mine, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    x = np.ones((3, 6) if name == "LazyLinear" else (3, 6, *(7,) * int(name[-2])), np.float32)
    theirs(torch.tensor(x))
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert type(mine).__name__ == type(theirs).__name__
    x = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(mine(nn.Tensor(x)).data, expected, atol=1e-5)
    if "InstanceNorm" in name:
        assert getattr(nn, name)(1e-5, 0.1, False, False).weight is None


@pytest.mark.parametrize("name", [*sorted(LAYERS), "LazyLinear"])
def test_a_batch_gives_the_size_and_the_plain_layer(name):
    args, options = ((5,), {}) if name == "LazyLinear" else given(name)
    layer = getattr(nn, name)(*args, **options)
    plain = getattr(nn, name.removeprefix("Lazy"))
    parameters = list(layer.parameters())
    assert isinstance(layer, plain)
    assert layer.has_uninitialized_params()
    x = nn.randn(3, 6) if name == "LazyLinear" else nn.randn(3, 6, *(7,) * int(name[-2]))
    y = layer(x)
    assert type(layer) is plain
    assert [id(p) for p in layer.parameters()] == [id(p) for p in parameters]
    same = plain(6, *args, **options)
    same.load_state_dict(layer.state_dict())
    assert repr(same) == repr(layer)
    assert vars(same).keys() == vars(layer).keys()
    if "Norm" not in name:
        assert all(p.data.std() > 0 for p in parameters)  # drawn, not left at 0
        np.testing.assert_array_equal(same(x).data, y.data)
    for other in (copy.deepcopy(layer.eval()), pickle.loads(pickle.dumps(layer.eval()))):
        assert type(other) is plain
        np.testing.assert_array_equal(other(x).data, layer(x).data)


def test_batch_normalisation_of_rows_and_single_samples_of_images():
    norm = nn.LazyBatchNorm1d()
    norm(nn.randn(3, 6))
    assert norm.num_features == 6
    convolution = nn.LazyConv2d(4, 3)
    convolution(nn.randn(2, 5, 5))
    assert convolution.in_channels == 2


def test_an_optimiser_made_before_the_first_batch_trains():
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.LazyConv1d(4, 3), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    ).double()
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    model(nn.randn(8, 3, 5, dtype="float64"))
    before = [p.data.copy() for p in model.parameters()]
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}
    model(nn.randn(8, 3, 5, dtype="float64")).square().sum().backward()
    optimizer.step()
    moved = [
        not np.array_equal(p.data, old) for p, old in zip(model.parameters(), before, strict=True)
    ]
    assert sum(moved) >= len(moved) - 1  # a bias before normalisation has the gradient 0


def test_a_state_gives_the_sizes_all_or_nothing():
    source = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.BatchNorm2d(4))
    model = nn.Sequential(nn.LazyConv2d(4, 3, groups=2), nn.LazyBatchNorm2d())
    state = source.state_dict()
    wrong = {**state, "1.bias": nn.ones(5)}
    with pytest.raises(RuntimeError, match=r"sizes \[4, 5\]"):
        model.load_state_dict(wrong)
    with pytest.raises(RuntimeError, match=r"0\.weight"):
        model.load_state_dict({**state, "0.weight": nn.ones(3, 3, 3, 3)})
    assert type(model[0]) is nn.LazyConv2d
    assert model[1].weight.shape == (0,)
    model.load_state_dict(state)
    assert type(model[0]) is nn.Conv2d
    assert model[0].in_channels == 6
    x = nn.randn(2, 6, 5, 5)
    np.testing.assert_array_equal(model.eval()(x).data, source.eval()(x).data)
    linear, lazy = nn.Linear(3, 2), nn.LazyLinear(2)
    lazy.load_state_dict(nn.LazyLinear(2).state_dict())
    assert type(lazy) is nn.LazyLinear
    lazy.load_state_dict(linear.state_dict())
    assert type(lazy) is nn.Linear
    np.testing.assert_array_equal(lazy.weight.data, linear.weight.data)


@pytest.mark.parametrize(
    ("layer", "wrong", "right"),
    [
        (lambda: nn.LazyBatchNorm2d(), (2, 5), (2, 3, 7, 7)),
        (lambda: nn.LazyConv1d(4, 3), (2, 5, 7, 7), (2, 3, 7)),
        (lambda: nn.LazyConv2d(4, 9), (2, 5, 7, 7), (2, 3, 9, 9)),
    ],
)
def test_a_batch_that_does_not_fit_leaves_the_size_open(layer, wrong, right):
    layer = layer()
    kind, text, names = type(layer), repr(layer), vars(layer).keys()
    shapes = [p.shape for p in layer.parameters()]
    with pytest.raises((ValueError, RuntimeError)):
        layer(nn.ones(wrong))
    assert type(layer) is kind
    assert repr(layer) == text
    assert vars(layer).keys() == names
    assert [p.shape for p in layer.parameters()] == shapes
    layer(nn.ones(right))
    assert type(layer) is kind.cls_to_become


def test_lazy_layers_are_copied_before_they_know_their_size():
    layer = pickle.loads(pickle.dumps(copy.deepcopy(nn.LazyLinear(3, bias=False))))
    assert layer(nn.ones(2, 4)).shape == (2, 3)
    with pytest.raises(ValueError, match="must have an axis -3"):
        nn.LazyConv2d(3, 3)(nn.ones(2, 4))
