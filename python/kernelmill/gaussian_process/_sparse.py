"""SparseGaussianProcessRegressor: the variational bound over inducing inputs, whole or in batches.

`_bound` derives the bound and its gradients, `_steps` the stochastic steps.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_cupy
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, climb, warn_unconverged
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count, numbers
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process._bound import CHUNK, Bound, Coordinates, Data, Gaussian
from kernelmill.gaussian_process._regressor import ONE_OF_TWO, Sampled, columns_of
from kernelmill.gaussian_process._search import OTHERS, Search, described, fingerprint
from kernelmill.gaussian_process._steps import Descent, State, begin
from kernelmill.gaussian_process._words import PARAMETERS, WORDS
from kernelmill.gaussian_process.kernels._kernel import Kernel, own_kernel

KEPT = ("_mean", "_scale", "_shape", "_seen", "_variance")  # by partial_fit and predictions
_LARGEST = 1e70  # of the targets: squares of their variances must not overflow


def spread(Z: np.ndarray) -> np.ndarray:
    """Deviations of the inducing inputs."""
    return np.where(Z.std(0) > 0, Z.std(0), 1.0)


def spacing(Z: np.ndarray) -> np.ndarray:
    """About how far apart m inducing inputs are, ``m^(-1/d)`` of their spread."""
    return spread(Z) * max(len(Z), 1) ** (-1 / max(Z.shape[1], 1))


class SparseGaussianProcessRegressor(RegressorMixin, MultiOutputMixin, Sampled):
    """Gaussian process regression from inducing inputs, for many rows.

    The posterior is approximated from the function's values at `n_inducing` places. These, the
    kernel's hyperparameters and the variance of the noise maximise a lower bound on the log
    marginal likelihood, which never falls when inducing inputs are added, and is the log marginal
    likelihood where they are the rows.

    Parameters
    ----------
    kernel : Kernel, optional
        Covariance function without noise; ``1.0 * RBF(1.0)`` by default.
    n_inducing : int, default=100
        Number m of inducing inputs; at most the number of different rows is used.
    inducing_inputs : array-like of shape (m, d), optional
        Where they start; the centers of k-means by default.
    optimize_inducing : bool, default=True
        Move them too.
    noise_variance : float, optional
        Variance of the noise at the start; a tenth of the variance of y by default.
    noise_variance_bounds : pair of float or "fixed", default=(1e-8, 1e8)
        Its bounds in fits, relative to the variance of y.
    optimizer : "fmin_l_bfgs_b", callable or None, default="fmin_l_bfgs_b"
        How the bound is maximised; None keeps the kernel, the noise and the inducing inputs.
    max_iter : int, default=100
        Most iterations of L-BFGS. Each takes two passes over the rows, or a few. With `batch_size`,
        most passes.
    normalize_y : bool, default=False
        Centre and scale the targets of the fit; predictions are scaled back.
    batch_size : int, optional
        Rows of a stochastic step; None takes the steps of `optimizer`, over all rows.
    learning_rate : float, default=0.05
        Adam's rate in stochastic steps: of logarithms of hyperparameters, and of inducing inputs in
        units of their spacing. It is halved where the bound no longer rises.
    natural_step : float, default=0.1
        Least share of the way that such a step takes q to the best one for its rows, in (0, 1].
    warm_start

    Attributes
    ----------
    inducing_inputs_ : ndarray of shape (m, d)
        Inducing inputs.
    kernel_
    noise_variance_ : float
        Variance of the noise, in the unit of y squared, after normalisation.
    lower_bound_ : float
        The bound on the log marginal likelihood, summed over targets.
    jitter_ : float
        What was added to the diagonal of ``kernel_(inducing_inputs_)``; 0 if nothing.
    n_iter_ : int
        Iterations of the optimizer, or passes.
    n_steps_ : int
        Stochastic steps, of ``partial_fit`` and of fits with `batch_size`.
    n_features_in_, feature_names_in_

    See Also
    --------
    GaussianProcessRegressor : Exact, for up to some thousand rows.

    Notes
    -----
    An iteration over all rows costs O(n m^2 + n m d) and reads them twice; memory is O(m^2) beside
    a chunk of the rows. X may be a stream; y is an array. Computations are in float64.

    With ``batch_size=b`` a step costs O(b m^2 + b m d + m^3), and a pass n / b of them. Choose it
    where a pass is dear: for many rows, some passes in steps end where L-BFGS takes hundreds; for
    few, L-BFGS is faster and ends closer to an optimum. Such a fit ends with a pass over all rows,
    which makes q and ``lower_bound_`` those of the hyperparameters that were found.

    References
    ----------
    Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes".
    Hensman, Fusi and Lawrence (2013), "Gaussian processes for big data".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.gaussian_process import SparseGaussianProcessRegressor
    >>> from kernelmill.gaussian_process.kernels import RBF
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 10, (5000, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=5000)
    >>> model = SparseGaussianProcessRegressor(1.0 * RBF(1.0), n_inducing=20, random_state=0)
    >>> model = model.fit(X, y)
    >>> model.predict([[np.pi / 2]]).round(1), round(model.noise_variance_, 3)
    (array([1.]), 0.01)

    A stream whose end is not known:

    >>> online = SparseGaussianProcessRegressor(1.0 * RBF(1.0), n_inducing=20, random_state=0)
    >>> for rows in np.array_split(np.arange(5000), 100):
    ...     online = online.partial_fit(X[rows], y[rows])
    >>> online.predict([[np.pi / 2]]).round(1)
    array([1.])
    """

    _words = WORDS
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        "kernel": PARAMETERS["kernel"],
        "n_inducing": rule.integer(1),
        "inducing_inputs": rule.any_of(rule.array("(m, d)"), rule.nothing()),
        "optimize_inducing": rule.boolean(),
        "noise_variance": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "noise_variance_bounds": rule.any_of(rule.one_of("fixed"), rule.array("(2,)")),
        "optimizer": PARAMETERS["optimizer"],
        "max_iter": rule.integer(1),
        "normalize_y": rule.boolean(),
        "batch_size": rule.any_of(rule.integer(1), rule.nothing()),
        "learning_rate": rule.real(0, above=True),
        "natural_step": rule.real(0, above=True, high=1),
        "warm_start": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
    }

    def __init__(
        self, kernel=None, *, n_inducing=100, inducing_inputs=None, optimize_inducing=True,
        noise_variance=None, noise_variance_bounds=(1e-8, 1e8), optimizer="fmin_l_bfgs_b",
        max_iter=100, normalize_y=False, random_state=None, batch_size=None, learning_rate=0.05,
        natural_step=0.1, warm_start=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y):
        """Fit the process.

        Parameters
        ----------
        X : array-like or stream of shape (n, d)
            Rows.

        Raises
        ------
        ValueError
            If X, y or a parameter does not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` was not enough.
        """
        rows = self._host_rows(X, reset=True)
        y = numbers(y, rows.owner, np.float64)
        check_count(y, rows.count, rows.owner)
        targets = self._targets(y, first=True)
        kept = vars(self).get("_search") if self.warm_start else None
        seed = seed_of(self.random_state) if kept is None else kept["seed"]
        kernel, noise, Z, variance = self._begin(rows, targets, seed)
        data = Data(rows, targets, rows.owner)
        self._seen, self._variance = float(len(y)), variance
        self.n_iter_ = self.n_steps_ = 0
        given = kernel, noise, Z, data, variance, seed, (X, y)
        with _factor.lapack_threads(len(Z)):
            if self.optimizer is None or self.batch_size is None:
                bound = self._optimised(*given)
            else:
                bound = self._stepped(*given)
        self.__dict__.update(self._attributes(bound))
        return self

    @fitting
    def partial_fit(self, X, y):
        """Take one step on each batch of these rows; goes on from a fit, or from calls before.

        The number of rows that the process stands for is that of all rows so far without an
        `optimizer`: then q is that of one fit to all of them. With one, hyperparameters move and
        what they made of earlier rows grows old, so it is the number that q remembers, about
        ``2 b / natural_step`` of the last ones for batches of b. The first call chooses inducing
        inputs and, with `normalize_y`, mean and scale; it should not be small.

        Parameters
        ----------
        X : array-like or stream of shape (n, d)
            Rows, in batches of `batch_size`; by default all of an array is one.

        Raises
        ------
        ValueError
            If X, y or a parameter does not fit, or X has other features than before.
        """
        first = not hasattr(self, "inducing_inputs_")
        rows = self._host_rows(X, reset=first)
        y = numbers(y, rows.owner, np.float64)
        check_count(y, rows.count, rows.owner)
        targets = self._targets(y, first=first)
        if first:
            seed = seed_of(self.random_state)
            kernel, noise, Z, variance = self._begin(rows, targets, seed)
            self._seen, self._variance, self.n_steps_ = 0.0, variance, 0
        else:
            kernel, noise, Z = self.kernel_, self.noise_variance_, self.inducing_inputs_
            variance = self._variance
        online = vars(self).get("_online")
        unit = spacing(Z) if online is None else online["unit"]
        coordinates = self._coordinates(kernel, noise, Z, variance, unit)
        moving = [coordinates.fixed, coordinates.moves]
        if online is None:
            state = begin(coordinates, targets.shape[1])
            if not first:  # after a fit
                precision = self._LB @ self._LB.T
                q = Gaussian(precision, precision @ (self._L.T @ self._weights))
                state = replace(state, q=q, rows=self._seen)
        else:
            state = State.of(online["state"])
            if moving != online["moving"]:  # parameters say so: Adam begins anew
                fresh = begin(coordinates, targets.shape[1])
                state = replace(state, theta=fresh.theta, moments=fresh.moments)
        descent = self._descent(coordinates, rows.owner)
        size = self.batch_size or (CHUNK if rows.is_stream else max(rows.count, 1))
        with _factor.lapack_threads(len(Z)):
            for x, places, _ in rows.batches(size):
                state = descent.step(replace(state, values=[]), x, targets[places])
            data = Data(Rows(x, None, rows.owner), targets[places], rows.owner)
            bound = descent.bound(state, data, state.rows)
        self.n_steps_, self._seen = state.steps, state.rows
        self.__dict__.update(self._attributes(bound))
        self._online = {"state": state.plain(), "unit": unit, "moving": moving}
        self.__dict__.pop("_search", None)  # of a fit that these rows have gone on from
        return self

    def _attributes(self, bound: Bound) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in KEPT}
        return {**known, "_online": None, **bound.attributes()}

    def _host_rows(self, X: Any, reset: bool) -> Rows:
        rows = self._rows(X, reset=reset)
        if is_cupy(rows.X):
            raise TypeError(
                f"{rows.owner}: X must be on the CPU, got an array on a GPU (move it with "
                "cupy.asnumpy, or use GaussianProcessRegressor)"
            )
        return rows

    def _targets(self, y: np.ndarray, first: bool) -> np.ndarray:
        """Targets of shape (n, t), normalised; the first ones say how."""
        owner = type(self).__name__
        if not len(y):  # of a stream
            raise ValueError(f"{owner}: X must have at least one row, got none")
        targets = y.reshape(len(y), -1)
        if first:
            self._shape = columns_of(y)
            self._mean = targets.mean(0) if self.normalize_y else np.zeros(targets.shape[1])
            spread = targets.std(0)
            spread = spread if self.normalize_y else np.ones(len(spread))
            self._scale = np.where(spread > 0, spread, 1.0)
        elif targets.shape[1] != len(self._scale):
            raise ValueError(
                f"{owner}: y must have {len(self._scale)} columns, as before, got "
                f"{targets.shape[1]} (fit a clone instead)"
            )
        targets = (targets - self._mean) / self._scale
        largest = float(np.abs(targets).max(initial=0.0))
        if largest and not 1 / _LARGEST < largest < _LARGEST:
            raise ValueError(
                f"{owner}: y must have sizes between {1 / _LARGEST:g} and {_LARGEST:g}, whose "
                f"fourth powers are finite, got up to {largest:.3g} (scale y, or normalize_y=True)"
            )
        return targets

    def _begin(
        self, rows: Rows, targets: np.ndarray, seed: int
    ) -> tuple[Kernel, float, np.ndarray, float]:
        """Kernel, noise and inducing inputs at the start, and the variance of the targets."""
        self._noise_bounds()
        kernel = own_kernel(self.kernel, rows.owner)
        kernel._check(rows.n_features)
        variance = float(targets.var(0).mean()) or 1.0
        noise = 0.1 * variance if self.noise_variance is None else float(self.noise_variance)
        return kernel, noise, self._start(rows, rows.owner, seed), variance

    def _start(self, rows: Rows, owner: str, seed: int) -> np.ndarray:
        if self.inducing_inputs is not None:
            Z = np.array(self.inducing_inputs, dtype=np.float64)
            if Z.ndim != 2 or Z.shape[1] != rows.n_features or not np.isfinite(Z).all():
                raise ValueError(
                    f"{owner}: inducing_inputs must be finite, of shape (m, {rows.n_features}), "
                    f"got an array of shape {Z.shape}"
                )
            return Z
        from kernelmill.cluster import KMeans

        seed %= 2**32  # what random_state of KMeans may be
        # k-means over 20 rows a center says as well where rows are dense as over all of them.
        sample = rows.sample(max(20 * self.n_inducing, 2000), seed, 0).X
        sample = np.unique(np.asarray(sample, dtype=np.float64), axis=0)
        if len(sample) <= self.n_inducing:
            return sample
        model = KMeans(self.n_inducing, n_init=1, max_iter=20, tol=0, random_state=seed)
        fitted = model.fit(sample)
        return fitted.cluster_centers_.astype(np.float64)

    def _noise_bounds(self) -> np.ndarray | None:
        if isinstance(self.noise_variance_bounds, str):
            return None
        bounds = np.asarray(self.noise_variance_bounds, dtype=np.float64)
        if bounds.shape != (2,) or not 0 < bounds[0] <= bounds[1]:
            raise ValueError(
                f"{type(self).__name__}: noise_variance_bounds must be 'fixed' or two numbers above"
                f" 0, the lower one first, got {self.noise_variance_bounds!r}"
            )
        return bounds

    def _coordinates(
        self, kernel: Kernel, noise: float, Z: np.ndarray, variance: float, unit: np.ndarray
    ) -> Coordinates:
        bounds = self._noise_bounds()
        bounds = None if bounds is None else bounds * variance
        return Coordinates(kernel, noise, Z, bounds, unit if self.optimize_inducing else None)

    def _made_of(self, kernel: Kernel, Z: np.ndarray, data: Data) -> list[Any]:
        """What tells a search from others; of the rows, the inducing inputs and some of them do."""
        options = self.optimizer, self.batch_size, self.learning_rate, self.natural_step
        made_of = [repr(v) for v in (*options, self.noise_variance_bounds, self.optimize_inducing)]
        return [described(kernel), *made_of, *fingerprint(data.targets, Z, next(data.chunks())[0])]

    def _optimised(
        self, kernel: Kernel, noise: float, Z: np.ndarray, data: Data, variance: float, seed: int,
        given: Any,
    ) -> Bound:  # fmt: skip
        # L-BFGS steps in units of the logarithms; inducing inputs move in units of their spread.
        coordinates = self._coordinates(kernel, noise, Z, variance, spread(Z))
        owner, parts, runs = data.owner, (kernel, noise, Z), int(self.optimizer is not None)
        with Search(self, given[0], given[1], self._made_of(kernel, Z, data), runs, seed) as search:

            def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
                found: list[Bound] = []

                def compute() -> tuple[float, np.ndarray]:
                    try:
                        found.append(Bound(*coordinates.parts(theta), data))
                    except ValueError:
                        return -math.inf, np.zeros(len(theta))
                    return found[0].value, coordinates.gradient(found[0])

                return search.evaluate(theta, compute, lambda: self._attributes(found[0]))

            if runs:
                search_on = functools.partial(
                    _factor.maximise, objective, coordinates.start, coordinates.bounds,
                    self.optimizer, owner, max_iter=self.max_iter,
                    count=lambda n: setattr(self, "n_iter_", n),
                )  # fmt: skip
                parts = coordinates.parts(search.run(search_on)[0])
            bound = Bound(*parts, data)
            search.progress.end_fit(lambda: self._attributes(bound))
        return bound

    def _descent(self, coordinates: Coordinates, owner: str) -> Descent:
        return Descent(
            coordinates, owner, float(self.learning_rate), float(self.natural_step),
            self.optimizer is not None,
        )  # fmt: skip

    def _stepped(
        self, kernel: Kernel, noise: float, Z: np.ndarray, data: Data, variance: float, seed: int,
        given: Any,
    ) -> Bound:  # fmt: skip
        coordinates = self._coordinates(kernel, noise, Z, variance, spacing(Z))
        descent, made_of = self._descent(coordinates, data.owner), self._made_of(kernel, Z, data)
        kept = self.__dict__.pop("_search", None)
        kept = kept if self.warm_start else None
        if kept is not None and kept["made_of"] != made_of:
            raise ValueError(OTHERS.format(data.owner))
        first = begin(coordinates, data.targets.shape[1])
        first = first if kept is None else State.of(kept["state"])
        batch, most = int(self.batch_size), self.max_iter - first.passes
        whole: list[Bound] = []

        def attributes(state: State, n_iter: int) -> dict[str, Any]:
            steps = {"n_iter_": state.passes, "n_steps_": state.steps}
            if whole:
                return {**self._attributes(whole[0]), **steps}
            some = next(data.chunks())  # for the jitter and the bound's estimate
            few = Data(Rows(some[0], None, data.owner), some[1], data.owner)
            search = {"made_of": made_of, "seed": seed, "state": state.plain()}
            found = self._attributes(descent.bound(state, few, data.count))
            return {**found, **steps, "_search": search}

        def finish(run: Run) -> Run:
            whole.append(Bound(*coordinates.parts(run.state.theta), data))
            return run

        with Progress(
            self, False, iterations=self.max_iter, unit="pass", X=given[0], y=given[1]
        ) as progress:
            run = climb(
                progress, lambda number: first,
                lambda state, most: descent.advance(state, data.rows, data.targets, batch, seed),
                max_iter=most, attributes=attributes, finish=finish,
            )  # fmt: skip
        self.n_iter_, self.n_steps_ = run.state.passes, run.state.steps
        warn_unconverged(data.owner, run, "max_iter", most)
        return whole[0]

    def predict(self, X, return_std=False, return_cov=False):
        """Means of the posterior.

        Returns
        -------
        mean : ndarray of shape (m,) or (m, n_targets)
            Means.
        std : ndarray of shape (m,) or (m, n_targets)
            Standard deviations of the function, without noise, if asked for.
        cov : ndarray of shape (m, m) or (m, m, n_targets)
            Covariances of the function, without noise, if asked for.

        Raises
        ------
        RuntimeError
            If both are asked for.
        """
        check_is_fitted(self)
        if return_std and return_cov:
            raise RuntimeError(ONE_OF_TWO.format(type(self).__name__))
        rows = self._rows(X, reset=False)
        spread = return_std or return_cov
        state = self.kernel_, self.inducing_inputs_, self._weights, self._L, self._LB, spread
        found = rows.map(_predicted, *state)
        mean = found[:, :-1] * self._scale + self._mean
        mean = mean.reshape(len(mean), *self._shape)
        if return_cov:
            cov = self._covariances(rows, found[:, -1])[:, :, None] * self._scale**2
            return mean, cov.reshape(*cov.shape[:2], *self._shape)
        if not return_std:
            return mean
        std = np.sqrt(found[:, -1:]) * self._scale
        return mean, std.reshape(mean.shape)

    def _covariances(self, rows: Rows, variances: np.ndarray) -> np.ndarray:
        """``k(x, x') - v'v + u'u`` with ``v = L^-1 k(Z, x)`` and ``u = LB^-1 v``."""
        x = rows.map(np.asarray, np.float64)
        V = _factor.half_solve(self._L, self.kernel_._forward(x, self.inducing_inputs_, False)[0].T)
        U = _factor.half_solve(self._LB, V)
        cov = self.kernel_._forward(x, x, True)[0] - V.T @ V + U.T @ U
        np.einsum("ii->i", cov)[...] = variances
        return cov


def _predicted(
    X: np.ndarray, kernel: Kernel, Z: np.ndarray, weights: np.ndarray, L: np.ndarray,
    LB: np.ndarray, variances: bool,
) -> np.ndarray:  # fmt: skip
    """Means of the targets, and the variance in the last column."""
    out = np.zeros((len(X), weights.shape[1] + 1))
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        x = np.asarray(X[rows], dtype=np.float64)
        K, _ = kernel._forward(x, Z, False)
        out[rows, :-1] = K @ weights
        if variances:
            V = _factor.half_solve(L, K.T)
            U = _factor.half_solve(LB, V)
            prior = kernel._diag(x)
            square = prior - np.einsum("ij,ij->j", V, V) + np.einsum("ij,ij->j", U, U)
            out[rows, -1] = np.maximum(square, np.finfo(float).eps * prior)
    return out
