"""The table properties: one row each, with parser, default and meaning (PROTOCOL.md, "Table Properties", and the
reference implementation's ``DeltaConfigs``)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from deltalite.exceptions import InvalidArgumentError

T = TypeVar("T")
_UNITS_MS = {
    "millisecond": 1,
    "second": 1000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 604_800_000,
}
_INTERVAL = re.compile(r"(\d+)\s*([a-z]+?)s?(?:\s+|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Property(Generic[T]):
    """One property. ``parse`` turns its text into a value and raises ``ValueError`` on nonsense."""

    name: str
    parse: Callable[[str], T]
    default: T
    doc: str

    def of(self, configuration: Mapping[str, str]) -> T:
        """The value in a table's configuration, or the default.

        :raises InvalidArgumentError: when the text makes no sense.
        """
        text = configuration.get(self.name)
        if text is None:
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise InvalidArgumentError(
                f"table property {self.name} cannot be {text!r}: {error}", hint=self.doc, property=self.name
            ) from error


def boolean(text: str) -> bool:
    folded = text.strip().lower()
    if folded not in ("true", "false"):
        raise ValueError("it is true or false")
    return folded == "true"


def interval_ms(text: str) -> int:
    """Milliseconds of a calendar interval as Spark writes it: ``interval 30 days``, ``1 week 2 hours``."""
    body = text.strip().lower().removeprefix("interval").strip()
    total, end = 0, 0
    for match in _INTERVAL.finditer(body):
        if match.start() != end or match[2] not in _UNITS_MS:
            raise ValueError("an interval reads like 'interval 7 days'")
        total, end = total + int(match[1]) * _UNITS_MS[match[2]], match.end()
    if not body or end != len(body):
        raise ValueError("an interval reads like 'interval 7 days'")
    return total


def _positive(text: str) -> int:
    if int(text) <= 0:
        raise ValueError("it is a positive number")
    return int(text)


def _indexed_columns(text: str) -> int:
    if int(text) < -1:
        raise ValueError("it is a number of columns, or -1 for all")
    return int(text)


def byte_size(text: str) -> int:
    """Bytes of a size such as ``104857600``, ``100mb`` or ``1 GiB``; units are powers of 1024."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if not match or float(match[1]) <= 0:
        raise ValueError("a size reads like '128mb'")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        for name in allowed:
            if text.lower() == name.lower():
                return name
        raise ValueError(f"it is one of {', '.join(allowed)}")

    return parse


def _column_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.findall(r"(?:`(?:[^`]|``)*`|[^,`])+", text) if part.strip())


APPEND_ONLY = Property("delta.appendOnly", boolean, False, "Refuse every commit that deletes or changes rows.")
CHECKPOINT_INTERVAL = Property("delta.checkpointInterval", _positive, 100, "Commits between two checkpoints.")
CHECKPOINT_POLICY = Property("delta.checkpointPolicy", _choice("classic", "v2"), "classic", "Kind of checkpoints.")
STATS_AS_JSON = Property("delta.checkpoint.writeStatsAsJson", boolean, True, "Statistics as JSON in checkpoints.")
STATS_AS_STRUCT = Property(
    "delta.checkpoint.writeStatsAsStruct", boolean, True, "Statistics as columns in checkpoints."
)
STATS_NUM_COLUMNS = Property(
    "delta.dataSkippingNumIndexedCols", _indexed_columns, 32, "How many leaf columns get statistics; -1 for all."
)
STATS_COLUMNS = Property(
    "delta.dataSkippingStatsColumns", _column_list, (), "The columns that get statistics, instead of the first ones."
)
STATS_PREFIX = Property(
    "delta.dataSkippingStringPrefixLength", _positive, 32, "Characters kept of a text in minimum and maximum."
)
DELETED_FILE_RETENTION = Property(
    "delta.deletedFileRetentionDuration", interval_ms, interval_ms("1 week"), "How long removed files are kept."
)
LOG_RETENTION = Property("delta.logRetentionDuration", interval_ms, interval_ms("30 days"), "How long history is kept.")
EXPIRED_LOG_CLEANUP = Property(
    "delta.enableExpiredLogCleanup", boolean, True, "Delete expired log files on checkpoints."
)
TXN_RETENTION = Property(
    "delta.setTransactionRetentionDuration", interval_ms, None, "How long application transactions are remembered."
)
ISOLATION = Property(
    "delta.isolationLevel", _choice("Serializable", "WriteSerializable"), None, "Serializable or WriteSerializable."
)
TARGET_FILE_SIZE = Property("delta.targetFileSize", byte_size, None, "Size that data files should have.")
AUTO_COMPACT = Property(
    "delta.autoOptimize.autoCompact",
    _choice("true", "auto", "false", "legacy"),
    "false",
    "Compact small files after a write that leaves many; true or auto.",
)
COMPRESSION = Property(
    "delta.parquet.compression.codec",
    _choice("zstd", "snappy", "gzip", "lz4", "lz4_raw", "brotli", "uncompressed", "none"),
    None,
    "Compression of data files.",
)
CHANGE_DATA_FEED = Property("delta.enableChangeDataFeed", boolean, False, "Record the changes of rows.")
DELETION_VECTORS = Property(
    "delta.enableDeletionVectors", boolean, False, "Mark deleted rows instead of rewriting files."
)
TRUNCATED_RETENTION = Property(
    "delta.dropFeatureTruncateHistory.retentionDuration",
    interval_ms,
    interval_ms("24 hours"),
    "How much history dropping a feature with truncate_history keeps.",
)
ROW_TRACKING = Property("delta.enableRowTracking", boolean, False, "Give every row a stable id.")
ROW_TRACKING_SUSPENDED = Property("delta.rowTrackingSuspended", boolean, False, "Give new rows no ids.")
TYPE_WIDENING = Property("delta.enableTypeWidening", boolean, False, "Allow the type of a column to be widened.")
IN_COMMIT_TIMESTAMPS = Property(
    "delta.enableInCommitTimestamps", boolean, False, "Store a commit's time in the commit."
)
COLUMN_MAPPING_MODE = Property(
    "delta.columnMapping.mode", _choice("none", "name", "id"), "none", "How columns are found in data files."
)
WRITE_PARTITION_COLUMNS = Property(
    "delta.writePartitionColumnsToParquet", boolean, False, "Store partition columns in data files as well."
)
ICEBERG_COMPAT = tuple(
    Property(f"delta.enableIcebergCompatV{n}", boolean, False, f"Keep to the rules of Iceberg compatibility V{n}.")
    for n in (1, 2, 3)
)
VARIANT_SHREDDING = Property("delta.enableVariantShredding", boolean, False, "Write variants in shredded form.")

