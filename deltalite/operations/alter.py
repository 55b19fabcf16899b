"""ALTER TABLE: changes of the table itself, metadata only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.features.clustering import SUPPORT, clustering_columns, clustering_domain
from deltalite.model.actions import Metadata
from deltalite.model.change import LogOnly
from deltalite.model.pending import ReadSet
from deltalite.model.properties import check_names, check_not_kept, normalise
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations import backfill, changing, columns, dropping, protocol
from deltalite.operations.execute import Outcome, perform
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.operations.reading import Reading
from deltalite.storage.base import Store


def plan_metadata(
    base: Snapshot,
    metadata: Metadata,
    operation: str,
    parameters: Mapping[str, object],
    reads: ReadSet | None = None,
) -> LogOnly:
    """The commit that gives a table new metadata, and a protocol that carries it."""
    protocol, metadata, _ = features.configure(base.config, metadata, base.version + 1)
    changed = () if protocol == base.config.protocol else (protocol,)
    return LogOnly((*changed, metadata), operation, parameters, reads or ReadSet())


def _refuse_downgrade(base: Snapshot, properties: Mapping[str, str]) -> None:
    """Versions of a protocol only grow by a property."""
    protocol = base.config.protocol
    now = {
        "delta.minReaderVersion": protocol.min_reader_version,
        "delta.minWriterVersion": protocol.min_writer_version,
    }
    for name, version in now.items():
        text = properties.get(name, str(version))
        if text.isdigit() and int(text) < version:
            raise InvalidArgumentError(
                f"{name} is {version} and cannot go down to {text}",
                hint="alter.drop_feature(name) takes table features away, one by one",
                property=name,
            )


def plan_cluster_by(base: Snapshot, names: Sequence[str]) -> LogOnly:
    """The commit that gives a table other columns to cluster by."""
    metadata = base.config.metadata
    wanted = replace(metadata, configuration={**metadata.configuration, **SUPPORT})
    protocol, _, config = features.configure(base.config, wanted, base.version + 1, {})
    changed = () if protocol == base.config.protocol else (protocol,)
    before = ",".join(".".join(path) for path in clustering_columns(base.config))
    parameters = {"oldClusteringColumns": before, "newClusteringColumns": ",".join(names)}
    return LogOnly((*changed, clustering_domain(config, names)), "CLUSTER BY", parameters)


class TableAlterer:
    """The ``alter`` of a handle."""

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        moved: Callable[[Outcome], CommitResult],
        run: Callable[..., Outcome] = perform,
        external: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._run = run
        self._external = tuple(external)
        self._snapshot = snapshot
        self._moved = moved

    def set_table_properties(
        self,
        properties: Mapping[str, str],
        raise_if_not_exists: bool = True,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Set table properties; a ``delta.*`` switch also brings the table feature that it needs.

        Turning on row tracking gives ids to the files that are there, which takes several commits.

        :param raise_if_not_exists: refuse unknown ``delta.*`` names.
        :raises InvalidArgumentError: for an unknown name or a value that makes no sense.
        :raises UnsupportedFeatureError: for a feature whose tables deltalite does not write.
        """
        if raise_if_not_exists:
            check_names(properties)
        check_not_kept(properties)
        given = normalise(properties)

        def plan(base: Snapshot) -> LogOnly:
            _refuse_downgrade(base, given)
            configuration = {**base.config.configuration, **given}
            metadata = replace(base.config.metadata, configuration=configuration)
            return plan_metadata(base, metadata, "SET TBLPROPERTIES", {"properties": json.dumps(given)})

        base = self._snapshot()
        if not backfill.is_needed(base, {**base.config.configuration, **given}):
            return self._alter(plan, commit_properties, post_commithook_properties)
        self._refuse_staged("giving row ids to files that are there")
        committing = Committing.of(commit_properties, post_commithook_properties)
        return self._moved(backfill.with_row_ids(self._store, base, plan, committing, self._external))

    def unset_table_properties(
        self,
        names: Sequence[str],
        if_exists: bool = False,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Remove table properties; table features stay.

        :param if_exists: do not mind names that are not set.
        :raises InvalidArgumentError: for a name that is not set.
        """

        check_not_kept(names)

        def plan(base: Snapshot) -> LogOnly:
            current = base.config.configuration
            spelled = {key.lower(): key for key in current}
            missing = [name for name in names if name.lower() not in spelled]
            if missing and not if_exists:
                raise InvalidArgumentError(f"the properties {missing} are not set", hint=f"set are {sorted(current)}")
            gone = {spelled[name.lower()] for name in names if name.lower() in spelled}
            kept = {key: value for key, value in current.items() if key not in gone}
            metadata = replace(base.config.metadata, configuration=kept)
            return plan_metadata(base, metadata, "UNSET TBLPROPERTIES", {"properties": json.dumps(sorted(gone))})

        return self._alter(plan, commit_properties, post_commithook_properties)

    def set_table_name(
        self,
        name: str,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Name the table, in at most 255 characters."""
        return self._describe("name", name, 255, commit_properties, post_commithook_properties)

    def set_table_description(
        self,
        description: str,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Describe the table, in at most 4,000 characters."""
        return self._describe("description", description, 4000, commit_properties, post_commithook_properties)

    def _describe(
        self,
        what: str,
        text: str,
        longest: int,
        commit_properties: CommitProperties | None,
        post_commithook_properties: PostCommitHookProperties | None,
    ) -> CommitResult:
        if len(text) > longest:
            raise InvalidArgumentError(f"a table's {what} has at most {longest} characters, not {len(text)}")

        def plan(base: Snapshot) -> LogOnly:
            metadata = replace(base.config.metadata, **{what: text})
            return plan_metadata(base, metadata, f"SET TABLE {what.upper()}", {what: text})

        return self._alter(plan, commit_properties, post_commithook_properties)

    # -- columns ---------------------------------------------------------------------------------------------------

    def add_columns(
        self,
        fields: Any,
        *,
        into: str | Sequence[str] = (),
        first: bool = False,
        after: str | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Add columns; rows that are there read as null in them.

        :param fields: a ``Field``, several, a ``Schema``, an Arrow schema, or DDL text: ``"x int, y string"``.
        :param into: the struct to add fields to, as a dotted path; the table itself by default.
        :param first: put them first.
        :param after: put them behind this column.
        :raises InvalidArgumentError: for a column that exists, is NOT NULL, or has a default or an expression.
        """
        given = columns.new_fields(fields)
        return self._edit(lambda base: columns.add(base, given, into, first, after), commit_properties,
                          post_commithook_properties)  # fmt: skip

    def drop_columns(
        self,
        names: str | Sequence[str],
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Drop columns, or fields inside of structs. No file is rewritten: the values stay in old files, unread.

        :param names: dotted paths.
        :raises InvalidArgumentError: without column mapping (``delta.columnMapping.mode``), for partition columns and
            for columns that a constraint or a generated column uses.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        return self._edit(lambda base: columns.drop(base, wanted), commit_properties, post_commithook_properties)

    def rename_column(
        self,
        name: str,
        new_name: str,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Rename a column, or a field inside of structs; needs column mapping as :meth:`drop_columns` does.

        :param name: a dotted path.
        :param new_name: the last part of the path only.
        """
        return self._edit(
            lambda base: columns.rename(base, name, new_name), commit_properties, post_commithook_properties
        )

    def move_column(
        self,
        name: str,
        *,
        first: bool = False,
        after: str | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Change the order of columns, or of the fields of a struct."""
        return self._edit(
            lambda base: columns.move(base, name, first, after), commit_properties, post_commithook_properties
        )

    def set_column_type(
        self,
        name: str,
        data_type: Any,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Let the type of a column grow; old files stay and are cast as they are read.

        :param name: a dotted path, which may lead into arrays (``a.element``) and maps (``m.key``, ``m.value``).
        :param data_type: a type or its name, as in ``"bigint"``.
        :raises InvalidArgumentError: for a change that is no widening (PROTOCOL.md, "Type Widening"), or without
            ``delta.enableTypeWidening``.
        """
        return self._edit(
            lambda base: columns.widen(base, name, data_type), commit_properties, post_commithook_properties
        )

    def drop_column_not_null(
        self,
        column_name: str,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Allow a column to be null."""
        return self._edit(
            lambda base: columns.allow_null(base, column_name), commit_properties, post_commithook_properties
        )

    def set_column_not_null(
        self,
        column_name: str,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Forbid nulls in a column, after a look at the rows that are there.

        :raises ConstraintViolation: when there are nulls, saying how many.
        """
        return self._edit(
            lambda base: columns.forbid_null(base, column_name, self._reading(base)),
            commit_properties,
            post_commithook_properties,
        )

    def set_column_metadata(
        self,
        column: str,
        metadata: Mapping[str, Any],
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Set entries of a column's metadata, ``comment`` for example; ``None`` removes one.

        :raises InvalidArgumentError: for the entries that the table itself keeps (``delta.*``).
        """
        return self._edit(
            lambda base: columns.describe(base, column, metadata), commit_properties, post_commithook_properties
        )

    def set_column_comment(self, column: str, comment: str | None, **properties: Any) -> CommitResult:
        """Describe a column; ``None`` removes the description."""
        return self.set_column_metadata(column, {"comment": comment}, **properties)

    def set_column_default(
        self,
        column: str,
        expression: str | None,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """The value of a column for new rows that lack it; ``None`` removes it. Rows that are there stay as they are.

        :param expression: constant SQL, as in ``"0"`` or ``"current_timestamp()"``.
        """
        return self._edit(
            lambda base: columns.set_default(base, column, expression), commit_properties, post_commithook_properties
        )

    # -- constraints and features ----------------------------------------------------------------------------------

    def add_constraint(
        self,
        constraints: Mapping[str, str],
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Add CHECK constraints, after a look at the rows that are there.

        :param constraints: SQL conditions by name.
        :raises ConstraintViolation: when rows break one, with their number and examples.
        """
        return self._edit(
            lambda base: columns.add_constraints(base, constraints, self._reading(base)),
            commit_properties,
            post_commithook_properties,
        )

    def drop_constraint(
        self,
        name: str,
        raise_if_not_exists: bool = True,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Drop a CHECK constraint.

        :param raise_if_not_exists: when false, a constraint that is not there is no error and nothing is committed.
        """
        return self._edit(
            lambda base: columns.drop_constraint(base, name, raise_if_not_exists),
            commit_properties,
            post_commithook_properties,
        )

    def _reading(self, base: Snapshot) -> Reading:
        return Reading(self._store, base, self._external)

    def _edit(
        self,
        edit: Callable[[Snapshot], columns.Edit | None],
        commit_properties: CommitProperties | None,
        post_commithook_properties: PostCommitHookProperties | None,
    ) -> CommitResult:
        """Commit an edit of the metadata; an edit of nothing is no commit."""

        def plan(base: Snapshot) -> LogOnly:
            found = edit(base)
            if found is None or found.metadata == base.config.metadata:
                operation = "ALTER TABLE" if found is None else found.operation
                return LogOnly((), operation, {})
            return plan_metadata(base, found.metadata, found.operation, found.parameters, found.reads)

        return self._alter(plan, commit_properties, post_commithook_properties)

    def add_feature(
        self,
        feature: Any,
        allow_protocol_versions_increase: bool = False,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Ask every writer (and reader) to know table features; properties turn them on.

        :param feature: a ``TableFeatures``, a name in the protocol, or a list of them.
        :param allow_protocol_versions_increase: raise the versions of the protocol where that is needed.
        :raises InvalidArgumentError: for an unknown feature, or versions that would have to grow.
        """
        given = feature if isinstance(feature, (list, tuple)) else [feature]
        names = [protocol.feature_name(one) for one in given]
        return self._alter(
            lambda base: protocol.plan_add(base, names, allow_protocol_versions_increase),
            commit_properties,
            post_commithook_properties,
        )

    def drop_feature(
        self,
        feature: Any,
        truncate_history: bool = False,
        *,
        memory_limit: int | str | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Take a table feature away, so that engines which do not know it can use the table.

        What it left in the table goes first: its property, vectors, names of columns; files are rewritten for that.
        Where older versions hold what only those who know the feature can read, their checkpoints are protected from
        then on, which is a feature of writers (``checkpointProtection``). With ``truncate_history`` these versions are
        deleted instead, once they are older than ``delta.dropFeatureTruncateHistory.retentionDuration`` (24 hours).

        :param feature: a ``TableFeatures``, or a name in the protocol.
        :raises InvalidArgumentError: when the table does not have it, cannot do without it, or has to wait.
        """
        self._refuse_staged("dropping a feature")
        engine = changing.engine_of(self._store, self._external, memory_limit)
        committing = Committing.of(commit_properties, post_commithook_properties)
        leaving = dropping.Dropping(self._store, engine, committing, truncate_history)
        return self._moved(leaving.drop(self._snapshot(), protocol.feature_name(feature)))

    def cluster_by(
        self,
        columns: Sequence[str] | str | None,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Choose the columns by which ``optimize.cluster()`` lays rows out; ``None`` for none. No file changes.

        :param columns: four at most; fields of structs by dotted names.
        :raises InvalidArgumentError: for columns that files keep no bounds of, or a partitioned table.
        """
        names = (columns,) if isinstance(columns, str) else tuple(columns or ())
        return self._alter(lambda base: plan_cluster_by(base, names), commit_properties, post_commithook_properties)

    def _refuse_staged(self, what: str) -> None:
        if self._run is not perform:
            raise InvalidArgumentError(f"{what} takes commits of its own", hint="leave the transaction first")

    def _alter(
        self,
        plan: Callable[[Snapshot], LogOnly],
        commit_properties: CommitProperties | None,
        post_commithook_properties: PostCommitHookProperties | None,
    ) -> CommitResult:
        committing = Committing.of(commit_properties, post_commithook_properties)
        base = self._snapshot()
        return self._moved(self._run(self._store, base, lambda *_: plan(base), committing))
