"""What is installed and what runs on this machine: the first thing to put in a bug report."""

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

NOT_BUILT = "this build has no CUDA code; install from source where nvcc is found"


class Info(dict):
    """A dict of plain values, which ``json.dumps`` accepts, that prints as a table."""

    def __repr__(self) -> str:
        level, threads, cuda = self["level"], self["threads"], self["cuda"]
        lines = [
            ("kernelmill", self["version"]),
            ("python", f"{self['python']} on {self['platform']}"),
            ("processor", self["processor"]),
            ("level", f"{level['running'] or 'none'} ({level['why']})"),
            ("matrix tiles", "used" if level["tiles"] else "not used"),
            ("levels built", ", ".join(level["built"]) or "none"),
            ("compiler", level["compiler"] or "unknown"),
            ("threads", f"{threads['count'] or 'unknown'} ({threads['why'].rstrip('.')})"),
            ("CUDA code", "built" if cuda["built"] else "not built"),
            ("CUDA usable", "yes" if cuda["usable"] else f"no ({cuda['why']})"),
        ]
        for device in cuda["devices"]:
            lines.append(("CUDA device", ", ".join(f"{k} {v}" for k, v in device.items())))
        for name, version in self["packages"].items():
            lines.append((name, version or "not installed"))
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def info() -> Info:
    """Report what is installed and what it runs on.

    Never fails and never creates a CUDA context: anything that cannot be determined is reported as
    such.

    Returns
    -------
    Info
        A dict with the keys ``version``, ``python``, ``platform``, ``processor``, ``level`` (the
        instruction-set level in use, the reason for it, the levels built, and whether large float32
        products use tiles of bfloat16, with the accuracy of float32), ``threads`` (count
        and reason), ``cuda`` (built, usable, reason if not, devices) and ``packages`` (version by
        name, None if not installed). It prints as a table.

    See Also
    --------
    kernelmill.threads : Change the number of threads.
    kernelmill.backend : Choose where ops run.

    Notes
    -----
    Loads the compiled module, which takes a few milliseconds.

    Examples
    --------
    >>> import kernelmill
    >>> report = kernelmill.info()
    >>> report["version"] == kernelmill.__version__
    True
    >>> sorted(report["level"])
    ['built', 'compiler', 'machine', 'running', 'tiles', 'why']
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
    """The model name of the processor, or its architecture if the system does not report it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _level() -> dict[str, Any]:
    level: dict[str, Any] = {
        "running": None,
        "why": "",
        "built": list(_levels.built()),
        "machine": None,
        "compiler": None,
        "tiles": False,
    }
    try:
        level["machine"] = _levels.machine_level()
        level["running"], level["why"] = _levels.choose()
        module = _levels.load(level["running"])
        level["compiler"] = getattr(module, "compiler", None)
        level["tiles"] = module.tiles()
    except (ImportError, ValueError) as error:
        level["running"], level["why"] = None, str(error)
    return level


def _thread_count() -> dict[str, Any]:
    from . import _threads

    try:
        count, why = _threads.why_threads()
    except (ImportError, ValueError) as error:
        return {"count": None, "why": str(error)}
    return {"count": count, "why": why}


def _cuda() -> dict[str, Any]:
    cuda: dict[str, Any] = {"built": False, "usable": False, "why": "", "devices": []}
    try:
        module = importlib.import_module("kernelmill._cuda")
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "kernelmill._cuda"
        cuda["why"] = NOT_BUILT if absent else str(error)
        return cuda
    cuda["built"] = True
    try:
        cuda.update(module.device_info())
    except (AttributeError, RuntimeError) as error:
        cuda["why"] = str(error)
    if cuda["usable"] and not any(
        version for name, version in _packages().items() if name.startswith("cupy")
    ):
        cuda["usable"] = False
        cuda["why"] = "CuPy is not installed: pip install 'kernelmill[cuda]'"
    return cuda


def _packages() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    # One line for the library, whatever the distribution is called.
    installed = [versions.pop(name) for name in OPTIONAL if name.startswith("cupy")]
    cupy = next((version for version in installed if version), None)
    return {**versions, "cupy": cupy}
