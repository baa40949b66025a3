"""float16: what is stored and what is computed have separate types.

A rule computes in float32 or float64. Given float16, it runs in its *stored* form: arrays are
widened on the way in, results and gradients rounded on the way out, and what the tape keeps is
float16. So every rule takes float16 storage with float32 arithmetic, and none knows about it.
Rules that only move values (`MOVES`) run as they are.

Automatic mixed precision says what is stored where: inside ``amp.autocast`` products (`LOWER`)
take and give float16, and what needs the exponents of float32 (`FULL`) takes and gives float32.

There is no bfloat16: NumPy has no such dtype, and a type of our own would be refused by each
function of NumPy's that a tensor's array is handed to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._documents import complete
from ._elementwise import HALF, narrowed, to_dtype, widened
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
_SINGLE = np.dtype(np.float32)
_forms: dict[Rule, Rule] = {}


def form_of(rule: Rule, inputs: tuple[Any, ...]) -> tuple[Rule, tuple[Any, ...]]:
    """The form of a rule for these inputs, and the inputs as it takes them."""
    if type(rule) is _Stored:
        return rule, inputs
    name = rule.name
    if autocast.get():
        if name in LOWER:
            inputs = tuple(_in(v, _SINGLE, HALF) for v in inputs)
        elif name in FULL:
            inputs = tuple(_in(v, HALF, _SINGLE) for v in inputs)
    if name in MOVES or not any(getattr(v, "dtype", None) == HALF for v in inputs):
        return rule, inputs
    form = _forms.get(rule)
    if form is None:
        form = _forms[rule] = _Stored(rule)
    return form, inputs


def _in(value: Any, source: np.dtype, target: np.dtype) -> Any:
    """A tensor or array of the source's dtype in the target's; anything else as it is."""
    return to_dtype(value, target) if getattr(value, "dtype", None) == source else value


class _Stored(Rule):
    """A rule of float32 on float16 storage."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Rule) -> None:
        super().__init__(
            inner.name, self._forward, self._backward, twice=self._twice, extras=True,
            several=inner.several, broadcasts=inner.broadcasts,
        )  # fmt: skip
        self.saves = inner.saves
        self._inner = inner

    def _forward(self, *arrays: Any, **options: Any) -> Any:
        inner = self._inner
        options = _wide_options(options)
        result = inner.forward(*map(widened, arrays), **options)
        extras: tuple = ()
        if inner.extras:
            result, extras = result
        dtypes = tuple(getattr(a, "dtype", None) for a in arrays)
        # The first float decides: norms may have half inputs and float32 weights.
        if next(d for d in dtypes if d is not None and d.kind == "f") != HALF:
            return result, (*extras, dtypes)
        parts = result if inner.several else (result,)
        small = tuple(map(narrowed, parts))
        extras = tuple(_replaced(e, parts, small) for e in extras)
        return small if inner.several else small[0], (*extras, dtypes)

    def _backward(self, g: Any, saved: tuple, node: Node) -> Any:
        return self._back(self._inner.backward, g, saved, node)

    def _twice(self, g: Any, saved: tuple, node: Node) -> Any:
        return self._back(self._inner.twice, g, saved, node)

    def _back(self, back: Any, g: Any, saved: tuple, node: Node) -> Any:
        *kept, dtypes = saved
        wide = {i: _wide(d) for i, d in g.items()} if isinstance(g, dict) else _wide(g)
        found = back(wide, tuple(map(_wide, kept)), _View(node))
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
    """What a rule saves beside its inputs, in half where it is a result."""
    return next((s for p, s in zip(parts, small, strict=True) if extra is p), extra)


def _wide(value: Any) -> Any:
    return _in(value, HALF, _SINGLE)


def _narrow(d: Any, parent: Any, dtype: np.dtype, broadcasts: bool) -> Any:
    """A gradient in the dtype of its input, summed before it is rounded."""
    if broadcasts and d.shape != parent.shape:
        d = sum_to(d, parent.shape)
    return to_dtype(d, dtype)


complete(globals())
