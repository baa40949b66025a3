"""Optimisers beside torch's: values and states over many steps, saved states both ways."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import kernelmill
from kernelmill import nn
from kernelmill.nn import optim

torch = pytest.importorskip("torch")

SHAPES = ((3, 4), (5,), (), (2, 1, 3), (0, 2))
CHOICES = {
    "SGD": ({}, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.5, "dampening": 0.25},
            {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            {"maximize": True, "weight_decay": 0.1}),
    "Adagrad": ({}, {"lr": 0.5, "lr_decay": 0.25, "eps": 0.5, "weight_decay": 0.1},
                {"initial_accumulator_value": 0.5, "maximize": True}),
    "RMSprop": ({}, {"eps": 0.5, "alpha": 0.5, "weight_decay": 0.1}, {"centered": True},
                {"momentum": 0.9, "maximize": True}, {"momentum": 0.5, "centered": True}),
    "Adadelta": ({}, {"lr": 0.5, "rho": 0.5, "eps": 0.5, "weight_decay": 0.1}, {"maximize": True}),
    "Adam": ({}, {"lr": 0.1, "eps": 0.5, "betas": (0.5, 0.75), "weight_decay": 0.5},
             {"amsgrad": True, "maximize": True, "lr": 0.1},
             {"decoupled_weight_decay": True, "weight_decay": 0.5, "lr": 0.1}),
    "AdamW": ({}, {"lr": 0.1, "eps": 0.5, "weight_decay": 0.5}, {"amsgrad": True}),
    "NAdam": ({}, {"lr": 0.1, "eps": 0.5, "momentum_decay": 0.5, "weight_decay": 0.5},
              {"decoupled_weight_decay": True, "weight_decay": 0.5, "maximize": True}),
    "RAdam": ({}, {"lr": 0.1, "eps": 0.5, "betas": (0.5, 0.75), "weight_decay": 0.5},
              {"decoupled_weight_decay": True, "weight_decay": 0.5, "maximize": True}),
    "Adamax": ({}, {"lr": 0.1, "eps": 0.5, "betas": (0.5, 0.75), "weight_decay": 0.5},
               {"maximize": True}),
    "Rprop": ({}, {"lr": 0.1, "etas": (0.3, 1.7), "step_sizes": (1e-3, 2.0)}, {"maximize": True}),
    "ASGD": ({}, {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 20, "weight_decay": 0.1},
             {"maximize": True, "t0": 0}),
}  # fmt: skip
FACTORED = ({}, {"lr": 0.1, "weight_decay": 0.5, "beta2_decay": -0.5, "d": 1.5},
            {"maximize": True, "eps": (1e-3, 0.1)},
            {"lr": 1.0, "eps": (3.0, 1e-3)})  # above the mean squares and 60 ** -0.5  # fmt: skip
# torch keeps the rate of the one, and saves the product of momenta of the other, in float32.
EXACT = {"ASGD": 2e-6, "NAdam": 1e-7}
EVERY = [(name, options) for name, many in CHOICES.items() for options in many]


def pair(dtype=np.float64):
    rng = np.random.default_rng(3)
    values = [np.asarray(rng.normal(size=s), dtype) for s in SHAPES]
    ours = [nn.Parameter(v.copy()) for v in values]
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values]
    return ours, theirs


def give_gradients(ours, theirs, rng, some=False):
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        if some and i == 1:
            p.grad = q.grad = None
            continue
        g = np.asarray(rng.normal(size=p.data.shape), p.data.dtype)
        p.grad, q.grad = nn.Tensor(g), torch.tensor(g)


def assert_same(ours, theirs, rtol):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_steps_equal_torch(name, options):
    """120 steps, of which some leave a parameter without a gradient; states and their names too."""
    ours, theirs = pair()
    mine, other = (
        getattr(m, name)(p, **options) for m, p in ((optim, ours), (torch.optim, theirs))
    )
    assert {k: v for k, v in other.defaults.items() if k in mine.defaults} == mine.defaults
    rng = np.random.default_rng(4)
    for step in range(120):
        give_gradients(ours, theirs, rng, some=step % 3 == 1)
        mine.step()
        other.step()
    assert_same(ours, theirs, EXACT[name] if name == "ASGD" else 1e-10)
    state, want = mine.state_dict(), other.state_dict()
    assert [*state] == [*want]
    assert state["param_groups"][0]["params"] == want["param_groups"][0]["params"]
    assert state["state"].keys() == want["state"].keys()
    for i, kept in want["state"].items():
        assert kept.keys() == state["state"][i].keys()
        for key, value in kept.items():
            np.testing.assert_allclose(state["state"][i][key], value.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_float32_steps_are_as_near_as_rounding_allows(name, options):
    ours, theirs = pair(np.float32)
    mine, other = (
        getattr(m, name)(p, **options) for m, p in ((optim, ours), (torch.optim, theirs))
    )
    rng = np.random.default_rng(4)
    for _ in range(5):
        give_gradients(ours, theirs, rng)
        mine.step()
        other.step()
    assert_same(ours, theirs, 2e-6)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_saved_states_go_both_ways(name, options):
    """Ten steps in one library, ten in the other, equal twenty in one."""
    rng = np.random.default_rng(5)
    ours, theirs = pair()
    mine, other = (
        getattr(m, name)(p, **options) for m, p in ((optim, ours), (torch.optim, theirs))
    )
    for _ in range(10):
        give_gradients(ours, theirs, rng)
        mine.step()
        other.step()
    ours2, theirs2 = pair()
    for p, q, p2, q2 in zip(ours, theirs, ours2, theirs2, strict=True):
        with nn.no_grad():
            p2.copy_(q.detach().numpy())
        q2.data.copy_(torch.tensor(np.asarray(p.data)))
    mine2, other2 = getattr(optim, name)(ours2), getattr(torch.optim, name)(theirs2)
    mine2.load_state_dict(other.state_dict())
    saved = mine.state_dict()
    for kept in saved["state"].values():
        for key, value in kept.items():
            kept[key] = torch.tensor(np.asarray(value))
    other2.load_state_dict(saved)
    for _ in range(10):
        give_gradients(ours, theirs, rng)
        for p, q, p2, q2 in zip(ours, theirs, ours2, theirs2, strict=True):
            p2.grad, q2.grad = p.grad, q.grad
        for optimizer in (mine, other, mine2, other2):
            optimizer.step()
    rtol = EXACT.get(name, 1e-10)
    assert_same(ours, theirs, rtol)
    assert_same(ours2, theirs, rtol)
    assert_same(ours, theirs2, rtol)


def test_groups_equal_torch():
    """Groups with options of their own, one of them without momentum, and one added later."""
    ours, theirs = pair()

    def made(module, p):
        return module.SGD([{"params": p[:1], "lr": 0.5}, {"params": p[1:3], "momentum": 0.0}],
                          lr=0.1, momentum=0.9)  # fmt: skip

    mine, other = made(optim, ours), made(torch.optim, theirs)
    rng = np.random.default_rng(6)
    for step in range(10):
        if step == 4:
            mine.add_param_group({"params": ours[3:], "weight_decay": 0.5})
            other.add_param_group({"params": theirs[3:], "weight_decay": 0.5})
        give_gradients(ours, theirs, rng)
        mine.step()
        other.step()
    assert_same(ours, theirs, 1e-12)
    named = optim.Adam([("a", ours[0]), ("b", ours[1])])
    assert named.param_groups[0]["param_names"] == ["a", "b"]


def lion(p, g, m, lr, betas, decay):
    direction = np.sign(betas[0] * m + (1 - betas[0]) * g)
    return p * (1 - lr * decay) - lr * direction, betas[1] * m + (1 - betas[1]) * g


@pytest.mark.parametrize("options", FACTORED)
def test_adafactor_equals_torch(options):
    """Alone, as torch divides by the size of an empty parameter."""
    rng = np.random.default_rng(3)
    values = [np.asarray(rng.normal(size=s)) for s in SHAPES if 0 not in s]
    ours = [nn.Parameter(v.copy()) for v in values]
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values]
    mine, other = optim.Adafactor(ours, **options), torch.optim.Adafactor(theirs, **options)
    for step in range(60):
        give_gradients(ours, theirs, rng, some=step % 3 == 1)
        mine.step()
        other.step()
        if step == 30:
            mine.load_state_dict(other.state_dict())
    assert_same(ours, theirs, 1e-10)
    for p, q in zip(ours, theirs, strict=True):
        assert mine.state[p].keys() == other.state[q].keys()
    empty = nn.Parameter(np.zeros((0, 2)))
    empty.grad = nn.Tensor(np.zeros((0, 2)))
    optim.Adafactor([empty]).step()


def test_lion_equals_its_definition():
    ours, theirs = pair()
    values = [p.data.copy() for p in ours]
    moments = [np.zeros_like(v) for v in values]
    optimizer = optim.Lion(ours, lr=0.1, weight_decay=0.5)
    rng = np.random.default_rng(7)
    for _ in range(50):
        give_gradients(ours, theirs, rng)
        optimizer.step()
        for i, p in enumerate(ours):
            values[i], moments[i] = lion(values[i], p.grad.data, moments[i], 0.1, (0.9, 0.99), 0.5)
    for p, value in zip(ours, values, strict=True):
        np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("make", [optim.SGD, lambda p: optim.Adafactor(p, eps=(3.0, 1e-3))])
def test_scale_multiplies_the_gradients(make):
    (one, *_), _ = pair()
    two = nn.Parameter(one.data.copy())
    one.grad, two.grad = nn.Tensor(np.full((3, 4), 8.0)), nn.Tensor(np.full((3, 4), 2.0))
    make([one]).step(scale=0.25)
    make([two]).step()
    np.testing.assert_array_equal(one.data, two.data)


def test_decay_of_adamw_needs_a_gradient():
    """A gradient of zero still decays the parameter; one of None leaves it alone."""
    p, q = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    p.grad = nn.Tensor(np.zeros(2))
    optim.AdamW([p, q], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(p.data, 0.95)
    np.testing.assert_array_equal(q.data, 1.0)


def test_epsilon_of_adam():
    p = nn.Parameter(np.zeros(1))
    p.grad = nn.Tensor(np.array([2.0]))
    optim.Adam([p], lr=0.1, eps=1.0).step()
    np.testing.assert_allclose(p.data, -0.1 * 2 / 3, rtol=1e-14)


def test_a_step_is_seen_by_the_tape():
    p = nn.Parameter(np.ones(3))
    loss = (p * p).sum()
    p.grad = nn.Tensor(np.ones(3))
    optim.SGD([p]).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_threads_do_not_change_bits():
    rng = np.random.default_rng(8)
    start, gradient = rng.normal(size=(300, 200)), rng.normal(size=(300, 200))
    found = []
    for threads in (1, 2, 7):
        p = nn.Parameter(start.copy())
        optimizer = optim.Adam([p])
        with kernelmill.threads(threads):
            for _ in range(3):
                p.grad = nn.Tensor(gradient)
                optimizer.step()
        found.append(p.data.tobytes())
    assert len({*found}) == 1


def test_zero_grad_copy_and_pickle():
    ours, theirs = pair()
    optimizer = optim.Adam(ours)
    give_gradients(ours, theirs, np.random.default_rng(9))
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert all((p.grad.data == 0).all() for p in ours)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert other.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()
        (group,) = other.param_groups
        assert group["params"][0] is not ours[0]
        assert group["params"][0] in other.state
    assert "lr: 0.001" in repr(optimizer)


def test_wrong_options_are_refused():
    (p, *_), _ = pair()
    for make, error, message in [
        (lambda: optim.SGD([p], lr=-1.0), ValueError, "SGD: lr must not be negative, got -1.0"),
        (lambda: optim.Adam([p], betas=(1.0, 0.9)), ValueError, r"betas\[0\] must lie in \[0, 1\)"),
        (lambda: optim.Rprop([p], etas=(0.5, 1.0)), ValueError, "etas must lie below and above 1"),
        (lambda: optim.Rprop([p], etas=(1.0, 1.2)), ValueError, "etas must lie below and above 1"),
        (lambda: optim.Adafactor([p], d=0.5), ValueError, "d must be at least 1, got 0.5"),
        (lambda: optim.Adafactor([p], beta2_decay=0.1), ValueError, "beta2_decay must not be pos"),
        (lambda: optim.Adafactor([p], eps=(None, -1.0)), ValueError, "eps must not be negative"),
        (lambda: optim.SGD([p], nesterov=True), ValueError, "nesterov must come with a positive"),
        (lambda: optim.SGD([p], speed=1), TypeError, "unexpected keyword argument 'speed'"),
        (lambda: optim.SGD(p), TypeError, "params must be an iterable of tensors or dicts"),
        (lambda: optim.SGD([p, p]), ValueError, "each parameter once"),
        (lambda: optim.SGD([1.0]), TypeError, "params must be tensors, got float"),
        (lambda: optim.SGD([]), ValueError, "params must not be empty"),
        (lambda: optim.LBFGS([p], line_search_fn="armijo"), ValueError, "line_search_fn must be"),
        (lambda: optim.LBFGS([p]).step(), TypeError, "closure must be given, got None"),
    ]:
        with pytest.raises(error, match=message):
            make()
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters, got \[2\]"):
        optim.SGD([p]).load_state_dict(optim.SGD(pair()[0][:2]).state_dict())
    assert isinstance(optim.SGD([p], foreach=True, fused=False), optim.SGD)


# --- L-BFGS ---------------------------------------------------------------------------------------


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quartic(x):
    return ((x - 0.5) ** 4).sum() + (x[0] * x[1] - 0.2) ** 2


@pytest.mark.parametrize("function", [rosenbrock, quartic])
@pytest.mark.parametrize("options", [
    {}, {"lr": 0.01}, {"line_search_fn": "strong_wolfe"}, {"history_size": 3, "max_iter": 40,
     "line_search_fn": "strong_wolfe"}, {"max_eval": 7, "line_search_fn": "strong_wolfe"},
])  # fmt: skip
def test_lbfgs_equals_torch(function, options):
    if function is rosenbrock and options.get("line_search_fn") is None:
        options = {**options, "lr": 1e-3}
    start = np.array([-1.2, 1.0, 0.7, -0.3, 2.0])
    x, y = nn.Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    mine, other = optim.LBFGS([x], **options), torch.optim.LBFGS([y], **options)

    def closure(p, optimizer):
        def run():
            optimizer.zero_grad()
            loss = function(p)
            loss.backward()
            return loss

        return run

    # Near the optimum the loss is what remains of sums as large as at the start, and the valley, of
    # condition 2,500, carries their rounding (1e-16) from step to step.
    rounding = 1e-12 * float(function(torch.tensor(start)))
    for _ in range(4):
        a, b = mine.step(closure(x, mine)), other.step(closure(y, other))
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-6, atol=rounding)
    np.testing.assert_allclose(x.data, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    if options.get("max_iter") == 40 and function is rosenbrock:
        np.testing.assert_allclose(x.data, 1.0, atol=1e-4)  # both stop there
    kept, want = mine.state[x], other.state[y]
    assert (kept["n_iter"], kept["func_evals"]) == (want["n_iter"], want["func_evals"])
    assert {*want} - {"al"} <= {*kept}
    fresh = optim.LBFGS([nn.Parameter(x.data.copy())], **options)
    fresh.load_state_dict(other.state_dict())
    fresh.step(closure(fresh.param_groups[0]["params"][0], fresh))
