"""The tape: what was computed from what, and the way back.

Every tensor that needs a gradient has a node: a :class:`Leaf` where the user made it, a
:class:`Node` where a :class:`Rule` did. A node knows the nodes of its inputs, not the tensors, and
a leaf knows its tensor weakly, so there are no cycles of references: a graph is freed with the last
tensor that can reach it, at once.

A node's number is larger than its parents'. So taking the largest number first visits every node
after all that it flows into, and nodes below the smallest target cannot lead to one.

There are two lanes back. In the *array lane* rules are given arrays and run fused
implementations; the graph is freed as it is consumed. In the *tensor lane* (``create_graph=True``)
the same arrays are wrapped as tensors on the tape, so what the rule computes can be differentiated
again; rules that call fused implementations have a second form for it.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from typing import Any

from .._arrays import namespace
from ._documents import complete

next_number = itertools.count(1).__next__  # atomic: threads may record at the same time
recording: ContextVar[bool] = ContextVar("kernelmill_recording", default=True)
layers: ContextVar[tuple[str, ...]] = ContextVar("kernelmill_layers", default=())
RESULT = -1  # in `Rule.saves`: the result of the rule
ALL: dict[int, tuple[int, ...]] = {}  # as `Rule.saves`: all inputs, however many there are
Tensor: Any = None  # the class, set by _tensor.py


def wrap(array: Any, node: Any) -> Any:
    """A tensor over the result of an op, without the questions that users' data are asked."""
    made = object.__new__(Tensor)
    made.data = array
    made.grad = None
    made._node = node
    return made


class Leaf:
    """The end of the tape: a tensor that the user made; gradients are added up in its ``grad``."""

    __slots__ = ("first_shape", "hooks", "number", "owner")

    def __init__(self, tensor: Any) -> None:
        self.owner = weakref.ref(tensor)
        self.number = next_number()
        self.hooks: list[Callable] | None = None
        self.first_shape = tensor.data.shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        tensor = self.owner()
        return self.first_shape if tensor is None else tensor.data.shape


class Node:
    """One call of a rule.

    Attributes
    ----------
    rule : Rule
    parents : tuple of (Leaf, Node, Part or None), or None
        The nodes of the inputs, None for an input that needs no gradient; None altogether once the
        node has been used and freed.
    saved : tuple of arrays
        As ``rule.saves`` says, then what the forward pass added.
    options : dict
        Keyword arguments of the call.
    shape : tuple of int
        Shape of the result.
    number : int
    layer : str
        Where it was made; known in anomaly mode only.
    """

    __slots__ = ("hooks", "layer", "number", "options", "parents", "rule", "saved", "shape")

    def __init__(self, rule: Rule, parents: Any, saved: Any, options: dict, shape: Any) -> None:
        self.rule = rule
        self.parents = parents
        self.saved = saved
        self.options = options
        self.shape = shape
        self.number = next_number()
        self.hooks: list[Callable] | None = None
        self.layer = ".".join(layers.get()) if _anomalies else ""


class Part:
    """One of several results of a node."""

    __slots__ = ("hooks", "index", "node", "number", "shape")

    def __init__(self, node: Node, index: int, shape: Any) -> None:
        self.node = node
        self.index = index
        self.shape = shape
        self.number = next_number()
        self.hooks: list[Callable] | None = None


class Rule:
    """A differentiable function.

    Parameters
    ----------
    name : str
        For messages.
    forward : callable
        ``forward(*arrays, **options)`` gives the result; with ``extras`` the result and a tuple of
        arrays to save; with ``several`` the result is a tuple.
    backward : callable
        ``backward(g, saved, node)`` gives the gradient of each input (a single one, not a tuple,
        where there is one input), None where ``node.parents`` has None. Arrays that it makes must
        be new, or g or views of it.
    saves : dict of int to tuple of int
        Positions of inputs, or ``RESULT``, and the inputs whose gradients need them; an empty tuple
        stands for all of them. ``ALL`` saves every input, of a rule with any number.
    twice : callable, optional
        The same in differentiable operations, on tensors; ``backward`` itself by default.
    broadcasts : bool
        Whether gradients may have the shape of the result; they are summed to that of the input.
    """

    __slots__ = (
        "backward", "broadcasts", "extras", "forward", "name", "saves", "several", "twice",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        forward: Callable,
        backward: Callable,
        saves: dict[int, tuple[int, ...]] | None = None,
        *,
        twice: Callable | None = None,
        extras: bool = False,
        several: bool = False,
        broadcasts: bool = False,
    ) -> None:
        self.name = name
        self.forward = forward
        self.backward = backward
        self.saves = None if saves is ALL else tuple((saves or {}).items())
        self.twice = twice or backward
        self.extras = extras
        self.several = several
        self.broadcasts = broadcasts

    def __repr__(self) -> str:
        return f"<rule {self.name}>"

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """A tensor where one of the inputs is one, else an array."""
        arrays, parents, tensors, needed = [], [], False, False
        for value in inputs:
            if isinstance(value, Tensor):
                tensors = True
                arrays.append(value.data)
                node = value._node
                parents.append(node)
                needed = needed or node is not None
            else:
                arrays.append(value)
                parents.append(None)
        result = self.forward(*arrays, **options)
        extras: tuple = ()
        if self.extras:
            result, extras = result
        if not tensors:
            return result
        if _anomalies:
            _check_result(self, arrays, result)
        if not (needed and recording.get()):
            return tuple(map(Tensor, result)) if self.several else wrap(result, None)
        saved = arrays if self.saves is None else [
            (result if i == RESULT else arrays[i])
            if not users or any(parents[u] is not None for u in users)
            else None
            for i, users in self.saves
        ]  # fmt: skip
        if self.several:
            node = Node(self, tuple(parents), (*saved, *extras), options, None)
            return tuple(
                Tensor(one, Part(node, i, one.shape)) if one.dtype.kind == "f" else Tensor(one)
                for i, one in enumerate(result)
            )
        node = Node(self, tuple(parents), (*saved, *extras), options, result.shape)
        return wrap(result, node)


