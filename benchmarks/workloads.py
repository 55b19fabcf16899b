"""Every workload by its name; a workload's module is the question it asks."""

from __future__ import annotations

from benchmarks import append, changes, log, scan, start, write
from benchmarks.core import Workload

__all__ = ["WORKLOADS"]

WORKLOADS: dict[str, Workload] = {
    workload.name: workload for module in (start, write, append, log, scan, changes) for workload in module.WORKLOADS
}
