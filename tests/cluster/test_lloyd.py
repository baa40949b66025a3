"""Slices, tolerance and relocation."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kernelmill import stream
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import KMeans, _lloyd
from kernelmill.cluster._lloyd import (
    choose_bounds,
    lloyd,
    relocated_centers,
    steps_per_slice,
    tolerance,
)
from kernelmill.cluster._statistics import Far


def test_slices_stay_near_their_work():
    assert steps_per_slice(200_000, 32, 100) == 1
    assert steps_per_slice(600, 5, 6) > 1000


def test_slices_never_change_a_bit(make, monkeypatch):
    X = make(2000, 4, 30, spread=1.0)
    # Starts with an empty cluster, so that a slice must find the centers before its last step.
    start = np.vstack([X[:29], np.full((1, 4), 50.0)])
    found = []
    for flops in (1.0, 2 * 3 * 2000 * 4 * 30, 2e9):
        monkeypatch.setattr(_lloyd, "_SLICE_FLOPS", flops)
        found.append(KMeans(30, init=start, tol=0).fit(X))
    for other in found[1:]:
        np.testing.assert_array_equal(other.cluster_centers_, found[0].cluster_centers_)
        np.testing.assert_array_equal(other.labels_, found[0].labels_)
        assert other.n_iter_ == found[0].n_iter_


def test_bounds_are_chosen_by_size():
    f4 = np.dtype(np.float32)
    assert choose_bounds(10**5, 32, 100, f4, "lloyd")
    assert not choose_bounds(10**5, 32, 4, f4, "lloyd")
    assert not choose_bounds(10**9, 32, 100, f4, "lloyd")
    assert not choose_bounds(10**5, 32, 100, f4, "plain")
    assert choose_bounds(10**5, 32, 2, f4, "elkan")


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_tolerance_is_the_mean_variance(blobs, rng, shift):
    X = blobs + shift
    w = rng.random(300)
    for weight in (None, w):
        mean = np.average(X, axis=0, weights=weight)
        variance = np.average((X - mean) ** 2, axis=0, weights=weight).mean()
        found = tolerance(Rows(X, weight, "KMeans"), 1e-4)
        assert found == pytest.approx(1e-4 * variance, rel=1e-6)
    assert tolerance(Rows(X, None, "KMeans"), 0) == 0.0


def test_relocation_takes_the_farthest_rows():
    centers, dtype = np.zeros((4, 1)), np.dtype(float)
    squared, rows = np.array([100.0, 100.0, 98.01]), np.array([[10.0], [10.0], [9.9]])
    far = Far(squared, squared, rows, np.zeros(3, np.int32), np.ones(3))
    moved = relocated_centers(centers, [1, 3], far, dtype)
    np.testing.assert_array_equal(moved.ravel(), [0.0, 10.0, 0.0, 9.9])  # equal rows only once
    np.testing.assert_array_equal(centers, 0)
    assert relocated_centers(centers, [1], far._replace(costs=np.zeros(3)), dtype) is None
    assert relocated_centers(centers, [1], far._replace(squared=np.full(3, 1e-31)), dtype) is None


def test_relocation_takes_rows_out_of_their_means():
    centers = np.array([[2.0], [50.0], [9.0]])  # of the rows -1, 2, 5 and 9
    far = Far(
        np.array([30.0, 40.0, 20.0]),
        np.array([30.0, 20.0, 10.0]),
        np.array([[9.0], [5.0], [-1.0]]),
        np.array([2, 0, 0], np.int32),
        np.array([1.0, 2.0, 2.0]),
    )
    weights = np.array([6.0, 0.0, 1.0])
    moved = relocated_centers(centers, [1], far, np.dtype(float), weights)
    # The row 9 is alone in its cluster and stays; 5 leaves (2 * -1 + 2 * 2) / 4.
    np.testing.assert_allclose(moved.ravel(), [0.5, 5.0, 9.0], rtol=1e-15)
    np.testing.assert_array_equal(weights, [6.0, 0.0, 1.0])
    alone = Far(*(values[:1] for values in far))
    assert relocated_centers(centers, [1], alone, np.dtype(float), weights) is None


def test_passes_equal_the_fused_op(make):
    X = make(700, 5, 9, np.float32, spread=1.0)
    start, rows = X[:9].astype(np.float64), Rows(X, None, "KMeans")
    fused = lloyd(rows, start, max_iter=50, tol=0.0)
    chunks = Rows(None, None, "KMeans", source=stream.source(X))
    passes = lloyd(chunks, start, max_iter=50, tol=0.0)
    assert rows.is_dense  # which chooses the fused op
    assert not chunks.is_dense
    np.testing.assert_array_equal(fused.state.centers, passes.state.centers)
    np.testing.assert_array_equal(fused.state.labels, passes.state.labels)
    assert fused.n_iter == passes.n_iter
    assert fused.objective == pytest.approx(passes.objective, rel=1e-6)


SLOW_FIT = """
import numpy as np, time
from kernelmill.cluster import KMeans
rng = np.random.default_rng(0)
X = rng.normal(size=(60_000, 16)).astype(np.float32)
model = KMeans(5, random_state=0).fit(X[:1000])
before = model.cluster_centers_.copy()
model.set_params(**dict(dict(n_clusters=200, n_init=1000, tol=0), {more}))
print("ready", flush=True)
try:
    model.fit(X)
