"""What leaves for the terminal: text alone, whatever names and messages a file or a folder brought in."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from simulator.errors import shown

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["error_console", "escaped_output", "print_styled", "say", "wants_colour"]


class _Escaped:
    """A text stream that shows what a terminal would act on; Rich, which may steer it, writes to the stream below."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write("\n".join(map(shown, text.split("\n"))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Show control characters as escapes on standard output and standard error, but for the ends of lines."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Escaped(stream) for stream in before)  # None if it was closed
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str, *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print text in a style (see `click.style`) where that is a terminal that wants it; the text itself is shown."""
    harmless = "\n".join(map(shown, text.split("\n")))
    print_styled(click.style(harmless, **style) if style else harmless, err=err, nl=nl)


def print_styled(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print what is harmless but for styles, which click leaves out of pipes and where nobody wants colours."""
    stream = sys.stderr if err else sys.stdout
    click.echo(text, file=getattr(stream, "rich_proxied_file", stream), nl=nl)


def wants_colour(environment: Mapping[str, str]) -> bool:
    """Whether terminals may get colours; see https://no-color.org.

    Examples
    --------
    >>> wants_colour({}), wants_colour({"NO_COLOR": "1"}), wants_colour({"TERM": "dumb"})
    (True, False, False)
    """
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def error_console(markup: bool = True) -> Console:
    """Rich's console on standard error, which may steer the terminal: for bars and spinners."""
    from rich.console import Console

    return Console(file=getattr(sys.stderr, "rich_proxied_file", sys.stderr), markup=markup)
