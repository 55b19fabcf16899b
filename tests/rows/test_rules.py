"""The rules of a table hold for every new row of every operation (I-17), or nothing becomes visible."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable
from deltalite.exceptions import ConstraintViolation
from deltalite.model.types import Field, PrimitiveType, Schema
from rows import invariants
from rows.tables import BOTH_MODES, FAST, configuration, files_below, of_kind, rows

LONG, STRING = PrimitiveType("long"), PrimitiveType("string")
SCHEMA = Schema(
    [
        Field("k", LONG, nullable=False),
        Field("n", LONG),
        Field("double", LONG, metadata={"delta.generationExpression": "n * 2"}),
        Field("state", STRING, metadata={"CURRENT_DEFAULT": "'new'"}),
    ]
)
PROPERTIES = {
    "delta.constraints.small": "n < 100",
    "delta.enableChangeDataFeed": "true",
    "delta.enableRowTracking": "true",
}
RULES: dict[str, Callable[[dict[str, Any]], bool | None]] = {
    "small": lambda row: row["n"] < 100,
    "double": lambda row: row["double"] == 2 * row["n"],
    "state": lambda row: row["state"] is not None,
}


def data(*values: tuple[int | None, int | None]) -> pa.Table:
    return pa.table(
        {"k": pa.array([k for k, _ in values], pa.int64()), "n": pa.array([n for _, n in values], pa.int64())}
    )


def ruled(root: Path, mode: str, partition_by: str | None = None) -> DeltaTable:
    features = {"delta.feature.allowColumnDefaults": "supported"}
    table = DeltaTable.create(
        root,
        SCHEMA,
        configuration=configuration(mode, PROPERTIES | features),
        storage_options=FAST,
        partition_by=partition_by,
    )
    table.append(data(*((k, k) for k in range(10))))
    table.append(data(*((k, k) for k in range(10, 20))))
    return table


def merge(table: DeltaTable, source: pa.Table) -> Any:
    """The source's columns, as far as it has them; the table computes the others."""
    merger = table.merge(source, "t.k = s.k").when_matched_update({"n": "s.n"})
    return merger.when_not_matched_insert({"k": "s.k", "n": "s.n"})


@BOTH_MODES
@pytest.mark.parametrize("partition_by", [None, "state"])
def test_rules_hold_after_every_operation(tmp_path: Path, mode: str, partition_by: str | None) -> None:
    root = tmp_path / "t"
    table = ruled(root, mode, partition_by)
    steps: list[Callable[[], Any]] = [
        lambda: table.delete("k = 3"),
        lambda: table.update({"n": "n + 1"}, predicate="k IN (4, 14)"),
        lambda: table.update({"k": "k + 100", "state": "'moved'"}, predicate="n = 7"),
        lambda: merge(table, data((5, 55), (30, 31))).execute(),
        lambda: table.overwrite(data((16, 61), (16, 62)), predicate="k = 16"),
        lambda: table.upsert(data((17, 71), (40, 41)), on="k", update=["n"], merge_schema=True),
        lambda: (
            table.merge(data((1, 1)), "t.k = s.k")
            .when_not_matched_by_source_update({"n": "t.n - 1"}, "t.k < 5")
            .execute()
        ),
    ]
    for step in steps:
        step()
        invariants.check(root, RULES)
    found = {row[0]: row[1:] for row in rows(root)}
    assert found[4] == (4, 8, "new")
    assert found[107] == (7, 14, "moved")
    assert (found[5], found[30]) == ((55, 110, "new"), (31, 62, "new"))
    assert (found[17], found[40]) == ((71, 142, "new"), (41, 82, "new"))


@BOTH_MODES
@pytest.mark.parametrize(
    "run",
    [
        lambda t: t.update({"n": "n + 90"}),
        lambda t: t.update({"n": "NULL"}, predicate="k = 1"),
        lambda t: t.update({"k": "NULL"}, predicate="k = 1"),
        lambda t: t.update({"double": "5"}, predicate="k = 1"),
        lambda t: merge(t, data((1, 100))).execute(),
        lambda t: merge(t, data((1, 1), (99, 100))).execute(),
        lambda t: t.merge(data((None, 1)), "t.k = s.k").when_not_matched_insert({"k": "s.k", "n": "s.n"}).execute(),
        lambda t: t.overwrite(data((1, 500)), predicate="k = 1"),
        lambda t: t.overwrite(data((2, 5)), predicate="k = 1"),
        lambda t: t.overwrite(data((1, 1), (None, 5)), predicate="k = 1"),
    ],
    ids=[
        "check", "check with null", "not null", "generated", "merge update", "merge insert", "merge insert null",
        "replace", "replace outside", "replace with null",
    ],
)  # fmt: skip
def test_what_breaks_a_rule_leaves_no_trace(tmp_path: Path, mode: str, run: Callable[[DeltaTable], Any]) -> None:
    root = tmp_path / "t"
    table = ruled(root, mode)
    table.delete("k = 3")
    before = files_below(root)
    with pytest.raises(ConstraintViolation) as caught:
        run(table)
    assert caught.value.count > 0
    assert files_below(root) == before
    invariants.check(root, RULES)


@BOTH_MODES
def test_old_rows_that_break_a_later_rule_do_not_stand_in_the_way_of_others(tmp_path: Path, mode: str) -> None:
    """Rows that are copied are not new: a rewrite of their file does not judge them again."""
    root = tmp_path / "t"
    other = {"delta.constraints.other": "k > 0"}
    table = DeltaTable.create(
        root, "k bigint, n bigint", configuration=configuration(mode, other), storage_options=FAST
    )
    table.append(data((1, 500), (2, 2), (3, 3)))
    (metadata,) = of_kind(root, 0, "metaData")  # a careless writer adds a constraint without looking at the rows
    metadata["configuration"]["delta.constraints.small"] = "n < 100"
    (root / "_delta_log" / f"{2:020}.json").write_text(json.dumps({"metaData": metadata}) + "\n")
    table.refresh()
    table.update({"n": "9"}, predicate="k = 2")
    table.delete("k = 3")
    assert rows(root) == [(1, 500), (2, 9)]
    with pytest.raises(ConstraintViolation):
        table.update({"n": "n + 1"}, predicate="k = 1")
