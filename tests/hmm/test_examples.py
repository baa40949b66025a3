"""Known answers: published fits, real series, real English, and a vector-quantised pipeline."""

import re

import numpy as np
import pytest
from sklearn import datasets
from sklearn.metrics import adjusted_rand_score

from kernelmill.cluster import KMeans
from kernelmill.hmm import (
    CategoricalHMM,
    GaussianHMM,
    MultinomialHMM,
    PoissonHMM,
    VariationalGaussianHMM,
)

# Earthquakes of magnitude 7 and more, world, each year from 1900 to 2006 (US Geological Survey).
EARTHQUAKES = [
    *(13, 14, 8, 10, 16, 26, 32, 27, 18, 32, 36, 24, 22, 23, 22, 18, 25, 21, 21, 14, 8, 11, 14),
    *(23, 18, 17, 19, 20, 22, 19, 13, 26, 13, 14, 22, 24, 21, 22, 26, 21, 23, 24, 27, 41, 31, 27),
    *(35, 26, 28, 36, 39, 21, 17, 22, 17, 19, 15, 34, 10, 15, 22, 18, 15, 20, 15, 22, 19, 16, 30),
    *(27, 29, 23, 20, 16, 21, 21, 25, 16, 18, 15, 18, 14, 10, 15, 8, 15, 6, 11, 8, 7, 18, 16, 13),
    *(12, 13, 20, 15, 16, 12, 18, 15, 16, 13, 15, 16, 11, 11),
]
# Zucchini, MacDonald, Langrock, "Hidden Markov models for time series", chapter 4: minus the
# log-likelihood that EM reaches with m states, and the rates.
PUBLISHED = {
    1: (391.9189, [19.364]),
    2: (341.8787, [15.421, 26.018]),
    3: (328.5275, [13.134, 19.713, 29.710]),
}


def best_of(fits, X):
    return max(fits, key=lambda model: model.score(X))


@pytest.mark.parametrize("K", sorted(PUBLISHED))
def test_earthquakes_give_the_published_numbers(K):
    X = np.array(EARTHQUAKES)[:, None]
    model = best_of(
        (PoissonHMM(K, random_state=s, n_iter=2000, tol=1e-9).fit(X) for s in range(8)), X
    )
    log_likelihood, rates = PUBLISHED[K]
    assert -model.score(X) == pytest.approx(log_likelihood, abs=1e-4)
    np.testing.assert_allclose(np.sort(model.lambdas_[:, 0]), rates, atol=1e-3)


def test_bic_finds_two_or_three_rates_of_earthquakes():
    X = np.array(EARTHQUAKES)[:, None]
    found = {
        K: best_of((PoissonHMM(K, random_state=s, n_iter=500).fit(X) for s in range(8)), X).bic(X)
        for K in (1, 2, 3, 4)
    }
    assert min(found, key=found.get) in (2, 3)


def english():
    """Text that ships with scikit-learn: letters as 0 to 25, everything else as 26."""
    names = ("iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud")
    text = " ".join(getattr(datasets, f"load_{name}")().DESCR for name in names)
    text = re.sub("[^a-z]+", " ", text.lower())
    codes = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
    return np.where(codes == ord(" "), 26, codes - ord("a"))[:, None]


def test_vowels_and_consonants_separate():
    """Two hidden states behind English letters are vowels and consonants, unasked."""
    X = english()
    model = best_of((CategoricalHMM(2, random_state=s, n_iter=300).fit(X) for s in range(3)), X)
    more = model.emissionprob_.argmax(axis=0)  # the state that each letter is likelier in
    letters = "abcdefghijklmnopqrstuvwxyz"
    vowels = {letter for letter, state in zip(letters, more, strict=False) if state == more[0]}
    assert vowels == set("aeiouy")
    assert more[26] == more[0]  # a space stands where a vowel could


def test_the_nile_falls_in_1899():
    statsmodels = pytest.importorskip("statsmodels.api", reason="needs statsmodels")
    nile = statsmodels.datasets.nile.load_pandas().data
    X = nile[["volume"]].to_numpy()
    model = GaussianHMM(2, init_params="mc", n_iter=200, tol=1e-6, random_state=0)
    model.startprob_ = np.array([1.0, 0.0])
    model.transmat_ = np.array([[0.99, 0.01], [0.0, 1.0]])  # from left to right, once
    states = model.fit(X).predict(X)
    [change] = np.flatnonzero(np.diff(states)) + 1
    assert nile["year"][change] == 1899
    assert model.transmat_[1, 0] == 0
    np.testing.assert_allclose(model.means_[:, 0], [1097.2, 850.8], atol=0.1)


def test_growth_became_calmer_in_the_eighties():
    statsmodels = pytest.importorskip("statsmodels.api", reason="needs statsmodels")
    macro = statsmodels.datasets.macrodata.load_pandas().data
    growth = 100 * np.diff(np.log(macro["realgdp"]))[:, None]
    model = best_of(
        (GaussianHMM(2, random_state=s, n_iter=500, tol=1e-6).fit(growth) for s in range(4)), growth
    )
    calm = model.covars_[:, 0, 0].argmin()
    assert model.covars_[calm, 0, 0] < model.covars_[1 - calm, 0, 0] / 5
    is_calm = model.predict(growth) == calm
    year = macro["year"].to_numpy()[1:]
    # The recessions of 1990 and 2001 are not calm, hence not all of it.
    assert is_calm[(year >= 1985) & (year < 2007)].mean() > 0.8
    assert is_calm[year < 1984].mean() < 0.5


