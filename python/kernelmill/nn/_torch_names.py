"""Names of torch that do not exist here, each with the reason; `docs/from-torch.md` lists them."""

from __future__ import annotations

# Other names of functions, of tensors' methods too.
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "divide": "div", "fix": "trunc",
    "ger": "outer", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "moveaxis": "movedim", "multiply": "mul", "negative": "neg", "not_equal": "ne",
    "row_stack": "vstack", "subtract": "sub", "swapaxes": "transpose", "swapdims": "transpose",
    "trapz": "trapezoid", "true_divide": "div",
}  # fmt: skip
_ABSENT = {
    "MultiheadAttention and scaled_dot_product_attention do the same": """
        attention multi_head_attention_forward
    """,
    "this optimiser is not supported": "ASGD Adafactor Adamax Muon RAdam Rprop",
    "gradients are dense": "SparseAdam",
    "it needs several devices": """
        DataParallel DistributedSampler SyncBatchNorm distributed parallel
    """,
    "workers are threads of one process": "get_worker_info",
    "data pipes are not supported; a data set may be any iterable": """
        DFIterDataPipe DataChunk IterDataPipe MapDataPipe argument_validation datapipes
        functional_datapipe graph graph_settings guaranteed_datapipes_determinism non_deterministic
        runtime_validation runtime_validation_disabled
    """,
    "quantised and 8-bit arithmetic is not supported": """
        grouped_mm intrinsic qat quantizable quantized scaled_grouped_mm scaled_mm
    """,
    "layers take their sizes when they are made": """
        LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
        LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d
        LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear UninitializedBuffer UninitializedParameter
        skip_init
    """,
    "it is deprecated in torch": """
        Container CrossMapLRN2d NLLLoss2d UpsamplingBilinear2d UpsamplingNearest2d clip_grad_norm
        constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform upsample
        upsample_bilinear upsample_nearest xavier_normal xavier_uniform
    """,
    "results are always new; use the function without the underscore": """
        celu_ elu_ hardtanh_ leaky_relu_ relu_ rrelu_ selu_ threshold_
    """,
    "it is rarely used and can be composed of what is here": """
        affine_grid grid_sample native_channel_shuffle
    """,
    "return_indices=True gives the indices": """
        adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
        adaptive_max_pool3d_with_indices max_pool1d_with_indices max_pool2d_with_indices
        max_pool3d_with_indices
    """,
    "pooling of random windows is not supported": """
        FractionalMaxPool2d FractionalMaxPool3d fractional_max_pool2d
        fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices
    """,
    "a linear layer and cross_entropy do the same": """
        LinearCrossEntropyLoss LinearCrossEntropyOptions linear_cross_entropy
    """,
    "module.register_buffer does it": "Buffer",
    "arrays are channels first, in C order": """
        conv_tbc convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format
        memory_format
    """,
    "layers are not folded into each other by the user": """
        fuse_conv_bn_eval fuse_conv_bn_weights fuse_linear_bn_eval fuse_linear_bn_weights fusion
    """,
    "weight_norm and spectral_norm are the reparametrisations": """
        parametrizations parametrize remove_spectral_norm
    """,
    "clip_grad_norm_ does both steps": "clip_grads_with_norm_",
    "it is a module of torch's, whose functions are in the package above it": """
        clip_grad common_types convert_parameters dataloader dataset init parameter sampler
        stateless
    """,
    "it serves torch's own code": """
        ScalingType SwizzleType assert_int_or_pair boolean_dispatch factory_kwargs
        handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic swap_in_optimizer_params_and_state
    """,
}
GROUPS = {reason: names.split() for reason, names in _ABSENT.items()}
_PATTERNS: list[tuple[str, str]] = []
REASONS = {name: reason for reason, names in GROUPS.items() for name in names}


def reason_of(name: str) -> str | None:
    """Why a name of torch's is missing here; None where nothing is known."""
    return REASONS.get(name)


def refusal(package: str, name: str) -> AttributeError:
    """What is raised for a name that a package lacks; it says why torch's are missing."""
    return AttributeError(absent(f"module {package!r}", name))


def absent(owner: str, name: str) -> str:
    """A sentence that says that a name is missing, and why if torch has it."""
    reason = reason_of(name)
    return f"{owner} has no attribute {name!r}" + ("" if reason is None else f": {reason}")
