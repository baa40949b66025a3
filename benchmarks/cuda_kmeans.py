"""k-means on one GPU: time, share of the device's own ceilings, and CuPy doing the same work.

``python -m benchmarks.cuda_kmeans [--json FILE] [--quick]`` on a machine with a GPU and CuPy. It
checks the twins against the specifications, measures the float32 ceiling (a kernel of fused
multiply-adds in registers) and the memory ceiling (a device-to-device copy), then times each op in
rounds that alternate with CuPy. Shares are of

    floor = max(flops / measured flops a second, bytes / measured bytes a second),
    flops = 2 n k d,  bytes = n d 4 (X once), twice for a Lloyd step.

Times are of CUDA events around one call, after two calls to warm up; the clock of a GPU moves with
its temperature, so the median of the rounds is given with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import kernelmill
from kernelmill.ops import kmeans, pairwise, silhouette

# n, d, k: the first is the target shape; the others are narrow, wide, with few and many centers.
SHAPES = (
    (10_000_000, 64, 256),
    (10_000_000, 16, 16),
    (2_000_000, 64, 8),
    (1_000_000, 512, 1024),
    (1_000_000, 100, 100),
    (200_000, 32, 100),
)
QUICK = ((200_000, 64, 256), (200_000, 32, 100))
SEED = 7

FMA = r"""
extern "C" __global__ void fma_chain(float* out, int steps) {
  float a[8];
  for (int i = 0; i < 8; ++i) a[i] = threadIdx.x + i;
  const float b = 0.999999f, c = 1e-6f * blockIdx.x;
  for (int s = 0; s < steps; ++s) {
#pragma unroll
    for (int r = 0; r < 16; ++r) {
#pragma unroll
      for (int i = 0; i < 8; ++i) a[i] = fmaf(a[i], b, c);
    }
  }
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += a[i];
  if (sum == 12345.678f) *out = sum;  // never, but the compiler cannot know
}
"""


def event_seconds(cupy, function: Callable[[], Any], rounds: int) -> list[float]:
    """Seconds of each of `rounds` calls on the current stream."""
    for _ in range(2):
        function()
    seconds = []
    for _ in range(rounds):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        function()
        end.record()
        end.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return seconds


def ceilings(cupy) -> dict[str, float]:
    """Float32 operations and bytes a second that this device reaches now."""
    kernel = cupy.RawKernel(FMA, "fma_chain")
    out, steps = cupy.zeros(1, cupy.float32), np.int32(2000)
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]
    blocks, threads = 16 * processors, 256
    flops = 2.0 * blocks * threads * int(steps) * 16 * 8
    fma = min(event_seconds(cupy, lambda: kernel((blocks,), (threads,), (out, steps)), 9))
    source = cupy.ones(1 << 28, cupy.float32)
    target = cupy.empty_like(source)
    copy = min(event_seconds(cupy, lambda: cupy.copyto(target, source), 9))
    return {"float32_flops": flops / fma, "copy_bytes": 2.0 * source.nbytes / copy}


def agreement(cupy) -> dict[str, str]:
    """Each op beside its specification on small integers, where results are exact."""
    rng = np.random.default_rng(SEED)
    wrong: dict[str, str] = {}
    for dtype in (np.float32, np.float64):
        for n, d, k in ((1000, 17, 33), (777, 64, 130), (500, 5, 8)):
            X = rng.integers(-8, 9, (n, d)).astype(dtype)
            C = rng.integers(-8, 9, (k, d)).astype(float)
            order = np.sort(rng.integers(0, n + 1, 5))
            cases = {
                "kmeans.assign": (kmeans.assign, (X, C), 0.0),
                "kmeans.lloyd_step": (kmeans.lloyd_step, (X, C), 1e-13),
                "kmeans.plus_plus": (kmeans.plus_plus, (X, rng.uniform(size=(6, 4))), 0.0),
                "pairwise.euclidean": (pairwise.euclidean, (X, X[:99]), 1e-5),
                "silhouette.cluster_distance_sums": (
                    silhouette.cluster_distance_sums,
                    (X, X, np.r_[0, order, n].astype(np.int64)),
                    1e-5,
                ),
            }
            for name, (op, arguments, rtol) in cases.items():
                got = op(*map(cupy.asarray, arguments))
                want = op.specification(*arguments)
                pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
                for one, other in pairs:
                    if not np.allclose(cupy.asnumpy(one), other, rtol=rtol, atol=0.0):
                        wrong[f"{name} {np.dtype(dtype)} {(n, d, k)}"] = "differs"
    return wrong


def cupy_assign(cupy, X, C32, rows: int = 1 << 18):
    """The same labels and distances with CuPy alone, in chunks of rows."""
    labels = cupy.empty(len(X), cupy.int32)
    squared = cupy.empty(len(X), cupy.float32)
    norms = (C32 * C32).sum(axis=1)
    for i in range(0, len(X), rows):
        part = X[i : i + rows]
        score = norms - 2 * (part @ C32.T)
        nearest = score.argmin(axis=1)
        labels[i : i + rows] = nearest
        squared[i : i + rows] = ((part - C32[nearest]) ** 2).sum(axis=1)
    return labels, squared


def cupy_lloyd_step(cupy, X, C32):
    """Sums, counts and inertia with CuPy alone."""
    labels, squared = cupy_assign(cupy, X, C32)
    sums = cupy.zeros(C32.shape, cupy.float64)
    rows = 1 << 18
    for i in range(0, len(X), rows):
        cupy.add.at(sums, labels[i : i + rows], X[i : i + rows].astype(cupy.float64))
    counts = cupy.bincount(labels, minlength=len(C32))
    return sums, counts, float(squared.sum(dtype=cupy.float64))


def measure(cupy, shape: tuple[int, int, int], limits: dict[str, float], rounds: int) -> list[dict]:
    n, d, k = shape
    generator = cupy.random.default_rng(SEED)
    X = generator.standard_normal((n, d), dtype=cupy.float32)
    C = X[:k].astype(cupy.float64)
    C32 = C.astype(cupy.float32)
    flops, size = 2.0 * n * k * d, float(X.nbytes)

    found = []
    for name, ours, theirs, bytes_moved in (
        ("assign", lambda: kmeans.assign(X, C), lambda: cupy_assign(cupy, X, C32), size),
        (
            "lloyd_step",
            lambda: kmeans.lloyd_step(X, C),
            lambda: cupy_lloyd_step(cupy, X, C32),
            2 * size,
        ),
    ):
        got, other = ours(), theirs()
        if name == "assign":
            same = float((got[0] == other[0]).mean())
        else:
            same = 1.0 - abs(got[2] - other[2]) / other[2]
        floor = max(flops / limits["float32_flops"], bytes_moved / limits["copy_bytes"])
        times: dict[str, list[float]] = {"kernelmill": [], "cupy": []}
        for _ in range(rounds):  # turn by turn, so that both meet the same clock
            times["kernelmill"] += event_seconds(cupy, ours, 1)
            times["cupy"] += event_seconds(cupy, theirs, 1)
        median = statistics.median(times["kernelmill"])
        found.append(
            {
                "op": f"kmeans.{name}",
                "n": n,
                "d": d,
                "k": k,
                "dtype": "float32",
                "seconds": {
                    key: {"median": statistics.median(t), "least": min(t), "most": max(t)}
                    for key, t in times.items()
                },
                "tflops": flops / median / 1e12,
                "share_of_float32_ceiling": flops / median / limits["float32_flops"],
                "floor_seconds": floor,
                "share_of_floor": floor / median,
                "cupy_over_kernelmill": statistics.median(times["cupy"]) / median,
                "agrees": same > 0.999,
            }
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="two small shapes")
    options = parser.parse_args(arguments)
    device = kernelmill.info()["cuda"]
    if not device["usable"]:
        print(f"cuda_kmeans: a GPU must be usable, got none ({device['why']})", file=sys.stderr)
        return 2
    import cupy

    limits = ceilings(cupy)
    report: dict[str, Any] = {
        "device": device["devices"][cupy.cuda.runtime.getDevice()],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "kernelmill": kernelmill.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "ceilings": limits,
        "wrong": agreement(cupy),
        "cases": [],
    }
    for shape in QUICK if options.quick else SHAPES:
        report["cases"] += measure(cupy, shape, limits, rounds=3 if options.quick else 9)
        cupy.get_default_memory_pool().free_all_blocks()
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 1 if report["wrong"] or not all(c["agrees"] for c in report["cases"]) else 0


if __name__ == "__main__":
    sys.exit(main())
