"""Runs ops on float16 and bfloat16 arrays, on the emulated CUDA implementations.

``python halves.py <folder of the emulated _cuda> [arguments of pytest]``. Both types are only
stored: kernels compute in float32. So the cases of tests/ops, their arrays rounded to 16 bits, must
give the bits of the float32 result for the same numbers, rounded once. Ops that store something on
their way have a bound instead, of how often that is rounded.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

HERE = Path(__file__).parent
OPS = HERE.parent / "ops"
if sys.argv[1:] and "_cuda" not in sys.modules:
    sys.path[:0] = [sys.argv[1], str(HERE), str(OPS)]
import agreement  # noqa: E402
import cupy  # noqa: E402 - the stand-in of this folder

from kernelmill import ops  # noqa: E402

sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")

TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # of 11 and 8 significant bits
TINY = {"float16": 2.0**-25, "bfloat16": 2.0**-134}  # half of the smallest number
OPS_BY_NAME = ops.all_ops()
ATTENTION = ("attention.forward", "attention.backward", "attention.bias_backward")
NAMES = sorted(n for n, op in OPS_BY_NAME.items() if op.half and n not in ATTENTION)
for family in {name.partition(".")[0] for name in (*NAMES, *ATTENTION)}:
    importlib.import_module(f"test_{family}")


def narrowed(array, dtype):
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def on_device(value, dtype=None):
    return cupy.asarray(value if dtype is None else narrowed(value, dtype))


def calls(name, dtype, cases=None):
    """Arguments of each float32 case, once widened from 16 bits and once stored so."""
    op = OPS_BY_NAME[name]
    for case in agreement.generators[name]() if cases is None else cases:
        values = op.signature.bind(case.args, case.kwargs)
        items = op.signature.arguments
        first = next(v for v, i in zip(values, items, strict=True) if i.dtype == "T")
        if first.dtype != np.float32 or case.big:
            continue
        wide, stored = [], []
        for value, item in zip(values, items, strict=True):
            if not isinstance(value, np.ndarray) or item.host:
                wide.append(value)
                stored.append(value)
            elif item.dtype == "T":
                stored.append(on_device(value, dtype))
                wide.append(on_device(stored[-1].get().astype(np.float32)))
            else:
                wide.append(on_device(value))
                stored.append(on_device(value))
        yield case.name, wide, stored


def outputs(made):
    made = () if made is None else made if isinstance(made, tuple) else (made,)
    return [m.get() if isinstance(m, cupy.ndarray) else m for m in made]


def bounds(name, wide, want, dtype_name):
    """The largest difference of each result, None for the bits of a result that is rounded once."""
    u, tiny = ROUNDOFF[dtype_name], TINY[dtype_name]
    hosts = [w.get().astype(np.float64) if isinstance(w, cupy.ndarray) else w for w in wide]

    with np.errstate(all="ignore"):
        if name == "matmul.matmul":
            a, b, c, alpha, beta = hosts
            size = np.abs(a) @ np.abs(b)  # the product, its multiple and the sum are rounded
            other = 0 if c is None or beta == 0 else abs(beta) * np.abs(c)
            return [3 * u * (abs(alpha) * size + other) + 4 * tiny * (1 + abs(alpha))]
        if name == "linear.forward":
            x, weight, bias, _, parameter, evaluate = hosts
            size = np.abs(x) @ np.abs(weight).T  # the product is rounded, and so is the result
            if bias is not None:
                size = size + np.abs(bias)
            # No activation has a slope above 1.13, that of GELU, but for a parameter.
            slope = max(1.13, abs(parameter), 1.06 * 1.68)
            whole = 2 * u * size + 2 * tiny
            return [slope * whole + u * np.abs(want[0]), None if evaluate else whole]
        if name == "linear.backward":
            dout, x, weight, *_ = hosts
            sizes = (np.abs(dout) @ np.abs(weight), np.abs(dout).T @ np.abs(x), np.abs(dout).sum(0))
            return [2 * u * size.reshape(w.shape) + tiny if w.size else None
                    for size, w in zip(sizes, want, strict=True)]  # fmt: skip
    return [None] * len(want)


@pytest.mark.parametrize("dtype_name", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_float32_rounded(name, dtype_name):
    dtype = TYPES[dtype_name]
    op = OPS_BY_NAME[name]
    twin = op.implementation("cuda")
    ran = 0
    places = [i for i, item in enumerate(op.signature.arguments) if item.inout]
    items = [*op.signature.results, *(op.signature.arguments[i] for i in places)]
    for case, wide, stored in calls(name, dtype):
        want, got = (
            outputs(twin(*given)) + outputs(tuple(given[i] for i in places))
            for given in (wide, stored)
        )
        limits = bounds(name, wide, want, dtype_name)
        for i, (item, w, g, limit) in enumerate(zip(items, want, got, limits, strict=True)):
            where = f"{name} [{case}] of {dtype_name}: output {i}"
            if not isinstance(w, np.ndarray):
                assert g == w or (g != g and w != w), where
                continue
            assert g.dtype == (dtype if item.dtype == "T" else w.dtype), where
            rounded = narrowed(w, dtype) if item.dtype == "T" else w
            if limit is None:
                np.testing.assert_array_equal(
                    g.astype(np.float64), rounded.astype(np.float64), where
                )
                continue
            g, w = g.astype(np.float64), w.astype(np.float64)
            with np.errstate(all="ignore"):
                same = (g == rounded.astype(np.float64)) | (np.isnan(g) & np.isnan(w))
                assert (same | (np.abs(g - w) <= limit)).all(), where
        ran += 1
    assert ran > 0


OPTIM = importlib.import_module("test_optim")


@pytest.mark.parametrize("dtype_name", TYPES)
def test_optimisers_round_parameters_once(dtype_name):
    """Steps over all dtypes in one call: states are float32, parameters are rounded at the end."""
    dtype = TYPES[dtype_name]
    rng = np.random.default_rng(4)
    for rule in OPTIM.TABLE.values():
        step = OPS_BY_NAME[f"optim.{rule.name}"].implementation("cuda")

        def draw(*shape):
            return narrowed(rng.normal(size=shape), dtype)

        shapes = [(5,), (), (0, 3), (70, 65)]
        parameters, gradients = ([draw(*shape) for shape in shapes] for _ in range(2))
        states = [[np.square(draw(*s)).astype(np.float32) for s in shapes] for _ in rule.states]
        calls = []
        for stored in (False, True):
            kinds = dtype if stored else np.float32
            given = [[on_device(a.astype(kinds)) for a in part] for part in (parameters, gradients)]
            kept = [[on_device(a) for a in part] for part in states]
            double = [[on_device(np.ones(3)) for _ in part] for part in (*given, *kept)]
            lists = [[*a[:2], *d[:1], *a[2:]] for a, d in zip((*given, *kept), double, strict=True)]
            step(*lists)
            calls.append([[a.get() for a in one] for one in lists])
        for place, (wide, got) in enumerate(zip(*calls, strict=True)):
            for w, g in zip(wide, got, strict=True):
                known = dtype if place < 2 and w.dtype == np.float32 else w.dtype
                assert g.dtype == known
                np.testing.assert_array_equal(
                    g.astype(np.float64), narrowed(w, known).astype(np.float64), rule.name
                )
        wide, got = ([on_device(a.astype(k)) for a in gradients] for k in (np.float32, dtype))
        norm = OPS_BY_NAME["optim.norm"].implementation("cuda")
        assert norm([*got, on_device(np.ones(3))]) == norm([*wide, on_device(np.ones(3))])
        with pytest.raises(ValueError, match=r"must be b?float(16|32) of shape"):
            step(*[[on_device(draw(3))] for _ in range(2 + len(rule.states))]) if states else step(
                [on_device(draw(3))], [on_device(np.ones(3, np.float32))]
            )


ELEMENTWISE = importlib.import_module("test_elementwise")
REDUCTION = importlib.import_module("test_reduction")
CONVOLUTION = importlib.import_module("test_convolution")


def single(name):
    """The float32 cases of an op without a signature."""
    for case in agreement.generators[name]():
        arrays = [a for a in case.args if isinstance(a, np.ndarray)]
        if not case.big and any(a.dtype == np.float32 for a in arrays):
            yield case


def both(case, dtype):
    """Its arguments once widened and once stored; arrays of other dtypes as they are."""
    stored = [on_device(a, dtype) if isinstance(a, np.ndarray) and a.dtype == np.float32
              else on_device(a) if isinstance(a, np.ndarray) else a for a in case.args]  # fmt: skip
    wide = [cupy.asarray(a.get().astype(np.float32))
            if isinstance(a, cupy.ndarray) and a.dtype == dtype else a for a in stored]  # fmt: skip
    return wide, stored


@pytest.mark.parametrize("dtype_name", TYPES)
@pytest.mark.parametrize("family", ["elementwise", "reduction"])
def test_tables_give_float32_results_rounded(family, dtype_name):
    dtype = TYPES[dtype_name]
    names = [n for n in OPS_BY_NAME if n.startswith(f"{family}.")]
    ran = set()
    for name in names:
        twin = OPS_BY_NAME[name].implementation("cuda")
        for case in single(name):
            wide, stored = both(case, dtype)
            want, got = (
                outputs(twin(*wide, **case.kwargs))[0],
                outputs(twin(*stored, **case.kwargs))[0],
            )
            assert got.dtype == (dtype if want.dtype == np.float32 else want.dtype), name
            rounded = narrowed(want, got.dtype)
            np.testing.assert_array_equal(
                got.astype(np.float64), rounded.astype(np.float64), f"{name} [{case.name}]"
            )
            ran.add(name)
    assert len(ran) > 0.9 * len(names)  # the others are functions of bool


def test_numbers_beside_halves_are_not_rounded():
    multiply = OPS_BY_NAME["elementwise.multiply"].implementation("cuda")
    x = cupy.asarray(np.array([2.0**14], np.float16))
    assert multiply(x, 2.0**-26).get() == np.float16(2.0**-12)  # the number alone would be 0


@pytest.mark.parametrize("dtype_name", TYPES)
@pytest.mark.parametrize("name", ["forward", "input_gradient", "weight_gradient"])
def test_convolutions(name, dtype_name):
    dtype, u, tiny = TYPES[dtype_name], ROUNDOFF[dtype_name], TINY[dtype_name]
    op = OPS_BY_NAME[f"convolution.{name}"]
    twin = op.implementation("cuda")
    ran = 0
    for case in single(op.name):
        wide, stored = both(case, dtype)
        sizes = inspect.signature(op.specification).bind(*wide, **case.kwargs).arguments
        sizes = {k: abs(a) if isinstance(a, cupy.ndarray) else a for k, a in sizes.items()}
        sizes.pop("activation", None)
        (size,), (want,), (got,) = (
            outputs(twin(**sizes)),
            outputs(twin(*wide, **case.kwargs)),
            outputs(twin(*stored, **case.kwargs)),
        )
        assert got.dtype == (np.float32 if name == "weight_gradient" else dtype)
        # Products are rounded, and so is the result; activations have slopes of at most 1.8.
        limit = u * (2 * size + np.abs(want)) + 2 * tiny
        difference = np.abs(got.astype(np.float64) - want)
        assert (difference <= limit).all(), f"{name} [{case.name}]: {(difference - limit).max()}"
        ran += 1
    assert ran > 0


def test_networks_hand_halves_to_the_kernels(monkeypatch):
    from kernelmill import nn
    from kernelmill.nn import _half
    from kernelmill.nn import functional as F

    nn.autocast("cpu")  # from here on tensors may be float16
    rng = np.random.default_rng(2)

    def draw(*shape):
        return nn.Tensor(cupy.asarray(rng.normal(size=shape).astype(np.float16)), True)

    def refuse(x):
        assert getattr(x, "dtype", None) != np.float16, "an array was widened"
        return x

    monkeypatch.setattr(_half, "widened", refuse)
    monkeypatch.setattr(_half, "_wide", refuse)
    x, w, v, weight, bias = draw(2, 3, 6, 6), draw(4, 3, 3, 3), draw(5, 16), draw(5), draw(5)
    y = F.avg_pool2d(F.max_pool2d(F.conv2d(x, w, padding=1).relu(), 2), 2, 1)
    y = F.layer_norm(F.gelu(F.linear(y.reshape(2, 16), v)), 5, weight, bias)
    y = F.dropout(F.softmax(y * 2.0 + bias, 1), 0.3) @ y.T
    q = y.reshape(1, 1, 2, 2)
    y = F.scaled_dot_product_attention(q, q, q, is_causal=True)
    loss = F.cross_entropy(y.reshape(2, 2), cupy.asarray(np.array([0, 1])))
    loss.backward()
    for tensor in (y, x.grad, w.grad, v.grad, weight.grad, bias.grad):
        assert tensor.dtype == np.float16
        assert np.isfinite(tensor.data.get()).all()
    assert np.abs(w.grad.data.get()).max() > 0


# --- attention ------------------------------------------------------------------------------------


def attention_limits(name, values, want, operand, share, result, tiny):
    """Largest differences from float32 results, where operands of products are rounded by a
    relative `operand`, shares and gradients of scores by `share`, and results by `result`.

    A score of size sum |q k| = z is then off by 2 operand z and by its float32 sum; its share by a
    factor of exp of twice that, once for the score and once for what all shares are divided by. A
    gradient of scores is share (dP - delta), with dP off by 2 operand sum |dout v|. So each term of
    a result is off by `factor`, and results are sums of terms of the sizes below. Shares below the
    smallest normal number of T are off by `tiny`, and so is a result.
    """
    q, k, v = (np.abs(values[n].astype(np.float64)) for n in "qkv")
    options = {n: values[n] for n in ("causal", "window", "offset", "scale")}
    b, t, h, e = q.shape
    s, f = v.shape[1], v.shape[3]
    single = 2.0**-24
    z = np.abs(options["scale"]) * (heads(q, h) @ heads(k, h).swapaxes(2, 3))
    z = z.max(initial=0.0) * (2 * operand + 2 * (e + 4) * single)
    factor = np.expm1(2 * z) + 3 * operand + share + (2 * (s + t + e + f) + 8) * single
    given = [values[n] for n in ("q", "k", "bias", "mask", "slopes")]
    scores = specification._scores(*given, *options.values())
    with np.errstate(all="ignore"):
        top = scores.max(-1, keepdims=True, initial=-np.inf)
        shares = np.exp(scores - np.where(np.isfinite(top), top, 0))
        total = shares.sum(-1, keepdims=True)
        shares = shares / np.where(total == 0, 1, total)
    kept = specification._kept(shares.shape, values["p"], values["seed"], values["stream"])
    size = np.abs(options["scale"])

    def grouped(x):  # heads of a group are added up; (b, n, g, d)
        g = k.shape[2]
        return x.reshape(b, g, h // max(g, 1), *x.shape[2:]).sum(2).transpose(0, 2, 1, 3)

    dense = kept * shares + tiny
    if name == "attention.forward":
        found = [(dense @ heads(v, h)).transpose(0, 2, 1, 3), 1 + np.abs(want[1]) + z]
        more = [result, single]
    else:
        dout = np.abs(values["dout"].astype(np.float64))
        delta = (dout * np.abs(values["out"].astype(np.float64))).sum(-1).transpose(0, 2, 1)
        dp = heads(dout, h) @ heads(v, h).swapaxes(2, 3)
        ds = shares * (kept * dp + delta[..., None]) + tiny
        more = [result] * 3
        if name == "attention.bias_backward":
            shape = values["bias"].shape
            found = [ds.sum(tuple(a for a in range(4) if shape[a] == 1), keepdims=True)]
        else:
            found = [
                size * (ds @ heads(k, h)).transpose(0, 2, 1, 3),
                size * grouped(ds.swapaxes(2, 3) @ heads(q, h)),
                grouped(dense.swapaxes(2, 3) @ heads(dout, h)),
            ]
    return [
        factor * d + m * np.abs(w) + 2 * tiny for d, m, w in zip(found, more, want, strict=False)
    ]


def heads(x, h):
    return specification._heads(x, h)


specification = importlib.import_module("kernelmill.ops.attention")


def assert_attention(name, case, values, want, got, limits):
    for i, (w, g, limit) in enumerate(zip(want, got, limits, strict=True)):
        w, g = w.astype(np.float64), g.astype(np.float64)
        with np.errstate(all="ignore"):
            same = (g == w) | (np.isnan(g) & np.isnan(w)) | (np.abs(g - w) <= limit)
        assert same.all(), f"{name} [{case}]: output {i} is off by {(np.abs(g - w) / limit).max()}"
    return any((np.abs(w) > limit).any() for w, limit in zip(want, limits, strict=True))


# (b, t, s, h, g, e, f) beside those of tests/ops, for the kernels of more than 64 features.
TILES = {
    (1, 67, 130, 1, 1, 80, 96): {"causal": True, "offset": 20, "window": 50},
    (1, 12, 40, 2, 1, 100, 8): {"bias": 1, "mask": 1, "p": 0.5, "seed": 3},
}


def tiles(name):
    """Their arguments in float32, gradients and results of the specification."""
    for number, (size, options) in enumerate(TILES.items()):
        b, t, s, h, g, e, f = size
        rng = np.random.default_rng(number)

        def draw(*shape, rng=rng):
            return rng.normal(size=shape).astype(np.float32)

        options = dict(options, scale=1 / np.sqrt(e))
        bias = draw(b, h, t, s)
        if "mask" in options:
            options |= {"mask": rng.random((1, 1, t, s)) < 0.7, "slopes": draw(h) ** 2}
        if "bias" in options or name == "attention.bias_backward":
            options["bias"] = bias
        arrays = {"q": draw(b, t, h, e), "k": draw(b, s, g, e), "v": draw(b, s, g, f)}
        arrays = {n: narrowed(a, np.float16).astype(np.float32) for n, a in arrays.items()}
        if name != "attention.forward":
            out, lse = specification.forward.specification(**arrays, **options)
            arrays = {"dout": draw(b, t, h, f), **arrays, "out": out, "lse": lse}
        yield agreement.Case(str(size), (), {**arrays, **options})


def attention_calls(name, dtype):
    names = [item.name for item in OPS_BY_NAME[name].signature.arguments]
    lots = np.random.default_rng(5)  # all cases of tests/ops take minutes
    cases = [case for case in agreement.generators[name]() if lots.integers(4) == 0]
    for case, wide, stored in calls(name, dtype, (*cases, *tiles(name))):
        values = {
            n: v.get() if isinstance(v, cupy.ndarray) else v
            for n, v in zip(names, wide, strict=True)
        }
        yield case, wide, stored, values


@pytest.mark.parametrize("dtype_name", TYPES)
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_in_half(name, dtype_name):
    twin = OPS_BY_NAME[name].implementation("cuda")
    u, tiny = ROUNDOFF[dtype_name], TINY[dtype_name]
    ran = told = 0
    for case, wide, stored, values in attention_calls(name, TYPES[dtype_name]):
        want, got = outputs(twin(*wide)), outputs(twin(*stored))
        assert got[0].dtype == TYPES[dtype_name]
        limits = attention_limits(name, values, want, 0.0, u, u, tiny)
        told += assert_attention(name, case, values, want, got, limits)
        ran += 1
    assert told > 0.5 * ran > 0  # zeros would be told apart


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_in_tf32(name):
    module = sys.modules["kernelmill._cuda"]
    twin = OPS_BY_NAME[name].implementation("cuda")
    ran = differ = 0
    for case, wide, _, values in attention_calls(name, np.dtype(np.float32)):
        want = outputs(twin(*wide))
        module.allow_tf32(True)
        try:
            got = outputs(twin(*wide))
        finally:
            module.allow_tf32(False)
        u = ROUNDOFF["float16"]  # 11 bits too
        limits = attention_limits(name, values, want, u, u, 2.0**-24, 2.0**-149)
        assert_attention(name, case, values, want, got, limits)
        differ += any((a != b).any() for a, b in zip(want, got, strict=True))
        ran += 1
    assert ran > 0
    assert (differ > 0) == (name != "attention.bias_backward")  # which stays float32


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__, *sys.argv[2:]]))
