"""What NeuralNetClassifier and NeuralNetRegressor share: parts, training, prediction."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._arrays import check_weights, to_host
from .._estimator import _parameters as rule
from .._estimator._base import fitting
from .._estimator._climb import climb
from .._estimator._progress import Progress
from .._estimator._random import generator as numpy_generator
from .._estimator._random import seed_of
from .._estimator._rows import Estimator
from .._estimator._targets import hold_out
from .._estimator._validation import all_finite, zero_weights
from . import optim
from ._dtypes import FLOATS
from ._random import Generator, randperm, using
from ._tape import no_grad
from ._tensor import Tensor
from ._trainer import Trainer
from ._trainer_metrics import kind_of
from ._trainer_session import Epoch, Session, copied, copies, counter, put
from .data import DataLoader, Dataset, StreamDataset
from .modules._containers import Sequential
from .modules._layers import Linear
from .modules._module import Module
from .modules._simple import LAYERS

_ROUTED = ("module", "criterion", "optimizer", "lr_scheduler")
_CLASS = rule.any_of(rule.nothing(), rule.Rule(callable, "a class, a function or an instance"))
PARAMETERS = """module : Module class, function or instance, optional
        The network. A class or function is called in ``fit`` with the parameters ``module__*``, and
        with ``n_features`` and ``n_outputs`` if it takes them; an instance is copied. By default a
        perceptron with one hidden layer of 100 units.
    criterion : Module class or instance, optional
        The loss, made with the parameters ``criterion__*``. {criterion}
    optimizer : Optimizer class, optional
        Made with ``lr`` and the parameters ``optimizer__*``; `Adam` by default.
    lr : float, default=1e-3
        The learning rate.
    max_epochs : int, default=20
        Most epochs of a fit.
    batch_size : int, default=128
        Rows of a batch.
    {weights}shuffle : bool, default=True
        A new order of the rows in each epoch.
    early_stopping : bool, default=False
        Hold ``validation_fraction`` of the rows out, stop when their loss brings no gain for
        ``n_iter_no_change`` epochs, and keep the best weights.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    n_iter_no_change : int, default=10
        Epochs without a gain that end the fit, with ``early_stopping``.
    tol : float, default=0.0
        Least gain that counts.
    monitor : str, optional
        What ``early_stopping`` goes by, such as ``"valid_accuracy"``; ``"valid_loss"`` by default.
    metrics : str, callable, list or dict of these, optional
        Computed on the rows held out, as for :class:`kernelmill.nn.Trainer`.
    clip_norm : float, optional
        Largest norm of all gradients.
    accumulate : int, default=1
        Batches of one step.
    lr_scheduler : LRScheduler class, optional
        Made with the parameters ``lr_scheduler__*``; it steps after each epoch.
    input_dtype : dtype, optional
        Dtype of the batches; that of the network by default. ``"int64"`` for an embedding.
    warm_start : bool, default=False
        Go on from the last fit; Ctrl-C then keeps the last whole epoch.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results.
    verbose : bool or int, default=False
        Show a progress bar.
    **kwargs : object
        Parameters ``module__*``, ``criterion__*``, ``optimizer__*`` and ``lr_scheduler__*``."""
ATTRIBUTES = """module_ : Module
        The network.
    history_ : list of dict
        A row for each epoch: ``epoch``, ``train_loss``, ``valid_loss``, metrics and others.
    n_iter_ : int
        Number of epochs.
    best_epoch_ : int
        The epoch with the best value of ``monitor``.
    n_outputs_ : int
        Numbers that the network gives for a row.
    n_features_in_ : int
        Size of the second axis of X.
    feature_names_in_ : ndarray of str, dtype object
        Column names of X, if it has string names."""
NOTES = """X may have more than two axes (images, sequences), or be a stream of rows whose
    targets are in memory. Up to 256 MiB of a stream are kept and train the model of the same rows
    in memory; more are shuffled in windows of 64 MiB. Features should be scaled. Early
    stopping works in pipelines and grid searches, as the rows to validate with are held out inside
    ``fit``. The same ``random_state`` gives the same bits at any number of threads.
    `kernelmill.save` takes a network of KernelMill's layers, and of classes of your own that
    `kernelmill.register` has been called for."""
CLASSIFIER = PARAMETERS.format(
    criterion="""`CrossEntropyLoss` by default, or `BCEWithLogitsLoss` for
        several labels; also `NLLLoss`, and `BCEWithLogitsLoss` or `BCELoss` on one output for two
        classes.""",
    weights="""class_weight : dict or "balanced", optional
        Weights of the classes, by label.
    """,
)
REGRESSOR = PARAMETERS.format(criterion="`MSELoss` by default.", weights="")


def perceptron(n_features: int, n_outputs: int, hidden: int = 100) -> Module:
    """The default network: one hidden layer of ReLU units."""
    return Sequential(Linear(n_features, hidden), LAYERS["ReLU"](), Linear(hidden, n_outputs))


class _Examples(Dataset):
    """Rows, targets and weights at some places."""

    def __init__(
        self, take: Callable, places: np.ndarray, target: np.ndarray, weight: Any, dtype: Any
    ) -> None:
        self.take, self.places, self.dtype = take, places, dtype
        self.target, self.weight = target, weight

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        return self._batch([index])

    def _batch(self, indices: Any) -> list[Any]:
        span = slice(indices.start, indices.stop) if isinstance(indices, range) else indices
        places = self.places[span]
        X = self.take(places)
        weight = None if self.weight is None else self.weight[places]
        return [Tensor(X.astype(self.dtype, copy=False)), Tensor(self.target[places]), weight]


class _Streamed(StreamDataset):
    """Rows of a stream that is too large to be kept, with their targets and weights."""

    def __init__(
        self, rows: Any, places: np.ndarray, target: np.ndarray, factors: Any, dtype: Any
    ) -> None:
        self.rows, self.target, self.factors, self.dtype = rows, target, factors, dtype
        self.chosen = np.zeros(len(target), bool)
        self.chosen[places] = True

    def __len__(self) -> int:
        return int(self.chosen.sum())

    def _batches(self, size: int, generator: Generator | None) -> Any:
        order = None
        if generator is not None:
            def order(n: int) -> np.ndarray:
                return randperm(n, generator=generator).data

        seen = 0
        for X, places, weight in self.rows.batches(size, order, self.chosen):
            if self.factors is not None:
                own = self.factors[places]
                weight = own if weight is None else weight * own
            seen += len(places)
            X = X.astype(self.dtype, copy=False)
            yield [Tensor(X), Tensor(self.target[places]), weight]
        if seen != len(self):
            raise ValueError(
                f"{self.rows.owner}: y must have one entry for each row of X, got "
                f"{len(self.target)} (inconsistent numbers of samples)"
            )


class NeuralNet(Estimator):
    """What the classifier and the regressor share."""

    module_: Any
    history_: Any
    n_iter_: Any
    best_epoch_: Any
    n_outputs_: Any
    classes_: Any

    _accepts_sparse = True
    _squares = False
    _parameters: ClassVar = {
        "module": _CLASS,
        "criterion": _CLASS,
        "optimizer": _CLASS,
        "lr": rule.real(0, above=True),
        "max_epochs": rule.integer(1),
        "batch_size": rule.integer(1),
        "shuffle": rule.boolean(),
        "early_stopping": rule.boolean(),
        "validation_fraction": rule.real(0, above=True, high=np.nextafter(1.0, 0.0)),
        "n_iter_no_change": rule.integer(1),
        "tol": rule.real(0),
        "clip_norm": rule.any_of(rule.nothing(), rule.real(0, above=True)),
        "accumulate": rule.integer(1),
        "lr_scheduler": _CLASS,
        "warm_start": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "verbose": rule.VERBOSE,
    }

    # --- parameters -------------------------------------------------------------------------------

    def _route(self, parameters: dict[str, Any]) -> None:
        """Keep parameters such as ``module__hidden``."""
        for name in parameters:
            if not name.startswith(tuple(f"{part}__" for part in _ROUTED)):
                raise TypeError(
                    f"{type(self).__name__}: unexpected keyword argument {name!r} (those of the "
                    "network are named module__*)"
                )
        self.__dict__.update(parameters)

    def _routed(self, part: str | None = None) -> dict[str, Any]:
        """Parameters of a part, without its name; of all parts, with them."""
        if part is None:
            names = tuple(f"{one}__" for one in _ROUTED)
            return {name: value for name, value in vars(self).items() if name.startswith(names)}
        head = f"{part}__"
        found = {name: value for name, value in vars(self).items() if name.startswith(head)}
        return {name.removeprefix(head): value for name, value in found.items()}

    def get_params(self, deep=True):
        """All parameters, those of the network and of the other parts included.

        Parameters
        ----------
        deep : bool, default=True
            Ignored; present for API compatibility.

        Returns
        -------
        params : dict
            By name.
        """
        return {**super().get_params(deep=False), **self._routed()}

    def set_params(self, **params):
        """Set parameters, such as ``lr`` or ``module__hidden``.

        Parameters
        ----------
        **params : object
            By name.

        Returns
        -------
        self : object
            Itself.
        """
        heads = tuple(f"{part}__" for part in _ROUTED)
        routed = {name: value for name, value in params.items() if name.startswith(heads)}
        super().set_params(**{k: v for k, v in params.items() if k not in routed})
        self._route(routed)
        return self

    # --- the parts --------------------------------------------------------------------------------

    def _make_module(self, features: int) -> Any:
        module = perceptron if self.module is None else self.module
        options = self._routed("module")
        if isinstance(module, Module):
            if options:
                raise ValueError(
                    f"{type(self).__name__}: module must be a class for module__* parameters, got "
                    f"an instance and {sorted(options)}"
                )
            return copy.deepcopy(module)
        known = inspect.signature(module).parameters
        sizes = {"n_features": features, "n_outputs": self.n_outputs_}
        options = {**{k: v for k, v in sizes.items() if k in known}, **options}
        return module(**options)

    def _make_criterion(self, weighted: bool) -> Any:
        """The loss; of single rows where they have weights."""
        criterion = self._criterion()
        if inspect.isclass(criterion):
            criterion = criterion(**self._routed("criterion"))
        if weighted:
            if not hasattr(criterion, "reduction"):
                raise ValueError(
                    f"{type(self).__name__}: criterion must have a reduction for weights of rows, "
                    f"got {type(criterion).__name__}"
                )
            criterion = copy.copy(criterion)
            criterion.reduction = "none"
        return criterion

    def _make_optimizer(self, model: Any) -> Any:
        options = {"lr": self.lr, **self._routed("optimizer")}
        return (self.optimizer or optim.Adam)(model.parameters(), **options)

    def _criterion(self) -> Any:
        raise NotImplementedError

    def _targets(self, y: Any, count: int, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Targets as the criterion takes them, and as given."""
        raise NotImplementedError

    def _kind(self) -> str:
        criterion = self._criterion()
        return kind_of(criterion if inspect.isclass(criterion) else type(criterion))

    # --- data -------------------------------------------------------------------------------------

    def _taken(
        self, X: Any, sample_weight: Any = None, *, reset: bool
    ) -> tuple[Any, int, Any]:
        """``take(places)``, or large `Rows` of a stream; the number of rows, and their weights."""
        owner = type(self).__name__
        if _axes(X) <= 2:
            once = hasattr(X, "__next__")
            rows = self._rows(X, sample_weight, reset=reset, once=once)
            rows = rows.read() if once else rows.kept()
            if rows.is_stream:
                return rows, rows.count, None
            return rows.take, rows.count, rows.all_weights()
        X = np.asarray(to_host(X))
        if X.dtype.kind not in "biuf" or not len(X) or (X.dtype.kind == "f" and not all_finite(X)):
            raise ValueError(
                f"{owner}: X must be finite numbers with at least 1 row, got {X.dtype} of shape "
                f"{X.shape}"
            )
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{owner}: X has {X.shape[1]} features, but {owner} is expecting "
                f"{self.n_features_in_} features as input"
            )
        weight = check_weights(sample_weight, len(X), np.dtype(np.float64), owner)
        if weight is not None and not (weight > 0).any():
            raise zero_weights(owner)
        return (lambda places: X[places]), len(X), weight

    def _dtype(self, model: Any) -> Any:
        """Of the batches that the network is given."""
        wanted = self.input_dtype
        return np.dtype(_float_of(model) if wanted is None else wanted)

    # --- training ---------------------------------------------------------------------------------

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d) or (n, d, ...), or a stream
            Rows.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets, in memory even if X is a stream.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows; rows with zero weight are ignored.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If X or y do not fit, or the loss leaves the range of numbers.
        """
        again = self.warm_start and hasattr(self, "module_")
        return self._train(X, y, sample_weight, again, int(self.max_epochs))

    def _partial(self, X: Any, y: Any, sample_weight: Any) -> Any:
        if self.early_stopping:
            raise ValueError(
                f"{type(self).__name__}: early_stopping must be False for partial_fit, got True "
                "(hold rows out and call score yourself)"
            )
        return self._train(X, y, sample_weight, hasattr(self, "module_"), 1)

    def _train(self, X: Any, y: Any, sample_weight: Any, again: bool, epochs: int) -> Any:
        owner = type(self).__name__
        if self.metrics is not None and not self.early_stopping:
            raise ValueError(
                f"{owner}: early_stopping must be True for metrics, which need rows that are held "
                "out, got False"
            )
        take, count, weight = self._taken(X, sample_weight, reset=not again)
        target, given = self._targets(y, count, reset=not again)
        seed, drawn = (seed_of(self.random_state), 0)
        if again:
            seed, drawn = self._random
        draws = Generator(seed).set_state((seed, drawn))
        with using(draws):
            if again:
                model = copy.deepcopy(self.module_)
            else:
                model = self._make_module(self.n_features_in_)
                self._check_module(model)
        optimizer = self._make_optimizer(model)
        if again and self._optimizer_state["name"] == type(optimizer).__name__:
            chosen = {} if self.lr_scheduler is not None else dict(optimizer.param_groups[0])
            optimizer.load_state_dict(self._optimizer_state)
            chosen.pop("params", None)
            optimizer.param_groups[0].update(chosen)  # set_params counts, unless a schedule rules
        name = type(optimizer).__name__
        weight = self._class_weighted(given, weight)
        known = None if not callable(take) and weight is None else weight is not None
        forward, kind = self._forward(model, known), self._kind()
        target = target if target.dtype.kind == "i" else target.astype(_float_of(model))
        order = np.arange(count)
        held = None
        if self.early_stopping:
            order, held = hold_out(self, given, count, seed, least=1)
        loader = self._loader(model, take, order, target, weight, self.shuffle)
        loader.generator.set_state((*_loader_seed(seed), len(self.history_) if again else 0))
        valid = None
        if held is not None:
            valid = self._loader(model, take, held, target, weight, False)
        schedule = None
        if self.lr_scheduler is not None:
            schedule = self.lr_scheduler(optimizer, **self._routed("lr_scheduler"))
            if again and self._schedule_state is not None:
                schedule.load_state_dict(self._schedule_state)
        trainer = Trainer(
            epochs, metrics=self.metrics, monitor=self.monitor, tol=self.tol,
            patience=int(self.n_iter_no_change) if held is not None else None,
            accumulate=int(self.accumulate), clip_norm=self.clip_norm,
        )  # fmt: skip
        session = Session(
            trainer, owner, model, optimizer, loader, valid, forward, kind=kind,
            schedule=schedule, snapshot=True,
        )  # fmt: skip
        history = self.history_ if again else []
        begun = len(history)
        start = Epoch(
            epochs=begun, steps=history[-1]["step"] if history else 0, history=history,
            patience=session.state.patience, weights=(copies(model), copied(optimizer)),
        )  # fmt: skip

        def attributes(state: Epoch, n_iter: int) -> dict[str, Any]:
            reached = copy.deepcopy(model)
            put(reached, state.best if state.best is not None else state.weights[0])
            return self._fitted(state, reached, (seed, draws.get_state()[1]), name, schedule)

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with (
            using(draws),
            Progress(
                self, self.verbose, iterations=epochs, unit="epoch", X=X, y=y, metadata=metadata
            ) as progress,
        ):
            run = climb(
                progress, lambda number: start, session.advance, max_iter=epochs,
                attributes=attributes,
            )  # fmt: skip
        session.finish(run.state)
        optimizer.zero_grad()
        random = (seed, draws.get_state()[1])
        self.__dict__.update(self._fitted(run.state, model.eval(), random, name, schedule))
        return self

    def _fitted(
        self, state: Epoch, model: Any, random: Any, optimizer: str, schedule: Any
    ) -> dict[str, Any]:
        fitted = {
            "module_": model, "history_": state.history, "n_iter_": len(state.history),
            "best_epoch_": state.best_epoch, "n_outputs_": self.n_outputs_,
            "_optimizer_state": {"name": optimizer, **state.weights[1]}, "_random": list(random),
            "_schedule_state": None if schedule is None else dict(schedule.state_dict()),
        }  # fmt: skip
        for name in ("classes_", "_multilabel", "_vector"):
            if hasattr(self, name):
                fitted[name] = getattr(self, name)
        return fitted

    def _check_module(self, model: Any) -> None:
        if not isinstance(model, Module):
            raise ValueError(
                f"{type(self).__name__}: module must give a kernelmill.nn.Module, got "
                f"{type(model).__name__}"
            )

    def _class_weighted(self, given: np.ndarray, weight: Any) -> Any:
        return weight

    def _loader(
        self, model: Any, take: Any, places: Any, target: Any, weight: Any, shuffle: bool
    ) -> DataLoader:
        kind = _Examples if callable(take) else _Streamed
        examples = kind(take, places, target, weight, self._dtype(model))
        return DataLoader(examples, int(self.batch_size), shuffle, generator=Generator(0))

    def _forward(self, model: Any, weighted: bool | None) -> Callable[[Any], tuple]:
        """The loss of a batch; None for weights that a stream may have."""
        if weighted is None:
            one, other = self._forward(model, False), None

            def either(batch: Any) -> tuple:
                nonlocal other
                if batch[2] is None:
                    return one(batch)
                other = self._forward(model, True) if other is None else other
                return other(batch)

            return either
        criterion = self._make_criterion(weighted)
        count = counter(criterion)
        shaped = self._shaped

        def plain(batch: Any) -> tuple:
            X, y, _ = batch
            output = shaped(model(X), y)
            return criterion(output, y), count(y), output, y

        def by_weight(batch: Any) -> tuple:
            X, y, w = batch
            output = shaped(model(X), y)
            each = criterion(output, y)
            if each.ndim > 1:
                each = each.reshape(len(w), -1).mean(1)
            total = float(w.sum())
            factors = Tensor((w / total if total else w).astype(each.dtype))
            return (each * factors).sum(), total, output, y, w

        return by_weight if weighted else plain

    def _shaped(self, output: Tensor, target: Tensor) -> Tensor:
        """An output with one number for each row as a column, where the target is one."""
        if output.ndim == 1 and target.ndim == 2 and target.shape[1] == 1:
            return output.reshape(-1, 1)
        if self.criterion is None and output.ndim == 2:
            k, given = self.n_outputs_, output.shape[1]
            # Numbers of classes leave outputs of classes that y does not have.
            if given < k if target.ndim == 1 else given != k:
                raise ValueError(
                    f"{type(self).__name__}: module must give {k} numbers for each row, got "
                    f"{given} (one for each class, or for each column of y)"
                )
        return output

    # --- prediction -------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:
        """Of the network, for all rows, batch by batch, in the dtype of X where that is a float."""
        check_is_fitted(self)
        dtype, size, parts = self._dtype(self.module_), int(self.batch_size), []
        if _axes(X) <= 2:
            rows = self._rows(X, reset=False)
            given, batches = rows.dtype, (x for x, _, _ in rows.batches(size))
        else:
            take, count, _ = self._taken(X, reset=False)
            given = take(np.arange(0)).dtype
            starts = range(0, count, size)
            batches = (take(np.arange(i, min(i + size, count))) for i in starts)
        with no_grad(), using(Generator(0)):
            for x in batches:
                parts.append(to_host(self.module_(Tensor(x.astype(dtype, copy=False))).data))
        if not parts:
            raise ValueError(f"{type(self).__name__}: X must have at least 1 row, got 0")
        found = np.concatenate(parts)
        found = found.astype(given, copy=False) if given.kind == "f" else found
        return found.reshape(-1, 1) if found.ndim == 1 else found


def _axes(X: Any) -> int:
    """Number of axes; 2 for what is no array, such as a frame."""
    depth = 0
    while isinstance(X, list | tuple) and len(X):
        X, depth = X[0], depth + 1
    return depth + getattr(X, "ndim", 0 if depth else 2)


def _loader_seed(seed: int) -> tuple[int]:
    """The seed of the order of the rows, apart from that of weights and dropout."""
    return (int(numpy_generator(seed, 3).integers(2**63)),)


def _float_of(model: Any) -> Any:
    """The dtype of the parameters of a network."""
    return next((p.dtype for p in model.parameters() if p.dtype.kind in FLOATS), np.float32)
