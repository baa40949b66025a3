"""The hidden Markov model whose states are mixtures of Gaussians."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._validation import as_numbers
from kernelmill.hmm._declared import (
    STARTPROB,
    TRANSMAT,
    Distributions,
    Parameter,
    State,
    broadcast_parameter,
    rules_of,
)
from kernelmill.hmm._dirichlet import start_numbers
from kernelmill.hmm._emissions import MixtureEmission
from kernelmill.hmm._gaussian import Covariances, NormalStates
from kernelmill.hmm._normal import NormalPrior, gaussians_of
from kernelmill.hmm._normal_start import centers_of, filled_rows, overall_covariance
from kernelmill.hmm._sequence_model import NUMBER_OR_ARRAY, OPTIONAL


def _start_weights(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    return np.full((int(model.n_components), int(model.n_mix)), 1.0 / model.n_mix)


def _start_means(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    """k-means of all rows gives the states, k-means of the rows of a state its Gaussians."""
    K, M, d = int(model.n_components), int(model.n_mix), data.width
    rows = filled_rows(data.some_rows)
    centers, labels = centers_of(model, rows, K)
    numbers = start_numbers(model.random_state)
    means = np.empty((K, M, d))
    for j in range(K):
        own = rows[labels == j]
        if len(own) >= M:
            means[j] = centers_of(model, own, M)[0]
        else:
            spread = overall_covariance(rows, model.min_covar)
            means[j] = numbers.multivariate_normal(centers.mean(axis=0), spread, size=M)
    return means


WEIGHTS = Distributions(
    "w", "weights_", "KM", _start_weights, counts=lambda expected: expected.emissions.weights
)
MEANS = Parameter("m", "means_", "KMd", _start_means)
COVARS = Covariances(
    "c",
    "_covars_",
    {"spherical": "KM", "diag": "KMd", "full": "KMdd", "tied": "Kdd"},
)


class GMMHMM(NormalStates):
    """Hidden Markov model whose states are mixtures of Gaussians.

    Parameters
    ----------
    n_mix : int, default=1
        Gaussians M in each state.
    min_covar : float, default=1e-3
        Lower bound of the variances, as in `GaussianHMM`.
    weights_prior : float or array of shape (K, M), default=1.0
        Parameters of the Dirichlet prior of each row of ``weights_``.
    means_prior : float or array of shape (K, M, d), default=0.0
        Means of the normal prior of ``means_``.
    means_weight : float or array of shape (K, M), default=0.0
        Precision of that prior: how many rows it is worth.
    covars_prior : float or array, optional
        Of diagonal and spherical covariances the shape alpha of an inverse gamma prior, (K, M, d)
        or (K, M); of matrices the scatter of an inverse Wishart prior, (K, M, d, d) or, tied,
        (K, d, d). When left out the prior is flat.
    covars_weight : float or array, optional
        The scale beta of the inverse gamma prior, or the degrees of freedom of the inverse Wishart
        prior, (K, M) or, tied, (K,).
    covariance_type : {"spherical", "diag", "full", "tied"}, default="diag"
        One variance a Gaussian, one for each feature, a matrix a Gaussian, or one matrix for all
        Gaussians of a state.

    Attributes
    ----------
    startprob_, transmat_
    weights_ : ndarray of shape (K, M)
        Weights of the Gaussians in each state.
    means_ : ndarray of shape (K, M, d)
        Their means.
    covars_ : ndarray of shape (K, M), (K, M, d), (K, M, d, d) or (K, d, d)
        Their covariances: spherical, diag, full, tied.
    monitor_, n_features, n_features_in_, feature_names_in_

    See Also
    --------
    GaussianHMM : One Gaussian a state.

    Notes
    -----
    The covariances are updated about the new means, over all sequences at once, so the objective,
    log-likelihood plus log prior, never falls. Missing entries, zeros and states that are never
    visited are treated as in `GaussianHMM`. Cost of an iteration about 6 T K^2 flops for the chain
    and that of K M Gaussians; memory 2 T K M float64.

    References
    ----------
    Juang, Levinson, Sondhi (1986), "Maximum likelihood estimation for multivariate mixture
    observations of Markov chains". Gauvain and Lee (1994), "Maximum a posteriori estimation for
    multivariate Gaussian mixture observations of Markov chains".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import GMMHMM
    >>> rng = np.random.default_rng(0)
    >>> centers = np.array([[-6.0, -2.0], [2.0, 6.0]])  # two to each state
    >>> state = np.repeat([0, 1, 0], 100)
    >>> X = (centers[state, rng.integers(2, size=300)] + rng.standard_normal(300))[:, None]
    >>> model = GMMHMM(2, n_mix=2, random_state=0, n_iter=50).fit(X)
    >>> np.sort(model.means_.ravel()).round().tolist()
    [-6.0, -2.0, 2.0, 6.0]

    The states of X, their probabilities, and the likelihood of the model:

    >>> low, high = model.means_[:, :, 0].mean(axis=1).argsort()
    >>> (model.predict(X) == np.where(state, high, low)).mean() > 0.95
    np.True_
    >>> log_prob, path = model.decode(X, lengths=[200, 100])
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((300, 2), (300, 2))
    >>> round(model.score(X)), round(model.aic(X)), round(model.bic(X))
    (-618, 1262, 1310)

    What comes two steps later, and the states one observation at a time:

    >>> model.predict_next(X, steps=2, quantiles=[0.1, 0.9]).quantiles.round()
    array([[[-7.],
            [-1.]]])
    >>> model.filter().update(X[0])[[low, high]].round()
    array([1., 0.])
    >>> model.get_stationary_distribution()[[low, high]].round(1)
    array([0.7, 0.3])
    >>> X, states = model.sample(5, random_state=0)
    >>> X.shape
    (5, 1)
    """

    _fitted = _points = (STARTPROB, TRANSMAT, WEIGHTS, MEANS, COVARS)
    _parameters: ClassVar = {
        **NormalStates._parameters,
        **rules_of(_fitted, _points),
        "n_mix": rule.integer(1),
        "weights_prior": NUMBER_OR_ARRAY,
        "covars_prior": OPTIONAL,
        "covars_weight": OPTIONAL,
    }

    _covars_: Any

    def __init__(
        self, n_components=1, n_mix=1, min_covar=1e-3, startprob_prior=1.0, transmat_prior=1.0,
        weights_prior=1.0, means_prior=0.0, means_weight=0.0, covars_prior=None, covars_weight=None,
        algorithm="viterbi", covariance_type="diag", random_state=None, n_iter=10, tol=1e-2,
        verbose=False, params="stmcw", init_params="stmcw", implementation="log", *,
        startprob_init=None, transmat_init=None, weights_init=None, means_init=None,
        covars_init=None, n_init=1, device=None, warm_start=False
    ):
        self._set_parameters(locals())

    @property
    def covars_(self) -> np.ndarray:
        """Covariances of the Gaussians, in the shape of the type."""
        if "_covars_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no covars_ yet")
        return self._covars_

    @covars_.setter
    def covars_(self, covars: Any) -> None:
        COVARS.put(self, self._typed_covars("covars_", covars))

    def _typed_covars(self, name: str, covars: Any) -> np.ndarray:
        return as_numbers(covars, name, type(self).__name__)

    def _size(self, letter: str) -> int:
        return int(self.n_mix) if letter == "M" else super()._size(letter)

    def _as_state(self, means: np.ndarray, covariances: np.ndarray) -> State:
        d = means.shape[1]
        if self.covariance_type == "tied":
            covariances = covariances[:: int(self.n_mix)].copy()
        covars = covariances.reshape(COVARS.shape(self, d))
        return {"means_": means.reshape(MEANS.shape(self, d)), "_covars_": covars}

    def _emission(
        self, weights: np.ndarray, means: np.ndarray, covars: np.ndarray
    ) -> MixtureEmission:
        """Of all K M Gaussians; tied ones are of type full, each matrix repeated."""
        (K, M, d), kind = means.shape, self.covariance_type
        if kind == "tied":
            kind, covars = "full", np.repeat(covars[:, None], M, axis=1)
        covars = covars.reshape(K * M, *covars.shape[2:])
        gaussians = gaussians_of(means.reshape(K * M, d), covars, kind, type(self).__name__)
        return MixtureEmission(gaussians, weights)

    def _scatter_name(self) -> str:
        return "covars_prior" if self.covariance_type in ("full", "tied") else "covars_weight"

    def _place(self, group: int) -> str:
        state, number = divmod(group, int(self.n_mix))
        tied = self.covariance_type == "tied"
        return f"state {group}" if tied else f"Gaussian {number} of state {state}"

    def _prior_of_gaussians(self, d: int) -> NormalPrior:
        """The priors in the form of `kernelmill.hmm._normal`, each for K M Gaussians."""
        owner, (K, M, d) = type(self).__name__, MEANS.shape(self, d)
        mean = broadcast_parameter(owner, "means_prior", self.means_prior, (K, M, d))
        weight = broadcast_parameter(owner, "means_weight", self.means_weight, (K, M), 0)
        kind, shape = self.covariance_type, COVARS.shape(self, d)
        inner = {"full": (K, M), "tied": (K,)}.get(kind, shape)

        def given(name: str, default: float, shape: tuple[int, ...]) -> np.ndarray:
            value = getattr(self, name)
            return broadcast_parameter(owner, name, default if value is None else value, shape)

        alpha: np.ndarray
        scatter: np.ndarray
        count: np.ndarray
        if kind in ("full", "tied"):
            # An inverse Wishart prior with nu degrees of freedom, times the normal prior's own
            # power of |Sigma| for each mean.
            own = M if kind == "tied" else 1
            scatter = given("covars_prior", 0.0, shape).reshape(-1, d, d)
            freedom = given("covars_weight", -(own + d + 1.0), inner).reshape(-1)
            scatter, count = scatter.transpose(0, 2, 1), freedom + own + d + 1.0
        elif kind == "diag":
            alpha = given("covars_prior", -1.5, shape).reshape(K * M, d)
            scatter = 2.0 * given("covars_weight", 0.0, shape).reshape(K * M, d)
            count = 1.0 + 2.0 * (alpha + 1.0)
        else:
            alpha = given("covars_prior", -(d + 2.0) / 2.0, shape).reshape(-1)
            scale = given("covars_weight", 0.0, shape).reshape(-1)
            scatter = np.repeat(2.0 * scale[:, None] / d, d, axis=1)
            count = (d + 2.0 * (alpha[:, None] + 1.0)) / d
        return NormalPrior(mean.reshape(K * M, d), weight.reshape(-1), scatter, count)
