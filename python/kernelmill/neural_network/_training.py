"""Epochs of a multi-layer perceptron: batches, losses, steps, and when to stop."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelmill._estimator._climb import Step
from kernelmill._estimator._random import generator
from kernelmill.nn._trainer_loop import Patience
from kernelmill.nn.functional._dense import dense_forward, dense_gradients
from kernelmill.ops import elementwise, optim, softmax

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_LEAST_RATE = 1e-6  # an adaptive rate below it ends the fit


@dataclass(frozen=True)
class Layers:
    """Weights of shape (inputs, outputs) and biases, as scikit-learn keeps them."""

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]

    def copy(self) -> Layers:
        """The same in memory of its own."""
        return Layers([w.copy() for w in self.coefs], [b.copy() for b in self.intercepts])


def initial_layers(sizes: list[int], activation: str, dtype: Any, seed: int) -> Layers:
    """Uniform numbers within the bound of Glorot and Bengio (2010), as in scikit-learn."""
    rng = generator(seed, 0)
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = np.sqrt(factor / (fan_in + fan_out))
        coefs.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        intercepts.append(rng.uniform(-bound, bound, fan_out).astype(dtype))
    return Layers(coefs, intercepts)


class Network:
    """The perceptron, its loss and their gradients, on arrays: a step has no room for a tape.

    Attributes
    ----------
    weights, biases : list of ndarray
        Weights have shape (outputs, inputs).
    """

    def __init__(self, layers: Layers, activation: str, loss: str) -> None:
        self.weights = [np.ascontiguousarray(w.T) for w in layers.coefs]
        self.biases = [b.copy() for b in layers.intercepts]
        self.activations = [activation] * (len(self.weights) - 1) + ["identity"]
        self.loss = loss

    def layers(self) -> Layers:
        """The present weights, in memory of their own."""
        coefs = [np.ascontiguousarray(w.T) for w in self.weights]
        return Layers(coefs, [b.copy() for b in self.biases])

    def gradients(self, X: np.ndarray, y: Any, weight: Any) -> tuple[float, list[np.ndarray]]:
        """The mean loss of a batch, weighted, and its gradients by weights, then by biases."""
        depth, x = len(self.weights), X
        kept = []
        for w, b, activation in zip(self.weights, self.biases, self.activations, strict=True):
            below = x
            x, (needed,) = dense_forward(below, w, b, activation)
            kept.append((below, needed))
        with np.errstate(over="ignore", invalid="ignore"):  # the loss says so
            loss, g = self._loss(x, y, weight)
        found: list[np.ndarray] = [g] * (2 * depth)
        for i in reversed(range(depth)):
            below, needed = kept[i]
            needs = (i > 0, True, True)
            g, found[i], found[depth + i] = dense_gradients(
                g, below, self.weights[i], needed, self.activations[i], needs=needs
            )
        return loss, found

    def _loss(self, out: np.ndarray, y: Any, weight: Any) -> tuple[float, np.ndarray]:
        """The mean loss and its gradient by the output."""
        n, m = out.shape
        if weight is None:
            factor = np.full(n, 1 / max(n, 1), out.dtype)
        else:
            total = float(weight.sum())
            factor = (weight * (1 / total if total else 0.0)).astype(out.dtype)
        if self.loss == "log_loss":
            logits, classes = out[:, :, None], y[:, None]
            losses, lse, _ = softmax.cross_entropy(logits, classes)
            slopes = softmax.cross_entropy_backward(factor[:, None], logits, lse, classes)
            return float(losses[:, 0] @ factor), slopes[:, :, 0]
        if self.loss == "binary_log_loss":
            each = ((1 - y) * out - elementwise.log_sigmoid(out)).sum(1)
            slope = elementwise.logistic(out) - y
        elif self.loss == "poisson":
            mean = elementwise.exp(out)
            each, slope = (mean - y * out).mean(1), (mean - y) / m
        else:
            slope = (out - y) / m
            each = (0.5 * m) * (slope * slope).sum(1)
        return float(each @ factor), slope * factor[:, None]

    def squares(self) -> float:
        """The sum of the squares of all weights."""
        return float(sum(np.vdot(w, w) for w in self.weights))


@dataclass(frozen=True)
class Epoch:
    """Where a fit stands after an epoch; never changed in place."""

    layers: Layers
    optimizer: dict[str, Any] | None
    rate: float
    steps: int = 0  # rows seen
    epochs: int = 0
    best_loss: float = np.inf
    best_layers: Layers | None = None
    patience: Patience = field(default_factory=Patience)
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class Optimizer:
    """Adam or SGD over a network; its state is lists of arrays and the number of steps.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
    network : Network
    state : dict or None
        To go on from.
    """

    def __init__(self, model: Any, network: Network, state: dict[str, Any] | None) -> None:
        self.parameters = [*network.weights, *network.biases]
        self.decayed = len(network.weights)
        names: tuple[str, ...]
        options: dict[str, float]
        if model.solver == "adam":
            self.rule, names = optim.adam, ("exp_avg", "exp_avg_sq")
            options = {"beta1": model.beta_1, "beta2": model.beta_2, "eps": model.epsilon}
        else:
            self.rule, names = optim.sgd, ("momentum_buffer",) if model.momentum > 0 else ()
            nesterov = float(model.nesterovs_momentum and model.momentum > 0)
            options = {"momentum": model.momentum, "nesterov": nesterov}
        self.options, self.steps = options, 0
        self.kept = {name: [np.zeros_like(p) for p in self.parameters] for name in names}
        if state is not None and {*state} == {"steps", *names}:
            self.steps = state["steps"]
            self.kept = {name: [a.copy() for a in state[name]] for name in names}

    def step(self, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """Move all parameters; `decay` is that of the weights."""
        self.steps += 1
        decays = [decay] * self.decayed + [0.0] * (len(self.parameters) - self.decayed)
        self.rule(
            self.parameters, gradients, **self.kept, step=self.steps, lr=rate, weight_decay=decays,
            **self.options,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """The state in memory of its own: the next epoch goes on in the old one."""
        kept = {name: [a.copy() for a in arrays] for name, arrays in self.kept.items()}
        return {"steps": self.steps, **kept}


class Descent:
    """One epoch after another of the stochastic solvers.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
    rows : Rows
    y : ndarray
        Targets as the loss takes them.
    validation : tuple of (X, y as given, weight), optional
        Held out for early stopping.
    seed : int
    loss : str
    """

    def __init__(self, model: Any, rows: Any, y: np.ndarray, validation: Any, seed: int, loss: str):
        self.model, self.rows, self.y = model, rows, y
        self.validation, self.seed, self.loss = validation, seed, loss
        self._live: tuple[Any, Any, Any] = (None, None, None)
        n = len(y)
        self.batch = min(200, n) if model.batch_size == "auto" else min(int(model.batch_size), n)

    def advance(self, state: Epoch, most: int) -> Step:
        """One pass over the rows in a new order."""
        model, n = self.model, len(self.y)
        network, optimizer = self._going_on(state)
        order = generator(self.seed, 2 + state.epochs).permutation if model.shuffle else None
        total = weight_sum = 0.0
        for X, places, w in self.rows.batches(self.batch, order):
            loss, gradients = network.gradients(X, self.y[places], w)
            mass = float(len(places) if w is None else w.sum())
            penalty = 0.5 * model.alpha * network.squares() / len(places)
            total += (loss + penalty) * mass
            weight_sum += mass
            optimizer.step(gradients, state.rate, model.alpha / len(places))
        loss_value = total / weight_sum if weight_sum else 0.0
        if not np.isfinite(loss_value):
            raise ValueError(
                f"{type(model).__name__}: the loss must stay finite, got {loss_value} in epoch "
                f"{state.epochs + 1} (scale X and y, or lower learning_rate_init)"
            )
        after = replace(
            state,
            layers=network.layers(),
            optimizer=optimizer.state(),
            steps=state.steps + n,
            epochs=state.epochs + 1,
            losses=[*state.losses, loss_value],
        )
        after, finished = self._judged(after)
        self._live = (after.layers, network, optimizer)
        if model.solver == "sgd" and model.learning_rate == "invscaling":
            rate = model.learning_rate_init / (after.steps + 1) ** model.power_t
            after = replace(after, rate=rate)
        return Step(after, loss_value, finished)

    def _going_on(self, state: Epoch) -> tuple[Network, Any]:
        """The network and the optimiser after an epoch; made anew unless it was the last."""
        layers, network, optimizer = self._live
        if layers is not state.layers:
            network = Network(state.layers, self.model.activation, self.loss)
            return network, Optimizer(self.model, network, state.optimizer)
        return network, optimizer

    def _judged(self, state: Epoch) -> tuple[Epoch, bool]:
        """Count epochs without gain, and whether the fit is over."""
        model = self.model
        value = loss = state.losses[-1]
        state = replace(state, best_loss=min(loss, state.best_loss))
        if self.validation is not None:
            X, y, weight = self.validation
            value = model._validation_score(X, y, weight, state.layers)
            if value > state.patience.best:
                state = replace(state, best_layers=state.layers)
            state = replace(state, scores=[*state.scores, value])
        state = replace(state, patience=state.patience.after(value))
        if state.patience.since <= model.n_iter_no_change:
            return state, False
        if model.solver == "sgd" and model.learning_rate == "adaptive" and state.rate > _LEAST_RATE:
            return replace(
                state, rate=state.rate / 5, patience=replace(state.patience, since=0)
            ), False
        return state, True


@functools.cache
def _thread_pools() -> Any:
    """BLAS libraries of this process; looking for them takes longer than a small fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def minimise(model: Any, rows: Any, y: np.ndarray, layers: Layers, loss: str, report: Any) -> Any:
    """All rows at once by L-BFGS (Liu and Nocedal 1989), from SciPy.

    Returns
    -------
    layers, loss, iterations, converged
    """
    from scipy.optimize import minimize

    network = Network(layers, model.activation, loss)
    depth = len(network.weights)
    parameters = [*network.weights, *network.biases]
    ends = np.cumsum([p.size for p in parameters])
    X, weight = rows.take(np.arange(rows.count)), rows.all_weights()
    n = rows.count
    losses: list[float] = []

    def write(flat: np.ndarray) -> None:
        for p, end in zip(parameters, ends, strict=True):
            p[...] = flat[end - p.size : end].reshape(p.shape)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        write(flat)
        value, gradients = network.gradients(X, y, weight)
        for w, dw in zip(network.weights, gradients[:depth], strict=True):
            dw += (model.alpha / n) * w
        gradient = np.concatenate([dp.ravel() for dp in gradients]).astype(np.float64, copy=False)
        return value + 0.5 * model.alpha * network.squares() / n, gradient

    def after(intermediate_result: Any) -> None:
        losses.append(float(intermediate_result.fun))
        report(losses)

    start = np.concatenate([p.ravel() for p in parameters]).astype(np.float64)
    with _thread_pools().limit(limits=1, user_api="blas"):  # SciPy's vectors are short
        found = minimize(
            evaluate, start, method="L-BFGS-B", jac=True, callback=after,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )  # fmt: skip
    write(found.x)
    return network.layers(), float(found.fun), int(found.nit), losses, bool(found.success)


def predict(X: Any, layers: Layers, activation: str) -> np.ndarray:
    """The output of the last layer, without its activation."""
    x = X
    for i, (w, b) in enumerate(zip(layers.coefs, layers.intercepts, strict=True)):
        last = i == len(layers.coefs) - 1
        x, _ = dense_forward(x, w.T, b, "identity" if last else activation)
    return x
