"""The command that draws."""

from __future__ import annotations

import click

from simulator.cli.common import CatalogOptions


@click.command()
@CatalogOptions.decorate
def draw() -> None:
    """Draw."""
