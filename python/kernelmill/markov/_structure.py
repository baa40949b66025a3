"""What follows from a transition matrix: long run, n steps, hitting, absorption, reversal."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill.markov._elimination import eliminate
from kernelmill.markov._states import ChainStates, classes_of, hits_of, reaching


class ChainStructure(ChainStates):
    """Long-run behaviour, hitting, absorption and reversal, in the order of ``states_``."""

    # --- long run ---

    def stationary_distributions(self) -> np.ndarray:
        """Compute the stationary distribution of each recurrent class.

        Returns
        -------
        pi : ndarray of shape (R, K), float64
            Rows with ``pi P = pi``, in the order of the recurrent classes; every stationary
            distribution is a mixture of them. Periodic classes have one too.

        Notes
        -----
        Class by class, by elimination without subtractions (Grassmann, Taksar, Heyman): each entry
        has a relative error of about k roundings for a class of k states, whatever the condition
        of P. Classes of more than 4096 states are solved by sparse LU, which is as accurate for
        the largest entries only. Cost 2 k^3 / 3 flops.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0, 1, 0], [1, 0, 0], [0, 0, 1]]).stationary_distributions()
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
        """
        P = self._matrix()
        classes = classes_of(P)
        pi = np.zeros((int(classes.recurrent.sum()), P.shape[0]))
        for row, c in enumerate(np.flatnonzero(classes.recurrent)):
            members = classes.members[c]
            block = P[members][:, members]
            pi[row, members] = eliminate(block, np.zeros(len(members))).stationary()
        return pi

    def stationary_distribution(self) -> np.ndarray:
        """Compute the stationary distribution of a chain that has only one.

        Returns
        -------
        pi : ndarray of shape (K,), float64
            The solution of ``pi P = pi``.

        Raises
        ------
        ValueError
            If there are several recurrent classes: every mixture of theirs is stationary.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]]).stationary_distribution()
        array([0.8, 0.2])
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
        """Compute the long-run share of time spent in each state.

        Returns
        -------
        share : ndarray of shape (K,), float64
            ``lim (1/n) sum_{m<n} start P^m``: the stationary distributions, weighted by the
            probabilities of ending up in their classes. It exists for periodic chains too.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0, 0.2, 0.8], [0, 1, 0], [0, 0, 1]])
        >>> chain.long_run_distribution(start=0)
        array([0. , 0.2, 0.8])
        """
        endings = self._start_distribution(start) @ self.absorption_probabilities()
        return endings @ self.stationary_distributions()

    def entropy_rate(self, base: float | None = None) -> float:
        """Compute the long-run entropy per symbol.

        Parameters
        ----------
        base : float or None, default=None
            Base of the logarithm, above 1: 2 for bits; natural (nats) if None.

        Returns
        -------
        rate : float
            ``-sum_i pi_i sum_j P_ij log P_ij`` with pi the `long_run_distribution`.

        Raises
        ------
        ValueError
            If the base is out of its range.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0.5, 0.5]]).entropy_rate(base=2)
        1.0
        """
        if base is not None and not rule.real(1, above=True).accepts(base):
            raise ValueError(f"MarkovChain: base must be None or a number above 1, got {base!r}")
        P = self._matrix()
        P.data *= -np.log(P.data)
        rate = max(float(self.long_run_distribution() @ P.sum(axis=1)), 0.0)
        return rate if base is None else rate / float(np.log(base))

    def mean_return_times(self) -> np.ndarray:
        """Compute the mean number of steps until each state is visited again.

        Returns
        -------
        steps : ndarray of shape (K,), float64
            ``1 / pi_i`` with pi the stationary distribution of the state's class (Kac's formula);
            inf for transient states, which may never be visited again.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]]).mean_return_times()
        array([1.25, 5.  ])
        """
        share = self.stationary_distributions().sum(axis=0)
        with np.errstate(divide="ignore", over="ignore"):
            return 1.0 / share

    def fundamental_matrix(self) -> np.ndarray:
        """Compute the fundamental matrix Z of an irreducible chain.

        Returns
        -------
        Z : ndarray of shape (K, K), float64
            ``(I - P + 1 pi)^-1``; ``(Z_jj - Z_ij) / pi_j`` is the mean time to hit j from i.

        Raises
        ------
        ValueError
            If there are several communicating classes (see `expected_visits`).

        Notes
        -----
        ``Z - 1 pi = (I - 1 pi) T (I - 1 pi)`` with T the expected visits before the first state is
        hit, which elimination finds without subtractions. Cost about 3 K^3 flops.

        References
        ----------
        Kemeny, Snell (1960), "Finite Markov chains", chapter 4. Meyer (1975), "The role of the
        group generalized inverse in the theory of finite Markov chains".

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0.5, 0.5]]).fundamental_matrix()
        array([[1., 0.],
               [0., 1.]])
        """
        P = self._matrix()
        self._check_irreducible(P, "a fundamental matrix", "see expected_visits")
        K = P.shape[0]
        pi = self.stationary_distributions()[0]
        visits = np.zeros((K, K))
        visits[1:, 1:] = _solve_inside(P, np.arange(K) > 0, np.eye(K - 1))
        centred = visits - pi @ visits
        return centred - (centred @ np.ones(K))[:, None] * pi + pi

    def kemeny_constant(self) -> float:
        """Compute the mean time to hit a state drawn from the stationary distribution.

        Returns
        -------
        steps : float
            ``sum_j pi_j E_i[H_j] = trace(Z) - 1``, the same from every start i.

        Raises
        ------
        ValueError
            If the chain is not irreducible.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.5, 0.5], [0.5, 0.5]]).kemeny_constant()
        1.0
        """
        return float(np.trace(self.fundamental_matrix()) - 1)

    # --- n steps ---

    def n_step_transmat(self, n: int) -> np.ndarray:
        """Compute the transition probabilities over n steps.

        Returns
        -------
        power : ndarray of shape (K, K), float64
            ``P^n``.

        Notes
        -----
        By repeated squaring with rows divided by their sums, so that errors do not grow with n.
        Cost up to 4 K^3 log2 n flops.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0, 1], [0.5, 0.5]]).n_step_transmat(2)
        array([[0.5 , 0.5 ],
               [0.25, 0.75]])
        """
        square = self._matrix().toarray()
        power = np.eye(len(square))
        n = _checked_steps(n)
        while n:
            if n & 1:
                power = _row_stochastic(power @ square)
            n >>= 1
            if n:
                square = _row_stochastic(square @ square)
        return power

    def distribution(self, n: int, start: Any = None) -> np.ndarray:
        """Compute the distribution of the state after n steps.

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
        p = self._start_distribution(start)
        P = self._matrix()
        n = _checked_steps(n)
        # A step costs the positive transitions, squaring K^3.
        if n * P.nnz > 4.0 * P.shape[0] ** 3 * max(n.bit_length(), 1):
            return p @ self.n_step_transmat(n)
        for _ in range(n):
            p = p @ P
            p = p / p.sum()
        return p

    # --- hitting and absorption ---

    def hitting_probabilities(self, targets: Any) -> np.ndarray:
        """Compute the probability of ever visiting a set of states, from each state.

        Parameters
        ----------
        targets : state or list of states
            A chain of order n > 1 also takes symbols: all states that end with them.

        Returns
        -------
        h : ndarray of shape (K,), float64
            The least nonnegative solution of ``h_i = 1`` on targets, ``h_i = sum_j P_ij h_j``
            elsewhere (Norris, theorem 1.3.2). Exactly 1 if hitting is certain, 0 if impossible.

        Raises
        ------
        ValueError
            If a target is not a state.

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
        >>> MarkovChain.from_matrix(P).hitting_probabilities(0).round(3)
        array([1.   , 0.877, 0.692, 0.415, 0.   ])
        """
        P = self._matrix()
        target, unsure, sure = hits_of(P, self._rows_of_targets(targets))
        h = (target | sure).astype(np.float64)
        # Rounding may carry a probability next to 1 over it.
        h[unsure] = np.minimum(_solve_inside(P, unsure, P[unsure] @ h), 1.0)
        return h

    def hitting_times(self, targets: Any) -> np.ndarray:
        """Compute the mean number of steps until a set of states is visited, from each state.

        Parameters
        ----------
        targets : state or list of states
            As in `hitting_probabilities`.

        Returns
        -------
        k : ndarray of shape (K,), float64
            The least nonnegative solution of ``k_i = 0`` on targets, ``k_i = 1 + sum_j P_ij k_j``
            elsewhere (Norris, theorem 1.3.5): inf where hitting is not certain.

        Raises
        ------
        ValueError
            If a target is not a state, or times exceed the range of float64 (1.8e308).

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> chain = MarkovChain.from_matrix([[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]])
        >>> chain.hitting_times(2)
        array([3., 1., 0.])
        """
        P = self._matrix()
        target, _, sure = hits_of(P, self._rows_of_targets(targets))
        k = np.where(target, 0.0, np.inf)
        k[sure] = _solve_inside(P, sure, np.ones(int(sure.sum())))
        return k

    def absorption_probabilities(self) -> np.ndarray:
        """Compute the probability of ending up in each recurrent class, from each state.

        Returns
        -------
        B : ndarray of shape (K, R), float64
            Columns in the order of the recurrent classes of `communicating_classes`; rows sum to
            one.

        Notes
        -----
        ``(I - Q) B = R`` with Q the transitions among transient states and R those into each class
        (Kemeny and Snell, "Finite Markov chains", section 3.3).

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
        classes = classes_of(P)
        B = (classes.label[:, None] == np.flatnonzero(classes.recurrent)).astype(np.float64)
        inside = classes.transient_states
        B[inside] = _solve_inside(P, inside, P[inside] @ B)
        B[inside] /= B[inside].sum(axis=1, keepdims=True)
        return B

    def absorption_times(self) -> np.ndarray:
        """Compute the mean number of steps before a recurrent class is entered, from each state.

        Returns
        -------
        steps : ndarray of shape (K,), float64
            Always finite; 0 in recurrent states.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.75, 0.25], [0, 1]]).absorption_times()
        array([4., 0.])
        """
        P = self._matrix()
        inside = classes_of(P).transient_states
        steps = np.zeros(P.shape[0])
        steps[inside] = _solve_inside(P, inside, np.ones(int(inside.sum())))
        return steps

    def expected_visits(self) -> np.ndarray:
        """Compute the mean number of visits to each state, from each state.

        Returns
        -------
        G : ndarray of shape (K, K), float64
            ``sum_{n>=0} P^n``, the start included: the fundamental matrix ``(I - Q)^-1`` among
            transient states; for a recurrent state inf if it can be reached, else 0.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.75, 0.25], [0, 1]]).expected_visits()
        array([[ 4., inf],
               [ 0., inf]])
        """
        P = self._matrix()
        classes = classes_of(P)
        G = np.zeros(P.shape)
        for c in np.flatnonzero(classes.recurrent):
            G[np.ix_(reaching(P, classes.label == c), classes.members[c])] = np.inf
        inside = classes.transient_states
        G[np.ix_(inside, inside)] = _solve_inside(P, inside, np.eye(int(inside.sum())))
        return G

    # --- reversal ---

    def is_reversible(self, rtol: float = 1e-9) -> bool:
        """Tell whether the stationary chain has the same law backward in time.

        Parameters
        ----------
        rtol : float, default=1e-9
            Relative tolerance of the comparison.

        Returns
        -------
        bool
            Whether ``pi_i P_ij = pi_j P_ji`` for all i and j (detailed balance), in every recurrent
            class.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]]).is_reversible()
        True
        >>> MarkovChain.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]]).is_reversible()
        False
        """
        from scipy import sparse

        P = self._matrix()
        share = self.stationary_distributions().sum(axis=0)
        flow = sparse.csr_array(sparse.diags_array(share) @ P)
        flow.eliminate_zeros()
        gap = abs(flow - flow.T) - rtol * abs(flow).maximum(flow.T)
        return not gap.nnz or bool(gap.max() <= 0)

    def time_reversal(self) -> Any:
        """Make the chain that runs backward in time.

        Returns
        -------
        chain : MarkovChain
            With ``P*_ij = pi_j P_ji / pi_i`` (Norris, theorem 1.9.1), of order 1 on the same
            states, started from pi.

        Raises
        ------
        ValueError
            If the chain is not irreducible.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> MarkovChain.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]]).time_reversal().transmat_
        array([[0., 0., 1.],
               [1., 0., 0.],
               [0., 1., 0.]])
        """
        P = self._matrix()
        self._check_irreducible(P, "a reversal", "reverse the chain of one recurrent class")
        pi = self.stationary_distributions()[0]
        if not pi.all():
            raise ValueError(
                "MarkovChain: transmat_ must have stationary probabilities above 1e-308 for a "
                "reversal, got smaller ones"
            )
        back = _row_stochastic(P.toarray().T * (pi / pi[:, None]))
        return self.from_matrix(back, pi, classes=self.states_, random_state=self.random_state)


def _solve_inside(P: Any, inside: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x of ``x_i = right_i + sum_j P_ij x_j`` for i and j in a mask of states that are left."""
    if not inside.any():
        return right
    rows = P[inside]
    return eliminate(rows[:, inside], np.asarray(rows[:, ~inside].sum(axis=1)).ravel()).solve(right)


def _row_stochastic(P: np.ndarray) -> np.ndarray:
    P /= P.sum(axis=1, keepdims=True)
    return P


def _checked_steps(n: Any) -> int:
    if not rule.is_integer(n) or n < 0:
        raise ValueError(f"MarkovChain: n must be a whole number of at least 0, got {n!r}")
    return int(n)
