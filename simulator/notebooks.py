"""What objects show of themselves in a notebook: tables as HTML, and iterators in a line instead of an address."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from simulator.errors import shown

__all__ = ["Steps", "html_matrix", "html_table"]

_MOST = 60  # rows; a notebook with more is not read
_Each = TypeVar("_Each")


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """A table for a notebook's page.

    Parameters
    ----------
    title : str
        Above it.
    columns : sequence of str
        The headings.
    rows : iterable of sequences
        Whole numbers are written with commas, others with four digits; None is an empty cell.
    left : int, default 1
        The first columns, which hold text; the others hold numbers.

    Returns
    -------
    str
        HTML in which no text is taken for markup.

    Examples
    --------
    >>> html_table("<Net>", ["layer", "params"], [["conv", 1560]])  # doctest: +ELLIPSIS
    '<table><caption ...>&lt;Net&gt;</caption>...<td style="text-align: right">1,560</td></tr></tbody></table>'
    """

    def line(tag: str, cells: Sequence[object]) -> str:
        sides = ("left" if place < left else "right" for place in range(len(cells)))
        return "".join(
            f'<{tag} style="text-align: {side}">{_text(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
        )

    every = list(rows)
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in every[:_MOST])
    if len(every) > _MOST:
        body += f'<tr><td colspan="{len(columns)}">and {len(every) - _MOST:,} more</td></tr>'
    caption = f'<caption style="text-align: left; white-space: nowrap">{_text(title)}</caption>'
    return f"<table>{caption}<thead><tr>{line('th', columns)}</tr></thead><tbody>{body}</tbody></table>"


def html_matrix(
    title: str, values: Sequence[Sequence[float]], ties: Mapping[tuple[int, int], Collection[int]], count: int
) -> str:
    """The cells of a matrix for a notebook's page; equal colours are equal weights.

    Parameters
    ----------
    title : str
        Above it.
    values : sequence of sequences of float
        Row by row.
    ties : mapping of (row, column) to ints
        The numbers of the weights that each nonzero is the sum of.
    count : int
        How many weights there are; their numbers stand under the pointer.
    """
    lines = []
    for row, numbers in enumerate(values):
        cells = ""
        for column, value in enumerate(numbers):
            its = sorted(ties.get((row, column), ()))
            if not its:
                cells += "<td></td>"
                continue
            colour = f"; background: hsl({360 * its[0] // count}, 75%, 85%); color: black" if len(its) == 1 else ""
            told = f"weight {' + '.join(map(str, its))}"
            cells += f'<td style="text-align: right{colour}" title="{told}">{value:.4g}</td>'
        lines.append(f"<tr>{cells}</tr>")
    caption = f"{_text(title)}; equal colours are equal weights"
    head = f'<caption style="text-align: left; white-space: nowrap">{caption}</caption>'
    return f"<table>{head}<tbody>{''.join(lines)}</tbody></table>"


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return html.escape(f"{cell:.4g}" if isinstance(cell, float) else shown(str(cell)))


class Steps(Iterator[_Each], Generic[_Each]):
    """An iterator that says in one line what it gives; `close` ends it early.

    Parameters
    ----------
    each : generator
        What it gives.
    told : str
        What that is, and how to get it.

    Examples
    --------
    >>> steps = Steps((n * n for n in range(3)), "Squares: write for square in squares(3)")
    >>> steps
    Squares: write for square in squares(3)
    >>> list(steps)
    [0, 1, 4]
    """

    def __init__(self, each: Iterator[_Each], told: str) -> None:
        self._each, self._told = each, told

    def __next__(self) -> _Each:
        return next(self._each)

    def close(self) -> None:
        """End it, as a generator's `close` does."""
        self._each.close()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return self._told
