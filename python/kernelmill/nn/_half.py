"""16 bits: what is stored and what is computed have separate types.

A rule computes in float32 or float64. Given float16 or bfloat16, it runs in its *stored* form:
arrays are widened on the way in, results and gradients rounded on the way out, and what the tape
keeps has 16 bits. So every rule takes such storage with float32 arithmetic, and none knows about
it. Rules that only move values (`MOVES`) run as they are. On a GPU the kernels of many rules
(`KERNELS`) read 16 bits and round to them themselves, and keep nothing wider in memory.

Automatic mixed precision says what is stored where: inside ``amp.autocast`` products (`LOWER`)
take and give 16 bits, and what needs the digits or exponents of float32 (`FULL`) takes and gives
float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._arrays import is_cupy
from ._documents import complete
from ._dtypes import FLOATS, is_half, narrowed, widened
from ._elementwise import RULES, to_dtype
from ._tape import Node, Rule, autocast, sum_to

MOVES = frozenset(
    """
    alias checkpoint clone concatenate expand getitem pack pad permute reshape split to unfold
    """.split()  # noqa: SIM905
)
LOWER = frozenset(
    """
    attention convolution einsum gru linear lstm matmul rnn_relu rnn_tanh
    scaled_dot_product_attention
    """.split()  # noqa: SIM905
) | {"transposed convolution", "convolution's weight gradient"}
FULL = frozenset(
    """
    arccos arcsin binary_cross_entropy cosh cross_entropy ctc_loss cumprod cumsum exp exp2 expm1
    group_norm log log10 log1p log2 log_sigmoid log_softmax logcumsumexp logsumexp mean norm power
    prod reciprocal rsqrt sinh softmax softplus square std sum tan var
    """.split()  # noqa: SIM905
)
KERNELS = frozenset(
    """
    amax amin avg_pool batch_norm convolution cross_entropy ctc_loss dropout einsum embedding
    embedding_bag gate gather group_norm gru linear log_softmax lstm matmul max_pool max_unpool
    rnn_relu rnn_tanh scaled_dot_product_attention softmax sum
    """.split()  # noqa: SIM905
) | {"avg_pool's gradient", "transposed convolution", "convolution's weight gradient", *RULES}
_WIDE_WEIGHTS = frozenset("batch_norm cross_entropy group_norm".split())  # noqa: SIM905
_SINGLE = np.dtype(np.float32)
_forms: dict[Rule, Rule] = {}


def form_of(rule: Rule, inputs: tuple[Any, ...], arrays: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Another form of a rule for these inputs, or None, and the inputs as it takes them."""
    dtypes = [getattr(a, "dtype", None) for a in arrays]
    casts = autocast.get()
    if casts is not None and type(rule) is not _Stored:
        if rule.name in LOWER:
            if any(d == _SINGLE or (is_half(d) and d != casts) for d in dtypes):
                return rule, tuple(_lower(v, casts) for v in inputs)
        elif rule.name in FULL and any(map(is_half, dtypes)):
            return rule, tuple(map(_wide, inputs))
    if not any(map(is_half, dtypes)):
        return None, inputs
    if type(rule) is _Stored or rule.name in MOVES:
        return None, inputs
    form = _forms.get(rule)
    if form is None:
        form = _forms[rule] = _Stored(rule)
    return form, inputs


def _lower(value: Any, target: np.dtype) -> Any:
    """A tensor or array of at most 32 bits in the target's dtype; anything else as it is."""
    dtype = getattr(value, "dtype", None)
    return to_dtype(value, target) if dtype == _SINGLE or is_half(dtype) else value


def _wide(value: Any) -> Any:
    """A tensor or array of 16 bits in float32; anything else as it is."""
    return to_dtype(value, _SINGLE) if is_half(getattr(value, "dtype", None)) else value


class _Stored(Rule):
    """A rule of float32 on storage of 16 bits."""

    __slots__ = ("_inner", "_kernels")

    def __init__(self, inner: Rule) -> None:
        super().__init__(
            inner.name, self._forward, self._backward, twice=self._twice, extras=True,
            several=inner.several, broadcasts=inner.broadcasts,
        )  # fmt: skip
        self.saves = inner.saves
        self._inner = inner
        self._kernels = inner.name in KERNELS

    def _on_kernels(self, arrays: Iterable[Any], dtypes: tuple[Any, ...]) -> bool:
        """Whether kernels take arrays of these dtypes as they are stored."""
        if not (self._kernels and any(map(is_cupy, arrays))):
            return False
        first, *others = [d for d in dtypes if d is not None and d.kind in FLOATS]
        return is_half(first) and (self.name in _WIDE_WEIGHTS or all(d == first for d in others))

    def _forward(self, *arrays: Any, **options: Any) -> Any:
        inner = self._inner
        dtypes = tuple(getattr(a, "dtype", None) for a in arrays)
        given: Iterable[Any] = arrays
        if not self._on_kernels(arrays, dtypes):
            given, options = map(widened, arrays), _wide_options(options)
        result = inner.forward(*given, **options)
        extras: tuple = ()
        if inner.extras:
            result, extras = result
        # The first float decides: norms may have inputs of 16 bits and float32 weights.
        dtype = next(d for d in dtypes if d is not None and d.kind in FLOATS)
        if not is_half(dtype):
            return result, (*extras, dtypes)
        parts = result if inner.several else (result,)
        small = tuple(narrowed(part, dtype) for part in parts)
        extras = tuple(_replaced(e, parts, small) for e in extras)
        return small if inner.several else small[0], (*extras, dtypes)

    def _backward(self, g: Any, saved: tuple, node: Node) -> Any:
        arrays = g.values() if isinstance(g, dict) else (g,)
        return self._back(
            self._inner.backward, g, saved, node, not self._on_kernels(arrays, saved[-1])
        )

    def _twice(self, g: Any, saved: tuple, node: Node) -> Any:
        return self._back(self._inner.twice, g, saved, node)

    def _back(self, back: Any, g: Any, saved: tuple, node: Node, widen: bool = True) -> Any:
        *kept, dtypes = saved
        if widen:
            g = {i: _wide(d) for i, d in g.items()} if isinstance(g, dict) else _wide(g)
            found = back(g, tuple(map(_wide, kept)), _View(node))
        else:
            found = back(g, tuple(kept), node)
        several = type(found) is tuple
        gradients = [
            d if d is None or parent is None else _narrow(d, parent, dtype, self.broadcasts)
            for d, parent, dtype in zip(
                found if several else (found,), node.parents, dtypes, strict=True
            )
        ]
        return tuple(gradients) if several else gradients[0]


class _View:
    """A node as the rule of float32 knows it."""

    __slots__ = ("options", "parents", "rule", "shape")

    def __init__(self, node: Any) -> None:
        self.rule, self.parents, self.shape = node.rule, node.parents, node.shape
        self.options = _wide_options(node.options)


def _wide_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: widened(value) for name, value in options.items()}


def _replaced(extra: Any, parts: tuple, small: tuple) -> Any:
    """What a rule saves beside its inputs, as it is stored where it is a result."""
    return next((s for p, s in zip(parts, small, strict=True) if extra is p), extra)


def _narrow(d: Any, parent: Any, dtype: np.dtype, broadcasts: bool) -> Any:
    """A gradient in the dtype of its input, summed before it is rounded."""
    if broadcasts and d.shape != parent.shape:
        d = sum_to(d, parent.shape)
    return to_dtype(d, dtype)


complete(globals())
