"""The handle: what it says of the table, how it travels between versions, threads and processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import (
    InvalidArgumentError,
    TableExistsError,
    TableNotFoundError,
    TimestampOutOfRangeError,
    VersionNotFoundError,
)

ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "kind": ["a", "b", None]})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_deltalake(tmp_path / "t", ROWS, partition_by="kind", name="things", description="a few")
    write_deltalake(tmp_path / "t", ROWS, mode="append")
    return tmp_path / "t"


def test_repr_says_what_the_table_is(place: Path) -> None:
    text = repr(DeltaTable(place))
    for part in ("version=1", "2 columns", "6 files", str(place)):
        assert part in text
    card = DeltaTable(place)._repr_html_()
    for part in ("things", "kind", "long", "version"):
        assert part in card


def test_html_escapes_what_the_table_says(tmp_path: Path) -> None:
    DeltaTable.create(tmp_path / "t", "a int COMMENT '<script>'", name="<b>")
    card = DeltaTable(tmp_path / "t")._repr_html_()
    assert "<script>" not in card and "<b><b>" not in card


@pytest.mark.parametrize("version", [0, "0", "v0"])
def test_versions(place: Path, version: Any) -> None:
    assert DeltaTable(place, version=version).count() == 3
    table = DeltaTable(place)
    assert table.at(version).version() == 0 and table.version() == 1
    table.load_as_version(version)
    assert table.version() == 0
    assert table.refresh() is table and table.version() == 1


@pytest.mark.parametrize("version", [2, 999, -1, 2**70])
def test_a_version_that_is_not_there_names_the_range(place: Path, version: int) -> None:
    with pytest.raises(VersionNotFoundError) as caught:
        DeltaTable(place, version=version)
    assert caught.value.available == (0, 1)
    assert isinstance(caught.value, LookupError)


def test_times(place: Path) -> None:
    table = DeltaTable(place)
    first, last = table.at(0).timestamp(), table.timestamp()
    for form in (first, first.isoformat(), first.isoformat().replace("+00:00", "Z"), first.replace(tzinfo=None)):
        assert table.at(timestamp=form).version() == 0
        assert DeltaTable(place, timestamp=form).version() == 0
        assert DeltaTable(place, version=form).version() == 0
    elsewhere = last.astimezone(dt.timezone(dt.timedelta(hours=-8)))
    assert table.at(timestamp=elsewhere).version() == 1
    for outside in ("1999-12-31", dt.date(2100, 1, 1), last + dt.timedelta(days=1)):
        with pytest.raises(TimestampOutOfRangeError) as caught:
            table.at(timestamp=outside)
        assert caught.value.available
    assert table.at(timestamp="1999-12-31", clamp=True).version() == 0
    assert table.at(timestamp="2100-01-01", clamp=True).version() == 1


def test_what_makes_no_sense_is_said(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="not both"):
        DeltaTable(place, version=1, timestamp="2026-01-01")
    with pytest.raises(InvalidArgumentError, match="neither a version nor a time"):
        DeltaTable(place, version="yesterday")
    with pytest.raises(TableNotFoundError) as caught:
        DeltaTable(tmp_path / "nothing")
    assert isinstance(caught.value, FileNotFoundError) and caught.value.hint
    with pytest.raises(TableExistsError):
        write_deltalake(place, ROWS)
    with pytest.raises(TableExistsError):
        DeltaTable.create(place, "a int")
    assert write_deltalake(place, ROWS, mode="ignore").skipped
    assert not DeltaTable.is_deltatable(tmp_path / "nothing")


@pytest.mark.parametrize("secret", ["AWS_SECRET_ACCESS_KEY", "aws_session_token"])
def test_pickles_carry_no_secret(place: Path, secret: str) -> None:
    table = DeltaTable(place)
    again = pickle.loads(pickle.dumps(table))
    assert again == table and again.count() == 6
    canary = f"canary-{uuid.uuid4()}"
    with_options = DeltaTable(place, storage_options={secret: canary})
    assert canary.encode() not in pickle.dumps(with_options)
    assert canary not in repr(with_options)


def test_a_pickle_keeps_its_version(place: Path) -> None:
    sent = pickle.dumps(DeltaTable(place, version=0))
    write_deltalake(place, ROWS, mode="append")
    assert pickle.loads(sent).version() == 0


def test_tasks_are_picklable(place: Path) -> None:
    tasks = DeltaTable(place).plan_scan(["id"], "kind = 'a'")
    assert len(tasks) == 2
    assert pickle.loads(pickle.dumps(tasks)) == tasks


def test_many_threads_share_a_handle(place: Path) -> None:
    table = DeltaTable(place)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: table.to_pyarrow_table(filters="id > 1").num_rows, range(32)))
    assert counts == [4] * 32


def test_in_the_executors_of_asyncio(place: Path) -> None:
    async def read() -> list[int]:
        loop = asyncio.get_running_loop()
        table = DeltaTable(place)
        return await asyncio.gather(*(loop.run_in_executor(None, table.count) for _ in range(8)))

    assert asyncio.run(read()) == [6] * 8


def _count(table: DeltaTable) -> int:
    return table.to_pyarrow_table().num_rows


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork(place: Path) -> None:
    table = DeltaTable(place)
    assert table.count() == 6
    code = textwrap.dedent(
        f"""
        import os, sys
        from deltalite import DeltaTable
        table = DeltaTable({str(place)!r})
        assert table.to_pyarrow_table().num_rows == 6
        pid = os.fork()
        if pid == 0:
            ok = table.to_pyarrow_table(filters="id = 1").num_rows == 2 and table.refresh().version() == 1
            os._exit(0 if ok else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_in_spawned_processes(place: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        assert pool.map(_count, [DeltaTable(place)] * 2) == [6, 6]


def test_metadata_and_protocol(place: Path) -> None:
    table = DeltaTable(place)
    assert (table.metadata().name, table.metadata().description) == ("things", "a few")
    assert table.metadata().partition_columns == ["kind"]
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 2)
    detail = table.detail()
    assert detail["num_files"] == 6 and detail["num_records"] == 6 and detail["version"] == 1
    assert {f"{p['kind']}" for p in table.partitions()} == {"a", "b", "None"}
    assert len(table.file_uris()) == 6 and len(table.file_uris([("kind", "=", "a")])) == 2


def test_history_is_newest_first_and_limited(place: Path) -> None:
    entries = DeltaTable(place).history()
    assert [e["version"] for e in entries] == [1, 0]
    assert entries[0]["operation"] == "WRITE" and entries[0]["timestamp"] >= entries[1]["timestamp"]
    assert len(DeltaTable(place).history(1)) == 1
    assert len(DeltaTable(place, version=0).history()) == 1


def test_properties(place: Path) -> None:
    table = DeltaTable(place)
    table.alter.set_table_properties({"owner": "me", "delta.appendOnly": "true"})
    assert table.properties() == {"owner": "me", "delta.appendOnly": "true"}
    with pytest.raises(InvalidArgumentError, match="only takes appends"):
        table.overwrite(ROWS)
    assert table.append(ROWS).version == 3
    table.alter.unset_table_properties(["delta.appendonly"])
    assert table.properties() == {"owner": "me"}
    with pytest.raises(InvalidArgumentError, match=r"delta\.appendOnly"):
        table.alter.set_table_properties({"delta.appendOnyl": "true"})
    with pytest.raises(InvalidArgumentError, match="not set"):
        table.alter.unset_table_properties(["nothing"])


def test_in_commit_timestamps_are_enabled_and_travelled(place: Path) -> None:
    table = DeltaTable(place)
    table.alter.set_table_properties({"delta.enableInCommitTimestamps": "true"})
    assert table.properties()["delta.inCommitTimestampEnablementVersion"] == "2"
    table.append(ROWS)
    for commit in (place / "_delta_log").glob("*.json"):
        os.utime(commit, (0, 0))
    fresh = DeltaTable(place)
    assert fresh.timestamp() == table.timestamp()
    assert fresh.at(timestamp=fresh.timestamp()).version() == 3


def test_nothing_heavy_is_imported(place: Path) -> None:
    code = textwrap.dedent(
        f"""
        import sys
        import deltalite
        assert "pyarrow" not in sys.modules
        table = deltalite.DeltaTable({str(place)!r})
        table.history(); table.count(); table.files(); table.detail(); repr(table)
        rows = table.to_pyarrow_table(filters="id > 1 AND kind = 'b'")
        table.append(rows)
        heavy = [m for m in ("pandas", "polars", "duckdb", "pyarrow.dataset", "pyarrow.acero") if m in sys.modules]
        assert not heavy, heavy
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_variants_as_text_on_request(tmp_path: Path) -> None:
    """A table with a variant column, written by hand: this library reads variants and does not write them."""
    import pyarrow.parquet as pq

    from deltalite.model.actions import AddFile, Metadata, Protocol
    from deltalite.model.codec import encode_commit
    from deltalite.model.types import Field, Schema

    place = tmp_path / "t"
    (place / "_delta_log").mkdir(parents=True)
    empty, true, seven = b"\x01\x00\x00", b"\x04", b"\x0c\x07"
    kind = pa.struct([pa.field("metadata", pa.binary(), False), pa.field("value", pa.binary(), False)])
    values = [{"metadata": empty, "value": true}, {"metadata": empty, "value": seven}, None]
    pq.write_table(pa.table({"v": pa.array(values, kind), "inside": pa.array([[v] for v in values], pa.list_(kind))}), place / "f.parquet")
    schema = Schema([Field("v", "variant"), Field.from_json('{"name":"inside","type":{"type":"array","elementType":"variant","containsNull":true},"nullable":true,"metadata":{}}')])
    size = (place / "f.parquet").stat().st_size
    features = ("variantType",)
    actions = [Protocol(3, 7, features, features), Metadata("id", schema.to_json()), AddFile("f.parquet", {}, size, 0, True)]
    (place / "_delta_log" / f"{0:020d}.json").write_bytes(encode_commit(actions))
    table = DeltaTable(place)
    assert table.scan(["v"], variants="json").read_all()["v"].to_pylist() == ["true", "7", None]
    assert table.scan(["v"]).read_all()["v"].to_pylist()[1] == {"metadata": empty, "value": seven}
    with pytest.raises(InvalidArgumentError, match="inside"):
        table.scan(variants="json")
    with pytest.raises(InvalidArgumentError, match="struct"):
        table.scan(["v"], variants="xml")
