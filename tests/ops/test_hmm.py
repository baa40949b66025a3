"""hmm ops against their specification, and against sums over all paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from agreement import Case, agreement_tests, cases, last_tie

import kernelmill
from kernelmill.ops import hmm

STATES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 100)  # around lanes, rows and panels
EPS = float(np.finfo(np.float64).eps)


def probabilities(rng, *shape):
    p = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    return p / p.sum(axis=-1, keepdims=True)


def model(K, kind="positive", seed=0):
    """startprob and transmat of one of the kinds that the twins treat differently."""
    rng = np.random.default_rng([seed, K])
    pi, A = probabilities(rng, K), probabilities(rng, K, K)
    if kind == "banded":  # a cycle with jumps ahead
        reach = (np.arange(K)[None, :] - np.arange(K)[:, None]) % K
        A = np.where(reach <= 2, A, 0.0)
    elif kind == "left-right":
        A = np.triu(A) * (np.arange(K)[None, :] - np.arange(K)[:, None] <= 2)
        pi = np.eye(K)[0]
    elif kind == "tiny":
        A = A ** rng.choice([1.0, 40.0, 300.0], (K, K))  # down to the smallest numbers
        A[0, 0] = 1e-310
        pi[-1] = 5e-324
    elif kind == "subnormalised":
        return pi * 0.3, A * rng.uniform(0.01, 0.9, (K, 1))
    elif kind == "large":
        return pi * 1e200, A * 1e150
    elif kind == "dead end":
        A[rng.integers(K)] = 0.0
    if kind not in ("tiny", "dead end", "positive"):
        A /= A.sum(axis=1, keepdims=True)
    return pi, A


def densities(T, K, kind="normal", seed=0):
    rng = np.random.default_rng([seed, T, K])
    x = rng.normal(-2.0, 3.0, (T, K))
    if kind == "separated":  # one state explains each row, the others are hopeless
        x = -(rng.choice([0.0, 30.0, 400.0, 5000.0], (T, K)) + rng.random((T, K)))
    elif kind == "zeros":
        x[rng.random((T, K)) < 0.4] = -np.inf
        x[np.arange(T), rng.integers(K, size=T)] = 0.0
    elif kind == "impossible":
        x[T // 2] = -np.inf
    elif kind == "missing":
        x[rng.random(T) < 0.5] = 0.0
    elif kind == "far":
        x += 1e5 * rng.normal(size=(T, 1))
    elif kind == "nan":
        x[T // 2, K // 2] = np.nan
    return x


def lengths_of(T, seed=0):
    """Some sequences: empty ones, one of a single row, the rest of uneven lengths."""
    rng = np.random.default_rng([seed, T])
    cuts = np.sort(rng.integers(0, T + 1, 3))
    cuts = np.concatenate([[0, 0, min(T, 1)], np.maximum(cuts, min(T, 1)), [T, T]])
    return np.diff(cuts).astype(np.int64)


def one(T):
    return np.array([T], dtype=np.int64)


def tolerance(x, pi, A):
    """Largest difference of a probability or of a log-likelihood between scaled and log space.

    Scaled: 2 T K eps relative. The specification adds logarithms: each of T steps rounds numbers
    as large as the running sum of everything that was added, three times.
    """
    T, K = x.shape
    finite = np.where(np.isfinite(x), np.abs(x), 0.0).max(axis=1, initial=0.0).sum()
    positive = np.concatenate([A[A > 0], pi[pi > 0], [1.0]])
    size = finite + (T + 1) * (np.abs(np.log(positive)).max() + np.log(K + 1.0))
    return 4 * EPS * (T + 1) * (K + size)


def settings():
    """Name, model and data of every kind that the three recursions must survive."""
    for K in STATES:
        T = 41 if K < 64 else 17
        yield f"K={K}", model(K), densities(T, K), lengths_of(T)
    for kind in ("banded", "left-right", "tiny", "subnormalised", "large", "dead end"):
        for data in ("normal", "separated", "zeros", "missing", "far"):
            for K in (3, 8, 19):
                T = 37
                yield f"{kind} {data} {K}", model(K, kind), densities(T, K, data), lengths_of(T)
    for data in ("separated", "zeros", "impossible", "missing", "far", "nan"):
        for K in (1, 4, 6, 21):
            yield f"{data} {K}", model(K), densities(29, K, data), lengths_of(29)
    yield "no rows", model(3), densities(0, 3), np.zeros(2, np.int64)
    yield "no sequences", model(3), densities(0, 3), np.zeros(0, np.int64)
    yield "no state can start", (np.zeros(3), model(3)[1]), densities(9, 3), lengths_of(9)
    yield "no transitions", (model(3)[0], np.zeros((3, 3))), densities(9, 3), lengths_of(9)
    # More states than a GPU keeps in shared memory, or names in a byte.
    yield "K=515", model(515), densities(5, 515), np.array([3, 0, 2])
    yield from swings()


def swings():
    """Evidence that turns round after what it spoke against has underflowed in a scaled pass."""
    for K in (2, 5, 18):
        for there, back in ((60, 70), (25, 90), (90, 60)):  # forward turns, the last backward
            x = np.zeros((there + back, K))
            x[:there, 0] = -30.0
            x[there:, 1:] = -30.0
            pi, A = np.full(K, 1.0 / K), np.eye(K)
            yield f"identity {K} {there}", (pi, A), x, one(len(x))
            loose = 0.9 * np.eye(K) + 1e-200 / K
            yield f"loose identity {K} {there}", (pi, loose), x, one(len(x))
            late = np.eye(K) * 0.5
            late[:, -1] += 0.5
            yield f"drain {K} {there}", (pi, late), x, one(len(x))
    # beta underflows where alpha does not: only state 0 can start, only the others look likely.
    x = np.zeros((80, 3))
    x[1:, 0] = -25.0
    yield "unlikely from the start", (np.array([1.0, 0, 0]), np.eye(3)), x, one(80)
    # A step that keeps 1e-260 of the mass, and one that keeps e^-1500.
    for gap in (600.0, 1500.0):
        x = np.zeros((6, 2))
        x[3, 0] = -gap
        yield f"gap {gap}", (np.array([1.0, 0.0]), np.array([[1.0, 0], [0.3, 0.7]])), x, one(6)


def big():
    """More than one chunk: many short sequences, and single ones that are split."""
    rng = np.random.default_rng(9)
    lengths = rng.integers(0, 40, 200)
    T = int(lengths.sum())
    yield "short sequences", model(8), densities(T, 8), lengths
    yield "one long sequence", model(33), densities(900, 33), one(900)
    yield "one long odd sequence", model(30, "banded"), densities(900, 30, "zeros"), one(900)
    lengths = np.array([700, 3, 0, 650, 20, 1, 40], dtype=np.int64)
    x = densities(int(lengths.sum()), 32)
    x[800] = -np.inf  # the second long one is impossible
    yield "long and short", model(32), x, lengths
    for K, kind in ((1, "positive"), (2, "positive"), (3, "left-right"), (5, "positive")):
        x = densities(int(lengths.sum()), K) * rng.choice([1.0, 10.0], (int(lengths.sum()), 1))
        x[rng.random(len(x)) < 0.1] = 0.0
        yield f"long and short K={K}", model(K, kind), x, lengths
    x = np.zeros((600, 6))  # what the first rows speak against wins in the end, segments later
    x[:300, 1:], x[300:, 0] = -40.0, -50.0
    yield "long identity", (np.full(6, 1 / 6), np.eye(6)), x, one(600)


@cases("hmm.forward")
def forward():
    for big_case, source in ((False, settings()), (True, big())):
        for name, (pi, A), x, lengths in source:
            tol = tolerance(x, pi, A)
            yield Case(name, (x, pi, A, lengths), bounds=(tol, tol), big=big_case)


@cases("hmm.posteriors")
def posteriors():
    for big_case, source in ((False, settings()), (True, big())):
        for name, (pi, A), x, lengths in source:
            tol, T = tolerance(x, pi, A), len(x) + 1
            w = np.random.default_rng(len(lengths)).choice([0.0, 0.5, 1.0, 3.0], len(lengths))
            plain = (x, pi, A, lengths)
            bounds = (tol, tol, T * tol, T * tol)
            yield Case(name, plain, bounds=bounds, compare=zeros_kept(bounds, A), big=big_case)
            if not big_case:
                bounds = (tol, tol, 3 * T * tol, 3 * T * tol)
                yield Case(f"{name} weighted", (*plain, w), compare=zeros_kept(bounds, A))


def zeros_kept(bounds, A):
    """Within bounds, and no transition where there is none."""

    def compare(got, want):
        for g, w, bound in zip(got, want, bounds, strict=True):
            np.testing.assert_allclose(g, w, rtol=0, atol=bound)
        allowed = (A > 0) | np.isnan(want[3])
        assert (got[3][~allowed] == 0).all()

    return compare


def integer_paths(T, K, seed=0):
    """Small integers: all sums exact, ties everywhere; a tenth of everything impossible."""
    rng = np.random.default_rng([seed, T, K])

    def draw(*shape):
        return np.where(rng.random(shape) < 0.1, -np.inf, -rng.integers(0, 3, shape).astype(float))

    return draw(T, K), draw(K), draw(K, K)


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(x)


@cases("hmm.viterbi")
def viterbi():
    for K in STATES:
        T = 90
        x, log_pi, log_A = integer_paths(T, K)
        yield Case(f"integers {K}", (x, log_pi, log_A, lengths_of(T)))
        yield Case(f"all tied {K}", (np.zeros((70, K)), np.zeros(K), np.zeros((K, K)), one(70)))
    for name, (pi, A), x, lengths in settings():
        if not np.isnan(x).any():
            yield Case(name, (x, log(pi), log(A), lengths))
    for name, (pi, A), x, lengths in big():
        yield Case(name, (x, log(pi), log(A), lengths), big=True)
    x = np.zeros((2, 1030))  # no more room in shared memory of a GPU
    yield Case("K=1030", (x, x[0], -np.eye(1030), one(2)))
    for K in (7, 40):  # more than two blocks of rows that stay in the cache
        x, log_pi, log_A = integer_paths(10_000 if K == 7 else 2_500, K)
        x = x - np.arange(len(x))[:, None] % 7
        yield Case(f"blocks {K}", (x, log_pi, np.maximum(log_A, -9.0), one(len(x))))
    lengths = np.repeat(np.array([9, 0, 300], dtype=np.int64), 30)
    yield Case("many", (*integer_paths(int(lengths.sum()), 8), lengths), big=True)


@last_tie("hmm.viterbi")
def viterbi_last(log_density, log_startprob, log_transmat, lengths):
    states, log_prob = hmm.viterbi.specification(
        log_density[:, ::-1], log_startprob[::-1], log_transmat[::-1, ::-1], lengths
    )
    return (log_density.shape[1] - 1 - states).astype(np.int32), log_prob


@cases("hmm.sample_states")
def sample_states():
    rng = np.random.default_rng(5)
    for K in STATES:
        for kind in ("positive", "banded", "left-right", "dead end", "subnormalised"):
            pi, A = model(K, kind)
            u = rng.random(150)
            u[:40] = rng.choice([0.0, 0.25, 0.5, np.nextafter(1.0, 0.0)], 40)
            yield Case(f"{kind} {K}", (pi, A, u, lengths_of(150)))
    pi = np.array([0.0, 0.5, 0.0, 0.5, 0.0])  # u on the edges of the running sums
    A = np.tile(np.array([0.25, 0.0, 0.25, 0.5, 0.0]), (5, 1))
    A[2] = 0.0
    yield Case("edges", (pi, A, rng.choice(np.arange(0, 1, 0.125), 200), lengths_of(200)))
    yield Case("no rows", (pi, A, np.empty(0), np.zeros(3, np.int64)))
    u, lengths = rng.random(30_000), np.full(300, 100, dtype=np.int64)
    yield Case("big", (*model(8), u, lengths), big=True)


@cases("hmm.symbol_counts")
def symbol_counts():
    rng = np.random.default_rng(6)
    for K in STATES:
        for n_symbols, T in ((1, 9), (3, 200), (40, 77)):
            symbols = rng.integers(-2, n_symbols, T)
            gamma = rng.integers(0, 9, (T, K)).astype(np.float64)  # exact sums
            yield Case(f"{K} {n_symbols}", (symbols, gamma, n_symbols))
    yield Case("no rows", (np.empty(0, np.int64), np.empty((0, 3)), 4))
    yield Case("all missing", (np.full(5, -1), np.ones((5, 2)), 2))
    gamma = probabilities(rng, 60_000, 5)
    gamma[7, 2] = np.nan
    bound = 2 * len(gamma) * EPS * len(gamma)
    symbols = rng.integers(-1, 30, len(gamma))
    yield Case("big", (symbols, gamma, 30), bounds=(bound,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("hmm")


# --- theorems -------------------------------------------------------------------------------------


def small_problems():
    rng = np.random.default_rng(17)
    for K, T in itertools.product((1, 2, 3), range(1, 7)):
        for kind in ("normal", "subnormalised", "zeros", "hopeless"):
            pi, A, B = (rng.random(shape) for shape in (K, (K, K), (T, K)))
            if kind == "normal":
                pi, A = pi / pi.sum(), A / A.sum(axis=1, keepdims=True)
            elif kind == "subnormalised":
                pi, A = pi * 1e-3, A * 1e-2
            else:
                share = 0.3 if kind == "zeros" else 0.7
                pi, A, B = (np.where(rng.random(p.shape) < share, 0.0, p) for p in (pi, A, B))
            yield f"{kind} {K} {T}", pi, A, B


def all_paths(pi, A, B):
    """Every path, and the probability of each with the data, by multiplication."""
    T, K = B.shape
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    p = pi[paths[:, 0]] * B[0, paths[:, 0]]
    for t in range(1, T):
        p = p * A[paths[:, t - 1], paths[:, t]] * B[t, paths[:, t]]
    return paths, p


def test_forward_equals_the_sum_over_all_paths():
    impossible = 0
    for name, pi, A, B in small_problems():
        T, K = B.shape
        filtered, log_prob = hmm.forward(log(B), pi, A, one(T))
        for t in range(T):
            paths, p = all_paths(pi, A, B[: t + 1])
            want = np.bincount(paths[:, -1], p, minlength=K)
            want = want / want.sum() if want.sum() > 0 else want
            np.testing.assert_allclose(filtered[t], want, rtol=0, atol=1e-13, err_msg=name)
        impossible += p.sum() == 0
        np.testing.assert_allclose(log_prob, log(p.sum()), rtol=1e-13, atol=1e-13, err_msg=name)
    assert 5 < impossible < 40


def test_posteriors_equal_the_sum_over_all_paths():
    for name, pi, A, B in small_problems():
        T, K = B.shape
        gamma, log_prob, starts, transitions = hmm.posteriors(
            log(B), pi, A, one(T), np.array([2.0])
        )
        paths, p = all_paths(pi, A, B)
        np.testing.assert_allclose(log_prob, log(p.sum()), rtol=1e-13, atol=1e-13, err_msg=name)
        p = p / p.sum() if p.sum() > 0 else p
        want_transitions = np.zeros((K, K))
        for t in range(T):
            want = np.bincount(paths[:, t], p, minlength=K)
            np.testing.assert_allclose(gamma[t], want, rtol=0, atol=1e-13, err_msg=name)
            if t:
                np.add.at(want_transitions, (paths[:, t - 1], paths[:, t]), 2 * p)
        np.testing.assert_allclose(starts, 2 * gamma[0], rtol=1e-15, atol=0)
        np.testing.assert_allclose(transitions, want_transitions, rtol=0, atol=1e-12, err_msg=name)


def test_viterbi_equals_the_best_of_all_paths():
    """Integers, so that equality is exact: the last states decide among ties, lowest first."""
    tied = 0
    for K, T, seed in itertools.product((1, 2, 3), range(1, 7), range(6)):
        x, log_pi, log_A = integer_paths(T, K, seed)
        states, log_prob = hmm.viterbi(x, log_pi, log_A, one(T))
        paths = np.array(list(itertools.product(range(K), repeat=T)))
        score = log_pi[paths[:, 0]] + x[0, paths[:, 0]]
        for t in range(1, T):
            score = score + log_A[paths[:, t - 1], paths[:, t]] + x[t, paths[:, t]]
        assert log_prob == score.max()
        best = paths[score == score.max()]
        tied += len(best) > 1
        if score.max() == -np.inf:
            assert ((states >= 0) & (states < K)).all()
            continue
        # Reversed paths in lexicographic order: the lowest last state, then the one before it.
        np.testing.assert_array_equal(states, min(best.tolist(), key=lambda path: path[::-1]))
    assert tied > 20


@pytest.mark.parametrize("K", [3, 8, 17, 40])
def test_sequences_do_not_touch_each_other(K):
    """Many sequences in one call give what each gives alone, to the bit."""
    pi, A = model(K)
    lengths = np.array([5, 0, 1, 300, 2, 700, 64, 65], dtype=np.int64)
    x = densities(int(lengths.sum()), K)
    gamma, log_prob, *_ = hmm.posteriors(x, pi, A, lengths)
    filtered, _ = hmm.forward(x, pi, A, lengths)
    ends = np.cumsum(lengths)
    for s, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        rows = slice(end - length, end)
        alone = hmm.posteriors(x[rows], pi, A, one(length))
        np.testing.assert_array_equal(gamma[rows], alone[0])
        np.testing.assert_allclose(log_prob[s], alone[1], rtol=1e-14)
        np.testing.assert_array_equal(filtered[rows], hmm.forward(x[rows], pi, A, one(length))[0])


def test_weights_equal_repetition():
    pi, A = model(5)
    x = densities(60, 5)
    lengths = np.array([20, 25, 15], dtype=np.int64)
    weighted = hmm.posteriors(x, pi, A, lengths, np.array([2.0, 0.0, 1.0]))
    again = hmm.posteriors(
        np.concatenate([x[:20], x[:20], x[45:]]), pi, A, np.array([20, 20, 15], dtype=np.int64)
    )
    np.testing.assert_allclose(weighted[2], again[2], rtol=1e-12)
    np.testing.assert_allclose(weighted[3], again[3], rtol=1e-12)


def test_long_sequences_stay_exact():
    """A power of two a step: where data say nothing, log p(x) is T times one row's."""
    T, K = 50_000, 6
    pi, A = model(K)
    x = np.tile(np.array([[-700.0]]), (T, K))
    filtered, log_prob = hmm.forward(x, pi, A, one(T))
    np.testing.assert_allclose(log_prob, -700.0 * T, rtol=T * EPS)
    values, vectors = np.linalg.eig(A.T)
    still = vectors[:, np.argmin(abs(values - 1))].real
    np.testing.assert_allclose(filtered[-1], still / still.sum(), rtol=1e-11)


