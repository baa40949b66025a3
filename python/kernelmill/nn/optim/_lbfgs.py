"""L-BFGS: quasi-Newton steps from the last few gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ...ops import matmul
from .._documents import complete
from .._dtypes import is_half
from .._tape import written
from ._optimizer import Optimizer

_ARMIJO, _CURVATURE = 1e-4, 0.9  # the constants of the Wolfe conditions, as for quasi-Newton steps


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright 2006, sections 7.2 and 3.5).

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        Parameters, in one group.
    lr : float, default=1
        Length of a step, or where the line search begins.
    max_iter : int, default=20
        Most iterations in a call of `step`.
    max_eval : int, optional
        Most evaluations in a call of `step`; 1.25 times ``max_iter`` by default.
    tolerance_grad : float, default=1e-7
        Stop when no component of the gradient is larger.
    tolerance_change : float, default=1e-9
        Stop when neither a parameter nor the loss changes by more.
    history_size : int, default=100
        Pairs of differences that are kept.
    line_search_fn : {"strong_wolfe"}, optional
        Search for a step that satisfies the strong Wolfe conditions; by default every step has
        length ``lr``.

    Notes
    -----
    `step` needs a closure that computes the loss and its gradients; it is called several times.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> w = nn.Parameter(np.array([3.0, -2.0]))
    >>> optimizer = nn.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (w * w).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item(), bool(abs(w.data).max() < 1e-6)
    (13.0, True)
    """

    _needs_closure = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        chosen = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        known = line_search_fn in (None, "strong_wolfe")
        self._check(chosen, line_search_fn=(known, "be None or 'strong_wolfe'"))
        super().__init__(params, chosen)
        if halves := [p.dtype for p in self._params if is_half(p.dtype)]:
            raise TypeError(
                f"LBFGS: params must be float32 or float64, got {halves[0]}, whose steps are too "
                "coarse for its line search"
            )
        if len(self.param_groups) != 1:
            raise ValueError(
                f"LBFGS: params must be one group, got {len(self.param_groups)} (its step mixes "
                "all parameters)"
            )

    @property
    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> np.ndarray:
        grads = (np.zeros_like(p.data) if p.grad is None else p.grad.data for p in self._params)
        return np.concatenate([g.ravel() for g in grads])

    def _place(self, x: np.ndarray) -> None:
        """Write a point into the parameters."""
        at = 0
        for p in self._params:
            p.data[...] = x[at : at + p.data.size].reshape(p.data.shape)
            at += p.data.size
        written(self._params)

    def step(self, closure: Callable[[], Any] | None = None, *, scale: float = 1.0) -> Any:
        """Up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Computes the loss and its gradients again.
        scale : float, default=1.0
            Must be 1: the search needs the gradients of the loss itself.

        Returns
        -------
        loss : Tensor
            What closure returned first.
        """
        if closure is None or scale != 1.0:
            what = "scale must be 1" if closure is not None else "closure must be given"
            raise TypeError(f"LBFGS: {what}, got {scale if closure is not None else None}")
        group, state = self.param_groups[0], self.state[self._params[0]]
        lr, small_gradient = group["lr"], group["tolerance_grad"]
        small_change = group["tolerance_change"]
        evaluations = 0

        def evaluate() -> tuple[Any, float, np.ndarray]:
            nonlocal evaluations
            evaluations += 1
            state["func_evals"] = state.get("func_evals", 0) + 1
            result = self._closed(closure)
            return result, float(result), self._gradient()

        first, loss, gradient = evaluate()
        for iteration in range(1, group["max_iter"] + 1):
            if not gradient.size or np.abs(gradient).max() <= small_gradient:
                break
            state["n_iter"] = state.get("n_iter", 0) + 1
            direction = self._direction(gradient, state, group["history_size"])
            before = loss
            t = lr if state["n_iter"] > 1 else min(1.0, 1.0 / float(np.abs(gradient).sum())) * lr
            slope = _dot(gradient, direction)
            state |= {"d": direction, "t": t, "prev_flat_grad": gradient, "prev_loss": loss}
            if slope > -small_change:
                break
            x = np.concatenate([p.data.ravel() for p in self._params])
            if group["line_search_fn"] == "strong_wolfe":

                def at(t: float, x: np.ndarray = x, direction: np.ndarray = direction) -> Point:
                    self._place(x + x.dtype.type(t) * direction)
                    _, f, g = evaluate()
                    return Point(t, f, g, _dot(g, direction))

                start = Point(0.0, loss, gradient, slope)
                reach = float(np.abs(direction).max())
                left = group["max_eval"] - evaluations
                state["t"], loss, gradient, _ = _search(at, start, t, reach, left)
                self._place(x + x.dtype.type(state["t"]) * direction)
            else:
                self._place(x + x.dtype.type(t) * direction)
                if iteration < group["max_iter"]:
                    _, loss, gradient = evaluate()
            moved = np.abs(direction * x.dtype.type(state["t"])).max()
            if evaluations >= group["max_eval"] or moved <= small_change:
                break
            if abs(loss - before) < small_change:
                break
        return first

    @staticmethod
    def _direction(gradient: np.ndarray, state: dict[str, Any], most: int) -> np.ndarray:
        """Minus the gradient times the inverse Hessian that the differences imply."""
        if state["n_iter"] == 1:
            state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
            return -gradient
        ys, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y = gradient - state["prev_flat_grad"]
        step = state["d"] * gradient.dtype.type(state["t"])
        curvature = _dot(y, step)
        if curvature > 1e-10:  # else the matrix would not stay positive definite
            for kept, new in ((ys, y), (steps, step), (ro, 1.0 / curvature)):
                kept.append(new)
                del kept[:-most]
            state["H_diag"] = curvature / _dot(y, y)
        of = gradient.dtype.type
        q = -gradient
        shares = []
        for y, step, r in zip(reversed(ys), reversed(steps), reversed(ro), strict=True):
            shares.append(_dot(step, q) * r)
            q = q - of(shares[-1]) * y
        q = q * of(state["H_diag"])
        for y, step, r, share in zip(ys, steps, ro, reversed(shares), strict=True):
            q = q + step * of(share - _dot(y, q) * r)
        return q


