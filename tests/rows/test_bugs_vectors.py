"""Deletion vectors: wrong rows that other engines have read or written (reliability: T-30 to T-37)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, WriterProperties
from deltalite.exceptions import StorageError
from deltalite.features.deletion_vectors import removal
from deltalite.storage.local import LocalStore
from deltalite.testing.faults import FaultyStore
from rows import invariants
from rows.tables import BOTH_MODES, FEED, files_below, of_kind, rows, table_of

FIVE_COLUMNS = {"k": pa.int64(), "p": pa.string()}


def numbers(count: int, part: str = "a", start: int = 0) -> pa.Table:
    return pa.table({"k": range(start, start + count), "p": [part] * count}, pa.schema(FIVE_COLUMNS))


@pytest.fixture(params=["inline", "file"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where vectors are kept."""
    limit = 0 if request.param == "file" else 10_000
    monkeypatch.setattr(removal, "RowRemover", partial(removal.RowRemover, inline_characters=limit))
    return request.param


@pytest.mark.bug("T-30")
@pytest.mark.bug("T-31")
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("verb", ["delete", "update", "merge", "replace"])
def test_a_second_change_of_a_file_removes_it_under_its_old_vector(
    tmp_path: Path, storage: str, checkpointed: bool, verb: str
) -> None:
    root = tmp_path / "t"
    table = table_of(root, "vectors", numbers(20))
    table.delete("k < 3")
    (first,) = of_kind(root, 2, "add")
    if checkpointed:
        table.create_checkpoint()
        table = DeltaTable(root)
    data = numbers(1, start=3)
    {
        "delete": lambda: table.delete("k = 3"),
        "update": lambda: table.update({"p": "'new'"}, predicate="k = 3"),
        "merge": lambda: table.merge(data, "t.k = s.k").when_matched_delete().execute(),
        "replace": lambda: table.overwrite(data, predicate="k = 3"),
    }[verb]()
    (remove,), adds = of_kind(root, 3, "remove"), of_kind(root, 3, "add")
    assert remove["deletionVector"] == first["deletionVector"]
    (marked,) = [a for a in adds if a["path"] == remove["path"]]
    assert marked["deletionVector"]["cardinality"] == 4
    assert marked["deletionVector"]["storageType"] == ("u" if storage == "file" else "i")
    table.create_checkpoint()
    left = list(range(3 if verb in ("update", "replace") else 4, 20))
    assert [k for (k,) in sorted(rows(root, "k"))] == left
    for log_only in sorted((root / "_delta_log").glob("*.parquet")):
        log_only.unlink()
    (root / "_delta_log" / "_last_checkpoint").unlink()
    assert [k for (k,) in sorted(rows(root, "k"))] == left, "by the commits alone"
    invariants.check(root)


@pytest.mark.bug("T-31")
@pytest.mark.parametrize("predicate", ["k < 18", None, "k >= 3"])
def test_a_file_under_a_vector_that_is_rewritten_or_removed_goes_under_it(
    tmp_path: Path, storage: str, predicate: str | None
) -> None:
    root = tmp_path / "t"
    table = table_of(root, "vectors", numbers(20))
    table.delete("k < 3")
    (first,) = of_kind(root, 2, "add")
    done = table.delete(predicate)
    assert done["num_deleted_rows"] == {"k < 18": 15, None: 17, "k >= 3": 17}[predicate]
    (remove,) = of_kind(root, 3, "remove")
    assert remove["deletionVector"] == first["deletionVector"]
    assert rows(root, "k") == ([(18,), (19,)] if predicate == "k < 18" else [])
    assert all(a.get("deletionVector") is None for a in of_kind(root, 3, "add"))
    invariants.check(root)


@pytest.mark.bug("T-32")
@BOTH_MODES
@pytest.mark.parametrize("row_group", [1, 4, 5, 20, 100])
@pytest.mark.parametrize("gone", [[0], [19], [0, 19], [3, 4], [4, 5], [9, 10, 14, 15]])
def test_first_and_last_rows_of_files_and_row_groups(
    tmp_path: Path, mode: str, row_group: int, gone: list[int]
) -> None:
    root = tmp_path / "t"
    table = table_of(root, mode, numbers(20), writer_properties=WriterProperties(max_row_group_size=row_group))
    assert table.delete(f"k IN ({', '.join(map(str, gone))})")["num_deleted_rows"] == len(gone)
    left = [k for k in range(20) if k not in gone]
    assert [k for (k,) in sorted(rows(root, "k"))] == left
    for k in gone:
        assert table.count(f"k = {k}") == 0
    for k in left:
        assert table.head(1, predicate=f"k = {k}").num_rows == 1
    invariants.check(root)


