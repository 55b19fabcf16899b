"""docs/errors.md from ``deltalite.exceptions``."""

from __future__ import annotations

import inspect
import textwrap

from pages import publish, table

from deltalite import exceptions

ADVICE = {
    "table-not-found": "Check the path and the storage options; `DeltaTable.is_deltatable` tells without raising.",
    "table-exists": "Pass `mode=\"append\"`, `\"overwrite\"` or `\"ignore\"`.",
    "version-not-found": "`error.available` is the range that the log holds.",
    "timestamp-out-of-range": "Ask for a time within the history, or pass `clamp=True`.",
    "protocol-error": "See the subclass.",
    "unsupported-feature": "`error.features` names what is missing; another engine may drop the feature.",
    "invalid-table": "`error.path` and `error.version` name the place. Restore the file, or ask its writer.",
    "unsafe-path": "Inspect the log. For a shallow clone pass `allow_external_paths`.",
    "schema-mismatch": "`error.columns` names the columns. Cast them, or pass `schema_mode=\"merge\"` for new ones.",
    "unsupported-type": "Cast the column as the hint says.",
    "constraint-violation": "`error.constraint`, `error.count` and `error.rows` show what broke it.",
    "expression-error": "`error.position` is the offset in the text.",
    "multiple-matches": "Make the source unique by the keys of the merge; `error.keys` shows some, `error.count` says how many.",
    "merge-refused": "`error.keys` shows rows that the clause refuses. Correct the source, or the condition.",
    "invalid-argument": "The message says which argument, the hint what is allowed.",
    "commit-failed": "Nothing is visible. Repeat the operation.",
    "conflict": "Another writer came first. `refresh()` and [repeat](transactions.md).",
    "commit-outcome-unknown": "`table.resolve(error.txn_id)` finds out. Do not repeat the operation before that.",
    "storage-error": "`error.transient` says whether trying again may help.",
    "delta-error": "The base of all errors.",
}


def page() -> str:
    classes = [getattr(exceptions, name) for name in exceptions.__all__]
    rows = []
    for cls in sorted(classes, key=lambda c: c.code):
        advice = ADVICE.get(cls.code) or ADVICE["conflict" if issubclass(cls, exceptions.ConflictError) else "delta-error"]
        what = (inspect.getdoc(cls) or "").split("\n\n")[0]
        rows.append([f"`{cls.code}`", f"`{cls.__name__}`", what, advice])
    tree = textwrap.dedent(exceptions.__doc__.split("::\n")[1].split("\n``DeltaError``")[0]).strip("\n")
    return f"""# Errors

Every error that deltalite raises on purpose is a `DeltaError`. It says what went wrong and why, has a `hint` where
something can be done, a stable `code`, and its facts as attributes. Where Python has a word for it, it is that too:
`except FileNotFoundError` catches a missing table. The command line prints `error[code]: message` and `hint: ...`.

```text
{tree}
```

{table(["code", "class", "meaning", "what to do"], rows)}
"""


def main() -> bool:
    return publish("errors.md", page())
