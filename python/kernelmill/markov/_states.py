"""The states of a chain: their rows, their transitions, and which can reach which.

Which states reach which is a question about the graph of positive transitions, so the answers are
exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._docstrings import Documented
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._validation import SUM_TOLERANCE, as_numbers
from kernelmill.markov._symbols import as_list
from kernelmill.markov._words import WORDS


class CommunicatingClass(NamedTuple):
    """States that can all reach each other.

    Attributes
    ----------
    states : list
        The states, in the order of ``states_``.
    recurrent : bool
        Whether the chain never leaves the class.
    period : int
        Greatest common divisor of the lengths of all loops; 0 for a single state that never
        returns.
    """

    states: list[Any]
    recurrent: bool
    period: int


class ChainStates(Documented):
    """States as rows of the transition matrix, and their communicating classes.

    A state is a window of the last ``_window`` symbols, stored as an integer in ``_codes``.
    """

    _words = WORDS
    # Set by MarkovChain.
    classes_: Any
    states_: Any
    startprob_: Any
    transmat_: Any
    random_state: Any
    _codes: Any
    _window: int
    from_matrix: Any

    def _matrix(self) -> Any:
        """P as a CSR matrix of shape (K, K) without stored zeros."""
        from scipy import sparse

        check_is_fitted(self, "transmat_")
        K = len(self.transmat_)
        if self._window == 1:
            return sparse.csr_array(self.transmat_)
        state, symbol = np.nonzero(self.transmat_)
        after = self._rows_after(state, symbol)
        return sparse.csr_array((self.transmat_[state, symbol], (state, after)), shape=(K, K))

    def _rows_after(self, state: np.ndarray, symbol: np.ndarray) -> np.ndarray:
        """Rows of the states that follow when these symbols come next."""
        M = len(self.classes_)
        return self._rows_of(self._codes[state] % M ** (self._window - 1) * M + symbol)

    def _rows_of(self, codes: np.ndarray) -> np.ndarray:
        """Rows of windows given as codes; -1 for those that are no state."""
        if len(self._codes) == len(self.classes_) ** self._window:
            return codes
        rows = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[rows] == codes, rows, -1)

    def _index(self) -> dict[Any, int]:
        return {state: i for i, state in enumerate(self.states_.tolist())}

    def _rows_of_targets(self, targets: Any) -> np.ndarray:
        """Rows of target states; a symbol stands for all states that end with it."""
        check_is_fitted(self, "transmat_")
        index, symbols = self._index(), self.classes_.tolist()
        try:
            one = targets in index or not isinstance(targets, frozenset)
        except TypeError:  # lists, sets, arrays and Series cannot be hashed, as states can
            one = False
        wanted = [targets] if one else as_list(targets)
        rows: list[int] = []
        for state in wanted:
            if state in index:
                rows.append(index[state])
            elif self._window > 1 and state in symbols:
                last = self._codes % len(symbols)
                rows.extend(np.flatnonzero(last == symbols.index(state)).tolist())
            else:
                raise ValueError(
                    f"MarkovChain: targets must be in states_, got {state!r} (pass a list for "
                    f"several states)"
                )
        if not rows:
            raise ValueError("MarkovChain: targets must name at least one state, got none")
        return np.unique(rows)

    def _start_distribution(self, start: Any) -> np.ndarray:
        """A distribution over the states from a state, probabilities or None."""
        check_is_fitted(self, "transmat_")
        if start is None:
            return self.startprob_
        K = len(self.states_)
        try:
            row = self._index().get(start)
        except TypeError:  # arrays, lists and Series cannot be hashed, as states can
            return checked_distribution(start, "start", (K,))
        if row is None:
            raise ValueError(
                f"MarkovChain: start must be a state or a distribution over the {K} states, got "
                f"{start!r}"
            )
        return np.eye(1, K, row)[0]

    # --- classes ---

    def communicating_classes(self) -> list[CommunicatingClass]:
        """Find the classes of states that reach each other.

        Returns
        -------
        classes : list of CommunicatingClass
            In the order of their first states, each with ``states``, ``recurrent`` and ``period``.

        Notes
        -----
        A class is recurrent if no transition leaves it, else transient. The period is
        ``gcd{n >= 1 : (P^n)_ii > 0}``, the same for all states of a class. Cost proportional to the
        number of positive transitions.

        References
        ----------
        Denardo (1977), "Periods of connected networks and powers of nonnegative matrices".

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.5, 0.5, 0], [0, 0, 1], [0, 1, 0]])
        >>> for group in chain.communicating_classes():
        ...     print(group.states, group.recurrent, group.period)
        [0] False 1
        [1, 2] True 2
        """
        P = self._matrix()
        classes = classes_of(P)
        return [
            CommunicatingClass(
                self.states_[members].tolist(), bool(recurrent), period_of(P[members][:, members])
            )
            for members, recurrent in zip(classes.members, classes.recurrent, strict=True)
        ]

    def is_irreducible(self) -> bool:
        """Tell whether every state reaches every other.

        Returns
        -------
        bool
            True if there is one communicating class.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0, 1]]).is_irreducible()
        False
        """
        return len(classes_of(self._matrix()).members) == 1

    def is_ergodic(self) -> bool:
        """Tell whether the chain forgets where it started.

        Returns
        -------
        bool
            True if there is one recurrent class and its period is 1: the n-step distribution then
            converges to the stationary one from every start.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0, 1]]).is_ergodic()
        True
        >>> MarkovChain.from_matrix([[0, 1], [1, 0]]).is_ergodic()
        False
        """
        recurrent = [group for group in self.communicating_classes() if group.recurrent]
        return len(recurrent) == 1 and recurrent[0].period == 1

    def _check_irreducible(self, P: Any, purpose: str, hint: str) -> None:
        count = len(classes_of(P).members)
        if count > 1:
            raise ValueError(
                f"MarkovChain: transmat_ must be irreducible for {purpose}, got {count} "
                f"communicating classes ({hint})"
            )


def checked_distribution(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities as float64 of this shape, divided by their sums."""
    p = as_numbers(value, name, "MarkovChain")
    if p.shape != shape:
        raise ValueError(f"MarkovChain: {name} must have shape {shape}, got {p.shape}")
    if not (p >= 0).all():  # NaN is refused too
        raise ValueError(
            f"MarkovChain: {name} must be at least 0 everywhere, got {shown(float(p.min()))}"
        )
    sums = p.sum(axis=-1, keepdims=True)
    worst = int(abs(sums - 1).argmax())
    if not abs(sums.flat[worst] - 1) <= SUM_TOLERANCE:
        where = f" in row {worst}" if p.ndim == 2 else ""
        raise ValueError(
            f"MarkovChain: {name} must sum to 1, got {sums.flat[worst]:.10g}{where} (divide by the "
            f"sum)"
        )
    return p / sums


