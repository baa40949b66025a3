"""Softmax and cross entropy along one axis, forward and backward.

Arrays have shape (n, c, k): softmax runs over the c classes of each of the n k positions, so that a
matrix of logits is ``x[:, :, None]`` and a batch of images (n, c, h, w) is reshaped to
(n, c, h w). Any strides are read where they are.

The largest entry of a position is subtracted first, so nothing overflows. NaN or inf among the
classes of a position makes all of its results NaN. Where all entries are -inf no class has any
mass: the softmax is 0, its logarithm -inf. Empty input gives empty results. float32 is added in
float64. Deterministic: the classes of a position are added in an order that depends on shape and
strides alone, so results have the same bits at any thread count. Cost is one exponential an entry
and one pass over memory; the two or three passes of a position find it in the cache. Shapes, dtypes
and values that do not fit raise ValueError.
"""

from __future__ import annotations

import numpy as np

from ._op import op


def _log_softmax(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of the softmax of the middle axis and the log-sum-exp, in float64."""
    x = x.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = x.max(1, keepdims=True, initial=-np.inf)
        shift = np.where(largest == -np.inf, 0.0, largest)
        total = np.exp(x - shift).sum(1, keepdims=True)
        result = np.where(total == 0, -np.inf, (x - shift) - np.log(total))
        return result, (shift + np.log(total))[:, 0]


@op("x: T[n,c,k] -> y: T[n,c,k]", half=True)
def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax of the middle axis, ``y_j = exp(x_j) / sum_i exp(x_i)``.

    Parameters
    ----------
    x : ndarray of shape (n, c, k), float32 or float64
        Logits.

    Returns
    -------
    y : ndarray of shape (n, c, k), dtype of x
        Shares that add up to 1 over c.

    Raises
    ------
    ValueError
        If x has another dtype or number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> softmax.softmax(np.log([[[1.0], [3.0]]]))[0, :, 0]
    array([0.25, 0.75])
    """
    return np.exp(_log_softmax(x)[0]).astype(x.dtype)


@op("x: T[n,c,k] -> y: T[n,c,k]", half=True)
def log_softmax(x: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax of the middle axis, ``y_j = x_j - log sum_i exp(x_i)``.

    Parameters
    ----------
    x : ndarray of shape (n, c, k), float32 or float64
        Logits.

    Returns
    -------
    y : ndarray of shape (n, c, k), dtype of x
        Logarithms of the shares.

    Raises
    ------
    ValueError
        If x has another dtype or number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> softmax.log_softmax(np.zeros((1, 2, 1)))[0, :, 0]
    array([-0.69314718, -0.69314718])
    """
    return _log_softmax(x)[0].astype(x.dtype)


@op("dout: T[n,c,k], y: T[n,c,k] -> dx: T[n,c,k]", half=True)
def softmax_backward(dout: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of `softmax`, ``dx_j = y_j (dout_j - sum_i dout_i y_i)``.

    Parameters
    ----------
    dout : ndarray of shape (n, c, k), float32 or float64
        Gradient of y.
    y : ndarray of shape (n, c, k), dtype of dout
        Result of `softmax`.

    Returns
    -------
    dx : ndarray of shape (n, c, k), dtype of dout
        Gradient of x.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> dout, y = np.array([[[1.0], [0.0]]]), np.array([[[0.25], [0.75]]])
    >>> softmax.softmax_backward(dout, y)[0, :, 0]
    array([ 0.1875, -0.1875])
    """
    d, p = dout.astype(np.float64), y.astype(np.float64)
    return (p * (d - (d * p).sum(1, keepdims=True))).astype(y.dtype)


@op("dout: T[n,c,k], y: T[n,c,k] -> dx: T[n,c,k]", half=True)
def log_softmax_backward(dout: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of `log_softmax`, ``dx_j = dout_j - exp(y_j) sum_i dout_i``.

    Parameters
    ----------
    dout : ndarray of shape (n, c, k), float32 or float64
        Gradient of y.
    y : ndarray of shape (n, c, k), dtype of dout
        Result of `log_softmax`.

    Returns
    -------
    dx : ndarray of shape (n, c, k), dtype of dout
        Gradient of x.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> dout, y = np.array([[[1.0], [0.0]]]), np.log([[[0.25], [0.75]]])
    >>> softmax.log_softmax_backward(dout, y)[0, :, 0]
    array([ 0.75, -0.75])
    """
    d = dout.astype(np.float64)
    return (d - np.exp(y.astype(np.float64)) * d.sum(1, keepdims=True)).astype(y.dtype)


def _checked(op_name: str, target: np.ndarray, c: int, ignore_index: int) -> np.ndarray:
    """Which targets count; raises for one that is no class."""
    counts = target != ignore_index
    wrong = target[counts & ((target < 0) | (target >= c))]
    if wrong.size:
        raise ValueError(
            f"softmax.{op_name}: target must be in [0, {c}) or {ignore_index} (ignore_index), got "
            f"{wrong[0]}"
        )
    return counts


@op(
    "logits: T[n,c,k], target: i64[n,k], weight: A[c]?, ignore_index: int, label_smoothing: float"
    " -> losses: A[n,k], lse: f64[n,k], total: float",
    half=True,
)
def cross_entropy(
    logits: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Cross entropy of the softmax of logits with classes.

    With ``q_j = -log_softmax(logits)_j``, target t, weights w (1 without) and smoothing s the loss
    of a position is ``(1 - s) w_t q_t + s / c sum_j w_j q_j``.

    Parameters
    ----------
    logits : ndarray of shape (n, c, k), float32 or float64
        Scores of c classes at n k positions.
    target : ndarray of shape (n, k), int64
        Class of each position.
    weight : ndarray of shape (c,), dtype of logits, optional
        Weight of each class; a class of weight 0 adds nothing, even where its q is infinite.
    ignore_index : int, default=-100
        Positions with this target have loss 0.
    label_smoothing : float, default=0.0
        Share of the loss that is spread over all classes.

    Returns
    -------
    losses : ndarray of shape (n, k), dtype of logits
        Loss of each position.
    lse : ndarray of shape (n, k), float64
        Log-sum-exp of the logits, for `cross_entropy_backward`.
    total : float
        Sum of the weights of the targets that are not ignored: what the mean divides by.

    Raises
    ------
    ValueError
        If a target is neither a class nor `ignore_index`, or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> logits, target = np.zeros((2, 4, 1)), np.array([[1], [-100]])
    >>> losses, lse, total = softmax.cross_entropy(logits, target)
    >>> losses[:, 0], total
    (array([1.38629436, 0.        ]), 1.0)
    """
    c = logits.shape[1]
    counts = _checked("cross_entropy", target, c, ignore_index)
    q, lse = _log_softmax(logits)
    w = np.ones(c) if weight is None else weight.astype(np.float64)
    chosen = np.where(counts, target, 0)[:, None, :]
    own = w[np.minimum(chosen[:, 0], c - 1)] if c else np.zeros(target.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        q_t = -np.take_along_axis(q, chosen, 1)[:, 0] if c else np.zeros(target.shape)
        loss = (1 - label_smoothing) * np.where(own == 0, 0.0, own * q_t)
        if label_smoothing != 0:
            terms = np.where(w[:, None] == 0, 0.0, w[:, None] * -q)
            loss = loss + label_smoothing / max(c, 1) * terms.sum(1)
        losses = np.where(counts, loss, 0.0).astype(logits.dtype)
    return losses, lse, float(own[counts].sum())


@op(
    "dout: A[n,k], logits: T[n,c,k], lse: f64[n,k], target: i64[n,k], weight: A[c]?,"
    " ignore_index: int, label_smoothing: float -> dlogits: T[n,c,k]",
    half=True,
)
def cross_entropy_backward(
    dout: np.ndarray,
    logits: np.ndarray,
    lse: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Gradient of `cross_entropy`.

    With p the softmax, ``W`` the sum of the weights and the other symbols of `cross_entropy`,
    ``dlogits_j = dout ((a + b W) p_j - a [j = t] - b w_j)`` for ``a = (1 - s) w_t``, ``b = s / c``.

    Parameters
    ----------
    dout : ndarray of shape (n, k), float32 or float64
        Gradient of the losses. Where it is 0, and at ignored positions whatever it is, the result
        is exactly 0.
    logits : ndarray of shape (n, c, k), dtype of dout
        As in the forward pass.
    lse : ndarray of shape (n, k), float64
        Log-sum-exp that the forward pass returned.
    target : ndarray of shape (n, k), int64
        As in the forward pass.
    weight : ndarray of shape (c,), dtype of dout, optional
        As in the forward pass.
    ignore_index : int, default=-100
        As in the forward pass.
    label_smoothing : float, default=0.0
        As in the forward pass.

    Returns
    -------
    dlogits : ndarray of shape (n, c, k), dtype of dout
        Gradient of the logits; it adds up to 0 over the classes.

    Raises
    ------
    ValueError
        If a target is neither a class nor `ignore_index`, or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import softmax
    >>> logits, target = np.zeros((1, 2, 1)), np.array([[1]])
    >>> losses, lse, total = softmax.cross_entropy(logits, target)
    >>> softmax.cross_entropy_backward(np.ones((1, 1)), logits, lse, target)[0, :, 0]
    array([ 0.5, -0.5])
    """
    c = logits.shape[1]
    counts = _checked("cross_entropy_backward", target, c, ignore_index)
    w = np.ones(c) if weight is None else weight.astype(np.float64)
    chosen = np.where(counts, target, 0)
    a = (1 - label_smoothing) * w[np.minimum(chosen, c - 1)] if c else np.zeros(target.shape)
    b = label_smoothing / max(c, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.exp(logits.astype(np.float64) - np.where(lse == -np.inf, 0.0, lse)[:, None])
        hit = np.arange(c)[:, None] == chosen[:, None]
        gradient = (a + b * w.sum())[:, None] * p - a[:, None] * hit - b * w[:, None]
        flows = (counts & (dout != 0))[:, None]
        return np.where(flows, dout.astype(np.float64)[:, None] * gradient, 0.0).astype(dout.dtype)
