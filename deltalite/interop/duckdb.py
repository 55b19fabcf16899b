"""A table in DuckDB: columns and filters of a query are pushed into our scan through :class:`DeltaDataset`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import DeltaError, ExpressionError, InvalidArgumentError
from deltalite.expr.convert import to_expr
from deltalite.interop.dataset import DeltaDataset
from deltalite.model.expr import BoundExpr, Call, Expr, and_, children, with_children

if TYPE_CHECKING:
    from types import ModuleType

    from deltalite.operations.reading import Reading

BATCH_ROWS = 1 << 16


def to_duckdb(reading: Reading, connection: Any = None, name: str | None = None) -> Any:
    """A DuckDB relation over the table.

    :param connection: where the relation lives; by default an in-memory database of its own, because a connection
        that streams a result answers no other query until the stream ends.
    :param name: register the table in the given connection as a view of this name; otherwise the relation's alias.
    :raises InvalidArgumentError: when DuckDB is missing.
    """
    dataset = DuckDataset(reading)
    if connection is not None and name is not None:
        connection.register(name, dataset)
        return connection.view(name)
    if connection is None:
        connection = connect()
        dataset.keeps = connection  # as the relation keeps the dataset: before DuckDB 2 it does not keep its connection
    relation = connection.from_arrow(dataset)
    return relation if name is None else relation.set_alias(name)


def connect(config: Mapping[str, Any] | None = None) -> Any:
    """A DuckDB in memory that sees what is registered with it, and no variables of the program; its zone is UTC.

    :param config: settings of DuckDB.
    :raises InvalidArgumentError: when DuckDB is missing.
    """
    connection = _duckdb().connect(config=dict(config or {}))
    connection.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'")
    return connection


class Session:
    """One query's DuckDB. An error of our scan is raised as itself, not as the text that DuckDB makes of it."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.connection = connect(config)
        self.failures: list[DeltaError] = []

    def register(self, name: str, reading: Reading) -> None:
        """Show a table under a name."""
        self.connection.register(name, DuckDataset(reading, self.failures))

    def table_names(self, query: str) -> set[str] | None:
        """The tables that a query names, common table expressions left out; ``None`` when DuckDB cannot tell."""
        try:
            return set(self.connection.get_table_names(query))
        except _duckdb().Error:
            return None

    def stream(self, query: str, batch_size: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """The rows of a query as they are computed.

        :raises ExpressionError: when DuckDB refuses the query, at once or on the way.
        """
        try:
            relation = self.connection.sql(query)
            if relation is None:
                return pa.RecordBatchReader.from_batches(pa.schema([]), [])
            renamed = hasattr(relation, "to_arrow_reader")  # in DuckDB 2
            reader = relation.to_arrow_reader(batch_size) if renamed else relation.fetch_arrow_reader(batch_size)
        except Exception as error:
            raise self._translated(error) from error
        return pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        if self.failures:
            return self.failures[0]
        if isinstance(error, (_duckdb().Error, pa.ArrowException)):
            return ExpressionError(f"DuckDB refuses the query: {error}")
        return error


class DuckDataset(DeltaDataset):
    """A dataset whose filters mean what DuckDB means by them.

    :param failures: where errors of the scan are noted before DuckDB makes text of them.
    """

    def __init__(self, reading: Reading, failures: list[DeltaError] | None = None) -> None:
        super().__init__(reading)
        self._failures = [] if failures is None else failures

    def _translated(self, condition: Any) -> BoundExpr | None:
        """Before DuckDB 2 a pushed ``x > 5`` takes it for granted that NaN is above every number."""
        if condition is not None and _duckdb().__version__.startswith(("0.", "1.")):
            try:
                condition = _with_nan(to_expr(condition, self._reading.snapshot.config.schema))
            except DeltaError:
                return None
        return super()._translated(condition)

    def _rows(
        self, columns: list[str], predicate: BoundExpr | None, batch_size: int | None, limit: int | None
    ) -> pa.RecordBatchReader:
        reader = super()._rows(columns, predicate, batch_size, limit)
        return pa.RecordBatchReader.from_batches(reader.schema, self._watched(reader))

    def _watched(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except DeltaError as error:
            self._failures.append(error)
            raise


def _with_nan(expr: Expr) -> Expr:
    """The expression without the tests that keep NaN out of comparisons."""
    parts = [_with_nan(part) for part in children(expr)]
    if isinstance(expr, Call) and expr.function == "and":
        return and_(*(part for part in parts if not _excludes_nan(part)))
    return with_children(expr, parts)


def _excludes_nan(expr: Expr) -> bool:
    inner = expr.args[0] if isinstance(expr, Call) and expr.function == "not" else None
    return isinstance(inner, Call) and inner.function == "isnan"


def _duckdb() -> ModuleType:
    try:
        import duckdb
    except ImportError as error:
        raise InvalidArgumentError("DuckDB is not installed", hint="pip install 'deltalite[sql]'") from error
    return duckdb
