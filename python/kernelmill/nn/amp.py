"""Mixed precision, as in ``torch.amp``: ``from kernelmill.nn import amp``.

Inside :class:`autocast` products take and give float16 or bfloat16, and what needs more digits or
range, such as losses and softmax, takes and gives float32. Arithmetic is float32 everywhere, so
what is saved is memory: on a CPU it is no faster. Parameters stay float32, and so do their
gradients.

Small gradients are lost in a format of few exponents, float16. So the loss is multiplied by a large
number before the backward pass, gradients are divided by it before the step, and a step whose
gradients overflowed is skipped (:class:`GradScaler`). bfloat16 has the exponents of float32 and
needs none of this.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import is_cupy
from ..ops import optim as rules
from . import _tape
from ._documents import complete
from ._dtypes import HALF, dtype_of, is_half, widened
from ._tape import Setting, written


class autocast(Setting):
    """Products in 16 bits, all that needs more of them in float32: a context or a decorator.

    It holds for this thread. Backward passes belong outside of it, and ignore it.

    Parameters
    ----------
    device_type : str, default="cpu"
        Ignored; present for compatibility with torch. Tensors are computed where they are.
    dtype : dtype, optional
        float16, the default, or bfloat16 (where ml_dtypes is installed).
    enabled : bool, default=True
        False turns casts off, inside another block too.
    cache_enabled : bool, optional
        Ignored; present for compatibility with torch.

    Raises
    ------
    TypeError
        If dtype is another one.
    ImportError
        With bfloat16, if ml_dtypes is not installed.

    Notes
    -----
    Products are dense layers, convolutions, recurrent layers, attention, ``@`` and einsum. float32
    is taken by exponentials, logarithms and powers, sums, means and norms, softmax, normalisation
    and losses. All else computes in the dtype it is given; of two, in the wider. float64 stays.

    References
    ----------
    Micikevicius et al. (2018), "Mixed precision training".

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer, x = nn.Linear(3, 2), nn.ones(4, 3)
    >>> with nn.amp.autocast():
    ...     y = layer(x)
    ...     loss = (y ** 2).mean()
    >>> y.dtype.name, loss.dtype.name
    ('float16', 'float32')
    >>> loss.backward()
    >>> layer.weight.grad.dtype.name
    'float32'
    """

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        wanted = HALF if dtype is None else dtype_of(dtype)
        if not is_half(wanted):
            raise TypeError(f"amp.autocast: dtype must be float16 or bfloat16, got {wanted}")
        if enabled:
            _tape.use_half()
        super().__init__(_tape.autocast, wanted if enabled else None)


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether :class:`autocast` is on in this thread.

    Parameters
    ----------
    device_type : str, optional
        Ignored; present for compatibility with torch.

    Examples
    --------
    >>> from kernelmill import nn
    >>> with nn.autocast("cpu"):
    ...     nn.is_autocast_enabled()
    True
    """
    return _tape.autocast.get() is not None


def is_autocast_available(device_type: str) -> bool:
    """Whether :class:`autocast` works for tensors of a device: for all of them.

    Parameters
    ----------
    device_type : str

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.amp.is_autocast_available("cpu")
    True
    """
    return device_type in ("cpu", "cuda")


