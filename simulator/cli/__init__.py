"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from simulator.cli.common import CatalogOptions
from simulator.cli.draw import draw
from simulator.cli.extension import CommandGroup
from simulator.cli.look import describe, equivalence, plugins
from simulator.cli.processor import prepare_blas
from simulator.cli.train import train
from simulator.cli.use import evaluate, predict
from simulator.errors import SimulatorError

__all__ = ["cli", "main"]


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: simulator train",
)
@CatalogOptions.decorate
@click.version_option(package_name="cnn-matrix-simulator", prog_name="simulator")
def cli() -> None:
    """A convolutional net is a fully connected net whose weight matrix is sparse and shared.

    See that matrix, prove that it equals the convolution, and train it.
    """


for command in (train, evaluate, predict, describe, equivalence, draw, plugins):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process.

    Exit status: 0; 1 for a failed check, or if nobody reads the output; 2 for bad input, with one line that names the
    cure; 130 after Ctrl-C.
    """
    prepare_blas(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters still gets its table
    try:
        status = cli.main(args=args, prog_name="simulator", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        status = 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        status = _failed(f"{error.format_message()} (see '{context.command_path if context else 'simulator'} --help')")
    except SimulatorError as error:
        status = _failed(str(error))
    except (MemoryError, OverflowError) as error:
        status = _failed(f"simulator: expected sizes that fit into memory, got: {error}; use smaller ones")
    except OSError as error:
        status = _failed(
            f"simulator: expected to read and write, got: {error}; check the path, its rights and the disk"
        )
    sys.exit(status if isinstance(status, int) else 0)


def _failed(message: str) -> int:
    """Say in one line what is wrong with the input; the exit status for it."""
    click.echo(f"Error: {' '.join(message.splitlines())}", err=True)
    return 2
