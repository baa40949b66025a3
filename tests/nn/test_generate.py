"""Generation: what is chosen, when it stops, and that the cache changes nothing."""

import itertools

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F
from kernelmill.nn._generate import _filtered, _log_softmax


class Decoder(nn.Module):
    """A causal language model that takes all that `generate` offers."""

    def __init__(self, vocabulary=11, learnt=False, **more):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 16)
        self.place = nn.LearnedPositions(64, 16) if learnt else None
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=True,
                                           **more)  # fmt: skip
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, vocabulary)

    def forward(self, tokens, cache=None, key_padding_mask=None, positions=None):
        x = self.embed(tokens)
        if self.place is not None:
            x = self.place(x * 0.3, 0 if cache is None else cache.length, positions)
        x = self.body(x, src_key_padding_mask=key_padding_mask, is_causal=True, cache=cache,
                      positions=positions)  # fmt: skip
        return self.head(x) * 4.0


class Table:
    """Scores that depend on the last token alone."""

    def __init__(self, probabilities):
        self.logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), 1e-300))

    def __call__(self, tokens):
        return nn.Tensor(self.logits[tokens.data])


@pytest.fixture(scope="module")
def model():
    nn.manual_seed(3)
    return Decoder(rotary=nn.RotaryEmbedding(8))


def plain(model, prompt, count):
    """Greedy decoding, everything computed again at each token."""
    tokens = np.asarray(prompt)
    with nn.no_grad():
        for _ in range(count):
            best = model(nn.Tensor(tokens)).data[:, -1].argmax(-1)
            tokens = np.concatenate([tokens, best[:, None]], 1)
    return tokens


def test_greedy_with_and_without_the_cache(model):
    prompt = [[1, 2, 3], [4, 5, 6]]
    wanted = plain(model, prompt, 12)
    for cached in (True, False):
        assert nn.generate(model, prompt, 12, use_cache=cached).tolist() == wanted.tolist()
    assert nn.generate(model, nn.Tensor([1, 2, 3]), 12).tolist() == wanted[0].tolist()
    assert nn.generate(model, prompt, 0).tolist() == prompt


@pytest.mark.parametrize("learnt", [False, True])
def test_prompts_of_unequal_length_run_as_if_alone(learnt):
    nn.manual_seed(4)
    model = Decoder(learnt=learnt) if learnt else Decoder(rotary=nn.RotaryEmbedding(8))
    prompts = [[1, 2, 3, 4, 5], [7], [3, 9]]
    alone = [nn.generate(model, [prompt], 6).tolist()[0] for prompt in prompts]
    for cached in (True, False):
        together = nn.generate(model, prompts, 6, pad_token_id=0, use_cache=cached).tolist()
        assert [row[: len(one)] for row, one in zip(together, alone, strict=True)] == alone
        assert all(set(row[len(one) :]) <= {0} for row, one in zip(together, alone, strict=True))
    padded = np.array([[1, 2, 3, 4, 5], [7, 0, 0, 0, 0], [0, 0, 0, 3, 9]])
    assert nn.generate(model, padded, 6, pad_token_id=0).tolist() == together
    other = nn.generate(lambda tokens: model(tokens), prompts, 6, pad_token_id=0)
    assert other.tolist() == together  # in groups of one length


def test_rows_end_by_themselves():
    count = Table(np.eye(6)[[1, 2, 3, 4, 5, 0]])
    tokens = nn.generate(count, [[0], [3]], 10, eos_token_id=4, pad_token_id=5)
    assert tokens.tolist() == [[0, 1, 2, 3, 4], [3, 4, 5, 5, 5]]
    assert nn.generate(count, [[3]], 10, eos_token_id=4).tolist() == [[3, 4]]


