"""What an operation returns."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The outcome of one operation.

    :param version: the version it made, or the one that stood when there was nothing to do.
    :param operation: its name as ``history`` shows it.
    :param metrics: counts and sizes (rows, files, bytes), under the names of ``operationMetrics``.
    :param duration_s: wall time in seconds.
    :param txn_id: the id by which the commit is found in the log; ``None`` when nothing was committed.
    :param skipped: why nothing was committed, or ``None``.
    """

    version: int
    operation: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    txn_id: str | None = None
    skipped: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "operation": self.operation,
            "metrics": dict(self.metrics),
            "duration_s": round(self.duration_s, 4),
            "txn_id": self.txn_id,
            "skipped": self.skipped,
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
            for k, v in {"version": self.version, "operation": self.operation, **self.metrics}.items()
        )
        return f"<table>{rows}</table>"
