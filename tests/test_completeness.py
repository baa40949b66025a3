"""Nothing is half there: every op has its twins, tests, benchmark and contract; habits are kept.

The checks read the repository; the package under test is the installed one.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kernelmill
from kernelmill import _levels, ops

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "python" / "kernelmill"
PACKAGE = Path(kernelmill.__file__).resolve().parent
OPS = ops.all_ops()
MOST_LINES = 650

# A file of one op family, wherever it stands, has the family's name.
FAMILY_FILES = (
    "python/kernelmill/ops/{}.py",
    "cpp/ops/{}.hpp",
    "cpp/ops/{}.cpp",
    "cpp/bindings/{}.cpp",
    "cuda/ops/{}.cu",
    "cuda/bindings/{}.cpp",
    "tests/ops/test_{}.py",
    "benchmarks/{}.py",
)
NO_SUCH_FILE = {
    # path: why this family does without
    "cuda/ops/matmul.cu": "the plain product is cuBLAS, called through CuPy in the binding",
}
# Families whose ops are rows of a table, with docstrings made from one text.
TABLES = ("elementwise", "reduction", "optim")
HEADINGS = ("Parameters", "Returns")
# What the contract of a family must speak about, and words that show it does.
TOPICS = {
    "NaN": r"\bNaN\b",
    "empty input": r"\b[Ee]mpty\b|\b[Nn]o rows\b|\b\w+ = 0\b",
    "determinism": r"\b[Dd]eterminis\w+|same bits",
    "cost": r"\bCost\b",
    "refusals": r"\bValueError\b",
}
# Source files that have no test file of their own name, and where they are tested.
TESTED_ELSEWHERE = {
    "_levels.py": "its choice is tested below, level by level, and in test_info.py",
    "ops/elementwise_table.py": "row by row in ops/test_elementwise.py",
    "ops/optim_table.py": "rule by rule in ops/test_optim.py",
    "ops/tree_criteria.py": "criterion by criterion in ops/test_tree.py",
    "ops/tree_growth.py": "through ops/test_tree.py, beside brute force in tree/test_tree.py",
    "ops/tree_walks.py": "tree by tree in ops/test_tree.py and ops/test_histogram.py",
    "ops/histogram_growth.py": "through ops/test_histogram.py, and beside another definition there",
    "ops/histogram_walks.py": "tree by tree in ops/test_histogram.py",
    "ops/histogram_losses.py": "loss by loss in ops/test_histogram.py",
    "ops/coordinate_descent.py": "through ops/test_coordinate.py: what two ops there do",
    "ops/coordinate_dual.py": "through ops/test_coordinate.py: epochs of two ops there",
    "ops/sgd_table.py": "loss by loss in ops/test_sgd.py",
    "ops/glm_table.py": "loss by loss in ops/test_glm.py",
    "_version.py": "one constant, compared in test_info.py and cli/test_cli.py",
}
# Public estimators that skip parametrize_with_checks: none may without a sentence here.
_WHOLE_NUMBERS = "takes one column of symbols, or counts: the checks pass real numbers"
NOT_CHECKED_BY_SCIKIT_LEARN: dict[str, str] = {
    "decomposition.SparseCoder": "its dictionary has one width: the checks pass rows of others",
    "estimation.Bernoulli": "takes zeros and ones: the checks pass other numbers",
    "hmm.CategoricalHMM": _WHOLE_NUMBERS,
    "hmm.MultinomialHMM": _WHOLE_NUMBERS,
    "hmm.PoissonHMM": _WHOLE_NUMBERS,
    "hmm.VariationalCategoricalHMM": _WHOLE_NUMBERS,
    "markov.MarkovChain": "reads sequences of symbols, not a matrix of rows",
}


def no_cuda(op) -> str:
    """Why the op has no CUDA implementation, or an empty string."""
    return getattr(op, "cuda", "").strip()


def family_paths():
    return [
        (family, template.format(family)) for family in ops.FAMILIES for template in FAMILY_FILES
    ]


def repository_files(*patterns: str) -> list[Path]:
    """Tracked and new files that match, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.splitlines()]
    else:  # an unpacked source archive has no git
        found = [path for pattern in patterns for path in ROOT.rglob(pattern.lstrip("*/"))]
        found = [path for path in found if "build" not in path.relative_to(ROOT).parts]
    return [path for path in found if path.is_file()]