# --- recording or not -----------------------------------------------------------------------------


class _Recording:
    """A context manager and decorator that turns recording on or off in this thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._tokens: list = []

    def __enter__(self) -> None:
        self._tokens.append(recording.set(self.mode))

    def __exit__(self, *exc: object) -> None:
        recording.reset(self._tokens.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.mode):
                return function(*args, **kwargs)

        return wrapped


def _recording(name: str, fixed: bool | None, about: str, example: str) -> Callable:
    def make(*args: Any) -> Any:
        if fixed is not None and len(args) == 1 and callable(args[0]):  # @no_grad
            return _Recording(fixed)(args[0])
        if len(args) != (fixed is None):
            raise TypeError(f"nn.{name}: must be called with {int(fixed is None)} arguments")
        return _Recording(args[0] if fixed is None else fixed)

    make.__name__ = make.__qualname__ = name
    arguments = "The function to decorate, or nothing." if fixed is not None else "True or False."
    make.__doc__ = f"""{about}

Use it in a ``with`` statement or as a decorator. It holds for the current thread only.

Parameters
----------
*args
    {arguments}

Examples
--------
>>> from kernelmill import nn
>>> x = nn.Tensor([1.0, 2.0], requires_grad=True)
>>> {example}
"""
    return make


no_grad = _recording(
    "no_grad", False, "Record nothing: results need no gradient.",
    "with nn.no_grad():\n...     (x * 2).requires_grad\nFalse",
)  # fmt: skip
enable_grad = _recording(
    "enable_grad", True, "Record again, inside a block of :func:`no_grad`.",
    "with nn.no_grad(), nn.enable_grad():\n...     (x * 2).requires_grad\nTrue",
)  # fmt: skip
set_grad_enabled = _recording(
    "set_grad_enabled", None, "Record or not, as ``mode`` says.",
    "with nn.set_grad_enabled(False):\n...     (x * 2).requires_grad\nFalse",
)  # fmt: skip


def is_grad_enabled() -> bool:
    """Whether operations are recorded now, in this thread.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.is_grad_enabled()
    True
    """
    return recording.get()


# --- writes behind the tape -----------------------------------------------------------------------

_last_write = 0
_writes: dict[int, tuple[int, weakref.ref]] = {}  # id of the array that owns the memory


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array


def written(tensors: Sequence[Any]) -> None:
    """Say that the values of these tensors were changed in place.

    A node that saved one of them before cannot give a right gradient any more; it raises.
    """
    global _last_write
    number = _last_write = next_number()
    for tensor in tensors:
        owner = _owner(tensor.data)
        key = id(owner)
        _writes[key] = (number, weakref.ref(owner, functools.partial(_forget, key)))


def _forget(key: int, _: Any) -> None:
    _writes.pop(key, None)


def _check_unwritten(node: Node) -> None:
    for array in node.saved:
        if hasattr(array, "dtype"):
            number, _ = _writes.get(id(_owner(array)), (0, None))
            if number > node.number:
                raise RuntimeError(
                    f"nn.backward: an array that {node.rule.name} saved must keep its values until "
                    "the backward pass, got one that was changed in place (call backward before "
                    "the optimiser's step, or compute a new tensor)"
                )


# --- anomalies ------------------------------------------------------------------------------------

_anomalies = 0


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Stop at the first NaN, forward or backward, and name the operation and the layer.

    Slow: every result and gradient is searched. It holds for all threads.

    Raises
    ------
    RuntimeError
        Where an operation gives NaN though its inputs have none.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([-1.0], requires_grad=True)
    >>> with nn.detect_anomaly():
    ...     y = x.log()
    Traceback (most recent call last):
        ...
    RuntimeError: nn.log: the result must not be the first NaN, got NaN from inputs without NaN
    """
    global _anomalies
    _anomalies += 1
    try:
        yield
    finally:
        _anomalies -= 1


def _has_nan(value: Any) -> bool:
    if isinstance(value, tuple | dict):
        return any(map(_has_nan, value.values() if isinstance(value, dict) else value))
    value = getattr(value, "data", value) if isinstance(value, Tensor) else value
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind == "f" and bool(namespace(value).isnan(value).any())