# --- the graph of positive transitions -----------------------------------------------------------


class Classes(NamedTuple):
    """Communicating classes, in the order of their first states.

    Attributes
    ----------
    label : ndarray of shape (K,), int64
        Class of each state.
    members : list of ndarray
        States of each class, ascending.
    recurrent : ndarray of shape (C,), bool
        Whether no transition leaves the class.
    """

    label: np.ndarray
    members: list[np.ndarray]
    recurrent: np.ndarray

    @property
    def transient_states(self) -> np.ndarray:
        """Mask of the states whose class is left for good."""
        return ~self.recurrent[self.label]


def classes_of(P: Any) -> Classes:
    """Strongly connected components of a CSR matrix, in the order of their first states."""
    from scipy.sparse.csgraph import connected_components

    count, raw = connected_components(P, directed=True, connection="strong")
    _, first = np.unique(raw, return_index=True)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(count)
    label = rank[raw]
    order = np.argsort(label, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1])
    recurrent = np.ones(count, dtype=bool)
    edges = P.tocoo()
    leaving = label[edges.row] != label[edges.col]
    recurrent[label[edges.row[leaving]]] = False
    return Classes(label, members, recurrent)


def period_of(P: Any) -> int:
    """Greatest common divisor of the loop lengths of a strongly connected CSR matrix."""
    from scipy.sparse.csgraph import dijkstra

    edges = P.tocoo()
    if not edges.nnz:
        return 0
    level = dijkstra(P, directed=True, indices=0, unweighted=True)
    # Every loop is a sum of such differences, and each difference one of two loops (Denardo 1977).
    return int(np.gcd.reduce((level[edges.row] + 1 - level[edges.col]).astype(np.int64)))


def reaching(P: Any, targets: np.ndarray, blocked: np.ndarray | None = None) -> np.ndarray:
    """Which states have a path to a target, without passing through blocked states."""
    from scipy import sparse
    from scipy.sparse.csgraph import dijkstra

    if not targets.any():
        return targets
    if blocked is not None:
        P = sparse.diags_array((~blocked).astype(np.float64)) @ P
        P.eliminate_zeros()
    sources = np.flatnonzero(targets)
    return np.isfinite(dijkstra(P.T.tocsr(), indices=sources, unweighted=True, min_only=True))


def hits_of(P: Any, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which states are targets, which of the others hit them perhaps, and which surely."""
    target = np.zeros(P.shape[0], dtype=bool)
    target[places] = True
    can = reaching(P, target)
    # Hitting is not sure where a state that cannot hit may come first.
    doubtful = reaching(P, ~can, blocked=target)
    return target, can & doubtful & ~target, can & ~doubtful & ~target
