"""The loader: order, exact resumes, threads, errors, streams."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy.sparse import random as sparse

from kernelmill import nn, stream
from kernelmill.nn import data


def rows(n=23):
    return np.arange(2.0 * n, dtype=np.float32).reshape(n, 2), np.arange(n)


class Items(data.Dataset):
    """Samples with a random number each, as augmentation draws it."""

    def __init__(self, n=23):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return index, nn.rand(1)[0]


def read(loader, epochs=1):
    return [[np.asarray(part).tolist() for part in batch]
            for _ in range(epochs) for batch in loader]  # fmt: skip


def test_batches_of_arrays():
    X, y = rows()
    loader = data.DataLoader((X, y), 5)
    batches = [*loader]
    assert len(batches) == len(loader) == 5
    np.testing.assert_array_equal(np.concatenate([b[0].data for b in batches]), X)
    np.testing.assert_array_equal(np.concatenate([b[1].data for b in batches]), y)
    assert len([*data.DataLoader((X, y), 5, drop_last=True)]) == 4
    assert batches[0][0].dtype == np.float32
    batches[0][0].data[...] = 7  # a batch is a copy
    assert X[0, 0] == 0
    assert [b.tolist() for b in data.DataLoader(y, 20)] == [y[:20].tolist(), y[20:].tolist()]
    csr = sparse(7, 4, 0.5, format="csr", random_state=0)
    parts = [b[0].data for b in data.DataLoader((csr,), 3, shuffle=True)]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(parts), 0), np.sort(csr.toarray(), 0)
    )
    assert [*data.DataLoader((X[:0], y[:0]), 3, shuffle=True)] == []


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("made", [lambda: data.TensorDataset(*rows()), Items])
def test_order_and_content_are_the_same_at_any_number_of_workers(made, workers):
    def loader(workers):
        return data.DataLoader(
            made(), 4, shuffle=True, num_workers=workers, generator=nn.Generator(3)
        )

    epochs = read(loader(workers), epochs=3)
    assert epochs == read(loader(0), epochs=3)
    first, second = epochs[:6], epochs[6:12]
    assert first != second  # another order in each epoch
    numbers = [i for batch in first for i in batch[-1 if made is not Items else 0]]
    assert sorted(numbers) == [*range(23)]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_validation_loader_disturbs_nothing(workers):
    """pytorch/pytorch#80119: every loader has a generator of its own."""

    def orders(validate):
        nn.manual_seed(5)
        train = data.DataLoader((np.arange(20),), 6, shuffle=True, num_workers=workers)
        valid = data.DataLoader(Items(7), 3, num_workers=workers)
        found = []
        for _ in range(3):
            found.append(read(train))
            if validate:
                read(valid)
        return found, nn.rand(1).item()

    assert orders(True) == orders(False)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("kind", ["rows", "items", "weighted", "buckets", "stream", "iterable"])
@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_a_resumed_loader_goes_on_exactly(kind, workers, stop):
    def make(seed):
        own = nn.Generator(seed)
        options = {"num_workers": workers, "generator": own}
        X, y = rows()
        if kind == "rows":
            return data.DataLoader((X, y), 4, shuffle=True, **options)
        if kind == "items":
            return data.DataLoader(Items(), 4, shuffle=True, **options)
        if kind == "weighted":
            chosen = data.WeightedRandomSampler(y + 1.0, 23, generator=nn.Generator(seed + 1))
            return data.DataLoader((X, y), 4, sampler=chosen, **options)
        if kind == "buckets":
            chosen = data.BucketBatchSampler(y, 4, pool=2, generator=nn.Generator(seed + 1))
            return data.DataLoader((X, y), batch_sampler=chosen, **options)
        if kind == "stream":
            source = stream.source(X, chunk_rows=7)
            return data.DataLoader(data.StreamDataset(source, y, shuffle_rows=9), 4, shuffle=True,
                                   **options)  # fmt: skip
        return data.DataLoader(lambda: ((i, nn.rand(1)[0]) for i in range(23)), 4, **options)

    whole, stopped, resumed = make(1), make(1), make(99)
    expected = read(whole, epochs=3)
    got = read(stopped)
    got += [[np.asarray(p).tolist() for p in b] for b in itertools.islice(stopped, stop)]
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.state_dict() == stopped.state_dict()
    got += read(resumed, epochs=2)
    assert got == expected
    assert resumed.state_dict() == whole.state_dict()


