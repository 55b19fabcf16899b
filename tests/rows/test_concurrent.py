"""Several threads and processes change one table at a time: every acknowledged change counts, once, in the log's order."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import ConflictError

from .concurrency import txn_ids

WRITERS = 4
OPTIONS = {"durability": "relaxed"}
ACCOUNTS, FILES, START = 24, 6, 100


class Done(NamedTuple):
    """An acknowledged change: the version that it became, and what it was."""

    version: int
    what: tuple[Any, ...]


def frame(rows: Iterable[tuple[int, int]]) -> pa.Table:
    rows = list(rows)
    return pa.table({"k": pa.array([r[0] for r in rows], pa.int64()), "v": pa.array([r[1] for r in rows], pa.int64())})


def until_it_lands(table: DeltaTable, work: Callable[[], Any], chance: random.Random) -> int | None:
    """Repeat on the newest version after every conflict; the version it became, ``None`` when nothing was to do."""
    for attempt in range(200):
        try:
            result = work()
        except ConflictError as error:
            assert error.winner_version > table.version()
            time.sleep(chance.random() * 0.005 * min(attempt + 1, 8))
            table.refresh()
        else:
            return None if result is None or result.skipped else result.version
    raise AssertionError("200 conflicts in a row")


# -- the bank: money moves between accounts and is never made or lost (workload W1) ------------------------------------


def transfers(path: str, seed: int, count: int, in_steps: bool) -> list[Done]:
    table, chance, done = DeltaTable(path, storage_options=OPTIONS), random.Random(seed), []
    for _ in range(count):
        giver, taker = chance.sample(range(ACCOUNTS), 2)
        amount = chance.randint(1, 60)

        def move(giver: int = giver, taker: int = taker, amount: int = amount) -> Any:
            has = table.to_pyarrow_table(columns=["v"], filters=f"k = {giver}")["v"][0].as_py()
            if has < amount:
                return None
            if in_steps:
                with (tx := table.transaction()) as t:
                    t.update({"v": f"v - {amount}"}, predicate=f"k = {giver}")
                    t.update({"v": f"v + {amount}"}, predicate=f"k = {taker}")
                return tx.result
            source = frame([(giver, -amount), (taker, amount)])
            merger = table.merge(source, "t.k = s.k", source_alias="s", target_alias="t")
            return merger.when_matched_update({"v": "t.v + s.v"}).execute()

        table.refresh()
        version = until_it_lands(table, move, chance)
        if version is not None:
            done.append(Done(version, (giver, taker, amount)))
    return done


# -- upserts: the last one of each key stays (workload W3) -------------------------------------------------------------


def upserts(path: str, seed: int, count: int, _: bool) -> list[Done]:
    table, chance, done = DeltaTable(path, storage_options=OPTIONS), random.Random(seed), []
    for number in range(count):
        rows = [(key, 1000 * (seed + 1) + number) for key in chance.sample(range(2 * ACCOUNTS), 3)]

        def put(rows: list[tuple[int, int]] = rows) -> Any:
            merger = table.merge(frame(rows), "t.k = s.k", source_alias="s", target_alias="t")
            return merger.when_matched_update_all().when_not_matched_insert_all().execute()

        table.refresh()
        done.append(Done(until_it_lands(table, put, chance) or -1, tuple(rows)))
    return done


# -- both, and how they are judged -------------------------------------------------------------------------------------


def prepare(path: Path, vectors: bool) -> str:
    options = {"delta.enableDeletionVectors": str(vectors).lower(), "delta.checkpointInterval": "7"}
    each = ACCOUNTS // FILES
    for n in range(FILES):
        rows = frame((k, START) for k in range(n * each, (n + 1) * each))
        write_deltalake(path, rows, mode="append", configuration=options if n == 0 else None, storage_options=OPTIONS)
    return str(path)


def pool_of(kind: str) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(WRITERS)
    return ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn"))


def run(kind: str, work: Callable[..., list[Done]], path: str, count: int, in_steps: bool) -> list[Done]:
    with pool_of(kind) as pool:
        waiting = [pool.submit(work, path, seed, count, in_steps) for seed in range(WRITERS)]
        return sorted(done for part in waiting for done in part.result())


def assert_history(path: str, done: list[Done], apply: Callable[[dict[int, int], tuple[Any, ...]], None]) -> None:
    """Versions are the acknowledged changes and nothing else; each shows what all of them up to it lead to."""
    first = FILES
    newest = DeltaTable(path)
    assert [d.version for d in done] == list(range(first, newest.version() + 1))
    assert len(set(txn_ids(path))) == newest.version() + 1
    want = dict.fromkeys(range(ACCOUNTS), START)
    for one in done:
        apply(want, one.what)
        data = newest.at(one.version).to_pyarrow_table()
        keys = data["k"].to_pylist()
        assert len(set(keys)) == len(keys), "one row per key"
        assert dict(zip(keys, data["v"].to_pylist(), strict=True)) == want, one


def move(balances: dict[int, int], what: tuple[int, int, int]) -> None:
    giver, taker, amount = what
    balances[giver] -= amount
    balances[taker] += amount
    assert sum(balances.values()) == ACCOUNTS * START and min(balances.values()) >= 0


@pytest.mark.parametrize(("kind", "vectors", "in_steps"), [("processes", True, False), ("threads", False, True)])
def test_the_bank(tmp_path: Path, kind: str, vectors: bool, in_steps: bool) -> None:
    path = prepare(tmp_path / "bank", vectors)
    done = run(kind, transfers, path, 6, in_steps)
    assert len(done) > WRITERS
    assert_history(path, done, move)


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_no_acknowledged_upsert_is_lost(tmp_path: Path, vectors: bool) -> None:
    path = prepare(tmp_path / "upserts", vectors)
    done = run("threads", upserts, path, 6, False)
    assert len(done) == WRITERS * 6
    assert_history(path, done, lambda values, what: values.update(what))


@pytest.mark.nightly
@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
@pytest.mark.parametrize("work", [transfers, upserts])
def test_more_of_both_in_processes(tmp_path: Path, work: Callable[..., list[Done]], vectors: bool) -> None:
    path = prepare(tmp_path / "more", vectors)
    for in_steps in (False, True):
        before = DeltaTable(path).version()
        done = run("processes", work, path, 20, in_steps)
        apply = move if work is transfers else (lambda values, what: values.update(what))
        if before == FILES - 1:
            so_far = done
        else:
            so_far = sorted([*so_far, *done])
    assert_history(path, so_far, apply)
