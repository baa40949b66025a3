"""Inputs on which public libraries gave wrong gradients or crashed, with the right results."""

import copy
import gc
import math
import pickle
import threading
import weakref

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F


def T(a):
    return nn.Tensor(np.asarray(a, dtype=np.float64), requires_grad=True)


def gradient(x, y):
    return nn.grad(y.sum(), x)[0].data


def equal(a, b, digits=1e-4):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=digits, rtol=digits)


# --- corners and ranges ---------------------------------------------------------------------------


def test_norm_of_a_zero_vector_has_gradient_zero():
    x = T([0.0, 0, 0])
    equal(gradient(x, x.norm()), [0, 0, 0], 0)
    x = T([[2.0, 1], [2, 4], [2, 5]])
    equal(gradient(x, x.std(dim=0)), [[0, -0.560], [0, 0.160], [0, 0.400]], 1e-3)
    a = T([1.0, 2.0])
    equal(gradient(a, (a - a.data).norm()), [0, 0], 0)
    equal(gradient(a, F.contrastive_loss(a, a.data, nn.Tensor(1.0))), [0, 0], 0)
    equal(gradient(a, nn.hypot(a * 0.0, 0.0)), [0, 0], 0)


def test_distances_of_equal_points_have_finite_gradients():
    """The same root of a sum of squares, inside other functions; and its second derivative."""
    zero, rows = np.zeros((2, 3)), np.ones((2, 3))
    for function in (
        lambda x: F.normalize(x, dim=1),
        lambda x: F.cosine_similarity(x, rows),
        lambda x: F.cosine_embedding_loss(x, x, [1, -1]),
        lambda x: F.pairwise_distance(x, zero, eps=0.0),
        lambda x: F.pdist(x),
        lambda x: nn.cdist(x, zero),
        lambda x: nn.dist(x, zero),
        lambda x: nn.renorm(x, 2, 0, 1.0),
        lambda x: F.triplet_margin_loss(x, zero, zero, eps=0.0, swap=True),
        lambda x: F.contrastive_loss(x, zero, [1.0, 0.0]),
        lambda x: F.layer_norm(x, 3),
        lambda x: x.std(1),
        lambda x: nn.corrcoef(x + np.array([[1.0, 2, 3], [3.0, 1, 2]])),
    ):  # fmt: skip
        x = T(zero)
        assert np.isfinite(gradient(x, function(x))).all()
    x = T(zero)
    (g,) = nn.grad((x * x).sum(), x, create_graph=True)  # 0 for each row
    penalty = ((g.norm(2, 1) - 1.0) ** 2).mean()
    equal(gradient(x, penalty), zero, 0)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, math.inf])
def test_every_norm_of_a_zero_vector_has_a_finite_gradient(p):
    x = T([0.0, 0, 0])
    assert np.isfinite(gradient(x, x.norm(p))).all()


def test_a_branch_that_was_not_taken_has_no_gradient():
    for slope_is_infinite in (lambda x: x.log2(), lambda x: x.log() / math.log(2)):
        x = T([0.0, 2, 3])
        y = nn.where(x > 2, slope_is_infinite(x), 2 * x)
        equal(gradient(x, y), [2, 2, 1 / (3 * math.log(2))])
    x = T([0.0, 4.0])
    for root in (lambda x: x.sqrt(), lambda x: x**0.5, lambda x: x.rsqrt(), lambda x: 1 / x,
                 lambda x: x**-1.5, lambda x: x.log1p() / x):  # fmt: skip
        y = nn.where(x > 0, root(x), 0.0)
        assert gradient(x, y)[0] == 0
        (g,) = nn.grad(nn.where(x > 0, root(x), 0.0).sum(), x, create_graph=True)
        assert g.data[0] == 0
        with pytest.raises(RuntimeError, match="must not have been freed"):
            nn.grad(y.sum(), x)


def test_the_safe_form_of_a_branch_and_the_name_of_the_unsafe_function():
    x = T([0.0, 2, 3])
    y = nn.where(x > 2, nn.where(x > 2, x, 1.0).log2(), 2 * x)
    equal(gradient(x, y), [2, 2, 1 / (3 * math.log(2))])
    with pytest.raises(RuntimeError, match=r"nn\.log2: .* the first NaN"), nn.detect_anomaly():
        T([-1.0]).log2()


