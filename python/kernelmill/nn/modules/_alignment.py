"""Soft and hard attention of recurrent networks: scores of a query with each key, then a mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import to_host
from .._documents import complete
from .._random import multinomial
from .._tensor import Tensor, as_tensor
from ..functional._attention import masked_softmax
from ._layers import Linear
from ._module import Module


class _Scored(Module):
    """Weights from the scores of a query and each key."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of each query with each key.

        Parameters
        ----------
        query : Tensor of shape (N, L, query_dim)
            Queries.
        key : Tensor of shape (N, S, key_dim)
            Keys.

        Returns
        -------
        Tensor of shape (N, L, S)
            The scores.
        """
        raise NotImplementedError

    def forward(
        self, query: Any, key: Any, value: Any = None, mask: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Apply the layer.

        Parameters
        ----------
        query : Tensor of shape (N, L, query_dim) or (N, query_dim)
            Queries.
        key : Tensor of shape (N, S, key_dim)
            Keys.
        value : Tensor of shape (N, S, F), optional
            Values; the keys by default.
        mask : Tensor of bool of shape (N, S) or (N, L, S), optional
            True where a key takes part. With none, context and weights are 0.

        Returns
        -------
        context : Tensor of shape (N, L, F) or (N, F)
            Weighted means of the values.
        weights : Tensor of shape (N, L, S) or (N, S)
            Softmax of the scores.
        """
        query, key = as_tensor(query), as_tensor(key)
        value = key if value is None else as_tensor(value)
        single = query.ndim == 2
        if single:
            query = query.unsqueeze(1)
        if mask is not None:
            mask = ~as_tensor(mask).data
            mask = mask[:, None] if mask.ndim == 2 else mask
        weights = masked_softmax(self.scores(query, key), mask)
        context = self.combine(weights, value)
        return (context.squeeze(1), weights.squeeze(1)) if single else (context, weights)

    def combine(self, weights: Tensor, value: Tensor) -> Tensor:
        """Means of the values.

        Parameters
        ----------
        weights : Tensor of shape (N, L, S)
            The weights.
        value : Tensor of shape (N, S, F)
            The values.

        Returns
        -------
        Tensor of shape (N, L, F)
            The means.
        """
        return weights @ value


class AdditiveAttention(_Scored):
    """Attention with scores ``v . tanh(W q + U k)``.

    Parameters
    ----------
    query_dim : int
        Number of features of a query.
    key_dim : int
        Number of features of a key.
    hidden_dim : int
        Number of hidden units.
    bias : bool, default=False
        Whether the hidden units have biases.
    dtype : dtype, optional
        Dtype of the parameters.

    References
    ----------
    Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and
    translate".

    Examples
    --------
    >>> from kernelmill import nn
    >>> context, weights = nn.AdditiveAttention(3, 4, 5)(nn.randn(2, 3), nn.randn(2, 6, 4))
    >>> context.shape, weights.shape
    ((2, 4), (2, 6))
    """

    def __init__(
        self, query_dim: int, key_dim: int, hidden_dim: int, bias: bool = False, dtype: Any = None
    ) -> None:
        super().__init__()
        self.query_proj = Linear(query_dim, hidden_dim, bias=bias, dtype=dtype)
        self.key_proj = Linear(key_dim, hidden_dim, bias=False, dtype=dtype)
        self.score = Linear(hidden_dim, 1, bias=False, dtype=dtype)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        units = self.query_proj(query).unsqueeze(2) + self.key_proj(key).unsqueeze(1)
        return self.score(units.tanh()).squeeze(-1)


