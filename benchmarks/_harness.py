"""One way to measure: interleaved rounds, median and spread, results checked, floor beside it.

Why so: the machine's speed drifts, so systems take turns within each round and are compared by the
median of their rounds; a mean would follow the worst disturbance. A time says little without the
least time that the hardware allows, so each case states its work and the harness states the floor

    floor = max(flops / peak flops, bytes / copy bandwidth)

with both limits measured in the same run. Each system has a process of its own: in one process the
waiting threads of torch and OpenBLAS and the state of malloc that they leave decide as much as the
work does (torch's softmax of 4096 x 4096: 23 ms, but 6 after a transformer ran there). Threads that
wait for work by spinning would take the cores of the next system, so everybody rests between turns.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

# A single timing shorter than this is repeated: the clock and the call itself cost about 1e-7 s.
SHORTEST_TIMING = 5e-3
ROUNDS = 9
# Seconds between turns. OpenBLAS's threads spin for 105 ms after a call (2^28 cycles, seen in their
# CPU time), those of OpenMP and oneTBB for less, ours for 0.1 ms.
REST = 0.15
SECONDS_PER_CASE = 20.0  # rounds are cut to stay near this, to 3 at least, 2 if one lasts as long
LONG = 1.0  # seconds of a call whose warm-up says well enough how long it takes
SLOW = 5.0  # seconds of a call of compiled code after which that call is the only one


@dataclass(frozen=True)
class Work:
    """What a case must do at the least: operations, and bytes moved to or from memory."""

    flops: float = 0.0
    bytes: float = 0.0
    formula: str = ""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes
    ----------
    name : str
        Unique within the family; says shape, dtype and what stays fixed.
    make : callable
        ``make() -> data``; runs once for each system, not timed.
    systems : mapping of str to callable
        ``systems[name](data)`` prepares, untimed, and returns the function to time, or raises
        ImportError when the peer is not installed. The first one is ours.
    check : callable
        ``check(data, ours, other) -> str``: empty when the two results agree as the case demands
        (equal, or ours not worse), else what is wrong; of the first call of each.
    work : callable, optional
        ``work(data, result of ours) -> Work``.
    dtype : str
        Whose peak the floor uses.
    want : float, optional
        Ratio best peer / ours that the project aims for.
    compiled : sequence of str
        Systems whose first call is as fast as any other: it is the only one if it takes long.
    """

    name: str
    make: Callable[[], Any]
    systems: Mapping[str, Callable[[Any], Callable[[], Any]]]
    check: Callable[[Any, Any, Any], str]
    work: Callable[[Any, Any], Work] | None = None
    dtype: str = "float32"
    want: float | None = None
    compiled: Sequence[str] = ()


@dataclass
class Timing:
    """Seconds of one call over the rounds."""

    seconds: list[float]
    calls: int = 1  # calls per round
    median: float = field(init=False)
    least: float = field(init=False)
    quartiles: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self.median = statistics.median(self.seconds)
        self.least = min(self.seconds)
        low, high = np.percentile(self.seconds, [25, 75])
        self.quartiles = (float(low), float(high))


@dataclass
class Outcome:
    """All that one case gave; `asdict` of it goes into the JSON."""

    family: str
    case: str
    dtype: str
    timings: dict[str, Timing]
    absent: dict[str, str]  # system -> why it did not run
    wrong: dict[str, str]  # system -> what differs
    ratio: float | None = None  # best correct peer / ours
    best_peer: str | None = None
    want: float | None = None
    floor: float | None = None
    floor_formula: str = ""
    floor_share: float | None = None  # floor / ours

    @property
    def ok(self) -> bool:
        """True when every result agreed."""
        return not self.wrong


class Here:
    """A system of a case in this process.

    Raises
    ------
    ImportError
        Of a peer that is not installed.
    """

    def __init__(self, case: Case, system: str):
        self.case, self.system = case, system
        self.data = case.make()
        self.run = case.systems[system](self.data)

    def first(self) -> float:
        """Seconds of the first call, whose result is the one that is checked."""
        began = time.perf_counter()
        result = self.run()
        seconds = time.perf_counter() - began
        try:  # steps of an optimiser go on in the arrays that the first one gave
            self.result = copy.deepcopy(result)
        except (RuntimeError, TypeError):
            self.result = result
        return seconds

    def time(self, calls: int, awake: bool = False) -> float:
        """Seconds of one of ``calls`` calls; ``awake``: after one that is not timed."""
        if awake:  # threads awake, data in the caches: as in a loop of such calls
            self.run()
        return _time(self.run, calls)

    def verdict(self) -> tuple[str, Work | None]:
        """What is wrong with the result beside ours on the same data, and the least work."""
        first = next(iter(self.case.systems))
        ours = self.result if self.system == first else self.case.systems[first](self.data)()
        work = self.case.work(self.data, ours) if self.case.work else None
        return self.case.check(self.data, ours, self.result), work

    def close(self) -> None:
        """Nothing to end."""


