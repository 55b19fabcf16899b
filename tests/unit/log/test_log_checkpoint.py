"""What checkpoints hold, column by column, and that other engines read them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_model import DictStore, lines, log_of, metadata, simple_commit, state_of, with_checkpoint

from deltalite import features
from deltalite.exceptions import UnsupportedFeatureError
from deltalite.log import checkpoint, indexed, last_checkpoint, parsed, read, write
from deltalite.model.config import TableConfig
from deltalite.model.paths import LAST_CHECKPOINT, LOG, SIDECARS, checkpoint_file, commit_file
from deltalite.model.snapshot import Totals
from deltalite.model.stats import parse_stats
from deltalite.storage.local import LocalStore

deltalake = pytest.importorskip("deltalake")
DAY = 86_400_000
PROTOCOL = {"minReaderVersion": 1, "minWriterVersion": 2}


def field(name: str, kind: object, **more: object) -> dict:
    return {"name": name, "type": kind, "nullable": True, "metadata": more}


def schema(*fields: dict) -> str:
    return json.dumps({"type": "struct", "fields": list(fields)})


def first(protocol: dict = PROTOCOL, **changes: object) -> bytes:
    return lines({"protocol": protocol}, {"metaData": metadata(**changes)})


def add(path: str, **more: object) -> dict:
    return {"add": {"path": path, "partitionValues": {"day": "x"}, "size": 1, "modificationTime": 1,
                    "dataChange": True, **more}}  # fmt: skip


def remove(path: str, **more: object) -> dict:
    return {"remove": {"path": path, "dataChange": True, **more}}


def rows(store: DictStore, version: int, kind: str) -> list[dict]:
    table = pq.read_table(pa.BufferReader(store.objects[checkpoint_file(version)]))
    return [row for row in table.column(kind).to_pylist() if row is not None]


def written(*commits: bytes, now_ms: int = 0) -> DictStore:
    store = log_of(*commits)
    write.put_checkpoint(store, read.read_snapshot(store), now_ms)
    return store


# -- content -----------------------------------------------------------------------------------------------------


@pytest.mark.trap(48)
def test_a_row_has_exactly_one_action_and_no_dummy_structs() -> None:
    store = written(first(), lines(add("f"), remove("g", deletionTimestamp=5), {"txn": {"appId": "a", "version": 1}}))
    table = pq.read_table(pa.BufferReader(store.objects[checkpoint_file(1)]))
    for row in table.to_pylist():
        assert sum(value is not None for value in row.values()) == 1
    assert rows(store, 1, "add")[0]["deletionVector"] is None
    for f in table.schema:
        assert f.nullable
        assert all(child.nullable for child in f.type)


@pytest.mark.trap(47)
def test_adds_keep_everything_and_removes_no_statistics() -> None:
    vector = {"storageType": "u", "pathOrInlineDv": "x", "offset": 1, "sizeInBytes": 2, "cardinality": 3}
    full = add("f", stats='{"numRecords":1}', tags={"k": "v", "n": None}, deletionVector=vector, baseRowId=7,
               defaultRowCommitVersion=8, clusteringProvider="c")["add"]  # fmt: skip
    gone = remove("g", deletionTimestamp=5, extendedFileMetadata=True, partitionValues={"day": None}, size=3,
                  stats='{"numRecords":1}', tags={"k": "v"}, deletionVector=vector, baseRowId=1)  # fmt: skip
    store = written(first(), lines({"add": full}, gone))
    (found,) = rows(store, 1, "add")
    assert dict(found["tags"]) == full["tags"]
    assert {k: v for k, v in found["deletionVector"].items() if v is not None} == vector
    assert (found["baseRowId"], found["defaultRowCommitVersion"], found["clusteringProvider"]) == (7, 8, "c")
    assert found["dataChange"] is False
    (tombstone,) = rows(store, 1, "remove")
    assert not {"stats", "tags"} & set(tombstone)
    assert (tombstone["deletionTimestamp"], tombstone["size"]) == (5, 3)
    assert dict(tombstone["partitionValues"]) == {"day": None}


@pytest.mark.trap(19)
@pytest.mark.trap(47)
def test_expired_tombstones_are_dropped() -> None:
    now = 100 * DAY
    week = now - 7 * DAY
    commits = first(), lines(remove("old", deletionTimestamp=week - 1), remove("edge", deletionTimestamp=week),
                             remove("new", deletionTimestamp=now), remove("timeless"))  # fmt: skip
    assert sorted(r["path"] for r in rows(written(*commits, now_ms=now), 1, "remove")) == ["edge", "new"]
    longer = first(configuration={"delta.deletedFileRetentionDuration": "interval 8 days"}), commits[1]
    assert len(rows(written(*longer, now_ms=now), 1, "remove")) == 3


@pytest.mark.trap(23)
def test_expired_transactions_are_dropped_only_when_the_table_says_so() -> None:
    now = 100 * DAY
    marks = [{"txn": {"appId": "old", "version": 1, "lastUpdated": now - DAY}},
             {"txn": {"appId": "new", "version": 1, "lastUpdated": now - DAY + 1}},
             {"txn": {"appId": "timeless", "version": 1}}]  # fmt: skip
    assert len(rows(written(first(), lines(*marks), now_ms=now), 1, "txn")) == 3
    forgetful = first(configuration={"delta.setTransactionRetentionDuration": "interval 1 day"})
    found = rows(written(forgetful, lines(*marks), now_ms=now), 1, "txn")
    assert sorted(t["appId"] for t in found) == ["new", "timeless"]


@pytest.mark.trap(24)
def test_removed_domains_are_not_checkpointed() -> None:
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["domainMetadata"]}
    store = written(first(protocol), lines({"domainMetadata": {"domain": "a", "configuration": "", "removed": False}},
                                           {"domainMetadata": {"domain": "b", "configuration": "", "removed": False}}),
                    lines({"domainMetadata": {"domain": "a", "configuration": "", "removed": True}}))  # fmt: skip
    assert [d["domain"] for d in rows(store, 2, "domainMetadata")] == ["b"]


@pytest.mark.trap(29)
@pytest.mark.trap(48)
@pytest.mark.parametrize(("protocol", "expected"), [
    ({"minReaderVersion": 1, "minWriterVersion": 2}, (None, None)),
    ({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly"]}, (None, ["appendOnly"])),
    ({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [], "writerFeatures": []}, ([], [])),
    ({"minReaderVersion": 3, "minWriterVersion": 7}, ([], [])),
])  # fmt: skip
def test_feature_lists_are_null_exactly_below_versions_3_and_7(protocol: dict, expected: tuple) -> None:
    (found,) = rows(written(first(protocol)), 0, "protocol")
    assert (found["readerFeatures"], found["writerFeatures"]) == expected


@pytest.mark.trap(49)
@pytest.mark.parametrize("as_json", ["true", "false", None])
@pytest.mark.parametrize("as_struct", ["true", "false", None])
@pytest.mark.parametrize("partitioned", [True, False])
def test_statistics_as_the_table_asks_for_them(as_json: str | None, as_struct: str | None, partitioned: bool) -> None:
    names = {"delta.checkpoint.writeStatsAsJson": as_json, "delta.checkpoint.writeStatsAsStruct": as_struct}
    configuration = {name: value for name, value in names.items() if value is not None}
    stats = '{"numRecords":3,"minValues":{"id":1},"maxValues":{"id":9},"nullCount":{"id":0}}'
    columns = ["day"] if partitioned else []
    store = written(first(configuration=configuration, partitionColumns=columns), lines(add("f", stats=stats)))
    (found,) = rows(store, 1, "add")
    assert ("stats" in found) == (as_json != "false")
    assert ("stats_parsed" in found) == (as_struct != "false")
    assert ("partitionValues_parsed" in found) == (as_struct != "false" and partitioned)
    if "stats" in found:
        assert found["stats"] == stats
    if "stats_parsed" in found:
        assert (found["stats_parsed"]["numRecords"], found["stats_parsed"]["maxValues"]["id"]) == (3, 9)
    if "partitionValues_parsed" in found:
        assert found["partitionValues_parsed"] == {"day": "x"}
    again = read.read_snapshot(store).files.table(["stats"]).column("stats").to_pylist()
    if as_struct == as_json == "false":
        assert again == [None]
    else:
        assert json.loads(again[0]) == json.loads(stats)


@pytest.mark.trap(44)
@pytest.mark.trap(59)
def test_parsed_columns_go_by_physical_names() -> None:
    names = [{"delta.columnMapping.id": n, "delta.columnMapping.physicalName": f"col-{n}"} for n in (1, 2)]
    mapped = [field("id", "long", **names[0]), field("day", "date", **names[1])]
    protocol = {"minReaderVersion": 2, "minWriterVersion": 5}
    data = add("f", stats='{"numRecords":1,"minValues":{"col-1":4}}', partitionValues={"col-2": "2026-01-02"})
    store = written(first(protocol, schemaString=schema(*mapped), configuration={"delta.columnMapping.mode": "name"}),
                    lines(data))  # fmt: skip
    (found,) = rows(store, 1, "add")
    assert found["stats_parsed"]["minValues"] == {"col-1": 4}
    assert str(found["partitionValues_parsed"]["col-2"]) == "2026-01-02"
    snapshot = read.read_snapshot(store)
    assert snapshot.files.leaf("stats_parsed", "minValues", "col-1").to_pylist() == [4]
    assert snapshot.files.leaf("stats_parsed", "minValues", "id") is None


def test_parsed_columns_reach_into_the_tail() -> None:
    stats = [json.dumps({"numRecords": n, "minValues": {"id": n}, "maxValues": {"id": n}}) for n in range(6)]
    commits = [first(), *(lines(add(f"f{n}", stats=stats[n])) for n in range(6)), lines(remove("f1"), add("g"))]
    store = log_of(*commits)
    store = with_checkpoint(store, read.read_snapshot(store, 3), v2=False)
    snapshot = read.read_snapshot(store)
    assert snapshot.files.parsed_columns == {"stats_parsed", "partitionValues_parsed"}
    table = snapshot.files.table(["path", "stats_parsed", "partitionValues_parsed"])
    structs = [s and s["numRecords"] for s in table.column("stats_parsed").to_pylist()]
    assert dict(zip(table.column("path").to_pylist(), structs, strict=True)) == {
        "f0": 0, "f2": 2, "f3": 3, "f4": 4, "f5": 5, "g": None}  # fmt: skip
    assert snapshot.files.leaf("stats_parsed", "maxValues", "id").to_pylist() == [0, 2, 3, 4, 5, None]
    assert snapshot.files.leaf("partitionValues_parsed", "day").to_pylist() == ["x"] * 6
    assert snapshot.files.leaf("stats_parsed", "maxValues", "no") is None
    older = read.read_snapshot(store, 5)
    older.files.count  # noqa: B018
    assert read.update(store, older).files.leaf("stats_parsed", "numRecords").to_pylist() == [0, 2, 3, 4, 5, None]


def test_parsed_columns_follow_the_schema() -> None:
    wider = schema(field("id", "long"), field("day", "string"), field("more", "integer"))
    old = '{"numRecords":1,"minValues":{"id":1}}'
    new = '{"numRecords":1,"minValues":{"id":2,"more":3}}'
    change = {"metaData": metadata(schemaString=wider)}
    store = log_of(first(), lines(add("f", stats=old)), lines(change, add("g", stats=new)))
    for version in (1, 2):
        store = with_checkpoint(store, read.read_snapshot(store, version), v2=False)
    found = [row["stats_parsed"]["minValues"] for row in rows(store, 2, "add")]
    assert sorted(map(str, found)) == ["{'id': 1, 'more': None}", "{'id': 2, 'more': 3}"]


@pytest.mark.trap(33)
def test_no_checkpoint_of_a_version_whose_protocol_is_not_understood() -> None:
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["magic"]}
    with pytest.raises(UnsupportedFeatureError, match="magic"):
        written(first(protocol))


# -- kinds -------------------------------------------------------------------------------------------------------

V2 = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v2Checkpoint"],
      "writerFeatures": ["v2Checkpoint"]}  # fmt: skip


@pytest.mark.trap(50)
def test_v2_checkpoints_have_one_mark_and_all_files_in_sidecars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_PER_TABLE", 2)
    monkeypatch.setattr(checkpoint, "ACTIONS_PER_SIDECAR", 3)
    store = written(first(V2, configuration={"delta.checkpointPolicy": "v2"}),
                    lines(*(add(f"f{n}") for n in range(9)), remove("g", deletionTimestamp=1)))  # fmt: skip
    main = [path for path in store.objects if ".checkpoint." in path]
    assert len(main) == 2 - 1
    actions = [json.loads(line) for line in store.objects[main[0]].splitlines()]
    assert [a for a in actions if "checkpointMetadata" in a] == [{"checkpointMetadata": {"version": 1}}]
    assert not [a for a in actions if "add" in a or "remove" in a]
    named = {a["sidecar"]["path"]: a["sidecar"]["sizeInBytes"] for a in actions if "sidecar" in a}
    files = {path: data for path, data in store.objects.items() if path.startswith(SIDECARS)}
    assert {path[len(SIDECARS) :]: len(data) for path, data in files.items()} == named
    assert len(named) == 3
    for data in files.values():
        assert set(pq.read_schema(pa.BufferReader(data)).names) == {"add", "remove"}
    assert len(state_of(read.read_snapshot(store))["files"]) == 9


@pytest.mark.trap(28)
def test_the_policy_counts_only_with_its_feature() -> None:
    unlisted = {**V2, "readerFeatures": [], "writerFeatures": []}
    store = written(first(unlisted, configuration={"delta.checkpointPolicy": "v2"}))
    assert checkpoint_file(0) in store.objects


# -- the hint ----------------------------------------------------------------------------------------------------


@pytest.mark.trap(52)
def test_the_checksum_of_the_hint() -> None:
    sample = json.loads("""{"k0":"'v 0'", "checksum": "adsaskfljadfkjadfkj",
        "k1":{"k2": 2, "k3": ["v3", [1, 2], {"k4": "v4", "k5": ["v5", "v6", "v7"]}]}}""")
    assert last_checkpoint.canonical(sample) == (
        '"k0"="%27v%200%27","k1"+"k2"=2,"k1"+"k3"+0="v3","k1"+"k3"+1+0=1,"k1"+"k3"+1+1=2,"k1"+"k3"+2+"k4"="v4",'
        '"k1"+"k3"+2+"k5"+0="v5","k1"+"k3"+2+"k5"+1="v6","k1"+"k3"+2+"k5"+2="v7"'
    )
    assert last_checkpoint.checksum(sample) == "6a92d155a59bf2eecbd4b4ec7fd1f875"
    name = '"%C3%A9~-._"'
    found = last_checkpoint.canonical({"é~-._": [None, True, 1.5], "A": {}})
    assert found == f"{name}+0=null,{name}+1=true,{name}+2=1.5"


def test_the_hint_says_what_was_written() -> None:
    store = written(first(), lines(add("f"), add("g"), remove("h", deletionTimestamp=1)))
    hint = json.loads(store.objects[LAST_CHECKPOINT])
    assert hint.pop("checksum") == last_checkpoint.checksum(hint)
    assert hint == {"version": 1, "size": 5, "sizeInBytes": len(store.objects[checkpoint_file(1)]), "numOfAddFiles": 2}
    assert last_checkpoint.parse(store.objects[LAST_CHECKPOINT]) == 1


def test_a_checkpoint_leaves_the_checksum_that_nobody_could_write_before() -> None:
    store = written(first(), lines(add("f"), add("g", size=41)))
    opened = read.read_snapshot(store)
    assert (opened.totals, opened.checkpoint_version) == (Totals(2, 42), 1)


@pytest.mark.bug("T-45")
def test_the_hint_never_goes_back() -> None:
    store = log_of(*[simple_commit(v) for v in range(6)])
    features_ok = read.read_snapshot(store)
    assert features_ok.version == 5
    protocol = lines({"protocol": PROTOCOL}, {"metaData": metadata()})
    store.objects[commit_file(0)] = protocol
    for version, expected in ((2, 2), (5, 5), (3, 5)):
        write.put_checkpoint(store, read.read_snapshot(store, version), 0)
        assert json.loads(store.objects[LAST_CHECKPOINT])["version"] == expected
    store.put(LAST_CHECKPOINT, b'{"version":77}')
    write.put_checkpoint(store, read.read_snapshot(store), 0)
    assert json.loads(store.objects[LAST_CHECKPOINT])["version"] == 5


# -- columns that have statistics ----------------------------------------------------------------------------------


@pytest.mark.trap(43)
@pytest.mark.parametrize(("configuration", "expected"), [
    ({}, ["id", "s.a", "s.b", "l", "more.x"]),
    ({"delta.dataSkippingNumIndexedCols": "2"}, ["id", "s.a"]),
    ({"delta.dataSkippingNumIndexedCols": "-1"}, ["id", "s.a", "s.b", "l", "more.x"]),
    ({"delta.dataSkippingNumIndexedCols": "0"}, []),
    ({"delta.dataSkippingStatsColumns": "S, `more.x`", "delta.dataSkippingNumIndexedCols": "0"},
     ["s.a", "s.b", "more.x"]),
    ({"delta.dataSkippingStatsColumns": "s.b"}, ["s.b"]),
])  # fmt: skip
def test_which_columns_have_statistics(configuration: dict, expected: list[str]) -> None:
    inner = {"type": "struct", "fields": [field("a", "long"), field("b", "string")]}
    array = {"type": "array", "elementType": "long", "containsNull": True}
    plain = field("id", "long"), field("day", "string")
    text = schema(*plain, field("s", inner), field("l", array), field("more.x", "date"))
    snapshot = read.read_snapshot(log_of(first(schemaString=text, configuration=configuration)))
    config: TableConfig = snapshot.config
    found = indexed.stats_paths(config, features.physical_schema(config))
    assert [".".join(path) for path in found] == expected


# -- statistics as text ------------------------------------------------------------------------------------------


def test_columns_to_text_and_back() -> None:
    kind = pa.struct([("numRecords", pa.int64()), ("tightBounds", pa.bool_()), ("minValues", pa.struct([
        ("i", pa.int8()), ("s", pa.string()), ("d", pa.decimal128(38, 4)), ("t", pa.timestamp("us", "UTC")),
        ("n", pa.timestamp("us")), ("dt", pa.date32()), ("f", pa.float64()), ('q"\\', pa.int64()),
        ("inner", pa.struct([("x", pa.float32())]))]))])  # fmt: skip
    texts = [
        '{"numRecords":3,"tightBounds":true,"minValues":{"i":-128,"s":"x\\"\\\\\\u0001\\u2028é","d":12345678901234567890123456'
        '78901234.5678,"t":"2020-01-01T00:00:00.123Z","n":"2020-01-01T00:00:00.123456","dt":"0001-02-01","f":1.5e300,'
        '"q\\"\\\\":1,"inner":{"x":0.1}}}',
        None,
        '{"numRecords":0}',
        '{"numRecords":1,"minValues":{"t":"1969-12-31T23:59:59.999Z","s":""}}',
    ]  # fmt: skip
    structs = parse_stats(pa.chunked_array([pa.array(texts)]), kind)
    again = parsed.stats_text(structs)
    assert [t and json.loads(t, parse_float=Decimal) for t in again.to_pylist()] == [
        t and json.loads(t, parse_float=Decimal) for t in texts]  # fmt: skip
    assert parse_stats(again, kind).equals(structs)


@pytest.mark.trap(42)
def test_what_json_cannot_say_is_left_out() -> None:
    structs = pa.chunked_array([pa.array([{"minValues": {"f": f}} for f in (float("nan"), float("inf"), 1.0)])])
    assert parsed.stats_text(structs).to_pylist() == ['{"minValues":{}}', '{"minValues":{}}', '{"minValues":{"f":1}}']


# -- other engines -----------------------------------------------------------------------------------------------


def rows_by_deltalake(path: str, where: str = "true") -> list[dict]:
    query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute(f"select * from t where {where}")
    return sorted(pa.table(query.read_all()).to_pylist(), key=str)


@pytest.mark.parametrize("policy", ["classic", "v2"])
@pytest.mark.parametrize("as_struct", ["true", "false"])
def test_other_engines_read_our_checkpoints(tmp_path: Path, policy: str, as_struct: str) -> None:
    path = str(tmp_path / "t")
    for n in range(4):
        times = pa.array([n, n], pa.timestamp("us", "UTC"))
        data = pa.table({"id": [n, n + 10], "day": [f"{n % 2} ä/%", None], "t": times})
        deltalake.write_deltalake(path, data, mode="append", partition_by=["day"],
                                  configuration={"delta.checkpoint.writeStatsAsStruct": as_struct})  # fmt: skip
    deltalake.DeltaTable(path).delete("id = 11")
    if policy == "v2":
        actions = [json.loads(line) for line in (tmp_path / "t" / commit_file(0)).read_text().splitlines()]
        held = next(action["metaData"] for action in actions if "metaData" in action)
        held["configuration"]["delta.checkpointPolicy"] = "v2"
        (tmp_path / "t" / commit_file(5)).write_bytes(lines({"protocol": V2}, {"metaData": held}))
    expected, selected = rows_by_deltalake(path), rows_by_deltalake(path, "id > 10")
    store = LocalStore(path, durability="relaxed")
    snapshot = read.read_snapshot(store)
    write.put_checkpoint(store, snapshot, 0)
    assert any(store.list_from(SIDECARS)) == (policy == "v2")
    for version in range(snapshot.version):
        (tmp_path / "t" / commit_file(version)).unlink()
    assert deltalake.DeltaTable(path).version() == snapshot.version
    assert rows_by_deltalake(path) == expected
    assert rows_by_deltalake(path, "id > 10") == selected
    assert state_of(read.read_snapshot(store)) == state_of(snapshot)
    if policy == "classic":  # what polars and deltalake's writer do not support otherwise
        polars = pytest.importorskip("polars")
        assert sorted(polars.scan_delta(path).collect().to_arrow().to_pylist(), key=str) == expected
        more = pa.table({"id": [99], "day": ["z"], "t": pa.array([0], pa.timestamp("us", "UTC"))})
        deltalake.write_deltalake(path, more, mode="append")
        assert read.update(store, snapshot).files.count == snapshot.files.count + 1


def test_we_read_checkpoints_of_deltalake(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    for n in range(3):
        deltalake.write_deltalake(path, pa.table({"id": [n], "day": [str(n)]}), mode="append", partition_by=["day"])
    store = LocalStore(path)
    before = state_of(read.read_snapshot(store))
    deltalake.DeltaTable(path).create_checkpoint()
    for version in range(3):
        (tmp_path / "t" / commit_file(version)).unlink()
    assert state_of(read.read_snapshot(store)) == before
    assert (tmp_path / "t" / LOG).exists()
