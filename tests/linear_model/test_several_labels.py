"""Several labels a row: scikit-learn's ways to make them of single ones, over models of ours."""

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.datasets import load_digits
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, RegressorChain

import kernelmill.linear_model
from kernelmill.discriminant_analysis import LinearDiscriminantAnalysis
from kernelmill.linear_model import LogisticRegression, Ridge, RidgeClassifier
from kernelmill.naive_bayes import MultinomialNB

X, DIGIT = load_digits(return_X_y=True)
X, DIGIT = X[:600], DIGIT[:600]
Y = np.stack([DIGIT % 2 == 1, DIGIT >= 5, np.isin(DIGIT, [0, 6, 8, 9])], axis=1).astype(int)
NEW = X[400:]


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(C=0.01), RidgeClassifier(), LinearDiscriminantAnalysis(), MultinomialNB()],
    ids=lambda model: type(model).__name__,
)
def test_each_label_has_a_model(model):
    alone = np.stack([model.fit(X[:400], y[:400]).predict(NEW) for y in Y.T], axis=1)
    for several in (OneVsRestClassifier(model), MultiOutputClassifier(model)):
        np.testing.assert_array_equal(several.fit(X[:400], Y[:400]).predict(NEW), alone)
    chain = ClassifierChain(model).fit(X[:400], Y[:400])
    np.testing.assert_array_equal(chain.predict(NEW)[:, 0], alone[:, 0])
    second = model.fit(np.column_stack([X[:400], Y[:400, 0]]), Y[:400, 1])
    want = second.predict(np.column_stack([NEW, alone[:, 0]]))
    np.testing.assert_array_equal(chain.predict(NEW)[:, 1], want)


def test_probabilities_of_labels_are_those_of_scikit_learn():
    ours, theirs = (
        OneVsRestClassifier(made.LogisticRegression(C=0.01, tol=1e-10, max_iter=2000))
        .fit(X[:400] / 16, Y[:400])
        .predict_proba(NEW / 16)
        for made in (kernelmill.linear_model, sklearn.linear_model)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_chain_of_regressions():
    targets = np.stack([X[:, 20], X[:, 30] + X[:, 20]], axis=1)
    rows = np.delete(X, [20, 30], axis=1)
    chain = RegressorChain(Ridge(alpha=1.0)).fit(rows, targets)
    want = Ridge(alpha=1.0).fit(np.column_stack([rows, targets[:, 0]]), targets[:, 1]).predict(
        np.column_stack([rows, chain.predict(rows)[:, 0]])
    )
    np.testing.assert_allclose(chain.predict(rows)[:, 1], want, rtol=1e-8)
