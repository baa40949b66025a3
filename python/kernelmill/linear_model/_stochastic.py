"""Training of linear models row by row: what the classifiers and regressors share."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import hold_out
from kernelmill._estimator._validation import as_numbers
from kernelmill.linear_model._linear import LinearModel, scores
from kernelmill.ops import random, sgd
from kernelmill.ops.sgd_table import TABLE

LOSSES = tuple(TABLE)
RATES = ("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2")
_COLUMN = {name: i for i, name in enumerate(sgd.STATE)}
_ORDERS = 1 << 16  # numbers of rows that are drawn at a time, for some epochs
_DRAWN = 7  # epochs that are drawn at once: a fit ends after 6 or more
_WORK = 20_000_000  # multiplications of one call of the op, a few milliseconds
_ABOVE_ZERO = rule.real(0, above=True, high=np.nextafter(1.0, 0.0))
# Parameters that all of these models have.
PARAMETERS: dict[str, rule.Rule] = {
    "fit_intercept": rule.boolean(),
    "max_iter": rule.integer(1),
    "tol": rule.any_of(rule.real(0), rule.nothing()),
    "shuffle": rule.boolean(),
    "verbose": rule.VERBOSE,
    "random_state": rule.RANDOM_STATE,
    "warm_start": rule.boolean(),
    "early_stopping": rule.boolean(),
    "validation_fraction": _ABOVE_ZERO,
    "n_iter_no_change": rule.integer(1),
}
PENALTIES: dict[str, rule.Rule] = {
    "penalty": rule.one_of("l2", "l1", "elasticnet", None),
    "alpha": rule.real(0),
    "l1_ratio": rule.any_of(rule.real(0, high=1), rule.nothing()),
    "eta0": rule.real(0, above=True),
}


class Trained(NamedTuple):
    """Where a fit stands after an epoch; never changed in place."""

    weights: np.ndarray  # (k, d), not averaged
    state: np.ndarray  # (k, columns of `sgd.STATE`)
    applied: np.ndarray
    averages: np.ndarray
    epochs: int = 0

    def column(self, name: str) -> np.ndarray:
        """One column of the state."""
        return self.state[:, _COLUMN[name]]


class Training:
    """Epochs over rows in memory or from a stream.

    Parameters
    ----------
    model : StochasticModel
    rows : Rows
    y : ndarray of shape (n,), float64
        Targets as `sgd.epochs` takes them.
    seed : int
    stop : bool
        Whether epochs are judged; False for ``partial_fit``.
    """

    def __init__(self, model: Any, rows: Rows, y: np.ndarray, seed: int, stop: bool) -> None:
        self.model, self.rows, self.y, self.seed, self.stop = model, rows, y, seed, stop
        self.places, self.validation = np.arange(len(y)), None
        if model.early_stopping:
            kept, held = hold_out(model, y, len(y), seed)
            self.places = np.sort(kept)
            self.validation = rows.gather(held), y[held]
        self.settings = model._settings()
        self.judged = stop and self.validation is None and not rows.is_stream
        self.values = np.array([*self.settings.values()], dtype=np.float64)
        self.values[-1] = self.judged

    def start(self, weights: np.ndarray, state: np.ndarray, averages: np.ndarray) -> Trained:
        """The first state."""
        k, d = weights.shape
        applied = np.zeros((k if self.settings["l1"] > 0 else 0, d))
        return Trained(weights, state, applied, averages)

    def advance(self, before: Trained, most: int) -> Step:
        """One epoch or more."""
        weights, state, applied, averages = (kept.copy() for kept in before[:4])
        after = Trained(weights, state, applied, averages, before.epochs)
        judged, values = self.judged, self.values
        if self.rows.is_stream:
            taken = self._stream_epoch(after, values)
        else:
            taken, work = 0, max(1, before.weights.size * len(self.places))
            while True:  # as many orders as fit into a step, without what a step costs
                order = self._order(before.epochs + taken, most - taken if judged else 1, before)
                found = sgd.epochs(
                    self.rows.X, self.y, order, after.weights, after.state, after.applied,
                    after.averages, values, self.rows.weight,
                )  # fmt: skip
                taken += found
                ended = not judged or found < len(order) or taken >= most
                if ended or taken * work >= _WORK or after.column("stopped").all():
                    break
        self._check_finite(after)
        if self.stop and not judged:
            self._judge(after, values)
        running = not after.column("stopped").all() if self.stop else False
        objective = float(after.column("objective").mean())
        return Step(after._replace(epochs=before.epochs + taken), objective, not running, taken)

    def _order(self, epoch: int, most: int, before: Trained) -> np.ndarray:
        """Orders of the rows for the next epochs, the same however many are asked for at a time."""
        places, (k, d) = self.places, before.weights.shape
        n = len(places)
        if not self.model.shuffle:
            return np.broadcast_to(places, (max(1, min(most, _WORK // max(1, n * d * k))), n))
        count = max(1, min(most, _DRAWN, _ORDERS // max(1, n)))
        # Epochs of a fit have numbers of their own; those of partial_fit that of their first step.
        stream, first = (2, epoch) if self.stop else (3, int(before.column("step").max()))
        order = random.permutations(self.seed, stream, first, count, n)
        return order if self.validation is None else places[order]

    def _stream_epoch(self, after: Trained, values: np.ndarray) -> int:
        """One epoch, chunk by chunk; rows are shuffled within chunks."""
        begin = 0
        used = np.zeros(len(self.y), bool)
        used[self.places] = True
        for chunk in self.rows.chunks():
            end = begin + chunk.count
            own = np.flatnonzero(used[begin:end])
            if end > len(self.y):
                break
            if self.model.shuffle:
                drawn = 3, int(after.column("step").max())
                own = own[random.permutations(self.seed, *drawn, 1, len(own))[0]]
            sgd.epochs(
                chunk.X, self.y[begin:end], own[None], after.weights, after.state,
                after.applied, after.averages, values, chunk.weight,
            )  # fmt: skip
            begin = end
        if begin != len(self.y):
            raise ValueError(
                f"{self.rows.owner}: y must have one entry for each row of X, got {len(self.y)} "
                "(inconsistent numbers of samples)"
            )
        return 1

    def _judge(self, after: Trained, values: np.ndarray) -> None:
        weights = after.weights
        if self.validation is not None:
            held, y = self.validation
            running = after.column("stopped") == 0
            found = scores(held.X, weights, after.column("intercept"))
            score = self.model._held_out_scores(found, y, held.all_weights())
            after.column("total")[running] = -score[running]
            after.column("rows")[:] = 1
            weights = weights[:, :0]  # no penalty is added to a score
        sgd.judge(weights, after.state, values)

    def _check_finite(self, after: Trained) -> None:
        if np.isfinite(after.weights).all() and np.isfinite(after.column("intercept")).all():
            return
        raise ValueError(
            f"{self.rows.owner}: weights must stay finite, got inf or NaN in epoch "
            f"{after.epochs + 1} (Floating-point under-/overflow occurred: scale X, for example "
            "with StandardScaler, or lower eta0)"
        )


class StochasticModel(LinearModel):
    """Base of the linear models that are trained row by row."""

    classes_: Any
    n_iter_: Any
    t_: Any

    _classifies: ClassVar[bool]
    loss: Any = "hinge"
    penalty: Any = None
    alpha: Any = 1e-4
    l1_ratio: Any = 0.15
    learning_rate: Any = "constant"
    eta0: Any = 1.0
    power_t: Any = 0.5
    epsilon: Any = 0.1
    average: Any = False

    def _outputs(self) -> int:
        """Number of models that learn side by side."""
        raise NotImplementedError

    def _held_out_scores(self, found: np.ndarray, y: np.ndarray, weight: Any) -> np.ndarray:
        """What early stopping judges each model by, (k,); more is better."""
        raise NotImplementedError

    def _refuse_early_stopping(self) -> None:
        if self.early_stopping:
            raise ValueError(
                f"{self._owner()}: early_stopping should be False with partial_fit, got True (hold "
                "rows out and call score yourself)"
            )

    def _step(self) -> tuple[str, str, float]:
        """The loss, the schedule and the first rate of the steps."""
        return self.loss, self.learning_rate, self.eta0

    def _settings(self) -> dict[str, float]:
        """The values of `sgd.SETTINGS`."""
        loss, schedule, eta0 = self._step()
        if schedule == "optimal" and self.alpha == 0:
            raise ValueError(
                f"{type(self).__name__}: alpha must be > 0 for learning_rate='optimal', got 0 (the "
                "rate is 1 / (alpha t))"
            )
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError(
                f"{type(self).__name__}: l1_ratio must be set when penalty is 'elasticnet', got "
                "None"
            )
        aggressive = "hinge" if self._classifies else "epsilon_insensitive"
        if schedule in ("pa1", "pa2") and loss != aggressive:
            raise ValueError(
                f"{type(self).__name__}: loss must be {aggressive!r} for learning_rate="
                f"{schedule!r}, got {loss!r} (Learning rate {schedule!r} only works with loss "
                f"{aggressive!r})"
            )
        name, margin = ("hinge", 0.0) if loss == "perceptron" else (loss, self.epsilon)
        margin = 1.0 if loss == "hinge" else margin
        share = {"l2": 0.0, "l1": 1.0, None: 0.0}.get(self.penalty, self.l1_ratio)
        strength = 0.0 if self.penalty is None else float(self.alpha)
        return dict(
            zip(
                sgd.SETTINGS,
                (
                    LOSSES.index(name), margin, RATES.index(schedule), eta0, self.power_t,
                    self.alpha, strength * share, strength * (1 - share),
                    self.fit_intercept, int(self.average),
                    -np.inf if self.tol is None else self.tol, self.n_iter_no_change, True,
                ),
                strict=True,
            )
        )  # fmt: skip

    def _fresh_state(self, k: int) -> np.ndarray:
        state = np.zeros((k, len(sgd.STATE)))
        for name, value in (
            ("step", 1.0), ("rate", self._step()[2]), ("positive_weight", 1.0),
            ("negative_weight", 1.0), ("best", np.inf),
        ):  # fmt: skip
            state[:, _COLUMN[name]] = value
        return state

    def _initial(self, given: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A start for the coefficients or the intercepts."""
        if given is None:
            return np.zeros(shape)
        dense = given.toarray() if is_sparse(given) else as_numbers(given, name, self._owner())
        if dense.size != np.prod(shape):
            raise ValueError(
                f"{self._owner()}: {name} must have {np.prod(shape)} entries, got "
                f"{dense.size} of shape {dense.shape} (it does not match the dataset)"
            )
        return np.array(dense, dtype=np.float64).reshape(shape)

    def _continue_from(self, coef: np.ndarray, intercept: Any, steps: float) -> None:
        """Have ``partial_fit`` go on from this model, as if it were the mean of so many steps."""
        weights, state = coef.astype(np.float64), self._fresh_state(len(coef))
        for name in ("intercept", "average_intercept"):
            state[:, _COLUMN[name]] = intercept
        state[:, _COLUMN["step"]] = steps + 1
        self._trained = weights, state, weights.copy()
        self._seed = seed_of(self.random_state)

    def _owner(self) -> str:
        return type(self).__name__

    def _train(
        self,
        rows: Rows,
        y: np.ndarray,
        start: tuple[Any, Any],
        given: tuple[Any, Any, Any],
        *,
        partial: bool,
        class_weights: tuple[Any, Any] = (1.0, 1.0),
    ) -> Any:
        """Fit from these coefficients and intercepts, or go on for one epoch.

        `given` is what the user passed: X, y and weights.
        """
        coef, intercept = start
        k, d = self._outputs(), rows.n_features
        again = partial and hasattr(self, "_trained")
        seed = self._seed if again else seed_of(self.random_state)
        rows = rows if partial else rows.kept()
        training = Training(self, rows, y, seed, stop=not partial)
        weights = self._initial(coef, "coef_init", (k, d))
        averages = np.zeros((k if self.average else 0, d))
        state = self._fresh_state(k)
        state[:, _COLUMN["intercept"]] = self._initial(intercept, "intercept_init", (k,))
        if again:
            known_weights, known_state, known_averages = self._trained
            intercepts, kept = state[:, _COLUMN["intercept"]], known_state[:, _COLUMN["intercept"]]
            known = np.array_equal(weights, self._shown(known_weights, rows.dtype))
            known &= np.array_equal(intercepts, self._shown(kept, rows.dtype))
            averaged = bool(self.average) and known_averages.shape == averages.shape
            state = known_state.copy()
            if averaged or known:  # unless the user has changed them
                weights = known_weights
            else:
                state[:, _COLUMN["intercept"]] = intercepts
            averages = known_averages if averaged else averages
            for name in ("shrinkage", "stopped", "without_gain"):
                state[:, _COLUMN[name]] = 0.0
        state[:, _COLUMN["positive_weight"]], state[:, _COLUMN["negative_weight"]] = class_weights
        begin = training.start(weights, state, averages)
        X, labels, sample_weight = given
        most = 1 if partial else int(self.max_iter)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, iterations=most, unit="epoch", X=X, y=labels, metadata=metadata
        ) as progress:
            run = climb(
                progress,
                lambda number: begin,
                training.advance,
                max_iter=most,
                attributes=functools.partial(self._attributes, training),
            )
        self.__dict__.update(self._attributes(training, run.state, run.n_iter), _seed=seed)
        if not partial and self.tol is not None and not run.converged and run.n_iter == most:
            warn(
                f"{self._owner()}: the training did not converge in max_iter={most} epochs (raise "
                "max_iter or tol, or scale X)",
                ConvergenceWarning,
            )
        return self

    @staticmethod
    def _shown(value: np.ndarray, dtype: Any) -> np.ndarray:
        """Coefficients in the dtype of the rows, in memory of their own."""
        return np.array(value, dtype=dtype)

    def _attributes(self, training: Training, trained: Trained, n_iter: int) -> dict[str, Any]:
        weights, intercept = trained.weights, trained.column("intercept")
        step = float(trained.column("step").max())
        if self.average and int(self.average) <= step - 1:
            weights = trained.averages
            intercept = trained.column("average_intercept")
        fitted: dict[str, Any] = {
            "coef_": self._shown(weights if self._classifies else weights[0], training.rows.dtype),
            "intercept_": self._shown(intercept, training.rows.dtype),
            "n_iter_": n_iter,
            "t_": step,
            "_trained": (trained.weights, trained.state, trained.averages),  # for partial_fit
        }
        if self._classifies:
            fitted["classes_"] = self.classes_
        return fitted

    def _start_of(self, again: bool, coef_init: Any, intercept_init: Any) -> tuple[Any, Any]:
        """Given coefficients and intercepts; those of the last fit with ``warm_start``."""
        if again:
            coef_init = self.coef_ if coef_init is None else coef_init
            intercept_init = self.intercept_ if intercept_init is None else intercept_init
        return coef_init, intercept_init


