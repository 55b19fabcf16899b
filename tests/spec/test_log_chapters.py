"""The examples of PROTOCOL.md about the log, as they stand there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "log"))
from log_model import PROTOCOL, DictStore, lines, log_of, metadata

from deltalite.log import read, segment
from deltalite.model.paths import LOG, SIDECARS, checkpoint_file, commit_file, compaction_file, parse_log_name
from deltalite.storage.base import FileMeta


def add(path: str) -> dict:
    return {"add": {"path": path, "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": True}}


def remove(path: str) -> dict:
    return {"remove": {"path": path, "dataChange": True}}


def paths(store: DictStore, version: int | None = None) -> list[str]:
    return sorted(read.read_snapshot(store, version).files.table(["path"]).column("path").to_pylist())


@pytest.mark.spec("File Types")
def test_names_of_log_files() -> None:
    names = {
        "00000000000000000042.json": ("commit", 42),
        "00000000000000000042.crc": ("crc", 42),
        "00000000000000000042.checkpoint.parquet": ("checkpoint", 42),
        "00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json": ("checkpoint", 10),
        "00000000000000000020.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet": ("checkpoint", 20),
        "00000000000000000010.checkpoint.0000000001.0000000003.parquet": ("checkpoint", 10),
        "00000000000000000004.00000000000000000006.compacted.json": ("compaction", 4),
    }
    for name, expected in names.items():
        found = parse_log_name(name)
        assert found is not None and (found.kind, found.version) == expected
    for name in ("_last_checkpoint", "00000000000000000000.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
                 "00000000000000000006.00000000000000000004.compacted.json", "42.json",
                 "00000000000000000010.checkpoint.0000000000.0000000003.parquet",
                 "00000000000000000010.checkpoint.0000000004.0000000003.parquet"):  # fmt: skip
        assert parse_log_name(name) is None


@pytest.mark.spec("Checkpoints")
def test_a_table_after_metadata_cleanup() -> None:
    """The overview's listing: a checkpoint at 42, the commits 42 to 45, and nothing below."""
    names = [commit_file(v) for v in range(42, 46)] + [checkpoint_file(42)]
    found = segment.build(segment.sort_out(FileMeta(name, 1, 1) for name in names))
    assert found is not None
    assert (found.version, found.checkpoints[0].version) == (45, 42)
    assert [version for version, _ in found.tail(42)] == [43, 44, 45]


@pytest.mark.spec("Checkpoints")
def test_multi_part_checkpoints_with_missing_parts_are_ignored() -> None:
    parts = [FileMeta(f"{LOG}{10:020d}.checkpoint.{n:010d}.{3:010d}.parquet", 1, 1) for n in (1, 2, 3)]
    assert [c.version for c in segment.sort_out(parts).checkpoints] == [10]
    for missing in range(3):
        assert segment.sort_out(parts[:missing] + parts[missing + 1 :]).checkpoints == ()


@pytest.mark.spec("Log Compaction Files")
def test_the_compaction_of_three_commits() -> None:
    head = lines({"protocol": PROTOCOL}, {"metaData": metadata(partitionColumns=[])}, add("f0"), add("f1"))
    app = "3ae45b72-24e1-865a-a211-34987ae02f2a"
    four = lines({"commitInfo": {}}, add("f2"), remove("f1"))
    five = lines({"commitInfo": {}}, add("f3"), add("f4"), {"txn": {"appId": app, "version": 4389}})
    six = lines({"commitInfo": {}}, remove("f3"), {"txn": {"appId": app, "version": 4390}})
    nothing = lines({"commitInfo": {}})
    compacted = lines(add("f2"), add("f4"), remove("f1"), remove("f3"), {"txn": {"appId": app, "version": 4390}})
    store = log_of(head, nothing, nothing, nothing, four, five, six)
    assert paths(store) == ["f0", "f2", "f4"]
    store.put(compaction_file(4, 6), compacted)
    for version in (4, 5, 6):
        store.objects[commit_file(version)] = b"spoilt"
    snapshot = read.read_snapshot(store)
    assert paths(store) == ["f0", "f2", "f4"]
    assert snapshot.transactions[app].version == 4390
    assert sorted(snapshot.files.tombstones().column("path").to_pylist()) == ["f1", "f3"]


