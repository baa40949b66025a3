"""What a covariance function is, and its algebra: sums, products and powers.

Gradients are pulled back. A kernel gets ``A = dL/dK`` and returns ``dL/dtheta`` or ``dL/dX``; a
product hands ``A * K2`` to its first factor. So no array of n x n x p entries is ever made, and a
loss that needs K by blocks of rows gets its gradient by the same blocks.
"""

from __future__ import annotations

import inspect
from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernelmill._arrays import is_cupy, namespace
from kernelmill.gaussian_process import kernels
from kernelmill.gaussian_process.kernels._protocol import Protocol, check_host

# What a kernel of another class must have, beside a call.
PROTOCOL = ("theta", "bounds", "hyperparameters", "diag", "is_stationary", "clone_with_theta")
# Rows of a block of K: 256 x 5,000 doubles are 10 MB, and a product with them is still efficient.
BLOCK = 256


class _Fields(NamedTuple):
    name: str
    value_type: str
    bounds: Any
    n_elements: int
    fixed: bool


class Hyperparameter(_Fields):
    """A parameter of a kernel that a fit may change.

    Parameters
    ----------
    name : str
        Name of the parameter.
    value_type : str
        ``"numeric"``.
    bounds : pair of float, ndarray of shape (n_elements, 2) or "fixed"
        Least and largest values; 0 and inf are no bounds.
    n_elements : int, default=1
        Number of values.
    fixed : bool, optional
        Whether fits leave it alone: where `bounds` are ``"fixed"``, by default.
    """

    __slots__ = ()

    def __new__(cls, name, value_type, bounds, n_elements=1, fixed=None):
        if not isinstance(bounds, str):
            bounds = np.atleast_2d(np.asarray(bounds, dtype=np.float64))
            if len(bounds) == 1:
                bounds = np.repeat(bounds, n_elements, axis=0)
            if bounds.shape != (n_elements, 2):
                raise ValueError(
                    f"{name}_bounds must be one pair or {n_elements} pairs, got an array of shape "
                    f"{bounds.shape}"
                )
            if not ((bounds[:, 0] >= 0) & (bounds[:, 0] <= bounds[:, 1])).all():
                raise ValueError(
                    f"{name}_bounds must be a least value of at least 0 and one that is not "
                    f"smaller, got {bounds.tolist()}"
                )
        elif bounds != "fixed":
            raise ValueError(f"{name}_bounds must be pairs of numbers or 'fixed', got {bounds!r}")
        fixed = isinstance(bounds, str) if fixed is None else fixed
        return super().__new__(cls, name, value_type, bounds, n_elements, fixed)


