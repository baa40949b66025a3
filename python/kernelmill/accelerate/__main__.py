"""``python -m kernelmill.accelerate [--quiet] script.py ...`` or ``-m module ...``."""

from __future__ import annotations

import atexit
import os
import runpy
import sys
from importlib.util import find_spec
from typing import Any

from kernelmill.accelerate import _records, _switch

USAGE = """usage: python -m kernelmill.accelerate [--quiet] (script.py | -m module) [arguments]

Runs a script or a module with scikit-learn's and hmmlearn's classes replaced by KernelMill's where
they exist there. What ran where, why and how long is written to stderr at the end, but not with
--quiet.
"""


class Folder(str):
    """The first of ``sys.path``, which workers are handed before they read the script.

    There it starts what was started here, so that their classes are ours, too.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return handed, (str(self),)


def handed(name: str) -> str:
    """That folder in a worker; a plain string in processes that are no workers."""
    if _records.SHARED not in os.environ:
        return name
    _switch.start()
    return Folder(name)


def _refused(about: str) -> int:
    sys.stderr.write(f"kernelmill.accelerate: {about}\n")
    return 2


def main(arguments: list[str]) -> int:
    """Run what the command line names, as Python itself would."""
    quiet = arguments[:1] == ["--quiet"]
    given = arguments[quiet:]
    if not given or given[0] in ("-h", "--help") or given == ["-m"]:
        sys.stderr.write(USAGE)
        return 0 if given[:1] in (["-h"], ["--help"]) else 2
    module = given[0] == "-m"
    sys.path[0] = Folder(os.getcwd() if module else os.path.dirname(os.path.abspath(given[0])))
    if module and find_spec(given[1].partition(".")[0]) is None:
        return _refused(f"no module named {given[1]!r}")
    if not module and given[0].startswith("-"):
        return _refused(f"the options are --quiet and -m, got {given[0]!r}")
    if not module and not os.path.exists(given[0]):
        return _refused(f"no file {given[0]!r}")
    _switch.start()
    if not quiet:
        atexit.register(lambda: sys.stderr.write(f"{_records.report()}\n"))
    sys.argv = given[module:]
    if module:
        runpy.run_module(given[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(given[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    from kernelmill.accelerate.__main__ import main as named  # workers look for classes by name

    sys.exit(named(sys.argv[1:]))
