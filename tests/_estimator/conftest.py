"""Lets the tests here import their helper modules, and gives them a fitted model."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from golden_dummy import GoldenDummy


@pytest.fixture
def model():
    X = np.arange(12, dtype=np.float32).reshape(4, 3)
    inner = GoldenDummy(random_state=4).fit(X.astype(np.float64))
    return GoldenDummy(random_state=np.random.RandomState(2), dtype=np.float32, inner=inner).fit(X)
