"""optimize.cluster(): what is clustered, once, little by little, and together with Delta Spark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from layout_tables import MAPPED, TRACKING, VECTORS, check, content, frame, make

from deltalite import DeltaTable
from deltalite.exceptions import InvalidArgumentError

SMALL = 6_000


def provider_and_tags(table: DeltaTable) -> list[tuple[str | None, dict[str, str]]]:
    return [(a.clustering_provider, dict(a.tags or {})) for a in table._snapshot.files.add_files()]


def test_only_what_is_new_is_clustered(tmp_path: Path) -> None:
    table = make(tmp_path, 10, 1000, cluster_by=["x", "y"], configuration={**MAPPED, **TRACKING})
    before = content(table)
    first = table.optimize.cluster(target_size=SMALL)
    assert first["numFilesRemoved"] == 10 and content(table) == before
    assert table.optimize.cluster().skipped
    now = table.analyze(["x", "y"])
    assert max(now["x"].average, now["y"].average) < 0.5 * now.files
    table.append(frame(10_000, 100))
    again = table.optimize.cluster(target_size=SMALL)
    assert again["numRemovedBytes"] < 0.03 * first["numAddedBytes"], "1 % more does not rewrite the table"
    assert table.optimize.cluster().skipped
    check(tmp_path)


def test_growing_little_by_little_stays_cheap_and_leaves_few_cubes(tmp_path: Path) -> None:
    """The bytes rewritten grow like those of a log-structured merge tree, not like their square."""
    table = make(tmp_path, 1, 300, cluster_by=["x"])
    written = 0
    for turn in range(1, 40):
        table.append(frame(turn * 300, 300))
        written += table.optimize.cluster()["numRemovedBytes"]
    size = sum(table.files()["size_bytes"].to_pylist())
    cubes = {tags["ZCUBE_ID"] for _, tags in provider_and_tags(table)}
    assert written < 10 * size and len(cubes) <= 6
    assert table.count() == 40 * 300


def test_the_marks_are_those_of_delta_spark(tmp_path: Path) -> None:
    table = make(tmp_path, 3, 100, cluster_by=["x", "name"], configuration=MAPPED)
    table.optimize.cluster()
    ((provider, tags),) = provider_and_tags(table)
    assert provider == "liquid" and json.loads(tags["ZCUBE_ZORDER_BY"]) == ["x", "name"]
    assert (
        set(tags) == {"ZCUBE_ID", "ZCUBE_ZORDER_BY", "ZCUBE_ZORDER_CURVE"} and tags["ZCUBE_ZORDER_CURVE"] == "hilbert"
    )
    table.create_checkpoint()
    assert provider_and_tags(DeltaTable(tmp_path)) == [(provider, tags)]


def test_other_columns_wait_for_a_full_run(tmp_path: Path) -> None:
    table = make(tmp_path, 4, 500, cluster_by=["x"])
    table.optimize.cluster(target_size=SMALL)
    table.alter.cluster_by(["y"])
    assert table.optimize.cluster().skipped
    table.append(frame(2000, 50))
    assert table.optimize.cluster()["numFilesRemoved"] == 1
    files = table.files().num_rows
    assert table.optimize.cluster(full=True, target_size=SMALL)["numFilesRemoved"] == files
    assert table.optimize.cluster(full=True).skipped
    assert table.analyze(["y"])["y"].average < 2


def test_rewritten_rows_are_clustered_again(tmp_path: Path) -> None:
    table = make(tmp_path, 4, 500, cluster_by=["x"])
    table.optimize.cluster(target_size=SMALL)
    table.update({"y": "0"}, predicate="x < 100")
    assert [provider for provider, _ in provider_and_tags(table)].count(None) == 1
    assert not table.optimize.cluster().skipped and table.optimize.cluster().skipped
    check(tmp_path)


def test_vectors_keep_a_file_in_its_cube(tmp_path: Path) -> None:
    table = make(tmp_path, 4, 500, cluster_by=["x"], configuration=VECTORS)
    table.optimize.cluster()
    table.delete("id % 100 = 0")
    assert {provider for provider, _ in provider_and_tags(table)} == {"liquid"}
    assert table.optimize.cluster().skipped


def test_compaction_leaves_cubes_apart(tmp_path: Path) -> None:
    table = make(tmp_path, 4, 500, cluster_by=["x"])
    table.optimize.cluster(target_size=2000)
    table.append(frame(3000, 20))
    table.append(frame(4000, 20))
    table.optimize.compact()
    marks = provider_and_tags(table)
    assert [provider for provider, _ in marks].count(None) == 1 and table.files().num_rows == 2
    assert table.optimize.cluster()["numFilesRemoved"] == 1
    assert table.optimize.compact().skipped
    check(tmp_path)


def test_unclustered_tables_say_so(tmp_path: Path) -> None:
    table = make(tmp_path, 2)
    with pytest.raises(InvalidArgumentError, match="no columns to cluster by"):
        table.optimize.cluster()
    table.alter.cluster_by("x")
    with pytest.raises(InvalidArgumentError, match="clustered"):
        table.optimize.z_order("y")
    told = table.optimize.cluster(dry_run=True)
    assert told.files_to_rewrite == 2 and "id" in told.lookups
