"""Files of weights: safetensors, torch's format, damaged and hostile ones; the summary."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from kernelmill import nn


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "a.safetensors"
    state = {"x": nn.Tensor([[1.0, 2.0]]), "i": nn.Tensor([3]), "b": nn.Tensor([True]),
             "e": nn.zeros(0, 2), "s": nn.Tensor(2.0), "t": nn.arange(6).reshape(2, 3).T,
             }  # fmt: skip
    nn.save_file(state, path, {"k": "v"})
    loaded = nn.load_file(path)
    assert set(loaded) == set(state)
    for name, value in loaded.items():
        assert value.dtype == state[name].dtype
        np.testing.assert_array_equal(value.data, state[name].data)
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="safetensors file"):
        nn.load_file(path)


def test_bfloat16_is_read(tmp_path):
    bits = (np.float32([1.5, -2.0]).view(np.uint32) >> 16).astype(np.uint16)
    header = b'{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    data = len(header).to_bytes(8, "little") + header + bits.tobytes()
    (tmp_path / "b.safetensors").write_bytes(data)
    assert nn.load_file(tmp_path / "b.safetensors")["x"].tolist() == [1.5, -2.0]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def archive(path, payload, name="archive"):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{name}/data.pkl", payload)


def test_torch_files_run_no_code(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    archive(path, pickle.dumps({"a": Evil()}))
    with pytest.raises(ValueError, match=r"builtins\.print, which is no plain tensor"):
        nn.load_torch(path)
    assert capsys.readouterr().out == ""
    for payload in (b"", b"junk", pickle.dumps({"a": 1})[:-2]):
        archive(path, payload)
        with pytest.raises(ValueError, match=r"torch\.save wrote"):
            nn.load_torch(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"torch\.save wrote"):
        nn.load_torch(path)
    with pytest.raises(FileNotFoundError):
        nn.load_torch(tmp_path / "missing.pt")


def test_loading_is_all_or_nothing():
    layer = nn.Linear(2, 2)
    before = layer.weight.data.copy()
    with pytest.raises(RuntimeError, match=r"bias: \(2,\) here, \(3,\) given"):
        layer.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(3)})
    with pytest.raises(RuntimeError, match="missing bias; unknown c"):
        layer.load_state_dict({"weight": np.zeros((2, 2)), "c": np.zeros(3)})
    np.testing.assert_array_equal(layer.weight.data, before)
    result = layer.load_state_dict({"weight": np.zeros((2, 2)), "c": np.zeros(3)}, strict=False)
    assert result == (["bias"], ["c"])
    assert not layer.weight.data.any()
    new = np.ones((2, 2), np.float32)
    layer.load_state_dict({"weight": new, "bias": np.zeros(2)}, assign=True)
    assert layer.weight.data is new


def test_summary_counts_shared_parameters_once():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4))
    model[2].weight.requires_grad_(False)
    s = model.summary(nn.ones(5, 4))
    assert (s.parameters, s.trainable) == (31, 19)
    assert s.multiply_adds == 5 * (12 + 12)
    assert [line.shape for line in s.layers] == [(5, 3), (5, 3), (5, 4)]
    assert "multiply-adds: 120" in str(s)
    assert model.training
    assert nn.summary(model).layers[0].shape is None
    buffer = io.StringIO()
    print(s, file=buffer)
