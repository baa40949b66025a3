"""The hidden Markov model whose states are mixtures of Gaussians."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._gaussian._parameters import COVARIANCE_TYPES, Gaussians, n_covariance_parameters
from kernelmill.hmm._base import (
    NUMBER_OR_ARRAY,
    OPTIONAL,
    checked_distribution,
    checked_parameter,
)
from kernelmill.hmm._emissions import MixtureEmission
from kernelmill.hmm._fit import (
    EMModel,
    broadcast_parameter,
    dirichlet_log_prior,
    dirichlet_mode,
    start_numbers,
)
from kernelmill.hmm._gaussian import VectorsMixin
from kernelmill.hmm._normal import NormalPrior, above_floor, best, floor_of, gaussians_of, log_prior
from kernelmill.hmm._passes import Sequences, Stream
from kernelmill.hmm._start import MOST_ROWS, centers_of, filled_rows, overall_covariance


class GMMHMM(VectorsMixin, EMModel):
    """Hidden Markov model whose states are mixtures of Gaussians.

    Parameters
    ----------
    n_components : int, default=1
        Number of states K.
    n_mix : int, default=1
        Gaussians M in each state.
    min_covar : float, default=1e-3
        Floor of the variances, as in `GaussianHMM`.
    startprob_prior : float or array of shape (K,), default=1.0
        Parameters of the Dirichlet prior of ``startprob_``.
    transmat_prior : float or array of shape (K, K), default=1.0
        Parameters of the Dirichlet prior of each row of ``transmat_``.
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
    algorithm : {"viterbi", "map"}, default="viterbi"
        How ``decode`` and ``predict`` find states.
    covariance_type : {"spherical", "diag", "full", "tied"}, default="diag"
        One variance a Gaussian, one for each feature, a matrix a Gaussian, or one matrix for all
        Gaussians of a state.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers, for starts and for ``sample``.
    n_iter : int, default=10
        Most iterations.
    tol : float, default=1e-2
        Stop when an iteration gains less log-likelihood plus log prior.
    verbose : bool, default=False
        Show a progress bar; nothing is ever printed otherwise.
    params, init_params : str, default="stmcw"
        What ``fit`` changes, and what it starts anew: letters for startprob, transmat, means,
        covars and weights.
    implementation : {"log", "scaling"}, default="log"
        Accepted for hmmlearn's sake; both names give the same result, see `GaussianHMM`.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute: None is where X lives.

    Attributes
    ----------
    startprob_ : ndarray of shape (K,)
        Probabilities of the first state.
    transmat_ : ndarray of shape (K, K)
        Probabilities of the next state (columns) given the state (rows).
    weights_ : ndarray of shape (K, M)
        Weights of the Gaussians in each state.
    means_ : ndarray of shape (K, M, d)
        Their means.
    covars_ : ndarray of shape (K, M), (K, M, d), (K, M, d, d) or (K, d, d)
        Their covariances: spherical, diag, full, tied.
    monitor_ : ConvergenceMonitor
        Log-likelihood and objective of each iteration.
    n_features : int
        Number of features d.
    n_features_in_ : int
        The same, after ``fit``.
    feature_names_in_ : ndarray of shape (d,), object
        Column names, if X was a frame with text names.

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
    >>> X = centers[state, rng.integers(2, size=300)] + rng.standard_normal(300)
    >>> model = GMMHMM(2, n_mix=2, random_state=0, n_iter=50).fit(X[:, None])
    >>> model.means_.shape
    (2, 2, 1)
    >>> np.sort(model.means_.ravel()).round().tolist()
    [-6.0, -2.0, 2.0, 6.0]
    """

    _letters: ClassVar = {
        "s": ("startprob_",),
        "t": ("transmat_",),
        "m": ("means_",),
        "c": ("covars_",),
        "w": ("weights_",),
    }
    _parameters: ClassVar = {
        **EMModel._parameters,
        "n_mix": rule.integer(1),
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "min_covar": rule.real(0),
        "weights_prior": NUMBER_OR_ARRAY,
        "means_prior": NUMBER_OR_ARRAY,
        "means_weight": NUMBER_OR_ARRAY,
        "covars_prior": OPTIONAL,
        "covars_weight": OPTIONAL,
    }

    def __init__(
        self,
        n_components=1,
        n_mix=1,
        min_covar=1e-3,
        startprob_prior=1.0,
        transmat_prior=1.0,
        weights_prior=1.0,
        means_prior=0.0,
        means_weight=0.0,
        covars_prior=None,
        covars_weight=None,
        algorithm="viterbi",
        covariance_type="diag",
        random_state=None,
        n_iter=10,
        tol=1e-2,
        verbose=False,
        params="stmcw",
        init_params="stmcw",
        implementation="log",
        *,
        device=None,
    ):
        self.n_components = n_components
        self.n_mix = n_mix
        self.min_covar = min_covar
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.weights_prior = weights_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.algorithm = algorithm
        self.covariance_type = covariance_type
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.verbose = verbose
        self.params = params
        self.init_params = init_params
        self.implementation = implementation
        self.device = device

    def _n_columns(self) -> int:
        return int(np.shape(self.means_)[-1])

    @property
    def n_features(self) -> int:
        """Features d."""
        return self._n_columns()

    def _sizes(self) -> tuple[int, int, int]:
        return int(self.n_components), int(self.n_mix), self._n_columns()

    def _covars_shape(self) -> tuple[int, ...]:
        K, M, d = self._sizes()
        shapes = {"spherical": (K, M), "diag": (K, M, d), "full": (K, M, d, d), "tied": (K, d, d)}
        return shapes[self.covariance_type]

    def _gaussians(self) -> Gaussians:
        """All K M Gaussians; tied ones are of type full, each matrix repeated."""
        owner, (K, M, d) = type(self).__name__, self._sizes()
        means = checked_parameter(owner, "means_", self.means_, (K, M, d))
        covars = checked_parameter(owner, "covars_", self.covars_, self._covars_shape())
        kind = self.covariance_type
        if kind == "tied":
            kind, covars = "full", np.repeat(covars, M, axis=0)
        if kind == "full" and not np.allclose(covars, np.swapaxes(covars, -1, -2)):
            raise ValueError(f"{owner}: covars_ must be symmetric, got another matrix")
        inner = covars.shape[1:] if self.covariance_type == "tied" else covars.shape[2:]
        return gaussians_of(means.reshape(K * M, d), covars.reshape(K * M, *inner), kind, owner)

    def _keep(self, gaussians: Gaussians) -> None:
        K, M, d = self._sizes()
        self.means_ = gaussians.means.reshape(K, M, d)
        found = gaussians.covariances
        if self.covariance_type == "tied":
            found = found[::M].copy()
        self.covars_ = found.reshape(self._covars_shape())

    def _emission(self) -> MixtureEmission:
        shape = (int(self.n_components), int(self.n_mix))
        weights = checked_distribution(type(self).__name__, "weights_", self.weights_, shape)
        return MixtureEmission(self._gaussians(), weights)

    # --- fitting ---------------------------------------------------------------------------------

    def _start_emissions(
        self, data: Sequences | Stream
    ) -> tuple[NormalPrior, np.ndarray, np.ndarray]:
        owner, K, M = type(self).__name__, int(self.n_components), int(self.n_mix)
        given = data.some_rows(MOST_ROWS)
        rows = filled_rows(given)
        d = rows.shape[1]
        spread = overall_covariance(rows, self.min_covar)
        if self._needs("w"):
            self.weights_ = np.full((K, M), 1.0 / M)
        if self._needs("m"):
            self.means_ = self._start_means(rows, spread)
        self._match_columns(d, "means_")
        if self._needs("c"):
            one = {"spherical": np.diagonal(spread).mean(), "diag": np.diagonal(spread)}
            value = one.get(self.covariance_type, spread)
            self.covars_ = np.broadcast_to(value, self._covars_shape()).copy()
        floor = floor_of(given, self.min_covar)
        if "c" in self.params:
            self._keep(above_floor(self._gaussians(), floor, owner))
        weights_prior = broadcast_parameter(owner, "weights_prior", self.weights_prior, (K, M), 0)
        return self._prior_of(), floor, weights_prior

    def _start_means(self, rows: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """k-means of all rows gives the states, k-means of the rows of a state its Gaussians."""
        K, M = int(self.n_components), int(self.n_mix)
        centers, labels = centers_of(rows, K, self.random_state)
        numbers = start_numbers(self.random_state)
        means = np.empty((K, M, rows.shape[1]))
        for j in range(K):
            own = rows[labels == j]
            if len(own) >= M:
                means[j] = centers_of(own, M, self.random_state)[0]
            else:
                means[j] = numbers.multivariate_normal(centers.mean(axis=0), spread, size=M)
        return means

    def _prior_of(self) -> NormalPrior:
        """The priors in the form of `kernelmill.hmm._normal`, each for K M Gaussians."""
        owner, (K, M, d) = type(self).__name__, self._sizes()
        mean = broadcast_parameter(owner, "means_prior", self.means_prior, (K, M, d))
        weight = broadcast_parameter(owner, "means_weight", self.means_weight, (K, M), 0)
        kind, shape = self.covariance_type, self._covars_shape()
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

    def _log_prior_emissions(self, emission: Any, setting: Any) -> float:
        prior, _, weights_prior = setting
        return log_prior(emission.gaussians, prior) + dirichlet_log_prior(
            weights_prior, self.weights_, skip_zeros=False
        )

    def _maximise_emissions(self, statistics: Any, emission: Any, setting: Any) -> None:
        prior, floor, weights_prior = setting
        if "w" in self.params:
            found = statistics.weights.reshape(self.weights_.shape)
            self.weights_ = dirichlet_mode(weights_prior, found, self.weights_)
        if "m" in self.params or "c" in self.params:
            self._keep(
                best(
                    statistics,
                    emission.gaussians,
                    prior,
                    floor,
                    means="m" in self.params,
                    covariances="c" in self.params,
                    owner=type(self).__name__,
                )
            )

    def _n_fit_scalars(self) -> dict[str, int]:
        K, M, d = self._sizes()
        matrices = K if self.covariance_type == "tied" else 1
        components = 1 if self.covariance_type == "tied" else K * M
        return {
            "s": K - 1,
            "t": K * (K - 1),
            "m": K * M * d,
            "c": matrices * n_covariance_parameters(self.covariance_type, components, d),
            "w": K * (M - 1),
        }
