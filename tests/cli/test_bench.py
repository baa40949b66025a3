"""``kernelmill bench``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kernelmill import cli


def test_bench_outside_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "kmeans"]) == 2
    assert "python -m benchmarks" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_bench_helps_outside_a_clone(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", option]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: kernelmill bench [FAMILY ...] [OPTION ...]\n")
    assert "python -m benchmarks" in captured.out
    assert not captured.err


@pytest.mark.parametrize(
    "rest", [["kmeans", "--quick", "--threads", "1"], ["--help"], ["--quick", "--match", "a b"], []]
)
def test_bench_in_a_clone_passes_arguments_on(tmp_path, monkeypatch, rest):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "_harness.py").touch()
    monkeypatch.chdir(tmp_path)
    seen = []

    def run(command):
        seen.extend(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert cli.main(["bench", *rest]) == 3
    assert seen == [sys.executable, "-m", "benchmarks", *rest]
