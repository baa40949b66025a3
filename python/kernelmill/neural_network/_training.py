"""Epochs of a multi-layer perceptron: batches, losses, steps, and when to stop."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelmill._estimator._climb import Step
from kernelmill._estimator._random import generator
from kernelmill.nn import Parameter, Tensor, no_grad, optim
from kernelmill.nn import functional as F
from kernelmill.nn._trainer_loop import NotFinite, Patience, Steps, Totals, copied
from kernelmill.nn.functional._dense import dense

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
    """The perceptron on the tape.

    Attributes
    ----------
    weights, biases : list of Parameter
        Weights have shape (outputs, inputs).
    """

    def __init__(self, layers: Layers, activation: str, loss: str) -> None:
        self.weights = [Parameter(np.ascontiguousarray(w.T)) for w in layers.coefs]
        self.biases = [Parameter(b.copy()) for b in layers.intercepts]
        self.activation = activation
        self.loss = loss

    def layers(self) -> Layers:
        """The present weights, in memory of their own."""
        return Layers(
            [np.ascontiguousarray(w.data.T) for w in self.weights],
            [b.data.copy() for b in self.biases],
        )

    def output(self, X: Any) -> Tensor:
        """Of the last layer, without its activation."""
        return forward(X, self.weights, self.biases, self.activation)

    def losses(self, X: Any, y: Any, weight: Any) -> Tensor:
        """The mean loss of a batch, weighted."""
        out = self.output(X)
        if self.loss == "log_loss":
            each = F.cross_entropy(out, y, reduction="none")
        elif self.loss == "binary_log_loss":
            each = F.binary_cross_entropy_with_logits(out, y, reduction="none").sum(1)
        elif self.loss == "poisson":
            each = (out.exp() - y * out).mean(1)
        else:
            each = 0.5 * F.mse_loss(out, y, reduction="none").mean(1)
        if weight is None:
            return each.mean()
        total = float(weight.sum())
        return (each * weight).sum() * (1.0 / total if total else 0.0)

    def squares(self) -> float:
        """The sum of the squares of all weights."""
        return float(sum(np.vdot(w.data, w.data) for w in self.weights))


def forward(X: Any, weights: list[Any], biases: list[Any], activation: str) -> Tensor:
    """The output of a perceptron, without the activation of its last layer."""
    x = X
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = dense(x, w, b, activation if i < len(weights) - 1 else "identity")
    return x


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


def make_optimizer(model: Any, network: Network, rate: float, state: Any) -> Any:
    """Adam or SGD over the network, going on from a state."""
    groups = [{"params": network.weights}, {"params": network.biases, "weight_decay": 0.0}]
    if model.solver == "adam":
        made: Any = optim.Adam(groups, rate, (model.beta_1, model.beta_2), model.epsilon)
    else:
        nesterov = bool(model.nesterovs_momentum and model.momentum > 0)
        made = optim.SGD(groups, rate, model.momentum, nesterov=nesterov)
    if state is not None:
        made.load_state_dict(state)
    return made


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
        self.weight = rows.all_weights()
        self._live: tuple[Any, Any, Any] = (None, None, None)
        n = rows.count
        self.batch = min(200, n) if model.batch_size == "auto" else min(int(model.batch_size), n)

    def advance(self, state: Epoch, most: int) -> Step:
        """One pass over the rows in a new order."""
        model, n = self.model, self.rows.count
        network, optimizer = self._going_on(state)
        decayed = optimizer.param_groups[0]
        order = np.arange(n)
        if model.shuffle:
            order = generator(self.seed, 2 + state.epochs).permutation(n)
        penalty = 0.0

        def forward(places: np.ndarray) -> tuple[Tensor, float]:
            nonlocal penalty
            w = None if self.weight is None else self.weight[places]
            loss = network.losses(self.rows.take(places), self.y[places], w)
            decayed["weight_decay"] = model.alpha / len(places)
            mass = float(len(places) if w is None else w.sum())
            penalty += 0.5 * model.alpha * network.squares() / len(places) * mass
            return loss, mass

        batches = (order[start : start + self.batch] for start in range(0, n, self.batch))
        try:
            totals = Steps(optimizer, forward).run(batches, Totals())
        except NotFinite as error:
            raise ValueError(
                f"{type(model).__name__}: {error} of epoch {state.epochs + 1} (scale X and y, or "
                "lower learning_rate_init)"
            ) from None
        loss_value = (totals.loss + penalty) / totals.count
        after = replace(
            state,
            layers=network.layers(),
            optimizer=copied(optimizer),
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
            return network, make_optimizer(self.model, network, state.rate, state.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = state.rate
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


def minimise(model: Any, rows: Any, y: np.ndarray, layers: Layers, loss: str, report: Any) -> Any:
    """All rows at once by L-BFGS (Liu and Nocedal 1989), from SciPy.

    Returns
    -------
    layers, loss, iterations, converged
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    network = Network(layers, model.activation, loss)
    parameters = [*network.weights, *network.biases]
    shapes = [p.shape for p in parameters]
    ends = np.cumsum([p.numel() for p in parameters])
    X, weight = rows.take(np.arange(rows.count)), rows.all_weights()
    n = rows.count
    losses: list[float] = []

    def write(flat: np.ndarray) -> None:
        for p, end, shape in zip(parameters, ends, shapes, strict=True):
            p.data = flat[end - p.numel() : end].reshape(shape).astype(X.dtype)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        write(flat)
        for p in parameters:
            p.grad = None
        value = network.losses(X, y, weight)
        value.backward()
        for w in network.weights:
            w.grad.data += (model.alpha / n) * w.data
        flat_gradient = np.concatenate([p.grad.data.ravel() for p in parameters])
        total = value.item() + 0.5 * model.alpha * network.squares() / n
        return total, flat_gradient.astype(np.float64)

    def after(intermediate_result: Any) -> None:
        losses.append(float(intermediate_result.fun))
        report(losses)

    start = np.concatenate([p.data.ravel() for p in parameters]).astype(np.float64)
    with threadpool_limits(1, user_api="blas"):  # SciPy's vectors are short
        found = minimize(
            evaluate, start, method="L-BFGS-B", jac=True, callback=after,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )  # fmt: skip
    write(found.x)
    return network.layers(), float(found.fun), int(found.nit), losses, bool(found.success)


def predict(X: Any, layers: Layers, activation: str) -> np.ndarray:
    """The output of the last layer, without its activation."""
    with no_grad():
        out = forward(X, [Tensor(w.T) for w in layers.coefs],
                      [Tensor(b) for b in layers.intercepts], activation)  # fmt: skip
    return out.data