# --- ops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "path"), family_paths())
def test_every_family_has_its_file(family, path):
    on_cuda = any(not no_cuda(op) for op in OPS.values() if op.family == family)
    needed = on_cuda or not path.startswith("cuda/")
    assert not needed or (ROOT / path).is_file() or path in NO_SUCH_FILE, f"{family}: {path}?"


def test_exceptions_are_still_needed():
    stale = [path for path in NO_SUCH_FILE if (ROOT / path).exists()]
    assert not stale, "these exist now: take them off the list"
    listed = [path for _, path in family_paths()]
    assert set(NO_SUCH_FILE) <= set(listed)
    assert all(reason.strip() for reason in NO_SUCH_FILE.values())


@pytest.mark.parametrize(
    "folder", ["cpp/ops", "cpp/bindings", "cuda/ops", "cuda/bindings", "python/kernelmill/ops"]
)
def test_no_file_belongs_to_no_family(folder):
    """A basename is a family, or a family and what part of it: kmeans_seeding.cpp."""
    shared = {"module", "common", "binder", "family", "device", "centered", "distances"}
    shared |= {"__init__", "_op", "_signature"}
    for path in (ROOT / folder).iterdir():
        if path.suffix in {".py", ".cpp", ".hpp", ".cu", ".cuh"} and path.stem not in shared:
            known = any(path.stem == f or path.stem.startswith(f"{f}_") for f in ops.FAMILIES)
            assert known, (
                f"{path.relative_to(ROOT)} belongs to no family of kernelmill.ops.FAMILIES"
            )


def test_every_public_module_is_listed():
    """What is not listed is no attribute of the package, and its docstrings are not checked."""
    found = {
        path.stem for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }  # fmt: skip
    assert {name for name in found if name[0] != "_"} - {"cli"} == set(kernelmill._MODULES)


def test_every_family_registers_ops():
    assert {op.family for op in OPS.values()} == set(ops.FAMILIES)
    assert len(OPS) >= len(ops.FAMILIES)


@pytest.mark.parametrize("level", _levels.runnable())
@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_a_cpp_twin(name, level):
    assert callable(OPS[name].implementation(f"cpu:{level}"))


@pytest.mark.parametrize("level", _levels.runnable())
def test_every_cpp_twin_has_a_specification(level):
    module = _levels.load(level)
    for family in ops.FAMILIES:
        twins = {n for n in dir(getattr(module, family)) if not n.startswith("_")}
        specified = {op.op_name for op in OPS.values() if op.family == family}
        assert twins == specified


def test_a_missing_twin_raises_and_says_so(monkeypatch):
    op = OPS["matmul.matmul"]
    monkeypatch.setattr(op, "op_name", "no_such_op")
    monkeypatch.setattr(op, "_others", {"numpy": op.specification})
    with pytest.raises(NotImplementedError, match="matmul: a cpu implementation must exist"):
        op.implementation("cpu")


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_binding_has_a_cuda_twin_in_the_source(name):
    """Read from the bindings, so that it holds on machines that cannot build CUDA."""
    op = OPS[name]
    if no_cuda(op):
        return
    binding = ROOT / f"cuda/bindings/{op.family}.cpp"
    text = binding.read_text() if binding.is_file() else ""
    # The rows of a table are bound in a loop; that over optimisers is shared by both devices.
    loop = r"define_rows\(|define_reductions<|void run\(void\* device, const Rule& rule"
    defined = op.cuda or re.search(rf'\(\s*"{op.op_name}"|{loop}', text)
    listed = f"cuda/bindings/{op.family}.cpp" in NO_SUCH_FILE
    assert defined or listed, f"{binding.relative_to(ROOT)} must bind {op.op_name}"


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_an_agreement_case(name):
    generators = load_agreement().generators
    assert name in generators, f"tests/ops/test_{OPS[name].family}.py must have cases for {name}"
    assert next(iter(generators[name]()), None) is not None, f"{name} must have a case"


