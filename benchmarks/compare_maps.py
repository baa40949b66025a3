"""t-SNE beside openTSNE and UMAP beside umap-learn in quality: maps of digits from many seeds.

``python -m benchmarks.compare_maps [--seeds 10] [--save FILE]``. Each library has its defaults, but
openTSNE as many iterations as ours: 250 early ones and 750. The divergence is that of t-SNE's
objective over all pairs, of one matrix of probabilities for both. A map is worse where the mean of
its figures is worse than the peer's by more than the standard error of the paired differences.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .layout import _divergence

NEIGHBORS = 15


def makers() -> dict[str, dict[str, Callable[[np.ndarray, int], np.ndarray]]]:
    """Functions of rows and a seed that give a map."""
    import openTSNE
    import umap

    from kernelmill.manifold import TSNE, UMAP

    def open_tsne(X: np.ndarray, seed: int) -> np.ndarray:
        return np.asarray(openTSNE.TSNE(n_iter=750, n_jobs=1, random_state=seed).fit(X))

    return {
        "t-SNE": {
            "kernelmill": lambda X, s: TSNE(random_state=s).fit_transform(X),
            "openTSNE": open_tsne,
        },
        "UMAP": {
            "kernelmill": lambda X, s: UMAP(random_state=s).fit_transform(X),
            "umap-learn": lambda X, s: umap.UMAP(random_state=s, n_jobs=1).fit_transform(X),
        },
    }


def compare(seeds: int) -> list[dict[str, Any]]:
    """Means, and means and standard errors of paired differences, ours less the peer's."""
    from sklearn.datasets import load_digits

    from kernelmill.manifold import trustworthiness

    X = load_digits().data.astype(np.float64)
    rows = []
    for method, systems in makers().items():
        names = list(systems)
        figures: dict[str, list[list[float]]] = {name: [] for name in names}
        for seed in range(seeds):
            for name, make in systems.items():
                Y = make(X, seed)
                own = [trustworthiness(X, Y, n_neighbors=NEIGHBORS)]
                if method == "t-SNE":
                    own.append(_divergence(X, Y))
                figures[name].append(own)
            print(method, seed, {name: figures[name][-1] for name in names}, file=sys.stderr)
        values = {name: np.array(figures[name]) for name in names}
        for j, figure in enumerate(("trustworthiness", "divergence")[: 1 + (method == "t-SNE")]):
            apart = values[names[0]][:, j] - values[names[1]][:, j]
            error = float(apart.std(ddof=1) / np.sqrt(seeds))
            sign = 1 if figure == "trustworthiness" else -1
            rows.append({
                "method": method, "figure": figure,
                "means": {name: float(values[name][:, j].mean()) for name in names},
                "difference": float(apart.mean()), "error": error,
                "no_worse": bool(sign * apart.mean() >= -error),
            })  # fmt: skip
    return rows


def main() -> int:
    """Compare, print, and save where asked."""
    import kernelmill

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    rows = compare(options.seeds)
    for row in rows:
        print(json.dumps(row))
    if options.save:
        result = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": "python -m benchmarks.compare_maps " + " ".join(sys.argv[1:]),
            "seeds": options.seeds, "neighbors": NEIGHBORS, "info": kernelmill.info(), "rows": rows,
        }  # fmt: skip
        options.save.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(row["no_worse"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
