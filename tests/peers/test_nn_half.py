"""float16 storage: what tests/peers/test_nn.py compares with torch, from float16 tensors.

torch computes in float64 from the same rounded numbers. Each rule of ours computes in float32 and
rounds what it gives, so an error is some units in the last place of float16, of the largest entry.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kernelmill import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
spec = importlib.util.spec_from_file_location("torch_beside", Path(__file__).parent / "test_nn.py")
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)

# Units in the last place: a handful of rounded operations, forward and backward.
UNITS = 8
# Where errors grow: powers of products, differences divided by themselves, inverses.
STEEP = {"product with itself": 4, "powers": 4, "inv": 16, "slogdet": 8, "det": 8, "cholesky": 8,
         "solve": 16, "tan": 4, "atanh": 16, "asin": 4, "acos": 4, "cosine_embedding": 4,
         "instance_norm": 4, "group_norm": 4, "batch_norm": 4, "layer_norm": 4,
         "var": 2, "norm": 2, "std": 2, "gaussian_nll": 4, "ctc": 8, "interpolate": 2}  # fmt: skip


def near(ours, theirs, name):
    ours = np.asarray(ours.data if isinstance(ours, nn.Tensor) else ours, dtype=np.float64)
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    size = max(float(np.abs(theirs).max()) if theirs.size else 0.0, 1.0)
    bound = UNITS * STEEP.get(name.partition(":")[0], 1) * 2.0**-11 * size
    worst = float(np.abs(ours - theirs).max()) if theirs.size else 0.0
    assert worst <= bound, f"{name}: {worst:.3g} above {bound:.3g}"


def compare(name, ours, theirs, shapes, kind="", second=True):
    given = shared.arrays(name, shapes, kind)
    given = [x.astype(np.float16) if isinstance(x, np.ndarray) else x for x in given]
    arrays = [isinstance(x, np.ndarray) for x in given]
    a = [nn.Tensor(x.copy(), True) if isinstance(x, np.ndarray) else x for x in given]
    b = [torch.tensor(x.astype(np.float64), requires_grad=True)
         if isinstance(x, np.ndarray) else x for x in given]  # fmt: skip
    ya, yb = ours(*a), theirs(*b)
    near(ya, yb, name)
    weight = np.random.default_rng(7).normal(size=tuple(yb.shape)).astype(np.float16)
    leaves = [x for x, is_array in zip(a, arrays, strict=True) if is_array]
    wanted = [x for x, is_array in zip(b, arrays, strict=True) if is_array]
    gb = torch.autograd.grad(yb, wanted, torch.tensor(weight.astype(np.float64)),
                             allow_unused=True)  # fmt: skip
    lanes = (False, True) if second else (False,)
    for lane in lanes:
        ga = nn.grad(ya, leaves, weight, retain_graph=True, create_graph=lane, allow_unused=True)
        for i, (x, y) in enumerate(zip(ga, gb, strict=True)):
            if y is None:
                assert x is None or not np.any(x.data), f"{name}: gradient {i}"
            elif x is None:
                assert not y.any(), f"{name}: gradient {i}"
            else:
                assert x.dtype == np.float16, f"{name}: gradient {i}"
                near(x, y, f"{name}: gradient {i}")


shared.compare = compare


@pytest.mark.parametrize("name", shared.TENSOR)
def test_functions_of_tensors(name):
    function, shapes, kind = shared.TENSOR[name]
    compare(name, function, function, shapes, kind)


@pytest.mark.parametrize("name", shared.ACTIVATIONS)
def test_activations(name):
    shared.test_activations_equal_torch(name, (4, 5))


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # torch's own, about kl_div
@pytest.mark.parametrize("name", shared.LOSSES)
def test_losses(name):
    shared.test_losses_equal_torch(name, "mean")


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(
    "run",
    [
        lambda: shared.test_gelu_equals_torch("tanh"),
        lambda: shared.test_prelu_equals_torch(),
        lambda: shared.test_binary_cross_entropy_equals_torch("mean"),
        lambda: shared.test_cross_entropy_equals_torch((2, 3, 4), "mean", 0.1, True),
        lambda: shared.test_cross_entropy_of_probabilities_equals_torch("sum", 0.2),
        lambda: shared.test_losses_of_several_inputs_equal_torch(),
        lambda: shared.test_norms_equal_torch((4, 4, 3)),
        lambda: shared.test_padding_equals_torch("reflect"),
        lambda: shared.test_embeddings_equal_torch(),
        lambda: [shared.test_convolutions_equal_torch(*c) for c in shared.CONVOLUTIONS],
        lambda: [shared.test_transposed_convolutions_equal_torch(*c) for c in shared.TRANSPOSED],
        lambda: [shared.test_pools_equal_torch(*p) for p in shared.POOLS],
        lambda: shared.test_einsum_equals_torch("...ij,...jk", [(2, 3, 4), (4, 2)]),
        lambda: [shared.test_factorisations_equal_torch(n) for n in ("inv", "det", "slogdet")],
        lambda: shared.test_solve_equals_torch(),
    ],
)  # fmt: skip
def test_groups(run):
    run()
