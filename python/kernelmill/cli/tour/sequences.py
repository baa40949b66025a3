"""Sequences on the tour: English text, the sunspots, and sentences of documentation."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from ... import nn
from ...nn import functional as F
from ._context import INK, MUTED, Context, Row

# Yearly sunspot numbers from 1700 on (NOAA National Geophysical Data Center, public domain).
SUNSPOTS = np.fromstring(
    """
    5 11 16 23 36 58 29 20 10 8 3 0 0 2 11 27 47 63 60 39 28 26 22 11 21 40 78 122 103 73 47 35 11 5
    16 34 70 81 111 101 73 40 20 16 5 11 22 40 60 81 83 48 48 31 12 10 10 32 48 54 63 86 61 45 36 21
    11 38 70 106 101 82 66 35 31 7 20 92 154 126 85 68 38 23 10 24 83 132 131 118 90 67 60 47 41 21
    16 6 4 7 14 34 45 43 48 42 28 10 8 2 0 1 5 12 14 35 46 41 30 24 16 7 4 2 8 17 36 50 64 67 71 48
    28 8 13 57 122 138 103 86 65 37 24 11 15 40 62 98 125 96 67 64 54 39 21 7 4 23 55 94 96 77 59 44
    47 30 16 7 38 74 139 111 102 66 45 17 11 12 3 6 32 54 60 64 64 52 25 13 7 6 7 36 73 85 78 64 42
    26 27 12 10 3 5 24 42 64 54 62 48 44 19 6 4 1 10 47 57 104 81 64 38 26 14 6 17 44 64 69 78 65 36
    21 11 6 9 36 80 114 110 89 68 48 31 16 10 33 93 152 136 135 84 69 32 14 4 38 142 190 185 159 112
    54 38 28 10 15 47 94 106 106 104 67 69 38 34 16 13 28 92 155 155 140 116 67 46 18 13 29 100 158
    143 146 94 55 30 18 9 22 64 93 120 111 104 64 40 30 15 8 3
    """,
    sep=" ",
)
YEARS = 1700 + np.arange(len(SUNSPOTS))
CYCLE = 11  # years, to the nearest one: the period of the baseline, and how far to look ahead
QUANTILES = np.array([0.1, 0.5, 0.9], np.float32)

LIBRARIES = {
    "numpy": ("numpy.linalg", "numpy.random", "numpy.fft", "numpy.ma"),
    "scipy.signal": ("scipy.signal",),
    "scipy.optimize": ("scipy.optimize",),
    "sklearn": ("sklearn.linear_model", "sklearn.cluster", "sklearn.metrics"),
}


def rows(context: Context) -> Iterator[Row]:
    """A character model, a forecast with its band, and attention to words."""
    if context.device == "cuda":
        context.notes.append("Sequence models ran on the CPU.")
    yield from _characters(context)
    yield from _forecast(context)
    yield from _sentences(context)


# --- text -----------------------------------------------------------------------------------------


def topics(every: int = 8) -> tuple[str, str]:
    """Python's own help texts, and every eighth of them, held out.

    Paragraphs that occur again are dropped, so that none is in both.
    """
    from pydoc_data.topics import topics as texts

    plain = str.maketrans("‘’“”–—…°ß", "''\"\"--. s")
    seen: set[str] = set()
    parts: tuple[list[str], list[str]] = [], []
    order = sorted(texts)
    held = order[every // 2 :: every]
    for name in (*(n for n in order if n not in held), *held):
        for paragraph in texts[name].translate(plain).split("\n\n"):
            if paragraph not in seen:
                seen.add(paragraph)
                parts[name in held].append(paragraph)
    return "\n\n".join(parts[0]), "\n\n".join(parts[1])


class CharacterModel(nn.Module):
    """An LSTM that scores the next character; its state is carried on from call to call."""

    def __init__(self, characters: int, hidden: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, characters)

    def forward(self, codes: Any, state: Any = None) -> tuple[nn.Tensor, Any]:
        """Scores of shape (N, T, characters), and the state behind the last step."""
        units, state = self.lstm(self.embedding(codes), state)
        return self.output(self.dropout(units)), state


def train_characters(
    model: Any, codes: np.ndarray, epochs: int, batch: int = 32, steps: int = 32, lr: float = 0.01,
    report: Callable[[int, float], None] | None = None,
) -> None:  # fmt: skip
    """Backpropagation through time, cut after some steps: the state goes on, its gradient ends."""
    columns = codes[: len(codes) // batch * batch].reshape(batch, -1)
    starts = range(0, columns.shape[1] - 1, steps)
    optimizer = nn.optim.AdamW(model.parameters(), lr)
    schedule = nn.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(starts), pct_start=0.1
    )
    for epoch in range(1, epochs + 1):
        state, total = None, 0.0
        for start in starts:
            chunk = columns[:, start : start + steps + 1]
            if state is not None:
                state = tuple(s.detach() for s in state)
            scores, state = model(chunk[:, :-1], state)
            loss = F.cross_entropy(scores.reshape(-1, scores.shape[2]), chunk[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if report is not None:
            report(epoch, total / len(starts))


def nats(model: Any, codes: np.ndarray, batch: int = 8, steps: int = 256) -> float:
    """Mean loss of a character, the state being carried on."""
    columns = codes[: len(codes) // batch * batch].reshape(batch, -1)
    total, state = 0.0, None
    model.eval()
    with nn.no_grad():
        for start in range(0, columns.shape[1] - 1, steps):
            chunk = columns[:, start : start + steps + 1]
            scores, state = model(chunk[:, :-1], state)
            flat = scores.reshape(-1, scores.shape[2])
            total += F.cross_entropy(flat, chunk[:, 1:].reshape(-1), reduction="sum").item()
    model.train()
    return total / (columns.size - batch)


def _characters(context: Context) -> Iterator[Row]:
    train, held = topics()
    names = sorted({*train, *held})
    places = {c: i for i, c in enumerate(names)}
    codes, unseen = (np.array([places[c] for c in text]) for text in (train, held[:20_000]))
    nn.manual_seed(0)
    model = CharacterModel(len(names), 128)
    _, seconds = context.timed(functools.partial(train_characters, model, codes, 1))
    score = f"nats {nats(model, unseen):.2f}/character"
    yield Row("nn, LSTM", "Python's help texts", (len(codes), 1), seconds, score, context.where())
    start = [places[c] for c in "The "]
    text = nn.generate(model, start, 160, temperature=0.6, generator=1).tolist()
    sample = " ".join("".join(names[i] for i in text).split())
    context.notes.append(f'The LSTM writes: "{sample}"')


# --- a series -------------------------------------------------------------------------------------


class Forecaster(nn.Module):
    """Quantiles of the next steps: a GRU, beside an autoregression, reads the steps before."""

    def __init__(self, window: int, ahead: int, hidden: int = 32) -> None:
        super().__init__()
        self.gru = nn.GRU(1, hidden)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(hidden, ahead * len(QUANTILES))
        self.linear = nn.Linear(window, ahead * len(QUANTILES))

    def forward(self, x: Any) -> nn.Tensor:
        """Quantiles of shape (N, ahead, quantiles) behind windows of shape (N, window)."""
        _, last = self.gru(x.T[:, :, None])
        z = self.output(self.dropout(last[-1])) + self.linear(x)
        return z.reshape(len(x), -1, len(QUANTILES))


def train_forecaster(series: np.ndarray, window: int, ahead: int, epochs: int = 40) -> Forecaster:
    """Train on all windows of a series by the loss of each quantile."""
    places = np.arange(window, len(series) - ahead + 1)
    X, Y = _windows(series, places, window, ahead)
    nn.manual_seed(0)
    model = Forecaster(window, ahead)
    optimizer = nn.optim.AdamW(model.parameters(), 0.01)
    batches = -(-len(X) // 32)
    schedule = nn.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * batches)
    for _ in range(epochs):
        for rows in np.array_split(nn.randperm(len(X)).numpy(), batches):
            short = Y[rows, :, None] - model(X[rows])
            loss = nn.maximum(QUANTILES * short, (QUANTILES - 1) * short).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _windows(
    series: np.ndarray, places: np.ndarray, window: int, ahead: int
) -> tuple[np.ndarray, np.ndarray]:
    """What lies before and behind each place."""
    before = series[places[:, None] + np.arange(-window, 0)]
    return before, series[places[:, None] + np.arange(ahead)]


def sunspot_windows(first: int = 1900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The series before a year; then, for each year on, what lies before it, and the year.

    Roots make the spread of high and low years alike.
    """
    roots = (np.sqrt(SUNSPOTS) / 10).astype(np.float32)
    places = np.arange(first - int(YEARS[0]), len(roots) - CYCLE + 1)
    return roots[: places[0]], _windows(roots, places, 4 * CYCLE, CYCLE)[0], places


