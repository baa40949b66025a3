"""Random tensors: reproducible, of the right distribution, independent of each other."""

import pickle

import numpy as np
import pytest

from kernelmill import nn


def test_draws_depend_on_seed_and_count_alone():
    nn.manual_seed(3)
    a, b = nn.rand(5), nn.rand(5)
    nn.manual_seed(3)
    assert nn.rand(5).tolist() == a.tolist()
    assert a.tolist() != b.tolist()
    g = nn.Generator(3)
    state = g.get_state()
    first = nn.randn(4, generator=g).tolist()
    assert nn.randn(4, generator=g).tolist() != first
    again = pickle.loads(pickle.dumps(g)).set_state(state)
    assert nn.randn(4, generator=again).tolist() == first
    assert g.fork().initial_seed() != g.fork().initial_seed()
    with pytest.raises(TypeError, match="seed must be an integer"):
        nn.Generator("a")


def test_distributions():
    nn.manual_seed(0)
    n = 20000
    assert abs(nn.rand(n).mean().item() - 0.5) < 0.01
    z = nn.randn(n, dtype=np.float64)
    assert abs(z.mean().item()) < 0.03
    assert abs(z.std().item() - 1) < 0.02
    assert np.bincount(nn.randint(0, 4, (n,)).numpy()).min() > 4700
    assert abs(nn.bernoulli(nn.full((n,), 0.3)).mean().item() - 0.3) < 0.02
    w = nn.Tensor([[1.0, 0.0, 3.0]])
    drawn = nn.multinomial(w, n, replacement=True)
    assert abs((drawn == 2).float().mean().item() - 0.75) < 0.02
    assert (drawn != 1).all()
    rows = nn.multinomial(nn.ones(500, 4), 4)
    assert (rows.sort(1).values == nn.arange(4)).all()
    for bad in (nn.Tensor([-1.0, 2.0]), nn.Tensor([0.0, 0.0])):
        with pytest.raises(RuntimeError, match="finite and not negative"):
            nn.multinomial(bad, 1)
    with pytest.raises(RuntimeError, match="3 positive weights"):
        nn.multinomial(w, 3)
    assert sorted(nn.randperm(50).tolist()) == list(range(50))
