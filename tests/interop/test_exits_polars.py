"""to_polars: rows, types, filters and limits as polars itself would have them."""

from __future__ import annotations

import datetime as dt
import math
import pickle
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from exits_tables import MIXED, UTC, data_paths, numbers, watched, write_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import deltalite
from deltalite.exceptions import InvalidArgumentError
from deltalite.interop.polars import PolarsSource

TRUTH = pl.DataFrame(MIXED)
ENGINES = ["in-memory", "streaming"]
c = pl.col


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("mixed") / "t", MIXED, 4, partition_by=["p"])


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers(tmp_path_factory.mktemp("counted") / "t")


@pytest.fixture
def frame(mixed: Path) -> pl.LazyFrame:
    return deltalite.DeltaTable(mixed).to_polars()  # type: ignore[return-value]


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert_frame_equal(found, expected, check_row_order=False, check_exact=True)


FILTERS = [
    c("id") > 3,
    ~(c("id") > 3),
    (c("id") > 2) & (c("x") < 6.0),
    (c("i") < 0) | c("s").is_null(),
    c("x") > 5.0,
    ~(c("x") > 5.0),
    ~(c("x") <= 5.0),
    c("x") == math.nan,
    c("x") != math.nan,
    c("x") != 6.0,
    c("x").is_nan(),
    c("x").is_not_nan(),
    c("x").eq_missing(None),
    c("x").ne_missing(2.0),
    c("id").is_in([1, 3, 77]),
    ~c("id").is_in([1, 3, 77]),
    c("id").is_in([1, None]),
    c("id").is_between(2, 5),
    c("s").is_in(["a", "zz"]),
    c("s").str.starts_with("a"),
    c("s").str.contains("b|z"),
    c("s").str.to_uppercase() == "A",
    c("s") >= "b",
    c("o"),
    ~c("o"),
    c("d") >= dt.date(2026, 1, 6),
    c("at") < dt.datetime(2026, 1, 1, 4, 30, 0, 123456, UTC),
    c("m") > 1,
    c("st").struct.field("a") > 1,
    c("l").list.len() > 0,
    c("p") == "u",
    c("p").is_null(),
    c("id") + 1 == 4,
    c("i").cast(pl.Int64) == c("id"),
    c("id") == c("id").max(),
    pl.lit(True),
    pl.lit(False),
    c("id").is_not_null() & (c("id") % 2 == 0),
    pl.when(c("o")).then(c("id") > 2).otherwise(c("i") > 2),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("condition", FILTERS, ids=lambda e: str(e)[:60])
def test_filters_mean_what_polars_means(frame: pl.LazyFrame, condition: pl.Expr, engine: str) -> None:
    same(frame.filter(condition).collect(engine=engine), TRUTH.filter(condition))
    same(frame.filter(condition).select("s").collect(engine=engine), TRUTH.filter(condition).select("s"))


VALUES = {
    "id": st.sampled_from([0, 1, 3, 8, 9]),
    "x": st.sampled_from([-1.0, 0.0, -0.0, 2.0, math.inf, math.nan]),
    "s": st.sampled_from(["", "a", "b", "zz"]),
}


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> pl.Expr:
    kind = draw(st.sampled_from(["and", "or", "not", "test"])) if depth else "test"
    if kind == "not":
        return ~draw(conditions(depth - 1))
    if kind != "test":
        left, right = draw(conditions(depth - 1)), draw(conditions(depth - 1))
        return left & right if kind == "and" else left | right
    name = draw(st.sampled_from(sorted(VALUES)))
    test = draw(st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne", "eq_missing", "ne_missing", "is_null", "is_in"]))
    if test == "is_null":
        return c(name).is_null()
    if test == "is_in":
        return c(name).is_in(draw(st.lists(VALUES[name], min_size=1, max_size=3)))
    return getattr(c(name), test)(draw(VALUES[name]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions())
def test_any_filter_means_what_polars_means(frame: pl.LazyFrame, condition: pl.Expr) -> None:
    same(frame.filter(condition).collect(), TRUTH.filter(condition))


@pytest.mark.parametrize("engine", ENGINES)
def test_row_limits_are_kept_before_and_after_filters(counted: Path, engine: str) -> None:
    frame = deltalite.DeltaTable(counted).to_polars()
    truth = pl.read_parquet(data_paths(counted))
    assert frame.head(5).collect(engine=engine).height == 5
    assert frame.head(0).collect(engine=engine).height == 0
    assert frame.limit(10**6).collect(engine=engine).height == 4000
    even = c("id") % 2 == 0
    same(frame.head(10).filter(even).collect(engine=engine), truth.head(10).filter(even))
    same(frame.head(1500).filter(c("id") > 1490).collect(engine=engine), truth.head(1500).filter(c("id") > 1490))
    assert frame.filter(even).head(10).collect(engine=engine).height == 10
    same(frame.slice(1990, 20).collect(engine=engine), truth.slice(1990, 20))
    same(frame.tail(3).collect(engine=engine), truth.tail(3))
    assert frame.select(pl.len()).collect(engine=engine).item() == 4000


def test_a_limit_reads_one_file(counted: Path) -> None:
    table, store = watched(counted)
    assert table.to_polars().head(5).collect().height == 5
    assert len(store.data_files()) == 1


@pytest.mark.parametrize(
    "condition",
    [
        c("id") == 3456,
        c("id").is_between(3001, 3002),
        (c("text") == "row 3999") & (c("id").sqrt() > 40) & (c("id") > 1000),
    ],
    ids=str,
)
def test_a_filter_reads_one_file_of_four(counted: Path, condition: pl.Expr) -> None:
    table, store = watched(counted)
    same(table.to_polars().filter(condition).collect(), pl.read_parquet(data_paths(counted)).filter(condition))
    assert len(store.data_files()) == 1


def test_building_a_frame_reads_no_data(counted: Path) -> None:
    table, store = watched(counted)
    frame = table.to_polars().filter(c("id") > 1).select("text")
    assert frame.collect_schema().names() == ["text"]
    assert not store.data_files()


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_columns_of_a_query_are_read(counted: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    asked = []
    original = PolarsSource.__call__

    def spy(self: PolarsSource, with_columns: list[str] | None, *rest: object) -> object:
        asked.append(with_columns)
        return original(self, with_columns, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(PolarsSource, "__call__", spy)
    frame = deltalite.DeltaTable(counted).to_polars()
    assert (
        frame.filter(c("id") > 3990).select(c("half").sum()).collect(engine=engine).item() == 1996 + 1997 + 1998 + 1999
    )
    assert asked and set(asked[0]) == {"id", "half"}


def test_types_are_faithful(mixed: Path, frame: pl.LazyFrame) -> None:
    assert frame.collect_schema() == TRUTH.schema
    assert frame.collect().schema == TRUTH.schema
    assert frame.filter(c("id") == -5).collect().schema == TRUTH.schema
    eager = deltalite.DeltaTable(mixed).to_polars(lazy=False)
    assert isinstance(eager, pl.DataFrame)
    same(eager, TRUTH)


def test_columns_and_predicates_narrow_the_frame(mixed: Path) -> None:
    table = deltalite.DeltaTable(mixed)
    for lazy in (True, False):
        found = table.to_polars(columns=["s", "id"], predicate="id > 3 and p is not null", lazy=lazy).lazy()
        expected = TRUTH.filter((c("id") > 3) & c("p").is_not_null()).select("s", "id")
        same(found.collect(), expected)
        same(found.filter(c("id") < 6).select("s").collect(), expected.filter(c("id") < 6).select("s"))
    assert table.to_polars(predicate="id > 100", lazy=False).schema == TRUTH.schema
    assert table.to_polars(columns=["_row_index", "ID"]).collect().columns == ["_row_index", "id"]


@pytest.mark.parametrize("engine", ENGINES)
def test_joins_groups_and_repeated_use(frame: pl.LazyFrame, engine: str) -> None:
    grouped = frame.group_by("p").agg(pl.len(), c("id").sum())
    same(grouped.collect(engine=engine), TRUTH.lazy().group_by("p").agg(pl.len(), c("id").sum()).collect())
    joined = frame.join(frame.select("id", again="s"), on="id")
    same(joined.collect(engine=engine), TRUTH.join(TRUTH.select("id", again="s"), on="id"))
    first, second = pl.collect_all([frame.select("id"), frame.filter(c("id") > 3)])
    assert (first.height, second.height) == (9, 5)


def test_batches_are_as_small_as_polars_asks(counted: Path) -> None:
    table = deltalite.DeltaTable(counted)
    source = PolarsSource(table._reading, None, None)
    frames = list(source(None, None, None, 100))
    assert max(frame.height for frame in frames) <= 100
    assert sum(frame.height for frame in frames) == 4000


def test_the_source_survives_pickling(counted: Path) -> None:
    source = pickle.loads(pickle.dumps(PolarsSource(deltalite.DeltaTable(counted)._reading, ["id"], None)))
    assert sum(frame.height for frame in source(["id"], c("id") < 3, None, None)) == 3


def test_a_python_function_in_a_filter(frame: pl.LazyFrame) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_a = c("s").map_elements(lambda text: text in ("a", "zz"), return_dtype=pl.Boolean)
        try:
            found = frame.filter(is_a).collect()
        except pl.exceptions.ComputeError as error:
            pytest.skip(f"polars itself needs cloudpickle here: {error}")
        assert found.height == 2


def test_a_polars_that_loses_filters_is_refused(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl, "__version__", "1.20.0")
    with pytest.raises(InvalidArgumentError, match="loses filters"):
        deltalite.DeltaTable(mixed).to_polars()


def test_an_empty_table(tmp_path: Path) -> None:
    table = deltalite.DeltaTable(write_parts(tmp_path / "t", MIXED, 1))
    none = table.to_polars(predicate="id = -1")
    assert none.collect().schema == TRUTH.schema
    assert none.select(pl.len()).collect().item() == 0
    assert pa.table(none.collect()).num_rows == 0
