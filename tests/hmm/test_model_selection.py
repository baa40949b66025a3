"""Models inside scikit-learn's tools: pipelines, clones, cross-validation, metadata routing."""

import numpy as np
import pytest
import sklearn
from hmm_kinds import KINDS, same_start
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill.hmm import CategoricalHMM, GaussianHMM, PoissonHMM

LENGTHS = [25, 15, 20]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def scaled(model):
    return Pipeline([("scaler", StandardScaler()), ("model", model)])


def two_blobs(rng, T=60):
    return 4.0 * ((np.arange(T) // 10) % 2)[:, None] + rng.standard_normal((T, 2))


# --- lengths --------------------------------------------------------------------------------------


def test_lengths_by_name_and_by_position(kind, rng):
    X = kind.rows(rng, 60)
    by_place = kind.make(2, random_state=0).fit(X, LENGTHS)
    by_name = kind.make(2, random_state=0).fit(X, lengths=LENGTHS)
    as_a_last_step = kind.make(2, random_state=0).fit(X, None, lengths=LENGTHS)
    beside_labels = kind.make(2, random_state=0).fit(X, np.zeros(60), lengths=LENGTHS)
    for model in (by_name, as_a_last_step, beside_labels):
        assert model.monitor_.history == by_place.monitor_.history
        assert model.score(X, None, lengths=LENGTHS) == by_place.score(X, LENGTHS)


def test_lengths_through_a_pipeline(rng):
    X = two_blobs(rng)
    alone = GaussianHMM(2, random_state=0).fit(StandardScaler().fit_transform(X), LENGTHS)
    pipeline = scaled(GaussianHMM(2, random_state=0)).fit(X, model__lengths=LENGTHS)
    model = pipeline["model"]
    assert np.array_equal(model.transmat_, alone.transmat_)
    assert not np.array_equal(
        model.transmat_, scaled(model).fit(X)["model"].transmat_
    )  # the lengths matter
    assert np.array_equal(
        pipeline.predict(X, lengths=LENGTHS),
        alone.predict(StandardScaler().fit_transform(X), LENGTHS),
    )


def test_lengths_are_routed(routing, rng):
    X, lengths = two_blobs(rng), LENGTHS
    model = GaussianHMM(2, random_state=0).set_fit_request(lengths=True)
    model.set_score_request(lengths=True).set_predict_request(lengths=True)
    model.set_predict_proba_request(lengths=True)
    pipeline = scaled(model).fit(X, lengths=lengths)
    rows = StandardScaler().fit_transform(X)
    alone = GaussianHMM(2, random_state=0).fit(rows, lengths)
    assert pipeline.score(X, lengths=lengths) == alone.score(rows, lengths)
    assert pipeline.score(X, lengths=lengths) != alone.score(rows)
    assert np.array_equal(pipeline.predict(X, lengths=lengths), alone.predict(rows, lengths))
    assert np.array_equal(
        pipeline.predict_proba(X, lengths=lengths), alone.predict_proba(rows, lengths)
    )
    # Rows cannot be split where sequences are to stay whole: this is for selection by a criterion
    # on all rows.
    everything = [(np.arange(60), np.arange(60))]
    options = {"cv": everything, "error_score": "raise"}
    search = GridSearchCV(pipeline, {"model__n_components": [1, 2]}, **options)
    search.fit(X, lengths=lengths)
    assert search.best_params_ == {"model__n_components": 2}
    assert search.best_score_ == alone.score(rows, lengths)
    scores = cross_val_score(pipeline, X, params={"lengths": lengths}, **options)
    assert scores.tolist() == [alone.score(rows, lengths)]


def test_whole_sequences_are_cross_validated(rng):
    """A list of sequences is split between sequences, never inside one."""
    sequences = [two_blobs(rng, T) for T in (40, 30, 20, 50)]
    scores = cross_val_score(GaussianHMM(2, random_state=0), sequences, cv=2)
    for score, held_out in zip(scores, (sequences[:2], sequences[2:]), strict=True):
        rest = [x for x in sequences if not any(x is y for y in held_out)]
        assert score == GaussianHMM(2, random_state=0).fit(rest).score(held_out)
    search = GridSearchCV(GaussianHMM(random_state=0), {"n_components": [1, 2]}, cv=2)
    assert search.fit(sequences).best_params_ == {"n_components": 2}
    weight = np.array([1.0, 2.0, 1.0, 0.5])
    with sklearn.config_context(enable_metadata_routing=True):
        model = GaussianHMM(2, random_state=0).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scores = cross_val_score(model, sequences, cv=2, params={"sample_weight": weight})
    first = GaussianHMM(2, random_state=0).fit(sequences[2:], sample_weight=weight[2:])
    assert scores[0] == first.score(sequences[:2], sample_weight=weight[:2])


def test_weights_of_a_score(kind, rng):
    X = kind.rows(rng, 60)
    model = kind.make(2, random_state=0).fit(X, LENGTHS)
    parts = [model.score(part) for part in np.split(X, np.cumsum(LENGTHS)[:-1])]
    weighted = model.score(X, LENGTHS, [2.0, 0.0, 0.5])
    np.testing.assert_allclose(weighted, 2 * parts[0] + 0.5 * parts[2], rtol=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(3,\)"):
        model.score(X, LENGTHS, np.ones(60))


# --- starts as constructor arguments --------------------------------------------------------------

LEFT_RIGHT = {
    "startprob_init": [1.0, 0.0, 0.0],
    "transmat_init": [[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]],
}


def steps(rng, T=90):
    return np.repeat([0.0, 3.0, 6.0], T // 3)[:, None] + rng.standard_normal((T, 1))


def test_a_clone_keeps_a_left_right_model(em_kind, rng):
    X = em_kind.rows(rng, 60)
    model = em_kind.make(3, random_state=0, **LEFT_RIGHT)
    copy = clone(clone(model).fit(X)).fit(X)
    for name in ("startprob_", "transmat_"):
        assert np.array_equal(getattr(copy, name), getattr(model.fit(X), name))
    assert copy.transmat_[1, 0] == copy.transmat_[0, 2] == 0
    assert copy.startprob_.tolist() == [1.0, 0.0, 0.0]


def test_cross_validation_fits_the_left_right_model(rng):
    sequences = [steps(rng) for _ in range(4)]
    model = GaussianHMM(3, random_state=0, **LEFT_RIGHT)
    scores = cross_val_score(model, sequences, cv=2)
    assigned = GaussianHMM(3, init_params="mc", random_state=0)
    assigned.startprob_ = np.array(LEFT_RIGHT["startprob_init"])
    assigned.transmat_ = np.array(LEFT_RIGHT["transmat_init"])
    assigned.fit(sequences[2:])
    np.testing.assert_allclose(scores[0], assigned.score(sequences[:2]), rtol=1e-12)
    assert assigned.transmat_[1, 0] == 0


def test_a_fit_starts_where_it_is_told(kind, rng):
    """From arguments a fit goes where it goes from the same values, assigned."""
    X = kind.rows(rng, 60)
    start = kind.make(2, n_iter=2, tol=-np.inf, random_state=0).fit(X, LENGTHS)
    names = [point.init for point in type(start)._points]
    values = {name: getattr(start, f"{name.removesuffix('_init')}_") for name in names}
    told = kind.make(2, n_iter=3, tol=-np.inf, n_init=5, **values)
    told.fit(X, LENGTHS)
    again = clone(told).fit(X, LENGTHS)
    assert again.monitor_.history == told.monitor_.history
    assert len(told.monitor_.history) == 3
    if not kind.name.startswith("Variational"):
        assigned = same_start(start, kind.make(2, n_iter=3, tol=-np.inf)).fit(X, LENGTHS)
        assert told.monitor_.history == assigned.monitor_.history
    for name, value in values.items():  # as they were given
        assert getattr(told, name) is value


def test_a_variational_fit_starts_where_it_is_told(rng):
    kind = KINDS["VariationalGaussianHMM-full"]
    X = kind.rows(rng, 60)
    means = [[0.0, 1.0], [8.0, 9.0]]
    model = kind.make(
        2, n_iter=0, startprob_init=[0.9, 0.1], means_init=means, covars_init=[np.eye(2)] * 2
    ).fit(X, LENGTHS)
    assert model.means_.tolist() == means
    # Beside the prior scale of 1e-3, with two degrees of freedom, stand the rows of each state.
    counts = model.dof_posterior_[:, None, None] - 2.0
    expected = (1e-3 + counts * 1.0) / (counts + 2.0) * np.eye(2)
    np.testing.assert_allclose(model.covars_, expected, rtol=1e-12)
    # The prior is 1/2, and three sequences begin.
    np.testing.assert_allclose(model.startprob_posterior_, [0.5 + 2.7, 0.5 + 0.3], rtol=1e-15)


def test_parameters_that_stay_need_no_start(rng):
    X = steps(rng)
    model = GaussianHMM(3, random_state=0, init_params="mc", **LEFT_RIGHT).fit(X)
    assert model.transmat_[1, 0] == 0  # missing before, so initialised
    model.transmat_ = np.full((3, 3), 1 / 3)
    model.fit(X)
    assert model.transmat_[1, 0] > 0  # there, so kept
    model.set_params(warm_start=True, init_params="stmc", n_iter=0).fit(X)
    assert model.transmat_[1, 0] > 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (GaussianHMM(2, startprob_init=[0.5, 0.6]), "startprob_init must have a sum of 1"),
        (GaussianHMM(2, transmat_init=np.eye(3)), r"transmat_init must have shape \(2, 2\)"),
        (GaussianHMM(2, means_init=[[1.0], [2.0]]), r"means_init must have shape \(2, 2\)"),
        (GaussianHMM(2, covars_init=-np.ones((2, 2))), "covars_init must be positive"),
        (GaussianHMM(2, transmat_init="left-right"), r"array of shape \(K, K\) or None"),
        (GaussianHMM(2, n_init=0), "n_init must be a whole number of at least 1"),
        (KINDS["GMMHMM-diag"].make(2, weights_init=[[1.0, 0.0]]), "weights_init must have shape"),
        (
            KINDS["VariationalGaussianHMM-full"].make(2, startprob_init=[1.0]),
            r"startprob_init must have shape \(2,\)",
        ),
    ],
)
def test_starts_that_do_not_fit(model, message, rng):
    with pytest.raises(ValueError, match=message):
        model.fit(rng.standard_normal((20, 2)))


def test_symbols_of_a_start(rng):
    X = np.array([[0], [1], [1], [0]] * 5)
    table = [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]]
    for name in ("CategoricalHMM", "VariationalCategoricalHMM"):
        model = KINDS[name].make(2, emissionprob_init=table, random_state=0).fit(X)
        assert model.emissionprob_.shape == (2, 3)
        assert model.score([[2]]) < 0
    with pytest.raises(ValueError, match="n_features must be 3 as emissionprob_init has it, got 4"):
        CategoricalHMM(2, emissionprob_init=table, n_features=4).fit(X)


# --- several starts -------------------------------------------------------------------------------


def test_the_best_start_is_kept(kind, rng):
    X = kind.rows(rng, 60)
    options = {"n_iter": 6, "tol": -np.inf, "random_state": 3}
    first = kind.make(3, **options).fit(X, LENGTHS)
    best = kind.make(3, n_init=6, **options).fit(X, LENGTHS)
    assert best.monitor_.objective[-1] >= first.monitor_.objective[-1]
    assert best.monitor_.iter == len(best.monitor_.history) == 6
    # The record is that of the parameters which are kept: one more step gains no less than nothing.
    more = same_start(best, kind.make(3, n_iter=1, tol=-np.inf)).fit(X, LENGTHS)
    gain = more.monitor_.objective[0] - best.monitor_.objective[-1]
    assert gain >= -1e-9 * abs(best.monitor_.objective[-1])
    again = kind.make(3, n_init=6, **options).fit(X, LENGTHS)
    assert again.monitor_.history == best.monitor_.history
    one = kind.make(3, n_init=1, **options).fit(X, LENGTHS)
    assert one.monitor_.history == first.monitor_.history


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0), np.random.default_rng(0)])
def test_more_starts_find_what_one_misses(random_state):
    """Symbols of two states whose first start is poor."""
    rng = np.random.default_rng(5)
    X = rng.poisson(np.repeat([1.0, 12.0, 4.0, 25.0], 25))[:, None]
    options = {"n_iter": 200, "tol": 1e-6}
    single = [
        PoissonHMM(4, random_state=s, **options).fit(X).monitor_.objective[-1] for s in range(8)
    ]
    model = PoissonHMM(4, n_init=8, random_state=random_state, **options).fit(X)
    assert model.monitor_.objective[-1] > np.median(single)


def test_starts_without_random_numbers_run_once(rng):
    X = steps(rng)
    model = GaussianHMM(
        3, n_init=4, means_init=[[0.0], [3.0], [6.0]], covars_init=np.ones((3, 1)), **LEFT_RIGHT
    )
    calls = []

    class Counting(GaussianHMM):
        def _start(self, *args):
            calls.append(1)
            return super()._start(*args)

    Counting(**model.get_params()).fit(X)
    assert len(calls) == 1
    Counting(**model.set_params(means_init=None).get_params()).fit(X)
    assert len(calls) == 5


def test_starts_differ(rng):
    """Best of ten, k-means finds the same two centers of three blobs; one run finds either pair."""
    X = np.repeat([[-10.0], [0.0], [10.5]], 20, axis=0) + 0.1 * rng.standard_normal((60, 1))
    seen = []

    class Recording(GaussianHMM):
        def _start(self, *args):
            state = super()._start(*args)
            seen.append(bool(state["means_"].max() > 8.0))
            return state

    Recording(2, n_init=12, random_state=0, n_iter=1, tol=-np.inf).fit(X)
    assert len(seen) == 12
    assert len(set(seen)) == 2
