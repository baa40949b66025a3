"""What fits need of a kernel, from scikit-learn's public methods of one.

A kernel that defines ``__call__(X, Y=None, eval_gradient=False)``, ``diag``, ``is_stationary`` and
its hyperparameters has values from ``__call__``, and derivatives by blocks: those of rows X by
rows Y are a corner of the gradient of both together, the only one that the protocol has. That
computes four entries for each that is used, and holds p of them for each entry of a block; kernels
of this package have neither cost. Derivatives in the rows are central differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernelmill._arrays import is_cupy

_BLOCK = 256
_LEAST = 32  # rows of a block: a call has a cost of its own
STEP = 6e-6  # the cube root of eps: errors of rounding and of the formula are equal


def check_host(X: Any, owner: str) -> None:
    """Raise unless rows are where users' kernels compute."""
    if is_cupy(X):
        raise TypeError(
            f"{owner}: X must be on the CPU for a kernel of this class, got an array on a GPU "
            "(move it with cupy.asnumpy, or use RBF or DotProduct)"
        )


class Protocol:
    """The methods that fits use, by those that users write."""

    _call: Any

    def _values(self, X: np.ndarray, Y: np.ndarray | None) -> np.ndarray:
        return self._checked(self._call(X, Y), (len(X), len(X if Y is None else Y)))

    def _checked(self, K: Any, shape: tuple[int, ...]) -> np.ndarray:
        K = np.array(K, dtype=np.float64)
        if K.shape != shape:
            raise ValueError(
                f"{type(self).__name__}: values for these rows must have shape {shape}, got "
                f"{K.shape} (see the docs of scikit-learn's Kernel)"
            )
        return K

    def _slopes(self, X: np.ndarray, Y: np.ndarray | None, p: int) -> np.ndarray:
        """``dK / dtheta`` (n, m, p) of one block; those of X alone without Y."""
        both = X if Y is None else np.concatenate([X, Y])
        n = len(both)
        G = self._checked(self._call(both, eval_gradient=True)[1], (n, n, p))
        return G if Y is None else G[: len(X), len(X) :]

    def _forward(self, X: np.ndarray, Y: np.ndarray, own: bool) -> tuple[np.ndarray, Any]:
        if own and len(X) == len(Y):
            return self._values(X, None), None
        K = self._values(X, Y)
        if own:
            K[:, : len(X)] = self._values(X, None)
        return K, None

    def _derivatives(
        self, X: np.ndarray, Y: np.ndarray, own: bool, saved: Any
    ) -> Iterator[np.ndarray]:
        p = self.n_dims  # type: ignore[attr-defined]
        if not p:
            return
        n = len(X) if own else 0  # columns that are the rows themselves
        G = np.empty((len(X), len(Y), p))
        for a in range(0, n, _BLOCK):
            for b in range(0, n, _BLOCK):
                rows, columns = (slice(s, min(s + _BLOCK, n)) for s in (a, b))
                other = None if a == b else X[columns]
                G[rows, columns] = self._slopes(X[rows], other, p)
        size = min(max(min(len(X), len(Y) - n), _LEAST), _BLOCK)
        for a in range(0, len(X), size):
            for b in range(n, len(Y), size):
                rows, columns = slice(a, a + size), slice(b, b + size)
                G[rows, columns] = self._slopes(X[rows], Y[columns], p)
        for q in range(p):
            yield np.ascontiguousarray(G[:, :, q])

    def _pull_diag(self, X: np.ndarray, a: np.ndarray) -> np.ndarray:
        p = self.n_dims  # type: ignore[attr-defined]
        total = np.zeros(p)
        for start in range(0, len(X) if p else 0, _LEAST):
            rows = slice(start, start + _LEAST)
            G = self._slopes(X[rows], None, p)
            total += np.einsum("i,iip->p", a[rows], G)
        return total

    def _diag(self, X: np.ndarray) -> np.ndarray:
        parts = [
            self._values(X[start : start + _LEAST], None).diagonal()
            for start in range(0, len(X), _LEAST)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    # -- in the rows ---------------------------------------------------------------------------

    def _pull_rows(self, X: np.ndarray, Y: np.ndarray, saved: Any, A: np.ndarray) -> np.ndarray:
        gradient = np.empty_like(X)
        for p in range(X.shape[1]):
            h = STEP * np.maximum(np.abs(X[:, p]), np.abs(Y[:, p]).max(initial=0) + 1e-300)
            move = np.zeros_like(X)
            move[:, p] = h
            up, down = (self._forward(x, Y, False)[0] for x in (X + move, X - move))
            gradient[:, p] = (A * (up - down)).sum(1) / (2 * h)
        return gradient

    def _pull_diag_rows(self, X: np.ndarray, a: np.ndarray) -> np.ndarray:
        gradient = np.zeros_like(X)
        if self.is_stationary():  # type: ignore[attr-defined]
            return gradient  # its diagonal is constant
        for p in range(X.shape[1]):
            h = STEP * np.maximum(np.abs(X[:, p]).max(initial=0), 1e-300)
            move = np.zeros_like(X)
            move[:, p] = h
            gradient[:, p] = a * (self._diag(X + move) - self._diag(X - move)) / (2 * h)
        return gradient
