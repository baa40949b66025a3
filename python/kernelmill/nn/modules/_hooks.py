"""Hooks that see the gradients on both sides of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._tape import Rule
from .._tensor import Tensor


class BackwardHook:
    """What ``register_full_backward_hook`` puts around a module.

    Inputs and results pass through rules that change nothing. In the backward pass that of the
    results keeps their gradients until that of the inputs calls the hook with both.
    """

    def __init__(self, hook: Callable) -> None:
        self.hook = hook
        self.calls: list[dict[str, Any]] = []  # a module may be called inside itself

    def before(self, module: Any, args: tuple) -> tuple:
        """The forward pre-hook."""
        call = {"hook": self.hook, "module": module, "given": False, "results": ()}
        self.calls.append(call)
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        call["places"], call["count"] = places, len(args)
        if not places:
            return args
        call["given"], call["shapes"] = True, [args[i].shape for i in places]
        passed = iter(_inputs.apply(*(args[i] for i in places), call=call))
        return tuple(next(passed) if i in places else a for i, a in enumerate(args))

    def after(self, module: Any, args: tuple, result: Any) -> Any:
        """The forward hook."""
        call = self.calls.pop()
        several = isinstance(result, tuple | list)
        results = tuple(result) if several else (result,)
        places = [i for i, r in enumerate(results) if isinstance(r, Tensor) and r.requires_grad]
        if not places:
            return result
        call["seen"], call["several"] = places, len(results)
        passed = iter(_results.apply(*(results[i] for i in places), call=call))
        results = tuple(next(passed) if i in places else r for i, r in enumerate(results))
        return type(result)(results) if type(result) in (tuple, list) else (
            result._make(results) if several and hasattr(result, "_make") else
            results if several else results[0]
        )  # fmt: skip


def _tensors(gradients: Any, places: list[int], count: int) -> tuple:
    out: list[Any] = [None] * count
    for i, g in zip(places, gradients, strict=True):
        out[i] = g if g is None or isinstance(g, Tensor) else Tensor(g)
    return tuple(out)


def _listed(g: Any, many: int) -> list[Any]:
    return [g.get(i) for i in range(many)] if type(g) is dict else [g]


def _answered(call: dict[str, Any], gradients: list[Any]) -> list[Any]:
    """The gradients of the inputs, or what the hook gives instead."""
    seen = _tensors(gradients, call["places"], call["count"])
    answer = call["hook"](call["module"], seen, call["results"])
    if answer is None:
        return gradients
    answer = answer if isinstance(answer, tuple) else (answer,)
    if len(answer) != call["count"]:
        raise RuntimeError(
            f"Module.register_full_backward_hook: the hook must return None or {call['count']} "
            f"gradients, got {len(answer)}"
        )
    chosen = [answer[i] for i in call["places"]]
    for g, shape in zip(chosen, call.get("shapes", ()), strict=False):
        own = tuple(getattr(g, "shape", ()))
        if g is not None and own != tuple(shape):
            raise RuntimeError(
                "Module.register_full_backward_hook: the hook must return gradients of the shapes "
                f"of the arguments, got {own} for {tuple(shape)}"
            )
    lane = next((g for g in gradients if g is not None), None)
    if isinstance(lane, Tensor):
        return chosen
    return [g.data if isinstance(g, Tensor) else g for g in chosen]


def _of_inputs(g: Any, saved: Any, node: Any) -> Any:
    call = node.options["call"]
    gradients = _answered(call, _listed(g, len(call["places"])))
    return tuple(gradients) if len(gradients) > 1 else gradients[0]


def _of_results(g: Any, saved: Any, node: Any) -> Any:
    call = node.options["call"]
    gradients = _listed(g, len(call["seen"]))
    call["results"] = _tensors(gradients, call["seen"], call["several"])
    if not call["given"]:  # no input has a gradient that would call the hook later
        _answered(call, [])
    return tuple(gradients) if len(gradients) > 1 else gradients[0]


def _same(*arrays: Any, call: Any) -> tuple:
    return tuple(a.view() for a in arrays)


_inputs: Rule = Rule("module_inputs", _same, _of_inputs, several=True)
_results: Rule = Rule("module_results", _same, _of_results, several=True)
