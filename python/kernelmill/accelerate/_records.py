"""What ran where, why, and how long."""

from __future__ import annotations

import atexit
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MOST = 20_000  # the latest calls that are kept, and the first ones of each worker
SHARED = "KERNELMILL_ACCELERATE_CALLS"  # in the environment of workers: a folder for their calls
LOGGER = logging.getLogger("kernelmill.accelerate")


class Call(NamedTuple):
    """One call of a method of a replaced class.

    Attributes
    ----------
    name : str
        Class and method.
    where : str
        The library that ran it.
    reason : str
        Why it did not run here; empty where it did.
    seconds : float
        Wall-clock time of the run that gave the result.
    shape : tuple of int or None
        Shape of the first argument, where it has one.
    """

    name: str
    where: str
    reason: str
    seconds: float
    shape: tuple[int, ...] | None


class Report(list):
    """The calls in their order, a list of `Call`; as text, a table with one row for each kind.

    Parameters
    ----------
    calls : iterable of Call
        What was recorded.
    dropped : int
        How many older calls were not kept.
    workers : tuple of (int, int)
        How many of the calls, the last ones, were made in how many other processes.
    """

    def __init__(
        self, calls: Iterable[Call] = (), dropped: int = 0, workers: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__(calls)
        self.dropped = dropped
        self.workers = workers

    def __str__(self) -> str:
        kinds: dict[tuple[str, str, str], list[float]] = {}
        for call in self:
            kinds.setdefault((call.name, call.where, call.reason), []).append(call.seconds)
        if not kinds:
            return "kernelmill.accelerate: no call"
        wide = max(len(name) for name, _, _ in kinds)
        far = max(len(where) for _, where, _ in kinds)
        lines = [f"{'call':{wide}}  {'ran in':{far}}  {'calls':>6}  {'seconds':>9}  why"]
        for (name, where, reason), seconds in kinds.items():
            row = f"{name:{wide}}  {where:{far}}  {len(seconds):6}  {sum(seconds):9.4f}  {reason}"
            lines.append(row.rstrip())
        if self.workers[0]:
            lines.append("({} of the calls in {} other processes)".format(*self.workers))
        if self.dropped:
            lines.append(f"({self.dropped} older calls were not kept)")
        return "\n".join(lines)

    __repr__ = __str__


_calls: deque[Call] = deque(maxlen=MOST)
_counted = [0]
_owner = [0]  # the process whose report has the calls of its workers, too
_written: dict[int, int] = {}  # number of this process -> its file in the folder of the owner


def gather() -> None:
    """Make the folder in which workers of this process leave their calls; they have none."""
    if SHARED in os.environ:
        return
    folder = os.environ[SHARED] = tempfile.mkdtemp(prefix="kernelmill-accelerate-")
    owner = _owner[0] = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not at the end of a forked worker
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def record(call: Call) -> None:
    """Keep one call, and log it where it did not run here."""
    _calls.append(call)
    _counted[0] += 1
    if call.reason:
        LOGGER.info("%s ran in %s: %s", call.name, call.where, call.reason)
    own = os.getpid()
    if own != _owner[0] and SHARED in os.environ and _counted[0] <= MOST:
        try:
            if own not in _written:
                path = Path(os.environ[SHARED], str(own))
                _written[own] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(_written[own], f"{json.dumps(call)}\n".encode())
        except OSError:  # the owner has ended
            pass


def _of_workers() -> list[list[Call]]:
    """Calls in other processes, by process."""
    if _owner[0] != os.getpid():
        return []
    found = []
    for path in sorted(Path(os.environ[SHARED]).glob("*")):
        lines = path.read_text("utf-8").splitlines()
        calls = []
        for line in lines:
            if line.endswith("]"):  # the last may be half
                name, where, reason, seconds, shape = json.loads(line)
                calls.append(
                    Call(name, where, reason, seconds, None if shape is None else tuple(shape))
                )
        found.append(calls)
    return [calls for calls in found if calls]


def shape_of(arguments: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The shape of the first argument, where it has one."""
    shape = getattr(arguments[0], "shape", None) if arguments else None
    return tuple(shape) if isinstance(shape, tuple) else None


def report() -> Report:
    """Tell what ran where since the last `kernelmill.accelerate` call that found it stopped.

    Returns
    -------
    report : Report
        A list of calls with the fields ``name``, ``where``, ``reason``, ``seconds`` and ``shape``;
        its text is a table with one row for each class, method, place and reason. Calls in worker
        processes, such as those of ``n_jobs=2``, come last.

    Examples
    --------
    >>> import kernelmill
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [1.0, 3.0], [4.0, 2.0]])
    >>> with kernelmill.accelerate():
    ...     from sklearn.decomposition import PCA
    ...     scores = PCA(1).fit(X).transform(X)
    >>> for call in kernelmill.accelerate.report():
    ...     print(call.name, call.where, call.shape)
    PCA.fit kernelmill (3, 2)
    PCA.transform kernelmill (3, 2)
    """
    others = _of_workers()
    count = sum(map(len, others))
    calls = [*_calls, *itertools.chain(*others)]
    return Report(calls, _counted[0] - len(_calls), (count, len(others)))


def clear() -> None:
    """Forget all calls."""
    _calls.clear()
    _counted[0] = 0
    if _owner[0] == os.getpid():
        for path in Path(os.environ[SHARED]).glob("*"):
            path.write_bytes(b"")  # workers may go on in theirs
