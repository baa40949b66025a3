"""Networks beside torch: the cost of the tape, training steps, layers without weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close, torch_peer

STEPS = 20  # whose losses must agree
RATE = 1e-4  # at 1e-3 the large network knows its batch by heart: losses of 1e-7 are rounding alone


def _chain(length: int) -> Case:
    """What recording and going back cost: the arithmetic is nothing."""

    def run(x: Any, y: Any):
        def both() -> Any:
            z = x
            for _ in range(length):
                z = z + y
            x.grad = None
            z.sum().backward()
            return x.grad.numpy()

        return both

    def ours(data: Any):
        from kernelmill import nn

        x, y = data
        return run(nn.Tensor(x, requires_grad=True), nn.Tensor(y))

    return Case(
        f"chain of {length} additions of 16 numbers, both ways, float32",
        lambda: [np.ones(16, np.float32)] * 2,
        {"kernelmill": ours, "torch": torch_peer(lambda _, x, y: run(x.requires_grad_(), y))},
        lambda data, ours, other: arrays_close(ours, other, 0.0),
        want=1.5,
    )


def _mlp(library: Any, *sizes: int) -> list[Any]:
    layers: list[Any] = []
    for i, o in pairwise(sizes):
        layers += [library.Linear(i, o), library.ReLU()]
    return layers[:-1]


def _digits(library: Any, *_: int) -> list[Any]:
    """The network for MNIST that tutorials train."""
    convolutions = []
    for i, o in ((1, 32), (32, 64)):
        convolutions += [
            library.Conv2d(i, o, 3, padding=1), library.ReLU(), library.MaxPool2d(2)
        ]  # fmt: skip
    return [*convolutions, library.Flatten(), *_mlp(library, 64 * 7 * 7, 128, 10)]


def _vgg(library: Any, *_: int) -> list[Any]:
    layers: list[Any] = []
    channels = (3, 64, 64, 128, 128, 256, 256)
    for k, (i, o) in enumerate(pairwise(channels)):
        layers += [library.Conv2d(i, o, 3, padding=1), library.BatchNorm2d(o), library.ReLU()]
        layers += [library.MaxPool2d(2)] * (k % 2)
    return [*layers, library.Flatten(), library.Linear(256 * 4 * 4, 10)]


def _data(layers: Any, sizes: tuple[int, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    """A batch, its classes, then all parameters but those of norms, in order."""
    from kernelmill import nn

    rng = np.random.default_rng(9)
    data = [rng.standard_normal(shape, np.float32), rng.integers(0, 10, shape[0])]
    for layer in layers(nn, *sizes):
        if hasattr(layer, "weight") and layer.weight.ndim > 1:
            bound = layer.weight[0].numel() ** -0.5
            data += [rng.uniform(-bound, bound, v.shape).astype(np.float32)
                     for v in (layer.weight, layer.bias)]  # fmt: skip
    return data


def _step(library: Any, network: Any, optimiser: Any, x: Any, y: Any) -> Any:
    """One step of training; the first call, which is checked, gives the losses of 20 more."""
    loss_of = library.CrossEntropyLoss()
    losses: list[float] = []

    def step() -> Any:
        optimiser.zero_grad()
        loss = loss_of(network(x), y)
        loss.backward()
        optimiser.step()
        return loss

    def run() -> Any:
        if not losses:
            losses.extend(step().item() for _ in range(STEPS))
            return np.array(losses)
        return step()

    return run


def _network(library: Any, layers: list[Any], weights: Any, tensor: Any) -> Any:
    network = library.Sequential(*layers)
    names = [
        f"{i}.{name}"
        for i, layer in enumerate(layers)
        if hasattr(layer, "weight") and layer.weight.ndim > 1
        for name in ("weight", "bias")
    ]
    given = dict(zip(names, map(tensor, weights), strict=True))
    network.load_state_dict({**network.state_dict(), **given})
    return network


def _training(
    what: str, layers: Any, sizes: tuple[int, ...], shape: tuple[int, ...], want: float,
    atol: float = 0.0,
) -> Case:  # fmt: skip
    def ours(data: Any):
        from kernelmill import nn

        x, y, *weights = data
        network = _network(nn, layers(nn, *sizes), weights, nn.tensor)
        optimiser = nn.optim.Adam(network.parameters(), RATE)
        return _step(nn, network, optimiser, nn.Tensor(x), nn.Tensor(y))

    def theirs(**more: Any):
        def torch(torch: Any, x: Any, y: Any, *weights: Any):
            network = _network(torch.nn, layers(torch.nn, *sizes), weights, lambda w: w)
            optimiser = torch.optim.Adam(network.parameters(), RATE, **more)
            return _step(torch.nn, network, optimiser, x, y)

        return torch_peer(torch)

    def work(data: Any, result: Any) -> Work:
        from kernelmill import nn

        lines = nn.Sequential(*layers(nn, *sizes)).summary(nn.Tensor(data[0])).layers
        products = [line.multiply_adds for line in lines if line.multiply_adds]
        flops = 2.0 * (3 * sum(products) - products[0])  # the input needs no gradient
        return Work(flops, 0.0, "products forward and backward, as plain sums")

    return Case(
        f"Adam step of {what}, batch {shape[0]}, float32",
        lambda: _data(layers, sizes, shape),
        {"kernelmill": ours, "torch": theirs(), "torch (fused)": theirs(fused=True)},
        lambda data, ours, other: arrays_close(ours, other, rtol=1e-4, atol=atol),
        work,
        want=want,
    )


def _epochs(sizes: tuple[int, ...], batch: int, count: int) -> Case:
    """What `nn.Trainer` adds to a loop by hand that also keeps the mean loss: at most 2 %."""

    def prepared(data: Any, run: Any):
        from kernelmill import nn

        x, y, *weights = data
        batches = [(nn.Tensor(x), nn.Tensor(y))] * count
        network = _network(nn, _mlp(nn, *sizes), weights, nn.tensor)
        loss_of = nn.CrossEntropyLoss()
        optimiser = nn.optim.Adam(network.parameters(), 1e-6)
        first: list[float] = []

        def epoch() -> Any:
            mean = run(nn, network, loss_of, optimiser, batches)
            first.append(mean)
            return np.float64(first[0])

        return epoch

    def trained(nn: Any, network: Any, loss_of: Any, optimiser: Any, batches: Any) -> float:
        trainer = nn.Trainer(1).fit(network, loss_of, optimiser, batches)
        return trainer.history_[0]["train_loss"]

    def by_hand(nn: Any, network: Any, loss_of: Any, optimiser: Any, batches: Any) -> float:
        network.train()
        total = rows = 0.0
        for x, y in batches:
            loss = loss_of(network(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(y)
            rows += len(y)
        return total / rows

    return Case(
        f"{count} steps of an MLP {'-'.join(map(str, sizes))}, batch {batch}: Trainer",
        lambda: _data(_mlp, sizes, (batch, sizes[0])),
        {
            "kernelmill": lambda data: prepared(data, trained),
            "the loop by hand": lambda data: prepared(data, by_hand),
        },
        lambda data, ours, other: arrays_close(ours, other, 0.0),
        want=0.98,
    )


def _layer(name: str, n: int, backward: bool) -> Case:
    """A function of all elements or rows; with ``backward`` its gradient too."""

    def run(functional: Any, x: Any, g: Any):
        more = {"softmax": (-1,), "layer_norm": ((n,),)}.get(name, ())

        def forward() -> Any:
            return (getattr(functional, name)(x, *more).detach().numpy(),)

        def both() -> Any:
            x.grad = None
            y = getattr(functional, name)(x, *more)
            y.backward(g)
            return y.detach().numpy(), x.grad.numpy()

        return both if backward else forward

    def ours(data: Any):
        from kernelmill import nn

        x, g = data
        return run(nn.functional, nn.Tensor(x, requires_grad=backward), g)

    def torch(torch: Any, x: Any, g: Any):
        return run(torch.nn.functional, x.clone().requires_grad_(backward), g)

    def check(data: Any, ours: Any, other: Any) -> str:
        found = (arrays_close(a, b, 1e-4, 1e-6) for a, b in zip(ours, other, strict=True))
        return "; ".join(filter(None, found))

    moved = 4.0 * n * n * (5 if backward else 2)
    return Case(
        f"{name} {n} x {n} {'both ways' if backward else 'forward'} float32",
        lambda: [np.random.default_rng(s).standard_normal((n, n), np.float32) for s in (1, 2)],
        {"kernelmill": ours, "torch": torch_peer(torch)},
        check,
        lambda data, result: Work(0.0, moved, "arguments and results read or written once"),
        want=3.0,
    )


def cases(quick: bool) -> list[Case]:
    """The tape alone, four networks, four functions."""
    size = 64 if quick else 4096
    wide = (784, 1024, 1024, 10)
    large = [
        _training("an MLP 784-1024-1024-10", _mlp, wide, (256, 784), 1.2),
        _training("a CNN for digits", _digits, (), (64, 1, 28, 28), 1.5),
        # Knows its batch after three steps: small losses are rounding alone, which batch norms and
        # max pools amplify, also between float32 and float64 of one library.
        _training("a VGG-like network", _vgg, (), (32, 3, 32, 32), 1.1, atol=1e-4),
    ]
    return [
        _chain(1000),
        _training("an MLP 784-128-10", _mlp, (784, 128, 10), (64, 784), 2.0),
        *([] if quick else large),
        _epochs((784, 128, 10), 64, 20 if quick else 300),
        *(
            _layer(name, size, backward)
            for name in ("softmax", "gelu", "layer_norm", "relu")
            for backward in (False, True)
        ),
    ]