def _check_result(rule: Rule, arrays: Sequence, result: Any) -> None:
    if _has_nan(result) and not any(map(_has_nan, arrays)):
        layer = ".".join(layers.get())
        raise RuntimeError(
            f"nn.{rule.name}: the result must not be the first NaN, got NaN from inputs without NaN"
            + (f" (in layer {layer})" if layer else "")
        )


def _check_gradients(node: Node, g: Any, gradients: tuple) -> None:
    if any(map(_has_nan, gradients)) and not _has_nan(g):
        raise RuntimeError(
            f"nn.{node.rule.name}: the gradient must not be the first NaN, got NaN from an "
            "incoming gradient without NaN" + (f" (in layer {node.layer})" if node.layer else "")
        )


# --- the way back ---------------------------------------------------------------------------------

_delivery = threading.Lock()  # two threads may reach one leaf


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes that broadcasting added or stretched."""
    added = g.ndim - len(shape)
    axes = (*range(added), *(added + i for i, n in enumerate(shape) if n != g.shape[added + i]))
    if axes:
        g = _sum(g, axes)
    return g.reshape(shape)


def _sum(g: Any, axes: tuple[int, ...]) -> Any:
    from ..ops import reduction

    if isinstance(g, Tensor):
        return g.sum(axes)
    return reduction.sum(g, axes)


def _deliver(leaf: Leaf, g: Any, own: bool) -> None:
    """Add a gradient to the ``grad`` of a leaf."""
    tensor = leaf.owner()
    if tensor is None:
        return
    with _delivery:
        old = tensor.grad
        if isinstance(g, Tensor):
            tensor.grad = g if old is None else old + g
        elif old is None:
            tensor.grad = Tensor(g if own and g.base is None else g.copy())
        elif old._node is not None:
            tensor.grad = old + Tensor(g)
        else:
            namespace(g).add(old.data, g, out=old.data)


def _wrapped(node: Node) -> tuple:
    """What a node saved, as tensors on the tape where they were."""
    saved = list(node.saved)
    saves = node.rule.saves
    places = range(len(saved)) if saves is None else [i for i, _ in saves]
    for place, i in enumerate(places):
        origin = node if i == RESULT else node.parents[i]
        if hasattr(saved[place], "dtype") and saved[place].dtype.kind == "f":
            saved[place] = Tensor(saved[place], origin)
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


def _freed(node: Node) -> RuntimeError:
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
            raise _freed(node)
        if type(node) is Node and node.rule.name == "checkpoint":
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
        elif create_graph or number not in own:
            grads[number] = old + g
            own.add(number)
        else:
            namespace(old).add(old, g, out=old)

    for node, g in roots:
        send(node, g, False)
    while heap:
        number = -heappop(heap)
        node, g = nodes.pop(number), grads.pop(number)
        if node.hooks is not None:
            for hook in list(node.hooks):
                answer = hook(g if create_graph else Tensor(g))
                if answer is not None:
                    g = answer if create_graph else _array(answer)
                    own.discard(number)
        if targets is not None and number in targets:
            reached[number] = g if create_graph else Tensor(g)
        kind = type(node)
        if kind is Leaf:
            if targets is None:
                _deliver(node, g, number in own)
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
            raise _freed(node)
        if number < _last_write:
            _check_unwritten(node)
        rule = node.rule
        if rule.name == "checkpoint":
            for part, d in rule.backward(g, _wrapped(node), node):
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
        if _anomalies:
            _check_gradients(node, g, given)
        for parent, d in zip(parents, given, strict=True):
            if parent is None or d is None:
                continue
            fresh = d is not g
            if rule.broadcasts and d.shape != parent.shape:
                d = sum_to(d, parent.shape)
            send(parent, d, fresh and getattr(d, "base", None) is None)
        if not (retain_graph or create_graph):
            node.saved = node.parents = None
    return reached


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


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
        g = _array(gradient)
        g = xp.asarray(g, dtype=output.data.dtype)
        if g.shape != output.data.shape:
            raise RuntimeError(
                f"{caller}: gradient must have the output's shape {output.data.shape}, got "
                f"{g.shape}"
            )
    if create_graph:
        return gradient if isinstance(gradient, Tensor) else Tensor(g)
    return g


def backward(
    output: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add the gradients of ``output`` to the ``grad`` of the leaves (see ``Tensor.backward``)."""
    seed = _seed("Tensor.backward", output, gradient, create_graph)
    with _Recording(create_graph):
        run_back([(output._node, seed)], None, create_graph, bool(retain_graph))


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
    with _Recording(create_graph):
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
        values = [alias(v) if isinstance(v, Tensor) else v for v in saved[:inputs]]
        places = [i for i, p in enumerate(node.parents) if p is not None]
        result = composition(*values, **node.options)
        found = grad(result, [values[i] for i in places], g, create_graph=True, allow_unused=True)
        gradients: list = [None] * len(node.parents)
        for i, d in zip(places, found, strict=True):
            gradients[i] = d
        return tuple(gradients) if len(gradients) > 1 else gradients[0]

    return twice


complete(globals())
