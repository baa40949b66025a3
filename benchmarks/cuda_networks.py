"""Networks on one GPU: agreement with the specifications, and training steps beside torch.

``python -m benchmarks.cuda_networks [--json FILE] [--quick]`` on a machine with a GPU, CuPy and,
for the comparison, torch with CUDA. It runs the agreement cases of every op on the GPU, then trains
a perceptron, a convolutional network, an LSTM, a causal transformer and a CTC loss behind a
bidirectional LSTM in both libraries from the same weights on the same batches, in float32 without
TF32, and compares the losses of the first steps. A time is that of one
step (forward, backward, Adam) between two synchronisations, least and median over rounds that
alternate between the libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kernelmill
from kernelmill import nn

TESTS = Path(__file__).resolve().parents[1] / "tests" / "ops"
SEED = 11
CLASSES = {"mlp": 10, "cnn": 10, "lstm": 96, "gpt": 96, "ctc": 30}
# Features of the hidden layers, examples of a batch, steps of a sequence and labels of a target.
SIZES = {
    "mlp": (1024, 512, 0, 0),
    "cnn": (32, 128, 0, 0),
    "lstm": (512, 64, 128, 0),
    "gpt": (512, 16, 256, 0),
    "ctc": (256, 32, 200, 20),
}


def network(library: Any, name: str, width: int, steps: int = 0) -> Any:
    """A network of kernelmill.nn or torch.nn."""
    n, classes = library, CLASSES[name]
    if name == "mlp":
        return n.Sequential(n.Linear(784, width), n.ReLU(), n.Linear(width, width), n.ReLU(),
                            n.Linear(width, classes))  # fmt: skip
    if name == "cnn":
        return n.Sequential(
            n.Conv2d(3, width, 3, padding=1), n.BatchNorm2d(width), n.ReLU(), n.MaxPool2d(2),
            n.Conv2d(width, 2 * width, 3, padding=1), n.BatchNorm2d(2 * width), n.ReLU(),
            n.MaxPool2d(2), n.Flatten(), n.Linear(2 * width * 8 * 8, classes),
        )  # fmt: skip

    class Recurrent(n.Module):
        def __init__(self, both: bool) -> None:
            super().__init__()
            self.embed = n.Linear(40, width) if both else n.Embedding(classes, width)
            self.layers = n.LSTM(width, width, 1 if both else 2, bidirectional=both)
            self.out = n.Linear(width * (1 + both), classes)

        def forward(self, x: Any) -> Any:
            return self.out(self.layers(self.embed(x))[0])

    class Transformer(n.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = n.Embedding(classes, width), n.Embedding(steps, width)
            layer = n.TransformerEncoderLayer(
                width, 8, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.layers, self.out = n.TransformerEncoder(layer, 4), n.Linear(width, classes)
            mask = n.Transformer.generate_square_subsequent_mask(steps)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, x: Any) -> Any:
            x = self.embed(x) + self.place.weight
            return self.out(self.layers(x, mask=self.mask, is_causal=True))

    return Transformer() if name == "gpt" else Recurrent(name == "ctc")


def loss_of(library: Any, name: str, model: Any, x: Any, y: Any) -> Any:
    """The loss of a batch, by functions of kernelmill.nn or torch.nn."""
    F, logits = library.functional, model(x)
    if name != "ctc":
        return F.cross_entropy(logits.reshape(-1, CLASSES[name]), y.reshape(-1))
    steps, batch, _ = logits.shape
    lengths = np.full(batch, steps), np.full(batch, y.shape[1])
    return F.ctc_loss(F.log_softmax(logits, -1), y, *(tuple(map(int, a)) for a in lengths))


def batches(name: str, batch: int, steps: int, labels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Some batches of random examples."""
    rng, classes = np.random.default_rng(SEED), CLASSES[name]

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def one() -> tuple[np.ndarray, np.ndarray]:
        if name == "ctc":
            return numbers(steps, batch, 40), rng.integers(1, classes, (batch, labels))
        if name in ("lstm", "gpt"):  # classes of places that tell the next one
            shape = (steps, batch) if name == "lstm" else (batch, steps)
            x = rng.integers(0, classes, shape)
            return x, (3 * x + 1) % classes
        shape = (784,) if name == "mlp" else (3, 32, 32)
        return numbers(batch, *shape), rng.integers(0, classes, batch)

    return [one() for _ in range(4)]


