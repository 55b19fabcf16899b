"""Random alterations between appends, updates, deletes and merges, against a model that knows columns by identity.

In the model a column is a number; names, order and types are only how it is shown. What a dropped column held can
therefore never be seen again, whatever later columns are called.
"""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from alter_tables import altered, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable, Field, Schema
from deltalite.model.types import ArrayType, MapType, PrimitiveType, StructType

WIDER = {
    "byte": ("short", "integer", "long", "double", "decimal(12,2)"),
    "integer": ("long", "double", "decimal(12,2)"),
    "float": ("double",),
    "date": ("timestamp_ntz",),
    "decimal(5,1)": ("decimal(5,1)", "decimal(12,3)", "decimal(6,2)"),
}
LEAVES = (*WIDER, "string", "long")
NUMBERS = ("byte", "short", "integer", "long", "double", "float", "decimal(12,2)", "decimal(5,1)", "decimal(12,3)")


@dataclass(frozen=True)
class Col:
    """A column or field. ``kind`` is a type's name, or what it nests: ("struct", cols), ("array", kind), ("map", kind)."""

    id: int
    name: str
    kind: Any


def delta_type(kind: Any) -> Any:
    if isinstance(kind, str):
        return PrimitiveType(kind)
    shape, inner = kind
    if shape == "struct":
        return StructType([Field(c.name, delta_type(c.kind)) for c in inner])
    return ArrayType(delta_type(inner)) if shape == "array" else MapType("string", delta_type(inner))


