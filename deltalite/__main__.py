"""``python -m deltalite`` and the console script."""

from __future__ import annotations

from deltalite.cli.app import app


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with its code."""
    app.main(prog_name="deltalite")


if __name__ == "__main__":
    main()
