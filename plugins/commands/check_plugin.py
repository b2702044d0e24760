"""Check a plugin: every promise of what it offers, and for each broken one why, and what to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections import defaultdict
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import click

from simulator.cli.common import CatalogOptions, json_option, print_json
from simulator.cli.completion import files, offers
from simulator.cli.grammar import examples
from simulator.cli.steps import next_command, python, say_next
from simulator.cli.terminal import error_console, say
from simulator.errors import SimulatorError

_ENDED = "ended"  # last line of a journal whose process went on to the end
_CURES = {
    "check_frozen": "put @dataclass(frozen=True) above the class",
    "check_equality": "leave __eq__ and __hash__ to @dataclass(frozen=True)",
    "check_arguments": "store arguments as they come, and convert them where they are used",
    "check_repr": "leave __repr__ to the dataclass, and let its fields hold plain values",
    "check_output_shape": "make forward give finite numbers in the shape that output_shape promises",
    "check_params": "make arrays in init_params with the shapes of param_shapes, the given dtype and the given rng",
    "check_buffers": "return buffers of the same names and shapes from forward, changed only if training",
    "check_unchanged": "compute new arrays: y = 2 * x, never x *= 2 or out=x",
    "check_pullback_twice": "keep what the pullback needs in variables of forward, and do not change it",
    "check_seed": "draw random numbers from the rng that forward is given, and only if training",
    "check_batch": "sum and average over channels and space only; the batch is the last axis",
    "check_empty_batch": "let the batch, the last axis, have length 0: no maximum or mean over it",
    "check_input_kinds": "rely neither on the memory order of x nor on writing to it",
    "check_dtype": "write x.dtype.type(number) for numbers and dtype=x.dtype for new arrays",
    "check_input_gradients": "correct the slope, or the first result of the pullback: dy times dy/dx, in x's shape",
    "check_param_gradients": "correct the second result of the pullback: for each param a sum over sites and samples",
    "check_workspace": "make forward depend on its arguments alone; if other engines pass, correct this one's kernel",
    "check_affine": "make affine_at give the matrices and the offset of forward's formula, or leave it out",
    "check_support": "let the patterns of support reach every unit that forward reads, or leave it out",
    "check_counts": "leave counts to the base class, or count from param_shapes and the pattern",
    "check_pattern": "give one tie for each weight, from 0 on, and the same pattern each time",
    "check_matrix": "correct rows, columns or ties of the pattern, or the engine's apply",
    "check_weight_gradient": "correct the engine's grad: one weight's gradient sums over all connections that share it",
    "check_dot": "correct the engine's apply_transposed: the same connections the other way round",
    "check_loss": "return float(the mean over the batch) from value, its slope from grad, and change no argument",
    "check_optimizer": "step against the gradient; return new arrays and a flat new state, and remember nothing else",
    "check_engine": "compare with SciPyEngine().apply, .apply_transposed and .grad on this pattern",
    "check_dataset": "draw from a generator with a fixed seed, and make samples of the shape that is asked for",
    "check_experiment": "draw all that is random from default_rng(seed), and return plain numbers under fixed names",
    "check_command": "name a function under @click.command() in the entry point",
    "check_help": "write a docstring under the command, and help= for each option",
    "check_imports": "import what is heavy inside the function that needs it, and give the command a name of its own",
}
_RUN_NOTHING = (
    "check_frozen", "check_equality", "check_arguments", "check_repr", "check_params", "check_counts", "check_pattern",
)  # fmt: skip
_FIRST = {  # what fails with a check, on the same example, can be judged only once that one passes
    "check_output_shape": lambda check: check not in _RUN_NOTHING,
    "check_seed": lambda check: check not in _RUN_NOTHING,
    "check_batch": lambda check: check in ("check_empty_batch", "check_workspace"),
}


@click.command(
    "check-plugin", epilog=examples("simulator check-plugin adagrad", "simulator check-plugin swish.py --verbose")
)
@click.argument("name", shell_complete=files)
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=offers("engines"),
    default="scipy",
    show_default=True,
    help="Which engine multiplies the matrices.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say also which checks do not apply, and why.")
@click.option("--in-process", is_flag=True, help="Run the checks in this process, for a debugger.")
@click.option("--journal", type=click.Path(path_type=Path), hidden=True, help="Note each check here.")
@json_option
@CatalogOptions.decorate
def command(name, engine, verbose, in_process, journal, as_json):
    """Check every promise of what a plugin offers.

    NAME is an installed plugin or command, or a Python file with hooks. What fails for one cause is shown once, with
    one example, the number of checks that fail with it, and what to do. The exit status is 0 if all promises are kept,
    1 if one is broken, and 2 if the plugin cannot be loaded. The checks run in a process of their own: a plugin that
    ends it is named, with the check in which it does.
    """
    if not in_process:
        _in_a_process(name, engine, verbose, as_json)
    else:
        with _journal(journal) as begun:
            _check(name, engine, verbose, as_json, begun)
        if journal is None and not as_json:
            _say_next(name)


def _in_a_process(name, engine, verbose, as_json):
    """Run this command again where a plugin can end nothing but the checks, and say so if it does."""
    meta = click.get_current_context().meta
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        given = ["check-plugin", name, "--in-process", "--journal", str(journal), "--engine", engine]
        given += ["--verbose"] * verbose + ["--json"] * as_json
        for option, key in (("--plugin", "simulator.plugin"), ("--prefer", "simulator.prefer")):
            given += [word for value in meta.get(key, []) for word in (option, value)]
        code = "from simulator.cli import main; main()"
        status = subprocess.run([sys.executable, "-P", "-c", code, *given], check=False).returncode
        begun = journal.read_text("utf-8").splitlines() if journal.exists() else []
    if begun[-1:] == [_ENDED]:
        if status == 0 and not as_json:
            _say_next(name)
        click.get_current_context().exit(status)
    how = f"with status {status}" if status >= 0 else f"by signal {-status}"
    what, check = json.loads(begun[-1]) if begun else (f"plugin {name}", "loading")
    found = f"expected the process to go on, got its end {how} during {check}"
    cure = "raise an error instead of leaving the process; if the code is compiled, look there for a bad address"
    fault = {"promise": "no check ends the process", "found": found, "cure": cure, "cause": check}
    result = {"what": what, "check": check, "result": "fail", **fault}
    if as_json:
        _print_json(name, [result])
    else:
        _print([result], verbose)
        click.echo("The plugin ended the process; the checks after this one were not run.")
    click.get_current_context().exit(1)


@contextmanager
def _journal(path):
    """Gives a function that notes which check begins; that the process went on to the end is noted, too."""
    if path is None:
        yield lambda what, check: None
        return
    with path.open("w", encoding="utf-8") as file:

        def begun(what, check):
            print(json.dumps([what, check]), file=file, flush=True)

        try:
            yield begun
        finally:
            print(_ENDED, file=file, flush=True)


def _check(name, engine, verbose, as_json, begun):
    """All checks, here."""
    from rich.progress import track

    from simulator.testing import plugin_checks

    catalog, plugin = _loaded(name)
    checks = list(plugin_checks(catalog, plugin, engine=catalog.engine(engine)))
    console = error_console()
    shown = track(checks, f"Checking {plugin}", console=console, transient=True, disable=not console.is_terminal)
    files = _files(catalog, plugin)
    results = [_judged(*check, files, begun) for check in shown]
    failed = [result for result in results if result["result"] == "fail"]
    if as_json:
        _print_json(plugin, results)
    else:
        _print(results, verbose)
        if failed:
            count = len(_failures(results))
            fix = "is one thing to fix" if count == 1 else f"are {count} things to fix; begin with the first"
            verb = "fails" if len(failed) == 1 else "fail"
            click.echo(f"{len(failed)} of {len(results)} checks {verb}. There {fix}, then check again.")
        elif all(result["reason"] for result in results):
            click.echo("No check applies; --verbose says why.")
        else:
            click.echo("All checks pass.")
    if failed:
        click.get_current_context().exit(1)


def _say_next(name):
    """How to go on with a plugin that keeps its promises."""
    file = Path(name)
    if file.suffix == ".py" and _installed(file) is None:
        if _in_a_project_of_its_own(file):
            say_next(shlex.join([python(), "-m", "pip", "install", "-e", str(file.parent)]), "to install it")
        say_next(next_command("plugins", add={"-p": name}), "to see it listed")
    elif name in (point.name for point in entry_points(group="simulator.commands")):
        say_next(next_command(name, add={"--help": True}))
    else:
        say_next(next_command("plugins"), "to see it listed")


def _in_a_project_of_its_own(file):
    """Whether the pyproject.toml beside a file offers it as a plugin."""
    import tomllib

    try:
        project = tomllib.loads(file.with_name("pyproject.toml").read_text("utf-8"))
        points = project["project"]["entry-points"]["simulator"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return file.stem in [str(point).partition(":")[0].rpartition(".")[2] for point in points]


def _installed(file):
    """Name of the installed plugin that a file is; None if it is not installed."""
    for point in entry_points(group="simulator"):
        with suppress(Exception):
            if Path(find_spec(point.module).origin).samefile(file):
                return point.name
    return None


def _loaded(name):
    """A catalog in which this plugin wins where others offer the same name, and the plugin's name."""
    from simulator import Catalog, PluginError
    from simulator.hookspecs import SHELVES

    meta = click.get_current_context().meta
    given = list(meta.get("simulator.plugin", []))
    prefer = dict(wish.partition("=")[::2] for wish in meta.get("simulator.prefer", []))
    plugin = name
    if Path(name).suffix == ".py":
        plugin = _installed(Path(name))  # which is loaded already
        if plugin is None:
            given.append(name)
            plugin = Path(name).stem
    catalog = Catalog(*given, prefer=prefer)
    shelves = {kind: getattr(catalog, kind) for kind in SHELVES}
    its = {f"{kind}.{name}" for kind, shelf in shelves.items() for name in shelf.offers if shelf.offered(name, plugin)}
    if any(len(shelves[kind].offers[name]) > 1 for kind, _, name in (wish.partition(".") for wish in its)):
        catalog = Catalog(*given, prefer={**dict.fromkeys(its, plugin), **prefer})
    for problem in catalog.problems:
        if problem.startswith(f"plugin {plugin} ("):
            raise PluginError(problem)
    for problem in catalog.problems:
        click.echo(f"Warning: {problem}", err=True)
    if plugin in (p.name for p in catalog.plugins) and not _files(catalog, plugin):
        raise PluginError(f"plugin {plugin}: expected it to offer something, got nothing; call register in its hook")
    return catalog, plugin


