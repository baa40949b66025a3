"""The tape: what is recorded, the two lanes back, hooks, threads, anomalies."""

import os
import threading

import numpy as np
import pytest

import kernelmill
from kernelmill import nn
from kernelmill.nn import _backward, _reductions
from kernelmill.nn import functional as F
from kernelmill.nn._tape import Rule
from kernelmill.nn.functional import _dense as dense


def T(a, grad=True):
    return nn.Tensor(np.asarray(a, dtype=np.float64), requires_grad=grad)


def test_gradients_add_up_and_do_not_share_memory():
    x, y = T([1.0, 2.0]), T([3.0, 4.0])
    (x + y).sum().backward()
    assert x.grad.data is not y.grad.data
    assert not np.shares_memory(x.grad.data, y.grad.data)
    (x + y).sum().backward()
    assert x.grad.tolist() == [2, 2]
    z = (x * x).sum()
    g = nn.Tensor(np.array(3.0))
    z.backward(g)
    assert g.item() == 3.0
    assert x.grad.tolist() == [2 + 6, 2 + 12]


def test_what_is_not_needed_is_not_recorded():
    x, c = T([1.0]), T([2.0], grad=False)
    assert not (c * c).requires_grad
    assert (x * c).requires_grad
    with nn.no_grad():
        y = x * 2
        assert not y.requires_grad
        with nn.enable_grad():
            assert (x * 2).requires_grad
        assert not nn.is_grad_enabled()
    assert nn.is_grad_enabled()
    with nn.set_grad_enabled(False):
        assert not (x * 2).requires_grad

    @nn.no_grad()
    def f(x):
        return x * 2

    assert not f(x).requires_grad
    with pytest.raises(ValueError, match="inside"), nn.no_grad():
        raise ValueError("inside")
    assert nn.is_grad_enabled()


def test_inference_mode_takes_a_mode_as_torch_does():
    x = T([1.0])

    def records():
        return (x * 2).requires_grad

    for make in (nn.inference_mode, nn.inference_mode(), nn.inference_mode(mode=True)):
        assert not make(records)()
    with nn.no_grad(), nn.inference_mode(False):
        assert records()


def test_recording_is_a_matter_of_each_thread():
    seen = []
    with nn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(nn.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_graphs_are_freed_unless_kept():
    x = T([1.0, 2.0])
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="must not have been freed"):
        y.backward()
    assert np.allclose(x.grad.data, 2 * (np.exp(x.data) * (1 + x.data)))


def test_grad_gives_gradients_of_any_node_and_visits_no_other():
    x, w = T([1.0, 2.0]), T([3.0, 4.0])
    h = x * w
    y = (h * h).sum()
    gh, gx = nn.grad(y, (h, x), retain_graph=True)
    assert np.allclose(gh.data, 2 * h.data)
    assert np.allclose(gx.data, 2 * h.data * w.data)
    assert x.grad is None
    assert w.grad is None
    (gw,) = nn.grad(y, w)
    assert np.allclose(gw.data, 2 * h.data * x.data)
    z = T([1.0])
    with pytest.raises(RuntimeError, match="input 0 that is not"):
        nn.grad((x * 2).sum(), z)
    assert nn.grad((x * 2).sum(), z, allow_unused=True) == (None,)
    with pytest.raises(RuntimeError, match="inputs must need gradients"):
        nn.grad((x * 2).sum(), T([1.0], grad=False))
    with pytest.raises(ValueError, match="one entry for each of 1 outputs"):
        nn.grad((x * 2).sum(), x, [None, None])


def test_backward_says_what_it_needs():
    with pytest.raises(RuntimeError, match="gradient must be given"):
        (T([1.0, 2.0]) * 2).backward()
    with pytest.raises(RuntimeError, match="must depend on a tensor that needs a gradient"):
        T([1.0], grad=False).backward()
    with pytest.raises(RuntimeError, match="output's shape"):
        (T([1.0, 2.0]) * 2).backward(nn.ones(3))


def test_one_of_several_results():
    x = T(np.arange(6.0).reshape(3, 2))
    a, b, c = x.split(1)
    assert np.allclose(nn.grad((a * 2 + c).sum(), x)[0].data, [[2, 2], [0, 0], [1, 1]])
    a, b, c = x.unbind()
    (gb,) = nn.grad((b**2).sum(), b)
    assert np.allclose(gb.data, 2 * b.data)
    w, _ = nn.linalg.eigh(T([[2.0, 1.0], [1.0, 3.0]]))
    with pytest.raises(NotImplementedError, match="second derivative"):
        w.sum().backward(create_graph=True)


