"""Fixtures of every kind of model; the test files of this folder import hmm_kinds.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hmm_kinds import KINDS


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    """A kind of model."""
    return KINDS[request.param]


@pytest.fixture(params=sorted(name for name in KINDS if not name.startswith("Variational")))
def em_kind(request):
    """A kind of model that is fitted by expectation-maximisation."""
    return KINDS[request.param]


def pytest_collection_modifyitems(items):
    """Most tests here cut fits short; what n_iter then warns of is tested in test_monitor.py."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*not converge in n_iter"))
