"""One whole tour, which the tests of all families look at."""

from __future__ import annotations

import importlib
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kernelmill import cli
from kernelmill.cli import tour


@dataclass
class Part:
    """What one family gave: its rows, and the notes and pictures that it added."""

    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    pictures: list = field(default_factory=list)


@dataclass
class Toured:
    """A tour: its exit status, printed text and folder, and the part of each family."""

    status: int
    text: str
    out: Path
    parts: dict[str, Part]


@pytest.fixture(scope="session")
def toured(tmp_path_factory) -> Toured:
    out = tmp_path_factory.mktemp("tour") / "new" / "folder"
    parts: dict[str, Part] = {}

    def heard(family, rows):
        def wrapped(context):
            part = parts[family] = Part()
            notes, pictures = len(context.notes), len(context.pictures)
            for row in rows(context):
                part.rows.append(row)
                yield row
            part.notes += context.notes[notes:]
            part.pictures += context.pictures[pictures:]

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for family in tour.families():
            module = importlib.import_module(f"kernelmill.cli.tour.{family}")
            patch.setattr(module, "rows", heard(family, module.rows))
        patch.setattr(sys, "stdout", io.StringIO())
        status = cli.main(["tour", "--out", str(out)])
        text = sys.stdout.getvalue()
    return Toured(status, text, out, parts)
