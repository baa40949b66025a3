"""The tensor: an array, its gradient and its node on the tape."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import beside, exchanged, is_cupy, namespace, to_host
from . import _backward, _tape
from ._documents import complete
from ._dtypes import FLOATS, HALF, dtype_of, holds_numbers, is_half, widened
from ._elementwise import (
    apply,
    arithmetic,
    binary_methods,
    common_dtype,
    compare,
    connect,
    get_default_dtype,
    raw,
    recorded,
    to_dtype,
    where,
)
from ._linalg import LinalgMethods
from ._memory import MemoryMethods
from ._methods import BINARY, COMPARED, ELSEWHERE, METHODS, OUTSIDE, WRITTEN, Elsewhere
from ._reductions import ReductionMethods
from ._shape import ShapeMethods, _index
from ._tape import Leaf, written
from ._torch_names import ALIASES, absent

_NAMES = {
    "half": "float16", "float": "float32", "double": "float64", "long": "int64", "int": "int32",
    "bool": "bool", "byte": "uint8", "char": "int8", "short": "int16", "bfloat16": "bfloat16",
}  # fmt: skip
_USUAL = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "bool", "uint8")))


def as_array(data: Any, dtype: Any = None) -> Any:
    """An array from anything that holds numbers, without a copy where it is one already."""
    if isinstance(data, Tensor):
        data = data.data
    if not (isinstance(data, np.ndarray) or is_cupy(data)):
        if dtype is None and str(getattr(data, "dtype", "")) == "torch.bfloat16":
            data, dtype = data.detach().float(), "bfloat16"  # which DLPack does not give to NumPy
        made = np.asarray(exchanged(data))
        # Python numbers have no dtype of their own; those that NumPy made keep theirs.
        if dtype is None and made.dtype == np.float64 and not hasattr(data, "dtype"):
            made = made.astype(get_default_dtype())
        data = made
    if type(data) is not np.ndarray and isinstance(data, np.ndarray):
        data = data.view(np.ndarray)
    if not holds_numbers(data.dtype):
        raise TypeError(f"nn.Tensor: data must hold numbers or booleans, got dtype {data.dtype}")
    wanted = data.dtype.newbyteorder("=") if dtype is None else dtype_of(dtype)
    if is_half(wanted):
        _tape.use_half()
    if wanted == HALF:
        wanted = HALF
        if data.dtype == HALF and data.dtype is not HALF:  # as of an array that was pickled
            return data.view(HALF)
    if data.dtype == wanted and data.dtype.isnative:
        return data
    with np.errstate(over="ignore"):
        return data.astype(wanted)


class Tensor(ReductionMethods, ShapeMethods, LinalgMethods, MemoryMethods):
    """An array whose operations are recorded, so that gradients can be computed.

    Names, arguments and defaults are those of torch.

    Parameters
    ----------
    data : array-like
        A NumPy or CuPy array is used as it is, not copied; lists of floats become float32 (see
        :func:`set_default_dtype`).
    requires_grad : bool, default=False
        Record what is computed from this tensor.
    dtype : dtype, optional
        Convert to this dtype.

    Attributes
    ----------
    data : ndarray
        The values.
    grad : Tensor or None
        Where :meth:`backward` adds gradients.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x ** 2).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    if TYPE_CHECKING:  # methods that `_install` makes from tables

        def _unary(self) -> Tensor: ...
        def _binary(self, other: Any) -> Tensor: ...

        exp = expm1 = log = log1p = sqrt = rsqrt = reciprocal = square = tanh = erf = _unary
        sigmoid = relu = sign = abs = neg = sin = cos = tan = asin = acos = atan = sinh = _unary
        cosh = asinh = acosh = atanh = exp2 = log2 = log10 = floor = ceil = round = trunc = _unary
        isnan = isinf = isfinite = half = double = long = bfloat16 = byte = char = short = _unary
        relu_ = sigmoid_ = tanh_ = exp_ = neg_ = sqrt_ = _unary
        mul = div = remainder = maximum = minimum = _binary
        eq = ne = lt = le = gt = ge = logical_and = logical_or = add_ = sub_ = mul_ = div_ = _binary
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _binary
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __mod__ = __rmod__ = _binary
        __floordiv__ = __rfloordiv__ = __and__ = __rand__ = __or__ = __ror__ = _binary
        __xor__ = __rxor__ = __lt__ = __le__ = __gt__ = __ge__ = _binary
        __iadd__ = __isub__ = __imul__ = __itruediv__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]

        def clamp_(self, min: Any = None, max: Any = None) -> Tensor: ...

    __slots__ = ("__weakref__", "_node", "data", "grad")
    __array_priority__ = 1000  # array + tensor is a tensor
    __array_ufunc__ = None
    data: Any
    grad: Tensor | None

    def __init__(self, data: Any, requires_grad: Any = False, dtype: Any = None) -> None:
        self.grad = None
        if type(data) is np.ndarray and dtype is None and data.dtype in _USUAL:
            self.data = data
        else:
            self.data = as_array(data, dtype)
        # Rules pass the node of a result; users say True or False.
        if requires_grad is False:
            self._node = None
        elif requires_grad is True:
            self.requires_grad_()
        else:
            self._node = requires_grad

    # --- what it is ---

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The size of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:  # type: ignore[override]
        """The number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """The dtype of the values."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return "cuda" if is_cupy(self.data) else "cpu"

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.data.shape if dim is None else self.data.shape[dim]

    def dim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from this tensor is recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether this tensor requires a gradient, and return it."""
        node = getattr(self, "_node", None)
        if node is not None and type(node) is not Leaf:
            if requires_grad:
                return self
            raise RuntimeError(
                "Tensor.requires_grad_: a tensor that was computed must keep its gradient, got "
                "False (detach() gives one without)"
            )
        if requires_grad and self.data.dtype.kind not in FLOATS:
            raise RuntimeError(
                "Tensor.requires_grad_: only float tensors have gradients, got dtype "
                f"{self.data.dtype} (convert with to(float))"
            )
        self._node = (node or Leaf(self)) if requires_grad else None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the user made this tensor."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Any:
        """The node that made this tensor; None for a leaf."""
        return None if self.is_leaf else self._node

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("nn.Tensor: a tensor without axes must not be asked for its length")
        return self.data.shape[0]

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise RuntimeError(
                "nn.Tensor: the truth of a tensor must be that of one element, got shape "
                f"{self.data.shape} (use any() or all())"
            )
        return bool(self.data.item() if self.data.ndim else self.data[()])

    def __repr__(self) -> str:
        data = widened(to_host(self.data))
        text = np.array2string(data, separator=", ", prefix="tensor(", precision=4)
        usual = self.data.dtype in (get_default_dtype(), np.dtype(np.int64), np.dtype(bool))
        about = "" if usual else f", dtype={self.data.dtype}"
        if self._node is not None:
            grown = type(self._node) is not Leaf
            rule = getattr(getattr(self._node, "node", self._node), "rule", None)
            about += f", grad_fn=<{rule.name}>" if grown and rule else ", requires_grad=True"
        return f"{'tensor'}({text}{about})"

    def __hash__(self) -> int:
        return id(self)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(absent("'Tensor' object", name))

    # --- copies ---

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "Tensor.__deepcopy__: only leaves of the tape can be copied, got a computed tensor "
                "(call detach() first)"
            )
        made = type(self)(self.data.copy(), self.requires_grad)
        memo[id(self)] = made
        made.grad = None if self.grad is None else Tensor(self.grad.data.copy())
        return made

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "Tensor.__reduce__: only leaves of the tape can be pickled, got a computed tensor "
                "(call detach() first)"
            )
        return type(self), (self.data, self.requires_grad)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = to_host(self.data)
        return np.array(array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, the same memory where they are on the CPU.

        Raises
        ------
        RuntimeError
            If the tensor needs a gradient: detach it first.
        """
        if self._node is not None:
            raise RuntimeError(
                "Tensor.numpy: the tensor must not need a gradient (call detach() first)"
            )
        return to_host(self.data)

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.data.size != 1:
            raise RuntimeError(
                f"Tensor.item: the tensor must have one element, got shape {self.data.shape}"
            )
        return self.data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"nn.Tensor: an index must be an integer, got dtype {self.data.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.data.size == 1 and spec else repr(self)

    def detach(self) -> Tensor:
        """The same values, not recorded."""
        return Tensor(self.data)

    def to(self, *target: Any, dtype: Any = None, device: str | None = None) -> Tensor:
        """Convert to a dtype, or move to ``"cpu"`` or ``"cuda"``.

        Parameters
        ----------
        *target : dtype, str or Tensor
            A dtype, a device, both, or a tensor to be like.
        """
        for one in target:
            if isinstance(one, Tensor):
                dtype, device = one.dtype, one.device
            elif isinstance(one, str) and one.partition(":")[0] in ("cpu", "cuda"):
                device = one
            else:
                dtype = one
        result: Any = self
        if dtype is not None:
            wanted = dtype_of(dtype)
            floats = wanted.kind in FLOATS and self.data.dtype.kind in FLOATS
            if floats:
                result = to_dtype(self, wanted)
            elif wanted != self.data.dtype:
                result = Tensor(self.data.astype(wanted))
        if device is not None and device.partition(":")[0] != result.device:
            result = _move(result, device=device.partition(":")[0])
        return result

    def type_as(self, other: Any) -> Tensor:
        """Convert to the dtype of another tensor."""
        return self.to(other.dtype)

    def cpu(self) -> Tensor:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """Move to the GPU, as a CuPy array."""
        return self.to("cuda")

    # --- gradients ---

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradients of this tensor to the ``grad`` of all leaves that it depends on.

        Parameters
        ----------
        gradient : Tensor or array, optional
            Gradient of a loss with respect to this tensor; 1 by default, for one element.
        retain_graph : bool, optional
            Keep the graph for another pass; it is freed by default.
        create_graph : bool, default=False
            Record the gradients themselves.

        Raises
        ------
        RuntimeError
            If the tensor depends on nothing that needs a gradient, or the graph was freed.
        """
        _backward.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(grad)`` whenever a gradient of this tensor has been computed.

        Parameters
        ----------
        hook : callable
            Its result, if not None, replaces the gradient, whose shape it must have.

        Returns
        -------
        remove : callable
            Removes the hook; it may also be called as ``remove.remove()``.
        """
        if self._node is None:
            raise RuntimeError("Tensor.register_hook: the tensor must need a gradient")
        if self._node.hooks is None:
            self._node.hooks = []
        return Handle(self._node.hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in ``grad`` although it is not a leaf."""
        if self.is_leaf:
            return
        import weakref

        owner = weakref.ref(self)

        def keep(grad: Tensor) -> None:
            tensor = owner()
            if tensor is not None:
                tensor.grad = grad if tensor.grad is None else tensor.grad + grad

        self.register_hook(keep)

    # --- changes in place ---

    def _replace(self, name: str, value: Any) -> Tensor:
        """Write values, where nothing on the tape can notice."""
        if self._node is not None and (type(self._node) is not Leaf or recorded(self)):
            raise RuntimeError(
                f"Tensor.{name}: a tensor on the tape must not be changed in place (write "
                "x = x + y, or use no_grad() for a leaf)"
            )
        self.data[...] = value.data if isinstance(value, Tensor) else beside(value, self.data)
        written([self])
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._node is not None and (type(self._node) is not Leaf or recorded(self)):
            self._replace("__setitem__", value)
        if isinstance(value, Tensor) and recorded(value):
            raise RuntimeError(
                "Tensor.__setitem__: a value on the tape must not be written into a tensor, which "
                "would lose its gradient (use where(), cat() or stack())"
            )
        taken = value.data if isinstance(value, Tensor) else beside(value, self.data)
        self.data[_index(index)] = taken
        written([self])

    def copy_(self, source: Any) -> Tensor:
        """Take the values of another tensor."""
        return self._replace("copy_", source)

    def fill_(self, value: float) -> Tensor:
        """Set all elements to one value."""
        return self._replace("fill_", value)

    def zero_(self) -> Tensor:
        """Set all elements to 0."""
        return self._replace("zero_", 0)

    # --- functions of each element ---

    def __neg__(self) -> Tensor:
        return apply("negative", self) if self.data.dtype.kind in FLOATS else Tensor(-self.data)

    def __abs__(self) -> Tensor:
        return apply("abs", self) if self.data.dtype.kind in FLOATS else Tensor(abs(self.data))

    def __invert__(self) -> Tensor:
        return Tensor(~self.data)

    def pow(self, exponent: Any) -> Tensor:
        """Each element to a power."""
        return arithmetic("power", self, exponent)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Limit each element to an interval; gradients pass at its ends."""
        low = -np.inf if min is None else min
        high = np.inf if max is None else max
        if self.data.dtype.kind not in FLOATS:
            return Tensor(np.clip(self.data, min, max))
        return apply("clip", self, low, high)

    clip = clamp

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """Replace elements by a value where the mask is True."""
        return where(mask, value, self)

    def add(self, other: Any, *, alpha: float = 1) -> Tensor:
        """Add another operand, times ``alpha``."""
        return arithmetic("add", self, other if alpha == 1 else as_tensor(other) * alpha)

    def sub(self, other: Any, *, alpha: float = 1) -> Tensor:
        """Subtract another operand, times ``alpha``."""
        return arithmetic("subtract", self, other if alpha == 1 else as_tensor(other) * alpha)

    def where(self, condition: Any, other: Any) -> Tensor:
        """This tensor where the condition holds, else the other."""
        return where(condition, self, other)


def _augmented(method: str, name: str) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        plain = self._node is None and not (isinstance(other, Tensor) and recorded(other))
        if plain or (type(self._node) is Leaf and not _tape.recording.get()):
            return self._replace(method, arithmetic(name, self, other))
        if type(self._node) is Leaf:
            raise RuntimeError(
                f"Tensor.{method}: a leaf that needs a gradient must not be changed in place (use "
                "no_grad(), or write x = x + y)"
            )
        if getattr(self.data, "base", None) is not None and self._node is not None:
            raise RuntimeError(
                f"Tensor.{method}: a view of a tensor on the tape must not be changed in place, as "
                "the tensor would not change with it (write x = x + y)"
            )
        return arithmetic(name, self, other)

    return operate


def _in_place(method: str, name: str) -> Callable[..., Any]:
    def operate(self: Any, *others: Any, **options: Any) -> Any:
        return self._replace(method, getattr(self.detach(), name)(*others, **options))

    operate.__name__ = operate.__qualname__ = method
    operate.__doc__ = f"Like :meth:`{name}`, written into this tensor."
    return operate


def _method(name: str, about: str, function: Callable[..., Any]) -> None:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = about
    setattr(Tensor, name, function)


def _unary(call: Callable[[str, Any], Any], rule: str) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return call(rule, self)

    return method


def _binary(call: Callable[[str, Any, Any], Any], rule: str) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return call(rule, self, other)

    return method


def _install() -> None:
    for name, rule in METHODS.items():
        _method(name, f"Apply ``{name}`` to each element.", _unary(apply, rule))
    for name, rule in OUTSIDE.items():
        kept = rule in ("floor", "ceil", "rint", "trunc")  # whole numbers are rounded
        call = lambda rule, x, kept=kept: (  # noqa: E731
            x if kept and x.data.dtype.kind not in FLOATS else raw(rule)(x._floating())
        )
        _method(name, f"Apply ``{name}`` to each element.", _unary(call, rule))
    for name, rule in BINARY.items():
        many = apply if rule in ("maximum", "minimum") else arithmetic
        _method(name, f"Apply ``{rule}`` element by element.", _binary(many, rule))
    for name, rule in COMPARED.items():
        _method(name, f"Apply ``{rule}`` element by element.", _binary(compare, rule))
    for name, kind in {"isnan": "NaN", "isinf": "infinite", "isfinite": "finite"}.items():
        ask = lambda name, x: Tensor(getattr(namespace(x.data), name)(x.data))  # noqa: E731
        _method(name, f"Which elements are {kind}.", _unary(ask, name))
    for name, dtype in _NAMES.items():
        _method(name, f"Convert to {dtype}.", _unary(lambda dtype, x: x.to(dtype), dtype))
    for name, function in binary_methods().items():
        function.__name__ = name
        setattr(Tensor, name, function)
    for name in ("add", "sub", "mul", "truediv"):
        rule = {"add": "add", "sub": "subtract"}.get(name) or BINARY.get(name, "divide")
        setattr(Tensor, f"__i{name}__", _augmented(f"__i{name}__", rule))
    for module, names in ELSEWHERE.items():
        for name in names.split():
            setattr(Tensor, name, Elsewhere(module, name))
    for name, other in ALIASES.items():
        method = inspect.getattr_static(Tensor, other, None)
        if method is not None:
            setattr(Tensor, name, method)
    for name in WRITTEN.split():
        setattr(Tensor, f"{name}_", _in_place(f"{name}_", name))


class Handle:
    """Removes a hook."""

    def __init__(self, hooks: list, hook: Callable, other: Handle | None = None) -> None:
        self._hooks, self._hook, self._other = hooks, hook, other
        hooks.append(hook)

    def remove(self) -> None:
        """Remove the hook; calling it again has no effect."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)
        if self._other is not None:
            self._other.remove()

    __call__ = remove

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _moved(x: Any, device: str) -> Any:
    if device == "cpu":
        return to_host(x)
    from .._arrays import require_cuda, to_device

    require_cuda("Tensor.to")
    return to_device(x, "cuda")


_move: _tape.Rule = _tape.Rule(
    "to",
    _moved,
    lambda g, saved, node: _move(g, device="cpu" if node.options["device"] == "cuda" else "cuda"),
)
_install()
connect(Tensor)
_tape.Tensor = Tensor


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of the data.

    Parameters
    ----------
    data : array-like
    dtype : dtype, optional
    requires_grad : bool, default=False

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.tensor([1, 2, 3]).dtype
    dtype('int64')
    """
    made = as_array(data, dtype)
    return Tensor(made.copy() if made is data or getattr(made, "base", None) is not None else made,
                  requires_grad)  # fmt: skip


def as_tensor(value: Any) -> Tensor:
    """A tensor over the value's memory; itself where it is one."""
    return value if isinstance(value, Tensor) else Tensor(value)

complete(globals())
__all__ = ["Tensor", "as_tensor", "common_dtype", "tensor"]