def test_tokens_stream_as_they_come(model):
    calls = []

    def watched(tokens, cache=None):
        calls.append(tokens.shape)
        return model(tokens, cache=cache)

    steps = nn.generate(watched, [[1, 2], [3, 4]], 5, stream=True)
    assert calls == []
    first = next(steps)
    assert calls == [(2, 2)]
    whole = nn.generate(model, [[1, 2], [3, 4]], 5).data[:, 2:]
    np.testing.assert_array_equal(np.stack([first, *steps], 1), whole)
    assert calls[1:] == [(2, 1)] * 4
    assert model.training
    assert nn.is_grad_enabled()
    with pytest.raises(ValueError, match="must be of one length to be streamed"):
        nn.generate(watched, [[1], [1, 2]], 5, stream=True)


def test_sampling_is_reproducible_and_follows_the_distribution():
    p = np.array([[0.1, 0.2, 0.3, 0.4]] * 4)
    table = Table(p)
    a, b = (nn.generate(table, [[0]] * 50, 40, generator=7).data for _ in range(2))
    np.testing.assert_array_equal(a, b)
    nn.manual_seed(1)
    c = nn.generate(table, [[0]] * 50, 40, do_sample=True).data
    nn.manual_seed(1)
    np.testing.assert_array_equal(c, nn.generate(table, [[0]] * 50, 40, do_sample=True).data)
    for temperature in (1.0, 0.5, 2.0):
        drawn = nn.generate(table, [[0]] * 50, 80, temperature=temperature, generator=2).data[:, 1:]
        shares = np.bincount(drawn.ravel(), minlength=4) / drawn.size
        wanted = p[0] ** (1 / temperature) / (p[0] ** (1 / temperature)).sum()
        np.testing.assert_allclose(shares, wanted, atol=5 * 0.5 / np.sqrt(drawn.size))
    cold = nn.generate(table, [[0]], 5, temperature=0.0, top_k=3)
    assert cold.tolist() == [[0, 3, 3, 3, 3, 3]]


def test_filters_keep_the_smallest_sets():
    scores = np.log([[0.4, 0.3, 0.2, 0.1]])
    kept = lambda **more: np.isfinite(_filtered(scores, more.get("k"), more.get("p"))).tolist()[0]  # noqa: E731
    assert kept(k=2) == [True, True, False, False]
    assert kept(k=99) == [True] * 4
    assert kept(p=0.0) == kept(p=0.39) == [True, False, False, False]
    assert kept(p=0.5) == kept(p=0.69) == [True, True, False, False]
    assert kept(p=1.0) == [True] * 4
    assert kept(k=1, p=0.9) == [True, False, False, False]
    ties = _filtered(np.zeros((1, 5)), 2, None)
    assert np.isfinite(ties).sum() == 2


