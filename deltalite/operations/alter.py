"""ALTER TABLE: changes of the table itself, metadata only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.model.actions import Metadata
from deltalite.model.change import LogOnly
from deltalite.model.properties import check_names, normalise
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome, perform
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.storage.base import Store


def plan_metadata(base: Snapshot, metadata: Metadata, operation: str, parameters: Mapping[str, object]) -> LogOnly:
    """The commit that gives a table new metadata, and a protocol that carries it."""
    protocol, metadata, _ = features.configure(base.config, metadata, base.version + 1)
    changed = () if protocol == base.config.protocol else (protocol,)
    return LogOnly((*changed, metadata), operation, parameters)


class TableAlterer:
    """The ``alter`` of a handle."""

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        moved: Callable[[Outcome], CommitResult],
        run: Callable[..., Outcome] = perform,
    ) -> None:
        self._store = store
        self._run = run
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

        :param raise_if_not_exists: refuse unknown ``delta.*`` names.
        :raises InvalidArgumentError: for an unknown name or a value that makes no sense.
        :raises UnsupportedFeatureError: for a feature whose tables deltalite does not write.
        """
        if raise_if_not_exists:
            check_names(properties)
        given = normalise(properties)
        for name in given:
            if name.startswith("delta.constraints."):
                raise InvalidArgumentError(
                    f"{name} cannot be set as a property: existing rows have to be checked first",
                    hint="give CHECK constraints when the table is created",
                    property=name,
                )

        def plan(base: Snapshot) -> LogOnly:
            configuration = {**base.config.configuration, **given}
            metadata = replace(base.config.metadata, configuration=configuration)
            return plan_metadata(base, metadata, "SET TBLPROPERTIES", {"properties": json.dumps(given)})

        return self._alter(plan, commit_properties, post_commithook_properties)

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

    def _alter(
        self,
        plan: Callable[[Snapshot], LogOnly],
        commit_properties: CommitProperties | None,
        post_commithook_properties: PostCommitHookProperties | None,
    ) -> CommitResult:
        committing = Committing.of(commit_properties, post_commithook_properties)
        base = self._snapshot()
        return self._moved(self._run(self._store, base, lambda *_: plan(base), committing))