class Kernel(Protocol):
    """Base of covariance functions.

    A kernel is called as ``kernel(X)``, ``kernel(X, Y)`` or ``kernel(X, eval_gradient=True)``; the
    gradient is that in `theta`, the logarithms of the hyperparameters, not in the hyperparameters.

    See Also
    --------
    KernelAdapter : Kernels that derive from scikit-learn's class.

    Notes
    -----
    A kernel of one's own is written as for scikit-learn: a constructor that keeps its arguments, a
    property ``hyperparameter_<name>`` for each of them that a fit may change, ``__call__``,
    ``diag`` and ``is_stationary``. Fits take it alone and in sums and products. They are slower
    than with kernels of this package, whose gradients take no tensor of n x n x p entries.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.gaussian_process import GaussianProcessRegressor
    >>> from kernelmill.gaussian_process.kernels import Hyperparameter, Kernel, WhiteKernel
    >>> class Brownian(Kernel):
    ...     def __init__(self, rate=1.0, rate_bounds=(1e-5, 1e5)):
    ...         self.rate, self.rate_bounds = rate, rate_bounds
    ...     @property
    ...     def hyperparameter_rate(self):
    ...         return Hyperparameter("rate", "numeric", self.rate_bounds)
    ...     def __call__(self, X, Y=None, eval_gradient=False):
    ...         K = self.rate * np.minimum(X, (X if Y is None else Y).T)
    ...         return (K, K[:, :, None]) if eval_gradient else K  # dK / dlog rate
    ...     def diag(self, X):
    ...         return self.rate * X[:, 0]
    ...     def is_stationary(self):
    ...         return False
    >>> x = np.linspace(0.01, 1, 100)[:, None]
    >>> y = np.cumsum(np.random.default_rng(0).normal(size=100)) / 10
    >>> model = GaussianProcessRegressor(Brownian(5.0) + WhiteKernel(1e-3, "fixed")).fit(x, y)
    >>> bool(0.5 < model.kernel_.k1.rate < 2)
    True
    """

    _names: tuple[str, ...] = ()  # of hyperparameters, sorted
    _written: ClassVar[list[str]] = []  # properties of hyperparameters, of a class of a user
    _powers: ClassVar[dict[str, float]] = {}  # in which K is nearly linear where it is flat

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._written = [name for name in dir(cls) if name.startswith("hyperparameter_")]

    # -- parameters, in scikit-learn's manner --------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments of the constructor.

        Parameters
        ----------
        deep : bool, default=True
            Include those of the kernels that this one is made of, as ``k1__length_scale``.

        Returns
        -------
        params : dict
            Values by name.
        """
        names = [n for n in inspect.signature(type(self).__init__).parameters if n != "self"]
        params: dict[str, Any] = {}
        for name in sorted(names):
            value = params[name] = getattr(self, name)
            if deep and hasattr(value, "get_params"):
                params |= {f"{name}__{k}": v for k, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Kernel:
        """Set arguments of the constructor.

        Parameters
        ----------
        **params
            Values by name; ``k1__length_scale`` sets that of the kernel ``k1``.

        Returns
        -------
        self : Kernel
            Itself.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        known = self.get_params(deep=False)
        for name, value in params.items():
            head, _, rest = name.partition("__")
            if head not in known:
                raise ValueError(
                    f"{type(self).__name__}: parameters must be some of {', '.join(known)}, got "
                    f"{name!r}"
                )
            if rest:
                getattr(self, head).set_params(**{rest: value})
            else:
                setattr(self, head, value)
        return self

    def clone_with_theta(self, theta: Any) -> Kernel:
        """A copy with other hyperparameters.

        Parameters
        ----------
        theta : array-like of shape (p,)
            Logarithms of the hyperparameters.

        Returns
        -------
        kernel : Kernel
            The copy.
        """
        copy = self._copied()
        copy.theta = np.asarray(theta, dtype=np.float64)
        return copy

    def _copied(self) -> Kernel:
        """A copy that shares values with this one: assignment replaces them, nothing changes them.

        A search for hyperparameters makes one for each evaluation; deepcopy took as long as the
        rest of it for 30 rows.
        """
        copy = self.__class__.__new__(self.__class__)
        for name, value in vars(self).items():
            if isinstance(value, Kernel):
                value = value._copied()
            elif isinstance(value, list):
                value = [v._copied() if isinstance(v, Kernel) else v for v in value]
            setattr(copy, name, value)
        return copy

    def _parts(self) -> list[Kernel]:
        """The kernels that this one is made of; none where it has parameters of its own."""
        return []

    def _free_names(self) -> list[str]:
        """Its hyperparameters that are not fixed."""
        if self._names and not self._written:
            return [n for n in self._names if not isinstance(getattr(self, f"{n}_bounds"), str)]
        return [h.name for h in self.hyperparameters if not h.fixed]

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """All hyperparameters, those of ``k1`` first."""
        found = [getattr(self, name) for name in self._written]
        for name in self._names:
            try:
                found.append(
                    Hyperparameter(
                        name, "numeric", getattr(self, f"{name}_bounds"),
                        max(np.size(getattr(self, name)), 1),
                    )
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}: {error}") from None
        return sorted(found, key=lambda hyperparameter: hyperparameter.name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("hyperparameter_") and not hasattr(type(self), name):
            for found in self.hyperparameters:
                if name == f"hyperparameter_{found.name}":
                    return found
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def n_dims(self) -> int:
        """Number p of entries of `theta`."""
        parts = self._parts()
        if parts:
            return sum(part.n_dims for part in parts)
        if not self._names:
            return len(self.theta)
        return sum(np.size(getattr(self, name)) for name in self._free_names())

    def _theta_powers(self) -> np.ndarray:
        """The powers of hyperparameters for `theta`, 0 where it is the logarithm itself."""
        parts = self._parts()
        if parts:
            return np.concatenate([part._theta_powers() for part in parts])
        if not self._powers:
            return np.zeros(self.n_dims)
        found = [
            np.full(np.size(getattr(self, name)), self._powers.get(name, 0.0))
            for name in self._free_names()
        ]
        return np.concatenate(found) if found else np.zeros(0)

    @property
    def theta(self) -> np.ndarray:
        """Logarithms of the hyperparameters that are not fixed, ndarray of shape (p,).

        Assigning sets the hyperparameters.
        """
        parts = self._parts()
        if parts:
            return np.concatenate([part.theta for part in parts])
        values = [
            np.asarray(getattr(self, name), dtype=np.float64).reshape(-1)
            for name in self._free_names()
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.concatenate(values)) if values else np.zeros(0)

    @theta.setter
    def theta(self, theta: Any) -> None:
        theta, at, p = np.asarray(theta, dtype=np.float64), 0, self.n_dims
        if len(theta) != p:
            raise ValueError(
                f"{type(self).__name__}: theta must have {p} entries, got {len(theta)}"
            )
        parts = self._parts()
        for part in parts:
            part.theta = theta[at : at + part.n_dims]
            at += part.n_dims
        for name in () if parts else self._free_names():
            old = getattr(self, name)
            value = np.exp(theta[at : at + np.size(old)])
            at += len(value)
            setattr(self, name, float(value[0]) if np.ndim(old) == 0 else value)

    @property
    def bounds(self) -> np.ndarray:
        """Bounds of `theta`, ndarray of shape (p, 2)."""
        parts = self._parts()
        if parts:
            return np.concatenate([part.bounds for part in parts])
        found = [h.bounds for h in self.hyperparameters if not h.fixed]
        with np.errstate(divide="ignore"):  # 0 is no bound
            return np.log(np.concatenate(found)) if found else np.zeros((0, 2))

    def _named(self) -> list[str]:
        """A name for each entry of `theta`, for messages."""
        parts, owner = self._parts(), type(self).__name__
        if parts:
            return [name for part in parts for name in part._named()]
        free = [h for h in self.hyperparameters if not h.fixed]
        return [f"{owner}.{h.name}" for h in free for _ in range(h.n_elements)]

    def _check(self, d: int) -> None:
        """Raise unless the parameters make a kernel of rows with d features."""
        for name in self._names:
            try:
                value = np.asarray(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError):
                value = np.array(np.nan)
            if not (np.isfinite(value) & (value >= 0)).all() or value.ndim > 1:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be finite numbers of at least 0, got "
                    f"{getattr(self, name)!r}"
                )

    # -- values and gradients ------------------------------------------------------------------

    # A kernel of this package has
    #   _forward(X, Y, own) -> K (n, m), and what the pulls need; with `own`, row i of X is row i of
    #     Y itself;
    #   _derivatives(X, Y, own, saved), an iterator of dK / dtheta_q, (n, m);
    #   _pull_rows(X, Y, saved, A) = sum_j A_ij dK(x_i, y_j) / dx_i, (n, d), for a fixed Y;
    #   _diag(X) = K(x_i, x_i), (n,); _pull_diag(X, a) = sum_i a_i dK(x_i, x_i) / dtheta, (p,);
    #   _pull_diag_rows(X, a) = a_i d/dx_i K(x_i, x_i), (n, d).
    # One of a user has `__call__`, from which `Protocol` makes them.

    def _pull(
        self, X: np.ndarray, Y: np.ndarray, own: bool, saved: Any, A: np.ndarray
    ) -> np.ndarray:
        """``sum_ij A_ij dK_ij / dtheta``, (p,)."""
        return np.array([float(np.vdot(A, D)) for D in self._derivatives(X, Y, own, saved)])

    def _products(
        self, X: np.ndarray, Y: np.ndarray, own: bool, saved: Any, W: np.ndarray | None,
        a: np.ndarray, b: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """``D_q a`` (p, n, t) and ``D_q' b`` (p, m, t) with ``D_q = W * dK / dtheta_q``."""
        found = []
        for D in self._derivatives(X, Y, own, saved):
            D = D if W is None else D * W
            found.append((D @ a, D.T @ b))
        if not found:
            xp = namespace(X)
            return xp.zeros((0, len(X), a.shape[1])), xp.zeros((0, len(Y), a.shape[1]))
        left, right = zip(*found, strict=True)
        return np.stack(left), np.stack(right)

    def _call(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """`__call__` of a class that has its own."""
        if type(self).__call__ is Kernel.__call__:
            raise NotImplementedError(
                f"{type(self).__name__}: a kernel must define __call__(X, Y=None, "
                "eval_gradient=False), got none"
            )
        check_host(X, type(self).__name__)
        return self(X, Y, eval_gradient=True) if eval_gradient else self(X, Y)

    def _diag(self, X: np.ndarray) -> np.ndarray:
        if type(self).diag is Kernel.diag:
            return super()._diag(X)
        return self._checked(self.diag(X), (len(X),))

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The covariances of all rows of X with those of Y, or of X.

        Parameters
        ----------
        X : array-like of shape (n, d)
            First rows.
        Y : array-like of shape (m, d), optional
            Second rows; those of X by default.
        eval_gradient : bool, default=False
            Return the gradient too; only without Y.

        Returns
        -------
        K : ndarray of shape (n, m), float64
            Covariances.
        gradient : ndarray of shape (n, n, p), float64
            Derivatives by `theta`, the logarithms of the hyperparameters. Only if asked for: fits
            use sums of them, which take no such memory.

        Raises
        ------
        ValueError
            If both Y and `eval_gradient` are given.
        """
        if Y is not None and eval_gradient:
            raise ValueError(
                f"{type(self).__name__}: Y must be None with eval_gradient=True, got an array "
                "(Gradient can only be evaluated when Y is None.)"
            )
        X = _rows(X)
        Y, own = (X, True) if Y is None else (_rows(Y), False)
        self._check(X.shape[1])
        K, saved = self._forward(X, Y, own)
        if not eval_gradient:
            return K
        gradient = namespace(X).empty((*K.shape, self.n_dims))
        p = 0
        for p, D in enumerate(self._derivatives(X, Y, own, saved), 1):
            gradient[:, :, p - 1] = D
        return K, gradient[:, :, :p]  # a class that derives from this one may have more

    def diag(self, X: Any) -> np.ndarray:
        """The diagonal of ``kernel(X)``, without the rest.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.

        Returns
        -------
        variances : ndarray of shape (n,), float64
            Covariance of each row with itself.
        """
        X = _rows(X)
        self._check(X.shape[1])
        return self._diag(X)

    def is_stationary(self) -> bool:
        """Whether covariances depend on differences of rows only.

        Returns
        -------
        stationary : bool
            True if so.
        """
        parts = self._parts()
        if not parts:
            raise NotImplementedError(
                f"{type(self).__name__}: a kernel must define is_stationary(), got none"
            )
        return all(part.is_stationary() for part in parts)

    @property
    def requires_vector_input(self) -> bool:
        """True: rows are vectors of numbers."""
        return True

    # -- algebra -------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Kernel:
        return kernels.Sum(as_kernel(self), _kernel(other))

    def __radd__(self, other: Any) -> Kernel:
        return kernels.Sum(_kernel(other), as_kernel(self))

    def __mul__(self, other: Any) -> Kernel:
        return kernels.Product(as_kernel(self), _kernel(other))

    def __rmul__(self, other: Any) -> Kernel:
        return kernels.Product(_kernel(other), as_kernel(self))

    def __pow__(self, exponent: float) -> Kernel:
        return kernels.Exponentiation(as_kernel(self), exponent)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        a, b = self.get_params(), other.get_params()
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"{h.name}={shown(getattr(self, h.name))}" for h in self.hyperparameters]
        return f"{type(self).__name__}({', '.join(parts)})"


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    return same if isinstance(same, bool) else bool(np.array_equal(a, b))


def shown(value: Any) -> str:
    """A parameter in a repr."""
    if np.asarray(value).dtype.kind not in "biuf":  # what a fit refuses
        return repr(value)
    if np.ndim(value) == 0:
        return f"{value:.3g}"
    return "[" + ", ".join(f"{v:.3g}" for v in np.asarray(value)) + "]"


def _rows(X: Any) -> np.ndarray:
    X = X.astype(np.float64) if is_cupy(X) else np.asarray(X, dtype=np.float64)
    if X.ndim == 1:
        X = X[:, None]
    if X.ndim != 2:
        raise ValueError(f"Kernel: X must be a matrix, got an array of shape {X.shape}")
    return X


def _kernel(value: Any) -> Kernel:
    """A kernel, or the constant kernel of a number."""
    if isinstance(value, Real):
        return kernels.ConstantKernel(float(value))
    return as_kernel(value)


def own_kernel(given: Any, owner: str, bounds: Any = (1e-5, 1e5)) -> Kernel:
    """A copy of the kernel given to a model, which its fit may change.

    Parameters
    ----------
    given : Kernel, or scikit-learn's, or None
        ``1.0 * RBF(1.0)`` where there is none.
    owner : str
        Name of the model in errors.
    bounds : pair of float or "fixed"
        Those of the kernel that is made where there is none.

    Raises
    ------
    ValueError
        If it is a `CompoundKernel`, which one process cannot have.
    """
    if given is None:
        return kernels.ConstantKernel(1.0, bounds) * kernels.RBF(1.0, bounds)
    kernel = as_kernel(given)
    if isinstance(kernel, kernels.CompoundKernel):
        raise ValueError(
            f"{owner}: kernel must be that of one process, got a CompoundKernel (kernel cannot be "
            "a CompoundKernel; add or multiply its kernels)"
        )
    return deepcopy(kernel)


def as_kernel(kernel: Any) -> Kernel:
    """A kernel of ours, made from one of scikit-learn's, or around one that is like them.

    Raises
    ------
    TypeError
        If it is neither.
    """
    cls = type(kernel)
    if isinstance(kernel, Kernel):
        # Of a class of a user that derives from RBF, say, values are what its own call says.
        written, made = (
            next(i for i, c in enumerate(cls.__mro__) if not names.isdisjoint(vars(c)))
            for names in ({"__call__", "diag"}, {"_forward"})
        )
        changed = written < made and issubclass(cls.__mro__[made], Kernel)
        return kernels.KernelAdapter(kernel) if changed else kernel
    own = getattr(kernels, cls.__name__, None)
    if not cls.__module__.startswith("sklearn.gaussian_process") or own is None:
        lacking = [name for name in PROTOCOL if not hasattr(kernel, name)]
        if lacking or not callable(kernel) or isinstance(kernel, type):
            raise TypeError(
                "Kernel: kernels must be those of kernelmill.gaussian_process.kernels, or follow "
                f"scikit-learn's protocol, got {cls.__module__}.{cls.__name__} without "
                f"{', '.join(lacking) or 'a call'} (PairwiseKernel takes a function of two rows)"
            )
        return kernels.KernelAdapter(kernel)
    if cls.__name__ == "ConstantKernel" and isinstance(kernel.constant_value, Kernel):
        return kernel.constant_value  # what scikit-learn makes of ours in a sum or product
    params = {
        name: as_kernel(value) if hasattr(value, "clone_with_theta") else value
        for name, value in kernel.get_params(deep=False).items()
    }
    return own(**params)
