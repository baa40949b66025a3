"""AffinityPropagation: rows choose exemplars among themselves by messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import as_numbers
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._space import SparseMeasure
from kernelmill.ops import affinity, kmeans, pairwise, random

# Exchanges between two looks at callbacks, which see each one where there are some.
_SLICE = 10


class AffinityPropagation(ClusterMixin, Estimator):
    """Clusters around exemplars that rows choose by messages.

    With similarities S, whose diagonal has the preferences, responsibilities and availabilities

        r(i, j) = s(i, j) - max over j' != j of a(i, j') + s(i, j')
        a(i, j) = min(0, r(j, j) + sum over i' not in {i, j} of max(0, r(i', j)))
        a(j, j) = sum over i' != j of max(0, r(i', j))

    are exchanged until the rows with ``r(j, j) + a(j, j) > 0``, the exemplars, stay the same.

    Parameters
    ----------
    damping : float, default=0.5
        Share of the old messages in new ones, in [0.5, 1).
    max_iter : int, default=200
        Most exchanges.
    convergence_iter : int, default=15
        Exchanges without a change of exemplars that end the fit.
    preference : float or array-like of shape (n,), default=None
        How much rows want to be exemplars; None is the median similarity.
    affinity : {"euclidean", "precomputed"}, default="euclidean"
        Similarities: minus the squared distances, or X itself.

    Attributes
    ----------
    cluster_centers_indices_ : ndarray of shape (n_clusters,), int64
        Exemplars.
    cluster_centers_ : {ndarray, sparse matrix} of shape (n_clusters, d)
        Their rows, of the kind of X, unless similarities are precomputed.
    labels_ : ndarray of shape (n,), int64
        Clusters; -1 where the fit did not converge.
    affinity_matrix_ : ndarray of shape (n, n), float64
        Similarities.
    n_iter_ : int
        Exchanges.
    n_features_in_, feature_names_in_

    Notes
    -----
    A seeded change of similarities in their last digits decides between equals. Messages do not
    climb an objective. Memory and cost of an exchange O(n^2).

    References
    ----------
    Frey, Dueck (2007), "Clustering by passing messages between data points".

    Examples
    --------
    >>> from kernelmill.cluster import AffinityPropagation
    >>> X = [[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]]
    >>> model = AffinityPropagation(random_state=0).fit(X)
    >>> model.labels_, model.cluster_centers_indices_
    (array([0, 0, 0, 1, 1, 1]), array([1, 4]))
    >>> model.predict([[8.0]])
    array([1])
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_streams = False
    _parameters: ClassVar = {
        "damping": rule.Rule(lambda v: rule.is_real(v) and 0.5 <= v < 1, "a number in [0.5, 1)"),
        "max_iter": rule.integer(1),
        "convergence_iter": rule.integer(1),
        "preference": rule.any_of(
            rule.Rule(rule.is_real, "a number"), rule.array("(n,)"), rule.nothing()
        ),
        "affinity": rule.one_of("euclidean", "precomputed"),
        "verbose": rule.VERBOSE,
        "random_state": rule.RANDOM_STATE,
    }
    labels_: Any
    cluster_centers_indices_: Any

    def __init__(
        self,
        *,
        damping=0.5,
        max_iter=200,
        convergence_iter=15,
        copy=True,
        preference=None,
        affinity="euclidean",
        verbose=False,
        random_state=None,
    ):
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.affinity == "precomputed"
        tags.input_tags.sparse = self.affinity != "precomputed"
        return tags

    @property
    def _squares(self):
        return self.affinity != "precomputed"

    @fitting
    def fit(self, X, y=None):
        """Find the exemplars.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory; for ``affinity="precomputed"`` similarities, of shape (n, n), which must
            be dense.

        Raises
        ------
        ValueError
            If X is not finite, or similarities are not square.

        Warns
        -----
        ConvergenceWarning
            If exemplars still change after `max_iter` exchanges.
        """
        owner = type(self).__name__
        rows = self._rows(X, reset=True)
        S = similarities(rows.X, self.affinity, self.preference, owner)
        precomputed = self.affinity == "precomputed"

        def centers(exemplars: np.ndarray) -> dict[str, Any]:
            return {} if precomputed else {"cluster_centers_": rows.X[exemplars].copy()}

        with Progress(self, self.verbose, iterations=int(self.max_iter)) as progress:
            run = exchanged(
                S, progress, owner, damping=float(self.damping), most=int(self.max_iter),
                still=int(self.convergence_iter), seed=seed_of(self.random_state), more=centers
            )  # fmt: skip
        self.affinity_matrix_, self.n_iter_ = S, run.n_iter
        exemplars, labels = chosen(S, run.state)
        if not run.converged or not len(exemplars):
            warn(
                f"{owner}: exemplars did not settle in max_iter={self.max_iter} exchanges "
                "(Affinity propagation did not converge, this model may return degenerate cluster "
                "centers and labels; raise max_iter or damping)", ConvergenceWarning
            )  # fmt: skip
        self.cluster_centers_indices_, self.labels_ = exemplars, labels
        self.__dict__.update(centers(exemplars))
        return self

    def predict(self, X):
        """The nearest exemplar of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters; -1 if there are none.
        """
        check_is_fitted(self, "labels_")
        if not hasattr(self, "cluster_centers_"):
            raise ValueError(
                f"{type(self).__name__}: affinity must be 'euclidean' to predict, got "
                f"{self.affinity!r} (Predict method is not supported when affinity='precomputed')"
            )
        rows = self._rows(X, reset=False)
        centers = self.cluster_centers_
        if not centers.shape[0]:
            warn("AffinityPropagation: the fit did not converge, so all labels are -1 (This model "
                 "does not have any cluster centers)", ConvergenceWarning)  # fmt: skip
            return np.full(rows.count, -1)
        dense = centers.toarray() if is_sparse(centers) else centers
        return kmeans.assign(rows.X, dense.astype(np.float64))[0].astype(np.int64)

    def fit_predict(self, X, y=None):
        """Find the clusters, and return `labels_`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters.
        """
        return self.fit(X).labels_


