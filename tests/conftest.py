"""What every test shares: a printed seed, peers on one thread, threads left as they were found."""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - its BLAS must be loaded to be limited
import sklearn.cluster  # noqa: F401 - and the OpenMP runtime
import threadpoolctl

DEFAULT_SEED = 20260101
os.environ["MPLBACKEND"] = "Agg"  # pictures are drawn and not shown


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=DEFAULT_SEED, help="seed of the `rng` fixture")


def pytest_report_header(config: pytest.Config) -> list[str]:
    import kernelmill

    found = kernelmill.info()
    level, threads = found["level"], found["threads"]
    return [
        f"kernelmill {found['version']} from {kernelmill.__file__}",
        f"level {level['running']} ({level['why']}), threads {threads['count']} ({threads['why']})",
        f"seed {config.getoption('--seed')} (change it with --seed)",
    ]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Modules and tests stay to the end: the collector, which takes a third of the time in which
    they are made, passes them neither then nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run."""
    return pytestconfig.getoption("--seed")


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A generator in the same state for every test."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session", autouse=True)
def _peers_on_one_thread():
    """Small tasks on threads that spin while others need the cores took 20 times longer."""
    with threadpoolctl.threadpool_limits({"blas": 1, "openmp": 1}):
        yield


@pytest.fixture(autouse=True)
def _thread_hygiene():
    """Each test finds the thread limit as the first one did, and legacy NumPy numbers too."""
    threads = sys.modules.get("kernelmill._threads")
    before = threads.get_threads() if threads else None
    np.random.seed(0)  # noqa: NPY002 - scikit-learn's checks draw from the legacy generator
    yield
    if threads and before is not None:
        assert threads.get_threads() == before, "a test left the thread limit changed"
