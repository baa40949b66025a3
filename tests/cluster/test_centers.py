"""What all models with centers share: predict, transform, score, from many threads."""

import threading

import numpy as np
import pytest
import scipy.sparse as sp

from kernelmill.cluster import BisectingKMeans, ConstrainedKMeans, KMeans, MiniBatchKMeans

MODELS = [KMeans, MiniBatchKMeans, BisectingKMeans, ConstrainedKMeans]


@pytest.fixture(params=MODELS, ids=lambda cls: cls.__name__)
def model(request, blobs):
    return request.param(5, random_state=0).fit(blobs)


def test_transform_gives_distances(model, blobs):
    expected = np.sqrt(((blobs[:, None] - model.cluster_centers_) ** 2).sum(axis=2))
    np.testing.assert_allclose(model.transform(blobs), expected, rtol=1e-10)
    assert model.transform(blobs.astype(np.float32)).dtype == np.float32
    again = type(model)(5, random_state=0)
    np.testing.assert_array_equal(again.fit_transform(blobs), model.transform(blobs))


def test_score_is_the_negative_inertia_of_the_nearest_centers(model, blobs, rng):
    nearest = model.transform(blobs).min(axis=1) ** 2
    assert model.score(blobs) == pytest.approx(-nearest.sum(), rel=1e-10)
    w = rng.random(300)
    assert model.score(blobs, sample_weight=w) == pytest.approx(-(nearest @ w), rel=1e-10)


def test_labels_are_those_of_predict(model, blobs):
    np.testing.assert_array_equal(model.predict(blobs), model.labels_)
    np.testing.assert_array_equal(type(model)(5, random_state=0).fit_predict(blobs), model.labels_)


def test_names_out(model):
    prefix = type(model).__name__.lower()
    assert model.get_feature_names_out().tolist() == [f"{prefix}{j}" for j in range(5)]


def test_predict_from_many_threads(model, blobs):
    X = np.tile(blobs, (20, 1))
    expected, wrong = model.predict(X), []

    def work():
        for _ in range(5):
            if not np.array_equal(model.predict(X), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_sparse_transform_in_blocks(blobs, monkeypatch):
    from kernelmill.cluster import _centers

    model = KMeans(5, random_state=0).fit(blobs)
    whole = model.transform(sp.csr_array(blobs))
    monkeypatch.setattr(_centers, "_BLOCK_BYTES", 8 * 5 * 7)
    np.testing.assert_array_equal(model.transform(sp.csr_array(blobs)), whole)


@pytest.mark.parametrize("cls", [BisectingKMeans, ConstrainedKMeans])
def test_models_that_need_memory_say_so(cls, blobs):
    with pytest.raises(
        TypeError, match=f"^{cls.__name__}: X must be an array or frame in memory, got list"
    ):
        cls(3).fit([blobs, blobs])
    with pytest.raises(TypeError, match="must be an array or frame in memory"):
        cls(3, random_state=0).fit(blobs).predict([blobs, blobs])


def test_silence(model, blobs, capfd):
    type(model)(5).fit(blobs).predict(blobs)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_bars(cls, blobs, capfd):
    quiet = cls(5, random_state=0).fit(blobs)
    shown = cls(5, random_state=0, verbose=1).fit(blobs)
    out, err = capfd.readouterr()
    assert out == ""
    assert cls.__name__ in err
    np.testing.assert_array_equal(shown.cluster_centers_, quiet.cluster_centers_)


def test_centers_set_by_the_user_predict(blobs):
    model = KMeans(2)
    model.cluster_centers_ = blobs[:2]
    np.testing.assert_array_equal(model.predict(blobs[:2]), [0, 1])
    assert model.n_features_in_ == blobs.shape[1]


@pytest.mark.parametrize("init", ["k-means++", "random", lambda X, k, random_state: X[:k]])
@pytest.mark.parametrize("tol", [0, 1e-4])
@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_stream_of_zero_weights_is_refused(cls, tol, init, blobs):
    chunks = [(blobs[:100], np.zeros(100)), (blobs[100:], np.zeros(200))]
    message = f"^{cls.__name__}: sample_weight must have a positive"
    with pytest.raises(ValueError, match=message):
        cls(3, tol=tol, init=init, n_init=1).fit(chunks)
