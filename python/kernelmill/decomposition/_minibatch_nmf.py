"""MiniBatchNMF."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb, warn_unconverged
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill.decomposition._nmf import INITS, NonnegativeModel, mean_of
from kernelmill.decomposition._nonnegative import (
    LOSSES,
    Penalties,
    divergence,
    gamma_of,
    ratio_for_H,
    updated_W,
)
from kernelmill.decomposition._watch import Watch


class MiniBatchNMF(NonnegativeModel):
    """Nonnegative factorisation by multiplicative updates of small batches of rows.

    Parameters
    ----------
    batch_size : int, default=1024
        Rows of a batch.
    tol : float, default=1e-4
        Relative change of the components between two batches that ends the iteration; 0 for none.
    max_iter : int, default=200
        Most passes over X.
    forget_factor : float, default=0.7
        Weight of what is one pass old.
    fresh_restarts : bool, default=False
        Whether the coefficients of a batch are found anew at each visit.
    fresh_restarts_max_iter : int, default=30
        Most updates of these.
    transform_max_iter : int or None, default=None
        Most updates in ``transform``; `max_iter` by default.

    Attributes
    ----------
    components_, n_components_, reconstruction_err_
    n_iter_ : int
        Passes over X that were begun.
    n_steps_
    n_features_in_, feature_names_in_

    See Also
    --------
    NMF : All rows in each iteration.

    Notes
    -----
    The components are the ratio of sums of numerators and denominators of their updates over the
    batches, of which older ones count less.

    References
    ----------
    Lefevre, Bach and Fevotte (2011), "Online algorithms for nonnegative matrix factorization with
    the Itakura-Saito divergence".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import MiniBatchNMF
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((300, 2)) @ rng.random((2, 6))
    >>> model = MiniBatchNMF(2, batch_size=50, random_state=0).fit(X)
    >>> bool(np.abs(model.inverse_transform(model.transform(X)) - X).max() < 0.2)
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.one_of("auto", None)),
        "init": rule.one_of(*INITS, None),
        "batch_size": rule.integer(1),
        "beta_loss": rule.any_of(rule.one_of(*LOSSES), rule.finite()),
        "tol": rule.real(0),
        "max_no_improvement": rule.any_of(rule.integer(1), rule.nothing()),
        "max_iter": rule.integer(1),
        "alpha_W": rule.real(0),
        "alpha_H": rule.any_of(rule.real(0), rule.one_of("same")),
        "l1_ratio": rule.real(0, high=1),
        "forget_factor": rule.real(0, high=1),
        "fresh_restarts": rule.boolean(),
        "fresh_restarts_max_iter": rule.integer(1),
        "transform_max_iter": rule.any_of(rule.integer(1), rule.nothing()),
        "random_state": rule.RANDOM_STATE,
        "verbose": rule.VERBOSE,
    }

    _components_numerator: np.ndarray
    _components_denominator: np.ndarray

    def __init__(
        self, n_components="auto", *, init=None, batch_size=1024, beta_loss="frobenius", tol=1e-4,
        max_no_improvement=10, max_iter=200, alpha_W=0.0, alpha_H="same", l1_ratio=0.0,
        forget_factor=0.7, fresh_restarts=False, fresh_restarts_max_iter=30,
        transform_max_iter=None, random_state=None, verbose=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def _fit(self, X: Any, W: Any = None, H: Any = None) -> Any:
        rows = self._nonnegative_rows(X, reset=True)
        n, X = rows.count, to_host(rows.X)
        W, H = self._started(rows, W, H)
        size = min(self.batch_size, n)
        batches = [slice(i, min(i + size, n)) for i in range(0, n, size)]
        cycle = itertools.cycle(batches)
        limit = self.max_iter * len(batches)
        learned = lambda state, done: {  # noqa: E731 - for the climb alone
            "components_": state[0], "n_components_": len(H), "n_steps_": done,
            "n_iter_": -(-done // len(batches)), "_components_numerator": state[1],
            "_components_denominator": state[2],
        }  # fmt: skip
        watch = Watch(size / (n + 1), self.tol, self.max_no_improvement)
        rho = self.forget_factor ** (size / n)
        penalties = {b: self._penalties(b, X.shape[1]) for b in (size, n % size or size)}

        def advance(state: tuple, most: int) -> Step:
            part = next(cycle)
            coefficients = None if self.fresh_restarts else W[part]
            after, cost, own = self._step(
                X[part], coefficients, state, rho, penalties[part.stop - part.start]
            )
            if not self.fresh_restarts:
                W[part] = own
            size = _length(after[0]) or 1.0
            change = _length(after[0] - state[0]) / size
            if change <= self.tol and not own.any():  # rows of zeros say nothing of the components
                change = math.inf
            return Step(after, cost, watch.finished(cost, change))

        begin = (H, H.astype(np.float64), np.ones(H.shape))
        bar = Progress(self, self.verbose, iterations=limit, unit="batch", X=X)
        with lapack_threads(len(H)), bar as progress:
            run = climb(
                progress, lambda number: begin, advance, max_iter=limit, attributes=learned
            )
        if self.tol > 0 or self.max_no_improvement is not None:
            warn_unconverged(rows.owner, run, "max_iter", limit)
        self.__dict__.update(learned(run.state, run.n_iter))
        coded = self._transformed(X, rows.dtype)
        self.reconstruction_err_ = divergence(X, coded, self.components_, self._beta, root=True)
        return self

    @fitting
    def partial_fit(self, X, y=None, W=None, H=None):
        """Update the components by one batch.

        Parameters
        ----------
        W : array-like of shape (n, n_components), optional
            A start for the first batch, for ``init="custom"``.
        H : array-like of shape (n_components, d), optional
            A start for the first batch, for ``init="custom"``.

        Raises
        ------
        ValueError
            If X does not fit, has negative entries, or other features than before.
        """
        fresh = not hasattr(self, "components_")
        rows = self._nonnegative_rows(X, reset=fresh)
        X = to_host(rows.X)
        if fresh:
            _, H = self._started(rows, W, H)
            self.n_steps_ = 0
            state = H, H.astype(np.float64), np.ones(H.shape)
        else:
            state = self.components_, self._components_numerator, self._components_denominator
        penalties = self._penalties(*X.shape)
        state, _, _ = self._step(X, None, state, self.forget_factor, penalties)
        self.components_, self._components_numerator, self._components_denominator = state
        self.n_components_, self.n_steps_ = len(state[0]), self.n_steps_ + 1
        return self

    def _step(
        self, X: Any, W: Any, state: tuple, rho: float, penalties: tuple[Penalties, Penalties]
    ) -> tuple[tuple, float, np.ndarray]:
        """The next state, the cost of a row, and the coefficients."""
        (H, above, below), (of_W, of_H) = state, penalties
        beta = self._beta
        gamma = gamma_of(beta)
        if W is None:
            W = self._coded(X, H, of_W, self.fresh_restarts_max_iter, self.tol)
        else:
            W = updated_W(X, W, H, beta, of_W)
        numerator, denominator, cost = ratio_for_H(X, W, H, beta)
        for factor, penalty in ((W, of_W), (H, of_H)):
            if any(penalty):
                cost += penalty.l1 * float(factor.sum())
                cost += penalty.l2 * float(np.square(factor).sum())
        powered = H.astype(np.float64, copy=False)
        powered = powered if gamma == 1 else powered ** (1 / gamma)
        above = rho * above + numerator * powered
        below = rho * below + denominator
        if any(of_H):
            below += of_H.l1 + of_H.l2 * H
        new = np.divide(above, below, out=np.zeros(H.shape), where=below > 0)
        new = new if gamma == 1 else new**gamma
        return (new.astype(H.dtype, copy=False), above, below), cost / X.shape[0], W

    def _coded(self, X: Any, H: np.ndarray, penalties: Any, most: int, tol: float) -> np.ndarray:
        """Updates of W until they change it by less than a share `tol` of its length."""
        beta = self._beta
        W = np.full((X.shape[0], len(H)), np.sqrt(mean_of(X) / len(H)), H.dtype)
        for _ in range(most):
            before = W
            W = updated_W(X, W, H, beta, penalties)
            if tol > 0 and _length(W - before) <= tol * _length(W):
                break
        return W

    def _transformed(self, X: Any, dtype: Any) -> np.ndarray:
        most = self.max_iter if self.transform_max_iter is None else self.transform_max_iter
        H = self.components_.astype(dtype, copy=False)
        return self._coded(X, H, self._penalties(*X.shape)[0], most, self.tol)


def _length(A: np.ndarray) -> float:
    """Root of the sum of squares; twice as fast as NumPy's norm for few entries."""
    return math.sqrt(np.vdot(A, A))
