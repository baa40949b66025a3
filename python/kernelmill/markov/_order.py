"""The order of a Markov chain, by information criteria."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._parameters import is_integer
from kernelmill.markov._symbols import (
    Grams,
    SymbolTable,
    add_grams,
    count_grams,
    distinct,
    no_grams,
)


class OrderSelection(NamedTuple):
    """The result of `select_order`.

    Attributes
    ----------
    order : int
        The order with the smallest criterion, the lowest in case of a tie.
    orders : ndarray of shape (m + 1,), int64
        0, ..., max_order.
    criterion : ndarray of shape (m + 1,), float64
        The criterion of each order.
    log_likelihood : ndarray of shape (m + 1,), float64
        Maximum log-likelihood of each order, in nats.
    n_parameters : ndarray of shape (m + 1,), float64
        ``M^order (M - 1)`` for each order.
    """

    order: int
    orders: np.ndarray
    criterion: np.ndarray
    log_likelihood: np.ndarray
    n_parameters: np.ndarray


def select_order(
    sequences: Any, max_order: int = 5, *, criterion: str = "bic", lengths: Any = None,
    sample_weight: Any = None
) -> OrderSelection:
    """Choose the order of a Markov chain by an information criterion.

    Parameters
    ----------
    sequences : array, str, list of sequences, or iterable of sequences
        As in `MarkovChain.fit`; sequences of at most max_order symbols are ignored.
    max_order : int, default=5
        Highest order to try; the lowest is 0, independent symbols.
    criterion : {"bic", "aic"}, default="bic"
        ``k log n - 2 log L`` or ``2 k - 2 log L`` with k parameters and n predicted symbols.
    lengths : array-like of shape (S,), int, or None, default=None
        Splits one long sequence into S.
    sample_weight : array-like of shape (S,) or None, default=None
        A weight per sequence.

    Returns
    -------
    selection : OrderSelection
        The chosen ``order``, and the criterion, log-likelihood and number of parameters of all.

    Raises
    ------
    ValueError
        If no sequence is longer than max_order, or an argument is out of its range.

    Notes
    -----
    All orders are compared on the same symbols, those after the first max_order of each sequence:
    ``log L_m = sum over runs of N(c, x) log(N(c, x) / N(c))`` with c the last m symbols before x,
    and k = M^m (M - 1). BIC is consistent: as n grows it chooses the true order with probability
    one. AIC tends to choose a higher one. All orders come from one pass over the sequences, which
    counts runs of max_order + 1 symbols.

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
    grams = no_grams(length)
    for batch in table.read(sequences, lengths, sample_weight):
        grams = add_grams(grams, count_grams(batch, length))
    n, M = float(grams.counts.sum()), float(len(table.codes))
    if not n > 0:
        raise ValueError(
            f"select_order: sequences must have more than {max_order} symbols, got only shorter "
            f"ones (lower max_order)"
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
