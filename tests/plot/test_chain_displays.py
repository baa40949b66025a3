"""Displays of mixtures, state paths and transitions: what they compute and draw."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch
from sklearn.mixture import GaussianMixture

from kernelmill.markov import MarkovChain
from kernelmill.plot import DensityDisplay, StatePathDisplay, TransitionDisplay
from kernelmill.plot._density import LEVELS, blend
from kernelmill.plot._rows import full_covariances
from kernelmill.plot._style import PALETTE, lighter


@pytest.fixture(autouse=True)
def _no_figure_is_shown_or_left(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    yield
    plt.close("all")


@pytest.fixture
def X(rng):
    centers = np.array([[0.0, 0, 0, 1], [9.0, 0, 1, 0], [0.0, 9, 0, 0]])
    return np.repeat(centers, 40, axis=0) + rng.standard_normal((120, 4))


# --- DensityDisplay ---


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_density_is_that_of_the_model(X, kind, k):
    """Two features of two: the grid holds the mixture's own density."""
    two = X[:, :2]
    model = GaussianMixture(k, covariance_type=kind, random_state=0).fit(two)
    display = DensityDisplay.from_estimator(model, two)
    xs, ys, values = display.density
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    expected = np.exp(model.score_samples(places)).reshape(values.shape)
    # Components are widened by half a step of the grid, a relative change of (step / sd)^2 / 4.
    step = max(xs[1] - xs[0], ys[1] - ys[0])
    smallest = np.linalg.eigvalsh(display.covariances).min()
    assert np.allclose(values, expected, rtol=0, atol=expected.max() * step**2 / smallest)
    assert np.array_equal(display.memberships, model.predict_proba(two))
    ellipses = [p for p in display.ax_.patches if isinstance(p, Ellipse)]
    assert np.allclose([p.center for p in ellipses], model.means_, rtol=1e-12, atol=0)
    for patch, covariance in zip(ellipses, display.covariances, strict=True):
        axes = np.sqrt(np.linalg.eigvalsh(covariance)) * 4
        assert np.allclose(sorted((patch.width, patch.height)), axes, rtol=1e-12, atol=0)


def test_density_levels_hold_their_shares(X):
    model = GaussianMixture(1, random_state=0).fit(X[:40, :2])
    display = DensityDisplay.from_estimator(model, X[:40, :2])
    # Of one Gaussian in the plane, the region with share p ends where the density is 1 - p of the
    # peak. The grid cuts off what lies beyond three standard deviations, 1 % at most.
    peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(display.covariances[0])))
    expected = peak * (1 - np.array(LEVELS))[::-1]
    assert np.allclose(display.levels_, expected, rtol=0, atol=0.02 * peak)


@pytest.mark.parametrize("features", [(0, 2), (3, 1), None])
def test_density_in_a_plane_is_a_marginal(X, features):
    """Against samples of the model: means and covariances of their pictures in the plane."""
    model = GaussianMixture(3, random_state=0).fit(X)
    display = DensityDisplay.from_estimator(model, X, features=features)
    assert display.points.shape == (120, 2)
    if features is None:
        from sklearn.decomposition import PCA

        project = PCA(2).fit(X)
        assert np.allclose(display.points, project.transform(X), rtol=0, atol=1e-12)
        W = project.components_.T
        assert "of variance" in display.ax_.get_xlabel()
    else:
        W = np.eye(4)[:, list(features)]
        assert display.ax_.get_ylabel() == f"Feature {features[1]}"
    for j in range(3):
        assert np.allclose(
            display.covariances[j], W.T @ model.covariances_[j] @ W, rtol=0, atol=1e-12
        )
    rows = np.asarray(display.ax_.collections[-1].get_offsets())
    assert np.array_equal(rows, display.points)


def test_colours_mix_by_membership():
    colors = ["#ff0000", "#0000ff"]
    mixed = blend(np.array([[1.0, 0], [0, 1], [0.5, 0.5], [0, 0]]), colors)
    assert [to_hex(c) for c in mixed[:2]] == colors
    assert np.allclose(mixed[2], [0.5 ** (1 / 2.2), 0, 0.5 ** (1 / 2.2)], rtol=1e-12, atol=0)
    assert np.isfinite(mixed).all()


