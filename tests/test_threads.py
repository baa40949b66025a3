"""Thread limits: who decides, and that processes times threads stay within the cores."""

import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import types

import joblib
import numpy as np
import pytest
import threadpoolctl
from joblib.externals.loky import get_reusable_executor

import kernelmill
from kernelmill import _levels, _threads


@pytest.fixture(autouse=True)
def automatic_limit(monkeypatch):
    """Every test starts from the automatic number and ends there."""
    for name in ("KERNELMILL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = (_threads._chosen, _threads._chosen_by)
    kernelmill.threads(None)
    yield
    monkeypatch.undo()
    _threads._choose(*before)


def in_new_process(code, **environment):
    """Standard output of `code` run by a fresh interpreter; fails with its standard error."""
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fake_module(available):
    """What `_threads` needs of a compiled module."""
    module = types.SimpleNamespace(told=[], available_threads=lambda: available)
    module.set_thread_limit = module.told.append
    return module


def work():
    """An operation of many chunks."""
    X = np.random.default_rng(0).standard_normal((20000, 8)).astype(np.float32)
    return kernelmill.ops.kmeans.assign(X, X[:16].astype(np.float64))


def test_the_automatic_number_is_what_the_process_may_use():
    count, reason = _threads.why_threads()
    assert count == kernelmill.get_threads() == _levels.cpu().available_threads()
    assert 1 <= count <= len(os.sched_getaffinity(0))
    assert reason.endswith(".")


def test_setting_and_restoring():
    automatic = kernelmill.get_threads()
    with kernelmill.threads(3) as outer:
        assert kernelmill.get_threads() == 3
        assert _threads.why_threads() == (3, "kernelmill.threads(3) was called.")
        with kernelmill.threads(np.int64(1)):
            assert kernelmill.get_threads() == 1
            assert _levels.cpu().thread_limit() == 1
        assert kernelmill.get_threads() == 3
        with kernelmill.threads(None):
            assert kernelmill.get_threads() == automatic
        assert kernelmill.get_threads() == 3
    assert kernelmill.get_threads() == automatic
    outer.restore()
    assert kernelmill.get_threads() == automatic

    limit = kernelmill.threads(5)
    assert kernelmill.get_threads() == 5
    limit.restore()
    assert kernelmill.get_threads() == automatic


def test_the_limit_comes_back_after_an_error():
    automatic = kernelmill.get_threads()
    with pytest.raises(KeyError), kernelmill.threads(7):
        raise KeyError
    assert kernelmill.get_threads() == automatic


@pytest.mark.parametrize("n", [0, -1, 2049])
def test_numbers_out_of_range(n):
    before = kernelmill.get_threads()
    with pytest.raises(ValueError, match=rf"^threads: n must be from 1 to 2048, got {n} \("):
        kernelmill.threads(n)
    assert kernelmill.get_threads() == before


@pytest.mark.parametrize("n", [1.0, "2", True, [1]])
def test_things_that_are_no_number(n):
    with pytest.raises(TypeError, match=r"^threads: n must be an integer or None, got "):
        kernelmill.threads(n)


def test_a_module_loaded_later_gets_the_limit_chosen_before(monkeypatch):
    monkeypatch.setattr(_threads, "_modules", [])
    with kernelmill.threads(3):
        late = fake_module(available=8)
        _threads.apply_to(late)
        assert late.told == [3]
    assert late.told == [3, 0]  # 0: back to its own count


@pytest.mark.parametrize(
    ("ours", "openmp", "count", "told"),
    [
        ("", "", 4, 0),
        ("6", "2", 6, 6),
        (" 1 ", "", 1, 1),
        ("", "2", 2, 2),
        ("", "3,2", 3, 3),
        ("", "16", 4, 0),
        ("", "many", 4, 0),
        ("", "0", 4, 0),
    ],
)
def test_environment(monkeypatch, ours, openmp, count, told):
    monkeypatch.setenv("KERNELMILL_NUM_THREADS", ours)
    monkeypatch.setattr(_threads, "_openmp_at_start", openmp)
    got = _threads._automatic(fake_module(available=4))
    assert got[:2] == (count, told)
    assert ("KERNELMILL_NUM_THREADS" in got[2]) == bool(ours.strip())
    assert ("OMP_NUM_THREADS" in got[2]) == (told != 0 and not ours.strip())


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "2049", "٣"])
def test_a_wrong_environment_is_an_error_that_names_it(monkeypatch, value):
    monkeypatch.setenv("KERNELMILL_NUM_THREADS", value)
    message = f"^KERNELMILL_NUM_THREADS: must be a whole number from 1 to 2048, got '{value}' "
    with pytest.raises(ValueError, match=message):
        _threads.apply_to(fake_module(available=4))