@pytest.mark.bug("T-33")
def test_partition_columns_are_read_through_vectors(tmp_path: Path, storage: str) -> None:
    root = tmp_path / "t"
    table = table_of(root, "vectors", numbers(10), numbers(10, "b", 10), partition_by="p")
    table.delete("k IN (0, 11, 12)")
    assert rows(root, "p") == [("a",)] * 9 + [("b",)] * 8
    assert table.to_pyarrow_table(columns=["p"], filters="p = 'a'").num_rows == 9
    assert table.to_pyarrow_table(columns=["k"], filters="p = 'b' AND k < 14").num_rows == 2
    assert table.to_pyarrow_table(columns=[]).num_rows == 17
    assert table.count("p = 'b'") == 8
    table.delete("p = 'a'")
    assert rows(root, "p") == [("b",)] * 8


@pytest.mark.bug("T-34")
@BOTH_MODES
def test_counts_by_metadata_are_counts_by_scan(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = table_of(root, mode, numbers(100), numbers(100, "b", 100), partition_by="p")
    steps: list[Callable[[], Any]] = [
        lambda: table.delete("k % 10 = 0"),
        lambda: table.delete("k % 10 = 1 AND p = 'a'"),
        lambda: table.update({"k": "k + 1000"}, predicate="k % 10 = 2"),
        lambda: table.merge(numbers(50, "b", 150), "t.k = s.k").when_matched_delete().execute(),
        lambda: table.delete("p = 'a'"),
    ]
    for step in steps:
        step()
        for predicate in (None, "p = 'a'", "p = 'b'", "p IS NULL"):
            scanned = sum(batch.num_rows for batch in table.scan(["k"], predicate))
            assert table.count(predicate) == scanned == len(DeltaTable(root).to_pyarrow_table(filters=predicate))


@pytest.mark.bug("T-35")
@pytest.mark.parametrize("kind", ["name", "id"])
def test_vectors_with_column_mapping(tmp_path: Path, storage: str, kind: str) -> None:
    root = tmp_path / "t"
    mapping = {"delta.columnMapping.mode": kind}
    table = table_of(root, "vectors", numbers(20), numbers(5, "b", 20), partition_by="p", properties=mapping)
    table.delete("k < 3 OR k = 21")
    table.update({"k": "k + 100"}, predicate="k = 4")
    table.merge(numbers(2, "b", 22), "t.k = s.k").when_matched_update({"p": "'c'"}).execute()
    expected = [(k, "a") for k in (3, *range(5, 20), 104)] + [(20, "b"), (22, "c"), (23, "c"), (24, "b")]
    assert rows(root) == sorted(expected, key=repr)
    assert table.count("k = 22 AND p = 'c'") == 1
    invariants.check(root)


@pytest.mark.bug("T-36")
@pytest.mark.parametrize("verb", ["delete", "update", "merge", "none"])
def test_vectors_are_honoured_after_the_property_is_off(tmp_path: Path, storage: str, verb: str) -> None:
    root = tmp_path / "t"
    table = table_of(root, "vectors", numbers(20))
    table.delete("k < 3")
    table.alter.set_table_properties({"delta.enableDeletionVectors": "false"})
    assert [k for (k,) in sorted(rows(root, "k"))] == list(range(3, 20))
    {
        "delete": lambda: table.delete("k = 3"),
        "update": lambda: table.update({"k": "k + 100"}, predicate="k = 3"),
        "merge": lambda: table.merge(numbers(1, start=3), "t.k = s.k").when_matched_delete().execute(),
        "none": lambda: None,
    }[verb]()
    left = [*([3] if verb == "none" else []), *range(4, 20), *([103] if verb == "update" else [])]
    assert [k for (k,) in sorted(rows(root, "k"))] == left
    if verb != "none":
        assert all("deletionVector" not in add for add in of_kind(root, 4, "add")), "no new vector is written"
    invariants.check(root)


OPERATIONS: dict[str, Callable[[DeltaTable], Any]] = {
    "delete": lambda table: table.delete("k = 7"),
    "update": lambda table: table.update({"p": "'new'"}, predicate="k = 7"),
    "merge": lambda table: (
        table.merge(numbers(2, start=19), "t.k = s.k").when_matched_update_all().when_not_matched_insert_all().execute()
    ),
    "upsert": lambda table: table.upsert(numbers(2, start=19), on="k"),
    "replace": lambda table: table.overwrite(numbers(1, start=7), predicate="k = 7"),
}


@pytest.mark.bug("T-37")
@pytest.mark.parametrize("properties", [{}, FEED], ids=["plain", "feed"])
@pytest.mark.parametrize("verb", OPERATIONS)
def test_without_the_vector_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, properties: dict[str, str]
) -> None:
    monkeypatch.setattr(removal, "RowRemover", partial(removal.RowRemover, inline_characters=0))
    root = tmp_path / "t"
    table_of(root, "vectors", numbers(20), properties=properties)
    before = files_below(root)
    store = FaultyStore(LocalStore(str(root)), at=1, matching=lambda call: "deletion_vector_" in call.path)
    with pytest.raises(StorageError):
        OPERATIONS[verb](DeltaTable(store))
    assert store.hit is not None
    assert files_below(root) == before, "nothing became visible and nothing is left behind"
    OPERATIONS[verb](DeltaTable(root))
    assert any(add.get("deletionVector") for add in of_kind(root, 2, "add"))
    invariants.check(root)
