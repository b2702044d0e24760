"""Options and their declared types: one place says what an annotation allows, in Python, on the command line, in files.

The fields of a frozen dataclass and the parameters of a function are options. What each may be is its annotation: bool,
int, float, str, None, a Literal, a tuple or Sequence of those, a class, or a union. With this module one can

- derive a dataclass from `Declared`, so that its fields are checked whenever one is made: ``Conv(6, kernel="x")`` is
  refused as it is written, not where it is used;
- ask `options_of` a class or function what it takes, and check a value, parse what was typed after ``-o``, or read what
  stood in a file.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import shlex
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from simulator.errors import ShapeError, brief

__all__ = ["Declared", "Option", "options_of"]

_MISSING = inspect.Parameter.empty
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAMES: dict[Any, tuple[str, str]] = {  # one of them, and several
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    type(None): ("None", "None"),
}


class _MisfitError(Exception):
    """A value is not of the declared type."""


class Declared:
    """Base of frozen dataclasses whose fields are checked by their declared types as soon as one is made.

    A ``__post_init__`` of a subclass runs afterwards, on fields that have their types. numpy's numbers are stored as
    Python's; everything else is stored as it was given.

    Raises
    ------
    ShapeError
        If a field is given something else than its type.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Blur(Declared):
    ...     size: int
    ...     mode: Literal["box", "gauss"] = "box"
    >>> Blur(np.int64(3))
    Blur(size=3, mode='box')
    >>> Blur(3, mode="disk")
    Traceback (most recent call last):
    simulator.errors.ShapeError: Blur mode: expected 'box' or 'gauss', got 'disk'; write for example mode='box'
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is None:
            return

        @functools.wraps(own)
        def checked(self: Declared, *args: Any) -> None:
            _check_fields(self)
            own(self, *args)

        cls.__post_init__ = checked  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        _check_fields(self)


def _check_fields(made: Any) -> None:
    kind: Any = type(made)
    if not hasattr(kind, "__dataclass_fields__"):
        return
    for option in options_of(kind).values():
        if not hasattr(made, option.name):  # an InitVar
            continue
        value = getattr(made, option.name)
        checked = option.checked(value, kind.__name__)
        if checked is not value:
            object.__setattr__(made, option.name, checked)


@dataclass(frozen=True)
class Option:
    """One option: its name, its declared type, and its default.

    Parameters
    ----------
    name : str
        Of the field or parameter.
    declared : type
        Its annotation; Any where there is none that can be read.
    default : Any
        ``inspect.Parameter.empty`` where it must be given.

    Examples
    --------
    >>> aux = options_of(lambda aux=False: None)["aux"]
    >>> aux.parsed("no"), aux.parsed("on")
    (False, True)
    """

    name: str
    declared: Any
    default: Any = _MISSING

    def checked(self, value: Any, who: str) -> Any:
        """The value, with numpy's numbers as Python's.

        Parameters
        ----------
        value : Any
            What was given.
        who : str
            Whom the error names.

        Raises
        ------
        ShapeError
            If it is not of the declared type.
        """
        try:
            return _fitted(value, self.declared)
        except _MisfitError:
            raise ShapeError(f"{who} {self.name}: expected {self.words}, got {brief(value)}; {self._cure}") from None

    def parsed(self, text: str, who: str = "-o") -> Any:
        """What was typed after ``NAME=``, by the declared type; without one by the type of the default.

        A truth value is true, false, yes, no, on, off, 1 or 0; several numbers are separated by commas; None is none.

        Raises
        ------
        ShapeError
            If the text cannot be read as the declared type.
        """
        declared = self.declared if self.declared is not Any else _type_of(self.default)
        try:
            return _fitted(_parsed(text, declared), declared)
        except _MisfitError:
            raise ShapeError(
                f"{who} {self.name}: expected {_words(declared)}, got {brief(text)}; write for example {who} "
                + shlex.quote(f"{self.name}={_typed(_example(declared, self.default))}")
            ) from None

    def read(self, value: Any, who: str) -> Any:
        """What stood in a file: lists are tuples there, and older files have 1 and 0 for True and False.

        Raises
        ------
        ShapeError
            If it is not of the declared type.
        """
        value = _frozen(value)
        kinds = _kinds(self.declared)
        if bool in kinds and int not in kinds and type(value) is int and value in (0, 1):
            value = bool(value)
        return self.checked(value, who)

    @property
    def _cure(self) -> str:
        """What to write instead: what the annotation says itself, or an example."""
        if typing.get_origin(self.declared) is typing.Annotated:
            return next(note for note in self.declared.__metadata__ if isinstance(note, str))
        if self.example is None and type(None) not in _kinds(self.declared):
            return f"give {self.words}"
        return f"write for example {self.name}={self.example!r}"

    @property
    def words(self) -> str:
        """The declared type in words."""
        return _words(self.declared)

    @property
    def example(self) -> Any:
        """A value of the declared type: the default where it is one."""
        return _example(self.declared, self.default)


