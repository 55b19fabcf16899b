"""How many files lookups touch, from the log's statistics alone: now, and after an operation on the layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.engine.curve import is_text, ordered_numbers
from deltalite.expr.vectors import from_numpy, numpy_values, valid_mask
from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.layout import LayoutAnalysis, LayoutPreview, Lookups
from deltalite.model.snapshot import Snapshot
from deltalite.model.stats import has_bounds
from deltalite.operations.compact import WORN
from deltalite.operations.layout import LayoutRequest, LiveLayout, Path, ordered_columns, target_size
from deltalite.scan.stats import LiveFiles, LogStats, known_stats, leaf_columns

WRITING_BYTES = 128 << 20
_EXPANSION = 4
_SELECTIVE = 0.2


def analyze(base: Snapshot, columns: Sequence[str] | None = None) -> LayoutAnalysis:
    """The layout of a version.

    :param columns: names to tell of; by default all that have statistics.
    :raises InvalidArgumentError: for an unknown column.
    """
    live = LiveLayout(base)
    target = target_size(LayoutRequest(), base.config)
    found = (Lookups(".".join(s.path), s.average(), s.worst(), int(s.unknown.sum())) for s in _spans(base, columns))
    return LayoutAnalysis(
        version=base.version,
        files=live.count,
        bytes=int(live.sizes.sum()),
        small_files=int((live.sizes < target // 2).sum()),
        worn_files=int((live.deleted_share > WORN).sum()),
        columns=tuple(found),
    )


def preview(base: Snapshot, change: Rewrite, budget: int) -> LayoutPreview:
    """What a rewrite would do.

    :param budget: the memory that sorting may take.
    """
    live = LiveLayout(base)
    rows = _rows_of(live, change)
    groups = [rows[group.files] for group in change.groups]
    bytes_ = [int(live.sizes[g].sum()) for g in groups]
    target = change.spec.target_file_size
    after = [max(1, round(size / target)) for size in bytes_]
    lookups, warnings = {}, []
    for spans in _spans(base, None):
        name, now = ".".join(spans.path), spans.average()
        then = _after(spans, live, groups, after, change, target)
        lookups[name] = {"now": now, "after": then}
        is_order = spans.path in change.order
        if change.order and not is_order and then > 2 * now and now <= max(1.5, _SELECTIVE * live.count):
            warnings.append(
                f"this destroys the order by {name}: a lookup touches {now:,.1f} files now, then up to {then:,.0f}"
            )
    raw = _EXPANSION * max(bytes_, default=0)
    memory = min(raw, WRITING_BYTES) + (min(raw, budget // 2) if change.order else 0)
    return LayoutPreview(
        operation=change.operation,
        version=base.version,
        groups=tuple(_told(change, group, size) for group, size in zip(change.groups, bytes_, strict=True)),
        files=live.count,
        files_after=live.count - sum(map(len, groups)) + sum(after),
        files_to_rewrite=sum(map(len, groups)),
        bytes_to_rewrite=sum(bytes_),
        memory_bytes=memory,
        lookups=lookups,
        warnings=tuple(warnings),
    )


def _rows_of(live: LiveLayout, change: Rewrite) -> np.ndarray:
    """The rows of the plan's files among all live files."""
    paths = live.base.files.table(["path"]).column("path")
    chosen = change.plan.files.column("path")
    if not len(chosen):
        return np.zeros(0, np.int64)
    found = pc.index_in(paths, value_set=chosen.combine_chunks())
    hits = pa.concat_arrays(found.chunks)
    rows = np.flatnonzero(valid_mask(hits))
    back = np.empty(len(rows), np.int64)
    back[numpy_values(hits)[rows]] = rows
    return back


def _told(change: Rewrite, group: FileGroup, size: int) -> dict[str, object]:
    values = change.plan.files.column("partitionValues").slice(int(group.files[0]), 1).to_pylist()[0]
    return {"partition": dict(values or ()), "files": len(group.files), "bytes": size}