def _files(catalog, plugin):
    """The Python files of what a plugin offers."""
    from simulator.hookspecs import SHELVES

    entries = [entry for kind in SHELVES for entry in getattr(catalog, kind).entries.values()]
    modules = [sys.modules.get(entry.object.__module__) for entry in entries if entry.plugin.name == plugin]
    return {getattr(module, "__file__", None) for module in modules}


def _judged(what, check, run, files, begun):
    """What came of one check; where it fails also the cause, which others may fail for, too."""
    begun(what, check)
    try:
        reason = run()
    except Exception as error:
        told, _, promise = str(error).partition("; the promise: ")
        found, cause = f"expected {told.partition(': expected ')[2] or told}", check
        cure = getattr(error, "cure", None) or _CURES.get(check)
        source = error.__cause__
        while source is not None and source.__cause__ is not None:
            source = source.__cause__
        if source is not None:  # what is no broken promise but an error
            frames = [f for f in traceback.extract_tb(source.__traceback__) if f.filename in files]
            place = [f"line {f.lineno} of {Path(f.filename).name}, in {f.name}" for f in frames[-1:]]
            if isinstance(source, SimulatorError):  # which says itself what to do
                found, cure = " at ".join([str(source), *place]), None
            else:
                found = f"expected no error, got {type(source).__name__}: {source}"
                cure = _fixing(source, place[0], frames[-1].name) if place else cure
            cause = re.sub(r"\([\d, ]*\)|\d+", "", found)  # shapes and sizes differ from check to check
            if place:
                cause = f"{type(source).__name__} {place[0]}"
        fault = {"promise": promise, "found": found, "cure": cure, "cause": cause}
        return {"what": what, "check": check, "result": "fail", **fault}
    return {"what": what, "check": check, "result": "does not apply" if reason else "pass", "reason": reason}


