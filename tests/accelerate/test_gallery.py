"""Scripts such as those of a gallery, with and without acceleration: the same findings.

Each script knows nothing of this package. It leaves what it found in `found`: numbers that do not
depend on which random numbers were drawn, or only within the tolerance that stands beside it.
"""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

import kernelmill

SEARCH = """
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

X, y = load_digits(n_class=5, return_X_y=True)
train, test, classes, wanted = train_test_split(X[:300], y[:300], random_state=0)
steps = [("scale", StandardScaler()), ("reduce", PCA(svd_solver="full")), ("classify", SVC())]
grid = {"reduce__n_components": [5, 15], "classify__C": [1.0, 10.0]}
search = GridSearchCV(Pipeline(steps), grid, cv=2).fit(train, classes)
best = search.best_estimator_
found = {
    "score": search.best_score_,
    "test": search.score(test, wanted),
    "share": best["reduce"].explained_variance_ratio_,
    "support": len(best["classify"].support_) / 10,
}
"""

CLUSTERS = """
import numpy as np
from sklearn import cluster, mixture
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import kneighbors_graph

found = {}
for name, (X, y) in {
    "blobs": make_blobs(100, cluster_std=0.6, random_state=3),
    "moons": make_moons(120, noise=0.04, random_state=1),
}.items():
    k = len(np.unique(y))
    graph = kneighbors_graph(X, 8, include_self=False)
    for model in (
        cluster.KMeans(k, n_init=5, random_state=0),
        cluster.AgglomerativeClustering(k, linkage="single", connectivity=graph.maximum(graph.T)),
        cluster.DBSCAN(eps=0.4 if name == "moons" else 1.0),
        cluster.HDBSCAN(min_cluster_size=10, copy=True),
        cluster.OPTICS(min_samples=8, min_cluster_size=0.2),
        cluster.SpectralClustering(k, affinity="nearest_neighbors", random_state=0),
        mixture.GaussianMixture(k, n_init=3, random_state=0),
    ):
        labels = model.fit_predict(X)
        found[name, type(model).__name__] = adjusted_rand_score(y, labels)
tree = cluster.AgglomerativeClustering(None, distance_threshold=0.0).fit(X)
found["heights"], found["children"] = tree.distances_, tree.children_
"""

MAPS = """
import numpy as np
from sklearn import manifold
from sklearn.datasets import make_s_curve
from sklearn.manifold import trustworthiness

X, along = make_s_curve(100, random_state=0)
found = {}
for model in (
    manifold.LocallyLinearEmbedding(n_neighbors=10, method="ltsa", random_state=0),
    manifold.Isomap(n_neighbors=10),
    manifold.MDS(n_init=1, init="classical_mds", random_state=0),
    manifold.SpectralEmbedding(n_neighbors=10, random_state=0),
    manifold.TSNE(perplexity=15, init="pca", max_iter=500, random_state=0),
):
    Y = model.fit_transform(X)
    found[type(model).__name__] = trustworthiness(X, Y, n_neighbors=10)
"""

TOPICS = """
import inspect
import json
import numpy as np
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

texts = [part for part in inspect.getsource(json.decoder).split("\\n\\n") if part.strip()]
words = TfidfVectorizer(max_features=80, stop_words="english")
X = words.fit_transform(texts)
parts = NMF(3, init="nndsvda", max_iter=400).fit(X)
latent = make_pipeline(TruncatedSVD(5, algorithm="arpack"), StandardScaler()).fit(X)
counts = CountVectorizer(vocabulary=words.vocabulary_).fit_transform(texts)
topics = LatentDirichletAllocation(3, max_iter=10, random_state=0).fit(counts)
found = {
    "error": parts.reconstruction_err_,
    "share": latent[0].explained_variance_ratio_.sum(),
    "perplexity": np.log(topics.perplexity(counts)) / 10,
    "names": len(parts.get_feature_names_out()),
}
"""

