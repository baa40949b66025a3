"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._documents import complete
from .._tensor import Tensor
from ._fusion import fuse
from ._module import Module, Parameter


class _Listed(Module):
    """What lists of modules and of parameters share."""

    _kind = "_modules"

    @property
    def _items(self) -> dict[str, Any]:
        return self.__dict__[self._kind]

    def _place(self, index: int) -> str:
        n = len(self._items)
        if not -n <= index < n:
            raise IndexError(f"{self._get_name()}: index must be below {n}, got {index}")
        return str(index % n)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._items.values())[index])  # type: ignore[call-arg]
        return self._items[self._place(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._place(index), value)

    def __delitem__(self, index: Any) -> None:
        kept = list(self._items.values())
        del kept[index]
        self._items.clear()
        self.extend(kept)

    def append(self, value: Any) -> Any:
        """Add one at the end."""
        setattr(self, str(len(self._items)), value)
        return self

    def extend(self, values: Iterable[Any]) -> Any:
        """Add several at the end."""
        for value in values:
            self.append(value)
        return self

    def insert(self, index: int, value: Any) -> Any:
        """Add one before an index."""
        kept = list(self._items.values())
        kept.insert(index, value)
        self._items.clear()
        return self.extend(kept)


class Sequential(_Listed):
    """Modules applied one after the other.

    Parameters
    ----------
    *modules : Module
        Or one mapping of names to modules.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model(nn.ones(3, 4)).shape
    (3, 2)
    >>> model[0].weight.shape
    (8, 4)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(
                modules[0] if len(modules) == 1 and isinstance(modules[0], list) else modules
            )

    def _place(self, index: int) -> str:
        super()._place(index)
        return list(self._modules)[index]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._place(index)]

    def forward(self, input: Any) -> Any:
        """Apply all modules in order."""
        modules = list(self._modules.values())
        place = 0
        while place < len(modules):
            fused = fuse(modules[place : place + 2])
            if fused is None:
                input = modules[place](input)  # type: ignore[misc]
                place += 1
            else:
                input = fused(input)
                place += 2
        return input


class ModuleList(_Listed):
    """A list of modules.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> len(list(layers.parameters()))
    6
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())


class ParameterList(_Listed):
    """A list of parameters.

    Examples
    --------
    >>> from kernelmill import nn
    >>> len(nn.ParameterList([nn.ones(2), nn.ones(3)]))
    2
    """

    _kind = "_parameters"

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def append(self, value: Any) -> Any:
        """Add one at the end; a tensor becomes a parameter."""
        if isinstance(value, Tensor) and not isinstance(value, Parameter):
            value = Parameter(value)
        return super().append(value)


class _Named(Module):
    """What dictionaries of modules and of parameters share."""

    _kind = "_modules"

    @property
    def _items(self) -> dict[str, Any]:
        return self.__dict__[self._kind]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def keys(self) -> Any:
        """The names."""
        return self._items.keys()

    def values(self) -> Any:
        """The entries."""
        return self._items.values()

    def items(self) -> Any:
        """(name, entry)."""
        return self._items.items()

    def pop(self, key: str) -> Any:
        """Take an entry out."""
        return self._items.pop(key)

    def update(self, entries: Any) -> None:
        """Add entries from a mapping or from pairs."""
        for key, value in entries.items() if hasattr(entries, "items") else entries:
            self[key] = value


class ModuleDict(_Named):
    """Modules by name.

    Examples
    --------
    >>> from kernelmill import nn
    >>> heads = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 3)})
    >>> heads["b"](nn.ones(1, 2)).shape
    (1, 3)
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or {})


class ParameterDict(_Named):
    """Parameters by name.

    Examples
    --------
    >>> from kernelmill import nn
    >>> sorted(nn.ParameterDict({"b": nn.ones(1), "a": nn.ones(1)}))
    ['a', 'b']
    """

    _kind = "_parameters"

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value if isinstance(value, Parameter) else Parameter(value))


class Identity(Module):
    """The input itself; arguments are ignored.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Identity()(nn.ones(1)).tolist()
    [1.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


complete(globals())
