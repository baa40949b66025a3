"""Displays of searches: convergence and partial dependence."""

from __future__ import annotations

import numpy as np
import pytest

from kernelmill.model_selection import BayesSearchCV, Integer, Real, minimize
from kernelmill.plot import ConvergenceDisplay, ObjectiveDisplay

pytest.importorskip("matplotlib").use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore:minimize. f must be finite:RuntimeWarning")


@pytest.fixture(autouse=True)
def _close():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def bowl(x):
    return np.nan if x[0] < -1 else (x[0] - 0.5) ** 2


@pytest.fixture(scope="module")
def result():
    return minimize(bowl, [(-2.0, 2.0)], n_calls=12, random_state=0)


def test_convergence_of_one_search(result):
    display = ConvergenceDisplay.from_result(result)
    (line,) = display.lines_.values()
    best = np.fmin.accumulate(result.func_vals)
    np.testing.assert_array_equal(line.get_ydata(), best)
    assert best[-1] == result.fun
    shown = {line.get_label(): line for line in display.ax_.lines}
    np.testing.assert_array_equal(shown["value"].get_ydata(), result.func_vals)
    failed = 1 + np.flatnonzero(np.isnan(result.func_vals))
    assert len(failed)
    np.testing.assert_array_equal(shown["failed"].get_xdata(), failed)
    assert display.ax_.get_title(loc="left") == "Search: convergence"
    left = ConvergenceDisplay.from_result(result, least=-1.0)
    assert left.ax_.get_yscale() == "log"
    np.testing.assert_allclose(left.lines_["best so far"].get_ydata(), best + 1)


def test_convergence_of_several(result):
    other = minimize(bowl, [(-2.0, 2.0)], n_calls=12, random_state=1)
    display = ConvergenceDisplay.from_result({"a": [result, other], "b": result})
    best = [np.fmin.accumulate(r.func_vals) for r in (result, other)]
    np.testing.assert_allclose(display.lines_["a"].get_ydata(), np.nanmedian(best, axis=0))
    assert len(display.ax_.collections) == 1
    assert display.ax_.get_legend() is not None
    late = ConvergenceDisplay({"a": [[np.nan, 2.0], [np.nan, 1.0]]}).plot().lines_["a"]
    np.testing.assert_array_equal(late.get_ydata(), [np.nan, 1.5])
    own = ConvergenceDisplay({"x": [1.0, 2.0]}).plot(color="black").lines_["x"]
    assert own.get_color() == "black"


def test_convergence_refuses(result):
    with pytest.raises(ValueError, match="result must be what minimize returns"):
        ConvergenceDisplay.from_result(3)
    short = minimize(bowl, [(-2.0, 2.0)], n_calls=2, random_state=1)
    with pytest.raises(ValueError, match=r"equal numbers of evaluations, got \[2, 12\] for 'a'"):
        ConvergenceDisplay.from_result({"a": [result, short]})
    with pytest.raises(ValueError, match="values must be a dict"):
        ConvergenceDisplay([1.0])


SPACE = {
    "kind": ["a", "b", "c"],
    "rate": Real(1e-3, 1e1, "log-uniform", when={"kind": ["b", "c"]}),
    "depth": Integer(1, 30),
}


def mixed(x):
    own = abs(np.log10(x["rate"]) + 1) if "rate" in x else 2.0
    return own + abs(x["depth"] - 10) / 10


def test_partial_dependence():
    found = minimize(mixed, SPACE, n_calls=30, random_state=0)
    display = ObjectiveDisplay.from_result(found)
    assert display.names == ["kind", "rate", "depth"]
    assert [len(g) for g in display.grids] == [3, 24, 24]
    assert set(display.surfaces) == {(0, 1), (0, 2), (1, 2)}
    assert display.surfaces[0, 1].shape == (24, 3)
    middle, low, high = display.curves[1]
    assert ((low < middle) & (middle < high)).all()
    assert display.grids[1][middle.argmin()] == pytest.approx(0.5, abs=0.1)  # log10(rate) = -1
    # Where the rate is not active it makes no difference.
    assert np.ptp(display.surfaces[0, 1][:, 0]) < 1e-9
    assert np.ptp(display.surfaces[0, 1][:, 1]) > 0.1
    assert display.axes_[0, 1] is None
    assert [t.get_text() for t in display.axes_[2, 0].get_xticklabels()] == ["a", "b", "c"]
    labels = [t.get_text() for t in display.axes_[2, 1].get_xticklabels()]
    assert labels == ["0.001", "0.1", "10"]
    again = ObjectiveDisplay.from_result(found)
    np.testing.assert_array_equal(again.curves[1], display.curves[1])
    one = ObjectiveDisplay.from_result(found, dimensions=["depth"])
    assert one.axes_.shape == (1, 1)
    assert one.figure_.axes[0].get_xlabel() == "depth"


def test_of_a_search_of_hyperparameters():
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    search = BayesSearchCV(SVC(), {"C": (0.1, 10.0)}, n_iter=4, cv=2, random_state=0)
    search.fit(*load_iris(return_X_y=True))
    assert ConvergenceDisplay.from_result(search).best["best so far"][0, -1] == -search.best_score_
    assert ObjectiveDisplay.from_result(search).names == ["C"]


def test_partial_dependence_refuses(result):
    with pytest.raises(ValueError, match=r"dimensions must be some of \['x0'\], got \['y'\]"):
        ObjectiveDisplay.from_result(result, dimensions=["y"])
    failed = minimize(lambda x: np.nan, [(0.0, 1.0)], n_calls=3, random_state=0)
    with pytest.raises(ValueError, match="result must have a success"):
        ObjectiveDisplay.from_result(failed)
