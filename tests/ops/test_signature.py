"""Signatures: their grammar, and that the specification and the binder refuse the same calls."""

import numpy as np
import pytest

import kernelmill
from kernelmill import _levels
from kernelmill.ops import elementwise, hmm, kmeans, matmul, mixture, random
from kernelmill.ops._op import Op
from kernelmill.ops._signature import Signature


def function(X, k=1, *, weight=None):
    return X


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X: T[n,d], k: int, weight: T[n]?", "well formed"),  # no results
        ("X: T[n,d], k: int -> y: T[n]", "must name X, k, weight, got X, k"),
        ("X: T[n,d], weight: T[n]?, k: int -> y: T[n]", "must name"),
        ("X: f16[n], k: int, weight: T[n]? -> y: T[n]", "a type must be"),
        ("X: T[n,d], k: float[1,2], weight: T[n]? -> y: T[n]", "a type must be"),
        ("X: T[n,2k], k: int, weight: T[n]? -> y: T[n]", "a size must be"),
        ("X: T[n,d],  k: int, weight: T[n]? -> y: T[n]", "well formed"),
    ],
)
def test_wrong_signatures_are_refused_when_the_op_is_made(text, message):
    with pytest.raises(ValueError, match=message):
        Signature("family.name", text, function)


def test_a_compiled_function_must_fit_the_signature():
    """What C++ would misread is found before a call is made."""
    signature = Signature("kmeans.assign", "X: T[n,d], centers: T[k,d] -> labels: i32[n]",
                          lambda X, centers: None)  # fmt: skip
    with pytest.raises(RuntimeError, match=r"kmeans\.assign: the compiled function must fit"):
        _levels.cpu().describe("kmeans.assign", *signature.encoded(), signature.refuse)


def test_an_op_without_cuda_says_why():
    for op in (kmeans.restarts, hmm.sample_states):
        with pytest.raises(NotImplementedError, match=f"{op.name}: a CUDA .*, got none: ..."):
            op.implementation("cuda")


def test_an_op_may_do_without_a_signature():
    assert Op(function).signature is None
    assert elementwise.exp(np.zeros(2)).tolist() == [1.0, 1.0]


X, C, L = np.ones((4, 3)), np.ones((2, 3)), np.array([4])
LABELS, NONE = np.zeros(4, np.int32), np.empty((0, 2))
READ_ONLY = np.zeros(4, np.int32)
READ_ONLY.flags.writeable = False
UNALIGNED = np.zeros(17, np.uint8)[1:].view(np.int32)


@pytest.mark.parametrize(
    ("op", "args", "kwargs", "error", "message"),
    [
        (kmeans.assign, (X,), {}, TypeError, "missing a required argument: 'centers'"),
        (kmeans.assign, (X, C, C), {}, TypeError, "too many positional arguments"),
        (kmeans.assign, (X, C), {"k": 1}, TypeError, "unexpected keyword argument 'k'"),
        (kmeans.assign, (X, C), {"centers": C}, TypeError, "multiple values"),
        (kmeans.assign, (X, C.tolist()), {}, TypeError, "centers must be a NumPy array, got list"),
        (kmeans.assign, (X, None), {}, TypeError, "centers must be a NumPy array, got NoneType"),
        (kmeans.assign, (X, C[0]), {}, ValueError,
         r"centers must be float64 of shape \(k, 3\) with k >= 1, got float64 of shape \(3,\)"),
        (kmeans.assign, (X.astype(np.float16), C), {}, ValueError,
         r"X must be float32 or float64 of shape \(n, d\), got float16 of shape \(4, 3\)"),
        (kmeans.assign, (X.reshape(1, 1, 1, 4, 3), C), {}, ValueError, "X must be"),
        (kmeans.lloyd_step, (X, C), {"sample_weight": np.ones((4, 1))}, ValueError,
         r"sample_weight must be float64 of shape \(4,\), got float64 of shape \(4, 1\)"),
        (kmeans.lloyd, (X, C, LABELS, NONE, None, "3"), {}, TypeError, "must be an integer"),
        (kmeans.lloyd, (X, C, LABELS, NONE, None, 3.0), {}, TypeError, "must be an integer"),
        (kmeans.lloyd, (X, C, LABELS, NONE), {"tol": "x"}, TypeError, "tol must be a number"),
        (kmeans.lloyd, (X, C, LABELS, NONE), {"n_steps": 2**63}, ValueError, "n_steps must be in"),
        (kmeans.lloyd, (X, C, np.zeros(8, np.int32)[::2], NONE), {}, ValueError,
         "labels must be a writeable C-contiguous array of int32 .* that is not C-contiguous"),
        (kmeans.lloyd, (X, C, READ_ONLY, NONE), {}, ValueError, "labels must .* read-only"),
        (kmeans.lloyd, (X, C, UNALIGNED, NONE), {}, ValueError, "labels must .* unaligned"),
        (kmeans.lloyd, (X, C, LABELS.astype(">i4"), NONE), {}, ValueError, "byte-swapped"),
        (kmeans.lloyd, (X, C, LABELS, np.empty((3, 2))), {}, ValueError,
         r"bounds must be .* of shape \(4, 2\) or \(0, 2\), got float64 of shape \(3, 2\)"),
        (kmeans.plus_plus, (X, np.ones((1, 1, 1, 1))), {}, ValueError,
         r"uniforms must be float64 of shape \(k, t\) or \(r, k, t\) with t >= 1"),
        (mixture.full_log_joint, (X, C, np.ones((3, 3, 3)), np.ones(2)), {}, ValueError,
         r"precisions_cholesky must be float64 of shape \(2, 3, 3\) or \(1, 3, 3\)"),
        (mixture.full_moments, (X, np.ones((4, 2)), C[:1]), {}, ValueError,
         r"means must be float64 of shape \(2, 3\)"),
        (hmm.forward, (X, np.ones(3), np.ones((3, 3)), L[None]), {}, ValueError,
         r"lengths must be int64 of shape \(S,\), got int64 of shape \(1, 1\)"),
        (matmul.matmul, (X, C), {}, ValueError, r"B must be float64 of shape \(3, n\)"),
        (random.uniform, (2**64, 0, 0, 1), {}, ValueError, r"seed must be in \[0, 2\*\*64\), got"),
        (random.uniform, (0, 0, 0, 1, "float16"), {}, ValueError, "dtype must be float32 or"),
        (random.integers, (0, 0, 0, 1, 0), {}, ValueError, r"high must be in \[1, 2\*\*63\], got"),
    ],
)  # fmt: skip
def test_refusals_are_the_same_everywhere(op, args, kwargs, error, message):
    said = []
    for backend in ("cpu", "numpy"):
        with kernelmill.backend(backend), pytest.raises(error, match=message) as raised:
            op(*args, **kwargs)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert said[0].startswith(f"{op.name}: ")


def test_named_arguments_and_defaults():
    given = kmeans.lloyd(X, centers=C, bounds=NONE, labels=LABELS.copy(), n_steps=np.int64(1))
    want = kmeans.lloyd(X, C, LABELS.copy(), NONE, None, True, 0.0)
    for a, b in zip(given, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [type(value) for value in given[2:]] == [int, float, int]


def test_a_subclass_of_ndarray_is_accepted(tmp_path):
    rows = np.memmap(tmp_path / "rows", np.float64, "w+", shape=X.shape)
    rows[:] = X
    np.testing.assert_array_equal(kmeans.assign(rows, C)[1], kmeans.assign(X, C)[1])
