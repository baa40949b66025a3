"""GaussianMixture: maximum likelihood by EM, in memory, on streams, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._validation import SUM_TOLERANCE, as_numbers
from kernelmill._gaussian._parameters import (
    Gaussians,
    checked_precisions_cholesky,
    covariance_shape,
    covariances_of,
    n_covariance_parameters,
)
from kernelmill._gaussian._passes import Moments
from kernelmill._gaussian._update import maximise, moments_of
from kernelmill.mixture._model import MixtureBase, Position, expectation


@dataclass(frozen=True)
class Mixture:
    """Weights and Gaussians of a mixture: the model of EM."""

    weights: np.ndarray  # (k,), float64
    gaussians: Gaussians
    reg_covar: float
    owner: str  # name of the estimator in errors

    @property
    def offsets(self) -> np.ndarray:
        """Log weights."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights)

    def bound(self, moments: Moments) -> float:
        """The mean log-likelihood."""
        # If all densities underflow there are no responsibilities: -inf, not a division by zero.
        weight = float(moments.weights.sum())
        return moments.log_likelihood / weight if weight > 0 else -np.inf

    def updated(self, moments: Moments) -> Mixture:
        """The M-step."""
        weights = moments.weights / moments.weights.sum()
        gaussians = maximise(moments, self.gaussians, self.reg_covar, self.owner)
        return Mixture(weights, gaussians, self.reg_covar, self.owner)


