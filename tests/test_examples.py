"""The examples run, at a small size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kernelmill

ROOT = Path(__file__).resolve().parents[1]
# What makes each example small, and what it prints.
ARGUMENTS = {
    "character_model.py lstm": "--epochs 1 --width 8 --most 3000",
    "character_model.py transformer": "--steps 2 --width 8 --most 3000",
}


@pytest.mark.parametrize("example", ARGUMENTS)
def test_examples_run(example, tmp_path):
    name, *more = example.split()
    path = os.pathsep.join([str(Path(kernelmill.__file__).parents[1]), *sys.path])
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *more, *ARGUMENTS[example].split()],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "nats per character held out" in ran.stdout


def test_every_example_is_tested():
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {example.partition(" ")[0] for example in ARGUMENTS}
