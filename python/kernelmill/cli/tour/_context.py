"""What the modules of the tour share: rows of the table, the device, and the pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLOT_HINT = "No pictures: matplotlib is not installed (pip install 'kernelmill[plot]')."

# Colours of text in all pictures of the tour.
INK = "#22272e"
MUTED = "#6b7480"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    model, data : str
        Which model ran on which data.
    shape : tuple of int
        Numbers of rows and features.
    seconds : float
        Wall-clock time of the fit, without loading the data.
    score : str
        A measure and its name, e.g. ``"ARI 0.67"``.
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
        """The cells as text, in the order of the table's columns."""
        n, d = self.shape
        size = f"{n:,} x {d}"
        return self.model, self.data, size, f"{self.seconds:.3f}", self.score, self.where


class Context:
    """Device, pictures and notes of one tour.

    Attributes
    ----------
    device : {"cpu", "cuda"}
        Device that models run on.
    out : pathlib.Path
        Folder for the pictures.
    plot : bool
        Whether matplotlib is installed.
    pictures : list of (pathlib.Path, str)
        Pictures saved so far, with their captions.
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
        """Device, instruction-set level and threads that models of this tour run on."""
        from ..._info import info

        report = info()
        if self.device == "cuda":
            devices = report["cuda"]["devices"]
            return f"CUDA, {devices[0].get('name', 'device 0')}" if devices else "CUDA"
        count = report["threads"]["count"]
        return f"CPU {report['level']['running']}, {count} thread{'s' if count != 1 else ''}"

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """Return the result of ``work()`` and the seconds that it took."""
        began = time.perf_counter()
        result = work()
        return result, time.perf_counter() - began

    def figure(self, width: float, height: float):
        """A matplotlib figure, sized in inches, that is not registered with pyplot."""
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")

    def save(self, figure, name: str, caption: str) -> Path:
        """Save a figure as ``<out>/<name>.png`` and list it below the table."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{name}.png"
        figure.savefig(path)
        self.pictures.append((path, caption))
        return path