class GradScaler:
    """Scales losses, and skips steps whose gradients are infinite or NaN.

    Works with any dtype and on any device: with float32 it protects training from single batches
    that overflow.

    Parameters
    ----------
    device : str, default="cuda"
        Ignored; present for compatibility with torch. Gradients are read where they are.
    init_scale : float, default=65536.0
        The first scale.
    growth_factor : float, default=2.0
        Factor of the scale after ``growth_interval`` steps in a row without overflow.
    backoff_factor : float, default=0.5
        Factor of the scale after a step that overflowed.
    growth_interval : int, default=2000
        How many steps in a row.
    enabled : bool, default=True
        Without it losses are not scaled and no step is skipped.

    Examples
    --------
    >>> from kernelmill import nn
    >>> w = nn.Parameter([1.0])
    >>> optimizer = nn.optim.SGD([w], lr=0.25)
    >>> scaler = nn.amp.GradScaler(init_scale=1024.0)
    >>> scaler.scale((w * w).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.item(), scaler.get_scale()
    (0.5, 1024.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if not growth_factor > 1.0:
            raise ValueError(f"GradScaler: growth_factor must be above 1, got {growth_factor}")
        if not 0.0 < backoff_factor < 1.0:
            raise ValueError(f"GradScaler: backoff_factor must lie in (0, 1), got {backoff_factor}")
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._growth_tracker = growth_interval, 0
        # For each optimiser since the last update: whether gradients overflowed, and what was done.
        self._overflowed: dict[int, bool] = {}
        self._unscaled: set[int] = set()
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """Multiply a loss, or several, by the scale.

        Parameters
        ----------
        outputs : Tensor or iterable of Tensor

        Returns
        -------
        scaled : Tensor, or list or tuple of Tensor
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(one) for one in outputs)
        return outputs * self._scale

    def _gradients(self, optimizer: Any) -> list[Any]:
        members = [p for group in optimizer.param_groups for p in group["params"]]
        return [p.grad for p in members if p.grad is not None]

    def _check(self, optimizer: Any) -> list[Any]:
        """The gradients, of which it is now known whether one overflowed."""
        gradients = self._gradients(optimizer)
        if not gradients:
            raise ValueError("GradScaler: the optimizer must have gradients, got none")
        if any(g.dtype == np.float16 for g in gradients):
            raise ValueError(
                "GradScaler: gradients must not be float16, got some that are (keep parameters in "
                "float32, and use autocast)"
            )
        arrays = [g.data if is_cupy(g.data) else widened(g.data) for g in gradients]
        largest = rules.norm(arrays, math.inf)
        self._overflowed[id(optimizer)] = not math.isfinite(largest)
        return gradients

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimiser by the scale, in place, to clip them for example.

        Parameters
        ----------
        optimizer : Optimizer

        Raises
        ------
        RuntimeError
            If it was called, or a step was made, since the last :meth:`update`.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._unscaled | self._stepped:
            raise RuntimeError(
                "GradScaler.unscale_: update() must come between two calls for one optimizer, and "
                "after step(), got none"
            )
        gradients = self._check(optimizer)
        for g in gradients:
            g.data = g.data * g.dtype.type(1.0 / self._scale)
        written(gradients)
        self._unscaled.add(id(optimizer))

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Make a step with unscaled gradients, unless one of them is infinite or NaN.

        Parameters
        ----------
        optimizer : Optimizer
        *args, **kwargs
            Handed to its ``step``; a closure is refused.

        Returns
        -------
        result
            What the step returned, or None.

        Raises
        ------
        RuntimeError
            With a closure, or if a step was made since the last :meth:`update`.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise RuntimeError("GradScaler.step: closure must be None, got one")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: update() must come between two steps, got none")
        unscaled = id(optimizer) in self._unscaled
        if not unscaled:
            self._check(optimizer)
        self._stepped.add(id(optimizer))
        if self._overflowed[id(optimizer)]:
            return None
        # The op divides while it reads the gradients.
        return optimizer.step(**kwargs) if unscaled else optimizer.step(
            scale=1.0 / self._scale, **kwargs
        )  # fmt: skip

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the scale to what the steps since the last call met.

        Parameters
        ----------
        new_scale : float or Tensor, optional
            Use this one instead.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflowed:
            raise RuntimeError("GradScaler.update: step() or unscale_() must come first, got none")
        elif any(self._overflowed.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = self._scale * self._growth_factor
                self._scale = grown if grown < 3.4e38 else self._scale  # finite as float32
                self._growth_tracker = 0
        self._overflowed.clear()
        self._unscaled.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale, 1 if not enabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale and its rules under torch's names; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, also one of torch's.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` returned.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: state_dict must not be empty, got {}")
        self._scale = float(state_dict["scale"])
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            setattr(self, f"_{name}", state_dict[name])
        self._growth_tracker = state_dict["_growth_tracker"]


complete(globals())
