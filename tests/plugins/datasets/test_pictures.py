"""Folders of pictures: what becomes of colours and sizes, and what is refused."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest

from simulator import Catalog, FileError, ShapeError, SimulatorError

Image = pytest.importorskip("PIL.Image")
_RNG = np.random.default_rng(0)
GREY = _RNG.integers(0, 256, (5, 7), np.uint8)
COLOURED = _RNG.integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def saved(root, pictures):
    """The folder with these pictures: arrays, or Pillow's own, by path."""
    for path, picture in pictures.items():
        (root / path).parent.mkdir(exist_ok=True)
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(root / path)
    return str(root)


def scaled(array):
    return array.astype(np.float32) / np.float32(255)


def test_subfolders_are_classes_in_order_of_their_names(catalog, tmp_path):
    arrays = _RNG.integers(0, 256, (4, 5, 7), np.uint8)
    names = ["dog/b.png", "dog/a.bmp", "cat/x.PNG", "10/z.png"]
    source = saved(tmp_path, dict(zip(names, arrays, strict=True)))
    for data in (catalog.load_data(source), catalog.load_data(f"pictures:{source}")):
        assert data.classes == ("10", "cat", "dog")
        assert data.inputs.shape == (4, 1, 5, 7)
        assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
        assert data.labels.tolist() == [0, 1, 2, 2]
        assert np.array_equal(data.inputs[:, 0], scaled(arrays[[3, 2, 1, 0]]))
        assert data.test is None


def test_colours_come_first_and_grey_fills_all_of_them(catalog, tmp_path):
    data = catalog.load_data(saved(tmp_path, {"a/1.png": GREY, "a/2.png": COLOURED}))
    assert np.array_equal(data.inputs[0], scaled(np.stack([GREY] * 3)))
    assert np.array_equal(data.inputs[1], scaled(COLOURED).transpose(2, 0, 1))


def test_the_shape_decides_about_colours(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY, "a/2.png": COLOURED})
    grey = catalog.load_data(source, (1, 5, 7)).inputs
    assert np.array_equal(grey[0, 0], scaled(GREY))
    # ITU-R 601, which Pillow rounds to whole numbers
    np.testing.assert_allclose(grey[1, 0] * 255, COLOURED @ [0.299, 0.587, 0.114], rtol=0, atol=0.6)
    coloured = catalog.load_data(source, (3, 5, 7)).inputs
    assert np.array_equal(coloured[0], scaled(np.stack([GREY] * 3)))
    assert np.array_equal(coloured[1], scaled(COLOURED).transpose(2, 0, 1))


def test_the_shape_brings_all_to_one_size(catalog, tmp_path):
    ramp = np.tile(np.arange(0, 240, 4, np.uint8), (6, 1))  # 6 x 60
    source = saved(tmp_path, {"a/ramp.png": ramp, "a/other.png": np.full((20, 3), 51, np.uint8)})
    data = catalog.load_data(source, (1, 12, 30))
    assert data.shape == (1, 12, 30)
    np.testing.assert_allclose(data.inputs[0], 0.2, rtol=1e-6)
    middles = np.arange(30) * 2 + 0.5  # halving a ramp gives the mean of each two neighbours
    np.testing.assert_allclose(data.inputs[1, 0, :, 1:-1] * 255, np.tile(middles[1:-1] * 4, (12, 1)), rtol=0, atol=0.6)


