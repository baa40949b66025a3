"""Prose is code: the Python blocks of every page run, every example gives what it shows."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import sys
import warnings
from pathlib import Path

import pytest

import kernelmill
from kernelmill import ops

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# numpydoc's checks that a reader would miss. Left out: those about blank lines and full stops, and
# "See Also", "Examples" on private helpers.
CHECKS = {
    "GL08": "a docstring",
    "SS03": "a summary that ends with a full stop",
    "SS06": "a summary on one line",
    "PR01": "every parameter documented",
    "PR02": "no parameter that does not exist",
    "PR03": "parameters in order",
    "PR04": "a type for every parameter",
    "PR07": "a description for every parameter",
    "RT01": "a Returns section where something is returned",
    "RT03": "a description of what is returned",
    "YD01": "a Yields section for a generator",
}
# (name, check): why the check does not apply there.
EXCUSED: dict[tuple[str, str], str] = {
    ("kernelmill.backend", "YD01"): "a context manager whose block gets nothing",
    ("kernelmill.register", "PR02"): "its argument cls is not that of a class method",
    ("kernelmill.model_selection.SearchResult", "PR01"): "minimize makes it, never the user",
    ("kernelmill.nn.Summary", "PR01"): "kernelmill.nn.summary makes it, never the user",
    ("kernelmill.nn.detect_anomaly", "YD01"): "a context manager whose block gets nothing",
    ("kernelmill.stream.Source", "PR01"): "kernelmill.stream.source makes it, never the user",
}
WITHOUT_EXAMPLE = {
    "kernelmill.stream.Source": "shown by kernelmill.stream.source, which makes it",
    "kernelmill.nn.Summary": "shown by kernelmill.nn.summary, which makes it",
    "kernelmill.nn.optim.lr_scheduler.LRScheduler": "the base of the schedules, shown by theirs",
    "kernelmill.nn.optim.Optimizer": "the base of the optimisers, shown by theirs",
    "kernelmill.ModelFileError": "an exception, shown where it is raised",
}


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    """The blocks of a page run in order in one namespace, in an empty folder, without a warning.

    A comment ``# -> text`` at the end of a line says what ``print`` on that line writes.
    """
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": page.stem}
    blocks = python_blocks(page)
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"^print\(.*#\s*->\s*(.*)$", block, re.M)
        if promised:
            assert printed == promised
    if page.name == "README.md":
        assert blocks, "the README must show the library in use"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_speed_figure_cites_a_result():
    """A row of the README's speed table names a file of benchmarks/results/ that exists."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Speed")[2].partition("\n## ")[0]
    assert table, "the README must have a section named Speed"
    cited = re.findall(r"benchmarks/results/[\w.-]+\.json", table)
    assert cited, "the speed table must cite a file in benchmarks/results/"
    for name in cited:
        assert (ROOT / name).is_file(), name


def public_objects() -> dict[str, object]:
    """Public functions and classes, and the public methods that this package defines."""
    found: dict[str, object] = {}
    methods: set[int] = set()  # an inherited one is checked once
    modules = ["kernelmill", *(f"kernelmill.{name}" for name in kernelmill._MODULES)]
    inside = ("data", "functional", "init", "optim", "optim.lr_scheduler", "utils", "utils.rnn")
    modules += [f"kernelmill.nn.{name}" for name in inside]
    for module_name in modules:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.ismodule(value) or not callable(value):
                continue
            found[f"{module_name}.{name}"] = value
            if inspect.isclass(value):
                for method, member in inspect.getmembers(value, callable):
                    ours = str(getattr(member, "__module__", "")).startswith("kernelmill.")
                    identity = id(getattr(member, "__func__", member))
                    if ours and not method.startswith("_") and identity not in methods:
                        methods.add(identity)
                        found[f"{module_name}.{name}.{method}"] = member
    for name, op in ops.all_ops().items():
        found[f"kernelmill.ops.{name}"] = op
    return found


OBJECTS = public_objects()


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = OBJECTS[name]
    document = inspect.getdoc(getattr(value, "specification", value)) or ""
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(document, {}, name, None, 0)
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    runner.run(test, out=printed.append)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert runner.failures == 0, "".join(printed)


def public_entry_points() -> list[str]:
    """Names that a user types: functions and classes, without methods and ops."""
    owners = {name for name, value in OBJECTS.items() if inspect.isclass(value)}
    return sorted(
        name for name in OBJECTS if ".ops." not in name and name.rpartition(".")[0] not in owners
    )


@pytest.mark.parametrize("name", public_entry_points())
def test_public_names_show_an_example(name):
    shown = ">>> " in (inspect.getdoc(OBJECTS[name]) or "")
    assert shown or WITHOUT_EXAMPLE.get(name, "").strip(), f"{name} must show an example"


@pytest.mark.parametrize("name", sorted(n for n in OBJECTS if not n.startswith("kernelmill.ops.")))
def test_numpydoc(name):
    validate = pytest.importorskip("numpydoc.validate", reason="needs numpydoc")

    class Placeless(validate.Validator):
        """Its file would be tokenised for comments that excuse faults, and parsed for its line."""

        source_file_name, source_file_def_line = os.devnull, None

        def __init__(self, obj_name):
            super().__init__(validate.get_doc_object(self._load_obj(obj_name)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpydoc warns about sections that it does not know
        result = validate.validate(name, Placeless)
    faults = [
        f"{code}: {CHECKS[code]}: {message}"
        for code, message in result["errors"]
        if code in CHECKS and not EXCUSED.get((name, code), "").strip()
    ]
    assert not faults, f"{name} must have " + "; ".join(faults)


def test_no_machine_or_workplace_in_prose():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(/tmp/|/work/|/home/\w)", text), page.name
