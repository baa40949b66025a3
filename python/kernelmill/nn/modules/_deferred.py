"""Layers that take the number of their inputs from the first batch."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ..._arrays import beside
from .._documents import complete
from .._tensor import Tensor
from . import _convolution, _layers
from ._layers import Linear
from ._module import Module


class Deferred(Module):
    """What lazy layers share: they become plain layers, in place, once a size is known.

    The parameters are there from the start, without elements along the missing axis; an optimiser
    made before the first batch trains them.
    """

    cls_to_become: Any
    size = "in_features"  # the argument that is missing, the first of the class
    axis = -1  # where a batch has it
    given: tuple[tuple, dict]
    # Arguments whose defaults are not those of the class, as in torch: name -> place, value.
    usual: dict[str, tuple[int, Any]] = {}  # noqa: RUF012

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _, *others = inspect.signature(cls.cls_to_become).parameters.values()
        usual = {name: value for name, (_, value) in cls.usual.items()}
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(default=usual.get(p.name, p.default)) for p in others]
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, (place, value) in self.usual.items():
            if len(args) <= place:
                kwargs.setdefault(name, value)
        super().__init__(0, *args, **kwargs)  # type: ignore[call-arg]
        self.given = (args, kwargs)

    def has_uninitialized_params(self) -> bool:
        """Whether the size is still unknown.

        Returns
        -------
        unknown : bool
            Always True: with a size the layer has another class.
        """
        return True

    def _become(self, size: int) -> None:
        args, kwargs = self.given
        made = self.cls_to_become(size, *args, **kwargs)
        for kind in ("_parameters", "_buffers"):
            for name, own in self.__dict__[kind].items():
                if own is not None:
                    value = getattr(made, name).data
                    own.data = beside(value.astype(own.dtype, copy=False), own.data)
        object.__delattr__(self, "given")
        for name, value in vars(made).items():
            if name[0] != "_" and name != "training":
                object.__setattr__(self, name, value)
        object.__setattr__(self, "__class__", self.cls_to_become)

    def _size_in(self, name: str, shape: tuple[int, ...]) -> int | None:
        """The missing size, from the shape that a parameter or buffer must have."""
        own = getattr(self, name).shape
        fits = len(own) == len(shape) and all(a in (0, b) for a, b in zip(own, shape, strict=True))
        if not fits or 0 not in own or 0 in shape:
            return None
        at = own.index(0)
        return int(shape[at]) * (getattr(self, "groups", 1) if at == 1 else 1)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Take the size of the input, become a plain layer and apply it."""
        shape = input.shape if hasattr(input, "shape") else Tensor(input).shape
        least = self.axis + 1 if self.axis > 0 else -self.axis
        if len(shape) < least or shape[self.axis] < 1:
            raise ValueError(
                f"{self._get_name()}: input must have an axis {self.axis} of at least 1, got shape "
                f"{tuple(shape)}"
            )
        kind, state = type(self), dict(vars(self))
        own = [*self._parameters.values(), *self._buffers.values()]
        values = [(one, one.data) for one in own if one is not None]
        self._become(int(shape[self.axis]))
        try:
            return self.forward(input, *args, **kwargs)
        except Exception:  # a batch that does not fit says nothing of the size
            for one, value in values:
                one.data = value
            vars(self).clear()
            vars(self).update(state)
            object.__setattr__(self, "__class__", kind)
            raise


class LazyLinear(Deferred, Linear):
    """A :class:`Linear` layer whose ``in_features`` is the length of the first rows that it sees.

    Parameters
    ----------
    out_features : int
    bias : bool, default=True
    dtype : dtype, optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.LazyLinear(2)
    >>> layer(nn.ones(5, 3)).shape, layer
    ((5, 2), Linear(in_features=3, out_features=2, bias=True))
    """

    cls_to_become = Linear


_DOCUMENT = """A :class:`{plain}` layer whose ``{size}`` is that of the first batch that it sees.

Parameters
----------
{arguments}

Examples
--------
>>> from kernelmill import nn
>>> layer = nn.{name}({given})
>>> layer(nn.ones({x})).shape, layer.{size}
({shape}, 3)
"""


_USUAL = {"affine": (2, True), "track_running_stats": (3, True)}


def _arguments(kind: Any, usual: dict[str, tuple[int, Any]]) -> str:
    """What the docstring of a layer says of its parameters but the first."""
    document = inspect.getdoc(kind) or ""
    section = document.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?=\S)", section)[1:]
    for i, entry in enumerate(entries):
        name = entry.partition(" :")[0]
        if name in usual:
            entries[i] = re.sub("default=.*", f"default={usual[name][1]}", entry, count=1)
    return "\n".join(entries)


def _lazy_layers() -> dict[str, type]:
    made: dict[str, type] = {}
    for axes in (1, 2, 3):
        for stem in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm"):
            convolution = stem.startswith("Conv")
            plain = f"{stem}{axes}d"
            kind = (_convolution.LAYERS if convolution else vars(_layers))[plain]
            size = "in_channels" if convolution else "num_features"
            name = f"Lazy{plain}"
            end = {"Conv": 5, "ConvTranspose": 9}.get(stem, 7)
            usual = _USUAL if stem == "InstanceNorm" else {}
            document = _DOCUMENT.format(
                plain=plain, size=size, name=name, given="4, 3" if convolution else "",
                arguments=_arguments(kind, usual),
                x=", ".join(["2", "3", *["7"] * axes]),
                shape=(2, 4 if convolution else 3, *(end,) * axes),
            )  # fmt: skip
            # A single sample, which batch normalisation does not take, has its channels first.
            made[name] = type(name, (Deferred, kind), {
                "cls_to_become": kind, "size": size, "__doc__": document,
                "axis": 1 if stem == "BatchNorm" else -1 - axes,
                "usual": usual,
                "__module__": __name__,
            })  # fmt: skip
    return made


LAYERS = _lazy_layers()
globals().update(LAYERS)
complete(globals())
