"""Every code block of the README and of docs/ runs: Python as one session per page, `deltalite` commands after it."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "console", "sh", "text", "toml", "sql", "json"}


def blocks(page: Path) -> list[tuple[str, str, str, int]]:
    """Language, note, text and the lines before it."""
    page_text = page.read_text()
    found = BLOCK.finditer(page_text)
    return [(m[1], m[2].strip(), m[3], page_text.count("\n", 0, m.start(3))) for m in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for language, note, text, line in blocks(page):
        assert language in LANGUAGES, f"{page.name}: what is a {language!r} block?"
        if note.startswith("no-run"):
            assert len(note) > len("no-run: "), f"{page.name}: say why a block does not run"
        elif language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(compile("\n" * line + text, str(page), "exec"), namespace)
        elif language == "console":
            run(text)


def run(text: str) -> None:
    from deltalite.cli.app import app

    for line in text.splitlines():
        if not line.startswith("$ "):
            continue
        command, *arguments = shlex.split(line[2:])
        if command == "deltalite":
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code == 0, f"{line}\n{done.output}"


def test_links_between_pages_resolve() -> None:
    for page in [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r'"([\w-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    assert listed == {page.name for page in PAGES} - {"README.md"}
