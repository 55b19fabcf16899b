"""Deletion vectors: the bytes of the set, where they lie, and rows that scans no longer see."""

from __future__ import annotations

import io
import struct
import uuid
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap, BitMap64

from deltalite.exceptions import InvalidTableError, UnsafePathError
from deltalite.features.deletion_vectors import RowPositions, load
from deltalite.features.deletion_vectors.bitmap import NATIVE_MAGIC, decode, encode
from deltalite.features.deletion_vectors.file import file_of, inline, uri_of, z85_decode, z85_encode
from deltalite.model.actions import DeletionVector

SPEC_INLINE = "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"


def no_fetch(uri, offset, length):
    raise AssertionError("an inline vector needs no file")


def fetch_from(data: bytes):
    def fetch(uri, offset, length):
        if offset + length > len(data):
            raise InvalidTableError(f"{uri} is too short")
        return data[offset : offset + length]

    return fetch


positions = st.sets(
    st.one_of(st.integers(0, 200_000), st.integers(2**32 - 3, 2**32 + 3), st.integers(0, 2**40)), max_size=60
)


@settings(deadline=None)
@given(positions, st.booleans())
def test_portable_format_round_trips_and_is_what_pyroaring_writes(rows, runs):
    found = decode(encode(RowPositions.of(sorted(rows))))
    assert set(found.to_numpy().tolist()) == rows if rows else len(found) == 0
    theirs = BitMap64(rows)
    if runs:
        theirs.run_optimize() if hasattr(theirs, "run_optimize") else None
    assert decode(struct.pack("<I", 1681511377) + theirs.serialize()) == RowPositions(theirs)


@settings(deadline=None)
@given(st.sets(st.integers(0, 100_000), max_size=40), st.sets(st.integers(0, 50), max_size=9), st.sampled_from("<>"))
def test_native_format_is_read_in_either_byte_order(low, high, order):
    parts = [BitMap(low).serialize(), BitMap().serialize(), BitMap(high).serialize()]
    body = b"".join(struct.pack(f"{order}I", len(p)) + p for p in parts)
    data = struct.pack(f"{order}I", NATIVE_MAGIC) + struct.pack(f"{order}I", len(parts)) + body
    expected = sorted(low | {(2 << 32) + v for v in high})
    assert list(decode(data)._bitmap) == expected


@pytest.mark.trap(36)
@pytest.mark.spec("Deletion Vectors")
def test_trap_36_the_inline_sample_of_the_specification():
    vector = DeletionVector("i", SPEC_INLINE, 40, 6)
    assert load(vector, no_fetch).to_numpy().tolist() == [3, 4, 7, 11, 18, 29]


@pytest.mark.trap(34)
def test_trap_34_a_file_with_the_known_checksum():
    path, data, (vector,) = file_of([RowPositions.of([0, 9])], uuid.UUID("61d16c75-6994-46b7-a15b-8b538852e50e"))
    assert path == "deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin"
    assert (len(data), data[0], data[1:5], vector.size_in_bytes, vector.offset) == (45, 1, b"\0\0\0\x24", 36, 1)
    assert data[-4:] == (0x2A671846).to_bytes(4, "big")
    assert load(vector, fetch_from(data)).to_numpy().tolist() == [0, 9]


@pytest.mark.trap(6)
def test_trap_6_the_name_of_the_file_derives_from_the_text():
    vector = DeletionVector("u", "ab^-aqEH.-t@S}K{vb[*k^", 1, 1, 1)
    assert uri_of(vector) == "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    absolute = DeletionVector("p", "s3://mytable/deletion_vector_d2c639aa.bin", 1, 1, 4)
    assert uri_of(absolute) == absolute.path_or_inline_dv
    assert vector.unique_id == "uab^-aqEH.-t@S}K{vb[*k^@1" and uri_of(DeletionVector("i", "", 0, 0)) is None


@given(st.binary(max_size=64).map(lambda b: b[: len(b) // 4 * 4]))
def test_z85_round_trips(data):
    assert z85_decode(z85_encode(data)) == data


def test_z85_sample_of_its_rfc():
    assert z85_encode(bytes.fromhex("864FD26FB559F75B")) == "HelloWorld"


@settings(deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 300_000), min_size=1, max_size=20), min_size=1, max_size=4),
    st.uuids(),
    st.sampled_from(["", "aB"]),
)
def test_several_vectors_share_a_file(sets, file_id, prefix):
    path, data, vectors = file_of([RowPositions.of(sorted(s)) for s in sets], file_id, prefix)
    for rows, vector in zip(sets, vectors, strict=True):
        assert uri_of(vector) == path
        assert set(load(vector, fetch_from(data)).to_numpy().tolist()) == rows


@pytest.mark.bug("F-23")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data):
    _, good, (vector,) = file_of([RowPositions.of(range(5, 70, 3))], uuid.UUID(int=7))
    at = data.draw(st.integers(1, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidTableError):
        load(vector, fetch_from(bytes(bad)))


@pytest.mark.bug("S-07")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_sets_are_refused_or_are_sets(data):
    """Without a checksum to help: whatever the bytes, the result is a set of the promised size or an error."""
    good = bytearray(
        encode(RowPositions.of(data.draw(st.sampled_from([[0, 9], range(70_000), [1, 2**33], range(0, 9000, 2)]))))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, min(len(good), 64) - 1))] = data.draw(st.integers(0, 255))
    bad = bytes(good[: data.draw(st.integers(0, len(good)))]) if data.draw(st.booleans()) else bytes(good)
    try:
        found = decode(bad)
    except ValueError:
        return
    if len(found) < 1_000_000:
        values = found.to_numpy()
        assert len(values) == len(found) and (np.diff(values) > 0).all()


