"""The order of a Markov chain, by information criteria."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._parameters import is_integer
from kernelmill.markov._symbols import Grams, SymbolTable, add_grams, count_grams, distinct, read


class OrderSelection(NamedTuple):
    """What `select_order` has found.

    Attributes
    ----------
    order : int
        The order with the least criterion, the lowest among equals.
    orders : ndarray of shape (m + 1,), int64
        0, ..., max_order.
    criterion : ndarray of shape (m + 1,), float64
        The criterion of each.
    log_likelihood : ndarray of shape (m + 1,), float64
        Largest log-likelihood of each, in nats.
    n_parameters : ndarray of shape (m + 1,), float64
        ``M^order (M - 1)``.
    """

    order: int
    orders: np.ndarray
    criterion: np.ndarray
    log_likelihood: np.ndarray
    n_parameters: np.ndarray


def select_order(
    sequences: Any,
    max_order: int = 5,
    *,
    criterion: str = "bic",
    lengths: Any = None,
    sample_weight: Any = None,
) -> OrderSelection:
    """Find how many symbols back a sequence remembers.

    Parameters
    ----------
    sequences : array, str, list of sequences, or iterable of sequences
        As `MarkovChain.fit` takes them; sequences of at most max_order symbols say nothing here.
    max_order : int, default=5
        Highest order to try; 0 (no memory) is the lowest.
    criterion : {"bic", "aic"}, default="bic"
        ``k log n - 2 log L`` or ``2 k - 2 log L`` with k parameters and n predicted symbols.
    lengths : array-like of shape (S,), int, optional
        Cuts one run of symbols into S sequences.
    sample_weight : array-like of shape (S,), optional
        A weight per sequence.

    Returns
    -------
    found : OrderSelection
        The order and the figures of all orders.

    Raises
    ------
    ValueError
        If no sequence is longer than max_order, or an argument is out of its range.

    Notes
    -----
    All orders are compared on the same symbols, those after the first max_order of each sequence:
    ``log L_m = sum over runs of N(c, x) log(N(c, x) / N(c))`` with c the last m symbols before x,
    and k = M^m (M - 1). With probability one BIC finds the order of a chain as n grows, even
    without a bound on the orders; AIC tends to choose too many. One pass over the sequences, whose
    runs of max_order + 1 symbols are counted, gives all orders.

    References
    ----------
    Katz (1981), "On some criteria for estimating the order of a Markov chain". Csiszar, Shields
    (2000), "The consistency of the BIC Markov order estimator".

    Examples
    --------
    >>> from kernelmill.markov import MarkovChain, select_order
    >>> flip = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]]
    >>> chain = MarkovChain.from_matrix(flip, order=2, random_state=0)
    >>> select_order(chain.sample(5000), 4).order
    2
    """
    if not is_integer(max_order) or max_order < 0:
        raise ValueError(
            f"select_order: max_order must be a whole number of at least 0, got {max_order!r}"
        )
    if criterion not in ("bic", "aic"):
        raise ValueError(f"select_order: criterion must be 'bic' or 'aic', got {criterion!r}")
    length = int(max_order) + 1
    table = SymbolTable(owner="select_order")
    grams = Grams(np.empty((0, length), dtype=np.int64), np.empty(0))
    for batch in read(sequences, lengths, sample_weight, table=table, grow=True):
        grams = add_grams(grams, count_grams(batch, length))
    n, M = float(grams.counts.sum()), float(len(table.codes))
    if not n > 0:
        raise ValueError(
            f"select_order: sequences must have more than {max_order} symbols, got none that has "
            f"(lower max_order)"
        )
    orders = np.arange(length)
    log_likelihood = np.array([_log_likelihood(grams, int(m)) for m in orders])
    n_parameters = M**orders * (M - 1)
    price = np.log(n) if criterion == "bic" else 2.0
    figures = price * n_parameters - 2 * log_likelihood
    return OrderSelection(int(figures.argmin()), orders, figures, log_likelihood, n_parameters)


def _log_likelihood(grams: Grams, order: int) -> float:
    """The largest log-likelihood of last symbols, given the `order` symbols before them."""
    rows, N = distinct(grams.rows[:, grams.rows.shape[1] - order - 1 :], grams.counts)
    # Runs are sorted, so those with the same beginning stand together.
    new = (rows[1:, :-1] != rows[:-1, :-1]).any(axis=1)
    context = np.concatenate([[0], np.cumsum(new)])
    totals = np.bincount(context, weights=N)
    return float((N * np.log(N / totals[context])).sum())
