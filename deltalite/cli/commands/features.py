"""features list: what the protocol of a table demands."""

from __future__ import annotations

import click

from deltalite.cli.command import command, table_argument
from deltalite.cli.output import write_records
from deltalite.cli.output.shapes import Field
from deltalite.cli.settings import Settings

FEATURES = (
    Field("feature", "text", "its name in the protocol"),
    Field("readers", "boolean", "readers must know it too, not writers alone"),
    Field("known", "boolean", "deltalite knows it"),
    Field("property", "text", "the table property that turns it on, if there is one"),
    Field("value", "text", "what that property is set to; null where it is not"),
)


@click.group("features")
def features() -> None:
    """Table features: list."""


@command(
    "list",
    examples=("deltalite features list ./events", "deltalite features list ./events -o json"),
    output=FEATURES,
    python="DeltaTable(TABLE).protocol()",
)
@table_argument
def list_(settings: Settings, table: str) -> None:
    """What readers and writers must know, the features of older protocols included."""
    from deltalite.features import FEATURES as KNOWN

    handle = settings.open(table)
    detail, known = handle.detail(), {feature.name: feature for feature in KNOWN}
    for_readers = set(handle.protocol().reader_features or ())
    records = []
    for name in detail["table_features"]:
        feature = known.get(name)
        switch = None if feature is None else feature.property
        of_readers = name in for_readers if feature is None else feature.kind != "writer"
        records.append(
            {
                "feature": name,
                "readers": of_readers,
                "known": feature is not None,
                "property": switch,
                "value": None if switch is None else detail["properties"].get(switch),
            }
        )
    write_records(settings, FEATURES, records)


features.add_command(list_)

COMMANDS = (features,)