class There:
    """The same in a process of its own, which shares nothing with this one."""

    def __init__(self, family: str, case: str, system: str, threads: int):
        self.what = f"{system} of {family}/{case}"
        spawn = multiprocessing.get_context("spawn")
        self.pipe, end = spawn.Pipe()
        self.process = spawn.Process(
            target=_serve, args=(end, family, case, system, threads), daemon=True
        )
        self.process.start()
        end.close()
        self.answer()

    def answer(self) -> Any:
        try:
            value = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(5)
            raise RuntimeError(
                f"benchmarks: the process of {self.what} ended, exit code {self.process.exitcode}"
            ) from None
        if isinstance(value, BaseException):
            raise value
        return value

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            with contextlib.suppress(ConnectionError):  # the answer says that it has ended
                self.pipe.send((name, arguments))
            return self.answer()

        return ask

    def close(self) -> None:
        self.pipe.close()
        self.process.join(5)
        self.process.kill()


def _serve(pipe: Any, family: str, name: str, system: str, threads: int) -> None:
    try:
        set_threads(threads)
        cases = importlib.import_module(f"benchmarks.{family}").cases(False)
        here = Here(next(case for case in cases if case.name == name), system)
        set_threads(threads)  # of what has been loaded since
        pipe.send(None)
        while True:
            asked, arguments = pipe.recv()
            pipe.send(getattr(here, asked)(*arguments))
    except EOFError:  # the end
        pass
    except Exception as error:
        pipe.send(type(error)(str(error)) if isinstance(error, ImportError) else
                  RuntimeError(f"benchmarks: {system} of {family}/{name}: {error!r}"))  # fmt: skip


def measure(
    family: str,
    case: Case,
    limits: Mapping[str, float],
    quick: bool = False,
    threads: int | None = None,
) -> Outcome:
    """Run one case: prepare, warm up, then time in interleaved rounds, and check.

    ``threads``: of each system, in a process of its own; by default all stay in this one.
    """
    runs: dict[str, Here | There] = {}
    absent: dict[str, str] = {}
    try:
        for name in case.systems:
            try:
                apart = threads is not None
                runs[name] = There(family, case.name, name, threads) if apart else Here(case, name)
            except ImportError as error:
                absent[name] = str(error)
        return _measured(family, case, limits, runs, absent, quick)
    finally:
        for run in runs.values():
            run.close()


def _measured(
    family: str,
    case: Case,
    limits: Mapping[str, float],
    runs: Mapping[str, Here | There],
    absent: dict[str, str],
    quick: bool,
) -> Outcome:
    ours = next(iter(case.systems))
    if ours not in runs:
        raise RuntimeError(f"benchmarks: {family}/{case.name} cannot run ours: {absent[ours]}")
    cost = {name: run.first() for name, run in runs.items()}
    calls = dict.fromkeys(runs, 1)
    order = [n for n in runs if n not in case.compiled or cost[n] < SLOW]
    for name in order:
        if cost[name] < LONG:
            cost[name] = runs[name].time(1)
        calls[name] = max(1, int(np.ceil(SHORTEST_TIMING / max(cost[name], 1e-7))))
    per_round = sum(cost[name] * calls[name] for name in order)
    affordable = int(SECONDS_PER_CASE / max(per_round, 1e-9))
    rounds = 1 if quick else max(3 if affordable else 2, min(ROUNDS, affordable))
    seconds: dict[str, list[float]] = {n: [] if n in order else [cost[n]] for n in runs}
    for r in range(rounds):
        first = r % max(1, len(order))  # nobody is always first
        for name in order[first:] + order[:first]:
            time.sleep(REST)
            seconds[name].append(runs[name].time(calls[name], cost[name] < REST))

    verdicts = {name: run.verdict() for name, run in runs.items()}
    wrong = {name: complaint for name, (complaint, _) in verdicts.items() if complaint}
    timings = {name: Timing(values, calls[name]) for name, values in seconds.items()}
    outcome = Outcome(family, case.name, case.dtype, timings, absent, wrong, want=case.want)
    peers = {n: t.median for n, t in timings.items() if n != ours and n not in wrong}
    if peers:
        outcome.best_peer = min(peers, key=peers.__getitem__)
        outcome.ratio = peers[outcome.best_peer] / timings[ours].median
    work = verdicts[ours][1]
    if work is not None:
        by_flops = work.flops / limits[f"{case.dtype} flop/s"]
        by_bytes = work.bytes / limits["copy bytes/s"]
        outcome.floor = max(by_flops, by_bytes)
        outcome.floor_formula = work.formula
        outcome.floor_share = outcome.floor / timings[ours].median
    return outcome


