"""The golden tables of other engines, where a folder of them is given by ``DELTALITE_GOLDEN``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("DELTALITE_GOLDEN")


def test_every_stated_case(tmp_path: Path) -> None:
    """All cases but the optional ones pass."""
    if not FOLDER:
        pytest.skip("DELTALITE_GOLDEN names no folder of golden tables")
    folder = Path(FOLDER)
    report = tmp_path / "report.json"
    # The runner puts the adapter's own folder first on the path, where it would be imported in the library's place.
    adapter = tmp_path / "golden_adapter.py"
    adapter.write_text((folder / "adapters" / "deltalite.py").read_text())
    command = [
        sys.executable, str(folder / "golden.py"), "--adapter", str(adapter),
        "--no-optional", "--json", str(report), "--jobs", "2",
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())["results"]
    assert len(results) > 500
    failed = [f"{r['suite']}/{r['table']}/{r['case']}: {r['reason']}" for r in results if r["status"] != "pass"]
    assert not failed, "\n".join(failed)