def predicted(model: Forecaster, windows: np.ndarray) -> np.ndarray:
    """Quantiles of the numbers of sunspots, of shape (N, ahead, quantiles)."""
    with nn.no_grad():
        return (10 * np.sort(model(windows).numpy(), 2).clip(0)) ** 2


def _forecast(context: Context) -> Iterator[Row]:
    series, windows, places = sunspot_windows()
    model, seconds = context.timed(lambda: train_forecaster(series, windows.shape[1], CYCLE))
    quantiles = predicted(model, windows)
    before, truth = _windows(SUNSPOTS, places, CYCLE, CYCLE)
    error, naive = np.abs(quantiles[:, :, 1] - truth).mean(), np.abs(before - truth).mean()
    yield Row(
        "nn, GRU", "sunspots since 1900", (len(places), CYCLE), seconds,
        f"MAE {error:.1f}, naive {naive:.1f}", context.where(),
    )  # fmt: skip
    if not context.plot:
        return
    from ...plot import ForecastDisplay

    figure = context.figure(11, 6.4)
    for axes, year in zip(figure.subplots(2, 1), (1968, 1990), strict=True):
        i = int(np.searchsorted(YEARS[places], year))
        low, middle, high = quantiles[i].T
        shown = (YEARS >= 1900) & (year + CYCLE > YEARS)
        display = ForecastDisplay(
            YEARS[shown], SUNSPOTS[shown], YEARS[places[i]] + np.arange(CYCLE), middle, low, high,
            band_name="80 % band", others={f"{CYCLE} years before": before[i]},
        ).plot(axes)  # fmt: skip
        share = display.covered(truth[i])
        axes.axvline(year - 0.5, color=MUTED, linewidth=0.8)
        axes.set_title(
            f"Forecast of {year}: the band holds {share:.0%} of the years behind", loc="left",
            color=INK,
        )  # fmt: skip
        axes.set_ylabel("Sunspots", color=MUTED)
    context.save(figure, "sunspots", "forecasts of the sunspots by a GRU, with their bands")


