"""DeltaTable: the handle on one version of a table, one short method per operation.

Names and arguments are deltalake's where it has them. Reading is the plan of ``scan``; changing is a request of
``operations``; this module only forwards.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from deltalite._lazy import LazyModule
from deltalite.exceptions import InvalidArgumentError
from deltalite.log import history, read
from deltalite.model.commit import Commit
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Schema
from deltalite.operations import travel
from deltalite.operations.opening import names_of, newest, store_of
from deltalite.storage.base import Store

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa
    import pyarrow.dataset

    from deltalite.model.layout import LayoutAnalysis
    from deltalite.model.result import ChangePreview, VacuumResult
    from deltalite.model.tasks import FileTask
    from deltalite.operations import (
        alter,
        analyze,
        changes,
        changing,
        clone,
        create,
        delete,
        diff,
        doctor,
        execute,
        generate,
        inspect,
        merge,
        merger,
        optimizer,
        options,
        reading,
        restore,
        selections,
        tags,
        transactions,
        update,
        upsert,
        vacuum,
        write,
    )
    from deltalite.operations.diff import TableDiff
    from deltalite.operations.doctor import repairs as doctor_repairs
    from deltalite.operations.options import CommitProperties, PostCommitHookProperties
    from deltalite.txn import after
    from deltalite.write.options import WriterProperties
else:
    alter = LazyModule("deltalite.operations.alter")
    analyze = LazyModule("deltalite.operations.analyze")
    changes = LazyModule("deltalite.operations.changes")
    changing = LazyModule("deltalite.operations.changing")
    clone = LazyModule("deltalite.operations.clone")
    create = LazyModule("deltalite.operations.create")
    delete = LazyModule("deltalite.operations.delete")
    diff = LazyModule("deltalite.operations.diff")
    doctor = LazyModule("deltalite.operations.doctor")
    doctor_repairs = LazyModule("deltalite.operations.doctor.repairs")
    execute = LazyModule("deltalite.operations.execute")
    generate = LazyModule("deltalite.operations.generate")
    inspect = LazyModule("deltalite.operations.inspect")
    merge = LazyModule("deltalite.operations.merge")
    merger = LazyModule("deltalite.operations.merger")
    optimizer = LazyModule("deltalite.operations.optimizer")
    options = LazyModule("deltalite.operations.options")
    reading = LazyModule("deltalite.operations.reading")
    restore = LazyModule("deltalite.operations.restore")
    selections = LazyModule("deltalite.operations.selections")
    transactions = LazyModule("deltalite.operations.transactions")
    tags = LazyModule("deltalite.operations.tags")
    update = LazyModule("deltalite.operations.update")
    upsert = LazyModule("deltalite.operations.upsert")
    vacuum = LazyModule("deltalite.operations.vacuum")
    write = LazyModule("deltalite.operations.write")
    after = LazyModule("deltalite.txn.after")


class DeltaTable:
    """One version of a Delta table.

    :param table_uri: a path or URL (see ``docs/storage.md`` for the schemes), or a ``storage.Store``.
    :param version: a number, ``"v12"``, a time as ``timestamp`` takes it; the newest by default.
    :param storage_options: credentials and settings of the storage under deltalake's keys; also ``durability``
        (``full``, or ``relaxed`` to skip fsync) and ``single_writer`` (``true`` to write where the storage cannot
        create a file only if it is absent).
    :param without_files: accepted for deltalake; files are always read on first use.
    :param log_buffer_size: accepted for deltalake; has no effect.
    :param skip_stats: accepted for deltalake; statistics are always read on first use.
    :param timestamp: the newest version not younger than this ``datetime`` or ISO text; without a zone it is UTC.
    :param filesystem: an ``fsspec`` or ``pyarrow.fs`` file system to go through instead of the URL's own.
    :param credentials: called for fresh ``storage_options`` whenever a connection is opened.
    :param clamp: let a ``timestamp`` outside the history mean its first or last version.
    :param allow_external_paths: prefixes outside the table that its files may lie under (shallow clones).
    :param tag: the version that was given this name (see :attr:`tags`).
    :raises TableNotFoundError: when there is no table.
    :raises VersionNotFoundError: when there is no such version or tag, naming those there are.
    :raises UnsupportedFeatureError: when the table demands what deltalite cannot read, naming it.
    """

    def __init__(
        self,
        table_uri: str | PathLike[str],
        version: int | str | dt.datetime | None = None,
        storage_options: Mapping[str, Any] | None = None,
        without_files: bool = False,
        log_buffer_size: int | None = None,
        skip_stats: bool = False,
        *,
        timestamp: str | dt.datetime | None = None,
        filesystem: Any = None,
        credentials: Callable[[], Mapping[str, Any]] | None = None,
        clamp: bool = False,
        allow_external_paths: Sequence[str] = (),
        tag: str | None = None,
    ) -> None:
        self._store = store_of(table_uri, storage_options, filesystem, credentials)
        self._storage_options = dict(storage_options or {}) or None
        self._external = tuple(allow_external_paths)
        self._staging: transactions.Staging | None = None
        self._snapshot = travel.at(self._store, version, timestamp, clamp, tag)

    @classmethod
    def _of(
        cls, store: Store, snapshot: Snapshot, options: Mapping[str, Any] | None, external: Sequence[str]
    ) -> DeltaTable:
        table = cls.__new__(cls)
        table._store, table._snapshot = store, snapshot
        table._storage_options, table._external = dict(options) if options else None, tuple(external)
        table._staging = None
        return table

    # -- which table, which version ------------------------------------------------------------------------------

    @property
    def table_uri(self) -> str:
        """Where the table is, without credentials."""
        return self._store.root

    def version(self) -> int:
        return self._snapshot.version

    def timestamp(self) -> dt.datetime:
        """When this version was committed, in UTC."""
        return inspect.utc(self._snapshot.timestamp)

    def refresh(self) -> DeltaTable:
        """Move to the newest version; returns the handle itself."""
        self._refuse_staged("moving to another version")
        self._snapshot = read.update(self._store, self._snapshot)
        return self

    def update_incremental(self) -> None:
        """Move to the newest version, reading only the commits that are new."""
        self.refresh()

    def at(
        self,
        version: int | str | dt.datetime | None = None,
        *,
        timestamp: Any = None,
        clamp: bool = False,
        tag: str | None = None,
    ) -> DeltaTable:
        """A second handle, at another version."""
        snapshot = travel.at(self._store, version, timestamp, clamp, tag)
        return self._of(self._store, snapshot, self._storage_options, self._external)

    def load_as_version(self, version: int | str | dt.datetime) -> None:
        """Move this handle to another version or time."""
        self._refuse_staged("moving to another version")
        self._snapshot = travel.at(self._store, version)

    @staticmethod
    def is_deltatable(table_uri: str | PathLike[str], storage_options: Mapping[str, Any] | None = None) -> bool:
        """Whether there is a Delta table."""
        return read.is_table(store_of(table_uri, storage_options))

    # -- what the table is ---------------------------------------------------------------------------------------

    def schema(self) -> Schema:
        return self._snapshot.config.schema

    def metadata(self) -> inspect.Metadata:
        """Id, name, description, partition columns, creation time and configuration."""
        return inspect.metadata(self._snapshot)

    def protocol(self) -> inspect.ProtocolVersions:
        """Reader and writer version, and the table features."""
        return inspect.protocol(self._snapshot)

    def properties(self) -> dict[str, str]:
        """The table properties as they are stored."""
        return dict(self._snapshot.config.configuration)

    @property
    def table_config(self) -> inspect.DeltaTableConfig:
        """What deltalake reports of the constructor's options; none of them has an effect here."""
        return inspect.DeltaTableConfig()

    def detail(self) -> dict[str, Any]:
        """What DESCRIBE DETAIL shows: place, size, files, rows, protocol, properties."""
        return inspect.detail(self._snapshot, self._store.root)

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits up to this version, newest first; ``timestamp`` is in milliseconds since 1970."""
        return list(history.history(self._store, self._snapshot, limit))

    def commits(self, start: int = 0, end: int | None = None) -> Iterator[Commit]:
        """The commits of some versions as they lie in the log."""
        return read.read_commits(self._store, start, self.version() if end is None else end)

    def transaction_version(self, app_id: str) -> int | None:
        """How far an application has come, or ``None`` when it never wrote."""
        known = self._snapshot.transactions.get(app_id)
        return None if known is None else known.version

    def resolve(self, txn_id: str) -> int | None:
        """The version whose commit carries a transaction id, looked for from the newest back; ``None`` if none does.

        It answers :class:`CommitOutcomeUnknown`: a version means that the operation happened.
        """
        newest = read.update(self._store, self._snapshot)
        for entry in history.history(self._store, newest, None):
            if entry.get("txnId") == txn_id:
                return int(entry["version"])
        return None

    # -- files ---------------------------------------------------------------------------------------------------

    def files(self, predicate: Any = None) -> pa.Table:
        """The live files: path, size, times, partition values and statistics, one column each.

        :param predicate: only files that may hold a matching row.
        """
        return inspect.files(self._snapshot, predicate)

    def get_add_actions(self, flatten: bool = False) -> pa.Table:
        """The live files as deltalake shows them; ``flatten`` gives statistics a column each."""
        return inspect.add_actions(self._snapshot, flatten)

    def deletion_vectors(self) -> pa.RecordBatchReader:
        """Which rows of the files that have a deletion vector are live: ``filepath``, ``selection_vector``.

        The vector has an element for every row of its file, false where the row is deleted.
        """
        return selections.selections(self._store, self._snapshot, self._reading.resolve)

    def file_uris(self, partition_filters: Any = None, *, file_pruning_predicate: Any = None) -> list[str]:
        """The full path or URL of every live file that may hold a matching row."""
        return inspect.file_uris(
            self._snapshot, self._store.root, self._reading.expression(partition_filters, file_pruning_predicate)
        )

    def partitions(self, partition_filters: Any = None, *, file_pruning_predicate: Any = None) -> list[dict[str, Any]]:
        """The distinct partitions, as mappings of column to typed value."""
        return inspect.partitions(self._snapshot, self._reading.expression(partition_filters, file_pruning_predicate))

    def explain(self, predicate: Any) -> pa.Table:
        """For every live file whether a scan with this predicate keeps it, and why: ``path``, ``kept``, ``reason``."""
        return inspect.explain(self._snapshot, predicate)

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def _reading(self) -> reading.Reading:
        noticed = None if self._staging is None else self._staging.looked
        return reading.Reading(self._store, self._snapshot, self._external, noticed)

    def scan(
        self,
        columns: Sequence[str] | None = None,
        predicate: Any = None,
        *,
        limit: int | None = None,
        batch_size: int | None = None,
        time_zone: str = "UTC",
        variants: str = "struct",
    ) -> pa.RecordBatchReader:
        """The matching rows as a stream; nothing is read before its first batch.

        :param columns: what to read, in this order; ``_file``, ``_row_index``, ``_row_id`` and
            ``_row_commit_version`` may be among them. All columns of the schema by default.
        :param predicate: SQL text in Spark's dialect, deltalake's filters (lists of tuples), an expression of
            ``deltalite.col`` or of pyarrow.
        :param limit: rows at most.
        :param batch_size: rows of a batch at most.
        :param time_zone: the zone in which the predicate's timestamps without one are meant.
        :param variants: ``struct`` gives columns of variants as their binary metadata and value, ``json`` as text.
        """
        return self._reading.scan(
            columns, predicate, limit=limit, batch_size=batch_size, time_zone=time_zone, variants=variants
        )

    def plan_scan(self, columns: Sequence[str] | None = None, predicate: Any = None) -> list[FileTask]:
        """The files to read, one picklable task each, for schedulers that spread them over workers."""
        return self._reading.plan(columns, predicate).tasks()

    def to_pyarrow_table(
        self, partitions: Any = None, columns: Sequence[str] | None = None, filesystem: Any = None, filters: Any = None
    ) -> pa.Table:
        """The matching rows in memory."""
        _no_filesystem(filesystem)
        return self._reading.table(columns, self._reading.expression(partitions, filters))

    def to_pyarrow_dataset(
        self,
        partitions: Any = None,
        filesystem: Any = None,
        parquet_read_options: Any = None,
        schema: pa.Schema | None = None,
        as_large_types: bool = False,
        file_pruning_predicate: Any = None,
    ) -> pyarrow.dataset.Dataset:
        """A dataset for tools that push columns and filters into one (DuckDB, polars, DataFusion).

        :param partitions: only rows that satisfy this.
        :param file_pruning_predicate: only files that may hold a row that satisfies this.
        """
        _no_filesystem(filesystem)
        from deltalite.interop.dataset import DeltaDataset

        predicate = self._reading.expression(partitions)
        return DeltaDataset(self._reading, predicate, schema, as_large_types, file_pruning_predicate)

    def to_pandas(
        self,
        partitions: Any = None,
        columns: Sequence[str] | None = None,
        filesystem: Any = None,
        filters: Any = None,
        types_mapper: Callable[[pa.DataType], Any] | None = None,
        *,
        max_bytes: int | None = None,
    ) -> pandas.DataFrame:
        """The matching rows as a pandas frame.

        :param max_bytes: refuse to build a frame whose Arrow data is larger; ``None`` is half of the free memory.
        """
        _no_filesystem(filesystem)
        from deltalite.interop.pandas import to_pandas

        return to_pandas(self._reading, self._reading.expression(partitions, filters), columns, types_mapper, max_bytes)

    def to_polars(
        self, columns: Sequence[str] | None = None, predicate: Any = None, *, lazy: bool = True
    ) -> polars.LazyFrame:
        """A polars frame; a lazy one pushes columns, filters and row limits into the scan."""
        from deltalite.interop.polars import to_polars

        return to_polars(self._reading, columns, predicate, lazy)

    def to_duckdb(self, connection: Any = None, name: str | None = None) -> Any:
        """A DuckDB relation over the table, with pushdown.

        :param connection: where to register it; a new in-memory one by default.
        :param name: the name of the view there.
        """
        from deltalite.interop.duckdb import to_duckdb

        return to_duckdb(self._reading, connection, name)

    def head(self, n: int = 5, columns: Sequence[str] | None = None, predicate: Any = None) -> pa.Table:
        """The first rows, reading no more than they need."""
        return self._reading.table(columns, predicate, limit=n)

    def count(self, predicate: Any = None) -> int:
        """How many rows match; from metadata alone where that is exact."""
        return self._reading.count(predicate)

    def load_cdf(
        self,
        starting_version: int = 0,
        ending_version: int | None = None,
        starting_timestamp: str | dt.datetime | None = None,
        ending_timestamp: str | dt.datetime | None = None,
        columns: Sequence[str] | None = None,
        predicate: Any = None,
        allow_out_of_range: bool = False,
    ) -> pa.RecordBatchReader:
        """The recorded change feed as a stream: rows of the table with ``_change_type``, ``_commit_version`` and
        ``_commit_timestamp``, in the schema of the last version read.

        :param ending_version: the last version to read; the table's newest by default, whatever this handle's.
        :param starting_timestamp: leave out versions made before; ``ending_timestamp`` those made after.
        :param columns: what to show; the three columns of the feed may be among them.
        :param predicate: only rows that satisfy it; it may use the columns of the feed.
        :param allow_out_of_range: an empty stream instead of an error for a range without versions.
        :raises InvalidArgumentError: when the feed was off in one of the versions, naming those in which it was on.
        :raises VersionNotFoundError: when the range begins after the newest version, or its files are gone.
        """
        request = changes.ChangesRequest(
            starting_version, ending_version, starting_timestamp, ending_timestamp,
            names_of(columns), predicate, allow_out_of_range,
        )  # fmt: skip
        return changes.recorded(self._reading, request)

    def changes(
        self, start: int, end: int | None = None, *, columns: Sequence[str] | None = None, predicate: Any = None
    ) -> pa.RecordBatchReader:
        """The changes of the versions ``start`` to ``end`` (this handle's by default), like :meth:`load_cdf`, also of
        those without a recorded feed: there they are computed from the rows that left and came.

        The schema's metadata tell under ``deltalite.exact`` whether every change could be told, and under ``notes``
        what could not.
        """
        self._refuse_staged("reading the changes of unfinished versions")
        request = changes.ChangesRequest(start, end, columns=names_of(columns), predicate=predicate)
        return changes.computed(self._reading, request)

    def diff(
        self,
        a: int | str | dt.datetime,
        b: int | str | dt.datetime | None = None,
        *,
        on: Sequence[str] | str | None = None,
        columns: Sequence[str] | str | None = None,
    ) -> TableDiff:
        """What differs, net, between two versions (or times): columns, properties and rows.

        :param b: this handle's version by default.
        :param on: columns that tell rows apart, to see which rows changed; without them an update is a row removed
            and a row added.
        :param columns: compare and show only these.
        """
        snapshots = (travel.at(self._store, a), self._snapshot if b is None else travel.at(self._store, b))
        return diff.compare(changes.reader_of(self._reading), *snapshots, names_of(on), names_of(columns))

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.scan().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        return self.schema().to_arrow().__arrow_c_schema__()

    # -- writing -------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        table_uri: str | PathLike[str],
        schema: Any,
        mode: str = "error",
        partition_by: Sequence[str] | str | None = None,
        name: str | None = None,
        description: str | None = None,
        configuration: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        raise_if_key_not_exists: bool = True,
        filesystem: Any = None,
        cluster_by: Sequence[str] | str | None = None,
    ) -> DeltaTable:
        """Create a table without rows.

        :param schema: a ``Schema``, an Arrow schema, or DDL text: ``"id bigint NOT NULL, day date"``.
        :param mode: when the table exists: ``error``, ``ignore``, ``append`` (both leave it) or ``overwrite``.
        :param configuration: table properties; CHECK constraints are ``delta.constraints.<name>``.
        :param raise_if_key_not_exists: refuse unknown ``delta.*`` properties.
        :param cluster_by: columns by which ``optimize.cluster()`` lays rows out; fields of structs by dotted names.
        """
        if mode not in write.MODES:
            raise InvalidArgumentError(f"mode is one of {', '.join(write.MODES)}, not {mode!r}")
        store = store_of(table_uri, storage_options, filesystem)
        base = newest(store)
        if base is not None and mode == "error":
            write.refuse_existing(write.WriteRequest(None), store.root)
        if base is not None and mode in ("ignore", "append"):
            return cls._of(store, base, storage_options, ())
        request = create.CreateRequest(
            create.schema_of(schema), names_of(partition_by) or (), str(uuid.uuid4()), time.time_ns() // 1_000_000,
            name, description, dict(configuration or {}), mode, raise_if_key_not_exists, names_of(cluster_by) or (),
        )  # fmt: skip
        committing = options.Committing.of(commit_properties, post_commithook_properties)
        outcome = execute.perform(store, base, lambda base, _: create.plan(request, base), committing)
        return cls._of(store, outcome.snapshot, storage_options, ())

    def append(
        self,
        data: Any,
        *,
        schema_mode: str | None = None,
        cast: str = "safe",
        txn: tuple[str, int] | None = None,
        target_file_size: int | None = None,
        writer_properties: WriterProperties | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Append rows; the handle moves to the version this makes.

        :param data: an Arrow table or stream, a pandas or polars frame, a DuckDB relation, a dict or list of dicts,
            an iterable of batches, or the path of a file.
        :param schema_mode: ``merge`` adds the columns that the table lacks.
        :param cast: ``unsafe`` allows casts that lose digits or range; by default they raise.
        :param txn: ``(app_id, version)``: skipped when the table has seen this version of the application.
        :param target_file_size: bytes a data file should have.
        :raises SchemaMismatchError: when the data does not fit; nothing is written.
        :raises ConstraintViolation: when rows break a constraint; nothing becomes visible.
        """
        request = write.WriteRequest(
            data, "append", schema_mode=schema_mode, cast=cast,
            target_file_size=target_file_size, writer_properties=writer_properties,
        )  # fmt: skip
        return self._write(request, options.Committing.of(commit_properties, post_commithook_properties, txn))

    def overwrite(
        self,
        data: Any,
        *,
        predicate: Any = None,
        partition_overwrite: str = "static",
        schema_mode: str | None = None,
        partition_by: Sequence[str] | str | None = None,
        cast: str = "safe",
        txn: tuple[str, int] | None = None,
        target_file_size: int | None = None,
        writer_properties: WriterProperties | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Replace rows: all of them, those that ``predicate`` selects, or (``partition_overwrite="dynamic"``) those of
        the partitions that get new ones. Other arguments as in :meth:`append`; ``schema_mode="overwrite"`` takes the
        schema of the data."""
        request = write.WriteRequest(
            data, "overwrite", names_of(partition_by), schema_mode, predicate, partition_overwrite, cast=cast,
            target_file_size=target_file_size, writer_properties=writer_properties,
        )  # fmt: skip
        return self._write(request, options.Committing.of(commit_properties, post_commithook_properties, txn))

    def delete(
        self,
        predicate: Any = None,
        writer_properties: WriterProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        *,
        dry_run: bool = False,
        txn: tuple[str, int] | None = None,
        memory_limit: int | str | None = None,
        time_zone: str = "UTC",
    ) -> CommitResult | ChangePreview:
        """Delete the rows for which a predicate is true; all of them without one.

        With ``delta.enableDeletionVectors`` rows are marked where that is cheaper, otherwise their files are rewritten;
        a file without rows left goes unread where the log can tell. When no row is affected, nothing is committed.

        :param predicate: in any form that :meth:`scan` takes.
        :param dry_run: say what would happen and write nothing.
        :param txn: ``(app_id, version)``: skipped when the table has seen this version of the application.
        :param memory_limit: bytes to hold at a time, or a size such as ``"512MB"``; a quarter of what is free.
        :param time_zone: in which timestamps of the predicate without a zone are meant.
        :return: metrics under deltalake's names (``result["num_deleted_rows"]``) and more; with ``dry_run`` a preview.
        :raises ConflictError: another writer changed what was read; run it again.
        """
        request = delete.DeleteRequest(predicate, writer_properties, time_zone)
        committing = options.Committing.of(commit_properties, post_commithook_properties, txn)
        return self._change(lambda base, t, _: delete.plan(request, base, t), committing, memory_limit, dry_run)

    def update(
        self,
        updates: Mapping[str, Any] | None = None,
        new_values: Mapping[str, Any] | None = None,
        predicate: Any = None,
        writer_properties: WriterProperties | None = None,
        error_on_type_mismatch: bool = True,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        *,
        dry_run: bool = False,
        txn: tuple[str, int] | None = None,
        memory_limit: int | str | None = None,
        time_zone: str = "UTC",
    ) -> CommitResult | ChangePreview:
        """Give the rows for which a predicate is true new values; all rows without one.

        :param updates: SQL text or expressions by column, or by field inside of a struct (``"address.city"``).
        :param new_values: Python values by column.
        :param error_on_type_mismatch: when false, a value that its column cannot hold becomes null.
        :raises ConstraintViolation: when a new row breaks a rule of the table; nothing becomes visible.

        Other arguments as in :meth:`delete`.
        """
        request = update.UpdateRequest(
            updates, new_values, predicate, writer_properties, error_on_type_mismatch, time_zone
        )
        committing = options.Committing.of(commit_properties, post_commithook_properties, txn)
        return self._change(lambda base, t, _: update.plan(request, base, t), committing, memory_limit, dry_run)

    def merge(
        self,
        source: Any,
        predicate: Any,
        source_alias: str | None = None,
        target_alias: str | None = None,
        merge_schema: bool = False,
        error_on_type_mismatch: bool = True,
        writer_properties: WriterProperties | None = None,
        streamed_exec: bool = True,
        max_spill_size: int | None = None,
        max_temp_directory_size: int | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        *,
        txn: tuple[str, int] | None = None,
        memory_limit: int | str | None = None,
        time_zone: str = "UTC",
    ) -> merger.TableMerger:
        """Begin a MERGE: say with ``when_...`` what happens, then ``execute()``.

        :param source: anything that :meth:`append` takes, this table included; read once, when the merge is executed.
        :param predicate: when a row of the source and one of the table match, as in ``"t.id = s.id"``.
        :param source_alias: a name for the source; ``source`` and ``s`` work too.
        :param target_alias: a name for the table; ``target`` and ``t`` work too.
        :param merge_schema: add columns of the source that the table lacks and that a clause assigns.
        :param error_on_type_mismatch: when false, a value that its column cannot hold becomes null.
        :param streamed_exec: accepted for deltalake; files are always read one after the other.
        :param max_spill_size: deltalake's name for ``memory_limit``.
        :param max_temp_directory_size: accepted for deltalake; has no effect.
        :param memory_limit: bytes to hold at a time, or a size such as ``"512MB"``; beyond it, temporary files are
            used. A quarter of what is free by default.
        """
        limit = max_spill_size if memory_limit is None else memory_limit
        committing = options.Committing.of(commit_properties, post_commithook_properties, txn)
        request = merge.MergeRequest(
            source, predicate, (), source_alias, target_alias, merge_schema, error_on_type_mismatch, writer_properties,
            time_zone,
        )  # fmt: skip

        def run(complete: merge.MergeRequest, dry_run: bool) -> CommitResult | ChangePreview:
            return self._change(lambda base, t, e: merge.plan(complete, base, t, e), committing, limit, dry_run)

        return merger.TableMerger(request, run)

    def upsert(
        self,
        data: Any,
        on: Sequence[str] | str,
        *,
        update: bool | Sequence[str] | Mapping[str, Any] | None = None,
        insert: Any = True,
        delete_when: Any = None,
        update_when: Any = None,
        order_by: Sequence[str] | str | None = None,
        dedupe: Literal["error", "first", "last"] = "error",
        source_alias: str | None = None,
        target_alias: str | None = None,
        merge_schema: bool = False,
        dry_run: bool = False,
        txn: tuple[str, int] | None = None,
        memory_limit: int | str | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        writer_properties: WriterProperties | None = None,
        time_zone: str = "UTC",
    ) -> CommitResult | ChangePreview:
        """Rows whose key the table has replace the table's, others are inserted: a MERGE in one call, one commit.

        Conditions and values are SQL in Spark's dialect, or expressions, over both sides: ``s.x`` (or ``source.x``) is
        the column of ``data``, ``t.x`` (or ``target.x``) the table's; a name that one side only has needs no prefix.

        :param data: anything that :meth:`append` takes; read once.
        :param on: the key: one column or several that both sides have. Null equals null (``<=>``), so that upserting
            the same rows twice leaves the table as once does, null keys included.
        :param update: what rows with a known key get: ``None`` the source's value in every column, ``False`` nothing, a
            list: the source's values in these columns, a mapping: values by column (``{"n": "t.n + s.n"}``).
        :param insert: whether rows with a new key come in; a condition on them (``"s.n > 0"``).
        :param delete_when: rows with a known key for which it is true are deleted, and rows with a new key for which it
            is true do not come in (the table's columns are null for these): ``"s.op = 'D'"``.
        :param update_when: update only rows for which it is true: ``"s.ts > t.ts"``.
        :param dedupe: several rows of ``data`` with one key are refused (``error``), or the ``first`` or the ``last``
            of them counts, by arrival or by ``order_by``.
        :param order_by: columns of ``data``; ``last`` keeps the row with the greatest values, ``first`` the one with
            the least. Null is less than any value; of equal rows the arrival decides.
        :param merge_schema: add columns of ``data`` that the table lacks; columns that ``data`` lacks keep their
            values, or get their default in new rows. So they do where ``update`` names columns.
        :raises MultipleMatchesError: when ``dedupe`` is ``error`` and keys of ``data`` repeat, new ones too: ``count``
            counts them, ``keys`` shows some. Nothing was written.
        :raises SchemaMismatchError: when ``data`` lacks columns of the table.

        Other arguments as in :meth:`merge` and :meth:`delete`.
        """
        request = upsert.UpsertRequest(
            data, names_of(on) or (), update, insert, delete_when, update_when, names_of(order_by) or (), dedupe,
            source_alias, target_alias, merge_schema, writer_properties, time_zone,
        )  # fmt: skip
        committing = options.Committing.of(commit_properties, post_commithook_properties, txn)
        return self._change(lambda base, t, e: upsert.plan(request, base, t, e), committing, memory_limit, dry_run)

    def transaction(
        self,
        *,
        txn: tuple[str, int] | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> transactions.TableTransaction:
        """Several operations as one atomic commit::

            with table.transaction() as t:
                t.delete("day = '2026-11-20'")
                t.append(rows)

        ``t`` is a handle whose steps see one another and nobody else does. Leaving the block commits them all; an
        exception leaves the table untouched.

        :param txn: ``(app_id, version)``: nothing is committed when the table has seen this version of the application.
        :raises ConflictError: on leaving the block, when another writer changed what any step read.
        """
        self._refuse_staged("a transaction inside of another one")

        def handle(staging: transactions.Staging) -> DeltaTable:
            staged = self._of(self._store, staging.snapshot, self._storage_options, self._external)
            staged._staging = staging
            return staged

        committing = options.Committing.of(commit_properties, post_commithook_properties, txn)
        return transactions.TableTransaction(
            lambda: transactions.Staging(self._store, self._snapshot, self._external), handle, self._moved, committing
        )

    @property
    def _perform(self) -> Any:
        """How operations take effect: by a commit, or as a step of a transaction."""
        return execute.perform if self._staging is None else self._staging.perform

    def _refuse_staged(self, what: str) -> None:
        if self._staging is not None:
            raise InvalidArgumentError(f"{what} is not possible", hint="leave the transaction first")

    def _change(
        self, plan: changing.Plan, committing: options.Committing, memory_limit: int | str | None, dry_run: bool
    ) -> CommitResult | ChangePreview:
        done = changing.change_rows(
            self._store, self._snapshot, plan, committing,
            run=self._perform, external=self._external, memory_limit=memory_limit, dry_run=dry_run,
        )  # fmt: skip
        return self._moved(done) if isinstance(done, execute.Outcome) else done

    def _write(self, request: write.WriteRequest, committing: options.Committing) -> CommitResult:
        write.validate(request)
        engine = None if request.predicate is None else changing.engine_of(self._store, self._external)
        outcome = self._perform(
            self._store, self._snapshot, lambda base, txn: write.plan(request, base, txn), committing, engine=engine
        )
        return self._moved(outcome)

    def _moved(self, outcome: execute.Outcome) -> CommitResult:
        self._snapshot = outcome.snapshot
        return outcome.result

    @property
    def alter(self) -> alter.TableAlterer:
        """Changes of the table itself: columns, constraints, properties, name, description."""
        return alter.TableAlterer(self._store, lambda: self._snapshot, self._moved, self._perform, self._external)

    @property
    def optimize(self) -> optimizer.TableOptimizer:
        """The layout of the files: ``compact()``, ``z_order([...])``, ``cluster()``, ``purge()``, and
        ``repair_statistics()``."""

        def run(
            plan: Callable[..., Any], committing: options.Committing, memory_limit: int | str | None = None
        ) -> CommitResult:
            engine = changing.engine_of(self._store, self._external, memory_limit)

            def planned(base: Snapshot | None, txn_id: str) -> Any:
                return plan(base, txn_id, engine)

            return self._moved(self._perform(self._store, self._snapshot, planned, committing, engine=engine))

        return optimizer.TableOptimizer(run, lambda: self._snapshot)

    def analyze(self, columns: Sequence[str] | str | None = None) -> LayoutAnalysis:
        """How many files a lookup of one value reads, by column, and which files are small or worn: from the log alone.

        :param columns: by default all that have statistics; fields of structs by dotted names.
        """
        return analyze.analyze(self._snapshot, names_of(columns))

    # -- care of files -------------------------------------------------------------------------------------------

    def restore(
        self,
        target: int | str | dt.datetime | None = None,
        *,
        ignore_missing_files: bool = False,
        protocol_downgrade_allowed: bool = False,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        dry_run: bool = False,
        tag: str | None = None,
    ) -> CommitResult:
        """Go back to an earlier version: its rows, schema and properties become those of a new version.

        Whatever version the handle has, the newest one is replaced. Numbers of identity columns, row ids and column
        ids that were given since are not given again.

        :param target: a version, or a time in any form that the constructor takes.
        :param ignore_missing_files: do without the rows of files that VACUUM removed.
        :param protocol_downgrade_allowed: go back to that version's protocol too; it never gets lower without.
        :param dry_run: only count what would come and go.
        :param tag: go back to the version that was given this name (see :attr:`tags`).
        :raises VersionNotFoundError: when there is no such version, or files of it are gone; nothing is changed.
        :raises ConflictError: another writer changed the table meanwhile.
        """
        self._refuse_staged("RESTORE")
        request = restore.RestoreRequest(target, tag, ignore_missing_files, protocol_downgrade_allowed)
        committing = options.Committing.of(commit_properties, post_commithook_properties)
        return self._moved(restore.restore(self._store, request, committing, self._external, dry_run=dry_run))

    def fsck(
        self, deep: bool = False, repair: bool = False, *, progress: Callable[[int, int], None] | None = None
    ) -> list[doctor.Finding]:
        """Examine the newest version and the log: what is not as the log, the protocol or the files say.

        :param deep: all checkpoints and checksums, and statistics against the rows; reads every file.
        :param repair: do what is safe: remove missing files from the log, write checksums, checkpoints and statistics
            again. Findings that were dealt with say ``repaired``. When most files are missing, none is removed.
        :param progress: called with the number of files looked at, and of all.
        :return: the findings, each with ``code``, ``severity``, ``message``, ``path``, ``version`` and ``repair``; none
            for a healthy table.
        """
        self._refuse_staged("examining the table")
        found = doctor.fsck(self._store, self._external, deep=deep, repair=repair, progress=progress)
        if any(finding.repaired for finding in found):
            self.refresh()
        return found

    def repair(
        self,
        dry_run: bool = False,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> dict[str, Any]:
        """Remove files from the log that are gone from the storage; their rows are lost.

        :param dry_run: only say which.
        :return: ``files_removed`` and ``dry_run``, as deltalake does. :meth:`fsck` looks for more than this.
        """
        self._refuse_staged("FSCK")
        committing = options.Committing.of(commit_properties, post_commithook_properties)
        snapshot = read.update(self._store, self._snapshot)
        resolve = self._reading.resolve
        gone, outcome = doctor_repairs.drop_missing(self._store, snapshot, resolve, committing, dry_run)
        if not dry_run:
            self._moved(outcome)
        return {"dry_run": dry_run, "files_removed": gone}

    def generate(self) -> None:
        """Write ``_symlink_format_manifest``: the paths of the files, a list for each partition, for engines that read
        Parquet files by such lists. They are as of this version.

        :raises UnsupportedFeatureError: the table has deletion vectors, which such engines would not honour.
        """
        self._refuse_staged("GENERATE")
        generate.generate(self._store, self._snapshot)

    def clone(
        self,
        target_uri: str | PathLike[str],
        version: int | str | dt.datetime | None = None,
        *,
        shallow: bool = True,
        timestamp: str | dt.datetime | None = None,
        tag: str | None = None,
        replace: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> DeltaTable:
        """Make another table with the rows of this version, or of an earlier one; a handle on it.

        A shallow clone reads the data files of this table, which :meth:`vacuum` keeps for it; it is opened with
        ``DeltaTable(uri, allow_external_paths=[source])``. A deep clone has copies, and the application transactions
        too. Either may then be changed without the other one noticing.

        :param version: see the constructor, as for ``timestamp`` and ``tag``; the handle's by default.
        :param shallow: refer to the files instead of copying them.
        :param replace: clone over a table that is there, in one commit: files that both have stay.
        :param storage_options: of the clone's storage; this table's by default.
        :param configuration: properties that are others in the clone.
        :param progress: called with the number of files copied, and of all.
        :raises TableExistsError: there is a table at the target, and it is not to be replaced.
        :raises ConflictError: another writer changed the target meanwhile.
        """
        self._refuse_staged("CLONE")
        asked = (version, timestamp, tag) != (None, None, None)
        source = travel.at(self._store, version, timestamp, tag=tag) if asked else self._snapshot
        options_there = self._storage_options if storage_options is None else storage_options
        target = store_of(target_uri, options_there)
        request = clone.CloneRequest(source, self._external, shallow, replace, dict(configuration or {}))
        committing = options.Committing.of(commit_properties, post_commithook_properties)
        outcome = clone.clone(self._store, target, request, committing, progress)
        external = (self._store.root, *self._external) if shallow else ()
        return self._of(target, outcome.snapshot, options_there, external)

    @property
    def tags(self) -> tags.TableTags:
        """Names for versions, which :meth:`vacuum` and the clean-up of the log then keep: ``create``, ``list``,
        ``get``, ``delete``."""
        self._refuse_staged("naming what is not committed")
        return tags.TableTags(self._store, lambda: self._snapshot)

    def vacuum(
        self,
        retention_hours: float | None = None,
        dry_run: bool = True,
        enforce_retention_duration: bool = True,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        full: bool = False,
        keep_versions: Sequence[int] | None = None,
        *,
        force: bool = False,
        partitions: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> VacuumResult:
        """Delete the files that no version within the retention needs; by default only say which.

        Versions older than the retention can then no longer be read, but for tagged ones (:attr:`tags`), those of
        ``keep_versions`` and what registered shallow clones read. Whatever version the handle has, the newest decides.

        :param retention_hours: how long removed files stay; ``delta.deletedFileRetentionDuration`` by default.
        :param dry_run: delete nothing.
        :param enforce_retention_duration: refuse a shorter time than that property's.
        :param full: list the table and delete what no commit mentions too, such as leftovers of failed writes. Without
            it only files are looked at that the log still remembers.
        :param keep_versions: versions that stay readable.
        :param force: delete even if the log knows nothing of most of the files that are there.
        :param partitions: only files in partitions for which this holds, in any form that :meth:`scan` takes.
        :param progress: called with the number of files done, and of all.
        :return: the paths that are gone, a list with ``bytes``, ``kept``, ``skipped`` and more.
        :raises InvalidArgumentError: the retention is too short, or most of the files are unknown to the log.
        :raises InvalidTableError: a tag or a clone is broken, so that nobody can tell what it needs.
        :raises StorageError: with ``full``, when the clocks of this machine and the storage are minutes apart.
        """
        self._refuse_staged("VACUUM")
        request = vacuum.VacuumRequest(
            retention_hours, enforce_retention_duration, full, tuple(keep_versions or ()), force, partitions
        )
        result, newest = vacuum.vacuum(
            self._store, request, options.Committing.of(commit_properties, post_commithook_properties),
            open_store=lambda location: store_of(location, self._storage_options), dry_run=dry_run, progress=progress,
        )  # fmt: skip
        if not dry_run:
            self._snapshot = newest
        return result

    # -- care of the log -----------------------------------------------------------------------------------------

    def create_checkpoint(self) -> None:
        """Write a checkpoint of this version, of the kind that ``delta.checkpointPolicy`` names."""
        self._refuse_staged("a checkpoint of what is not committed")
        after.checkpoint(self._store, self._snapshot, time.time_ns() // 1_000_000)

    def cleanup_metadata(self) -> None:
        """Remove the log files that ``delta.logRetentionDuration`` no longer keeps."""
        after.clean_up(self._store, self._snapshot, time.time_ns() // 1_000_000)

    # -- appearance ----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return inspect.one_line(self._snapshot, self._store.root)

    def _repr_html_(self) -> str:
        return inspect.html_card(self._snapshot, self._store.root)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, DeltaTable)
        return same and self.table_uri == other.table_uri and self.version() == other.version()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._store, self.version(), self._external)


def _reopen(store: Store, version: int, external: Sequence[str]) -> DeltaTable:
    return DeltaTable._of(store, read.read_snapshot(store, version), None, external)


def _no_filesystem(filesystem: Any) -> None:
    if filesystem is not None:
        raise InvalidArgumentError(
            "the file system is chosen when the table is opened", hint="DeltaTable(uri, filesystem=...)"
        )
