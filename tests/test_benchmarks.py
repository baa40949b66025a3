"""The benchmark harness: a wrong result is seen, figures are what they say."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"float32 flop/s": 2e9, "float64 flop/s": 1e9, "copy bytes/s": 1e9}


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location(
        "benchmark_harness", ROOT / "benchmarks" / "_harness.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.ROUNDS, module.REST = 5, 0.01  # sleeps need no more
    return module


def sleeping(seconds, value):
    return lambda data: lambda: (time.sleep(seconds), value)[1]


def make_case(harness, ours, *peers, **more):
    systems = {"ours": ours, **{f"peer {i}": peer for i, peer in enumerate(peers)}}
    check = lambda data, a, b: harness.close(b, a, 1e-6, "value")  # noqa: E731
    return harness.Case("case", lambda: 1, systems, check, **more)


def test_ratio_is_best_peer_over_ours(harness):
    case = make_case(harness, sleeping(0.01, 1), sleeping(0.06, 1), sleeping(0.03, 1), want=2.0)
    outcome = harness.measure("family", case, LIMITS)
    assert outcome.ok
    assert outcome.best_peer == "peer 1"
    ours, best = outcome.timings["ours"], outcome.timings["peer 1"]
    assert outcome.ratio == best.median / ours.median
    assert len(ours.seconds) >= 3
    assert ours.least <= ours.quartiles[0] <= ours.median <= ours.quartiles[1]


def test_each_system_runs_in_a_process_of_its_own(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    harness = importlib.import_module("benchmarks._harness")
    values = importlib.import_module("benchmarks.values")
    case = values.cases(False)[0]
    outcome = harness.measure("values", case, LIMITS, threads=1)
    assert outcome.ok
    assert outcome.ratio > 0
    assert set(outcome.timings) == {"kernelmill", "numpy"}

    # What goes wrong there is said here.
    gone = dataclasses.replace(case, name="no such case")
    with pytest.raises(RuntimeError, match="kernelmill of values/no such case"):
        harness.measure("values", gone, LIMITS, threads=1)
    killed = harness.There("values", case.name, "numpy", 1)
    killed.process.kill()
    with pytest.raises(RuntimeError, match=r"the process of numpy of values/.* ended"):
        killed.first()
    killed.close()


def test_a_wrong_result_is_reported_and_never_the_best_peer(harness):
    case = make_case(harness, sleeping(0.01, 1), sleeping(0.0, 2), sleeping(0.03, 1))
    outcome = harness.measure("family", case, LIMITS, quick=True)
    assert not outcome.ok
    assert set(outcome.wrong) == {"peer 0"}
    assert outcome.best_peer == "peer 1"
    assert "WRONG: value 2 against 1" in harness.table([outcome])


def test_what_is_checked_is_what_the_first_call_gave(harness):
    def stepping(data):
        state = np.zeros(1)

        def step():
            np.add(state, 1, out=state)  # in place, as optimisers do
            return state

        return step

    case = dataclasses.replace(
        make_case(harness, stepping, stepping),
        check=lambda data, a, b: harness.arrays_close(b, np.ones(1), rtol=0.0),
    )
    assert harness.measure("family", case, LIMITS, quick=True).ok


def test_an_absent_peer_is_said(harness):
    def absent(data):
        raise ImportError("no module named peer")

    outcome = harness.measure("family", make_case(harness, sleeping(0, 1), absent), LIMITS, True)
    assert outcome.absent == {"peer 0": "no module named peer"}
    assert outcome.ratio is None
    with pytest.raises(RuntimeError, match="cannot run ours"):
        harness.measure("family", make_case(harness, absent), LIMITS, True)


def test_floor_is_the_larger_of_compute_and_memory(harness):
    def floor(flops, moved, dtype="float32"):
        work = harness.Work(flops, moved, "formula")
        case = make_case(harness, sleeping(0, 1), work=lambda data, result: work, dtype=dtype)
        return harness.measure("family", case, LIMITS, quick=True)

    assert floor(4e9, 1e9).floor == 2.0
    assert floor(4e9, 1e9, "float64").floor == 4.0
    assert floor(1e9, 3e9).floor == 3.0
    outcome = floor(1e9, 3e9)
    assert outcome.floor_share == 3.0 / outcome.timings["ours"].median
    assert outcome.floor_formula == "formula"


def test_short_calls_are_repeated(harness):
    outcome = harness.measure("family", make_case(harness, lambda data: lambda: 1), LIMITS, True)
    timing = outcome.timings["ours"]
    assert timing.calls > 100
    assert timing.median < 1e-4


def test_checks_are_not_blind(harness):
    assert harness.close(1.0, 1.0, 1e-6, "x") == ""
    assert harness.close(1.01, 1.0, 1e-6, "x")
    assert harness.close(float("nan"), 1.0, 1e-6, "x")
    assert harness.not_worse(0.5, 1.0, 1e-6, "x") == ""
    assert harness.not_worse(1.1, 1.0, 1e-2, "x")
    assert harness.not_worse(float("nan"), 1.0, 1e-2, "x")
    one = np.ones(3)
    assert harness.arrays_close(one, one, rtol=0.0) == ""
    assert "up to 1" in harness.arrays_close(one, np.zeros(3), rtol=1e-3)
    assert "shape" in harness.arrays_close(one, np.ones(4), rtol=1e-3)


def test_command_line_saves_json(tmp_path):
    saved = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks", "matmul", "--quick", "--save", str(saved)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(saved.read_text())
    assert {"date", "threads", "limits", "info", "peers", "results"} <= set(found)
    (result,) = found["results"]
    assert result["family"] == "matmul"
    assert set(result["timings"]) == {"kernelmill", "NumPy"}
    assert result["wrong"] == {}
    assert result["floor_share"] > 0
    # One case more: the others stay.
    found["results"].append(result | {"case": "another"})
    saved.write_text(json.dumps(found))
    ran = subprocess.run([*command, "--match", "n"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(saved.read_text())
    assert found["note"].startswith("the first 1 results are of earlier runs")
    names = [result["case"] for result in found["results"]]
    assert sorted(names) == sorted(["another", result["case"]])


def test_command_line_refuses_a_match_without_a_case():
    command = [sys.executable, "-m", "benchmarks", "matmul", "kmeans", "--match", "no such case"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "--match must be in the name of a case of matmul, kmeans, got 'no such" in ran.stderr


def test_command_line_refuses_an_unknown_family():
    command = [sys.executable, "-m", "benchmarks", "no_such_family"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "no_such_family" in ran.stderr