def test_limits_and_windows_select_too():
    x = T([np.inf, -np.inf, 0.5])
    equal(gradient(x, x.clamp(-1, 1)), [0, 0, 1], 0)
    equal(gradient(x, F.hardtanh(x)), [0, 0, 1], 0)
    equal(gradient(x, F.relu6(x)), [0, 0, 1], 0)
    x = T([[[-np.inf, 2.0, np.inf, 1.0]]])
    equal(gradient(x, F.max_pool1d(x, 2)), [[[0, 1, 1, 0]]], 0)
    (g,) = nn.grad(F.max_pool1d(x, 2), x, np.array([[[0.0, 3.0]]]))
    equal(g.data, [[[0, 0, 3, 0]]], 0)


def test_masks_select_instead_of_multiplying():
    x = T([np.inf, 1.0])
    equal(gradient(x, x.masked_fill([True, False], 0.0)), [0, 1], 0)
    nan = nn.Tensor([np.nan, 1.0])
    assert F.relu(nn.Tensor([-np.inf, 1.0])).tolist() == [0, 1]
    dropped = F.dropout(nn.Tensor(np.full(100, np.inf)), 0.5)
    assert set(dropped.tolist()) == {0.0, np.inf}
    assert nn.where([True, False], 0.0, nan).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "product", "running"),
    [([2.0, 0, 3, 4], [0, 24, 0, 0], [1, 32, 0, 0]), ([0.0, 0, 3], [0, 0, 0], [1, 0, 0])],
)
def test_products_with_zeros(values, product, running):
    x = T(values)
    equal(gradient(x, x.prod()), product, 0)
    equal(gradient(x, x.cumprod(0)), running, 0)
    assert nn.gradcheck(lambda x: x.prod(), x)
    assert nn.gradcheck(lambda x: x.cumprod(0), x)
    assert nn.gradgradcheck(lambda x: x.prod(), x)


def test_powers_at_zero():
    a, b = T([0.0, 2.0]), T([2.0, 3.0])
    (da, db) = nn.grad((a**b).sum(), (a, b))
    equal(da.data, [0, 12])
    equal(db.data, [0, 8 * math.log(2)])
    x = T([0.0])
    equal(gradient(x, x ** nn.Tensor(np.array([0.0]))), [0], 0)


def test_determinant_of_a_singular_matrix():
    x = T([[1.0, 2], [2, 4]])
    equal(gradient(x, nn.linalg.det(x)), [[4, -2], [-2, 1]], 1e-9)
    z = T(np.zeros((2, 2)))
    equal(gradient(z, nn.linalg.det(z)), np.zeros((2, 2)), 1e-12)


def test_log_sum_exp_of_minus_infinity():
    x = T([-np.inf, -np.inf])
    y = x.logsumexp(0)
    assert y.item() == -np.inf
    equal(gradient(x, y), [0, 0], 0)
    x = T([[-np.inf, 1.0], [-np.inf, -np.inf]])
    equal(gradient(x, x.logsumexp(1)), [[0, 1], [0, 0]], 0)


def test_shares_of_a_maximum_add_up_to_one():
    x, y = T([1.0, 2]), T([1.0, 3])
    dx, dy = nn.grad(nn.maximum(x, y).sum(), (x, y))
    equal(dx.data, [0.5, 0], 0)
    equal(dy.data, [0.5, 1], 0)
    x = T([1.0, 3, 3])
    equal(gradient(x, x.amax(0)), [0, 0.5, 0.5], 0)
    equal(gradient(x, x.max(dim=0).values), [0, 1, 0], 0)
    assert x.max(dim=0).indices.item() == 1


