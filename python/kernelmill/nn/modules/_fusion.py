"""Pairs of layers that run as one op: a product and the activation of its tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _tape
from ..functional._dense import _slope, dense
from ._convolution import LAYERS as CONVOLUTIONS
from ._layers import Linear
from ._module import untouched
from ._simple import LAYERS

# What the layers are called in the table of elementwise functions, and their one parameter.
_ACTIVATIONS: dict[type, Callable[[Any], tuple[str, float]]] = {
    LAYERS["ReLU"]: lambda layer: ("relu", 0.0),
    LAYERS["Sigmoid"]: lambda layer: ("logistic", 0.0),
    LAYERS["Tanh"]: lambda layer: ("tanh", 0.0),
    LAYERS["GELU"]: lambda layer: ("gelu_tanh" if layer.approximate == "tanh" else "gelu", 0.0),
    LAYERS["SiLU"]: lambda layer: ("silu", 0.0),
    LAYERS["SELU"]: lambda layer: ("selu", 0.0),
    LAYERS["LeakyReLU"]: lambda layer: ("leaky_relu", float(layer.negative_slope)),
    LAYERS["ELU"]: lambda layer: ("elu", float(layer.alpha)),
    LAYERS["LogSigmoid"]: lambda layer: ("log_sigmoid", 0.0),
}
_CONVOLUTIONS = tuple(CONVOLUTIONS[f"Conv{axes}d"] for axes in (1, 2, 3))


def fuse(layers: list[Any]) -> Callable[[Any], Any] | None:
    """Two layers as one function, or None where they must run one by one.

    Layers with hooks or a forward of their own are never fused, nor are subclasses, nor anything in
    anomaly mode.
    """
    if len(layers) < 2 or _tape._anomalies:
        return None
    first, second = layers
    convolution = type(first) in _CONVOLUTIONS
    if not (convolution or type(first) is Linear):
        return None
    name = _ACTIVATIONS.get(type(second))
    if name is None or not (untouched(first) and untouched(second)):
        return None
    activation, parameter = name(second)
    if convolution:
        # What the activation was given is not kept: its slope must follow from the result.
        return (lambda x: first.activated(x, activation)) if _slope(activation)[1] else None
    return lambda x: dense(x, first.weight, first.bias, activation, parameter)
