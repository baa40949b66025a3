"""16 bits stored, float32 computed: whole layers, optimisers, files, mixed precision."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import pkgutil
import sys
import threading

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kernelmill import nn
from kernelmill.nn import _half, _tape
from kernelmill.nn import functional as F

HALF = np.float16
BRAIN = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
DTYPES = pytest.mark.parametrize("dtype", [np.dtype(HALF), BRAIN], ids=str)
ROUNDOFF = {np.dtype(HALF): 2.0**-11, BRAIN: 2.0**-8}


def normal(*shape, seed=0, dtype=HALF):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


LAYERS = {
    "linear": (lambda: nn.Linear(5, 6), [(4, 5)]),
    "fused": (lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 2)), [(4, 5)]),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        [(2, 3, 6, 6)],
    ),
    "transposed": (lambda: nn.ConvTranspose1d(3, 4, 3, stride=2), [(2, 3, 5)]),
    "batch norm": (lambda: nn.BatchNorm2d(3), [(4, 3, 2, 2)]),
    "batch norm in evaluation": (lambda: nn.BatchNorm1d(3).eval(), [(4, 3)]),
    "instance norm": (lambda: nn.InstanceNorm1d(3, track_running_stats=True), [(4, 3, 7)]),
    "layer norm": (lambda: nn.LayerNorm(5), [(4, 5)]),
    "rnn": (lambda: nn.RNN(4, 3), [(5, 2, 4)]),
    "lstm": (lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True), [(5, 2, 4)]),
    "gru": (lambda: nn.GRU(4, 3, batch_first=True), [(5, 2, 4)]),
    "lstm cell": (lambda: nn.LSTMCell(4, 3), [(5, 4)]),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [(2, 5, 8)] * 3),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), [(2, 5, 8)]
    ),
    "encoder, norm first": (
        lambda: nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
        ),
        [(2, 5, 8)],
    ),
    "encoder in evaluation": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), [(2, 5, 8)]
    ),
    "decoder": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        [(2, 3, 8), (2, 5, 8)],
    ),
}  # fmt: skip


def outputs(model, inputs):
    found = model(*inputs)
    while isinstance(found, tuple):
        found = found[0]
    return found


def gradients(model, inputs, weight):
    y = outputs(model, inputs)
    return y, nn.grad(y, [*inputs, *model.parameters()], weight.astype(y.dtype), allow_unused=True)


def assert_near(ours, exact, units, name, dtype):
    ours, exact = (np.asarray(x.data, np.float64) for x in (ours, exact))
    bound = units * ROUNDOFF[dtype] * max(np.abs(exact).max(), 1.0)
    assert np.abs(ours - exact).max() <= bound, name


@DTYPES
@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_half_equal_those_in_double(name, dtype):
    make, shapes = LAYERS[name]
    nn.manual_seed(1)
    model = make().to(dtype)
    exact = copy.deepcopy(model).double()
    given = [normal(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]
    inputs = [nn.Tensor(x, True) for x in given]
    weight = normal(*outputs(copy.deepcopy(model), inputs).shape, seed=9, dtype=dtype)
    y, found = gradients(model, inputs, weight)
    z, right = gradients(exact, [nn.Tensor(x.astype(np.float64), True) for x in given], weight)
    assert y.dtype == dtype
    # Roundings of a layer: its operations, each with an error of half a unit.
    assert_near(y, z, 16, name, dtype)
    for i, (g, h) in enumerate(zip(found, right, strict=True)):
        if h is not None:
            assert g.dtype == dtype
            assert_near(g, h, 32, f"{name}: gradient {i}", dtype)
    for (key, a), (_, b) in zip(model.named_buffers(), exact.named_buffers(), strict=True):
        assert_near(a, b, 4, key, dtype)


@DTYPES
@pytest.mark.parametrize("name", LAYERS)
def test_layers_train_in_mixed_precision(name, dtype):
    """Parameters and gradients stay float32 and equal those without casts within 16 bits."""
    make, shapes = LAYERS[name]
    nn.manual_seed(1)
    model = make()
    plain = copy.deepcopy(model)
    given = [normal(*shape, seed=i).astype(np.float32) for i, shape in enumerate(shapes)]
    inputs, others = ([nn.Tensor(x, True) for x in given] for _ in range(2))
    weight = normal(*outputs(copy.deepcopy(model), inputs).shape, seed=9)
    with nn.amp.autocast("cpu", dtype):
        y = outputs(model, inputs)
    found = nn.grad(y, [*inputs, *model.parameters()], weight.astype(y.dtype), allow_unused=True)
    z, right = gradients(plain, others, weight)
    assert_near(y, z, 16, name, dtype)
    for i, (g, h) in enumerate(zip(found, right, strict=True)):
        if h is not None:
            assert g.dtype == np.float32
            assert_near(g, h, 32, f"{name}: gradient {i}", dtype)


@DTYPES
def test_autocast_says_what_is_stored_how(dtype):
    x = nn.ones(2, 3, requires_grad=True)
    w = nn.ones(4, 3, dtype=np.float64)
    with nn.autocast("cpu", dtype=dtype):
        assert (x @ x.T).dtype == dtype
        assert F.conv1d(nn.ones(1, 1, 5), nn.ones(1, 1, 3)).dtype == dtype
        assert nn.einsum("ij,kj->ik", x, x).dtype == dtype
        assert F.linear(w, w).dtype == np.float64
        half = x @ x.T
        for full in (half.exp(), half.sum(), half**2, F.softmax(half, 0), half.norm(), half.log(),
                     F.layer_norm(half, 2), F.mse_loss(half, nn.zeros(2, 2)),
                     F.cross_entropy(half, [0, 1])):  # fmt: skip
            assert full.dtype == np.float32
        assert half.relu().dtype == (half + half).dtype == half.reshape(-1).dtype == dtype
        assert (half + nn.ones(2)).dtype == nn.cat([half, nn.ones(2, 2)]).dtype == np.float32
        other = nn.ones(2, 3, dtype=BRAIN if dtype == np.float16 else np.float16)
        assert (other @ x.T).dtype == (other @ other.T).dtype == dtype
        assert other.sum().dtype == np.float32
        with nn.autocast("cpu", enabled=False):
            assert (x @ x.T).dtype == np.float32
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x @ x.T).dtype))
        thread.start()
        thread.join()
        assert seen == [np.float32]  # of this thread only
    assert (x @ x.T).dtype == np.float32

    @nn.autocast("cpu", dtype=dtype)
    def product(a):
        return a @ a.T

    assert product(x).dtype == dtype
    with pytest.raises(TypeError, match="must be float16 or bfloat16, got float64"):
        nn.autocast("cpu", dtype=np.float64)


def test_the_tables_name_rules_that_exist():
    """A rule under another name would run as if it were in no table."""
    for module in pkgutil.walk_packages(nn.__path__, "kernelmill.nn."):
        importlib.import_module(module.name)
    nn.ones(1).half()
    gc.unfreeze()  # conftest.py froze what the collection of tests had imported
    names = {rule.name for rule in gc.get_objects() if issubclass(type(rule), _tape.Rule)}
    for table in (_half.MOVES, _half.LOWER, _half.FULL):
        assert not table - names
    assert not _half.MOVES & (_half.LOWER | _half.FULL)
    assert not _half.LOWER & _half.FULL


def test_a_loss_of_halves_does_not_overflow_or_vanish():
    """Sums are float32 inside: 70,000 ones are no infinity, and 1e-5 squared is no zero."""
    assert nn.ones(70_000).half().mean().item() == 1.0
    with nn.autocast("cpu"):
        x = nn.full((10,), 1000.0).half()
        assert F.mse_loss(x, nn.zeros(10)).item() == 1e6
    assert np.isinf(nn.Tensor([1e6]).half().item())  # no warning either
    assert nn.Tensor([6e-8]).half().item() > 0


def test_backward_inside_autocast_and_recomputation():
    x = nn.randn(4, 3, generator=nn.Generator(0))
    layer = nn.Linear(3, 3)
    with nn.autocast("cpu"):
        outside = (layer(x) ** 2).sum()
        inside = (nn.checkpoint(layer, x) ** 2).sum()
        want = nn.grad(outside, [*layer.parameters()])
        layer.zero_grad()
        inside.backward()
    for p, g in zip(layer.parameters(), want, strict=True):
        assert p.grad.dtype == g.dtype == np.float32
        np.testing.assert_array_equal(p.grad.data, g.data)
    assert inside.item() == outside.item()


def test_second_derivatives_of_halves():
    x = nn.Tensor(np.array([0.5, 1.0, 2.0], HALF), True)
    (g,) = nn.grad((x**3).sum(), x, create_graph=True)
    (h,) = nn.grad(g.sum(), x)
    assert h.dtype == HALF
    assert h.tolist() == [3.0, 6.0, 12.0]


@DTYPES
@pytest.mark.parametrize("name", [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam", "RAdam",
    "RMSprop", "Rprop", "SGD",
])  # fmt: skip
def test_optimisers_move_halves(name, dtype):
    """A step is computed in float32, with float32 state, and rounded once."""
    start = normal(20, dtype=dtype)
    half, single = nn.Parameter(start), nn.Parameter(start.astype(np.float32))
    steps = [getattr(nn.optim, name)([p], lr=0.1) for p in (half, single)]
    for seed in range(3):
        g = normal(20, seed=seed + 1, dtype=dtype)
        single.data[...] = half.data
        half.grad, single.grad = nn.Tensor(g), nn.Tensor(g.astype(np.float32))
        for step in steps:
            step.step()
        np.testing.assert_array_equal(half.data, single.data.astype(dtype))
    kept = [v for v in steps[0].state[half].values() if hasattr(v, "dtype")]
    assert all(v.dtype == np.float32 for v in kept)
    other = getattr(nn.optim, name)([half], lr=0.1)
    other.load_state_dict(steps[0].state_dict())
    assert all(
        v.dtype == np.float32 for v in other.state[half].values() if hasattr(v, "dtype")
    )
    norm = np.linalg.norm(g.astype(float))
    assert nn.utils.clip_grad_norm_([half], 1e-2).item() == pytest.approx(norm, rel=1e-6)
    assert half.grad.dtype == dtype


@DTYPES
def test_halves_are_saved_copied_and_converted(tmp_path, dtype):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(dtype)
    assert {v.dtype.name for v in model.state_dict().values()} == {dtype.name, "int64"}
    nn.save_file(model.state_dict(), tmp_path / "half.safetensors")
    again = nn.load_file(tmp_path / "half.safetensors")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for key, value in other.state_dict().items():
            assert value.dtype == model.state_dict()[key].dtype == again[key].dtype
            np.testing.assert_array_equal(value.data, again[key].data)
    single = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    single.load_state_dict(again)
    assert single[0].weight.dtype == np.float32
    np.testing.assert_array_equal(single[0].weight.data, model[0].weight.data)
    assert model.float()[0].weight.dtype == np.float32
    assert model.double()[0].weight.dtype == np.float64
    assert nn.Linear(2, 2, dtype=dtype).weight.dtype == dtype
    x = nn.Tensor([1.0], True)
    x.to(dtype).sum().backward()
    assert x.grad.dtype == np.float32


def test_bfloat16_needs_ml_dtypes(monkeypatch, tmp_path):
    """Without the package one sentence says so, and files are read as float32."""
    model = nn.Linear(2, 2).bfloat16()
    nn.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x = nn.ones(2)
    for refused in (
        lambda: x.bfloat16(), lambda: nn.Linear(2, 2).bfloat16(), lambda: x.to("bfloat16"),
        lambda: nn.zeros(2, dtype="bfloat16"), lambda: nn.autocast("cpu", dtype="torch.bfloat16"),
    ):  # fmt: skip
        with pytest.raises(ImportError, match="must come from the package ml_dtypes"):
            refused()
    weight = nn.load_file(tmp_path / "weights.safetensors")["weight"]
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight.data, model.weight.data.astype(np.float32))


def test_bfloat16_is_that_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    spread = rng.normal(size=2000) * np.exp(rng.uniform(-85, 85, size=2000))
    spread = np.concatenate([spread, [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 3.4e38]])
    spread = spread.astype(np.float32)
    theirs = torch.tensor(spread).bfloat16()
    np.testing.assert_array_equal(
        nn.Tensor(spread).bfloat16().float().numpy(), theirs.float().numpy()
    )
    assert nn.Tensor(theirs).dtype == BRAIN
    x, a = nn.Tensor(theirs), theirs
    for name in ("exp", "tanh", "sqrt", "relu", "abs", "square", "sigmoid"):  # rounded once
        want = getattr(torch, name)(a.double())
        got = getattr(x, name)().double().numpy()
        with np.errstate(all="ignore"):
            exact = want.float().bfloat16().double().numpy()
            near = np.abs(got - exact) <= 2.0**-7 * np.abs(exact) + 2.0**-133
        np.testing.assert_array_equal(near | (got == exact) | np.isnan(exact), True, name)
        assert (got == exact).sum() > 0.99 * (got == got).sum(), name
    torch.save({"a": a}, tmp_path / "a.pt")
    loaded = nn.load_torch(tmp_path / "a.pt")["a"]
    assert loaded.dtype == BRAIN
    np.testing.assert_array_equal(loaded.float().numpy(), a.float().numpy())
    # Dtypes of results, as torch chooses them.
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32,
             "float64": torch.float64, "int64": torch.int64, "bool": torch.bool}  # fmt: skip
    for one, other in kinds.items():
        want = str(torch.promote_types(torch.bfloat16, other)).rpartition(".")[2]
        assert nn.promote_types("bfloat16", one).name == want
        assert (nn.ones(2, dtype="bfloat16") * nn.ones(2, dtype=one)).dtype.name == want
    assert (nn.ones(2, dtype="bfloat16") * 1.5).dtype == BRAIN


def test_any_array_of_halves_is_one():
    """Pickles and files give dtypes that equal NumPy's but are other objects."""
    h = normal(3)
    for array in (pickle.loads(pickle.dumps(h)), h.astype(">f2"), np.asfortranarray(h)):
        x = nn.Tensor(array)
        assert (x * 3.0).tolist() == (h.astype(np.float32) * 3).astype(HALF).tolist()
        single = pickle.loads(pickle.dumps(np.ones((2, 3), np.float32)))
        with nn.autocast("cpu"):
            assert F.linear(nn.Tensor(single), single).dtype == HALF


def test_digits_in_mixed_precision():
    """The same network learns as well with its products stored in float16."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    train, test = np.arange(1300), np.arange(1300, len(X))
    accuracy = []
    for mixed in (False, True):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
        scaler = nn.amp.GradScaler("cpu", enabled=mixed)
        rng = np.random.default_rng(0)
        for _ in range(15):
            for rows in np.array_split(rng.permutation(train), 20):
                optimizer.zero_grad()
                with nn.autocast("cpu", enabled=mixed):
                    loss = F.cross_entropy(model(X[rows]), y[rows])
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        with nn.no_grad():
            accuracy.append((model(X[test]).argmax(1).data == y[test]).mean())
    assert min(accuracy) > 0.9
    # Two rows in a hundred: the spread over seeds of either.
    assert accuracy[1] > accuracy[0] - 0.02


@DTYPES
def test_singular_values(dtype):
    x = normal(5, 3, dtype=dtype)
    found = nn.linalg.svd(nn.Tensor(x))
    wide = nn.linalg.svd(nn.Tensor(x.astype(np.float32)))
    for part, other in zip(found, wide, strict=True):
        assert part.dtype == dtype
        np.testing.assert_array_equal(part.data, other.data.astype(dtype))
