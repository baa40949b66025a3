"""Attention beside torch: the op both ways, a training step of a GPT, generation of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close, outputs_close, torch_peer

STEPS = 5  # whose losses must agree
VOCABULARY = 96


# --- the op ---------------------------------------------------------------------------------------


def _op(shape: tuple[int, int, int, int], causal: bool, backward: bool, want: float) -> Case:
    b, h, t, e = shape

    def run(functional: Any, q: Any, k: Any, v: Any, g: Any):
        def forward() -> Any:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return (y.detach().numpy(),)

        def both() -> Any:
            q.grad = k.grad = v.grad = None
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            y.backward(g)
            return tuple(x.detach().numpy() for x in (y, q.grad, k.grad, v.grad))

        return both if backward else forward

    def ours(data: Any):
        from kernelmill import nn

        return run(nn.functional, *(nn.Tensor(x, backward) for x in data[:3]), nn.Tensor(data[3]))

    def torch(torch: Any, *data: Any):
        given = [x.requires_grad_(backward) for x in data[:3]]
        return run(torch.nn.functional, *given, data[3])

    flops = 4.0 * b * h * t * t * e * (0.5 if causal else 1) * (3.5 if backward else 1)
    return Case(
        f"{'causal ' if causal else ''}attention {shape} {'both ways' if backward else 'forward'}"
        " float32",
        lambda: [*np.random.default_rng(5).standard_normal((4, *shape), dtype=np.float32)],
        {"kernelmill": ours, "torch": torch_peer(torch)},
        outputs_close(1e-4, 1e-4),
        lambda data, _: Work(flops, 0.0, "products of visible pairs"),
        want=want,
    )


# --- a GPT ----------------------------------------------------------------------------------------


def _weights(d: int, layers: int, longest: int) -> dict[str, np.ndarray]:
    """In the names of a stack of encoder layers between embeddings and a head."""
    rng = np.random.default_rng(9)
    state = {"embed.weight": (VOCABULARY, d), "place.weight": (longest, d),
             "head.weight": (VOCABULARY, d), "head.bias": (VOCABULARY,)}  # fmt: skip
    for i in range(layers):
        state |= {
            f"body.layers.{i}.{name}": shape
            for name, shape in {
                "self_attn.in_proj_weight": (3 * d, d), "self_attn.in_proj_bias": (3 * d,),
                "self_attn.out_proj.weight": (d, d), "self_attn.out_proj.bias": (d,),
                "linear1.weight": (4 * d, d), "linear1.bias": (4 * d,),
                "linear2.weight": (d, 4 * d), "linear2.bias": (d,),
                "norm1.weight": (d,), "norm1.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
            }.items()
        }  # fmt: skip
    made = {n: (0.05 * rng.standard_normal(s)).astype(np.float32) for n, s in state.items()}
    for name in made:
        if "norm" in name and name.endswith("weight"):
            made[name] += 1
    return made


def _ours(d: int, heads: int, layers: int, longest: int, weights: Any) -> Any:
    from kernelmill import nn

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, d)
            self.place = nn.LearnedPositions(longest, d)
            layer = nn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, "gelu", batch_first=True,
                                               norm_first=True)  # fmt: skip
            self.body = nn.TransformerEncoder(layer, layers)
            self.head = nn.Linear(d, VOCABULARY)

        def forward(self, tokens: Any, cache: Any = None) -> Any:
            x = self.place(self.embed(tokens), 0 if cache is None else cache.length)
            return self.head(self.body(x, is_causal=True, cache=cache))

    model = Decoder()
    model.load_state_dict(weights)
    return model


def _torch(torch: Any, d: int, heads: int, layers: int, longest: int, weights: Any) -> Any:
    """The same written out: torch's own layers form the mask, which takes time where d is small."""
    tnn, functional = torch.nn, torch.nn.functional

    class Block(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = tnn.LayerNorm(d), tnn.LayerNorm(d)
            self.project, self.out = tnn.Linear(d, 3 * d), tnn.Linear(d, d)
            self.linear1, self.linear2 = tnn.Linear(d, 4 * d), tnn.Linear(4 * d, d)

        def forward(self, x: Any, cache: Any, at: int) -> Any:
            n, t, _ = x.shape
            joint = self.project(self.norm1(x)).view(n, t, 3, heads, d // heads)
            q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
            if cache is not None:
                cache[0][:, :, at : at + t] = k
                cache[1][:, :, at : at + t] = v
                k, v = cache[0][:, :, : at + t], cache[1][:, :, : at + t]
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
            x = x + self.out(y.transpose(1, 2).reshape(n, t, d))
            return x + self.linear2(functional.gelu(self.linear1(self.norm2(x))))

    class Decoder(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = tnn.Embedding(VOCABULARY, d), tnn.Embedding(longest, d)
            self.blocks = tnn.ModuleList(Block() for _ in range(layers))
            self.head = tnn.Linear(d, VOCABULARY)

        def forward(self, tokens: Any, caches: Any = None, at: int = 0) -> Any:
            x = self.embed(tokens) + self.place.weight[at : at + tokens.shape[1]]
            for i, block in enumerate(self.blocks):
                x = block(x, None if caches is None else caches[i], at)
            return self.head(x)

    names = {"body.layers": "blocks", "self_attn.in_proj_": "project.", "self_attn.out_proj": "out"}
    model = Decoder()
    state = {}
    for name, value in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = torch.tensor(value)
    model.load_state_dict(state)
    return model


def _torch_layers(torch: Any, d: int, heads: int, layers: int, longest: int, weights: Any) -> Any:
    """The same of torch's own layers, for training."""
    tnn = torch.nn

    class Decoder(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = tnn.Embedding(VOCABULARY, d), tnn.Embedding(longest, d)
            layer = tnn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, "gelu", batch_first=True,
                                                norm_first=True)  # fmt: skip
            self.body = tnn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.head = tnn.Linear(d, VOCABULARY)
            self.mask = tnn.Transformer.generate_square_subsequent_mask(longest)

        def forward(self, tokens: Any) -> Any:
            x = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
            return self.head(self.body(x, mask=self.mask, is_causal=True))

    model = Decoder()
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return model


def _training(d: int, heads: int, layers: int, batch: int, t: int, want: float) -> Case:
    def make() -> Any:
        tokens = np.random.default_rng(3).integers(0, VOCABULARY, (batch, t + 1))
        return [_weights(d, layers, t), tokens]

    def stepping(functional: Any, model: Any, optimiser: Any, tokens: Any):
        losses: list[float] = []

        def step() -> Any:
            optimiser.zero_grad()
            scores = model(tokens[:, :-1]).reshape(-1, VOCABULARY)
            loss = functional.cross_entropy(scores, tokens[:, 1:].reshape(-1))
            loss.backward()
            optimiser.step()
            return loss

        def run() -> Any:
            if not losses:
                losses.extend(step().item() for _ in range(STEPS))
                return np.array(losses)
            return step()

        return run

    def ours(data: Any):
        from kernelmill import nn

        model = _ours(d, heads, layers, t, data[0])
        optimiser = nn.optim.AdamW(model.parameters(), 1e-4)
        return stepping(nn.functional, model, optimiser, nn.Tensor(data[1]))

    def torch(fused: bool, made: Any = _torch):
        def build(torch: Any, weights: Any, tokens: Any):
            model = made(torch, d, heads, layers, t, weights)
            optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=fused)
            return stepping(torch.nn.functional, model, optimiser, tokens)

        return torch_peer(build)

    tokens = batch * t
    flops = 6.0 * tokens * (12 * layers * d * d + VOCABULARY * d) + 7.0 * layers * tokens * t * d
    return Case(
        f"AdamW step of a GPT, {layers} layers, d = {d}, {heads} heads, batch {batch}, T = {t}",
        make,
        {"kernelmill": ours, "torch": torch(False), "torch (fused AdamW)": torch(True),
         "torch (its layers, fused AdamW)": torch(True, _torch_layers)},
        lambda data, ours, other: arrays_close(ours, other, rtol=1e-4),
        lambda data, _: Work(flops, 0.0, "products forward and backward"),
        want=want,
    )


def _generation(
    d: int, heads: int, layers: int, batch: int, prompt: int, new: int, want: float
) -> Case:
    def make() -> Any:
        tokens = np.random.default_rng(3).integers(0, VOCABULARY, (batch, prompt))
        return [_weights(d, layers, prompt + new), tokens]

    def ours(data: Any):
        from kernelmill import nn

        model = _ours(d, heads, layers, prompt + new, data[0])
        return lambda: nn.generate(model, data[1], new).numpy()

    def torch(torch: Any, weights: Any, tokens: Any):
        longest = prompt + new
        model = _torch(torch, d, heads, layers, longest, weights).eval()

        @torch.inference_mode()
        def run() -> Any:
            room = (batch, heads, longest, d // heads)
            caches = [(torch.empty(room), torch.empty(room)) for _ in range(layers)]
            row, last = tokens, tokens
            for _ in range(new):
                scores = model(last, caches, row.shape[1] - last.shape[1])
                last = scores[:, -1].argmax(-1, keepdim=True)
                row = torch.cat([row, last], 1)
            return row.numpy()

        return run

    flops = 2.0 * batch * (prompt + new) * (12 * layers * d * d)
    bytes_moved = 4.0 * new * 12 * layers * d * d
    return Case(
        f"generation of {new} tokens after {prompt}, greedy, with a cache, {layers} layers, "
        f"d = {d}, batch {batch}",
        make,
        {"kernelmill": ours, "torch": torch_peer(torch)},
        lambda data, ours, other: "" if np.array_equal(ours, other) else "other tokens",
        lambda data, _: Work(flops, bytes_moved, "dense layers, weights read once a token"),
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """A long sequence, shapes of small language models, a long window, training, decoding."""
    if quick:
        return [
            _op((1, 2, 40, 8), True, False, 1.2),
            _op((1, 2, 40, 8), False, True, 1.2),
            _training(16, 2, 1, 2, 8, 1.4),
            _generation(16, 2, 1, 2, 3, 4, 2.0),
        ]
    return [
        *(
            _op(shape, causal, backward, 1.2)
            for shape, causal in (
                ((1, 8, 2048, 64), True),
                ((1, 8, 2048, 64), False),
                ((16, 4, 128, 32), True),
                ((8, 6, 256, 64), True),
            )
            for backward in (False, True)
        ),
        _training(128, 4, 4, 16, 128, 1.4),
        _training(384, 6, 6, 8, 256, 1.4),
        _generation(128, 4, 4, 1, 16, 128, 2.0),
        _generation(384, 6, 6, 1, 16, 240, 2.0),
        _generation(384, 6, 6, 8, 16, 240, 2.0),
    ]
