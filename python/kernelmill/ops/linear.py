"""Dense layers: the matrix product with bias and activation while its tiles are in registers.

NaN and infinity propagate. Empty input: no rows give no rows, no inputs give activation(bias).
Deterministic: the order in which an entry is summed depends on the shapes alone, so results have
the same bits at any thread count. Cost is 2 n i o operations a product.
Shapes, dtypes and values that do not fit raise ValueError.
"""

from __future__ import annotations

import numpy as np

from . import elementwise
from ._op import op

# An activation is given by its place here; all but the first are rows of the elementwise table.
ACTIVATIONS = (
    "identity",
    "relu",
    "logistic",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "log_sigmoid",
)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) @ b.astype(np.float64)


@op(
    "x: T[n,i], weight: T[o,i], bias: A[o]?, activation: int[0,12), parameter: float,"
    " evaluate: bool -> y: T[n,o], z: T[evaluate?0:n,o]",
    half=True,
)
def forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: int = 0,
    parameter: float = 0.0,
    evaluate: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Output of a dense layer, ``y = f(z)`` with ``z = x weight' + bias``.

    Parameters
    ----------
    x : ndarray of shape (n, i), float32 or float64
        Inputs, any strides.
    weight : ndarray of shape (o, i), dtype of x
        Weights, one row per output.
    bias : ndarray of shape (o,), dtype of x, optional
        Added to every row.
    activation : int in [0, 12), default=0
        Place of f in `ACTIVATIONS`; 0 is the identity.
    parameter : float, default=0.0
        Slope of leaky_relu and alpha of elu; ignored by the others.
    evaluate : bool, default=True
        Whether z is not needed. With False it is returned as well, for activations whose derivative
        is a function of z.

    Returns
    -------
    y : ndarray of shape (n, o), dtype of x
        Outputs.
    z : ndarray of shape (n, o), or (0, o) if `evaluate`, dtype of x
        Outputs before the activation.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or `activation` is out of range.

    Notes
    -----
    Implementations add at the dtype of x.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linear
    >>> x, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> linear.forward(x, weight, np.array([0.5, 0.5]), linear.ACTIVATIONS.index("relu"))[0]
    array([[3.5, 0. ]])
    """
    z = _product(x, weight.T)
    if bias is not None:
        z = z + bias.astype(np.float64)
    name = ACTIVATIONS[activation]
    more = (np.float64(parameter),) if name in ("leaky_relu", "elu") else ()
    y = z if activation == 0 else getattr(elementwise, name).specification(z, *more)
    with np.errstate(over="ignore"):
        return y.astype(x.dtype), z[: 0 if evaluate else len(z)].astype(x.dtype)


@op(
    "dout: T[n,o], x: T[n,i], weight: T[o,i], skip_x: bool, skip_weight: bool, skip_bias: bool"
    " -> dx: T[skip_x?0:n,i], dweight: T[skip_weight?0:o,i], dbias: T[skip_bias?0:o]",
    half=True,
)
def backward(
    dout: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    skip_x: bool = False,
    skip_weight: bool = False,
    skip_bias: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``z = x weight' + bias``.

    Parameters
    ----------
    dout : ndarray of shape (n, o), float32 or float64
        Gradient of z, any strides.
    x : ndarray of shape (n, i), dtype of dout
        Inputs of the forward pass.
    weight : ndarray of shape (o, i), dtype of dout
        Weights.
    skip_x, skip_weight, skip_bias : bool, default=False
        Gradients that are not wanted, and have no rows then.

    Returns
    -------
    dx : ndarray of shape (n, i), dtype of dout
        ``dout weight``.
    dweight : ndarray of shape (o, i), dtype of dout
        ``dout' x``.
    dbias : ndarray of shape (o,), dtype of dout
        Sum of the rows of dout, accumulated in float64.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linear
    >>> dx, dweight, dbias = linear.backward(np.ones((2, 1)), np.eye(2), np.array([[3.0, 4.0]]))
    >>> dx, dweight, dbias
    (array([[3., 4.],
           [3., 4.]]), array([[1., 1.]]), array([2.]))
    """
    none = slice(0, 0)
    dx = _product(dout[none] if skip_x else dout, weight)
    dweight = _product(dout.T[none] if skip_weight else dout.T, x)
    dbias = dout[:, none if skip_bias else slice(None)].astype(np.float64).sum(0)
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
