"""What all optimisers share: groups of parameters, states, and one op call for each step."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ..._arrays import beside, is_cupy, namespace, to_host
from ...ops import optim as rules
from .._documents import complete
from .._dtypes import is_half, narrowed, widened
from .._tape import enable_grad, written
from .._tensor import Tensor, as_array

# Arguments by which torch chooses among its implementations; there is one here.
_IGNORED = {"foreach", "fused", "capturable"}


def _wide(data: Any) -> np.dtype:
    """The dtype of states: what a parameter is computed in."""
    return np.dtype(np.float32) if is_half(data.dtype) else data.dtype


class Optimizer:
    """Base class of optimisers.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        Parameters, or groups of them: dicts with the key ``params`` and options of the group.
    defaults : dict
        Options for groups that do not give their own.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all their options; a schedule changes them.
    state : dict
        What is kept for each parameter between steps.

    Notes
    -----
    A subclass names an op of :mod:`kernelmill.ops.optim` in `_rule`, the state that a group keeps
    in `_kept`, and the options of the op in `_options`. Parameters whose ``grad`` is None are left
    alone. Deterministic: the same bits at any thread count.
    """

    _rule: ClassVar[str] = ""
    _needs_closure: ClassVar[bool] = False  # whether a step evaluates the loss by itself

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        if hasattr(params, "data"):
            raise TypeError(
                f"{type(self).__name__}: params must be an iterable of tensors or dicts, got a "
                "tensor (put it into a list)"
            )
        groups = [*params]
        if not groups:
            raise ValueError(f"{type(self).__name__}: params must not be empty, got none")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _check(
        self,
        chosen: dict[str, Any],
        *positive: str,
        torch: Any = (),
        **others: tuple[bool, str],
    ) -> None:
        """Refuse options that are negative, are beyond what they must be, or do not exist."""
        name = type(self).__name__
        for option in ("lr", "eps", "weight_decay", *positive):
            if not chosen.get(option, 0.0) >= 0.0:
                raise ValueError(f"{name}: {option} must not be negative, got {chosen[option]}")
        for i, beta in enumerate(chosen.get("betas", ())):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"{name}: betas[{i}] must lie in [0, 1), got {beta}")
        for option, (right, want) in others.items():
            if not right:
                raise ValueError(f"{name}: {option} must {want}, got {chosen[option]}")
        for option in torch:
            if option == "differentiable":
                if torch[option]:
                    raise NotImplementedError(
                        f"{name}: differentiable must be False, got {torch[option]} (steps are not "
                        "recorded; write the update in operations on tensors)"
                    )
            elif option not in _IGNORED:
                raise TypeError(f"{name}: unexpected keyword argument {option!r}")

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # --- groups -----------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, for example layers that are no longer frozen.

        Parameters
        ----------
        param_group : dict
            ``params`` and options of the group.
        """
        name = type(self).__name__
        given = param_group["params"]
        members = [given] if hasattr(given, "data") else [*given]
        named = bool(members) and isinstance(members[0], tuple)
        group = {**self.defaults, **param_group}
        group["params"] = [p[1] for p in members] if named else members
        if named:
            group["param_names"] = [p[0] for p in members]
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: params must be tensors, got {type(p).__name__}")
            if id(p) in known:
                raise ValueError(f"{name}: params must name each parameter once, got one twice")
            known.add(id(p))
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients.

        Parameters
        ----------
        set_to_none : bool, default=True
            Set them to None, not to zeros.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.data[...] = 0

    # --- a step -----------------------------------------------------------------------------------

    def _kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the arrays that a group keeps, those of the rule by default."""
        return rules.TABLE[self._rule].kept

    def _options(self, group: dict[str, Any]) -> dict[str, float]:
        """Options of the rule for a group."""
        given = {**group, "decoupled": group.get("decoupled_weight_decay", False)}
        if "betas" in group:
            given["beta1"], given["beta2"] = group["betas"]
        return {name: given[name] for name in rules.TABLE[self._rule].options if name in given}

    def _counted(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, float]:
        """Count a step of one parameter; the options of the rule that depend on it."""
        state["step"] = state.get("step", 0.0) + 1.0
        return {"step": state["step"]}

    def _closed(self, closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def step(self, closure: Callable[[], Any] | None = None, *, scale: float = 1.0) -> Any:
        """Move all parameters that have a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients again; called once.
        scale : float, default=1.0
            Factor of all gradients, for clipping and loss scaling without another pass over them.

        Returns
        -------
        loss : Tensor or None
            What closure returned.
        """
        loss = self._closed(closure)
        # One call, unless groups keep different states.
        calls: dict[tuple[str, ...], tuple[list, list, dict[str, list], dict[str, list]]] = {}
        moved: list[Any] = []
        halves: list[tuple[Any, Any]] = []  # (array of 16 bits, the float32 one that is moved)
        for group in self.param_groups:
            members = [p for p in group["params"] if p.grad is not None]
            if not members:
                continue
            kept = self._kept(group)
            if kept not in calls:
                calls[kept] = ([], [], {name: [] for name in kept}, defaultdict(list))
            parameters, gradients, states, options = calls[kept]
            for p in members:
                # A GPU reads and rounds 16 bits itself.
                stored = is_half(p.data.dtype) and is_cupy(p.data)
                data, state = p.data if stored else widened(p.data), self.state[p]
                if data is not p.data:
                    halves.append((p.data, data))
                for name, value in self._counted(group, state).items():
                    options[name].append(value)
                parameters.append(data)
                gradients.append(p.grad.data if stored else widened(p.grad.data))
                for name, arrays in states.items():
                    array = state.get(name)
                    if array is None:
                        array = state[name] = namespace(data).zeros(data.shape, _wide(data))
                    arrays.append(array)
            shared = self._options(group)
            shared["scale"] = -scale if group.get("maximize") else scale
            for name, value in shared.items():
                options[name] += [value] * len(members)
            moved += members
        run = getattr(rules, self._rule)
        for parameters, gradients, states, options in calls.values():
            run(parameters, gradients, **states, **options)
        for stored, value in halves:
            stored[...] = narrowed(value, stored.dtype)
        written(moved)
        return loss

    # --- saved states -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later, in torch's form.

        Returns
        -------
        state : dict
            ``state``, by the number of the parameter, and ``param_groups`` with those numbers. The
            arrays are not copied.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            start = len(numbers)
            numbers.update({id(p): start + i for i, p in enumerate(group["params"])})
            members = [numbers[id(p)] for p in group["params"]]
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": members})
        state = {numbers[id(p)]: dict(kept) for p, kept in self.state.items() if kept}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, also one of torch's optimiser of this name.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` returned for the same groups of parameters; arrays are copied.

        Raises
        ------
        ValueError
            If it has other numbers of groups or of parameters in a group.
        """
        sizes = [len(group["params"]) for group in self.param_groups]
        saved = [len(group["params"]) for group in state_dict["param_groups"]]
        if sizes != saved:
            raise ValueError(
                f"{type(self).__name__}: state_dict must have groups of {sizes} parameters, got "
                f"{saved}"
            )
        by_number: dict[int, Any] = {}
        for group, given in zip(self.param_groups, state_dict["param_groups"], strict=True):
            by_number.update(zip(given["params"], group["params"], strict=True))
            group.update({k: copy.deepcopy(v) for k, v in given.items() if k != "params"})
        self.state = defaultdict(dict)
        for number, kept in state_dict["state"].items():
            p = by_number[number]
            self.state[p] = {name: self._loaded(value, p) for name, value in kept.items()}

    @staticmethod
    def _loaded(value: Any, p: Any) -> Any:
        """An array like the parameter, a number, or a copy of whatever else."""
        if isinstance(value, list):
            return [Optimizer._loaded(item, p) for item in value]
        if getattr(value, "shape", None) == () and p.data.shape != ():
            return float(value)
        if hasattr(value, "__array__") or is_cupy(value):
            array = to_host(as_array(value)).astype(_wide(p.data), order="C")  # a copy
            alike = array.shape == p.data.shape or array.ndim
            return beside(array, p.data) if alike else float(array)
        return copy.deepcopy(value)


complete(globals())