def test_loaded_dice():
    """A dealer who sometimes swaps in a die that shows six half the time."""
    dealer = CategoricalHMM(2)
    dealer.startprob_ = np.array([1.0, 0.0])
    dealer.transmat_ = np.array([[0.95, 0.05], [0.1, 0.9]])
    dealer.emissionprob_ = np.array([[1 / 6] * 6, [1 / 10] * 5 + [1 / 2]])
    rolls, loaded = dealer.sample(30_000, random_state=13)
    learner = best_of(
        (
            CategoricalHMM(2, random_state=s, n_iter=200, tol=1e-2).fit(rolls[:15_000])
            for s in range(4)
        ),
        rolls[:15_000],
    )
    j = learner.emissionprob_[:, 5].argmax()
    np.testing.assert_allclose(learner.emissionprob_[j, 5], 0.5, atol=0.04)
    np.testing.assert_allclose(learner.emissionprob_[1 - j], 1 / 6, atol=0.02)
    np.testing.assert_allclose(np.diagonal(learner.transmat_)[[1 - j, j]], [0.95, 0.9], atol=0.02)
    assert ((learner.predict(rolls) == j) == loaded).mean() > 0.75
    assert learner.score(rolls[15_000:]) >= dealer.score(rolls[15_000:]) - 20


def test_what_people_talk_about():
    """Counts of words by topic: who talks follows from what is talked about."""
    truth = MultinomialHMM(2, n_trials=5)
    truth.startprob_ = np.array([0.6, 0.4])
    truth.transmat_ = np.array([[0.8, 0.2], [0.2, 0.8]])
    truth.emissionprob_ = np.array([[0.25, 0.1, 0.4, 0.25], [0.2, 0.5, 0.1, 0.2]])
    X, states = truth.sample(3000, random_state=1)
    model = best_of(
        (MultinomialHMM(2, random_state=s, n_iter=100, tol=1e-3).fit(X) for s in range(3)), X
    )
    order = model.emissionprob_[:, 1].argsort()
    np.testing.assert_allclose(model.emissionprob_[order], truth.emissionprob_, atol=0.03)
    assert (order.argsort()[model.predict(X)] == states).mean() > 0.85


def test_four_gaussian_states_on_a_square():
    """Corners of a square, visited in turn but never across: sampled, fitted, decoded."""
    truth = GaussianHMM(4, "full")
    truth.startprob_ = np.array([0.6, 0.3, 0.1, 0.0])
    truth.transmat_ = np.array(
        [[0.7, 0.2, 0.0, 0.1], [0.3, 0.5, 0.2, 0.0], [0.0, 0.3, 0.5, 0.2], [0.2, 0.0, 0.2, 0.6]]
    )
    truth.means_ = np.array([[0.0, 0.0], [0.0, 11.0], [9.0, 10.0], [11.0, -1.0]])
    truth.covars_ = 0.5 * np.tile(np.eye(2), (4, 1, 1))
    X, states = truth.sample(500, random_state=2)
    assert np.array_equal(truth.predict(X), states)
    model = best_of((GaussianHMM(4, random_state=s, n_iter=50).fit(X) for s in range(3)), X)
    assert adjusted_rand_score(model.predict(X), states) == 1.0
    order = [int(np.abs(model.means_ - mean).sum(axis=1).argmin()) for mean in truth.means_]
    np.testing.assert_allclose(model.means_[order], truth.means_, atol=0.3)
    np.testing.assert_allclose(model.transmat_[np.ix_(order, order)], truth.transmat_, atol=0.1)


def test_variational_inference_prunes_where_em_does_not(rng):
    X = np.repeat([-3.0, 3.0, -3.0], 80)[:, None] + rng.standard_normal((240, 1))
    em = GaussianHMM(5, "full", random_state=0, n_iter=200).fit(X)
    variational = VariationalGaussianHMM(5, "full", random_state=0, n_iter=500).fit(X)
    used = [(m.predict_proba(X).sum(axis=0) > 2).sum() for m in (em, variational)]
    assert used[1] == 2
    assert used[0] > 2


def test_codes_of_k_means_as_symbols(rng):
    """Vector quantisation: rows become the numbers of their centers, states follow the numbers."""
    states = (np.arange(600) // 30) % 2
    angle = rng.uniform(0, np.pi, 600) + np.where(states, 0.0, np.pi)
    X = np.c_[np.cos(angle), np.sin(angle)] * 3 + 0.2 * rng.standard_normal((600, 2))
    codes = KMeans(12, random_state=0).fit(X).labels_[:, None]
    model = best_of(
        (CategoricalHMM(2, random_state=s, n_iter=100).fit(codes) for s in range(4)), codes
    )
    assert adjusted_rand_score(model.predict(codes), states) > 0.95
