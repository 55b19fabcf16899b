"""A MERGE's match told once more, by nested loops over Python values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deltalite.engine.match import find, source_columns, target_columns
from deltalite.engine.spill import Budget, Source
from deltalite.expr.bind import bind, bind_predicate
from deltalite.model.arrow import schema_to_arrow
from deltalite.model.change import SOURCE, TARGET, Clause, KeyPair, Match
from deltalite.model.edits import Edits
from deltalite.model.types import Field, Schema

Row = dict[str, Any]
Joined = Callable[[Row, Row], "bool | None"]


@dataclass(frozen=True)
class Side:
    """The rows of one side, with their Delta types."""

    schema: Schema
    rows: list[Row]

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, schema_to_arrow(self.schema))


def joined_schema(target: Schema, source: Schema) -> Schema:
    ours = [Field(TARGET + f.name, f.type) for f in target.fields]
    return Schema([*ours, *(Field(SOURCE + f.name, f.type) for f in source.fields)])


class Merge:
    """Expressions bound to the joined row of two sides. In texts ``t_x`` stands for ``target.x``, ``s_x`` for the source's."""

    def __init__(self, target: Schema, source: Schema) -> None:
        self.schema = joined_schema(target, source)

    def _named(self, text: str) -> str:
        for f in self.schema.fields:
            side, name = f.name.split(".", 1)
            text = text.replace(f"{side[0]}_{name}", f"`{f.name}`")
        return text

    def condition(self, text: str | None):
        return None if text is None else bind_predicate(self._named(text), self.schema)

    def pair(self, target: str, source: str, null_safe: bool = False) -> KeyPair:
        return KeyPair(bind(self._named(target), self.schema), bind(self._named(source), self.schema), null_safe)

    def clause(self, when, action, condition: str | None = None) -> Clause:
        return Clause(when, action, self.condition(condition))


def run(
    target: pa.Table,
    source: pa.Table,
    match: Match,
    clauses: Sequence[Clause],
    *,
    limit: int | str | None = "64MB",
    files: Sequence[int] | None = None,
    batch_rows: int = 1000,
    step: int = 1,
) -> Edits:
    """:func:`find` over tables.

    :param files: rows of each file; the default is one file.
    :param step: the distance of row positions in a file, as if rows between were deleted.
    """
    budget = Budget(limit)
    reader = pa.RecordBatchReader.from_batches(source.schema, source.to_batches(max_chunksize=batch_rows))
    with Source.of(reader, budget) as kept:
        names = target_columns(match, clauses)
        assert set(source_columns(match, clauses)) <= set(source.schema.names)
        return find(targets(target.select(names), files, batch_rows, step), kept, match, clauses, budget)


def targets(table: pa.Table, files: Sequence[int] | None, batch_rows: int, step: int):
    named = table.rename_columns([TARGET + name for name in table.schema.names])
    start = 0
    for file, rows in enumerate([table.num_rows] if files is None else files):
        for first in range(0, rows, batch_rows):
            count = min(batch_rows, rows - first)
            positions = pa.array([step * (first + i) for i in range(count)], pa.int64())
            part = named.slice(start + first, count).combine_chunks()
            columns = [c.chunk(0) if c.num_chunks else pa.array([], c.type) for c in part.columns]
            yield file, pa.RecordBatch.from_arrays([*columns, positions], [*part.schema.names, "_row_index"])
        start += rows


def same(a: Any, b: Any, null_safe: bool = False) -> bool | None:
    """SQL's equality as Spark has it."""
    if a is None or b is None:
        return (a is None and b is None) if null_safe else None
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if isinstance(a, dict):
        return all(same(a[k], b[k], True) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y, True) for x, y in zip(a, b, strict=True))
    return a == b


@dataclass(frozen=True)
class ModelClause:
    """A clause with its condition as a Python function of the two rows (``{}`` for a missing one)."""

    when: str
    action: str
    condition: Joined | None = None

    def holds(self, target: Row, source: Row) -> bool:
        return self.condition is None or self.condition(target, source) is True


class Ambiguous(Exception):
    def __init__(self, rows: list[int], pairs: dict[int, list[int]]) -> None:
        self.rows = rows
        self.pairs = pairs


class Refused(Exception):
    pass


def model(
    target: list[Row], source: list[Row], matches: Joined, clauses: Sequence[ModelClause]
) -> tuple[dict[int, tuple[int, int]], dict[int, list[int]]]:
    """What happens to which rows of the table: (clause, source row or -1); and the source rows of each insert."""
    pairs = {t: [s for s, row in enumerate(source) if matches(target[t], row) is True] for t in range(len(target))}
    numbered = list(enumerate(clauses))

    def first(when: str, a: Row, b: Row) -> int | None:
        return next((n for n, c in numbered if c.when == when and c.holds(a, b)), None)

    matched = [c for c in clauses if c.when == "matched"]
    lone_delete = len(matched) == 1 and matched[0].action == "delete" and matched[0].condition is None
    edits: dict[int, tuple[int, int]] = {}
    ambiguous: dict[int, list[int]] = {}
    refused = False
    for t, found in pairs.items():
        decided = [(n, s) for s in found if (n := first("matched", target[t], source[s])) is not None]
        if not found and (n := first("not_matched_by_source", target[t], {})) is not None:
            decided = [(n, -1)]
        if len(decided) > 1 and not lone_delete:
            ambiguous[t] = [s for _, s in decided]
        if decided:
            edits[t] = decided[0]
            refused |= clauses[decided[0][0]].action == "fail"
    met = {s for found in pairs.values() for s in found}
    inserted: dict[int, list[int]] = {}
    for s in range(len(source)):
        if s not in met and (n := first("not_matched", {}, source[s])) is not None:
            inserted.setdefault(n, []).append(s)
            refused |= clauses[n].action == "fail"
    if refused:
        raise Refused
    if ambiguous:
        raise Ambiguous(list(ambiguous), ambiguous)
    return edits, inserted


def told(edits: Edits, files: Sequence[int] | None, step: int = 1) -> tuple[dict[int, tuple[int, int]], dict[int, list[int]]]:
    """Edits in the model's words: rows of the table numbered over all files."""
    found: dict[int, tuple[int, int]] = {}
    start, before = {}, 0
    for file, rows in enumerate(files or []):
        start[file], before = before, before + rows
    for part in edits.files:
        assert part.positions is not None and len(part.positions), "only files in which something happens"
        assert list(part.positions) == sorted(set(part.positions.tolist()))
        assert part.positions.dtype == "int64" and part.clauses.dtype == "int8"
        rows = [-1] * len(part.positions) if part.source_rows is None else part.source_rows.tolist()
        assert part.source_rows is None or max(rows) >= 0
        for position, clause, row in zip(part.positions.tolist(), part.clauses.tolist(), rows, strict=True):
            assert position % step == 0
            found[start.get(part.file, 0) + position // step] = clause, row
    assert [f.file for f in edits.files] == sorted({f.file for f in edits.files})
    return found, {clause: rows.tolist() for clause, rows in edits.inserted}
