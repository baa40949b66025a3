"""The ``kernelmill`` command, with ``info``, ``tour`` and ``bench``. Only this package prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .._version import __version__


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from . import bench, info, tour

    top = argparse.ArgumentParser(
        prog="kernelmill",
        description="Show what runs on this machine, or try KernelMill on sample data.",
    )
    top.add_argument("--version", action="version", version=f"kernelmill {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (info, tour, bench):
        module.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = parser().parse_args(argv)
    return arguments.run(arguments)
