"""Benchmarks beside peers: ``python -m benchmarks [family ...]``. One file per family.

A family file defines ``cases(quick)``, a list of `_harness.Case`. The harness times, checks
results, finds the floor and writes the JSON; a family file only says what to run.
"""