@pytest.mark.parametrize(
    ("mode", "ending", "channels"),
    [
        ("1", "png", 1),
        ("L", "png", 1),
        ("LA", "png", 1),
        ("L", "bmp", 1),
        ("L", "gif", 1),
        ("L", "jpg", 1),
        ("P", "png", 3),
        ("P", "gif", 3),
        ("RGB", "png", 3),
        ("RGBA", "png", 3),
        ("RGB", "bmp", 3),
        ("RGB", "jpg", 3),
        ("CMYK", "jpg", 3),
        ("RGB", "webp", 3),
        ("RGBA", "webp", 3),
    ],
)
def test_kinds_of_files(catalog, tmp_path, mode, ending, channels):
    ramp = np.add.outer(np.arange(0, 96, 6), np.arange(0, 128, 8)).astype(
        np.uint8
    )  # smooth, so that packing loses little
    picture = Image.fromarray(np.stack([ramp, ramp + 20, 255 - ramp], axis=-1)).convert(mode)
    (tmp_path / "a").mkdir()
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    picture.save(tmp_path / "a" / f"1.{ending}", **options.get(ending, {}))
    data = catalog.load_data(str(tmp_path))
    expected = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(16, 16, channels).transpose(2, 0, 1)
    assert data.inputs.shape == (1, channels, 16, 16)
    np.testing.assert_allclose(data.inputs[0] * 255, expected, rtol=0, atol=3 if ending == "jpg" else 1e-4)


def test_grey_is_what_has_no_coloured_pixel(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": np.stack([GREY] * 3, axis=-1), "a/2.gif": GREY})
    data = catalog.load_data(source)
    assert np.array_equal(data.inputs[:, 0], scaled(np.stack([GREY] * 2)))
    assert data.shape == (1, 5, 7)
    tinted = np.stack([GREY] * 3, axis=-1)
    tinted[4, 6, 2] ^= 1
    assert catalog.load_data(saved(tmp_path, {"a/3.png": tinted})).shape == (3, 5, 7)


def see_through(mode):
    """A black bar of full, half and no ink, and what it is on white paper."""
    ink = np.repeat(np.array([[255], [128], [0]], np.uint8), 4, axis=1)
    if mode == "P":
        picture = Image.fromarray(np.repeat(np.arange(3, dtype=np.uint8)[:, None], 4, axis=1)).convert("P")
        picture.putpalette([0] * 9)
        picture.info["transparency"] = bytes([255, 128, 0])
        return picture, 255.0 - ink
    if mode in ("L", "RGB"):  # one colour that is none
        grey = np.array([[0], [128], [9]], np.uint8).repeat(4, axis=1)
        picture = Image.fromarray(grey).convert(mode)
        picture.info["transparency"] = 9 if mode == "L" else (9, 9, 9)
        return picture, np.where(grey == 9, 255.0, grey)
    alpha = Image.fromarray(ink)
    bands = [Image.new("L", alpha.size)] * (len(mode) - 1)
    return Image.merge(mode, [*bands, alpha]), 255.0 - ink


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
@pytest.mark.parametrize("shape", [None, (1, 3, 4), (3, 3, 4)])
def test_what_is_transparent_is_white(catalog, tmp_path, mode, shape, recwarn):
    picture, expected = see_through(mode)
    data = catalog.load_data(saved(tmp_path, {"a/1.png": picture}), shape)
    np.testing.assert_allclose(data.inputs[0] * 255, np.stack([expected] * len(data.inputs[0])), rtol=0, atol=1)
    assert data.preparation.told == "transparent pixels became white"
    assert not recwarn


def test_transparency_that_is_none_is_not_told(catalog, tmp_path):
    opaque = Image.fromarray(GREY).convert("RGBA")
    data = catalog.load_data(saved(tmp_path, {"a/1.png": opaque, "a/2.png": see_through("LA")[0].resize((7, 5))}))
    assert np.array_equal(data.inputs[0, 0], scaled(GREY))
    assert data.preparation.told == "transparent pixels became white in 1 of 2 pictures"


def test_pictures_are_turned_as_the_camera_says(catalog, tmp_path):
    picture = Image.fromarray(np.repeat([0, 255], [16, 8]).astype(np.uint8)[None].repeat(8, 0))  # 8 x 24, bright right
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "1.jpg", exif=exif, quality=100)
    data = catalog.load_data(str(tmp_path))
    assert data.shape == (1, 24, 8)
    rows = data.inputs[0, 0].mean(axis=1)
    assert rows[:15].max() < 0.1
    assert rows[17:].min() > 0.9


