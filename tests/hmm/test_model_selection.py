"""Models inside scikit-learn's tools: pipelines, clones, cross-validation, metadata routing."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill.hmm import GaussianHMM

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
