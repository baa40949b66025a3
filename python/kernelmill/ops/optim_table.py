"""The table of update rules: how one step of an optimiser moves one number.

A rule is written in the language of :mod:`kernelmill.ops.elementwise_table`, valid Python and C.
``scalars`` are made once for each array, in float64, from the options; ``statements`` then run for
every element at the dtype of the array, on ``parameter``, ``gradient`` (scaled already), the state
and the scalars. A state whose name ends in ``?`` may be left out; ``has_<state>`` says whether it
is there. ``cmake/optim_rows.py`` writes the C++ loops from these rows and the specification
evaluates them.

This module imports nothing but the standard library: the build reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Options that every rule has: the number of the step, from 1, and a factor of the gradients.
COMMON = {"step": 1.0, "scale": 1.0}


@dataclass(frozen=True)
class Rule:
    """One optimiser.

    Attributes
    ----------
    name, about, source : str
        Name of the op, its summary, and who described it.
    states : tuple of str
        Names of the arrays that are kept between steps, in the order of the arguments.
    options : dict
        Name to default.
    scalars : dict
        Name to expression in the options and in the scalars before it.
    statements : tuple of str
        Assignments to ``gradient``, states, ``parameter``, or to names of their own.
    notes : str
        What is special.
    """

    name: str
    about: str
    source: str
    states: tuple[str, ...]
    options: dict[str, float]
    statements: tuple[str, ...]
    scalars: dict[str, str] = field(default_factory=dict)
    notes: str = ""

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the states without the mark of those that may be left out."""
        return tuple(name.rstrip("?") for name in self.states)

    @property
    def every_option(self) -> dict[str, float]:
        """The options and those of all rules."""
        return {**COMMON, **self.options}

    @property
    def used(self) -> tuple[str, ...]:
        """The options and scalars that the statements read."""
        words = {"scale", *re.findall(r"\b[a-z]\w*", " ".join(self.statements))}
        return tuple(name for name in (*self.every_option, *self.scalars) if name in words)

    @property
    def locals(self) -> tuple[str, ...]:
        """Names that statements assign first, in that order."""
        targets = (statement.partition(" = ")[0] for statement in self.statements)
        known = {"parameter", "gradient", *self.kept}
        return tuple(dict.fromkeys(name for name in targets if name not in known))


_DECAYED = "gradient = where(weight_decay != 0, gradient + weight_decay * parameter, gradient)"
_COUPLED = (
    "parameter = keep * parameter",
    "gradient = where(l2 != 0, gradient + l2 * parameter, gradient)",
)
_MOMENTS = (
    "exp_avg = exp_avg + (gradient - exp_avg) * fresh1",
    "exp_avg_sq = beta2 * exp_avg_sq + fresh2 * gradient * gradient",
)
_ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0,
         "decoupled": 0.0}  # fmt: skip
_ADAM_SCALARS = {
    "l2": "where(decoupled != 0, 0, weight_decay)",
    "keep": "where(decoupled != 0, 1 - lr * weight_decay, 1)",
    "fresh1": "1 - beta1",
    "fresh2": "1 - beta2",
}