def test_tiny_arguments_of_an_angle():
    x = nn.Tensor(np.float32([1e-25]), requires_grad=True)
    y = nn.Tensor(np.float32([1e-25]), requires_grad=True)
    dy, dx = nn.grad(nn.atan2(y, x).sum(), (y, x))
    equal([dy.item(), dx.item()], [5e24, -5e24], 1e-5)
    assert nn.hypot(nn.Tensor(np.float32([3e30])), np.float32([4e30])).item() == pytest.approx(5e30)
    for size in (1e-25, 1e25):
        x = nn.Tensor(np.float32([3 * size]), requires_grad=True)
        y = nn.Tensor(np.float32([4 * size]), requires_grad=True)
        found = nn.grad(nn.hypot(x, y).sum(), (x, y))
        equal([d.item() for d in found], [0.6, 0.8], 1e-6)


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", 0.5), ("none", 1)])
def test_second_derivatives_know_the_reduction(reduction, scale):
    x = T([0.3, 0.8])
    y = F.binary_cross_entropy(x, nn.Tensor(np.array([0.0, 1.0])), reduction=reduction)
    (g,) = nn.grad(y.sum(), x, create_graph=True)
    equal(nn.grad(g.sum(), x)[0].data, np.array([2.0408, 1.5625]) * scale)
    rng = np.random.default_rng(0)
    target = nn.Tensor(rng.uniform(size=4))
    signs = nn.Tensor(np.array([1.0, -1, 1, 1]))
    for loss in (F.mse_loss, F.huber_loss, F.smooth_l1_loss, F.log_cosh_loss,
                 F.binary_cross_entropy_with_logits, F.kl_div, F.poisson_nll_loss):  # fmt: skip
        x = T(rng.normal(size=4))
        assert nn.gradgradcheck(lambda x, loss=loss: loss(x, target, reduction=reduction), x)
    x = T(rng.normal(size=4))
    assert nn.gradgradcheck(lambda x: F.soft_margin_loss(x, signs, reduction=reduction), x)
    pairs = [T(rng.normal(size=(2, 3))) for _ in range(3)]
    options, share = {"reduction": reduction}, rng.uniform(size=(2, 3))
    for loss in (
        lambda a, b, c: F.triplet_margin_loss(a, b, c, **options),
        lambda a, b, c: F.cosine_embedding_loss(a, b, [1, -1], **options),
        lambda a, b, c: F.contrastive_loss(a, b, [1.0, 0.0], 3.0, **options),
        lambda a, b, c: F.info_nce(a, b, c, **options),
        lambda a, b, c: F.nll_loss(F.log_softmax(a, 1), [0, 2], **options),
        lambda a, b, c: F.gaussian_nll_loss(a, b, c * c + 0.1, **options),
        lambda a, b, c: F.quantile_loss(a, b, 0.3, **options),
        lambda a, b, c: F.multilabel_soft_margin_loss(a, share, **options),
        lambda a, b, c: F.binary_cross_entropy_with_logits(
            a, share, pos_weight=[2.0, 1.0, 0.5], **options),
        lambda a, b, c: F.squared_hinge_loss(a, np.sign(b.data), **options),
    ):  # fmt: skip
        assert nn.gradgradcheck(loss, tuple(pairs))
    z = T(rng.normal(size=(3, 4)))
    assert nn.gradgradcheck(
        lambda z: F.cross_entropy(z, [0, 3, -100], reduction=reduction, label_smoothing=0.1), z
    )


# --- shapes ---------------------------------------------------------------------------------------


def test_gradients_of_broadcast_operands_have_their_shapes():
    a = T(np.ones((3, 3)))
    equal(gradient(a, (a + np.ones((3, 3, 3))) ** 2), np.full((3, 3), 12), 0)
    for shape in [(), (1,), (3, 1), (1, 3), (2, 1, 3), (1, 1, 1)]:
        x = T(np.ones(shape))
        got = gradient(x, (x * np.ones((2, 3, 3))) ** 2)
        assert got.shape == shape
        assert got.sum() == 2 * 18


def test_slices_that_pick_one_element():
    z = T(np.zeros((2, 3)))
    y = (z[0::2] * [[1, 2, 3]]).sum() + (z[1::2] * [[100, 101, 102]]).sum()
    equal(gradient(z, y), [[1, 2, 3], [100, 101, 102]], 0)
    for index in (slice(None, None, -1), slice(4, None, -2), slice(0, 5, 7), slice(3, 1)):
        x = T(np.arange(5.0))
        want = np.zeros(5)
        want[index] = 1
        equal(gradient(x, x[index]), want, 0)
    x = T([1.0, 2, 3])
    equal(gradient(x, x[[0, 0, 2]]), [2, 0, 1], 0)


