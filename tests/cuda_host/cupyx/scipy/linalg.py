"""Triangles."""

from __future__ import annotations

import cupy
import scipy.linalg

solve_triangular = cupy._Function(scipy.linalg.solve_triangular)
