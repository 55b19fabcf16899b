"""SQL over tables, by DuckDB: ``pip install 'deltalite[sql]'``.

Queries are DuckDB's dialect. Tables are read by our own scan, with the columns and filters that the query needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
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
) -> pa.RecordBatchReader:
    """The result of a query as a stream::

        sql("select day, count(*) from flights group by day", flights=DeltaTable("flights"))
        sql("select * from 's3://lake/events@v12' where id = 7")

    :param tables: what the names in the query stand for; names ignore case. ``named`` adds to it. A path or URL of a
        table in quotes needs no name.
    :param storage_options: for tables given as paths.
    :raises InvalidArgumentError: when a name is given twice, or DuckDB is missing.
    :raises ExpressionError: when DuckDB refuses the query.
    """
    return _run(query, [*(tables or {}).items(), *named.items()], storage_options)


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
    tables: Iterable[tuple[str, TableLike]],
    storage_options: Mapping[str, Any] | None,
    config: Mapping[str, str] | None = None,
) -> pa.RecordBatchReader:
    from deltalite.interop.duckdb import BATCH_ROWS, Session

    settings = {key: value for key, value in (config or {}).items() if not key.startswith("datafusion.")}
    session = Session(settings)
    known: set[str] = set()
    for name, table in tables:
        if name.lower() in known:
            raise InvalidArgumentError(f"two tables are called {name!r}", hint="names ignore case", name=name)
        known.add(name.lower())
        _register(session, name, table, storage_options)
    for name in _quoted_tables(query, session.table_names(query)):
        if name.lower() not in known and (table := _table_at(name, storage_options)) is not None:
            session.register(name, table._reading)
    return session.stream(query, int((config or {}).get("datafusion.execution.batch_size", BATCH_ROWS)))


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
