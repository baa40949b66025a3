"""Device rules on a machine without a GPU: errors instead of fallbacks."""

import builtins
import sys
import types

import numpy as np
import pytest
import scipy.sparse as sp

from kernelmill._estimator import _device
from kernelmill._estimator._device import DEVICE, move_back, move_in, namespace, to_host


def test_rule():
    for value in (None, "cpu", "cuda"):
        assert DEVICE.accepts(value)
    for value in ("mps", "gpu", 0, "cuda:0"):
        assert not DEVICE.accepts(value)
    assert "NVIDIA" in DEVICE.words


def test_numpy_stays_where_it_is():
    X = np.eye(2)
    assert move_in(X, None, "Model") is X
    assert move_in(X, "cpu", "Model") is X
    assert move_back(X, X) is X
    assert namespace(X) is np
    assert to_host(X) is X


def test_cuda_without_cupy_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "cupy":
            raise ImportError("No module named 'cupy'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        RuntimeError, match=r"^Model: device must be 'cpu' or None here, got 'cuda' \(CuPy must be"
    ):
        move_in(np.eye(2), "cuda", "Model")


class FakeCupy(types.ModuleType):
    """CuPy on a machine without a driver, or with some GPUs."""

    def __init__(self, devices):
        super().__init__("cupy")

        def count():
            if isinstance(devices, Exception):
                raise devices
            return devices

        self.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=count))


@pytest.mark.parametrize(
    ("devices", "message"), [(RuntimeError("no driver"), "no driver"), (0, "no GPU was found")]
)
def test_cuda_without_a_gpu(monkeypatch, devices, message):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(devices))
    with pytest.raises(RuntimeError, match=f"Model: device must be .* got 'cuda' .*{message}"):
        _device.require_cuda("Model")


def test_sparse_data_stay_on_the_cpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(1))
    with pytest.raises(TypeError, match="X must be dense for device='cuda'"):
        move_in(sp.csr_array(np.eye(2)), "cuda", "Model")
