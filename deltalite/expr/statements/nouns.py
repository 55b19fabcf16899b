"""What a statement that changes rows says, names not yet looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from deltalite.model.change import ClauseAction, When
from deltalite.model.expr import Expr

Path = tuple[str, ...]
Assignments = tuple[tuple[Path, Expr], ...]
"""Columns (or fields of structs) and their values; a value may be ``DEFAULT``."""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table in a statement.

    :param name: a name, its parts joined by dots, or a path or URL.
    :param is_path: it stands behind ``delta.`` and can only be a path.
    :param quoted: it was written in quotes or backticks, so it may be a path.
    :param alias: the name by which the statement calls its columns.
    :param position: where it stands in the text.
    """

    name: str
    is_path: bool = False
    quoted: bool = False
    alias: str | None = None
    position: int = field(default=0, compare=False)

    @property
    def qualifier(self) -> str | None:
        """What may stand before a column: the alias, or the last part of a name that is no path."""
        if self.alias is not None or self.is_path or "/" in self.name:
            return self.alias
        return self.name if self.quoted else self.name.rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True)
class WhenClause:
    """``WHEN ... THEN ...`` of a MERGE.

    :param values: columns and what they become; ``None`` for DELETE, and for ``*``.
    :param star: ``UPDATE SET *`` or ``INSERT *``: each column of the source goes to the column of its name.
    :param except_columns: the columns that ``*`` leaves out.
    """

    when: When
    action: ClauseAction
    condition: Expr | None = None
    values: Assignments | None = None
    star: bool = False
    except_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merge:
    """``MERGE INTO target USING source ON condition WHEN ...``

    :param schema_evolution: columns that only the source has are added to the table.
    """

    target: TableName
    source: TableName
    condition: Expr
    clauses: tuple[WhenClause, ...]
    schema_evolution: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """``DELETE FROM target WHERE condition``"""

    target: TableName
    condition: Expr | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """``UPDATE target SET column = value, ... WHERE condition``"""

    target: TableName
    values: Assignments
    condition: Expr | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """``INSERT INTO target (columns) VALUES ...``, or from another table.

    :param columns: the columns that get values, in this order; ``None`` for all in the table's order.
    :param rows: the values; ``None`` when ``source`` holds them.
    :param by_name: columns of the source go to the columns of their names instead of their places.
    :param overwrite: the rows replace all rows of the table.
    :param replace_where: the rows replace those that satisfy this.
    """

    target: TableName
    columns: tuple[str, ...] | None = None
    rows: tuple[tuple[Expr, ...], ...] | None = None
    source: TableName | None = None
    by_name: bool = False
    overwrite: bool = False
    replace_where: Expr | None = None


Statement: TypeAlias = Merge | Delete | Update | Insert
