"""Model files: exact round trips, whole files or none, damage always found, old files load."""

import contextlib
import io
import os
import pathlib
import pickle
import random
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest
from golden_dummy import GoldenDummy
from model_files import assert_same

from kernelmill._estimator import persistence
from kernelmill._estimator.persistence import ModelFileError, dumps, load, loads, save

GOLDEN = pathlib.Path(__file__).parents[1] / "data" / "golden"


def test_round_trip_is_exact(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    assert_same(model, load(path))
    assert_same(model, load(str(path)))
    assert_same(model, load(os.fsencode(path)))


def test_equal_models_give_equal_files(model):
    assert dumps(model) == dumps(loads(dumps(model)))


def test_shared_arrays_stay_shared(model):
    loaded = loads(dumps(model))
    assert loaded.coef_ is loaded.coef_alias_
    assert loaded.labels_ is not loaded.intercept_


def test_plain_file_objects(model):
    file = io.BytesIO()
    save(model, file)
    file.seek(0)
    assert_same(model, load(file))


# --- writing -------------------------------------------------------------------------------------


def test_permissions_follow_umask_then_the_old_file(tmp_path):
    path = tmp_path / "m"
    before = os.umask(0o027)
    try:
        save(GoldenDummy(), path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    save(GoldenDummy(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    save(GoldenDummy(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    load(tmp_path / "real")


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(step, error, model, tmp_path, monkeypatch):
    path = tmp_path / "m"
    save(GoldenDummy(alpha=3.0), path)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        save(model, path)
    monkeypatch.undo()
    assert load(path).alpha == 3.0
    assert os.listdir(tmp_path) == ["m"]


def test_write_error_leaves_the_old_file(model, tmp_path):
    """A real full disk, as far as a file size limit can play one."""
    path = tmp_path / "m"
    save(GoldenDummy(alpha=3.0), path)
    code = """
import resource, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from golden_dummy import GoldenDummy
from kernelmill._estimator.persistence import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save(GoldenDummy(alpha=np.zeros(100_000)), sys.argv[2])
except OSError:
    sys.exit(7)
"""
    where = str(pathlib.Path(__file__).parent)
    done = subprocess.run([sys.executable, "-B", "-c", code, where, str(path)], check=False)
    assert done.returncode == 7
    assert load(path).alpha == 3.0
    assert os.listdir(tmp_path) == ["m"]


def test_kill_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "m"
    code = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from golden_dummy import GoldenDummy
from kernelmill._estimator.persistence import save
i = 0
while True:
    save(GoldenDummy(alpha=np.full(200_000, float(i))), sys.argv[2])
    if i == 0:
        print("go", flush=True)
    i += 1
"""
    where = str(pathlib.Path(__file__).parent)
    for wait in (0.01, 0.03):
        command = [sys.executable, "-B", "-c", code, where, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            process.kill()
        assert len(np.unique(load(path).alpha)) == 1


def test_bad_paths(tmp_path, model):
    with pytest.raises(FileNotFoundError, match=r"must be in an existing folder, got .*/m$"):
        save(model, tmp_path / "missing" / "m")
    with pytest.raises(IsADirectoryError):
        save(model, tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")
    with pytest.raises(ModelFileError, match="must be a regular file"):
        load("/dev/null")


# --- damage --------------------------------------------------------------------------------------


def test_every_byte_counts(model):
    blob = dumps(model)
    rng = random.Random(0)
    places = range(len(blob)) if len(blob) < 6000 else rng.sample(range(len(blob)), 6000)
    places = sorted(set(places) | set(range(400)) | {len(blob) - 1})
    for place in places:
        damaged = bytearray(blob)
        damaged[place] ^= 1 << rng.randrange(8)
        with pytest.raises(ModelFileError):
            loads(damaged)


def test_truncation_and_extension(model):
    blob = dumps(model)
    for size in [*range(300), *range(300, len(blob), 97), len(blob) - 1]:
        with pytest.raises(ModelFileError):
            loads(blob[:size])
    for tail in (b"\0", b" ", b"x" * 100, blob):
        with pytest.raises(ModelFileError, match="does not match its checksum"):
            loads(blob + tail)
    with pytest.raises(ModelFileError):
        loads(b"\0" + blob)


def test_message_names_path_and_cure(model, tmp_path):
    path = tmp_path / "my.model"
    path.write_bytes(dumps(model)[:-5])
    with pytest.raises(ModelFileError, match=r"^load: .*my\.model must be an intact .* restore"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"my\.model must be a KernelMill .* an empty file"):
        load(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelFileError, match=r"must be a KernelMill .* other content"):
        load(path)


def test_random_garbage():
    rng = random.Random(1)
    for size in [0, 1, 7, 8, 9, 100, 1000] * 20:
        with pytest.raises(ModelFileError):
            loads(rng.randbytes(size))
        start = struct.pack("<Q", rng.randrange(200)) + persistence._PREFIX
        with pytest.raises(ModelFileError):
            loads(start + rng.randbytes(size))


# --- files of the past ---------------------------------------------------------------------------


GOLDEN_FILES = sorted(GOLDEN.rglob("*.safetensors"))


def test_golden_files_are_there():
    assert GOLDEN_FILES


@pytest.mark.parametrize(
    "path", GOLDEN_FILES, ids=[str(path.relative_to(GOLDEN)) for path in GOLDEN_FILES]
)
def test_golden_file(path):
    restored = load(path)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as expected:
        X = expected["X"]
        methods = [name for name in expected.files if name != "X"]
        assert methods
        for method in methods:
            result = np.asarray(getattr(restored, method)(X))
            assert result.dtype == expected[method].dtype
            if result.dtype.kind == "f":
                # Another instruction set may sum in another order: a few units in the last place.
                scale = np.abs(expected[method]).max()
                tolerance = 16 * np.finfo(result.dtype).eps * scale
                np.testing.assert_allclose(result, expected[method], rtol=0, atol=tolerance)
            else:
                np.testing.assert_array_equal(result, expected[method])
    assert dumps(loads(dumps(restored))) == dumps(restored)


def test_golden_dummy_holds_every_kind_of_value():
    """The oldest stored dummy equals one that is fitted now, attribute by attribute."""
    path = sorted(GOLDEN.rglob("dummy.safetensors"))[0]
    restored = load(path)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as expected:
        fresh = GoldenDummy(dtype=np.float32).fit(expected["X"])
    for name, value in vars(fresh).items():
        if name.endswith("_") or name.startswith("_"):
            assert_same(value, vars(restored)[name], name)


def test_memory_stays_near_the_size_of_the_model(tmp_path):
    """Saving and loading 64 MB take a small multiple of it, measured in a process of its own."""
    code = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from golden_dummy import GoldenDummy
from kernelmill._estimator.persistence import load, save
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
save(GoldenDummy(), sys.argv[2])
load(sys.argv[2])
big = GoldenDummy(alpha=np.ones(8_000_000))
start = peak()
save(big, sys.argv[2])
del big
load(sys.argv[2])
print((peak() - start) / 64e6)
"""
    where = str(pathlib.Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, where, str(tmp_path / "m")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 2.5
