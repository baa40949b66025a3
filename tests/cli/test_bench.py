"""``kernelmill bench``."""

from __future__ import annotations

import subprocess
import sys

from kernelmill import cli


def test_bench_outside_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "kmeans"]) == 2
    assert "python -m benchmarks" in capsys.readouterr().err


def test_bench_in_a_clone_passes_arguments_on(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "_harness.py").touch()
    monkeypatch.chdir(tmp_path)
    seen = []

    def run(command):
        seen.extend(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert cli.main(["bench", "kmeans", "--quick", "--threads", "1"]) == 3
    assert seen == [sys.executable, "-m", "benchmarks", "kmeans", "--quick", "--threads", "1"]