def imported_from(folder: Path, *modules: str) -> list[ModuleType]:
    """Test modules that lie in no package."""
    sys.path.insert(0, str(folder))
    try:
        return [importlib.import_module(module) for module in modules]
    finally:
        sys.path.remove(str(folder))


def load_agreement() -> ModuleType:
    """tests/ops/agreement.py with every family's cases registered."""
    families = (f"test_{family}" for family in ops.FAMILIES)
    return imported_from(ROOT / "tests" / "ops", "agreement", *families)[0]


@pytest.mark.parametrize("name", [name for name in sorted(OPS) if OPS[name].family not in TABLES])
def test_every_op_documents_its_arguments(name):
    document = inspect.getdoc(OPS[name].specification) or ""
    for heading in HEADINGS:
        assert re.search(rf"^{heading}\n-+$", document, re.M), f"{name} must document {heading}"
    described = document.partition("Parameters\n")[2].partition("Returns\n")[0]
    for parameter in inspect.signature(OPS[name].specification).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]* :", described, re.M), (
            f"{name} must document {parameter}"
        )


@pytest.mark.parametrize("family", ops.FAMILIES)
def test_every_family_has_a_contract(family):
    """What holds for all ops of a family stands once, above them; a table's in what it writes."""
    text = inspect.getdoc(importlib.import_module(f"kernelmill.ops.{family}")) or ""
    if family in TABLES:
        first = next(op for op in OPS.values() if op.family == family)
        text += inspect.getdoc(first.specification) or ""
    for topic, words in TOPICS.items():
        assert re.search(words, text), f"the docstring of ops/{family}.py must speak about {topic}"


@pytest.mark.parametrize("family", ops.FAMILIES)
def test_specifications_call_nothing_dispatched(family):
    """A specification may call another one, never an op: that would test a twin by itself."""
    tree = ast.parse((SOURCE / "ops" / f"{family}.py").read_text())
    names = {op.op_name for op in OPS.values()}
    own = {op.op_name for op in OPS.values() if op.family == family}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = call.func
        # `min(...)` is Python's own, but where the family has such an op.
        name = called.id if isinstance(called, ast.Name) and called.id in own else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            module = called.value.id
            name = called.attr if module in ops.FAMILIES else None
        assert name not in names, f"ops/{family}.py:{call.lineno} calls the dispatched {name}"


# --- estimators -----------------------------------------------------------------------------------


def public_modules() -> list[str]:
    """Public families of estimators: public packages of kernelmill."""
    found = []
    for module in pkgutil.iter_modules(kernelmill.__path__):
        if not module.name.startswith("_") and module.name not in {"ops", "cli"}:
            found.append(module.name)
    return found


def public_estimators() -> dict[str, type]:
    from sklearn.base import BaseEstimator

    found = {}
    for name in public_modules():
        module = importlib.import_module(f"kernelmill.{name}")
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) and issubclass(value, BaseEstimator):
                found[f"{name}.{public}"] = value
    return found


def test_public_names_exist():
    for name in kernelmill.__all__:
        assert getattr(kernelmill, name) is not None
    for name in public_modules():
        module = importlib.import_module(f"kernelmill.{name}")
        for public in getattr(module, "__all__", ()):
            assert getattr(module, public) is not None


