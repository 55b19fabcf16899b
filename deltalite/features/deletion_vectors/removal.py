"""How rows leave a file without the file being rewritten: new vectors, and the add actions that carry them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from deltalite.exceptions import InvalidTableError
from deltalite.features.deletion_vectors.bitmap import RowPositions
from deltalite.features.deletion_vectors.file import file_of, inline, inline_size
from deltalite.model.actions import AddFile, DeletionVector
from deltalite.model.config import TableConfig
from deltalite.model.properties import DELETION_VECTORS
from deltalite.model.stats import ROWS, TIGHT

INLINE_CHARACTERS = 500
PACKED_BYTES = 16 << 20
FRAME_BYTES = 8  # of a vector in a file: its length and its checksum
LEAST_LIVE_SHARE = 0.5  # measured, as the limit of inline vectors is: docs/decisions/007-vector-or-rewrite.md
_JSON = json.JSONDecoder()
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class RowRemover:
    """Removes rows by marking them.

    :param inline_characters: a vector whose text is at most this long lies in the log itself.
    :param packed_bytes: a file of vectors that has grown to this size is followed by another one.
    :param least_live_share: the share of live rows below which rewriting a file is cheaper.
    """

    inline_characters: int = INLINE_CHARACTERS
    packed_bytes: int = PACKED_BYTES
    least_live_share: float = LEAST_LIVE_SHARE

    def prefers_vector(self, size_bytes: int, num_records: int, gone_before: int, gone_after: int) -> bool:
        """Whether marking rows is cheaper than writing the survivors anew, later scans included.

        Only the share of live rows decides: cost and gain of rewriting both grow with the size of the file, and it
        frees the file from all gone rows, whenever they went.

        :param size_bytes: of the data file.
        :param num_records: rows of the file, gone ones included.
        :param gone_before: rows that its present vector marks.
        :param gone_after: rows that are to be marked.
        """
        return num_records - gone_after >= self.least_live_share * num_records

    def write(
        self, vectors: Sequence[RowPositions], file_id: uuid.UUID, put: Callable[[str, bytes], None]
    ) -> list[DeletionVector]:
        """Store sets of positions: small ones in their descriptors, the others together in files of their own.

        :param file_id: a fresh random id, from which the names of files derive.
        :param put: called with the path of a file, relative to the table and not percent-encoded, and its bytes.
        :return: the descriptors, in parallel.
        """
        sizes = [inline_size(rows) for rows in vectors]
        large = [i for i, (_, characters) in enumerate(sizes) if characters > self.inline_characters]
        found = {i: inline(vectors[i]) for i in set(range(len(vectors))).difference(large)}
        for number, pack in enumerate(self._packs(large, [stored for stored, _ in sizes])):
            name = file_id if number == 0 else uuid.uuid5(file_id, str(number))
            path, data, stored = file_of([vectors[i] for i in pack], name)
            put(path, data)
            for i, vector in zip(pack, stored, strict=True):
                found[i] = vector
        return [found[i] for i in range(len(vectors))]

    def _packs(self, large: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
        pack: list[int] = []
        total = 0
        for i in large:
            framed = sizes[i] + FRAME_BYTES
            if pack and total + framed > self.packed_bytes:
                yield pack
                pack, total = [], 0
            pack.append(i)
            total += framed
        if pack:
            yield pack


def remover(config: TableConfig) -> RowRemover | None:
    """New vectors are for tables that ask for them; old ones are honoured anyway (protocol trap 31)."""
    return RowRemover() if config.get(DELETION_VECTORS) else None


def marked(add: AddFile, vector: DeletionVector, num_records: int) -> AddFile:
    """The same file read through another vector; a change of data.

    Bounds stay, but they are no longer tight, and the number of rows is there (PROTOCOL.md, "Per-file Statistics";
    protocol traps 37 and 39). Row ids, tags and times are those of the file.

    :param num_records: rows of the file, gone ones included.
    :raises InvalidTableError: when the vector marks more rows than there are.
    """
    if vector.cardinality > num_records:
        raise InvalidTableError(
            f"{vector.cardinality} rows of {add.path} are to be marked, it has {num_records}", path=add.path
        )
    return replace(add, deletion_vector=vector, stats=wide_stats(add.stats, num_records), data_change=True)


def wide_stats(stats: str | None, num_records: int) -> str:
    """Statistics with another number of rows and bounds that are not tight; every other digit stays as it is."""
    try:
        kept = [(k, v) for k, v in _members(stats or "{}") if k not in (ROWS, TIGHT)]
    except (ValueError, IndexError, RecursionError):
        kept = []
    members = ((ROWS, str(num_records)), *kept, (TIGHT, "false"))
    return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{value}" for key, value in members) + "}"


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of a JSON object, values as they are spelled.

    :raises ValueError: when it is none.
    """
    if not isinstance(_JSON.decode(text), dict):
        raise ValueError("no object")
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "}":
        key, at = _JSON.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)
        _, at = _JSON.raw_decode(text, start)
        yield key, text[start:at]
        at = _after_space(text, at)
        at = _after_space(text, at + 1) if text[at] == "," else at


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
