"""Normalisation by mean and deviation of groups of channels or of batches, forward and backward.

Arrays have shape (n, c, k): c channels of k places in n samples. `group` takes its statistics from
the channels of a group in one sample, so that layer norm is `group` of (n, features, 1) with one
group, instance norm has as many groups as channels, and RMS norm is not centered. `batch` takes
them from one channel in all samples. Any strides are read where they are.

Statistics are accumulated in float64, about the mean and not about 0, so a mean that is large
beside the deviation costs no digits, and float32 squares cannot overflow; float64 rows whose
squares would are scaled first. NaN or inf makes what it is normalised with NaN. Empty input has
mean NaN and an empty result. Deterministic: sums depend on shape and strides alone, so results have
the same bits at any thread count. Cost is one pass over memory while a row, or a channel of the
batch, fits the cache; each is read three times. Shapes, dtypes and values that do not fit raise
ValueError.
"""

from __future__ import annotations

import numpy as np

from ._op import op


def _moments(x: np.ndarray, axis: tuple[int, ...], centered: bool, eps: float):
    """Mean, variance and 1 / sqrt(variance + eps) over axes of float64 values, kept with size 1."""
    count = np.prod([x.shape[a] for a in axis])
    with np.errstate(all="ignore"):
        scale = np.where(np.abs(x).max(axis, keepdims=True, initial=0) > 1e150, 2.0**-600, 1.0)
        u = x * scale
        mean = u.sum(axis, keepdims=True) / count
        mean = mean + (u - mean).sum(axis, keepdims=True) / count
        mean = mean if centered else np.zeros_like(mean)
        square = ((u - mean) ** 2).sum(axis, keepdims=True) / count
        inverse = scale / np.sqrt(square + eps * scale**2)
        return mean / scale, square / scale**2, inverse