# --- sentences ------------------------------------------------------------------------------------


def sentences() -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """Words of sentences of documentation, the library of each, and whether it is held out.

    Sentences of one docstring are all held out or all not, and none occurs twice.
    """
    words: list[list[str]] = []
    library, held = [], []
    seen: set[str] = set()
    for label, modules in enumerate(LIBRARIES.values()):
        for module in map(import_module, modules):
            for number, name in enumerate(sorted(module.__all__)):
                text = inspect.getdoc(getattr(module, name)) or ""
                text = re.split(r"\n(?:References|Examples|See Also)\n-+\n", text)[0]
                for paragraph in re.sub(r"\n-{3,}\n", " ", text).split("\n\n"):
                    joined = " ".join(paragraph.split())
                    for sentence in re.split(r"(?<=[.:?!])\s+(?=[A-Z`])", joined):
                        found = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", sentence.lower())
                        key = " ".join(found)
                        plain = sum(w.isalpha() for w in found)
                        if plain >= 5 and len(found) <= 40 and key not in seen:
                            seen.add(key)
                            words.append(found)
                            library.append(label)
                            held.append(number % 5 == 2)
    return words, np.array(library), np.array(held)


class AttentiveClassifier(nn.Module):
    """Reads words in both directions, and attends to those that tell most."""

    def __init__(self, words: int, classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, hidden, padding_idx=0)
        nn.init.normal_(self.embedding.weight, 0.0, 0.3)
        self.gru = nn.GRU(hidden, hidden, bidirectional=True)
        self.hidden, self.score = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(2 * hidden, classes)

    def forward(self, codes: Any, lengths: Any) -> tuple[nn.Tensor, nn.Tensor]:
        """Scores of the classes (N, classes), and weights of the words (T, N)."""
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embedding(codes)), lengths, enforce_sorted=False
        )
        units, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0])
        scores = self.score(self.hidden(units).tanh()).squeeze(2)
        inside = np.arange(len(codes))[:, None] < lengths
        weights = F.softmax(nn.where(inside, scores, -np.inf), 0)
        return self.output(self.dropout((weights.unsqueeze(2) * units).sum(0))), weights


