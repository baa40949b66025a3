"""``kernelmill info``."""

from __future__ import annotations

import json

import kernelmill
from kernelmill import cli


def test_info_prints_the_table(capsys):
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out == f"{kernelmill.info()!r}\n"


def test_info_as_json(capsys):
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == dict(kernelmill.info())


def test_info_fails_without_a_level(monkeypatch, capsys):
    monkeypatch.setenv("KERNELMILL_ISA", "v9")
    assert cli.main(["info"]) == 1
    assert "KERNELMILL_ISA" in capsys.readouterr().out
