"""Tensors: what they hold, dtypes, forms, changes in place, errors."""

import copy
import pickle

import numpy as np
import pytest

from kernelmill import nn


def test_arrays_are_used_as_they_are():
    a = np.arange(3.0)
    x = nn.Tensor(a)
    assert x.data is a
    assert nn.tensor(a).data is not a
    assert nn.from_numpy(a).data is a
    assert x.numpy() is a
    assert np.shares_memory(np.asarray(x), a)
    assert np.shares_memory(np.from_dlpack(x), a)
    assert x.detach().data is a


def test_dtypes_follow_torch():
    assert nn.Tensor([1.0]).dtype == np.float32
    assert nn.Tensor([1]).dtype == np.int64
    assert nn.Tensor([True]).dtype == bool
    assert nn.Tensor(np.float64([1])).dtype == np.float64
    f, d, i = nn.Tensor([1.0]), nn.Tensor(np.array([1.0])), nn.Tensor([2])
    assert (f * 2).dtype == (f * 2.5).dtype == (f + i).dtype == np.float32
    assert (f + d).dtype == np.float64
    assert (i + 1).dtype == np.int64
    assert (i + 1.5).dtype == np.float32
    assert (i / 2).dtype == np.float32
    assert (f + nn.Tensor(np.array(1.0))).dtype == np.float32  # no axes: no say among floats
    assert (f + np.float64(2)).dtype == np.float32
    assert i.sum().dtype == np.int64
    assert (f * [0.1]).dtype == nn.matmul([[1.0, 2.0]], [[3.0], [4.0]]).dtype == np.float32
    assert (d * [0.1]).item() == 0.1  # no digits are lost on the way
    assert (i * [1]).dtype == np.int64
    assert i.to(f).dtype == np.float32
    assert f.double().dtype == np.float64
    assert f.long().dtype == np.int64
    x = nn.Tensor([1.0], True)
    (x + d).sum().backward()
    assert x.grad.dtype == np.float32
    nn.set_default_dtype(np.float64)
    try:
        assert nn.Tensor([1.0]).dtype == nn.zeros(1).dtype == np.float64
    finally:
        nn.set_default_dtype(np.float32)
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.set_default_dtype(int)
    with pytest.raises(TypeError, match="numbers or booleans"):
        nn.Tensor(["a"])
    with pytest.raises(RuntimeError, match="only float tensors"):
        nn.Tensor([1], requires_grad=True)


def test_numpy_on_either_side():
    a, x = np.ones(3, np.float32), nn.Tensor([1.0, 2.0, 3.0])
    for value in (a + x, x + a, a * x, a - x, a / x, 2 - x, a @ x, x @ a):
        assert isinstance(value, nn.Tensor)
    assert (a - x).tolist() == [0, -1, -2]
    assert (x > a).tolist() == [False, True, True]
    assert (2**x).tolist() == [2, 4, 8]
    assert (x // 2).tolist() == [0, 1, 1]
    assert (x % 2).tolist() == [1, 0, 1]
    with pytest.raises(TypeError):
        x + "a"


def test_forms():
    x = nn.Tensor([[1.0, 2.0]])
    assert repr(x) == "tensor([[1., 2.]])"
    assert repr(nn.Tensor([1.0], True)) == "tensor([1.], requires_grad=True)"
    assert "grad_fn=<multiply>" in repr(nn.Tensor([1.0], True) * 2)
    assert x.shape == x.size() == (1, 2)
    assert x.size(1) == len(x[0]) == x.numel() == 2
    assert x.dim() == x.ndim == 2
    assert [row.tolist() for row in x] == [[1.0, 2.0]]
    assert float(x[0, 1]) == x[0, 1].item() == 2.0
    assert f"{x[0, 1]:.1f}" == "2.0"
    assert list(range(5))[nn.Tensor(2)] == 2
    assert x.device == "cpu"
    assert bool(nn.Tensor(1.0))
    for bad, message in [
        (lambda: bool(x), "truth of a tensor"), (lambda: x.item(), "one element"),
        (lambda: len(nn.Tensor(1.0)), "without axes"),
        (lambda: iter(nn.Tensor(1.0)), "without axes"),
        (lambda: nn.Tensor([1.0], True).numpy(), "detach"),
        (lambda: range(nn.Tensor(1.0)), "integer"),
    ]:  # fmt: skip
        with pytest.raises((RuntimeError, TypeError), match=message):
            bad()


def test_changes_in_place():
    x = nn.Tensor([1.0, 2.0])
    before = x.data
    x += 1
    x.mul_(2).add_(1.0)
    x[0] = 9.0
    assert x.data is before
    assert x.tolist() == [9.0, 7.0]
    x.zero_()
    x.fill_(3)
    x.copy_(nn.Tensor([1.0, 2.0]))
    x.clamp_(0, 1.5)
    assert x.tolist() == [1.0, 1.5]
    w = nn.Tensor([1.0, 2.0], True)
    with nn.no_grad():
        w -= 0.5
        w[0] = 4.0
    assert w.tolist() == [4.0, 1.5]
    h = w * 2
    h += 1  # a new tensor under the old name: nothing that was saved changes
    h.sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="lose its gradient"):
        x[0] = w[0]


