"""Hidden Markov models fitted by variational inference: distributions over the parameters.

The posterior is the product of q(states) and q(parameters). Given q(parameters) the best q(states)
comes from forward and backward passes with the subnormalised exp E[log pi], exp E[log A] and
exp E[log b]; given q(states) each factor of q(parameters) is its prior plus expected counts. What
the passes return as likelihood, less the divergences of q(parameters) from the priors, is the lower
bound of log p(X) exactly, and neither step lowers it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._gaussian._parameters import COVARIANCE_TYPES, Gaussians, covariance_shape
from kernelmill.hmm._base import OPTIONAL, SHARED, checked_distribution, checked_parameter
from kernelmill.hmm._discrete import SymbolsMixin
from kernelmill.hmm._emissions import CategoricalEmission, GaussianEmission
from kernelmill.hmm._fit import FittedModel, broadcast_parameter, dirichlet_start, start_numbers
from kernelmill.hmm._gaussian import CovarianceMixin, VectorsMixin
from kernelmill.hmm._normal import NormalPrior, gaussians_of, moved_means, scatter_about
from kernelmill.hmm._passes import Chain, Expected, Sequences, Stream
from kernelmill.hmm._posterior import (
    dirichlet_divergence,
    expected_log,
    log_precision_sum,
    mean_divergence,
    mean_of,
    wishart_divergence,
)
from kernelmill.hmm._start import (
    MOST_ROWS,
    centers_of,
    distributed,
    filled_rows,
    overall_covariance,
)

# Added to the diagonal of the covariance of the data where a fit starts, and the default scale.
_SMALL = 1e-3


class VariationalModel(FittedModel):
    """Base of the variational models: Dirichlet posteriors of the chain."""

    _parameters: ClassVar[dict[str, Any]] = {
        **SHARED,
        "startprob_prior": OPTIONAL,
        "transmat_prior": OPTIONAL,
    }

    # --- what subclasses say ---------------------------------------------------------------------

    def _start_emissions(self, data: Sequences | Stream) -> None:
        raise NotImplementedError

    def _expected_emission(self) -> Any:
        """The emission of exp E[log b]."""
        raise NotImplementedError

    def _divergence_emissions(self, emission: Any) -> float:
        raise NotImplementedError

    def _maximise_emissions(self, statistics: Any, emission: Any) -> None:
        raise NotImplementedError

    # --- fitting ---------------------------------------------------------------------------------

    def _start(self, data: Sequences | Stream) -> None:
        owner, K = type(self).__name__, int(self.n_components)
        numbers = start_numbers(self.random_state)
        for letter, name, shape, size, mass in (
            ("s", "startprob", (K,), None, data.n_sequences),
            ("t", "transmat", (K, K), K, data.n_rows / K),
        ):
            if self._needs(letter):
                given = getattr(self, f"{name}_prior")
                given = 1.0 / K if given is None else given
                prior = np.array(broadcast_parameter(owner, f"{name}_prior", given, shape))
                posterior = dirichlet_start(numbers, K, size) * mass
                setattr(self, f"{name}_prior_", prior)
                setattr(self, f"{name}_posterior_", np.where(prior > 0, posterior, 0.0))
            self._set_mean(name)
        self._start_emissions(data)

    def _set_mean(self, name: str) -> None:
        setattr(self, f"{name}_", mean_of(np.asarray(getattr(self, f"{name}_posterior_"))))

    def _concentrations(self, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Checked posterior and prior parameters of Dirichlets."""
        owner = type(self).__name__
        found = []
        for part in ("posterior", "prior"):
            attribute = f"{name}_{part}_"
            value = checked_parameter(owner, attribute, getattr(self, attribute), shape)
            if (value < 0).any() or not (value.sum(axis=-1) > 0).all():
                raise ValueError(
                    f"{owner}: {attribute} must not be negative and have a positive sum, got "
                    f"{value.min():g}"
                )
            found.append(value)
        posterior, prior = found
        if ((posterior > 0) != (prior > 0)).any():
            raise ValueError(
                f"{owner}: {name}_posterior_ must be positive exactly where {name}_prior_ is, got "
                f"zeros in other places"
            )
        return posterior, prior

    def _chain_concentrations(self) -> tuple[tuple, tuple]:
        K = int(self.n_components)
        start = self._concentrations("startprob", (K,))
        return start, self._concentrations("transmat", (K, K))

    def _step_model(self) -> tuple[Chain, Any]:
        (start, _), (moves, _) = self._chain_concentrations()
        chain = Chain(np.exp(expected_log(start)), np.exp(expected_log(moves)))
        return chain, self._expected_emission()

    def _reached(self, expected: Expected, emission: Any, setting: Any) -> tuple[float, float]:
        start, moves = self._chain_concentrations()
        bound = expected.log_prob - dirichlet_divergence(*start) - dirichlet_divergence(*moves)
        bound -= self._divergence_emissions(emission)
        return bound, bound

    def _maximise(self, expected: Expected, emission: Any, setting: Any) -> None:
        if "s" in self.params:
            self.startprob_posterior_ = self.startprob_prior_ + expected.starts
            self._set_mean("startprob")
        if "t" in self.params:
            self.transmat_posterior_ = self.transmat_prior_ + expected.transitions
            self._set_mean("transmat")
        self._maximise_emissions(expected.emissions, emission)


