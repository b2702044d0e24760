"""What the commands share: options, the catalog of this run, networks by name or file, tables and JSON."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.alone import is_layer, layer_network
from simulator.cli.completion import build_options_of, files, offers
from simulator.cli.grammar import toned
from simulator.cli.steps import NETWORK, free, next_command
from simulator.cli.tables import check_one_way, format_option, to_program
from simulator.cli.terminal import error_console
from simulator.errors import brief, close

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.engine import Engine
    from simulator.files import Saved
    from simulator.network import Network
    from simulator.preparation import Preparation

_COMPILING = "Compiling fast loops, once on this machine"
_BATCH = 256  # samples that are predicted at a time
_WARNINGS = 3  # arrays that are named
_UNTRAINED = "untrained: random weights"
_LARGEST = 10**8  # no sample that fits this machine has more numbers; counting more would never end


class ShapeType(click.ParamType):
    """A shape such as 1x28x28."""

    name = "CxHxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            shape = tuple(int(part) for part in value.lower().split("x"))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            self.fail(f"expected positive sizes such as 1x28x28, got {brief(value)}", param, ctx)
        if math.prod(shape) > _LARGEST:
            self.fail(f"expected a sample of at most {_LARGEST:,} numbers, got {value}", param, ctx)
        return shape


class FiniteRange(click.FloatRange):
    """A number in a range, neither NaN nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {brief(value)}", param, ctx)
        return number


