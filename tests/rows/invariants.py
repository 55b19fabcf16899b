"""What must hold of a table on disk after every step: the invariants I-02 to I-08, I-11, I-12, I-15 to I-17 and I-20.

Told from the log and the files by :mod:`rows.reading`; deltalite is asked only for its change feed, and for its files,
to compare.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deltalite import DeltaTable
from rows import reading
from rows.reading import Action, State, vector_id

Rules = Mapping[str, Callable[[Action], "bool | None"]]
TRACKED = ("_row_id", "_row_commit_version")
FEED = ("_change_type", "_commit_version", "_commit_timestamp")
COMING, LEAVING = ("insert", "update_postimage"), ("delete", "update_preimage")


def check(root: Path, rules: Rules | None = None) -> None:
    """Check all versions of a table.

    :param rules: by name, predicates over rows that the table's constraints promise; null is a violation too.
    """
    told = check_commits(root)
    newest = told[-1][0]
    for add in newest.live.values():
        check_file(root, newest, add)
    check_checkpoints(root, told)
    check_row_ids(root, told)
    check_protocol(told)
    check_rules(root, newest, rules or {})
    check_txn_ids(told)
    if all(s.enabled("delta.enableChangeDataFeed") for s, _ in told):
        check_feed(root, told)
    ours = DeltaTable(root).files().column("path").to_pylist()
    assert sorted(ours) == sorted(newest.live), "files of the newest version"


# -- commits -----------------------------------------------------------------------------------------------------------


def check_commits(root: Path) -> list[tuple[State, list[Action]]]:
    """What the log alone can be asked; and its versions."""
    told = reading.states(root)
    before = State()
    for state, actions in told:
        check_commit(root, before, state, actions)
        before = state
    return told


def check_commit(root: Path, before: State, state: State, actions: list[Action]) -> None:
    adds = [a["add"] for a in actions if "add" in a]
    removes = [a["remove"] for a in actions if "remove" in a]
    paths = [a["path"] for a in adds]
    assert len(paths) == len(set(paths)), "I-03: a path is added twice"
    assert len(removes) == len({r["path"] for r in removes}), "I-03: a path is removed twice"
    for remove in removes:
        live = before.live.get(remove["path"])
        assert live is not None, f"I-04: {remove['path']} is not live"
        assert vector_id(live) == vector_id(remove), f"I-04: {remove['path']} leaves under another vector"
        for name in ("size", "partitionValues", "baseRowId", "defaultRowCommitVersion"):
            assert remove.get(name) == live.get(name), f"I-04: {name} of {remove['path']}"
    gone = {(r["path"], vector_id(r)) for r in removes}
    for add in adds:
        assert (add["path"], vector_id(add)) not in gone, "I-05: the same file is added and removed"
        assert add["path"] not in before.live or add["path"] in {p for p, _ in gone}, "I-03: a live path is added"
    if adds or removes:
        changes = {a.get("dataChange") for a in (*adds, *removes)}
        if changes == {False}:
            assert multiset(reading.table_rows(root, before)) == multiset(reading.table_rows(root, state)), "I-07"
        else:
            assert changes == {True}, "adds and removes of a row change are changes of data"
    check_metrics(actions, adds, removes)


def check_metrics(actions: list[Action], adds: list[Action], removes: list[Action]) -> None:
    """I-20, of what the log alone can tell."""
    info = next(a["commitInfo"] for a in actions if "commitInfo" in a)
    if info["operation"] not in ("DELETE", "UPDATE", "MERGE"):
        return
    metrics = {name: int(value) for name, value in (info.get("operationMetrics") or {}).items()}
    again = {a["path"] for a in adds} & {r["path"] for r in removes}
    new, left = [a for a in adds if a["path"] not in again], [r for r in removes if r["path"] not in again]
    feed = [a for a in actions if "cdc" in a]
    for target in ("", "Target"):
        known = {
            f"num{target}FilesAdded" if target else "numAddedFiles": len(new),
            f"num{target}FilesRemoved" if target else "numRemovedFiles": len(left),
            f"num{target}BytesAdded" if target else "numAddedBytes": sum(a["size"] for a in new),
            f"num{target}BytesRemoved" if target else "numRemovedBytes": sum(r["size"] for r in left),
            f"num{target}ChangeFilesAdded" if target else "numAddedChangeFiles": len(feed),
            f"num{target}DeletionVectorsAdded": sum("deletionVector" in a for a in adds if a["path"] in again),
        }
        for name, value in known.items():
            assert metrics.get(name, value) == value, f"I-20: {name} of {info['operation']}"


def check_txn_ids(told: list[tuple[State, list[Action]]]) -> None:
    ids = [a["commitInfo"]["txnId"] for _, actions in told for a in actions if "commitInfo" in a]
    assert len(ids) == len(set(ids)) == len(told), "I-12"


# -- files -------------------------------------------------------------------------------------------------------------


def check_file(root: Path, state: State, add: Action) -> None:
    path = reading.place(root, add)
    assert path.is_file(), f"I-02: {path} is missing"
    assert path.stat().st_size == add["size"], f"I-02: size of {path}"
    stats = json.loads(add["stats"])
    rows = pq.ParquetFile(path).metadata.num_rows
    assert stats["numRecords"] == rows, f"I-02: numRecords of {path}"
    if (dv := add.get("deletionVector")) is not None:
        marked = reading.vector(root, add)
        assert len(marked) == dv["cardinality"] <= rows, "I-08: cardinality"
        assert 0 < len(marked) < rows, "a file without live rows is removed, one without dead ones has no vector"
        assert marked.max() < rows, "I-08: a position beyond the file"
        assert stats.get("tightBounds") is False, "trap 39: bounds under a vector are wide"
    check_bounds(root, state, add, stats)


def check_bounds(root: Path, state: State, add: Action, stats: Action) -> None:
    """I-09: statistics bound the values, vectors disregarded."""
    rows = reading.rows_of(root, state, add, all_rows=True)
    for name, physical in state.physical.items():
        if name in state.metadata["partitionColumns"]:
            continue
        values = [row[name] for row in rows]
        if physical in stats.get("nullCount", {}) and isinstance(stats["nullCount"][physical], int):
            assert stats["nullCount"][physical] == values.count(None), f"I-09: nullCount of {name}"
        some = [v for v in values if isinstance(v, int | str)]
        if some and physical in stats.get("minValues", {}):
            assert stats["minValues"][physical] <= min(some), f"I-09: least {name}"
        if some and physical in stats.get("maxValues", {}):
            assert stats["maxValues"][physical] >= max(some), f"I-09: greatest {name}"


def check_checkpoints(root: Path, told: list[tuple[State, list[Action]]]) -> None:
    """I-06: a checkpoint says what the commits up to it say."""
    for path in (root / "_delta_log").glob("*.checkpoint.parquet"):
        expected = told[int(path.name.split(".")[0])][0]
        actions = [{k: v for k, v in row.items() if v is not None} for row in pq.ParquetFile(path).read().to_pylist()]
        found = State().after(expected.version, actions)
        assert set(found.live) == set(expected.live), f"I-06: files of {path.name}"
        for name, add in found.live.items():
            other = expected.live[name]
            assert vector_id(add) == vector_id(other), "I-06: deletion vector"
            assert dict(add["partitionValues"]) == other["partitionValues"]
            for key in ("size", "baseRowId", "defaultRowCommitVersion"):
                assert add.get(key) == other.get(key), f"I-06: {key}"
            if add.get("stats"):
                assert json.loads(add["stats"]) == json.loads(other["stats"]), "I-06: statistics"
        assert {d: v["configuration"] for d, v in found.domains.items()} == {
            d: v["configuration"] for d, v in expected.domains.items()
        }, "I-06: domains"
        assert found.transactions == expected.transactions, "I-06: transactions"
        assert found.metadata["schemaString"] == expected.metadata["schemaString"], "I-06: schema"


# -- features ----------------------------------------------------------------------------------------------------------


def check_row_ids(root: Path, told: list[tuple[State, list[Action]]]) -> None:
    """I-15: ids are unique, and none is above the mark."""
    newest = told[-1][0]
    if not newest.enabled("delta.enableRowTracking"):
        return
    given: dict[str, range] = {}
    for state, actions in told:
        mark = json.loads(state.domains["delta.rowTracking"]["configuration"])["rowIdHighWaterMark"] if (
            "delta.rowTracking" in state.domains) else -1  # fmt: skip
        for action in actions:
            if "add" in action:
                add = action["add"]
                base, count = add["baseRowId"], json.loads(add["stats"])["numRecords"]
                assert base + count - 1 <= mark, "I-15: ids above the mark"
                assert add["defaultRowCommitVersion"] <= state.version
                span = given.setdefault(add["path"], range(base, base + count))
                assert span == range(base, base + count), "I-15: a file keeps its ids"
    spans = sorted(given.values(), key=lambda span: span.start)
    assert all(a.stop <= b.start for a, b in zip(spans, spans[1:], strict=False)), "I-15: ids are given twice"
    ids = [row["_row_id"] for row in reading.table_rows(root, newest)]
    assert len(ids) == len(set(ids)), "I-15: two rows with one id"


def check_protocol(told: list[tuple[State, list[Action]]]) -> None:
    """I-16: what is used is in the protocol."""
    for state, actions in told:
        protocol = state.protocol
        readers, writers = set(protocol.get("readerFeatures") or ()), set(protocol.get("writerFeatures") or ())
        least_writer = protocol["minWriterVersion"]

        def supports(name: str, legacy: int, writers: set[str] = writers, least: int = least_writer) -> bool:
            return name in writers if least == 7 else least >= legacy

        if any("deletionVector" in a["add"] for a in actions if "add" in a):
            assert "deletionVectors" in readers & writers, "I-16: deletionVectors"
        if any("cdc" in a for a in actions):
            assert supports("changeDataFeed", 4), "I-16: changeDataFeed"
        if state.configuration.get("delta.columnMapping.mode", "none") != "none":
            assert supports("columnMapping", 5), "I-16: columnMapping"
            assert (
                "columnMapping" in readers if protocol["minReaderVersion"] == 3 else protocol["minReaderVersion"] == 2
            )
        if any("baseRowId" in a["add"] for a in actions if "add" in a):
            assert {"rowTracking", "domainMetadata"} <= writers, "I-16: rowTracking"
        if any(name.startswith("delta.constraints.") for name in state.configuration):
            assert supports("checkConstraints", 3), "I-16: checkConstraints"


def check_rules(root: Path, state: State, rules: Rules) -> None:
    """I-17: NOT NULL and the given rules hold for every row."""
    for row in reading.table_rows(root, state):
        for f in state.fields:
            assert f["nullable"] or row[f["name"]] is not None, f"I-17: {f['name']} is null"
        for name, holds in rules.items():
            assert holds(row) is True, f"I-17: {name} of {row}"


def check_feed(root: Path, told: list[tuple[State, list[Action]]]) -> None:
    """I-11: the changes of versions 0 to v, one after the other, make version v."""
    by_version = feed(root)
    rows: Counter[Any] = Counter()
    for state, _ in told:
        for kind, row in by_version.get(state.version, []):
            rows[key(row)] += 1 if kind in COMING else -1
        expected = multiset([untracked(row) for row in reading.table_rows(root, state)])
        assert {k: n for k, n in rows.items() if n} == dict(expected), f"I-11: version {state.version}"


def feed(root: Path) -> dict[int, list[tuple[str, Action]]]:
    """What ``load_cdf`` tells, by version."""
    found: dict[int, list[tuple[str, Action]]] = {}
    for row in DeltaTable(root).load_cdf().read_all().to_pylist():
        kind, version = row["_change_type"], row["_commit_version"]
        assert kind in COMING + LEAVING, kind
        found.setdefault(version, []).append((kind, {k: v for k, v in row.items() if k not in FEED}))
    for version, changes in found.items():
        kinds = Counter(kind for kind, _ in changes)
        assert kinds["update_preimage"] == kinds["update_postimage"], f"I-11: images of version {version}"
    return found


# -- rows --------------------------------------------------------------------------------------------------------------


def key(row: Action) -> Any:
    """A row as something that can be counted."""
    return tuple(sorted((name, repr(value)) for name, value in row.items()))


def multiset(rows: list[Action]) -> Counter[Any]:
    return Counter(map(key, rows))


def untracked(row: Action) -> Action:
    return {name: value for name, value in row.items() if name not in TRACKED}