class VariationalCategoricalHMM(SymbolsMixin, VariationalModel):
    """Hidden Markov model with symbols, fitted by variational inference.

    Parameters
    ----------
    n_components : int, default=1
        Number of states K.
    startprob_prior : float or array of shape (K,), optional
        Parameters of the Dirichlet prior of the first state, 1 / K when left out. 0 rules a state
        out.
    transmat_prior : float or array of shape (K, K), optional
        Parameters of the Dirichlet prior of each row of transitions, 1 / K when left out. 0 rules a
        transition out.
    emissionprob_prior : float or array of shape (K, M), optional
        Parameters of the Dirichlet prior of each row of emissions, 1 / M when left out.
    n_features : int, optional
        Number of symbols M; one more than the largest in X when left out.
    algorithm : {"viterbi", "map"}, default="viterbi"
        How ``decode`` and ``predict`` find states.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers, for starts and for ``sample``.
    n_iter : int, default=100
        Most iterations.
    tol : float, default=1e-6
        Stop when an iteration raises the lower bound by less.
    verbose : bool, default=False
        Show a progress bar; nothing is ever printed otherwise.
    params, init_params : str, default="ste"
        What ``fit`` changes, and what it starts anew: letters for startprob, transmat and
        emissionprob.
    implementation : {"log", "scaling"}, default="log"
        Accepted for hmmlearn's sake; both names give the same result, see `GaussianHMM`.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute: None is where X lives.

    Attributes
    ----------
    startprob_prior_, startprob_posterior_ : ndarray of shape (K,)
        Dirichlet parameters of the first state.
    transmat_prior_, transmat_posterior_ : ndarray of shape (K, K)
        Dirichlet parameters of the transitions.
    emissionprob_prior_, emissionprob_posterior_ : ndarray of shape (K, M)
        Dirichlet parameters of the emissions.
    startprob_, transmat_, emissionprob_ : ndarray
        Means of the posteriors; scores, paths and samples use these.
    monitor_ : ConvergenceMonitor
        The lower bound of ``log p(X)`` in each iteration.
    n_features_in_ : int
        1, after ``fit``.

    See Also
    --------
    CategoricalHMM : The same model fitted by expectation-maximisation.

    Notes
    -----
    The lower bound never falls, and compares models: states that the data do not need lose their
    mass to the prior. Missing symbols are treated as in `CategoricalHMM`. Cost of an iteration
    about 6 T K^2 flops.

    References
    ----------
    Beal (2003), "Variational algorithms for approximate Bayesian inference", chapter 3.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import VariationalCategoricalHMM
    >>> X = np.tile([0, 1, 0, 1, 2, 3, 2, 3], 20)[:, None]
    >>> model = VariationalCategoricalHMM(2, random_state=1).fit(X)
    >>> bool(np.diff(model.monitor_.history).min() > -1e-9)
    True
    """

    _table_name = "emissionprob_posterior_"
    _letters: ClassVar = {
        "s": ("startprob_prior_", "startprob_posterior_"),
        "t": ("transmat_prior_", "transmat_posterior_"),
        "e": ("emissionprob_prior_", "emissionprob_posterior_"),
    }
    _parameters: ClassVar = {
        **VariationalModel._parameters,
        "emissionprob_prior": OPTIONAL,
        "n_features": rule.any_of(rule.integer(1), rule.nothing()),
    }

    def __init__(
        self,
        n_components=1,
        startprob_prior=None,
        transmat_prior=None,
        emissionprob_prior=None,
        n_features=None,
        algorithm="viterbi",
        random_state=None,
        n_iter=100,
        tol=1e-6,
        verbose=False,
        params="ste",
        init_params="ste",
        implementation="log",
        *,
        device=None,
    ):
        self.n_components = n_components
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.emissionprob_prior = emissionprob_prior
        self.n_features = n_features
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.verbose = verbose
        self.params = params
        self.init_params = init_params
        self.implementation = implementation
        self.device = device

    def _emission(self) -> CategoricalEmission:
        table = self._checked_table(checked_distribution, "emissionprob_")
        with np.errstate(divide="ignore"):
            return CategoricalEmission(np.log(table))

    def _start_emissions(self, data: Sequences | Stream) -> None:
        owner, K, M = type(self).__name__, int(self.n_components), data.n_symbols
        if self._needs("e"):
            given = self.emissionprob_prior
            given = 1.0 / M if given is None else given
            prior = np.array(broadcast_parameter(owner, "emissionprob_prior", given, (K, M)))
            numbers = start_numbers(self.random_state)
            drawn = np.stack([dirichlet_draw(numbers, row) for row in prior])
            self.emissionprob_prior_ = prior
            self.emissionprob_posterior_ = drawn * data.n_rows / K
        self._set_mean("emissionprob")

    def _emission_concentrations(self) -> tuple[np.ndarray, np.ndarray]:
        return self._concentrations("emissionprob", (int(self.n_components), self._n_symbols()))

    def _expected_emission(self) -> CategoricalEmission:
        return CategoricalEmission(expected_log(self._emission_concentrations()[0]))

    def _divergence_emissions(self, emission: Any) -> float:
        return dirichlet_divergence(*self._emission_concentrations())

    def _maximise_emissions(self, statistics: Any, emission: Any) -> None:
        if "e" in self.params:
            self.emissionprob_posterior_ = self.emissionprob_prior_ + statistics
            self._set_mean("emissionprob")


