from ._tape import grad, no_grad, enable_grad, set_grad_enabled, detect_anomaly
from ._tensor import Tensor, tensor
from ._elementwise import where
from ._linalg import einsum, linalg
from ._shape import cat, stack
