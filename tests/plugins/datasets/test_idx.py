"""MNIST's format: what is read, and that every file that does not fit is refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from simulator import Catalog, FileError


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def packed(array, kind=8):
    """Bytes of an IDX file, made with `struct`."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def samples(n, seed, space=(5, 4)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *space), np.uint8), np.arange(n, dtype=np.uint8) % 10


TRAIN, TEST = samples(12, 0), samples(3, 1)
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CONTENTS = tuple(map(packed, (*TRAIN, *TEST)))


def written(folder, names=NAMES, contents=CONTENTS):
    for name, content in zip(names, contents, strict=False):
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def check(data, images, labels, classes):
    assert data.inputs.shape == (len(images), 1, 5, 4)
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert np.array_equal(data.inputs[:, 0], images.astype(np.float32) / np.float32(255))
    assert np.array_equal(data.labels, labels)
    assert data.classes == tuple(classes)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-idx", ".idx"])
def test_all_spellings(catalog, tmp_path, mark, end):
    written(tmp_path, [name.replace("-idx", mark) + end for name in NAMES])
    for source in (str(tmp_path), f"idx:{tmp_path}"):
        data = catalog.load_data(source)
        check(data, *TRAIN, "0123456789")
        check(data.test, *TEST, "0123456789")


def test_only_training_data(catalog, tmp_path):
    data = catalog.load_data(str(written(tmp_path, NAMES[:2])))
    check(data, *TRAIN, "0123456789")
    assert data.test is None


