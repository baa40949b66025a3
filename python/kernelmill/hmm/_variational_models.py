"""Hidden Markov models fitted by variational inference: distributions over the parameters.

The posterior is the product of q(states) and q(parameters). Given q(parameters) the best q(states)
comes from forward and backward passes with the subnormalised exp E[log pi], exp E[log A] and
exp E[log b]; given q(states) each factor of q(parameters) is its prior plus expected counts. What
the passes return as likelihood, less the divergences of q(parameters) from the priors, is the lower
bound of log p(X) exactly, and neither step lowers it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._gaussian._parameters import COVARIANCE_TYPES
from kernelmill._gaussian._update import regulariser_note, variances_of
from kernelmill.hmm._declared import (
    EMISSIONPROB,
    EMISSIONPROB_POSTERIOR,
    STARTPROB,
    STARTPROB_POSTERIOR,
    TRANSMAT,
    TRANSMAT_POSTERIOR,
    Known,
    Posterior,
    State,
    broadcast_parameter,
    checked_parameter,
    rules_of,
)
from kernelmill.hmm._discrete import CategoricalStates
from kernelmill.hmm._emissions import CategoricalEmission, GaussianEmission
from kernelmill.hmm._expectation import Chain
from kernelmill.hmm._fit import FittedModel
from kernelmill.hmm._gaussian import COVARIANCE_AXES, COVARS, GaussianStates
from kernelmill.hmm._normal import NormalPrior, moved_means, scatter_about
from kernelmill.hmm._normal_start import centers_of, filled_rows, overall_covariance, repeated
from kernelmill.hmm._posterior import (
    expected_log,
    log_precision_sum,
    mean_divergence,
    wishart_divergence,
)
from kernelmill.hmm._sequence_model import OPTIONAL, SHARED
from kernelmill.hmm._sequences import Sequences
from kernelmill.hmm._words import POSTERIORS
from kernelmill.ops import kmeans

# The default scale, which is added to the covariance of the data where a fit starts.
_SMALL = 1e-3


class VariationalModel(FittedModel):
    """Base of the variational models."""

    _is_bound = True
    _words = POSTERIORS
    _fitted: ClassVar[tuple[Posterior, ...]]
    _parameters: ClassVar[dict[str, Any]] = {
        **SHARED,
        "startprob_prior": OPTIONAL,
        "transmat_prior": OPTIONAL,
    }

    def _expected_emission(self, state: State) -> Any:
        """The emission of exp E[log b]."""
        raise NotImplementedError

    def _step(self, state: State) -> tuple[Chain, Any]:
        first, moves = (np.exp(expected_log(p.values(state)[1])) for p in self._fitted[:2])
        return Chain(first, moves), self._expected_emission(state)


class VariationalCategoricalHMM(CategoricalStates, VariationalModel):
    """Hidden Markov model with symbols, fitted by variational inference.

    Parameters
    ----------
    emissionprob_prior : float or array of shape (K, M), optional
        Parameters of the Dirichlet prior of each row of emissions, 1 / M when left out.

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
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.integers(2, size=120) + np.repeat([0, 2, 0], 40))[:, None]
    >>> model = VariationalCategoricalHMM(2, n_init=4, random_state=1).fit(X)
    >>> bool(np.diff(model.monitor_.history).min() > -1e-9)  # the bound never falls
    True

    Where states change, their probabilities, and the likelihood at the posterior means:

    >>> log_prob, path = model.decode(X, lengths=[80, 40])
    >>> np.flatnonzero(np.diff(path)).tolist()
    [39, 79]
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((120, 2), (120, 2))
    >>> model.monitor_.history[-1] < model.score(X)
    True

    What comes next, for whole sequences and one symbol at a time:

    >>> model.predict_next(X).mean.shape  # the distribution of the symbol
    (1, 4)
    >>> model.filter().update(2).max().round()
    np.float64(1.0)
    >>> symbols, states = model.sample(5, random_state=0)
    >>> symbols.shape
    (5, 1)
    """

    _fitted: ClassVar = (STARTPROB_POSTERIOR, TRANSMAT_POSTERIOR, EMISSIONPROB_POSTERIOR)
    _points: ClassVar = (STARTPROB, TRANSMAT, EMISSIONPROB)
    _widest = "emissionprob_posterior_"
    _parameters: ClassVar = {
        **VariationalModel._parameters,
        **rules_of(_fitted, _points),
        "emissionprob_prior": OPTIONAL,
        "n_features": rule.any_of(rule.integer(1), rule.nothing()),
    }

    def __init__(
        self, n_components=1, startprob_prior=None, transmat_prior=None, emissionprob_prior=None,
        n_features=None, algorithm="viterbi", random_state=None, n_iter=100, tol=1e-6,
        verbose=False, params="ste", init_params="ste", implementation="log", *,
        startprob_init=None, transmat_init=None, emissionprob_init=None, n_init=1, device=None,
        warm_start=False
    ):
        self._set_parameters(locals())

    def _width(self) -> int:
        """Symbols of the posterior, or of the point where only that was assigned."""
        only_point = vars(self).get(self._widest) is None
        return self._width_of("emissionprob_" if only_point else self._widest)

    def _expected_emission(self, state: State) -> CategoricalEmission:
        return CategoricalEmission(expected_log(EMISSIONPROB_POSTERIOR.values(state)[1]))


def _checked_positive(owner: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = checked_parameter(owner, name, value, shape)
    if not (array > 0).all():
        raise ValueError(f"{owner}: {name} must be positive, got {array.min():g}")
    return array


MEANS = Posterior("m", "means", "Kd")
BETA = Posterior("m", "beta", "K", check=_checked_positive)
DOF = Posterior("c", "dof", {**dict.fromkeys(COVARIANCE_TYPES, "K"), "tied": ""})
SCALE = Posterior("c", "scale", COVARIANCE_AXES)


class VariationalGaussianHMM(GaussianStates, VariationalModel):
    """Hidden Markov model with Gaussian emissions, fitted by variational inference.

    Parameters
    ----------
    covariance_type : {"spherical", "diag", "full", "tied"}, default="full"
        A matrix a state, or one for all; ``"diag"`` and ``"spherical"`` restrict the scale of the
        Wishart posterior to diagonal matrices and to multiples of the unit matrix.
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
    n_features, n_features_in_, feature_names_in_

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
    >>> needed = np.flatnonzero(model.transmat_posterior_.sum(axis=1) > 10)  # by the data
    >>> np.sort(model.means_[needed, 0]).round().tolist()
    [0.0, 5.0]

    The states of X, their probabilities, and the likelihood at the posterior means:

    >>> log_prob, path = model.decode(X, lengths=[120, 60])
    >>> np.flatnonzero(np.diff(model.predict(X))).tolist()
    [59, 119]
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((180, 4), (180, 4))
    >>> model.monitor_.history[-1] < model.score(X)
    True

    What comes next, for whole sequences and one observation at a time:

    >>> model.predict_next(X, quantiles=0.5).quantiles.round()
    array([[0.]])
    >>> model.filter().update(X[0])[needed].max().round()
    np.float64(1.0)
    >>> X, states = model.sample(5, random_state=0)
    >>> X.shape
    (5, 1)
    """

    _fitted: ClassVar = (STARTPROB_POSTERIOR, TRANSMAT_POSTERIOR, MEANS, BETA, DOF, SCALE)
    _points: ClassVar = (STARTPROB, TRANSMAT, MEANS, COVARS)
    _widest = "means_posterior_"
    _parameters: ClassVar = {
        **VariationalModel._parameters,
        **rules_of(_fitted, _points),
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "means_prior": OPTIONAL,
        "beta_prior": OPTIONAL,
        "dof_prior": OPTIONAL,
        "scale_prior": OPTIONAL,
    }

    def __init__(
        self, n_components=1, covariance_type="full", startprob_prior=None, transmat_prior=None,
        means_prior=None, beta_prior=None, dof_prior=None, scale_prior=None, algorithm="viterbi",
        random_state=None, n_iter=100, tol=1e-6, verbose=False, params="stmc", init_params="stmc",
        implementation="log", *, startprob_init=None, transmat_init=None, means_init=None,
        covars_init=None, n_init=1, device=None, warm_start=False
    ):
        self._set_parameters(locals())

    @property
    def means_(self) -> np.ndarray:
        """Means of the posteriors of the means, (K, d)."""
        return self.means_posterior_

    # --- fitting ---------------------------------------------------------------------------------

    def _start_emissions(self, data: Sequences, new: set[str]) -> State:
        state: State = {}
        if new & {"m", "c"}:
            rows = filled_rows(data.some_rows)
            if self.means_init is None:
                centers, labels = centers_of(self, rows, int(self.n_components))
            else:
                centers = MEANS.checked(self, MEANS.init, self.means_init, data.width)
                labels = kmeans.assign(rows, centers)[0]
            counts = np.bincount(labels, minlength=len(centers)) * (data.count / len(rows))
            if "m" in new:
                state |= self._start_means(rows, centers, counts)
            if "c" in new:
                state |= self._start_covariances(rows, counts, COVARS.given(self, data))
        return state

    def _prior(self, name: str, default: Any, shape: tuple[int, ...]) -> np.ndarray:
        """A hyperparameter, or the default."""
        value = getattr(self, name)
        value = default if value is None else value
        return np.array(broadcast_parameter(type(self).__name__, name, value, shape))

    def _start_means(self, rows: np.ndarray, centers: np.ndarray, counts: np.ndarray) -> State:
        beta = self._prior("beta_prior", 1.0, counts.shape)
        return {
            "means_prior_": self._prior("means_prior", rows.mean(axis=0), centers.shape),
            "means_posterior_": centers,
            "beta_prior_": beta,
            "beta_posterior_": beta + counts,
        }

    def _start_covariances(
        self, rows: np.ndarray, counts: np.ndarray, given: State | None
    ) -> State:
        d, kind = rows.shape[1], self.covariance_type
        shape = SCALE.shape(self, d)
        dof_prior = self._prior("dof_prior", d, DOF.shape(self))
        dof = dof_prior + (counts.sum() if kind == "tied" else counts)
        scale = _SMALL if self.scale_prior is None else self.scale_prior
        if np.ndim(scale) == 0:
            scale = repeated(float(scale) * np.eye(d), kind, shape)
        scale = broadcast_parameter(type(self).__name__, "scale_prior", scale, shape)
        if given is None:
            spread = repeated(overall_covariance(rows, 0.0), kind, shape)
        else:
            spread = given[COVARS.name]
        return {
            "dof_prior_": dof_prior,
            "dof_posterior_": dof,
            "scale_prior_": np.array(scale),
            "scale_posterior_": scale + spread * _beside(dof - dof_prior, spread),
        }

    def _prepared(self, data: Sequences, state: State) -> tuple[State, Known]:
        owner, kind = type(self).__name__, self.covariance_type
        all_values = (parameter.values(state) for parameter in (MEANS, DOF, SCALE))
        for part, means, dof, scale in zip(("prior", "posterior"), *all_values, strict=True):
            least = means.shape[1] - 1
            if not (dof > least).all():
                raise ValueError(
                    f"{owner}: dof_{part}_ must be above d - 1 = {least}, got {dof.min():g}"
                )
            sizes = scale if kind in ("diag", "spherical") else np.linalg.eigvalsh(scale)
            if not (sizes > 0).all():
                raise ValueError(
                    f"{owner}: scale_{part}_ must be positive definite, got {sizes.min():g} as its "
                    f"least eigenvalue"
                )
        return state, {"dtype": data.rows.dtype}

    def _note(self, state: State, emission: Any, known: Known) -> str | None:
        if "c" not in self.params:
            return None
        variances = variances_of(emission.gaussians)
        (dof0, dof), (scale, _) = DOF.values(state), SCALE.values(state)
        dof0, dof = np.atleast_1d(dof0), np.atleast_1d(dof)
        if self.covariance_type in ("full", "tied"):
            scale = np.diagonal(scale, axis1=-2, axis2=-1)
        of_data = variances * dof[:, None] - scale.reshape(len(variances), -1)
        counts = dof - dof0
        return regulariser_note(
            type(self).__name__,
            of_data / np.maximum(counts, np.finfo(np.float64).tiny)[:, None],
            variances,
            emission.means[: len(variances)],
            counts,
            lambda j, p: "scale_prior",
            lambda j: "all states" if self.covariance_type == "tied" else f"state {j}",
            known["dtype"],
        )

    def _attributes(self, state: State) -> dict[str, Any]:
        covars = {COVARS.name: _covariances(state)}
        return super()._attributes(state) | covars | COVARS.derived(self, state)

    def _expected_emission(self, state: State) -> GaussianEmission:
        means, beta, dof = (p.values(state)[1] for p in (MEANS, BETA, DOF))
        d, dof = means.shape[1], np.atleast_1d(dof)
        # Half of E[log |Lambda|] - log |E[Lambda]|, and what the spread of the mean costs.
        offsets = 0.5 * (log_precision_sum(dof, d) - d * np.log(dof)) - 0.5 * d / beta
        return replace(self._emission(means, _covariances(state)), offsets=offsets)

    def _objective_emissions(self, state: State, emission: Any, known: Known) -> float:
        (m0, m), (beta0, beta) = MEANS.values(state), BETA.values(state)
        (dof0, dof), (scale0, scale) = DOF.values(state), SCALE.values(state)
        dof0, dof, kind = np.atleast_1d(dof0), np.atleast_1d(dof), self.covariance_type
        of_means = mean_divergence(m - m0, beta, beta0, emission.gaussians.whitening)
        return -of_means - wishart_divergence(dof, scale, dof0, scale0, m.shape[1], kind)

    def _maximise_emissions(
        self, state: State, statistics: Any, emission: Any, known: Known
    ) -> State:
        gaussians, beta = emission.gaussians, state["beta_prior_"]
        prior = NormalPrior(state["means_prior_"], beta, np.empty(0), np.empty(0))
        new, delta = {}, np.zeros_like(gaussians.means)
        if "m" in self.params:
            delta = moved_means(statistics, gaussians, prior)
            new["means_posterior_"] = gaussians.means + delta
            new["beta_posterior_"] = beta + statistics.weights
        if "c" in self.params:
            scatter = scatter_about(statistics, gaussians, delta, prior)
            kind, weights = self.covariance_type, statistics.weights
            if kind == "tied":
                weights, scatter = float(weights.sum()), scatter.sum(axis=0)
            elif kind == "spherical":
                scatter = scatter.mean(axis=1)
            new["dof_posterior_"] = state["dof_prior_"] + weights
            new["scale_posterior_"] = state["scale_prior_"] + scatter
        return new


def _beside(dof: Any, values: np.ndarray) -> np.ndarray:
    """Degrees of freedom with as many axes as scales or covariances."""
    dof = np.asarray(dof, dtype=np.float64)
    return dof.reshape(dof.shape + (1,) * (values.ndim - dof.ndim))


def _covariances(state: State) -> np.ndarray:
    """Covariances of a state in the shape of the type."""
    scale = SCALE.values(state)[1]
    return scale / _beside(state["dof_posterior_"], scale)
