"""Names of torch that do not exist here, each with the reason; `docs/from-torch.md` lists them."""

from __future__ import annotations

import re

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
    "this optimiser is not supported": "Muon",
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
    "parameters of a layer without a size are empty until it sees a batch": """
        UninitializedBuffer UninitializedParameter skip_init
    """,
    "nn.functional has grid_sample and affine_grid": """
        affine_grid_generator grid_sampler grid_sampler_2d grid_sampler_3d
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
        as_strided as_strided_scatter binomial cholesky_inverse cholesky_solve diagonal_scatter
        frexp gradient hash_tensor histogram histogramdd i0 igamma igammac index_reduce
        feature_dropout mvlgamma nonzero_static nuclear_norm pca_lowrank poisson put segment_reduce
        select_scatter slice_inverse slice_scatter sum_to_size svd_lowrank tensorinv tensorsolve
        unravel_index embedding_renorm_ reinforce constant_pad_nd cholesky_ex inv_ex solve_ex
    """,
    "kernelmill.threads sets the number of threads": """
        get_num_interop_threads get_num_threads init_num_threads set_num_interop_threads
        set_num_threads
    """,
    "results are the same bits always": """
        are_deterministic_algorithms_enabled get_deterministic_debug_mode
        is_deterministic_algorithms_warn_only_enabled set_deterministic_debug_mode
        use_deterministic_algorithms
    """,
    "save_file, load_file and load_torch read and write files": "from_file hub load save",
    "data decides the device": """
        cuda device get_default_device get_device get_device_module set_default_device pin_memory
        is_pinned
        is_shared share_memory_ record_stream
    """,
    "an array is made by NumPy": """
        can_cast empty_permuted empty_strided frombuffer get_file_path new_empty_strided range
        set_printoptions
    """,
    "SciPy has windows and spectra": """
        bartlett_window blackman_window hamming_window hann_window istft kaiser_window stft
    """,
    "SciPy has this factorisation": """
        eig eigvals geqrf householder_product ldl_factor ldl_factor_ex ldl_solve lobpcg lu lu_factor
        lu_factor_ex lu_solve lu_unpack orgqr ormqr triangular_solve
    """,
    "operations run as they are written, and need no compiler": """
        compile compiler cond export fx import_ir_module import_ir_module_from_buffer jit parse_ir
        parse_schema parse_type_comment vmap while_loop
    """,
    "nn.linalg has it": "cholesky frobenius_norm lstsq matrix_rank norm_except_dim solve symeig",
    "use detect_anomaly()": "set_anomaly_enabled is_anomaly_enabled",
    "it is NumPy's, as are all dtypes; names such as 'float32' do, too": """
        dtype finfo float16 float32 float64 half float double iinfo inf int int16 int32 int64 int8
        long nan newaxis pi short uint8
    """,
    "its functions are here": "autograd special",
    "shapes are tuples": "Size",
    "SciPy has it": "distributions fft signal",
    "tensor.data is the array": """
        const_data_ptr data_ptr storage storage_offset storage_type untyped_storage is_set_to set_
        resize resize_ resize_as resize_as_ as_subclass new dim_order layout
    """,
    "a tensor speaks DLPack itself": "to_dlpack",
    "use set_default_dtype": "set_default_tensor_type",
    "arrays have NumPy's precision": "set_flush_denormal",
    "NumPy does it to tensor.numpy()": "apply_ index map2_ map_ type typename",
    "manual_seed sets the seed": "seed thread_safe_generator",
    "use retain_grad() and hooks": """
        grad_dtype register_post_accumulate_grad_hook retains_grad output_nr
    """,
    "writes would not reach what was computed before": """
        detach_ squeeze_ unsqueeze_ transpose_ t_ swapaxes_ swapdims_
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
        conv_tbc convolution convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format
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
        autocast_mode clip_grad common_types convert_parameters dataloader dataset grad_scaler init
        parameter sampler
        stateless
    """,
    "it serves torch's own code": """
        ScalingType SwizzleType assert_int_or_pair boolean_dispatch factory_kwargs
        handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic swap_in_optimizer_params_and_state classproperty
        compiled_with_cxx11_abi custom_bwd custom_fwd fork is_distributed is_inference
        is_inference_mode_enabled is_storage is_warn_always_enabled merge_type_from_type_comment
        module_load name prepare_multiprocessing_environment
        profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 set_warn_always unify_type_list volatile
        wait
    """,
}
GROUPS = {reason: names.split() for reason, names in _ABSENT.items()}
# Names that are missing for what they are called, where no entry above has them.
_PATTERNS = {
    r".*(quant|int8|fp16|fbgemm|_zero_point|_scales?$|_per_channel|qparams|qscheme|int_repr).*":
        "quantised and 8-bit arithmetic is not supported",
    r".*sparse.*|.*(crow|ccol|row|col)_indices.*|coalesce|.*_coalesced|(h?s|ss|ds?)(p?mm|addmm|padd"
    r"mm)|hspmm|indices(_copy)?|values(_copy)?|dense_dim|to_dense|to_padded_tensor|is_nested":
        "tensors are dense",
    r"(cudnn|miopen|mkldnn|native|sym|batch_norm)_.*|.*_(copy|anomaly_enabled|nan_enabled)|.*nestin"
    r"g|(get|set|is|clear)_autocast_.*|unsafe_.*|(rnn_\w+|lstm|gru|lstm_cell|gru_cell)|.*mkldnn.*|"
    r".*_(ipu|xla|vulkan|mps|mtia|maia|xpu|meta|hpu)(_.*)?|ipu|xpu|mtia":
        "it serves torch's own code",
    r".*complex.*|view_as_real|conj.*|resolve_(conj|neg)|imag|real|is_(conj|neg)|polar|cdouble|cfloat|chalf|mH|H|"
    r"adjoint|angle": "tensors hold real numbers",
    r".*_$": "results are always new; use the function without the underscore",
}  # fmt: skip
REASONS = {name: reason for reason, names in GROUPS.items() for name in names}


def reason_of(name: str) -> str | None:
    """Why a name of torch's is missing here; None where nothing is known."""
    found = REASONS.get(name)
    if found is None:
        found = next((why for form, why in _PATTERNS.items() if re.fullmatch(form, name)), None)
    return found


def refusal(package: str, name: str) -> AttributeError:
    """What is raised for a name that a package lacks; it says why torch's are missing."""
    return AttributeError(absent(f"module {package!r}", name))


def absent(owner: str, name: str) -> str:
    """A sentence that says that a name is missing, and why if torch has it."""
    reason = reason_of(name)
    return f"{owner} has no attribute {name!r}" + ("" if reason is None else f": {reason}")
