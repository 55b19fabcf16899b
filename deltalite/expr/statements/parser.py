"""The grammar of MERGE, UPDATE, DELETE and INSERT, in Spark's dialect with Delta's additions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from deltalite.exceptions import ExpressionError
from deltalite.expr.assignments import DEFAULT
from deltalite.expr.datatypes import parse_name
from deltalite.expr.grammar import Parser
from deltalite.expr.literals import string_value
from deltalite.expr.statements.nouns import (
    Assignments,
    Delete,
    Insert,
    Merge,
    Path,
    Statement,
    TableName,
    Update,
    WhenClause,
)
from deltalite.expr.tokens import next_token
from deltalite.model.change import When
from deltalite.model.expr import Expr

_NO_ALIAS = frozenset(("AS", "USING", "ON", "WHEN", "SET", "WHERE", "VALUES", "TABLE", "SELECT", "REPLACE", "BY"))
_PATH_WORDS = ("DELTA", "DELTALITE")
_AT_VERSION = (("VERSION", "AS"), ("TIMESTAMP", "AS"), ("FOR", "VERSION"), ("FOR", "TIMESTAMP"))
_MATCHED = {"matched": "MATCHED", "not_matched": "NOT MATCHED", "not_matched_by_source": "NOT MATCHED BY SOURCE"}
_COMPUTE_FIRST = "compute the rows first, with sql('SELECT ...') for example, and give them a name: sql(text, rows=...)"
T = TypeVar("T")


def changes_rows(text: str) -> bool:
    """Whether a text begins as one of the statements that :func:`parse_statement` reads."""
    try:
        token = next_token(text, 0)
    except ExpressionError:
        return False
    return token.kind == "word" and token.upper in _STATEMENTS


def parse_statement(text: str) -> Statement:
    """The statement that a text spells.

    :raises ExpressionError: when it is malformed or none of MERGE, UPDATE, DELETE and INSERT; the message shows the
        place, ``position`` and ``expected`` tell it to programs.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"a statement is text, not {type(text).__name__}")
    try:
        return _StatementParser(text).statement()
    except RecursionError:
        raise ExpressionError("the statement nests too deeply", position=0, expected=[]) from None


