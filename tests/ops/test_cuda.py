"""What only the CUDA module can get wrong: import, streams, memory, names in launch errors.

Agreement with the specifications is tested with every other backend by the agreement cases.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import kernelmill
from kernelmill.ops import elementwise, kmeans, pairwise

BUILT = importlib.util.find_spec("kernelmill._cuda") is not None
needs_module = pytest.mark.skipif(not BUILT, reason="kernelmill was built without CUDA")


@pytest.fixture
def cupy():
    found = kernelmill.info()["cuda"]
    if not found["usable"]:
        pytest.skip(f"no GPU: {found['why']}")
    return pytest.importorskip("cupy", reason="CuPy is not installed")


@pytest.fixture
def points(rng):
    return rng.normal(size=(5000, 24)).astype(np.float32), rng.normal(size=(40, 24))


# --- without a GPU --------------------------------------------------------------------------------


@needs_module
def test_import_loads_no_driver():
    """Importing neither opens the driver nor creates a context, with a GPU or without."""
    script = (
        "import sys, kernelmill._cuda\n"
        "loaded = open('/proc/self/maps').read()\n"
        "sys.exit('libcuda.so' in loaded or 'libcudart' in loaded)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@needs_module
def test_device_info_reports_without_devices():
    script = (
        "import kernelmill._cuda as cuda\n"
        "found = cuda.device_info()\n"
        "assert found['usable'] is False and found['devices'] == [] and found['why'], found"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


@needs_module
def test_other_arrays_are_refused():
    X = np.zeros((3, 2))
    with pytest.raises(TypeError, match=r"kmeans\.assign: X must be a CuPy array, got ndarray"):
        kmeans.assign.implementation("cuda")(X, X)


# --- with one -------------------------------------------------------------------------------------


def test_work_is_queued_on_the_current_stream(cupy, points):
    """Input written on a stream just before the call, result read on that stream just after."""
    X, C = points
    want, _ = kmeans.assign(X, C)
    source, centers = cupy.asarray(X), cupy.asarray(C)
    for _ in range(20):
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            late = cupy.zeros_like(source)
            for _ in range(50):  # keep the stream busy, so that a wrong stream would run first
                late += 1
            late[...] = source
            labels, _ = kmeans.assign(late, centers)
            got = labels.copy()
        stream.synchronize()
        assert (cupy.asnumpy(got) == want).mean() > 0.999


def test_results_have_the_same_bits_on_every_run(cupy, points):
    X, C = (cupy.asarray(a) for a in points)
    sums, weights, inertia = kmeans.lloyd_step(X, C)
    for _ in range(10):
        again = kmeans.lloyd_step(X, C)
        assert cupy.array_equal(again[0], sums)
        assert cupy.array_equal(again[1], weights)
        assert again[2] == inertia


def test_inputs_are_not_written(cupy, points):
    X, C = (cupy.asarray(a) for a in points)
    before = X.copy(), C.copy()
    labels, bounds = cupy.full(len(X), -1, cupy.int32), cupy.empty((0, 2), X.dtype)
    kmeans.lloyd(X, C, labels, bounds, n_steps=3)
    kmeans.minibatch_step(X, cupy.arange(100), C, cupy.zeros(len(C)))
    assert cupy.array_equal(X, before[0])
    assert cupy.array_equal(C, before[1])


@pytest.mark.parametrize("view", ["fortran", "reversed", "every other column", "unaligned"])
def test_strided_rows(cupy, points, view):
    X, C = (cupy.asarray(a) for a in points)
    strided = {
        "fortran": lambda: cupy.asfortranarray(X),
        "reversed": lambda: X[::-1],
        "every other column": lambda: cupy.repeat(X, 2, axis=1)[:, ::2],
        "unaligned": lambda: cupy.pad(X, ((0, 0), (1, 0)))[:, 1:],
    }[view]()
    labels, squared = kmeans.assign(strided, C)
    want_labels, want_squared = kmeans.assign(cupy.ascontiguousarray(strided), C)
    assert cupy.array_equal(labels, want_labels)
    assert cupy.array_equal(squared, want_squared)


def test_memory_stays_in_the_pool(cupy, points):
    X, C = (cupy.asarray(a) for a in points)
    pool = cupy.get_default_memory_pool()
    for _ in range(3):
        kmeans.lloyd_step(X, C)
    held = pool.total_bytes()
    for _ in range(20):
        kmeans.lloyd_step(X, C)
    assert pool.total_bytes() == held


def test_a_launch_error_names_the_op(cupy):
    """More columns than the second dimension of a grid has blocks for."""
    X = cupy.zeros((1, 65536 * 256), cupy.float32)
    with pytest.raises(RuntimeError, match=r"kmeans\.lloyd_step: CUDA launch failed"):
        kmeans.lloyd_step(X, cupy.zeros((1, X.shape[1])))
    # and the next op is not blamed for it
    assert float(elementwise.exp(cupy.zeros(1))[0]) == 1.0


def test_distances_to_far_rows(cupy):
    """float32 at mean 1e6: an expanded square would lose every digit."""
    X = cupy.asarray(np.array([[1e6, 1e6], [1e6 + 1, 1e6]], np.float32))
    distances = pairwise.euclidean(X, X)
    assert distances.tolist() == [[0.0, 1.0], [1.0, 0.0]]
