"""CLONE: another table with the rows of one version. A shallow clone reads the source's files, a deep one has copies.

A clone has an id and a history of its own. It keeps the schema, the properties and the marks of its source, so that
column ids, row ids and identity numbers go on from there. Cloned again, it gets what is new and loses what is gone.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from deltalite import features
from deltalite.exceptions import CommitOutcomeUnknown, InvalidArgumentError, TableExistsError
from deltalite.features.deletion_vectors.file import INLINE, RELATIVE, uri_of, z85_encode
from deltalite.features.in_commit_timestamp import ENABLEMENT_TIMESTAMP, ENABLEMENT_VERSION
from deltalite.log import pins, read
from deltalite.model.actions import Action, AddFile, DeletionVector, DomainMetadata, RemoveFile
from deltalite.model.change import LogOnly
from deltalite.model.config import TableConfig
from deltalite.model.files import remove_of
from deltalite.model.paths import encode_path, is_absolute, relative_path
from deltalite.model.pending import ReadSet
from deltalite.model.pins import Clone
from deltalite.model.properties import check_names, normalise
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome
from deltalite.operations.logged import commit_actions, in_threads
from deltalite.operations.opening import newest
from deltalite.operations.options import Committing
from deltalite.scan.paths import PathResolver, Resolve
from deltalite.storage import Store, open_store
from deltalite.storage.urls import split_url

_CHUNK = 8 << 20
_COPIES_AT_ONCE = 8
_OF_THE_LOG = (ENABLEMENT_VERSION, ENABLEMENT_TIMESTAMP, "delta.requireCheckpointProtectionBeforeVersion")
"""Properties that speak of versions of the source."""
_STRUCTURAL = ("delta.columnmapping.", "delta.enablerowtracking", "delta.rowtracking", "delta.constraints.")


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """What is cloned, and how.

    :param external: prefixes outside the source that its files may lie under.
    :param replace: put the clone in the place of a table that is there; files that both have stay.
    :param configuration: properties of the clone that differ from the source's.
    """

    source: Snapshot
    external: tuple[str, ...] = ()
    shallow: bool = True
    replace: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)


def clone(
    source: Store,
    target: Store,
    request: CloneRequest,
    committing: Committing,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Make the clone.

    :param progress: told how many files are copied, and of how many.
    :raises TableExistsError: there is a table, and it is not to be replaced.
    """
    start = time.perf_counter()
    if split_url(source.root) == split_url(target.root):
        raise InvalidArgumentError("a table cannot be cloned onto itself", hint="choose another place")
    base = newest(target)
    if base is not None and not request.replace:
        raise TableExistsError(
            f"there is a table at {target.root} already", hint="replace=True makes it a clone, keeping its history"
        )
    if base is not None:
        features.ensure_writable(base.config)
    table_id = base.config.metadata.id if base is not None else str(uuid.uuid4())
    placed = _Placed(source, PathResolver(source, request.external, open_store), request.shallow)
    adds = [placed.add(add) for add in request.source.files.add_files()]
    known = {} if base is None else {add.key: add.size for add in base.files.add_files()}
    come = [add for add in adds if known.get(add.key) != add.size]
    change = _change(source, request, base, table_id, adds, come)
    written: list[str] = []
    try:
        if request.shallow:
            _register(
                source, request, Clone(target.root, table_id, request.source.version, time.time_ns() // 1_000_000)
            )
        else:
            _copy(placed, come, target, written, progress)
    except BaseException:
        target.delete_many(written)
        raise
    metrics = _metrics(request, base, change, placed, written)
    try:
        return commit_actions(target, base, change, committing, metrics, start=start, written=written)
    except CommitOutcomeUnknown:
        raise
    except Exception:
        if request.shallow and base is None:
            pins.forget_clone(source, table_id)
        raise


# -- the commit ----------------------------------------------------------------------------------------------------


def _change(
    source: Store,
    request: CloneRequest,
    base: Snapshot | None,
    table_id: str,
    adds: Sequence[AddFile],
    come: Sequence[AddFile],
) -> LogOnly:
    now_ms = time.time_ns() // 1_000_000
    kept = {add.key for add in adds} - {add.key for add in come}
    gone = [] if base is None else [add for add in base.files.add_files() if add.key not in kept]
    actions: list[Action] = [
        *_table_actions(request, base, table_id, now_ms),
        *(remove_of(add, now_ms) for add in gone),
        *come,
    ]
    if not request.shallow and base is None:
        actions += request.source.transactions.values()
    parameters = {"source": source.root, "sourceVersion": request.source.version, "isShallow": request.shallow}
    return LogOnly(tuple(actions), "CLONE", parameters, ReadSet(whole_table=base is not None))


def _table_actions(request: CloneRequest, base: Snapshot | None, table_id: str, now_ms: int) -> list[Action]:
    """Protocol, metadata and the domains of features, as far as they differ from what is there."""
    theirs = request.source.config
    given = _overrides(request.configuration)
    own = {key: value for key, value in theirs.configuration.items() if key not in _OF_THE_LOG}
    metadata = replace(theirs.metadata, id=table_id, configuration={**own, **given}, created_time=now_ms)
    asked = {f"delta.feature.{f.name}": "supported" for f in features.supported(theirs.protocol)}
    protocol = theirs.protocol if base is None else base.config.protocol
    if base is not None or given:
        protocol = features.negotiate(protocol, theirs.schema, {**metadata.configuration, **asked})
    metadata = replace(metadata, configuration=features.stored_configuration(metadata.configuration))
    if base is not None:
        metadata = features.restored(base.config, metadata)
        metadata = replace(metadata, created_time=base.config.metadata.created_time)
    domains = _domains(theirs, base)
    config = TableConfig(protocol, metadata, {d.domain: d for d in domains if not d.removed})
    features.check(config)
    features.ensure_writable(config)
    found: list[Action] = [*domains]
    if base is None or protocol != base.config.protocol:
        found.append(protocol)
    if base is None or metadata != base.config.metadata:
        found.append(metadata)
    return found


def _overrides(configuration: Mapping[str, Any]) -> dict[str, str]:
    check_names(configuration)
    given = normalise(configuration)
    for key in given:
        if key.lower().startswith(_STRUCTURAL):
            raise InvalidArgumentError(
                f"{key} cannot be another one in a clone: its files are those of the source",
                hint="clone first, then alter the clone",
                property=key,
            )
    return given


def _domains(theirs: TableConfig, base: Snapshot | None) -> list[DomainMetadata]:
    """Domains in which features keep their configuration; those of users are the source's own."""
    names = features.own_domains(theirs)
    found = [domain for name, domain in sorted(theirs.domains.items()) if name in names]
    if base is None:
        return found
    come = {domain.domain for domain in found}
    left = [base.config.domains[name] for name in sorted(features.own_domains(base.config)) if name in base.domains]
    gone = [replace(domain, removed=True) for domain in left if domain.domain not in come]
    return [*(d for d in found if base.domains.get(d.domain) != d), *gone]


def _metrics(
    request: CloneRequest, base: Snapshot | None, change: LogOnly, placed: _Placed, written: Sequence[str]
) -> dict[str, int]:
    sizes = request.source.files.table(["size"]).column("size").to_pylist()
    added = [action for action in change.actions if isinstance(action, AddFile)]
    removed = [action for action in change.actions if isinstance(action, RemoveFile)]
    copied = {} if request.shallow else {placed.relative(add): add.size for add in added}
    return {
        "sourceTableSize": sum(sizes),
        "sourceNumOfFiles": len(sizes),
        "numAddedFiles": len(added),
        "numRemovedFiles": len(removed),
        "removedFilesSize": sum(action.size or 0 for action in removed),
        "numCopiedFiles": sum(path in copied for path in written),
        "copiedFilesSize": sum(copied.get(path, 0) for path in written),
    }


def _register(source: Store, request: CloneRequest, entry: Clone) -> None:
    """Tell the source, and the tables whose files it reads itself, so that VACUUM spares what the clone needs."""
    pins.register_clone(source, entry)
    for place in request.external:
        store = open_store(place)
        if read.is_table(store):
            pins.register_clone(store, entry)


# -- the files -----------------------------------------------------------------------------------------------------


class _Placed:
    """Where the clone has the source's files: by absolute URIs, or under paths of its own."""

    def __init__(self, source: Store, resolve: Resolve, shallow: bool) -> None:
        self.resolve = resolve
        self._root = _root_uri(source)
        self._shallow = shallow
        self.copies: dict[str, str] = {}

    def add(self, add: AddFile) -> AddFile:
        """The action as the clone has it."""
        place = self._absolute if self._shallow else self._copied
        vector = add.deletion_vector
        vector = None if vector is None else self._vector(vector)
        return replace(add, path=place(add.path), deletion_vector=vector, data_change=True)

    def relative(self, add: AddFile) -> str:
        """The path of a copy in the clone's store."""
        return relative_path(add.path)

    def _absolute(self, uri: str) -> str:
        return uri if is_absolute(uri) else self._root + uri

    def _copied(self, uri: str) -> str:
        path = uri
        if is_absolute(uri):
            path = f"{uuid.uuid5(uuid.NAMESPACE_URL, uri)}-{uri.rpartition('/')[2]}"
        self.copies[path] = uri
        return path

    def _vector(self, vector: DeletionVector) -> DeletionVector:
        if vector.storage_type == INLINE:
            return vector
        uri = str(uri_of(vector))
        if self._shallow:
            return replace(vector, storage_type="p", path_or_inline_dv=self._absolute(uri))
        if not is_absolute(uri):
            self.copies[uri] = uri
            return vector
        name = uuid.uuid5(uuid.NAMESPACE_URL, uri)
        moved = replace(vector, storage_type=RELATIVE, path_or_inline_dv=z85_encode(name.bytes))
        self.copies[str(uri_of(moved))] = uri
        return moved


def _root_uri(store: Store) -> str:
    """The root of a store as the beginning of URIs in a log."""
    place = split_url(store.root)
    if place.scheme == "file":
        path = place.path.replace("\\", "/")
        return "file://" + ("" if path.startswith("/") else "/") + encode_path(path).rstrip("/") + "/"
    return f"{place.scheme}://{quote(place.path, safe='/=:@!$&()*+,;~-._')}/"


def _copy(
    placed: _Placed,
    adds: Sequence[AddFile],
    target: Store,
    written: list[str],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Copy what new files need; files of the same name and size that are there already are the same."""
    wanted = dict.fromkeys(uri for add in adds for uri in (add.path, *features.files_of(add)))
    own = PathResolver(target)

    def copy(uri: str) -> None:
        (store, path), (_, there) = placed.resolve(placed.copies[uri]), own(uri)
        found, old = store.head(path), target.head(there)
        if old is None or found is None or old.size != found.size:
            _copy_bytes(store, path, target, there)
            if old is None:
                written.append(there)
        if progress is not None:
            done.append(uri)
            progress(len(done), len(wanted))

    done: list[str] = []
    in_threads(copy, wanted, "clone", _COPIES_AT_ONCE)
    target.sync()


def _copy_bytes(store: Store, path: str, target: Store, there: str) -> None:
    with store.open_input(path) as source, target.open_output(there) as sink:
        while chunk := source.read(_CHUNK):
            sink.write(chunk)
