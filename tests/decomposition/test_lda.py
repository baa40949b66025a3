"""Topics of counts: the bound rises, planted topics are found, scikit-learn's posterior."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.decomposition as peer

import kernelmill
from kernelmill.decomposition import LatentDirichletAllocation

RNG = np.random.default_rng(0)
TOPICS = RNG.dirichlet(np.full(40, 0.1), 3)
COUNTS = np.array([RNG.multinomial(60, w @ TOPICS) for w in RNG.dirichlet(np.full(3, 0.3), 200)])


def lda(**options):
    return LatentDirichletAllocation(3, random_state=0, **options)


@pytest.mark.parametrize("method", ["batch", "online"])
def test_planted_topics_are_found(method):
    model = lda(learning_method=method, max_iter=30, batch_size=50).fit(COUNTS)
    shares = model.components_ / model.components_.sum(1, keepdims=True)
    apart = np.abs(shares[:, None] - TOPICS).sum(-1)
    assert np.median(apart.min(0)) < (0.35 if method == "batch" else 0.8)
    other = peer.LatentDirichletAllocation(
        3, random_state=0, learning_method=method, max_iter=30, batch_size=50
    ).fit(COUNTS)
    assert model.perplexity(COUNTS) < 1.02 * other.perplexity(COUNTS)
    assert model.bound_ == pytest.approx(model.perplexity(COUNTS))


@pytest.mark.parametrize("sparse", [False, True])
def test_the_posterior_of_rows_is_scikit_learns(sparse):
    X = sp.csr_matrix(COUNTS.astype(float)) if sparse else COUNTS
    other = peer.LatentDirichletAllocation(3, random_state=0, max_iter=5).fit(X)
    model = lda(max_iter=1).fit(X)
    model.components_ = other.components_
    model.exp_dirichlet_component_ = other.exp_dirichlet_component_
    np.testing.assert_allclose(model.transform(X), other.transform(X), atol=1e-9)
    np.testing.assert_allclose(model.score(X), other.score(X), rtol=1e-10)
    np.testing.assert_allclose(model.perplexity(X), other.perplexity(X), rtol=1e-10)
    np.testing.assert_allclose(
        model.perplexity(X, sub_sampling=True), other.perplexity(X, sub_sampling=True), rtol=1e-9
    )
    raw = model.transform(X, normalize=False)
    np.testing.assert_allclose(raw / raw.sum(1, keepdims=True), model.transform(X))


def test_the_bound_never_falls():
    """With rows iterated to their ends, E and M steps both raise it."""
    scores = [
        lda(max_iter=i, mean_change_tol=1e-10, max_doc_update_iter=3000).fit(COUNTS).score(COUNTS)
        for i in range(1, 7)
    ]
    assert np.diff(scores).min() > -1e-6 * abs(scores[0])


def test_one_step_online_is_the_papers_update():
    model = lda(learning_offset=4.0, learning_decay=0.6, total_samples=500, batch_size=1000)
    model.partial_fit(COUNTS[:50])
    first = model.components_
    model.partial_fit(COUNTS[50:])
    topics = np.exp(
        kernelmill.decomposition._lda.mean_logs(first)
    )
    gathered, _ = model._expected(COUNTS[50:].astype(float), topics, 1000003 * 2 + 2)
    step = (4.0 + 2) ** -0.6
    want = (1 - step) * first + step * (1 / 3 + 500 / 150 * gathered)
    np.testing.assert_allclose(model.components_, want, rtol=1e-10)
    assert model.n_batch_iter_ == 3


def test_rows_without_counts_and_evaluation():
    X = np.vstack([COUNTS, np.zeros((1, 40))])
    model = lda(evaluate_every=1, perp_tol=1e6, max_iter=20).fit(X)
    assert model.n_iter_ == 2
    np.testing.assert_allclose(model.transform(X)[-1], 1 / 3)
    with pytest.raises(ValueError, match="must not have negative entries, got -1"):
        lda().fit(-COUNTS.clip(0, 1))


def test_bits_do_not_depend_on_threads(tmp_path):
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = lda(max_iter=3).fit(COUNTS)
            found.append(model.components_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(COUNTS), model.transform(COUNTS))