def _time(run: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - began) / calls


def hardware_limits(threads: int, quick: bool = False) -> dict[str, float]:
    """Peak flop/s by dtype (the better of our product and NumPy's) and copy bandwidth.

    Bandwidth counts bytes read plus bytes written by a copy that is far larger than the caches.
    """
    from kernelmill.ops import matmul

    rng = np.random.default_rng(0)
    limits = {}
    size = 768 if quick else 2048
    for dtype in ("float32", "float64"):
        A = rng.standard_normal((size, size)).astype(dtype)
        B = rng.standard_normal((size, size)).astype(dtype)
        best = np.inf
        for product in (matmul.matmul, np.matmul):
            product(A, B)
            best = min(best, *(_time(lambda p=product, A=A, B=B: p(A, B), 1) for _ in range(5)))
        limits[f"{dtype} flop/s"] = 2.0 * size**3 / best
    source = np.ones((16 if quick else 256) * 2**20 // 8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

        copy()
        best = min(_time(copy, 1) for _ in range(5))
    limits["copy bytes/s"] = 2.0 * source.nbytes / best
    return limits


def set_threads(n: int) -> None:
    """The same number of threads for us and for every peer, loaded by now or later."""
    import threadpoolctl

    import kernelmill

    kernelmill.threads(n)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(n)  # for what loads them later, and for other processes
    threadpoolctl.threadpool_limits(n)
    if "daal4py" in sys.modules:
        sys.modules["daal4py"].daalinit(n)


def torch_peer(build: Callable[..., Callable[[], Any]]) -> Callable[[Any], Callable[[], Any]]:
    """A system that gives ``build`` torch, with our number of threads, and the data as tensors."""

    def prepare(data: Any) -> Callable[[], Any]:
        import torch

        import kernelmill

        torch.set_num_threads(kernelmill.get_threads())
        tensors = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in data]
        return build(torch, *tensors)

    return prepare


def close(got: float, want: float, rtol: float, what: str) -> str:
    """Empty when two numbers agree to ``rtol`` relative to ``want``, else a sentence."""
    difference = abs(got - want)
    return "" if difference <= rtol * abs(want) else f"{what} {got:.9g} against {want:.9g}"


def not_worse(ours: float, peer: float, rtol: float, what: str) -> str:
    """Empty when a loss of ours is at most ``rtol`` above the peer's, else a sentence."""
    return "" if ours <= peer * (1 + rtol) else f"{what} {ours:.9g}, worse than {peer:.9g}"


def arrays_close(got: np.ndarray, want: np.ndarray, rtol: float, atol: float = 0.0) -> str:
    """Empty when two arrays agree element by element, else the worst difference."""
    if got.shape != want.shape:
        return f"shape {got.shape} against {want.shape}"
    if np.allclose(got, want, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    return f"arrays differ by up to {np.nanmax(np.abs(got - want)):.3g}"


def outputs_close(atol: float, rtol: float = 0.0) -> Callable[[Any, Any, Any], str]:
    """A check of tuples of arrays, those of the peer converted to NumPy's."""

    def check(_: Any, ours: Any, other: Any) -> str:
        pairs = zip(ours, other, strict=True)
        found = [arrays_close(np.asarray(b), np.asarray(a), rtol, atol) for a, b in pairs]
        return "; ".join(filter(None, found))

    return check


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as text, one block per case."""
    lines = []
    for outcome in outcomes:
        head = f"{outcome.family}/{outcome.case}"
        if outcome.floor is not None:
            share = f"{outcome.floor_share:.0%} of floor"
            head += f"   [floor {_show(outcome.floor)}: {outcome.floor_formula}; reached {share}]"
        lines.append(head)
        for name, timing in outcome.timings.items():
            low, high = timing.quartiles
            text = (
                f"  {name:<24} {_show(timing.median):>10}   least {_show(timing.least):>10}   "
                f"quartiles {_show(low)} .. {_show(high)}"
            )
            if name in outcome.wrong:
                text += f"   WRONG: {outcome.wrong[name]}"
            lines.append(text)
        for name, why in outcome.absent.items():
            lines.append(f"  {name:<24} absent: {why}")
        if outcome.ratio is not None:
            want = f" (want {outcome.want:g})" if outcome.want else ""
            lines.append(f"  best peer / ours = {outcome.ratio:.2f}{want}, {outcome.best_peer}")
        lines.append("")
    return "\n".join(lines)


def _show(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def as_json(outcomes: Sequence[Outcome], **about: Any) -> dict[str, Any]:
    """Everything a reader needs to judge the figures, ready for ``json.dump``."""
    return {**about, "results": [asdict(outcome) for outcome in outcomes]}