def test_a_state_of_other_samplers_is_refused():
    chosen = data.RandomSampler(range(5))
    state = data.DataLoader(range(5), sampler=chosen).state_dict()
    with pytest.raises(ValueError, match="states of 1 generators, got 2"):
        data.DataLoader(range(5)).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_errors_reach_the_caller_after_the_batches_before(workers):
    class Broken(data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            if index == 5:
                raise LookupError("sample 5")
            return index

    found = []
    before = threading.active_count()
    with pytest.raises(LookupError, match="sample 5"):
        found.extend(b.tolist() for b in data.DataLoader(Broken(), 2, num_workers=workers))
    assert found == [[0, 1], [2, 3]]
    assert threading.active_count() == before

    def lines():
        yield 1
        raise LookupError("line 2")

    with pytest.raises(LookupError, match="line 2"):
        list(data.DataLoader(lines, 1, num_workers=min(workers, 1)))


def test_workers_read_ahead_and_at_the_same_time():
    started, together = [], threading.Barrier(3, timeout=10)

    class Slow(data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            started.append(index)
            if index < 3:
                together.wait()  # breaks unless three samples are read at once
            return index

    reader = iter(data.DataLoader(Slow(), num_workers=3, prefetch_factor=2))
    assert next(reader).tolist() == [0]
    deadline = time.monotonic() + 10
    while len(started) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(started)[:6] == [0, 1, 2, 3, 4, 5]
    assert len(started) <= 7  # no more than what was asked for
    reader.close()


def test_closing_does_not_wait_for_a_worker_that_hangs():
    release = threading.Event()

    class Hanging(data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index:
                release.wait(60)
            return index

    reader = iter(data.DataLoader(Hanging(), num_workers=2))
    assert next(reader).tolist() == [0]
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 5
    release.set()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_and_the_end_of_the_program_do_not_wait():
    """The program is interrupted while it waits for a sample that never comes."""
    code = (
        "import os, time\n"
        "from kernelmill.nn import data\n"
        "class Hanging(data.Dataset):\n"
        "    def __len__(self): return 8\n"
        "    def __getitem__(self, index):\n"
        "        os.write(1, b'waiting\\n'); time.sleep(600)\n"  # whole lines from either thread
        "try:\n"
        "    next(iter(data.DataLoader(Hanging(), num_workers=2)))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert child.stdout.readline() == "waiting\n"
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        printed, _ = child.communicate(timeout=30)
        assert printed == "interrupted\n"
        assert child.returncode == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_streams():
    X, y = rows(11)
    frame = stream.source(np.column_stack([X, y]), chunk_rows=4)
    loader = data.DataLoader(data.StreamDataset(frame, target=-1), 3)
    parts = [*loader]
    np.testing.assert_array_equal(np.concatenate([p[0].data for p in parts]), X)
    assert [len(p[1]) for p in parts] == [3, 3, 3, 2]
    assert sorted(i for p in loader for i in p[1].tolist()) == y.tolist()
    assert len([*data.DataLoader(frame, 3, drop_last=True)]) == 3  # a Source itself
    weighted = stream.source(X, np.arange(11.0), chunk_rows=4)
    batch = next(iter(data.DataLoader(data.StreamDataset(weighted, y), 5)))
    assert [part.data.tolist() for part in batch[1:]] == [[0, 1, 2, 3, 4]] * 2
    shuffled = data.DataLoader(
        data.StreamDataset(weighted, y, shuffle_rows=6), 3, shuffle=True, num_workers=1
    )
    first, second = ([n for b in shuffled for n in b[1].tolist()] for _ in range(2))
    assert first != second != y.tolist()
    assert sorted(first) == sorted(second) == y.tolist()
    assert sorted(first[:6]) == [*range(6)]  # shuffled within windows
    for b in shuffled:
        np.testing.assert_array_equal(b[0].data, X[b[1].data])  # rows keep their targets
        np.testing.assert_array_equal(b[2].data, b[1].data)
    with pytest.raises(ValueError, match="one entry for each of 11 rows, got 3"):
        [*data.DataLoader(data.StreamDataset(weighted, y[:3]), 3)]
    for options in ({"target": 9}, {"target": "a"}, {"target": 0, "y": y}):
        with pytest.raises(ValueError, match="StreamDataset: target must"):
            data.StreamDataset(weighted, **options)


def test_iterables_and_single_samples():
    assert [b.tolist() for b in data.DataLoader(lambda: iter([1, 2, 3]), 2)] == [[1, 2], [3]]
    once = data.DataLoader(iter([1, 2, 3]), 2)
    assert len([*once]) == 2
    with pytest.raises(ValueError, match="got an iterator that was read before"):
        list(once)
    X, y = rows(3)
    assert [b[1].tolist() for b in data.DataLoader((X, y), None)] == [0, 1, 2]
    assert [*data.DataLoader(lambda: iter(["a", "b"]), None)] == ["a", "b"]
    joined = data.DataLoader([1, 2, 3, 4], 2, collate_fn=sum)
    assert [*joined] == [3, 7]
    together = data.Subset(data.TensorDataset(X, y), [2, 0])
    assert next(iter(data.DataLoader(together, 2)))[1].tolist() == [2, 0]


def test_arguments_that_contradict_each_other():
    for options in (
        {"sampler": [0], "shuffle": True}, {"batch_sampler": [[0]], "batch_size": 3},
        {"batch_sampler": [[0]], "drop_last": True}, {"batch_size": None, "drop_last": True},
        {"batch_size": 0}, {"num_workers": -1}, {"prefetch_factor": 0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="DataLoader: "):
            data.DataLoader([1, 2], **options)
    for options in ({"shuffle": True}, {"sampler": [0]}):
        with pytest.raises(ValueError, match="for an iterable dataset"):
            data.DataLoader(lambda: iter([1]), **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'pin'"):
        data.DataLoader([1], pin=True)
    assert len([*data.DataLoader([1, 2], pin_memory=True)]) == 2
    with pytest.raises(TypeError, match="got int"):
        data.DataLoader(3)
