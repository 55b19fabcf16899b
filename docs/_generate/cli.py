"""docs/cli.md from the commands themselves: their options, output keys, exit codes and examples."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from pages import publish, table

from deltalite.cli.app import app
from deltalite.cli.command import COMMON, Command
from deltalite.cli.errors import EXIT_CODES

INTRO = """# Command line

`pip install deltalite` brings the command `deltalite`; `python -m deltalite` is the same.

```python
from pathlib import Path

Path("day1.csv").write_text("id,day,value\\n1,2026-11-01,1.5\\n2,2026-11-01,\\n3,2026-11-02,3.25\\n")
Path("day2.ndjson").write_text('{"id": 4, "day": "2026-11-03", "value": 4.5}\\n')
```

```console
$ deltalite create events --schema "id bigint NOT NULL, day date, value double" --partition-by day
$ deltalite append events day1.csv --message "first day"
3 rows appended in 2 files (1.9 kB): version 1, 0.02 s
$ deltalite append events day2.ndjson --txn daily:2
$ deltalite history events
VERSION  TIME (UTC)           OPERATION     ROWS  FILES  SIZE     BY               MESSAGE
      2  2026-11-20 09:41:09  WRITE         +1    +1     +966 B   deltalite/0.1.0
      1  2026-11-20 09:41:08  WRITE         +3    +2     +1.9 kB  deltalite/0.1.0  first day
      0  2026-11-20 09:41:07  CREATE TABLE                        deltalite/0.1.0
$ deltalite head events@1 --where "value > 2"
id  day         value
 3  2026-11-02   3.25
$ deltalite files events --where "id = 3" --explain-pruning
$ deltalite query "select day, count(*) as n from 'events' group by day order by day"
day         n
2026-11-01  2
2026-11-02  1
2026-11-03  1
```

## TABLE

A path, a URL, or a short name from the configuration file, and behind an `@` the version that is meant:

| you write | it is |
|---|---|
| `events`, `./events`, `s3://lake/events` | the newest version |
| `events@12`, `events@v12` | version 12 |
| `events@2026-11-01` | as it was when that day began |
| `events@2026-11-01T10:00`, `events@2026-11-01T10:00:00+01:00` | as it was then; UTC where no zone is given |
| `events@release-3` | the version that has this tag |

A path that contains an `@` and exists is that path. Commands that change a table take no version.

## Output

Data goes to stdout; notes, warnings, progress and errors go to stderr. On a terminal data is a table fitted to its
width; in a pipe it is plain text: columns separated by tabs, nothing wrapped or cut, sizes in bytes, times in UTC.
`-o` chooses another format:

| format | rows of a table | records (`history`, `show`, results ...) |
|---|---|---|
| `table` | aligned; in a file at full width | aligned, with units |
| `plain` | tab separated | tab separated; one record alone is a `key<TAB>value` line per key |
| `json`, `ndjson` | array of objects, object per line | the same; one record alone is one object |
| `csv`, `tsv` | RFC 4180; tabs, with `\\t`, `\\n`, `\\r`, `\\\\` inside cells | the same, nested values as JSON |
| `parquet`, `arrow` | a Parquet file, an Arrow IPC stream | the same |

In JSON sizes are bytes, times are RFC 3339 in UTC, decimals and 64-bit integers keep every digit, binary is base64, and
NaN and infinities are strings. The keys listed with each command below are stable. In csv null is an empty cell and the
empty string is `""`. Control characters that a table contains are shown (`\\x1b`) and never reach a terminal.

