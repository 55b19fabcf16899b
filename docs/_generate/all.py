"""Write every generated page of docs/; ``--check`` fails when one is stale instead."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cli
import errors
import expressions
import support

if __name__ == "__main__":
    results = [module.main() for module in (errors, support, expressions, cli)]
    sys.exit(0 if all(results) else 1)
