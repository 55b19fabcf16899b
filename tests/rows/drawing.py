"""Random tables, sources, conditions and clauses, and the running of a step in the table and in the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from deltalite import DeltaTable, WriterProperties
from deltalite.exceptions import MergeRefusedError, MultipleMatchesError
from rows import model
from rows.expressions import And, Coalesce, Col, Compare, In, IsNull, Lit, Not, Or, Plus, When
from rows.model import NEW, ROW_ID, ROW_VERSION, TRACKED, ModelClause, Outcome, Refusal, Row

COLUMNS = ("k", "p", "n", "v", "tags")
SCHEMA = pa.schema(
    [("k", pa.int64()), ("p", pa.string()), ("n", pa.int64()), ("v", pa.string()), ("tags", pa.list_(pa.int64()))]
)
SOURCE_SCHEMA = pa.schema([("op", pa.string()), *reversed([(f.name, f.type) for f in SCHEMA])])
INTS, TEXTS = ("k", "n"), ("p", "v")

KEYS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, None])
NUMBERS = st.sampled_from([None, -1, 0, 1, 2, 3])
PARTS = st.sampled_from(["a", "b", "ü/ %", None])
VALUES = st.sampled_from([None, "", "x", "y", "o'k"])
TAGS = st.sampled_from([None, [], [1], [2, None]])
OPS = st.sampled_from([None, "d", "u"])
ROWS = st.fixed_dictionaries({"k": KEYS, "p": PARTS, "n": NUMBERS, "v": VALUES, "tags": TAGS})
SOURCE_ROWS = st.fixed_dictionaries({"k": KEYS, "p": PARTS, "n": NUMBERS, "v": VALUES, "tags": TAGS, "op": OPS})


@dataclass(frozen=True)
class Shape:
    """Which table it is."""

    vectors: bool
    feed: bool
    tracking: bool
    partitioned: bool
    mapped: bool

    @property
    def configuration(self) -> dict[str, str]:
        flags = {
            "delta.enableDeletionVectors": self.vectors,
            "delta.enableChangeDataFeed": self.feed,
            "delta.enableRowTracking": self.tracking,
        }
        mode = "name" if self.mapped else "none"
        found = {"delta.columnMapping.mode": mode, "delta.checkpointInterval": "3"}
        return found | {name: "true" for name, on in flags.items() if on}


# -- expressions -------------------------------------------------------------------------------------------------------


def columns(sides: str, names: Sequence[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from([Col(side, name) for side in sides for name in names])


def literals(names: Sequence[str]) -> st.SearchStrategy[Any]:
    values = NUMBERS | KEYS if names is INTS else st.sampled_from(["a", "b", "ü/ %", "x", "", "o'k", "u", None])
    return values.map(Lit)


@st.composite
def comparisons(draw: st.DrawFn, sides: str) -> Any:
    names = draw(st.sampled_from([INTS, TEXTS]))
    if names is TEXTS and "s" in sides:
        left = draw(columns(sides, names) | st.just(Col("s", "op")))
    else:
        left = draw(columns(sides, names))
    kind = draw(st.sampled_from(["compare", "compare", "null", "in"]))
    if kind == "null":
        return IsNull(left, draw(st.booleans()))
    if kind == "in":
        return In(left, tuple(draw(st.lists(literals(names).map(lambda x: x.literal), min_size=1, max_size=3))))
    right = draw(columns(sides, names) | literals(names))
    return Compare(draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "<=>"])), left, right)


@st.composite
def conditions(draw: st.DrawFn, sides: str) -> Any:
    """Up to three comparisons under AND, OR and NOT, or a constant."""
    if draw(st.integers(0, 19)) == 0:
        return Lit(draw(st.booleans()))
    found = draw(comparisons(sides))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        found = draw(st.sampled_from([And, Or]))(found, draw(comparisons(sides)))
        if draw(st.integers(0, 3)) == 0:
            found = Not(found)
    return found


def assigned(sides: str, name: str) -> st.SearchStrategy[Any]:
    """Expressions of the type of a column."""
    if name == "tags":
        return columns(sides, ["tags"]) | st.just(Lit(None))
    names = INTS if name in INTS else TEXTS
    simple = columns(sides, names) | literals(names)
    own = literals([]) if name != "p" else PARTS.map(Lit)
    if names is TEXTS:
        # What goes into the partition column is one of its values: an empty text would come back as null.
        simple = columns(sides, ["p"]) | own if name == "p" else simple
    built = [simple, st.builds(Coalesce, simple, simple), st.builds(When, conditions(sides), simple, simple)]
    if names is INTS:
        built.append(st.builds(Plus, columns(sides, ["n"]), simple))
    return st.one_of(*built)


def assignments(sides: str) -> st.SearchStrategy[dict[str, Any]]:
    entries = {name: assigned(sides, name) for name in COLUMNS}
    return st.sets(st.sampled_from(COLUMNS), min_size=1, max_size=3).flatmap(
        lambda names: st.fixed_dictionaries({name: entries[name] for name in sorted(names)})
    )


@st.composite
def matches(draw: st.DrawFn) -> Any:
    """Match conditions: mostly with keys."""
    key = Compare(draw(st.sampled_from(["=", "=", "=", "<=>"])), Col("t", "k"), Col("s", "k"))
    kind = draw(st.sampled_from(["key", "key", "key", "and", "and", "parts", "or", "any"]))
    if kind == "and":
        return And(key, draw(conditions("ts")))
    if kind == "parts":
        return And(key, Compare(draw(st.sampled_from(["=", "<=>"])), Col("t", "p"), Col("s", "p")))
    if kind == "or":
        return Or(key, And(Compare("=", Col("t", "n"), Col("s", "n")), draw(conditions("ts"))))
    return draw(conditions("ts")) if kind == "any" else key


ACTIONS = {
    "matched": ["update", "update", "update_all", "delete", "fail"],
    "not_matched": ["insert", "insert_all", "insert_all", "fail"],
    "not_matched_by_source": ["update", "delete"],
}
SIDES = {"matched": "ts", "not_matched": "s", "not_matched_by_source": "t"}


@st.composite
def clause_lists(draw: st.DrawFn) -> list[ModelClause]:
    found: list[ModelClause] = []
    for when, actions in ACTIONS.items():
        count = draw(st.sampled_from([0, 1, 1, 2, 3] if when != "not_matched_by_source" else [0, 0, 1, 2]))
        for number in range(count):
            action = draw(st.sampled_from(actions))
            must = number < count - 1 or (action == "fail" and draw(st.integers(0, 3)) > 0)
            condition = draw(conditions(SIDES[when])) if must or draw(st.booleans()) else None
            values, excluded = None, ()
            if action in ("update", "insert"):
                values = draw(assignments(SIDES[when]))
            elif action.endswith("_all"):
                excluded = tuple(sorted(draw(st.sets(st.sampled_from(COLUMNS), max_size=2))))
            found.append(ModelClause(when, action.removesuffix("_all"), condition, values, excluded))
    order = draw(st.permutations(range(len(found))))  # kinds may be mixed; within a kind the order stays
    kinds = [found[i].when for i in order]
    queues = {when: [c for c in found if c.when == when] for when in ACTIONS}
    mixed = [queues[when].pop(0) for when in kinds]
    return mixed or [ModelClause("matched", "update", None, None)]


@st.composite
def sources(draw: st.DrawFn) -> list[Row]:
    rows = draw(st.lists(SOURCE_ROWS, max_size=7))
    if draw(st.integers(0, 3)):
        rows = list({row["k"]: row for row in rows}.values())
    return rows


# -- steps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Merge:
    source: list[Row]
    on: Any
    clauses: list[ModelClause]
    streamed: bool
    memory_limit: int | None = None

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        return model.merge(table, self.source, self.on, self.clauses, COLUMNS, tracked)

    def begin(self, table: DeltaTable, writing: WriterProperties) -> Any:
        data = pa.Table.from_pylist(self.source, SOURCE_SCHEMA)
        source = data.to_reader(2) if self.streamed else data
        merger = table.merge(source, self.on.sql(), writer_properties=writing, memory_limit=self.memory_limit)
        for c in self.clauses:
            method = f"when_{c.when}_{c.action}"
            given: dict[str, Any] = {"predicate": None if c.condition is None else c.condition.sql()}
            if c.action in ("update", "insert"):
                if c.values is None:
                    method, given["except_cols"] = f"{method}_all", list(c.except_cols)
                else:
                    given["updates"] = {name: value.sql() for name, value in c.values.items()}
            merger = getattr(merger, method)(**given)
        return merger

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        return self.begin(table, writing).execute()


@dataclass(frozen=True)
class _WithoutTable:
    """A condition for rows of the source that match nothing: the table's columns are null, and only true counts."""

    condition: Any
    wanted: bool

    def value(self, t: Row, s: Row) -> bool:
        return (self.condition.value(dict.fromkeys(COLUMNS), s) is True) == self.wanted


