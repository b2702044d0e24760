"""The split belongs to the file: what was held out stays held out, and every sentence about it is true.

The labels here are random. A network can learn them by heart, but of samples that it never saw it can only guess: where
the accuracy is above chance, it was trained on what it is tested on.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from simulator import Conv, Dense, Flatten, Network, Tanh, load, save
from simulator.files import Saved
from simulator.splits import Splits
from simulator.threads import available_cores

BY_HEART = 0.9  # of what was trained on
GUESSED = 0.3  # of samples that were not, at most: 10 % are right by chance


def random_data(path, n=200, seed=0, classes=10):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    np.savez(path, inputs=rng.standard_normal((n, 1, 6, 6)).astype(np.float32), targets=labels)
    return path


def learn(run, *args, epochs=40):
    build = ("-o", "hidden=(64,)") if args[0] == "mlp" else ()
    build += ("--overwrite",) if "--save" in args else ()
    result = run("train", *args, *build, "--epochs", epochs, "--shift", 0, "--lr", 0.1, "--no-proof")
    assert result.status == 0, result.err
    return result


def reached(result):
    """Accuracy on the samples that training held out."""
    return float(re.search(r"test accuracy ([\d.]+)%", result.out)[1]) / 100


def measured(run, *args):
    return json.loads(run("evaluate", *args, "--json").out)


@pytest.fixture
def memorised(run):
    """A network that knows its 160 random labels by heart, and its data."""
    random_data("data.npz")
    result = learn(run, "mlp", "--data", "data.npz", "--save", "net.safetensors")
    assert "on 40 samples that it never saw." in result.out
    assert measured(run, "net.safetensors", "--all")["accuracy"] > 0.8 * BY_HEART
    return "net.safetensors"


# ---------------------------------------------------------------------- training on


@pytest.mark.parametrize("more", [["--seed", "1"], ["--seed", "5", "--data", "./data.npz"]])
def test_trained_again_the_file_keeps_its_split(more, run, memorised):
    result = learn(run, memorised, "--data", "data.npz", "--save", "again.safetensors", *more, epochs=1)
    assert "160 samples to train on, 40 held out" in result.out
    assert "on 40 samples that it never saw." in result.out
    assert reached(result) <= GUESSED
    assert measured(run, "again.safetensors")["accuracy"] <= GUESSED
    assert len(load("again.safetensors").splits.all) == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--held-out", "0.5"), ("--held-out", "0.1"), ("--split-seed", "3")], ids=str
)
def test_another_split_of_the_same_data_is_refused(option, value, run, memorised):
    complaint = run("train", memorised, "--data", "data.npz", option, value).complaint
    assert complaint.startswith(
        f"{option}: expected it for samples that are not split yet, got data.npz, where {memorised} keeps its split; "
        "leave it out"
    )
    random_data("other.npz", seed=1)
    kept = {"--held-out": "0.2", "--split-seed": "0"}[option]
    learn(run, memorised, "--data", "data.npz", option, kept, epochs=1)  # the same is no other
    assert "held out" in learn(run, memorised, "--data", "other.npz", option, value, epochs=1).out


def test_test_samples_of_the_data_are_not_chosen_anew(run, files):
    data = ("--data", files / "tested.npz", "-o", "width=0.3")
    complaint = run("train", *data, "--held-out", "0.5").complaint
    assert complaint.startswith("--held-out: expected it for samples that are not split yet, got ")
    assert "where the data have test samples of their own; leave it out" in complaint


def test_other_labels_for_the_same_samples_are_the_same_samples(run, memorised):
    """Relabelled, in another order, and in another file: what it knows by heart is still not held out."""
    old = np.load("data.npz")
    order = np.random.default_rng(3).permutation(200)
    np.savez("moved.npz", inputs=old["inputs"][order], targets=old["targets"][order])
    result = learn(run, memorised, "--data", "moved.npz", "--seed", "2", "--save", "moved.safetensors", epochs=1)
    assert reached(result) <= GUESSED
    assert "160 samples to train on, 40 held out" in result.out
    assert "on 40 samples held out, none identical to one that it was ever trained on." in result.out
    assert measured(run, "moved.safetensors", "--data", "data.npz")["trained_on"] == 0
    relabelled = (old["targets"] + 1) % 10
    np.savez("relabelled.npz", inputs=old["inputs"], targets=relabelled)
    learn(run, memorised, "--data", "relabelled.npz", "--save", "third.safetensors", epochs=1)
    first, second = load("third.safetensors").splits.all
    assert np.array_equal(first.held_out, second.held_out)


def test_new_samples_are_dealt_and_old_ones_stay(run, memorised):
    old, new = np.load("data.npz"), np.load(random_data("new.npz", 100, seed=9))
    np.savez("more.npz", **{name: np.concatenate([old[name], new[name]]) for name in ("inputs", "targets")})
    result = learn(run, memorised, "--data", "more.npz", "--seed", "4", "--save", "more.safetensors")
    assert "240 samples to train on, 60 held out" in result.out
    assert reached(result) <= GUESSED
    assert measured(run, "more.safetensors", "--data", "data.npz")["samples"] == 40


def test_one_network_of_several_data_sets_knows_them_all(run, memorised):
    random_data("other.npz", seed=1)
    learn(run, memorised, "--data", "other.npz", "--save", "both.safetensors")
    for name in ("data.npz", "other.npz"):
        found = measured(run, "both.safetensors", "--data", name)
        assert (found["samples"], found["trained_on"]) == (40, 0)
        assert found["accuracy"] <= GUESSED
        assert "on 40 held-out samples of" in run("evaluate", "both.safetensors", "--data", name).out


def test_identical_samples_on_both_sides_are_counted_and_said(run):
    random_data("half.npz", 50)
    half = np.load("half.npz")
    np.savez("twice.npz", **{name: np.concatenate([half[name]] * 2) for name in half})
    result = learn(run, "mlp", "--data", "twice.npz", "--save", "net", epochs=1)
    report = json.loads(run("train", "--resume", "net", "--no-proof", "--json").out)
    (split,) = load("net").splits.all
    trained_on = set(split.fingerprints[~split.held_out].tolist())
    alike = sum(each in trained_on for each in split.fingerprints[split.held_out].tolist())
    assert 0 < alike < 20
    assert f"on 20 samples held out, {alike} of which are identical to samples that it was trained on." in result.out
    assert "never saw" not in result.out
    assert (
        f"on 20 held-out samples of twice.npz, {alike} of them identical to samples trained on:"
        in run("evaluate", "net").out
    )
    assert measured(run, "net")["trained_on"] == report["test_samples_trained_on"] == alike
    assert report["test_samples"] == 20


def test_a_file_that_does_not_say_what_it_was_trained_on(run, memorised):
    """Saved from Python without splits: nothing is claimed of what came before."""
    save("bare", load(memorised).network)
    found = run("evaluate", "bare", "--data", "data.npz")
    assert "bare on 200 samples of data.npz: loss" in found.out
    assert found.err == "Note: the file does not say what the network was trained on; it may have been these samples.\n"
    assert measured(run, "bare", "--data", "data.npz")["trained_on"] is None
    assert (
        json.loads(run("predict", "bare", "--data", "data.npz", "--json").out)["predictions"][0]["trained_on"] is None
    )
    result = learn(run, "bare", "--data", "data.npz", "--split-seed", "1", "--save", "again", epochs=1)
    assert reached(result) > GUESSED  # it knew most of them
    assert "on 40 samples held out of this training; what it was trained on before is not known." in result.out
    assert (
        "Note: what the network was trained on before its last training is not known." in run("evaluate", "again").err
    )


def test_untied_it_has_still_seen_what_it_has_seen(run, memorised):
    assert run("sharing", memorised, "--untie", "--save", "loose").status == 0
    assert measured(run, "loose")["samples"] == 40
    result = learn(run, "loose", "--data", "data.npz", "--seed", "3", epochs=1)
    assert "on 40 samples that it never saw." in result.out
    assert reached(result) <= GUESSED


# ---------------------------------------------------------------------- several networks


def test_networks_of_several_seeds_hold_out_the_same(run):
    random_data("data.npz")
    for seed in (0, 1):
        learn(run, "mlp", "--data", "data.npz", "--seed", seed, "--save", f"{seed}.safetensors")
    found = measured(run, "0.safetensors", "1.safetensors")
    assert (found["samples"], found["trained_on"]) == (40, 0)
    assert found["accuracy"] <= GUESSED
    first, second = (load(f"{seed}.safetensors") for seed in (0, 1))
    assert np.array_equal(first.splits.all[0].held_out, second.splits.all[0].held_out)
    assert any(not np.array_equal(first.network.params[k], second.network.params[k]) for k in first.network.params)


def test_networks_of_several_splits_are_tested_on_what_all_held_out(run):
    random_data("data.npz")
    for seed in (0, 1):
        learn(run, "mlp", "--data", "data.npz", "--split-seed", seed, "--save", f"{seed}.safetensors")
    masks = [load(f"{seed}.safetensors").splits.all[0].held_out for seed in (0, 1)]
    assert not np.array_equal(*masks)
    found = measured(run, "0.safetensors", "1.safetensors")
    assert (found["samples"], found["trained_on"]) == (int((masks[0] & masks[1]).sum()), 0)
    assert "held-out samples of data.npz: loss" in run("evaluate", "0.safetensors", "1.safetensors").out


def test_networks_that_together_saw_everything_are_refused(run):
    random_data("data.npz", 40, classes=2)
    data, nets = ("mlp", "--data", "data.npz", "--held-out", "0.05"), []
    for seed in range(2):
        nets.append(f"{seed}.safetensors")
        learn(run, *data, "--split-seed", seed, "--save", nets[-1], epochs=1)
    masks = [load(net).splits.all[0].held_out for net in nets]
    assert not (masks[0] & masks[1]).any()
    assert run("evaluate", *nets).complaint == (
        "data.npz: expected samples that none of the networks was trained on, got none of 40; train them with one "
        "--split-seed, or use --all"
    )
    assert "on 40 samples of data.npz, 40 of them trained on: loss" in run("evaluate", *nets, "--all").out
    learn(run, *data, "--split-seed", 0, "--seed", 1, "--save", nets[1], epochs=1)  # the cure
    assert measured(run, *nets)["samples"] == 2


def test_what_was_trained_on_alone_is_refused(run, memorised):
    data, (split,) = np.load("data.npz"), load(memorised).splits.all
    np.savez("seen.npz", **{name: data[name][~split.held_out] for name in data})
    np.savez("half.npz", **{name: data[name][:100] for name in data})
    assert run("evaluate", memorised, "--data", "seen.npz").complaint == (
        "seen.npz: expected samples that it was not trained on, got none of 160; use --all, or other --data"
    )
    assert measured(run, memorised, "--data", "seen.npz", "--all")["accuracy"] >= BY_HEART
    apart = int(split.held_out[:100].sum())
    found = run("evaluate", memorised, "--data", "half.npz")
    assert f"on {apart} samples of half.npz that it was not trained on: loss" in found.out


# ---------------------------------------------------------------------- the same data by another name


@pytest.fixture
def folders(folder):
    """Random pictures in folders of ten classes."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / "x" / f"class{label}").mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (6, 6), np.uint8)
            image.fromarray(pixels).save(folder / "x" / f"class{label}" / f"{number:02}.png")
    return folder / "x"


