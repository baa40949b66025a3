"""What the displays share: matplotlib on demand, axes, colours that all readers can tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np

# Okabe and Ito (2008), "Color universal design": eight colours that are told apart with every
# common colour vision deficiency. Black is kept for marks and noise, yellow comes last: it is weak
# on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
NOISE = "#9AA0A6"
INK = "#2B2F33"
FAINT = "#8A9096"


def pyplot(name: str) -> Any:
    """``matplotlib.pyplot``, or an ImportError that says how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{name}: matplotlib must be installed to plot, got none (pip install "
            "'kernelmill[plot]')"
        ) from error
    return plt


def axes_for(name: str, ax: Any, figsize: tuple[float, float]) -> Any:
    """The given axes, or those of a new figure, with light decoration."""
    plt = pyplot(name)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(color=FAINT, labelcolor=INK)
    return ax


def cluster_colors(n: int) -> list[Any]:
    """One colour per cluster: the palette while it lasts, then even steps of a colour map."""
    if n <= len(PALETTE):
        return list(PALETTE[:n])
    import matplotlib

    # A quarter of the colour map is left out at the light end, where points vanish on white. Steps
    # of the golden ratio keep neighbouring clusters apart.
    order = np.argsort(np.argsort((np.arange(n) * 0.6180339887) % 1.0))
    return list(matplotlib.colormaps["turbo"](0.05 + 0.9 * order / (n - 1)))


def lighter(color: Any, amount: float) -> tuple[float, float, float]:
    """The colour mixed with white: amount 0 keeps it, 1 gives white."""
    from matplotlib.colors import to_rgb

    r, g, b = ((1 - amount) * channel + amount for channel in to_rgb(color))
    return r, g, b