Colours appear on terminals only: `NO_COLOR`, `TERM=dumb` and `--no-color` turn them off, `FORCE_COLOR` on. A predicate
(`--where`) is [SQL in Spark's dialect](expressions.md); `query` is DuckDB's.

## Loading files

`append` and `overwrite` read csv, tsv, JSON (lines, an array, or objects one after another), Parquet and Arrow, also
compressed (`.gz`, `.bz2`, `.zst`), and stdin as `-`. The load is one commit, and streams.

* Columns are found by name, ignoring case. Columns that the input lacks become null (or their default); new ones need
  `--schema-mode merge`.
* csv and JSON are typed by the table. A value that does not fit is refused with its row, and nothing is written: no
  text in a number column, no rounding, no overflow, no `NA` that turns into null unless `--null-value NA` says so.
* In csv an empty cell is null and `""` is the empty string (null in columns that are not text). Times without a zone
  are UTC. Binary is base64, nested columns are JSON.
* Where there is no table yet, `--create` makes one. Types then come from `--schema` or from the first megabytes of the
  input; numbers with leading zeros stay text, and so does everything that JSON has in quotes.
* `--txn APPID:VERSION` makes a load repeatable: a version that the table has seen is skipped.
* `--dry-run` reads and types everything and writes nothing.

`overwrite` says what it will replace and asks. Without a terminal to ask on it does nothing unless told `--yes`.

## Changing rows

`upsert`, `merge`, `delete` and `update` are one commit each, and `upsert` and `merge` read their FILE like `append`:
one file, stdin, or another table. It has exactly the columns that it has: what a csv header or the first megabytes of
JSON lack is no column, and what only FILE has (an `op`, a time) can be named in conditions. A key that single rows of
JSON lack is null there.

* Rows that leave or get new values are a reason to ask: the plan and what it comes to are shown first. Without a
  terminal nothing happens unless `--yes` says so. Inserting alone asks nobody.
* `--dry-run` finds the rows and counts them, with the keys of the real result. `--explain` also shows which files are
  looked into, skipped (and why), marked with a deletion vector, rewritten or removed, and what that costs.
* `--memory-limit 512MB` bounds what is held; beyond it temporary files are used.
* `--txn APPID:VERSION` makes a change repeatable, as it does a load.

`changes` shows what versions did, row by row, `diff` what is different between two of them.

## Care of a table

`optimize`, `zorder` and `cluster` lay the same rows out in other files. They change no row and ask nobody: the files
that they replace stay until `vacuum`. With `--dry-run` they tell what they would rewrite, and how many files a lookup
reads now and after.

`vacuum` deletes files for good, and with them the versions that need them. It shows its plan and asks; without a
terminal it does nothing unless told `--yes`. A version with a tag stays:

```console
$ deltalite tag create events@1 first-day --message "before anybody touched it"
$ deltalite optimize events --dry-run
$ deltalite vacuum events --dry-run
$ deltalite count events@first-day
3
$ deltalite restore events --to @first-day --dry-run
```

`maintain` does all of it in the right order, for a cron job: files are compacted (clustered where the table has
clustering columns), then come a checkpoint, the clean-up of the log and vacuum. It prints a row per step. A policy file
in TOML (Python 3.11) or JSON changes what is done; every key may be left out:

```toml
layout = "auto"              # auto, compact, cluster, zorder or none
zorder_by = ["user", "day"]  # the columns for layout = "zorder"
target_size = "128MB"        # size that files should have; the table's by default
max_bytes = "50GB"           # rewrite no more than this in one night
checkpoint = true
clean_log = true             # delete log files that delta.logRetentionDuration no longer keeps
vacuum = true
retention = "14d"            # not shorter than the table's, which is the default
vacuum_full = false          # list the table, and delete what no commit mentions too
keep_versions = []           # versions that stay readable, besides tagged ones
```

`fsck` examines what is there, and repairs what can be repaired without loss.

## Exit codes

{exit_codes}

Errors read `error[code]: message`, with a `hint:` where there is something to do; the codes are those of
[errors](errors.md). `--debug` adds the Python traceback.

## Configuration

`~/.config/deltalite/config.toml` (below `$XDG_CONFIG_HOME` where that is set, or the file that `$DELTALITE_CONFIG`
names) holds short names for tables, and storage options under the names of profiles. It needs Python 3.11.

```toml
[tables]
events = "s3://lake/events"
trips = { uri = "s3://lake/trips", profile = "minio" }

[profiles.minio]
AWS_ENDPOINT_URL = "http://localhost:9000"
```

[Storage options](storage.md) come from the profile, then from `DELTALITE_STORAGE_OPTIONS` (a JSON object, or
`KEY=VALUE` words), then from `--storage-option`; later ones win. Keep secrets out of the command line, where other
users of the machine can read them: use the environment or the file.

`eval "$(deltalite completion bash)"` completes commands, options, tables and columns.

## Common options

{common}
"""


def page() -> str:
    exit_codes = table(["code", "meaning"], [[str(code), text] for code, text in EXIT_CODES.items()])
    some = next(command for _, command in commands())
    common = options_table(some, [p for p in some.params if p.name in COMMON])
    parts = [INTRO.replace("{exit_codes}", exit_codes).replace("{common}", common)]
    for title, members in app.sections().items():
        parts.append(f"## {title}\n")
        for path, command in walk(members):
            parts.append(section(path, command))
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, Command]]:
    for members in app.sections().values():
        yield from walk(members)


def walk(members: list[click.Command], path: str = "deltalite") -> Iterator[tuple[str, Command]]:
    """The commands of a section with their full names; groups stand for their members."""
    for command in members:
        here = f"{path} {command.name}"
        if isinstance(command, click.Group):
            yield from walk(list(command.commands.values()), here)
        else:
            assert isinstance(command, Command)
            yield here, command


def section(path: str, command: Command) -> str:
    ctx = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(ctx)])
    lines = [f"### {path}", "", inspect.cleandoc(command.help or ""), "", "```text", usage, "```", ""]
    own = [p for p in command.params if isinstance(p, click.Option) and p.name not in COMMON]
    if own:
        lines += [options_table(command, own), ""]
    if command.output:
        rows = [[f"`{f.name}`", f.kind, f.doc] for f in command.output]
        lines += ["Output:", "", table(["key", "type", "meaning"], rows), ""]
    lines += ["```text", *(f"$ {example}" for example in command.examples), "```", ""]
    if command.python:
        lines += [f"In Python: `{command.python}`", ""]
    return "\n".join(lines)


def options_table(command: click.Command, options: list[click.Parameter]) -> str:
    ctx = click.Context(command)
    records = (option.get_help_record(ctx) for option in options)
    return table(["option", "meaning"], [[f"`{record[0]}`", record[1]] for record in records if record is not None])


def main() -> bool:
    return publish("cli.md", page())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
