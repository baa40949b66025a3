"""How long ``import kernelmill`` takes, beside a bare interpreter, each in new processes.

A script and not a test: a timing may fail on a busy machine, and a suite must not.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

LIMIT = 0.1  # seconds on top of the interpreter; it is about 0.01 on a quiet machine
ROUNDS = 5


def seconds(code: str) -> float:
    """Median wall-clock seconds of ``python -c code``."""
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True)  # bytecode and file cache warm
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> int:
    """Print the figures; status 1 above the limit."""
    bare = seconds("pass")
    package = seconds("import kernelmill") - bare
    estimator = seconds("from kernelmill.cluster import KMeans") - bare
    peer = seconds("from sklearn.cluster import KMeans") - bare
    print(f"import kernelmill                      {package * 1e3:7.1f} ms")
    print(f"from kernelmill.cluster import KMeans  {estimator * 1e3:7.1f} ms")
    print(f"from sklearn.cluster import KMeans     {peer * 1e3:7.1f} ms")
    if package > LIMIT:
        print(
            f"import kernelmill must take at most {LIMIT} s, got {package:.3f} s", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
