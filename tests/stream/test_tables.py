"""Tables: which columns are read, what their values become, and that lazy ones stay lazy."""

from decimal import Decimal

import numpy as np
import pytest

from kernelmill import stream
from kernelmill.cluster import KMeans

pl = pytest.importorskip("polars", reason="polars is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")
ds = pytest.importorskip("pyarrow.dataset", reason="pyarrow.dataset is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def table(n=60):
    rng = np.random.default_rng(0)
    return {
        "id": np.arange(n),
        "a": rng.normal(size=n),
        "b": rng.normal(size=n).astype(np.float32),
        "w": rng.integers(0, 3, size=n),
        "text": [f"row {i}" for i in range(n)],
    }


def written(folder, data, name="t.parquet"):
    parquet.write_table(pa.table(data), folder / name, row_group_size=25)
    return folder / name


FORMS = {
    "pandas": lambda data, folder: pd.DataFrame(data),
    "polars": lambda data, folder: pl.DataFrame(data),
    "pyarrow": lambda data, folder: pa.table(data),
    "chunks": lambda data, folder: [pd.DataFrame(data)[:40], pd.DataFrame(data)[40:]],
    "Parquet": lambda data, folder: written(folder, data),
    "lazy": lambda data, folder: pl.DataFrame(data).lazy(),
    "scan": lambda data, folder: pl.scan_parquet(written(folder, data)),
    "dataset": lambda data, folder: ds.dataset(written(folder, data), format="parquet"),
    "table dataset": lambda data, folder: ds.dataset(pa.table(data)),
    "Dask": lambda data, folder: pytest.importorskip("dask.dataframe").from_pandas(
        pd.DataFrame(data), npartitions=3
    ),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def rows_of(s):
    return np.concatenate([part for part, _ in s])


@pytest.mark.parametrize(
    "options",
    [{"columns": ["b", "a"]}, {"exclude": ["id", "text"]}, {"exclude": ["w", "text", "id"]}],
)
def test_columns_are_chosen(form, options, tmp_path):
    data = table()
    s = stream.source(form(data, tmp_path), "w", **options)
    names = options.get("columns", ["a", "b"])
    assert s.feature_names.tolist() == names
    for _ in range(2):
        np.testing.assert_array_equal(rows_of(s), np.column_stack([data[name] for name in names]))
        np.testing.assert_array_equal(np.concatenate([w for _, w in s]), data["w"])
    one = stream.source(form(data, tmp_path), columns="b")
    assert one.dtype == np.float32
    np.testing.assert_array_equal(rows_of(one)[:, 0], data["b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["a", "z"]}, r"columns must name columns of X, got 'z' \(columns: id, a, b"),
        ({"columns": ["a", "w"], "sample_weight": "w"}, "got 'w', the column of sample_weight"),
        ({"exclude": "z"}, "exclude must name columns of X, got 'z'"),
        ({"columns": ["a", "a"]}, "columns must name each column once, got 'a' twice"),
        ({"columns": []}, "columns must leave a column of X"),
        ({"columns": "a", "exclude": "b"}, "columns must be None beside exclude, got both"),
        ({"columns": ["a", "text"]}, "numeric columns only, got column 'text' of type"),
        ({"columns": "a", "sample_weight": "v"}, "must be a column of X, got 'v'"),
    ],
)
def test_errors_name_the_column(form, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        stream.source(form(table(), tmp_path), **options)


def test_columns_named_like_attributes_of_other_frames(form, tmp_path):
    names = ["height", "width", "schema", "index", "get"]
    data = dict(zip(names, np.random.default_rng(0).normal(size=(5, 60)), strict=True))
    opened = stream.source(form(data, tmp_path))
    assert opened.feature_names.tolist() == names
    assert np.array_equal(rows_of(opened), np.column_stack([*data.values()]))


@pytest.mark.parametrize("X", [np.ones((4, 2)), [np.ones((4, 2))], "Dask"])
def test_arrays_have_no_columns_to_choose(X):
    if isinstance(X, str):
        X = pytest.importorskip("dask.array").ones((4, 2))
    with pytest.raises(TypeError, match="columns and exclude must be None where X has no column"):
        stream.source(X, columns="a")


def test_weights_of_chunks_by_name_need_names():
    with pytest.raises(TypeError, match="must be an array where chunks have no column names"):
        stream.source([np.ones((4, 2))], "w")


@pytest.mark.parametrize("kind", ["lazy", "scan", "dataset", "Parquet"])
@pytest.mark.parametrize("weights", [None, "w", "array"])
def test_lazy_tables_are_fitted_as_arrays_are(kind, weights, tmp_path):
    data = table(400)
    X = np.column_stack([data["a"], data["b"]])
    w = None if weights is None else data["w"]
    s = stream.source(
        FORMS[kind](data, tmp_path),
        data["w"] if weights == "array" else weights,
        columns=["a", "b"],
        chunk_rows=90,
    )
    streamed = KMeans(3, init=X[:3]).fit(s)
    whole = KMeans(3, init=X[:3]).fit(X, sample_weight=w)
    np.testing.assert_array_equal(streamed.labels_, whole.labels_)
    np.testing.assert_allclose(streamed.cluster_centers_, whole.cluster_centers_, rtol=1e-12)


def test_a_lazy_table_is_a_stream_of_a_model(tmp_path):
    frame = pl.DataFrame({"a": np.arange(30.0), "b": np.ones(30)})
    model = KMeans(2, random_state=0).fit(frame.lazy())
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict(frame), model.labels_)
    with pytest.raises(ValueError, match="numeric columns only, got column 'c'"):
        KMeans(2).fit(frame.with_columns(c=pl.lit("x")).lazy())


def test_a_query_whose_rows_change_is_refused():
    state = [0]

    def shuffled(batch):
        state[0] += 1
        return batch[::-1] if state[0] % 2 else batch

    lazy = pl.DataFrame({"a": np.arange(50.0)}).lazy().map_batches(shuffled)
    s = stream.source(lazy)
    rows_of(s)
    with pytest.raises(ValueError, match="must yield the same chunks in every pass"):
        rows_of(s)


def test_partitions_and_filters_of_datasets(tmp_path):
    data = table()
    for year in (2024, 2025):
        (tmp_path / f"year={year}").mkdir()
        written(tmp_path / f"year={year}", data)
    dataset = ds.dataset(tmp_path, format="parquet", partitioning="hive")
    rows = rows_of(stream.source(dataset, columns=["year", "a"]))
    np.testing.assert_array_equal(rows[:, 0], np.repeat([2024, 2025], 60))
    np.testing.assert_array_equal(rows[:, 1], np.tile(data["a"], 2))
    some = dataset.filter((ds.field("year") == 2025) & (ds.field("id") < 10))
    rows = rows_of(stream.source(some, columns=["year", "id"]))
    np.testing.assert_array_equal(rows, np.column_stack([np.full(10, 2025), np.arange(10)]))
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(10,\)"):
        stream.source(some, np.ones(11), columns="a")


def test_empty_lazy_tables():
    s = stream.source(pl.DataFrame({"a": np.ones(0)}).lazy())
    assert s.count_rows() == 0
    with pytest.raises(ValueError, match="at least one row"):
        s.map_reduce(lambda X, sample_weight=None: X.sum())


# --- values ---------------------------------------------------------------------------------------

NUMBERS = {"whole": [1, None, 3], "tenths": [Decimal("0.1"), Decimal("-2.5"), None]}
VALUES = np.array([[1.0, 0.1], [np.nan, -2.5], [3.0, np.nan]])
TABLES = {
    "pandas objects": lambda: pd.DataFrame(NUMBERS, dtype=object),
    "chunks of objects": lambda: [pd.DataFrame(NUMBERS, dtype=object)[i : i + 2] for i in (0, 2)],
    "pandas nullable": lambda: pd.DataFrame(NUMBERS).astype({"whole": "Int64"}),
    "polars": lambda: pl.DataFrame(NUMBERS, schema={"whole": pl.Int64, "tenths": pl.Decimal(9, 1)}),
    "polars objects": lambda: pl.DataFrame(
        {name: pl.Series(column, dtype=pl.Object) for name, column in NUMBERS.items()}
    ),
    "polars lazy": lambda: TABLES["polars"]().lazy(),
    "pyarrow": lambda: pa.table(NUMBERS),
    "dataset": lambda: ds.dataset(pa.table(NUMBERS)),
    "Dask": lambda: dask_objects(pd.DataFrame(NUMBERS, dtype=object)),
}


def dask_objects(frame):
    dask, dd = pytest.importorskip("dask"), pytest.importorskip("dask.dataframe")
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_pandas(frame, npartitions=2)


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_decimals_objects_and_nulls_become_floats(make):
    s = stream.source(make())
    assert s.dtype == np.float64
    np.testing.assert_array_equal(rows_of(s), VALUES)


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_missing_entries_are_named_by_column(make):
    # Dask names the first bad row of whichever partition fails first.
    with pytest.raises(ValueError, match=r"NaN at row (1, column 0 \('whole'|2, column 1 \('ten)"):
        KMeans(2).fit(make())


def test_objects_that_are_no_numbers_are_named_in_any_chunk():
    bad = pd.DataFrame({"whole": [1, 2], "tenths": ["x", 3]}, dtype=object)
    good = pd.DataFrame(NUMBERS, dtype=object)
    with pytest.raises(ValueError, match="numeric columns only, got column 'tenths' of type obj"):
        stream.source([good, bad]).count_rows()
    objects = pl.DataFrame({"a": pl.Series([1, "x"], dtype=pl.Object)})
    with pytest.raises(ValueError, match="got column 'a' of type Object"):
        stream.source(objects)


@pytest.mark.parametrize("make", ["pandas nullable", "polars", "pyarrow"])
def test_whole_numbers_cannot_be_missing(make):
    frame = TABLES[make]()
    frame = frame[["whole"]] if make != "pyarrow" else frame.select(["whole"])
    with pytest.raises(ValueError, match=r"no missing entries where it is int64.*column 'whole'"):
        stream.source(frame, dtype=[np.int64])
