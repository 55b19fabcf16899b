"""A value that is equal for equal rows, whatever their order, chunks and string layout."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["fingerprint", "of_names"]

_WORD = 1 << 64  # sums of a chunk wrap around


def fingerprint(table: pa.Table) -> dict[str, str | int]:
    """The number of rows and, per column, a sum over its values."""
    sums = {name: str(sum(map(_sum, table.column(name).chunks)) % _WORD) for name in sorted(table.column_names)}
    return {"rows": table.num_rows, **sums}


def _sum(values: pa.Array) -> int:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_decimal(kind):
        values = pc.multiply(values.cast(pa.float64()), pa.scalar(100.0)).cast(pa.float64())
        values = pc.round(values).cast(pa.int64())
    elif pa.types.is_date(kind):
        values = values.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    elif pa.types.is_floating(kind):
        values = pc.round(pc.multiply(values, pa.scalar(1000.0))).cast(pa.int64())
    elif not pa.types.is_integer(kind):
        values = pc.binary_length(values.cast(pa.string()).cast(pa.large_binary()))
    return pc.sum(values.cast(pa.int64())).as_py() or 0


def of_names(names: Iterable[str]) -> dict[str, int | str]:
    """The number of file names and a sum over them, directories and schemes left out."""
    short = [name.rpartition("/")[2] for name in names]
    return {"names": len(short), "sum": str(sum(int.from_bytes(name.encode()[-60:], "little") for name in short))}
