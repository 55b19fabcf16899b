"""What a row-changing operation did or would do, in numbers, under the reference implementation's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltalite.model.actions import AddCDCFile, AddFile
from deltalite.model.change import RowChanges
from deltalite.model.edits import Edits
from deltalite.operations.file_changes import FileChange

_ENDING = {"update": "Updated", "delete": "Deleted", "insert": "Inserted"}
_SIDE = {"matched": "numTargetRowsMatched", "not_matched_by_source": "numTargetRowsNotMatchedBySource"}


def clause_counts(changes: RowChanges, edits: Edits, files: Sequence[FileChange]) -> list[int]:
    """Rows by number of the clause that was for them."""
    counts = np.zeros(len(changes.clauses), np.int64)
    for change in files:
        e = change.edits
        if e.positions is None:
            counts[e.clauses[0]] += change.changed
        else:
            counts += np.bincount(e.clauses, minlength=len(counts))
    for clause, rows in edits.inserted:
        counts[clause] += len(rows)
    return counts.tolist()


def row_metrics(
    changes: RowChanges,
    edits: Edits,
    files: Sequence[FileChange],
    added: Sequence[AddFile],
    change_files: Sequence[AddCDCFile],
) -> dict[str, int]:
    """The metrics of ``commitInfo``; those of MERGE where there is a source.

    :param added: data files written.
    """
    by_clause = clause_counts(changes, edits, files)
    total = {"update": 0, "delete": 0, "insert": 0, "fail": 0}
    for clause, count in zip(changes.clauses, by_clause, strict=True):
        total[clause.action] += count
    copied = sum(f.copied for f in files)
    gone = [f for f in files if f.way != "mark"]
    marked = [f for f in files if f.way == "mark"]
    vectors = {
        "DeletionVectorsAdded": len(marked),
        "DeletionVectorsUpdated": sum(f.gone_before > 0 for f in marked),
        "DeletionVectorsRemoved": sum(f.gone_before > 0 for f in files),
    }
    sizes = {
        "FilesAdded": len(added),
        "FilesRemoved": len(gone),
        "BytesAdded": sum(a.size for a in added),
        "BytesRemoved": sum(f.add.size or 0 for f in gone),
    }
    if changes.source is None:
        names = {"FilesAdded": "numAddedFiles", "FilesRemoved": "numRemovedFiles",
                 "BytesAdded": "numAddedBytes", "BytesRemoved": "numRemovedBytes"}  # fmt: skip
        found = {f"num{_ENDING[c.action]}Rows": total[c.action] for c in changes.clauses}
        found |= {"numCopiedRows": copied, **{names[k]: v for k, v in sizes.items()}}
        found |= {f"num{name}": value for name, value in vectors.items()}
    else:
        found = {"numSourceRows": edits.source_count}
        found |= {f"numTargetRows{ending}": total[action] for action, ending in _ENDING.items()}
        for clause, count in zip(changes.clauses, by_clause, strict=True):
            if clause.when in _SIDE and clause.action in _ENDING:
                name = _SIDE[clause.when] + _ENDING[clause.action]
                found[name] = found.get(name, 0) + count
        found |= {"numTargetRowsCopied": copied, "numOutputRows": total["update"] + total["insert"] + copied}
        found |= {f"numTarget{name}": value for name, value in (*sizes.items(), *vectors.items())}
        found["numTargetFilesScanned"] = changes.plan.report.kept
        found["numTargetFilesSkippedDuringScan"] = changes.plan.report.skipped
    found["numAddedChangeFiles" if changes.source is None else "numTargetChangeFilesAdded"] = len(change_files)
    return found