@dataclass(frozen=True)
class Upsert:
    source: list[Row]
    dedupe: str
    delete_when: Any
    update_when: Any
    insert: Any

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        keys = [row["k"] for row in self.source]
        if self.dedupe == "error" and len(set(keys)) < len(keys):
            raise Refusal(1, False)
        arriving = self.source if self.dedupe == "last" else self.source[::-1]
        chosen = list({row["k"]: row for row in arriving}.values())
        clauses = [ModelClause("matched", "update", self.update_when)]
        comes: Any = Lit(self.insert) if isinstance(self.insert, bool) else self.insert
        if self.delete_when is not None:
            clauses.insert(0, ModelClause("matched", "delete", self.delete_when))
            comes = And(_WithoutTable(self.delete_when, False), comes)
        clauses.append(ModelClause("not_matched", "insert", comes))
        on = Compare("<=>", Col("t", "k"), Col("s", "k"))
        return model.merge(table, chosen, on, clauses, COLUMNS, tracked)

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        texts = {name: None if e is None else e.sql() for name, e in
                 (("delete_when", self.delete_when), ("update_when", self.update_when))}  # fmt: skip
        insert = self.insert if isinstance(self.insert, bool) else self.insert.sql()
        data = pa.Table.from_pylist(self.source, SOURCE_SCHEMA)
        return table.upsert(data, on="k", dedupe=self.dedupe, insert=insert, writer_properties=writing, **texts)


