"""GENERATE: for engines that read Parquet files by lists of paths, a list for each partition.

The lists lie in ``_symlink_format_manifest``, in directories of the partitions, and are as of one version.
"""

from __future__ import annotations

from deltalite.exceptions import UnsupportedFeatureError
from deltalite.features import partition_keys
from deltalite.model.file_actions import add_files
from deltalite.model.partition import directory
from deltalite.model.paths import is_absolute, relative_path
from deltalite.model.snapshot import Snapshot
from deltalite.storage.base import Store
from deltalite.storage.urls import split_url

FOLDER, NAME = "_symlink_format_manifest", "manifest"


def generate(store: Store, snapshot: Snapshot) -> list[str]:
    """Write the lists, and delete those of partitions that are gone; the paths of the lists.

    :raises UnsupportedFeatureError: the table has deletion vectors, which such engines would not honour.
    """
    files = snapshot.files.table(["path", "partitionValues", "deletionVector"])
    marked = files.num_rows - files.column("deletionVector").null_count
    if marked:
        raise UnsupportedFeatureError(
            f"{marked} files have rows that a deletion vector marks; a manifest names files alone, and whoever "
            "reads them by it would see these rows",
            hint="optimize.purge() rewrites such files",
            features=["deletionVectors"],
        )
    config = snapshot.config
    names = dict(zip(partition_keys(config), config.partition_columns, strict=True))
    lists: dict[str, list[str]] = {} if names else {_path(""): []}
    for add in add_files(snapshot.files.table()):
        values = {names[key]: value for key, value in add.partition_values.items() if key in names}
        lists.setdefault(_path(directory(list(names.values()), values)), []).append(place_of(store, add.path))
    for path, places in lists.items():
        store.put(path, "".join(f"{place}\n" for place in places).encode(), durable=False)
    old = [f.path for f in store.list_all(FOLDER + "/") if f.path.endswith(f"/{NAME}") and f.path not in lists]
    store.delete_many(old)
    return sorted(lists)


def _path(partition: str) -> str:
    return "/".join(filter(None, (FOLDER, partition, NAME)))


def place_of(store: Store, uri: str) -> str:
    """Where a file of the log is: an absolute path or a URL, not percent-encoded."""
    if is_absolute(uri):
        return split_url(uri).url
    return f"{split_url(store.root).url.rstrip('/')}/{relative_path(uri)}"
