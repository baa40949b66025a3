"""Files of weights: safetensors both ways, and torch's zip format without torch."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arrays import to_host
from ._documents import complete
from ._dtypes import bfloat16
from ._tensor import Tensor, as_array


def save_file(
    state_dict: Mapping[str, Any], path: Any, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file, which other libraries read and which holds no code.

    The file is complete or not there: it is written beside its place and moved.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or array
        As from ``module.state_dict()``.
    path : path-like
    metadata : dict of str to str, optional

    Examples
    --------
    >>> import tempfile, os
    >>> from kernelmill import nn
    >>> model = nn.Linear(2, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     nn.save_file(model.state_dict(), path)
    ...     model.load_state_dict(nn.load_file(path))
    LoadResult(missing_keys=[], unexpected_keys=[])
    """
    from safetensors.numpy import save

    arrays = {
        name: np.asarray(to_host(as_array(value)), order="C") for name, value in state_dict.items()
    }
    target = os.fspath(path)
    beside = f"{target}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(save(arrays, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def load_file(path: Any) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    state_dict : dict of str to Tensor
        bfloat16 becomes float32 where ml_dtypes is not installed.

    Raises
    ------
    ValueError
        If the file is damaged or is not a safetensors file.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.save_file({"a": nn.ones(2)}, "weights.safetensors")
    >>> nn.load_file("weights.safetensors")
    {'a': tensor([1., 1.])}
    """
    from safetensors import SafetensorError, deserialize

    with open(path, "rb") as file:
        data = file.read()
    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise ValueError(
            f"nn.load_file: path must name a safetensors file, got {os.fspath(path)!r} ({error})"
        ) from error
    return {
        name: Tensor(_decoded(entry["dtype"], bytes(entry["data"])).reshape(entry["shape"]))
        for name, entry in entries
    }


_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip


def _decoded(dtype: str, data: bytes) -> np.ndarray:
    if dtype == "BF16":
        return _of_bits(np.frombuffer(data, "<u2").astype(np.uint16))
    if dtype not in _DTYPES:
        raise ValueError(f"nn.load_file: dtypes must be those of NumPy or BF16, got {dtype}")
    return np.frombuffer(data, _DTYPES[dtype]).copy()


def _of_bits(bits: np.ndarray) -> np.ndarray:
    """The bits of bfloat16 numbers as such, or as float32 where nothing has that dtype."""
    try:
        return bits.view(bfloat16())
    except ImportError:
        return (bits.astype(np.uint32) << 16).view(np.float32)


# --- torch's files --------------------------------------------------------------------------------

_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "BFloat16Storage": "bfloat16",
}  # fmt: skip


def _tensor_of(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *rest: Any) -> Any:
    """What torch's file calls a tensor: a part of a storage with strides, checked to lie inside."""
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    empty = any(n == 0 for n in size)
    if offset < 0 or min((*size, *stride, 0)) < 0 or (not empty and last >= len(storage)):
        raise ValueError("a tensor lies outside its storage")
    if empty:
        return Tensor(np.zeros(size, storage.dtype))
    step = storage.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], size, tuple(s * step for s in stride), writeable=False
    )
    return Tensor(view.copy())


class _Name:
    """A class of the file that stands for a dtype or nothing at all."""

    def __init__(self, name: str) -> None:
        self.name = name


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_of,
    ("torch._utils", "_rebuild_parameter"): lambda data, requires_grad, hooks: data,
    **{("torch", name): _Name(name) for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    """Runs no code but the few functions above."""

    def __init__(self, data: bytes, archive: zipfile.ZipFile, folder: str, order: str) -> None:
        super().__init__(io.BytesIO(data))
        self._archive, self._folder, self._order = archive, folder, order
        self._storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ValueError(
                f"it holds {module}.{name}, which is no plain tensor (save model.state_dict())"
            ) from None

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, kind, key, _, count = pid
        known = self._storages.get(key)
        if known is None:
            raw = self._archive.read(f"{self._folder}/data/{key}")
            code = _STORAGES[kind.name]
            wide = code == "bfloat16"
            dtype = np.dtype("<u2" if wide else code)
            dtype = dtype.newbyteorder(self._order)  # type: ignore[arg-type]
            if len(raw) < int(count) * dtype.itemsize:
                raise ValueError("a storage is cut off")
            values = np.frombuffer(raw, dtype, int(count)).astype(dtype.newbyteorder("="))
            known = self._storages[key] = _of_bits(values) if wide else values
        return known


def load_torch(path: Any) -> Any:
    """The tensors of a file that ``torch.save`` wrote, without torch.

    Parameters
    ----------
    path : path-like
        A file in torch's zip format (torch 1.6 or later) with a ``state_dict``: tensors in
        dictionaries and lists. Nothing in it is run.

    Returns
    -------
    state : dict or list
        With a :class:`Tensor` for each tensor; bfloat16 becomes float32 where ml_dtypes is not
        installed.

    Raises
    ------
    ValueError
        If the file is damaged, or holds anything but plain tensors.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Linear(2, 3)
    >>> model.load_state_dict(nn.load_torch("weights.pt"))  # doctest: +SKIP
    """
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError("it has no data.pkl")
            folder = pickles[0].rpartition("/")[0]
            order = "<"
            if f"{folder}/byteorder" in archive.namelist():
                order = "<" if archive.read(f"{folder}/byteorder") == b"little" else ">"
            return _Unpickler(archive.read(pickles[0]), archive, folder, order).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, struct.error, EOFError, KeyError,
            ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError,
            NotImplementedError, UnicodeDecodeError) as error:  # fmt: skip
        raise ValueError(
            f"nn.load_torch: path must name a file of tensors that torch.save wrote, got {name!r}: "
            f"{error}"
        ) from error


complete(globals())
