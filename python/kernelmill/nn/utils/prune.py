"""Pruning: weights that are masked to 0, as in ``torch.nn.utils.prune``.

A pruned parameter ``name`` is stored as ``name_orig``, still a parameter, and ``name_mask``, a
buffer of zeros and ones; before each forward pass the module's ``name`` is their product, so what
is masked gets no gradient. Pruning again masks more of what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._arrays import namespace
from .._documents import complete
from .._tensor import Tensor, as_tensor
from ..modules._module import Module
from ._pruning import (
    BasePruningMethod,
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    PruningContainer,
    RandomStructured,
    RandomUnstructured,
    pruned_by,
)

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured",
    "PruningContainer", "RandomStructured", "RandomUnstructured", "custom_from_mask",
    "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip


def identity(module: Module, name: str) -> Module:
    """Store a parameter as if it were pruned, with a mask of ones.

    Examples
    --------
    >>> from kernelmill import nn
    >>> list(nn.utils.prune.identity(nn.Linear(2, 3), "bias").state_dict())
    ['weight', 'bias_orig', 'bias_mask']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Mask elements of a parameter at random.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.prune.random_unstructured(nn.Linear(4, 5), "weight", amount=7)
    >>> (layer.weight == 0).sum().item()
    7
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Any = None
) -> Module:
    """Mask the elements of a parameter that have the smallest magnitude.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.Linear(3, 1)
    >>> layer.weight.data[...] = [[1.0, -0.1, 2.0]]
    >>> nn.utils.prune.l1_unstructured(layer, "weight", amount=1).weight.tolist()
    [[1.0, -0.0, 2.0]]
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Mask whole channels of a parameter at random.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.prune.random_structured(nn.Linear(4, 6), "weight", amount=2, dim=0)
    >>> (layer.weight == 0).all(1).sum().item()
    2
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Any = None
) -> Module:
    """Mask the channels of a parameter that have the smallest norm.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.Conv2d(3, 8, 3)
    >>> _ = nn.utils.prune.ln_structured(layer, "weight", amount=0.25, n=2, dim=0)
    >>> (layer.weight.data == 0).all((1, 2, 3)).sum()
    np.int64(2)
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: type, importance_scores: Any = None,
    **kwargs: Any,
) -> None:  # fmt: skip
    """Mask elements of several parameters as if they were one vector.

    Parameters
    ----------
    parameters : iterable of (Module, str)
        Owners and names.
    pruning_method : type
        A method of the type ``"unstructured"``, such as `L1Unstructured`.
    importance_scores : dict of (Module, str) to Tensor, optional
        In place of the values of these parameters.
    **kwargs
        Of the method: ``amount``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model, prune = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), nn.utils.prune
    >>> both = [(model[0], "weight"), (model[1], "weight")]
    >>> prune.global_unstructured(both, prune.L1Unstructured, amount=0.5)
    >>> int(sum(layer.weight_mask.sum().item() for layer in model))
    15
    """
    chosen = [*parameters]
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError(
            "prune.global_unstructured: importance_scores must be a dict, got "
            f"{type(given).__name__}"
        )
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            "prune.global_unstructured: pruning_method must be unstructured, got "
            f"{method.PRUNING_TYPE}"
        )
    method._tensor_name = "all"
    values = [as_tensor(getattr(module, name)).detach() for module, name in chosen]
    scores, masks = [], []
    for value, key in zip(values, chosen, strict=True):
        module, name = key
        own = as_tensor(given.get(key, value)).detach()
        if own.shape != value.shape:
            raise ValueError(
                "prune.global_unstructured: importance_scores must have shape "
                f"{value.shape} for {name!r}, got {own.shape}"
            )
        scores.append(own.data.reshape(-1))
        ones = namespace(value.data).ones_like(value.data)
        mask = getattr(module, f"{name}_mask", None)
        masks.append((ones if mask is None else mask.data).reshape(-1))
    xp = namespace(scores[0])
    whole = PruningContainer(method).compute_mask(
        Tensor(xp.concatenate(scores)), default_mask=Tensor(xp.concatenate(masks))
    )
    at = 0
    for value, (module, name) in zip(values, chosen, strict=True):
        part = whole.data[at : at + value.numel()].reshape(value.shape)
        CustomFromMask.apply(module, name, Tensor(part))
        at += value.numel()


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Mask a parameter by a mask that is given.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.prune.custom_from_mask(nn.Linear(5, 3), "bias", [0, 1, 0])
    >>> layer.bias_mask.tolist()
    [0.0, 1.0, 0.0]
    """
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """Make the pruned values the parameter again; what was masked stays 0.

    Raises
    ------
    ValueError
        If the parameter is not pruned.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.utils.prune.random_unstructured(nn.Linear(2, 3), "weight", amount=3)
    >>> list(nn.utils.prune.remove(layer, "weight").state_dict())
    ['bias', 'weight']
    """
    method = next(pruned_by(module, name), None)
    if method is None:
        raise ValueError(
            f"prune.remove: {name!r} of {type(module).__name__} must be pruned, got a parameter "
            "that is not"
        )
    method.remove(module)
    module._forward_pre_hooks.remove(method)
    return module


def is_pruned(module: Module) -> bool:
    """Whether a module, or one inside it, has a pruned parameter.

    Returns
    -------
    pruned : bool
        True where one is.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Sequential(nn.Linear(2, 3))
    >>> before = nn.utils.prune.is_pruned(model)
    >>> _ = nn.utils.prune.l1_unstructured(model[0], "bias", amount=1)
    >>> before, nn.utils.prune.is_pruned(model)
    (False, True)
    """
    return any(True for one in module.modules() for _ in pruned_by(one))


complete(globals())
