"""Reading the rows of changed files: of any version, as one schema shows them, by the ordinary scan.

What a change feed adds to a row (``_change_type``, ``_commit_version``, ``_commit_timestamp``) is constant for a file,
just as its partition values are, and travels with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError, InvalidTableError, VersionNotFoundError
from deltalite.expr.bind import bind_predicate, conjunction, conjuncts
from deltalite.expr.convert import to_expr
from deltalite.expr.prune import ColumnStats, all_rows_match, keep_mask
from deltalite.features import partition_keys, physical_schema
from deltalite.features.change_data_feed import CHANGE_TYPE, FEED_FIELDS, ChangedFiles, reserved_columns
from deltalite.features.reading import by_field_id, virtual_columns
from deltalite.model.arrow import mask_array, scalar, schema_to_arrow, type_to_arrow
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.files import deletion_vector
from deltalite.model.tasks import FileTask, ScanPlan
from deltalite.model.types import Field, StructType
from deltalite.scan.ahead import ordered
from deltalite.scan.columns import Columns
from deltalite.scan.paths import Resolve
from deltalite.scan.read import AHEAD_BYTES, read_task
from deltalite.scan.rows import marked_rows
from deltalite.scan.stats import LogStats, TableFiles
from deltalite.storage import Store

_AT_ONCE = 64
_FEED = {f.name: f for f in FEED_FIELDS}


@dataclass(frozen=True)
class View:
    """How changed rows are shown: in the columns of one version, as far as they satisfy a predicate.

    :param config: of the version whose schema it is.
    :param output: the columns in order; nullable all of them, since older rows may lack what later ones must have.
    :param predicate: over the schema and the columns of the feed.
    """

    config: TableConfig
    output: StructType
    predicate: BoundExpr | None = None

    @classmethod
    def of(cls, config: TableConfig, columns: Sequence[str] | None, predicate: Any = None) -> View:
        """A view in the schema of a version.

        :param columns: names, ignoring case, those of the feed among them; ``None`` is all columns, then those.
        :raises InvalidArgumentError: for a column that does not exist, or a schema that uses the feed's names.
        :raises ExpressionError: for a predicate that does not fit.
        """
        if names := reserved_columns(config):
            raise InvalidArgumentError(
                f"the table has columns {names}, the names under which changes are told",
                hint="rename them; no change feed can be read before",
                columns=names,
            )
        schema = StructType([*config.schema.fields, *FEED_FIELDS])
        chosen = schema.names if columns is None else list(columns)
        output = [_field(schema, name).with_(nullable=True) for name in chosen]
        if twice := sorted({f.name for f in output if [g.name for g in output].count(f.name) > 1}):
            raise InvalidArgumentError(f"columns {twice} are asked for twice", columns=twice)
        bound = None if predicate is None else bind_predicate(to_expr(predicate, schema), schema)
        return cls(config, StructType(output), bound)

    @property
    def schema(self) -> pa.Schema:
        return schema_to_arrow(self.output)

    def showing(self, output: Sequence[Field], predicate: BoundExpr | None = None) -> View:
        """Other columns of the same schema, under another predicate."""
        return replace(self, output=StructType(list(output)), predicate=predicate)

    def part(self, changed: ChangedFiles, keys: Sequence[str], constants: Mapping[str, Any]) -> Part:
        """The files of one change, those left out in which the predicate holds for no row.

        :param keys: the keys of ``partitionValues`` that the files have.
        :param constants: the values of the feed's columns, as far as they are the same for all rows.
        """
        files, predicate = changed.files, self.predicate
        if predicate is not None:
            same_keys = tuple(keys) == partition_keys(self.config)
            files, predicate = _pruned(files, predicate, self.config if same_keys else None, constants)
        return Part(self._plan(keys, constants, predicate), files.drop_columns(["stats"]), constants)

    def _plan(self, keys: Sequence[str], constants: Mapping[str, Any], predicate: BoundExpr | None) -> ScanPlan:
        config = self.config
        columns = Columns(config.schema, physical_schema(config))
        by_key = {p.name: f for f, p in zip(columns.logical.fields, columns.physical.fields, strict=True)}
        partitions = [(by_key[key], key) for key in keys if key in by_key]
        repeated = [_FEED[name] for name in constants]
        stored = columns.without({f.name for f, _ in partitions})
        if CHANGE_TYPE not in constants:
            own = [_FEED[CHANGE_TYPE]]
            stored = Columns(StructType([*stored.logical.fields, *own]), StructType([*stored.physical.fields, *own]))
        available = virtual_columns(config)
        paths = [(f.name,) for f in self.output.fields] + sorted(predicate.columns if predicate else ())
        needed = stored.only(paths)
        return ScanPlan(
            version=0,
            output=self.output,
            logical=needed.logical,
            physical=needed.physical,
            partition_columns=(*(f.name for f, _ in partitions), *(f.name for f in repeated)),
            partition_keys=(*(key for _, key in partitions), *(f.name for f in repeated)),
            partition_types=(*(f.type for f, _ in partitions), *(f.type for f in repeated)),
            virtual={
                name: available[name] for name, *_ in paths if name in available and name not in config.schema.names
            },
            by_field_id=by_field_id(config),
            predicate=predicate,
        )


@dataclass(frozen=True)
class Part:
    """Files that are read alike.

    :param files: as ``CHANGED_FILES``, without statistics.
    :param constants: the values of the feed's columns that are the same for all rows.
    """

    plan: ScanPlan
    files: pa.Table
    constants: Mapping[str, Any]

    def tasks(self) -> Iterator[FileTask]:
        """One task per file, made as they are asked for."""
        for start in range(0, self.files.num_rows, _AT_ONCE):
            for row in self.files.slice(start, _AT_ONCE).to_pylist():
                partition = self.plan.partition_of(dict(row["partitionValues"] or ()))
                yield FileTask(
                    path=row["path"],
                    partition={**partition, **self.constants},
                    size=row["size"],
                    deletion_vector=deletion_vector(row["deletionVector"]),
                    base_row_id=row["baseRowId"],
                    default_row_commit_version=row["defaultRowCommitVersion"],
                    within=deletion_vector(row["within"]),
                )


@dataclass(frozen=True)
class Reader:
    """Where the files of a table are, and how many are read at a time."""

    store: Store
    resolve: Resolve
    threads: int

    def batches(self, parts: Iterable[Part]) -> Iterator[pa.RecordBatch]:
        """The rows of all parts, in the order of parts and files. Up to 32 MB of each file wait."""
        sources = (partial(self._rows, part.plan, task) for part in parts for task in part.tasks())
        return ordered(sources, self.threads, lambda batch: batch.nbytes, AHEAD_BYTES)

    def _rows(self, plan: ScanPlan, task: FileTask) -> Iterator[pa.RecordBatch]:
        only = None
        try:
            if task.within is not None:
                only = marked_rows(task, task.within, self.resolve)
                if task.deletion_vector is not None:
                    only = only - marked_rows(task, task.deletion_vector, self.resolve)
                if not len(only):
                    return
                task = replace(task, within=None, deletion_vector=None)
            yield from read_task(self.store, plan, task, resolve=self.resolve, only=only)
        except InvalidTableError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise _gone(task, error) from error


def _gone(task: FileTask, error: InvalidTableError) -> VersionNotFoundError:
    version = task.partition.get("_commit_version")
    what = "rows that changed" if version is None else f"changes of version {version}"
    return VersionNotFoundError(
        f"the {what} can no longer be read: {error.context.get('path', task.path)} is gone",
        hint="VACUUM removes the files of older versions; ask for later versions, or keep files for longer",
        version=version,
        path=task.path,
    )


def _field(schema: StructType, name: str) -> Field:
    if (found := schema.get(name)) is not None:
        return found
    near = difflib.get_close_matches(name, schema.names, 1)
    raise InvalidArgumentError(
        f"there is no column {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(schema.names)}",
        column=name,
    )


# -- files that need not be read -----------------------------------------------------------------------------------


def _pruned(
    files: pa.Table, predicate: BoundExpr, config: TableConfig | None, constants: Mapping[str, Any]
) -> tuple[pa.Table, BoundExpr | None]:
    """The files in which the predicate may hold, and what of it is left to decide row by row."""
    stats = _Stats(files, predicate, config, constants)
    keep = keep_mask(predicate, stats)
    left = [part for part in conjuncts(predicate) if not all_rows_match(part, stats)[keep].all()]
    kept = files if keep.all() else files.filter(mask_array(keep)) if keep.any() else files.slice(0, 0)
    return kept, conjunction(left) if left else None


class _Stats:
    """What the log knows of changed files, as :class:`deltalite.expr.prune.FileStats`."""

    def __init__(
        self, files: pa.Table, predicate: BoundExpr, config: TableConfig | None, constants: Mapping[str, Any]
    ) -> None:
        self.length = files.num_rows
        self._constants = constants
        own = [path for path in predicate.columns if path[0] not in _FEED]
        self._log = None if config is None else LogStats(config, TableFiles(files), own)
        self.num_records = None if self._log is None else self._log.num_records

    def column(self, path: tuple[str, ...]) -> ColumnStats | None:
        if path[0] in self._constants:
            value = scalar(self._constants[path[0]], type_to_arrow(_FEED[path[0]].type))
            values = pa.repeat(value, self.length)
            return ColumnStats(values, values, exact=True)
        return None if self._log is None or path[0] in _FEED else self._log.column(path)