class PairType(click.ParamType):
    """NAME=VALUE; what the text of the value means says who takes it (see `typed_options`)."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, text = value.partition("=")
        if not (name and equals and text):
            self.fail(f"expected NAME=VALUE, got {brief(value)}", param, ctx)
        return name, text


class CatalogOptions:
    """``-p`` and ``--prefer``, before or after the name of the command."""

    @staticmethod
    def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        ctx.meta.setdefault(f"simulator.{param.name}", []).extend(value)

    @classmethod
    def decorate(cls, command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--prefer",
                metavar="KIND.NAME=PLUGIN",
                multiple=True,
                expose_value=False,
                callback=cls._keep,
                help="Whose offer to take where two plugins offer one name.",
            ),
            click.option(
                "-p",
                "--plugin",
                metavar="FILE_OR_MODULE",
                shell_complete=files,
                multiple=True,
                expose_value=False,
                callback=cls._keep,
                help="Load a plugin from a Python file or module; may be repeated.",
            ),
        ):
            command = option(command)
        return command


def the_catalog() -> Catalog:
    """The catalog with the plugins of this command line; prints what could not be imported."""
    from simulator.catalog import Catalog

    meta = click.get_current_context().meta
    prefer = {}
    for wish in meta.get("simulator.prefer", []):
        name, equals, plugin = wish.partition("=")
        if not equals:
            raise click.UsageError(
                f"--prefer: expected KIND.NAME=PLUGIN, got {brief(wish)}; for example layers.conv=my_plugin"
            )
        prefer[name] = plugin
    catalog = Catalog(*meta.get("simulator.plugin", []), prefer=prefer)
    for problem in catalog.problems:
        click.echo(f"Warning: {problem}", err=True)
    return catalog


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator, in the order in which they are listed."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda c, option: option(c), reversed(decorators), command)

    return decorate


def _alone(ctx: click.Context, param: click.Parameter, asked: bool) -> bool:
    """With --json standard output holds nothing but the document."""
    if asked:
        check_one_way(ctx)
        to_program(ctx)
    return asked


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_alone, help="Print JSON instead of tables."
)
report_options = options(json_option, format_option)
build_options = options(
    click.option(
        "--input",
        "input_shape",
        type=ShapeType(),
        metavar="CxHxW",
        help="Shape of one sample.  [default: the architecture's]",
    ),
    click.option(
        "--classes",
        metavar="N",
        type=click.IntRange(1),
        help="Number of classes.  [default: the data's, else the architecture's]",
    ),
    click.option(
        "-o",
        "--option",
        "build_option",
        shell_complete=build_options_of,
        type=PairType(),
        multiple=True,
        help="An option of the architecture; may be repeated.",
    ),
)
engine_options = options(
    click.option(
        "--engine",
        metavar="NAME",
        shell_complete=offers("engines"),
        default="auto",
        show_default=True,
        help="Which engine multiplies the matrices: see 'simulator plugins engines'; auto takes the fastest.",
    ),
    click.option("--threads", metavar="N", type=click.IntRange(1), help="How many cores to use.  [default: all]"),
)


def dtype_option(default: str) -> Callable[..., Any]:
    """``--dtype``."""
    kinds = click.Choice(["float32", "float64"])
    return click.option("--dtype", type=kinds, default=default, show_default=True, help="Precision of all numbers.")


def was_given(name: str) -> bool:
    """Whether an option or argument stood on the command line."""
    return click.get_current_context().get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def is_file(catalog: Catalog, net: str) -> bool:
    """Whether NET names a saved network, be it there or not, rather than an architecture."""
    path = Path(net)
    return not (net in catalog.architectures or is_layer(net)) and (
        path.is_file() or bool(path.suffix) or len(path.parts) > 1
    )


def load_file(catalog: Catalog, net: str) -> Saved:
    """A saved network, or an error that says how to get one."""
    from simulator.errors import FileError
    from simulator.files import load

    if not Path(net).is_file():
        got, cure = f"{brief(net)}, which does not exist", "check the path"
        with contextlib.suppress(OSError):
            others = (file.name for file in Path(net).parent.iterdir() if file.is_file())
            cure = close(Path(net).name, others) or cure
        if net in catalog.architectures:
            add = {"--save": free(f"{net}.safetensors")}
            got, cure = brief(net), f"train one: {next_command('train', net, keep=(*NETWORK, '--data'), add=add)}"
        command = click.get_current_context().info_name
        raise FileError(f"{command}: expected the file of a trained network, got {got}; {cure}")
    return _for_prediction(warned(load(net, catalog=catalog), net))


def warned(saved: Saved, net: str | Path) -> Saved:
    """What was loaded; a warning says which of its numbers are not finite."""
    from simulator.finite import not_finite

    arrays = {**saved.network.params, **saved.network.buffers}
    if saved.epoch is not None:
        state = saved.epoch.optimizer_state.items()
        arrays.update({f"optimizer {name}": value for name, value in state if hasattr(value, "shape")})
    found = not_finite(arrays)
    for name, bad in list(found.items())[:_WARNINGS]:
        click.echo(f"Warning: {bad:,} of {arrays[name].size:,} numbers of {name} are not finite in {net}", err=True)
    if len(found) > _WARNINGS:
        click.echo(f"Warning: nor are numbers of {len(found) - _WARNINGS:,} other arrays", err=True)
    return saved


def _for_prediction(saved: Saved) -> Saved:
    """Without the heads that only help in training."""
    network, output = saved.network, saved.info.get("output")
    if isinstance(output, str) and output in network.nodes and network.outputs != (output,):
        return replace(saved, network=network.subnetwork(output))
    return saved


def data_for(catalog: Catalog, source: str, shape: tuple[int, ...], like: Preparation | None = None) -> Dataset:
    """Data whose samples have the shape of a network's input, in the units of what it was trained on."""
    from simulator.errors import ShapeError

    try:
        data, told = catalog.load_data(source, shape, like), None
    except ShapeError as error:
        told = str(error).partition("; ")[0]  # another cure follows
        data = catalog.load_data(source)  # as they are, or what is wrong with them
    if told is None and data.shape == shape:
        return data
    other = (data.shape[0], *shape[1:]) if catalog.any_shape(source) else data.shape
    cure = _at_another_size(catalog, other) or _at_another_size(catalog, data.shape)
    told = told or f"{source}: expected samples of shape {shape}, got {data.shape}"
    raise ShapeError(f"{told}; use data of that shape{cure}")


