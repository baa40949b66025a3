"""SparseCoder, DictionaryLearning and MiniBatchDictionaryLearning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, fitting_at_once
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._parameters import check_parameters
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._validation import as_numbers
from kernelmill.decomposition._axes import signed
from kernelmill.decomposition._codes import ALGORITHMS, Coding, codes, cost_of, fitted_dictionary
from kernelmill.decomposition._nmf import leading
from kernelmill.decomposition._projection import scores_given
from kernelmill.decomposition._watch import Watch
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import matmul

_NOISE = 0.01  # deviation of an atom drawn anew from the row it is drawn from, of its deviation

_WORDS = WORDS.extended(
    arguments={"Z": ("array-like of shape (n, n_components)", "Codes.")},
    parameters={
        "n_components": ("int or None", "Number of atoms k; d by default."),
        "alpha": ("float", "Penalty of the sizes of the codes."),
        "fit_algorithm": ('{"lars", "cd"}', "Whether the lassos of the fit are solved to rounding, "
            "or to a small duality gap; both by coordinate descent."),
        "transform_algorithm": ('{"lasso_lars", "lasso_cd", "lars", "omp", "threshold"}',
            "The codes of ``transform``: the lasso to rounding or to a small gap, least angles, "
            "orthogonal matching pursuit, or soft thresholds of products."),
        "transform_n_nonzero_coefs": ("int or None", "Atoms of a code, for ``\"lars\"`` and "
            "``\"omp\"``; a tenth of d by default."),
        "transform_alpha": ("float or None", "Penalty, or threshold, of ``transform``."),
        "transform_max_iter": ("int", "Most sweeps of a lasso in ``transform``."),
        "split_sign": ("bool", "Whether ``transform`` gives the positive parts and the sizes of "
            "the negative parts side by side."),
        "positive_code": ("bool", "Whether codes may not be negative; not for ``\"omp\"``."),
        "positive_dict": ("bool", "Whether atoms may not be negative."),
        "dict_init": ("array-like of shape (n_components, d) or None", "First atoms."),
        "callback": ("callable or None", "Called as ``callback(locals)`` after each iteration, "
            "with a dict of the dictionary, the code and the costs so far."),
        "verbose": ("bool", "Whether to show a progress bar."),
    },
    attributes={
        "components_": ("ndarray of shape (n_components, d), dtype of X", "Atoms, of length at "
            "most 1."),
    },
)


class SparseCodes(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Base of what codes rows in a dictionary."""

    _accepts_streams = False
    _words = _WORDS
    split_sign = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _atoms(self) -> np.ndarray:
        raise NotImplementedError

    def _coding(self) -> Coding:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        return len(self._atoms()) * (2 if self.split_sign else 1)

    def transform(self, X, y=None):
        """Codes of rows.

        Returns
        -------
        Z : ndarray of shape (n, n_components), or twice as wide with `split_sign`, dtype of X
            Codes.

        Warns
        -----
        ConvergenceWarning
            If `transform_max_iter` ends a lasso before its gap is small.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        found = self._codes(to_host(rows.X), rows.owner)
        if self.split_sign:
            found = np.hstack([np.maximum(found, 0), -np.minimum(found, 0)])
        return found.astype(rows.dtype, copy=False)

    def _codes(self, X: np.ndarray, owner: str) -> np.ndarray:
        how = self._coding()
        if how.positive and how.algorithm in ("omp",):
            raise ValueError(
                f"{owner}: positive_code must be False for transform_algorithm='omp', got "
                "True (Positive constraint not supported for 'omp' coding method.)"
            )
        return codes(X, self._atoms(), how, owner=owner)

    def inverse_transform(self, X):
        """Rows from codes: sums of the atoms.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of the codes
            Rows.
        """
        check_is_fitted(self)
        Z = scores_given(X, self._n_features_out, type(self).__name__)
        if self.split_sign:
            half = Z.shape[1] // 2
            Z = Z[:, :half] - Z[:, half:]
        return matmul.matmul(np.ascontiguousarray(Z), self._atoms().astype(Z.dtype, copy=False))


class SparseCoder(SparseCodes):
    """Codes of rows in a given dictionary.

    Parameters
    ----------
    dictionary : ndarray of shape (n_components, d)
        Atoms, of length 1.

    Attributes
    ----------
    n_components_ : int
        Number of atoms.
    n_features_in_ : int
        Number of features d.

    See Also
    --------
    DictionaryLearning : Finds the dictionary.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import SparseCoder
    >>> atoms = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    >>> SparseCoder(atoms, transform_n_nonzero_coefs=1).fit().transform([[3.0, 4.0, 1.0]])
    array([[5., 0.]])
    """

    _words = _WORDS.extended(
        arguments={"fit.X": ("ignored", "Ignored; present for API compatibility.")},
        parameters={
            "transform_alpha": ("float or None", "Penalty or threshold; 1 by default."),
        },
    )
    _parameters: ClassVar = {
        "transform_algorithm": rule.one_of(*ALGORITHMS),
        "transform_n_nonzero_coefs": rule.any_of(rule.integer(1), rule.nothing()),
        "transform_alpha": rule.any_of(rule.real(0), rule.nothing()),
        "split_sign": rule.boolean(),
        "positive_code": rule.boolean(),
        "transform_max_iter": rule.integer(0),
    }

    def __init__(
        self, dictionary, *, transform_algorithm="omp", transform_n_nonzero_coefs=None,
        transform_alpha=None, split_sign=False, n_jobs=None, positive_code=False,
        transform_max_iter=1000,
    ):  # fmt: skip
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def fit(self, X=None, y=None):
        """Check the parameters and X, if given; there is nothing to learn.

        Returns
        -------
        self : SparseCoder
            The model.

        Raises
        ------
        ValueError
            If X does not have as many features as the atoms.
        """
        check_parameters(self)
        if X is not None:
            self._rows(X, reset=False)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def n_components_(self) -> int:
        """Number of atoms."""
        return len(self._atoms())

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return self._atoms().shape[1]

    def _atoms(self) -> np.ndarray:
        atoms = as_numbers(self.dictionary, "dictionary", type(self).__name__)
        if atoms.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: dictionary must have two axes, got shape {atoms.shape}"
            )
        return atoms

    def _coding(self) -> Coding:
        return Coding(
            self.transform_algorithm, self.transform_n_nonzero_coefs, self.transform_alpha,
            self.positive_code, self.transform_max_iter,
        )  # fmt: skip


class LearntDictionary(SparseCodes):
    """Base of both ways to learn a dictionary."""

    components_: Any

    def _atoms(self) -> np.ndarray:
        return self.components_

    def _coding(self) -> Coding:
        alpha = self.alpha if self.transform_alpha is None else self.transform_alpha
        return Coding(
            self.transform_algorithm, self.transform_n_nonzero_coefs, alpha, self.positive_code,
            self.transform_max_iter,
        )  # fmt: skip

    def _fit_coding(self) -> Coding:
        if self.positive_code and self.fit_algorithm == "lars":
            raise ValueError(
                f"{type(self).__name__}: fit_algorithm must be 'cd' for positive_code=True, got "
                "'lars' (Positive constraint not supported for 'lars' coding method.)"
            )
        return Coding(
            f"lasso_{self.fit_algorithm}", None, self.alpha, self.positive_code,
            self.transform_max_iter,
        )  # fmt: skip

    def _first(self, rows: Rows, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Atoms by singular vectors, or as given, and their codes."""
        X = to_host(rows.X)
        if self.dict_init is not None:
            D = as_numbers(self.dict_init, "dict_init", rows.owner)
            if D.shape != (k, rows.n_features):
                raise ValueError(
                    f"{rows.owner}: dict_init must have shape {(k, rows.n_features)}, got {D.shape}"
                )
            return D, np.zeros((rows.count, k))
        U, values, V = leading(rows, k, seed)
        D, C = np.zeros((k, X.shape[1])), np.zeros((X.shape[0], k))
        turned = signed(V)
        signs = np.sign(np.einsum("ij,ij->i", turned, V))
        D[: len(V)], C[:, : len(V)] = turned, U * (values * signs)
        return D, C

    def _atoms_of(self, X: np.ndarray, D: np.ndarray, C: np.ndarray, rng: Any) -> np.ndarray:
        """The dictionary fitted to the codes; codes of atoms that are drawn anew become zero."""
        A, B = matmul.matmul(C.T, C), matmul.matmul(C.T, X)
        D, drawn = fitted_dictionary(D, A, B, self.positive_dict, lambda: _atom(X, rng))
        C[:, drawn] = 0.0
        return D

    def _descend(
        self, rows: Rows, X: np.ndarray, begin: tuple, move: Callable[[tuple], tuple[tuple, float]],
        attributes: Callable[[tuple], dict[str, Any]], callback: Any = None,
    ) -> None:  # fmt: skip
        """Move ``(D, C, ...)`` until its cost falls by less than a share of `tol`; learn the last.

        ``move(state)`` returns the next state and its cost, ``attributes(state)`` what is learnt
        beside the atoms.
        """
        costs: list[float] = []

        def advance(state: tuple, most: int) -> Step:
            state, cost = move(state)
            costs.append(cost)
            if callback is not None:
                callback({"dictionary": state[0], "code": state[1], "errors": costs})
            finished = len(costs) > 1 and costs[-2] - costs[-1] < self.tol * costs[-1]
            return Step(state, cost, finished)

        def learned(state: tuple, done: int) -> dict[str, Any]:
            atoms = {"components_": state[0].astype(rows.dtype), **attributes(state)}
            return {**atoms, "error_": list(costs), "n_iter_": done}

        with Progress(self, self.verbose, iterations=self.max_iter, X=X) as progress:
            run = climb(
                progress, lambda number: begin, advance, max_iter=self.max_iter, attributes=learned
            )
        self.__dict__.update(learned(run.state, run.n_iter))


