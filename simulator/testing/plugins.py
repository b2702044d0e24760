"""Every promise of everything that a plugin offers, one by one: what `simulator check-plugin` runs."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import click
import numpy as np

from simulator.catalog import Catalog, Entry
from simulator.engine import Engine
from simulator.errors import NotInstalledError, ShapeError, UnknownNameError, brief, nearest
from simulator.schedules import CosineDecay
from simulator.testing.judging import ContractError, judging, require
from simulator.testing.layers import ALONE, USUAL_SHAPES, check_shapes, layer_checks, on_trial
from simulator.testing.others import (
    check_architecture,
    check_dataset,
    check_engine,
    check_experiment,
    check_loss,
    check_optimizer,
)

__all__ = ["plugin_checks"]

Check = tuple[str, str, Callable[[], str | None]]
Trials = Callable[[Any], Iterator[tuple[Any, Callable[[], object]]]]

_EXAMPLES = "it can be made without arguments and tried on usual shapes, or it comes with examples"
_PROBE = """
import importlib.metadata, json, sys
sys.path[:], name, value = json.loads(sys.argv[1])
from simulator.cli import cli
before = {module.partition(".")[0] for module in sys.modules} | sys.stdlib_module_names
importlib.metadata.EntryPoint(name, value, "simulator.commands").load()
after = {module.partition(".")[0] for module in sys.modules} - {value.partition(":")[0].partition(".")[0]}
print(json.dumps([name in cli.commands, sorted(after - before)]))
"""  # what a command imports can only be seen in a process that has not imported it yet


def plugin_checks(catalog: Catalog, plugin: str, *, engine: Engine | None = None) -> Iterator[Check]:
    """The promises of everything that one plugin offers.

    Layers and losses are tried on the examples that they were registered with, or on usual shapes if they need no
    arguments: a layer is judged on those that it is right for, and has to refuse the others. Optimizers are tried with
    their own defaults, and with a learning rate that falls; architectures on their examples or at their own input
    shape; experiments on their examples or with their own defaults, with the quick conditions. A command is known by
    its own name.

    Parameters
    ----------
    catalog : Catalog
        Where it is loaded.
    plugin : str
        Its name.
    engine : Engine, optional
        Which engine multiplies for layers. Default: `SciPyEngine`.

    Yields
    ------
    what : str
        Such as "layers swish on (2, 5, 5)".
    check : str
        Name of the check.
    run : callable
        Raises a `ContractError` if the promise is not kept; returns None, or why it does not apply.

    Raises
    ------
    UnknownNameError
        If neither a plugin of this name is loaded nor a command of this name installed.

    Examples
    --------
    >>> from simulator import Catalog
    >>> [what for what, check, run in plugin_checks(Catalog(), "momentum") if run() is None][:2]
    ['optimizers momentum', 'optimizers momentum with a CosineDecay']
    """
    names = [p.name for p in catalog.plugins]
    points = importlib.metadata.entry_points(group="simulator.commands")
    commands = [point for point in points if point.name == plugin]
    if plugin not in names and not commands:
        raise UnknownNameError(
            f"plugin_checks: expected a plugin or command that is installed, got {brief(plugin)}; install yours "
            "with 'pip "
            f"install -e .', or {nearest(plugin, [*names, *(point.name for point in points)])}"
        )
    for kind, checks in _CHECKS.items():
        shelf = getattr(catalog, kind)
        for name, rivals in shelf.offers.items():
            mine = shelf.offered(name, plugin)
            if mine is not None and shelf.entries.get(name) is not mine:
                others = " and ".join(entry.plugin.name for entry in rivals if entry is not mine)
                yield f"{kind} {name}", "check_name", partial(_check_name, name, f"{kind}.{name}={plugin}", others)
        for entry in shelf.entries.values():
            if entry.plugin.name == plugin:
                yield from checks(catalog, entry, engine)
    for point in commands:
        what = f"commands {plugin}"
        yield what, "check_command", partial(_check_command, point)
        yield what, "check_help", partial(_check_help, point)
        yield what, "check_imports", partial(_check_imports, point, len(commands))


def _layers(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    def trials(layer: Any) -> Iterator[tuple[Any, Callable[[], object]]]:
        for shape in USUAL_SHAPES:
            shapes = (shape,) * (2 if layer.inputs is None else layer.inputs)
            yield (layer, *shapes), partial(layer.output_shape, *shapes)

    try:
        examples = _examples(entry, trials, "(2, 5, 5)")
    except ContractError as error:
        yield f"layers {entry.name}", "check_examples", partial(_raise, error)
        return

    @cache
    def suitable() -> list[int]:
        """Which examples to judge a layer by that names none: those that it is right for, or else the first."""
        return [k for k, example in enumerate(examples) if _suits(engine, *example)] or [0]

    def where_it_suits(k: int, check: Callable[[], str | None]) -> str | None:
        if k in suitable():
            return check()
        return f"it is judged on {' and '.join(', '.join(map(str, examples[k][1:])) for k in suitable())}"

    for k, (layer, *shapes) in enumerate(examples):
        for name, check in layer_checks(layer, *shapes, engine=engine):
            run = check if entry.examples or name in ALONE else partial(where_it_suits, k, check)
            yield f"layers {entry.name} on {', '.join(map(str, shapes))}", name, run


def _suits(engine: Engine | None, layer: Any, *shapes: Any) -> bool:
    """Whether a layer is right for inputs of these shapes; where it is not, check_other_shapes says so."""
    try:
        check_shapes(on_trial(layer, *shapes, engine=engine), *shapes)
    except (ContractError, ShapeError):
        return False
    return True


def _losses(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    rng = np.random.default_rng(0)
    prediction = rng.standard_normal((4, 3))
    targets = np.array([2, 0, 0, 1]), rng.uniform(size=(4, 3))

    def trials(loss: Any) -> Iterator[tuple[Any, Callable[[], object]]]:
        for target in targets:
            yield (loss, prediction, target), partial(loss.value, prediction, target)

    try:
        examples = _examples(entry, trials, "prediction, target")
    except ContractError as error:
        yield f"losses {entry.name}", "check_examples", partial(_raise, error)
        return
    for loss, prediction, target in examples:
        what = f"losses {entry.name} of {prediction.shape} and {target.dtype} {target.shape}"
        yield what, "check_loss", partial(check_loss, loss, prediction, target)


def _optimizers(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    default = inspect.signature(entry.object).parameters["lr"].default
    rate = float(default) if isinstance(default, (int, float)) and default > 0 else 0.1

    def with_decay() -> None:
        check_optimizer(_made(entry, lr=CosineDecay(rate, steps=200)))

    yield f"optimizers {entry.name}", "check_optimizer", lambda: check_optimizer(_made(entry))
    yield f"optimizers {entry.name} with a CosineDecay", "check_optimizer", with_decay


def _architectures(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    for options in entry.examples or [{}]:
        given = {key: value for key, value in options.items() if key not in ("input_shape", "classes")}
        what = " ".join(f"{key}={value}" for key, value in options.items())
        run = partial(check_architecture, catalog, entry.name, options.get("input_shape"), **given)
        yield f"architectures {entry.name} {what}".rstrip(), "check_architecture", run


def _datasets(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    parameters = inspect.signature(entry.object).parameters

    def run() -> str | None:
        for needed in ("path", "name"):
            if needed in parameters:
                return f"it needs a {needed}; load it with {entry.name}:{needed.upper()}"
        check_dataset(catalog, entry.name)
        return None

    yield f"datasets {entry.name}", "check_dataset", run


def _engines(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    yield f"engines {entry.name}", "check_engine", partial(_check_engine, entry)


def _experiments(catalog: Catalog, entry: Entry, engine: Engine | None) -> Iterator[Check]:
    if not entry.examples:
        yield f"experiments {entry.name}", "check_experiment", lambda: check_experiment(catalog, _made(entry))
    for example in entry.examples:
        yield f"experiments {entry.name} {example!r}", "check_experiment", partial(check_experiment, catalog, example)


_CHECKS: dict[str, Callable[[Catalog, Entry, Engine | None], Iterator[Check]]] = {
    "layers": _layers,
    "losses": _losses,
    "optimizers": _optimizers,
    "architectures": _architectures,
    "datasets": _datasets,
    "engines": _engines,
    "experiments": _experiments,
}


def _examples(entry: Entry, trials: Trials, sketch: str) -> list[Any]:
    """What to check a layer or loss on: its examples, or of `trials` those that it takes; `sketch` is what to write."""
    if entry.examples:
        return list(entry.examples)
    parameters = inspect.signature(entry.object).parameters.values()
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
    cure = f"register it with examples=[({entry.object.__name__}(...), {sketch})]"
    if required:
        with judging("check_examples", entry.name, _EXAMPLES):
            needs = ", ".join(required)
            raise ContractError(f"expected examples, got none, and it cannot be made without {needs}; {cure}")
    fitting, failing = [], []
    for example, attempt in trials(_made(entry)):
        try:
            attempt()
        except ShapeError:
            continue
        except Exception:  # the checks will say what is wrong, unless another trial suits it
            failing.append(example)
        else:
            fitting.append(example)
    if not fitting and not failing:
        with judging("check_examples", entry.name, _EXAMPLES):
            raise ContractError(f"expected examples, got none, and it takes none of the usual shapes; {cure}")
    return fitting or failing[:1]


def _made(entry: Entry, **options: Any) -> Any:
    """The offer with its defaults, but for some options."""
    with judging("check_examples", entry.name, _EXAMPLES):
        return entry.object(**options)


def _check_engine(entry: Entry) -> str | None:
    try:
        engine = _made(entry)
    except NotInstalledError as error:
        return str(error)
    check_engine(engine)
    return None


def _raise(error: ContractError) -> None:
    raise error


def _check_name(name: str, wish: str, others: str) -> None:
    with judging("check_name", name, "a name that nobody else offers, or one that is preferred"):
        raise ContractError(f"expected a name of its own, got one that {others} offers; choose with --prefer {wish}")


def _loaded(point: importlib.metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except SystemExit as error:
        raise ImportError(f"{point.module} leaves the process when it is imported ({error})") from error


def _check_command(point: importlib.metadata.EntryPoint) -> None:
    with judging("check_command", point.name, "the entry point names a click command"):
        command = _loaded(point)
        require(isinstance(command, click.Command), "a click command", repr(command))


def _check_help(point: importlib.metadata.EntryPoint) -> None:
    with judging("check_help", point.name, "its help says in whole sentences what it and its options do"):
        command = _loaded(point)
        require((command.help or "").strip(), "help", "none")
        for param in command.params:
            known = not isinstance(param, click.Option) or param.help
            require(known, f"help for {', '.join(param.opts)}", "none")


def _check_imports(point: importlib.metadata.EntryPoint, offered: int) -> None:
    with judging("check_imports", point.name, "simulator finds this command, and --help is quick"):
        require(offered == 1, "one plugin to offer this command", offered)
        given = json.dumps([sys.path, point.name, point.value])
        done = subprocess.run([sys.executable, "-c", _PROBE, given], capture_output=True, text=True, timeout=60)
        lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
        require(done.returncode == 0, "a module that can be imported alone", lines[-1:])
        core, heavy = json.loads(lines[-1])
        require(not core, "another name than those of the simulator's own commands", point.name)
        require(not heavy, "nothing but click and the standard library at the top", ", ".join(heavy))
