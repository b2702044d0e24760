"""Pictures from files: predicted as a network knows its data, and drawn as it sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from simulator import Catalog, Conv, Dense, Network, load, save
from simulator.data import resized

Image = pytest.importorskip("PIL.Image")
XO = np.round(Catalog().load_data("xo", (1, 12, 12)).inputs[:, 0] * 255).astype(np.uint8)


def png(path, array, scale=1):
    """A picture file; as large as asked for."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(array, np.ones((scale, scale) + (1,) * (array.ndim - 2), np.uint8))).save(path)
    return path


def predicted(run, *args):
    result = run("predict", *args, "--json")
    assert result.status == 0, result
    return json.loads(result.out)["predictions"], result.err


def by_hand(net, inputs):
    return softmax(load(net).network.predict(np.asarray(inputs, np.float32)).astype(np.float64), axis=1)


def test_a_picture_is_what_its_pixels_are(run, trained):
    rows, err = predicted(run, trained, "--image", png("one.png", XO[3]))
    (probabilities,) = by_hand(trained, XO[3][None, None] / 255)
    (row,) = rows
    assert row == {
        "sample": None,
        "prediction": "XO"[probabilities.argmax()],
        "probability": pytest.approx(probabilities.max(), rel=1e-4),
        "truth": None,
        "trained_on": False,
        "image": "one.png",
        "done": [],
    }
    assert err == ""


def test_the_form_is_that_of_samples(run, trained):
    png("one.png", XO[3])
    (image,), _ = predicted(run, trained, "--image", "one.png")
    (sample,), _ = predicted(run, trained, "--sample", "3")
    assert list(image)[: len(sample)] == list(sample)
    assert image["prediction"] == sample["prediction"]


