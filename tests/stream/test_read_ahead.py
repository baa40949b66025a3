"""Chunks are read ahead by one thread, two at a time, and the thread ends with its consumer."""

import gc
import threading
import time

import numpy as np
import pytest

from kernelmill import stream
from kernelmill.stream._source import read_ahead


def readers():
    return [t for t in threading.enumerate() if t.name == "kernelmill-read-ahead"]


def test_read_ahead_overlaps_and_keeps_two_items():
    class Item:
        alive = most = 0

        def __init__(self):
            Item.alive += 1
            Item.most = max(Item.most, Item.alive)

        def __del__(self):
            Item.alive -= 1

    started = [threading.Event() for _ in range(6)]

    def items():
        for event in started:
            event.set()
            yield Item()

    chunks = read_ahead(items())
    for i, item in enumerate(chunks):
        if i + 1 < len(started):
            assert started[i + 1].wait(10)  # the next one is read while this one is in use
        time.sleep(0.01)
        if i + 2 < len(started):
            assert not started[i + 2].is_set()
        del item
    assert Item.most == 2
    assert Item.alive == 0
    assert not readers()


def test_map_reduce_keeps_two_chunks():
    alive, most = set(), []

    class Chunk(np.ndarray):
        def __array_finalize__(self, other):
            alive.add(id(self))

        def __del__(self):
            alive.discard(id(self))

    def chunks():
        for _ in range(8):
            yield np.ones((4, 2)).view(Chunk)

    def op(X, sample_weight=None):
        time.sleep(0.01)
        most.append(len(alive))
        return float(np.asarray(X).sum())

    s = stream.source(chunks)
    gc.collect()
    alive.clear()
    assert s.map_reduce(op) == 64.0
    assert max(most) == 2


def test_error_of_the_iterator_comes_through():
    X = np.arange(515.0).reshape(103, 5)

    def broken():
        yield X
        yield X
        raise OSError("disk on fire")

    seen = []
    with pytest.raises(OSError, match="disk on fire"):
        seen.extend(len(part) for part, w in stream.source(broken))
    assert seen == [103, 103]
    assert not readers()


def test_thread_ends_when_the_consumer_stops():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield np.arange(515.0).reshape(103, 5)
        finally:
            closed.set()

    chunks = iter(stream.source(endless))
    next(chunks)
    assert readers()
    closed.clear()
    chunks.close()
    assert closed.wait(10)
    assert not readers()

    def fail(X, sample_weight=None):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stream.source(endless).map_reduce(fail)
    assert not readers()
