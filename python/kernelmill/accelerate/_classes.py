"""Subclasses of other libraries' classes, whose methods run here where they can.

``_classes.KMeans`` is made when it is first asked for, so that a pickle finds it by its name in any
process that has this package, accelerated or not.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABCMeta
from types import FunctionType
from typing import Any

from kernelmill.accelerate import _dispatch, _switch
from kernelmill.accelerate._table import Entry, entries

# What functions of scikit-learn ask of models, though it is private: `partial_dependence` a method,
# `kneighbors_graph` and `radius_neighbors_graph` the rows.
_HOOKS = ("_compute_partial_dependence_recursion", "_fit_X")


def __getattr__(name: str) -> Any:
    if name in entries():
        return replacement(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def replacement(name: str) -> Any:
    """The subclass of their class of this name."""
    made = globals().get(name)
    if made is None:
        entry = entries()[name]
        made = globals()[name] = _made(entry, _switch.original(entry))
    return made


def _about_parameters(name: str) -> bool:
    routing = name.startswith("set_") or name == "get_metadata_routing"
    return routing or name in {"get_params", "register"}


def _method(entry: Entry, owner: list[Any], theirs: Any, name: str) -> Any:
    """A method that runs here or there; theirs says whether it exists at all."""
    from sklearn.utils.metaestimators import available_if

    @functools.wraps(getattr(theirs, name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = _dispatch.run(entry, owner[0], self, name, args, kwargs)
        return result if scores else _dispatch.number(result)

    # Accuracy and R^2 are Python's floats there.
    scores = getattr(theirs, name).__qualname__ in ("ClassifierMixin.score", "RegressorMixin.score")
    if isinstance(inspect.getattr_static(theirs, name), FunctionType):
        return method
    return available_if(lambda self: hasattr(super(owner[0], self), name))(method)


def _attribute(theirs: Any, name: str) -> property:
    """A property of theirs, which our model answers where there is one."""
    static = inspect.getattr_static(theirs, name)

    def get(self: Any) -> Any:
        model = _dispatch.model_of(self)
        if model is None:
            return static.__get__(self, type(self))
        return _dispatch.number(getattr(model, name))

    return property(get, static.fset, static.fdel, static.__doc__)


class Replaced(ABCMeta):
    """Of the replacements: objects of their class are objects of the replacement too.

    Code that asks has the replacement under their name; what it asks about may be older, or made
    inside their library. A class of this module, so that workers find it by its name.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        if globals().get(cls.__name__) is cls:
            return cls.__mro__[1] in type(instance).__mro__
        return bool(super().__instancecheck__(instance))

    def __subclasscheck__(cls, other: Any) -> bool:
        if globals().get(cls.__name__) is cls:
            return cls.__mro__[1] in other.__mro__  # ABCMeta would ask this class again
        return bool(super().__subclasscheck__(other))


def _made(entry: Entry, theirs: Any) -> Any:
    owner: list[Any] = []

    def __getattr__(self: Any, name: str) -> Any:
        model = _dispatch.model_of(self)
        public = name.endswith("_") and not name.startswith("_")
        if model is not None and (public or name in _HOOKS):
            return _dispatch.number(getattr(model, name))
        static = inspect.getattr_static(theirs, name, None)
        if isinstance(static, property):  # it raised AttributeError, with the better words
            return static.__get__(self, type(self))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self: Any, name: str, value: Any) -> None:
        theirs.__setattr__(self, name, value)
        if name.endswith("_") and not name.startswith("_"):
            _dispatch.assign(entry, self, name, value)

    body: dict[str, Any] = {
        "__doc__": theirs.__doc__,
        "__module__": __name__,
        "__getattr__": __getattr__,
        "__setattr__": __setattr__,
    }
    for name in dir(theirs):
        if (name.startswith("_") and name not in _HOOKS) or _about_parameters(name):
            continue
        static = inspect.getattr_static(theirs, name)
        if isinstance(static, property):
            body[name] = _attribute(theirs, name)
        elif callable(getattr(theirs, name)) and not isinstance(
            static, staticmethod | classmethod | type
        ):
            body[name] = _method(entry, owner, theirs, name)
    # `transform` may be in the body: wrappers of set_output are put around it as around theirs.
    made = Replaced(entry.name, (theirs,), body)
    owner.append(made)
    return made
