"""The trainer: equal to a loop by hand, exact resumes, accumulation by counts, logs, checks."""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn import metrics as peers

import kernelmill
from kernelmill import nn
from kernelmill.nn import data, optim

F = nn.functional


@pytest.fixture
def problem(rng):
    X = rng.normal(size=(90, 3)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def network(seed=0, dropout=0.0):
    nn.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 16), nn.Tanh(), nn.Dropout(dropout), nn.BatchNorm1d(16), nn.Linear(16, 2)
    )


def bits(model):
    return b"".join(t.data.tobytes() for t in model.state_dict().values())


def test_steps_equal_a_loop_by_hand(problem):
    X, y = problem
    a, b = network(dropout=0.3), network(dropout=0.3)
    loss = nn.CrossEntropyLoss()
    loaders = [
        data.DataLoader((X, y), 20, shuffle=True, generator=nn.Generator(1)) for _ in range(2)
    ]
    nn.manual_seed(3)
    optimizer = optim.Adam(a.parameters(), 0.01)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    means = []
    for _ in range(4):
        total = 0.0
        for rows, target in loaders[0]:
            value = loss(a(rows), target)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(a.parameters(), 0.5)
            optimizer.step()
            total += value.item() * len(target)
        schedule.step()
        means.append(total / len(X))
    nn.manual_seed(3)
    optimizer = optim.Adam(b.parameters(), 0.01)
    trainer = nn.Trainer(4, clip_norm=0.5).fit(
        b, loss, optimizer, loaders[1], schedule=optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    )
    np.testing.assert_allclose([r["train_loss"] for r in trainer.history_], means, rtol=1e-6)
    assert [r["lr"] for r in trainer.history_] == [0.01, 0.01, 0.005, 0.005]
    # Gradients are clipped in place there and by the scale of the step here: a rounding apart.
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-4, atol=1e-6)
    c = network(dropout=0.3)
    nn.manual_seed(3)
    again = data.DataLoader((X, y), 20, shuffle=True, generator=nn.Generator(1))
    nn.Trainer(1).fit(c, loss, optim.SGD(c.parameters(), 0.1), again)
    d = network(dropout=0.3)
    nn.manual_seed(3)
    optimizer = optim.SGD(d.parameters(), 0.1)
    for rows, target in data.DataLoader((X, y), 20, shuffle=True, generator=nn.Generator(1)):
        optimizer.zero_grad()
        loss(d(rows), target).backward()
        optimizer.step()
    assert bits(c) == bits(d)  # without clipping the steps are the same


def test_accumulation_over_unequal_batches():
    """huggingface/transformers#34191: means 4 and 2 over 1 and 3 counted tokens are 2.5, not 3."""
    w = nn.Parameter(np.float64([1.0, 1.0]))
    model = nn.Module()
    model.w = w
    batches = [(np.float64([[4.0, 0.0]]), 1), (np.float64([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0]]), 3)]

    def step(model, batch):
        values = (nn.Tensor(batch[0]) * model.w).sum(1)
        return values.mean() - (3.0 if batch[1] == 3 else 0.0), batch[1]

    optimizer = optim.SGD([w], 1.0)
    trainer = nn.Trainer(1, accumulate=2, step=step).fit(model, None, optimizer, batches)
    assert trainer.history_[0]["train_loss"] == pytest.approx((1 * 4 + 3 * 2) / 4)
    whole = np.concatenate([b[0] for b in batches]).mean(0)
    np.testing.assert_allclose(w.data, 1.0 - whole)
    assert trainer.n_steps_ == 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_steps_equal_whole_batches(problem, accumulate, reduction):
    """Also with ignored targets, class weights, windows of nothing and a shorter last window."""
    X, y = problem
    y = y.copy()
    y[::7] = -100
    y[:20] = -100
    loss = nn.CrossEntropyLoss(weight=np.float32([0.3, 2.0]), reduction=reduction)
    sizes = [10, 10, 10, 3, 17, 1, 9, 30]
    ends = np.cumsum(sizes)
    parts = [(X[e - s : e], y[e - s : e]) for s, e in zip(sizes, ends, strict=True)]
    joined = [
        tuple(np.concatenate(part) for part in zip(*parts[i : i + accumulate], strict=True))
        for i in range(0, len(parts), accumulate)
    ]
    a, b = (nn.Linear(3, 2) for _ in range(2))
    b.load_state_dict(a.state_dict())
    rate = 0.1 if reduction == "mean" else 0.001
    kept = {"momentum": 0.9, "weight_decay": 0.1}
    ours = nn.Trainer(3, accumulate=accumulate, clip_value=0.5, clip_norm=0.6).fit(
        a, loss, optim.SGD(a.parameters(), rate, **kept), parts
    )
    whole = nn.Trainer(3, clip_value=0.5, clip_norm=0.6).fit(
        b, loss, optim.SGD(b.parameters(), rate, **kept), joined
    )
    np.testing.assert_allclose(a.weight.data, b.weight.data, rtol=1e-4, atol=1e-6)
    assert ours.n_steps_ == whole.n_steps_
    for p, q in zip(ours.history_, whole.history_, strict=True):
        assert p["train_loss"] == pytest.approx(q["train_loss"], rel=1e-4)


