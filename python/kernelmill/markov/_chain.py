"""MarkovChain: transition probabilities between observed states, and what they imply."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._validation import as_numbers
from kernelmill.markov._sequences import ChainSequences
from kernelmill.markov._symbols import (
    Batch,
    Grams,
    SymbolTable,
    add_grams,
    as_list,
    count_grams,
    count_starts,
    decoded,
    encoded,
    read,
    symbol_array,
)

# Entries of counts_ that a chain may have: 1 GiB of float64.
_MOST_ENTRIES = 1 << 27
_SUM_TOLERANCE = 1e-8  # of probabilities that a user has typed or computed


class MarkovChain(ChainSequences, BaseEstimator):
    """A Markov chain on a finite set of symbols, of any order, fitted by counting.

    The next symbol depends on the last n symbols, the state:
    ``p(x_t | x_0, ..., x_{t-1}) = A(x_{t-n}, ..., x_{t-1}; x_t)``. Once fitted, or made
    `from_matrix`, the chain answers questions about its long run, about times and probabilities to
    reach states, and about sequences.

    Parameters
    ----------
    order : int, default=1
        n. 0 is a chain without memory, whose rows are all equal.
    smoothing : float or array of shape (M,) or, for order 1, (M, M), default=0.0
        Pseudo-counts added to the counts of each state: the posterior mean under a Dirichlet prior
        with these parameters. 1 is Laplace's rule, 0.5 Jeffreys'.
    start_smoothing : float or None, default=None
        Pseudo-count per symbol added to the counts of first states. None takes ``smoothing``
        where that is one number, else 0.
    classes : sequence of symbols, optional
        Symbols that may occur. Others that occur in ``fit`` are added.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers `sample` takes.

    Attributes
    ----------
    classes_ : ndarray of shape (M,)
        The symbols, sorted where they can be compared, else in order of appearance.
    states_ : ndarray of shape (K,)
        ``classes_`` for order 1; for order n > 1 tuples of n symbols, those that occur (all M^n
        with smoothing), sorted.
    startprob_ : ndarray of shape (K,), float64
        Distribution of the first state.
    transmat_ : ndarray of shape (K, M), float64
        ``transmat_[i, j]``: probability that symbol j follows state i. Square for order 1.
    counts_ : ndarray of shape (K, M), float64
        Weighted numbers of transitions, without pseudo-counts.
    start_counts_ : ndarray of shape (K,), float64
        Weighted numbers of sequences that start in each state.

    See Also
    --------
    select_order : Finds the order.

    Notes
    -----
    The maximum of the likelihood is ``A(i, j) = N_ij / sum_j N_ij`` with N the counts, so fitting
    is one pass that adds up counts. A state that is seen only at the end of sequences is never
    left: its last symbol is taken to go on for ever, so for order 1 it is absorbing. With
    ``smoothing`` there is no such state. Cost of a fit: a table look-up a symbol, and sorting where
    M^(n+1) is large. Questions about the structure are answered by elimination without
    subtractions, see ``hitting_probabilities``; they take a square matrix of the states, from whose
    zeros the classes of states follow exactly.

    References
    ----------
    Norris (1997), "Markov chains". Anderson, Goodman (1957), "Statistical inference about Markov
    chains". Grassmann, Taksar, Heyman (1985), "Regenerative analysis and steady state distributions
    for Markov chains".

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
        self,
        order=1,
        *,
        smoothing=0.0,
        start_smoothing=None,
        classes=None,
        random_state=None,
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
            One run of symbols: a 1-D array or Series, a list of numbers, a str of letters. Or many:
            a list of these, or an iterable or a function that returns an iterator, which is read
            in one pass and never kept. Symbols are integers, text, or anything hashable.
        y : ignored
            There for pipelines.
        lengths : array-like of shape (S,), int, optional
            Cuts one run of symbols into S sequences.
        sample_weight : array-like of shape (S,), optional
            A weight per sequence: 2 is the same as the sequence twice, 0 as no sequence.

        Returns
        -------
        self : MarkovChain
            The model itself, fitted.

        Raises
        ------
        ValueError
            If a sequence is shorter than the order, there is none at all, a symbol is missing
            (NaN), or a parameter or argument is out of its range. Empty sequences are passed over.
        TypeError
            If symbols cannot be hashed.
        """
        return self._accumulate(sequences, lengths, sample_weight, None)

    @fitting
    def partial_fit(self, sequences, y=None, *, lengths=None, sample_weight=None):
        """Add the counts of more sequences.

        Parameters
        ----------
        sequences : array, str, list of sequences, or iterable of sequences
            As in ``fit``. New symbols get new states.
        y : ignored
            There for pipelines.
        lengths : array-like of shape (S,), int, optional
            As in ``fit``.
        sample_weight : array-like of shape (S,), optional
            As in ``fit``.

        Returns
        -------
        self : MarkovChain
            The same as one ``fit`` to all sequences so far would give.

        Raises
        ------
        ValueError
            As in ``fit``, and if ``order`` has changed.
        """
        return self._accumulate(sequences, lengths, sample_weight, self._counted())

    def _counted(self):
        """What ``counts_`` holds, as runs of codes: the state to go on from."""
        if "counts_" not in vars(self):
            return None
        if self.order != self._fitted_order:
            raise ValueError(
                f"MarkovChain: order must stay {self._fitted_order} in partial_fit, got "
                f"{self.order} (fit anew)"
            )
        windows = decoded(self._codes, len(self.classes_), self._window)
        state, symbol = np.nonzero(self.counts_)
        first = np.flatnonzero(self.start_counts_)
        return (
            Grams(np.column_stack([windows[state], symbol]), self.counts_[state, symbol]),
            Grams(windows[first], self.start_counts_[first]),
            Grams(windows[self._seen], np.zeros(int(self._seen.sum()))),
            self._symbol_counts,
        )

    def _accumulate(self, sequences, lengths, sample_weight, before):
        order = int(self.order)
        n = max(order, 1)
        table = SymbolTable(() if self.classes is None else self.classes)
        if before is None:
            nothing = Grams(np.empty((0, n), dtype=np.int64), np.empty(0))
            moves = Grams(np.empty((0, n + 1), dtype=np.int64), np.empty(0))
            starts, windows, symbols = nothing, nothing, np.zeros(0)
        else:
            table = SymbolTable([*self.classes_.tolist(), *table.codes])
            moves, starts, windows, symbols = before
        position = 0
        for batch in read(sequences, lengths, sample_weight, table=table, grow=True):
            self._refuse_short(batch, n, position)
            moves = add_grams(moves, count_grams(batch, n + 1))
            starts = add_grams(starts, count_starts(batch, n))
            windows = add_grams(windows, count_grams(batch, n))
            found = count_grams(batch, 1)
            total = np.zeros(len(table.codes))
            total[: len(symbols)] = symbols
            total[found.rows[:, 0]] += found.counts
            symbols = total
            position += len(batch.lengths)
        if not starts.counts.sum() > 0:
            raise ValueError(
                "MarkovChain: sequences must have at least one symbol and weight above 0, got none"
            )
        self.classes_, rank = table.classes()
        self._symbol_counts = np.zeros(len(rank))
        self._symbol_counts[rank[: len(symbols)]] = symbols
        self._window, self._fitted_order = n, order
        self._tabulate(
            Grams(rank[moves.rows], moves.counts),
            Grams(rank[starts.rows], starts.counts),
            rank[windows.rows],
        )
        return self

    def _refuse_short(self, batch: Batch, n: int, position: int) -> None:
        short = (batch.lengths > 0) & (batch.lengths < n)
        if batch.weights is not None:
            short &= batch.weights > 0
        if short.any():
            place = int(short.argmax())
            raise ValueError(
                f"MarkovChain: sequences must have at least {n} symbols for order {n}, got "
                f"{batch.lengths[place]} in sequence {position + place} (leave it out or lower "
                f"order)"
            )

    def _tabulate(self, moves: Grams, starts: Grams, windows: np.ndarray) -> None:
        """States, counts and probabilities from runs of class indices."""
        M, n = len(self.classes_), self._window
        prior = _prior(self.smoothing, M, self._fitted_order)
        has_prior = bool(np.any(prior > 0))
        _refuse_large(M, n, all_windows=n == 1 or has_prior)
        heads, seen = encoded(moves.rows[:, :n], M), encoded(windows, M)
        if n == 1 or has_prior:
            codes = np.arange(M**n, dtype=np.int64)
        else:
            codes = _closed(np.unique(seen), np.unique(heads), M, n)
        self._keep_states(codes)
        K = len(codes)
        self._seen = np.zeros(K, dtype=bool)
        self._seen[self._rows_of(seen)] = True
        self.counts_ = np.zeros((K, M))
        self.counts_[self._rows_of(heads), moves.rows[:, n]] = moves.counts
        self.start_counts_ = np.zeros(K)
        self.start_counts_[self._rows_of(encoded(starts.rows, M))] = starts.counts
        start = self.start_smoothing
        if start is None:
            start = self.smoothing if rule.is_real(self.smoothing) else 0.0
        if self._fitted_order == 0:
            pooled = self._symbol_counts + prior
            self.transmat_ = np.tile(pooled / pooled.sum(), (K, 1))
            self.startprob_ = self.transmat_[0].copy()
            return
        self.transmat_ = self.counts_ + prior
        totals = self.transmat_.sum(axis=1)
        self.transmat_[totals == 0, codes[totals == 0] % M] = 1.0
        self.transmat_ /= np.where(totals == 0, 1.0, totals)[:, None]
        self.startprob_ = self.start_counts_ + start * M / K
        self.startprob_ /= self.startprob_.sum()

    def _keep_states(self, codes: np.ndarray) -> None:
        self._codes = codes
        if self._window == 1:
            self.states_ = self.classes_
            return
        symbols = self.classes_.tolist()
        rows = decoded(codes, len(symbols), self._window).tolist()
        self.states_ = np.empty(len(codes), dtype=object)
        self.states_[:] = [tuple(symbols[j] for j in row) for row in rows]

    @classmethod
    def from_matrix(cls, transmat, startprob=None, *, classes=None, order=1, random_state=None):
        """Make a chain of given probabilities.

        Parameters
        ----------
        transmat : array-like of shape (M**order, M)
            Rows sum to one. For order n > 1 row ``i`` belongs to the i-th tuple of n symbols in
            lexicographic order, as ``itertools.product(classes, repeat=n)`` gives them.
        startprob : array-like of shape (M**order,), optional
            Distribution of the first state; uniform when left out.
        classes : sequence of M symbols, optional
            Names; 0, ..., M - 1 when left out.
        order : int, default=1
            n, at least 1.
        random_state : int, RandomState, Generator or None, default=None
            Which random numbers `sample` takes.

        Returns
        -------
        chain : MarkovChain
            As if fitted, without counts.

        Raises
        ------
        ValueError
            If shapes do not fit or something is no distribution.

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
        p = np.full(K, 1.0 / K)
        if startprob is not None:
            p = as_numbers(startprob, "startprob", "MarkovChain")
        _refuse_no_distribution(A, "transmat")
        if p.shape != (K,):
            raise ValueError(f"MarkovChain: startprob must have shape ({K},), got {p.shape}")
        _refuse_no_distribution(p, "startprob")
        names = list(range(M))
        if classes is not None:
            names = as_list(classes) if np.iterable(classes) else []
        if len(SymbolTable(names).codes) != M or len(names) != M:
            raise ValueError(
                f"MarkovChain: classes must be {M} different symbols, one per column of transmat, "
                f"got {shown(classes)}"
            )
        chain = cls(order, random_state=random_state)
        chain.classes_ = symbol_array(names)
        chain._window = chain._fitted_order = int(order)
        chain._keep_states(np.arange(K, dtype=np.int64))
        chain.transmat_, chain.startprob_ = A, p
        return chain

    # --- what the bases ask for ---

    def _matrix(self):
        from scipy import sparse

        check_is_fitted(self, "transmat_")
        K, M = self.transmat_.shape
        if self._window == 1:
            return sparse.csr_array(self.transmat_)
        state, symbol = np.nonzero(self.transmat_)
        after = self._codes[state] % M ** (self._window - 1) * M + symbol
        return sparse.csr_array(
            (self.transmat_[state, symbol], (state, self._rows_of(after))), shape=(K, K)
        )

    def _rows_of(self, codes: np.ndarray) -> np.ndarray:
        """Rows of windows given as codes; -1 for those that are no state."""
        if len(self._codes) == len(self.classes_) ** self._window:
            return codes
        rows = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[rows] == codes, rows, -1)

    def _derived(self, transmat, startprob):
        return type(self).from_matrix(
            transmat, startprob, classes=self.states_, random_state=self.random_state
        )

    def _index(self) -> dict[Any, int]:
        return {state: i for i, state in enumerate(self.states_.tolist())}

    def _places(self, states):
        check_is_fitted(self, "transmat_")
        many = isinstance(states, list | set | frozenset | np.ndarray)
        wanted = as_list(states) if many else [states]
        index, symbols = self._index(), self.classes_.tolist()
        places: list[int] = []
        for state in wanted:
            if state in index:
                places.append(index[state])
            elif self._window > 1 and state in symbols:
                last = self._codes % len(symbols)
                places.extend(np.flatnonzero(last == symbols.index(state)).tolist())
            else:
                raise ValueError(
                    f"MarkovChain: targets must be among the {len(index)} of states_, got {state!r}"
                )
        if not places:
            raise ValueError("MarkovChain: targets must name at least one state, got none")
        return np.unique(places)

    def _distribution(self, start):
        check_is_fitted(self, "transmat_")
        if start is None:
            return self.startprob_
        K = len(self.states_)
        try:
            place = self._index().get(start)
        except TypeError:  # arrays, lists and Series cannot be hashed, as states can
            p = as_numbers(start, "start", "MarkovChain")
            if p.shape != (K,):
                raise ValueError(
                    f"MarkovChain: start must have shape ({K},), got {p.shape}"
                ) from None
            _refuse_no_distribution(p, "start")
            return p
        if place is None:
            raise ValueError(
                f"MarkovChain: start must be a state or a distribution over the {K} states, got "
                f"{start!r}"
            )
        p = np.zeros(K)
        p[place] = 1.0
        return p


