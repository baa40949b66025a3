"""The signature of an op, written once: it checks the specification and drives both binders.

    X: T[n,d]|csr, centers: f64[k>=1,d], sample_weight: T[n]? -> sums: f64[k,d], inertia: float

=================  ===============================================================================
``T[n,d]``         an array; `T` is float32 or float64, the same in the whole signature. Other
                   dtypes: ``f32 f64 i32 i64 u8 bool``. A name is one size wherever it stands.
``A[n]``           what T is computed in: T itself. Ops under ``half=True`` take float16 and
                   bfloat16 for T on a GPU, where A is float32; an A of T's dtype is widened there
``k>=1``           that size with a least value
``3``              a size that never changes
``k+1``            one more than k
``p=k|1``          a size p that is k or 1
``r?``             a leading axis that may be missing; results drop it then
``pooled?1:k``     in results: 1 where the argument `pooled` is true, else k
``...|csr``        a SciPy CSR matrix of this shape is accepted as well
``inout T[n]``     updated in place: exact dtype, C-contiguous, writeable, never copied
``host i64[r]``    a table that is read on the host: a NumPy array beside arrays of any device
``float`` ...      ``float``, ``bool``, ``int``, an integer in a range such as ``int[0,2**64)``, or
                   ``T`` for an argument that is the dtype itself
``...?``           may be left out (None)
=================  ===============================================================================

Arguments have the names, the order and the defaults of the specification. Any strides, byte order
and alignment are accepted: a binder copies what its loops cannot read. A size may also be an `int`
argument. What a binder is given is compact (`Signature.encoded`) and says yes or no; the sentence
that refuses an argument is made here, so it is the same on all devices and in the specification.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arrays import is_csr, is_cupy

_DTYPES = {
    "T": "T",
    "A": "A",
    "f32": "float32",
    "f64": "float64",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "bool": "bool",
}
# The binder's letters for element types (those of NumPy where there are some).
_CODES = {
    "T": "T",
    "A": "A",
    "float32": "f",
    "float64": "d",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "bool": "?",
}
HALVES = ("float16", "bfloat16")
_SCALARS = {"float": "d", "int": "q", "bool": "?", "T": "T"}
_ITEM = re.compile(
    r"(?P<name>\w+): (?P<inout>inout )?(?P<host>host )?(?P<type>\w+)"
    r"(?P<bracket>\[[^\])]*[\])])?(?P<csr>\|csr)?(?P<optional>\?)?"
)
_SIZE = re.compile(
    r"(?P<literal>\d+)|(?P<name>[a-zA-Z]\w*)"
    r"(?:>=(?P<least>\d+)|\+(?P<offset>\d+)|=(?P<other>\w+)\|(?P<choice>\d+)"
    r"|\?(?P<true>\d+):(?P<false>\w+)|(?P<leading>\?))?"
)


@dataclass(frozen=True)
class Size:
    """One axis: a literal (no name), or a name and what it must be."""

    name: str = ""
    literal: int = 0  # the size; of `p=k|1` and `pooled?1:k` the 1
    least: int = 0
    offset: int = 0
    other: str = ""  # the k of `p=k|1` and of `pooled?1:k`
    conditional: bool = False  # `pooled?1:k`
    leading: bool = False

    def fits(self, size: int, sizes: dict[str, int]) -> bool:
        """Whether an axis has this size; a name that is new is given it."""
        if not self.name:
            return size == self.literal
        if self.other and size not in (self.literal, sizes[self.other]):
            return False
        return sizes.setdefault(self.name, size - self.offset) == size - self.offset >= self.least

    def text(self, sizes: dict[str, int], other: bool = False) -> str:
        if other and self.other:
            return str(self.literal)
        name = self.other or self.name
        if not name or (name in sizes and not self.leading):
            return str(self.literal if not name else sizes[name] + self.offset)
        return f"{name} + {self.offset}" if self.offset else name


@dataclass(frozen=True)
class Item:
    """One argument or result."""

    name: str
    kind: str  # "array", "float", "int", "bool", "dtype"
    dtype: str = ""
    axes: tuple[Size, ...] = ()
    optional: bool = False
    inout: bool = False
    csr: bool = False
    host: bool = False
    low: int = -(2**63)
    high: int = 2**63 - 1  # included
    interval: str = ""
    default: Any = field(default=inspect.Parameter.empty, compare=False)

    def dtype_beside(self, dtype: str) -> str:
        """The name of the dtype where T stands for another one; empty where that is not known."""
        if self.dtype == "A":
            return "float32" if dtype in HALVES else dtype
        return dtype if self.dtype == "T" else self.dtype

    def described(self, dtype: str, sizes: dict[str, int]) -> str:
        """What the array must be, e.g. ``"float64 of shape (k, 3) with k >= 1"``."""
        name = self.dtype_beside(dtype) or "float32 or float64"
        shapes = [_shape([axis.text(sizes) for axis in self.axes if not axis.leading])]
        if self.axes and self.axes[0].leading:
            shapes.append(_shape([axis.text(sizes) for axis in self.axes]))
        if any(axis.other for axis in self.axes):
            shapes.append(_shape([axis.text(sizes, other=True) for axis in self.axes]))
        least = [f"{a.name} >= {a.least}" for a in self.axes if a.least and a.name not in sizes]
        condition = f" with {' and '.join(least)}" if least else ""
        article = "a writeable C-contiguous array of " if self.inout else ""
        return f"{article}{name} of shape {' or '.join(shapes)}{condition}"


def _shape(sizes: list[str]) -> str:
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _size(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"op: a size must be written as in ops/_signature.py, got {text!r}")
    group = match.groupdict()
    return Size(
        name=group["name"] or "",
        literal=int(group["literal"] or group["choice"] or group["true"] or 0),
        least=int(group["least"] or 0),
        offset=int(group["offset"] or 0),
        other=group["other"] or group["false"] or "",
        conditional=group["true"] is not None,
        leading=group["leading"] is not None,
    )


def _number(text: str) -> int:
    base, _, power = text.strip().partition("**")
    return int(base) ** int(power or 1)


def _item(match: re.Match[str], parameter: inspect.Parameter | None) -> Item:
    group = match.groupdict()
    kind, bracket = group["type"], group["bracket"]
    default = parameter.default if parameter else inspect.Parameter.empty
    if bracket is None and kind in _SCALARS:
        return Item(group["name"], "dtype" if kind == "T" else kind, default=default)
    if bracket is not None and kind == "int":
        low, high = bracket[1:-1].split(",")
        return Item(
            group["name"],
            "int",
            low=_number(low),
            high=_number(high) - (bracket[-1] == ")"),
            interval=f"[{low}, {high}{bracket[-1]}",
            default=default,
        )
    if bracket is None or kind not in _DTYPES or bracket[-1] != "]":
        raise ValueError(f"op: a type must be one of ops/_signature.py, got {match.group()!r}")
    return Item(
        group["name"],
        "array",
        _DTYPES[kind],
        tuple(_size(size) for size in bracket[1:-1].split(",")),
        optional=group["optional"] is not None,
        inout=group["inout"] is not None,
        csr=group["csr"] is not None,
        host=group["host"] is not None,
        default=default,
    )


class Signature:
    """A signature, parsed against the function that it belongs to.

    Parameters
    ----------
    name : str
        ``"family.op"``, for messages.
    text : str
        The signature, see the head of this module.
    function : callable
        The specification: names, order and defaults of the arguments.
    half : bool, default=False
        Whether T may stand for float16 and bfloat16 on a GPU.
    """

    def __init__(
        self, name: str, text: str, function: Callable[..., Any], half: bool = False
    ) -> None:
        self.name, self.text, self.half = name, text, half
        self._parameters = inspect.signature(function)
        left, arrow, right = text.partition(" -> ")
        parameters = self._parameters.parameters
        parsed = []
        for side in (left, right):
            items = [*_ITEM.finditer(side)]
            if not arrow or ", ".join(item.group() for item in items) != side:
                raise ValueError(f"op: the signature of {name} must be well formed, got {side!r}")
            parsed.append(items)
        self.arguments = [_item(match, parameters.get(match["name"])) for match in parsed[0]]
        self.results = [_item(match, None) for match in parsed[1]]
        names = [item.name for item in self.arguments]
        if names != [*parameters]:
            raise ValueError(
                f"op: the signature of {name} must name {', '.join(parameters)}, got "
                f"{', '.join(names)}"
            )

    @property
    def array_free(self) -> bool:
        return not any(item.kind == "array" for item in self.arguments)

    @property
    def takes_csr(self) -> bool:
        return self.arguments[0].csr

    def bind(self, args: tuple, kwargs: dict[str, Any], cuda: bool = False) -> list[Any]:
        """All arguments in order, checked.

        Raises
        ------
        TypeError
            If an argument is missing, unknown or of the wrong kind.
        ValueError
            If a dtype, a shape or a range does not fit.
        """
        try:
            bound = self._parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        dtype = self._dtype_ahead(bound.arguments)
        sizes: dict[str, int] = {}
        rows = [item.name for item in self.arguments if item.csr]
        if len({is_csr(bound.arguments[name]) for name in rows}) > 1:
            raise ValueError(
                f"{self.name}: {' and '.join(rows)} must all be arrays or all be CSR matrices, got "
                "both"
            )
        for item in self.arguments:
            value = bound.arguments[item.name]
            if item.kind == "array":
                if value is not None or not item.optional:
                    dtype = self._check_array(item, value, dtype, sizes, cuda)
            elif item.kind == "dtype":
                dtype = np.dtype(value).name
                if dtype not in ("float32", "float64"):
                    self._refuse(item, "float32 or float64", dtype)
            else:
                sizes[item.name] = self._check_scalar(item, value)
        return [*bound.arguments.values()]

    def _dtype_ahead(self, arguments: dict[str, Any]) -> str:
        """The dtype of T where an A comes before it."""
        arrays = [item for item in self.arguments if item.dtype in ("T", "A")]
        if not arrays or arrays[0].dtype == "T":
            return ""
        given = getattr(next(arguments[i.name] for i in arrays if i.dtype == "T"), "dtype", "")
        return str(given) if str(given) in ("float32", "float64", *HALVES) else ""

    def refuse(self, cuda: bool, *args: Any, **kwargs: Any) -> None:
        """Raise the error for arguments that a binder did not accept."""
        self.bind(args, kwargs, cuda)
        raise RuntimeError(f"{self.name}: arguments must fit {self.text!r}, got others")

    def checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The specification, which checks its arguments first; CSR matrices become dense."""

        @functools.wraps(function)
        def specification(*args: Any, **kwargs: Any) -> Any:
            values = self.bind(args, kwargs)
            for i, item in enumerate(self.arguments):
                if item.csr and is_csr(values[i]):
                    # Repeated columns add up in float64, as in the compiled loops.
                    values[i] = values[i].astype(np.float64).toarray().astype(values[i].dtype)
            return function(*values)

        return specification

    def encoded(self) -> tuple[list[tuple], list[tuple]]:
        """The same for a binder; names of sizes become numbers."""
        slots: dict[str, int] = {}

        def slot(name: str) -> int:
            return slots.setdefault(name, len(slots)) if name else -1

        def axis(a: Size) -> tuple:
            return slot(a.name), slot(a.other), a.conditional, a.literal, a.least, a.offset

        def code(item: Item) -> str:
            if item.kind == "array":
                return _CODES[item.dtype]
            return "T" if item.kind == "dtype" else _SCALARS[item.kind]

        def encode(item: Item) -> tuple:
            leading = bool(item.axes) and item.axes[0].leading
            flags = item.kind == "array", item.optional, item.inout, item.csr, leading, item.host
            scalar = slot(item.name) if item.kind in ("int", "bool") else -1
            default = None if item.default is inspect.Parameter.empty else item.default
            required = item.default is inspect.Parameter.empty
            axes = [axis(a) for a in item.axes]
            bounds = item.low, item.high
            return item.name, code(item), flags, axes, scalar, *bounds, required, default

        return [encode(a) for a in self.arguments], [encode(r) for r in self.results]

    def _refuse(self, item: Item, want: str, got: str) -> None:
        raise ValueError(f"{self.name}: {item.name} must be {want}, got {got}")

    def _check_array(
        self, item: Item, value: Any, dtype: str, sizes: dict[str, int], cuda: bool
    ) -> str:
        """Checks one array; the dtype that T stands for from here on."""
        if item.csr and is_csr(value) and not cuda:
            self._check_csr(item, value)
        elif not (is_cupy(value) if cuda else _is_ndarray(value)) and not (
            item.host and _is_ndarray(value)
        ):
            kind = "CuPy" if cuda else "NumPy"
            hint = "move it with cupy.asarray" if cuda else "convert it with numpy.asarray"
            also = " or a SciPy CSR matrix" if item.csr and not cuda else ""
            raise TypeError(
                f"{self.name}: {item.name} must be a {kind} array{also}, got "
                f"{type(value).__name__} ({hint})"
            )
        shape, got = tuple(value.shape), str(value.dtype.newbyteorder("="))
        known = "float32", "float64", *(HALVES if cuda and self.half else ())
        want = item.dtype_beside(dtype) or (got if got in known else " or ".join(known))
        if item.dtype == "A" and got == dtype:
            want = got  # it is widened
        axes = item.axes
        now = dict(sizes)
        if axes and axes[0].leading and len(shape) == len(axes) - 1:
            axes = axes[1:]
        fits = got == want and len(shape) == len(axes)
        fits = fits and all(a.fits(s, now) for a, s in zip(axes, shape, strict=True))
        given = f"{value.dtype} of shape {shape}"
        if fits and item.inout:
            flags = value.flags
            fits = flags.c_contiguous and getattr(flags, "writeable", True)
            fits = fits and value.dtype.isnative and getattr(flags, "aligned", True)
            if not flags.c_contiguous:
                given += " that is not C-contiguous"
            elif not fits:
                given += " that is read-only, byte-swapped or unaligned"
        if not fits:
            self._refuse(item, item.described(dtype or " or ".join(known), sizes), given)
        sizes |= now
        return want if item.dtype == "T" else dtype

    def _check_csr(self, item: Item, X: Any) -> None:
        begins, columns, (n, d) = X.indptr, X.indices, X.shape
        stored = len(X.data)
        if len(columns) != stored:
            problem = f".indices must be as long as its data, got {len(columns)} and {stored}"
        elif len(begins) != n + 1 or begins[0] != 0 or begins[-1] != stored:
            problem = f".indptr must run from 0 to {stored} in {n} steps"
        elif (np.diff(begins) < 0).any():
            problem = f".indptr must never fall, got a fall at row {np.diff(begins).argmin()}"
        elif stored and not (columns.min() >= 0 and columns.max() < d):
            problem = f".indices must lie in [0, {d}), got {columns.min()} to {columns.max()}"
        else:
            return
        raise ValueError(f"{self.name}: {item.name}{problem}")

    def _check_scalar(self, item: Item, value: Any) -> int:
        if item.kind == "bool":
            return int(bool(value))
        try:
            number = float(value) if item.kind == "float" else value.__index__()
        except (TypeError, ValueError, AttributeError):
            want = "a number" if item.kind == "float" else "an integer"
            raise TypeError(
                f"{self.name}: {item.name} must be {want}, got {type(value).__name__}"
            ) from None
        if item.kind == "int" and not item.low <= number <= item.high:
            self._refuse(item, f"in {item.interval or '[-2**63, 2**63)'}", str(number))
        return int(number) if item.kind == "int" else 0


def _is_ndarray(value: Any) -> bool:
    return isinstance(value, np.ndarray)
