"""A table as a pandas frame, which is in memory as a whole: hence a limit, and an error that names the ways around."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.tasks import ScanPlan
from deltalite.scan import matching

if TYPE_CHECKING:
    import pandas

    from deltalite.operations.reading import Reading

SHARE_OF_MEMORY = 0.5
"""How much of the free memory the Arrow data may take; the frame that pandas builds of it takes as much again."""

_CGROUP = Path("/sys/fs/cgroup")


def to_pandas(
    reading: Reading,
    predicate: Any = None,
    columns: Sequence[str] | None = None,
    types_mapper: Callable[[pa.DataType], Any] | None = None,
    max_bytes: int | None = None,
) -> pandas.DataFrame:
    """The matching rows as a pandas frame.

    :param types_mapper: gives the pandas type for an Arrow type, or ``None`` for the usual one.
    :param max_bytes: bytes of Arrow data at most; by default half of the memory that is free.
    :raises InvalidArgumentError: when the data is larger, or pandas is missing.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise InvalidArgumentError("pandas is not installed", hint="pip install 'deltalite[pandas]'") from error
    limit = _default_limit() if max_bytes is None else max_bytes
    return _collected(reading, columns, predicate, limit).to_pandas(types_mapper=types_mapper, self_destruct=True)


def _collected(reading: Reading, columns: Sequence[str] | None, predicate: Any, limit: int | None) -> pa.Table:
    plan = reading.plan(columns, predicate)
    least = int(_known_rows(reading) * least_bytes(plan.schema)) if predicate is None else 0
    if limit is not None and least > limit:
        raise _too_large("at least ", least, limit, plan)
    batches, found = [], 0
    for batch in reading.scan(columns, predicate):
        found += batch.nbytes
        if limit is not None and found > limit:
            raise _too_large("more than ", found, limit, plan)
        batches.append(batch)
    return pa.Table.from_batches(batches, plan.schema)


def _known_rows(reading: Reading) -> int:
    """The rows of the files whose statistics count them."""
    counts = matching.row_counts(reading.snapshot.files.table(matching.COUNT_COLUMNS))
    return int(counts[counts > 0].sum())


def least_bytes(schema: pa.Schema) -> float:
    """The bytes that a row takes at least: values of fixed width, and offsets for the others."""
    return sum(_least_bytes(field.type) for field in schema)


def _least_bytes(data_type: pa.DataType) -> float:
    if pa.types.is_struct(data_type):
        return sum(_least_bytes(data_type.field(i).type) for i in range(data_type.num_fields))
    try:
        return data_type.bit_width / 8
    except ValueError:
        return 0 if pa.types.is_null(data_type) else 4


def _too_large(how: str, found: int, limit: int, plan: ScanPlan) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the frame would take {how}{found / 2**20:,.0f} MiB, the limit is {limit / 2**20:,.0f} MiB",
        hint="read less (columns=, filters=), stream with scan(), let to_polars() or to_duckdb() compute first, "
        "or raise the limit (max_bytes=)",
        bytes=found,
        limit=limit,
        files=plan.files.num_rows,
    )


def _default_limit() -> int | None:
    free = [amount for amount in (_free_memory(), _free_in_cgroup()) if amount is not None]
    return int(min(free) * SHARE_OF_MEMORY) if free else None


def _free_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _free_in_cgroup() -> int | None:
    """What the container's limit leaves; file caches count as free."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
