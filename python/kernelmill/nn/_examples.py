"""Examples of functions that differ in little but their name: a call, and what it gives."""

from ._function_words import EXAMPLES as _MORE

_TENSORS = {
    "abs": ("([-1.0, 2.0])", "tensor([1., 2.])"),
    "acos": ("([0.0, 1.0])", "tensor([1.5708, 0.    ])"),
    "acosh": ("([1.0, 2.0])", "tensor([0.   , 1.317])"),
    "add": ("([1.0, 2.0], 3.0)", "tensor([4., 5.])"),
    "all": ("([True, False])", "tensor(False)"),
    "amax": ("([[1.0, 3.0], [2.0, 0.0]], dim=1)", "tensor([3., 2.])"),
    "amin": ("([[1.0, 3.0], [2.0, 0.0]], dim=1)", "tensor([1., 0.])"),
    "any": ("([True, False])", "tensor(True)"),
    "argmax": ("([[1.0, 3.0], [2.0, 0.0]], dim=1)", "tensor([1, 0])"),
    "argmin": ("([[1.0, 3.0], [2.0, 0.0]], dim=1)", "tensor([0, 1])"),
    "argsort": ("([3.0, 1.0, 2.0])", "tensor([1, 2, 0])"),
    "as_tensor": ("([1.0, 2.0])", "tensor([1., 2.])"),
    "asin": ("([0.0, 1.0])", "tensor([0.    , 1.5708])"),
    "asinh": ("([0.0, 1.0])", "tensor([0.    , 0.8814])"),
    "atan": ("([0.0, 1.0])", "tensor([0.    , 0.7854])"),
    "atan2": ("([1.0, -1.0], 1.0)", "tensor([ 0.7854, -0.7854])"),
    "atanh": ("([0.0, 0.5])", "tensor([0.    , 0.5493])"),
    "bmm": ("(nn.ones(2, 3, 4), nn.ones(2, 4, 5)).shape", "(2, 3, 5)"),
    "ceil": ("([0.5, -0.5])", "tensor([ 1., -0.])"),
    "chunk": ("([1, 2, 3], 2)", "(tensor([1, 2]), tensor([3]))"),
    "clamp": ("([-1.0, 0.5, 2.0], 0.0, 1.0)", "tensor([0. , 0.5, 1. ])"),
    "clone": ("([1.0, 2.0])", "tensor([1., 2.])"),
    "cos": ("([0.0, 1.0])", "tensor([1.    , 0.5403])"),
    "cosh": ("([0.0, 1.0])", "tensor([1.    , 1.5431])"),
    "cumprod": ("([1.0, 2.0, 3.0], 0)", "tensor([1., 2., 6.])"),
    "cumsum": ("([1.0, 2.0, 3.0], 0)", "tensor([1., 3., 6.])"),
    "detach": ("(nn.ones(2, requires_grad=True)).requires_grad", "False"),
    "index_add": ("([0.0, 0.0], 0, [1, 1], [1.0, 2.0])", "tensor([0., 3.])"),
    "select": ("([[1, 2], [3, 4]], 0, 1)", "tensor([3, 4])"),
    "take_along_dim": ("([[1, 2], [3, 4]], [[1], [0]], 1)", "tensor([[2],\n        [3]])"),
    "diag": ("([1, 2])", "tensor([[1, 0],\n        [0, 2]])"),
    "diagonal": ("([[1, 2], [3, 4]])", "tensor([1, 4])"),
    "div": ("([1.0, 2.0], 2.0)", "tensor([0.5, 1. ])"),
    "eq": ("([1, 2], 2)", "tensor([False,  True])"),
    "erf": ("([0.0, 1.0])", "tensor([0.    , 0.8427])"),
    "exp": ("([0.0, 1.0])", "tensor([1.    , 2.7183])"),
    "exp2": ("([0.0, 3.0])", "tensor([1., 8.])"),
    "expm1": ("([0.0, 1.0])", "tensor([0.    , 1.7183])"),
    "flatten": ("([[1, 2], [3, 4]])", "tensor([1, 2, 3, 4])"),
    "flip": ("([1, 2, 3], 0)", "tensor([3, 2, 1])"),
    "floor": ("([0.5, -0.5])", "tensor([ 0., -1.])"),
    "gather": ("([[1, 2], [3, 4]], 1, [[1], [0]])", "tensor([[2],\n        [3]])"),
    "ge": ("([1, 2], 2)", "tensor([False,  True])"),
    "gt": ("([1, 2], 1)", "tensor([False,  True])"),
    "hypot": ("([3.0, 0.0], 4.0)", "tensor([5., 4.])"),
    "index_select": ("([[1, 2], [3, 4]], 0, [1, 1])", "tensor([[3, 4],\n        [3, 4]])"),
    "isfinite": ('([1.0, float("inf")])', "tensor([ True, False])"),
    "isinf": ('([1.0, float("inf")])', "tensor([False,  True])"),
    "isnan": ('([1.0, float("nan")])', "tensor([False,  True])"),
    "le": ("([1, 2], 1)", "tensor([ True, False])"),
    "log": ("([1.0, 2.0])", "tensor([0.    , 0.6931])"),
    "log10": ("([1.0, 100.0])", "tensor([0., 2.])"),
    "log1p": ("([0.0, 1.0])", "tensor([0.    , 0.6931])"),
    "log2": ("([1.0, 8.0])", "tensor([0., 3.])"),
    "logical_and": ("([True, False], True)", "tensor([ True, False])"),
    "logical_or": ("([True, False], True)", "tensor([ True,  True])"),
    "logsumexp": ("([0.0, 0.0], dim=0)", "tensor(0.6931)"),
    "lt": ("([1, 2], 2)", "tensor([ True, False])"),
    "masked_fill": ("([1.0, 2.0], [True, False], 0.0)", "tensor([0., 2.])"),
    "masked_select": ("([1, 2, 3], [True, False, True])", "tensor([1, 3])"),
    "matmul": ("(nn.ones(1, 2), nn.ones(2, 3))", "tensor([[2., 2., 2.]])"),
    "max": ("([[1.0, 3.0], [2.0, 0.0]])", "tensor(3.)"),
    "maximum": ("([1.0, 3.0], 2.0)", "tensor([2., 3.])"),
    "mean": ("([[1.0, 3.0], [2.0, 0.0]], dim=0)", "tensor([1.5, 1.5])"),
    "min": ("([[1.0, 3.0], [2.0, 0.0]])", "tensor(0.)"),
    "minimum": ("([1.0, 3.0], 2.0)", "tensor([1., 2.])"),
    "movedim": ("(nn.ones(2, 3, 4), 0, 2).shape", "(3, 4, 2)"),
    "mul": ("([1.0, 2.0], 3.0)", "tensor([3., 6.])"),
    "narrow": ("([1, 2, 3, 4], 0, 1, 2)", "tensor([2, 3])"),
    "ne": ("([1, 2], 2)", "tensor([ True, False])"),
    "neg": ("([1.0, -2.0])", "tensor([-1.,  2.])"),
    "norm": ("([3.0, 4.0])", "tensor(5.)"),
    "ones_like": ("([1.0, 2.0])", "tensor([1., 1.])"),
    "outer": ("([1.0, 2.0], [3.0, 4.0])", "tensor([[3., 4.],\n        [6., 8.]])"),
    "permute": ("(nn.ones(2, 3, 4), 2, 0, 1).shape", "(4, 2, 3)"),
    "pow": ("([2.0, 3.0], 2)", "tensor([4., 9.])"),
    "prod": ("([2.0, 3.0])", "tensor(6.)"),
    "reciprocal": ("([2.0, 4.0])", "tensor([0.5 , 0.25])"),
    "relu": ("([-1.0, 2.0])", "tensor([0., 2.])"),
    "remainder": ("([5.0, -5.0], 3.0)", "tensor([2., 1.])"),
    "repeat_interleave": ("([1, 2], 2)", "tensor([1, 1, 2, 2])"),
    "reshape": ("([1, 2, 3, 4], 2, -1)", "tensor([[1, 2],\n        [3, 4]])"),
    "roll": ("([1, 2, 3], 1, 0)", "tensor([3, 1, 2])"),
    "round": ("([0.5, 1.5])", "tensor([0., 2.])"),
    "rsqrt": ("([1.0, 4.0])", "tensor([1. , 0.5])"),
    "scatter_add": ("([0.0, 0.0], 0, [1, 1], [1.0, 2.0])", "tensor([0., 3.])"),
    "sigmoid": ("([0.0, 2.0])", "tensor([0.5   , 0.8808])"),
    "sign": ("([-2.0, 0.0])", "tensor([-1.,  0.])"),
    "sin": ("([0.0, 1.0])", "tensor([0.    , 0.8415])"),
    "sinh": ("([0.0, 1.0])", "tensor([0.    , 1.1752])"),
    "sort": (
        "([3.0, 1.0, 2.0])",
        "Extreme(values=tensor([1., 2., 3.]), indices=tensor([1, 2, 0]))",
    ),
    "split": ("([1, 2, 3], 2)", "(tensor([1, 2]), tensor([3]))"),
    "sqrt": ("([1.0, 4.0])", "tensor([1., 2.])"),
    "square": ("([-1.0, 2.0])", "tensor([1., 4.])"),
    "squeeze": ("(nn.ones(2, 1, 3)).shape", "(2, 3)"),
    "std": ("([1.0, 3.0])", "tensor(1.4142)"),
    "sub": ("([1.0, 2.0], 3.0)", "tensor([-2., -1.])"),
    "sum": ("([[1.0, 3.0], [2.0, 0.0]], dim=1)", "tensor([4., 2.])"),
    "t": ("([[1, 2], [3, 4]])", "tensor([[1, 3],\n        [2, 4]])"),
    "tan": ("([0.0, 1.0])", "tensor([0.    , 1.5574])"),
    "tanh": ("([0.0, 1.0])", "tensor([0.    , 0.7616])"),
    "tile": ("([1, 2], 2)", "tensor([1, 2, 1, 2])"),
    "topk": ("([3.0, 1.0, 2.0], 2)", "Extreme(values=tensor([3., 2.]), indices=tensor([0, 2]))"),
    "trace": ("([[1.0, 2.0], [3.0, 4.0]])", "tensor(5.)"),
    "transpose": ("([[1, 2], [3, 4]], 0, 1)", "tensor([[1, 3],\n        [2, 4]])"),
    "tril": ("([[1, 2], [3, 4]])", "tensor([[1, 0],\n        [3, 4]])"),
    "triu": ("([[1, 2], [3, 4]])", "tensor([[1, 2],\n        [0, 4]])"),
    "trunc": ("([1.5, -1.5])", "tensor([ 1., -1.])"),
    "unbind": ("([[1, 2], [3, 4]])", "(tensor([1, 2]), tensor([3, 4]))"),
    "unflatten": ("([1, 2, 3, 4], 0, (2, 2))", "tensor([[1, 2],\n        [3, 4]])"),
    "unsqueeze": ("(nn.ones(2, 3), 1).shape", "(2, 1, 3)"),
    "var": ("([1.0, 3.0])", "tensor(2.)"),
    "zeros_like": ("([1.0, 2.0])", "tensor([0., 0.])"),
}
_FUNCTIONAL = {
    "alpha_dropout": ("([1.0, 2.0], training=False)", "tensor([1., 2.])"),
    "batch_norm": ("([[0.0], [2.0]], [0.0], [4.0], eps=0.0)", "tensor([[0.],\n        [1.]])"),
    "binary_cross_entropy": ("([0.5, 0.5], [0.0, 1.0])", "tensor(0.6931)"),
    "celu": ("([-1.0, 2.0])", "tensor([-0.6321,  2.    ])"),
    "channel_shuffle": ("([[[1], [2], [3], [4]]], 2).flatten()", "tensor([1, 3, 2, 4])"),
    "contrastive_loss": ("([[0.0, 0.0]], [[0.6, 0.0]], [0])", "tensor(0.08)"),
    "cosine_embedding_loss": ("([[1.0, 0.0]], [[0.0, 1.0]], [1])", "tensor(1.)"),
    "cosine_similarity": ("([[1.0, 0.0]], [[1.0, 1.0]])", "tensor([0.7071])"),
    "dropout1d": ("([[1.0, 2.0]], training=False)", "tensor([[1., 2.]])"),
    "dropout2d": ("([[[1.0, 2.0]]], training=False)", "tensor([[[1., 2.]]])"),
    "dropout3d": ("([[[[1.0, 2.0]]]], training=False)", "tensor([[[[1., 2.]]]])"),
    "elu": ("([-1.0, 2.0])", "tensor([-0.6321,  2.    ])"),
    "embedding": (
        "([1, 0, 1], [[1.0, 2.0], [3.0, 4.0]])",
        "tensor([[3., 4.],\n        [1., 2.],\n        [3., 4.]])",
    ),
    "embedding_bag": ("([[0, 1]], [[1.0, 2.0], [3.0, 4.0]])", "tensor([[2., 3.]])"),
    "feature_alpha_dropout": ("([1.0, 2.0], training=False)", "tensor([1., 2.])"),
    "fold": ("([[1.0], [2.0], [3.0], [4.0]], 2, 2)", "tensor([[[1., 2.],\n         [3., 4.]]])"),
    "gaussian_nll_loss": ("([0.0], [1.0], [1.0])", "tensor(0.5)"),
    "gelu": ("([-1.0, 2.0])", "tensor([-0.1587,  1.9545])"),
    "glu": ("([1.0, 2.0, 0.0, 0.0])", "tensor([0.5, 1. ])"),
    "group_norm": ("([[1.0, 3.0, 5.0, 9.0]], 2, eps=0.0)", "tensor([[-1.,  1., -1.,  1.]])"),
    "gumbel_softmax": ("([0.0, 50.0], hard=True)", "tensor([0., 1.])"),
    "hardshrink": ("([-1.0, 0.2])", "tensor([-1.,  0.])"),
    "hardsigmoid": ("([-1.0, 2.0])", "tensor([0.3333, 0.8333])"),
    "hardswish": ("([-1.0, 2.0])", "tensor([-0.3333,  1.6667])"),
    "hardtanh": ("([-3.0, 0.5])", "tensor([-1. ,  0.5])"),
    "heaviside": ("([-1.0, 0.0, 2.0])", "tensor([0., 0., 1.])"),
    "hinge_embedding_loss": ("([0.5, 0.5], [1.0, -1.0])", "tensor(0.5)"),
    "hinge_loss": ("([0.5, 2.0], [1.0, 1.0])", "tensor(0.25)"),
    "huber_loss": ('([1.0, 4.0], [1.5, 1.0], reduction="none")', "tensor([0.125, 2.5  ])"),
    "info_nce": (
        "([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], temperature=1.0)",
        "tensor(0.3133)",
    ),
    "instance_norm": ("([[[1.0, 3.0]]], eps=0.0)", "tensor([[[-1.,  1.]]])"),
    "kl_div": ('([-0.6931, -0.6931], [0.25, 0.75], reduction="sum")', "tensor(0.1308)"),
    "l1_loss": ("([1.0, 4.0], [1.5, 1.0])", "tensor(1.75)"),
    "layer_norm": ("([[1.0, 3.0]], 2, eps=0.0)", "tensor([[-1.,  1.]])"),
    "leaky_relu": ("([-1.0, 2.0])", "tensor([-0.01,  2.  ])"),
    "local_response_norm": ("([[[2.0]]], 1, alpha=1.0, beta=1.0)", "tensor([[[0.4]]])"),
    "log_cosh_loss": ("([1.0, 4.0], [1.5, 1.0])", "tensor(1.2147)"),
    "log_softmax": ("([0.0, 0.0], dim=0)", "tensor([-0.6931, -0.6931])"),
    "lp_pool1d": ("([[3.0, 4.0, 0.0, 1.0]], 2, 2)", "tensor([[5., 1.]])"),
    "lp_pool2d": ("([[[3.0, 4.0]]], 2, (1, 2))", "tensor([[[5.]]])"),
    "lp_pool3d": ("([[[[3.0, 4.0]]]], 2, (1, 1, 2))", "tensor([[[[5.]]]])"),
    "margin_ranking_loss": ("([1.0], [2.0], [1.0])", "tensor(1.)"),
    "mish": ("([-1.0, 2.0])", "tensor([-0.3034,  1.944 ])"),
    "multi_margin_loss": ("([[0.1, 0.2, 0.4]], [2])", "tensor(0.5)"),
    "multilabel_margin_loss": ("([[0.1, 0.2, 0.4]], [[2, -1, 0]])", "tensor(0.5)"),
    "multilabel_soft_margin_loss": ("([[0.0, 2.0]], [[0.0, 1.0]])", "tensor(0.41)"),
    "nll_loss": ("([[-0.5, -1.0]], [1])", "tensor(1.)"),
    "normalize": ("([[3.0, 4.0]])", "tensor([[0.6, 0.8]])"),
    "pairwise_distance": ("([[0.0, 3.0]], [[4.0, 0.0]])", "tensor([5.])"),
    "pdist": ("([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])", "tensor([5., 3., 4.])"),
    "pixel_shuffle": ("([[[1]], [[2]], [[3]], [[4]]], 2)", "tensor([[[1, 2],\n         [3, 4]]])"),
    "pixel_unshuffle": ("([[[1, 2], [3, 4]]], 2).flatten()", "tensor([1, 2, 3, 4])"),
    "poisson_nll_loss": ("([0.0], [2.0])", "tensor(1.)"),
    "prelu": ("([-1.0, 2.0], [0.5])", "tensor([-0.5,  2. ])"),
    "quantile_loss": ('([0.0, 0.0], [1.0, -1.0], 0.9, "none")', "tensor([0.9, 0.1])"),
    "relu6": ("([-1.0, 9.0])", "tensor([0., 6.])"),
    "rms_norm": ("([[3.0, -3.0]], 2)", "tensor([[ 1., -1.]])"),
    "rrelu": ("([-1.0, 2.0], 0.25, 0.75)", "tensor([-0.5,  2. ])"),
    "smooth_l1_loss": ('([1.0, 4.0], [1.5, 1.0], reduction="none")', "tensor([0.125, 2.5  ])"),
    "soft_margin_loss": ('([0.0, 2.0], [1.0, 1.0], "none")', "tensor([0.6931, 0.1269])"),
    "softmin": ("([1.0, 1.0], dim=0)", "tensor([0.5, 0.5])"),
    "softplus": ("([-1.0, 2.0])", "tensor([0.3133, 2.1269])"),
    "softshrink": ("([-1.0, 0.2])", "tensor([-0.5,  0. ])"),
    "softsign": ("([-1.0, 3.0])", "tensor([-0.5 ,  0.75])"),
    "squared_hinge_loss": ("([0.5, 2.0], [1.0, 1.0])", "tensor(0.125)"),
    "tanhshrink": ("([-1.0, 2.0])", "tensor([-0.2384,  1.036 ])"),
    "threshold": ("([-1.0, 2.0], 0.5, 9.0)", "tensor([9., 2.])"),
    "triplet_margin_loss": ("([[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.5]])", "tensor(0.5)"),
    "triplet_margin_with_distance_loss": (
        "([[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.5]])",
        "tensor(0.5)",
    ),
    "unfold": ("([[[1, 2, 3]]], (1, 2))", "tensor([[1, 2],\n        [2, 3]])"),
}
_UTILS = {
    "clip_grad_value_": """>>> from kernelmill import nn
>>> p = nn.ones(2, requires_grad=True)
>>> (p * 3).sum().backward()
>>> nn.utils.clip_grad_value_(p, 1.0)
>>> p.grad
tensor([1., 1.])""",
    "l2_penalty": """>>> from kernelmill import nn
>>> nn.utils.l2_penalty([nn.Tensor([3.0, 4.0])]).item()
12.5""",
    "max_norm_": """>>> from kernelmill import nn
>>> p = nn.Tensor([[3.0, 4.0], [0.0, 1.0]])
>>> nn.utils.max_norm_(p, 2.5)
>>> p.tolist()
[[1.5, 2.0], [0.0, 1.0]]""",
    "remove_weight_norm": """>>> from kernelmill import nn
>>> layer = nn.utils.weight_norm(nn.Linear(2, 3))
>>> sorted(name for name, _ in nn.utils.remove_weight_norm(layer).named_parameters())
['bias', 'weight']""",
    "vector_to_parameters": """>>> from kernelmill import nn
>>> layer = nn.Linear(1, 1)
>>> nn.utils.vector_to_parameters(nn.Tensor([2.0, 1.0]), layer.parameters())
>>> layer(nn.Tensor([[3.0]])).item()
7.0""",
}
_OPTIMISER = """>>> from kernelmill import nn
>>> model = nn.Linear(2, 1)
>>> optimizer = nn.optim.{}(model.parameters())
>>> nn.functional.mse_loss(model(nn.ones(4, 2)), nn.zeros(4, 1)).backward()
>>> optimizer.step()"""
_OPTIMISERS = (
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "AdamW", "Adamax", "Lion", "NAdam", "RAdam",
    "RMSprop", "Rprop",
)  # fmt: skip
EXAMPLES = {
    package: {
        name: f">>> from {place} import {alias}\n>>> {alias.split()[-1]}.{name}{call}\n{result}"
        for name, (call, result) in table.items()
    }
    for package, place, alias, table in (
        ("kernelmill.nn", "kernelmill", "nn", _TENSORS | _MORE),
        ("kernelmill.nn.functional", "kernelmill.nn", "functional as F", _FUNCTIONAL),
    )
}
_SCHEDULE = """>>> from kernelmill import nn
>>> from kernelmill.nn.optim import lr_scheduler
>>> optimizer = nn.optim.SGD([nn.ones(1, requires_grad=True)], lr=1.0, momentum=0.9)
>>> schedule = lr_scheduler.{}
>>> for _ in range(5):
...     print(round(optimizer.param_groups[0]["lr"], 3))
...     optimizer.step()
...     schedule.step({})
{}"""
_SCHEDULES = {
    "StepLR": ("StepLR(optimizer, step_size=2)", "1.0 1.0 0.1 0.1 0.01"),
    "MultiStepLR": ("MultiStepLR(optimizer, milestones=[1, 3])", "1.0 0.1 0.1 0.01 0.01"),
    "ExponentialLR": ("ExponentialLR(optimizer, gamma=0.5)", "1.0 0.5 0.25 0.125 0.062"),
    "ConstantLR": ("ConstantLR(optimizer, factor=0.5, total_iters=2)", "0.5 0.5 1.0 1.0 1.0"),
    "LinearLR": (
        "LinearLR(optimizer, start_factor=0.5, total_iters=4)",
        "0.5 0.625 0.75 0.875 1.0",
    ),
    "PolynomialLR": ("PolynomialLR(optimizer, total_iters=4)", "1.0 0.75 0.5 0.25 0.0"),
    "CosineAnnealingLR": ("CosineAnnealingLR(optimizer, T_max=4)", "1.0 0.854 0.5 0.146 0.0"),
    "LambdaLR": ("LambdaLR(optimizer, lambda step: 0.9**step)", "1.0 0.9 0.81 0.729 0.656"),
    "MultiplicativeLR": (
        "MultiplicativeLR(optimizer, lambda step: 0.9)",
        "1.0 0.9 0.81 0.729 0.656",
    ),
    "CosineAnnealingWarmRestarts": (
        "CosineAnnealingWarmRestarts(optimizer, T_0=2)",
        "1.0 0.5 1.0 0.5 1.0",
    ),
    "OneCycleLR": (
        "OneCycleLR(optimizer, max_lr=1.0, total_steps=6)",
        "0.04 0.994 0.812 0.463 0.133",
    ),
    "CyclicLR": (
        "CyclicLR(optimizer, base_lr=0.1, max_lr=1.0, step_size_up=2)",
        "0.1 0.55 1.0 0.55 0.1",
    ),
    "ReduceLROnPlateau": ("ReduceLROnPlateau(optimizer, patience=1)", "1.0 1.0 1.0 0.1 0.1"),
}
EXAMPLES["kernelmill.nn.optim"] = {
    name: _SCHEDULE.format(call, "1.0" if "Plateau" in call else "", rates.replace(" ", "\n"))
    for name, (call, rates) in _SCHEDULES.items()
}
EXAMPLES["kernelmill.nn.optim"] |= {name: _OPTIMISER.format(name) for name in _OPTIMISERS}
EXAMPLES["kernelmill.nn.utils"] = _UTILS
