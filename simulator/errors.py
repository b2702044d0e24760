"""The one family of errors: each message says who, what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["FileError", "PluginError", "ShapeError", "SimulatorError", "UnknownNameError", "nearest"]


class SimulatorError(Exception):
    """Base of every error that the simulator raises on purpose."""


class ShapeError(SimulatorError, ValueError):
    """Sizes, shapes or values do not fit together."""


class UnknownNameError(SimulatorError, LookupError):
    """A name is not known; the message offers the nearest ones."""


class PluginError(SimulatorError):
    """A plugin breaks its contract, or is missing."""


class FileError(SimulatorError):
    """A file cannot be read or written, or does not hold what it should."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known names, or all of them.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.

    Returns
    -------
    str

    Examples
    --------
    >>> nearest("lenet", ["lenet5", "resnet8"])
    "did you mean 'lenet5'?"
    >>> nearest("vgg", ["lenet5", "resnet8"])
    'choose one of: lenet5, resnet8'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return "choose one of: " + ", ".join(names) if names else "there are none"