LAYOUTS = {
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "stepped": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_give_the_same_loss_and_gradient(layout):
    z = np.sin(np.arange(24.0)).reshape(8, 3)
    index = np.arange(8) % 3
    for function in (
        lambda x: F.cross_entropy(x, index), lambda x: F.layer_norm(x, (3,)),
        lambda x: F.softmax(x, 1), lambda x: F.linear(x, np.ones((2, 3))), lambda x: x.std(0),
        lambda x: F.batch_norm(x, None, None, training=True), lambda x: F.gelu(x),
        lambda x: x.logsumexp(0), lambda x: x @ x.T,
    ):  # fmt: skip
        plain = nn.Tensor(z, True)
        other = nn.Tensor(LAYOUTS[layout](z), True)
        want, got = function(plain), function(other)
        equal(got.data, want.data, 1e-12)
        equal(gradient(other, got**2), gradient(plain, want**2), 1e-12)


def test_loss_of_a_transposed_batch():
    z = np.sin(np.arange(24.0)).reshape(4, 2, 3)
    index = np.arange(8) % 3
    x = T(z)
    view = x.transpose(0, 1).reshape(8, 3)
    copied = T(z.transpose(1, 0, 2).reshape(8, 3).copy())
    a, b = F.cross_entropy(view, index), F.cross_entropy(copied, index)
    assert a.item() == b.item()
    equal(gradient(x, a).transpose(1, 0, 2).reshape(8, 3), gradient(copied, b), 1e-15)
    broadcast = T(np.ones((1, 3))).expand(8, 3)
    assert F.cross_entropy(broadcast, index).item() == pytest.approx(math.log(3))


def test_values_changed_after_they_were_saved_are_an_error():
    x = T([0.5, 1.0])
    y = x.sigmoid()
    with pytest.raises(RuntimeError, match="on the tape must not be changed in place"):
        y.mul_(2)
    v = y[0:1]
    with pytest.raises(RuntimeError, match="view of a tensor on the tape"):
        v += 1
    with pytest.raises(RuntimeError, match="on the tape must not be changed in place"):
        y[0] = 3.0
    c = nn.Tensor(np.array([2.0, 3.0]))
    z = x * c
    c.mul_(2)
    with pytest.raises(RuntimeError, match="multiply saved must keep its values"):
        z.sum().backward()
    w = T([1.0, 2.0])
    z = (x * w).sum()
    with nn.no_grad():
        w += 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()
    base = nn.Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]))
    z = (x * base[0]).sum()
    base.zero_()  # through the array that the view shares
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()
    with pytest.raises(RuntimeError, match="leaf that needs a gradient"):
        w *= 2


# --- normalisation --------------------------------------------------------------------------------


def test_variance_kept_by_batch_norm():
    m = nn.BatchNorm1d(4, momentum=1.0)
    m(nn.Tensor([[2.0, 15, 2, 1], [2, 17, 2, 1], [-4, -2, -2, -1]]))
    equal(m.running_mean.data, [0, 10, 2 / 3, 1 / 3], 1e-5)
    equal(m.running_var.data, [12, 109, 16 / 3, 4 / 3], 1e-5)
    assert m.state_dict()["num_batches_tracked"].item() == 1
    for shape in [(1, 4), (1, 4, 1)]:
        with pytest.raises(ValueError, match="more than one value per channel"):
            m(nn.ones(*shape))