@pytest.mark.parametrize("kind", ["black on white", "transparent", "coloured", "16 bits", "large", "on pink paper"])
def test_a_drawing_is_brought_to_what_the_network_knows(run, trained, kind):
    wanted, ink = np.arange(8), XO[:8]
    known = by_hand(trained, ink[:, None] / 255)
    for k, drawing in enumerate(ink):
        if kind == "transparent":
            clear = np.dstack([np.zeros_like(drawing)] * 3 + [drawing])
            png(f"p/{k}.png", clear)
        elif kind == "16 bits":
            png(f"p/{k}.png", (255 - drawing).astype(np.uint16) * 257)
        elif kind == "on pink paper":
            png(f"p/{k}.png", np.dstack([255 - drawing // 8, 230 - drawing // 5 * 4, 230 - drawing // 5 * 4]))
        else:
            png(
                f"p/{k}.png",
                np.dstack([255 - drawing] * 3) if kind == "coloured" else 255 - drawing,
                1 + 9 * (kind == "large"),
            )
    if kind in ("large", "on pink paper"):  # what Pillow makes of them is another picture
        grey = [Image.open(f"p/{k}.png").convert("L").resize((12, 12), Image.Resampling.BILINEAR) for k in wanted]
        known = by_hand(trained, [[1 - np.asarray(image) / 255] for image in grey])
    rows, err = predicted(run, trained, "--image", "p")
    assert [row["image"] for row in rows] == [str(Path("p", f"{k}.png")) for k in wanted]
    assert [row["prediction"] for row in rows] == ["XO"[k] for k in known.argmax(axis=1)]
    np.testing.assert_allclose([row["probability"] for row in rows], known.max(axis=1), atol=0.01)
    inverted = "inverted (what the network knows is on a dark background)"
    told = {
        "transparent": ["transparent pixels became white", inverted],
        "16 bits": ["16 bits per channel, divided by 65535", inverted],
        "large": ["resized from 120x120 to 12x12", inverted],
        "on pink paper": ["colours to grey", inverted],
    }.get(kind, [inverted])
    assert all(row["done"] == told for row in rows)
    names = ", ".join(str(Path("p", f"{k}.png")) for k in range(3))
    assert err == f"Note: {names} and 5 more: {'; '.join(told)}.\n"


def test_what_is_inverted_can_be_overruled(run, trained):
    dark, light = png("dark.png", XO[0]), png("light.png", 255 - XO[0])
    known, other = by_hand(trained, np.stack([XO[:1], 255 - XO[:1]]) / 255)
    for args, expected, done in (
        ((dark,), known, []),
        ((light,), known, ["inverted (what the network knows is on a dark background)"]),
        ((light, "--invert"), known, ["inverted (what the network knows is on a dark background)"]),
        ((light, "--no-invert"), other, []),
        ((dark, "--invert"), other, ["inverted"]),
        ((dark, "--no-invert"), known, []),
    ):
        (row,), _ = predicted(run, trained, "--image", *args)
        assert row["prediction"] == "XO"[expected.argmax()], args
        assert row["probability"] == pytest.approx(expected.max(), abs=1e-3), args
        assert row["done"] == done


def test_photographs_are_not_inverted(run):
    rng = np.random.default_rng(0)
    np.savez("photos.npz", inputs=rng.integers(0, 256, (20, 3, 8, 8), np.uint8), targets=np.arange(20) % 2)
    run("train", "mlp", "--data", "photos.npz", "--epochs", "1", "--no-proof", "--save", "net")
    png("light.png", np.full((8, 8, 3), [250, 240, 230], np.uint8))
    (row,), err = predicted(run, "net", "--image", "light.png")
    assert (row["done"], err) == ([], "")


def test_a_grey_picture_for_a_network_of_colours(run):
    save("net", Network.sequential((3, 12, 12), [Dense(2)], rng=0), info={"preparation": plain(high=1.0)})
    (row,), _ = predicted(run, "net", "--image", png("one.png", XO[0]))
    assert row["probability"] == pytest.approx(by_hand("net", [np.stack([XO[0]] * 3) / 255]).max(), rel=1e-4)


def plain(**changes):
    known = {"notes": [], "divisor": 1.0, "size": None, "low": 0.0, "high": 1.0, "background": None, "extent": None}
    return {**known, **changes}


def test_the_range_and_the_size_of_the_data(run):
    info = {"preparation": plain(low=-0.5, high=2.5, size=[6, 6], background="light")}
    save("net", Network.sequential((1, 12, 12), [Conv(2, kernel=3), Dense(3)], rng=0), info=info)
    drawing = np.kron(XO[5][::2, ::2], np.ones((2, 2), np.uint8))  # no detail below 6 x 6
    (row,), _ = predicted(run, "net", "--image", png("one.png", drawing))
    small = Image.fromarray(drawing).resize((6, 6), Image.Resampling.BILINEAR)
    seen = 1 - resized(np.asarray(small, np.float32)[None, None] / 255, (12, 12))
    assert row["probability"] == pytest.approx(by_hand("net", seen * 3 - 0.5).max(), rel=1e-4)
    assert row["done"] == [
        "resized from 12x12 to 6x6 to 12x12",
        "inverted (what the network knows is on a light background)",
        "scaled from 0 to 1 to -0.5 to 2.5",
    ]


@pytest.mark.parametrize("paper", [0, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "16 bits"])
def test_a_small_drawing_is_cropped(run, trained, paper, mode):
    letter = np.kron(XO[9], np.ones((5, 5), np.uint8))
    sheet = np.full((200, 300), 0, np.uint8)
    sheet[20:80, 210:270] = letter  # far from the middle
    sheet = abs(paper - sheet.astype(int)).astype(np.uint8)
    if mode == "RGB":
        sheet = np.dstack([sheet] * 3)
    elif mode == "16 bits":
        sheet = sheet.astype(np.uint16) * 257
    png("sheet.png", sheet)
    kept = load(trained).info["preparation"]["extent"]
    (row,), _ = predicted(run, trained, "--image", "sheet.png")
    told = next(note for note in row["done"] if note.startswith("cropped"))
    height, width = map(int, re.fullmatch(r"cropped to (\d+)x(\d+) around the drawing", told).groups())
    rows = np.flatnonzero((letter >= 128).any(axis=1))
    columns = np.flatnonzero((letter >= 128).any(axis=0))
    sizes = len(range(rows[0], rows[-1] + 1)), len(range(columns[0], columns[-1] + 1))
    assert height == width == round(max(sizes[0] / kept[1], sizes[1] / kept[2]))
    assert row["prediction"] == "XO"[by_hand(trained, XO[9][None, None] / 255).argmax()]
    (whole,), _ = predicted(run, trained, "--image", "sheet.png", "--no-crop")
    assert not any(note.startswith("cropped") for note in whole["done"])


def test_a_drawing_that_is_large_enough_is_cropped_on_demand(run, trained):
    png("one.png", XO[3])
    assert predicted(run, trained, "--image", "one.png")[0][0]["done"] == []
    done = predicted(run, trained, "--image", "one.png", "--crop")[0][0]["done"]
    assert done[0].startswith("cropped to ")


def test_patterns_folders_and_many_names(run, trained):
    for k in range(3):
        png(f"p/{k}.png", XO[k])
    Path("p/notes.txt").touch()
    names = [str(Path("p", f"{k}.png")) for k in range(3)]
    for args in (
        [trained, "--image", *names],
        ["--image", *names, trained],
        [trained, "--image", "p"],
        [trained, "--image", "p/*.png"],
        [trained, *(word for name in names for word in ("--image", name))],
    ):
        rows, _ = predicted(run, *args)
        assert [row["image"] for row in rows] == names, args


def test_a_table_without_json(run, trained):
    png("one.png", XO[0])
    out = run("predict", trained, "--image", "one.png").out
    assert out.splitlines()[0] == f"{trained} on 1 picture"
    assert out.split()[4:7] == ["image", "prediction", "probability"]
    assert "one.png" in out


def test_a_picture_that_it_was_trained_on_is_known(run):
    for k in range(20):
        png(f"letters/{'XO'[k % 2]}/{k}.png", XO[k])
    run("train", "mlp", "--data", "letters", "--epochs", "1", "--no-proof", "--save", "net")
    rows, _ = predicted(run, "net", "--image", "letters/X", "letters/O")
    assert sum(row["trained_on"] for row in rows) == 16
    assert "trained on" in run("predict", "net", "--image", "letters/X").out


def test_a_file_that_does_not_say_what_its_data_are_like(run, trained):
    saved = load(trained)
    info = {name: value for name, value in saved.info.items() if name != "preparation"}
    save("older", saved.network, info=info, splits=saved.splits)
    png("light.png", 255 - XO[0])
    rows, err = predicted(run, "older", "--image", "light.png")  # its data are looked at
    assert rows == predicted(run, trained, "--image", "light.png")[0]
    assert "does not say" not in err
    save("bare", saved.network)
    (row,), err = predicted(run, "bare", "--image", "light.png")
    assert "Note: the file does not say what its data are like; pictures go from 0 to 1" in err
    assert row["done"] == []
    (row,), _ = predicted(run, "bare", "--image", "light.png", "--invert")
    assert row["probability"] == pytest.approx(rows[0]["probability"], rel=1e-6)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_picture_of_what_the_network_sees(run, trained, ending):
    pytest.importorskip("matplotlib")
    png("one.png", 255 - XO[0])
    for args in (["--image", "one.png"], ["--wrong"], ["--limit", "50"], ["--sample", "3"]):
        result = run("predict", trained, *args, "--output", f"seen.{ending}")
        assert result.status == 0, result
        assert result.out.endswith(f"Drew seen.{ending}\n")
        assert Path(f"seen.{ending}").stat().st_size > 1000
        Path(f"seen.{ending}").unlink()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--image", "none.png"],
            "predict --image: expected a picture, or a folder of pictures .*, got 'none.png', where",
        ),
        (["--image", "*.jpg"], "got '.*.jpg', where there is no file; check the path"),
        (["--image", "empty"], "got 'empty', where there is none; check the path"),
        (
            ["--image", "bad.png"],
            "predict --image bad.png: expected a picture that Pillow can read, got .*; replace or",
        ),
        (
            ["one.png"],
            "expected --image before the names of pictures, got one.png, which belongs to none; write --image",
        ),
        (
            ["--invert"],
            "expected --image before the names of pictures, got --invert; write --image PICTURE",
        ),
        (
            ["--image", "one.png", "--wrong"],
            "--image: expected pictures only, got samples of data, too; leave out --data",
        ),
        (
            ["--image", "one.png", "--data", "xo"],
            "--image: expected pictures only, got samples of data, too; leave out",
        ),
    ],
)
def test_what_is_refused(args, message, run, trained):
    png("one.png", XO[0])
    Path("empty").mkdir()
    Path("bad.png").write_bytes(b"x")
    complaint = run("predict", trained, *args).complaint
    assert re.search(message, complaint), complaint


