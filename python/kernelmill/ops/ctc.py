"""Connectionist temporal classification: the loss of label sequences whose alignment is unknown.

Symbols: T time steps (t), N samples (n), C classes (c), targets of at most M labels (m).
``log_probs[t, n, k] = log y_t(k)`` is the log-probability of class k at step t. A *path* takes one
class a step; its labels are what is left when runs of one class are merged and blanks removed. The
loss of a sample is ``-log p``, p being the sum over all paths that give its target of the products
of their ``y_t``.

Put blanks around and between the S labels of a target: states ``l_0, ..., l_{2 S}``. A path walks
through them from one of the first two to one of the last two; a step stays, moves on by one, or
skips the blank between two labels that differ. So these are the recursions of a hidden Markov model
(`kernelmill.ops.hmm`) whose transitions all have weight 1:

    log alpha_t(s) = log y_t(l_s) + log sum over r that lead to s of alpha_{t-1}(r)
    log beta_t(r)  = log sum over s that r leads to of y_{t+1}(l_s) beta_{t+1}(s)
    gamma_t(k)     = sum over s with l_s = k of alpha_t(s) beta_t(s) / p

Everything is computed in logarithms, in float64. A target without a path (it is longer than the
steps allow, or needs an entry of -inf) has loss inf, and gradient 0, since no change of finite
entries gives it a path. An empty target has one path, blanks only; without steps (T = 0) p is 1
for an empty target, else 0. NaN in an entry that a target uses makes the loss of its sample, and
its gradient at all the classes it uses, NaN. Steps behind the length of a sample, and labels behind
that of a target, are ignored. A batch of N = 0 is allowed. Lengths or labels out of range, a target
that holds the blank, shapes and dtypes that do not fit raise ValueError. Deterministic: a sample is
computed by one thread. Cost about 5 exponentials and 2 logarithms a step and label, twice for the
gradient, beside one pass over it.
"""

from __future__ import annotations

import numpy as np

from ._op import op

_SIGNATURE = (
    "log_probs: T[t,n,c>=1], target: host i64[n,m], input_lengths: host i64[n],"
    " target_lengths: host i64[n], blank: int -> losses: T[n]"
)


def _check(name: str, log_probs, target, input_lengths, target_lengths, blank: int) -> None:
    steps, _, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ValueError(f"ctc.{name}: blank must be in [0, {classes}), got {blank}")
    for argument, lengths, most in (
        ("input_lengths", input_lengths, steps),
        ("target_lengths", target_lengths, target.shape[1]),
    ):
        wrong = lengths[(lengths < 0) | (lengths > most)]
        if wrong.size:
            raise ValueError(f"ctc.{name}: {argument} must be in [0, {most}], got {wrong[0]}")
    for labels, length in zip(target, target_lengths, strict=True):
        used = labels[:length]
        wrong = used[(used < 0) | (used >= classes) | (used == blank)]
        if wrong.size:
            raise ValueError(
                f"ctc.{name}: target must hold classes in [0, {classes}) other than the blank, "
                f"{blank}, got {wrong[0]}"
            )


def _forward_backward(log_y: np.ndarray, labels: np.ndarray, blank: int):
    """log p and gamma (T, C) of one sample."""
    T, classes = log_y.shape
    K = 2 * len(labels) + 1
    states = np.full(K, blank)
    states[1::2] = labels
    skips = np.zeros(K, bool)  # whether s may follow s - 2
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    occupied = np.zeros((T, classes))
    if T == 0:
        return (0.0 if K == 1 else -np.inf), occupied
    emitted = log_y[:, states].astype(np.float64)
    nothing = np.full(K, -np.inf)
    before = nothing.copy()
    before[:2] = 0.0
    log_alpha, log_beta = np.empty((T, K)), np.empty((T, K))
    for t in range(T):
        log_alpha[t] = before + emitted[t]
        before = log_alpha[t].copy()
        before[1:] = np.logaddexp(before[1:], log_alpha[t, :-1])
        skipped = np.where(skips[2:], log_alpha[t, :-2], -np.inf)
        before[2:] = np.logaddexp(before[2:], skipped)
    log_p = np.logaddexp.reduce(log_alpha[-1, -2:])
    if log_p == -np.inf:
        return log_p, occupied
    behind = nothing
    behind[-2:] = 0.0
    for t in range(T - 1, -1, -1):
        log_beta[t] = behind
        ahead = log_beta[t] + emitted[t]
        behind = ahead.copy()
        behind[:-1] = np.logaddexp(behind[:-1], ahead[1:])
        behind[:-2] = np.logaddexp(behind[:-2], np.where(skips[2:], ahead[2:], -np.inf))
    gamma = np.exp(log_alpha + log_beta - log_p)
    for s, k in enumerate(states):
        occupied[:, k] += gamma[:, s]
    return log_p, occupied


