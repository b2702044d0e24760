"""The one family of errors: each message says who, what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["FileError", "PluginError", "ShapeError", "SimulatorError", "UnknownNameError", "blamed", "nearest"]


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


@contextmanager
def blamed(who: str, expected: str) -> Iterator[None]:
    """Name whose code it is that fails in this block: errors that nobody raised on purpose become a `PluginError`.

    Parameters
    ----------
    who : str
        Such as "optimizer Lion()".
    expected : str
        What it should have done.

    Raises
    ------
    PluginError
        In place of any error but a `SimulatorError`, `MemoryError` or `OverflowError`.

    Examples
    --------
    >>> with blamed("loss Mine()", "value to give a number"):  # doctest: +ELLIPSIS
    ...     1 / 0
    Traceback (most recent call last):
    simulator.errors.PluginError: loss Mine(): expected value to give a number, got ZeroDivisionError: ...
    """
    try:
        yield
    except (SimulatorError, MemoryError, OverflowError):
        raise
    except Exception as error:
        raise PluginError(
            f"{who}: expected {expected}, got {type(error).__name__}: {error}; mend it, 'simulator check-plugin' tells "
            "more"
        ) from error


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
