"""Shelves: what is offered of one kind, by name, and who offers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import PluginError, UnknownNameError, brief, nearest

__all__ = ["Entry", "Plugin", "Shelf"]


@dataclass(frozen=True)
class Plugin:
    """Where offers come from.

    Parameters
    ----------
    name : str
        Of the plugin.
    origin : str
        The distribution with its version, the file, or the module.
    """

    name: str
    origin: str


@dataclass(frozen=True)
class Entry:
    """One thing on a shelf.

    Parameters
    ----------
    name : str
        What it is asked for by.
    object : Any
        The class or function.
    plugin : Plugin
        Who offers it.
    accepts : callable, optional
        For data sets: whether a path looks like this kind of data.
    examples : sequence
        What checks try: for layers ``(layer, *input_shapes)``, for losses ``(loss, prediction, target)``, for
        architectures dicts of arguments such as ``{"input_shape": (1, 32, 32), "width": 0.25}``, for experiments small
        ones of the class.
    lr : float, optional
        For architectures: a learning rate that suits momentum.
    epochs : int, default 20
        For architectures: passes over a few thousand samples that training takes at this rate.
    task : {"classify", "reconstruct", "part"}
        For architectures: what it is trained for.
    losses : dict, optional
        For architectures: ``{output: loss name or (loss name, weight)}``; the first output is the one that predicts.
    known : sequence of str
        For data sets that are fetched by name: the best known of these names.
    """

    name: str
    object: Any
    plugin: Plugin
    accepts: Callable[[Path], bool] | None = None
    examples: Sequence[Any] = ()
    lr: float | None = None
    epochs: int = 20
    task: str = "classify"
    losses: Mapping[str, Any] | None = None
    known: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.object) or "").partition("\n")[0]


class Shelf(Mapping[str, Any]):
    """What is offered of one kind, by name.

    Parameters
    ----------
    kind : str
        Name of the shelf, such as "layers".
    entries : dict of Entry
        What may be taken.
    disputes : dict of str
        Names that several plugins offer and nobody chose from, with the message for who asks for one.
    offers : dict of sequence of Entry
        Everything that is offered under a name, also what was not chosen.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, Entry],
        disputes: Mapping[str, str],
        offers: Mapping[str, Sequence[Entry]],
    ) -> None:
        self.kind = kind
        self.entries = dict(entries)
        self.disputes = dict(disputes)
        self.offers = {name: tuple(rivals) for name, rivals in offers.items()}

    def __repr__(self) -> str:
        return f"{self.kind}: {', '.join(sorted(self.entries))}"

    def __getitem__(self, name: str) -> Any:
        return self.entry(name).object

    def entry(self, name: str) -> Entry:
        """The entry of this name, an `UnknownNameError` with the nearest ones, or a `PluginError` for a dispute."""
        if name in self.disputes:
            raise PluginError(self.disputes[name])
        if name not in self.entries:
            raise UnknownNameError(
                f"catalog: expected one of the {self.kind}, got {brief(name)}; {nearest(name, self.entries)} (see "
                "'simulator plugins')"
            )
        return self.entries[name]

    def offered(self, name: str, plugin: str) -> Entry | None:
        """What one plugin offers under a name, chosen or not, or None."""
        return next((entry for entry in self.offers.get(name, ()) if entry.plugin.name == plugin), None)

    def named(self, obj: Any) -> Entry | None:
        """The entry that offers `obj`, chosen or not, or None."""
        return next((entry for rivals in self.offers.values() for entry in rivals if entry.object is obj), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries
