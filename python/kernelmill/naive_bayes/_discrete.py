"""Naive Bayes of counts, and of features that are there or not."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill._estimator._posterior import given_priors, linear_scores, log_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count
from kernelmill._estimator._validation import as_numbers
from kernelmill.naive_bayes._base import NaiveBayes
from kernelmill.naive_bayes._words import WORDS
from kernelmill.ops import moments

_LEAST_ALPHA = 1e-10
_BLOCK = 1 << 16  # elements of rows that are made anew at a time

_ALPHA = rule.real(0)
ALPHAS = rule.any_of(
    _ALPHA,
    rule.Rule(
        lambda v: not isinstance(v, str) and np.ndim(v) == 1 and np.asarray(v).dtype.kind in "iuf",
        "an array of such numbers",
    ),
)
PARAMETERS: dict[str, rule.Rule] = {
    "alpha": ALPHAS,
    "force_alpha": rule.boolean(),
    "fit_prior": rule.boolean(),
    "class_prior": rule.any_of(rule.array("(n_classes,)"), rule.nothing()),
}


def linear_joint(
    X: Any, coef: np.ndarray, impossible: np.ndarray | None, intercept: np.ndarray
) -> np.ndarray:
    """``X coef' + intercept`` in float64, (n, k); -inf where an impossible feature is not 0.

    Where all classes are impossible, those of the least weight of impossible features are the limit
    of ever smaller probabilities: the others are -inf beside them.
    """
    found = linear_scores(X, coef, intercept)
    if impossible is None:
        return found
    return least_hit(found, linear_scores(X, impossible, np.zeros(len(coef))), intercept)


def least_hit(found: np.ndarray, hits: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Log joints, -inf for classes that say "impossible" more often than another one."""
    hits = np.where(prior == -np.inf, np.inf, hits)
    return np.where(hits > hits.min(axis=1, keepdims=True) * (1 + 1e-12), -np.inf, found)


