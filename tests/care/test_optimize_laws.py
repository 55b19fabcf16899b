"""No operation on the layout changes the table: rows, row ids and commit versions stay, feeds say nothing, and what was
done is not done again."""

from __future__ import annotations

import tempfile
from typing import Any

import deltalake
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layout_tables import FEED, MAPPED, TRACKING, VECTORS, check, content, frame, make

from deltalite import DeltaTable, write_deltalake

SMALL = 3_000

OPERATIONS = {
    "compact": lambda t: t.optimize.compact(target_size=SMALL),
    "compact where": lambda t: t.optimize.compact(where="part = 'p1' or x < 500"),
    "compact by partition": lambda t: t.optimize.compact(min_commit_interval=0),
    "compact within budgets": lambda t: t.optimize.compact(max_files=5, max_bytes="9kB"),
    "z_order": lambda t: t.optimize.z_order(["x", "name"], target_size=SMALL, memory_limit="1MB"),
    "z_order full": lambda t: t.optimize.z_order("y", full=True, target_size=SMALL),
    "purge": lambda t: t.optimize.purge(),
    "repair_statistics": lambda t: t.optimize.repair_statistics(deep=True),
}
AGAIN = ("compact", "compact by partition", "z_order", "z_order full", "purge", "repair_statistics")


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    properties: dict[str, str] = {}
    for more in (MAPPED, VECTORS, TRACKING, FEED):
        if draw(st.booleans()):
            properties |= more
    partitioned = draw(st.booleans())
    steps = draw(st.lists(st.sampled_from(["append", "delete", "update", "checkpoint"]), max_size=4))
    return {"configuration": properties, "partition_by": ["part"] if partitioned else None, "steps": steps}


def build(root: str, configuration: dict[str, str], partition_by: Any, steps: list[str]) -> DeltaTable:
    table = make(root, 3, 40, configuration=configuration, partition_by=partition_by)
    for number, step in enumerate(steps):
        if step == "append":
            write_deltalake(table, frame(1000 + 100 * number, 30), mode="append")
        elif step == "delete":
            table.delete(f"id % 7 = {number}")
        elif step == "update":
            table.update({"y": "y + 1"}, predicate=f"id % 5 = {number}")
        else:
            table.create_checkpoint()
    return table


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=tables(), names=st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=3))
def test_rows_their_ids_and_versions_stay(drawn: dict[str, Any], names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        table = build(root, **drawn)
        before = content(table)
        for name in names:
            version = table.version()
            result = OPERATIONS[name](table)
            assert content(table) == before == content(DeltaTable(root)), name
            assert result.version == table.version() and (result.skipped is None) == (table.version() > version)
            if name in AGAIN:
                assert OPERATIONS[name](table).skipped, f"{name} twice"
            for changed in range(version + 1, table.version() + 1):
                assert table.changes(changed, changed).read_all().num_rows == 0
                if drawn["configuration"].get("delta.enableChangeDataFeed"):
                    assert table.load_cdf(changed, changed).read_all().num_rows == 0
        table.create_checkpoint()
        assert content(DeltaTable(root)) == before
        if "repair_statistics" not in names:  # adds a live path again, which other operations must not
            check(root)
        if not drawn["configuration"]:
            theirs = deltalake.DeltaTable(root).to_pyarrow_table().num_rows
            assert theirs == sum(before.values())


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_data_changes_and_no_change_files_are_written(name: str, tmp_path: Any) -> None:
    """Trap 20: dataChange is false on both sides, whatever the operation."""
    table = build(str(tmp_path), {**VECTORS, **FEED}, ["part"], ["delete", "append"])
    before = table.version()
    OPERATIONS[name](table)
    for commit in table.commits(before + 1):
        kinds = {key for key in ("add", "remove", "cdc") if f'"{key}":'.encode() in commit.data}
        assert "cdc" not in kinds
        assert b'"dataChange":true' not in commit.data
    assert not list((tmp_path / "_change_data").rglob("*"))