@pytest.mark.parametrize("layer", ["layer", "batch", "group", "instance", "var"])
def test_normalisation_far_from_zero(layer):
    def run(row):
        x = nn.Tensor(np.float32(row).reshape(1, 1, -1))
        if layer == "layer":
            return F.layer_norm(x, (4,)).data.ravel()
        if layer == "batch":
            return F.batch_norm(x, None, None, training=True).data.ravel()
        if layer == "group":
            return F.group_norm(x, 1).data.ravel()
        if layer == "instance":
            return F.instance_norm(x).data.ravel()
        return ((x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()).data.ravel()

    equal(
        run(np.float32(2000) + np.float32([0.5, -1, 0.25, 0.25])), [0.8528, -1.7056, 0.4264, 0.4264]
    )
    if layer != "var":  # the variance itself is beyond float32
        equal(run([1e30, -1e30, 1e30, -1e30]), [1, -1, 1, -1], 1e-6)


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_every_target_ignored(reduction):
    z = T(np.ones((3, 2)))
    y = F.cross_entropy(z, [-100, -100, -100], reduction=reduction)
    assert math.isnan(y.item()) if reduction == "mean" else not y.data.any()
    equal(gradient(z, y), np.zeros((3, 2)), 0)


def test_smoothing_with_an_ignored_row_and_with_weights():
    z = T([[1.0, 2], [3, 0.4]])
    assert F.cross_entropy(z, [-100, 1], label_smoothing=0.1).item() == pytest.approx(
        2.54164, abs=1e-5
    )
    weighted = F.cross_entropy(z, [-100, 1], weight=[0.2, 0.3], label_smoothing=0.1)
    assert weighted.item() == pytest.approx(2.54045, abs=1e-5)


def test_clipping_enormous_gradients():
    p = nn.Tensor(np.ones(100, np.float32), True)
    (p * 1e20).sum().backward()
    norm = nn.utils.clip_grad_norm_([p], 1.0)
    assert norm.item() == pytest.approx(1e21, rel=1e-6)
    equal(p.grad.data, np.full(100, 0.1), 1e-6)
    for bad in (np.inf, np.nan):
        p.grad.data[0] = bad
        before = p.grad.data.copy()
        with pytest.raises(RuntimeError, match="must be finite"):
            nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
        np.testing.assert_array_equal(p.grad.data, before)


# --- state and memory -----------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.emb.weight

    def forward(self, x):
        return self.out(self.emb(x))


def test_ties_survive_loading_copying_pickling_and_files(tmp_path):
    model = Tied()
    nn.save_file(model.state_dict(), tmp_path / "m.safetensors")
    loaded = Tied()
    loaded.load_state_dict(nn.load_file(tmp_path / "m.safetensors"))
    one_name = Tied()
    one_name.load_state_dict({"emb.weight": model.emb.weight})
    saved = model.emb.weight.data.copy()
    for m in (loaded, one_name, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model):
        assert m.out.weight is m.emb.weight
        assert len(list(m.parameters())) == 1
        assert list(m.state_dict()) == ["emb.weight", "out.weight"]
        assert m.summary().parameters == 15
        np.testing.assert_array_equal(m.out.weight.data, saved)
        m(nn.Tensor([1])).sum().backward()
        assert m.emb.weight.grad is not None
        before, g = m.emb.weight.data.copy(), m.emb.weight.grad.data.copy()
        nn.optim.SGD(m.parameters(), lr=0.5).step()  # one step, not one for each name
        np.testing.assert_allclose(m.out.weight.data, before - 0.5 * g, rtol=1e-6)


def test_recomputation_draws_the_same_dropout():
    x = T(np.ones(1000))
    y = nn.checkpoint(lambda x: F.dropout(x, 0.5), x)
    nn.rand(5)
    equal(gradient(x, y), y.data, 0)
    inner = lambda x: F.dropout(nn.checkpoint(lambda x: F.dropout(x, 0.3), x), 0.3)  # noqa: E731
    y = nn.checkpoint(inner, x)
    nn.rand(5)
    equal(gradient(x, y), y.data, 0)
    results = []

    def work():
        for _ in range(20):
            x = T(np.ones(500))
            y = nn.checkpoint(inner, x)
            results.append(np.array_equal(gradient(x, y), y.data))

    threads = [threading.Thread(target=work) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 40
    assert all(results)


def test_graphs_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        count = len(gc.get_objects())
        for _ in range(50):
            x = T(np.ones(10))
            y = x.tanh()
            y.sum().backward(create_graph=True)
            del x, y
        total = 0.0
        w = T(np.ones(10))
        for _ in range(50):
            loss = (w * 2).sum()
            total += loss.item()
            loss.backward()
        for _ in range(50):  # a hook that holds its module
            layer = nn.Linear(10, 10)
            layer.register_forward_hook(lambda m, args, y, layer=layer: None)
            y = layer(nn.ones(2, 10))
            held = y.detach()
            y.register_hook(lambda g, held=held: None)
            y.sum().backward()
            layer._forward_hooks.clear()
            del layer, y, held
        assert len(gc.get_objects()) - count < 60
        total = nn.zeros(1)
        alive = []
        for _ in range(20):  # a total of losses on the tape keeps nothing that was saved
            x = T(np.ones(1000))
            y = x.tanh()
            alive.append(weakref.ref(y.data))
            loss = (y * y).sum()
            loss.backward()
            total = total + loss
            del x, y, loss
        assert sum(ref() is not None for ref in alive) == 0
    finally:
        gc.enable()


# --- optimisation by hand -------------------------------------------------------------------------


def test_accumulation_over_unequal_batches():
    w = T([4.0])
    target = nn.Tensor(np.array([0, 0, -100, 0, 0]))
    z = nn.Tensor(np.array([[0.0, 1.0]] * 5)) * w
    parts = [z[:1], z[1:]]
    whole = F.cross_entropy(z, target).item()
    sums = [F.cross_entropy(p, t, reduction="sum") for p, t in
            zip(parts, (target[:1], target[1:]), strict=True)]  # fmt: skip
    assert sum(s.item() for s in sums) / 4 == pytest.approx(whole)


# --- convolution and pooling ----------------------------------------------------------------------


def test_strided_dilated_padded_convolution_by_hand():
    x, w = T([[[7.0, 3]], [[3, 2]]]), T([[[3.0, 6]], [[4, 2]]])
    y = F.conv1d(x, w, padding=1, stride=2, dilation=2)
    assert y.tolist() == [[[18], [6]], [[12], [4]]]
    dx, dw = nn.grad(y.sum(), (x, w))
    assert dw.tolist() == [[[0, 5]], [[0, 5]]]
    assert dx.tolist() == [[[0, 8]], [[0, 8]]]


def test_transposed_convolution_with_kernel_1_and_stride_2():
    x = T([[[[-2.0, -0.5]]]])
    y = F.conv_transpose2d(x, [[[[2.0]]]], stride=2)
    assert y.tolist() == [[[[-4, 0, -1]]]]
    (dx,) = nn.grad(y, x, np.array([[[[1.5, 0, 0.7]]]]))
    equal(dx.data, [[[[3, 1.4]]]], 1e-12)
    with pytest.raises(RuntimeError, match="output_padding must be smaller"):
        F.conv_transpose2d(x, [[[[2.0]]]], stride=2, output_padding=2)


def test_windows_over_the_edge():
    y = F.max_pool1d([[1.0, 2, 3, 4, 5]], 2, stride=2, padding=1, ceil_mode=True)
    assert y.tolist() == [[1, 3, 5]]
    x = np.arange(49.0).reshape(1, 1, 7, 7)
    y = F.avg_pool2d(x, 2, stride=3, ceil_mode=True)
    assert y.tolist() == [[[[4, 7, 9.5], [25, 28, 30.5], [42.5, 45.5, 48]]]]
    assert F.max_pool1d([[-1.0, -2.0]], 2, padding=1, stride=2).tolist() == [[-1, -2]]
    with pytest.raises(ValueError, match="at most half a window"):
        F.max_pool1d([[1.0, 2]], 2, padding=2)


def test_ctc_without_a_path_and_with_an_empty_target():
    def run(steps, target, zero=False):
        z = T(np.zeros((steps, 1, 6)))
        loss = F.ctc_loss(F.log_softmax(z, 2), [target], [steps], [len(target)], 5, "sum", zero)
        return loss.item(), gradient(z, loss)

    for zero in (False, True):
        value, g = run(2, [1, 1], zero)
        assert value == (0.0 if zero else math.inf)
        equal(g, np.zeros((2, 1, 6)), 0)
    for target in ([], [1, 1]):  # all blanks; the one path 1, blank, 1
        value, g = run(3, target)
        assert value == pytest.approx(3 * math.log(6), rel=1e-14)
        equal(g.sum(2), np.zeros((3, 1)), 1e-15)
        path = [5, 5, 5] if not target else [1, 5, 1]
        equal(g[:, 0], np.full((3, 6), 1 / 6) - np.eye(6)[path], 1e-14)
