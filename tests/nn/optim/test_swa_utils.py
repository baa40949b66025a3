"""Averages of weights: their arithmetic, buffers, and what torch does with the same numbers."""

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.optim import swa_utils


def network(library, **options):
    return library.Sequential(
        library.Linear(3, 4, **options), library.BatchNorm1d(4, **options), library.Linear(4, 2)
    )


def test_the_mean_and_the_moving_average():
    model = nn.Linear(2, 1, bias=False)
    mean = swa_utils.AveragedModel(model)
    moving = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.75))
    values = [np.float32([[i, -2.0 * i]]) for i in (1, 2, 6)]
    for value in values:
        with nn.no_grad():
            model.weight.copy_(value)
        mean.update_parameters(model)
        moving.update_parameters(model)
    np.testing.assert_allclose(mean.module.weight.data, np.mean(values, 0), rtol=1e-6)
    want = 0.75 * (0.75 * values[0] + 0.25 * values[1]) + 0.25 * values[2]
    np.testing.assert_allclose(moving.module.weight.data, want, rtol=1e-6)
    assert list(mean.state_dict()) == ["n_averaged", "module.weight"]
    again = swa_utils.AveragedModel(nn.Linear(2, 1, bias=False))
    again.load_state_dict(mean.state_dict())
    assert again.n_averaged.item() == 3
    np.testing.assert_array_equal(again(np.ones((1, 2), np.float32)).data,
                                  mean(np.ones((1, 2), np.float32)).data)  # fmt: skip


def test_a_graph_from_before_an_update_raises():
    model = nn.Linear(2, 1)
    average = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    loss = average(nn.ones(1, 2, requires_grad=True)).sum()
    average.update_parameters(model)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_errors():
    model = nn.Linear(2, 1)
    with pytest.raises(AssertionError, match="avg_fn or multi_avg_fn must be given, not both"):
        swa_utils.AveragedModel(model, None, min, min)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 1.5"):
        swa_utils.get_ema_avg_fn(1.5)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy must be one of 'cos' or 'linear'"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="anneal_epochs must not be negative, got -1"):
        swa_utils.SWALR(optimizer, 0.1, -1)


# --- beside torch ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


FUNCTIONS = [
    {}, {"multi_avg_fn": "get_ema_multi_avg_fn"}, {"avg_fn": "get_ema_avg_fn"},
    {"avg_fn": "get_swa_avg_fn"}, {"multi_avg_fn": "get_swa_multi_avg_fn"},
]  # fmt: skip


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("functions", FUNCTIONS, ids=str)
def test_averages_equal_torchs(torch, functions, use_buffers):
    if use_buffers and "get_swa_multi_avg_fn" in functions.values():
        pytest.skip("torch's function cannot average the integer buffer")
    theirs = network(torch.nn)
    ours = network(nn)
    ours.load_state_dict(theirs.state_dict())

    def averaged(module, model):
        given = {}
        for argument, name in functions.items():
            arguments = (0.8,) if "ema" in name else ()
            given[argument] = getattr(module, name)(*arguments)
        return module.AveragedModel(model, use_buffers=use_buffers, **given)

    a = averaged(swa_utils, ours)
    b = averaged(torch.optim.swa_utils, theirs)
    rng = np.random.default_rng(0)
    for _ in range(4):
        with nn.no_grad(), torch.no_grad():
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                value = rng.normal(size=p.shape).astype(np.float32)
                p.copy_(value)
                q.copy_(torch.tensor(value))
        x = rng.normal(size=(5, 3)).astype(np.float32) + 1
        ours(x), theirs(torch.tensor(x))
        a.update_parameters(ours)
        b.update_parameters(theirs)
    state, want = a.state_dict(), b.state_dict()
    assert list(state) == list(want)
    for name, value in state.items():
        np.testing.assert_allclose(value.numpy(), want[name].numpy(), rtol=2e-5, atol=1e-6)
    batches = [rng.normal(size=(6, 3)).astype(np.float32) for _ in range(3)]
    a.eval()
    b.eval()
    swa_utils.update_bn([(x, 0) for x in batches], a)
    torch.optim.swa_utils.update_bn([(torch.tensor(x), 0) for x in batches], b)
    assert not a.training
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(
            value.numpy(), b.state_dict()[name].numpy(), rtol=2e-5, atol=1e-6
        )
    assert a.module[1].momentum == 0.1


@pytest.mark.parametrize(
    ("epochs", "strategy"), [*itertools.product((0, 1, 4), ("cos", "linear"))]
)
def test_rates_equal_torchs(torch, epochs, strategy):
    ours = nn.optim.SGD([{"params": [nn.ones(1, requires_grad=True)], "lr": lr} for lr in (1, 0.5)])
    theirs = torch.optim.SGD([{"params": [torch.ones(1)], "lr": lr} for lr in (1.0, 0.5)])
    pairs = ((ours, swa_utils), (theirs, torch.optim.swa_utils))
    a, b = (u.SWALR(optimizer, [0.05, 0.2], epochs, strategy) for optimizer, u in pairs)
    for _ in range(7):
        for group, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert group["lr"] == pytest.approx(other["lr"], rel=1e-12)
        ours.step(), theirs.step(), a.step(), b.step()
    saved = a.state_dict()
    again = swa_utils.SWALR(ours, [0.05, 0.2], epochs, strategy)
    again.load_state_dict(saved)
    assert again.last_epoch == a.last_epoch