def test_covariances_of_every_shape():
    tied, diag = np.array([[2.0, 1], [1, 3]]), np.array([[1.0, 2], [3, 4], [5, 6]])
    cases = [
        ("tied", tied, np.stack([tied] * 3)),
        (None, tied, np.stack([tied] * 3)),
        ("diag", diag, np.stack([np.diag(row) for row in diag])),
        ("spherical", np.array([1.0, 2, 3]), np.array([1, 2, 3])[:, None, None] * np.eye(2)),
        ("full", np.stack([tied] * 3), np.stack([tied] * 3)),
    ]
    for kind, given, expected in cases:
        model = SimpleNamespace(covariances_=given)
        if kind:
            model.covariance_type = kind
        assert np.array_equal(full_covariances("Display", model, 3, 2), expected), kind
    hmm_like = SimpleNamespace(covars_=np.stack([tied] * 3), covariance_type="tied")
    assert np.array_equal(full_covariances("Display", hmm_like, 3, 2), np.stack([tied] * 3))
    with pytest.raises(ValueError, match=r"covariances_ must be full, .* got shape \(5,\)"):
        full_covariances("Display", SimpleNamespace(covariances_=np.ones(5)), 3, 2)


def test_density_of_frames_hidden_states_and_many_rows(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("wxyz"))
    model = GaussianMixture(3, random_state=0).fit(frame)
    display = DensityDisplay.from_estimator(model, frame, features=("z", "x"), max_points=25)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("z", "x")
    assert display.points.shape == (25, 2)
    again = DensityDisplay.from_estimator(model, frame, features=("z", "x"), max_points=25)
    assert np.array_equal(display.points, again.points)
    # No weights_: the mean memberships stand for them. Labels are memberships too.
    states = SimpleNamespace(means_=model.means_, covars_=model.covariances_)
    display = DensityDisplay.from_predictions(states, X, np.repeat([0, 1, 2], [20, 40, 60]))
    assert np.allclose(display.weights, [1 / 6, 1 / 3, 1 / 2], rtol=1e-12, atol=0)


def test_density_of_flat_components_is_drawn():
    model = SimpleNamespace(
        means_=np.zeros((2, 2)), covariances_=np.zeros((2, 2, 2)), weights_=np.array([1.0, 0])
    )
    display = DensityDisplay.from_predictions(model, np.zeros((3, 2)), np.zeros(3, dtype=int))
    assert np.isfinite(display.density[2]).all()
    display.figure_.canvas.draw()


def test_density_refuses(X):
    model = GaussianMixture(3, random_state=0).fit(X)
    for features in ((0, 0), (0, 9), ("a", 1), (0,)):
        with pytest.raises(ValueError, match="features must be two different columns of the 4"):
            DensityDisplay.from_estimator(model, X, features=features)
    one = GaussianMixture(1).fit(X[:, :1])
    with pytest.raises(ValueError, match="features must be two different columns of the 1"):
        DensityDisplay.from_estimator(one, X[:, :1], features=(0, 1))
    layered = SimpleNamespace(means_=np.zeros((2, 3, 4)), covars_=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"with means_ of shape \(2, 3, 4\)"):
        DensityDisplay.from_predictions(layered, X, np.zeros(120, dtype=int))
    with pytest.raises(ValueError, match="component_names must be a list of 3 names, got 1"):
        DensityDisplay.from_estimator(model, X, component_names=["a"])
    with pytest.raises(ValueError, match=r"memberships must have shape \(120, 3\), got"):
        DensityDisplay.from_predictions(model, X, np.ones((120, 2)))


# --- StatePathDisplay ---


class Decoder:
    """The least that the display needs of a model."""

    def predict(self, X, lengths=None):
        self.seen = lengths
        return (np.asarray(X)[:, 0] > 0).astype(int)

    def predict_proba(self, X, lengths=None):
        p = 1 / (1 + np.exp(-np.asarray(X)[:, 0]))
        return np.column_stack([1 - p, p])


def spans(ax):
    """State and borders of every coloured span, from the drawing."""
    found = []
    for collection in ax.collections:
        color = to_hex(collection.get_facecolor()[0])
        for path in collection.get_paths():
            x = path.vertices[:, 0]
            found.append((float(x.min()), float(x.max()), color))
    return sorted(found)


def test_path_spans_are_the_runs_of_states():
    series = np.array([-1.0, -1, 2, 2, 2, -1, 3])
    model = Decoder()
    display = StatePathDisplay.from_estimator(model, series[:, None])
    shades = [to_hex(lighter(color, 0.62)) for color in PALETTE[:2]]
    assert spans(display.ax_) == [
        (-0.5, 1.5, shades[0]),
        (1.5, 4.5, shades[1]),
        (4.5, 5.5, shades[0]),
        (5.5, 6.5, shades[1]),
    ]
    line = display.ax_.get_lines()[0]
    assert np.array_equal(line.get_ydata(), series)
    assert display.ax_.get_title(loc="left") == "Decoder: 2 states"
    # Below, areas that are constant between the same borders, stacked to one.
    below = display.probability_ax_
    lower, upper = (collection.get_paths()[0] for collection in below.collections)
    p = model.predict_proba(series[:, None])
    for t in range(7):
        for at in (t - 0.49, t, t + 0.49):
            border = p[t, 0]
            for y in (0.001, border - 0.001, border + 0.001, 0.999):
                assert lower.contains_point((at, y)) == (y < border)
                assert upper.contains_point((at, y)) == (y > border)
    display.figure_.canvas.draw()