def test_the_first_frame_counts(catalog, tmp_path):
    (tmp_path / "a").mkdir()
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a" / "1.gif", save_all=True, append_images=frames[1:])
    assert (catalog.load_data(str(tmp_path)).inputs * 255 == 10).all()


JUNK = (
    ".hidden",
    ".cache/x.png",
    "a/.DS_Store",
    "Thumbs.db",
    "a/Thumbs.db",
    "desktop.ini",
    "b/Desktop.ini",
    "__MACOSX/a/._1.png",
    "@eaDir/1.png",
    "$RECYCLE.BIN/2.png",
)


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_what_systems_leave_behind_is_not_looked_at(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY, "b/1.png": GREY})
    put(tmp_path, *JUNK)
    for data in (catalog.load_data(source), catalog.load_data(f"pictures:{source}")):
        assert (data.classes, len(data), data.preparation.told) == (("a", "b"), 2, "")


def test_files_that_are_no_pictures_are_left_out_and_named(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY, "b/1.png": GREY})
    put(tmp_path, "README.txt", "a/notes.txt", "b/labels.csv", "b/more.json")
    data = catalog.load_data(source)
    assert (data.classes, len(data)) == (("a", "b"), 2)
    assert data.preparation.told == "files left out that are no pictures: README.txt, notes.txt, labels.csv and 1 more"


def test_classes_without_pictures_are_left_out_and_named(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY, "c/1.png": GREY})
    (tmp_path / "b").mkdir()
    put(tmp_path, "docs/notes.txt", "d/Thumbs.db")
    data = catalog.load_data(source)
    assert (data.classes, data.labels.tolist()) == (("a", "c"), [0, 1])
    assert data.preparation.told == "folders left out that have no pictures: b, d, docs"


def test_pictures_that_cannot_be_read_are_not_left_out(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY})
    for name in ("1.tiff", "1.HEIC", "1.svg"):
        put(tmp_path, f"a/{name}")
        with pytest.raises(FileError, match=rf"a.{name}: expected only pictures .* a class, got another kind; convert"):
            catalog.load_data(source)
        (tmp_path / "a" / name).unlink()
    (tmp_path / "a" / "deeper.png").mkdir()
    with pytest.raises(FileError, match=r"deeper.png: expected only pictures .*, got a folder; convert it or move it"):
        catalog.load_data(source)
    (tmp_path / "a" / "deeper.png").rename(tmp_path / "moved away")
    assert len(catalog.load_data(source)) == 1


