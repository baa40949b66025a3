"""The ``@op`` decorator: one registry, dispatch on the array type, and no silent fallback."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .. import _levels
from .._arrays import is_csr, is_cupy
from .._runtime import Dispatch
from .._runtime import active as _active
from ._signature import Signature

registry: dict[str, Op] = {}



# `_active` is None where the array type decides, else a key of `Op.implementation`.
_BACKENDS = ("numpy", "cpu", "cuda")


class Op(Dispatch):
    """A specification with its implementations. A call runs the one that fits the arguments.

    Parameters
    ----------
    specification : callable
        The NumPy function that says what is true.
    signature : str, optional
        What the arguments and results are, as `_signature.py` says. An op without one checks its
        arguments itself, on every device.
    array_free : bool, default=False
        True when no argument is an array: the active backend alone decides, C++ by default. A
        signature says this by itself.
    cuda : str, default=""
        Why there is no CUDA implementation; empty where there is one.
    half : bool, default=False
        Whether the CUDA implementation also takes float16 and bfloat16 for T.

    Attributes
    ----------
    name : str
        ``"family.op"``.
    specification : callable
        The specification, which checks its arguments where there is a signature.
    signature : Signature or None
    """

    def __init__(
        self, specification: Callable[..., Any], signature: str = "", *, array_free: bool = False,
        cuda: str = "", half: bool = False
    ) -> None:
        functools.update_wrapper(self, specification)
        self.family = specification.__module__.rpartition(".")[2]
        self.op_name = specification.__name__
        self.name = f"{self.family}.{self.op_name}"
        self.cuda, self.half = cuda, half
        self.signature = Signature(self.name, signature, specification, half) if signature else None
        if self.signature is not None:
            specification = self.signature.checked(specification)
            array_free = self.signature.array_free
        self.specification = specification
        self.array_free = array_free
        self._others: dict[str, Callable[..., Any]] = {"numpy": specification}

    # The first positional argument is the data. `Dispatch` calls `_cpu` itself where that is a
    # NumPy array and no backend was asked for; all other calls come here.
    def _choose(self, *args: Any, **kwargs: Any) -> Any:
        backend = _active.get()
        first = args[0] if args else None
        if backend is None:
            backend = "cpu" if self.array_free else self._backend_of(first)
            if backend == "cpu":
                self._cpu = self.implementation("cpu")
        elif backend == "cuda" or backend == "cpu":
            self._refuse_mixed(backend, first)
        return self.implementation(backend)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str:
        return self.op_name  # pickled by name, so that Dask can send it to its workers

    def implementation(self, backend: str) -> Callable[..., Any]:
        """The function behind ``"numpy"``, ``"cpu"``, ``"cpu:<level>"`` or ``"cuda"``.

        Raises
        ------
        NotImplementedError
            If the op has none there.
        """
        known = self._others.get(backend)
        if known is not None:
            return known
        if backend == "cuda" and self.cuda:
            raise NotImplementedError(
                f"{self.name}: a CUDA implementation must exist to run on the GPU, got none: "
                f"{self.cuda}"
            )
        if backend.startswith("cpu"):
            level = backend.partition(":")[2]
            module = _levels.load(level) if level else _levels.cpu()
        else:
            module = _cuda_module(self.name)
        loaded = self._loaded(module, cuda=backend == "cuda")
        if loaded is None:
            device = "the GPU" if backend == "cuda" else "the CPU"
            raise NotImplementedError(
                f"{self.name}: a {backend} implementation must exist to run on {device}, got none "
                "(move the arrays to the other device, or run the specification under "
                "kernelmill.backend('numpy'))"
            )
        self._others[backend] = loaded
        return loaded

    def _loaded(self, module: Any, cuda: bool) -> Callable[..., Any] | None:
        """The compiled function in an extension module, which is told the signature."""
        compiled = getattr(getattr(module, self.family, None), self.op_name, None)
        if compiled is not None and self.signature is not None:
            refuse = functools.partial(self.signature.refuse, cuda)
            module.describe(self.name, *self.signature.encoded(), refuse)
        return compiled

    def _backend_of(self, array: Any) -> str:
        if isinstance(array, np.ndarray):
            return "cpu"
        if isinstance(array, (list, tuple)):  # ops over lists; an empty one is nowhere
            return self._backend_of(array[0]) if array else "cpu"
        if is_cupy(array):
            return "cuda"
        if self.signature is not None and self.signature.takes_csr and is_csr(array):
            return "cpu"
        csr = self.signature is not None and self.signature.takes_csr
        raise TypeError(
            f"{self.name}: the first argument must be a NumPy or CuPy array"
            f"{' or a SciPy CSR matrix' if csr else ''}, got {type(array).__name__} (convert it "
            "with numpy.asarray)"
        )

    def _refuse_mixed(self, backend: str, array: Any) -> None:
        if self.array_free or self._backend_of(array) == backend:
            return
        raise TypeError(
            f"{self.name}: arrays must live where kernelmill.backend({backend!r}) runs, got "
            f"{type(array).__module__.partition('.')[0]}.{type(array).__name__} (move them with "
            "cupy.asarray or cupy.asnumpy)"
        )


def op(signature: Any, *, cuda: str = "", half: bool = False) -> Any:
    """Register a NumPy function as the specification of an op.

    Parameters
    ----------
    signature : str
        What the arguments and results are, as `_signature.py` says; it checks the specification
        and drives the binders of both devices. ``@op`` alone makes an op without a signature.
    cuda : str, default=""
        Why there is no CUDA implementation, for an op that no estimator can reach on a GPU.
    half : bool, default=False
        Whether the CUDA implementation also takes float16 and bfloat16 for T.

    Returns
    -------
    decorator : callable
        Takes the specification, whose docstring is the contract that every implementation keeps,
        and returns the op.
    """

    if callable(signature):
        return register(Op(signature))

    def decorate(specification: Callable[..., Any]) -> Op:
        return register(Op(specification, signature, cuda=cuda, half=half))

    return decorate


def register(made: Op) -> Op:
    """Add an op to the registry; names are unique."""
    if made.name in registry:
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
        ``"numpy"`` runs the specifications, ``"cpu"`` the C++ implementations and
        ``"cuda"`` the CUDA ones.
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
def _using(key: str) -> Iterator[None]:
    token = _active.set(key)
    try:
        yield
    finally:
        _active.reset(token)
