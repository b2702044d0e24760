"""Tables: made once, of values and how they are written; printed for readers, and with --format for programs."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import click

from simulator.cli.terminal import print_styled, say
from simulator.errors import shown

__all__ = [
    "FORMATS",
    "Cell",
    "Table",
    "cell",
    "check_one_way",
    "check_printed",
    "format_option",
    "formatted",
    "print_table",
    "table",
    "to_program",
]

FORMATS = ("csv", "latex", "md")


@dataclass(frozen=True)
class Cell:
    """A value, and how a reader sees it.

    Parameters
    ----------
    value : object
        What a CSV file holds; None is an empty cell.
    text : str
        What all others show.
    """

    value: Any
    text: str


def cell(value: float | None, form: str = ",", unit: str = "", none: str = "") -> Cell:
    """A number as a format writes it, with its unit; `none` stands where there is none.

    Examples
    --------
    >>> cell(0.99443, ".2%"), cell(None), cell(2.2, ".2f", "x").text
    (Cell(value=0.99443, text='99.44%'), Cell(value=None, text=''), '2.20x')
    """
    if value is None:
        return Cell(None, none)
    plain = value.item() if hasattr(value, "item") else value
    return Cell(plain, f"{plain:{form}}{unit}")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns with a heading each, and rows of texts and cells.

    Parameters
    ----------
    columns : tuple of str
        The headings; they may have several lines.
    left : int, default 1
        The first columns, which say what a row is about; the others hold numbers.
    wrap : str, default ""
        The column whose text wraps on a terminal.
    """

    columns: tuple[str, ...]
    left: int = 1
    wrap: str = ""
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)

    def add_row(self, *cells: str | Cell) -> None:
        """A row: a text, or a value with its text, for each column."""
        self.rows.append(tuple(cell if isinstance(cell, Cell) else Cell(cell, cell) for cell in cells))

    def add_section(self) -> None:
        """A line between the rows before and those that follow."""
        self.sections.add(len(self.rows))


def table(*columns: str, left: int = 1, wrap: str = "") -> Table:
    """An empty table; see `Table`."""
    return Table(columns, left, wrap)


def to_program(ctx: click.Context) -> None:
    """Keep standard output for what a program reads: all else that is printed goes to standard error."""
    if "simulator.stdout" not in ctx.meta and not ctx.resilient_parsing:
        ctx.meta["simulator.stdout"] = sys.stdout
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))


def check_one_way(ctx: click.Context) -> None:
    """Refuse --json and --format together."""
    if "simulator.stdout" in ctx.meta and not ctx.resilient_parsing:
        raise click.UsageError("expected one of --json and --format, got both; leave one out", ctx)


def _chosen(ctx: click.Context, param: click.Parameter, form: str | None) -> str | None:
    """With --format standard output holds nothing but the tables."""
    if form is not None:
        check_one_way(ctx)
        to_program(ctx)
        ctx.meta["simulator.format"] = form
    return form


format_option = click.option(
    "--format",
    type=click.Choice(FORMATS),
    is_eager=True,
    expose_value=False,
    callback=_chosen,
    help="Print the tables alone, in this format; CSV has all digits.",
)


def formatted() -> bool:
    """Whether tables are for a program, which reads those without rows, too."""
    return "simulator.format" in click.get_current_context().meta


def check_printed(ctx: click.Context) -> None:
    """Refuse --format where no table was printed."""
    if "simulator.format" in ctx.meta and "simulator.tables" not in ctx.meta:
        raise click.UsageError("--format: expected a command that prints a table, got one that prints none; use --json")


