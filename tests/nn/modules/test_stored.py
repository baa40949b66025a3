"""Modules in model files: every layer, ties, states; nothing that is code."""

import inspect
import io
import json

import numpy as np
import pytest

import kernelmill
from kernelmill import nn
from kernelmill._estimator.state import Decoder, Encoder

# Arguments of the layers that need some.
ARGUMENTS = {
    "Linear": (2, 3), "Bilinear": (2, 3, 4), "Embedding": (5, 2), "EmbeddingBag": (5, 2),
    "LayerNorm": (3,), "RMSNorm": (3,), "GroupNorm": (2, 4), "Threshold": (0.1, 2.0),
    "Unflatten": (1, (2, 3)), "QuantileLoss": (0.5,), "ModuleList": ([nn.Linear(2, 2)],),
    "ModuleDict": ({"a": nn.Linear(2, 2)},), "ParameterList": ([nn.Parameter([1.0])],),
    "ParameterDict": ({"a": nn.Parameter([1.0])},),
    "AdaptiveLogSoftmaxWithLoss": (8, 6, [2, 4]), "Transformer": (4, 2, 1, 1, 8),
    "TransformerEncoder": (nn.TransformerEncoderLayer(4, 2, 8), 2),
    "TransformerDecoder": (nn.TransformerDecoderLayer(4, 2, 8), 2),
    "TransformerEncoderLayer": (4, 2, 8), "TransformerDecoderLayer": (4, 2, 8),
    "Sequential": (nn.Linear(2, 2), nn.ReLU()),
}  # fmt: skip


BASES = {"Module", "RNNBase", "RNNCellBase"}  # not layers themselves


def classes():
    for name in nn.__all__:
        value = getattr(nn, name)
        if inspect.isclass(value) and issubclass(value, nn.Module) and name not in BASES:
            yield name


def make(name):
    cls = getattr(nn, name)
    if name in ARGUMENTS:
        return cls(*ARGUMENTS[name])
    numbers = (2, 4, 3) if name.startswith("Conv") else (4,)
    for arguments in ((), numbers, (2,), (2, 2), (2, 2, 2), (4, 2)):
        try:
            return cls(*arguments)
        except TypeError:
            continue
    raise AssertionError(f"{name} needs a row in ARGUMENTS")


def again(model):
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    return kernelmill.load(file)


@pytest.mark.parametrize("name", [*classes()])
def test_every_layer(name):
    layer = make(name).eval()
    other = again(layer)
    assert type(other) is type(layer)
    assert repr(other) == repr(layer)
    assert [m.training for m in other.modules()] == [m.training for m in layer.modules()]
    state, loaded = layer.state_dict(), other.state_dict()
    assert [*state] == [*loaded]
    for key, tensor in state.items():
        np.testing.assert_array_equal(loaded[key].data, tensor.data)
        assert loaded[key].dtype == tensor.dtype


def test_ties_frozen_parameters_and_results():
    """pytorch/pytorch#188346: what is shared stays shared."""
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6))
    model[1].weight = model[0].weight
    model[2].bias.requires_grad_(False)
    other = again(model)
    assert other[1].weight is other[0].weight
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert not other[2].bias.requires_grad
    model.eval(), other.eval()
    x = nn.Tensor([1, 5])
    np.testing.assert_array_equal(model(x).data, other(x).data)
    optimizer = nn.optim.SGD(other.parameters(), 0.1)
    other.train()(x).sum().backward()
    optimizer.step()
    assert other[1].weight is other[0].weight


def test_code_is_refused():
    model = nn.Linear(2, 2)
    model.register_forward_hook(lambda *args: None)
    with pytest.raises(TypeError, match="Linear must have no hooks"):
        again(model)
    plain = nn.Linear(2, 2)
    plain.function = len
    with pytest.raises(TypeError, match=r"got builtins\.builtin_function_or_method 'len'"):
        again(plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [("kernelmill.nn.Linear", "kernelmill.cluster.KMeans"), ("kernelmill.nn.Linear", "os.system"),
     ('"in_features"', '"forward"'), ('"in_features"', '"_parameters"'),
     ('"weight", 0', '"weight", 9'), ('"weight", 0', '"weight", null')],
)  # fmt: skip
def test_hostile_files_are_refused(old, new):
    encoder = Encoder()
    text = json.dumps(encoder.encode(nn.Linear(2, 2, bias=False), "x"))
    assert old in text
    changed = text.replace(old, new)
    decoder = Decoder(encoder.tensors)
    if new.endswith("null"):
        assert decoder.decode(json.loads(changed)).weight is None
        return
    with pytest.raises((ValueError, LookupError, AttributeError, TypeError)):
        decoder.decode(json.loads(changed))
