"""Runs the tests of tests/nn with tensors over device arrays, on the emulated CUDA implementations.

``python networks.py <folder of the emulated _cuda> [arguments of pytest]``. What tests, creation
functions and modules make becomes a device array; what the library makes on its way is left as it
is, so a computation that leaves the device, or mixes arrays of both, fails as it would with CuPy.
"""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [sys.argv[1], str(HERE)]
import cupy  # noqa: E402 - the stand-in of this folder

import kernelmill  # noqa: E402

sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")
from kernelmill import nn  # noqa: E402

LIBRARY = str(Path(kernelmill.__file__).parent)
NAMES = ("_random", "_functions", "init", "_tensor", "modules/_module", "modules/_transformer")
MAKERS = tuple(f"{LIBRARY}/nn/{name}.py" for name in NAMES)


def asker() -> str:
    """The file of the first function outside NumPy and this folder that waits for us."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not (file.startswith((str(HERE), "<")) or "/numpy/" in file):
            return file
        frame = frame.f_back
    return ""


def on_device(tensor) -> None:
    if isinstance(tensor.data, np.ndarray):
        tensor.data = cupy.asarray(tensor.data)


def tensor_init(self, data, requires_grad=False, dtype=None, otherwise=nn.Tensor.__init__):
    file = asker()
    if isinstance(data, (cupy.ndarray, nn.Tensor)) or (
        file.startswith(LIBRARY) and file not in MAKERS
    ):
        otherwise(self, data, requires_grad, dtype)
        return
    otherwise(self, data, False, dtype)
    on_device(self)
    if requires_grad is True:
        self.requires_grad_()
    elif requires_grad is not False:
        self._node = requires_grad


def set_attribute(self, name, value, otherwise=nn.Module.__setattr__):
    if isinstance(value, nn.Tensor):
        on_device(value)
    otherwise(self, name, value)


def register_buffer(self, name, tensor, *args, otherwise=nn.Module.register_buffer, **kwargs):
    if isinstance(tensor, nn.Tensor):
        on_device(tensor)
    otherwise(self, name, tensor, *args, **kwargs)


def as_numpy(self, *args, **kwargs):
    if asker().startswith(LIBRARY):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")
    return self.host.astype(*args) if args and args[0] is not None else self.host


nn.Tensor.__init__ = tensor_init
nn.Module.__setattr__ = set_attribute
nn.Module.register_buffer = register_buffer
cupy.ndarray.__array__ = as_numpy
ELSEWHERE = (
    "test_forms",  # asks for the device "cpu"
    "test_the_native_pass_gives_the_bits_of_the_python_pass",  # hands NumPy gradients to the tape
    "test_operators_obey_the_backend",  # specifications take NumPy arrays
    "test_arrays_are_used_as_they_are",  # of NumPy
    "test_ctc_equals_torch",  # adds NumPy arrays to gradients
    "test_the_surrogate_of_hard_attention",  # and this one
    "test_jordan_networks_feed",  # and this one
    "test_digits_in_mixed_precision",  # compares with NumPy labels
    "test_padding_does_not_count",  # bits of products by cuBLAS depend on their sizes
    # Layers are one node on the CPU alone.
    "test_a_layer_of_one_node_has_the_bits_of_its_parts",
    "test_a_layer_that_drops_or_is_watched_runs_part_by_part",
    "test_a_layer_knows_activations_by_the_functions_themselves",
    # Minutes of emulation in all. Kernels are compared with differences and compositions elsewhere,
    # and steps.py trains on them.
    "test_long_chains_need_no_deep_recursion",
    "differences_twice and (test_attention or test_ctc or test_recurrent)",
    "test_soft_attention_differentiates_twice",
    "test_hard_attention_learns_where_to_look",
    "test_a_network_learns_to_align",
)
if __name__ == "__main__":
    gc.set_threshold(50_000)  # graphs have no cycles; looking for them takes a tenth of the time
    chosen = sys.argv[2:] or [str(HERE.parent / "nn")]
    left_out = ["-k", " and ".join(f"not ({name})" for name in ELSEWHERE)]
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *left_out, *chosen]))
