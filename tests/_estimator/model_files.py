"""Exact comparison of models, and forged model files whose checksum is right."""

import hashlib
import json
import struct

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator

from kernelmill._estimator import persistence


def assert_same(a, b, where="model"):
    """Equal in type, dtype, layout and every bit."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert a.shape == b.shape, where
        assert b.flags.writeable, where
        if a.dtype == object:
            for i, (x, y) in enumerate(zip(a.flat, b.flat, strict=True)):
                assert_same(x, y, f"{where}[{i}]")
        else:
            assert a.tobytes() == b.tobytes(), where
            if a.flags.c_contiguous or a.flags.f_contiguous:
                assert a.flags.f_contiguous == b.flags.f_contiguous, where
    elif scipy.sparse.issparse(a):
        assert a.shape == b.shape, where
        for part in ("data", "indices", "indptr"):
            assert_same(getattr(a, part), getattr(b, part), f"{where}.{part}")
    elif isinstance(a, BaseEstimator):
        assert list(vars(a)) == list(vars(b)), where
        for name in vars(a):
            assert_same(vars(a)[name], vars(b)[name], f"{where}.{name}")
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(legacy=False), b.get_state(legacy=False), where)
    elif isinstance(a, np.random.Generator):
        assert_same(a.bit_generator.state, b.bit_generator.state, where)
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, (float, np.generic)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    else:
        assert a == b, where


def seal(blob):
    """Give any content the checksum that matches it."""
    blob = bytearray(blob)
    blob[persistence._DIGEST] = persistence._NO_DIGEST
    blob[persistence._DIGEST] = hashlib.sha256(blob).hexdigest().encode()
    return bytes(blob)


def forge(document=None, tensors=None, data=b"", raw=None):
    """A file with a right checksum around any document."""
    if raw is None:
        full = {
            "checksum": "sha256:" + "0" * 64,
            "format": persistence.FORMAT,
            "schema": persistence.SCHEMA,
            "version": "0.1.0",
            "model": {},
        }
        full.update(document or {})
        raw = json.dumps(full, separators=(",", ":"))
    header = {"__metadata__": {"kernelmill": raw}, **(tensors or {})}
    text = json.dumps(header, separators=(",", ":")).encode()
    return seal(struct.pack("<Q", len(text)) + text + data)


def dummy(**state):
    return {"type": "model", "class": "tests.GoldenDummy", "params": {}, "state": state}


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def array(name="t0", dtype="float32", order="C"):
    return {"type": "array", "tensor": name, "dtype": dtype, "order": order}
