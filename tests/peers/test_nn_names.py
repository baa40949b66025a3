"""Every public name of torch's networks exists here or has a reason, and the page says the same."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

from kernelmill.nn._torch_names import GROUPS, REASONS, reason_of

pytest.importorskip("torch", reason="torch is not installed")
TOOL = Path(__file__).resolve().parents[2] / "tools" / "torch_names.py"
spec = importlib.util.spec_from_file_location("torch_names", TOOL)
names = importlib.util.module_from_spec(spec)
spec.loader.exec_module(names)


@pytest.mark.parametrize("package", names.PACKAGES)
def test_each_name_exists_or_has_a_reason(package):
    ours = names.place(names.PACKAGES[package])
    lost = [n for n in names.public(package) if not hasattr(ours, n) and reason_of(n) is None]
    assert not lost, f"{package}: these need an entry in nn/_torch_names.py: {' '.join(lost)}"


def test_reasons_are_needed():
    """A reason is for a name that is missing, and each name has one."""
    missing = set()
    for package, ours in names.PACKAGES.items():
        place = names.place(ours)
        all_names = {*names.public(package), *dir(names.place(package))}
        missing |= {n for n in all_names if not hasattr(place, n)}
    stale = sorted(set(REASONS) - missing)
    assert not stale, f"take these out of nn/_torch_names.py, they exist: {' '.join(stale)}"
    assert sum(map(len, GROUPS.values())) == len(REASONS)


def test_the_page_lists_them():
    assert names.page() == names.PAGE.read_text("utf-8"), "run python tools/torch_names.py"


@pytest.mark.parametrize(
    ("package", "name"),
    [("nn", "get_num_threads"), ("nn", "SyncBatchNorm"), ("nn.linalg", "eig"),
     ("nn.functional", "relu_"), ("nn.init", "normal"), ("nn.utils", "skip_init"),
     ("nn.optim", "SparseAdam")],
)  # fmt: skip
def test_a_missing_name_says_why(package, name):
    place = names.place(f"kernelmill.{package}")
    with pytest.raises(AttributeError, match=f"kernelmill.{package}.*{name}.*: {REASONS[name]}"):
        getattr(place, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
        getattr(place, "nonsense")  # noqa: B009


@pytest.mark.parametrize("name", ["to_sparse", "storage", "q_scale", "conj", "gather_"])
def test_a_missing_method_says_why(name):
    from kernelmill import nn

    with pytest.raises(AttributeError, match=rf"^'Tensor' object has no attribute '{name}': \w+"):
        getattr(nn.ones(1), name)
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
        _ = nn.ones(1).nonsense
