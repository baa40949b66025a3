"""Moves between devices, until every model is over `Rows`."""

from kernelmill._arrays import beside as move_back  # noqa: F401
from kernelmill._arrays import namespace, require_cuda, to_device, to_host  # noqa: F401
from kernelmill._estimator._parameters import DEVICE  # noqa: F401


def move_in(X, device, owner):
    if device == "cuda":
        require_cuda(owner)
    return to_device(X, device)
