"""The tour's neighbours: digits are read, places are grouped."""

import numpy as np
import pytest

from kernelmill.cli.tour import Context, neighbors


def test_rows_and_picture(toured):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    first, *others = toured.parts["neighbors"].rows
    assert float(first.score.split()[1]) > 0.97
    if neighbors.time_zones() is not None:
        assert int(others[0].score.split()[0]) > 5
        assert (toured.out / "time-zones.png").stat().st_size > 10_000


def test_places_are_read():
    assert neighbors._degrees("+5130-00007") == (51.5, -7 / 60)
    np.testing.assert_allclose(neighbors._degrees("-103045+1234500"), (-10.5125, 123.75))
    with pytest.raises(ValueError, match="a place must be written"):
        neighbors._degrees("51")


def test_a_missing_table_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbors, "time_zones", lambda: None)
    context = Context("cpu", tmp_path)
    assert len(list(neighbors.rows(context))) == 1
    assert "No table of time zones" in context.notes[0]
