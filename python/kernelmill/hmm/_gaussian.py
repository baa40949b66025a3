"""Hidden Markov models whose states are Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._validation import as_numbers
from kernelmill._gaussian._parameters import (
    COVARIANCE_TYPES,
    covariance_shape,
    full_covariances,
    symmetric,
)
from kernelmill.hmm._declared import (
    STARTPROB,
    TRANSMAT,
    Known,
    Parameter,
    State,
    broadcast_parameter,
    rules_of,
)
from kernelmill.hmm._emissions import GaussianEmission
from kernelmill.hmm._fit import EMModel
from kernelmill.hmm._inputs import RowsMixin
from kernelmill.hmm._normal import (
    NormalPrior,
    above_floor,
    best,
    floor_of,
    gaussians_of,
    log_prior,
    note_of,
)
from kernelmill.hmm._normal_start import centers_of, filled_rows, overall_covariance, repeated
from kernelmill.hmm._sequence_model import NUMBER_OR_ARRAY
from kernelmill.hmm._sequences import Sequences


@dataclass(frozen=True)
class Covariances(Parameter):
    """Covariances that know for which type they are: shapes do not tell where K is d."""

    def type_in(self, model: Any) -> str:
        """The covariance type that the model's value is for."""
        return vars(model).get("_covars_type_", model.covariance_type)  # files of 0.1.0 have none

    def put(self, model: Any, value: np.ndarray) -> None:
        """Set the model's own."""
        vars(model).update({self.name: value} | self.derived(model, {}))

    def given(self, model: Any, data: Any) -> State | None:
        value = getattr(model, self.init)
        if value is None:
            return None
        value = model._typed_covars(self.init, value)
        return {self.name: self.checked(model, self.init, value, data.width)}

    def started(self, model: Any, data: Any, numbers: np.random.RandomState) -> State:
        """The covariance of the data for all."""
        spread = overall_covariance(filled_rows(data.some_rows), model.min_covar)
        return {self.name: repeated(spread, model.covariance_type, self.shape(model, data.width))}

    def derived(self, model: Any, state: State) -> State:
        return {"_covars_type_": model.covariance_type}

    def of(self, model: Any) -> np.ndarray:
        self._check_type(model)
        return super().of(model)

    def assigned(self, model: Any) -> State:
        self._check_type(model)
        return super().assigned(model)

    def _check_type(self, model: Any) -> None:
        if self.type_in(model) != model.covariance_type:
            raise ValueError(
                f"{type(model).__name__}: covars_ must be of covariance_type="
                f"{model.covariance_type!r}, got those of {self.type_in(model)!r} (set the type "
                f"back, assign covars_ again, or add 'c' to init_params)"
            )


class GaussianStates(RowsMixin):
    """States that are Gaussians.

    ``covars_`` is read as matrices, as in hmmlearn, and assigned as these or in the shape of the
    type.
    """

    _covars_: Any

    @property
    def covars_(self) -> np.ndarray:
        """Covariance matrices of the states, (K, d, d), whatever the type.

        Full ones are the model's own and may be edited; others are copies and read-only.
        """
        if "_covars_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no covars_ yet")
        # As many and as wide as they are, whatever n_components and means_ have become.
        kind, values = COVARS.type_in(self), self._covars_
        K = int(self.n_components) if kind == "tied" else len(values)
        d = self._width() if kind == "spherical" else values.shape[-1]
        matrices = full_covariances(values, kind, K, d)
        if kind != "full":
            matrices.setflags(write=False)  # an edit would be lost: better that it raises
        return matrices

    @covars_.setter
    def covars_(self, covars: Any) -> None:
        COVARS.put(self, self._typed_covars("covars_", covars))

    def _typed_covars(self, name: str, covars: Any) -> np.ndarray:
        """Covariances in the shape of the type; raises where they make no sense."""
        owner, K = type(self).__name__, int(self.n_components)
        return checked_covars(owner, name, covars, self.covariance_type, K)

    def _emission(self, means: np.ndarray, covars: np.ndarray) -> GaussianEmission:
        gaussians = gaussians_of(means, covars, self.covariance_type, type(self).__name__)
        return GaussianEmission(gaussians, np.zeros(len(means)))


