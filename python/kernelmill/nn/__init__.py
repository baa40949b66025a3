"""Networks: tensors with gradients, layers, losses, initial values, optimisers.

Names, arguments, defaults and the keys and layouts of ``state_dict`` are those of torch; what torch
keeps in ``torch`` and in ``torch.nn`` is here together. Everything is imported when first used.
"""

from .._lazy import lazy as _lazy
from ._torch_names import ALIASES as _ALIASES
from ._torch_names import refusal as _refusal

_PLACES = {
    "_backward": "grad",
    "_tape": "detect_anomaly enable_grad inference_mode is_grad_enabled no_grad set_grad_enabled",
    "_tensor": "Tensor as_tensor tensor",
    "amp": "autocast is_autocast_enabled",
    "_elementwise": "get_default_dtype set_default_dtype where",
    "_linalg": "einsum linalg",
    "_precision": "get_float32_matmul_precision set_float32_matmul_precision",
    "_shape": "cat stack",
    "_random": """
        Generator bernoulli manual_seed multinomial rand randint randn randperm
    """,
    "_checkpoint": "checkpoint",
    "_custom": "Function",
    "_gradcheck": "gradcheck gradgradcheck",
    "functional._ctc": "ctc_decode",
    "_files": "load_file load_torch save_file",
    "_summary": "Summary summary",
    "_trainer": "Trainer",
    "_trainer_checks": "find_learning_rate overfit_batch",
    "_trainer_logs": "JSONLog TensorBoardLog",
    "_trainer_state": "TrainerState",
    "_estimators": "NeuralNetClassifier NeuralNetRegressor",
    "modules._module": "Module Parameter",
    "modules._convolution": """
        Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
    """,
    "modules._pool": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
        AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d MaxPool1d
        MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Upsample
    """,
    "modules._recurrent": "GRU GRUCell JordanRNN LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "_generate": "generate",
    "modules._alignment": "AdditiveAttention HardAttention MultiplicativeAttention",
    "modules._attention": "MultiheadAttention",
    "modules._cache": "KVCache",
    "modules._positions": "LearnedPositions RotaryEmbedding SinusoidalPositions alibi_slopes",
    "modules._transformer": """
        Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
        TransformerEncoderLayer
    """,
    "modules._containers": """
        Identity ModuleDict ModuleList ParameterDict ParameterList Sequential
    """,
    "modules._layers": """
        BatchNorm1d BatchNorm2d BatchNorm3d Bilinear Embedding EmbeddingBag GroupNorm
        InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm Linear RMSNorm
    """,
    "modules._simple": """
        AlphaDropout BCELoss BCEWithLogitsLoss CELU CTCLoss ChannelShuffle CircularPad1d
        CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ContrastiveLoss
        CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss Dropout Dropout1d Dropout2d Dropout3d
        ELU FeatureAlphaDropout Flatten Fold GELU GLU GaussianNLLLoss Hardshrink Hardsigmoid
        Hardswish Hardtanh HingeEmbeddingLoss HingeLoss HuberLoss InfoNCELoss KLDivLoss L1Loss
        LeakyReLU LocalResponseNorm LogCoshLoss LogSigmoid LogSoftmax MSELoss MarginRankingLoss Mish
        MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss PReLU PairwiseDistance
        PixelShuffle PixelUnshuffle PoissonNLLLoss QuantileLoss RReLU ReLU ReLU6 ReflectionPad1d
        ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU SiLU
        Sigmoid SmoothL1Loss SoftMarginLoss Softmax Softmax2d Softmin Softplus Softshrink Softsign
        SquaredHingeLoss Step Tanh Tanhshrink Threshold TripletMarginLoss
        TripletMarginWithDistanceLoss Unflatten Unfold ZeroPad1d ZeroPad2d ZeroPad3d
    """,
    "modules._adaptive": "AdaptiveLogSoftmaxWithLoss",
    "modules._deferred": """
        LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
        LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d
        LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear
    """,
    "_pointwise": """
        addcdiv addcmul allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or
        bitwise_right_shift bitwise_xor clamp_max clamp_min copysign deg2rad digamma div equal erfc
        erfinv float_power floor_divide fmax fmin fmod frac gcd heaviside isclose isin isneginf
        isposinf isreal lcm ldexp lerp lgamma logaddexp logaddexp2 logical_not logical_xor logit
        nan_to_num nextafter polygamma positive rad2deg round rsub sgn signbit sinc xlogy
    """,
    "_arrangement": """
        argwhere atleast_1d atleast_2d atleast_3d bincount block_diag broadcast_shapes
        broadcast_tensors broadcast_to bucketize cartesian_prod column_stack combinations diag_embed
        diagflat dsplit dstack fliplr flipud histc hsplit hstack index_copy index_fill index_put
        masked_scatter meshgrid nonzero ravel rot90 scatter scatter_reduce searchsorted
        split_with_sizes take tensor_split tril_indices triu_indices unique unique_consecutive
        vsplit vstack
    """,
    "_creation": """
        asarray empty empty_like fill from_dlpack full_like get_rng_state initial_seed
        is_floating_point is_nonzero is_tensor logspace normal numel promote_types rand_like
        randint_like randn_like result_type scalar_tensor set_rng_state
    """,
    "_statistics": """
        aminmax cdist corrcoef count_nonzero cov cummax cummin cumulative_trapezoid diff dist
        kthvalue logcumsumexp median mode msort nanmean nanmedian nanquantile nansum quantile renorm
        std_mean trapezoid var_mean
    """,
    "_products": """
        addbmm addmm addmv addr baddbmm chain_matmul cross det inner inverse kron logdet matrix_exp
        matrix_power pinverse qr slogdet svd tensordot vander vdot
    """,
    "_functions": """
        abs acos acosh add all amax amin any arange argmax argmin argsort asin asinh atan atan2
        atanh bmm ceil chunk clamp clip clone concat concatenate cos cosh cumprod cumsum detach diag
        diagonal dot eq erf exp exp2 expm1 eye flatten flip floor from_numpy full gather ge gt
        hypot index_add index_select is_same_size is_signed isfinite isinf isnan le linspace log
        log10 log1p log2 logical_and logical_or logsumexp lt masked_fill masked_select matmul max
        maximum mean min minimum mm movedim mul mv narrow ne neg norm ones ones_like outer permute
        pow prod reciprocal relu remainder repeat_interleave reshape roll rsqrt scatter_add
        select sigmoid sign sin sinh sort split sqrt square squeeze std sub sum t take_along_dim tan
        tanh tile topk trace transpose tril triu trunc unbind unflatten unsqueeze var zeros
        zeros_like
    """,
}
# What torch has twice is the function of `nn.functional`, or another name of a function.
_PLACES["functional"] = """
    adaptive_avg_pool1d adaptive_max_pool1d alpha_dropout avg_pool1d batch_norm bilinear
    binary_cross_entropy_with_logits celu channel_shuffle conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity ctc_loss dropout
    embedding embedding_bag feature_alpha_dropout group_norm hardshrink hinge_embedding_loss
    instance_norm kl_div layer_norm log_softmax margin_ranking_loss max_pool1d max_pool2d max_pool3d
    pairwise_distance pdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu rms_norm rrelu selu
    softmax threshold triplet_margin_loss
"""
_PLACES["_functions"] += " ".join(_ALIASES)
_NAMES = {name: module for module, names in _PLACES.items() for name in names.split()}
_NAMES.update({name: name for name in ("amp", "data", "functional", "init", "optim", "utils")})
__getattr__, __dir__, __all__ = _lazy(__name__, _NAMES, _refusal)
