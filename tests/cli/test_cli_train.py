"""The command that trains: settings, progress, checkpoints, Ctrl-C, resuming, bad data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator import Catalog, Conv, CosineDecay, Dense, Network, load, save
from simulator.cli import cli
from simulator.cli.run import _rate
from simulator.errors import counted
from simulator.lab import silence
from simulator.optimizers import after_epoch
from simulator.schedules import learning_rate
from simulator.threads import available_cores
from simulator.training import evaluate, train

SMALL = ("--data", "xo", "--input", "1x12x12", "-o", "width=0.3", "--no-proof")
KEYS = {
    "network", "data", "done_to_data", "epochs", "seed", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    "seconds", "engine", "threads", "peak_memory", "saved", "silence", "test_samples", "test_samples_trained_on",
}  # fmt: skip

STOPPING = '''
from dataclasses import dataclass
from pathlib import Path
from simulator import hookimpl
from simulator_plugins.optimizers.momentum import Momentum

@dataclass(frozen=True)
class Stopping(Momentum):
    """Momentum; where there is a file called stop, Ctrl-C is pressed at the step that it names."""

    def step(self, params, grads, state):
        stop = Path("stop")
        if stop.exists() and state["step"] == int(stop.read_text()):
            raise KeyboardInterrupt
        return super().step(params, grads, state)

@hookimpl
def register_optimizers(register):
    register("stopping", Stopping)
'''

DENSE = '''
from simulator import Network, hookimpl

def dense(make, input_shape=(1, 12, 12), classes=10, rng=None):
    """One layer."""
    return Network.input(input_shape).add(make("dense", classes), name="dense", rng=rng)

@hookimpl
def register_architectures(register):
    register("dense", dense, lr=0.5, epochs=3)
'''


@pytest.fixture
def stopping(folder):
    (folder / "stopping.py").write_text(STOPPING)
    return ("-p", "stopping.py")


@pytest.fixture
def dense(folder):
    (folder / "one_layer.py").write_text(DENSE)
    return ("-p", "one_layer.py")


def assert_same(one, other):
    """Two checkpoints hold the same weights, optimizer state and random state, to the last bit."""
    for first, second in (
        (one.network.params, other.network.params),
        (one.epoch.optimizer_state, other.epoch.optimizer_state),
    ):
        assert first.keys() == second.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name], strict=True, err_msg=name)
    assert one.epoch.rng_state == other.epoch.rng_state
    assert one.epoch.number == other.epoch.number


# ---------------------------------------------------------------------- settings


def test_without_arguments_it_is_lenet5_on_the_digits():
    defaults = {p.name: p.default for p in cli.commands["train"].params}
    wanted = {"net": "lenet5", "batch_size": 32, "optimizer": "momentum", "seed": 0}
    assert {name: defaults[name] for name in wanted} == wanted
    assert Catalog().architectures.entry("lenet5").epochs == 20
    assert defaults["engine"] == "auto"
    assert defaults["dtype"] == "float32"


def test_one_epoch_of_the_default_training(run):
    pytest.importorskip("sklearn")
    result = run("train", "--epochs", "1", "--no-proof", "--json")
    content = json.loads(result.out)
    assert result.status == 0
    assert (content["network"], content["data"]) == ("lenet5", "digits")
    assert content["test_accuracy"] > 0.2  # twice as good as guessing


@pytest.mark.slow
def test_the_default_training(run):
    pytest.importorskip("sklearn")
    result = run("train")
    assert result.status == 0
    assert float(re.search(r"test accuracy (\d+\.\d+)% on 359 samples", result.out)[1]) > 98
    assert "All 12 layers that have a matrix equal it" in result.out


WRONG = """
from simulator import SciPyEngine, hookimpl

class Wrong(SciPyEngine):
    \"\"\"An engine whose products are 1 % too large.\"\"\"

    def apply(self, matrix, x):
        return super().apply(matrix, x) * x.dtype.type(1.01)

class Negated(SciPyEngine):
    \"\"\"An engine whose gradients have the wrong sign.\"\"\"

    def grad(self, matrix, x, dy):
        return -super().grad(matrix, x, dy)

@hookimpl
def register_engines(register):
    register("wrong", Wrong)
    register("negated", Negated)
