"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT, process_environment


def test_the_reference_is_up_to_date():
    command = [sys.executable, str(ROOT / "docs" / "_generate" / "cli.py"), "--check"]
    done = subprocess.run(command, capture_output=True, env=process_environment(), text=True, timeout=120)
    assert done.returncode == 0, done.stderr