except KeyboardInterrupt:
    assert np.array_equal(model.cluster_centers_, before), "half a fit was left behind"
    assert model.predict(X[:5]).shape == (5,)
    print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    "more",
    [
        "init='random'",
        "init='random', algorithm='plain'",
        "init='k-means++'",
        "init='random', n_clusters=8, n_init=66, max_iter=100_000",  # side by side
    ],
)
def test_ctrl_c_stops_a_long_fit(more):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_FIT.format(more=more)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            asked = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "stopped\n"
            # A slice is about 0.1 s; the rest is for a machine that does other things too.
            assert time.monotonic() - asked < 10
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fit_in_a_forked_child(make):
    X = make(5000, 8, 20)
    parent = KMeans(20, random_state=0).fit(X)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            model = KMeans(20, random_state=0).fit(X)
            same = np.array_equal(model.cluster_centers_, parent.cluster_centers_)
            same = same and np.array_equal(parent.predict(X), parent.labels_)
            os.write(write, b"same" if same else b"different")
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert done[1] == 0
    assert os.read(read, 100) == b"same"
    os.close(read)


class TestPruning:
    def test_plain_steps_then_a_trial_then_longer_waits(self):
        pruning = _lloyd.Pruning(np.empty((10, 2)), always=False)
        phases = []
        for _ in range(6):
            taken = pruning.steps
            phases.append((len(pruning.space), taken))
            pruning.after(taken)  # the op leaves bounds at (inf, 0): no row is settled
        assert phases == [(0, 8), (10, 2), (0, 16), (10, 2), (0, 32), (10, 2)]

    def test_bounds_that_settle_rows_are_kept(self):
        bounds = np.empty((10, 2))
        pruning = _lloyd.Pruning(bounds, always=False)
        pruning.after(pruning.steps)
        bounds[:6] = (1.0, 2.0)
        pruning.after(pruning.steps)
        assert len(pruning.space) == 10
        bounds[:] = (2.0, 1.0)
        pruning.after(pruning.steps)
        assert len(pruning.space) == 0

    def test_fewer_steps_than_asked(self):
        pruning = _lloyd.Pruning(np.empty((10, 2)), always=False)
        for left in range(8, 0, -1):
            assert pruning.steps == left
            assert len(pruning.space) == 0
            pruning.after(1)
        assert len(pruning.space) == 10

    @pytest.mark.parametrize("rows", [0, 10])
    def test_one_rule_for_all_steps(self, rows):
        pruning = _lloyd.Pruning(np.empty((rows, 2)), always=True)
        pruning.after(pruning.steps)
        assert len(pruning.space) == rows
