"""The CUDA twins, emulated on the CPU, agree with the specifications under several thread orders.

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


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="KERNELMILL_CUDA_EMULATED names no emulated module")
@pytest.mark.parametrize("emulator_seed", [0, 1])
def test_emulated_twins_agree(emulator_seed):
    script = Path(__file__).with_name("agree.py")
    # A process of its own: the stand-in for CuPy must not reach other tests.
    done = subprocess.run(
        [sys.executable, str(script), FOLDER],
        env={
            **os.environ,
            "KERNELMILL_EMULATOR_SEED": str(emulator_seed),
            "OPENBLAS_NUM_THREADS": "1",  # its threads spin while they wait: of no use here
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