def test_every_estimator_passes_scikit_learns_checks():
    """Each public estimator stands in a file of tests that calls parametrize_with_checks."""
    assert public_estimators(), "no public estimator was found"
    files = [path.read_text() for path in repository_files("tests/**/*.py", "tests/*.py")]
    checking = [text for text in files if "parametrize_with_checks(" in text]
    for name in public_estimators():
        short = name.rpartition(".")[2]
        covered = any(re.search(rf"\b{short}\(", text) for text in checking)
        listed = NOT_CHECKED_BY_SCIKIT_LEARN.get(name, "").strip()
        assert covered or listed, f"{name} must pass parametrize_with_checks or say why not"
    assert set(NOT_CHECKED_BY_SCIKIT_LEARN) <= set(public_estimators())


def test_every_estimator_keeps_the_law_of_scale_or_says_why_not():
    scale = imported_from(ROOT / "tests", "test_scale")[0]
    rows = {name.partition(" ")[0].partition(".")[2] for name in scale.SCALED}
    listed = {name for name, reason in scale.NOT_SCALED.items() if reason.strip()}
    assert not rows & listed
    assert rows | listed == {name.rpartition(".")[2] for name in public_estimators()}


# --- the tree -------------------------------------------------------------------------------------


def source_modules() -> list[Path]:
    found = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return sorted(p for p in found if p.name not in {"__init__.py", "__main__.py"})


@pytest.mark.parametrize("path", source_modules(), ids=str)
def test_tests_mirror_the_package(path):
    """a/b.py is tested in tests/a/test_b*.py; a private a/_b.py may be tested with its package."""
    folder = ROOT / "tests" / path.parent
    own = list(folder.glob(f"test_{path.stem.lstrip('_')}*.py"))
    private = any(part.startswith("_") for part in path.parts)
    with_package = private and path.parent.parts and list(folder.glob("test_*.py"))
    assert own or with_package or TESTED_ELSEWHERE.get(str(path), "").strip(), (
        f"{path} must have a test file in {folder.relative_to(ROOT)}"
    )


def test_every_folder_of_tests_has_its_source():
    extra = {"peers", "data", "cuda_host"}  # other libraries, files, CUDA code run without a GPU
    for folder in (p for p in (ROOT / "tests").rglob("*") if p.is_dir()):
        relative = folder.relative_to(ROOT / "tests")
        if relative.parts[0] in extra or "__pycache__" in relative.parts:
            continue
        source = SOURCE / relative
        assert source.is_dir() or source.with_suffix(".py").is_file(), f"tests/{relative} of what?"


