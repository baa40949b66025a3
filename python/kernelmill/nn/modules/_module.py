"""Modules: layers with parameters, and what holds them together."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..._arrays import beside
from .. import _tape
from .._documents import complete
from .._dtypes import FLOATS
from .._tensor import Handle, Tensor, as_array


class Parameter(Tensor):
    """A tensor that a module learns.

    Assigned to an attribute of a module, it is listed by ``module.parameters()``.

    Parameters
    ----------
    data : array-like
    requires_grad : bool, default=True

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Computed:
    """A hook that sets an attribute of a module from its parameters before each forward pass.

    Subclasses have a ``name`` and write ``compute``. Copies and pickles of the module leave the
    attribute out and compute it again.
    """

    name: Any

    def compute(self, module: Module) -> Tensor:
        """The value of the attribute, from the module."""
        raise NotImplementedError

    def __call__(self, module: Module, args: tuple) -> None:
        object.__setattr__(module, self.name, self.compute(module))


class LoadResult(NamedTuple):
    """What :meth:`Module.load_state_dict` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def untouched(module: Any) -> bool:
    """Whether a call is the forward pass of the class, and nothing watches it."""
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


_hook_numbers = itertools.count()


class Module:
    """The base of all layers and networks.

    A subclass makes its parameters and layers in ``__init__``, after ``super().__init__()``, and
    computes in ``forward``.

    Attributes
    ----------
    training : bool
        Whether layers such as dropout and batch normalisation behave as in training; see
        :meth:`train` and :meth:`eval`.

    Examples
    --------
    >>> from kernelmill import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.layer(self.layer(x))
    >>> model = Twice()
    >>> model(nn.ones(2, 3)).shape
    (2, 3)
    >>> [name for name, _ in model.named_parameters()]
    ['layer.weight', 'layer.bias']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        keep = object.__setattr__
        keep(self, "training", True)
        for kind in ("_parameters", "_buffers", "_modules"):
            keep(self, kind, {})
        keep(self, "_transient", set())  # buffers that are not in the state
        keep(self, "_forward_pre_hooks", [])
        keep(self, "_forward_hooks", [])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses write this method.

        Parameters
        ----------
        *args, **kwargs
            Whatever the subclass takes.
        """
        raise NotImplementedError(f"{type(self).__name__}: forward must be written, got none")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self._forward_hooks or self._forward_pre_hooks or _tape._anomalies):
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def _call_with_hooks(self, args: tuple, kwargs: dict) -> Any:
        token = _tape.layers.set(
            (*_tape.layers.get(), self.__dict__.get("_label", self._get_name()))
        )
        try:
            for hook in list(self._forward_pre_hooks):
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            result = self.forward(*args, **kwargs)
            for hook in list(self._forward_hooks):
                changed = hook(self, args, result)
                result = result if changed is None else changed
        finally:
            _tape.layers.reset(token)
        return result

    # --- what belongs to it ---

    def __setattr__(self, name: str, value: Any) -> None:
        places = self.__dict__
        if "_parameters" not in places:
            raise AttributeError(
                f"{type(self).__name__}: super().__init__() must be called before attribute "
                f"{name!r} is set"
            )
        for kind, wanted in (("_parameters", Parameter), ("_modules", Module)):
            if isinstance(value, wanted):
                for other in ("_parameters", "_modules", "_buffers"):
                    places[other].pop(name, None) if other != kind else None
                places.pop(name, None)
                places[kind][name] = value
                if isinstance(value, Module):
                    object.__setattr__(value, "_label", f"{name} ({value._get_name()})")
                return
            if name in places[kind]:
                if value is not None:
                    raise TypeError(
                        f"{type(self).__name__}: {name} must be a {wanted.__name__} or None, got "
                        f"{type(value).__name__}"
                    )
                places[kind][name] = None
                return
        if name in places["_buffers"]:
            places["_buffers"][name] = value if value is None else _tensor(value)
            return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for kind in ("_parameters", "_modules", "_buffers"):
            place = self.__dict__.get(kind)
            if place is not None and name in place:
                return place[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self.__dict__[kind]:
                del self.__dict__[kind][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._parameters, *self._modules, *self._buffers})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or register its name with None."""
        if param is None:
            self._parameters[name] = None
        else:
            setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that is no parameter, such as a running mean.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool, default=True
            Whether it is part of the state.
        """
        self._buffers[name] = None if tensor is None else _tensor(tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module."""
        if module is None:
            self._modules[name] = None
        else:
            setattr(self, name, module)

    register_module = add_module

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over this module and all inside it, with their names.

        Yields
        ------
        pair : (str, Module)
            Names have dots; that of this module is the prefix.
        """
        yield from self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for the modules directly inside."""
        return ((name, module) for name, module in self._modules.items() if module is not None)

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        return (module for _, module in self.named_children())

    def _named(
        self, kind: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk = self._walk(prefix, set() if once else None) if recurse else [(prefix, self)]
        for path, module in walk:
            for name, value in module.__dict__[kind].items():
                if value is None or (once and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter), each parameter once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and of all inside it, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer), each buffer once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and of all inside it, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of a name such as ``"encoder.0"``."""
        module: Any = self
        for name in target.split(".") if target else ():
            if name not in module._modules:
                raise AttributeError(f"{type(self).__name__}: there is no module {target!r}")
            module = module._modules[name]
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of the one of a name such as ``"encoder.0"``.

        Parameters
        ----------
        target : str
            The name.
        module : Module
            What takes the place.
        strict : bool, default=False
            Whether the name must exist; else its last part may be new.

        Raises
        ------
        ValueError
            If the name is empty.
        AttributeError
            If a part of the name is not a module.
        """
        path, _, name = target.rpartition(".")
        if not name:
            raise ValueError("Module.set_submodule: target must be a name, got an empty one")
        if not isinstance(module, Module):
            raise TypeError(
                f"Module.set_submodule: module must be a Module, got {type(module).__name__}"
            )
        if strict:
            self.get_submodule(target)
        parent = self.get_submodule(path)
        if name not in parent._modules and hasattr(parent, name):
            raise AttributeError(f"{type(self).__name__}: {target!r} is not a module")
        parent.add_module(name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a name such as ``"encoder.0.weight"``."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__}: there is no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a name such as ``"encoder.0.running_mean"``."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__}: there is no buffer {target!r}")
        return found

    # --- state ---

    def state_dict(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """All parameters and persistent buffers by name, over the same memory.

        Returns
        -------
        dict of str to Tensor
            Changes of the tensors change the module.
        """
        state: OrderedDict[str, Tensor] = OrderedDict()
        for path, module in self._walk(prefix.rstrip("."), None):
            dot = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    state[dot + name] = parameter.detach()
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    state[dot + name] = buffer
        return state

    def load_state_dict(
        self, state_dict: Any, strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Copy values into parameters and buffers; all or nothing.

        Parameters
        ----------
        state_dict : mapping of str to array-like
            As from :meth:`state_dict`, a file (:func:`kernelmill.nn.load_file`), or a torch module.
        strict : bool, default=True
            Raise if names are missing or unknown.
        assign : bool, default=False
            Use the arrays themselves instead of copying them.

        Returns
        -------
        result : named tuple of missing_keys, unexpected_keys
            Names that did not match, with ``strict=False``.

        Raises
        ------
        RuntimeError
            If names or shapes do not fit; nothing is changed then.
        """
        own: dict[str, Tensor] = {}
        given = {name: _values(value) for name, value in state_dict.items()}
        lazy: dict[Any, set] = {}  # layers without a size, and the sizes that the state gives them
        sized: set[str] = set()
        for path, module in self._walk("", None):
            dot = f"{path}." if path else ""
            for place in (module._parameters, module._buffers):
                for name, value in place.items():
                    if value is not None and not (
                        place is module._buffers and name in module._transient
                    ):
                        own[dot + name] = value
                        if hasattr(module, "_size_in") and dot + name in given:
                            size = module._size_in(name, given[dot + name].shape)
                            if size is not None:
                                lazy.setdefault(module, set()).add(size)
                                sized.add(dot + name)
        tied = {id(own[name]) for name in given if name in own}
        missing = [n for n, value in own.items() if n not in given and id(value) not in tied]
        unexpected = [name for name in given if name not in own]
        wrong = [
            f"{name}: {own[name].shape} here, {value.shape} given"
            for name, value in given.items()
            if name in own and own[name].shape != value.shape and name not in sized
        ]
        wrong += [
            f"{module}: sizes {sorted(sizes)}" for module, sizes in lazy.items() if len(sizes) > 1
        ]
        if strict and (missing or unexpected):
            wrong = [
                *([f"missing {', '.join(missing)}"] if missing else []),
                *([f"unknown {', '.join(unexpected)}"] if unexpected else []),
                *wrong,
            ]
        if wrong:
            raise RuntimeError(
                f"{type(self).__name__}.load_state_dict: names and shapes must be those of the "
                f"module, got {'; '.join(wrong)}"
            )
        for module, sizes in lazy.items():
            module._become(*sizes)
        for name, value in given.items():
            if name not in own:
                continue
            if assign:
                own[name].data = value.astype(own[name].dtype, copy=False)
            else:
                own[name].data[...] = beside(value, own[name].data)
        _tape.written([own[name] for name in given if name in own])
        return LoadResult(missing, unexpected)

    # --- all parameters at once ---

    def train(self, mode: bool = True) -> Module:
        """Set training or evaluation mode for this module and all inside it."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Module:
        """Set evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Set whether the parameters are trained; False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = Tensor(parameter.grad.data * 0)

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call a function with each module inside, innermost first, then with this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, *target: Any, dtype: Any = None, device: str | None = None) -> Module:
        """Convert or move all float parameters and buffers, in place.

        Parameters
        ----------
        *target : dtype, str or Tensor
            As for ``Tensor.to``.
        """
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            floats = tensor.dtype.kind in FLOATS
            devices = [
                t for t in target if isinstance(t, str) and t.partition(":")[0] in ("cpu", "cuda")
            ]
            moved = tensor.detach().to(
                *(target if floats else devices), dtype=dtype if floats else None, device=device
            )
            tensor.data = moved.data
            if tensor.grad is not None:
                tensor.grad = tensor.grad.detach().to(moved)
        return self

    def half(self) -> Module:
        """Convert to float16: half the memory; arithmetic stays float32."""
        return self.to(np.float16)

    def bfloat16(self) -> Module:
        """Convert to bfloat16: half the memory, the range of float32; needs ml_dtypes."""
        return self.to("bfloat16")

    def float(self) -> Module:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Module:
        """Convert to float64."""
        return self.to(np.float64)

    def cpu(self) -> Module:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self) -> Module:
        """Move to the GPU."""
        return self.to("cuda")

    # --- hooks ---

    def register_forward_pre_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, args)`` before each forward pass; its result replaces the args."""
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, args, result)`` after each; what it returns replaces the result."""
        return Handle(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` in each backward pass.

        Parameters
        ----------
        hook : callable
            Takes the gradients of the arguments and of the results, as tuples with None where there
            is none. What it returns replaces ``grad_input``.

        Returns
        -------
        handle : Handle
            Its ``remove()`` removes the hook.
        """
        from ._hooks import BackwardHook

        around = BackwardHook(hook)
        after = Handle(self._forward_hooks, around.after)
        handle = Handle(self._forward_pre_hooks, around.before, after)
        # The outermost is called last in the backward pass: hooks run in their order.
        self._forward_pre_hooks.insert(0, self._forward_pre_hooks.pop())
        return handle

    # --- words ---

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Text in the brackets of ``repr``; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        extra = self.extra_repr()
        if not lines:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}({extra}\n  " + "\n  ".join(lines) + "\n)"

    def summary(self, *inputs: Any, **kwargs: Any) -> Any:
        """A table of the layers (see :func:`kernelmill.nn.summary`)."""
        from .._summary import summary

        return summary(self, *inputs, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        computed = {hook.name for hook in self._forward_pre_hooks if isinstance(hook, Computed)}
        return {name: value for name, value in self.__dict__.items() if name not in computed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for hook in self._forward_pre_hooks:
            if isinstance(hook, Computed):
                hook(self, ())

    def __kernelmill_state__(self) -> dict[str, Any]:
        from ._stored import stored

        return stored(self)

    @classmethod
    def __kernelmill_restore__(cls, values: Any) -> Module:
        from ._stored import restored

        return restored(cls, values)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def _values(value: Any) -> Any:
    """The values of anything that holds a tensor's: ours, torch's, an array."""
    if hasattr(value, "detach") and not isinstance(value, Tensor):
        value = value.detach()
        value = value.cpu() if hasattr(value, "cpu") else value
    return as_array(value)


complete(globals())