class MultiplicativeAttention(_Scored):
    """Attention with scores ``q . k`` or ``q . W k``.

    Parameters
    ----------
    query_dim : int
        Number of features of a query.
    key_dim : int, optional
        Number of features of a key; ``query_dim`` by default.
    method : {"general", "dot"}
        With a matrix W to learn, or without.
    scale : bool, default=False
        Divide the scores by the root of ``query_dim``.
    dtype : dtype, optional
        Dtype of the parameters.

    References
    ----------
    Luong, Pham and Manning (2015), "Effective approaches to attention-based neural machine
    translation".

    Examples
    --------
    >>> from kernelmill import nn
    >>> context, weights = nn.MultiplicativeAttention(3, 4)(nn.randn(2, 3), nn.randn(2, 6, 4))
    >>> context.shape, weights.shape
    ((2, 4), (2, 6))
    """

    def __init__(
        self, query_dim: int, key_dim: int | None = None, method: str = "general",
        scale: bool = False, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        key_dim = query_dim if key_dim is None else key_dim
        if method not in ("general", "dot") or (method == "dot" and key_dim != query_dim):
            raise ValueError(
                "MultiplicativeAttention: method must be 'general', or 'dot' for keys as long as "
                f"queries, got {method!r} for lengths {query_dim} and {key_dim}"
            )
        self.method, self.factor = method, 1 / math.sqrt(query_dim) if scale else 1.0
        self.key_proj = (
            Linear(key_dim, query_dim, bias=False, dtype=dtype) if method == "general" else None
        )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        key = key if self.key_proj is None else self.key_proj(key)
        scores = query @ key.transpose(-2, -1)
        return scores if self.factor == 1 else scores * self.factor


class HardAttention(MultiplicativeAttention):
    """Attention to one place, drawn from the softmax of the scores and trained by REINFORCE.

    The place has no gradient. :meth:`surrogate` turns the losses of the samples into a number whose
    gradient is, on average, that of the expected loss: besides the losses themselves it has
    ``(loss - baseline) log p(place)`` with a moving mean of the losses as baseline, which lowers
    the variance. In evaluation the place of the largest score is taken.

    Parameters
    ----------
    query_dim : int
        Number of features of a query.
    key_dim : int, optional
        Number of features of a key; ``query_dim`` by default.
    method : {"general", "dot"}
        As for :class:`MultiplicativeAttention`.
    momentum : float, default=0.9
        Share of the old baseline in the new one.
    dtype : dtype, optional
        Dtype of the parameters.

    References
    ----------
    Williams (1992), "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning". Xu et al. (2015), "Show, attend and tell".

    Examples
    --------
    Learn to look at the place that the query names:

    >>> import numpy as np
    >>> from kernelmill import nn
    >>> _ = nn.manual_seed(0)
    >>> layer = nn.HardAttention(4)
    >>> keys = nn.Tensor(np.tile(np.eye(4, dtype=np.float32), (64, 1, 1)))
    >>> optimizer = nn.optim.Adam(layer.parameters(), lr=0.05)
    >>> for _ in range(200):
    ...     place = np.random.default_rng(_).integers(0, 4, 64)
    ...     context, weights = layer(keys.data[0][place], keys)
    ...     losses = ((context - keys.data[0][place]) ** 2).sum(1)
    ...     optimizer.zero_grad()
    ...     layer.surrogate(losses).backward()
    ...     optimizer.step()
    >>> layer.eval()(keys.data[0], keys[:4])[0].tolist() == keys.data[0].tolist()
    True
    """

    def __init__(
        self, query_dim: int, key_dim: int | None = None, method: str = "general",
        momentum: float = 0.9, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(query_dim, key_dim, method, dtype=dtype)
        self.momentum = momentum
        self.register_buffer("baseline", Tensor(np.zeros((), np.float64)))
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)))
        self.log_probability: Tensor | None = None

    def combine(self, weights: Tensor, value: Tensor) -> Tensor:
        """The value at the place that is drawn, or that has the largest weight.

        Parameters
        ----------
        weights : Tensor of shape (N, L, S)
            Probabilities of the places.
        value : Tensor of shape (N, S, F)
            The values.

        Returns
        -------
        Tensor of shape (N, L, F)
            One value for each query; 0 where no place may be taken.
        """
        n, t, s = weights.shape
        p = np.asarray(weights.detach().numpy(), dtype=np.float64).reshape(n * t, s)
        some = p.sum(1) > 0
        place = p.argmax(1)
        if self.training and some.any():
            place[some] = to_host(multinomial(p[some], 1, replacement=True).data)[:, 0]
        place, some = place.reshape(n, t), some.reshape(n, t)
        chosen = weights.gather(2, place[..., None]).squeeze(2)
        self.log_probability = chosen.masked_fill(~some, 1.0).log().sum(1)
        rows = value[np.arange(n)[:, None], place]
        return rows if some.all() else rows.masked_fill(~some[..., None], 0.0)

    def surrogate(self, losses: Any) -> Tensor:
        """A number to minimise in place of the mean of the losses of the last call.

        Parameters
        ----------
        losses : Tensor of shape (N,)
            Loss of each sample.

        Returns
        -------
        Tensor
            The mean of ``loss + (loss - baseline) log p``, the factor taken as constant.

        Raises
        ------
        RuntimeError
            If the layer was not called before.
        """
        if self.log_probability is None:
            raise RuntimeError("HardAttention: surrogate must follow a call of the layer, got none")
        losses = as_tensor(losses)
        mean = float(losses.data.mean())
        first = int(self.num_batches_tracked) == 0
        baseline = mean if first else float(self.baseline)
        advantage = (losses.detach() - baseline).to(self.log_probability.dtype)
        self.baseline.fill_(self.momentum * baseline + (1 - self.momentum) * mean)
        self.num_batches_tracked.fill_(int(self.num_batches_tracked) + 1)
        return (losses + advantage * self.log_probability).mean()


complete(globals())