@op(_SIGNATURE, half=True)
def forward(
    log_probs: np.ndarray,
    target: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    blank: int = 0,
) -> np.ndarray:
    """Negative log-probabilities of targets.

    Parameters
    ----------
    log_probs : ndarray of shape (T, N, C), float32 or float64
        ``log y_t(k)``, less than inf; they need not be normalised.
    target : ndarray of shape (N, M), int64
        Labels of each sample, from the left.
    input_lengths : ndarray of shape (N,), int64
        Number of steps of each sample, at most T.
    target_lengths : ndarray of shape (N,), int64
        Number of labels of each sample, at most M.
    blank : int, default=0
        The class that stands for no label.

    Returns
    -------
    losses : ndarray of shape (N,), dtype of log_probs
        ``-log p`` in nats; inf where a target is impossible.

    Raises
    ------
    ValueError
        If lengths or labels are out of range, or shapes or dtypes do not fit.

    References
    ----------
    Graves et al. (2006), "Connectionist temporal classification", sections 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import ctc
    >>> log_probs = np.full((3, 1, 6), -np.log(6))
    >>> ctc.forward(log_probs, np.array([[1, 1]]), np.array([3]), np.array([2]))
    array([5.37527841])
    """
    _check("forward", log_probs, target, input_lengths, target_lengths, blank)
    losses = np.empty(len(target), log_probs.dtype)
    for n in range(len(target)):
        labels = target[n, : target_lengths[n]]
        losses[n] = -_forward_backward(log_probs[: input_lengths[n], n], labels, blank)[0]
    return losses


@op(_SIGNATURE + ", gradient: T[t,n,c]", half=True)
def gradient(
    log_probs: np.ndarray,
    target: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    blank: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Losses, and the gradient of each with respect to its log-probabilities.

    ``d(-log p) / d log y_t(k) = -gamma_t(k)``, the probability, given the target, that step t
    belongs to class k. It adds up to -1 over the classes at each step.

    Parameters
    ----------
    log_probs : ndarray of shape (T, N, C), float32 or float64
        As for `forward`.
    target : ndarray of shape (N, M), int64
        As for `forward`.
    input_lengths : ndarray of shape (N,), int64
        As for `forward`.
    target_lengths : ndarray of shape (N,), int64
        As for `forward`.
    blank : int, default=0
        As for `forward`.

    Returns
    -------
    losses : ndarray of shape (N,), dtype of log_probs
        As from `forward`.
    gradient : ndarray of shape (T, N, C), dtype of log_probs
        ``-gamma``; 0 behind the length of a sample and where its target is impossible.

    Raises
    ------
    ValueError
        If lengths or labels are out of range, or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import ctc
    >>> log_probs = np.full((2, 1, 3), -np.log(3))
    >>> losses, gradient = ctc.gradient(log_probs, np.array([[2]]), np.array([2]), np.array([1]))
    >>> gradient[:, 0].round(4)
    array([[-0.3333,  0.    , -0.6667],
           [-0.3333,  0.    , -0.6667]])
    """
    _check("gradient", log_probs, target, input_lengths, target_lengths, blank)
    losses = np.empty(len(target), log_probs.dtype)
    derivative = np.zeros_like(log_probs, order="C")
    for n in range(len(target)):
        labels, steps = target[n, : target_lengths[n]], input_lengths[n]
        log_p, occupied = _forward_backward(log_probs[:steps, n], labels, blank)
        losses[n] = -log_p
        derivative[:steps, n] = 0.0 - occupied
    return losses, derivative
