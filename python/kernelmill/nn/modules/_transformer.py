"""Transformers: layers of attention and dense units, stacks of them, encoder with decoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _tape, init
from .. import functional as F
from .._documents import complete
from .._elementwise import get_default_dtype
from .._tensor import Tensor, as_tensor
from ..functional._dense import dense
from ._attention import MultiheadAttention
from ._containers import ModuleList
from ._encoder import activation_of, as_node, evaluated, unchanged
from ._layers import LayerNorm, Linear
from ._module import Module
from ._simple import LAYERS


class _Layer(Module):
    """What encoder and decoder layers share: attention, dense units, norms, dropout."""

    attentions: tuple[str, ...] = ()

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, dtype: Any = None, *,
        window: int | None = None, alibi: bool = False, rotary: Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        for name in self.attentions:
            # Distances between sequences mean nothing.
            more = {"window": window, "alibi": alibi, "rotary": rotary}
            own = more if name == "self_attn" else {}
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias=bias,
                                                   batch_first=batch_first, dtype=dtype, **own))  # type: ignore[arg-type]  # fmt: skip
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, dtype=dtype)
        self.dropout = LAYERS["Dropout"](dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, dtype=dtype)
        self.norm_first = norm_first
        for i in range(1, len(self.attentions) + 2):
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{i}", norm)
        for i in range(1, len(self.attentions) + 2):
            setattr(self, f"dropout{i}", LAYERS["Dropout"](dropout))
        self.activation = _activation(activation)

    def _feed(self, x: Tensor) -> Tensor:
        first = self.linear1
        fused = activation_of(self)
        if fused and unchanged(first, Linear) and not _tape._anomalies:
            units = dense(x, first.weight, first.bias, fused)
        else:
            units = self.activation(first(x))
        return self.linear2(self.dropout(units))

    def _through(self, x: Tensor, i: int, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """A branch beside x, with norm and dropout number i."""
        norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
        if self.norm_first:
            return x + dropout(branch(norm(x)))
        return norm(x + dropout(branch(x)))


def _activation(given: Any) -> Any:
    if isinstance(given, str):
        if given not in ("relu", "gelu"):
            raise RuntimeError(f"activation must be 'relu', 'gelu' or a function, got {given!r}")
        return getattr(F, given)
    return given


class TransformerEncoderLayer(_Layer):
    """Self-attention and two dense layers, each beside a residual connection with a norm.

    Parameters
    ----------
    d_model : int
        Number of features.
    nhead : int
        Number of heads.
    dim_feedforward : int, default=2048
        Number of units of the first dense layer.
    dropout : float, default=0.1
        Probability of dropping weights, units and outputs of branches.
    activation : {"relu", "gelu"} or callable
        Function of the units.
    layer_norm_eps : float, default=1e-5
        Added to the variances.
    batch_first : bool, default=False
        Take (N, L, E) instead of (L, N, E).
    norm_first : bool, default=False
        Normalise before the branches, not after the sums.
    bias : bool, default=True
        Whether dense layers and norms have biases.
    dtype : dtype, optional
        Dtype of the parameters.
    window : int, optional
        Hide keys further away than this. Not in torch.
    alibi : bool, default=False
        Subtract a slope times the distance from the scores. Not in torch.
    rotary : RotaryEmbedding, optional
        Turn queries and keys by their positions. Not in torch.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(nn.randn(3, 5, 8)).shape
    (3, 5, 8)
    """

    attentions = ("self_attn",)

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool = False, *, cache: Any = None, positions: Any = None,
    ) -> Tensor:  # fmt: skip
        """Apply the layer.

        Parameters
        ----------
        src : Tensor of shape (L, N, E), (N, L, E) with ``batch_first``, or (L, E)
            The sequences.
        src_mask : Tensor, optional
            As ``attn_mask`` of :class:`MultiheadAttention`.
        src_key_padding_mask : Tensor of shape (N, L), optional
            True at padding.
        is_causal : bool, default=False
            Hide later places.
        cache : KVCache, optional
            Keys and values of earlier places. Not in torch.
        positions : array-like of int, optional
            As in :class:`MultiheadAttention`. Not in torch.

        Returns
        -------
        Tensor
            In the shape of src.
        """
        given = as_tensor(src)
        made = None
        if cache is not None and src_mask is None and not _tape.recording.get():
            made = evaluated(self, given, src_key_padding_mask, is_causal, cache, positions)
        elif cache is None and positions is None:
            made = as_node(self, given, src_mask, src_key_padding_mask, is_causal)
        if made is not None:
            return made

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, attn_mask=src_mask, need_weights=False,
                                  key_padding_mask=src_key_padding_mask, is_causal=is_causal,
                                  cache=cache, positions=positions)[0]  # fmt: skip

        x = self._through(given, 1, attend)
        return self._through(x, 2, self._feed)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, and two dense layers.

    Parameters
    ----------
    d_model : int
        Number of features.
    nhead : int
        Number of heads.
    dim_feedforward : int, default=2048
        Number of units of the first dense layer.
    dropout : float, default=0.1
        Probability of dropping weights, units and outputs of branches.
    activation : {"relu", "gelu"} or callable
        Function of the units.
    layer_norm_eps : float, default=1e-5
        Added to the variances.
    batch_first : bool, default=False
        Take (N, L, E) instead of (L, N, E).
    norm_first : bool, default=False
        Normalise before the branches, not after the sums.
    bias : bool, default=True
        Whether dense layers and norms have biases.
    dtype : dtype, optional
        Dtype of the parameters.
    window, alibi, rotary : int, bool and RotaryEmbedding, optional
        As for :class:`TransformerEncoderLayer`, of the self-attention.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> layer(nn.randn(3, 5, 8), nn.randn(3, 7, 8)).shape
    (3, 5, 8)
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False, *, cache: Any = None,
    ) -> Tensor:  # fmt: skip
        """Apply the layer.

        Parameters
        ----------
        tgt : Tensor of shape (L, N, E), (N, L, E) with ``batch_first``, or (L, E)
            The sequences.
        memory : Tensor of shape (S, N, E), (N, S, E) or (S, E)
            The encoder's output.
        tgt_mask, memory_mask : Tensor, optional
            As ``attn_mask`` of :class:`MultiheadAttention`.
        tgt_key_padding_mask, memory_key_padding_mask : Tensor, optional
            True at padding.
        tgt_is_causal, memory_is_causal : bool, default=False
            Hide later places.
        cache : KVCache, optional
            Keys and values of earlier places and of the memory. Not in torch.

        Returns
        -------
        Tensor
            In the shape of tgt.
        """
        memory = as_tensor(memory)

        def itself(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, attn_mask=tgt_mask, need_weights=False,
                                  key_padding_mask=tgt_key_padding_mask, is_causal=tgt_is_causal,
                                  cache=cache)[0]  # fmt: skip

        def other(x: Tensor) -> Tensor:
            return self.multihead_attn(x, memory, memory, attn_mask=memory_mask,
                                       need_weights=False, is_causal=memory_is_causal,
                                       key_padding_mask=memory_key_padding_mask,
                                       cache=cache, is_memory=True)[0]  # fmt: skip

        x = self._through(as_tensor(tgt), 1, itself)
        return self._through(self._through(x, 2, other), 3, self._feed)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Parameters
    ----------
    encoder_layer : Module
        Copied for each layer.
    num_layers : int
        How many there are.
    norm : Module, optional
        Applied to the output.
    enable_nested_tensor, mask_check : bool
        Ignored; present for compatibility with torch.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> nn.TransformerEncoder(layer, 2)(nn.randn(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool | None = None, *, cache: Any = None, positions: Any = None,
    ) -> Tensor:  # fmt: skip
        """Apply the layers one after the other.

        Parameters
        ----------
        src : Tensor of shape (L, N, E), (N, L, E) with ``batch_first``, or (L, E)
            The sequences.
        mask : Tensor, optional
            As ``attn_mask`` of :class:`MultiheadAttention`.
        src_key_padding_mask : Tensor of shape (N, L), optional
            True at padding.
        is_causal : bool, optional
            Hide later places; None finds out whether ``mask`` does just that.
        cache : KVCache, optional
            Keys and values of earlier places. Not in torch.
        positions : array-like of int, optional
            As in :class:`MultiheadAttention`. Not in torch.

        Returns
        -------
        Tensor
            In the shape of src.
        """
        x = as_tensor(src)
        causal = _is_causal(mask, is_causal)
        more = {} if cache is None else {"cache": cache}
        if positions is not None:
            more["positions"] = positions
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask,
                      is_causal=causal, **more)  # fmt: skip
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Parameters
    ----------
    decoder_layer : Module
        Copied for each layer.
    num_layers : int
        How many there are.
    norm : Module, optional
        Applied to the output.

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> nn.TransformerDecoder(layer, 2)(nn.randn(3, 5, 8), nn.randn(3, 7, 8)).shape
    (3, 5, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False, *, cache: Any = None,
    ) -> Tensor:  # fmt: skip
        """Apply the layers one after the other.

        Parameters
        ----------
        tgt : Tensor of shape (L, N, E), (N, L, E) with ``batch_first``, or (L, E)
            The sequences.
        memory : Tensor of shape (S, N, E), (N, S, E) or (S, E)
            The encoder's output.
        tgt_mask, memory_mask : Tensor, optional
            As ``attn_mask`` of :class:`MultiheadAttention`.
        tgt_key_padding_mask, memory_key_padding_mask : Tensor, optional
            True at padding.
        tgt_is_causal : bool, optional
            Hide later places; None finds out whether ``tgt_mask`` does just that.
        memory_is_causal : bool, default=False
            Hide later places of the memory.
        cache : KVCache, optional
            Keys and values of earlier places and of the memory. Not in torch.

        Returns
        -------
        Tensor
            In the shape of tgt.
        """
        x = as_tensor(tgt)
        causal = _is_causal(tgt_mask, tgt_is_causal)
        for layer in self.layers:
            x = layer(x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                      tgt_key_padding_mask=tgt_key_padding_mask,
                      memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                      memory_is_causal=memory_is_causal,
                      **({} if cache is None else {"cache": cache}))  # fmt: skip
        return x if self.norm is None else self.norm(x)


def _is_causal(mask: Any, given: bool | None) -> bool:
    """Whether a mask hides the later places and nothing else, so that it need not be read."""
    if given is not None or mask is None:
        return bool(given)
    m = np.asarray(as_tensor(mask).detach().numpy())
    if m.ndim != 2 or m.shape[0] != m.shape[1] or as_tensor(mask).requires_grad:
        return False
    later = np.triu(np.ones(m.shape, bool), 1)
    return bool(np.array_equal(m, later if m.dtype == bool else np.where(later, -np.inf, 0.0)))


class Transformer(Module):
    """An encoder and a decoder that attends to its output.

    Parameters
    ----------
    d_model : int, default=512
        Number of features.
    nhead : int, default=8
        Number of heads.
    num_encoder_layers, num_decoder_layers : int, default=6
        How many layers there are.
    dim_feedforward : int, default=2048
        Number of units of the first dense layer.
    dropout : float, default=0.1
        Probability of dropping weights, units and outputs of branches.
    activation : {"relu", "gelu"} or callable
        Function of the units.
    custom_encoder, custom_decoder : Module, optional
        Used in place of the stacks.
    layer_norm_eps : float, default=1e-5
        Added to the variances.
    batch_first : bool, default=False
        Take (N, L, E) instead of (L, N, E).
    norm_first : bool, default=False
        Normalise before the branches, not after the sums.
    bias : bool, default=True
        Whether dense layers and norms have biases.
    dtype : dtype, optional
        Dtype of the parameters.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need".

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> model(nn.randn(3, 7, 8), nn.randn(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
        num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, custom_encoder: Module | None = None,
        custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        shared = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
                  batch_first, norm_first, bias, dtype)  # fmt: skip

        def norm() -> Module:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*shared), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*shared), num_decoder_layers, norm()
        )
        self.reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None,
        memory_mask: Any = None, src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Encode and decode.

        Parameters
        ----------
        src : Tensor of shape (S, N, E), (N, S, E) with ``batch_first``, or (S, E)
            The sequences to encode.
        tgt : Tensor of shape (L, N, E), (N, L, E) or (L, E)
            The sequences to decode.
        src_mask, tgt_mask, memory_mask : Tensor, optional
            As ``attn_mask`` of :class:`MultiheadAttention`.
        src_key_padding_mask, tgt_key_padding_mask, memory_key_padding_mask : Tensor, optional
            True at padding.
        src_is_causal, tgt_is_causal : bool, optional
            Hide later places; None finds out whether the mask does just that.
        memory_is_causal : bool, default=False
            Hide later places of the memory.

        Returns
        -------
        Tensor
            In the shape of tgt.

        Raises
        ------
        RuntimeError
            If shapes do not fit.
        """
        src, tgt = as_tensor(src), as_tensor(tgt)
        axis = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[axis] != tgt.shape[axis]):
            raise RuntimeError(
                f"Transformer: src and tgt must be of one batch, got shapes {src.shape} and "
                f"{tgt.shape}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                f"Transformer: src and tgt must have {self.d_model} features, got shapes "
                f"{src.shape} and {tgt.shape}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """A float mask that hides later places: 0 up to the diagonal, -inf behind it.

        Parameters
        ----------
        sz : int
            Length of the sequences.
        dtype : dtype, optional
            Dtype of the mask; the default dtype if not given.

        Returns
        -------
        Tensor of shape (sz, sz)
            The mask.

        Examples
        --------
        >>> from kernelmill import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        wanted = get_default_dtype() if dtype is None else dtype
        return Tensor(np.triu(np.full((sz, sz), -math.inf, wanted), 1))


complete(globals())
