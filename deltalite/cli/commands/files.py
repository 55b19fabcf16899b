"""files: the live data files, and which of them a predicate lets a scan skip."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import columns_option, command, table_argument, where_option
from deltalite.cli.output import text, write_records, write_rows
from deltalite.cli.output.shapes import Record, Show, View
from deltalite.cli.settings import Settings
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.table import DeltaTable

_SKIPPED_BY = "skipped by "
_SHORT = {"size": "size_bytes", "rows": "num_records", "time": "modification_time"}


@command(
    "files",
    examples=(
        "deltalite files ./events --sort size",
        "deltalite files ./events --where \"day = date'2026-11-14' and id > 100\"",
        'deltalite files ./events --where "id = 5000123" --explain-pruning',
    ),
    python="DeltaTable(TABLE).files(predicate), .explain(predicate)",
)
@table_argument
@where_option("Only files that may hold a row this is true of.")
@click.option("--explain-pruning", "explain", is_flag=True, help="All files: kept or skipped by --where, and why.")
@columns_option("--stats", "Show minimum, maximum and null count of these columns.")
@click.option("--sort", metavar="KEY", help="path, size, rows, time, or a key of the output; largest first.")
def files(
    settings: Settings, table: str, where: str | None, explain: bool, stats: list[str] | None, sort: str | None
) -> None:
    """The live data files, and which of them a predicate lets a scan skip."""
    if explain and where is None:
        raise click.UsageError("--explain-pruning explains what --where skips: give --where")
    handle = settings.open(table)
    verdicts = handle.explain(where) if where is not None else None
    if explain:
        assert verdicts is not None
        found = _explained(handle.files(), verdicts)
    else:
        found = handle.files(where)
    found = _in_utc(found, "modification_time")
    if sort is not None:
        found = _sorted(found, sort)
    if settings.format in ("table", "plain") and settings.columns is None:
        columns = _shown_columns(found, _stats_columns(handle, stats, where), explain)
        write_records(settings, (), _records(found.select(columns)), _view(found.select(columns).schema))
    else:
        write_rows(settings, found.to_reader())
    if verdicts is not None:
        settings.note(_summary(verdicts))


def _explained(files: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The files with ``kept`` and ``reason`` after their path."""
    import pyarrow.compute as pc

    files = files.take(pc.index_in(verdicts.column("path"), files.column("path").combine_chunks()))
    for position, name in enumerate(("kept", "reason"), start=1):
        files = files.add_column(position, name, verdicts.column(name))
    return files


def _in_utc(files: pa.Table, name: str) -> pa.Table:
    """The files with the zone of a time column named, so that it is printed."""
    import pyarrow as pa

    utc = pa.timestamp("ms", tz="UTC")
    times = pa.chunked_array([chunk.view(utc) for chunk in files.column(name).chunks], utc)
    return files.set_column(files.column_names.index(name), name, times)


def _sorted(files: pa.Table, key: str) -> pa.Table:
    import pyarrow.compute as pc

    name = _SHORT.get(key, key)
    if name not in files.column_names:
        raise InvalidArgumentError(
            f"there is no column {key!r} to sort by",
            hint=f"columns: path, size, rows, time, {', '.join(files.column_names)}",
        )
    order = "ascending" if name == "path" else "descending"
    return files.take(pc.sort_indices(files, sort_keys=[(name, order), ("path", "ascending")]))


def _stats_columns(handle: DeltaTable, asked: Sequence[str] | None, where: str | None) -> list[str]:
    """The columns whose statistics to show: those asked for, or those that the predicate speaks of."""
    schema = handle.schema()
    if asked is None:
        words = {word.lower() for word in re.findall(r"\w+", where or "")}
        partitions = set(handle.metadata().partition_columns)
        return [f.name for f in schema.fields if f.name.lower() in words and f.name not in partitions]
    for name in asked:
        if schema.get(name) is None and schema.get(name.partition(".")[0]) is None:
            raise InvalidArgumentError(f"there is no column {name!r}", hint=f"columns: {', '.join(schema.names)}")
    return [name if (f := schema.get(name)) is None else f.name for name in asked]


def _shown_columns(files: pa.Table, stats: Sequence[str], explain: bool) -> list[str]:
    """The columns that people see, of those there are."""
    wanted = ["path", *(("kept", "reason") if explain else ()), "num_records", "size_bytes"]
    wanted += [name for name in files.column_names if name.startswith("partition.")]
    wanted += [f"{kind}.{column}" for column in stats for kind in ("min", "max", "null_count")]
    return [name for name in wanted if name in files.column_names]


def _records(files: pa.Table) -> Iterator[dict[str, Any]]:
    from deltalite.cli.output.values import text_column

    names = files.column_names
    for batch in files.to_batches():
        columns = [
            column.to_pylist() if name in ("size_bytes", "num_records", "kept") else text_column(column).to_pylist()
            for name, column in zip(names, batch.columns, strict=True)
        ]
        for row in zip(*columns, strict=True):
            yield dict(zip(names, row, strict=True))


def _view(schema: pa.Schema) -> View:
    """A column for each of the schema."""
    import pyarrow as pa

    special = {
        "path": Show("PATH", lambda r, _: r["path"], cut_inside=True),
        "kept": Show("KEPT", lambda r, _: "yes" if r["kept"] else "no"),
        "reason": Show("REASON", lambda r, _: r["reason"].removeprefix(_SKIPPED_BY)),
        "num_records": Show("ROWS", lambda r, people: _count(r["num_records"], people), right=True),
        "size_bytes": Show(
            "SIZE", lambda r, people: text.size(r["size_bytes"]) if people else str(r["size_bytes"]), True
        ),
    }
    titles = {"partition": "{}", "min": "{} MIN", "max": "{} MAX", "null_count": "{} NULLS"}
    view = []
    for f in schema:
        kind, _, column = f.name.partition(".")
        numeric = pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type)
        view.append(special.get(f.name) or Show(titles[kind].format(column), _value_of(f.name), numeric))
    return tuple(view)


def _count(number: int | None, people: bool) -> str | None:
    return None if number is None else text.count(number) if people else str(number)


def _value_of(name: str) -> Callable[[Record, bool], str | None]:
    return lambda record, _: record[name]


def _summary(verdicts: pa.Table) -> str:
    """``1 of 41 files may match (97.6 % skipped: 35 by partition, 5 by min/max)``."""
    kept = verdicts.column("kept").to_pylist()
    total, skipped = len(kept), kept.count(False)
    kinds = Counter(
        reason.removeprefix(_SKIPPED_BY).partition(":")[0]
        for keep, reason in zip(kept, verdicts.column("reason").to_pylist(), strict=True)
        if not keep
    )
    why = ", ".join(f"{text.count(n)} by {kind}" for kind, n in kinds.most_common())
    tail = f" ({text.share(skipped, total)} skipped: {why})" if skipped else ""
    return f"{text.count(total - skipped)} of {text.plural(total, 'file')} may match{tail}"


COMMANDS = (files,)
