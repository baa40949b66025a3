"""Compare two checkouts: ``python -m benchmarks.compare OLD NEW [family ...] [--rounds N]``.

Each checkout is a folder with python/kernelmill (modules built in place) and benchmarks/. Both time
our system alone on the cases that they have in common, each in a process of its own that lives for
one case; the two processes take turns, so that a drift of the machine meets both. Prints the ratio
old / new of the medians (above 1: the new one is faster) and the quartiles of the ratios by round.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path


def work(family: str) -> None:
    """Answer lines of standard input with seconds: "list", a number of a case, "again", "quit"."""
    from benchmarks._harness import SHORTEST_TIMING, _time

    cases = importlib.import_module(f"benchmarks.{family}").cases(False)
    print(json.dumps([case.name for case in cases]), flush=True)
    run, calls = None, 1
    for line in sys.stdin:
        word = line.strip()
        if word == "quit":
            return
        if word != "again":
            case = next(case for case in cases if case.name == word)
            run = next(iter(case.systems.values()))(case.make())
            calls = max(1, int(SHORTEST_TIMING / max(_time(run, 1), 1e-7)))
        run()
        print(json.dumps(_time(run, calls)), flush=True)


class Worker:
    """A process that times one family of one checkout."""

    def __init__(self, tree: Path, family: str) -> None:
        start = (
            f"import sys; sys.path[:0] = [{str(tree / 'python')!r}, {str(tree)!r}]\n"
            f"import runpy; runpy.run_path({__file__!r})['work']({family!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.names = json.loads(self._process.stdout.readline() or "[]")

    def ask(self, word: str) -> float:
        """Seconds of one call."""
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate("quit\n")


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("family", nargs="*")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for family in arguments.family or ("kmeans", "mixture", "hmm", "hmm_models"):
        workers = [Worker(tree.resolve(), family) for tree in (arguments.old, arguments.new)]
        for name in [name for name in workers[0].names if name in workers[1].names]:
            for worker in workers:
                worker.ask(name)
            rounds = [[worker.ask("again") for worker in workers] for _ in range(arguments.rounds)]
            old, new = (statistics.median(times) for times in zip(*rounds, strict=True))
            low, _, high = statistics.quantiles([a / b for a, b in rounds], n=4)
            print(
                f"{family:10} {name:60} old {old * 1e3:10.3f} ms, new {new * 1e3:10.3f} ms, "
                f"old/new {old / new:5.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )
        for worker in workers:
            worker.close()


if __name__ == "__main__":
    main()
