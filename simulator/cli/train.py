"""The command that trains."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    FiniteRange,
    build_options,
    dtype_option,
    engine_name,
    engine_options,
    is_file,
    make_ready,
    network_from,
    print_json,
    report_options,
    shape_text,
    the_catalog,
    warned,
    was_given,
)
from simulator.cli.completion import data_sets, nets, offers
from simulator.cli.grammar import batch_size_option, examples
from simulator.cli.keeping import Keeper, check_place, save_options
from simulator.cli.leaving import leaving_status
from simulator.cli.look import engine_proofs, print_engine_proofs, print_proofs
from simulator.cli.remembered import history_of, settings_of
from simulator.cli.run import default_rate, epochs_of, held_out_text, identical, prepared, untested
from simulator.cli.steps import ALL, NETWORK, free, next_command, say_next
from simulator.errors import counted, shown

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.cli.run import Run
    from simulator.files import Saved
    from simulator.lab import Silence
    from simulator.network import Network
    from simulator.training import Epoch

# What a checkpoint keeps of the command line, so that a resumed run is the same run.
_SETTINGS = (
    "net",
    "data",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "weight_decay",
    "schedule",
    "warm_up",
    "clip",
    "loss",
    "shift",
    "mirror",
    "held_out",
    "split_seed",
    "seed",
    "input_shape",
    "classes",
    "build_option",
    "dtype",
)

_WORSE = 1.1  # dropout and chance raise a loss by less

# What older files do not have.
_LATER: dict[str, Any] = {
    "warm_up": 0.0, "clip": None, "loss": None, "mirror": False, "split_seed": None, "engine": "auto", "threads": None
}  # fmt: skip


@click.command(epilog=examples("simulator train", "simulator train mlp --data xo --epochs 5 --save net.safetensors"))
@click.argument("net", default="lenet5", shell_complete=nets)
@click.option(
    "--data",
    metavar="DATA",
    shell_complete=data_sets,
    help="A data set by name (see 'simulator plugins datasets'), NAME:PATH, or a path.  "
    "[default: what a saved network was trained on, else digits]",
)
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(1),
    help="Passes over the data.  [default: the architecture's, usually 20]",
)
@batch_size_option(32, "Samples per step.")
@click.option(
    "--optimizer",
    metavar="NAME",
    shell_complete=offers("optimizers"),
    default="momentum",
    show_default=True,
    help="How gradients change the weights: see 'simulator plugins optimizers'.",
)
@click.option(
    "--lr",
    metavar="VALUE",
    type=FiniteRange(0, min_open=True),
    help="Learning rate.  [default: the architecture's, else 0.05; with adam and the like the optimizer's own]",
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "step", "plateau", "constant"]),
    default="cosine",
    show_default=True,
    help="How the learning rate goes on: down to 0 along a cosine; down to a tenth after each third (step), or where "
    "the training loss has not fallen for more than a tenth of the epochs (plateau); or as it is.",
)
@click.option(
    "--warm-up",
    metavar="VALUE",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Epochs in which the learning rate rises.",
)
@click.option(
    "--clip",
    metavar="VALUE",
    type=FiniteRange(0, min_open=True),
    help="Shorten gradients to this norm.  [default: never]",
)
@click.option(
    "--loss",
    metavar="NAME",
    shell_complete=offers("losses"),
    help="What to minimise: see 'simulator plugins losses'.  [default: the architecture's, usually cross-entropy]",
)
@click.option(
    "--weight-decay",
    metavar="VALUE",
    type=FiniteRange(0),
    help="Pull towards zero.  [default: the optimizer's own]",
)
@click.option(
    "--shift",
    metavar="N",
    type=click.IntRange(0),
    help="Move samples by up to so many sites.  [default: 1 in 14 of their shortest side]",
)
@click.option("--mirror", is_flag=True, help="Mirror half of the samples, left to right.")
@click.option(
    "--held-out",
    metavar="SHARE",
    type=FiniteRange(0, 1, True, True),
    default=0.2,
    show_default=True,
    help="Share of the samples that is held out, to test on.",
)
@click.option(
    "--split-seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Chooses what is held out; --seed does not, so that networks of several seeds can be compared.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="First weights and order of the samples: one seed, one result, to the last bit with the same engine, threads, "
    "libraries and kind of processor.",
)
@build_options
@engine_options
@dtype_option("float32")
@save_options("Write a checkpoint here after every epoch.")
@click.option(
    "--resume", "resume_path", metavar="FILE", type=click.Path(path_type=Path), help="Go on with an interrupted run."
)
@click.option(
    "--proof/--no-proof",
    default=True,
    help="Prove at the end that every layer equals its matrix, and that the engine computes what the matrices do.",
)
@report_options
@CatalogOptions.decorate
def train(
    save_path: Path | None,
    overwrite: bool,
    resume_path: Path | None,
    engine: str,
    threads: int | None,
    proof: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a network as sparse matrices with shared weights.

    NET is the name of an architecture, or a saved network to start from. Without arguments: LeNet-5 on scikit-learn's
    handwritten digits, in well under a minute.

    What is held out is kept in the file: training it again never trains on these samples, and `simulator evaluate`
    measures on them. --resume goes on with the engine and the threads of the run, unless others are given.
    """
    from simulator.equivalence import engine_equivalence, equivalence
    from simulator.errors import FileError
    from simulator.files import load, save
    from simulator.lab import silence
    from simulator.threads import check_threads
    from simulator.training import evaluate

    catalog = the_catalog()
    resumed = None
    if resume_path is not None:
        resumed = warned(load(resume_path, catalog=catalog), resume_path)
        settings = _resumed_settings(resumed, resume_path)
        engine, threads = _same_engine(settings, engine, threads)
        save_path = save_path or resume_path
    settings.update(engine=engine, threads=check_threads(threads, "train"))
    if save_path is not None:
        goes_on = next_command("train", add={"--resume": save_path})
        check_place(save_path, overwrite, resume_path, f", or finish an interrupted run: {goes_on}")
    run = prepared(catalog, settings, catalog.engine(engine, settings["threads"]), resumed)
    settings["engine"] = engine = engine_name(catalog, run.start.network.engine)
    if not as_json:
        click.echo(f"{shown(settings['net'])}: {run.start.network!r}")
        samples = counted(len(run.data), "sample", f" to train on, {len(run.held_out)} held out to test on")
        click.echo(f"{settings['data']}: {samples}")
        if run.data.preparation.told:
            click.echo(f"{settings['data']}: {run.data.preparation.told}")
        click.echo(f"Engine {engine} on {counted(settings['threads'], 'core')}")
        if run.start.epoch is not None and run.start.epoch.number >= settings["epochs"]:
            finished = counted(settings["epochs"], "epoch")
            click.echo(f"The run is finished after {finished}: there is nothing left to train.")
    make_ready(run.start.network.engine, settings["dtype"])
    for warning in untested(run):
        click.echo(f"Warning: {warning}", err=True)
    history: list[dict[str, Any]] = history_of(run.start)
    last: Epoch | None = run.start.epoch
    found: Silence | None = None  # known when the last epoch has ended

    arrays = run.data.inputs
    preparation = run.data.preparation.measured(
        next(iter(arrays.values())) if isinstance(arrays, Mapping) else arrays
    ).plain()

    def write(path: Path, epoch: Epoch) -> None:
        info = {
            "settings": settings,
            "history": history,
            "classes": list(run.data.classes),
            "architecture": run.architecture,
            "output": run.output,
            "preparation": preparation,
        }
        if found is not None:
            info["silence"] = {"samples": found.samples, "silent": found.silent}
        save(path, epoch.network, catalog=catalog, info=info, epoch=epoch, splits=run.splits)

    keeper = Keeper(save_path, write)
    try:
        if save_path is not None and last is not None and save_path != resume_path:
            write(save_path, last)  # while nothing can be lost yet
        with contextlib.closing(epochs_of(catalog, settings, run)) as epochs:
            for epoch in epochs:
                last, history = epoch, [*history, _entry(epoch)]
                if epoch.number == settings["epochs"]:
                    found = silence(epoch.network.subnetwork(run.output), run.held_out)
                keeper.keep(epoch)
    except KeyboardInterrupt as error:
        if save_path is None:
            cure = f"nothing was saved; to keep every finished epoch: {_with_save()}"
        elif last is None:
            cure = "no epoch was finished, so nothing was saved"
        else:
            keeper.keep(last)  # the interrupt may have come while it was being written
            kept = keeper.finish(last)
            cure = f"epoch {last.number} is in {kept}; go on with: {next_command('train', add={'--resume': kept})}"
        status = leaving_status(error)
        click.echo(f"\n{'Interrupted' if status == 130 else 'Terminated'}: {cure}", err=True)
        click.get_current_context().exit(status)
    assert last is not None
    kept = keeper.finish(last)
    network = last.network
    weights = {name: run.weights.get(name, 1.0) for name in run.tested}
    tested = evaluate(network.subnetwork(run.output), run.held_out, losses=run.tested, loss_weights=weights)
    found = found or silence(network.subnetwork(run.output), run.held_out)
    if last.number > (0 if run.start.epoch is None else run.start.epoch.number):
        before = evaluate(run.start.network, run.held_out, losses=run.losses, loss_weights=run.weights)["loss"]
        if min(last.loss, tested["loss"]) > _WORSE * before:
            click.echo(
                f"Warning: the loss ends at {last.loss:.4g} and was {before:.4g} before: the steps were too long; "
                f"{_with_less(catalog, settings, run, kept)}",
                err=True,
            )
    seconds = sum(entry["seconds"] for entry in history)
    batch = min(settings["batch_size"], len(run.data))
    proofs = list(equivalence(network.with_dtype("float64"))) if proof else []
    steps = list(engine_equivalence(network, batch=batch)) if proof else []
    ok = all(p.ok for p in (*proofs, *steps))
    if as_json:
        result = {
            "network": settings["net"],
            "data": settings["data"],
            "done_to_data": preparation["notes"],
            "epochs": last.number,
            "seed": settings["seed"],
            "engine": engine,
            "threads": settings["threads"],
            "train_loss": last.loss,
            "train_accuracy": last.metrics.get("accuracy", last.metrics.get(f"{run.output}.accuracy")),
            "test_loss": tested["loss"],
            "test_accuracy": tested.get("accuracy"),
            "test_samples": len(run.held_out),
            "test_samples_trained_on": identical(run.splits),
            "silence": found.as_dict(),
            "seconds": seconds,
            "peak_memory": last.peak_memory,
            "saved": None if kept is None else str(kept),
        }
        if proof:
            result["equivalence"] = {
                "ok": ok,
                "layers": [p.as_dict() for p in proofs],
                "engine": engine_proofs(engine, steps, settings["dtype"], batch),
            }
        print_json(result)
    else:
        reached = f"accuracy {tested['accuracy']:.2%}" if "accuracy" in tested else f"loss {tested['loss']:.4f}"
        click.echo(
            f"After {counted(last.number, 'epoch')} and {seconds:.1f} s: train loss {last.loss:.4f}, test "
            f"{reached} on {held_out_text(run.splits)}."
        )
        if found.shapes:
            click.echo(found.told("held-out sample"))
        if last.peak_memory is not None:
            click.echo(f"A step needs up to {last.peak_memory / 1e6:.1f} MB on top of data and weights.")
        click.echo()
        if proof:
            print_proofs(proofs, "the trained network in float64")
            print_engine_proofs(engine, steps, settings["dtype"], batch)
        if kept is not None:
            click.echo(f"Saved to {kept}.")
            say_next(next_command("evaluate", kept))
        else:
            if not is_file(catalog, settings["net"]):
                say_next(_described(catalog, settings, run, network))
            say_next(_with_save(), "to keep the weights")
    if kept != save_path:
        raise FileError(f"{keeper.problem}; the trained network is safe in {kept}: move it from there")
    if not ok:
        click.get_current_context().exit(1)


