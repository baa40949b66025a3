"""Sequences from a model that scores the next token: greedy, sampled, or by beam search."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _tape
from ._documents import complete
from ._random import Generator, current, multinomial
from ._tensor import Tensor
from .modules._cache import KVCache


def _accepted(model: Any) -> set[str]:
    """Names of the arguments that a model's forward takes."""
    function = getattr(model, "forward", model)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return set()
    return set(parameters)


class _Scorer:
    """Log-probabilities of the next token, for a batch that grows by a token a call."""

    def __init__(self, model: Any, tokens: np.ndarray, padding: np.ndarray, cached: bool) -> None:
        self.model, self.tokens, self.padding = model, tokens, padding
        names = _accepted(model)
        self.cache = KVCache() if cached and "cache" in names else None
        self.padded = "key_padding_mask" in names and bool(padding.any())
        self.placed = self.padded and "positions" in names
        self.begun = False

    def logits(self) -> np.ndarray:
        """Of the token after each row, float64 of shape (rows, vocabulary)."""
        new = self.tokens[:, -1:] if self.cache is not None and self.begun else self.tokens
        self.begun = True
        more: dict[str, Any] = {} if self.cache is None else {"cache": self.cache}
        if self.padded:
            more["key_padding_mask"] = Tensor(self.padding)
        if self.placed:
            places = np.maximum(np.cumsum(~self.padding, 1) - 1, 0)
            more["positions"] = places[:, -new.shape[1] :]
        scores = self.model(Tensor(new), **more)
        scores = scores[0] if isinstance(scores, tuple) else scores
        if scores.ndim != 3:
            raise ValueError(
                "nn.generate: model must give scores of shape (N, T, vocabulary), got "
                f"{tuple(scores.shape)}"
            )
        return scores.numpy()[:, -1].astype(np.float64)

    def append(self, tokens: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Take these rows on, in this order, with a token more."""
        if rows is not None:
            self.tokens, self.padding = self.tokens[rows], self.padding[rows]
            if self.cache is not None:
                self.cache.select(rows)
        self.tokens = np.concatenate([self.tokens, tokens[:, None]], 1)
        self.padding = np.concatenate([self.padding, np.zeros((len(tokens), 1), bool)], 1)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    top = scores.max(-1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))


def _penalised(scores: np.ndarray, scorer: _Scorer, penalty: float) -> np.ndarray:
    """Scores of tokens that occurred, divided by the penalty if positive, else multiplied."""
    if penalty == 1:
        return scores
    scores = scores.copy()
    for row, tokens, pad in zip(scores, scorer.tokens, scorer.padding, strict=True):
        seen = np.unique(tokens[~pad])
        row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
    return scores


def _filtered(scores: np.ndarray, top_k: int | None, top_p: float | None) -> np.ndarray:
    """Scores with -inf for tokens that must not be drawn; at least one token stays."""
    scores = scores.copy()
    if top_k is not None and top_k < scores.shape[1]:
        order = np.argsort(-scores, axis=1, kind="stable")
        np.put_along_axis(scores, order[:, top_k:], -np.inf, 1)
    if top_p is not None and top_p < 1:
        order = np.argsort(-scores, axis=1, kind="stable")
        p = np.exp(_log_softmax(np.take_along_axis(scores, order, 1)))
        # The smallest set whose probability reaches top_p: those with less than it before them.
        drop = np.cumsum(p, 1) - p >= top_p
        drop[:, 0] = False
        np.put_along_axis(scores, order, np.where(drop, -np.inf, np.take_along_axis(
            scores, order, 1)), 1)  # fmt: skip
    return scores


def _prompts(prompt: Any, pad: int | None) -> tuple[list[np.ndarray], bool]:
    """Rows of tokens, and whether there was but one that was not in a batch."""
    if isinstance(prompt, list | tuple) and prompt and not np.isscalar(prompt[0]):
        return [np.asarray(row, dtype=np.int64).reshape(-1) for row in prompt], False
    array = np.asarray(prompt.numpy() if isinstance(prompt, Tensor) else prompt)
    if array.ndim not in (1, 2) or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"nn.generate: prompt must be tokens of shape (N, T) or (T,), got {array.dtype} of "
            f"shape {array.shape}"
        )
    rows = array.astype(np.int64)[None] if array.ndim == 1 else array.astype(np.int64)
    kept = [row if pad is None else _unpadded(row, pad) for row in rows]
    return kept, array.ndim == 1


def _unpadded(row: np.ndarray, pad: int) -> np.ndarray:
    at = np.flatnonzero(row != pad)
    return row[at[0] : at[-1] + 1] if at.size else row[:0]


def _batches(rows: list[np.ndarray], together: bool) -> list[list[int]]:
    """Numbers of the rows that run together: all, or those of one length."""
    if together:
        return [list(range(len(rows)))]
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(len(row), []).append(i)
    return list(groups.values())


def _joined(rows: list[np.ndarray], fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows padded on the left, and where."""
    longest = max(len(row) for row in rows)
    tokens = np.full((len(rows), longest), fill, np.int64)
    padding = np.ones((len(rows), longest), bool)
    for i, row in enumerate(rows):
        tokens[i, longest - len(row) :] = row
        padding[i, longest - len(row) :] = False
    return tokens, padding


def generate(
    model: Any,
    prompt: Any,
    max_new_tokens: int = 20,
    *,
    do_sample: bool | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    use_cache: bool = True,
    stream: bool = False,
    generator: Any = None,
) -> Any:
    """Continue sequences of tokens by a model.

    The model is called with tokens of shape (N, T) and gives scores of shape (N, T, vocabulary).
    If its forward takes ``cache``, it is given a :class:`KVCache` and after the first call the new
    token alone; positions continue at ``cache.length``. If it takes ``key_padding_mask``, prompts
    of unequal length run together, padded on the left, with the mask (N, T so far; True at
    padding) and, if it takes them, ``positions`` of shape (N, T); otherwise those of one length
    run together. Gradients are off and the model is in evaluation mode meanwhile.

    Parameters
    ----------
    model : Module or callable
        Scores the next token.
    prompt : Tensor or array of int of shape (N, T) or (T,), or list of lists of int
        At least one token a row.
    max_new_tokens : int, default=20
        How many tokens are added at most.
    do_sample : bool, optional
        Draw tokens rather than take the best; by default if ``temperature``, ``top_k``, ``top_p``
        or ``generator`` is given.
    temperature : float, default=1.0
        Divisor of the scores; 0 takes the best token.
    top_k : int, optional
        Draw from this many best tokens.
    top_p : float, optional
        Draw from the smallest set of best tokens whose probabilities add up to this; there is
        always one.
    repetition_penalty : float, default=1.0
        Positive scores of tokens that occurred are divided by it, negative ones multiplied.
    num_beams : int, default=1
        Number of sequences that beam search keeps; the result is the best, with
        ``sum log p / length ** length_penalty`` of the new tokens.
    length_penalty : float, default=1.0
        Exponent of the length: larger prefers longer sequences.
    eos_token_id : int, optional
        Ends a sequence.
    pad_token_id : int, optional
        Fills rows that have ended, and is removed from both ends of prompts; the end token, or 0,
        by default.
    use_cache : bool, default=True
        Give the model a cache if it takes one.
    stream : bool, default=False
        Return an iterator over the new tokens as they come, an array of shape (N,) a step, or an
        int for a prompt of shape (T,). Not with beams.
    generator : Generator or int, optional
        Where tokens are drawn from, or its seed; see :func:`kernelmill.nn.manual_seed`.

    Returns
    -------
    tokens : Tensor of int of shape (N, T + new) or (T + new,)
        Prompts and what was added, padded on the right; or the iterator.

    Raises
    ------
    ValueError
        If an argument does not fit.

    References
    ----------
    Holtzman et al. (2020), "The curious case of neural text degeneration" (top_p). Wu et al.
    (2016), "Google's neural machine translation system" (length penalty). Keskar et al. (2019),
    "CTRL" (repetition).

    Examples
    --------
    A model that counts:

    >>> from kernelmill import nn
    >>> def count(tokens):
    ...     return nn.functional.one_hot((tokens + 1) % 5, 5) * 1.0
    >>> nn.generate(count, [[0], [3]], 3).tolist()
    [[0, 1, 2, 3], [3, 4, 0, 1]]
    >>> list(nn.generate(count, nn.Tensor([2]), 3, eos_token_id=4, stream=True))
    [3, 4]
    """
    rows, single = _prompts(prompt, pad_token_id)
    _check(rows, max_new_tokens, temperature, top_k, top_p, repetition_penalty, num_beams, stream)
    sample = do_sample
    if sample is None:
        sample = temperature != 1 or top_k is not None or top_p is not None
        sample = (sample or generator is not None) and num_beams == 1
    if sample and num_beams > 1:
        raise ValueError("nn.generate: do_sample must be False with beams, got True")
    if isinstance(generator, int | np.integer):
        generator = Generator(int(generator))
    fill = pad_token_id if pad_token_id is not None else (eos_token_id or 0)

    def choose(scores: np.ndarray, scorer: _Scorer) -> np.ndarray:
        scores = _penalised(scores, scorer, repetition_penalty)
        if not sample or temperature == 0:
            return scores.argmax(1)
        scores = _filtered(scores / temperature, top_k, top_p)
        return multinomial(np.exp(_log_softmax(scores)), 1, replacement=True,
                           generator=current(generator)).data[:, 0]  # fmt: skip

    together = "key_padding_mask" in _accepted(model)
    batches = _batches(rows, together)
    if stream:
        if len(batches) > 1:
            raise ValueError(
                "nn.generate: prompts must be of one length to be streamed, unless the model takes "
                "key_padding_mask"
            )
        steps = _steps(model, rows, max_new_tokens, choose, eos_token_id, fill, use_cache)
        return (int(step[0]) for step in steps) if single else steps
    added: list[Any] = [None] * len(rows)
    for batch in batches:
        chosen = [rows[i] for i in batch]
        if num_beams > 1:
            found = [
                _beams(model, row, max_new_tokens, num_beams, length_penalty, repetition_penalty,
                       eos_token_id, use_cache)
                for row in chosen
            ]  # fmt: skip
        else:
            with _Evaluation(model):
                made = list(
                    _steps(model, chosen, max_new_tokens, choose, eos_token_id, fill, use_cache)
                )
            found = [_ended([step[i] for step in made], eos_token_id) for i in range(len(batch))]
        for i, new in zip(batch, found, strict=True):
            added[i] = np.concatenate([rows[i], np.asarray(new, dtype=np.int64)])
    longest = max(len(row) for row in added)
    result = np.full((len(rows), longest), fill, np.int64)
    for i, row in enumerate(added):
        result[i, : len(row)] = row
    return Tensor(result[0] if single else result)


def _check(
    rows: list, count: int, temperature: float, top_k: Any, top_p: Any, penalty: float, beams: int,
    stream: bool,
) -> None:  # fmt: skip
    if not rows or min(map(len, rows)) == 0:
        raise ValueError("nn.generate: prompt must have at least one token a row, got none")
    wrong = (
        ("max_new_tokens", "at least 0", count, count < 0),
        ("temperature", "at least 0", temperature, temperature < 0),
        ("top_k", "at least 1", top_k, top_k is not None and top_k < 1),
        ("top_p", "in [0, 1]", top_p, top_p is not None and not 0 <= top_p <= 1),
        ("repetition_penalty", "positive", penalty, penalty <= 0),
        ("num_beams", "at least 1", beams, beams < 1),
        ("stream", "False with beams", stream, stream and beams > 1),
    )
    for name, what, value, is_wrong in wrong:
        if is_wrong:
            raise ValueError(f"nn.generate: {name} must be {what}, got {value}")


def _ended(tokens: list, eos: int | None) -> list:
    """New tokens up to the end token, which is kept."""
    if eos is not None and eos in tokens:
        return tokens[: tokens.index(eos) + 1]
    return tokens


class _Evaluation:
    """Gradients off and the model in evaluation mode, and back, as often as it is entered."""

    def __init__(self, model: Any) -> None:
        self.modules = [*model.modules()] if hasattr(model, "modules") else []
        self.quiet = _tape.no_grad()
        self.trained: list[Any] = []

    def __enter__(self) -> None:
        self.trained = [module for module in self.modules if module.training]
        for module in self.trained:
            object.__setattr__(module, "training", False)
        self.quiet.__enter__()

    def __exit__(self, *exc: object) -> None:
        self.quiet.__exit__(*exc)
        for module in self.trained:
            object.__setattr__(module, "training", True)


def _steps(
    model: Any, rows: list, count: int, choose: Callable, eos: int | None, fill: int, cached: bool
) -> Iterator[np.ndarray]:
    """New tokens of all rows, step by step; rows that have ended are dropped from the batch."""
    tokens, padding = _joined(rows, fill)
    scorer, evaluation = _Scorer(model, tokens, padding, cached), _Evaluation(model)
    alive = np.arange(len(rows))
    for step in range(count):
        with evaluation:
            new = choose(scorer.logits(), scorer)
        result = np.full(len(rows), fill, np.int64)
        result[alive] = new
        yield result
        kept = None
        if eos is not None and (new == eos).any():
            kept = np.flatnonzero(new != eos)
            alive, new = alive[kept], new[kept]
        if not alive.size or step + 1 == count:
            return
        scorer.append(new, kept)


def _beams(
    model: Any, row: np.ndarray, count: int, beams: int, penalty: float, repetition: float,
    eos: int | None, cached: bool,
) -> list:  # fmt: skip
    """The new tokens of the best sequence that beam search finds for one prompt.

    A sequence scores ``log p / length ** penalty``. The search ends when `beams` sequences have
    ended and no running one can still win: a running one can only lose probability, so its score
    is at most its present sum at the length, of those it can reach, that divides it best.
    """
    if count == 0:
        return []
    scorer, evaluation = _Scorer(model, *_joined([row], 0), cached), _Evaluation(model)
    start, sums = len(row), np.zeros(1)
    ended: list[tuple[float, list]] = []
    for step in range(1, count + 1):
        with evaluation:
            scores = _penalised(scorer.logits(), scorer, repetition)
        total = sums[:, None] + _log_softmax(scores)
        vocabulary = total.shape[1]
        # Enough to be left with `beams` running ones if each beam's end token is among them.
        most = min(total.size, 2 * beams)
        order = np.argsort(-total, axis=None, kind="stable")[:most]
        running: list[tuple[int, int, float]] = []
        for rank, place in enumerate(order):
            beam, token = divmod(int(place), vocabulary)
            if token == eos:
                if rank < beams:
                    new = [*scorer.tokens[beam, start:].tolist(), token]
                    ended.append((float(total[beam, token]) / step**penalty, new))
            elif len(running) < beams and total[beam, token] > -math.inf:
                running.append((beam, token, float(total[beam, token])))
        ended = sorted(ended, key=lambda one: -one[0])[:beams]
        if not running:
            break
        sums = np.array([one[2] for one in running])
        scorer.append(np.array([one[1] for one in running]), np.array([one[0] for one in running]))
        # Sums are negative: a positive exponent makes the longest length the best divisor.
        reach = count if penalty > 0 else min(step + 1, count)
        if len(ended) >= beams and ended[-1][0] >= sums.max() / reach**penalty:
            break
    else:
        length = scorer.tokens.shape[1] - start
        for tokens, total_sum in zip(scorer.tokens[:, start:], sums, strict=True):
            ended.append((float(total_sum) / length**penalty, tokens.tolist()))
    return max(ended, key=lambda one: one[0])[1]


complete(globals())
