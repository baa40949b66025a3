"""Differentiable functions that the user writes: a forward and a backward pass of their own."""

from __future__ import annotations

import weakref
from typing import Any

from .._arrays import namespace
from . import _tape
from ._documents import complete
from ._dtypes import FLOATS
from ._tape import RESULT, Node, Part, Recording, Rule, array_of, recording
from ._tensor import Tensor


class Context:
    """What the forward pass of a :class:`Function` leaves for the backward pass.

    Any other attribute may be set, for what is not a tensor: ``ctx.power = 2``.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        Whether the gradient of each argument is wanted; backward may return None elsewhere.
    saved_tensors : tuple
        What was saved, in the backward pass.
    """

    def __init__(self, args: tuple) -> None:
        self.needs_input_grad = tuple(
            isinstance(one, Tensor) and one._node is not None for one in args
        )
        self._kept: tuple = ()
        self._constants: tuple = ()
        self._zeros = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for the backward pass: arguments, results or others, or None.

        Parameters
        ----------
        *tensors : Tensor or None
            What ``saved_tensors`` gives. Second derivatives flow through arguments and results;
            others are constants.
        """
        wrong = [one for one in tensors if one is not None and not isinstance(one, Tensor)]
        if wrong:
            raise TypeError(
                "ctx.save_for_backward: arguments must be tensors or None, got "
                f"{type(wrong[0]).__name__} (set an attribute of ctx for anything else)"
            )
        self._kept = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What was saved, as tensors."""
        return self._kept

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say that results have no gradient.

        Parameters
        ----------
        *tensors : Tensor
            Some of the results. Results that are not floating-point need no mark.
        """
        self._constants += tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Choose what backward is given for a result that has no gradient.

        Parameters
        ----------
        value : bool
            True, the default, for zeros; False for None.
        """
        self._zeros = bool(value)


