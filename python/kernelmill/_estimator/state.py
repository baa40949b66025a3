"""A model's state as JSON plus named arrays, and back, with no code in between.

`Encoder` turns a value into JSON that refers to arrays by name (``{"type": "array", "tensor":
"t3", ...}``); `Decoder` is its inverse and treats every word of its input as hostile: it checks
sizes before it allocates, calls no name that the file brought, and answers anything odd with
`ValueError`.

JSON's own null, booleans, whole numbers, finite numbers, strings and lists stand for themselves.
Everything else is an object with a ``"type"``.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelmill._arrays import is_cupy, is_sparse, to_host
from kernelmill._estimator import registry

MAX_DEPTH = 32
# Fixed-width text pads every item to the longest one, so a small file could ask for much memory.
MAX_TEXT_BYTES = 256 << 20

_ARRAY_DTYPES = frozenset(
    f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
) - {"float8"} | {"bool", "complex64", "complex128"}
_TYPES = {f"numpy.{name}": np.dtype(name).type for name in _ARRAY_DTYPES}
_TYPES |= {"bool": bool, "int": int, "float": float, "complex": complex, "str": str}
# Attributes of scikit-learn's callback protocol, which are not part of a model.
_TRANSIENT = frozenset(
    {
        "_callback_fit_ctx",
        "_parent_callback_ctx",
        "_skl_callbacks",
        "_skl_callbacks_to_teardown",
    }
)
_BIT_GENERATORS = {"PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM}


def _reserved(cls, name):
    """Whether an attribute of this name would hide a method or property of the class."""
    if name.startswith("__") or not name.isidentifier():
        return True
    value = getattr(cls, name, None)
    return callable(value) or hasattr(value, "__get__")


class Encoder:
    """Collects the arrays of a model while its state becomes JSON.

    Attributes
    ----------
    tensors : dict of str to ndarray
        C-contiguous little-endian arrays, each referred to from the JSON.
    """

    def __init__(self):
        self.tensors = {}
        self._nodes = {}  # id of an array -> its node: equal references are stored once
        self._alive = []  # keeps those ids from being reused

    def encode(self, value, where, depth=0):
        """JSON for one value; `where` names it in errors, such as ``KMeans.cluster_centers_``."""
        if depth > MAX_DEPTH:
            raise ValueError(f"save: {where} must be nested at most {MAX_DEPTH} deep, got more")
        if value is None or type(value) in (bool, str):
            return value
        if type(value) is int:
            if value.bit_length() > 4096:
                raise ValueError(
                    f"save: {where} must be below 2**4096, got {value.bit_length()} bits"
                )
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"type": "float", "value": repr(value)}
        if type(value) is complex:
            return {"type": "scalar", "value": self._array(np.asarray(value), where), "plain": True}
        if type(value) is list:
            return self._items(value, where, depth)
        if type(value) in (tuple, set, frozenset):
            # Sets have no order of their own; sorting makes equal models equal files.
            items = list(value) if type(value) is tuple else sorted(value, key=repr)
            return {"type": type(value).__name__, "items": self._items(items, where, depth)}
        if type(value) is dict:
            return {
                "type": "dict",
                "items": [
                    [
                        self.encode(key, f"{where} key", depth + 1),
                        self.encode(item, f"{where}[{key!r}]", depth + 1),
                    ]
                    for key, item in value.items()
                ],
            }
        return self._encode_object(value, where, depth)

    def _items(self, items, where, depth):
        return [self.encode(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(items)]

    def _encode_object(self, value, where, depth):
        if isinstance(value, np.str_):
            return {"type": "numpy_str", "value": str(value)}
        if isinstance(value, np.generic):
            return {"type": "scalar", "value": self._array(np.asarray(value), where)}
        if isinstance(value, np.ndarray):
            return self._ndarray(value, where, depth)
        if isinstance(value, np.dtype):
            if value.newbyteorder("=").name in _ARRAY_DTYPES:
                return {"type": "dtype", "value": value.str}
        elif isinstance(value, type):
            for name, known in _TYPES.items():
                if value is known:
                    return {"type": "type", "value": name}
            key = registry.key_of(value)
            if key is not None:
                return {"type": "class", "value": key}
        elif registry.function_name(value) is not None:
            return {"type": "function", "value": registry.function_name(value)}
        elif isinstance(value, np.random.RandomState):
            state: Mapping[str, Any] = value.get_state(legacy=False)
            if state["bit_generator"] == "MT19937":
                return {"type": "RandomState", "state": self.encode(state, where, depth + 1)}
        elif isinstance(value, np.random.Generator):
            state = value.bit_generator.state
            if state["bit_generator"] in _BIT_GENERATORS:
                return {"type": "Generator", "state": self.encode(state, where, depth + 1)}
        elif is_cupy(value):
            # A model fitted on a GPU can be loaded without one.
            return self._ndarray(to_host(value), where, depth)
        elif is_sparse(value):
            if value.format in ("csr", "csc"):
                return self._sparse(value, where)
        else:
            key = registry.key_of(type(value))
            if key is not None:
                return self._model(value, key, depth)
        kind = type(value)
        called = getattr(value, "__name__", None)
        got = f"{kind.__module__}.{kind.__qualname__}" + (f" {called!r}" if called else "")
        raise TypeError(
            f"save: {where} must be data (numbers, text, arrays, CSR or CSC matrices, lists, dicts "
            f"or KernelMill models), got {got} (a model file holds no code; "
            "kernelmill.register lets it name classes of your own)"
        )

    def _model(self, model, key, depth):
        cls = type(model)
        node = {"type": "model", "class": key}
        if hasattr(model, "__kernelmill_state__"):
            node["custom"] = self.encode(model.__kernelmill_state__(), cls.__name__, depth + 1)
            return node
        params = model.get_params(deep=False)
        node["params"] = {
            name: self.encode(value, f"{cls.__name__}.{name}", depth + 1)
            for name, value in params.items()
        }
        node["state"] = {}
        for name, value in vars(model).items():
            if name in params or name in _TRANSIENT:
                continue
            if _reserved(cls, name):
                raise TypeError(
                    f"save: {cls.__name__}.{name} must not hide an attribute of its class, got "
                    f"{type(value).__name__}"
                )
            node["state"][name] = self.encode(value, f"{cls.__name__}.{name}", depth + 1)
        return node

    def _ndarray(self, array, where, depth):
        if type(array) not in (np.ndarray, np.memmap):
            raise TypeError(
                f"save: {where} must be a plain NumPy array, got {type(array).__name__} "
                f"(convert it with numpy.asarray)"
            )
        if id(array) in self._nodes:
            return self._nodes[id(array)]
        if array.dtype.kind == "U" or (
            array.dtype.kind == "O" and all(type(item) is str for item in array.flat)
        ):
            node = self._text(array, where)
        elif array.dtype.kind == "O":
            items = self._items(list(array.flat), where, depth)
            node = {"type": "object_array", "shape": list(array.shape), "items": items}
        else:
            node = self._array(array, where)
        self._nodes[id(array)] = node
        self._alive.append(array)
        return node

    def _text(self, array, where):
        if array.dtype.kind == "U" and array.nbytes > MAX_TEXT_BYTES:
            raise ValueError(
                f"save: {where} must take at most {MAX_TEXT_BYTES} bytes, got {array.nbytes} "
                f"(use dtype=object for text of very uneven length)"
            )
        encoded = [str(item).encode("utf-8", "surrogatepass") for item in array.flat]
        lengths = np.array([len(item) for item in encoded], dtype=np.int64)
        content = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return {
            "type": "text",
            "shape": list(array.shape),
            "width": array.dtype.itemsize // 4 if array.dtype.kind == "U" else None,
            "lengths": self._array(lengths, where),
            "content": self._array(content, where),
        }

    def _array(self, array, where):
        native = array.dtype.newbyteorder("=")
        if native.name not in _ARRAY_DTYPES:
            raise TypeError(
                f"save: {where} must have a boolean, integer, float, complex or text dtype, got "
                f"{array.dtype} (store its columns as separate arrays)"
            )
        # Column-major arrays stay so: the layout decides the order of sums inside BLAS.
        fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        stored = array.T if fortran else array
        stored = np.array(stored, dtype=native.newbyteorder("<"), order="C", copy=None)
        if native.kind == "c":  # safetensors has no complex128: pairs of floats do for both
            stored = stored[..., None].view(f"f{native.itemsize // 2}")
        name = f"t{len(self.tensors)}"
        self.tensors[name] = stored
        return {"type": "array", "tensor": name, "dtype": native.name, "order": "CF"[fortran]}

    def _sparse(self, matrix, where):
        from scipy.sparse import sparray

        return {
            "type": "sparse",
            "format": matrix.format,
            "container": "array" if isinstance(matrix, sparray) else "matrix",
            "shape": [int(size) for size in matrix.shape],
            "data": self._array(matrix.data, where),
            "indices": self._array(matrix.indices, where),
            "indptr": self._array(matrix.indptr, where),
        }


def _need(condition, message):
    if not condition:
        raise ValueError(message)


class Decoder:
    """Rebuilds values from JSON and the arrays it refers to.

    Every flaw of the input raises ValueError or another plain exception that `load` turns into
    ModelFileError; `finish` checks that no array was left over.
    """

    def __init__(self, tensors):
        self._tensors = tensors
        self._arrays = {}  # tensor name and order -> array, so that shared arrays stay shared
        self._used = set()
        self._text_bytes = 0

    def finish(self):
        """Raise where the file holds arrays that nothing refers to."""
        unused = sorted(set(self._tensors) - self._used)
        _need(not unused, f"{len(unused)} arrays that belong to nothing")

    def decode(self, node, depth=0):
        """The value behind one piece of JSON."""
        _need(depth <= MAX_DEPTH, f"values nested more than {MAX_DEPTH} deep")
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, list):
            return [self.decode(item, depth + 1) for item in node]
        kind = node.get("type")
        method = _DECODERS.get(kind) if isinstance(kind, str) else None
        if method is None:
            raise ValueError(f"a value of unknown type {str(kind)[:60]!r}")
        return method(self, node, depth)

    def _float(self, node, depth):
        _need(node["value"] in ("nan", "inf", "-inf"), "a malformed number")
        return float(node["value"])

    def _sequence(self, node, depth):
        _need(isinstance(node["items"], list), "a malformed list")
        items = [self.decode(item, depth + 1) for item in node["items"]]
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[node["type"]](items)

    def _dict(self, node, depth):
        result = {}
        for key, value in node["items"]:
            result[self.decode(key, depth + 1)] = self.decode(value, depth + 1)
        _need(len(result) == len(node["items"]), "a dict that repeats a key")
        return result

    def _numpy_str(self, node, depth):
        _need(isinstance(node["value"], str), "a malformed string")
        return np.str_(node["value"])

    def _scalar(self, node, depth):
        array = self._array(node["value"], depth)
        _need(array.shape == (), "a scalar that is an array")
        return complex(array) if node.get("plain") else array[()]

    def _dtype(self, node, depth):
        _need(re.fullmatch(r"[<>|][biufc]\d{1,2}", node["value"]), "a malformed dtype")
        dtype = np.dtype(node["value"])
        _need(dtype.newbyteorder("=").name in _ARRAY_DTYPES, "a malformed dtype")
        return dtype

    def _type(self, node, depth):
        _need(node["value"] in _TYPES, "a type that is not a number's")
        return _TYPES[node["value"]]

    def _class(self, node, depth):
        cls = registry.class_of(node["value"]) if isinstance(node["value"], str) else None
        _need(cls is not None, f"class {str(node['value'])[:100]!r}, which is not known here")
        return cls

    def _function(self, node, depth):
        name = node["value"]
        function = registry.function_of(name) if isinstance(name, str) else None
        _need(function is not None, f"function {str(name)[:100]!r}, which is not known here")
        return function

    def _shape(self, shape, count):
        """Check a declared shape against how many items there really are."""
        _need(isinstance(shape, list) and len(shape) <= 32, "a malformed shape")
        _need(all(type(n) is int and 0 <= n < 1 << 62 for n in shape), "a malformed shape")
        _need(math.prod(shape) == count, "a shape that does not fit its items")
        return tuple(shape)

    def _array(self, node, depth):
        _need(isinstance(node, dict) and node.get("type") == "array", "a malformed array")
        name, dtype, order = node["tensor"], node["dtype"], node["order"]
        _need(isinstance(name, str) and name in self._tensors, "an array that is not in the file")
        _need(dtype in _ARRAY_DTYPES and order in ("C", "F"), "a malformed array")
        self._used.add(name)
        if (name, dtype, order) not in self._arrays:
            stored = self._tensors[name]
            wanted = np.dtype(dtype)
            if wanted.kind == "c":
                pair = np.dtype(f"f{wanted.itemsize // 2}")
                _need(stored.dtype == pair and stored.shape[-1:] == (2,), "a malformed array")
                stored = stored.view(wanted)[..., 0]
            _need(stored.dtype == wanted, "an array of another dtype than declared")
            if wanted.kind == "b":  # other bit patterns than 0 and 1 are undefined as booleans
                _need(not stored.size or stored.view(np.uint8).max() <= 1, "a malformed boolean")
            self._arrays[name, dtype, order] = stored.T if order == "F" else stored
        return self._arrays[name, dtype, order]

    def _text(self, node, depth):
        lengths = self._array(node["lengths"], depth)
        content = self._array(node["content"], depth)
        _need(lengths.dtype == np.int64 and lengths.ndim == 1, "malformed text")
        _need(content.dtype == np.uint8 and content.ndim == 1, "malformed text")
        shape = self._shape(node["shape"], len(lengths))
        _need(not len(lengths) or lengths.min() >= 0, "malformed text")
        _need(not len(lengths) or lengths.max() <= len(content), "malformed text")
        ends = np.cumsum(lengths)
        _need((int(ends[-1]) if len(ends) else 0) == len(content), "malformed text")
        data, width = content.tobytes(), node["width"]
        items = [
            data[end - size : end].decode("utf-8", "surrogatepass")
            for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]
        if width is None:
            result = np.empty(len(items), dtype=object)
            result[:] = items
        else:
            _need(type(width) is int and 0 <= width < 1 << 28, "malformed text")
            _need(all(len(item) <= width for item in items), "malformed text")
            self._text_bytes += 4 * width * len(items)
            _need(self._text_bytes <= MAX_TEXT_BYTES, f"more than {MAX_TEXT_BYTES} bytes of text")
            result = np.array(items, dtype=f"<U{width}")
        return result.reshape(shape)

    def _object_array(self, node, depth):
        _need(isinstance(node["items"], list), "a malformed array")
        shape = self._shape(node["shape"], len(node["items"]))
        result = np.empty(len(node["items"]), dtype=object)
        for i, item in enumerate(node["items"]):
            result[i] = self.decode(item, depth + 1)
        return result.reshape(shape)

    def _sparse(self, node, depth):
        import scipy.sparse

        _need(node["format"] in ("csr", "csc"), "a malformed sparse matrix")
        _need(node["container"] in ("array", "matrix"), "a malformed sparse matrix")
        parts = [self._array(node[part], depth) for part in ("data", "indices", "indptr")]
        _need(all(part.ndim == 1 for part in parts), "a malformed sparse matrix")
        _need(all(part.dtype.kind == "i" for part in parts[1:]), "a malformed sparse matrix")
        shape = node["shape"]
        _need(
            isinstance(shape, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in shape),
            "a malformed sparse matrix",
        )
        cls = getattr(scipy.sparse, f"{node['format']}_{node['container']}")
        matrix = cls(tuple(parts), shape=tuple(shape))
        matrix.check_format(full_check=True)
        return matrix

    def _random_state(self, node, depth):
        state = self.decode(node["state"], depth + 1)
        key, position = state["state"]["key"], state["state"]["pos"]
        # NumPy trusts both and would read outside the key.
        _need(state["bit_generator"] == "MT19937", "a malformed random state")
        _need(isinstance(key, np.ndarray) and key.shape == (624,), "a malformed random state")
        _need(key.dtype == np.uint32, "a malformed random state")
        _need(type(position) is int and 0 <= position <= 624, "a malformed random state")
        # All zeros is a fixed point: every draw is 0 and sampling by rejection never ends.
        _need(key[0] >> 31 or key[1:].any(), "a malformed random state")
        result = np.random.RandomState(0)
        result.set_state(state)
        return result

    def _generator(self, node, depth):
        state = self.decode(node["state"], depth + 1)
        _need(state["bit_generator"] in _BIT_GENERATORS, "a malformed random generator")
        _need(state["state"]["inc"] & 1, "a malformed random generator")  # as PCG's period needs
        bits = _BIT_GENERATORS[state["bit_generator"]](0)
        bits.state = state
        return np.random.Generator(bits)

    def _model(self, node, depth):
        key = node["class"]
        _need(isinstance(key, str), "a malformed class name")
        cls = registry.class_of(key)
        _need(cls is not None, f"class {key[:100]!r}, which this version does not know")
        if "custom" in node:
            _need(hasattr(cls, "__kernelmill_restore__"), f"a malformed {cls.__name__}")
            return cls.__kernelmill_restore__(self.decode(node["custom"], depth + 1))
        _need(not hasattr(cls, "__kernelmill_restore__"), f"a malformed {cls.__name__}")
        model = cls(**{k: self.decode(v, depth + 1) for k, v in node["params"].items()})
        for name, value in node["state"].items():
            _need(not _reserved(cls, name), f"an attribute {name[:60]!r} of {cls.__name__}")
            vars(model)[name] = self.decode(value, depth + 1)
        return model


_DECODERS = {
    "float": Decoder._float,
    "tuple": Decoder._sequence,
    "set": Decoder._sequence,
    "frozenset": Decoder._sequence,
    "dict": Decoder._dict,
    "numpy_str": Decoder._numpy_str,
    "scalar": Decoder._scalar,
    "dtype": Decoder._dtype,
    "type": Decoder._type,
    "class": Decoder._class,
    "function": Decoder._function,
    "array": Decoder._array,
    "text": Decoder._text,
    "object_array": Decoder._object_array,
    "sparse": Decoder._sparse,
    "RandomState": Decoder._random_state,
    "Generator": Decoder._generator,
    "model": Decoder._model,
}
