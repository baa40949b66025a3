"""Recurrences over the steps of a batch of sequences: one op each way, or composed.

Rows lie as ``kernelmill.ops.recurrent`` says: step by step, sequences longest first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import beside, to_host
from ...ops import linear, recurrent
from .._backward import recomputed
from .._documents import complete
from .._shape import cat, getitem
from .._tape import Node, Rule
from .._tensor import Tensor
from ._dense import dense

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


def _parted(a: Any, parts: int) -> Any:
    """The rows of weights, or the columns of products, gate by gate."""
    if a is None:
        return None
    if a.ndim == 1:
        return a.reshape(parts, -1)
    return a.reshape(parts, -1, a.shape[1])


def _forward(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    weight_hr: Any, kind: str, sizes: Any, reverse: bool,
) -> Any:  # fmt: skip
    gates = linear.forward(x, weight_ih, bias_ih)[0]
    parts = GATES[kind]
    state = h.copy()
    if parts == 1:
        recurrent.elman_forward(
            gates, weight_hh, bias_hh, state, sizes, kind == "relu", bool(reverse)
        )
        return (gates, state), (None, None, gates)
    gates = gates.reshape(len(x), parts, weight_hh.shape[0] // parts)
    w, b = _parted(weight_hh, parts), _parted(bias_hh, parts)
    if parts == 3:
        y, q = recurrent.gru_forward(gates, w, b, state, sizes, reverse)
        return (y, state), (gates, q, y)
    cell = c.copy()
    y, cells = recurrent.lstm_forward(gates, w, b, weight_hr, state, cell, sizes, reverse)
    return (y, state, cell), (gates, cells, y)


def _state_weights(d: Any, y: Any, h: Any, sizes: Any, reverse: bool, weight: Any) -> Any:
    """The gradient of weights whose products with the states before each step have gradient d."""
    n, b = len(y), len(h)
    if n == len(sizes) * b:  # all sequences have the same length: nothing is gathered
        first, others = (d[n - b :], d[: n - b]) if reverse else (d[:b], d[b:])
        pairs = (others, y[b:] if reverse else y[: n - b]), (first, h)
        made = [linear.backward(*pair, weight, True, False, True)[1] for pair in pairs]
        return made[0] + made[1]
    ends = np.cumsum(sizes)
    step = np.repeat(np.arange(len(sizes)), sizes)
    sequence = np.arange(n) - (ends - sizes)[step]
    before = step + (1 if reverse else -1)
    exists = sequence < np.append(sizes, 0)[before]  # step -1 is one of no rows, too
    rows = (ends - sizes)[np.where(exists, before, 0)] + sequence
    index = beside(np.where(exists, rows, n + sequence), y)
    previous = np.concatenate([y, h])[index]
    return linear.backward(d, previous, weight, True, False, True)[1]


def _backward(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    x, h, c, weight_ih, weight_hh, _, _, weight_hr, gates, kept, y = saved
    kind, sizes, reverse = (node.options[name] for name in ("kind", "sizes", "reverse"))
    parts, dy = GATES[kind], g.get(0)
    needs = [p is not None for p in node.parents]
    dh, dc = (
        None if a is None else np.zeros_like(a) if i not in g else g[i].copy()
        for i, a in ((1, h), (2, c))
    )
    dprojection = dq = None
    if parts == 1:
        da = recurrent.elman_backward(y, dy, weight_hh, dh, sizes, kind == "relu", reverse)
    else:
        w = _parted(weight_hh, parts)
        if parts == 3:
            da, dq = recurrent.gru_backward(gates, kept, y, h, dy, w, dh, sizes, reverse)
        else:
            da, dstates, m = recurrent.lstm_backward(
                gates, kept, dy, w, weight_hr, dh, dc, sizes, reverse, not needs[7]
            )
            if needs[7]:
                dprojection = linear.backward(dstates, m, weight_hr, True, False, True)[1]
        da = da.reshape(len(x), len(weight_hh))
    dx, dweight_ih, dbias = linear.backward(
        da, x, weight_ih, not needs[0], not needs[3], not (needs[5] or needs[6])
    )
    found = [dx, dh, dc, dweight_ih, None, dbias, None, dprojection]
    if needs[4]:
        # The reset gate stands between the last third of the products and the inputs' ones.
        u = len(weight_hh) // 3
        both = [(da, weight_hh)] if dq is None else [
            (da[:, : 2 * u], weight_hh[: 2 * u]), (dq, weight_hh[2 * u :])
        ]  # fmt: skip
        made = [_state_weights(d, y, h, sizes, reverse, rows) for d, rows in both]
        found[4] = made[0] if dq is None else np.concatenate(made)
    if needs[6]:
        found[6] = dbias.copy()
        if dq is not None:
            last = slice(2 * dq.shape[1], None)
            found[6][last] = linear.backward(dq, y, weight_hh[last], True, True, False)[2]
    return tuple(d if needed else None for d, needed in zip(found, needs, strict=True))


# --- composed -------------------------------------------------------------------------------------


def unrolled(a: Any, states: tuple, sizes: Any, reverse: bool, cell: Callable[..., tuple]) -> tuple:
    """Outputs and final states of a cell, in differentiable operations.

    Parameters
    ----------
    a : Tensor of shape (n, k)
        What the cell takes of each row.
    states : tuple of Tensor of shape (b, u)
        Initial states.
    sizes : array of int
        Rows of each step.
    reverse : bool
        From the last step to the first.
    cell : callable
        ``cell(rows, *states)`` gives the output and the new states.

    Returns
    -------
    results : tuple of Tensor
        The outputs, rows as in ``a``, then the final states.
    """
    outputs: list[Any] = []
    ends = np.cumsum(sizes)
    steps = [(e - s, e, s) for e, s in zip(ends.tolist(), sizes.tolist(), strict=True) if s]
    for begin, end, size in reversed(steps) if reverse else steps:
        waiting = [s[size:] for s in states]  # sequences that have no such step
        going = (s if size == len(s) else s[:size] for s in states)
        output, *new = cell(getitem(a, index=slice(begin, end)), *going)
        outputs.append(output)
        states = tuple(
            cat([n, w]) if len(w) else n for n, w in zip(new, waiting, strict=True)
        )
    return (cat(outputs[::-1] if reverse else outputs), *states)


def activated(kind: str, a: Any) -> Any:
    """Tanh or relu."""
    return a.relu() if kind == "relu" else a.tanh()


def _composed(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    weight_hr: Any, kind: str, sizes: Any, reverse: bool,
) -> tuple:  # fmt: skip
    def product(h: Any) -> Any:
        return dense(h, weight_hh, bias_hh)

    def elman(a: Any, h: Any) -> tuple:
        h = activated(kind, a + product(h))
        return h, h

    def lstm(a: Any, h: Any, c: Any) -> tuple:
        i, f, g, o = (a + product(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        h = h if weight_hr is None else dense(h, weight_hr, None)
        return h, h, c

    def gru(a: Any, h: Any) -> tuple:
        (a_r, a_z, a_n), (b_r, b_z, q) = a.chunk(3, 1), product(h).chunk(3, 1)
        v = (a_n + (a_r + b_r).sigmoid() * q).tanh()
        h = v + (a_z + b_z).sigmoid() * (h - v)
        return h, h

    cells: dict[str, Any] = {"lstm": lstm, "gru": gru}
    states = (h,) if c is None else (h, c)
    a = dense(x, weight_ih, bias_ih)
    return unrolled(a, states, sizes, reverse, cells.get(kind, elman))


_rules = {
    kind: Rule(
        kind if GATES[kind] > 1 else f"rnn_{kind}",
        _forward,
        _backward,
        {i: () for i in range(8)},
        twice=recomputed(_composed, 8),
        extras=True,
        several=True,
    )
    for kind in GATES
}


def recurrence(
    kind: str, x: Tensor, h: Any, c: Any, weights: tuple, sizes: Any, reverse: bool = False
) -> tuple:
    """A layer in one direction.

    Parameters
    ----------
    kind : {"tanh", "relu", "lstm", "gru"}
    x : Tensor of shape (n, input_size)
        Rows of all steps.
    h, c : Tensor of shape (b, state size), (b, hidden_size) or None
        Initial states; c for ``"lstm"``.
    weights : tuple of Tensor or None
        Weights of inputs and states, their biases, the projection.
    sizes : ndarray of int64
        Rows of each step.
    reverse : bool, default=False
        From the last step to the first.

    Returns
    -------
    results : tuple of Tensor
        Outputs of shape (n, state size), then the final states.
    """
    sizes = to_host(sizes)  # read here, step by step, on every device
    return _rules[kind](x, h, c, *weights, kind=kind, sizes=sizes, reverse=reverse)


complete(globals())
