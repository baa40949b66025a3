"""What a Markov chain says about sequences: draws, likelihoods, next symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._random import seed_of
from kernelmill.markov._structure import ChainStructure
from kernelmill.markov._symbols import Batch, SymbolTable, decoded, encoded, gram_starts, read
from kernelmill.ops import hmm as hmm_ops
from kernelmill.ops import random as random_ops

# Up to this many states paths are drawn by the op, which takes a square matrix.
_DENSE_PATHS = 2048


class ChainSequences(ChainStructure):
    """Sequences of a chain whose states are windows of ``_window`` symbols, coded as ``_codes``."""

    # What MarkovChain provides.
    classes_: Any
    transmat_: Any
    random_state: Any
    _codes: Any
    _window: int
    _fitted_order: int

    def _rows_of(self, codes: np.ndarray) -> np.ndarray:
        """Rows of windows given as codes; -1 for those that are no state."""
        raise NotImplementedError

    def sample(self, n_samples=1, *, n_sequences=None, start=None, random_state=None):
        """Draw sequences of symbols.

        Parameters
        ----------
        n_samples : int, default=1
            Symbols of each sequence.
        n_sequences : int, optional
            How many sequences; one, without an axis of its own, when left out.
        start : state, array-like of shape (K,), or None
            The first state, its distribution, or ``startprob_`` when left out.
        random_state : int, RandomState, Generator or None, default=None
            Which random numbers; the parameter of the model when left out.

        Returns
        -------
        symbols : ndarray of shape (n_samples,) or (n_sequences, n_samples), dtype of classes_
            The draws. A seed gives the same bits at any thread count.

        Notes
        -----
        One uniform number a state, by inversion. The symbols of a state of order n count as n.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0, 1], [1, 0]], classes=["tick", "tock"])
        >>> chain.sample(4, start="tick").tolist()
        ['tick', 'tock', 'tick', 'tock']
        """
        p = np.ascontiguousarray(self._distribution(start))
        for name, value, least in (("n_samples", n_samples, 0), ("n_sequences", n_sequences, 1)):
            if value is None and name == "n_sequences":
                continue
            if not rule.is_integer(value) or value < least:
                raise ValueError(
                    f"MarkovChain: {name} must be a whole number of at least {least}, got {value!r}"
                )
        state = self.random_state if random_state is None else random_state
        if not rule.RANDOM_STATE.accepts(state):
            raise ValueError(
                f"MarkovChain: random_state must be {rule.RANDOM_STATE.words}, got {state!r}"
            )
        S, n, M = 1 if n_sequences is None else int(n_sequences), self._window, len(self.classes_)
        T = max(int(n_samples) - n + 1, 1)
        uniforms = random_ops.uniform(seed_of(state), 0, 0, S * T)
        if len(p) <= _DENSE_PATHS:
            A = self._matrix().toarray() if n > 1 else np.ascontiguousarray(self.transmat_)
            lengths = np.full(S, T, dtype=np.int64)
            paths = hmm_ops.sample_states(p, A, uniforms, lengths).reshape(S, T)
        else:
            paths = self._paths(p, uniforms.reshape(S, T))
        windows = decoded(self._codes, M, n)
        symbols = np.concatenate([windows[paths[:, 0]], windows[paths[:, 1:], -1]], axis=1)
        drawn = self.classes_[symbols[:, : int(n_samples)]]
        return drawn[0] if n_sequences is None else drawn

    def _paths(self, startprob: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """`ops.hmm.sample_states` without a square matrix: by the rows of transmat_, sequences
        side by side. Zeros between do not change running sums, so the states are the same."""
        paths = np.empty(uniforms.shape, dtype=np.int64)
        M, n = len(self.classes_), self._window
        running = np.cumsum(self.transmat_, axis=1)
        last = np.argmax(running == running[:, -1:], axis=1)
        first = np.cumsum(startprob)
        state = np.searchsorted(first, uniforms[:, 0] * first[-1], side="right")
        state = np.minimum(state, np.searchsorted(first, first[-1]))
        paths[:, 0] = state
        for t in range(1, uniforms.shape[1]):
            rows = running[state]
            symbol = (rows <= (uniforms[:, t] * rows[:, -1])[:, None]).sum(axis=1)
            symbol = np.minimum(symbol, last[state])
            state = self._rows_of(self._codes[state] % M ** (n - 1) * M + symbol)
            paths[:, t] = state
        return paths

    def score_samples(self, sequences, *, lengths=None):
        """Give the log-likelihood of each sequence.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``.
        lengths : array-like of shape (S,), int, optional
            Cuts one run of symbols into S sequences.

        Returns
        -------
        log_prob : ndarray of shape (S,), float64
            ``log p(state) + sum_t log A(state_t, x_{t+1})`` in nats; -inf where a transition has
            probability 0 or a state was never seen, 0 where empty. A sequence shorter than the
            order has the probability of all states that begin with it.

        Raises
        ------
        ValueError
            If a symbol is not among ``classes_``.
        """
        check_is_fitted(self, "transmat_")
        table = SymbolTable(self.classes_)
        parts = [
            self._log_prob(batch) for batch in read(sequences, lengths, table=table, grow=False)
        ]
        return np.concatenate(parts)

    def _log_prob(self, batch: Batch) -> np.ndarray:
        M, n = len(self.classes_), self._window
        codes, lengths = batch.symbols, batch.lengths
        with np.errstate(divide="ignore"):
            log_start, log_A = np.log(self.startprob_), np.log(self.transmat_)
        first = np.cumsum(lengths) - lengths
        whole = np.flatnonzero(lengths >= n)
        log_prob = np.zeros(len(lengths))
        heads = self._rows_of(encoded(codes[first[whole][:, None] + np.arange(n)], M))
        log_prob[whole] = np.where(heads < 0, -np.inf, log_start[heads])
        starts, owners = gram_starts(lengths, n + 1)
        state = self._rows_of(encoded(codes[starts[:, None] + np.arange(n)], M))
        steps = np.where(state < 0, -np.inf, log_A[state, codes[starts + n]])
        log_prob += np.bincount(owners, weights=steps, minlength=len(lengths))
        for s in np.flatnonzero((lengths < n) & (lengths > 0)):
            begins = self._begins_with(codes[first[s] : first[s] + lengths[s]])
            with np.errstate(divide="ignore"):
                log_prob[s] = np.log(self.startprob_[begins].sum())
        return log_prob

    def _begins_with(self, prefix: np.ndarray) -> np.ndarray:
        M = len(self.classes_)
        return self._codes // M ** (self._window - len(prefix)) == int(encoded(prefix[None], M)[0])

    def score(self, sequences, y=None, *, lengths=None, sample_weight=None):
        """Give the log-likelihood of all sequences together.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``.
        y : ignored
            There for pipelines.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.
        sample_weight : array-like of shape (S,), optional
            A weight per sequence.

        Returns
        -------
        log_prob : float
            The (weighted) sum of `score_samples`, in nats.

        Raises
        ------
        ValueError
            If a symbol is not among ``classes_``.
        """
        return self._likelihood(sequences, lengths, sample_weight)[0]

    def _likelihood(self, sequences, lengths, sample_weight) -> tuple[float, float]:
        """Log-likelihood, and the number of symbols that it is of."""
        check_is_fitted(self, "transmat_")
        table = SymbolTable(self.classes_)
        total = symbols = 0.0
        for batch in read(sequences, lengths, sample_weight, table=table, grow=False):
            weight = np.ones(len(batch.lengths)) if batch.weights is None else batch.weights
            counted = weight > 0  # so that 0 times -inf is nothing
            total += float(weight[counted] @ self._log_prob(batch)[counted])
            symbols += float(weight @ batch.lengths)
        return total, symbols

    def n_parameters(self) -> float:
        """Count the free probabilities.

        Returns
        -------
        count : float
            ``M^n (M - 1)`` for the transitions and ``M^n - 1`` for the start; ``M - 1`` for order
            0.
        """
        check_is_fitted(self, "transmat_")
        M, n = float(len(self.classes_)), self._window
        return M - 1 if self._fitted_order == 0 else M**n * (M - 1) + M**n - 1

    def aic(self, sequences, *, lengths=None, sample_weight=None):
        """Give Akaike's information criterion: smaller is better.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.
        sample_weight : array-like of shape (S,), optional
            A weight per sequence.

        Returns
        -------
        aic : float
            ``2 k - 2 log L`` with k from `n_parameters`. Chains of different order are better
            compared by `select_order`, which conditions all on the same symbols.
        """
        log_prob, _ = self._likelihood(sequences, lengths, sample_weight)
        return 2 * self.n_parameters() - 2 * log_prob

    def bic(self, sequences, *, lengths=None, sample_weight=None):
        """Give the Bayesian information criterion: smaller is better.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.
        sample_weight : array-like of shape (S,), optional
            A weight per sequence.

        Returns
        -------
        bic : float
            ``k log T - 2 log L`` with k from `n_parameters` and T the number of symbols.
        """
        log_prob, symbols = self._likelihood(sequences, lengths, sample_weight)
        return self.n_parameters() * float(np.log(max(symbols, 1.0))) - 2 * log_prob

    def predict_proba(self, sequences, *, lengths=None):
        """Give the distribution of the symbol that comes next.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``; the last n symbols of each count. Shorter ones, also empty ones, are
            taken as beginnings.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.

        Returns
        -------
        proba : ndarray of shape (S, M), float64
            Rows sum to one, columns in the order of ``classes_``.

        Raises
        ------
        ValueError
            If a symbol is not among ``classes_``, or the last symbols of a sequence are no state.
        """
        check_is_fitted(self, "transmat_")
        M, n = len(self.classes_), self._window
        rows: list[np.ndarray] = []
        for batch in read(sequences, lengths, table=SymbolTable(self.classes_), grow=False):
            for stop, length in zip(np.cumsum(batch.lengths), batch.lengths, strict=True):
                recent = batch.symbols[stop - min(length, n) : stop]
                if length < n:
                    begins = (
                        self._begins_with(recent) if length else np.ones(len(self._codes), bool)
                    )
                    after = self._codes[begins] // M ** (n - int(length) - 1) % M
                    row: Any = np.bincount(after, weights=self.startprob_[begins], minlength=M)
                else:
                    state = int(self._rows_of(encoded(recent[None], M))[0])
                    row = self.transmat_[state] if state >= 0 else np.zeros(M)
                if not row.sum() > 0:
                    ending = tuple(self.classes_[recent].tolist())
                    raise ValueError(
                        f"MarkovChain: sequences must end in a state that was seen in fit, got "
                        f"{ending!r} (smoothing above 0 makes all states possible)"
                    )
                rows.append(row / row.sum())
        return np.array(rows).reshape(-1, M)

    def predict(self, sequences, *, lengths=None):
        """Give the most probable next symbol of each sequence.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in `predict_proba`.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.

        Returns
        -------
        symbols : ndarray of shape (S,), dtype of classes_
            The first in ``classes_`` among equally probable ones.
        """
        proba = self.predict_proba(sequences, lengths=lengths)  # raises before fit
        return self.classes_[proba.argmax(axis=1)]
