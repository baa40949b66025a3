"""Initial values: moments, bounds, structure."""

import math

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import init


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("xavier_uniform_", math.sqrt(2 / 700)), ("xavier_normal_", math.sqrt(2 / 700)),
        ("kaiming_uniform_", math.sqrt(2 / 300)), ("kaiming_normal_", math.sqrt(2 / 300)),
        ("lecun_uniform_", math.sqrt(1 / 300)), ("lecun_normal_", math.sqrt(1 / 300)),
        ("uniform_", math.sqrt(1 / 12)), ("normal_", 1.0),
    ],
)  # fmt: skip
def test_deviations(name, std):
    w = nn.zeros(400, 300)
    assert getattr(init, name)(w, generator=nn.Generator(1)) is w
    assert w.std().item() == pytest.approx(std, rel=0.02)


def test_convolution_fans_and_modes():
    w = nn.zeros(8, 4, 3, 3)
    assert init.fans(w) == (36, 72)
    init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")
    assert w.std().item() == pytest.approx(math.sqrt(2 / 72), rel=0.15)
    with pytest.raises(ValueError, match="fan_in or fan_out"):
        init.kaiming_normal_(w, mode="x")
    with pytest.raises(ValueError, match="at least 2 axes"):
        init.xavier_uniform_(nn.zeros(3))


def test_structures():
    for shape in [(5, 3), (3, 5), (4, 2, 2)]:
        w = init.orthogonal_(nn.zeros(*shape, dtype=np.float64), gain=2.0)
        m = w.data.reshape(shape[0], -1)
        small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    w = init.trunc_normal_(nn.zeros(10000), std=2.0, a=-1, b=3)
    assert w.data.min() >= -1
    assert w.data.max() <= 3
    assert init.eye_(nn.zeros(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    x = init.dirac_(nn.zeros(2, 2, 3))
    assert x.data.sum() == 2
    assert x[0, 0, 1].item() == x[1, 1, 1].item() == 1
    s = init.sparse_(nn.zeros(10, 4), 0.3)
    assert ((s == 0).sum(0) == 3).all()
    assert init.constant_(nn.zeros(2), 7).tolist() == [7, 7]
    for name, gain in {"linear": 1, "conv2d": 1, "tanh": 5 / 3, "selu": 0.75}.items():
        assert init.calculate_gain(name) == gain
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(ValueError, match="nonlinearity must be"):
        init.calculate_gain("nothing")
