"""The command line. Nothing is imported before it runs: an interrupt while it starts is answered, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["cli", "main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process; see `simulator.cli.program.main`."""
    try:
        from simulator.cli import program

        program.main(args)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name != "cli":
        raise AttributeError(f"module 'simulator.cli' has no attribute {name!r}")
    from simulator.cli.program import cli

    return cli
