"""Tools for parameters and sequences, as in ``torch.nn.utils``."""

from ..._lazy import lazy
from .._torch_names import refusal

_PARAMETERS = """
    clip_grad_norm_ clip_grad_value_ get_total_norm l1_penalty l2_penalty max_norm_
    parameters_to_vector remove_weight_norm spectral_norm vector_to_parameters weight_norm
"""
_NAMES = {name: "_parameters" for name in _PARAMETERS.split()} | {"prune": "prune", "rnn": "rnn"}
__getattr__, __dir__, __all__ = lazy(__name__, _NAMES, refusal)