def shown(value: Any, kind: Any) -> Any:
    """A value of the model as the table shows it."""
    if value is None:
        return None
    if not isinstance(kind, str):
        shape, inner = kind
        if shape == "struct":
            return {c.name: shown(value.get(c.id), c.kind) for c in inner}
        if shape == "array":
            return [shown(v, inner) for v in value]
        return [(k, shown(v, inner)) for k, v in value]
    if kind.startswith("decimal"):
        return decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-int(kind[:-1].split(",")[1])))
    if kind in ("double", "float"):
        return float(value)
    if kind == "timestamp_ntz":
        return dt.datetime(value.year, value.month, value.day)
    return value


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of the model; small enough for every type that a column may once have had."""
    if isinstance(kind, str):
        if kind == "string":
            plain: st.SearchStrategy[Any] = st.sampled_from(["a", "b", "ab"])
        elif kind in ("date", "timestamp_ntz"):
            plain = st.dates(dt.date(1960, 1, 1), dt.date(2030, 1, 1))
        elif kind in ("float", "double") or kind.startswith("decimal"):
            plain = st.integers(-40, 40).map(lambda n: n / 2)
        else:
            plain = st.integers(-100, 100)
        return st.none() | plain
    shape, inner = kind
    if shape == "struct":
        return st.none() | st.fixed_dictionaries({c.id: values(c.kind) for c in inner})
    if shape == "array":
        return st.none() | st.lists(values(inner), max_size=2)
    return st.none() | st.dictionaries(st.sampled_from("uvw"), values(inner), max_size=2).map(lambda d: list(d.items()))


@dataclass
class Model:
    """What the table should be: ``rows`` by key, each a value per column id."""

    cols: list[Col]
    key: int
    partition: int | None
    rows: dict[int, dict[int, Any]] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(100))

    def name(self, col_id: int) -> str:
        return next(c.name for c in self.cols if c.id == col_id)

    def shown(self) -> list[dict[str, Any]]:
        found = [shown(row, ("struct", self.cols)) for row in self.rows.values()]
        return sorted(found, key=lambda row: row[self.name(self.key)])

    def schema(self) -> Schema:
        return Schema(delta_type(("struct", self.cols)).fields)


def structs(model: Model) -> list[tuple[tuple[str, ...], list[Col]]]:
    """Every struct: its path as the table writes it, and its fields. The first is the table."""
    found: list[tuple[tuple[str, ...], list[Col]]] = []

    def visit(path: tuple[str, ...], kind: Any) -> None:
        if isinstance(kind, str):
            return
        shape, inner = kind
        if shape == "struct":
            found.append((path, inner))
            for c in inner:
                visit((*path, c.name), c.kind)
        else:
            visit((*path, "element" if shape == "array" else "value"), inner)

    visit((), ("struct", model.cols))
    return found


def leaves(model: Model) -> list[tuple[tuple[str, ...], Col | None, Any]]:
    """Every plain type: its path, the field whose type it is (``None`` inside arrays and maps), and its name."""
    found: list[tuple[tuple[str, ...], Col | None, Any]] = []

    def visit(path: tuple[str, ...], kind: Any, col: Col | None) -> None:
        if isinstance(kind, str):
            found.append((path, col, kind))
            return
        shape, inner = kind
        if shape == "struct":
            for c in inner:
                visit((*path, c.name), c.kind, c)
        else:
            visit((*path, "element" if shape == "array" else "value"), inner, None)

    visit((), ("struct", model.cols), None)
    return found


def edited(kind: Any, path: tuple[str, ...], change: Any) -> Any:
    """The type with ``change`` applied at a path (to a list of fields, or to a plain type)."""
    if not path:
        return ("struct", change(kind[1])) if not isinstance(kind, str) and kind[0] == "struct" else change(kind)
    shape, inner = kind
    if shape == "struct":
        cols = [replace(c, kind=edited(c.kind, path[1:], change)) if c.name == path[0] else c for c in inner]
        return ("struct", cols)
    return (shape, edited(inner, path[1:], change))


def dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


class Story:
    """One table and its model, changed together step by step."""

    def __init__(self, root: Path, draw: Any, configuration: dict[str, str]) -> None:
        self.draw = draw
        nested = ("struct", [Col(5, "x", "integer"), Col(6, "y", "string")])
        cols = [
            Col(1, "k", "long"),
            Col(2, "p", "string"),
            Col(3, "n", "byte"),
            Col(4, "s", nested),
            Col(7, "l", ("array", ("struct", [Col(8, "v", "float"), Col(9, "d", "date")]))),
            Col(10, "m", ("map", ("struct", [Col(11, "w", "decimal(5,1)")]))),
            Col(12, "a", ("array", "integer")),
        ]
        partitioned = draw(st.booleans())
        self.model = Model(cols, 1, 2 if partitioned else None)
        self.table = DeltaTable.create(
            root,
            self.model.schema(),
            partition_by=["p"] if partitioned else [],
            configuration=configuration,
            storage_options={"durability": "relaxed"},
        )
        self.past: dict[int, tuple[Any, list[dict[str, Any]]]] = {}

    def step(self) -> None:
        steps = [self.append, self.append, self.update, self.delete, self.merge]
        steps += [self.add, self.drop, self.readd, self.rename, self.move, self.widen] * 2
        self.draw(st.sampled_from(steps))()
        self.check()

    def check(self) -> None:
        model, table = self.model, self.table
        expected = model.shown()
        key = model.name(model.key)
        assert sorted(rows(table), key=lambda row: row[key]) == expected
        assert [f.name for f in table.schema().fields] == [c.name for c in model.cols]
        self.past[table.version()] = (key, expected)
        self.check_skipping()

    def check_skipping(self) -> None:
        """Conditions on numbers, which bounds of files under older types help to answer."""
        plain = [c for c in self.model.cols if c.kind in NUMBERS]
        col = self.draw(st.sampled_from(plain))
        limit = self.draw(st.integers(-60, 60))
        found = self.table.count(f"`{col.name}` > {limit}")
        held = [shown(row.get(col.id), col.kind) for row in self.model.rows.values()]
        assert found == sum(value is not None and value > limit for value in held)

    def check_past(self) -> None:
        for version, (key, expected) in self.past.items():
            found = rows(DeltaTable(self.table.table_uri, version=version))
            assert sorted(found, key=lambda row: row[key]) == expected, version

    # -- rows

    def _row(self, key: int) -> dict[int, Any]:
        row = {c.id: self.draw(values(c.kind)) for c in self.model.cols}
        return {**row, self.model.key: key}

    def _data(self, found: list[dict[int, Any]]) -> pa.Table:
        shape = ("struct", self.model.cols)
        return pa.Table.from_pylist([shown(row, shape) for row in found], schema=self.model.schema().to_arrow())

    def append(self) -> None:
        at = max(self.model.rows, default=0) + 1
        new = {key: self._row(key) for key in range(at, at + self.draw(st.integers(1, 3)))}
        self.table.append(self._data(list(new.values())))
        self.model.rows.update(new)

    def update(self) -> None:
        col = self.draw(st.sampled_from([c for c in self.model.cols if c.id != self.model.key and c.kind in NUMBERS]))
        least = self.draw(st.integers(0, 8))
        self.table.update(new_values={col.name: 7}, predicate=f"`{self.model.name(self.model.key)}` >= {least}")
        for key, row in self.model.rows.items():
            if key >= least:
                row[col.id] = 7

    def delete(self) -> None:
        least = self.draw(st.integers(4, 12))
        self.table.delete(f"`{self.model.name(self.model.key)}` >= {least}")
        self.model.rows = {key: row for key, row in self.model.rows.items() if key < least}

    def merge(self) -> None:
        keys = self.draw(st.sets(st.integers(1, 8), min_size=1, max_size=3))
        new = {key: self._row(key) for key in sorted(keys)}
        name = self.model.name(self.model.key)
        merger = self.table.merge(self._data(list(new.values())), f"t.`{name}` = s.`{name}`", "s", "t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        self.model.rows.update(new)

    # -- columns

    def _place(self, cols: list[Col]) -> tuple[dict[str, Any], int]:
        at = self.draw(st.integers(0, len(cols)))
        if at == len(cols) and self.draw(st.booleans()):
            return {}, at
        return ({"first": True} if at == 0 else {"after": cols[at - 1].name}), at

    def _edit(self, path: tuple[str, ...], change: Any) -> None:
        self.model.cols = edited(("struct", self.model.cols), path, change)[1]

    def _add(self, name: str) -> None:
        path, cols = self.draw(st.sampled_from(structs(self.model)))
        if any(c.name.lower() == name.lower() for c in cols):
            return
        kinds = [*LEAVES, ("struct", [Col(next(self.model.ids), "x", "integer")]), ("array", "byte")]
        col = Col(next(self.model.ids), name, self.draw(st.sampled_from(kinds)))
        place, at = self._place(cols)
        new = Field(col.name, delta_type(col.kind))
        altered(self.table, lambda: self.table.alter.add_columns(new, into=path, **place))
        self._edit(path, lambda old: [*old[:at], col, *old[at:]])

    def add(self) -> None:
        self._add(self.draw(st.sampled_from(["new", "Other", "with space"])))

    def readd(self) -> None:
        self._add(self.draw(st.sampled_from(["x", "y", "v", "w", "n", "s", "l", "d"])))

    def _fields(self) -> list[tuple[tuple[str, ...], list[Col], Col]]:
        return [(path, cols, col) for path, cols in structs(self.model) for col in cols]

    def drop(self) -> None:
        spared = {self.model.key, self.model.partition, 3}
        choices = [(p, cols, c) for p, cols, c in self._fields() if len(cols) > 1 and c.id not in spared]
        if not choices:
            return
        path, _, col = self.draw(st.sampled_from(choices))
        altered(self.table, lambda: self.table.alter.drop_columns(["`" + "`.`".join((*path, col.name)) + "`"]))
        self._edit(path, lambda old: [c for c in old if c.id != col.id])

    def rename(self) -> None:
        path, cols, col = self.draw(st.sampled_from(self._fields()))
        name = self.draw(st.sampled_from(["r1", "r2", "x", "y", col.name.upper(), "p"]))
        if any(c.name.lower() == name.lower() and c.id != col.id for c in cols) or name == col.name:
            return
        quoted = "`" + "`.`".join((*path, col.name)) + "`"
        altered(self.table, lambda: self.table.alter.rename_column(quoted, name))
        self._edit(path, lambda old: [replace(c, name=name) if c.id == col.id else c for c in old])

    def move(self) -> None:
        path, cols, col = self.draw(st.sampled_from([f for f in self._fields() if len(f[1]) > 1]))
        rest = [c for c in cols if c.id != col.id]
        at = self.draw(st.integers(0, len(rest)))
        if [*rest[:at], col, *rest[at:]] == cols:
            return
        place = {"first": True} if at == 0 else {"after": rest[at - 1].name}
        quoted = "`" + "`.`".join((*path, col.name)) + "`"
        altered(self.table, lambda: self.table.alter.move_column(quoted, **place))
        self._edit(path, lambda _: [*rest[:at], col, *rest[at:]])

    def widen(self) -> None:
        choices = [(p, kind) for p, _, kind in leaves(self.model) if kind in WIDER]
        if not choices:
            return
        path, kind = self.draw(st.sampled_from(choices))
        wider = self.draw(st.sampled_from([k for k in WIDER[kind] if k != kind]))
        quoted = "`" + "`.`".join(path) + "`"
        altered(self.table, lambda: self.table.alter.set_column_type(quoted, delta_type(wider)))
        self._edit(path, lambda _: wider)


@pytest.mark.trap(59)
@pytest.mark.trap(61)
@pytest.mark.trap(62)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_alterations_between_row_changes_equal_the_model(data):
    run(data.draw, steps=10)


@pytest.mark.nightly
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_many_alterations_between_row_changes_equal_the_model(data):
    run(data.draw, steps=20)


def run(draw: Any, steps: int) -> None:
    configuration = {
        "delta.columnMapping.mode": draw(st.sampled_from(["name", "id"])),
        "delta.enableTypeWidening": "true",
        "delta.enableDeletionVectors": draw(st.sampled_from(["true", "false"])),
        "delta.checkpointInterval": draw(st.sampled_from(["3", "100"])),
        "delta.enableRowTracking": draw(st.sampled_from(["true", "false"])),
    }
    with tempfile.TemporaryDirectory() as root:
        story = Story(Path(root), draw, configuration)
        for _ in range(draw(st.integers(1, steps))):
            story.step()
        story.check_past()
