"""The commands, a module per group. Each lists its own in ``COMMANDS``; ``app.SECTIONS`` lists the modules."""
