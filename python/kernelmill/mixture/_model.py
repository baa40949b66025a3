"""Base of the Gaussian mixtures: fits, labels, scores, samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb, warn_unconverged
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._validation import as_numbers, zero_weights
from kernelmill._gaussian._parameters import (
    COVARIANCE_TYPES,
    Gaussians,
    checked_precisions_cholesky,
    full_covariances,
    symmetric,
)
from kernelmill._gaussian._passes import Moments, known_parts, step
from kernelmill._gaussian._update import regulariser_note, variances_of
from kernelmill.mixture import _densities
from kernelmill.mixture._start import INITS, Starter
from kernelmill.mixture._thresholds import CONTAMINATION, OutlierScoresMixin, threshold

_DRAWS = 1 << 25  # stream of random numbers of `sample`


class Position(NamedTuple):
    """The state of a start."""

    model: Any  # immutable; has gaussians, offsets, bound(moments) and updated(moments)
    bound: float  # of the model before the last update, from the same pass


def expectation(rows: Rows) -> Callable[[Any], tuple[Moments, float]]:
    """The E-step over the rows: a function from a model to its moments and bound."""
    missing = known_parts(rows)

    def expect(model: Any) -> tuple[Moments, float]:
        moments = rows.map_reduce(step, model.gaussians, model.offsets, missing=missing)
        bound = model.bound(moments)
        if moments.log_likelihood == 0 and not moments.weights.any():
            raise zero_weights(rows.owner)
        if not np.isfinite(bound):
            single = rows.dtype == np.float32
            raise ValueError(
                f"{rows.owner}: X must be small enough to be squared in {rows.dtype}, got a bound "
                f"of {bound:g} (scale X{', or pass float64' if single else ''})"
            )
        return moments, bound

    return expect


class MixtureBase(OutlierScoresMixin, DensityMixin, Estimator):
    """Base of the Gaussian mixtures.

    A subclass has a *model*, see `Position`, whose arrays are the fitted attributes in the dtype of
    X; for float32 they are also stored in float64, because rounding would move distant means.

    Attributes
    ----------
    _float64 : dict of str to ndarray, or None
        The fitted arrays before rounding.
    """

    # Annotated, so that mypy knows what subclasses store.
    n_components: Any
    covariance_type: Any
    tol: Any
    reg_covar: Any
    max_iter: Any
    n_init: Any
    init_params: Any
    random_state: Any
    warm_start: Any
    verbose: Any
    device: Any
    weights_: Any
    means_: Any
    covariances_: Any
    precisions_cholesky_: Any
    _float64: Any
    _learned: ClassVar[tuple[str, ...]]  # fitted arrays that make the model

    _shared_parameters: ClassVar = {
        "n_components": rule.integer(1),
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "tol": rule.real(0),
        "reg_covar": rule.real(0),
        "max_iter": rule.integer(0),
        "n_init": rule.integer(1),
        "init_params": rule.one_of(*INITS),
        "random_state": rule.RANDOM_STATE,
        "warm_start": rule.boolean(),
        "verbose": rule.VERBOSE,
        "verbose_interval": rule.integer(1),
        "contamination": CONTAMINATION,
        "device": rule.DEVICE,
    }
    _accepts_missing = True

    # --- subclasses define ------------------------------------------------------------------------

    def _beginner(self, rows: Any, seed: int) -> Callable[[int], Any]:
        """A function from the number of a start to its initial model."""
        raise NotImplementedError

    def _model(self) -> Any:
        """The fitted model."""
        raise NotImplementedError

    def _resumed(self, rows: Any) -> Any:
        """The fitted model, as the start of a fit to these rows."""
        return self._model()

    def _arrays(self, model: Any) -> dict[str, Any]:
        """The float64 arrays of a model by the names of the fitted attributes."""
        raise NotImplementedError

    def _given(self, name: str, shape: tuple[int, ...]) -> Any:
        """An array parameter as float64, or None."""
        value, owner = getattr(self, name), type(self).__name__
        if value is None:
            return None
        array = as_numbers(value, name, owner)
        if array.shape != shape:
            raise ValueError(f"{owner}: {name} must have shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{owner}: {name} must be finite, got NaN or inf")
        return array

    def _given_positive(self, name: str, shape: tuple[int, ...]) -> Any:
        """A parameter of variances or of symmetric positive definite matrices, or None."""
        array, owner = self._given(name, shape), type(self).__name__
        if array is None:
            return None
        least, what, which = array.min(), "positive", ""
        if self.covariance_type in ("full", "tied"):
            array = symmetric(array)
            if array is None:
                raise ValueError(f"{owner}: {name} must be symmetric, got an asymmetric matrix")
            least, what = np.linalg.eigvalsh(array).min(), "positive definite"
            which = " as the least eigenvalue"
        if not least > 0:
            raise ValueError(f"{owner}: {name} must be {what}, got {least:g}{which}")
        return array

    # --- fitting ----------------------------------------------------------------------------------

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Fit the mixture.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X holds inf or the weights are not finite, X has
            fewer rows than components, or a covariance becomes singular.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.

        Warns
        -----
        ConvergenceWarning
            If the best start has not converged after `max_iter` iterations.
        UserWarning
            If `reg_covar` or a given prior makes up more than a quarter of a variance.
        """
        rows = self._rows(X, sample_weight, reset=True)
        self._check_row_count(rows)
        owner, dtype, tol = rows.owner, rows.dtype, float(self.tol)
        again = self.warm_start and "converged_" in vars(self)
        starts, bound = (1, self.lower_bound_) if again else (int(self.n_init), -np.inf)
        if again:
            self._refuse_another_shape(rows.n_features)
            model = self._resumed(rows)
        else:
            begin = self._beginner(rows, seed_of(self.random_state))
        expect = expectation(rows)

        def advance(position, most):
            moments, bound = expect(position.model)
            converged = abs(bound - position.bound) < tol
            return Step(Position(position.model.updated(moments), bound), bound, converged)

        max_iter = int(self.max_iter)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, runs=starts, iterations=max_iter, X=X, y=y, metadata=metadata
        ) as progress:
            best = climb(
                progress,
                lambda number: Position(model if again else begin(number), bound),
                advance,
                max_iter=max_iter,
                attributes=lambda position, n_iter: {
                    **self._state(position.model, dtype),
                    "converged_": False,
                    "n_iter_": n_iter,
                    "lower_bound_": position.bound,
                },
                starts=starts,
                finish=lambda run: run._replace(objective=run.state.bound),
            )
        self._learn(best, rows)
        note = self._note(best.state.model, rows)
        if note is not None:
            warn(note, UserWarning)
        warn_unconverged(owner, best, "max_iter", max_iter)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit the mixture and return the most probable component of each row.

        Returns
        -------
        labels : array of shape (n,), int64
            ``predict(X)`` of the fitted model.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> GaussianMixture().fit_predict([[-1.0], [1.0]])
        array([0, 0])
        """
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    def _note(self, model: Any, rows: Rows) -> str | None:
        """What to warn of where a regulariser makes up much of a variance."""
        gaussians, tied = model.gaussians, self.covariance_type == "tied"
        variances = variances_of(gaussians)
        counts = model.weights * rows.count
        counts = counts.sum(keepdims=True) if tied else counts
        of_data, parts = self._without_regularisers(model, variances, counts)
        return regulariser_note(
            rows.owner,
            of_data,
            variances,
            gaussians.means[: len(variances)],
            counts,
            lambda j, p: max(
                parts, key=lambda name: np.broadcast_to(parts[name], variances.shape)[j, p]
            ),
            lambda j: "all components" if tied else f"component {j}",
            rows.dtype,
        )

    def _without_regularisers(
        self, model: Any, variances: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Variances of the data alone, and what each parameter adds to the sums."""
        reg = float(self.reg_covar)
        return variances - reg, {"reg_covar": reg}

    def _check_row_count(self, rows: Rows) -> None:
        """Raise where there are fewer rows than components."""
        if rows.count < int(self.n_components):
            raise ValueError(
                f"{rows.owner}: n_components must be at most the number of rows, got n_samples = "
                f"{rows.count} and n_components = {self.n_components} (lower n_components or add "
                f"rows)"
            )

    def _starter(self, rows: Rows, seed: int) -> Starter:
        """The starts of a fit."""
        k, reg_covar = int(self.n_components), float(self.reg_covar)
        return Starter(rows, self.init_params, k, self.covariance_type, reg_covar, seed)

    def _refuse_another_shape(self, d: int) -> None:
        """Raise where a fit would continue from parameters of another shape."""
        gaussians = self._model().gaussians
        previous = (gaussians.k, gaussians.d, gaussians.covariance_type)
        if previous != (int(self.n_components), d, self.covariance_type):
            raise ValueError(
                f"{type(self).__name__}: warm_start must continue with the components, features "
                f"and covariance type of the previous fit, {previous}, got "
                f"{(int(self.n_components), d, self.covariance_type)} (set warm_start=False)"
            )

    def _state(self, model: Any, dtype: np.dtype) -> dict[str, Any]:
        """Fitted attributes of a model."""
        arrays = self._arrays(model)
        state: dict[str, Any] = {
            name: value.astype(dtype) if isinstance(value, np.ndarray) else value
            for name, value in arrays.items()
        }
        P = arrays["precisions_cholesky_"]
        precisions = P**2 if model.gaussians.is_diagonal else P @ np.swapaxes(P, -1, -2)
        state["precisions_"] = precisions.astype(dtype)
        state["_float64"] = None if dtype == np.float64 else arrays
        return state

    def _learn(self, run: Run, rows: Rows) -> None:
        """Set the fitted attributes."""
        self.__dict__.update(self._state(run.state.model, rows.dtype))
        self.converged_, self.n_iter_ = run.converged, run.n_iter
        self.lower_bound_, self.lower_bounds_ = run.state.bound, run.history
        self._learn_threshold(rows)

    def _learn_threshold(self, rows: Rows) -> None:
        """Set ``offset_`` if `contamination` is given."""
        self.__dict__.pop("offset_", None)
        if self.contamination is None:
            return
        model = self._model()
        state = (model.gaussians, model.offsets)
        scores, weight = rows.map_reduce(_densities.scores_of, *state, merge=_densities.join)
        self.offset_ = threshold(scores, weight, float(self.contamination))

    # --- a fitted model ---------------------------------------------------------------------------

    def _exact(self) -> dict[str, Any]:
        """The fitted arrays in float64: unrounded, unless the user has replaced attributes."""
        shown = {name: getattr(self, name) for name in self._learned}
        exact = vars(self).get("_float64")
        if exact is not None and all(
            np.shape(exact[name]) == np.shape(value)
            and np.array_equal(np.asarray(exact[name], dtype=np.asarray(value).dtype), value)
            for name, value in shown.items()
        ):
            return exact
        return {name: np.asarray(to_host(v), dtype=np.float64) for name, v in shown.items()}

    def _gaussians(self, exact: dict[str, Any]) -> Gaussians:
        """The Gaussians of the fitted arrays, checked against the covariance type."""
        k, d = np.shape(exact["means_"])
        factor = checked_precisions_cholesky(
            exact["precisions_cholesky_"], self.covariance_type, k, d, type(self).__name__
        )
        return Gaussians(self.covariance_type, exact["means_"], exact["covariances_"], factor)

    def _ready(self) -> tuple[Any, np.ndarray]:
        """Gaussians and offsets of the fitted model."""
        if not {"weights_", "means_"} <= vars(self).keys():
            check_is_fitted(self, ["weights_", "means_"])
        if "n_features_in_" not in vars(self):  # attributes set by the user, without a fit
            self.n_features_in_ = np.shape(self.means_)[1]
        model = self._model()
        return model.gaussians, model.offsets

    def _of_rows(self, X: Any, of: Callable) -> Any:
        """One number, or k, for each row, from a function of `kernelmill.mixture._densities`."""
        state = self._ready()
        return self._rows(X, reset=False).map(of, *state)

    def predict(self, X: Any) -> Any:
        """Return the most probable component of each row.

        Returns
        -------
        labels : array of shape (n,), int64
            Index of the component, the lowest in a tie.

        Notes
        -----
        Works block by block, with 8 MiB of memory beside the result.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).predict([[5.0]])
        array([0])
        """
        return self._of_rows(X, _densities.labels_of)

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probability of each component for each row.

        Returns
        -------
        responsibilities : array of shape (n, k), dtype of X
            Rows sum to one.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).predict_proba([[5.0]])
        array([[1.]])
        """
        return self._of_rows(X, _densities.responsibilities_of)

    def score_samples(self, X: Any) -> Any:
        """Return the log density of each row.

        Parameters
        ----------
        X : {array-like} of shape (n, d), or a stream
            Rows; see ``fit``. Missing values are integrated out.

        Returns
        -------
        log_prob : array of shape (n,), dtype of X
            In nats.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).score_samples([[0.0]]).round(6)
        array([-0.918939])
        """
        return self._of_rows(X, _densities.log_prob_of)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the weighted mean of the log densities of the rows.

        Returns
        -------
        score : float
            In nats per unit of weight; larger is better.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> round(GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).score([[0.0]]), 6)
        -0.918939
        """
        total, weight = self._likelihood(X, sample_weight)
        if not weight > 0:
            raise zero_weights(type(self).__name__)
        return total / weight

    def _likelihood(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Log-likelihood of the rows and their weight."""
        state = self._ready()
        rows = self._rows(X, sample_weight, reset=False)
        return rows.map_reduce(_densities.likelihood_of, *state)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Sample rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        Returns
        -------
        X : ndarray of shape (n_samples, d), dtype of ``means_``
            Rows, ordered by component.
        y : ndarray of shape (n_samples,), int64
            Component of each row.

        Raises
        ------
        ValueError
            If `n_samples` is less than 1.

        Notes
        -----
        An int as `random_state` gives the same rows in every call, as in scikit-learn.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> X, y = GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).sample(3)
        >>> X.shape, y.tolist()
        ((3, 1), [0, 0, 0])
        """
        rule.check_whole(n_samples, "n_samples", type(self).__name__, least=1)
        gaussians, _ = self._ready()
        weights = np.asarray(self._exact().get("weights_", to_host(self.weights_)), np.float64)
        rng = generator(seed_of(self.random_state), _DRAWS)
        counts = rng.multinomial(int(n_samples), weights / weights.sum())
        labels = np.repeat(np.arange(gaussians.k), counts)
        X = rng.standard_normal((len(labels), gaussians.d))
        ends = np.cumsum(counts)
        matrices = full_covariances(
            gaussians.covariances, gaussians.covariance_type, gaussians.k, gaussians.d
        )
        for j in range(gaussians.k):
            rows = slice(ends[j] - counts[j], ends[j])
            if gaussians.is_diagonal:
                X[rows] *= np.sqrt(gaussians.variances[j])
            else:
                X[rows] = X[rows] @ np.linalg.cholesky(matrices[j]).T
            X[rows] += gaussians.means[j]
        return X.astype(np.asarray(self.means_).dtype), labels
