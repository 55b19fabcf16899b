"""Which rows of files with deletion vectors are live, for engines that read the files themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from deltalite.exceptions import InvalidTableError
from deltalite.features.base import Fetch
from deltalite.features.deletion_vectors import load
from deltalite.model.actions import AddFile
from deltalite.model.arrow import array, mask_array
from deltalite.model.paths import encode_path, is_absolute
from deltalite.model.snapshot import Snapshot
from deltalite.operations.footers import row_count
from deltalite.scan.paths import Resolve
from deltalite.storage.base import Store
from deltalite.storage.urls import split_url

SCHEMA = pa.schema(
    [
        pa.field("filepath", pa.string(), False),
        pa.field("selection_vector", pa.list_(pa.field("item", pa.bool_(), False)), False),
    ]
)


def selections(store: Store, snapshot: Snapshot, resolve: Resolve) -> pa.RecordBatchReader:
    """One batch for each file that has a deletion vector, in the order of the log; read as the batches are taken.

    ``selection_vector`` has an element for every row of the file, false where the row is deleted.
    """
    marked = snapshot.files.table(["deletionVector"]).column("deletionVector").is_valid()
    files = snapshot.files.add_files(marked)
    batches = (_selection(store, add, resolve) for add in files if add.deletion_vector is not None)
    return pa.RecordBatchReader.from_batches(SCHEMA, batches)


def fetch_from(resolve: Resolve) -> Fetch:
    """Reads bytes of files beside the data files."""

    def fetch(uri: str, offset: int, length: int) -> bytes:
        store, path = resolve(uri)
        return store.get_range(path, offset, length)

    return fetch


def _selection(store: Store, add: AddFile, resolve: Resolve) -> pa.RecordBatch:
    assert add.deletion_vector is not None
    gone = load(add.deletion_vector, fetch_from(resolve))
    rows = row_count(add, resolve)
    if gone.last >= rows:
        raise InvalidTableError(f"the deletion vector of {add.path} marks row {gone.last} of {rows}", path=add.path)
    live = np.ones(rows, dtype=bool)
    live[gone.to_numpy()] = False
    offsets = pa.py_buffer(np.array([0, len(live)], np.int32).tobytes())
    vector = pa.Array.from_buffers(SCHEMA.field(1).type, 1, [None, offsets], 0, children=[mask_array(live)])
    return pa.RecordBatch.from_arrays([array([_uri(store, add.path)], pa.string()), vector], schema=SCHEMA)


def _uri(store: Store, uri: str) -> str:
    """The URI of a file, percent-encoded as a URL is."""
    if is_absolute(uri):
        return uri
    place = split_url(store.root)
    root = f"file://{encode_path(place.path)}" if place.scheme == "file" else place.url
    return f"{root.rstrip('/')}/{uri}"
