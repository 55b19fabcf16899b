"""docs/support.md: what is read and written, from the feature registry, the properties and the tests."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from pages import publish, table

from deltalite.features import FEATURES
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.properties import PROPERTIES
from deltalite.model.types import Field, Schema

ROOT = Path(__file__).parents[2]
EMPTY = TableConfig(Protocol(1, 2), Metadata("id", Schema([Field("x", "long")]).to_json()))
ENGINES = "deltalake 1.6.6 (both ways, in every test run), tables of Delta Spark and the two Delta kernels (reading)"


def tests_naming(word: str) -> int:
    pattern = re.compile(rf"\b{re.escape(word)}\b")
    return sum(len(pattern.findall(path.read_text())) > 0 for path in (ROOT / "tests").rglob("*.py"))


def page() -> str:
    features = []
    for f in FEATURES:
        reads = "yes" if f.readable else "refused: ask its catalog"
        if f.kind == "writer":
            reads = "yes (asks nothing of readers)"
        reason = f.refuse_write(EMPTY) if f.refuse_write else None
        writes = "refused by name" if reason or not f.readable else "yes"
        if f.refuse_write and not reason:
            writes = "unless the schema or the properties stand in the way"
        legacy = f"reader {f.legacy[0]}, writer {f.legacy[1]}" if f.legacy else "by name"
        features.append([f"`{f.name}`", legacy, reads, writes, str(tests_naming(f.name))])
    properties = [
        [f"`{p.name}`", "none" if p.default is None else str(p.default), p.doc] for p in PROPERTIES.values()
    ]
    traps = Counter(n for p in (ROOT / "tests").rglob("*.py") for n in re.findall(r"(?:mark\.trap\(|test_trap_)(\d+)", p.read_text()))
    return f"""# What is supported

Generated from the feature registry and the tests. Cross-checked with {ENGINES}.

## Table features

"Writes" speaks of everything that commits: writes, row changes, OPTIMIZE, VACUUM, RESTORE, clones, ALTER. A table that
demands more is refused by name, before anything is written.

{table(["feature", "implied by", "reads", "writes", "test files that name it"], features)}

## Files

| file | read | written |
|---|---|---|
| commits `N.json` | yes | yes |
| classic checkpoints, single and multi-part | yes | single |
| V2 checkpoints, JSON and Parquet, inline and sidecars | yes | Parquet with sidecars |
| log compactions `x.y.compacted.json` | yes | no |
| checksums `N.crc` | yes | yes |
| `_last_checkpoint` | as a hint | yes |
| deletion vectors, inline and in files | yes | yes |
| change files in `_change_data` | yes | yes |

## Table properties

{table(["property", "default", "meaning"], properties)}

## Protocol traps with a test of their own

{len(traps)} of the details that implementations get wrong are held by a test that bears the trap's number:
{", ".join(str(n) for n in sorted(map(int, traps)))}.
"""


def main() -> bool:
    return publish("support.md", page())
