"""Runs tests of estimators with X on the device, on the emulated CUDA implementations.

``python estimators.py <folder of the emulated _cuda> [arguments of pytest]``. A dense X that a test
hands to a kernel machine or Gaussian process is moved to the device, and what the model returns is
moved back for the test; what the library makes on its way is left as it is, so a computation that
leaves the device, or mixes arrays of both, fails as it would with CuPy.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [sys.argv[1], str(HERE)]
import cupy  # noqa: E402 - the stand-in of this folder

import kernelmill  # noqa: E402

sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")
from kernelmill import gaussian_process, svm  # noqa: E402
from kernelmill._arrays import to_host  # noqa: E402
from kernelmill._estimator._rows import Rows  # noqa: E402
from kernelmill.gaussian_process.kernels._kernel import as_kernel  # noqa: E402
from kernelmill.kernel_ridge import KernelRidge  # noqa: E402

LIBRARY = str(Path(kernelmill.__file__).parent)
PROCESSES = gaussian_process.GaussianProcessRegressor, gaussian_process.GaussianProcessClassifier
MODELS = (
    svm.SVC, svm.NuSVC, svm.SVR, svm.NuSVR, svm.OneClassSVM, KernelRidge, *PROCESSES,
)  # fmt: skip
METHODS = (
    "decision_function", "predict", "score_samples", "predict_gradient", "sample_y",
    "latent_mean_and_variance",
)  # fmt: skip
moved = 0


def asker() -> str:
    """The file of the first function outside NumPy and this folder that waits for us."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not (file.startswith((str(HERE), "<")) or "/numpy/" in file):
            return file
        frame = frame.f_back
    return ""


def as_numpy(self, *args, **kwargs):
    if asker().startswith(LIBRARY):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")
    return self.host.astype(*args) if args and args[0] is not None else self.host


def has_path(model) -> bool:
    """Whether its kernel runs on a GPU: functions and Bessel functions of real order do not.

    To kernel machines those of Gaussian processes are functions.
    """
    kernel = model.kernel
    if hasattr(type(kernel), "theta") and type(model) in PROCESSES:
        return re.search(r"Pairwise|nu=(?!0\.5|1\.5|2\.5|inf)", repr(as_kernel(kernel))) is None
    return not callable(kernel)


def on_device(model, X):
    """X, or where the model runs on the device and it is in memory and dense, there."""
    global moved
    if type(model) in MODELS and has_path(model) and isinstance(X, np.ndarray):
        moved += 1
        return cupy.asarray(X)
    return X


def wrapped(cls) -> None:
    """Rows go to the device where the model first sees them, and results come back."""

    def rows(self, X, *args, otherwise=cls._rows, **kwargs):
        checked = otherwise(self, X, *args, **kwargs)
        there = on_device(self, checked.X)
        if there is checked.X:
            return checked
        weight = None if checked.weight is None else cupy.asarray(checked.weight)
        return Rows(there, weight, checked.owner, missing=checked.missing)

    cls._rows = rows
    for name in METHODS:
        method = getattr(cls, name, None)
        if method is None:
            continue

        def run(self, *args, otherwise=method, **kwargs):
            found = otherwise(self, *args, **kwargs)
            return tuple(map(to_host, found)) if isinstance(found, tuple) else to_host(found)

        setattr(cls, name, run)


cupy.ndarray.__array__ = as_numpy
for model in MODELS:
    wrapped(model)

if __name__ == "__main__":
    found = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]])
    assert moved > 0, "no X was moved to the device"
    sys.exit(found)
