"""LatentDirichletAllocation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import gammaln, psi
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import decomposition

_SHAPE = 100.0  # of the gamma numbers of a start, whose mean is 1, as in the paper's code


def mean_logs(parameters: np.ndarray) -> np.ndarray:
    """``E[log p]`` of Dirichlet distributions, one in each row of parameters."""
    return psi(parameters) - psi(parameters.sum(1))[:, None]


def _divergence(parameters: np.ndarray, logs: np.ndarray, prior: float) -> float:
    """``E[log p - log q]`` of rows with these posterior parameters and this symmetric prior."""
    n, k = parameters.shape
    value = float(((prior - parameters) * logs).sum() + gammaln(parameters).sum())
    value -= n * k * float(gammaln(prior))
    return value + float((gammaln(prior * k) - gammaln(parameters.sum(1))).sum())


class LatentDirichletAllocation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Topics of counts: each row mixes topics, each topic is a distribution over features.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics k.
    doc_topic_prior : float or None, default=None
        Parameter of the Dirichlet prior of the topics of a row; 1 / k by default.
    topic_word_prior : float or None, default=None
        Parameter of the Dirichlet prior of the features of a topic; 1 / k by default.
    learning_method : {"batch", "online"}, default="batch"
        All rows in each iteration, or batches of them.
    learning_decay : float, default=0.7
        Exponent of the steps of the online method, above 0.5 for convergence.
    learning_offset : float, default=10.0
        Makes its first steps smaller.
    max_iter : int, default=10
        Most passes over X.
    batch_size : int, default=128
        Rows of a batch.
    evaluate_every : int, default=-1
        Passes between two evaluations of the perplexity, none by default.
    total_samples : int, default=1000000
        Number of all rows, for ``partial_fit``.
    perp_tol : float, default=0.1
        Decrease of the perplexity that ends the iteration, where it is evaluated.
    mean_change_tol : float, default=1e-3
        Mean change that ends the iteration of a row.
    max_doc_update_iter : int, default=100
        Most iterations of a row.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d), float64
        Parameters of the posterior of each topic: counts of the features, and the prior. Divided by
        their sum they are its expected distribution.
    exp_dirichlet_component_ : ndarray of shape (n_components, d), float64
        ``exp E[log b]`` of the topics.
    n_batch_iter_ : int
        Batches of the online method, and 1.
    n_iter_ : int
        Passes over X.
    bound_ : float
        Perplexity of the rows of ``fit``.
    doc_topic_prior_, topic_word_prior_ : float
        The parameters of the priors.
    random_state_ : int
        Seed of the starts.
    n_features_in_, feature_names_in_

    See Also
    --------
    NMF : Topics without a prior.

    Notes
    -----
    The variational posterior of a row's topics is a Dirichlet distribution, and so is that of a
    topic; the E step iterates the first for each row, the M step adds up what rows say of the
    second. The bound of the evidence never decreases in the batch method. Cost of an iteration of a
    row 4 k flops for each feature that it counts.

    References
    ----------
    Blei, Ng and Jordan (2003), "Latent Dirichlet allocation". Hoffman, Blei and Bach (2010),
    "Online learning for latent Dirichlet allocation".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import LatentDirichletAllocation
    >>> counts = np.array([[9, 8, 0, 0], [7, 9, 1, 0], [0, 0, 9, 8], [1, 0, 8, 9]])
    >>> model = LatentDirichletAllocation(2, random_state=0).fit(counts)
    >>> shares = model.transform(counts)
    >>> bool((shares[:2].argmax(1) != shares[2:].argmax(1)).all()), shares.sum(1).round(6).tolist()
    (True, [1.0, 1.0, 1.0, 1.0])
    """

    _accepts_sparse = True
    _accepts_streams = False
    _words = WORDS.extended(
        arguments={"sub_sampling": ("bool", "Whether X is a part of `total_samples` rows.")},
        parameters={"verbose": ("int", "Whether to show a progress bar.")},
    )
    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "doc_topic_prior": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "topic_word_prior": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "learning_method": rule.one_of("batch", "online"),
        "learning_decay": rule.real(0, high=1),
        "learning_offset": rule.real(1),
        "max_iter": rule.integer(0),
        "batch_size": rule.integer(1),
        "evaluate_every": rule.Rule(rule.is_integer, "a whole number"),
        "total_samples": rule.real(0, above=True),
        "perp_tol": rule.real(0),
        "mean_change_tol": rule.real(0),
        "max_doc_update_iter": rule.integer(0),
        "verbose": rule.VERBOSE,
        "random_state": rule.RANDOM_STATE,
    }
    components_: np.ndarray
    n_batch_iter_: int

    def __init__(
        self, n_components=10, *, doc_topic_prior=None, topic_word_prior=None,
        learning_method="batch", learning_decay=0.7, learning_offset=10.0, max_iter=10,
        batch_size=128, evaluate_every=-1, total_samples=1e6, perp_tol=1e-1, mean_change_tol=1e-3,
        max_doc_update_iter=100, n_jobs=None, verbose=0, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def _counts(self, X: Any, reset: bool) -> Rows:
        rows = self._rows(X, reset=reset)
        stored = rows.X.data if is_sparse(rows.X) else rows.X
        if stored.size and stored.min() < 0:
            raise ValueError(
                f"{rows.owner}: X must not have negative entries, got {stored.min():g} (Negative "
                f"values in data passed to {rows.owner})"
            )
        return rows

    def _begin(self, d: int) -> tuple[np.ndarray, int]:
        k = self.n_components
        self.doc_topic_prior_ = self.doc_topic_prior or 1.0 / k
        self.topic_word_prior_ = self.topic_word_prior or 1.0 / k
        self.random_state_ = seed_of(self.random_state)
        return generator(self.random_state_, 0).gamma(_SHAPE, 1 / _SHAPE, (k, d)), 1

    @fitting
    def fit(self, X, y=None):
        """Find the topics.

        Raises
        ------
        ValueError
            If X or a parameter does not fit, or X has negative entries.
        """
        rows = self._counts(X, reset=True)
        X, n = to_host(rows.X), rows.count
        started = self._begin(rows.n_features)
        online, size = self.learning_method == "online", self.batch_size
        perplexities: list[float] = []
        count = 0

        def advance(state: tuple, most: int) -> Step:
            nonlocal count
            components, batches = state
            count += 1
            if online:
                for i in range(0, n, size):
                    components = self._online(X[i : i + size], components, batches, n, count)
                    batches += 1
            else:
                statistics, _ = self._expected(X, np.exp(mean_logs(components)), count)
                components = self.topic_word_prior_ + statistics
                batches += 1
            if self.evaluate_every > 0 and count % self.evaluate_every == 0:
                perplexities.append(self._perplexity(X, None, components))
                small = len(perplexities) > 1 and (
                    abs(perplexities[-2] - perplexities[-1]) < self.perp_tol
                )
                return Step((components, batches), perplexities[-1], small)
            return Step((components, batches))

        learned = lambda state, done: {  # noqa: E731 - for the climb alone
            "components_": state[0], "exp_dirichlet_component_": np.exp(mean_logs(state[0])),
            "n_batch_iter_": state[1], "n_iter_": done,
        }  # fmt: skip
        with Progress(self, self.verbose, iterations=self.max_iter, X=X) as progress:
            run = climb(
                progress, lambda number: started, advance, max_iter=self.max_iter,
                attributes=learned,
            )  # fmt: skip
        self.__dict__.update(learned(run.state, run.n_iter))
        self.bound_ = self._perplexity(X, None, self.components_)
        return self

    @fitting
    def partial_fit(self, X, y=None):
        """Update the topics by one more set of rows, batch by batch.

        Raises
        ------
        ValueError
            If X does not fit, has negative entries, or other features than before.
        """
        fresh = not hasattr(self, "components_")
        rows = self._counts(X, reset=fresh)
        X = to_host(rows.X)
        components, batches = (
            self._begin(rows.n_features) if fresh else (self.components_, self.n_batch_iter_)
        )
        for i in range(0, rows.count, self.batch_size):
            part = X[i : i + self.batch_size]
            components = self._online(part, components, batches, self.total_samples, batches)
            batches += 1
        self.components_, self.n_batch_iter_ = components, batches
        self.exp_dirichlet_component_ = np.exp(mean_logs(components))
        return self

    def _expected(
        self, X: Any, topics: np.ndarray, start: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expected counts of features in topics, and the parameters of the rows' topics.

        Parameters
        ----------
        topics : ndarray of shape (k, d)
            ``exp E[log b]``.
        start : int, optional
            Number of the random start; without it all rows start alike.
        """
        n, k = X.shape[0], len(topics)
        if start is None:
            gamma = np.ones((n, k))
        else:
            gamma = generator(self.random_state_, start).gamma(_SHAPE, 1 / _SHAPE, (n, k))
        prior = np.full(k, self.doc_topic_prior_)
        found = decomposition.topics(
            X, np.ascontiguousarray(topics.T), prior, gamma, self.mean_change_tol,
            self.max_doc_update_iter,
        )  # fmt: skip
        return found.T * topics, gamma

    def _online(
        self, X: Any, components: np.ndarray, batches: int, total: float, start: int
    ) -> np.ndarray:
        step = (self.learning_offset + batches) ** -self.learning_decay
        statistics, _ = self._expected(X, np.exp(mean_logs(components)), 1000003 * start + batches)
        whole = self.topic_word_prior_ + total / X.shape[0] * statistics
        return (1 - step) * components + step * whole

    def fit_transform(self, X, y=None, *, normalize=True):
        """Find the topics, and give the shares of the topics in the rows.

        Parameters
        ----------
        normalize : bool, default=True
            As in ``transform``.

        Returns
        -------
        shares : ndarray of shape (n, n_components), dtype of X
            They add up to 1 in each row if normalised.
        """
        return self.fit(X).transform(X, normalize=normalize)

    def transform(self, X, *, normalize=True):
        """Expected shares of the topics in rows.

        Parameters
        ----------
        normalize : bool, default=True
            Whether to divide the parameters of the posterior by their sum.

        Returns
        -------
        shares : ndarray of shape (n, n_components), dtype of X
            They add up to 1 in each row if normalised.
        """
        check_is_fitted(self)
        rows = self._counts(X, reset=False)
        _, gamma = self._expected(to_host(rows.X), self.exp_dirichlet_component_)
        if normalize:
            gamma /= gamma.sum(1)[:, None]
        return gamma.astype(rows.dtype, copy=False)

    def score(self, X, y=None):
        """A lower bound of the log-likelihood of rows.

        Returns
        -------
        score : float
            A larger one is better.
        """
        check_is_fitted(self)
        X = to_host(self._counts(X, reset=False).X)
        return self._bound(X, None, self.components_, False)

    def perplexity(self, X, sub_sampling=False):
        """``exp(-bound / number of words)`` of rows: a bound of the perplexity.

        Returns
        -------
        perplexity : float
            A smaller one is better; the number of words for a uniform guess.
        """
        check_is_fitted(self)
        X = to_host(self._counts(X, reset=False).X)
        return self._perplexity(X, None, self.components_, sub_sampling)

    def _perplexity(
        self, X: Any, gamma: Any, components: np.ndarray, sub_sampling: bool = False
    ) -> float:
        words = float((X.data if is_sparse(X) else X).sum(dtype=np.float64))  # SciPy sorts X
        if sub_sampling:
            words *= self.total_samples / X.shape[0]
        return float(np.exp(-self._bound(X, gamma, components, sub_sampling) / (words or 1.0)))

    def _bound(self, X: Any, gamma: Any, components: np.ndarray, sub_sampling: bool) -> float:
        logs = mean_logs(components)
        topics = np.exp(logs)
        if gamma is None:
            _, gamma = self._expected(X, topics)
        of_rows = mean_logs(gamma)
        theta = np.exp(of_rows)
        value = 0.0
        step = max(1, (1 << 20) // max(1, X.shape[1]))
        for i in range(0, X.shape[0], step):
            part = X[i : i + step]
            if is_sparse(part):
                rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
                model = np.einsum("ij,ij->i", theta[i + rows], topics.T[part.indices])
                own, model = part.data[model > 0], model[model > 0]
            else:
                model = theta[i : i + step] @ topics
                own, model = part[part > 0], model[part > 0]
            value += float((own * np.log(np.maximum(model, np.finfo(float).tiny))).sum())
        value += _divergence(gamma, of_rows, self.doc_topic_prior_)
        if sub_sampling:
            value *= self.total_samples / X.shape[0]
        return value + _divergence(components, logs, self.topic_word_prior_)
