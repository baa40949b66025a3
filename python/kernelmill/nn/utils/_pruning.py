"""Methods of pruning: what decides which elements of a parameter are masked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..._arrays import beside, namespace, to_host
from .._documents import complete
from .._random import random_array
from .._tape import no_grad
from .._tensor import Tensor, as_tensor
from ..modules._module import Computed, Module, Parameter


def _count(name: str, amount: float, size: int) -> int:
    """How many of ``size`` items an amount stands for."""
    whole = hasattr(amount, "__index__") and not isinstance(amount, bool)
    if not whole and not (isinstance(amount, float | np.floating) and 0.0 <= amount <= 1.0):
        raise ValueError(
            f"prune.{name}: amount must be a share from 0.0 to 1.0 or a whole number, got {amount}"
        )
    count = int(amount) if whole else round(float(amount) * size)
    if not 0 <= count <= size:
        raise ValueError(f"prune.{name}: amount must be from 0 to {size}, got {amount}")
    return count


def _least(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the smallest scores; of equal ones the first."""
    return np.argsort(scores, kind="stable")[:count]


class BasePruningMethod(Computed):
    """What decides which elements are masked; subclasses write ``compute_mask``.

    Attributes
    ----------
    PRUNING_TYPE : {"unstructured", "structured", "global"}
        What a second pruning leaves alone: elements that are masked, whole channels of them, or
        nothing.
    """

    PRUNING_TYPE: str = "unstructured"
    _tensor_name: str = ""

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """Zeros and ones for the importance of elements, given the mask so far."""
        raise NotImplementedError(f"{type(self).__name__}: compute_mask must be written, got none")

    @property
    def name(self) -> str:
        """Name of the attribute that is computed."""
        return self._tensor_name

    def compute(self, module: Module) -> Tensor:
        """The masked parameter of a module."""
        return self.apply_mask(module)

    def apply_mask(self, module: Module) -> Tensor:
        """The product of the parameter and its mask."""
        mask = getattr(module, f"{self._tensor_name}_mask")
        return mask * getattr(module, f"{self._tensor_name}_orig")

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> Any:
        """Prune a parameter of a module, or prune it further.

        Parameters
        ----------
        *args, **kwargs
            Of the method.

        Returns
        -------
        method : BasePruningMethod
            What computes the parameter from now on; several prunings are one container.
        """
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        old = next(pruned_by(module, name), None)
        if old is None and not isinstance(module._parameters.get(name), Parameter):
            raise ValueError(
                f"prune: {type(module).__name__} must have a parameter {name!r}, got none"
            )
        value = as_tensor(getattr(module, name)).detach()
        scores = value if importance_scores is None else as_tensor(importance_scores).detach()
        if scores.shape != value.shape:
            raise ValueError(
                f"prune: importance_scores must have shape {value.shape}, got {scores.shape}"
            )
        if old is None:
            mask = Tensor(namespace(value.data).ones_like(value.data))
        else:
            mask = getattr(module, f"{name}_mask").detach()
            container = old if isinstance(old, PruningContainer) else PruningContainer(old)
            container = PruningContainer(*container)
            container.add_pruning_method(method)
            method = container
        with no_grad():
            mask = as_tensor(method.compute_mask(scores, default_mask=mask))
        # Nothing has been changed so far.
        if old is None:
            parameter = module._parameters.pop(name)
            module.register_parameter(f"{name}_orig", parameter)
        else:
            module._forward_pre_hooks.remove(old)
        module.register_buffer(f"{name}_mask", mask.to(value.dtype))
        module._forward_pre_hooks.append(method)
        method(module, ())
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Tensor:
        """A tensor that is pruned by itself, with zeros where it is masked."""
        t = as_tensor(t)
        scores = t if importance_scores is None else as_tensor(importance_scores)
        if scores.shape != t.shape:
            raise ValueError(
                f"prune: importance_scores must have shape {t.shape}, got {scores.shape}"
            )
        if default_mask is None:
            default_mask = Tensor(namespace(t.data).ones_like(t.data))
        return t * self.compute_mask(scores, default_mask=as_tensor(default_mask))

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter again; what was masked stays 0."""
        name = self._tensor_name
        value = self.apply_mask(module).detach()
        parameter: Any = module._parameters.pop(f"{name}_orig")
        parameter.data = value.data
        del module._buffers[f"{name}_mask"]
        setattr(module, name, parameter)


def pruned_by(module: Module, name: str | None = None) -> Iterator[BasePruningMethod]:
    """The methods that prune a module, or one of its parameters."""
    for hook in module._forward_pre_hooks:
        if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name):
            yield hook


class PruningContainer(BasePruningMethod):
    """Several prunings of one parameter, one after the other.

    Parameters
    ----------
    *args : BasePruningMethod
        The methods, of one parameter.

    Examples
    --------
    >>> from kernelmill import nn
    >>> prune, layer = nn.utils.prune, nn.Linear(4, 5)
    >>> _ = prune.random_unstructured(layer, "weight", amount=8)
    >>> _ = prune.l1_unstructured(layer, "weight", amount=0.5)
    >>> layer.weight_mask.sum().item()
    6.0
    """

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Add a method, of the same parameter as those before.

        Parameters
        ----------
        method : BasePruningMethod or None
            None is ignored.
        """
        if method is None:
            return
        if not isinstance(method, BasePruningMethod):
            raise TypeError(
                f"PruningContainer: method must be a pruning method, got {type(method).__name__}"
            )
        if self._pruning_methods and method._tensor_name != self._tensor_name:
            raise ValueError(
                f"PruningContainer: method must be of {self._tensor_name!r}, got one of "
                f"{method._tensor_name!r}"
            )
        self._tensor_name = method._tensor_name
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask so far, with that of the last method on what it leaves."""
        method = self._pruning_methods[-1]
        scores, mask = as_tensor(t), as_tensor(default_mask).detach().clone()
        data: Any = mask.data
        if method.PRUNING_TYPE == "unstructured":
            where: Any = data == 1
        elif method.PRUNING_TYPE == "structured":
            axis = method.dim % data.ndim  # type: ignore[attr-defined]
            others = tuple(i for i in range(data.ndim) if i != axis)
            where = (*(slice(None),) * axis, (data != 0).any(others))
        elif method.PRUNING_TYPE == "global":
            where = (slice(None),) * data.ndim
        else:
            raise ValueError(
                "PruningContainer: PRUNING_TYPE must be unstructured, structured or global, got "
                f"{method.PRUNING_TYPE!r}"
            )
        part = method.compute_mask(scores[where], default_mask=mask[where])
        data[where] = as_tensor(part).data
        return mask


class Identity(BasePruningMethod):
    """Mask nothing, but store the parameter as if it were masked."""

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask so far."""
        return default_mask


