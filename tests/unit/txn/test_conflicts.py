"""The conflict matrix, cell by cell: what the loser planned against what the winner committed.

The table below is the specification. A cell lists the conflicts that may be raised in order; ``p`` marks one that needs
the winner to touch the partition that the loser read (always so in an unpartitioned table), ``f`` one that needs it to
remove a file of the loser's. ``WS:`` and ``S:`` give a cell by isolation level.
"""

from __future__ import annotations

import itertools

import pytest

from deltalite import features
from deltalite.exceptions import (
    ConcurrentAppendError,
    ConcurrentDeleteDeleteError,
    ConcurrentDeleteReadError,
    ConcurrentTransactionError,
    ConflictError,
    MetadataChangedError,
    ProtocolChangedError,
)
from deltalite.expr.bind import bind_predicate
from deltalite.model.actions import (
    AddFile,
    CommitInfo,
    DomainMetadata,
    FileKey,
    Metadata,
    Protocol,
    RemoveFile,
    SetTransaction,
)
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.pending import IsolationLevel, PendingCommit, ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Field, Schema
from deltalite.txn.conflicts import Contest, check
from deltalite.txn.finalize import isolation_level

SCHEMA = Schema([Field("p", "string"), Field("x", "long")])
ERRORS = {
    "CA": ConcurrentAppendError,
    "DR": ConcurrentDeleteReadError,
    "DD": ConcurrentDeleteDeleteError,
    "MC": MetadataChangedError,
    "PC": ProtocolChangedError,
    "CT": ConcurrentTransactionError,
}
WINNERS = ["blind append", "append", "rewrite", "delete", "optimize", "overwrite", "alter", "upgrade", "txn", "vacuum"]
MATRIX = {
    "blind append": ["-", "-", "-", "-", "-", "-", "MC", "-", "-", "-"],
    "append": ["WS:- S:CAp", "CAp", "CAp,DRf", "DRf", "CAp,DRf", "CA,DR", "MC", "-", "WS:- S:CAp", "-"],
    "rewrite": ["WS:- S:CAp", "CAp", "CAp,DRf,DDf", "DRf,DDf", "CAp,DRf,DDf", "CA,DR,DD", "MC", "-", "WS:- S:CAp", "-"],
    "optimize": ["-", "-", "DRf,DDf", "DRf,DDf", "DRf,DDf", "DRf,DDf", "MC", "-", "-", "-"],
    "overwrite": ["WS:- S:CA", "CA", "CA,DR,DD", "DR,DD", "CA,DR,DD", "CA,DR,DD", "MC", "-", "WS:- S:CA", "-"],
    "replace where": ["WS:- S:CAp", "CAp", "CAp,DRf,DDf", "DRf,DDf", "CAp,DRf,DDf", "CAp,DR,DD", "MC", "-", "WS:- S:CAp", "-"],
    "alter": ["-", "-", "-", "-", "-", "-", "MC", "-", "-", "-"],
    "add constraint": ["CA", "CA", "CA,DR", "DR", "CA,DR", "CA,DR", "MC", "-", "CA", "-"],
    "upgrade": ["-", "-", "-", "-", "-", "-", "MC", "PC", "-", "-"],
    "streaming append": ["-", "-", "-", "-", "-", "-", "MC", "-", "CT", "-"],
    "restore": ["WS:- S:CA", "CA", "CA,DR,DD", "DR,DD", "CA,DR,DD", "CA,DR,DD", "MC", "-", "WS:- S:CA", "-"],
}  # fmt: skip


def add(path: str, p: str | None, change: bool = True) -> AddFile:
    return AddFile(path, {} if p is None else {"p": p}, 1, 1, change, stats='{"numRecords":1}')


def remove(path: str, change: bool = True) -> RemoveFile:
    return RemoveFile(path, change, 1)


def table(partitioned: bool, isolation: str) -> Snapshot:
    configuration = {"delta.isolationLevel": isolation}
    metadata = Metadata("id", SCHEMA.to_json(), ("p",) if partitioned else (), configuration)
    files = [add("one", "1" if partitioned else None), add("two", "2" if partitioned else None)]
    return Snapshot.first(Commit(0, encode_commit([Protocol(1, 2), metadata, *files]), 1), features.partition_keys)


