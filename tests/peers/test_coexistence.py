"""One process with other compiled libraries, imported before us and after us, all fitting.

Two OpenMP runtimes in one process crash or hang; we bring none, so we must not be the one that
makes a mixture fail. Each mixture runs in its own process and must end by itself with status 0.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

FITS = {
    "torch": """
        import torch
        layer = torch.nn.Linear(8, 4)
        layer(torch.randn(4096, 8)).square().mean().backward()
        assert torch.isfinite(layer.weight.grad).all()
        torch.randn(512, 512) @ torch.randn(512, 512)
    """,
    "lightgbm": """
        import lightgbm
        model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, y)
        assert (model.booster_.predict(X) >= 0).all()
    """,
    "xgboost": """
        import xgboost
        model = xgboost.XGBClassifier(n_estimators=5).fit(X, y)
        assert model.predict(X).shape == y.shape
    """,
    "faiss": """
        import faiss
        index = faiss.IndexFlatL2(8); index.add(X)
        assert index.search(X[:100], 3)[1].shape == (100, 3)
    """,
    "sklearn": """
        from sklearn.ensemble import HistGradientBoostingClassifier
        HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    """,
}
OURS = """
    from kernelmill.cluster import KMeans
    model = KMeans(5, n_init=2, random_state=0).fit(X)
    assert model.labels_.shape == (4096,)
    assert (model.predict(X) == model.labels_).all()
"""
DATA = """
    import numpy as np
    rng = np.random.default_rng(0)
    X = np.ascontiguousarray(rng.standard_normal((4096, 8)), dtype=np.float32)
    y = (X[:, 0] > 0).astype(int)
"""


def run_together(*parts: str) -> None:
    code = "".join(textwrap.dedent(part) for part in (DATA, *parts))
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    environment.pop("KMP_DUPLICATE_LIB_OK", None)  # must not be needed
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, f"exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("order", ["peer first", "peer last"])
@pytest.mark.parametrize("peer", sorted(FITS))
def test_beside_one_peer(peer, order):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    if order == "peer first":
        run_together(FITS[peer], OURS, FITS[peer], OURS)
    else:
        run_together(OURS, FITS[peer], OURS, FITS[peer])


@pytest.mark.parametrize("order", ["peers first", "peers last"])
def test_beside_all_peers(order):
    """Everything in one process, fitting twice each; without us this mixture runs."""
    present = [FITS[peer] for peer in sorted(FITS) if importlib.util.find_spec(peer)]
    if len(present) < len(FITS):
        pytest.skip(f"only {len(present)} of {len(FITS)} peers are installed")
    first, last = (present, [OURS]) if order == "peers first" else ([OURS], present)
    run_together(*first, *last, *first, *last)