"""


@pytest.mark.parametrize(
    ("engine", "message", "times"),  # five layers alone, in training, and in prediction
    [
        ("wrong", r": conv1 \(products\): output 9.9e-03$", 15),
        ("negated", r": conv1 \(products\): weight gradient 2.0e\+00$", 10),
    ],
)
def test_the_proof_at_the_end_is_one_of_the_engine_that_trained(run, folder, engine, message, times):
    (folder / "wrong.py").write_text(WRONG)
    command = ("-p", "wrong.py", "train", *SMALL[:-1], "--epochs", "1", "--batch-size", "50", "--lr", "1e-6")
    result = run(*command, "--engine", engine)
    assert result.status == 1
    assert "All 12 layers that have a matrix equal it" in result.out  # these are right
    failed = [line for line in result.out.splitlines() if line.startswith(f"Engine {engine} FAILS in float32, with ")]
    assert re.search(message, failed[0])
    assert len(failed) == times

    result = run(*command, "--engine", engine, "--json")
    proof = json.loads(result.out)["equivalence"]
    assert (result.status, proof["ok"], proof["engine"]["ok"], proof["engine"]["batch"]) == (1, False, False, 50)
    assert all(layer["ok"] for layer in proof["layers"])

    result = run(*command)
    assert result.status == 0
    assert (
        "Engine scipy computes what these matrices do, in float32, with batches of 50: the products of 5" in result.out
    )


def test_json_says_what_python_says(run):
    result = run("train", *SMALL, "--epochs", "2", "--batch-size", "50", "--lr", "0.02", "--seed", "5", "--json")
    content = json.loads(result.out)
    assert result.status == 0
    assert set(content) == KEYS

    catalog = Catalog()
    train_on, held_out = catalog.load_data("xo", (1, 12, 12)).split(0.2, 0)
    network = catalog.build("lenet5", (1, 12, 12), 2, 5, engine="auto", width=0.3)
    optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(0.02, 2 * 16))
    *_, last = train(network, train_on, epochs=2, batch_size=50, optimizer=optimizer, rng=5)
    tested = evaluate(last.network, held_out)
    assert content == {
        "network": "lenet5",
        "data": "xo",
        "done_to_data": [],
        "epochs": 2,
        "seed": 5,
        "engine": "scipy",  # for nets as small as this
        "threads": available_cores(),
        "train_loss": last.loss,
        "train_accuracy": last.metrics["accuracy"],
        "test_loss": tested["loss"],
        "test_accuracy": tested["accuracy"],
        "test_samples": 200,
        "test_samples_trained_on": 0,
        "silence": silence(last.network, held_out).as_dict(),
        "seconds": content["seconds"],
        "peak_memory": content["peak_memory"],
        "saved": None,
    }
    assert content["seconds"] > 0
    assert content["peak_memory"] > 50 * 12 * 12 * 4  # at least a batch


def test_every_setting_arrives(run, files):
    """Each setting changes the weights that come out, but for the engine and the ways of reporting."""
    small = ("--data", files / "good.npz", "--epochs", "1", "-o", "width=0.3", "--no-proof")

    def weights(*args):
        assert run("train", *small, "--save", "net", "--overwrite", *args).status == 0
        return load("net").network.params["dense3.weight"]

    plain = weights()
    np.testing.assert_array_equal(weights("--json"), plain)
    np.testing.assert_allclose(weights("--engine", "scipy", "--threads", "1"), plain, rtol=0, atol=1e-4)
    for setting in (
        ("--optimizer", "sgd"),
        ("--lr", "0.02"),
        ("--schedule", "constant"),
        ("--schedule", "step"),
        ("--schedule", "plateau"),
        ("--warm-up", "1"),
        ("--clip", "0.1"),
        ("--loss", "squared-error"),
        ("--mirror",),
        ("--optimizer", "adam"),
        ("--weight-decay", "0.1"),
        ("--shift", "1"),
        ("--held-out", "0.5"),
        ("--seed", "1"),
        ("--batch-size", "8"),
        ("--dtype", "float64"),
    ):
        assert not np.array_equal(weights(*setting), plain), setting
    assert weights("--dtype", "float64").dtype == np.float64
    assert weights("--classes", "4").shape == (4, 25)
    assert weights("-o", "width=0.5").shape == (3, 42)


def test_what_is_printed(run, trained):
    result = run("train", *SMALL[:-1], "--epochs", "2", "--lr", "0.08", "--save", "net.safetensors")
    history, silent = load(trained).info["history"], load(trained).info["silence"]["silent"]
    lines = result.out.splitlines()
    assert result.status == 0
    assert lines[0] == "lenet5: Network 12 layers, 1500 params: (1, 12, 12) -> (2,)"
    assert lines[1] == "xo: 800 samples to train on, 200 held out to test on"
    assert lines[2] == f"Engine scipy on {counted(available_cores(), 'core')}"
    last = history[-1]
    assert re.fullmatch(
        rf"After 2 epochs and \d+\.\d s: train loss {last['loss']:.4f}, test accuracy "
        rf"{last['validation']['accuracy']:.2%} on 200 samples that it never saw\.",
        lines[3],
    )
    assert "Layer against matrix: the trained network in float64" in lines
    assert any(line.startswith("All 12 layers that have a matrix equal it") for line in lines)
    look = ["Next: simulator evaluate net.safetensors"]
    rank = "Next, where some are silent: simulator ablate net.safetensors"
    look += [f"{rank} {name}" for name, numbers in silent.items() if numbers][:1]
    assert lines[-1 - len(look) :] == ["Saved to net.safetensors.", *look]
    assert result.err.splitlines() == [
        f"epoch {e['number']}/2  loss {e['loss']:.4f}  accuracy {e['metrics']['accuracy']:.2%}  "
        f"test loss {e['validation']['loss']:.4f}  accuracy {e['validation']['accuracy']:.2%}"
        for e in history
    ]


def test_a_bar_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    result = run("train", *SMALL, "--epochs", "2")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.err)
    assert result.status == 0
    assert re.search(r"epoch 1/2 ━+ 25/25 steps", plain)
    assert "epoch 3/2" not in plain
    assert re.findall(r"epoch (\d)/2  loss", plain) == ["1", "2"]


def test_one_seed_one_result(run):
    for name in ("one", "other"):
        assert run("train", *SMALL, "--epochs", "1", "--save", name).status == 0
    assert_same(load("one"), load("other"))


def test_from_a_saved_network(run, trained):
    before = load(trained)
    result = run("train", trained, "--data", "xo", "--epochs", "1", "--no-proof", "--save", "further", "--json")
    after = load("further")
    assert result.status == 0
    assert json.loads(result.out)["network"] == str(trained)
    assert json.loads(result.out)["train_loss"] < before.info["history"][0]["loss"]
    assert after.epoch.number == 1
    assert after.network.param_shapes == before.network.param_shapes


def test_a_file_called_like_an_architecture(run):
    """The architecture keeps its name; where only a file can be meant, it is the file."""
    assert run("train", *SMALL, "--epochs", "1", "--save", "lenet5").status == 0
    assert json.loads(run("describe", "lenet5", "--json").out)["totals"]["params"] == 61706
    assert json.loads(run("describe", "./lenet5", "--json").out)["totals"]["params"] == 1500
    assert "lenet5 on 200 held-out samples of xo" in run("evaluate", "lenet5").out


def test_data_with_a_test_part(run, files):
    result = run("train", "--data", files / "tested.npz", "-o", "width=0.3", "--epochs", "1", "--no-proof")
    assert f"{files / 'tested.npz'}: 40 samples to train on, 20 held out" in result.out


def test_data_and_network_take_each_others_shape(run, files):
    """Data that come in one shape only decide the network's; names of classes are kept."""
    path = files / "good.npz"
    result = run("train", "--data", path, "-o", "width=0.3", "--epochs", "1", "--no-proof", "--save", "net")
    saved = load("net")
    assert result.status == 0
    assert (saved.network.input_shape, saved.network.output_shape) == ((1, 12, 12), (3,))
    assert saved.info["classes"] == ["a", "b", "c"]


