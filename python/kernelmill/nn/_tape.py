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
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from .. import _runtime
from .._arrays import namespace
from .._runtime import Node, next_number, wrap
from ._documents import complete
from ._dtypes import FLOATS, is_half, narrowed, widened

recording: ContextVar[bool] = ContextVar("kernelmill_recording", default=True)
autocast: ContextVar[Any] = ContextVar("kernelmill_autocast", default=None)  # the dtype of products
layers: ContextVar[tuple[str, ...]] = ContextVar("kernelmill_layers", default=())
RESULT = -1  # in `Rule.saves`: the result of the rule; of several, `RESULT - j` is number j
ALL: dict[int, tuple[int, ...]] = {}  # as `Rule.saves`: all inputs, however many there are
Tensor: Any = None  # the class, set by _tensor.py


def array_of(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


# Chooses another form of a rule for its inputs; None while nothing is stored in 16 bits.
_form_of: Callable[[Rule, tuple, list], tuple[Rule | None, tuple]] | None = None


def use_half() -> None:
    """From now on tensors may be stored in 16 bits (see `_half.py`)."""
    global _form_of
    if _form_of is None:
        from ._half import form_of

        _form_of = form_of
        _runtime.use_forms()


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


class Part:
    """One of several results of a node."""

    __slots__ = ("__weakref__", "hooks", "index", "node", "number", "shape")

    def __init__(self, node: Node, index: int, shape: Any) -> None:
        self.node = node
        self.index = index
        self.shape = shape
        self.number = next_number()
        self.hooks: list[Callable] | None = None


class Rule(_runtime.Rule):
    """A differentiable function.

    A call gives a tensor where one of the inputs is one, else an array. Rules of one result are
    called by compiled code that does what :meth:`apply` says.

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
    reruns : bool
        Whether ``backward`` records its function again and gives pairs of nodes and gradients.
    plan : tuple, optional
        ``backward`` as data, which costs less: for each input None for no gradient, True for g as
        it is, or an op and the places of its arguments: 0 is g, k is ``saved[k - 1]``.
    """

    __slots__ = (
        "backward", "broadcasts", "extras", "forward", "name", "plan", "reruns", "saves",
        "several", "twice",
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
        reruns: bool = False,
        plan: tuple | None = None,
    ) -> None:
        self.name = name
        self.forward = forward
        self.backward = backward
        self.saves = None if saves is ALL else tuple((saves or {}).items())
        self.twice = twice or backward
        self.extras = extras
        self.several = several
        self.broadcasts = broadcasts
        self.reruns = reruns
        self.plan = plan

    def __repr__(self) -> str:
        return f"<rule {self.name}>"

    def apply(self, *inputs: Any, **options: Any) -> Any:
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
        if _form_of is not None:
            form, inputs = _form_of(self, inputs, arrays)
            if form is not None:
                return form(*inputs, **options)
        result = self.forward(*arrays, **options) if options else self.forward(*arrays)
        extras: tuple = ()
        if self.extras:
            result, extras = result
        if not tensors:
            return result
        if _anomalies:
            _check_result(self, arrays, result)
        if not (needed and recording.get()):
            return tuple(map(Tensor, result)) if self.several else wrap(result, None)
        whole = None not in parents
        saved = arrays if self.saves is None else [
            (result if i == RESULT else arrays[i])
            if whole or not users or any(parents[u] is not None for u in users)
            else None
            for i, users in self.saves
        ]  # fmt: skip
        shape = None if self.several else result.shape
        node = Node(self, tuple(parents), (*saved, *extras), options, shape)
        if _anomalies:
            node.layer = ".".join(layers.get())
        if self.several:
            return tuple(
                Tensor(one, Part(node, i, one.shape)) if one.dtype.kind in FLOATS else Tensor(one)
                for i, one in enumerate(result)
            )
        return wrap(result, node)


# --- recording or not -----------------------------------------------------------------------------


class Setting:
    """A context manager and decorator that sets a variable of this thread."""

    def __init__(self, variable: ContextVar, value: Any) -> None:
        self.variable, self.value = variable, value
        self._tokens: list = []

    def __enter__(self) -> None:
        self._tokens.append(self.variable.set(self.value))

    def __exit__(self, *exc: object) -> None:
        self.variable.reset(self._tokens.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with Setting(self.variable, self.value):
                return function(*args, **kwargs)

        return wrapped


class Recording(Setting):
    """Turns recording on or off in this thread."""

    def __init__(self, mode: bool) -> None:
        super().__init__(recording, bool(mode))


def as_stored() -> Any:
    """A context without automatic casts, for backward passes: gradients have their dtypes."""
    return Setting(autocast, None) if autocast.get() else nullcontext()


def _recording(name: str, fixed: bool | None, about: str, example: str) -> Callable:
    def make(*args: Any) -> Any:
        if fixed is not None and len(args) == 1 and callable(args[0]):  # @no_grad
            return Recording(fixed)(args[0])
        if len(args) != (fixed is None):
            raise TypeError(f"nn.{name}: must be called with {int(fixed is None)} arguments")
        return Recording(args[0] if fixed is None else fixed)

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


def inference_mode(mode: Any = True) -> Any:
    """Record nothing: the same as :func:`no_grad`.

    Use it in a ``with`` statement or as a decorator. It holds for the current thread only.

    Parameters
    ----------
    mode : bool or callable, default=True
        False turns recording on, as torch does; or the function to decorate.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([1.0, 2.0], requires_grad=True)
    >>> with nn.inference_mode():
    ...     (x * 2).requires_grad
    False
    """
    return no_grad(mode) if callable(mode) else Recording(not mode)


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


def is_view(array: Any) -> bool:
    """Whether its memory is another array's; a base of another kind is memory of the ops' pool."""
    return hasattr(getattr(array, "base", None), "dtype")


def _owner(array: Any) -> Any:
    while is_view(array):
        array = array.base
    return array


def written(tensors: Sequence[Any]) -> None:
    """Say that the values of these tensors were changed in place.

    A node that saved one of them before cannot give a right gradient any more; it raises.
    """
    global _last_write
    number = _last_write = _runtime.mark_write()
    for tensor in tensors:
        owner = _owner(tensor.data)
        key = id(owner)
        known = _writes.get(key)
        if known is not None and known[1]() is owner:
            _writes[key] = (number, known[1])
        else:
            _writes[key] = (number, weakref.ref(owner, functools.partial(_forget, key)))


def _forget(key: int, _: Any) -> None:
    _writes.pop(key, None)


def check_unwritten(node: Node) -> None:
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
    _runtime.watch(_anomalies)
    try:
        yield
    finally:
        _anomalies -= 1
        _runtime.watch(_anomalies)


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


def check_gradients(node: Node, g: Any, gradients: tuple) -> None:
    if any(map(_has_nan, gradients)) and not _has_nan(g):
        raise RuntimeError(
            f"nn.{node.rule.name}: the gradient must not be the first NaN, got NaN from an "
            "incoming gradient without NaN" + (f" (in layer {node.layer})" if node.layer else "")
        )


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
    if is_half(g.dtype):  # added up before it is rounded
        return narrowed(reduction.sum(widened(g), axes), g.dtype)
    return reduction.sum(g, axes)


complete(globals())
