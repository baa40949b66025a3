"""NMF."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb, warn_unconverged
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill.decomposition._axes import CentredRows, by_random, by_rows, by_scatter, by_values
from kernelmill.decomposition._nonnegative import (
    LOSSES,
    Penalties,
    descend,
    divergence,
    times,
    updated_H,
    updated_W,
)
from kernelmill.decomposition._pca import solver_of
from kernelmill.decomposition._projection import scores_given
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import decomposition, matmul, moments

INITS = ("random", "nndsvd", "nndsvda", "nndsvdar", "custom")
_EVERY = 10  # multiplicative updates between two looks at the objective, scikit-learn's
_SLICE = 3e8  # multiplications in the alternations of a call: 40 ms on two cores
_MOST = 1000  # alternations of a call, whose orders are memory
_SMALL = 1e-6  # share of the largest entry below which one of a start is 0


def leading(rows: Rows, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, S and V' of X, not centred."""
    A = CentredRows(rows, centred=False)
    n, d = A.shape
    k = min(k, n, d)
    solver = solver_of(n, d, k, False, A.sparse)
    if solver == "covariance_eigh":
        X = to_host(rows.X)
        S = moments.products(X, np.empty((n, 0)), np.zeros(d))[:d, :d]
        axes = by_scatter(S, k)
    elif solver in ("arpack", "randomized"):
        axes = by_random(A, k, seed, 10, "auto", "auto")
    else:
        axes = by_rows(A, k) if solver == "dual_eigh" else by_values(A, k)
    values = np.where(axes.values > 0, axes.values, 1.0)
    U = A.times(np.ascontiguousarray(axes.components.T)) / values
    return U.astype(np.float64), axes.values, axes.components.astype(np.float64)


def double_svd(rows: Rows, k: int, seed: int, mean: float, kind: str) -> tuple[Any, Any]:
    """W and H from the parts of singular vectors above or below 0, whichever are larger."""
    U, values, V = leading(rows, k, seed)
    W, H = np.zeros((rows.count, k)), np.zeros((k, rows.n_features))
    W[:, 0], H[0] = np.sqrt(values[0]) * np.abs(U[:, 0]), np.sqrt(values[0]) * np.abs(V[0])
    for j in range(1, len(values)):
        best: tuple[float, Any, Any] = (0.0, None, None)
        for sign in (1, -1):
            u, v = np.maximum(sign * U[:, j], 0), np.maximum(sign * V[j], 0)
            size = float(np.linalg.norm(u) * np.linalg.norm(v))
            if size > best[0]:
                best = size, u / np.linalg.norm(u), v / np.linalg.norm(v)
        if best[0]:
            root = np.sqrt(values[j] * best[0])
            W[:, j], H[j] = root * best[1], root * best[2]
    for A in (W, H):
        A[_SMALL * A.max(initial=0) > A] = 0
    if kind == "nndsvda":
        W[W == 0] = H[H == 0] = mean
    elif kind == "nndsvdar":
        rng = generator(seed, 1)
        for A in (W, H):
            zero = A == 0
            A[zero] = np.abs(mean * rng.standard_normal(int(zero.sum())) / 100)
    return W, H


class NonnegativeModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Base of nonnegative factorisations."""

    _accepts_sparse = True
    _accepts_streams = False
    _words = WORDS.extended(
        parameters={
            "n_components": ('int, "auto" or None', "Number of components; that of a custom start, "
                "or d, by default."),
            "init": ('{"random", "nndsvd", "nndsvda", "nndsvdar", "custom"} or None', "The start: "
                "random numbers, or the parts of singular vectors above or below 0, with zeros, "
                "with zeros filled by the mean of X, or by small random numbers. By default "
                '``"nndsvda"`` for at most min(n, d) components, else ``"random"``. The start of '
                '``c X`` is that of X times ``sqrt(c)`` for ``"random"`` and ``"nndsvd"``, so that '
                "results do not depend on the unit of X; the mean of X, which the paper and "
                'scikit-learn fill in, grows by c: with ``"nndsvda"`` a mean near 1 is best.'),
            "beta_loss": ('{"frobenius", "kullback-leibler", "itakura-saito"} or float',
                "The divergence; a number is its beta: 2, 1, 0 for the names."),
            "alpha_W": ("float", "Penalty of W, times d."),
            "alpha_H": ('float or "same"', "Penalty of H, times n."),
            "l1_ratio": ("float", "Share of the penalties that is of the entries, not of their "
                "squares."),
            "verbose": ("int", "Whether to show a progress bar."),
        },
        attributes={
            "components_": ("ndarray of shape (n_components, d), dtype of X", "The factor H."),
            "n_components_": ("int", "Number of components."),
            "reconstruction_err_": ("float", "Root of twice the divergence of X from ``W H``."),
        },
    )
    components_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    @property
    def _beta(self) -> float:
        return LOSSES[self.beta_loss] if isinstance(self.beta_loss, str) else float(self.beta_loss)

    def _nonnegative_rows(self, X: Any, reset: bool) -> Rows:
        rows = self._rows(X, reset=reset)
        stored = rows.X.data if is_sparse(rows.X) else rows.X
        if stored.size and stored.min() < 0:
            raise ValueError(
                f"{rows.owner}: X must not have negative entries, got {stored.min():g} (Negative "
                f"values in data passed to {rows.owner})"
            )
        smallest = 0 if is_sparse(rows.X) else stored.min(initial=1)
        if reset and self._beta <= 0 and smallest == 0:
            raise ValueError(
                f"{rows.owner}: X must be above 0 for beta_loss of at most 0, got a 0 (add a small "
                "number)"
            )
        return rows

    def _penalties(self, n: int, d: int) -> tuple[Penalties, Penalties]:
        of_H = self.alpha_W if self.alpha_H == "same" else self.alpha_H
        share = self.l1_ratio
        return (
            Penalties(d * self.alpha_W * share, d * self.alpha_W * (1 - share)),
            Penalties(n * of_H * share, n * of_H * (1 - share)),
        )

    def _started(self, rows: Rows, W: Any, H: Any) -> tuple[np.ndarray, np.ndarray]:
        n, d, owner, dtype = rows.count, rows.n_features, rows.owner, rows.dtype
        k, init = self.n_components, self.init
        if init == "custom":
            if W is None or H is None:
                raise ValueError(f"{owner}: W and H must be given for init='custom', got None")
            W, H = np.asarray(to_host(W)), np.asarray(to_host(H))
            k = H.shape[0] if k in ("auto", None) else k
            for name, A, shape in (("W", W, (n, k)), ("H", H, (k, d))):
                if A.shape != shape or not (A >= 0).all():
                    raise ValueError(
                        f"{owner}: {name} must be of shape {shape} and not negative, got shape "
                        f"{A.shape} (Array with wrong shape passed to {owner})"
                    )
            return np.array(W, dtype, order="C"), np.array(H, dtype, order="C")
        k = d if k in ("auto", None) else k
        if init is None:
            init = "nndsvda" if k <= min(n, d) else "random"
        if init != "random" and k > min(n, d):
            raise ValueError(
                f"{owner}: n_components must be at most min(n_samples, n_features)={min(n, d)} "
                f"for init={init!r}, got {k} (init='{init}' can only be used when n_components <= "
                "min(n_samples, n_features))"
            )
        seed, mean = seed_of(self.random_state), mean_of(rows.X)
        if init == "random":
            rng, size = generator(seed, 0), np.sqrt(mean / k)
            H = size * np.abs(rng.standard_normal((k, d)))
            W = size * np.abs(rng.standard_normal((n, k)))
        else:
            W, H = double_svd(rows, k, seed, mean, init)
        return np.ascontiguousarray(W, dtype), np.ascontiguousarray(H, dtype)

    def _coded(
        self, X: Any, H: np.ndarray, penalties: Penalties, most: int, tol: float
    ) -> np.ndarray:
        """The best W for H, from the start that all rows have."""
        beta, k = self._beta, len(H)
        if self._descends:
            G = matmul.matmul(H, np.ascontiguousarray(H.T))
            Q = times(X, np.ascontiguousarray(H.T))
            W = np.zeros((X.shape[0], k), H.dtype)
            return _descended(G, Q, W, penalties, most, tol)
        W = np.full((X.shape[0], k), np.sqrt(mean_of(X) / k), H.dtype)
        first, before = None, None
        for step in range(1, most + 1):
            W = updated_W(X, W, H, beta, penalties)
            if step % _EVERY == 0 and tol > 0:
                now = divergence(X, W, H, beta, root=True)
                first = now if first is None else first
                if before is not None and before - now <= tol * first:
                    break
                before = now
        return W

    @property
    def _descends(self) -> bool:
        return False

    def fit(self, X, y=None, **params):
        """Find the components.

        Parameters
        ----------
        **params
            ``W`` and ``H``, the start for ``init="custom"``.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If X or a parameter does not fit, or X has negative entries.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ends the iteration.
        """
        self._fit(X, **params)
        return self

    def fit_transform(self, X, y=None, W=None, H=None):
        """Find the components, and give the coefficients that ``transform`` gives.

        Parameters
        ----------
        W : array-like of shape (n, n_components), optional
            A start for ``init="custom"``.
        H : array-like of shape (n_components, d), optional
            A start for ``init="custom"``.

        Returns
        -------
        W : ndarray of shape (n, n_components), dtype of X
            Coefficients of at least 0.
        """
        self._fit(X, W=W, H=H)
        return self.transform(X)

    def _fit(self, X: Any, W: Any = None, H: Any = None) -> Any:
        raise NotImplementedError

    def transform(self, X):
        """The coefficients W of rows: the best for the components that ``fit`` has found.

        Returns
        -------
        W : ndarray of shape (n, n_components), dtype of X
            Coefficients of at least 0.
        """
        check_is_fitted(self)
        rows = self._nonnegative_rows(X, reset=False)
        return self._transformed(to_host(rows.X), rows.dtype)

    def _transformed(self, X: Any, dtype: Any) -> np.ndarray:
        raise NotImplementedError

    def inverse_transform(self, X):
        """Rows from their coefficients, ``W H``.

        Parameters
        ----------
        X : array-like of shape (n, n_components)
            Coefficients W.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of W
            Rows.
        """
        check_is_fitted(self)
        W = scores_given(X, self._n_features_out, type(self).__name__)
        return matmul.matmul(np.ascontiguousarray(W), self.components_.astype(W.dtype, copy=False))


def mean_of(X: Any) -> float:
    """Mean of all entries, zeros of a sparse matrix included."""
    stored = X.data if is_sparse(X) else X
    return float(stored.sum(dtype=np.float64)) / max(1, X.shape[0] * X.shape[1])


def _descended(
    G: np.ndarray, Q: np.ndarray, W: np.ndarray, penalties: Penalties, most: int, tol: float
) -> np.ndarray:
    """W after sweeps until the violation is a share `tol` of the first."""
    G = G.copy()
    G[np.diag_indices_from(G)] += penalties.l2
    Q = Q - Q.dtype.type(penalties.l1)
    first = None
    for _ in range(most):
        violation = decomposition.nonnegative(G, Q, np.arange(len(G)), W)
        first = violation if first is None else first
        if violation <= tol * first:
            break
    return W


class NMF(NonnegativeModel):
    """Nonnegative rows as sums of few nonnegative components, ``X ~ W H``.

    Parameters
    ----------
    solver : {"cd", "mu"}, default="cd"
        Coordinate descent, for the Frobenius norm, or multiplicative updates.
    tol : float, default=1e-4
        Share of the first violation of the conditions of an optimum, or of the first objective per
        ten updates, that ends the iteration.
    max_iter : int, default=200
        Most iterations.
    shuffle : bool, default=False
        Whether coordinates are visited in a random order.

    Attributes
    ----------
    components_, n_components_, reconstruction_err_
    n_iter_ : int
        Number of iterations.
    n_features_in_, feature_names_in_

    See Also
    --------
    MiniBatchNMF : For many rows.
    PCA : Components of any sign.

    Notes
    -----
    Coordinate descent goes over the entries of W, then of H: rows of W do not depend on each other,
    and many move side by side. The objective never increases in either solver.

    ``transform`` finds the best W for the components, and ``fit_transform`` gives the same W, not
    that of the last alternation. Scaling X by c scales W and H by its root, but for starts that
    fill zeros with the mean of X, as scikit-learn does.

    References
    ----------
    Lee and Seung (2001), "Algorithms for non-negative matrix factorization". Cichocki and Phan
    (2009), "Fast local algorithms for large scale nonnegative matrix and tensor factorizations".
    Boutsidis and Gallopoulos (2008), "SVD based initialization". Fevotte and Idier (2011),
    "Algorithms for nonnegative matrix factorization with the beta-divergence".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import NMF
    >>> X = np.array([[1.0, 1, 0], [2, 2, 0], [0, 0, 3], [1, 1, 3]])
    >>> model = NMF(2, max_iter=500).fit(X)
    >>> bool(np.abs(model.inverse_transform(model.transform(X)) - X).max() < 0.01)
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.one_of("auto", None)),
        "init": rule.one_of(*INITS, None),
        "solver": rule.one_of("cd", "mu"),
        "beta_loss": rule.any_of(rule.one_of(*LOSSES), rule.finite()),
        "tol": rule.real(0),
        "max_iter": rule.integer(1),
        "random_state": rule.RANDOM_STATE,
        "alpha_W": rule.real(0),
        "alpha_H": rule.any_of(rule.real(0), rule.one_of("same")),
        "l1_ratio": rule.real(0, high=1),
        "verbose": rule.VERBOSE,
        "shuffle": rule.boolean(),
    }

    def __init__(
        self, n_components="auto", *, init=None, solver="cd", beta_loss="frobenius", tol=1e-4,
        max_iter=200, random_state=None, alpha_W=0.0, alpha_H="same", l1_ratio=0.0, verbose=0,
        shuffle=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @property
    def _descends(self) -> bool:
        return self.solver == "cd"

    @fitting
    def _fit(self, X: Any, W: Any = None, H: Any = None) -> Any:
        rows = self._nonnegative_rows(X, reset=True)
        beta, X = self._beta, to_host(rows.X)
        if self.solver == "cd" and beta != 2:
            raise ValueError(
                f"{rows.owner}: solver must be 'mu' for this beta_loss, got 'cd' with "
                f"{self.beta_loss!r} (Invalid beta_loss parameter: solver 'cd' does not handle "
                f"beta_loss = {self.beta_loss!r})"
            )
        W, H = self._started(rows, W, H)
        penalties = self._penalties(rows.count, rows.n_features)
        if self._descends:
            advance = self._descent(X, penalties)
        else:
            advance = _updates(X, beta, penalties, self.tol, W, H)
        learned = lambda state, done: {  # noqa: E731 - for the climb alone
            "components_": state[1], "n_components_": len(H), "n_iter_": done,
        }  # fmt: skip
        bar = Progress(self, self.verbose, iterations=self.max_iter, X=X)
        with lapack_threads(len(H)), bar as progress:
            run = climb(
                progress, lambda number: (W, H, -1.0), advance, max_iter=self.max_iter,
                attributes=learned,
            )  # fmt: skip
        if self.tol > 0:
            warn_unconverged(rows.owner, run, "max_iter", self.max_iter)
        self.__dict__.update(learned(run.state, run.n_iter))
        self.reconstruction_err_ = divergence(X, run.state[0], self.components_, beta, root=True)
        return self

    def _descent(self, X: Any, penalties: tuple[Penalties, Penalties]) -> Any:
        rng = generator(seed_of(self.random_state), 2) if self.shuffle else None
        turned = X.T.tocsr() if is_sparse(X) else None
        tol, given = self.tol, np.array(penalties).ravel()

        def advance(state: tuple, most: int) -> Step:
            W, H, first = state
            (n, k), d = W.shape, H.shape[1]
            steps = 1
            if turned is None:
                steps = max(1, min(most, _MOST, int(_SLICE / ((n * d + (n + d) * k) * k + 1))))
            orders = np.tile(np.arange(k), (2 * steps, 1))
            orders = orders if rng is None else rng.permuted(orders, axis=1)
            if turned is None:
                W, H = W.copy(), H.copy()
                steps, first, violation = decomposition.alternations(
                    X, given, orders, first, tol, W, H
                )
            else:
                W, violation = descend(X, W, H, penalties[0], orders[0])
                Wt = np.ascontiguousarray(W.T)
                Ht, more = descend(
                    turned, np.ascontiguousarray(H.T), Wt, penalties[1], orders[1]
                )
                violation, H = violation + more, np.ascontiguousarray(Ht.T)
                first = violation if first < 0 else first
            return Step((W, H, first), finished=violation <= tol * first, taken=steps)

        return advance

    def _transformed(self, X: Any, dtype: Any) -> np.ndarray:
        penalties = self._penalties(X.shape[0], X.shape[1])[0]
        H = self.components_.astype(dtype, copy=False)
        # convex, and cheap beside a fit: far enough that its start does not matter
        return self._coded(X, H, penalties, 10 * self.max_iter, 1e-2 * self.tol)


def _updates(
    X: Any, beta: float, penalties: tuple[Penalties, Penalties], tol: float, W: np.ndarray,
    H: np.ndarray,
) -> Any:  # fmt: skip
    """``advance`` by multiplicative updates of W and H."""
    first = divergence(X, W, H, beta, root=True)
    count = 0

    def advance(state: tuple, most: int) -> Step:
        nonlocal count
        W, H, before = state
        W = updated_W(X, W, H, beta, penalties[0])
        H = updated_H(X, W, H, beta, penalties[1])
        count += 1
        if count % _EVERY or tol == 0:
            return Step((W, H, before))
        now = divergence(X, W, H, beta, root=True)
        finished = (first if before < 0 else before) - now < tol * first
        return Step((W, H, now), now, finished)

    return advance