def coded(words: list[list[str]], held: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Numbers of words: 1 for those that are rare or held out; and how many there are."""
    counts = Counter(w for s, h in zip(words, held, strict=True) if not h for w in dict.fromkeys(s))
    numbers = {w: i for i, w in enumerate((w for w, n in counts.items() if n > 1), 2)}
    return [np.array([numbers.get(w, 1) for w in s]) for s in words], len(numbers) + 2


def padded(sentences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sentences as columns, filled up with 0, and their lengths."""
    lengths = np.array([len(s) for s in sentences])
    columns = np.zeros((lengths.max(), len(sentences)), np.int64)
    for j, sentence in enumerate(sentences):
        columns[: len(sentence), j] = sentence
    return columns, lengths


def train_classifier(
    model: Any, sentences: list[np.ndarray], labels: np.ndarray, epochs: int, lr: float = 0.01
) -> None:
    """Train on batches of sentences of about one length."""
    rng = np.random.default_rng(0)
    lengths = np.array([len(s) for s in sentences])
    batches = -(-len(sentences) // 64)
    optimizer = nn.optim.AdamW(model.parameters(), lr, weight_decay=0.05)
    schedule = nn.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * batches, pct_start=0.2
    )
    for _ in range(epochs):
        order = np.argsort(lengths + rng.uniform(0, 3, len(lengths)))
        parts = np.array_split(order, batches)
        for b in rng.permutation(batches):
            scores, _ = model(*padded([sentences[i] for i in parts[b]]))
            loss = F.cross_entropy(scores, labels[parts[b]], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def _sentences(context: Context) -> Iterator[Row]:
    words, labels, held = sentences()
    codes, count = coded(words, held)
    nn.manual_seed(0)
    model = AttentiveClassifier(count, len(LIBRARIES))
    train, unseen = np.flatnonzero(~held), np.flatnonzero(held)
    _, seconds = context.timed(
        lambda: train_classifier(model, [codes[i] for i in train], labels[train], 3)
    )
    with nn.no_grad():
        scores, weights = model(*padded([codes[i] for i in unseen]))
    right = scores.data.argmax(1) == labels[unseen]
    yield Row(
        "nn, attention", "library of a sentence", (len(train), count), seconds,
        f"accuracy {right.mean():.3f}", context.where(),
    )  # fmt: skip
    if context.plot:
        from ...plot import AttentionDisplay

        sure = F.softmax(scores, 1).numpy().max(1) * right
        figure = context.figure(9, 6)
        axes = figure.subplots(2 * len(LIBRARIES), 1)
        for k, name in enumerate(LIBRARIES):
            of_class = np.flatnonzero((labels[unseen] == k) & (sure > 0))
            longest = of_class[np.argsort([-len(words[unseen[j]]) for j in of_class])]
            for ax, j in zip(axes[2 * k : 2 * k + 2], longest, strict=False):
                sentence = words[unseen[j]]
                AttentionDisplay(weights.data[: len(sentence), j], sentence).plot(ax)
                ax.set_title(name, loc="left", color=MUTED, size="small")
        figure.suptitle("Words that tell the library", x=0.02, ha="left", color=INK)
        context.save(figure, "attention", "words that a network attends to when it names a library")
