"""One body that runs every op on every backend present and compares it with its specification.

A family's test file registers case generators and takes its tests from `agreement_tests`::

    @cases("pairwise.euclidean")
    def euclidean():
        yield Case("3 x 2", (X, Y), bounds=(bound,))

    test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("pairwise")

Outputs are compared exactly, or within absolute bounds that the case derives from theory. Arguments
named in ``updated`` are compared too; all others must be left as they were. The mutants are results
wrong in one output alone, scalars and updated arguments included, that some case of the op must
catch: an oracle that cannot fail is a defect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import kernelmill
from kernelmill import _levels, ops
from kernelmill.ops._signature import is_csr

# Around the lanes of every level (4, 8, 16 floats), a panel of 32 columns and a tile of 14 rows.
SIZES = (1, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 63, 65, 8 * 32 + 2)
DTYPES = (np.float32, np.float64)


@dataclass
class Case:
    """One call of an op.

    ``bounds`` has one entry per output, then one per updated argument: None for equality, else the
    largest absolute difference allowed (scalar or array). ``compare`` replaces it where equality
    of single outputs is not the contract.
    """

    name: str
    args: tuple
    kwargs: dict[str, Any] = field(default_factory=dict)
    bounds: tuple = ()
    updated: tuple[int, ...] = ()
    compare: Callable[[tuple, tuple], None] | None = None
    big: bool = False  # more than one chunk of work: used for the thread-count test
    want: tuple | None = None  # what the specification gives, once it has been asked


generators: dict[str, Callable[[], Iterator[Case]]] = {}
tie_mutants: dict[str, Callable[..., Any]] = {}


def cases(name: str):
    """Register the case generator of an op."""

    def register(generator):
        generators[name] = generator
        return generator

    return register


def last_tie(name: str):
    """Register a specification that breaks ties the wrong way; the cases must catch it."""

    def register(specification):
        tie_mutants[name] = specification
        return specification

    return register


def eps(array: np.ndarray) -> float:
    return float(np.finfo(array.dtype).eps)


def backends() -> list[Any]:
    found = [pytest.param(f"cpu:{level}", id=level) for level in _levels.runnable()]
    reason = _why_no_gpu()
    mark = [pytest.mark.skip(reason=reason)] if reason else []
    return [*found, pytest.param("cuda", id="cuda", marks=mark)]


def _why_no_gpu() -> str:
    try:
        import cupy
    except ImportError as error:
        return f"no CuPy: {error}"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own error classes need a driver to exist
        return f"no GPU: {error}"
    try:
        import kernelmill._cuda  # noqa: F401
    except ImportError as error:
        return f"no CUDA module: {error}"
    return ""


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value.copy(order="K") if isinstance(value, np.ndarray) else value


def _got(value: Any) -> Any:
    """Arrays of a GPU, in lists too, as NumPy."""
    if isinstance(value, list):
        return [_got(item) for item in value]
    return value.get() if hasattr(value, "get") else value


def _as_tuple(outputs: Any) -> tuple:
    if outputs is None:  # an op that only updates
        return ()
    return outputs if isinstance(outputs, tuple) else (outputs,)


def joined(value: Any) -> Any:
    """A list of arrays, or none, as one vector, so that it is one output."""
    if value is None or isinstance(value, list):
        return np.concatenate([np.zeros(0, np.float32), *(a.ravel() for a in value or [])])
    return value


def equal(got: Any, want: Any, words: str) -> None:
    """NumPy's comparison, which takes longer than most ops, where the bytes are not the same."""
    if np.asarray(got).tobytes() != np.asarray(want).tobytes():
        np.testing.assert_array_equal(got, want, err_msg=words)


def run(function: Callable[..., Any], case: Case, device: str = "cpu") -> tuple:
    """Outputs, then updated arguments, as NumPy; checks that the other arguments are untouched."""
    args = [_copy(a) if i in case.updated else a for i, a in enumerate(case.args)]
    before = [_copy(a) for a in args]
    kwargs_before = {key: _copy(value) for key, value in case.kwargs.items()}
    given, named = args, case.kwargs
    if device == "cuda":
        import cupy

        def move(a):
            if isinstance(a, list):
                return [move(item) for item in a]
            return cupy.asarray(a) if isinstance(a, np.ndarray) else a

        given, named = [move(a) for a in args], {k: move(v) for k, v in case.kwargs.items()}
    made = _as_tuple(function(*given, **named))
    outputs = (*made, *(joined(_got(given[i])) for i in case.updated))
    for i, (now, then) in enumerate(zip(args, before, strict=True)):
        if i not in case.updated and isinstance(now, (np.ndarray, list)):
            equal(joined(now), joined(then), f"argument {i} was modified")
    for key, then in kwargs_before.items():
        if isinstance(then, np.ndarray):
            equal(case.kwargs[key], then, f"{key} was modified")
    return tuple(map(_got, outputs))


