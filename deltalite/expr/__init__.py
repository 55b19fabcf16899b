"""Verbs on expressions: SQL text to nodes and back, binding to a schema, evaluation over Arrow, pruning of files.

The language is Spark's (ANSI mode), because CHECK constraints, generated columns and defaults in tables are written
in it and must mean the same here. What cannot be done exactly is refused by name.
"""
