"""Loading plugins: find the module, call its hooks, and refuse what breaks a contract, in words.

A plugin that is installed and broken is reported and left out as a whole; the others work. One that was asked for by
name is an error.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pluggy

from simulator import builtin, hookspecs
from simulator.errors import PluginError, SimulatorError, brief, nearest
from simulator.experiments import Experiment
from simulator.layers import FunctionLayer, Layer, MatrixLayer
from simulator.shelves import Entry, Plugin, Shelf

__all__ = ["Loaded", "load_plugins"]

_GROUP = "simulator"
_DISTRIBUTION = "cnn-matrix-simulator"
_DETAILS: dict[str, tuple[str, ...]] = {  # what a kind's register() takes beside name and object
    "layers": ("examples",),
    "losses": ("examples",),
    "architectures": ("examples", "lr", "epochs", "task", "losses"),
    "datasets": ("accepts", "known"),
    "experiments": ("examples",),
}
_METHODS = {
    "losses": ("value", "grad"),
    "optimizers": ("init", "step"),
    "engines": ("apply", "apply_transposed", "grad"),
}
_STAMP = "__simulator_stamp__"  # attribute of a module that was loaded from a file: which state of which file
_TASKS = ("classify", "reconstruct", "part")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What all plugins together offer.

    Parameters
    ----------
    plugins : list of Plugin
        Those that work.
    shelves : dict of Shelf
        By kind.
    problems : list of str
        Installed plugins that are broken and were left out, and names that several offer.
    """

    plugins: list[Plugin]
    shelves: dict[str, Shelf]
    problems: list[str]


def load_plugins(given: Iterable[Any], entry_points: bool, prefer: Mapping[str, str]) -> Loaded:
    """Load the core's own offers, the installed plugins, and those that are given.

    Parameters
    ----------
    given : iterable of module, object, or str
        Plugins, or names of modules, or paths of Python files.
    entry_points : bool
        Load the installed ones, too.
    prefer : dict
        Which plugin wins where two offer one name: ``{"layers.conv": "my-plugin"}``.

    Returns
    -------
    Loaded

    Raises
    ------
    PluginError
        If a given plugin is broken.
    """
    plugins: list[Plugin] = []
    problems: list[str] = []
    modules: list[Any] = []
    offers: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in hookspecs.SHELVES}

    def take(module: Any, plugin: Plugin, installed: bool = False) -> None:
        if plugin.name in (p.name for p in plugins) or any(module is m for m in modules):
            raise PluginError(
                f"plugin {plugin.name} ({plugin.origin}): expected a new name and module, got one that is loaded "
                "already; load it once, or rename its entry point"
            )
        for kind, entry in _installed(module, plugin) if installed else _offered(module, plugin):
            offers[kind].setdefault(entry.name, []).append(entry)
        plugins.append(plugin)
        modules.append(module)

    take(builtin, Plugin("core", f"{_DISTRIBUTION} {_version()}"), installed=True)
    points = list(importlib.metadata.entry_points(group=_GROUP)) if entry_points else []
    dists = {id(p.dist): p.dist for p in points if p.dist}  # their metadata take long to read
    origins = {key: f"{dist.name} {dist.version}" for key, dist in dists.items()}
    ours = {key for key, dist in dists.items() if dist.name == _DISTRIBUTION}  # first: nobody takes their names
    own = {"core", *(point.name for point in points if id(point.dist) in ours)}
    for point in sorted(points, key=lambda p: (id(p.dist) not in ours, p.name)):
        plugin = Plugin(point.name, origins.get(id(point.dist), point.value))
        try:
            take(_imported(point.load, plugin), plugin, installed=True)
        except SimulatorError as error:  # an installed plugin must not take the others down
            problems.append(str(error))
    for one in given:
        take(*_found(one))
    shelves = {}
    for kind, by_name in offers.items():
        entries, disputes = {}, {}
        for name, rivals in by_name.items():
            wish = prefer.get(f"{kind}.{name}")
            wished = [entry for entry in rivals if entry.plugin.name == wish]
            # What is built in keeps its name: networks and saved files mean that one.
            (*chosen,) = wished or [entry for entry in rivals if entry.plugin.name in own] or rivals
            if len(chosen) > 1:
                disputes[name] = (
                    f"catalog: expected one plugin to offer {kind}.{name}, got {_told(rivals)}; choose with "
                    f"{_preferring(kind, rivals[-1])}"
                )
                continue
            entries[name] = chosen[0]
            problems += [
                f"{_told([other])}: expected a name of its own for {kind}.{name}, got one that is built in, which "
                f"stays; choose the plugin's with {_preferring(kind, other)}"
                for other in rivals
                if not wished and other is not chosen[0]
            ]
        shelves[kind] = Shelf(kind, entries, disputes, by_name)
        problems += disputes.values()
    return Loaded(plugins, shelves, problems)


