"""Initial values of parameters, as in ``torch.nn.init``: ``from kernelmill.nn import init``.

Each function writes into a tensor and returns it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import beside
from ._documents import complete
from ._random import Generator, random_array
from ._tape import written
from ._tensor import Tensor
from ._torch_names import refusal


def _write(tensor: Tensor, values: Any) -> Tensor:
    tensor.data[...] = beside(values, tensor.data)
    written([tensor])
    return tensor


def _drawn(kind: str, tensor: Tensor, generator: Generator | None) -> np.ndarray:
    return random_array(kind, tensor.shape, tensor.dtype, generator)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which an activation makes deviations smaller, inverted.

    Parameters
    ----------
    nonlinearity : str
        Name of the function: linear, conv1d, sigmoid, tanh, relu, leaky_relu, selu.
    param : float, optional
        The slope of leaky_relu, 0.01 by default.

    Examples
    --------
    >>> from kernelmill.nn import init
    >>> init.calculate_gain("relu") ** 2
    2.0000000000000004
    """
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    gains = {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity not in gains:
        raise ValueError(
            "init.calculate_gain: nonlinearity must be linear, conv*, sigmoid, tanh, relu, "
            f"leaky_relu or selu, got {nonlinearity!r}"
        )
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Numbers of inputs and of outputs of one unit.

    Raises
    ------
    ValueError
        If the tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"init: the tensor must have at least 2 axes, got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0,
             generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers from a to b.

    Examples
    --------
    >>> from kernelmill import nn
    >>> bool((nn.init.uniform_(nn.zeros(9), 1, 2) >= 1).all())
    True
    """
    return _write(tensor, a + (b - a) * _drawn("uniform", tensor, generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0,
            generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers."""
    return _write(tensor, mean + std * _drawn("normal", tensor, generator))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0,
                  b: float = 2.0, generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers truncated to an interval."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr((a - mean) / std), ndtr((b - mean) / std)
    u = random_array("uniform", tensor.shape, np.float64, generator)
    return _write(tensor, np.clip(mean + std * ndtri(low + (high - low) * u), a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value."""
    return _write(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return _write(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return _write(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Convolution weights that pass on their input."""
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(
            f"init.dirac_: the tensor must have 3 to 5 axes and {groups} equal groups, got shape "
            f"{tensor.shape}"
        )
    values = np.zeros(tensor.shape)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    each = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            values[(group * each + channel, channel, *centre)] = 1
    return _write(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0,
                    generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers that keep variances both ways (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0,
                   generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers that keep variances both ways (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(fans(tensor)), 1)), generator)


def _he(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init: mode must be fan_in or fan_out, got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu",
                     generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers that keep variances through rectifiers (He et al. 2015)."""
    bound = math.sqrt(3.0) * _he(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu",
                    generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers that keep variances through rectifiers (He et al. 2015)."""
    return normal_(tensor, 0.0, _he(tensor, a, mode, nonlinearity), generator)


def lecun_uniform_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Uniform numbers of variance 1 / fan_in (LeCun et al. 1998)."""
    bound = math.sqrt(3.0 / max(fans(tensor)[0], 1))
    return uniform_(tensor, -bound, bound, generator)


def lecun_normal_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Normal numbers of variance 1 / fan_in (LeCun et al. 1998)."""
    return normal_(tensor, 0.0, math.sqrt(1.0 / max(fans(tensor)[0], 1)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random orthogonal matrix: rows or columns of length ``gain``, at right angles."""
    if tensor.ndim < 2:
        raise ValueError(f"init: the tensor must have at least 2 axes, got shape {tensor.shape}")
    rows = tensor.shape[0]
    columns = tensor.numel() // max(rows, 1)
    drawn = random_array("normal", (max(rows, columns), min(rows, columns)), np.float64, generator)
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # uniform over all orthogonal matrices
    return _write(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01,
            generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal numbers with a share of zeros in each column."""
    rows, columns = tensor.shape
    values = std * random_array("normal", (rows, columns), np.float64, generator)
    order = random_array("uniform", (rows, columns), np.float64, generator).argsort(axis=0)
    values[order < math.ceil(sparsity * rows)] = 0
    return _write(tensor, values)


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)


complete(globals())
