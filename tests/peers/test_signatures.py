"""Arguments of layers, functions and optimisers are those of torch, by name, place and default.

What differs is written down here, each with its reason; docs/from-torch.md tells users.
"""

from __future__ import annotations

import inspect
from types import ModuleType

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional

# Deprecated by torch itself, which warns: `reduction` says all, `device` is where the data lie.
DEPRECATED = {"size_average", "reduce", "min_value", "max_value", "recurrent", "verbose"}
# Of torch's machinery: where tensors are made, what it compiles, its private arguments.
MACHINERY = {"device", "out", "_stacklevel", "_weight", "_freeze", "num_chunks"}
# Loading in threads needs no pinned memory and no processes; `**torch` takes these.
LOADING = {
    "in_order", "multiprocessing_context", "persistent_workers", "pin_memory",
    "pin_memory_device", "timeout", "worker_init_fn",
}  # fmt: skip
# Of optimisers: choices among torch's implementations, which `**torch` takes.
CHOICES = {"capturable", "differentiable", "foreach", "fused"}
# Defaults that are objects of the library; and a parameter without data, which is of no use.
SAME = {"activation", "generator", "data"}


def places(parameters):
    """Names that may be given by place, up to the first that torch has for itself."""
    names = []
    for name, p in parameters.items():
        if p.kind is not p.POSITIONAL_OR_KEYWORD or name in DEPRECATED | MACHINERY:
            break
        names.append(name)
    return names


def differences(theirs, ours):
    """What a call written for torch would find changed."""
    try:
        wanted = inspect.signature(theirs).parameters
    except ValueError:  # written in C++
        return []
    given = inspect.signature(ours).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in given.values())
    found = []
    for name, p in wanted.items():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or name in DEPRECATED | MACHINERY:
            continue
        if name not in given:
            if not (takes_any and name in LOADING | CHOICES):
                found.append(f"lacks {name}")
        elif p.default != given[name].default and p.default is not p.empty and name not in SAME:
            found.append(f"{name} is {given[name].default!r} by default, not {p.default!r}")
    order = [name for name in places(wanted) if name in given]
    if [name for name in given if name in order] != order:
        found.append(f"order must be {order}")
    return found


def pairs():
    """Names that both have."""
    homes: list[tuple[str, ModuleType, object]] = [
        ("nn", torch.nn, nn), ("F", TF, F), ("init", torch.nn.init, nn.init),
        ("optim", torch.optim, nn.optim), ("utils", torch.nn.utils, nn.utils),
        ("schedule", torch.optim.lr_scheduler, nn.optim.lr_scheduler),
        ("swa", torch.optim.swa_utils, nn.optim.swa_utils),
        ("rnn", torch.nn.utils.rnn, nn.utils.rnn), ("data", torch.utils.data, nn.data),
    ]  # fmt: skip
    for home, theirs, ours in homes:
        for name in sorted(set(dir(theirs))):
            its = getattr(theirs, name)
            if name.startswith("_") or isinstance(its, ModuleType) or not callable(its):
                continue
            own = inspect.getmodule(its)
            if own is not None and not own.__name__.startswith("torch"):
                continue
            try:
                yield f"{home}.{name}", its, getattr(ours, name)
            except AttributeError:
                continue


def test_arguments_are_those_of_torch():
    found, count = {}, 0
    for name, theirs, ours in pairs():
        count += 1
        if changed := differences(theirs, ours):
            found[name] = changed
    assert count > 300
    assert found == {}


def test_a_changed_argument_is_found():
    def theirs(input, size=None, mode="a", device=None, p=2): ...

    def other_place(input, mode="a", size=None, p=2): ...

    def other_default(input, size=None, mode="b", p=2.0): ...

    def missing(input, size=None, mode="a"): ...

    assert differences(theirs, other_place) == ["order must be ['input', 'size', 'mode']"]
    assert differences(theirs, other_default) == ["mode is 'b' by default, not 'a'"]
    assert differences(theirs, missing) == ["lacks p"]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def both(ours, theirs, *arrays):
    """Values and gradients of one function of arrays."""
    xs = [nn.Tensor(a, True) for a in arrays]
    ys = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*xs), theirs(*ys)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    weight = drawn(*y.shape, seed=9)
    (y * weight).sum().backward()
    (z * torch.tensor(weight)).sum().backward()
    for a, b in zip(xs, ys, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", [
    {"mode": "bicubic"}, {"mode": "bicubic", "align_corners": True}, {"mode": "area"},
    {"mode": "nearest-exact"}, {"mode": "nearest"}, {"mode": "bilinear"},
    {"mode": "bilinear", "align_corners": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [
    {"size": (7, 4)}, {"size": (1, 11)}, {"scale_factor": 1.7}, {"scale_factor": (0.6, 2.3)},
    {"scale_factor": 1.7, "recompute_scale_factor": True},
], ids=str)  # fmt: skip
def test_resizing(options, size):
    x = drawn(2, 3, 5, 6)
    both(lambda a: F.interpolate(a, **size, **options),
         lambda a: TF.interpolate(a, **size, **options), x)  # fmt: skip


def test_resizing_refuses_what_it_lacks():
    x = nn.zeros(1, 1, 4, 4)
    with pytest.raises(NotImplementedError, match="antialias must be False"):
        F.interpolate(x, 2, mode="bilinear", antialias=True)
    with pytest.raises(ValueError, match="align_corners must be None"):
        F.interpolate(x, 2, align_corners=False)
    with pytest.raises(ValueError, match="mode must be one of nearest, nearest-exact, area"):
        F.interpolate(x[0], 2, mode="bicubic")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_losses(name, reduction):
    x, y, w = drawn(4, 3), drawn(4, 3, seed=1), np.abs(drawn(4, 3, seed=2))
    both(lambda a: getattr(F, name)(a, y, reduction=reduction, weight=w),
         lambda a: getattr(TF, name)(a, torch.tensor(y), reduction=reduction,
                                     weight=torch.tensor(w)), x)  # fmt: skip


@pytest.mark.parametrize("make", [
    lambda m: m.BatchNorm1d(4, bias=False), lambda m: m.GroupNorm(2, 4, bias=False),
    lambda m: m.InstanceNorm1d(4, affine=True, bias=False),
    lambda m: m.MaxPool1d(3, 2, 1, 1, False, True),
])  # fmt: skip
def test_layers_of_these_arguments(make):
    ours, theirs = make(nn), make(torch.nn).double()
    ours.double()
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    both(ours, theirs, drawn(3, 4, 6))


def test_spectral_norm_finds_the_outputs():
    for make in (lambda m: m.ConvTranspose1d(2, 3, 4), lambda m: m.Conv1d(2, 3, 4)):
        shapes = [m.utils.spectral_norm(make(m)).weight_u.shape for m in (nn, torch.nn)]
        assert tuple(shapes[0]) == tuple(shapes[1])


def test_optimisers_take_the_choices_of_torch():
    p = nn.Parameter([1.0])
    nn.optim.Adam([p], foreach=False, fused=None, differentiable=False)
    with pytest.raises(NotImplementedError, match="differentiable must be False"):
        nn.optim.Adam([p], differentiable=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        nn.optim.Adam([p], other=1)
