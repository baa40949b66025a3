"""Filtering: the state now, given what came so far, one observation at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import isfinite, log
from typing import Any

import numpy as np

from kernelmill._arrays import to_host, unmasked
from kernelmill._docstrings import Documented
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._validation import as_array
from kernelmill.hmm._expectation import Chain
from kernelmill.hmm._prediction import Prediction, predicted
from kernelmill.hmm._words import WORDS

# A step is a few microseconds, and methods of arrays take twice the time of these.
add, maximum, minimum = np.add.reduce, np.maximum.reduce, np.minimum.reduce


class StateFilter(Documented):
    """Filters a sequence one observation at a time, in constant memory.

    Made by the ``filter`` method of a model, with the parameters that the model has at that time.
    ``p(z_t | x_0, ..., x_t)`` is proportional to ``b_t(j) sum_i p(z_{t-1} = i | x_0, ...,
    x_{t-1}) A(i, j)``. The filter keeps its logarithm, so a state whose probability underflows can
    become probable again.

    Parameters
    ----------
    chain : Chain
        Start and transition probabilities.
    emission : object
        The model's emission.
    observe : callable
        Converts rows into what the emission takes.
    owner : str
        Name of the model in messages.

    Attributes
    ----------
    probabilities : ndarray of shape (K,)
        ``p(z_t | x_0, ..., x_t)``; the start probabilities before the first update.
    log_prob : float
        Log-likelihood of the observations so far.
    n_updates : int
        Number of observations so far.

    See Also
    --------
    GaussianHMM.predict_next : The same for whole sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import CategoricalHMM
    >>> model = CategoricalHMM(2)
    >>> model.startprob_ = np.array([0.5, 0.5])
    >>> model.transmat_ = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> model.emissionprob_ = np.array([[0.8, 0.2], [0.1, 0.9]])
    >>> filter = model.filter()
    >>> filter.update(0).round(3)
    array([0.889, 0.111])
    >>> filter.predict().mean.round(3)
    array([0.676, 0.324])
    """

    _words = WORDS

    def __init__(self, chain: Chain, emission: Any, observe: Callable, owner: str) -> None:
        self._chain = chain
        self._emission = emission
        self._observe = observe
        self._owner = owner
        self._as_floats = not hasattr(emission, "log_table")
        self._n_columns = emission.means.shape[1] if self._as_floats else 1
        self.reset()

    def reset(self) -> StateFilter:
        """Start a new sequence.

        Returns
        -------
        self : StateFilter
            The filter itself.
        """
        self.probabilities = self._chain.startprob.copy()
        self._log_states = np.full_like(self.probabilities, -np.inf)
        self.log_prob = 0.0
        self.n_updates = 0
        return self

    def update(self, x: Any) -> np.ndarray:
        """Process one observation.

        Parameters
        ----------
        x : array-like of shape (d,), or a number where d is 1
            The observation; missing values are marked as in ``fit``.

        Returns
        -------
        probabilities : ndarray of shape (K,)
            ``p(z_t | x_0, ..., x_t)``.

        Raises
        ------
        ValueError
            If x has other features, or is impossible in every state that can be reached; the
            filter is then unchanged.
        """
        row = as_array(unmasked(x), "x", self._owner).reshape(1, -1)
        if row.dtype.kind not in "biuf":
            raise ValueError(f"{self._owner}: x must be numeric, got dtype {row.dtype}")
        if row.dtype.kind == "f" and not isfinite(add(row[0])) and np.isinf(row).any():
            raise ValueError(f"{self._owner}: x must be finite or NaN, got {shown(x)}")
        if self._as_floats and row.dtype not in (np.float32, np.float64):
            row = row.astype(np.float64)
        if row.shape[1] != self._n_columns:
            raise ValueError(
                f"{self._owner}: x must have {self._n_columns} features, got {row.shape[1]}"
            )
        density = to_host(self._emission.log_density(self._observe(row))[0])[0]
        largest = maximum(density)
        if largest > -np.inf:  # relative to the largest, differences keep all digits
            density = density - largest
        joint = self._log_ahead() + density
        shift = maximum(joint)
        if not shift > -np.inf:
            raise ValueError(
                f"{self._owner}: x must be possible in a state that can be reached, got a density "
                f"of {shift:g} in all of them"
            )
        joint -= shift
        share = np.exp(joint)
        total = add(share)
        self.probabilities = share / total
        rest = log(total)
        self._log_states = joint - rest
        self.log_prob += float(largest + (shift + rest))
        self.n_updates += 1
        return self.probabilities.copy()  # the caller may write to it

    def predict(self, steps: Any = 1, quantiles: Any = None) -> Prediction:
        """Predict the state and observation some steps ahead.

        Returns
        -------
        prediction : Prediction
            ``states``, ``mean``, ``variance`` and ``quantiles``; see the model's ``predict_next``.
        """
        ahead, transmat = self._ahead(), self._chain.transmat
        return predicted(self._owner, ahead, transmat, self._emission, steps, quantiles)

    def _ahead(self) -> np.ndarray:
        """Probabilities of the state of the next step."""
        if self.n_updates == 0:
            return self._chain.startprob.copy()
        return self.probabilities @ self._chain.transmat

    @functools.cached_property
    def _log_transmat(self) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self._chain.transmat)

    def _log_ahead(self) -> np.ndarray:
        """Their logarithm, also where they underflow."""
        ahead = self._ahead()
        # Products below 2^-1022 lose digits; K of them are within rounding of what is above this.
        if minimum(ahead) >= 2.0**-960:
            return np.log(ahead)
        with np.errstate(divide="ignore"):
            logs = np.log(ahead)
            if self.n_updates > 0:
                low = ahead < 2.0**-960
                moves = self._log_states[:, None] + self._log_transmat[:, low]
                top = moves.max(axis=0)
                shares = np.exp(moves - np.where(top > -np.inf, top, 0.0))
                logs[low] = np.log(shares.sum(axis=0)) + top
        return logs
