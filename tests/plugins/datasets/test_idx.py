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
    "empty": (b"", "expected 00000803 and 3 sizes of at least 1 at the start, got an empty file; download"),
    "labels": (CONTENTS[1], "expected 00000803 .* got 00000801"),
    "floats": (packed(TRAIN[0], kind=13), "expected 00000803 .* got 00000d03"),
    "no header": (CONTENTS[0][:15], "expected 00000803 and 3 sizes of at least 1 at the start, got 00000803"),
    "no sample": (packed(TRAIN[0][:0]), "expected 00000803 .* got 0000080300000000"),
    "short": (CONTENTS[0][:-1], "expected 240 numbers after the sizes, got 239; download it again"),
    "long": (CONTENTS[0] + b"x", "expected 240 numbers after the sizes, got more; download it again"),
    "huge": (
        struct.pack(">IIII", 0x803, *[2**32 - 1] * 3) + bytes(99),
        "expected a file for the 79228162458924105385300197375 numbers that it promises, got only",
    ),
    "web page": (b"<!DOCTYPE html><html>not found</html>", "expected 00000803 .* got 3c21444f"),
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
    with pytest.raises(FileError, match="expected a file for the 268435457 numbers that it promises, got only"):
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
