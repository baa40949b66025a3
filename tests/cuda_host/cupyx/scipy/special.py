"""Elementwise functions."""

from __future__ import annotations

import cupy
import scipy.special

expit = cupy._Function(scipy.special.expit)
log_expit = cupy._Function(scipy.special.log_expit)
