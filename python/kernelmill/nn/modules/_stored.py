"""Modules as data: what a model file holds of a tree of layers."""

from __future__ import annotations

from typing import Any

from ..._estimator.state import _reserved
from .._tensor import Tensor
from ._module import Module, Parameter

_OWN = {"_buffers", "_forward_hooks", "_forward_pre_hooks", "_modules", "_parameters", "_transient"}


def stored(root: Module) -> dict[str, Any]:
    """Classes, attributes and tensors of a module and of all inside it; ties are kept.

    Raises
    ------
    TypeError
        If a module has hooks, which are code.
    """
    modules = [*root.modules()]
    numbers = {id(module): i for i, module in enumerate(modules)}
    tensors: dict[int, int] = {}
    arrays: list[list[Any]] = []

    def number(tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        if id(tensor) not in tensors:
            tensors[id(tensor)] = len(arrays)
            learnt = isinstance(tensor, Parameter)
            arrays.append([tensor.data, learnt, bool(tensor.requires_grad)])
        return tensors[id(tensor)]

    rows = []
    for module in modules:
        if module._forward_hooks or module._forward_pre_hooks:
            raise TypeError(
                f"save: {type(module).__name__} must have no hooks, got some (a model file holds "
                "no code: remove them first)"
            )
        rows.append({
            "class": type(module),
            "attributes": {k: v for k, v in vars(module).items() if k not in _OWN},
            "transient": sorted(module._transient),
            "parameters": {k: number(p) for k, p in module._parameters.items()},
            "buffers": {k: number(b) for k, b in module._buffers.items()},
            "modules": {
                k: None if m is None else numbers[id(m)] for k, m in module._modules.items()
            },
        })  # fmt: skip
    return {"modules": rows, "tensors": arrays}


def restored(cls: type, values: Any) -> Module:
    """The module of what `stored` returned; every flaw raises."""
    made: list[Tensor] = []
    for array, learnt, needed in values["tensors"]:
        made.append((Parameter if learnt else Tensor)(array, needed))
    modules = []
    for row in values["modules"]:
        kind = row["class"]
        if not (isinstance(kind, type) and issubclass(kind, Module)):
            raise ValueError("a class that is no module")
        module = kind.__new__(kind)
        Module.__init__(module)
        for name, value in row["attributes"].items():
            if name in _OWN or _reserved(kind, name):
                raise ValueError(f"an attribute {name[:60]!r} of {kind.__name__}")
            object.__setattr__(module, name, value)
        modules.append(module)
    for module, row in zip(modules, values["modules"], strict=True):
        for place, found in (
            ("parameters", made), ("buffers", made), ("modules", modules)
        ):  # fmt: skip
            chosen = {k: None if i is None else found[i] for k, i in row[place].items()}
            vars(module)[f"_{place}"].update(chosen)
        module._transient.update(row["transient"])
    if not modules or type(modules[0]) is not cls:
        raise ValueError(f"a malformed {cls.__name__}")
    return modules[0]
