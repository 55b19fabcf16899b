"""MERGE, UPDATE and DELETE: wrong rows that other engines have written (reliability: T-14, T-17 to T-29)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deltalite import DeltaTable, WriterProperties
from deltalite.exceptions import ConflictError, MultipleMatchesError
from rows import invariants
from rows.tables import BOTH_MODES, feed, files_below, log_of, rows, table_of


def parts(**columns: list[Any]) -> pa.Table:
    types = {"k": pa.int64(), "p": pa.string(), "v": pa.string(), "n": pa.int64()}
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})


TWO_PARTITIONS = parts(k=[1, 2, 3, 4], p=["a", "a", "b", "b"], v=["x"] * 4)
PARTITIONING = pytest.mark.parametrize("partition_by", [None, "p"])


@pytest.mark.bug("T-14")
@BOTH_MODES
@pytest.mark.parametrize("verb", ["merge", "upsert"])
def test_threads_that_merge_one_key_into_an_empty_table_leave_one_row(tmp_path: Path, mode: str, verb: str) -> None:
    root, writers = tmp_path / "t", 6
    table_of(root, mode, parts(k=[], v=[]))
    together, errors = threading.Barrier(writers), []

    def write(number: int) -> None:
        table, data = DeltaTable(root, storage_options={"durability": "relaxed"}), parts(k=[1], v=[str(number)])
        together.wait()
        for _ in range(50):
            try:
                if verb == "upsert":
                    table.upsert(data, on="k")
                else:
                    merger = table.merge(data, "t.k = s.k")
                    merger.when_matched_update_all().when_not_matched_insert_all().execute()
                return
            except ConflictError:
                table.refresh()
        errors.append(number)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(rows(root)) == 1
    assert DeltaTable(root).version() >= writers


@pytest.mark.bug("T-17")
@BOTH_MODES
@PARTITIONING
@pytest.mark.parametrize("predicate", ["p = 'a'", "k = 2", "p = 'a' AND k > 1", "k = 99"])
def test_update_leaves_rows_alone_that_do_not_match(
    tmp_path: Path, mode: str, partition_by: str | None, predicate: str
) -> None:
    table = table_of(tmp_path / "t", mode, TWO_PARTITIONS, partition_by=partition_by)
    table.update({"v": "'new'"}, predicate=predicate)
    hit = {"p = 'a'": {1, 2}, "k = 2": {2}, "p = 'a' AND k > 1": {2}, "k = 99": set()}[predicate]
    assert rows(table, "k", "v") == [(k, "new" if k in hit else "x") for k in (1, 2, 3, 4)]


@pytest.mark.bug("T-18")
@BOTH_MODES
@PARTITIONING
@pytest.mark.parametrize("order", ["t.p = 'a' AND t.k = s.k", "t.k = s.k AND t.p = 'a'"])
def test_a_filter_on_the_target_truncates_nothing(
    tmp_path: Path, mode: str, partition_by: str | None, order: str
) -> None:
    table = table_of(tmp_path / "t", mode, TWO_PARTITIONS, partition_by=partition_by)
    data = parts(k=[2, 3], p=["a", "a"], v=["new", "new"])
    table.merge(data, order).when_matched_update_all().execute()
    assert rows(table, "k", "p", "v") == [(1, "a", "x"), (2, "a", "new"), (3, "b", "x"), (4, "b", "x")]


@pytest.mark.bug("T-19")
@BOTH_MODES
def test_source_duplicates_are_refused_with_keys_and_count(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = table_of(root, mode, TWO_PARTITIONS)
    before = files_below(root)
    data = parts(k=[2, 2, 3, 3, 3, 9, 9], p=["a"] * 7, v=list("abcdefg"))
    merger = table.merge(data, "t.k = s.k").when_matched_update_all().when_not_matched_insert_all()
    with pytest.raises(MultipleMatchesError) as caught:
        merger.execute()
    assert caught.value.count == 2
    assert sorted(key["k"] for key in caught.value.keys) == [2, 3]
    assert sorted(map(sorted, caught.value.source_rows)) == [[0, 1], [2, 3, 4]]
    assert files_below(root) == before
    # Rows that match nothing may repeat, and so may pairs to which no clause applies.
    table.merge(data, "t.k = s.k").when_matched_update_all("s.v IN ('a', 'e')").when_not_matched_insert_all().execute()
    assert rows(table, "k", "v") == [(1, "x"), (2, "a"), (3, "e"), (4, "x"), (9, "f"), (9, "g")]


@pytest.mark.bug("T-19")
@BOTH_MODES
def test_a_lone_delete_may_be_matched_often(tmp_path: Path, mode: str) -> None:
    table = table_of(tmp_path / "t", mode, TWO_PARTITIONS)
    data = parts(k=[2, 2, 3, 3])
    assert table.merge(data, "t.k = s.k").when_matched_delete().execute()["num_target_rows_deleted"] == 2
    assert rows(table, "k") == [(1,), (4,)]
    with pytest.raises(MultipleMatchesError):
        table.merge(parts(k=[1, 1]), "t.k = s.k").when_matched_delete("t.k = 1").execute()


@pytest.mark.bug("T-20")
@BOTH_MODES
@pytest.mark.parametrize("row_group", [8191, 8192, 8193, 100_000])
@pytest.mark.parametrize("count", [8191, 8192, 8193, 100_000])
def test_unique_keys_are_never_called_ambiguous(tmp_path: Path, mode: str, row_group: int, count: int) -> None:
    keys = pa.array(np.random.default_rng(5).permutation(count), pa.int64())
    writing = WriterProperties(max_row_group_size=row_group)
    old = pa.table({"k": keys, "n": pa.nulls(count, pa.int64())})
    table = table_of(tmp_path / "t", mode, old, writer_properties=writing)
    new = pa.table({"k": pc.add(keys.take(pc.sort_indices(keys)), pa.scalar(5, pa.int64())), "n": keys})
    merger = table.merge(new, "t.k = s.k", writer_properties=writing)
    done = merger.when_matched_update_all().when_not_matched_insert_all().execute()
    assert (done["num_target_rows_updated"], done["num_target_rows_inserted"]) == (count - 5, 5)
    found = table.to_pyarrow_table(columns=["k", "n"])
    assert found.num_rows == count + 5
    assert pc.count_distinct(found["k"]).as_py() == count + 5
    assert found["n"].null_count == 5


@pytest.mark.bug("T-21")
@BOTH_MODES
@pytest.mark.parametrize("source", ["table", "scan", "arrow", "dataset", "other handle"])
def test_a_table_merges_into_itself(tmp_path: Path, mode: str, source: str) -> None:
    table = table_of(tmp_path / "t", mode, TWO_PARTITIONS, parts(k=[5], p=[None], v=[None]))
    table.delete("k = 1")
    given = {
        "table": lambda: table,
        "scan": table.scan,
        "arrow": table.to_pyarrow_table,
        "dataset": table.to_pyarrow_dataset,
        "other handle": lambda: DeltaTable(tmp_path / "t"),
    }[source]()
    merger = table.merge(given, "t.k = s.k").when_matched_update({"v": "concat(s.v, t.v)"}, "s.k < 4")
    merger.when_matched_update_all().when_not_matched_insert_all().when_not_matched_by_source_delete().execute()
    assert rows(table, "k", "p", "v") == [(2, "a", "xx"), (3, "b", "xx"), (4, "b", "x"), (5, None, None)]


@pytest.mark.bug("T-22")
@BOTH_MODES
def test_a_source_is_read_once_and_only_when_executed(tmp_path: Path, mode: str) -> None:
    table = table_of(
        tmp_path / "t", mode, parts(k=list(range(10)), n=[0] * 10), properties={"delta.enableChangeDataFeed": "true"}
    )
    draws = itertools.count(1)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in (5, 10):
            ours = [next(draws) for _ in range(5)]
            yield parts(k=list(range(start, start + 5)), n=ours).to_batches()[0]

    schema = parts(k=[], n=[]).schema
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    merger = table.merge(reader, "t.k = s.k").when_matched_update_all("s.n <> 3").when_matched_delete()
    merger.when_not_matched_insert_all("s.n <> 7")
    assert next(draws) == 1, "the source was read before the merge was executed"
    merger.execute()
    assert next(draws) == 12, "the source was read more than once"
    new = {5 + i: 2 + i for i in range(10)}  # key 6 has n = 3 and is deleted, key 10 has n = 7 and does not come
    kept = [(k, n) for k, n in new.items() if n not in (3, 7)]
    assert rows(table, "k", "n") == sorted([*((k, 0) for k in range(5)), *kept], key=repr)
    told = feed(tmp_path / "t", 2, "k", "n")
    assert [t for t in told if t[0] == "delete"] == [("delete", 6, 0)]


@pytest.mark.bug("T-23")
@BOTH_MODES
@PARTITIONING
def test_pruning_by_the_match_does_not_hide_rows_without_a_source(
    tmp_path: Path, mode: str, partition_by: str | None
) -> None:
    table = table_of(
        tmp_path / "t", mode, TWO_PARTITIONS.slice(0, 2), TWO_PARTITIONS.slice(2), partition_by=partition_by
    )
    merger = table.merge(parts(k=[2, 3], p=["a", "b"], v=["new", "new"]), "t.k = s.k AND t.p = 'a'")
    merger = merger.when_matched_update_all().when_not_matched_by_source_update({"v": "'orphan'"}, "t.k <> 4")
    merger.when_not_matched_by_source_delete().execute()
    assert rows(table, "k", "p", "v") == [(1, "a", "orphan"), (2, "a", "new"), (3, "b", "orphan")]


@pytest.mark.bug("T-24")
@BOTH_MODES
@pytest.mark.parametrize(
    ("predicate", "left"),
    [
        ("TRUE", [1]),
        ("FALSE", [1, 2, 3, 4]),
        ("NULL", [1, 2, 3, 4]),
        ("t.v = 'x'", [1, 3, 4]),
        ("t.v <> 'x'", [1, 2, 4]),
    ],
)
def test_a_deletion_without_a_source_obeys_its_condition(
    tmp_path: Path, mode: str, predicate: str, left: list[int]
) -> None:
    table = table_of(tmp_path / "t", mode, parts(k=[1, 2, 3, 4], v=["x", "x", "y", None]))
    table.merge(parts(k=[1]), "t.k = s.k").when_not_matched_by_source_delete(predicate).execute()
    assert [k for (k,) in rows(table, "k")] == left


@pytest.mark.bug("T-25")
@BOTH_MODES
def test_a_few_updates_in_a_large_partition(tmp_path: Path, mode: str) -> None:
    count = 500_000
    table = table_of(
        tmp_path / "t", mode, partition_by="p",
        *[pa.table({"k": np.arange(count) + base, "p": [part] * count, "n": np.zeros(count, "int64")})
          for base, part in ((0, "a"), (count, "b"))],
    )  # fmt: skip
    chosen = np.random.default_rng(1).choice(count, 400, replace=False)
    data = pa.table({"k": chosen, "p": ["a"] * 400, "n": chosen + 1})
    done = table.merge(data, "t.p = s.p AND t.k = s.k").when_matched_update_all().execute()
    assert done["num_target_rows_updated"] == 400
    found = table.to_pyarrow_table(columns=["k", "n"], filters="p = 'a'")
    assert found.num_rows == table.count("p = 'a'") == table.count("p = 'b'") == count
    expected = np.zeros(count, "int64")
    expected[chosen] = chosen + 1
    order = pc.sort_indices(found["k"])
    assert found["k"].take(order).to_numpy().tolist() == list(range(count))
    assert (found["n"].take(order).to_numpy() == expected).all()


@pytest.mark.bug("T-26")
@BOTH_MODES
@pytest.mark.parametrize("verb", ["merge", "upsert"])
def test_an_upsert_of_a_partitioned_table_repeats_no_untouched_row(tmp_path: Path, mode: str, verb: str) -> None:
    table = table_of(tmp_path / "t", mode, TWO_PARTITIONS, partition_by="p")
    data = parts(k=[2, 5], p=["a", "c"], v=["new", "new"])
    for _ in range(2):
        if verb == "upsert":
            table.upsert(data, on=["k", "p"])
        else:
            merger = table.merge(data, "t.k = s.k AND t.p = s.p")
            merger.when_matched_update_all().when_not_matched_insert_all().execute()
    assert rows(table, "k", "p", "v") == [
        (1, "a", "x"), (2, "a", "new"), (3, "b", "x"), (4, "b", "x"), (5, "c", "new"),
    ]  # fmt: skip


@pytest.mark.bug("T-27")
@BOTH_MODES
@pytest.mark.parametrize("predicate", [None, "n % 7 = 0", "n > 9000", "v IS NULL", "n < 0"])
def test_update_changes_no_number_of_rows(tmp_path: Path, mode: str, predicate: str | None) -> None:
    count = 10_000
    data = pa.table({"n": np.arange(count), "v": pa.array([None if i % 3 else "x" for i in range(count)])})
    writing = WriterProperties(max_row_group_size=999)
    table = table_of(tmp_path / "t", mode, data.slice(0, 6000), data.slice(6000), writer_properties=writing)
    for step in range(2):
        table.update({"v": f"concat('u{step}_', cast(n AS string))"}, predicate=predicate)
        assert table.count() == count
        found = table.to_pyarrow_table(columns=["n"])["n"].to_numpy()
        assert (np.sort(found) == np.arange(count)).all()


@pytest.mark.bug("T-28")
def test_keys_stay_unique_when_files_under_vectors_are_rewritten(tmp_path: Path) -> None:
    root, count = tmp_path / "t", 1000
    table = table_of(root, "vectors", parts(k=list(range(count)), n=[0] * count))
    for step, modulus in enumerate((97, 11, 5, 3, 2)):  # marked at first, rewritten when few rows are left
        keys = [k for k in range(count) if k % modulus == 0]
        merger = table.merge(parts(k=keys, n=[step + 1] * len(keys)), "t.k = s.k")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        assert [k for (k,) in sorted(rows(table, "k"))] == list(range(count))
    assert any("deletionVector" in a["remove"] for a in log_of(root, table.version()) if "remove" in a)
    invariants.check(root)


@pytest.mark.bug("T-29")
@BOTH_MODES
def test_a_key_that_moves_to_another_partition_is_there_once(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = table_of(root, mode, TWO_PARTITIONS, partition_by="p", properties={"delta.enableRowTracking": "true"})
    ids = {r["k"]: r["_row_id"] for r in table.scan(["k", "_row_id"]).read_all().to_pylist()}
    for part in ("b", "c", None, "a"):
        data = parts(k=[1, 3], p=[part, part], v=["m", "m"])
        table.merge(data, "t.k = s.k").when_matched_update_all().when_not_matched_insert_all().execute()
        assert rows(table, "k", "p") == [(1, part), (2, "a"), (3, part), (4, "b")]
        assert {r["k"]: r["_row_id"] for r in table.scan(["k", "_row_id"]).read_all().to_pylist()} == ids
    invariants.check(root)