def dirichlet_draw(numbers: np.random.RandomState, prior: np.ndarray) -> np.ndarray:
    """A distribution drawn from a Dirichlet, positive where the prior is and 0 elsewhere."""
    possible = prior > 0
    found = np.zeros(len(prior))
    drawn = numbers.dirichlet(prior[possible])
    drawn = np.where(np.isfinite(drawn), drawn, 1.0 / max(1, possible.sum()))
    found[possible] = np.maximum(drawn, np.finfo(np.float64).tiny)
    return found


class VariationalGaussianHMM(VectorsMixin, CovarianceMixin, VariationalModel):
    """Hidden Markov model with Gaussian emissions, fitted by variational inference.

    Parameters
    ----------
    n_components : int, default=1
        Number of states K.
    covariance_type : {"spherical", "diag", "full", "tied"}, default="full"
        A matrix a state, or one for all; ``"diag"`` and ``"spherical"`` restrict the scale of the
        Wishart posterior to diagonal matrices and to multiples of the unit matrix.
    startprob_prior : float or array of shape (K,), optional
        Parameters of the Dirichlet prior of the first state, 1 / K when left out. 0 rules a state
        out.
    transmat_prior : float or array of shape (K, K), optional
        Parameters of the Dirichlet prior of each row of transitions, 1 / K when left out. 0 rules a
        transition out.
    means_prior : float or array of shape (K, d), optional
        Means m0 of the normal prior of the means; the mean of X when left out.
    beta_prior : float or array of shape (K,), optional
        Precision beta0 of that prior: how many rows it is worth; 1 when left out.
    dof_prior : float or array of shape (K,), optional
        Degrees of freedom nu0 of the Wishart prior, above d - 1; d when left out. A number when
        tied.
    scale_prior : float or array, optional
        Inverse scale Psi0 of the Wishart prior: (K,), (K, d), (K, d, d) or, tied, (d, d), or a
        multiple of the unit matrix; 1e-3 when left out.
    algorithm : {"viterbi", "map"}, default="viterbi"
        How ``decode`` and ``predict`` find states.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers, for starts and for ``sample``.
    n_iter : int, default=100
        Most iterations.
    tol : float, default=1e-6
        Stop when an iteration raises the lower bound by less.
    verbose : bool, default=False
        Show a progress bar; nothing is ever printed otherwise.
    params, init_params : str, default="stmc"
        What ``fit`` changes, and what it starts anew: letters for startprob, transmat, means and
        covars.
    implementation : {"log", "scaling"}, default="log"
        Accepted for hmmlearn's sake; both names give the same result, see `GaussianHMM`.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute: None is where X lives.

    Attributes
    ----------
    startprob_prior_, startprob_posterior_ : ndarray of shape (K,)
        Dirichlet parameters of the first state.
    transmat_prior_, transmat_posterior_ : ndarray of shape (K, K)
        Dirichlet parameters of the transitions.
    means_prior_, means_posterior_ : ndarray of shape (K, d)
        Means of the normal distributions of the means.
    beta_prior_, beta_posterior_ : ndarray of shape (K,)
        Their precisions, in units of the precision of the state.
    dof_prior_, dof_posterior_ : ndarray of shape (K,), or float when tied
        Degrees of freedom of the Wishart distributions.
    scale_prior_, scale_posterior_ : ndarray
        Their inverse scales: (K,), (K, d), (K, d, d) or, tied, (d, d).
    startprob_, transmat_, means_ : ndarray
        Means of the posteriors; scores, paths and samples use these.
    covars_ : ndarray of shape (K, d, d)
        ``scale_posterior_ / dof_posterior_`` as matrices.
    monitor_ : ConvergenceMonitor
        The lower bound of ``log p(X)`` in each iteration.
    n_features : int
        Number of features d.
    n_features_in_ : int
        The same, after ``fit``.
    feature_names_in_ : ndarray of shape (d,), object
        Column names, if X was a frame with text names.

    See Also
    --------
    GaussianHMM : The same model fitted by expectation-maximisation.

    Notes
    -----
    The lower bound never falls, and compares models: states that the data do not need lose their
    mass to the prior. It holds all constants, so it lies ``T d log(2 pi) / 2`` below hmmlearn's.
    NaN entries of X are missing: they are part of what q(states) is about, given the state; rows of
    NaN are left out exactly. Cost of an iteration that of `GaussianHMM`.

    References
    ----------
    McGrory and Titterington (2009), "Variational Bayesian analysis for hidden Markov models".
    Gruhl and Sick (2016), "Variational Bayesian inference for hidden Markov models with
    multivariate Gaussian output distributions".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import VariationalGaussianHMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([0.0, 5.0, 0.0], 60)[:, None] + rng.standard_normal((180, 1))
    >>> model = VariationalGaussianHMM(4, random_state=0).fit(X)
    >>> int((model.transmat_posterior_.sum(axis=1) > 10).sum())  # states that the data need
    2
    """

    _letters: ClassVar = {
        "s": ("startprob_prior_", "startprob_posterior_"),
        "t": ("transmat_prior_", "transmat_posterior_"),
        "m": ("means_prior_", "means_posterior_", "beta_prior_", "beta_posterior_"),
        "c": ("dof_prior_", "dof_posterior_", "scale_prior_", "scale_posterior_"),
    }
    _parameters: ClassVar = {
        **VariationalModel._parameters,
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "means_prior": OPTIONAL,
        "beta_prior": OPTIONAL,
        "dof_prior": OPTIONAL,
        "scale_prior": OPTIONAL,
    }

    def __init__(
        self,
        n_components=1,
        covariance_type="full",
        startprob_prior=None,
        transmat_prior=None,
        means_prior=None,
        beta_prior=None,
        dof_prior=None,
        scale_prior=None,
        algorithm="viterbi",
        random_state=None,
        n_iter=100,
        tol=1e-6,
        verbose=False,
        params="stmc",
        init_params="stmc",
        implementation="log",
        *,
        device=None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.means_prior = means_prior
        self.beta_prior = beta_prior
        self.dof_prior = dof_prior
        self.scale_prior = scale_prior
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.verbose = verbose
        self.params = params
        self.init_params = init_params
        self.implementation = implementation
        self.device = device

    @property
    def means_(self) -> np.ndarray:
        """Means of the posteriors of the means, (K, d)."""
        return self.means_posterior_

    def _emission(self) -> GaussianEmission:
        K, d = int(self.n_components), self._n_columns()
        owner, kind = type(self).__name__, self.covariance_type
        means = checked_parameter(owner, "means_posterior_", self.means_posterior_, (K, d))
        covars = checked_parameter(owner, "covars_", self._covars_, covariance_shape(kind, K, d))
        return GaussianEmission(gaussians_of(means, covars, kind, owner), np.zeros(K))

    # --- fitting ---------------------------------------------------------------------------------

    def _start_emissions(self, data: Sequences | Stream) -> None:
        owner, K = type(self).__name__, int(self.n_components)
        rows = filled_rows(data.some_rows(MOST_ROWS))
        n, d = rows.shape
        new_means, new_covariances = self._needs("m"), self._needs("c")
        if new_means or new_covariances:
            centers, labels = centers_of(rows, K, self.random_state)
            counts = np.bincount(labels, minlength=K) * (data.n_rows / n)
        if new_means:
            prior = rows.mean(axis=0) if self.means_prior is None else self.means_prior
            beta = 1.0 if self.beta_prior is None else self.beta_prior
            self.means_prior_ = np.array(broadcast_parameter(owner, "means_prior", prior, (K, d)))
            self.beta_prior_ = np.array(broadcast_parameter(owner, "beta_prior", beta, (K,)))
            self.means_posterior_ = centers
            self.beta_posterior_ = self.beta_prior_ + counts
        self._match_columns(d, "means_posterior_")
        if new_covariances:
            self._start_covariances(rows, counts)
        self._set_covars()

    def _start_covariances(self, rows: np.ndarray, counts: np.ndarray) -> None:
        owner, K, d = type(self).__name__, int(self.n_components), rows.shape[1]
        kind = self.covariance_type
        tied = kind == "tied"
        dof = d if self.dof_prior is None else self.dof_prior
        dof = np.array(broadcast_parameter(owner, "dof_prior", dof, () if tied else (K,)))
        self.dof_prior_ = float(dof) if tied else dof
        self.dof_posterior_ = self.dof_prior_ + (float(counts.sum()) if tied else counts)
        scale = _SMALL if self.scale_prior is None else self.scale_prior
        if np.ndim(scale) == 0:
            scale = distributed(float(scale) * np.eye(d), kind, K)
        shape = covariance_shape(kind, K, d)
        self.scale_prior_ = np.array(broadcast_parameter(owner, "scale_prior", scale, shape))
        spread = distributed(overall_covariance(rows, _SMALL), kind, K)
        self.scale_posterior_ = self._times_dof(spread)

    def _times_dof(self, values: np.ndarray, power: int = 1) -> np.ndarray:
        """Covariances as scales, or with power -1 scales as covariances."""
        dof = np.asarray(self.dof_posterior_, dtype=np.float64)
        return values * dof.reshape(dof.shape + (1,) * (values.ndim - dof.ndim)) ** power

    def _set_covars(self) -> None:
        self._covars_ = self._times_dof(np.asarray(self.scale_posterior_, dtype=np.float64), -1)

    def _checked_posterior(self) -> dict[str, np.ndarray]:
        """All parameters of the Gaussian-Wishart prior and posterior, with dof as vectors."""
        owner, K = type(self).__name__, int(self.n_components)
        d, kind = self._n_columns(), self.covariance_type
        G = 1 if kind == "tied" else K
        found = {}
        for part in ("prior", "posterior"):
            for name, shape in (
                ("means", (K, d)),
                ("beta", (K,)),
                ("dof", (G,)),
                ("scale", covariance_shape(kind, K, d)),
            ):
                value = getattr(self, f"{name}_{part}_")
                value = np.atleast_1d(value) if name == "dof" else value
                found[f"{name}_{part}"] = checked_parameter(owner, f"{name}_{part}_", value, shape)
            if not (found[f"beta_{part}"] > 0).all():
                raise ValueError(f"{owner}: beta_{part}_ must be positive")
            if not (found[f"dof_{part}"] > d - 1).all():
                raise ValueError(
                    f"{owner}: dof_{part}_ must be above d - 1 = {d - 1}, got "
                    f"{found[f'dof_{part}'].min():g}"
                )
            scale = found[f"scale_{part}"]
            matrices = scale if kind in ("diag", "spherical") else np.linalg.eigvalsh(scale)
            if not (matrices > 0).all():
                raise ValueError(f"{owner}: scale_{part}_ must be positive definite")
        return found

    def _expected_emission(self) -> GaussianEmission:
        found = self._checked_posterior()
        d, K = found["means_posterior"].shape[1], int(self.n_components)
        self._set_covars()
        gaussians = gaussians_of(
            found["means_posterior"], self._covars_, self.covariance_type, type(self).__name__
        )
        # Half of E[log |Lambda|] - log |E[Lambda]|, and what the spread of the mean costs.
        dof = found["dof_posterior"]
        offsets = 0.5 * (log_precision_sum(dof, d) - d * np.log(dof))
        offsets = np.broadcast_to(offsets, (K,)) - 0.5 * d / found["beta_posterior"]
        return GaussianEmission(gaussians, offsets)

    def _divergence_emissions(self, emission: GaussianEmission) -> float:
        found = self._checked_posterior()
        d = found["means_prior"].shape[1]
        return mean_divergence(
            found["means_posterior"] - found["means_prior"],
            found["beta_posterior"],
            found["beta_prior"],
            emission.gaussians.whitening,
        ) + wishart_divergence(
            found["dof_posterior"],
            found["scale_posterior"],
            found["dof_prior"],
            found["scale_prior"],
            d,
            self.covariance_type,
        )

    def _maximise_emissions(self, statistics: Any, emission: GaussianEmission) -> None:
        gaussians: Gaussians = emission.gaussians
        prior = NormalPrior(self.means_prior_, self.beta_prior_, np.empty(0), np.empty(0))
        delta = np.zeros_like(gaussians.means)
        if "m" in self.params:
            delta = moved_means(statistics, gaussians, prior)
            self.means_posterior_ = gaussians.means + delta
            self.beta_posterior_ = self.beta_prior_ + statistics.weights
        if "c" in self.params:
            scatter = scatter_about(statistics, gaussians, delta, prior)
            kind = self.covariance_type
            if kind == "tied":
                self.dof_posterior_ = float(self.dof_prior_ + statistics.weights.sum())
                scatter = scatter.sum(axis=0)
            else:
                self.dof_posterior_ = self.dof_prior_ + statistics.weights
                scatter = scatter.mean(axis=1) if kind == "spherical" else scatter
            self.scale_posterior_ = self.scale_prior_ + scatter
        self._set_covars()