def affinity_propagation(
    S,
    *,
    preference=None,
    convergence_iter=15,
    max_iter=200,
    damping=0.5,
    copy=True,
    verbose=False,
    return_n_iter=False,
    random_state=None,
):
    """Clusters around exemplars, from similarities.

    Parameters
    ----------
    S : array-like of shape (n, n)
        Similarities.
    preference : float or array-like of shape (n,), default=None
        As for `AffinityPropagation`, like all that follow.
    convergence_iter : int, default=15
        Exchanges without a change that end the search.
    max_iter : int, default=200
        Most exchanges.
    damping : float, default=0.5
        Share of the old messages.
    return_n_iter : bool, default=False
        Whether to return the number of exchanges.

    Returns
    -------
    cluster_centers_indices : ndarray of shape (n_clusters,), int64
        Exemplars.
    labels : ndarray of shape (n,), int64
        Clusters.
    n_iter : int
        Exchanges, if asked for.

    Examples
    --------
    >>> from kernelmill.cluster import affinity_propagation
    >>> affinity_propagation([[-1.0, -1, -9], [-1, -1, -9], [-9, -9, -1]], random_state=0)[1]
    array([0, 0, 1])
    """
    model = AffinityPropagation(
        preference=preference, convergence_iter=convergence_iter, max_iter=max_iter,
        damping=damping, verbose=verbose, random_state=random_state, affinity="precomputed"
    ).fit(S)  # fmt: skip
    found = model.cluster_centers_indices_, model.labels_
    return (*found, model.n_iter_) if return_n_iter else found


