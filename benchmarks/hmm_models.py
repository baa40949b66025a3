"""Hidden Markov models beside hmmlearn: whole fits and decoding, from the same start.

Equal work: the same start, 10 iterations without an early stop, and equal log-likelihoods at each
iteration. hmmlearn runs both ways: in log space, which is its default, and with scaling.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._harness import Case, arrays_close

N_ITER = 10
MODULES = {"kernelmill": "kernelmill.hmm", "hmmlearn": "hmmlearn.hmm"}
SYSTEMS = {  # name -> module, and what it sets besides
    "kernelmill": ("kernelmill", {}),
    "hmmlearn": ("hmmlearn", {}),
    "hmmlearn scaling": ("hmmlearn", {"implementation": "scaling"}),
}


@dataclass(frozen=True)
class Data:
    """Observations, the lengths of their sequences, and parameters to start from."""

    X: np.ndarray
    lengths: list[int] | None
    start: dict[str, np.ndarray]


def _chain(rng: np.random.Generator, T: int, K: int) -> np.ndarray:
    """States that stay for ten steps on average."""
    moves = rng.random(T) < 0.1
    return (np.cumsum(moves * rng.integers(1, K, T))) % K


def gaussian(T: int, d: int, K: int, kind: str, lengths: list[int] | None = None) -> Data:
    """Rows of overlapping Gaussians."""
    rng = np.random.default_rng(11)
    means = 2 * rng.standard_normal((K, d))
    X = means[_chain(rng, T, K)] + rng.standard_normal((T, d))
    start = _start(K) | {
        "means_": means + 0.3 * rng.standard_normal((K, d)),
        "covars_": np.stack([np.eye(d)] * K) if kind == "full" else np.ones((K, d)),
    }
    return Data(X, lengths, start)


def categorical(T: int, K: int, M: int) -> Data:
    """Symbols, each state with a table of its own."""
    rng = np.random.default_rng(12)
    tables = rng.dirichlet(np.full(M, 0.5), K)
    states = _chain(rng, T, K)
    X = (rng.random((T, 1)) > np.cumsum(tables, axis=1)[states]).sum(axis=1)
    start = _start(K) | {"emissionprob_": 0.5 * tables + 0.5 * rng.dirichlet(np.ones(M), K)}
    return Data(np.minimum(X, M - 1)[:, None], None, start)


def _start(K: int) -> dict[str, np.ndarray]:
    transmat = np.full((K, K), 0.2 / (K - 1))
    np.fill_diagonal(transmat, 0.8)
    return {"startprob_": np.full(K, 1 / K), "transmat_": transmat}


def _model(system: str, name: str, data: Data, **fixed: Any) -> Any:
    kind = getattr(__import__(MODULES[system], fromlist=[name]), name)
    K = len(data.start["startprob_"])
    model = kind(K, n_iter=N_ITER, tol=-np.inf, init_params="", **fixed)
    for attribute, value in data.start.items():
        setattr(model, attribute, value.copy())
    return model


def _fit(system: str, name: str, **fixed: Any) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        logging.getLogger("hmmlearn").setLevel(logging.ERROR)
        _model(system, name, data, **fixed)  # raises ImportError when the peer is missing

        def run():
            model = _model(system, name, data, **fixed).fit(data.X, data.lengths)
            return np.array(model.monitor_.history, dtype=float), model.transmat_

        return run

    return prepare


def _decode(system: str, **fixed: Any) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        model = _model(system, "GaussianHMM", data, **fixed)
        return lambda: model.decode(data.X, data.lengths)

    return prepare


def _same(data: Data, ours: Any, other: Any) -> str:
    return arrays_close(ours[0], other[0], 1e-9) or arrays_close(ours[1], other[1], 1e-5, 1e-9)


def _same_path(data: Data, ours: Any, other: Any) -> str:
    differ = int((ours[1] != other[1]).sum())
    return (
        f"{differ} states differ"
        if differ
        else arrays_close(np.array(ours[0]), np.array(other[0]), 1e-9)
    )


def _fit_case(title: str, name: str, make: Callable[[], Data], want: float, **fixed: Any) -> Case:
    return Case(
        name=f"{title}, {N_ITER} iterations",
        make=make,
        systems={
            system: _fit(module, name, **fixed, **more)
            for system, (module, more) in SYSTEMS.items()
        },
        check=_same,
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """The cases of the project's targets, and shapes that nobody tuned for."""
    T, S = (2_000, 20) if quick else (100_000, 400)
    full, diag = {"covariance_type": "full"}, {"covariance_type": "diag"}
    found = [
        _fit_case(
            f"GaussianHMM full T={T} d=4 K=8",
            "GaussianHMM",
            functools.partial(gaussian, T, 4, 8, "full"),
            20.0,
            **full,
        ),
        _fit_case(
            f"GaussianHMM diag {S} sequences of 200 d=4 K=8",
            "GaussianHMM",
            functools.partial(gaussian, 200 * S, 4, 8, "diag", [200] * S),
            15.0,
            **diag,
        ),
        _fit_case(
            f"CategoricalHMM T={2 * T} K=8 16 symbols",
            "CategoricalHMM",
            functools.partial(categorical, 2 * T, 8, 16),
            25.0,
        ),
        Case(
            name=f"decode by Viterbi T={T} d=4 K=8",
            make=functools.partial(gaussian, T, 4, 8, "diag"),
            systems={system: _decode(system, **diag) for system in MODULES},
            check=_same_path,
            dtype="float64",
            want=8.0,
        ),
    ]
    if not quick:
        found.append(
            _fit_case(
                "GaussianHMM diag T=20000 d=10 K=3",
                "GaussianHMM",
                functools.partial(gaussian, 20_000, 10, 3, "diag"),
                15.0,
                **diag,
            )
        )
    return found
