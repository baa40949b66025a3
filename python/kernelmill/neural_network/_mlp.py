"""MLPClassifier and MLPRegressor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._targets import check_count, class_labels, numbers
from kernelmill.neural_network._training import (
    ACTIVATIONS,
    Epoch,
    Layers,
    Trainer,
    initial_layers,
    minimise,
    predict,
)
from kernelmill.ops import elementwise

_UNIT = rule.real(0, high=np.nextafter(1.0, 0.0))
_SIZES = rule.Rule(
    lambda value: all(
        rule.is_integer(v) and v >= 1
        for v in (value if isinstance(value, list | tuple | np.ndarray) else [value])
    ),
    "whole numbers of at least 1",
)


class _Perceptron(Estimator):
    """What the classifier and the regressor share."""

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
    _accepts_streams = False
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
        X : {array-like, sparse matrix} of shape (n, d)
            Rows, float32 or float64; others become float64.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.
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
        seed = seed_of(self.random_state)
        layers = self._own_layers() if again else self._new_layers(rows, seed)
        if self.solver == "lbfgs":
            return self._fit_at_once(rows, targets, layers)
        validation = None
        if self.early_stopping:
            rows, targets, validation = self._held_out(rows, targets, given, seed)
        start = self._start(layers, again)
        trainer = Trainer(self, rows, targets, validation, seed, self._loss_name())
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, iterations=int(self.max_iter), unit="epoch", X=X, y=y,
            metadata=metadata,
        ) as progress:  # fmt: skip
            run = climb(
                progress,
                lambda number: start,
                trainer.advance,
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

    def _prepared(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Any:
        rows = self._rows(X, sample_weight, reset=reset)
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
        if not again:
            return Epoch(layers, None, rate)
        return Epoch(
            layers, getattr(self, "_optimizer_state", None), getattr(self, "_rate", rate),
            steps=self.t_, losses=list(getattr(self, "loss_curve_", ())),
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
            "best_validation_score_": state.best_score if self.early_stopping else None,
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
        n = rows.count
        stratify = given if self._stratified() and given.ndim == 1 else None
        kept, held = train_test_split(
            np.arange(n), test_size=self.validation_fraction,
            random_state=legacy_state(seed, 1), stratify=stratify,
        )  # fmt: skip
        if len(held) < 2:
            raise ValueError(
                f"{type(self).__name__}: validation_fraction must leave at least 2 rows to judge "
                f"by, got {len(held)} of {n} (raise it, or early_stopping=False)"
            )
        weight = rows.all_weights()
        validation = (rows.take(held), given[held], None if weight is None else weight[held])
        return rows.part(kept), targets[kept], validation

    def _stratified(self) -> bool:
        return False

    def _fit_at_once(self, rows: Rows, targets: np.ndarray, layers: Layers) -> Any:
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
        trainer = Trainer(self, rows, targets, None, seed, self._loss_name())
        state = trainer.advance(
            replace(start, epochs=epochs, best_loss=np.inf if first else self.best_loss_), 1
        ).state  # fmt: skip
        self.__dict__.update(self._attributes(state, epochs + 1), _seed=seed)
        return self

    # --- prediction ---

    def _output(self, X: Any, layers: Layers | None = None) -> np.ndarray:
        """Of the last layer, without its activation, (n, n_outputs)."""
        if layers is None:
            check_is_fitted(self)
            rows = self._rows(X, reset=False)
            X, layers = rows.take(np.arange(rows.count)), self._own_layers()
        return predict(X.astype(layers.coefs[0].dtype, copy=False), layers, self.activation)

    def _validation_score(self, X: Any, y: Any, weight: Any, layers: Layers) -> float:
        raise NotImplementedError


_PARAMETERS = """hidden_layer_sizes : int or sequence of int, default=(100,)
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
_ATTRIBUTES = """coefs_ : list of ndarray of shape (inputs, outputs)
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
_NOTES = """Data should be scaled: use `sklearn.preprocessing.StandardScaler` or
    `kernelmill.preprocessing.StandardScaler`. float32 rows are trained in float32. With a
    ``random_state`` the result has the same bits at any thread count."""


class MLPClassifier(ClassifierMixin, _Perceptron):
    __doc__ = f"""Multi-layer perceptron classifier: a network of dense layers.

    Trained on the log-loss; several labels at a time where y is a matrix of 0 and 1.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neural_network import MLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> model = MLPClassifier(20, random_state=0, solver="lbfgs", max_iter=500).fit(X, y)
    >>> model.predict([[1, 1], [1, -1]]).tolist()
    ['same', 'other']
    >>> model.predict_proba([[1, 1]]).round().tolist()
    [[0.0, 1.0]]
    >>> model.predict_log_proba([[1, 1]]).shape
    (1, 2)
    >>> model.score(X, y) > 0.95
    True
    >>> model = MLPClassifier(20, random_state=0)
    >>> model.partial_fit(X[:200], y[:200], classes=["other", "same"]).n_iter_
    1
    """  # fmt: skip

    classes_: Any

    def __init__(
        self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=1e-4,
        batch_size="auto", learning_rate="constant", learning_rate_init=1e-3, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False,
        momentum=0.9, nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
        beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
    ):  # fmt: skip
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _loss_name(self) -> str:
        return "log_loss" if self.out_activation_ == "softmax" else "binary_log_loss"

    def _stratified(self) -> bool:
        return not self._multilabel

    def _encoded(self, y: Any, rows: Rows, reset: bool) -> tuple[np.ndarray, np.ndarray, int]:
        owner = rows.owner
        y = class_labels(y, owner, multilabel=True)
        check_count(y, rows.count, owner)
        if reset:
            self._multilabel = y.ndim == 2
            if not hasattr(self, "_declared"):
                self.classes_ = np.arange(y.shape[1]) if y.ndim == 2 else unique_labels(y)
        elif (y.ndim == 2) != self._multilabel:
            raise ValueError(f"{owner}: y must have as many axes as in the first fit, got {y.ndim}")
        if self._multilabel:
            if y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"{owner}: y must have {len(self.classes_)} columns, got {y.shape[1]}"
                )
            self.out_activation_ = "logistic"
            return y.astype(rows.dtype), y, y.shape[1]
        unknown = np.setdiff1d(np.unique(y), self.classes_)
        if len(unknown):
            raise ValueError(
                f"{owner}: y must hold known classes only, got {unknown[:5].tolist()} beside "
                f"{self.classes_[:20].tolist()} (`y` has classes not in `self.classes_`)"
            )
        codes = np.searchsorted(self.classes_, y)
        if len(self.classes_) > 2:
            self.out_activation_ = "softmax"
            return codes.astype(np.int64), y, len(self.classes_)
        self.out_activation_ = "logistic"
        return codes.astype(rows.dtype)[:, None], y, 1

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.
        y : array-like of shape (n,) or (n, n_labels)
            Classes, or 0 or 1 for each label.
        classes : array-like of shape (n_classes,), optional
            All classes that may come; needed in the first call.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If the first call has no classes, or a label is none of them.
        """
        first = not hasattr(self, "coefs_")
        if first and classes is None:
            raise ValueError(
                "MLPClassifier: classes must be passed on the first call to partial_fit, got None"
            )
        if classes is not None:
            given = unique_labels(np.asarray(classes))
            if not first and not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"MLPClassifier: classes must be those of the first call, got {given.tolist()} "
                    f"and {self.classes_.tolist()} (`classes` is not the same as on last call)"
                )
            if first:
                self.classes_ = given
                self._declared = True
        try:
            return self._partial(X, y, sample_weight, first)
        finally:
            self.__dict__.pop("_declared", None)

    def _probabilities(self, out: np.ndarray) -> np.ndarray:
        """(n, n_classes) of the outputs."""
        if self.out_activation_ == "softmax":
            from kernelmill.nn import functional as F

            return F.softmax(out, 1).data
        p = elementwise.logistic(out)
        if self._multilabel:
            return p
        return np.hstack([1 - p, p])

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            Where several labels may hold, the probability of each.
        """
        return self._probabilities(self._output(X))

    def predict_log_proba(self, X):
        """Logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n, n_classes)
            Minus infinity where a probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        """The most probable class, or each label whose probability is above one half.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_labels)
            Classes, or 0 or 1 for each label.
        """
        return self._labels(self._output(X))

    def _labels(self, out: np.ndarray) -> np.ndarray:
        if self._multilabel:
            return (out > 0).astype(np.int64)
        if self.out_activation_ == "softmax":
            return self.classes_[out.argmax(1)]
        return self.classes_[(out[:, 0] > 0).astype(np.int64) * (len(self.classes_) - 1)]

    def _validation_score(self, X: Any, y: Any, weight: Any, layers: Layers) -> float:
        return float(accuracy_score(y, self._labels(self._output(X, layers)), sample_weight=weight))


