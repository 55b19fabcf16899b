"""completion, info: the tool itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import get_completion_class

from deltalite._version import __version__
from deltalite.cli.command import command
from deltalite.cli.config import config_path
from deltalite.cli.output import write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.settings import Settings

_NEEDED = ("pyarrow", "numpy", "pyroaring", "fsspec", "click", "rich")
_OPTIONAL = ("duckdb", "pandas", "polars", "s3fs", "gcsfs", "adlfs", "obstore", "pyspark")
_STORES = (("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure"))

INFO = (
    Field("deltalite", "text", "version of deltalite"),
    Field("python", "text", "version of Python"),
    Field("platform", "text", "the operating system"),
    Field("packages", "json", "versions of the packages it uses; null for extras that are not installed"),
    Field("stores", "json", "what tables can be kept on: true, or the extra to install"),
    Field("config", "text", "path of the configuration file"),
    Field("config_exists", "boolean", "whether there is one"),
)


@command(
    "completion",
    examples=(
        'eval "$(deltalite completion bash)"',
        "deltalite completion fish > ~/.config/fish/completions/deltalite.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(settings: Settings, shell: str) -> None:
    """Print the script that completes commands, tables and columns in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(click.get_current_context().find_root().command, {}, "deltalite", "_DELTALITE_COMPLETE").source())


@command("info", examples=("deltalite info", "deltalite info -o json"), output=INFO)
def info(settings: Settings) -> None:
    """Versions and what is installed, for reports of faults."""
    import platform

    path = config_path()
    record = {
        "deltalite": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _installed(name) for name in (*_NEEDED, *_OPTIONAL)},
        "stores": {"file": True, "memory": True}
        | {scheme: _ready(package, extra) for scheme, package, extra in _STORES},
        "config": str(path),
        "config_exists": path.is_file(),
    }
    write_record(settings, INFO, record, lambda: _card(record))


def _ready(package: str, extra: str) -> bool | str:
    return True if _installed(package) else f"pip install 'deltalite[{extra}]'"


def _installed(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _card(record: Record) -> Iterator[str]:
    yield f"deltalite {record['deltalite']}   Python {record['python']}   {record['platform']}"
    packages = record["packages"]
    yield "packages  " + "  ".join(f"{name} {version}" for name, version in packages.items() if version)
    absent = [name for name, version in packages.items() if not version]
    if absent:
        yield "absent    " + "  ".join(absent)
    for scheme, state in record["stores"].items():
        yield f"store     {scheme:<7} {'ready' if state is True else state}"
    yield f"config    {record['config']}{'' if record['config_exists'] else '  (none yet)'}"


COMMANDS = (completion, info)
