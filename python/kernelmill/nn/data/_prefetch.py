"""Jobs run ahead by threads, results in order."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

# Seconds to wait for workers that are in the middle of a job when nobody wants its result.
_GRACE = 0.3


def in_order(jobs: Iterator[Callable[[], Any]], workers: int, ahead: int) -> Iterator[Any]:
    """Results of jobs in their order, while threads run the next ones.

    Parameters
    ----------
    jobs : iterator of callable
        Taken in the caller's thread.
    workers : int
        Number of threads. They have the caller's context variables.
    ahead : int
        Most jobs that are taken before the first of them is done.

    Yields
    ------
    result : object
        Of each job. What a job raises is raised here, after the results before it.

    Notes
    -----
    The threads end with this generator. One that is in the middle of a job is waited for briefly:
    it is a daemon, so that neither closing nor the end of the program hangs on it.
    """
    todo: queue.SimpleQueue[tuple[Callable[[], Any], Future] | None] = queue.SimpleQueue()
    pending: deque[Future] = deque()

    def work() -> None:
        while (item := todo.get()) is not None:
            job, future = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:  # it belongs to the consumer, whatever it is
                    future.set_exception(error)
            del item, job, future

    threads = [
        threading.Thread(
            target=contextvars.copy_context().run, args=(work,), name="kernelmill-loader",
            daemon=True,
        )
        for _ in range(workers)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        while True:
            while len(pending) < ahead:
                job = next(jobs, None)
                if job is None:
                    break
                pending.append(Future())
                todo.put((job, pending[-1]))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for _ in threads:
            todo.put(None)
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
