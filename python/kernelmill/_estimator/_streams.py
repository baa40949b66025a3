"""Streams, until every model is over `Rows`."""

from kernelmill._arrays import check_weights
from kernelmill._estimator._rows import is_stream  # noqa: F401
from kernelmill._estimator._validation import check_features, chunk_check
from kernelmill.stream import source


def open_stream(
    estimator, X, sample_weight=None, *, reset, chunk_rows=None, accept_sparse=True, allow_nan=False
):
    owner = type(estimator).__name__
    check = chunk_check(owner, accept_sparse=accept_sparse, allow_nan=allow_nan)
    opened = source(X, sample_weight, chunk_rows=chunk_rows, validate=check, owner=owner)
    check_features(estimator, opened.feature_names, opened.n_features, reset)
    return opened


def check_weight(estimator, sample_weight, X):
    if sample_weight is None:
        return None
    owner = type(estimator).__name__
    weight = check_weights(sample_weight, X.shape[0], X.dtype, owner, like=X)
    if not bool((weight > 0).any()):
        raise ValueError(f"{owner}: sample_weight must have a positive sum, got only zeros")
    return weight