class Point(NamedTuple):
    """A point of a line: where, the value, the gradient, and its component along the line."""

    t: float
    f: float
    g: np.ndarray
    slope: float


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """An inner product with the same bits at any thread count."""
    return float(matmul.matmul(a[None, :], b[:, None])[0, 0])


def _search(at: Callable[[float], Point], start: Point, t: float, reach: float, most: int) -> Point:
    """A point that satisfies the strong Wolfe conditions, or the best one after `most` moves.

    First steps grow until an interval holds such a point; then the interval shrinks around it.
    Points come from cubic interpolation.
    """
    small = 1e-9

    def rises(p: Point) -> bool:
        return p.f > start.f + _ARMIJO * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -_CURVATURE * start.slope

    before, now = start, at(t)
    done = False
    for tried in range(most + 1):
        if tried == most:
            ends = [start, now]
            break
        if rises(now) or (tried > 1 and now.f >= before.f):
            ends = [before, now]
            break
        if flat(now):
            return now
        if now.slope >= 0:
            ends = [before, now]
            break
        t = _cubic(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, at(t)
    stuck = False
    low = 0 if ends[0].f <= ends[1].f else 1
    while not done and tried < most:
        lowest, highest = sorted(p.t for p in ends)
        if (highest - lowest) * reach < small:
            break
        t = _cubic(ends[0], ends[1], lowest, highest)
        margin = 0.1 * (highest - lowest)
        near = min(highest - t, t - lowest) < margin
        if near and (stuck or not lowest < t < highest):
            # Twice at an end of the interval: it would shrink by nothing.
            t = highest - margin if abs(t - highest) < abs(t - lowest) else lowest + margin
            near = False
        stuck = near
        now = at(t)
        tried += 1
        if rises(now) or now.f >= ends[low].f:
            ends[1 - low] = now
            low = 0 if ends[0].f <= ends[1].f else 1
            continue
        done = flat(now)
        if not done and now.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = now
    return ends[low]


def _cubic(a: Point, b: Point, lowest: float, highest: float) -> float:
    """The minimum of the cubic through two points with their slopes, within bounds."""
    if a.t > b.t:
        a, b = b, a
    d = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0:
        return (lowest + highest) / 2
    root = math.sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + root - d) / (b.slope - a.slope + 2 * root))
    return min(max(t, lowest), highest)


complete(globals())
