"""A table as a ``pyarrow.dataset.Dataset``: the door through which DuckDB, polars, DataFusion and ibis push work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from deltalite.exceptions import InvalidArgumentError, UnsupportedTypeError
from deltalite.interop.pushdown import all_of, columns_read, reading_state, reopened, schema_of, translated
from deltalite.interop.scanner import Columns, DeltaScanner
from deltalite.model.arrow import schema_to_arrow, type_from_arrow
from deltalite.model.expr import BoundExpr
from deltalite.model.files import EmptySource, FileSet
from deltalite.model.types import StructType

if TYPE_CHECKING:
    from deltalite.operations.reading import Reading


class DeltaDataset(ds.UnionDataset):
    """One version of a table, read by our own scan: deletion vectors, column mapping and widened types are applied.

    A filter chooses files and row groups by their statistics. Where it has no exact counterpart in our terms, pyarrow
    judges the rows. Every method that would ask the C++ dataset behind this object is replaced here; code that goes
    to that one itself (a union of datasets, the right side of another dataset's join) gets an error.

    :param predicate: which rows the dataset has at all, in any form that :meth:`DeltaTable.scan` takes.
    :param schema: the columns to show and the types to cast them to; the table's own by default.
    :param as_large_types: show text, binary and lists with 64-bit offsets; ``schema`` takes precedence.
    :param pruning: leave out the files in which no row satisfies this predicate, without filtering the others.
    :raises InvalidArgumentError: when ``schema`` names a column that the table lacks.
    """

    keeps: Any = None
    """Something that must live as long as the dataset."""

    def __init__(
        self,
        reading: Reading,
        predicate: Any = None,
        schema: pa.Schema | None = None,
        as_large_types: bool = False,
        pruning: Any = None,
    ) -> None:
        own = reading.snapshot.config.schema
        self._reading = reading
        self._schema = schema_to_arrow(own, large=as_large_types) if schema is None else _known(schema, own)
        self._predicate = reading.bind(predicate)
        self._filter: pc.Expression | None = None
        self._paths: pa.Array | None = None
        if pruning is not None:
            self._paths = reading.plan([], pruning).files.column("path").combine_chunks()
            self._reading = _of_paths(reading, self._paths)
        super().__init__(self._schema, [_unreadable(self._schema)])

    @classmethod
    def _of(cls, attributes: Mapping[str, Any]) -> DeltaDataset:
        dataset = cls.__new__(cls)
        dataset.__dict__.update(attributes)
        ds.UnionDataset.__init__(dataset, dataset._schema, [_unreadable(dataset._schema)])
        return dataset

    def _with(self, **changes: Any) -> DeltaDataset:
        return self._of({**self.__dict__, **changes})

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_reading", "keeps")}
        return _rebuilt, (reading_state(self._reading), state)

    def __repr__(self) -> str:
        return f"DeltaDataset({self._reading.store.root!r}, version={self._reading.snapshot.version})"

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    @property
    def partition_expression(self) -> pc.Expression:
        return pc.scalar(True)

    def scanner(
        self,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> DeltaScanner | ds.Scanner:
        """What to read, as an object with the interface of ``pyarrow.dataset.Scanner``.

        :param columns: names, or expressions under the names that the result gives them.
        :param batch_size: rows of a batch at most.
        :param options: how pyarrow would read ahead; without effect.
        :raises InvalidArgumentError: for an unknown column.
        """
        condition = self._and(filter)
        ours = self._translated(condition)
        left = condition if ours is None else None
        asked = self._schema.names if columns is None else columns
        needed = self._needed(asked, left)
        predicate = all_of(self._predicate, ours)
        found = DeltaScanner(
            lambda size, limit: self._rows(needed, predicate, size, limit),
            self._shown(schema_of(self._reading, needed)),
            asked,
            left,
            batch_size,
            self._schema,
        )
        # write_dataset() calls just so and hands the scanner to C++, which takes none but pyarrow's.
        as_by_write_dataset = columns is None and filter is None and options.keys() == {"use_threads"}
        return ds.Scanner.from_batches(found.to_reader(), **options) if as_by_write_dataset else found

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[DeltaFragment]:
        """One fragment for every data file that may hold rows that satisfy the filter."""
        condition = all_of(self._predicate, self._translated(self._and(filter)))
        paths = self._reading.plan([], condition).files.column("path").combine_chunks()
        chosen = self._reading if len(paths) == self._reading.snapshot.files.count else _of_paths(self._reading, paths)
        for i in range(len(paths)):
            one = _of_files(chosen, lambda files, i=i: files.slice(i, 1))
            yield DeltaFragment(self._with(_reading=one, _paths=paths.slice(i, 1)))

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """How many rows there are, from metadata alone where that is exact."""
        condition = self._and(filter)
        ours = self._translated(condition)
        if condition is None or ours is not None:
            return self._reading.count(all_of(self._predicate, ours))
        return self.scanner([], filter).count_rows()

    def filter(self, expression: pc.Expression) -> DeltaDataset:
        """The dataset with only the rows that satisfy the expression too."""
        return self._with(_filter=self._and(expression))

    def replace_schema(self, schema: pa.Schema) -> DeltaDataset:
        """The dataset with these columns, cast to these types."""
        return self._with(_schema=_known(schema, self._reading.snapshot.config.schema))

    def sort_by(self, sorting: Any, **options: Any) -> ds.InMemoryDataset:
        return ds.InMemoryDataset(self.to_table().sort_by(sorting, **options))

    def join(self, right_dataset: ds.Dataset, *args: Any, **options: Any) -> ds.InMemoryDataset:
        return _in_memory(self).join(_in_memory(right_dataset), *args, **options)

    def join_asof(self, right_dataset: ds.Dataset, *args: Any, **options: Any) -> ds.InMemoryDataset:
        return _in_memory(self).join_asof(_in_memory(right_dataset), *args, **options)

    # -- how rows are read ---------------------------------------------------------------------------------------

    def _rows(
        self, columns: list[str], predicate: BoundExpr | None, batch_size: int | None, limit: int | None
    ) -> pa.RecordBatchReader:
        """Rows of the table under the dataset's schema."""
        rows = self._reading.scan(columns, predicate, batch_size=batch_size, limit=limit)
        shown = self._shown(rows.schema)
        return rows if rows.schema.equals(shown) else pa.RecordBatchReader.from_batches(shown, _cast(rows, shown))

    def _shown(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([self._schema.field(f.name) if f.name in self._schema.names else f for f in schema])

    def _translated(self, condition: pc.Expression | None) -> BoundExpr | None:
        """A filter in our terms, as far as the columns it names are shown under the types that our terms speak of."""
        own = self._reading.snapshot.config.schema
        same = [f for f in own.fields if f.name in self._schema.names and _holds(self._schema, f)]
        return translated(condition, StructType(same))

    def _needed(self, columns: Sequence[str] | Mapping[str, pc.Expression], condition: Any) -> list[str]:
        """The columns to read: those of the projection, and those of a filter that pyarrow judges."""
        own = self._reading.snapshot.config.schema
        names = set(columns)
        if isinstance(columns, Mapping):
            names = set().union(*(columns_read(expression, own) for expression in columns.values()))
        if condition is not None:
            names |= columns_read(condition, own)
        return [n for n in self._schema.names if n in names] + sorted(names - set(own.names))

    def _and(self, filter: pc.Expression | None) -> pc.Expression | None:
        if filter is None or self._filter is None:
            return self._filter if filter is None else filter
        return self._filter & filter


class DeltaFragment:
    """One data file of a :class:`DeltaDataset`, as far as engines that read by fragments (DataFusion) ask."""

    partition_expression = pc.scalar(True)

    def __init__(self, dataset: DeltaDataset) -> None:
        self._dataset = dataset

    @property
    def path(self) -> str:
        """The file as the log names it."""
        return self._dataset._paths[0].as_py()  # type: ignore[index]

    @property
    def physical_schema(self) -> pa.Schema:
        return self._dataset.schema

    def scanner(
        self,
        schema: pa.Schema | None = None,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> DeltaScanner:
        """What to read of the file; arguments are those of :meth:`DeltaDataset.scanner`.

        :param schema: the columns to show and their types, as in :class:`DeltaDataset`.
        """
        dataset = self._dataset if schema is None else self._dataset.replace_schema(schema)
        return dataset.scanner(columns, filter, batch_size)  # type: ignore[return-value]

    def to_batches(self, schema: pa.Schema | None = None, **arguments: Any) -> Iterator[pa.RecordBatch]:
        return self.scanner(schema, **arguments).to_batches()

    def to_table(self, schema: pa.Schema | None = None, **arguments: Any) -> pa.Table:
        return self.scanner(schema, **arguments).to_table()

    def head(self, num_rows: int, **arguments: Any) -> pa.Table:
        return self.scanner(**arguments).head(num_rows)

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        return self._dataset.count_rows(filter)


def _rebuilt(state: tuple[Any, ...], attributes: dict[str, Any]) -> DeltaDataset:
    reading, paths = reopened(*state), attributes["_paths"]
    return DeltaDataset._of({**attributes, "_reading": reading if paths is None else _of_paths(reading, paths)})


def _unreadable(schema: pa.Schema) -> ds.Dataset:
    """What C++ finds when it reads a dataset of ours itself: a file whose missing tells what to do."""
    parquet, place = ds.ParquetFileFormat(), pyarrow.fs.LocalFileSystem()
    fragment = parquet.make_fragment("a DeltaDataset is read by its own methods; pass its to_table() here", place)
    return ds.FileSystemDataset([fragment], schema, parquet, place)


# -- some files of a version -----------------------------------------------------------------------------------------


class _FewFiles:
    """Some files of a file set, as the base of another one."""

    parsed_columns: frozenset[str] = frozenset()

    def __init__(self, files: FileSet, choose: Callable[[pa.Table], pa.Table]) -> None:
        self._files = files
        self._choose = choose

    def adds(self, columns: Sequence[str]) -> pa.Table:
        return self._choose(self._files.table(columns))

    def tombstones(self) -> pa.Table:
        return EmptySource().tombstones()

    def parse(self, column: str, adds: pa.Table) -> pa.ChunkedArray:
        raise KeyError(column)

    def leaf(self, path: tuple[str, ...]) -> pa.ChunkedArray | None:
        return None


def _of_files(reading: Reading, choose: Callable[[pa.Table], pa.Table]) -> Reading:
    source = _FewFiles(reading.snapshot.files, choose)
    return replace(reading, snapshot=replace(reading.snapshot, files=FileSet(lambda: (source, ()))))


def _of_paths(reading: Reading, paths: pa.Array) -> Reading:
    chosen = pc.is_in(reading.snapshot.files.table(["path"]).column("path"), value_set=paths)
    return _of_files(reading, lambda files: files.filter(chosen))


# -- schemas ---------------------------------------------------------------------------------------------------------


def _cast(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _in_memory(dataset: ds.Dataset) -> ds.Dataset:
    return ds.InMemoryDataset(dataset.to_table()) if isinstance(dataset, DeltaDataset) else dataset


def _known(schema: pa.Schema, own: StructType) -> pa.Schema:
    missing = [name for name in schema.names if name not in own.names]
    if missing:
        raise InvalidArgumentError(
            f"the table has no columns {missing}", hint=f"the columns are {', '.join(own.names)}", columns=missing
        )
    return schema


def _holds(shown: pa.Schema, field: Any) -> bool:
    try:
        return type_from_arrow(shown.field(field.name).type) == field.type
    except UnsupportedTypeError:
        return False
