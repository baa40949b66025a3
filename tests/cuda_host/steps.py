"""Trains the networks of benchmarks/cuda_networks.py, made small, on both devices.

``python steps.py <folder of the emulated _cuda>``. The same weights and batches on NumPy arrays and
on device arrays must give the same losses. Nothing here may leave the device: the stand-in for CuPy
refuses to become a NumPy array.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [sys.argv[1], str(HERE), str(HERE.parents[1])]
import cupy  # noqa: E402 - the stand-in of this folder

import kernelmill  # noqa: E402, F401

sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")
from benchmarks.cuda_networks import batches, our_step  # noqa: E402

# As in SIZES there.
SMALL = {
    "mlp": (16, 5, 0, 0),
    "cnn": (2, 2, 0, 0),
    "lstm": (9, 3, 6, 0),
    "gpt": (16, 2, 9, 0),
    "ctc": (5, 3, 12, 3),
}

if __name__ == "__main__":
    for name, (width, batch, length, labels) in SMALL.items():
        data = batches(name, batch, length, labels)
        on_cpu, weights = our_step(name, data, width, length, None, np.asarray)
        on_device, _ = our_step(name, data, width, length, weights, cupy.asarray)
        losses = np.array([[on_cpu(i).item(), on_device(i).item()] for i in range(4)])
        # Adam divides by the size of a gradient, so that rounding of small ones shows.
        np.testing.assert_allclose(losses[:, 1], losses[:, 0], rtol=1e-4, err_msg=name)
        assert np.unique(losses[:, 0]).size == 4, f"{name}: a step must change the loss"
