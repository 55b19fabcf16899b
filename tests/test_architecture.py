"""The house rules of docs/architecture.md, read off the imports."""

from __future__ import annotations

import ast
import json
import pickle
import re
from collections import defaultdict
from pathlib import Path

import pytest

import deltalite

ROOT = Path(deltalite.__file__).parent
LAYERS = [
    {"exceptions", "_lazy", "_version"},
    {"model", "expr", "storage"},
    {"features"},
    {"log", "scan", "write"},
    {"engine", "txn"},
    {"interop", "operations"},
    {"table", "query"},
    {"schema", "writer", "transaction", "variants"},
    {"cli", "__main__", "testing"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
ALLOWED = {
    ("expr", "model"),
    ("txn", "log"),
    ("operations", "interop"),
    ("table", "interop"),
    ("query", "table"),
    ("__main__", "cli"),
}
SIBLINGS_APART = [{"log", "write"}, {"log", "scan"}, {"scan", "write"}, {"storage", "model"}, {"storage", "expr"}]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, module_level: bool) -> set[str]:
    """The modules of ours that a file imports: at module level, or inside functions too; typing-only ones left out."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], inside: bool) -> None:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if not module_level:
                    visit(node.body, True)
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            for part in ("body", "orelse", "finalbody", "handlers"):
                visit([n for n in getattr(node, part, []) if isinstance(n, (ast.stmt, ast.ExceptHandler))], inside)

    visit(ast.parse(path.read_text()).body, False)
    return {name.removeprefix("deltalite.") for name in found if name.split(".")[0] == "deltalite" and name != "deltalite"}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_has_a_layer() -> None:
    assert {room(m) for m in modules() if m} <= set(RANK)


def test_a_module_imports_only_from_lower_layers() -> None:
    wrong = []
    for module, path in modules().items():
        if not module:
            continue
        for name in imports(path, module_level=False):
            here, there = room(module), room(name)
            if here == there or there not in RANK or (here, there) in ALLOWED:
                continue
            if RANK[there] >= RANK[here]:
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_siblings_do_not_import_one_another() -> None:
    wrong = []
    for module, path in modules().items():
        for name in imports(path, module_level=False):
            pair = {room(module), room(name)}
            if len(pair) == 2 and pair in SIBLINGS_APART:
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_no_cycles() -> None:
    names = modules()
    graph = {m: {n for n in imports(p, module_level=True) if n in names and n != m} for m, p in names.items() if m}
    state: dict[str, int] = defaultdict(int)

    def walk(module: str, trail: tuple[str, ...]) -> None:
        if state[module] == 1:
            pytest.fail("import cycle: " + " -> ".join((*trail[trail.index(module) :], module)))
        if state[module] == 0:
            state[module] = 1
            for name in graph.get(module, ()):
                if not name.startswith(module + ".") and not module.startswith(name + "."):
                    walk(name, (*trail, module))
            state[module] = 2

    for module in graph:
        walk(module, ())


def test_no_module_imports_the_package_root() -> None:
    for module, path in modules().items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert all(alias.name != "deltalite" for alias in node.names), module
            if isinstance(node, ast.ImportFrom) and node.module == "deltalite":
                assert all((ROOT / alias.name).is_dir() or alias.name.startswith("_") for alias in node.names), module


def test_one_place_commits() -> None:
    callers = [m for m, p in modules().items() if re.search(r"\bwrite\.put_commit\(|\.put_commit\(", p.read_text())]
    assert callers == ["txn.commit"]


def test_log_is_written_by_txn_alone() -> None:
    users = {room(m) for m, p in modules().items() if "log.write" in imports(p, module_level=False)}
    assert users <= {"txn", "log"}


@pytest.mark.parametrize("package", ["pandas", "polars", "duckdb", "pyarrow.dataset"])
def test_heavy_packages_stay_in_interop(package: str) -> None:
    pattern = re.compile(rf"^\s*(import {package}\b|from {package}\b)", re.MULTILINE)
    outside = {
        m
        for m, p in modules().items()
        if pattern.search(re.sub(r"if TYPE_CHECKING:\n(?:    .*\n|\n)+", "", p.read_text()))
        and room(m) not in ("interop", "query", "engine", "cli", "testing")
    }
    assert not outside


def test_public_names_are_pinned() -> None:
    expected = json.loads((Path(__file__).parent / "public_names.json").read_text())
    assert sorted(deltalite.__all__) == expected
    for name in deltalite.__all__:
        assert getattr(deltalite, name) is not None


def test_errors_form_the_documented_tree() -> None:
    from deltalite import exceptions

    text = exceptions.__doc__ or ""
    for name in exceptions.__all__:
        cls = getattr(exceptions, name)
        assert name in text
        error = cls("what", hint="do this", version=3)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.version) == (cls, "what\nhint: do this", 3)


FEATURE_WORDS = re.compile(r"deletionVector|rowTracking|columnMapping|typeWidening|inCommitTimestamp|generationExpression")
ROOMS_OF_WORDS = {"features", "model", "testing"}
KNOWN_OUTSIDE = {"log", "scan", "expr", "write", "cli", "operations", "interop"}


def test_words_of_features_stay_in_their_rooms(capsys: pytest.CaptureFixture[str]) -> None:
    outside = [m for m, p in modules().items() if m and room(m) not in ROOMS_OF_WORDS and FEATURE_WORDS.search(p.read_text())]
    with capsys.disabled():
        if outside:
            print(f"\nfeature words outside their rooms: {', '.join(outside)}")
    assert {room(m) for m in outside} <= KNOWN_OUTSIDE
