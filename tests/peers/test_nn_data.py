"""Data sets, samplers and loaders beside torch: equal batches wherever no random number decides."""

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import data

torch = pytest.importorskip("torch", reason="torch is not installed")
peer = torch.utils.data
N = 11
X = np.arange(2.0 * N, dtype=np.float32).reshape(N, 2)
Y = np.arange(N)


def listed(value):
    if isinstance(value, torch.Tensor | nn.Tensor):
        return str(np.asarray(value).dtype), np.asarray(value).tolist()
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    return value


def both(make):
    """The batches of two epochs of a loader of each library."""
    found = []
    for library, tensor in ((data, nn.Tensor), (peer, torch.from_numpy)):
        loader = make(library, tensor)
        found.append([listed(batch) for _ in range(2) for batch in loader])
        if library.IterableDataset not in type(loader.dataset).__mro__:
            found[-1].append(len(loader))
    return found


class Squares:
    def __len__(self):
        return N

    def __getitem__(self, i):
        return {"i": i, "x": float(i), "b": i % 2 == 0, "t": str(i), "p": (i, [i, 2.5])}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4, N, 20])
@pytest.mark.parametrize("kind", ["rows", "dicts", "subset", "concat", "stack", "list", "array"])
def test_batches_in_order(kind, size, drop_last, workers):
    def make(library, tensor):
        rows = library.TensorDataset(tensor(X), tensor(Y))
        made = {
            "rows": lambda: rows,
            "dicts": Squares,
            "subset": lambda: library.Subset(rows, [8, 1, 5, 5]),
            "concat": lambda: library.ConcatDataset([rows, library.Subset(rows, [3]), rows]),
            "stack": lambda: library.StackDataset(x=[1, 2, 3], y=[0.5, 1.5, 2.5]),
            "list": lambda: [(1, "a"), (2, "b"), (3, "c")],
            "array": lambda: Y,
        }[kind]()
        options = {"num_workers": workers} if library is data else {}
        return library.DataLoader(made, size, drop_last=drop_last, **options)

    ours, theirs = both(make)
    assert ours == theirs


def test_samplers_and_single_samples():
    for options in (
        {"sampler": [3, 1, 2]}, {"sampler": [3, 1, 2], "batch_size": 2},
        {"batch_sampler": [[3, 1], [2], [4, 5, 6]]}, {"batch_size": None},
    ):  # fmt: skip
        ours, theirs = both(lambda library, _, options=options: library.DataLoader(Y, **options))
        assert ours == theirs, options
    for size, drop in itertools.product((1, 3, 4), (True, False)):
        made = [lib.BatchSampler(lib.SequentialSampler(Y), size, drop) for lib in (data, peer)]
        assert [*made[0]] == [*made[1]]
        assert len(made[0]) == len(made[1])


def test_iterables():
    def make(library, tensor):
        class Lines(library.IterableDataset):
            def __iter__(self):
                return iter(range(7))

        return library.DataLoader(library.ChainDataset([Lines(), Lines()]), 4)

    ours, theirs = both(make)
    assert ours == theirs


@pytest.mark.parametrize("lengths", [[4, 7], [0.5, 0.5], [0.3, 0.3, 0.4], [0.1] * 10, [11, 0]])
def test_sizes_of_random_splits(lengths):
    ours, theirs = (lib.random_split(range(N), lengths) for lib in (data, peer))
    assert [len(part) for part in ours] == [len(part) for part in theirs]


def test_lengths_of_random_samplers():
    for make in (
        lambda lib: lib.RandomSampler(range(5)),
        lambda lib: lib.RandomSampler(range(5), num_samples=12),
        lambda lib: lib.RandomSampler(range(5), replacement=True, num_samples=7),
        lambda lib: lib.WeightedRandomSampler([1.0, 2.0], 6),
        lambda lib: lib.SubsetRandomSampler([4, 2]),
    ):
        ours, theirs = make(data), make(peer)
        assert len(ours) == len(theirs) == len([*ours]) == len([*theirs])
        assert set(ours) <= set(range(5))
