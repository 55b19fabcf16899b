"""What VACUUM decides from values alone: names, ages, partitions, places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deltalite.exceptions import InvalidArgumentError, UnsafePathError
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.operations.file_references import TableRoot
from deltalite.operations.vacuum_plan import (
    HiddenNames,
    Removed,
    VacuumRequest,
    choose,
    directory_values,
    in_partitions,
)
from deltalite.storage.base import FileMeta
from deltalite.storage.local import LocalStore
from deltalite.storage.memory import MemoryStore

SCHEMA = '{"type":"struct","fields":[%s]}'


def config(*columns: str, by: tuple[str, ...] = (), **properties: str) -> TableConfig:
    fields = ",".join(f'{{"name":"{c}","type":"string","nullable":true,"metadata":{{}}}}' for c in columns)
    configuration = {key.replace("_", "."): value for key, value in properties.items()}
    return TableConfig(Protocol(1, 2), Metadata("id", SCHEMA % fields, by, configuration))


PLAIN = HiddenNames(config("x"))
HIDDEN = [
    "_delta_log/a",
    "_x/a.parquet",
    ".x/a.parquet",
    "p=1/_a",
    "p=1/.a.parquet",
    "_SUCCESS",
    "metadata/v1.json",
    "_p=1/a",
]
SEEN = [
    "a.parquet",
    "p=1/a",
    "_change_data/a",
    "_change_data_2/a",
    "_delta_index/a",
    "x/metadata/a",
    "metadata_2/a",
    "a_b/_change_data-x",
]


@pytest.mark.trap(4)
@pytest.mark.parametrize("path", HIDDEN)
def test_trap_04_hidden_names(path: str) -> None:
    assert PLAIN.hide(path)


@pytest.mark.trap(4)
@pytest.mark.parametrize("path", SEEN)
def test_trap_04_names_that_are_the_tables(path: str) -> None:
    assert not PLAIN.hide(path)


@pytest.mark.trap(4)
@pytest.mark.bug("T-56")
def test_directories_of_partition_columns_are_data_whatever_their_name() -> None:
    names = HiddenNames(config("_p", "_q=%", "x", by=("_p", "_q=%")))
    assert not names.hide("_p=1/a") and not names.hide("_p=1/_q%3D%25=2/a") and not names.hide("_q=%=2/a")
    assert names.hide("_x=1/a") and names.hide("_p/a") and names.hide("_p=1/_a")


def test_our_own_temporary_files_are_seen_wherever_data_is() -> None:
    temporary = f".part-0.parquet.{'0' * 32}.tmp"
    assert not PLAIN.hide(temporary) and not PLAIN.hide(f"p=1/{temporary}")
    assert PLAIN.hide(f"_x/{temporary}") and PLAIN.hide(".part-0.parquet.tmp")


@pytest.mark.bug("T-54")
def test_files_stay_by_need_and_by_age() -> None:
    files = [
        FileMeta(path, 10, time) for path, time in [("live", 1), ("old", 5), ("young", 6), ("orphan", 1), ("_hid", 1)]
    ]
    files += [FileMeta("_delta_log/x", 1, 1)]
    plan = choose(files, {"live": "why"}, {"old": Removed(1)}, 5, PLAIN)
    assert [file.path for file in plan.delete] == ["old", "orphan"]
    assert plan.kept == {"why": 1, "written recently": 1, "hidden by its name": 1}
    assert (plan.bytes, plan.unknown, plan.seen, plan.is_suspicious) == (20, 1, 4, False)


def test_it_is_suspicious_when_most_files_are_unknown() -> None:
    files = [FileMeta(name, 1, 1) for name in "abc"]
    assert choose(files, {"a": ""}, {}, 5, PLAIN).is_suspicious
    assert not choose(files, {"a": ""}, {"b": Removed(1)}, 5, PLAIN).is_suspicious
    leftovers = [FileMeta(f".x.{n:032x}.tmp", 1, 1) for n in range(5)]
    assert not choose([*leftovers, *files], {"a": "", "b": ""}, {}, 5, PLAIN).is_suspicious


# -- retention ---------------------------------------------------------------------------------------------------------


def test_retention() -> None:
    table = config("x", delta_deletedFileRetentionDuration="interval 2 days")
    assert VacuumRequest().retention_ms(table) == 48 * 3_600_000
    assert VacuumRequest(48).retention_ms(table) == 48 * 3_600_000
    assert VacuumRequest(0.5, enforce_retention=False).retention_ms(table) == 1_800_000
    with pytest.raises(InvalidArgumentError, match="shorter than the 48 hours"):
        VacuumRequest(47).retention_ms(table)
    for nonsense in (-1, float("nan"), float("inf"), "7 days", [1]):
        with pytest.raises(InvalidArgumentError, match="number of hours"):
            VacuumRequest(nonsense, enforce_retention=False).retention_ms(table)  # type: ignore[arg-type]


# -- partitions --------------------------------------------------------------------------------------------------------


def test_partitions_by_the_log_then_by_directories() -> None:
    table = config("p", "q", "x", by=("p", "q"))
    removed = {"odd.parquet": Removed(1, {"p": "a", "q": None}), "p=z/q=z/l": Removed(1, {"p": "a", "q": "b"})}
    within = in_partitions(table, "p = 'a' AND q IS NULL", removed)
    assert within("odd.parquet") is True
    assert within("p=z/q=z/l") is False
    assert within("p=a/q=__HIVE_DEFAULT_PARTITION__/o") is True
    assert within("p=a/q=b/o") is False
    assert within("p=a/o") is None and within("deletion_vector_x.bin") is None
    assert in_partitions(table, [("p", "=", "a/b")], {})("_change_data/p=a%2Fb/q=1/f") is True
    with pytest.raises(InvalidArgumentError, match="x is not one"):
        in_partitions(table, "p = 'a' AND x = '1'", {})


def test_directory_values() -> None:
    assert directory_values("a=1/b%3D=x%20y/f", ["a", "b="]) == {"a": "1", "b=": "x y"}
    assert directory_values("a=1/f", ["a", "b"]) is None


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.trap(1)
@pytest.mark.trap(2)
def test_uris_inside_and_outside(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    os.symlink(tmp_path / "t", tmp_path / "alias")
    root = TableRoot(LocalStore(str(tmp_path / "t")))
    inside = [
        "s=a%2520b/x",
        f"{tmp_path}/t/s=a%2520b/x",
        f"file://{tmp_path}/t/s=a%2520b/x",
        f"file:{tmp_path}/alias/s=a%2520b/x",
    ]
    assert {root.path_of(uri) for uri in inside} == {"s=a%20b/x"}
    assert (
        root.path_of(f"{tmp_path}/t2/x") is None
        and root.path_of("s3://b/t/x") is None
        and root.path_of(f"{tmp_path}/t") is None
    )
    for unsafe in ("../x", "a/%2e%2e/x", f"{tmp_path}/t/../x", "//host/x", "a%00b"):
        with pytest.raises(UnsafePathError):
            root.path_of(unsafe)
    memory = TableRoot(MemoryStore("memory://b/t"))
    assert memory.path_of("memory://b/t/a%20b") == "a b" and memory.path_of("memory://b/tt/a") is None
