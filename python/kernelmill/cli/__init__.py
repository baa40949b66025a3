"""The ``kernelmill`` command: ``info``, ``tour`` and ``bench``. The one place that prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .._version import __version__


def parser() -> argparse.ArgumentParser:
    """The command line as an argparse parser."""
    from . import bench, info, tour

    top = argparse.ArgumentParser(
        prog="kernelmill", description="Machine learning in one wheel: see what runs here, try it."
    )
    top.add_argument("--version", action="version", version=f"kernelmill {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (info, tour, bench):
        module.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    arguments = parser().parse_args(argv)
    return arguments.run(arguments)
