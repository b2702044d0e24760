"""The program ``simulator``. Nothing heavy is imported before a command runs, so that ``--help`` answers at once."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from simulator.cli.common import CatalogOptions
from simulator.cli.completion import commands, completion
from simulator.cli.draw import draw
from simulator.cli.extension import CommandGroup
from simulator.cli.grammar import examples
from simulator.cli.leaving import leaving_status, sigterm_raises
from simulator.cli.look import describe, equivalence, plugins
from simulator.cli.processor import prepare_blas
from simulator.cli.schema import schema
from simulator.cli.steps import program
from simulator.cli.terminal import escaped_output, wants_colour
from simulator.cli.train import train
from simulator.cli.use import evaluate, predict
from simulator.errors import SimulatorError, brief
from simulator.memory import available_memory, memory_text

__all__ = ["cli", "main"]

_LONG = re.compile(r"(\S{100})\S{100,}")  # click shows what was given as it was given


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: simulator train",
)
@CatalogOptions.decorate
@click.version_option(package_name="cnn-matrix-simulator", prog_name="simulator")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A convolutional net is a fully connected net whose weight matrix is sparse and shared.

    See that matrix, prove that it equals the convolution, and train it.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command("help", hidden=True, epilog=examples("simulator help draw"))
@click.argument("command", required=False, shell_complete=commands)
@click.pass_context
def help_of(ctx: click.Context, command: str | None) -> None:
    """The help of a command, as with --help."""
    assert ctx.parent is not None
    group = cli if command is None else cli.resolve_command(ctx.parent, [command])[1]
    assert group is not None
    context = ctx.parent if command is None else click.Context(group, ctx.parent, command)
    click.echo(group.get_help(context))


for command in (train, evaluate, predict, describe, equivalence, draw, plugins, completion, schema):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process.

    Exit status: 0; 1 for a failed check, or if nobody reads the output; 2 for bad input, with one line that names the
    cure; 130 after Ctrl-C, 143 after SIGTERM.
    """
    prepare_blas(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters still gets its table
    with escaped_output():
        status = _status(args)
    sys.exit(status)


def _status(args: Sequence[str] | None) -> int:
    """Run a command, say what went wrong, and give the exit status."""
    status: Any
    try:
        with sigterm_raises():
            colour = None if wants_colour(os.environ) else False
            status = cli.main(args=args, prog_name="simulator", standalone_mode=False, color=colour)
    except click.exceptions.Abort as error:
        status = leaving_status(error.__cause__)
        click.echo("Interrupted." if status == 130 else "Terminated.", err=True)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        told = _LONG.sub(r"\1...", error.format_message())
        if f": {program()} " not in told:  # what is to be pasted stands alone
            told += f" (see '{context.command_path if context else 'simulator'} --help')"
        status = _failed(told)
    except SimulatorError as error:
        status = _failed(str(error))
    except (MemoryError, OverflowError) as error:
        free = available_memory()
        left = "" if free is None else f", of which {memory_text(free)} are left"
        status = _failed(
            f"simulator: expected work that fits into memory{left}, got {brief(error)}; use a smaller --input, a "
            "smaller network or fewer samples"
        )
    except OSError as error:
        status = _failed(
            f"simulator: expected to read and write, got {brief(error)}; check the path, its rights and the disk"
        )
    return status if isinstance(status, int) else 0


def _failed(message: str) -> int:
    """Say in one line what is wrong with the input; the exit status for it."""
    click.echo(f"Error: {' '.join(message.splitlines())}", err=True)
    return 2
