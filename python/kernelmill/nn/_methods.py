"""Which functions are methods of tensors: names, and the rules or modules behind them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import _tape

# Functions of other modules, whose first argument is the tensor.
ELSEWHERE = {
    "_pointwise": """
        addcdiv addcmul allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or
        bitwise_right_shift bitwise_xor clamp_max clamp_min copysign deg2rad digamma div equal erfc
        erfinv float_power floor_divide fmax fmin fmod frac gcd heaviside isclose isneginf isposinf
        isreal lcm ldexp lerp lgamma logaddexp logaddexp2 logical_not logical_xor logit nan_to_num
        nextafter positive rad2deg round sgn signbit sinc xlogy
    """,
    "_arrangement": """
        argwhere bincount diag_embed diagflat dsplit fliplr flipud histc hsplit index_copy
        index_fill index_put masked_scatter nonzero ravel rot90 scatter scatter_reduce
        split_with_sizes take tensor_split unfold unique unique_consecutive vsplit
    """,
    "_creation": """
        is_floating_point is_nonzero
    """,
    "_statistics": """
        aminmax corrcoef count_nonzero cov cummax cummin diff dist kthvalue logcumsumexp median mode
        msort nanmean nanmedian nanquantile nansum quantile renorm
    """,
    "_products": """
        addbmm addmm addmv addr baddbmm cross det inner inverse kron logdet matrix_exp matrix_power
        pinverse qr slogdet svd vdot
    """,
    "functional": "hardshrink log_softmax prelu softmax",
    "_functions": "atan2 hypot",
    "_random": "bernoulli multinomial",
}


# Methods that have a form with an underscore, which writes into the tensor.
WRITTEN = """
    abs acos add addcdiv addcmul addmm asin atan atan2 ceil clamp clamp_max clamp_min clip copysign
    cos cosh cumprod cumsum div erf erfinv exp exp2 expm1 floor floor_divide fmod frac index_add
    index_copy index_fill index_put lerp log log10 log1p log2 logit masked_fill masked_scatter mul
    nan_to_num neg pow reciprocal relu remainder round rsqrt scatter scatter_add scatter_reduce
    sigmoid sign sin sinh sqrt square sub tan tanh tril triu trunc
"""
METHODS = {
    "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "reciprocal": "reciprocal", "square": "square", "tanh": "tanh",
    "erf": "erf", "sigmoid": "logistic", "relu": "relu", "sign": "sign", "abs": "abs",
    "neg": "negative",
}  # fmt: skip
OUTSIDE = {
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "exp2": "exp2", "log2": "log2", "log10": "log10", "floor": "floor",
    "ceil": "ceil", "trunc": "trunc",
}  # fmt: skip
BINARY = {
    "mul": "multiply",
    "remainder": "remainder", "maximum": "maximum", "minimum": "minimum",
}  # fmt: skip
COMPARED = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal", "logical_and": "logical_and", "logical_or": "logical_or",
}  # fmt: skip


class Elsewhere:
    """A method that is a function of a module which is imported when it is first used."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __get__(self, owner: Any, kind: type) -> Any:
        function = getattr(import_module(f".{self.module}", __package__), self.name)
        setattr(_tape.Tensor, self.name, function)
        return function if owner is None else function.__get__(owner, kind)
