"""BayesianOptimizer: asks for points and is told values.

A suggestion is a function of the space, the options, the seed, what has been told and what has been
asked: there is no other state, so a search that is read from a file goes on as if it had not
stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize as scipy_minimize

from kernelmill._docstrings import Documented
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._random import generator, seed_of
from kernelmill.gaussian_process._factor import lapack_threads
from kernelmill.model_selection import _acquisition
from kernelmill.model_selection._dimensions import MOST_LEVELS
from kernelmill.model_selection._result import SearchResult
from kernelmill.model_selection._space import Space, keys
from kernelmill.model_selection._surrogate import Posterior, Surrogate
from kernelmill.model_selection._words import OPTIONS, WORDS, check_options

_CANDIDATES = 1000  # drawn at random, and as many near the best points
_STARTS = 6  # of the local search
_DESIGNS = 32  # Latin hypercubes, of which the one with the farthest nearest pair is taken
# Closer than this, in the unit cube, a point is one that is known, or one that others work on.
_NEAR, _NEAR_PENDING = 1e-5, 1e-3
# A best value that fell by so little, in deviations, in so many evaluations has stalled; then so
# much more is asked for. Hartmann-6, 80 evaluations, 10 seeds: mean regret 0.086 against 0.111.
_LITTLE, _STALL, _MORE = 0.01, 4, 0.1
_DRAWN = 512  # points at which functions are drawn from the process


class BayesianOptimizer(Documented):
    """Bayesian optimisation by ask and tell.

    Parameters
    ----------
    space : sequence or dict of dimensions, or sequence of such dicts

    Attributes
    ----------
    n_told : int
        Number of evaluations told.
    pending : list
        Points asked for and not told yet.
    is_exhausted : bool
        Whether all points of a finite space have been asked for or told.

    See Also
    --------
    minimize : The loop around it.

    Examples
    --------
    >>> from kernelmill.model_selection import BayesianOptimizer
    >>> optimizer = BayesianOptimizer([(-2.0, 2.0)], n_initial_points=4, random_state=0)
    >>> for _ in range(5):
    ...     points = optimizer.ask(2)  # for two workers
    ...     for x in points:
    ...         optimizer.tell(x, (x[0] - 0.5) ** 2)
    >>> bool(abs(optimizer.result().x[0] - 0.5) < 0.1)
    True
    """

    _words = WORDS

    def __init__(
        self, space, *, n_initial_points=None, acquisition="EI", xi=None, kappa=1.96,
        random_state=None,
    ):  # fmt: skip
        owner = type(self).__name__
        options = {
            "n_initial_points": n_initial_points, "acquisition": acquisition, "xi": xi,
            "kappa": kappa, "random_state": random_state,
        }  # fmt: skip
        check_options(owner, OPTIONS, options)
        self.space = space if isinstance(space, Space) else Space(space, owner)
        k = len(self.space.dimensions)
        self.n_initial_points = min(2 * k + 1, 12) if n_initial_points is None else n_initial_points
        self.acquisition, self.kappa = acquisition, kappa
        self.xi = (0.1 if acquisition == "PI" else 0.0) if xi is None else xi
        self.seed = seed_of(random_state)
        self._N = np.zeros((0, k))  # rows of numbers
        self._y = np.zeros(0)
        self._pending = np.zeros((0, k))
        self._errors: dict[int, str] = {}
        self._fitted: Surrogate | None = None

    @property
    def n_told(self) -> int:
        """Number of evaluations told."""
        return len(self._y)

    @property
    def pending(self) -> list[Any]:
        """Points asked for and not told yet."""
        return [self.space.point(row) for row in self._pending]

    @property
    def is_exhausted(self) -> bool:
        """Whether all points of a finite space have been asked for or told."""
        points = self.space.points
        return points is not None and keys(points) <= keys(self._known())

    def _known(self) -> np.ndarray:
        return np.concatenate([self._N, self._pending])

    # -- telling -------------------------------------------------------------------------------

    def tell(self, x, y, error=None):
        """Take the value of the objective at a point, asked for or not.

        Parameters
        ----------
        x : list or dict
            The point.
        y : float
            The value; NaN or an infinity says that the evaluation failed.
        error : str, optional
            Why it failed, for the record.
        """
        if not rule.is_real(y):
            raise ValueError(
                f"{type(self).__name__}: y must be a number, or NaN where the evaluation failed, "
                f"got {rule.shown(y)}"
            )
        self._tell_row(self.space.row(x), float(y), error)

    def _tell_row(self, row: np.ndarray, y: float, error: str | None = None) -> None:
        """`tell` of a point by its numbers."""
        same = [i for i, one in enumerate(self._pending) if one.tobytes() == row.tobytes()]
        if same:
            self._pending = np.delete(self._pending, same[0], axis=0)
        if error is not None:
            self._errors[len(self._y)] = error
        self._N, self._y = np.concatenate([self._N, row[None]]), np.append(self._y, y)

    # -- asking --------------------------------------------------------------------------------

    def ask(self, n_points=None):
        """The points to evaluate next.

        Those asked for before and not told yet are taken into account, so that several workers may
        ask one after another.

        Parameters
        ----------
        n_points : int, optional
            Number of points, for workers that run at the same time.

        Returns
        -------
        x : list or dict, or list of these
            One point; a list of them if `n_points` is given. The list is shorter where a finite
            space has no more.

        Raises
        ------
        RuntimeError
            If one point is asked for and all points of the space have been.
        """
        owner = type(self).__name__
        if n_points is None:
            found = self._ask_rows(1)
            if not len(found):
                raise RuntimeError(
                    f"{owner}: a point must be left to ask for, got a space whose "
                    f"{self.space.size:.0f} points have all been asked for"
                )
            return self.space.point(found[0])
        if not (rule.is_integer(n_points) and n_points >= 1):
            raise ValueError(
                f"{owner}: n_points must be a whole number of at least 1, got "
                f"{rule.shown(n_points)}"
            )
        return [self.space.point(row) for row in self._ask_rows(n_points)]

    def _ask_rows(self, n: int) -> list[np.ndarray]:
        """`ask` for rows of numbers."""
        found: list[np.ndarray] = []
        process: Posterior | None = None
        with lapack_threads(self.n_told + n):
            for _ in range(n):
                known = self._known()
                rng = generator(self.seed, len(known) + 1)
                if len(known) < self.n_initial_points or not self.n_told:
                    row = self._unknown(self._design(len(known)), known, rng)
                else:
                    model = self._model()
                    if process is None:
                        process = model.process
                        if len(self._pending):
                            process = process.extended(self._positions(self._pending))
                    elif found:
                        process = process.extended(self._positions(found[-1][None]))
                    row = self._suggestion(model, process, known, rng)
                if row is None:
                    break
                found.append(row)
                self._pending = np.concatenate([self._pending, row[None]])
        return found

    def _positions(self, N: np.ndarray) -> np.ndarray:
        return self.space.positions(self.space.codes(N))

    def _model(self) -> Surrogate:
        """The model of what has been told."""
        if self._fitted is None or self._fitted.n != self.n_told:
            self._fitted = Surrogate(self.space, self._N, self._y, self.n_initial_points)
        return self._fitted

    def _design(self, index: int) -> np.ndarray:
        """A row of the initial design, a Latin hypercube."""
        n, k = max(self.n_initial_points, 1), len(self.space.dimensions)
        rng = generator(self.seed, 0)
        if index >= n:  # evaluations are under way, and none has been told
            return self.space.draw(generator(self.seed, index + 1).random((1, k)))
        best: tuple[float, Any] = (-1.0, None)
        for _ in range(_DESIGNS if n > 1 else 1):
            cells = np.argsort(rng.random((n, k)), axis=0)
            U = (cells + rng.random((n, k))) / n
            gaps = ((U[:, None] - U) ** 2).sum(-1) + np.eye(n) * k
            if gaps.min() > best[0]:
                best = float(gaps.min()), U
        return self.space.draw(best[1][index][None])

    def _unknown(self, V: np.ndarray, known: np.ndarray, rng: Any) -> np.ndarray | None:
        """The first of some points that is not known, or one drawn at random; None if all are.

        Given as codes, returned as a row of numbers.
        """
        seen = keys(known)
        for row in self.space.numbers(V):
            if row.tobytes() not in seen:
                return row
        if self.space.points is not None:
            left = [row for row in self.space.points if row.tobytes() not in seen]
            return left[rng.integers(len(left))] if left else None
        for row in self.space.numbers(self.space.draw(rng.random((1000, V.shape[1])))):
            if row.tobytes() not in seen:
                return row
        return None

    def _suggestion(
        self, model: Surrogate, process: Posterior, known: np.ndarray, rng: Any
    ) -> np.ndarray | None:
        space = self.space
        if space.points is not None:
            seen = keys(known)
            V = np.array([row for row in space.points if row.tobytes() not in seen])
            if not len(V):
                return None
        else:
            V = self._candidates(known, rng)
        if self.acquisition == "Thompson":
            return self._drawn(model, process, V, known, rng)

        xi = self._wanted(model)

        def value(Z: np.ndarray) -> np.ndarray:
            m, s = process.at(Z)
            found = _acquisition.acquisition(self.acquisition, m, s, model.best, xi, self.kappa)
            return self._weighed(found[0], model.success(Z))

        scores = value(space.positions(V))
        if space.points is None:
            best = np.argsort(-scores, kind="stable")[:_STARTS]
            more = self._improved(model, process, V[best], value, xi, rng)
            V = np.concatenate([more, V])
            scores = np.concatenate([value(space.positions(more)), scores])
        order = np.argsort(-scores, kind="stable")
        return self._new(V[order], known, rng)

    def _wanted(self, model: Surrogate) -> float:
        """The least improvement that counts for the next point.

        EI alone polishes a local minimum for ever. While the best value hardly falls, every other
        point must promise more.
        """
        y = self._y[np.isfinite(self._y)]
        early = len(y) <= self.n_initial_points or len(self._known()) % 2
        # It would look where evaluations fail, as there is always something to find.
        if self.acquisition != "EI" or early or model.failures is not None:
            return self.xi
        before = y[: max(len(y) - _STALL, 1)].min()
        fall = np.subtract(*model.warp(np.array([before, y.min()])))
        return max(self.xi, _MORE) if fall < _LITTLE else self.xi

    def _weighed(self, score: np.ndarray, success: np.ndarray) -> np.ndarray:
        """An acquisition, and the logarithm of a probability of success."""
        # A bound is no logarithm: where failure is certain it loses ten deviations.
        return score + (np.maximum(success, -10.0) if self.acquisition == "UCB" else success)

    def _new(self, V: np.ndarray, known: np.ndarray, rng: Any) -> np.ndarray | None:
        """The first of some points that is not as good as known."""
        at = self.space.positions(V[:64])
        least = np.r_[np.full(self.n_told, _NEAR), np.full(len(self._pending), _NEAR_PENDING)]
        gaps = np.abs(at[:, None] - self._positions(known)).max(-1, initial=0.0)
        far = V[:64][(gaps > least).all(1)]
        return self._unknown(far if len(far) else V, known, rng)

    def _candidates(self, known: np.ndarray, rng: Any) -> np.ndarray:
        """Points drawn from the priors, and near the best ones at several distances."""
        space, n, k = self.space, _CANDIDATES, len(self.space.dimensions)
        V = space.draw(rng.random((n, k)))
        order = np.argsort(np.where(np.isfinite(self._y), self._y, np.inf), kind="stable")
        best = space.codes(self._N[order[:8]])
        base = space.undraw(best, rng.random(best.shape))[rng.integers(len(best), size=n)]
        far = 10.0 ** rng.uniform(-4, -0.3, (n, 1))
        moved = rng.random((n, k)) < np.maximum(rng.random((n, 1)), 1 / k)
        moved[np.arange(n), rng.integers(k, size=n)] = True
        step = rng.standard_normal((n, k)) * far
        again = rng.random((n, k))
        discrete = ~space.continuous
        step = np.where(discrete, again - base, step)
        U = np.clip(base + np.where(moved, step, 0.0), 0.0, 1 - 2.0**-53)
        return np.concatenate([V, space.draw(U)])

    def _improved(
        self, model: Surrogate, process: Posterior, V: np.ndarray, value: Callable, xi: float,
        rng: Any,
    ) -> np.ndarray:
        """Points that a local search reaches: gradients, then neighbours, twice if these help."""
        space = self.space
        V = self._climbed(model, process, V, xi)
        if space.continuous.all():
            return V
        now = value(space.positions(V))
        for _ in range(3):
            around = [self._neighbours(v, rng) for v in V]
            counts = np.cumsum([len(a) for a in around])[:-1]
            scores = value(space.positions(np.concatenate(around)))
            better = False
            for i, own in enumerate(np.split(scores, counts)):
                at = int(np.argmax(own)) if len(own) else -1
                if at >= 0 and own[at] > now[i]:
                    V[i], now[i], better = around[i][at], own[at], True
            if not better:
                break
            V = self._climbed(model, process, V, xi)
            now = value(space.positions(V))
        return V

    def _neighbours(self, v: np.ndarray, rng: Any) -> np.ndarray:
        """Points with one discrete dimension changed."""
        found = []
        for i, dimension in enumerate(self.space.dimensions):
            if dimension.levels is None or np.isnan(v[i]):
                continue
            if dimension.levels <= MOST_LEVELS:
                codes = dimension._draw((np.arange(dimension.levels) + 0.5) / dimension.levels)
                codes = codes[codes != v[i]]
            else:
                codes = np.array([v[i] - 1, v[i] + 1])
                codes = codes[dimension._undraw(np.clip(codes, dimension.low, dimension.high)) >= 0]
                codes = np.unique(np.clip(codes, dimension.low, dimension.high))
            rows = np.repeat(v[None], len(codes), axis=0)
            rows[:, i] = codes
            found.append(rows)
        V = np.concatenate(found) if found else np.zeros((0, len(v)))
        return self.space.completed(V, rng.random(V.shape))

    def _climbed(
        self, model: Surrogate, process: Posterior, V: np.ndarray, xi: float
    ) -> np.ndarray:
        """Points where the acquisition is at a local maximum in the continuous dimensions.

        All starts are one problem, whose objective is the sum of theirs: an iteration costs a call
        of the model, not one for each start.
        """
        space = self.space
        Z = space.positions(V)
        free = np.zeros(Z.shape, dtype=bool)
        for i, columns in enumerate(space.columns):
            if space.continuous[i]:
                free[:, columns] = ~np.isnan(V[:, i, None])
        if not free.any():
            return V

        def minus(z: np.ndarray) -> tuple[float, np.ndarray]:
            Z[free] = z
            m, s, dm, ds = process.with_gradients(Z)
            score, by_m, by_s = _acquisition.acquisition(
                self.acquisition, m, s, model.best, xi, self.kappa
            )
            gradient = by_m[:, None] * dm + by_s[:, None] * ds
            if model.failures is not None:
                log, dlog = model.success_with_gradient(Z)
                score = score + log
                gradient = gradient + dlog
            return -float(score.sum()), -gradient[free]

        found = scipy_minimize(
            minus, Z[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(free.sum()),
            options={"maxiter": 40},
        )  # fmt: skip
        Z[free] = found.x
        V = V.copy()
        for i, columns in enumerate(space.columns):
            if space.continuous[i]:
                own = ~np.isnan(V[:, i])
                V[own, i] = space.dimensions[i]._nearest(Z[own, columns][:, 0])
        return V

    def _drawn(
        self, model: Surrogate, process: Posterior, V: np.ndarray, known: np.ndarray, rng: Any
    ) -> np.ndarray | None:
        """Thompson's way: the best point of a function drawn from the process."""
        if len(V) > _DRAWN:
            V = V[rng.permutation(len(V))[:_DRAWN]]
        Z = self.space.positions(V)
        values = process.draw(Z, rng.standard_normal((1, len(Z))))[0] - model.success(Z)
        return self._new(V[np.argsort(values, kind="stable")], known, rng)

    def result(self):
        """What has been found so far.

        Returns
        -------
        result : SearchResult
            The best point, its value, and the record.
        """
        return SearchResult(
            self.space, self._N, self._y, [self._errors.get(i) for i in range(self.n_told)],
            self.n_initial_points,
        )  # fmt: skip
