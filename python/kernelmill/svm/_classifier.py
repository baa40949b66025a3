"""SVC and NuSVC."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_classes, check_count, class_labels
from kernelmill._kernels import Kernel
from kernelmill.ops import svm as ops
from kernelmill.svm import _pairs, _problems
from kernelmill.svm._base import NU, PARAMETERS, C, SupportVectorMachine
from kernelmill.svm._training import Solved, Training, solve
from kernelmill.svm._warm import classes_before
from kernelmill.svm._weights import factors_of_classes

_FOLDS = 5  # of the calibration


def _has_probabilities(model):
    if model.probability:
        return True
    raise AttributeError("probabilities need probability=True in the constructor")


class _Classifier(ClassifierMixin, SupportVectorMachine):
    """One machine for each pair of classes, of which the first has the positive sign."""

    _parameters: ClassVar = {
        **PARAMETERS,
        "probability": rule.boolean(),
        "class_weight": rule.CLASS_WEIGHT,
        "decision_function_shape": rule.one_of("ovr", "ovo"),
        "break_ties": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
    }

    warm_start = False  # of those without the parameter
    class_weight: Any
    probability: bool
    decision_function_shape: str
    break_ties: bool
    random_state: Any
    classes_: Any
    class_weight_: Any
    n_support_: Any

    def _pair(
        self, rows: np.ndarray, signs: np.ndarray, weights: np.ndarray, scale: float
    ) -> _problems.Problem:
        """The dual problem of a pair of classes."""
        raise NotImplementedError

    def _read(
        self, problem: _problems.Problem, b: np.ndarray, g: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Multipliers and constant of a decision function."""
        return b, problem.multipliers(b, g)[0]

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Solve the dual problem of each pair of classes.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels, numbers or strings.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.

        Warns
        -----
        ConvergenceWarning
            If the fit ended before its tolerance was met, or the kernel is not positive
            semi-definite.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        self._check_ties()
        rows = self._checked(self._rows(X, sample_weight, reset=True))
        labels = class_labels(y, rows.owner)
        check_count(labels, rows.count, rows.owner)
        before = classes_before(self, rows.count)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        check_classes(self.classes_, rows.owner)
        weights = self._class_weights(rows, labels, codes)
        order = np.argsort(codes, kind="stable")
        kept = order[weights[order] > 0]
        kernel = self._fitted_kernel(rows.X, kept, self._weights(rows))
        given = self._given_values(kernel, rows.X, kept, rows.owner)
        used = rows.X[kept] if given is None else given
        scale = float(np.abs(kernel.diagonal(used)).mean())
        codes, weights = codes[kept], weights[kept]
        problems = self._problems(codes, weights, scale)
        if before is not None:
            pairs = _pairs.pairs(len(self.classes_))
            problems = [
                before.started(p, kept[p.rows], self._cost, tuple(self.classes_[[i, j]]))
                for p, (i, j) in zip(problems, pairs, strict=True)
            ]
        training = self._training(kernel, used, given, problems, self._weights(rows)[kept])

        def attributes(solved: Solved, n_iter: int) -> dict[str, Any]:
            return self._attributes(training, solved, kernel, rows.X, kept, codes)

        solved = solve(self, training, attributes, (X, y, sample_weight))
        self.__dict__.update(attributes(solved, 0))
        if self.probability:
            self._calibrate(training, codes, weights, scale)
        return self

    def _check_ties(self) -> None:
        if self.break_ties and self.decision_function_shape == "ovo":
            raise ValueError(
                f"{type(self).__name__}: break_ties must be False when decision_function_shape is "
                "'ovo', got True"
            )

    def _class_weights(self, rows: Rows, labels: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Weights of the rows, times those of their classes; sets ``class_weight_``."""
        weights = self._weights(rows)
        self.class_weight_ = factors_of_classes(
            self.class_weight, self.classes_, codes, labels, weights, rows.owner
        )
        return weights * self.class_weight_[codes]

    def _problems(
        self, codes: np.ndarray, weights: np.ndarray, scale: float, chosen: Any = None
    ) -> list[_problems.Problem]:
        """A problem for each pair, over some of the rows, which are in the order of classes."""
        used = np.ones(len(codes), bool) if chosen is None else chosen
        found = []
        for i, j in _pairs.pairs(len(self.classes_)):
            rows = np.flatnonzero(used & ((codes == i) | (codes == j))).astype(np.int32)
            signs = np.where(codes[rows] == i, 1.0, -1.0)
            found.append(self._pair(rows, signs, weights[rows], scale))
        return found

    def _attributes(
        self, training: Training, solved: Solved, kernel: Kernel, X: Any, kept: np.ndarray,
        codes: np.ndarray
    ) -> dict[str, Any]:  # fmt: skip
        k = len(self.classes_)
        coef = np.zeros((k - 1, len(codes)))
        constants, gaps = [], []
        parts = training.parts(solved)
        for (i, j), (problem, b, g) in zip(_pairs.pairs(k), parts, strict=True):
            multipliers, constant = self._read(problem, b, g)
            own = codes[problem.rows] == i
            coef[j - 1, problem.rows[own]] = multipliers[own]
            coef[i, problem.rows[~own]] = multipliers[~own]
            constants.append(constant)
            gaps.append(problem.gap_without_bounds(b, g) if self._hard else problem.gap(b, g))
        support = np.flatnonzero((coef != 0).any(axis=0))
        found = self._remember(kernel, X, kept, support, training.origin)
        found |= {
            "classes_": self.classes_,
            "class_weight_": self.class_weight_,
            "n_support_": np.bincount(codes[support], minlength=k).astype(np.int32),
            "n_iter_": np.maximum(1, solved.column("steps")).astype(np.int64),
            "dual_gap_": np.array(gaps),
            "fit_status_": int((solved.column("status") == ops.STALLED).any()),
            "_constants": np.array(constants),  # of decisions about the origin of the fit
        }
        after = copy(self)  # this model stays as it is until the fit has ended
        after.__dict__.update(found)
        coef = np.ascontiguousarray(coef[:, support])
        sign = -1.0 if k == 2 else 1.0  # the second class of two is the positive one
        after.dual_coef_ = found["dual_coef_"] = after._as_rows(sign * coef)
        shifts = after._of_pairs(after._shift)
        found["intercept_"] = sign * (after._constants - shifts[0])
        if kernel.name == "linear":
            vectors = after.support_vectors_
            weights = after._of_pairs(lambda c, own: after._weighted(vectors[own], c))
            found["coef_"] = after._as_rows(sign * weights.T)
        return found

    def _of_pairs(self, function: Any) -> Any:
        """For each pair, the sum over both classes of ``function(coef, own)``: (rows, pairs)."""
        k = len(self.classes_)
        coef = self._dual if k > 2 else -self._dual
        ends = np.cumsum(self.n_support_)
        parts = []
        for c in range(k):
            own = slice(int(ends[c] - self.n_support_[c]), int(ends[c]))
            part = function(np.ascontiguousarray(coef[:, own].T), own)
            parts.append(part if part.ndim == 2 else part[None])
        pairs, xp = _pairs.pairs(k), namespace(parts[0])
        return xp.stack([parts[i][:, j - 1] + parts[j][:, i] for i, j in pairs], axis=1)

    def _decisions(self, X: Any) -> Any:
        """Decisions of all pairs, positive for the first class, (n, n_pairs), beside X."""
        sums = self._of_pairs(lambda c, own: self._kernel_sums(X, c, own))
        return sums + beside(self._constants, sums)

    def _labels(self, decisions: np.ndarray) -> np.ndarray:
        k = len(self.classes_)
        if self.break_ties and k > 2:
            return _pairs.one_against_rest(decisions, k).argmax(axis=1)
        return _pairs.votes(decisions, k).argmax(axis=1)

    def decision_function(self, X):
        """Scores of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n,), (n, n_classes) or (n, n_pairs)
            For two classes, positive for the second one. For more, the number of votes of each
            class and less than a third for its margins; with ``decision_function_shape="ovo"`` one
            decision for each pair, positive for the first class.
        """
        decisions = self._mapped_rows(X, self._decisions)
        if len(self.classes_) == 2:
            return -decisions.ravel()
        if self.decision_function_shape == "ovo":
            return decisions
        return _pairs.one_against_rest(decisions, len(self.classes_))

    def predict(self, X):
        """The class that most pairs vote for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        y : ndarray of shape (n,)
            Class labels; of several with most votes the first one, or that with the largest score
            if ``break_ties=True``.
        """
        check_is_fitted(self)
        self._check_ties()
        return self.classes_[self._labels(to_host(self._mapped_rows(X, self._decisions)))]

    # --- probabilities ----------------------------------------------------------------------------

    def _calibrate(
        self, training: Training, codes: np.ndarray, weights: np.ndarray, scale: float
    ) -> None:
        """Slopes of the sigmoids of all pairs, from decisions about rows held out."""
        folds = np.zeros(len(codes), np.int64)
        draws = generator(seed_of(self.random_state), 1)
        for c in range(len(self.classes_)):
            own = np.flatnonzero(codes == c)
            folds[own] = draws.permutation(len(own)) % _FOLDS
        pairs = _pairs.pairs(len(self.classes_))
        held: list[list[tuple]] = [[] for _ in pairs]
        problems, tests, owners = [], [], []
        for fold in range(_FOLDS):
            trained = folds != fold
            for column, (i, j) in enumerate(pairs):
                own = (codes == i) | (codes == j)
                test = np.flatnonzero(own & ~trained)
                rows = np.flatnonzero(own & trained).astype(np.int32)
                signs = np.where(codes[rows] == i, 1.0, -1.0)
                if not len(test):
                    continue
                if abs(signs.sum()) == len(signs):  # a class is missing: no decision
                    held[column].append((test, np.zeros(len(test))))
                    continue
                problems.append(self._pair(rows, signs, weights[rows], scale))
                tests.append(test)
                owners.append(column)
        if problems:
            inner = Training(
                training.owner, training.asked, training.X, training.origin, problems,
                self.tol, self.cache_size, self.max_iter,
            )  # fmt: skip
            solved = inner.settled()
            for (problem, b, g), test, column in zip(
                inner.parts(solved), tests, owners, strict=True
            ):
                multipliers, constant = self._read(problem, b, g)
                used = np.flatnonzero(multipliers)
                sums = inner.product(test, problem.rows[used], multipliers[used][:, None])
                held[column].append((test, sums + constant))
        slopes = []
        for (i, _), parts in zip(pairs, held, strict=True):
            test = np.concatenate([part[0] for part in parts])
            decisions = np.concatenate([part[1] for part in parts])
            slopes.append(_pairs.slope(decisions, codes[test] == i, weights[test]))
        self.probA_ = -np.array(slopes)
        self.probB_ = np.zeros(len(slopes))

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Probabilities of the classes; the largest is that of the class that `predict` gives.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            A sigmoid of each pair's decision, one half where that is 0, with its slope from rows
            held out; those of all pairs coupled. Where the largest would not be that of the
            predicted class, the nearest probabilities of which it is.
        """
        check_is_fitted(self)
        if not hasattr(self, "probA_"):
            raise NotFittedError(
                f"{type(self).__name__}: probability must be True in fit for predict_proba, got "
                "False then (predict_proba is not available when fitted with probability=False)"
            )
        given = self._mapped_rows(X, self._decisions)
        decisions, k = to_host(given), len(self.classes_)
        if self.probB_.any():  # a model of LIBSVM
            return beside(_pairs.stepped(decisions, -self.probA_, -self.probB_, k), given)
        found = _pairs.coupled(decisions, -self.probA_, k)
        return beside(_pairs.led_by(found, self._labels(decisions)), given)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n, n_classes)
            -inf for a probability of 0.
        """
        with np.errstate(divide="ignore"):
            found = self.predict_proba(X)
            return namespace(found).log(found)


class SVC(_Classifier):
    """Support vector classification, one machine for each pair of classes.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None, default=None
        Draws the folds of the calibration; nothing else is random.

    Attributes
    ----------
    classes_, class_weight_, coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_
    n_support_
    probA_, probB_ : ndarray of shape (n_pairs,)
        With ``probability=True``, minus the slopes of the sigmoids, and zeros; of a model of LIBSVM
        that was converted, what it had.
    shape_fit_, support_, support_vectors_, n_features_in_, feature_names_in_

    See Also
    --------
    NuSVC : The share of errors in place of their price.
    SVR : The same for numbers.

    Notes
    -----
    The solver is described in docs/kernel-methods.md: blocks of hundreds of multipliers, whose
    kernel rows are computed together and kept in a cache. Rows of the kernel are float32 where a
    check in float64 finds that precise enough, and float64 where not; all else is float64. A linear
    machine does not change when all rows are moved, nor does any when all rows of a Gaussian or
    Laplacian kernel are. Results have the same bits at any thread count.

    References
    ----------
    Cortes and Vapnik (1995), "Support-vector networks"; Platt (1999), "Probabilistic outputs for
    support vector machines"; Wu, Lin and Weng (2004), "Probability estimates for multi-class
    classification by pairwise coupling".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import SVC
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> model = SVC(gamma="auto").fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[-0.8, -1.0]])
    array(['a'], dtype='<U1')
    >>> model.n_support_.tolist()
    [2, 2]
    """

    _parameters: ClassVar = {
        **_Classifier._parameters,
        "C": C,
        "warm_start": rule.boolean(),
    }

    def __init__(
        self, *, C=1.0, kernel="rbf", degree=3, gamma="scale", coef0=0.0, shrinking=True,
        probability=False, tol=1e-3, cache_size=200, class_weight=None, verbose=False,
        max_iter=-1, decision_function_shape="ovr", break_ties=False, random_state=None,
        warm_start=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _pair(
        self, rows: np.ndarray, signs: np.ndarray, weights: np.ndarray, scale: float
    ) -> _problems.Problem:
        return _problems.classes(rows, signs, self._cost * weights)


class NuSVC(_Classifier):
    """Support vector classification with a bound on the share of errors.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None, default=None
        Draws the folds of the calibration; nothing else is random.

    Attributes
    ----------
    classes_, class_weight_, coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_
    n_support_
    probA_, probB_ : ndarray of shape (n_pairs,)
        With ``probability=True``, minus the slopes of the sigmoids, and zeros; of a model of LIBSVM
        that was converted, what it had.
    shape_fit_, support_, support_vectors_, n_features_in_, feature_names_in_

    See Also
    --------
    SVC : The price of errors in place of their share.

    References
    ----------
    Schoelkopf, Smola, Williamson and Bartlett (2000), "New support vector algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import NuSVC
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> NuSVC(gamma="auto").fit(X, [1, 1, 2, 2]).predict([[-0.8, -1.0]])
    array([1])
    """

    _parameters: ClassVar = {**_Classifier._parameters, "nu": NU}

    def __init__(
        self, *, nu=0.5, kernel="rbf", degree=3, gamma="scale", coef0=0.0, shrinking=True,
        probability=False, tol=1e-3, cache_size=200, class_weight=None, verbose=False,
        max_iter=-1, decision_function_shape="ovr", break_ties=False, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _pair(
        self, rows: np.ndarray, signs: np.ndarray, weights: np.ndarray, scale: float
    ) -> _problems.Problem:
        least = min(weights[signs > 0].sum(), weights[signs < 0].sum())
        half = self.nu * weights.sum() / 2
        if half > least * (1 + 1e-12):
            raise ValueError(
                f"NuSVC: nu must be at most twice the share of the smaller class, got {self.nu:g} "
                f"for {2 * least / weights.sum():g} (specified nu is infeasible)"
            )
        return _problems.nu_classes(rows, signs, weights, self.nu, scale)

    def _read(
        self, problem: _problems.Problem, b: np.ndarray, g: np.ndarray
    ) -> tuple[np.ndarray, float]:
        first, second = problem.multipliers(b, g)
        margin = (second - first) / 2
        if not margin > 1e-12 * max(abs(first), abs(second), problem.scale):
            margin = 1.0  # the classes cannot be told apart
        return b / margin, (first + second) / 2 / margin
