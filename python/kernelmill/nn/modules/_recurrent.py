"""Recurrent layers and their cells."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..._arrays import namespace
from .. import functional as F
from .. import init
from .._documents import complete
from .._elementwise import unified
from .._shape import cat, stack
from .._tensor import Tensor, as_tensor
from ..functional._dense import dense
from ..functional._recurrent import GATES, activated, recurrence, unrolled
from ..utils.rnn import PackedSequence
from ._layers import empty_parameter
from ._module import Module


class _Recurrent(Module):
    """What layers and cells share: weights of one kind of cell, and states."""

    input_size: int
    hidden_size: int

    def _add(
        self, kind: str, input_size: int, state_size: int, suffix: str, bias: bool, dtype: Any
    ) -> None:
        """Weights of one layer in one direction."""
        rows = GATES[kind] * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, input_size), "weight_hh": (rows, state_size),
            "bias_ih": (rows,), "bias_hh": (rows,), "weight_hr": (state_size, self.hidden_size),
        }  # fmt: skip
        for name, shape in shapes.items():
            if name != "weight_hr" or state_size != self.hidden_size:
                made = empty_parameter(*shape, dtype=dtype) if bias or "bias" not in name else None
                self.register_parameter(name + suffix, made)

    def _weights(self, suffix: str) -> tuple:
        """In the order of :func:`recurrence`."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return tuple(self._parameters.get(name + suffix) for name in names)

    def _check_sizes(self, **sizes: int) -> None:
        for name, value in sizes.items():
            if int(value) < 1:
                raise ValueError(f"{self._get_name()}: {name} must be at least 1, got {value}")

    def reset_parameters(self) -> None:
        """Draw new initial values, uniform within ``1 / sqrt(hidden_size)``."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _refuse(self, what: str, want: str, got: Any) -> RuntimeError:
        return RuntimeError(f"{self._get_name()}: {what} must {want}, got {got}")

    def _rows(self, x: Tensor) -> None:
        if x.shape[-1] != self.input_size:
            raise self._refuse("input", f"have {self.input_size} features (last axis)", x.shape)

    def _state(self, name: str, given: Any, shape: tuple[int, ...], x: Tensor) -> Tensor:
        if given is None:
            return Tensor(namespace(x.data).zeros(shape, x.dtype))
        state = as_tensor(given)
        if state.shape != shape:
            raise self._refuse(name, f"have shape {shape}", state.shape)
        return state


def _run(kind: str, x: Tensor, h: Any, c: Any, weights: tuple, sizes: Any, reverse: bool) -> tuple:
    """:func:`recurrence` after all arrays were brought to one dtype."""
    given: list[Any] = [x, h, c, *weights]
    if any(a is not None and a.dtype != x.dtype for a in given):
        same = iter(unified(tuple(a for a in given if a is not None))[0])
        given = [None if a is None else next(same) for a in given]
    x, h, c, *rest = given
    return recurrence(kind, x, h, c, tuple(rest), sizes, reverse)


class RNNBase(_Recurrent):
    """What `RNN`, `LSTM` and `GRU` share; ``mode`` is one of RNN_TANH, RNN_RELU, LSTM and GRU.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.GRU(3, 4, num_layers=2)
    >>> isinstance(layer, nn.RNNBase), layer.mode
    (True, 'GRU')
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        proj_size: int = 0, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = self._get_name()
        self._check_sizes(
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be a probability, from 0 to 1, got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{name}: dropout acts between layers and must have num_layers > 1 to do so, got 1",
                UserWarning,
                stacklevel=3,
            )
        if not 0 <= proj_size < hidden_size or (proj_size and mode != "LSTM"):
            raise ValueError(
                f"{name}: proj_size must be below hidden_size, and 0 but for LSTM, got {proj_size}"
            )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        state_size, width = proj_size or hidden_size, input_size
        for suffixes in self._suffixes():
            for suffix in suffixes:
                self._add(self._kind(), width, state_size, suffix, bias, dtype)
            width = state_size * len(suffixes)
        self.reset_parameters()

    def _kind(self) -> str:
        return self.mode.lower().removeprefix("rnn_")

    def _suffixes(self) -> list[list[str]]:
        """What the names of parameters end with, layer by layer."""
        ways = ["", "_reverse"] if self.bidirectional else [""]
        return [[f"_l{layer}{way}" for way in ways] for layer in range(self.num_layers)]

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, one list for each layer and direction."""
        return [
            [w for w in (*weights[:4], weights[4]) if w is not None]
            for suffixes in self._suffixes()
            for weights in map(self._weights, suffixes)
        ]

    def flatten_parameters(self) -> None:
        """Do nothing; present for compatibility with torch."""

    def forward(self, input: Any, hx: Any = None) -> tuple:
        """Run the layers over a batch of sequences.

        Parameters
        ----------
        input : Tensor of shape (T, B, input_size) or (T, input_size), or PackedSequence
            (B, T, input_size) with ``batch_first``.
        hx : Tensor, or a pair of them for an LSTM, optional
            Initial states of shape (num_layers * directions, B, hidden_size), or without B; zeros
            by default.

        Returns
        -------
        output : Tensor of shape (T, B, directions * hidden_size), or PackedSequence
            States of the last layer after each step.
        h_n : Tensor, or a pair of them for an LSTM, of the shape of hx
            States after the last step of each sequence; of the reverse direction after the first.
        """
        if isinstance(input, PackedSequence):
            self._rows(input.data)
            sizes, order = input.batch_sizes.data, input.sorted_indices
            states = self._initial(hx, int(sizes[0]), False, order, input.data)
            rows, finals = self._layers(input.data, states, sizes)
            if order is not None:
                finals = tuple(s.index_select(1, input.unsorted_indices) for s in finals)
            output: Any = PackedSequence(rows, *input[1:])
        else:
            x = as_tensor(input)
            if x.ndim not in (2, 3):
                raise self._refuse("input", "have 2 or 3 axes", f"shape {x.shape}")
            self._rows(x)
            single = x.ndim == 2
            x = x.unsqueeze(1) if single else x.transpose(0, 1) if self.batch_first else x
            steps, batch = x.shape[:2]
            if steps == 0:
                raise self._refuse("input", "have at least one step", f"shape {input.shape}")
            states = self._initial(hx, batch, single, None, x)
            rows = x.reshape(steps * batch, self.input_size)
            rows, finals = self._layers(rows, states, np.full(steps, batch, np.int64))
            output = rows.reshape(steps, batch, rows.shape[1])
            if single:
                output, finals = output.squeeze(1), tuple(s.squeeze(1) for s in finals)
            elif self.batch_first:
                output = output.transpose(0, 1)
        return output, finals if self.mode == "LSTM" else finals[0]

    def _initial(self, hx: Any, batch: int, single: bool, order: Any, x: Tensor) -> list[Any]:
        """Initial h and c of shape (layers and directions, batch, size); only an LSTM has c."""
        lstm = self.mode == "LSTM"
        if lstm and hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise self._refuse("hx", "be a pair of initial states", type(hx).__name__)
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = {"h_0": self.proj_size or self.hidden_size, "c_0": self.hidden_size}
        given = (None, None) if hx is None else hx if lstm else (hx, None)
        states: list[Any] = [None, None]
        for i, (name, size) in enumerate(sizes.items()):
            if i == 0 or lstm:
                shape = (count, size) if single else (count, batch, size)
                state = self._state(name, given[i], shape, x)
                state = state.unsqueeze(1) if single else state
                states[i] = state if order is None else state.index_select(1, order)
        return states

    def _layers(self, rows: Tensor, states: list[Any], sizes: Any) -> tuple[Tensor, tuple]:
        """Outputs of the last layer, and the final states of all layers and directions."""
        h, c = states
        finals: list[tuple] = []
        for layer, suffixes in enumerate(self._suffixes()):
            if layer and self.dropout and self.training:
                rows = F.dropout(rows, self.dropout)
            outputs = []
            for suffix in suffixes:
                number = len(finals)
                output, *last = _run(
                    self._kind(), rows, h[number], None if c is None else c[number],
                    self._weights(suffix), sizes, suffix.endswith("_reverse"),
                )  # fmt: skip
                outputs.append(output)
                finals.append(tuple(last))
            rows = cat(outputs, 1) if len(outputs) > 1 else outputs[0]
        return rows, tuple(stack(s) for s in zip(*finals, strict=True))

    def extra_repr(self) -> str:
        """Sizes, and what is not the default."""
        shown = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            value = getattr(self, name)
            shown += "" if value == default else f", {name}={value}"
        return shown


class RNN(RNNBase):
    """Elman networks: ``h = f(W_ih x + b_ih + W_hh h + b_hh)`` at each step.

    Notes
    -----
    In backpropagation through time a factor ``W_hh' f'`` is multiplied at each step, so gradients
    over many steps vanish or explode; clip them (:func:`nn.utils.clip_grad_norm_`), or detach the
    state every few steps (truncated backpropagation, see ``docs/backpropagation.md``).

    References
    ----------
    Elman (1990), "Finding structure in time".

    Examples
    --------
    >>> from kernelmill import nn
    >>> output, h = nn.RNN(3, 4)(nn.ones(5, 2, 3))
    >>> output.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, dtype: Any = None,
    ) -> None:  # fmt: skip
        _check_nonlinearity(self._get_name(), nonlinearity)
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: states with gates, through which gradients pass many steps.

    With the products ``a = W_ih x + b_ih + W_hh h + b_hh``, whose quarters are a_i, a_f, a_g and
    a_o, and s the logistic function::

        c = s(a_f) c + s(a_i) tanh(a_g)        h = s(a_o) tanh(c)

    References
    ----------
    Hochreiter and Schmidhuber (1997), "Long short-term memory"; Sak, Senior and Beaufays (2014) for
    the projection.

    Examples
    --------
    >>> from kernelmill import nn
    >>> output, (h, c) = nn.LSTM(3, 4, bidirectional=True)(nn.ones(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 8), (2, 2, 4), (2, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        proj_size: int = 0, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units.

    With ``a = W_ih x + b_ih`` and ``b = W_hh h + b_hh``, whose thirds are those of r, z and n, and
    s the logistic function::

        n = tanh(a_n + s(a_r + b_r) b_n)        h = n + s(a_z + b_z) (h - n)

    References
    ----------
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation"; the reset gate multiplies the product ``b_n`` with its bias, as in torch.

    Examples
    --------
    >>> from kernelmill import nn
    >>> output, h = nn.GRU(3, 4, batch_first=True)(nn.ones(2, 5, 3))
    >>> output.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            0, dtype,
        )  # fmt: skip


def _check_nonlinearity(name: str, nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity must be tanh or relu, got {nonlinearity!r}")


# --- cells ----------------------------------------------------------------------------------------


class RNNCellBase(_Recurrent):
    """What the cells share: one step of a layer.

    Examples
    --------
    >>> from kernelmill import nn
    >>> isinstance(nn.LSTMCell(3, 4), nn.RNNCellBase)
    True
    """

    kind = "tanh"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self._check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._add(self.kind, input_size, hidden_size, "", bias, dtype)
        self.reset_parameters()

    def _step(self, input: Any, given: Any, names: tuple[str, ...]) -> tuple:
        """The new states, of the shapes of the old ones."""
        x = as_tensor(input)
        if x.ndim not in (1, 2):
            raise self._refuse("input", "have 1 or 2 axes", f"shape {x.shape}")
        self._rows(x)
        shape = (*x.shape[:-1], self.hidden_size)
        states = [
            self._state(name, state, shape, x)
            for name, state in zip(names, given, strict=True)
        ]
        if x.ndim == 1:
            x, states = x.unsqueeze(0), [s.unsqueeze(0) for s in states]
        h, c = (*states, None)[:2]
        sizes = np.full(1, len(x), np.int64)
        _, *new = _run(self.kind, x, h, c, self._weights(""), sizes, False)
        return tuple(s.squeeze(0) for s in new) if len(shape) == 1 else tuple(new)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Make one step.

        Parameters
        ----------
        input : Tensor of shape (B, input_size) or (input_size,)
            One step of each sequence.
        hx : Tensor of shape (B, hidden_size) or (hidden_size,), optional
            The state before; zeros by default.

        Returns
        -------
        h : Tensor of the shape of hx
            The new state.
        """
        return self._step(input, (hx,), ("hx",))[0]

    def extra_repr(self) -> str:
        """Sizes, and what is not the default."""
        shown = f"{self.input_size}, {self.hidden_size}"
        shown += "" if self.bias else ", bias=False"
        return shown if self.kind != "relu" else f"{shown}, nonlinearity=relu"


class RNNCell(RNNCellBase):
    """One step of an Elman network, ``h = f(W_ih x + b_ih + W_hh h + b_hh)``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.RNNCell(3, 4)(nn.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        _check_nonlinearity(self._get_name(), nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype)
        self.kind = self.nonlinearity = nonlinearity


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit (see :class:`kernelmill.nn.GRU`).

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.GRUCell(3, 4)(nn.ones(2, 3)).shape
    (2, 4)
    """

    kind = "gru"


class LSTMCell(RNNCellBase):
    """One step of an LSTM (see :class:`kernelmill.nn.LSTM`).

    Examples
    --------
    >>> from kernelmill import nn
    >>> h, c = nn.LSTMCell(3, 4)(nn.ones(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    kind = "lstm"

    def forward(self, input: Any, hx: Any = None) -> tuple:
        """Make one step.

        Parameters
        ----------
        input : Tensor of shape (B, input_size) or (input_size,)
            One step of each sequence.
        hx : pair of Tensor of shape (B, hidden_size) or (hidden_size,), optional
            The states h and c before; zeros by default.

        Returns
        -------
        h, c : Tensor of the shape of those before
            The new states.
        """
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise self._refuse("hx", "be a pair of states", type(hx).__name__)
        return self._step(input, (None, None) if hx is None else hx, ("h_0", "c_0"))


class JordanRNN(_Recurrent):
    """A network whose output is fed back: ``h = f(W_ih x + b_ih + W_oh y)``, ``y = W_ho h + b_ho``.

    Unlike those of an Elman network, states have the size and the meaning of an output, so that
    the network can be run from what was observed instead of from its own outputs.

    Parameters
    ----------
    output_size : int
        Numbers that it gives at each step.

    References
    ----------
    Jordan (1986), "Serial order: a parallel distributed processing approach".

    Examples
    --------
    >>> from kernelmill import nn
    >>> output, last = nn.JordanRNN(3, 8, 2)(nn.ones(5, 4, 3))
    >>> output.shape, last.shape
    ((5, 4, 2), (4, 2))
    """

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        _check_nonlinearity(self._get_name(), nonlinearity)
        self._check_sizes(
            input_size=input_size, hidden_size=hidden_size, output_size=output_size
        )
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, output_size
        self.nonlinearity, self.bias, self.batch_first = nonlinearity, bias, batch_first
        for name, rows, columns in (
            ("ih", hidden_size, input_size), ("oh", hidden_size, output_size),
            ("ho", output_size, hidden_size),
        ):  # fmt: skip
            setattr(self, f"weight_{name}", empty_parameter(rows, columns, dtype=dtype))
        for name, rows in (("ih", hidden_size), ("ho", output_size)):
            made = empty_parameter(rows, dtype=dtype) if bias else None
            self.register_parameter(f"bias_{name}", made)
        self.reset_parameters()

    def forward(self, input: Any, y0: Any = None) -> tuple[Tensor, Tensor]:
        """Run the network over a batch of sequences.

        Parameters
        ----------
        input : Tensor of shape (T, B, input_size), or (B, T, input_size) with ``batch_first``
            The sequences.
        y0 : Tensor of shape (B, output_size), optional
            The output before the first step; zeros by default.

        Returns
        -------
        output : Tensor of shape (T, B, output_size)
            y after each step.
        last : Tensor of shape (B, output_size)
            y after the last step.
        """
        x = as_tensor(input)
        if x.ndim != 3:
            raise self._refuse("input", "have 3 axes", f"shape {x.shape}")
        self._rows(x)
        x = x.transpose(0, 1) if self.batch_first else x
        steps, batch = x.shape[:2]
        if steps == 0:
            raise self._refuse("input", "have at least one step", f"shape {input.shape}")
        y = self._state("y0", y0, (batch, self.output_size), x)

        def cell(a: Any, y: Any) -> tuple:
            h = activated(self.nonlinearity, a + dense(y, self.weight_oh, None))
            y = dense(h, self.weight_ho, self.bias_ho)
            return y, y

        a = dense(x.reshape(steps * batch, x.shape[2]), self.weight_ih, self.bias_ih)
        output, last = unrolled(a, (y,), np.full(steps, batch), False, cell)
        output = output.reshape(steps, batch, self.output_size)
        return output.transpose(0, 1) if self.batch_first else output, last

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.input_size}, {self.hidden_size}, {self.output_size}"


complete(globals())
