"""Schedules beside torch's, value by value, and their first and last steps."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import optim
from kernelmill.nn.optim import lr_scheduler

torch = pytest.importorskip("torch")


def both(name="SGD", **options):
    mine = getattr(optim, name)(
        [{"params": [nn.Parameter(np.ones(2))]}, {"params": [nn.Parameter(np.ones(3))], "lr": 0.3}],
        **{"lr": 0.5, **options},
    )
    other = getattr(torch.optim, name)(
        [{"params": [torch.ones(2)]}, {"params": [torch.ones(3)], "lr": 0.3}],
        **{"lr": 0.5, **options},
    )
    return mine, other


def momenta(optimizer):
    return [g["betas"][0] if "betas" in g else g["momentum"] for g in optimizer.param_groups]


def chain(kind):
    def make(module, optimizer):
        s = module.lr_scheduler
        if kind == "sequential":
            parts = [s.LinearLR(optimizer, 0.1, total_iters=10),
                     s.CosineAnnealingLR(optimizer, 30, 0.01),
                     s.ExponentialLR(optimizer, 0.9)]  # fmt: skip
            return s.SequentialLR(optimizer, parts, [10, 40])
        if kind == "sequential restarts":
            parts = [s.ConstantLR(optimizer, 0.5, 3),
                     s.CosineAnnealingWarmRestarts(optimizer, 4, 2),
                     s.StepLR(optimizer, 7, 0.5)]  # fmt: skip
            return s.SequentialLR(optimizer, parts, [5, 50])
        parts = [s.ConstantLR(optimizer, 0.5, 4), s.ExponentialLR(optimizer, 0.97),
                 s.StepLR(optimizer, 30, 0.5)]  # fmt: skip
        return s.ChainedScheduler(parts)

    return make


def simple(name, *args, **kwargs):
    return lambda module, optimizer: getattr(module.lr_scheduler, name)(optimizer, *args, **kwargs)


SCHEDULES = {
    "step": simple("StepLR", 7, 0.5),
    "milestones": simple("MultiStepLR", [3, 10, 10, 50], 0.5),
    "exponential": simple("ExponentialLR", 0.95),
    "constant": simple("ConstantLR", 0.25, 9),
    "linear": simple("LinearLR", 0.1, 0.9, 20),
    "warm-up": simple("LinearLR"),
    "polynomial": simple("PolynomialLR", 80, 1.7),
    "cosine": simple("CosineAnnealingLR", 20, 0.05),
    "restarts": simple("CosineAnnealingWarmRestarts", 3, 2, 0.05),
    "restarts of one length": simple("CosineAnnealingWarmRestarts", 5),
    "lambda": simple("LambdaLR", [lambda t: 1 / (1 + t), lambda t: 0.9**t]),
    "multiplicative": simple("MultiplicativeLR", lambda t: 0.9 + 0.1 / t),
    "one cycle": simple("OneCycleLR", 2.0, 121),
    "one cycle, three phases": simple("OneCycleLR", [2.0, 1.0], epochs=11, steps_per_epoch=11,
                                      three_phase=True, anneal_strategy="linear"),
    "cyclic": simple("CyclicLR", 0.1, 0.5, 7, 13),
    "cyclic, halves": simple("CyclicLR", 0.1, [0.5, 0.7], 7, mode="triangular2"),
    "cyclic, exponential": simple("CyclicLR", 0.1, 0.5, 7, mode="exp_range", gamma=0.99),
    "cyclic, own": simple("CyclicLR", 0.1, 0.5, 7, scale_fn=lambda t: 1 / (1 + t),
                          scale_mode="iterations", cycle_momentum=False),
    "sequential": chain("sequential"),
    "sequential restarts": chain("sequential restarts"),
    "chained": chain("chained"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_120_values_equal_torch(name, optimizer):
    mine, other = both(optimizer, **({"momentum": 0.9} if optimizer == "SGD" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = SCHEDULES[name](optim, mine), SCHEDULES[name](torch.optim, other)
        for step in range(120):
            np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-9, atol=1e-15,
                                       err_msg=f"{step}")  # fmt: skip
            assert a.get_last_lr() == [g["lr"] for g in mine.param_groups]
            np.testing.assert_allclose(momenta(mine), momenta(other), rtol=1e-12)
            a.step()
            b.step()
    assert a.last_epoch == b.last_epoch if hasattr(b, "last_epoch") else True


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_saved_schedule_goes_on(name):
    """Saved after 17 steps and loaded into a new schedule of a new optimiser."""
    mine, _ = both(momentum=0.9)
    schedule = SCHEDULES[name](optim, mine)
    for _ in range(17):
        schedule.step()
    fresh, _ = both(momentum=0.9)
    loaded = SCHEDULES[name](optim, fresh)
    loaded.load_state_dict(schedule.state_dict())
    fresh.load_state_dict(mine.state_dict())
    for _ in range(60):
        schedule.step()
        loaded.step()
        assert loaded.get_last_lr() == schedule.get_last_lr()
        assert momenta(fresh) == momenta(mine)


@pytest.mark.parametrize("options", [
    {"patience": 2}, {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.2},
    {"patience": 1, "cooldown": 3, "min_lr": [0.01, 0.2]}, {"factor": 0.9, "patience": 0},
    {"mode": "max", "patience": 3, "threshold": 0.05},
])  # fmt: skip
def test_plateau_equals_torch(options):
    mine, other = both()
    a = lr_scheduler.ReduceLROnPlateau(mine, **options)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    rng = np.random.default_rng(1)
    for step in range(150):
        metric = math.nan if step == 70 else math.exp(-step / 50) + 0.1 * rng.normal()
        a.step(metric)
        b.step(metric)
        assert a.get_last_lr() == b.get_last_lr()
        assert (a.num_bad_epochs, a.best) == (b.num_bad_epochs, b.best)


def values(schedule, n):
    found = []
    for _ in range(n):
        found.append(schedule.get_last_lr()[0])
        schedule.step()
    return found


def test_first_and_last_step():
    mine, _ = both("Adagrad")  # no momentum to cycle
    one = lr_scheduler.OneCycleLR(mine, max_lr=0.01, total_steps=50)
    found = values(one, 49)
    assert found[0] == pytest.approx(0.0004)
    assert found[14] == pytest.approx(0.01)
    assert one.get_last_lr()[0] == pytest.approx(4e-8)
    one.step()  # as a loop does that steps after each of 50 batches
    assert one.get_last_lr()[0] == pytest.approx(4e-8)
    with pytest.raises(ValueError, match="step must be called at most 50 times"):
        one.step()
    mine, _ = both("Adagrad")
    restarts = lr_scheduler.CosineAnnealingWarmRestarts(mine, T_0=1, T_mult=2)
    want = [0.5, 0.5, 0.25, 0.5, 0.4268, 0.25, 0.0732, 0.5]
    np.testing.assert_allclose(values(restarts, 8), want, atol=5e-5)
    mine, _ = both("Adagrad")
    cyclic = lr_scheduler.CyclicLR(mine, 0.1, 0.5, 4)
    np.testing.assert_allclose(values(cyclic, 6), [0.1, 0.2, 0.3, 0.4, 0.5, 0.4])


def test_fractions_of_a_restart():
    mine, other = both()
    a = lr_scheduler.CosineAnnealingWarmRestarts(mine, 4, 2)
    b = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(other, 4, 2)
    for at in np.arange(0, 30, 0.25):
        a.step(float(at))
        b.step(float(at))
        np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-12, atol=1e-15)


def test_going_on_from_a_number_of_steps():
    """A new schedule over groups that kept their first learning rate."""
    mine, _ = both()
    whole = lr_scheduler.LinearLR(mine, 0.1, total_iters=20)
    for _ in range(9):
        whole.step()
    rest = lr_scheduler.LinearLR(mine, 0.1, total_iters=20, last_epoch=9)
    assert rest.last_epoch == 10
    np.testing.assert_allclose(rest.get_last_lr()[0], 0.5 * (0.1 + 0.9 * 10 / 20))
    fresh, _ = both()
    with pytest.raises(KeyError, match="must have 'initial_lr' when last_epoch"):
        lr_scheduler.StepLR(fresh, 3, last_epoch=4)


def test_wrong_schedules_are_refused():
    mine, _ = both()
    other, _ = both()
    s = lr_scheduler
    for make, message in [
        (lambda: s.ConstantLR(mine, 2.0), r"ConstantLR: factor must lie in \[0, 1\], got 2.0"),
        (lambda: s.LinearLR(mine, 0.0), "LinearLR: start_factor must lie in"),
        (lambda: s.OneCycleLR(mine, 1.0), "OneCycleLR: total_steps must be positive, got None"),
        (lambda: s.OneCycleLR(mine, [1.0] * 3, 5), "max_lr must have one value for each of 2"),
        (lambda: s.CyclicLR(mine, 0.1, 1.0, mode="square"), "CyclicLR: mode must be"),
        (lambda: s.CosineAnnealingWarmRestarts(mine, 0), "T_0 must be a positive integer, got 0"),
        (lambda: s.ReduceLROnPlateau(mine, "low"), "mode must be one of min, max, got 'low'"),
        (lambda: s.ReduceLROnPlateau(mine, factor=1.0), "factor must be below 1, got 1.0"),
        (lambda: s.SequentialLR(mine, [s.StepLR(mine, 3)], [1]), "milestones must be one less"),
        (lambda: s.SequentialLR(mine, [s.StepLR(other, 3)], []), "of the same optimizer"),
        (lambda: s.ChainedScheduler([s.StepLR(mine, 3), s.StepLR(other, 3)]), "of the same opt"),
        (lambda: s.ChainedScheduler([]), "schedulers must not be empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
