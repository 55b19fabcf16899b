"""A table as a polars frame: lazily, with columns, filters and row limits pushed into the scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.interop.pushdown import all_of, reading_state, reopened, translated
from deltalite.model.expr import BoundExpr
from deltalite.model.types import StructType

if TYPE_CHECKING:
    import polars

    from deltalite.operations.reading import Reading


def to_polars(
    reading: Reading, columns: Sequence[str] | None = None, predicate: Any = None, lazy: bool = True
) -> polars.LazyFrame | polars.DataFrame:
    """The matching rows as a polars frame.

    :param lazy: read nothing now: the query that is built on the frame says which columns and rows to read.
    :raises InvalidArgumentError: when polars is missing.
    """
    try:
        import polars
        from polars.io.plugins import register_io_source
    except ImportError as error:
        raise InvalidArgumentError("polars is not installed", hint="pip install 'deltalite[polars]'") from error
    source = PolarsSource(reading, columns, reading.bind(predicate))
    if lazy:
        return register_io_source(source, schema=source.empty().schema)
    frames = list(source(None, None, None, None))
    return polars.concat(frames) if frames else source.empty()


class PolarsSource:
    """What polars calls when a query runs. Limits and filters are duties there, not hints."""

    def __init__(self, reading: Reading, columns: Sequence[str] | None, predicate: BoundExpr | None) -> None:
        self.reading = reading
        self.columns = list(reading.snapshot.config.schema.names if columns is None else columns)
        self.predicate = predicate

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (reading_state(self.reading), self.columns, self.predicate)

    def empty(self) -> polars.DataFrame:
        """No rows under the frame's schema."""
        plan = self.reading.plan(self.columns, None, 0)
        return _frame(plan.schema.empty_table())

    def __call__(
        self, with_columns: list[str] | None, predicate: polars.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[polars.DataFrame]:
        """The rows of one scan, batch by batch.

        :param predicate: applied after ``n_rows`` have been taken.
        """
        wanted = self.columns if with_columns is None else with_columns
        asked = set() if predicate is None else set(predicate.meta.root_names())
        read = [name for name in self.columns if name in asked or name in wanted]
        conditions = (
            []
            if predicate is None or n_rows is not None
            else translated_parts(predicate, self.reading.snapshot.config.schema)
        )
        batches = self.reading.scan(read, all_of(self.predicate, *conditions), limit=n_rows, batch_size=batch_size)
        for batch in batches:
            frame = _frame(batch)
            yield (frame if predicate is None else frame.filter(predicate)).select(wanted)


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
