"""The clustering rows of the tour. `test_tour` runs them whole; here is what they compute."""

from __future__ import annotations

import numpy as np

from kernelmill.cli.tour import cluster


def test_psnr_of_known_errors():
    X = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    centers = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]])
    # Every entry is off by 0.1: mean square 0.01 against a peak of 1 is 20 dB.
    assert abs(cluster._psnr(X, centers, np.array([0, 1])) - 20) < 1e-4
    # Swapped labels are off by 0.9 everywhere.
    swapped = cluster._psnr(X, centers, np.array([1, 0]))
    assert abs(swapped + 10 * np.log10(0.81)) < 1e-4