TREES = """
import numpy as np
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import (
    HistGradientBoostingRegressor, RandomForestRegressor, StackingClassifier,
    HistGradientBoostingClassifier,
)
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, export_text

X, y = load_diabetes(return_X_y=True)
boosting = HistGradientBoostingRegressor(max_iter=20).fit(X, y)
forest = RandomForestRegressor(20, max_features=0.5, random_state=0).fit(X, y)
gain = permutation_importance(boosting, X, y, n_repeats=2, random_state=0).importances_mean
found = {"most": gain.argmax(), "score": boosting.score(X, y)}
for name, model in {"boosting": boosting, "forest": forest}.items():
    mean = partial_dependence(model, X, [2], grid_resolution=6)["average"][0]
    found[name] = (mean[-1] - mean[0]) / 10 / np.ptp(y)
wine, kind = load_wine(return_X_y=True)
small = DecisionTreeClassifier(max_depth=1).fit(wine, kind)
found["text"] = len(export_text(small).splitlines())
stack = StackingClassifier(
    [("tree", small), ("boosting", HistGradientBoostingClassifier(max_iter=5))],
    LogisticRegression(), cv=2,
).fit(wine, kind)
found["stack"] = stack.score(wine, kind)
"""

TABLES = """
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_iris(return_X_y=True)
X = X + np.random.RandomState(1).uniform(-0.01, 0.01, X.shape)  # no ties
gaps = np.where(np.random.RandomState(0).rand(*X.shape) < 0.1, np.nan, X)
columns = make_column_transformer((SimpleImputer(), [0, 1]), (KNNImputer(), [2, 3]))
model = make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(gaps, y)
near = KNeighborsClassifier(5, weights="distance").fit(X, y)
found = {
    "proba": model.predict_proba(gaps)[:5],
    "kept": SelectFromModel(Lasso(0.1)).fit(X, y).get_support(),
    "ranks": RFE(Ridge(), n_features_to_select=1).fit(X, y).ranking_,
    "folds": (cross_val_predict(near, X, y, cv=3) == y).mean(),
    "graph": kneighbors_graph(near, 2).sum(),
    "density": KernelDensity(bandwidth=0.5).fit(X).score_samples(X[:4]),
    "outliers": LocalOutlierFactor().fit(X).negative_outlier_factor_,
}
"""

CHAINS = """
import numpy as np
from hmmlearn import hmm

rng = np.random.RandomState(0)
states = np.repeat(rng.permutation(np.repeat([0, 1, 2], 8)), 10)
X = np.array([[0.0, 0.0], [5.0, -5.0], [9.0, 9.0]])[states] + rng.randn(len(states), 2)
model = hmm.GaussianHMM(3, n_iter=50, init_params="st")
model.means_ = np.array([[1.0, 1.0], [4.0, -4.0], [8.0, 8.0]])
model.covars_ = np.full((3, 2), 2.0)
model.fit(X, lengths=[120, 120])
found = {
    "score": model.score(X, [120, 120]),
    "means": model.means_,
    "states": model.predict(X, [120, 120]),
    "converged": model.monitor_.converged,
}
"""

SCRIPTS = {
    "search": (SEARCH, 0.02),
    "clusters": (CLUSTERS, 0.03),
    "maps": (MAPS, 0.03),
    "topics": (TOPICS, 0.02),
    "trees": (TREES, 0.02),
    "tables": (TABLES, 1e-3),
    "chains": (CHAINS, 1e-6),
}


def ran(script):
    names = {}
    exec(compile(textwrap.dedent(script), "script.py", "exec"), names)
    return names["found"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_the_same(name):
    script, atol = SCRIPTS[name]
    if "hmmlearn" in script:
        pytest.importorskip("hmmlearn", reason="runs hmmlearn's classes")
    want = ran(script)
    with kernelmill.accelerate() as acceleration:
        found = ran(script)
    calls = acceleration.report()
    assert {call.where for call in calls} == {"kernelmill"}
    assert all(call.seconds >= 0 and not call.reason for call in calls)
    assert found.keys() == want.keys()
    for key, value in want.items():
        np.testing.assert_allclose(found[key], value, atol=atol, rtol=1e-4, err_msg=str(key))
    before = len(calls)
    assert ran("from sklearn.cluster import KMeans\nfound = KMeans(1).fit([[0.0]])") is not None
    assert len(kernelmill.accelerate.report()) == before
