"""`kernelmill.info`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import kernelmill
from kernelmill import _info, _levels


def test_tells_what_runs():
    found = kernelmill.info()
    assert found["version"] == kernelmill.__version__
    assert found["level"]["running"] == _levels.running()
    assert found["level"]["built"] == list(_levels.built())
    assert found["level"]["compiler"] == _levels.cpu().compiler
    assert found["threads"]["count"] == kernelmill.get_threads()
    assert found["threads"]["why"]
    assert found["packages"]["numpy"] == np.__version__
    assert set(_info.REQUIRED) <= set(found["packages"])


def test_is_plain_data():
    found = kernelmill.info()
    assert json.loads(json.dumps(found)) == dict(found)


def test_repr_shows_every_fact():
    found = kernelmill.info()
    text = repr(found)
    assert found["version"] in text
    assert found["level"]["running"] in text
    assert found["threads"]["why"].rstrip(".") in text
    for name in found["packages"]:
        assert name in text
    assert "\n" in text


def test_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(_info, "OPTIONAL", ("no-such-distribution",))
    found = kernelmill.info()
    assert found["packages"]["no-such-distribution"] is None
    assert "not installed" in repr(found)


def test_cuda_says_why_not():
    cuda = kernelmill.info()["cuda"]
    assert isinstance(cuda["built"], bool)
    assert cuda["usable"] or cuda["why"]
    if cuda["usable"]:
        assert cuda["built"]
        assert cuda["devices"]


@pytest.mark.parametrize("level", ["v9", "", None])
def test_survives_a_bad_level(level):
    environment = {k: v for k, v in os.environ.items() if k != "KERNELMILL_ISA"}
    if level is not None:
        environment["KERNELMILL_ISA"] = level
    code = "import kernelmill, json; print(json.dumps(kernelmill.info()['level']))"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    if level == "v9":
        assert found["running"] is None
        assert "KERNELMILL_ISA: must be one of" in found["why"]
    else:
        assert found["running"] in found["built"]


def test_needs_no_cuda_driver(tmp_path):
    """A build with CUDA twins must import and report where no driver is found."""
    code = (
        "import sys, kernelmill; cuda = kernelmill.info()['cuda'];"
        "sys.exit(0 if not cuda['usable'] and cuda['why'] else 1)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
