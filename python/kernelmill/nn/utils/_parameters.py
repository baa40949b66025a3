"""Tools for parameters, as in ``torch.nn.utils``: clipping, vectors, reparametrisations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..._arrays import beside, namespace
from ...ops import optim as rules
from .. import _tape
from .._documents import complete
from .._elementwise import apply, widened
from .._tensor import Tensor, as_array
from ..modules._module import Computed, Module, Parameter


def _with_gradients(parameters: Any) -> list[Any]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in given if p.grad is not None]


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of several tensors as if they were one vector, without overflow.

    Parameters
    ----------
    tensors : Tensor or iterable of Tensor
    norm_type : float, default=2
    error_if_nonfinite : bool, default=False
        Raise where it is infinite or NaN.
    foreach : bool, optional
        Ignored; present for compatibility with torch.

    Raises
    ------
    RuntimeError
        With ``error_if_nonfinite``, if the norm is not finite.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.get_total_norm([nn.Tensor([3.0]), nn.Tensor([4.0])]).item()
    5.0
    """
    given = [tensors] if isinstance(tensors, Tensor) else tensors
    norm = rules.norm([widened(t.data) for t in given], float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"nn.utils.get_total_norm: tensors must be finite, got a norm of {norm} "
            "(error_if_nonfinite=False returns it)"
        )
    return Tensor(np.float64(norm))


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients by one factor so that their norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm : float
    norm_type : float, default=2
    error_if_nonfinite : bool, default=False
        Raise, and change nothing, where a gradient is infinite or NaN.
    foreach : bool, optional
        Ignored; present for compatibility with torch.

    Returns
    -------
    norm : Tensor
        The norm before, in float64, so that large gradients do not overflow.

    Raises
    ------
    RuntimeError
        With ``error_if_nonfinite``, if the norm is not finite.

    Examples
    --------
    >>> from kernelmill import nn
    >>> p = nn.ones(2, requires_grad=True)
    >>> (p * 3e20).sum().backward()
    >>> nn.utils.clip_grad_norm_([p], 1.0).item() > 4e20
    True
    >>> p.grad
    tensor([0.7071, 0.7071])
    """
    chosen = _with_gradients(parameters)
    norm = get_total_norm([p.grad for p in chosen], norm_type, error_if_nonfinite)
    factor = max_norm / (norm.item() + 1e-6)  # torch's guard against a norm of 0
    if not factor >= 1.0:
        for p in chosen:
            g = p.grad.data
            g[...] = (g.astype(np.float64) * factor).astype(g.dtype)
    return norm


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    clip_value : float
    foreach : bool, optional
        Ignored; present for compatibility with torch.
    """
    for p in _with_gradients(parameters):
        namespace(p.grad.data).clip(p.grad.data, -clip_value, clip_value, out=p.grad.data)


def parameters_to_vector(parameters: Iterable[Any]) -> Tensor:
    """All parameters as one vector, on the tape.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    from .._shape import cat

    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Copy a vector into the parameters.

    Raises
    ------
    ValueError
        If it has another length; nothing is written then.
    """
    values = as_array(vec)
    chosen = list(parameters)
    count = sum(p.numel() for p in chosen)
    if values.shape != (count,):
        raise ValueError(
            f"nn.utils.vector_to_parameters: vec must have shape ({count},), got {values.shape}"
        )
    start = 0
    for p in chosen:
        own = values[start : start + p.numel()].reshape(p.shape)
        p.data[...] = beside(own, p.data)
        start += p.numel()
    _tape.written(chosen)


# --- weights computed from other parameters -------------------------------------------------------


class _Reparametrised(Computed):
    """A hook that sets a weight by a function of the module."""

    def __init__(self, name: str, compute: Any) -> None:
        self.name, self.compute = name, compute  # type: ignore[method-assign]


def _replace(module: Module, name: str, new: dict[str, Any], hook: _Reparametrised) -> Module:
    del module._parameters[name]
    for key, value in new.items():
        module.register_parameter(key, Parameter(value))
    module._forward_pre_hooks.append(hook)
    hook(module, ())
    return module