@pytest.mark.spec("V2 Spec")
def test_a_v2_checkpoint_without_sidecars() -> None:
    body = lines({"checkpointMetadata": {"version": 364475, "tags": {}}}, {"metaData": metadata(partitionColumns=[])},
                 {"protocol": PROTOCOL}, {"txn": {"appId": "3ba13872-2d47-4e17-86a0-21afd2a22395", "version": 364475}},
                 add("date=2017-12-10/part-000...c000.gz.parquet"), add("date=2017-12-09/part-000...c000.gz.parquet"),
                 remove("date=2017-12-08/part-000...c000.gz.parquet"))  # fmt: skip
    uuid = "80a083e8-7026-4e79-81be-64bd76c43a11"
    store = DictStore({checkpoint_file(364475, uuid, "json"): body})
    snapshot = read.read_snapshot(store)
    assert (snapshot.version, snapshot.files.count, snapshot.files.tombstones().num_rows) == (364475, 2, 1)
    assert dict(snapshot.transactions)["3ba13872-2d47-4e17-86a0-21afd2a22395"].version == 364475


@pytest.mark.spec("Sidecar Files")
def test_a_sidecar_that_is_missing_makes_the_checkpoint_unusable() -> None:
    body = lines({"checkpointMetadata": {"version": 1}}, {"metaData": metadata()}, {"protocol": PROTOCOL},
                 {"sidecar": {"path": "3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet", "sizeInBytes": 2341330,
                              "modificationTime": 1512909768000, "tags": {}}})  # fmt: skip
    store = log_of(lines({"protocol": PROTOCOL}, {"metaData": metadata()}), lines(add("f")))
    store.put(checkpoint_file(1, "80a083e8-7026-4e79-81be-64bd76c43a11", "json"), body)
    assert paths(store) == ["f"]
    assert not any(path.startswith(SIDECARS) for path in store.objects)


@pytest.mark.spec("Action Reconciliation")
def test_the_newest_action_of_a_key_decides() -> None:
    vector = {"storageType": "u", "pathOrInlineDv": "-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40,
              "cardinality": 6}  # fmt: skip
    with_vector = {"add": {**add("f")["add"], "deletionVector": vector}}
    head = lines({"protocol": PROTOCOL}, {"metaData": metadata(partitionColumns=[])}, add("f"))
    without = {"remove": {**remove("f")["remove"], "deletionVector": vector}}
    store = log_of(head, lines(remove("f"), with_vector), lines(without))
    assert [len(paths(store, v)) for v in range(3)] == [1, 1, 0]
    tombstones = read.read_snapshot(store).files.tombstones()
    assert tombstones.num_rows == 2  # of the file, and of the file through the vector


@pytest.mark.spec("Transaction Identifiers")
def test_the_newest_transaction_counts_whatever_its_number() -> None:
    head = lines({"protocol": PROTOCOL}, {"metaData": metadata()}, {"txn": {"appId": "a", "version": 364475}})
    store = log_of(head, lines({"txn": {"appId": "a", "version": 7, "lastUpdated": 1}}))
    assert read.read_snapshot(store).transactions["a"].version == 7


@pytest.mark.spec("Domain Metadata")
def test_a_removed_domain_is_gone() -> None:
    domain = {"domain": "delta.x", "configuration": json.dumps({"k": "v"}), "removed": False}
    head = lines({"protocol": PROTOCOL}, {"metaData": metadata()}, {"domainMetadata": domain})
    store = log_of(head, lines({"domainMetadata": {**domain, "configuration": "", "removed": True}}))
    assert list(read.read_snapshot(store, 0).domains) == ["delta.x"]
    assert list(read.read_snapshot(store).domains) == []
