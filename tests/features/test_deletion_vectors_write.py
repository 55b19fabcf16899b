"""Deletion vectors as they are written: where they lie, the add actions that carry them, and rows that are gone."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from committed_tables import append, create, delete, land, memory_store, records, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite import features
from deltalite.exceptions import InvalidTableError
from deltalite.features.deletion_vectors import RowPositions, RowRemover, load, marked
from deltalite.features.deletion_vectors.bitmap import encode
from deltalite.features.deletion_vectors.file import inline
from deltalite.model.actions import AddFile, DeletionVector, RemoveFile
from deltalite.model.files import remove_of
from deltalite.model.types import Field
from deltalite.storage.open import open_store

ENABLED = {"delta.enableDeletionVectors": "true"}
ADD = AddFile("f.parquet", {"p": "1"}, 10, 77, False, None, {"k": "v"}, None, 5, 3, "liquid")

position_sets = st.lists(
    st.one_of(
        st.sets(st.integers(0, 300_000), min_size=1, max_size=200).map(sorted),
        st.tuples(st.integers(0, 100_000), st.integers(1, 200_000)).map(lambda r: range(r[0], r[0] + r[1])),
    ),
    max_size=8,
)


def stored(vectors, **limits) -> tuple[list[DeletionVector], dict[str, bytes]]:
    files: dict[str, bytes] = {}
    found = RowRemover(**limits).write(vectors, uuid.uuid4(), files.__setitem__)
    return found, files


# -- where vectors lie -----------------------------------------------------------------------------------------------


@pytest.mark.trap(6)
@pytest.mark.trap(34)
@settings(deadline=None, max_examples=60)
@given(position_sets, st.integers(0, 700), st.integers(0, 3000))
def test_trap_34_every_descriptor_leads_to_its_rows(sets, characters: int, packed: int) -> None:
    vectors = [RowPositions.of(rows) for rows in sets]
    found, files = stored(vectors, inline_characters=characters, packed_bytes=packed)
    assert len(found) == len(vectors)
    for rows_gone, vector in zip(vectors, found, strict=True):
        assert load(vector, lambda uri, at, size: files[uri][at : at + size]) == rows_gone
        assert vector.cardinality == len(rows_gone) and vector.size_in_bytes == len(encode(rows_gone))
        is_small = len(inline(rows_gone).path_or_inline_dv) <= characters
        assert vector.storage_type == ("i" if is_small else "u")
        assert (vector.offset is None) == is_small
    in_files = [v for v in found if v.storage_type == "u"]
    assert len({v.unique_id for v in in_files}) == len(in_files)
    assert sum(len(data) - 1 for data in files.values()) == sum(v.size_in_bytes + 8 for v in in_files)
    for data in files.values():
        assert data[0] == 1 and (len(data) - 9 <= packed or data[1:5] == (len(data) - 9).to_bytes(4, "big"))


def test_vectors_of_a_commit_share_one_file() -> None:
    scattered = [RowPositions.of(np.arange(i, 60_000, 37)) for i in range(20)]
    found, files = stored(scattered)
    assert len(files) == 1 and [v.offset for v in found][0] == 1
    assert not stored([RowPositions.of([1])])[1] and not stored([])[1]


def test_runs_of_rows_are_stored_as_runs_however_they_came_together() -> None:
    together = RowPositions.of(range(0, 400_000, 2)) | RowPositions.of(range(1, 400_000, 2))
    (vector,), _ = stored([together])
    assert vector.storage_type == "i" and vector.cardinality == 400_000
    assert together == RowPositions.of(range(400_000))


# -- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.trap(31)
def test_trap_31_new_vectors_only_where_the_property_asks_for_them() -> None:
    columns = Field("x", "long")
    assert features.remove_rows(create(memory_store(), columns).config) is None
    supported = create(memory_store(), columns, properties={"delta.feature.deletionVectors": "supported"})
    assert features.remove_rows(supported.config) is None
    assert features.remove_rows(create(memory_store(), columns, properties=ENABLED).config) == RowRemover()


@given(st.integers(1, 10**9), st.integers(1, 10**7), st.data())
def test_the_more_rows_are_gone_the_sooner_a_file_is_rewritten(size: int, count: int, data) -> None:
    fewer, more = sorted(data.draw(st.lists(st.integers(0, count), min_size=2, max_size=2)))
    prefers = RowRemover().prefers_vector
    assert prefers(size, count, 0, fewer) or not prefers(size, count, 0, more)
    assert prefers(size, count, 0, 0) and not prefers(size, count, 0, count)


# -- the add action --------------------------------------------------------------------------------------------------

_NUMBERS = st.one_of(
    st.integers(-(10**40), 10**40),
    st.decimals(allow_nan=False, allow_infinity=False, places=9).map(lambda d: Number(f"{d:f}")),
    st.sampled_from(["1e400", "1E-7", "-0.0", "0.10", "123456789012345678901234567890.10"]).map(lambda t: Number(t)),
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.text(), st.booleans(), _NUMBERS),
    lambda inner: st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Number(str):
    """The text of a JSON number."""


def dumped(value, space: str = "") -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(k)}{space}:{space}{dumped(v, space)}" for k, v in value.items())
        return "{" + space + f"{space},{space}".join(members) + space + "}"
    return json.dumps(value)


def exact(text: str):
    return json.loads(text, parse_float=Decimal)


@pytest.mark.trap(39)
@pytest.mark.trap(46)
@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["numRecords", "tightBounds", "minValues", "nullCount", 'odd "key"\n']), _VALUES),
    st.sampled_from(["", " ", "\n\t "]),
    st.integers(0, 2**62),
)
def test_trap_39_statistics_keep_every_digit_and_lose_their_tightness(stats, space: str, count: int) -> None:
    text = space + dumped(stats, space) + space
    found = marked(AddFile("f", {}, 1, 1, True, text), DeletionVector("i", "", 0, 0), count).stats
    before, after = exact(text), exact(found)
    assert after == {**before, "numRecords": count, "tightBounds": False}
    assert found.startswith(f'{{"numRecords":{count},')
    for number in (v for v in stats.values() if isinstance(v, Number)):
        assert str(number) in found or number in (stats.get("numRecords"), stats.get("tightBounds"))


@pytest.mark.trap(37)
@pytest.mark.parametrize("stats", [None, "", "null", "[1]", "{", '{"numRecords":', "{}", '{"a":1}x'])
def test_trap_37_absent_or_damaged_statistics_become_the_number_of_rows(stats: str | None) -> None:
    found = marked(AddFile("f", {}, 1, 1, True, stats), inline(RowPositions.of([0])), 3)
    assert found.stats == '{"numRecords":3,"tightBounds":false}'


def test_everything_else_of_the_file_stays() -> None:
    vector = inline(RowPositions.of([1, 4]))
    found = marked(ADD, vector, 5)
    assert (found.deletion_vector, found.data_change) == (vector, True)
    for name in ("path", "partition_values", "size", "modification_time", "tags", "base_row_id",
                 "default_row_commit_version", "clustering_provider"):  # fmt: skip
        assert getattr(found, name) == getattr(ADD, name)


def test_a_vector_marks_no_more_rows_than_there_are() -> None:
    with pytest.raises(InvalidTableError, match="it has 1"):
        marked(ADD, inline(RowPositions.of([0, 1])), 1)


# -- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.trap(15)
@pytest.mark.trap(17)
@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.lists(st.integers(2, 9), min_size=1, max_size=3),
    st.sampled_from([0, 50, 500]),
)
def test_trap_17_rows_that_were_marked_are_gone_and_versions_before_still_have_them(sizes, steps, characters) -> None:
    store = memory_store()
    base = create(store, Field("x", "long"), properties={**ENABLED, "delta.enableRowTracking": "true"})
    model: list[list[int]] = []
    start = 0
    for size in sizes:
        base = append(store, base, pa.table({"x": pa.array(range(start, start + size), pa.int64())}))
        model.append(list(range(start, start + size)))
        start += size
    versions = {base.version: sorted(x for file in model for x in file)}
    gone: list[set[int]] = [set() for _ in model]
    for step in steps:
        base = delete(store, base, lambda add, step=step: range(0, records(add), step), inline_characters=characters)
        gone = [g | set(range(0, len(file), step)) for g, file in zip(gone, model, strict=True)]
        versions[base.version] = sorted(
            x for g, file in zip(gone, model, strict=True) for i, x in enumerate(file) if i not in g
        )
    for version, expected in versions.items():
        found = rows(store, "_row_id", version=version)
        assert sorted(row["x"] for row in found) == expected
        assert all(row["x"] == row["_row_id"] for row in found)  # base row ids were kept


def test_a_remove_names_the_vector_that_it_cancels() -> None:
    store = memory_store()
    base = append(store, create(store, Field("x", "long"), properties=ENABLED), pa.table({"x": [1, 2, 3]}))
    base = delete(store, base, lambda add: [0])
    (add,) = base.files.add_files()
    assert remove_of(add, 1).deletion_vector == add.deletion_vector
    after = land(store, base, [remove_of(add, 1)]).snapshot
    assert rows(store) == [] and after.files.table().num_rows == 0
    assert isinstance(remove_of(add, 1), RemoveFile)


@pytest.mark.parametrize("characters", [0, 500])
def test_deltalake_reads_both_kinds(tmp_path: Path, characters: int) -> None:
    deltalake = pytest.importorskip("deltalake")
    store = open_store(str(tmp_path))
    base = create(store, Field("x", "long"), properties={**ENABLED, "delta.enableRowTracking": "true"})
    base = append(store, base, pa.table({"x": list(range(100))}))
    base = delete(store, base, lambda add: range(0, 100, 3), inline_characters=characters)
    delete(store, base, lambda add: range(1, 100, 9), inline_characters=characters)
    builder = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(tmp_path))
    theirs = pa.table(builder.execute("select x from t order by x").read_all())
    assert theirs.column("x").to_pylist() == sorted(row["x"] for row in rows(store))