# -- lookups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spans:
    """The range of values of each file in one column, as ranks among all bounds.

    :param low: -1 where the file has no values, so that no lookup touches it.
    :param coordinates: of each rank, a number for its bound; the distances tell how much lies between.
    :param unknown: whether a file lacks bounds, so that every lookup touches it.
    """

    path: Path
    low: np.ndarray
    high: np.ndarray
    coordinates: np.ndarray
    rows: np.ndarray
    unknown: np.ndarray

    def depth(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How many of some ranges hold each bound (even places) and what lies between two of them (odd places)."""
        changes = np.zeros(2 * len(self.coordinates) + 1, np.int64)
        held = low >= 0
        np.add.at(changes, 2 * low[held], 1)
        np.add.at(changes, 2 * high[held] + 1, -1)
        return np.cumsum(changes)[:-1]

    def average(self) -> float:
        """Files that a lookup touches now."""
        return self.mean_depth(self.low, self.high) + int(self.unknown.sum())

    def mean_depth(self, low: np.ndarray, high: np.ndarray) -> float:
        """The mean depth of some ranges at the values that the rows have now, were these spread evenly in each file."""
        held = self.low >= 0
        if not held.any():
            return 0.0
        depth = self.depth(low, high)
        gaps = np.diff(self.coordinates)
        areas = np.concatenate([[0.0], np.cumsum(depth[1:-1:2] * gaps)])
        begin, end = self.low[held], self.high[held]
        widths = self.coordinates[end] - self.coordinates[begin]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.where(widths > 0, (areas[end] - areas[begin]) / widths, depth[2 * begin])
        return float(np.average(means, weights=np.maximum(1, self.rows[held])))

    def worst(self) -> int:
        return int(self.depth(self.low, self.high).max(initial=0)) + int(self.unknown.sum())


def _spans(base: Snapshot, columns: Sequence[str] | None) -> Iterator[_Spans]:
    config = base.config
    known = [path for path, kind in leaf_columns(config.schema) if has_bounds(kind) and kind.type != "boolean"]
    wanted = known if columns is None else list(ordered_columns(config.schema, columns))
    stats = LogStats(config, LiveFiles(base.files), wanted, known_stats(base.files))
    counts = stats.num_records
    rows = np.where(valid_mask(counts), numpy_values(counts), 1)
    for path in wanted:
        found = stats.column(path)
        count = stats.length
        if found is None or found.min is None or found.max is None:
            if columns is not None:
                nowhere = np.full(count, -1)
                yield _Spans(path, nowhere, nowhere, np.zeros(0), rows, np.ones(count, bool))
            continue
        told = valid_mask(found.min) & valid_mask(found.max)
        if columns is None and not told.any():
            continue
        nothing = np.zeros(count, bool)
        if found.null_count is not None:
            nothing = ~told & valid_mask(found.null_count) & (numpy_values(found.null_count) == rows)
        elif found.exact:
            nothing = ~told
        low, high, coordinates = _ranks(found.min, found.max)
        low, high = np.where(told, low, -1), np.where(told, high, -1)
        yield _Spans(path, low, high, coordinates, rows, ~told & ~nothing)


def _ranks(low: pa.Array, high: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both bounds as ranks among all of them (arbitrary for nulls), and a coordinate for each rank."""
    encoded = pa.concat_arrays([low, high]).dictionary_encode("encode")
    order = numpy_values(pc.array_sort_indices(encoded.dictionary).cast(pa.int64()))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    found = ranks[numpy_values(encoded.indices)]
    return found[: len(low)], found[len(low) :], _coordinates(encoded.dictionary.take(from_numpy(order, pa.int64())))


def _coordinates(ascending: pa.Array) -> np.ndarray:
    """Numbers whose distances are about those of some values; nulls come last and count as nothing."""
    present = ascending.drop_null()
    if is_text(present.type):
        texts = [v if isinstance(v, bytes) else v.encode() for v in present.to_pylist()]
        shared = len(os.path.commonprefix([texts[0], texts[-1]])) if texts else 0  # noqa: RUF071
        found = [int.from_bytes(text[shared : shared + 6].ljust(6, b"\0"), "big") for text in texts]
        numbers = np.array(found, np.float64)
    elif pa.types.is_floating(present.type):
        numbers = numpy_values(present).astype(np.float64)
        numbers = np.clip(numbers, -_HUGE, _HUGE)
    else:
        numbers = ordered_numbers(present).astype(np.float64)
    return np.concatenate([numbers, np.full(len(ascending) - len(present), numbers[-1] if len(numbers) else 0.0)])


_HUGE = 1e300


def _after(
    spans: _Spans, live: LiveLayout, groups: Sequence[np.ndarray], after: Sequence[int], change: Rewrite, target: int
) -> float:
    """Files that a lookup touches afterwards: exact for files merged in their order, else what an even layout gives."""
    kept = np.ones(live.count, bool)
    for rows in groups:
        kept[rows] = False
    low, high = [spans.low[kept]], [spans.high[kept]]
    more = 0.0
    for rows, count in zip(groups, after, strict=True):
        if change.order:
            dimensions = len(change.order)
            touched = count ** ((dimensions - 1) / dimensions) if spans.path in change.order else count
            more += touched if (spans.low[rows] >= 0).any() else 0
            continue
        begins = np.unique((np.cumsum(live.sizes[rows]) - live.sizes[rows]) // target, return_index=True)[1]
        without = np.where(spans.low[rows] < 0, np.iinfo(np.int64).max, spans.low[rows])
        lows = np.minimum.reduceat(without, begins)
        low.append(np.where(lows == np.iinfo(np.int64).max, -1, lows))
        high.append(np.maximum.reduceat(spans.high[rows], begins))
    still_unknown = int((spans.unknown & kept).sum())
    return spans.mean_depth(np.concatenate(low), np.concatenate(high)) + more + still_unknown
