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
NAMES = sorted(name for name, op in OPS_BY_NAME.items() if op.half and op.signature)
FAMILIES = {name.partition(".")[0] for name in NAMES}
for family in FAMILIES:
    importlib.import_module(f"test_{family}")


def narrowed(array, dtype):
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def on_device(value, dtype=None):
    return cupy.asarray(value if dtype is None else narrowed(value, dtype))


def calls(name, dtype):
    """Arguments of each float32 case, once widened from 16 bits and once stored so."""
    op = OPS_BY_NAME[name]
    for case in agreement.generators[name]():
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
    made = made if isinstance(made, tuple) else (made,)
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
            x, weight, bias, activation, parameter, evaluate = hosts
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
    for case, wide, stored in calls(name, dtype):
        want, got = outputs(twin(*wide)), outputs(twin(*stored))
        limits = bounds(name, wide, want, dtype_name)
        for i, (item, w, g, limit) in enumerate(
            zip(op.signature.results, want, got, limits, strict=True)
        ):
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
            want, got = outputs(twin(*wide, **case.kwargs))[0], outputs(twin(*stored, **case.kwargs))[0]
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


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__, *sys.argv[2:]]))
