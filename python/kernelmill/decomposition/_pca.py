"""PCA."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import gammaln

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill.decomposition._axes import (
    Axes,
    CentredRows,
    by_lanczos,
    by_random,
    by_rows,
    by_scatter,
    by_values,
    signed,
)
from kernelmill.decomposition._low_rank import LowRank
from kernelmill.decomposition._projection import GaussianProjection

SOLVERS = ("auto", "full", "covariance_eigh", "dual_eigh", "arpack", "randomized")
_SMALL = 400  # side of a scatter whose eigenvectors cost less than random directions would
_LARGE = 1000
NORMALIZER = rule.one_of("auto", "QR", "LU", "none")
ITERATIONS = rule.any_of(rule.one_of("auto"), rule.integer(0))


def few_rows(rows: Rows | int, owner: str, least: int = 2) -> None:
    """Refuse fewer rows than have a variance."""
    n = rows if isinstance(rows, int) else rows.count
    if n < least:
        raise ValueError(
            f"{owner}: X must have at least {least} rows, got {n} sample(s) (a variance needs "
            "more than one)"
        )


def solver_of(n: int, d: int, k: int, exact: bool, sparse: bool) -> str:
    """The solver that ``"auto"`` means."""
    long, short = max(n, d), min(n, d)
    if sparse:
        # Eigenvectors of a scatter of 834 columns take 0.2 s, products with 2,000 rows 0.01 s.
        small = d <= _SMALL or (d <= _LARGE and (4 * k > short or n >= 50 * d))
        return "covariance_eigh" if small or exact or k >= short else "arpack"
    if (short <= _SMALL and long >= 2 * short) or (short <= _LARGE and long >= 10 * short):
        return "covariance_eigh" if n >= d else "dual_eigh"
    if long > 500 and k < 0.8 * short and not exact:
        return "randomized"
    return "full"


def dimension_of(variances: np.ndarray, n: int) -> int:
    """The number of components with the largest evidence, Minka's approximation (2000).

    Of k of d components, with v the mean of the other variances and m = d k - k (k + 1) / 2,

        log p(X | k) = log p(U) - n/2 sum_(i<=k) log l_i - n (d - k)/2 log v + (m + k)/2 log 2 pi
                       - 1/2 log |A| - k/2 log n
        log p(U) = -k log 2 + sum_(i<=k) (log Gamma((d - i + 1)/2) - (d - i + 1)/2 log pi)
        log |A| = sum_(i<=k) sum_(j>i) log((1/l~_j - 1/l~_i) (l_i - l_j) n)

    where l~ is l with v in place of what is left out.
    """
    d = len(variances)
    l = variances / (variances[0] or 1.0)  # noqa: E741 - as in the paper; scale-free
    eps = np.finfo(l.dtype).eps
    best, found = -np.inf, 1
    for k in range(1, d):
        if l[k - 1] < eps:
            break
        i = np.arange(1, k + 1)
        log_u = (gammaln((d - i + 1) / 2) - np.log(np.pi) * (d - i + 1) / 2).sum() - k * np.log(2)
        v = max(eps, float(l[k:].sum()) / (d - k))
        rest = np.concatenate([l[:k], np.full(d - k, v)])
        first, second = np.triu_indices(d, 1)
        first, second = first[first < k], second[first < k]
        with np.errstate(divide="ignore"):
            ratio = (l[first] - l[second]) * (1 / rest[second] - 1 / rest[first])
            log_a = np.log(ratio) + np.log(n)
        m = d * k - k * (k + 1) / 2
        evidence = (
            log_u - n / 2 * np.log(l[:k]).sum() - n * (d - k) / 2 * np.log(v)
            + (m + k) / 2 * np.log(2 * np.pi) - log_a.sum() / 2 - k / 2 * np.log(n)
        )  # fmt: skip
        if evidence > best:
            best, found = evidence, k
    return found


class PCA(GaussianProjection):
    """Principal components: the orthogonal directions of largest variance.

    Parameters
    ----------
    n_components : int, float, "mle" or None, default=None
        Number of components, min(n, d) by default. A number between 0 and 1 is the share of the
        variance that must be exceeded; ``"mle"`` chooses by Minka's approximation of the evidence.
    svd_solver : {"auto", "full", "covariance_eigh", "dual_eigh", "arpack", "randomized"}, \