def _told(entries: Iterable[Entry]) -> str:
    return " and ".join(f"plugin {entry.plugin.name} ({entry.plugin.origin})" for entry in entries)


def _preferring(kind: str, entry: Entry) -> str:
    wish, plugin = f"{kind}.{entry.name}", entry.plugin.name
    return f"--prefer {wish}={plugin}, in Python with Catalog(prefer={{{wish!r}: {plugin!r}}})"


_known: dict[tuple[Any, ...], list[tuple[str, Entry]]] = {}  # offers, by plugin and its hooks


def _installed(module: Any, plugin: Plugin) -> list[tuple[str, Entry]]:
    """What an installed module registers: it is asked once in a process, and again if it was reloaded."""
    values = vars(module).values() if inspect.ismodule(module) else ()
    hooks = [value for value in values if inspect.isfunction(value) and hasattr(value, "simulator_impl")]
    if not hooks:
        return _offered(module, plugin)
    key = plugin, *hooks
    if key not in _known:
        _known[key] = _offered(module, plugin)
    return _known[key]


def _offered(module: Any, plugin: Plugin) -> list[tuple[str, Entry]]:
    """What a plugin's hooks register, or a `PluginError` that names plugin, hook and cure."""
    who = f"plugin {plugin.name} ({plugin.origin})"
    manager = pluggy.PluginManager("simulator")  # one for each: a plugin that is refused leaves nothing behind
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=plugin.name)
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"{who}: expected hooks with the arguments of their specification, got {' '.join(str(error).split())}; "
            "each takes the one argument 'register'"
        ) from None
    hooks = [caller.name for caller in manager.get_hookcallers(module) or []]
    known = [f"register_{kind}" for kind in hookspecs.SHELVES]
    for name in known:
        if name not in hooks and callable(getattr(module, name, None)):
            raise PluginError(f"{who}: expected @hookimpl above {name}, got a plain function; import it from simulator")
    if not hooks:
        raise PluginError(
            f"{who}: expected at least one hook, got none; write a function such as register_layers(register) and mark "
            "it with @hookimpl"
        )
    for hook in hooks:
        if hook not in known:
            raise PluginError(f"{who}: expected only known hooks, got {brief(hook)}; {nearest(hook, known)}")
    return [offer for hook in hooks for offer in _registered(getattr(manager.hook, hook), plugin)]


def _registered(hook: pluggy.HookCaller, plugin: Plugin) -> list[tuple[str, Entry]]:
    """What one hook of one plugin registers."""
    kind = hook.name.removeprefix("register_")
    who = f"plugin {plugin.name} ({plugin.origin}), {hook.name}"
    offered: dict[str, Entry] = {}

    def register(name: str, obj: Any, **details: Any) -> None:
        if not isinstance(name, str) or not callable(obj):
            raise PluginError(
                f"{who}: expected register(name, class or function), got register({_shown(name)}, {_shown(obj)}); pass "
                "a string and the class itself"
            )
        if not re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name):
            raise PluginError(
                f"{who}: expected a name of small letters, digits and hyphens, got {brief(name)}; for example "
                "'my-layer'"
            )
        if name in offered:
            raise PluginError(f"{who}: expected each name once, got {brief(name)} again; choose another name")
        for detail in details:
            if detail not in _DETAILS.get(kind, ()):
                raise PluginError(
                    f"{who}: expected register({brief(name)}, ...) with nothing but {_DETAILS.get(kind, ())} "
                    "beside it, got "
                    f"{brief(detail)}; {nearest(detail, _DETAILS.get(kind, ()))}"
                )
        if "examples" in details:
            examples = details["examples"]
            if not isinstance(examples, Iterable) or isinstance(examples, (str, Mapping)):
                raise PluginError(
                    f"{who}: {name}: expected a list of examples, got {_shown(examples)}; write examples=[...]"
                )
            details["examples"] = tuple(examples)  # a generator could be read only once
        fault = _fault(kind, obj, details)
        if fault:
            raise PluginError(f"{who}: {name}: {fault}")
        offered[name] = Entry(name, obj, plugin, **details)

    register.__qualname__ = "register"  # what Python calls it in a message on wrong arguments
    try:
        hook(register=register)
    except PluginError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"{who}: expected it to register what it offers, got {brief(error)}; fix the hook") from error
    return [(kind, entry) for entry in offered.values()]


