"""Which compiled module runs: one per instruction-set level, the best that this machine can run.

``KERNELMILL_ISA`` forces a level. Nothing is loaded before the first op asks for it, so that
``import kernelmill`` stays cheap and never runs an instruction the machine does not have.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from types import ModuleType

# Best first. A machine that runs a level runs every later level of its own architecture.
LEVELS = ("v4", "v3", "v2", "arm64")
_X86_ORDER = ("v4", "v3", "v2")


def built() -> tuple[str, ...]:
    """Levels whose module is installed, best first."""
    return tuple(
        level
        for level in LEVELS
        if importlib.util.find_spec(f"kernelmill._cpu_{level}") is not None
    )


@functools.cache
def machine_level() -> str:
    """The best level that this processor runs, e.g. ``"v4"``; ``"baseline"`` below x86-64-v2."""
    from . import _isa

    return _isa.detect()


def runnable() -> tuple[str, ...]:
    """Levels that are both built and supported by this processor, best first."""
    machine = machine_level()
    supported = _X86_ORDER[_X86_ORDER.index(machine) :] if machine in _X86_ORDER else (machine,)
    return tuple(level for level in built() if level in supported)


def choose() -> tuple[str, str]:
    """The level to run and one sentence that says why."""
    can_run = runnable()
    forced = os.environ.get("KERNELMILL_ISA", "")
    if forced:
        if forced not in LEVELS:
            raise ValueError(
                f"KERNELMILL_ISA: must be one of {', '.join(LEVELS)}, got {forced!r} "
                "(unset it to take the best level)"
            )
        if forced not in built():
            raise ValueError(
                f"KERNELMILL_ISA: level {forced} must be built, got only "
                f"{', '.join(built()) or 'none'} (install the wheel, or build with "
                f"-Ccmake.define.KERNELMILL_LEVELS={forced})"
            )
        if forced not in can_run:
            raise ValueError(
                f"KERNELMILL_ISA: this processor must support {forced}, got {machine_level()} "
                "(choose a lower level)"
            )
        return forced, "forced by KERNELMILL_ISA"
    if not can_run:
        raise ImportError(
            f"kernelmill: a compiled module for level {machine_level()} must be installed, got "
            f"{', '.join(built()) or 'none'} (x86-64-v2 is the oldest processor supported; "
            "reinstall with 'pip install --force-reinstall kernelmill')"
        )
    best = can_run[0]
    if best == machine_level():
        return best, "best level of this processor"
    return best, f"best level built; this processor also runs {machine_level()}"


@functools.cache
def load(level: str) -> ModuleType:
    """The compiled module of one level, ready to use."""
    from . import _threads

    module = importlib.import_module(f"kernelmill._cpu_{level}")
    _threads.apply_to(module)
    return module


@functools.cache
def running() -> str:
    """The level in use, fixed at its first use."""
    return choose()[0]


def cpu() -> ModuleType:
    """The compiled module in use."""
    return load(running())
