"""Every function twice against differences, and hand-made values; torch is asked in tests/peers."""

import math

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F
from kernelmill.nn.functional import _norm

RNG = np.random.default_rng(0)


def T(*shape, low=None):
    x = RNG.normal(size=shape)
    return nn.Tensor(x if low is None else np.abs(x) + low, requires_grad=True)


SIMPLE = """
    celu elu gelu hardsigmoid hardswish leaky_relu log_softmax logsigmoid mish normalize relu relu6
    selu sigmoid silu softmax softmin softplus softsign tanh tanhshrink glu hardtanh hardshrink
    softshrink
""".split()  # noqa: SIM905
SIGNS = [1.0, -1.0, 1.0]
FUNCTIONS = {
    **{name: (lambda x, name=name: getattr(F, name)(x), [(3, 4)]) for name in SIMPLE},
    "gelu_tanh": (lambda x: F.gelu(x, "tanh"), [(3, 4)]),
    "prelu": (F.prelu, [(2, 3, 2), (3,)]),
    "threshold": (lambda x: F.threshold(x, 0.1, 2.0), [(3, 4)]),
    "linear": (F.linear, [(2, 3), (4, 3), (4,)]),
    "linear of a stack": (F.linear, [(2, 2, 3), (4, 3), (4,)]),
    "linear of a vector": (F.linear, [(3,), (4, 3), (4,)]),
    "linear to one": (F.linear, [(2, 3), (3,)]),
    "bilinear": (F.bilinear, [(2, 3), (2, 4), (2, 3, 4), (2,)]),
    "embedding": (lambda w: F.embedding([0, 2, 2], w), [(3, 2)]),
    "embedding_bag": (lambda w: F.embedding_bag([[0, 1], [1, 1]], w), [(3, 2)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(5, 3), (3,), (3,)]),
    "batch_norm in evaluation": (
        lambda x, w, b: F.batch_norm(x, nn.ones(3), nn.ones(3), w, b), [(5, 3), (3,), (3,)]
    ),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, 3, w, b), [(2, 3), (3,), (3,)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, 3, w), [(2, 3), (3,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "instance_norm": (lambda x: F.instance_norm(x), [(2, 2, 5)]),
    "pad": (lambda x: F.pad(x, (1, 2), "reflect"), [(2, 4)]),
    "hinge_loss": (lambda x: F.hinge_loss(x, SIGNS), [(3,)]),
    "squared_hinge_loss": (lambda x: F.squared_hinge_loss(x, SIGNS), [(3,)]),
    "log_cosh_loss": (F.log_cosh_loss, [(3,), (3,)]),
    "quantile_loss": (lambda x, y: F.quantile_loss(x, y, 0.2), [(3,), (3,)]),
    "contrastive_loss": (lambda a, b: F.contrastive_loss(a, b, [1.0, 0, 1], 3.0), [(3, 2), (3, 2)]),
    "info_nce": (F.info_nce, [(3, 4), (3, 4), (2, 4)]),
    "info_nce among the others": (F.info_nce, [(3, 4), (3, 4)]),
    "mse_loss weighted": (lambda x, y: F.mse_loss(x, y, weight=[1.0, 2, 3]), [(3,), (3,)]),
    "triplet_margin_loss": (F.triplet_margin_loss, [(3, 4), (3, 4), (3, 4)]),
    "cosine_similarity": (F.cosine_similarity, [(3, 4), (3, 4)]),
    "cross_entropy of probabilities": (
        lambda x, y: F.cross_entropy(x, F.softmax(y, 1)), [(3, 4), (3, 4)]
    ),
    "binary_cross_entropy": (
        lambda x, y: F.binary_cross_entropy(x.sigmoid(), y.sigmoid()), [(3,), (3,)]
    ),
    "with_logits": (
        lambda x: F.binary_cross_entropy_with_logits(x, [1.0, 0, 0.3], pos_weight=[2.0]), [(3,)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_equal_differences_twice(name):
    function, shapes = FUNCTIONS[name]
    inputs = tuple(T(*shape) for shape in shapes)
    assert nn.gradcheck(function, inputs)
    assert nn.gradgradcheck(function, inputs, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_keep_the_dtype(name, dtype):
    function, shapes = FUNCTIONS[name]
    inputs = [nn.Tensor(RNG.normal(size=s).astype(dtype), True) for s in shapes]
    result = function(*inputs)
    # Lists of floats are float32, the wider of the two.
    lists = "hinge" in name or name in ("mse_loss weighted", "with_logits")
    assert result.dtype == (np.float32 if lists and dtype == np.float16 else dtype)
    for g in nn.grad(result.sum(), inputs, allow_unused=True):
        assert g is None or g.dtype == dtype


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 3)])
@pytest.mark.parametrize(
    "name", ["relu", "softmax", "log_softmax", "gelu", "normalize", "softplus"]
)
def test_empty_and_single(name, shape):
    x = T(*shape)
    y = getattr(F, name)(x)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape


def test_far_values():
    x = nn.Tensor([-1000.0, 0.0, 1000.0])
    assert F.softmax(x, 0).tolist() == [0, 0, 1]
    assert F.log_softmax(x, 0).tolist() == [-2000, -1000, 0]
    assert F.softplus(x).tolist() == pytest.approx([0, math.log(2), 1000])
    assert F.sigmoid(x).tolist() == [0, 0.5, 1]
    assert F.log_cosh_loss(x, x * 0, "none").tolist() == pytest.approx(
        [1000 - math.log(2), 0, 1000 - math.log(2)]
    )
    y = nn.Tensor([0.0, 1.0, 1.0])
    assert F.binary_cross_entropy_with_logits(x, y, reduction="none").tolist() == pytest.approx(
        [0, math.log(2), 0]
    )
    assert F.binary_cross_entropy(nn.Tensor([0.0, 1.0]), [1.0, 1.0], reduction="none").tolist() == [
        100,
        0,
    ]
    step = F.heaviside(x, 0.5)
    assert step.tolist() == [0, 0.5, 1]
    assert not np.signbit(step.data).any()


def test_dropout():
    nn.manual_seed(0)
    x = nn.ones(20000, requires_grad=True)
    y = F.dropout(x, 0.25)
    assert abs(y.mean().item() - 1) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, y.data)
    assert F.dropout(x, 0.5, training=False) is x
    assert not F.dropout(x, 1.0).data.any()
    z = F.dropout2d(nn.ones(10, 8, 3, 3), 0.5)
    assert np.unique(z.data.reshape(80, 9).sum(1)).tolist() == [0, 18]
    a = F.alpha_dropout(nn.randn(50000), 0.2, training=True)
    assert abs(a.mean().item()) < 0.03
    assert abs(a.std().item() - 1) < 0.03
    assert F.feature_alpha_dropout(nn.ones(2, 3, 4), 0.5, training=True).shape == (2, 3, 4)
    assert nn.gradgradcheck(lambda x: F.dropout(x, 0.5, generator=nn.Generator(1)) ** 2, T(6))


def test_gumbel_softmax():
    nn.manual_seed(0)
    logits = nn.Tensor(np.log([[0.2, 0.8]] * 4000), True)
    y = F.gumbel_softmax(logits, hard=True)
    assert np.unique(y.data.round(6)).tolist() == [0.0, 1.0]
    assert abs(y.data[:, 1].mean() - 0.8) < 0.03
    (y * [1.0, 2.0]).sum().backward()
    assert np.isfinite(logits.grad.data).all()
    assert logits.grad.data.any()


def test_bad_input_is_named():
    x = nn.ones(2, 3)
    for bad, kind, message in [
        (lambda: F.linear(x, nn.ones(2, 4)), RuntimeError, "number of features"),
        (lambda: F.linear(x, nn.ones(2, 3), nn.ones(3)), RuntimeError, r"bias must have shape"),
        (lambda: F.cross_entropy(x, [0, 3]), ValueError, r"in \[0, 3\) or -100"),
        (lambda: F.nll_loss(x, [0, 3]), ValueError, r"in \[0, 3\) or -100"),
        (lambda: F.cross_entropy(x, [0]), ValueError, r"shape \(2,\)"),
        (lambda: F.cross_entropy(x, [0, 1], [1.0]), ValueError, r"weight must have shape \(3,\)"),
        (lambda: F.cross_entropy(x, [0, 1], label_smoothing=2), RuntimeError, "label_smoothing"),
        (lambda: F.cross_entropy(x, [0, 1], reduction="x"), ValueError, "mean, sum or none"),
        (lambda: F.nll_loss(x, [0.5, 1]), RuntimeError, "integers"),
        (lambda: F.mse_loss(x, nn.ones(2, 1)), ValueError, "one shape"),
        (lambda: F.binary_cross_entropy(x * 2, x), RuntimeError, "probabilities"),
        (lambda: F.huber_loss(x, x, delta=0), ValueError, "delta"),
        (lambda: F.smooth_l1_loss(x, x, beta=-1), ValueError, "beta"),
        (lambda: F.quantile_loss(x, x, 1.0), ValueError, "between 0 and 1"),
        (lambda: F.gaussian_nll_loss(x, x, -x), ValueError, "var must not be negative"),
        (lambda: F.info_nce(x, x, temperature=0), ValueError, "temperature"),
        (lambda: F.multi_margin_loss(x, [0, 1], p=3), ValueError, "p must be 1 or 2"),
        (lambda: F.dropout(x, 1.5), ValueError, "probability"),
        (lambda: F.dropout2d(x), RuntimeError, "3 or 4 axes"),
        (lambda: F.embedding([5], x), IndexError, "from 0 to 1"),
        (lambda: F.embedding([0.5], x), RuntimeError, "integers"),
        (lambda: F.embedding_bag([0], x), ValueError, "offsets must be given"),
        (lambda: F.embedding_bag([[0]], x, [0]), ValueError, "offsets must be None"),
        (lambda: F.embedding_bag([[0]], x, mode="x"), ValueError, "mode"),
        (lambda: F.embedding_bag([[0]], x, per_sample_weights=x), ValueError, "sum"),
        (lambda: F.layer_norm(x, 2), RuntimeError, "end with the shape"),
        (lambda: F.group_norm(x, 2), RuntimeError, "equal groups"),
        (lambda: F.batch_norm(x[:1], None, None, None, None, True), ValueError, "more than"),
        (lambda: F.batch_norm(x, None, None), ValueError, "running statistics"),
        (lambda: F.instance_norm(nn.ones(2, 3, 1)), ValueError, "more than one"),
        (lambda: F.pad(x, (1,)), RuntimeError, "two numbers"),
        (lambda: F.pad(x, (3, 0), "reflect"), RuntimeError, "at most 2"),
        (lambda: F.pad(x, (1, 0), "x"), ValueError, "mode"),
        (lambda: F.glu(x), RuntimeError, "even size"),
        (lambda: F.gelu(x, "x"), RuntimeError, "approximate"),
        (lambda: F.softshrink(x, -1), RuntimeError, "lambd"),
        (lambda: F.softmax(x, 2), IndexError, "one of 2 axes"),
        (lambda: F.normalize(x, eps=-1), RuntimeError, "eps"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=message):
            bad()


def test_compositions_of_norms_equal_their_ops():
    """They stand in for the ops on a GPU, and make second derivatives."""
    x, w, b = T(5, 4, 3), T(4), T(4)
    seen = []
    for op, composed, options in (
        (_norm._group, _norm._group_composed, {"groups": 2, "eps": 1e-5, "centered": True}),
        (_norm._group, _norm._group_composed, {"groups": 1, "eps": 1e-5, "centered": False}),
        (_norm._batch, _norm._batch_composed,
         {"eps": 1e-5, "running": lambda *moments: seen.append(moments)}),
    ):  # fmt: skip
        one, other = (f(x, w, b, **options) for f in (op, composed))
        np.testing.assert_allclose(one.data, other.data, atol=1e-12)
        for g, h in zip(*(nn.grad((y**2).sum(), (x, w, b)) for y in (one, other)), strict=True):
            np.testing.assert_allclose(g.data, h.data, atol=1e-11)
    data, axes = np.asarray(x.data), (0, *range(2, x.ndim))
    for got, want in zip(seen[0], (data.mean(axes), data.var(axes)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-14)


def test_embeddings_with_limits():
    w = nn.Tensor([[3.0, 4.0], [0.3, 0.4]], True)
    y = F.embedding([0], w, max_norm=1.0)
    np.testing.assert_allclose(y.data, [[0.6, 0.8]], rtol=1e-5)
    np.testing.assert_allclose(w.data[1], [0.3, 0.4], rtol=1e-6)
    assert F.embedding_bag(np.array([], int), w, [0, 0]).tolist() == [[0, 0], [0, 0]]
    assert F.embedding_bag(np.array([], int), w, [0], mode="max").tolist() == [[0, 0]]
    assert F.embedding_bag([0, 1], w, [0, 1, 2], mode="sum", include_last_offset=True).shape == (
        2,
        2,
    )
    x = T(3, 2)
    F.embedding([0, 2, 2], x, padding_idx=0).sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 0], [2, 2]]
    assert F.one_hot([[1]], 3).tolist() == [[[0, 1, 0]]]
