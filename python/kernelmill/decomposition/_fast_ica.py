"""FastICA."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb, warn_unconverged
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Rows, streams_unwrapped
from kernelmill._estimator._validation import as_numbers
from kernelmill.decomposition._axes import signed
from kernelmill.decomposition._pca import PCA, few_rows
from kernelmill.decomposition._projection import Projection, projected
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import decomposition, matmul

_SLICE = 1 << 25  # entries that steps of one call read: at most about 100 ms


def decorrelated(W: np.ndarray) -> np.ndarray:
    """``(W W')^(-1/2) W``, the orthogonal matrix that is nearest to W."""
    left, _, right = np.linalg.svd(W, full_matrices=False)
    return left @ right


def whitened_pass(
    X: Any, mean: np.ndarray, K: np.ndarray, W: np.ndarray, contrast: int, alpha: float,
    sample_weight: Any = None,
) -> np.ndarray:  # fmt: skip
    """The sums of a step over rows that are whitened on the way: products, and slopes beside."""
    products, slopes = decomposition.contrasts(projected(X, mean, K), W, contrast, alpha)
    return np.column_stack([products, slopes])


class FastICA(Projection):
    """Independent components: directions along which whitened rows are least Gaussian.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components; min(n, d) by default, and no more than have a variance.
    algorithm : {"parallel", "deflation"}, default="parallel"
        All components together, or one after another.
    whiten : {"unit-variance", "arbitrary-variance"} or False, default="unit-variance"
        What is divided out: sources of variance 1 (divisor n), whitened rows of variance 1 without
        the last rounding, or nothing, for rows that are white already.
    fun : {"logcosh", "exp", "cube"} or callable, default="logcosh"
        The contrast: g is ``tanh(alpha u)``, ``u exp(-u^2 / 2)`` or ``u^3``; or a function of an
        array of projections, one row a component, that returns g and the mean of g' along the last
        axis.
    fun_args : dict or None, default=None
        ``{"alpha": 1.0}`` for ``"logcosh"``, between 1 and 2; other arguments of a callable.
    max_iter : int, default=200
        Most iterations, for each component in deflation.
    tol : float, default=1e-4
        Largest ``1 - |cos|`` of the angle that a direction turns by in the last iteration.
    w_init : array-like of shape (n_components, n_components) or None, default=None
        First directions in the whitened space; normal numbers by default.
    whiten_solver : {"svd", "eigh"}, default="svd"
        Ignored but for its name: the covariance is used, or products of rows for n < d.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d), float64
        The unmixing matrix: sources are ``components_ (x - mean_)``. Of the entries of each row the
        largest in magnitude is positive.
    mixing_ : ndarray of shape (d, n_components), float64
        Its pseudoinverse.
    mean_
    whitening_ : ndarray of shape (n_components, d), float64
        What makes rows white, of variance 1.
    n_iter_ : int
        Number of iterations, the largest of the components in deflation.
    n_features_in_, feature_names_in_

    See Also
    --------
    PCA : Uncorrelated components.

    Notes
    -----
    With whitened rows z and ``u = W z``, a step is ``W <- E[g(u) z'] - diag(E[g'(u)]) W`` and then
    the nearest orthogonal matrix: a Newton step for the extremes of ``E[G(u)]``. One pass makes
    both means; a stream is whitened in each pass. Cost of an iteration 4 n k^2 flops and n k values
    of g.

    References
    ----------
    Hyvarinen and Oja (2000), "Independent component analysis: algorithms and applications".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import FastICA
    >>> t = np.linspace(0, 8, 2000)
    >>> sources = np.column_stack([np.sin(2 * t), np.sign(np.sin(3 * t))])
    >>> ica = FastICA(random_state=0)
    >>> found = ica.fit_transform(sources @ [[1.0, 0.5], [1.0, 2.0]])
    >>> near = np.abs(np.corrcoef(found.T, sources.T)[:2, 2:]).max(axis=0)
    >>> bool(near.min() > 0.99), found.var(axis=0).round(6).tolist()
    (True, [1.0, 1.0])
    """

    _words = WORDS
    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "algorithm": rule.one_of("parallel", "deflation"),
        "whiten": rule.any_of(
            rule.one_of("unit-variance", "arbitrary-variance"),
            rule.Rule(lambda v: v is False, "False"),
        ),
        "fun": rule.any_of(
            rule.one_of(*decomposition.CONTRASTS), rule.Rule(callable, "a function of u")
        ),
        "fun_args": rule.any_of(rule.Rule(lambda v: isinstance(v, dict), "a dict"), rule.nothing()),
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        "w_init": rule.any_of(rule.array("(n_components, n_components)"), rule.nothing()),
        "whiten_solver": rule.one_of("svd", "eigh"),
        "random_state": rule.RANDOM_STATE,
    }
    whitening_: Any

    def __init__(
        self, n_components=None, *, algorithm="parallel", whiten="unit-variance", fun="logcosh",
        fun_args=None, max_iter=200, tol=1e-4, w_init=None, whiten_solver="svd", random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the directions.

        Raises
        ------
        ValueError
            If X or a parameter does not fit, or no feature varies.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ends the iteration.
        UserWarning
            If fewer directions than `n_components` have a variance.
        """
        rows = self._rows(X, reset=True, deferred=True)
        mean, K, count = self._whitening(rows)
        k = len(K)
        if self.w_init is None:
            W = generator(seed_of(self.random_state), 0).normal(size=(k, k))
        else:
            W = as_numbers(self.w_init, "w_init", rows.owner)
            if W.shape != (k, k):
                raise ValueError(
                    f"{rows.owner}: w_init must have shape {(k, k)}, got {W.shape}"
                )
        step, move = self._steps(rows, mean, K, count)
        learned = lambda state, done: self._learned(state, mean, K, done)  # noqa: E731
        deflates = self.algorithm == "deflation"
        limit = self.max_iter * (k if deflates else 1)
        with lapack_threads(k), Progress(self, False, iterations=limit, X=X) as progress:
            if deflates:
                begin = (np.zeros((0, k)), _unit(W[0]), 0, 0)
                run = climb(
                    progress, lambda number: begin, _deflation(move, W, self.max_iter, self.tol),
                    max_iter=limit, attributes=lambda s, done: learned(_all(s, W), s[3] + 1),
                )  # fmt: skip
                found, done = run.state[0], run.state[3]
                if done >= self.max_iter:
                    warn(
                        f"{rows.owner}: a component did not converge in max_iter={done} iterations "
                        "(raise max_iter or tol)", ConvergenceWarning,
                    )  # fmt: skip
            else:
                run = climb(
                    progress, lambda number: decorrelated(W), _together(step, self.tol),
                    max_iter=limit, attributes=learned,
                )  # fmt: skip
                warn_unconverged(rows.owner, run, "max_iter", self.max_iter)
                found, done = run.state, run.n_iter
        self.__dict__.update(learned(found, done))
        if self.whiten is False:
            for name in ("mean_", "whitening_"):
                self.__dict__.pop(name, None)
        return self

    def _whitening(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, int]:
        """Mean, whitening matrix and number of rows."""
        d, wanted = rows.n_features, self.n_components
        if self.whiten is False:
            if wanted is not None and wanted != d:
                warn(
                    f"{rows.owner}: n_components must be left out for whiten=False, got {wanted} "
                    "(Ignoring n_components with whiten=False.)", UserWarning,
                )  # fmt: skip
            rows.check()
            return np.zeros(d), np.eye(d), rows.count
        solver = "covariance_eigh"
        if not rows.is_stream:
            few_rows(rows.count, rows.owner)
            solver = "covariance_eigh" if rows.count >= d else "dual_eigh"
        most = d if rows.is_stream else min(rows.count, d)
        k = most if wanted is None else wanted
        if k > most:
            warn(
                f"{rows.owner}: n_components must be at most min(n_samples, n_features)={most}, "
                f"got {wanted} (n_components is too large: it will be set to {most})", UserWarning,
            )  # fmt: skip
            k = most
        pca = PCA(k, svd_solver=solver).fit(rows)
        squares = pca.singular_values_**2 / pca.n_samples_
        rank = int((squares > 0).sum())
        if rank < k:
            if not rank:
                raise ValueError(
                    f"{rows.owner}: X must have features that vary, got constant ones alone"
                )
            if wanted is not None:
                warn(
                    f"{rows.owner}: n_components must be at most the rank of X, {rank}, got {k} "
                    f"({rank} are found)", UserWarning,
                )  # fmt: skip
        axes = pca.components_[:rank].astype(np.float64)
        return pca.mean_, axes / np.sqrt(squares[:rank])[:, None], pca.n_samples_

    def _steps(
        self, rows: Rows, mean: np.ndarray, K: np.ndarray, count: int
    ) -> tuple[Callable, Callable]:
        """``step(W)``: means of ``g(W z) z'`` and of ``g'(W z)``; and `_moved` by such steps."""
        given = dict(self.fun_args or {})
        if callable(self.fun):
            function = self.fun
            Z = projected(rows.kept().X if rows.is_stream else rows.X, mean, K)

            def own(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                g, slopes = function(W @ Z.T, **given)
                slopes = np.asarray(slopes, dtype=np.float64)
                slopes = slopes.mean(-1) if slopes.ndim == 2 else slopes
                return np.asarray(g) @ Z / count, slopes

            return own, functools.partial(_moved, own)
        alpha = float(given.get("alpha", 1.0))
        if not 1 <= alpha <= 2:
            raise ValueError(
                f"{rows.owner}: alpha must be between 1 and 2, got {alpha} (alpha must be in [1,2])"
            )
        contrast = decomposition.CONTRASTS.index(self.fun)
        if rows.is_stream:
            streamed = lambda W: rows.map_reduce(  # noqa: E731 - beside the other
                whitened_pass, mean, K, W, contrast, alpha
            )
            passed = lambda W: _halves(streamed(W) / count)  # noqa: E731
            return passed, functools.partial(_moved, passed)
        Z = projected(rows.X, None if self.whiten is False else mean, K)

        def step(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            products, slopes = decomposition.contrasts(Z, W, contrast, alpha)
            return products / count, slopes / count

        at_once = max(1, _SLICE // Z.size)

        def move(found: np.ndarray, w: np.ndarray, most: int) -> tuple[np.ndarray, int, float]:
            w, most = w.copy(), min(most, at_once)
            steps, turned = decomposition.deflation(
                Z, found, w, contrast, alpha, most, float(self.tol)
            )
            return w, steps, turned

        return step, move

    def _learned(self, W: np.ndarray, mean: np.ndarray, K: np.ndarray, done: int) -> dict[str, Any]:
        raw = W @ K
        components = signed(raw)
        # Rows of K are orthogonal, those of W orthonormal: the pseudo-inverse needs no SVD. A step
        # of Newton's squares what rounding has left of that (1e-10 where scales differ by 1e5).
        signs = np.sign(np.einsum("ij,ij->i", raw, components))
        inverse = (K.T / np.einsum("ij,ij->i", K, K)) @ (W * signs[:, None]).T
        return {
            "components_": components,
            "mixing_": 2 * inverse - inverse @ (components @ inverse),
            "mean_": mean,
            "whitening_": K,
            "n_iter_": done,
        }

    def _transformation(self) -> tuple:
        return getattr(self, "mean_", None), self.components_, None

    def _restored(self, Z: np.ndarray) -> np.ndarray:
        X = matmul.matmul(Z.astype(np.float64), np.ascontiguousarray(self.mixing_.T))
        mean = getattr(self, "mean_", 0.0)
        return (X + mean).astype(Z.dtype)

    def transform(self, X: Any, copy: Any = True) -> Any:
        """Sources of rows, ``components_ (x - mean_)``.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X, or Source
            For a stream a `kernelmill.stream.Source` that transforms each chunk as it is read.
        """
        return super().transform(X)

    def inverse_transform(self, X: Any, copy: Any = True) -> Any:
        """Rows from sources, ``mixing_ z + mean_``.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of the sources
            Rows.
        """
        return super().inverse_transform(X)


# `TransformerMixin` has wrapped it when the class was made.
FastICA.transform = streams_unwrapped(FastICA.transform)  # type: ignore[method-assign]


def _halves(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sums[:, :-1], sums[:, -1]


def _unit(w: np.ndarray) -> np.ndarray:
    return w / (math.sqrt(w @ w) or 1.0)


def _all(state: tuple, W: np.ndarray) -> np.ndarray:
    """Directions found, the one that is sought, and the first ones of the others."""
    found, w = state[0], state[1]
    return decorrelated(np.concatenate([found, w[None], W[len(found) + 1 :]])[: len(W)])


def _together(step: Callable, tol: float) -> Callable:
    def advance(W: np.ndarray, most: int) -> Step:
        products, slopes = step(W)
        new = decorrelated(products - slopes[:, None] * W)
        turned = float(np.abs(np.abs(np.einsum("ij,ij->i", new, W)) - 1).max(initial=0.0))
        return Step(new, finished=turned < tol)

    return advance


def _moved(
    step: Callable, found: np.ndarray, w: np.ndarray, most: int
) -> tuple[np.ndarray, int, float]:
    """w after a step beside the directions found, the number of steps, and the angle."""
    products, slopes = step(w[None])
    new = products[0] - slopes[0] * w
    if len(found):
        new -= found.T @ (found @ new)
    new = _unit(new)
    return new, 1, abs(abs(float(new @ w)) - 1)


def _deflation(move: Callable, first: np.ndarray, most: int, tol: float) -> Callable:
    """A state is what was found, the direction sought, its iterations, and the most so far."""

    def advance(state: tuple, limit: int) -> Step:
        found, w, done, longest = state
        new, steps, turned = move(found, w, min(limit, most - done))
        done += steps
        if turned >= tol and done < most:
            return Step((found, new, done, longest), taken=steps)
        found = np.concatenate([found, new[None]])
        longest = max(longest, done)
        if len(found) == len(first):
            return Step((found, new, 0, longest), finished=True, taken=steps)
        w = first[len(found)]
        return Step((found, _unit(w - found.T @ (found @ w)), 0, longest), taken=steps)

    return advance