def _with_save() -> str:
    """The same training, kept in a new file."""
    return next_command(add={"--save": free("net.safetensors")})


def _with_less(catalog: Catalog, settings: dict[str, Any], run: Run, kept: Path | None) -> str:
    """How to train with shorter steps."""
    if was_given("resume_path"):
        return "start anew with a smaller --lr"
    rate = min(default_rate(catalog, settings["optimizer"], run.architecture), settings["lr"] / 10)
    add = {"--lr": f"{rate:g}", **({} if kept is None else {"--overwrite": True})}
    return f"train with a smaller rate: {next_command(add=add)}"


def _described(catalog: Catalog, settings: dict[str, Any], run: Run, network: Network) -> str:
    """The command that describes what was trained: the data may have chosen its input and its classes."""
    net, add = settings["net"], dict[str, object]()
    if network.input_shape != catalog.default_shape(net):
        add["--input"] = shape_text(network.input_shape)
    shape = network.node(run.output).shape
    options = tuple(settings["build_option"])
    plain = network_from(catalog, net, input_shape=network.input_shape, build_option=options, rng=None).network
    if run.task == "classify" and plain.node(run.output).shape != shape:
        add["--classes"] = shape[0]
    return next_command("describe", net, keep=NETWORK, add=add)


def _entry(epoch: Epoch) -> dict[str, Any]:
    """What a checkpoint remembers of an epoch, for the curve."""
    return {
        "number": epoch.number,
        "loss": epoch.loss,
        "metrics": epoch.metrics,
        "validation": epoch.validation,
        "seconds": epoch.seconds,
    }


