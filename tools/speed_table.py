"""Print the README's speed table from a saved benchmark.

``python tools/speed_table.py benchmarks/results/kmeans-2-cores.json``; words after the file choose
the cases that begin with one of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def show(seconds: float) -> str:
    """Seconds with three digits and a unit."""
    unit, scale = next(
        (pair for pair in (("s", 1.0), ("ms", 1e-3)) if seconds >= pair[1]), ("µs", 1e-6)
    )
    return f"{seconds / scale:.3g} {unit}"


def table(found: dict, beginnings: tuple[str, ...] = ("",)) -> str:
    """The results as a Markdown table; raises ValueError when one of them is wrong."""
    lines = ["| work | KernelMill | best peer | ratio |", "|---|---|---|---|"]
    for result in found["results"]:
        if result["wrong"]:
            raise ValueError(f"{result['case']} must have no wrong result, got {result['wrong']}")
        if not result["case"].startswith(beginnings):
            continue
        ours = next(iter(result["timings"].values()))["median"]
        peer = result["best_peer"]
        best = f"{show(result['timings'][peer]['median'])} ({peer})" if peer else ""
        ratio = f"{result['ratio']:.1f}" if peer else ""
        lines.append(f"| {result['case']} | {show(ours)} | {best} | {ratio} |")
    about = f"{found['info']['processor']}, {found['threads']} threads, {found['date'][:10]}"
    return "\n".join([*lines, "", f"{about}."])


def main() -> int:
    """Print the table of the file named on the command line."""
    name, *beginnings = sys.argv[1:]
    found = json.loads(Path(name).read_text(encoding="utf-8"))
    print(table(found, tuple(beginnings) or ("",)))
    print(f"\nFrom `{name}`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
