"""Modules: what they register, containers, state, every layer by its own example."""

import copy
import pickle

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F
from kernelmill.nn.modules import _fusion, _simple


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.scale = nn.Parameter(nn.ones(1))
        self.register_buffer("count", nn.zeros(1))
        self.register_buffer("scratch", nn.zeros(2), persistent=False)
        self.heads = nn.ModuleDict({"x": nn.Linear(4, 1), "y": nn.Linear(4, 2)})
        self.number = 5

    def forward(self, x, head="x"):
        return self.heads[head](self.a(x).relu()) * self.scale


def test_registration():
    net = Net()
    names = ["scale", "a.weight", "a.bias", "heads.x.weight", "heads.x.bias", "heads.y.weight",
             "heads.y.bias"]  # fmt: skip
    assert [n for n, _ in net.named_parameters()] == names
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"]
    assert list(net.state_dict()) == ["scale", "count", *names[1:]]
    assert [n for n, _ in net.named_children()] == ["a", "heads"]
    assert [n for n, _ in net.named_modules()] == ["", "a", "heads", "heads.x", "heads.y"]
    assert net.get_submodule("heads.y") is net.heads["y"]
    assert net.get_parameter("a.bias") is net.a.bias
    assert "scale" in dir(net)
    with pytest.raises(TypeError, match="scale must be a Parameter or None"):
        net.scale = nn.ones(1)
    net.count = nn.ones(1)
    assert net.state_dict()["count"].item() == 1
    net.a = None
    assert len(list(net.parameters())) == 5
    del net.scale
    with pytest.raises(AttributeError, match="has no attribute 'scale'"):
        _ = net.scale
    with pytest.raises(AttributeError, match="no module"):
        net.get_submodule("heads.z")
    with pytest.raises(AttributeError, match="no parameter"):
        net.get_parameter("heads.x.nothing")

    class Late(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) must be called"):
        Late()
    with pytest.raises(NotImplementedError, match="forward must be written"):
        nn.Module()(1)


def test_all_parameters_at_once():
    net = Net()
    assert not net.eval().training
    assert not net.heads["x"].training
    assert net.train().heads["x"].training
    net(nn.ones(2, 3)).sum().backward()
    assert net.a.weight.grad is not None
    net.zero_grad(set_to_none=False)
    assert not net.a.weight.grad.data.any()
    net.zero_grad()
    assert net.a.weight.grad is None
    net.requires_grad_(False)
    assert not net(nn.ones(2, 3)).requires_grad
    assert net.double().a.weight.dtype == np.float64
    assert net.count.dtype == np.float64
    assert net.float()(nn.ones(2, 3)).dtype == np.float32
    kinds = []
    net.apply(lambda m: kinds.append(type(m).__name__))
    assert kinds == ["Linear", "Linear", "Linear", "ModuleDict", "Net"]


def test_copies_and_pickles():
    net = Net()
    x = nn.ones(2, 3)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other(x).data, net(x).data)
        assert not np.shares_memory(other.a.weight.data, net.a.weight.data)


def test_hooks():
    layer = nn.Linear(2, 2)
    calls = []
    pre = layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    post = layer.register_forward_hook(lambda m, args, y: calls.append(y) or y + 1)
    np.testing.assert_allclose(layer(nn.ones(1, 2)).data[0], layer.bias.data + 1, rtol=1e-6)
    pre.remove()
    post.remove()
    layer(nn.ones(1, 2))
    assert len(calls) == 1


def _hooked(lib, tensor):
    """What hooks of layers of one library see, and the gradients that come of it."""
    layer, pair = lib.Linear(3, 2).double(), lib.Bilinear(3, 2, 2).double()
    with lib.no_grad():
        for p in (*layer.parameters(), *pair.parameters()):
            p.copy_(tensor(np.linspace(-1, 1, p.numel()).reshape(tuple(p.shape))))
    seen = []

    def hook(module, inside, outside):
        seen.extend(g if g is None else np.array(g.tolist()) for g in (*inside, *outside))

    handle = layer.register_full_backward_hook(hook)
    pair.register_full_backward_hook(hook)
    pair.register_full_backward_hook(lambda m, inside, outside: (inside[0] * 2, inside[1]))
    x = tensor(np.arange(12.0).reshape(4, 3) / 5).requires_grad_()
    (pair(x, layer(x)) ** 2).sum().backward()
    handle.remove()
    layer(x).sum().backward()
    return [*seen, x.grad.numpy(), layer.weight.grad.numpy()]


