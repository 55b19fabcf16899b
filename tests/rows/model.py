"""DELETE, UPDATE, MERGE and replaceWhere told once more, over lists of rows.

A row of the table is a dict of its columns, with ``ROW_ID`` and ``ROW_VERSION`` beside them where the table tracks
rows; a new row has ``NEW`` there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
ROW_ID, ROW_VERSION, NEW = "_row_id", "_row_commit_version", "new"
TRACKED = (ROW_ID, ROW_VERSION)


@dataclass(frozen=True)
class ModelClause:
    """One ``WHEN ... THEN ...``.

    :param when: ``matched``, ``not_matched`` or ``not_matched_by_source``.
    :param action: ``update``, ``delete``, ``insert`` or ``fail``.
    :param condition: an expression of :mod:`rows.expressions`; ``None`` holds always.
    :param values: expressions by column; ``None`` for ``update_all`` and ``insert_all``.
    :param except_cols: columns that the ``_all`` forms leave out.
    """

    when: str
    action: str
    condition: Any = None
    values: Mapping[str, Any] | None = None
    except_cols: tuple[str, ...] = ()

    def applies(self, t: Row, s: Row) -> bool:
        return self.condition is None or self.condition.value(t, s) is True

    def assigned(self, columns: Sequence[str], t: Row, s: Row) -> Row:
        if self.values is None:
            return {name: s[name] for name in columns if name not in self.except_cols}
        return {name: value.value(t, s) for name, value in self.values.items()}


class Refusal(Exception):
    """The operation must fail.

    :param ambiguous: rows of the table that several source rows would change.
    :param failed: whether a ``fail`` clause applies to something.
    """

    def __init__(self, ambiguous: int, failed: bool) -> None:
        super().__init__(ambiguous, failed)
        self.ambiguous = ambiguous
        self.failed = failed


@dataclass
class Outcome:
    """The table afterwards, and how it came about.

    :param changes: what a change feed tells: ``(kind, columns of the row)``.
    :param counts: rows by ``(when, action)``.
    """

    rows: list[Row] = field(default_factory=list)
    changes: list[tuple[str, Row]] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.changes

    def total(self, action: str) -> int:
        return sum(n for (_, a), n in self.counts.items() if a == action)

    def keep(self, row: Row) -> None:
        self.rows.append(row)

    def delete(self, row: Row, when: str = "not_matched_by_source") -> None:
        self._count(when, "delete")
        self.changes.append(("delete", plain(row)))

    def update(self, row: Row, new: Row, when: str = "not_matched_by_source") -> None:
        self._count(when, "update")
        self.changes += [("update_preimage", plain(row)), ("update_postimage", plain(row) | plain(new))]
        self.rows.append({**row, **new, **({ROW_VERSION: NEW} if ROW_ID in row else {})})

    def insert(self, new: Row, tracked: bool) -> None:
        self._count("not_matched", "insert")
        self.changes.append(("insert", plain(new)))
        self.rows.append({**new, **(dict.fromkeys(TRACKED, NEW) if tracked else {})})

    def _count(self, when: str, action: str) -> None:
        self.counts[when, action] = self.counts.get((when, action), 0) + 1


def plain(row: Row) -> Row:
    """Only the columns."""
    return {name: value for name, value in row.items() if name not in TRACKED}


def merge(
    table: list[Row], source: list[Row], on: Any, clauses: Sequence[ModelClause], columns: Sequence[str], tracked: bool
) -> Outcome:
    """
    :raises Refusal: when several pairs to which a clause applies share a row of the table, unless the only clause for
        matched rows deletes them without a condition; when a ``fail`` clause applies.
    """
    done, ambiguous, refused = Outcome(), 0, False
    met: set[int] = set()
    matched = [c for c in clauses if c.when == "matched"]
    lone_delete = [(c.action, c.condition) for c in matched] == [("delete", None)]

    def first(when: str, t: Row, s: Row) -> ModelClause | None:
        return next((c for c in clauses if c.when == when and c.applies(t, s)), None)

    for t in table:
        partners = [i for i, s in enumerate(source) if on.value(t, s) is True]
        met.update(partners)
        if partners:
            decided = [(c, source[i]) for i in partners if (c := first("matched", t, source[i])) is not None]
        else:
            decided = [(c, {}) for c in [first("not_matched_by_source", t, {})] if c is not None]
        refused |= any(c.action == "fail" for c, _ in decided)
        if len(decided) > 1 and not lone_delete:
            ambiguous += 1
        if not decided:
            done.keep(t)
        elif decided[0][0].action == "delete":
            done.delete(t, decided[0][0].when)
        else:
            clause, s = decided[0]
            done.update(t, clause.assigned(columns, t, s), clause.when)
    for i, s in enumerate(source):
        if i not in met and (clause := first("not_matched", {}, s)) is not None:
            refused |= clause.action == "fail"
            done.insert({**dict.fromkeys(columns), **clause.assigned(columns, {}, s)}, tracked)
    if ambiguous or refused:
        raise Refusal(ambiguous, refused)
    return done


def delete(table: list[Row], predicate: Any) -> Outcome:
    done = Outcome()
    for t in table:
        (done.delete if predicate is None or predicate.value(t, {}) is True else done.keep)(t)
    return done


def update(table: list[Row], predicate: Any, values: Mapping[str, Any]) -> Outcome:
    done = Outcome()
    for t in table:
        if predicate is None or predicate.value(t, {}) is True:
            done.update(t, {name: value.value(t, {}) for name, value in values.items()})
        else:
            done.keep(t)
    return done


def append(table: list[Row], data: list[Row], tracked: bool) -> Outcome:
    done = Outcome(rows=list(table))
    for row in data:
        done.insert(row, tracked)
    return done


def replace_where(table: list[Row], predicate: Any, data: list[Row], tracked: bool) -> Outcome:
    done = delete(table, predicate)
    for row in data:
        done.insert(row, tracked)
    return done
