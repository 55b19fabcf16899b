"""A table as a polars frame: lazily, with columns, filters and row limits pushed into the scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.interop.pushdown import all_of, reading_state, reopened, schema_of, translated
from deltalite.model.expr import BoundExpr
from deltalite.model.types import StructType

if TYPE_CHECKING:
    import polars

    from deltalite.operations.reading import Reading


OLDEST = (1, 22)
"""Before this version polars dropped filters that did not survive its serialisation."""


def to_polars(
    reading: Reading, columns: Sequence[str] | None = None, predicate: Any = None, lazy: bool = True
) -> polars.LazyFrame | polars.DataFrame:
    """The matching rows as a polars frame.

    :param lazy: read nothing now: the query that is built on the frame says which columns and rows to read.
    :raises InvalidArgumentError: when polars is missing, or so old that it forgets filters.
    """
    try:
        import polars
        from polars.io.plugins import register_io_source
    except ImportError as error:
        raise InvalidArgumentError("polars is not installed", hint="pip install 'deltalite[polars]'") from error
    if tuple(map(int, polars.__version__.split(".")[:2])) < OLDEST:
        raise InvalidArgumentError(
            f"polars {polars.__version__} loses filters that it cannot hand to a source: results would be wrong",
            hint="pip install --upgrade polars",
        )
    source = PolarsSource(reading, columns, reading.bind(predicate))
    if lazy:
        return register_io_source(source, schema=source.empty().schema)
    return polars.concat(source(None, None, None, None))


class PolarsSource:
    """What polars calls when a query runs. Limits and filters are duties there, not hints."""

    def __init__(self, reading: Reading, columns: Sequence[str] | None, predicate: BoundExpr | None) -> None:
        self.reading = reading
        self.schema = schema_of(reading, columns)
        self.predicate = predicate

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (reading_state(self.reading), self.schema.names, self.predicate)

    def empty(self) -> polars.DataFrame:
        """No rows under the frame's schema."""
        return _frame(self.schema.empty_table())

    def __call__(
        self, with_columns: list[str] | None, predicate: polars.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[polars.DataFrame]:
        """The rows of one scan, batch by batch.

        :param predicate: applied after ``n_rows`` have been taken.
        """
        # In the order of the schema whatever was asked: a streaming engine of polars takes columns by their place.
        wanted = [name for name in self.schema.names if with_columns is None or name in with_columns]
        asked = set() if predicate is None else set(predicate.meta.root_names())
        read = [name for name in self.schema.names if name in asked or name in wanted]
        ours = all_of(self.predicate, *self._judged(predicate if n_rows is None else None))
        rows = self.reading.scan(read, ours, limit=n_rows, batch_size=batch_size)
        yield self.empty().select(wanted)  # some versions of polars need a frame even when there are no rows
        for batch in rows:
            frame = _frame(batch)
            yield (frame if predicate is None else frame.filter(predicate)).select(wanted)

    def _judged(self, predicate: polars.Expr | None) -> list[BoundExpr | None]:
        return [] if predicate is None else translated_parts(predicate, self.reading.snapshot.config.schema)


def translated_parts(predicate: polars.Expr, schema: StructType) -> list[BoundExpr | None]:
    """What our scan can judge of a filter; polars judges all of it anyway."""
    found = translated(predicate, schema)
    return [found] if found is not None else [translated(part, schema) for part in _conjuncts(predicate)]


def _conjuncts(predicate: polars.Expr) -> list[polars.Expr]:
    """The parts of ``a & b & c``."""
    parts = predicate.meta.pop()
    for left, right in (parts, parts[::-1]) if len(parts) == 2 else ():
        if predicate.meta.eq(left & right):
            return [*_conjuncts(left), *_conjuncts(right)]
    return [predicate]


def _frame(rows: pa.RecordBatch | pa.Table) -> Any:
    import polars

    return polars.from_arrow(rows)


def _rebuilt(state: tuple[Any, ...], columns: Sequence[str], predicate: BoundExpr | None) -> PolarsSource:
    return PolarsSource(reopened(*state), columns, predicate)
