"""SVC of many rows: ``python -m benchmarks.compare_large [--rows N] [--save FILE]``.

Fits ``SVC(C=1, kernel="rbf")`` to the rows of ``make_classification(N, 50, n_informative=25,
flip_y=0.1, random_state=0)``, and LIBSVM (scikit-learn) to the first 5, 10 and 20 thousand, each in
a process of its own. Prints seconds, seconds of processor, the most memory that the process had,
and how LIBSVM's time grows: the slope of its logarithm over that of the rows.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import kernelmill

SUBSAMPLES = (5_000, 10_000, 20_000)


def _fit(package: str, rows: int, used: int) -> dict[str, Any]:
    from sklearn.datasets import make_classification

    X, y = make_classification(rows, 50, n_informative=25, flip_y=0.1, random_state=0)
    model = __import__(package, fromlist=["SVC"]).SVC()
    X, y = X[:used].copy(), y[:used]
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(X, y)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gap = getattr(model, "dual_gap_", None)
    return {
        "package": package, "rows": used, "seconds": wall, "processor_seconds": cpu,
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "support_vectors": len(model.support_), "dual_gap": None if gap is None else float(gap[0]),
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Print a line for each fit; status 1 if ours needs 2 GB or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the JSON there")
    arguments = parser.parse_args(argv)
    jobs = [("kernelmill.svm", arguments.rows, arguments.rows)]
    jobs += [("sklearn.svm", arguments.rows, n) for n in SUBSAMPLES if n <= arguments.rows]
    results = []
    for job in jobs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(_fit, job)
        results.append(found)
        print(
            f"{found['package']:16} n={found['rows']:7} {found['seconds']:7.2f} s, processor "
            f"{found['processor_seconds']:7.2f} s, at most {found['peak_MB']:6.0f} MB, "
            f"{found['support_vectors']} support vectors",
            flush=True,
        )
    theirs = [r for r in results if r["package"] == "sklearn.svm"]
    slope = None
    if len(theirs) > 1:
        logs = np.log([[r["rows"], r["processor_seconds"]] for r in theirs])
        slope = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
        longer = (arguments.rows / theirs[-1]["rows"]) ** slope * theirs[-1]["processor_seconds"]
        print(f"LIBSVM grows as n^{slope:.2f}: {longer:.0f} s at n={arguments.rows}")
    if arguments.save:
        about = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.compare_large {' '.join(argv or sys.argv[1:])}",
            "info": kernelmill.info(), "libsvm_exponent": slope,
        }  # fmt: skip
        arguments.save.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    return int(results[0]["peak_MB"] >= 2000)


if __name__ == "__main__":
    sys.exit(main())