def _closed(codes: np.ndarray, left: np.ndarray, M: int, n: int) -> np.ndarray:
    """Windows and those that follow where none was seen to: the last symbol repeated."""
    new = np.setdiff1d(codes, left, assume_unique=True)
    for _ in range(n - 1):
        new = np.setdiff1d(np.unique(new % M ** (n - 1) * M + new % M), codes)
        codes = np.union1d(codes, new)
    return codes


def _prior(smoothing: Any, M: int, order: int) -> np.ndarray:
    """Pseudo-counts as a number, a row, or for order 1 a square matrix."""
    prior = as_numbers(smoothing, "smoothing", "MarkovChain")
    shapes = [(), (M,)] + ([(M, M)] if order == 1 else [])
    if prior.shape not in shapes or not np.isfinite(prior).all() or (prior < 0).any():
        raise ValueError(
            f"MarkovChain: smoothing must be a number of at least 0 or an array of these of shape "
            f"{' or '.join(map(str, shapes[1:]))}, got shape {prior.shape}"
        )
    return prior


def _refuse_large(M: int, n: int, all_windows: bool) -> None:
    if M**n >= 2**62 or (all_windows and M ** (n + 1) > _MOST_ENTRIES):
        raise ValueError(
            f"MarkovChain: order must be lower for {M} symbols, got {n} (a table of {float(M):g}"
            f"**{n + 1} entries; smoothing = 0 keeps only states that occur, fewer symbols help)"
        )


def _refuse_no_distribution(p: np.ndarray, name: str) -> None:
    if not (p >= 0).all():  # NaN is refused too
        raise ValueError(f"MarkovChain: {name} must be at least 0 everywhere, got {p.min():g}")
    sums = np.atleast_1d(p.sum(axis=-1))
    worst = int(abs(sums - 1).argmax())
    if not abs(sums[worst] - 1) <= _SUM_TOLERANCE:
        where = f" in row {worst}" if p.ndim == 2 else ""
        raise ValueError(
            f"MarkovChain: {name} must sum to 1, got {sums[worst]:.10g}{where} (divide by the sum)"
        )