class _WeightNorm:
    def __init__(self, name: str, axes: tuple[int, ...]) -> None:
        self.name, self.axes = name, axes

    def __call__(self, module: Module) -> Tensor:
        v, g = getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g")
        return v * (g / v.norm(2, self.axes, keepdim=True))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Weight normalisation: a weight as ``g v / |v|`` (Salimans and Kingma 2016).

    Parameters
    ----------
    module : Module
    name : str, default="weight"
    dim : int or None, default=0
        The axis that keeps its own lengths; None for one length.

    Returns
    -------
    module : Module
        The same, with parameters ``name_g`` and ``name_v`` in place of ``name``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.weight_norm(nn.Linear(2, 3))
    >>> sorted(name for name, _ in layer.named_parameters())
    ['bias', 'weight_g', 'weight_v']
    """
    weight = module.get_parameter(name)
    axes = tuple(i for i in range(weight.ndim) if dim is None or i != dim % weight.ndim)
    v = weight.detach()
    new = {f"{name}_g": v.norm(2, axes, keepdim=True), f"{name}_v": v}
    return _replace(module, name, new, _Reparametrised(name, _WeightNorm(name, axes)))


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Remove the normalisation; the weight is a parameter again."""
    for hook in list(module._forward_pre_hooks):
        if isinstance(hook, _Reparametrised) and hook.name == name:
            value = hook.compute(module).detach()
            module._forward_pre_hooks.remove(hook)
            for suffix in ("_g", "_v", "_orig"):
                module._parameters.pop(name + suffix, None)
            module.__dict__.pop(name, None)
            setattr(module, name, Parameter(value))
            return module
    raise ValueError(f"nn.utils.remove_weight_norm: {name} must have weight norm, got none")


class _SpectralNorm:
    def __init__(self, name: str, iterations: int, eps: float, dim: int) -> None:
        self.name, self.iterations, self.eps, self.dim = name, iterations, eps, dim

    def __call__(self, module: Module) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        matrix = weight.movedim(self.dim, 0).reshape(weight.shape[self.dim], -1)
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        if module.training:
            for _ in range(self.iterations):
                v.data = _unit(matrix.data.T @ u.data, self.eps)
                u.data = _unit(matrix.data @ v.data, self.eps)
        sigma = (u.detach() * (matrix @ v.detach())).sum()
        return weight / sigma


def _unit(x: Any, eps: float) -> Any:
    return x / max(float(namespace(x).linalg.norm(x)), eps)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value (Miyato et al. 2018).

    Parameters
    ----------
    module : Module
    name : str, default="weight"
    n_power_iterations : int, default=1
        In each forward pass of training.
    eps : float, default=1e-12
    dim : int, optional
        The axis of the outputs: 0, but 1 of transposed convolutions.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.spectral_norm(nn.Linear(2, 3))
    >>> layer(nn.ones(1, 2)).shape
    (1, 3)
    """
    weight = module.get_parameter(name)
    if dim is None:
        dim = int(module._get_name().startswith("ConvTranspose"))
    xp = namespace(weight.data)
    matrix = xp.moveaxis(weight.data, dim, 0).reshape(weight.shape[dim], -1)
    u = _unit(xp.ones(matrix.shape[0], matrix.dtype), eps)
    for _ in range(15):
        v = _unit(matrix.T @ u, eps)
        u = _unit(matrix @ v, eps)
    module.register_buffer(f"{name}_u", Tensor(u))
    module.register_buffer(f"{name}_v", Tensor(v))
    compute = _SpectralNorm(name, n_power_iterations, eps, dim)
    return _replace(module, name, {f"{name}_orig": weight.detach()}, _Reparametrised(name, compute))


# --- regularisers ---------------------------------------------------------------------------------


def l1_penalty(parameters: Iterable[Any]) -> Any:
    """The sum of the magnitudes of all elements, on the tape.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.l1_penalty([nn.Tensor([-1.0, 2.0])]).item()
    3.0
    """
    return sum((abs(p).sum() for p in parameters), start=Tensor(np.float32(0)))


def l2_penalty(parameters: Iterable[Any]) -> Any:
    """Half the sum of the squares of all elements, on the tape."""
    return sum((0.5 * apply("square", p).sum() for p in parameters), start=Tensor(np.float32(0)))


def max_norm_(parameters: Any, max_norm: float, dim: int = 0) -> None:
    """Scale the weights of each unit to a norm of at most ``max_norm``, in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm : float
    dim : int, default=0
        The axis of the units.
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in given:
        axes = tuple(i for i in range(p.ndim) if i != dim % p.ndim)
        norms = Tensor(p.data).norm(2, axes, keepdim=True).data
        xp = namespace(norms)
        scale = xp.where(norms > max_norm, max_norm / xp.where(norms == 0, 1, norms), 1)
        p.data[...] = p.data * scale.astype(p.dtype)
    _tape.written(given)


complete(globals())
