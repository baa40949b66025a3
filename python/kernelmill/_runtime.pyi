"""Types of the extension module of ``cpp/runtime``."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

active: ContextVar[str | None]

class Dispatch:
    """Runs ``_cpu`` where the first argument is a NumPy array and no backend is set."""

    _cpu: Callable[..., Any] | None
    array_free: bool
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Node:
    """One call of a rule."""

    rule: Any
    parents: Any
    saved: Any
    options: dict[str, Any]
    shape: Any
    hooks: list[Callable] | None
    layer: str | None
    number: int
    def __init__(self, rule: Any, parents: Any, saved: Any, options: dict, shape: Any) -> None: ...

class Rule:
    """Records what ``forward`` makes, or calls the method ``apply``."""

    def __call__(self, *inputs: Any, **options: Any) -> Any: ...

def back(node: Any, gradient: Any, retain_graph: bool, /) -> None: ...
def connect(*parts: Any) -> None: ...
def mark_write() -> int: ...
def next_number() -> int: ...
def watch(anomalies: int, /) -> None: ...
def wrap(array: Any, node: Any, /) -> Any: ...