@pytest.mark.bug("S-07")
def test_lies_about_size_and_cardinality_are_refused():
    good = inline(RowPositions.of([1, 2, 3]))
    for lie in (
        DeletionVector("i", good.path_or_inline_dv, good.size_in_bytes, 4),
        DeletionVector("i", good.path_or_inline_dv, 1 << 40, 3),
        DeletionVector("i", good.path_or_inline_dv, -1, 3),
        DeletionVector("i", good.path_or_inline_dv[:-5], good.size_in_bytes, 3),
        DeletionVector("i", "~" * 40, 32, 3),
        DeletionVector("x", good.path_or_inline_dv, good.size_in_bytes, 3, 1),
        DeletionVector("u", "short", 36, 3, 1),
    ):
        with pytest.raises(InvalidTableError):
            load(lie, fetch_from(b"\1" * 100))


def test_trailing_bytes_and_unsorted_buckets_are_refused():
    data = encode(RowPositions.of([1]))
    with pytest.raises(ValueError, match="left over"):
        decode(data + b"\0")
    bucket = BitMap([1]).serialize()
    twice = struct.pack("<IQ", 1681511377, 2) + (struct.pack("<I", 0) + bucket) * 2
    with pytest.raises(ValueError, match="out of order"):
        decode(twice)


def test_sets_behave_like_sets():
    a, b = RowPositions.of([1, 5, 9]), RowPositions.of(np.array([5, 70_000]))
    assert (a | b) == RowPositions.of([1, 5, 9, 70_000]) and (a - b) == RowPositions.of([1, 9])
    assert a.between(2, 9).tolist() == [5] and a.between(6, 9).tolist() == [] and a.last == 9
    assert (
        RowPositions.of([]).last == -1
        and len(RowPositions.of([])) == 0
        and RowPositions.of([]).to_numpy().tolist() == []
    )
    import pickle

    assert pickle.loads(pickle.dumps(b)) == b


def test_crc_is_over_the_data_only():
    _, data, (vector,) = file_of([RowPositions.of([4])], uuid.UUID(int=1))
    body = data[5 : 5 + vector.size_in_bytes]
    assert zlib.crc32(body) == int.from_bytes(data[-4:], "big") and io.BytesIO(body).read(4) == b"\xd1\xd3\x39\x64"


# -- as scans see it -----------------------------------------------------------------------------------------------


@pytest.fixture
def scan():
    """Reads a one-file table of ids 0..n-1 through a deletion vector."""
    from feature_tables import read_file

    def run(vector, rows=10, store=None, **kwargs):
        return read_file(pa.table({"id": np.arange(rows)}), deletion_vector=vector, store=store, **kwargs)

    return run


@pytest.mark.trap(38)
@pytest.mark.bug("T-32")
@pytest.mark.parametrize("row_group_size", [1, 3, 4, 100])
@pytest.mark.parametrize("predicate", [None, "id >= 5", "id in (0, 9)", "_row_index = 9"])
def test_first_and_last_rows_of_files_and_row_groups(scan, row_group_size, predicate):
    gone = [0, 2, 3, 9]
    found = scan(inline(RowPositions.of(gone)), predicate=predicate, parquet={"row_group_size": row_group_size})
    holds = {None: lambda i: True, "id >= 5": lambda i: i >= 5, "id in (0, 9)": lambda i: i in (0, 9)}.get(
        predicate, lambda i: i == 9
    )
    assert found.column("id").to_pylist() == [i for i in range(10) if i not in gone and holds(i)]
    assert found.column("_row_index").to_pylist() == found.column("id").to_pylist()


def test_a_predicate_never_sees_deleted_rows(scan):
    assert scan(inline(RowPositions.of([3])), predicate="10 / (id - 3) > 100").num_rows == 0


@pytest.mark.bug("S-07")
def test_positions_beyond_the_file_are_refused(scan):
    with pytest.raises(InvalidTableError, match="marks row 10"):
        scan(inline(RowPositions.of([10])))


def test_all_rows_deleted(scan):
    assert scan(inline(RowPositions.of(range(10)))).num_rows == 0


def test_vectors_in_files_relative_and_absolute(scan):
    from feature_tables import memory_store

    store = memory_store()
    path, data, (vector,) = file_of([RowPositions.of([1])], uuid.uuid4(), "zz")
    store.put(path, data)
    assert scan(vector, store=store).num_rows == 9
    inside = DeletionVector("p", f"{store.root}/{path}", vector.size_in_bytes, 1, 1)
    assert scan(inside, store=store).num_rows == 9
    outside = DeletionVector("p", "file:///etc/passwd", vector.size_in_bytes, 1, 1)
    with pytest.raises(UnsafePathError):
        scan(outside, store=store)
    store.delete_many([path])
    with pytest.raises(InvalidTableError, match="missing"):
        scan(vector, store=store)


@pytest.mark.trap(31)
@pytest.mark.bug("T-36")
def test_trap_31_honoured_though_the_property_is_off(scan):
    assert scan(inline(RowPositions.of([1])), configuration={"delta.enableDeletionVectors": "false"}).num_rows == 9


@pytest.mark.bug("T-33")
def test_with_a_partition_column(scan):
    found = scan(inline(RowPositions.of([1])), partition={"p": "x"}, predicate="p = 'x'")
    assert found.num_rows == 9 and found.column("p").to_pylist() == ["x"] * 9
