"""Loss scaling beside torch's, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from kernelmill import nn

OPTIONS = {"init_scale": 8.0, "growth_interval": 2, "growth_factor": 4.0, "backoff_factor": 0.25}


@pytest.mark.parametrize("unscale", [False, True])
def test_scales_and_skips_as_torch_does(unscale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    start = rng.normal(size=5)
    w, v = nn.Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    ours, theirs = nn.amp.GradScaler(**OPTIONS), torch.amp.GradScaler("cpu", **OPTIONS)
    optimizers = nn.optim.Adam([w], lr=0.1), torch.optim.Adam([v], lr=0.1)
    for step in range(12):
        x = rng.normal(size=5)
        if step in (3, 7, 8):
            x[step % 5] = np.inf if step == 3 else np.nan
        losses = (w * nn.Tensor(x)).sum() ** 2, (v * torch.tensor(x)).sum() ** 2
        for scaler, optimizer, loss in zip((ours, theirs), optimizers, losses, strict=True):
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        np.testing.assert_allclose(np.asarray(w.data), v.detach().numpy(), rtol=1e-12)
        assert ours.get_scale() == theirs.get_scale()
        assert ours.state_dict() == theirs.state_dict()
        if unscale:
            np.testing.assert_allclose(np.asarray(w.grad.data), v.grad.numpy(), rtol=1e-12)


def test_order_of_calls_and_saved_states():
    w = nn.Parameter([2.0])
    optimizer, scaler = nn.optim.SGD([w], lr=0.5), nn.amp.GradScaler(init_scale=4.0)
    with pytest.raises(RuntimeError, match=r"update: step\(\) or unscale_\(\) must come first"):
        scaler.update()
    with pytest.raises(ValueError, match="must have gradients"):
        scaler.step(optimizer)
    one, two = scaler.scale((w.sum(), (w * w).sum()))
    assert (one.item(), two.item()) == (8.0, 16.0)
    one.backward()
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [1.0]
    with pytest.raises(RuntimeError, match="between two calls"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert w.tolist() == [1.5]
    with pytest.raises(RuntimeError, match="between two steps"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="closure must be None"):
        scaler.step(optimizer, lambda: None)
    scaler.update(32.0)
    other = nn.amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 32.0
    with pytest.raises(RuntimeError, match="must not be empty"):
        other.load_state_dict({})


def test_disabled_it_does_nothing():
    w = nn.Parameter([2.0])
    optimizer, scaler = nn.optim.SGD([w], lr=0.5), nn.amp.GradScaler(enabled=False)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [1.5]
    assert scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    assert not scaler.is_enabled()


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="growth_factor must be above 1, got 1"):
        nn.amp.GradScaler(growth_factor=1.0)
    with pytest.raises(ValueError, match=r"backoff_factor must lie in \(0, 1\), got 1"):
        nn.amp.GradScaler(backoff_factor=1.0)
    w = nn.Parameter(np.ones(2, np.float16))
    w.sum().backward()
    with pytest.raises(ValueError, match="gradients must not be float16"):
        nn.amp.GradScaler().step(nn.optim.SGD([w]))
