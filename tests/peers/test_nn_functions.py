"""Functions under torch's names, called the same way in both libraries: values and gradients."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kernelmill import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
spec = importlib.util.spec_from_file_location("torch_beside", Path(__file__).parent / "test_nn.py")
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
shared.ROUNDED["digamma"] = 100.0  # torch's polygamma has nine digits (gradcheck passes for ours)
S, M = (4, 5), (3, 3)
INDEX = np.array([[0, 2, 1], [3, 0, 1]])

# name: (call of either library's functions, shapes, kind)
SMOOTH = {
    "erfc": (lambda o, x: o.erfc(x), [S], ""),
    "erfinv": (lambda o, x: o.erfinv(x), [S], "unit"),
    "lgamma": (lambda o, x: o.lgamma(x), [S], "positive"),
    "digamma": (lambda o, x: o.digamma(x), [S], "positive"),
    "polygamma": (lambda o, x: o.polygamma(2, x), [S], "positive"),
    "sinc": (lambda o, x: o.sinc(x), [S], ""),
    "logit": (lambda o, x: o.logit(x), [S], "unit"),
    "logit eps": (lambda o, x: o.logit(x, 0.3), [S], "unit"),
    "xlogy": (lambda o, x, y: o.xlogy(x, y), [S, S], "positive"),
    "logaddexp": (lambda o, x, y: o.logaddexp(x, y), [S, S], ""),
    "logaddexp2": (lambda o, x, y: o.logaddexp2(x, y), [S, S], ""),
    "addcmul": (lambda o, x, y, z: o.addcmul(x, y, z, value=0.3), [S, S, S], ""),
    "addcdiv": (lambda o, x, y, z: o.addcdiv(x, y, z, value=0.3), [S, S, S], "positive"),
    "lerp": (lambda o, x, y: o.lerp(x, y, 0.3), [S, S], ""),
    "lerp far": (lambda o, x, y: o.lerp(x, y, 0.8), [S, S], ""),
    "lerp tensor": (lambda o, x, y, w: o.lerp(x, y, w), [S, S, S], "unit"),
    "fmod": (lambda o, x: o.fmod(x, 0.7), [S], ""),
    "fmod tensor": (lambda o, x, y: o.fmod(x, y), [S, S], "positive"),
    "frac": (lambda o, x: o.frac(x), [S], ""),
    "ldexp": (lambda o, x, y: o.ldexp(x, y), [S, S], ""),
    "rsub": (lambda o, x, y: o.rsub(x, y, alpha=0.5), [S, S], ""),
    "deg2rad": (lambda o, x: o.deg2rad(x), [S], ""),
    "rad2deg": (lambda o, x: o.rad2deg(x), [S], ""),
    "clamp_min": (lambda o, x: o.clamp_min(x, 0.2), [S], ""),
    "clamp_max": (lambda o, x: o.clamp_max(x, 0.2), [S], ""),
    "fmax": (lambda o, x, y: o.fmax(x, y), [S, S], ""),
    "fmin": (lambda o, x, y: o.fmin(x, y), [S, S], ""),
    "copysign": (lambda o, x: o.copysign(x, o.tensor(-1.0)), [S], ""),
    "hstack": (lambda o, x, y: o.hstack((x, y)) ** 2, [S, (4, 2)], ""),
    "hstack vectors": (lambda o, x, y: o.hstack((x, y)) ** 2, [(3,), (2,)], ""),
    "vstack": (lambda o, x, y: o.vstack((x, y)) ** 2, [S, (5,)], ""),
    "dstack": (lambda o, x, y: o.dstack((x, y)) ** 2, [S, S], ""),
    "column_stack": (lambda o, x, y: o.column_stack((x, y)) ** 2, [(4,), (4, 2)], ""),
    "block_diag": (lambda o, x, y: o.block_diag(x, y) ** 2, [(2, 3), (4,)], ""),
    "tensor_split": (lambda o, x: o.tensor_split(x, 3, 1)[1] ** 2, [S], ""),
    "tensor_split places": (lambda o, x: o.tensor_split(x, (1, 3), 1)[2] ** 2, [S], ""),
    "hsplit": (lambda o, x: o.hsplit(x, [2])[0] ** 2, [S], ""),
    "fliplr": (lambda o, x: o.fliplr(x)[:, 0] ** 2, [S], ""),
    "flipud": (lambda o, x: o.flipud(x)[0] ** 2, [S], ""),
    **{f"rot90 {k}": (lambda o, x, k=k: o.rot90(x, k, (0, 1)) ** 2, [S], "") for k in range(-1, 4)},
    "diag_embed": (lambda o, x: o.diag_embed(x, 1) ** 2, [S], ""),
    "diag_embed axes": (lambda o, x: o.diag_embed(x, -1, 0, 2) ** 2, [S], ""),
    "diagflat": (lambda o, x: o.diagflat(x, -2) ** 2, [(2, 2)], ""),
    "unfold": (lambda o, x: x.unfold(0, 3, 1) ** 2, [S], ""),
    "take": (lambda o, x: o.take(x, o.tensor([0, 19, 0])) ** 2, [S], ""),
    "take_along_dim": (lambda o, x: o.take_along_dim(x, o.tensor(INDEX), 0) ** 2, [(4, 3)], ""),
    "scatter": (
        lambda o, x, y: o.scatter(x, 0, o.tensor(INDEX[:, :2]), y) ** 2, [(4, 5), (2, 2)], ""
    ),
    "scatter number": (lambda o, x: o.scatter(x, 0, o.tensor(INDEX), 2.0) ** 2, [(4, 5)], ""),
    "index_copy": (
        lambda o, x, y: o.index_copy(x, 1, o.tensor([3, 0]), y) ** 2, [S, (4, 2)], ""
    ),
    "index_fill": (lambda o, x: o.index_fill(x, 1, o.tensor([3, 0]), 2.0) ** 2, [S], ""),
    "index_put": (
        lambda o, x, y: o.index_put(x, (o.tensor([0, 2]), o.tensor([1, 1])), y) ** 2, [S, (2,)], ""
    ),
    "index_put added": (
        lambda o, x, y: o.index_put(x, (o.tensor([2, 2]),), y, True) ** 2, [S, (5,)], ""
    ),
    "masked_scatter": (
        lambda o, x, y: o.masked_scatter(x, o.tensor(np.arange(20).reshape(S) % 3 == 0), y) ** 2,
        [S, (9,)], "",
    ),
    "cartesian_prod": (lambda o, x, y: o.cartesian_prod(x, y) ** 2, [(3,), (2,)], ""),
    "combinations": (lambda o, x: o.combinations(x, 3) ** 2, [(5,)], ""),
    "meshgrid": (lambda o, x, y: o.meshgrid(x, y, indexing="xy")[0] ** 2, [(3,), (2,)], ""),
    "std_mean": (lambda o, x: o.std_mean(x, 1)[0], [S], ""),
    "var_mean": (lambda o, x: o.var_mean(x, 0)[1] ** 2, [S], ""),
    "aminmax": (lambda o, x: o.aminmax(x, dim=1).max ** 2, [S], ""),
    "kthvalue": (lambda o, x: o.kthvalue(x, 2, 1)[0] ** 2, [S], ""),
    "median": (lambda o, x: o.median(x) ** 2, [S], ""),
    "median axis": (lambda o, x: o.median(x, 1)[0] ** 2, [S], ""),
    "nanmedian": (lambda o, x: o.nanmedian(x, 0)[0] ** 2, [S], ""),
    "msort": (lambda o, x: o.msort(x) ** 2, [S], ""),
    "quantile": (lambda o, x: o.quantile(x, 0.3) ** 2, [S], ""),
    **{
        f"quantile {kind}": (
            lambda o, x, kind=kind: o.quantile(
                x, o.tensor(np.array([0.1, 0.6])), 1, keepdim=True, interpolation=kind
            ) ** 2, [S], "",
        )
        for kind in ("linear", "lower", "higher", "midpoint", "nearest")
    },
    "nanquantile": (lambda o, x: o.nanquantile(x, 0.4, 0) ** 2, [S], ""),
    "nansum": (lambda o, x: o.nansum(x, 1) ** 2, [S], ""),
    "nanmean": (lambda o, x: o.nanmean(x, 1) ** 2, [S], ""),
    "cummax": (lambda o, x: o.cummax(x, 1)[0] ** 2, [S], ""),
    "cummin": (lambda o, x: o.cummin(x, 0)[0] ** 2, [S], ""),
    "logcumsumexp": (lambda o, x: o.logcumsumexp(x, 1), [S], ""),
    "diff": (lambda o, x: o.diff(x, 2, 0) ** 2, [S], ""),
    "diff joined": (lambda o, x, y: o.diff(x, 1, 1, prepend=y) ** 2, [S, (4, 1)], ""),
    "trapezoid": (lambda o, y: o.trapezoid(y, dx=0.5, dim=0) ** 2, [S], ""),
    "trapezoid points": (lambda o, y, x: o.trapezoid(y, x) ** 2, [S, (5,)], ""),
    "cumulative_trapezoid": (lambda o, y: o.cumulative_trapezoid(y, dim=1) ** 2, [S], ""),
    "cov": (lambda o, x: o.cov(x), [S], ""),
    "cov weighted": (
        lambda o, x: o.cov(
            x, fweights=o.tensor(np.array([1, 2, 1, 3, 1])),
            aweights=o.tensor(np.array([1.0, 0.5, 2, 1, 1])),
        ),
        [S], "",
    ),
    "corrcoef": (lambda o, x: o.corrcoef(x), [S], ""),
    "dist": (lambda o, x, y: o.dist(x, y, 3), [S, S], ""),
    "renorm": (lambda o, x: o.renorm(x, 2, 0, 1.5), [S], ""),
    "addmm": (lambda o, x, a, b: o.addmm(x, a, b, beta=0.5, alpha=2), [(2,), (3, 4), (4, 2)], ""),
    "addmv": (lambda o, x, a, b: o.addmv(x, a, b), [(3,), (3, 4), (4,)], ""),
    "addr": (lambda o, x, a, b: o.addr(x, a, b, alpha=2), [(3, 4), (3,), (4,)], ""),
    "baddbmm": (lambda o, x, a, b: o.baddbmm(x, a, b), [(2, 3, 2), (2, 3, 4), (2, 4, 2)], ""),
    "addbmm": (lambda o, x, a, b: o.addbmm(x, a, b), [(3, 2), (2, 3, 4), (2, 4, 2)], ""),
    "inner": (lambda o, a, b: o.inner(a, b), [(2, 3, 4), (5, 4)], ""),
    "vdot": (lambda o, a, b: o.vdot(a, b), [(4,), (4,)], ""),
    "tensordot": (lambda o, a, b: o.tensordot(a, b, 2), [(2, 3, 4), (3, 4, 5)], ""),
    "tensordot axes": (
        lambda o, a, b: o.tensordot(a, b, dims=([0, 2], [1, 0])), [(2, 3, 4), (4, 2)], ""
    ),
    "kron": (lambda o, a, b: o.kron(a, b), [(2, 3), (2,)], ""),
    "cross": (lambda o, a, b: o.cross(a, b, dim=1), [(4, 3), (4, 3)], ""),
    "matrix_power": (lambda o, x: o.matrix_power(x, 3), [M], ""),
    "matrix_exp": (lambda o, x: o.matrix_exp(x), [(2, 3, 3)], ""),
    "pinverse": (lambda o, x: o.pinverse(x), [(4, 2)], ""),
    "logdet": (lambda o, x: o.logdet(x @ x.T), [M], ""),
    "det": (lambda o, x: o.det(x), [M], ""),
    "linalg.multi_dot": (
        lambda o, a, b, c: o.linalg.multi_dot([a, b, c]), [(4,), (4, 3), (3,)], ""
    ),
    "linalg.vecdot": (lambda o, a, b: o.linalg.vecdot(a, b), [S, S], ""),
    "linalg.vector_norm": (lambda o, a: o.linalg.vector_norm(a, 3, dim=1), [S], ""),
    "linalg.solve_triangular": (
        lambda o, a, b: o.linalg.solve_triangular(a, b, upper=True), [M, (3, 2)], "positive"
    ),
    "linalg.solve_triangular, right": (
        lambda o, a, b: o.linalg.solve_triangular(a, b, upper=False, left=False), [M, (2, 3)],
        "positive",
    ),
    "linalg.solve_triangular, ones": (
        lambda o, a, b: o.linalg.solve_triangular(a, b, upper=True, unitriangular=True),
        [M, (3, 2)], "positive",
    ),
    "matrix_power, inverse": (lambda o, x: o.matrix_power(x @ x.T, -2), [M], "positive"),
    "logaddexp of equals": (lambda o, x: o.logaddexp(x, x.detach()), [S], ""),
    "linalg.pinv": (lambda o, x: o.linalg.pinv(x), [(2, 4)], ""),
    "linalg.lstsq": (lambda o, a, b: o.linalg.lstsq(a, b)[0], [(5, 3), (5, 2)], ""),
    "linalg.matrix_norm": (lambda o, x: o.linalg.matrix_norm(x, 1), [(2, 3, 4)], ""),
    "softmax": (lambda o, x: x.softmax(1), [S], ""),
    "alpha": (lambda o, x, y: x.add(y, alpha=0.5).sub(y, alpha=2), [S, S], ""),
    "movedim": (lambda o, x: o.moveaxis(x, 0, 2) ** 2, [(2, 3, 4)], ""),
}  # fmt: skip
# First derivatives only.
ONCE = {
    "cdist": (lambda o, x, y: o.cdist(x, y), [(2, 4, 3), (2, 5, 3)], ""),
    "cdist 1": (lambda o, x, y: o.cdist(x, y, 1.0), [(4, 3), (5, 3)], ""),
    "qr": (lambda o, x: o.linalg.qr(x)[0], [(4, 3)], ""),
    "qr, R": (lambda o, x: o.linalg.qr(x)[1], [(4, 3)], ""),
    "qr, wide": (lambda o, x: o.linalg.qr(x)[1], [(2, 4)], ""),
    "svdvals": (lambda o, x: o.linalg.svdvals(x), [(4, 3)], ""),
    "svd": (lambda o, x: abs(o.linalg.svd(x, full_matrices=False)[0]), [(4, 3)], ""),
    "svd, V": (lambda o, x: abs(o.linalg.svd(x, full_matrices=False)[2]), [(3, 4)], ""),
    "matrix_norm nuc": (lambda o, x: o.linalg.matrix_norm(x, "nuc"), [(2, 3, 4)], ""),
    "matrix_norm 2": (lambda o, x: o.linalg.matrix_norm(x, 2), [(3, 4)], ""),
    **{
        f"matrix_norm {ord}": (lambda o, x, p=ord: o.linalg.matrix_norm(x, p), [(2, 3, 4)], "")
        for ord in (-1, -2, np.inf, -np.inf)
    },
    "cond -2": (lambda o, x: o.linalg.cond(x, -2), [M], ""),
    "svd, old": (lambda o, x: abs(o.svd(x)[2]), [(4, 3)], ""),
    "svd, square": (lambda o, x: abs(o.svd(x.detach(), some=False)[2]) * x.sum(), [(2, 3)], ""),
    "qr, square": (
        lambda o, x: o.linalg.qr(x.detach(), mode="complete")[0] * x.sum(), [(4, 3)], ""
    ),
    "cond": (lambda o, x: o.linalg.cond(x), [M], ""),
    "eigvalsh": (lambda o, x: o.linalg.eigvalsh(x @ x.T), [M], ""),
    **{
        f"scatter_reduce {kind}": (
            lambda o, x, y, kind=kind: o.scatter_reduce(
                x, 0, o.tensor(INDEX), y, kind, include_self=True
            ),
            [(4, 3), (2, 3)], "",
        )
        for kind in ("sum", "prod", "mean", "amax", "amin")
    },
    "scatter_reduce, others only": (
        lambda o, x, y: o.scatter_reduce(x, 0, o.tensor(INDEX), y, "amax", include_self=False),
        [(4, 3), (2, 3)], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_gradients_equal_torch(name):
    call, shapes, kind = SMOOTH[name]
    shared.compare(name, lambda *x: call(nn, *x), lambda *x: call(torch, *x), shapes, kind)


@pytest.mark.parametrize("name", ONCE)
def test_values_and_first_gradients_equal_torch(name):
    call, shapes, kind = ONCE[name]
    shared.compare(name, lambda *x: call(nn, *x), lambda *x: call(torch, *x), shapes, kind,
                   second=False)  # fmt: skip


def same(ours, theirs, name):
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), name
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, name)
    elif isinstance(theirs, torch.Tensor):
        ours = np.asarray(ours.data)
        np.testing.assert_array_equal(ours, theirs.numpy(), err_msg=name)
        assert ours.dtype.kind == theirs.numpy().dtype.kind, name
    else:
        assert ours == theirs, name


NAN, INF = float("nan"), float("inf")
X = np.array([[1.0, NAN, -2.0, INF], [0.0, -0.0, -INF, 5.5], [1.0, 1.0, 3.0, 0.5]])
K = np.array([[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8]])
B = K > 4
EXACT = {
    "isclose": lambda o: o.isclose(o.tensor(X), o.tensor(X + 1e-9), equal_nan=True),
    "allclose": lambda o: o.allclose(o.tensor(X), o.tensor(X)),
    "equal": lambda o: (o.equal(o.tensor(K), o.tensor(K)), o.equal(o.tensor(X), o.tensor(X))),
    "isin": lambda o: o.isin(o.tensor(K), o.tensor([1, 5])),
    "isneginf": lambda o: (o.isneginf(o.tensor(X)), o.isposinf(o.tensor(X)),
                           o.isreal(o.tensor(X)), o.signbit(o.tensor(X))),
    "logical": lambda o: (o.logical_not(o.tensor(K)), o.logical_xor(o.tensor(B), o.tensor(K))),
    "bits": lambda o: [
        getattr(o, f)(o.tensor(K), o.tensor(K[::-1].copy()))
        for f in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm", "bitwise_left_shift")
    ],
    "bitwise_not": lambda o: (o.bitwise_not(o.tensor(K)), o.bitwise_not(o.tensor(B))),
    "nan_to_num": lambda o: o.nan_to_num(o.tensor(X), nan=2.0, posinf=9.0),
    "sign": lambda o: (o.sgn(o.tensor(K)), o.positive(o.tensor(K)), o.fmod(o.tensor(-K), 4),
                       o.floor_divide(o.tensor(-K), 4)),
    "heaviside": lambda o: o.heaviside(o.tensor(X[1:]), o.tensor(0.5, dtype=o.tensor(X).dtype)),
    "atleast": lambda o: (o.atleast_1d(o.tensor(3)), o.atleast_2d(o.tensor([3, 4])),
                          o.atleast_3d(o.tensor(K)), o.atleast_1d(o.tensor(1), o.tensor([2]))),
    "broadcast": lambda o: (
        tuple(o.broadcast_shapes((3, 1), (4,))), o.broadcast_to(o.tensor([1, 2]), (3, 2)),
        o.broadcast_tensors(o.tensor([[1], [2]]), o.tensor([3, 4])),
    ),
    "nonzero": lambda o: (o.nonzero(o.tensor(K - 5)), o.argwhere(o.tensor(B)),
                          o.nonzero(o.tensor(B), as_tuple=True), o.nonzero(o.tensor(3)),
                          o.nonzero(o.tensor(0)), o.nonzero(o.tensor(3), as_tuple=True)),
    "triangles": lambda o: (o.tril_indices(3, 4, -1), o.triu_indices(3, 4, 1)),
    "unique": lambda o: o.unique(o.tensor(K), return_inverse=True, return_counts=True),
    "unique rows": lambda o: o.unique(o.tensor(K % 2), dim=0),
    "unique_consecutive": lambda o: o.unique_consecutive(
        o.tensor([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True
    ),
    "unique_consecutive, rows": lambda o: o.unique_consecutive(o.tensor(K // 6), dim=0),
    "searchsorted": lambda o: (
        o.searchsorted(o.tensor(np.sort(K)), o.tensor(K)),
        o.searchsorted(o.tensor([1, 3, 5]), o.tensor(K), right=True),
        o.bucketize(o.tensor(K), o.tensor([2, 5])),
    ),
    "bincount": lambda o: (
        o.bincount(o.tensor(K.ravel()), minlength=12),
        o.bincount(o.tensor([0, 2, 2]), o.tensor([0.5, 1.0, 2.0])),
    ),
    "histc": lambda o: (o.histc(o.tensor(K.astype(float)), 4, 2, 6),
                        o.histc(o.tensor(K.astype(float)), 3), o.histc(o.tensor([2.0, 2.0]), 4)),
    "count_nonzero": lambda o: (o.count_nonzero(o.tensor(K - 5)),
                                o.count_nonzero(o.tensor(K - 5), 1)),
    "vander": lambda o: (o.vander(o.tensor([1, 2, 3]), 4),
                         o.linalg.vander(o.tensor([1.0, 2.0]), N=3)),
    "mode": lambda o: tuple(o.mode(o.tensor(K), 1)),
    "median of NaN": lambda o: (*o.median(o.tensor(X), 1), *o.nanmedian(o.tensor(X), 1),
                                o.median(o.tensor(X)), o.nanmedian(o.tensor(X))),
    "quantile of NaN": lambda o: (o.quantile(o.tensor(X[::2, :3]), 0.5, 1),
                                  o.nanquantile(o.tensor(X[::2, :3]), 0.5, 1),
                                  o.nanmean(o.tensor(X[::2, :3]), 1), o.nansum(o.tensor(X[0, :3]))),
    "cummax": lambda o: (*o.cummax(o.tensor(K), 1), *o.cummin(o.tensor(K), 0)),
    "cummax of NaN": lambda o: tuple(o.cummax(o.tensor(X), 1)),
    "diff of bool": lambda o: o.diff(o.tensor(B), dim=1),
    "xlogy at 0": lambda o: o.xlogy(o.tensor([0.0, 0.0, 1.0]), o.tensor([0.0, NAN, 0.0])),
    "logaddexp of infinity": lambda o: o.logaddexp(o.tensor([-INF, INF, -INF]),
                                                   o.tensor([-INF, INF, 1.0])),
    "creation": lambda o: (
        o.full_like(o.tensor(K), 7), o.scalar_tensor(2.5), o.asarray([1, 2]),
        tuple(o.empty_like(o.tensor(K)).shape), tuple(o.empty(2, 3).shape),
    ),
    "questions": lambda o: (
        o.numel(o.tensor(K)), o.is_tensor(3), o.is_floating_point(o.tensor(X)),
        o.is_nonzero(o.tensor(2)), o.tensor(K).element_size(), o.tensor(X).stride(),
        o.tensor(X).is_contiguous(), o.tensor(X).T.is_contiguous(), o.tensor(X).nelement(),
    ),
    "addmm without its input": lambda o: o.addmm(
        o.tensor([NAN, INF]), o.tensor([[1.0, 2.0]]), o.tensor([[1.0, 2.0], [3.0, 4.0]]), beta=0
    ),
    "logdet": lambda o: [
        o.logdet(o.tensor(np.diag([a, 1.0]))) for a in (-1.0, 0.0, 1.0)
    ],
    "cond": lambda o: [o.linalg.cond(o.tensor([[2.0, 1.0], [0.0, 4.0]]), p) for p in (1, np.inf)],
    "least singular value of a rank": lambda o: (
        o.linalg.matrix_rank(o.tensor(np.diag([1.0, 1e-12]))),
        o.linalg.matrix_rank(o.tensor(np.diag([1.0] * 20 + [1e-15]))),
    ),
    "matrix_rank": lambda o: o.linalg.matrix_rank(o.tensor(np.outer([1.0, 2, 3], [1.0, 1, 0]))),
    "split_with_sizes": lambda o: tuple(o.split_with_sizes(o.tensor(K), [1, 3], 1)),
    "scatter last wins": lambda o: o.scatter(o.tensor(K), 0, o.tensor([[0, 2, 1, 1]]),
                                             o.tensor([[10, 20, 30, 40]])),
    "whole numbers": lambda o: (
        o.tensor(-K).sign(), o.tensor(K).square(), o.tensor(K - 5).relu(), o.tensor(K).floor(),
        o.tensor(K).maximum(o.tensor(5)), o.tensor(K).amax(1), o.tensor(K).amin(),
        o.tensor(K).max(),
    ),
    "in place": lambda o: (
        o.tensor(X).clamp_(0, 1), o.tensor(K).masked_fill_(o.tensor(B), 0),
        o.tensor(K).index_add_(1, o.tensor([0, 0]), o.tensor(K[:, :2].copy())),
        o.tensor(K).scatter_(0, o.tensor([[0, 2, 1, 1]]), 7), o.tensor(K).add_(1, alpha=2),
        o.tensor(X[2]).copy_(o.tensor(X[0])).nan_to_num_(0.0, 1.0, 2.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_results_without_gradients_equal_torch(name):
    same(EXACT[name](nn), EXACT[name](torch), name)


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
@pytest.mark.parametrize("rank", [2, 3])
def test_what_least_squares_say_equals_torch(rng, shape, rank):
    """Residuals stand only where there are more rows than columns, which are independent."""
    a = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    b = rng.normal(size=(shape[0], 2))
    ours = nn.linalg.lstsq(a, b)
    theirs = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver="gelsd")
    names = ("solution", "residuals", "rank", "singular_values")
    for x, y, name in zip(ours, theirs, names, strict=True):
        shared.close(x, y, name)


@pytest.mark.parametrize("name", ["absolute", "arccos", "divide", "greater", "swapaxes", "moveaxis",
                                  "trapz", "row_stack", "ger"])  # fmt: skip
def test_alias_names_are_the_functions(name):
    from kernelmill.nn._torch_names import ALIASES

    other = ALIASES[name]
    assert getattr(nn, name) is getattr(nn, other)
    if hasattr(torch.Tensor, name):
        assert getattr(nn.Tensor, name) is getattr(nn.Tensor, other)
