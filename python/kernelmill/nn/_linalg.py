"""Products and factorisations of matrices on the tape.

Products run on the shared tile product; factorisations on LAPACK through NumPy, or CuPy.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from .._arrays import namespace
from ..ops import matmul as products
from . import _tape
from ._documents import complete
from ._dtypes import FLOATS
from ._elementwise import unified
from ._shape import broadcast, getitem, putitem, reshape, swap_last
from ._tape import ALL, RESULT, Node, Rule, array_of, sum_to


def _multiply(a: Any, b: Any) -> Any:
    if type(a) is not np.ndarray:
        return namespace(a).matmul(a, b)
    if b.ndim == 2:
        if a.ndim == 2:
            return products.matmul(a, b)
        if a.ndim > 2:  # a stack of rows is one long matrix
            return products.matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], -1)
    return np.matmul(a, b)


def _multiply_backward(g: Any, saved: tuple, node: Node) -> Any:
    a, b = saved
    da = db = None
    if node.parents[0] is not None:
        da = sum_to(matmul(g, swap_last(b)), node.parents[0].shape)
    if node.parents[1] is not None:
        shape = node.parents[1].shape
        if len(shape) == 2 and a.ndim > 2:
            a, g = (reshape(v, shape=(-1, v.shape[-1])) for v in (a, g))
        db = sum_to(matmul(swap_last(a), g), shape)
    return da, db


matmul: Rule = Rule("matmul", _multiply, _multiply_backward, {0: (1,), 1: (0,)})


def _matrix_product(a: Any, b: Any) -> Any:
    (a, b), dtype = unified((a, b), floating=False)
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        raise RuntimeError("nn.matmul: both operands must have axes, got a number (use *)")
    rows, columns = a.ndim == 1, b.ndim == 1
    if rows:
        a = reshape(a, shape=(1, *a.shape))
    if columns:
        b = reshape(b, shape=(*b.shape, 1))
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"nn.matmul: the last axis of a must be as long as the one of b before its last, got "
            f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if dtype.kind not in FLOATS:
        result = _tape.Tensor(array_of(a) @ array_of(b))
    else:
        if not isinstance(a, _tape.Tensor) and not isinstance(b, _tape.Tensor):
            a = _tape.Tensor(a)
        result = matmul(a, b)
    shape = list(result.shape)
    if columns:
        del shape[-1]
    if rows:
        del shape[-1 if columns else -2]
    return reshape(result, shape=tuple(shape)) if rows or columns else result


# --- Einstein sums --------------------------------------------------------------------------------


def _parse(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, without an ellipsis."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(
            f"nn.einsum: equation must have a term for each of {len(ranks)} operands, got "
            f"{equation!r}"
        )
    free = [c for c in string.ascii_letters if c not in equation]
    most = max((r - len(t) + 3 for t, r in zip(terms, ranks, strict=True) if "..." in t), default=0)
    spare = "".join(free[:most])
    written = []
    for term, rank in zip(terms, ranks, strict=True):
        if "..." in term:
            count = rank - len(term) + 3
            term = term.replace("...", spare[most - count :])
        if len(term) != rank:
            raise ValueError(
                f"nn.einsum: each term must have a letter for each axis, got {term!r} for {rank}"
            )
        written.append(term)
    if not arrow:
        letters = "".join(written)
        right = ("..." if "..." in left else "") + "".join(
            c for c in sorted(set(letters)) if letters.count(c) == 1 and c not in spare
        )
    return written, right.replace("...", spare)


def _einsum_backward(g: Any, saved: tuple, node: Node) -> Any:
    *terms, result = node.options["terms"]
    gradients: list = []
    for i, parent in enumerate(node.parents):
        if parent is None:
            gradients.append(None)
            continue
        others = [t for j, t in enumerate(terms) if j != i]
        values = [v for j, v in enumerate(saved) if j != i]
        known = set(result).union(*others)
        inner = "".join(c for c in terms[i] if c in known)
        # An axis of size 1 may have been stretched: its gradient is summed by sum_to.
        d = _contract(g, *values, terms=(result, *others, inner))
        sizes: dict[str, int] = {}
        for term, value in ((result, g), *zip(others, values, strict=True)):
            for letter, n in zip(term, value.shape, strict=True):
                sizes[letter] = max(sizes.get(letter, 1), n)
        for letter, n in zip(terms[i], parent.shape, strict=True):
            sizes.setdefault(letter, n)
        if inner != terms[i]:  # axes that only this operand has were summed away
            apart = tuple(sizes[c] if c in known else 1 for c in terms[i])
            d = broadcast(reshape(d, shape=apart), shape=tuple(sizes[c] for c in terms[i]))
        gradients.append(sum_to(d, parent.shape))
    return tuple(gradients)


def _einsum_forward(*operands: Any, terms: tuple[str, ...]) -> Any:
    *inputs, result = terms
    xp = namespace(operands[0])
    equation = f"{','.join(inputs)}->{result}"
    if len(operands) == 1:
        return xp.asarray(xp.einsum(equation, *operands)).copy()
    return xp.asarray(xp.einsum(equation, *operands, optimize=True))


_contract: Rule = Rule("einsum", _einsum_forward, _einsum_backward, ALL)


def einsum(equation: str, *operands: Any) -> Any:
    """The Einstein sum of tensors.

    Parameters
    ----------
    equation : str
        As for ``numpy.einsum``: ``"ij,jk->ik"``; ``...`` stands for axes that broadcast, and a
        letter that comes twice in a term for the diagonal.
    *operands : Tensor or array
        The factors.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.einsum("ij,j->i", nn.ones(2, 3), nn.ones(3)).tolist()
    [3.0, 3.0]
    """
    values, _ = unified(tuple(operands))
    values = tuple(v if isinstance(v, _tape.Tensor) else _tape.Tensor(v) for v in values)
    terms, result = _parse(equation, [v.ndim for v in values])
    flat = []
    for i, term in enumerate(terms):
        value = values[i]
        for letter in sorted(set(term)):
            while term.count(letter) > 1:
                a = term.index(letter)
                b = term.index(letter, a + 1)
                value = value.diagonal(0, a, b)
                term = term[:a] + term[a + 1 : b] + term[b + 1 :] + letter
        terms[i] = term
        flat.append(value)
    return _contract(*flat, terms=(*terms, result))


# --- factorisations -------------------------------------------------------------------------------


def _lapack(x: Any) -> Any:
    return namespace(x).linalg


def _solve_forward(a: Any, b: Any) -> Any:
    return _lapack(a).solve(a, b)


def _solve_backward(g: Any, saved: tuple, node: Node) -> Any:
    a, x = saved
    db = solve(swap_last(a), g)
    da = None
    if node.parents[0] is not None:
        da = sum_to(-matmul(db, swap_last(x)), node.parents[0].shape)
    return da, None if node.parents[1] is None else sum_to(db, node.parents[1].shape)


inverse: Rule = Rule(
    "inv",
    lambda x: _lapack(x).inv(x),
    lambda g, saved, node: -matmul(matmul(swap_last(saved[0]), g), swap_last(saved[0])),
    {RESULT: ()},
)
solve: Rule = Rule("solve", _solve_forward, _solve_backward, {0: (), RESULT: ()})


def _lower_half(x: Any) -> Any:
    """The lower triangle with half the diagonal."""
    n = x.shape[-1]
    mask = np.tril(np.ones((n, n))) - 0.5 * np.eye(n)
    return x * namespace(array_of(x)).asarray(mask, dtype=x.dtype)


def _cholesky_backward(g: Any, saved: tuple, node: Node) -> Any:
    (lower,) = saved  # Murray (2016), "Differentiation of the Cholesky decomposition"
    inner = _lower_half(matmul(swap_last(lower), g))
    up = swap_last(lower)
    half = solve(up, swap_last(solve(up, swap_last(inner))))
    return (half + swap_last(half)) * 0.5


cholesky: Rule = Rule(
    "cholesky", lambda x: _lapack(x).cholesky(x), _cholesky_backward, {RESULT: ()}
)


def _determinant_backward(g: Any, saved: tuple, node: Node) -> Any:
    """The cofactors, by singular values: no division, so singular matrices work."""
    x = saved[0]
    xp = namespace(x)
    u, s, vt = xp.linalg.svd(x)
    sign = xp.linalg.det(u) * xp.linalg.det(vt)
    n = s.shape[-1]
    others = xp.stack(
        [xp.prod(xp.delete(s, i, axis=-1), axis=-1) for i in range(n)], axis=-1
    ) if n else s  # fmt: skip
    return (g * sign)[..., None, None] * ((u * others[..., None, :]) @ vt)


def _determinant_twice(g: Any, saved: tuple, node: Node) -> Any:
    x, result = saved
    outer = reshape(g * result, shape=(*g.shape, 1, 1))
    return outer * swap_last(inverse(x))


determinant: Rule = Rule(
    "det",
    lambda x: namespace(x).asarray(_lapack(x).det(x)),
    _determinant_backward,
    {0: (), RESULT: ()},
    twice=_determinant_twice,
)
log_determinant: Rule = Rule(
    "slogdet",
    lambda x: namespace(x).asarray(_lapack(x).slogdet(x)[1]),
    lambda g, saved, node: (
        reshape(g, shape=(*g.shape, 1, 1)) * swap_last(inverse(saved[0]))
    ),
    {0: ()},
)  # fmt: skip


def _eigen_forward(x: Any) -> Any:
    w, v = _lapack(x).eigh(x)
    return (w, v), (w, v)


def _eigen_backward(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    w, v = saved
    if 1 in g:
        gaps = w[..., None, :] - w[..., :, None]
        with np.errstate(divide="ignore"):
            inner = (v.swapaxes(-1, -2) @ g[1]) * np.where(gaps == 0, 0, 1 / gaps)
    else:
        inner = 0.0
    if 0 in g:
        inner = inner + namespace(w).eye(w.shape[-1], dtype=w.dtype) * g[0][..., None, :]
    full = v @ inner @ v.swapaxes(-1, -2)
    return (full + full.swapaxes(-1, -2)) * 0.5


def _no_second(g: Any, saved: tuple, node: Node) -> Any:
    raise NotImplementedError(
        f"nn.{node.rule.name}: there must be a second derivative for create_graph=True, got a rule "
        "without one"
    )


eigen: Rule = Rule(
    "eigh", _eigen_forward, _eigen_backward, extras=True, several=True, twice=_no_second
)  # fmt: skip


class LinalgMethods:
    """Matrix products and what follows from them."""

    __slots__ = ()
    data: Any
    shape: tuple[int, ...]
    ndim: int

    def __matmul__(self, other: Any) -> Any:
        return _matrix_product(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _matrix_product(other, self)

    def matmul(self, other: Any) -> Any:
        """The matrix product, ``a @ b``; axes before the last two broadcast."""
        return _matrix_product(self, other)

    mm = mv = dot = bmm = matmul

    def outer(self, other: Any) -> Any:
        """The products of each element with each of the other."""
        return self.reshape(-1, 1) * _tensor(other).reshape(1, -1)  # type: ignore[attr-defined]

    def tril(self, diagonal: int = 0) -> Any:
        """The lower triangle, zeros above it."""
        return self._triangle(np.tril, diagonal)

    def triu(self, diagonal: int = 0) -> Any:
        """The upper triangle, zeros below it."""
        return self._triangle(np.triu, diagonal)

    def _triangle(self, half: Any, diagonal: int) -> Any:
        from ._elementwise import where

        return where(half(np.ones(self.shape[-2:], bool), diagonal), self, 0)

    def trace(self) -> Any:
        """The sum of the diagonal of a matrix."""
        return self.diagonal().sum()  # type: ignore[attr-defined]


def _tensor(value: Any) -> Any:
    return value if isinstance(value, _tape.Tensor) else _tape.Tensor(value)


class Linalg:
    """Functions of square matrices, in stacks too: ``nn.linalg``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.linalg.det(nn.Tensor([[2.0, 1.0], [1.0, 1.0]])).item()
    1.0
    """

    LinAlgError = np.linalg.LinAlgError

    @staticmethod
    def inv(A: Any) -> Any:
        """The inverse."""
        return inverse(_tensor(A))

    @staticmethod
    def solve(A: Any, B: Any) -> Any:
        """X in ``A X = B``; B may be a vector."""
        A, B = _tensor(A), _tensor(B)
        if B.ndim == 1:
            return reshape(solve(A, reshape(B, shape=(*B.shape, 1))), shape=B.shape)
        return solve(A, B)

    @staticmethod
    def cholesky(A: Any) -> Any:
        """The lower triangular L with ``L L' = A``."""
        return cholesky(_tensor(A))

    @staticmethod
    def det(A: Any) -> Any:
        """The determinant; its gradient is right for singular matrices too."""
        return determinant(_tensor(A))

    @staticmethod
    def slogdet(A: Any) -> Any:
        """(sign, logarithm of the magnitude) of the determinant."""
        A = _tensor(A)
        sign = namespace(A.data).asarray(_lapack(A.data).slogdet(A.data)[0])
        return _tape.Tensor(sign), log_determinant(A)

    @staticmethod
    def eigh(A: Any) -> Any:
        """(eigenvalues, eigenvectors) of symmetric matrices, in rising order."""
        return eigen(_tensor(A))

    def __getattr__(self, name: str) -> Any:
        from ._products import LINALG
        from ._torch_names import refusal

        if name not in LINALG:
            raise refusal("kernelmill.nn.linalg", name)
        return LINALG[name]

    def __dir__(self) -> list[str]:
        from ._products import LINALG

        return sorted({*object.__dir__(self), *LINALG})

    @staticmethod
    def norm(A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
        """The norm of vectors or of matrices.

        Without ``ord`` it is the root of the sum of squares. With it, two axes (or a matrix without
        ``dim``) have the norm of a matrix, see ``linalg.matrix_norm``, and others that of vectors,
        see ``Tensor.norm``.
        """
        A = _tensor(A)
        axes = tuple(range(A.ndim)) if dim is None else dim
        if ord is None:
            return A.norm(2, dim, keepdim)
        if isinstance(axes, (tuple, list)) and len(axes) == 2:
            return linalg.matrix_norm(A, ord, axes, keepdim)
        if isinstance(ord, str) or (dim is None and A.ndim > 2):
            raise RuntimeError(
                f"nn.linalg.norm: ord={ord!r} must be asked of two axes or, if a number, of "
                f"vectors, got dim={dim!r} and shape {A.shape}"
            )
        return A.norm(ord, dim, keepdim)


linalg = Linalg()

complete(globals())
__all__ = ["LinalgMethods", "einsum", "getitem", "linalg", "putitem"]
