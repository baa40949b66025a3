"""Networks on one GPU: agreement with the specifications, and training steps beside torch.

``python -m benchmarks.cuda_networks [--json FILE] [--quick]`` on a machine with a GPU, CuPy and,
for the comparison, torch with CUDA. It runs the agreement cases of every op on the GPU, then trains
a perceptron and a convolutional network in both libraries from the same weights on the same
batches, in float32 without TF32, and compares the losses of the first steps. A time is that of one
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
# name: (batch, shape of one example, classes)
NETWORKS = {"mlp": (512, (784,), 10), "cnn": (128, (3, 32, 32), 10)}


def layers(library: Any, name: str) -> list[Any]:
    """The layers of a network, of kernelmill.nn or torch.nn."""
    n = library
    if name == "mlp":
        return [n.Linear(784, 1024), n.ReLU(), n.Linear(1024, 1024), n.ReLU(), n.Linear(1024, 10)]
    return [
        n.Conv2d(3, 32, 3, padding=1), n.BatchNorm2d(32), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(32, 64, 3, padding=1), n.BatchNorm2d(64), n.ReLU(), n.MaxPool2d(2),
        n.Flatten(), n.Linear(64 * 8 * 8, 10),
    ]  # fmt: skip


def batches(name: str, quick: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Some batches of random examples."""
    batch, shape, classes = NETWORKS[name]
    batch = batch // 16 if quick else batch
    rng = np.random.default_rng(SEED)
    return [
        (rng.normal(size=(batch, *shape)).astype(np.float32), rng.integers(0, classes, batch))
        for _ in range(4)
    ]


def our_step(name: str, data: list, weights: dict | None, device: Any) -> tuple[Callable, dict]:
    """A function of the number of the step that trains and returns the loss, and its weights."""
    nn.manual_seed(SEED)
    model = nn.Sequential(*layers(nn, name))
    if weights is not None:
        model.load_state_dict(weights)
    start = {key: np.array(value.numpy()) for key, value in model.state_dict().items()}
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = device(tensor.data)
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-3)
    placed = [(nn.Tensor(device(x)), nn.Tensor(device(y))) for x, y in data]

    def step(i: int) -> Any:
        x, y = placed[i % len(placed)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, start


def torch_step(torch: Any, name: str, data: list, weights: dict) -> Callable:
    """The same in torch."""
    model = torch.nn.Sequential(*layers(torch.nn, name))
    model.load_state_dict({key: torch.tensor(value) for key, value in weights.items()})
    model.cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    placed = [(torch.tensor(x).cuda(), torch.tensor(y).cuda()) for x, y in data]

    def step(i: int) -> Any:
        x, y = placed[i % len(placed)]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
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
    data = batches(name, quick)
    ours, weights = our_step(name, data, None, cupy.asarray)
    steps = {"kernelmill": ours}
    sync = {"kernelmill": cupy.cuda.runtime.deviceSynchronize}
    if torch is not None:
        steps["torch"] = torch_step(torch, name, data, weights)
        sync["torch"] = torch.cuda.synchronize
    losses = {key: [float(step(i)) for i in range(20)] for key, step in steps.items()}
    seconds: dict[str, list[float]] = {key: [] for key in steps}
    rounds, count = (3, 5) if quick else (9, 50)
    for round_ in range(rounds):
        for key, step in steps.items():
            seconds[key].append(timed(step, 20 + round_ * count, count, sync[key]))
    found: dict[str, Any] = {
        "network": name,
        "batch": len(data[0][0]),
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
        "networks": [measure(cupy, torch, name, options.quick) for name in NETWORKS],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    right = all(found.get("agrees", True) for found in report["networks"])
    return 0 if right and report["agreement"]["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
