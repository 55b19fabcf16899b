"""Each of deltalite and deltalake reads what the other wrote, checkpoints included."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import pyarrow as pa
import pytest

import deltalite
from deltalite.model.paths import checkpoint_file, commit_file

deltalake = pytest.importorskip("deltalake")

UTC = dt.timezone.utc
EVERY_TYPE = pa.table(
    {
        "id": pa.array([1, 2, 3, None], pa.int64()),
        "i": pa.array([1, -(2**31), 2**31 - 1, None], pa.int32()),
        "s": pa.array([1, -(2**15), 2**15 - 1, None], pa.int16()),
        "b": pa.array([1, -128, 127, None], pa.int8()),
        "f": pa.array([1.5, float("inf"), -0.0, None], pa.float32()),
        "d": pa.array([1.5, float("nan"), -0.0, None], pa.float64()),
        "t": pa.array(["a", "", "a long text that is longer than thirty-two characters, ü", None]),
        "z": pa.array([b"a", b"", b"\x00\xff", None]),
        "o": pa.array([True, False, True, None]),
        "day": pa.array([dt.date(2026, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
        "at": pa.array([dt.datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)] * 3 + [None], pa.timestamp("us", "UTC")),
        "amount": pa.array(
            [decimal.Decimal("1.50"), decimal.Decimal("-99999999.99"), decimal.Decimal("0.00"), None], pa.decimal128(10, 2)
        ),
        "tags": pa.array([["a", None], [], ["b"], None], pa.list_(pa.string())),
        "point": pa.array([{"x": 1, "y": None}, {"x": None, "y": "q"}, {"x": 3, "y": "r"}, None]),
        "props": pa.array([[("k", 1)], [], [("a", None), ("b", 2)], None], pa.map_(pa.string(), pa.int64())),
        "p": pa.array(["x", "a/b c%", "ü", None]),
    }
)


def rows(table: pa.Table) -> list[tuple]:
    return sorted(map(repr, (tuple(r.values()) for r in table.to_pylist())))


def via_deltalake(path: Path) -> pa.Table:
    return pa.table(deltalake.DeltaTable(path).to_pyarrow_dataset().to_table())


@pytest.mark.parametrize("partition_by", [None, ["p"], ["p", "day"]])
def test_deltalake_reads_every_type_that_we_write(tmp_path: Path, partition_by: list[str] | None) -> None:
    deltalite.write_deltalake(tmp_path / "t", EVERY_TYPE, partition_by=partition_by)
    theirs = via_deltalake(tmp_path / "t").select(EVERY_TYPE.column_names)
    assert rows(theirs) == rows(EVERY_TYPE)


@pytest.mark.parametrize("partition_by", [None, ["p"], ["p", "day"]])
def test_we_read_every_type_that_deltalake_writes(tmp_path: Path, partition_by: list[str] | None) -> None:
    deltalake.write_deltalake(tmp_path / "t", EVERY_TYPE, partition_by=partition_by)
    ours = deltalite.DeltaTable(tmp_path / "t").to_pyarrow_table(columns=EVERY_TYPE.column_names)
    assert rows(ours) == rows(EVERY_TYPE)


def test_both_append_in_turn(tmp_path: Path) -> None:
    part = EVERY_TYPE.select(["id", "t", "p"])
    for turn in range(6):
        writer = (deltalite, deltalake)[turn % 2]
        writer.write_deltalake(tmp_path / "t", part, mode="append", partition_by=["p"])
    ours, theirs = deltalite.DeltaTable(tmp_path / "t").to_pyarrow_table(), via_deltalake(tmp_path / "t")
    assert rows(ours.select(["id", "t", "p"])) == rows(theirs.select(["id", "t", "p"]))
    assert ours.num_rows == 6 * part.num_rows


@pytest.mark.parametrize("struct", ["true", "false"])
def test_deltalake_reads_our_checkpoint_when_the_commits_are_gone(tmp_path: Path, struct: str) -> None:
    config = {"delta.checkpoint.writeStatsAsStruct": struct}
    place = tmp_path / "t"
    deltalite.write_deltalake(place, EVERY_TYPE, partition_by=["p"], configuration=config)
    deltalite.write_deltalake(place, EVERY_TYPE, mode="append")
    table = deltalite.DeltaTable(place)
    table.create_checkpoint()
    assert (place / checkpoint_file(1)).exists()
    (place / commit_file(0)).unlink()
    assert rows(via_deltalake(place).select(EVERY_TYPE.column_names)) == rows(pa.concat_tables([EVERY_TYPE] * 2))
    assert rows(deltalite.DeltaTable(place).to_pyarrow_table(columns=EVERY_TYPE.column_names)) == rows(
        pa.concat_tables([EVERY_TYPE] * 2)
    )


def test_we_read_the_checkpoint_of_deltalake_when_the_commits_are_gone(tmp_path: Path) -> None:
    place = tmp_path / "t"
    for _ in range(3):
        deltalake.write_deltalake(place, EVERY_TYPE, mode="append", partition_by=["p"])
    deltalake.DeltaTable(place).create_checkpoint()
    for version in range(2):
        (place / commit_file(version)).unlink()
    ours = deltalite.DeltaTable(place).to_pyarrow_table(columns=EVERY_TYPE.column_names)
    assert rows(ours) == rows(pa.concat_tables([EVERY_TYPE] * 3))


def test_deltalake_skips_files_by_our_statistics(tmp_path: Path) -> None:
    place = tmp_path / "t"
    for start in (0, 100, 200):
        data = pa.table({"id": pa.array(range(start, start + 100), pa.int64()), "t": [f"row {i:05d}" for i in range(100)]})
        deltalite.write_deltalake(place, data, mode="append")
    table = deltalake.DeltaTable(place)
    assert table.get_add_actions(flatten=True) is not None
    found = pa.table(table.to_pyarrow_dataset().to_table(filter=pa.compute.field("id") == 150))
    assert found.num_rows == 1


def test_in_deltalakes_place(tmp_path: Path) -> None:
    """The calls that polars, Dagster and friends make, under both names, give the same answers."""
    answers = []
    for library in (deltalake, deltalite):
        place = tmp_path / library.__name__
        library.write_deltalake(place, EVERY_TYPE.select(["id", "t", "p"]), partition_by="p", name="n", description="d")
        table = library.DeltaTable(str(place))
        answers.append(
            (
                table.version(),
                table.metadata().name,
                table.metadata().description,
                table.metadata().partition_columns,
                sorted(map(repr, table.partitions())),
                len(table.file_uris()),
                [f.name for f in table.schema().fields],
                table.schema().to_json(),
                table.protocol().min_reader_version,
                table.protocol().min_writer_version,
                len(table.history()),
                table.count(),
                table.to_pandas().shape,
                library.DeltaTable.is_deltatable(str(place)),
                library.DeltaTable.is_deltatable(str(tmp_path)),
            )
        )
    assert answers[0] == answers[1]
