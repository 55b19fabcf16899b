"""Row ids and commit versions as virtual columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from feature_tables import read_file

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.file import inline
from deltalite.model.types import Field, Schema

ENABLED = {
    "delta.enableRowTracking": "true",
    "delta.rowTracking.materializedRowIdColumnName": "_row-id-col-1",
    "delta.rowTracking.materializedRowCommitVersionColumnName": "_row-commit-version-col-1",
}
SCHEMA = Schema([Field("a", "long")])
IDS = ("_row_id", "_row_commit_version")


def read(data, configuration=ENABLED, virtual=IDS, **kwargs):
    found = read_file(data, schema=SCHEMA, configuration=configuration, virtual=virtual, **kwargs)
    return {name: found.column(name).to_pylist() for name in found.column_names}


@pytest.mark.trap(63)
def test_trap_63_ids_are_base_plus_position_and_deleted_rows_count():
    data = pa.table({"a": [10, 11, 12, 13]})
    vector = inline(RowPositions.of([1]))
    for rows in (1, 2, 10):
        found = read(
            data,
            base_row_id=100,
            default_row_commit_version=7,
            deletion_vector=vector,
            parquet={"row_group_size": rows},
        )
        assert found == {"a": [10, 12, 13], "_row_id": [100, 102, 103], "_row_commit_version": [7, 7, 7]}
    found = read(data, base_row_id=100, default_row_commit_version=7, predicate="a > 11", parquet={"row_group_size": 1})
    assert found["_row_id"] == [102, 103]


@pytest.mark.trap(63)
def test_trap_63_what_the_file_stores_wins():
    data = pa.table(
        {
            "a": [1, 2, 3],
            "_row-id-col-1": [5, None, 9],
            "_row-commit-version-col-1": pa.array([None, 3, None], pa.int64()),
        }
    )
    found = read(data, base_row_id=100, default_row_commit_version=7)
    assert found == {"a": [1, 2, 3], "_row_id": [5, 101, 9], "_row_commit_version": [7, 3, 7]}
    assert read(data, base_row_id=100, default_row_commit_version=7, columns=[])["_row_id"] == [5, 101, 9]


def test_whole_columns_need_no_base():
    data = pa.table({"a": [1], "_row-id-col-1": [5], "_row-commit-version-col-1": [3]})
    assert read(data) == {"a": [1], "_row_id": [5], "_row_commit_version": [3]}


def test_a_missing_base_is_an_error_not_a_null():
    with pytest.raises(InvalidTableError, match="_row_id"):
        read(pa.table({"a": [1]}))


@pytest.mark.parametrize("configuration", [{}, {"delta.enableRowTracking": "false"}])
def test_tables_that_do_not_promise_ids_have_no_such_column(configuration):
    with pytest.raises(InvalidArgumentError, match="no column '_row_id'"):
        read(pa.table({"a": [1]}), configuration, base_row_id=5)


def test_a_column_of_the_table_by_that_name_wins():
    found = read_file(
        pa.table({"_row_id": [1]}), schema=Schema([Field("_row_id", "long")]), configuration=ENABLED, virtual=()
    )
    assert found.to_pylist() == [{"_row_id": 1}]
