"""A store that is a dict, and a replay of the log that is dumb enough to be obviously right."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from hypothesis import strategies as st

from deltalite.log import write
from deltalite.model.paths import LOG, checkpoint_file, commit_file, compaction_file, crc_file, encode_path
from deltalite.storage.base import FileMeta

SCHEMA = json.dumps({"type": "struct", "fields": [
    {"name": "id", "type": "long", "nullable": True, "metadata": {}},
    {"name": "day", "type": "string", "nullable": True, "metadata": {}},
]})  # fmt: skip
WIDER_SCHEMA = json.dumps({"type": "struct", "fields": [
    {"name": "id", "type": "long", "nullable": True, "metadata": {}},
    {"name": "day", "type": "string", "nullable": True, "metadata": {}},
    {"name": "more", "type": "double", "nullable": True, "metadata": {}},
]})  # fmt: skip
PROTOCOL = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors", "v2Checkpoint"],
            "writerFeatures": ["deletionVectors", "v2Checkpoint", "domainMetadata"]}  # fmt: skip


def metadata(**changes: Any) -> dict[str, Any]:
    return {"id": "t", "format": {"provider": "parquet", "options": {}}, "schemaString": SCHEMA,
            "partitionColumns": ["day"], "configuration": {}, "createdTime": 1, **changes}  # fmt: skip


def lines(*actions: dict[str, Any]) -> bytes:
    return "".join(json.dumps(a) + "\n" for a in actions).encode()


def simple_commit(version: int, *more: dict[str, Any], **config: str) -> bytes:
    """A commit that adds one file; version 0 brings protocol and metadata."""
    add = {"path": f"f{version}", "partitionValues": {"day": "x"}, "size": 10, "modificationTime": 1,
           "dataChange": True}  # fmt: skip
    first = [{"protocol": PROTOCOL}, {"metaData": metadata(configuration=config)}] if version == 0 else []
    info = {"commitInfo": {"operation": "WRITE", "timestamp": version, "txnId": f"txn-{version}"}}
    return lines(info, *first, {"add": add}, *more)


class DictStore:
    """Objects in a dict, each with a size and a time; counts what is asked of it."""

    atomic_put = accepts_commits = True
    root = "dict://t"

    def __init__(self, objects: dict[str, bytes] | None = None, *, is_local: bool = True) -> None:
        self.objects = dict(objects or {})
        self.times = {path: 1000 * i for i, path in enumerate(sorted(self.objects), 1)}
        self.is_local = is_local
        self.calls: Counter[str] = Counter()
        self.read: list[str] = []

    def copy(self) -> DictStore:
        found = DictStore(self.objects, is_local=self.is_local)
        found.times = dict(self.times)
        return found

    def reset(self) -> None:
        self.calls.clear()
        self.read.clear()

    def get(self, path: str) -> bytes:
        self.calls["get"] += 1
        self.read.append(path)
        try:
            return self.objects[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def get_range(self, path: str, start: int, length: int) -> bytes:
        return self.get(path)[start : start + length]

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self.calls["put"] += 1
        self.objects[path] = bytes(data)
        self.times[path] = max([*self.times.values(), 0]) + 1000

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        if path in self.objects:
            raise FileExistsError(path)
        self.put(path, data)

    def sync(self) -> None:
        pass

    def list_from(self, prefix: str, start_after: str = ""):
        self.calls["list"] += 1
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        after = start_after if start_after.startswith(prefix) else prefix + start_after
        for path in sorted(self.objects):
            if path.startswith(prefix) and path > after and "/" not in path[len(prefix) :]:
                yield FileMeta(path, len(self.objects[path]), self.times[path])

    def list_all(self, prefix: str = ""):
        yield from (FileMeta(p, len(d), self.times[p]) for p, d in self.objects.items() if p.startswith(prefix))

    def head(self, path: str) -> FileMeta | None:
        data = self.objects.get(path)
        return None if data is None else FileMeta(path, len(data), self.times[path])

    def delete_many(self, paths) -> list[str]:
        paths = list(paths)
        for path in paths:
            self.objects.pop(path, None)
        return paths

    def open_input(self, path: str, *, size: int | None = None):
        return pa.BufferReader(self.get(path))

    def open_output(self, path: str, *, durable: bool = True):
        store = self

        class Output(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    store.put(path, self.getvalue())
                super().close()

            def __exit__(self, kind, *rest) -> None:
                if kind is None:
                    self.close()

        return Output()

    def local_path(self, path: str) -> None:
        return None


def log_of(*commits: bytes, **options: Any) -> DictStore:
    return DictStore({commit_file(v): data for v, data in enumerate(commits)}, **options)


# -- the dumb replay ---------------------------------------------------------------------------------------------


def dv_id(action: dict[str, Any]) -> str | None:
    dv = action.get("deletionVector")
    if not dv:
        return None
    return dv["storageType"] + dv["pathOrInlineDv"] + (f"@{dv['offset']}" if "offset" in dv else "")


@dataclass
class Model:
    """The state of a table, by walking over its actions one at a time."""

    protocol: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    live: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)
    tombstones: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)
    transactions: dict[str, int] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)

    def apply(self, data: bytes) -> None:
        actions = [json.loads(line) for line in data.splitlines()]
        for action in actions:
            for kind, body in action.items():
                if kind == "remove":
                    key = unquote(body["path"]), dv_id(body)
                    self.live.pop(key, None)
                    self.tombstones[key] = body
                elif kind == "protocol":
                    self.protocol = body
                elif kind == "metaData":
                    self.metadata = body
                elif kind == "txn":
                    self.transactions[body["appId"]] = body["version"]
                elif kind == "domainMetadata":
                    self.domains.pop(body["domain"], None)
                    if not body["removed"]:
                        self.domains[body["domain"]] = body["configuration"]
        for action in actions:
            if "add" in action:
                key = unquote(action["add"]["path"]), dv_id(action["add"])
                self.live[key] = action["add"]
                self.tombstones.pop(key, None)

    def state(self) -> dict[str, Any]:
        return {
            "files": sorted(_add(a) for a in self.live.values()),
            "tombstones": sorted(str(key) for key in self.tombstones),
            "transactions": dict(self.transactions),
            "domains": dict(self.domains),
            "schema": self.metadata["schemaString"],
            "name": self.metadata.get("name"),
            "protocol": self.protocol["minReaderVersion"],
        }


def _add(a: dict[str, Any]) -> str:
    names = ("path", "size", "modificationTime", "stats", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")
    row = {name: a.get(name) for name in names}
    return json.dumps({**row, "dv": dv_id(a), "partitionValues": dict(a["partitionValues"]),
                       "tags": None if a.get("tags") is None else dict(a["tags"])}, sort_keys=True)  # fmt: skip


def state_of(snapshot: Any) -> dict[str, Any]:
    """The same, of a snapshot."""
    live, tombstones = set(), set()
    files = []
    for row in snapshot.files.table().to_pylist():
        row = {**row, "partitionValues": dict(row["partitionValues"]), "deletionVector": _clean(row["deletionVector"])}
        row["tags"] = None if row["tags"] is None else dict(row["tags"])
        live.add((unquote(row["path"]), dv_id(row)))
        files.append(_add(row))
    for row in snapshot.files.tombstones().to_pylist():
        row["deletionVector"] = _clean(row["deletionVector"])
        tombstones.add((unquote(row["path"]), dv_id(row)))
    return {
        "files": sorted(files),
        "tombstones": sorted(str(key) for key in tombstones - live),
        "transactions": {k: t.version for k, t in snapshot.transactions.items()},
        "domains": {k: d.configuration for k, d in snapshot.domains.items()},
        "schema": snapshot.config.metadata.schema_string,
        "name": snapshot.config.metadata.name,
        "protocol": snapshot.config.protocol.min_reader_version,
    }


def _clean(dv: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if dv is None else {k: v for k, v in dv.items() if v is not None}


# -- random histories --------------------------------------------------------------------------------------------

NAMES = ["a", "day=x/b c", "day=50%25/d", "ü", "e+f", "g%h", "i j%20k", 'l"m\\n', "day=2026-01-01 00%3A00/o"]


@st.composite
def histories(draw: st.DrawFn, max_commits: int = 8) -> list[bytes]:
    """The commits of a table: adds, removes, changed vectors, added again, metadata, transactions, domains, noise."""
    live: dict[str, dict[str, Any]] = {}
    commits = []
    serial = 0
    for version in range(draw(st.integers(1, max_commits))):
        actions: list[dict[str, Any]] = [{"commitInfo": {"operation": "X", "any": {"thing": [1, None]}}}]
        if version == 0:
            actions += [{"protocol": PROTOCOL}, {"metaData": metadata()}]
        elif draw(st.integers(0, 5)) == 0:
            schema = draw(st.sampled_from([SCHEMA, WIDER_SCHEMA]))
            actions.append({"metaData": metadata(name=f"v{version}", schemaString=schema)})
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)):
            serial += 1
            if name not in live:
                live[name] = _new_add(draw, name, serial)
                actions.append({"add": live[name]})
                continue
            what = draw(st.sampled_from(["remove", "vector", "again", "rewrite"]))
            old = live[name]
            if what == "remove":
                del live[name]
                actions.append({"remove": _remove_of(draw, name, old, version)})
            elif what == "vector":
                live[name] = {**old, "deletionVector": _vector(draw, serial), "stats": _stats(serial)}
                pair = [{"remove": _remove_of(draw, name, old, version)}, {"add": live[name]}]
                actions += pair if draw(st.booleans()) else pair[::-1]
            elif what == "again":  # e.g. statistics computed later: the same key, nothing removed
                live[name] = {**old, "stats": _stats(serial), "dataChange": False}
                actions.append({"add": live[name]})
            else:
                live[name] = {**old, "size": old["size"] + 1}
                actions.append({"add": live[name]})
        if draw(st.booleans()):
            app = draw(st.sampled_from(["app", "bäpp"]))
            actions.append({"txn": {"appId": app, "version": draw(st.integers(0, 9)), "lastUpdated": version}})
        if draw(st.integers(0, 2)) == 0:
            domain = {"domain": draw(st.sampled_from(["d1", "d2"])), "configuration": f"c{serial}",
                      "removed": draw(st.booleans())}  # fmt: skip
            actions.append({"domainMetadata": domain})
        if draw(st.booleans()):
            actions.append({"cdc": {"path": "_change_data/x", "partitionValues": {}, "size": 1, "dataChange": False}})
            actions.append({"futureAction": {"add": {"path": "not a file"}}})
        commits.append(lines(*actions))
    return commits


def _spelled(draw: st.DrawFn, name: str) -> str:
    return draw(st.sampled_from([encode_path(name), "".join(f"%{b:02X}" for b in name.encode())]))


def _new_add(draw: st.DrawFn, name: str, serial: int) -> dict[str, Any]:
    add = {"path": _spelled(draw, name), "partitionValues": {"day": draw(st.sampled_from(["x", "", 'q"', None]))},
           "size": serial, "modificationTime": serial, "dataChange": True}  # fmt: skip
    if draw(st.booleans()):
        add["stats"] = _stats(serial)
    if draw(st.integers(0, 3)) == 0:
        add["tags"] = {"INSERTION_TIME": str(serial), "other": "é"}
    if draw(st.booleans()):
        add |= {"baseRowId": serial, "defaultRowCommitVersion": serial, "clusteringProvider": "p"}
    if draw(st.integers(0, 3)) == 0:
        add["deletionVector"] = _vector(draw, serial)
    return add


def _remove_of(draw: st.DrawFn, name: str, add: dict[str, Any], version: int) -> dict[str, Any]:
    found = {"path": draw(st.sampled_from([add["path"], _spelled(draw, name)])), "dataChange": True,
             "deletionTimestamp": 10**15 + version}  # fmt: skip
    if draw(st.booleans()):
        found |= {"extendedFileMetadata": True, "partitionValues": add["partitionValues"], "size": add["size"]}
    if "deletionVector" in add:
        found["deletionVector"] = add["deletionVector"]
    return found


def _vector(draw: st.DrawFn, serial: int) -> dict[str, Any]:
    kind = draw(st.sampled_from("ui"))
    found = {"storageType": kind, "pathOrInlineDv": f"ab^-aqEH.-t@S}}K{{vb[*k%41{serial}", "sizeInBytes": 36,
             "cardinality": 1}  # fmt: skip
    return {**found, "offset": 4} if kind == "u" else found


def _stats(serial: int) -> str:
    return json.dumps({"numRecords": serial, "minValues": {"id": serial}, "maxValues": {"id": serial + 1},
                       "nullCount": {"id": 0}, "tightBounds": True}, separators=(",", ":"))  # fmt: skip


# -- other forms of the same log ---------------------------------------------------------------------------------


def without_commits(store: DictStore, upto: int) -> DictStore:
    """The log after clean-up: commits up to a version are gone."""
    found = store.copy()
    for version in range(upto + 1):
        del found.objects[commit_file(version)]
    return found


def reconciled(commits: list[bytes]) -> bytes:
    """What a log compaction of some commits holds: the newest action of every key."""
    newest: dict[Any, dict[str, Any]] = {}
    for data in commits:
        actions = [json.loads(line) for line in data.splitlines()]
        for action in sorted(actions, key=lambda a: "add" in a):
            for kind, body in action.items():
                if kind in ("add", "remove"):
                    newest["file", unquote(body["path"]), dv_id(body)] = action
                elif kind == "txn":
                    newest["txn", body["appId"]] = action
                elif kind == "domainMetadata":
                    newest["domain", body["domain"]] = action
                elif kind in ("protocol", "metaData"):
                    newest[kind,] = action
    return lines(*newest.values())


def with_compaction(store: DictStore, first: int, last: int, spoil: bool) -> DictStore:
    """A compaction of some commits; ``spoil`` makes those unreadable, so that only the compaction can serve."""
    found = store.copy()
    data = [found.objects[commit_file(v)] for v in range(first, last + 1)]
    found.put(compaction_file(first, last), reconciled(data))
    if spoil:
        for version in range(first, last + 1):
            found.objects[commit_file(version)] = b"spoilt"
    return found


def with_checkpoint(store: DictStore, snapshot: Any, *, v2: bool, hint: bool = True) -> DictStore:
    found = store.copy()
    if v2:
        write._put_v2(found, snapshot, 0)
    else:
        write.put_checkpoint(found, snapshot, 0)
        if crc_file(snapshot.version) not in store.objects:  # a checkpoint's own; tests that want one ask for it
            found.objects.pop(crc_file(snapshot.version), None)
    if not hint:
        found.objects.pop(LOG + "_last_checkpoint", None)
    return found


__all__ = [name for name in dir() if not name.startswith("_")] + ["checkpoint_file"]