class _StatementParser(Parser):
    def statement(self) -> Statement:
        read = _STATEMENTS.get(self.token.upper) if self.token.kind == "word" else None
        if read is None:
            raise self.unexpected(*_STATEMENTS)
        self.next()
        found = read(self)
        if self.take(";") and self.token.kind != "end":
            raise self.error("only one statement at a time", expected=["the end"])
        if self.token.kind != "end":
            raise self.unexpected("an operator", "the end")
        return found

    # tables ---------------------------------------------------------------------------------------------------------

    def table(self, alias: bool = True) -> TableName:
        """A table, in MERGE, UPDATE and DELETE with the name that its columns go by."""
        start, found = self.token, self.bare_table()
        if self.at("("):
            raise self.error(
                f"a function such as {start.text}() is no table here", position=start.position, hint=_COMPUTE_FIRST
            )
        if any(self.at(*words) for words in _AT_VERSION):
            raise self.error(
                "a version of a table cannot be named here", hint="pass DeltaTable(path, version=...) under a name"
            )
        return replace(found, alias=self.alias()) if alias else found

    def bare_table(self) -> TableName:
        start = self.token
        if self.at("("):
            raise self.subquery()
        if start.kind in ("string", "raw", "double"):
            self.next()
            return TableName(string_value(start.text), quoted=True, position=start.position)
        if start.kind not in ("word", "quoted"):
            raise self.unexpected("a table")
        parts = [parse_name(self)]
        while self.take("."):
            parts.append(parse_name(self))
        if len(parts) == 2 and start.upper in _PATH_WORDS:
            return TableName(parts[1], is_path=True, quoted=True, position=start.position)
        return TableName(".".join(parts), quoted=len(parts) == 1 and start.kind == "quoted", position=start.position)

    def alias(self) -> str | None:
        if self.take("AS"):
            return parse_name(self)
        if self.token.kind == "quoted" or (self.token.kind == "word" and self.token.upper not in _NO_ALIAS):
            return parse_name(self)
        return None

    def subquery(self) -> ExpressionError:
        return self.error("a subquery is not supported here", hint=_COMPUTE_FIRST)

    # statements -----------------------------------------------------------------------------------------------------

    def merge(self) -> Merge:
        evolve = self.take("WITH", "SCHEMA", "EVOLUTION")
        self.expect("INTO", *([] if evolve else ["WITH SCHEMA EVOLUTION"]))
        target = self.table()
        self.expect("USING", "an alias")
        source = self.table()
        self.expect("ON", "an alias")
        condition = self.condition()
        clauses: list[WhenClause] = []
        while self.at("WHEN"):
            position = self.token.position
            clause = self.when()
            self.refuse_unreachable(clause, clauses, position)
            clauses.append(clause)
        if not clauses:
            raise self.unexpected("an operator", "WHEN MATCHED", "WHEN NOT MATCHED")
        return Merge(target, source, condition, tuple(clauses), evolve)

    def delete(self) -> Delete:
        self.expect("FROM")
        target = self.table()
        return Delete(target, self.where())

    def update(self) -> Update:
        target = self.table()
        self.expect("SET", "an alias")
        return Update(target, self.assignments(), self.where())

    def insert(self) -> Insert:
        overwrite = self.take("OVERWRITE")
        if not overwrite:
            self.expect("INTO", "OVERWRITE")
        self.take("TABLE")
        target = self.bare_table()
        if self.at("PARTITION"):
            raise self.error(
                "PARTITION (...) is not supported here",
                hint="write the partition column like any other; REPLACE WHERE replaces the rows of a partition",
            )
        by_name = self.take("BY", "NAME")
        columns = self.column_list() if self.at("(") and self.peek().upper != "SELECT" and not by_name else None
        replaced = None
        if not overwrite and self.take("REPLACE"):
            self.expect("WHERE")
            replaced = self.condition()
        if self.take("VALUES"):
            if by_name:
                raise self.error("VALUES have no names", hint="list the columns instead: INSERT INTO t (a, b) VALUES")
            count = None if columns is None else len(columns)
            rows = self.separated(lambda: self.row(count))
            return Insert(target, columns, rows, None, False, overwrite, replaced)
        return Insert(target, columns, None, self.rows_of(), by_name, overwrite, replaced)

    def rows_of(self) -> TableName:
        """``TABLE name`` or ``SELECT * FROM name``."""
        if self.take("TABLE"):
            return self.table(alias=False)
        if self.at("("):
            raise self.subquery()
        if not self.at("SELECT"):
            raise self.unexpected("VALUES", "TABLE", "SELECT * FROM")
        start = self.token.position
        found = self.table(alias=False) if self.take("SELECT", "*", "FROM") else None
        if found is None or not (self.token.kind == "end" or self.at(";")):
            raise self.error(
                "of queries only SELECT * FROM a table is supported here", position=start, hint=_COMPUTE_FIRST
            )
        return found

    # clauses of MERGE -----------------------------------------------------------------------------------------------

    def when(self) -> WhenClause:
        self.expect("WHEN")
        kind: When = "not_matched" if self.take("NOT") else "matched"
        self.expect("MATCHED", *(["NOT MATCHED"] if kind == "matched" else []))
        if kind == "not_matched" and self.take("BY"):
            if self.take("SOURCE"):
                kind = "not_matched_by_source"
            else:
                self.expect("TARGET", "SOURCE")
        condition = self.condition() if self.take("AND") else None
        self.expect("THEN", *(["AND"] if condition is None else ["an operator"]))
        if kind == "not_matched":
            return self.insertion(condition)
        if self.take("DELETE"):
            return WhenClause(kind, "delete", condition)
        self.expect("UPDATE", "DELETE")
        self.expect("SET")
        if kind == "matched" and self.take("*"):
            return WhenClause(kind, "update", condition, star=True, except_columns=self.exceptions())
        if self.at("*"):
            raise self.error(f"SET * takes the source's row, and WHEN {_MATCHED[kind]} has none")
        return WhenClause(kind, "update", condition, self.assignments())

    def insertion(self, condition: Expr | None) -> WhenClause:
        self.expect("INSERT")
        if self.take("*"):
            return WhenClause("not_matched", "insert", condition, star=True, except_columns=self.exceptions())
        if self.at("VALUES"):
            raise self.error("INSERT lists its columns here", hint="write INSERT (a, b) VALUES (...), or INSERT *")
        self.expect("(", "*")
        columns = self.separated(lambda: self.column().path)
        self.expect(")", ",", ".")
        self.expect("VALUES")
        return WhenClause("not_matched", "insert", condition, tuple(zip(columns, self.row(len(columns)), strict=True)))

    def exceptions(self) -> tuple[str, ...]:
        return self.column_list() if self.take("EXCEPT") else ()

    def refuse_unreachable(self, clause: WhenClause, before: Iterable[WhenClause], position: int) -> None:
        """A clause behind one of its kind without a condition never applies; Spark refuses it too."""
        if any(c.when == clause.when and c.condition is None for c in before):
            raise self.error(
                f"this clause never applies: a WHEN {_MATCHED[clause.when]} without a condition stands before it",
                hint="only the last one of a kind may lack a condition", position=position,
            )  # fmt: skip

    # parts ----------------------------------------------------------------------------------------------------------

    def condition(self) -> Expr:
        return self.checked(self.expression())

    def where(self) -> Expr | None:
        return self.condition() if self.take("WHERE") else None

    def assignments(self) -> Assignments:
        return self.separated(self.assignment)

    def assignment(self) -> tuple[Path, Expr]:
        path = self.column().path
        self.expect("=", ".")
        return path, self.new_value()

    def new_value(self) -> Expr:
        if self.at("DEFAULT") and self.peek().text not in (".", "("):
            self.next()
            return DEFAULT
        return self.condition()

    def row(self, columns: int | None) -> tuple[Expr, ...]:
        """Values in parentheses, as many as there are columns."""
        start = self.expect("(")
        values = self.separated(self.new_value)
        self.expect(")", ",", "an operator")
        if columns is not None and len(values) != columns:
            raise self.error(f"{columns} columns get {len(values)} values", position=start.position)
        return values

    def column_list(self) -> tuple[str, ...]:
        self.expect("(")
        names = self.separated(lambda: parse_name(self))
        self.expect(")", ",")
        return names

    def separated(self, read: Callable[[], T]) -> tuple[T, ...]:
        found = [read()]
        while self.take(","):
            found.append(read())
        return tuple(found)


_STATEMENTS: dict[str, Callable[[_StatementParser], Statement]] = {
    "MERGE": _StatementParser.merge,
    "UPDATE": _StatementParser.update,
    "DELETE": _StatementParser.delete,
    "INSERT": _StatementParser.insert,
}
