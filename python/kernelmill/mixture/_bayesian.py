"""BayesianGaussianMixture: mean-field variational inference with the exact bound."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._validation import refuse_unseen
from kernelmill.mixture._densities import overall
from kernelmill.mixture._model import MixtureBase
from kernelmill.mixture._variational import Posterior, Prior, posterior_of

_POSITIVE = rule.any_of(rule.real(0, above=True), rule.nothing())


class BayesianGaussianMixture(MixtureBase):
    """Gaussian mixture by variational inference: unneeded components lose their weight.

    Maximises a lower bound on the log evidence over distributions of the parameters, with a
    Dirichlet process or a Dirichlet distribution as the prior of the weights.

    Parameters
    ----------
    n_components : int, default=1
        Maximum number of components k; more than needed do no harm.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        As in `GaussianMixture`.
    tol : float, default=1e-3
        Stop when the bound, a sum over all rows, changes by less.
    reg_covar : float, default=1e-6
        Added to the diagonal of `covariance_prior`; as part of the prior it leaves the bound exact.
    max_iter : int, default=100
        Maximum number of iterations of a start; 0 returns the start.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        As in `GaussianMixture`.
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}, \
            default="dirichlet_process"
        Prior of the weights.
    weight_concentration_prior : float, optional
        Small values favour few components, large ones many; ``1 / k`` by default.
    mean_precision_prior : float, optional
        Number of rows that `mean_prior` counts as; 1 by default.
    mean_prior : array-like of shape (d,), optional
        Prior mean of the means; the mean of X by default.
    degrees_of_freedom_prior : float, optional
        Number of rows that `covariance_prior` counts as, above ``d - 1`` for full and tied
        covariances; d by default.
    covariance_prior : float or array-like, optional
        Array of shape (d, d), (d, d), (d,) or number, in the order of `covariance_type`; by default
        the unbiased covariance of X, its diagonal, or the mean of the diagonal.
    contamination : float or None, default=None
        As in `GaussianMixture`.

    Attributes
    ----------
    weights_ : ndarray of shape (k,), dtype of X
        Expected weights.
    means_ : ndarray of shape (k, d), dtype of X
        Expected means.
    covariances_, precisions_, precisions_cholesky_ : ndarray, dtype of X
        Expected precisions, their inverses and factors, in the shapes of `GaussianMixture`.
    weight_concentration_ : ndarray of shape (k,), or a pair of these
        Parameters of the Dirichlet distribution, or of the Beta distributions of the sticks.
    mean_precision_ : ndarray of shape (k,)
        Number of rows that each mean counts as.
    degrees_of_freedom_ : ndarray of shape (k,), or float when tied
        Number of rows that each covariance counts as.
    weight_concentration_prior_, mean_precision_prior_, degrees_of_freedom_prior_ : float
        The prior used.
    mean_prior_ : ndarray of shape (d,)
        The prior used.
    covariance_prior_ : ndarray or float
        The prior used, without `reg_covar`.
    converged_, n_iter_
    lower_bound_ : float
        Bound on the log evidence of all rows in its last iteration, before the last update. It
        includes all constants, so models with other k, priors or covariance types can be compared.
    lower_bounds_ : list of float
        The same for each of its iterations; it never decreases.
    offset_
    interrupted_ : bool
        As in `GaussianMixture`.
    n_features_in_, feature_names_in_

    See Also
    --------
    GaussianMixture : Maximum likelihood.

    Notes
    -----
    With full covariances the updates have the same fixed points as scikit-learn's. The others
    differ so that ``lower_bound_`` is a bound: a tied precision has ``nu0 + n`` degrees of freedom
    (scikit-learn: ``nu0 + n / k``), diagonal and spherical precisions have Gamma distributions
    (scikit-learn uses the log determinant of a Wishart), and `reg_covar` is part of the prior.

    Missing values are inferred with the parameters, so the bound is that of the observed values;
    the default `covariance_prior` is then diagonal. Streams, weights, float32, devices, callbacks
    (``set_callbacks``) and `warm_start` work as in `GaussianMixture`, at the same cost plus one
    pass for the default priors. There is no ``partial_fit``: a posterior depends on the number of
    rows, which is not known batch by batch. ``score_samples`` returns the expected log density
    under the variational distribution, as in scikit-learn.

    References
    ----------
    Attias (2000), "A variational Bayesian framework for graphical models". Blei and Jordan (2006),
    "Variational inference for Dirichlet process mixtures". Bishop (2006), "Pattern Recognition and
    Machine Learning", 10.2.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.mixture import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (200, 2)), rng.normal(5, 1, (100, 2))])
    >>> model = BayesianGaussianMixture(6, random_state=0, max_iter=500).fit(X)
    >>> int((model.weights_ > 0.01).sum())
    2
    """

    mean_precision_: Any
    degrees_of_freedom_: Any
    weight_concentration_: Any
    _learned: ClassVar = (
        "means_",
        "covariances_",
        "precisions_cholesky_",
        "mean_precision_",
        "degrees_of_freedom_",
    )

    _prior_attributes: ClassVar = (
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "mean_prior_",
        "degrees_of_freedom_prior_",
        "covariance_prior_",
    )

    _parameters: ClassVar = {
        **MixtureBase._shared_parameters,
        "weight_concentration_prior_type": rule.one_of(
            "dirichlet_process", "dirichlet_distribution"
        ),
        "weight_concentration_prior": _POSITIVE,
        "mean_precision_prior": _POSITIVE,
        "mean_prior": rule.any_of(rule.array("(n_features,)"), rule.nothing()),
        "degrees_of_freedom_prior": _POSITIVE,
        "covariance_prior": rule.any_of(
            rule.array("that fits covariance_type"), rule.real(0, above=True), rule.nothing()
        ),
    }

    def __init__(
        self, n_components=1, *, covariance_type="full", tol=1e-3, reg_covar=1e-6, max_iter=100,
        n_init=1, init_params="kmeans", weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=None, mean_precision_prior=None, mean_prior=None,
        degrees_of_freedom_prior=None, covariance_prior=None, random_state=None, warm_start=False,
        verbose=0, verbose_interval=10, contamination=None, device=None
    ):
        self._set_parameters(locals())

    def _beginner(self, rows, seed):
        starter = self._starter(rows, seed)
        prior = self._prior(rows, starter.mean)
        owner = type(self).__name__

        def begin(number):
            moments, reference = starter.start(number)
            return posterior_of(prior, moments, reference.means, owner)

        return begin

    # --- the prior --------------------------------------------------------------------------------

    def _resumed(self, rows):
        self._prior(rows, self._exact()["means_"][0])
        return self._model()

    def _prior(self, rows, origin):
        """The prior, from the parameters and, for defaults, one pass over the rows."""
        d, kind, owner = rows.n_features, self.covariance_type, type(self).__name__
        mean = self._given("mean_prior", (d,))
        shape = {"diag": (d,), "spherical": ()}.get(kind, (d, d))
        covariance = self._given_positive("covariance_prior", shape)
        if mean is None or covariance is None:
            data_mean, data_covariance = self._data_prior(rows, origin)
            mean = data_mean if mean is None else mean
            covariance = data_covariance if covariance is None else covariance
        nu0 = d if self.degrees_of_freedom_prior is None else self.degrees_of_freedom_prior
        if kind in ("full", "tied") and not nu0 > d - 1:
            raise ValueError(
                f"{owner}: degrees_of_freedom_prior must be above d - 1 = {d - 1}, got {nu0}"
            )
        a0, beta0 = self.weight_concentration_prior, self.mean_precision_prior
        self.weight_concentration_prior_ = 1 / int(self.n_components) if a0 is None else float(a0)
        self.mean_precision_prior_ = 1.0 if beta0 is None else float(beta0)
        self.mean_prior_, self.degrees_of_freedom_prior_ = mean, float(nu0)
        self.covariance_prior_ = float(covariance) if kind == "spherical" else covariance
        return self._fitted_prior()

    def _fitted_prior(self):
        """The prior from the fitted attributes."""
        scale = np.asarray(self.covariance_prior_, dtype=np.float64)
        reg = float(self.reg_covar)
        full = self.covariance_type in ("full", "tied")
        return Prior(
            self.covariance_type,
            self.weight_concentration_prior_type == "dirichlet_process",
            self.weight_concentration_prior_,
            self.mean_precision_prior_,
            self.degrees_of_freedom_prior_,
            np.asarray(self.mean_prior_, dtype=np.float64),
            scale + reg * np.eye(len(scale)) if full else scale + reg,
        )

    def _data_prior(self, rows, origin):
        """Mean and unbiased covariance of the rows, in the shape of `covariance_prior`."""
        full = self.covariance_type in ("full", "tied")
        weights, sums, squares, total, missing = rows.map_reduce(overall, origin, full)
        refuse_unseen(weights, type(self).__name__)
        shift = sums / weights
        # Weights are counts; where these are so small that n - 1 is meaningless, n / 2 is used.
        divisor = np.maximum(weights - 1, weights / 2)
        if full:
            if missing:
                variances = np.diag(squares) - weights * shift**2
                return origin + shift, np.diag(np.maximum(variances, 0.0) / divisor)
            scatter = squares - total * np.outer(shift, shift)
            return origin + shift, scatter / divisor[0]
        variances = np.maximum(squares - weights * shift**2, 0.0) / divisor
        return origin + shift, variances if self.covariance_type == "diag" else variances.mean()

    # --- the model --------------------------------------------------------------------------------

    def _without_regularisers(self, model, variances, counts):
        nu = np.atleast_1d(model.degrees_of_freedom)[:, None]
        parts: dict[str, Any] = {"reg_covar": float(self.reg_covar)}
        rows = nu
        if self.covariance_prior is not None:  # rather than the covariance of the data
            scale = np.asarray(self.covariance_prior_)
            parts["covariance_prior"] = np.diagonal(scale) if scale.ndim == 2 else scale
            rows = np.maximum(nu - model.prior.degrees_of_freedom, np.finfo(np.float64).tiny)
        return (variances * nu - sum(parts.values())) / rows, parts

    def _model(self):
        exact = self._exact()
        gaussians = self._gaussians(exact)
        shapes = self.weight_concentration_
        kind = "dirichlet_process" if isinstance(shapes, tuple) else "dirichlet_distribution"
        if kind != self.weight_concentration_prior_type:
            raise ValueError(
                f"{type(self).__name__}: weight_concentration_prior_type must be that of the "
                f"previous fit, {kind!r}, got {self.weight_concentration_prior_type!r} (set "
                f"warm_start=False and fit again)"
            )
        concentration = (
            tuple(np.asarray(part, dtype=np.float64) for part in shapes)
            if isinstance(shapes, tuple)
            else np.asarray(shapes, dtype=np.float64)
        )
        return Posterior(
            self._fitted_prior(),
            concentration,
            exact["mean_precision_"],
            np.asarray(exact["degrees_of_freedom_"]),
            gaussians,
            type(self).__name__,
        )

    def _arrays(self, model):
        tied = model.prior.covariance_type == "tied"
        return {
            "weights_": model.weights,
            "means_": model.gaussians.means,
            "covariances_": model.gaussians.covariances,
            "precisions_cholesky_": model.gaussians.precisions_cholesky,
            "mean_precision_": model.mean_precision,
            "degrees_of_freedom_": (
                float(model.degrees_of_freedom) if tied else model.degrees_of_freedom
            ),
        }

    def _state(self, model, dtype):
        state = {name: vars(self)[name] for name in self._prior_attributes}
        state |= super()._state(model, dtype)
        # Counts of rows stay float64, whatever the dtype of X.
        state["weight_concentration_"] = model.concentration
        for name in ("mean_precision_", "degrees_of_freedom_"):
            state[name] = self._arrays(model)[name]
        return state
