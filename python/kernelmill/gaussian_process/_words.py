"""Text and rules that the Gaussian processes share."""

from kernelmill._docstrings import Words
from kernelmill._estimator import _parameters as rule
from kernelmill.gaussian_process._factor import OPTIMIZER

KERNEL = rule.any_of(
    rule.Rule(
        lambda value: hasattr(value, "clone_with_theta") and not isinstance(value, type), "a kernel"
    ),
    rule.nothing(),
)
PARAMETERS = {
    "kernel": KERNEL,
    "optimizer": OPTIMIZER,
    "n_restarts_optimizer": rule.integer(0),
    "random_state": rule.RANDOM_STATE,
}
WORDS = Words(
    arguments={
        "X": ("array-like of shape (n, d)", "Rows."),
        "y": ("array-like of shape (n,) or (n, n_targets)", "Targets."),
        "return_std": ("bool", "Return standard deviations too."),
        "return_cov": ("bool", "Return covariances too; not with `return_std`."),
        "n_samples": ("int", "Number of functions to draw."),
        "random_state": (
            "int, RandomState, Generator or None",
            "Seed or generator; pass an int for reproducible results.",
        ),
        "theta": (
            "array-like of shape (p,), optional",
            "Logarithms of the hyperparameters; those of the fit by default.",
        ),
        "eval_gradient": ("bool", "Return the gradient in `theta` too."),
        "clone_kernel": ("bool", "Leave ``kernel_`` as it is; otherwise it takes `theta`."),
    },
    parameters={
        "optimizer": (
            '"fmin_l_bfgs_b", callable or None',
            "How the log marginal likelihood is maximised over the kernel's hyperparameters; None "
            "keeps them. A callable takes ``(objective, start, bounds)`` and returns the best "
            "theta and the objective there, which is minus the log marginal likelihood and its "
            "gradient.",
        ),
        "n_restarts_optimizer": (
            "int",
            "Further starts, drawn uniformly in the logarithms between the bounds; the best is "
            "kept.",
        ),
        "warm_start": (
            "bool",
            "Go on with a search that was interrupted, by Ctrl-C or as a file of "
            "`kernelmill.callbacks.Checkpoint` has it; it ends at the same bits as one that was "
            "not. Other fits begin anew.",
        ),
        "copy_X_train": ("bool", "Keep a copy of X rather than X itself."),
        "random_state": (
            "int, RandomState, Generator or None",
            "Seed or generator of the restarts; pass an int for reproducible results.",
        ),
    },
    attributes={
        "X_train_": ("ndarray of shape (n, d)", "Rows of the fit."),
        "kernel_": ("Kernel", "Kernel with the hyperparameters of the fit."),
        "jitter_": (
            "float",
            "What was added to the diagonal of the kernel matrix, beyond `alpha`, to factorise it; "
            "0 if nothing.",
        ),
        "log_marginal_likelihood_value_": ("float", "Log marginal likelihood of ``kernel_``."),
        "n_features_in_": ("int", "Number of features d."),
        "feature_names_in_": ("ndarray of shape (d,), object", "Column names of X, if strings."),
    },
)
