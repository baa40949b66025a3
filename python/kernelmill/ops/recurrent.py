"""Recurrences over sequences and their gradients: Elman networks, LSTM, GRU.

Rows of a batch of sequences lie step by step, without padding (as torch packs them): step t has
``batch_sizes[t]`` rows, one for each sequence that is longer than t; sequences are sorted, longest
first, so row b of each step belongs to sequence b. n is the sum of the sizes, b the largest, u the
number of units. The product of the inputs with their weights is made beforehand, for all steps at
once, and is what `gates` holds at first.

With ``reverse`` the steps are taken from the last to the first. ``h`` and ``c`` are carried from
step to step in place: rows that a step does not have stay, so at the end each holds the state after
the last step of its sequence (with ``reverse`` the first). A backward op carries the gradients of
the states in the opposite direction: given those of the final states, it leaves those of the
initial ones.

NaN and infinity propagate within a sequence. Empty batches and no steps are allowed. Deterministic:
sums of a product ascend, and sequences do not meet, so results have the same bits at any thread
count. Cost is 2 operations for each row and weight, each way. Shapes, dtypes and batch sizes that
do not fit raise ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._op import op


def _steps(
    name: str, batch_sizes: np.ndarray, rows: int, b: int, reverse: bool
) -> Iterator[tuple[slice, slice]]:
    """Rows of each step, and those of the state that it changes, in order."""
    sizes = [int(size) for size in batch_sizes]
    wrong = sum(sizes) != rows or any(size < 0 for size in sizes)
    wrong = wrong or any(a < z for a, z in zip([b, *sizes], sizes, strict=False))
    if wrong:
        raise ValueError(
            f"recurrent.{name}: batch_sizes must never rise, start with at most {b} and add up to "
            f"{rows}, got {sizes}"
        )
    ends = np.cumsum(sizes)
    steps = [(slice(e - s, e), slice(0, s)) for e, s in zip(ends, sizes, strict=True)]
    return iter(steps[::-1] if reverse else steps)


def _wide(*arrays: np.ndarray | None) -> list:
    return [None if a is None else a.astype(np.float64) for a in arrays]


def _sigma(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


@op(
    "y: inout T[n,u>=1], weight: T[u,u], bias: T[u]?, h: inout T[b,u], batch_sizes: host i64[t],"
    " relu: bool, reverse: bool -> ",
    half=True,
)
def elman_forward(
    y: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    h: np.ndarray,
    batch_sizes: np.ndarray,
    relu: bool = False,
    reverse: bool = False,
) -> None:
    """Elman network: ``h = f(y + h weight' + bias)`` with f = tanh or relu, and y = h.

    Parameters
    ----------
    y : ndarray of shape (n, u), float32 or float64
        Products of the inputs; states after each step at the end.
    weight : ndarray of shape (u, u), dtype of y
        Recurrent weights.
    bias : ndarray of shape (u,), dtype of y, or None
        Added in each step.
    h : ndarray of shape (b, u), dtype of y
        Initial states; final ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    relu : bool, default=False
        f is relu, not tanh.
    reverse : bool, default=False
        From the last step to the first.

    Returns
    -------
    None
        y and h are updated.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.

    References
    ----------
    Elman (1990), "Finding structure in time".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import recurrent
    >>> y, h = np.array([[1.0], [2.0], [3.0]]), np.zeros((1, 1))
    >>> recurrent.elman_forward(y, np.ones((1, 1)), None, h, np.array([1, 1, 1]), True)
    >>> y.ravel(), h
    (array([1., 3., 6.]), array([[6.]]))
    """
    W, a, state = _wide(weight, y, h)
    for rows, to in _steps("elman_forward", batch_sizes, len(y), len(h), reverse):
        a[rows] += state[to] @ W.T + (0 if bias is None else bias)
        state[to] = a[rows] = np.maximum(a[rows], 0) if relu else np.tanh(a[rows])
    y[...], h[...] = a, state


@op(
    "y: T[n,u>=1], dy: T[n,u]?, weight: T[u,u], dh: inout T[b,u], batch_sizes: host i64[t],"
    " relu: bool, reverse: bool -> dgates: T[n,u]",
    half=True,
)
def elman_backward(
    y: np.ndarray,
    dy: np.ndarray | None,
    weight: np.ndarray,
    dh: np.ndarray,
    batch_sizes: np.ndarray,
    relu: bool = False,
    reverse: bool = False,
) -> np.ndarray:
    """Gradients of :func:`elman_forward` with respect to the arguments of f and the first state.

    ``da = f'(y) (dy + dh)``, then ``dh = da weight``.

    Parameters
    ----------
    y : ndarray of shape (n, u), float32 or float64
        What the forward pass gave.
    dy : ndarray of shape (n, u), dtype of y, or None
        Gradient of y; None for zeros.
    weight : ndarray of shape (u, u), dtype of y
        Recurrent weights.
    dh : ndarray of shape (b, u), dtype of y
        Gradient of the final states; that of the initial ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    relu, reverse : bool, default=False
        As in the forward pass.

    Returns
    -------
    dgates : ndarray of shape (n, u), dtype of y
        Gradient with respect to ``y + h weight' + bias``, from which those of inputs, weights and
        biases follow by products over all steps.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.
    """
    W, out, dout, carry = _wide(weight, y, dy, dh)
    da = np.zeros_like(out)
    for rows, to in _steps("elman_backward", batch_sizes, len(y), len(dh), not reverse):
        total = carry[to] + (0 if dout is None else dout[rows])
        da[rows] = np.where(out[rows] > 0, total, 0) if relu else total * (1 - out[rows] ** 2)
        carry[to] = da[rows] @ W
    dh[...] = carry
    return da.astype(y.dtype)


@op(
    "gates: inout T[n,4,u>=1], weight: T[4,u,p>=1], bias: T[4,u]?, projection: T[p,u]?,"
    " h: inout T[b,p], c: inout T[b,u], batch_sizes: host i64[t], reverse: bool"
    " -> y: T[n,p], cells: T[n,u]",
    half=True,
)
def lstm_forward(
    gates: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    projection: np.ndarray | None,
    h: np.ndarray,
    c: np.ndarray,
    batch_sizes: np.ndarray,
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Long short-term memory.

    With ``a = gates + h weight' + bias``, of which a_i, a_f, a_g and a_o are quarters, and s the
    logistic function::

        i = s(a_i)   f = s(a_f)   g = tanh(a_g)   o = s(a_o)
        c = f c + i g        m = o tanh(c)        h = m projection'  (or m)

    Parameters
    ----------
    gates : ndarray of shape (n, 4, u), float32 or float64
        Products of the inputs; i, f, g and o at the end.
    weight : ndarray of shape (4, u, p), dtype of gates
        Recurrent weights.
    bias : ndarray of shape (4, u), dtype of gates, or None
        Added in each step.
    projection : ndarray of shape (p, u), dtype of gates, or None
        Weights of the projection; without it p is u.
    h, c : ndarray of shape (b, p) and (b, u), dtype of gates
        Initial states; final ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    reverse : bool, default=False
        From the last step to the first.

    Returns
    -------
    y : ndarray of shape (n, p), dtype of gates
        h after each step.
    cells : ndarray of shape (n, u), dtype of gates
        c before each step, for the backward pass.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.

    References
    ----------
    Hochreiter and Schmidhuber (1997), "Long short-term memory"; Gers, Schmidhuber and Cummins
    (2000), "Learning to forget"; Sak, Senior and Beaufays (2014), "Long short-term memory based
    recurrent neural network architectures" (projections).
    """
    _check_projection("lstm_forward", weight, projection)
    W, a, state, cell = _wide(weight, gates, h, c)
    W = W.reshape(-1, weight.shape[2])
    y, cells = np.zeros((len(gates), h.shape[1])), np.zeros((len(gates), c.shape[1]))
    for rows, to in _steps("lstm_forward", batch_sizes, len(gates), len(h), reverse):
        a[rows] += (state[to] @ W.T).reshape(a[rows].shape) + (0 if bias is None else bias)
        for gate in (0, 1, 3):
            a[rows, gate] = _sigma(a[rows, gate])
        a[rows, 2] = np.tanh(a[rows, 2])
        i, f, g, o = a[rows].swapaxes(0, 1)
        cells[rows] = cell[to]
        cell[to] = f * cell[to] + i * g
        m = o * np.tanh(cell[to])
        state[to] = y[rows] = m if projection is None else m @ projection.T.astype(np.float64)
    gates[...], h[...], c[...] = a, state, cell
    return y.astype(gates.dtype), cells.astype(gates.dtype)


def _check_projection(name: str, weight: np.ndarray, projection: np.ndarray | None) -> None:
    if projection is None and weight.shape[1] != weight.shape[2]:
        raise ValueError(
            f"recurrent.{name}: weight must be square for each gate without a projection, got "
            f"shape {weight.shape}"
        )


@op(
    "gates: T[n,4,u>=1], cells: T[n,u], dy: T[n,p>=1]?, weight: T[4,u,p], projection: T[p,u]?,"
    " dh: inout T[b,p], dc: inout T[b,u], batch_sizes: host i64[t], reverse: bool,"
    " skip_projection: bool"
    " -> dgates: T[n,4,u], dstates: T[skip_projection?0:n,p], m: T[skip_projection?0:n,u]",
    half=True,
)
def lstm_backward(
    gates: np.ndarray,
    cells: np.ndarray,
    dy: np.ndarray | None,
    weight: np.ndarray,
    projection: np.ndarray | None,
    dh: np.ndarray,
    dc: np.ndarray,
    batch_sizes: np.ndarray,
    reverse: bool = False,
    skip_projection: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of :func:`lstm_forward` with respect to a and the first states.

    ``docs/backpropagation.md`` derives them.

    Parameters
    ----------
    gates : ndarray of shape (n, 4, u), float32 or float64
        i, f, g and o of the forward pass.
    cells : ndarray of shape (n, u), dtype of gates
        c before each step.
    dy : ndarray of shape (n, p), dtype of gates, or None
        Gradient of y; None for zeros.
    weight : ndarray of shape (4, u, p), dtype of gates
        Recurrent weights.
    projection : ndarray of shape (p, u), dtype of gates, or None
        As in the forward pass.
    dh, dc : ndarray of shape (b, p) and (b, u), dtype of gates
        Gradients of the final states; those of the initial ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    reverse : bool, default=False
        As in the forward pass.
    skip_projection : bool, default=True
        dstates and m are not wanted, and have no rows then.

    Returns
    -------
    dgates : ndarray of shape (n, 4, u), dtype of gates
        Gradient with respect to a.
    dstates : ndarray of shape (n, p), dtype of gates
        Gradient of each h; that of the projection is ``dstates' m``.
    m : ndarray of shape (n, u), dtype of gates
        h of each step before the projection.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.
    """
    _check_projection("lstm_backward", weight, projection)
    W, P, a, before, dout, carry, dcell = _wide(weight, projection, gates, cells, dy, dh, dc)
    W = W.reshape(-1, weight.shape[2])
    da, m = np.zeros_like(a), np.zeros_like(before)
    dstates = np.zeros((len(gates), dh.shape[1]))
    for rows, to in _steps("lstm_backward", batch_sizes, len(gates), len(dh), not reverse):
        i, f, g, o = a[rows].swapaxes(0, 1)
        tanh_c = np.tanh(f * before[rows] + i * g)
        m[rows] = o * tanh_c
        dstates[rows] = carry[to] + (0 if dout is None else dout[rows])
        dm = dstates[rows] if P is None else dstates[rows] @ P
        d = dcell[to] + dm * o * (1 - tanh_c**2)
        da[rows, 0] = d * g * i * (1 - i)
        da[rows, 1] = d * before[rows] * f * (1 - f)
        da[rows, 2] = d * i * (1 - g**2)
        da[rows, 3] = dm * tanh_c * o * (1 - o)
        dcell[to] = d * f
        carry[to] = da[rows].reshape(-1, len(W)) @ W
    dh[...], dc[...] = carry, dcell
    kept = 0 if skip_projection else len(m)
    return da.astype(gates.dtype), dstates[:kept].astype(gates.dtype), m[:kept].astype(gates.dtype)


@op(
    "gates: inout T[n,3,u>=1], weight: T[3,u,u], bias: T[3,u]?, h: inout T[b,u],"
    " batch_sizes: host i64[t], reverse: bool -> y: T[n,u], q: T[n,u]",
    half=True,
)
def gru_forward(
    gates: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    h: np.ndarray,
    batch_sizes: np.ndarray,
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gated recurrent unit, whose reset gate multiplies the product and its bias.

    With ``a`` the thirds a_r, a_z and a_n of gates, ``b`` those of ``h weight' + bias`` and s the
    logistic function::

        r = s(a_r + b_r)   z = s(a_z + b_z)   q = b_n   v = tanh(a_n + r q)   h = v + z (h - v)

    Parameters
    ----------
    gates : ndarray of shape (n, 3, u), float32 or float64
        Products of the inputs; r, z and v at the end.
    weight : ndarray of shape (3, u, u), dtype of gates
        Recurrent weights.
    bias : ndarray of shape (3, u), dtype of gates, or None
        Added in each step.
    h : ndarray of shape (b, u), dtype of gates
        Initial states; final ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    reverse : bool, default=False
        From the last step to the first.

    Returns
    -------
    y : ndarray of shape (n, u), dtype of gates
        h after each step.
    q : ndarray of shape (n, u), dtype of gates
        What the reset gate multiplies, for the backward pass.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.

    References
    ----------
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation"; the reset gate as in version 3 of that paper.
    """
    W, a, state = _wide(weight, gates, h)
    W = W.reshape(-1, h.shape[1])
    y, q = np.zeros((len(gates), h.shape[1])), np.zeros((len(gates), h.shape[1]))
    for rows, to in _steps("gru_forward", batch_sizes, len(gates), len(h), reverse):
        b = (state[to] @ W.T).reshape(a[rows].shape) + (0 if bias is None else bias)
        q[rows] = b[:, 2]
        r = a[rows, 0] = _sigma(a[rows, 0] + b[:, 0])
        z = a[rows, 1] = _sigma(a[rows, 1] + b[:, 1])
        v = a[rows, 2] = np.tanh(a[rows, 2] + r * q[rows])
        state[to] = y[rows] = v + z * (state[to] - v)
    gates[...], h[...] = a, state
    return y.astype(gates.dtype), q.astype(gates.dtype)


@op(
    "gates: T[n,3,u>=1], q: T[n,u], y: T[n,u], h0: T[b,u], dy: T[n,u]?, weight: T[3,u,u],"
    " dh: inout T[b,u], batch_sizes: host i64[t], reverse: bool"
    " -> dgates: T[n,3,u], dq: T[n,u]",
    half=True,
)
def gru_backward(
    gates: np.ndarray,
    q: np.ndarray,
    y: np.ndarray,
    h0: np.ndarray,
    dy: np.ndarray | None,
    weight: np.ndarray,
    dh: np.ndarray,
    batch_sizes: np.ndarray,
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of :func:`gru_forward` with respect to a, q and the first state.

    ``docs/backpropagation.md`` derives them.

    Parameters
    ----------
    gates : ndarray of shape (n, 3, u), float32 or float64
        r, z and v of the forward pass.
    q, y : ndarray of shape (n, u), dtype of gates
        What the forward pass gave.
    h0 : ndarray of shape (b, u), dtype of gates
        Initial states.
    dy : ndarray of shape (n, u), dtype of gates, or None
        Gradient of y; None for zeros.
    weight : ndarray of shape (3, u, u), dtype of gates
        Recurrent weights.
    dh : ndarray of shape (b, u), dtype of gates
        Gradient of the final states; that of the initial ones at the end.
    batch_sizes : ndarray of shape (t,), int64
        Rows of each step.
    reverse : bool, default=False
        As in the forward pass.

    Returns
    -------
    dgates : ndarray of shape (n, 3, u), dtype of gates
        Gradient with respect to a; its first two thirds are those of b, too.
    dq : ndarray of shape (n, u), dtype of gates
        Gradient with respect to q, the last third of b.

    Raises
    ------
    ValueError
        If shapes, dtypes or batch sizes do not fit.
    """
    W, a, Q, dout, carry = _wide(weight, gates, q, dy, dh)
    before, state = _wide(y, h0)
    for rows, to in _steps("gru_backward", batch_sizes, len(gates), len(dh), reverse):
        after = before[rows].copy()  # what was after each step becomes what was before it
        before[rows], state[to] = state[to], after
    W = W.reshape(-1, dh.shape[1])
    da, dq = np.zeros_like(a), np.zeros_like(Q)
    for rows, to in _steps("gru_backward", batch_sizes, len(gates), len(dh), not reverse):
        r, z, v = a[rows].swapaxes(0, 1)
        total = carry[to] + (0 if dout is None else dout[rows])
        da[rows, 2] = total * (1 - z) * (1 - v**2)
        da[rows, 0] = da[rows, 2] * Q[rows] * r * (1 - r)
        da[rows, 1] = total * (before[rows] - v) * z * (1 - z)
        dq[rows] = da[rows, 2] * r
        db = np.concatenate([da[rows, 0], da[rows, 1], dq[rows]], axis=1)
        carry[to] = total * z + db @ W
    dh[...] = carry
    return da.astype(gates.dtype), dq.astype(gates.dtype)
