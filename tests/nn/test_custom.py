"""Functions whose backward pass the user writes."""

import gc
import weakref

import numpy as np
import pytest

from kernelmill import nn


def T(a, grad=True, dtype=np.float64):
    return nn.Tensor(np.asarray(a, dtype=dtype), requires_grad=grad)


class Power(nn.Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        assert not nn.is_grad_enabled()
        return x**power

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.power * x ** (ctx.power - 1), None


class Exp(nn.Function):
    """Keeps its result."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Both(nn.Function):
    """A product and a quotient, which it keeps; and where the signs differ."""

    @staticmethod
    def forward(ctx, x, y):
        product, quotient = x * y, x / y
        ctx.save_for_backward(x, y, quotient)
        return product, quotient, product < 0

    @staticmethod
    def backward(ctx, g, h, _):
        x, y, quotient = ctx.saved_tensors
        return g * y + h / y, g * x - h * quotient / y


def test_first_and_second_derivatives():
    x, y = T([0.5, -1.5, 2.0]), T([1.5, -0.7, -0.3])
    for function, inputs in [
        (lambda x: Power.apply(x, 3), [x]),
        (Exp.apply, [x]),
        (lambda x: Exp.apply(Exp.apply(x) * x), [x]),
        (lambda x, y: Both.apply(x, y)[0], [x, y]),
        (lambda x, y: Both.apply(x, y)[1], [x, y]),
        (lambda x, y: Both.apply(x * y, y)[0] * Both.apply(y, x)[1], [x, y]),
    ]:
        assert nn.gradcheck(function, inputs)
        assert nn.gradgradcheck(function, inputs)
    assert Both.apply(x, y)[2].requires_grad is False
    assert Both.apply(x, y)[2].tolist() == [False, False, True]


def test_a_gradient_through_inputs_that_are_not_asked_for():
    x, y = T([2.0]), T([3.0])
    (first,) = nn.grad(Both.apply(x, y)[0].sum(), x, create_graph=True)
    assert nn.grad(first.sum(), y)[0].tolist() == [1.0]  # d2(xy) / dx dy


def test_results_that_nobody_holds_are_differentiated_once_each():
    class Twice(nn.Function):
        """x and exp(x); keeps the second twice."""

        @staticmethod
        def forward(ctx, x):
            e = x.exp()
            ctx.save_for_backward(e, e)
            return x * 1, e

        @staticmethod
        def backward(ctx, g, h):
            one, two = ctx.saved_tensors
            return g * one * two + h * one

    x = T([0.5])
    # The first result alone is used, so that its gradient exp(2 x) is a function of the second.
    (first,) = nn.grad(Twice.apply(x)[0].sum(), x, create_graph=True)
    (second,) = nn.grad(first.sum(), x)
    np.testing.assert_allclose(second.item(), 2 * np.exp(1.0), rtol=1e-12)


def test_results_without_gradients_arrive_as_zeros_or_none():
    seen = []

    class Two(nn.Function):
        @staticmethod
        def forward(ctx, x, zeros):
            ctx.set_materialize_grads(zeros)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g, h))
            return h * 2, None

    for zeros in True, False:
        Two.apply(T([1.0, 2.0]), zeros)[1].sum().backward()
    assert seen[0][0].tolist() == [0.0, 0.0]
    assert seen[1][0] is None


def test_what_needs_no_gradient_is_not_recorded():
    x = T([1.0, 2.0])
    with nn.no_grad():
        assert not Power.apply(x, 2).requires_grad
    assert not Power.apply(T([1.0], grad=False), 2).requires_grad
    asked = []

    class Asked(nn.Function):
        @staticmethod
        def forward(ctx, x, y, k):
            asked.append(ctx.needs_input_grad)
            result = x * y
            mask = result * 0
            ctx.mark_non_differentiable(mask)
            return result, mask

        @staticmethod
        def backward(ctx, g, _):
            return None, g, None

    result, mask = Asked.apply(T([1.0], grad=False), x, 2)
    assert asked == [(False, True, False)]
    assert result.requires_grad
    assert not mask.requires_grad


def test_the_user_may_keep_the_gradient_that_is_returned():
    kept = nn.Tensor(np.array([10.0, 20.0]))

    class Constant(nn.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return kept

    x = T([1.0, 2.0])
    (Constant.apply(x) + x * x + Constant.apply(x)).sum().backward()
    assert x.grad.tolist() == [22.0, 44.0]
    assert kept.tolist() == [10.0, 20.0]
    x.grad.data[...] = 0
    assert kept.tolist() == [10.0, 20.0]


def test_gradients_have_the_dtype_of_their_argument():
    class Wide(nn.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return np.full(2, 0.5, np.float64)

    x = T([1.0, 2.0], dtype=np.float32)
    Wide.apply(x).sum().backward()
    assert x.grad.dtype == np.float32


def test_a_graph_is_freed_with_its_last_tensor():
    gc.disable()
    try:
        x = T([1.0, 2.0])
        quotient = Both.apply(x, x)[1]
        y = Exp.apply(quotient)
        there = weakref.ref(quotient.data)  # which the node keeps
        del quotient
        assert there() is not None
        del y
        assert there() is None
    finally:
        gc.enable()
    z = Exp.apply(x)
    z.sum().backward()
    with pytest.raises(RuntimeError, match="the graph must not have been freed, got one whose"):
        z.sum().backward()


def test_a_result_changed_in_place_is_an_error():
    x = T([1.0, 2.0])
    w = nn.Parameter(np.array([1.0, 1.0]))
    z = Power.apply(w, 2) * x
    optimizer = nn.optim.SGD([w], 0.1)
    w.grad = nn.Tensor(np.ones(2))
    optimizer.step()
    with pytest.raises(RuntimeError, match="an array that Power saved must keep its values"):
        z.sum().backward()


def test_anomalies_name_the_function():
    class Bad(nn.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return np.full(1, np.nan)

    x = T([1.0])
    with nn.detect_anomaly(), pytest.raises(RuntimeError, match=r"nn\.Bad: the gradient must not"):
        Bad.apply(x).sum().backward()


def test_errors():
    class Returns(nn.Function):
        @staticmethod
        def forward(ctx, x, what):
            ctx.what = what
            return x * 2 if what != "array" else x.data

        @staticmethod
        def backward(ctx, g):
            return {"few": g, "shape": (g.sum(), None), "array": g}[ctx.what]

    x = T([1.0, 2.0])
    with pytest.raises(TypeError, match="forward must return a tensor or a tuple of tensors, got"):
        Returns.apply(x, "array")
    with pytest.raises(RuntimeError, match="one gradient for each of 2 arguments must be returned"):
        Returns.apply(x, "few").sum().backward()
    with pytest.raises(RuntimeError, match=r"argument 0 must have its shape \(2,\), got \(\)"):
        Returns.apply(x, "shape").sum().backward()
    with pytest.raises(NotImplementedError, match="forward must be defined by the class"):
        nn.Function.apply(x)

    class Saves(nn.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)

    with pytest.raises(TypeError, match="arguments must be tensors or None, got int"):
        Saves.apply(x)


def test_a_mark_on_what_is_not_returned_marks_nothing():
    """Its address may be that of a result."""

    class Marks(nn.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_non_differentiable((x > 0).clone())
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    assert all(Marks.apply(T([1.0, 2.0])).requires_grad for _ in range(20))
