"""Tables as text: where the labels are, what becomes pictures, and what is refused with a cure that works."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from simulator import Catalog, FileError, ShapeError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 64))
PIXELS[:, -1] = 0  # as in the corner of a digit
LABELS = np.arange(30) % 3


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def written(path, columns, names=(), delimiter=",", bom=""):
    """A table with these columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(bom)
        table = csv.writer(file, delimiter=delimiter)
        if names:
            table.writerow(names)
        table.writerows(zip(*columns, strict=True))
    return str(path)


def pixel_names(*more):
    return [*more, *(f"pixel{i}" for i in range(64))]


def check(data, told="64 numbers taken as 1x8x8 pixels; divided by 255"):
    assert data.inputs.shape == (30, 1, 8, 8)
    assert np.array_equal(data.inputs.reshape(30, 64), PIXELS.astype(np.float32) / np.float32(255))
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == ("0", "1", "2")
    assert data.preparation.told == told


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("names", [pixel_names("label"), ()], ids=["names", "no names"])
def test_mnist_as_it_is_passed_on(catalog, tmp_path, names, delimiter):
    path = written(tmp_path / "mnist.csv", [LABELS, *PIXELS.T], names, delimiter)
    check(catalog.load_data(path))
    check(catalog.load_data(f"csv:{path}"))


def test_labels_last(catalog, tmp_path):
    check(catalog.load_data(written(tmp_path / "a.csv", [*PIXELS.T, LABELS], [*pixel_names(), "Class"])))
    constant = PIXELS.copy()
    constant[:, 0] = 0  # no labels, all the same
    data = catalog.load_data(written(tmp_path / "b.csv", [*constant.T, LABELS]))
    assert data.labels.tolist() == LABELS.tolist()


def test_a_mark_of_the_encoding_and_an_index_are_no_data(catalog, tmp_path):
    columns, names = [np.arange(30), LABELS, *PIXELS.T], pixel_names("Id", "label")
    path = written(tmp_path / "a.csv", columns, names, bom="\ufeff")
    check(catalog.load_data(path), "column left out: Id; 64 numbers taken as 1x8x8 pixels; divided by 255")


def test_features_and_names(catalog, tmp_path):
    names = np.array(["setosa", "virginica", "versi, color"])[LABELS]
    columns = RNG.random((4, 30)).round(3)
    for more in ([*"abcd", "species"], ()):
        data = catalog.load_data(written(tmp_path / "iris.csv", [*columns, names], more))
        assert data.classes == ("setosa", "versi, color", "virginica")
        assert [data.classes[label] for label in data.labels] == names.tolist()
        np.testing.assert_allclose(data.inputs, columns.T, rtol=1e-6)
        assert data.preparation.told == ""


def test_colours_in_a_row(catalog, tmp_path):
    pixels = RNG.integers(0, 256, (30, 3 * 64))
    data = catalog.load_data(written(tmp_path / "a.csv", [LABELS, *pixels.T], ["label", *map(str, range(3 * 64))]))
    assert np.array_equal(data.inputs.reshape(30, -1), pixels.astype(np.float32) / np.float32(255))
    assert data.shape == (3, 8, 8)


def test_a_folder_with_a_table_to_train_and_one_to_test_on(catalog, tmp_path):
    written(tmp_path / "mnist_train.csv", [LABELS, *PIXELS.T], pixel_names("label"))
    written(tmp_path / "mnist_test.csv", [LABELS[:9], *PIXELS[:9].T // 4], pixel_names("label"))
    data = catalog.load_data(str(tmp_path))
    check(data)
    assert np.array_equal(data.test.inputs.reshape(9, 64) * 255, PIXELS[:9] // 4)  # by the same number
    assert data.test.labels.tolist() == LABELS[:9].tolist()


def test_tables_of_other_widths(catalog, tmp_path):
    written(tmp_path / "train.csv", [LABELS, *PIXELS.T], pixel_names("label"))
    written(tmp_path / "test.csv", [LABELS, *PIXELS[:, :5].T], pixel_names("label")[:6])
    with pytest.raises(FileError, match="expected as many columns in both tables, got 64 and 5; take both from one"):
        catalog.load_data(str(tmp_path))
    written(tmp_path / "test.csv", [LABELS, *PIXELS.T], pixel_names("label"))
    assert len(catalog.load_data(str(tmp_path)).test) == 30


def test_a_folder_with_several_tables(catalog, tmp_path):
    for name in ("train-1", "train-2"):
        written(tmp_path / f"{name}.csv", [LABELS, *PIXELS.T])
    with pytest.raises(
        FileError, match="expected one table with train in its name, .*, got 2 and 0; point to one file"
    ):
        catalog.load_data(str(tmp_path))
    check(catalog.load_data(str(tmp_path / "train-1.csv")))


def test_labels_that_could_be_anywhere(catalog, tmp_path):
    columns = RNG.integers(0, 3, (5, 30))
    with pytest.raises(
        FileError, match="expected one column of labels, got 2 that could be; name the columns in the f"
    ):
        catalog.load_data(written(tmp_path / "a.csv", columns))
    with pytest.raises(
        FileError, match="expected one column of labels, got 0 that could be; name the columns in the f"
    ):
        catalog.load_data(written(tmp_path / "a.csv", columns + 0.5))
    data = catalog.load_data(written(tmp_path / "a.csv", columns, ["a", "b", "label", "c", "d"]))
    assert data.labels.tolist() == columns[2].tolist()


@pytest.mark.parametrize("gap", ["", "?", "NaN"])
def test_what_is_missing(catalog, tmp_path, gap):
    columns = [LABELS.astype(object), *PIXELS.T.astype(object)]
    columns[5][7] = gap
    path = written(tmp_path / "a.csv", columns, pixel_names("label"))
    with pytest.raises(
        (FileError, ShapeError), match="(a number in every column but .* fill in what|1 NaN or infinite)"
    ):
        catalog.load_data(path)
    columns[5][7] = 3
    assert len(catalog.load_data(written(tmp_path / "a.csv", columns, pixel_names("label")))) == 30


def test_rows_of_other_lengths(catalog, tmp_path):
    path = written(tmp_path / "a.csv", [LABELS, *PIXELS.T], pixel_names("label"))
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text() + "1,2,3\n")
    with pytest.raises(FileError, match="expected a number in every column but that of the labels, number 1, got"):
        catalog.load_data(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"1\n2\n", b"\xff\xfe\x00", b"\0\0\0"])
def test_what_is_no_table(catalog, tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(FileError, match="data csv .*a.csv: expected (a label and numbers in each row|a table as text)"):
        catalog.load_data(str(tmp_path / "a.csv"))