def test_files_stay_short():
    patterns = ("*.py", "*.cpp", "*.hpp", "*.cu", "*.cuh", "*.c", "*.cmake")
    long = {
        str(path.relative_to(ROOT)): count
        for path in repository_files(*patterns)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long, f"files must have at most {MOST_LINES} lines (a bigger one is two ideas)"


def test_one_module_asks_what_an_array_is():
    """Libraries of arrays are told apart in _arrays.py and nowhere else."""
    asks = re.compile(
        r"import cupy\b|\bissparse\(|__cuda_array_interface__|(?<!def )(?<!\.)__dlpack__"
        r"|__module__\.(partition|split)\(.*(cupy|pandas|polars|dask|scipy)"
    )
    for path in SOURCE.rglob("*.py"):
        if path.name == "_arrays.py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.partition("#")[0]
            assert not asks.search(code), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_no_forbidden_flags():
    """No global fast-math, no OpenMP runtime: see docs/architecture.md."""
    forbidden = re.compile(
        r"-ffast-math|-Ofast|-funsafe-math|-fopenmp(?!-simd)|find_package\(OpenMP|\bomp_(get|set)_"
        r"|#pragma omp (?!(declare )?simd)|-march=native"
    )
    patterns = ("*.txt", "*.cmake", "*.toml", "*.cpp", "*.hpp", "*.cu", "*.cuh", "*.c")
    for path in repository_files(*patterns):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.partition("//")[0].partition(" # ")[0]
            assert not forbidden.search(code), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_one_pool_only():
    """Threads are started in cpp/core/parallel.cpp and nowhere else."""
    starts = re.compile(r"std::(jthread|thread\b(?!::)|async\b)|pthread_create")
    for path in repository_files("cpp/core/*", "cpp/ops/*", "cpp/bindings/*"):
        if path.name.startswith("parallel."):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.partition("//")[0]
            assert not starts.search(code), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_the_library_never_prints():
    cpp = re.compile(r"\bstd::(cout|cerr|clog)\b|\b(printf|fprintf|puts|abort|exit)\s*\(")
    for path in repository_files("cpp/core/*", "cpp/ops/*", "cpp/bindings/*", "cuda/*"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = re.sub(r'"(\\.|[^"\\])*"', '""', line).partition("//")[0]
            assert not cpp.search(code), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] == "cli":
            continue
        text = path.read_text(encoding="utf-8")
        if not re.search(r"\b(print|exit|quit)\b", text):
            continue  # nothing to parse
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert node.func.id not in {"print", "exit", "quit"}, place


# --- the built package ----------------------------------------------------------------------------


def shared_libraries() -> list[Path]:
    found = sorted(PACKAGE.glob("*.so"))
    assert found, f"no compiled module in {PACKAGE}"
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files with readelf")
@pytest.mark.parametrize("path", shared_libraries(), ids=lambda path: path.name)
def test_modules_link_the_system_only(path):
    """Neither an OpenMP runtime, nor a BLAS, nor a CUDA library, nor a shared libstdc++."""
    shown = subprocess.run(
        ["readelf", "-d", path], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", shown))
    allowed = re.compile(r"^(libc|libm|libmvec|libpthread|libdl|librt|ld-linux-[\w-]+)\.so\.\d+$")
    assert not {name for name in needed if not allowed.match(name)}


def run_python(code: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_import_is_light():
    """`import kernelmill` loads no other library, no compiled module, and starts no thread."""
    loaded = run_python(
        "import sys, threading; before = set(sys.modules)\n"
        "import kernelmill\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "assert threading.active_count() == 1"
    ).split()
    heavy = {
        "scipy",
        "sklearn",
        "numpy",
        "matplotlib",
        "cupy",
        "dask",
        "pandas",
        "tqdm",
        "safetensors",
    }
    assert "kernelmill" in loaded
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert not [name for name in loaded if re.match(r"kernelmill\._(cpu|cuda|isa)", name)]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_import_starts_no_native_thread():
    count = "len(os.listdir('/proc/self/task'))"
    # One BLAS thread, so that what NumPy starts is not counted as ours.
    printed = run_python(
        f"import os; import kernelmill; print({count});"
        f"from kernelmill import _levels; _levels.cpu(); print({count})",
        OPENBLAS_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
    )
    assert printed.split() == ["1", "1"]


@pytest.mark.parametrize("level", _levels.runnable())
def test_the_forced_level_is_the_one_that_runs(level):
    printed = run_python(
        "from kernelmill import _levels; print(_levels.running(), _levels.cpu().level)",
        KERNELMILL_ISA=level,
    )
    assert printed.split() == [level, level]


def test_an_unknown_level_raises():
    code = (
        "from kernelmill import _levels\n"
        "try: _levels.cpu()\n"
        "except ValueError as error: print(error)"
    )
    printed = run_python(code, KERNELMILL_ISA="v9")
    assert re.match(r"KERNELMILL_ISA: must be one of .*, got 'v9'", printed)


def test_the_package_under_test_is_the_sources():
    """An installed copy that is older than the sources would test something else."""
    for path in SOURCE.rglob("*.py"):
        installed = PACKAGE / path.relative_to(SOURCE)
        assert installed.is_file(), f"{installed} is missing: install again"
        assert installed.read_bytes() == path.read_bytes(), f"{installed} is stale: install again"