def checked_covars(
    owner: str, name: str, covars: Any, covariance_type: str, K: int
) -> np.ndarray:
    """Symmetric, positive definite covariances as new float64 in the shape of the type; or raises.
    """
    covars = as_numbers(covars, name, owner)
    shape = {
        "spherical": "(K,), (K, 1) or, multiples of the unit matrix, (K, d, d)",
        "diag": "(K, d) or, diagonal matrices, (K, d, d)",
        "full": "(K, d, d)",
        "tied": "(d, d) or, equal matrices, (K, d, d)",
    }
    if covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"{owner}: covariance_type must be one of {', '.join(COVARIANCE_TYPES)}, got "
            f"{covariance_type!r}"
        )
    d = covars.shape[-1] if covars.ndim else 0
    if covariance_type == "spherical" and covars.shape == (K, 1):
        covars = covars[:, 0]
    elif covariance_type != "full" and covars.shape == (K, d, d) and d:  # what the getter returns
        variances = np.diagonal(covars, axis1=1, axis2=2)
        short = {"tied": covars[0], "diag": variances, "spherical": variances[:, 0]}
        own = short[covariance_type].copy()
        if np.array_equal(full_covariances(own, covariance_type, K, d), covars):
            covars = own
    if covars.shape != covariance_shape(covariance_type, K, d):
        raise ValueError(
            f"{owner}: {covariance_type} {name} must have shape {shape[covariance_type]} (K = "
            f"{K}), got {covars.shape}"
        )
    if covariance_type in ("spherical", "diag"):
        if not ((covars > 0) & np.isfinite(covars)).all():
            raise ValueError(f"{owner}: {name} must be positive, got {covars.min():g}")
        return covars
    own = np.empty(covars.shape).reshape(-1, d, d)
    for j, matrix in enumerate(covars.reshape(-1, d, d)):
        part = symmetric(matrix) if np.isfinite(matrix).all() else None
        least = np.nan if part is None else float(np.linalg.eigvalsh(part)[0])
        if not least > 0:
            got = "another matrix" if part is None else f"a least eigenvalue of {least:g}"
            raise ValueError(
                f"{owner}: {name} must be symmetric, positive definite, got {got} for state {j}"
            )
        own[j] = part
    return own.reshape(covars.shape)


class NormalStates(RowsMixin, EMModel):
    """Base of the models with Gaussians whose means and covariances follow `_normal.best`.

    Subclasses bring these into the shapes of their attributes (`_as_state`), and say what is known
    of them beforehand (`_prior_of_gaussians`).
    """

    _widest = "means_"
    _parameters: ClassVar = {
        **EMModel._parameters,
        "covariance_type": rule.one_of(*COVARIANCE_TYPES),
        "min_covar": rule.real(0),
        "means_prior": NUMBER_OR_ARRAY,
        "means_weight": NUMBER_OR_ARRAY,
    }

    def _as_state(self, means: np.ndarray, covariances: np.ndarray) -> State:
        return {"means_": means, "_covars_": covariances}

    def _prior_of_gaussians(self, d: int) -> NormalPrior:
        raise NotImplementedError

    def _prepared(self, data: Sequences, state: State) -> tuple[State, Known]:
        state, known = super()._prepared(data, state)
        floor = floor_of(data.some_rows, self.min_covar)
        if "c" in self.params:
            # The best covariances above the floor are an improvement only from above it.
            gaussians = self._step(state)[1].gaussians
            state = state | self._as_state(gaussians.means, above_floor(gaussians, floor))
        prior = self._prior_of_gaussians(data.width)
        return state, known | {"gaussians": prior, "floor": floor, "dtype": data.rows.dtype}

    def _objective_emissions(self, state: State, emission: Any, known: Known) -> float:
        return log_prior(emission.gaussians, known["gaussians"])

    def _maximise_emissions(
        self, state: State, statistics: Any, emission: Any, known: Known
    ) -> State:
        change = {"means": "m" in self.params, "covariances": "c" in self.params}
        if not any(change.values()):
            return {}
        known["update"] = statistics, emission.gaussians, known["gaussians"], known["floor"]
        return self._as_state(*best(*known["update"], **change))  # type: ignore[arg-type]

    def _scatter_name(self) -> str:
        """The parameter of the scatter of `NormalPrior`."""
        return "covars_prior"

    def _place(self, group: int) -> str:
        """Whose covariance is number `group`."""
        return "all states" if self.covariance_type == "tied" else f"state {group}"

    def _note(self, state: State, emission: Any, known: Known) -> str | None:
        if "c" not in self.params or "update" not in known:
            return None
        return note_of(
            type(self).__name__,
            known["update"],
            emission.gaussians,
            (self._scatter_name(), "min_covar"),
            self._place,
            means="m" in self.params,
            dtype=known["dtype"],
        )


