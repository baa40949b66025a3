"""``kernelmill tour``: runs every family on data that comes with scikit-learn, in under a minute.

Each family has a module in this package that defines ``rows(context)``, which yields a `Row` for
each model it has run. The modules are found by listing the package, so a new family adds only its
file.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from pathlib import Path

from ._context import Context, Row

__all__ = ["Context", "Row", "add_parser", "families", "run"]

_COLUMNS = ("model", "data", "rows x features", "seconds", "score", "ran on")
_RIGHT = {2, 3}  # columns of numbers


def add_parser(commands) -> None:
    """Add this command to the ``kernelmill`` parser."""
    command = commands.add_parser(
        "tour", help="run every family on sample data; prints a table and saves pictures"
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("kernelmill-tour"),
        metavar="DIR",
        help="where the pictures go (default: %(default)s)",
    )
    command.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s"
    )
    command.set_defaults(run=run)


def families() -> list[str]:
    """Names of the family modules of this package, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def run(arguments: argparse.Namespace) -> int:
    """Run every family, print the table row by row, and list the pictures."""
    context = Context(arguments.device, arguments.out)
    began = time.perf_counter()
    widths = (20, 26, 15, 8, 27, 24)
    _print_line(_COLUMNS, widths)
    _print_line(["-" * width for width in widths], widths)
    for family in families():
        module = importlib.import_module(f"{__name__}.{family}")
        try:
            for row in module.rows(context):
                _print_line(row.cells(), widths)
        except NotImplementedError as error:  # the device lacks an op; the message names it
            print(f"kernelmill tour: {error}", file=sys.stderr)
            return 1
    print(f"\nTotal: {time.perf_counter() - began:.1f} s.")
    for note in context.notes:
        print(note)
    if context.pictures:
        print(f"Pictures in {context.out}:")
        for path, caption in context.pictures:
            print(f"  {path.name}  {caption}")
    return 0


def _print_line(cells, widths) -> None:
    aligned = (
        f"{cell:>{width}}" if column in _RIGHT else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    print("  ".join(aligned).rstrip(), flush=True)
