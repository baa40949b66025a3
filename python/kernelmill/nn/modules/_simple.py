"""Layers that are one function: activations, losses, dropout, padding, shapes.

A class is made from its function: the arguments of its constructor are those of the function behind
the tensors, with the same names and defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import functional as F
from .. import init
from .._documents import arguments, complete
from .._tensor import Tensor
from ._layers import empty_parameter
from ._module import Module

_HIDDEN = ("training", "generator", "dtype")
_BUFFERS = ("weight", "pos_weight")


class Functional(Module):
    """A layer that is one function."""

    function: Callable[..., Tensor]
    signature: inspect.Signature

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._get_name()}: {error}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name in _BUFFERS:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.signature.parameters}

    def forward(self, *inputs: Any) -> Tensor:
        """Apply the function of the layer."""
        return type(self).function(*inputs, **self._options())

    def extra_repr(self) -> str:
        """Arguments that are not the defaults."""
        shown = []
        for name, parameter in self.signature.parameters.items():
            value = getattr(self, name)
            if not isinstance(value, Tensor) and value != parameter.default:
                shown.append(f"{name}={value}")
        return ", ".join(shown)


class _Trained(Functional):
    """A function that draws random numbers in training."""

    def forward(self, *inputs: Any) -> Tensor:
        """Apply the function of the layer; random in training only."""
        return type(self).function(*inputs, training=self.training, **self._options())


class _Dropping(_Trained):
    """A function that sets elements to 0 with a probability p."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not 0 <= self.p <= 1:
            raise ValueError(
                f"{type(self).__name__}: p must be a probability, from 0 to 1, got {self.p}"
            )


_DOCUMENT = """{about}

The layer of :func:`kernelmill.nn.functional.{function}`.

{parameters}Examples
--------
>>> from kernelmill import nn
>>> {example}
"""


def layer(
    name: str, function: str, inputs: int, example: str, base: type = Functional,
    module: str = __name__, last: str = "",
) -> type:  # fmt: skip
    """The class of a function whose first arguments are tensors; torch has one of them last."""
    call = getattr(F, function)
    parameters = [
        p
        for p in list(inspect.signature(call).parameters.values())[inputs:]
        if p.name not in _HIDDEN
    ]
    parameters.sort(key=lambda p: p.name == last)
    about = (call.__doc__ or "").strip().partition("\n\n")[0].partition("\nParameters")[0]
    return type(name, (base,), {
        "function": staticmethod(call),
        "signature": inspect.Signature(parameters),
        "__signature__": inspect.Signature(parameters),
        "__doc__": _DOCUMENT.format(
            about=about, function=function, example=example, parameters=arguments(call, parameters)
        ),
        "__module__": module,
    })  # fmt: skip


