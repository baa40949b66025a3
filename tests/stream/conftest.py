"""The kinds of sources; the test files of this folder import stream_kinds.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stream_kinds import SOURCES


@pytest.fixture(params=SOURCES)
def make(request):
    """Makes a source of this kind from an array and a folder."""
    return SOURCES[request.param]
