"""Linear machines: one optimum on all ways, bounds that hold, weights, streams, other libraries."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.svm
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.svm import SVC, LinearSVC, LinearSVR, _descent, _linear
from kernelmill.svm._descent import Descent
from kernelmill.svm._interior import Interior
from kernelmill.svm._primal import Primal

HINGES = ("hinge", "squared_hinge")
TUBES = ("epsilon_insensitive", "squared_epsilon_insensitive")
LOSSES = (*HINGES, *TUBES)
SCALES = (0.0, 0.5, 1.0, np.inf)  # of the intercept; 0 for none


def data(loss, n=80, d=5, k=2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 0.5
    if loss in TUBES:
        return X.astype(dtype), X @ rng.normal(size=d) + rng.standard_t(3, n) + 2
    score = X @ rng.normal(size=(d, k)) + rng.normal(size=(n, k))
    return X.astype(dtype), score.argmax(1)


def model(loss, scale=1.0, **more):
    cls = LinearSVR if loss in TUBES else LinearSVC
    more = {"tol": 1e-9, "epsilon": 0.2, **more} if loss in TUBES else {"tol": 1e-9, **more}
    given = {"fit_intercept": False} if scale == 0 else {"intercept_scaling": scale}
    return cls(loss=loss, random_state=0, **given, **more)


def solved_by(monkeypatch, way):
    monkeypatch.setattr(_linear, "solver_of", way)


def ways(loss):
    return (Primal, Descent) if loss.startswith("squared") else (Interior, Descent)


def objective(fitted, X, y, weight=None):
    """By definition; of several classes the sum."""
    coef, intercept = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    intercept = np.broadcast_to(intercept, len(coef))
    weight = np.ones(len(y)) if weight is None else weight
    scale, total = fitted.intercept_scaling, 0.0
    for c, (w, b) in enumerate(zip(coef.astype(float), intercept, strict=True)):
        p = X @ w + b
        if fitted.loss in TUBES:
            beyond = np.maximum(0, np.abs(p - y) - fitted.epsilon)
        else:
            sign = np.where(y == (c if len(coef) > 1 else fitted.classes_[1]), 1.0, -1.0)
            beyond = np.maximum(0, 1 - sign * p)
        beyond = beyond**2 if fitted.loss.startswith("squared") else beyond
        l1 = getattr(fitted, "penalty", "l2") == "l1"
        flat = np.append(w, b / scale)
        total += np.abs(flat).sum() if l1 else flat @ flat / 2
        total += fitted.C * (weight @ beyond)
    return total


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_as_liblinear(loss, k):
    X, y = data(loss, k=k, n=120)
    peer = sklearn.svm.LinearSVR if loss in TUBES else sklearn.svm.LinearSVC
    for C in (0.01, 1.0):
        given = {"loss": loss, "C": C, "epsilon": 0.2} if loss in TUBES else {"loss": loss, "C": C}
        theirs = peer(dual=True, tol=1e-8, max_iter=200_000, random_state=0, **given).fit(X, y)
        ours = model(loss, C=C).fit(X, y)
        size = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3 * size)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3 * size)
        assert objective(ours, X, y) <= objective(theirs, X, y) * (1 + 1e-8)
        assert ours.coef_.shape == theirs.coef_.shape
        assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loss", LOSSES)
def test_all_ways_end_at_the_same_optimum(loss, scale, monkeypatch):
    for kind, k in (("dense", 2), ("csr", 3 if loss in HINGES else 2), ("float32", 2)):
        X, y = data(loss, k=k, dtype=np.float32 if kind == "float32" else np.float64)
        found = []
        for way in ways(loss):
            solved_by(monkeypatch, way)
            rows = scipy.sparse.csr_matrix(X) if kind == "csr" else X
            found.append(model(loss, scale, C=0.3, tol=1e-8, max_iter=20_000).fit(rows, y))
        first, other = found
        bound = float(np.sum(first.dual_gap_) + np.sum(other.dual_gap_))
        least = objective(first, X, y)
        # Rounding of float32 coefficients moves the objective to second order.
        assert abs(objective(other, X, y) - least) <= bound + 1e-12 * least + (
            1e-6 * least if kind == "float32" else 0
        )
        # The penalty is strongly convex: |w - w*|^2 / 2 is at most the gap.
        apart = 2 * (2 * bound) ** 0.5 + (1e-5 if kind == "float32" else 1e-9)
        np.testing.assert_allclose(other.coef_, first.coef_, atol=apart)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gap_bounds_the_error(loss, scale, monkeypatch):
    X, y = data(loss)
    least = objective(model(loss, scale, C=0.3).fit(X, y), X, y)
    for way in ways(loss):
        solved_by(monkeypatch, way)
        for tol in (0.3, 0.02, 1e-4):
            rough = model(loss, scale, C=0.3, tol=tol, max_iter=9000).fit(X, y)
            gap, value = float(np.sum(rough.dual_gap_)), objective(rough, X, y)
            assert value - least <= gap * (1 + 1e-9) + 1e-8 * least
            # Of an intercept without a penalty, the stage's own objective counts.
            assert gap <= (2 if scale == np.inf else 1) * tol * value * (1 + 1e-9)


def test_a_fit_that_ends_early_says_how_far_it_got(monkeypatch):
    for loss in LOSSES:
        X, y = data(loss)
        least = objective(model(loss).fit(X, y), X, y)
        for way in ways(loss):
            solved_by(monkeypatch, way)
            with pytest.warns(ConvergenceWarning, match="not met in 1 iterations"):
                rough = model(loss, max_iter=1).fit(X, y)
            assert rough.n_iter_ == 1
            assert objective(rough, X, y) - least <= np.sum(rough.dual_gap_) * (1 + 1e-9)
            assert np.sum(rough.dual_gap_) > 1e-6 * least


@pytest.mark.parametrize("d", [5, 60])
@pytest.mark.parametrize("k", [2, 4])
def test_sparse_coefficients_of_an_l1_penalty(k, d, monkeypatch):
    X, y = data("squared_hinge", n=100, d=d, k=k)
    for C in (0.01, 0.1, 1.0):
        given = {"penalty": "l1", "C": C}
        theirs = sklearn.svm.LinearSVC(dual=False, tol=1e-9, max_iter=50_000, **given).fit(X, y)
        ours = model("squared_hinge", **given).fit(X, y)
        best = objective(ours, X, y)
        assert best <= objective(theirs, X, y) * (1 + 1e-7)
        assert best >= objective(theirs, X, y) * (1 - 1e-4)
        assert ((ours.coef_ != 0).sum(1) <= (theirs.coef_ != 0).sum(1)).all()
        assert np.sum(ours.dual_gap_) <= 1e-3 * best
        for steps in (1, 2, 3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                rough = model("squared_hinge", **given, max_iter=steps).fit(X, y)
            gap, error = np.sum(rough.dual_gap_), objective(rough, X, y) - best
            assert error <= gap + np.sum(ours.dual_gap_)
        monkeypatch.setattr("kernelmill.linear_model._newton.MOST_PARAMETERS", 4)
        wide = model("squared_hinge", **given, max_iter=3000).fit(X, y)
        monkeypatch.undo()
        np.testing.assert_allclose(objective(wide, X, y), best, rtol=1e-4)
    with pytest.raises(ValueError, match=r"^LinearSVC: loss must be 'squared_hinge' for penalty="):
        LinearSVC("l1", "hinge").fit(X, y)


def test_the_intercept_of_two_rows():
    X, y = [[10.0], [12]], [0, 1]
    one = LinearSVC(loss="hinge", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(one.coef_, [[14 / 145]], rtol=1e-4)
    np.testing.assert_allclose(one.intercept_, [-23 / 145], rtol=1e-4)
    np.testing.assert_array_equal(one.predict(X), [1, 1])
    for given in ({"C": 67.0}, {"C": 1e6}, {"C": 1e10}, {"intercept_scaling": np.inf}):
        far = LinearSVC(loss="hinge", tol=1e-10, **given).fit(X, y)
        np.testing.assert_allclose(far.coef_, [[1.0]], rtol=1e-4)
        np.testing.assert_allclose(far.intercept_, [-11.0], rtol=1e-4)
    near = LinearSVC(loss="hinge", intercept_scaling=100, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(near.intercept_, [-11.0], rtol=1e-3)


@pytest.mark.parametrize("way", [Interior, Descent])
def test_without_a_penalty_of_the_intercept_it_is_the_machine_with_a_linear_kernel(
    way, monkeypatch
):
    solved_by(monkeypatch, way)
    X, y = data("hinge", n=150)
    want = SVC(kernel="linear", C=0.2, tol=1e-7).fit(X, y)
    for far in (0.0, 300.0):
        rows = X + far if way is Interior else X
        found = model("hinge", np.inf, C=0.2, tol=1e-8, max_iter=20_000).fit(rows, y)
        np.testing.assert_allclose(found.coef_, want.coef_, atol=1e-3)
        shown = found.decision_function(rows)
        np.testing.assert_allclose(shown, want.decision_function(X), atol=3e-3)


def test_an_entry_in_parts_and_columns_out_of_order(monkeypatch):
    parts = scipy.sparse.csr_matrix(
        ([1, 2, 3, 0.5, 1, 0.5, 5, 2], [1, 2, 0, 0, 1, 0, 2, 1], [0, 2, 3, 6, 8]), (4, 3)
    )
    before = parts.copy()
    y = [0, 1, 0, 1]
    for loss in LOSSES:
        for way in ways(loss):
            solved_by(monkeypatch, way)
            given = {"max_iter": 20_000, "tol": 1e-10}
            one, other = (model(loss, **given).fit(rows, y) for rows in (parts, parts.toarray()))
            np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)
    together = LinearSVC(multi_class="crammer_singer", tol=1e-9, max_iter=20_000)
    want = together.fit(parts.toarray(), y).coef_
    np.testing.assert_allclose(together.fit(parts, y).coef_, want, atol=1e-4)
    np.testing.assert_array_equal(parts.indices, before.indices)
    np.testing.assert_array_equal(parts.data, before.data)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_equal_repetition_on_all_ways(loss, monkeypatch):
    X, y = data(loss, k=3 if loss in HINGES else 2, n=60)
    counts = np.random.default_rng(1).integers(0, 3, 60).astype(float)
    again = np.repeat(np.arange(60), counts.astype(int))
    for way in ways(loss):
        solved_by(monkeypatch, way)
        given = {"C": 0.1, "max_iter": 20_000}
        balanced = {"class_weight": "balanced"} if loss in HINGES else {}
        weighted = model(loss, **given, **balanced).fit(X, y, sample_weight=counts)
        repeated = model(loss, **given, **balanced).fit(X[again], y[again])
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=3e-4)
        np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=3e-4)


@pytest.mark.parametrize("way", [Interior, Descent])
def test_weights_of_classes_are_factors_of_the_price(way, monkeypatch):
    solved_by(monkeypatch, way)
    X, y = data("hinge", n=100)
    given = {"C": 0.1, "max_iter": 20_000}
    weights = {0: 3.0, 1: 0.5}
    found = model("hinge", class_weight=weights, **given).fit(X, y)
    same = model("hinge", **given).fit(X, y, sample_weight=[weights[c] for c in y])
    np.testing.assert_allclose(found.coef_, same.coef_, atol=1e-4)
    # With several, a weight counts in the plane of its class alone, as in LIBLINEAR.
    X, y = data("hinge", n=100, k=3)
    theirs = sklearn.svm.LinearSVC(
        loss="hinge", C=0.1, class_weight={0: 3.0, 2: 0.2}, tol=1e-8, max_iter=100_000
    ).fit(X, y)
    found = model("hinge", class_weight={0: 3.0, 2: 0.2}, **given).fit(X, y)
    np.testing.assert_allclose(found.coef_, theirs.coef_, atol=1e-3)
    with pytest.raises(ValueError, match=r"^LinearSVC: sample_weight must be positive for some r"):
        LinearSVC().fit(X, y, sample_weight=(y < 2).astype(float))
    with pytest.raises(ValueError, match=r"^LinearSVC: class_weight must be above 0 for each cla"):
        LinearSVC(class_weight={0: 0.0}).fit(X, y)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_stream_gives_the_same_model(loss, monkeypatch):
    X, y = data(loss, n=90, k=3 if loss in HINGES else 2)
    monkeypatch.setattr("kernelmill._estimator._rows.MEMMAP_BYTES", 100)
    weight = np.random.default_rng(0).uniform(0.5, 2, 90)
    for w in (None, weight):
        want = model(loss).fit(X, y, sample_weight=w)
        chunks = [(X[i : i + 25], None if w is None else w[i : i + 25]) for i in range(0, 90, 25)]
        plain = [X[i : i + 25] for i in range(0, 90, 25)]
        found = model(loss).fit(lambda c=chunks, p=plain, w=w: iter(p if w is None else c), y)
        np.testing.assert_allclose(found.coef_, want.coef_, atol=1e-6)
        np.testing.assert_allclose(found.intercept_, want.intercept_, atol=1e-6)
    with pytest.raises(ValueError, match="y must have one entry for each row"):
        model(loss).fit(lambda: iter(plain), y[:-1])
    monkeypatch.setattr(_linear, "_WIDEST", 3)
    if not loss.startswith("squared"):
        with pytest.raises(ValueError, match=r"X must have at most 3 features where it is a stre"):
            model(loss).fit(lambda: iter(plain), y)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_way_is_chosen_by_loss_and_shape(loss):
    seen = []

    class Spy(Exception):
        pass

    def spied(planes, real=_linear.solver_of):
        seen.append(type(real(planes)))
        raise Spy

    X, y = data(loss)
    for rows in (X, np.tile(X, (1, 300))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_linear, "solver_of", spied)
            with pytest.raises(Spy):
                model(loss).fit(rows, y)
    assert tuple(seen) == ways(loss)


def test_wide_rows_of_text():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(400, 3000, 0.02, "csr", rng=rng)
    y = (X @ rng.normal(size=(3000, 11))).argmax(1)
    for loss in HINGES:
        fitted = LinearSVC(loss=loss, C=5.0, random_state=0).fit(X, y)
        assert fitted.score(X, y) > 0.99
        assert (fitted.dual_gap_ > 0).all()
        single = [
            objective(LinearSVC(loss=loss, C=5.0, tol=1e-7).fit(X, y == c), X, y == c)
            for c in range(11)
        ]
        assert sum(single) - 1e-6 <= objective(fitted, X, y) <= sum(single) * (1 + 1e-4)


@pytest.mark.parametrize("scaling", [1.0, np.inf])
@pytest.mark.parametrize("epochs", [1, 6])
def test_classes_that_go_on_one_by_one(epochs, scaling, monkeypatch, rng):
    """After some epochs in blocks of eight; each ends as the machine of its class alone."""
    monkeypatch.setattr(_descent, "_EPOCHS_IN_BLOCKS", epochs)
    X = scipy.sparse.random(150, 1500, 0.02, "csr", rng=rng)
    y = rng.integers(0, 11, 150)
    options = {"loss": "hinge", "tol": 1e-6, "C": 3.0, "intercept_scaling": scaling}
    model = LinearSVC(**options, class_weight={3: 2.0}, random_state=0).fit(X, y)
    assert model.n_iter_ > 6
    for c in range(11):
        weights = {0: 1.0, 1: 2.0 if c == 3 else 1.0}
        one = LinearSVC(**options, class_weight=weights, random_state=0).fit(X, y == c)
        # Of two points whose objectives are within gaps, half the squared distance is below them.
        gap = float(one.dual_gap_[0] + model.dual_gap_[c])
        np.testing.assert_allclose(model.coef_[c], one.coef_[0], atol=(8 * gap) ** 0.5)
        assert model.dual_gap_[c] <= 1e-5 * max(1.0, 0.5 * (model.coef_[c] ** 2).sum())


@pytest.mark.parametrize("loss", HINGES)
def test_same_bits_at_any_thread_count(loss, monkeypatch):
    X, y = data(loss, n=300, d=8, k=20)
    for way in ways(loss):
        solved_by(monkeypatch, way)
        found = []
        for threads in (1, 2, 7):
            with kernelmill.threads(threads), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = LinearSVC(loss=loss, random_state=0, max_iter=20).fit(X, y)
            found.append((fitted.coef_.tobytes(), fitted.dual_gap_.tobytes()))
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_is_saved_whole(loss):
    X, y = data(loss)
    online = model(loss).partial_fit(X, y, **({"classes": [0, 1]} if loss in HINGES else {}))
    for fitted in (model(loss).fit(X, y), online):
        file = io.BytesIO()
        kernelmill.save(fitted, file)
        file.seek(0)
        loaded = kernelmill.load(file)
        np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(loaded.partial_fit(X, y).coef_, online.partial_fit(X, y).coef_)


@pytest.mark.parametrize("loss", LOSSES)
def test_partial_fit_comes_near_the_optimum_of_all_rows(loss):
    X, y = data(loss, n=4000, d=4)
    C, classes = 0.01, {"classes": [0, 1]} if loss in HINGES else {}
    want = model(loss, np.inf, C=C).fit(X, y)
    online = model(loss, np.inf, C=C)
    for i in range(0, 4000, 500):
        online.partial_fit(X[i : i + 500], y[i : i + 500], **classes)
    assert online.t_ == 4001
    assert not hasattr(online, "dual_gap_")
    zero = model(loss, np.inf, C=C).fit(X, y)
    zero.coef_, zero.intercept_ = 0 * zero.coef_, 0 * zero.intercept_
    best, start = objective(want, X, y), objective(zero, X, y)
    assert best < objective(online, X, y) < best + 0.1 * (start - best)
    # From a fit, which is as good as it can be, a small step.
    on = model(loss, np.inf, C=C).fit(X, y).partial_fit(X[:50], y[:50])
    assert objective(on, X, y) < best + 0.1 * (start - best)
    chunks = [X[:500], X[500:1000]]
    one = model(loss, C=C).partial_fit(iter(chunks), y[:1000], **classes)
    two = model(loss, C=C)
    for i in (0, 500):
        two.partial_fit(X[i : i + 500], y[i : i + 500], **classes)
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_partial_fit_refuses_what_it_cannot_do():
    X, y = data("hinge")
    with pytest.raises(ValueError, match=r"LinearSVC: classes must be passed on the first call"):
        LinearSVC().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"class_weight must be a dict or None for partial_fit"):
        LinearSVC(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    online = LinearSVC().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y must hold known classes only"):
        online.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="y must have one entry for each row"):
        LinearSVR().partial_fit(X, y[:-1])


def test_what_an_equal_row_of_numbers_needs():
    """All targets within the tube: no coefficient, and no error."""
    X = np.eye(4)[[1, 3, 2, 3]]
    y = [0.04, 0.04, 0.1, 0.16]
    fitted = LinearSVR(C=316.0, epsilon=0.1, intercept_scaling=np.inf, tol=1e-10).fit(X, y)
    assert np.abs(fitted.coef_).max() < 1e-4
    assert 0.06 - 1e-4 <= fitted.intercept_[0] <= 0.14 + 1e-4


@pytest.mark.parametrize("loss", LOSSES)
def test_degenerate_rows(loss, monkeypatch):
    X, y = data(loss, n=12, d=3)
    kinds = {
        "equal rows": (np.repeat(X[:6], 2, axis=0), np.repeat(y[:6], 2)),
        "constant": (np.full((12, 3), 3.0), y),
        "zeros": (np.zeros((12, 3)), y),
        "two": (X[:2], np.array([0, 1])),
        "equal columns": (np.repeat(X[:, :1], 3, axis=1), y),
        "unscaled": (X * [1, 1e4, 1e-4], y),
    }
    for name, (rows, targets) in kinds.items():
        for scale in SCALES:
            for C in (1e-3, 1e4):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    fitted = model(loss, scale, C=C, tol=1e-6).fit(rows, targets)
                assert np.isfinite(fitted.coef_).all(), (name, scale, C)
                value = objective(fitted, rows, targets)
                # The descent is slow, and an independent judge.
                solved_by(monkeypatch, Descent)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    other = model(loss, scale, C=C, tol=1e-5, max_iter=300).fit(rows, targets)
                monkeypatch.undo()
                assert value <= objective(other, rows, targets) * (1 + 1e-5), (name, scale, C)


def test_words_of_refused_parameters():
    X, y = data("hinge")
    for given, words in (
        ({"C": 0}, "C must be a number above 0"),
        ({"loss": "log"}, "loss must be one of"),
        ({"intercept_scaling": 0}, "intercept_scaling must be a number above 0"),
        ({"dual": "maybe"}, "dual must be"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            LinearSVC(**given).fit(X, y)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("make", [SVC, LinearSVC])
def test_boundaries_are_drawn_by_scikit_learns_display(make, k):
    pytest.importorskip("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    import pandas as pd
    from matplotlib.figure import Figure
    from sklearn.inspection import DecisionBoundaryDisplay

    X, y = data("hinge", d=2, k=k)
    for rows in (X, pd.DataFrame(X, columns=["a", "b"])):
        fitted = make().fit(rows, np.array(["x", "y", "z"])[y])
        for method in ("predict", "decision_function"):
            shown = DecisionBoundaryDisplay.from_estimator(
                fitted, rows, response_method=method, grid_resolution=20, ax=Figure().subplots()
            )
            grid = np.column_stack([shown.xx0.ravel(), shown.xx1.ravel()])
            grid = pd.DataFrame(grid, columns=["a", "b"]) if rows is not X else grid
            want = getattr(fitted, method)(grid)
            if method == "predict":
                want = np.searchsorted(fitted.classes_, want)
            np.testing.assert_allclose(
                np.asarray(shown.response).reshape(np.shape(want)), want, atol=1e-12
            )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("k", [2, 3, 9])
def test_one_problem_for_all_classes(k):
    X, y = data("hinge", n=90, d=6, k=k)
    for C in (0.02, 0.3):
        given = {"multi_class": "crammer_singer", "C": C, "max_iter": 100_000}
        theirs = sklearn.svm.LinearSVC(tol=1e-8, random_state=0, **given).fit(X, y)
        for rows in (X, scipy.sparse.csr_matrix(X)):
            ours = LinearSVC(tol=1e-8, random_state=0, **given).fit(rows, y)
            size = np.abs(theirs.coef_).max()
            np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3 * size)
            np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3 * size)
            assert ours.dual_gap_.shape == (1,)
    weights = {0: 3.0, 1: 0.2}
    given = {"multi_class": "crammer_singer", "C": 0.1, "max_iter": 100_000, "tol": 1e-8}
    theirs = sklearn.svm.LinearSVC(class_weight=weights, random_state=0, **given).fit(X, y)
    ours = LinearSVC(class_weight=weights, random_state=0, **given).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3 * np.abs(theirs.coef_).max())
    counts = np.random.default_rng(1).integers(1, 3, 90).astype(float)
    given = {"multi_class": "crammer_singer", "C": 0.1, "tol": 1e-8, "class_weight": "balanced"}
    given["max_iter"] = 20_000
    weighted = LinearSVC(random_state=0, **given).fit(X, y, sample_weight=counts)
    again = np.repeat(np.arange(90), counts.astype(int))
    repeated = LinearSVC(random_state=0, **given).fit(X[again], y[again])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-3)
    with pytest.warns(ConvergenceWarning, match="not met in 1 iterations"):
        rough = LinearSVC(multi_class="crammer_singer", max_iter=1).fit(X, y)
    assert rough.n_iter_ == 1


def test_what_one_problem_for_all_classes_cannot_do(monkeypatch):
    X, y = data("hinge", k=3)
    for given in ({"intercept_scaling": np.inf},):
        with pytest.raises(ValueError, match="intercept_scaling must be finite for multi_class"):
            LinearSVC(multi_class="crammer_singer", **given).fit(X, y)
    monkeypatch.setattr("kernelmill._estimator._rows.MEMMAP_BYTES", 100)
    with pytest.raises(ValueError, match="X must be in memory for multi_class='crammer_singer'"):
        LinearSVC(multi_class="crammer_singer").fit(lambda: iter([X]), y)


def test_features_of_a_huge_unit_end_with_labels_and_a_warning():
    """Steps after the one that Newton's method took for its last have a Hessian again."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)) + 1
    y = X[:, 0] > 1
    with pytest.warns(ConvergenceWarning, match="the tolerance was not met"):
        model = LinearSVC(random_state=0, max_iter=30).fit(1e120 * X, y)
    assert model.score(1e120 * X, y) > 0.9