def test_a_batch_without_targets_changes_nothing(problem):
    """pytorch/pytorch#116349: its mean loss is 0 / 0."""
    X, y = problem
    nothing = np.full(90, -100)
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    batches = [(X, y), (X, nothing)]
    trainer = nn.Trainer(2).fit(model, nn.CrossEntropyLoss(), optimizer, batches, [(X, nothing)])
    assert trainer.n_steps_ == 2
    assert all(math.isfinite(row["train_loss"]) for row in trainer.history_)
    assert math.isnan(trainer.history_[0]["valid_loss"])
    before = model[0].weight.data.copy()
    nn.Trainer(1, accumulate=2).fit(
        model, F.cross_entropy, optimizer, [(X, nothing), (X, nothing), (X, nothing)]
    )
    assert model[0].weight.data.tobytes() == before.tobytes()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_that_are_not_finite(problem, accumulate):
    X, y = problem
    bad = X.copy()
    bad[0] = np.nan
    batches = [(X, y), (bad, y), (X, y), (X, y)]
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="loss must stay finite, got nan in batch 2 of epoch 1"):
        nn.Trainer(2, accumulate=accumulate).fit(model, nn.CrossEntropyLoss(), optimizer, batches)
    trainer = nn.Trainer(2, nonfinite="skip", accumulate=accumulate)
    trainer.fit(model, nn.CrossEntropyLoss(), optimizer, batches)
    assert [row["skipped"] for row in trainer.history_] == [1, 1]
    assert np.isfinite(model.weight.data).all()

    def infinite(model, batch):  # a finite loss with an infinite gradient
        value = (model.weight.sum() * 0.0 + 1.0) + (batch * model.weight.sum() * 0.0).sqrt()
        return value, 1

    one = nn.Module()
    one.weight = nn.Parameter(np.ones(1))
    optimizer = optim.SGD([one.weight], 0.1)
    skipping = nn.Trainer(1, nonfinite="skip", step=infinite).fit(one, None, optimizer, [1.0, 1.0])
    assert np.isfinite(one.weight.data).all()
    assert skipping.history_[0]["skipped"] == 2
    assert skipping.n_steps_ == 0
    with pytest.raises(ValueError, match="train must have at least one batch"):
        nn.Trainer(1).fit(model, nn.CrossEntropyLoss(), optimizer, [])


