"""Runs the tests of tests/ops with the emulated CUDA twins in the place of the C++ ones.

``python agree.py <folder of the emulated _cuda> [arguments of pytest]``, with its thread order in
``KERNELMILL_EMULATOR_SEED``. An op that has no CUDA twin, for a stated reason, runs in C++.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
OPS = HERE.parent / "ops"
sys.path[:0] = [sys.argv[1], str(HERE), str(OPS)]
import agreement  # noqa: E402
import cupy  # noqa: E402 - the stand-in of this folder

from kernelmill._arrays import is_csr  # noqa: E402
from kernelmill.ops._op import Op  # noqa: E402

SEED = int(os.environ.get("KERNELMILL_EMULATOR_SEED", "0"))
sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")


def on_device(twin, on_cpu):
    """Takes NumPy arrays where they lie, strides and in-place results and all; CSR runs in C++."""

    def move(value):
        if isinstance(value, list):
            return [move(item) for item in value]
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.isnative and value.flags.aligned:
            return cupy.ndarray(value)
        return cupy.asarray(value.astype(value.dtype.newbyteorder("=")))  # CuPy has no others

    def on_host(value):
        return value.get() if isinstance(value, cupy.ndarray) else value

    @functools.wraps(twin)
    def run(*args, **kwargs):
        if args and is_csr(args[0]):
            return on_cpu(*args, **kwargs)
        outputs = twin(*map(move, args), **{key: move(value) for key, value in kwargs.items()})
        return tuple(map(on_host, outputs)) if isinstance(outputs, tuple) else on_host(outputs)

    return run


def implementation(op, backend, otherwise=Op.implementation):
    if backend != "cpu" or getattr(op, "cuda", None):
        return otherwise(op, backend)
    return on_device(otherwise(op, "cuda"), otherwise(op, "cpu"))


def cases(name, otherwise=agreement.cases):
    """Every case runs under one of two seeds, drawn by lot: all under both take two minutes."""

    def register(generator):
        def dealt():
            lots = np.random.default_rng(list(name.encode()))
            yield from (case for case in generator() if lots.integers(2) == SEED % 2)

        otherwise(name)(dealt)
        return generator

    return register


Op.implementation = implementation
agreement.backends = lambda: ["cuda"]
agreement.cases = cases

if __name__ == "__main__":
    which = "agreement" if SEED % 2 else "agreement or layouts or errors"
    chosen = ["-k", which, f"--ignore={OPS / 'test_cuda.py'}"]
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *chosen, str(OPS), *sys.argv[2:]]))
