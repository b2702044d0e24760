"""The next command: every hint and every cure that is a command is written here, to be pasted into a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import click

__all__ = ["ALL", "NETWORK", "SAMPLES", "free", "next_command", "program", "python", "quoted", "say_next"]

NETWORK = ("--input", "--classes", "--option")  # what an architecture is built with
SAMPLES = ("--data", "--all", "--sample")  # what a network is shown
_ADDRESS = re.compile(r"(--[\w-]+=)?[\w./-]+\[[\d:,\s-]+\](=\S+)?")  # of units or a weight, with what is said of it
ALL = None  # every option that was given


def program() -> str:
    """What to type to run this program: as it was typed, where the shell would not find it by its name."""
    called, found = Path(sys.argv[0]), shutil.which("simulator")
    if called.stem != "simulator" or not called.exists() or (found and called.samefile(found)):
        return "simulator"
    return sys.argv[0]


def python() -> str:
    """What to type to run the Python that this program runs in, likewise."""
    found = shutil.which("python")
    if found and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable):
        return "python"
    return sys.executable


def next_command(
    name: str | None = None,
    *arguments: object,
    keep: Collection[str] | None = (),
    add: Mapping[str, object] | None = None,
) -> str:
    """A command line that goes on from the one that runs, each word quoted for the shell.

    Plugins and preferences that were given go along.

    Parameters
    ----------
    name : str, optional
        Of the command. Default: the one that runs, with its arguments and all of its options.
    *arguments : object
        Its arguments.
    keep : collection of str, optional
        The options that go along where they were given and the command has them, each by its longest name; `ALL` keeps
        every one. Ignored without a name.
    add : dict, optional
        Options to add or to replace, each by its longest name; True is a flag, None takes the option away.

    Returns
    -------
    str
    """
    context, add = click.get_current_context(), dict(add or {})
    if name is None:
        name, keep = str(context.info_name), ALL
        arguments = tuple(word for words in _given(context, click.Argument).values() for word in words)
    root = context.find_root()
    target = root.command.get_command(root, name) if isinstance(root.command, click.Group) else None
    there = {} if target is None else {_longest(p): p for p in target.params if isinstance(p, click.Option)}
    paths = (f"./{word}" if word.startswith("-") else word for word in map(str, arguments))  # or it were an option
    words = [*_plugins(context), name, *paths]
    for option, said in _given(context, click.Option).items():
        if option in there and option not in add and (keep is ALL or option in keep):
            words += said
    for option, value in add.items():
        words += [] if value is None else [option] if value is True else [option, str(value)]
    return shlex.join([program(), *words])


def quoted(context: click.Context, words: Sequence[str]) -> str | None:
    """The command line with quotes around addresses that a shell has taken apart at their spaces, if it has.

    Parameters
    ----------
    context : click.Context
        Of the program, whose options for plugins go along.
    words : sequence of str
        The name of the command and its words.
    """
    found: list[str] = []
    for word in words:
        found.append(word)
        for first in range(len(found) - 1):
            whole = " ".join(found[first:])
            if found[first].count("[") > found[first].count("]") and _ADDRESS.fullmatch(whole):
                found[first:] = [whole]
                break
    return None if len(found) == len(words) else shlex.join([program(), *_plugins(context), *found])


def _plugins(context: click.Context) -> list[str]:
    """The plugins and preferences that were given, as words."""
    keys = (("-p", "simulator.plugin"), ("--prefer", "simulator.prefer"))
    return [word for option, key in keys for value in context.meta.get(key, ()) for word in (option, value)]


def _longest(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len)


def _given(context: click.Context, kind: type[click.Parameter]) -> dict[str, list[str]]:
    """The words on the command line for each option or argument, by its longest name; plugins are told apart."""
    args = context.meta.get("simulator.args")
    if args is None:  # the command was not started by the program
        return {}
    values, _, order = context.command.make_parser(context).parse_args(list(args))
    found: dict[str, list[str]] = {}
    for parameter in context.command.params if kind is click.Argument else dict.fromkeys(order):
        if not isinstance(parameter, kind) or parameter.name in ("plugin", "prefer"):
            continue
        value, name = values.get(str(parameter.name)), _longest(parameter)
        each = value if isinstance(value, (list, tuple)) else [value]
        texts = [one for one in each if isinstance(one, str)]
        if kind is click.Argument:
            found[name] = texts
        elif isinstance(value, bool):
            found[name] = [name if value else max(parameter.secondary_opts, key=len)]
        else:
            found[name] = [word for text in texts for word in (min(parameter.opts, key=len), text)]
    return found


def free(name: str | Path) -> str:
    """The name of a new file like this one: with a number, where it is taken.

    Examples
    --------
    >>> free("no-such-file.png")
    'no-such-file.png'
    """
    path, number = Path(name), 2
    while path.exists():
        path = Path(name).with_stem(f"{Path(name).stem}-{number}")
        number += 1
    return str(path)


def say_next(command: str, what: str = "") -> None:
    """Print a command to run next, in a line of its own, and what for."""
    click.echo(f"Next{what and ', '}{what}: {command}")