def test_samples_without_space_are_not_moved(run, files, dense):
    path = files / "flat.npz"
    result = run("train", "dense", *dense, "--data", path, "--epochs", "2", "--no-proof", "--save", "net", "--json")
    assert result.status == 0
    assert load("net").info["settings"]["lr"] == 0.5  # the architecture's own
    assert json.loads(result.out)["test_accuracy"] > 1 / 3


def test_an_architecture_declares_how_often_it_passes_over_the_data(run, files, dense):
    """Weights from a file, too; with --epochs as often as that says."""
    args = (*dense, "--data", files / "flat.npz", "--no-proof", "--json")
    first, then, other = (
        json.loads(run("train", net, *args, *more).out)
        for net, more in (("dense", ("--save", "net")), ("net", ()), ("dense", ("--epochs", "2")))
    )
    assert (first["epochs"], then["epochs"], other["epochs"]) == (3, 3, 2)
    assert load("net").info["settings"]["epochs"] == 3


def test_adam_has_a_learning_rate_of_its_own(run, files):
    small = ("--data", files / "good.npz", "--epochs", "1", "-o", "width=0.3", "--no-proof", "--save", "net")
    for optimizer, lr in (("adam", 0.001), ("nesterov", 0.01)):
        assert run("train", *small, "--optimizer", optimizer, "--overwrite").status == 0
        assert load("net").info["settings"]["lr"] == lr
        assert load("net").info["settings"]["weight_decay"] is None


def test_the_loss_that_was_trained_is_the_one_that_is_evaluated(run, files):
    small = ("--data", files / "good.npz", "--epochs", "1", "-o", "width=0.3", "--no-proof", "--json", "--save", "net",
             "--overwrite")  # fmt: skip
    trained = json.loads(run("train", *small, "--loss", "squared-error").out)
    assert json.loads(run("evaluate", "net", "--json").out)["loss"] == pytest.approx(trained["test_loss"], rel=1e-5)


def test_weights_from_a_file_go_on_at_the_rate_of_their_architecture(run):
    args = ("--data", "xo", "--epochs", "1", "--no-proof")
    assert run("train", "resnet8", *args, "--input", "1x12x12", "-o", "width=2", "--save", "net").status == 0
    assert run("train", "net", *args, "--save", "again").status == 0
    assert load("again").info["settings"]["lr"] == load("net").info["settings"]["lr"] == 0.02


def test_a_checkpoint_without_the_newest_settings_goes_on(run, files):
    small = ("--data", files / "good.npz", "-o", "width=0.3", "--no-proof", "--save", "net", "--epochs", "2")
    assert run("train", *small).status == 0
    saved = load("net")
    for name in ("warm_up", "clip", "loss", "mirror"):
        del saved.info["settings"][name]
    saved.info["settings"]["epochs"] = 3
    save("old", saved.network, info=saved.info, epoch=saved.epoch)
    assert run("train", "--resume", "old", "--no-proof").status == 0
    assert load("old").epoch.number == 3


BROKEN = """
from dataclasses import dataclass
from simulator import SGD, CrossEntropy, SciPyEngine, hookimpl

@dataclass(frozen=True)
class Loss(CrossEntropy):
    def value(self, prediction, target):
        return VALUE
    def grad(self, prediction, target):
        return GRAD

@dataclass(frozen=True)
class Optimizer(SGD):
    def init(self, params):
        return INIT
    def step(self, params, grads, state):
        return STEP

class Engine(SciPyEngine):
    def apply(self, matrix, x):
        return APPLY
    def grad(self, matrix, x, dy):
        return WEIGHT

@hookimpl
def register_losses(register): register("mine", Loss)
@hookimpl
def register_optimizers(register): register("mine", Optimizer)
@hookimpl
def register_engines(register): register("mine", Engine)
"""
WHOLE = {
    "VALUE": "super().value(prediction, target)",
    "GRAD": "super().grad(prediction, target)",
    "INIT": "super().init(params)",
    "STEP": "super().step(params, grads, state)",
    "APPLY": "super().apply(matrix, x)",
    "WEIGHT": "super().grad(matrix, x, dy)",
}


@pytest.mark.parametrize("fault", ["1 / 0", "None", "[][1]"])
@pytest.mark.parametrize("part", list(WHOLE))
def test_a_broken_part_is_named(part, fault, run, folder):
    source = BROKEN
    for name, code in {**WHOLE, part: fault}.items():
        source = source.replace(name, code)
    (folder / "broken.py").write_text(source)
    kind = {"VALUE": "loss", "GRAD": "loss", "INIT": "optimizer", "STEP": "optimizer"}.get(part, "engine")
    args = ("train", "-p", "broken.py", *SMALL, "--epochs", "1", f"--{kind}", "mine")
    result = run(*args)
    line = result.err.splitlines()[-1]
    assert result.status == 2
    assert f"{kind} {kind.title()}" in line
    cures = (
        "correct its code, 'simulator check-plugin' says what is wrong",
        "check_engine tells more",
        "give one number",
    )
    assert any(cure in line for cure in cures)