def test_third_derivatives():
    x = T([0.3, 0.7])
    y = (x.tanh() * x.exp()).sum()
    for _ in range(3):
        (g,) = nn.grad(y, x, create_graph=True)
        y = g.sum()
    h = 1e-3

    def f(x):
        return np.tanh(x) * np.exp(x)

    third = (f(x.data + 2 * h) - 2 * f(x.data + h) + 2 * f(x.data - h) - f(x.data - 2 * h)) / (
        2 * h**3
    )
    assert np.allclose(g.data, third, rtol=1e-4)


def test_a_fused_op_with_one_tensor_twice():
    w = T([[1.0, 2.0], [3.0, 4.0]])
    (g,) = nn.grad(F.linear(w, w).sum(), w, create_graph=True)
    (f,) = nn.grad(F.linear(w, w).sum(), w)
    assert np.allclose(g.data, f.data)
    assert nn.gradgradcheck(lambda w: F.linear(w, w), w)


def test_hooks_see_and_change_gradients():
    x = T([1.0, 2.0])
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    h = x * 2
    h.register_hook(lambda g: g * 10)
    h.retain_grad()
    h.sum().backward()
    assert seen == [[20, 20]]
    assert x.grad.tolist() == [20, 20]
    assert h.grad is not None
    handle.remove()
    handle.remove()
    (x * 2).sum().backward()
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="must need a gradient"):
        T([1.0], grad=False).register_hook(print)
    for wrong, words in ((5.0, "float"), ([1.0, 1.0], "list"), (np.ones(1), r"\(1,\)")):
        h = x * 2
        h.register_hook(lambda g, wrong=wrong: wrong)
        for lane in (lambda h: h.sum().backward(), lambda h: nn.grad(h.sum(), x)):
            with pytest.raises(RuntimeError, match=rf"gradient's shape \(2,\).*, got {words}"):
                lane(h)
            h = h * 1  # a graph of its own
            h.register_hook(lambda g, wrong=wrong: wrong)


def test_anomaly_mode_names_the_operation_and_the_layer():
    class Bad(nn.Module):
        def forward(self, x):
            return (x - 5).sqrt()

    model = nn.Sequential(nn.Linear(2, 2), Bad())
    with nn.detect_anomaly():
        with pytest.raises(RuntimeError, match=r"nn\.sqrt.*in layer Sequential\.1 \(Bad\)"):
            model(nn.zeros(1, 2))
        nan = T([np.nan])
        (nan * 2).sum()  # not the first
        with pytest.raises(
            RuntimeError, match=r"nn\.multiply: the result must not be the first NaN"
        ):
            T([0.0]) * T([np.inf], grad=False)
        wrong = Rule("wrong", lambda x: x * 1.0, lambda g, saved, node: g * np.nan)
        with pytest.raises(
            RuntimeError, match=r"nn\.wrong: the gradient must not be the first NaN"
        ):
            wrong(T([1.0])).sum().backward()
    assert np.isnan(model(nn.zeros(1, 2)).data).all()


def test_checkpoint_equals_the_plain_way():
    layer = nn.Linear(3, 3, dtype=np.float64)
    x = T(np.arange(6.0).reshape(2, 3))

    def f(x, scale):
        return layer(x).tanh() * scale, x * 2

    a, b = f(x, 2.0)
    want = nn.grad((a * a).sum() + b.sum(), (x, layer.weight, layer.bias))
    a, b = nn.checkpoint(f, x, 2.0)
    got = nn.grad((a * a).sum() + b.sum(), (x, layer.weight, layer.bias), retain_graph=True)
    for p, q in zip(want, got, strict=True):
        assert np.allclose(p.data, q.data)
    ((a * a).sum() + b.sum()).backward()
    assert np.allclose(layer.weight.grad.data, want[1].data)
    second = nn.gradgradcheck(lambda x: nn.checkpoint(lambda x: x.tanh() * x, x), x)
    assert second
    with nn.no_grad():
        assert not nn.checkpoint(f, x, 2.0)[0].requires_grad


