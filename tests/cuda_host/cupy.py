"""Stands in for CuPy over NumPy memory, so that everything above the kernels runs without a GPU.

It is as strict as CuPy: NumPy arrays are no operands, nothing becomes a NumPy array by itself,
reductions give arrays without axes, and functions that CuPy does not have are missing. Put this
folder on the path before importing the emulated ``_cuda``; see ``test_emulated.py``.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import operator
import sys
import types
from typing import Any

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_MODULE = sys.modules[__name__]
# What NumPy has and CuPy 14.2 lacks.
_MISSING = {
    *("asmatrix", "block", "bmat", "einsum_path", "frompyfunc", "geomspace", "insert", "isnat"),
    *("matvec", "nanpercentile", "nanquantile", "nditer", "spacing", "unstack", "vecdot"),
    *("vecmat", "errstate", "seterr", "geterr", "ndenumerate", "memmap", "matrix"),
    *("matrix_norm", "multi_dot", "svdvals", "vector_norm"),
    *("getfield", "resize", "setfield", "setflags", "to_device", "ctypes", "byteswap"),
}
_CONSTANTS = ("inf", "nan", "pi", "e", "euler_gamma", "newaxis")


def _host(value: Any) -> Any:
    """Arguments as NumPy takes them; NumPy's own arrays are refused, as by CuPy."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_host, value))
    return value


