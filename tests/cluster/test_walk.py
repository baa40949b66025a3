"""How many functions of the package the rows pass before compiled code sees them.

A budget of calls, not of time: each layer does one thing to X, and X is asked once what it is.
"""

import sys
from pathlib import Path

import numpy as np

import kernelmill
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import KMeans
from kernelmill.ops import kmeans

PACKAGE = str(Path(kernelmill.__file__).parent)


def walk(call, X):
    """The functions of the package that are handed X, a view of it or its `Rows`, in order."""
    passed = []

    def sees(value):
        if isinstance(value, np.ndarray):
            return np.may_share_memory(value, X)
        return isinstance(value, Rows)

    def observe(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_name == "compiled":
            passed.append("kmeans.lloyd")
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        values = list(frame.f_locals.values())
        values += [item for value in values if isinstance(value, tuple) for item in value]
        values += [item for value in values if isinstance(value, dict) for item in value.values()]
        if any(map(sees, values)):
            passed.append(code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(observe)
    try:
        call()
    finally:
        sys.setprofile(before)
    return passed


def test_fit(blobs, monkeypatch):
    lloyd = kmeans.lloyd

    def compiled(*args, **kwargs):  # the op itself runs no Python
        return lloyd(*args, **kwargs)

    monkeypatch.setattr(kmeans, "lloyd", compiled)
    model = KMeans(5, random_state=0).fit(blobs)
    passed = walk(lambda: model.fit(blobs), blobs)
    first = passed.index("kmeans.lloyd")
    assert first <= 16, passed[:first]
    assert len(passed) - passed.count("kmeans.lloyd") <= 20, passed


def test_predict(blobs):
    model = KMeans(5, random_state=0).fit(blobs)
    passed = walk(lambda: model.predict(blobs), blobs)
    assert len(passed) <= 11, passed
