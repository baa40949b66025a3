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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_drawn_in_place_have_their_distribution(dtype):
    n = 10_000
    x = nn.zeros(n, dtype=dtype)
    # Five standard errors of a mean.
    for draw, mean, deviation in (
        (lambda: x.uniform_(2.0, 5.0, generator=nn.Generator(0)), 3.5, 3 / 12**0.5),
        (lambda: x.normal_(3.0, 0.5, generator=nn.Generator(1)), 3.0, 0.5),
        (lambda: x.bernoulli_(0.3, generator=nn.Generator(2)), 0.3, 0.21**0.5),
        (lambda: x.exponential_(2.0, generator=nn.Generator(3)), 0.5, 0.5),
    ):
        assert draw() is x
        assert x.dtype == dtype
        assert abs(x.data.mean() - mean) < 5 * deviation / n**0.5
        assert x.data.std() == pytest.approx(deviation, rel=0.1)
    x.uniform_(2.0, 5.0, generator=nn.Generator(4))
    assert 2.0 <= x.data.min() <= x.data.max() < 5.0


def test_integers_drawn_in_place_stay_below_the_limit():
    nn.manual_seed(0)
    x = nn.zeros(1000)
    for limits, expected in (((3, 7), [3, 4, 5, 6]), ((3,), [0, 1, 2]), ((-2, 0), [-2, -1])):
        assert np.unique(x.random_(*limits).data).tolist() == expected
    for dtype, limit in ((np.float16, 2**11), (np.float32, 2**24), (np.float64, 2**53),
                         (np.int8, 127), (np.int64, 127)):  # fmt: skip
        drawn = nn.zeros(1000, dtype=dtype).random_().data
        assert drawn.dtype == dtype
        assert 0 <= drawn.min() <= 0.1 * limit
        assert 0.9 * limit <= drawn.max() < limit
    with pytest.raises(RuntimeError, match="high must be above low, got 5 and 5"):
        x.random_(5, 5)
