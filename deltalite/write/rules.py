"""What the table asks of every row: numbered and computed columns, NOT NULL, constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ConstraintViolation
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.features.base import NumberSequence
from deltalite.model.arrow import FALSE
from deltalite.model.types import ArrayType, DataType, Field, MapType, StructType
from deltalite.model.write_spec import WriteSpec
from deltalite.write import nested
from deltalite.write.layout import Layout, requires_values

EXAMPLES = 3
_INT64 = range(-(1 << 63), 1 << 63)


class RowRules:
    """The write steps and NOT NULL columns of a table, applied to one batch after the other."""

    def __init__(self, spec: WriteSpec, layout: Layout) -> None:
        self._schema = layout.table_schema
        self._required = layout.required
        self._sequences = [s for step in spec.steps for s in step.sequences]
        self._task = spec.task
        self._given = {s.column: 0 for s in self._sequences}
        self._assignments = [a for step in spec.steps for a in step.assignments]
        self._checks = [c for step in spec.steps for c in step.checks]
        self._rows = 0

    @property
    def computed(self) -> frozenset[str]:
        """The columns that may be absent from the rows."""
        return frozenset((*self._given, *(a.column for a in self._assignments)))

    @property
    def sequences(self) -> dict[str, int]:
        """The last number that each column got from its sequence; columns that got none are left out."""
        return {s.column: self._number(s, given - 1) for s in self._sequences if (given := self._given[s.column])}

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with all columns of the table, in order.

        :raises ConstraintViolation: when rows break a rule, with the number of them and a few examples.
        """
        self._rows += batch.num_rows
        for sequence in self._sequences:
            if batch.schema.get_field_index(sequence.column) < 0:
                batch = batch.append_column(sequence.column, self._numbered(sequence, batch.num_rows))
        for assignment in self._assignments:
            index = batch.schema.get_field_index(assignment.column)
            if index >= 0 and not assignment.verify:
                continue
            value = evaluate(assignment.expression, batch)
            if index < 0:
                batch = batch.append_column(assignment.column, value)
            else:
                self._verify(assignment, batch, batch.column(index), value)
        if batch.num_columns and batch.schema.names != self._schema.names:
            batch = batch.select(self._schema.names)
        batch = nested.relabel(batch, self._schema)
        for f in self._required:
            self._check_not_null(f, batch)
        for check in self._checks:
            holds = true_mask(check.condition, batch)
            if holds.true_count != batch.num_rows:
                columns = _names(check.condition)
                self._refuse(check.name, f"{check.name} ({check.text})", batch, pc.invert(holds), columns)
        return batch

    def _number(self, sequence: NumberSequence, given: int) -> int:
        """The number after so many that this task has given."""
        index, count = self._task
        return sequence.first + sequence.step * (index + given * count)

    def _numbered(self, sequence: NumberSequence, rows: int) -> pa.Array:
        """The next numbers of a sequence.

        :raises ConstraintViolation: when they do not fit into 64 bits.
        """
        given = self._given[sequence.column]
        first, last = self._number(sequence, given), self._number(sequence, given + rows - 1)
        if rows and not _INT64.start <= min(first, last) <= max(first, last) < _INT64.stop:
            raise ConstraintViolation(
                f"identity column {sequence.column!r} has run out of numbers: the {rows} rows after {given} others "
                f"would be numbered {first} to {last}",
                hint="nothing was written; the numbers of a column have 64 bits",
                constraint=sequence.column,
                count=rows,
                rows=[],
            )
        self._given[sequence.column] = given + rows
        stride = np.uint64(sequence.step * self._task[1] % 2**64)  # modulo 2**64, a product cannot go astray
        numbers = np.arange(rows, dtype=np.uint64) * stride + np.uint64(first % 2**64)
        return pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(numbers)])

    def _verify(self, assignment: Any, batch: pa.RecordBatch, given: Any, expected: Any) -> None:
        differs = pc.invert(same_values(given, expected))
        if differs.true_count:
            name = assignment.column
            columns = [name, *(c for c in _names(assignment.expression) if c != name)]
            self._refuse(name, f"generated column {name!r} differs from its expression", batch, differs, columns)

    def _check_not_null(self, f: Field, batch: pa.RecordBatch) -> None:
        column = batch.column(f.name)
        if not f.nullable and column.null_count:
            self._refuse(f.name, f"column {f.name!r} is NOT NULL", batch, pc.is_null(column), batch.schema.names[:6])
        for path, count in missing_values(column, f.type, f.name):
            raise ConstraintViolation(
                f"field {path!r} is NOT NULL: violated by {count} values among the first {self._rows} rows",
                constraint=path,
                count=count,
                rows=[],
            )

    def _refuse(self, name: str, rule: str, batch: pa.RecordBatch, broken: Any, columns: Sequence[str]) -> None:
        count = broken.true_count
        rows = batch.select(list(columns)).filter(broken).slice(0, EXAMPLES).to_pylist()
        shown = ", ".join("{" + ", ".join(f"{k}: {_short(v)}" for k, v in row.items()) + "}" for row in rows)
        raise ConstraintViolation(
            f"{rule}: violated by {count} of the first {self._rows} rows, for example {shown}",
            hint="nothing was written; correct or filter these rows",
            constraint=name,
            count=count,
            rows=rows,
        )


def _names(expression: Any) -> list[str]:
    return sorted({path[0] for path in expression.columns})


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, bytes)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def same_values(left: Any, right: Any) -> Any:
    """SQL's ``<=>`` for two arrays of one type; NaN equals NaN. The mask has no nulls."""
    equal = pc.fill_null(pc.equal(left, right), FALSE)
    same = pc.or_(equal, pc.and_(pc.is_null(left), pc.is_null(right)))
    if pa.types.is_floating(left.type):
        both_nan = pc.and_(pc.fill_null(pc.is_nan(left), FALSE), pc.fill_null(pc.is_nan(right), FALSE))
        same = pc.or_(same, both_nan)
    return same


def missing_values(array: Any, data_type: DataType, path: str) -> Iterator[tuple[str, int]]:
    """Paths inside a column where a value is missing that may not, with how many. A null parent excuses its parts."""
    if not requires_values(data_type):
        return
    if isinstance(data_type, StructType):
        for f, child in zip(data_type.fields, array.flatten(), strict=True):
            here = f"{path}.{f.name}"
            excused = array.null_count
            if not f.nullable and child.null_count > excused:
                yield here, child.null_count - excused
            yield from missing_values(child, f.type, here)
    elif isinstance(data_type, ArrayType):
        elements = array.flatten()
        if not data_type.contains_null and elements.null_count:
            yield f"{path}.element", elements.null_count
        yield from missing_values(elements, data_type.element_type, f"{path}.element")
    elif isinstance(data_type, MapType):
        compact = nested.compact(array)
        if not data_type.value_contains_null and compact.items.null_count:
            yield f"{path}.value", compact.items.null_count
        yield from missing_values(compact.keys, data_type.key_type, f"{path}.key")
        yield from missing_values(compact.items, data_type.value_type, f"{path}.value")
