"""What runs here and why: the first thing to look at, and to put in a bug report."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from typing import Any

from . import _levels
from ._version import __version__

REQUIRED = ("numpy", "scipy", "scikit-learn", "safetensors", "tqdm")
# CuPy is one library under several distribution names, one per CUDA version.
OPTIONAL = (
    "cupy",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "dask",
    "distributed",
    "matplotlib",
    "pandas",
    "polars",
    "pyarrow",
    "threadpoolctl",
    "joblib",
)

NO_TWINS = "this build has no CUDA twins (install from source where nvcc is found)"


class Info(dict):
    """A dict of plain values (``json.dumps`` takes it) that prints as a table."""

    def __repr__(self) -> str:
        level, threads, cuda = self["level"], self["threads"], self["cuda"]
        lines = [
            ("kernelmill", self["version"]),
            ("python", f"{self['python']} on {self['platform']}"),
            ("processor", self["processor"]),
            ("level", f"{level['running'] or 'none'} ({level['why']})"),
            ("levels built", ", ".join(level["built"]) or "none"),
            ("compiler", level["compiler"] or "unknown"),
            ("threads", f"{threads['count'] or 'unknown'} ({threads['why'].rstrip('.')})"),
            ("CUDA twins", "built" if cuda["built"] else "not built"),
            ("CUDA usable", "yes" if cuda["usable"] else f"no ({cuda['why']})"),
        ]
        for device in cuda["devices"]:
            lines.append(("CUDA device", ", ".join(f"{k} {v}" for k, v in device.items())))
        for name, version in self["packages"].items():
            lines.append((name, version or "not installed"))
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def info() -> Info:
    """What this installation is and what it runs on.

    Never fails and never creates a CUDA context: what cannot be found out is reported as such.

    Returns
    -------
    Info
        A dict with the keys ``version``, ``python``, ``platform``, ``processor``, ``level`` (the
        instruction-set level that runs, why, and which are built), ``threads`` (count and why),
        ``cuda`` (built, usable, why not, devices) and ``packages`` (name to version, None when
        absent). Its ``repr`` is a table.

    See Also
    --------
    kernelmill.threads : Change the number of threads.
    kernelmill.backend : Choose where ops run.

    Notes
    -----
    Loads the compiled module. Takes some milliseconds.

    Examples
    --------
    >>> import kernelmill
    >>> found = kernelmill.info()
    >>> found["version"] == kernelmill.__version__
    True
    >>> sorted(found["level"])
    ['built', 'compiler', 'machine', 'running', 'why']
    """
    return Info(
        version=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        processor=processor_name(),
        level=_level(),
        threads=_thread_count(),
        cuda=_cuda(),
        packages=_packages(),
    )


def processor_name() -> str:
    """The processor's own name, or its architecture where the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _level() -> dict[str, Any]:
    found: dict[str, Any] = {
        "running": None,
        "why": "",
        "built": list(_levels.built()),
        "machine": None,
        "compiler": None,
    }
    try:
        found["machine"] = _levels.machine_level()
        found["running"], found["why"] = _levels.choose()
        found["compiler"] = getattr(_levels.load(found["running"]), "compiler", None)
    except (ImportError, ValueError) as error:
        found["running"], found["why"] = None, str(error)
    return found


def _thread_count() -> dict[str, Any]:
    from . import _threads

    try:
        count, why = _threads.why_threads()
    except (ImportError, ValueError) as error:
        return {"count": None, "why": str(error)}
    return {"count": count, "why": why}


def _cuda() -> dict[str, Any]:
    found: dict[str, Any] = {"built": False, "usable": False, "why": "", "devices": []}
    try:
        module = importlib.import_module("kernelmill._cuda")
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "kernelmill._cuda"
        found["why"] = NO_TWINS if absent else str(error)
        return found
    found["built"] = True
    try:
        found.update(module.device_info())
    except (AttributeError, RuntimeError) as error:
        found["why"] = str(error)
    if found["usable"] and not any(
        version for name, version in _packages().items() if name.startswith("cupy")
    ):
        found["usable"] = False
        found["why"] = "CuPy is not installed: pip install 'kernelmill[cuda]'"
    return found


def _packages() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    cupy = next((found[name] for name in OPTIONAL if name.startswith("cupy") and found[name]), None)
    found["cupy"] = cupy  # one line for the library, whatever its distribution is called
    for name in OPTIONAL:
        if name.startswith("cupy-"):
            del found[name]
    return found
