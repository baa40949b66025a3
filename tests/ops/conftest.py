"""Lets the test files of this folder import the shared harness; keeps tests of an op together."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def pytest_collection_modifyitems(items):
    """Tests of an op follow each other within a file: `agreement.cases_of` keeps one op's cases."""
    mine = [place for place, item in enumerate(items) if item.path.parent == HERE]
    first = {}

    def group(item):
        params = item.callspec.params if hasattr(item, "callspec") else {}
        return first.setdefault((item.path, params.get("name")), len(first))

    for place, item in zip(mine, sorted([items[place] for place in mine], key=group), strict=True):
        items[place] = item
