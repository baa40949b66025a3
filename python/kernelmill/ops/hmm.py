"""Hidden Markov models: forward, posteriors, Viterbi, sampling and symbol counts.

Symbols: K states, T time steps of S sequences one after the other; ``lengths`` says how long each
is and adds up to T. ``log_density[t, j] = log p(x_t | z_t = j)``, ``startprob`` is pi and
``transmat`` is A with ``A[i, j] = p(z_{t+1} = j | z_t = i)``. Neither needs to be normalised:
variational inference passes subnormalised ones. Where nothing was observed the log density is 0.
Everything is float64.

Three recursions, written here in log space (implementations scale instead, see `forward`):

    log alpha_t(j) = log b_t(j) + log sum_i alpha_{t-1}(i) A(i, j),      alpha_0 = pi b_0
    log beta_t(i)  = log sum_j A(i, j) b_{t+1}(j) beta_{t+1}(j),         beta_{T-1} = 1
    v_t(j)         = log b_t(j) + max_i (v_{t-1}(i) + log A(i, j)),      v_0 = log pi + log b_0

NaN in an argument reaches its own sequence and the sums over all sequences. Empty sequences and
T = 0 are allowed, and add nothing. Shapes, dtypes, lengths and symbols that do not fit raise
ValueError. All ops are deterministic: sums run over chunks whose bounds
depend on shapes and lengths alone and are combined in order, so results have the same bits at any
thread count. Cost is counted in flops; sequences run in parallel.
"""

from __future__ import annotations

import numpy as np

from ._op import op


def _check_lengths(name: str, lengths: np.ndarray, T: int) -> None:
    if (lengths < 0).any() or lengths.sum() != T:
        raise ValueError(
            f"hmm.{name}: lengths must be at least 0 and add up to {T}, got a sum of "
            f"{lengths.sum()}"
        )


def _spans(lengths: np.ndarray):
    ends = np.cumsum(lengths)
    return [slice(int(end - length), int(end)) for end, length in zip(ends, lengths, strict=True)]


def _log(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(x)


def _log_sum_exp(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    largest = x.max(axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - shift).sum(axis=axis, keepdims=True)) + shift
    return total.squeeze(axis) if axis is not None else total.reshape(())[()]


def _log_alpha(log_b: np.ndarray, startprob: np.ndarray, transmat: np.ndarray) -> np.ndarray:
    log_A = _log(transmat)
    log_alpha = np.empty_like(log_b)
    log_alpha[0] = _log(startprob) + log_b[0]
    for t in range(1, len(log_b)):
        log_alpha[t] = log_b[t] + _log_sum_exp(log_alpha[t - 1][:, None] + log_A, axis=0)
    return log_alpha


def _log_beta(log_b: np.ndarray, transmat: np.ndarray) -> np.ndarray:
    log_A = _log(transmat)
    log_beta = np.zeros_like(log_b)
    for t in range(len(log_b) - 2, -1, -1):
        log_beta[t] = _log_sum_exp(log_A + log_b[t + 1] + log_beta[t + 1], axis=1)
    return log_beta


def _normalised(log_rows: np.ndarray) -> np.ndarray:
    """Rows as probabilities; a row that is -inf throughout becomes 0."""
    total = _log_sum_exp(log_rows, axis=1)
    return np.where(np.isneginf(total)[:, None], 0.0, np.exp(log_rows - _finite(total)[:, None]))


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isneginf(x), 0.0, x)


