"""What --json prints, described by JSON schemas: for each command a file in the folder "schemas" beside its module."""

from __future__ import annotations

import importlib.resources
import inspect
import sys

import click

from simulator.cli.completion import commands
from simulator.cli.grammar import examples
from simulator.errors import brief, nearest

__all__ = ["schema", "schema_of"]


def schema_of(command: click.Command) -> str | None:
    """The JSON schema of what a command prints with --json, as text; None if it has none.

    Commands of plugins have theirs in the same way: beside the module in ``schemas/NAME.json``, packaged with it.

    Examples
    --------
    >>> from simulator.cli.look import describe
    >>> schema_of(describe).splitlines()[2]
    '  "title": "simulator describe --json",'
    """
    if command.callback is None or command.name is None:
        return None
    package = sys.modules[inspect.unwrap(command.callback).__module__].__package__
    if not package:  # a module of its own
        return None
    file = importlib.resources.files(package) / "schemas" / f"{command.name}.json"
    return file.read_text(encoding="utf-8") if file.is_file() else None


@click.command(epilog=examples("simulator schema", "simulator schema describe"))
@click.argument("command", required=False, shell_complete=commands)
@click.pass_context
def schema(ctx: click.Context, command: str | None) -> None:
    """Print the JSON schema of what a command prints with --json.

    Without COMMAND the commands that have one are listed.
    """
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    found = {name: root.command.get_command(root, name) for name in root.command.list_commands(root)}
    texts = {name: text for name, each in found.items() if each is not None and (text := schema_of(each)) is not None}
    if command is None:
        click.echo("\n".join(texts))
    elif command in texts:
        click.echo(texts[command], nl=False)
    else:
        raise click.UsageError(
            f"expected a command that prints JSON, got {brief(command)}; {nearest(command, texts)}", ctx
        )
