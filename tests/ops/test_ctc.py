"""The CTC loss against its specification, all paths of small cases, and torch."""

import itertools

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import ctc

# Steps, samples, classes, most labels.
SHAPES = ((5, 3, 4, 2), (12, 4, 6, 5), (1, 2, 3, 1), (9, 1, 2, 4), (30, 3, 5, 13), (20, 2, 40, 8),
          (0, 3, 3, 2), (6, 0, 3, 2), (4, 2, 3, 0), (3, 2, 1, 0), (40, 2, 3, 17))  # fmt: skip
BIG = (60, 25, 30, 20)


def batch(shape, dtype, seed=0, scale=1.0):
    """Samples of all lengths, with equal neighbours among the labels."""
    rng = np.random.default_rng(seed)
    steps, n, classes, most = shape
    z = scale * rng.normal(size=(steps, n, classes))
    log_probs = (z - np.log(np.exp(z).sum(2, keepdims=True))).astype(dtype)
    target = rng.integers(0, classes - 1, (n, most)) if classes > 1 else np.zeros((n, most), int)
    blank = classes // 2
    target += target >= blank
    target[:, 1::2] = np.where(rng.random((n, most // 2)) < 0.4, target[:, : most // 2 * 2 : 2],
                               target[:, 1::2])  # fmt: skip
    lengths = rng.integers(max(steps - 3, 0), steps + 1, n)
    return log_probs, target, lengths, rng.integers(most // 2, most + 1, n), blank


def batches():
    """Arguments, and whether they are big."""
    for dtype in DTYPES:
        for shape in (*SHAPES, BIG):
            yield f"{shape}", batch(shape, dtype), shape == BIG
        log_probs, *rest = batch((30, 3, 5, 6), dtype, 1, 200.0)
        yield "far apart", (log_probs, *rest), False
        log_probs, *rest = batch((12, 4, 4, 3), dtype, 2)
        log_probs[np.random.default_rng(3).random(log_probs.shape) < 0.3] = -np.inf
        log_probs[4, 1] = -np.inf
        log_probs[3, 2, 1] = np.nan
        yield "-inf and NaN", (log_probs, *rest), False


def error(arguments):
    """Of log alpha and log beta: a rounding of their size a step, and those of exp and log."""
    log_probs, _, lengths, _, _ = arguments
    y = np.where(np.isfinite(log_probs), log_probs, 0).astype(np.float64)
    size = np.abs(y).max(2, initial=0).sum(0)
    return 2.3e-16 * (lengths + 1) * (size + 8)


@cases("ctc.forward")
def losses():
    for name, arguments, big in batches():
        want = ctc.forward.specification(*arguments).astype(np.float64)
        size = np.where(np.isfinite(want), np.abs(want), 0)
        bound = error(arguments) + eps(arguments[0]) * size
        yield Case(name, arguments, bounds=(bound,), big=big)


@cases("ctc.gradient")
def gradients():
    for name, arguments, big in batches():
        want, gamma = (a.astype(np.float64) for a in ctc.gradient.specification(*arguments))
        size = np.where(np.isfinite(want), np.abs(want), 0)
        bound = error(arguments) + eps(arguments[0]) * size
        share = np.where(np.isfinite(gamma), np.abs(gamma), 0)
        relative = 3 * error(arguments)[:, None] + eps(arguments[0])
        yield Case(name, arguments, bounds=(bound, relative * share + 1e-40), big=big)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("ctc")


def summed(y, labels, blank):
    """p and gamma from all paths that give the labels, by trying all of them."""
    p, gamma = 0.0, np.zeros(y.shape)
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == labels:
            mass = np.prod([y[t, k] for t, k in enumerate(path)])
            p += mass
            for t, k in enumerate(path):
                gamma[t, k] += mass
    return p, gamma


@pytest.mark.parametrize(
    "labels", [[], [1], [1, 1], [2, 1], [1, 2, 1], [1, 1, 1], [2, 2, 1]], ids=str
)
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 6])
def test_all_paths_agree(labels, steps):
    """Classes of a step need not add up to 1; -gamma is the derivative in each of them alone."""
    y = np.random.default_rng(steps).random((steps, 3))
    rest = (np.array([labels], int).reshape(1, -1), np.array([steps]), np.array([len(labels)]))
    (loss,), derivative = ctc.gradient(np.log(y)[:, None], *rest)
    p, gamma = summed(y, labels, 0)
    repeats = sum(a == b for a, b in itertools.pairwise(labels))
    assert (p > 0) == (len(labels) + repeats <= steps)
    np.testing.assert_allclose(loss, -np.log(p) if p else np.inf, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(derivative[:, 0], -gamma / (p or 1), rtol=1e-12, atol=1e-15)


def test_posteriors_add_up_to_one():
    log_probs, target, lengths, target_lengths, blank = batch((50, 6, 7, 9), np.float64)
    _, derivative = ctc.gradient(log_probs, target, lengths, target_lengths, blank)
    for n, steps in enumerate(lengths):
        np.testing.assert_allclose(derivative[:steps, n].sum(1), -1, rtol=1e-12)
        assert not derivative[steps:, n].any()


def test_long_sequences_do_not_underflow():
    """p of about exp(-20000); a shift of a step's logarithms moves the loss by as much."""
    log_probs, target, lengths, target_lengths, blank = batch((4000, 2, 3, 60), np.float64, 5, 5.0)
    want, first = ctc.gradient(log_probs, target, lengths, target_lengths, blank)
    got, second = ctc.gradient(log_probs - 5.0, target, lengths, target_lengths, blank)
    np.testing.assert_allclose(got, want + 5.0 * lengths, rtol=1e-12)
    np.testing.assert_allclose(second, first, rtol=1e-7, atol=1e-12)
    assert np.isfinite(want).all()


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("op", [ctc.forward, ctc.gradient], ids=["forward", "gradient"])
def test_wrong_calls_are_refused(op, i):
    call = [op.implementation("cpu"), op.specification][i]
    x, one, two = np.zeros((2, 1, 3)), np.array([1]), np.array([2])
    for arguments, message in (
        ((x, one[:, None], two, one, 3), r"blank must be in \[0, 3\), got 3"),
        ((x, one[:, None], two + 1, one, 0), r"input_lengths must be in \[0, 2\], got 3"),
        ((x, one[:, None], two, two, 0), r"target_lengths must be in \[0, 1\], got 2"),
        ((x, one[:, None] + 2, two, one, 0), r"in \[0, 3\) other than the blank, 0, got 3"),
        ((x, one[:, None], two, one, 1), r"in \[0, 3\) other than the blank, 1, got 1"),
    ):
        with pytest.raises(ValueError, match=f"ctc.{op.op_name}: .*{message}"):
            call(*arguments)
