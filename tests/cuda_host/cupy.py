"""Stands in for CuPy over NumPy memory: just what the bindings of the CUDA twins call.

Put this folder on the path before importing the emulated ``_cuda``; see ``test_emulated.py``.
"""

from __future__ import annotations

import ctypes
import mmap
import types

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)


class _Pointer:
    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class ndarray:
    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self.device = types.SimpleNamespace(id=0)

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

    @property
    def flags(self):
        return types.SimpleNamespace(c_contiguous=self.host.flags.c_contiguous)

    @property
    def data(self) -> _Pointer:
        return _Pointer(self.host.ctypes.data if self.host.size else 0)

    @property
    def dtype(self) -> np.dtype:
        return self.host.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.host.shape

    @property
    def ndim(self) -> int:
        return self.host.ndim

    def get(self) -> np.ndarray:
        return self.host

    def copy(self, order: str = "C") -> ndarray:
        return _guarded(self.host.copy(order))

    def astype(self, dtype) -> ndarray:
        return _guarded(self.host.astype(dtype))

    def __setitem__(self, index, value: ndarray) -> None:
        self.host[index] = value.host

    def fill(self, value: float) -> None:
        self.host.fill(value)

    def __mul__(self, other: float) -> ndarray:
        return ndarray(self.host * other)

    def __imul__(self, other: float) -> ndarray:
        self.host *= other
        return self

    def __iadd__(self, other: ndarray) -> ndarray:
        self.host += other.host
        return self


def _guarded(host: np.ndarray) -> ndarray:
    """A copy that ends within 16 bytes of a page that cannot be touched: overruns crash."""
    used = -(-host.nbytes // 16) * 16
    size = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if _libc.mprotect(ctypes.c_void_p(begin + size), mmap.PAGESIZE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    placed = np.frombuffer(memory, host.dtype, host.size, size - used).reshape(host.shape)
    placed[...] = host
    return ndarray(placed)


def empty(shape, dtype="float64") -> ndarray:
    """Filled with bytes that make any use of them show: NaN as float, -1 as integer."""
    made = _guarded(np.zeros(shape, dtype))
    made.host.reshape(-1).view(np.uint8)[...] = 255
    return made


def zeros(shape, dtype="float64") -> ndarray:
    return _guarded(np.zeros(shape, dtype))


def asarray(host: np.ndarray) -> ndarray:
    return _guarded(np.asarray(host))


def ascontiguousarray(array: ndarray) -> ndarray:
    return _guarded(np.ascontiguousarray(array.host))


def matmul(a: ndarray, b: ndarray, out: ndarray) -> None:
    np.matmul(a.host, b.host, out=out.host)


ndarray.__module__ = "cupy"
cuda = types.SimpleNamespace(
    get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    runtime=types.SimpleNamespace(getDevice=lambda: 0),
)
