"""Losses and metrics of a training run by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._pipeline import split
from ._style import FAINT, INK, PALETTE, Display

_NOT_DRAWN = {"epoch", "step", "seconds", "lr", "skipped"}


class HistoryDisplay(Display):
    """Learning curves: the losses of a training run, and its metrics, by epoch.

    Create one with `from_estimator`, or from the rows themselves.

    Parameters
    ----------
    history : list of dict
        A row for each epoch, such as ``history_`` of a `kernelmill.nn.Trainer`.
    best_epoch : int, optional
        The epoch to mark.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    curves : dict of str to ndarray
        Each loss and metric; NaN where an epoch has none.
    ax_ : matplotlib Axes
        Axes of the losses.
    metric_ax_ : matplotlib Axes or None
        Axes of the metrics, with their scale on the right.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    lines_ : dict of str to matplotlib Line2D
        The line of each curve.

    Examples
    --------
    >>> from kernelmill.plot import HistoryDisplay
    >>> rows = [{"epoch": 1, "train_loss": 0.9}, {"epoch": 2, "train_loss": 0.5}]
    >>> HistoryDisplay(rows).curves["train_loss"].tolist()
    [0.9, 0.5]
    """

    def __init__(
        self,
        history: Sequence[Mapping[str, Any]],
        *,
        best_epoch: int | None = None,
        estimator_name: str | None = None,
    ) -> None:
        if not history:
            raise ValueError("HistoryDisplay: history must have at least one row, got none")
        self.history, self.best_epoch = [*history], best_epoch
        self.estimator_name = estimator_name
        names = dict.fromkeys(n for row in history for n in row if n not in _NOT_DRAWN)
        self.curves = {
            name: np.array([row.get(name, np.nan) for row in history], dtype=np.float64)
            for name in names
        }
        self._epochs = np.array([row.get("epoch", i + 1) for i, row in enumerate(history)])

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> HistoryDisplay:
        """Draw the learning curves of a fitted model.

        Parameters
        ----------
        estimator : estimator or Trainer
            With ``history_``, or with ``loss_curve_`` as perceptrons have it; or a pipeline or
            search that ends with one.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        ValueError
            If the model has no history.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.nn import NeuralNetRegressor
        >>> from kernelmill.plot import HistoryDisplay
        >>> X = np.linspace(0, 1, 50)[:, None]
        >>> model = NeuralNetRegressor(max_epochs=5, random_state=0).fit(X, X[:, 0])
        >>> [*HistoryDisplay.from_estimator(model).lines_]
        ['train_loss']
        """
        _, model = split(cls.__name__, estimator, "history_", "loss_curve_")
        history = getattr(model, "history_", None)
        best = getattr(model, "best_epoch_", None)
        if history is None:
            scores = getattr(model, "validation_scores_", None)
            history = [
                {"train_loss": loss} | ({} if scores is None else {"valid_score": scores[i]})
                for i, loss in enumerate(model.loss_curve_)
            ]
            best = None if scores is None else 1 + int(np.argmax(scores))
        display = cls(history, best_epoch=best, estimator_name=type(model).__name__)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> HistoryDisplay:
        """Draw the curves, and mark the best epoch.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``ax.plot`` for each curve.

        Returns
        -------
        display : HistoryDisplay
            The display itself, with ``ax_``, ``metric_ax_``, ``figure_`` and ``lines_`` set.

        Examples
        --------
        >>> from kernelmill.plot import HistoryDisplay
        >>> rows = [{"train_loss": 0.9, "valid_f1": 0.5}, {"train_loss": 0.5, "valid_f1": 0.7}]
        >>> HistoryDisplay(rows).plot().metric_ax_.get_ylabel()
        'Metric'
        """
        ax = self._axes(ax, (6.4, 4.2))
        from matplotlib.ticker import MaxNLocator

        losses = [name for name in self.curves if name.endswith("loss")]
        others = [name for name in self.curves if name not in losses]
        self.metric_ax_ = None
        if others and losses:
            self.metric_ax_ = ax.twinx()
            self.metric_ax_.spines["top"].set_visible(False)
            self.metric_ax_.spines["right"].set_color(FAINT)
            self.metric_ax_.tick_params(color=FAINT, labelcolor=INK)
            self.metric_ax_.set_ylabel("Metric")
        self.lines_ = {}
        for i, (name, values) in enumerate(self.curves.items()):
            own = ax if name in losses or self.metric_ax_ is None else self.metric_ax_
            style = {
                "color": PALETTE[i % len(PALETTE)], "linewidth": 2,
                "linestyle": "-" if name in losses else "--", "label": name,
                "marker": "o" if len(values) == 1 else "",
            }  # fmt: skip
            (self.lines_[name],) = own.plot(self._epochs, values, **{**style, **kwargs})
        ax.set(xlabel="Epoch", ylabel="Loss" if losses else "Metric")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        if self.best_epoch:
            ax.axvline(self.best_epoch, color=FAINT, linewidth=1, linestyle=":", zorder=1)
            late = self.best_epoch > self._epochs.mean()  # the label goes where there is room
            ax.annotate(
                "best", (self.best_epoch, 1), xycoords=("data", "axes fraction"),
                xytext=(-4 if late else 4, -12), textcoords="offset points", color=INK,
                ha="right" if late else "left",
            )  # fmt: skip
        if len(self.lines_) > 1:
            ax.legend(
                [*self.lines_.values()], [*self.lines_], loc="upper center", ncols=3,
                frameon=False, bbox_to_anchor=(0.5, -0.15),
            )  # fmt: skip
        return self._finish(ax, "training")