class _Unstructured(BasePruningMethod):
    """Mask an amount of single elements: those with the smallest scores of `_scores`."""

    def __init__(self, amount: float) -> None:
        # Refused at once: what no size allows.
        _count(type(self).__name__, amount, max(int(amount), 0) if amount >= 0 else 0)
        self.amount = amount

    def _scores(self, t: Tensor) -> np.ndarray:
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask so far, with the amount of elements masked besides."""
        mask = as_tensor(default_mask).detach().clone()
        count = _count(type(self).__name__, self.amount, as_tensor(t).numel())
        flat: Any = mask.data.reshape(-1)
        flat[beside(_least(self._scores(as_tensor(t)), count), flat)] = 0
        return Tensor(flat.reshape(mask.shape))


class RandomUnstructured(_Unstructured):
    """Mask elements at random."""

    def _scores(self, t: Tensor) -> np.ndarray:
        return random_array("uniform", (t.numel(),), np.float32)


class L1Unstructured(_Unstructured):
    """Mask the elements of the smallest magnitude."""

    def _scores(self, t: Tensor) -> np.ndarray:
        return np.abs(to_host(t.data).reshape(-1))


class _Structured(BasePruningMethod):
    """Mask an amount of whole channels along an axis: those with the smallest scores."""

    PRUNING_TYPE = "structured"
    amount: float
    dim: int

    def _scores(self, t: Tensor, axis: int) -> np.ndarray:
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask so far, with the amount of channels masked besides."""
        t, mask = as_tensor(t), as_tensor(default_mask).detach().clone()
        if t.ndim < 2:
            raise ValueError(
                f"prune.{type(self).__name__}: the parameter must have 2 axes or more, got shape "
                f"{t.shape}"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(
                f"prune.{type(self).__name__}: dim must be one of {t.ndim} axes, got {self.dim}"
            )
        axis = self.dim % t.ndim
        count = _count(type(self).__name__, self.amount, t.shape[axis])
        places = beside(_least(self._scores(t, axis), count), mask.data)
        mask.data[(*(slice(None),) * axis, places)] = 0
        return mask


class RandomStructured(_Structured):
    """Mask whole channels at random."""

    def __init__(self, amount: float, dim: int = -1) -> None:
        self.amount, self.dim = amount, dim

    def _scores(self, t: Tensor, axis: int) -> np.ndarray:
        return random_array("uniform", (t.shape[axis],), np.float32)


class LnStructured(_Structured):
    """Mask the channels of the smallest norm."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        self.amount, self.n, self.dim = amount, math.inf if n == "inf" else n, dim

    def _scores(self, t: Tensor, axis: int) -> np.ndarray:
        others = tuple(i for i in range(t.ndim) if i != axis)
        return to_host(t.norm(self.n, others).data)


class CustomFromMask(BasePruningMethod):
    """Mask by a mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = as_tensor(mask).detach()

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The product of both masks."""
        default_mask = as_tensor(default_mask)
        if self.mask.shape != default_mask.shape:
            raise ValueError(
                f"prune.CustomFromMask: mask must have shape {default_mask.shape}, got "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


complete(globals())
