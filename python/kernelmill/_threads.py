"""How many threads the compiled code may use, and why.

The first of these that is set determines the limit:

1. ``kernelmill.threads(n)`` or a threadpoolctl limit, whichever was set last;
2. ``KERNELMILL_NUM_THREADS``;
3. the CPUs that this process may run on, or its cgroup's CPU quota rounded up (``--cpus`` of a
   container), and at most ``OMP_NUM_THREADS`` if that is set. That variable commonly means "threads
   per process": joblib's loky workers, Dask's nannies and batch systems set it so that processes
   times threads do not exceed the machine. No OpenMP runtime is involved.

This is an upper limit: a loop that is too small to split runs on the calling thread alone.
"""

from __future__ import annotations

import importlib.util
import operator
import os
from types import ModuleType, TracebackType
from typing import Any

ENVIRONMENT = "KERNELMILL_NUM_THREADS"
_MOST = 2048  # kMostThreads in cpp/core/parallel.cpp

# The limit is stored here because several compiled modules may be loaded (tests run all levels),
# each with its own pool, and one loaded later must start with the limit chosen before.
_modules: list[ModuleType] = []
_chosen: int | None = None  # None: automatic
_chosen_by = ""


def _from_environment() -> int | None:
    """``KERNELMILL_NUM_THREADS``, or None if it is unset or empty."""
    text = os.environ.get(ENVIRONMENT, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise ValueError(
            f"{ENVIRONMENT}: must be a whole number from 1 to {_MOST}, got {text!r} "
            "(unset it to use the available processors)"
        )
    return int(text)


# It is read once, as OpenMP runtimes do: Dask sets the variable in the parent to pass it to its
# workers, which must not limit the parent.
_openmp_at_start = os.environ.get("OMP_NUM_THREADS", "")


def _from_openmp_environment() -> int | None:
    """``OMP_NUM_THREADS`` at its first nesting level; None if unset or not a positive number.

    The variable belongs to OpenMP, so a value that cannot be read is ignored.
    """
    text = _openmp_at_start.split(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) >= 1 else None


def _automatic(module: ModuleType) -> tuple[int, int, str]:
    """Number of threads, the limit to set in the module (0: its own count), and the reason."""
    wanted = _from_environment()
    if wanted is not None:
        return wanted, wanted, f"{ENVIRONMENT} is set to {wanted}."
    available = module.available_threads()
    per_process = _from_openmp_environment()
    if per_process is not None and per_process < available:
        return per_process, per_process, f"OMP_NUM_THREADS limits this process to {per_process}."
    runnable = _affinity()
    if runnable is not None and available < runnable:
        reason = f"The CPU quota of this process's cgroup rounds up to {available}."
    elif runnable is not None and runnable < (os.cpu_count() or runnable):
        reason = (
            f"This process may run on {available} of the machine's {os.cpu_count()} processors."
        )
    else:
        reason = f"The machine has {available} processor{'s' if available != 1 else ''}."
    return available, 0, reason


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _set_limit(module: ModuleType) -> None:
    module.set_thread_limit(_automatic(module)[1] if _chosen is None else _chosen)


def _choose(n: int | None, by: str) -> None:
    global _chosen, _chosen_by
    _chosen, _chosen_by = n, by
    for module in _modules:
        _set_limit(module)


def apply_to(module: ModuleType) -> None:
    """Set the current limit in a compiled module that has just been loaded.

    Raises
    ------
    ValueError
        If ``KERNELMILL_NUM_THREADS`` is not a whole number from 1 to 2048.
    """
    _from_environment()  # an invalid value is an error even if it is overridden
    _set_limit(module)
    if module not in _modules:
        _modules.append(module)
    _register_with_threadpoolctl()


def get_threads() -> int:
    """Return the number of threads that one operation may use.

    Returns
    -------
    int
        The current limit, at least 1. Small operations use fewer threads.

    Raises
    ------
    ValueError
        If ``KERNELMILL_NUM_THREADS`` is not a whole number from 1 to 2048.

    See Also
    --------
    threads : Change the limit.

    Examples
    --------
    >>> import kernelmill
    >>> with kernelmill.threads(1):
    ...     kernelmill.get_threads()
    1
    """
    return why_threads()[0]


def why_threads() -> tuple[int, str]:
    """Return the number of threads that one operation may use, and the reason in one sentence.

    Returns
    -------
    count : int
        The current limit.
    reason : str
        What set it: a call, an environment variable, the machine or its container.

    Raises
    ------
    ValueError
        If ``KERNELMILL_NUM_THREADS`` is not a whole number from 1 to 2048.

    Examples
    --------
    >>> from kernelmill import threads
    >>> from kernelmill._threads import why_threads
    >>> with threads(2):
    ...     why_threads()
    (2, 'kernelmill.threads(2) was called.')
    """
    from . import _levels

    module = _levels.cpu()
    count = module.thread_limit()
    if _chosen is not None:
        return count, f"{_chosen_by}({_chosen}) was called."
    return count, _automatic(module)[2]


class threads:
    """Limit the threads that one operation may use, from now on or for a ``with`` block.

    The limit applies to the whole process, including all its Python threads. Results do not depend
    on it: they are bitwise equal for any number of threads.

    Parameters
    ----------
    n : int or None
        Number of threads, from 1 to 2048, including the calling thread; it may exceed the number of
        processors. None restores the automatic number (see ``kernelmill.info()``).

    Raises
    ------
    TypeError
        If `n` is neither an integer nor None.
    ValueError
        If `n` is out of range.

    See Also
    --------
    get_threads : Return the limit.

    Notes
    -----
    Creating the object sets the limit; leaving the ``with`` block, or calling ``restore()``,
    restores the previous one. threadpoolctl knows this library as ``user_api="kernelmill"`` once an
    operation has loaded the compiled code; from then on, ``threadpool_limits(1)`` limits it along
    with BLAS and OpenMP. Results have the same bits at any limit; the threads of BLAS, on which the
    last bits of factors of more than 512 rows depend, are left alone. Cost: a few microseconds.

    Examples
    --------
    >>> import kernelmill
    >>> with kernelmill.threads(2):
    ...     kernelmill.get_threads()
    2
    >>> limit = kernelmill.threads(1)
    >>> kernelmill.get_threads()
    1
    >>> limit.restore()
    """

    def __init__(self, n: int | None) -> None:
        if n is not None:
            n = _checked(n)
        self._before = (_chosen, _chosen_by)
        _choose(n, "kernelmill.threads")

    def restore(self) -> None:
        """Restore the limit from before this object was created.

        Examples
        --------
        >>> import kernelmill
        >>> before = kernelmill.get_threads()
        >>> limit = kernelmill.threads(1)
        >>> limit.restore()
        >>> kernelmill.get_threads() == before
        True
        """
        _choose(*self._before)

    def __enter__(self) -> threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None
    ) -> None:
        self.restore()


