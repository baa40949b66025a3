"""Dask collections: partitions are chunks, passes survive dying workers, lost clusters raise.

Ops are made inside functions, so that they travel by value: workers cannot import this file.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from kernelmill import stream

# ruff: noqa: E402 (the module under test imports these lazily, so that they stay optional)
dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask[array] is not installed")
dd = pytest.importorskip("dask.dataframe", reason="dask[dataframe] is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")

from kernelmill.stream import _dask
from kernelmill.stream._dask import ClusterError

N, D = 103, 5


def numbers(n=N):
    return np.random.default_rng(1).normal(size=(n, D))


def make_op():
    import numpy as np

    def op(X, shift=0.0, sample_weight=None):
        X = np.ascontiguousarray(X, dtype=np.float64) - shift
        w = np.ones(len(X)) if sample_weight is None else sample_weight
        return w.sum(), (w[:, None] * X).sum(axis=0), {"gram": (w[:, None] * X).T @ X}

    return op


def assert_equal(a, b):
    assert a[0] == b[0]
    np.testing.assert_array_equal(a[1], b[1])
    np.testing.assert_array_equal(a[2]["gram"], b[2]["gram"])


def frame(X):
    return pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])


def dask_frame(X):
    # Of a class that workers can import: `frame` would travel as a name of this file.
    make, meta = dask.delayed(pd.DataFrame), frame(X[:0])
    parts = [make(X[i : i + 10], columns=meta.columns) for i in range(0, len(X), 10)]
    return dd.from_delayed(parts, meta=meta)


COLLECTIONS = {
    "array": lambda X: da.from_array(X, chunks=(10, D)),
    "columns split": lambda X: da.from_array(X, chunks=(10, 2)),
    "unknown sizes": lambda X: dask_frame(X).to_dask_array(),
    "frame": dask_frame,
}


@pytest.fixture(params=COLLECTIONS)
def make(request):
    return COLLECTIONS[request.param]


@pytest.fixture(autouse=True)
def in_this_thread(request):
    """Tests that do not ask for the cluster run their tasks here, without its cost."""
    if "cluster" in request.fixturenames:
        yield
    else:
        with dask.config.set(scheduler="synchronous"):
            yield


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread each, and a client."""
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


def check_all(X, collection):
    op = make_op()
    s = stream.source(collection)
    reference = stream.source(X, chunk_rows=10)
    assert s.n_features == D
    for _ in range(2):
        assert_equal(s.map_reduce(op, 0.1), reference.map_reduce(op, 0.1))
    assert s.n_rows == N
    parts = list(s.map(lambda X, k: X[:, k], 2))
    np.testing.assert_array_equal(np.concatenate(parts), X[:, 2])
    np.testing.assert_array_equal(s.take([50, 3, 3, 102]), X[[50, 3, 3, 102]])
    assert s.take([]).shape == (0, D)
    np.testing.assert_array_equal(np.concatenate([part for part, w in s]), X)


def test_without_a_cluster(make):
    X = numbers()
    for scheduler in ("synchronous", "threads"):
        with dask.config.set(scheduler=scheduler):
            check_all(X, make(X))


def test_on_a_cluster(make, cluster):
    X = numbers()
    check_all(X, make(X))


def test_fresh_source_counts_and_takes(make):
    X = numbers()
    assert stream.source(make(X)).count_rows() == N
    np.testing.assert_array_equal(stream.source(make(X)).take([7, 90]), X[[7, 90]])
    rows, w, indices = stream.source(make(X)).sample(5, random_state=0)
    assert w is None
    np.testing.assert_array_equal(rows, X[indices])


@pytest.mark.parametrize("kind", ["numpy", "dask", "dask other chunks"])
def test_weights(make, kind):
    X, w, op = numbers(), np.arange(N, dtype=float), make_op()
    given = w
    if kind != "numpy":
        given = da.from_array(w, chunks=10 if kind == "dask" else 40)
    s = None
    if kind == "dask other chunks" and make not in (
        COLLECTIONS["array"],
        COLLECTIONS["columns split"],
    ):
        with pytest.raises(ValueError, match="sample_weight must have the partitions of X"):
            stream.source(make(X), given)
    else:
        s = stream.source(make(X), given)
        expected = stream.source(X, w, chunk_rows=10).map_reduce(op)
        for _ in range(2):
            assert_equal(s.map_reduce(op), expected)
        _, weights, indices = s.sample(4, random_state=0)
        np.testing.assert_array_equal(weights, w[indices])
    with pytest.raises(ValueError, match="sample_weight must"):
        stream.source(make(X), w[:-1]).map_reduce(op)


def test_weight_column_and_names():
    X, op = abs(numbers()), make_op()
    s = stream.source(COLLECTIONS["frame"](X), "c1")
    assert s.feature_names.tolist() == ["c0", "c2", "c3", "c4"]
    expected = stream.source(X[:, [0, 2, 3, 4]], X[:, 1], chunk_rows=10).map_reduce(op)
    assert_equal(s.map_reduce(op), expected)
    with pytest.raises(ValueError, match="must be a column of X, got 'no'"):
        stream.source(COLLECTIONS["frame"](X), "no")


