"""Aligned tables: fitted to the terminal there, at full width in a file. The only user of rich."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from deltalite.cli.output.text import plural

if TYPE_CHECKING:
    from rich.console import Console

    from deltalite.cli.settings import Settings

GAP = 2
NARROWEST = 8
PAGE = 1000
NULL = "NULL"

Row = Sequence["str | None"]


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, safe to print like the cells; see :class:`~.shapes.Show` for the rest."""

    title: str
    right: bool = False
    cut_inside: bool = False


def write_table(settings: Settings, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Print a table with a title row; nulls show as a dim ``NULL``.

    Widths are those of the first thousand rows, so any number of rows streams through. On a terminal columns that do
    not fit are left out, the last but one first, and a note names them.
    """
    rows = iter(rows)
    page = list(islice(rows, PAGE))
    console = _console(settings)
    widths = [_natural(column.title, [row[i] for row in page]) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    if sys.stdout.isatty():
        kept, widths = fit(widths, console.width)
    header = settings.header
    for part in chain([page], _pages(rows)):
        _print_page(console, [columns[i] for i in kept], ([row[i] for i in kept] for row in part), widths, header)
        header = False
    left_out = [column.title for i, column in enumerate(columns) if i not in kept]
    if left_out:
        more = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
        settings.note(f"{plural(len(left_out), 'column')} did not fit: {more}  (-o plain shows all)")


def fit(natural: Sequence[int], room: int) -> tuple[list[int], list[int]]:
    """Which columns to show in ``room`` characters, and how wide each one.

    The widest columns give way first, down to a readable minimum; when that is not enough, whole columns do, from the
    last but one backwards.
    """
    kept = list(range(len(natural)))
    while len(kept) > 1 and sum(min(natural[i], NARROWEST) for i in kept) + GAP * (len(kept) - 1) > room:
        kept.pop(-2 if len(kept) > 2 else -1)
    widths = {i: natural[i] for i in kept}
    excess = sum(widths.values()) + GAP * (len(kept) - 1) - room
    while excess > 0:
        widest = max(kept, key=lambda i: widths[i])
        if widths[widest] <= 1:
            break
        second = max((widths[i] for i in kept if widths[i] < widths[widest]), default=1)
        step = max(1, min(excess, widths[widest] - second))
        widths[widest] -= step
        excess -= step
    return kept, [widths[i] for i in kept]


def _pages(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while page := list(islice(rows, PAGE)):
        yield page


def _natural(title: str, cells: Iterable[str | None]) -> int:
    from rich.cells import cell_len

    return max([cell_len(title), *(cell_len(NULL if c is None else c) for c in cells)])


def _console(settings: Settings) -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        force_terminal=settings.colour,
        color_system="auto" if settings.colour and terminal else "standard" if settings.colour else None,
        no_color=not settings.colour,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if terminal else 1_000_000,
    )


def _print_page(
    console: Console, columns: Sequence[Column], rows: Iterable[Row], widths: Sequence[int], header: bool
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=header, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        title = Text(column.title, no_wrap=True, overflow="ellipsis")
        justify = "right" if column.right else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        cells = [
            Text(NULL, style="dim") if cell is None else Text(_cut(cell, width) if column.cut_inside else cell)
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        table.add_row(*cells)
    if not (table.rows or header):
        return
    with console.capture() as captured:
        console.print(table, soft_wrap=False)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def _cut(cell: str, width: int) -> str:
    """The text without its middle, if it is longer than the width."""
    if len(cell) <= width or width < 3:
        return cell
    end = (width - 1) // 2
    return f"{cell[: width - 1 - end]}…{cell[len(cell) - end :]}"
