"""Mixtures and hidden Markov models on one GPU: time, share of its ceilings, and CuPy beside.

``python -m benchmarks.cuda_em [--json FILE] [--quick]`` on a machine with a GPU and CuPy. It checks
the twins against the specifications, measures the ceilings of float32 and float64 (kernels of fused
multiply-adds in registers) and of memory (a device-to-device copy), then times each op in rounds
that alternate with CuPy doing the same work: a loop over components of products for a mixture, a
loop over time steps, all sequences at once, for an HMM. Shares are of

    floor = max(float32 flops / their ceiling, float64 flops / theirs, bytes / copied bytes).

A mixture with full covariance takes n k d^2 flops for the log joints at the dtype of X and as many
in float64 for the moments (of symmetric results one half), a diagonal one 4 n k d each; both read X
twice. Posteriors of an HMM take 6 T K^2 float64 flops, read T K log densities and write as many
probabilities; one long sequence is bound by none of these but by the length of the chain, so its
share says little and its time per step is given.
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
from kernelmill.ops import hmm, mixture

from .cuda_kmeans import FMA, ceilings, event_seconds

# n, d, k.
MIXTURES = ((5_000_000, 16, 16), (1_000_000, 64, 32), (10_000_000, 4, 8), (200_000, 128, 64))
# sequences, steps, states.
CHAINS = ((4000, 200, 8), (20_000, 100, 4), (2000, 200, 32), (200, 200, 100), (1, 100_000, 8))
QUICK_MIXTURES = ((200_000, 16, 8),)
QUICK_CHAINS = ((500, 100, 8), (1, 5000, 8))
SEED = 7


def all_ceilings(cupy) -> dict[str, float]:
    """Those of k-means, and float64 operations a second."""
    limits = ceilings(cupy)
    source = FMA.replace("float", "double").replace("fmaf", "fma")
    for name in ("0.999999f", "1e-6f", "12345.678f"):
        source = source.replace(name, name[:-1])
    kernel = cupy.RawKernel(source, "fma_chain")
    out, steps = cupy.zeros(1), np.int32(500)
    blocks, threads = 16 * cupy.cuda.Device().attributes["MultiProcessorCount"], 256
    flops = 2.0 * blocks * threads * int(steps) * 16 * 8
    fastest = min(event_seconds(cupy, lambda: kernel((blocks,), (threads,), (out, steps)), 9))
    return {**limits, "float64_flops": flops / fastest}


def model(n: int, d: int, k: int, rng: np.random.Generator):
    """Means, P and log weights of overlapping Gaussians."""
    means = 2 * rng.normal(size=(k, d))
    factors = np.triu(rng.normal(size=(k, d, d))) / np.sqrt(d)
    factors[:, np.arange(d), np.arange(d)] = rng.uniform(0.5, 1.5, (k, d))
    return means, factors, np.log(rng.dirichlet(np.ones(k)))


def agreement(cupy) -> dict[str, str]:
    """Each op beside its specification."""
    rng = np.random.default_rng(SEED)
    calls: list[tuple[str, Any, tuple, float]] = []
    for dtype, rtol in ((np.float32, 1e-4), (np.float64, 1e-11)):
        for n, d, k in ((700, 3, 5), (900, 17, 4), (300, 70, 3)):
            means, P, offsets = model(n, d, k, rng)
            X = rng.normal(size=(n, d)).astype(dtype)
            label = f"{np.dtype(dtype)} {(n, d, k)}"
            diagonal = P[:, np.arange(d), np.arange(d)]
            for name, factors in (("full", P), ("tied", P[:1]), ("diag", diagonal)):
                kind = "diag" if name == "diag" else "full"
                for op in (f"{kind}_log_joint", f"{kind}_step"):
                    arguments = (X, means, np.ascontiguousarray(factors), offsets)
                    calls.append((f"{name} {label}", getattr(mixture, op), arguments, rtol))
    for K, lengths in ((3, (40, 0, 9)), (8, (3000, 20)), (32, (50, 60)), (70, (20, 5))):
        T = sum(lengths)
        rows = rng.normal(size=(T, K)) * 3
        pi, A = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
        arguments = (rows, pi, A, np.array(lengths))
        calls.append((f"{K} {lengths}", hmm.posteriors, arguments, 1e-9))
        calls.append((f"{K} {lengths}", hmm.forward, arguments, 1e-9))
        logs = (rows, np.log(pi), np.log(A), np.array(lengths))
        calls.append((f"{K} {lengths}", hmm.viterbi, logs, 0.0))
    wrong: dict[str, str] = {}
    for label, op, arguments, rtol in calls:
        got, want = op(*map(cupy.asarray, arguments)), op.specification(*arguments)
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        for one, other in pairs:
            size = np.abs(other).max() if np.size(other) else 0.0
            if not np.allclose(cupy.asnumpy(one), other, rtol=rtol, atol=rtol * size):
                wrong[f"{op.name} {label}"] = "differs"
    return wrong


def cupy_full_step(cupy, X, means, P, offsets, rows: int = 1 << 17):
    """The same statistics with CuPy alone: products at float32 and float64, in chunks of rows."""
    k, d = means.shape
    P32 = P.astype(cupy.float32)
    constant = offsets + cupy.log(cupy.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
    constant = constant - 0.5 * d * np.log(2 * np.pi)
    weights, sums, squares = cupy.zeros(k), cupy.zeros((k, d)), cupy.zeros((k, d, d))
    likelihood = cupy.zeros(())
    for i in range(0, len(X), rows):
        part = X[i : i + rows]
        share, total = _shares(
            cupy,
            cupy.stack(
                [
                    constant[j] - 0.5 * (((part - means[j].astype(X.dtype)) @ P32[j]) ** 2).sum(1)
                    for j in range(k)
                ],
                axis=1,
            ),
        )
        likelihood += total
        weights += share.sum(axis=0)
        wide = part.astype(cupy.float64)
        for j in range(k):
            difference = wide - means[j]
            weighted = share[:, j, None] * difference
            sums[j] += weighted.sum(axis=0)
            squares[j] += weighted.T @ difference
    return weights, sums, squares, float(likelihood)


def cupy_diag_step(cupy, X, means, P, offsets, rows: int = 1 << 17):
    """The same for diagonal covariances."""
    k, d = means.shape
    P32, m32 = P.astype(X.dtype), means.astype(X.dtype)
    constant = offsets + cupy.log(P).sum(axis=1) - 0.5 * d * np.log(2 * np.pi)
    weights, sums, squares = cupy.zeros(k), cupy.zeros((k, d)), cupy.zeros((k, d))
    likelihood = cupy.zeros(())
    for i in range(0, len(X), rows):
        part = X[i : i + rows]
        squares_of = [(((part - m32[j]) * P32[j]) ** 2).sum(axis=1) for j in range(k)]
        joint = [constant[j] - 0.5 * squares_of[j] for j in range(k)]
        share, total = _shares(cupy, cupy.stack(joint, axis=1))
        likelihood += total
        weights += share.sum(axis=0)
        wide = part.astype(cupy.float64)
        for j in range(k):
            difference = wide - means[j]
            weighted = share[:, j, None] * difference
            sums[j] += weighted.sum(axis=0)
            squares[j] += (weighted * difference).sum(axis=0)
    return weights, sums, squares, float(likelihood)


def _shares(cupy, joint):
    largest = joint.max(axis=1, keepdims=True)
    share = cupy.exp(joint - largest).astype(cupy.float64)
    total = share.sum(axis=1, keepdims=True)
    return share / total, (largest + cupy.log(total)).sum()


def cupy_posteriors(cupy, rows, pi, A, sequences: int):
    """Scaled forward and backward over equally long sequences, all of them at each step."""
    steps, K = len(rows) // sequences, len(pi)
    logs = rows.reshape(sequences, steps, K)
    largest = logs.max(axis=2, keepdims=True)
    b = cupy.exp(logs - largest)
    alpha, scale = cupy.empty_like(b), cupy.empty((sequences, steps))
    now = pi * b[:, 0]
    for t in range(steps):
        if t:
            now = (now @ A) * b[:, t]
        scale[:, t] = now.sum(axis=1)
        now = now / scale[:, t, None]
        alpha[:, t] = now
    gamma = alpha.copy()
    transitions, beta = cupy.zeros((K, K)), cupy.ones((sequences, K))
    for t in range(steps - 1, 0, -1):
        ahead = b[:, t] * beta / scale[:, t, None]
        transitions += alpha[:, t - 1].T @ ahead
        beta = ahead @ A.T
        gamma[:, t - 1] *= beta
    log_prob = (cupy.log(scale) + largest[:, :, 0]).sum(axis=1)
    return gamma.reshape(-1, K), log_prob, gamma[:, 0].sum(axis=0), transitions * A


def cupy_viterbi(cupy, rows, log_pi, log_A, sequences: int):
    """The best paths of equally long sequences."""
    steps, K = len(rows) // sequences, len(log_pi)
    logs = rows.reshape(sequences, steps, K)
    origins = cupy.empty((steps, sequences, K), cupy.int16)
    v = log_pi + logs[:, 0]
    for t in range(1, steps):
        sums = v[:, :, None] + log_A
        origins[t] = sums.argmax(axis=1)
        v = sums.max(axis=1) + logs[:, t]
    states = cupy.empty((sequences, steps), cupy.int32)
    here = v.argmax(axis=1)
    every = cupy.arange(sequences)
    for t in range(steps - 1, 0, -1):
        states[:, t] = here
        here = origins[t, every, here]
    states[:, 0] = here
    return states.ravel(), v.max(axis=1)


def compare(
    cupy,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    work: dict[str, float],
    limits: dict[str, float],
    rounds: int,
) -> dict[str, Any]:
    """Both in turns; what they give must agree to a thousandth of its size."""
    got, other = ours(), theirs()
    agrees = True
    for one, two in zip(got, other, strict=True):
        one, two = cupy.asarray(one, cupy.float64), cupy.asarray(two, cupy.float64)
        agrees &= bool(cupy.abs(one - two).max() <= 1e-3 * cupy.abs(two).max())
    floor = max(
        work.get("float32", 0.0) / limits["float32_flops"],
        work.get("float64", 0.0) / limits["float64_flops"],
        work["bytes"] / limits["copy_bytes"],
    )
    times: dict[str, list[float]] = {"kernelmill": [], "cupy": []}
    for _ in range(rounds):  # turn by turn, so that both meet the same clock
        times["kernelmill"] += event_seconds(cupy, ours, 1)
        times["cupy"] += event_seconds(cupy, theirs, 1)
    median = statistics.median(times["kernelmill"])
    return {
        "seconds": {
            key: {"median": statistics.median(t), "least": min(t), "most": max(t)}
            for key, t in times.items()
        },
        "work": work,
        "floor_seconds": floor,
        "share_of_floor": floor / median,
        "cupy_over_kernelmill": statistics.median(times["cupy"]) / median,
        "agrees": agrees,
    }


def measure_mixture(cupy, shape: tuple[int, int, int], limits: dict, rounds: int) -> list[dict]:
    n, d, k = shape
    means, P, offsets = map(cupy.asarray, model(n, d, k, np.random.default_rng(SEED)))
    generator = cupy.random.default_rng(SEED)
    X = 2 * generator.standard_normal((n, d), dtype=cupy.float32)
    diagonal = cupy.ascontiguousarray(cupy.diagonal(P, axis1=1, axis2=2))
    full, narrow, size = float(n) * k * d * d, 4.0 * n * k * d, 2.0 * X.nbytes
    found = []
    for name, ours, theirs, work in (
        (
            "full_step",
            lambda: mixture.full_step(X, means, P, offsets),
            lambda: cupy_full_step(cupy, X, means, P, offsets),
            {"float32": full, "float64": full, "bytes": size},
        ),
        (
            "diag_step",
            lambda: mixture.diag_step(X, means, diagonal, offsets),
            lambda: cupy_diag_step(cupy, X, means, diagonal, offsets),
            {"float32": narrow, "float64": narrow, "bytes": size},
        ),
    ):
        case = compare(cupy, ours, theirs, work, limits, rounds)
        found.append({"op": f"mixture.{name}", "n": n, "d": d, "k": k, "dtype": "float32", **case})
    return found


def measure_chains(cupy, shape: tuple[int, int, int], limits: dict, rounds: int) -> list[dict]:
    S, steps, K = shape
    rng = np.random.default_rng(SEED)
    pi, A = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
    rows = cupy.random.default_rng(SEED).standard_normal((S * steps, K))
    pi, A, lengths = cupy.asarray(pi), cupy.asarray(A), cupy.full(S, steps, cupy.int64)
    log_pi, log_A = cupy.log(pi), cupy.log(A)
    size = 2.0 * rows.nbytes
    found = []
    for name, ours, theirs, flops in (
        (
            "posteriors",
            lambda: hmm.posteriors(rows, pi, A, lengths),
            lambda: cupy_posteriors(cupy, rows, pi, A, S),
            6.0,
        ),
        (
            "viterbi",
            lambda: hmm.viterbi(rows, log_pi, log_A, lengths),
            lambda: cupy_viterbi(cupy, rows, log_pi, log_A, S),
            2.0,
        ),
    ):
        work = {"float64": flops * S * steps * K * K, "bytes": size}
        case = compare(cupy, ours, theirs, work, limits, rounds)
        case["seconds_per_step_of_a_sequence"] = case["seconds"]["kernelmill"]["median"] / steps
        found.append({"op": f"hmm.{name}", "sequences": S, "steps": steps, "states": K, **case})
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="small shapes")
    options = parser.parse_args(arguments)
    device = kernelmill.info()["cuda"]
    if not device["usable"]:
        print(f"cuda_em: a GPU must be usable, got none ({device['why']})", file=sys.stderr)
        return 2
    import cupy

    limits = all_ceilings(cupy)
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
    rounds = 3 if options.quick else 7
    for shape in QUICK_MIXTURES if options.quick else MIXTURES:
        report["cases"] += measure_mixture(cupy, shape, limits, rounds)
        cupy.get_default_memory_pool().free_all_blocks()
    for shape in QUICK_CHAINS if options.quick else CHAINS:
        report["cases"] += measure_chains(cupy, shape, limits, rounds if shape[0] > 1 else 3)
        cupy.get_default_memory_pool().free_all_blocks()
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 1 if report["wrong"] or not all(c["agrees"] for c in report["cases"]) else 0


if __name__ == "__main__":
    sys.exit(main())