def our_step(
    name: str, data: list, width: int, steps: int, weights: dict | None, device: Any
) -> tuple[Callable, dict]:
    """A function of the number of the step that trains and returns the loss, and its weights."""
    nn.manual_seed(SEED)
    model = network(nn, name, width, steps)
    if weights is not None:
        model.load_state_dict(weights)
    start = {key: np.array(value.numpy()) for key, value in model.state_dict().items()}
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = device(tensor.data)
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-3)
    placed = [(nn.Tensor(device(x)), nn.Tensor(device(y))) for x, y in data]

    def step(i: int) -> Any:
        optimizer.zero_grad()
        loss = loss_of(nn, name, model, *placed[i % len(placed)])
        loss.backward()
        optimizer.step()
        return loss

    return step, start


def torch_step(
    torch: Any, name: str, data: list, width: int, steps: int, weights: dict
) -> Callable:
    """The same in torch."""
    model = network(torch.nn, name, width, steps)
    model.load_state_dict({key: torch.tensor(value) for key, value in weights.items()})
    model.cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    placed = [(torch.tensor(x).cuda(), torch.tensor(y).cuda()) for x, y in data]

    def step(i: int) -> Any:
        optimizer.zero_grad()
        loss = loss_of(torch.nn, name, model, *placed[i % len(placed)])
        loss.backward()
        optimizer.step()
        return loss

    return step


def timed(step: Callable, first: int, count: int, synchronize: Callable) -> float:
    """Seconds of a step."""
    synchronize()
    begin = time.perf_counter()
    for i in range(first, first + count):
        step(i)
    synchronize()
    return (time.perf_counter() - begin) / count


def measure(cupy: Any, torch: Any, name: str, quick: bool) -> dict[str, Any]:
    width, batch, length, labels = SIZES[name]
    data = batches(name, batch // 16 if quick else batch, length, labels)
    ours, weights = our_step(name, data, width, length, None, cupy.asarray)
    steps = {"kernelmill": ours}
    sync = {"kernelmill": cupy.cuda.runtime.deviceSynchronize}
    if torch is not None:
        steps["torch"] = torch_step(torch, name, data, width, length, weights)
        sync["torch"] = torch.cuda.synchronize
    losses = {key: [float(step(i)) for i in range(20)] for key, step in steps.items()}
    seconds: dict[str, list[float]] = {key: [] for key in steps}
    rounds, count = (3, 5) if quick else (9, 50)
    for round_ in range(rounds):
        for key, step in steps.items():
            seconds[key].append(timed(step, 20 + round_ * count, count, sync[key]))
    found: dict[str, Any] = {
        "network": name,
        "width, batch, steps, labels": [width, batch // 16 if quick else batch, length, labels],
        "losses": losses,
        "seconds": {k: {"least": min(v), "median": statistics.median(v)}
                    for k, v in seconds.items()},
    }  # fmt: skip
    if torch is not None:
        apart = np.abs(np.subtract(losses["kernelmill"], losses["torch"]))
        # Rounding grows along the run: the first steps say whether both compute the same.
        found["largest_difference_of_first_5_losses"] = float(apart[:5].max())
        found["agrees"] = bool(apart[:5].max() < 1e-3)
        found["torch_over_kernelmill"] = (
            statistics.median(seconds["torch"]) / statistics.median(seconds["kernelmill"])
        )  # fmt: skip
    return found


def agreement() -> dict[str, Any]:
    """What pytest says of every op on the GPU beside its specification."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "agreement and cuda", str(TESTS)],
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines()
    wrong = [line for line in lines if line.startswith("FAILED")]
    return {"passed": done.returncode == 0, "summary": lines[-1] if lines else "", "wrong": wrong}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="small batches and few rounds")
    options = parser.parse_args(arguments)
    device = kernelmill.info()["cuda"]
    if not device["usable"]:
        print(f"cuda_networks: a GPU must be usable, got none ({device['why']})", file=sys.stderr)
        return 2
    import cupy

    try:
        import torch
    except ImportError:
        torch = None
    if torch is not None:
        if torch.cuda.is_available():
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        else:
            torch = None
    report: dict[str, Any] = {
        "device": device["devices"][cupy.cuda.runtime.getDevice()],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "torch": None if torch is None else torch.__version__,
        "kernelmill": kernelmill.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "agreement": agreement(),
        "networks": [measure(cupy, torch, name, options.quick) for name in SIZES],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    right = all(found.get("agrees", True) for found in report["networks"])
    return 0 if right and report["agreement"]["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