# ---------------------------------------------------------------------- train and test


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "Testing"), ("train", "val")])
def test_folders_to_train_and_to_test_on(catalog, tmp_path, train, test):
    arrays = _RNG.integers(0, 256, (5, 5, 7), np.uint8)
    names = [f"{train}/cat/2.png", f"{train}/dog/1.png", f"{train}/cat/1.png", f"{test}/dog/1.png", f"{test}/cat/9.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    source = saved(tmp_path, dict(zip(names, arrays, strict=True)))
    put(tmp_path, "README.md", *(name for name in JUNK if name[1] != "/"))
    data = catalog.load_data(source)
    assert data.classes == data.test.classes == ("cat", "dog")
    assert (data.labels.tolist(), data.test.labels.tolist()) == ([0, 0, 1], [0, 1])
    assert np.array_equal(data.inputs[:, 0], scaled(arrays[[2, 0, 1]]))
    assert np.array_equal(data.test.inputs[:, 0], scaled(arrays[[4, 3]]))
    assert data.preparation.told == ""


def test_of_several_test_folders_one_is_held_out(catalog, tmp_path):
    for name in ("train/a/1.png", "val/a/1.png", "test/a/1.png", "extra/a/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
    values = {"train/a/1.png": GREY, "val/a/1.png": GREY, "test/a/1.png": 255 - GREY, "extra/a/1.png": GREY}
    data = catalog.load_data(saved(tmp_path, values))
    assert np.array_equal(data.test.inputs[0, 0], scaled(255 - GREY))
    assert data.preparation.told == "folders left out: val, extra"


def test_a_folder_to_train_on_alone(catalog, tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    data = catalog.load_data(saved(tmp_path, {"train/a/1.png": GREY}))
    assert (data.classes, data.test) == (("a",), None)


def test_classes_may_be_called_train_and_test(catalog, tmp_path):
    data = catalog.load_data(saved(tmp_path, {"train/1.png": GREY, "test/1.png": GREY}))
    assert (data.classes, data.test) == (("test", "train"), None)


def test_a_class_that_is_only_tested_is_refused(catalog, tmp_path):
    for name in ("train/a", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    source = saved(tmp_path, {"train/a/1.png": GREY, "test/a/1.png": GREY, "test/b/1.png": GREY})
    with pytest.raises(FileError, match=r"test: expected the classes of .*train, got b, too; rename or remove its fol"):
        catalog.load_data(source)
    (tmp_path / "test" / "b" / "1.png").unlink()
    assert catalog.load_data(source).classes == ("a",)


def test_one_folder_too_many(catalog, tmp_path):
    (tmp_path / "cats and dogs" / "cat").mkdir(parents=True)
    source = saved(tmp_path, {"cats and dogs/cat/1.png": GREY})
    with pytest.raises(FileError, match="expected one subfolder of pictures per class, got none; point to") as error:
        catalog.load_data(source)
    assert catalog.load_data(str(error.value).partition("point to ")[2]).classes == ("cat",)


def test_resizing_is_told(catalog, tmp_path):
    data = catalog.load_data(saved(tmp_path, {"a/1.png": GREY}), (1, 4, 4))
    assert (data.preparation.told, data.preparation.size) == ("resized from 5x7 to 4x4", (5, 7))
    data = catalog.load_data(saved(tmp_path, {"a/2.png": GREY[:4]}), (1, 4, 4))
    assert (data.preparation.told, data.preparation.size) == ("resized from 2 sizes to 4x4", None)


def test_sizes_must_agree_where_none_is_asked_for(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY, "b/2.png": GREY[:4], "b/3.png": GREY[:3]})
    message = (
        r"data pictures .*2.png: expected 7 x 5 pixels like 1.png, got 7 x 4; bring all to one size with, for example"
    )
    with pytest.raises(ShapeError, match=message):
        catalog.load_data(source)
    assert catalog.load_data(source, (1, 4, 4)).inputs.shape == (3, 1, 4, 4)


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4), (1, 0, 4), (3, 4, 4, 4)])
def test_shapes_of_pictures(catalog, tmp_path, shape):
    source = saved(tmp_path, {"a/1.png": GREY})
    with pytest.raises(ShapeError, match=r"data pictures: expected a shape \(1 or 3, height, width\), got .*; use for"):
        catalog.load_data(source, shape)


