"""Rows of a table by number, sums of them over bags, and their gradients.

NaN and infinity propagate; the largest of a bag is NaN where one of its rows is. Empty input: no
indices give no rows, an empty bag is 0. Deterministic: the contributions to a row of the gradient
are added in the order of their positions, in float64, so results have the same bits at any thread
count. Cost is one pass over the rows that are named, and for a gradient over the whole table.
Shapes, dtypes and values that do not fit raise ValueError.
"""

from __future__ import annotations

import numpy as np

from ._op import op

MODES = ("sum", "mean", "max")


def _check(name: str, index: np.ndarray, rows: int) -> None:
    wrong = index[(index < 0) | (index >= rows)]
    if wrong.size:
        raise IndexError(f"embedding.{name}: index must be in [0, {rows}), got {wrong[0]}")


@op("weight: T[v,d], index: i64[n] -> y: T[n,d]", half=True)
def forward(weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows of a table, ``y_i = weight[index_i]``.

    Parameters
    ----------
    weight : ndarray of shape (v, d), float32 or float64
        Table, any strides.
    index : ndarray of shape (n,), int64
        Numbers of rows.

    Returns
    -------
    y : ndarray of shape (n, d), dtype of weight
        Copies of the rows.

    Raises
    ------
    IndexError
        If an index is not in [0, v).
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import embedding
    >>> embedding.forward(np.array([[1.0], [2.0]]), np.array([1, 1, 0])).ravel()
    array([2., 2., 1.])
    """
    _check("forward", index, len(weight))
    return weight[index]


@op(
    "dout: T[n,d], index: i64[n], rows: int[0,2**63), padding: int -> dweight: A[rows,d]",
    half=True,
)
def backward(dout: np.ndarray, index: np.ndarray, rows: int, padding: int = -1) -> np.ndarray:
    """Gradient of the table: the sum of dout over the positions that name a row.

    Parameters
    ----------
    dout : ndarray of shape (n, d), float32 or float64
        Gradient of `forward`.
    index : ndarray of shape (n,), int64
        Numbers of rows.
    rows : int
        Rows of the table.
    padding : int, default=-1
        Row without a gradient; -1 for none.

    Returns
    -------
    dweight : ndarray of shape (rows, d), dtype of dout
        Gradient of the table.

    Raises
    ------
    IndexError
        If an index is not in [0, rows).
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import embedding
    >>> embedding.backward(np.array([[1.0], [2.0], [4.0]]), np.array([1, 1, 0]), rows=3).ravel()
    array([4., 3., 0.])
    """
    _check("backward", index, rows)
    dweight = np.zeros((rows, dout.shape[1]))
    counts = index != padding
    np.add.at(dweight, index[counts], dout[counts].astype(np.float64))
    return dweight.astype(dout.dtype)


def _bags(name: str, index: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The number of the bag of each position; raises unless offsets cut all positions into bags."""
    n = len(index)
    ends = np.append(offsets, n)
    if (len(offsets) and offsets[0] != 0) or (not len(offsets) and n) or (np.diff(ends) < 0).any():
        raise ValueError(
            f"embedding.{name}: offsets must begin with 0 and never fall or pass the {n} indices, "
            f"got {offsets.tolist()[:8]}"
        )
    return np.repeat(np.arange(len(offsets)), np.diff(ends))


@op(
    "weight: T[v,d], index: i64[n], offsets: i64[b], sample_weight: A[n]?, mode: int[0,3),"
    " padding: int -> y: T[b,d]",
    half=True,
)
def bag(
    weight: np.ndarray,
    index: np.ndarray,
    offsets: np.ndarray,
    sample_weight: np.ndarray | None = None,
    mode: int = 0,
    padding: int = -1,
) -> np.ndarray:
    """Sums, means or largest entries of rows of a table over bags of positions.

    Parameters
    ----------
    weight : ndarray of shape (v, d), float32 or float64
        Table, any strides.
    index : ndarray of shape (n,), int64
        Numbers of rows.
    offsets : ndarray of shape (b,), int64
        First position of each bag; a bag ends where the next begins.
    sample_weight : ndarray of shape (n,), dtype of weight, optional
        Factor of the row at each position; for sums only.
    mode : int in [0, 3), default=0
        Place in `MODES`.
    padding : int, default=-1
        Row whose positions are left out, also of the count of a mean; -1 for none.

    Returns
    -------
    y : ndarray of shape (b, d), dtype of weight
        One row per bag; 0 for a bag without positions.

    Raises
    ------
    IndexError
        If an index is not in [0, v).
    ValueError
        If offsets do not cut the positions into bags, `sample_weight` is given for another mode
        than the sum, or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import embedding
    >>> weight, index = np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 2])
    >>> embedding.bag(weight, index, np.array([0, 2])).ravel()
    array([3., 4.])
    """
    _check("bag", index, len(weight))
    bags = _bags("bag", index, offsets)
    _check_mode("bag", sample_weight, mode)
    y = np.zeros((len(offsets), weight.shape[1]))
    counts = index != padding
    rows = weight[index].astype(np.float64)
    if sample_weight is not None:
        rows = rows * sample_weight.astype(np.float64)[:, None]
    for b in range(len(offsets)):
        chosen = rows[(bags == b) & counts]
        if len(chosen):
            y[b] = (chosen.sum, chosen.mean, chosen.max)[mode](0)
    return y.astype(weight.dtype)


def _check_mode(name: str, sample_weight: np.ndarray | None, mode: int) -> None:
    if sample_weight is not None and mode:
        raise ValueError(
            f"embedding.{name}: sample_weight must be None unless mode is 0 (sum), got mode {mode}"
        )


@op(
    "dout: T[b,d], weight: T[v,d], index: i64[n], offsets: i64[b], sample_weight: A[n]?,"
    " mode: int[0,3), padding: int -> dweight: A[v,d], dsample_weight: A[n]",
    half=True,
)
def bag_backward(
    dout: np.ndarray,
    weight: np.ndarray,
    index: np.ndarray,
    offsets: np.ndarray,
    sample_weight: np.ndarray | None = None,
    mode: int = 0,
    padding: int = -1,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bag`.

    Parameters
    ----------
    dout : ndarray of shape (b, d), float32 or float64
        Gradient of the bags.
    weight : ndarray of shape (v, d), dtype of dout
        As in the forward pass.
    index : ndarray of shape (n,), int64
        As in the forward pass.
    offsets : ndarray of shape (b,), int64
        As in the forward pass.
    sample_weight : ndarray of shape (n,), dtype of dout, optional
        As in the forward pass.
    mode : int in [0, 3), default=0
        As in the forward pass.
    padding : int, default=-1
        As in the forward pass; the row has no gradient.

    Returns
    -------
    dweight : ndarray of shape (v, d), dtype of dout
        Gradient of the table. The gradient of a largest entry goes to the first position that has
        it.
    dsample_weight : ndarray of shape (n,), dtype of dout
        Gradient of the factors, 0 without them.

    Raises
    ------
    IndexError
        If an index is not in [0, v).
    ValueError
        As for `bag`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import embedding
    >>> weight, index = np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 1])
    >>> embedding.bag_backward(np.ones((1, 1)), weight, index, np.array([0]))[0].ravel()
    array([1., 2., 0.])
    """
    _check("bag_backward", index, len(weight))
    bags = _bags("bag_backward", index, offsets)
    _check_mode("bag_backward", sample_weight, mode)
    dweight, dsample = np.zeros(weight.shape), np.zeros(len(index))
    counts = index != padding
    d = dout.astype(np.float64)
    if MODES[mode] == "max":
        for b in range(len(offsets)):
            at = np.flatnonzero((bags == b) & counts)
            if len(at) and weight.shape[1]:
                first = at[weight[index[at]].argmax(0)]
                np.add.at(dweight, (index[first], np.arange(weight.shape[1])), d[b])
        return dweight.astype(dout.dtype), dsample.astype(dout.dtype)
    terms = d[bags]
    if MODES[mode] == "mean":
        sizes = np.bincount(bags[counts], minlength=len(offsets))
        terms = terms / np.maximum(sizes, 1)[bags][:, None]
    if sample_weight is not None:
        dsample[counts] = (terms * weight[index].astype(np.float64)).sum(1)[counts]
        terms = terms * sample_weight.astype(np.float64)[:, None]
    np.add.at(dweight, index[counts], terms[counts])
    return dweight.astype(dout.dtype), dsample.astype(dout.dtype)
