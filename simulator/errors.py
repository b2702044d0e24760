"""The one family of errors: each message says who, what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = [
    "FileError",
    "NotInstalledError",
    "PluginError",
    "ShapeError",
    "SimulatorError",
    "UnknownNameError",
    "blamed",
    "brief",
    "close",
    "counted",
    "nearest",
    "shown",
]

_MOST = 50  # names that a message lists; more would bury it
_JOINERS = "\u200c\u200d"  # zero width; Persian, Hindi and some pictures need them


class SimulatorError(Exception):
    """Base of every error that the simulator raises on purpose."""


class ShapeError(SimulatorError, ValueError):
    """Sizes, shapes or values do not fit together."""


class UnknownNameError(SimulatorError, LookupError):
    """A name is not known; the message offers the nearest ones."""


class PluginError(SimulatorError):
    """A plugin breaks its contract, or is missing."""


class NotInstalledError(SimulatorError):
    """A library that something needs is not installed; the message says how to install it."""


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
        In place of any error but a `SimulatorError`, `MemoryError`, `OverflowError` or an interrupt; also of an exit.

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
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            raise
        raise PluginError(
            f"{who}: expected {expected}, got {brief(error)}; correct its code, 'simulator check-plugin' says what is "
            "wrong"
        ) from error


def close(name: Any, known: Iterable[str]) -> str:
    """The end of a message about an unknown name, if known names are near: which; else nothing.

    Parameters
    ----------
    name : object
        What was asked for, usually a text.
    known : iterable of str
        What there is.

    Returns
    -------
    str

    Examples
    --------
    >>> close("net.safetensor", ["net.safetensors", "notes.txt"]), close("x", ["net.safetensors"])
    ("did you mean 'net.safetensors'?", '')
    """
    alike = difflib.get_close_matches(name[:1000], list(known), n=3, cutoff=0.7) if isinstance(name, str) else []
    return f"did you mean {' or '.join(map(repr, alike))}?" if alike else ""


def nearest(name: Any, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known names, or all of them.

    Parameters
    ----------
    name : object
        What was asked for, usually a text.
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
    alike = close(name, names)
    if alike:
        return alike
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return f"choose one of: {', '.join(names[:_MOST])}{more}" if names else "there are none"


def shown(text: str) -> str:
    """Text in which everything that a terminal or a picture would act on stands as an escape.

    Control characters, ends of lines too, and those that change the direction of writing: a name may come from a file
    that somebody else made. The joiners that some scripts need stay.

    Parameters
    ----------
    text : str
        Such as the name of a class.

    Returns
    -------
    str

    Examples
    --------
    >>> shown("Ä cat"), shown("\\x1b[31mred\\n")
    ('Ä cat', '\\\\x1b[31mred\\\\n')
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str, rest: str = "") -> str:
    """How many there are, as a sentence says it.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        For one of them.
    rest : str, optional
        What follows, such as " of xo".

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "held-out sample"), counted(1437, "epoch"), counted(2, "class")
    ('1 held-out sample', '1,437 epochs', '2 classes')
    """
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x", "sh")) else "s"
    return f"{number:,} {noun}{ending}{rest}"


def brief(value: Any, most: int = 80) -> str:
    """A value as a message shows it: on one line, small values as Python writes them, large ones by kind and size.

    Every message that shows what somebody gave shows it through this function: an array, a text of a megabyte or a
    number of 5,000 digits would bury the sentence that says what to do.

    Parameters
    ----------
    value : object
        Anything at all. Of an error its kind and its text are shown.
    most : int, default 80
        About how many characters to spend.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> brief("conv1"), brief((1, 28, 28)), brief(0.5)
    ("'conv1'", '(1, 28, 28)', '0.5')
    >>> brief(np.zeros((3, 4))), brief(10**5000), brief([0] * 1000)
    ('an array (3, 4) of float64', 'an integer of about 5,001 digits', 'a list of 1,000 (0, ...)')
    >>> brief("x" * 1000, 20)
    "'xxxxxxxxxxxxxxxxxxxx...'"
    >>> brief(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    if isinstance(value, BaseException):
        kind, text = type(value).__name__, " ".join(_attempt(str, value).split())
        if not isinstance(value, SimulatorError):  # ours are short
            text = _cut(text, 2 * most)
        return f"{kind}: {text}" if text else kind
    if isinstance(value, type):
        return f"the class {_cut(value.__name__, most)}"
    if isinstance(value, (str, bytes)):
        text = repr(value[:most])
        return text if len(value) <= most and len(text) <= 2 * most else f"{text[: most + 1]}...{text[-1]}"
    if isinstance(value, os.PathLike):
        return brief(os.fspath(value), most)
    if isinstance(value, int) and value.bit_length() > 4 * most:  # Python itself refuses to write very long ones
        return f"an integer of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _collection(value, most)
    if type(value).__name__ == "ndarray":
        return _array(value)
    if isinstance(getattr(value, "__name__", None), str):
        return f"the {type(value).__name__} {_cut(value.__name__, most)}"
    text = _attempt(repr, value)
    if text and text.isprintable() and not any(part in text for part in (" at 0x", "array(", "[[")):
        return _cut(text, most)
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return _array(value)
    return _with_article(type(value).__name__)


def _collection(value: Any, most: int) -> str:
    """A collection with all of its entries if they are few and short, else their number and the first of them."""
    kind = _with_article(type(value).__name__)
    if most < 10:  # deep inside of another one
        return kind
    entries: list[str] = []
    for key in value:
        if len(entries) == 12:
            break
        entries.append(
            brief(key, most // 2) + (f": {brief(value[key], most // 2)}" if isinstance(value, Mapping) else "")
        )
    if type(value) in _BRACKETS and len(value) == len(entries):
        opened, closed = _BRACKETS[type(value)]
        one = "," if isinstance(value, tuple) and len(entries) == 1 else ""
        text = f"{opened}{', '.join(entries)}{one}{closed}"
        if len(text) <= most and "[[" not in text and (entries or not isinstance(value, set)):
            return text
    return f"{kind} of {len(value):,}" + (f" ({entries[0]}, ...)" if entries else "")


_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), dict: ("{", "}")}


def _array(value: Any) -> str:
    kind = "an array" if type(value).__name__ == "ndarray" else _with_article(type(value).__name__)
    return f"{kind} {tuple(value.shape)} of {value.dtype}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIOUaeiou' else 'a'} {_cut(noun, 80)}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _attempt(write: Any, value: Any) -> str:
    """The text of somebody else's object, or none: a message must not fail on what it shows."""
    try:
        return str(write(value))
    except Exception:
        return ""