def _fixing(error, place, function):
    """What to do about an error in a line of a plugin."""
    if isinstance(error, ValueError) and "read-only" in str(error):  # NumPy has no class for it
        return f"in {place}: {_CURES['check_unchanged']}"
    if isinstance(error, (ValueError, IndexError)) and function in ("forward", "value_and_slope"):
        return f"fix {place}, which is given arrays (channels, *space, batch)"
    return f"fix {place}"


def _failures(results):
    """The checks that fail, in one list for each cause, in the order in which they were run."""
    failed = [result for result in results if result["result"] == "fail"]
    by_name = {(result["what"], result["check"]): result for result in failed}
    causes = defaultdict(list)
    for result in failed:
        above = [(result["what"], first) for first, rest in _FIRST.items() if rest(result["check"])]
        leading = next((by_name[name] for name in above if name in by_name), result)
        causes[_thing(result), leading["cause"]].append(result)
    return list(causes.values())


def _thing(result):
    """What a plugin offers and a check is about, such as "layers swish", on whatever example."""
    return " ".join(result["what"].split()[:2])


def _print_json(plugin, results):
    """Every check, and every cause of failures with the first check that it fails."""
    keys = ("what", "check", "promise", "found", "cure")
    failures = [
        {**{key: first[key] for key in keys}, "checks": 1 + len(others), "others": _names(others)}
        for first, *others in _failures(results)
    ]
    checks = [{key: value for key, value in result.items() if key != "cause"} for result in results]
    print_json({"plugin": plugin, "ok": not failures, "failures": failures, "checks": checks})


