"""Docstrings in numpydoc's form: what many functions say of an argument is written once.

A module or class has a table of `Words`, and `complete` adds to a docstring what it lacks. What the
docstring says itself is kept. `help` shows all of it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, ClassVar, NamedTuple

_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)
_NONE = inspect.Parameter.empty
_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def sections(text: str) -> dict[str, str]:
    """A docstring by its headings; what comes first is under ``""``."""
    if "\n" not in text:
        return {"": text.strip()}
    parts = _HEADING.split(inspect.cleandoc(text))
    found = {"": parts[0].strip()}
    found.update((k, v.strip("\n")) for k, v in zip(parts[1::2], parts[2::2], strict=True))
    return found


def entries(section: str) -> dict[str, str]:
    """The entries of a section of parameters, by the names at their head."""
    found: dict[str, str] = {}
    head = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            head = line.partition(" : ")[0]
            found[head] = line
        elif head:
            found[head] += "\n" + line
    return {name: entry.rstrip() for name, entry in found.items()}


def assembled(parts: dict[str, str]) -> str:
    """A docstring from its sections, in numpydoc's order."""
    first = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
    order = dict.fromkeys((*first, *(name for name in parts if name != "Examples"), "Examples"))
    lines = [parts[""]]
    lines += [f"{k}\n{'-' * len(k)}\n{parts[k]}" for k in order if k and parts.get(k)]
    return "\n\n".join(lines) + "\n"


def wrapped(text: str) -> str:
    """A description, indented."""
    return textwrap.fill(text, 92, initial_indent="    ", subsequent_indent="    ")


def _default(value: Any, kind: str) -> str:
    if value is _NONE or kind == "ignored":
        return ""
    if value is None:
        return ", optional"
    return f', default="{value}"' if isinstance(value, str) else f", default={value}"


def arguments_of(function: Any) -> list[tuple[str, Any]]:
    """Arguments, with stars, and their defaults; four times as fast as ``inspect.signature``."""
    made: Any = function
    if isinstance(function, type):
        made = getattr(function, "__init__")  # noqa: B009
    code = getattr(made, "__code__", None)
    if code is None or hasattr(function, "__signature__") or hasattr(made, "__wrapped__"):
        return listed(inspect.signature(function).parameters.values())
    n, names, flags = code.co_argcount, code.co_varnames, code.co_flags
    more = n + code.co_kwonlyargcount
    defaults = made.__defaults__ or ()
    found = [(a, _NONE) for a in names[: n - len(defaults)]]
    found += zip(names[n - len(defaults) : n], defaults, strict=True)
    if flags & inspect.CO_VARARGS:
        found.append((f"*{names[more]}", _NONE))
    found += [(a, (made.__kwdefaults__ or {}).get(a, _NONE)) for a in names[n:more]]
    if flags & inspect.CO_VARKEYWORDS:
        found.append((f"**{names[more + bool(flags & inspect.CO_VARARGS)]}", _NONE))
    return found


def listed(chosen: Iterable[inspect.Parameter]) -> list[tuple[str, Any]]:
    return [(_STARS.get(p.kind, "") + p.name, p.default) for p in chosen]


def parameters(
    name: str, taken: list[tuple[str, Any]], section: str, words: Mapping[str, tuple[str, str]]
) -> str:
    """A section of parameters: the docstring's own entries, and those of a table.

    Parameters
    ----------
    words : dict
        Type and meaning of an argument, by ``function.argument`` or ``argument``.
    """
    own = entries(section)
    heads = {one: head for head in own for one in head.split(", ")}
    lines: list[str] = []
    for key, default in taken:
        if key in ("self", "cls"):
            continue
        known = words.get(f"{name}.{key}") or words.get(key)
        head = heads.get(key)
        entry = "" if head is None else own[head]
        if known and "\n" not in entry:  # each of several arguments has a meaning of its own
            kind = entry.partition(" : ")[2] or known[0] + _default(default, known[0])
            lines.append(f"{key} : {kind}".removesuffix(" : ") + f"\n{wrapped(known[1])}")
        elif entry and entry not in lines:
            lines.append(entry)
    return "\n".join(lines)


class Words(NamedTuple):
    """What the functions and classes of a family have in common.

    Attributes
    ----------
    arguments : dict
        Type and meaning of arguments of functions and methods, by ``argument`` or
        ``function.argument``.
    parameters : dict
        The same for constructors, by ``parameter`` or ``Class.parameter``.
    attributes : dict
        The same for attributes. A docstring lists those that it leaves to the table in one line.
    raises : dict
        What methods but ``fit`` raise, by ``function.argument`` or ``argument``.
    """

    arguments: Mapping[str, tuple[str, str]] = {}
    parameters: Mapping[str, tuple[str, str]] = {}
    attributes: Mapping[str, tuple[str, str]] = {}
    raises: Mapping[str, str] = {}

    def extended(self, **more: Mapping) -> Words:
        """These and others, which go before."""
        return self._replace(**{name: {**getattr(self, name), **more[name]} for name in more})


class Documented:
    """Base of classes whose docstrings are completed."""

    _words: ClassVar[Words] = Words()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("kernelmill."):
            complete(cls, cls._words)


def complete(value: Any, words: Words, owner: str = "estimator") -> None:
    """Complete the docstring of a function or class, and those of the methods of the class."""
    if isinstance(value, type):
        for name, member in list(vars(value).items()):
            function = getattr(member, "__func__", member)
            if name[0] != "_" and isinstance(function, FunctionType):
                complete(function, words, owner if value.__name__[0] == "_" else value.__name__)
    if not value.__doc__:
        return
    is_class, name, parts = isinstance(value, type), value.__name__, sections(value.__doc__)
    taken, table = arguments_of(value), words.parameters if is_class else words.arguments
    if not is_class or "Parameters" in parts:  # not in a base
        parts["Parameters"] = parameters(name, taken, parts.get("Parameters", ""), table)
    if is_class:
        lines = parts.get("Attributes", "").splitlines()
        parts["Attributes"] = "\n".join(_attributes(line, words.attributes) for line in lines)
    elif name in ("fit", "partial_fit") and "Returns" not in parts:
        parts["Returns"] = f"self : {owner}\n    The fitted model."
    elif "fit" not in name:
        raised = entries(parts.get("Raises", ""))
        for key, _ in taken:
            known = words.raises.get(f"{name}.{key}") or words.raises.get(key, "")
            raised = {**entries(known), **raised}
        parts["Raises"] = "\n".join(raised.values())
    value.__doc__ = assembled(parts)


def _attributes(line: str, words: Mapping[str, tuple[str, str]]) -> str:
    names = line.split(", ")
    if not all(name in words for name in names):
        return line
    return "\n".join(f"{name} : {words[name][0]}\n{wrapped(words[name][1])}" for name in names)
