"""Random numbers without state: item ``i`` is a function of (seed, stream, i) alone.

The generator is Philox4x32-10, a keyed bijection of 128-bit counters. The key is the seed; the
counter is (block number, stream); a block gives four 32-bit words that items take in order. So any
slice of a sequence can be made anywhere: ``uniform(s, t, 0, 9)[5:]`` is ``uniform(s, t, 5, 4)``.

There is no NaN or infinity; ``n = 0`` gives an empty array. An argument out of its range raises
ValueError. Deterministic at any thread count. Cost is 10 rounds (20 integer products) a block,
beside what an op adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._op import op

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox4x32(counter: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """The blocks of Philox4x32-10.

    Parameters
    ----------
    counter : ndarray of shape (n,), uint64
        Block numbers: the lower half of the 128-bit counters.
    seed : int
        The 64-bit key.
    stream : int
        The upper half of the 128-bit counters.

    Returns
    -------
    words : ndarray of shape (n, 4), uint64
        Four 32-bit words a block.

    Notes
    -----
    Ten rounds of ``c0, c1, c2, c3 <- hi(b c2) ^ c1 ^ k0, lo(b c2), hi(a c0) ^ c3 ^ k1, lo(a c0)``
    with ``a = 0xD2511F53``, ``b = 0xCD9E8D57``, and the key raised by ``(0x9E3779B9, 0xBB67AE85)``
    after each.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops.random import philox4x32
    >>> [hex(int(w)) for w in philox4x32(np.zeros(1, np.uint64), seed=0, stream=0)[0]]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1 = counter & _LOW, counter >> _32
    c2 = np.full_like(counter, stream & 0xFFFFFFFF)
    c3 = np.full_like(counter, stream >> 32)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


@op(
    "seed: int[0,2**64), stream: int[0,2**64), start: int[0,2**63), n: int[0,2**63), dtype: T"
    " -> u: T[n]"
)
def uniform(seed: int, stream: int, start: int, n: int, dtype=np.float64) -> np.ndarray:
    """Uniform numbers on [0, 1).

    Parameters
    ----------
    seed : int in [0, 2**64)
        Which sequences.
    stream : int in [0, 2**64)
        Which sequence of the seed: one per purpose (a layer, a tree, an epoch).
    start : int in [0, 2**63)
        First item.
    n : int
        Number of items, ``start + n <= 2**63``.
    dtype : {float32, float64}, default=float64
        Of the result.

    Returns
    -------
    u : ndarray of shape (n,)
        Items start, ..., start + n - 1.

    Notes
    -----
    float32: ``floor(w / 2^8) / 2^24`` with ``w`` word ``i mod 4`` of block ``i // 4``. float64:
    ``(2^26 floor(w / 2^5) + floor(w' / 2^6)) / 2^53`` with ``w, w'`` words ``2 (i mod 2)`` and ``2
    (i mod 2) + 1`` of block ``i // 2``. 1 is never reached. Every implementation gives these bits.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import random
    >>> whole = random.uniform(42, 0, 0, 9)
    >>> np.array_equal(random.uniform(42, 0, 5, 4), whole[5:])
    True
    """
    item = _items(start, n)
    _check_end("random.uniform", start, n)
    if np.dtype(dtype) == np.float32:
        return _uniform24(_word(item, seed, stream)).astype(np.float32)
    return _uniform53(*_word_pair(item, seed, stream))


