"""Keys and values of earlier positions, kept for decoding token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._arrays import namespace
from .. import _tape
from .._documents import complete
from .._tensor import Tensor
from ..functional._attention import heads_first


class KVCache:
    """Keys and values of the attention layers of a model, so that each token is projected once.

    Give it to the calls of a model, one call after the other; each attention layer adds its new
    keys and values and sees all of them. For inference only: it holds values, not gradients. A
    model hands it to its layers (``cache=``) and takes the positions of the new tokens from its
    length.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.MultiheadAttention(4, 2, batch_first=True)
    >>> x, cache = nn.randn(1, 3, 4), nn.KVCache()
    >>> with nn.no_grad():
    ...     whole, _ = layer(x, x, x, is_causal=True)
    ...     steps = [layer(x[:, i : i + 1], x[:, i : i + 1], x[:, i : i + 1], is_causal=True,
    ...                    cache=cache)[0] for i in range(3)]
    >>> bool((abs(whole - nn.cat(steps, 1)) < 1e-5).all()), cache.length
    (True, 3)
    """

    def __init__(self) -> None:
        self._layers: dict[int, list[Any]] = {}  # owner, keys, values, positions in use
        self._fixed: dict[int, tuple] = {}

    @property
    def length(self) -> int:
        """The number of positions that all layers hold."""
        return min((entry[3] for entry in self._layers.values()), default=0)

    def held(self, owner: Any) -> int:
        """The number of positions of one layer.

        Parameters
        ----------
        owner : object
            The layer.

        Returns
        -------
        int
            How many there are.
        """
        entry = self._layers.get(id(owner))
        return 0 if entry is None else entry[3]

    def append(self, owner: Any, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values of a layer.

        Parameters
        ----------
        owner : object
            The layer.
        key, value : Tensor of shape (N, H, T, E)
            Of the new positions.

        Returns
        -------
        key, value : Tensor of shape (N, H, S, E)
            Of all positions so far.

        Raises
        ------
        RuntimeError
            If the operation is recorded, or the batch is not the one before.
        """
        if _tape.recording.get() and (key.requires_grad or value.requires_grad):
            raise RuntimeError(
                "KVCache: gradients must be off, got operations that are recorded (call the model "
                "under nn.no_grad())"
            )
        found = self.extended(owner, heads_first(key.data), heads_first(value.data))
        return Tensor(heads_first(found[0])), Tensor(heads_first(found[1]))

    def extended(self, owner: Any, key: Any, value: Any) -> tuple[Any, Any]:
        """The same for arrays whose heads stand behind the positions, as they are kept.

        Parameters
        ----------
        owner : object
            The layer.
        key, value : ndarray of shape (N, T, H, E)
            Of the new positions.

        Returns
        -------
        key, value : ndarray of shape (N, S, H, E)
            Of all positions so far.

        Raises
        ------
        RuntimeError
            If the batch is not the one before.
        """
        entry = self._layers.get(id(owner))
        if entry is None:
            entry = self._layers[id(owner)] = [owner, key[:, :0], value[:, :0], 0]
        used, after = entry[3], entry[3] + key.shape[1]
        for place, new in ((1, key), (2, value)):
            old = entry[place]
            shape, given = old.shape, new.shape
            if shape[0] != given[0] or shape[2:] != given[2:]:
                raise RuntimeError(
                    f"KVCache: keys and values must be of the batch before, {shape[0]} x "
                    f"{shape[2]} x {shape[3]}, got {given[0]} x {given[2]} x {given[3]}"
                )
            if after > shape[1]:  # twice as long each time, so that copies cost O(1) a token
                room = (given[0], max(2 * shape[1], after, 32), *given[2:])
                grown = namespace(new).empty(room, new.dtype)
                grown[:, :used] = old[:, :used]
                entry[place] = old = grown
            old[:, used:after] = new
        entry[3] = after
        return entry[1][:, :after], entry[2][:, :after]

    def fixed(self, owner: Any, make: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Any, Any]:
        """Keys and values that do not grow, such as those of an encoder's output.

        Parameters
        ----------
        owner : object
            The layer.
        make : callable
            Computes them, at the first call.

        Returns
        -------
        key, value : Tensor of shape (N, H, S, E)
            The same each time.
        """
        entry = self._fixed.get(id(owner))
        if entry is None:
            key, value = make()
            entry = self._fixed[id(owner)] = (owner, key.detach(), value.detach())
        return entry[1], entry[2]

    def select(self, rows: Any) -> None:
        """Keep these samples of the batch, in this order; a sample may be repeated.

        Parameters
        ----------
        rows : array-like of int
            Which samples.
        """
        for entry in self._layers.values():
            entry[1], entry[2] = entry[1][rows], entry[2][rows]
        for key, (owner, *pair) in self._fixed.items():
            self._fixed[key] = (owner, *(Tensor(one.data[rows]) for one in pair))


complete(globals())
