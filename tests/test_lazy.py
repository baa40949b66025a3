"""Names that are imported at first use."""

from __future__ import annotations

import sys
import types

import pytest

from kernelmill._lazy import lazy


@pytest.fixture
def package(monkeypatch):
    package, inner = types.ModuleType("lazy_example"), types.ModuleType("lazy_example._inner")
    package.__path__ = []
    inner.public = object()
    monkeypatch.setitem(sys.modules, "lazy_example", package)
    monkeypatch.setitem(sys.modules, "lazy_example._inner", inner)
    package.__getattr__, package.__dir__, package.__all__ = lazy(
        "lazy_example", {"public": "_inner", "_inner": "_inner"}
    )
    return package


def test_names_and_modules_are_found_once(package):
    assert "public" not in vars(package)
    assert package.public is sys.modules["lazy_example._inner"].public
    assert vars(package)["public"] is package.public
    assert package._inner is sys.modules["lazy_example._inner"]


def test_names_are_listed_before_they_are_imported(package):
    assert package.__all__ == ["_inner", "public"]
    assert {"public", "__all__"} <= set(dir(package))


def test_unknown_names_raise(package):
    with pytest.raises(AttributeError, match="module 'lazy_example' has no attribute 'absent'"):
        package.absent  # noqa: B018
