"""The samples that a command looks at, by their numbers, and what is known of the training of a network on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.alone import COUNTING, counting_data
from simulator.cli.common import data_for, options
from simulator.cli.completion import data_sets
from simulator.cli.remembered import preparation_of, splits_of, trained_source
from simulator.cli.train import train
from simulator.errors import counted, shown

if TYPE_CHECKING:
    import numpy as np

    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved
    from simulator.preparation import Preparation
    from simulator.splits import Splits

data_options: Callable[..., Any] = options(
    click.option(
        "--data",
        "source",
        metavar="DATA",
        shell_complete=data_sets,
        help="A data set by name, NAME:PATH, or a path.  [default: the one it was trained on]",
    ),
    click.option("--all", "every", is_flag=True, help="All samples, not only those held out of training."),
)


def data_option(what: str) -> Callable[..., Any]:
    """``--data``, which `chosen_data` reads."""
    return click.option(
        "--data",
        metavar="DATA",
        shell_complete=data_sets,
        help=f"{what}  [default: what the network was trained on, else digits]",
    )


def sample_options(more: str = "") -> Callable[..., Any]:
    """``--data`` and ``--sample``."""
    number = f"Number of the sample{more}, the same in every command."
    return options(
        data_option("Where the sample comes from."),
        click.option("--sample", metavar="NUMBER", type=click.IntRange(0), default=0, show_default=True, help=number),
    )


@dataclass(frozen=True, eq=False)
class Chosen:
    """Data for a network, all samples by number.

    Parameters
    ----------
    data : Dataset
        As it was loaded.
    source : str
        What it is called.
    splits : Splits or None
        What the network was trained on; None where that is not known.
    """

    data: Dataset
    source: str
    splits: Splits | None

    def sample(self, number: int) -> Any:
        """One sample (channels, *space), or a dict of them by input name."""
        inputs = self.one(number).inputs
        return {name: array[0] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[0]

    def one(self, number: int) -> Dataset:
        """One sample as a data set."""
        from simulator.errors import ShapeError

        own, test = len(self.data), self.data.test
        total = own + (0 if test is None else len(test))
        if number >= total:
            raise ShapeError(
                f"{self.source}: expected a sample from 0 to {total - 1}, got {number}; choose one of them"
            )
        return self.data.take([number]) if number < own or test is None else test.take([number - own])

    def told(self, number: int) -> str:
        """What to add to the number of a sample: whether the network was trained on it, if anything is known of it."""
        from simulator.splits import fingerprints

        if self.splits is None or not self.splits.all:
            return ""
        prints = fingerprints(self.one(number))
        if self.splits.trained_on(prints)[0]:
            return ", which it was trained on"
        return ", held out of training" if self.splits.held_out(prints)[0] else ""


def chosen_data(catalog: Catalog, saved: Saved, source: str | None) -> Chosen:
    """The data asked for: by default what the network was trained on, else digits; a layer by itself counts."""
    if source is None and "layer" in saved.info:
        return Chosen(counting_data(saved), COUNTING, None)
    source = source or trained_source(saved, train) or "digits"
    like = preparation_of(saved)
    data = data_for(catalog, source, saved.network.input_shape, like)
    for note in _prepared(catalog, source, data, like):
        click.echo(f"Note: {note}", err=True)
    return Chosen(data, source, splits_of(catalog, saved, train))


def sample_for(catalog: Catalog, saved: Saved, source: str | None, number: int) -> Any:
    """One sample (channels, *space) of the data."""
    return chosen_data(catalog, saved, source).sample(number)


@dataclass(frozen=True, eq=False)
class Samples:
    """What to measure networks on.

    Parameters
    ----------
    data : Dataset
        These samples.
    numbers : numpy.ndarray, (n,)
        Their numbers in the data as loaded.
    source : str
        What the data are called.
    kind : str
        What each of them is.
    rest : str
        What to add behind.
    trained_on : numpy.ndarray of bool, (n,), or None
        Which of them a network was trained on; None where that is not known.
    notes : tuple of str
        What a reader of numbers measured on them has to know.
    """

    data: Dataset
    numbers: np.ndarray
    source: str
    kind: str
    rest: str
    trained_on: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def what(self) -> str:
        """What they are."""
        return f"{self.kind}s{self.rest}"

    @property
    def told(self) -> str:
        """How many they are, and what."""
        return counted(len(self.data), self.kind, self.rest)

    def tell(self) -> None:
        """Print the notes."""
        for note in self.notes:
            click.echo(f"Note: {note}", err=True)

    def take(self, positions: Any) -> Samples:
        """Some of them."""
        trained = None if self.trained_on is None else self.trained_on[positions]
        return replace(self, data=self.data.take(positions), numbers=self.numbers[positions], trained_on=trained)


def data_of(catalog: Catalog, several: Sequence[Saved], source: str | None, every: bool) -> Samples:
    """The data asked for: by default those samples that no network was trained on."""
    import numpy as np

    from simulator.errors import ShapeError
    from simulator.splits import fingerprints

    source = trained_source(several[0], train) if source is None else source
    if source is None:
        raise click.UsageError("the file does not say what the network was trained on; name the data with --data")
    like = preparation_of(several[0])
    data = data_for(catalog, source, several[0].network.input_shape, like)
    prints = fingerprints(data)
    told = [splits_of(catalog, saved, train) for saved in several]
    known = [splits for splits in told if splits is not None and splits.all]
    same = [splits.of(prints) for splits in known]
    trained, chosen = np.zeros(len(prints), bool), np.ones(len(prints), bool)
    for splits in known:
        trained |= splits.trained_on(prints)
        chosen &= every | splits.unseen(prints)
    tested = not every and data.test is not None and all(split is None or split.rule == "source" for split in same)
    if tested:
        chosen[: len(data)] = False
    if not chosen.any():
        who, cure = "it was not", "use --all, or other --data"
        if len(several) > 1:
            who, cure = "none of the networks was", "train them with one --split-seed, or use --all"
        raise ShapeError(f"{source}: expected samples that {who} trained on, got none of {len(prints)}; {cure}")
    numbers = np.flatnonzero(chosen)
    part = data if len(numbers) == len(data) and data.test is None else data.joined().take(numbers)
    kind = "test sample" if tested else "held-out sample" if known and all(same) and not every else "sample"
    rest = f" of {shown(source)}"
    if (trained & chosen).any():
        alike = "" if every else "identical to samples "
        rest += f", {(trained & chosen).sum()} of them {alike}trained on"
    elif trained.any() and kind == "sample":
        rest += f" that {'it was not' if len(several) == 1 else 'none of them was'} trained on"
    return Samples(
        part,
        numbers,
        source,
        kind,
        rest,
        None if None in told else trained[numbers],
        (*_prepared(catalog, source, data, like), *_notes(source, prints, told)),
    )


def _prepared(catalog: Catalog, source: str, data: Dataset, like: Preparation | None) -> tuple[str, ...]:
    """What was done to data, if it is not what was done to those that the network was trained on."""
    done = data.preparation
    known = source in catalog.datasets if like is None else done.notes == like.notes
    return () if known or not done.notes else (f"{shown(source)}: {done.told}.",)


def _notes(source: str, prints: np.ndarray, told: Sequence[Splits | None]) -> tuple[str, ...]:
    """What a reader of numbers measured on these data has to know."""
    import numpy as np

    notes = []
    if None in told:
        notes.append("the file does not say what the network was trained on; it may have been these samples.")
    if not all(splits.complete for splits in told if splits is not None):
        notes.append("what the network was trained on before its last training is not known.")
    for splits in told:
        if splits is None or splits.of(prints) is not None:
            continue
        for split in [split for split in splits.all if split.source == source][-1:]:
            new = int(np.sum(~np.isin(prints, split.fingerprints)))
            gone = int(np.sum(~np.isin(split.fingerprints, prints)))
            notes.append(f"{shown(source)} has changed since the training: {_are(new, 'new')}, {_are(gone, 'gone')}.")
    return tuple(dict.fromkeys(notes))


def _are(count: int, what: str) -> str:
    return f"{counted(count, 'sample')} {'is' if count == 1 else 'are'} {what}"