PROPERTIES: dict[str, Property[Any]] = {
    p.name.lower(): p for p in (*globals().values(), *ICEBERG_COMPAT) if isinstance(p, Property)
}

# Properties of other engines that change nothing here, and values that the protocol or a feature keeps for itself.
_KNOWN_ELSEWHERE = [
    "delta.autoOptimize.optimizeWrite",
    "delta.autoOptimize",
    "delta.checkpointRetentionDuration",
    "delta.sampleRetentionDuration",
    "delta.enableFullRetentionRollback",
    "delta.randomizeFilePrefixes",
    "delta.randomPrefixLength",
    "delta.sampling.enabled",
    "delta.tuneFileSizesForRewrites",
    "delta.minReaderVersion",
    "delta.minWriterVersion",
    "delta.columnMapping.maxColumnId",
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.compatibility.symlinkFormatManifest.enabled",
    "delta.universalFormat.enabledFormats",
    "delta.rowTracking.materializedRowIdColumnName",
    "delta.rowTracking.materializedRowCommitVersionColumnName",
    "delta.requireCheckpointProtectionBeforeVersion",
    "delta.coordinatedCommits.commitCoordinator-preview",
    "delta.coordinatedCommits.commitCoordinatorConf-preview",
    "delta.coordinatedCommits.tableConf-preview",
    "delta.clustering.columns",
    "delta.ignoreProtocolDefaults",
    "delta.parquet.format.version",
    "delta.workloadBasedColumns.optimizerStatistics",
    "delta.castIcebergTimeType",
    "delta.enableMaterializePartitionColumnsFeature",
]
_KEPT_BY_THE_TABLE = frozenset(
    name.lower()
    for name in (
        "delta.columnMapping.maxColumnId",
        "delta.inCommitTimestampEnablementVersion",
        "delta.inCommitTimestampEnablementTimestamp",
        "delta.rowTracking.materializedRowIdColumnName",
        "delta.rowTracking.materializedRowCommitVersionColumnName",
        "delta.requireCheckpointProtectionBeforeVersion",
    )
)
_OPEN_PREFIXES = (
    "delta.constraints.",
    "delta.feature.",
    "delta.universalformat.",
    "delta.coordinatedcommits.",
    "delta.liquid.",
)


def check_names(configuration: Mapping[str, str | None]) -> None:
    """Refuse unknown ``delta.*`` properties; anything else is the user's own.

    :raises InvalidArgumentError: with the name that was probably meant.
    """
    known = [p.name for p in PROPERTIES.values()] + _KNOWN_ELSEWHERE
    folded = {name.lower() for name in known}
    for name in configuration:
        low = name.lower()
        if not low.startswith("delta.") or low in folded or low.startswith(_OPEN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, 1)
        raise InvalidArgumentError(
            f"unknown table property {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else "names outside 'delta.' are free for your own use",
            property=name,
        )


def check_not_kept(names: Iterable[str]) -> None:
    """Refuse to set or remove what the table itself keeps in its properties.

    :raises InvalidArgumentError: naming the property.
    """
    for name in names:
        if name.lower() in _KEPT_BY_THE_TABLE:
            raise InvalidArgumentError(
                f"the table itself keeps {name}", hint="table features set it when they are turned on", property=name
            )
        if name.lower().startswith("delta.constraints."):
            raise InvalidArgumentError(
                f"{name} is a constraint, whose rows have to be looked at",
                hint="alter.add_constraint({name: condition}) and alter.drop_constraint(name) change it",
                property=name,
            )


def normalise(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Properties as the log stores them: canonical spelling of known names, values as text; ``None`` values dropped."""
    found = {}
    for name, value in configuration.items():
        if value is None:
            continue
        known = PROPERTIES.get(name.lower())
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if known is not None:
            known.of({known.name: text})
        found[known.name if known else name] = text
    return found
