"""The ``kernelmill`` command as a whole."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import kernelmill
from kernelmill import cli


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"kernelmill {kernelmill.__version__}\n"


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([])
    assert exit_.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for command in ("info", "tour", "bench"):
        assert command in text


def test_module_runs():
    ran = subprocess.run(
        [sys.executable, "-m", "kernelmill.cli", "info", "--json"], capture_output=True, check=True
    )
    assert json.loads(ran.stdout)["version"] == kernelmill.__version__