def test_path_with_dates_lengths_and_other_series():
    X = np.linspace(-1, 1, 10)[:, None]
    days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    model = Decoder()
    display = StatePathDisplay.from_estimator(
        model, X, [4, 6], series=np.arange(20.0).reshape(10, 2), times=days,
        state_names=["down", "up"],
    )  # fmt: skip
    assert model.seen == [4, 6]
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["down", "up"]
    lines = [line.get_ydata() for line in display.ax_.get_lines()]
    curves = [y for y in lines if len(y) == 11]
    assert len(curves) == 2
    assert all(np.isnan(curve[4]) and np.isnan(curve).sum() == 1 for curve in curves), "a gap"
    first, last = display.ax_.get_xlim()
    assert last - first == 10, "whole days"
    display.figure_.canvas.draw()


def test_path_of_frames_and_given_axes(rng):
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range("2021-05-01", periods=12, freq="h")
    frame = pandas.DataFrame({"load": rng.standard_normal(12)}, index=index)
    figure, pair = plt.subplots(2, 1)
    display = StatePathDisplay.from_estimator(Decoder(), frame, ax=pair)
    assert (display.ax_, display.probability_ax_) == tuple(pair)
    assert display.ax_.get_ylabel() == "load"
    assert display.figure_ is figure
    other, ax = plt.subplots()
    display.plot(ax=ax)
    assert len(other.axes) == 3, "one is divided into two"
    plain = StatePathDisplay.from_predictions(np.zeros(5), [0, 0, 1, 1, 0])
    assert plain.probability_ax_ is None
    assert StatePathDisplay.from_predictions([1.0], [2]).n_states == 3
    many = StatePathDisplay.from_predictions(np.zeros(20), np.arange(20))
    assert many.ax_.get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 2], [0]), {}, r"states must have shape \(2,\), got \(1,\)"),
        (([1.0], [-1]), {}, "states must be whole numbers from 0"),
        (([1.0], [0.5]), {}, "states must be whole numbers from 0"),
        (([1.0], [0]), {"times": [1, 2]}, r"times must have shape \(1,\)"),
        (([1.0], [0]), {"lengths": [2]}, "add up to them, got 1 rows and a sum of 2"),
        (([1.0], [0]), {"probabilities": [0.5]}, r"probabilities must have shape \(1, K\)"),
        (([], []), {}, "at least one row"),
        (([1.0, 2], [0, 1]), {"state_names": ["a"]}, "state_names .* at least 2 names, got 1"),
        (([1.0, 2], [0, 1]), {"state_names": "ab"}, "state_names .* 2 names, got the text 'ab'"),
        (
            ([1.0], [0]),
            {"state_names": list("abc"), "probabilities": [[0.5, 0.5]]},
            "state_names must be a list of 2 names, got 3",
        ),
    ],
)
def test_path_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=f"StatePathDisplay: .*{message}"):
        StatePathDisplay.from_predictions(*arguments, **options)


# --- TransitionDisplay ---


def test_matrix_shows_every_probability():
    A = np.array([[0.7, 0.3, 0], [0.001, 0.5, 0.499], [0, 0, 1]])
    chain = MarkovChain.from_matrix(A, classes=["sun", "rain", "snow"])
    display = TransitionDisplay.from_estimator(chain)
    assert np.array_equal(display.ax_.images[0].get_array(), A)
    texts = {t.get_position(): t.get_text() for t in display.ax_.texts}
    assert texts[(0, 0)] == "0.70"
    assert texts[(2, 0)] == "0"
    assert texts[(0, 1)] == "~0"
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["sun", "rain", "snow"]
    assert len(display.figure_.axes) == 1
    without = TransitionDisplay.from_estimator(chain, values=False, vmax=0.5)
    assert not without.ax_.texts
    assert len(without.figure_.axes) == 2, "a colour bar in place of numbers"
    assert without.ax_.images[0].norm.vmax == 0.5


def test_matrix_of_a_longer_memory():
    chain = MarkovChain(2).fit("abracadabra")
    display = TransitionDisplay.from_estimator(chain)
    rows = [t.get_text() for t in display.ax_.get_yticklabels()]
    assert rows == ["ab", "ac", "ad", "br", "ca", "da", "ra"]
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list("abcdr")
    with pytest.raises(ValueError, match="kind must be 'matrix' for a chain of higher order"):
        TransitionDisplay.from_estimator(chain, kind="graph")
    words = MarkovChain(2).fit([["up", "down", "up"]])
    assert TransitionDisplay.from_estimator(words).state_names[0] == "down up"


