"""What MLPClassifier and MLPRegressor share: parameters, training, their words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import climb
from kernelmill._estimator._patience import Patience
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._targets import hold_out
from kernelmill.neural_network._training import (
    ACTIVATIONS,
    Descent,
    Epoch,
    Layers,
    initial_layers,
    minimise,
    predict,
)

_UNIT = rule.real(0, high=np.nextafter(1.0, 0.0))
_SIZES = rule.Rule(
    lambda value: all(
        rule.is_integer(v) and v >= 1
        for v in (value if isinstance(value, list | tuple | np.ndarray) else [value])
    ),
    "whole numbers of at least 1",
)


class Perceptron(Estimator):
    """What the classifier and the regressor share."""

    classes_: Any
    coefs_: Any
    intercepts_: Any
    n_iter_: Any
    t_: Any
    loss_: Any
    loss_curve_: Any
    best_loss_: Any
    best_validation_score_: Any
    validation_scores_: Any
    n_outputs_: Any
    n_layers_: Any
    out_activation_: Any

    _accepts_sparse = True
    _squares = False
    _parameters: ClassVar = {
        "hidden_layer_sizes": _SIZES,
        "activation": rule.one_of(*ACTIVATIONS),
        "solver": rule.one_of("lbfgs", "sgd", "adam"),
        "alpha": rule.real(0),
        "batch_size": rule.any_of(rule.one_of("auto"), rule.integer(1)),
        "learning_rate": rule.one_of("constant", "invscaling", "adaptive"),
        "learning_rate_init": rule.real(0, above=True),
        "power_t": rule.real(0),
        "max_iter": rule.integer(1),
        "shuffle": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "tol": rule.real(0),
        "verbose": rule.VERBOSE,
        "warm_start": rule.boolean(),
        "momentum": rule.real(0, high=1),
        "nesterovs_momentum": rule.boolean(),
        "early_stopping": rule.boolean(),
        "validation_fraction": _UNIT,
        "beta_1": _UNIT,
        "beta_2": _UNIT,
        "epsilon": rule.real(0, above=True),
        "n_iter_no_change": rule.integer(1),
        "max_fun": rule.integer(1),
    }

    def _loss_name(self) -> str:
        raise NotImplementedError

    def _encoded(self, y: Any, rows: Rows, reset: bool) -> tuple[np.ndarray, np.ndarray, int]:
        """Targets as the loss takes them, as given, and the number of outputs."""
        raise NotImplementedError

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows, float32 or float64; others become float64.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets, in memory even if X is a stream.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If X or y do not fit, or the loss leaves the range of numbers.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` epochs were not enough.
        """
        again = self.warm_start and hasattr(self, "coefs_")
        rows, targets, given = self._prepared(X, y, sample_weight, reset=not again)
        if again:
            self._same_targets(given)
        seed = seed_of(self.random_state)
        layers = self._own_layers() if again else self._new_layers(rows, seed)
        if self.solver == "lbfgs":
            return self._fit_at_once(rows, targets, layers)
        validation = None
        if self.early_stopping:
            rows, targets, validation = self._held_out(rows, targets, given, seed)
        start = self._start(layers, again)
        descent = Descent(self, rows, targets, validation, seed, self._loss_name())
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, iterations=int(self.max_iter), unit="epoch", X=X, y=y,
            metadata=metadata,
        ) as progress:  # fmt: skip
            run = climb(
                progress,
                lambda number: start,
                descent.advance,
                max_iter=int(self.max_iter),
                attributes=self._attributes,
            )
        self.__dict__.update(self._attributes(run.state, run.n_iter))
        if not run.converged and run.n_iter >= self.max_iter:
            warn(
                f"{type(self).__name__}: the training did not converge in max_iter={self.max_iter} "
                "epochs (raise max_iter or tol, or scale X)",
                ConvergenceWarning,
            )
        return self

    def _same_targets(self, y: Any) -> None:
        """Refuse targets that a fit with ``warm_start`` cannot go on with."""

    def _prepared(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Any:
        once = hasattr(X, "__next__")
        rows = self._rows(X, sample_weight, reset=reset, once=once)
        rows = rows.read() if once else rows.kept()
        targets, given, outputs = self._encoded(y, rows, reset)
        self.n_outputs_ = outputs
        return rows, targets, given

    def _new_layers(self, rows: Rows, seed: int) -> Layers:
        hidden = self.hidden_layer_sizes
        hidden = [hidden] if rule.is_integer(hidden) else list(hidden)
        sizes = [rows.n_features, *map(int, hidden), self.n_outputs_]
        return initial_layers(sizes, self.activation, rows.dtype, seed)

    def _own_layers(self) -> Layers:
        return Layers(list(self.coefs_), list(self.intercepts_))

    def _start(self, layers: Layers, again: bool) -> Epoch:
        """The epoch to go on from."""
        rate = float(self.learning_rate_init)
        patience = Patience(1.0 if self.early_stopping else -1.0, float(self.tol))
        if not again:
            return Epoch(layers, None, rate, patience=patience)
        return Epoch(
            layers, getattr(self, "_optimizer_state", None), getattr(self, "_rate", rate),
            steps=self.t_, losses=list(getattr(self, "loss_curve_", ())), patience=patience,
        )  # fmt: skip

    def _attributes(self, state: Epoch, n_iter: int) -> dict[str, Any]:
        kept = state.best_layers if self.early_stopping and state.best_layers else state.layers
        fitted: dict[str, Any] = {
            "coefs_": kept.coefs,
            "intercepts_": kept.intercepts,
            "n_layers_": len(kept.coefs) + 1,
            "n_outputs_": self.n_outputs_,
            "out_activation_": self.out_activation_,
            "n_iter_": n_iter,
            "t_": state.steps,
            "loss_": state.losses[-1] if state.losses else np.inf,
            "loss_curve_": state.losses,
            "best_loss_": None if self.early_stopping else state.best_loss,
            "best_validation_score_": state.patience.best if self.early_stopping else None,
            "validation_scores_": state.scores if self.early_stopping else None,
            "_optimizer_state": state.optimizer,
            "_rate": state.rate,
        }
        for name in ("classes_", "_multilabel"):
            if hasattr(self, name):
                fitted[name] = getattr(self, name)
        return fitted

    def _held_out(self, rows: Rows, targets: np.ndarray, given: np.ndarray, seed: int) -> Any:
        """Rows to train on, and rows to judge by."""
        kept, held = hold_out(self, given, rows.count, seed)
        kept = np.sort(kept) if rows.is_stream else kept
        weight = rows.all_weights()
        validation = (rows.take(held), given[held], None if weight is None else weight[held])
        return rows.part(kept), targets[kept], validation

    def _fit_at_once(self, rows: Rows, targets: np.ndarray, layers: Layers) -> Any:
        if rows.is_stream:
            raise ValueError(
                f"{type(self).__name__}: solver must be 'adam' or 'sgd' for rows that do not fit "
                "into memory, got 'lbfgs'"
            )
        with Progress(self, self.verbose, iterations=int(self.max_iter)) as progress:
            progress.begin_run()

            def report(losses: list[float]) -> None:
                if progress.listening:
                    progress.step(losses[-1], dict)

            layers, loss, iterations, losses, done = minimise(
                self, rows, targets, layers, self._loss_name(), report
            )
        state = Epoch(layers, None, float(self.learning_rate_init), losses=losses or [loss],
                      best_loss=loss, steps=iterations * rows.count)  # fmt: skip
        self.__dict__.update(self._attributes(state, iterations))
        self.loss_ = loss
        if not done:
            warn(
                f"{type(self).__name__}: the training did not converge in {iterations} iterations "
                "(raise max_iter or max_fun, or scale X)",
                ConvergenceWarning,
            )
        return self

    def _partial(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Any:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"{type(self).__name__}: partial_fit is only available for the solvers 'sgd' and "
                "'adam', got 'lbfgs'"
            )
        if self.early_stopping:
            raise ValueError(
                f"{type(self).__name__}: early_stopping must be False for partial_fit, got True "
                "(hold rows out and call score yourself)"
            )
        rows, targets, _ = self._prepared(X, y, sample_weight, reset=first)
        seed = getattr(self, "_seed", None)
        if first or seed is None:
            seed = seed_of(self.random_state)
        layers = self._new_layers(rows, seed) if first else self._own_layers()
        start = self._start(layers, not first)
        epochs = 0 if first else self.n_iter_
        descent = Descent(self, rows, targets, None, seed, self._loss_name())
        state = descent.advance(
            replace(start, epochs=epochs, best_loss=np.inf if first else self.best_loss_), 1
        ).state  # fmt: skip
        self.__dict__.update(self._attributes(state, epochs + 1), _seed=seed)
        return self

    # --- prediction ---

    def _output(self, X: Any, layers: Layers | None = None) -> np.ndarray:
        """Of the last layer, without its activation, (n, n_outputs)."""
        if layers is None:
            check_is_fitted(self)
            rows, layers = self._rows(X, reset=False), self._own_layers()
            parts = [
                predict(_as_weights(X, layers), layers, self.activation)
                for X in (chunk.take(np.arange(chunk.count)) for chunk in rows.chunks())
            ]
            if len(parts) == 1:
                return parts[0]
            return np.concatenate([np.empty((0, self.n_outputs_), layers.coefs[0].dtype), *parts])
        return predict(_as_weights(X, layers), layers, self.activation)

    def _validation_score(self, X: Any, y: Any, weight: Any, layers: Layers) -> float:
        raise NotImplementedError


def _as_weights(X: Any, layers: Layers) -> Any:
    """Rows in the dtype of the weights."""
    return X.astype(layers.coefs[0].dtype, copy=False)


PARAMETERS = """hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        ``"lbfgs"`` uses all rows at once and suits small data.
    alpha : float, default=1e-4
        Weight of half the sum of squared weights, divided by the number of rows.
    batch_size : int or "auto", default="auto"
        Rows of a step of ``"adam"`` and ``"sgd"``; ``"auto"`` is min(200, n).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Of ``"sgd"``. ``"invscaling"`` divides by the number of rows seen to the ``power_t``;
        ``"adaptive"`` divides by 5 whenever ``n_iter_no_change`` epochs brought no gain.
    learning_rate_init : float, default=1e-3
        The first learning rate.
    power_t : float, default=0.5
        Of ``"invscaling"``.
    max_iter : int, default=200
        Most epochs, or iterations of ``"lbfgs"``.
    shuffle : bool, default=True
        A new order of the rows in each epoch.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results.
    tol : float, default=1e-4
        Least gain that counts.
    verbose : bool or int, default=False
        Show a progress bar.
    warm_start : bool, default=False
        Go on from the last fit; Ctrl-C then keeps what was reached.
    momentum : float, default=0.9
        Of ``"sgd"``.
    nesterovs_momentum : bool, default=True
        Of ``"sgd"``.
    early_stopping : bool, default=False
        Hold ``validation_fraction`` of the rows out, stop when their score brings no gain, and keep
        the best weights.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Of ``"adam"``.
    epsilon : float, default=1e-8
        Of ``"adam"``.
    n_iter_no_change : int, default=10
        Epochs without gain that end the fit.
    max_fun : int, default=15000
        Most evaluations of ``"lbfgs"``."""
ATTRIBUTES = """coefs_ : list of ndarray of shape (inputs, outputs)
        Weights of each layer.
    intercepts_ : list of ndarray of shape (outputs,)
        Biases of each layer.
    loss_ : float
        Of the last epoch, with the penalty.
    loss_curve_ : list of float
        Of all epochs.
    best_loss_ : float or None
        The least; None with ``early_stopping``.
    validation_scores_ : list of float or None
        With ``early_stopping``.
    best_validation_score_ : float or None
        With ``early_stopping``.
    n_iter_ : int
        Number of epochs.
    t_ : int
        Number of rows seen.
    n_layers_, n_outputs_ : int
        Layers, with the input, and units of the last.
    out_activation_ : str
        Activation of the last layer.
    n_features_in_ : int
        Number of features d.
    feature_names_in_ : ndarray of shape (d,), object
        Column names of X, if it has string names."""
NOTES = """Data should be scaled: use `sklearn.preprocessing.StandardScaler` or
    `kernelmill.preprocessing.StandardScaler`. float32 rows are trained in float32. X may be a
    stream, whose targets are in memory; the model is that of the same rows in memory, unless they
    are more than 256 MiB, which are shuffled in windows of 64 MiB. With a
    ``random_state`` the result has the same bits at any thread count."""