def test_metrics_are_scikit_learns(problem):
    X, y = problem
    model = network()
    chosen = {
        "accuracy": "accuracy", "log_loss": "neg_log_loss", "area": "roc_auc", "f1": peers.f1_score,
        "own": peers.make_scorer(peers.balanced_accuracy_score),
    }  # fmt: skip
    trainer = nn.Trainer(2, metrics=chosen, keep_best=False)
    loader = data.DataLoader((X, y), 25)
    trainer.fit(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), loader, loader)
    out = trainer.predict(model, loader)
    p = np.exp(np.float64(out))
    p /= p.sum(1, keepdims=True)
    want = {
        "loss": peers.log_loss(y, p),
        "accuracy": peers.accuracy_score(y, out.argmax(1)),
        "area": peers.roc_auc_score(y, p[:, 1]),
        "f1": peers.f1_score(y, out.argmax(1)),
        "own": peers.balanced_accuracy_score(y, out.argmax(1)),
    }
    want["log_loss"] = -want["loss"]
    found = trainer.evaluate(model, nn.CrossEntropyLoss(), loader)
    assert found == pytest.approx(want, rel=1e-5)
    assert {f"valid_{k}": v for k, v in found.items()} == {
        k: v for k, v in trainer.history_[-1].items() if k.startswith("valid_")
    }
    assert model.training
    with pytest.raises(ValueError, match="valid must be given for metrics"):
        trainer.fit(model, nn.CrossEntropyLoss(), None, loader)
    values = nn.Linear(3, 1)
    fitted = nn.Trainer(1, metrics=["r2", peers.mean_absolute_error])
    both = [(X, X[:, :1])]
    fitted.fit(values, nn.MSELoss(), optim.SGD(values.parameters(), 0.1), both, both)
    row = fitted.history_[-1]
    assert row["valid_r2"] == pytest.approx(peers.r2_score(X[:, :1], values(nn.Tensor(X)).data))
    assert row["valid_mean_absolute_error"] > 0
    label = (y[:, None]).astype(np.float32)
    binary = nn.Trainer(1, metrics=["accuracy", "roc_auc", "neg_log_loss"])
    binary.fit(values, nn.BCEWithLogitsLoss(), optim.SGD(values.parameters(), 0.1),
               [(X, label)], [(X, label)])  # fmt: skip
    assert binary.history_[0]["valid_neg_log_loss"] == pytest.approx(
        -binary.history_[0]["valid_loss"], rel=1e-5
    )


def test_early_stopping_keeps_the_best(problem):
    X, y = problem
    model = network()
    optimizer = optim.Adam(model.parameters(), 0.05)
    held = [(X[60:], y[60:])]
    trainer = nn.Trainer(200, patience=5).fit(
        model, nn.CrossEntropyLoss(), optimizer, data.DataLoader((X[:60], y[:60]), 20), held
    )
    losses = [row["valid_loss"] for row in trainer.history_]
    assert trainer.n_epochs_ == len(losses) < 200
    assert trainer.best_epoch_ == 1 + int(np.argmin(losses)) == len(losses) - 5
    assert trainer.best_score_ == min(losses)
    assert trainer.evaluate(model, nn.CrossEntropyLoss(), held)["loss"] == min(losses)
    with pytest.raises(ValueError, match=r"monitor must be one of .*'valid_loss'"):
        nn.Trainer(1, monitor="valid_x").fit(model, nn.CrossEntropyLoss(), optimizer, held, held)


def test_averages_of_weights(problem):
    X, y = problem
    model, seen = network(), []
    optimizer = optim.SGD(model.parameters(), 0.2)
    mean = model[0].weight.data.astype(np.float64)

    class Watched(list):
        def __iter__(self):
            for batch in list.__iter__(self):
                if seen:  # the weights after the step before
                    mean[...] = 0.9 * mean + 0.1 * model[0].weight.data
                seen.append(1)
                yield batch
            mean[...] = 0.9 * mean + 0.1 * model[0].weight.data
            seen.clear()

    trainer = nn.Trainer(3, ema=0.9)
    trainer.fit(model, nn.CrossEntropyLoss(), optimizer, Watched([(X, y), (X[:30], y[:30])]))
    np.testing.assert_allclose(model[0].weight.data, mean, rtol=1e-5, atol=1e-6)


SCRIPT = """
    import os, signal, sys
    import numpy as np
    from kernelmill import nn
    from kernelmill.nn import data, optim

    kill_at, path, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    nn.manual_seed(7)
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.3), nn.BatchNorm1d(16),
                          nn.Linear(16, 2))
    train = data.DataLoader((X[:70], y[:70]), 10, shuffle=True, num_workers=workers)
    valid = data.DataLoader((X[70:], y[70:]), 10)
    optimizer = optim.AdamW(model.parameters(), 0.02)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=60)
    loss = nn.CrossEntropyLoss()
    calls = 0

    def step(model, batch):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        out = model(batch[0])
        return loss(out, batch[1]), len(batch[1]), out, batch[1]

    trainer = nn.Trainer(6, metrics="accuracy", schedule_on="step", ema=0.9, clip_norm=1.0,
                         accumulate=2, step=step, checkpoint=path, checkpoint_every=3,
                         logs=[nn.JSONLog(path + ".jsonl")], monitor_every=5)
    trainer.fit(model, loss, optimizer, train, valid, schedule=schedule, resume=True)
    nn.save_file(model.state_dict(), path + ".weights")
"""


