"""Elementary functions against their specification; cpp/tests/math_test.cpp measures the errors."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases

from kernelmill.ops import elementwise

# Largest error in units in the last place: of the C++ twin as documented, or of CUDA's function
# where that is larger (erf). One more is allowed for the specification: NumPy and SciPy round too.
ULPS = {"exp": 1.1, "log": 1.0, "log1p": 1.5, "tanh": 3.0, "erf": 2.0, "logistic": 2.5}
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1000.0, -1000.0, 88.7,
           -87.4, 709.7, -745.2, 0.5, 2.0)  # fmt: skip


def case(function, name, x, big=False):
    with np.errstate(all="ignore"):
        want = function.specification(x)
        ulp = np.spacing(np.abs(want).astype(x.dtype)).astype(np.float64)
    return Case(name, (x,), bounds=((ULPS[function.op_name] + 1) * ulp,), big=big)


def register(function):
    @cases(function.name)
    def generate():
        for dtype in DTYPES:
            rng = np.random.default_rng(1)
            for n in (0, *SIZES):
                for scale in (0.1, 3.0, 60.0):
                    x = (rng.normal(size=n) * scale).astype(dtype)
                    yield case(function, f"{n} x {scale} {dtype.__name__}", x)
            yield case(function, "special values", np.array(SPECIAL, dtype))
            yield case(function, "scalar", np.array(0.25, dtype))
            x = rng.uniform(1, 9, (3, 5, 7)).astype(dtype)
            yield case(function, "strided", x[:, ::-2, 1:])
            yield case(function, "empty", x[:, :0])
            yield case(function, "big", rng.normal(size=(500, 400)).astype(dtype), big=True)


for _function in (elementwise.exp, elementwise.log, elementwise.log1p, elementwise.tanh,
                  elementwise.erf, elementwise.logistic):  # fmt: skip
    register(_function)

test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("elementwise")


@pytest.mark.parametrize("name", sorted(ULPS))
def test_integers_are_refused(name):
    with pytest.raises(ValueError, match="x must be float32 or float64, got int64"):
        getattr(elementwise, name)(np.arange(3))