def loser(kind: str, base: Snapshot, partitioned: bool) -> PendingCommit:
    """An operation that reads and rewrites partition 1, whose only file is ``one``."""
    here = bind_predicate("p = '1'", SCHEMA)
    key = FileKey("one", None)
    touched = ReadSet(predicates=(here,), files=frozenset({key}))
    whole = ReadSet(whole_table=True)
    new, metadata = add("new", "1" if partitioned else None), base.config.metadata
    quiet = add("new", "1" if partitioned else None, change=False)
    actions, reads = {
        "blind append": ((new,), ReadSet()),
        "append": ((new,), touched),
        "rewrite": ((remove("one"), new), touched),
        "optimize": ((remove("one", False), quiet), touched),
        "overwrite": ((remove("one"), remove("two"), new), whole),
        "replace where": ((remove("one"), new), touched),
        "alter": ((metadata,), ReadSet()),
        "add constraint": ((metadata,), whole),
        "upgrade": ((Protocol(1, 7, None, ("appendOnly", "invariants", "domainMetadata")),), ReadSet()),
        "streaming append": ((new,), ReadSet(app_ids=frozenset({"app"}))),
        "restore": ((remove("one"), remove("two"), new), whole),
    }[kind]
    transactions = (SetTransaction("app", 2),) if kind == "streaming append" else ()
    return PendingCommit(base, kind, actions, "mine", reads, transactions=transactions)


def winner(kind: str, base: Snapshot, partitioned: bool, overlap: bool) -> Commit:
    p = ("1" if overlap else "2") if partitioned else None
    file = "one" if overlap else "two"
    new = add("theirs", p)
    quiet = add("theirs", p, change=False)
    actions = {
        "blind append": [new],
        "append": [new],
        "rewrite": [remove(file), new],
        "delete": [remove(file)],
        "optimize": [remove(file, False), quiet],
        "overwrite": [remove("one"), remove("two"), add("theirs", "1" if partitioned else None)],
        "alter": [base.config.metadata],
        "upgrade": [Protocol(1, 7, None, ("appendOnly", "invariants", "domainMetadata"))],
        "txn": [SetTransaction("app", 1), new],
        "vacuum": [],
    }[kind]
    info = {"operation": kind, "txnId": "theirs", "isBlindAppend": kind in ("blind append", "txn")}
    return Commit(1, encode_commit([CommitInfo(info), *actions]), 2)


def expected(cell: str, isolation: str, partitioned: bool, overlap: bool) -> str | None:
    if cell.startswith("WS:"):
        levels = dict(part.split(":") for part in cell.split())
        cell = levels["WS" if isolation == "WriteSerializable" else "S"]
    for mark in cell.split(","):
        if mark == "-":
            continue
        if mark.endswith("p") and not (overlap or not partitioned):
            continue
        if mark.endswith("f") and not overlap:
            continue
        return mark[:2]
    return None


CASES = list(itertools.product(MATRIX, WINNERS, ["Serializable", "WriteSerializable"], [True, False], [True, False]))


@pytest.mark.parametrize(("mine", "theirs", "isolation", "partitioned", "overlap"), CASES)
def test_matrix(mine: str, theirs: str, isolation: str, partitioned: bool, overlap: bool) -> None:
    base = table(partitioned, isolation)
    pending = loser(mine, base, partitioned)
    contest = Contest(pending, winner(theirs, base, partitioned, overlap), base.config, isolation_level(pending, base))
    cell = MATRIX[mine][WINNERS.index(theirs)]
    want = expected(cell, isolation, partitioned, overlap or theirs == "overwrite")
    try:
        check(contest)
        got = None
    except ConflictError as error:
        got = next(code for code, cls in ERRORS.items() if type(error) is cls)
        assert error.winner_version == 1 and error.winner_txn_id == "theirs" and error.hint
    assert got == want


def test_snapshot_isolation_where_no_data_changes() -> None:
    base = table(True, "Serializable")
    assert isolation_level(loser("optimize", base, True), base) is IsolationLevel.SNAPSHOT


def test_default_isolation_is_write_serializable() -> None:
    base = table(True, "Serializable")
    plain = Metadata("id", SCHEMA.to_json())
    silent = Snapshot.first(Commit(0, encode_commit([Protocol(1, 2), plain]), 1), features.partition_keys)
    assert isolation_level(loser("blind append", base, True), silent) is IsolationLevel.WRITE_SERIALIZABLE