def test_long_chains_need_no_deep_recursion():
    x = T([1.0])
    y = x
    for _ in range(50_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y


def train(seed, results, threads=None):
    g = nn.Generator(seed)
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(64, 20)), rng.integers(0, 3, 64)
    w1 = nn.Tensor(rng.normal(size=(30, 20)), True)
    w2 = nn.Tensor(rng.normal(size=(3, 30)), True)
    for _ in range(10):
        h = F.dropout(F.linear(X, w1).relu(), 0.3, generator=g)
        loss = F.cross_entropy(F.linear(h, w2), y)
        loss.backward()
        with nn.no_grad():
            for w in (w1, w2):
                w -= 0.1 * w.grad
                w.grad = None
    results[seed] = (w1.data.tobytes(), w2.data.tobytes())


def test_two_threads_train_two_models_at_once_and_bits_do_not_depend_on_threads():
    alone, together = {}, {}
    for seed in range(4):
        train(seed, alone)
    workers = [threading.Thread(target=train, args=(seed, together)) for seed in range(4)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert alone == together
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            again = {}
            train(0, again)
            assert again[0] == alone[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_training_goes_on_after_fork():
    alone = {}
    train(1, alone)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            inside = {}
            train(1, inside)
            os.write(write, b"1" if inside == alone else b"0")
        finally:
            os._exit(0)
    os.close(write)
    answer = os.read(read, 1)
    os.waitpid(pid, 0)
    assert answer == b"1"


def test_gradcheck_finds_wrong_gradients():
    wrong = Rule("wrong", lambda x: x * x, lambda g, saved, node: g * 2.0)
    x = T([3.0, 1.0])
    with pytest.raises(RuntimeError, match="output 0 by input 0"):
        nn.gradcheck(wrong, x)
    assert not nn.gradcheck(wrong, x, raise_exception=False)
    second = Rule("second", lambda x: x * x * x, lambda g, saved, node: g * (3 * saved[0] ** 2),
                  {0: ()},
                  twice=lambda g, saved, node: g * (saved[0].detach() ** 2 * 3))  # fmt: skip
    assert nn.gradcheck(second, x)
    with pytest.raises(RuntimeError, match="gradients must equal differences"):
        nn.gradgradcheck(second, x)
    with pytest.raises(ValueError, match="must be float64"):
        nn.gradcheck(lambda x: x, nn.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="must need a gradient"):
        nn.gradcheck(lambda x: x, nn.ones(2))


def test_gradcheck_compares_each_output_with_its_own_differences():
    x, y = T([3.0, 1.0]), T([2.0, 5.0])
    assert nn.gradcheck(lambda x: (x.argmax(), x.detach() * 2, x * 3), x)
    assert nn.gradgradcheck(lambda x, y: x * 3 + y**2, (x, y), nn.Tensor(np.ones(2)))
    assert nn.gradcheck(lambda x: nn.Tensor(np.ones(2)), x)
    message = "where the inputs change any, got none that does and output 1 changed by input 0"
    with pytest.raises(RuntimeError, match=message):
        nn.gradcheck(lambda x: (nn.Tensor(np.ones(2)), x.detach() * 2), x)
    assert not nn.gradcheck(lambda x: x.detach() * 2, x, raise_exception=False)


def test_gradcheck_records_what_it_is_given():
    with nn.no_grad():
        assert nn.gradgradcheck(lambda x: x**3, T([3.0, 1.0]))
        assert not nn.gradcheck(lambda x: x * x.detach(), T([3.0, 1.0]), raise_exception=False)


def test_gradcheck_asks_for_all_inputs_and_for_each_alone(monkeypatch):
    def alone(output, inputs, *args, **options):
        found = grad(output, inputs, *args, **options)
        return found if len(inputs) == 2 else [g * 2.0 for g in found]

    grad = nn.grad
    inputs = T([3.0, 1.0]), T([2.0, 5.0])
    monkeypatch.setattr("kernelmill.nn._gradcheck.grad", alone)
    with pytest.raises(RuntimeError, match="one input must equal those of all, got output 0 by in"):
        nn.gradcheck(lambda x, y: x * y, inputs)
    assert not nn.gradcheck(lambda x, y: x * y, inputs, raise_exception=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_native_pass_gives_the_bits_of_the_python_pass(dtype):
    """`_runtime.back` beside `run_back`, over several results, hooks, views and a checkpoint."""
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((300, 500)).astype(dtype), rng.standard_normal(500).astype(dtype)

    def gradients(native):
        a, b = nn.Tensor(A, requires_grad=True), nn.Tensor(B, requires_grad=True)
        y = (a * b + a / (b * b + 1.0) - b) * 2.0 - a * 0.5
        y.register_hook(lambda g: g * 0.5)
        u, v = y.chunk(2, 0)
        best, _ = y.max(1)
        repeated = nn.checkpoint(lambda q: (q * q).sum(), a)
        out = ((u * v).tanh() * u.T.T).sum() + repeated + (best * best).sum() + (a + a + a).sum()
        if native:
            out.backward()
        else:
            with nn.no_grad():
                _backward.run_back([(out._node, np.ones((), dtype))], None, False, False)
        return a.grad.data, b.grad.data

    for got, want in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(got, want)


def test_compiled_calls_of_rules_record_what_python_calls_do():
    """A rule beside its `apply`: results, parents, what is saved, options."""
    x = nn.Tensor(np.float32([[1.0, -2.0], [3.0, 4.0]]), requires_grad=True)
    w = nn.Tensor(np.float32([[0.5, 2.0]]), requires_grad=True)
    plain = nn.Tensor(np.float32([[0.5, 2.0]]))
    given = {"activation": "relu", "parameter": 0.0}
    calls = [
        (dense._dense, (x, w, None), given), (dense._dense, (x, plain, None), given),
        (dense._dense, (plain, w, None), given), (dense._dense, (plain, plain, None), given),
        (dense._dense, (x.data, w.data, None), given),
        (_reductions.total, (x,), {"axis": (0,), "keepdims": False}),
        (_reductions.largest, (x,), {"axis": (0, 1), "keepdims": True}),
    ]  # fmt: skip
    for quiet in (False, True):
        for rule, inputs, options in calls:
            with nn.set_grad_enabled(not quiet):
                a, b = rule(*inputs, **options), rule.apply(*inputs, **options)
            assert type(a) is type(b)
            if not isinstance(a, nn.Tensor):
                np.testing.assert_array_equal(a, b)
                continue
            np.testing.assert_array_equal(a.data, b.data)
            assert (a._node is None) == (b._node is None)
            if a._node is None:
                continue
            one, other = a._node, b._node
            assert (one.rule, one.options, one.shape) == (other.rule, other.options, other.shape)
            assert all(p is q for p, q in zip(one.parents, other.parents, strict=True))
            assert len(one.saved) == len(other.saved)
            for p, q in zip(one.saved, other.saved, strict=True):
                assert (p is None) == (q is None)
                if p is not None:
                    np.testing.assert_array_equal(p, q)
    with pytest.raises(RuntimeError, match="must have the weight's number of features"):
        nn.functional.linear(x, nn.ones(2, 3))


def test_operators_obey_the_backend_and_leave_other_operands_to_python():
    x = nn.Tensor(np.float32([1.0, 2.0]), requires_grad=True)
    with kernelmill.backend("numpy"):
        assert (x + x).tolist() == [2.0, 4.0]
    assert (x + np.float64([1.0, 1.0])).dtype == np.float64
    assert (2 - x).tolist() == [1.0, 0.0]
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "1"


@pytest.mark.parametrize("lane", ["backward", "grad"])
@pytest.mark.parametrize("shape", [(), (3,), (1 << 8, 1 << 8)])
def test_gradients_of_many_uses_are_added(shape, lane):
    x = nn.Tensor(np.full(shape, 0.5), requires_grad=True)
    y = x + 1.0
    kept = []
    for one in (x, y):
        one.register_hook(lambda g: kept.append((g.data, g.data.copy())))
    out = y + y + (-y) + y * 2 + x.exp() + x + x * 3
    seed = nn.Tensor(np.ones(shape))
    expected = np.full(shape, 7 + np.exp(0.5))
    for times in (1, 2, 3):
        if lane == "backward":
            out.backward(seed, retain_graph=True)
            found, expected_now = x.grad.data, times * expected
        else:
            found, expected_now = nn.grad(out, x, seed, retain_graph=True)[0].data, expected
        np.testing.assert_allclose(found, expected_now, rtol=1e-12)
    np.testing.assert_array_equal(seed.data, 1.0)
    assert len(kept) == 6
    for now, then in kept:  # what a hook keeps stays as it was
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("lane", ["backward", "grad"])
def test_one_array_may_be_the_gradient_of_two_inputs(lane):
    def twice(g, saved, node):
        d = 2 * g
        return d, d

    rule = Rule("both", np.add, twice)
    x, y = (nn.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    out = (x * 3 + x * 4 + rule(x, y)).sum()
    if lane == "backward":
        out.backward()
        found = x.grad, y.grad
    else:
        found = nn.grad(out, [x, y])
    assert [g.tolist() for g in found] == [[9.0, 9.0], [2.0, 2.0]]
