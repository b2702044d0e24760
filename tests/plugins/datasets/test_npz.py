"""The user's own arrays: what the names and axes mean, and that no file can do harm."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from simulator_plugins.datasets import npz

from simulator import SGD, Catalog, Conv, Dense, FileError, Network, ReLU, ShapeError, SimulatorError, train

LABELS = np.array([0, 1, 2, 1])
PICTURES = np.random.default_rng(0).random((4, 2, 3, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture
def loaded(catalog, tmp_path):
    """What the catalog makes of a file with these arrays, found by its ending."""

    def load(save=np.savez, **arrays):
        save(tmp_path / "mine.npz", **arrays)
        return catalog.load_data(str(tmp_path / "mine.npz"))

    return load


@pytest.mark.parametrize(
    "names",
    [
        ("inputs", "targets"),
        ("x", "y"),
        ("X", "y"),
        ("x_train", "y_train"),
        ("X_train", "Y_train"),
        ("train_images", "train_labels"),
        ("images", "labels"),
        ("data", "target"),
        ("x", "targets"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_pairs_of_names(loaded, save, names):
    data = loaded(save, **dict(zip(names, (PICTURES, LABELS), strict=True)), other=np.zeros(7), val_images=np.zeros(3))
    assert np.array_equal(data.inputs, PICTURES)
    assert np.array_equal(data.labels, LABELS)
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.classes == ("0", "1", "2")
    assert data.test is None


def test_by_name(catalog, tmp_path):
    with (tmp_path / "arrays.zip").open("wb") as file:
        np.savez(file, inputs=PICTURES, targets=LABELS)
    assert len(catalog.load_data(f"npz:{tmp_path / 'arrays.zip'}")) == 4


def test_the_file_of_keras(loaded):
    """mnist.npz: uint8 pictures without a channel axis."""
    rng = np.random.default_rng(1)
    x_train, x_test = (rng.integers(0, 256, (n, 28, 28), np.uint8) for n in (6, 3))
    y_train, y_test = np.arange(6, dtype=np.uint8), np.array([9, 0, 4], np.uint8)
    data = loaded(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    for part, x, y in ((data, x_train, y_train), (data.test, x_test, y_test)):
        assert part.shape == (1, 28, 28)
        assert np.array_equal(part.inputs[:, 0], x.astype(np.float32) / np.float32(255))
        assert np.array_equal(part.labels, y)
        assert part.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("shape", "sample"),
    [((4, 6), (6,)), ((4, 5, 7), (1, 5, 7)), ((4, 2, 5, 7), (2, 5, 7)), ((4, 2, 3, 5, 7), (2, 3, 5, 7))],
)
def test_what_the_axes_mean(loaded, shape, sample):
    inputs = np.arange(np.prod(shape)).reshape(shape) / 1024
    data = loaded(inputs=inputs, targets=LABELS)
    assert data.shape == sample
    assert np.array_equal(data.inputs.ravel(), inputs.ravel())


@pytest.mark.parametrize("dtype", ["bool", "int8", ">i4", "uint16", "float16", ">f8", "float64"])
def test_other_numbers_are_taken_as_they_are(loaded, dtype):
    inputs = np.array([[0, 1], [1, 0]], dtype)
    data = loaded(inputs=inputs, targets=np.array([0, 1], ">u2"))
    assert data.inputs.dtype == np.float32
    assert data.labels.dtype == np.int64
    assert data.inputs.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_both_orders_in_memory(loaded, order):
    assert np.array_equal(loaded(inputs=np.array(PICTURES, order=order), targets=LABELS).inputs, PICTURES)


def test_classes_have_names(loaded):
    names = ("gato", "perro", "pájaro", "none of them")
    assert loaded(inputs=PICTURES, targets=LABELS, classes=list(names)).classes == names


def test_values_as_targets(loaded):
    data = loaded(inputs=PICTURES, targets=np.arange(8.0).reshape(4, 2), x_test=PICTURES, y_test=np.ones((4, 2)))
    assert data.targets.dtype == np.float32
    assert data.targets.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (data.labels, data.classes) == (None, ())
    assert data.test.targets.tolist() == [[1, 1]] * 4


def test_a_network_learns_from_it(loaded):
    rng = np.random.default_rng(0)
    inputs = rng.random((40, 1, 6, 6)).astype(np.float32)
    labels = np.arange(40) % 2
    inputs[labels == 1, :, 2] += 1  # a bright line
    data = loaded(inputs=inputs, targets=labels, classes=["none", "line"])
    network = Network.sequential(data.shape, [Conv(3, kernel=3), ReLU(), Dense(len(data.classes))], rng=0)
    first, *_, last = train(network, data, epochs=6, batch_size=8, optimizer=SGD(0.1))
    assert last.loss < first.loss / 2
    assert last.metrics == {"accuracy": 1.0}


@pytest.mark.parametrize(
    "names",
    [[], ["inputs"], ["x_test", "y_test"], ["inputs", "targets", "x", "y"], ["x", "y", "x_test"], ["pixels", "y"]],
)
def test_names_that_do_not_say_what_is_what(loaded, names):
    got = ", ".join(sorted(names)) or "an empty file"
    with pytest.raises(
        FileError, match=f"data npz .*: expected one of the pairs inputs and targets, .*, got {got}; save"
    ):
        loaded(**dict.fromkeys(names, LABELS))


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (np.zeros(4), r"float64 \(4,\)"),
        (np.zeros((4, 1, 1, 1, 1, 1)), r"float64 \(4, 1, 1, 1, 1, 1\)"),
        (np.zeros((4, 2), complex), r"complex128 \(4, 2\)"),
        (np.array([["a"]] * 4), r"<U1 \(4, 1\)"),
        (np.zeros((4, 2), [("a", "f4")]), r"\[\('a', '<f4'\)\] \(4, 2\)"),
    ],
)
def test_inputs_that_are_no_samples(loaded, inputs, got):
    with pytest.raises(
        ShapeError, match=rf"data npz .*, inputs: expected numbers \(n, features\), .*, got {got}; reshape"
    ):
        loaded(inputs=inputs, targets=LABELS)


@pytest.mark.parametrize(
    ("targets", "got"),
    [
        (np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]), r"int64 \(4, 3\)"),
        (np.array([["a", "b"]] * 4), r"<U1 \(4, 2\)"),
        (np.zeros((4, 2, 2), bool), r"bool \(4, 2, 2\)"),
        (LABELS * 1j, r"complex128 \(4,\)"),
        (np.float64(1), r"float64 \(\)"),
    ],
)
def test_targets_that_are_neither_labels_nor_values(loaded, targets, got):
    message = (
        rf"data npz .*, targets: expected labels \(n,\) or one-hot .*, got {got}; save one integer from 0 on for each"
    )
    with pytest.raises(ShapeError, match=message):
        loaded(x=PICTURES, y=targets)
    assert len(loaded(x=PICTURES, y=np.arange(4))) == 4


NAMES = np.array(["dog", "cat", "cow", "cat"])


@pytest.mark.parametrize(
    ("targets", "classes", "labels", "told"),
    [
        (np.eye(4)[LABELS], "0123", LABELS, "one-hot targets of 4 columns read as labels"),
        (np.eye(4, dtype=int)[LABELS], "0123", LABELS, "one-hot targets of 4 columns read as labels"),
        (np.eye(3, dtype=bool)[LABELS], "012", LABELS, "one-hot targets of 3 columns read as labels"),
        (LABELS[:, None], "012", LABELS, ""),
        (LABELS.astype(float), "012", LABELS, "whole floats read as labels"),
        (LABELS[:, None].astype(np.float32), "012", LABELS, "whole floats read as labels"),
        (LABELS == 1, ("False", "True"), [0, 1, 0, 1], ""),
        (NAMES, ("cat", "cow", "dog"), [2, 0, 1, 0], ""),
        (NAMES[:, None].astype("S"), ("cat", "cow", "dog"), [2, 0, 1, 0], ""),
        (np.array(["10", "9", "2", "9"]), ("2", "9", "10"), [2, 1, 0, 1], ""),
    ],
    ids=[
        "one-hot",
        "integers",
        "bools",
        "a column",
        "floats",
        "floats in a column",
        "yes and no",
        "names",
        "bytes",
        "numbers as text",
    ],
)
def test_labels_as_people_keep_them(loaded, targets, classes, labels, told):
    data = loaded(x=PICTURES, y=targets)
    assert data.classes == tuple(classes)
    assert data.labels.tolist() == list(labels)
    assert data.labels.dtype == np.int64
    assert data.preparation.told == told
    both = loaded(x_train=PICTURES, y_train=targets, x_test=PICTURES[:2], y_test=targets[:2])
    assert both.test.labels.tolist() == list(labels)[:2]
    assert both.test.classes == tuple(classes)


def test_names_that_are_labels_have_the_order_of_the_classes(loaded):
    data = loaded(x=PICTURES, y=NAMES, classes=["dog", "cow", "cat", "bee"])
    assert (data.classes, data.labels.tolist()) == (("dog", "cow", "cat", "bee"), [0, 2, 1, 2])
    with pytest.raises(ShapeError, match="targets: expected names of the classes, got 'cow'; add it to classes, or"):
        loaded(x=PICTURES, y=NAMES, classes=["dog", "cat"])


def test_values_are_no_labels(loaded):
    for targets in (LABELS + 0.5, -LABELS.astype(float), LABELS * 1e6):
        assert loaded(x=PICTURES, y=targets).labels is None


# ---------------------------------------------------------------------- inputs as people keep them

BYTES = np.random.default_rng(2).integers(0, 256, (4, 9, 8), np.uint8)
BYTES[0, 0, 0] = 255


@pytest.mark.parametrize(
    ("array", "divisor", "told"),
    [
        (BYTES, 255, ""),
        (BYTES.astype(float), 255, "divided by 255"),
        (BYTES.astype(int), 255, "divided by 255"),
        (BYTES[:, None].astype(np.float32) * 0.99, 255, "divided by 255"),
        (BYTES.astype(np.uint16) * 257, 65535, "divided by 65535"),
        (BYTES / 255, 1, ""),
        (BYTES // 16 + 0.0, 1, ""),
        (BYTES - 127.0, 1, ""),
        (BYTES.reshape(4, 72).astype(float), 1, ""),
        (np.pad(BYTES, ((0, 0), (0, 0), (0, 1))).reshape(4, 81).astype(float), 255, "divided by 255"),
    ],
    ids=[
        "uint8",
        "floats",
        "integers",
        "fractions",
        "16 bits",
        "0 to 1",
        "0 to 15",
        "negative",
        "features",
        "a square",
    ],
)
def test_how_bright_white_is(loaded, array, divisor, told):
    data = loaded(x=array, y=LABELS)
    np.testing.assert_allclose(data.inputs.ravel(), array.ravel() / divisor, rtol=1e-6)
    assert data.preparation.told == told
    assert data.preparation.divisor == (None if array.dtype == np.uint8 else divisor)


def test_the_largest_number_of_all_decides(loaded):
    dark = BYTES.astype(float) / 10
    data = loaded(x_train=dark, y_train=LABELS, x_test=BYTES.astype(float), y_test=LABELS)
    np.testing.assert_allclose(data.inputs[:, 0], dark / 255, rtol=1e-6)
    np.testing.assert_allclose(data.test.inputs[:, 0], BYTES / 255, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_last_are_moved(loaded, channels):
    array = np.random.default_rng(0).random((4, 6, 5, channels)).astype(np.float32)
    data = loaded(x=array, y=LABELS)
    assert np.array_equal(data.inputs, array.transpose(0, 3, 1, 2))
    assert data.preparation.told == "channels moved to the front"
    first = loaded(x=np.ascontiguousarray(data.inputs), y=LABELS)
    assert np.array_equal(first.inputs, data.inputs)
    assert first.preparation.told == ""


# ---------------------------------------------------------------------- .npy


def test_a_folder_of_npy_files(catalog, tmp_path):
    for name, array in {"X_train": PICTURES, "y_train": LABELS, "X_test": PICTURES[:2], "y_test": LABELS[:2]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    for source in (str(tmp_path), str(tmp_path / "X_train.npy"), f"npz:{tmp_path}"):
        data = catalog.load_data(source)
        assert np.array_equal(data.inputs, PICTURES)
        assert np.array_equal(data.test.labels, LABELS[:2])


def test_one_npy_file_lacks_labels(catalog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", PICTURES)
    with pytest.raises(FileError, match="expected samples and their labels, got one array; put both into") as error:
        catalog.load_data("x.npy")
    exec(str(error.value).rpartition("one file: ")[2], {"numpy": np, "labels": LABELS})
    assert np.array_equal(catalog.load_data("data.npz").inputs, PICTURES)


@pytest.mark.parametrize("content", [b"", b"x", b"\x93NUMPY\x01\x00" + bytes(100)])
def test_npy_files_that_are_damaged(catalog, tmp_path, content):
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(FileError, match="data npz .*, x: expected a whole file of plain numbers from numpy.save, got"):
        catalog.load_data(str(tmp_path))


def test_npy_files_with_objects_are_never_opened(catalog, tmp_path, monkeypatch):
    np.save(tmp_path / "y.npy", LABELS)
    np.save(tmp_path / "x.npy", np.array([1, None]), allow_pickle=True)
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("a pickle was opened"))
    with pytest.raises(FileError, match="x: expected a whole file of plain numbers from numpy.save, got ValueError"):
        catalog.load_data(str(tmp_path))


@pytest.mark.parametrize("test", [PICTURES[:, :1], PICTURES.astype(np.float64)], ids=["shape", "dtype"])
def test_training_and_test_inputs_are_alike(loaded, test):
    message = (
        r"expected test inputs like those to train on, float32 \(2, 3, 5\), got float(32|64) \([12], 3, 5\); save both"
    )
    with pytest.raises(ShapeError, match=message):
        loaded(inputs=PICTURES, targets=LABELS, x_test=test, y_test=LABELS)


@pytest.mark.parametrize(("names", "got"), [([1, 2, 3], r"int64 \(3,\)"), ([["a", "b", "c"]], r"<U1 \(1, 3\)")])
def test_classes_are_a_list_of_names(loaded, names, got):
    with pytest.raises(ShapeError, match=rf"data npz .*, classes: expected a list of names, got {got}; save strings"):
        loaded(inputs=PICTURES, targets=LABELS, classes=names)


@pytest.mark.parametrize("largest", [2**16, 2**62])
def test_labels_are_no_other_numbers(loaded, largest):
    assert len(loaded(inputs=PICTURES, targets=np.array([0, 1, 2, 2**16 - 1])).classes) == 2**16
    with pytest.raises(ShapeError, match=f"expected labels from 0 to 65535, got {largest}; number the classes from 0"):
        loaded(inputs=PICTURES, targets=np.array([0, 1, 2, largest]))


def test_what_every_data_set_refuses(loaded):
    with pytest.raises(ShapeError, match="expected labels from 0 to 0, got -2 to -1"):
        loaded(inputs=PICTURES, targets=np.array([-1, -1, -2, -1]))
    with pytest.raises(ShapeError, match="expected as many targets as samples, and at least one, got 4 and 3"):
        loaded(inputs=PICTURES, targets=LABELS[:3])
    with pytest.raises(ShapeError, match="expected as many targets as samples, and at least one, got 0 and 0"):
        loaded(inputs=PICTURES[:0], targets=LABELS[:0])
    with pytest.raises(ShapeError, match="expected finite numbers, got 1 NaN or infinite ones, the first in sample 1"):
        loaded(inputs=np.array([[0], [1e300]]), targets=LABELS[:2])
    with pytest.raises(ShapeError, match="expected finite numbers, got 1 NaN or infinite ones, the first in sample 0"):
        loaded(inputs=PICTURES[:2], targets=np.array([1e300, 0]))


def test_pickled_objects_are_never_opened(loaded, monkeypatch):
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("a pickle was opened"))
    ragged = np.empty(4, object)
    ragged[:] = [np.zeros(i) for i in range(4)]
    with pytest.raises(
        FileError, match=r"data npz .*, inputs: expected plain numbers, got pickled objects, .*; save one"
    ):
        loaded(inputs=ragged, targets=LABELS)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "BadZipFile: File is not a zip file"),
        (b"\x80\x04]\x94.", "BadZipFile"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "BadZipFile"),
    ],
    ids=["empty", "pickle", "npy"],
)
def test_other_files_are_refused(catalog, tmp_path, content, got):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(
        FileError, match=f"data npz .*a.npz: expected a whole file from numpy.savez, got {got}.*; save it"
    ):
        catalog.load_data(str(tmp_path / "a.npz"))


def test_an_empty_folder_is_refused(catalog, tmp_path):
    with pytest.raises(FileError, match=r"expected one of the pairs .*, got an empty file; save under these names"):
        catalog.load_data(f"npz:{tmp_path}")


def zipped(file, packing=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def header(shape, dtype="|u1"):
    """The beginning of an array's file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 2), r", inputs: expected 138 bytes for uint8 \(5, 2\), got 136; save the file again"),
        ((3, 2), r", inputs: expected 134 bytes for uint8 \(3, 2\), got 136; save the file again"),
        ((10**12, 2), r", inputs: expected 2000000000128 bytes for uint8 \(1000000000000, 2\), got 136; save"),
        ((-4, -2), ": expected a whole file from numpy.savez, got ValueError: .*; save it again"),
    ],
)
def test_an_array_is_as_long_as_its_header_says(catalog, tmp_path, shape, message):
    file = tmp_path / "a.npz"
    zipped(file, inputs=header(shape) + bytes(8), targets=header((4,)) + bytes(4))
    with pytest.raises(FileError, match=f"data npz .*a.npz{message}"):
        catalog.load_data(str(file))


