"""constraints add, drop, list: CHECK constraints."""

from __future__ import annotations

from typing import Any

import click

from deltalite.cli.altering import ALTERED, alter, alter_options
from deltalite.cli.command import command, table_argument, writable_table_argument
from deltalite.cli.output import write_records
from deltalite.cli.output.shapes import Field
from deltalite.cli.settings import Settings

CONSTRAINTS = (
    Field("constraint", "text", "its name"),
    Field("expression", "text", "the condition that every row satisfies"),
)
_PREFIX = "delta.constraints."


@click.group("constraints")
def constraints() -> None:
    """CHECK constraints: add, drop, list."""


@command(
    "add",
    examples=('deltalite constraints add ./events positive "amount > 0"',),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.add_constraint({name: expression})",
)
@writable_table_argument
@click.argument("name")
@click.argument("expression")
@alter_options
def add(settings: Settings, table: str, name: str, expression: str, **given: Any) -> None:
    """Add a constraint, after a look at the rows that are there.

    The condition is SQL in Spark's dialect.
    """
    alter(
        settings, table, given, lambda a, how: a.add_constraint({name: expression}, **how),
        f"added the constraint {name}: {expression}",
    )  # fmt: skip


@command(
    "drop",
    examples=("deltalite constraints drop ./events positive",),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.drop_constraint(name)",
)
@writable_table_argument
@click.argument("name")
@click.option("--if-exists", is_flag=True, help="Do nothing if there is none of this name.")
@alter_options
def drop(settings: Settings, table: str, name: str, if_exists: bool, **given: Any) -> None:
    """Drop a constraint."""
    alter(
        settings, table, given, lambda a, how: a.drop_constraint(name, not if_exists, **how),
        f"dropped the constraint {name}",
    )  # fmt: skip


@command(
    "list",
    examples=("deltalite constraints list ./events -o json",),
    output=CONSTRAINTS,
    python="DeltaTable(TABLE).properties()",
)
@table_argument
def list_(settings: Settings, table: str) -> None:
    """The constraints of a table; NOT NULL is in its schema."""
    properties = settings.open(table).properties()
    found = {key[len(_PREFIX) :]: text for key, text in properties.items() if key.startswith(_PREFIX)}
    write_records(settings, CONSTRAINTS, [{"constraint": n, "expression": found[n]} for n in sorted(found)])


for _command in (add, drop, list_):
    constraints.add_command(_command)

COMMANDS = (constraints,)