def add_picture(folder, name="new.png"):
    from PIL import Image

    Image.fromarray(np.random.default_rng(7).integers(0, 256, (6, 6), np.uint8)).save(folder / "class0" / name)


def test_data_are_recognised_by_any_name(run, folders):
    learn(run, "mlp", "--data", "x", "--input", "1x6x6", "--save", "net")
    (Path("elsewhere")).mkdir()
    Path("link").symlink_to(folders)
    shutil.copytree(folders, "elsewhere/copy")
    whole = measured(run, "net")
    assert (whole["samples"], whole["trained_on"]) == (20, 0)
    assert whole["accuracy"] <= 2 * GUESSED
    for name in ("./x", "x/", folders, "link", "pictures:x", "elsewhere/copy", "elsewhere/../x"):
        found = measured(run, "net", "--data", name)
        assert {**found, "network": ""} == {**whole, "network": ""}, name
        assert f"net on 20 held-out samples of {name}: loss" in run("evaluate", "net", "--data", name).out
        assert reached(learn(run, "net", "--data", name, "--seed", "1", epochs=1)) <= 2 * GUESSED


def test_an_added_picture_is_noticed(run, folders):
    learn(run, "mlp", "--data", "x", "--input", "1x6x6", "--save", "net")
    add_picture(folders)
    found = run("evaluate", "net")
    assert "net on 21 samples of x that it was not trained on: loss" in found.out
    assert found.err == "Note: x has changed since the training: 1 sample is new, 0 samples are gone.\n"
    assert measured(run, "net")["trained_on"] == 0
    (folders / "class1" / "00.png").unlink()
    assert "1 sample is new, 1 sample is gone." in run("evaluate", "net").err
    result = learn(run, "net", "--data", "x", "--seed", "1", epochs=1)
    assert reached(result) <= 2 * GUESSED