def compare(case: Case, got: tuple, want: tuple) -> None:
    """Raise AssertionError unless ``got`` agrees with the specification's ``want``."""
    assert len(got) == len(want), f"{len(got)} outputs, {len(want)} specified"
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert np.shape(g) == np.shape(w), f"output {i}: shape {np.shape(g)} not {np.shape(w)}"
        if isinstance(w, np.ndarray):
            assert g.dtype == w.dtype, f"output {i}: dtype {g.dtype} not {w.dtype}"
    if case.compare is not None:
        case.compare(got, want)
        return
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        bound = case.bounds[i] if i < len(case.bounds) else None
        if bound is None:
            equal(g, w, f"output {i}")
            continue
        g64, w64 = np.asarray(g, dtype=np.float64), np.asarray(w, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            wrong = ~((np.abs(g64 - w64) <= bound) | (g64 == w64) | (np.isnan(g64) & np.isnan(w64)))
        if wrong.any():
            at = tuple(int(a[0]) for a in np.nonzero(wrong)) if wrong.ndim else ()
            limit = np.broadcast_to(bound, wrong.shape)[at]
            raise AssertionError(
                f"output {i}: {int(wrong.sum())} of {wrong.size} entries out of bounds, first at "
                f"{at}: got {g64[at]!r}, specified {w64[at]!r}, allowed difference {limit!r}"
            )


def twin(name: str, backend: str) -> Callable[..., Any]:
    return ops.all_ops()[name].implementation(backend)


@functools.lru_cache(maxsize=1)
def cases_of(name: str) -> list[Case]:
    """The cases of an op, kept for its next test: `run` sees to it that none is changed."""
    return list(generators[name]())


def specified(name: str, case: Case) -> tuple:
    """What the specification gives, kept: its loops in Python take ten times as long as C++."""
    if case.want is None:
        case.want = run(ops.all_ops()[name].specification, case)
    return case.want


# --- layouts --------------------------------------------------------------------------------------


def layouts(array: Any) -> Iterator[tuple[str, Any]]:
    """The same values in memory of every awkward kind."""
    if isinstance(array, list):
        for laid in zip(*(layouts(item) for item in array), strict=False):
            yield laid[0][0], [item for _, item in laid]
        return
    readonly = array.copy()
    readonly.flags.writeable = False
    yield "read-only", readonly
    yield "negative strides", np.ascontiguousarray(array[::-1])[::-1]
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 3), array.dtype)
    wide[..., 1 : 1 + 2 * array.shape[-1] : 2] = array
    yield "every second column", wide[..., 1 : 1 + 2 * array.shape[-1] : 2]
    store = np.zeros(array.nbytes + 2 * array.itemsize, np.uint8)
    for offset, name in ((array.itemsize, "off the vector grid"), (1, "off the element grid")):
        odd = store[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
        odd[...] = array
        yield name, odd.copy() if odd.size == 0 else odd
        store = np.zeros(array.nbytes + 2 * array.itemsize, np.uint8)
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    if array.ndim == 2:
        yield "column-major", np.asfortranarray(array)
        yield "reversed columns", np.ascontiguousarray(array[:, ::-1])[:, ::-1]


# --- mutants --------------------------------------------------------------------------------------


def _zeros(o):
    return np.zeros_like(o)


def _transposed(o):
    symmetric = o.ndim == 2 and o.shape[0] == o.shape[1] and np.allclose(o, o.T)
    if o.ndim == 2 and not symmetric:
        return np.ascontiguousarray(o.T).reshape(o.shape)
    return o[::-1].copy()


def _wrong_sign(o):
    return ~o if o.dtype == bool else -o


def _missing_tail(o):
    flat = o.reshape(-1)
    flat[-1] = 0 if flat[-1] != 0 else 1
    return o


def _off_by_one_chunk(o):
    half = len(o) // 2
    o[half:] = np.roll(o[half:], 1, axis=0)
    return o


def _a_little_off(o):
    """The largest finite entry: by a relative 1e-3, by one where it is an integer or bool."""
    flat = o.reshape(-1)
    size = np.abs(np.where(np.isfinite(flat), flat, 0))
    at = size.argmax()
    if o.dtype.kind in "iu":
        flat[at] += 1
    else:
        flat[at] = not flat[at] if o.dtype == bool else flat[at] + 1e-3 * size[at]
    return o


MUTANTS = {
    "zeros": _zeros,
    "transposed": _transposed,
    "wrong sign": _wrong_sign,
    "missing tail": _missing_tail,
    "off-by-one chunk": _off_by_one_chunk,
    "a little off": _a_little_off,
}
SCALAR_MUTANTS = ("zeros", "wrong sign", "a little off")


def mutated(output: Any, mutant: str) -> Any:
    """A changed copy of an output, of its type and shape; None where the mutant changes nothing."""
    array = np.array(output)
    if not array.size:
        return None
    with np.errstate(over="ignore"):
        changed = MUTANTS[mutant](np.atleast_1d(array.copy())).reshape(array.shape)
    if np.array_equal(changed, array, equal_nan=True):
        return None
    return changed if isinstance(output, np.ndarray) else type(output)(changed)


def differs(case: Case, got: tuple, want: tuple) -> bool:
    try:
        compare(case, got, want)
    except AssertionError:
        return True
    return False


def survivors(name: str) -> list[tuple[int, str]]:
    """Outputs, and mutants of that output alone, which no case of the op tells from what is true.

    Updated arguments count as outputs. A mutant that changes no case's output survives as well.
    """
    alive: dict[tuple[int, str], None] = {}
    for number, case in enumerate(cases_of(name)):
        want = specified(name, case)
        if number == 0:
            for i, output in enumerate(want):
                kinds = MUTANTS if isinstance(output, np.ndarray) else SCALAR_MUTANTS
                alive |= {(i, mutant): None for mutant in kinds}
        for i, mutant in list(alive):
            wrong = mutated(want[i], mutant)
            if wrong is not None and differs(case, (*want[:i], wrong, *want[i + 1 :]), want):
                del alive[i, mutant]
        if not alive:
            break
    return list(alive)


# --- the tests ------------------------------------------------------------------------------------


def agreement_tests(family: str):
    """The agreement, layout, thread-count and mutant tests of one family."""
    names = sorted(n for n in ops.all_ops() if n.partition(".")[0] == family)

    @pytest.mark.parametrize("backend", backends())
    @pytest.mark.parametrize("name", names)
    def test_agreement(name, backend):
        if backend == "cuda" and (reason := ops.all_ops()[name].cuda):
            pytest.skip(f"no CUDA implementation: {reason}")
        ran = 0
        for case in cases_of(name):
            if backend == "cuda" and is_csr(case.args[0]):
                continue  # no CUDA implementation takes them
            got = run(twin(name, backend), case, backend)
            try:
                compare(case, got, specified(name, case))
            except AssertionError as error:
                raise AssertionError(f"{name} [{case.name}]: {error}") from error
            ran += 1
        assert ran > 0

    @pytest.mark.parametrize("name", [n for n in names if not ops.all_ops()[n].array_free])
    def test_layouts(name):
        small = [case for case in cases_of(name) if not case.big]
        case = small[len(small) // 2]
        for i, argument in enumerate(case.args):
            if i in case.updated or not isinstance(argument, (np.ndarray, list)):
                continue
            parts = argument if isinstance(argument, list) else [argument]
            if not all(part.ndim and part.size for part in parts):
                continue  # there is one layout of a number
            for layout, laid in layouts(argument):
                args = (*case.args[:i], laid, *case.args[i + 1 :])
                odd = Case(case.name, args, case.kwargs, case.bounds, case.updated, case.compare)
                try:
                    compare(odd, run(ops.all_ops()[name], odd), specified(name, case))
                except Exception as error:
                    raise AssertionError(f"{name}, argument {i} {layout}: {error}") from error

    @pytest.mark.parametrize("name", names)
    def test_threads(name):
        big = [case for case in cases_of(name) if case.big]
        assert big, f"{name}: some case must be big"
        for case in big:
            results = []
            for threads in (1, 2, 7):
                with kernelmill.threads(threads):
                    results.append(run(ops.all_ops()[name], case))
            for other in results[1:]:
                for a, b in zip(results[0], other, strict=True):
                    assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), name

    @pytest.mark.parametrize("name", names)
    def test_mutants(name):
        alive = survivors(name)
        assert not alive, f"{name}: no case catches these mutants of these outputs: {alive}"
        if name in tie_mutants:
            assert any(
                differs(case, run(tie_mutants[name], case), specified(name, case))
                for case in cases_of(name)
            ), "the last tie"

    return test_agreement, test_layouts, test_threads, test_mutants
