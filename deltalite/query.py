"""SQL over tables.

Queries are run by DuckDB, in its dialect: ``pip install 'deltalite[sql]'``. Tables are read by our own scan, with the
columns and filters that the query needs. MERGE, UPDATE, DELETE and INSERT are ours, in Spark's dialect.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from os import PathLike
from typing import Any

import pyarrow as pa

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr.bind import pointing
from deltalite.expr.statements import Delete, TableName, Update, changes_rows, parse_statement
from deltalite.expr.tokens import syntax_error
from deltalite.operations import statements
from deltalite.table import DeltaTable

TableLike = DeltaTable | str | PathLike[str] | Any
"""A handle, the path or URL of a table (``events@v12`` for a version), or anything else that DuckDB scans."""

_AT_VERSION = re.compile(r"(?P<uri>.+)@(?P<version>[vV]?\d+|\d{4}-\d\d-\d\d([T ][^/\\]*)?)")


def sql(
    query: str,
    tables: Mapping[str, TableLike] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    **named: TableLike,
) -> Any:
    """The result of a query as a stream, or what became of a statement that changes rows::

        sql("select day, count(*) from flights group by day", flights=DeltaTable("flights"))
        sql("select * from 's3://lake/events@v12' where id = 7")
        sql("delete from flights where cancelled", flights=table)
        sql("merge into flights using late on flights.id = late.id when matched then update set *",
            flights=table, late=dataframe)

    MERGE, UPDATE, DELETE and INSERT (``VALUES``, ``TABLE name`` or ``SELECT * FROM name``) are one commit each; the
    handle of the table moves to the version this makes.

    :param tables: what the names in the query stand for; names ignore case. ``named`` adds to it. A path or URL of a
        table in quotes needs no name. The source of a statement may be any rows that ``DeltaTable.append`` takes.
    :param storage_options: for tables given as paths.
    :return: a ``pyarrow.RecordBatchReader``; for a statement that changes rows, its ``CommitResult``.
    :raises InvalidArgumentError: when a name is given twice, or DuckDB is missing for a query.
    :raises ExpressionError: when the text is malformed, or names and types do not fit.
    :raises TableNotFoundError: when a statement changes a table that is not there.
    """
    given = [*(tables or {}).items(), *named.items()]
    if changes_rows(query):
        return _change(query, _by_name(given), storage_options)
    return _run(query, given, storage_options)


class QueryBuilder:
    """SQL over registered tables, as in deltalake.

    :param session_config: settings of DuckDB. ``datafusion.execution.batch_size`` sets the rows of a batch; other
        settings of DataFusion are accepted for deltalake and have no effect.
    """

    def __init__(self, session_config: Mapping[str, str] | None = None) -> None:
        self._config = dict(session_config or {})
        self._tables: dict[str, DeltaTable] = {}

    def register(self, table_name: str, delta_table: DeltaTable) -> QueryBuilder:
        """Give a table a name; names ignore case, a later table replaces an earlier one."""
        self._tables[table_name.lower()] = delta_table
        return self

    def execute(self, sql: str) -> pa.RecordBatchReader:
        """The result of a query as a stream.

        :raises ExpressionError: when DuckDB refuses the query.
        """
        return _run(sql, self._tables.items(), None, self._config)


def _run(
    query: str,
    tables: Collection[tuple[str, TableLike]],
    storage_options: Mapping[str, Any] | None,
    config: Mapping[str, str] | None = None,
) -> pa.RecordBatchReader:
    from deltalite.interop.duckdb import BATCH_ROWS, Session

    settings = {key: value for key, value in (config or {}).items() if not key.startswith("datafusion.")}
    session = Session(settings)
    known = _by_name(tables)
    for name, table in tables:
        _register(session, name, table, storage_options)
    for name in _quoted_tables(query, session.table_names(query)):
        if name.lower() not in known and (table := _table_at(name, storage_options)) is not None:
            session.register(name, table._reading)
    return session.stream(query, int((config or {}).get("datafusion.execution.batch_size", BATCH_ROWS)))


def _by_name(tables: Collection[tuple[str, TableLike]]) -> dict[str, TableLike]:
    """The tables by their names in lower case."""
    found: dict[str, TableLike] = {}
    for name, table in tables:
        if name.lower() in found:
            raise InvalidArgumentError(f"two tables are called {name!r}", hint="names ignore case", name=name)
        found[name.lower()] = table
    return found


def _register(session: Any, name: str, table: TableLike, storage_options: Mapping[str, Any] | None) -> None:
    if isinstance(table, (str, PathLike)):
        found = _table_at(str(table), storage_options)
        table = DeltaTable(table, storage_options=storage_options) if found is None else found
    if isinstance(table, DeltaTable):
        session.register(name, table._reading)
    else:
        session.connection.register(name, table)


def _quoted_tables(query: str, named: set[str] | None) -> list[str]:
    """The quoted texts of a query that stand for tables. Where DuckDB cannot tell, those behind FROM and JOIN."""
    if named is None:
        return [match["name"] for match in _BEHIND_FROM.finditer(query)]
    return [name for name in sorted(named) if f"'{name}'" in query or f'"{name}"' in query]


_BEHIND_FROM = re.compile(r"""\b(?:from|join)\s+(?P<quote>['"])(?P<name>[^'"]+)(?P=quote)""", re.IGNORECASE)


def _table_at(place: str, storage_options: Mapping[str, Any] | None) -> DeltaTable | None:
    """The table at a path or URL, ``@version`` allowed behind it; ``None`` where there is none."""
    if DeltaTable.is_deltatable(place, storage_options):
        return DeltaTable(place, storage_options=storage_options)
    if (match := _AT_VERSION.fullmatch(place)) and DeltaTable.is_deltatable(match["uri"], storage_options):
        return DeltaTable(match["uri"], match["version"], storage_options)
    return None


# -- statements that change rows -------------------------------------------------------------------------------------


def _change(text: str, tables: Mapping[str, TableLike], storage_options: Mapping[str, Any] | None) -> Any:
    statement = parse_statement(text)
    target = _target(text, statement.target, tables, storage_options)
    named = None if isinstance(statement, (Delete, Update)) else statement.source
    source = None if named is None else _source(text, named, tables, storage_options)
    try:
        return statements.run(statement, target, source)
    except ExpressionError as error:
        raise pointing(error, text) from error


def _target(
    text: str, wanted: TableName, tables: Mapping[str, TableLike], storage_options: Mapping[str, Any] | None
) -> DeltaTable:
    place = None if wanted.is_path else tables.get(wanted.name.lower())
    if place is None:
        place = _path(text, wanted, tables)
    if isinstance(place, DeltaTable):
        return place
    if isinstance(place, (str, PathLike)):
        return DeltaTable(place, storage_options=storage_options)
    raise InvalidArgumentError(
        f"{wanted.name!r} is a {type(place).__name__}, and rows of a DeltaTable only can be changed",
        hint="pass a DeltaTable, or the path of one", name=wanted.name,
    )  # fmt: skip


def _source(
    text: str, wanted: TableName, tables: Mapping[str, TableLike], storage_options: Mapping[str, Any] | None
) -> Any:
    """The rows that a name or path stands for; a path that is no table may be a file."""
    place = None if wanted.is_path else tables.get(wanted.name.lower())
    if place is None:
        place = _path(text, wanted, tables)
    if not isinstance(place, (str, PathLike)):
        return place
    if wanted.is_path:
        return DeltaTable(place, storage_options=storage_options)
    found = _table_at(str(place), storage_options)
    return place if found is None else found


def _path(text: str, wanted: TableName, tables: Mapping[str, TableLike]) -> str:
    """The path that a quoted name is.

    :raises ExpressionError: when the name is not quoted, with names that resemble it.
    """
    if wanted.quoted:
        return wanted.name
    close = get_close_matches(wanted.name.lower(), list(tables), n=3)
    raise syntax_error(
        text, wanted.position, f"there is no table {wanted.name!r}", name=wanted.name,
        hint=f"did you mean {' or '.join(close)}?" if close
        else f"pass it by name, as in sql(text, {wanted.name.split('.')[-1]}=table), or write its path in quotes",
    )  # fmt: skip
