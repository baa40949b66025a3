"""The CUDA twins, emulated on the CPU, agree with the specifications under several thread orders,
and networks, kernel machines and trees run on them.

Build it with ``cmake -DKERNELMILL_CUDA_EMULATED=ON`` and name its folder in the environment:
``KERNELMILL_CUDA_EMULATED=<build>/cuda_emulated pytest tests/cuda_host``. What the emulator cannot
see (speed, memory ordering within a warp, the driver) needs a GPU: tests/ops/test_cuda.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("KERNELMILL_CUDA_EMULATED", "")


needs_module = pytest.mark.skipif(
    not FOLDER, reason="KERNELMILL_CUDA_EMULATED names no emulated module"
)

# The trainer has no kernels of its own.
NETWORKS = (
    "peers/test_nn.py peers/test_recurrent.py peers/test_attention.py::test_transformers"
    " nn/utils/test_parameters.py",
    "nn/functional nn/modules/test_modules.py nn/modules/test_attention.py nn/test_amp.py"
    " nn/test_half.py",
    "nn/modules/test_recurrent.py nn/optim nn/test_hard_cases.py nn/test_tape.py nn/test_tensor.py",
)


# Of each kind of model what reaches all of its code; an emulated step of SMO takes 60 us.
ESTIMATORS = " ".join([
    "cuda_host/machines.py kernel_ridge/test_ridge.py",
    "gaussian_process/test_regressor.py gaussian_process/test_classifier.py",
    *(
        f"svm/test_machines.py::test_{name}"
        for name in (
            "scores_of_classes_are_libsvms[False]", "moving_all_rows_changes_nothing",
            "the_kernel_may_be_a_function_or_a_matrix", "coef_is_for_linear_kernels",
            "a_model_is_saved_whole", "max_iter_ends_and_says_so",
        )
    ),
])  # fmt: skip


def run(script: str, *arguments: str, seed: int = 0) -> None:
    # A process of its own: the stand-in for CuPy must not reach other tests.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), FOLDER, *arguments],
        env={
            **os.environ,
            "KERNELMILL_EMULATOR_SEED": str(seed),
            "OPENBLAS_NUM_THREADS": "1",  # its threads spin while they wait: of no use here
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_module
@pytest.mark.parametrize("emulator_seed", [0, 1])
def test_emulated_twins_agree(emulator_seed):
    run("agree.py", seed=emulator_seed)


@pytest.mark.slow
@needs_module
@pytest.mark.parametrize("tests", NETWORKS)
def test_networks_run_on_device_arrays(tests):
    run("networks.py", *(str(Path(__file__).parents[1] / name) for name in tests.split()))


@pytest.mark.slow
@needs_module
def test_estimators_run_on_device_arrays():
    # A model of a file lies on the CPU, where sums have other bits; the last takes 20 s.
    left_out = "not test_files and not test_optimum"
    paths = (str(Path(__file__).parents[1] / name) for name in ESTIMATORS.split())
    run("estimators.py", "-k", left_out, *paths)


@pytest.mark.slow
@needs_module
def test_halves_are_stored_and_singles_computed():
    run("halves.py", seed=1)


@pytest.mark.slow
@needs_module
def test_networks_train_as_on_the_cpu():
    run("steps.py")


@pytest.mark.slow
@needs_module
def test_trees_run_on_device_arrays():
    run("trees.py")
