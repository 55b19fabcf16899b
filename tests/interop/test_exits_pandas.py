"""to_pandas: what deltalake's frames are, and the guard before frames that do not fit."""

from __future__ import annotations

from pathlib import Path

import deltalake
import pandas as pd
import pyarrow as pa
import pytest
from exits_tables import MIXED, numbers, watched, write_parts
from pandas.testing import assert_frame_equal

import deltalite
from deltalite.exceptions import InvalidArgumentError
from deltalite.interop import pandas as exit_


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("mixed") / "t", MIXED, 1)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers(tmp_path_factory.mktemp("counted") / "t")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"columns": ["s", "id"]},
        {"filters": [("id", ">", 3)]},
        {"filters": [[("id", "=", 3)], [("s", "=", "zz")]], "columns": ["at", "d"]},
        {"types_mapper": pd.ArrowDtype},
        {"types_mapper": {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype()}.get},
    ],
    ids=["all", "columns", "filter", "filters", "arrow types", "nullable types"],
)
def test_frames_are_those_of_deltalake(mixed: Path, arguments: dict) -> None:
    ours = deltalite.DeltaTable(mixed).to_pandas(**arguments)
    theirs = deltalake.DeltaTable(mixed).to_pandas(**arguments)
    assert ours.dtypes.to_dict() == theirs.dtypes.to_dict()
    assert_frame_equal(ours, theirs)


def test_frames_are_those_of_deltalake_over_partitions(tmp_path: Path) -> None:
    path = write_parts(tmp_path / "t", MIXED, 4, partition_by=["p"])
    ours = deltalite.DeltaTable(path).to_pandas().sort_values(["id", "s"], ignore_index=True)
    theirs = deltalake.DeltaTable(path).to_pandas().sort_values(["id", "s"], ignore_index=True)
    assert_frame_equal(ours, theirs)
    none = deltalite.DeltaTable(path).to_pandas(filters=[("id", "=", -1)])
    assert none.dtypes.to_dict() == deltalake.DeltaTable(path).to_pandas(filters=[("id", "=", -1)]).dtypes.to_dict()


def test_frames_can_be_changed(counted: Path) -> None:
    frame = deltalite.DeltaTable(counted).to_pandas()
    frame.loc[0, "id"] = 77
    frame["half"] += 1
    assert frame["id"].iloc[0] == 77


def test_a_frame_that_cannot_fit_is_refused_unread(counted: Path) -> None:
    table, store = watched(counted)
    with pytest.raises(InvalidArgumentError, match="at least") as found:
        table.to_pandas(max_bytes=1000)
    assert not store.data_files()
    for way in ("scan()", "to_polars()", "columns=", "filters="):
        assert way in str(found.value)
    assert found.value.limit == 1000


def test_a_frame_that_grows_too_large_is_refused_on_the_way(counted: Path) -> None:
    table, store = watched(counted)
    with pytest.raises(InvalidArgumentError, match="more than"):
        table.to_pandas(max_bytes=90_000)
    assert store.data_files()
    with pytest.raises(InvalidArgumentError, match="more than"):
        table.to_pandas(filters=[("id", ">=", 0)], max_bytes=1000)


def test_what_fits_is_read(counted: Path) -> None:
    table = deltalite.DeltaTable(counted)
    assert len(table.to_pandas(max_bytes=10**6)) == 4000
    assert len(table.to_pandas(columns=["id"], max_bytes=33_000)) == 4000
    assert len(table.to_pandas(filters=[("id", "<", 10)], max_bytes=1000)) == 10


def test_the_usual_limit_is_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exit_, "_free_memory", lambda: 1000)
    monkeypatch.setattr(exit_, "_free_in_cgroup", lambda: 400)
    assert exit_._default_limit() == 200
    monkeypatch.setattr(exit_, "_free_in_cgroup", lambda: None)
    assert exit_._default_limit() == 500
    monkeypatch.setattr(exit_, "_free_memory", lambda: None)
    assert exit_._default_limit() is None


def test_free_memory_is_known_here() -> None:
    free = exit_._free_memory()
    assert free is None or 2**20 < free < 2**50


def test_the_least_that_a_row_takes() -> None:
    schema = pa.schema(
        [
            ("a", pa.int64()),
            ("s", pa.string()),
            ("n", pa.null()),
            ("st", pa.struct([("x", pa.int32()), ("l", pa.list_(pa.int8()))])),
            ("o", pa.bool_()),
        ]
    )
    assert exit_.least_bytes(schema) == 8 + 4 + 0 + (4 + 4) + 1 / 8
