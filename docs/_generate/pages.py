"""What the generators of reference pages share: write a page, or with ``--check`` fail when it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]


def publish(name: str, text: str) -> bool:
    """Write a page; with ``--check`` on the command line only say whether it is up to date."""
    page = DOCS / name
    text = text.rstrip() + "\n"
    fresh = page.exists() and page.read_text() == text
    if "--check" in sys.argv:
        if not fresh:
            print(f"{name} is stale: run `python docs/_generate/all.py`", file=sys.stderr)
        return fresh
    if not fresh:
        page.write_text(text)
    return True


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