def split_infinite(
    logs: np.ndarray, log_total: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Logarithms of shares, and where these are 0, if anywhere.

    The logarithm of ``alpha / total`` is ``log alpha - log total``. What is common to all classes
    that are equally impossible is the first part: the second stands in for -inf.
    """
    impossible = logs == -np.inf
    if not impossible.any():
        return logs, None
    return np.where(impossible, -log_total, logs), impossible.astype(np.float64)


class DiscreteNB(NaiveBayes):
    """Base of naive Bayes classifiers of counts."""

    alpha: Any
    force_alpha: Any
    fit_prior: Any
    class_prior: Any
    feature_count_: Any
    feature_log_prob_: Any
    class_log_prior_: Any

    _accepts_sparse: ClassVar = True
    _squares: ClassVar = False
    _words = WORDS

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _alphas(self, d: int) -> Any:
        """What is added to counts: a number or one for each of d features."""
        owner = type(self).__name__
        if rule.is_real(self.alpha):
            alpha: Any = float(self.alpha)
        else:
            alpha = as_numbers(self.alpha, "alpha", owner)
            if alpha.shape != (d,):
                raise ValueError(
                    f"{owner}: alpha must be a number or one for each of {d} features, got shape "
                    f"{alpha.shape} (When alpha is an array, it should contains `n_features`)"
                )
            if not ((alpha >= 0) & (alpha < np.inf)).all():
                raise ValueError(
                    f"{owner}: alpha must not be negative, got {alpha.min():g} (All values in "
                    "alpha must be greater than 0.)"
                )
        if not self.force_alpha and np.min(alpha) < _LEAST_ALPHA:
            warn(
                f"{owner}: alpha must be at least {_LEAST_ALPHA:.1e}, got {np.min(alpha):g} (it is "
                "raised to that: alpha too small will result in numeric errors, setting alpha = "
                f"{_LEAST_ALPHA:.1e}. Use `force_alpha=True` to keep alpha unchanged.)",
                UserWarning,
            )
            alpha = np.maximum(alpha, _LEAST_ALPHA)
        return alpha

    def _set_prior(self) -> None:
        k = len(self.classes_)
        if self.class_prior is not None:
            given = given_priors(
                self.class_prior, np.empty(k), type(self).__name__, "class_prior"
            )
            self.class_log_prior_ = log_of(given)
        elif self.fit_prior:
            count = self.class_count_
            self.class_log_prior_ = log_of(count) - np.log(count.sum())
        else:
            self.class_log_prior_ = np.full(k, -np.log(k))

    def _counted(self, rows: Rows, codes: np.ndarray, function: Any, *state: Any) -> tuple:
        """Sums of a pass ``function(X, codes, *state, sample_weight=w)`` over all rows."""
        if not rows.is_stream:
            check_count(codes, rows.count, rows.owner)
        return rows.map_reduce(function, *state, along=(codes,), merge=_merged)

    def _learn(self, rows: Rows, codes: np.ndarray, first: bool) -> None:
        k = len(self.classes_)
        found = self._count(rows, codes, k)
        names = ("class_count_", "feature_count_", *self._more)
        for name, value in zip(names, found, strict=True):
            setattr(self, name, value if first else getattr(self, name) + value)
        self._update(self._alphas(rows.n_features))
        self._set_prior()

    _more: ClassVar[tuple[str, ...]] = ()

    def _count(self, rows: Rows, codes: np.ndarray, k: int) -> tuple:
        """Weights of the classes, counts of their features, and what `_more` names."""
        raise NotImplementedError

    def _update(self, alpha: Any) -> None:
        """Set what follows from the counts."""
        raise NotImplementedError


def _sums(X: Any, codes: np.ndarray, k: int, sample_weight: Any = None) -> tuple:
    return moments.class_sums(X, codes, k, sample_weight=sample_weight)


def _merged(total: tuple, part: tuple) -> tuple:
    """Sums of two chunks, and the lesser of the least entries."""
    return (*(a + b for a, b in zip(total[:-1], part[:-1], strict=True)), min(total[-1], part[-1]))


class _CountNB(DiscreteNB):
    """Base of those whose features share one sum."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def _count(self, rows: Rows, codes: np.ndarray, k: int) -> tuple:
        weights, sums, least = self._counted(rows, codes, _sums, k)
        if not np.isfinite(sums).all():
            rows.check()
        if least < 0:
            raise ValueError(
                f"{rows.owner}: X must hold counts, which are not negative, got {least:g} "
                f"(Negative values in data passed to {rows.owner} (input X))"
            )
        return weights, sums


class MultinomialNB(_CountNB):
    """Naive Bayes of counts, such as words of texts: a row is so many draws of features.

    Parameters
    ----------
    alpha : float or array-like of shape (d,), default=1.0
        What is added to each count, for all features or each; 0 for none.

    Attributes
    ----------
    classes_, class_count_, class_log_prior_
    feature_count_ : ndarray of shape (n_classes, d), float64
        Weighted sums of the features in each class.
    feature_log_prob_ : ndarray of shape (n_classes, d), float64
        ``log P(feature | class)``.
    n_features_in_, feature_names_in_

    See Also
    --------
    ComplementNB : For classes of different sizes.
    BernoulliNB : For features that are there or not.

    Notes
    -----
    With N_cp the sum of feature p in class c, ``P(p | c) = (N_cp + alpha_p) / sum_p (N_cp +
    alpha_p)``. Fractions, such as tf-idf, are counts too. Rows may be a CSR matrix or a stream,
    which is read once; ``partial_fit`` of parts is ``fit`` of all rows. Missing entries are
    refused: a count that is not known changes what the others say, as they share their sum.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.naive_bayes import MultinomialNB
    >>> X = np.array([[2, 0, 1], [3, 1, 0], [0, 2, 4], [1, 3, 3]])
    >>> model = MultinomialNB().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[4, 0, 0], [0, 1, 1]]).tolist()
    ['a', 'b']
    >>> np.exp(model.feature_log_prob_).round(3).tolist()
    [[0.6, 0.2, 0.2], [0.125, 0.375, 0.5]]
    """

    _parameters: ClassVar = PARAMETERS

    def __init__(self, *, alpha=1.0, force_alpha=True, fit_prior=True, class_prior=None):
        self._set_parameters(locals())

    def _update(self, alpha: Any) -> None:
        counts = self.feature_count_ + alpha
        total = counts.sum(axis=1, keepdims=True)
        # Nothing is known of a class without a count.
        none = total == 0
        counts, total = np.where(none, 1.0, counts), np.where(none, counts.shape[1], total)
        self._log_total = np.log(total)
        self.feature_log_prob_ = log_of(counts) - self._log_total

    def _joint(self) -> Any:
        logs, impossible = split_infinite(self.feature_log_prob_, self._log_total)
        return linear_joint, (logs, impossible, self.class_log_prior_)


class ComplementNB(_CountNB):
    """Naive Bayes of counts by the features of all other classes, for classes of different sizes.

    Parameters
    ----------
    alpha : float or array-like of shape (d,), default=1.0
        What is added to each count, for all features or each; 0 for none.
    fit_prior : bool, default=True
        Used for a single class only.
    class_prior : array-like of shape (n_classes,), optional
        Not used.
    norm : bool, default=False
        Whether weights of each class are divided by their sum.

    Attributes
    ----------
    classes_, class_count_, class_log_prior_
    feature_count_ : ndarray of shape (n_classes, d), float64
        Weighted sums of the features in each class.
    feature_all_ : ndarray of shape (d,), float64
        Their sums over the classes.
    feature_log_prob_ : ndarray of shape (n_classes, d), float64
        Weights of the features: ``-log P(feature | other classes)``, divided by its sum with
        `norm`.
    n_features_in_, feature_names_in_

    See Also
    --------
    MultinomialNB : By the features of the class itself.

    Notes
    -----
    Rennie et al. (2003), "Tackling the poor assumptions of naive Bayes text classifiers". Rows may
    be a CSR matrix or a stream, as in `MultinomialNB`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.naive_bayes import ComplementNB
    >>> X = np.array([[2, 0, 1], [3, 1, 0], [0, 2, 4], [1, 3, 3]])
    >>> model = ComplementNB().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[4, 0, 0], [0, 1, 1]]).tolist()
    ['a', 'b']
    """

    feature_all_: Any

    _parameters: ClassVar = {**PARAMETERS, "norm": rule.boolean()}

    def __init__(
        self, *, alpha=1.0, force_alpha=True, fit_prior=True, class_prior=None, norm=False
    ):
        self._set_parameters(locals())

    def _update(self, alpha: Any) -> None:
        self.feature_all_ = self.feature_count_.sum(axis=0)
        others = self.feature_all_ + alpha - self.feature_count_
        others = np.maximum(others, 0.0)  # rounding
        total = others.sum(axis=1, keepdims=True)
        none = total == 0
        others, total = np.where(none, 1.0, others), np.where(none, others.shape[1], total)
        logs = log_of(others / total)
        self._log_total = np.log(total)
        if self.norm:
            # The limit where shares are 0: their logarithms are all of the sum.
            zero = logs == -np.inf
            any_zero = zero.any(axis=1, keepdims=True)
            shares = np.where(any_zero, zero, np.where(zero, 0.0, logs))
            self.feature_log_prob_ = shares / shares.sum(axis=1, keepdims=True)
        else:
            self.feature_log_prob_ = -logs

    def _joint(self) -> Any:
        weights = self.feature_log_prob_
        prior = self.class_log_prior_ if len(self.classes_) == 1 else np.zeros(len(weights))
        # A feature that no other class has speaks for this class without limit.
        certain = weights == np.inf
        if not certain.any():
            return linear_joint, (weights, None, prior)
        return linear_joint, (np.where(certain, self._log_total, weights), 1.0 - certain, prior)


class BernoulliNB(DiscreteNB):
    """Naive Bayes of features that are there or not.

    Parameters
    ----------
    alpha : float or array-like of shape (d,), default=1.0
        What is added to each count, for all features or each; 0 for none.
    binarize : float or None, default=0.0
        An entry above it is there. With None the entries are 0 and 1 already.

    Attributes
    ----------
    classes_, class_count_, class_log_prior_
    feature_count_ : ndarray of shape (n_classes, d), float64
        Weight of the rows of each class that have the feature.
    feature_log_prob_ : ndarray of shape (n_classes, d), float64
        ``log P(feature is there | class)``.
    n_features_in_, feature_names_in_

    See Also
    --------
    MultinomialNB : For counts.

    Notes
    -----
    With N_cp rows of class c that have feature p, of n_cp where it is known, ``P(p | c) = (N_cp +
    alpha_p) / (n_cp + 2 alpha_p)``. A missing entry (NaN) is left out, as is its factor of the
    probability of its row. Rows may be a CSR matrix, whose zeros are not there, or a stream, which
    is read once; ``partial_fit`` of parts is ``fit`` of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.naive_bayes import BernoulliNB
    >>> X = np.array([[1, 0, 1], [1, 1, 0], [0, 1, np.nan], [0, 1, 1]])
    >>> model = BernoulliNB().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[1, 0, 0], [np.nan, 1, 1]]).tolist()
    ['a', 'b']
    >>> np.exp(model.feature_log_prob_).round(3).tolist()
    [[0.75, 0.5, 0.5], [0.25, 0.75, 0.667]]
    """

    _parameters: ClassVar = {
        **PARAMETERS,
        "binarize": rule.any_of(rule.real(0), rule.nothing()),
    }
    _accepts_missing: ClassVar = True
    _deferred: ClassVar = False  # a threshold hides infinity
    _more: ClassVar = ("_known",)

    def __init__(
        self, *, alpha=1.0, force_alpha=True, binarize=0.0, fit_prior=True, class_prior=None
    ):
        self._set_parameters(locals())

    def _count(self, rows: Rows, codes: np.ndarray, k: int) -> tuple:
        # Weights of rows with an entry differ from those of the class where some are missing.
        return self._counted(rows, codes, _there, k, self.binarize, rows.missing)[:3]

    def _update(self, alpha: Any) -> None:
        total = self._known + 2 * alpha
        none = total == 0  # nothing is known
        there = np.where(none, 1.0, self.feature_count_ + alpha)
        absent = np.where(none, 1.0, np.maximum(self._known - self.feature_count_, 0.0) + alpha)
        total = np.where(none, 2.0, total)
        self._log_total = np.log(total)
        self.feature_log_prob_ = log_of(there) - self._log_total
        self._absent_log_prob = log_of(absent) - self._log_total

    def _joint(self) -> Any:
        there, never = split_infinite(self.feature_log_prob_, self._log_total)
        absent, always = split_infinite(self._absent_log_prob, self._log_total)
        state = there, absent, never, always, self.class_log_prior_, self.binarize
        return _bernoulli_joint, state


def _there(
    X: Any, codes: np.ndarray, k: int, threshold: float | None, missing: bool | None,
    sample_weight: Any = None,
) -> tuple:  # fmt: skip
    """Weights of classes, of their rows that have a feature, and where it is known."""
    limit = np.nan if threshold is None else float(threshold)
    gaps: Any = None
    if missing is not False:
        data = X.data if is_sparse(X) else X
        gaps = np.isnan(data)
        if not gaps.any():
            gaps = None
        elif is_sparse(X):
            gaps = type(X)((gaps.astype(X.dtype), X.indices, X.indptr), shape=X.shape)
            X = type(X)((np.nan_to_num(X.data, nan=0.0), X.indices, X.indptr), shape=X.shape)
        else:
            gaps, X = gaps.astype(X.dtype), np.where(gaps, X.dtype.type(0), X)
    weights, sums, least = moments.class_sums(X, codes, k, limit, sample_weight)
    known = np.repeat(weights[:, None], X.shape[1], axis=1)
    if gaps is not None:
        known -= moments.class_sums(gaps, codes, k, sample_weight=sample_weight)[1]
    return weights, sums, known, least


def _bernoulli_joint(
    X: Any, there: np.ndarray, absent: np.ndarray, never: Any, always: Any, prior: np.ndarray,
    threshold: float | None,
) -> np.ndarray:  # fmt: skip
    if is_sparse(X):
        flags, gaps = _flags(X.data, threshold)
        flags = type(X)((flags, X.indices, X.indptr), shape=X.shape)
        if gaps is not None:
            gaps = type(X)((gaps, X.indices, X.indptr), shape=X.shape)
        return _of_flags(flags, gaps, there, absent, never, always, prior)
    out = np.empty((len(X), len(prior)), dtype=np.promote_types(X.dtype, np.float64))
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, len(X), step):
        flags, gaps = _flags(X[i : i + step], threshold)
        out[i : i + step] = _of_flags(flags, gaps, there, absent, never, always, prior)
    return out


def _flags(X: np.ndarray, threshold: float | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Entries as 0 and 1 in float64, 0 where they are missing; and where these are."""
    gaps = np.isnan(X)
    found = (X if threshold is None else threshold < X).astype(np.float64)
    if not gaps.any():
        return found, None
    return np.where(gaps, 0.0, found), gaps.astype(np.float64)


def _of_flags(
    flags: Any, gaps: Any, there: np.ndarray, absent: np.ndarray, never: Any, always: Any,
    prior: np.ndarray,
) -> np.ndarray:  # fmt: skip
    found = linear_scores(flags, there - absent, absent.sum(axis=1) + prior)
    zeros = np.zeros(len(prior))
    if gaps is not None:  # of what is not there, the missing is not known
        found -= linear_scores(gaps, absent, zeros)
    if never is None and always is None:
        return found
    hits = np.zeros_like(found)
    if never is not None:
        hits += linear_scores(flags, never, zeros)
    if always is not None:
        hits += always.sum(axis=1) - linear_scores(flags, always, zeros)
        if gaps is not None:
            hits -= linear_scores(gaps, always, zeros)
    return least_hit(found, np.round(hits), prior)
