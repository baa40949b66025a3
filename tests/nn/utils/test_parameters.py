"""Clipping, vectors of parameters, reparametrised weights, regularisers."""

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import utils


def params(*values):
    made = [nn.Tensor(np.asarray(v, dtype=np.float64), True) for v in values]
    for p in made:
        p.grad = nn.Tensor(p.data.copy())
    return made


def test_clipping():
    p = params([3.0], [4.0])
    assert utils.clip_grad_norm_(p, 1.0).item() == 5.0
    assert [q.grad.item() for q in p] == pytest.approx([0.6, 0.8], rel=1e-6)
    p = params([0.3], [0.4])
    utils.clip_grad_norm_(p, 1.0)
    assert [q.grad.item() for q in p] == [0.3, 0.4]
    p = params([1.0, -3.0])
    assert utils.clip_grad_norm_(p[0], 1.0, norm_type=np.inf).item() == 3.0
    p = params([1.0, -3.0])
    utils.clip_grad_value_(p, 2.0)
    assert p[0].grad.tolist() == [1.0, -2.0]
    assert utils.clip_grad_norm_([nn.Tensor([1.0], True)], 1.0).item() == 0.0


def test_vectors():
    layer = nn.Linear(2, 3)
    v = utils.parameters_to_vector(layer.parameters())
    utils.vector_to_parameters(v * 2, layer.parameters())
    np.testing.assert_allclose(utils.parameters_to_vector(layer.parameters()).data, 2 * v.data)
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        utils.vector_to_parameters(nn.zeros(8), layer.parameters())


def test_weight_norm_and_spectral_norm():
    layer = nn.Linear(4, 3, dtype=np.float64)
    x = np.ones((2, 4))
    want = layer(x).data
    utils.weight_norm(layer)
    np.testing.assert_allclose(layer(x).data, want)
    layer(x).sum().backward()
    assert layer.weight_g.grad.shape == (3, 1)
    assert layer.weight_v.grad.shape == (3, 4)
    utils.remove_weight_norm(layer)
    np.testing.assert_allclose(layer(x).data, want)
    assert sorted(n for n, _ in layer.named_parameters()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="must have weight norm"):
        utils.remove_weight_norm(layer)
    utils.spectral_norm(layer)
    for _ in range(50):
        layer(x)
    assert np.linalg.norm(layer.weight.data, 2) == pytest.approx(1.0, rel=1e-6)
    layer(x).sum().backward()
    assert layer.weight_orig.grad is not None


def test_regularisers():
    p = params([1.0, -2.0], [2.0])
    assert utils.l1_penalty(p).item() == 5.0
    assert utils.l2_penalty(p).item() == 4.5
    w = nn.Tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    utils.max_norm_(w, 1.0)
    np.testing.assert_allclose(w.data, [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)