def run_script(folder, name, kill_at=0, workers=0):
    script = folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return subprocess.run(
        [sys.executable, script, str(kill_at), str(folder / name), str(workers)],
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_run_that_is_killed_again_and_again_has_the_same_bits(tmp_path):
    assert run_script(tmp_path, "whole").returncode == 0
    # An epoch has 7 calls in 4 steps, then 2 to validate; every third step is kept. Killed in the
    # validation after a kept step, in that after a lost one, and in the middle of an accumulation.
    for kill_at in (26, 10, 8):
        killed = run_script(tmp_path, "parts", kill_at, workers=2)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    ended = run_script(tmp_path, "parts")
    assert ended.returncode == 0, ended.stderr
    whole, parts = (tmp_path / f"{name}.weights" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()

    def rows(name):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]

    assert rows("whole") == rows("parts")
    states = [nn.TrainerState.load(tmp_path / name).values for name in ("whole", "parts")]
    for state in states:
        for row in state["history"]:
            del row["seconds"]
    assert repr(states[0]) == repr(states[1])


def test_more_epochs_go_on(problem, tmp_path):
    """fit(10) equals fit(4), save, load, fit(10) in another process or in this one."""
    X, y = problem
    path = tmp_path / "run"

    def fit(epochs, resume):
        model = network(1, dropout=0.2)
        loader = data.DataLoader((X, y), 16, shuffle=True)
        optimizer = optim.Adam(model.parameters(), 0.01)
        trainer = nn.Trainer(epochs, checkpoint=path, patience=20, monitor="train_loss")
        trainer.fit(model, nn.CrossEntropyLoss(), optimizer, loader, resume=resume)
        return bits(model), [row["train_loss"] for row in trainer.history_]

    whole = fit(10, False)
    fit(4, False)
    assert fit(10, True) == whole
    assert fit(10, True) == whole  # a finished run has nothing to do
    fit(4, False)
    assert fit(10, path) == whole
    other = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="must be a checkpoint of this model"):
        nn.Trainer(1).fit(
            other, nn.CrossEntropyLoss(), optim.SGD(other.parameters()), [(X, y)], resume=path
        )
    with pytest.raises(ValueError, match="checkpoint must be given for resume=True"):
        nn.Trainer(1).fit(other, nn.CrossEntropyLoss(), None, [(X, y)], resume=True)
    kernelmill.save(other, path)
    with pytest.raises(ValueError, match=r"must be a checkpoint of nn\.Trainer"):
        nn.TrainerState.load(path)
    with pytest.raises(ValueError, match="checkpoint_every must be None unless train"):
        nn.Trainer(1, checkpoint=path, checkpoint_every=1).fit(
            other, nn.CrossEntropyLoss(), optim.SGD(other.parameters()), [(X, y)]
        )