def test_a_network_that_reads_no_pictures(run):
    save("net", Network.sequential((5,), [Dense(2)], rng=0))
    complaint = run("predict", "net", "--image", png("one.png", XO[0])).complaint
    assert (
        r"expected a network that reads pictures (1 or 3, height, width), got one that reads (5,); leave" in complaint
    )


def test_the_cure_for_one_picture_in_place_of_data(run, trained):
    png("one.png", XO[0])
    complaint = run("evaluate", trained, "--data", "one.png").complaint
    command = complaint.partition("predict it with: simulator ")[2].replace("NET", str(trained))
    assert run(*command.split()).status == 0


def test_the_test_folder_is_what_is_held_out(run):
    """The split is the folders', is kept in the file, and is known again wherever they lie."""
    for k in range(30):
        png(f"letters/{'train' if k < 20 else 'test'}/{'XO'[k % 2]}/{k}.png", XO[k])
    Path("letters/test/Thumbs.db").touch()
    result = run("train", "mlp", "--data", "letters", "--epochs", "1", "--no-proof", "--save", "net")
    assert "letters: 20 samples to train on, 10 held out to test on" in result.out
    (split,) = load("net").splits.all
    assert (split.rule, split.held_out.tolist()) == ("source", [False] * 20 + [True] * 10)
    complaint = run("train", "mlp", "--data", "letters", "--held-out", "0.5").complaint
    assert "the data have test samples of their own; leave it out" in complaint
    assert "net on 10 test samples of letters: " in run("evaluate", "net").out
    Path("letters").rename("moved")
    assert "net on 10 test samples of moved: " in run("evaluate", "net", "--data", "moved").out
    rows = json.loads(run("predict", "net", "--data", "moved", "--json").out)["predictions"]
    assert [row["sample"] for row in rows] == list(range(20, 30))
    for row in rows[:3]:  # one number in all commands
        told = run("unit", "net", "dense2[0]", "--data", "moved", "--sample", row["sample"], "--json").out
        assert json.loads(told)["value"] == pytest.approx(
            load("net").network.predict(Catalog().load_data("moved", (1, 8, 8)).joined().inputs[row["sample"]][None])[
                0, 0
            ],
            rel=1e-4,
        )
    again = run("train", "net", "--data", "moved", "--epochs", "1", "--no-proof", "--save", "again")
    assert "held out" in again.out
    assert load("again").splits.all[-1].held_out.sum() == 10
