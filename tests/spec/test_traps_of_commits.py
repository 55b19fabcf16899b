"""Traps around actions, protocols and commits, each by its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, features, write_deltalake
from deltalite.exceptions import InvalidTableError, UnsupportedFeatureError
from deltalite.features.append_only import FEATURE as APPEND_ONLY
from deltalite.features.deletion_vectors.bitmap import RowPositions, encode
from deltalite.model.actions import AddFile, DeletionVector, Metadata, Protocol, RemoveFile
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import EmptySource, FileSet
from deltalite.model.paths import commit_file
from deltalite.model.types import Field, Schema

ROWS = pa.table({"id": pa.array([1, 2], pa.int64()), "p": ["a", "b"]})
SCHEMA = Schema([Field("id", "long"), Field("p", "string")])


def vector(number: int) -> DeletionVector:
    return DeletionVector("u", f"{number:020d}", 4, 1, offset=1)


def add(dv: DeletionVector | None) -> AddFile:
    return AddFile("f", {}, 1, 1, True, deletion_vector=dv)


def remove(dv: DeletionVector | None) -> RemoveFile:
    return RemoveFile("f", True, 1, deletion_vector=dv)


def live(*commits: list[Any]) -> list[AddFile]:
    tail = tuple(Commit(version, encode_commit(actions)) for version, actions in enumerate(commits))
    return FileSet(lambda: (EmptySource(), tail)).add_files()


@pytest.mark.trap(15)
@pytest.mark.trap(18)
@pytest.mark.parametrize("turned", [False, True])
def test_trap_15_18_a_vector_is_replaced_whatever_the_order_in_the_commit(turned: bool) -> None:
    change = [remove(vector(1)), add(vector(2))]
    found = live([add(vector(1))], change[::-1] if turned else change)
    assert [f.deletion_vector for f in found] == [vector(2)]


@pytest.mark.trap(17)
def test_trap_17_a_remove_without_the_vector_leaves_two_and_is_refused() -> None:
    with pytest.raises(InvalidTableError, match="two deletion vectors"):
        live([add(vector(1))], [remove(None), add(vector(2))])


@pytest.mark.trap(20)
def test_trap_20_append_only_lets_rearrangements_pass() -> None:
    config = TableConfig(Protocol(1, 2), Metadata("id", SCHEMA.to_json(), (), {"delta.appendOnly": "true"}))
    assert APPEND_ONLY.finalize
    quiet = [RemoveFile("f", False, 1), AddFile("g", {}, 1, 1, False)]
    assert APPEND_ONLY.finalize(quiet, None, config, 0) == quiet
    with pytest.raises(ValueError, match="only takes appends"):
        APPEND_ONLY.finalize([RemoveFile("f", True, 1)], None, config, 0)


@pytest.mark.trap(25)
def test_trap_25_a_change_of_metadata_carries_everything_else_over(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS)
    log = place / commit_file(0)
    lines = []
    for line in log.read_text().splitlines():
        action = json.loads(line)
        if body := action.get("metaData"):
            body["configuration"] = {"somebody.elses": "1"}
            schema = json.loads(body["schemaString"])
            schema["fields"][0]["metadata"] = {"unknown": {"deep": [1]}}
            body["schemaString"] = json.dumps(schema)
        lines.append(json.dumps(action))
    log.write_text("\n".join(lines) + "\n")
    (place / commit_file(0).replace(".json", ".crc")).unlink(missing_ok=True)
    before = DeltaTable(place)._snapshot.config.metadata
    table = DeltaTable(place)
    table.alter.set_table_properties({"owner": "me"})
    table.append(ROWS.append_column("x", pa.array([1, 2])), schema_mode="merge")
    after = DeltaTable(place)._snapshot.config.metadata
    assert (after.id, after.created_time) == (before.id, before.created_time)
    assert after.configuration == {"somebody.elses": "1", "owner": "me"}
    assert json.loads(after.schema_string)["fields"][0]["metadata"] == {"unknown": {"deep": [1]}}


@pytest.mark.trap(27)
@pytest.mark.parametrize(
    ("versions", "names"),
    [
        ((1, 1), set()),
        ((1, 2), {"appendOnly", "invariants"}),
        ((1, 3), {"appendOnly", "invariants", "checkConstraints"}),
        ((1, 4), {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"}),
        (
            (2, 5),
            {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns", "columnMapping"},
        ),
    ],
)
def test_trap_27_what_versions_imply(versions: tuple[int, int], names: set[str]) -> None:
    assert {f.name for f in features.supported(Protocol(*versions))} == names
    by_name = Protocol(2, 7, None, ("columnMapping",))
    assert {f.name for f in features.supported(by_name)} == {"columnMapping"}, "with writer 7 nothing else is implied"


@pytest.mark.trap(30)
@pytest.mark.bug("T-15")
def test_trap_30_an_unknown_writer_feature_stops_writers_only(tmp_path: Path) -> None:
    place = tmp_path / "t"
    (place / "_delta_log").mkdir(parents=True)
    actions = [Protocol(1, 7, None, ("magic",)), Metadata("id", SCHEMA.to_json())]
    (place / commit_file(0)).write_bytes(encode_commit(actions))
    table = DeltaTable(place)
    assert table.to_pyarrow_table().num_rows == 0
    with pytest.raises(UnsupportedFeatureError, match="magic"):
        table.append(ROWS)
    assert [p.name for p in place.iterdir()] == ["_delta_log"], "refused before a file was written"


@pytest.mark.bug("T-15")
def test_a_feature_that_appears_between_read_and_commit_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS)
    stale = DeltaTable(place)
    (place / commit_file(1)).write_bytes(encode_commit([Protocol(1, 7, None, ("appendOnly", "invariants", "magic"))]))
    with pytest.raises(UnsupportedFeatureError, match="magic"):
        stale.append(ROWS)
    assert DeltaTable(place).version() == 1


@pytest.mark.trap(32)
@pytest.mark.parametrize(
    "name",
    ["typeWidening-preview", "variantType-preview", "variantShredding-preview", "timestampWithoutTimezone", "liquid"],
)
def test_trap_32_names_in_the_wild_are_known(name: str) -> None:
    assert name in features.BY_NAME
    with pytest.raises(UnsupportedFeatureError, match="catalog"):
        features.ensure_readable(Protocol(3, 7, ("catalogOwned-preview",), ("catalogOwned-preview",)))


@pytest.mark.trap(35)
def test_trap_35_vectors_are_written_in_the_portable_format() -> None:
    assert encode(RowPositions.of([3, 4, 7]))[:4] == bytes.fromhex("D1D33964")


@pytest.mark.trap(57)
def test_trap_57_a_lost_race_gets_a_new_time(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS, configuration={"delta.enableInCommitTimestamps": "true"})
    handles = [DeltaTable(place) for _ in range(5)]
    for handle in handles:
        handle.append(ROWS)
    times = [c.info.in_commit_timestamp for c in DeltaTable(place).commits() if c.info]
    assert len(times) == 6 and all(a < b for a, b in zip(times, times[1:], strict=False))
    first = [(place / commit_file(v)).read_text().splitlines()[0] for v in range(6)]
    assert all("inCommitTimestamp" in line for line in first), "commitInfo is the first line"


@pytest.mark.trap(58)
def test_trap_58_only_what_read_nothing_is_a_blind_append(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS, partition_by="p")
    table = DeltaTable(place)
    table.append(ROWS)
    table.overwrite(pa.table({"id": [9], "p": ["new"]}), predicate="p = 'new'")
    assert [e["isBlindAppend"] for e in table.history()] == [False, True, True]
