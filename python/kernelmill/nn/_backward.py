"""The way back over the tape: gradients from outputs to leaves, or to the inputs asked for."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .. import _runtime
from .._arrays import namespace
from ..ops import elementwise
from . import _tape
from ._documents import complete
from ._dtypes import FLOATS
from ._tape import (
    RESULT,
    Leaf,
    Node,
    Part,
    Rule,
    array_of,
    check_gradients,
    check_unwritten,
    is_view,
    next_number,
    sum_to,
)

_MANY = 1 << 16  # elements that pay for threads

_delivery = threading.Lock()  # two threads may reach one leaf


def deliver(leaf: Leaf, g: Any, own: bool) -> None:
    """Add a gradient to the ``grad`` of a leaf."""
    tensor = leaf.owner()
    if tensor is None:
        return
    with _delivery:
        old = tensor.grad
        if isinstance(g, _tape.Tensor):
            tensor.grad = g if old is None else old + g
        elif old is None:
            g = g if own else g.copy()
            tensor.grad = _tape.Tensor(namespace(g).asarray(g))
        elif old._node is not None:
            tensor.grad = old + _tape.Tensor(g)
        else:
            add(old.data, g)


def add(old: Any, g: Any, fresh: bool = False) -> Any:
    """The sum of two gradients: a fresh array, or the first one changed in place."""
    if type(g) is np.ndarray and g.size >= _MANY and g.dtype == old.dtype and g.dtype.char in "fd":
        return elementwise.add(old, g, out=None if fresh else old)
    if fresh or isinstance(old, np.generic):  # a sum of arrays without axes is a scalar of NumPy
        return namespace(g).asarray(old + g)
    return namespace(g).add(old, g, out=old)


def hooked(node: Any, g: Any) -> Any:
    """The gradient of a node after its hooks, a view, as they may keep it: it is shared."""
    for hook in list(node.hooks):
        answer = hook(g if isinstance(g, _tape.Tensor) else _tape.Tensor(g))
        if answer is None:
            continue
        if getattr(answer, "shape", None) != g.shape:
            kind = getattr(answer, "shape", type(answer).__name__)
            raise RuntimeError(
                f"Tensor.register_hook: a hook must return a tensor of the gradient's shape "
                f"{tuple(g.shape)}, or None to leave it, got {kind}"
            )
        if isinstance(g, _tape.Tensor):
            g = answer if isinstance(answer, _tape.Tensor) else _tape.Tensor(answer)
        else:
            g = array_of(answer)
    return g if isinstance(g, _tape.Tensor) else g.view()


def rerun(node: Node, g: Any) -> list[tuple[Any, Any]]:
    """Gradients of the nodes that a checkpoint made when it ran again."""
    return node.rule.backward(g, _wrapped(node), node)


def _wrapped(node: Node) -> tuple:
    """What a node saved, as tensors on the tape where they were."""
    saved = list(node.saved)
    saves = node.rule.saves
    places = range(len(node.parents)) if saves is None else [i for i, _ in saves]
    for place, i in enumerate(places):
        array = saved[place]
        if i is None or not hasattr(array, "dtype") or array.dtype.kind not in FLOATS:
            continue
        if i >= 0:
            origin = node.parents[i]
        elif node.rule.several:
            # The one in use, if any is: gradients of two parts with one index are not added.
            parts, j = node.options["parts"], RESULT - i
            origin = parts[j]() or Part(node, j, array.shape)
            parts[j] = weakref.ref(origin)
        else:
            origin = node
        saved[place] = _tape.Tensor(array, origin)
    return tuple(saved)


class _Masked:
    """A node seen by a pass that needs the gradients of some of its inputs only."""

    __slots__ = ("number", "options", "parents", "rule", "saved", "shape")

    def __init__(self, node: Node, wanted: set[int]) -> None:
        self.rule, self.saved, self.options = node.rule, node.saved, node.options
        self.number, self.shape = node.number, node.shape
        self.parents = tuple(
            p if p is not None and (p.number in wanted or _origin(p).number in wanted) else None
            for p in node.parents
        )


def freed(node: Node) -> RuntimeError:
    """What to raise where a node was used before."""
    return RuntimeError(
        f"nn.backward: the graph must not have been freed, got one whose {node.rule.name} has been "
        "used (call backward(retain_graph=True) the first time)"
    )


def _origin(node: Any) -> Any:
    return node.node if type(node) is Part else node


def _leading_to(roots: Sequence, targets: set[int]) -> set[int] | None:
    """Numbers of the nodes that have a target among what they depend on; None if not known."""
    least = min(targets)
    seen: dict[int, Any] = {}
    stack = [_origin(root) for root in roots]
    while stack:
        node = stack.pop()
        if node.number in seen or node.number < least:
            continue
        seen[node.number] = node
        if type(node) is Node and node.parents is None:
            raise freed(node)
        if type(node) is Node and node.rule.reruns:
            return None  # what its function uses is seen when it runs again
        stack += [_origin(p) for p in getattr(node, "parents", None) or () if p is not None]
    wanted = set()
    for number in sorted(seen):
        parents = getattr(seen[number], "parents", None) or ()
        if any(
            p is not None and (p.number in targets or _origin(p).number in wanted) for p in parents
        ):
            wanted.add(number)
    return wanted


def run_back(
    roots: Sequence[tuple[Any, Any]],
    targets: dict[int, Any] | None,
    create_graph: bool,
    retain_graph: bool,
) -> dict[int, Any]:
    """Send gradients from the roots to the leaves, or to the targets alone.

    Arrays from one root to all leaves go the same way in ``cpp/runtime``.

    Parameters
    ----------
    roots : sequence of (node, gradient)
        Gradients are tensors with ``create_graph``, else arrays.
    targets : dict of int to node, or None
        Nodes whose gradients are asked for, by number; None adds to the ``grad`` of all leaves.

    Returns
    -------
    gradients : dict of int to gradient
        Of the targets that were reached.
    """
    wanted = None if targets is None else _leading_to([r for r, _ in roots], set(targets))
    begun = next_number()  # nodes with larger numbers are made on the way: checkpoints run again
    heap: list[int] = []
    nodes: dict[int, Any] = {}
    grads: dict[int, Any] = {}
    own: set[int] = set()  # gradients that nobody else holds
    reached: dict[int, Any] = {}

    def send(node: Any, g: Any, fresh: bool) -> None:
        number = node.number
        old = grads.get(number)
        if old is None:
            if number not in nodes:
                nodes[number] = node
                heappush(heap, -number)
            grads[number] = g
            if fresh:
                own.add(number)
        elif create_graph:
            grads[number] = old + g
        else:
            grads[number] = add(old, g, number not in own)
            own.add(number)

    for node, g in roots:
        send(node, g, False)
    while heap:
        number = -heappop(heap)
        node, g = nodes.pop(number), grads.pop(number)
        if node.hooks is not None:
            g = hooked(node, g)
            own.discard(number)
        if targets is not None and number in targets:
            reached[number] = g if create_graph else _tape.Tensor(g)
        kind = type(node)
        if kind is Leaf:
            if targets is None:
                deliver(node, g, number in own)
            continue
        if kind is Part:
            origin = node.node
            if wanted is not None and origin.number not in wanted:
                continue
            parts = grads.get(origin.number)
            if parts is None:
                parts = grads[origin.number] = {}
                nodes[origin.number] = origin
                heappush(heap, -origin.number)
            parts[node.index] = g
            continue
        if wanted is not None and number not in wanted and number < begun:
            continue
        if node.parents is None:
            raise freed(node)
        if number < _tape._last_write:
            check_unwritten(node)
        rule = node.rule
        if rule.reruns:
            for part, d in rerun(node, g):
                send(part, d, False)
            if not (retain_graph or create_graph):
                node.saved = node.parents = None
            continue
        view: Any = node
        if wanted is not None and number < begun:
            # A target among the parents may lead no further itself.
            view = _Masked(node, wanted | set(targets or ()))
        if create_graph:
            given = rule.twice(g, _wrapped(node), view)
        else:
            given = rule.backward(g, node.saved, view)
        parents = view.parents
        if type(given) is not tuple:
            given = (given,)
        if _tape._anomalies:
            check_gradients(node, g, given)
        uses = Counter(map(id, given))  # one array may go to two parents
        for parent, d in zip(parents, given, strict=True):
            if parent is None or d is None:
                continue
            fresh = d is not g and uses[id(d)] == 1
            if rule.broadcasts and d.shape != parent.shape:
                d = sum_to(d, parent.shape)
            send(parent, d, fresh and not is_view(d))
        if not (retain_graph or create_graph):
            node.saved = node.parents = None
    return reached


def _seed(caller: str, output: Any, gradient: Any, create_graph: bool) -> Any:
    """The gradient that a backward pass starts with."""
    if output._node is None:
        raise RuntimeError(
            f"{caller}: the output must depend on a tensor that needs a gradient, got one that "
            "does not (set requires_grad=True before it is computed)"
        )
    xp = namespace(output.data)
    if gradient is None:
        if output.data.size != 1:
            raise RuntimeError(
                f"{caller}: gradient must be given where the output is not one number, got none "
                f"for shape {output.data.shape} (call it on output.sum(), or pass gradient)"
            )
        g = xp.ones(output.data.shape, output.data.dtype)
    else:
        g = array_of(gradient)
        g = xp.asarray(g, dtype=output.data.dtype)
        if g.shape != output.data.shape:
            raise RuntimeError(
                f"{caller}: gradient must have the output's shape {output.data.shape}, got "
                f"{g.shape}"
            )
    if create_graph:
        return gradient if isinstance(gradient, _tape.Tensor) else _tape.Tensor(g)
    return g


def backward(
    output: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add the gradients of ``output`` to the ``grad`` of the leaves (see ``Tensor.backward``)."""
    seed = _seed("Tensor.backward", output, gradient, create_graph)
    with _tape.Recording(create_graph), _tape.as_stored():
        if create_graph or _tape._anomalies:
            run_back([(output._node, seed)], None, create_graph, bool(retain_graph))
        else:
            _runtime.back(output._node, seed, bool(retain_graph))


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of the sum of ``outputs`` with respect to ``inputs``.

    Nothing is added to any ``grad``, and only the part of the graph between them is visited.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or sequence of Tensor
        What is differentiated by.
    grad_outputs : Tensor, array or sequence of them, optional
        Weights of the outputs, in their shapes; ones by default, where an output is one number.
    retain_graph : bool, optional
        Keep the graph for another pass; ``create_graph`` by default.
    create_graph : bool, default=False
        Record the gradients themselves, so that they can be differentiated again.
    allow_unused : bool, default=False
        Give None for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    gradients : tuple of Tensor
        One for each input.

    Raises
    ------
    RuntimeError
        If an output needs no gradient, or an input was not used.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([2.0, 3.0], requires_grad=True)
    >>> (first,) = nn.grad((x ** 3).sum(), x, create_graph=True)
    >>> nn.grad(first.sum(), x)[0].tolist()
    [12.0, 18.0]
    """
    outs, ins = _listed(outputs), _listed(inputs)
    weights = [None] * len(outs) if grad_outputs is None else _listed(grad_outputs)
    if len(weights) != len(outs):
        raise ValueError(
            f"nn.grad: grad_outputs must have one entry for each of {len(outs)} outputs, got "
            f"{len(weights)}"
        )
    for i, one in enumerate(ins):
        if one._node is None:
            raise RuntimeError(
                f"nn.grad: inputs must need gradients, got input {i} that does not (set "
                "requires_grad=True before it is used)"
            )
    roots = [
        (out._node, _seed("nn.grad", out, weight, create_graph))
        for out, weight in zip(outs, weights, strict=True)
    ]
    targets = {one._node.number: one._node for one in ins}
    # A target that is one of several results of a node is reached through that node's number.
    keep = create_graph if retain_graph is None else retain_graph
    with _tape.Recording(create_graph), _tape.as_stored():
        reached = run_back(roots, targets, create_graph, keep)
    results = tuple(reached.get(one._node.number) for one in ins)
    if not allow_unused and any(result is None for result in results):
        missing = [i for i, result in enumerate(results) if result is None]
        raise RuntimeError(
            f"nn.grad: inputs must be used by the outputs, got input {missing[0]} that is not "
            "(allow_unused=True gives None for it)"
        )
    return results


alias: Rule = Rule("alias", lambda x: x, lambda g, saved, node: g)


def recomputed(composition: Callable, inputs: int) -> Callable:
    """The second form of a fused rule: its composition is run on the tape and differentiated.

    The rule must save all its inputs, in order, before anything else.
    """

    def twice(g: Any, saved: tuple, node: Any) -> Any:
        # A node of its own for each, so that one tensor given twice is not counted twice.
        values = [alias(v) if isinstance(v, _tape.Tensor) else v for v in saved[:inputs]]
        places = [i for i, p in enumerate(node.parents) if p is not None]
        result = composition(*values, **node.options)
        if node.rule.several:
            outputs = [result[i] for i in g if result[i]._node is not None]
            g = [d for i, d in g.items() if result[i]._node is not None]
        else:
            outputs, g = [result], [g]
        found = grad(outputs, [values[i] for i in places], g, create_graph=True, allow_unused=True)
        gradients: list = [None] * len(node.parents)
        for i, d in zip(places, found, strict=True):
            gradients[i] = d
        return tuple(gradients) if len(gradients) > 1 else gradients[0]

    return twice


complete(globals())