def test_the_rate_of_every_schedule():
    settings = {"epochs": 6, "lr": 0.1, "warm_up": 0.0}
    rates = {}
    for schedule in ("cosine", "step", "constant"):
        rate = _rate({**settings, "schedule": schedule}, steps=10)
        rates[schedule] = [learning_rate(rate, step) for step in (0, 19, 20, 40, 60)]
    np.testing.assert_allclose(rates["constant"], [0.1] * 5)
    np.testing.assert_allclose(rates["step"], [0.1, 0.1, 0.01, 0.001, 0.0001])
    np.testing.assert_allclose(rates["cosine"], [0.1, 0.0773, 0.075, 0.025, 0], atol=1e-4)
    plateau = _rate({**settings, "schedule": "plateau", "warm_up": 0.5}, steps=10)
    told = []
    for training in (0.5, 0.5, 0.5):
        plateau = after_epoch(plateau, training, validation=0.0)  # what is held out has no say
        told.append(plateau(20))
    np.testing.assert_allclose(told, [0.1, 0.1, 0.01])
    warm = _rate({**settings, "schedule": "constant", "warm_up": 0.5}, steps=10)
    np.testing.assert_allclose([warm(step) for step in (0, 2, 4, 5)], [0.02, 0.06, 0.1, 0.1])


# ---------------------------------------------------------------------- other tasks, several heads


TASKS = '''
from simulator import Network, hookimpl

def mirrorer(make, input_shape=(1, 12, 12), rng=None):
    """Gives back its input."""
    layers = [("code", make("dense", 20)), ("tanh", make("tanh")), ("out", make("dense", 144)),
              ("picture", make("reshape", (1, 12, 12)))]
    return Network.input(input_shape).chain(layers, rng=rng)

def headed(make, input_shape=(1, 12, 12), classes=10, rng=None):
    """Two heads on one trunk."""
    network = Network.input(input_shape).chain([("trunk", make("dense", 8)), ("relu", make("relu"))], rng=rng)
    network = network.chain([("helper", make("dense", classes))], after="relu", rng=rng)
    return network.chain([("main", make("dense", classes))], after="relu", rng=rng)

@hookimpl
def register_architectures(register):
    register("mirrorer", mirrorer, task="reconstruct", lr=0.01)
    register("part", mirrorer, task="part")
    register("headed", headed, losses={"main": "cross-entropy", "helper": ("cross-entropy", 0.3), "absent": "hinge"})
    register("headless", mirrorer, task="reconstruct", losses={"absent": "hinge"})
'''


@pytest.fixture
def tasks(folder):
    (folder / "tasks.py").write_text(TASKS)
    return ("-p", "tasks.py")


def test_a_net_that_gives_back_its_input(run, tasks):
    args = ("train", *tasks, "mirrorer", "--data", "xo", "--no-proof", "--save", "net", "--overwrite", "--json")
    first, last = (json.loads(run(*args, "--epochs", n).out) for n in (1, 4))
    assert last["test_loss"] < first["test_loss"]
    assert last["test_accuracy"] is last["train_accuracy"] is None
    measured = json.loads(run("evaluate", *tasks, "net", "--json").out)
    assert measured["loss"] == pytest.approx(last["test_loss"], rel=1e-5)
    assert "loss" in run("evaluate", *tasks, "net").out
    assert "one output per class, got the shape (1, 12, 12)" in run("predict", *tasks, "net").complaint
    assert run("train", *tasks, "mirrorer", "--data", "xo", "--mirror").complaint.startswith(
        "mirrorer gives back its input: leave out --shift and --mirror"
    )


def test_a_part_is_not_trained_alone(run, tasks):
    complaint = run("train", *tasks, "part", "--data", "xo").complaint
    assert complaint.startswith("train part: expected a network that is trained alone, got a part")
    assert "python -m pydoc" in complaint


def test_auxiliary_heads_train_and_are_cut_off(run, tasks):
    args = ("train", *tasks, "headed", "--data", "xo", "--no-proof", "--save", "net", "--epochs")
    result = run(*args, 2)
    assert result.status == 0
    assert "main.accuracy" in result.err
    assert "helper.accuracy" in result.err
    saved = load("net", catalog=Catalog("tasks.py"))
    assert saved.network.outputs == ("helper", "main")  # so that training can go on
    fresh = Catalog("tasks.py").build("headed", (1, 12, 12), 2, 0)
    assert not np.array_equal(saved.network.params["helper.weight"], fresh.params["helper.weight"])
    assert re.search(r"accuracy \d", run("evaluate", *tasks, "net").out)
    assert "helper" not in run("describe", *tasks, "net").out
    assert run("predict", *tasks, "net").status == 0


def test_losses_for_no_output_are_refused(run, tasks):
    complaint = run("train", *tasks, "headless", "--data", "xo", "--no-proof").complaint
    assert "architecture headless: expected the first of its losses to be for an output of the network" in complaint
    assert complaint.endswith("got 'absent'; name one of picture")


# ---------------------------------------------------------------------- resuming


@pytest.mark.parametrize(("step", "epoch"), [(6 + 2, 1), (2 * 6 + 5, 2)])
def test_interrupted_and_resumed_is_as_if_nothing_had_happened(step, epoch, run, stopping, files, folder):
    settings = (
        *stopping, "--optimizer", "stopping", "--weight-decay", "0.01", "--seed", "4", "--data", files / "good.npz",
        "--batch-size", "8", "--epochs", "3", "-o", "width=0.3", "--no-proof",
    )  # fmt: skip
    assert run("train", *settings, "--save", "whole").status == 0

    Path("stop").write_text(str(step))
    result = run("train", *settings, "--save", "broken")
    assert result.status == 130
    assert result.err.splitlines()[-1] == (
        f"Interrupted: epoch {epoch} is in broken; go on with: simulator -p stopping.py train --resume broken"
    )
    assert load("broken").epoch.number == epoch
    assert sorted(p.name for p in folder.iterdir()) == ["broken", "stop", "stopping.py", "whole"]

    result = run("train", *stopping, "--resume", "broken", "--no-proof", "--save", "copy")  # Ctrl-C once more
    assert result.status == 130
    assert f"Interrupted: epoch {epoch} is in copy; " in result.err
    assert_same(load("copy"), load("broken"))

    assert "silence" not in load("broken").info
    Path("stop").unlink()
    result = run("train", *stopping, "--resume", "broken", "--no-proof", "--json")
    assert result.status == 0
    assert re.findall(r"epoch (\d)/3", result.err) == [str(n) for n in range(epoch + 1, 4)]
    assert json.loads(result.out)["epochs"] == 3
    whole, resumed = load("whole"), load("broken")
    assert_same(whole, resumed)
    assert whole.info["silence"] == resumed.info["silence"]
    assert [e["loss"] for e in whole.info["history"]] == [e["loss"] for e in resumed.info["history"]]
    assert whole.info["settings"] == resumed.info["settings"]
    assert evaluate_json(run, "whole") == evaluate_json(run, "broken")