_ONE = "nn.{}()(nn.ones(2, 4)).shape\n(2, 4)"
_TWO = "nn.{}()(nn.zeros(3), nn.ones(3)).shape\n()"
ACTIVATIONS = {
    "CELU": "celu", "ELU": "elu", "GELU": "gelu", "Hardshrink": "hardshrink",
    "Hardsigmoid": "hardsigmoid", "Hardswish": "hardswish", "Hardtanh": "hardtanh",
    "LeakyReLU": "leaky_relu", "LogSigmoid": "logsigmoid", "LogSoftmax": "log_softmax",
    "Mish": "mish", "ReLU": "relu", "ReLU6": "relu6", "SELU": "selu", "SiLU": "silu",
    "Sigmoid": "sigmoid", "Softmax": "softmax", "Softmin": "softmin", "Softplus": "softplus",
    "Softshrink": "softshrink", "Softsign": "softsign", "Step": "heaviside", "Tanh": "tanh",
    "Tanhshrink": "tanhshrink",
}  # fmt: skip
LOSSES = {
    "BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "HingeEmbeddingLoss": "hinge_embedding_loss", "HingeLoss": "hinge_loss",
    "HuberLoss": "huber_loss", "KLDivLoss": "kl_div", "L1Loss": "l1_loss",
    "LogCoshLoss": "log_cosh_loss", "MSELoss": "mse_loss", "QuantileLoss": "quantile_loss",
    "PoissonNLLLoss": "poisson_nll_loss", "SmoothL1Loss": "smooth_l1_loss",
    "SoftMarginLoss": "soft_margin_loss", "SquaredHingeLoss": "squared_hinge_loss",
}  # fmt: skip
_OTHERS = {
    "CosineEmbeddingLoss": ("cosine_embedding_loss", 3,
        "nn.CosineEmbeddingLoss()(nn.eye(2), nn.eye(2), nn.ones(2)).item()\n0.0"),
    "ContrastiveLoss": ("contrastive_loss", 3,
        "nn.ContrastiveLoss()(nn.ones(2, 3), nn.ones(2, 3), nn.ones(2)).item()\n0.0"),
    "CosineSimilarity": ("cosine_similarity", 2,
        "nn.CosineSimilarity()(nn.ones(2, 3), nn.ones(2, 3)).shape\n(2,)"),
    "CTCLoss": ("ctc_loss", 4,
        "nn.CTCLoss()(nn.zeros(3, 1, 6), [[1]], [3], [1]).shape\n()"),
    "CrossEntropyLoss": ("cross_entropy", 2,
        "nn.CrossEntropyLoss()(nn.zeros(1, 2), nn.Tensor([1]))\ntensor(0.6931)"),
    "GaussianNLLLoss": ("gaussian_nll_loss", 3,
        "nn.GaussianNLLLoss()(nn.zeros(2), nn.zeros(2), nn.ones(2)).item()\n0.0"),
    "InfoNCELoss": ("info_nce", 2, "nn.InfoNCELoss()(nn.eye(2), nn.eye(2)).item() < 0.01\nTrue"),
    "MarginRankingLoss": ("margin_ranking_loss", 3,
        "nn.MarginRankingLoss()(nn.ones(2), nn.zeros(2), nn.ones(2)).item()\n0.0"),
    "MultiLabelMarginLoss": ("multilabel_margin_loss", 2,
        "nn.MultiLabelMarginLoss()(nn.zeros(1, 2), nn.Tensor([[1, -1]])).item()\n0.5"),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", 2,
        "nn.MultiLabelSoftMarginLoss()(nn.zeros(1, 2), nn.ones(1, 2))\ntensor(0.6931)"),
    "MultiMarginLoss": ("multi_margin_loss", 2,
        "nn.MultiMarginLoss()(nn.zeros(1, 2), nn.Tensor([1])).item()\n0.5"),
    "NLLLoss": ("nll_loss", 2, "nn.NLLLoss()(nn.zeros(1, 2) - 1, nn.Tensor([1])).item()\n1.0"),
    "PairwiseDistance": ("pairwise_distance", 2,
        "nn.PairwiseDistance()(nn.ones(2, 3), nn.ones(2, 3)).shape\n(2,)"),
    "TripletMarginLoss": ("triplet_margin_loss", 3,
        "nn.TripletMarginLoss()(nn.ones(2, 3), nn.ones(2, 3), nn.zeros(2, 3)).item()\n0.0"),
    "TripletMarginWithDistanceLoss": ("triplet_margin_with_distance_loss", 3,
        "nn.TripletMarginWithDistanceLoss()(nn.ones(2, 3), nn.ones(2, 3), nn.zeros(2, 3)).item()\n"
        "0.0"),
    "ChannelShuffle": ("channel_shuffle", 1,
        "nn.ChannelShuffle(2)(nn.ones(1, 4, 2, 2)).shape\n(1, 4, 2, 2)"),
    "Fold": ("fold", 1, "nn.Fold(4, 2, stride=2)(nn.ones(1, 12, 4)).shape\n(1, 3, 4, 4)"),
    "LocalResponseNorm": ("local_response_norm", 1,
        "nn.LocalResponseNorm(2)(nn.ones(1, 4, 3)).shape\n(1, 4, 3)"),
    "PixelShuffle": ("pixel_shuffle", 1,
        "nn.PixelShuffle(2)(nn.ones(1, 8, 3, 3)).shape\n(1, 2, 6, 6)"),
    "PixelUnshuffle": ("pixel_unshuffle", 1,
        "nn.PixelUnshuffle(2)(nn.ones(1, 2, 6, 6)).shape\n(1, 8, 3, 3)"),
    "Unfold": ("unfold", 1, "nn.Unfold(2)(nn.ones(1, 3, 4, 4)).shape\n(1, 12, 9)"),
    "GLU": ("glu", 1, "nn.GLU()(nn.ones(2, 4)).shape\n(2, 2)"),
    "Threshold": ("threshold", 1, "nn.Threshold(0.5, 9.0)(nn.zeros(1)).tolist()\n[9.0]"),
}  # fmt: skip
LAYERS: dict[str, type] = {
    **{n: layer(n, f, 1, _ONE.format(n)) for n, f in ACTIVATIONS.items()},
    **{n: layer(n, f, 2, _TWO.format(n)) for n, f in LOSSES.items()},
    **{n: layer(n, *rest) for n, rest in _OTHERS.items()},
}


