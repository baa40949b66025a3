"""Fits and decoding of hidden Markov models beside hmmlearn, from the same start.

Equal work: the same start parameters, the same number of iterations (no tolerance), the
log-likelihood of every iteration compared. hmmlearn runs twice: as it comes (logarithms), and with
``implementation="scaling"``, which is faster where nothing underflows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close, close

RTOL = 1e-8
N_ITER = 10


@dataclass(frozen=True)
class Data:
    """Observations, lengths, and where every system starts."""

    kind: str
    X: np.ndarray
    lengths: np.ndarray
    start: dict[str, np.ndarray]
    options: dict[str, Any]


def chain(T: int, K: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sticky transition matrix and a path of it."""
    transmat = np.full((K, K), 0.1 / (K - 1))
    np.fill_diagonal(transmat, 0.9)
    moved, by = rng.random(T) < 0.1, rng.integers(1, K, T)
    return transmat, np.cumsum(np.where(moved, by, 0)) % K


def gaussian(covariance: str, n_sequences: int, length: int, d: int, K: int) -> Data:
    """Overlapping Gaussians; the start is off by half a standard deviation."""
    rng = np.random.default_rng(11)
    T = n_sequences * length
    transmat, states = chain(T, K, rng)
    means = rng.normal(0.0, 2.0, (K, d))
    covars = {"diag": np.full((K, d), 2.0), "full": np.tile(2.0 * np.eye(d), (K, 1, 1))}
    return Data(
        "GaussianHMM",
        means[states] + rng.standard_normal((T, d)),
        np.full(n_sequences, length),
        {
            "startprob_": np.full(K, 1 / K),
            "transmat_": transmat,
            "means_": means + 0.5,
            "covars_": covars[covariance],
        },
        {"n_components": K, "covariance_type": covariance},
    )


def categorical(T: int, K: int, M: int) -> Data:
    """Symbols of sparse distributions; the start knows nothing of them."""
    rng = np.random.default_rng(12)
    transmat, states = chain(T, K, rng)
    running = np.cumsum(rng.dirichlet(np.full(M, 0.5), K), axis=1)
    X = np.minimum((rng.random(T)[:, None] > running[states]).sum(axis=1), M - 1)
    start = {
        "startprob_": np.full(K, 1 / K),
        "transmat_": transmat,
        "emissionprob_": rng.dirichlet(np.ones(M), K),
    }
    return Data("CategoricalHMM", X[:, None], np.array([T]), start, {"n_components": K})


def _started(data: Data, module: str, **more: Any) -> Any:
    kind = getattr(__import__(module, fromlist=[data.kind]), data.kind)
    model = kind(n_iter=N_ITER, tol=-np.inf, init_params="", **data.options, **more)
    for name, value in data.start.items():
        setattr(model, name, value.copy())
    return model


def _fit(module: str, **more: Any) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        _started(data, module, **more)

        def run():
            model = _started(data, module, **more).fit(data.X, data.lengths)
            return np.array(model.monitor_.history)

        return run

    return prepare


def _decode(module: str) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        model = _started(data, module)
        return lambda: model.decode(data.X, data.lengths)[0]

    return prepare


def _work(data: Data, _: Any) -> Work:
    T, d = data.X.shape
    K = data.options["n_components"]
    per_row = 6.0 * K * K + 40.0 * K  # the chain: products, and exponentials of 25 flops
    if data.kind == "GaussianHMM":
        per_row += 3.0 * K * d * (d if data.options["covariance_type"] == "full" else 4)
    moved = 8.0 * T * (4 * K + 2 * d)  # densities and posteriors written and read, X read twice
    return Work(N_ITER * T * per_row, N_ITER * moved, f"{N_ITER} iterations")


def _fits(name: str, make: Callable[[], Data], want: float) -> Case:
    return Case(
        name=f"{name}, {N_ITER} iterations",
        make=make,
        systems={
            "kernelmill": _fit("kernelmill.hmm"),
            "hmmlearn": _fit("hmmlearn.hmm"),
            "hmmlearn scaling": _fit("hmmlearn.hmm", implementation="scaling"),
        },
        check=lambda data, ours, other: arrays_close(ours, other, RTOL),
        work=_work,
        dtype="float64",
        want=want,
    )


def _decodes(T: int, d: int, K: int) -> Case:
    return Case(
        name=f"decode full T={T} d={d} K={K}",
        make=functools.partial(gaussian, "full", 1, T, d, K),
        systems={"kernelmill": _decode("kernelmill.hmm"), "hmmlearn": _decode("hmmlearn.hmm")},
        check=lambda data, ours, other: close(ours, other, RTOL, "log-probability"),
        work=lambda data, _: Work(
            T * (2.0 * K * K + 2.0 * K * d * d), 8.0 * T * (2 * K + d), "densities and maxima"
        ),
        dtype="float64",
        want=8.0,
    )


def cases(quick: bool) -> list[Case]:
    """The shapes of the project's targets."""
    if quick:
        return [
            _fits("full", functools.partial(gaussian, "full", 1, 300, 2, 3), 20.0),
            _fits("diag", functools.partial(gaussian, "diag", 10, 20, 2, 3), 15.0),
            _fits("categorical", functools.partial(categorical, 300, 3, 5), 25.0),
            _decodes(300, 2, 3),
        ]
    full = functools.partial(gaussian, "full", 1, 100_000, 4, 8)
    diag = functools.partial(gaussian, "diag", 400, 200, 4, 8)
    return [
        _fits("GaussianHMM full T=100000 d=4 K=8", full, 20.0),
        _fits("GaussianHMM diag 400 sequences of 200 d=4 K=8", diag, 15.0),
        _fits(
            "CategoricalHMM T=200000 K=8 M=16", functools.partial(categorical, 200_000, 8, 16), 25.0
        ),
        _decodes(100_000, 4, 8),
    ]