RULES = (
    Rule("sgd", "Gradient descent with momentum", "Sutskever et al. (2013)",
         ("momentum_buffer?",),
         {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": 0.0, "weight_decay": 0.0},
         (_DECAYED,
          "momentum_buffer = where(first != 0, gradient,"
          " momentum * momentum_buffer + fresh * gradient)",
          "direction = where(nesterov != 0, gradient + momentum * momentum_buffer,"
          " momentum_buffer)",
          "parameter = parameter - lr * where(has_momentum_buffer, direction, gradient)"),
         {"first": "where(step == 1, 1, 0)", "fresh": "1 - dampening"},
         "At step 1 the buffer becomes the gradient, undampened."),
    Rule("adagrad", "Steps divided by the root of the sum of squared gradients",
         "Duchi et al. (2011)", ("sum",),
         {"lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0, "eps": 1e-10},
         (_DECAYED,
          "sum = sum + gradient * gradient",
          "parameter = parameter - rate * (gradient / (sqrt(sum) + eps))"),
         {"rate": "lr / (1 + (step - 1) * lr_decay)"}),
    Rule("rmsprop", "Steps divided by a moving root mean square of the gradients",
         "Tieleman and Hinton (2012)", ("square_avg", "grad_avg?", "momentum_buffer?"),
         {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0},
         (_DECAYED,
          "square_avg = alpha * square_avg + fresh * gradient * gradient",
          "grad_avg = where(has_grad_avg, grad_avg + (gradient - grad_avg) * fresh, 0)",
          "direction = gradient / (sqrt(square_avg - grad_avg * grad_avg) + eps)",
          "momentum_buffer = momentum * momentum_buffer + direction",
          "parameter = parameter - lr * where(has_momentum_buffer, momentum_buffer, direction)"),
         {"fresh": "1 - alpha"},
         "With ``grad_avg`` the root is that of the variance (the centred form)."),
    Rule("adadelta", "Steps in units of earlier steps", "Zeiler (2012)",
         ("square_avg", "acc_delta"),
         {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
         (_DECAYED,
          "square_avg = rho * square_avg + fresh * gradient * gradient",
          "delta = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * gradient",
          "acc_delta = rho * acc_delta + fresh * delta * delta",
          "parameter = parameter - lr * delta"),
         {"fresh": "1 - rho"}),
    Rule("adam", "Adaptive moments", "Kingma and Ba (2015); Loshchilov and Hutter (2019)",
         ("exp_avg", "exp_avg_sq", "max_exp_avg_sq?"), _ADAM,
         (*_COUPLED,
          *_MOMENTS,
          "max_exp_avg_sq = where(has_max_exp_avg_sq, maximum(max_exp_avg_sq, exp_avg_sq),"
          " exp_avg_sq)",
          "parameter = parameter - rate * (exp_avg / (sqrt(max_exp_avg_sq) / root + eps))"),
         {**_ADAM_SCALARS, "rate": "lr / (1 - pow(beta1, step))",
          "root": "sqrt(1 - pow(beta2, step))"},
         "``decoupled`` applies the decay of weights to the parameter itself (AdamW); with "
         "``max_exp_avg_sq`` the divisor never falls (AMSGrad)."),
    Rule("nadam", "Adaptive moments with Nesterov's momentum", "Dozat (2016)",
         ("exp_avg", "exp_avg_sq"),
         {**_ADAM, "lr": 2e-3, "mu": 0.9, "mu_next": 0.9, "mu_product": 0.9},
         (*_COUPLED,
          *_MOMENTS,
          "divisor = sqrt(exp_avg_sq / correction) + eps",
          "parameter = parameter - rate * (gradient / divisor) - rate_next * (exp_avg / divisor)"),
         {**_ADAM_SCALARS, "correction": "1 - pow(beta2, step)",
          "rate": "lr * (1 - mu) / (1 - mu_product)",
          "rate_next": "lr * mu_next / (1 - mu_product * mu_next)"},
         "``mu`` and ``mu_next`` are the momenta of this step and the next, ``mu_product`` the "
         "product of all up to this one."),
    Rule("radam", "Adaptive moments, rectified while few gradients are known", "Liu et al. (2020)",
         ("exp_avg", "exp_avg_sq"), _ADAM,
         (*_COUPLED,
          *_MOMENTS,
          "factor = where(rectified != 0, rectifier / (sqrt(exp_avg_sq) + eps), 1)",
          "parameter = parameter - rate * (exp_avg * factor)"),
         {**_ADAM_SCALARS, "rate": "lr / (1 - pow(beta1, step))", "power": "pow(beta2, step)",
          "limit": "2 / fresh2 - 1",
          "length": "limit - 2 * step * power / (1 - power)",
          "rectified": "where(length > 5, 1, 0)",
          "known": "where(length > 5, length, 6)",
          "most": "where(length > 5, limit, 7)",
          "rectifier": "sqrt(1 - power) * sqrt((known - 4) * (known - 2) * most"
          " / ((most - 4) * (most - 2) * known))"},
         "``length`` is that of the mean of squares; up to 5 the step is the momentum alone."),
    Rule("adamax", "Adaptive moments with the largest gradient", "Kingma and Ba (2015)",
         ("exp_avg", "exp_inf"),
         {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
         (_DECAYED,
          _MOMENTS[0],
          "exp_inf = maximum(beta2 * exp_inf, where(gradient < 0, -gradient, gradient) + eps)",
          "parameter = parameter - rate * (exp_avg / exp_inf)"),
         {"fresh1": "1 - beta1", "rate": "lr / (1 - pow(beta1, step))"}),
    Rule("rprop", "Steps that grow while the sign of the gradient stays",
         "Riedmiller and Braun (1993)", ("prev", "step_size"),
         {"etaminus": 0.5, "etaplus": 1.2, "step_size_min": 1e-6, "step_size_max": 50.0},
         ("agreement = gradient * prev",
          "step_size = maximum(step_size_min, step_size * where(agreement > 0, etaplus,"
          " where(agreement < 0, etaminus, 1)))",
          "step_size = where(step_size > step_size_max, step_size_max, step_size)",
          "gradient = where(agreement < 0, 0, gradient)",
          "parameter = parameter - where(gradient > 0, step_size,"
          " where(gradient < 0, -step_size, gradient * step_size))",
          "prev = gradient"),
         {}, "Where the sign changes, the step is shortened and not taken."),
    Rule("asgd", "Gradient descent whose places are averaged", "Polyak and Juditsky (1992)",
         ("ax",), {"eta": 1e-2, "mu": 1.0, "lambd": 1e-4, "weight_decay": 0.0},
         (_DECAYED,
          "parameter = keep * parameter - eta * gradient",
          "ax = where(mu != 1, ax + (parameter - ax) * mu, parameter)"),
         {"keep": "1 - lambd * eta"},
         "``eta`` is the learning rate of this step, ``mu`` the weight of its place in the mean."),
    Rule("lion", "Sign of an interpolated momentum", "Chen et al. (2023)", ("exp_avg",),
         {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
         ("direction = exp_avg + (gradient - exp_avg) * fresh1",
          "exp_avg = exp_avg + (gradient - exp_avg) * fresh2",
          "parameter = keep * parameter"
          " - lr * where(direction > 0, 1, where(direction < 0, -1, direction))"),
         {"keep": "1 - lr * weight_decay", "fresh1": "1 - beta1", "fresh2": "1 - beta2"},
         "The decay of weights is decoupled."),
    Rule("ema", "Exponential moving average of the gradients' place", "Polyak and Juditsky (1992)",
         (), {"decay": 0.999},
         ("parameter = parameter + (gradient - parameter) * fresh",), {"fresh": "1 - decay"},
         "``parameters`` are the averages and ``gradients`` the values that enter them."),
)  # fmt: skip
TABLE = {rule.name: rule for rule in RULES}
