"""When to stop a fit that is judged round by round."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Patience:
    """The best value of a monitored number so far, and epochs since then.

    Attributes
    ----------
    sign : float
        -1 where smaller is better, else 1.
    tol : float
        Least gain that counts.
    best : float
        The best value, times ``sign``.
    since : int
        Epochs without a gain.
    """

    sign: float = -1.0
    tol: float = 0.0
    best: float = -math.inf
    since: int = 0

    def after(self, value: float) -> Patience:
        """With one more epoch. NaN is no gain."""
        signed = self.sign * value
        gained = signed > self.best + self.tol
        best = signed if signed > self.best else self.best
        return replace(self, best=best, since=0 if gained else self.since + 1)
