"""Kernels: their values and gradients beside scikit-learn's and central differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.gaussian_process.kernels as theirs
from sklearn.base import clone

from kernelmill.gaussian_process import kernels as ours

MAKE = {
    "RBF": lambda m: m.RBF(1.3),
    "RBF, ARD": lambda m: m.RBF([1.0, 2.0, 0.5]),
    "Matern 1/2": lambda m: m.Matern(1.2, nu=0.5),
    "Matern 3/2, ARD": lambda m: m.Matern([1.0, 2.0, 0.5], nu=1.5),
    "Matern 5/2": lambda m: m.Matern(0.7, nu=2.5),
    "Matern 0.8": lambda m: m.Matern(0.7, nu=0.8),
    "Matern 1": lambda m: m.Matern(0.7, nu=1.0),
    "Matern 3.3": lambda m: m.Matern(0.7, nu=3.3),
    "Matern inf": lambda m: m.Matern([1.0, 2.0, 3.0], nu=math.inf),
    "RationalQuadratic": lambda m: m.RationalQuadratic(1.3, 0.4),
    "ExpSineSquared": lambda m: m.ExpSineSquared(1.3, 2.0),
    "DotProduct": lambda m: m.DotProduct(0.8),
    "Constant": lambda m: m.ConstantKernel(2.0),
    "White": lambda m: m.WhiteKernel(0.3),
    "Pairwise": lambda m: m.PairwiseKernel(0.5, metric="rbf"),
    "fixed": lambda m: m.RationalQuadratic(1.3, 0.4, alpha_bounds="fixed"),
    "sum": lambda m: 2.0 * m.RBF(2.0) + m.WhiteKernel(0.1),
    "product": lambda m: m.RBF(1.0) * m.RationalQuadratic(2.0, 0.3) + m.DotProduct(1.0) ** 2,
    "power": lambda m: (m.RBF(1.0) + m.ConstantKernel(0.5)) ** 2,
}
H = 1e-5
# Central differences with this step: h^2 of the third derivative, and eps / h.
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def rows(n, seed=0, d=3):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("name", MAKE)
def test_values_are_scikit_learns(name):
    X, Y, kernel, peer = rows(12), rows(5, 1), MAKE[name](ours), MAKE[name](theirs)
    np.testing.assert_allclose(kernel.theta, peer.theta, rtol=1e-15)
    np.testing.assert_allclose(kernel.bounds, peer.bounds, rtol=1e-15)
    np.testing.assert_allclose(kernel(X), peer(X), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(kernel(X, Y), peer(X, Y), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(kernel.diag(X), peer.diag(X), rtol=1e-13)
    assert kernel.is_stationary() == peer.is_stationary()
    assert clone(kernel) == kernel


@pytest.mark.parametrize("name", MAKE)
def test_gradients_are_central_differences(name):
    X, Y, kernel = rows(12), rows(5, 1), MAKE[name](ours)
    X[1] = X[0]  # distance 0 between rows
    gradient = kernel(X, eval_gradient=True)[1]
    steps = H * np.eye(kernel.n_dims)
    if kernel.n_dims:
        moved = [
            kernel.clone_with_theta(kernel.theta + h)(X)
            - kernel.clone_with_theta(kernel.theta - h)(X)
            for h in steps
        ]
        np.testing.assert_allclose(gradient, np.stack(moved, -1) / (2 * H), **CLOSE)
    # What fits use: sums of them, over rows, over the diagonal, and by the rows themselves.
    rng = np.random.default_rng(2)
    A, B, a = rng.normal(size=(12, 12)), rng.normal(size=(12, 5)), rng.normal(size=12)
    pulled = kernel._pull(X, X, True, kernel._forward(X, X, True)[1], A)
    np.testing.assert_allclose(pulled, np.einsum("ij,ijp->p", A, gradient), rtol=1e-11, atol=1e-12)
    saved, vectors = kernel._forward(X, X, True)[1], rng.normal(size=(2, 12, 2))
    for W in (None, A):
        D = gradient if W is None else gradient * W[:, :, None]
        left, right = kernel._products(X, X, True, saved, W, *vectors)
        np.testing.assert_allclose(left, np.einsum("ijp,jt->pit", D, vectors[0]), atol=1e-11)
        np.testing.assert_allclose(right, np.einsum("ijp,it->pjt", D, vectors[1]), atol=1e-11)
    own = np.einsum("i,iip->p", a, gradient)
    np.testing.assert_allclose(kernel._pull_diag(X, a), own, rtol=1e-11, atol=1e-10)
    found = kernel._pull_rows(X, Y, kernel._forward(X, Y, False)[1], B)
    diagonal = kernel._pull_diag_rows(X, a)
    for p in range(3):
        step = H * np.eye(3)[p]
        change = ((kernel(X + step, Y) - kernel(X - step, Y)) * B).sum(1) / (2 * H)
        np.testing.assert_allclose(found[:, p], change, rtol=1e-7, atol=1e-7)
        change = a * (kernel.diag(X + step) - kernel.diag(X - step)) / (2 * H)
        np.testing.assert_allclose(diagonal[:, p], change, rtol=1e-7, atol=1e-7)


def test_gradients_are_in_logarithms():
    X = [[1.0, 2], [3, 4], [5, 6]]
    K, gradient = ours.RBF(2.0)(X, eval_gradient=True)
    np.testing.assert_allclose(K[0, 1:], [math.exp(-1), math.exp(-4)])
    assert gradient[0, 1, 0] == pytest.approx(0.735759, abs=1e-6)
    assert gradient[0, 2, 0] == pytest.approx(0.146525, abs=1e-6)
    gradient = (2.0 * ours.RBF(2.0))(X, eval_gradient=True)[1]
    np.testing.assert_allclose(gradient[0, :, 0], [2, 0.735759, 0.036631], atol=1e-6)
    np.testing.assert_allclose(gradient[0, :, 1], [0, 1.471518, 0.293050], atol=1e-6)


def test_blocks_are_sums():
    """`contract` visits blocks on and above the diagonal; K is larger than one."""
    from kernelmill.gaussian_process._factor import contract, covariances

    X, kernel = rows(600), 1.5 * ours.RBF([1.0, 2.0, 0.5]) + ours.WhiteKernel(0.2)
    A = np.random.default_rng(3).normal(size=(600, 600))
    A += A.T
    a = np.random.default_rng(4).normal(size=(600, 2))
    found, products = contract(kernel, X, lambda r, c: A[r, c].copy(), a)
    K, gradient = kernel(X, eval_gradient=True)
    np.testing.assert_allclose(found, np.einsum("ij,ijp->p", A, gradient), rtol=1e-11)
    np.testing.assert_allclose(products, np.einsum("ijp,jt->pit", gradient, a), atol=1e-10)
    np.testing.assert_allclose(np.triu(covariances(kernel, X)), np.triu(K), rtol=1e-14)


def test_parameters():
    kernel = 2.0 * ours.RBF(1.0) + ours.WhiteKernel(0.5, "fixed")
    assert kernel.get_params()["k1__k2__length_scale"] == 1.0
    assert kernel.set_params(k1__k2__length_scale=3.0) is kernel
    np.testing.assert_allclose(np.exp(kernel.theta), [2.0, 3.0])
    assert [h.name for h in kernel.hyperparameters] == [
        "k1__k1__constant_value", "k1__k2__length_scale", "k2__noise_level",
    ]  # fmt: skip
    assert kernel != 2.0 * ours.RBF(1.0)
    with pytest.raises(ValueError, match="Sum: parameters must be some of k1, k2, got 'k3'"):
        kernel.set_params(k3=1)
    with pytest.raises(ValueError, match="must have 2 entries, got 3"):
        kernel.theta = np.zeros(3)
    with pytest.raises(ValueError, match="one for each feature, got 2"):
        ours.RBF([1.0, 2.0])(rows(3))
    with pytest.raises(ValueError, match="length_scale must be above 0"):
        ours.RBF(0.0)(rows(3))
    with pytest.raises(TypeError, match=r"scikit-learn's protocol, got builtins\.str without th"):
        ours.RBF(1.0) + "noise"


def test_scikit_learns_kernels_become_ours():
    from kernelmill.gaussian_process.kernels._kernel import as_kernel

    for make in MAKE.values():
        assert as_kernel(make(theirs)) == make(ours)


def test_hyperparameters_are_attributes():
    kernel = ours.Matern([1.0, 2.0], (0.1, 10.0))
    found = kernel.hyperparameter_length_scale
    assert (found.name, found.n_elements, found.fixed) == ("length_scale", 2, False)
    np.testing.assert_array_equal(found.bounds, [[0.1, 10.0]] * 2)
    assert (2.0 * kernel).hyperparameter_k2__length_scale.n_elements == 2
    with pytest.raises(AttributeError, match="'RBF' object has no attribute 'hyperparameter_nu'"):
        ours.RBF().hyperparameter_nu  # noqa: B018


@pytest.mark.parametrize(
    ("kernel", "part"),
    [(ours.RBF("wide"), "='wide'"), (ours.ConstantKernel(None), "=None"),
     (ours.Matern(nu="smooth"), "='smooth'")],
)  # fmt: skip
def test_a_kernel_that_a_fit_refuses_can_be_shown(kernel, part):
    assert part in repr(kernel)