def _checked(n: Any) -> int:
    try:
        if isinstance(n, bool):
            raise TypeError
        count = operator.index(n)
    except TypeError:
        raise TypeError(
            f"threads: n must be an integer or None, got {n!r} (None means the automatic number)"
        ) from None
    if not 1 <= count <= _MOST:
        raise ValueError(
            f"threads: n must be from 1 to {_MOST}, got {count} (None means the automatic number)"
        )
    return count


_registered = False


def _register_with_threadpoolctl() -> None:
    """Make ``threadpoolctl`` limits reach the compiled modules.

    Called when the first compiled module is loaded, not by ``import kernelmill``, as importing
    threadpoolctl takes 4 ms (scikit-learn's estimators import it anyway).
    """
    global _registered
    if _registered or importlib.util.find_spec("threadpoolctl") is None:
        return
    _registered = True
    import threadpoolctl

    from ._version import __version__

    class KernelMillController(threadpoolctl.LibController):
        user_api = "kernelmill"
        internal_api = "kernelmill"
        filename_prefixes = ("_cpu_v2", "_cpu_v3", "_cpu_v4", "_cpu_arm64")
        # Another library's extension may have such a name, but not these functions.
        check_symbols = ("kernelmill_get_num_threads", "kernelmill_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.kernelmill_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            # threadpoolctl restores by setting the previous number. If that is the automatic one,
            # become automatic again, so that a forked child still counts its own processors.
            count = min(max(int(num_threads), 1), _MOST)
            self.dynlib.kernelmill_set_num_threads(count)
            automatic = _modules and count == _automatic(_modules[0])[0]
            _choose(None if automatic else count, "threadpoolctl.threadpool_limits")

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(KernelMillController)
