"""Change feeds and replays: what other engines have told wrongly (reliability: T-64 to T-69)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable
from deltalite.storage.local import LocalStore
from deltalite.testing.faults import FaultyStore
from deltalite.txn import commit as commit_module
from rows import invariants
from rows.tables import BOTH_MODES, FEED, feed, files_below, of_kind, rows, table_of


def data(*keys: int, v: str = "x", p: str = "a") -> pa.Table:
    return pa.table({"k": pa.array(keys, pa.int64()), "p": [p] * len(keys), "v": [v] * len(keys)})


def two_parts(root: Path, mode: str, properties: dict[str, str] = FEED) -> DeltaTable:
    """Keys 1 to 6 in partition a, 11 to 16 in b, in a file each."""
    return table_of(
        root, mode, data(*range(1, 7)), data(*range(11, 17), p="b"), partition_by="p", properties=properties
    )


DELETIONS: dict[str, tuple[Callable[[DeltaTable], Any], set[int]]] = {
    "some rows": (lambda t: t.delete("k IN (2, 11)"), {2, 11}),
    "most rows of a file": (lambda t: t.delete("k < 6"), {1, 2, 3, 4, 5}),
    "a partition": (lambda t: t.delete("p = 'b'"), set(range(11, 17))),
    "a partition and some": (lambda t: t.delete("p = 'b' OR k = 2"), {2, *range(11, 17)}),
    "all by condition": (lambda t: t.delete("k > 0"), {*range(1, 7), *range(11, 17)}),
    "all": (lambda t: t.delete(), {*range(1, 7), *range(11, 17)}),
    "merge": (lambda t: t.merge(data(2, 11, 99), "t.k = s.k").when_matched_delete().execute(), {2, 11}),
    "merge, without a source": (
        lambda t: t.merge(data(2, 11), "t.k = s.k").when_not_matched_by_source_delete().execute(),
        {*range(1, 7), *range(11, 17)} - {2, 11},
    ),
    "replace": (lambda t: t.overwrite(data(), predicate="k IN (1, 12)"), {1, 12}),
    "overwrite": (lambda t: t.overwrite(data()), {*range(1, 7), *range(11, 17)}),
}


@pytest.mark.bug("T-64")
@BOTH_MODES
@pytest.mark.parametrize("deletion", DELETIONS)
@pytest.mark.parametrize("twice", [False, True], ids=["once", "after another"])
def test_the_feed_tells_every_deletion(tmp_path: Path, mode: str, deletion: str, twice: bool) -> None:
    root = tmp_path / "t"
    table = two_parts(root, mode)
    if twice:
        table.delete("k IN (3, 13)")
    run, gone = DELETIONS[deletion]
    run(table)
    expected = gone - {3, 13} if twice else gone
    assert feed(root, table.version(), "k") == sorted([("delete", k) for k in expected], key=repr)
    invariants.check(root)


@pytest.mark.bug("T-65")
@BOTH_MODES
def test_the_feed_tells_no_row_that_did_not_change(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = two_parts(root, mode)
    table.update({"v": "'new'"}, predicate="k = 2")
    assert feed(root, 3, "k", "v") == [("update_postimage", 2, "new"), ("update_preimage", 2, "x")]
    merger = table.merge(data(3, 12, 20, v="m", p="b"), "t.k = s.k").when_matched_update({"v": "s.v"}, "t.k = 12")
    merger.when_not_matched_insert_all().execute()
    assert feed(root, 4, "k", "v") == [
        ("insert", 20, "m"), ("update_postimage", 12, "m"), ("update_preimage", 12, "x"),
    ]  # fmt: skip
    table.overwrite(data(4, v="r"), predicate="k = 4")
    assert feed(root, 5, "k", "v") == [("delete", 4, "x"), ("insert", 4, "r")]
    invariants.check(root)


METRICS = {
    "delete": lambda t: t.delete("k IN (2, 11)"),
    "update": lambda t: t.update({"v": "'new'"}, predicate="k IN (2, 11)"),
    "merge": lambda t: (
        t.merge(data(2, 3, 99), "t.k = s.k")
        .when_matched_update_all("s.k = 2")
        .when_matched_delete()
        .when_not_matched_insert_all()
        .when_not_matched_by_source_update({"v": "'left'"}, "t.k = 14")
        .execute()
    ),
}


@pytest.mark.bug("T-66")
@BOTH_MODES
@pytest.mark.parametrize("verb", METRICS)
def test_metrics_are_the_same_with_and_without_a_feed(tmp_path: Path, mode: str, verb: str) -> None:
    found = []
    for name, properties in (("with", FEED), ("without", {})):
        root = tmp_path / name
        done = METRICS[verb](two_parts(root, mode, properties))
        invariants.check(root)
        found.append({k: v for k, v in done.metrics.items() if "Rows" in k or k.endswith("FilesAdded")})
        assert sum(found[-1].values()) > 0
        (info,) = of_kind(root, 3, "commitInfo")
        logged = {k: int(v) for k, v in info["operationMetrics"].items() if k in found[-1]}
        assert logged == found[-1]
    told, untold = ({k: v for k, v in one.items() if "Change" not in k} for one in found)
    assert told == untold


@pytest.mark.bug("T-67")
@BOTH_MODES
def test_the_feed_replayed_is_the_table_at_every_version(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = two_parts(root, mode)
    table.delete("k = 2")
    table.update({"p": "'c'", "v": "concat(v, '!')"}, predicate="k % 2 = 1")
    table.merge(data(3, 4, 50), "t.k = s.k").when_matched_update_all().when_not_matched_insert_all().execute()
    table.append(data(60, p="z"))
    table.overwrite(data(70, 71, p="z"), predicate="p = 'z' OR k = 50")
    table.upsert(data(1, 71, 80, v="up", p="b"), on="k")
    table.overwrite(data(1, 1, 2))
    table.delete()
    table.upsert(data(5), on="k")
    invariants.check(root)
    assert rows(root, "k") == [(5,)]


REPLAYS: dict[str, Callable[[DeltaTable], Any]] = {
    "append": lambda t: t.append(data(1), txn=("stream", 7)),
    "overwrite": lambda t: t.overwrite(data(1), txn=("stream", 7)),
    "delete": lambda t: t.delete("k = 2", txn=("stream", 7)),
    "update": lambda t: t.update({"v": "concat(v, '!')"}, predicate="k = 2", txn=("stream", 7)),
    "merge": lambda t: (
        t.merge(data(2, 99), "t.k = s.k", txn=("stream", 7))
        .when_matched_update({"v": "concat(t.v, '!')"})
        .when_not_matched_insert_all()
        .execute()
    ),
    "upsert": lambda t: t.upsert(data(2, 99), on="k", update={"v": "concat(t.v, '!')"}, txn=("stream", 7)),
}


@pytest.mark.bug("T-68")
@BOTH_MODES
@pytest.mark.parametrize("lost", [False, True], ids=["answered", "first answer lost"])
@pytest.mark.parametrize("verb", REPLAYS)
def test_a_replayed_batch_is_committed_once(
    tmp_path: Path, mode: str, lost: bool, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "WORLD", dataclasses.replace(commit_module.WORLD, sleep=lambda _: None))
    root = tmp_path / "t"
    two_parts(root, mode)
    first = DeltaTable(root)
    if lost:
        store = FaultyStore(LocalStore(str(root)), at=1, mode="after", matching=lambda call: call.op == "put_if_absent")
        first = DeltaTable(store)
    done = REPLAYS[verb](first)
    assert (done.version, done.skipped) == (3, None)
    after = rows(root)
    for handle in (first, DeltaTable(root)):
        again = REPLAYS[verb](handle)
        assert again.skipped
        assert again.version == 3
        assert again.txn_id is None
    before = files_below(root)
    stale = REPLAYS[verb](DeltaTable(root, version=2))
    assert stale.skipped, "a handle that had not seen the first one"
    assert files_below(root) == before
    assert rows(root) == after
    assert DeltaTable(root).version() == 3
    assert len(of_kind(root, 3, "txn")) == 1
    invariants.check(root)


@pytest.mark.bug("T-69")
@BOTH_MODES
@pytest.mark.parametrize("twice", [False, True], ids=["once", "after another"])
@pytest.mark.parametrize(
    "run",
    [
        lambda t: t.delete("p = 'b'"),
        lambda t: t.delete(),
        lambda t: t.delete("k > 10"),
        lambda t: t.overwrite(data(77, p="b"), predicate="p = 'b'"),
        lambda t: t.merge(data(*range(11, 17)), "t.k = s.k").when_matched_delete().execute(),
    ],
    ids=["a partition", "all", "a file by its statistics", "replace a partition", "merge"],
)
def test_whole_files_that_go_need_no_change_files(tmp_path: Path, mode: str, twice: bool, run: Any) -> None:
    root = tmp_path / "t"
    table = two_parts(root, mode)
    if twice:
        table.delete("k = 13")
    run(table)
    version = table.version()
    assert of_kind(root, version, "remove")
    assert not of_kind(root, version, "cdc")
    assert {change[0] for change in feed(root, version, "k")} <= {"delete", "insert"}
    invariants.check(root)