def test_empty_folders_and_files_are_refused(catalog, tmp_path):
    with pytest.raises(
        FileError, match=r"data pictures .*: expected one subfolder of pictures per class, got none; make"
    ):
        catalog.load_data(f"pictures:{tmp_path}")
    (tmp_path / "a").mkdir()
    with pytest.raises(FileError, match=r"data pictures .*: expected one subfolder of pictures per class, got none"):
        catalog.load_data(f"pictures:{tmp_path}")
    Image.fromarray(GREY).save(tmp_path / "1.png")
    with pytest.raises(
        FileError, match=r"data pictures .*1.png: expected a folder, got a file; point to the folder that"
    ):
        catalog.load_data(f"pictures:{tmp_path / '1.png'}")


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp"])
def test_no_damage_escapes_the_family_of_errors(catalog, tmp_path, ending):
    file = tmp_path / "a" / f"1.{ending}"
    source = f"pictures:{saved(tmp_path, {f'a/1.{ending}': COLOURED})}"
    whole = file.read_bytes()
    for end in {0, 1, 10, len(whole) // 3, len(whole) // 2}:
        file.write_bytes(whole[:end])
        with pytest.raises(
            FileError, match=rf"1.{ending}: expected a picture that Pillow can read, got .*; replace or remove"
        ):
            catalog.load_data(source)
    for i in range(0, len(whole), 1 + len(whole) // 150):
        damaged = bytearray(whole)
        damaged[i] ^= 255
        file.write_bytes(damaged)
        try:
            assert catalog.load_data(source).shape[0] in (1, 3)
        except SimulatorError as error:
            assert str(file) in str(error)


def test_a_file_that_is_no_picture_is_refused(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY})
    tiff = io.BytesIO()
    Image.fromarray(GREY).save(tiff, "tiff")
    for content in (b"", b"hello", tiff.getvalue()):
        (tmp_path / "a" / "2.png").write_bytes(content)
        with pytest.raises(
            FileError, match=r"2.png: expected a picture that Pillow can read, got UnidentifiedImageError"
        ):
            catalog.load_data(source)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_small_file_does_not_unpack_to_a_huge_one(catalog, tmp_path):
    (tmp_path / "a").mkdir()
    start = struct.pack(">IIBBBBB", 20_000, 5_000, 8, 0, 0, 0, 0)  # 100 million pixels: Pillow itself would only warn
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
    (tmp_path / "a" / "1.png").write_bytes(content)
    with pytest.raises(
        FileError, match=r"1.png: expected a picture that Pillow can read, got DecompressionBombWarning"
    ):
        catalog.load_data(str(tmp_path))


def test_sixteen_bits_are_kept(catalog, tmp_path):
    deep = _RNG.integers(0, 2**16, (5, 7), np.uint16)
    source = saved(tmp_path, {"a/1.png": deep})
    for shape in (None, (1, 5, 7), (3, 5, 7)):
        data = catalog.load_data(source, shape)
        np.testing.assert_allclose(data.inputs[0], np.stack([deep / 65535] * data.shape[0]), rtol=1e-6, atol=1e-7)
        assert data.preparation.told == "16 bits per channel, divided by 65535"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("npz", "a.npz"),
        ("npz", "A.NPZ"),
        ("idx", "in/train-images-idx3-ubyte.gz in/preview/1.png"),
        ("idx", "in/t10k-labels.idx1-ubyte"),
        ("cifar", "in/data_batch_1.bin in/readme.html"),
        ("cifar", "in/train.bin"),
        ("cifar", "in/cifar-10-batches-bin/data_batch_5.bin in/cats/1.png"),
        ("cifar", "in/cifar-100-python/train in/cifar-100-python/meta"),
        ("pictures", "in/cats/1.JPEG in/dogs/1.webp in/.git/config"),
        ("pictures", "in/train/1.png in/meta/1.png"),
        ("pictures", "in/cats/1.png in/dogs/notes.txt"),
        ("pictures", "in/cats/1.png in/labels.csv"),
        ("pictures", "in/train/cats/1.png in/test/cats/1.png"),
        ("pictures", "in/1.png"),
        ("pictures", "in/in/cats/1.png"),
        ("csv", "a.CSV"),
        ("csv", "in/mnist_train.csv in/mnist_test.csv"),
        ("npz", "in/x.npy in/y.npy"),
        ("npz", "a.npy"),
        ("idx", "train-images-idx3-ubyte"),
        (None, "in/.hidden/1.png"),
        (None, "in/table.csv"),
        (None, "pictures.zip"),
        (None, "in/train"),
        (None, "in/meta"),
        (None, "in.npz/a.npy"),
    ],
)
def test_each_path_is_accepted_by_one_data_set(catalog, tmp_path, kind, names):
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (path,) = tmp_path.iterdir()
    accepting = [entry.name for entry in catalog.datasets.entries.values() if entry.accepts and entry.accepts(path)]
    assert accepting == ([kind] if kind else [])


def test_pillow_is_asked_for_where_it_is_missing(catalog, tmp_path, monkeypatch):
    source = saved(tmp_path, {"a/1.png": GREY})
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SimulatorError, match=r"expected Pillow, which reads pictures, .*; pip install pillow"):
        catalog.load_data(source)
