"""Decompositions on the tour: digits in a plane, and topics of the text that Python carries."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import numpy as np

from ._context import INK, Context, Row

TOPICS, WORDS = 6, 6


def rows(context: Context) -> Iterator[Row]:
    """Handwritten digits by their components, and what Python's own manual is about."""
    from sklearn.datasets import load_digits

    from ...decomposition import PCA

    X, y = load_digits(return_X_y=True)
    model = PCA(0.9)
    _, seconds = context.timed(functools.partial(model.fit, X))
    score = f"90 % in {model.n_components_} of 64"
    yield Row("PCA", "handwritten digits", X.shape, seconds, score, context.where())
    if context.plot:
        _draw(context, X, y)
    yield from _topics(context)


def documents() -> dict[str, str]:
    """Pages of the manual that ``help`` shows: real English text, in every installation."""
    from pydoc_data.topics import topics

    return {name: text for name, text in topics.items() if len(text) > 400}


def _topics(context: Context) -> Iterator[Row]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from ...decomposition import TruncatedSVD

    found = documents()
    texts = [re.sub(r"``[^`]*``|[*_`=]+", " ", text) for text in found.values()]
    vectors = TfidfVectorizer(
        min_df=4, max_df=0.4, sublinear_tf=True, stop_words="english", token_pattern=r"[a-z]{4,}"
    )
    X = vectors.fit_transform(texts)
    model = TruncatedSVD(TOPICS, n_iter=10, random_state=0)
    _, seconds = context.timed(functools.partial(model.fit, X))
    share = model.explained_variance_ratio_.sum()
    yield Row("LSA by TruncatedSVD", "Python's own manual", X.shape, seconds,
              f"{share:.0%} in {TOPICS} topics", context.where())  # fmt: skip
    names = vectors.get_feature_names_out()
    told = "; ".join(" ".join(words) for words in words_of(model.components_[1:], names, 3))
    context.notes.append(f"Topics of Python's manual: {told}.")
    if context.plot:
        _draw_topics(context, words_of(model.components_, names, WORDS), model.components_)


def words_of(components: np.ndarray, names: np.ndarray, count: int) -> list[list[str]]:
    """The words with the largest entries of each component."""
    return [[str(names[j]) for j in np.argsort(-row)[:count]] for row in components]


def _draw(context: Context, X: np.ndarray, y: np.ndarray) -> None:
    from ...decomposition import PCA
    from ...plot import EmbeddingDisplay, ExplainedVarianceDisplay

    figure = context.figure(12.5, 5)
    left, right = figure.subplots(1, 2)
    model = PCA(40).fit(X)
    EmbeddingDisplay.from_estimator(model, X, y, ax=left)
    ExplainedVarianceDisplay.from_estimator(model, ax=right)
    context.save(figure, "digits-pca", "handwritten digits by their principal components")


def _draw_topics(context: Context, words: list[list[str]], components: np.ndarray) -> None:
    figure = context.figure(11, 5.5)
    for axes, own, row, number in zip(
        figure.subplots(2, TOPICS // 2).ravel(), words, components, range(TOPICS), strict=True
    ):
        size = np.sort(row)[::-1][: len(own)]
        axes.barh(own[::-1], size[::-1], color="#0072B2")
        axes.set_title(f"topic {number}", loc="left", color=INK)
        axes.set_xlabel("weight of the word")
        axes.spines[["top", "right"]].set_visible(False)
    context.save(figure, "manual-topics", "words of the topics of Python's manual, by LSA")