class MLPRegressor(RegressorMixin, _Perceptron):
    __doc__ = f"""Multi-layer perceptron regressor: a network of dense layers.

    Parameters
    ----------
    loss : {{"squared_error", "poisson"}}, default="squared_error"
        Half the squared error, or the Poisson deviance of the exponential of the last layer.
    {_PARAMETERS}

    Attributes
    ----------
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neural_network import MLPRegressor
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> model = MLPRegressor(hidden_layer_sizes=30, solver="lbfgs", random_state=0, max_iter=999)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    >>> model.predict([[0.0]]).shape
    (1,)
    >>> MLPRegressor(random_state=0).partial_fit(X, y).n_iter_
    1
    """  # fmt: skip

    _parameters: ClassVar = {
        "loss": rule.one_of("squared_error", "poisson"), **_Perceptron._parameters
    }  # fmt: skip

    def __init__(
        self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
        alpha=1e-4, batch_size="auto", learning_rate="constant", learning_rate_init=1e-3,
        power_t=0.5, max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False,
        warm_start=False, momentum=0.9, nesterovs_momentum=True, early_stopping=False,
        validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10,
        max_fun=15000,
    ):  # fmt: skip
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    def _loss_name(self) -> str:
        return self.loss

    def _encoded(self, y: Any, rows: Rows, reset: bool) -> tuple[np.ndarray, np.ndarray, int]:
        y = numbers(y, rows.owner, rows.dtype)
        check_count(y, rows.count, rows.owner)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if reset:
            self._vector = y.ndim == 1
        elif outputs != self.n_outputs_:
            raise ValueError(
                f"{rows.owner}: y must have {self.n_outputs_} columns as in the first fit, got "
                f"{outputs}"
            )
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(
                f"{rows.owner}: y must not be negative for loss='poisson', got negative entries"
            )
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        return y.reshape(len(y), outputs), y, outputs

    def _attributes(self, state: Epoch, n_iter: int) -> dict[str, Any]:
        return {**super()._attributes(state, n_iter), "_vector": self._vector}

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.
        y : array-like of shape (n,) or (n, n_outputs)
            Values.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : object
            Itself.
        """
        return self._partial(X, y, sample_weight, not hasattr(self, "coefs_"))

    def predict(self, X):
        """Predicted values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            Values.
        """
        return self._values(self._output(X))

    def _values(self, out: np.ndarray) -> np.ndarray:
        if self.loss == "poisson":
            out = elementwise.exp(out)
        return out.ravel() if self._vector else out

    def _validation_score(self, X: Any, y: Any, weight: Any, layers: Layers) -> float:
        return float(r2_score(y, self._values(self._output(X, layers)), sample_weight=weight))
