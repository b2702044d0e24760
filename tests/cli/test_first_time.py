"""What people try first, to its end: it does what they wanted, or a message says what does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from simulator import load

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2
IMAGES = RNG.integers(0, 90, (40, 10, 10)).astype(np.uint8)
IMAGES[LABELS == 0, :5] += 150  # light above, or light below
IMAGES[LABELS == 1, 5:] += 150
QUICK = ("-o", "width=0.3", "--epochs", "1", "--no-proof")


def pictures(folder, mode="L", ending="png", images=IMAGES, labels=LABELS):
    """A folder with a subfolder of pictures for each class, as people have them."""
    image = pytest.importorskip("PIL.Image")
    for k, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = Path(folder) / ("up", "down")[label]
        place.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).convert(mode).save(place / f"{k}.{ending}")
    return folder


def written(path, content=b"not a picture"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def from_windows():
    written(f"{pictures('mine')}/Thumbs.db")
    for place in ("mine", "mine/up"):
        written(f"{place}/desktop.ini")
    return "mine"


def from_a_mac():
    written(f"{pictures('mine')}/__MACOSX/up/._0.png")
    written("mine/up/.DS_Store")
    return "mine"


def with_notes():
    written(f"{pictures('mine')}/README.md")
    written("mine/up/list.csv")
    return "mine"


def with_an_empty_class():
    (Path(pictures("mine")) / "sideways").mkdir()
    return "mine"


def apart():
    pictures("mine/train", images=IMAGES[:30], labels=LABELS[:30])
    pictures("mine/test", images=IMAGES[30:], labels=LABELS[30:])
    return "mine"


def transparent(mode):
    def make():
        image = pytest.importorskip("PIL.Image")
        for name in ("up", "down"):
            Path("mine", name).mkdir(parents=True)
        for k, (pixels, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
            ink = image.fromarray(np.stack([*[np.zeros_like(pixels)] * 3, pixels], axis=-1))  # black, more or less
            ink.convert(mode).save(f"mine/{('up', 'down')[label]}/{k}.png")
        return "mine"

    return make


def arrays(inputs=IMAGES[:, None] / 255, targets=LABELS):
    def make():
        np.savez("mine.npz", x=inputs, y=targets)
        return "mine.npz"

    return make


def table(header):
    def make():
        with open("mine.csv", "w", newline="") as file:
            lines = csv.writer(file)
            if header:
                lines.writerow(["label", *(f"{i}x{j}" for i in range(10) for j in range(10))])
            lines.writerows([label, *image.ravel()] for image, label in zip(IMAGES, LABELS, strict=True))
        return "mine.csv"

    return make


def files_of_numpy():
    Path("mine").mkdir()
    np.save("mine/x_train.npy", IMAGES)
    np.save("mine/y_train.npy", LABELS)
    return "mine"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def of_mnist(test):
    def make():
        for part, few in (("train", slice(0, 30)), (test, slice(30, 40))):
            written(f"mine/{part}-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES[few])))
            written(f"mine/{part}-labels-idx1-ubyte.gz", gzip.compress(idx(LABELS[few])))
        return "mine"

    return make


def one_file_of_mnist():
    return f"{of_mnist('t10k')()}/train-images-idx3-ubyte.gz"


def cifar():
    wide = np.repeat(np.pad(IMAGES, ((0, 0), (11, 11), (11, 11)))[:, None], 3, axis=1).reshape(40, -1)
    lines = np.concatenate([LABELS[:, None].astype(np.uint8), wide], axis=1).tobytes()
    with tarfile.open("cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(lines)
            archive.addfile(entry, io.BytesIO(lines))
    return "cifar-10-binary.tar.gz"


DATA = {  # what people have: how it is made, and what they are told was done to it
    "a folder from Windows": (from_windows, None),
    "a folder from a Mac": (from_a_mac, None),
    "a folder with notes in it": (with_notes, "left out"),
    "a folder with a class that is empty": (with_an_empty_class, "sideways"),
    "folders to train and to test on": (apart, "10 held out to test on"),
    "drawings on nothing": (transparent("RGBA"), "transparent"),
    "grey drawings on nothing": (transparent("LA"), "transparent"),
    "drawings with a palette": (lambda: pictures("mine", "P"), None),
    "JPEG files": (lambda: pictures("mine", ending="jpg"), None),
    "floats up to 255": (arrays(IMAGES[:, None].astype(float)), "divided by 255"),
    "16 bits": (arrays(IMAGES[:, None].astype(np.uint16) * 257), "divided by 65535"),
    "channels last": (arrays(np.repeat(IMAGES[..., None], 3, axis=-1)), "channels moved to the front"),
    "one channel, last": (arrays(IMAGES[..., None]), None),
    "no channel": (arrays(IMAGES), None),
    "labels one-hot": (arrays(targets=np.eye(2)[LABELS]), "one-hot"),
    "labels as names": (arrays(targets=np.array(["up", "down"])[LABELS]), None),
    "labels in a column": (arrays(targets=LABELS[:, None]), None),
    "labels as floats": (arrays(targets=LABELS.astype(float)), None),
    "a table without names": (table(False), None),
    "a table with names": (table(True), None),
    "a folder of .npy files": (files_of_numpy, None),
    "MNIST as it is downloaded": (of_mnist("t10k"), "10 held out to test on"),
    "MNIST with test-* beside train-*": (of_mnist("test"), "10 held out to test on"),
    "one file of MNIST": (one_file_of_mnist, None),
    "CIFAR-10 as it is downloaded": (cifar, "40 held out to test on"),
}


@pytest.mark.parametrize("name", DATA)
def test_training_on(name, run):
    make, told = DATA[name]
    result = run("train", "mlp", "--data", make(), *QUICK, "--save", "net")
    assert result.status == 0, result
    assert told is None or told in result.out + result.err
    assert load("net").network.output_shape in ((2,), (10,))
    evaluated = run("evaluate", "net")  # what was done to the data is done again, and nothing need be said twice
    assert (evaluated.status, "Error" in evaluated.err) == (0, False)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_one_picture_of_my_own(ending, run):
    image = pytest.importorskip("PIL.Image")
    pictures("mine")
    assert run("train", "mlp", "--data", "mine", *QUICK[:2], "--epochs", "9", "--no-proof", "--save", "net").status == 0
    image.fromarray(IMAGES[1]).resize((50, 50), 0).save(f"my.{ending}")
    result = run("predict", "net", "--image", f"my.{ending}", "--json")
    assert result.status == 0, result
    (told,) = json.loads(result.out)["predictions"]
    assert told["prediction"] == "down"
    several = run("predict", "net", "--image", "mine/up/0.png", "--image", f"my.{ending}", "--output", "seen.png")
    assert several.status == 0
    assert Path("seen.png").stat().st_size > 1000


def test_mnist_is_asked_for_by_its_name(run):
    complaint = run("train", "--data", "mnist").complaint
    assert "openml:mnist_784" in complaint


def test_a_folder_of_mine_that_is_called_digits(run):
    pictures("digits")
    note = run("train", "mlp", "--input", "1x8x8", "--epochs", "1", "--no-proof").err
    assert "--data ./digits" in note
    assert "20 samples to train" not in note
    own = run("train", "mlp", "--data", "./digits", *QUICK)
    assert "32 samples to train on, 8 held out" in own.out


def test_samples_that_do_not_fit_end_in_no_circle(run, follow):
    arrays()()
    complaint = run("train", "lenet5", "--data", "mine.npz", "--epochs", "1", "--no-proof").complaint
    (result,) = follow(complaint.replace(", resize the samples of mine.npz", "")).values()
    assert "After 1 epoch" in result.out


def test_bare_and_as_a_module(run):
    bare = run()
    assert "Usage: simulator" in bare.out + bare.err
    done = subprocess.run([sys.executable, "-m", "simulator"], capture_output=True, text=True)
    assert "Usage:" in done.stdout
    assert "train" in done.stdout
    assert run("help", "draw").out == run("draw", "--help").out


def test_going_on_with_more_epochs(run, follow):
    arrays()()
    first = ("train", "mlp", "--data", "mine.npz", *QUICK, "--save", "net")
    assert run(*first).status == 0
    complaint = run("train", "--resume", "net", "--epochs", "3", "--no-proof").complaint
    (again,) = follow(complaint).values()
    assert "After 3 epochs" in again.out


def test_a_name_that_pytorch_would_give(run):
    arrays()()
    result = run("train", "mlp", "--data", "mine.npz", *QUICK, "--save", "net.pt")
    if result.status == 0:
        assert run("evaluate", "net.pt").status == 0
    else:
        assert "net.safetensors" in result.complaint


PICTURES = {  # what somebody wants to see, and the words for it, without --output
    "the window that is a row": ("a.png", "draw 'conv(1, kernel=3)' --what window --input 1x8"),
    "that on a dark slide": ("a.svg", "draw 'conv(1, kernel=3)' --what window --input 1x5x5 --dark"),
    "how it moves": ("a.gif", "draw 'conv(1, kernel=3)' --what window --input 1x5 --step all"),
    "the matrix": ("a.pdf", "draw lenet5 conv1 --what matrix"),
    "a transposed convolution": ("a.png", "draw 'conv-transpose(1, kernel=3)' --what matrix --input 1x4"),
    "the products of a unit": ("a.png", "unit lenet5 'conv1[0, 9, 9]'"),
    "the layers as a graph": ("a.png", "graph resnet8"),
    "one unit as a graph": ("a.png", "graph lenet5 'conv1[0, 9, 9]'"),
    "a page to touch": ("a.html", "explore 'conv(1, kernel=3)' --input 1x5x5 --no-browser"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_seeing(name, run):
    pytest.importorskip("matplotlib")
    file, words = PICTURES[name]
    result = run(*shlex.split(words), "--output", file)
    assert result.status == 0, result
    assert Path(file).stat().st_size > 1000


def test_a_graph_that_nobody_could_read(run):
    pytest.importorskip("matplotlib")
    complaint = run("graph", "lenet5", "--units", "--output", "a.png").complaint
    unit = re.search(r"name the unit in the middle of a part, such as '(.*?)'", complaint)[1]
    assert run("graph", "lenet5", unit, "--output", "a.png").status == 0


TEXTS = {  # what somebody wants to know, the words for it, and what the answer has
    "one layer in numbers": ("describe 'conv(1, kernel=3)' --input 1x8", r"conv1 +1x6 +4 +24 .* 18 "),
    "the same for a spreadsheet": ("describe lenet5 --format csv", "^layer,"),
    "the same for a paper": ("describe lenet5 --format latex", r"\\begin\{tabular\}"),
    "what a program gets": ("schema describe", '"type": "object"'),
    "what layers there are": ("plugins layers", "max-pool"),
    "what makes a tab complete": ("completion bash", "complete"),
    "the proof of one layer": ("equivalence 'conv(2, kernel=3)' --input 1x6x6", "pass"),
    "what a unit reads": ("unit lenet5 'conv1[0, 9, 9]'", "25"),
    "where a weight is used": ("weight lenet5 'conv1.weight[0, 0, 2, 2]'", "784"),
    "what a cut changes": ("effect lenet5 --ablate 'conv1[2]'", "conv2"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_asking(name, run):
    words, answer = TEXTS[name]
    result = run(*shlex.split(words))
    assert result.status == 0, result
    assert re.search(answer, result.out, re.M)


def test_a_description_in_eighty_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = run("describe", "lenet5").out
    assert max(map(len, out.splitlines())) <= 80
    assert "conv2" in out


def test_what_was_called_otherwise(run):
    result = run("unit", "lenet5", "conv1[0, 9, 9]", "--rows", "2")
    assert result.status == 0
    assert "--limit" in result.err


def test_a_plugin_from_nothing(run):
    made = run("new-plugin", "my-swish", "--kind", "layer")
    assert made.status == 0
    checked = run("check-plugin", "my-swish/my_swish.py")
    assert checked.status == 0, checked
    used = run("-p", "my-swish/my_swish.py", "describe", "my-swish()", "--input", "1x4x4")
    assert used.status == 0, used