def evaluate_json(run, name):
    content = json.loads(run("evaluate", name, "--json").out)
    content.pop("network")
    return content


def test_interrupted_before_the_first_epoch_is_over(run, stopping):
    Path("stop").write_text("3")
    result = run("train", *stopping, *SMALL, "--optimizer", "stopping", "--epochs", "2", "--save", "net", "--json")
    assert (result.status, result.out) == (130, "")
    assert result.err == "\nInterrupted: no epoch was finished, so nothing was saved\n"
    assert not Path("net").exists()


def test_interrupted_without_save(run, stopping):
    Path("stop").write_text("30")
    result = run("train", *stopping, *SMALL, "--optimizer", "stopping", "--epochs", "2")
    assert result.status == 130
    assert "Interrupted: nothing was saved; to keep every finished epoch: simulator -p stopping.py train" in result.err
    assert result.err.endswith(" --optimizer stopping --epochs 2 --save net.safetensors\n")


def test_interrupted_while_writing_the_epoch_is_written_after_all(run, monkeypatch):
    import simulator.files

    written = []

    def interrupted_once(path, network, epoch, **others):
        written.append(epoch.number)
        if written == [1, 2]:
            raise KeyboardInterrupt
        save(path, network, epoch=epoch, **others)

    monkeypatch.setattr(simulator.files, "save", interrupted_once)
    result = run("train", *SMALL, "--epochs", "3", "--save", "net")
    assert result.status == 130
    assert written == [1, 2, 2]
    assert "Interrupted: epoch 2 is in net; " in result.err
    assert (load("net").epoch.number, len(load("net").info["history"])) == (2, 2)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_ctrl_c_and_sigterm_in_earnest(number, status, word, shell, files, run):
    settings = ("--data", files / "good.npz", "-o", "width=0.3", "--epochs", "100000", "--no-proof", "--engine", "blas")
    process = shell("train", *settings, "--save", "net")
    assert process.stderr.readline().startswith("epoch      1/100000  loss ")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    number = int(re.fullmatch(rf"{word}: epoch (\d+) is in net; .*", err.splitlines()[-1])[1])
    assert "Traceback" not in err
    assert load("net").epoch.number == number >= 1
    assert run("evaluate", "net").status == 0


def test_a_file_that_exists_is_replaced_only_when_told(run, folder):
    assert run("train", *SMALL, "--epochs", "1", "--no-proof", "--save", "net").status == 0
    before = Path("net").read_bytes()
    again = ("train", *SMALL, "--epochs", "1", "--seed", "1", "--no-proof", "--save", "net")
    assert run(*again).complaint == (
        "save: expected the name of a new file, got net, which exists; choose another, or replace it with --overwrite, "
        "or finish an interrupted run: simulator train --resume net"
    )
    assert run("train", "net", "--data", "xo", "--epochs", "1", "--save", "net").status == 2
    assert Path("net").read_bytes() == before
    Path("link").symlink_to("net")
    done = run("train", "--resume", "net", "--save", "link", "--no-proof")  # the same run
    assert done.status == 0
    assert "The run is finished after 1 epoch: there is nothing left to train." in done.out
    onward = run("train", "net", "--data", "xo", "--epochs", "1", "--no-proof")
    keep = "Next, to keep the weights: simulator train net --data xo --epochs 1 --no-proof --save net.safetensors"
    assert onward.out.splitlines()[-1] == keep
    assert run("train", "--resume", "link", "--no-proof").status == 0
    Path("other").write_bytes(before)
    assert run("train", "--resume", "net", "--save", "other", "--no-proof").status == 2
    assert run(*again, "--overwrite").status == 0
    assert Path("net").read_bytes() != before
    assert sorted(p.name for p in folder.iterdir()) == ["link", "net", "other"]


def failing_save(monkeypatch, fails):
    """Let `save` find the disk full when `fails(path, epoch)`."""
    import simulator.files
    from simulator import FileError

    def full(path, network, epoch, **others):
        if fails(Path(path), epoch.number):
            raise FileError(f"save: expected to write {path}, got No space left; free space or choose another place")
        save(path, network, epoch=epoch, **others)

    monkeypatch.setattr(simulator.files, "save", full)


def test_training_goes_on_while_the_disk_is_full(run, monkeypatch):
    failing_save(monkeypatch, lambda path, epoch: epoch in (2, 3))
    result = run("train", *SMALL, "--epochs", "4", "--save", "net", "--no-proof")
    assert result.status == 0
    (warning,) = (line for line in result.err.splitlines() if line.startswith("Warning: "))
    assert warning == (
        "Warning: epoch 2 is not saved: save: expected to write net, got No space left; free space or choose another "
        "place. Training goes on, and tries again after every epoch"
    )
    assert load("net").epoch.number == 4


