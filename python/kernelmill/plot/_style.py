"""What the displays share: axes, titles, legends, and colours that all readers can tell apart."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from kernelmill._docstrings import Documented
from kernelmill.plot._words import WORDS

# Okabe and Ito (2008), "Color universal design": eight colours that are told apart with every
# common colour vision deficiency. Black is kept for marks and noise, yellow comes last: it is weak
# on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
NOISE = "#9AA0A6"
INK = "#2B2F33"
FAINT = "#8A9096"
MOST_IN_LEGEND = 12


class Display(Documented):
    """Base of the displays: prepares the axes that ``plot`` draws on and records them."""

    _words = WORDS
    ax_: Any
    figure_: Any
    estimator_name: str | None = None

    @classmethod
    def _pyplot(cls) -> Any:
        """``matplotlib.pyplot``, or an ImportError that says how to get it."""
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                f"{cls.__name__}: matplotlib must be installed to plot, got none (pip install "
                "'kernelmill[plot]')"
            ) from error
        return plt

    def _axes(self, ax: Any, figsize: tuple[float, float] = (6.4, 4.8)) -> Any:
        """The given axes, or those of a new figure, with light decoration."""
        plt = self._pyplot()
        if ax is None:
            _, ax = plt.subplots(figsize=figsize, layout="constrained")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_color(FAINT)
        ax.tick_params(color=FAINT, labelcolor=INK)
        return ax

    def _finish(self, ax: Any, title: str = "", note: str | None = None) -> Self:
        """Title the axes, if the estimator is known, with a note below, and record them."""
        pad = 6.0
        if note:
            ax.annotate(
                note, (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points",
                va="bottom", fontsize=8.5, color="#6B7480",
            )  # fmt: skip
            pad += 2 + 11 * len(note.splitlines())
        if self.estimator_name:
            ax.set_title(f"{self.estimator_name}: {title}", loc="left", pad=pad)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def legend_beside(ax: Any, *handles_and_labels: Any, title: str) -> Any:
    """A legend to the right of the axes."""
    return ax.legend(
        *handles_and_labels, title=title, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False
    )


def counted(n: int, noun: str) -> str:
    """``"1 state"``, ``"2 states"``, ``"2 classes"``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith('s') else 's'}"


def checked_names(owner: str, argument: str, names: Any, n: int, least: bool = False) -> list[str]:
    """Names as text: n of them, or more if that is the least."""
    if names is None:
        return [str(j) for j in range(n)]
    given = None if isinstance(names, str) else [str(name) for name in names]
    if given is None or len(given) < n or (len(given) > n and not least):
        got = f"the text {names!r}" if given is None else len(given)
        raise ValueError(
            f"{owner}: {argument} must be a list of {'at least ' if least else ''}{n} "
            f"name{'s' if n > 1 else ''}, got {got}"
        )
    return given


def hide_spines(ax: Any) -> None:
    """Remove the frame of the axes."""
    for spine in ax.spines.values():
        spine.set_visible(False)


def cluster_colors(n: int) -> list[Any]:
    """One colour per cluster: the palette while it lasts, then even steps of a colour map."""
    if n <= len(PALETTE):
        return list(PALETTE[:n])
    import matplotlib

    # The ends of the colour map are left out: they are too dark. Steps of the golden ratio keep
    # neighbouring clusters apart.
    order = np.argsort(np.argsort((np.arange(n) * 0.6180339887) % 1.0))
    return list(matplotlib.colormaps["turbo"](0.05 + 0.9 * order / (n - 1)))


def lighter(color: Any, amount: float) -> tuple[float, float, float]:
    """The colour mixed with white: amount 0 keeps it, 1 gives white."""
    from matplotlib.colors import to_rgb

    r, g, b = ((1 - amount) * channel + amount for channel in to_rgb(color))
    return r, g, b
