"""Gaussian mixtures beside scikit-learn, and their ops beside NumPy and SciPy.

Equal work: the same weights, means and precisions to start from, the same number of iterations
(``tol=0``). Likelihoods are recomputed here from each system's parameters in float64, never taken
from the system. The systems of the ops are what one would write with BLAS.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close, close, not_worse

RNG_SEED = 20250


@dataclass(frozen=True)
class Data:
    """Rows of overlapping Gaussians, and where every system starts."""

    X: np.ndarray
    means: np.ndarray
    covariance_type: str = "full"

    @property
    def start(self) -> dict[str, Any]:
        """The start in scikit-learn's words."""
        k, d = self.means.shape
        precisions = {
            "full": np.tile(np.eye(d), (k, 1, 1)),
            "tied": np.eye(d),
            "diag": np.ones((k, d)),
            "spherical": np.ones(k),
        }[self.covariance_type]
        return {
            "n_components": k,
            "covariance_type": self.covariance_type,
            "weights_init": np.full(k, 1 / k),
            "means_init": self.means,
            "precisions_init": precisions,
        }


def rows(
    n: int, d: int, k: int, dtype: str, covariance_type: str = "full", missing: float = 0.0
) -> Data:
    """n rows of k Gaussians with covariances of their own; the start is k of the rows."""
    rng = np.random.default_rng(RNG_SEED)
    means = 2.0 * rng.standard_normal((k, d))
    factors = np.eye(d) + 0.5 * rng.standard_normal((k, d, d)) / np.sqrt(d)
    labels = rng.integers(k, size=n)
    X = rng.standard_normal((n, d))
    for j in range(k):
        X[labels == j] = X[labels == j] @ factors[j] + means[j]
    X = np.ascontiguousarray(X, dtype=dtype)
    start = X[rng.choice(n, k, replace=False)].astype(np.float64)
    if missing:
        # A few sensors that fail together: the patterns of gaps are far fewer than the rows.
        for column in rng.choice(d, 3, replace=False):
            X[rng.random(n) < missing, column] = np.nan
    return Data(X, start, covariance_type)


