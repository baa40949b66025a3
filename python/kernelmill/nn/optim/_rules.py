"""First-order optimisers: each one is a rule of :mod:`kernelmill.ops.optim_table`.

All accept torch's ``foreach``, ``fused`` and ``capturable``, which choose among torch's
implementations, and ignore them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._documents import complete
from .._elementwise import widened
from ._optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    Parameters
    ----------
    momentum, dampening : float, default=0
        The momentum is ``momentum`` times itself plus ``1 - dampening`` times the gradient; at the
        first step it is the gradient.
    nesterov : bool, default=False
        Look ahead along the momentum; needs momentum and no dampening.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> w = nn.Parameter(np.array([1.0]))
    >>> optimizer = nn.optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.5
    """

    _rule = "sgd"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "momentum": momentum, "dampening": dampening,
                  "weight_decay": weight_decay, "nesterov": nesterov,
                  "maximize": maximize}  # fmt: skip
        right = not nesterov or (momentum > 0 and dampening == 0)
        self._check(
            chosen, "momentum", torch=torch,
            nesterov=(right, "come with a positive momentum and no dampening"),
        )  # fmt: skip
        super().__init__(params, chosen)

    def _kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _counted(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, float]:
        return {"step": 1.0 if state.get("momentum_buffer") is None else 2.0}


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of squared gradients (Duchi et al. 2011).

    Parameters
    ----------
    lr_decay : float, default=0
        Step t has the learning rate ``lr / (1 + (t - 1) * lr_decay)``.
    initial_accumulator_value : float, default=0
        Where the sum begins.
    eps : float, default=1e-10
        Added to the root.
    """

    _rule = "adagrad"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                  "initial_accumulator_value": initial_accumulator_value,
                  "maximize": maximize}  # fmt: skip
        self._check(chosen, "lr_decay", "initial_accumulator_value", torch=torch)
        super().__init__(params, chosen)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; their sums of squares start too.

        Parameters
        ----------
        param_group : dict
            Parameters under ``"params"``, and options.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            first = np.full_like(
                widened(p.data), group["initial_accumulator_value"], order="C"
            )
            self.state[p] = {"step": 0.0, "sum": first}


class RMSprop(Optimizer):
    """Steps divided by a moving root mean square of the gradients (Tieleman and Hinton 2012).

    Parameters
    ----------
    alpha : float, default=0.99
        Decay of the mean of squares.
    eps : float, default=1e-8
        Added to the root.
    momentum : float, default=0
        Momentum of the steps; 0 keeps none.
    centered : bool, default=False
        Divide by the deviation from the mean gradient.
    """

    _rule = "rmsprop"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                  "weight_decay": weight_decay, "maximize": maximize}  # fmt: skip
        self._check(chosen, "alpha", "momentum", torch=torch)
        super().__init__(params, chosen)

    def _kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        more = ("momentum_buffer",) if group["momentum"] else ()
        return ("square_avg", *more, *(("grad_avg",) if group["centered"] else ()))


class Adadelta(Optimizer):
    """Steps in units of earlier steps (Zeiler 2012).

    Parameters
    ----------
    lr : float, default=1.0
        Factor of the steps.
    rho : float, default=0.9
        Decay of the means of squares.
    eps : float, default=1e-6
        Added under the roots.
    """

    _rule = "adadelta"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                  "maximize": maximize}  # fmt: skip
        self._check(chosen, torch=torch, rho=(0 <= rho <= 1, "lie in [0, 1]"))
        super().__init__(params, chosen)


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015).

    Parameters
    ----------
    betas : tuple of float, default=(0.9, 0.999)
        Decay of the first and the second moment.
    eps : float, default=1e-8
        Added to the root of the corrected second moment.
    weight_decay : float, default=0
        Added times the parameter to the gradient; with ``decoupled_weight_decay`` the parameter is
        multiplied by ``1 - lr * weight_decay`` instead.
    amsgrad : bool, default=False
        Divide by the largest second moment so far.
    decoupled_weight_decay : bool, default=False
        As in `AdamW`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> w = nn.Parameter(np.array([1.0]))
    >>> optimizer = nn.optim.Adam([w], lr=0.125)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.875
    """

    _rule = "adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                  "amsgrad": amsgrad, "maximize": maximize,
                  "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        self._check(chosen, torch=torch)
        super().__init__(params, chosen)

    def _kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return super()._kept(group)[: 3 if group["amsgrad"] else 2]