@functools.lru_cache(maxsize=512)  # layers are made by the hundred, of a few classes
def options_of(thing: Callable[..., Any]) -> Mapping[str, Option]:
    """The options of a class or function by name, in their order.

    Parameters
    ----------
    thing : class or function
        A dataclass has its fields, everything else what its signature takes by name.

    Returns
    -------
    mapping of str to Option

    Examples
    --------
    >>> def net(make, width: float = 1.0, aux: bool = False): ...
    >>> [(option.name, option.words) for option in options_of(net).values()]
    [('make', 'anything'), ('width', 'a number'), ('aux', 'True or False')]
    """
    found = {}
    if isinstance(thing, type) and dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            if field.init:
                default = _MISSING if field.default is dataclasses.MISSING else field.default
                owner = next(base for base in thing.__mro__ if field.name in inspect.get_annotations(base))
                names = {**vars(sys.modules.get(owner.__module__, types)), **vars(owner)}
                found[field.name] = Option(field.name, _resolved(field.type, names), default)
        return types.MappingProxyType(found)
    code = inspect.unwrap(thing.__init__ if isinstance(thing, type) else thing)  # type: ignore[misc]
    names = getattr(code, "__globals__", {})
    for name, parameter in inspect.signature(thing).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found[name] = Option(name, _resolved(parameter.annotation, names), parameter.default)
    return types.MappingProxyType(found)


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    """The type that an annotation means; Any for one that cannot be resolved, such as one for type checkers only."""
    if annotation is _MISSING:
        return Any
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, {"__builtins__": __builtins__, **names})
        except Exception:
            return Any
    return annotation.type if isinstance(annotation, dataclasses.InitVar) else annotation


