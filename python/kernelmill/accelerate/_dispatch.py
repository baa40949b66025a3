"""One call of a replaced class: here if it can, there if not, and recorded either way."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kernelmill.accelerate import _records, _switch
from kernelmill.accelerate._table import Entry, defaults, entries, parameters

_MODEL = "_kernelmill_model"  # in the __dict__ of an estimator that was fitted here
_GIVEN = "_kernelmill_parameters"  # the values of their parameters that the model has
_ASSIGNED = "_kernelmill_assigned"  # fitted attributes that the user assigned
_CALLBACKS = "_skl_callbacks"  # where scikit-learn's protocol keeps them; they watch theirs
_BY_FEATURE = ("emissionprob_", "means_posterior_", "means_", "lambdas_")  # of hmmlearn
_inside = threading.local()


def model_of(estimator: Any) -> Any:
    """Our fitted model inside an estimator, or None."""
    return vars(estimator).get(_MODEL)


@contextmanager
def _theirs(estimator: Any) -> Iterator[None]:
    """Calls of the estimator's methods in this block are part of one call of theirs."""
    busy = _inside.__dict__.setdefault("busy", [])
    busy.append(id(estimator))
    try:
        yield
    finally:
        busy.pop()


def _is_inside(estimator: Any) -> bool:
    return id(estimator) in _inside.__dict__.get("busy", ())


@functools.cache
def _overridden(cls: Any, owner: Any) -> str:
    """A name of their class, besides ``fit``, that a subclass defines anew."""
    theirs = owner.__mro__[1]
    for above in cls.__mro__[: cls.__mro__.index(owner)]:
        for name in vars(above):
            ours = name.startswith(("__", "_abc_", "_sklearn_", "set_")) or name == "fit"
            if not ours and hasattr(theirs, name):
                return name
    return ""


def _values(estimator: Any, owner: Any) -> dict[str, Any]:
    return {name: getattr(estimator, name) for name in defaults(owner.__mro__[1])}


def _translated(value: Any) -> Any:
    """A parameter's value; an unfitted replacement becomes our estimator."""
    cls: Any = type(value)
    if cls.__module__ == "kernelmill.accelerate._classes" and model_of(value) is None:
        entry = entries()[cls.__name__]
        given, reason = parameters(entry, cls.__mro__[1], _values(value, cls))
        return value if reason else entry.ours()(**given)
    return value


def _prepared(entry: Entry, owner: Any, estimator: Any) -> tuple[dict[str, Any], str]:
    """Our parameters, and why the call cannot run here."""
    if _switch.is_stopped():
        return {}, "kernelmill.accelerate was stopped"
    cls: Any = type(estimator)
    if cls is not owner and (name := _overridden(cls, owner)):
        return {}, f"{cls.__name__} overrides {name}"
    if vars(estimator).get(_CALLBACKS):
        return {}, "callbacks are set, which watch the estimator itself"
    try:
        values = _values(estimator, owner)
    except AttributeError as error:
        return {}, f"a parameter is missing: {error}"
    return parameters(entry, owner.__mro__[1], values)


def _synchronised(owner: Any, estimator: Any, model: Any) -> Any:
    """The model after the user changed parameters of the estimator."""
    before = vars(estimator)[_GIVEN]
    for name, value in _values(estimator, owner).items():
        if name in before and value is not before[name]:
            setattr(model, name, _translated(value))
            before[name] = value
    return model


def _new_model(entry: Entry, estimator: Any, given: dict[str, Any]) -> Any:
    model = entry.ours()(**{name: _translated(value) for name, value in given.items()})
    for name, value in vars(estimator).get(_ASSIGNED, {}).items():
        setattr(model, name, value)
    return model


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def number(value: Any) -> Any:
    """A float as NumPy's, which is a float too: theirs are, and scripts call their ``round()``."""
    return np.float64(value) if type(value) is float else value


def _adopt(entry: Entry, estimator: Any, owner: Any, model: Any, given: dict[str, Any]) -> None:
    """Hand our fitted attributes to the estimator; properties stay with the model."""
    own = vars(estimator)
    found = {name: value for name, value in vars(model).items() if _is_fitted_name(name)}
    for name in [n for n in own if _is_fitted_name(n) and n not in found]:
        del own[name]
    for name, value in found.items():
        if not isinstance(inspect.getattr_static(owner, name, None), property):
            own[name] = number(value)
    own[_MODEL], own[_GIVEN] = model, dict(given)
    if entry.assigned:  # hmmlearn's fits set this parameter, or an attribute that none declares
        arrays = (vars(model)[name] for name in _BY_FEATURE if name in vars(model))
        own["n_features"] = next(array.shape[-1] for array in arrays)


