"""Where in a sequence something stands: sinusoids, learnt rows, rotations, slopes of distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside, namespace
from .. import functional as F
from .. import init
from .._documents import complete
from .._elementwise import get_default_dtype
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor
from ._layers import empty_parameter
from ._module import Module


def _places(length: int, offset: int, positions: Any) -> np.ndarray:
    """Positions as an array of shape (T,) or (N, T)."""
    if positions is None:
        return np.arange(offset, offset + length)
    return np.asarray(as_tensor(positions).numpy())


class SinusoidalPositions(Module):
    """Adds sines and cosines of the position, of wavelengths from ``2 pi`` to ``2 pi base``.

    Feature 2 i is ``sin(x / base^(2 i / d))`` and feature 2 i + 1 the cosine of the same, at
    position x. There is nothing to learn, and no longest sequence.

    Parameters
    ----------
    embedding_dim : int
        Number of features d.
    base : float, default=10000
        Ratio of the longest wavelength to the shortest.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need".

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.SinusoidalPositions(4)(nn.zeros(1, 2, 4))[0, 0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, embedding_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        self.embedding_dim, self.base = embedding_dim, base

    def forward(self, input: Any, offset: int = 0, positions: Any = None) -> Tensor:
        """Add the table to an input.

        Parameters
        ----------
        input : Tensor of shape (N, T, d) or (T, d)
            Embeddings.
        offset : int, default=0
            Position of the first row.
        positions : array-like of int of shape (T,) or (N, T), optional
            Positions of the rows, in place of ``offset``.

        Returns
        -------
        Tensor
            The sum.
        """
        x = as_tensor(input)
        places = _places(x.shape[-2], offset, positions)
        i = np.arange(self.embedding_dim)
        angle = places[..., None] / self.base ** ((i - i % 2) / self.embedding_dim)
        table = np.where(i % 2 == 0, np.sin(angle), np.cos(angle))
        return x + beside(table.astype(x.dtype), x.data)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.embedding_dim}, base={self.base}"


class LearnedPositions(Module):
    """Adds a learnt row to each position.

    Parameters
    ----------
    num_positions : int
        Length of the longest sequence.
    embedding_dim : int
        Number of features.
    dtype : dtype, optional
        Dtype of the table.

    Attributes
    ----------
    weight : Parameter of shape (num_positions, embedding_dim)
        Normal with standard deviation 0.02 at first.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.LearnedPositions(10, 4)(nn.zeros(2, 3, 4)).shape
    (2, 3, 4)
    """

    def __init__(self, num_positions: int, embedding_dim: int, dtype: Any = None) -> None:
        super().__init__()
        self.num_positions, self.embedding_dim = num_positions, embedding_dim
        self.weight = empty_parameter(num_positions, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight, std=0.02)

    def forward(self, input: Any, offset: int = 0, positions: Any = None) -> Tensor:
        """Add the rows to an input.

        Parameters
        ----------
        input : Tensor of shape (N, T, d) or (T, d)
            Embeddings.
        offset : int, default=0
            Position of the first row.
        positions : array-like of int of shape (T,) or (N, T), optional
            Positions of the rows, in place of ``offset``.

        Returns
        -------
        Tensor
            The sum.
        """
        x = as_tensor(input)
        end = offset + x.shape[-2]
        if positions is None and offset >= 0 and end <= self.num_positions:
            return x + self.weight[offset:end]
        places = _places(x.shape[-2], offset, positions)
        if places.size and (places.min() < 0 or places.max() >= self.num_positions):
            raise ValueError(
                f"LearnedPositions: positions must lie in [0, {self.num_positions}), got "
                f"{places.min()} to {places.max()}"
            )
        return x + F.embedding(places, self.weight)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_positions}, {self.embedding_dim}"


