"""Random Fourier features."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._moments import sums
from kernelmill._estimator._random import generator, seed_of
from kernelmill._kernels import GAMMA
from kernelmill.kernel_approximation._base import KernelFeatures, gamma_of
from kernelmill.preprocessing._base import fitting_in_one_pass

_BLOCK = 1 << 18  # entries of the transform at a time


def waves(X: Any, weights: np.ndarray, offset: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """``sqrt(2 / m) cos((x - origin) weights + offset)`` in the dtype of X, (n, m)."""
    n, m = X.shape[0], weights.shape[1]
    factor = X.dtype.type((2 / max(1, m)) ** 0.5)
    result = np.empty((n, m), X.dtype)
    rows = max(1, _BLOCK // max(1, m, X.shape[1]))
    turns = weights.astype(X.dtype)
    plus = offset.astype(X.dtype)
    if is_sparse(X) and origin.any():  # of dense rows
        plus = (offset - origin @ weights).astype(X.dtype)
    for i in range(0, n, rows):
        part = X[i : i + rows]
        to = result[i : i + rows]
        if is_sparse(X):
            product = part @ turns
            to[...] = product.toarray() if is_sparse(product) else product
        else:
            np.matmul(part - origin.astype(X.dtype), turns, out=to)
        to += plus
        np.cos(to, out=to)
        to *= factor
    return result


def middle(X: Any, sample_weight: Any = None) -> np.ndarray:
    """Sums of the columns, and the weight, (d + 1,); zeros for CSR rows, which stay where they are.

    Products approximate the kernel wherever the origin is. Near the rows their phases are small,
    and keep their digits.
    """
    if is_sparse(X):
        return np.append(np.zeros(X.shape[1]), 1.0)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    return sums(X, weight)


class RandomFourierFeatures(KernelFeatures):
    """Random features whose products approximate a Gaussian or a Laplacian kernel.

    A linear model of the features costs what a linear model costs, and approximates the one with
    the kernel.

    Parameters
    ----------
    kernel : {"rbf", "laplacian"}, default="rbf"
        ``exp(-gamma |x - y|^2)``, or ``exp(-gamma sum |x_p - y_p|)``.

    Attributes
    ----------
    random_weights_ : ndarray of shape (d, n_components)
        Frequencies, drawn from the Fourier transform of the kernel; two features share one.
    random_offset_ : ndarray of shape (n_components,)
        Phases: 0 and minus a quarter of a turn, so that a pair of features is a cosine and a sine.
    origin_ : ndarray of shape (d,)
        Taken off the rows: their means; zeros for CSR rows.
    gamma_, n_features_in_, feature_names_in_

    See Also
    --------
    Nystroem : Features from rows of X, which fewer of them often suffice.

    Notes
    -----
    The features are ``sqrt(2 / m) cos((x - origin) W + offset)``. With frequencies w from the
    distribution whose Fourier transform is k, a normal one of variance 2 gamma or Cauchy's of width
    gamma, ``k(x, y)`` is the mean of ``cos w.(x - y)``: that of a cosine and a sine of each. The
    product of features differs from the kernel by ``sqrt(1 / m)`` in the mean; that of a row with
    itself is exactly 1. (scikit-learn draws a phase for each feature, which adds variance.)

    References
    ----------
    Rahimi and Recht (2007), "Random features for large-scale kernel machines". Sutherland and
    Schneider (2015), "On the error of random Fourier features".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.kernel_approximation import RandomFourierFeatures
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> features = RandomFourierFeatures(2000, gamma=0.5, random_state=0).fit_transform(X)
    >>> bool(np.abs(features @ features.T - np.exp(-0.5 * np.array(
    ...     [[0, 2, 1], [2, 0, 1], [1, 1, 0]]))).max() < 0.05)
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "gamma": GAMMA,
        "kernel": rule.one_of("rbf", "laplacian"),
        "random_state": rule.RANDOM_STATE,
    }
    kernel: str = "rbf"
    n_components: int
    gamma: Any
    random_state: Any
    random_weights_: Any
    random_offset_: Any
    origin_: Any

    def __init__(self, n_components=100, *, gamma="scale", kernel="rbf", random_state=None):
        self._set_parameters(locals())

    @fitting_in_one_pass
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Draw the features.

        Raises
        ------
        ValueError
            If X, weights or a parameter do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True)
        self.gamma_ = gamma_of(self.gamma, rows)
        d, m = rows.n_features, int(self.n_components)
        draws = generator(seed_of(self.random_state), 0)
        half = -(-m // 2)
        if self.kernel == "rbf":
            drawn = draws.standard_normal((d, half)) * (2 * self.gamma_) ** 0.5
        else:
            drawn = draws.standard_cauchy((d, half)) * self.gamma_
        self.random_weights_ = np.repeat(drawn, 2, axis=1)[:, :m].astype(rows.dtype)
        offset = np.tile([0.0, -np.pi / 2], half)[:m]
        if m % 2:  # the last has no partner
            offset[-1] = draws.uniform(0, 2 * np.pi)
        self.random_offset_ = offset.astype(rows.dtype)
        whole = rows.map_reduce(middle)
        self.origin_ = whole[:-1] / whole[-1]
        return self

    def _transformation(self):
        return waves, (self.random_weights_, self.random_offset_, self.origin_)

    @property
    def _n_features_out(self) -> int:
        return self.random_weights_.shape[1]


class RBFSampler(RandomFourierFeatures):
    """Random features of a Gaussian kernel, with scikit-learn's name and parameters.

    Parameters
    ----------
    n_components : int, default=100
        Number of features that are made.

    Attributes
    ----------
    random_weights_ : ndarray of shape (d, n_components)
        Frequencies, normal with variance 2 gamma; two features share one.
    random_offset_ : ndarray of shape (n_components,)
        Phases: 0 and minus a quarter of a turn.
    origin_ : ndarray of shape (d,)
        Taken off the rows: their means; zeros for CSR rows.
    gamma_, n_features_in_, feature_names_in_

    See Also
    --------
    RandomFourierFeatures : The same with ``gamma="scale"``, and for a Laplacian kernel.

    Examples
    --------
    >>> from kernelmill.kernel_approximation import RBFSampler
    >>> RBFSampler(gamma=0.5, random_state=0).fit_transform([[0.0, 1.0], [1.0, 0.0]]).shape
    (2, 100)
    """

    _parameters: ClassVar = {
        name: known for name, known in RandomFourierFeatures._parameters.items() if name != "kernel"
    }

    def __init__(self, *, gamma=1.0, n_components=100, random_state=None):
        self._set_parameters(locals())
