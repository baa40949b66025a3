"""What the families of the tour share."""

from __future__ import annotations

import kernelmill
from kernelmill.cli.tour import Context, Row


def test_row_as_text():
    row = Row("KMeans", "digits", (1797, 64), 0.01234, "ARI 0.67", "CPU v4, 2 threads")
    assert row.cells() == (
        "KMeans", "digits", "1,797 x 64", "0.012", "ARI 0.67", "CPU v4, 2 threads"
    )  # fmt: skip


def test_where_names_level_and_threads(tmp_path):
    found = kernelmill.info()
    where = Context("cpu", tmp_path).where()
    assert where.startswith(f"CPU {found['level']['running']}, {found['threads']['count']} thread")


def test_timed_returns_result_and_seconds(tmp_path):
    result, seconds = Context("cpu", tmp_path).timed(lambda: 7)
    assert result == 7
    assert 0 <= seconds < 60


def test_save_makes_the_folder_and_lists_the_picture(tmp_path):
    context = Context("cpu", tmp_path / "a" / "b")
    figure = context.figure(2, 1)
    figure.subplots().plot([0, 1])
    path = context.save(figure, "line", "a line")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert context.pictures == [(path, "a line")]
