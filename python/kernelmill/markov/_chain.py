"""MarkovChain: transition probabilities between observed states, and what they imply."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._validation import as_numbers
from kernelmill.markov._sequences import ChainSequences
from kernelmill.markov._states import checked_distribution
from kernelmill.markov._symbols import (
    Grams,
    SymbolTable,
    add_grams,
    as_list,
    count_grams,
    count_starts,
    decoded,
    encoded,
    no_grams,
    object_array,
    symbol_array,
)

# Entries of counts_ that a chain may have: 1 GiB of float64.
_MOST_ENTRIES = 1 << 27


class MarkovChain(ChainSequences, BaseEstimator):
    """A Markov chain of any order on a finite set of symbols, fitted by counting.

    The next symbol depends on the last n, which make up the state:
    ``p(x_t | x_0, ..., x_{t-1}) = A(x_{t-n}, ..., x_{t-1}; x_t)``. A chain is fitted to sequences
    by `fit` or made from given probabilities by `from_matrix`.

    Parameters
    ----------
    order : int, default=1
        Number n of past symbols that the next one depends on. 0 makes symbols independent.
    smoothing : float or array of shape (M,) or, for order 1, (M, M), default=0.0
        Pseudo-counts added to the counts of each state: estimates become posterior means under a
        Dirichlet prior with these parameters. 1 is Laplace's rule, 0.5 Jeffreys'.
    start_smoothing : float or None, default=None
        Pseudo-count per symbol added to the counts of first states. None uses ``smoothing`` if
        that is a number, else 0.
    classes : sequence of symbols or None, default=None
        Symbols that may occur. Others that occur in `fit` are added.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator for `sample`; pass an int for reproducible results.

    Attributes
    ----------
    classes_ : ndarray of shape (M,)
        The symbols, sorted if they can be compared, else in order of appearance.
    states_ : ndarray of shape (K,)
        ``classes_`` for order 0 and 1; for order n > 1 tuples of n symbols in the order of
        ``classes_``: those that occur, or all M^n with smoothing.
    startprob_ : ndarray of shape (K,), float64
        Distribution of the first state.
    transmat_ : ndarray of shape (K, M), float64
        ``transmat_[i, j]`` is the probability that symbol j follows state i. Square for order 1.
    counts_ : ndarray of shape (K, M), float64
        Weighted numbers of transitions, without pseudo-counts.
    start_counts_ : ndarray of shape (K,), float64
        Weighted numbers of sequences that start in each state.

    See Also
    --------
    select_order : Chooses the order by AIC or BIC.

    Notes
    -----
    The maximum likelihood estimate is ``A(i, j) = N_ij / sum_j N_ij`` with N the counts, so a fit
    is one pass over the sequences. A state seen only at the end of sequences has no transitions to
    count; its last symbol is taken to repeat for ever, so for order 1 the state is absorbing.
    ``smoothing`` avoids this. Long-run and hitting quantities come from elimination without
    subtractions, which keeps even tiny probabilities accurate; which states can reach which is
    decided exactly, by the zeros of the matrix.

    References
    ----------
    Norris (1997), "Markov chains". Kemeny, Snell (1960), "Finite Markov chains". Anderson, Goodman
    (1957), "Statistical inference about Markov chains". Grassmann, Taksar, Heyman (1985),
    "Regenerative analysis and steady state distributions for Markov chains". O'Cinneide (1993),
    "Entrywise perturbation theory and error analysis for Markov chains".

    Examples
    --------
    >>> from kernelmill.markov import MarkovChain
    >>> week = ["sun", "sun", "rain", "sun", "sun", "sun", "rain", "rain", "sun"]
    >>> chain = MarkovChain().fit([week])
    >>> chain.states_.tolist()
    ['rain', 'sun']
    >>> chain.transmat_.round(2)
    array([[0.33, 0.67],
           [0.4 , 0.6 ]])
    >>> chain.stationary_distribution().round(3)
    array([0.375, 0.625])
    >>> chain.hitting_times("rain")
    array([0. , 2.5])
    >>> chain.predict([["rain", "sun"]]).tolist()
    ['sun']
    """

    _parameters: ClassVar = {
        "order": rule.integer(0),
        "smoothing": rule.any_of(rule.real(0), rule.array("(M,) or (M, M)")),
        "start_smoothing": rule.any_of(rule.nothing(), rule.real(0)),
        "classes": rule.any_of(rule.nothing(), rule.array("(M,)")),
        "random_state": rule.RANDOM_STATE,
    }

    def __init__(
        self, order=1, *, smoothing=0.0, start_smoothing=None, classes=None, random_state=None
    ):
        self.order = order
        self.smoothing = smoothing
        self.start_smoothing = start_smoothing
        self.classes = classes
        self.random_state = random_state

    # --- fitting ---

    @fitting
    def fit(self, sequences, y=None, *, lengths=None, sample_weight=None):
        """Count transitions and normalise.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            One sequence: a 1-D array or Series of symbols, a list of numbers or of single
            characters, or a str, whose characters are the symbols. Or several: a list, Series or
            any iterable of lists or arrays, or a function that returns an iterator. Iterators are
            read once and never held in memory. Symbols are integers, text, or any other hashable
            objects.
        lengths : array-like of shape (S,), int, or None, default=None
            Splits one long sequence into S.
        sample_weight : array-like of shape (S,) or None, default=None
            A weight per sequence: 2 counts a sequence twice, sequences of weight 0 are ignored.

        Returns
        -------
        self : MarkovChain
            The fitted model.

        Raises
        ------
        ValueError
            If a sequence is shorter than the order (empty ones are ignored), there is no sequence,
            a symbol is missing (NaN), or a parameter or argument is out of its range.
        TypeError
            If symbols cannot be hashed.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain().fit([["a", "b", "b", "a"], ["b", "a"]])
        >>> chain.counts_
        array([[0., 1.],
               [2., 1.]])
        """
        return self._count(sequences, lengths, sample_weight, partial=False)

    @fitting
    def partial_fit(self, sequences, y=None, *, lengths=None, sample_weight=None):
        """Add the counts of more sequences.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in `fit`. New symbols get new states.
        sample_weight : array-like of shape (S,) or None, default=None
            As in `fit`.

        Returns
        -------
        self : MarkovChain
            The model that one `fit` to all sequences so far would give. A chain `from_matrix` has
            no counts, so its matrix is replaced.

        Raises
        ------
        ValueError
            As in `fit`, and if ``order`` has changed.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain().partial_fit(["a", "b", "b", "a"]).partial_fit(["b", "a"])
        >>> chain.counts_
        array([[0., 1.],
               [2., 1.]])
        """
        return self._count(sequences, lengths, sample_weight, partial=True)

    def _count(self, sequences, lengths, sample_weight, *, partial: bool):
        order = int(self.order)
        n = max(order, 1)
        moves, starts = no_grams(n + 1), no_grams(n)
        known: list[Any] = []
        if partial and hasattr(self, "counts_"):
            if order != self._fitted_order:
                raise ValueError(
                    f"MarkovChain: order must stay {self._fitted_order} in partial_fit, got "
                    f"{order} (call fit)"
                )
            known = self.classes_.tolist()
            windows = decoded(self._codes, len(known), n)
            state, symbol = np.nonzero(self.counts_)
            first = np.flatnonzero(self.start_counts_)
            moves = Grams(np.column_stack([windows[state], symbol]), self.counts_[state, symbol])
            starts = Grams(windows[first], self.start_counts_[first])
        table = SymbolTable([*known, *(() if self.classes is None else as_list(self.classes))])
        position = 0
        for batch in table.read(sequences, lengths, sample_weight):
            short = (batch.lengths > 0) & (batch.lengths < n)
            if short.any():
                place = int(short.argmax())
                raise ValueError(
                    f"MarkovChain: sequences must have at least {n} symbols for order {n}, got "
                    f"{batch.lengths[place]} in sequence {position + place} (leave it out or lower "
                    f"order)"
                )
            moves = add_grams(moves, count_grams(batch, n + 1))
            starts = add_grams(starts, count_starts(batch, n))
            position += len(batch.lengths)
        if not len(starts.rows):
            raise ValueError(
                "MarkovChain: sequences must have at least one symbol and a weight above 0, got "
                "none"
            )
        self.classes_, rank = table.classes()
        self._window, self._fitted_order = n, order
        self._tabulate(Grams(rank[moves.rows], moves.counts), rank[starts.rows], starts.counts)
        return self

    def _tabulate(self, moves: Grams, first: np.ndarray, first_counts: np.ndarray) -> None:
        """States, counts and probabilities from the counts of runs of class indices."""
        M, n = len(self.classes_), self._window
        prior = _pseudo_counts(self.smoothing, M, self._fitted_order)
        all_windows = n == 1 or bool(np.any(prior > 0))
        if M**n >= 2**62 or (all_windows and M ** (n + 1) > _MOST_ENTRIES):
            raise ValueError(
                f"MarkovChain: order must be lower for {M} symbols, got {n} (a table of "
                f"{float(M):g}**{n + 1} entries; smoothing=0 keeps only states that occur, fewer "
                f"symbols help)"
            )
        heads, first = encoded(moves.rows[:, :n], M), encoded(first, M)
        if all_windows:
            codes = np.arange(M**n, dtype=np.int64)
        else:
            seen = np.concatenate([first, encoded(moves.rows[:, 1:], M)])
            codes = _with_followers(np.unique(seen), np.unique(heads), M, n)
        self._set_states(codes)
        K = len(codes)
        self.counts_ = np.zeros((K, M))
        self.counts_[self._rows_of(heads), moves.rows[:, n]] = moves.counts
        self.start_counts_ = np.zeros(K)
        self.start_counts_[self._rows_of(first)] = first_counts
        if self._fitted_order == 0:
            # Each symbol is the first of a sequence or follows another.
            pooled = self.start_counts_ + self.counts_.sum(axis=0) + prior
            self.startprob_ = pooled / pooled.sum()
            self.transmat_ = np.tile(self.startprob_, (K, 1))
            return
        self.transmat_ = self.counts_ + prior
        totals = self.transmat_.sum(axis=1)
        self.transmat_[totals == 0, codes[totals == 0] % M] = 1.0
        self.transmat_ /= np.where(totals == 0, 1.0, totals)[:, None]
        start = self.start_smoothing
        if start is None:
            start = self.smoothing if rule.is_real(self.smoothing) else 0.0
        self.startprob_ = self.start_counts_ + start * M / K
        self.startprob_ /= self.startprob_.sum()

    def _set_states(self, codes: np.ndarray) -> None:
        self._codes = codes
        self.states_ = self.classes_
        if self._window > 1:
            windows = self.classes_[decoded(codes, len(self.classes_), self._window)]
            self.states_ = object_array(list(map(tuple, windows.tolist())))

    @classmethod
    def from_matrix(cls, transmat, startprob=None, *, classes=None, order=1, random_state=None):
        """Make a chain with given probabilities.

        Parameters
        ----------
        transmat : array-like of shape (M**order, M)
            Rows sum to one within 1e-5, which float32 rows do, and are divided by their sums. For
            order n > 1 row ``i`` belongs to the i-th tuple of n symbols in lexicographic order, as
            ``itertools.product(classes, repeat=n)`` gives them.
        startprob : array-like of shape (M**order,) or None, default=None
            Distribution of the first state; uniform if None.
        classes : sequence of M symbols or None, default=None
            The symbols; 0, ..., M - 1 if None.
        order : int, default=1
            Number of past symbols that the next one depends on, at least 1.
        random_state : int, RandomState, Generator or None, default=None
            Seed or generator for `sample`; pass an int for reproducible results.

        Returns
        -------
        chain : MarkovChain
            As if fitted, but without counts.

        Raises
        ------
        ValueError
            If shapes do not match or something is not a distribution.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], classes=["idle", "busy"])
        >>> chain.stationary_distribution()
        array([0.8, 0.2])
        """
        if not rule.is_integer(order) or order < 1:
            raise ValueError(
                f"MarkovChain: order must be a whole number of at least 1, got {order!r}"
            )
        A = as_numbers(transmat, "transmat", "MarkovChain")
        if A.ndim != 2 or A.shape[1] < 1 or A.shape[0] != A.shape[1] ** order:
            raise ValueError(
                f"MarkovChain: transmat must have shape (M**{order}, M), got {A.shape}"
            )
        K, M = A.shape
        names = list(range(M))
        if classes is not None:
            names = as_list(classes) if np.iterable(classes) else []
        if len(SymbolTable(names).codes) != M or len(names) != M:
            raise ValueError(
                f"MarkovChain: classes must be {M} different symbols, one per column of transmat, "
                f"got {shown(classes)}"
            )
        chain = cls(order, random_state=random_state)
        chain.transmat_ = checked_distribution(A, "transmat", (K, M))
        chain.startprob_ = np.full(K, 1.0 / K)
        if startprob is not None:
            chain.startprob_ = checked_distribution(startprob, "startprob", (K,))
        chain.classes_ = symbol_array(names)
        chain._window = chain._fitted_order = int(order)
        chain._set_states(np.arange(K, dtype=np.int64))
        return chain


def _with_followers(codes: np.ndarray, left: np.ndarray, M: int, n: int) -> np.ndarray:
    """Windows and those that follow where none was seen to: the last symbol repeated."""
    new = np.setdiff1d(codes, left, assume_unique=True)
    for _ in range(n - 1):
        new = np.setdiff1d(np.unique(new % M ** (n - 1) * M + new % M), codes)
        codes = np.union1d(codes, new)
    return codes


def _pseudo_counts(smoothing: Any, M: int, order: int) -> np.ndarray:
    """The parameter as a number, a row, or for order 1 a square matrix."""
    prior = as_numbers(smoothing, "smoothing", "MarkovChain")
    shapes = [(), (M,)] + ([(M, M)] if order == 1 else [])
    fits = prior.shape in shapes
    if not fits or not np.isfinite(prior).all() or (prior < 0).any():
        raise ValueError(
            f"MarkovChain: smoothing must be a finite number of at least 0 or an array of these of "
            f"shape {' or '.join(map(str, shapes[1:]))}, got "
            f"{shown(smoothing) if fits else f'shape {prior.shape}'}"
        )
    return prior
