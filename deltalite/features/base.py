"""What a table feature is: the finite list of ways in which one may cut across the library.

Every hook is optional and pure. All other packages fold over the active features (see ``features.__init__``) and never
name one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deltalite.model.actions import Action, AddFile, Metadata, RemoveFile
from deltalite.model.config import TableConfig
from deltalite.model.types import StructType

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.features.deletion_vectors.removal import RowRemover
    from deltalite.model.actions import DeletionVector
    from deltalite.model.expr import BoundExpr
    from deltalite.model.snapshot import Snapshot
    from deltalite.model.tasks import VirtualColumn
    from deltalite.model.types import DataType

Kind = Literal["reader-writer", "writer"]
Rewritten = Literal["copied", "updated"]
"""How a row comes into a new file: as it is, or with new values."""
Use = Literal["insert", "update"]
"""For what somebody names columns: values of new rows, or new values of rows that are there."""
Fetch = Callable[[str, int, int], bytes]
"""Bytes of a file beside the data files: its URI as an action would spell it, the offset, and their number."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """How a column gets its value when rows are written.

    A column absent from the rows is computed. A column that is there is kept; with ``verify`` it must equal the
    expression (``<=>``).
    """

    column: str
    expression: BoundExpr
    verify: bool = False


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A condition that every written row must satisfy; false and null both fail."""

    name: str
    text: str
    condition: BoundExpr


@dataclass(frozen=True, slots=True)
class NumberSequence:
    """How rows that lack a column are numbered: ``first``, ``first + step``, ... in the order of writing.

    Of ``count`` workers for one commit, worker ``index`` begins at the ``index``-th of these numbers and takes every
    ``count``-th.
    """

    column: str
    first: int
    step: int


@dataclass(frozen=True, slots=True)
class WriteStep:
    """What a feature asks of new rows: first the sequences, then the assignments, then the checks."""

    sequences: tuple[NumberSequence, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    checks: tuple[RowCheck, ...] = ()


def never(*_: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Feature:
    """One table feature.

    :param name: its name in ``readerFeatures`` and ``writerFeatures``.
    :param kind: whether readers must know it too.
    :param legacy: the (reader, writer) versions that imply it, or ``None`` for features of version 7 only.
    :param aliases: other names under which tables in the wild list it.
    :param requires: features that must be supported along with it.
    :param property: the table property that turns it on with ``true`` (or with any value but ``none``).
    :param implied_by: whether a schema or configuration cannot do without it.
    :param readable: false for a feature whose tables cannot be read here.
    :param refuse_write: why a table cannot be written here, or ``None``; the default allows it.
    :param rebased_domain: a metadata domain of its own that ``finalize`` writes anew on the base of every attempt, so
        that two commits which write it do not contradict each other.
    :param own_domain: a metadata domain in which operations keep the feature's configuration.
    :param off: properties that go when the feature is dropped, besides ``property``.
    :param traced: whether earlier versions may hold what only engines that know the feature can read.
    """

    name: str
    kind: Kind = "writer"
    legacy: tuple[int, int] | None = None
    aliases: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    property: str | None = None
    implied_by: Callable[[StructType, Mapping[str, str]], bool] = never
    readable: bool = True
    refuse_write: Callable[[TableConfig], str | None] | None = None
    rebased_domain: str | None = None
    own_domain: str | None = None
    off: tuple[str, ...] = ()
    traced: bool = True
    # -- properties that a new table gets along with those that were given, where these are silent
    along: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    # -- metadata: ids, histories, enablement marks; then a check that raises if the table is ill-formed
    evolve: Callable[[TableConfig | None, Metadata, int], Metadata] | None = None
    # -- metadata of an earlier version that becomes the table's again: what was counted since does not turn back
    restored: Callable[[TableConfig, Metadata], Metadata] | None = None
    check: Callable[[TableConfig], None] | None = None
    # -- metadata that counts: as it is after rows were written (column -> last number given), and without the counting
    after_rows: Callable[[TableConfig, Mapping[str, int]], Metadata | None] | None = None
    uncounted: Callable[[Metadata], Metadata] | None = None
    # -- columns: the schema under the names (and with the field ids) that data files use
    physical: Callable[[TableConfig], StructType | None] | None = None
    # -- reading: how files are matched, which columns exist besides the schema's, how a column stored as one type
    #    becomes the table's, and which rows (positions, ascending) of a file are gone
    by_field_id: Callable[[TableConfig], bool] | None = None
    virtual: Callable[[TableConfig], Mapping[str, VirtualColumn]] | None = None
    convert: Callable[[pa.DataType, DataType], Callable[[Any], pa.Array] | None] | None = None
    deleted_rows: Callable[[DeletionVector, Fetch], Any] | None = None
    # -- files: whether they have the partition columns too, behind all others (the log has them in any case)
    stores_partitions: Callable[[TableConfig], bool] | None = None
    # -- rows: which columns nobody may give values (raises), what is asked of new rows, how rows leave a file other
    #    than by rewriting it, and which virtual columns they keep when they are rewritten
    assignable: Callable[[TableConfig, Iterable[str], Use], None] | None = None
    write: Callable[[TableConfig], WriteStep | None] | None = None
    remove_rows: Callable[[TableConfig], RowRemover | None] | None = None
    carries: Callable[[TableConfig, Rewritten], tuple[str, ...]] | None = None
    # -- commits: what no file contains; may refuse. ``now`` is milliseconds since 1970
    finalize: Callable[[list[Action], Snapshot | None, TableConfig, int], list[Action]] | None = None
    # -- leaving: what of the table still needs the feature (in words); the metadata without what it keeps there, and
    #    whether that holds only once the files are rewritten; which live files have to be, given their Parquet schema;
    #    and which actions of the past bear its traces, besides metadata that asks for it
    in_use: Callable[[TableConfig], str | None] | None = None
    stripped: Callable[[Metadata], Metadata] | None = None
    stripped_with_files: bool = False
    bears: Callable[[TableConfig, AddFile, Callable[[], pa.Schema]], bool] | None = None
    traces: Callable[[Action], bool] | None = None
    # -- files besides the data file that an action needs
    files_of: Callable[[AddFile | RemoveFile], Iterable[str]] | None = None
    stats_columns: Callable[[TableConfig], Iterable[tuple[str, ...]]] | None = None