def test_the_environment_reaches_a_new_process():
    code = "import kernelmill; print(kernelmill.get_threads())"
    assert in_new_process(code, KERNELMILL_NUM_THREADS="3") == "3"
    assert in_new_process(code, OMP_NUM_THREADS="1") == "1"


@pytest.mark.parametrize(
    ("cpus", "available", "cores", "reason"),
    [
        (8, 3, 8, r"^The CPU quota of this process's cgroup rounds up to 3\.$"),
        (2, 2, 8, r"^This process may run on 2 of the machine's 8 processors\.$"),
        (8, 8, 8, r"^The machine has 8 processors\.$"),
        (1, 1, 1, r"^The machine has 1 processor\.$"),
    ],
)
def test_the_reason(monkeypatch, cpus, available, cores, reason):
    monkeypatch.setattr(_threads, "_affinity", lambda: cpus)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    count, told, sentence = _threads._automatic(fake_module(available))
    assert (count, told) == (available, 0)
    assert re.search(reason, sentence)


def test_affinity_is_respected():
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import kernelmill
        print(kernelmill.get_threads())
    """
    assert in_new_process(code) == "1"


HELPERS = """
        import os
        def helpers():
            tasks = "/proc/self/task"
            names = [open(f"{tasks}/{task}/comm").read() for task in os.listdir(tasks)]
            return sum(name.startswith("kernelmill-") for name in names)
"""


def test_threads_start_at_first_use_only():
    code = (
        HELPERS
        + """
        import sys, numpy as np, kernelmill, kernelmill._threads
        assert "threadpoolctl" not in sys.modules
        kernelmill.threads(3)
        kernelmill.get_threads()
        X = np.ones((400_000, 8), np.float32)
        print(helpers())
        kernelmill.ops.kmeans.assign(X[:2], X[:2].astype(np.float64))  # too small to share
        print(helpers())
        kernelmill.ops.kmeans.assign(X, X[:16].astype(np.float64))
        print(helpers())
    """
    )
    assert in_new_process(code).split() == ["0", "0", "2"]


def ours():
    found = threadpoolctl.threadpool_info()
    return [library for library in found if library["user_api"] == "kernelmill"]


def test_threadpoolctl_knows_us():
    _levels.cpu()
    (library,) = [x for x in ours() if f"_cpu_{_levels.running()}" in x["filepath"]]
    assert library["num_threads"] == kernelmill.get_threads()
    assert library["version"] == kernelmill.__version__
    assert library["internal_api"] == "kernelmill"


@pytest.mark.parametrize("user_api", [None, "kernelmill"])
def test_threadpoolctl_limits_reach_us_and_are_taken_back(user_api):
    automatic = kernelmill.get_threads()
    with threadpoolctl.threadpool_limits(3, user_api=user_api):
        assert kernelmill.get_threads() == 3
        assert _threads.why_threads()[1] == "threadpoolctl.threadpool_limits(3) was called."
    assert kernelmill.get_threads() == automatic
    assert _threads._chosen is None  # automatic again, not fixed at today's number


def test_threadpoolctl_limits_for_others_leave_us_alone():
    with kernelmill.threads(3), threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert kernelmill.get_threads() == 3


def test_threadpoolctl_and_threads_nest():
    _levels.cpu()
    with kernelmill.threads(4):
        with threadpoolctl.threadpool_limits(1):
            with kernelmill.threads(2):
                assert kernelmill.get_threads() == 2
            assert kernelmill.get_threads() == 1
        assert kernelmill.get_threads() == 4


def test_same_bits_at_any_thread_count():
    results = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            results.append(work())
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def in_loky_workers(n_jobs, **settings):
    """Thread limits that `n_jobs` worker processes find."""
    with joblib.parallel_config("loky", **settings):
        tasks = [joblib.delayed(kernelmill.get_threads)() for _ in range(2 * n_jobs)]
        found = joblib.Parallel(n_jobs=n_jobs)(tasks)
    get_reusable_executor().shutdown(wait=True)
    return found


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_loky_workers_share_the_cores(n_jobs):
    share = max(1, joblib.cpu_count() // n_jobs)
    assert in_loky_workers(n_jobs) == [share] * (2 * n_jobs)


def test_loky_inner_max_num_threads():
    assert in_loky_workers(2, inner_max_num_threads=1) == [1] * 4


def _in_child(function):
    """Exit status of `function` in a forked child, or None if it has not come back in 10 s."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    alarm = threading.Timer(10, os.kill, (pid, signal.SIGKILL))
    alarm.start()
    _, status = os.waitpid(pid, 0)
    alarm.cancel()
    alarm.join()
    return status


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_between_operations():
    gc.collect()
    with kernelmill.threads(2):
        expected = work()

        def child():
            got = work()
            assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
            assert kernelmill.get_threads() == 2

        assert _in_child(child) == 0
        child()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_while_another_thread_works():
    with kernelmill.threads(2):
        done = threading.Event()

        def keep_busy():
            while not done.is_set():
                work()

        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            statuses = [_in_child(_levels.cpu().thread_limit) for _ in range(3)]
            statuses += [_in_child(work) for _ in range(3)]
        finally:
            done.set()
            busy.join()
        assert statuses == [0] * 6