def _fault(kind: str, obj: Any, details: Mapping[str, Any]) -> str | None:
    """What can be seen to be wrong with an offer without using it, and the cure."""
    if kind == "layers":
        if not (isinstance(obj, type) and issubclass(obj, (MatrixLayer, FunctionLayer))):
            return f"expected a subclass of MatrixLayer or FunctionLayer, got {brief(obj)}; derive from one of them"
        if fault := _class_fault("layer", obj):
            return fault
        if not (obj.inputs is None or _is_size(obj.inputs)):
            return f"expected a number of inputs, or None for two or more, got {brief(obj.inputs)}; write inputs = 2"
    elif kind == "experiments":
        return _experiment_fault(obj, details)
    elif kind in _METHODS:
        missing = ", ".join(m for m in _METHODS[kind] if not callable(getattr(obj, m, None)))
        if not isinstance(obj, type) or missing:
            return f"expected a class with {', '.join(_METHODS[kind])}, got {brief(obj)}; write {missing or 'a class'}"
        if kind == "optimizers" and "lr" not in inspect.signature(obj).parameters:
            return f"expected an optimizer that takes lr, got {inspect.signature(obj)}; name its learning rate lr"
        if kind != "losses":
            return _arguments_fault(obj)
    elif kind == "architectures":
        return _architecture_fault(obj, details)
    else:
        if not {"path", "name", "shape"}.issuperset(_required(obj)):
            return f"expected a function of path, name or shape, got {inspect.signature(obj)}; give others a default"
        if not callable(details.get("accepts") or str):
            return f"expected accepts, a function of a path, got {brief(details['accepts'])}; pass the function itself"
        if not (
            isinstance(known := details.get("known", ()), (list, tuple)) and all(isinstance(n, str) for n in known)
        ):
            return f"expected known, a sequence of names, got {brief(known)}; write known=('iris',)"
    return _example_fault(obj, details.get("examples", ()))


def _class_fault(kind: str, obj: Any) -> str | None:
    """A class that objects are made of is complete and a frozen dataclass."""
    if inspect.isabstract(obj):
        missing = ", ".join(sorted(obj.__abstractmethods__))
        return f"expected a complete {kind}, got one without {missing}; write what is missing"
    params: Any = getattr(obj, "__dataclass_params__", None)
    if params is None or not params.frozen:
        return f"expected a frozen dataclass, got {obj.__name__}; put @dataclass(frozen=True) above the class"
    return None