def _scaled(y: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    if weight is not None:
        y = y * weight.astype(np.float64)[:, None]
    return y if bias is None else y + bias.astype(np.float64)[:, None]


def _input_gradient(g: np.ndarray, y: np.ndarray, inverse, axis, centered: bool) -> np.ndarray:
    """``inverse (g - mean(g) - y mean(g y))``."""
    count = np.float64(np.prod([y.shape[a] for a in axis]))
    dx = g - y * ((g * y).sum(axis, keepdims=True) / count)
    return inverse * (dx - g.sum(axis, keepdims=True) / count if centered else dx)


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    n, c, k = x.shape
    return x.astype(np.float64).reshape(n, groups, c // max(groups, 1), k)


def _check_groups(op_name: str, c: int, groups: int) -> None:
    if groups < 1 or c % groups:
        raise ValueError(f"norm.{op_name}: groups must divide {c} channels, got {groups}")


@op(
    "x: T[n,c,k], weight: A[c]?, bias: A[c]?, groups: int[0,2**63), eps: float, centered: bool"
    " -> y: T[n,c,k], mean: f64[n,groups], inverse: f64[n,groups]",
    half=True,
)
def group(
    x: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    groups: int = 1,
    eps: float = 1e-5,
    centered: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalisation of groups of channels, ``y = (x - mean) inverse weight + bias``.

    Parameters
    ----------
    x : ndarray of shape (n, c, k), float32 or float64
        Values; group g is the channels from ``g c / groups`` on.
    weight, bias : ndarray of shape (c,), dtype of x, optional
        Factor and summand of each channel.
    groups : int, default=1
        Number of groups; divides c.
    eps : float, default=1e-5
        Added to the variance.
    centered : bool, default=True
        False for RMS norm: the mean is taken to be 0.

    Returns
    -------
    y : ndarray of shape (n, c, k), dtype of x
        Normalised values.
    mean : ndarray of shape (n, groups), float64
        Means, 0 if not `centered`.
    inverse : ndarray of shape (n, groups), float64
        ``1 / sqrt(variance + eps)`` with the variance that divides by the number of values.

    Raises
    ------
    ValueError
        If `groups` does not divide c, or shapes or dtypes do not fit.

    References
    ----------
    Ba, Kiros and Hinton (2016), "Layer normalization"; Wu and He (2018), "Group normalization";
    Zhang and Sennrich (2019), "Root mean square layer normalization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import norm
    >>> norm.group(np.array([[[1.0], [3.0]]]), eps=0.0)
    (array([[[-1.],
            [ 1.]]]), array([[2.]]), array([[1.]]))
    """
    _check_groups("group", x.shape[1], groups)
    rows = _grouped(x, groups)
    mean, _, inverse = _moments(rows, (2, 3), centered, eps)
    with np.errstate(invalid="ignore", over="ignore"):
        y = ((rows - mean) * inverse).reshape(x.shape)
        return _scaled(y, weight, bias).astype(x.dtype), mean[:, :, 0, 0], inverse[:, :, 0, 0]


@op(
    "dout: T[n,c,k], x: T[n,c,k], mean: f64[n,groups], inverse: f64[n,groups], weight: A[c]?,"
    " centered: bool -> dx: T[n,c,k], dweight: A[c], dbias: A[c]",
    half=True,
)
def group_backward(
    dout: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    weight: np.ndarray | None = None,
    centered: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `group`.

    With ``z = (x - mean) inverse`` and ``g = dout weight``, and means over a group,
    ``dx = inverse (g - mean(g) - z mean(g z))``, without ``mean(g)`` if not `centered`.

    Parameters
    ----------
    dout : ndarray of shape (n, c, k), float32 or float64
        Gradient of y.
    x : ndarray of shape (n, c, k), dtype of dout
        As in the forward pass.
    mean, inverse : ndarray of shape (n, groups), float64
        What the forward pass returned.
    weight : ndarray of shape (c,), dtype of dout, optional
        As in the forward pass.
    centered : bool, default=True
        As in the forward pass.

    Returns
    -------
    dx : ndarray of shape (n, c, k), dtype of dout
        Gradient of x.
    dweight : ndarray of shape (c,), dtype of dout
        Sums of ``dout z``.
    dbias : ndarray of shape (c,), dtype of dout
        Sums of dout.

    Raises
    ------
    ValueError
        If groups do not divide c, or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import norm
    >>> x = np.array([[[1.0], [3.0]]])
    >>> y, mean, inverse = norm.group(x, eps=0.0)
    >>> norm.group_backward(np.array([[[1.0], [0.0]]]), x, mean, inverse)[1]
    array([-1.,  0.])
    """
    groups = mean.shape[1]
    _check_groups("group_backward", x.shape[1], groups)
    with np.errstate(invalid="ignore", over="ignore"):
        centers, factors = mean[:, :, None, None], inverse[:, :, None, None]
        y = (_grouped(x, groups) - centers) * factors
        d = dout.astype(np.float64)
        g = _grouped(_scaled(d, weight, None), groups)
        dx = _input_gradient(g, y, factors, (2, 3), centered)
        dweight, dbias = (d * y.reshape(d.shape)).sum((0, 2)), d.sum((0, 2))
    return dx.reshape(x.shape).astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)


@op(
    "x: T[n,c,k], weight: A[c]?, bias: A[c]?, eps: float"
    " -> y: T[n,c,k], mean: f64[c], variance: f64[c], inverse: f64[c]",
    half=True,
)
def batch(
    x: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Normalisation of channels by the statistics of the batch.

    Parameters
    ----------
    x : ndarray of shape (n, c, k), float32 or float64
        Values.
    weight, bias : ndarray of shape (c,), dtype of x, optional
        Factor and summand of each channel.
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    y : ndarray of shape (n, c, k), dtype of x
        ``(x - mean) inverse weight + bias``.
    mean : ndarray of shape (c,), float64
        Means over n and k.
    variance : ndarray of shape (c,), float64
        Variances, divided by n k; running statistics want ``n k / (n k - 1)`` times that.
    inverse : ndarray of shape (c,), float64
        ``1 / sqrt(variance + eps)``.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    References
    ----------
    Ioffe and Szegedy (2015), "Batch normalization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import norm
    >>> y, mean, variance, inverse = norm.batch(np.array([[[1.0]], [[3.0]]]), eps=0.0)
    >>> y[:, 0, 0], mean, variance
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    rows = x.astype(np.float64)
    mean, variance, inverse = _moments(rows, (0, 2), True, eps)
    with np.errstate(invalid="ignore", over="ignore"):
        y = _scaled((rows - mean) * inverse, weight, bias).astype(x.dtype)
    return y, mean[0, :, 0], variance[0, :, 0], inverse[0, :, 0]


@op(
    "x: T[n,c,k], mean: f64[c], inverse: f64[c], weight: A[c]?, bias: A[c]? -> y: T[n,c,k]",
    half=True,
)
def batch_evaluate(
    x: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Normalisation of channels by given statistics, ``y = (x - mean) inverse weight + bias``.

    Parameters
    ----------
    x : ndarray of shape (n, c, k), float32 or float64
        Values.
    mean, inverse : ndarray of shape (c,), float64
        Mean and inverse deviation of each channel.
    weight, bias : ndarray of shape (c,), dtype of x, optional
        Factor and summand of each channel.

    Returns
    -------
    y : ndarray of shape (n, c, k), dtype of x
        Normalised values.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import norm
    >>> norm.batch_evaluate(np.array([[[3.0]]]), np.array([1.0]), np.array([0.5]))
    array([[[1.]]])
    """
    with np.errstate(invalid="ignore", over="ignore"):
        y = (x.astype(np.float64) - mean[:, None]) * inverse[:, None]
        return _scaled(y, weight, bias).astype(x.dtype)


@op(
    "dout: T[n,c,k], x: T[n,c,k], mean: f64[c], inverse: f64[c], weight: A[c]?, evaluate: bool"
    " -> dx: T[n,c,k], dweight: A[c], dbias: A[c]",
    half=True,
)
def batch_backward(
    dout: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    weight: np.ndarray | None = None,
    evaluate: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `batch`, or of `batch_evaluate`.

    With ``z = (x - mean) inverse`` and ``g = dout weight``, and means over a channel,
    ``dx = inverse (g - mean(g) - z mean(g z))``; for `batch_evaluate`, ``dx = inverse g``.

    Parameters
    ----------
    dout : ndarray of shape (n, c, k), float32 or float64
        Gradient of y.
    x : ndarray of shape (n, c, k), dtype of dout
        As in the forward pass.
    mean, inverse : ndarray of shape (c,), float64
        The statistics of the forward pass.
    weight : ndarray of shape (c,), dtype of dout, optional
        As in the forward pass.
    evaluate : bool, default=False
        Whether the statistics were given, and not those of x.

    Returns
    -------
    dx : ndarray of shape (n, c, k), dtype of dout
        Gradient of x.
    dweight : ndarray of shape (c,), dtype of dout
        Sums of ``dout z``.
    dbias : ndarray of shape (c,), dtype of dout
        Sums of dout.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import norm
    >>> x = np.array([[[1.0]], [[3.0]]])
    >>> y, mean, variance, inverse = norm.batch(x, eps=0.0)
    >>> norm.batch_backward(np.array([[[1.0]], [[0.0]]]), x, mean, inverse)[1:]
    (array([-1.]), array([1.]))
    """
    with np.errstate(invalid="ignore", over="ignore"):
        factors = inverse[:, None]
        y = (x.astype(np.float64) - mean[:, None]) * factors
        d = dout.astype(np.float64)
        g = _scaled(d, weight, None)
        dx = factors * g if evaluate else _input_gradient(g, y, factors, (0, 2), True)
        dweight, dbias = (d * y).sum((0, 2)), d.sum((0, 2))
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