def test_nan_stays_in_its_sequence():
    pi, A = model(4)
    x = densities(30, 4)
    lengths = np.array([10, 12, 8], dtype=np.int64)
    clean = hmm.forward(x, pi, A, lengths)
    x[15, 2] = np.nan
    filtered, log_prob = hmm.forward(x, pi, A, lengths)
    np.testing.assert_array_equal(np.isnan(log_prob), [False, True, False])
    np.testing.assert_array_equal(np.isnan(filtered).all(axis=1), np.arange(30) // 7 * 0 + [
        15 <= t < 22 for t in range(30)
    ])  # fmt: skip
    np.testing.assert_allclose(filtered[:15], clean[0][:15], rtol=1e-12)
    states, _ = hmm.viterbi(x, log(pi), log(A), lengths)
    assert ((states >= 0) & (states < 4)).all()


@pytest.mark.parametrize("K", [1, 3, 9, 17, 33])  # K does not fill whole vectors
def test_a_row_of_nan_leads_to_no_state_beyond_the_last(K):
    pi, A = model(K)
    x = densities(30, K)
    x[15] = np.nan
    states, _ = hmm.viterbi(x, log(pi), log(A), one(30))
    assert ((states >= 0) & (states < K)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, pi, A, n: hmm.forward(x[0], pi, A, n), r"density must .*\(T, K\) with K >= 1"),
        (lambda x, pi, A, n: hmm.forward(x.astype("f"), pi, A, n), "forward: log_density must be"),
        (lambda x, pi, A, n: hmm.forward(x, pi[:2], A, n), r"startprob must .*\(3,\)"),
        (lambda x, pi, A, n: hmm.forward(x, pi, A[:2], n), r"transmat must .*\(3, 3\)"),
        (lambda x, pi, A, n: hmm.forward(x, pi, A, n - 1), "lengths must .* add up to 5, .* 4"),
        (lambda x, pi, A, n: hmm.forward(x, pi, A, n * 1.0), "lengths must be int64"),
        (lambda x, pi, A, n: hmm.forward(x[:, :0], pi[:0], A[:0, :0], n), "log_density must"),
        (lambda x, pi, A, n: hmm.forward(x, pi, A, np.array([6, -1])), "lengths must be at least"),
        (lambda x, pi, A, n: hmm.posteriors(x, pi, A, n, np.ones(2)), r"weight must .*\(1,\)"),
        (lambda x, pi, A, n: hmm.posteriors(x, pi, A, n, np.ones(1, "f")), "sequence_weight must"),
        (lambda x, pi, A, n: hmm.viterbi(x, pi[:1], A, n), "viterbi: log_startprob must"),
        (lambda x, pi, A, n: hmm.viterbi(x, pi, A[:1], n), "viterbi: log_transmat must"),
        (lambda x, pi, A, n: hmm.sample_states(pi, A[:2], x[:, 0], n), "transmat must"),
        (lambda x, pi, A, n: hmm.sample_states(pi[:0], A[:0, :0], x[:, 0], n), "startprob must"),
        (lambda x, pi, A, n: hmm.sample_states(pi, A, x[1:, 0], n), "lengths must .* add up to 4"),
        (lambda x, pi, A, n: hmm.symbol_counts(np.zeros(5, int), x[1:], 2), r"gamma must .*\(5, K"),
        (lambda x, pi, A, n: hmm.symbol_counts(np.full(5, 2), x, 2), "below n_symbols = 2, got 2"),
        (lambda x, pi, A, n: hmm.symbol_counts(np.zeros(5), x, 2), "symbols must be"),
        (lambda x, pi, A, n: hmm.symbol_counts(np.full(5, -1), x, 0), "n_symbols must be in"),
    ],
)
def test_errors(call, message):
    """The specification and its twin refuse the same input in the same words."""
    arguments = (np.zeros((5, 3)), np.ones(3), np.ones((3, 3)), one(5))
    with pytest.raises(ValueError, match=message):
        call(*arguments)
    with kernelmill.backend("numpy"), pytest.raises(ValueError, match=message):
        call(*arguments)


def test_wrapping_errors():
    """Lengths whose sum is right but for 2^64 are refused, not read."""
    x, lengths = np.zeros((5, 3)), np.array([2**62, 2**62, 2**63 - 1, 6])
    for op in (hmm.forward, hmm.viterbi):
        with pytest.raises(ValueError, match=rf"^hmm\.{op.op_name}: lengths must"):
            op(x, np.ones(3), np.ones((3, 3)), lengths)
