"""Functions of networks, as in ``torch.nn.functional``.

Import them by ``from kernelmill.nn import functional as F``.
Each layer of :mod:`kernelmill.nn` calls one of them. They take tensors, and plain arrays wherever
no gradient is needed.
"""

from ..._lazy import lazy
from .._torch_names import refusal

_PLACES = {
    "_activation": """
        celu elu gelu glu gumbel_softmax hardshrink hardsigmoid hardswish hardtanh heaviside
        leaky_relu log_softmax logsigmoid mish normalize prelu relu relu6 rrelu selu sigmoid silu
        softmax softmin softplus softshrink softsign tanh tanhshrink threshold
    """,
    "_convolution": """
        conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    """,
    "_ctc": "ctc_loss",
    "_dense": """
        bilinear linear pad
    """,
    "_grid": "affine_grid grid_sample",
    "_embedding": "embedding embedding_bag one_hot",
    "_attention": "scaled_dot_product_attention",
    "_dropout": "alpha_dropout dropout dropout1d dropout2d dropout3d feature_alpha_dropout",
    "_loss": """
        contrastive_loss cosine_embedding_loss cosine_similarity gaussian_nll_loss
        hinge_embedding_loss hinge_loss huber_loss info_nce l1_loss log_cosh_loss
        margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss
        multilabel_soft_margin_loss pairwise_distance poisson_nll_loss quantile_loss
        smooth_l1_loss soft_margin_loss squared_hinge_loss triplet_margin_loss
        triplet_margin_with_distance_loss
    """,
    "_classification": """
        binary_cross_entropy binary_cross_entropy_with_logits cross_entropy kl_div nll_loss
    """,
    "_pool": """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d global_avg_pool
        interpolate max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d
    """,
    "_window": """
        channel_shuffle fold local_response_norm lp_pool1d lp_pool2d lp_pool3d pdist pixel_shuffle
        pixel_unshuffle unfold
    """,
    "_norm": "batch_norm group_norm instance_norm layer_norm rms_norm",
}
__getattr__, __dir__, __all__ = lazy(
    __name__,
    {name: module for module, names in _PLACES.items() for name in names.split()},
    refusal,
)
