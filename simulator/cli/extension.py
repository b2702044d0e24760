"""Commands from plugins: the entry-point group "simulator.commands".

Each entry point names a click command. Its module imports nothing heavy at the top, so that ``simulator --help``, which
shows every command's first line, stays quick.
"""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.grammar import todays
from simulator.cli.steps import quoted
from simulator.cli.tables import check_printed
from simulator.errors import PluginError, brief, nearest

if TYPE_CHECKING:
    import importlib.metadata

__all__ = ["CommandGroup"]

_GROUP = "simulator.commands"
_SECTIONS = {  # of the help; what is in none of them comes last
    "Train and use": ("train", "evaluate", "predict"),
    "See the matrix": ("describe", "equivalence", "draw", "explore", "graph"),
    "Look into a network": ("unit", "weight", "effect", "ablate", "respond", "affine", "sharing"),
    "Repeat and measure": ("experiment", "bench"),
    "Extend": ("plugins", "new-plugin", "check-plugin"),
    "For shells and programs": ("completion", "schema"),
}


class CommandGroup(click.Group):
    """A click group that also has the commands of installed plugins; a broken one says so when it is called."""

    def _points(self, ctx: click.Context) -> dict[str, list[importlib.metadata.EntryPoint]]:
        """The entry points by the name of their command; those of all packages are searched once in a run."""
        if _GROUP not in ctx.meta:
            from importlib.metadata import entry_points

            points = defaultdict(list)
            for point in entry_points(group=_GROUP):
                points[point.name].append(point)
            ctx.meta[_GROUP] = points
        return ctx.meta[_GROUP]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The core's commands in their order, then those of plugins by name."""
        return [*self.commands, *sorted(name for name in self._points(ctx) if name not in self.commands)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        names = self.list_commands(ctx)
        known = {name for section in _SECTIONS.values() for name in section}
        others = tuple(name for name in names if name not in known)
        wide = max(map(len, names), default=0)
        for title, section in {**_SECTIONS, "Other commands": others}.items():
            rows = []
            for name in section:
                command = self.get_command(ctx, name) if name in names else None
                if command is not None and not command.hidden:
                    text = command.get_short_help_str(formatter.width - 6 - wide)
                    rows.append((name.ljust(wide), text))
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name, or None."""
        if name in self.commands:
            return self.commands[name]
        points = self._points(ctx).get(name, [])
        if not points:
            return None
        if len(points) > 1:
            return _broken(name, f"one plugin to offer this command, got {_origins(points)}; uninstall one of them")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                command = points[0].load()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wanted = f"{_origins(points)} to be importable"
            return _broken(name, f"{wanted}, got {brief(error)}; fix it, or install what it needs")
        if not isinstance(command, click.Command):
            wanted = f"{_origins(points)} to be a click command"
            return _broken(name, f"{wanted}, got {brief(command)}; decorate it with @click.command()")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; what is wrong with the words of a command names its help."""
        try:
            result = super().invoke(ctx)
            check_printed(ctx)
            return result
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            command = None if name is None else self.get_command(ctx, name)
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, ctx, name)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a misspelt name is answered with the nearest, those of plugins among them."""
        name = args[0] if args else "-"
        command = None if name.startswith("-") else self.get_command(ctx, name)
        if command is not None:
            args = [name, *todays(command, args[1:], quiet=ctx.resilient_parsing)]
            if ctx.resilient_parsing and args[-1].startswith("-"):
                args.pop()  # its value is being completed; click would forget all arguments
            whole = quoted(ctx, args)
            if whole is not None and not ctx.resilient_parsing:
                raise click.UsageError(f"expected an address in one word, got several; put it in quotes: {whole}", ctx)
        elif not (name.startswith("-") or ctx.resilient_parsing):
            raise click.UsageError(
                f"expected a command, got {brief(name)}; {nearest(name, self.list_commands(ctx))}", ctx
            )
        ctx.meta["simulator.args"] = args[1:]  # for the next command
        return super().resolve_command(ctx, args)


def _origins(points: Iterable[importlib.metadata.EntryPoint]) -> str:
    """Where commands come from; only for messages, since the metadata of a package take long to read."""
    return " and ".join(f"{p.value} ({p.dist.name} {p.dist.version})" if p.dist else p.value for p in points)


def _broken(name: str, message: str) -> click.Command:
    """A command that only says what is wrong with the plugin that offers it."""

    @click.command(name, help=f"(broken) expected {message}", context_settings={"ignore_unknown_options": True})
    @click.argument("args", nargs=-1)
    def broken(args: tuple[str, ...]) -> None:
        raise PluginError(f"simulator {name}: expected {message}")

    return broken
