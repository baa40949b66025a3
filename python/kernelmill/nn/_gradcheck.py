"""Gradients against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import beside, namespace, to_host
from ._backward import grad
from ._documents import complete
from ._tape import enable_grad, is_grad_enabled, no_grad
from ._tensor import Tensor


def _listed(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _differences(function: Callable, inputs: list[Any], which: int, eps: float) -> list[np.ndarray]:
    """The Jacobian of each output by central differences, (inputs, outputs)."""
    x = inputs[which].data
    rows: list[list[np.ndarray]] = []
    with no_grad():
        for index in np.ndindex(x.shape):
            sides = []
            for step in (eps, -eps):
                moved = x.copy()
                moved[index] += step
                args = [Tensor(moved) if i == which else v for i, v in enumerate(inputs)]
                found = [to_host(o.data) for o in _listed(function(*args))]
                sides.append([np.array(o, dtype=np.float64) for o in found])
            rows.append([(a - b).ravel() / (2 * eps) for a, b in zip(*sides, strict=True)])
    return [np.array([row[k] for row in rows]) for k in range(len(rows[0]))] if rows else []


def _weighted(output: Tensor, inputs: list[Tensor], weight: np.ndarray) -> list[np.ndarray]:
    """Gradients of the weighted sum of an output, as vectors."""
    weights = Tensor(beside(np.asarray(weight, output.dtype), output.data))
    found = grad(output, inputs, weights, retain_graph=True, allow_unused=True)
    return [
        np.zeros(v.numel()) if g is None else to_host(g.data).ravel()
        for v, g in zip(inputs, found, strict=True)
    ]


def _by_the_tape(output: Tensor, inputs: list[Tensor]) -> list[np.ndarray]:
    """The Jacobian by each input, (inputs, outputs): one pass back for each entry of the output."""
    entries = np.eye(output.numel()).reshape(output.numel(), *output.shape)
    rows = [_weighted(output, inputs, entry) for entry in entries]
    return [
        np.array([row[i] for row in rows]).reshape(len(rows), v.numel()).T
        for i, v in enumerate(inputs)
    ]


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether gradients equal central differences.

    Parameters
    ----------
    function : callable
        Takes the inputs, gives a tensor or a tuple of them.
    inputs : Tensor or tuple
        Those that need a gradient are checked; they should be float64.
    eps : float, default=1e-6
        Step of the differences.
    atol, rtol : float
        Tolerances.
    raise_exception : bool, default=True
        Raise where they differ, instead of returning False.

    Raises
    ------
    RuntimeError
        If a gradient differs: it names the input and the output. Outputs that need no gradient are
        not compared, but where none needs one they must not change.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> x = nn.Tensor(np.array([0.5, 2.0]), requires_grad=True)
    >>> nn.gradcheck(lambda x: x.tanh(), x)
    True
    """
    given = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    checked = [i for i, v in enumerate(given) if isinstance(v, Tensor) and v.requires_grad]
    if not checked:
        raise ValueError("nn.gradcheck: an input must need a gradient, got none that does")
    for i in checked:
        if given[i].dtype != np.float64:
            raise ValueError(
                f"nn.gradcheck: inputs must be float64, got {given[i].dtype} for input {i} "
                "(differences of float32 have no digits left)"
            )
    with enable_grad():
        results = _listed(function(*given))
    outputs = {k: o for k, o in enumerate(results) if o.requires_grad}
    wanted = [given[i] for i in checked]
    tape = {k: _by_the_tape(output, wanted) for k, output in outputs.items()}
    for place, i in enumerate(checked):
        numeric = _differences(function, given, i, eps)
        moved = [k for k, found in enumerate(numeric) if not np.allclose(found, 0, rtol, atol)]
        if moved and not outputs:
            if not raise_exception:
                return False
            raise RuntimeError(
                "nn.gradcheck: an output must need a gradient where the inputs change any, got "
                f"none that does and output {moved[0]} changed by input {i}"
            )
        for k, output in outputs.items():
            analytic = tape[k][place]
            if numeric and not np.allclose(analytic, numeric[k], rtol=rtol, atol=atol):
                if not raise_exception:
                    return False
                worst = np.abs(analytic - numeric[k]).max()
                raise RuntimeError(
                    f"nn.gradcheck: gradients must equal differences, got output {k} by input {i} "
                    f"that differ by up to {worst:.3g}\nby the tape:\n{analytic}\n"
                    f"by differences:\n{numeric[k]}"
                )
            # Above, all inputs were asked for at once; operations may go another way for one.
            mix = np.random.default_rng(i).normal(size=output.numel())
            (alone,) = _weighted(output, [given[i]], mix.reshape(output.shape))
            off, scale = np.abs(alone - analytic @ mix), np.abs(analytic) @ np.abs(mix)
            if not (off <= atol + rtol * scale).all():
                if not raise_exception:
                    return False
                raise RuntimeError(
                    f"nn.gradcheck: gradients of one input must equal those of all, got output {k} "
                    f"by input {i} that differ by up to {off.max():.3g}"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of gradients equal central differences (see :func:`gradcheck`).

    Parameters
    ----------
    function : callable
        Takes the inputs, gives a tensor or a tuple of them.
    inputs : Tensor or tuple
        Those that need a gradient are checked; they should be float64.
    grad_outputs : Tensor or tuple of Tensor, optional
        Weights of the outputs; random ones by default.
    eps : float, default=1e-6
        Step of the differences.
    atol, rtol : float
        Tolerances.
    raise_exception : bool, default=True
        Raise where they differ, instead of returning False.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> x = nn.Tensor(np.array([0.5, 2.0]), requires_grad=True)
    >>> nn.gradgradcheck(lambda x: x.tanh(), x)
    True
    """
    given = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    places = [i for i, v in enumerate(given) if isinstance(v, Tensor) and v.requires_grad]
    with enable_grad():
        outputs = [o for o in _listed(function(*given)) if o.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        drawn = [rng.normal(size=o.shape).astype(o.dtype) for o in outputs]
        weights = [Tensor(beside(w, o.data), True) for w, o in zip(drawn, outputs, strict=True)]
    else:
        weights = _listed(grad_outputs)

    def first(*args: Any) -> Any:
        kept = is_grad_enabled()  # not where only numbers are wanted, for differences
        values, factors = list(args[: len(given)]), list(args[len(given) :])
        for i in places:  # differences are taken with inputs that need nothing themselves
            if not values[i].requires_grad:
                values[i] = Tensor(values[i].data, True)
        with enable_grad():
            results = [o for o in _listed(function(*values)) if o.requires_grad]
            found = grad(results, [values[i] for i in places], factors, create_graph=kept,
                         allow_unused=True)  # fmt: skip
        return tuple(
            Tensor(namespace(values[i].data).zeros_like(values[i].data)) if g is None else g
            for i, g in zip(places, found, strict=True)
        )

    return gradcheck(first, (*given, *weights), eps, atol, rtol, raise_exception)


complete(globals())
