"""``python -m kernelmill.accelerate [--quiet] script.py ...`` or ``-m module ...``."""

from __future__ import annotations

import atexit
import os
import runpy
import sys

USAGE = """usage: python -m kernelmill.accelerate [--quiet] (script.py | -m module) [arguments]

Runs a script or a module with scikit-learn's and hmmlearn's classes replaced by KernelMill's where
they exist there. What ran where, why and how long is written to stderr at the end, but not with
--quiet.
"""


def main(arguments: list[str]) -> int:
    """Run what the command line names, as Python itself would."""
    from kernelmill.accelerate import _records, _switch

    quiet = arguments[:1] == ["--quiet"]
    given = arguments[quiet:]
    if not given or given[0] in ("-h", "--help") or given == ["-m"]:
        sys.stderr.write(USAGE)
        return 0 if given[:1] in (["-h"], ["--help"]) else 2
    _switch.start()
    if not quiet:
        atexit.register(lambda: sys.stderr.write(f"{_records.report()}\n"))
    if given[0] == "-m":
        sys.argv = given[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(given[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = given
        sys.path[0] = os.path.dirname(os.path.abspath(given[0]))
        runpy.run_path(given[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