class GaussianMixture(MixtureBase):
    """Gaussian mixture fitted by EM: full, tied, diagonal or spherical covariances.

    Maximises ``sum_i w[i] log sum_j pi_j N(X[i]; m_j, S_j)`` over weights pi, means m and
    covariances S.

    Parameters
    ----------
    n_components : int, default=1
        Number of components k.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        A matrix for each component, one matrix for all, variances for each component, or one
        variance for each component.
    tol : float, default=1e-3
        Stop when the mean log-likelihood of the rows changes by less.
    reg_covar : float, default=1e-6
        Added to the diagonal of the covariances, so that they stay positive definite.
    max_iter : int, default=100
        Maximum number of EM iterations of a start; 0 returns the start.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        Initial components: the clusters of k-means, the rows nearest to each of k rows chosen far
        apart (``"k-means++"``) or at random (``"random_from_data"``), or random responsibilities
        (``"random"``). For a stream, starts are made on a random sample of 64 MiB, or of 1000 rows
        a component if that is more.
    weights_init : array-like of shape (k,), optional
        Initial weights, which sum to one within 1e-5.
    means_init : array-like of shape (k, d), optional
        Initial means.
    precisions_init : array-like, optional
        Initial inverse covariances, in the shape of ``precisions_``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the previous fit, ignoring `n_init`. A fit interrupted by
        Ctrl-C then keeps the parameters it has reached, and the next one continues from them.
    contamination : float or None, default=None
        Share of outliers among the training rows, at most 0.5. It sets ``offset_`` and makes
        ``decision_function`` and ``is_outlier`` available; ``predict`` still returns components.
    learning_decay : float, default=0.7
        Exponent of the step size of ``partial_fit``, above 0.5 and at most 1.
    learning_offset : float, default=1.0
        Large values reduce the effect of the first batches of ``partial_fit``.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute; None follows X. ``"cuda"`` moves NumPy input to the GPU once and returns
        NumPy; it raises if there is no GPU. Fitted attributes are always NumPy arrays.

    Attributes
    ----------
    weights_ : ndarray of shape (k,), dtype of X
        Weights of the components.
    means_ : ndarray of shape (k, d), dtype of X
        Means; like all parameters also stored in float64, for float32 rows far from the origin.
    covariances_ : ndarray, dtype of X
        Of shape (k, d, d), (d, d), (k, d) or (k,), in the order of `covariance_type`.
    precisions_ : ndarray, dtype of X
        Inverse covariances, in the same shape.
    precisions_cholesky_ : ndarray, dtype of X
        P with ``P P' = precision``, upper triangular; reciprocal standard deviations if covariances
        are diagonal.
    converged_
    n_iter_ : int
        EM iterations of the best start.
    lower_bound_ : float
        Mean log-likelihood of the rows in its last iteration, before the last update.
    lower_bounds_ : list of float
        The same for each of its iterations.
    offset_
    n_batches_ : int
        Number of batches given to ``partial_fit``; absent after ``fit``.
    interrupted_ : bool
        True after a fit with ``warm_start=True`` that Ctrl-C stopped; absent otherwise.
    n_features_in_, feature_names_in_

    See Also
    --------
    BayesianGaussianMixture : Infers how many components are needed.
    MixtureClassifier : A mixture for each class.

    Notes
    -----
    An iteration is one pass over X, block by block; responsibilities are never stored. Missing
    values (NaN) are integrated out exactly, at the cost of a copy of X and k small factorisations
    for each pattern of missing features. float32 input stays float32, with all statistics and
    parameters in float64. A component that loses all its weight keeps its mean and covariance. The
    log-likelihood never decreases with ``reg_covar=0``; near a singularity `reg_covar` can lower
    it. Supports scikit-learn's callbacks and `kernelmill.callbacks` (``set_callbacks``), which see
    the parameters after each iteration and may stop the fit. A fit that fails, or is interrupted
    without `warm_start`, leaves the model unchanged. Cost 2 n k d^2 flops an iteration with full
    covariances, 2 n d^2 + 6 n k d tied, 8 n k d otherwise.

    References
    ----------
    Dempster, Laird, Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm".
    Ghahramani and Jordan (1994), "Supervised learning from incomplete data via an EM approach".
    Cappé and Moulines (2009), "On-line expectation-maximization algorithm for latent data models".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.mixture import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> model.means_[np.argsort(model.means_[:, 0])].round(6)
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> model.predict([[0, 0], [12, 3]]).tolist() == model.predict([[1, 2], [10, 2]]).tolist()
    True

    Missing values carry no information:

    >>> model.predict_proba([[1, np.nan], [np.nan, 2]]).max(axis=1).round(6)
    array([1. , 0.5])

    Outliers are less likely than the given share of the training rows:

    >>> model = GaussianMixture(contamination=0.2).fit([[0.0], [0.1], [0.2], [0.3], [9.0]])
    >>> model.is_outlier([[0.1], [9.0]])
    array([False,  True])
    """

    n_batches_: int
    _learned: ClassVar = ("weights_", "means_", "covariances_", "precisions_cholesky_")

    _parameters: ClassVar = {
        **MixtureBase._shared_parameters,
        "weights_init": rule.any_of(rule.array("(n_components,)"), rule.nothing()),
        "means_init": rule.any_of(rule.array("(n_components, n_features)"), rule.nothing()),
        "precisions_init": rule.any_of(rule.array("that fits covariance_type"), rule.nothing()),
        "learning_decay": rule.real(0.5, above=True, high=1),
        "learning_offset": rule.real(0),
    }

    def __init__(
        self, n_components=1, *, covariance_type="full", tol=1e-3, reg_covar=1e-6, max_iter=100,
        n_init=1, init_params="kmeans", weights_init=None, means_init=None, precisions_init=None,
        random_state=None, warm_start=False, verbose=0, verbose_interval=10, contamination=None,
        learning_decay=0.7, learning_offset=1.0, device=None
    ):
        self._set_parameters(locals())

    # --- the model --------------------------------------------------------------------------------

    def _beginner(self, rows, seed):
        k, d, kind = int(self.n_components), rows.n_features, self.covariance_type
        reg_covar, owner = float(self.reg_covar), type(self).__name__
        weights = self._given("weights_init", (k,))
        means = self._given("means_init", (k, d))
        covariances = self._given_covariances(k, d)
        if weights is not None:
            if not ((weights >= 0).all() and abs(weights.sum() - 1) <= SUM_TOLERANCE):
                raise ValueError(
                    f"{owner}: weights_init must not be negative and must sum to one within "
                    f"{SUM_TOLERANCE:g}, got a sum of {weights.sum():.8g} and a minimum of "
                    f"{weights.min():g}"
                )
            weights = weights / weights.sum()
        if weights is not None and means is not None and covariances is not None:
            gaussians = Gaussians.of(means, covariances, kind, owner)
            return lambda number: Mixture(weights, gaussians, reg_covar, owner)
        starter = self._starter(rows, seed)

        def begin(number):
            moments, reference = starter.start(number)
            gaussians = maximise(moments, reference, reg_covar, owner)
            if means is not None or covariances is not None:
                gaussians = Gaussians.of(
                    gaussians.means if means is None else means,
                    gaussians.covariances if covariances is None else covariances,
                    kind,
                    owner,
                )
            share = moments.weights / moments.weights.sum() if weights is None else weights
            return Mixture(share, gaussians, reg_covar, owner)

        return begin

    def _given_covariances(self, k, d):
        """Inverses of ``precisions_init``, or None."""
        kind = self.covariance_type
        precisions = self._given_positive("precisions_init", covariance_shape(kind, k, d))
        if precisions is None:
            return None
        if kind in ("diag", "spherical"):
            return 1.0 / precisions
        inverse = np.linalg.inv(precisions)
        return (inverse + np.swapaxes(inverse, -1, -2)) / 2

    def _model(self):
        self._complete()
        exact = self._exact()
        gaussians = self._gaussians(exact)
        return Mixture(exact["weights_"], gaussians, float(self.reg_covar), type(self).__name__)

    def _complete(self):
        """Compute covariances or precisions where the user has set only the other."""
        kind, owner = self.covariance_type, type(self).__name__
        if "precisions_cholesky_" not in vars(self):
            check_is_fitted(self, "covariances_")
            self.precisions_cholesky_ = Gaussians.of(
                self.means_, self.covariances_, kind, owner
            ).precisions_cholesky
        elif "covariances_" not in vars(self):
            factor = as_numbers(self.precisions_cholesky_, "precisions_cholesky_", owner)
            k, d = np.shape(self.means_)
            factor = checked_precisions_cholesky(factor, kind, k, d, owner)
            self.covariances_ = covariances_of(factor, kind)

    def _arrays(self, model):
        return {
            "weights_": model.weights,
            "means_": model.gaussians.means,
            "covariances_": model.gaussians.covariances,
            "precisions_cholesky_": model.gaussians.precisions_cholesky,
        }

    def _learn(self, run, rows):
        self.__dict__.pop("n_batches_", None)
        super()._learn(run, rows)

    # --- online -----------------------------------------------------------------------------------

    @fitting
    def partial_fit(self, X, y=None, sample_weight=None):
        """Update the mixture from one batch by stepwise EM; the first call initialises it.

        Parameters
        ----------
        X : {array-like} of shape (n, d), or a stream
            The batch; more than one pass over it is made.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows within the batch.

        Raises
        ------
        ValueError
            If X holds inf or the weights are not finite, X has other features than before, or the
            first batch has fewer rows than there are components.

        Notes
        -----
        With s the mean sufficient statistics of the rows so far and s_B those of the batch under
        the current parameters, ``s <- (1 - g) s + g s_B``, and the M-step turns s into parameters.
        The step size is ``g = (t + learning_offset)^-learning_decay`` for batch t, where t = 1 is
        the second batch, or the first after ``fit``: the sum of g diverges and that of g^2
        converges, as convergence requires. All batches count equally whatever their weight, so they
        should be of similar size. The parameters determine s, so a model that was fitted or loaded
        from a file can be updated as well. ``lower_bound_`` is the mean log-likelihood of the batch
        before the update, and ``offset_`` is from this batch.

        References
        ----------
        Cappé and Moulines (2009), "On-line expectation-maximization algorithm for latent data
        models". Liang and Klein (2009), "Online EM for unsupervised models".

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.mixture import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> model = GaussianMixture(2, random_state=0)
        >>> for _ in range(50):
        ...     model = model.partial_fit(rng.normal(rng.choice([-4.0, 4.0], (100, 1))))
        >>> abs(model.means_).round().ravel()
        array([4., 4.])
        """
        first = "means_" not in vars(self)
        rows = self._rows(X, sample_weight, reset=first, once=False)
        n_batches = 0 if first else vars(self).get("n_batches_", 1)
        if first:
            self._check_row_count(rows)
            model = self._beginner(rows, seed_of(self.random_state))(0)
        else:
            self._refuse_another_shape(rows.n_features)
            model = self._model()
        moments, bound = expectation(rows)(model)
        size = 1.0 if first else (n_batches + self.learning_offset) ** -self.learning_decay
        updated = model.updated(_mixed(model, moments, size))
        self._learn(Run(Position(updated, bound), bound, [bound], 1, False), rows)
        self.n_batches_ = n_batches + 1
        return self

    # --- choosing a model -------------------------------------------------------------------------

    def _n_parameters(self):
        """Free parameters of the fitted mixture."""
        k, d = np.shape(self.means_)
        return n_covariance_parameters(self.covariance_type, k, d) + k * d + k - 1

    def aic(self, X, sample_weight=None) -> float:
        """Return Akaike's information criterion: lower is better.

        Returns
        -------
        aic : float
            ``-2 log-likelihood + 2 p`` for p free parameters.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> round(GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).aic([[0.0]]), 6)
        5.837877
        """
        total, _ = self._likelihood(X, sample_weight)
        return -2 * total + 2 * self._n_parameters()

    def bic(self, X, sample_weight=None) -> float:
        """Return the Bayesian information criterion: lower is better.

        Returns
        -------
        bic : float
            ``-2 log-likelihood + p log n`` for p free parameters and rows of weight n.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> round(GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]]).bic([[0.0]]), 6)
        1.837877
        """
        total, weight = self._likelihood(X, sample_weight)
        return -2 * total + self._n_parameters() * float(np.log(weight))


def _mixed(model: Mixture, batch: Moments, size: float) -> Moments:
    """``(1 - size)`` of the mean statistics of the model and `size` of those of a batch."""
    old = moments_of(model.weights, model.gaussians, model.reg_covar)
    scale = size / float(batch.weights.sum())
    return Moments(
        (1 - size) * old.weights + scale * batch.weights,
        scale * batch.sums,  # those of the model are 0 about its means
        (1 - size) * old.squares + scale * batch.squares,
        0.0,
    )
