"""Displays of forecasts and of attention."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

from kernelmill.plot import AttentionDisplay, ForecastDisplay


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_forecast_draws_series_band_and_others():
    times = np.arange(20)
    display = ForecastDisplay(
        times, np.sin(times), times[-5:], np.zeros(5), -np.ones(5), np.ones(5), band_name="90 %",
        others={"naive": np.ones(5)}, estimator_name="GRU",
    ).plot(color="red")  # fmt: skip
    lines = {line.get_label(): line for line in display.ax_.lines}
    assert list(lines) == ["observed", "naive", "forecast"]
    assert lines["forecast"].get_color() == "red"
    np.testing.assert_array_equal(lines["observed"].get_ydata(), np.sin(times))
    (band,) = display.ax_.collections
    assert band.get_label() == "90 %"
    vertices = band.get_paths()[0].vertices
    assert (vertices.min(0).tolist(), vertices.max(0).tolist()) == ([15, -1], [19, 1])
    assert display.ax_.get_title(loc="left") == "GRU: forecast"
    assert display.covered([0.0, 2, -1, 1, -3]) == 0.6
    assert display.figure_ is display.ax_.figure


def test_forecast_names_what_does_not_fit():
    one, two = [0.0], [0.0, 1.0]
    with pytest.raises(ValueError, match="lower and upper must be given together"):
        ForecastDisplay(one, one, one, one, one)
    with pytest.raises(ValueError, match=r"forecast must have the shape .* \(1,\), got \(2,\)"):
        ForecastDisplay(one, one, one, two)
    with pytest.raises(ValueError, match=r"naive must have the shape of forecast_times"):
        ForecastDisplay(one, one, one, one, others={"naive": two})
    with pytest.raises(ValueError, match=r"times and values must have one shape"):
        ForecastDisplay(one, two, one, one)
    with pytest.raises(ValueError, match="got no band"):
        ForecastDisplay(one, one, one, one).covered(one)


def test_attention_as_a_heat_map():
    weights = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    display = AttentionDisplay(weights, ["a", "bc", "d"], ["x", "y"]).plot(cmap="Greens")
    (image,) = display.ax_.images
    np.testing.assert_array_equal(image.get_array(), weights)
    assert image.get_cmap().name == "Greens"
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["a", "bc", "d"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["x", "y"]


def test_attention_as_text_goes_on_in_new_lines():
    words = ["attention"] * 40 + ["x" * 300]
    weights = np.arange(41.0)
    display = AttentionDisplay(weights, words).plot(fontsize=8)
    texts = display.ax_.texts
    assert [t.get_text() for t in texts] == words
    rows = [t.get_position()[1] for t in texts]
    assert rows == sorted(rows)
    assert max(rows) == 2
    shades = [patch.get_alpha() for patch in display.ax_.patches]
    assert shades == sorted(shades)
    assert shades[0] == 0
    for row in set(rows):  # words of a line lie apart
        line = [t for t in texts if t.get_position()[1] == row]
        ends = [t.get_position()[0] + len(t.get_text()) for t in line]
        assert all(e < t.get_position()[0] for e, t in zip(ends, line[1:], strict=False))


def test_attention_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"weights must have shape \(m, n\) or \(n,\), got \(2, "):
        AttentionDisplay(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="keys must be a list of 2 names, got 3"):
        AttentionDisplay(np.ones((2, 2)), list("abc"))