DOCUMENTED = """fit_intercept : bool, default=True
        Whether to learn an intercept.
    max_iter : int, default=1000
        Most epochs of ``fit``.
    tol : float or None, default=1e-3
        Least gain of the objective that counts; None trains for `max_iter` epochs.
    shuffle : bool, default=True
        Visit the rows in a new order in each epoch; those of a stream within its chunks.
    verbose : bool or int, default=0
        Show a progress bar.
    """
STOPPING = """early_stopping : bool, default=False
        Hold `validation_fraction` of the rows out and stop when their score brings no gain.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    n_iter_no_change : int, default=5
        Epochs without gain that end the fit.
    """
PENALTY = """alpha : float, default=1e-4
        Strength of the penalty.
    l1_ratio : float, default=0.15
        Share of the L1 penalty for ``penalty="elasticnet"``, between 0 and 1.
    """
WARM = """warm_start : bool, default=False
        Start from the coefficients of the last fit.
    """
RATE = """learning_rate : {rates}, default={rate}
        The rate of step t: ``eta0``; ``1 / (alpha (t + t0))``; ``eta0 / t**power_t``; or ``eta0``
        divided by 5 whenever `n_iter_no_change` epochs brought no gain. ``"pa1"`` and ``"pa2"``
        are passive-aggressive steps with ``C = eta0``, for loss {aggressive} alone.
    eta0 : float, default=0.01
        The first rate.
    power_t : float, default={power}
        Exponent of ``"invscaling"``.
    """
AVERAGE = """average : bool or int, default=False
        Return the mean of the weights over all steps, or over those from this one on.
    """
ATTRIBUTES = """n_iter_ : int
        Number of epochs, the most of any class.
    t_ : float
        Number of steps, plus one.
    n_features_in_ : int
        Number of features d.
    feature_names_in_ : ndarray of shape (d,), object
        Column names of X, if it has string names."""
NOTES = """Scale the rows first, for example with `kernelmill.preprocessing.StandardScaler`. Rows
    may be a CSR matrix, which is never made dense, or a stream, whose targets must be in memory.
    Dense rows, CSR rows and streams give the same model, unless a stream is too large to be kept in
    memory and its rows are shuffled within chunks. (scikit-learn learns the intercept a hundred
    times more slowly from CSR rows.) The objective that decides when to stop is the mean loss of an
    epoch plus the penalty. With several classes one model is learnt for each against the
    others, all in one pass over the rows. With a ``random_state`` the result has the same bits at
    any thread count."""
