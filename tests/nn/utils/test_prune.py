"""Pruning beside torch's: masks, names of the state, several prunings, copies, gradients."""

import copy
import pickle

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.utils import prune


def pair():
    """One network on both sides."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.Flatten(), torch.nn.Linear(24, 5)
    ).double()
    ours = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(24, 5)).double()
    rng = np.random.default_rng(0)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        p.data[...] = rng.normal(size=p.shape)
        q.data.copy_(torch.tensor(p.data))
    from torch.nn.utils import prune as torch_prune

    return ours, theirs, torch_prune, torch


def assert_same(ours, theirs, torch):
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for name, value in mine.items():
        np.testing.assert_array_equal(value.numpy(), other[name].numpy(), err_msg=name)
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4))
    y, z = ours(nn.Tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-12)
    ours.zero_grad()
    theirs.zero_grad()
    y.sum().backward()
    z.sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-12,
                                   err_msg=name)  # fmt: skip


CASES = {
    "l1": [("l1_unstructured", 0, "weight", {"amount": 0.3})],
    "l1 count": [("l1_unstructured", 2, "bias", {"amount": 2})],
    "l1 twice": [("l1_unstructured", 0, "weight", {"amount": 0.5})] * 3,
    "structured": [("ln_structured", 0, "weight", {"amount": 2, "n": 2, "dim": 0})],
    "structured, last axis": [("ln_structured", 2, "weight", {"amount": 0.4, "n": 1, "dim": -1})],
    "structured, largest": [
        ("ln_structured", 0, "weight", {"amount": 3, "n": float("inf"), "dim": 1})
    ],
    "structured twice": [("ln_structured", 0, "weight", {"amount": 0.5, "n": 2, "dim": 0})] * 2,
    "mixed": [
        ("ln_structured", 2, "weight", {"amount": 1, "n": 2, "dim": 0}),
        ("l1_unstructured", 2, "weight", {"amount": 0.25}),
        ("identity", 0, "weight", {}),
    ],
    "nothing": [("l1_unstructured", 0, "weight", {"amount": 0})],
    "all": [("l1_unstructured", 2, "weight", {"amount": 1.0})],
}


@pytest.mark.parametrize("name", CASES)
def test_masks_and_states_equal_torch(name):
    ours, theirs, torch_prune, torch = pair()
    for function, layer, parameter, options in CASES[name]:
        assert getattr(prune, function)(ours[layer], parameter, **options) is ours[layer]
        getattr(torch_prune, function)(theirs[layer], parameter, **options)
    assert_same(ours, theirs, torch)
    assert prune.is_pruned(ours)
    for _, layer, parameter, _ in CASES[name][:1]:
        prune.remove(ours[layer], parameter)
        torch_prune.remove(theirs[layer], parameter)
    assert_same(ours, theirs, torch)


def test_custom_masks_scores_and_global_pruning_equal_torch():
    ours, theirs, torch_prune, torch = pair()
    mask = np.random.default_rng(2).choice([0.0, 1.0], (5, 24))
    prune.custom_from_mask(ours[2], "weight", mask)
    torch_prune.custom_from_mask(theirs[2], "weight", torch.tensor(mask))
    scores = np.random.default_rng(3).normal(size=(6, 3, 3, 3))
    prune.l1_unstructured(ours[0], "weight", 10, scores)
    torch_prune.l1_unstructured(theirs[0], "weight", 10, torch.tensor(scores))
    assert_same(ours, theirs, torch)
    names = [(0, "weight"), (0, "bias"), (2, "weight")]
    importance = np.random.default_rng(4).normal(size=(6,))
    prune.global_unstructured(
        [(ours[i], n) for i, n in names], prune.L1Unstructured,
        {(ours[0], "bias"): importance}, amount=0.4,
    )  # fmt: skip
    torch_prune.global_unstructured(
        [(theirs[i], n) for i, n in names], torch_prune.L1Unstructured,
        {(theirs[0], "bias"): torch.tensor(importance)}, amount=0.4,
    )  # fmt: skip
    assert_same(ours, theirs, torch)


def test_random_masks_have_the_amount():
    nn.manual_seed(0)
    layer = nn.Linear(8, 10)
    prune.random_unstructured(layer, "weight", 0.25)
    assert layer.weight_mask.sum().item() == 60
    prune.random_unstructured(layer, "weight", 10)
    assert layer.weight_mask.sum().item() == 50
    prune.random_structured(layer, "weight", 3, dim=0)
    assert (layer.weight_mask.data.sum(1) == 0).sum() >= 3
    first = prune.random_unstructured(nn.Linear(8, 10), "weight", 0.5).weight_mask
    other = prune.random_unstructured(nn.Linear(8, 10), "weight", 0.5).weight_mask
    assert (first.data != other.data).any()


def test_masked_weights_stay_zero_in_training_copies_and_files(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    prune.l1_unstructured(model[0], "weight", 0.5)
    zero = model[0].weight.data == 0
    optimizer = nn.optim.Adam(model.parameters(), lr=0.1)
    for seed in range(3):
        optimizer.zero_grad()
        (model(nn.randn(5, 4, generator=nn.Generator(seed))) ** 2).mean().backward()
        assert not model[0].weight_orig.grad.data[zero].any()
        optimizer.step()
    x = nn.ones(1, 4)
    want = model(x).tolist()
    assert (model[0].weight.data == 0).sum() == zero.sum() == 16
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).tolist() == want
        assert prune.is_pruned(other)
        assert list(other.state_dict()) == list(model.state_dict())
        other[0].weight_orig.data[...] = 0
        assert other(x).tolist() != want
        assert model(x).tolist() == want
    nn.save_file(model.state_dict(), tmp_path / "pruned.safetensors")
    again = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    prune.identity(again[0], "weight")
    again.load_state_dict(nn.load_file(tmp_path / "pruned.safetensors"))
    assert again(x).tolist() == want
    prune.remove(again[0], "weight")
    assert not prune.is_pruned(again)
    assert isinstance(again[0].weight, nn.Parameter)
    assert again(x).tolist() == want


def test_a_method_alone_and_one_of_ones_own():
    t = nn.Tensor([[3.0, -1.0], [0.5, 2.0]])
    assert prune.L1Unstructured(2).prune(t).tolist() == [[3.0, -0.0], [0.0, 2.0]]
    equal = nn.Tensor([[1.0, -1.0], [1.0, 1.0]])  # of equal ones the first
    assert prune.L1Unstructured(2).prune(equal).tolist() == [[0.0, -0.0], [1.0, 1.0]]
    assert prune.LnStructured(1, n=2, dim=1).prune(equal).tolist() == [[0.0, -1.0], [0.0, 1.0]]
    assert prune.LnStructured(1, n=2, dim=0).prune(t).tolist() == [[3.0, -1.0], [0.0, 0.0]]

    class Every(prune.BasePruningMethod):
        """Masks every other element."""

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.data.reshape(-1)[::2] = 0
            return mask

    layer = nn.Linear(2, 3)
    Every.apply(layer, "weight")
    assert layer.weight_mask.tolist() == [[0, 1]] * 3
    with pytest.raises(NotImplementedError, match="compute_mask must be written"):
        prune.BasePruningMethod().compute_mask(t, t)


def test_what_does_not_fit_is_refused_and_changes_nothing():
    layer = nn.Linear(4, 3)
    for call, error, message in (
        (lambda: prune.l1_unstructured(layer, "nothing", 1), ValueError, "parameter 'nothing'"),
        (lambda: prune.l1_unstructured(layer, "weight", 13), ValueError, "from 0 to 12, got 13"),
        (lambda: prune.l1_unstructured(layer, "weight", -1), ValueError, "got -1"),
        (lambda: prune.l1_unstructured(layer, "weight", 1.5), ValueError, "share from 0.0 to 1.0"),
        (lambda: prune.l1_unstructured(layer, "weight", 1, np.ones(3)), ValueError, "have shape"),
        (lambda: prune.ln_structured(layer, "bias", 1, 2, 0), ValueError, "2 axes or more"),
        (lambda: prune.ln_structured(layer, "weight", 1, 2, 5), IndexError, "one of 2 axes"),
        (lambda: prune.custom_from_mask(layer, "weight", np.ones(2)), ValueError, "mask must have"),
        (lambda: prune.remove(layer, "weight"), ValueError, "must be pruned"),
        (
            lambda: prune.global_unstructured([(layer, "weight")], prune.LnStructured, amount=1,
                                              n=2),
            TypeError, "must be unstructured, got structured",
        ),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()
        assert list(layer.state_dict()) == ["weight", "bias"]
        assert not layer._forward_pre_hooks