def test_an_epoch_goes_on_only_with_a_loader(problem, tmp_path):
    X, y = problem
    path, loss, model = tmp_path / "run", nn.CrossEntropyLoss(), nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)

    def stopping(model, batch):
        stopping.calls += 1
        if stopping.calls == 3:
            raise KeyboardInterrupt
        return loss(model(batch[0]), batch[1]), len(batch[1])

    stopping.calls = 0
    trainer = nn.Trainer(2, step=stopping, checkpoint=path, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(model, None, optimizer, data.DataLoader((X, y), 30))
    assert nn.TrainerState.load(path).values["totals"]["steps"] == 2
    with pytest.raises(ValueError, match="train must be a DataLoader to go on in the middle"):
        nn.Trainer(2).fit(model, loss, optimizer, [(X, y)], resume=path)


def test_ctrl_c_keeps_what_was_reached(problem):
    X, y = problem
    model = network()

    def batches():
        yield X, y
        if trainer.seen == 3:
            raise KeyboardInterrupt
        trainer.seen += 1

    class Again:
        def __iter__(self):
            return batches()

    trainer = nn.Trainer(10)
    trainer.seen = 0
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(model, nn.CrossEntropyLoss(), optimizer, Again())
    assert trainer.n_epochs_ == len(trainer.history_) == 3


def test_callbacks_of_scikit_learn(problem):
    if not hasattr(nn.Trainer(), "set_callbacks"):
        pytest.skip("scikit-learn before 1.9 has no callbacks")
    X, y = problem
    heard = []

    class Third:
        def setup(self, estimator, context):
            heard.append("setup")

        def teardown(self, estimator, context):
            heard.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "epoch":
                heard.append(fitted_estimator.history_[-1]["epoch"])
                return context.task_id == 2

    model = network()
    trainer = nn.Trainer(10).set_callbacks(Third())
    trainer.fit(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), [(X, y)])
    assert heard == ["setup", 1, 2, 3, "teardown"]
    assert trainer.n_epochs_ == 3


def test_schedules(problem):
    X, y = problem
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.5)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.99)
    trainer = nn.Trainer(4).fit(
        model, nn.CrossEntropyLoss(), optimizer, [(X, y)], schedule=plateau
    )
    np.testing.assert_allclose([r["lr"] for r in trainer.history_], [0.5, 0.5, 0.05, 0.005])
    optimizer = optim.SGD(model.parameters(), 1.0)
    falling = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    nn.Trainer(2, schedule_on="step").fit(
        model, nn.CrossEntropyLoss(), optimizer, [(X, y)] * 3, schedule=falling
    )
    assert optimizer.param_groups[0]["lr"] == 0.5**6
    small = nn.Linear(3, 2)
    whole = nn.Trainer(1).fit(
        small, nn.CrossEntropyLoss(), optim.LBFGS(small.parameters()), [(X, y)] * 3
    )
    assert whole.history_[0]["train_loss"] < 0.75
    with pytest.raises(ValueError, match="must be the defaults for LBFGS"):
        nn.Trainer(1, accumulate=2).fit(
            small, nn.CrossEntropyLoss(), optim.LBFGS(small.parameters()), [(X, y)]
        )


def records(path):
    """The events of a TensorBoard file, by the framing of TFRecord."""
    from tensorboardX.proto.event_pb2 import Event

    content, at = path.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + size])
        at += 16 + size


def test_logs_and_monitors(problem, tmp_path, monkeypatch):
    X, y = problem
    model = network()
    folder = tmp_path / "events"
    logs = [nn.JSONLog(tmp_path / "run.jsonl"), nn.TensorBoardLog(folder)]
    trainer = nn.Trainer(2, logs=logs, monitor_every=2)
    loader = data.DataLoader((X, y), 30)
    trainer.fit(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), loader)
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [1, 3, 3, 5, 6]
    assert [row for row in lines if "epoch" in row] == trainer.history_
    assert [row for row in lines if "epoch" not in row] == trainer.monitor_
    row = trainer.monitor_[-1]
    assert [*row["weights"]] == [name for name, _ in model.named_parameters()]
    assert row["gradients"]["0.weight"] > 0
    assert row["zeros"]["0.weight"] == 0
    assert set(row["activations"]) == {"0", "1", "2", "3", "4"}
    assert row["activations"]["3"]["std"] == pytest.approx(1.0, abs=0.01)  # batch norm
    assert not model[0]._forward_hooks
    found = {}
    for event in records(next(folder.iterdir())):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    np.testing.assert_allclose(
        found["train_loss"], [(r["step"], r["train_loss"]) for r in trainer.history_], rtol=1e-6
    )
    assert len(found["gradients/0.weight"]) == 3
    log = nn.TensorBoardLog(folder)  # goes on after step 3
    log.open(3, 1)
    log.write({"step": 4, "train_loss": 0.5})
    log.close()
    later = [event for path in folder.iterdir() for event in records(path) if event.step == 4]
    assert [v.simple_value for event in later for v in event.summary.value] == [0.5]
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'kernelmill\[tensorboard\]'"):
        nn.TensorBoardLog(folder)


