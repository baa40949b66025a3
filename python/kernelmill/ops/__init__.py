"""Ops: the specification of every hot loop in NumPy, dispatched to C++ or CUDA.

Each module of this package is one family. A function under ``@op`` says in NumPy what is true; a
call runs the implementation that fits the array type. ``kernelmill.backend("numpy")`` runs the
specification.
"""

from __future__ import annotations

import importlib
from types import ModuleType

# One line per family; the name is the basename of its files everywhere.
FAMILIES = (
    "kmeans",
    "pairwise",
    "silhouette",
    "matmul",
    "linear",
    "softmax",
    "norm",
    "attention",
    "dropout",
    "embedding",
    "elementwise",
    "reduction",
    "optim",
    "sgd",
    "moments",
    "glm",
    "coordinate",
    "decomposition",
    "convolution",
    "pool",
    "ctc",
    "recurrent",
    "random",
    "mixture",
    "hmm",
    "values",
    "half",
    "tree",
    "histogram",
    "neighbors",
    "linkage",
    "affinity",
    "kernels",
    "svm",
    "layout",
)

__all__ = ["FAMILIES", "all_ops"]


def __getattr__(name: str) -> ModuleType:
    if name in FAMILIES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FAMILIES])


def all_ops():
    """Every registered op as a dict ``{"family.name": op}``."""
    from ._op import registry

    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
    return dict(registry)