def _start_means(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    return centers_of(model, filled_rows(data.some_rows), int(model.n_components))[0]


COVARIANCE_AXES = {"spherical": "K", "diag": "Kd", "full": "Kdd", "tied": "dd"}
MEANS = Parameter("m", "means_", "Kd", _start_means)
COVARS = Covariances("c", "_covars_", COVARIANCE_AXES)


class GaussianHMM(GaussianStates, NormalStates):
    """Hidden Markov model with Gaussian emissions.

    Parameters
    ----------
    covariance_type : {"spherical", "diag", "full", "tied"}, default="diag"
        One variance a state, one for each feature, a matrix a state, or one matrix for all states.
    min_covar : float, default=1e-3
        Lower bound of the variances (of the eigenvalues of matrices), so that no state collapses to
        a point, but at most a thousandth of the variance of the feature in the data. The diagonal
        of the initial covariances gets as much more.
    means_prior : float or array of shape (K, d), default=0
        Means of the normal prior of ``means_``.
    means_weight : float or array of shape (K,), default=0
        Precision of that prior: how many rows it is worth.
    covars_prior : float or array, default=1e-2
        Scatter of the prior of the covariances (inverse gamma, or inverse Wishart for matrices);
        broadcasts to (K, d), (K, d, d) or, tied, (d, d). A number is every entry of a matrix, as in
        hmmlearn.
    covars_weight : float or array of shape (K,), default=1
        Its weight: ``max(covars_weight - 1, 0)`` rows, for matrices ``max(covars_weight - d, 0)``.

    Attributes
    ----------
    startprob_, transmat_
    means_ : ndarray of shape (K, d)
        Means of the states.
    covars_ : ndarray of shape (K, d, d)
        Covariance matrices of the states. Assign it in the shape of the type: (K,), (K, d),
        (K, d, d) or, tied, (d, d).
    monitor_, n_features, n_features_in_, feature_names_in_

    See Also
    --------
    GMMHMM : States that are mixtures of Gaussians.
    VariationalGaussianHMM : Distributions over the parameters instead of points.

    Notes
    -----
    NaN entries of X are missing and marginalised exactly; a row of NaN throughout has density 1 in
    every state. Zeros in ``startprob_`` and ``transmat_`` stay zeros: for left-right and banded
    models assign them and omit "s" and "t" from ``init_params``. A state that is never visited
    keeps its parameters. The objective, log-likelihood plus log prior, never decreases. float32
    rows stay float32; probabilities and sums are float64. An iteration costs about 6 T K^2 flops
    for the chain and 2 T K d^2 (full) or 8 T K d (diagonal) for the densities and moments, and
    2 T K float64 of memory.

    References
    ----------
    Baum, Petrie, Soules, Weiss (1970), "A maximization technique occurring in the statistical
    analysis of probabilistic functions of Markov chains". Rabiner (1989), "A tutorial on hidden
    Markov models and selected applications in speech recognition". Gauvain and Lee (1994), "Maximum
    a posteriori estimation for multivariate Gaussian mixture observations of Markov chains".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import GaussianHMM
    >>> rng = np.random.default_rng(0)
    >>> states = np.repeat([0, 1, 0, 1], 50)
    >>> X = np.array([[0.0], [4.0]])[states] + rng.standard_normal((200, 1))
    >>> model = GaussianHMM(2, random_state=0).fit(X)
    >>> low, high = np.argsort(model.means_[:, 0])
    >>> model.means_[[low, high], 0].round(1)
    array([0.1, 3.9])

    The states of X, their probabilities, and the log-likelihood:

    >>> bool((model.predict(X) == np.array([low, high])[states]).all())
    True
    >>> log_prob, path = model.decode(X, lengths=[100, 100])
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((200, 2), (200, 2))
    >>> round(model.score(X)), round(model.aic(X)), round(model.bic(X))
    (-290, 595, 618)

    What comes next, for whole sequences and one observation at a time:

    >>> model.predict_next(X).mean.round(1)
    array([[3.9]])
    >>> model.predict_next(X, steps=5, quantiles=[0.1, 0.9]).quantiles.round()
    array([[[2.],
            [5.]]])
    >>> model.filter().update(X[0])[[low, high]].round(3)
    array([1., 0.])
    >>> model.get_stationary_distribution()[[low, high]].round(1)
    array([0.3, 0.7])
    >>> X, states = model.sample(5, random_state=0)
    >>> X.shape
    (5, 1)
    """

    _fitted = _points = (STARTPROB, TRANSMAT, MEANS, COVARS)
    _parameters: ClassVar = {
        **NormalStates._parameters,
        **rules_of(_fitted, _points),
        "covars_prior": NUMBER_OR_ARRAY,
        "covars_weight": NUMBER_OR_ARRAY,
    }

    def __init__(
        self, n_components=1, covariance_type="diag", min_covar=1e-3, startprob_prior=1.0,
        transmat_prior=1.0, means_prior=0, means_weight=0, covars_prior=1e-2, covars_weight=1,
        algorithm="viterbi", random_state=None, n_iter=10, tol=1e-2, verbose=False, params="stmc",
        init_params="stmc", implementation="log", *, startprob_init=None, transmat_init=None,
        means_init=None, covars_init=None, n_init=1, device=None, warm_start=False
    ):
        self._set_parameters(locals())

    def _prior_of_gaussians(self, d: int) -> NormalPrior:
        owner, K = type(self).__name__, int(self.n_components)
        mean = broadcast_parameter(owner, "means_prior", self.means_prior, (K, d))
        weight = _vector(owner, "means_weight", self.means_weight, K, minimum=0)
        rows = _vector(owner, "covars_weight", self.covars_weight, K)
        if self.covariance_type in ("diag", "spherical"):
            shape: tuple[int, ...] = (K, d)
            count = np.maximum(rows - 1.0, 0.0)
        else:
            shape = (1 if self.covariance_type == "tied" else K, d, d)
            count = np.maximum(rows - d, 0.0)[: shape[0]]
        scatter = broadcast_parameter(owner, "covars_prior", self.covars_prior, shape)
        return NormalPrior(mean, weight, scatter, count)


def _vector(owner: str, name: str, value: Any, K: int, minimum: float = -np.inf) -> np.ndarray:
    """A hyperparameter with one number a state, from a number, (K,) or (K, 1)."""
    array = as_numbers(value, name, owner)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return broadcast_parameter(owner, name, array, (K,), minimum)
