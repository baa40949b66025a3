"""When a fit by batches stops: parameters that stay, or a smoothed cost that does not fall."""

from __future__ import annotations

import math


class Watch:
    """What was seen of the costs of batches.

    Parameters
    ----------
    share : float
        Rows of a batch over all rows and one: the weight of a new cost, at most 1.
    tol : float
        Length of a change of the parameters that ends the fit; 0 for none.
    patience : int or None
        Batches without a better smoothed cost that end it.
    """

    def __init__(self, share: float, tol: float, patience: int | None) -> None:
        self.weight = min(share, 1.0)
        self.tol, self.patience = tol, patience
        self.average = self.best = math.inf
        self.seen = self.waited = 0

    def finished(self, cost: float, change: float) -> bool:
        """Whether to stop after a batch of this cost that changed the parameters so much."""
        self.seen += 1
        if self.seen == 1:  # the cost of the start
            return False
        first = not math.isfinite(self.average)
        self.average = cost if first else self.average + self.weight * (cost - self.average)
        if self.tol > 0 and change <= self.tol:
            return True
        self.waited = 0 if self.average < self.best else self.waited + 1
        self.best = min(self.best, self.average)
        return self.patience is not None and self.waited >= self.patience