@pytest.mark.parametrize("K", [1, 2, 3, 5, 9])
def test_graph_has_an_arrow_per_probability(rng, K):
    A = rng.random((K, K)) * (rng.random((K, K)) < 0.6) + np.eye(K)
    chain = MarkovChain.from_matrix(A / A.sum(axis=1, keepdims=True))
    display = TransitionDisplay.from_estimator(chain, kind="graph")
    arrows = [p for p in display.ax_.patches if isinstance(p, FancyArrowPatch)]
    nodes = [p for p in display.ax_.patches if isinstance(p, Circle)]
    shown = chain.transmat_[chain.transmat_ >= 0.005]
    assert (len(arrows), len(nodes)) == (len(shown), K)
    widths = [arrow.get_linewidth() for arrow in arrows]
    assert np.array_equal(np.argsort(widths, kind="stable"), np.argsort(shown, kind="stable"))
    texts = [t.get_text() for t in display.ax_.texts]
    assert sorted(texts[: len(shown)]) == sorted(f"{p:.2f}" for p in shown)
    # Nodes apart, all in sight, larger where more time is spent.
    centers, radii = np.array([n.center for n in nodes]), np.array([n.radius for n in nodes])
    apart = np.hypot(*(centers[:, None] - centers).transpose(2, 0, 1)) + 9 * np.eye(K)
    assert (apart > radii[:, None] + radii).all()
    share = np.maximum(chain.long_run_distribution() / chain.long_run_distribution().max(), 0.15)
    assert np.allclose((radii / radii.max()) ** 2, share / share.max(), rtol=1e-9, atol=0)
    low, high = display.ax_.get_xlim()
    assert (centers[:, 0] - radii > low).all()
    assert (centers[:, 0] + radii < high).all()
    display.figure_.canvas.draw()


def test_transitions_of_hidden_models_and_paths():
    model = SimpleNamespace(
        transmat_=np.array([[0.9, 0.1], [0.2, 0.8]]),
        get_stationary_distribution=lambda: np.array([2 / 3, 1 / 3]),
    )
    display = TransitionDisplay.from_estimator(model, state_names=["a", "b"], kind="graph")
    assert np.array_equal(display.weights, [2 / 3, 1 / 3])
    path = TransitionDisplay.from_predictions([0, 0, 1, 0, 1, 1], [3, 3])
    assert np.array_equal(path.transmat, [[1 / 3, 2 / 3], [0, 1]])
    assert path.ax_.get_title(loc="left") == ""


def test_transitions_refuse():
    with pytest.raises(ValueError, match="transmat must be a matrix, got shape"):
        TransitionDisplay([0.5, 0.5])
    with pytest.raises(ValueError, match="state_names must be a list of 2 names, got 1"):
        TransitionDisplay(np.eye(2), state_names=["a"])
    with pytest.raises(ValueError, match="symbol_names must be a list of 2 names, got 3"):
        TransitionDisplay(np.eye(2), symbol_names=list("abc"))
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), got \(1,\)"):
        TransitionDisplay(np.eye(2), weights=[1.0])
    with pytest.raises(ValueError, match="kind must be 'matrix' or 'graph', got 'tree'"):
        TransitionDisplay(np.eye(2)).plot(kind="tree")


def test_given_axes_are_used(X):
    figure, axes = plt.subplots(1, 2)
    model = GaussianMixture(2, random_state=0).fit(X)
    density = DensityDisplay.from_estimator(model, X, ax=axes[0], marker="s")
    transitions = TransitionDisplay(np.eye(2)).plot(ax=axes[1])
    for display, ax in ((density, axes[0]), (transitions, axes[1])):
        assert display.ax_ is ax
        assert display.figure_ is figure
        assert display.plot(ax=ax) is display
    assert plt.get_fignums() == [figure.number]
    edges = [to_hex(patch.get_edgecolor()) for patch in density.ax_.patches[:2]]
    assert edges == [color.lower() for color in PALETTE[:2]]


def test_plotting_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
from kernelmill.plot import DensityDisplay, StatePathDisplay, TransitionDisplay
for draw in (
    lambda: DensityDisplay([[0, 0]], [[1]], [[0, 0]], [[[1, 0], [0, 1]]], [1]).plot(),
    lambda: StatePathDisplay.from_predictions([0.0], [0]),
    lambda: TransitionDisplay([[1.0]]).plot(),
    lambda: TransitionDisplay([[1.0]]).plot(kind="graph"),
):
    try:
        draw()
    except ImportError as error:
        assert "pip install 'kernelmill[plot]'" in str(error), error
    else:
        raise SystemExit("no ImportError")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
