"""The rounds of boosting: slopes, trees, scores, and when to stop."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from kernelmill._arrays import to_host
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._patience import Patience
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator
from kernelmill._estimator._rows import Rows
from kernelmill.ensemble._hist_losses import Loss
from kernelmill.ensemble._hist_trees import Grown, Trees, scores_of
from kernelmill.ensemble._trees import set_before
from kernelmill.ops import histogram as ops

_NONE = np.zeros(0)
_COARSE = 1 << 14  # rows from which gradients are rounded to coarse steps
# Least sum of hessians of a leaf, in hessians of a mean row at the start: where probabilities are
# near 0 and 1, hessians vanish and steps of Newton overshoot. (On four sets of scikit-learn, 8
# splits each, mean log losses are 8 to 40 per cent lower with 1 than with 0.001.)
_LEAST_HESSIAN, _LEAST_OF_ROWS = 1e-3, 0.05  # at any rate, and for each further row of a leaf
_SCORED = 10_000  # training rows that a metric is computed on


# What a fit sets before its first round; all of it belongs to a usable model.
STARTED = (
    "_edges", "_edge_count", "_is_categorical", "_baseline", "_levels", "is_categorical_",
    "do_early_stopping_",
)  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """Rows, targets as the loss takes them and as given, and weights or none."""

    rows: Rows
    y: np.ndarray
    given: np.ndarray
    weight: np.ndarray

    def part(self, chosen: np.ndarray) -> Labelled:
        """Some of the rows, by rising numbers."""
        weight = self.weight[chosen] if len(self.weight) else _NONE
        return Labelled(self.rows.part(chosen), self.y[chosen], self.given[chosen], weight)


@dataclass(frozen=True)
class Stage:
    """Where a fit stands after some rounds; never changed in place."""

    rounds: int
    patience: Patience = field(default_factory=Patience)
    best: int = 0  # rounds of the best score
    train: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()


class Boosting:
    """The rounds of one fit.

    Parameters
    ----------
    model : HistGradientBoosting
        With bins, a start, and the trees of earlier fits.
    loss : Loss
    data : Labelled
    held : Labelled or None
        To validate with.
    seed : int
    """

    def __init__(
        self, model: Any, loss: Loss, data: Labelled, held: Labelled | None, seed: int
    ) -> None:
        self.model, self.loss, self.data, self.held = model, loss, data, held
        self.xp, self.seed = data.rows.xp, seed
        self.y, self.weight = self.xp.asarray(data.y), self.xp.asarray(data.weight)
        self.bins, self.start = model._bins, model._baseline
        self.counts = self.bins.codes
        self.before = Trees(**model._trees)
        self.first = model.n_iter_  # rounds of earlier fits
        k, n, d = len(self.start), len(data.y), data.rows.n_features
        y, weight = self.y, self.weight
        self.codes, self.raw = self.bins.encoded_rows(data.rows), self._scores(data.rows)
        if held is not None:
            self.held_codes = self.bins.encoded_rows(held.rows)
            self.held_raw = self._scores(held.rows)
            self.held_y, self.held_weight = self.xp.asarray(held.y), self.xp.asarray(held.weight)
        self.grown: list[Grown] = []
        self.rows = self.xp.empty(n, np.int32)
        self.monotonic, self.groups = model._signs(d), model._groups(d)
        leaves = max(1, n // model.min_samples_leaf)
        if model.max_leaf_nodes is not None:
            leaves = min(leaves, int(model.max_leaf_nodes))
        if model.max_depth is not None:
            leaves = min(leaves, 2 ** min(int(model.max_depth), 40))
        self.nodes = 2 * leaves - 1
        least = max(_LEAST_HESSIAN, _LEAST_OF_ROWS * (model.min_samples_leaf - 1))
        _, hessian = loss.slopes(y, self._constant(n), weight)
        self.rule = np.array([
            model.learning_rate, model.l2_regularization, model.l1_regularization,
            model.min_samples_leaf, least * float(hessian.mean()), model.max_depth or 0,
            model.max_features, model.min_gain_to_split, _COARSE,
        ])  # fmt: skip
        self.scorer = None
        if model.do_early_stopping_ and model.scoring != "loss":
            self.scorer = check_scoring(model, model.scoring)
            self.sample = np.arange(n)
            if n > _SCORED:
                self.sample = np.sort(generator(seed, 3).choice(n, _SCORED, replace=False))
        elif model.do_early_stopping_ and loss.code is None:
            raise ValueError(
                f"{loss.owner}: scoring must be a metric where loss is a function, got 'loss' (the "
                "function gives slopes, no losses)"
            )
        self.k = k

    def _scores(self, rows: Rows) -> np.ndarray:
        """Scores by the trees of earlier fits, (k, n)."""
        if not len(self.before):
            return self._constant(rows.count)
        parts = [scores_of(c.X, self.before, self.start, self.bins) for c in rows.chunks()]
        return self.xp.ascontiguousarray(self.xp.concatenate(parts).T)

    def _constant(self, n: int) -> np.ndarray:
        """The scores that trees begin with, (k, n)."""
        return self.xp.asarray(np.repeat(self.start[:, None], n, axis=1))

    def run(self) -> None:
        """All rounds; leaves the model fitted."""
        model = self.model
        most = max(0, model.max_iter - self.first)
        progress = Progress(
            model, model.verbose, iterations=most, unit="tree", X=self.data.rows.X, y=self.data.y
        )
        with progress:
            run = climb(
                progress, self.begin, self.advance, max_iter=most, attributes=self.attributes,
                finish=self.finish if progress.listening else None,
            )
        vars(model).update(self.attributes(run.state, run.n_iter))

    def finish(self, run: Run) -> Run:
        """With the loss after the last round."""
        return run if self.loss.code is None else run._replace(objective=self._objective())

    def begin(self, number: int) -> Stage:
        """Before the first round."""
        model = self.model
        stage = Stage(self.first, best=self.first)
        if model.do_early_stopping_:
            if self.first:  # scores of earlier fits go on
                train, held = (
                    tuple(scores[: self.first + 1])
                    for scores in (model.train_score_, model.validation_score_)
                )
                past = held or train
                patience = self._patience(past[0] if past else 0.0)
                for score in past:
                    patience = patience.after(score)
                patience = replace(patience, since=0)
                stage = replace(stage, train=train, validation=held, patience=patience)
            if not stage.train:
                stage = self._scored(stage)
        return stage

    def advance(self, stage: Stage, most: int) -> Step:
        """One round: a tree for each score."""
        loss, weight = self.loss, self.weight
        gradient, hessian = loss.slopes(self.y, self.raw, weight)
        alive = False
        for c in range(self.k):
            number = stage.rounds * self.k + c
            split, stats, sides, count = ops.grow(
                self.codes, self.counts, self.bins.categorical, gradient[c], hessian[c], self.rule,
                self.monotonic, self.groups, (self.seed + 0x9E3779B97F4A7C15 * number) % 2**64,
                self.rows, self.nodes,
            )  # fmt: skip
            split, stats, sides = (
                to_host(a[:count]).copy() for a in (split, stats, sides)
            )  # fmt: skip
            leaves = np.flatnonzero(split[:, 0] < 0)
            spans = split[leaves, 5:7]
            if loss.renewed is not None and self.monotonic is None:
                residual = self.y - self.raw[c]
                values = ops.quantiles(residual, weight, self.rows, spans, loss.renewed)
                stats[leaves, 1] = self.model.learning_rate * to_host(values)
            value = stats[leaves, 1]
            ops.add(self.rows, spans, value, self.raw[c])
            if self.held is not None:
                values = self.xp.asarray(stats[:, 1])
                self.held_raw[c] += values[ops.walk(self.held_codes, split, sides)]
            del self.grown[number - self.first * self.k :]
            self.grown.append(Grown(split, stats, sides, self._cover(split)))
            alive = alive or count > 1 or bool((value != 0).any())
        stage = replace(stage, rounds=stage.rounds + 1)
        finished = False
        if self.model.do_early_stopping_:
            stage = self._scored(stage)
            finished = stage.patience.since >= self.model.n_iter_no_change
        objective = self._objective if loss.code is not None else None
        return Step(stage, objective, finished or not alive)

    def _cover(self, split: np.ndarray) -> np.ndarray:
        """Weight of the rows of each node."""
        if not len(self.weight):
            return (split[:, 6] - split[:, 5]).astype(np.float64)
        cover = np.zeros(len(split))
        leaves = np.flatnonzero(split[:, 0] < 0)
        own = self.data.weight[to_host(self.rows)]
        cover[leaves] = np.add.reduceat(own, split[leaves, 5])
        for node in np.flatnonzero(split[:, 0] >= 0)[::-1]:  # children come behind
            cover[node] = cover[split[node, 3]] + cover[split[node, 4]]
        return cover

    def _objective(self) -> float:
        return self.loss.mean(self.y, self.raw, self.weight)

    def _scored(self, stage: Stage) -> Stage:
        """With the scores of the present round."""
        held = self.held
        if self.scorer is None:
            train = -self.loss.mean(self.y, self.raw, self.weight)
            own = None
            if held is not None:
                own = -self.loss.mean(self.held_y, self.held_raw, self.held_weight)
        else:
            chosen, part = self.sample, self.data
            if len(chosen) < len(self.y):
                part = self.data.part(chosen)
            train = self._metric(part, self.raw[:, chosen])
            own = None if held is None else self._metric(held, self.held_raw)
        watched = train if own is None else own
        before = stage.patience if stage.train else self._patience(watched)
        patience = before.after(watched)
        best = stage.rounds if not stage.train or watched > before.best else stage.best
        return replace(
            stage, patience=patience, best=best, train=(*stage.train, train),
            validation=stage.validation if own is None else (*stage.validation, own),
        )  # fmt: skip

    def _patience(self, first: float) -> Patience:
        """Before the first score; `tol` is in a unit that grows with y where the loss does."""
        unit = 1.0
        if self.scorer is None and self.loss.name == "poisson":
            unit = float(np.exp(self.start[0]))  # the loss itself has a constant that it leaves out
        elif self.scorer is None and self.loss.is_of_residuals:
            unit = abs(first)
        return Patience(1.0, self.model.tol * unit)

    def _metric(self, part: Labelled, raw: np.ndarray) -> float:
        """A metric of scores that are known: the scorer's predictions read them."""
        assert self.scorer is not None
        model = copy.copy(self.model)
        model._known_scores = np.ascontiguousarray(to_host(raw).T)
        X = model._known_scores if part.rows.is_stream else part.rows.X
        if len(part.weight):
            return float(self.scorer(model, X, part.given, sample_weight=part.weight))
        return float(self.scorer(model, X, part.given))

    def attributes(self, stage: Stage, n_iter: int) -> dict[str, Any]:
        """Of a usable model: up to the best round."""
        rounds = stage.best if self.model.do_early_stopping_ else stage.rounds
        grown = self.grown[: (rounds - self.first) * self.k]
        trees = self.before.joined(Trees.of(grown, self.bins)) if self.first else (
            Trees.of(grown, self.bins)
        )
        return set_before(self.model, STARTED) | {
            "_trees": trees.state(),
            "n_iter_": rounds,
            "train_score_": np.array(stage.train),
            "validation_score_": np.array(stage.validation),
            "n_trees_per_iteration_": self.k,
        }