@op(
    "seed: int[0,2**64), stream: int[0,2**64), start: int[0,2**63), n: int[0,2**63), dtype: T"
    " -> z: T[n]"
)
def normal(seed: int, stream: int, start: int, n: int, dtype=np.float64) -> np.ndarray:
    """Standard normal numbers.

    Parameters
    ----------
    seed : int in [0, 2**64)
        Which sequences.
    stream : int in [0, 2**64)
        Which sequence of the seed.
    start : int in [0, 2**63)
        First item.
    n : int
        Number of items, ``start + n <= 2**63``.
    dtype : {float32, float64}, default=float64
        Of the result.

    Returns
    -------
    z : ndarray of shape (n,)
        Items start, ..., start + n - 1.

    Notes
    -----
    Box-Muller: ``z = sqrt(-2 log u) cos(2 pi t)`` for even items and ``sin`` for odd ones, both of
    a pair from one ``(u, t)``. float32: ``u = w / 2^32 + 2^-33`` with ``w`` and the sum rounded to
    float32, and ``t = floor(w' / 2^8) / 2^24``, of words (0, 1) of block ``i // 4`` for the block's
    items 0 and 1 and of words (2, 3) for 2 and 3; ``|z| <= 6.77``. float64: ``1 - u`` and ``t`` are
    the float64 uniforms of words (0, 1) and (2, 3) of block ``i // 2``; ``|z| <= 8.58``. Each
    implementation is within 4 units in the last place of the exact value, as the last bits of log,
    sin and cos differ. Cost that of `uniform` for as many words, plus a log, a sqrt and a sincos a
    pair.

    References
    ----------
    Box, Muller. A note on the generation of random normal deviates. Ann. Math. Statist. 29, 1958.

    Examples
    --------
    >>> from kernelmill.ops import random
    >>> z = random.normal(42, 0, 0, 100_000)
    >>> bool(abs(z.mean()) < 0.01), bool(abs(z.std() - 1) < 0.01)
    (True, True)
    """
    item = _items(start, n)
    _check_end("random.normal", start, n)
    if np.dtype(dtype) == np.float32:
        words = philox4x32(item // np.uint64(4), seed, stream)
        second_pair = item % np.uint64(4) >= 2
        first = np.where(second_pair, words[:, 2], words[:, 0])
        second = np.where(second_pair, words[:, 3], words[:, 1])
        u = first.astype(np.uint32).astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
        t = _uniform24(second)
    else:
        words = philox4x32(item // np.uint64(2), seed, stream)
        u = 1.0 - _uniform53(words[:, 0], words[:, 1])
        t = _uniform53(words[:, 2], words[:, 3])
    # cos(2 pi t) by quarter turns: 2 pi t itself would lose the zeros of sin and cos.
    quarter = np.round(4 * t)
    angle = 2 * np.pi * (t - quarter / 4)
    turn = (quarter.astype(np.int64) + np.where(item % np.uint64(2) == 1, 3, 0)) % 4
    cosine = np.choose(turn, [np.cos(angle), -np.sin(angle), -np.cos(angle), np.sin(angle)])
    return (np.sqrt(-2 * np.log(u.astype(np.float64))) * cosine).astype(dtype)


@op(
    "seed: int[0,2**64), stream: int[0,2**64), start: int[0,2**63), n: int[0,2**63),"
    " high: int[1,2**63] -> k: i64[n]"
)
def integers(seed: int, stream: int, start: int, n: int, high: int) -> np.ndarray:
    """Uniform integers in [0, high).

    Parameters
    ----------
    seed : int in [0, 2**64)
        Which sequences.
    stream : int in [0, 2**64)
        Which sequence of the seed.
    start : int in [0, 2**63)
        First item.
    n : int
        Number of items, ``start + n <= 2**63``.
    high : int in [1, 2**63]
        One above the largest value.

    Returns
    -------
    k : ndarray of shape (n,), int64
        Items start, ..., start + n - 1.

    Notes
    -----
    ``k = floor(v high / 2^64)`` with the 64 bits ``v = 2^32 w + w'`` of words ``2 (i mod 2)`` and
    ``2 (i mod 2) + 1`` of block ``i // 2``. Each value's probability is within ``2^-64`` of ``1 /
    high``: no test on fewer than about ``2^128 / high^2`` items can tell. Every implementation
    gives these bits. Cost 4 products an item beside the block.

    References
    ----------
    Lemire. Fast random integer generation in an interval. ACM TOMACS 29, 2019 (without its
    rejection step).

    Examples
    --------
    >>> from kernelmill.ops import random
    >>> k = random.integers(42, 0, 0, 1000, high=6)
    >>> int(k.min()), int(k.max())
    (0, 5)
    """
    _check_end("random.integers", start, n)
    v1, v0 = _word_pair(_items(start, n), seed, stream)
    return _bounded(v1, v0, np.uint64(high >> 32), np.uint64(high & 0xFFFFFFFF))


@op(
    "seed: int[0,2**64), stream: int[0,2**64), start: int[0,2**63), e: int[0,2**31),"
    " n: int[0,2**31) -> order: i64[e,n]",
    cuda="the exchanges of a permutation follow one another, and its readers run on the CPU",
)
def permutations(seed: int, stream: int, start: int, e: int, n: int) -> np.ndarray:
    """Random orders of the numbers 0, ..., n - 1.

    Parameters
    ----------
    seed : int in [0, 2**64)
        Which sequences.
    stream : int in [0, 2**64)
        Which sequence of the seed.
    start : int in [0, 2**63)
        First permutation.
    e : int
        Number of permutations, ``(start + e) n <= 2**63``.
    n : int
        Length of each.

    Returns
    -------
    order : ndarray of shape (e, n), int64
        Permutations start, ..., start + e - 1.

    Notes
    -----
    For i = 0, ..., n - 1: ``order[i] = order[k]; order[k] = i``, with ``k`` in [0, i] the number
    that `integers` makes for ``high = i + 1`` of item ``(start + j) n + i`` for row j. Every
    implementation gives these bits. Cost that of `integers`, and one exchange an item.

    References
    ----------
    Knuth. The art of computer programming 2, 3.4.2: the shuffle of Fisher and Yates, inside out.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import random
    >>> order = random.permutations(42, 0, 0, 3, 5)
    >>> np.sort(order, axis=1).tolist() == 3 * [[0, 1, 2, 3, 4]]
    True
    >>> np.array_equal(random.permutations(42, 0, 2, 1, 5), order[2:])
    True
    """
    if (start + e) * n > 2**63:
        raise ValueError(
            f"random.permutations: (start + e) n must be at most 2**63, got start {start}, e {e} "
            f"and n {n}"
        )
    v1, v0 = _word_pair(_items(start * n, e * n), seed, stream)
    high = np.arange(1, n + 1, dtype=np.uint64)
    chosen = _bounded(v1.reshape(e, n), v0.reshape(e, n), np.uint64(0), high)
    order = np.zeros((e, n), dtype=np.int64)
    for row, own in zip(order, chosen, strict=True):
        for i, k in enumerate(own):
            row[i] = row[k]
            row[k] = i
    return order


def _check_end(name: str, start: int, n: int) -> None:
    if start + n > 2**63:
        raise ValueError(f"{name}: start + n must be at most 2**63, got start {start} and n {n}")


def _items(start: int, n: int) -> np.ndarray:
    return np.uint64(start) + np.arange(n, dtype=np.uint64)


def _word(item: np.ndarray, seed: int, stream: int) -> np.ndarray:
    words = philox4x32(item // np.uint64(4), seed, stream)
    return np.take_along_axis(words, (item % np.uint64(4)).astype(np.intp)[:, None], axis=1)[:, 0]


def _word_pair(item: np.ndarray, seed: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    words = philox4x32(item // np.uint64(2), seed, stream)
    odd = item % np.uint64(2) == 1
    return np.where(odd, words[:, 2], words[:, 0]), np.where(odd, words[:, 3], words[:, 1])


def _bounded(v1: np.ndarray, v0: np.ndarray, h1: Any, h0: Any) -> np.ndarray:
    """``floor(v h / 2^64)``, each in limbs of 32 bits."""
    a = v1 * h0 + ((v0 * h0) >> _32)  # schoolbook product
    b = v0 * h1 + (a & _LOW)
    return (v1 * h1 + (a >> _32) + (b >> _32)).astype(np.int64)


def _uniform24(word: np.ndarray) -> np.ndarray:
    return (word >> np.uint64(8)).astype(np.float64) * 2.0**-24


def _uniform53(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((first >> np.uint64(5)) * np.uint64(2**26) + (second >> np.uint64(6))) * 2.0**-53