def _device(value: Any, source: ndarray | None = None) -> Any:
    """Results as arrays of this module; NumPy's scalars become arrays without axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        made = ndarray(np.asarray(value))
        if source is not None and np.may_share_memory(made.host, source.host):
            made.base = source if source.base is None else source.base
        return made
    if isinstance(value, (list, tuple)):
        items = [_device(item, source) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


class _Function:
    """A function of NumPy on arrays of this module."""

    def __init__(self, function: Any, source: ndarray | None = None) -> None:
        self.function, self.source = function, source
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if {"where", "initial"} & {*kwargs}:
            raise TypeError(f"{self.__name__} got an unexpected keyword argument, of {[*kwargs]}")
        out = kwargs.get("out")
        given = {name: _host(value) for name, value in kwargs.items()}
        with np.errstate(all="ignore"):  # CuPy warns of nothing
            made = self.function(*map(_host, args), **given)
        if isinstance(out, tuple):
            (out,) = out
        if out is not None:
            return out
        source = self.source
        if source is None and isinstance(made, np.ndarray):  # broadcast_to, and what else views
            arrays = (a for a in args if isinstance(a, ndarray))
            source = next((a for a in arrays if np.may_share_memory(made, a.host)), None)
        return _device(made, source)

    def __getattr__(self, name: str) -> Any:
        return _Function(getattr(self.function, name))


# Whether cupyx.errstate asks for errors of cuSOLVER, which CuPy does not look at by default.
_raises = False


def _cholesky(a: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        if _raises:
            raise
        return np.full_like(a, np.nan)


class _Namespace(types.SimpleNamespace):
    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _found(self._module, name)


def _found(module: Any, name: str) -> Any:
    if name in _MISSING or name.startswith("__"):
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    value = _cholesky if name == "cholesky" else getattr(module, name)
    if isinstance(value, type) or name in _CONSTANTS:
        return value
    return _Namespace(value) if isinstance(value, types.ModuleType) else _Function(value)


def __getattr__(name: str) -> Any:
    return _found(np, name)


class _Pointer:
    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class ndarray:
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self.base: ndarray | None = None

    @property
    def device(self):
        return types.SimpleNamespace(id=0)

    @property
    def __cuda_array_interface__(self) -> dict:
        interface = dict(self.host.__array_interface__)
        strides = None if self.host.flags.c_contiguous else self.host.strides
        return {
            "shape": self.host.shape,
            "typestr": interface["typestr"],
            "data": (interface["data"][0] if self.host.size else 0, False),
            "strides": strides,
            "version": 3,
        }

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(_Function(ufunc), method)(*args, **kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        if any(not issubclass(kind, ndarray) for kind in kinds):
            return NotImplemented
        linalg = "linalg" in function.__module__
        return _found(np.linalg if linalg else np, function.__name__)(*args, **kwargs)

    @property
    def flags(self):
        flags = self.host.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous
        )

    @property
    def data(self) -> _Pointer:
        return _Pointer(self.host.ctypes.data if self.host.size else 0)

    @property
    def T(self) -> ndarray:
        return _device(self.host.T, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _MISSING:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        value = getattr(self.host, name)
        return _Function(value, self) if callable(value) else _device(value, self)

    def get(self) -> np.ndarray:
        return self.host

    def item(self, *args: int) -> Any:
        return self.host.item(*args)

    def tolist(self) -> Any:
        return self.host.tolist()

    def copy(self, order: str = "C") -> ndarray:
        return _guarded(self.host.copy(order))

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> ndarray:
        if not copy and self.host.dtype == np.dtype(dtype):
            return self
        with np.errstate(all="ignore"):
            return _guarded(self.host.astype(dtype, order=order))

    def fill(self, value: Any) -> None:
        self.host.fill(_host(value))

    def _index(self, index: Any) -> Any:  # CuPy takes arrays of either library here
        if isinstance(index, tuple):
            return tuple(map(self._index, index))
        return index if isinstance(index, np.ndarray) else _host(index)

    def __getitem__(self, index: Any) -> ndarray:
        return _device(self.host[self._index(index)], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.host[self._index(index)] = _host(value)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self.host)

    def __format__(self, spec: str) -> str:
        return format(self.host.item() if self.host.ndim == 0 else self.host, spec)


def _operators() -> None:
    def forward(function):
        return lambda self, other: _Function(function)(self, other)

    def backward(function):
        return lambda self, other: _Function(function)(other, self)

    def in_place(function):
        def run(self, other):
            with np.errstate(all="ignore"):
                function(self.host, _host(other))
            return self

        return run

    for name in [
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
        *("and", "or", "xor", "lshift", "rshift"),
    ]:
        function = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", forward(function))
        setattr(ndarray, f"__r{name}__", backward(function))
        setattr(ndarray, f"__i{name}__", in_place(getattr(operator, f"__i{name}__")))
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "divmod"):
        function = divmod if name == "divmod" else getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", forward(function))
    for name in ("neg", "pos", "abs", "invert"):
        function = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", lambda self, f=function: _Function(f)(self))
    for name, kind in (("float", float), ("int", int), ("bool", bool), ("index", operator.index)):
        setattr(ndarray, f"__{name}__", lambda self, kind=kind: kind(self.host))


_operators()
ndarray.__module__ = "cupy"


def _guarded(host: np.ndarray) -> ndarray:
    """A copy that ends within 16 bytes of a page that cannot be touched: overruns crash."""
    used = -(-host.nbytes // 16) * 16
    size = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if _libc.mprotect(ctypes.c_void_p(begin + size), mmap.PAGESIZE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    placed = np.frombuffer(memory, host.dtype, host.size, size - used)
    shaped = placed.reshape(host.shape, order="C" if host.flags.c_contiguous else "F")
    shaped[...] = host
    return ndarray(shaped)


def empty(shape: Any, dtype: Any = "float64") -> ndarray:
    """Filled with bytes that make any use of them show: NaN as float, -1 as integer."""
    made = _guarded(np.zeros(shape, dtype))
    made.host.reshape(-1).view(np.uint8)[...] = 255
    return made


def empty_like(a: ndarray, dtype: Any = None) -> ndarray:
    return empty(a.shape, dtype or a.dtype)


def zeros(shape: Any, dtype: Any = "float64") -> ndarray:
    return _guarded(np.zeros(shape, dtype))


def asarray(value: Any, dtype: Any = None) -> ndarray:
    if isinstance(value, ndarray) and dtype in (None, value.dtype):
        return value
    given = value.host if isinstance(value, ndarray) else value
    return _guarded(np.asarray(given, dtype))


def array(value: Any, dtype: Any = None, copy: bool = True) -> ndarray:
    return asarray(value, dtype).copy() if copy else asarray(value, dtype)


def asnumpy(value: Any) -> np.ndarray:
    return value.get() if isinstance(value, ndarray) else np.asarray(value)


def ascontiguousarray(value: ndarray, dtype: Any = None) -> ndarray:
    same = value.flags.c_contiguous and dtype in (None, value.dtype.name)
    return value if same else _guarded(np.ascontiguousarray(value.host, dtype))


cuda = types.SimpleNamespace(
    get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    runtime=types.SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1),
)