def test_a_trained_network_is_safe_though_its_place_is_full(run, monkeypatch, tmp_path):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    failing_save(monkeypatch, lambda path, epoch: path == Path("net") and epoch > 1)
    result = run("train", *SMALL, "--epochs", "2", "--save", "net", "--no-proof", "--json")
    assert result.status == 2
    last = result.err.splitlines()[-1]
    kept = re.fullmatch(
        "Error: save: expected to write net, got No space left; .*; the trained network is safe in (.*): move it from "
        "there",
        last,
    )[1]
    assert json.loads(result.out)["saved"] == kept
    assert (load("net").epoch.number, load(kept).epoch.number) == (1, 2)
    assert run("evaluate", kept).status == 0


def test_no_place_at_all(run, monkeypatch):
    failing_save(monkeypatch, lambda path, epoch: epoch > 1)
    result = run("train", *SMALL, "--epochs", "2", "--save", "net", "--no-proof")
    assert (result.status, load("net").epoch.number) == (2, 1)
    assert result.err.splitlines()[-1].endswith("place (nor can the folder for temporary files be written to)")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits of a process")
def test_a_disk_that_is_full_in_earnest(tmp_path):
    code = (
        "import resource, signal; from simulator.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); main()"
    )
    args = ("train", *SMALL, "--epochs", "1", "--no-proof", "--save", "net")
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: save: expected to write net, got File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and locks")
def test_killed_in_earnest_while_it_saves(shell, files, folder):
    """No finished epoch is lost, the run goes on, and the next save removes what was left."""
    start = ("--data", files / "good.npz", "-o", "width=0.3", "--epochs", "100000", "--engine", "blas", "--no-proof")
    number, parts = 0, set()
    for args in ((*start, "--save", "net"), ("--resume", "net", "--no-proof"), ("--resume", "net", "--no-proof")):
        process = shell("train", *args)
        assert process.stderr.readline().startswith("epoch ")
        before, deadline = parts, time.monotonic() + 10
        while time.monotonic() < deadline and parts == before:
            parts = {path.name for path in folder.glob(".net.*.part")} - before
        process.kill()
        process.communicate()
        parts = {path.name for path in folder.glob(".net.*.part")}
        assert len(parts) <= 1
        assert not parts & before
        assert load("net").epoch.number > number
        number = load("net").epoch.number
    saved = load("net")
    save("net", saved.network, info=saved.info, epoch=saved.epoch)
    assert [path.name for path in folder.iterdir()] == ["net"]


def test_resuming_a_finished_run(run, trained):
    result = run("train", "--resume", trained, "--no-proof", "--json")
    content, last = json.loads(result.out), load(trained).info["history"][-1]
    assert (result.status, result.err) == (0, "")
    assert (content["epochs"], content["train_loss"]) == (2, last["loss"])
    assert content["test_accuracy"] == last["validation"]["accuracy"]
    result = run("train", "--resume", trained, "--no-proof", "--save", "elsewhere")
    assert result.status == 0
    assert "Saved to elsewhere." in result.out
    assert_same(load("elsewhere"), load(trained))


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (["--epochs", "5"], "'--epochs'"),
        (["--data", "xo"], "'--data'"),
        (["--lr", "0.1"], "'--lr'"),
        (["--input", "1x12x12"], "'--input'"),
        (["-o", "width=0.3"], "'-o' / '--option'"),
        (["--classes", "2"], "'--classes'"),
        (["--dtype", "float32"], "'--dtype'"),
        (["--optimizer", "sgd"], "'--optimizer'"),
        (["lenet5"], "'[NET]'"),
    ],
    ids=str,
)
def test_resuming_refuses_other_settings(setting, name, run, trained):
    message = run("train", "--resume", trained, *setting).complaint
    assert f"--resume goes on with the settings of that run; leave out {name}, or start a new run" in message


def test_a_compilation_is_announced(run, folder):
    (folder / "slow.py").write_text(
        "from simulator import SciPyEngine, hookimpl\n"
        "class Compiled(SciPyEngine):\n"
        "    'Must be made ready.'\n"
        "    def warm_up(self, dtype, announce):\n"
        "        assert dtype == 'float32'\n"
        "        for done in range(1, 4):\n"
        "            announce(done, 3)\n"
        "@hookimpl\n"
        "def register_engines(register):\n"
        "    register('compiled', Compiled)\n"
    )
    result = run("train", "-p", "slow.py", *SMALL, "--epochs", "1", "--no-proof", "--engine", "compiled")
    assert result.status == 0
    assert result.err.count("Compiling fast loops, once on this machine: about half a minute ...\n") == 1


def test_resuming_with_another_engine(run, stopping):
    Path("stop").write_text("30")
    Path("counting.py").write_text(
        "from pathlib import Path\n"
        "from simulator import SciPyEngine, hookimpl\n"
        "class Counting(SciPyEngine):\n"
        "    'Leaves a trace.'\n"
        "    def grad(self, *args):\n"
        "        Path('used').touch()\n"
        "        return super().grad(*args)\n"
        "@hookimpl\n"
        "def register_engines(register):\n"
        "    register('counting', Counting)\n"
    )
    settings = (*stopping, "-p", "counting.py", "--no-proof")
    assert run("train", *settings, *SMALL, "--optimizer", "stopping", "--epochs", "2", "--save", "net").status == 130
    Path("stop").unlink()
    assert not Path("used").exists()
    assert run("train", *settings, "--resume", "net", "--engine", "counting").status == 0
    assert Path("used").exists()


def test_a_run_keeps_the_engine_that_was_chosen_for_it(run, trained):
    assert load(trained).info["settings"]["engine"] == "scipy"
    result = run("train", "--resume", trained, "--engine", "auto", "--no-proof", "--save", "same")
    assert (result.status, result.err) == (0, "")
    result = run("train", "--resume", trained, "--engine", "blas", "--no-proof", "--save", "other")
    assert "Warning: the run began with --engine scipy" in result.err


