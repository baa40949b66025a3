"""Networks on the tour: handwritten digits, and what a small network learns of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._context import INK, MUTED, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Perceptrons with scikit-learn's interface, and a network trained step by step."""
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.model_selection import train_test_split

    from ...neural_network import MLPClassifier, MLPRegressor

    if context.device == "cuda":
        context.notes.append("Networks ran on the CPU: their optimisers take NumPy arrays.")
    X, y = load_digits(return_X_y=True)
    A, B, a, b = train_test_split((X / 16).astype(np.float32), y, random_state=0)
    model = MLPClassifier(64, random_state=0, early_stopping=True, learning_rate_init=0.01)
    _, seconds = context.timed(functools.partial(model.fit, A, a))
    score = f"accuracy {model.score(B, b):.3f}"
    yield Row("MLPClassifier", "digits, held out", A.shape, seconds, score, context.where())

    X, y = load_diabetes(return_X_y=True)
    C, D, c, d = train_test_split(X * 20, y, random_state=0)
    regressor = MLPRegressor(
        hidden_layer_sizes=20, solver="lbfgs", alpha=1000.0, max_iter=500, random_state=0
    )
    _, seconds = context.timed(functools.partial(regressor.fit, C, c))
    score = f"R2 {regressor.score(D, d):.2f}"
    yield Row("MLPRegressor", "diabetes, held out", C.shape, seconds, score, context.where())

    trainer, seconds = context.timed(functools.partial(_trained, A, a, B, b))
    score = f"accuracy {trainer.history_[-1]['valid_accuracy']:.3f}"
    yield Row("nn, convolutions", "digits, held out", A.shape, seconds, score, context.where())
    if context.plot:
        _draw(context, trainer)


def _trained(A: Any, a: Any, B: Any, b: Any) -> Any:
    """The trainer of a small convolutional network, after 12 epochs."""
    from ... import nn

    A, B = (rows.reshape(-1, 1, 8, 8) for rows in (A, B))
    nn.manual_seed(0)
    train = nn.data.DataLoader((A, a), 64, shuffle=True)
    valid = nn.data.DataLoader((B, b), 256)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = nn.optim.AdamW(network.parameters())
    epochs = 12
    schedule = nn.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.006, epochs=epochs, steps_per_epoch=len(train)
    )
    trainer = nn.Trainer(epochs, metrics="accuracy", schedule_on="step", keep_best=False)
    return trainer.fit(
        network, nn.CrossEntropyLoss(), optimizer, train, valid, schedule=schedule
    )


def _draw(context: Context, trainer: Any) -> None:
    curves = {
        "with dropout": [row["train_loss"] for row in trainer.history_],
        "held out": [row["valid_loss"] for row in trainer.history_],
    }
    figure = context.figure(12, 5)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    axes = left.subplots()
    for (name, values), color in zip(curves.items(), ("#8a94a0", "#1f6feb"), strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, color=color, lw=2)
        axes.annotate(
            f"{name} {values[-1]:.3f}", (len(values), values[-1]), xytext=(4, 0),
            textcoords="offset points", color=color,
            va="bottom" if values[-1] == max(v[-1] for v in curves.values()) else "top",
        )  # fmt: skip
    axes.set(xlabel="Epoch", ylabel="Cross entropy", xlim=(1, len(values) * 1.35))
    axes.set_ylim(-0.02, 0.7)  # the first epoch is above
    axes.set_title("The loss falls, also on digits never seen", loc="left", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=MUTED)
    weight = trainer.model_[0].weight.data[:, 0]
    limit = np.abs(weight).max()
    for kernel, axes in zip(weight, right.subplots(4, 8).ravel(), strict=True):
        axes.imshow(kernel, cmap="RdBu", vmin=-limit, vmax=limit)
        axes.axis("off")
    right.suptitle("The 32 filters of the first layer", x=0.02, ha="left", color=INK, size="large")
    caption = "learning curves and first filters of a small convolutional network"
    context.save(figure, "digits-network", caption)
