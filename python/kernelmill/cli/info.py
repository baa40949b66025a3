"""``kernelmill info``: what this installation is, what runs and why."""

from __future__ import annotations

import argparse
import json


def add_parser(commands) -> None:
    """Add this command to the ``kernelmill`` parser."""
    command = commands.add_parser("info", help="what is installed, what runs here and why")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print `kernelmill.info()`; status 1 when no compiled module can run."""
    from .._info import info

    found = info()
    print(json.dumps(found, indent=2) if arguments.json else found)
    return 0 if found["level"]["running"] else 1