def _resumed_settings(resumed: Saved, path: Path) -> dict[str, Any]:
    """The settings of the interrupted run; others on the command line would make it another run."""
    from simulator.errors import FileError

    settings = settings_of(resumed, train)
    if settings:
        settings = {**_LATER, **settings}
        if settings["split_seed"] is None:  # version 0.1.0 split by the seed of the weights
            settings["split_seed"] = settings.get("seed")
    of_the_file = (*NETWORK, "--resume", "--held-out", "--split-seed")
    anew = next_command("train", path, keep=ALL, add=dict.fromkeys(of_the_file))
    if resumed.epoch is None or not settings:
        raise FileError(
            f"resume: expected a checkpoint of simulator train, got a network without one, {path}; start from its "
            f"weights with: {anew}"
        )
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in _SETTINGS and was_given(parameter.name):
            raise click.UsageError(
                f"--resume goes on with the settings of that run; leave out {parameter.get_error_hint(context)}, or "
                f"start a new run from its weights: {anew}"
            )
    missing = [name for name in _SETTINGS if name not in settings]
    if missing:
        raise FileError(
            f"resume: expected the settings of a run, got none for {', '.join(missing)} in {path}; start from its "
            f"weights with: {anew}"
        )
    return settings


def _same_engine(settings: dict[str, Any], engine: str, threads: int | None) -> tuple[str, int | None]:
    """Those of the run that goes on, or else what is asked for or there: then it says so, as bits depend on them."""
    from simulator.threads import available_cores

    before = {"engine": settings["engine"], "threads": settings["threads"]}
    if not was_given("engine") or engine == "auto":
        engine = settings["engine"]
    if not was_given("threads"):  # this machine may have fewer cores
        threads = settings["threads"] and min(settings["threads"], available_cores())
    after = {"engine": engine, "threads": threads}
    if after != before:
        click.echo(
            f"Warning: the run began with {_engine_text(before)} and goes on with {_engine_text(after)}; the result is "
            "not that of one uninterrupted run, to the last bit.",
            err=True,
        )
    return engine, threads


def _engine_text(of: dict[str, Any]) -> str:
    count = "all threads" if of["threads"] is None else counted(of["threads"], "thread")
    return f"--engine {of['engine']} on {count}"
