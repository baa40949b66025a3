"""The classes that a model file may name.

A model file names a class by a key such as ``"kernelmill.cluster.KMeans"``, which is looked up
only here: in the classes registered by the process, then in the ``__all__`` of a fixed list of
public modules. A file cannot cause any other import.
"""

import importlib
import inspect

# All public modules with estimators, including those of later versions.
PUBLIC_MODULES = (
    "kernelmill.adversarial",
    "kernelmill.cluster",
    "kernelmill.covariance",
    "kernelmill.decomposition",
    "kernelmill.discriminant_analysis",
    "kernelmill.ensemble",
    "kernelmill.estimation",
    "kernelmill.explain",
    "kernelmill.gaussian_process",
    "kernelmill.gaussian_process.kernels",
    "kernelmill.generative",
    "kernelmill.graph",
    "kernelmill.hmm",
    "kernelmill.isotonic",
    "kernelmill.kernel_approximation",
    "kernelmill.kernel_ridge",
    "kernelmill.linear_model",
    "kernelmill.manifold",
    "kernelmill.markov",
    "kernelmill.meta",
    "kernelmill.mixture",
    "kernelmill.model_selection",
    "kernelmill.naive_bayes",
    "kernelmill.neighbors",
    "kernelmill.neural_network",
    "kernelmill.nn",
    "kernelmill.nn.optim",
    "kernelmill.nn.optim.lr_scheduler",
    "kernelmill.preprocessing",
    "kernelmill.rl",
    "kernelmill.svm",
    "kernelmill.text",
    "kernelmill.transformers",
    "kernelmill.tree",
)

# Functions that layers and estimators may keep, such as the activation of a transformer's layers.
_FUNCTIONS = "kernelmill.nn.functional"

# Keys in older files -> present keys.
_MOVED = {"kernelmill.hmm.MarkovChain": "kernelmill.markov.MarkovChain"}

_registered: dict[str, type] = {}


def register(cls=None, *, key=None):
    """Let model files name a class outside KernelMill's public modules, such as a network.

    `kernelmill.load` restores a registered class only in a process that has registered it too.

    Parameters
    ----------
    cls : type
        The class: an estimator, or a subclass of `kernelmill.nn.Module`. May be used as a
        decorator.
    key : str, optional
        The name in files; ``"<module>.<qualified name>"`` by default.

    Returns
    -------
    type
        `cls` itself.

    Raises
    ------
    ValueError
        If the key belongs to another class.

    Examples
    --------
    >>> import io
    >>> import kernelmill
    >>> from kernelmill import nn
    >>> @kernelmill.register(key="mine.Net")
    ... class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = nn.Linear(2, 3)
    >>> file = io.BytesIO()
    >>> kernelmill.save(Net(), file)
    >>> _ = file.seek(0)
    >>> [*dict(kernelmill.load(file).named_parameters())]
    ['layer.weight', 'layer.bias']
    """
    if cls is None:
        return lambda decorated: register(decorated, key=key)
    if not inspect.isclass(cls):
        raise TypeError(f"register: cls must be a class, got {type(cls).__name__}")
    key = key or f"{cls.__module__}.{cls.__qualname__}"
    holder = _registered.get(key)
    if holder is not None and (holder.__module__, holder.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise ValueError(f"register: key must be unused, got {key!r} (held by {holder!r})")
    _registered[key] = cls
    return cls


def _public_class(module_name, class_name):
    """The class that a public module lists under this name, or None."""
    if module_name not in PUBLIC_MODULES:
        return None
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that this version does not have, as opposed to one whose own import fails.
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            return None
        raise
    if class_name not in getattr(module, "__all__", ()):
        return None
    value = getattr(module, class_name, None)
    return value if inspect.isclass(value) else None


def key_of(cls):
    """The key of this class in files, or None if it may not be stored."""
    for key, registered in _registered.items():
        if registered is cls:
            return key
    parts = cls.__module__.split(".")
    for length in range(len(parts), 1, -1):
        module_name = ".".join(parts[:length])
        if _public_class(module_name, cls.__name__) is cls:
            return f"{module_name}.{cls.__name__}"
    for module_name in PUBLIC_MODULES:  # a module below may list it too
        below = module_name.startswith(".".join(parts[:2]) + ".")
        if below and _public_class(module_name, cls.__name__) is cls:
            return f"{module_name}.{cls.__name__}"
    return None


def class_of(key):
    """The class of a key, or None if this version has no such class."""
    if key in _registered:
        return _registered[key]
    module_name, _, class_name = _MOVED.get(key, key).rpartition(".")
    return _public_class(module_name, class_name)


def function_name(value):
    """The name of a public function of networks in files, or None for anything else."""
    if not inspect.isfunction(value) or not value.__module__.startswith(_FUNCTIONS):
        return None
    return value.__name__ if function_of(value.__name__) is value else None


def function_of(name):
    """The public function of networks of this name, or None."""
    module = importlib.import_module(_FUNCTIONS)
    found = getattr(module, name) if name in module.__all__ else None
    return found if inspect.isfunction(found) else None
