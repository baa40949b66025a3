"""MixtureClassifier: a mixture for each class, Bayes' rule, rejection of unlikely rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._posterior import given_priors
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import check_count, class_labels
from kernelmill._estimator._validation import as_array, zero_weights
from kernelmill._gaussian._parameters import COVARIANCE_TYPES
from kernelmill.mixture._gaussian_mixture import GaussianMixture
from kernelmill.mixture._model import MixtureBase
from kernelmill.mixture._thresholds import CONTAMINATION, threshold, with_threshold
from kernelmill.mixture._words import WORDS
from kernelmill.ops import mixture as ops

_MIXTURE = rule.Rule(
    lambda value: value is None or (isinstance(value, MixtureBase)),
    "None, a GaussianMixture or a BayesianGaussianMixture",
)
_PRIORS = rule.any_of(rule.array("(n_classes,)"), rule.nothing())
_LABEL = rule.Rule(
    lambda value: isinstance(value, str) or rule.is_real(value), "a number or a string"
)


def _densities_of(X: Any, mixtures: list[Any]) -> Any:
    """log p(x | c), (n, n_classes), on the device of X."""
    if not X.shape[0]:  # of a stream without rows
        return namespace(X).empty((0, len(mixtures)), dtype=X.dtype)
    return namespace(X).stack([model.score_samples(X) for model in mixtures], axis=1)


class MixtureClassifier(ClassifierMixin, Estimator):
    """Classifier with a Gaussian mixture for each class.

    Predicts the class with the greatest ``P(c) p(x | c)``: Bayes' rule. With one full Gaussian a
    class it is quadratic discriminant analysis; with more it fits classes of any shape.

    Parameters
    ----------
    n_components : int or array-like of shape (n_classes,), default=1
        Components of the mixture of each class; an array is in the order of ``classes_``. A class
        has at most as many components as rows.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        As in `GaussianMixture`; "tied" ties the components within a class.
    reg_covar : float, default=1e-6
        As in `GaussianMixture`.
    mixture : GaussianMixture, BayesianGaussianMixture or None, default=None
        Model cloned for each class, with `n_components` unless that is 1, instead of a
        `GaussianMixture` with the parameters above.
    priors : array-like of shape (n_classes,), optional
        Probabilities of the classes; by default their shares of the weight of the training rows.
        They should sum to one within 1e-5, and are scaled with a warning otherwise.
    contamination : float or None, default=None
        Share of outliers among the training rows of each class, at most 0.5. It makes ``predict``
        reject rows that are less likely under their most probable class than that share.
    outlier_label : number or str, default=-1
        Label that ``predict`` returns for rejected rows; not one of the classes.
    random_state : int, RandomState, Generator or None, default=None
        Passed to the mixtures, unless `mixture` has one.
    device : {None, "cpu", "cuda"}, default=None
        Passed to the mixtures, unless `mixture` has one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    mixtures_ : list of GaussianMixture or BayesianGaussianMixture
        The fitted mixtures, in the order of ``classes_``.
    priors_ : ndarray of shape (n_classes,), float64
        Probabilities of the classes.
    offset_ : ndarray of shape (n_classes,), float64
        Values of log p(x | c) below which a row is rejected; only with `contamination`.
    n_features_in_, feature_names_in_

    See Also
    --------
    GaussianMixture : The mixture of a class.

    Notes
    -----
    Missing values (NaN) are integrated out, in training and in prediction. Each class has its own
    threshold, because densities of wide and narrow classes are not comparable. Rows with zero
    weight are ignored, and so are classes that have no others. Callbacks belong to the mixtures:
    see `GaussianMixture`. Cost: that of the mixtures.

    References
    ----------
    Hastie and Tibshirani (1996), "Discriminant analysis by Gaussian mixtures".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.mixture import MixtureClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> y = np.where(np.hypot(*X.T) < 1, "in", "out")
    >>> model = MixtureClassifier(4, random_state=0, contamination=0.01).fit(X, y)
    >>> model.predict([[0, 0], [2, 0], [0, -2]]).tolist()
    ['in', 'out', 'out']
    >>> model.is_outlier([[0, 0], [30, 0]])
    array([False,  True])
    >>> model.predict_proba([[0, 0], [2, 0]]).round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    >>> bool((np.exp(model.predict_log_proba(X)).sum(axis=1) - 1 < 1e-9).all())
    True
    >>> model.decision_function(X).shape, model.score_samples(X).shape
    ((400,), (400,))
    """

    mixtures_: Any
    classes_: Any
    priors_: Any
    offset_: Any

    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.array("(n_classes,)")),
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "reg_covar": rule.real(0),
        "mixture": _MIXTURE,
        "priors": _PRIORS,
        "contamination": CONTAMINATION,
        "outlier_label": _LABEL,
        "random_state": rule.RANDOM_STATE,
        "device": rule.DEVICE,
    }

    def __init__(
        self, n_components=1, *, covariance_type="full", reg_covar=1e-6, mixture=None, priors=None,
        contamination=None, outlier_label=-1, random_state=None, device=None
    ):
        self._set_parameters(locals())

    _accepts_missing = True
    _words = WORDS

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Fit a mixture to each class.

        Parameters
        ----------
        X : {array-like} of shape (n, d), or a stream
            Rows; see `GaussianMixture`. Each pass of the mixture of a class over a stream reads all
            chunks and selects the rows of the class.
        y : array-like of shape (n,)
            Class labels, numbers or strings, in memory even if X is a stream.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X holds inf, y is not a vector of class labels, or a
            covariance becomes singular.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.

        Warns
        -----
        ConvergenceWarning
            If the mixture of a class has not converged.
        """
        rows = self._rows(X, sample_weight, reset=True)
        y, weight = class_labels(y, rows.owner), rows.all_weights()
        check_count(y, rows.count, rows.owner)
        used = np.arange(len(y)) if weight is None else np.flatnonzero(weight > 0)
        if not len(used):
            raise zero_weights(rows.owner)
        classes, codes = np.unique(y[used], return_inverse=True)
        components = self._components(len(classes))
        mixtures, shares, offsets = [], np.empty(len(classes)), []
        for c in range(len(classes)):
            numbers = used[codes == c]
            mass = np.ones(len(numbers)) if weight is None else weight[numbers].astype(np.float64)
            shares[c] = mass.sum()
            model = self._mixture_of(components[c], len(numbers))
            own = rows.part(rows.xp.asarray(numbers))
            mixtures.append(model.fit(own))
            if self.contamination is not None:
                scores = to_host(model.score_samples(own))
                offsets.append(threshold(scores, mass, float(self.contamination)))
        self.classes_, self.mixtures_ = classes, mixtures
        self.priors_ = given_priors(self.priors, shares / shares.sum(), rows.owner)
        self.__dict__.pop("offset_", None)
        if self.contamination is not None:
            self.offset_ = np.array(offsets)
            if self.outlier_label in classes.tolist():
                raise ValueError(
                    f"MixtureClassifier: outlier_label must be none of the classes, got "
                    f"{self.outlier_label!r}"
                )
        return self

    def _components(self, n_classes):
        """Number of components of each class."""
        if rule.is_integer(self.n_components):
            return [int(self.n_components)] * n_classes
        numbers = as_array(self.n_components, "n_components", "MixtureClassifier")
        if numbers.shape != (n_classes,) or numbers.dtype.kind not in "iu" or numbers.min() < 1:
            raise ValueError(
                f"MixtureClassifier: n_components must be a whole number of at least 1, or one for "
                f"each of {n_classes} classes, got {self.n_components!r}"
            )
        return numbers.tolist()

    def _mixture_of(self, components, rows):
        """An unfitted mixture for a class with so many rows."""
        if self.mixture is None:
            model: Any = GaussianMixture(
                components,
                covariance_type=self.covariance_type,
                reg_covar=self.reg_covar,
                random_state=self.random_state,
                device=self.device,
            )
        else:
            model = clone(self.mixture)
            changes = {}
            if not (rule.is_integer(self.n_components) and self.n_components == 1):
                changes["n_components"] = components
            for name in ("random_state", "device"):
                if getattr(model, name) is None and getattr(self, name) is not None:
                    changes[name] = getattr(self, name)
            model.set_params(**changes)
        if rule.is_integer(model.n_components) and model.n_components > rows:
            model.set_params(n_components=rows)
        return model

    # --- prediction -------------------------------------------------------------------------------

    def _densities(self, X: Any) -> Any:
        """log p(x | c) of the rows, (n, n_classes)."""
        check_is_fitted(self, "mixtures_")
        return self._rows(X, reset=False).map(_densities_of, self.mixtures_)

    def _joint(self, densities: Any) -> Any:
        xp = namespace(densities)
        with np.errstate(divide="ignore"):
            return densities + xp.asarray(np.log(self.priors_).astype(densities.dtype))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Returns
        -------
        labels : ndarray of shape (n,)
            Classes, the first in a tie; with `contamination`, `outlier_label` for rejected rows.
        """
        densities = self._densities(X)
        codes = to_host(self._joint(densities).argmax(axis=1))
        labels = self.classes_[codes]
        if self.contamination is None:
            return labels
        rejected = self._rejected(densities, codes)
        label = np.asarray(self.outlier_label)
        if labels.dtype.kind in "US" and label.dtype.kind in "US":
            labels = labels.astype(np.promote_types(labels.dtype, label.dtype))
        elif labels.dtype.kind in "iuf" and label.dtype.kind in "iuf":
            labels = labels.astype(np.promote_types(labels.dtype, np.min_scalar_type(label)))
        else:
            labels = labels.astype(object)
        labels[rejected] = self.outlier_label
        return labels

    def _rejected(self, densities: Any, codes: np.ndarray) -> np.ndarray:
        own = to_host(densities)[np.arange(len(codes)), codes]
        return own < self.offset_[codes]

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probability of each class for each row.

        Returns
        -------
        probabilities : array of shape (n, n_classes), dtype of X
            Rows sum to one, also those of rejected rows.
        """
        return ops.responsibilities(self._joint(self._densities(X)))[1]

    def predict_log_proba(self, X: Any) -> Any:
        """Return the log posterior probability of each class for each row.

        Returns
        -------
        log_probabilities : array of shape (n, n_classes), dtype of X
            Finite even where the probability underflows.
        """
        joint = self._joint(self._densities(X))
        return joint - ops.responsibilities(joint)[0][:, None]

    def decision_function(self, X: Any) -> Any:
        """Return the log joint probability of each class, as scikit-learn's QDA does.

        Returns
        -------
        scores : array of shape (n, n_classes), or (n,) for two classes, dtype of X
            ``log P(c) + log p(x | c)``; for two classes the second minus the first.
        """
        joint = self._joint(self._densities(X))
        return joint[:, 1] - joint[:, 0] if len(self.classes_) == 2 else joint

    def score_samples(self, X: Any) -> Any:
        """Return the log density of each row under the mixture of all classes.

        Returns
        -------
        log_prob : array of shape (n,), dtype of X
            ``log sum_c P(c) p(x | c)``, in nats.
        """
        return ops.responsibilities(self._joint(self._densities(X)))[0]

    @with_threshold
    def is_outlier(self, X: Any) -> np.ndarray:
        """Return which rows ``predict`` rejects.

        Returns
        -------
        outlier : ndarray of shape (n,), bool
            Whether ``log p(x | c)`` of the most probable class c is below its ``offset_``.

        Raises
        ------
        AttributeError
            If `contamination` is None.
        """
        densities = self._densities(X)
        return self._rejected(densities, to_host(self._joint(densities).argmax(axis=1)))
