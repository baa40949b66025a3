"""What a Markov chain says about sequences: draws, likelihoods, next symbols."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._random import seed_of
from kernelmill.markov._structure import ChainStructure
from kernelmill.markov._symbols import Batch, SymbolTable, decoded, encoded, gram_starts
from kernelmill.ops import hmm as hmm_ops
from kernelmill.ops import random as random_ops

# Up to this many states paths are drawn by the op, which takes a square matrix.
_DENSE_PATHS = 2048


class ChainSequences(ChainStructure):
    """Methods of `MarkovChain` that take or give sequences of symbols."""

    # Set by MarkovChain.
    _fitted_order: int

    def sample(self, n_samples=1, *, n_sequences=None, start=None, random_state=None):
        """Draw sequences of symbols.

        Parameters
        ----------
        n_samples : int, default=1
            Symbols of each sequence.
        n_sequences : int or None, default=None
            Number of sequences; None draws one, returned as a 1-D array.
        start : state, array-like of shape (K,), or None, default=None
            The first state or its distribution; ``startprob_`` if None. A state of order n is the
            first n symbols.
        random_state : int, RandomState, Generator or None, default=None
            Seed or generator; pass an int for reproducible results. None uses the parameter of the
            model.

        Returns
        -------
        symbols : ndarray of shape (n_samples,) or (n_sequences, n_samples), dtype of classes_
            The draws, the same at any thread count. `fit` takes them as ``list(symbols)``.

        Raises
        ------
        ValueError
            If an argument is out of its range.

        Notes
        -----
        One uniform number per state, by inversion.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0, 1], [1, 0]], classes=["tick", "tock"])
        >>> chain.sample(4, start="tick").tolist()
        ['tick', 'tock', 'tick', 'tock']
        """
        p = np.ascontiguousarray(self._start_distribution(start))
        state = self.random_state if random_state is None else random_state
        for name, value, accepted in (
            ("n_samples", n_samples, rule.integer(0)),
            ("n_sequences", n_sequences, rule.any_of(rule.nothing(), rule.integer(1))),
            ("random_state", state, rule.RANDOM_STATE),
        ):
            if not accepted.accepts(value):
                raise ValueError(f"MarkovChain: {name} must be {accepted.words}, got {value!r}")
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
        """`ops.hmm.sample_states` from the rows of ``transmat_``, for all sequences side by side.

        The square matrix has zeros between these entries, which do not change its running sums, so
        the states are the same.
        """
        paths = np.empty(uniforms.shape, dtype=np.int64)
        running = np.cumsum(self.transmat_, axis=1)
        last = np.argmax(running == running[:, -1:], axis=1)
        first = np.cumsum(startprob)
        state = np.searchsorted(first, uniforms[:, 0] * first[-1], side="right")
        paths[:, 0] = state = np.minimum(state, np.searchsorted(first, first[-1]))
        for t in range(1, uniforms.shape[1]):
            rows = running[state]
            symbol = (rows <= (uniforms[:, t] * rows[:, -1])[:, None]).sum(axis=1)
            paths[:, t] = state = self._rows_after(state, np.minimum(symbol, last[state]))
        return paths

    # --- likelihood ---

    def score_samples(self, sequences, *, lengths=None):
        """Compute the log-likelihood of each sequence.

        Returns
        -------
        log_prob : ndarray of shape (S,), float64
            ``log p(first state) + sum_t log A(state_t; x_{t+1})`` in nats; -inf if a transition has
            probability 0 or a state was not seen, 0 for an empty sequence. A sequence shorter than
            the order has the probability of all states that begin with it.

        Raises
        ------
        ValueError
            If a symbol is not in ``classes_``.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], [1, 0])
        >>> chain.score_samples([[0, 0], [0, 0, 1]]).round(3)
        array([-0.105, -2.408])
        """
        return np.concatenate([log_prob for _, log_prob in self._log_probs(sequences, lengths)])

    def _log_probs(self, sequences, lengths, sample_weight=None):
        """Batches of sequences with the log-likelihood of each."""
        check_is_fitted(self, "transmat_")
        for batch in SymbolTable(self.classes_, fixed=True).read(sequences, lengths, sample_weight):
            yield batch, self._log_prob(batch)

    def _log_prob(self, batch: Batch) -> np.ndarray:
        M, n = len(self.classes_), self._window
        codes, lengths = batch.codes, batch.lengths
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
            begins = self._begin_with(codes[first[s] : first[s] + lengths[s]])
            with np.errstate(divide="ignore"):
                log_prob[s] = np.log(self.startprob_[begins].sum())
        return log_prob

    def _begin_with(self, prefix: np.ndarray) -> np.ndarray:
        """Mask of the states that begin with fewer than n symbols."""
        M = len(self.classes_)
        return self._codes // M ** (self._window - len(prefix)) == encoded(prefix[None], M)

    def score(self, sequences, y=None, *, lengths=None, sample_weight=None):
        """Compute the log-likelihood of all sequences together.

        Returns
        -------
        log_prob : float
            The (weighted) sum of `score_samples`, in nats.

        Raises
        ------
        ValueError
            If a symbol is not in ``classes_``.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], [1, 0])
        >>> round(chain.score([[0, 0], [0, 0, 1]]), 3)
        -2.513
        """
        return self._likelihood(sequences, lengths, sample_weight)[0]

    def _likelihood(self, sequences, lengths, sample_weight) -> tuple[float, float]:
        """Log-likelihood, and the number of symbols, both weighted."""
        total = symbols = 0.0
        for batch, log_prob in self._log_probs(sequences, lengths, sample_weight):
            weights = np.ones(len(log_prob)) if batch.weights is None else batch.weights
            total += float(weights @ log_prob)  # sequences of weight 0 are empty: no 0 times -inf
            symbols += float(weights @ batch.lengths)
        return total, symbols

    def n_parameters(self) -> float:
        """Count the free parameters.

        Returns
        -------
        count : float
            ``M^n (M - 1)`` for the transitions and ``M^n - 1`` for the first state; ``M - 1`` for
            order 0.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain().fit("abba").n_parameters()
        3.0
        """
        check_is_fitted(self, "transmat_")
        M, n = float(len(self.classes_)), self._window
        return M - 1 if self._fitted_order == 0 else M**n * (M - 1) + M**n - 1

    def aic(self, sequences, *, lengths=None, sample_weight=None):
        """Compute Akaike's information criterion; smaller is better.

        Returns
        -------
        aic : float
            ``2 k - 2 log L`` with k from `n_parameters`. To compare orders on the same symbols use
            `select_order`.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> round(MarkovChain().fit("abba").aic("abba"), 3)
        8.773
        """
        return 2 * self.n_parameters() - 2 * self.score(
            sequences, lengths=lengths, sample_weight=sample_weight
        )

    def bic(self, sequences, *, lengths=None, sample_weight=None):
        """Compute the Bayesian information criterion; smaller is better.

        Returns
        -------
        bic : float
            ``k log T - 2 log L`` with k from `n_parameters` and T the (weighted) number of symbols.
            To compare orders on the same symbols use `select_order`.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> round(MarkovChain().fit("abba").bic("abba"), 3)
        6.931
        """
        log_prob, symbols = self._likelihood(sequences, lengths, sample_weight)
        return self.n_parameters() * float(np.log(max(symbols, 1.0))) - 2 * log_prob

    # --- next symbols ---

    def predict_proba(self, sequences, *, lengths=None):
        """Compute the distribution of the next symbol of each sequence.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in `fit`; only the last n symbols of each matter. Sequences of fewer symbols, empty
            ones included, are treated as beginnings.

        Returns
        -------
        proba : ndarray of shape (S, M), float64
            Rows sum to one; columns are in the order of ``classes_``.

        Raises
        ------
        ValueError
            If a symbol is not in ``classes_``, or the last n symbols of a sequence are not a state.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], classes=["idle", "busy"])
        >>> chain.predict_proba([["idle", "busy"], ["idle"]])
        array([[0.4, 0.6],
               [0.9, 0.1]])
        """
        check_is_fitted(self, "transmat_")
        table = SymbolTable(self.classes_, fixed=True)
        return np.concatenate([self._next(batch) for batch in table.read(sequences, lengths)])

    def _next(self, batch: Batch) -> np.ndarray:
        M, n = len(self.classes_), self._window
        codes, lengths = batch.codes, batch.lengths
        stops = np.cumsum(lengths)
        proba = np.zeros((len(lengths), M))
        whole = np.flatnonzero(lengths >= n)
        state = self._rows_of(encoded(codes[stops[whole][:, None] + np.arange(-n, 0)], M))
        proba[whole] = np.where(state[:, None] < 0, 0.0, self.transmat_[state])
        for s in np.flatnonzero(lengths < n):
            begins = self._begin_with(codes[stops[s] - lengths[s] : stops[s]])
            after = self._codes[begins] // M ** (n - int(lengths[s]) - 1) % M
            proba[s] = np.bincount(after, weights=self.startprob_[begins], minlength=M)
        sums = proba.sum(axis=1, keepdims=True)
        if not sums.all():
            bad = int((sums == 0).argmax())
            recent = codes[: stops[bad]][-min(int(lengths[bad]), n) :]
            ending = tuple(self.classes_[recent].tolist())
            raise ValueError(
                f"MarkovChain: sequences must end in a state that was seen in fit, got {ending!r} "
                f"(smoothing above 0 makes all states possible)"
            )
        return proba / sums

    def predict(self, sequences, *, lengths=None):
        """Predict the most probable next symbol of each sequence.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in `predict_proba`.

        Returns
        -------
        symbols : ndarray of shape (S,), dtype of classes_
            The first in ``classes_`` among equally probable ones.

        Raises
        ------
        ValueError
            As in `predict_proba`.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain(2).fit("abracadabra").predict([["a", "b"], ["b", "r"]]).tolist()
        ['r', 'a']
        """
        proba = self.predict_proba(sequences, lengths=lengths)  # raises before fit
        return self.classes_[proba.argmax(axis=1)]
