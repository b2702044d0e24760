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


def test_transparency_is_dropped_without_a_warning(catalog, tmp_path, recwarn):
    picture = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).convert("P")
    picture.info["transparency"] = bytes(range(256))
    data = catalog.load_data(saved(tmp_path, {"a/1.png": picture}))
    assert np.array_equal(data.inputs[0, 0] * 255, np.arange(35).reshape(5, 7))
    assert not recwarn


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


def test_hidden_files_and_files_beside_the_classes_are_not_read(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY})
    for name in (".hidden", ".cache/x.png", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert catalog.load_data(source).classes == ("a",)
    (tmp_path / "README.txt").touch()
    assert len(catalog.load_data(f"pictures:{source}")) == 1


def test_other_files_among_the_pictures_are_refused(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY})
    for name in ("notes.txt", "1.tiff"):
        (tmp_path / "a" / name).touch()
        with pytest.raises(
            FileError, match=rf"a.{name}: expected only pictures \(.png .*\) in the folder of a class, got"
        ):
            catalog.load_data(source)
        (tmp_path / "a" / name).unlink()
    (tmp_path / "a" / "deeper.png").mkdir()
    with pytest.raises(FileError, match=r"deeper.png: expected only pictures .*; convert it or move it away"):
        catalog.load_data(source)


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
    with pytest.raises(
        FileError, match=r"data pictures .*a: expected pictures, got an empty folder; fill or remove it"
    ):
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


def test_more_than_eight_bits_are_refused(catalog, tmp_path):
    source = saved(tmp_path, {"a/1.png": GREY.astype(np.uint16) * 257})
    for shape in (None, (3, 4, 4)):
        with pytest.raises(
            FileError, match=r"1.png: expected 8 bits per channel, got mode I.*; convert it, or save arrays"
        ):
            catalog.load_data(source, shape)


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
        (None, "in/cats/1.png in/dogs/notes.txt"),
        (None, "in/cats/1.png in/labels.csv"),
        (None, "in/train/cats/1.png"),
        (None, "in/.hidden/1.png"),
        (None, "in/train"),
        (None, "in/meta"),
        (None, "in.npz/a.npy"),
        (None, "a.npy"),
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
    with pytest.raises(SimulatorError, match=r"expected Pillow, which reads them, .*; pip install pillow"):
        catalog.load_data(source)
