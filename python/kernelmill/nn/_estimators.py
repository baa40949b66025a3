"""NeuralNetClassifier and NeuralNetRegressor: any module with scikit-learn's interface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight

from .._estimator import _parameters as rule
from .._estimator._base import fitting
from .._estimator._targets import declare_classes, encode_classes, encode_values
from ._estimators_base import ATTRIBUTES, CLASSIFIER, NOTES, REGRESSOR, NeuralNet
from ._trainer_metrics import decided, probabilities
from .modules._simple import LAYERS


class NeuralNetClassifier(ClassifierMixin, NeuralNet):
    __doc__ = f"""Any network as a classifier with scikit-learn's interface.

    Several labels at a time where y is a matrix of 0 and 1.

    Parameters
    ----------
    {CLASSIFIER}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> class Net(nn.Module):
    ...     def __init__(self, n_features, n_outputs, hidden=32):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(n_features, hidden)
    ...         self.out = nn.Linear(hidden, n_outputs)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).tanh())
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> model = nn.NeuralNetClassifier(
    ...     Net, module__hidden=64, lr=0.02, max_epochs=60, random_state=0).fit(X, y)
    >>> model.predict([[1, 1], [1, -1]]).tolist()
    ['same', 'other']
    >>> model.score(X, y) > 0.95
    True
    """  # fmt: skip

    _parameters: ClassVar = {
        **NeuralNet._parameters,
        "class_weight": rule.any_of(
            rule.nothing(),
            rule.one_of("balanced"),
            rule.Rule(lambda value: isinstance(value, dict), "a dict"),
        ),
    }

    def __init__(
        self, module=None, criterion=None, optimizer=None, *, lr=1e-3, max_epochs=20,
        batch_size=128, class_weight=None, shuffle=True, early_stopping=False,
        validation_fraction=0.1, n_iter_no_change=10, tol=0.0, monitor=None, metrics=None,
        clip_norm=None, accumulate=1, lr_scheduler=None, input_dtype=None, warm_start=False,
        random_state=None, verbose=False, **kwargs,
    ):  # fmt: skip
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.monitor = monitor
        self.metrics = metrics
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.lr_scheduler = lr_scheduler
        self.input_dtype = input_dtype
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._route(kwargs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _criterion(self) -> Any:
        if self.criterion is not None:
            return self.criterion
        return LAYERS["BCEWithLogitsLoss" if self._multilabel else "CrossEntropyLoss"]

    def _targets(self, y: Any, count: int, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        codes, given = encode_classes(self, y, count, reset)
        n = len(self.classes_)
        if self._multilabel:
            self.n_outputs_ = n
            return codes.astype(np.float64), given
        if not self._kind().startswith("binary"):
            self.n_outputs_ = max(n, 2)
            return codes, given
        if n > 2:
            raise ValueError(
                f"{type(self).__name__}: criterion must take class numbers for {n} classes, got "
                f"{self._criterion()} (CrossEntropyLoss does)"
            )
        self.n_outputs_ = 1
        return codes.astype(np.float64)[:, None], given

    def _class_weighted(self, given: np.ndarray, weight: Any) -> Any:
        if self.class_weight is None:
            return weight
        factors = compute_sample_weight(self.class_weight, given)
        return factors if weight is None else factors * weight

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
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
        declare_classes(self, classes, not hasattr(self, "module_"))
        try:
            return self._partial(X, y, sample_weight)
        finally:
            self.__dict__.pop("_declared", None)

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
            Rows.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            Where several labels may hold, the probability of each.
        """
        p = probabilities(self._outputs(X), self._kind())
        if self._multilabel:
            return p
        if self._kind().startswith("binary"):
            p = np.hstack([1 - p, p])
        return p[:, : len(self.classes_)]

    def predict_log_proba(self, X):
        """Logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
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
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_labels)
            Classes, or 0 or 1 for each label.
        """
        outputs = self._outputs(X)
        if not self._kind().startswith("binary"):
            return self.classes_[outputs[:, : len(self.classes_)].argmax(1)]
        found = decided(outputs, self._kind())
        return found if self._multilabel else self.classes_[found[:, 0] * (len(self.classes_) - 1)]


class NeuralNetRegressor(RegressorMixin, NeuralNet):
    __doc__ = f"""Any network as a regressor with scikit-learn's interface.

    Parameters
    ----------
    {REGRESSOR}

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> model = nn.NeuralNetRegressor(lr=0.02, max_epochs=200, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> model.predict([[0.0]]).shape
    (1,)
    """  # fmt: skip

    def __init__(
        self, module=None, criterion=None, optimizer=None, *, lr=1e-3, max_epochs=20,
        batch_size=128, shuffle=True, early_stopping=False, validation_fraction=0.1,
        n_iter_no_change=10, tol=0.0, monitor=None, metrics=None, clip_norm=None, accumulate=1,
        lr_scheduler=None, input_dtype=None, warm_start=False, random_state=None, verbose=False,
        **kwargs,
    ):  # fmt: skip
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.monitor = monitor
        self.metrics = metrics
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.lr_scheduler = lr_scheduler
        self.input_dtype = input_dtype
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._route(kwargs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _criterion(self) -> Any:
        return LAYERS["MSELoss"] if self.criterion is None else self.criterion

    def _targets(self, y: Any, count: int, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        target, given = encode_values(
            self, y, count, np.dtype(np.float64), None if reset else self.n_outputs_
        )
        self.n_outputs_ = target.shape[1]
        return target, given

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
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
        return self._partial(X, y, sample_weight)

    def predict(self, X):
        """Predicted values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            Values.
        """
        found = self._outputs(X)
        return found.ravel() if self._vector else found