def tell_bundled(catalog: Catalog, source: str) -> None:
    """Say so where the name of a bundled data set is that of a folder or file of the user's own, too."""
    if source in catalog.datasets and Path(source).exists():
        click.echo(f"Note: {source} is the bundled data set; for your own write --data ./{source}", err=True)


def _at_another_size(catalog: Catalog, shape: tuple[int, ...]) -> str:
    """The end of a message: this command with a network for samples of a shape, if its architecture can be so built."""
    from simulator.errors import SimulatorError

    told = click.get_current_context().params
    net = told.get("net", "")
    if "input_shape" not in told or net not in catalog.architectures:
        return ""
    try:
        build = {key: told[key] for key in ("classes", "build_option")}
        planned_network(catalog, net, input_shape=shape, rng=None, **build)
    except SimulatorError:
        return ""
    return f", or another input: {next_command(add={'--input': shape_text(shape)})}"


def labels_of(data: Dataset, source: str) -> np.ndarray:
    """The labels (n,), or an error for targets of another kind."""
    from simulator.errors import ShapeError

    if data.labels is None:
        raise ShapeError(
            f"{source}: expected an integer label for each sample, got other targets; for those use simulator.train "
            "and simulator.evaluate in Python"
        )
    return data.labels


def typed_options(
    who: str, thing: Callable[..., Any], pairs: Iterable[tuple[str, Any]], elsewhere: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Options of a class or function from NAME=VALUE: texts by the declared types, values from a file as they are.

    `elsewhere` has what takes the place of a name that cannot be given here.
    """
    from simulator.declared import options_of
    from simulator.errors import UnknownNameError, nearest

    elsewhere = elsewhere or {}
    known = {name: option for name, option in options_of(thing).items() if name not in elsewhere}
    given = {}
    for name, value in pairs:
        if name in elsewhere:
            raise click.UsageError(f"-o {name}: expected an option of {who} itself, got {name}; {elsewhere[name]}")
        if name not in known:
            raise UnknownNameError(f"{who}: expected one of its options, got {brief(name)}; {nearest(name, known)}")
        option = known[name]
        given[name] = option.parsed(value) if isinstance(value, str) else option.read(value, "-o")
    return given


OF_EVERY_NETWORK = {
    "input_shape": "use --input",
    "classes": "use --classes",
    "dtype": "leave it out",
    "engine": "leave it out",
    "rng": "leave it out",
    "make": "leave it out",
}


@dataclass(frozen=True, eq=False)
class Planned:
    """A network whose weights are not drawn yet, so that whatever can be checked is checked before.

    Parameters
    ----------
    saved : Saved
        The network of an architecture without weights; one from a file as it is.
    drawn : callable
        Gives the same with weights.
    """

    saved: Saved
    drawn: Callable[[], Saved]

    def checked(self, check: Callable[[Network], None]) -> Callable[[], Saved]:
        """What gives the network with weights, after a check of the memory: now, and again when the data take theirs.

        ``check(network)`` gets the network as it is planned, and raises an error if what follows would not fit.
        """

        def drawn() -> Saved:
            check(self.saved.network)
            return self.drawn()

        check(self.saved.network)
        return drawn


def planned_network(
    catalog: Catalog,
    net: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    build_option: tuple[tuple[str, Any], ...] = (),
    rng: int | None = 0,
    dtype: str | None = None,
    engine: Engine | None = None,
) -> Planned:
    """A network by the name of its architecture, from a file, or of one layer, its weights still to be drawn."""
    from simulator.files import Saved
    from simulator.splits import Splits

    if is_file(catalog, net):
        if input_shape or classes or build_option:
            raise click.UsageError(
                f"{net} is a saved network: its input, classes and options are in the file; leave them out"
            )
        saved = load_file(catalog, net)
        network = saved.network if engine is None else saved.network.with_engine(engine)
        saved = replace(saved, network=network.with_dtype(dtype) if dtype else network)
        return Planned(saved, lambda: saved)
    alone = is_layer(net)
    if not alone and net in catalog.layers and net not in catalog.architectures:
        raise click.UsageError(
            f"expected an architecture or a saved network, got the layer {net}; write it with its arguments, in "
            f"quotes: '{net}(...)'"
        )
    options = {} if alone else typed_options(net, catalog.architectures[net], build_option, OF_EVERY_NETWORK)

    def built(rng: int | None) -> Saved:
        if alone:
            given = classes or build_option
            return layer_network(
                catalog,
                net,
                input_shape,
                given,
                rng=rng,
                dtype=dtype or "float32",
                engine=engine or catalog.engine("scipy"),
            )
        network = catalog.build(
            net, input_shape, classes, rng, dtype=dtype or "float32", engine=engine or "scipy", **options
        )
        return Saved(network, {"architecture": net, "untrained": True}, splits=Splits())

    shapes = built(None)
    return Planned(shapes, lambda: shapes if rng is None else built(rng))


def network_from(
    catalog: Catalog,
    net: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    build_option: tuple[tuple[str, Any], ...] = (),
    rng: int | None = 0,
    dtype: str | None = None,
    engine: Engine | None = None,
) -> Saved:
    """What `planned_network` gives, drawn at once: for a command that has nothing more to check."""
    return planned_network(
        catalog,
        net,
        input_shape=input_shape,
        classes=classes,
        build_option=build_option,
        rng=rng,
        dtype=dtype,
        engine=engine,
    ).drawn()


def title_of(net: str, saved: Saved) -> str:
    """The name of a network in titles, which says so where its weights say nothing."""
    return f"{net} ({_UNTRAINED})" if saved.untrained and saved.network.has_weights else net


def save_figure(figure: Figure, path: Path, of: str) -> None:
    """Write a picture of a network; see `titled`."""
    from simulator.draw import save

    save(titled(figure, of), path)


def titled(figure: Figure, of: str) -> Figure:
    """The same picture; its title says what it is of: a network, as `title_of` calls it, and the sample."""
    figure.suptitle("\n".join(filter(None, (figure.get_suptitle(), of))), fontsize=11)
    return toned(figure)


def compiled(network: Network, samples: int) -> Network:
    """The network with the engine that suits so many samples in all (see `Network.settled`), ready to run."""
    network = network.settled(min(samples, _BATCH), samples)
    make_ready(network.engine, network.dtype.name)
    return network


def make_ready(engine: Any, dtype: str) -> None:
    """Let an engine compile what it needs, with a bar if this takes a while."""
    if not hasattr(engine, "warm_up"):
        return
    with warnings.catch_warnings(record=True) as told, contextlib.ExitStack() as stack:
        warnings.simplefilter("always", RuntimeWarning)
        bars: list[Callable[[int, int], None]] = []

        def announce(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(_COMPILING)))
                if not error_console().is_terminal:
                    click.echo(f"{_COMPILING}: about half a minute ...", err=True)
            bars[0](done, total)

        engine.warm_up(dtype, announce)
    for warning in dict.fromkeys(str(each.message) for each in told):
        click.echo(f"Warning: {warning}", err=True)


def engine_name(catalog: Catalog, engine: Engine) -> str:
    """What an engine is called in the catalog."""
    entry = catalog.engines.named(type(engine))
    return type(engine).__name__ if entry is None else entry.name


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal: call what it gives with how much is done, of how much."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = error_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """One JSON document on standard output; NaN and infinity become null."""
    context = click.get_current_context(silent=True)
    where = None if context is None else context.meta.get("simulator.stdout")
    click.echo(json.dumps(_finite(value), indent=2), file=where)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shape_text(shape: tuple[int, ...]) -> str:
    """1x28x28"""
    return "x".join(map(str, shape))
