"""repair_statistics: what files lack is computed, what is wrong is corrected, the rest stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from layout_tables import FEED, MAPPED, TRACKING, VECTORS, content, frame, make

from deltalite import DeltaTable, write_deltalake


def edit(root: Path, version: int, change: Any) -> None:
    """Change the statistics in a commit."""
    path = root / "_delta_log" / f"{version:020d}.json"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            stats = change(json.loads(line["add"]["stats"]))
            line["add"]["stats"] = None if stats is None else json.dumps(stats)
            if stats is None:
                del line["add"]["stats"]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    for crc in (root / "_delta_log").glob("*.crc"):
        crc.unlink()


def statistics(table: DeltaTable) -> list[dict[str, Any]]:
    return [json.loads(add.stats or "{}") for add in table._snapshot.files.add_files()]


@pytest.mark.parametrize("properties", [{}, {**MAPPED, **TRACKING, **FEED}])
def test_missing_ones_come_back_as_they_were(tmp_path: Path, properties: dict[str, str]) -> None:
    table = make(tmp_path, 3, configuration=properties)
    right, rows = statistics(table), content(table)
    edit(tmp_path, 1, lambda stats: None)
    table = DeltaTable(tmp_path)
    result = table.optimize.repair_statistics()
    assert (result["numFilesScanned"], result["numFilesRepaired"]) == (1, 1)
    by_rows = lambda s: json.dumps(s, sort_keys=True)  # noqa: E731
    assert sorted(map(by_rows, statistics(table))) == sorted(map(by_rows, right))
    assert table.files().num_rows == 3 and table.optimize.repair_statistics().skipped
    assert content(DeltaTable(tmp_path)) == rows
    assert table.changes(table.version(), table.version()).read_all().num_rows == 0


def test_wrong_ones_are_found_by_reading(tmp_path: Path) -> None:
    table = make(tmp_path, 3)
    right = statistics(table)

    def spoil(stats: dict[str, Any]) -> dict[str, Any]:
        stats["minValues"]["id"] += 10
        stats["maxValues"]["name"] = "m"
        stats["nullCount"]["x"] = 0
        return stats

    edit(tmp_path, 2, spoil)
    table = DeltaTable(tmp_path)
    assert table.count("id = 100") == 0, "wrong bounds hide rows"
    assert table.optimize.repair_statistics().skipped
    result = table.optimize.repair_statistics(deep=True)
    assert (result["numFilesScanned"], result["numFilesRepaired"]) == (3, 1)
    assert sorted(map(json.dumps, statistics(table))) == sorted(map(json.dumps, right))
    assert table.count("id = 100") == 1 and table.optimize.repair_statistics(deep=True).skipped


def test_wide_bounds_are_wrong_by_too_much_only(tmp_path: Path) -> None:
    table = make(tmp_path, 2)

    def widen(stats: dict[str, Any]) -> dict[str, Any]:
        stats["minValues"]["id"] -= 1000
        stats["maxValues"]["name"] += "zzz"
        return stats

    edit(tmp_path, 1, widen)
    assert DeltaTable(tmp_path).optimize.repair_statistics(deep=True).skipped
    assert table.count() == 100


@pytest.mark.trap(39)
def test_trap_39_bounds_under_vectors_are_those_of_all_rows_and_wide(tmp_path: Path) -> None:
    table = make(tmp_path, 1, configuration=VECTORS)
    right = statistics(table)[0]
    table.delete("id < 5 or id > 45")
    edit(tmp_path, 1, lambda stats: {"numRecords": stats["numRecords"], "tightBounds": False})
    table = DeltaTable(tmp_path)
    table.optimize.repair_statistics()
    assert statistics(table) == [{**right, "tightBounds": False}]
    assert table.count() == 41 and table.count("id <= 5") == 1
    assert table.optimize.repair_statistics(deep=True).skipped


def test_claims_about_live_rows_are_checked_against_live_rows(tmp_path: Path) -> None:
    table = make(tmp_path, 1, configuration=VECTORS)
    table.delete("id < 5")

    def tight(stats: dict[str, Any]) -> dict[str, Any]:
        return {"numRecords": 50, "tightBounds": True, "minValues": {"id": 6}, "maxValues": {"id": 49},
                "nullCount": {"id": 0}}  # fmt: skip

    edit(tmp_path, 1, tight)
    table = DeltaTable(tmp_path)
    table.optimize.repair_statistics(["id"], deep=True)
    (found,) = statistics(table)
    assert found["numRecords"] == 50 and found["tightBounds"] is True and found["minValues"]["id"] == 5


def test_other_columns_on_request_and_none_get_lost(tmp_path: Path) -> None:
    table = make(tmp_path, 2, configuration={"delta.dataSkippingNumIndexedCols": "1"})
    assert table.optimize.repair_statistics().skipped
    assert table.optimize.repair_statistics("y")["numFilesRepaired"] == 2
    assert all(set(s["minValues"]) == {"id", "y"} for s in statistics(table))
    assert [c.column for c in table.analyze().columns] == ["id", "y"]


def test_nan_and_nested_columns(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "f": pa.array([1.5, float("nan"), None]),
            "s": pa.array([{"a": 1, "b": ["x"]}, None, {"a": 3, "b": None}]),
            "t": pa.array(["a" * 50, "b", None]),
        }
    )
    write_deltalake(tmp_path, rows)
    right = statistics(DeltaTable(tmp_path))
    edit(tmp_path, 0, lambda stats: None)
    table = DeltaTable(tmp_path)
    table.optimize.repair_statistics()
    assert statistics(table) == right and "f" not in right[0]["maxValues"]


def test_a_file_that_somebody_deletes_meanwhile_is_not_brought_back(tmp_path: Path) -> None:
    from deltalite.exceptions import ConflictError

    make(tmp_path, 2)
    edit(tmp_path, 1, lambda stats: None)
    stale = DeltaTable(tmp_path)
    DeltaTable(tmp_path).delete("id >= 50")
    with pytest.raises(ConflictError):
        stale.optimize.repair_statistics()
    assert DeltaTable(tmp_path).count() == 50


def test_totals_in_checksums_stay_right(tmp_path: Path) -> None:
    make(tmp_path, 3)
    edit(tmp_path, 1, lambda stats: None)
    table = DeltaTable(tmp_path)
    table.optimize.repair_statistics()
    table.append(frame(1000, 1))
    for crc in (tmp_path / "_delta_log").glob("*.crc"):
        told = json.loads(crc.read_text())
        if int(crc.name.split(".")[0]) == table.version():
            assert told["numFiles"] == 4
    assert DeltaTable(tmp_path).files().num_rows == 4
