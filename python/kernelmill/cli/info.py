"""``kernelmill info``: what is installed, what runs on this machine, and why."""

from __future__ import annotations

import argparse
import json


def add_parser(commands) -> None:
    """Add this command to the ``kernelmill`` parser."""
    command = commands.add_parser("info", help="show what is installed and what runs here")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print `kernelmill.info()`; the status is 1 if no compiled module can run."""
    from .._info import info

    report = info()
    print(json.dumps(report, indent=2) if arguments.json else report)
    return 0 if report["level"]["running"] else 1