class Function:
    """A differentiable function with a backward pass of its own.

    Derive from it, write :meth:`forward` and :meth:`backward` as static methods, and call
    :meth:`apply`. It serves where a gradient is known in closed form, should differ from the true
    one (straight-through estimates), or where NumPy, SciPy or compiled code does the work.

    Second derivatives are right if ``backward`` uses differentiable operations on
    ``ctx.saved_tensors`` and its arguments alone.

    See Also
    --------
    gradcheck : Compares ``backward`` with finite differences.

    Examples
    --------
    >>> from kernelmill import nn
    >>> class Rounded(nn.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.round()
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g
    >>> x = nn.Tensor([0.2, 1.8], requires_grad=True)
    >>> y = Rounded.apply(x)
    >>> (y * y).sum().backward()
    >>> x.grad.tolist()
    [0.0, 4.0]
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        """Compute the result; nothing is recorded meanwhile.

        Parameters
        ----------
        ctx : Context
            Where to leave what the backward pass needs: ``ctx.save_for_backward(*tensors)``, or
            attributes for anything else; ``ctx.mark_non_differentiable``,
            ``ctx.set_materialize_grads`` and ``ctx.needs_input_grad`` are torch's. A class with a
            static method ``setup_context(ctx, inputs, output)`` is given it there, not here.
        *args
            The arguments of :meth:`apply`.

        Returns
        -------
        results : Tensor or tuple of Tensor
        """
        raise NotImplementedError("nn.Function: forward must be defined by the class")

    setup_context: Any = None

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> Any:
        """Compute the gradients of the arguments.

        Parameters
        ----------
        ctx : Context
            What the forward pass left: ``saved_tensors`` and attributes.
        *grads : Tensor
            The gradient of each result.

        Returns
        -------
        gradients : Tensor or None, or tuple of them
            One for each argument of :meth:`apply`, None for what has no gradient.
        """
        raise NotImplementedError("nn.Function: backward must be defined by the class")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the function.

        Parameters
        ----------
        *args
            Tensors, whose gradients ``backward`` gives, and anything else.

        Returns
        -------
        results : Tensor or tuple of Tensor
            What ``forward`` returned.

        Raises
        ------
        TypeError
            If ``forward`` returns anything but tensors.
        """
        ctx = Context(args)
        with Recording(False):
            if cls.setup_context is None:
                results = cls.forward(ctx, *args)
            else:
                results = cls.forward(*args)
                cls.setup_context(ctx, args, results)
        several = isinstance(results, tuple)
        outputs = results if several else (results,)
        for one in outputs:
            if not isinstance(one, Tensor):
                raise TypeError(
                    f"{cls.__name__}.apply: forward must return a tensor or a tuple of tensors, "
                    f"got {type(one).__name__}"
                )
        if recording.get() and any(ctx.needs_input_grad):
            outputs = cls._recorded(ctx, args, outputs, several)
        else:
            outputs = tuple(Tensor(one.data) for one in outputs)
        ctx._kept = ctx._constants = ()
        return outputs if several else outputs[0]

    @classmethod
    def _recorded(cls, ctx: Context, args: tuple, outputs: tuple, several: bool) -> tuple:
        """The results on the tape.

        The context holds no tensor of the graph, or they would hold each other: it knows which
        argument or result each of the saved arrays is.
        """
        parents = tuple(one._node if isinstance(one, Tensor) else None for one in args)
        places: list[tuple[Any, tuple]] = []
        for kept in ctx._kept:
            found = [(i, ()) for i, one in enumerate(args) if one is kept and kept is not None]
            found += [(RESULT - j, ()) for j, one in enumerate(outputs) if one is kept]
            places.append(found[0] if found else (None, ()))
        about = [(one.data.shape, one.data.dtype, namespace(one.data)) for one in outputs]
        dtypes = [one.data.dtype if isinstance(one, Tensor) else None for one in args]

        def back(g: Any, saved: tuple, node: Any) -> Any:
            tensors = [g.get(j) for j in range(len(about))] if several else [g]
            for j, one in enumerate(tensors):
                if one is None and ctx._zeros:
                    shape, dtype, xp = about[j]
                    tensors[j] = xp.zeros(shape, dtype)
            return cls._gradients(ctx, saved, tensors, dtypes, node)

        rule = Rule(cls.__name__, cls.forward, back, several=several)
        rule.saves = tuple(places)
        arrays = tuple(array_of(kept) for kept in ctx._kept)
        node = Node(rule, parents, arrays, {}, None if several else about[0][0])
        if _tape._anomalies:
            node.layer = ".".join(_tape.layers.get())
        parts = [Part(node, j, one.data.shape) for j, one in enumerate(outputs)] if several else []
        if several:
            node.options["parts"] = list(map(weakref.ref, parts))
        results = []
        for j, one in enumerate(outputs):
            constant = any(one is other for other in ctx._constants)
            smooth = one.data.dtype.kind in FLOATS and not constant
            origin = parts[j] if several else node
            results.append(Tensor(one.data, origin) if smooth else Tensor(one.data))
        return tuple(results)

    @classmethod
    def _gradients(
        cls, ctx: Context, saved: tuple, grads: list, dtypes: list, node: Any
    ) -> Any:
        """What ``backward`` gives, checked: arrays, or tensors where they are recorded."""
        recorded = recording.get()
        ctx._kept = tuple(_tensor_of(one) for one in saved)
        try:
            given = cls.backward(ctx, *(_tensor_of(one) for one in grads))
        finally:
            ctx._kept = ()
        if not isinstance(given, tuple):
            given = (given,)
        count = len(node.parents)
        if len(given) > count and all(one is None for one in given[count:]):
            given = given[:count]
        if len(given) != count:
            raise RuntimeError(
                f"{cls.__name__}.backward: one gradient for each of {count} arguments must be "
                f"returned, got {len(given)} (None for an argument without one)"
            )
        checked: list = []
        for i, (one, parent) in enumerate(zip(given, node.parents, strict=True)):
            if one is None or parent is None:
                checked.append(None)
                continue
            one = _tensor_of(one)
            if tuple(one.shape) != tuple(parent.shape):
                raise RuntimeError(
                    f"{cls.__name__}.backward: the gradient of argument {i} must have its shape "
                    f"{tuple(parent.shape)}, got {tuple(one.shape)}"
                )
            if one.data.dtype != dtypes[i]:
                one = one.to(dtypes[i])
            # A view: the user may hold the array, so nothing may be added into it.
            checked.append(one if recorded else one.data.view())
        return tuple(checked) if count > 1 else checked[0]


def _tensor_of(value: Any) -> Any:
    return value if value is None or isinstance(value, Tensor) else Tensor(value)


complete(globals())
