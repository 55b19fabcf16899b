"""Tags and registered shallow clones, read and written (see ``model.pins``)."""

from __future__ import annotations

from deltalite.exceptions import StorageError
from deltalite.model.pins import (
    CLONES,
    TAGS,
    Clone,
    Tag,
    clone_file,
    decode_clone,
    decode_tag,
    encode_pin,
    tag_file,
)
from deltalite.storage.base import AmbiguousPut, Store


def read_tags(store: Store) -> list[Tag]:
    """All tags by name.

    :raises InvalidTableError: when one is damaged, naming its file.
    """
    return sorted((decode_tag(*file) for file in _files(store, TAGS)), key=lambda tag: tag.name)


def read_tag(store: Store, name: str) -> Tag | None:
    """One tag, ``None`` when there is none of this name."""
    path = tag_file(name)
    try:
        found = decode_tag(store.get(path), path)
    except FileNotFoundError:
        return None
    return found if found.name == name else None  # file systems that ignore case answer for another tag


def put_tag(store: Store, tag: Tag, replace: bool = False) -> None:
    """
    :raises FileExistsError: when there is a tag of this name and it is not to be replaced.
    """
    _put(store, tag_file(tag.name), encode_pin(tag), replace)


def delete_tag(store: Store, name: str) -> bool:
    """Remove a tag, damaged or not; whether there was one."""
    path = tag_file(name)
    return store.head(path) is not None and _gone(store, path)


def read_clones(store: Store) -> list[Clone]:
    """All registered shallow clones.

    :raises InvalidTableError: when a registration is damaged, naming its file.
    """
    return sorted((decode_clone(*file) for file in _files(store, CLONES)), key=lambda clone: clone.location)


def register_clone(store: Store, clone: Clone) -> None:
    """Make VACUUM of this table keep what a shallow clone reads; before the clone's first commit."""
    _put(store, clone_file(clone.table_id), encode_pin(clone), replace=True)


def forget_clone(store: Store, table_id: str) -> bool:
    """The clone is gone, or reads this table no more; whether it was registered."""
    path = clone_file(table_id)
    return store.head(path) is not None and _gone(store, path)


def _files(store: Store, directory: str) -> list[tuple[bytes, str]]:
    found = []
    for file in store.list_from(directory):
        if file.path.endswith(".json"):
            try:
                found.append((store.get(file.path), file.path))
            except FileNotFoundError:  # deleted since
                continue
    return found


def _put(store: Store, path: str, data: bytes, replace: bool) -> None:
    if replace:
        store.put(path, data)
        return
    try:
        store.put_if_absent(path, data)
    except (FileExistsError, AmbiguousPut) as error:
        try:
            there = store.get(path)
        except FileNotFoundError:
            there = None
        if there == data:  # ours: only the reply was lost
            return
        if there is not None:
            raise FileExistsError(path) from None
        raise StorageError(f"nobody can tell whether {path} was written", path=path, transient=True) from error


def _gone(store: Store, path: str) -> bool:
    if path not in store.delete_many([path]):
        raise StorageError(f"{path} could not be deleted", path=path, transient=False)
    return True
