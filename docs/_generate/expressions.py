"""docs/expressions.md: the language, and the functions from their registry."""

from __future__ import annotations

import inspect
from collections import defaultdict

from pages import publish, table

from deltalite.expr.functions import lookup
from deltalite.expr.functions.registry import FUNCTIONS

PROSE = """# SQL expressions

Predicates, the values of updates and merges, CHECK constraints, generated columns and defaults are expressions of Spark
SQL, and mean here what they mean there with ANSI rules on.

```python
import pyarrow as pa
from deltalite import DeltaTable, write_deltalake

write_deltalake("t", pa.table({"id": [1, 2, 3], "name": ["ann", "Bob", None], "v": [0.5, float("nan"), 2.0]}))
table = DeltaTable("t")

assert table.count("id + 1 = 3 OR name IS NULL") == 2
assert table.count("upper(name) LIKE 'A%'") == 1
assert table.count("v = double('NaN')") == 1
assert table.count("CASE WHEN id > 1 THEN coalesce(name, '?') ELSE 'x' END IN ('?', 'x')") == 2
```

## The language

| | |
|---|---|
| names | `id`, `` `odd name` ``, `point.x`, `tags[0]`, `props['k']`; case does not matter; in a [merge](merge.md) `t.id`, `s.id` |
| text | `'it''s'`; `"name"` is a column where there is one of that name, else text |
| numbers | `1`, `1L`, `1.50` (a decimal), `1e3` (a double), `1.5BD`, `1Y`, `1S`, `1D`, `1F` |
| other literals | `true`, `null`, `DATE '2026-11-20'`, `TIMESTAMP '2026-11-20 10:00:00'`, `TIMESTAMP_NTZ '...'`, `X'1F'`, `INTERVAL 3 DAYS` |
| comparison | `=`, `<>`, `!=`, `<`, `<=`, `>`, `>=`, `<=>` (null-safe), `IS [NOT] DISTINCT FROM`, `BETWEEN`, `IN`, `LIKE ... ESCAPE`, `ILIKE`, `RLIKE`, `IS [NOT] NULL`, `IS [NOT] TRUE` |
| logic | `AND`, `OR`, `NOT`, with SQL's three values |
| arithmetic | `+`, `-`, `*`, `/` (never an integer division), `DIV`, `%`, `&`, `|`, `^`, `~`; text joins with `\\|\\|` |
| conditions | `CASE`, `IF`, `COALESCE`; a branch is evaluated only for the rows that reach it |
| types | `CAST(x AS t)`, `TRY_CAST`, `x::t` |

## The rules

* Overflow, division by zero and text that is no number are errors, not nulls or wrapped values.
* `1/2` is 0.5; `CAST(2.5 AS INT)` is 2; `CAST(1.005 AS DECIMAL(10,2))` is 1.01.
* NaN equals NaN and is above every number; 0.0 equals -0.0.
* A timestamp without a zone, and every date, is meant in the expression's time zone: UTC, or `scan(time_zone=...)`.
* What cannot be computed exactly as Spark does is refused by name: regular expressions with look-around, decimals
  beyond 38 digits, functions that give another value each time. There are no subqueries.

An expression that is wrong says where:

```python
from deltalite.exceptions import ExpressionError

try:
    table.count("nmae = 'x' AND id >")
except ExpressionError as error:
    print(error)
```

## Functions
"""


def page() -> str:
    groups: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, row in FUNCTIONS.items():
        if not name[0].isalpha():
            continue
        module = inspect.getmodule(row.evaluate) if row.evaluate else None
        group = (module.__name__.rsplit(".", 1)[-1] if module else "conditions").replace("_", " ")
        groups[group].setdefault(row.name, []).append(name)
    parts = [PROSE]
    for group in sorted(groups):
        rows = []
        for first, names in sorted(groups[group].items()):
            usage = lookup(first).usage or first
            rows.append([", ".join(f"`{n}`" for n in names), f"`{usage}`" if usage != first else ""])
        parts.append(f"### {group.capitalize()}\n\n{table(['name', 'types'], rows)}\n")
    return "\n".join(parts)


def main() -> bool:
    return publish("expressions.md", page())
