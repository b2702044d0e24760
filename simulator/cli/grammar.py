"""The grammar of the command line: one name for one thing in all commands, and the names that things had before."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = [
    "Renamed",
    "batch_size_option",
    "examples",
    "limit_option",
    "listed",
    "output_option",
    "picture_option",
    "samples_option",
    "todays",
    "toned",
]

_LISTED = 10  # lines of a table, where nobody asks for more


class Renamed(click.Option):
    """An option that was called otherwise before; `todays` takes the old names, too.

    Parameters
    ----------
    old : sequence of str
        What it was called, such as ["--rows"].
    """

    def __init__(self, *declarations: Any, old: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.old = tuple(old)


def todays(command: click.Command, words: Sequence[str], quiet: bool = False) -> list[str]:
    """The words of a command line with today's names of options; says each on standard error.

    Parameters
    ----------
    command : click.Command
        Whose words they are.
    words : sequence of str
        As they were typed.
    quiet : bool, default False
        Say nothing.

    Examples
    --------
    >>> command = click.Command("ablate", params=[Renamed(["--limit"], old=["--rows"])])
    >>> todays(command, ["net", "--rows=3", "--", "--rows"], quiet=True)
    ['net', '--limit=3', '--', '--rows']
    """
    new = {old: max(p.opts, key=len) for p in command.params if isinstance(p, Renamed) for old in p.old}
    end = words.index("--") if "--" in words else len(words)
    found = []
    for word in words[:end]:
        name, equals, value = word.partition("=")
        if name in new and not quiet:
            click.echo(f"Note: {name} is called {new[name]} now.", err=True)
        found.append(f"{new.get(name, name)}{equals}{value}")
    return [*found, *words[end:]]


def examples(*commands: str) -> str:
    """The end of a command's help: how it is called.

    Examples
    --------
    >>> print(examples("simulator train").lstrip("\\b"))
    <BLANKLINE>
    Examples:
      simulator train
    """
    return "\n  ".join(["\b\nExamples:", *commands])


class OutputType(click.Path):
    """A file to write; what could not be written later is refused before anything is computed.

    Parameters
    ----------
    kinds : sequence of str
        The endings that it may have; none leaves the check to the command.
    """

    name = "file"

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        self.kinds = kinds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self.kinds:
            from simulator.draw.canvas import check_picture

            check_picture(path, self.kinds)
        return path


def output_option(what: str, kinds: Sequence[str], old: Sequence[str] = ()) -> Callable[..., Any]:
    """``--output``, the file that a command draws or writes, its ending says what kind of file; and ``--dark``."""
    output = click.option("--output", cls=Renamed, old=old, metavar="FILE", type=OutputType(kinds), help=what)
    dark = click.option(
        "--dark",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, param, value: ctx.meta.update({"simulator.dark": value}),
        help="Draw on a dark background.",
    )
    return lambda command: output(dark(command))


def toned(figure: Any) -> Any:
    """The same picture, on a dark background if that was asked for."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get("simulator.dark"):
        from simulator.draw import darken

        darken(figure)
    return figure


def picture_option(what: str) -> Callable[..., Any]:
    """``--output`` of a command that prints, and draws if it is asked to."""
    return output_option(f"Draw {what} into a .png, .svg or .pdf file.", ("png", "svg", "pdf"), ["--figure"])


def limit_option(what: str, default: int | None = None, old: Sequence[str] = ("--rows",)) -> Callable[..., Any]:
    """``--limit``, how many lines a command lists; see `listed`."""
    told = f"[default: {_LISTED}; all with --json or --format]" if default is None else f"[default: {default}]"
    return click.option(
        "--limit",
        cls=Renamed,
        old=old,
        metavar="N",
        type=click.IntRange(0 if default is None else 1),
        default=default,
        help=f"How many {what} to list.  {told}",
    )


def listed(limit: int | None, count: int) -> int:
    """How many of `count` lines to list: those asked for, else as many as one reads, or all that a program reads."""
    if limit is None:
        limit = count if "simulator.stdout" in click.get_current_context().meta else _LISTED
    return min(limit, count)


def samples_option(what: str, default: int | None = None, old: Sequence[str] = ()) -> Callable[..., Any]:
    """``--samples``, on how many samples something is computed."""
    return click.option(
        "--samples",
        cls=Renamed,
        old=old,
        metavar="N",
        type=click.IntRange(1),
        default=default,
        show_default=default is not None,
        help=what,
    )


def batch_size_option(default: int, what: str, old: Sequence[str] = ()) -> Callable[..., Any]:
    """``--batch-size``, how many samples at a time."""
    return click.option(
        "--batch-size",
        cls=Renamed,
        old=old,
        metavar="N",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help=what,
    )