def _dropouts() -> dict[str, type]:
    made = {}
    for name, function in {
        "Dropout": "dropout", "Dropout1d": "dropout1d", "Dropout2d": "dropout2d",
        "Dropout3d": "dropout3d", "AlphaDropout": "alpha_dropout",
        "FeatureAlphaDropout": "feature_alpha_dropout",
    }.items():  # fmt: skip
        shape = {"1": "(2, 3, 4)", "2": "(2, 3, 4, 4)", "3": "(2, 3, 4, 4, 4)"}.get(
            name[-2], "(2, 3, 4)"
        )
        example = f"nn.{name}(0.2)(nn.ones{shape}).shape\n{shape}"
        made[name] = layer(name, function, 1, example, _Dropping)
    return made


LAYERS.update(_dropouts())
LAYERS["RReLU"] = layer("RReLU", "rrelu", 1, _ONE.format("RReLU"), _Trained)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W).

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Softmax2d()(nn.ones(1, 2, 1, 1)).flatten().tolist()
    [0.5, 0.5]
    """

    def forward(self, input: Any) -> Tensor:
        """Apply the layer."""
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: input must have 3 or 4 axes, got shape {input.shape}")
        return F.softmax(input, -3)


class PReLU(Module):
    """x where positive, else ``weight * x``, with learnt weights.

    Parameters
    ----------
    num_parameters : int, default=1
        1, or the number of channels (axis 1).
    init : float, default=0.25
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.PReLU()(nn.Tensor([-1.0, 2.0])).tolist()
    [-0.25, 2.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = empty_parameter(num_parameters, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to their initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        """Apply the layer."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"num_parameters={self.num_parameters}"


class Flatten(Module):
    """Axes from ``start_dim`` to ``end_dim`` as one.

    Parameters
    ----------
    start_dim : int, default=1
    end_dim : int, default=-1

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Flatten()(nn.ones(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Reshape."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several.

    Parameters
    ----------
    dim : int
    unflattened_size : tuple of int

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Unflatten(1, (3, 4))(nn.ones(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Reshape."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Axis and sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class _Pad(Module):
    """Values added around the last axes."""

    mode = "constant"
    axes = 1
    value = 0.0

    def __init__(self, padding: Any) -> None:
        super().__init__()
        one = hasattr(padding, "__index__")
        self.padding = (int(padding),) * (2 * self.axes) if one else tuple(padding)

    def forward(self, input: Any) -> Tensor:
        """Pad."""
        return F.pad(
            input, self.padding, self.mode, self.value if self.mode == "constant" else None
        )

    def extra_repr(self) -> str:
        """Widths."""
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float = 0.0) -> None:
        super().__init__(padding)
        self.value = value


def _pads() -> dict[str, type]:
    made: dict[str, type] = {}
    modes = {"ZeroPad": "constant", "ConstantPad": "constant", "ReflectionPad": "reflect",
             "ReplicationPad": "replicate", "CircularPad": "circular"}  # fmt: skip
    for prefix, mode in modes.items():
        for axes in (1, 2, 3):
            name = f"{prefix}{axes}d"
            constant = prefix == "ConstantPad"
            shape, grown = (1, 1, *(3,) * axes), (1, 1, *(5,) * axes)
            given = "1, 2.0" if constant else "1"
            document = (
                f"Pad the last ax{'is' if axes == 1 else f'es ({axes})'}, "
                f"mode {mode!r} of :func:`kernelmill.nn.functional.pad`.\n\n"
                "Parameters\n----------\n"
                "padding : int or tuple of int\n    Before and after, last axis first.\n"
                + ("value : float, default=0\n    What is added.\n" if constant else "")
                + f"\nExamples\n--------\n>>> from kernelmill import nn\n"
                f">>> nn.{name}({given})(nn.ones{shape}).shape\n{grown}\n"
            )
            made[name] = type(name, (_ConstantPad if constant else _Pad,), {
                "mode": mode, "axes": axes, "__doc__": document, "__module__": __name__
            })  # fmt: skip
    return made


LAYERS.update(_pads())
globals().update(LAYERS)
complete(globals())
