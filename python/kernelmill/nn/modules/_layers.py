"""Layers with parameters: dense, look-up, normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional as F
from .. import init
from .._documents import complete
from .._elementwise import float_dtype
from .._tensor import Tensor
from ._module import Module, Parameter


def empty_parameter(*shape: int, dtype: Any = None) -> Parameter:
    """A parameter whose values are set next."""
    return Parameter(np.zeros(shape, float_dtype(dtype)))


class Linear(Module):
    """``x W' + b``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default=True
    dtype : dtype, optional

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
        Uniform within ``1 / sqrt(in_features)`` at first.
    bias : Parameter of shape (out_features,) or None

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Linear(3, 2)(nn.ones(5, 3)).shape
    (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = empty_parameter(out_features, in_features, dtype=dtype)
        if bias:
            self.bias = empty_parameter(out_features, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        uniform_by_fan(self, self.in_features)

    def forward(self, input: Any) -> Tensor:
        """Apply the layer to input of shape (..., in_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def uniform_by_fan(module: Any, fan_in: int) -> None:
    """Weights and biases uniform within 1 / sqrt(fan_in), as torch's layers have them."""
    bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    init.uniform_(module.weight, -bound, bound)
    if module.bias is not None:
        init.uniform_(module.bias, -bound, bound)


class Bilinear(Module):
    """``y_k = x1' W_k x2 + b_k``.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool, default=True
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Bilinear(3, 4, 2)(nn.ones(5, 3), nn.ones(5, 4)).shape
    (5, 2)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = empty_parameter(out_features, in1_features, in2_features, dtype=dtype)
        if bias:
            self.bias = empty_parameter(out_features, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        uniform_by_fan(self, self.in1_features)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Apply the layer to two inputs."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Embedding(Module):
    """A table of rows, looked up by index.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        This row is 0 at first and gets no gradient.
    max_norm : float, optional
        Rows that are used and longer are scaled to this norm.
    norm_type : float, default=2
    scale_grad_by_freq : bool, default=False
    sparse : bool, default=False
        Ignored; present for compatibility with torch.
    dtype : dtype, optional

    Attributes
    ----------
    weight : Parameter of shape (num_embeddings, embedding_dim)
        Standard normal at first.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Embedding(10, 3)(nn.Tensor([[1, 2], [0, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"{self._get_name()}: padding_idx must be below {num_embeddings}, got "
                    f"{padding_idx}"
                )
            padding_idx %= num_embeddings
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.weight = empty_parameter(num_embeddings, embedding_dim, dtype=dtype)
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **kwargs: Any) -> Any:
        """Make a layer with a given table.

        Parameters
        ----------
        embeddings : Tensor or array of shape (num_embeddings, embedding_dim)
            The table; it is not copied.
        freeze : bool, default=True
            Do not learn it.
        **kwargs
            Further arguments of the layer.

        Returns
        -------
        Embedding
            The layer.
        """
        table = embeddings if isinstance(embeddings, Tensor) else Tensor(embeddings)
        made = cls(table.shape[0], table.shape[1], dtype=table.dtype, **kwargs)
        made.weight = Parameter(table, requires_grad=not freeze)
        return made

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, input: Any) -> Tensor:
        """Look up rows."""
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
                           self.scale_grad_by_freq)  # fmt: skip

    def extra_repr(self) -> str:
        """Sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class EmbeddingBag(Embedding):
    """Sums, means or maxima of the rows of a table, a bag at a time.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    mode : {"mean", "sum", "max"}
    sparse : bool, default=False
        Ignored; present for compatibility with torch.
    include_last_offset : bool, default=False
    padding_idx : int, optional
        Rows of this number do not count.
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.EmbeddingBag(10, 3)(nn.Tensor([[1, 2], [0, 9]])).shape
    (2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
        sparse: bool = False, include_last_offset: bool = False, padding_idx: int | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type,
                         scale_grad_by_freq, sparse, dtype)  # fmt: skip
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        """Look up and combine rows."""
        return F.embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type,
                               self.scale_grad_by_freq, self.mode, self.sparse,
                               per_sample_weights, self.include_last_offset,
                               self.padding_idx)  # fmt: skip


# --- normalisation --------------------------------------------------------------------------------


class _Affine(Module):
    """Weights of ones and biases of zeros, if there are any."""

    def _make(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            self.register_parameter(name, empty_parameter(*shape, dtype=dtype) if wanted else None)

    def reset_parameters(self) -> None:
        """Weights of 1 and biases of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self._parameters.get("bias") is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Each sample with mean 0 and variance 1 over its last axes, then scaled and shifted.

    Parameters
    ----------
    normalized_shape : int or tuple of int
    eps : float, default=1e-5
    elementwise_affine : bool, default=True
        Learn a weight, and with ``bias`` a bias, for each element.
    bias : bool, default=True
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.LayerNorm(2)(nn.Tensor([[0.0, 2.0]])).tolist()
    [[-0.9999949932098389, 0.9999949932098389]]
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        one = hasattr(normalized_shape, "__index__")
        self.normalized_shape = (int(normalized_shape),) if one else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(_Affine):
    """Each sample divided by the root of its mean square, then scaled.

    Parameters
    ----------
    normalized_shape : int or tuple of int
    eps : float, optional
        The machine epsilon by default.
    elementwise_affine : bool, default=True
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.RMSNorm(2)(nn.Tensor([[3.0, -3.0]])).detach()
    tensor([[ 1., -1.]])
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        one = hasattr(normalized_shape, "__index__")
        self.normalized_shape = (int(normalized_shape),) if one else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter(
            "weight",
            empty_parameter(*self.normalized_shape, dtype=dtype) if elementwise_affine else None,
        )
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Groups of channels of each sample with mean 0 and variance 1, then scaled and shifted.

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float, default=1e-5
    affine : bool, default=True
    dtype : dtype, optional
    bias : bool, default=True
        Without it ``affine`` learns weights only.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.GroupNorm(2, 4)(nn.ones(1, 4, 3)).shape
    (1, 4, 3)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels must be a multiple of num_groups, got {num_channels} and "
                f"{num_groups}"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._make((num_channels,), affine, affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _ChannelNorm(_Affine):
    """Batch and instance normalisation: parameters and running statistics of channels."""

    axes: tuple[int, ...] = ()  # the numbers of axes that the input may have

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make((num_features,), affine, affine and bias, dtype)
        wanted = float_dtype(dtype)
        running = [np.zeros(num_features, wanted), np.ones(num_features, wanted),
                   np.zeros((), np.int64)]  # fmt: skip
        names = ("running_mean", "running_var", "num_batches_tracked")
        for name, value in zip(names, running, strict=True):
            self.register_buffer(name, Tensor(value) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Running means of 0 and variances of 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def _checked(self, input: Any) -> tuple[Tensor, float]:
        """The input, and the share of the new batch in the running statistics."""
        x = input if isinstance(input, Tensor) else Tensor(input)
        if x.ndim not in self.axes:
            wanted = " or ".join(map(str, self.axes))
            raise ValueError(f"{self._get_name()}: input must have {wanted} axes, got {x.shape}")
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average of all batches
                momentum = 1.0 / self.num_batches_tracked.item()
        return x, momentum

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def forward(self, input: Any) -> Tensor:
        """Normalise; in training the running statistics are updated."""
        x, momentum = self._checked(input)
        batch = self.training or self.running_mean is None
        update = not self.training or self.track_running_stats
        return F.batch_norm(
            x, self.running_mean if update else None, self.running_var if update else None,
            self.weight, self.bias, batch, momentum, self.eps,
        )  # fmt: skip


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        x, momentum = self._checked(input)
        alone = x.ndim == min(self.axes)  # one sample without its axis
        y = F.instance_norm(
            x.unsqueeze(0) if alone else x, self.running_mean, self.running_var, self.weight,
            self.bias, self.training or not self.track_running_stats, momentum, self.eps,
        )  # fmt: skip
        return y.squeeze(0) if alone else y


_NORM_DOC = """{what} of {shape} input, then scaled and shifted.

Parameters
----------
num_features : int
    Number of channels.
eps : float, default=1e-5
    Added to the variance.
momentum : float or None, default=0.1
    Share of each new batch in the running statistics; None for the plain average of all batches.
affine : bool, default={affine}
    Learn a weight and a bias for each channel.
track_running_stats : bool, default={affine}
    Keep running statistics, which are used in evaluation.
dtype : dtype, optional
bias : bool, default=True
    Without it ``affine`` learns weights only.

Examples
--------
>>> from kernelmill import nn
>>> nn.{name}(2)(nn.randn{size}).shape
{size}
"""


def _channel_norms() -> dict[str, type]:
    made: dict[str, type] = {}
    shapes = {"1d": ("(N, C) or (N, C, L)", (2, 3), "(4, 2, 5)"),
              "2d": ("(N, C, H, W)", (4,), "(4, 2, 3, 3)"),
              "3d": ("(N, C, D, H, W)", (5,), "(4, 2, 3, 3, 3)")}  # fmt: skip
    for suffix, (shape, axes, size) in shapes.items():
        for base, what in (
            (_BatchNorm, "Batch normalisation"),
            (_InstanceNorm, "Instance normalisation"),
        ):
            instance = base is _InstanceNorm
            name = base.__name__[1:] + suffix
            allowed = (axes[-1] - 1, axes[-1]) if instance else axes
            document = _NORM_DOC.format(
                what=what, shape=shape if not instance else shape.rpartition(" or ")[2], name=name,
                size=size, affine=not instance,
            )  # fmt: skip
            made[name] = type(
                name, (base,), {"axes": allowed, "__doc__": document, "__module__": __name__}
            )
    return made


globals().update(_channel_norms())
BatchNorm1d: Any
BatchNorm2d: Any
BatchNorm3d: Any
InstanceNorm1d: Any
InstanceNorm2d: Any
InstanceNorm3d: Any
complete(globals())
