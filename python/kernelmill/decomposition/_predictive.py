"""PredictiveSparseDecomposition: sparse codes, and an encoder that predicts them.

With atoms D (k, d), codes C (n, k) and the encoder ``f(x) = g * tanh(W x + b)``, the cost

    1/2 |X - C D|^2 + alpha |C|_1 + beta / 2 |C - f(X)|^2

is minimised over codes, atoms and encoder in turn. Over the codes it is a lasso with the products
``D D' + beta I`` and ``X D' + beta f(X)``: that of a dictionary with beta I beside it. Over the
atoms it is that of `DictionaryLearning`; over the encoder, least squares.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.optimize

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._random import generator, seed_of
from kernelmill.decomposition._codes import ALGORITHMS, codes, cost_of
from kernelmill.decomposition._dictionary import _WORDS, LearntDictionary
from kernelmill.ops import matmul


class Encoder(NamedTuple):
    """What predicts codes: ``g * tanh(x W' + b)``.

    Attributes
    ----------
    weights : ndarray of shape (k, d)
    bias, gain : ndarray of shape (k,)
    """

    weights: np.ndarray
    bias: np.ndarray
    gain: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, D: np.ndarray) -> Encoder:
        """About ``X D'``: a gain of two deviations keeps most products where tanh is straight."""
        Q = matmul.matmul(X, np.ascontiguousarray(D.T))
        gain = 2 * np.sqrt(np.mean(Q * Q, axis=0))
        gain[gain == 0] = 1.0
        return cls(D / gain[:, None], np.zeros(len(D)), gain)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Codes of rows, (n, k)."""
        W = np.ascontiguousarray(self.weights.T)
        return self.gain * np.tanh(matmul.matmul(X, W) + self.bias)

    def fitted(self, X: np.ndarray, C: np.ndarray, steps: int) -> Encoder:
        """After some steps of L-BFGS on ``1/2 |C - f(X)|^2``, which does not rise."""
        k, d = self.weights.shape
        n = len(X)

        def slopes(flat: np.ndarray) -> tuple[float, np.ndarray]:
            one = Encoder(flat[: k * d].reshape(k, d), flat[k * d : -k], flat[-k:])
            t = np.tanh(matmul.matmul(X, np.ascontiguousarray(one.weights.T)) + one.bias)
            off = one.gain * t - C
            slope = off * one.gain * (1 - t * t) / n
            parts = matmul.matmul(np.ascontiguousarray(slope.T), X), slope.sum(axis=0)
            gain = np.einsum("ij,ij->j", off, t) / n
            value = 0.5 * float(np.einsum("ij,ij->", off, off)) / n
            return value, np.concatenate([parts[0].ravel(), parts[1], gain])

        begin = np.concatenate([self.weights.ravel(), self.bias, self.gain])
        found = scipy.optimize.minimize(
            slopes, begin, jac=True, method="L-BFGS-B", options={"maxiter": steps}
        )
        if not found.fun <= slopes(begin)[0]:
            return self
        return Encoder(found.x[: k * d].reshape(k, d), found.x[k * d : -k], found.x[-k:])


class PredictiveSparseDecomposition(LearntDictionary):
    """A dictionary in which rows have sparse codes, and an encoder that predicts these.

    The encoder is a layer ``g * tanh(W x + b)``: its codes cost one product, where the best ones
    cost an iteration for every row. It is trained together with the dictionary, so that codes are
    not only sparse but such as it can predict.

    Parameters
    ----------
    predictor_weight : float, default=1.0
        Weight beta of the squared differences of codes from their predictions; 0 trains the encoder
        beside the dictionary, without an effect on it.
    max_iter : int, default=100
        Most iterations.
    tol : float, default=1e-4
        Relative decrease of the cost that ends the iteration.
    encoder_iter : int, default=20
        Steps of the encoder in an iteration.
    transform_algorithm : {"encoder", "energy", "lasso_lars", "lasso_cd", "lars", "omp", \
"threshold"}, default="encoder"
        The codes of ``transform``: those that the encoder predicts, those of least cost with it, or
        as for `DictionaryLearning` without it.

    Attributes
    ----------
    components_
    encoder_weights_ : ndarray of shape (n_components, d), dtype of X
        W.
    encoder_bias_, encoder_gain_ : ndarray of shape (n_components,), dtype of X
        b and g.
    error_
    n_iter_ : int
        Number of iterations.
    n_features_in_, feature_names_in_

    See Also
    --------
    DictionaryLearning : Without an encoder.

    Notes
    -----
    The cost ``1/2 |X - C D|^2 + alpha |C|_1 + beta / 2 |C - f(X)|^2`` is minimised over codes,
    atoms and the encoder in turn; each step lowers it, unless an atom that no row uses is drawn
    anew. The paper moves atoms and encoder along gradients row by row and keeps atoms at length 1;
    here all rows count in each step, and atoms are at most of length 1. An iteration costs about
    O(n k (d + k)) for each sweep of the codes and O(n d k) for each step of the encoder.

    References
    ----------
    Kavukcuoglu, Ranzato and LeCun (2008), "Fast inference in sparse coding algorithms with
    applications to object recognition".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import PredictiveSparseDecomposition
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4)) * (rng.random((200, 4)) < 0.3) @ rng.normal(size=(4, 8))
    >>> model = PredictiveSparseDecomposition(4, alpha=0.1, random_state=0).fit(X)
    >>> rest = X - model.inverse_transform(model.transform(X))
    >>> bool((rest**2).sum() < 0.25 * (X**2).sum())
    True
    """

    _words = _WORDS.extended(
        parameters={
            "transform_alpha": ("float or None", "Penalty, or threshold, of ``transform`` by other "
                "than the encoder; `alpha` by default."),
        },
    )  # fmt: skip
    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "alpha": rule.real(0),
        "predictor_weight": rule.real(0),
        "max_iter": rule.integer(0),
        "tol": rule.real(0),
        "encoder_iter": rule.integer(1),
        "transform_algorithm": rule.one_of("encoder", "energy", *ALGORITHMS),
        "transform_n_nonzero_coefs": rule.any_of(rule.integer(1), rule.nothing()),
        "transform_alpha": rule.any_of(rule.real(0), rule.nothing()),
        "dict_init": rule.any_of(rule.array("(n_components, d)"), rule.nothing()),
        "verbose": rule.VERBOSE,
        "split_sign": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "positive_dict": rule.boolean(),
        "transform_max_iter": rule.integer(0),
    }
    positive_code, fit_algorithm = False, "cd"
    alpha: Any
    predictor_weight: Any
    encoder_weights_: Any
    encoder_bias_: Any
    encoder_gain_: Any

    def __init__(
        self, n_components=None, *, alpha=1, predictor_weight=1.0, max_iter=100, tol=1e-4,
        encoder_iter=20, transform_algorithm="encoder", transform_n_nonzero_coefs=None,
        transform_alpha=None, dict_init=None, verbose=False, split_sign=False, random_state=None,
        positive_dict=False, transform_max_iter=1000,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the dictionary and the encoder.

        Raises
        ------
        ValueError
            If X or a parameter does not fit.
        """
        rows = self._rows(X, reset=True)
        X = to_host(rows.X).astype(np.float64, copy=False)
        k = rows.n_features if self.n_components is None else self.n_components
        seed, how = seed_of(self.random_state), self._fit_coding()
        alpha, beta = float(self.alpha), float(self.predictor_weight)
        D, C = self._first(rows, k, seed)
        rng = generator(seed, 3)
        # L-BFGS is not free of units; the encoder is of rows and codes in units of the rows.
        top = float(np.abs(X).max(initial=0.0)) or 1.0
        unit = top * (float(np.sqrt(np.mean((X / top) ** 2))) or 1.0)
        U = X / unit

        def move(state: tuple) -> tuple[tuple, float]:
            D, C, encoder = state
            F = unit * encoder.predict(U)
            C = codes(X, D, how, C, prediction=(F, beta))
            D = self._atoms_of(X, D, C, rng)
            encoder = encoder.fitted(U, C / unit, self.encoder_iter)
            off = (C - unit * encoder.predict(U)) / top
            far = 0.5 * beta * float(np.einsum("ij,ij->", off, off)) * top * top
            return (D, C, encoder), cost_of(X, C, D, alpha) + far

        def attributes(state: tuple) -> dict[str, Any]:
            encoder = state[2]
            return {
                "encoder_weights_": (encoder.weights / unit).astype(rows.dtype),
                "encoder_bias_": encoder.bias.astype(rows.dtype),
                "encoder_gain_": (encoder.gain * unit).astype(rows.dtype),
            }

        with lapack_threads(k):  # L-BFGS and products between passes of ours
            self._descend(rows, X, (D, C, Encoder.of(U, D)), move, attributes)
        return self

    def _codes(self, X: np.ndarray, owner: str) -> np.ndarray:
        if self.transform_algorithm not in ("encoder", "energy"):
            return super()._codes(X, owner)
        X = X.astype(np.float64, copy=False)
        encoder = Encoder(*(
            getattr(self, f"encoder_{name}_").astype(np.float64) for name in Encoder._fields
        ))  # fmt: skip
        F = encoder.predict(X)
        if self.transform_algorithm == "encoder":
            return F
        how = self._coding()._replace(algorithm="lasso_cd")
        pull = F, float(self.predictor_weight)
        return codes(X, self.components_, how, owner=owner, prediction=pull)
