"""Rows on a GPU stay there: a stand-in for CuPy refuses what CuPy does, mixing both libraries."""

import sys
import types

import numpy as np
import pytest

from kernelmill.preprocessing import MinMaxScaler, RobustScaler, SimpleImputer, StandardScaler


class ndarray(np.ndarray):
    """An array that says it is CuPy's."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        for value in (*inputs, *(out or ())):
            if type(value) is np.ndarray and value.ndim:
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if out is not None:
            kwargs["out"] = tuple(plain(o) for o in out)
        result = getattr(ufunc, method)(*map(plain, inputs), **kwargs)
        return out[0] if out is not None else on_gpu(result)

    def __array_function__(self, function, types, args, kwargs):
        return on_gpu(function(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()}))

    def get(self):
        return np.array(plain(self))


ndarray.__module__ = "cupy"


def plain(value):
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.view(np.ndarray) if isinstance(value, ndarray) else value


def on_gpu(value):
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).view(ndarray)
    return value


class Module(types.ModuleType):
    """numpy whose functions give arrays on the GPU and take none from elsewhere."""

    def __getattr__(self, name):
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*args, **kwargs):
            flat = [v for a in args for v in (a if isinstance(a, list | tuple) else [a])]
            if name not in ("asarray", "array"):
                assert not any(type(v) is np.ndarray and v.ndim for v in flat), name
            return on_gpu(function(*map(plain, args), **kwargs))

        return call


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    module = Module("cupy")
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        StandardScaler(),
        MinMaxScaler(clip=True),
        RobustScaler(unit_variance=True),
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        SimpleImputer(strategy="most_frequent"),
    ],
    ids=repr,
)
def test_rows_stay_where_they_are(model, weighted, dtype, X, rng):
    X = X.astype(dtype)
    weight = rng.integers(0, 3, size=200).astype(dtype) if weighted else None
    expected = model.fit(X, sample_weight=weight).transform(X)
    device = on_gpu(X)
    model.fit(device, sample_weight=None if weight is None else on_gpu(weight))
    Z = model.transform(device)
    assert isinstance(Z, ndarray)
    assert Z.dtype == dtype
    np.testing.assert_allclose(Z.get(), expected, rtol=1e-6 if dtype == np.float32 else 1e-12)
    learned = model.statistics_ if isinstance(model, SimpleImputer) else model.scale_
    assert isinstance(learned, ndarray)
    if hasattr(model, "inverse_transform"):
        assert isinstance(model.inverse_transform(Z), ndarray)
    if hasattr(model, "partial_fit"):
        model.partial_fit(device)
    # Chunks on a GPU, read once; the transform of each stays there.
    model.fit(iter([device[:90], device[90:]]))
    parts = [part for part, _ in model.transform(iter([device[:90], device[90:]]))]
    assert all(isinstance(part, ndarray) for part in parts)
    assert [len(part) for part in parts] == [90, 110]
    # The model goes back to rows on the host as it is.
    assert type(model.transform(X)) is np.ndarray
