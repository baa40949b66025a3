"""Samples at places of a grid: torch, differences, and what lies outside."""

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F

torch = pytest.importorskip("torch")
CASES = [
    (axes, mode, padding, corners)
    for axes, mode, padding, corners in itertools.product(
        (2, 3), ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"),
        (True, False),
    )
    if axes == 2 or mode != "bicubic"
]  # fmt: skip


@pytest.mark.parametrize(("axes", "mode", "padding", "corners"), CASES)
def test_samples_and_gradients_equal_torch(axes, mode, padding, corners):
    rng = np.random.default_rng(0)
    for sizes, out in (((3, 4, 5)[:axes], (4, 2, 3)[:axes]), ((1,) * axes, (2, 1, 1)[:axes])):
        x = rng.standard_normal((2, 3, *sizes)).transpose(1, 0, *range(2, axes + 2)).copy()
        x = x.transpose(1, 0, *range(2, axes + 2))  # not contiguous
        grid = rng.uniform(-2.7, 2.7, (2, *out, axes))
        grid[0].flat[:4] = -1, 1, 1, 0  # ends and middles
        mine = [nn.Tensor(v, requires_grad=True) for v in (x, grid)]
        theirs = [torch.tensor(v, requires_grad=True) for v in (x, grid)]
        y = F.grid_sample(*mine, mode, padding, corners)
        z = torch.nn.functional.grid_sample(*theirs, mode, padding, corners)
        g = rng.standard_normal(y.shape)
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-12)
        y.backward(nn.Tensor(g))
        z.backward(torch.tensor(g))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_equal_differences_twice(mode):
    rng = np.random.default_rng(1)
    x = nn.Tensor(rng.standard_normal((1, 2, 3, 3)), requires_grad=True)
    grid = nn.Tensor(rng.uniform(-1.3, 1.3, (1, 2, 2, 2)), requires_grad=True)
    assert nn.gradcheck(lambda x, g: F.grid_sample(x, g, mode), (x, grid))
    assert nn.gradgradcheck(lambda x, g: F.grid_sample(x, g, mode), (x, grid))


@pytest.mark.parametrize("size", [(2, 1, 3, 4), (1, 2, 2, 4, 3)])
@pytest.mark.parametrize("corners", [True, False])
def test_affine_grids_equal_torch(size, corners):
    axes = len(size) - 2
    theta = np.random.default_rng(2).standard_normal((size[0], axes, axes + 1))
    mine, theirs = nn.Tensor(theta, requires_grad=True), torch.tensor(theta, requires_grad=True)
    y = F.affine_grid(mine, size, corners)
    z = torch.nn.functional.affine_grid(theirs, size, corners)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-14)
    (y**2).sum().backward()
    (z**2).sum().backward()
    np.testing.assert_allclose(mine.grad.data, theirs.grad.numpy(), rtol=1e-12)


def test_the_identity_gives_the_image_and_float32_stays():
    x = nn.randn(2, 3, 4, 5)
    theta = nn.tensor([[[1.0, 0, 0], [0, 1, 0]]] * 2)
    y = F.grid_sample(x, F.affine_grid(theta, x.shape))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, x.data, atol=1e-5)


def test_places_far_away_and_of_nan():
    x = nn.ones(1, 1, 2, 2)
    x.data[0, 0, 0, 0] = np.inf  # what no place reads does not matter
    grid = nn.tensor([[[[1e30, 0.0], [np.nan, 0.5], [0.5, 0.5]]]])
    y = F.grid_sample(x, grid)[0, 0, 0].data
    np.testing.assert_array_equal(y, [0, np.nan, 1])
    assert F.grid_sample(nn.ones(0, 1, 2, 2), nn.ones(0, 3, 3, 2)).shape == (0, 1, 3, 3)
    infinite = nn.tensor([[[[np.inf, 0.0]]]])
    for mode in ("bilinear", "nearest", "bicubic"):  # without a warning
        y = F.grid_sample(nn.ones(1, 1, 2, 2), infinite, mode, "reflection")
        assert np.isnan(y.data).all()


def test_what_does_not_fit_is_refused():
    x, grid = nn.ones(1, 1, 2, 2), nn.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match="mode must be one of bilinear"):
        F.grid_sample(x, grid, "linear")
    with pytest.raises(ValueError, match="padding_mode must be one of zeros"):
        F.grid_sample(x, grid, padding_mode="wrap")
    with pytest.raises(ValueError, match="mode must be one of bilinear, nearest for 3 axes"):
        F.grid_sample(nn.ones(1, 1, 2, 2, 2), nn.zeros(1, 2, 2, 2, 3), "bicubic")
    with pytest.raises(ValueError, match="with as many axes"):
        F.grid_sample(x, nn.zeros(1, 2, 2, 3))
    with pytest.raises(ValueError, match="theta must have shape"):
        F.affine_grid(nn.ones(1, 2, 2), (1, 1, 2, 2))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "area"])
def test_images_without_pixels_are_refused(mode):
    for given in ({"size": 0}, {"scale_factor": 1e-9}):
        with pytest.raises(ValueError, match=r"sizes must be at least 1, got \(0, 0\) for"):
            F.interpolate(nn.ones(1, 1, 4, 4), mode=mode, **given)
