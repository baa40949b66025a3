"""The tour's mixtures: wines by what is in them."""

from __future__ import annotations

import sys

import pytest

from kernelmill.cli.tour import Context, mixture


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    part = toured.parts["mixture"]
    rows = part.rows
    assert [row.shape for row in rows] == [(178, 13), (178, 2)]
    # 13 measurements say more than 2.
    scores = [float(row.score.removeprefix("ARI ")) for row in rows]
    assert scores[0] >= 0.85
    assert scores[0] > scores[1] >= 0.5
    assert [path.name for path, _ in part.pictures] == ["wine.png"]
    assert (toured.out / "wine.png").stat().st_size > 10_000


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    context = Context("cpu", tmp_path)
    assert len(list(mixture.rows(context))) == 2
    assert not list(tmp_path.iterdir())
