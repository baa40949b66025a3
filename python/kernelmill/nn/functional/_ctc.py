"""Connectionist temporal classification: the loss of unaligned labels, and decoding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside, namespace, to_host
from ...ops import ctc as ops
from ...ops import elementwise
from .._backward import recomputed
from .._documents import complete
from .._elementwise import recorded, where
from .._shape import cat, gather_along, stack
from .._tape import Node, Rule, array_of
from .._tensor import Tensor, as_tensor
from ._loss import reduced


def _forward(
    x: Any, target: Any, input_lengths: Any, target_lengths: Any, blank: int, needed: bool
) -> Any:
    arguments = x, target, input_lengths, target_lengths, blank
    if not needed:
        return ops.forward(*arguments), (None,)
    losses, gradient = ops.gradient(*arguments)
    return losses, (gradient,)


def _backward(g: Any, saved: tuple, node: Node) -> Any:
    dx = elementwise.multiply(saved[1], g[:, None].astype(saved[1].dtype, copy=False))
    if not g.all():  # nothing flows, not even where a NaN stands
        dx[:, g == 0] = 0.0
    return dx


def _composed(
    x: Any, target: Any, input_lengths: Any, target_lengths: Any, blank: int, needed: bool
) -> Tensor:
    """The recursion of ops/ctc.py for all samples at once, in differentiable operations."""
    xp = namespace(x.data)
    steps, n, _ = x.shape
    m = target.shape[1]
    target, input_lengths, target_lengths = (
        beside(a, x.data) for a in (target, input_lengths, target_lengths)
    )
    inside = xp.arange(m) < target_lengths[:, None]
    index = xp.where(inside, target, blank)
    skips = xp.zeros((n, m), bool)
    skips[:, 1:] = index[:, 1:] != index[:, :-1]
    of_labels = gather_along(x, xp.broadcast_to(index, (steps, n, m)), 2)
    of_blank = x.narrow(2, blank, 1)
    nothing = Tensor(xp.full((n, m + 1), -math.inf, x.dtype))
    start = xp.full((n, m + 1), -math.inf, x.dtype)
    start[:, 0] = 0.0
    blanks, labels = Tensor(start), nothing[:, :m]
    for t in range(steps):
        on = (t < input_lengths)[:, None]
        before = cat([nothing[:, :1], labels], 1)  # the label in front of each blank
        skipped = where(skips, before[:, :m], -math.inf)
        moved = stack([labels, blanks[:, :m], skipped]).logsumexp(0)
        blanks = where(on, of_blank[t] + stack([blanks, before]).logsumexp(0), blanks)
        labels = where(on, of_labels[t] + moved, labels)
    ends = [blanks, cat([nothing[:, :1], labels], 1)]
    return -stack([e.gather(1, target_lengths[:, None]) for e in ends]).logsumexp(0).squeeze(1)


_losses: Rule = Rule(
    "ctc_loss", _forward, _backward, {0: ()}, twice=recomputed(_composed, 1), extras=True
)


def _integers(name: str, value: Any) -> np.ndarray:
    array = np.asarray(to_host(array_of(value)))
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"F.ctc_loss: {name} must be integers, got {array.dtype}")
    return array.astype(np.int64)


def _lengths(name: str, value: Any, n: int) -> np.ndarray:
    lengths = _integers(name, value)
    if lengths.shape not in ((), (n,)):
        raise ValueError(f"F.ctc_loss: {name} must have shape ({n},), got {lengths.shape}")
    return np.broadcast_to(lengths, (n,))


def _padded(targets: Any, lengths: np.ndarray) -> np.ndarray:
    """Targets of shape (N, M)."""
    target, n = _integers("targets", targets), len(lengths)
    if target.ndim == 2 and len(target) == n:
        return target
    total = int(lengths.sum())
    if target.ndim != 1 or (n != 1 and len(target) != total) or (lengths < 0).any():
        raise ValueError(
            f"F.ctc_loss: targets must have shape ({n}, S), or ({total},) with all targets one "
            f"after the other, got {target.shape}"
        )
    if n == 1:
        return target[None]
    padded = np.zeros((n, int(lengths.max(initial=0))), np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = target
    return padded


def _batched(name: str, log_probs: Any) -> tuple[Tensor, bool]:
    """Log-probabilities of shape (T, N, C), and whether they had an axis of samples."""
    x = as_tensor(log_probs)
    if x.ndim not in (2, 3):
        raise ValueError(
            f"{name}: log_probs must have shape (T, N, C) or (T, C), got {x.shape}"
        )
    return (x, True) if x.ndim == 3 else (x.unsqueeze(1), False)


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Negative log-probability of label sequences whose alignment with the input is unknown.

    The probability of a target is the sum over all alignments: one class for each time step, where
    runs of one class are merged and blanks removed to give the target.

    Parameters
    ----------
    log_probs : Tensor of shape (T, N, C) or (T, C)
        Log-probabilities of the classes at each time step, usually from `log_softmax`.
    targets : Tensor or array of int, of shape (N, S), (S,) or (sum of target_lengths,)
        Labels, none of them the blank: padded, or one after the other.
    input_lengths : int or sequence of int
        Number of time steps of each sample.
    target_lengths : int or sequence of int
        Number of labels of each sample.
    blank : int, default=0
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}, default="mean"
        ``"mean"`` divides each loss by the length of its target (at least 1) first.
    zero_infinity : bool, default=False
        Let the loss of an impossible target, one that is too long for its input, be 0 and not inf.
        Its gradient is 0 in either case.

    Returns
    -------
    loss : Tensor
        One number, or the losses of the samples where ``reduction`` is ``"none"``.

    Raises
    ------
    ValueError
        If lengths or labels are out of range, or shapes do not fit.
    TypeError
        If targets or lengths are not integers.

    Notes
    -----
    The gradient is the derivative with respect to `log_probs` itself,
    ``-p(step t belongs to class k | target)``. The one that torch gives has ``exp(log_probs)``
    added to it, which assumes normalised input. Behind a `log_softmax` both are the same.

    References
    ----------
    Graves et al. (2006), "Connectionist temporal classification".

    Examples
    --------
    >>> from kernelmill import nn
    >>> F = nn.functional
    >>> log_probs = F.log_softmax(nn.zeros(3, 1, 6), -1)
    >>> F.ctc_loss(log_probs, [[1, 1]], [3], [2], reduction="sum")
    tensor(5.3753)
    """
    x, batch = _batched("F.ctc_loss", log_probs)
    n = x.shape[1]
    target_sizes = _lengths("target_lengths", target_lengths, n)
    options: dict[str, Any] = {
        "target": _padded(targets, target_sizes),
        "input_lengths": _lengths("input_lengths", input_lengths, n),
        "target_lengths": target_sizes,
        "blank": int(blank),
    }
    losses = _losses(x, **options, needed=recorded(x))
    if zero_infinity:
        losses = where(losses.data == math.inf, 0.0, losses)
    if reduction == "mean":
        losses = losses * beside((1.0 / np.maximum(target_sizes, 1)).astype(x.dtype), x.data)
    return reduced("ctc_loss", losses if batch or reduction != "none" else losses[0], reduction)


