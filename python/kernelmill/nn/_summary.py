"""What a network is made of: layers, shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ._documents import complete
from ._tape import no_grad
from ._tensor import Tensor


@dataclass(frozen=True)
class LayerLine:
    """One layer of a summary.

    Attributes
    ----------
    name, kind : str
    shape : tuple of int or None
        Of the output.
    parameters, multiply_adds : int
        Of this layer alone; shared parameters count once, where they come first.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """A table of layers; print it.

    Attributes
    ----------
    layers : list of LayerLine
    parameters, trainable, multiply_adds : int
        Sums, each parameter once.
    """

    layers: list[LayerLine]
    parameters: int
    trainable: int
    multiply_adds: int

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds")
        rows = [
            (one.name, one.kind, "" if one.shape is None else str(one.shape),
             f"{one.parameters:,}", f"{one.multiply_adds:,}")
            for one in self.layers
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]

        def line(row: tuple[str, ...]) -> str:
            left = "  ".join(row[i].ljust(widths[i]) for i in range(3))
            return f"{left}  {row[3].rjust(widths[3])}  {row[4].rjust(widths[4])}".rstrip()

        return "\n".join([
            line(head), "-" * (sum(widths) + 8), *map(line, rows), "",
            f"parameters: {self.parameters:,} ({self.trainable:,} learnt)",
            f"multiply-adds: {self.multiply_adds:,}",
        ])  # fmt: skip

    __repr__ = __str__


def _multiply_adds(module: Any, output: Any) -> int:
    """Of one call: a weight with more than one axis is used once for each place of the output."""
    weight = module._parameters.get("weight")
    if weight is None or weight.ndim < 2 or not isinstance(output, Tensor):
        return 0
    if type(module).__name__.startswith("Embedding"):
        return 0
    if weight.ndim == 2:
        return output.numel() * weight.shape[1]
    if "Transpose" in type(module).__name__:
        return math.prod(output.shape[:1]) * weight.numel() * math.prod(module._input_places)
    return output.numel() * math.prod(weight.shape[1:])


def summary(model: Any, *inputs: Any, **kwargs: Any) -> Summary:
    """Layers with the shapes of their outputs, parameters and multiply-adds.

    Parameters
    ----------
    model : Module
    *inputs : Tensor or array
        Run through the model, in evaluation mode and without recording, to find shapes. Without any
        the table has no shapes.
    **kwargs
        Passed on to the model.

    Returns
    -------
    summary : Summary
        Print it.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.ones(1, 4))
    layer  kind    output  parameters  multiply-adds
    ------------------------------------------------
    0      Linear  (1, 8)          40             32
    1      ReLU    (1, 8)           0              0
    <BLANKLINE>
    parameters: 40 (40 learnt)
    multiply-adds: 32
    """
    shapes: dict[int, Any] = {}
    work: dict[int, int] = {}
    handles, modes = [], [(m, m.training) for m in model.modules()]

    def note(module: Any, args: Any, result: Any) -> None:
        shapes[id(module)] = getattr(result, "shape", None)
        work[id(module)] = work.get(id(module), 0) + _multiply_adds(module, result)

    leaves = [(n, m) for n, m in model.named_modules() if not m._modules]
    if inputs or kwargs:
        handles = [m.register_forward_hook(note) for _, m in leaves]
        try:
            model.eval()
            with no_grad():
                model(*inputs, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in modes:
                object.__setattr__(module, "training", mode)
    seen: set[int] = set()
    lines = []
    for name, module in model.named_modules():
        own = [p for p in module._parameters.values() if p is not None and id(p) not in seen]
        seen.update(map(id, own))
        if module._modules and not own:
            continue
        lines.append(LayerLine(name or "(itself)", type(module).__name__, shapes.get(id(module)),
                               sum(p.numel() for p in own), work.get(id(module), 0)))  # fmt: skip
    parameters = list(model.parameters())
    return Summary(
        lines,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(line.multiply_adds for line in lines),
    )


complete(globals())
