"""VACUUM and tags where there are no directories: S3 by the tests' own server, and any file system of fsspec."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import InvalidArgumentError
from deltalite.log import pins
from deltalite.model.pins import Clone
from deltalite.storage import open_store
from deltalite.storage.fsspec import FsspecStore
from deltalite.testing.faults import CountingStore
from deltalite.testing.s3_server import S3Server

pytest.importorskip("s3fs")

NOW: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False, "dry_run": False}


def frame(*values: int) -> pa.Table:
    return pa.table({"p": ["a b%ü"] * len(values), "x": pa.array(values, pa.int64())})


def values(table: DeltaTable) -> list[int]:
    return sorted(table.to_pyarrow_table()["x"].to_pylist())


def a_second_passes() -> None:
    """S3 tells times in whole seconds: what was written within the last one is not known to be older than now."""
    time.sleep(1.1)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(params=["s3", "fsspec"])
def place(request: pytest.FixtureRequest, server: S3Server) -> dict[str, Any]:
    if request.param == "s3":
        return {"table_or_uri": f"s3://bucket/{uuid.uuid4()}", "storage_options": server.storage_options}
    path = f"/{uuid.uuid4()}"
    return {"table_or_uri": FsspecStore(fsspec.filesystem("memory"), path, f"memory://{path}", atomic=True)}


def opened(place: dict[str, Any], **more: Any) -> DeltaTable:
    return DeltaTable(place["table_or_uri"], storage_options=place.get("storage_options"), **more)


@pytest.mark.parametrize("full", [False, True], ids=["lite", "full"])
def test_vacuum_and_tags(place: dict[str, Any], full: bool) -> None:
    for value in range(4):
        write_deltalake(**place, data=frame(value), mode="overwrite", partition_by="p")
    table = opened(place)
    table.tags.create("ü/1", 1, message="kept")
    with pytest.raises(InvalidArgumentError, match="already"):
        table.tags.create("ü/1", 2)
    table._store.put("p=x/orphan.parquet", b"x")
    a_second_passes()
    assert len(table.vacuum(**{**NOW, "dry_run": True}, full=full)) == 2 + full
    result = table.vacuum(**NOW, full=full)
    assert len(result) == 2 + full and ("p=x/orphan.parquet" in result) is full and not result.directories
    assert values(table.refresh()) == [3] and values(opened(place, tag="ü/1")) == [1]
    assert [(tag.name, tag.version, tag.message) for tag in table.tags.list()] == [("ü/1", 1, "kept")]
    table.tags.delete("ü/1")
    assert len(table.vacuum(**NOW, full=full)) == 1
    assert values(opened(place)) == [3]


@pytest.mark.bug("T-57")
@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_absolute_uris_and_clones_on_s3(server: S3Server, scheme: str) -> None:
    options, name = server.storage_options, uuid.uuid4()
    source, clone = f"s3://bucket/{name}", f"s3://bucket/{name}-clone"
    for value in range(3):
        write_deltalake(source, frame(value), mode="overwrite", storage_options=options)
    table = DeltaTable(source, storage_options=options)
    add = table.at(0).get_add_actions().to_pylist()[0]
    DeltaTable.create(clone, table.schema(), storage_options=options)
    path = table.at(0).files().column("path").to_pylist()[0]
    body = {
        "path": f"{scheme}://bucket/{name}/{path}", "partitionValues": {}, "size": add["size_bytes"],
        "modificationTime": 1, "dataChange": True,
    }  # fmt: skip
    handle = DeltaTable(clone, storage_options=options)
    handle._store.put(f"_delta_log/{1:020d}.json", json.dumps({"add": body}).encode() + b"\n")
    pins.register_clone(table._store, Clone(f"{scheme}://bucket/{name}-clone", handle.metadata().id, 0, 1))
    a_second_passes()
    result = table.vacuum(**NOW, full=True)
    assert len(result) == 1 and path not in result
    assert table._store.head(path) is not None


def test_requests_are_few(server: S3Server) -> None:
    """Full: the log's files, one listing, one deletion of a thousand, two commits; nothing per file."""
    store = CountingStore(open_store(f"s3://bucket/{uuid.uuid4()}", server.storage_options))
    write_deltalake(store, frame(1))
    for n in range(60):
        store.put(f"orphan-{n}", b"x")
    a_second_passes()
    store.calls.clear()
    assert len(DeltaTable(store).vacuum(**NOW, full=True, force=True)) == 60
    assert store.count("list_all") == 1 and store.count("delete_many") == 2  # and that of the file that tells the time
    assert store.count("head") <= 2 and store.count() <= 40, [tuple(call) for call in store.calls]
