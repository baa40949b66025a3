"""MLPClassifier and MLPRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import declare_classes, encode_classes, encode_values
from kernelmill.neural_network._perceptron import ATTRIBUTES, NOTES, PARAMETERS, Perceptron
from kernelmill.neural_network._training import Epoch, Layers
from kernelmill.ops import elementwise


class MLPClassifier(ClassifierMixin, Perceptron):
    __doc__ = f"""Multi-layer perceptron classifier: a network of dense layers.

    Trained on the log-loss; several labels at a time where y is a matrix of 0 and 1.

    Parameters
    ----------
    {PARAMETERS}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

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

    def _encoded(self, y: Any, rows: Rows, reset: bool) -> tuple[np.ndarray, np.ndarray, int]:
        codes, y = encode_classes(self, y, rows.count, reset)
        if self._multilabel:
            self.out_activation_ = "logistic"
            return y.astype(rows.dtype), y, y.shape[1]
        if len(self.classes_) > 2:
            self.out_activation_ = "softmax"
            return codes, y, len(self.classes_)
        self.out_activation_ = "logistic"
        return codes.astype(rows.dtype)[:, None], y, 1

    def _same_targets(self, y: Any) -> None:
        found = self.classes_ if self._multilabel else np.unique(y)
        if len(found) < len(self.classes_):
            raise ValueError(
                f"MLPClassifier: y must have the classes of the last fit with warm_start=True, got "
                f"{found} for {self.classes_} (partial_fit takes some of them)"
            )

    @fitting
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,) or (n, n_labels)
            Classes, or 0 or 1 for each label.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.
        classes : array-like of shape (n_classes,), optional
            All classes that may come; needed in the first call.

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
        declare_classes(self, classes, first)
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
        X : {array-like, sparse matrix} of shape (n, d), or a stream
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
        X : {array-like, sparse matrix} of shape (n, d), or a stream
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
        X : {array-like, sparse matrix} of shape (n, d), or a stream
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


class MLPRegressor(RegressorMixin, Perceptron):
    __doc__ = f"""Multi-layer perceptron regressor: a network of dense layers.

    Parameters
    ----------
    loss : {{"squared_error", "poisson"}}, default="squared_error"
        Half the squared error, or the Poisson deviance of the exponential of the last layer.
    {PARAMETERS}

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

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
        "loss": rule.one_of("squared_error", "poisson"), **Perceptron._parameters
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _loss_name(self) -> str:
        return self.loss

    def _encoded(self, y: Any, rows: Rows, reset: bool) -> tuple[np.ndarray, np.ndarray, int]:
        targets, y = encode_values(
            self, y, rows.count, rows.dtype, None if reset else self.n_outputs_
        )
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(
                f"{rows.owner}: y must not be negative for loss='poisson', got negative entries"
            )
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        return targets, y, targets.shape[1]

    def _attributes(self, state: Epoch, n_iter: int) -> dict[str, Any]:
        return {**super()._attributes(state, n_iter), "_vector": self._vector}

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
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
        X : {array-like, sparse matrix} of shape (n, d), or a stream
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
