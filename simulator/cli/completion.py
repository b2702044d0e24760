"""Completion: what a shell offers for a word that is being typed, and the script that tells the shell to ask."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from simulator.cli.grammar import examples

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.nodes import Node

__all__ = [
    "architectures",
    "build_options_of",
    "commands",
    "completion",
    "data_sets",
    "files",
    "kinds",
    "layers_of_net",
    "nets",
    "offers",
    "units_of_net",
    "weights_of_net",
]

_MOST = 200  # words; more would bury the terminal
_SHELLS = ("bash", "zsh", "fish")

Finder = Callable[[click.Context, click.Parameter, str], Iterable[str | CompletionItem]]
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(find: Finder) -> Completer:
    """What finds words, so that nothing that goes wrong reaches the line that is being typed."""

    @functools.wraps(find)
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items: list[CompletionItem] = []
        nowhere = io.StringIO()
        with (
            contextlib.suppress(Exception),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            ctx.scope(cleanup=False),
        ):
            for each in find(ctx, parameter, incomplete):
                item = each if isinstance(each, CompletionItem) else CompletionItem(each)
                if item.type != "plain" or str(item.value).startswith(incomplete):
                    items.append(item)
                if len(items) > _MOST:
                    break
        return items

    return complete


def _catalog() -> Catalog:
    from simulator.cli.common import the_catalog

    return the_catalog()


@_completer
def files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[CompletionItem]:
    """Files and folders."""
    yield CompletionItem(incomplete, type="file")


def offers(shelf: str, or_files: bool = False) -> Completer:
    """The names on a shelf of the catalog, such as "engines", with a line on each."""

    @_completer
    def names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[CompletionItem]:
        if or_files:
            yield CompletionItem(incomplete, type="file")  # first: bash takes files where no name fits
        for entry in getattr(_catalog(), shelf).entries.values():
            yield CompletionItem(entry.name, help=entry.summary)

    return names


architectures = offers("architectures")
nets = offers("architectures", or_files=True)
data_sets = offers("datasets", or_files=True)


@_completer
def commands(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[CompletionItem]:
    """The commands of the program."""
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    for name in root.command.list_commands(root):
        command = root.command.get_command(root, name)
        if command is not None and not command.hidden:
            yield CompletionItem(name, help=command.get_short_help_str())


@_completer
def kinds(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[str]:
    """What plugins offer."""
    from simulator.hookspecs import SHELVES

    return SHELVES


@_completer
def layers_of_net(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[str]:
    """The layers of NET."""
    return [node.name for node in _nodes(ctx) if node.inputs]


@_completer
def units_of_net(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[str]:
    """A unit in the middle of each layer of NET; of one layer in the middle of each channel."""
    value = "" if parameter.type.name != "NAME=VALUE" else "=0"
    for node in _nodes(ctx):
        channels, *space = node.shape
        middle = [n // 2 for n in space]
        for channel in range(channels if incomplete.startswith(f"{node.name}[") else 1):
            yield _address(node.name, channel, *middle) + value


@_completer
def weights_of_net(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[str]:
    """A weight of each array of NET; of one array one for each of its first numbers."""
    for node in _nodes(ctx):
        for param, shape in node.param_shapes.items():
            name, first = f"{node.name}.{param}", shape[:1] or (1,)
            for number in range(first[0] if incomplete.startswith(f"{name}[") else 1):
                yield _address(name, number, *(n // 2 for n in shape[1:]))


@_completer
def build_options_of(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterator[CompletionItem]:
    """NAME=VALUE of an architecture or an experiment, with its default."""
    from simulator.cli.common import OF_EVERY_NETWORK
    from simulator.declared import options_of

    catalog, told = _catalog(), ctx.params
    thing = catalog.experiments[told["name"]] if "name" in told else catalog.architectures[told["net"]]
    for option in options_of(thing).values():
        if option.name not in OF_EVERY_NETWORK and option.default not in (None, inspect.Parameter.empty):
            yield CompletionItem(f"{option.name}={option.default}", help=option.words)


def _nodes(ctx: click.Context) -> list[Node]:
    """The nodes of the network that stands on the command line; its weights are not drawn."""
    from simulator.cli.common import planned_network

    told = ctx.params
    planned = planned_network(
        _catalog(),
        told["net"],
        input_shape=told.get("input_shape"),
        classes=told.get("classes"),
        build_option=told.get("build_option") or (),
        rng=None,
    )
    return list(planned.saved.network.nodes.values())


def _address(name: str, *index: int) -> str:
    """Without spaces, so that no shell takes it apart."""
    return f"{name}[{','.join(map(str, index))}]"


@click.command(epilog=examples("simulator completion bash", "simulator completion fish"))
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print what makes a shell complete commands and names.

    SHELL is by default the one of this account. To complete in every new terminal add to ~/.bashrc or ~/.zshrc the
    line 'eval "$(simulator completion bash)"', or zsh in place of bash; for fish write the output to
    ~/.config/fish/completions/simulator.fish.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        raise click.UsageError(f"expected one of the shells {', '.join(_SHELLS)}, got none of them; name one")
    root = ctx.find_root()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(root.command, {}, "simulator", "_SIMULATOR_COMPLETE").source())
