"""hmm ops beside hmmlearn's compiled loops, on the same arrays.

hmmlearn's loops take one sequence a call and leave the expected counts to three calls and NumPy,
put together here as its own fit does. Its scaling loops start from densities, not from their
logarithms, so the exponential is part of its work as it is of ours. Results are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

RTOL = 1e-8


@dataclass(frozen=True)
class Data:
    """A model and log densities of sequences that follow each other."""

    log_density: np.ndarray
    startprob: np.ndarray
    transmat: np.ndarray
    lengths: np.ndarray

    def spans(self):
        """Rows of each sequence."""
        ends = np.cumsum(self.lengths)
        return [slice(e - n, e) for e, n in zip(ends, self.lengths, strict=True)]


def make(n_sequences: int, length: int, K: int) -> Data:
    """Densities of a sticky chain: the true state is likelier by a few nats."""
    rng = np.random.default_rng(7)
    T = n_sequences * length
    transmat = 0.1 * rng.dirichlet(np.ones(K), K) + 0.9 * np.eye(K)
    x = rng.normal(-3.0, 1.5, (T, K))
    x[np.arange(T), (np.arange(T) // 10) % K] += 3.0
    lengths = np.full(n_sequences, length, dtype=np.int64)
    return Data(x, rng.dirichlet(np.ones(K)), transmat, lengths)


def _ours(name: str):
    def prepare(data: Data):
        from kernelmill.ops import hmm

        model = (data.startprob, data.transmat)
        if name == "viterbi":
            model = (np.log(data.startprob), np.log(data.transmat))
        return lambda: getattr(hmm, name)(data.log_density, *model, data.lengths)

    return prepare


def _forward(data: Data):
    from hmmlearn import _hmmc

    def run():
        filtered, log_prob = [], []
        for span in data.spans():
            b = np.exp(data.log_density[span])
            found, alpha, _ = _hmmc.forward_scaling(data.startprob, data.transmat, b)
            filtered.append(alpha)
            log_prob.append(found)
        return np.concatenate(filtered), np.array(log_prob)

    return run


def _posteriors(data: Data):
    from hmmlearn import _hmmc

    def run():
        gammas, log_prob = [], []
        starts, transitions = np.zeros_like(data.startprob), np.zeros_like(data.transmat)
        for span in data.spans():
            b = np.exp(data.log_density[span])
            found, alpha, scaling = _hmmc.forward_scaling(data.startprob, data.transmat, b)
            beta = _hmmc.backward_scaling(data.startprob, data.transmat, b, scaling)
            gamma = alpha * beta
            gamma /= gamma.sum(axis=1, keepdims=True)
            transitions += _hmmc.compute_scaling_xi_sum(alpha, data.transmat, beta, b)
            starts += gamma[0]
            gammas.append(gamma)
            log_prob.append(found)
        return np.concatenate(gammas), np.array(log_prob), starts, transitions

    return run


def _viterbi(data: Data):
    from hmmlearn import _hmmc

    def run():
        states, log_prob = [], []
        for span in data.spans():
            found, path = _hmmc.viterbi(data.startprob, data.transmat, data.log_density[span])
            states.append(path)
            log_prob.append(found)
        return np.concatenate(states), np.array(log_prob)

    return run


def _same(data: Data, ours: Any, other: Any) -> str:
    for mine, theirs in zip(ours, other, strict=True):
        scale = float(np.abs(theirs).max(initial=1.0))
        wrong = arrays_close(np.asarray(mine, float), np.asarray(theirs, float), RTOL, RTOL * scale)
        if wrong:
            return wrong
    return ""


_PEERS = {"forward": _forward, "posteriors": _posteriors, "viterbi": _viterbi}
_FLOPS = {  # of a row: products of K x K, and about 25 for each exponential
    "forward": lambda K: 2 * K * K + 30 * K,
    "posteriors": lambda K: 6 * K * K + 40 * K,
    "viterbi": lambda K: 2 * K * K + 4 * K,
}
_ARRAYS = {"forward": 2, "posteriors": 2, "viterbi": 1}  # of T x K, read or written


def _case(name: str, n_sequences: int, length: int, K: int, want: float | None = None) -> Case:
    T = n_sequences * length
    flops = float(T * _FLOPS[name](K))
    return Case(
        name=f"{name} S={n_sequences} T={length} K={K} float64",
        make=lambda: make(n_sequences, length, K),
        systems={"kernelmill": _ours(name), "hmmlearn": _PEERS[name]},
        check=_same,
        # A small K is bound by the latency of a step, far above this floor: see cpp/ops/hmm.cpp.
        work=lambda data, _: Work(flops, 8.0 * T * K * _ARRAYS[name], "products and exponentials"),
        dtype="float64",
        want=want,
    )


def _sample(T: int, K: int) -> Case:
    """A path of a chain beside inversion by search in Python, as hmmlearn samples."""

    def ours(data: Data):
        from kernelmill.ops import hmm

        u = np.random.default_rng(1).random(T)
        return lambda: hmm.sample_states(data.startprob, data.transmat, u, data.lengths)

    def python(data: Data):
        u = np.random.default_rng(1).random(T)
        first, rows = np.cumsum(data.startprob), np.cumsum(data.transmat, axis=1)

        def run():
            states = np.empty(T, dtype=np.int32)
            running = first
            for t in range(T):
                states[t] = state = (running > u[t] * running[-1]).argmax()
                running = rows[state]
            return states

        return run

    return Case(
        name=f"sample_states T={T} K={K}",
        make=lambda: make(1, T, K),
        systems={"kernelmill": ours, "NumPy": python},
        check=lambda data, mine, other: "" if (mine == other).all() else "states differ",
        work=lambda data, _: Work(T * np.log2(K), 12.0 * T, "T log2 K comparisons"),
        dtype="float64",
    )


def _counts(T: int, K: int, n_symbols: int) -> Case:
    """Symbol counts beside hmmlearn's way, a sum per state over a one-hot matrix, as bincount."""

    def data():
        rng = np.random.default_rng(3)
        return rng.integers(0, n_symbols, T), rng.dirichlet(np.ones(K), T)

    def ours(made):
        from kernelmill.ops import hmm

        return lambda: hmm.symbol_counts(*made, n_symbols)

    def bincount(made):
        symbols, gamma = made
        return lambda: np.stack([np.bincount(symbols, g, minlength=n_symbols) for g in gamma.T])

    return Case(
        name=f"symbol_counts T={T} K={K} M={n_symbols}",
        make=data,
        systems={"kernelmill": ours, "NumPy bincount": bincount},
        check=lambda made, mine, other: arrays_close(mine, other, RTOL),
        work=lambda made, _: Work(float(T * K), 8.0 * T * (K + 1), "T K additions"),
        dtype="float64",
    )


def cases(quick: bool) -> list[Case]:
    """The shapes of the project's targets, then larger numbers of states."""
    if quick:
        names = [_case(name, 3, 50, 5) for name in _PEERS]
        return [*names, _sample(500, 4), _counts(500, 4, 6)]
    return [
        _case("posteriors", 1, 200_000, 8, want=10.0),
        _case("posteriors", 400, 200, 8, want=15.0),
        _case("posteriors", 400, 200, 3, want=15.0),
        _case("viterbi", 1, 100_000, 8, want=8.0),
        _case("viterbi", 400, 200, 8, want=8.0),
        _case("forward", 1, 100_000, 8),
        _case("forward", 100, 200, 64),
        _case("posteriors", 100, 200, 64),
        _case("posteriors", 8, 250, 256),
        _case("viterbi", 100, 200, 64),
        _sample(200_000, 8),
        _counts(500_000, 8, 50),
    ]