@dataclass(frozen=True)
class Delete:
    predicate: Any

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        return model.delete(table, self.predicate)

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        text = None if self.predicate is None else self.predicate.sql(alias=False)
        return table.delete(text, writer_properties=writing)


@dataclass(frozen=True)
class Update:
    predicate: Any
    values: dict[str, Any]

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        return model.update(table, self.predicate, self.values)

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        values = {name: value.sql(alias=False) for name, value in self.values.items()}
        text = None if self.predicate is None else self.predicate.sql(alias=False)
        return table.update(values, predicate=text, writer_properties=writing)


@dataclass(frozen=True)
class ReplaceWhere:
    predicate: Any
    data: list[Row]

    @property
    def fitting(self) -> list[Row]:
        return [row for row in self.data if self.predicate.value(row, {}) is True]

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        return model.replace_where(table, self.predicate, self.fitting, tracked)

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        data = pa.Table.from_pylist(self.fitting, SCHEMA)
        return table.overwrite(data, predicate=self.predicate.sql(alias=False), writer_properties=writing)


@dataclass(frozen=True)
class Append:
    data: list[Row]

    def expected(self, table: list[Row], tracked: bool) -> Outcome:
        return model.append(table, self.data, tracked)

    def run(self, table: DeltaTable, writing: WriterProperties) -> Any:
        return table.append(pa.Table.from_pylist(self.data, SCHEMA), writer_properties=writing)


LIMITS = st.sampled_from([None, None, 1, 300])  # bytes; with few of them the match is done in parts
MERGES = st.builds(Merge, sources(), matches(), clause_lists(), st.booleans(), LIMITS)
UPSERTS = st.builds(
    Upsert,
    sources(),
    st.sampled_from(["error", "first", "last"]),
    st.none() | conditions("ts"),
    st.none() | conditions("ts"),
    st.booleans() | conditions("s"),
)
DELETES = st.builds(Delete, conditions("t"))
UPDATES = st.builds(Update, conditions("t") | st.none(), assignments("t"))
REPLACEMENTS = st.builds(ReplaceWhere, conditions("t"), st.lists(ROWS, max_size=4))
APPENDS = st.builds(Append, st.lists(ROWS, min_size=1, max_size=8))
WEIGHED = [
    *[MERGES] * 10,
    *[UPSERTS] * 3,
    *[DELETES] * 3,
    *[UPDATES] * 3,
    *[REPLACEMENTS] * 3,
    APPENDS,
    st.just(Delete(None)),
]


@st.composite
def story_steps(draw: st.DrawFn) -> list[Any]:
    """Some appends, mostly a delete, then one to four operations of any kind."""
    steps = [draw(APPENDS) for _ in range(draw(st.integers(1, 3)))]
    steps += [draw(DELETES)] if draw(st.integers(0, 3)) else []
    return steps + [draw(draw(st.sampled_from(WEIGHED))) for _ in range(draw(st.integers(1, 4)))]


def create(root: Path, shape: Shape) -> DeltaTable:
    return DeltaTable.create(
        root,
        SCHEMA,
        partition_by=["p"] if shape.partitioned else None,
        configuration=shape.configuration,
        storage_options={"durability": "relaxed"},
    )


def rows_now(table: DeltaTable, tracked: bool) -> list[Row]:
    return table.scan([*COLUMNS, *(TRACKED if tracked else ())]).read_all().to_pylist()


def refusals(refusal: Refusal) -> tuple[type[Exception], ...]:
    return (MultipleMatchesError,) * bool(refusal.ambiguous) + (MergeRefusedError,) * refusal.failed


def named(rows: list[Row], before: set[int], version: int) -> list[Row]:
    """Rows as the model tells them: ids that were not there before, and the commit's own version, are new."""
    return [
        {**row, ROW_ID: row[ROW_ID] if row[ROW_ID] in before else NEW,
         ROW_VERSION: NEW if row[ROW_VERSION] == version else row[ROW_VERSION]}
        if ROW_ID in row else row
        for row in rows
    ]  # fmt: skip
