"""The ``deltalite`` command.

``app`` finds the commands and turns errors into exit codes; ``commands/`` holds a module per group of them, each a
thin layer of options over one call of the facade; ``output/`` prints what they return and ``input/`` reads the files
that are loaded. click and rich are imported nowhere else in the library, and pyarrow only by commands that touch a
table.
"""
