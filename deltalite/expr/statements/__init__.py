"""Statements that change rows, as text."""

from __future__ import annotations

from deltalite.expr.statements.nouns import Delete, Insert, Merge, Statement, TableName, Update, WhenClause
from deltalite.expr.statements.parser import changes_rows, parse_statement

__all__ = [
    "Delete",
    "Insert",
    "Merge",
    "Statement",
    "TableName",
    "Update",
    "WhenClause",
    "changes_rows",
    "parse_statement",
]
