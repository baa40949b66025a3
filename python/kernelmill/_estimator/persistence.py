"""Save a model to one file and load it back, without pickle and without running code.

The file is a safetensors file. Its only metadata entry, ``"kernelmill"``, is a JSON document:

    {"checksum": "sha256:<64 hex digits>", "format": "kernelmill-model", "schema": 1,
     "version": "<the KernelMill that wrote it>", "model": {...}}

`kernelmill._estimator.state` defines the content of ``"model"``. The checksum comes first, so its
digits have the same offset in every file; it is the SHA-256 of the whole file with those digits
replaced by zeros. `load` checks it before parsing anything, which finds damaged files; content that
passes may still be hostile and is not trusted.
"""

import contextlib
import hashlib
import importlib
import json
import os
import re
import secrets
import stat

import numpy as np

from kernelmill._estimator.registry import key_of
from kernelmill._estimator.state import Decoder, Encoder

FORMAT = "kernelmill-model"
SCHEMA = 1

_PREFIX = b'{"__metadata__":{"kernelmill":"{\\"checksum\\":\\"sha256:'
_NO_DIGEST = b"0" * 64
_DIGEST = slice(8 + len(_PREFIX), 8 + len(_PREFIX) + len(_NO_DIGEST))
# JSON takes up to about 20 times its size as Python objects, so this bounds the memory that a
# hostile header can use; arrays are bounded by the size of the file.
_MAX_HEADER = 32 << 20
_DTYPES = {
    "BOOL": "bool",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


class ModelFileError(ValueError):
    """A file that is damaged, too new or not a KernelMill model file."""


def _fail(name, must, got, hint, cause=None):
    raise ModelFileError(f"load: {name} must {must}, got {got} ({hint})") from cause


def _version():
    return getattr(importlib.import_module("kernelmill"), "__version__", "0.0.0")


def _digest(blob):
    """SHA-256 of the file with zeros in place of the digest."""
    view = memoryview(blob)
    total = hashlib.sha256(view[: _DIGEST.start])
    total.update(_NO_DIGEST)
    total.update(view[_DIGEST.stop :])
    return total.hexdigest().encode()


def _pieces(model):
    """The content of a model file as consecutive buffers."""
    from safetensors.numpy import save as serialize

    encoder = Encoder()
    name = type(model).__name__
    hint = _parts_to_save(model)
    if hint:
        raise TypeError(f"save: model must be a KernelMill estimator, got {name} ({hint})")
    document = {
        "checksum": "sha256:" + _NO_DIGEST.decode(),
        "format": FORMAT,
        "schema": SCHEMA,
        "version": _version(),
        "model": encoder.encode(model, name),
    }
    if not isinstance(document["model"], dict) or document["model"].get("type") != "model":
        raise TypeError(f"save: model must be a KernelMill estimator, got {name}")
    header = json.dumps(document, separators=(",", ":"), allow_nan=False)
    if 2 * len(header) > _MAX_HEADER:  # quotes are escaped once more
        raise ValueError(
            f"save: {name} must hold at most {_MAX_HEADER >> 21} MiB outside arrays, got "
            f"{len(header) >> 20} MiB (convert long lists and dicts to arrays)"
        )
    blob = serialize(encoder.tensors, metadata={"kernelmill": header})
    if blob[8 : _DIGEST.stop] != _PREFIX + _NO_DIGEST:
        raise RuntimeError("save: safetensors must write its metadata first, got another layout")
    view = memoryview(blob)
    return view[: _DIGEST.start], _digest(blob), view[_DIGEST.stop :]


def _parts_to_save(model):
    """What to save instead of a pipeline or search, which hold code of other libraries."""
    if key_of(type(model)) is not None and not hasattr(model, "search_result_"):
        return ""
    if hasattr(model, "steps"):
        own = [f"{name!r}" for name, step in model.steps if key_of(type(step)) is not None]
        if own:
            rest = "" if len(own) == len(model.steps) else ", with the other steps from elsewhere"
            return (
                f"save a file for each of its KernelMill steps, pipeline[{'], pipeline['.join(own)}"
                f"], and make the pipeline again from what load returns{rest}"
            )
    if key_of(type(getattr(model, "best_estimator_", None))) is not None:
        return "save its best_estimator_"
    return ""


def dumps(model):
    """Return a model as the bytes of a model file.

    Parameters
    ----------
    model : estimator
        A KernelMill estimator, fitted or not.

    Returns
    -------
    bytes
        The content that `save` writes; equal models give equal bytes.

    Raises
    ------
    TypeError
        If the model holds anything but data, such as a function; the message names it.
    """
    return b"".join(_pieces(model))


def save(model, path):
    """Save a model to one file, from which `load` restores it without running any code.

    A temporary file in the same folder is written, flushed and renamed, so a crash, a full disk or
    Ctrl-C leaves either the old file or the complete new one.

    Parameters
    ----------
    model : estimator
        A KernelMill estimator, fitted or not. Arrays keep their dtype, shape and order; CuPy arrays
        become NumPy arrays.
    path : str, os.PathLike or binary file object
        Destination. An existing file is replaced and keeps its permissions.

    Raises
    ------
    TypeError
        If the model holds anything but data, such as a function; the message names it.
    OSError
        If the file cannot be written; an existing file is not changed.

    Notes
    -----
    The file is a safetensors file, so other tools can read its arrays. Memory: one copy of the
    model.

    Examples
    --------
    >>> import io
    >>> import kernelmill
    >>> from kernelmill.cluster import KMeans
    >>> file = io.BytesIO()  # or a path such as "kmeans.safetensors"
    >>> kernelmill.save(KMeans(n_clusters=3), file)
    >>> _ = file.seek(0)
    >>> kernelmill.load(file).n_clusters
    3
    """
    pieces = _pieces(model)
    if hasattr(path, "write"):
        for piece in pieces:
            path.write(piece)
    else:
        write_atomically(path, pieces)


def write_atomically(path, pieces):
    """Replace the content of a file atomically.

    Parameters
    ----------
    path : str or os.PathLike
        The file, in an existing folder. A link is followed, permissions are kept.
    pieces : iterable of bytes-like
        The new content, in order.

    Raises
    ------
    OSError
        If any step fails; an existing file is not changed.
    """
    target = os.path.realpath(os.fspath(path))
    folder, base = os.path.split(target)
    temporary = os.path.join(folder, f".{base[:100]}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    if os.path.isdir(target):
        raise IsADirectoryError(f"save: path must be a file, got the folder {target}")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"save: path must be in an existing folder, got {target}")
    descriptor = os.open(temporary, flags, 0o666)  # as open() does, less the umask
    try:
        with open(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # make the rename durable
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load(path):
    """Load a model that `save` has written.

    Loading uses no pickle and runs no code from the file: only the public estimators of KernelMill
    and classes registered by the running program are restored.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        A file written by `save` in this version or an older one.

    Returns
    -------
    estimator
        The model, with writable NumPy arrays that own their memory.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, extended, from a newer version, or not a KernelMill model
        file. It is a ValueError.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import io
    >>> import kernelmill
    >>> from kernelmill.cluster import KMeans
    >>> file = io.BytesIO()
    >>> kernelmill.save(KMeans(tol=0.01), file)
    >>> _ = file.seek(0)
    >>> kernelmill.load(file)
    KMeans(tol=0.01)
    """
    if hasattr(path, "read"):
        return loads(path.read(), name=str(getattr(path, "name", "the file")))
    name = os.fsdecode(path)
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            _fail(name, "be a regular file", "a device or pipe", "open it and pass the file object")
        _check_start(file.read(_DIGEST.stop), name)  # before a large file of another kind is read
        file.seek(0)
        return loads(file.read(), name=name)


def loads(blob, *, name="the data"):
    """Return the model in the bytes that `dumps` has returned.

    Parameters
    ----------
    blob : bytes
        The content of a model file.
    name : str
        Name of the data in errors.

    Returns
    -------
    estimator

    Raises
    ------
    ModelFileError
        As `load` does.
    """
    blob = bytes(blob)
    _check_start(blob, name)
    if _digest(blob) != blob[_DIGEST]:
        _fail(
            name,
            "be an intact model file",
            "content that does not match its checksum",
            "the file was changed, truncated or extended: restore a copy or save the model again",
        )
    try:
        return _parse(blob, name)
    except ModelFileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        _fail(name, "hold a model", f"malformed content: {error}", "save did not write it", error)
    except (ValueError, NotImplementedError) as error:
        _fail(name, "hold a model", str(error), "save of this version did not write it", error)


def _check_start(blob, name):
    if len(blob) < _DIGEST.stop or blob[8 : _DIGEST.start] != _PREFIX:
        what = "an empty file" if not blob else "other content"
        _fail(
            name,
            "be a KernelMill model file",
            what,
            "kernelmill.save writes them; if it wrote this one, its first bytes are damaged",
        )


def _unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a header that repeats a key")
    return result


def _refuse_constant(text):
    raise ValueError(f"the number {text} in its header")


def _read_json(text):
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _parse(blob, name):
    from safetensors import SafetensorError, deserialize

    size = int.from_bytes(blob[:8], "little")
    if size > len(blob) - 8 or size > _MAX_HEADER:
        raise ValueError(f"a header of {size} bytes")
    metadata = _read_json(blob[8 : 8 + size])["__metadata__"]
    if list(metadata) != ["kernelmill"] or not isinstance(metadata["kernelmill"], str):
        raise ValueError("foreign metadata")
    document = _read_json(metadata["kernelmill"])
    schema, version = document["schema"], document["version"]
    if document["format"] != FORMAT or type(schema) is not int or schema < 1:
        raise ValueError("an unknown format")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9][0-9A-Za-z.+!-]{0,40}", version):
        raise ValueError("a malformed version")
    if schema > SCHEMA:
        _fail(
            name,
            f"have schema {SCHEMA} or older",
            f"schema {schema} from KernelMill {version}",
            f"this is KernelMill {_version()}: reading it needs version {version} or newer",
        )
    try:
        entries = deserialize(blob)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    tensors = {}
    for key, entry in entries:
        if entry["dtype"] not in _DTYPES or key in tensors:
            raise ValueError(f"a malformed array of dtype {entry['dtype']}")
        flat = np.frombuffer(entry["data"], dtype=_DTYPES[entry["dtype"]])
        if not (flat.dtype.isnative and flat.flags.writeable):
            flat = flat.astype(flat.dtype.newbyteorder("="))
        tensors[key] = flat.reshape(entry["shape"])
    decoder = Decoder(tensors)
    model_node = document["model"]
    if not isinstance(model_node, dict) or model_node.get("type") != "model":
        raise ValueError("no model")
    model = decoder.decode(model_node)
    decoder.finish()
    return model
