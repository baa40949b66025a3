"""Networks beside torch: results, gradients and second derivatives from the same numbers.

Float64, so that both sides are exact but for rounding: 1e-10 of the largest entry.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
TF = torch.nn.functional


# torch keeps their constants, 1 / 6 and 1 / alpha, in float32 (gradcheck passes for ours).
ROUNDED = {"celu": 1e3, "hardsigmoid": 1e3}


def close(ours, theirs, name, scale=1.0):
    scale *= ROUNDED.get(name.partition(":")[0], 1.0)
    ours = np.asarray(ours.data if isinstance(ours, nn.Tensor) else ours, dtype=np.float64)
    theirs = theirs.detach().numpy(force=True) if isinstance(theirs, torch.Tensor) else theirs
    theirs = np.asarray(theirs, dtype=np.float64)
    assert ours.shape == theirs.shape, name
    finite = theirs[np.isfinite(theirs)]
    size = max(float(np.abs(finite).max()) if finite.size else 0.0, 1.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10 * scale, atol=1e-10 * size * scale,
                               err_msg=name)  # fmt: skip


def arrays(name, shapes, kind):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    made = []
    for shape in shapes:
        if not isinstance(shape, tuple):
            made.append(shape)
            continue
        x = rng.normal(size=shape)
        if kind == "positive":
            x = np.abs(x) + 0.3
        elif kind == "unit":
            x = rng.uniform(0.05, 0.95, size=shape)
        made.append(x)
    return made


def compare(name, ours, theirs, shapes, kind="", second=True):
    """One function on both sides: result, gradients, gradients of gradients."""
    given = arrays(name, shapes, kind)
    a = [nn.Tensor(x.copy(), True) if isinstance(x, np.ndarray) else x for x in given]
    b = [torch.tensor(x, requires_grad=True) if isinstance(x, np.ndarray) else x for x in given]
    ya, yb = ours(*a), theirs(*b)
    close(ya, yb, name)
    leaves_a = [x for x in a if isinstance(x, nn.Tensor)]
    leaves_b = [x for x in b if isinstance(x, torch.Tensor)]
    rng = np.random.default_rng(7)
    weight = rng.normal(size=tuple(yb.shape))
    ga = nn.grad(ya, leaves_a, nn.Tensor(weight), create_graph=False, retain_graph=True,
                 allow_unused=True)  # fmt: skip
    gb = torch.autograd.grad(yb, leaves_b, torch.tensor(weight), create_graph=second,
                             allow_unused=True)  # fmt: skip
    for i, (x, y) in enumerate(zip(ga, gb, strict=True)):
        if y is None:
            assert x is None or not np.any(x.data), f"{name}: gradient {i}"
        else:
            close(x, y, f"{name}: gradient {i}")
    if not second:
        return
    ga = nn.grad(ya, leaves_a, nn.Tensor(weight), create_graph=True, allow_unused=True)
    for i, (x, y) in enumerate(zip(ga, gb, strict=True)):
        if y is not None:
            close(x, y, f"{name}: gradient {i} of the tensor lane")
    # A second gradient of a sum with other weights, where the first ones depend on anything.
    sums_a = sum((g * rng.normal(size=g.shape)).sum() for g in ga if g is not None and g._node)
    rng = np.random.default_rng(7)
    rng.normal(size=tuple(yb.shape))
    sums_b = sum(
        (gb_i * torch.tensor(rng.normal(size=tuple(ga_i.shape)))).sum()
        for ga_i, gb_i in zip(ga, gb, strict=True)
        if ga_i is not None and ga_i._node
    )
    if isinstance(sums_a, nn.Tensor) and isinstance(sums_b, torch.Tensor) and sums_b.requires_grad:
        ha = nn.grad(sums_a, leaves_a, allow_unused=True)
        hb = torch.autograd.grad(sums_b, leaves_b, allow_unused=True)
        for i, (x, y) in enumerate(zip(ha, hb, strict=True)):
            if y is None:
                assert x is None or not np.any(x.data), f"{name}: second gradient {i}"
            else:
                zero = np.zeros(tuple(y.shape)) if x is None else x
                close(zero, y, f"{name}: second gradient {i}", scale=10)


S = (4, 5)
TENSOR = {
    # name: (function of either library's tensors, shapes, kind)
    "add": (lambda x, y: x + y, [S, (5,)], ""),
    "broadcast in the middle": (lambda x, y: x * y, [(3, 1, 4), (2, 1)], ""),
    "number": (lambda x: 2.0 - 3 * x / 4, [S], ""),
    "reverse": (lambda x: 1 / x, [S], "positive"),
    "no axes": (lambda x, y: x * y, [(), S], ""),
    "square": (lambda x: x**2, [S], ""),
    "cube": (lambda x: x**3, [S], ""),
    "power": (lambda x: x**2.5, [S], "positive"),
    "negative power": (lambda x: x**-1.5, [S], "positive"),
    "powers": (lambda x, y: x**y, [S, S], "positive"),
    "base": (lambda x: 2.0**x, [S], ""),
    "remainder": (lambda x: x.remainder(0.7), [S], ""),
    "exp": (lambda x: x.exp(), [S], ""),
    "log": (lambda x: x.log(), [S], "positive"),
    "log1p": (lambda x: x.log1p(), [S], "positive"),
    "expm1": (lambda x: x.expm1(), [S], ""),
    "log2": (lambda x: x.log2(), [S], "positive"),
    "sqrt": (lambda x: x.sqrt(), [S], "positive"),
    "rsqrt": (lambda x: x.rsqrt(), [S], "positive"),
    "tanh": (lambda x: x.tanh(), [S], ""),
    "sigmoid": (lambda x: x.sigmoid(), [S], ""),
    "erf": (lambda x: x.erf(), [S], ""),
    "abs": (lambda x: x.abs(), [S], ""),
    "sin": (lambda x: x.sin(), [S], ""),
    "cos": (lambda x: x.cos(), [S], ""),
    "tan": (lambda x: x.tan(), [S], "unit"),
    "asin": (lambda x: x.asin(), [S], "unit"),
    "acos": (lambda x: x.acos(), [S], "unit"),
    "atan": (lambda x: x.atan(), [S], ""),
    "sinh": (lambda x: x.sinh(), [S], ""),
    "cosh": (lambda x: x.cosh(), [S], ""),
    "asinh": (lambda x: x.asinh(), [S], ""),
    "atanh": (lambda x: x.atanh(), [S], "unit"),
    "clamp": (lambda x: x.clamp(-0.5, 0.7), [S], ""),
    "clamp below": (lambda x: x.clamp(min=0.1), [S], ""),
    "maximum": (lambda x, y: x.maximum(y), [S, S], ""),
    "reshape": (lambda x: x.reshape(2, 10) * 2, [S], ""),
    "permute": (lambda x: x.permute(2, 0, 1) ** 2, [(2, 3, 4)], ""),
    "transpose": (lambda x: x.transpose(0, 1) ** 2, [(2, 3, 4)], ""),
    "slice": (lambda x: x[1:, ::2] ** 2, [S], ""),
    "integer": (lambda x: x[1] ** 2, [S], ""),
    "ellipsis": (lambda x: x[..., None, -1] ** 2, [S], ""),
    "list": (lambda x: x[[0, 0, 2]] ** 2, [S], ""),
    "squeeze": (lambda x: x.squeeze(1) ** 2, [(3, 1, 2)], ""),
    "unsqueeze": (lambda x: x.unsqueeze(-1) ** 2, [S], ""),
    "expand": (lambda x: x.expand(4, -1, 5) ** 2, [(3, 1)], ""),
    "repeat": (lambda x: x.repeat(2, 1, 3) ** 2, [S], ""),
    "flip": (lambda x: x.flip(0, 1)[0] ** 2, [S], ""),
    "roll": (lambda x: x.roll(2, 1)[:, 0] ** 2, [S], ""),
    "split": (lambda x: x.split(2, 1)[0] * x.split(2, 1)[2], [S], ""),
    "chunk": (lambda x: x.chunk(2, 0)[1] ** 2, [S], ""),
    "unbind": (lambda x: x.unbind(1)[3] ** 2, [S], ""),
    "diagonal": (lambda x: x.diagonal(1) ** 2, [S], ""),
    "diag": (lambda x: x.diag(-1) ** 2, [(4,)], ""),
    "tril": (lambda x: x.tril(-1) ** 2, [S], ""),
    "sum": (lambda x: x.sum(), [S], ""),
    "sum of an axis": (lambda x: x.sum(1) ** 2, [S], ""),
    "sum kept": (lambda x: x.sum((0, 2), keepdim=True) ** 2, [(2, 3, 4)], ""),
    "mean": (lambda x: x.mean(0) ** 2, [S], ""),
    "var": (lambda x: x.var(1), [S], ""),
    "var without correction": (lambda x: x.var(0, correction=0), [S], ""),
    "std": (lambda x: x.std(1), [S], ""),
    "amax": (lambda x: x.amax(1) ** 2, [S], ""),
    "amin": (lambda x: x.amin() ** 2, [S], ""),
    "max": (lambda x: x.max(1)[0] ** 2, [S], ""),
    "min": (lambda x: x.min(0)[0] ** 2, [S], ""),
    "logsumexp": (lambda x: x.logsumexp(1), [S], ""),
    "norm": (lambda x: x.norm(2, 1), [S], ""),
    "3-norm": (lambda x: x.norm(3, 1), [S], ""),
    "1-norm": (lambda x: x.norm(1, 0), [S], ""),
    "prod": (lambda x: x.prod(1), [S], ""),
    "cumsum": (lambda x: x.cumsum(1) ** 2, [S], ""),
    "cumprod": (lambda x: x.cumprod(0), [S], ""),
    "sort": (lambda x: x.sort(1)[0] ** 2, [S], ""),
    "topk": (lambda x: x.topk(2, 1)[0] ** 2, [S], ""),
    "matmul": (lambda x, y: x @ y, [(3, 4), (4, 2)], ""),
    "matrix by vector": (lambda x, y: x @ y, [(3, 4), (4,)], ""),
    "vector by matrix": (lambda x, y: x @ y, [(3,), (3, 4)], ""),
    "inner": (lambda x, y: x @ y, [(3,), (3,)], ""),
    "stack by matrix": (lambda x, y: x @ y, [(2, 5, 3, 4), (4, 2)], ""),
    "stacks": (lambda x, y: x @ y, [(2, 1, 3, 4), (5, 4, 2)], ""),
    "product with itself": (lambda x: x @ x.T @ x, [S], ""),
    "trace": (lambda x: (x @ x).trace(), [(3, 3)], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSOR)
def test_functions_of_tensors_equal_torch(name):
    function, shapes, kind = TENSOR[name]
    compare(name, function, function, shapes, kind)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 2)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("ij->ji", [S]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("ij,ij->", [S, S]),
        ("i,j->ij", [(3,), (4,)]), ("...ij,...jk", [(2, 3, 4), (4, 2)]), ("ij->", [S]),
        ("ij,k->i", [S, (3,)]), ("bi,ijk,bk->bj", [(2, 3), (3, 4, 5), (2, 5)]),
    ],
)  # fmt: skip
def test_einsum_equals_torch(equation, shapes):
    compare(equation, lambda *x: nn.einsum(equation, *x), lambda *x: torch.einsum(equation, *x),
            shapes)  # fmt: skip


def definite(x):
    return (
        x @ x.transpose(-1, -2) + np.eye(3)
        if isinstance(x, nn.Tensor)
        else (x @ x.transpose(-1, -2) + torch.eye(3, dtype=torch.float64))
    )


@pytest.mark.parametrize("name", ["inv", "det", "cholesky", "slogdet"])
def test_factorisations_equal_torch(name):
    for shape in [(3, 3), (2, 3, 3)]:

        def ours(x):
            y = getattr(nn.linalg, name)(definite(x))
            return y[1] if name == "slogdet" else y

        def theirs(x):
            y = getattr(torch.linalg, name)(definite(x))
            return y[1] if name == "slogdet" else y

        compare(name, ours, theirs, [shape])


def test_solve_equals_torch():
    compare("solve", lambda a, b: nn.linalg.solve(definite(a), b),
            lambda a, b: torch.linalg.solve(definite(a), b), [(3, 3), (3, 2)])  # fmt: skip
    compare("solve", lambda a, b: nn.linalg.solve(definite(a), b),
            lambda a, b: torch.linalg.solve(definite(a), b), [(3, 3), (3,)])  # fmt: skip


ACTIVATIONS = {
    "relu": {}, "relu6": {}, "elu": {"alpha": 1.3}, "selu": {}, "celu": {"alpha": 1.3},
    "leaky_relu": {"negative_slope": 0.2}, "silu": {}, "mish": {}, "softplus": {"beta": 2.0},
    "hardtanh": {"min_val": -0.4, "max_val": 0.7}, "hardsigmoid": {}, "hardswish": {},
    "hardshrink": {"lambd": 0.3}, "softshrink": {"lambd": 0.3}, "tanhshrink": {}, "softsign": {},
    "logsigmoid": {}, "threshold": {"threshold": 0.2, "value": -3.0}, "glu": {"dim": 0},
    "softmax": {"dim": 1}, "log_softmax": {"dim": 0}, "softmin": {"dim": 1},
    "normalize": {"dim": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 7), (2, 1)])
def test_activations_equal_torch(name, shape):
    if name == "glu" and shape[0] % 2:
        pytest.skip("the axis must be even")
    options = ACTIVATIONS[name]
    compare(name, lambda x: getattr(F, name)(x, **options),
            lambda x: getattr(TF, name)(x, **options), [shape])  # fmt: skip


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_equals_torch(approximate):
    compare("gelu", lambda x: F.gelu(x, approximate), lambda x: TF.gelu(x, approximate=approximate),
            [S])  # fmt: skip


def test_prelu_equals_torch():
    compare("prelu", F.prelu, TF.prelu, [(2, 3, 4), (3,)])
    compare("prelu", F.prelu, TF.prelu, [(2, 3, 4), (1,)])


LOSSES = {
    # name: (extra arguments, shapes, kind, target made of signs, zeros and ones or numbers)
    "mse_loss": ({}, "numbers"), "l1_loss": ({}, "numbers"),
    "huber_loss": ({"delta": 0.7}, "numbers"), "smooth_l1_loss": ({"beta": 0.6}, "numbers"),
    "soft_margin_loss": ({}, "signs"), "hinge_embedding_loss": ({"margin": 0.8}, "signs"),
    "binary_cross_entropy_with_logits": ({}, "unit"),
    "multilabel_soft_margin_loss": ({}, "zeros and ones"),
    "poisson_nll_loss": ({"full": True}, "counts"), "kl_div": ({}, "unit"),
}  # fmt: skip


def target_of(kind, shape):
    rng = np.random.default_rng(3)
    return {
        "numbers": rng.normal(size=shape), "signs": rng.choice([-1.0, 1.0], shape),
        "unit": rng.uniform(size=shape), "zeros and ones": rng.choice([0.0, 1.0], shape),
        "counts": rng.poisson(3.0, shape).astype(float),
    }[kind]  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # torch's own, about kl_div
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_torch(name, reduction):
    options, kind = LOSSES[name]
    target = target_of(kind, S)
    compare(name, lambda x: getattr(F, name)(x, target, reduction=reduction, **options),
            lambda x: getattr(TF, name)(x, torch.tensor(target), reduction=reduction, **options),
            [S])  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_binary_cross_entropy_equals_torch(reduction):
    target = target_of("unit", S)
    weight = np.abs(target_of("numbers", S))
    compare("bce", lambda x: F.binary_cross_entropy(x, target, weight, reduction),
            lambda x: TF.binary_cross_entropy(x, torch.tensor(target), torch.tensor(weight),
                                              reduction=reduction), [S], "unit")  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (3,), (2, 3, 2, 2)])
def test_cross_entropy_equals_torch(shape, reduction, smoothing, weighted):
    rng = np.random.default_rng(1)
    classes = shape[0] if len(shape) == 1 else shape[1]
    rest = () if len(shape) == 1 else (shape[0], *shape[2:])
    target = rng.integers(0, classes, rest)
    if rest:
        target.flat[0] = -100
    weight = rng.uniform(0.5, 2, classes) if weighted else None
    compare(
        "cross_entropy",
        lambda x: F.cross_entropy(
            x, target, weight, reduction=reduction, label_smoothing=smoothing),
        lambda x: TF.cross_entropy(
            x, torch.tensor(target), None if weight is None else torch.tensor(weight),
            reduction=reduction, label_smoothing=smoothing),
        [shape],
    )  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_probabilities_equals_torch(reduction, smoothing):
    target = np.random.default_rng(1).dirichlet(np.ones(5), 4)
    weight = np.arange(1.0, 6)
    compare("cross_entropy",
            lambda x: F.cross_entropy(x, target, weight, reduction=reduction,
                                      label_smoothing=smoothing),
            lambda x: TF.cross_entropy(x, torch.tensor(target), torch.tensor(weight),
                                       reduction=reduction, label_smoothing=smoothing),
                                       [S])  # fmt: skip


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("form", ["padded", "flat", "one sample"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_equals_torch(reduction, form, zero):
    """Behind log_softmax; alone, torch's gradient has exp(log_probs) added to it.

    torch has no second derivative of this loss, and NaN for the gradient of an impossible target.
    """
    target, steps, lengths = [[1, 2, 2, 3], [4, 4, 0, 0], [1, 1, 1, 1]], [9, 5, 6], [4, 2, 4]
    samples = 3 if zero else 2  # the third is impossible
    target, steps, lengths = (np.array(a[:samples]) for a in (target, steps, lengths))
    if form == "flat":
        target = np.concatenate([t[:n] for t, n in zip(target, lengths, strict=True)])
    shape = (9, samples, 5)
    if form == "one sample":
        target, steps, lengths, shape = target[0], steps[0], lengths[0], (9, 5)
    theirs = [torch.tensor(a) for a in (target, steps, lengths)]
    options = {"reduction": reduction, "zero_infinity": zero}
    compare("ctc", lambda x: F.ctc_loss(F.log_softmax(x, -1), target, steps, lengths, **options),
            lambda x: TF.ctc_loss(TF.log_softmax(x, -1), *theirs, **options), [shape],
            second=False)  # fmt: skip
    if not zero:
        (raw,) = arrays("ctc raw", [shape], "")
        a, b = nn.Tensor(raw, True), torch.tensor(raw, requires_grad=True)
        F.ctc_loss(a, target, steps, lengths, reduction="sum").backward()
        TF.ctc_loss(b, *theirs, reduction="sum").backward()
        inside = np.arange(9)[:, None] < steps
        extra = np.where(inside.reshape(9, *shape[1:-1], 1), np.exp(raw), 0.0)
        close(a.grad.data + extra, b.grad, "ctc raw")


def test_losses_of_several_inputs_equal_torch():
    signs = np.array([1.0, -1, 1, -1])
    t = torch.tensor(signs)
    compare("triplet", lambda a, p, n: F.triplet_margin_loss(a, p, n, swap=True),
            lambda a, p, n: TF.triplet_margin_loss(a, p, n, swap=True), [S, S, S])  # fmt: skip
    compare("cosine_embedding", lambda a, b: F.cosine_embedding_loss(a, b, signs, 0.1),
            lambda a, b: TF.cosine_embedding_loss(a, b, t, 0.1), [S, S])  # fmt: skip
    compare("margin_ranking", lambda a, b: F.margin_ranking_loss(a, b, signs, 0.3),
            lambda a, b: TF.margin_ranking_loss(a, b, t, 0.3), [(4,), (4,)])  # fmt: skip
    compare("gaussian_nll", lambda a, v: F.gaussian_nll_loss(a, np.ones(S), v, full=True),
            lambda a, v: TF.gaussian_nll_loss(a, torch.ones(S, dtype=torch.float64), v, full=True),
            [S, S], "positive")  # fmt: skip
    index = np.array([1, 0, 3, 2])
    for p in (1, 2):
        compare("multi_margin",
                lambda a, p=p: F.multi_margin_loss(a, index, p=p, weight=np.arange(1.0, 6)),
                lambda a, p=p: TF.multi_margin_loss(a, torch.tensor(index), p=p,
                                                    weight=torch.arange(1.0, 6.0).double()),
                [S], second=False)  # fmt: skip
    rows = np.array([[1, 0, -1, 2, 3], [4, -1, 0, 0, 0], [0, 1, 2, 3, 4], [2, 3, -1, -1, -1]])
    compare("multilabel_margin", lambda a: F.multilabel_margin_loss(a, rows),
            lambda a: TF.multilabel_margin_loss(a, torch.tensor(rows)), [S],
            second=False)  # fmt: skip
    compare("pairwise_distance", F.pairwise_distance, TF.pairwise_distance, [S, S])
    compare("cosine_similarity", F.cosine_similarity, TF.cosine_similarity, [S, S])


@pytest.mark.parametrize("shape", [(6, 4), (4, 4, 3), (2, 4, 3, 5)])
def test_norms_equal_torch(shape):
    compare("layer_norm", lambda x, w, b: F.layer_norm(x, shape[-1:], w, b),
            lambda x, w, b: TF.layer_norm(x, shape[-1:], w, b), [shape, shape[-1:],
            shape[-1:]])  # fmt: skip
    compare("rms_norm", lambda x, w: F.rms_norm(x, shape[-1:], w, 1e-6),
            lambda x, w: TF.rms_norm(x, shape[-1:], w, 1e-6), [shape, shape[-1:]])  # fmt: skip
    compare("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b),
            lambda x, w, b: TF.group_norm(x, 2, w, b), [shape, (4,), (4,)])  # fmt: skip
    compare("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
            lambda x, w, b: TF.batch_norm(x, None, None, w, b, True), [shape, (4,),
            (4,)])  # fmt: skip
    if len(shape) > 2:
        compare("instance_norm", lambda x: F.instance_norm(x), lambda x: TF.instance_norm(x),
                [shape])  # fmt: skip
    compare("linear", F.linear, TF.linear, [shape, (7, shape[-1]), (7,)])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_equals_torch(mode):
    compare("pad", lambda x: F.pad(x, (1, 2, 0, 1), mode), lambda x: TF.pad(x, (1, 2, 0, 1), mode),
            [(2, 3, 4, 5)], second=False)  # fmt: skip
    compare("pad", lambda x: F.pad(x, (-1, 2), "constant", 3.0),
            lambda x: TF.pad(x, (-1, 2), "constant", 3.0), [S])  # fmt: skip


def test_embeddings_equal_torch():
    index = np.array([[1, 2, 2], [0, 3, 1]])
    t = torch.tensor(index)
    compare("embedding", lambda w: F.embedding(index, w, padding_idx=2),
            lambda w: TF.embedding(t, w, padding_idx=2), [(4, 3)])  # fmt: skip
    compare("embedding", lambda w: F.embedding(index, w, scale_grad_by_freq=True),
            lambda w: TF.embedding(t, w, scale_grad_by_freq=True), [(4, 3)],
            second=False)  # fmt: skip
    flat, offsets = np.array([1, 2, 2, 0, 3]), np.array([0, 2, 2])
    for mode in ("sum", "mean", "max"):
        compare(mode, lambda w, mode=mode: F.embedding_bag(flat, w, offsets, mode=mode),
                lambda w, mode=mode: TF.embedding_bag(torch.tensor(flat), w, torch.tensor(offsets),
                                                      mode=mode), [(4, 3)],
                                                      second=False)  # fmt: skip
        compare(mode, lambda w, mode=mode: F.embedding_bag(index, w, mode=mode, padding_idx=2),
                lambda w, mode=mode: TF.embedding_bag(t, w, mode=mode, padding_idx=2), [(4, 3)],
                second=False)  # fmt: skip
    compare("weighted", lambda w, s: F.embedding_bag(flat, w, offsets, mode="sum",
                                                     per_sample_weights=s),
            lambda w, s: TF.embedding_bag(torch.tensor(flat), w, torch.tensor(offsets), mode="sum",
                                          per_sample_weights=s), [(4, 3), (5,)],
                                          second=False)  # fmt: skip


def test_batch_norm_layers_keep_torchs_running_statistics():
    rng = np.random.default_rng(0)
    for momentum in (0.1, None, 1.0):
        ours, theirs = (
            nn.BatchNorm1d(4, momentum=momentum),
            torch.nn.BatchNorm1d(4, momentum=momentum),
        )
        for _ in range(3):
            x = rng.normal(size=(5, 4)).astype(np.float32)
            y, z = ours(nn.Tensor(x)), theirs(torch.tensor(x))
            np.testing.assert_allclose(y.numpy() if not y.requires_grad else y.detach().numpy(),
                                       z.detach().numpy(), atol=2e-6)  # fmt: skip
        state = theirs.state_dict()
        assert list(state) == list(ours.state_dict())
        for name, value in ours.state_dict().items():
            np.testing.assert_allclose(value.numpy(), state[name].numpy(), rtol=1e-6)
        ours.eval(), theirs.eval()
        np.testing.assert_allclose(ours(nn.Tensor(x)).detach().numpy(),
                                   theirs(torch.tensor(x)).detach().numpy(), atol=2e-6)  # fmt: skip


def test_state_of_a_torch_module_loads_and_gives_the_same_numbers(tmp_path):
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.GELU(), torch.nn.Linear(7, 2)
    ).eval()
    ours = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.GELU(), nn.Linear(7, 2)).eval()
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    want = theirs(torch.tensor(x)).detach().numpy()
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_allclose(ours(x).detach().numpy(), want, rtol=1e-5, atol=1e-6)
    other = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.GELU(), nn.Linear(7, 2)).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(nn.load_torch(tmp_path / "weights.pt"))
    np.testing.assert_array_equal(other(x).detach().numpy(), ours(x).detach().numpy())
    assert math.isfinite(float(other(x).sum().item()))


CONVOLUTIONS = [
    # (input, weight, arguments)
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 3, 9), (4, 3, 3), {"stride": 2, "padding": 1, "dilation": 2}),
    ((2, 4, 7), (6, 2, 2), {"groups": 2, "padding": 2}),
    ((2, 3, 6, 5), (4, 3, 3, 3), {"padding": 1}),
    ((1, 3, 8, 7), (2, 3, 1, 1), {}),
    ((2, 3, 8, 7), (2, 3, 3, 2), {"stride": (2, 1), "padding": (0, 1)}),
    ((2, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    ((3, 6, 6), (4, 3, 3, 3), {"padding": "same"}),
    ((1, 3, 6, 6), (4, 3, 4, 4), {"padding": "same"}),
    ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"stride": 2, "padding": 1}),
]
TRANSPOSED = [
    ((2, 3, 5), (3, 4, 3), {"stride": 2, "output_padding": 1}),
    ((2, 4, 5), (4, 2, 3), {"groups": 2, "padding": 1}),
    ((2, 3, 4, 3), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 3, 4, 3), (3, 2, 2, 2), {"dilation": 2, "output_padding": 1}),
    ((1, 2, 3, 2, 3), (2, 3, 2, 2, 2), {"stride": 2}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("shape", "weight", "options"), CONVOLUTIONS)
def test_convolutions_equal_torch(shape, weight, options):
    name = f"conv{len(weight) - 2}d"
    compare(name, lambda x, w, b: getattr(F, name)(x, w, b, **options),
            lambda x, w, b: getattr(TF, name)(x, w, b, **options),
            [shape, weight, weight[:1]])  # fmt: skip


@pytest.mark.parametrize(("shape", "weight", "options"), TRANSPOSED)
def test_transposed_convolutions_equal_torch(shape, weight, options):
    name = f"conv_transpose{len(weight) - 2}d"
    out = (weight[1] * options.get("groups", 1),)
    compare(name, lambda x, w, b: getattr(F, name)(x, w, b, **options),
            lambda x, w, b: getattr(TF, name)(x, w, b, **options),
            [shape, weight, out])  # fmt: skip


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_convolution_layers_equal_torchs(mode):
    for kind, x in (("Conv1d", (2, 4, 9)), ("Conv2d", (2, 4, 6, 7)), ("Conv3d", (1, 4, 5, 4, 5))):
        if kind == "Conv3d" and mode == "reflect":
            continue
        options = {"padding": 2, "padding_mode": mode, "groups": 2}
        theirs = getattr(torch.nn, kind)(4, 6, 3, **options).double()
        ours = getattr(nn, kind)(4, 6, 3, dtype=np.float64, **options)
        ours.load_state_dict(theirs.state_dict())
        compare(kind, ours, theirs, [x])
    theirs = torch.nn.ConvTranspose2d(4, 6, 3, 2).double()
    ours = nn.ConvTranspose2d(4, 6, 3, 2, dtype=np.float64)
    ours.load_state_dict(theirs.state_dict())
    compare("ConvTranspose2d", lambda x: ours(x, output_size=(12, 12)),
            lambda x: theirs(x, output_size=(12, 12)), [(2, 4, 5, 5)])  # fmt: skip


POOLS = [
    ("max_pool1d", (2, 3, 9), (3,), {"stride": 2, "padding": 1}),
    ("max_pool1d", (3, 9), (2,), {"ceil_mode": True}),
    ("max_pool2d", (2, 3, 7, 6), ((3, 2),), {"stride": (2, 1), "dilation": (1, 2)}),
    ("max_pool2d", (2, 3, 7, 7), (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool3d", (1, 2, 5, 4, 6), (2,), {}),
    ("avg_pool1d", (2, 3, 9), (3,), {"stride": 2, "padding": 1}),
    ("avg_pool2d", (1, 1, 7, 7), (2,), {"stride": 3, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 7, 6), (3,), {"padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (2, 3, 6, 6), (2,), {"divisor_override": 3}),
    ("avg_pool3d", (1, 2, 5, 4, 6), (2,), {"padding": 1, "ceil_mode": True}),
    ("adaptive_avg_pool1d", (2, 3, 7), (3,), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 5), ((3, None),), {}),
    ("adaptive_avg_pool3d", (1, 2, 5, 4, 6), (2,), {}),
    ("adaptive_max_pool1d", (2, 3, 7), (3,), {}),
    ("adaptive_max_pool2d", (2, 3, 7, 5), ((3, 2),), {}),
    ("interpolate", (2, 3, 5), (), {"scale_factor": 2.5}),
    ("interpolate", (2, 3, 5), (), {"size": 3, "mode": "linear"}),
    ("interpolate", (2, 3, 4, 5), (), {"size": (7, 3), "mode": "bilinear", "align_corners": True}),
    ("interpolate", (2, 3, 4, 5), (), {"scale_factor": 2, "mode": "bilinear"}),
    ("interpolate", (1, 2, 3, 4, 3), (), {"scale_factor": 2, "mode": "trilinear"}),
]


@pytest.mark.parametrize(("name", "shape", "args", "options"), POOLS)
def test_pools_equal_torch(name, shape, args, options):
    compare(name, lambda x: getattr(F, name)(x, *args, **options),
            lambda x: getattr(TF, name)(x, *args, **options), [shape])  # fmt: skip


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_indices_and_unpooling_equal_torch(axes):
    shape = (2, 3, *(7,) * axes)
    x = np.random.default_rng(0).normal(size=shape)
    pool, unpool = f"max_pool{axes}d", f"max_unpool{axes}d"
    y, i = getattr(F, pool)(x, 2, return_indices=True)
    z, j = getattr(TF, pool)(torch.tensor(x), 2, return_indices=True)
    np.testing.assert_array_equal(i.numpy(), j.numpy())
    compare(unpool, lambda y: getattr(F, unpool)(y, i, 2, output_size=shape),
            lambda z: getattr(TF, unpool)(z, j, 2, output_size=shape),
            [tuple(y.shape)])  # fmt: skip
    ours = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(x)
    back = getattr(nn, f"MaxUnpool{axes}d")(2)(*ours, output_size=shape)
    np.testing.assert_array_equal(back.numpy(), getattr(TF, unpool)(z, j, 2, output_size=shape))