class DictionaryLearning(LearntDictionary):
    """A dictionary in which rows have sparse codes.

    Parameters
    ----------
    tol : float, default=1e-8
        Relative decrease of the cost that ends the iteration.
    code_init : array-like of shape (n, n_components) or None, default=None
        First codes, beside `dict_init`.

    Attributes
    ----------
    components_
    error_
    n_iter_ : int
        Number of iterations.
    n_features_in_, feature_names_in_

    See Also
    --------
    MiniBatchDictionaryLearning : For many rows.
    SparseCoder : With a given dictionary.

    Notes
    -----
    The cost ``1/2 |X - C D|^2 + alpha |C|_1`` is minimised over codes, each row by itself, and then
    over one atom after another; it never increases. An atom that no row uses is drawn anew. The
    first atoms are singular vectors of length 1, where scikit-learn's have the lengths of singular
    values: so scaling X and `alpha` scales the codes alone.

    References
    ----------
    Mairal, Bach, Ponce and Sapiro (2009), "Online dictionary learning for sparse coding".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import DictionaryLearning
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 3)) * (rng.random((60, 3)) < 0.4) @ rng.normal(size=(3, 8))
    >>> model = DictionaryLearning(3, alpha=0.01, max_iter=50, random_state=0).fit(X)
    >>> bool(model.error_[-1] < model.error_[0])
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "alpha": rule.real(0),
        "max_iter": rule.integer(0),
        "tol": rule.real(0),
        "fit_algorithm": rule.one_of("lars", "cd"),
        "transform_algorithm": rule.one_of(*ALGORITHMS),
        "transform_n_nonzero_coefs": rule.any_of(rule.integer(1), rule.nothing()),
        "transform_alpha": rule.any_of(rule.real(0), rule.nothing()),
        "code_init": rule.any_of(rule.array("(n, n_components)"), rule.nothing()),
        "dict_init": rule.any_of(rule.array("(n_components, d)"), rule.nothing()),
        "callback": rule.any_of(rule.Rule(callable, "a function"), rule.nothing()),
        "verbose": rule.VERBOSE,
        "split_sign": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "positive_code": rule.boolean(),
        "positive_dict": rule.boolean(),
        "transform_max_iter": rule.integer(0),
    }

    def __init__(
        self, n_components=None, *, alpha=1, max_iter=1000, tol=1e-8, fit_algorithm="lars",
        transform_algorithm="omp", transform_n_nonzero_coefs=None, transform_alpha=None,
        n_jobs=None, code_init=None, dict_init=None, callback=None, verbose=False,
        split_sign=False, random_state=None, positive_code=False, positive_dict=False,
        transform_max_iter=1000,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the dictionary.

        Raises
        ------
        ValueError
            If X or a parameter does not fit.
        """
        rows = self._rows(X, reset=True)
        X = to_host(rows.X).astype(np.float64, copy=False)
        k = rows.n_features if self.n_components is None else self.n_components
        seed, how, alpha = seed_of(self.random_state), self._fit_coding(), float(self.alpha)
        D, C = self._first(rows, k, seed)
        if self.code_init is not None:
            C = as_numbers(self.code_init, "code_init", rows.owner)
        rng = generator(seed, 3)

        def move(state: tuple) -> tuple[tuple, float]:
            D, C = state
            C = codes(X, D, how, C)
            D = self._atoms_of(X, D, C, rng)
            return (D, C), cost_of(X, C, D, alpha)

        self._descend(rows, X, (D, C), move, lambda state: {}, self.callback)
        return self