def test_a_picture_in_another_size_is_the_same_picture(run, folders):
    learn(run, "mlp", "--data", "x", "--input", "1x6x6", "--save", "small", epochs=1)
    learn(run, "mlp", "--data", "x", "--input", "1x9x9", "--save", "large", epochs=1)
    small, large = (load(name).splits.all[0] for name in ("small", "large"))
    assert np.array_equal(small.fingerprints, large.fingerprints)
    assert small.checksum == large.checksum


def test_digits_are_the_same_in_any_size(run):
    pytest.importorskip("sklearn")
    for size in ("1x8x8", "1x12x12"):
        learn(run, "mlp", "--data", "digits", "--input", size, "--save", size, epochs=1)
    small, large = (load(size).splits.all[0] for size in ("1x8x8", "1x12x12"))
    assert (small.checksum, small.held_out.sum()) == (large.checksum, 359)


# ---------------------------------------------------------------------- resuming


def stopped(run, *args, epochs=4):
    """A checkpoint after the first of some epochs, as an interruption leaves it."""
    learn(run, *args, "--save", "whole", epochs=epochs)
    first = {}

    def keep(path, network, epoch, **others):
        if epoch.number == 1:
            first.update(others, network=network, epoch=epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulator.files.save", keep)
        learn(run, *args, "--save", "broken", epochs=epochs)
    save("broken", **first)


def test_a_run_is_resumed_on_its_own_data_only(run, folders):
    stopped(run, "mlp", "--data", "x", "--input", "1x6x6")
    add_picture(folders)
    before = Path("broken").read_bytes()
    assert run("train", "--resume", "broken").complaint == (
        "resume: expected the 100 samples of x with which the run began, got 101, 1 new and 0 gone; put the data back, "
        "or start a new run from its weights: simulator train broken"
    )
    assert Path("broken").read_bytes() == before
    (folders / "class0" / "new.png").unlink()  # the cure
    assert run("train", "--resume", "broken", "--no-proof").status == 0
    whole, broken = load("whole").network.params, load("broken").network.params
    assert all(np.array_equal(whole[name], broken[name]) for name in whole)


def test_relabelled_data_are_other_data(run):
    random_data("data.npz")
    stopped(run, "mlp", "--data", "data.npz", epochs=2)
    data = np.load("data.npz")
    np.savez("data.npz", inputs=data["inputs"], targets=(data["targets"] + 1) % 10)
    complaint = run("train", "--resume", "broken").complaint
    assert "got 200, in another order or with other labels; put the data back" in complaint
    assert run("train", "broken", "--data", "data.npz", "--shift", "0", "--epochs", "1", "--no-proof").status == 0


def test_a_checkpoint_without_its_split_is_not_resumed(run):
    random_data("data.npz")
    stopped(run, "mlp", "--data", "data.npz", epochs=2)
    saved = load("broken")
    save("broken", saved.network, info=saved.info, epoch=saved.epoch, splits=Splits())
    assert run("train", "--resume", "broken").complaint == (
        "resume: expected what was held out of data.npz, got a file without it; start from its weights with: "
        "simulator train broken"
    )
    assert run("train", "broken", "--epochs", "1", "--no-proof").status == 0


@pytest.mark.parametrize(("engine", "threads"), [("scipy", 1), ("blas", min(2, available_cores()))])
def test_a_run_goes_on_with_its_engine_and_threads(engine, threads, run):
    random_data("data.npz", 100)
    network = Network.sequential((1, 6, 6), [Conv(4, 3), Tanh(), Flatten(), Dense(10)], rng=0)
    save("start", network)
    learn(run, "start", "--data", "data.npz", "--engine", engine, "--threads", threads, "--save", "net", epochs=1)
    settings = load("net").info["settings"]
    assert (settings["engine"], settings["threads"]) == (engine, threads)
    result = run("train", "--resume", "net", "--no-proof")
    assert (result.status, result.err) == (0, "")
    other = {"scipy": "blas", "blas": "scipy"}[engine]
    result = run("train", "--resume", "net", "--no-proof", "--engine", other)
    assert result.err == (
        f"Warning: the run began with --engine {engine} on {threads} thread{'s'[: threads > 1]} and goes on with "
        f"--engine {other} on {threads} thread{'s'[: threads > 1]}; the result is not that of one uninterrupted run, "
        "to the last bit.\n"
    )


def test_a_run_of_many_cores_goes_on_with_the_cores_that_there_are(run):
    random_data("data.npz", 100)
    learn(run, "mlp", "--data", "data.npz", "--engine", "scipy", "--save", "net", epochs=1)
    saved = load("net")
    settings = {**saved.info["settings"], "threads": 10_000}
    save("net", saved.network, info={**saved.info, "settings": settings}, epoch=saved.epoch, splits=saved.splits)
    result = run("train", "--resume", "net", "--no-proof")
    assert result.status == 0
    wanted = (
        f"began with --engine scipy on 10,000 threads and goes on with --engine scipy on {available_cores()} thread"
    )
    assert wanted in result.err


# ---------------------------------------------------------------------- few samples of a class


def test_a_class_that_is_not_tested_is_named(run):
    labels = np.repeat(np.arange(10), [2] * 9 + [50])
    rng = np.random.default_rng(0)
    np.savez("few.npz", inputs=rng.random((68, 1, 6, 6)), targets=labels, classes=[f"c{i}" for i in range(10)])
    result = learn(run, "mlp", "--data", "few.npz", "--save", "net", epochs=1)
    assert "54 samples to train on, 14 held out" in result.out
    (split,) = load("net").splits.all
    missing = [f"c{i}" for i in range(10) if not split.held_out[labels == i].any()]
    assert len(missing) == 5
    assert result.err.startswith(
        f"Warning: no sample of 5 classes is held out, so that they are not tested: {', '.join(missing)}\n"
    )
    np.savez("single.npz", inputs=rng.random((5, 1, 6, 6)), targets=[0, 0, 0, 0, 1])
    assert "Warning: no sample of 1 class is held out" in learn(run, "mlp", "--data", "single.npz", epochs=1).err


# ---------------------------------------------------------------------- classes by name


@pytest.fixture
def digits_net(run):
    """A network of ten classes "0" to "9" that tells them by the place of the brightest pixel."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 10
    inputs = rng.random((100, 1, 6, 6)).astype(np.float32)
    inputs.reshape(100, 36)[np.arange(100), labels * 3] += 8
    np.savez("ten.npz", inputs=inputs, targets=labels)
    learn(run, "mlp", "--data", "ten.npz", "--save", "ten", epochs=10)
    assert measured(run, "ten")["accuracy"] == 1
    return inputs, labels


def only(name, inputs, labels, numbers, classes):
    chosen = np.isin(labels, numbers)
    own = np.searchsorted(numbers, labels[chosen])
    np.savez(name, inputs=inputs[chosen] * np.float32(0.999), targets=own, classes=classes)


def test_classes_with_numbers_for_names_are_matched_by_name(run, digits_net):
    inputs, labels = digits_net
    only("two.npz", inputs, labels, [3, 7], ["3", "7"])
    found = measured(run, "ten", "--data", "two.npz")
    assert (found["accuracy"], found["classes"]) == (1, [str(i) for i in range(10)])
    result = learn(run, "ten", "--data", "two.npz", "--save", "on", epochs=1)
    assert reached(result) == 1
    assert load("on").info["classes"] == [str(i) for i in range(10)]
    assert measured(run, "on", "--data", "ten.npz", "--all")["accuracy"] == 1  # no label was shifted
    before = json.loads(run("ablate", "ten", "dense1", "--data", "two.npz", "--json").out)["before"]
    assert before["accuracy"] == 1
    effect = json.loads(run("effect", "ten", "--ablate", "dense1[0]", "--data", "two.npz", "--json").out)
    assert effect["label"] == 3
    assert "the sample is of class 3." in run("effect", "ten", "--ablate", "dense1[0]", "--data", "two.npz").out
    (row,) = json.loads(run("predict", "ten", "--data", "two.npz", "--sample", "0", "--json").out)["predictions"]
    assert (row["prediction"], row["truth"]) == ("3", "3")
    assert json.loads(run("predict", "ten", "--data", "two.npz", "--wrong", "--json").out)["predictions"] == []
    as_three = json.loads(run("weight", "ten", "dense2.bias[3]", "--data", "two.npz", "--json").out)
    assert as_three["total"] < 0  # more of the bias of its own class would lower the loss


def test_folders_with_numbers_for_names(run, digits_net):
    image = pytest.importorskip("PIL.Image")
    inputs, labels = digits_net
    for number in (3, 7):
        Path(f"own/{number}").mkdir(parents=True)
        for i in np.flatnonzero(labels == number):
            image.fromarray((inputs[i, 0] / 9 * 255).astype(np.uint8)).save(f"own/{number}/{i:03}.png")
    assert measured(run, "ten", "--data", "own")["accuracy"] == 1


def test_twelve_classes_in_the_order_of_text(run, digits_net):
    """A folder lists "10" before "2"; the network that learnt "0" to "11" in their order is asked by name."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 12
    inputs = rng.random((120, 1, 6, 6)).astype(np.float32)
    inputs.reshape(120, 36)[np.arange(120), labels * 3] += 8
    np.savez("twelve.npz", inputs=inputs, targets=labels)
    learn(run, "mlp", "--data", "twelve.npz", "--save", "twelve", epochs=10)
    names = sorted(map(str, range(12)))
    own = np.array([names.index(str(label)) for label in labels])
    np.savez("text.npz", inputs=inputs, targets=own, classes=names)
    found = measured(run, "twelve", "--data", "text.npz")
    assert (found["accuracy"], found["samples"]) == (1, 24)
    assert found["classes"] == [str(i) for i in range(12)]


def test_names_that_the_network_does_not_know(run, digits_net):
    inputs, labels = digits_net
    only("odd.npz", inputs, labels, [3, 7], ["3", "seven"])
    for command in (["evaluate", "ten"], ["train", "ten"], ["ablate", "ten", "dense1"], ["predict", "ten", "--wrong"]):
        complaint = run(*command, "--data", "odd.npz").complaint
        assert (
            "odd.npz: expected the classes that the network knows (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), got seven; r"
            in complaint
        )
    for command in (["effect", "ten", "--ablate", "dense1[0]"], ["weight", "ten", "dense2.bias[3]"]):
        assert "got seven; rename or leave them out" in run(*command, "--data", "odd.npz").complaint
    only("odd.npz", inputs, labels, [3, 7], ["3", "7"])  # the cure
    assert measured(run, "ten", "--data", "odd.npz")["accuracy"] == 1


def test_a_network_without_names_counts_its_outputs(run, digits_net):
    inputs, labels = digits_net
    saved = load("ten")
    save("nameless", saved.network)
    only("two.npz", inputs, labels, [3, 7], ["3", "7"])
    assert measured(run, "nameless", "--data", "two.npz")["accuracy"] == 1
    only("cats.npz", inputs, labels, [0, 1], ["cat", "dog"])  # no names to match: as the data number them
    assert measured(run, "nameless", "--data", "cats.npz")["accuracy"] == 1


def test_outputs_beyond_the_names(run, digits_net):
    """A network of twelve outputs that learnt ten classes may learn "10" and "11" later."""
    inputs, labels = digits_net
    learn(run, "mlp", "--data", "ten.npz", "--classes", "12", "--save", "wide", epochs=1)
    assert len(measured(run, "wide", "--data", "ten.npz")["classes"]) == 10
    only("more.npz", inputs, labels, [3, 7], ["11", "3"])
    learn(run, "wide", "--data", "more.npz", "--save", "wider", epochs=1)
    assert load("wider").info["classes"] == [str(i) for i in range(12)]


# ---------------------------------------------------------------------- files of version 0.1.0


def as_version_0_1_0(path, saved: Saved, **settings):
    """The file as 0.1.0 wrote it: share and seed, and nothing else of the split."""
    kept = {k: v for k, v in saved.info["settings"].items() if k not in ("split_seed", "engine", "threads")}
    save(path, saved.network, info={**saved.info, "settings": {**kept, **settings}}, epoch=saved.epoch)


def test_files_of_0_1_0_were_split_by_the_seed_of_the_weights(run):
    random_data("data.npz")
    learn(run, "mlp", "--data", "data.npz", "--split-seed", "3", "--seed", "3", "--save", "new", epochs=1)
    saved = load("new")
    as_version_0_1_0("old", saved)
    labels, expected = np.load("data.npz")["targets"], np.zeros(200, bool)
    order = np.random.default_rng(3).permutation(200)
    for label in range(10):
        members = order[labels[order] == label]
        expected[members[: round(0.2 * len(members))]] = True
    found = json.loads(run("predict", "old", "--limit", "200", "--json").out)["predictions"]
    assert [row["sample"] for row in found] == np.flatnonzero(expected).tolist()
    assert {row["trained_on"] for row in found} == {False}
    result = learn(run, "old", "--data", "./data.npz", "--seed", "0", "--save", "on", epochs=1)
    assert f"on {expected.sum()} samples that it never saw." in result.out
    assert np.array_equal(load("on").splits.all[0].held_out, expected)
    Path("moved.npz").write_bytes(Path("data.npz").read_bytes())
    assert measured(run, "old", "--data", "moved.npz")["samples"] == expected.sum()
    Path("data.npz").unlink()
    found = run("evaluate", "old", "--data", "moved.npz")
    assert "old on 200 samples of moved.npz" in found.out
    assert "the file does not say what the network was trained on" in found.err


def test_a_checkpoint_of_0_1_0_is_resumed(run):
    random_data("data.npz")
    stopped(run, "mlp", "--data", "data.npz", "--seed", "2", "--split-seed", "2", epochs=2)
    as_version_0_1_0("old", load("broken"))
    assert run("train", "--resume", "old", "--no-proof").status == 0
    assert load("old").info["settings"]["split_seed"] == 2
    assert load("old").epoch.number == 2


def test_a_file_of_0_1_0_that_was_trained_again_claims_nothing_of_before(run):
    random_data("data.npz")
    learn(run, "mlp", "--data", "data.npz", "--save", "new", epochs=1)
    as_version_0_1_0("old", load("new"), net="first.safetensors")
    assert "Note: what the network was trained on before its last training is not known." in run("evaluate", "old").err
    result = learn(run, "old", "--data", "data.npz", epochs=1)
    assert "held out of this training; what it was trained on before is not known." in result.out