@op(
    "log_density: f64[T,K>=1], startprob: f64[K], transmat: f64[K,K], lengths: i64[S]"
    " -> filtered: f64[T,K], log_prob: f64[S]"
)
def forward(
    log_density: np.ndarray, startprob: np.ndarray, transmat: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Filtered state probabilities and the log-likelihood of each sequence.

    ``filtered[t, j] = p(z_t = j | x_0, ..., x_t)``, proportional to alpha_t(j).

    Parameters
    ----------
    log_density : ndarray of shape (T, K), float64
        ``log p(x_t | z_t = j)``; -inf where it is zero, less than inf.
    startprob : ndarray of shape (K,), float64
        pi, not negative.
    transmat : ndarray of shape (K, K), float64
        A, not negative.
    lengths : ndarray of shape (S,), int64
        Lengths of the sequences, adding up to T.

    Returns
    -------
    filtered : ndarray of shape (T, K), float64
        Rows sum to one; from the first row on that no state can explain, they are 0.
    log_prob : ndarray of shape (S,), float64
        ``log p(x_0, ..., x_{T-1})`` in nats, -inf where a sequence is impossible, 0 where empty.

    Notes
    -----
    Implementations take the largest log density out of each row and scale alpha at each step, as
    Rabiner's c_t does. Where terms that underflowed might matter they work in log space, so the
    result is the same as there within rounding. Relative error about 2 T K eps. On CUDA few long
    sequences are cut into segments that are chained. NaN in log_density gives NaN from that row on.
    Cost 2 T K^2 flops.

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models", sections III.A and V.A.
    """
    _check_lengths("forward", lengths, len(log_density))
    filtered = np.empty_like(log_density)
    log_prob = np.zeros(len(lengths))
    for s, span in enumerate(_spans(lengths)):
        if span.start < span.stop:
            log_alpha = _log_alpha(log_density[span], startprob, transmat)
            filtered[span] = _normalised(log_alpha)
            log_prob[s] = _log_sum_exp(log_alpha[-1])
    return filtered, log_prob



@op(
    "log_density: f64[T,K>=1], startprob: f64[K], transmat: f64[K,K], lengths: i64[S],"
    " sequence_weight: f64[S]? -> gamma: f64[T,K], log_prob: f64[S], starts: f64[K],"
    " transitions: f64[K,K]"
)
def posteriors(
    log_density: np.ndarray, startprob: np.ndarray, transmat: np.ndarray, lengths: np.ndarray,
    sequence_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The E-step: posterior probabilities of states, and expected starts and transitions.

    ``gamma_t(j) = p(z_t = j | x)``, ``xi_t(i, j) = p(z_t = i, z_{t+1} = j | x)``.

    Parameters
    ----------
    log_density : ndarray of shape (T, K), float64
        As in `forward`.
    startprob : ndarray of shape (K,), float64
        pi, not negative.
    transmat : ndarray of shape (K, K), float64
        A, not negative.
    lengths : ndarray of shape (S,), int64
        Lengths of the sequences, adding up to T.
    sequence_weight : ndarray of shape (S,), float64, optional
        Weights v of the sequences, 1 when left out.

    Returns
    -------
    gamma : ndarray of shape (T, K), float64
        Rows sum to one, whatever the weights; 0 in impossible sequences.
    log_prob : ndarray of shape (S,), float64
        As in `forward`, whatever the weights.
    starts : ndarray of shape (K,), float64
        ``sum_s v_s gamma_0(j)`` over the first rows of the sequences.
    transitions : ndarray of shape (K, K), float64
        ``sum_s v_s sum_t xi_t(i, j)``, exactly 0 where ``transmat`` is.

    Notes
    -----
    ``gamma_t(j) ~ alpha_t(j) beta_t(j)`` and ``xi_t(i, j) ~ alpha_t(i) A(i, j) b_{t+1}(j)
    beta_{t+1}(j)``, scaled and, where needed, done again in log space as in `forward`; impossible
    sequences add nothing to the sums. The sums add up over chunks of whole sequences. Cost 6 T K^2
    flops; the forward and backward passes of a sequence run side by side.

    References
    ----------
    Baum, Petrie, Soules, Weiss (1970), "A maximization technique occurring in the statistical
    analysis of probabilistic functions of Markov chains". Rabiner (1989), section III.C.
    """
    _check_lengths("posteriors", lengths, len(log_density))
    weights = np.ones(len(lengths)) if sequence_weight is None else sequence_weight
    K = len(startprob)
    gamma = np.zeros_like(log_density)
    log_prob, starts, transitions = np.zeros(len(lengths)), np.zeros(K), np.zeros((K, K))
    log_A = _log(transmat)
    for s, span in enumerate(_spans(lengths)):
        if span.start == span.stop:
            continue
        log_b = log_density[span]
        log_alpha = _log_alpha(log_b, startprob, transmat)
        log_beta = _log_beta(log_b, transmat)
        log_prob[s] = _log_sum_exp(log_alpha[-1])
        if log_prob[s] == -np.inf:
            continue
        gamma[span] = _normalised(log_alpha + log_beta)
        starts += weights[s] * gamma[span.start]
        for t in range(len(log_b) - 1):
            log_xi = log_alpha[t][:, None] + log_A + log_b[t + 1] + log_beta[t + 1]
            transitions += weights[s] * np.exp(log_xi - _log_sum_exp(log_xi))
    return gamma, log_prob, starts, transitions


@op(
    "log_density: f64[T,K>=1], log_startprob: f64[K], log_transmat: f64[K,K], lengths: i64[S]"
    " -> states: i32[T], log_prob: f64[S]"
)
def viterbi(
    log_density: np.ndarray, log_startprob: np.ndarray, log_transmat: np.ndarray,
    lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable path of states of each sequence.

    Parameters
    ----------
    log_density : ndarray of shape (T, K), float64
        As in `forward`.
    log_startprob : ndarray of shape (K,), float64
        log pi, -inf allowed.
    log_transmat : ndarray of shape (K, K), float64
        log A, -inf allowed.
    lengths : ndarray of shape (S,), int64
        Lengths of the sequences, adding up to T.

    Returns
    -------
    states : ndarray of shape (T,), int32
        The path.
    log_prob : ndarray of shape (S,), float64
        ``log p(x, states)`` in nats, -inf where a sequence is impossible, 0 where empty.

    Notes
    -----
    One tie rule: the lowest state, at the end of a sequence and among equally good predecessors,
    going back; an impossible sequence falls under it too. Each v_t(j) is the sum of three numbers
    in one order, ``(v_{t-1}(i) + log A(i, j)) + log b_t(j)``, so all implementations give the same
    bits. With NaN in log_density the path is unspecified within range and log_prob NaN or a number.
    Cost 2 T K^2 flops.

    References
    ----------
    Viterbi (1967), "Error bounds for convolutional codes and an asymptotically optimum decoding
    algorithm".
    """
    _check_lengths("viterbi", lengths, len(log_density))
    states = np.empty(len(log_density), dtype=np.int32)
    log_prob = np.zeros(len(lengths))
    for s, span in enumerate(_spans(lengths)):
        if span.start == span.stop:
            continue
        log_b = log_density[span]
        v = np.empty_like(log_b)
        v[0] = log_startprob + log_b[0]
        for t in range(1, len(v)):
            v[t] = (v[t - 1][:, None] + log_transmat).max(axis=0) + log_b[t]
        path = states[span]
        path[-1] = v[-1].argmax()
        for t in range(len(v) - 2, -1, -1):
            path[t] = (v[t] + log_transmat[:, path[t + 1]]).argmax()
        log_prob[s] = v[-1].max()
    return states, log_prob


@op(
    "startprob: f64[K>=1], transmat: f64[K,K], uniforms: f64[T], lengths: i64[S]"
    " -> states: i32[T]",
    cuda="no model samples paths on a GPU",
)
def sample_states(
    startprob: np.ndarray, transmat: np.ndarray, uniforms: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Paths of a Markov chain, one uniform number a step.

    Parameters
    ----------
    startprob : ndarray of shape (K,), float64
        pi, not negative, with a positive sum.
    transmat : ndarray of shape (K, K), float64
        A, not negative.
    uniforms : ndarray of shape (T,), float64
        Numbers in [0, 1).
    lengths : ndarray of shape (S,), int64
        Lengths of the paths, adding up to T.

    Returns
    -------
    states : ndarray of shape (T,), int32
        Each path starts from pi.

    Notes
    -----
    Number u picks the first state whose running sum of probabilities passes ``u * total``, so a
    state with probability 0 is never picked; a row of A that sums to 0 keeps its state. NaN in an
    argument gives unspecified states within range. Running sums are added in the order of states,
    so all implementations give the same bits. Cost T log2 K comparisons after K^2 additions.

    References
    ----------
    Devroye (1986), "Non-uniform random variate generation", III.2: inversion by search.
    """
    _check_lengths("sample_states", lengths, len(uniforms))

    def pick(running: np.ndarray, u: float, held: int) -> int:
        if not running[-1] > 0:
            return held
        found = int(np.searchsorted(running, u * running[-1], side="right"))
        return min(found, int(np.searchsorted(running, running[-1])))

    first, rows = np.cumsum(startprob), np.cumsum(transmat, axis=1)
    states = np.empty(len(uniforms), dtype=np.int32)
    for span in _spans(lengths):
        state = 0
        for t in range(span.start, span.stop):
            running = first if t == span.start else rows[state]
            state = pick(running, uniforms[t], state)
            states[t] = state
    return states


@op("symbols: i64[T], gamma: f64[T,K>=1], n_symbols: int[1,2**63) -> counts: f64[K,n_symbols]")
def symbol_counts(symbols: np.ndarray, gamma: np.ndarray, n_symbols: int) -> np.ndarray:
    """Expected number of times that each state emits each symbol.

    ``counts[j, m] = sum over t with symbols[t] = m of gamma[t, j]``.

    Parameters
    ----------
    symbols : ndarray of shape (T,), int64
        Symbols below n_symbols; negative ones are missing and count for nothing.
    gamma : ndarray of shape (T, K), float64
        Posterior probabilities of states, K >= 1.
    n_symbols : int
        M.

    Returns
    -------
    counts : ndarray of shape (K, M), float64
        They add up over chunks.

    Notes
    -----
    NaN in gamma reaches the count of its state and symbol. Cost T K additions.

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models", equation 40c.
    """
    if symbols.max(initial=-1) >= n_symbols:
        raise ValueError(
            f"hmm.symbol_counts: symbols must be below n_symbols = {n_symbols}, got {symbols.max()}"
        )
    counts = np.zeros((n_symbols, gamma.shape[1]))
    seen = symbols >= 0
    np.add.at(counts, symbols[seen], gamma[seen])
    return np.ascontiguousarray(counts.T)