def test_copies():
    x = nn.Tensor([1.0], True)
    x.grad = nn.Tensor([5.0])
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.grad.tolist() == [5.0]
    assert not np.shares_memory(x.data, y.data)
    z = pickle.loads(pickle.dumps(nn.Parameter([1.0])))
    assert isinstance(z, nn.Parameter)
    assert z.requires_grad
    for f in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="only leaves"):
            f(x * 2)


def test_shapes_that_do_not_fit_are_refused():
    x = nn.ones(2, 3)
    for bad, message in [
        (lambda: x.permute(0, 0), "each of 2 axes once"), (lambda: x.sum(2), "one of 2 axes"),
        (lambda: x.split(0), "at least 1"), (lambda: x.split([1, 2]), "add up to 2"),
        (lambda: x.topk(4), "at most 3"), (lambda: nn.stack([x, nn.ones(2)]), "one shape"),
        (lambda: nn.cat([]), "at least one"), (lambda: x @ nn.ones(2), "as long as"),
        (lambda: x @ 2.0, "axes"), (lambda: x.sum((0, 0)), "different axes"),
        (lambda: nn.einsum("ij,jk", x), "a term for each"), (lambda: nn.einsum("i", x), "letter"),
        (lambda: x.flatten(1, 0), "start_dim"), (lambda: x.repeat(2), "at least 2 counts"),
        (lambda: nn.randint(3, 3), "above low"),
        (lambda: x.requires_grad_().sum().requires_grad_(False), "keep its gradient"),
    ]:  # fmt: skip
        with pytest.raises((RuntimeError, IndexError, ValueError), match=message):
            bad()