def test_dtype_and_chunk_rows():
    X = numbers().astype(np.float32)
    s = stream.source(da.from_array(X, chunks=(50, D)), chunk_rows=10)
    assert s.dtype == np.float32
    assert [part.shape for part, w in s] == [(10, D)] * 10 + [(3, D)]
    with pytest.raises(ValueError, match="chunk_rows must be None for a Dask DataFrame"):
        stream.source(COLLECTIONS["frame"](X), chunk_rows=10)


def test_bad_collections():
    with pytest.raises(ValueError, match="X must be 2-D"):
        stream.source(da.ones(5))
    with pytest.raises(ValueError, match="X must be numeric, got dtype"):
        stream.source(da.from_array(np.array([["a"]])))
    texts = dd.from_pandas(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), npartitions=1)
    with pytest.raises(ValueError, match="got column 'b' of type"):
        stream.source(texts)
    with pytest.raises(ValueError, match="X must be 2-D"):
        stream.source(texts["a"])
    with pytest.raises(ValueError, match="at least one row"):
        stream.source(da.ones((0, 3))).map_reduce(make_op())


def test_partitions_without_rows():
    X, op = numbers(), make_op()
    collection = COLLECTIONS["frame"](X)
    few = collection[collection.c0 > 1.5]
    dense = X[X[:, 0] > 1.5]
    s = stream.source(few)
    for _ in range(2):
        total = s.map_reduce(op)
        assert total[0] == len(dense)
        np.testing.assert_allclose(total[1], dense.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(s.take(np.arange(len(dense))), dense)
    with pytest.raises(ValueError, match="at least one row"):
        stream.source(collection[collection.c0 > 99]).map_reduce(op)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_many_partitions_fold_in_order(rows):
    """More partitions than one merging task takes."""
    X, op = numbers(), make_op()
    s = stream.source(da.from_array(X, chunks=(rows, D)))
    assert_equal(s.map_reduce(op), stream.source(X, chunk_rows=rows).map_reduce(op))


def test_own_merge():
    X = numbers()
    s = stream.source(COLLECTIONS["array"](X))
    joined = s.map_reduce(
        lambda part, sample_weight=None: [part[0, 0]], merge=lambda total, part: total + part
    )
    assert joined == X[::10, 0].tolist()


def test_validation_names_global_rows(make):
    X = numbers()
    X[57, 2] = np.nan

    def validate(part, first_row):
        import numpy as np

        bad = np.argwhere(np.isnan(part))
        if len(bad):
            raise ValueError(f"row {first_row + bad[0, 0]} has NaN")
        return part + 1

    for scheduler in ("synchronous", "threads"):
        with (
            dask.config.set(scheduler=scheduler),
            pytest.raises(ValueError, match="row 57 has NaN"),
        ):
            stream.source(make(X), validate=validate).map_reduce(make_op())
    with pytest.raises(ValueError, match="row 57 has NaN"):
        list(stream.source(make(X), validate=validate))


def test_changed_partitions_are_an_error():
    sizes = [10, 10, 10, 9]
    parts = [dask.delayed(lambda: np.ones((sizes.pop(0), 2)))() for _ in range(2)]
    arrays = [da.from_delayed(part, (np.nan, 2), dtype=float) for part in parts]
    s = stream.source(da.concatenate(arrays, allow_unknown_chunksizes=True))
    with dask.config.set(scheduler="synchronous"):
        s.map_reduce(make_op())
        with pytest.raises(ValueError, match="same partitions in every pass, got 9 rows in part"):
            s.map_reduce(make_op())


# --- clusters ------------------------------------------------------------------------------------


def test_pipelines_run_where_the_partitions_are(cluster):
    from sklearn.pipeline import make_pipeline

    from kernelmill.cluster import KMeans
    from kernelmill.preprocessing import SimpleImputer, StandardScaler

    X = numbers()
    X[::9, 1] = np.nan
    start = np.repeat([[0.0], [1.0], [-1.0]], D, axis=1)
    steps = SimpleImputer(strategy="median"), StandardScaler(), KMeans(3, init=start)
    whole = make_pipeline(*steps).fit(X)[-1].inertia_
    pipe = make_pipeline(*steps).fit(da.from_array(X, chunks=(20, D)))
    assert pipe[-1].inertia_ == pytest.approx(whole, rel=1e-12)
    X[57, 2] = np.nan
    with pytest.raises(ValueError, match=r"^KMeans: X must be finite, got NaN at row 57"):
        make_pipeline(*steps[1:]).fit(da.from_array(np.nan_to_num(X) + 0 * X[:, 2:3], chunks=20))


def test_error_of_the_op_comes_through(cluster):
    s = stream.source(COLLECTIONS["array"](numbers()))

    def fail(X, sample_weight=None):
        raise ZeroDivisionError("the op's own")

    def late(X, sample_weight=None):
        raise TimeoutError("the op's own")

    with pytest.raises(ZeroDivisionError, match="the op's own"):
        s.map_reduce(fail)
    with pytest.raises(TimeoutError, match="the op's own"):
        s.map_reduce(late)
    assert s.map_reduce(make_op())[0] == N


def test_two_fits_at_once(cluster):
    X, op, results = numbers(), make_op(), {}

    def fit(name):
        s = stream.source(COLLECTIONS["array"](X))
        for step in range(5):
            results[name, step] = s.map_reduce(op, float(step))

    threads = [threading.Thread(target=fit, args=(name,), daemon=True) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for step in range(5):
        expected = stream.source(X, chunk_rows=10).map_reduce(op, float(step))
        assert_equal(results["a", step], expected)
        assert_equal(results["b", step], expected)


def test_worker_killed_in_the_middle_of_a_pass(cluster, tmp_path):
    """The pass ends with the same bits: Dask runs again what the dead worker held."""
    X = numbers()
    flag = str(tmp_path / "killed")

    def op(X, sample_weight=None):
        import os
        import signal
        import time

        time.sleep(0.05)
        if X[0, 0] > 1e5:
            try:
                os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return X.sum(axis=0)

    X[50, 0] = 1e6
    s = stream.source(COLLECTIONS["array"](X))
    start = time.monotonic()
    total = s.map_reduce(op)
    assert os.path.exists(flag)
    assert time.monotonic() - start < 60
    np.testing.assert_array_equal(total, stream.source(X, chunk_rows=10).map_reduce(op))
    cluster.wait_for_workers(2, timeout=90)


def test_partition_that_always_kills_its_worker(cluster):
    def op(X, sample_weight=None):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    s = stream.source(da.ones((4, 2), chunks=(4, 2)), owner="KMeans")
    with pytest.raises(ClusterError, match=r"^KMeans: the Dask cluster must keep its workers, got"):
        s.map_reduce(op)
    cluster.wait_for_workers(2, timeout=90)


@pytest.mark.parametrize("own", [True, False], ids=["op's own", "lost"])
def test_task_that_fails_as_the_wait_runs_out(own):
    """A wait that ran out is not the task's error, whatever became of the task meanwhile."""
    lost = distributed.scheduler.KilledWorker("task", None, [])
    error = TimeoutError("the op's own") if own else lost

    class LateFuture:
        status = "pending"

        def result(self, timeout=None):
            if self.status == "error":
                raise error
            self.status = "error"
            raise TimeoutError("the wait ran out")

    class Client:
        def nthreads(self, callback_timeout):
            return {"worker": 1}

    s = stream.source(da.ones((4, 2), chunks=(4, 2)), owner="KMeans")
    expected = TimeoutError if own else ClusterError
    with pytest.raises(expected, match="the op's own" if own else "must keep its workers"):
        s._result(LateFuture(), Client())


def test_cluster_without_workers(monkeypatch):
    monkeypatch.setattr(_dask, "PATIENCE", 1.0)
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=":0", protocol="tcp"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
        client.as_current(),
    ):
        s = stream.source(da.ones((4, 2), chunks=(2, 2)))
        start = time.monotonic()
        with pytest.raises(ClusterError, match="must have a worker, got none for 1 seconds"):
            s.map_reduce(make_op())
        assert time.monotonic() - start < 30


def test_scheduler_that_dies(tmp_path):
    """A scheduler in a process of its own is killed in the middle of a pass."""
    code = """
import dask.array as da
import os, signal, sys, threading, time
import distributed
from kernelmill import stream
from kernelmill.stream._dask import ClusterError

def op(X, sample_weight=None):
    import time
    time.sleep(60)

if __name__ == "__main__":
    import subprocess
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
         "--scheduler-file", sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard",
         "--scheduler-file", sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = distributed.Client(scheduler_file=sys.argv[1])
    client.wait_for_workers(1)
    s = stream.source(da.ones((4, 2), chunks=(2, 2)))
    threading.Timer(1.0, scheduler.kill).start()
    try:
        s.map_reduce(op)
    except ClusterError as error:
        print("ClusterError", error)
    finally:
        worker.kill(); scheduler.kill(); worker.wait(); scheduler.wait()
    os._exit(0)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "scheduler.json")],
        capture_output=True,
        text=True,
        timeout=75,
        check=False,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"},
    )
    assert "ClusterError stream.source: the Dask cluster must" in done.stdout, done.stderr
    assert time.monotonic() - start < 60


def test_interrupt_stops_the_pass(cluster):
    def op(X, sample_weight=None):
        import time

        time.sleep(0.5)

    s = stream.source(COLLECTIONS["array"](numbers()))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        s.map_reduce(op)
    timer.join()
    assert time.monotonic() - start < 5
    assert s.map_reduce(make_op())[0] == N
