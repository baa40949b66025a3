"""``kernelmill bench``: runs ``python -m benchmarks`` in a clone of the repository."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def add_parser(commands) -> None:
    """Add this command to the ``kernelmill`` parser."""
    command = commands.add_parser(
        "bench",
        help="compare with other libraries (in a clone of the repository)",
        usage="kernelmill bench [FAMILY ...] [OPTION ...]",
        description="Run `python -m benchmarks` in the root of a clone of the repository, where "
        "--help lists the families and options. The benchmarks are not part of the wheel.",
        prefix_chars="\0",  # options are passed on as they are
        add_help=False,
    )
    command.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    command.set_defaults(run=run, text=command.format_help())


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmarks of the clone that is the working directory."""
    if not Path("benchmarks/_harness.py").is_file():
        if {"-h", "--help"} & set(arguments.rest):
            print(arguments.text, end="")
            return 0
        print(
            "kernelmill bench: the benchmarks are not part of the wheel. Clone the repository, "
            "install '.[bench]' and run this command, or python -m benchmarks, in its root.",
            file=sys.stderr,
        )
        return 2
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments.rest]).returncode
