"""Runs the emulated CUDA twins beside the specifications; exits with an error where they differ.

``python agree.py <folder of the emulated _cuda>``; the seed of the emulator also draws the data.
Small integers make sums exact, so most comparisons are bit for bit.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [sys.argv[1], str(HERE), str(HERE.parent / "ops")]
import agreement  # noqa: E402
import cupy  # noqa: E402 - the stand-in of this folder

from kernelmill import ops  # noqa: E402
from kernelmill.ops import (  # noqa: E402
    elementwise,
    hmm,
    kmeans,
    matmul,
    mixture,
    pairwise,
    random,
    silhouette,
)

twins = importlib.import_module("_cuda")
for _op in ops.all_ops().values():
    _op._loaded(twins, cuda=True)  # tells the module the signatures
rng = np.random.default_rng(int(os.environ.get("KERNELMILL_EMULATOR_SEED", "0")))
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}


def on_host(value):
    if isinstance(value, tuple):
        return tuple(map(on_host, value))
    return value.host if isinstance(value, cupy.ndarray) else value


def run(op, *arguments):
    """The twin's result for NumPy arguments."""
    twin = getattr(getattr(twins, op.family), op.op_name)
    return on_host(twin(*(cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments)))


def agree(got, want, rtol=0.0, atol=0.0):
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            agree(one, other, rtol=rtol, atol=atol)
        return
    if isinstance(want, np.ndarray):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def refused(error, op, *arguments):
    with pytest.raises(error, match=f"^{re.escape(op.name)}: "):
        run(op, *arguments)


