"""Where the bytes of deletion vectors lie: inline in the log, or in files of their own.

PROTOCOL.md, "Deletion Vector Descriptor Schema" and "Deletion Vector File Storage Format". A file is one byte of
version, then for each vector its length, its bytes and their CRC-32, both numbers big-endian.
"""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from collections.abc import Sequence

from deltalite.exceptions import InvalidTableError
from deltalite.features.base import Fetch
from deltalite.features.deletion_vectors.bitmap import MAX_BYTES, RowPositions, decode, encode
from deltalite.model.actions import DeletionVector
from deltalite.model.paths import encode_path

FILE_VERSION = 1
INLINE, RELATIVE, ABSOLUTE = "i", "u", "p"
_UUID_CHARS = 20

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_RFC1924 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_FROM_Z85 = str.maketrans(_Z85, _RFC1924)
_TO_Z85 = str.maketrans(_RFC1924, _Z85)


def z85_encode(data: bytes) -> str:
    """Text of bytes whose number is a multiple of four (ZeroMQ RFC 32)."""
    return base64.b85encode(data).decode().translate(_TO_Z85)


def z85_decode(text: str) -> bytes:
    """:raises InvalidTableError: when the text is no Z85."""
    try:
        if len(text) % 5 or not set(text) <= set(_Z85):
            raise ValueError
        return base64.b85decode(text.translate(_FROM_Z85))
    except ValueError:
        raise InvalidTableError(f"a deletion vector's text is not Z85: {text[:40]!r}") from None


def uri_of(vector: DeletionVector) -> str | None:
    """The file of a vector, spelled like the path of an action; ``None`` for an inline one (protocol trap 6)."""
    if vector.storage_type == INLINE:
        return None
    if vector.storage_type == ABSOLUTE:
        return vector.path_or_inline_dv
    if vector.storage_type != RELATIVE or len(vector.path_or_inline_dv) < _UUID_CHARS:
        raise InvalidTableError(
            f"the place of a deletion vector is unknown: {vector.storage_type!r} {vector.path_or_inline_dv[:60]!r}"
        )
    prefix, encoded = vector.path_or_inline_dv[:-_UUID_CHARS], vector.path_or_inline_dv[-_UUID_CHARS:]
    name = f"deletion_vector_{uuid.UUID(bytes=z85_decode(encoded))}.bin"
    return encode_path(f"{prefix}/{name}" if prefix else name)


def load(vector: DeletionVector, fetch: Fetch) -> RowPositions:
    """The positions of the deleted rows.

    :raises InvalidTableError: when the bytes are damaged, or hold another number of rows than the descriptor says.
    """
    if not 0 <= vector.size_in_bytes <= MAX_BYTES:
        raise _damaged(vector, f"it claims {vector.size_in_bytes} bytes")
    data = _inline(vector) if vector.storage_type == INLINE else _stored(vector, fetch)
    try:
        positions = decode(data)
    except ValueError as error:
        raise _damaged(vector, str(error)) from error
    if len(positions) != vector.cardinality:
        raise _damaged(vector, f"it holds {len(positions)} rows, the log says {vector.cardinality}")
    return positions


def _inline(vector: DeletionVector) -> bytes:
    data = z85_decode(vector.path_or_inline_dv)
    if not 0 <= len(data) - vector.size_in_bytes < 4:
        raise _damaged(vector, f"it has {len(data)} bytes, the log says {vector.size_in_bytes}")
    return data[: vector.size_in_bytes]


def _stored(vector: DeletionVector, fetch: Fetch) -> bytes:
    offset = 1 if vector.offset is None else vector.offset
    size = vector.size_in_bytes
    framed = fetch(str(uri_of(vector)), offset, size + 8)
    (length,) = struct.unpack_from(">i", framed)
    data = framed[4 : 4 + size]
    (checksum,) = struct.unpack_from(">I", framed, 4 + size)
    if length != size:
        raise _damaged(vector, f"its file says {length} bytes, the log {size}")
    if zlib.crc32(data) != checksum:
        raise _damaged(vector, "its checksum is wrong")
    return data


def _damaged(vector: DeletionVector, why: str) -> InvalidTableError:
    place = "inline" if vector.storage_type == INLINE else uri_of(vector)
    return InvalidTableError(
        f"the deletion vector {place} is damaged: {why}",
        hint="without it nobody can tell which rows are deleted; restore its file from a backup",
        path=place,
    )


# -- writing -------------------------------------------------------------------------------------------------------


def inline_size(positions: RowPositions) -> tuple[int, int]:
    """The bytes of a set, and the characters of its text, which is costly to make."""
    size = len(encode(positions))
    return size, -(-size // 4) * 5


def inline(positions: RowPositions) -> DeletionVector:
    """A descriptor that carries the set itself; for small sets."""
    data = encode(positions)
    text = z85_encode(data + bytes(-len(data) % 4))
    return DeletionVector(INLINE, text, len(data), len(positions))


def file_of(
    vectors: Sequence[RowPositions], file_id: uuid.UUID, prefix: str = ""
) -> tuple[str, bytes, list[DeletionVector]]:
    """Path and bytes of a file that holds some sets, and their descriptors.

    :param file_id: a fresh random id; the file's name derives from it.
    :param prefix: directory of the file, relative to the table.
    """
    place = prefix + z85_encode(file_id.bytes)
    parts, descriptors, at = [bytes([FILE_VERSION])], [], 1
    for positions in vectors:
        data = encode(positions)
        parts.append(struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data)))
        descriptors.append(DeletionVector(RELATIVE, place, len(data), len(positions), offset=at))
        at += len(data) + 8
    path = f"{prefix}/" * bool(prefix) + f"deletion_vector_{file_id}.bin"
    return path, b"".join(parts), descriptors
