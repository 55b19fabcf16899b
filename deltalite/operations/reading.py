"""Reading: the verbs on one snapshot's rows that every exit shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.features import variant
from deltalite.features.plain import has_type
from deltalite.model.arrow import mask_array
from deltalite.model.expr import BoundExpr, Expr, and_
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import ScanPlan
from deltalite.model.types import StructType
from deltalite.scan import matching
from deltalite.scan import plan as planning
from deltalite.scan.paths import PathResolver
from deltalite.scan.read import BATCH_ROWS, read_plan
from deltalite.storage import Store, open_store


@dataclass(frozen=True, slots=True)
class Reading:
    """A snapshot and the store its files are in.

    :param external: prefixes outside the table that files may lie under.
    :param noticed: told of every look at rows: the plan, and the condition that they satisfy (``None``: all rows).
    """

    store: Store
    snapshot: Snapshot
    external: tuple[str, ...] = ()
    noticed: Callable[[ScanPlan, BoundExpr | None], None] | None = None

    @property
    def resolve(self) -> PathResolver:
        """Finds the store of a file."""
        return PathResolver(self.store, self.external, open_store)

    @property
    def schema(self) -> pa.Schema:
        return self.snapshot.config.schema.to_arrow()

    def expression(self, *predicates: Any) -> Expr | None:
        """One expression that holds where all given predicates do; ``None`` where none is given."""
        given = [to_expr(p, self.snapshot.config.schema) for p in predicates if p is not None]
        return and_(*given) if given else None

    def bind(self, predicate: Any, time_zone: str = "UTC") -> BoundExpr | None:
        """A predicate in any accepted form, against this version's schema.

        :raises ExpressionError: for a malformed one, unknown columns or types that do not fit.
        """
        if predicate is None or isinstance(predicate, BoundExpr):
            return predicate
        expression = to_expr(predicate, self.snapshot.config.schema)
        return bind_predicate(expression, self.snapshot.config.schema, time_zone=time_zone)

    def plan(
        self,
        columns: Sequence[str] | None = None,
        predicate: Any = None,
        limit: int | None = None,
        time_zone: str = "UTC",
    ) -> ScanPlan:
        """Which files to read for these columns and rows, and how."""
        bound = self.bind(predicate, time_zone)
        plan = planning.plan(self.snapshot, predicate=bound, columns=columns, limit=limit)
        if self.noticed is not None:
            self.noticed(plan, bound)
        return plan

    def scan(
        self,
        columns: Sequence[str] | None = None,
        predicate: Any = None,
        *,
        limit: int | None = None,
        batch_size: int | None = None,
        time_zone: str = "UTC",
        threads: int | None = None,
        variants: str = "struct",
    ) -> pa.RecordBatchReader:
        """The matching rows as a lazy stream."""
        if limit is not None and limit < 0:
            raise InvalidArgumentError(f"a limit is not negative: {limit}")
        plan = self.plan(columns, predicate, limit, time_zone)
        reader = read_plan(
            self.store,
            plan,
            threads=threads,
            batch_size=batch_size or BATCH_ROWS,
            limit=limit,
            resolve=PathResolver(self.store, self.external, open_store),
        )
        return reader if variants == "struct" else _variants_as_text(reader, plan.output, variants)

    def table(self, columns: Sequence[str] | None = None, predicate: Any = None, limit: int | None = None) -> pa.Table:
        """The matching rows in memory."""
        return self.scan(columns, predicate, limit=limit).read_all()

    def count(self, predicate: Any = None) -> int:
        """How many rows match, opening only the files whose metadata cannot tell."""
        bound = self.bind(predicate)
        if self.noticed is not None:
            self.noticed(planning.plan(self.snapshot, predicate=bound, columns=[]), bound)
        known = matching.live_rows(self.snapshot.config, self.snapshot.files)
        if bound is None:
            some = every = np.ones(len(known), dtype=bool)
        else:
            files = self.snapshot.files.table(matching.MATCH_COLUMNS)
            some, every = matching.rows_matched(self.snapshot.config, files, bound)
        sure = every & (known >= 0)
        total = int(known[sure].sum())
        open_ones = some & ~sure
        if not open_ones.any():
            return total
        rest = planning.plan(self.snapshot, predicate=bound, columns=[], keep=mask_array(open_ones))
        reader = read_plan(self.store, rest, resolve=PathResolver(self.store, self.external, open_store))
        return total + sum(batch.num_rows for batch in reader)


def _variants_as_text(reader: pa.RecordBatchReader, columns: StructType, form: str) -> pa.RecordBatchReader:
    """The stream with its columns of variants as JSON text."""
    if form != "json":
        raise InvalidArgumentError(f"variants are read as 'struct' or 'json', not {form!r}")
    at = [i for i, f in enumerate(columns.fields) if f.type.type == "variant"]
    nested = [f.name for i, f in enumerate(columns.fields) if i not in at and has_type("variant")(StructType([f]), {})]
    if nested:
        raise InvalidArgumentError(
            f"the columns {nested} hold variants inside other values, which are read as structs only",
            hint="leave these columns out, or read all variants as structs",
            columns=nested,
        )
    schema = reader.schema
    for i in at:
        schema = schema.set(i, schema.field(i).with_type(pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [variant.to_json(a) if i in at else a for i, a in enumerate(batch.columns)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