def test_a_small_file_does_not_unpack_to_a_huge_one(catalog, tmp_path, monkeypatch):
    file = tmp_path / "a.npz"
    np.savez_compressed(file, inputs=np.zeros((100_000, 2)), targets=np.zeros(100_000, int))
    assert len(catalog.load_data(str(file))) == 100_000  # below the limit any packing is fine
    monkeypatch.setattr(npz, "_ALWAYS_FINE", 10_000)
    with pytest.raises(
        FileError, match="inputs: expected at most 100 times the size of the file, got 1600128 bytes when"
    ):
        catalog.load_data(str(file))
    np.savez(file, inputs=np.zeros((100_000, 2)), targets=np.zeros(100_000, int))
    assert len(catalog.load_data(str(file))) == 100_000


def test_sizes_are_compared_with_the_real_file(catalog, tmp_path):
    """A header and a directory that agree on 3 GB in a file of some hundred bytes."""
    file = tmp_path / "a.npz"
    start, huge = header((3 * 2**30, 1)), 3 * 2**30
    zipped(file, inputs=start, targets=header((4,)) + bytes(4))
    content = file.read_bytes()
    sizes = struct.pack("<II", len(start), len(start))
    assert content.count(sizes) == 2  # before the member, and in the directory
    file.write_bytes(content.replace(sizes, struct.pack("<II", huge + len(start), huge + len(start))))
    with pytest.raises(
        FileError, match=f"expected at most 100 times the size of the file, got {huge + len(start)} bytes"
    ):
        catalog.load_data(str(file))


def test_only_the_packing_of_numpy(catalog, tmp_path):
    file = tmp_path / "a.npz"
    zipped(file, zipfile.ZIP_BZIP2, inputs=header((4, 2)) + bytes(8), targets=header((4,)) + bytes(4))
    with pytest.raises(
        FileError, match=r"inputs: expected an array as numpy.savez packs it, got another kind of zip; save"
    ):
        catalog.load_data(str(file))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damage_escapes_the_family_of_errors(catalog, tmp_path, save):
    file = tmp_path / "a.npz"
    save(file, inputs=PICTURES[:2, :1, :2, :2], targets=LABELS[:2])
    whole = file.read_bytes()
    source = str(file)
    for end in range(0, len(whole), 3):
        file.write_bytes(whole[:end])
        with pytest.raises(FileError, match=r"a.npz"):
            catalog.load_data(source)
    refused = 0
    for i in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[i] ^= 255
        file.write_bytes(damaged)
        try:
            catalog.load_data(source)  # not every byte matters: dates, for example
        except SimulatorError:
            refused += 1
    assert refused > len(whole) / 6
