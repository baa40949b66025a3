"""Events and categories: shares with beta and Dirichlet priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._posterior import log_of
from kernelmill._estimator._rows import Rows
from kernelmill.estimation._base import (
    POSITIVE,
    Conjugate,
    Numeric,
    Parameters,
    log_rising,
)
from kernelmill.estimation._words import DENSE
from kernelmill.ops import moments


def entry_sums(chunk: Rows) -> Parameters:
    """Weight of the rows, and weighted sums of the features (d,)."""
    codes = np.zeros(chunk.count, dtype=np.int64)
    weight, sums, _ = moments.class_sums(chunk.X, codes, 1, np.nan, chunk.weight)
    return {"weight": weight[0], "sum": sums[0]}


def plus(before: Parameters | None, part: Parameters) -> Parameters:
    """Sums of both."""
    return part if before is None else {name: before[name] + part[name] for name in part}


def peak(concentration: np.ndarray) -> np.ndarray:
    """Modes of Dirichlet distributions along the last axis.

    Parameters below 1 have their poles at the edge, where a share is 0; where none is above 1, the
    largest has it all, and where all are 1 each point is a mode and the mean stands for them.
    """
    over = np.maximum(concentration - 1, 0.0)
    total = over.sum(axis=-1, keepdims=True)
    first = np.argmax(concentration, axis=-1)[..., None] == np.arange(concentration.shape[-1])
    flat = (concentration == 1).all(axis=-1, keepdims=True)
    edge = np.where(flat, 1 / concentration.shape[-1], first)
    return np.where(total > 0, over / np.where(total > 0, total, 1.0), edge)


def _is_binary(X: np.ndarray) -> np.ndarray:
    return (X == 0) | (X == 1)


def _is_category(X: np.ndarray) -> np.ndarray:
    return (X >= 0) & (np.floor(X) == X) & (X < 1 << 24)


def _event(x: np.ndarray, j: np.ndarray, there: np.ndarray, absent: np.ndarray) -> np.ndarray:
    return np.where(x > 0, there[j], absent[j])


class Bernoulli(Numeric):
    """Events that occur or not, each feature with a probability that has a beta prior.

    Parameters
    ----------
    alpha, beta : float or array-like of shape (d,), default=1.0
        Parameters of the prior: it counts as `alpha` rows with the event and `beta` without it.
        With 1 and 1 all probabilities are alike, and the mode is that of the likelihood.

    Attributes
    ----------
    posterior_ : dict of str to ndarray of shape (d,), float64
        ``"alpha"`` and ``"beta"``, of the posterior.
    prior_, map_, maximum_likelihood_, posterior_mean_, predictive_mean_, predictive_variance_
    log_evidence_, statistics_, n_samples_seen_, n_features_in_, feature_names_in_

    See Also
    --------
    Categorical : For more than two values.
    kernelmill.naive_bayes.BernoulliNB : A classifier of such features.

    Notes
    -----
    With s rows of n in which the event occurred the posterior is the beta distribution of
    ``alpha + s`` and ``beta + n - s``; the probability of the next event is its mean. One pass, in
    O(n d), of CSR rows in O(what they store).

    References
    ----------
    Bishop (2006), "Pattern Recognition and Machine Learning", 2.1.

    Examples
    --------
    >>> from kernelmill.estimation import Bernoulli
    >>> model = Bernoulli(alpha=2.0, beta=2.0).fit([[1.0], [1.0], [0.0], [1.0]])
    >>> model.posterior_["alpha"].item(), model.posterior_["beta"].item()
    (5.0, 3.0)
    >>> model.maximum_likelihood_["probability"].item(), model.predictive_mean_.item()
    (0.75, 0.625)
    >>> low, high = model.credible_interval(0.9)["probability"]
    >>> bool(low < 0.625 < high)
    True
    """

    _accepts_sparse: ClassVar = True
    _squares: ClassVar = False
    _support = (_is_binary, "zeros and ones")
    _whole: ClassVar = True
    _parameters: ClassVar = {"alpha": POSITIVE, "beta": POSITIVE}

    def __init__(self, *, alpha=1.0, beta=1.0):
        self._set_parameters(locals())

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        return plus(before, entry_sums(chunk))

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        return {name: self._hyper(name, d) for name in ("alpha", "beta")}

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        absent = np.maximum(statistics["weight"] - statistics["sum"], 0.0)
        return {"alpha": prior["alpha"] + statistics["sum"], "beta": prior["beta"] + absent}

    def _log_evidence(self) -> float:
        from scipy.special import betaln

        (a, b), (a0, b0) = self.posterior_.values(), self.prior_.values()
        return (betaln(a, b) - betaln(a0, b0)).sum()

    def _likeliest(self, statistics: Parameters) -> Parameters:
        return {"probability": np.minimum(statistics["sum"] / statistics["weight"], 1.0)}

    def _mode(self, posterior: Parameters) -> Parameters:
        return {"probability": peak(np.stack([*posterior.values()], axis=-1))[..., 0]}

    def _mean(self, posterior: Parameters) -> Parameters:
        return {"probability": posterior["alpha"] / (posterior["alpha"] + posterior["beta"])}

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        from scipy.stats import beta

        return {"probability": beta(posterior["alpha"], posterior["beta"])}

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        p = parameters["probability"]
        return self._of_entries(_event, log_of(p), log_of(1 - p))

    def _predictive_density(self) -> tuple[Callable, tuple]:
        a, b = self.posterior_["alpha"], self.posterior_["beta"]
        return self._of_entries(_event, np.log(a / (a + b)), np.log(b / (a + b)))

    def _predictive(self) -> Any:
        from scipy.stats import bernoulli

        return bernoulli(self.posterior_mean_["probability"])

    def _predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        p, total = self.posterior_mean_["probability"], sum(self.posterior_.values())
        return p, p * (self.posterior_["beta"] / total)


def _category(x: np.ndarray, j: np.ndarray, logs: np.ndarray) -> np.ndarray:
    known = x < logs.shape[1]
    return np.where(known, logs[j, np.where(known, x, 0).astype(np.int64)], -np.inf)


class Categorical(Conjugate):
    """Categories, numbered from 0 on; those of each feature have shares with a Dirichlet prior.

    Parameters
    ----------
    n_categories : int, optional
        Number of categories of each feature; by default one more than the largest that occurs in
        any of them, also in later calls of ``partial_fit``.
    alpha : float or array-like of shape (n_categories,), default=1.0
        Parameters of the prior: it counts as so many rows of each category. With 1 all shares are
        alike, and the mode is that of the likelihood.

    Attributes
    ----------
    posterior_ : dict of str to ndarray of shape (d, n_categories), float64
        ``"alpha"``, of the posterior.
    n_categories_ : int
        Number of categories of each feature.
    prior_, map_, maximum_likelihood_, posterior_mean_, log_evidence_, statistics_, n_samples_seen_
    n_features_in_, feature_names_in_

    See Also
    --------
    Bernoulli : For two values.
    kernelmill.naive_bayes.CategoricalNB : A classifier of such features.

    Notes
    -----
    With n_v rows of category v the posterior is the Dirichlet distribution of ``alpha_v + n_v``;
    the probabilities of the next category are its means, ``posterior_mean_["probability"]``. A
    category that did not occur and was not announced has none. One pass, in O(n d).

    References
    ----------
    Bishop (2006), "Pattern Recognition and Machine Learning", 2.2.

    Examples
    --------
    >>> from kernelmill.estimation import Categorical
    >>> model = Categorical(n_categories=3, alpha=2.0).fit([[0], [2], [2], [0], [2]])
    >>> model.posterior_["alpha"].tolist()
    [[4.0, 2.0, 5.0]]
    >>> model.map_["probability"].round(3).tolist()
    [[0.375, 0.125, 0.5]]
    """

    n_categories_: int

    _words = DENSE
    _squares: ClassVar = False
    _support = (_is_category, "categories, whole numbers from 0 to 16777215")
    _parameters: ClassVar = {
        "n_categories": rule.any_of(rule.integer(1), rule.nothing()),
        "alpha": rule.any_of(rule.real(0, above=True), rule.array("(n_categories,)")),
    }

    def __init__(self, *, n_categories=None, alpha=1.0):
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        return tags

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        d = chunk.n_features
        most = int(chunk.X.max()) + 1
        if self.n_categories is not None:
            if most > self.n_categories:
                raise ValueError(
                    f"{chunk.owner}: X must hold categories from 0 to n_categories - 1 = "
                    f"{self.n_categories - 1}, got {most - 1}"
                )
            most = self.n_categories
        if before is not None:
            most = max(most, before["count"].shape[1])
        count = np.zeros((d, most))
        if before is not None:
            count[:, : before["count"].shape[1]] = before["count"]
        tallies = count.reshape(1, -1)
        starts = np.arange(d + 1) * most
        codes = np.zeros(chunk.count, dtype=np.int64)
        moments.class_tallies(chunk.X, codes, starts, tallies, chunk.weight)
        return {"weight": count[0].sum(), "count": count}

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        self.n_categories_ = k = statistics["count"].shape[1]
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.shape not in ((), (k,)) or not ((alpha > 0) & (alpha < np.inf)).all():
            raise ValueError(
                f"Categorical: alpha must be a positive number or one for each of {k} categories, "
                f"got {rule.shown(self.alpha)} (set n_categories)"
            )
        return {"alpha": np.broadcast_to(alpha, (d, k)).copy()}

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        return {"alpha": prior["alpha"] + statistics["count"]}

    def _log_evidence(self) -> float:
        prior, count = self.prior_["alpha"], self.statistics_["count"]
        of_each = log_rising(prior, count).sum()
        return of_each - log_rising(prior.sum(axis=1), count.sum(axis=1)).sum()

    def _likeliest(self, statistics: Parameters) -> Parameters:
        count = statistics["count"]
        return {"probability": count / count.sum(axis=1, keepdims=True)}

    def _mode(self, posterior: Parameters) -> Parameters:
        return {"probability": peak(posterior["alpha"])}

    def _mean(self, posterior: Parameters) -> Parameters:
        alpha = posterior["alpha"]
        return {"probability": alpha / alpha.sum(axis=1, keepdims=True)}

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        from scipy.stats import beta

        alpha = posterior["alpha"]
        rest = [np.delete(alpha, v, axis=1).sum(axis=1) for v in range(alpha.shape[1])]
        # With one category its share is 1: the limit of no rest.
        others = np.maximum(np.stack(rest, axis=1), np.finfo(np.float64).tiny)
        return {"probability": beta(alpha, others)}

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        return self._of_entries(_category, log_of(parameters["probability"]))

    def _predictive_density(self) -> tuple[Callable, tuple]:
        return self._density(self.posterior_mean_)

    def _draw(self, draws: np.random.Generator, n: int) -> np.ndarray:
        steps = np.cumsum(self.posterior_mean_["probability"], axis=1)
        u = draws.random((n, len(steps))) * steps[:, -1]
        return np.stack(
            [np.searchsorted(one, u[:, j], side="right") for j, one in enumerate(steps)], axis=1
        )

    def _draw_parameters(self, draws: np.random.Generator, n: int) -> Parameters:
        alpha = self.posterior_["alpha"]
        return {"probability": np.stack([draws.dirichlet(one, n) for one in alpha], axis=1)}