def test_only_a_checkpoint_can_be_resumed(run, trained):
    saved = load(trained)
    save("weights", saved.network)
    assert (
        "expected a checkpoint of simulator train, got a network without one, weights; start from its"
        in run("train", "--resume", "weights").complaint
    )
    settings = {name: value for name, value in saved.info["settings"].items() if name != "seed"}
    save("older", saved.network, info={**saved.info, "settings": settings}, epoch=saved.epoch)
    assert (
        "resume: expected the settings of a run, got none for seed in older; start from its weights with: "
        "simulator train older" in run("train", "--resume", "older").complaint
    )
    assert "got nothing, which does not exist" in run("train", "--resume", "nothing").complaint


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--epochs", "-3"], "-3 is not in the range x>=1"),
        (["--epochs", "many"], "'many' is not a valid integer"),
        (["--batch-size", "0"], "0 is not in the range x>=1"),
        (["--lr", "0"], "0.0 is not in the range x>0"),
        (["--lr", "-1"], "-1.0 is not in the range x>0"),
        (["--lr", "nan"], "'--lr': expected a finite number, got 'nan'"),
        (["--lr", "inf"], "'--lr': expected a finite number, got 'inf'"),
        (["--weight-decay", "-1"], "-1.0 is not in the range x>=0"),
        (["--weight-decay", "nan"], "'--weight-decay': expected a finite number, got 'nan'"),
        (["--shift", "-1"], "-1 is not in the range x>=0"),
        (
            ["--shift", "12"],
            "train --shift: expected less than 12 sites, the shortest side of the samples, got 12; use",
        ),
        (["--held-out", "0"], "0.0 is not in the range 0<x<1"),
        (["--held-out", "1"], "1.0 is not in the range 0<x<1"),
        (["--held-out", "nan"], "'--held-out': expected a finite number, got 'nan'"),
        (["--held-out", "1e-6"], "data split: expected samples on both sides, got 1000 and 0 of 1000"),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (["--classes", "1"], "lenet5: expected outputs for the 2 classes of xo, got (1,); build it with --classes 2"),
        (["--optimizer", "momentun"], "one of the optimizers, got 'momentun'; did you mean 'momentum'?"),
        (["--engine", "cupy"], "one of the engines, got 'cupy'; choose one of: "),
        (["--lr", "1e6"], "train: expected a finite loss, got nan at step 3 of epoch 1 in layer dense"),
        (["--save", "no/such/folder"], "save: expected an existing folder, got "),
        (["--save", "."], "save: expected the name of a file, got the folder .; add a name such as net.safetensors"),
        (["--input", "1x4x4"], "data xo: expected a shape (1, height, width) of at least 8 x 8, got (1, 4, 4)"),
        (["--input", "1x9x9"], "lenet5: expected an input (channels, height, width) of at least 12 x 12"),
        (["--input", "3x12x12"], "data xo: expected a shape (1, height, width) of at least 8 x 8, got (3, 12, 12)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_settings(args, message, run):
    assert message in run("train", *SMALL, "--epochs", "1", *args).complaint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nan.npz",
            "expected finite numbers, got 1 NaN or infinite ones, the first in sample 7; leave such samples out",
        ),
        (
            "infinite.npz",
            "expected finite numbers, got 1 NaN or infinite ones, the first in sample 8; leave such samples out",
        ),
        ("empty.npz", "expected as many targets as samples, and at least one, got 0 and 0; check the file"),
        ("shorter.npz", "expected as many targets as samples, and at least one, got 60 and 5; check the file"),
        ("beyond.npz", "expected labels from 0 to 1, got 0 to 2; correct the labels or name more classes"),
        ("negative.npz", "expected labels from 0 to 1, got -1 to 1; correct the labels"),
        ("alone.npz", "data split: expected samples on both sides, got 1 and 0 of 1"),
        ("real.npz", "real.npz: expected an integer label for each sample, got other targets; "),
        ("flat.npz", "lenet5: expected an input (channels, height, width) of at least 12 x 12, got (144,)"),
        ("damaged.npz", "damaged.npz: expected a whole file from numpy.savez"),
        ("notes.txt", "notes.txt: expected one data set that reads it, got none; save what "),
        ("nothing.npz", "which does not exist; check the path"),
    ],
)
def test_bad_data(name, message, run, files):
    result = run("train", "--data", files / name, "-o", "width=0.3", "--epochs", "1")
    assert message in result.complaint
    assert result.out == ""


def test_unknown_data_is_answered_with_the_nearest(run):
    assert "one of the datasets, got 'digitz'; did you mean 'digits'?" in run("train", "--data", "digitz").complaint
    assert "data npz: expected a path, got none; write npz:PATH" in run("train", "--data", "npz").complaint
    assert "data xo: expected no path, got here; write just xo" in run("train", "--data", "xo:here").complaint


def test_data_of_another_shape(run, files, trained):
    path = files / "short.npz"
    assert (
        "expected samples of shape (1, 16, 16), got (143,); use data of that shape, or another input: simulator train "
        f"mlp --data {path} --input 143" in run("train", "mlp", "--data", path, "--input", "1x16x16").complaint
    )
    cured = run("train", "mlp", "--data", path, "--input", "143", "--epochs", "1", "--no-proof")
    assert cured.status == 0, cured.err
    for net in (trained, "lenet5"):
        side = "12" if net == trained else "28"
        more = [] if net == trained else ["--input", "1x28x28"]
        complaint = run("train", net, "--data", path, *more).complaint
        assert complaint.endswith(
            f"short.npz: expected samples of shape (1, {side}, {side}), got (143,); use data of that shape"
        )


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((1, 8, 8), "resized from 8x8 to 28x28"),
        ((64,), "64 numbers taken as 1x8x8; resized from 8x8 to 28x28"),
        ((3, 8, 8), "colours to grey; resized from 8x8 to 28x28"),
    ],
)
def test_samples_that_are_too_small_are_resized_by_the_cure(shape, told, run, follow):
    rng = np.random.default_rng(0)
    np.savez("small.npz", inputs=rng.random((20, *shape)), targets=np.arange(20) % 2)
    complaint = run("train", "--data", "small.npz", "--epochs", "1", "--no-proof").complaint
    assert "got (" in complaint
    (result,) = follow(complaint.replace("resize the samples of small.npz", "so")).values()
    assert f"small.npz: {told}\n" in result.out
    np.savez("iris.npz", inputs=rng.random((20, 4)), targets=np.arange(20) % 2)
    assert "--input" not in run("train", "--data", "iris.npz").complaint


