"""Memory maps and Parquet files larger than the memory that a pass may take."""

import subprocess
import sys

import numpy as np
import pytest

MEGABYTE = 1 << 20

# Prints how much a pass adds to the peak of resident memory, in MiB, and the sums it found.
MEASURE = """
import resource, sys
import numpy as np
from kernelmill import stream

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def op(X, sample_weight=None):
    return X.sum(axis=0, dtype=np.float64)

def warm_up():
    stream.source(np.ones((10, 4), np.float32), chunk_rows=5).map_reduce(op)
    if sys.argv[1].endswith(".parquet"):
        import pyarrow.dataset, pyarrow.parquet
    if sys.argv[2] == "polars":
        import polars
        polars.LazyFrame({"a": [1.0]}).collect(engine="streaming")

warm_up()
before = peak()
def opened(path):
    if sys.argv[2] == "polars":
        import polars
        return polars.scan_parquet(path)
    if sys.argv[2] == "dataset":
        import pyarrow.dataset
        return pyarrow.dataset.dataset(path)
    return path

s = stream.source(opened(sys.argv[1]))
for _ in range(2):
    total = s.map_reduce(op)
s.take(np.arange(0, s.count_rows(), 64))
print(peak() - before, s.n_rows, total[0])
"""


def added_memory(path, how="path"):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), how], capture_output=True, text=True, check=True
    )
    peak, rows, total = done.stdout.split()
    return float(peak), int(rows), float(total)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")


@linux
@pytest.mark.parametrize("order", ["C", "F"])
def test_memmap_keeps_to_one_chunk(order, tmp_path):
    """512 MiB, a file with a hole: pages are mapped as they would be, the disk stays empty."""
    rows = 512 * MEGABYTE // (64 * 4)
    path = tmp_path / "X.npy"
    mapped = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(rows, 64), fortran_order=order == "F"
    )
    mapped[-1, 0] = 5.0
    del mapped
    peak, found, total = added_memory(path)
    assert (found, total) == (rows, 5.0)
    # One chunk is 64 MiB. Fortran order maps whole 64 KiB clusters around each column's part.
    assert peak < 2 * 64


@linux
@pytest.mark.parametrize("how", ["path", "polars", "dataset"])
def test_parquet_keeps_to_a_few_chunks(how, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    if how == "polars":
        pytest.importorskip("polars", reason="polars is not installed")
    rows = 320 * MEGABYTE // (32 * 4)
    ones = pyarrow.array(np.ones(rows, dtype=np.float32))
    table = pyarrow.table({f"c{j}": ones for j in range(32)})
    # Lazy readers decode whole row groups, several side by side: there these set what they take.
    group = rows if how == "path" else 1 << 16
    parquet.write_table(table, tmp_path / "X.parquet", row_group_size=group)
    peak, found, total = added_memory(tmp_path / "X.parquet", how)
    assert (found, total) == (rows, rows)
    # Two chunks, the Arrow columns one of them is made from, and Arrow's own pages.
    assert peak < 4 * 64