def test_every_public_name_and_method_stands():
    assert nn.concat([nn.ones(1), nn.zeros(1)]).tolist() == [1, 0]
    x = nn.Tensor([[4.0, 1.0], [2.0, 3.0]])
    assert nn.sum(x).item() == 10
    assert nn.sort(x, 1).values.tolist() == [[1, 4], [2, 3]]
    assert x.argsort(1, descending=True).tolist() == [[0, 1], [1, 0]]
    assert nn.clamp(x, max=2).tolist() == [[2, 1], [2, 2]]
    assert x.gather(1, [[1], [0]]).tolist() == [[1], [2]]
    assert x.scatter_add(1, [[1], [0]], nn.ones(2, 1)).tolist() == [[4, 2], [3, 3]]
    assert x.index_add(0, [1, 1], nn.ones(2, 2)).tolist() == [[4, 1], [4, 5]]
    assert x.masked_select(x > 2).tolist() == [4, 3]
    assert x.unflatten(1, (2, 1)).shape == (2, 2, 1)
    assert x.movedim(0, 1).tolist() == x.T.tolist() == x.mT.tolist()
    assert x.all().item() is True
    assert (x > 3).any(1).tolist() == [True, False]
    assert x.norm(0).item() == 4
    assert nn.full((2,), 3).dtype == np.int64
    assert nn.zeros_like(x).tolist() == [[0, 0], [0, 0]]
    assert nn.eye(2, 3).shape == (2, 3)
    assert nn.arange(1, 2, 0.5).dtype == np.float32
    assert x.outer(nn.ones(2)).shape == (4, 2)
    assert x.diag().tolist() == [4, 3]
    assert x.roll(1, 0).tolist() == [[2, 3], [4, 1]]
    assert x.repeat_interleave(2, 0).shape == (4, 2)
    assert x.narrow(1, 1, 1).tolist() == [[1], [3]]
    assert x.narrow(1, -1, 1).tolist() == [[1], [3]]
    assert x.narrow(0, 2, 0).shape == (0, 2)
    for start, length in ((2, 1), (-3, 1), (0, 3), (0, -1), (-1, 2)):
        with pytest.raises(IndexError, match=rf"start and length must .* {start} and {length}$"):
            x.narrow(0, start, length)
    for wrong, message in (
        (lambda: x.reshape(-3, 1), r"nn\.reshape: sizes must be at least 0, or -1 once, got \(-3"),
        (lambda: x.view(-4), "nn.reshape: sizes must"),
        (lambda: x.unflatten(1, (-1, -1)), r"nn\.unflatten: sizes .* got \(-1, -1\)"),
        (lambda: x.expand(-1, 2, 2), r"nn\.expand: sizes must .* got \(-1, 2, 2\)"),
        (lambda: x.chunk(-1), "nn.chunk: chunks must be at least 1, got -1"),
        (lambda: x.diff(-1), "nn.diff: n must be at least 0, got -1"),
    ):
        with pytest.raises(RuntimeError, match=message):
            wrong()
    assert nn.hypot(x, x * 0).tolist() == x.tolist()
    for name in nn.__all__:
        assert getattr(nn, name) is not None
    with pytest.raises(AttributeError):
        _ = nn.nothing


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x, n: m.roll(x, (1, 2), (0, 1)),
        lambda m, x, n: m.roll(x, 3),
        lambda m, x, n: m.div(x, 0.3, rounding_mode="trunc"),
        lambda m, x, n: m.div(x, 0.3, rounding_mode="floor"),
        lambda m, x, n: m.div(n, -2, rounding_mode="trunc"),
        lambda m, x, n: m.round(x, decimals=1),
        lambda m, x, n: m.round(1000 * x, decimals=-2),
        lambda m, x, n: m.sort(x, stable=True, dim=0)[1],
        lambda m, x, n: m.argsort(x, stable=True),
        lambda m, x, n: m.index_add(x, 0, n[:2] + 7, x[:2], alpha=2),
        lambda m, x, n: m.where(x > 0)[1],
        lambda m, x, n: m.linalg.norm(x),
        lambda m, x, n: m.linalg.norm(x, 2),
        lambda m, x, n: m.linalg.norm(x, "nuc"),
        lambda m, x, n: m.linalg.norm(x, 1, 1),
    ],
)
def test_options_of_functions_beside_torch(rng, call):
    import torch

    x, n = rng.normal(size=(4, 5)).astype(np.float32), np.array([-7, -6, 6, 7])
    found, expected = call(nn, nn.tensor(x), nn.tensor(n)), call(
        torch, torch.tensor(x), torch.tensor(n)
    )
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    assert found.numpy().dtype == expected.numpy().dtype


def test_options_that_do_not_fit():
    x = nn.ones(2, 3)
    with pytest.raises(RuntimeError, match="rounding_mode must be 'trunc', 'floor' or None"):
        x.div(2, rounding_mode="up")
    with pytest.raises(RuntimeError, match="shifts must be one for each of 1 dims, got 2"):
        x.roll((1, 2), 0)
    for size, step in ((4, 1), (-1, 1), (2, 0)):
        with pytest.raises(RuntimeError, match="size must be at most 3 and step positive"):
            x.unfold(1, size, step)
    with pytest.raises(RuntimeError, match="must be asked of two axes"):
        nn.linalg.norm(nn.ones(2, 2, 2), 2)


def test_tensors_like_one_and_what_it_says_of_its_memory():
    x = nn.ones(2, 3, dtype=np.float64)
    for made, shape, value in (
        (x.new_zeros(4, 2), (4, 2), 0), (x.new_ones((4, 2)), (4, 2), 1),
        (x.new_full((3,), 7), (3,), 7), (x.new_empty(2, 1).fill_(5), (2, 1), 5),
    ):  # fmt: skip
        assert made.dtype == np.float64
        assert made.shape == shape
        assert (made.data == value).all()
    source = np.array([1.0, 2.0])
    copied = x.new_tensor(source)
    source[0] = 9.0
    assert copied.tolist() == [1.0, 2.0]
    assert (x.nelement(), x.ndimension(), x.element_size()) == (6, 2, 8)
    assert (x.itemsize, x.nbytes) == (8, 48)
    assert (x.stride(), x.stride(0), x.T.stride()) == ((3, 1), 3, (1, 3))
    on_host = type(x.data).__module__ == "numpy"  # the same test runs on device arrays
    assert (x.is_cpu, x.is_cuda) == (on_host, not on_host)
    assert x.is_signed()
    assert not nn.zeros(1, dtype=np.uint8).is_signed()
    assert not (x > 0).is_signed()
    assert x.is_same_size(nn.zeros(2, 3))
    assert not x.is_same_size(x.T)
    assert nn.zeros(2, 3).fill_diagonal_(4).tolist() == [[4, 0, 0], [0, 4, 0]]
