"""Layers, by name: see :mod:`kernelmill.nn`."""
