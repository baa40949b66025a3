"""Character models of Python's own help texts: an LSTM, or a transformer.

    python examples/character_model.py lstm
    python examples/character_model.py transformer

One topic in eight is held out, and paragraphs that occur again are dropped (293,000 characters to
learn from, 84,000 held out). Prints nats per character while it learns, and then a sample.
docs/sequences.md records what to expect.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from kernelmill import nn
from kernelmill.cli.tour.sequences import CharacterModel, nats, topics, train_characters
from kernelmill.nn import functional as F


class Decoder(nn.Module):
    """Causal encoder layers that score the next character; `nn.generate` gives them a cache."""

    def __init__(self, characters: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True,
            rotary=nn.RotaryEmbedding(width // heads),
        )  # fmt: skip
        self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.output = nn.Linear(width, characters)

    def forward(self, codes, cache=None):
        """Scores of shape (N, T, characters)."""
        return self.output(self.body(self.embedding(codes), is_causal=True, cache=cache))


def train_decoder(model, codes, held, steps, context, batch, lr, report) -> None:
    """Learn from windows drawn at random."""
    optimizer = nn.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.98), weight_decay=0.1)
    schedule = nn.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(codes) - context, batch)
        rows = codes[starts[:, None] + np.arange(context + 1)]
        scores = model(rows[:, :-1])
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[2]), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(steps // 6, 1) == 0:
            report(step, loss.item(), decoder_nats(model, held, context))


def decoder_nats(model, codes, context) -> float:
    """Mean loss of the characters that have at least half a context before them."""
    half = context // 2
    starts = np.arange(0, len(codes) - context, half)
    total = count = 0
    model.eval()
    with nn.no_grad():
        for some in np.array_split(starts, -(-len(starts) // 32)):
            rows = codes[some[:, None] + np.arange(context + 1)]
            scores, target = model(rows[:, :-1])[:, half:], rows[:, half + 1 :]
            flat = scores.reshape(-1, scores.shape[2])
            total += F.cross_entropy(flat, target.reshape(-1), reduction="sum").item()
            count += target.size
    model.train()
    return total / count


def sample(model, codes, count, context=None) -> list[int]:
    """More characters; a transformer sees no more than the context that it was trained with."""
    draws = nn.Generator(1)
    if context is None:
        return nn.generate(model, codes, count, temperature=0.6, generator=draws).tolist()
    codes, half = [*codes], context // 2
    while count > 0:
        seen = codes[-half:]
        new = nn.generate(model, seen, min(half, count), temperature=0.6, generator=draws)
        codes += new.tolist()[len(seen) :]
        count -= half
    return codes


def main() -> float:
    """Train, print a sample, and return nats per character held out."""
    parser = argparse.ArgumentParser(description="Character models of Python's help texts.")
    parser.add_argument("model", choices=("lstm", "transformer"))
    parser.add_argument("--epochs", type=int, default=6, help="of the LSTM (default: 6)")
    parser.add_argument("--steps", type=int, default=900, help="of the transformer (default: 900)")
    parser.add_argument("--width", type=int, help="default: 256 units; 128 features")
    parser.add_argument("--most", type=int, help="characters to learn from; all by default")
    given = parser.parse_args()
    train, held = topics()
    names = sorted({*train, *held})
    places = {c: i for i, c in enumerate(names)}
    codes, unseen = (
        np.array([places[c] for c in text[: given.most]]) for text in (train, held)
    )
    if given.most:
        unseen = unseen[: given.most]
    nn.manual_seed(0)
    began, cpu = time.perf_counter(), time.process_time()

    def report(step: int, loss: float, value: float) -> None:
        spent, used = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{step:5d}  learnt {loss:.3f}  held out {value:.3f}  {spent:.0f} s, CPU {used:.0f} s",
            flush=True,
        )

    if given.model == "lstm":
        model = CharacterModel(len(names), given.width or 256, dropout=0.2)
        train_characters(
            model, codes, given.epochs, steps=64, lr=4e-3,
            report=lambda epoch, loss: report(epoch, loss, nats(model, unseen)),
        )  # fmt: skip
        value = nats(model, unseen)
    else:
        context = 96
        model = Decoder(len(names), given.width or 128, 4, 3)
        train_decoder(model, codes, unseen, given.steps, context, 32, 4e-3, report)
        value = decoder_nats(model, unseen, context)
    start = [places[c] for c in "The "]
    tokens = sample(model, start, 400, None if given.model == "lstm" else context)
    print(f"{value:.3f} nats per character held out\n")
    print("".join(names[i] for i in tokens))
    return value


if __name__ == "__main__":
    main()
