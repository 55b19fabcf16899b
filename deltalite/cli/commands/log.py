"""log: the actions that commits consist of, as they lie in the transaction log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import command, table_argument
from deltalite.cli.output import text, write_records
from deltalite.cli.output.shapes import Field, Record, Show, View, compact_json
from deltalite.cli.settings import Settings
from deltalite.exceptions import InvalidArgumentError, VersionNotFoundError

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

LOG = (
    Field("version", "integer", "the commit it belongs to"),
    Field("action", "text", "its kind: add, remove, metaData, protocol, commitInfo, txn, ..."),
    Field("value", "json", "the action, as it is stored"),
)


@command(
    "log",
    examples=(
        "deltalite log ./events",
        "deltalite log ./events 3..7 --action add --action remove",
        "deltalite log ./events .. -o ndjson | jq 'select(.action == \"protocol\")'",
    ),
    output=LOG,
    python="DeltaTable(TABLE).commits(start, end)",
)
@table_argument
@click.argument("versions", required=False, metavar="[A..B]")
@click.option("--action", "actions", multiple=True, metavar="KIND", help="Only actions of this kind; repeatable.")
def log(settings: Settings, table: str, versions: str | None, actions: tuple[str, ...]) -> None:
    """The actions of commits, as they lie in the transaction log.

    Of the newest commit, of one version (7), or of a range of them (3..7, 3.., ..7, ..).
    """
    handle = settings.open(table)
    first, last = _range(versions, handle.version())
    first = _oldest(handle) if first is None else first
    wanted = {name.lower() for name in actions}
    write_records(settings, LOG, _entries(handle.commits(first, last), wanted), _VIEW)


def _oldest(handle: DeltaTable) -> int:
    """The first version that the log still has."""
    return handle.history()[-1]["version"]


def _range(spec: str | None, newest: int) -> tuple[int | None, int]:
    """First and last version that an argument names, both included; ``None`` is the first there is."""
    if spec is None:
        return newest, newest
    match = re.fullmatch(r"v?(?P<one>\d+)|(?:v?(?P<first>\d+))?\.\.(?:v?(?P<last>\d+))?", spec)
    if match is None:
        raise InvalidArgumentError(f"{spec!r} is no range of versions", hint="write 7, 3..7, 3.., ..7 or ..")
    one, first, last = (None if text is None else int(text) for text in match.group("one", "first", "last"))
    if one is not None:
        first = last = one
    last = newest if last is None else last
    for version in (first, last):
        if version is not None and version > newest:
            raise VersionNotFoundError(f"version {version} is not available; the newest is {newest}", version=version)
    if first is not None and first > last:
        raise InvalidArgumentError(f"the range {spec} runs backwards", hint=f"write {last}..{first}")
    return first, last


def _entries(commits: Any, wanted: set[str]) -> Iterator[dict[str, Any]]:
    for commit in commits:
        for line in commit.data.split(b"\n"):
            if not line.strip():
                continue
            for name, value in json.loads(line).items():
                if not wanted or name.lower() in wanted:
                    yield {"version": commit.version, "action": name, "value": value}


def _what(record: Record, people: bool) -> str:
    """The gist of an action on one line; programs get all of it."""
    value = record["value"]
    gist = _GISTS.get(record["action"]) if people and isinstance(value, dict) else None
    return gist(value) if gist else compact_json(value)


def _file(value: dict[str, Any]) -> str:
    parts = []
    rows = _rows(value.get("stats"))
    if rows is not None:
        parts.append(text.plural(rows, "row"))
    if isinstance(value.get("size"), int):
        parts.append(text.size(value["size"]))
    if value.get("deletionVector"):
        parts.append(text.plural(value["deletionVector"].get("cardinality", 0), "deleted row"))
    if value.get("dataChange") is False:
        parts.append("no data change")
    return "  ".join([*parts, str(value.get("path"))])


def _rows(stats: Any) -> int | None:
    try:
        return json.loads(stats)["numRecords"] if stats else None
    except (ValueError, KeyError, TypeError):
        return None


def _metadata(value: dict[str, Any]) -> str:
    try:
        columns = text.plural(len(json.loads(value["schemaString"])["fields"]), "column")
    except (ValueError, KeyError, TypeError):
        columns = "schema"
    partitions = ", ".join(value.get("partitionColumns") or ())
    properties = " ".join(f"{k}={v}" for k, v in (value.get("configuration") or {}).items())
    return "  ".join(part for part in (columns, f"by {partitions}" if partitions else "", properties) if part)


def _protocol(value: dict[str, Any]) -> str:
    features = sorted({*(value.get("readerFeatures") or ()), *(value.get("writerFeatures") or ())})
    versions = f"reader {value.get('minReaderVersion')} / writer {value.get('minWriterVersion')}"
    return f"{versions}  {', '.join(features)}".rstrip()


def _commit_info(value: dict[str, Any]) -> str:
    metrics = " ".join(f"{k}={v}" for k, v in (value.get("operationMetrics") or {}).items())
    parts = (value.get("operation"), metrics, value.get("engineInfo"), value.get("userMetadata"))
    return "  ".join(str(part) for part in parts if part)


_GISTS = {
    "add": _file,
    "remove": _file,
    "cdc": _file,
    "metaData": _metadata,
    "protocol": _protocol,
    "commitInfo": _commit_info,
    "txn": lambda value: f"{value.get('appId')} = {value.get('version')}",
    "domainMetadata": lambda v: f"{v.get('domain')}  {'removed' if v.get('removed') else v.get('configuration')}",
}
_VIEW: View = (
    Show("VERSION", lambda r, _: str(r["version"]), right=True),
    Show("ACTION", lambda r, _: r["action"]),
    Show("WHAT", _what),
)

COMMANDS = (log,)