def _names(results):
    return list(dict.fromkeys(result["check"] for result in results))


def _print(results, verbose):
    """A line for each thing that is offered, and some for each cause of its failures."""
    for thing, group in groupby(results, key=_thing):
        checks = list(group)
        failed = [c for c in checks if c["result"] == "fail"]
        skipped = [f"{c['check']} does not apply: {c['reason']}" for c in checks if c["result"] == "does not apply"]
        verdict, colour = "pass", "green"
        if failed:
            verdict, colour = "FAIL", "red"
        elif len(skipped) == len(checks):
            verdict, colour = "not checked", "yellow"
        count = f"{len(failed)} of {len(checks)}" if failed else len(checks)
        note = f", {len(skipped)} of them not applicable" if skipped else ""
        say(f"{thing}: ", nl=False)
        say(verdict, fg=colour, nl=False)
        say(f" ({count} check{'' if len(checks) == 1 else 's'}{note})")
        for first, *others in _failures(failed):
            click.echo(f"  {first['check']}{first['what'].removeprefix(thing)}: {first['promise']}.")
            click.echo(f"    {first['found']}")
            if others:
                names = _names(others)
                rest = f" and {len(names) - 3} others" if len(names) > 3 else ""
                verb = "check fails" if len(others) == 1 else "checks fail"
                click.echo(f"    {len(others)} more {verb} with it: {', '.join(names[:3])}{rest}")
            if first["cure"]:
                click.echo(f"    Cure: {first['cure']}.")
        if verbose:
            for line in dict.fromkeys(skipped):
                click.echo(f"  {line}")
