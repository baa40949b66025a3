"""A fit happens or it does not; warnings point at the user's line."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn


class Model(BaseEstimator):
    _parameters = {"k": rule.integer(1)}  # noqa: RUF012

    def __init__(self, k=1, warm_start=False):
        self.k = k
        self.warm_start = warm_start

    @fitting
    def fit(self, X, y=None, sample_weight=None, fail=None):
        """Fit."""
        self.n_features_in_ = len(X)
        if fail is not None:
            raise fail
        self.coef_ = np.array(X)
        return self


@pytest.mark.parametrize("fail", [ValueError("x"), KeyboardInterrupt(), MemoryError()])
def test_failed_fit_leaves_the_model_as_it_was(fail):
    model = Model()
    with pytest.raises(type(fail)):
        model.fit([1], fail=fail)
    assert vars(model) == {"k": 1, "warm_start": False}
    model.fit([1, 2])
    before = dict(vars(model))
    with pytest.raises(type(fail)):
        model.fit([1, 2, 3], fail=fail)
    assert vars(model) == before


def test_interrupted_fit_with_warm_start_keeps_what_it_reached_and_nothing_older():
    model = Model(warm_start=True).fit([1, 2])
    model.labels_ = model._cache = [0, 1]
    interrupt = KeyboardInterrupt()
    interrupt.attributes = {"coef_": 3.0}
    with pytest.raises(KeyboardInterrupt):
        model.fit([1, 2, 3], fail=interrupt)
    expected = {"k": 1, "warm_start": True, "_cache": [0, 1]}
    assert vars(model) == {**expected, "n_features_in_": 3, "coef_": 3.0, "interrupted_": True}
    assert not hasattr(model.fit([1]), "interrupted_")


def test_parameters_are_checked_when_fitted():
    model = Model(k=0)
    with pytest.raises(ValueError, match=r"^Model: k must be"):
        model.fit([1])


def test_signature_and_name_survive():
    assert Model.fit.__name__ == "fit"
    assert Model.fit.__doc__ == "Fit."


def test_warning_points_here():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("look here", UserWarning)
    assert [w.filename for w in caught] == [__file__]


def test_warning_passes_over_scikit_learn():
    from sklearn.pipeline import make_pipeline

    from kernelmill.cluster import KMeans

    X = np.zeros((4, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        KMeans(2).fit_transform(X)  # scikit-learn wraps fit_transform
        make_pipeline(KMeans(2)).fit(X)
    assert [w.filename for w in caught] == [__file__] * 2