def _atom(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A row at random with a little noise, of length 1."""
    row = X[rng.integers(len(X))]
    atom = row + _NOISE * (float(row.std()) or 1.0) * rng.standard_normal(len(row))
    return atom / (float(np.linalg.norm(atom)) or 1.0)


class MiniBatchDictionaryLearning(LearntDictionary):
    """A dictionary in which rows have sparse codes, from small batches of them.

    Parameters
    ----------
    max_iter : int, default=1000
        Most passes over X.
    batch_size : int, default=256
        Rows of a batch.
    shuffle : bool, default=True
        Whether the rows are put in a random order first.
    tol : float, default=1e-3
        Change of the dictionary, relative to the number of atoms, that ends the iteration.

    Attributes
    ----------
    components_
    n_iter_ : int
        Passes over X that were begun.
    n_steps_
    n_features_in_, feature_names_in_

    See Also
    --------
    DictionaryLearning : All rows in each iteration.

    Notes
    -----
    The sums ``C'C`` and ``C'X`` of all batches so far, of which older ones count less, take the
    place of those of all rows.

    References
    ----------
    Mairal, Bach, Ponce and Sapiro (2009), "Online dictionary learning for sparse coding".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import MiniBatchDictionaryLearning
    >>> X = np.random.default_rng(0).normal(size=(300, 8))
    >>> model = MiniBatchDictionaryLearning(5, batch_size=50, random_state=0).fit(X)
    >>> model.components_.shape, bool(np.linalg.norm(model.components_, axis=1).max() < 1 + 1e-12)
    ((5, 8), True)
    """

    _parameters: ClassVar = {
        **{name: own for name, own in DictionaryLearning._parameters.items()
           if name != "code_init"},
        "max_iter": rule.integer(0),
        "batch_size": rule.integer(1),
        "shuffle": rule.boolean(),
        "max_no_improvement": rule.any_of(rule.integer(0), rule.nothing()),
    }  # fmt: skip

    def __init__(
        self, n_components=None, *, alpha=1, max_iter=1_000, fit_algorithm="lars", n_jobs=None,
        batch_size=256, shuffle=True, dict_init=None, transform_algorithm="omp",
        transform_n_nonzero_coefs=None, transform_alpha=None, verbose=False, split_sign=False,
        random_state=None, positive_code=False, positive_dict=False, transform_max_iter=1000,
        callback=None, tol=1e-3, max_no_improvement=10,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the dictionary.

        Raises
        ------
        ValueError
            If X or a parameter does not fit.
        """
        rows = self._rows(X, reset=True)
        X = to_host(rows.X).astype(np.float64, copy=False)
        k = rows.n_features if self.n_components is None else self.n_components
        seed, how, n = seed_of(self.random_state), self._fit_coding(), rows.count
        D, _ = self._first(rows, k, seed)
        order = generator(seed, 3).permutation(n) if self.shuffle else np.arange(n)
        size = min(self.batch_size, n)
        starts = range(0, n, size)
        limit = self.max_iter * len(starts)
        watch = Watch(size / (n + 1), self.tol, self.max_no_improvement)

        def advance(state: tuple, most: int) -> Step:
            step = state[3]
            i = starts[step % len(starts)]
            batch = X[order[i : i + size]]
            after, cost = self._step(batch, state, how, generator(seed, 4 + step), size)
            if self.callback is not None:
                self.callback({"dictionary": after[0], "cost": cost, "step": step})
            change = float(np.linalg.norm(after[0] - state[0])) / k
            return Step(after, cost, watch.finished(cost, change))

        def learned(state: tuple, done: int) -> dict[str, Any]:
            return self._learned(state, rows, -(-done // len(starts)))

        begin = (D, np.zeros((k, k)), np.zeros((k, rows.n_features)), 0)
        with Progress(self, self.verbose, iterations=limit, unit="batch", X=X) as progress:
            run = climb(
                progress, lambda number: begin, advance, max_iter=limit, attributes=learned
            )
        self.__dict__.update(learned(run.state, run.n_iter))
        return self

    @fitting_at_once
    def partial_fit(self, X, y=None):
        """Update the dictionary by one batch.

        Raises
        ------
        ValueError
            If X does not fit, or has other features than before.
        """
        fresh = not hasattr(self, "components_")
        rows = self._rows(X, reset=fresh)
        batch = to_host(rows.X).astype(np.float64, copy=False)
        seed = seed_of(self.random_state)
        if fresh:
            k = rows.n_features if self.n_components is None else self.n_components
            D, _ = self._first(rows, k, seed)
            state = (D, np.zeros((k, k)), np.zeros((k, rows.n_features)), 0)
        else:
            state = (
                self.components_.astype(np.float64), self._code_products, self._row_products,
                self.n_steps_,
            )  # fmt: skip
        rng = generator(seed, 4 + state[3])
        state, _ = self._step(batch, state, self._fit_coding(), rng, len(batch))
        self.__dict__.update(self._learned(state, rows, 1))
        return self

    def _learned(self, state: tuple, rows: Rows, passes: int) -> dict[str, Any]:
        return {
            "components_": state[0].astype(rows.dtype),
            "_code_products": state[1],
            "_row_products": state[2],
            "n_steps_": state[3],
            "n_iter_": passes,
        }

    def _step(
        self, X: np.ndarray, state: tuple, how: Coding, rng: np.random.Generator, size: int
    ) -> tuple[tuple, float]:
        """The next state, and the cost of a row before."""
        D, A, B, step = state
        C = codes(X, D, how)
        cost = cost_of(X, C, D, float(self.alpha)) / len(X)
        # the first pass over as many rows as a batch has counts fully, later ones as averages
        theta = (step + 1) * size if step < size - 1 else size**2 + step + 1 - size
        kept = (theta + 1 - size) / (theta + 1)
        A = kept * A + matmul.matmul(C.T, C) / size
        B = kept * B + matmul.matmul(C.T, X) / size
        D, _ = fitted_dictionary(D, A, B, self.positive_dict, lambda: _atom(X, rng))
        return (D, A, B, step + 1), cost