def print_table(title: str, table: Table) -> None:
    """A title and a table, as --format wants it.

    For readers it is as wide as it needs, as cut numbers would be wrong numbers; what is wider than the terminal goes
    on below.
    """
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    form, where = meta.get("simulator.format"), meta.get("simulator.stdout")
    if form is None:
        say(title, bold=True)
        for line in _lines(table):
            print_styled(line)
        return
    if meta.get("simulator.tables"):
        click.echo("", file=where)
    meta["simulator.tables"] = True
    write = {"csv": _csv, "latex": _latex, "md": _md}[form]
    click.echo(write(" ".join(map(shown, title.split("\n"))), table), file=where)


def _csv(title: str, table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_headings(table))
    writer.writerows([shown(c.value) if isinstance(c.value, str) else c.value for c in row] for row in table.rows)
    return text.getvalue()[:-1]


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "·": r"$\cdot$",
}  # fmt: skip


def _latex(title: str, table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in cells) + r" \\"

    kinds = "l" * table.left + "r" * (len(table.columns) - table.left)
    lines = [f"% {title}", rf"\begin{{tabular}}{{{kinds}}}", r"\hline", line(_headings(table)), r"\hline"]
    for place, row in enumerate(table.rows):
        lines += [r"\hline"] * (place in table.sections) + [line(shown(cell.text) for cell in row)]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])


_MD, _ESCAPED = re.compile(r"([|\\`*_<])"), r"\\\1"


def _md(title: str, table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(_MD.sub(_ESCAPED, cell) for cell in cells)} |"

    kinds = ["---"] * table.left + ["---:"] * (len(table.columns) - table.left)
    rows = [line(shown(cell.text) for cell in row) for row in table.rows]
    return "\n".join([title, "", line(_headings(table)), f"| {' | '.join(kinds)} |", *rows])


def _headings(table: Table) -> list[str]:
    """In one line each."""
    return [shown(" ".join(heading.split("\n"))) for heading in table.columns]


def _lines(table: Table) -> list[str]:
    """The lines of a table for readers."""
    from rich.console import Console

    console = Console(markup=False, emoji=False)  # a class may be called [b] or :smile:
    wide = Console(width=10_000, markup=False, emoji=False)
    limited = console.is_terminal or "COLUMNS" in os.environ
    parts, numbers = [], list(range(len(table.columns)))
    while numbers:  # those that follow the columns which say what a row is about
        keys = [n for n in range(table.left) if n not in numbers]
        fit = len(numbers)
        while limited and fit > 1 and _few(keys, numbers[:fit], table):
            if wide.measure(_rich(table, [*keys, *numbers[:fit]])).minimum <= console.width:
                break
            fit -= 1
        parts.append([*keys, *numbers[:fit]])
        numbers = numbers[fit:]
    lines: list[str] = []
    for part in parts:
        made = _rich(table, part)
        size = wide.measure(made)
        console.width = max(console.width, size.minimum) if limited else size.maximum
        with console.capture() as capture:
            console.print(made)
        made_lines = [line.rstrip() for line in capture.get().split("\n")[:-1]]
        lines += made_lines[1:] if lines else made_lines  # they begin and end with an empty one
    return lines


def _few(keys: list[int], numbers: list[int], table: Table) -> bool:
    """Whether fewer columns than these still say something."""
    return len(keys) + len(numbers) > table.left + 1


def _rich(table: Table, numbers: list[int]) -> Any:
    """Some columns as Rich's table."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as RichTable

    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for n in numbers:
        texts = [_harmless(table.columns[n]), *(_harmless(row[n].text) for row in table.rows)]
        fixed = table.columns[n] != table.wrap
        width = max((cell_len(line) for text in texts for line in text.splitlines()), default=0) if fixed else None
        made.add_column(texts[0], justify="left" if n < table.left else "right", no_wrap=fixed, min_width=width)
    for place, row in enumerate(table.rows):
        if place in table.sections:
            made.add_section()
        made.add_row(*(_harmless(row[n].text) for n in numbers))
    return made


def _harmless(text: str) -> str:
    """Text in lines that a terminal does not act on."""
    return "\n".join(map(shown, text.split("\n")))
