"""The ``@op`` decorator: one registry, dispatch on the array type, and no silent fallback."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import _levels
from .._arrays import is_cupy

registry: dict[str, Op] = {}

# None: the array type decides. Else a key of `Op.implementation`.
_active: ContextVar[str | None] = ContextVar("kernelmill_backend", default=None)
_BACKENDS = ("numpy", "cpu", "cuda")


class Op:
    """A specification with its twins. Calling it runs the twin that fits the arguments.

    Attributes
    ----------
    name : str
        ``"family.op"``.
    specification : callable
        The NumPy function that says what is true.
    array_free : bool
        True when no argument is an array: the active backend alone decides, C++ by default.
    """

    def __init__(self, specification: Callable[..., Any], array_free: bool = False) -> None:
        functools.update_wrapper(self, specification)
        self.specification = specification
        self.family = specification.__module__.rpartition(".")[2]
        self.op_name = specification.__name__
        self.name = f"{self.family}.{self.op_name}"
        self.array_free = array_free
        self._cpu: Callable[..., Any] | None = None
        self._others: dict[str, Callable[..., Any]] = {"numpy": specification}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        backend = _active.get()
        if backend is None:
            # The first positional argument is the data. `type(x) is ndarray` is the common case
            # and the cheapest test there is.
            if self.array_free or (args and type(args[0]) is np.ndarray):
                run = self._cpu
                if run is None:
                    run = self._cpu = self.implementation("cpu")
                return run(*args, **kwargs)
            backend = self._backend_of(args[0] if args else None)
        elif backend == "cuda" or backend == "cpu":
            self._refuse_mixed(backend, args[0] if args else None)
        return self.implementation(backend)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def implementation(self, backend: str) -> Callable[..., Any]:
        """The function behind ``"numpy"``, ``"cpu"``, ``"cpu:<level>"`` or ``"cuda"``.

        Raises
        ------
        NotImplementedError
            If the op has no twin there.
        """
        found = self._others.get(backend)
        if found is not None:
            return found
        if backend.startswith("cpu"):
            level = backend.partition(":")[2]
            module = _levels.load(level) if level else _levels.cpu()
        else:
            module = _cuda_module(self.name)
        twin = getattr(getattr(module, self.family, None), self.op_name, None)
        if twin is None:
            device = "the GPU" if backend == "cuda" else "the CPU"
            raise NotImplementedError(
                f"{self.name}: a {backend} twin must exist to run on {device}, got none (move the "
                "arrays to the other device, or run the specification under "
                "kernelmill.backend('numpy'))"
            )
        self._others[backend] = twin
        return twin

    def _backend_of(self, array: Any) -> str:
        if isinstance(array, np.ndarray):
            return "cpu"
        if is_cupy(array):
            return "cuda"
        raise TypeError(
            f"{self.name}: the first argument must be a NumPy or CuPy array, got "
            f"{type(array).__name__} (convert it with numpy.asarray)"
        )

    def _refuse_mixed(self, backend: str, array: Any) -> None:
        if self.array_free or self._backend_of(array) == backend:
            return
        raise TypeError(
            f"{self.name}: arrays must live where kernelmill.backend({backend!r}) runs, got "
            f"{type(array).__module__.partition('.')[0]}.{type(array).__name__} (move them with "
            "cupy.asarray or cupy.asnumpy)"
        )


def op(specification: Callable[..., Any] | None = None, *, array_free: bool = False) -> Any:
    """Register a NumPy function as the specification of an op.

    Parameters
    ----------
    specification : callable
        The specification. Its docstring is the contract that every twin keeps.
    array_free : bool, default=False
        Set when no argument is an array, e.g. for random numbers.
    """
    if specification is None:
        return functools.partial(op, array_free=array_free)
    made = Op(specification, array_free)
    if made.name in registry and registry[made.name].specification is not specification:
        raise ValueError(f"op: names must be unique, got {made.name} twice")
    registry[made.name] = made
    return made


@functools.cache
def _cuda_module(asked_by: str):
    try:
        return importlib.import_module("kernelmill._cuda")
    except ImportError as error:
        raise NotImplementedError(
            f"{asked_by}: the CUDA module must be installed to run on the GPU, got none ({error}; "
            "build with nvcc on the PATH)"
        ) from error


def backend(name: str) -> AbstractContextManager[None]:
    """Run every op inside the block on one backend.

    Parameters
    ----------
    name : {"numpy", "cpu", "cuda"}
        ``"numpy"`` runs the specifications, ``"cpu"`` the C++ twins, ``"cuda"`` the CUDA twins.
        Arrays are not moved: an op that gets an array of the other device raises TypeError.

    Returns
    -------
    context manager
        For a ``with`` statement; the call alone changes nothing.

    Raises
    ------
    ValueError
        If ``name`` is not one of the three.

    Examples
    --------
    >>> import numpy as np, kernelmill
    >>> from kernelmill.ops import pairwise
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> with kernelmill.backend("numpy"):
    ...     pairwise.euclidean(X, X)
    array([[0., 5.],
           [5., 0.]])
    """
    if name not in _BACKENDS:
        raise ValueError(f"backend: name must be one of {', '.join(_BACKENDS)}, got {name!r}")
    return _using(name)  # the name was checked at the call, not first when the block is entered


@contextmanager
def using_level(level: str) -> Iterator[None]:
    """Run every op inside the block on the C++ twins of one instruction-set level (for tests)."""
    if level not in _levels.runnable():
        raise ValueError(
            f"using_level: level must be one of {', '.join(_levels.runnable())}, got {level!r}"
        )
    with _using(f"cpu:{level}"):
        yield


@contextmanager
def _using(key: str) -> Iterator[None]:
    token = _active.set(key)
    try:
        yield
    finally:
        _active.reset(token)
