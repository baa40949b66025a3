"""Features from the kernel values with some rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.utils.random import sample_without_replacement

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._kernels import GAMMA, KERNEL, MORE, Kernel, check_square
from kernelmill.kernel_approximation._base import KernelFeatures, gamma_of
from kernelmill.preprocessing._base import fitting_in_one_pass


def features(
    X: Any, components: Any, indices: Any, normalization: np.ndarray, kernel: Kernel, owner: str
) -> np.ndarray:
    """``K(X, components) normalization'``, (n, m)."""
    if kernel.name == "precomputed":
        return np.asarray(X[:, indices] @ normalization.T)
    if is_sparse(X) != is_sparse(components):
        components = X.__class__(components) if is_sparse(X) else components.toarray()
    if components.dtype != X.dtype:
        components = components.astype(X.dtype)
    K = kernel.matrix(X, components, owner)
    return np.asarray(K @ normalization.T.astype(K.dtype)).astype(X.dtype, copy=False)


class Nystroem(KernelFeatures):
    """Features whose products are those of a kernel, projected on some rows of X.

    Parameters
    ----------
    kernel : {"linear", "poly", "polynomial", "rbf", "sigmoid", "laplacian", "chi2", "cosine", \
"additive_chi2", "precomputed"} or callable, default="rbf"
        Kernel function, or a function ``(X, Y) -> K``.
    gamma : {"scale", "auto"}, float or None, default=None
        Coefficient of the kernel. None and ``"auto"`` are 1 / d, but None is 1 for ``"chi2"``;
        ``"scale"`` is 1 / (d times the variance over all entries of X, weighted).
    coef0 : float or None, default=None
        Constant of ``"poly"`` and ``"sigmoid"``; None is 1.
    degree : float or None, default=None
        Exponent of ``"poly"``; None is 3.
    kernel_params : dict or None, default=None
        More arguments of a kernel that is a function.
    n_components : int, default=100
        Number of rows that are drawn, and of features.

    Attributes
    ----------
    components_ : {ndarray, CSR matrix} of shape (n_components, d)
        The rows; None for a precomputed kernel.
    component_indices_ : ndarray of shape (n_components,)
        Their numbers in X.
    normalization_ : ndarray of shape (n_components, n_components)
        The inverse root of their kernel matrix.
    gamma_, n_features_in_, feature_names_in_

    See Also
    --------
    RandomFourierFeatures : Features that do not depend on the rows.

    Notes
    -----
    With the kernel matrix A of the rows that are drawn, the features are ``K(X, rows) A^-1/2``, and
    their products ``K A^-1 K'``: exact between the rows themselves. Directions of A whose
    eigenvalue is rounding are left out, as of rows that are drawn twice, and those of negative
    ones, which kernels that are not positive semi-definite have (``"additive_chi2"``,
    ``"sigmoid"``): no features have such products. (scikit-learn turns their sign.)

    References
    ----------
    Williams and Seeger (2001), "Using the Nystroem method to speed up kernel machines".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.kernel_approximation import Nystroem
    >>> from kernelmill.svm import LinearSVC
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = (X**2).sum(1) > 1.4
    >>> features = Nystroem(gamma=0.5, n_components=50, random_state=0).fit(X)
    >>> LinearSVC().fit(features.transform(X), y).score(features.transform(X), y) > 0.97
    True
    """

    _parameters: ClassVar = {
        "kernel": rule.any_of(rule.one_of("polynomial", *MORE), KERNEL),
        "gamma": rule.any_of(GAMMA, rule.nothing()),
        "coef0": rule.any_of(rule.Rule(rule.is_real, "a number"), rule.nothing()),
        "degree": rule.any_of(rule.real(0), rule.nothing()),
        "kernel_params": rule.any_of(
            rule.Rule(lambda v: isinstance(v, dict), "a dict"), rule.nothing()
        ),
        "n_components": rule.integer(1),
        "random_state": rule.RANDOM_STATE,
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
    }
    components_: Any
    component_indices_: Any
    normalization_: Any

    def __init__(
        self, kernel="rbf", *, gamma=None, coef0=None, degree=None, kernel_params=None,
        n_components=100, random_state=None, n_jobs=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    @property
    def _squares(self) -> bool:
        return self.kernel != "precomputed"

    def _kernel(self) -> Kernel:
        if callable(self.kernel):
            return Kernel("callable", function=self._called)
        coef0 = 1.0 if self.coef0 is None else float(self.coef0)
        degree = 3.0 if self.degree is None else float(self.degree)
        if self.kernel in MORE:
            return Kernel("callable", function=MORE[self.kernel])
        name = "poly" if self.kernel == "polynomial" else self.kernel
        return Kernel(name, self.gamma_, coef0, degree)

    def _called(self, X: Any, Y: Any) -> Any:
        return self.kernel(X, Y, **(self.kernel_params or {}))

    @fitting_in_one_pass
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Draw rows, and compute the inverse root of their kernel matrix.

        Raises
        ------
        ValueError
            If X, weights or a parameter do not fit.

        Warns
        -----
        UserWarning
            If there are fewer rows than `n_components`.
        """
        rows = self._rows(X, sample_weight, reset=True)
        weights = rows.all_weights()
        places = np.arange(rows.count) if weights is None else np.flatnonzero(weights > 0)
        if self.kernel == "precomputed":
            check_square(rows.X, rows.owner)
        usual = 1.0 if self.kernel == "chi2" else "auto"
        self.gamma_ = gamma_of(usual if self.gamma is None else self.gamma, rows)
        m = min(int(self.n_components), len(places))
        if m < self.n_components:
            warn(
                f"{rows.owner}: n_components must be at most the number of rows, got "
                f"{self.n_components} for {m} (there are {m} components)",
                UserWarning,
            )
        state = legacy_state(seed_of(self.random_state), 0)
        drawn = np.sort(sample_without_replacement(len(places), m, random_state=state))
        self.component_indices_ = places[drawn]
        kernel, chosen = self._kernel(), rows.gather(self.component_indices_).X
        if kernel.name == "precomputed":
            self.components_ = None
            A = chosen[:, self.component_indices_]
            A = A.toarray() if is_sparse(A) else A
        else:
            self.components_ = chosen
            wide = self.components_.astype(np.float64)
            A = kernel.matrix(wide, wide, rows.owner)
        values, vectors = scipy.linalg.eigh(np.asarray(A, np.float64), check_finite=False)
        top = float(np.abs(values).max(initial=0.0))
        precision = np.finfo(rows.dtype).eps
        with np.errstate(divide="ignore", invalid="ignore"):
            roots = np.where(values > top * precision * m, 1 / np.sqrt(values), 0.0)
        self.normalization_ = ((vectors * roots) @ vectors.T).astype(rows.dtype)
        return self

    def _transformation(self):
        given = self.components_, self.component_indices_, self.normalization_
        return features, (*given, self._kernel(), type(self).__name__)

    @property
    def _n_features_out(self) -> int:
        return len(self.component_indices_)