def assign(entry: Entry, estimator: Any, name: str, value: Any) -> None:
    """A fitted attribute was assigned: the model gets it too."""
    if _is_inside(estimator):
        return
    model = model_of(estimator)
    if model is not None:
        setattr(model, name, value)
    if entry.assigned and name != "monitor_":
        vars(estimator).setdefault(_ASSIGNED, {})[name] = value


def _random_state(estimator: Any) -> Any:
    """A function that puts a generator given as random_state back to where it is now."""
    generator = getattr(estimator, "random_state", None)
    if isinstance(generator, np.random.RandomState):
        state = generator.get_state()
        return lambda: generator.set_state(state)
    return lambda: None


def run(
    entry: Entry,
    owner: Any,
    estimator: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a method of a replaced class.

    Parameters
    ----------
    entry : Entry
        The class.
    owner : type
        The replacement, which the type of the estimator is or derives from.
    estimator : object
        ``self``.
    name : str
        The method.
    args, kwargs : tuple, dict
        What it was called with.
    """
    theirs = getattr(super(owner, estimator), name)
    fits = name.startswith("fit") or name == "partial_fit"
    passes_on = name != "fit" and fits and type(estimator).fit is not owner.fit
    if _is_inside(estimator) or passes_on:
        return theirs(*args, **kwargs)
    label = f"{type(estimator).__name__}.{name}"
    given: dict[str, Any] = {}
    model, reason = model_of(estimator), ""
    if fits or (model is None and vars(estimator).get(_ASSIGNED)):
        given, reason = _prepared(entry, owner, estimator)
        goes_on = name == "partial_fit" or getattr(estimator, "warm_start", False) is True
        own = vars(estimator)
        if not reason and goes_on and model is None and "n_features_in_" in own:
            reason = f"begun by {entry.library}"
        elif not reason and goes_on and model is None and any(map(_is_fitted_name, own)):
            reason = "it goes on from attributes that were assigned before a fit"
        elif not reason and not (model is not None and (goes_on or entry.assigned)):
            goes_on, restore = False, _random_state(estimator)
    elif model is None:
        reason = f"not fitted by KernelMill but by {entry.library}"
    else:
        given, goes_on = vars(estimator)[_GIVEN], True
    if not reason:
        try:
            return _run_here(owner, entry, estimator, model if goes_on else None, given, label,
                             name, args, kwargs, fits)  # fmt: skip
        except Warning:  # made an error by the user
            raise
        except Exception as error:
            if goes_on or not (fits or entry.assigned):
                raise
            reason = f"{type(error).__name__}: {error}"
            restore()
    return _run_there(entry, estimator, theirs, reason, label, args, kwargs, fits)


def _run_here(
    owner: Any,
    entry: Entry,
    estimator: Any,
    model: Any,
    given: dict[str, Any],
    label: str,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    fits: bool,
) -> Any:
    began = time.perf_counter()
    if model is None:
        model = _new_model(entry, estimator, given)
    else:
        _synchronised(owner, estimator, model)
    method = getattr(model, name, None)
    if method is None:
        raise NotImplementedError(
            f"{label}: the model was fitted by KernelMill, which lacks this method "
            f"(call kernelmill.accelerate.stop() before fit)"
        )
    result = method(*args, **kwargs)
    if fits or result is model or model_of(estimator) is None:
        _adopt(entry, estimator, owner, model, given)
    seconds = time.perf_counter() - began
    _records.record(_records.Call(label, "kernelmill", "", seconds, _records.shape_of(args)))
    return estimator if result is model else result


def _run_there(
    entry: Entry,
    estimator: Any,
    theirs: Any,
    reason: str,
    label: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    fits: bool,
) -> Any:
    own = vars(estimator)
    before = dict(own)
    if fits and own.pop(_MODEL, None) is not None:
        del own[_GIVEN]
        for name in [n for n in own if _is_fitted_name(n)]:
            del own[name]
    began = time.perf_counter()
    try:
        with _theirs(estimator):
            result = theirs(*args, **kwargs)
    except BaseException:
        if _MODEL in before:
            own.clear()
            own.update(before)
        raise
    seconds = time.perf_counter() - began
    shape = _records.shape_of(args)
    _records.record(_records.Call(label, entry.library, reason, seconds, shape))
    return result
