"""Optimisers and schedules with the names, arguments, defaults and saved states of torch.

A step of an optimiser is one op over all its parameters.
"""

from ..._lazy import lazy as _lazy
from .._torch_names import refusal as _refusal

_PLACES = {
    "_optimizer": "Optimizer",
    "_rules": "ASGD Adadelta Adagrad Adam AdamW Adamax Lion NAdam RAdam RMSprop Rprop SGD",
    "_factored": "Adafactor",
    "_lbfgs": "LBFGS",
}
_NAMES = {name: module for module, names in _PLACES.items() for name in names.split()}
_NAMES |= {name: name for name in ("lr_scheduler", "swa_utils")}
__getattr__, __dir__, __all__ = _lazy(__name__, _NAMES, _refusal)
