"""What a transition matrix implies: classes, stationary laws, hitting, absorption, reversal."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernelmill.markov._elimination import eliminate
from kernelmill.markov._graph import classes_of, fates_of, period_of, reaching, sums


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


class ChainStructure:
    """The questions that a transition matrix answers; `MarkovChain` adds where it comes from.

    States are named by their labels in ``states_``; results stand in the order of ``states_``.
    """

    # What MarkovChain provides.
    states_: Any
    startprob_: Any

    def _matrix(self) -> Any:
        """P as a CSR matrix of shape (K, K) without stored zeros."""
        raise NotImplementedError

    def _places(self, states: Any) -> np.ndarray:
        """Indices of states, or of what stands for several."""
        raise NotImplementedError

    def _distribution(self, start: Any) -> np.ndarray:
        """A distribution over states from ``start``."""
        raise NotImplementedError

    def _derived(self, transmat: np.ndarray, startprob: np.ndarray) -> Any:
        """A first-order chain on the same states."""
        raise NotImplementedError

    # --- classes ---

    def communicating_classes(self) -> list[CommunicatingClass]:
        """Find the classes of states that reach each other.

        Returns
        -------
        classes : list of CommunicatingClass
            In the order of their first states, each with ``states``, ``recurrent`` and ``period``.

        Notes
        -----
        A class is recurrent when no transition leaves it (finite chains), else transient. The
        period is ``gcd{n >= 1 : (P^n)_ii > 0}``, the same for all states of a class. Cost
        proportional to the number of positive transitions.

        References
        ----------
        Norris (1997), "Markov chains", sections 1.2, 1.5 and 1.8. Denardo (1977), "Periods of
        connected networks and powers of nonnegative matrices".

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.5, 0.5, 0], [0, 0, 1], [0, 1, 0]])
        >>> for found in chain.communicating_classes():
        ...     print(found.states, found.recurrent, found.period)
        [0] False 1
        [1, 2] True 2
        """
        P = self._matrix()
        found = classes_of(P)
        return [
            CommunicatingClass(
                self.states_[members].tolist(),
                bool(found.recurrent[c]),
                period_of(P[members][:, members]),
            )
            for c, members in enumerate(found.members)
        ]

    def is_irreducible(self) -> bool:
        """Tell whether every state reaches every other.

        Returns
        -------
        bool
            True where there is one communicating class.
        """
        return len(classes_of(self._matrix()).members) == 1

    def is_ergodic(self) -> bool:
        """Tell whether the chain forgets where it started.

        Returns
        -------
        bool
            True where there is one recurrent class, of period 1: then the n-step distribution tends
            to the stationary one from every start.
        """
        classes = [found for found in self.communicating_classes() if found.recurrent]
        return len(classes) == 1 and classes[0].period == 1

    # --- long run ---

    def stationary_distributions(self) -> np.ndarray:
        """Give every extreme stationary distribution, one per recurrent class.

        Returns
        -------
        pi : ndarray of shape (R, K), float64
            Rows with ``pi P = pi``, in the order of the recurrent classes; every stationary
            distribution is a mixture of them.

        Notes
        -----
        Periodic chains have them too. Found class by class by elimination without subtractions:
        the relative error of every entry is about the rounding errors of as many operations as the
        class has states, whatever the condition of P. Above 4096 states in a class sparse LU is
        used, which keeps this for the largest entries only. Cost 2 k^3 / 3 flops for k states.

        References
        ----------
        Grassmann, Taksar, Heyman (1985), "Regenerative analysis and steady state distributions for
        Markov chains". O'Cinneide (1993), "Entrywise perturbation theory and error analysis for
        Markov chains".

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0, 1, 0], [1, 0, 0], [0, 0, 1]]).stationary_distributions()
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
        """
        P = self._matrix()
        found = classes_of(P)
        pi = np.zeros((int(found.recurrent.sum()), P.shape[0]))
        for row, c in enumerate(np.flatnonzero(found.recurrent)):
            members = found.members[c]
            block = P[members][:, members]
            pi[row, members] = eliminate(block, np.zeros(len(members))).stationary()
        return pi

    def stationary_distribution(self) -> np.ndarray:
        """Give the stationary distribution where there is one only.

        Returns
        -------
        pi : ndarray of shape (K,), float64
            ``pi P = pi``.

        Raises
        ------
        ValueError
            If there are several recurrent classes, so many mixtures are stationary.
        """
        pi = self.stationary_distributions()
        if len(pi) > 1:
            raise ValueError(
                f"MarkovChain: transmat_ must have one recurrent class for one stationary "
                f"distribution, got {len(pi)} (see stationary_distributions and "
                f"long_run_distribution)"
            )
        return pi[0]

    def long_run_distribution(self, start: Any = None) -> np.ndarray:
        """Give the shares of time spent in each state in the long run.

        Parameters
        ----------
        start : state, array-like of shape (K,), or None
            A state, a distribution over states, or ``startprob_`` when left out.

        Returns
        -------
        share : ndarray of shape (K,), float64
            ``lim (1/n) sum_{m<n} start P^m``: the mean of the stationary distributions, weighted
            with the probabilities to end in their classes. It exists for periodic chains too.
        """
        return (
            self._distribution(start)
            @ self.absorption_probabilities()
            @ (self.stationary_distributions())
        )

    def entropy_rate(self, base: float | None = None) -> float:
        """Give the entropy of the next symbol, once the chain has run for long.

        Parameters
        ----------
        base : float, optional
            Of the logarithm: 2 gives bits; nats when left out.

        Returns
        -------
        rate : float
            ``-sum_i pi_i sum_j P_ij log P_ij`` with pi the `long_run_distribution`.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0.5, 0.5]]).entropy_rate(base=2)
        1.0
        """
        P = self._matrix()
        terms = P.copy()
        terms.data = -P.data * np.log(P.data)
        rate = float(self.long_run_distribution() @ np.asarray(terms.sum(axis=1)).ravel())
        return max(rate, 0.0) if base is None else max(rate, 0.0) / float(np.log(base))

    def mean_return_times(self) -> np.ndarray:
        """Give the mean number of steps until each state is visited again.

        Returns
        -------
        steps : ndarray of shape (K,), float64
            ``1 / pi_i`` with pi the stationary distribution of the state's class (Kac), inf for
            transient states, to which a return is not sure.
        """
        share = self.stationary_distributions().sum(axis=0)
        with np.errstate(divide="ignore", over="ignore"):
            return 1.0 / share

    def fundamental_matrix(self) -> np.ndarray:
        """Give Kemeny and Snell's matrix Z of an irreducible chain.

        Returns
        -------
        Z : ndarray of shape (K, K), float64
            ``(I - P + 1 pi)^-1``; ``(Z_jj - Z_ij) / pi_j`` is the mean time to hit j from i.

        Raises
        ------
        ValueError
            If there are several communicating classes (see `expected_visits` for these).

        Notes
        -----
        ``Z - 1 pi = (I - 1 pi) T (I - 1 pi)`` with T the expected visits before the first state is
        hit, which elimination finds without subtractions (Meyer's group inverse). Cost about 3 K^3
        flops.

        References
        ----------
        Kemeny, Snell (1960), "Finite Markov chains", chapter 4. Meyer (1975), "The role of the
        group generalized inverse in the theory of finite Markov chains".
        """
        P = self._matrix()
        if len(classes_of(P).members) > 1:
            raise ValueError(
                "MarkovChain: transmat_ must be irreducible for a fundamental matrix, got several "
                "communicating classes (expected_visits has the one of transient states)"
            )
        K = P.shape[0]
        pi = self.stationary_distributions()[0]
        visits = np.zeros((K, K))
        if K > 1:
            leave = P[1:, [0]].toarray().ravel()
            visits[1:, 1:] = eliminate(P[1:, 1:], leave).solve(np.eye(K - 1))
        centred = visits - pi @ visits
        return centred - (centred @ np.ones(K))[:, None] * pi + pi

    def kemeny_constant(self) -> float:
        """Give the mean time to hit a state drawn from the stationary distribution.

        Returns
        -------
        steps : float
            ``sum_j pi_j E_i[H_j]``, which is the same for every start i: ``trace(Z) - 1``.

        Raises
        ------
        ValueError
            If the chain is not irreducible.
        """
        return float(np.trace(self.fundamental_matrix()) - 1)

    # --- n steps ---

    def n_step_transmat(self, n: int) -> np.ndarray:
        """Give the transition probabilities over n steps.

        Parameters
        ----------
        n : int
            At least 0.

        Returns
        -------
        power : ndarray of shape (K, K), float64
            ``P^n``.

        Notes
        -----
        By repeated squaring, each result's rows divided by their sums: so errors do not grow with
        n. Cost up to 4 K^3 log2 n flops.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0, 1], [0.5, 0.5]]).n_step_transmat(2)
        array([[0.5 , 0.5 ],
               [0.25, 0.75]])
        """
        square = self._matrix().toarray()
        power = np.eye(len(square))
        n = _steps(n)
        while n:
            if n & 1:
                power = _stochastic(power @ square)
            n >>= 1
            if n:
                square = _stochastic(square @ square)
        return power

    def distribution(self, n: int, start: Any = None) -> np.ndarray:
        """Give the distribution of the state after n steps.

        Parameters
        ----------
        n : int
            At least 0.
        start : state, array-like of shape (K,), or None
            A state, a distribution over states, or ``startprob_`` when left out.

        Returns
        -------
        p : ndarray of shape (K,), float64
            ``start P^n``.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.5, 0.5]], classes=["sun", "rain"])
        >>> chain.distribution(2, start="rain").round(6)
        array([0.7, 0.3])
        """
        p = self._distribution(start)
        P = self._matrix()
        n = _steps(n)
        # A step costs the positive transitions, squaring K^3.
        if n * P.nnz <= 4.0 * P.shape[0] ** 3 * max(n.bit_length(), 1):
            for _ in range(n):
                p = p @ P
                p = p / p.sum()
            return p
        return p @ self.n_step_transmat(n)

    # --- hitting and absorption ---

    def hitting_probabilities(self, targets: Any) -> np.ndarray:
        """Give the probability ever to visit one of some states, from each state.

        Parameters
        ----------
        targets : state, or list of states
            A chain of order n > 1 also takes symbols: all states that end with them.

        Returns
        -------
        h : ndarray of shape (K,), float64
            The least solution of ``h_i = 1`` on targets, ``h_i = sum_j P_ij h_j`` elsewhere, that
            is not negative. Exactly 1 where hitting is sure and 0 where it is impossible.

        Raises
        ------
        ValueError
            If a target is no state.

        References
        ----------
        Norris (1997), "Markov chains", theorem 1.3.2. Alfa, Xue, Ye (2002), "Accurate computation
        of the smallest eigenvalue of a diagonally dominant M-matrix", for the digits of tiny ones.

        Examples
        --------
        A gambler with 2 of 4 coins, who wins each round with probability 0.4, is ruined with
        probability ``1 / (1 + (0.4 / 0.6)**2)``.

        >>> import numpy as np
        >>> from kernelmill.markov import MarkovChain
        >>> P = np.zeros((5, 5))
        >>> P[0, 0] = P[4, 4] = 1
        >>> for i in (1, 2, 3):
        ...     P[i, i + 1], P[i, i - 1] = 0.4, 0.6
        >>> round(MarkovChain.from_matrix(P).hitting_probabilities(0)[2], 6)
        0.692308
        """
        P = self._matrix()
        target, unsure, sure = fates_of(P, self._places(targets))
        h = (target | sure).astype(np.float64)
        inside = np.flatnonzero(unsure)
        if len(inside):
            rows = P[inside]
            into = sums(rows, np.flatnonzero(target | sure))
            leave = sums(rows, np.flatnonzero(~unsure))
            # Rounding may carry a probability next to 1 over it.
            h[inside] = np.minimum(eliminate(rows[:, inside], leave).solve(into), 1.0)
        return h

    def hitting_times(self, targets: Any) -> np.ndarray:
        """Give the mean number of steps until one of some states is visited, from each state.

        Parameters
        ----------
        targets : state, or list of states
            As in `hitting_probabilities`.

        Returns
        -------
        k : ndarray of shape (K,), float64
            The least solution of ``k_i = 0`` on targets, ``k_i = 1 + sum_j P_ij k_j`` elsewhere,
            that is not negative: inf where hitting is not sure.

        Raises
        ------
        ValueError
            If a target is no state, or times pass the range of floats (1.8e308).

        References
        ----------
        Norris (1997), "Markov chains", theorem 1.3.5.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]])
        >>> chain.hitting_times(2)
        array([3., 1., 0.])
        """
        P = self._matrix()
        target, _, sure = fates_of(P, self._places(targets))
        k = np.where(target, 0.0, np.inf)
        inside = np.flatnonzero(sure)
        if len(inside):
            rows = P[inside]
            leave = sums(rows, np.flatnonzero(~sure))
            k[inside] = eliminate(rows[:, inside], leave).solve(np.ones(len(inside)))
        return k

    def absorption_probabilities(self) -> np.ndarray:
        """Give the probability to end in each recurrent class, from each state.

        Returns
        -------
        B : ndarray of shape (K, R), float64
            Columns in the order of the recurrent classes of `communicating_classes`; rows sum to
            one.

        Notes
        -----
        ``(I - Q) B = R`` with Q the transitions among transient states and R those into each class.

        References
        ----------
        Kemeny, Snell (1960), "Finite Markov chains", section 3.3.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0, 0.2, 0.8], [0, 1, 0], [0, 0, 1]])
        >>> chain.absorption_probabilities()
        array([[0.2, 0.8],
               [1. , 0. ],
               [0. , 1. ]])
        """
        P = self._matrix()
        found = classes_of(P)
        kinds = np.flatnonzero(found.recurrent)
        B = (found.label[:, None] == kinds).astype(np.float64)
        inside = np.flatnonzero(~found.recurrent[found.label])
        if len(inside):
            rows = P[inside]
            into = np.column_stack([sums(rows, found.members[c]) for c in kinds])
            B[inside] = eliminate(rows[:, inside], into.sum(axis=1)).solve(into)
            B[inside] /= B[inside].sum(axis=1, keepdims=True)
        return B

    def absorption_times(self) -> np.ndarray:
        """Give the mean number of steps spent in transient states, from each state.

        Returns
        -------
        steps : ndarray of shape (K,), float64
            Until a recurrent class is entered; 0 in recurrent states.

        Notes
        -----
        Always finite: a finite chain leaves its transient states for good.
        """
        P = self._matrix()
        found = classes_of(P)
        steps = np.zeros(P.shape[0])
        inside = np.flatnonzero(~found.recurrent[found.label])
        if len(inside):
            rows = P[inside]
            leave = sums(rows, np.flatnonzero(found.recurrent[found.label]))
            steps[inside] = eliminate(rows[:, inside], leave).solve(np.ones(len(inside)))
        return steps

    def expected_visits(self) -> np.ndarray:
        """Give the mean number of visits to each state, from each state.

        Returns
        -------
        G : ndarray of shape (K, K), float64
            ``sum_{n>=0} P^n``, the start counted: the fundamental matrix ``(I - Q)^-1`` among
            transient states; for a recurrent state inf where it may be reached, else 0.

        References
        ----------
        Kemeny, Snell (1960), "Finite Markov chains", section 3.2.
        """
        P = self._matrix()
        K = P.shape[0]
        found = classes_of(P)
        recurrent = found.recurrent[found.label]
        G = np.zeros((K, K))
        for c in np.flatnonzero(found.recurrent):
            inside = np.zeros(K, dtype=bool)
            inside[found.members[c]] = True
            G[np.ix_(reaching(P, inside), found.members[c])] = np.inf
        inside = np.flatnonzero(~recurrent)
        if len(inside):
            rows = P[inside]
            factors = eliminate(rows[:, inside], sums(rows, np.flatnonzero(recurrent)))
            G[np.ix_(inside, inside)] = factors.solve(np.eye(len(inside)))
        return G

    # --- reversal ---

    def is_reversible(self, rtol: float = 1e-9) -> bool:
        """Tell whether the stationary chain looks the same backward.

        Parameters
        ----------
        rtol : float, default=1e-9
            Relative difference that the two sides may have.

        Returns
        -------
        bool
            Whether ``pi_i P_ij = pi_j P_ji`` for all i and j (detailed balance), in every recurrent
            class.

        References
        ----------
        Norris (1997), "Markov chains", section 1.9.
        """
        from scipy import sparse

        P = self._matrix()
        share = self.stationary_distributions().sum(axis=0)
        flow = sparse.csr_array(sparse.diags_array(share) @ P)
        flow.eliminate_zeros()
        gap = abs(flow - flow.T) - rtol * abs(flow).maximum(flow.T)
        return not gap.nnz or bool(gap.max() <= 0)

    def time_reversal(self) -> Any:
        """Give the chain that the stationary chain is when read backward.

        Returns
        -------
        chain : MarkovChain
            With ``P*_ij = pi_j P_ji / pi_i``, of order 1 on the same states, started from pi.

        Raises
        ------
        ValueError
            If the chain is not irreducible.

        References
        ----------
        Norris (1997), "Markov chains", theorem 1.9.1.
        """
        P = self._matrix()
        if len(classes_of(P).members) > 1:
            raise ValueError(
                "MarkovChain: transmat_ must be irreducible to be reversed, got several "
                "communicating classes (reverse the chain of one recurrent class)"
            )
        pi = self.stationary_distributions()[0]
        if not pi.all():
            raise ValueError(
                "MarkovChain: transmat_ must have a stationary distribution that float64 can tell "
                "from 0 to be reversed, got entries below 1e-308"
            )
        back = P.toarray().T * (pi / pi[:, None])
        return self._derived(_stochastic(back), pi)


def _stochastic(P: np.ndarray) -> np.ndarray:
    P /= P.sum(axis=1, keepdims=True)
    return P


def _steps(n: Any) -> int:
    if isinstance(n, bool | np.bool_) or not isinstance(n, int | np.integer) or n < 0:
        raise ValueError(f"MarkovChain: n must be a whole number of at least 0, got {n!r}")
    return int(n)