def _turn(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    xp, d = namespace(x), 2 * cos.shape[-1]
    y = xp.empty_like(x)
    y[..., d:] = x[..., d:]
    cuts = (slice(0, d, 2), slice(1, d, 2)) if interleaved else (slice(d // 2), slice(d // 2, d))
    first, second = (x[..., cut] for cut in cuts)
    y[..., cuts[0]] = first * cos - second * sin
    y[..., cuts[1]] = second * cos + first * sin
    return y


def _turn_back(g: Any, saved: tuple, node: Node) -> Any:
    return _rotate(g, **{**node.options, "sin": -node.options["sin"]})


_rotate: Rule = Rule("rotary_embedding", _turn, _turn_back)


class RotaryEmbedding(Module):
    """Turns pairs of features of queries and keys by angles proportional to their positions.

    Pair i turns by ``x / base^(2 i / dim)`` at position x, so that the product of a query and a
    key depends on their distance alone.

    Parameters
    ----------
    dim : int
        How many features are turned, an even number; further ones are left as they are.
    base : float, default=10000
        Ratio of the slowest turn to the fastest.
    interleaved : bool, default=False
        Pair features 2 i and 2 i + 1, as the paper does; otherwise i and i + dim / 2, as GPT-NeoX
        and Llama do.

    References
    ----------
    Su et al. (2021), "RoFormer: enhanced transformer with rotary position embedding".

    Examples
    --------
    >>> from kernelmill import nn
    >>> rotary, q, k = nn.RotaryEmbedding(4), nn.ones(1, 4), nn.ones(1, 4)
    >>> first = (rotary(q) * rotary(k, offset=5)).sum()
    >>> bool(abs((rotary(q, offset=3) * rotary(k, offset=8)).sum() - first) < 1e-5)
    True
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        if dim < 0 or dim % 2:
            raise ValueError(f"RotaryEmbedding: dim must be an even number, got {dim}")
        self.dim, self.base, self.interleaved = dim, base, interleaved

    def forward(self, input: Any, offset: int = 0, positions: Any = None) -> Tensor:
        """Turn queries or keys.

        Parameters
        ----------
        input : Tensor of shape (..., T, features)
            Queries or keys.
        offset : int, default=0
            Position of the first row.
        positions : array-like of int of shape (T,) or (N, T), optional
            Positions of the rows, in place of ``offset``; with N, input has the axes (N, H, T,
            features).

        Returns
        -------
        Tensor
            The turned input.
        """
        x = as_tensor(input)
        if x.shape[-1] < self.dim:
            raise RuntimeError(
                f"RotaryEmbedding: input must have at least {self.dim} features, got shape "
                f"{x.shape}"
            )
        places = _places(x.shape[-2], offset, positions)
        angle = places[..., None] / self.base ** (np.arange(0, self.dim, 2) / max(self.dim, 1))
        if places.ndim == 2:
            angle = angle[:, None]
        cos, sin = (beside(f(angle).astype(x.dtype), x.data) for f in (np.cos, np.sin))
        return _rotate(x, cos=cos, sin=sin, interleaved=self.interleaved)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.dim}, base={self.base}, interleaved={self.interleaved}"


def alibi_slopes(num_heads: int, dtype: Any = None) -> Tensor:
    """Slopes of attention with linear biases, a geometric sequence over the heads.

    Parameters
    ----------
    num_heads : int
        Number of heads.
    dtype : dtype, optional
        Dtype of the slopes; the default dtype if not given.

    Returns
    -------
    slopes : Tensor of shape (num_heads,)
        ``2^(-8 i / n)`` for i from 1, where n is a power of two; otherwise those of the largest
        power of two below, then every second one of the next.

    References
    ----------
    Press, Smith and Lewis (2022), "Train short, test long: attention with linear biases enables
    input length extrapolation".

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.alibi_slopes(4).tolist()
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    def sequence(n: int) -> np.ndarray:
        return 2.0 ** (-8.0 * np.arange(1, n + 1) / n)

    power = 2 ** int(math.log2(num_heads)) if num_heads > 0 else 0
    slopes = sequence(power) if power else np.zeros(0)
    if power < num_heads:
        slopes = np.concatenate([slopes, sequence(2 * power)[::2][: num_heads - power]])
    return Tensor(slopes.astype(get_default_dtype() if dtype is None else dtype))


complete(globals())