def _kinds(declared: Any) -> tuple[Any, ...]:
    """The alternatives of a union, each by itself."""
    origin = typing.get_origin(declared)
    if origin is typing.Annotated:
        return _kinds(typing.get_args(declared)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(kind for part in typing.get_args(declared) for kind in _kinds(part))
    return (type(None) if declared is None else declared,)


def _fitted(value: Any, declared: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    for kind in _kinds(declared):
        try:
            return _fitted_one(value, kind)
        except _MisfitError:
            continue
    raise _MisfitError


def _fitted_one(value: Any, kind: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        return _only(type(value) is bool, value)
    if kind is int:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return value if type(value) is int else int(_only(whole, value))
    if kind is float:
        number = isinstance(value, Real) and not isinstance(value, bool)
        number = number and value == value  # NaN is none
        return value if type(value) in (int, float) and number else float(_only(number, value))
    if origin is Literal:
        return _only(any(type(value) is type(part) and value == part for part in parts), value)
    if origin in (tuple, list, Sequence):
        return _fitted_each(value, origin, parts)
    if origin is Callable or kind is Callable:
        return _only(callable(value), value)
    if kind is tuple or kind is list or kind is Sequence:
        return _only(_is_sequence(value), value)
    try:
        of_class = isinstance(value, origin or kind)
    except TypeError:  # Any, a type variable, a protocol that cannot be asked
        return value
    return _only(of_class, value)


def _fitted_each(value: Any, origin: Any, parts: tuple[Any, ...]) -> Any:
    """The members of a sequence, in the sequence that was given where none of them changes."""
    _only(_is_sequence(value), value)
    if origin is tuple and parts[-1:] != (...,):
        _only(len(value) == len(parts), value)
        members = [_fitted(each, part) for each, part in zip(value, parts, strict=True)]
    else:
        members = [_fitted(each, parts[0]) for each in value]
    if all(new is old for new, old in zip(members, value, strict=True)):
        return value
    return members if isinstance(value, list) else tuple(members)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _only(right: bool, value: Any) -> Any:
    if not right:
        raise _MisfitError
    return value


def _parsed(text: str, declared: Any) -> Any:
    """The text as a value of the first alternative that can be read from it; the text itself where none can."""
    text = text.strip()
    kinds = _kinds(declared)
    if type(None) in kinds and text.lower() == "none":
        return None
    if bool in kinds and text.lower() in _SWITCH:
        return _SWITCH[text.lower()]
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except (ValueError, OverflowError):
                pass
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            for part in typing.get_args(kind):
                if text in (str(part), repr(part)):
                    return part
    value = _literal(text)
    for kind in kinds:
        if typing.get_origin(kind) in (tuple, list, Sequence) and value is not _MISSING:
            return _frozen(value) if _is_sequence(value) else (value,)
    plain = bool({bool, int, float, str} & {*kinds}) or any(typing.get_origin(kind) is Literal for kind in kinds)
    if value is _MISSING or (plain and not isinstance(value, str)):
        return text
    return _frozen(value)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _MISSING


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, (list, tuple)) else value


def _type_of(default: Any) -> Any:
    """What an option without a declared type takes, by its default."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, (int, float)):
        return int | float
    if isinstance(default, str):
        return str
    if isinstance(default, (tuple, list)) and default:
        members = _type_of(default[0])
        return Sequence[members] if all(_type_of(each) == members for each in default) else Sequence[Any]  # type: ignore[valid-type]
    return Any


def _words(declared: Any, many: bool = False) -> str:
    kinds = _kinds(declared)
    if int in kinds and float in kinds:
        kinds = tuple(kind for kind in kinds if kind is not int)
    last = [kind for kind in kinds if kind is type(None)]
    ordered = [*(kind for kind in kinds if kind not in last), *last]
    words = list(dict.fromkeys(word for kind in ordered for word in _words_of(kind, many)))
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]


def _words_of(kind: Any, many: bool) -> list[str]:
    """The alternatives of one type in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        return ["truth values"] if many else ["True", "False"]
    if origin is Literal:
        return [repr(part) for part in parts]
    return [_word(kind, origin, parts, many)]


def _word(kind: Any, origin: Any, parts: tuple[Any, ...], many: bool) -> str:
    if kind in _NAMES:
        return _NAMES[kind][many]
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return "anything"
    if origin is tuple and parts[-1:] != (...,):
        same = len(set(parts)) == 1
        return f"{len(parts)} {_words(parts[0], True)}" if same else f"a tuple of {len(parts)} values"
    if origin in (tuple, list, Sequence):
        return f"{'sequences' if many else 'a sequence'} of {_words(parts[0], True)}"
    if origin is Callable or kind is Callable:
        return "functions" if many else "a function"
    if kind in (tuple, list, Sequence):
        return "sequences" if many else "a sequence"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{name}s" if many else f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def _example(declared: Any, default: Any) -> Any:
    if default is not _MISSING and default is not None:
        try:
            return _fitted(default, declared)
        except _MisfitError:
            pass
    for kind in _kinds(declared):
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if kind in (bool, int, float, str):
            return {bool: True, int: 2, float: 0.5, str: "name"}[kind]
        if origin is Literal:
            return parts[0]
        if origin is tuple and parts[-1:] != (...,):
            return tuple(_example(part, _MISSING) for part in parts)
        if origin in (tuple, list, Sequence):
            return (_example(parts[0], _MISSING),) * 2
    return None


def _typed(value: Any) -> str:
    """A value as one types it after ``NAME=``."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)
