"""``python -m benchmarks [family ...] [--save FILE] [--quick] [--threads N] [--match TEXT]``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import pkgutil
import platform
import sys
from pathlib import Path

import kernelmill

from . import __path__ as here
from ._harness import as_json, hardware_limits, measure, set_threads, table

BUSY = 0.5  # of one processor, averaged over the last minute


def families() -> list[str]:
    """Family files of this package; ``cuda_*`` are scripts of their own, for GPU machines."""
    found = (m.name for m in pkgutil.iter_modules(here) if not m.ispkg)
    return sorted(name for name in found if not name.startswith(("_", "cuda_", "compare")))


def main(argv: list[str] | None = None) -> int:
    """Run the chosen families; status 1 when a result is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("family", nargs="*", help=f"default: all of {', '.join(families())}")
    parser.add_argument(
        "--save", type=Path, metavar="FILE",
        help="write the JSON there; with --match, other cases that it has are kept",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="small shapes, one round: a smoke test"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: what kernelmill takes")
    parser.add_argument(
        "--match", default="", metavar="TEXT", help="only cases with this in the name"
    )
    parser.add_argument(
        "--peers", nargs="*", metavar="NAME", help="only these beside kernelmill; default: all"
    )
    arguments = parser.parse_args(argv)
    unknown = set(arguments.family) - set(families())
    if unknown:
        parser.error(f"family must be of {', '.join(families())}, got {', '.join(sorted(unknown))}")

    chosen = arguments.family or families()
    cases = [
        (family, case)
        for family in chosen
        for case in importlib.import_module(f"benchmarks.{family}").cases(arguments.quick)
        if arguments.match in case.name
    ]
    if not cases:
        names = ", ".join(chosen)
        parser.error(f"--match must be in the name of a case of {names}, got {arguments.match!r}")

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > BUSY:
        # OpenMP threads that wait in a loop lose 50-fold when another process has their processor,
        # so ratios measured on a busy machine flatter us.
        print(f"load average {load:.2f}: wait for a quiet machine before keeping these figures\n")
    threads = arguments.threads or kernelmill.get_threads()
    set_threads(threads)
    limits = hardware_limits(threads, arguments.quick)
    print(
        f"{kernelmill.info()['processor']}, {threads} threads: float32 "
        f"{limits['float32 flop/s'] / 1e9:.0f} GFLOP/s, float64 "
        f"{limits['float64 flop/s'] / 1e9:.0f} GFLOP/s, copy "
        f"{limits['copy bytes/s'] / 1e9:.1f} GB/s\n",
        flush=True,
    )
    about = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks {' '.join(argv or sys.argv[1:])}",
        "machine": platform.machine(),
        "threads": threads,
        "load_average": load,
        "quick": arguments.quick,
        "limits": limits,
        "info": kernelmill.info(),
        "peers": _peer_versions(),
    }
    apart = None if arguments.quick else threads  # a smoke test stays in this process
    outcomes, others = [], []
    if arguments.match and arguments.save and arguments.save.exists():
        ours = {(family, case.name) for family, case in cases}
        known = json.loads(arguments.save.read_text())["results"]
        others = [result for result in known if (result["family"], result["case"]) not in ours]
    for family, case in cases:
        if arguments.peers is not None:
            kept = {next(iter(case.systems)), *arguments.peers}
            systems = {name: f for name, f in case.systems.items() if name in kept}
            case = dataclasses.replace(case, systems=systems)
        outcomes.append(measure(family, case, limits, arguments.quick, apart))
        print(table(outcomes[-1:]), flush=True)
        if arguments.save:  # each time: a run that is stopped keeps what it has
            arguments.save.parent.mkdir(parents=True, exist_ok=True)
            written = as_json(outcomes, **about)
            if others:
                written["note"] = (
                    f"the first {len(others)} results are of earlier runs; all else here is of the "
                    "last one"
                )
            written["results"] = [*others, *written["results"]]
            arguments.save.write_text(json.dumps(written, indent=1) + "\n")
    if arguments.save:
        print(f"saved {arguments.save}")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _peer_versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    names = ("scikit-learn", "scikit-learn-intelex", "faiss-cpu", "fastcluster", "openTSNE",
             "umap-learn", "hmmlearn", "celer", "lightgbm", "xgboost", "xgboost-cpu", "torch",
             "numpy", "scipy")  # fmt: skip
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


if __name__ == "__main__":
    sys.exit(main())