def test_hooks_of_the_backward_pass_equal_torchs():
    torch = pytest.importorskip("torch")
    torch.nn.no_grad = torch.no_grad
    mine, theirs = _hooked(nn, nn.Tensor), _hooked(torch.nn, torch.tensor)
    del torch.nn.no_grad
    assert len(mine) == len(theirs) == 7
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    # Without a gradient of the inputs, in the tensor lane, and with a wrong answer.
    layer, calls = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda m, inside, outside: calls.append((inside, outside)))
    layer(nn.ones(1, 3)).sum().backward()
    assert calls[0][0] == (None,)
    assert calls[0][1][0].tolist() == [[1, 1]]
    x = nn.ones(1, 3, requires_grad=True)
    assert nn.gradgradcheck(lambda x: layer.double()(x).sin(), (x.double(),))
    layer.register_full_backward_hook(lambda m, inside, outside: ())
    with pytest.raises(RuntimeError, match="must return None or 1 gradients, got 0"):
        layer(x.double()).sum().backward()
    layer = nn.Linear(3, 2)
    layer.register_full_backward_hook(lambda m, inside, outside: (nn.ones(5),))
    with pytest.raises(RuntimeError, match=r"got \(5,\) for \(1, 3\)"):
        layer(x).sum().backward()


def test_containers():
    seq = nn.Sequential({"one": nn.Linear(2, 3), "two": nn.Tanh()})
    assert list(seq.state_dict()) == ["one.weight", "one.bias"]
    assert seq[0] is seq.one
    assert len(seq[:1]) == 1
    seq.append(nn.Linear(3, 1))
    assert seq(nn.ones(1, 2)).shape == (1, 1)
    layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 2)])
    layers.insert(0, nn.Linear(1, 3)).append(nn.Linear(1, 4)).extend([nn.Linear(1, 5)])
    assert [m.out_features for m in layers] == [3, 1, 2, 4, 5]
    del layers[1]
    layers[0] = nn.Linear(1, 9)
    assert [m.out_features for m in layers[:2]] == [9, 2]
    assert layers[-1].out_features == 5
    with pytest.raises(IndexError, match="below 4"):
        layers[7]
    named = nn.ModuleDict({"a": nn.Linear(1, 1)})
    named["b"] = nn.ReLU()
    assert list(named) == list(named.keys()) == ["a", "b"]
    assert "a" in named
    assert len(named.items()) == len(named.values()) == 2
    named.pop("a")
    del named["b"]
    assert not len(named)
    params = nn.ParameterDict({"w": nn.ones(2)})
    assert isinstance(params["w"], nn.Parameter)
    assert len(list(nn.ParameterList([nn.ones(1), nn.ones(1)]).parameters())) == 2
    assert nn.Identity(3, a=4)(5) == 5


def test_printed_forms():
    text = repr(nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Sequential(nn.Dropout(0.1))))
    assert text == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): LeakyReLU(negative_slope=0.2)\n"
        "  (2): Sequential(\n    (0): Dropout(p=0.1)\n  )\n)"
    )
    for layer in (nn.Bilinear(1, 2, 3), nn.Embedding(3, 2, 1), nn.LayerNorm(3), nn.RMSNorm(3),
                  nn.GroupNorm(1, 2), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(),
                  nn.Unflatten(1, (1, 2)), nn.ZeroPad2d(1)):  # fmt: skip
        assert repr(layer).startswith(type(layer).__name__ + "(")


@pytest.mark.parametrize("name", [*_simple.ACTIVATIONS])
def test_activation_layers_are_their_functions(name):
    x = nn.randn(3, 4, generator=nn.Generator(0))
    function = getattr(F, _simple.ACTIVATIONS[name])
    np.testing.assert_array_equal(getattr(nn, name)()(x).data, function(x).data)


@pytest.mark.parametrize("name", [*_simple.LOSSES])
def test_loss_layers_are_their_functions(name):
    x, y = nn.rand(3, 4), nn.rand(3, 4)
    function = getattr(F, _simple.LOSSES[name])
    for reduction in ("mean", "sum", "none"):
        got = getattr(nn, name)(reduction=reduction)(x, y)
        np.testing.assert_array_equal(got.data, function(x, y, reduction=reduction).data)


def test_weights_of_losses_are_buffers():
    loss = nn.CrossEntropyLoss(nn.Tensor([1.0, 2.0]), ignore_index=1)
    assert list(loss.state_dict()) == ["weight"]
    assert loss(nn.zeros(2, 2), [0, 1]).item() == pytest.approx(np.log(2), rel=1e-6)
    with pytest.raises(TypeError, match="CrossEntropyLoss"):
        nn.CrossEntropyLoss(nothing=1)