def exact_kmeans(T):
    shapes = [(0, 3, 2), (1, 1, 1), (5, 0, 3), (64, 3, 31), (65, 16, 32), (129, 17, 33)]
    shapes += [(127, 5, 64), (130, 33, 65), (128, 4, 128), (131, 9, 129), (300, 19, 257)]
    for n, d, k in shapes:
        X = rng.integers(-8, 9, (n, d)).astype(T)
        C = rng.integers(-8, 9, (k, d)).astype(float)
        C[k // 2] = C[0]  # a tie
        w = rng.integers(0, 4, n).astype(T)
        agree(run(kmeans.assign, X, C), kmeans.assign.specification(X, C))
        for weight in (None, w):
            want = kmeans.lloyd_step.specification(X, C, weight)
            agree(run(kmeans.lloyd_step, X, C, weight), want, rtol=1e-15)


def rounded_kmeans(T):
    n, d, k = 300, 40, 70
    X = (rng.normal(size=(n, d)) + 1e3).astype(T)
    C = rng.normal(size=(k, d)) + 1e3
    labels, squared = run(kmeans.assign, X, C)
    want_labels, want_squared = kmeans.assign.specification(X, C)
    same = labels == want_labels
    assert same.mean() > 0.99
    agree(squared[same], want_squared[same], rtol=4 * EPS[T])
    for view in (
        np.asfortranarray(X),
        X[::-1],
        X.repeat(2, axis=1)[:, ::2],
        np.hstack([X, X])[:, :d],
    ):
        strided = on_host(twins.kmeans.assign(cupy.ndarray(view), cupy.asarray(C)))
        agree(strided, run(kmeans.assign, np.ascontiguousarray(view), C))  # the same bits
    X[3, 2], X[5] = np.nan, np.inf
    labels, squared = run(kmeans.assign, X, C)
    assert ((labels >= 0) & (labels < k)).all()
    assert not np.isfinite(squared[[3, 5]]).any()
    assert np.isfinite(np.delete(squared, [3, 5])).all()


def lloyd(T):
    X = rng.integers(0, 60, (260, 3)).astype(T)
    w = rng.integers(0, 3, 260).astype(T)
    for k, n_steps, tol in ((5, 0, 0.0), (5, 1, 0.0), (5, 60, 0.0), (5, 60, 1.0), (40, 3, 0.0)):
        C = X[:k].astype(float) + 0.25
        if k == 40:
            C[7] = 1e6  # nobody's center, and so far off that it must not choose the origin
        for weight in (None, w):
            ours = [np.full(260, -1, np.int32), np.zeros((260, 2), T)]
            theirs = [a.copy() for a in ours]
            ours = [cupy.asarray(a) for a in ours]
            moved = on_host(
                twins.kmeans.lloyd(
                    cupy.asarray(X),
                    cupy.asarray(C),
                    *ours,
                    None if weight is None else cupy.asarray(weight),
                    n_steps,
                    tol,
                )
            )
            want = kmeans.lloyd.specification(X, C, *theirs, weight, n_steps, tol)
            agree(moved, want, rtol=1e-9, atol=1e-12)
            agree(ours[0].host, theirs[0])
            assert np.isinf(ours[1].host[:, 0]).all()
            assert (ours[1].host[:, 1] == 0).all()


def seeding(T):
    X = rng.integers(0, 50, (1500, 2)).astype(T)
    w = rng.integers(0, 2, 1500).astype(T)
    repeated = np.repeat(rng.integers(0, 3, (2, 3)).astype(T), 200, axis=0)
    uniforms = rng.uniform(size=(6, 9))
    for rows, weight, u in (
        (X, None, uniforms),
        (X, w, uniforms),
        (X, w, np.full((4, 2), 1 - 2.0**-53)),
        (X, w, np.zeros((4, 1))),
        (repeated, None, uniforms),  # fewer distinct rows than seeds
    ):
        want = kmeans.plus_plus.specification(rows, u, weight)
        agree(run(kmeans.plus_plus, rows, u, weight), want)
    refused(ValueError, kmeans.plus_plus, X, uniforms, 0 * w)
    several = rng.uniform(size=(3, 5, 4))
    agree(run(kmeans.plus_plus, X, several), kmeans.plus_plus.specification(X, several))


def minibatch(T):
    X = rng.integers(-9, 9, (150, 7)).astype(T)
    w = rng.integers(0, 3, 150).astype(T)
    C = rng.normal(size=(12, 7)) * 9
    seen = rng.integers(0, 5, 12).astype(float)
    for rows in (rng.integers(0, 150, 70), np.empty(0, np.int64)):
        for weight in (None, w):
            want = kmeans.minibatch_step.specification(X, rows, C, seen, weight)
            agree(run(kmeans.minibatch_step, X, rows, C, seen, weight), want, rtol=1e-13)
    refused(IndexError, kmeans.minibatch_step, X, np.array([0, 150]), C, seen)
    refused(IndexError, kmeans.minibatch_step, X, np.array([3, -1]), C, seen)


def distances(T):
    for n, m, d in ((0, 3, 2), (3, 0, 2), (1, 1, 1), (5, 7, 0), (129, 65, 17), (100, 130, 33)):
        X, Y = ((rng.normal(size=(rows, d)) + 100).astype(T) for rows in (n, m))
        if min(n, m, d):
            Y[0] = X[0]
        bound = 2 * (d + 4) * EPS[T]
        for squared in (False, True):
            want = pairwise.euclidean.specification(X, Y, squared)
            agree(run(pairwise.euclidean, X, Y, squared), want, rtol=bound)
        offsets = np.sort(np.r_[0, rng.integers(0, m + 1, 3), m]).astype(np.int64)
        want = silhouette.cluster_distance_sums.specification(X, Y, offsets)
        agree(run(silhouette.cluster_distance_sums, X, Y, offsets), want, rtol=bound)
    refused(ValueError, silhouette.cluster_distance_sums, X, Y, np.array([0, 50, 30, 130]))


def elementary(T):
    # The C library's functions stand in for CUDA's: this checks places, not accuracy.
    for name in ("exp", "log", "log1p", "tanh", "erf", "logistic"):
        op = getattr(elementwise, name)
        for shape in ((), (0,), (1,), (1027,), (5, 3, 7)):
            x = np.asarray(5 * rng.normal(size=shape), T)
            agree(run(op, x), op.specification(x), rtol=8 * EPS[T])
        x = cupy.asarray(rng.normal(size=(40, 30)).astype(T))
        for view in (x.host[::-2, 1::3], x.host.ravel()[1:]):  # strided, unaligned
            got = on_host(getattr(twins.elementwise, name)(cupy.ndarray(view)))
            agree(got, op.specification(view), rtol=8 * EPS[T])


def numbers(T):
    for start in (0, 1, 3, 2**62):
        for n in (0, 1, 2, 7, 1000):
            where = 2**64 - 1, 7, start, n
            agree(run(random.uniform, *where, T), random.uniform.specification(*where, T))
            want = random.normal.specification(*where, T)
            agree(run(random.normal, *where, T), want, rtol=8 * EPS[T], atol=1e-30)
            for high in (1, 6, 2**63):
                agree(
                    run(random.integers, *where, high), random.integers.specification(*where, high)
                )
    refused(ValueError, random.uniform, -1, 0, 0, 1)
    refused(ValueError, random.uniform, 0, 0, 2**63, 1)
    refused(ValueError, random.integers, 0, 0, 0, 1, 0)


def product(T):
    A, B, C = (rng.integers(-4, 5, shape).astype(T) for shape in ((5, 4), (4, 3), (5, 3)))
    agree(run(matmul.matmul, A, B), matmul.matmul.specification(A, B))
    agree(run(matmul.matmul, A, B, C, 2.0, 0.5), matmul.matmul.specification(A, B, C, 2.0, 0.5))
    agree(run(matmul.matmul, A[:, :0], B[:0]), matmul.matmul.specification(A[:, :0], B[:0]))
    refused(ValueError, matmul.matmul, A, B, None, 1.0, 2.0)
    refused(ValueError, matmul.matmul, A, A)


def chained(T):
    """Long sequences, cut into segments, beside the recursions in extended precision."""
    if T is np.float32:
        return  # hmm ops know one dtype
    for K, kind in ((1, "full"), (2, "full"), (3, "banded"), (5, "full"), (6, "identity")):
        lengths = np.array([600, 0, 1, 80, 577], np.int64)
        total = int(lengths.sum())
        pi = rng.dirichlet(np.ones(K))
        A = np.eye(K) if kind == "identity" else rng.dirichlet(np.ones(K), K)
        if kind == "banded":
            A = np.triu(A)  # some states are never reached again
        x = rng.normal(size=(total, K)) * rng.choice([1.0, 30.0], (total, 1))
        x[rng.uniform(size=total) < 0.1] = 0.0
        if kind == "identity":  # what the first rows speak against wins in the end
            x[:300] = -40.0 * (np.arange(K) > 0)
            x[300:600] = -50.0 * (np.arange(K) == 0)
        w = rng.uniform(size=len(lengths))
        for odd in ("none", "impossible", "nan"):
            if odd == "impossible":
                x[700] = -np.inf
            elif odd == "nan":
                x[900, K // 2] = np.nan
            wide = (a.astype(np.longdouble) for a in (x, pi, A))
            with np.errstate(invalid="ignore", divide="ignore"):
                want = hmm_in_extended_precision(*wide, lengths, w)
            # Each row adds a rounding of numbers as large as a log density; so does each segment,
            # of numbers as large as those of 32 rows.
            atol = 8 * EPS[T] * total * (K + 200)
            agree(run(hmm.forward, x, pi, A, lengths)[0], want[0], atol=atol)
            got = run(hmm.posteriors, x, pi, A, lengths, w)
            agree(got[0], want[1], atol=atol)
            agree(got[1], want[2], rtol=2 * total * EPS[T], atol=atol)
            agree(got[2:], want[3:], rtol=atol, atol=atol)
            again = run(hmm.posteriors, x, pi, A, lengths, w)
            agree(again, got)  # the same bits


def hmm_in_extended_precision(x, pi, A, lengths, w):
    filtered, gamma = np.zeros(x.shape), np.zeros(x.shape)
    log_prob, starts, transitions = np.zeros(len(lengths)), np.zeros(len(pi)), np.zeros(A.shape)
    for s, span in enumerate(hmm._spans(lengths)):
        if span.start == span.stop:
            continue
        b = x[span]
        alpha, beta = hmm._log_alpha(b, pi, A), hmm._log_beta(b, A)
        total = hmm._log_sum_exp(alpha[-1])
        filtered[span] = hmm._normalised(alpha)
        log_prob[s] = total
        if total == -np.inf:
            continue
        gamma[span] = hmm._normalised(alpha + beta)
        starts += w[s] * gamma[span.start]
        pairs = alpha[:-1, :, None] + np.log(A) + (b[1:] + beta[1:])[:, None, :]
        transitions += w[s] * np.exp(pairs - total).sum(axis=0).astype(float)
    return filtered, gamma, log_prob, starts, transitions


def many_states(T):
    """Vectors that leave shared memory, predecessors that leave a byte."""
    if T is np.float32:
        return
    K, lengths = 515, np.array([3, 0, 2], np.int64)
    x, A = rng.normal(size=(5, K)), rng.dirichlet(np.ones(K), K)
    pi, w = rng.dirichlet(np.ones(K)), np.array([2.0, 1.0, 0.5])
    model = x, pi, A, lengths
    atol = 8 * EPS[T] * K
    agree(run(hmm.forward, *model), hmm.forward.specification(*model), atol=atol)
    want = hmm.posteriors.specification(*model, w)
    agree(run(hmm.posteriors, *model, w), want, atol=atol)
    tied = np.round(x), np.round(20 * pi), np.round(-3 * rng.uniform(size=(K, K))), lengths
    agree(run(hmm.viterbi, *tied), hmm.viterbi.specification(*tied))
    K = 1030
    tied = np.zeros((2, K)), np.zeros(K), -np.eye(K), np.array([2], np.int64)
    agree(run(hmm.viterbi, *tied), hmm.viterbi.specification(*tied))


def exact_mixtures(T):
    """Small integers: moments are exact, also where rows are cut into many pieces."""
    for n, d, k in ((0, 2, 1), (1, 1, 1), (1030, 3, 5), (1100, 17, 2), (600, 40, 3), (530, 70, 2)):
        X = rng.integers(-8, 9, (n, d)).astype(T)
        share = rng.integers(0, 5, (n, k)).astype(float)
        means = rng.integers(-4, 5, (k, d)).astype(float)
        for arguments in ((X, share, means), (X, share, means, True)):
            want = mixture.full_moments.specification(*arguments)
            agree(run(mixture.full_moments, *arguments), want)
        want = mixture.diag_moments.specification(X, share, means)
        agree(run(mixture.diag_moments, X, share, means), want)
    # Steps go over the rows in blocks of 2^23 / k: many components make blocks of few rows.
    n, d, k = 1030, 2, 8000
    X, means = rng.normal(size=(n, d)).astype(T), rng.normal(size=(k, d))
    P, offsets = np.ones((k, d)), np.full(k, -np.log(k))
    w = rng.integers(0, 3, n).astype(T)
    X[w == 0] = np.nan
    want = mixture.diag_step.specification(X, means, P, offsets, w)
    # A responsibility is off by a few eps of its log joint, here below 100, times itself.
    bound = 100 * 8 * EPS[T]
    if T is np.float32:
        agree(run(mixture.diag_step, X, means, P, offsets, w), want, rtol=bound, atol=bound)
    else:
        tied = run(mixture.full_step, X, means, np.eye(d)[None], offsets, w)
        agree(tied[:2], want[:2], rtol=bound, atol=bound)
        agree(np.diagonal(tied[2][0]), want[2].sum(axis=0), rtol=bound)


def refusals(T):
    """What a twin refuses carries the op's name."""
    x, pi, A = np.zeros((5, 3)), np.ones(3), np.ones((3, 3))
    for n in (np.array([4]), np.array([6, -1]), np.array([2**62, 2**62, 2**63 - 1, 6]), np.ones(5)):
        refused(ValueError, hmm.forward, x, pi, A, n)
        refused(ValueError, hmm.viterbi, x, pi, A, n)
    five = np.array([5])
    refused(ValueError, hmm.forward, x, pi[:2], A, five)
    refused(ValueError, hmm.forward, x, pi, A[:2], five)
    refused(ValueError, hmm.forward, x[:, :0], pi[:0], A[:0, :0], five)
    refused(ValueError, hmm.posteriors, x, pi, A, five, np.ones(2))
    refused(TypeError, hmm.forward, x, None, A, five)
    refused(ValueError, hmm.symbol_counts, np.full(5, 2), x, 2)
    refused(ValueError, hmm.symbol_counts, np.full(5, -1), x, 0)
    refused(ValueError, hmm.symbol_counts, np.full(4, 0), x, 1)
    X, P, c = x.astype(T), np.ones((2, 3)), np.zeros(2)
    m, full = np.zeros((2, 3)), np.ones((2, 3, 3))
    refused(ValueError, mixture.full_log_joint, X, m[:, :2], full, c)
    refused(ValueError, mixture.full_log_joint, X, m[:0], full[:0], c[:0])
    refused(ValueError, mixture.full_log_joint, X, m, full[:, :2], c)
    refused(ValueError, mixture.diag_log_joint, X, m, P.astype(np.float32), c)
    refused(ValueError, mixture.diag_step, X, m, P, c[:1])
    refused(ValueError, mixture.full_step, X, m, full, c, np.ones(4, T))
    refused(ValueError, mixture.responsibilities, X[:, :0])
    refused(ValueError, mixture.full_moments, X, np.ones((5, 3)), m)
    refused(TypeError, mixture.diag_moments, X, None, m)


def cases_of_the_ops(T):
    """All that the C++ twins of these families are tested with."""
    if T is np.float32:
        return  # the cases have both dtypes
    for family in ("mixture", "hmm"):
        importlib.import_module(f"test_{family}")
        for name, op in sorted(ops.all_ops().items()):
            if op.family != family or op.cuda:
                continue
            twin = getattr(getattr(twins, family), name.partition(".")[2])
            for case in agreement.generators[name]():
                if case.big:
                    continue  # for the thread pools of the others
                want = agreement.run(op.specification, case)
                try:
                    agreement.compare(case, agreement.run(twin, case, "cuda"), want)
                except AssertionError as error:
                    raise AssertionError(f"{name} [{case.name}]: {error}") from error


FAMILIES = (
    exact_kmeans,
    rounded_kmeans,
    lloyd,
    seeding,
    minibatch,
    distances,
    elementary,
    numbers,
    product,
    exact_mixtures,
    chained,
    many_states,
    refusals,
    cases_of_the_ops,
)

if __name__ == "__main__":
    for family in FAMILIES:
        for dtype in (np.float32, np.float64):
            family(dtype)