@pytest.mark.bug("T-13")
@pytest.mark.bug("T-14")
def test_a_read_that_found_nothing_is_a_read() -> None:
    """Two overwrites of an empty table do not both land."""
    metadata = Metadata("id", SCHEMA.to_json())
    base = Snapshot.first(Commit(0, encode_commit([Protocol(1, 2), metadata]), 1), features.partition_keys)
    pending = PendingCommit(base, "WRITE", (add("mine", None),), "mine", ReadSet(whole_table=True))
    other = CommitInfo({"operation": "WRITE", "txnId": "t", "isBlindAppend": False})
    with pytest.raises(ConcurrentAppendError):
        won = Commit(1, encode_commit([other, add("theirs", None)]), 2)
        check(Contest(pending, won, base.config, IsolationLevel.WRITE_SERIALIZABLE))


def test_statistics_disprove_an_append() -> None:
    base = table(False, "Serializable")
    low = bind_predicate("x < 10", SCHEMA)
    pending = PendingCommit(base, "DELETE", (remove("one"),), "mine", ReadSet(predicates=(low,)))
    stats = '{"numRecords":1,"minValues":{"x":%d},"maxValues":{"x":%d},"nullCount":{"x":0}}'
    for value, conflicts in ((5, True), (50, False)):
        file = AddFile("theirs", {}, 1, 1, True, stats=stats % (value, value))
        contest = Contest(pending, Commit(1, encode_commit([file]), 2), base.config, IsolationLevel.SERIALIZABLE)
        if conflicts:
            with pytest.raises(ConcurrentAppendError):
                check(contest)
        else:
            check(contest)


def test_a_commit_that_does_not_say_so_is_no_blind_append() -> None:
    base = table(True, "WriteSerializable")
    contest = Contest(
        loser("rewrite", base, True), Commit(1, encode_commit([add("theirs", "1")]), 2), base.config,
        IsolationLevel.WRITE_SERIALIZABLE,
    )  # fmt: skip
    with pytest.raises(ConcurrentAppendError):
        check(contest)


def test_the_same_domain_conflicts() -> None:
    base = table(True, "WriteSerializable")
    pending = PendingCommit(base, "SET", (DomainMetadata("mine", "{}"),), "mine")
    for domain, conflicts in (("mine", True), ("other", False)):
        won = Commit(1, encode_commit([DomainMetadata(domain, "{}")]), 2)
        contest = Contest(pending, won, base.config, IsolationLevel.WRITE_SERIALIZABLE)
        if conflicts:
            with pytest.raises(ConcurrentTransactionError):
                check(contest)
        else:
            check(contest)


def test_a_dropped_feature_conflicts() -> None:
    metadata = Metadata("id", SCHEMA.to_json())
    had = Protocol(1, 7, None, ("appendOnly", "domainMetadata"))
    base = Snapshot.first(Commit(0, encode_commit([had, metadata]), 1), features.partition_keys)
    won = Commit(1, encode_commit([Protocol(1, 7, None, ("appendOnly",))]), 2)
    pending = PendingCommit(base, "WRITE", (add("new", None),), "mine")
    with pytest.raises(ProtocolChangedError):
        check(Contest(pending, won, base.config, IsolationLevel.WRITE_SERIALIZABLE))


@pytest.mark.parametrize("listed", [True, False])
def test_a_domain_that_is_rebased_does_not_conflict_where_its_feature_is_supported(listed: bool) -> None:
    wanted = ("rowTracking", "domainMetadata") if listed else ("domainMetadata",)
    first = Commit(0, encode_commit([Protocol(1, 7, None, wanted), Metadata("id", SCHEMA.to_json())]), 1)
    base = Snapshot.first(first, features.partition_keys)
    mark = DomainMetadata("delta.rowTracking", '{"rowIdHighWaterMark":7}')
    pending = PendingCommit(base, "BACKFILL", (mark, add("new", None)), "mine")
    contest = Contest(pending, Commit(1, encode_commit([mark]), 2), base.config, IsolationLevel.WRITE_SERIALIZABLE)
    if listed:
        check(contest)
    else:
        with pytest.raises(ConcurrentTransactionError):
            check(contest)