def _shown(value: Any) -> str:
    """The repr in one line of a message, which a data set would fill with its samples."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}..."


def _required(obj: Any) -> list[str]:
    """The arguments that have no default."""
    parameters = inspect.signature(obj).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _arguments_fault(obj: Any) -> str | None:
    required = ", ".join(_required(obj))
    if required:
        return f"expected to be made without arguments, got {inspect.signature(obj)}; give {required} a default"
    return None


def _is_size(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) > 0


def _example_fault(obj: Any, examples: Sequence[Any]) -> str | None:
    """Examples of layers and losses are tuples that begin with an object of the class."""

    def fits(example: Any) -> bool:
        if not (isinstance(example, tuple) and example and isinstance(example[0], obj)):
            return False
        if issubclass(obj, Layer):
            return len(example) > 1 and all(isinstance(s, tuple) and all(map(_is_size, s)) for s in example[1:])
        return len(example) == 3 and all(isinstance(array, np.ndarray) for array in example[1:])

    wrong = [example for example in examples if not fits(example)]
    if wrong:
        more = "a shape for each input" if issubclass(obj, Layer) else "a prediction and its target, both arrays"
        return (
            f"expected examples that are tuples of a {obj.__name__}, {more}, got {_shown(wrong[0])}; write such tuples"
        )
    return None


def _architecture_fault(build: Any, details: Mapping[str, Any]) -> str | None:
    parameters = inspect.signature(build).parameters
    missing = ", ".join(name for name in ("make", "input_shape", "rng") if name not in parameters)
    if missing:
        return (
            f"expected a function of make, input_shape, classes, rng and options, got {inspect.signature(build)}; "
            f"add {missing}"
        )
    shape = parameters["input_shape"].default
    if shape not in (None, inspect.Parameter.empty) and not isinstance(shape, Sequence):
        return f"expected an input_shape such as (1, 28, 28) in its signature, got {brief(shape)}; give all sizes"
    task = details.get("task", "classify")
    if task not in _TASKS:
        return f"expected the task {' or '.join(_TASKS)}, got {brief(task)}; {nearest(task, _TASKS)}"
    lr = details.get("lr")
    if lr is not None and not (isinstance(lr, Real) and 0 < lr < math.inf):  # type: ignore[operator]
        return f"expected a positive lr, got {brief(lr)}; leave it out if you do not know one"
    if not _is_size(epochs := details.get("epochs", 20)):
        return f"expected a positive number of epochs, got {brief(epochs)}; leave it out if 20 suit"
    losses = details.get("losses")
    if losses is not None and not (isinstance(losses, Mapping) and all(map(_is_loss, losses.values()))):
        return f"expected losses {{output: name}} or {{output: (name, weight)}}, got {brief(losses)}; write such a dict"
    for example in details.get("examples", ()):
        unknown = [k for k in example if k not in parameters] if isinstance(example, Mapping) else [example]
        if unknown:
            cure = nearest(unknown[0], parameters)
            return f"expected examples that are dicts of arguments, got {brief(unknown[0])}; {cure}"
    return None


def _experiment_fault(obj: Any, details: Mapping[str, Any]) -> str | None:
    if not (isinstance(obj, type) and issubclass(obj, Experiment)):
        return f"expected a subclass of Experiment, got {brief(obj)}; derive from it"
    if fault := _class_fault("experiment", obj) or _arguments_fault(obj):
        return fault
    if not (_is_size(obj.seeds) and _is_size(obj.quick_seeds)):
        return f"expected numbers of seeds, got {brief(obj.seeds)} and {brief(obj.quick_seeds)}; write seeds = 5"
    if not (isinstance(obj.by, tuple) and all(isinstance(name, str) for name in obj.by)):
        return f"expected by, a tuple of measured names, got {brief(obj.by)}; write by = ('epoch',)"
    wrong = [example for example in details.get("examples", ()) if not isinstance(example, obj)]
    if wrong:
        return f"expected examples that are each a {obj.__name__}, got {_shown(wrong[0])}; write {obj.__name__}(...)"
    return None


def _is_loss(wanted: Any) -> bool:
    """A name, or a name with a weight."""
    name, weight = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (wanted, 1.0)
    return isinstance(name, str) and isinstance(weight, Real)


def _found(plugin: Any) -> tuple[Any, Plugin]:
    """A plugin given as module, object, module name or file, and where it is from."""
    if not isinstance(plugin, (str, Path)):
        name = getattr(plugin, "__name__", type(plugin).__name__)
        return plugin, Plugin(name, str(getattr(plugin, "__file__", None) or "given as an object"))
    path = Path(plugin)
    if path.suffix == ".py":
        record = Plugin(path.stem, str(path))
        if not path.is_file():
            raise PluginError(f"plugin {plugin}: expected a Python file, got no such file; check the path")
        return _imported(lambda: _imported_file(path), record), record
    record = Plugin(str(plugin), f"module {plugin}")
    return _imported(lambda: importlib.import_module(str(plugin)), record), record


def _imported(load: Any, plugin: Plugin) -> Any:
    try:
        return load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(
            f"plugin {plugin.name} ({plugin.origin}): expected a module that can be imported, got "
            f"{brief(error)}; fix it, install what it needs, or uninstall it"
        ) from error


def _imported_file(path: Path) -> ModuleType:
    """The module of a file: the same one as long as the file is the same, so that pickle finds its classes."""
    name = f"simulator_local_{path.stem}"
    stat = path.stat()
    stamp = (path.resolve(), stat.st_mtime_ns, stat.st_size)
    known = sys.modules.get(name)
    if known is not None and vars(known).get(_STAMP) == stamp:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(module, _STAMP, stamp)
    return module


def _version() -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