def test_repetition_is_penalised():
    table = Table([[0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])
    assert nn.generate(table, [[0]], 2).tolist() == [[0, 1, 1]]
    # log .5 * 2 < log .4 < log .4 * 2 < log .5 * 2 ... : the least penalised wins
    assert nn.generate(table, [[0]], 2, repetition_penalty=2.0).tolist() == [[0, 1, 2]]


# --- beams ----------------------------------------------------------------------------------------


def exhaustive(logp, start, count, eos, penalty):
    """The best score of all sequences that end, or reach the longest length."""
    best = (-np.inf, [])
    vocabulary = len(logp)
    for length in range(1, count + 1):
        for new in itertools.product(range(vocabulary), repeat=length):
            if eos in new[:-1] or (length < count and new[-1] != eos):
                continue
            total = sum(logp[a][b] for a, b in zip((start, *new[:-1]), new, strict=True))
            best = max(best, (total / length**penalty, list(new)), key=lambda one: one[0])
    return best


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("seed", range(4))
def test_wide_beams_find_the_best_sequence(penalty, seed):
    logp = _log_softmax(np.random.default_rng(seed).normal(size=(4, 4)) * 1.5)
    model = Table(np.exp(logp))
    score, wanted = exhaustive(logp, 1, 5, 0, penalty)
    found = nn.generate(model, [1], 5, num_beams=1024, length_penalty=penalty, eos_token_id=0)
    assert found.tolist()[1:] == wanted
    assert np.isfinite(score)


def test_beams_go_on_until_no_running_one_can_win():
    """Ended: log p -1 at length 1. Running: -1.5 at length 3, so -0.5 a token."""
    p = np.zeros((5, 5))
    p[1, 0], p[1, 2] = np.exp(-1.0), 1 - np.exp(-1.0)  # the end, or on
    rest = np.exp(-1.5) / p[1, 2]
    p[2, 3], p[2, 4] = rest, 1 - rest
    p[3, 3] = p[4, 4] = 0.5
    p[3, 0] = p[4, 1] = 0.5
    p[3] = [0.999999, 0, 0, 1e-6, 0]
    p[4] = [1e-9, 0, 0, 0.2, 0.2]
    p[4, 1] = 0.6 - 1e-9
    logp = np.log(np.maximum(p, 1e-300))
    found = nn.generate(Table(p), [1], 3, num_beams=2, length_penalty=1.0, eos_token_id=0).tolist()
    score, wanted = exhaustive(logp, 1, 3, 0, 1.0)
    assert found[1:] == wanted
    assert len(wanted) == 3
    assert score > -1.0


def test_one_beam_more_is_never_worse_and_uses_the_cache(model):
    def score(row):
        with nn.no_grad():
            logits = np.asarray(model(nn.Tensor([row[:-1]])).data[0], dtype=np.float64)
        logp = _log_softmax(logits)[1:]
        return sum(logp[i, token] for i, token in enumerate(row[2:]))

    greedy = nn.generate(model, [1, 2], 6).tolist()
    for cached in (True, False):
        beam = nn.generate(model, [[1, 2], [1, 2]], 6, num_beams=5, use_cache=cached).tolist()
        assert beam[0] == beam[1]
        assert score(beam[0]) >= score(greedy) - 1e-6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be at least 0, got -1"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 1.5}, r"top_p must be in \[0, 1\]"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be positive"),
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"num_beams": 2, "stream": True}, "stream must be False with beams"),
        ({"num_beams": 2, "do_sample": True}, "do_sample must be False with beams"),
        ({"prompt": [[]]}, "at least one token a row"),
        ({"prompt": np.zeros((1, 2))}, "prompt must be tokens"),
    ],
)
def test_arguments_are_checked(more, words):
    with pytest.raises(ValueError, match=words):
        nn.generate(Table(np.eye(2)), **{"prompt": [[0]], **more})


def test_a_model_learns_to_continue(model):
    """A few steps on a repeating pattern, then greedy continuation of it."""
    nn.manual_seed(0)
    small = Decoder(6, rotary=nn.RotaryEmbedding(8))
    optimizer = nn.optim.Adam(small.parameters(), lr=3e-3)
    pattern = np.resize([0, 1, 2, 3, 4, 5, 4, 3, 2, 1], 200)
    rng = np.random.default_rng(0)
    for _ in range(150):
        at = rng.integers(0, 150, 16)
        rows = np.stack([pattern[i : i + 17] for i in at])
        loss = F.cross_entropy(small(nn.Tensor(rows[:, :-1])).reshape(-1, 6), rows[:, 1:].ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    assert nn.generate(small, pattern[:8], 20).tolist() == pattern[:28].tolist()


@pytest.mark.parametrize("prompt", [[], [[], [1]], np.zeros((0, 0), int), np.zeros((1, 0), int)])
def test_empty_prompts_are_refused(prompt):
    with pytest.raises(ValueError, match="prompt must have at least one token a row, got none"):
        nn.generate(lambda x: nn.zeros(*x.shape, 5), prompt)


def test_scores_without_an_axis_of_positions_are_refused():
    with pytest.raises(ValueError, match=r"scores of shape \(N, T, vocabulary\), got \(1, 5\)"):
        nn.generate(lambda x: nn.zeros(len(x), 5), [1])