def test_python_threads_may_call_at_once():
    expected = work()
    wrong = []

    def hammer():
        for _ in range(5):
            got = work()
            if not all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True)):
                wrong.append(got)

    with kernelmill.threads(2):
        callers = [threading.Thread(target=hammer) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(timeout=60)
            assert not caller.is_alive()
    assert not wrong


def test_exit_is_clean_right_after_an_operation():
    code = """
        import numpy as np, kernelmill
        kernelmill.threads(4)
        X = np.ones((20000, 8), np.float32)
        kernelmill.ops.kmeans.assign(X, X[:16].astype(np.float64))
        print("done")
    """
    assert in_new_process(code) == "done"


@pytest.mark.parametrize("n", [1, 2])
def test_signals_are_handled_inside_an_operation(n):
    # Signals that come while nobody looks melt into one. This operation takes many periods of the
    # timer, so more than one handled signal proves that it looked.
    handled = []
    X = np.random.default_rng(0).standard_normal((400_000, 32)).astype(np.float32)
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(None))
    try:
        with kernelmill.threads(n):
            signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
            kernelmill.ops.kmeans.assign(X, X[:1500].astype(np.float64))
            inside = len(handled)
            signal.setitimer(signal.ITIMER_REAL, 0)

            def stop(*_):
                raise KeyboardInterrupt

            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                kernelmill.ops.kmeans.assign(X, X[:1500].astype(np.float64))
            work()  # the next operation is not disturbed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert inside > 1


def test_first_calls_of_several_threads_do_not_wait_for_each_other():
    """What a module needs is found when it is loaded, not under a lock that outlives the GIL."""
    code = (
        "import sys, threading\n"
        "import numpy as np\n"
        "from kernelmill import ops\n"
        "from kernelmill.ops import elementwise, matmul, random\n"
        "sys.setswitchinterval(1e-6)\n"
        "barrier, x = threading.Barrier(8), np.ones((3, 3))\n"
        "def run(i):\n"
        "    barrier.wait()\n"
        "    (lambda: matmul.matmul(x, x), lambda: elementwise.exp(x),\n"
        "     lambda: random.uniform(1, 0, 0, 5, np.float32))[i % 3]()\n"
        "threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]\n"
        "[t.start() for t in threads], [t.join() for t in threads]\n"
        "print('done')\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "done\n", done.stderr
