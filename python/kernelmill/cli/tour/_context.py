"""What the families of the tour share: a row of the table, the device, and where pictures go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLOT_HINT = "No pictures: matplotlib is not installed. pip install 'kernelmill[plot]' brings it."

# One palette for all pictures of the tour. Ten hues that stay apart in print and for most forms of
# colour blindness (after Okabe and Ito, extended).
INK = "#22272e"
MUTED = "#6b7480"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    model, data : str
        What ran on what.
    shape : tuple of int
        Rows and features.
    seconds : float
        Wall-clock time of the fit, data in place.
    score : str
        A measure with its name, e.g. ``"ARI 0.67"``.
    where : str
        Device, instruction-set level and threads.
    """

    model: str
    data: str
    shape: tuple[int, int]
    seconds: float
    score: str
    where: str

    def cells(self) -> tuple[str, ...]:
        """The line as text, in the order of the table's columns."""
        n, d = self.shape
        size = f"{n:,} x {d}"
        return self.model, self.data, size, f"{self.seconds:.3f}", self.score, self.where


class Context:
    """Device, pictures and notes of one tour.

    Attributes
    ----------
    device : {"cpu", "cuda"}
        Where models run.
    out : pathlib.Path
        Folder of the pictures.
    plot : bool
        Whether matplotlib is there.
    pictures : list of (pathlib.Path, str)
        Saved so far, each with a caption.
    notes : list of str
        Sentences printed after the table.
    """

    def __init__(self, device: str, out: Path) -> None:
        self.device = device
        self.out = Path(out)
        self.pictures: list[tuple[Path, str]] = []
        self.notes: list[str] = []
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.plot = False
            self.notes.append(PLOT_HINT)
        else:
            self.plot = True

    def where(self) -> str:
        """Where a model on this tour's device runs."""
        from ..._info import info

        found = info()
        if self.device == "cuda":
            devices = found["cuda"]["devices"]
            return f"CUDA, {devices[0].get('name', 'device 0')}" if devices else "CUDA"
        count = found["threads"]["count"]
        return f"CPU {found['level']['running']}, {count} thread{'s' if count != 1 else ''}"

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """The result of ``work()`` and the seconds that it took."""
        began = time.perf_counter()
        result = work()
        return result, time.perf_counter() - began

    def figure(self, width: float, height: float):
        """A matplotlib figure in inches that belongs to no window system and no global state."""
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")

    def save(self, figure, name: str, caption: str) -> Path:
        """Write a figure as ``<out>/<name>.png`` and list it under the table."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{name}.png"
        figure.savefig(path)
        self.pictures.append((path, caption))
        return path
