"""More products, factorisations and functions of matrices, under torch's names."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._arrays import namespace
from ._documents import complete
from ._dtypes import finfo, is_half
from ._elementwise import unified, where
from ._linalg import linalg, matmul, solve
from ._shape import cat, getitem, stack, swap_last
from ._tape import RESULT, Node, Rule, array_of
from ._tensor import Tensor, as_tensor

# --- products -------------------------------------------------------------------------------------


def _mixed(input: Any, product: Any, beta: float, alpha: float) -> Tensor:
    """``beta * input + alpha * product``; nothing of the input for a beta of 0."""
    if alpha != 1:
        product = alpha * product
    if beta == 0:
        return product
    x = as_tensor(input)
    return (x if beta == 1 else beta * x) + product


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    return _mixed(input, as_tensor(mat1) @ mat2, beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    return _mixed(input, as_tensor(mat) @ vec, beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return _mixed(input, as_tensor(vec1).outer(vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2``, of stacks of matrices."""
    return _mixed(input, as_tensor(batch1) @ batch2, beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha *`` the sum of the products of two stacks of matrices."""
    return _mixed(input, (as_tensor(batch1) @ batch2).sum(0), beta, alpha)


def inner(input: Any, other: Any) -> Tensor:
    """Sums of products over the last axes of both."""
    x, y = as_tensor(input), as_tensor(other)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    return tensordot(x, y, ([-1], [-1]))


def vdot(input: Any, other: Any) -> Tensor:
    """The sum of the products of two vectors."""
    return as_tensor(input) @ other


def tensordot(a: Any, b: Any, dims: Any = 2) -> Tensor:
    """Sums of products over axes of both: the last of one and the first of the other, or pairs."""
    a, b = as_tensor(a), as_tensor(b)
    if hasattr(dims, "__index__"):
        n = int(dims)
        left, right = list(range(a.ndim - n, a.ndim)), list(range(n))
    else:
        left, right = ([int(i) % t.ndim for i in np.atleast_1d(d)]
                       for d, t in zip(dims, (a, b), strict=True))  # fmt: skip
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise RuntimeError(
            f"nn.tensordot: the axes of each pair must have one size, got {left} of {a.shape} and "
            f"{right} of {b.shape}"
        )
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    inside = math.prod(a.shape[i] for i in left)
    x = a.permute(*rows, *left).reshape(math.prod(a.shape[i] for i in rows), inside)
    y = b.permute(*right, *columns).reshape(inside, math.prod(b.shape[i] for i in columns))
    shape = (*(a.shape[i] for i in rows), *(b.shape[i] for i in columns))
    return (x @ y).reshape(shape)


def kron(input: Any, other: Any) -> Tensor:
    """The Kronecker product: each element times the whole of the other."""
    x, y = as_tensor(input), as_tensor(other)
    n = max(x.ndim, y.ndim)
    a, b = ((1,) * (n - t.ndim) + tuple(t.shape) for t in (x, y))
    wide = x.reshape([k for size in a for k in (size, 1)])
    inside = y.reshape([k for size in b for k in (1, size)])
    return (wide * inside).reshape([i * j for i, j in zip(a, b, strict=True)])


def cross(input: Any, other: Any, dim: int | None = None) -> Tensor:
    """The vector product along an axis of size 3, the first such axis by default."""
    (x, y), _ = unified((as_tensor(input), as_tensor(other)))
    shape = np.broadcast_shapes(x.shape, y.shape)
    if dim is None:
        dim = next((i for i, n in enumerate(shape) if n == 3), -1)
    x, y = x.expand(shape), y.expand(shape)
    if shape[dim] != 3:
        raise RuntimeError(f"nn.cross: the axis must have size 3, got shape {shape}")
    (a, b, c), (u, v, w) = x.unbind(dim), y.unbind(dim)
    return stack([b * w - c * v, c * u - a * w, a * v - b * u], dim)


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices, in the order that needs the fewest operations."""
    return _multi_dot([as_tensor(m) for m in matrices])


def _multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices; the first and the last may be vectors."""
    given = [as_tensor(t) for t in tensors]
    if len(given) < 2:
        return given[0]
    first, last = given[0].ndim == 1, given[-1].ndim == 1
    if first:
        given[0] = given[0].reshape(1, -1)
    if last:
        given[-1] = given[-1].reshape(-1, 1)
    sizes = [given[0].shape[0], *(m.shape[1] for m in given)]
    n = len(given)
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):  # Cormen et al., "Introduction to algorithms"
        for i in range(n - length):
            j = i + length
            found = [
                cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            cost[i][j] = min(found)
            cut[i][j] = i + found.index(cost[i][j])

    def product(i: int, j: int) -> Any:
        return given[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    made = product(0, n - 1)
    if first:
        made = made.reshape(made.shape[1:])
    return made.reshape(made.shape[:-1]) if last else made


def matrix_power(input: Any, n: int) -> Tensor:
    """A square matrix times itself, n factors; a negative n takes the inverse."""
    x = as_tensor(input)
    if n < 0:
        return matrix_power(linalg.inv(x), -n)
    if n == 0:
        unit = namespace(x.data).eye(x.shape[-1], dtype=x.dtype)
        return Tensor(namespace(x.data).broadcast_to(unit, x.shape).copy())
    made = None
    while n:
        if n & 1:
            made = x if made is None else made @ x
        n >>= 1
        if n:
            x = x @ x
    return made  # type: ignore[return-value]


def matrix_exp(input: Any) -> Tensor:
    """The exponential of square matrices, by squaring a series (Higham 2005)."""
    x = as_tensor(input)._floating()
    n = x.shape[-1]
    size = float(np.abs(x.data).sum(-2).max(initial=0.0)) if x.numel() else 0.0
    if not math.isfinite(size):
        raise RuntimeError("nn.matrix_exp: the matrices must be finite, got infinity or NaN")
    halvings = max(0, math.ceil(math.log2(size / 0.5))) if size > 0.5 else 0
    scaled = x * 2.0**-halvings
    unit = namespace(x.data).eye(n, dtype=x.dtype)
    made: Any = Tensor(namespace(x.data).broadcast_to(unit, x.shape).copy())
    for k in range(14, 0, -1):  # 0.5^15 / 15! is 2e-17
        made = unit + (scaled @ made) * (1.0 / k)
    for _ in range(halvings):
        made = made @ made
    return made


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns, the highest first unless ``increasing``."""
    v = as_tensor(x)
    n = v.shape[0] if N is None else N
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return stack([v**k for k in powers], 1) if n else Tensor(np.zeros((v.shape[0], 0), v.dtype))


# --- factorisations -------------------------------------------------------------------------------


class QR(NamedTuple):
    """Orthonormal columns and an upper triangle."""

    Q: Any
    R: Any


class SVD(NamedTuple):
    """Left singular vectors, singular values, right singular vectors (or their transpose)."""

    U: Any
    S: Any
    V: Any


def _qr_forward(x: Any) -> Any:
    q, r = namespace(x).linalg.qr(x)
    return (q, r), (q, r)


def _lower_twice(m: Any) -> Any:
    """The strict lower triangle and its transpose, with the diagonal once."""
    n = m.shape[-1]
    low = np.tril(np.ones((n, n)), -1)
    part = m * namespace(array_of(m)).asarray(low, dtype=m.dtype)
    on = m * namespace(array_of(m)).eye(n, dtype=m.dtype)
    return part + swap_last(part) + on


def _qr_rule(g: dict[int, Any], q: Any, r: Any) -> Any:
    """Of a matrix with at least as many rows as columns (Walter and Lehmann 2012)."""
    inner = None
    if 1 in g:
        inner = matmul(r, swap_last(g[1]))
    if 0 in g:
        mixed = matmul(swap_last(g[0]), q)
        inner = -mixed if inner is None else inner - mixed
    rest = matmul(q, _lower_twice(inner))
    if 0 in g:
        rest = rest + g[0]
    # rest / R': a triangle, but solved as any matrix.
    return swap_last(solve(r, swap_last(rest)))


def _qr_backward(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    q, r = saved
    return _qr_rule(g, q, r)


def _qr_twice(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    raise NotImplementedError("nn.qr: there must be a second derivative for create_graph=True, got "
                              "a rule without one")  # fmt: skip


_qr: Rule = Rule("qr", _qr_forward, _qr_backward, extras=True, several=True, twice=_qr_twice)


def qr(input: Any, some: bool = True) -> QR:
    """Matrices as orthonormal columns times an upper triangle.

    Gradients need at least as many rows as columns, and columns that are independent.
    """
    x = as_tensor(input)._floating()
    if not some:
        made = namespace(x.data).linalg.qr(x.data, mode="complete")
        return QR(Tensor(made[0]), Tensor(made[1]))
    if x.shape[-2] >= x.shape[-1]:
        return QR(*_qr(x))
    m = x.shape[-2]  # the first columns make Q, and the others are products with it
    q, r = _qr(getitem(x, index=(Ellipsis, slice(0, m))))
    rest = swap_last(q) @ getitem(x, index=(Ellipsis, slice(m, None)))
    return QR(q, cat([r, rest], x.ndim - 1))


def _svd_forward(x: Any) -> Any:
    made = namespace(x).linalg.svd(x, full_matrices=False)
    return tuple(made), tuple(made)


def _svd_backward(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    """Gradients of distinct singular values' vectors; equal ones share no gradient."""
    u, s, vt = saved
    xp = namespace(s)
    gaps = s[..., None, :] ** 2 - s[..., :, None] ** 2
    with np.errstate(divide="ignore"):
        f = xp.where(gaps == 0, 0, 1 / gaps).astype(s.dtype)
        inverse = xp.where(s == 0, 0, 1 / s).astype(s.dtype)
    ut, v = u.swapaxes(-1, -2), vt.swapaxes(-1, -2)
    middle = xp.zeros((*s.shape, s.shape[-1]), s.dtype)
    if 1 in g:
        middle = middle + xp.eye(s.shape[-1], dtype=s.dtype) * g[1][..., None, :]
    outside = 0.0
    if 0 in g:
        j = f * (ut @ g[0])
        middle = middle + (j + j.swapaxes(-1, -2)) * s[..., None, :]
        beyond = g[0] - u @ (ut @ g[0])
        outside = (beyond * inverse[..., None, :]) @ vt
    if 2 in g:
        gv = g[2].swapaxes(-1, -2)
        k = f * (vt @ gv)
        middle = middle + s[..., :, None] * (k + k.swapaxes(-1, -2))
        beyond = gv - v @ (vt @ gv)
        outside = outside + u @ (inverse[..., :, None] * beyond.swapaxes(-1, -2))
    return u @ middle @ vt + outside


def _svd_twice(g: Any, saved: tuple, node: Node) -> Any:
    raise NotImplementedError("nn.svd: there must be a second derivative for create_graph=True, "
                              "got a rule without one")  # fmt: skip


_svd: Rule = Rule("svd", _svd_forward, _svd_backward, extras=True, several=True, twice=_svd_twice)


def svd(input: Any, some: bool = True, compute_uv: bool = True) -> SVD:
    """Singular vectors and values: ``U diag(S) V'``, the largest first.

    Gradients of the vectors need singular values that differ.
    """
    x = as_tensor(input)._floating()
    if is_half(x.dtype):
        return SVD(*(part.to(x.dtype) for part in svd(x.float(), some, compute_uv)))
    if not some:
        u, s, vt = namespace(x.data).linalg.svd(x.data)
        return SVD(Tensor(u), Tensor(s), Tensor(vt).mT)
    u, s, vt = _svd(x)
    return SVD(u, s, vt.mT)


def _pseudoinverse(x: Any, share: float) -> Any:
    return namespace(x).asarray(namespace(x).linalg.pinv(x, share))


def _pseudoinverse_backward(g: Any, saved: tuple, node: Node) -> Any:
    """In products alone (Golub and Pereyra 1973), so equal singular values do no harm."""
    a, p = saved
    pt, gt = swap_last(p), swap_last(g)
    left = matmul(gt, matmul(p, pt))  # G' P P'
    right = matmul(matmul(pt, p), gt)  # P' P G'
    made = -matmul(matmul(pt, g), pt)
    made = made + left - matmul(matmul(a, p), left)
    return made + right - matmul(right, matmul(p, a))


_pinv: Rule = Rule("pinv", _pseudoinverse, _pseudoinverse_backward, {0: (), RESULT: ()})


def _least(x: Tensor, share: float | None) -> float:
    """The share of the largest singular value below which others count as 0."""
    return max(x.shape[-2:]) * float(finfo(x.dtype).eps) if share is None else float(share)


def pinverse(input: Any, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose pseudoinverse; singular values below a share of the largest count as 0."""
    return _pinv(as_tensor(input)._floating(), share=float(rcond))


def inverse(input: Any) -> Tensor:
    """The inverse of square matrices."""
    return linalg.inv(input)


def det(input: Any) -> Tensor:
    """The determinant of square matrices; its gradient is right for singular ones too."""
    return linalg.det(input)


def logdet(input: Any) -> Tensor:
    """The logarithm of the determinant: NaN where it is negative, minus infinity where 0."""
    sign, size = linalg.slogdet(input)
    return where(sign.data < 0, math.nan, size)


def slogdet(input: Any) -> tuple[Tensor, Tensor]:
    """The sign of the determinant and the logarithm of its magnitude."""
    return linalg.slogdet(input)


# --- nn.linalg ------------------------------------------------------------------------------------


class LeastSquares(NamedTuple):
    """The solution, its squared residuals, the rank of the matrix and its singular values."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def _lstsq(A: Any, B: Any, rcond: float | None = None) -> LeastSquares:
    a, b = as_tensor(A)._floating(), as_tensor(B)
    (a, b), _ = unified((a, b))
    rows = b.ndim == a.ndim - 1
    right = b.unsqueeze(-1) if rows else b
    solution = _pinv(a, share=_least(a, rcond)) @ right
    gaps = a @ solution - right
    full = _matrix_rank(a, rtol=rcond)
    fits = a.shape[-2] > a.shape[-1] and bool((full.data == a.shape[-1]).all())
    residuals = (gaps * gaps).sum(-2) if fits else Tensor(np.zeros(0, a.dtype))
    return LeastSquares(solution.squeeze(-1) if rows else solution, residuals, full, _svdvals(a))


def _svdvals(A: Any) -> Tensor:
    return _svd(as_tensor(A)._floating())[1]


def _matrix_rank(A: Any, *, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    a = as_tensor(A).detach()._floating()
    s = _svdvals(a).data
    least = _least(a, rtol) * s.max(-1, keepdims=True, initial=0.0)
    return Tensor(namespace(s).asarray((s > least).sum(-1)))


def _matrix_norm(A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    a = as_tensor(A)._floating()
    rows, columns = (i % a.ndim for i in dim)
    if ord == "fro":
        return a.norm(2, (rows, columns), keepdim)
    if ord in (1, -1, math.inf, -math.inf):
        first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = abs(a).sum(first, keepdim=True)
        made: Any = sums.amax(second, True) if ord > 0 else sums.amin(second, True)
    elif ord in (2, -2, "nuc"):
        s = _svdvals(a.movedim(rows, -1).movedim(columns - (columns > rows), -1))
        value = s.sum(-1) if ord == "nuc" else s[..., 0] if ord == 2 else s[..., -1]
        made = value
        for axis in sorted((rows, columns)):
            made = made.unsqueeze(axis)
    else:
        raise ValueError(
            f"nn.linalg.matrix_norm: ord must be fro, nuc, 1, -1, 2, -2, inf or -inf, got {ord!r}"
        )
    if keepdim:
        return made
    return made.reshape([n for i, n in enumerate(made.shape) if i not in (rows, columns)])


def _cond(A: Any, p: Any = None) -> Tensor:
    a = as_tensor(A)._floating()
    if p in (None, 2, -2):
        s = _svdvals(a)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _matrix_norm(a, p) * _matrix_norm(linalg.inv(a), p)


def _solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    a = as_tensor(A).triu() if upper else as_tensor(A).tril()
    if unitriangular:
        unit = namespace(a.data).eye(a.shape[-1], dtype=a.dtype)
        a = where(unit == 1, 1.0, a)
    return linalg.solve(a, B) if left else linalg.solve(a.mT, as_tensor(B).mT).mT


LINALG = {
    "cond": _cond,
    "cross": lambda input, other, *, dim=-1: cross(input, other, dim),
    "diagonal": lambda A, *, offset=0, dim1=-2, dim2=-1: as_tensor(A).diagonal(offset, dim1, dim2),
    "eigvalsh": lambda A: linalg.eigh(A)[0],
    "lstsq": _lstsq,
    "matmul": lambda input, other: as_tensor(input) @ other,
    "matrix_exp": matrix_exp,
    "matrix_norm": _matrix_norm,
    "matrix_power": matrix_power,
    "matrix_rank": _matrix_rank,
    "multi_dot": _multi_dot,
    "pinv": lambda A, *, rtol=None: _pinv(
        as_tensor(A)._floating(), share=_least(as_tensor(A)._floating(), rtol)
    ),
    "qr": lambda A, mode="reduced": qr(A, some=mode != "complete"),
    "solve_triangular": _solve_triangular,
    "svd": lambda A, full_matrices=True: (
        lambda found: SVD(found.U, found.S, found.V.mT)
    )(svd(A, some=not full_matrices)),
    "svdvals": _svdvals,
    "vander": lambda x, *, N=None: vander(x, N, increasing=True),
    "vecdot": lambda x, y, *, dim=-1: (as_tensor(x) * y).sum(dim),
    "vector_norm": lambda x, ord=2, dim=None, keepdim=False: as_tensor(x).norm(ord, dim, keepdim),
}

complete(globals())
