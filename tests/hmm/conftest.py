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