class AdamW(Adam):
    """Adaptive moments with decoupled decay of the weights (Loshchilov and Hutter 2019).

    Parameters
    ----------
    weight_decay : float, default=0.01
        Each step multiplies the parameter by ``1 - lr * weight_decay``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
            decoupled_weight_decay=True, **torch,
        )  # fmt: skip


class NAdam(Optimizer):
    """Adaptive moments with Nesterov's momentum (Dozat 2016).

    Parameters
    ----------
    momentum_decay : float, default=0.004
        The momentum of step t is ``betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))``.
    """

    _rule = "nadam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                  "momentum_decay": momentum_decay, "maximize": maximize,
                  "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        self._check(chosen, "momentum_decay", torch=torch)
        super().__init__(params, chosen)

    def _counted(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, float]:
        own = super()._counted(group, state)
        beta, decay, step = group["betas"][0], group["momentum_decay"], own["step"]
        mu, mu_next = (beta * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        state["mu_product"] = product = state.get("mu_product", 1.0) * mu
        return {**own, "mu": mu, "mu_next": mu_next, "mu_product": product}


class RAdam(Optimizer):
    """Adaptive moments, rectified while few gradients are known (Liu et al. 2020)."""

    _rule = "radam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                  "maximize": maximize,
                  "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        self._check(chosen, torch=torch)
        super().__init__(params, chosen)


class Adamax(Optimizer):
    """Adaptive moments with the largest gradient in place of the mean square (Kingma and Ba 2015).

    Parameters
    ----------
    eps : float, default=1e-8
        Added to the magnitude of each gradient.
    """

    _rule = "adamax"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                  "maximize": maximize}  # fmt: skip
        self._check(chosen, torch=torch)
        super().__init__(params, chosen)


class ASGD(Optimizer):
    """Gradient descent whose places are averaged (Polyak and Juditsky 1992).

    The mean of the places is ``state[p]["ax"]``.

    Parameters
    ----------
    lr : float, default=0.01
        The first learning rate.
    lambd : float, default=1e-4
        Decay of the learning rate and of the parameter.
    alpha : float, default=0.75
        Step t has the learning rate ``lr / (1 + lambd * lr * t) ** alpha``.
    t0 : float, default=1e6
        The step from which places are averaged.
    """

    _rule = "asgd"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                  "maximize": maximize}  # fmt: skip
        self._check(chosen, torch=torch)
        super().__init__(params, chosen)

    def _counted(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, float]:
        own = super()._counted(group, state)
        lr, step = group["lr"], own["step"]
        own |= {"eta": state.get("eta", lr), "mu": state.get("mu", 1.0)}
        state["eta"] = lr / (1 + group["lambd"] * lr * step) ** group["alpha"]
        state["mu"] = 1.0 / max(1.0, step - group["t0"])
        return own


class Rprop(Optimizer):
    """Steps that grow while the sign of the gradient stays, for whole batches (Riedmiller 1993).

    Parameters
    ----------
    lr : float, default=0.01
        The first step in each direction.
    etas : tuple of float, default=(0.5, 1.2)
        Factors of a step where the sign changed, and where it stayed.
    step_sizes : tuple of float, default=(1e-6, 50)
        The smallest and the largest step.
    """

    _rule = "rprop"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        right = 0.0 < etas[0] < 1.0 < etas[1]
        self._check(chosen, torch=torch, etas=(right, "lie below and above 1"))
        super().__init__(params, chosen)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; their steps start too.

        Parameters
        ----------
        param_group : dict
            Parameters under ``"params"``, and options.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            value = widened(p.data)
            first = np.full_like(value, group["lr"], order="C")
            self.state[p] = {"step": 0.0, "prev": np.zeros_like(value), "step_size": first}

    def _options(self, group: dict[str, Any]) -> dict[str, float]:
        (etaminus, etaplus), (least, most) = group["etas"], group["step_sizes"]
        return {"etaminus": etaminus, "etaplus": etaplus, "step_size_min": least,
                "step_size_max": most}  # fmt: skip


class Lion(Optimizer):
    """Steps of one size along the sign of an interpolated momentum (Chen et al. 2023).

    Parameters
    ----------
    lr : float, default=1e-4
        Learning rate, the size of a step in each direction.
    betas : tuple of float, default=(0.9, 0.99)
        Weight of the momentum in the step, and its decay.
    weight_decay : float, default=0
        Each step multiplies the parameter by ``1 - lr * weight_decay``.
    """

    _rule = "lion"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        chosen = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        self._check(chosen)
        super().__init__(params, chosen)

    def _counted(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, float]:
        return {}


complete(globals())
