"""Names in a joined row: which column of the table or of the source a MERGE, UPDATE or DELETE means.

The rows that its conditions and values see have one column ``target.x`` for each column ``x`` of the table and one
``source.x`` for each of the source (``model.change``). Users write ``t.x``, ``x`` or ``updates.x`` instead.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Literal

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr import sql
from deltalite.expr.bind import bind, bind_predicate, pointing
from deltalite.expr.parse import parse_expression
from deltalite.expr.simplify import CLOCKS
from deltalite.model.change import SOURCE, TARGET
from deltalite.model.expr import (
    STRING,
    BoundExpr,
    Column,
    DoubleQuoted,
    Expr,
    children,
    quote_name,
    with_children,
)
from deltalite.model.expr import Literal as Constant
from deltalite.model.types import Field, MapType, StructType

Path = tuple[str, ...]
_DEFAULTS = {TARGET: ("target", "t"), SOURCE: ("source", "s")}
_CALLED = {TARGET: "the table", SOURCE: "the source"}
_HIDDEN = {
    TARGET: "WHEN NOT MATCHED is for rows of the source that match no row of the table",
    SOURCE: "WHEN NOT MATCHED BY SOURCE is for rows of the table that match no row of the source",
}


class Side:
    """The table or the source: its columns, and the names it goes by.

    :param prefix: ``TARGET`` or ``SOURCE``.
    :param alias: the name that the user gave it.
    """

    def __init__(self, prefix: str, schema: StructType, alias: str | None) -> None:
        self.prefix, self.schema, self.alias = prefix, schema, alias
        self._exact = {f.name: f for f in schema.fields}
        self._folded = {f.name.lower(): f for f in reversed(schema.fields)}

    def get(self, name: str) -> Field | None:
        return self._exact.get(name) or self._folded.get(name.lower())

    def spelled(self, path: Path) -> Path | None:
        """The path as the schema spells it; ``None`` where it leads to nothing. What follows a map is a key of it."""
        found, here = [], self.get(path[0])
        for name in path[1:]:
            if here is None:
                return None
            found.append(here.name)
            if isinstance(here.type, MapType):
                return (*found, *path[len(found) :])
            here = here.type.get(name) if isinstance(here.type, StructType) else None
        return None if here is None else (*found, here.name)

    def column(self, path: Path) -> Column:
        """The column of the joined row; a first name that exists is enough."""
        first = self.get(path[0])
        spelled = self.spelled(path) or (path[0] if first is None else first.name, *path[1:])
        return Column((self.prefix + spelled[0], *spelled[1:]))


class Scope:
    """The names that expressions over joined rows may use.

    An alias names its side where a column of that side follows it (``t.id``). Besides, ``target`` and ``t`` are the
    table and ``source`` and ``s`` the source, unless an alias or a column of that name leads somewhere. A name without
    an alias is a column of the one side that has it.

    :param hidden: sides (by prefix) whose columns are refused, and why.
    """

    def __init__(self, sides: tuple[Side, ...], hidden: Mapping[str, str] | None = None) -> None:
        self.sides = sides
        self.hidden = hidden or {}
        given = {s.alias.lower() for s in sides if s.alias is not None}
        self._defaults = {s.prefix: [name for name in _DEFAULTS[s.prefix] if name not in given] for s in sides}

    @classmethod
    def of(
        cls,
        target: StructType,
        target_alias: str | None = None,
        source: StructType | None = None,
        source_alias: str | None = None,
    ) -> Scope:
        """
        :param source: ``None`` for UPDATE and DELETE.
        :raises InvalidArgumentError: when both aliases are the same.
        """
        if target_alias and source_alias and target_alias.lower() == source_alias.lower():
            raise InvalidArgumentError(
                f"the table and the source are both called {target_alias!r}", hint="names ignore case; change one alias"
            )
        sides = [Side(TARGET, target, target_alias)]
        if source is not None:
            sides.append(Side(SOURCE, source, source_alias))
        return cls(tuple(sides))

    def only(self, side: Literal["source", "target"]) -> Scope:
        """The scope of a clause that sees one side: ``source`` for rows not matched, ``target`` for rows not matched by
        source. Columns of the other side are refused, saying why."""
        other = SOURCE if side == "target" else TARGET
        return Scope(self.sides, {other: _HIDDEN[other]})

    def of_keys(self, schema: StructType) -> Scope:
        """The scope of what is assigned to: the columns that the table has after the operation."""
        target, *source = self.sides
        sides = (Side(TARGET, schema, target.alias), *source)
        return Scope(sides, {SOURCE: "only columns of the table can be assigned"})

    @cached_property
    def schema(self) -> StructType:
        """The columns of the joined row, ``target.x`` and ``source.x``."""
        return StructType([f.with_(name=s.prefix + f.name) for s in self.sides for f in s.schema.fields])

    # binding ----------------------------------------------------------------------------------------------------------

    def bind(self, expr: Expr | str, *, time_zone: str = "UTC", now: dt.datetime | None = None) -> BoundExpr:
        """The expression over joined rows; arguments and errors as of :func:`~deltalite.expr.bind.bind`."""
        return self._bind(bind, expr, time_zone, now)

    def bind_predicate(self, expr: Expr | str, *, time_zone: str = "UTC", now: dt.datetime | None = None) -> BoundExpr:
        """:meth:`bind` for a condition.

        :raises ExpressionError: when the expression is not boolean.
        """
        return self._bind(bind_predicate, expr, time_zone, now)

    def _bind(self, how: Callable[..., BoundExpr], expr: Expr | str, zone: str, now: dt.datetime | None) -> BoundExpr:
        tree = parse_expression(expr) if isinstance(expr, str) else expr
        try:
            return how(self.resolve(tree), self.schema, time_zone=zone, now=now)
        except ExpressionError as error:
            raise pointing(self.readable(error), expr if isinstance(expr, str) else None) from None

    def resolve(self, expr: Expr) -> Expr:
        """The expression with its names replaced by those of the joined row, in the schemas' spelling.

        Text in double quotes is a column where one has this name, and otherwise a string.

        :raises ExpressionError: for a name that no visible side has, or that both have.
        """
        return rewritten(expr, self._resolved)

    def _resolved(self, node: Expr) -> Expr:
        if isinstance(node, Column):
            found = self.locate(node.path)
            if found is None and len(node.path) == 1 and node.path[0].lower() in CLOCKS:
                return node
            if found is None:
                raise self.unknown(node.path)
            return found[0].column(found[1])
        if isinstance(node, DoubleQuoted):
            found = self.locate((node.text,))
            return Constant(node.text, STRING) if found is None else found[0].column(found[1])
        return node

    def assigned(self, path: Path) -> Path:
        """The path of what is assigned to, from the table's column on; one that the table lacks may yet be added."""
        target, first = self.sides[0], path[0].lower()
        if len(path) > 1 and target.alias is not None and target.alias.lower() == first:
            return path[1:]
        if len(path) > 1 and first in self._defaults[target.prefix] and target.get(first) is None:
            return path[1:]
        return path

    # looking up -------------------------------------------------------------------------------------------------------

    def locate(self, path: Path) -> tuple[Side, Path] | None:
        """The side that a path means and its path there, where at least the column exists; ``None`` where none does.

        :raises ExpressionError: when both sides have it, or a side that the clause does not see.
        """
        ranks = list(self._meanings(path))
        for leads in (lambda side, rest: side.spelled(rest), lambda side, rest: side.get(rest[0])):
            for rank in ranks:
                found = [(s, rest) for s, rest in rank if s.prefix not in self.hidden and leads(s, rest)]
                if len(found) > 1:
                    raise self._ambiguous(path)
                if found:
                    return found[0]
        for side, rest in (meaning for rank in ranks for meaning in rank):
            if side.prefix in self.hidden and side.get(rest[0]):
                raise ExpressionError(
                    f"{_shown(path)} is a column of {_CALLED[side.prefix]}, but {self.hidden[side.prefix]}",
                    name=rest[0], column=_shown(path),
                )  # fmt: skip
        return None

    def _meanings(self, path: Path) -> Iterator[list[tuple[Side, Path]]]:
        """What a path may mean, the strongest meanings first."""
        first, rest = path[0].lower(), path[1:]
        yield [(s, rest) for s in self.sides if rest and s.alias is not None and s.alias.lower() == first]
        yield [(s, path) for s in self.sides]
        yield [(s, rest) for s in self.sides if rest and first in self._defaults[s.prefix]]

    def name(self, side: Side) -> str | None:
        """The name that stands before the columns of a side; ``None`` where none is needed."""
        if len(self.sides) == 1 and side.alias is None:
            return None
        return side.alias or next(iter(self._defaults[side.prefix]), _DEFAULTS[side.prefix][0])

    def shown(self, side: Side, column: str) -> str:
        """A column of a side as the user would write it."""
        name = self.name(side)
        return quote_name(column) if name is None else f"{quote_name(name)}.{quote_name(column)}"

    def _ambiguous(self, path: Path) -> ExpressionError:
        either = " or ".join(self.shown(s, path[0]) for s in self.sides)
        return ExpressionError(
            f"both the table and the source have a column {path[0]!r}", hint=f"write {either}",
            name=path[0], column=_shown(path),
        )  # fmt: skip

    def unknown(self, path: Path) -> ExpressionError:
        """The error of a name that nothing has, with names that resemble it: of both sides, or of the one it names."""
        visible = [s for s in self.sides if s.prefix not in self.hidden]
        given, _, default = self._meanings(path)
        named = next((side for side, _ in given or default), None)
        wanted = path[1] if named is not None else path[0]
        sides = visible if named is None else [named]
        close = [self.shown(s, f.name) for s in sides for f in _near(s, wanted, ".".join(path))]
        listed = "; ".join(f"{_CALLED[s.prefix]} has {_listed(s.schema.names)}" for s in sides)
        where = "" if named is None else f" in {_CALLED[named.prefix]}"
        hint = (f"did you mean {' or '.join(close)}? " if close else "") + listed
        return ExpressionError(
            f"there is no column {_shown(path)!r}{where}", hint=hint, name=wanted, column=".".join(path),
            suggestions=close,
        )  # fmt: skip

    # showing ----------------------------------------------------------------------------------------------------------

    def to_sql(self, expr: Expr | BoundExpr) -> str:
        """The text of an expression over joined rows, with the user's names for the sides."""
        tree = expr.expr if isinstance(expr, BoundExpr) else expr
        return sql.to_sql(rewritten(tree, self._named))

    def _named(self, node: Expr) -> Expr:
        if not isinstance(node, Column):
            return node
        for side in self.sides:
            if node.path[0].startswith(side.prefix):
                name, own = self.name(side), (node.path[0].removeprefix(side.prefix), *node.path[1:])
                return replace(node, path=own if name is None else (name, *own))
        return node

    def readable(self, error: ExpressionError) -> ExpressionError:
        """The error of an expression over joined rows, told in the user's names."""

        def named(match: re.Match[str]) -> str:
            side = next((s for s in self.sides if s.prefix == match[1]), None)
            return match[0] if side is None else self.shown(side, match[2].replace("``", "`"))

        message = re.sub(r"`(target\.|source\.)((?:[^`]|``)+)`", named, error.message)
        return error if message == error.message else ExpressionError(message, hint=error.hint, **error.context)


def _near(side: Side, name: str, whole: str) -> list[Field]:
    """The columns whose names resemble one; a column whose name holds the dots of the whole path is the best guess."""
    folded = {f.name.lower(): f for f in side.schema.fields}
    if whole.lower() in folded:
        return [folded[whole.lower()]]
    return [folded[n] for n in difflib.get_close_matches(name.lower(), list(folded), n=3)]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")


def _shown(path: Path) -> str:
    return ".".join(map(quote_name, path))


def rewritten(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The tree with ``change`` applied to its leaves.

    :raises ExpressionError: when it nests too deeply.
    """
    try:
        return _rewritten(expr, change)
    except RecursionError:
        raise ExpressionError("the expression nests too deeply") from None


def _rewritten(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    parts = children(expr)
    if not parts:
        return change(expr)
    fresh = [_rewritten(part, change) for part in parts]
    same = all(new is old for new, old in zip(fresh, parts, strict=True))
    return expr if same else with_children(expr, fresh)