def test_what_is_packed_is_told_by_the_content(catalog, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(gzip.compress(CONTENTS[0]))
    (tmp_path / f"{NAMES[1]}.gz").write_bytes(CONTENTS[1])
    check(catalog.load_data(str(tmp_path)), *TRAIN, "0123456789")


def test_unpacked_files_come_first(catalog, tmp_path):
    written(tmp_path)
    written(tmp_path, [f"{name}.gz" for name in NAMES], [b"broken"] * 4)
    check(catalog.load_data(str(tmp_path)), *TRAIN, "0123456789")


def test_classes_go_up_to_the_largest_label_of_both_parts(catalog, tmp_path):
    few, many = packed(np.zeros(12, np.uint8)), packed(np.array([0, 11, 2], np.uint8))
    data = catalog.load_data(str(written(tmp_path, NAMES, (CONTENTS[0], few, CONTENTS[2], many))))
    assert data.classes == data.test.classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(catalog, tmp_path, missing):
    (written(tmp_path) / missing).unlink()
    with pytest.raises(FileError, match=f"data idx .*: expected {missing} or {missing}.gz in this folder, got no such"):
        catalog.load_data(str(tmp_path))


BAD = {
    "empty": (b"", "expected an IDX file, which starts with 0000, .*, got an empty file; download it again"),
    "labels": (CONTENTS[1], "expected images with 3 axes, or 4 for colours, got 1 in a valid file; give each file the"),
    "another type": (b"\0\0\x0a\3" + CONTENTS[0][4:], "expected an IDX file, .*, got 00000a03; download it again"),
    "no header": (CONTENTS[0][:15], "expected 3 sizes of at least 1 after the type, got 0000000c"),
    "no sample": (packed(TRAIN[0][:0]), "expected 3 sizes of at least 1 after the type, got 00000000"),
    "short": (CONTENTS[0][:-1], "expected 240 bytes after the sizes, got 239; download it again"),
    "long": (CONTENTS[0] + b"x", "expected 240 bytes after the sizes, got more; download it again"),
    "huge": (
        struct.pack(">IIII", 0x803, *[2**32 - 1] * 3) + bytes(99),
        "expected a file for the 79228162458924105385300197375 bytes that it promises, got only",
    ),
    "web page": (b"<!DOCTYPE html><html>not found</html>", "expected an IDX file, .* got 3c21444f"),
}


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("name", BAD)
def test_files_that_do_not_fit_are_refused(catalog, tmp_path, name, end):
    content, message = BAD[name]
    written(tmp_path, [NAMES[0] + end, NAMES[1]], [content, CONTENTS[1]])
    with pytest.raises(FileError, match=rf"data idx .*{NAMES[0]}{end}: {message}"):
        catalog.load_data(str(tmp_path))


@pytest.mark.parametrize("part", [0, 1])
def test_every_truncation_is_noticed(catalog, tmp_path, part):
    for packing in (bytes, gzip.compress):
        whole = packing(CONTENTS[part])
        written(tmp_path)
        for end in range(len(whole)):
            (tmp_path / NAMES[part]).write_bytes(whole[:end])
            with pytest.raises(FileError, match=NAMES[part]):
                catalog.load_data(f"idx:{tmp_path}")


def test_a_packed_file_that_is_damaged(catalog, tmp_path):
    whole = bytearray(gzip.compress(CONTENTS[0]))
    whole[-8] ^= 1  # the checksum
    written(tmp_path, [NAMES[1]], [CONTENTS[1]])
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(whole)
    with pytest.raises(
        FileError, match=r"expected a file that can be read, got BadGzipFile: CRC check failed .*; download"
    ):
        catalog.load_data(str(tmp_path))


def test_blank_pictures_may_be_packed_as_small_as_they_get(catalog, tmp_path):
    blank = packed(np.zeros((1000, 30, 30), np.uint8))
    assert len(gzip.compress(blank)) * 100 < len(blank)
    written(tmp_path, [f"{NAMES[0]}.gz", NAMES[1]], [blank, packed(np.zeros(1000, np.uint8))])
    assert not catalog.load_data(str(tmp_path)).inputs.any()


def test_a_small_file_does_not_unpack_to_a_huge_one(catalog, tmp_path):
    promise = struct.pack(">IIII", 0x803, 1, 1, 2**28 + 1)
    written(tmp_path, [f"{NAMES[0]}.gz", NAMES[1]], [promise + bytes(1000), CONTENTS[1]])
    with pytest.raises(FileError, match="expected a file for the 268435457 bytes that it promises, got only"):
        catalog.load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        (1, TRAIN[1][:-1], "expected as many train labels as pictures, got 11 and 12; take both"),
        (3, TRAIN[1], "expected as many t10k labels as pictures, got 12 and 3; take both"),
        (
            2,
            samples(3, 1, (4, 5))[0],
            r"expected test pictures of \(5, 4\) like those to train on, got \(4, 5\); take both",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(catalog, tmp_path, part, array, message):
    contents = [packed(array) if i == part else content for i, content in enumerate(CONTENTS)]
    with pytest.raises(FileError, match=f"data idx .*: {message}"):
        catalog.load_data(str(written(tmp_path, NAMES, contents)))


# ---------------------------------------------------------------------- other names and types


@pytest.mark.parametrize("front", ["", "emnist-letters-"])
def test_test_files_may_be_called_test(catalog, tmp_path, front):
    names = [front + name.replace("t10k", "test") for name in NAMES]
    written(tmp_path, names)
    for source in (str(tmp_path), *(str(tmp_path / name) for name in names)):
        data = catalog.load_data(source)
        check(data, *TRAIN, "0123456789")
        check(data.test, *TEST, "0123456789")


def test_files_without_a_part_are_to_train_on(catalog, tmp_path):
    written(tmp_path, ["images-idx3-ubyte", "labels-idx1-ubyte"], CONTENTS[:2])
    check(catalog.load_data(str(tmp_path)), *TRAIN, "0123456789")


@pytest.mark.parametrize(
    ("kind", "dtype", "told"),
    [(9, "i1", ""), (11, ">i2", "divided by 255"), (12, ">i4", "divided by 255"), (13, ">f4", "divided by 255")],
)
def test_other_types_of_numbers(catalog, tmp_path, kind, dtype, told):
    pixels = TRAIN[0] // 2 if dtype == "i1" else TRAIN[0]
    contents = packed(pixels.astype(dtype), kind), packed(TRAIN[1].astype(">i4"), 12)
    data = catalog.load_data(str(written(tmp_path, NAMES, contents)))
    np.testing.assert_allclose(data.inputs[:, 0] * (255 if told else 1), pixels, rtol=1e-6)
    assert data.labels.tolist() == TRAIN[1].tolist()
    assert data.preparation.told == told


def test_colours_last(catalog, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 5, 6, 3), np.uint8)
    data = catalog.load_data(str(written(tmp_path, NAMES, (packed(pixels), CONTENTS[1]))))
    assert np.array_equal(data.inputs, pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    assert data.preparation.told == "channels moved to the front"


def test_several_data_sets_in_one_folder(catalog, tmp_path):
    for front, content in (("emnist-digits-", CONTENTS[:2]), ("emnist-letters-", [packed(a) for a in TEST])):
        written(tmp_path, [front + name for name in NAMES], content)
    with pytest.raises(FileError, match="data idx .*: expected one data set, got 2; choose by a file: idx:") as error:
        catalog.load_data(str(tmp_path))
    one, other = str(error.value).partition("choose by a file: ")[2].split(", or ")
    assert [len(catalog.load_data(source)) for source in (one, other)] == [12, 3]


def test_one_file_misses_its_labels(catalog, tmp_path):
    (file,) = written(tmp_path, ["emnist-train-images-idx3-ubyte"], CONTENTS).iterdir()
    with pytest.raises(FileError, match="expected emnist-train-labels-idx1-ubyte or .*.gz in this folder, got no such"):
        catalog.load_data(str(file))
    written(tmp_path, ["emnist-train-labels-idx1-ubyte"], CONTENTS[1:])
    check(catalog.load_data(str(file)), *TRAIN, "0123456789")


def test_a_file_of_another_name(catalog, tmp_path):
    (file,) = written(tmp_path, ["digits"], CONTENTS).iterdir()
    with pytest.raises(FileError, match="expected a name such as train-images-idx3-ubyte, got another; rename it, and"):
        catalog.load_data(f"idx:{file}")
    file.rename(tmp_path / NAMES[0])
    written(tmp_path, [NAMES[1]], [CONTENTS[1]])
    check(catalog.load_data(f"idx:{tmp_path / NAMES[0]}"), *TRAIN, "0123456789")
