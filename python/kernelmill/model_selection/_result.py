"""SearchResult: the best point, and the record of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from kernelmill.model_selection._space import Space
from kernelmill.model_selection._surrogate import Surrogate


class _Models(Sequence):
    """The models of a search, fitted when they are first looked at."""

    def __init__(self, space: Space, N: np.ndarray, y: np.ndarray, first: int) -> None:
        self._space, self._N, self._y, self._first = space, N, y, first
        self._counts = range(max(first, 1), len(y) + 1)
        self._fitted: dict[int, Surrogate] = {}

    def __len__(self) -> int:
        return len(self._counts)

    @overload
    def __getitem__(self, index: int) -> Surrogate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Surrogate]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        n = self._counts[index]
        if n not in self._fitted:
            self._fitted[n] = Surrogate(self._space, self._N[:n], self._y[:n], self._first)
        return self._fitted[n]


class SearchResult:
    """What a search has found.

    Returned by `minimize` and `BayesianOptimizer.result`.

    Attributes
    ----------
    x : list or dict or None
        The point with the least value; None if all evaluations failed.
    fun : float
        The value there; NaN if all evaluations failed.
    x_iters : list
        All points, in the order of evaluation.
    func_vals : ndarray of shape (n,)
        Their values; NaN where an evaluation failed.
    errors : list of str or None
        Why evaluations failed; None for those that did not.
    models : sequence
        The model after each evaluation from the last initial one on. Each predicts:
        ``models[-1].predict(points, return_std=True)``. They are fitted when they are asked for.
    n_initial_points : int
        Number of evaluations before the first suggestion of a model.
    nfev : int
        Number of evaluations.
    success : bool
        Whether any evaluation has succeeded.
    message : str
        Why the search ended.
    space : object
        The space of the search.

    Examples
    --------
    >>> from kernelmill.model_selection import minimize
    >>> result = minimize(lambda x: (x[0] - 1) ** 2, [(-2.0, 2.0)], n_calls=12, random_state=0)
    >>> len(result.x_iters), bool(result.fun == result.func_vals.min())
    (12, True)
    """

    def __init__(
        self, space: Space, N: np.ndarray, y: np.ndarray, errors: list[str | None], first: int,
        message: str = "",
    ) -> None:  # fmt: skip
        self.space, self.message, self.errors = space, message, errors
        self.n_initial_points = first
        self.rows = N
        self.func_vals = np.where(np.isfinite(y), y, np.nan)
        self.x_iters = [space.point(row) for row in N]
        self.nfev = len(y)
        self.success = bool(np.isfinite(y).any())
        best = int(np.nanargmin(self.func_vals)) if self.success else -1
        self.best_index = best
        self.x = self.x_iters[best] if self.success else None
        self.fun = float(self.func_vals[best]) if self.success else float("nan")
        self.models = _Models(space, N, y, first)

    def __repr__(self) -> str:
        failed = int(np.isnan(self.func_vals).sum())
        more = f", {failed} failed" if failed else ""
        return f"SearchResult(x={self.x!r}, fun={self.fun!r}, {self.nfev} evaluations{more})"
