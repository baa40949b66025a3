"""Softmax over many classes, of which most are rare."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .._documents import complete
from .._functions import cat
from .._tensor import Tensor, as_tensor
from ._containers import ModuleList, Sequential
from ._layers import Linear
from ._module import Module


class _Output(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of many classes by a head for the frequent ones and smaller tails.

    Classes must be sorted by how often they occur, most often first. The head knows the first
    ``cutoffs[0]`` classes and the clusters of the others; cluster i has a projection that is
    ``div_value^(i + 1)`` times smaller than the input (Grave et al. 2017).

    Parameters
    ----------
    in_features : int
    n_classes : int
        Number of classes.
    cutoffs : sequence of int
        Where the clusters begin, rising.
    div_value : float, default=4
        How much smaller each projection is.
    head_bias : bool, default=False
        Whether the head has a bias.
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 100, [10, 40])
    >>> layer(nn.ones(3, 8), nn.Tensor([0, 20, 99])).output.shape
    (3,)
    >>> layer.log_prob(nn.ones(3, 8)).shape, layer.predict(nn.ones(3, 8)).shape
    ((3, 100), (3,))
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Any, div_value: float = 4.0,
        head_bias: bool = False, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        given = [int(c) for c in cutoffs]
        ends = [0, *given, n_classes]
        if not given or any(a >= b for a, b in itertools.pairwise(ends)):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must rise from above 0 to below "
                f"{n_classes}, got {cutoffs!r}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value, self.head_bias = [*given, n_classes], div_value, head_bias
        self.shortlist_size, self.n_clusters = given[0], len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, dtype=dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, dtype=dtype),
                    Linear(hidden, size, bias=False, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input: Any, target: Any) -> _Output:
        """Log-probabilities of the targets, and the mean of their negatives.

        Parameters
        ----------
        input : Tensor of shape (N, in_features) or (in_features,)
        target : Tensor of shape (N,) or (), integers
            Classes.

        Returns
        -------
        output : Tensor
            In the shape of the target.
        loss : Tensor
            One number.
        """
        classes = as_tensor(target).data
        x, one = as_tensor(input), classes.ndim == 0
        if x.ndim != classes.ndim + 1 or x.shape[:-1] != classes.shape:
            raise RuntimeError(
                "AdaptiveLogSoftmaxWithLoss: target must have one class for each row, got shapes "
                f"{x.shape} and {classes.shape}"
            )
        if classes.size and not (classes.min() >= 0 and classes.max() < self.n_classes):
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: target must be in [0, {self.n_classes}), got "
                f"{int(classes.min())} to {int(classes.max())}"
            )
        x, classes = (x.unsqueeze(0), classes[None]) if one else (x, classes)
        cluster = np.searchsorted(self.cutoffs[:-1], classes, side="right")
        place = np.where(cluster == 0, classes, self.shortlist_size + cluster - 1)
        found = F.log_softmax(self.head(x), 1).gather(1, place[:, None]).squeeze(1)
        for i in range(self.n_clusters):
            rows = np.flatnonzero(cluster == i + 1)
            if len(rows):
                inside = F.log_softmax(self.tail[i](x[rows]), 1)
                own = inside.gather(1, (classes[rows] - self.cutoffs[i])[:, None])
                found = found.index_add(0, rows, own.squeeze(1))
        return _Output(found.squeeze(0) if one else found, -found.mean())

    def log_prob(self, input: Any) -> Tensor:
        """Log-probabilities of all classes.

        Parameters
        ----------
        input : Tensor of shape (N, in_features)

        Returns
        -------
        log_prob : Tensor of shape (N, n_classes)
            They sum to one as probabilities.
        """
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            at = self.shortlist_size + i
            parts.append(F.log_softmax(self.tail[i](input), 1) + head[:, at : at + 1])
        return cat(parts, 1)

    def predict(self, input: Any) -> Tensor:
        """The most probable class of each row.

        Parameters
        ----------
        input : Tensor of shape (N, in_features)

        Returns
        -------
        classes : Tensor of shape (N,), int64
            Classes.
        """
        return self.log_prob(input).argmax(1)


complete(globals())
