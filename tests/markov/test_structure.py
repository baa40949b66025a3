"""Theorems about Markov chains, textbook chains in closed form, and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernelmill.markov import MarkovChain, _elimination

EPS = np.finfo(np.float64).eps


def random_chain(rng, K=9, density=0.3):
    """Reducible, periodic and what else comes, from one sparse random matrix."""
    P = rng.random((K, K)) * (rng.random((K, K)) < density)
    empty = P.sum(axis=1) == 0
    P[empty, np.flatnonzero(empty)] = 1
    return P / P.sum(axis=1, keepdims=True)


def chains(rng, count=40):
    for i in range(count):
        yield random_chain(rng, int(rng.integers(1, 10)), [0.15, 0.3, 0.6, 1.0][i % 4])


def gambler(N, p):
    """Coins 0..N; a coin is won with probability p, and the game ends at 0 and N."""
    P = np.zeros((N + 1, N + 1))
    P[0, 0] = P[N, N] = 1
    for i in range(1, N):
        P[i, i + 1], P[i, i - 1] = p, 1 - p
    return P


def reachable(P):
    """Transitive closure, by brute force."""
    R = (np.eye(len(P)) + (P > 0)) > 0
    for _ in range(len(P)):
        R = (R.astype(int) @ R.astype(int)) > 0
    return R


def sum_of_powers(Q):
    """sum_n Q^n by brute force: 2^40 terms, doubled each time by S_2n = S_n + Q^n S_n."""
    total, power = np.eye(len(Q)), Q
    for _ in range(40):
        total, power = total + power @ total, power @ power
    assert not power.any(), "the sum must have come to its end"
    return total


# --- classes ---


def test_classes_are_those_of_brute_force(rng):
    seen_transient = seen_periodic = False
    for P in chains(rng):
        R = reachable(P)
        both = R & R.T
        classes = MarkovChain.from_matrix(P).communicating_classes()
        assert sorted(s for found in classes for s in found.states) == list(range(len(P)))
        assert [c.states[0] for c in classes] == sorted(c.states[0] for c in classes)
        for found in classes:
            first = found.states[0]
            assert found.states == np.flatnonzero(both[first]).tolist()
            assert found.recurrent == bool((R[first] == both[first]).all())
            power, returns = np.eye(len(P), dtype=int), []
            for n in range(1, 3 * len(P) ** 2):
                power = ((power @ (P > 0)) > 0).astype(int)
                if power[first, first]:
                    returns.append(n)
            assert found.period == math.gcd(*returns)
            seen_transient |= not found.recurrent
            seen_periodic |= found.period > 1
    assert seen_transient
    assert seen_periodic


@pytest.mark.parametrize("period", [1, 2, 3, 8])
def test_cycles_have_their_period(period):
    P = np.roll(np.eye(period), 1, axis=1)
    chain = MarkovChain.from_matrix(P)
    assert [c.period for c in chain.communicating_classes()] == [period]
    assert chain.is_irreducible()
    assert chain.is_ergodic() == (period == 1)
    assert np.array_equal(chain.stationary_distribution(), np.full(period, 1 / period))


# --- long run ---


def test_stationary_distributions_are_stationary_and_extreme(rng):
    for P in chains(rng):
        chain = MarkovChain.from_matrix(P)
        pi = chain.stationary_distributions()
        assert np.allclose(pi @ P, pi, rtol=0, atol=8 * len(P) * EPS)
        assert np.allclose(pi.sum(axis=1), 1, rtol=0, atol=len(P) * EPS)
        recurrent = [c.states for c in chain.communicating_classes() if c.recurrent]
        assert [np.flatnonzero(row).tolist() for row in pi] == recurrent
        # As many as there are: the multiplicity of the eigenvalue 1.
        assert len(pi) == (np.abs(np.linalg.eigvals(P) - 1) < 1e-9).sum()


def test_long_run_shares_are_the_means_of_powers(rng):
    for P in chains(rng):
        chain = MarkovChain.from_matrix(P)
        # Means of 2^m powers, doubled: S_2n = (S_n + P^n S_n) / 2.
        mean, power = np.eye(len(P)), P
        for _ in range(50):
            mean, power = (mean + power @ mean) / 2, power @ power
            power /= power.sum(axis=1, keepdims=True)
            mean /= mean.sum(axis=1, keepdims=True)
        for i in range(len(P)):
            # The mean of n powers is off by about (time to forget) / n, and n = 2^50.
            assert np.allclose(chain.long_run_distribution(i), mean[i], rtol=0, atol=1e-10)


def test_several_recurrent_classes_have_no_one_distribution():
    chain = MarkovChain.from_matrix(np.eye(2))
    with pytest.raises(ValueError, match=r"one recurrent class .* got 2"):
        chain.stationary_distribution()
    with pytest.raises(ValueError, match="must be irreducible"):
        chain.fundamental_matrix()
    with pytest.raises(ValueError, match="must be irreducible"):
        chain.time_reversal()
    assert not chain.is_irreducible()
    assert not chain.is_ergodic()


def test_random_walk_on_a_graph_stays_in_proportion_to_degrees(rng):
    edges = rng.random((12, 12)) < 0.4
    edges |= edges.T | np.roll(np.eye(12, dtype=bool), 1, axis=1)
    edges |= edges.T
    degree = edges.sum(axis=1)
    chain = MarkovChain.from_matrix(edges / degree[:, None])
    pi = chain.stationary_distribution()
    assert np.allclose(pi, degree / degree.sum(), rtol=50 * EPS, atol=0)
    assert np.allclose(chain.mean_return_times(), degree.sum() / degree, rtol=50 * EPS, atol=0)
    assert chain.is_reversible()


def test_ehrenfest_urn_is_binomial():
    """N balls in two urns, one moved at a time: periodic, and stationary at Binomial(N, 1/2)."""
    N = 30
    P = np.zeros((N + 1, N + 1))
    for i in range(N + 1):
        if i:
            P[i, i - 1] = i / N
        if i < N:
            P[i, i + 1] = 1 - i / N
    chain = MarkovChain.from_matrix(P)
    expected = np.array([math.comb(N, i) / 2**N for i in range(N + 1)])
    assert np.allclose(chain.stationary_distribution(), expected, rtol=4 * N * EPS, atol=0)
    assert chain.mean_return_times()[0] == pytest.approx(2.0**N, rel=4 * N * EPS)
    assert [c.period for c in chain.communicating_classes()] == [2]
    assert chain.is_reversible()


def test_mean_return_time_is_one_step_and_the_way_back(rng):
    for P in chains(rng):
        chain = MarkovChain.from_matrix(P)
        back = chain.mean_return_times()
        for i in range(len(P)):
            k = chain.hitting_times(i)
            used = P[i] > 0
            assert back[i] == pytest.approx(1 + P[i][used] @ k[used], rel=1e-12)


# --- hitting ---


def test_hitting_probabilities_are_the_limit_of_iteration(rng):
    """h_0 = 1 on targets, h <- P h elsewhere, grows to the least solution (Norris 1.3.2)."""
    kinds = set()
    for P in chains(rng):
        K = len(P)
        chain = MarkovChain.from_matrix(P)
        targets = rng.permutation(K)[: int(rng.integers(1, 3))].tolist()
        stopped = P.copy()
        stopped[targets] = np.eye(K)[targets]
        limit = np.eye(K)
        power = stopped
        for _ in range(60):  # 2^60 steps
            power = power @ power
            power /= power.sum(axis=1, keepdims=True)
        limit = power[:, targets].sum(axis=1)
        h = chain.hitting_probabilities(targets)
        assert np.allclose(h, limit, rtol=0, atol=1e-10)
        free = np.setdiff1d(np.arange(K), targets)
        assert np.allclose(h[free], P[free] @ h, rtol=0, atol=4 * K * EPS)
        k = chain.hitting_times(targets)
        assert np.array_equal(np.isinf(k), h < 1)
        assert (k[targets] == 0).all()
        finite = np.array([i for i in free if np.isfinite(k[i])], dtype=int)
        following = np.where(P[finite] > 0, k, 0)  # an infinite time is never one step away
        # Each equation holds within the rounding of its own terms.
        right = 1 + (P[finite] * following).sum(axis=1)
        assert np.allclose(k[finite], right, rtol=8 * K * EPS, atol=0)
        kinds |= {"sure" if v == 1 else "never" if v == 0 else "perhaps" for v in h[free]}
    assert kinds == {"sure", "never", "perhaps"}


@pytest.mark.parametrize("p", [0.5, 0.4, 0.9])
@pytest.mark.parametrize("N", [2, 10, 60])
def test_gamblers_ruin(N, p):
    chain = MarkovChain.from_matrix(gambler(N, p))
    i = np.arange(N + 1)
    if p == 0.5:
        ruin, time = 1 - i / N, i * (N - i)
    else:
        r = (1 - p) / p
        powers = r**i  # one call: a power of a scalar may round differently
        ruin = (powers - powers[N]) / (1 - powers[N])
        if r < 1:  # without cancellation near N
            ruin = np.array(
                [sum(r**m for m in range(j, N)) / sum(r**m for m in range(N)) for j in i]
            )
        time = (i - N * (1 - ruin)) / (1 - 2 * p)
    # Ruin from 60 coins at odds 9 to 1 has probability 1e-57: its digits are there too. 1 - p is
    # off by half a unit in the last place, which N powers of the odds carry on.
    found = chain.hitting_probabilities(0)
    assert np.allclose(found[:-1], ruin[:-1], rtol=40 * N * EPS, atol=0)
    assert found[N] == 0
    assert np.allclose(chain.absorption_probabilities()[:, 0], ruin, rtol=40 * N * EPS, atol=0)
    assert np.allclose(chain.absorption_times(), time, rtol=1e-12 * N, atol=0)
    assert np.isinf(chain.hitting_times(0)[1:]).all()


def test_walk_to_the_end_takes_the_square_of_the_way():
    """Reflected at 0 and simple elsewhere: n^2 - i^2 steps from i to n (Norris, section 1.3)."""
    n = 50
    P = np.diag(np.full(n, 0.5), 1) + np.diag(np.full(n, 0.5), -1)
    P[0, 1] = 1
    P[n, n - 1] = 1
    times = MarkovChain.from_matrix(P).hitting_times(n)
    assert np.allclose(times, n**2 - np.arange(n + 1.0) ** 2, rtol=20 * n * EPS, atol=0)


def test_coupons():
    """The number of different coupons: N H_N draws to have all N."""
    N = 20
    P = np.diag(np.arange(N + 1) / N) + np.diag(1 - np.arange(N) / N, 1)
    expected = sum(N / (N - i) for i in range(N))
    chain = MarkovChain.from_matrix(P)
    assert chain.absorption_times()[0] == pytest.approx(expected, rel=N * EPS)
    assert chain.expected_visits()[0, 5] == pytest.approx(N / (N - 5), rel=N * EPS)


def test_times_up_to_the_range_of_floats():
    """From 0 to n against odds of 99, about 99^n steps: 1e299 for n = 150, too many for 200."""

    def against(n):
        P = np.diag(np.full(n, 0.01), 1) + np.diag(np.full(n, 0.99), -1)
        P[0, 0], P[n, n - 1] = 0.99, 1
        return P

    # d_i steps from i to i + 1: d_i = 1 + 0.99 (d_(i-1) + d_i), so d_i = 100 + 99 d_(i-1).
    steps = [100.0]
    for _ in range(149):
        steps.append(100 + 99 * steps[-1])
    expected = np.array([sum(steps[i:]) for i in range(151)])
    # 0.99 and 0.01 are off by half a unit in the last place, 150 times over.
    times = MarkovChain.from_matrix(against(150)).hitting_times(150)
    assert np.allclose(times, expected, rtol=1500 * EPS, atol=0)
    mirrored = MarkovChain.from_matrix(against(150)[::-1, ::-1]).hitting_times(0)
    assert np.allclose(mirrored[::-1], expected, rtol=1500 * EPS, atol=0)
    assert MarkovChain.from_matrix(against(150)).hitting_times(0)[1] == pytest.approx(1 / 0.98)
    with pytest.raises(ValueError, match="mean times would exceed the range"):
        MarkovChain.from_matrix(against(200)).hitting_times(200)


# --- absorption ---


def test_absorption_is_the_limit_of_powers(rng):
    seen = 0
    for P in chains(rng):
        chain = MarkovChain.from_matrix(P)
        recurrent = [c.states for c in chain.communicating_classes() if c.recurrent]
        power = P
        for _ in range(60):
            power = power @ power
            power /= power.sum(axis=1, keepdims=True)
        limit = np.column_stack([power[:, states].sum(axis=1) for states in recurrent])
        B = chain.absorption_probabilities()
        assert np.allclose(B, limit, rtol=0, atol=1e-10)
        assert np.allclose(B.sum(axis=1), 1, rtol=0, atol=len(P) * EPS)
        transient = np.setdiff1d(np.arange(len(P)), np.concatenate(recurrent))
        seen += len(transient)
        times = chain.absorption_times()
        expected = np.zeros(len(P))
        expected[transient] = sum_of_powers(P[np.ix_(transient, transient)]).sum(axis=1)
        assert np.allclose(times, expected, rtol=1e-10, atol=0)
    assert seen > 10


def test_expected_visits_are_the_sum_of_powers(rng):
    for P in chains(rng):
        chain = MarkovChain.from_matrix(P)
        recurrent = {s for c in chain.communicating_classes() if c.recurrent for s in c.states}
        G = chain.expected_visits()
        R = reachable(P)
        transient = np.setdiff1d(np.arange(len(P)), sorted(recurrent))
        total = np.zeros_like(P)
        total[np.ix_(transient, transient)] = sum_of_powers(P[np.ix_(transient, transient)])
        for j in range(len(P)):
            if j in recurrent:
                assert np.array_equal(np.isinf(G[:, j]), R[:, j])
                assert (G[~R[:, j], j] == 0).all()
            else:
                assert np.allclose(G[:, j], total[:, j], rtol=1e-10, atol=0)
                assert G[j, j] >= 1


# --- the fundamental matrix ---


def test_fundamental_matrix_inverts_and_gives_hitting_times(rng):
    P = rng.dirichlet(np.ones(8), 8)
    chain = MarkovChain.from_matrix(P)
    Z, pi = chain.fundamental_matrix(), chain.stationary_distribution()
    scale = np.abs(Z).sum(axis=1).max()
    assert np.allclose(Z @ (np.eye(8) - P + pi), np.eye(8), rtol=0, atol=100 * EPS * scale)
    for j in range(8):
        times = (Z[j, j] - Z[:, j]) / pi[j]
        assert np.allclose(times, chain.hitting_times(j), rtol=0, atol=1e3 * EPS * scale / pi[j])
    # Kemeny's constant does not depend on the start.
    for i in range(8):
        mean = sum(pi[j] * chain.hitting_times(j)[i] for j in range(8))
        assert mean == pytest.approx(chain.kemeny_constant(), rel=1e-12)
    assert MarkovChain.from_matrix([[1.0]]).fundamental_matrix().tolist() == [[1.0]]


# --- n steps, reversal, entropy ---


def test_powers_agree_with_products_and_do_not_drift(rng):
    P = rng.dirichlet(np.ones(5), 5)
    chain = MarkovChain.from_matrix(P)
    for n in (0, 1, 2, 7, 20):
        expected = np.linalg.matrix_power(P, n)
        found = chain.n_step_transmat(n)
        assert np.allclose(found, expected, rtol=0, atol=20 * 5 * EPS)
        assert np.allclose(chain.distribution(n, 2), found[2], rtol=0, atol=20 * 5 * EPS)
        start = rng.dirichlet(np.ones(5))
        assert np.allclose(chain.distribution(n, start), start @ found, rtol=0, atol=100 * EPS)
    pi = chain.stationary_distribution()
    assert np.allclose(chain.n_step_transmat(10**15), pi, rtol=0, atol=100 * EPS)
    assert np.allclose(chain.distribution(10**15), pi, rtol=0, atol=100 * EPS)
    # Two closed classes whose rows round differently must not drift apart.
    mixed = np.zeros((5, 5))
    mixed[0] = [0.2, 0.3, 0, 0.5, 0]
    mixed[1:3, 1:3] = rng.dirichlet(np.ones(2), 2)
    mixed[3:, 3:] = rng.dirichlet(np.ones(2), 2)
    mixed[1:3] *= 1 + 1e-12  # within what from_matrix lets pass
    ends = MarkovChain.from_matrix(mixed)
    expected = ends.absorption_probabilities() @ ends.stationary_distributions()
    assert np.allclose(ends.n_step_transmat(10**15), expected, rtol=0, atol=1e-11)
    two = MarkovChain.from_matrix([[0, 1], [1, 0]])
    assert two.n_step_transmat(10**15 + 1).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="n must be a whole number of at least 0, got -1"):
        chain.n_step_transmat(-1)


def test_reversal_keeps_the_stationary_law_and_turns_joint_probabilities(rng):
    P = rng.dirichlet(np.ones(6), 6)
    chain = MarkovChain.from_matrix(P, classes=list("abcdef"))
    back = chain.time_reversal()
    pi = chain.stationary_distribution()
    assert back.states_.tolist() == list("abcdef")
    assert np.allclose(back.stationary_distribution(), pi, rtol=100 * EPS, atol=0)
    flow = pi[:, None] * P
    assert np.allclose(pi[:, None] * back.transmat_, flow.T, rtol=100 * EPS, atol=0)
    assert np.allclose(back.time_reversal().transmat_, P, rtol=200 * EPS, atol=0)
    assert back.entropy_rate() == pytest.approx(chain.entropy_rate(), rel=1e-13)
    assert not chain.is_reversible()
    symmetric = P + P.T
    even = MarkovChain.from_matrix(symmetric / symmetric.sum(axis=1, keepdims=True))
    assert even.is_reversible()
    assert np.allclose(even.time_reversal().transmat_, even.transmat_, rtol=100 * EPS, atol=0)


def test_entropy_rate_of_known_chains():
    p = 0.11
    chain = MarkovChain.from_matrix([[1 - p, p], [p, 1 - p]])
    binary = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert chain.entropy_rate(2) == pytest.approx(binary, rel=1e-14)
    assert chain.entropy_rate() == pytest.approx(binary * math.log(2), rel=1e-14)
    assert MarkovChain.from_matrix([[0, 1], [1, 0]]).entropy_rate() == 0
    for base in (1, 0, "2"):
        with pytest.raises(ValueError, match="base must be None or a number above 1"):
            chain.entropy_rate(base)
    # From a transient state: half of the starts end in noise of one bit, half in silence.
    P = [[0, 0.5, 0, 0.5], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]
    start = MarkovChain.from_matrix(P, [1, 0, 0, 0])
    assert start.entropy_rate(2) == pytest.approx(0.5, rel=1e-14)


def test_large_chains_take_the_sparse_way(rng, monkeypatch):
    """The same answers from sparse LU, within the errors of the largest entries."""
    P = random_chain(rng, 40, 0.08)
    chain = MarkovChain.from_matrix(P)
    target = 3
    dense = (
        chain.stationary_distributions(),
        chain.hitting_probabilities(target),
        chain.hitting_times(target),
        chain.absorption_probabilities(),
    )
    monkeypatch.setattr(_elimination, "DENSE_STATES", 0)
    thin = (
        chain.stationary_distributions(),
        chain.hitting_probabilities(target),
        chain.hitting_times(target),
        chain.absorption_probabilities(),
    )
    for a, b in zip(dense, thin, strict=True):
        finite = np.isfinite(a)
        assert np.array_equal(finite, np.isfinite(b))
        assert np.allclose(a[finite], b[finite], rtol=0, atol=1e-9 * max(1, a[finite].max()))


def test_questions_about_states_that_do_not_exist():
    chain = MarkovChain.from_matrix([[0.5, 0.5], [0.5, 0.5]], classes=["a", "b"])
    with pytest.raises(ValueError, match="targets must be in states_, got 'c'"):
        chain.hitting_times("c")
    with pytest.raises(ValueError, match="targets must name at least one state"):
        chain.hitting_times([])
    with pytest.raises(ValueError, match="start must be a state or a distribution"):
        chain.distribution(2, "c")
    with pytest.raises(ValueError, match=r"start must have shape \(2,\)"):
        chain.distribution(2, [1.0])
    with pytest.raises(ValueError, match="start must sum to 1"):
        chain.distribution(2, [0.7, 0.7])
