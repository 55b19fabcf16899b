"""The SET of an UPDATE and the column list of an INSERT: what each column of the new row becomes."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from deltalite.exceptions import ExpressionError
from deltalite.expr.bind import bind
from deltalite.expr.coerce import converted
from deltalite.expr.functions.registry import build
from deltalite.expr.joined import bound_like
from deltalite.expr.parse import parse_expression
from deltalite.expr.scope import Path, Scope
from deltalite.model.change import TARGET
from deltalite.model.expr import (
    STRING,
    VOID,
    BoundExpr,
    Cast,
    Column,
    DoubleQuoted,
    Expr,
    IntervalType,
    Literal,
    quote_name,
)
from deltalite.model.types import Field, StructType

Assigned = Mapping[Any, Expr | str] | Iterable[tuple[str | Path, Expr | str]]
"""What is assigned to which column: a mapping, or pairs (in which a column may wrongly appear twice)."""

_COMPUTED = ("delta.generationExpression", "delta.identity.start")


@dataclass(frozen=True, slots=True)
class Default(Expr):
    """The word ``DEFAULT`` in place of a value: the default of the column, null where it has none."""


DEFAULT = Default()


def assignments(
    updates: Assigned,
    schema: StructType,
    scope: Scope,
    *,
    time_zone: str = "UTC",
    now: dt.datetime | None = None,
) -> dict[str, BoundExpr]:
    """The new values of columns, over joined rows.

    A key is a column (``x``, ``t.x``) or a field inside of structs (``addr.city``). Of a struct of which only fields
    are assigned the other fields keep their values; where it is null, it becomes a struct of those fields and nulls.

    :param updates: SQL text or expressions by key; :data:`DEFAULT` for the default of a column.
    :param schema: the table's schema.
    :param scope: the names that the values may use.
    :raises ExpressionError: for an unknown column, one that is assigned twice or together with a field of it, a field
        inside of an array or a map, and whatever binding the value refuses.
    """
    keys = _Keys(schema, scope)
    found: dict[Path, BoundExpr] = {}
    for key, value in _pairs(updates):
        path, field = keys.take(key)
        bound = (
            default_of(path, field, now)
            if isinstance(value, Default)
            else scope.bind(value, time_zone=time_zone, now=now)
        )
        found[path] = _storable(bound, path, field)
    return {name: _combined((name,), schema, found, time_zone) for name in dict.fromkeys(path[0] for path in found)}


def insertions(
    values: Assigned,
    schema: StructType,
    scope: Scope,
    *,
    time_zone: str = "UTC",
    now: dt.datetime | None = None,
) -> dict[str, BoundExpr]:
    """The values of the columns of an inserted row, over joined rows; columns that get :data:`DEFAULT` are left out.

    :param scope: names the table's columns in the keys; the values see the source only.
    :raises ExpressionError: as :func:`assignments`; also for a field of a struct.
    """
    keys, sources = _Keys(schema, scope), scope.only("source")
    found: dict[Path, BoundExpr | None] = {}
    for key, value in _pairs(values):
        path, field = keys.take(key)
        if len(path) > 1:
            raise ExpressionError(
                f"{keys.shown(path)} is a field of a struct, and an INSERT gives values to whole columns",
                hint=f"insert named_struct(...) into {quote_name(path[0])}", column=".".join(path),
            )  # fmt: skip
        found[path] = None
        if not isinstance(value, Default):
            bound = sources.bind(value, time_zone=time_zone, now=now)
            found[path] = _storable(bound, path, field)
    return {path[0]: bound for path, bound in found.items() if bound is not None}


def _pairs(values: Assigned) -> Iterable[tuple[str | Path, Expr | str]]:
    return cast("Iterable[Any]", values.items() if isinstance(values, Mapping) else values)


class _Keys:
    """Finds what a key of an assignment means in the table."""

    def __init__(self, schema: StructType, scope: Scope) -> None:
        self.scope = scope.of_keys(schema)
        self._taken: dict[Path, Path] = {}  # what is assigned, and all that it lies inside of

    def field(self, key: str | Path) -> tuple[Path, Field]:
        """The path in the schema's spelling, and the field there."""
        located = None
        for path in self._readings(key):
            located = self.scope.locate(path)
            if located is not None:
                break
        if located is None:
            raise self.scope.unknown(self._readings(key)[0])
        side, (first, *rest) = located
        field = side.get(first)
        assert field is not None
        spelled = [field.name]
        for name in rest:
            field = self._inside(field, name, tuple(spelled))
            spelled.append(field.name)
        return tuple(spelled), field

    def _readings(self, key: str | Path) -> list[Path]:
        """What a key may spell: a path, or a column whose name is all of the text."""
        if not isinstance(key, str):
            return [key]
        try:
            tree = parse_expression(key)
        except ExpressionError:
            return [(key,)]
        if isinstance(tree, DoubleQuoted):
            return [(tree.text,)]
        return [tree.path, (key,)] if isinstance(tree, Column) else [(key,)]

    def _inside(self, parent: Field, name: str, path: Path) -> Field:
        if not isinstance(parent.type, StructType):
            kind = parent.type.type if parent.type.type in ("array", "map") else ""
            raise ExpressionError(
                f"{self.shown(path)} is {'an' if kind == 'array' else 'a'} {kind}: nothing inside of it can be assigned"
                if kind else f"{self.shown(path)} is no struct: it has no field {name!r}",
                hint=f"assign the whole of {self.shown(path)}" if kind else None, name=name, column=".".join(path),
            )  # fmt: skip
        found = parent.type.get(name)
        if found is None:
            near = difflib.get_close_matches(name.lower(), [n.lower() for n in parent.type.names], n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ExpressionError(
                f"the struct {self.shown(path)} has no field {name!r}",
                hint=f"{hint}its fields are: {', '.join(parent.type.names)}", name=name, column=".".join((*path, name)),
            )  # fmt: skip
        return found

    def take(self, key: str | Path) -> tuple[Path, Field]:
        """:meth:`field`, unless it, a part of it or what it is a part of was taken before."""
        path, field = self.field(key)
        inside = [path[:n] for n in range(1, len(path) + 1)]
        other = self._taken.get(path) or next((p for p in inside if self._taken.get(p) == p), None)
        if other == path:
            raise ExpressionError(f"{self.shown(path)} is assigned twice", column=".".join(path))
        if other is not None:
            outer, inner = sorted((path, other), key=len)
            raise ExpressionError(
                f"both {self.shown(outer)} and its field {self.shown(inner)} are assigned",
                hint="assign either the whole or its fields", column=".".join(outer),
            )  # fmt: skip
        self._taken.update(dict.fromkeys(inside, path))
        return path, field

    @staticmethod
    def shown(path: Path) -> str:
        return ".".join(map(quote_name, path))


def _storable(bound: BoundExpr, path: Path, field: Field) -> BoundExpr:
    """The value, a bare null with the type of its column."""
    if isinstance(bound.type, IntervalType):
        raise ExpressionError(
            f"{_Keys.shown(path)} cannot hold an interval",
            hint="add it to a date or a timestamp",
            column=".".join(path),
        )
    return bound_like(bound, converted(bound.expr, field.type)) if bound.type == VOID else bound


def default_of(path: Path, field: Field, now: dt.datetime | None = None) -> BoundExpr:
    """The default of a column, which is meant in UTC.

    :raises ExpressionError: for a field of a struct, and for a column that the table computes.
    """
    if len(path) > 1 or any(key in field.metadata for key in _COMPUTED):
        reason = "a field of a struct has no default" if len(path) > 1 else "it is computed"
        raise ExpressionError(f"{_Keys.shown(path)} cannot be set to DEFAULT: {reason}", column=".".join(path))
    text = field.metadata.get("CURRENT_DEFAULT")
    tree = Literal(None, field.type) if text is None else Cast(parse_expression(text), field.type)
    return bind(tree, StructType([]), now=now)


def _combined(path: Path, parent: StructType, found: Mapping[Path, BoundExpr], time_zone: str) -> BoundExpr:
    """The new value at a path: what is assigned, the old value, or a struct of either."""
    field = parent.get(path[-1])
    assert field is not None
    if path in found:
        return found[path]
    if not any(other[: len(path)] == path for other in found):
        old = Column((TARGET + path[0], *path[1:]), field.type)
        return BoundExpr(old, field.type, time_zone, frozenset((old.path,)))
    assert isinstance(field.type, StructType)
    args: list[Expr] = []
    for name in field.type.names:
        args += [Literal(name, STRING), _combined((*path, name), field.type, found, time_zone).expr]
    tree = build("named_struct", *args)
    return bound_like(BoundExpr(tree, VOID, time_zone, frozenset()), tree)
