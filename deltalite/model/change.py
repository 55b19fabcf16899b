"""Change: what an operation wants done, before any file is written. The executor turns it into a PendingCommit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from deltalite.model.actions import Action
from deltalite.model.pending import ReadSet

if TYPE_CHECKING:
    from deltalite.exceptions import ExpressionError
    from deltalite.model.config import TableConfig
    from deltalite.model.expr import BoundExpr
    from deltalite.model.tasks import ScanPlan
    from deltalite.model.write_spec import WriteSpec

TARGET, SOURCE = "target.", "source."
"""Prefixes of the columns of a joined row: ``target.x`` is the table's column ``x``, ``source.x`` the source's."""

When = Literal["matched", "not_matched", "not_matched_by_source"]
ClauseAction = Literal["update", "delete", "insert", "fail"]


@dataclass(frozen=True, slots=True)
class Append:
    """New rows, possibly in place of whole files.

    :param data: the rows, read once.
    :param spec: how they are written.
    :param replaced: live files (``ADD_SCHEMA``) that leave with the same commit.
    :param replace_partitions: replace every live file of a partition that gets new rows, whatever ``replaced`` says.
    :param actions: changes of the table itself (protocol, metadata) in the same commit.
    """

    data: pa.RecordBatchReader
    spec: WriteSpec
    operation: str
    parameters: Mapping[str, Any]
    reads: ReadSet = field(default_factory=ReadSet)
    replaced: pa.Table | None = None
    replace_partitions: bool = False
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """One ``WHEN ... THEN ...`` of a MERGE. Of the clauses of one kind the first whose condition is true decides.

    :param when: which rows it is for.
    :param action: what happens to them; ``fail`` refuses the whole operation.
    :param condition: over the joined row (see ``TARGET``); ``None`` holds for all.
    :param values: for updates and inserts, the columns of the new row that get a value, over the joined row. Columns
        that are not there are left to the write steps (defaults, generated columns) or become null.
    """

    when: When
    action: ClauseAction
    condition: BoundExpr | None = None
    values: Mapping[str, BoundExpr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """``target = source``, one conjunct of a match condition; both sides have one type, over the joined row.

    :param null_safe: ``<=>``: null matches null.
    """

    target: BoundExpr
    source: BoundExpr
    null_safe: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """When a row of the table and one of the source belong together: all parts are true.

    :param keys: equalities between the two sides.
    :param target: what only the table's row decides; ``None`` is true. Rows that fail it are not matched.
    :param source: what only the source's row decides.
    :param residual: the rest, over the joined row.
    """

    keys: tuple[KeyPair, ...] = ()
    target: BoundExpr | None = None
    source: BoundExpr | None = None
    residual: BoundExpr | None = None


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Rows of the table that change or leave, and rows that come. DELETE and UPDATE have no source: all rows of the
    table are then *not matched by source*, and there is one clause.

    :param config: the configuration under which the table's rows are read.
    :param plan: the files that may hold such rows, and a condition without which a row is not looked at.
    :param clauses: in the order of the statement.
    :param spec: how new rows are written.
    :param covered: per file of the plan, whether all its rows are known to satisfy the plan's condition.
    :param source: the engine's materialised source, read as often as needed.
    :param match: ``None`` without a source.
    :param appended: rows that come whatever happens to others, read once.
    :param actions: changes of the table itself (protocol, metadata) in the same commit.
    :param readable: turns an error about joined rows into one in the user's names.
    """

    config: TableConfig
    plan: ScanPlan
    clauses: tuple[Clause, ...]
    spec: WriteSpec
    operation: str
    parameters: Mapping[str, Any]
    covered: np.ndarray | None = None
    source: Any = None
    match: Match | None = None
    appended: pa.RecordBatchReader | None = None
    reads: ReadSet = field(default_factory=ReadSet)
    actions: tuple[Action, ...] = ()
    readable: Callable[[ExpressionError], ExpressionError] | None = None


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files of one partition that are written again together, in their order, as one or more new files.

    :param files: their rows in the plan's list of files.
    :param tags: what the new files are tagged with.
    :param clustering_provider: who clustered the new files.
    """

    files: np.ndarray
    tags: Mapping[str, str] | None = None
    clustering_provider: str | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Files written again with the rows that they still have; no row changes.

    :param config: the configuration under which the rows are read.
    :param plan: the files.
    :param groups: what is written together; one group after the other.
    :param order: columns along which the rows of each group are laid out on a space-filling curve; with none of them
        rows keep their order.
    :param seconds: begin no further group after so much time; ``None`` does all of them.
    :param threads: files read at a time; ``None`` is up to the engine.
    :param considered: live files that were looked at, for the metrics.
    :param metrics: where nothing is written again, and ``actions`` are all.
    :param progress: told the bytes of files that are done with, and of all of them.
    """

    config: TableConfig
    plan: ScanPlan
    spec: WriteSpec
    operation: str
    parameters: Mapping[str, Any]
    reads: ReadSet = field(default_factory=ReadSet)
    actions: tuple[Action, ...] = ()
    groups: tuple[FileGroup, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    seconds: float | None = None
    threads: int | None = None
    considered: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class LogOnly:
    """Actions that no new file backs: metadata, protocol, domains."""

    actions: tuple[Action, ...]
    operation: str
    parameters: Mapping[str, Any]
    reads: ReadSet = field(default_factory=ReadSet)


Change = Append | RowChanges | Rewrite | LogOnly
