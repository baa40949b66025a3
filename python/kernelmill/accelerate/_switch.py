"""On and off: the names of public modules of other libraries, and what they were."""

from __future__ import annotations

import importlib
import importlib.util
from types import TracebackType
from typing import Any

from kernelmill.accelerate import _records
from kernelmill.accelerate._records import Report
from kernelmill.accelerate._table import Entry, entries

_replaced: dict[str, Any] = {}  # name -> their class
_stopped = [False]  # set by stop(): then their classes run inside the replacements too


def _chosen(names: tuple[str, ...]) -> list[Entry]:
    table = entries()
    for name in names:
        if name not in table:
            raise ValueError(
                f"accelerate: names must be classes that exist in both libraries, got {name!r} "
                f"(the names are those of docs/accelerate.md)"
            )
    return [table[name] for name in names or table]


def _imported(module: str) -> Any:
    """A module, or None where its package is not installed."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return None
    return importlib.import_module(module)


class Acceleration:
    """What one call of `kernelmill.accelerate` replaced; leaving its ``with`` block undoes it.

    Parameters
    ----------
    names : tuple of str
        The classes that this call replaced.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __enter__(self) -> Acceleration:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"Acceleration({len(self.names)} classes)"

    def undo(self) -> None:
        """Give back the classes that this call replaced."""
        _restore(self.names)

    stop = undo

    def report(self) -> Report:
        """Tell what ran where; see `kernelmill.accelerate.report`."""
        return _records.report()


def start(*names: str) -> Acceleration:
    """Replace classes in the public modules of scikit-learn and hmmlearn."""
    from kernelmill.accelerate import _classes

    new = []
    chosen = _chosen(names)
    # All first: what these packages take from each other stays theirs.
    modules = {entry.module: _imported(entry.module) for entry in entries().values()}
    if not _replaced:
        _records.clear()
        _records.gather()
    for entry in chosen:
        module = modules[entry.module]
        theirs = getattr(module, entry.name, None)
        if theirs is None or entry.name in _replaced:  # None: an older release without it
            continue
        setattr(module, entry.name, _classes.replacement(entry.name))
        _replaced[entry.name] = theirs
        new.append(entry.name)
    _stopped[0] = False
    return Acceleration(tuple(new))


def _restore(names: tuple[str, ...]) -> None:
    for name in names:
        theirs = _replaced.pop(name, None)
        if theirs is not None:
            setattr(importlib.import_module(entries()[name].module), name, theirs)
    if not _replaced:
        _stopped[0] = True


def stop() -> None:
    """Give back every class that was replaced.

    Models that were fitted meanwhile go on to predict here; their next ``fit`` is theirs.

    Examples
    --------
    >>> import kernelmill
    >>> import sklearn.cluster
    >>> before = sklearn.cluster.KMeans
    >>> _ = kernelmill.accelerate()
    >>> issubclass(sklearn.cluster.KMeans, before) and sklearn.cluster.KMeans is not before
    True
    >>> kernelmill.accelerate.stop()
    >>> sklearn.cluster.KMeans is before
    True
    """
    _restore(tuple(_replaced))


undo = stop


def is_stopped() -> bool:
    """Whether it was on and is off; in a process that only unpickled a model it never was."""
    return _stopped[0]


def original(entry: Entry) -> Any:
    """Their class, also while it is replaced."""
    found = _replaced.get(entry.name)
    return found or getattr(importlib.import_module(entry.module), entry.name)
