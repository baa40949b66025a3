"""A small estimator that touches every kind of value a model file can hold.

`tools/make_golden.py` stores it, `test_persistence.py` loads it: so the file format itself stays
readable by every later version, whatever happens to the real estimators.
"""

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator

from kernelmill._estimator.registry import register


@register(key="tests.GoldenDummy")
class GoldenDummy(BaseEstimator):
    """Predicts x @ coef_ + intercept_."""

    def __init__(self, alpha=1.0, mode="auto", random_state=None, dtype=None, inner=None):
        self.alpha = alpha
        self.mode = mode
        self.random_state = random_state
        self.dtype = dtype
        self.inner = inner

    def fit(self, X, y=None):
        X = np.asarray(X)
        d = X.shape[1]
        self.n_features_in_ = d
        self.feature_names_in_ = np.array([f"column {i} é" for i in range(d)], dtype=object)
        self.coef_ = np.asfortranarray(np.arange(2 * d).reshape(d, 2).astype(X.dtype))
        self.intercept_ = np.array([0.5, -0.25], dtype=X.dtype)
        self.coef_alias_ = self.coef_
        self.classes_ = np.array(["yes", "no", "may be"])
        self.labels_ = np.arange(3, dtype=np.int32)
        self.mask_ = np.array([[True, False], [False, True]])
        self.half_ = np.array([1.5, np.inf, np.nan], dtype=np.float16)
        self.spectrum_ = np.array([1 + 2j, -3j])
        self.reversed_ = np.arange(10.0)[::-2]
        self.empty_ = np.empty((0, 3), dtype=np.uint8)
        self.score_ = np.float32(0.1)
        self.inertia_ = 1 / 3
        self.lower_bound_ = -np.inf
        self.n_iter_ = 7
        self.converged_ = True
        self.history_ = [1.0, (2, "two"), {"three": [3.0, None], 4: "four"}]
        self.ragged_ = np.empty(2, dtype=object)
        self.ragged_[:] = [np.arange(2), np.arange(3.0)]
        self.sparse_ = scipy.sparse.csr_array(np.diag([1.0, 0.0, 2.0]))
        self._rng = np.random.RandomState(3)
        self._rng.standard_normal()  # leaves half of a pair behind
        self._private = np.dtype("float32")
        return self

    def predict(self, X):
        return np.asarray(X) @ self.coef_ + self.intercept_
