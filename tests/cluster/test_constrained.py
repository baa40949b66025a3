"""ConstrainedKMeans never breaks a rule, and is KMeans where there is none."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.cluster import ConstrainedKMeans, KMeans


@pytest.fixture
def truth(rng):
    return rng.integers(4, size=200)


@pytest.fixture
def X(truth, rng):
    return 2.0 * rng.standard_normal((4, 3))[truth] + rng.standard_normal((200, 3))


def pairs(truth, rng, m):
    found = rng.integers(len(truth), size=(m, 2))
    found = found[found[:, 0] != found[:, 1]]
    same = truth[found[:, 0]] == truth[found[:, 1]]
    return found[same], found[~same]


def obeys(labels, must, cannot):
    return (labels[must[:, 0]] == labels[must[:, 1]]).all() and (
        labels[cannot[:, 0]] != labels[cannot[:, 1]]
    ).all()


def cost_of(X, labels, k, w=None):
    """Inertia of labels at the means of their clusters."""
    w = np.ones(len(X)) if w is None else w
    total = 0.0
    for j in range(k):
        rows = labels == j
        if w[rows].sum() > 0:
            mean = np.average(X[rows], axis=0, weights=w[rows])
            total += w[rows] @ ((X[rows] - mean) ** 2).sum(axis=1)
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [20, 150, 600])
def test_rules_hold_and_help(X, truth, rng, m, weighted, dtype):
    from sklearn.metrics import adjusted_rand_score

    must, cannot = pairs(truth, rng, m)
    w = rng.random(200).round(1) if weighted else None
    model = ConstrainedKMeans(
        4, must_link=must, cannot_link=cannot, n_init=3, random_state=0, tol=0
    ).fit(X.astype(dtype), sample_weight=w)
    assert obeys(model.labels_, must, cannot)
    assert model.cluster_centers_.dtype == dtype
    assert model.inertia_ == pytest.approx(cost_of(X, model.labels_, 4, w), rel=1e-5)
    if m == 600:
        free = KMeans(4, n_init=3, random_state=0).fit(X)
        assert adjusted_rand_score(truth, model.labels_) > adjusted_rand_score(truth, free.labels_)


def test_without_rules_it_is_kmeans(X):
    plain = KMeans(4, n_init=2, random_state=0).fit(X)
    model = ConstrainedKMeans(4, n_init=2, random_state=0).fit(X)
    np.testing.assert_array_equal(model.labels_, plain.labels_)
    np.testing.assert_allclose(model.cluster_centers_, plain.cluster_centers_, rtol=1e-12)
    loose = ConstrainedKMeans(4, n_init=2, random_state=0, size_max=200).fit(X)
    np.testing.assert_array_equal(loose.labels_, plain.labels_)


@pytest.mark.filterwarnings("ignore:ConstrainedKMeans. the best start did not")
@pytest.mark.parametrize("rules", ["pairs", "sizes"])
def test_inertia_never_rises(X, truth, rng, rules):
    must, cannot = pairs(truth, rng, 150)
    options = (
        {"must_link": must, "cannot_link": cannot}
        if rules == "pairs"
        else {"size_min": 45, "size_max": 60}
    )
    values = [
        ConstrainedKMeans(4, init=X[:4], max_iter=count, tol=0, random_state=0, **options)
        .fit(X)
        .inertia_
        for count in range(1, 10)
    ]
    assert np.diff(values).max() <= 1e-9 * values[0]
    assert values[-1] < values[0]


def test_tiny_problems_are_solved_as_well_as_by_trying_everything(seed):
    """The best of 30 starts reaches the optimum over all labellings that obey."""
    rng = np.random.default_rng(seed)
    reached = 0
    for _ in range(10):
        X = rng.normal(size=(7, 2))
        must, cannot = np.array([[0, 1]]), np.array([[1, 2], [3, 4], [2, 3]])
        best = min(
            cost_of(X, np.array(labels), 3)
            for labels in itertools.product(range(3), repeat=7)
            if obeys(np.array(labels), must, cannot)
        )
        model = ConstrainedKMeans(
            3, must_link=must, cannot_link=cannot, init="random", n_init=30, random_state=0
        ).fit(X)
        assert model.inertia_ >= best * (1 - 1e-12)
        reached += model.inertia_ <= best * (1 + 1e-9)
    assert reached >= 8


def test_two_clusters_and_many_exclusions(rng):
    """Pairs of one row left and one right, labels start the wrong way round."""
    left = rng.normal(-3, 0.5, size=(50, 1))
    X = np.vstack([left, -left])
    cannot = np.c_[np.arange(50), np.arange(50, 100)]
    model = ConstrainedKMeans(2, cannot_link=cannot, random_state=0).fit(X)
    assert len(set(model.labels_[:50].tolist())) == 1
    assert obeys(model.labels_, np.empty((0, 2), int), cannot)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"must_link": [(0, 1), (1, 2)], "cannot_link": [(2, 0)]},
            r"got \(2, 0\), which must link through rows 2 - 1 - 0",
        ),
        (
            {"cannot_link": list(itertools.combinations(range(5), 2))},
            r"got rows 0, 1, 2, 3, 4 that all exclude one another \(raise n_clusters to at least 5",
        ),
        (
            {"cannot_link": [(0, 200)]},
            r"cannot_link must be between 0 and 199, got pair \(0, 200\)",
        ),
        ({"size_min": 51}, "size_min must be at most 50"),
        ({"size_max": 49}, "size_max must be at least 50"),
        ({"size_max": 60, "must_link": [(0, 1)]}, "size_min and size_max must be None beside"),
        ({"seeds": [0, 1]}, r"seeds must be whole numbers of shape \(200,\)"),
        ({"seeds": np.full(200, 4)}, "seeds must be between -1 and 3, got 4 to 4"),
        ({"must_link": 3}, r"must_link must be an array of shape \(m, 2\) or None, got 3"),
    ],
)
def test_rules_that_cannot_hold(X, options, message):
    with pytest.raises(ValueError, match=f"^ConstrainedKMeans: .*{message}"):
        ConstrainedKMeans(4, random_state=0, **options).fit(X)


def test_sparse_is_refused(X):
    with pytest.raises(TypeError, match=r"^ConstrainedKMeans: X must be dense"):
        ConstrainedKMeans(4).fit(sp.csr_array(X))


def test_sizes(X, rng):
    w = rng.random(200)
    for weight in (None, w):
        model = ConstrainedKMeans(4, size_min=48, size_max=52, random_state=0).fit(
            X, sample_weight=weight
        )
        counts = np.bincount(model.labels_)
        assert counts.min() >= 48
        assert counts.max() <= 52
        assert model.inertia_ == pytest.approx(cost_of(X, model.labels_, 4, weight), rel=1e-4)
    assert model.inertia_ >= KMeans(4, n_init=5, random_state=0).fit(X, sample_weight=w).inertia_


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-7, 1e-100, 1e100])
def test_sizes_end_at_any_scale(scale):
    """The labels are of least cost at their centers: none of 1e-12 of anything is forgiven."""
    X = np.random.default_rng(0).normal(size=(100, 2)) * scale
    model = ConstrainedKMeans(10, size_min=8, size_max=12, random_state=0).fit(X)
    assert model.inertia_ == pytest.approx(24.128567796744576 * scale**2, rel=1e-9)
    cost = ((X[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    own, counts = cost[np.arange(100), model.labels_], np.bincount(model.labels_)
    assert counts.min() >= 8
    assert counts.max() <= 12
    change = cost[:, model.labels_] - own[:, None]  # of row i in the place of row j
    assert (change + change.T).min() >= -1e-9 * cost.max()
    free = (counts[model.labels_] > 8)[:, None] & (counts < 12)
    assert (cost - own[:, None])[free].min() >= -1e-9 * cost.max()


def test_sizes_end_beside_outliers():
    X = np.random.default_rng(0).normal(size=(110, 2))
    X[-2:] = [[1e7, 0], [0, -1e7]]
    model = ConstrainedKMeans(9, size_min=10, size_max=15, random_state=0).fit(X)
    counts = np.bincount(model.labels_)
    assert counts.min() >= 10
    assert counts.max() <= 15
    assert model.labels_[-1] != model.labels_[-2]
    # Each outlier shares its cluster with nine others.
    assert model.inertia_ == pytest.approx(2 * 1e14 * 9 / 10, rel=1e-5)


def test_float32_rows_far_from_the_origin(X):
    far = (X + 1e6).astype(np.float32)
    options = {"init": far[:4].astype(float), "size_min": 45, "size_max": 60}
    near = ConstrainedKMeans(4, **options).fit(far)
    np.testing.assert_array_equal(
        near.labels_, ConstrainedKMeans(4, **options).fit(far.astype(float)).labels_
    )


def test_a_limit_of_iterations_is_told(X):
    with pytest.warns(ConvergenceWarning, match="ConstrainedKMeans: the best start did not conve"):
        ConstrainedKMeans(4, init=X[:4], max_iter=1, size_min=45).fit(X)


def test_groups_without_weight_go_where_they_are_near(X):
    tiny = 1e-140 * X
    w = np.ones(200)
    w[:20] = 0
    cannot = np.c_[np.arange(20), np.arange(20, 40)]
    options = {"cannot_link": cannot, "init": X[50:54], "random_state": 0}
    model = ConstrainedKMeans(4, **options).fit(X, sample_weight=w)
    small = ConstrainedKMeans(4, **options | {"init": tiny[50:54]}).fit(tiny, sample_weight=w)
    np.testing.assert_array_equal(small.labels_, model.labels_)


def test_seeds_decide_the_names_of_clusters(X, truth):
    seeds = np.full(200, -1)
    seeds[:60] = truth[:60]
    model = ConstrainedKMeans(4, seeds=seeds).fit(X)
    means = np.array([X[truth == j].mean(axis=0) for j in range(4)])
    nearest = ((model.cluster_centers_[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, range(4))
    some = np.where(seeds == 0, 0, -1)
    assert ConstrainedKMeans(4, seeds=some, random_state=0).fit(X).labels_.max() == 3
    none = ConstrainedKMeans(4, seeds=np.full(200, -1), random_state=0).fit(X)
    assert np.bincount(none.labels_, minlength=4).min() > 0


def test_weights_equal_repetition(X, truth, rng):
    must, cannot = pairs(truth, rng, 80)
    w = rng.integers(1, 4, size=200)
    place = np.cumsum(w) - w  # first copy of each row
    copies = [(place[i], place[i] + c) for i in range(200) for c in range(1, w[i])]
    options = {"init": X[:4], "random_state": 0}
    weighted = ConstrainedKMeans(4, must_link=must, cannot_link=cannot, **options).fit(
        X, sample_weight=w
    )
    repeated = ConstrainedKMeans(
        4, must_link=np.vstack([place[must], copies]), cannot_link=place[cannot], **options
    ).fit(np.repeat(X, w, axis=0))
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-9)
    np.testing.assert_array_equal(np.repeat(weighted.labels_, w), repeated.labels_)


def test_threads_and_files(X, truth, rng, tmp_path):
    must, cannot = pairs(truth, rng, 100)
    options = {"must_link": must, "cannot_link": cannot, "random_state": 0}
    models = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            models.append(ConstrainedKMeans(4, **options).fit(X))
    for other in models[1:]:
        np.testing.assert_array_equal(other.cluster_centers_, models[0].cluster_centers_)
        np.testing.assert_array_equal(other.labels_, models[0].labels_)
    kernelmill.save(models[0], tmp_path / "model.safetensors")
    again = kernelmill.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X), models[0].predict(X))
    np.testing.assert_array_equal(again.must_link, must)


@pytest.mark.filterwarnings("ignore:ConstrainedKMeans. the best start did not")
def test_the_heavier_row_gets_the_nearer_cluster():
    X = np.array([[0.0], [1.0], [10.0], [0.0], [10.0]])
    for w, labels in (([1, 9, 1, 1, 1], [1, 0]), ([9, 1, 1, 1, 1], [0, 1])):
        model = ConstrainedKMeans(
            2, cannot_link=[(0, 1)], init=[[0.5], [10.0]], max_iter=1, random_state=0
        ).fit(X, sample_weight=w)
        assert model.labels_[:2].tolist() == labels


def test_inertia_of_a_step(X, truth, rng):
    """What progress shows is the inertia of the labels at the centers they were compared with."""
    from kernelmill._estimator._rows import Rows
    from kernelmill.cluster._constrained import _LinkedRows
    from kernelmill.cluster._links import Links

    must, cannot = pairs(truth, rng, 100)
    problem = _LinkedRows(Rows(X, None, "Model"), Links(must, cannot, 200, "Model"), 0)
    centers = X[:4].copy()
    inertia = problem.step(centers)[2]
    labels, same = problem.labels(centers)
    assert inertia == pytest.approx(same, rel=1e-10)
    assert same == pytest.approx(((X - centers[labels]) ** 2).sum(), rel=1e-10)