def log_joint(X: np.ndarray, means: np.ndarray, P: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Log joint densities with a BLAS product for each component; P is (k or 1, d, d) or (k, d)."""
    out = np.empty((len(X), len(means)), dtype=X.dtype)
    for j, mean in enumerate(means):
        factor = P[j % len(P)]
        constant = offsets[j] - 0.5 * X.shape[1] * np.log(2 * np.pi)
        if P.ndim == 2:
            white = (X - mean.astype(X.dtype)) * factor.astype(X.dtype)
            constant += np.log(factor).sum()
        else:
            white = (X - mean.astype(X.dtype)) @ factor.astype(X.dtype)
            constant += np.log(np.diag(factor)).sum()
        out[:, j] = constant - 0.5 * np.einsum("ij,ij->i", white, white)
    return out


def shares(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log densities and responsibilities."""
    from scipy.special import logsumexp

    log_prob = logsumexp(joint, axis=1)
    return log_prob, np.exp(joint - log_prob[:, None])


def moments(X: np.ndarray, share: np.ndarray, means: np.ndarray, kind: str) -> tuple:
    """Moments about the means with a BLAS product for each component."""
    sums, squares = [], []
    for j, mean in enumerate(means):
        away = X - mean
        weighted = share[:, j, None] * away
        sums.append(weighted.sum(axis=0))
        squares.append((weighted * away).sum(axis=0) if kind == "diag" else away.T @ weighted)
    stacked = np.array(squares)
    if kind == "tied":
        stacked = stacked.sum(axis=0, keepdims=True)
    return share.sum(axis=0), np.array(sums), stacked


def score(data: Data, result: tuple) -> float:
    """Mean log-likelihood of the rows under a system's parameters, in float64."""
    weights, means, P = (np.asarray(value, dtype=np.float64) for value in result)
    if data.covariance_type == "spherical":
        P = np.tile(P[:, None], (1, means.shape[1]))
    elif data.covariance_type == "tied":
        P = P[None]
    total = 0.0
    for i in range(0, len(data.X), 8192):
        block = data.X[i : i + 8192].astype(np.float64)
        total += float(shares(log_joint(block, means, P, np.log(weights)))[0].sum())
    return total / len(data.X)


def _estimator(module: str, n_iter: int) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        kind = __import__(module, fromlist=["GaussianMixture"]).GaussianMixture

        def run():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # twenty iterations need not converge
                model = kind(max_iter=n_iter, tol=0.0, **data.start).fit(data.X)
            return model.weights_, model.means_, model.precisions_cholesky_

        return run

    return prepare


def step_flops(n: int, d: int, k: int, kind: str) -> tuple[float, str]:
    """Flops of one E-step with its statistics."""
    # One exp a component and row is about 20 flops.
    if kind == "full":
        return n * k * (2.0 * d * d + 20), "2nkd^2 + 20nk flops"
    if kind == "tied":
        return n * (2.0 * d * d + k * (6.0 * d + 20)), "2nd^2 + 6nkd + 20nk flops"
    return n * k * (8.0 * d + 20), "8nkd + 20nk flops"


def _work(n_iter: int) -> Callable[[Data, Any], Work]:
    def work(data: Data, _: Any) -> Work:
        n, d = data.X.shape
        flops, formula = step_flops(n, d, len(data.means), data.covariance_type)
        return Work(
            n_iter * flops,
            n_iter * data.X.nbytes,
            f"{n_iter} passes of {formula}",
        )

    return work


def _fit(n: int, d: int, k: int, kind: str, dtype: str = "float64", **more: Any) -> Case:
    """Twenty EM iterations from the same start."""
    rtol = 1e-8 if dtype == "float64" else 1e-4
    return Case(
        name=f"em-20-iterations {kind} n={n} d={d} k={k} {dtype}",
        make=functools.partial(rows, n, d, k, dtype, kind),
        systems={
            "kernelmill": _estimator("kernelmill.mixture", 20),
            "scikit-learn": _estimator("sklearn.mixture", 20),
        },
        check=lambda data, ours, other: close(
            score(data, ours), score(data, other), rtol, "mean log-likelihood"
        ),
        work=_work(20),
        dtype=dtype,
        **more,
    )


def _default_fit(n: int, d: int, k: int) -> Case:
    """What a user types: k-means start, default tolerance, both with their own random numbers."""

    def system(module: str) -> Callable[[Data], Callable[[], Any]]:
        def prepare(data: Data) -> Callable[[], Any]:
            kind = __import__(module, fromlist=["GaussianMixture"]).GaussianMixture

            def run():
                fits = [
                    kind(n_components=k, random_state=s, n_init=3, max_iter=500).fit(data.X)
                    for s in range(3)
                ]
                return max(
                    score(data, (m.weights_, m.means_, m.precisions_cholesky_)) for m in fits
                )

            return run

        return prepare

    return Case(
        name=f"3-fits n_init=3 full n={n} d={d} k={k} float64",
        make=functools.partial(rows, n, d, k, "float64"),
        systems={
            "kernelmill": system("kernelmill.mixture"),
            "scikit-learn": system("sklearn.mixture"),
        },
        check=lambda data, ours, other: not_worse(-ours, -other, 1e-2, "negative log-likelihood"),
        dtype="float64",
    )


def _predict(n: int, d: int, k: int) -> Case:
    """Responsibilities of n rows under a fitted model; n = 1 is the latency of a call."""

    def system(module: str) -> Callable[[Data], Callable[[], Any]]:
        def prepare(data: Data) -> Callable[[], Any]:
            kind = __import__(module, fromlist=["GaussianMixture"]).GaussianMixture
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = kind(max_iter=3, tol=0.0, **data.start).fit(data.X)
            some = data.X[:n].copy()
            return lambda: model.predict_proba(some)

        return prepare

    return Case(
        name=f"predict_proba full n={n} d={d} k={k} float64",
        make=functools.partial(rows, max(n, 100 * k), d, k, "float64"),
        systems={
            "kernelmill": system("kernelmill.mixture"),
            "scikit-learn": system("sklearn.mixture"),
        },
        check=lambda data, ours, other: arrays_close(ours, other, rtol=0.0, atol=1e-7),
        dtype="float64",
    )


def _missing(n: int, d: int, k: int) -> Case:
    """Twenty iterations on rows with gaps: exact marginalisation beside filling in the mean."""

    def filled(data: Data) -> Callable[[], Any]:
        from sklearn.impute import SimpleImputer
        from sklearn.mixture import GaussianMixture

        def run():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = GaussianMixture(max_iter=20, tol=0.0, **data.start)
                model.fit(SimpleImputer().fit_transform(data.X))
            return model.weights_, model.means_, model.precisions_cholesky_

        return run

    def observed(data: Data, result: tuple) -> float:
        from kernelmill.mixture import GaussianMixture

        model = GaussianMixture(len(data.means))
        model.weights_, model.means_, model.precisions_cholesky_ = result
        precisions = result[2] @ np.swapaxes(result[2], -1, -2)
        model.covariances_ = np.linalg.inv(precisions)
        return model.score(data.X)

    return Case(
        name=f"em-20-iterations with gaps full n={n} d={d} k={k} float64",
        make=functools.partial(rows, n, d, k, "float64", missing=0.1),
        systems={
            "kernelmill": _estimator("kernelmill.mixture", 20),
            "scikit-learn, gaps filled with the mean": filled,
        },
        check=lambda data, ours, other: not_worse(
            -observed(data, ours), -observed(data, other), 0.0, "negative log-likelihood"
        ),
        dtype="float64",
    )


@dataclass(frozen=True)
class Model:
    """Arguments of the ops."""

    X: np.ndarray
    means: np.ndarray
    P: np.ndarray
    offsets: np.ndarray
    joint: np.ndarray
    share: np.ndarray


def _model(n: int, d: int, k: int, dtype: str, kind: str) -> Model:
    data = rows(n, d, k, dtype)
    rng = np.random.default_rng(RNG_SEED + 1)
    count = 1 if kind == "tied" else k
    P = np.triu(0.3 * rng.standard_normal((count, d, d)) / np.sqrt(d)) + np.eye(d)
    if kind == "diag":
        P = np.abs(np.diagonal(P, axis1=1, axis2=2)).copy()
    else:
        diagonal = np.arange(d)
        P[:, diagonal, diagonal] = np.abs(P[:, diagonal, diagonal])
    offsets = np.full(k, -np.log(k))
    joint = log_joint(data.X, data.means, P, offsets)
    share = shares(joint.astype(np.float64))[1]
    return Model(data.X, data.means, P, offsets, joint, share)


def _close(model: Model, ours: Any, other: Any) -> str:
    """Every output within the rounding of the dtype, as a share of the largest entry."""
    single = model.X.dtype == np.float32
    pairs = zip(ours, other, strict=True) if isinstance(ours, tuple) else [(ours, other)]
    for got, want in pairs:
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        scale = float(np.abs(want).max())
        complaint = arrays_close(got, want, rtol=0.0, atol=(1e-4 if single else 1e-9) * scale)
        if complaint:
            return complaint
    return ""


def _op(name: str, n: int, d: int, k: int, dtype: str, kind: str = "full") -> Case:
    """One op beside the same with NumPy, SciPy and BLAS."""

    def ours(m: Model) -> Callable[[], Any]:
        from kernelmill.ops import mixture

        op = getattr(mixture, name)
        return {
            "log_joint": lambda: op(m.X, m.means, m.P, m.offsets),
            "responsibilities": lambda: op(m.joint),
            "moments": (
                (lambda: op(m.X, m.share, m.means))
                if kind == "diag"
                else (lambda: op(m.X, m.share, m.means, kind == "tied"))
            ),
            "step": lambda: op(m.X, m.means, m.P, m.offsets),
        }[part]

    def step(m: Model) -> tuple:
        log_prob, share = shares(log_joint(m.X, m.means, m.P, m.offsets).astype(np.float64))
        return *moments(m.X, share, m.means, kind), float(log_prob.sum())

    def numpy(m: Model) -> Callable[[], Any]:
        return {
            "log_joint": lambda: log_joint(m.X, m.means, m.P, m.offsets),
            "responsibilities": lambda: shares(m.joint),
            "moments": lambda: moments(m.X, m.share, m.means, kind),
            "step": lambda: step(m),
        }[part]

    def work(m: Model, _: Any) -> Work:
        width = np.dtype(dtype).itemsize
        both, formula = step_flops(n, d, k, kind)
        product = (both - 20.0 * n * k) / 2
        return {
            "log_joint": Work(product, m.X.nbytes + 1.0 * width * n * k, "half a step's product"),
            "responsibilities": Work(
                20.0 * n * k, (2.0 * k + 1) * width * n, "20nk flops, both matrices once"
            ),
            "moments": Work(product, m.X.nbytes + 8.0 * n * k, "half a step's product"),
            "step": Work(both, m.X.nbytes, formula),
        }[part]

    part = name.removeprefix("full_").removeprefix("diag_")
    return Case(
        name=f"{name} {kind} n={n} d={d} k={k} {dtype}",
        make=functools.partial(_model, n, d, k, dtype, kind),
        systems={"kernelmill": ours, "NumPy and SciPy": numpy},
        check=_close,
        work=work,
        dtype=dtype,
    )


FULL, DIAG = (
    ("full_log_joint", "full_moments", "full_step"),
    (
        "diag_log_joint",
        "diag_moments",
        "diag_step",
    ),
)


def _ops(n: int, d: int, k: int, dtype: str) -> list[Case]:
    """Every op at one shape, the full ones with a tied covariance as well."""
    return [
        *(_op(name, n, d, k, dtype) for name in FULL),
        *(_op(name, n, d, k, dtype, "tied") for name in FULL),
        *(_op(name, n, d, k, dtype, "diag") for name in DIAG),
        _op("responsibilities", n, d, k, dtype),
    ]


def cases(quick: bool) -> list[Case]:
    """The cases of the project's targets first, then shapes that nobody tuned for."""
    if quick:
        return [
            *(_fit(2_000, 4, 3, kind) for kind in ("full", "tied", "diag", "spherical")),
            _default_fit(600, 3, 3),
            _predict(1, 4, 3),
            _missing(2_000, 4, 3),
            *_ops(1_003, 5, 7, "float64"),
        ]
    return [
        _fit(50_000, 16, 10, "full", want=10.0),
        _fit(50_000, 16, 10, "tied", want=8.0),
        _fit(50_000, 16, 10, "diag", want=8.0),
        _fit(50_000, 16, 10, "spherical"),
        _fit(50_000, 16, 10, "full", "float32"),
        _fit(99_991, 3, 5, "full"),
        _fit(30_011, 50, 4, "full"),
        _fit(30_011, 50, 4, "tied"),
        _fit(200_003, 7, 32, "diag", "float32"),
        _fit(600, 4, 3, "full"),
        _default_fit(5_000, 8, 6),
        _missing(50_000, 16, 10),
        _predict(1, 16, 10),
        _predict(100_000, 16, 10),
        *_ops(50_000, 16, 10, "float64"),
        *_ops(50_000, 16, 10, "float32"),
        _op("full_step", 20_011, 100, 5, "float64"),
        _op("diag_step", 100_003, 13, 100, "float32", "diag"),
    ]