@pytest.mark.parametrize("name", ["Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
def test_probabilities_of_dropout(name):
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=rf"^{name}: p must be a probability, from 0 to 1"):
            getattr(nn, name)(p)
        with pytest.raises(ValueError, match=r"^F\.dropout: p must be a probability"):
            nn.functional.dropout(nn.ones(2), p, training=False)


def test_dropout_layers_follow_the_mode():
    layer = nn.Dropout(0.5)
    x = nn.ones(100)
    assert (layer(x) == 0).any()
    assert not (layer.eval()(x) == 0).any()


FUSED = [nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.SELU(),
         nn.LeakyReLU(0.3), nn.ELU(0.7), nn.LogSigmoid()]  # fmt: skip


@pytest.mark.parametrize("activation", FUSED, ids=repr)
def test_fused_pairs_equal_single_layers(activation):
    rng = np.random.default_rng(0)
    first = nn.Linear(5, 6, dtype=np.float64)
    both = nn.Sequential(first, activation)
    assert _fusion.fuse([first, activation]) is not None
    x, z = (nn.Tensor(rng.normal(size=(7, 5)), True) for _ in range(2))
    z.data[...] = x.data
    y, w = both(x), activation(first(z))
    np.testing.assert_allclose(y.data, w.data, rtol=1e-13, atol=1e-15)
    weight = rng.normal(size=y.shape)
    for g, h in zip(nn.grad(y, [x, *first.parameters()], weight, create_graph=True),
                    nn.grad(w, [z, *first.parameters()], weight), strict=True):  # fmt: skip
        np.testing.assert_allclose(g.data, h.data, rtol=1e-10, atol=1e-12)
    for g, h in zip(nn.grad(both(x), [x, *first.parameters()], weight),
                    nn.grad(activation(first(z)), [z, *first.parameters()], weight),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(g.data, h.data, rtol=1e-12, atol=1e-13)
    assert nn.gradgradcheck(lambda x: both(x), nn.Tensor(rng.normal(size=(2, 5)), True))
    seen = []
    activation.register_forward_hook(lambda *a: seen.append(1))
    both(x)
    activation._forward_hooks.clear()
    assert seen == [1]
    for layer in (first, activation):
        forward = layer.forward
        layer.forward = lambda x, forward=forward: 2 * forward(x)
        assert _fusion.fuse([first, activation]) is None
        del layer.forward
    assert _fusion.fuse([first, activation]) is not None


def test_normalisation_layers():
    x = nn.randn(6, 4, 5, dtype=np.float64, generator=nn.Generator(0))
    layer = nn.BatchNorm1d(4, dtype=np.float64)
    y = layer(x)
    np.testing.assert_allclose(y.data.mean((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.data.std((0, 2)), 1, rtol=1e-4)
    assert layer.num_batches_tracked.item() == 1
    before = layer.running_mean.data.copy()
    layer.eval()(x)
    np.testing.assert_array_equal(layer.running_mean.data, before)
    layer.reset_running_stats()
    layer.train()
    x.requires_grad_()
    (g,) = nn.grad((layer(x) ** 2).sum(), x, create_graph=True)
    g.sum().backward()  # neither pass back counts as a batch
    np.testing.assert_allclose(layer.running_mean.data, 0.1 * x.data.mean((0, 2)))
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1] * 4
    x = x.detach()
    plain = nn.BatchNorm1d(4, affine=False, track_running_stats=False, dtype=np.float64)
    assert not list(plain.state_dict())
    np.testing.assert_allclose(plain.eval()(x).data, y.data)
    y = nn.InstanceNorm1d(4)(x[0])
    np.testing.assert_allclose(y.data.mean(1), 0, atol=1e-12)
    with pytest.raises(ValueError, match="must have 4 axes"):
        nn.BatchNorm2d(4)(x)
    with pytest.raises(ValueError, match="multiple of num_groups"):
        nn.GroupNorm(3, 4)
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(3, 2, 3)
    table = nn.Embedding.from_pretrained(np.eye(3))
    assert not table.weight.requires_grad
    assert table([1]).tolist() == [[0, 1, 0]]


def test_set_submodule_takes_the_place():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
    model.set_submodule("1.0", nn.Tanh(), strict=True)
    assert type(model[1][0]) is nn.Tanh
    model.set_submodule("1.new", nn.Identity())
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "1.0", "1.1", "1.new"]
    with pytest.raises(AttributeError, match=r"there is no module '1\.7'"):
        model.set_submodule("1.7", nn.Tanh(), strict=True)
    with pytest.raises(AttributeError, match=r"'1\.1\.weight' is not a module"):
        model.set_submodule("1.1.weight", nn.Tanh())
    with pytest.raises(ValueError, match="target must be a name, got an empty one"):
        model.set_submodule("", nn.Tanh())
    with pytest.raises(TypeError, match="module must be a Module, got int"):
        model.set_submodule("0", 3)
