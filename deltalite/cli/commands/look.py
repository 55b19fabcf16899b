"""show, history, schema, detail: what a table is and how it came to be. Metadata only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli import schemas
from deltalite.cli.command import command, table_argument
from deltalite.cli.metrics import Change, change_of
from deltalite.cli.output import text, write_record, write_records
from deltalite.cli.output.shapes import Field, Record, Show, View, compact_json, plain_view
from deltalite.cli.settings import Settings
from deltalite.cli.target import parse_time

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

SMALL_FILE = 16_000_000

HISTORY = (
    Field("version", "integer", "number of the version"),
    Field("timestamp", "time", "when it was committed"),
    Field("operation", "text", "what was done: WRITE, MERGE, DELETE, ..."),
    Field("operationParameters", "json", "its parameters, as the writer recorded them"),
    Field("operationMetrics", "json", "its counts, as the writer recorded them"),
    Field("isBlindAppend", "boolean", "rows were added without reading the table"),
    Field("readVersion", "integer", "the version it started from"),
    Field("isolationLevel", "text", "against which other commits it was checked"),
    Field("engineInfo", "text", "the program that wrote it"),
    Field("userMetadata", "text", "what the writer noted (--message)"),
    Field("txnId", "text", "id of the commit"),
)

DETAIL = (
    Field("format", "text", "always delta"),
    Field("id", "text", "the table's UUID"),
    Field("name", "text", "its name, if it has one"),
    Field("description", "text", "its description, if it has one"),
    Field("location", "text", "its path or URL"),
    Field("version", "integer", "the version shown"),
    Field("created_at", "time", "when the table was created"),
    Field("last_modified", "time", "when this version was committed"),
    Field("partition_columns", "json", "list of column names"),
    Field("num_files", "integer", "live data files"),
    Field("size_in_bytes", "integer", "their size in bytes"),
    Field("num_records", "integer", "live rows; null when a file lacks statistics"),
    Field("properties", "json", "table properties by name"),
    Field("min_reader_version", "integer", "protocol version that readers must know"),
    Field("min_writer_version", "integer", "protocol version that writers must know"),
    Field("table_features", "json", "list of table features"),
    Field("checkpoint_version", "integer", "version of the checkpoint that was read"),
)

SHOW = (
    *(f for f in DETAIL if f.name not in ("format", "created_at")),
    Field("operation", "text", "what made this version"),
    Field("num_columns", "integer", "columns of the schema"),
    Field("num_partitions", "integer", "partitions that hold files; null for an unpartitioned table"),
    Field("num_small_files", "integer", f"files under {text.size(SMALL_FILE)}"),
    Field("recent", "json", "the last commits: version, timestamp, operation, engineInfo"),
)

SCHEMA = (
    Field("column", "text", "name; parts of nested columns are joined by dots, odd names in backticks"),
    Field("type", "text", "Delta type"),
    Field("nullable", "boolean", "whether null is allowed"),
    Field("partition", "boolean", "whether the table is partitioned by it"),
    Field("comment", "text", "the column's comment, if it has one"),
)


@command(
    "show",
    examples=("deltalite show ./events", "deltalite show ./events@12 -o json"),
    output=SHOW,
    python="DeltaTable(TABLE).detail()",
)
@table_argument
def show(settings: Settings, table: str) -> None:
    """One screen about a table: version, rows, files, protocol, last commits."""
    handle = settings.open(table)
    facts = _facts(handle)
    write_record(settings, SHOW, facts, lambda: _card(facts))


def _facts(handle: DeltaTable) -> dict[str, Any]:
    detail = dict(handle.detail())
    recent = handle.history(3)
    partitioned = bool(detail["partition_columns"])
    return {
        **detail,
        "operation": recent[0].get("operation") if recent else None,
        "num_columns": len(handle.schema().fields),
        "num_partitions": len(handle.partitions()) if partitioned else None,
        "num_small_files": _small_files(handle),
        "recent": [
            {"version": r["version"], "timestamp": text.moment(r["timestamp"])}
            | {"operation": r.get("operation"), "engineInfo": r.get("engineInfo")}
            for r in recent
        ],
    }


def _small_files(handle: DeltaTable) -> int:
    import pyarrow.compute as pc

    from deltalite.model.arrow import scalar

    sizes = handle.files().column("size_bytes")
    return pc.sum(pc.less(sizes, scalar(SMALL_FILE, sizes.type))).as_py() or 0


def _card(facts: Record) -> Iterator[str]:
    place = facts["location"].rstrip("/")
    name = facts["name"] or place.rpartition("/")[2] or place
    yield f"{name}  v{facts['version']}  {text.clock(facts['last_modified'])}Z  {facts['operation'] or ''}".rstrip()
    if facts["description"]:
        yield f"  {facts['description']}"
    rows = "unknown" if facts["num_records"] is None else text.count(facts["num_records"])
    line = [f"rows {rows}", f"columns {facts['num_columns']}", f"files {text.count(facts['num_files'])}"]
    line.append(f"size {text.size(facts['size_in_bytes'])}")
    if facts["num_partitions"] is not None:
        line.append(f"partitions {text.count(facts['num_partitions'])} ({', '.join(facts['partition_columns'])})")
    yield "  " + "   ".join(line)
    features = ", ".join(facts["table_features"]) or "none"
    yield f"  reader {facts['min_reader_version']} / writer {facts['min_writer_version']}   features {features}"
    checkpoint = facts["checkpoint_version"]
    yield f"  checkpoint {'none' if checkpoint is None else f'at v{checkpoint}'}   {facts['location']}"
    yield ""
    width = max((len(commit["operation"] or "-") for commit in facts["recent"]), default=0)
    for commit in facts["recent"]:
        when = commit["timestamp"][:19].replace("T", " ")
        operation = commit["operation"] or "-"
        yield f"  v{commit['version']}  {when}Z  {operation:<{width}}  {commit['engineInfo'] or ''}".rstrip()
    yield from (f"  hint  {hint}" for hint in _hints(facts))


def _hints(facts: Record) -> Iterator[str]:
    files, small = facts["num_files"], facts["num_small_files"]
    if small >= 20 and small * 2 > files:
        limit, part = text.size(SMALL_FILE), text.share(small, files)
        yield f"{text.count(small)} of {text.plural(files, 'file')} are under {limit} ({part})"
    behind = facts["version"] - (-1 if facts["checkpoint_version"] is None else facts["checkpoint_version"])
    if behind > 100:
        yield f"{text.plural(behind, 'commit')} since the last checkpoint: deltalite checkpoint {facts['location']}"


@command(
    "history",
    examples=(
        "deltalite history ./events -n 3",
        "deltalite history ./events --since 7d --op MERGE",
        "deltalite history ./events --all -o ndjson | jq .operationMetrics",
    ),
    output=HISTORY,
    python="DeltaTable(TABLE).history(limit)",
)
@table_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=20,
    show_default=True,
    help="How many versions to show.",
)
@click.option("--all", "everything", is_flag=True, help="Show all versions.")
@click.option("--since", metavar="TIME", help="Only versions since then: 2026-11-01, 2026-11-01T10:00Z, 7d, 12h.")
@click.option("--op", metavar="OPERATION", help="Only this operation: WRITE, MERGE, ...")
@click.option("--metrics", is_flag=True, help="Show the operation metrics as they were recorded.")
def history(
    settings: Settings, table: str, limit: int, everything: bool, since: str | None, op: str | None, metrics: bool
) -> None:
    """The versions of a table, newest first: when, what, how much, by whom."""
    start = parse_time(since, dt.datetime.now(dt.timezone.utc)) if since else None
    handle = settings.open(table)
    wanted = None if everything else limit
    found = handle.history(wanted if start is None and op is None else None)
    if start is not None:
        found = [r for r in found if r["timestamp"] >= start.timestamp() * 1000]
    if op is not None:
        found = [r for r in found if (r.get("operation") or "").upper() == op.upper()]
    shown = found[:wanted]
    write_records(settings, HISTORY, shown, _history_view(shown, metrics))
    if shown and not everything and len(shown) == limit and shown[-1]["version"] > 0:
        settings.note(f"{text.plural(limit, 'version')} shown; --all shows every one")


def _history_view(records: list[dict[str, Any]], metrics: bool) -> View:
    changes = {r["version"]: change_of(r.get("operation"), r.get("operationMetrics")) for r in records}

    def of(record: Record) -> Change:
        return changes[record["version"]]

    view = [
        Show("VERSION", lambda r, _: str(r["version"]), right=True),
        Show("TIME (UTC)", lambda r, people: text.clock(r["timestamp"]) if people else text.moment(r["timestamp"])),
        Show("OPERATION", lambda r, _: r.get("operation")),
        Show("ROWS", lambda r, people: _rows(of(r), people)),
        Show("FILES", lambda r, people: _files(of(r), people)),
        Show("SIZE", lambda r, people: _bytes(of(r), people)),
        Show("BY", lambda r, _: r.get("engineInfo")),
    ]
    if any(r.get("userMetadata") for r in records):
        view.append(Show("MESSAGE", lambda r, _: r.get("userMetadata")))
    if metrics:
        view.append(Show("METRICS", lambda r, _: compact_json(r.get("operationMetrics") or {})))
    return tuple(view)


def _rows(c: Change, people: bool) -> str:
    if c.same_rows:
        return "="
    parts = ((c.rows_in, "+"), (c.rows_updated, "~"), (c.rows_out, "-"))
    return " ".join(text.change(number, sign, people) for number, sign in parts if number)


def _files(c: Change, people: bool) -> str:
    parts = ((c.files_in, "+"), (c.files_out, "-"))
    return " ".join(text.change(number, sign, people) for number, sign in parts if number)


def _bytes(c: Change, people: bool) -> str:
    net = c.bytes_net
    if not net:
        return ""
    return ("+" if net > 0 else "-") + (text.size(abs(net)) if people else str(abs(net)))


@command(
    "schema",
    examples=(
        "deltalite schema ./events",
        "deltalite schema ./events@3 --format ddl",
        'deltalite create ./copy --schema "$(deltalite schema ./events --format ddl)"',
    ),
    output=SCHEMA,
    python="DeltaTable(TABLE).schema()",
)
@table_argument
@click.option(
    "--format",
    "notation",
    type=click.Choice(("tree", *schemas.NOTATIONS)),
    default="tree",
    help="Notation: columns as a tree, or the schema as text for another tool.",
)
@click.option("--at", metavar="VERSION", help="The version or time to look at, as TABLE@VERSION has it.")
def schema(settings: Settings, table: str, notation: str, at: str | None) -> None:
    """The columns of a table, or its schema in the notation of another tool."""
    handle = settings.open(f"{table}@{at}" if at else table)
    if notation != "tree":
        click.echo(schemas.NOTATIONS[notation](handle.schema()))
        return
    records = schemas.column_records(handle.schema(), handle.metadata().partition_columns)
    view = _schema_view() if settings.format == "table" else plain_view(SCHEMA)
    write_records(settings, SCHEMA, records, view)


def _schema_view() -> View:
    def marks(r: Record) -> str:
        found = ["partition"] if r["partition"] else []
        return "  ".join(found + ([] if r["nullable"] else ["not null"]))

    return (
        Show("COLUMN", lambda r, _: "  " * r["depth"] + r["name"]),
        Show("TYPE", lambda r, _: r["outline"]),
        Show("", lambda r, _: marks(r)),
        Show("COMMENT", lambda r, _: r["comment"]),
    )


@command(
    "detail",
    examples=("deltalite detail ./events", "deltalite detail ./events -o json | jq .size_in_bytes"),
    output=DETAIL,
    python="DeltaTable(TABLE).detail()",
)
@table_argument
def detail(settings: Settings, table: str) -> None:
    """What is known about a table without reading its data: DESCRIBE DETAIL."""
    write_record(settings, DETAIL, settings.open(table).detail())


COMMANDS = (show, history, schema, detail)
