"""GaussianProcessClassifier: the Laplace approximation, and one process for each class or pair.

Labels are y in {0, 1}, f the function at the rows, s the logistic function. The posterior of f has
its mode where

    psi(f) = sum_i log s((2 y_i - 1) f_i) - a'K a / 2,     f = K a,

is largest. It is concave; Newton's step with ``W = diag(s(f)(1 - s(f)))``,
``B = I + W^(1/2) K W^(1/2) = L L'``, g = y - s(f) and ``b = W f + g`` is
``a = b - W^(1/2) B^-1 W^(1/2) K b``, and is halved until psi rises. Then

    log q(y) = psi(f) - sum_i log L_ii.

With ``R = W^(1/2) B^-1 W^(1/2)``, ``C = L^-1 W^(1/2) K``, ``s2 = -(diag K - diag C'C) / 2 dW/df``
and ``u = s2 - R K s2``, which is what a move of the mode changes,

    d log q / dK = (a a' - R) / 2 + (u g' + g u') / 2.

(Rasmussen and Williams (2006), algorithms 3.1 and 5.1.)
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.special import expit, ndtr
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, namespace, to_host
from kernelmill._estimator import _linalg
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._random import legacy_state
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import encode_classes
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process._regressor import _CHUNK
from kernelmill.gaussian_process._search import Search, described, fingerprint
from kernelmill.gaussian_process._words import PARAMETERS, WORDS
from kernelmill.gaussian_process.kernels import CompoundKernel
from kernelmill.gaussian_process.kernels._kernel import Kernel, own_kernel

# Nodes and weights of Gauss and Hermite, and of the trapezoidal rule for the logistic density.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_STEPS = np.arange(-37, 37.25, 0.5)
_DENSITY = 0.5 * expit(_STEPS) * expit(-_STEPS)
# Twice the rise of psi that Newton's model predicts for its last step. The error of f is then the
# square of 1e-6, which log q feels in the first order, through its determinant.
_LAST = 1e-12


def averaged(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """``E s(f)`` of a Gaussian f.

    Below a deviation of 1 by quadrature over f: s is smooth there. Above it,
    ``E s(f) = E P(T < f)`` for logistic T, integrated over T: the Gaussian distribution function is
    smooth. Both are right to about 1e-11.
    """
    std = np.sqrt(square)
    value = np.empty_like(mean)
    narrow = std < 1
    at = mean[narrow, None] + std[narrow, None] * _NODES
    value[narrow] = expit(at) @ _WEIGHTS
    wide = ~narrow
    value[wide] = ndtr((mean[wide, None] - _STEPS) / std[wide, None]) @ _DENSITY
    return value


class Laplace(NamedTuple):
    """The Gaussian at the mode of the posterior of the latent function f, for two classes.

    Attributes
    ----------
    X_train_ : ndarray of shape (n, d)
        Rows.
    y_train_ : ndarray of shape (n,), float64
        Labels, 0 and 1.
    pi_ : ndarray of shape (n,)
        Probability of 1 at the mode.
    W_sr_ : ndarray of shape (n,)
        Roots of ``W = pi (1 - pi)``.
    L_ : ndarray of shape (n, n)
        Lower Cholesky factor of ``I + W^(1/2) K W^(1/2)``.
    kernel_ : Kernel
        Kernel of the fit.
    log_marginal_likelihood_value_ : float
        Its approximate log marginal likelihood.
    classes_ : ndarray of shape (2,)
        The classes that 0 and 1 stand for; 0 and 1 in a process of one class against others.
    """

    X_train_: np.ndarray
    y_train_: np.ndarray
    pi_: np.ndarray
    W_sr_: np.ndarray
    L_: np.ndarray
    kernel_: Kernel
    log_marginal_likelihood_value_: float
    classes_: np.ndarray


class Processes(NamedTuple):
    """Those of several processes.

    Attributes
    ----------
    estimators_ : list of Laplace
        One for each process, in the order of ``kernel_.kernels``.
    classes_ : ndarray of shape (n_classes,)
        The classes.
    """

    estimators_: list[Laplace]
    classes_: np.ndarray


@dataclasses.dataclass
class _Process:
    """The process of two classes, 0 and 1, and where Newton's method has led it."""

    owner: str
    X: np.ndarray
    y: np.ndarray
    max_iter: int
    warm_start: bool
    kernel: Kernel
    mode: np.ndarray  # a
    root: np.ndarray | None = None  # W^(1/2)
    L: np.ndarray | None = None
    g: np.ndarray | None = None
    value: float = -math.inf

    def optimise(
        self, optimizer: Any, restarts: int, search: Search,
        attributes: Callable[[_Process], dict[str, Any]],
    ) -> bool:  # fmt: skip
        """Take the hyperparameters of the largest log marginal likelihood.

        Returns whether a callback ends the search.
        """
        kernel = self.kernel
        best, most, ends = kernel.theta, -math.inf, False
        starts, bounds = [best], kernel.bounds
        if restarts:
            low, high = _factor.check_bounds(kernel, self.owner).T
            draw = legacy_state(search.seed, 0)
            starts += [draw.uniform(low, high) for _ in range(restarts)]

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            own = kernel.clone_with_theta(theta)
            kept: dict[str, Any] = {}

            def compute() -> tuple[float, np.ndarray, np.ndarray]:
                found = self.likelihood(own, keep=kept if search.keeps else None)
                return *found, to_host(self.mode) if self.warm_start else np.zeros(0)

            value, gradient, mode = search.evaluate(
                theta, compute, lambda: attributes(dataclasses.replace(self, kernel=own, **kept))
            )
            if self.warm_start:
                self.mode = beside(mode, self.X)
            return value, gradient

        for start in starts:
            climb = functools.partial(
                _factor.maximise, objective, start, bounds, optimizer, self.owner
            )
            theta, value, ends = search.run(climb)
            best, most = (theta, value) if value > most else (best, most)
            if ends:
                break
        self.kernel = kernel.clone_with_theta(best)
        _factor.warn_at_bounds(self.kernel, self.owner)
        return ends

    def settle(self) -> _Process:
        """Find the mode for the hyperparameters."""
        K = self.kernel._forward(self.X, self.X, True)[0]
        self.value, _, self.root, self.L, self.g = self._climb(K)
        self.L = np.tril(self.L)
        return self

    def _climb(self, K: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """log q(y), a, W^(1/2), L and g at the mode."""
        sign, y, special = 2 * self.y - 1, self.y, _linalg.special(K)
        a = self.mode if self.warm_start else namespace(K).zeros(len(K))
        f = K @ a

        def height(f: np.ndarray, a: np.ndarray) -> float:
            return float(special.log_expit(sign * f).sum() - 0.5 * a @ f)

        best = -math.inf
        for _ in range(self.max_iter):
            p = special.expit(f)
            w = p * (1 - p)
            root = np.sqrt(w)
            L = self._b_factor(K, root)
            g = y - p
            b = w * f + g
            new = b - root * _factor.solve(L, root * (K @ b))
            move = new - a
            lead = K @ move
            done = not (g - a) @ lead > _LAST
            step, rise = 1.0, height(f + lead, new)
            while rise < best and not done and step > 1e-6:
                step /= 2
                rise = height(f + step * lead, a + step * move)
            if rise < best and not done:
                break  # psi is flat to rounding
            a = a + step * move
            f, best = K @ a, rise
            if done:
                break
        else:
            warn(
                f"{self.owner}: Newton's iteration must end within max_iter_predict = "
                f"{self.max_iter} steps, but did not (raise it)",
                ConvergenceWarning,
            )
        self.mode = a
        p = special.expit(f)
        root = np.sqrt(p * (1 - p))
        L = self._b_factor(K, root)
        return best - 0.5 * _factor.log_determinant(L), a, root, L, y - p

    def _b_factor(self, K: np.ndarray, root: np.ndarray) -> np.ndarray:
        # Eigenvalues are at least 1.
        return _factor.factor(lambda: root[:, None] * K * root, 1.0, self.owner)[0]

    def likelihood(
        self, kernel: Kernel, gradient: bool = True, keep: dict[str, Any] | None = None
    ) -> tuple[float, np.ndarray]:
        """The log marginal likelihood of a kernel, and its gradient in theta.

        A dict `keep` gets what `settle` would have found.
        """
        X = self.X
        K = kernel._forward(X, X, True)[0]
        try:
            value, a, root, L, g = self._climb(K)
        except ValueError:
            return -math.inf, np.zeros(kernel.n_dims)
        if not gradient:
            return value, np.zeros(0)
        if keep is not None:
            keep.update(value=value, mode=a, root=root, L=np.tril(L), g=g)
        C = _factor.half_solve(L, root[:, None] * K)
        w = root * root
        t = w * (1 - 2 * (self.y - g))  # dW / df
        s2 = -0.5 * (K.diagonal() - np.einsum("ij,ij->j", C, C)) * t
        u = s2 - root * _factor.solve(L, root * (K @ s2))
        upper = _factor.inverse(L).T

        def block(rows: slice, columns: slice) -> np.ndarray:
            R = root[rows, None] * upper[rows, columns] * root[columns]
            A = np.outer(a[rows], a[columns]) - R
            A += np.outer(u[rows], g[columns]) + np.outer(g[rows], u[columns])
            return 0.5 * A

        return value, _factor.contract(kernel, X, block)[0]

    def posterior(self, classes: np.ndarray) -> Laplace:
        """What is known at the mode."""
        g, root, L = self._mode()
        return Laplace(self.X, self.y, self.y - g, root, L, self.kernel, self.value, classes)

    def _mode(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """g, W^(1/2) and L, after `settle`."""
        assert self.g is not None
        assert self.root is not None
        assert self.L is not None
        return self.g, self.root, self.L

    def latent(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of f, on the host."""
        X = beside(X, self.X)
        g, root, L = self._mode()
        mean, square = namespace(X).empty(len(X)), namespace(X).empty(len(X))
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            K = self.kernel._forward(X[rows], self.X, False)[0]
            mean[rows] = K @ g  # a = g at the mode
            V = _factor.half_solve(L, (K * root).T)
            square[rows] = self.kernel._diag(X[rows]) - np.einsum("ij,ij->j", V, V)
        return to_host(mean), np.maximum(to_host(square), 0)


class GaussianProcessClassifier(ClassifierMixin, Estimator):
    """Gaussian process classification by the Laplace approximation.

    A logistic function of a Gaussian process gives the probability of the second of two classes.
    More classes have a process for each, or for each pair.

    Parameters
    ----------
    kernel : Kernel, optional
        Covariance function; ``1.0 * RBF(1.0)`` with fixed parameters by default.
    max_iter_predict : int, default=100
        Most steps of Newton's method to the mode.
    warm_start : bool, default=False
        Start Newton's method at the mode for the hyperparameters before; and go on with a search
        that was interrupted, by Ctrl-C or as a file of `kernelmill.callbacks.Checkpoint` has it.
    multi_class : {"one_vs_rest", "one_vs_one"}, default="one_vs_rest"
        What more than two classes are split into. Pairs are faster, and have no probabilities.
    n_jobs : int, optional
        Ignored; present for API compatibility.

    Attributes
    ----------
    kernel_ : Kernel
        Kernel with the hyperparameters of the fit; a `CompoundKernel` of several processes.
    base_estimator_ : named tuple
        The approximate posterior of two classes: ``X_train_``, ``y_train_`` of 0 and 1, at the mode
        the probabilities ``pi_`` and the roots ``W_sr_`` of their variances, the factor ``L_`` of
        ``I + W^(1/2) K W^(1/2)``, ``kernel_``, ``log_marginal_likelihood_value_`` and ``classes_``.
        Of more classes ``estimators_``, the list of those, and ``classes_``.
    log_marginal_likelihood_value_ : float
        Log marginal likelihood, the mean over processes.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_classes_ : int
        Their number.
    n_features_in_, feature_names_in_

    Notes
    -----
    Probabilities integrate the logistic function over the latent Gaussian, to about 1e-11. Cost is
    O(n^3) for a step; computations are in float64.

    References
    ----------
    Williams and Barber (1998), "Bayesian classification with Gaussian processes".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.gaussian_process import GaussianProcessClassifier
    >>> from kernelmill.gaussian_process.kernels import RBF
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GaussianProcessClassifier(1.0 * RBF(1.0)).fit(X, y)
    >>> model.score(X, y) > 0.97, model.predict_proba(X[:2]).shape
    (True, (2, 3))
    """

    _words = WORDS
    _accepts_streams = False
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "max_iter_predict": rule.integer(1),
        "warm_start": rule.boolean(),
        "copy_X_train": rule.boolean(),
        "multi_class": rule.one_of("one_vs_rest", "one_vs_one"),
    }

    def __init__(
        self, kernel=None, *, optimizer="fmin_l_bfgs_b", n_restarts_optimizer=0,
        max_iter_predict=100, warm_start=False, copy_X_train=True, random_state=None,
        multi_class="one_vs_rest", n_jobs=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y):
        """Fit the process.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels.

        Raises
        ------
        ValueError
            If X, y or a parameter does not fit, or there is only one class.
        """
        owner, given = type(self).__name__, X
        rows = self._rows(X, reset=True)
        codes, labels = encode_classes(self, y, rows.count, True)
        if labels.ndim > 1:
            raise ValueError(f"{owner}: y must be a vector of class labels, got two axes")
        if len(self.classes_) < 2:
            raise ValueError(
                f"{owner}: y must have at least 2 classes, got {len(self.classes_)} (requires 2 or "
                "more distinct classes; got 1 class)"
            )
        X = rows.X.astype(np.float64, copy=self.copy_X_train)
        kernel = own_kernel(self.kernel, owner, "fixed")
        kernel._check(X.shape[1])
        optimises = self.optimizer is not None and kernel.n_dims > 0
        restarts, splits = self.n_restarts_optimizer, self._splits()
        made_of = [described(kernel), repr(self.optimizer), restarts, self.multi_class]
        made_of += [self.max_iter_predict, *fingerprint(X, codes)]
        runs = len(splits) * (1 + restarts) if optimises else 0
        with _linalg.numpy_on_one_thread, Search(self, given, y, made_of, runs) as search:
            processes = []
            for rest, one in splits:
                inside = (codes == rest) | (codes == one) if rest is not None else slice(None)
                own = X[inside]
                processes.append(_Process(
                    owner, own, beside((codes[inside] == one).astype(np.float64), own),
                    self.max_iter_predict, search.warm, kernel, namespace(own).zeros(len(own)),
                ))  # fmt: skip
            begun: list[_Process] = []

            def attributes(i: int, process: _Process) -> dict[str, Any]:
                """With process i as it is, and later ones as they begin."""
                if not begun:
                    begun.extend(dataclasses.replace(p).settle() for p in processes)
                return self._attributes([*processes[:i], process, *begun[i + 1 :]])

            ends = False
            for i, process in enumerate(processes):
                with _factor.lapack_threads(len(process.X)):
                    if optimises and not ends:
                        ends = process.optimise(
                            self.optimizer, restarts, search, functools.partial(attributes, i)
                        )
                    process.settle()
            search.progress.end_fit(lambda: self._attributes(processes))
        self.__dict__.update(self._attributes(processes))
        return self

    def _attributes(self, processes: list[_Process]) -> dict[str, Any]:
        value = float(np.mean([process.value for process in processes]))
        states = [{**vars(process)} for process in processes]
        known = {"classes_": self.classes_, "n_classes_": len(self.classes_)}
        return {**known, "_states": states, "log_marginal_likelihood_value_": value}

    def _splits(self) -> list[tuple[int | None, int]]:
        """The classes of each process: the second against the first, or against all others."""
        k = len(self.classes_)
        if k == 2:
            return [(None, 1)]
        if self.multi_class == "one_vs_rest":
            return [(None, i) for i in range(k)]
        return [(i, j) for i in range(k) for j in range(i + 1, k)]

    @property
    def base_estimator_(self) -> Laplace | Processes:
        """The approximate posterior; those of all processes if there are several."""
        check_is_fitted(self)
        classes = self.classes_ if self.n_classes_ == 2 else np.array([0, 1])
        found = [process.posterior(classes) for process in self._processes()]
        return found[0] if self.n_classes_ == 2 else Processes(found, self.classes_)

    def _processes(self) -> list[_Process]:
        return [_Process(**state) for state in self._states]

    def __sklearn_is_fitted__(self):
        return "_states" in vars(self)

    @property
    def kernel_(self) -> Any:
        """Kernel of the fit; several if there are several processes."""
        found = [process.kernel for process in self._processes()]
        if len(found) == 1:
            return found[0]
        return CompoundKernel(found)

    def _query(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._rows(X, reset=False).X.astype(np.float64, copy=False)

    def predict(self, X):
        """The most probable class of each row.

        Returns
        -------
        y : ndarray of shape (m,)
            Class labels.
        """
        X = self._query(X)
        processes = self._processes()
        if self.n_classes_ == 2:
            return self.classes_[(processes[0].latent(X)[0] > 0).astype(np.int64)]
        if self.multi_class == "one_vs_rest":
            return self.classes_[self._each(X).argmax(1)]
        votes = np.zeros((len(X), self.n_classes_))
        for (i, j), process in zip(self._splits(), processes, strict=True):
            one = averaged(*process.latent(X))
            # Votes first; sums of confidences, less than 1 in all, decide between equal votes.
            share = (2 * one - 1) / (2 * self.n_classes_)
            votes[:, j] += (one > 0.5) + share
            votes[:, i] += (one <= 0.5) - share
        return self.classes_[votes.argmax(1)]

    def _each(self, X: np.ndarray) -> np.ndarray:
        """Probability of each process's class."""
        return np.stack([averaged(*process.latent(X)) for process in self._processes()], axis=1)

    def predict_proba(self, X):
        """Probabilities of the classes.

        Returns
        -------
        probabilities : ndarray of shape (m, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            With ``multi_class="one_vs_one"`` and more than two classes.
        """
        X = self._query(X)
        if self.n_classes_ > 2 and self.multi_class == "one_vs_one":
            raise ValueError(
                f"{type(self).__name__}: multi_class must be 'one_vs_rest' for probabilities, got "
                "'one_vs_one' (one_vs_one multi-class mode does not support predicting probability "
                "estimates.)"
            )
        one = self._each(X)
        if self.n_classes_ == 2:
            return beside(np.concatenate([1 - one, one], axis=1), X)
        return beside(one / one.sum(1, keepdims=True), X)

    def latent_mean_and_variance(self, X):
        """Mean and variance of the latent function, with two classes.

        Returns
        -------
        mean : ndarray of shape (m,)
            Means.
        variance : ndarray of shape (m,)
            Variances.

        Raises
        ------
        ValueError
            With more classes.
        """
        X = self._query(X)
        if self.n_classes_ > 2:
            raise ValueError(
                f"{type(self).__name__}: the latent function is one with 2 classes, got "
                f"{self.n_classes_} (Returning the mean and variance of the latent function f is "
                "only supported for binary classification)"
            )
        mean, variance = self._processes()[0].latent(X)
        return beside(mean, X), beside(variance, X)

    def log_marginal_likelihood(self, theta=None, eval_gradient=False, clone_kernel=True):
        """Approximate log marginal likelihood of the labels of the fit.

        Parameters
        ----------
        theta : array-like of shape (p,) or (n_processes * p,), optional
            Logarithms of the hyperparameters, for all processes or for each; those of the fit by
            default.

        Returns
        -------
        value : float
            The mean over processes.
        gradient : ndarray of the shape of theta
            Its gradient, if asked for.

        Raises
        ------
        ValueError
            If the gradient is asked for without theta, or theta has a wrong length.
        """
        check_is_fitted(self)
        owner = type(self).__name__
        if theta is None:
            if eval_gradient:
                raise ValueError(f"{owner}: theta must be given with eval_gradient=True, got None")
            return np.float64(self.log_marginal_likelihood_value_)
        processes, theta = self._processes(), np.asarray(theta, dtype=np.float64)
        p, k = processes[0].kernel.n_dims, len(processes)
        if theta.shape not in ((p,), (k * p,)):
            raise ValueError(f"{owner}: theta must have {p} entries, or {k * p}, got {len(theta)}")
        each = np.broadcast_to(theta, (k, p)) if len(theta) == p else theta.reshape(k, p)
        values, gradients = [], []
        for process, own in zip(processes, each, strict=True):
            kernel = process.kernel.clone_with_theta(own)
            with _factor.lapack_threads(len(process.X)), _linalg.numpy_on_one_thread:
                value, gradient = process.likelihood(kernel, gradient=eval_gradient)
            values.append(value)
            gradients.append(gradient)
            if not clone_kernel:
                self._states[len(values) - 1]["kernel"] = kernel
        if not eval_gradient:
            return np.mean(values)
        total = np.mean(gradients, axis=0) if len(theta) == p else np.concatenate(gradients) / k
        return np.mean(values), total

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        return tags