def test_what_was_done_to_the_data_is_kept_and_done_again(run, files):
    inputs, labels = (np.load(files / "good.npz")[name] for name in ("inputs", "targets"))
    bright = np.clip(inputs, 0, 3) * 85  # to 255, in floats
    np.savez("bright.npz", inputs=np.moveaxis(bright, 1, -1), targets=labels)
    np.savez("dark.npz", inputs=bright[:9] / 4, targets=labels[:9])
    result = run("train", "lenet5", "-o", "width=0.3", "--data", "bright.npz", "--no-proof", "--save", "net")
    assert "bright.npz: channels moved to the front; divided by 255\n" in result.out
    kept = load("net").info["preparation"]
    assert kept["notes"] == ["channels moved to the front", "divided by 255"]
    assert kept["divisor"] == 255
    assert (kept["low"], kept["high"]) == pytest.approx((0, 1), abs=1e-3)
    assert run("evaluate", "net").err == ""  # what is known is not told again
    dark = run("evaluate", "net", "--data", "dark.npz")
    assert "Note: dark.npz: divided by 255.\n" in dark.err
    np.savez("done.npz", inputs=bright[:9] / 255 / 4, targets=labels[:9])  # the same, divided already
    done = run("evaluate", "net", "--data", "done.npz")
    assert (done.out.replace("done", "dark"), done.err) == (dark.out, "")
    run("sharing", "net", "--untie", "--save", "loose")
    assert load("loose").info["preparation"] == kept


@pytest.mark.parametrize("damage", [{"notes": 1}, {"size": [0]}, {"divisor": "x"}, None, []])
def test_a_damaged_preparation_is_refused(damage, run, trained):
    saved = load(trained)
    told = {**saved.info["preparation"], **damage} if damage else "nothing"
    save("net", saved.network, info={**saved.info, "preparation": told}, splits=saved.splits)
    assert "load: expected what was done to the data as simulator train writes" in run("evaluate", "net").complaint


def test_an_own_folder_with_the_name_of_a_bundled_data_set(run, files):
    Path("xo").mkdir()
    result = run("train", *SMALL, "--epochs", "1", "--no-proof")
    assert "Note: xo is the bundled data set; for your own write --data ./xo\n" in result.err
    np.savez("xo/x.npz", inputs=np.zeros((4, 1, 12, 12)), targets=np.arange(4) % 2)
    assert "data ./xo: expected one data set that reads it" in run("train", "--data", "./xo").complaint
    for name, array in {"x": np.zeros((10, 1, 12, 12)), "y": np.arange(10) % 2}.items():
        np.save(f"xo/{name}.npy", array)
    result = run("train", "--data", "./xo", "--epochs", "1", "--no-proof", "-o", "width=0.3")
    assert (result.status, "./xo: 8 samples" in result.out, "bundled" in result.err) == (0, True, False)


@pytest.mark.parametrize(("side", "shift"), [(56, 4), (28, 2), (16, 1), (12, 0)])
def test_samples_are_moved_by_a_fourteenth_of_their_side(run, side, shift):
    args = ("--data", "xo", "--input", f"1x{side}x{side + 20}", "-o", "width=0.2", "--epochs", "1", "--no-proof")
    assert run("train", *args, "--save", "net").status == 0
    assert load("net").info["settings"]["shift"] == shift


def test_signals_are_not_moved_out_of_sight(run, files, dense):
    path = files / "signal.npz"
    message = run("train", "dense", *dense, "--data", path, "--shift", "2").complaint
    assert "expected less than 1 sites, the shortest side of the samples, got 2; use --shift 0" in message
    assert run("train", "dense", *dense, "--data", path, "--shift", "0", "--epochs", "1").status == 0


def test_a_saved_network_with_too_few_outputs(run, files, trained):
    path = files / "good.npz"
    message = run("train", trained, "--data", path).complaint
    assert f"{path}: expected the classes that the network knows (X, O), got a, b, c; rename or" in message


def test_a_network_that_ends_in_pictures(run):
    save("pictures", Network.sequential((1, 12, 12), [Conv(2, kernel=3)], rng=0))
    assert (
        "expected outputs for the 2 classes of xo, got (2, 10, 10); use other"
        in run("train", "pictures", "--data", "xo").complaint
    )


def test_the_folder_vanishes(run, folder, monkeypatch):
    import simulator.files

    def vanishing(path, *args, **others):
        shutil.rmtree("there", ignore_errors=True)
        save(path, *args, **others)

    for name in ("there", "tmp"):
        (folder / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "tmp"))
    monkeypatch.setattr(simulator.files, "save", vanishing)
    result = run("train", *SMALL, "--epochs", "1", "--no-proof", "--save", "there/net")
    assert result.status == 2
    assert re.search("Error: .*expected an existing folder, got .*; the trained network is safe in ", result.err)


def test_one_class_is_enough(run, folder):
    np.savez("one.npz", inputs=np.ones((8, 1, 12, 12)), targets=np.zeros(8, int))
    save("dense", Network.sequential((1, 12, 12), [Dense(1)], rng=0))
    assert run("train", "dense", "--data", "one.npz", "--epochs", "1", "--no-proof").status == 0
