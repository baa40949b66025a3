"""Markov models on the tour: calm and turbulent days of a stock, and the letters of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from ._context import INK, MUTED, Context, Row

LETTERS = "abcdefghijklmnopqrstuvwxyz "


def rows(context: Context) -> Iterator[Row]:
    """Model a stock with GaussianHMM, then a text with CategoricalHMM and MarkovChain."""
    yield from _stock(context)
    yield from _text(context)


def _stock(context: Context) -> Iterator[Row]:
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError:
        context.notes.append(
            "No stock: its prices come with matplotlib (pip install 'kernelmill[plot]')."
        )
        return
    from ...hmm import GaussianHMM

    days = np.load(get_sample_data("goog.npz", asfileobj=False))["price_data"]
    change = 100 * np.diff(np.log(days["adj_close"]))[:, None]
    model = GaussianHMM(2, n_iter=200, random_state=0, device=context.device)
    _, seconds = context.timed(lambda: model.fit(change))
    score = f"log L {model.score(change) / len(change):.2f} per day"
    yield Row(
        "GaussianHMM", "daily changes of a stock", change.shape, seconds, score, context.where()
    )
    if context.plot:
        _draw_stock(context, model, change, days)


def _draw_stock(context: Context, model, change: np.ndarray, days: np.ndarray) -> None:
    from ...plot import StatePathDisplay, TransitionDisplay

    spread = np.sqrt(np.asarray(model.covars_).reshape(-1))
    order = np.argsort(spread)  # calm days first
    rank = np.argsort(order)
    names = [
        f"{name} days, ±{spread[j]:.1f} %" for name, j in zip(("calm", "wild"), order, strict=True)
    ]
    figure = context.figure(13, 4.8)
    left, right = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    display = StatePathDisplay.from_predictions(
        days["adj_close"][1:],
        rank[model.predict(change)],
        probabilities=model.predict_proba(change)[:, order],
        times=days["date"][1:],
        state_names=names,
        ax=left.subplots(2, 1, sharex=True, height_ratios=(3, 1)),
    )
    display.ax_.set_ylabel("Price of Google, US$")
    display.ax_.set_title("States decoded from daily changes", loc="left", color=INK)
    marks = display.ax_.get_legend()
    display.ax_.legend(
        marks.legend_handles,
        names,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
        frameon=False,
    )
    graph = TransitionDisplay(
        model.transmat_[np.ix_(order, order)],
        weights=model.get_stationary_distribution()[order],
        state_names=["calm", "wild"],
    ).plot(ax=right.subplots(), kind="graph")
    graph.ax_.set_title("From one day to the next", loc="left", color=INK)
    context.save(figure, "stock", "prices of a stock, and the states inferred from its changes")


def _text(context: Context) -> Iterator[Row]:
    from ...hmm import CategoricalHMM
    from ...markov import MarkovChain, select_order

    text = _english()
    codes = np.array([LETTERS.index(letter) for letter in text])
    model = CategoricalHMM(2, n_iter=200, random_state=0, device=context.device)
    _, seconds = context.timed(lambda: model.fit(codes[:, None]))
    bits = -model.score(codes[:, None]) / len(codes) / np.log(2)
    shape, data = (len(codes), 1), "letters of English text"
    yield Row("CategoricalHMM", data, shape, seconds, f"bits {bits:.2f}/letter", context.where())

    chain, seconds = context.timed(lambda: MarkovChain(select_order(text, 4).order).fit(text))
    bits = -chain.score(text) / len(codes) / np.log(2)
    yield Row("MarkovChain", data, shape, seconds, f"bits {bits:.2f}/letter", _host(context))
    if context.plot:
        _draw_text(context, model, chain)


def _english() -> str:
    """The descriptions of scikit-learn's data sets, in lower case with single spaces."""
    from sklearn import datasets

    names = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
    texts = [getattr(datasets, f"load_{name}")().DESCR for name in names]
    return re.sub("[^a-z]+", " ", " ".join(texts).lower()).strip()


def _host(context: Context) -> str:
    """Where counting runs: always on the CPU."""
    return context.where() if context.device == "cpu" else "CPU"


def _draw_text(context: Context, model, chain) -> None:
    from ...plot import TransitionDisplay

    figure = context.figure(13, 5.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    # The state that a letter most likely comes from, regardless of its neighbours.
    joint = model.get_stationary_distribution()[:, None] * model.emissionprob_
    vowel = int(joint[:, LETTERS.index("e")].argmax())
    share = joint[vowel] / joint.sum(axis=0)
    order = np.argsort(-share, kind="stable")
    axes = left.subplots()
    colors = ["#E69F00" if share[j] > 0.5 else "#0072B2" for j in order]
    axes.bar(range(len(order)), share[order], color=colors, width=0.78)
    axes.bar(range(len(order)), 1 - share[order], bottom=share[order], color="#E8EBEF", width=0.78)
    axes.set_xticks(range(len(order)), [LETTERS[j].replace(" ", "␣") for j in order])
    axes.tick_params(length=0, colors=INK)
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1))
    axes.set_ylabel("Probability of one of two hidden states", color=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("The model finds the vowels unsupervised", loc="left", color=INK)
    names = [letter.replace(" ", "␣") for letter in LETTERS]
    places = [chain.states_.tolist().index(letter) for letter in LETTERS]
    matrix = TransitionDisplay(chain.transmat_[np.ix_(places, places)], state_names=names)
    matrix.plot(ax=right.subplots(), vmax=0.6)
    matrix.ax_.tick_params(labelsize=8)
    matrix.ax_.set_title("Which letter follows which", loc="left", color=INK)
    context.save(figure, "letters", "the vowels that a model found, and which letter follows which")