def test_the_json_log_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "epoch": 1}\n{"step": 2, "epoch": 2}\n{"ste')
    log = nn.JSONLog(path)
    log.open(2, 1)
    log.write({"step": 3, "epoch": 2, "x": math.nan})
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1}, {"step": 2, "epoch": 1}, {"step": 3, "epoch": 2, "x": None},
    ]  # fmt: skip


def test_learning_rates_and_overfitting(problem):
    X, y = problem
    model = network(dropout=0.2)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    before, drawn = bits(model), nn.rand(1).item
    loader = data.DataLoader((X, y), 30)
    found = nn.find_learning_rate(model, nn.CrossEntropyLoss(), optimizer, loader, high=1e3)
    assert (np.diff(found.rates) > 0).all()
    assert 1e-3 < found.suggestion < 10
    assert found.losses[-1] > found.losses.min()  # it was raised until the loss rose
    assert bits(model) == before
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer.state_dict()["state"]
    assert drawn() is not None
    with pytest.raises(ValueError, match="low must be above 0"):
        nn.find_learning_rate(model, nn.CrossEntropyLoss(), optimizer, loader, low=0)
    with pytest.raises(TypeError, match=r"must be one of nn\.optim, got CrossEntropyLoss"):
        nn.find_learning_rate(model, optimizer, nn.CrossEntropyLoss(), loader)
    model = network()
    model.unused = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters(), 0.05)
    batch = X[:8], y[:8]
    checked = nn.overfit_batch(model, nn.CrossEntropyLoss(), optimizer, batch)
    assert checked.passed
    assert len(checked.losses) == 200
    stuck = nn.overfit_batch(
        model, lambda out, target: F.cross_entropy(out * 0.0, target), optimizer, batch, steps=5
    )
    assert not stuck.passed
    assert "0.weight" in stuck.without_gradient


def test_other_batches_and_steps(problem):
    X, y = problem

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, a, b):
            return self.layer(nn.cat([a, b], 1))

    model = Two()
    optimizer = optim.Adam(model.parameters(), 0.01)
    T = nn.Tensor
    for batch in ((T(X), T(X), T(y)), {"a": T(X), "b": T(X), "target": T(y)}):
        trainer = nn.Trainer(3).fit(model, nn.CrossEntropyLoss(), optimizer, [batch])
        assert trainer.history_[-1]["train_loss"] < trainer.history_[0]["train_loss"]
    listed = nn.Trainer(1).fit(nn.Linear(3, 2), nn.CrossEntropyLoss(), optimizer, [(X, y.tolist())])
    assert listed.history_[0]["train_loss"] > 0
    for batch in (T(X), [T(X)], {"x": T(X)}):
        with pytest.raises(ValueError, match="a batch must be a list of the inputs"):
            nn.Trainer(1).fit(model, nn.CrossEntropyLoss(), optimizer, [batch])
    only = nn.Trainer(1, step=lambda model, batch: model(batch, batch).square().mean())
    assert only.fit(model, None, optimizer, [T(X)]).n_steps_ == 1
    with pytest.raises(ValueError, match="step must return"):
        nn.Trainer(1, step=only.step, metrics="accuracy").fit(
            model, None, optimizer, [T(X)], [T(X)]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_epochs": 0}, "max_epochs"), ({"accumulate": 0}, "accumulate"),
     ({"patience": 1.5}, "patience"), ({"clip_norm": 0}, "clip_norm"), ({"ema": 1}, "ema"),
     ({"schedule_on": "batch"}, "schedule_on"), ({"nonfinite": "x"}, "nonfinite")],
)  # fmt: skip
def test_settings_are_checked(options, message):
    with pytest.raises(ValueError, match=f"nn.Trainer: {message} must be"):
        nn.Trainer(**options)
    with pytest.raises(ValueError, match="reduction of loss must be"):
        nn.Trainer(1).fit(nn.Linear(1, 1), nn.MSELoss(reduction="none"), None, [])
    with pytest.raises(ValueError, match="loss must be given unless step is"):
        nn.Trainer(1).fit(nn.Linear(1, 1), None, None, [])
