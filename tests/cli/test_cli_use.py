"""Commands that use a trained network: evaluate and predict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from scipy.special import softmax

from simulator import Catalog, Conv, Dense, Network, ReLU, average, load, save
from simulator.data import held_out as chosen_to_hold_out
from simulator.lab import silence
from simulator.training import evaluate

WRAPPED = '''
from simulator import Dataset, hookimpl
from simulator_plugins.datasets.xo import xo

def wrapped(shape=None):
    """X and O by the name of the network's input, the last 20 to test on."""
    data = xo(shape)
    last = data.take(slice(80, 100))
    test = Dataset({"input": last.inputs}, last.targets, data.classes)
    return Dataset({"input": data.inputs[:80]}, data.targets[:80], data.classes, test)

@hookimpl
def register_datasets(register):
    register("wrapped", wrapped)
'''


@pytest.fixture(scope="module")
def held_out():
    """The samples that the training of the `trained` network left out."""
    return Catalog().load_data("xo", (1, 12, 12)).split(0.2, 0)[1]


@pytest.fixture(scope="module")
def numbers():
    """The numbers of these samples in the data."""
    return np.flatnonzero(chosen_to_hold_out(Catalog().load_data("xo").labels, 0.2, 0)).tolist()


# ---------------------------------------------------------------------- evaluate


def test_evaluate_says_what_python_says(run, trained, held_out):
    result = run("evaluate", trained, "--json")
    content = json.loads(result.out)
    network = load(trained).network.with_engine(Catalog().engine())
    predicted = network.predict(held_out.inputs).argmax(axis=1)
    assert (result.status, result.err) == (0, "")
    assert content == {
        "network": str(trained),
        "untrained": False,
        "samples": 200,
        "trained_on": 0,
        **evaluate(network, held_out),
        "classes": ["X", "O"],
        "confusion": [
            [int(np.sum((held_out.targets == truth) & (predicted == guess))) for guess in (0, 1)] for truth in (0, 1)
        ],
    }
    assert content["accuracy"] == (content["confusion"][0][0] + content["confusion"][1][1]) / 200
    assert content["accuracy"] > 0.85


def test_evaluate_prints_the_confusion(run, trained):
    result = run("evaluate", trained)
    content = json.loads(run("evaluate", trained, "--json").out)
    rows = result.rows()
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == (
        f"{trained} on 200 held-out samples of xo: loss {content['loss']:.4f}, accuracy {content['accuracy']:.2%}"
    )
    assert "Confusion matrix: rows are the truth, columns the prediction" in result.out
    assert [rows["X"], rows["O"]] == [[str(n or ".") for n in counts] for counts in content["confusion"]]


def test_evaluate_all_samples(run, trained):
    data = Catalog().load_data("xo", (1, 12, 12))
    content = json.loads(run("evaluate", trained, "--all", "--json").out)
    assert content["samples"] == 1000
    assert content["accuracy"] == evaluate(load(trained).network, data)["accuracy"]
    assert content["trained_on"] == 800
    assert "on 1,000 samples of xo, 800 of them trained on: loss" in run("evaluate", trained, "--all").out


def test_evaluate_on_other_data(run, files):
    np.savez(
        "new.npz", x_train=np.zeros((3, 1, 12, 12)), y_train=[0, 1, 2], x_test=np.ones((2, 1, 12, 12)), y_test=[0, 1]
    )
    np.savez("named.npz", **np.load("new.npz"), classes=["a", "b", "c"])
    assert run("train", "--data", files / "good.npz", "-o", "width=0.3", "--epochs", "1", "--save", "net").status == 0
    assert "net on 2 test samples of named.npz: loss" in run("evaluate", "net", "--data", "named.npz").out
    assert "net on 5 samples of named.npz: loss" in run("evaluate", "net", "--data", "named.npz", "--all").out
    assert run("evaluate", "net", "--data", "new.npz").complaint == (
        "test samples of new.npz: expected the classes that the network knows (a, b, c), got 0, 1, 2; rename or leave "
        "them out"
    )


def test_a_class_that_is_never_predicted_is_a_row_of_dots(run):
    network = Network.sequential((1, 12, 12), [Dense(3)], rng=0)
    bias = np.array([0, 0, 1e3])
    save("stubborn", network.with_params({"dense1.weight": np.zeros((3, 144)), "dense1.bias": bias}))
    result = run("evaluate", "stubborn", "--data", "xo")
    assert result.rows()["O"] == [".", ".", "500"]
    content = json.loads(run("evaluate", "stubborn", "--data", "xo", "--json").out)
    assert content["classes"] == ["X", "O", "2"]
    assert content["confusion"] == [[0, 0, 500], [0, 0, 500], [0, 0, 0]]


def test_classes_may_have_any_name(run):
    names = ["[b]", ":smile:"]
    rng = np.random.default_rng(0)
    np.savez("odd.npz", inputs=rng.random((20, 1, 12, 12)), targets=np.arange(20) % 2, classes=names)
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0))
    assert set(names) <= set(run("evaluate", "net", "--data", "odd.npz").rows())


def test_data_by_the_name_of_the_input(run, folder):
    (folder / "wrapped.py").write_text(WRAPPED)
    plugin = ("-p", "wrapped.py")
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0))
    content = json.loads(run("evaluate", "net", *plugin, "--data", "wrapped", "--all", "--json").out)
    first = Catalog().load_data("xo", (1, 12, 12)).take(slice(0, 100))
    assert content["samples"] == 100
    assert content["loss"] == pytest.approx(evaluate(load("net").network, first)["loss"], rel=1e-6)
    assert content["accuracy"] == evaluate(load("net").network, first)["accuracy"]


# ---------------------------------------------------------------------- predict


def test_predict_says_what_python_says(run, trained, held_out, numbers):
    result = run("predict", trained, "--limit", 10, "--json")
    content = json.loads(result.out)
    network = load(trained).network.with_engine(Catalog().engine())
    probabilities = softmax(network.predict(held_out.inputs[:10]).astype(float), axis=1)
    assert (result.status, result.err) == (0, "")
    assert content["network"] == str(trained)
    assert content["predictions"] == [
        {
            "sample": numbers[i],
            "prediction": "XO"[probabilities[i].argmax()],
            "probability": probabilities[i].max(),
            "truth": "XO"[held_out.targets[i]],
            "trained_on": False,
        }
        for i in range(10)
    ]


def test_predict_prints_the_chosen_samples(run, trained, numbers):
    other = next(i for i in range(1000) if i not in numbers)
    chosen = ("--sample", numbers[7], "--sample", other)
    result = run("predict", trained, *chosen)
    rows = json.loads(run("predict", trained, *chosen, "--json").out)["predictions"]
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"{trained} on samples of xo\n")
    assert [(row["sample"], row["trained_on"]) for row in rows] == [(numbers[7], False), (other, True)]
    for row, trained_on in zip(rows, ("no", "yes"), strict=True):
        cells = [row["prediction"], row["truth"], f"{row['probability']:.2%}", trained_on]
        assert result.rows()[str(row["sample"])] == cells


def test_predict_as_many_as_asked_for(run, trained, numbers):
    rows = json.loads(run("predict", trained, "--limit", "3", "--json").out)["predictions"]
    assert [row["sample"] for row in rows] == numbers[:3]
    rows = json.loads(run("predict", trained, "--all", "--limit", "25", "--json").out)["predictions"]
    assert [row["sample"] for row in rows] == list(range(25))


def test_predict_the_wrong_ones(run, trained, held_out, numbers):
    guesses = load(trained).network.predict(held_out.inputs).argmax(axis=1)
    wrong = [numbers[i] for i in np.flatnonzero(guesses != held_out.targets)]
    result = run("predict", trained, "--wrong", "--limit", "5")
    rows = json.loads(run("predict", trained, "--wrong", "--limit", "5", "--json").out)["predictions"]
    assert len(wrong) > 0
    assert [row["sample"] for row in rows] == wrong[:5]
    assert all(row["prediction"] != row["truth"] for row in rows)
    assert f"{trained} on held-out samples of xo: {len(wrong)} of 200 are predicted wrongly" in result.out


def test_nothing_is_predicted_wrongly(run):
    always_first = Network.sequential((1, 12, 12), [Dense(2)], rng=0)
    zero = {"dense1.weight": np.zeros((2, 144)), "dense1.bias": np.array([1, 0])}
    save("first", always_first.with_params(zero))
    np.savez("zeros.npz", inputs=np.ones((3, 1, 12, 12)), targets=np.zeros(3, int))
    result = run("predict", "first", "--data", "zeros.npz", "--wrong")
    assert "first on samples of zeros.npz: 0 of 3 are predicted wrongly" in result.out
    assert json.loads(run("predict", "first", "--data", "zeros.npz", "--wrong", "--json").out)["predictions"] == []


@pytest.mark.parametrize("other", [["--all"], ["--wrong"], ["--limit", "3"]])
def test_samples_are_chosen_once(other, run, trained):
    complaint = run("predict", trained, "--sample", "3", *other).complaint
    assert "--sample: expected no other choice of samples; leave out --limit, --wrong and --all" in complaint


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_a_sample_has_one_number_in_all_commands(number, run, trained, held_out, numbers):
    """What predict calls sample N is what unit, effect, affine and weight look at under this number."""
    saved = load(trained)
    number = numbers[number]
    x = Catalog().load_data("xo", (1, 12, 12)).inputs[number]
    (row,) = json.loads(run("predict", trained, "--sample", number, "--json").out)["predictions"]
    logits = saved.network.with_dtype("float64").predict(x[None])[0]
    assert row["probability"] == pytest.approx(softmax(logits).max(), rel=1e-5)
    out = saved.network.output_name
    unit = json.loads(run("unit", trained, f"{out}[0]", "--sample", number, "--json").out)
    assert unit["value"] == pytest.approx(logits[0], rel=1e-9)
    affine = json.loads(run("affine", trained, "--sample", number, "--json").out)
    assert [row["value"] for row in affine["outputs"]] == pytest.approx(logits.tolist(), rel=1e-9)
    effect = json.loads(run("effect", trained, "--clamp", f"{out}[0]=1", "--sample", number, "--json").out)
    assert {row["class"]: row["before"] for row in effect["classes"]} == pytest.approx(
        dict(zip("XO", softmax(logits).tolist(), strict=True)), rel=1e-9
    )
    for command in (["unit", trained, f"{out}[0]"], ["affine", trained], ["effect", trained, "--ablate", "conv1"]):
        assert f"sample {number}, held out of training" in run(*command, "--sample", number).out


def test_test_samples_have_the_last_numbers(run, files):
    data = ("--data", files / "tested.npz")
    assert run("train", *data, "-o", "width=0.3", "--epochs", "1", "--save", "net").status == 0
    rows = json.loads(run("predict", "net", "--limit", "30", "--json").out)["predictions"]
    assert [row["sample"] for row in rows] == list(range(40, 60))
    assert [row["truth"] for row in rows] == ["abc"[number % 3] for number in range(40, 60)]
    assert "net on test samples of" in run("predict", "net").out
    assert "dense1[0] of net, sample 59, held out of training" in run("unit", "net", "dense1[0]", "--sample", "59").out
    assert "sample 39, which it was trained on" in run("unit", "net", "dense1[0]", "--sample", "39").out
    assert "expected a sample from 0 to 59, got 60" in run("unit", "net", "dense1[0]", "--sample", "60").complaint
    strongest = json.loads(run("respond", "net", "dense1[0]", "--limit", "60", "--steps", "1", "--json").out)[
        "strongest"
    ]
    assert sorted(row["sample"] for row in strongest) == list(range(60))


def test_predict_on_data_with_other_classes(run, trained, files):
    """The network answers in its own words, the truth is in those of the data."""
    rows = json.loads(run("predict", trained, "--data", files / "good.npz", "--limit", 10, "--json").out)["predictions"]
    assert {row["prediction"] for row in rows} <= {"X", "O"}
    assert [row["truth"] for row in rows] == list("abcabcabca")


def test_predict_without_labels(run, trained, files):
    rows = json.loads(run("predict", trained, "--data", files / "real.npz", "--limit", 10, "--json").out)["predictions"]
    assert [row["truth"] for row in rows] == [None] * 10
    assert run("predict", trained, "--data", files / "real.npz").rows()["0"][0] in "XO"


def test_predict_with_a_network_of_unnamed_classes(run, files):
    save("net", Network.sequential((1, 12, 12), [Dense(5)], rng=0))
    rows = json.loads(run("predict", "net", "--data", files / "real.npz", "--limit", 10, "--json").out)["predictions"]
    logits = load("net").network.predict(np.load(files / "real.npz")["inputs"][:10])
    assert [row["prediction"] for row in rows] == [str(label) for label in logits.argmax(axis=1)]


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_only_files_of_trained_networks(command, run, files):
    assert run(command, "lenet5").complaint == (
        f"{command}: expected the file of a trained network, got 'lenet5'; train one: simulator train lenet5 --save "
        "lenet5.safetensors"
    )
    for name in ("nothing", "nothing.safetensors"):
        assert run(command, name).complaint == (
            f"{command}: expected the file of a trained network, got {name!r}, which does not exist; check the path"
        )
    assert "it is damaged or of another kind" in run(command, files / "damaged.safetensors").complaint
    assert "Missing argument 'NET" in run(command).complaint


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan.npz", "expected finite numbers, got 1 NaN or infinite ones"),
        ("empty.npz", "expected as many targets as samples, and at least one"),
        ("short.npz", "short.npz: expected samples of shape (1, 12, 12), got (143,); use data of that shape"),
        ("nothing.npz", "which does not exist; check the path"),
    ],
)
def test_bad_data(command, name, message, run, files, trained):
    assert message in run(command, trained, "--data", files / name).complaint


def test_labels_that_the_network_does_not_know(run, files, trained):
    message = run("evaluate", trained, "--data", files / "good.npz").complaint
    assert "expected the classes that the network knows (X, O), got a, b, c; rename" in message
    message = run("evaluate", trained, "--data", files / "real.npz").complaint
    assert "real.npz: expected an integer label for each sample, got other targets; for those use " in message


def test_data_that_nobody_named(run, files):
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0))
    assert run("evaluate", "net").complaint == (
        "the file does not say what the network was trained on; name the data with --data "
        "(see 'simulator evaluate --help')"
    )
    save("net", load("net").network, info={"settings": "none"})
    assert (
        "expected settings as simulator train writes them, got 'none'; the file is d" in run("predict", "net").complaint
    )
    save("net", load("net").network, info={"settings": {"data": "xo"}})
    assert "net on 1,000 samples of xo" in run("evaluate", "net").out


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_network_that_ends_in_pictures(command, run):
    save("pictures", Network.sequential((1, 12, 12), [Conv(2, kernel=3)], rng=0))
    message = run(command, "pictures", "--data", "xo").complaint
    assert message.startswith(f"{command}: expected a network with one output per class, got the shape (2, 10, 10); ")


def test_samples_that_are_not_there(run, trained):
    assert run("predict", trained, "--sample", "0", "--sample", "1000").complaint == (
        "predict: expected a sample from 0 to 999, got 1000; choose one of them"
    )
    assert "-1 is not in the range x>=0" in run("predict", trained, "--sample", "-1").complaint


def test_moved_data_are_missed(run, files, folder):
    path = Path("mine.npz")
    path.write_bytes((files / "good.npz").read_bytes())
    assert run("train", "--data", path, "-o", "width=0.3", "--epochs", "1", "--no-proof", "--save", "net").status == 0
    path.unlink()
    assert "got mine.npz, which does not exist; check the path" in run("evaluate", "net").complaint


def test_a_class_keeps_its_number_by_its_name(run, files, folder):
    data = np.load(files / "good.npz")
    inputs, targets = data["inputs"], data["targets"]
    np.savez(folder / "abc.npz", inputs=inputs, targets=targets, classes=np.array(["a", "b", "c"]))
    run("train", "--data", folder / "abc.npz", "--epochs", "1", "-o", "width=0.2", "--save", "named", "--no-proof")
    only = targets == 2
    np.savez(folder / "c.npz", inputs=inputs[only], targets=0 * targets[only], classes=np.array(["c"]))
    result = json.loads(run("evaluate", "named", "--data", folder / "c.npz", "--json").out)
    expected = load("named").network.predict(inputs[only]).argmax(axis=1)
    assert result["accuracy"] == np.mean(expected == 2)
    assert result["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("info", "what"),
    [
        ({"classes": 5}, "classes"),
        ({"classes": [1, 2]}, "classes"),
        ({"settings": {"data": "xo", "held_out": "x", "seed": 0}}, "settings, held_out"),
        ({"settings": {"data": "xo", "held_out": 0.2, "seed": -1}}, "settings, seed"),
        ({"settings": {"data": "xo", "build_option": 5}}, "settings, build_option"),
    ],
)
def test_what_a_damaged_file_remembers_is_refused(run, info, what):
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0), info=info)
    message = run("evaluate", "net", "--data", "xo").complaint
    assert f"expected {what} as simulator train writes them, got " in message


ODD = {"number": 1, "loss": 1, "seconds": 1, "metrics": {"accuracy": "x"}, "validation": {}}


@pytest.mark.parametrize("history", [5, [5], [{"number": 1}], [ODD]])
def test_a_damaged_history_is_refused(run, history):
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0), info={"history": history})
    message = run("draw", "net", "--what", "curve").complaint
    assert "expected history as simulator train writes them, got " in message


# ---------------------------------------------------------------------- channels that never respond


def silenced(path, source):
    """A copy of a trained LeNet-5 in which the first channel of conv1 and one dense unit are 0 for every sample."""
    saved = load(source)
    params = {name: array.copy() for name, array in saved.network.params.items()}
    params["conv1.bias"][0] = params["dense2.bias"][3] = -1e3
    save(path, saved.network.with_params(params), info=saved.info)


def test_training_says_how_many_channels_never_respond(run, trained, folder):
    silenced("silent", trained)
    result = run("train", "silent", "--data", "xo", "--epochs", "1", "--lr", "1e-6", "--no-proof", "--save", "on")
    network = load("on").network
    found = silence(network, Catalog().load_data("xo", (1, 12, 12)).split(0.2, 0)[1])
    assert {"relu1[0]", "relu4[3]"} <= {*found.addresses}
    assert found.samples == 200
    assert found.told("held-out sample") + "\n" in result.out
    assert result.out.endswith("Saved to on.\nNext: simulator evaluate on\n")
    assert run("ablate", "on", "relu1").status == 0
    assert found.told("held-out sample") + "\n" in run("describe", "on").out
    assert json.loads(run("describe", "on", "--json").out)["silence"] == found.as_dict()
    told = json.loads(run("train", "on", "--data", "xo", "--epochs", "1", "--lr", "1e-6", "--no-proof", "--json").out)
    assert told["silence"]["silent"]["relu1"] == [0]


def test_what_was_not_measured_is_not_claimed(run, trained, folder):
    saved = load(trained)
    save("old", saved.network, info={name: value for name, value in saved.info.items() if name != "silence"})
    lines = run("describe", "old").out.splitlines()[-2:]
    told = "Which channels never respond was not measured."
    assert lines == [told, "Next, measure it: simulator ablate old relu1"]
    assert json.loads(run("describe", "old", "--json").out)["silence"] is None
    assert " held-out samples of xo" in run("ablate", "old", "relu1").out.splitlines()[-2]  # the cure
    assert run("sharing", "old", "--untie", "--save", "loose").status == 0
    assert run("sharing", trained, "--untie", "--save", "loose", "--overwrite").status == 0
    assert "Next, measure it: simulator ablate loose relu1" in run("describe", "loose").out
    save("unknown", saved.network)  # then nobody knows on what to measure
    assert run("describe", "unknown").out.splitlines()[-1] == told
    save("linear", Network.sequential((1, 12, 12), [Dense(2)], rng=0))
    for net in ("linear", "lenet5"):
        out = run("describe", net).out
        assert "not measured" not in out and "respond" not in out


@pytest.mark.parametrize(
    "silent",
    [
        5,
        {},
        {"samples": 9},
        {"samples": 9, "silent": 5},
        {"samples": "9", "silent": {}},
        {"samples": 9, "silent": {"relu1": [7]}},
        {"samples": 9, "silent": {"relu1": [-1]}},
        {"samples": 9, "silent": {"relu1": ["\x1b[2J"]}},
        {"samples": 9, "silent": {"relu1": 3}},
        {"samples": 9, "silent": {"\x1b[2J": []}},
        {"samples": 9, "silent": [[1]]},
    ],
)
def test_damaged_silent_channels_are_refused(run, silent):
    network = Network.sequential((1, 12, 12), [Dense(2), ReLU()], rng=0)
    save("net", network, info={"silence": silent})
    assert "expected silent channels as simulator train writes them, got " in run("describe", "net").complaint


# ---------------------------------------------------------------------- several networks, other tasks


def test_several_networks_are_averaged(run, trained, folder):
    other = folder / "other.safetensors"
    assert run("train", *SMALL, "--epochs", "1", "--seed", "5", "--no-proof", "--save", other).status == 0
    alone = [json.loads(run("evaluate", net, "--all", "--json").out) for net in (trained, other)]
    together = json.loads(run("evaluate", trained, other, "--all", "--json").out)
    assert together["loss"] <= np.mean([each["loss"] for each in alone]) + 1e-6  # -log is convex
    probabilities = average(
        [load(net).network for net in (trained, other)], Catalog().load_data("xo", (1, 12, 12)).inputs
    )
    confusion = np.array(together["confusion"])
    assert confusion.sum(axis=0).tolist() == np.bincount(probabilities.argmax(axis=1), minlength=2).tolist()
    assert together["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_networks_of_other_classes_are_not_averaged(run, trained, files):
    args = ("--data", files / "good.npz", "--input", "1x12x12", "-o", "width=0.3", "--epochs", "1", "--no-proof")
    assert run("train", *args, "--save", "abc").status == 0
    complaint = run("evaluate", trained, "abc").complaint
    assert "evaluate abc: expected the classes of" in complaint
    assert "got a, b, c; average networks that were trained on the same data" in complaint


@pytest.mark.parametrize("threads", ["3", "300", "100000"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "train", "equivalence", "bench", "ablate"])
def test_no_command_takes_more_threads_than_there_are_cores(run, trained, monkeypatch, command, threads):
    monkeypatch.setattr("simulator.threads.available_cores", lambda: 2)
    rest = {"train": ["--no-proof"], "equivalence": ["--engine", "scipy"], "ablate": ["conv1"]}.get(command, [])
    result = run(command, trained, *rest, "--threads", threads)
    assert result.complaint.endswith(
        f"threads: expected at most 2, the cores that this process may use, got {threads}; ask for 2, or leave it out"
    )
