"""The hidden Markov model whose states emit symbols."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill.hmm._declared import EMISSIONPROB, STARTPROB, TRANSMAT, rules_of
from kernelmill.hmm._emissions import CategoricalEmission
from kernelmill.hmm._fit import EMModel
from kernelmill.hmm._inputs import SymbolsMixin
from kernelmill.hmm._sequence_model import NUMBER_OR_ARRAY


class CategoricalStates(SymbolsMixin):
    """States that emit symbols."""

    def _emission(self, table: np.ndarray) -> CategoricalEmission:
        with np.errstate(divide="ignore"):
            return CategoricalEmission(np.log(table))


class CategoricalHMM(CategoricalStates, EMModel):
    """Hidden Markov model whose states emit symbols.

    Parameters
    ----------
    emissionprob_prior : float or array of shape (K, M), default=1.0
        Parameters of the Dirichlet prior of each row of ``emissionprob_``.

    Attributes
    ----------
    startprob_, transmat_, emissionprob_, monitor_
    n_features_in_ : int
        1, after ``fit``.

    See Also
    --------
    MultinomialHMM : Several symbols at each step, counted.
    VariationalCategoricalHMM : Distributions over the parameters instead of points.

    Notes
    -----
    X is one column of whole numbers from 0. Negative numbers, NaN and masked entries are missing:
    their density is 1 in every state. ``fit`` leaves ``n_features`` as it was given; the number of
    symbols is ``emissionprob_.shape[1]``. Zeros in ``startprob_`` and ``transmat_`` stay zeros, a
    state that is never visited keeps its parameters, and the objective never falls. Cost of an
    iteration about 6 T K^2 flops.

    References
    ----------
    Baum, Petrie, Soules, Weiss (1970), "A maximization technique occurring in the statistical
    analysis of probabilistic functions of Markov chains". Rabiner (1989), "A tutorial on hidden
    Markov models and selected applications in speech recognition".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import CategoricalHMM
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.integers(2, size=120) + np.repeat([0, 2, 0], 40))[:, None]
    >>> model = CategoricalHMM(2, n_init=4, random_state=1, n_iter=200, tol=1e-6).fit(X)
    >>> low, high = model.predict(X)[[0, 40]]
    >>> model.emissionprob_[[low, high]].round(1)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.4, 0.6]])

    Where states change, their probabilities, and the likelihood of the model:

    >>> log_prob, path = model.decode(X, lengths=[80, 40])
    >>> np.flatnonzero(np.diff(path)).tolist()
    [39, 79]
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((120, 2), (120, 2))
    >>> round(model.score(X)), round(model.aic(X)), round(model.bic(X))
    (-93, 203, 228)

    What comes next, for whole sequences and one symbol at a time:

    >>> model.predict_next(X).mean.round(2)  # the distribution of the symbol
    array([[0.46, 0.53, 0.01, 0.01]])
    >>> model.filter().update(1)[[low, high]].round()
    array([1., 0.])
    >>> model.get_stationary_distribution()[[low, high]].round(1)
    array([0.7, 0.3])
    >>> symbols, states = model.sample(5, random_state=0)
    >>> symbols.shape
    (5, 1)
    """

    _fitted = _points = (STARTPROB, TRANSMAT, EMISSIONPROB)
    _widest = "emissionprob_"
    _parameters: ClassVar = {
        **EMModel._parameters,
        **rules_of(_fitted, _points),
        "emissionprob_prior": NUMBER_OR_ARRAY,
        "n_features": rule.any_of(rule.integer(1), rule.nothing()),
    }

    def __init__(
        self, n_components=1, startprob_prior=1.0, transmat_prior=1.0, *, emissionprob_prior=1.0,
        n_features=None, algorithm="viterbi", random_state=None, n_iter=10, tol=1e-2, verbose=False,
        params="ste", init_params="ste", implementation="log", startprob_init=None,
        transmat_init=None, emissionprob_init=None, n_init=1, device=None, warm_start=False
    ):
        self._set_parameters(locals())