def similarities(X: Any, affinity: str, preference: Any, owner: str) -> np.ndarray:
    """Similarities with the preferences on their diagonal, float64 (n, n)."""
    if affinity == "precomputed":
        if X.shape[0] != X.shape[1]:
            raise ValueError(
                f"{owner}: X must be square for affinity='precomputed', got shape {X.shape} (The "
                "matrix of similarities must be a square array)"
            )
        if is_sparse(X):
            raise TypeError(
                f"{owner}: X must be dense for affinity='precomputed', got a sparse matrix of "
                f"shape {X.shape} (a pair that is not stored has no similarity)"
            )
        S = X.astype(np.float64)
    elif is_sparse(X):
        S = -SparseMeasure(X, squared=True)(X, None)
    else:
        rows = X.astype(np.float64)
        S = -pairwise.euclidean(rows, rows, True)
    n = len(S)
    if preference is None:
        wanted = np.array(np.median(S))
    else:
        wanted = as_numbers(preference, "preference", owner)
        if wanted.ndim and wanted.shape != (n,):
            raise ValueError(f"{owner}: preference must have shape ({n},), got {wanted.shape}")
    S[np.arange(n), np.arange(n)] = wanted
    return S


def exchanged(
    S: np.ndarray, progress: Any, owner: str, *, damping: float, most: int, still: int, seed: int,
    more: Callable[[np.ndarray], dict[str, Any]] = lambda exemplars: {},
) -> Run:  # fmt: skip
    """A run; a state begins with the evidence of each row to be an exemplar.

    `more` gives attributes of these exemplars, for callbacks.
    """
    n = len(S)
    off = S.ravel()[1:].reshape(n - 1, n + 1)[:, :-1] if n > 1 else S
    if n == 1 or (np.ptp(off) == 0 and np.ptp(np.diagonal(S)) == 0):
        alone = n == 1 or S[0, 0] > S[0, 1]  # of equals, one cluster
        if n > 1:
            warn(
                f"{owner}: all rows are equally similar, so {'each' if alone else 'the first'} is "
                "an exemplar (All samples have mutually equal similarities)", UserWarning
            )  # fmt: skip
        evidence = np.full(n, -1.0)
        evidence[: n if alone else 1] = 1.0
        return Run((evidence, 0), 0.0, [], 1, True)
    unit = float(np.abs(S).max())
    S = S + S * (np.finfo(float).eps * random.normal(seed, 0, 0, n * n).reshape(n, n))
    S += np.finfo(float).eps * unit * 1e-3 * random.normal(seed, 1, 0, n * n).reshape(n, n)

    R, A = np.zeros((n, n)), np.zeros((n, n))

    def advance(state: tuple, most: int) -> Step:
        evidence, same = state
        # Not beyond the exchange that may be the last.
        taken = min(most, _SLICE, max(1, still - 1 - same))
        finished = False
        for after in affinity.exchange(S, R, A, damping, taken):
            same = same + 1 if ((after > 0) == (evidence > 0)).all() else 0
            evidence = after
            finished = same + 1 >= still and bool((evidence > 0).any())
        return Step((evidence, same), None, finished, taken)

    def attributes(state: tuple, n_iter: int) -> dict:
        exemplars, labels = chosen(S, state)
        found = {"cluster_centers_indices_": exemplars, "labels_": labels, "n_iter_": n_iter}
        return {**found, **more(exemplars)}

    return climb(
        progress, lambda _: (np.full(n, -1.0), 0), advance, max_iter=most, attributes=attributes
    )


def chosen(S: np.ndarray, state: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Exemplars and labels: the best of each cluster, and of the exemplars for each row."""
    exemplars = np.flatnonzero(state[0] > 0)
    if not len(exemplars):
        return exemplars, np.full(len(S), -1)
    labels = S[:, exemplars].argmax(axis=1)
    labels[exemplars] = np.arange(len(exemplars))
    for c in range(len(exemplars)):
        own = np.flatnonzero(labels == c)
        exemplars[c] = own[S[np.ix_(own, own)].sum(axis=0).argmax()]
    exemplars = np.sort(exemplars)
    labels = S[:, exemplars].argmax(axis=1)
    labels[exemplars] = np.arange(len(exemplars))
    return exemplars, labels


complete(affinity_propagation, WORDS)
