"""Every error that deltalite raises on purpose, grouped by what a handler would do about it.

::

    DeltaError                                  code, hint, context
    ├── TableNotFoundError (FileNotFoundError)      there is no table at this place
    ├── TableExistsError (FileExistsError)          there is one already
    ├── VersionNotFoundError (LookupError)          this version is not in the log
    │   └── TimestampOutOfRangeError                no version at this time
    ├── DeltaProtocolError                          the table itself is the problem
    │   ├── UnsupportedFeatureError                     it demands what we (or a reader by path) cannot do
    │   └── InvalidTableError                           its log breaks the protocol
    │       └── UnsafePathError                             it names a file outside the table
    ├── SchemaMismatchError (ValueError)            the data does not fit the table
    │   └── UnsupportedTypeError (TypeError)            no Delta type holds this Arrow type
    ├── ConstraintViolation (ValueError)            rows break a constraint of the table
    ├── ExpressionError (ValueError)                an expression is malformed or cannot be evaluated
    ├── MultipleMatchesError (ValueError)           several source rows match one target row
    ├── MergeRefusedError (ValueError)              a clause of a MERGE refuses the rows that it applies to
    ├── InvalidArgumentError (ValueError)           the call itself makes no sense
    ├── CommitFailedError                           nothing became visible, unless it says otherwise
    │   ├── ConflictError                               another writer won: retry on a new snapshot
    │   │   ├── ConcurrentAppendError
    │   │   ├── ConcurrentDeleteReadError
    │   │   ├── ConcurrentDeleteDeleteError
    │   │   ├── MetadataChangedError
    │   │   ├── ProtocolChangedError
    │   │   └── ConcurrentTransactionError
    │   └── CommitOutcomeUnknown                        look before retrying; nothing was deleted
    └── StorageError (OSError)                      the storage failed or cannot do what is needed

``DeltaError``, ``TableNotFoundError``, ``CommitFailedError``, ``DeltaProtocolError`` and ``SchemaMismatchError`` carry
the names of ``deltalake.exceptions``; the six conflicts carry Delta Spark's. The built-in bases let
``except FileNotFoundError`` work as expected.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "CommitFailedError",
    "CommitOutcomeUnknown",
    "ConcurrentAppendError",
    "ConcurrentDeleteDeleteError",
    "ConcurrentDeleteReadError",
    "ConcurrentTransactionError",
    "ConflictError",
    "ConstraintViolation",
    "DeltaError",
    "DeltaProtocolError",
    "ExpressionError",
    "InvalidArgumentError",
    "InvalidTableError",
    "MergeRefusedError",
    "MetadataChangedError",
    "MultipleMatchesError",
    "ProtocolChangedError",
    "SchemaMismatchError",
    "StorageError",
    "TableExistsError",
    "TableNotFoundError",
    "TimestampOutOfRangeError",
    "UnsafePathError",
    "UnsupportedFeatureError",
    "UnsupportedTypeError",
    "VersionNotFoundError",
]


class DeltaError(Exception):
    """Base of all errors of deltalite.

    :param message: what went wrong and why.
    :param hint: what the user can do about it, as a sentence; ``None`` when there is nothing to do.
    :param context: the facts behind the message (version, path, column, ...), readable as attributes too.
    """

    code: ClassVar[str] = "delta-error"
    hint: str | None = None
    context: dict[str, Any]

    def __init__(self, message: str, *, hint: str | None = None, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["context"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.context)


def _rebuild(cls: type[DeltaError], message: str, hint: str | None, context: dict[str, Any]) -> DeltaError:
    return cls(message, hint=hint, **context)


class TableNotFoundError(DeltaError, FileNotFoundError):
    """There is no Delta table at the given place."""

    code = "table-not-found"


class TableExistsError(DeltaError, FileExistsError):
    """A table is there already, and the mode was ``error``."""

    code = "table-exists"


class VersionNotFoundError(DeltaError, LookupError):
    """The requested version is not in the log. ``available`` holds ``(earliest, latest)``."""

    code = "version-not-found"


class TimestampOutOfRangeError(VersionNotFoundError):
    """No version of the table is as old, or as new, as the requested time."""

    code = "timestamp-out-of-range"


class DeltaProtocolError(DeltaError):
    """The table's own state stands in the way."""

    code = "protocol-error"


class UnsupportedFeatureError(DeltaProtocolError):
    """The table demands features that are not supported here. ``features`` names them."""

    code = "unsupported-feature"


class InvalidTableError(DeltaProtocolError):
    """The log breaks the protocol: a gap, a torn commit, a missing action. ``path`` and ``version`` name the place."""

    code = "invalid-table"


class UnsafePathError(InvalidTableError):
    """An action names a file outside the table's root that nobody allowed."""

    code = "unsafe-path"


class SchemaMismatchError(DeltaError, ValueError):
    """The data does not fit the schema of the table. ``columns`` names the ones that do not."""

    code = "schema-mismatch"


class UnsupportedTypeError(SchemaMismatchError, TypeError):
    """A type has no counterpart in Delta (or in Arrow)."""

    code = "unsupported-type"


class ConstraintViolation(DeltaError, ValueError):
    """Rows break a constraint. ``constraint`` names it, ``count`` counts the rows, ``rows`` shows a few."""

    code = "constraint-violation"


class ExpressionError(DeltaError, ValueError):
    """An SQL expression cannot be parsed, bound or evaluated. ``position`` is the offset in the text, if known."""

    code = "expression-error"


class MultipleMatchesError(DeltaError, ValueError):
    """Several source rows match one target row of a MERGE.

    ``count`` counts such rows of the table; ``keys`` shows a few, ``source_rows`` the rows of the source for each.
    """

    code = "multiple-matches"


class MergeRefusedError(DeltaError, ValueError):
    """A clause of a MERGE refuses the rows that it applies to. ``count`` counts them, ``keys`` shows a few."""

    code = "merge-refused"


class InvalidArgumentError(DeltaError, ValueError):
    """The arguments of the call make no sense, alone or together."""

    code = "invalid-argument"


class CommitFailedError(DeltaError):
    """The commit did not happen and nothing of it is visible."""

    code = "commit-failed"


class ConflictError(CommitFailedError):
    """Another writer's commit contradicts what this one read or wrote.

    ``winner_version``, ``winner_txn_id``, ``winner_operation`` and ``path`` (or ``partition``) say what it was.
    """

    code = "conflict"
    retryable: ClassVar[bool] = True


class ConcurrentAppendError(ConflictError):
    """The winner added files that this operation would have read."""

    code = "concurrent-append"


class ConcurrentDeleteReadError(ConflictError):
    """The winner removed files that this operation read."""

    code = "concurrent-delete-read"


class ConcurrentDeleteDeleteError(ConflictError):
    """The winner removed files that this operation removes too."""

    code = "concurrent-delete-delete"


class MetadataChangedError(ConflictError):
    """The winner changed the schema or the properties of the table."""

    code = "metadata-changed"


class ProtocolChangedError(ConflictError):
    """The winner changed the protocol of the table."""

    code = "protocol-changed"


class ConcurrentTransactionError(ConflictError):
    """The winner wrote the same application transaction or metadata domain."""

    code = "concurrent-transaction"


class CommitOutcomeUnknown(CommitFailedError):
    """The storage gave no definite answer: the commit may or may not be in the log.

    Nothing was deleted. ``txn_id`` and ``version`` are what to look for: ``DeltaTable.resolve(txn_id)``.
    """

    code = "commit-outcome-unknown"


class StorageError(DeltaError, OSError):
    """The storage failed, or cannot do what is asked of it."""

    code = "storage-error"