# --- decoding -------------------------------------------------------------------------------------


def ctc_decode(
    log_probs: Any, input_lengths: Any = None, blank: int = 0, beam_width: int | None = None
) -> tuple[list, Any]:
    """Label sequences from the log-probabilities of a network trained with :func:`ctc_loss`.

    Parameters
    ----------
    log_probs : Tensor of shape (T, N, C) or (T, C)
        Log-probabilities of the classes at each time step.
    input_lengths : int or sequence of int, optional
        Number of time steps of each sample; all by default.
    blank : int, default=0
        The class that stands for no label.
    beam_width : int, optional
        Number of label sequences that are kept at each step. By default the labels of the most
        probable alignment are returned, which needs no search.

    Returns
    -------
    labels : list of list of int
        Labels of each sample; one list where `log_probs` has no axis of samples.
    scores : list of float, or float
        Log-probability of the best alignment, or of the alignments of these labels that the search
        has seen, at most that of the labels.

    Raises
    ------
    ValueError
        If shapes do not fit, or `beam_width` is not positive.

    References
    ----------
    Graves (2012), "Sequence transduction with recurrent neural networks", for the search.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> p = np.array([[0.4, 0.6], [0.6, 0.4]])
    >>> labels, score = nn.ctc_decode(np.log(p), blank=1)
    >>> labels, round(score, 4)
    ([0], -1.0217)
    """
    x, batch = _batched("nn.ctc_decode", log_probs)
    if beam_width is not None and beam_width < 1:
        raise ValueError(f"nn.ctc_decode: beam_width must be positive, got {beam_width}")
    rows = np.asarray(to_host(x.data), np.float64)
    steps, n, classes = rows.shape
    if not 0 <= blank < classes:
        raise ValueError(f"nn.ctc_decode: blank must be in [0, {classes}), got {blank}")
    lengths = _lengths("input_lengths", steps if input_lengths is None else input_lengths, n)
    found = [
        _best_path(rows[:length, i], blank)
        if beam_width is None
        else _beam(rows[:length, i], blank, beam_width)
        for i, length in enumerate(lengths)
    ]
    labels, scores = [f[0] for f in found], [f[1] for f in found]
    return (labels, scores) if batch else (labels[0], scores[0])


