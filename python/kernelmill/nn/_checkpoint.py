"""Recomputation: a part of a network whose intermediate results are not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._documents import complete
from ._random import Generator, current, using
from ._tape import ALL, Node, Part, Rule, Setting, autocast, enable_grad, no_grad, recording
from ._tensor import Tensor


def _run(options: dict, tensors: Any) -> Any:
    args = list(options["args"])
    for place, value in zip(options["places"], tensors, strict=True):
        args[place] = value if isinstance(value, Tensor) else Tensor(value)
    casts = Setting(autocast, options["autocast"])
    with casts, using(Generator().set_state(options["state"])):
        return options["function"](*args, **options["kwargs"])


def _backward(g: Any, saved: tuple, node: Node) -> list[tuple[Any, Any]]:
    """Run again, recorded this time, and send the gradients into what was recorded."""
    with enable_grad():
        outputs = _run(node.options, saved)
    if type(g) is not dict:
        g, outputs = {0: g}, (outputs,)
    return [(outputs[i]._node, d) for i, d in g.items() if outputs[i]._node is not None]


_rule: Rule = Rule("checkpoint", lambda: None, _backward, ALL, reruns=True)


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function without keeping its intermediate results; the backward pass runs it again.

    Memory for what it computes is needed only while its gradients are. Random numbers drawn inside,
    as by dropout, are the same in both runs.

    Parameters
    ----------
    function : callable
        Takes and returns tensors; it must compute the same again.
    *args, **kwargs
        Passed on. Tensors among ``args`` get gradients, and so do the parameters that the function
        uses.

    Returns
    -------
    result : Tensor or tuple of Tensor
        What the function returns.

    References
    ----------
    Chen et al. (2016), "Training deep nets with sublinear memory cost".

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.ones(2, requires_grad=True)
    >>> nn.checkpoint(lambda x: (x * x).tanh(), x).sum().backward()
    >>> x.grad
    tensor([0.8399, 0.8399])
    """
    places = tuple(i for i, a in enumerate(args) if isinstance(a, Tensor))
    options = {
        "function": function,
        "args": tuple(None if i in places else a for i, a in enumerate(args)),
        "kwargs": kwargs,
        "places": places,
        "state": current().fork().get_state(),
        "autocast": autocast.get(),
    }
    with no_grad():
        result = _run(options, [args[i] for i in places])
    if not recording.get():
        return result
    tensors = [args[i] for i in places]
    parents = tuple(t._node for t in tensors)
    several = isinstance(result, tuple | list)
    node = Node(_rule, parents, tuple(t.data for t in tensors), options,
                None if several else result.shape)  # fmt: skip
    if not several:
        return Tensor(result.data, node)
    return tuple(
        Tensor(one.data, Part(node, i, one.shape)) if isinstance(one, Tensor) else one
        for i, one in enumerate(result)
    )


complete(globals())