default="auto"
        How the directions are found: by the singular values of the centred rows; by the
        eigenvectors of their covariance, which one pass over a stream gives, or of the (n, n)
        products of rows; by ARPACK; or by products with random directions. ``"auto"`` chooses by
        the shape, see Notes; ``svd_solver_`` says what was used.
    iterated_power : int or "auto", default="auto"
        Iterations of ``"randomized"``: 7, or 4 where a tenth of the components or more is wanted.

    Attributes
    ----------
    components_, explained_variance_, explained_variance_ratio_, singular_values_, mean_
    n_components_ : int
        Number of components.
    n_samples_ : int
        Number of rows with a positive weight.
    noise_variance_
    svd_solver_ : str
        The solver that was used.
    n_features_in_, feature_names_in_

    See Also
    --------
    IncrementalPCA : Batch by batch, in memory for the components alone.
    TruncatedSVD : Without centring, for sparse rows.
    ProbabilisticPCA : For rows with missing entries.

    Notes
    -----
    With s the shorter and l the longer side of X, ``"auto"`` takes the products of the shorter side
    where s <= 400 and l >= 2 s, or s <= 1000 and l >= 10 s (``"covariance_eigh"`` for n >= d,
    ``"dual_eigh"`` for n < d); else random directions where l > 500 and fewer than 0.8 s components
    are wanted; else all singular values. Streams use the covariance, sparse rows with d > 1000
    ARPACK.

    Sums are taken in float64 about an origin near the mean, so that float32 rows far from zero keep
    their digits. Squares of singular values have errors of ``eps`` times the largest, where
    products are used, and of its square, where the rows are; a variance below that is 0, and so
    are whitened scores along it. Weights count rows: the divisor is their sum less 1.

    The Gaussian of ``score`` has variance `noise_variance_` in all directions that are left out.

    References
    ----------
    Tipping and Bishop (1999), "Probabilistic principal component analysis". Minka (2000),
    "Automatic choice of dimensionality for PCA". Halko, Martinsson and Tropp (2011), "Finding
    structure with randomness".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import PCA
    >>> X = np.array([[-1.0, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]])
    >>> pca = PCA(1).fit(X)
    >>> pca.explained_variance_ratio_.round(4), pca.singular_values_.round(4)
    (array([0.9924]), array([6.3006]))
    >>> pca.components_.round(4), pca.svd_solver_
    (array([[0.8385, 0.5449]]), 'covariance_eigh')

    One pass over a file:

    >>> np.save("rows.npy", X)
    >>> bool(np.allclose(PCA(1).fit("rows.npy").components_, pca.components_))
    True
    """

    _accepts_sparse = True
    _parameters: ClassVar = {
        "n_components": rule.any_of(
            rule.integer(0),
            rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a share between 0 and 1"),
            rule.one_of("mle", None),
        ),
        "copy": rule.boolean(),
        "whiten": rule.boolean(),
        "svd_solver": rule.one_of(*SOLVERS),
        "tol": rule.real(0),
        "iterated_power": ITERATIONS,
        "n_oversamples": rule.integer(1),
        "power_iteration_normalizer": NORMALIZER,
        "random_state": rule.RANDOM_STATE,
    }

    def __init__(
        self, n_components=None, *, copy=True, whiten=False, svd_solver="auto", tol=0.0,
        iterated_power="auto", n_oversamples=10, power_iteration_normalizer="auto",
        random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y=None, sample_weight=None):
        """Find the components.

        Raises
        ------
        ValueError
            If X, the weights or a parameter do not fit, or X has one row.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True, deferred=True)
        if rows.weight is not None and not (to_host(rows.weight) > 0).all():
            rows.check()
            rows = rows.part(to_host(rows.weight) > 0)
        exact = self.n_components == "mle" or not (
            self.n_components is None or rule.is_integer(self.n_components)
        )
        d, solver = rows.n_features, self.svd_solver
        if rows.is_stream:
            if solver not in ("auto", "covariance_eigh"):
                raise ValueError(
                    f"{rows.owner}: svd_solver must be 'auto' or 'covariance_eigh' for a stream, "
                    f"got {solver!r} (load the rows for another)"
                )
            n, short, solver = None, d, "covariance_eigh"
        else:
            n = rows.count
            few_rows(n, rows.owner)
            short = min(n, d)
        k = self._wanted(short, exact, solver, n, d)
        if n is not None and solver == "auto":
            solver = solver_of(n, d, k, exact, is_sparse(rows.X))
        if solver == "covariance_eigh":
            seen = moments_of(rows)
            few_rows(seen.count, rows.owner)
            count, weight, mean = seen.count, seen.weight, seen.mean
            self._wanted(min(count, d), exact, solver, count, d)
            axes = by_scatter(seen.xx, min(k, count))
            least = max(count, d) * np.finfo(np.float64).eps
        else:
            rows.check()
            axes, A, least = self._found(rows, k, solver)
            count, weight, mean = rows.count, A.weight, A.mean
        return self._learn(rows, axes, count, weight, mean, exact, least, solver)

    def _wanted(self, short: int, exact: bool, solver: str, n: int | None, d: int) -> int:
        """How many components to compute."""
        given, owner = self.n_components, type(self).__name__
        if exact:
            if solver in ("arpack", "randomized"):
                raise ValueError(
                    f"{owner}: n_components must be a whole number for svd_solver={solver!r}, got "
                    f"{given!r}"
                )
            if given == "mle" and n is not None and n < d:
                raise ValueError(
                    f"{owner}: n_components='mle' is only supported if n_samples >= n_features, "
                    f"got {n} rows of {d} features"
                )
            return short
        most = short - 1 if solver == "arpack" else short
        if given is None:
            return most
        if given > most:
            what = "less than" if solver == "arpack" else "at most"
            raise ValueError(
                f"{owner}: n_components must be {what} min(n_samples, n_features)={short}, got "
                f"{given}"
            )
        return int(given)

    def _found(self, rows: Rows, k: int, solver: str) -> tuple[Axes, CentredRows, float]:
        """Axes of rows in memory, and the share of the largest square that is rounding."""
        A = CentredRows(rows, centred=True)
        eps = float(np.finfo(rows.dtype).eps)
        least = (max(A.shape) * eps) ** 2
        if solver in ("full", "dual_eigh") and A.sparse:
            raise ValueError(
                f"{rows.owner}: svd_solver must be 'auto', 'covariance_eigh', 'arpack' or "
                f"'randomized' for sparse X, got {solver!r}"
            )
        if k == 0 and self.svd_solver == "arpack":
            raise ValueError(
                f"{rows.owner}: n_components must be at least 1 for svd_solver='arpack', got 0"
            )
        if k == 0:
            return Axes(np.empty((0, A.d)), np.empty(0), A.total), A, least
        if solver == "full":
            return by_values(A, k), A, least
        if solver == "dual_eigh":
            if A.count > A.d:
                raise ValueError(
                    f"{rows.owner}: svd_solver='dual_eigh' must be given at most as many rows as "
                    f"features, got shape {A.shape} (use 'covariance_eigh')"
                )
            return by_rows(A, k), A, max(least, max(A.shape) * np.finfo(np.float64).eps)
        seed = seed_of(self.random_state)
        if solver == "arpack":
            axes = by_lanczos(A, k, seed, self.tol)
        else:
            axes = by_random(
                A, k, seed, self.n_oversamples, self.iterated_power,
                self.power_iteration_normalizer,
            )  # fmt: skip
        return axes, A, least

    def _learn(
        self, rows: Rows, axes: Axes, n: int, weight: float, mean: np.ndarray, exact: bool,
        least: float, solver: str,
    ) -> Any:  # fmt: skip
        dtype, d = rows.dtype, rows.n_features
        squares = axes.values**2
        squares = np.where(squares > least * squares.max(initial=0.0), squares, 0.0)
        total = max(axes.total, float(squares.sum()))
        divisor = weight - 1 if weight > 1 else weight
        k = len(squares)
        if exact:
            if self.n_components == "mle":
                k = dimension_of(squares / divisor, n)
            else:
                shares = np.cumsum(squares) / (total or 1.0)
                k = int(np.searchsorted(shares, self.n_components, side="right")) + 1
            k = min(k, len(squares))
        kept = squares[:k]
        self.n_components_, self.n_samples_, self.svd_solver_ = k, n, solver
        self.mean_ = mean
        self.components_ = np.ascontiguousarray(signed(axes.components[:k]), dtype=dtype)
        self.explained_variance_ = kept / divisor
        self.explained_variance_ratio_ = kept / (total or 1.0)
        self.singular_values_ = np.sqrt(kept)
        left = min(n, d) - k
        rest = total - float(kept.sum())
        if len(squares) > k:
            rest = float(squares[k:].sum())
        elif rest <= least * total:
            rest = 0.0
        self.noise_variance_ = rest / divisor / left if left > 0 else 0.0
        return self

    def _transformation(self) -> tuple:
        scale = None
        if self.whiten:
            variances = self.explained_variance_
            with np.errstate(divide="ignore"):
                scale = np.where(variances > 0, 1 / np.sqrt(variances), 0.0)
        return self.mean_, self.components_, scale

    def _low_rank(self) -> LowRank:
        variances = self.explained_variance_
        noise, d = self.noise_variance_, self.n_features_in_
        if self.n_components_ == d:  # a part of all variances is as good as noise
            noise = float(variances.min())
        W = self.components_ * np.sqrt(np.maximum(variances - noise, 0.0))[:, None]
        return LowRank(W, np.full(d, noise))