def _best_path(rows: np.ndarray, blank: int) -> tuple[list[int], float]:
    path = rows.argmax(1)
    first = np.ones(len(path), bool)
    first[1:] = path[1:] != path[:-1]
    return path[first & (path != blank)].tolist(), float(rows.max(1).sum())


def _beam(rows: np.ndarray, blank: int, width: int) -> tuple[list[int], float]:
    """Label sequences with the mass of their alignments that end in a blank, or in a label."""
    beams: list[tuple[int, ...]] = [()]
    of_blank, of_label = np.zeros(1), np.full(1, -np.inf)
    for y in rows:
        total = np.logaddexp(of_blank, of_label)
        longer = total[:, None] + y  # (beams, classes)
        longer[:, blank] = -np.inf
        stay_blank, stay_label = total + y[blank], np.full(len(beams), -np.inf)
        place = {beam: i for i, beam in enumerate(beams)}
        for i, beam in enumerate(beams):
            if beam:
                last = beam[-1]
                stay_label[i] = of_label[i] + y[last]
                longer[i, last] = of_blank[i] + y[last]
        for i, beam in enumerate(beams):  # one label more, which another beam has already
            j = place.get(beam[:-1]) if beam else None
            if j is not None:
                stay_label[i] = np.logaddexp(stay_label[i], longer[j, beam[-1]])
                longer[j, beam[-1]] = -np.inf
        scores = np.concatenate([np.logaddexp(stay_blank, stay_label), longer.ravel()])
        kept = np.argsort(-scores, kind="stable")[:width]
        kept = kept[scores[kept] > -np.inf]
        old = len(beams)
        more = [divmod(int(k) - old, len(y)) for k in kept]
        beams = [
            beams[k] if k < old else (*beams[i], c) for k, (i, c) in zip(kept, more, strict=True)
        ]
        of_blank = np.array([stay_blank[k] if k < old else -np.inf for k in kept])
        of_label = np.array([stay_label[k] if k < old else scores[k] for k in kept])
        if not beams:
            return [], -math.inf
    total = np.logaddexp(of_blank, of_label)
    best = int(total.argmax())
    return list(beams[best]), float(total[best])


complete(globals())
