"""Models of every kind, and sequences for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from kernelmill.hmm import (
    GMMHMM,
    CategoricalHMM,
    GaussianHMM,
    MultinomialHMM,
    PoissonHMM,
    VariationalCategoricalHMM,
    VariationalGaussianHMM,
)

COVARIANCES = ("spherical", "diag", "full", "tied")


def vectors(rng, T, d=2):
    """Rows of three blobs, each state held for a while."""
    means = 4.0 * np.arange(3)[:, None] + np.arange(d)
    return means[(np.arange(T) // 5) % 3] + rng.standard_normal((T, d))


def symbols(rng, T):
    return ((np.arange(T) // 4) % 2 * 2 + rng.integers(0, 3, T))[:, None]


def counts(rng, T, d=2):
    return rng.poisson(np.where((np.arange(T) // 5) % 2, 9.0, 2.0)[:, None], (T, d))


def trials(rng, T):
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])[(np.arange(T) // 5) % 2]
    return rng.multinomial(6, p)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of model: how to make it, and rows it takes."""

    name: str
    make: Callable
    rows: Callable
    # The attributes that hold its emissions.
    emissions: tuple[str, ...]


def _kinds():
    for kind in COVARIANCES:
        yield Kind(
            f"GaussianHMM-{kind}",
            lambda K=2, kind=kind, **p: GaussianHMM(K, kind, **p),
            vectors,
            ("means_", "_covars_"),
        )
        yield Kind(
            f"GMMHMM-{kind}",
            lambda K=2, kind=kind, **p: GMMHMM(K, n_mix=2, covariance_type=kind, **p),
            vectors,
            ("means_", "_covars_", "weights_"),
        )
        yield Kind(
            f"VariationalGaussianHMM-{kind}",
            lambda K=2, kind=kind, **p: VariationalGaussianHMM(K, kind, **p),
            vectors,
            ("means_posterior_", "scale_posterior_"),
        )
    yield Kind("CategoricalHMM", CategoricalHMM, symbols, ("emissionprob_",))
    yield Kind(
        "VariationalCategoricalHMM",
        VariationalCategoricalHMM,
        symbols,
        ("emissionprob_posterior_",),
    )
    yield Kind("PoissonHMM", PoissonHMM, counts, ("lambdas_",))
    yield Kind("PoissonHMM-1", PoissonHMM, lambda rng, T: counts(rng, T, 1), ("lambdas_",))
    yield Kind("MultinomialHMM", MultinomialHMM, trials, ("emissionprob_",))


KINDS = {kind.name: kind for kind in _kinds()}


def slack(model, rows):
    """How much rounding may lower the objective: 2 T K eps of its size, for two values.

    Rows are whitened before means are subtracted, so a log density is also wrong by its deviation,
    of size 1, times eps |m| / sigma.
    """
    size = max(1.0, np.abs(model.monitor_.objective).max())
    gaussians = getattr(model._model()[1], "gaussians", None)
    if gaussians is not None:
        shift = np.abs(gaussians.means).max() * np.abs(gaussians.precisions_cholesky).max()
        size = max(size, shift)
    return 16 * rows * model.n_components * np.finfo(np.float64).eps * size


def assert_monotone(model, rows):
    """No iteration has lowered the objective, and nothing is NaN."""
    objective = np.array(model.monitor_.objective)
    assert np.isfinite(objective).all()
    assert len(objective) < 2 or np.diff(objective).min() >= -slack(model, rows)
    for name, value in vars(model).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert np.isfinite(value).all(), name


def same_start(model, other):
    """Let `other` start where `model` is now."""
    other.set_params(init_params="")
    for name, value in vars(model).items():
        if name.endswith("_") and not name.startswith("n_features"):
            setattr(other, name, np.copy(value) if isinstance(value, np.ndarray) else value)
    return other
