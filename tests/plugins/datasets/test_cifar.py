"""CIFAR's binary version: what is read, and what is refused."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

from simulator import Catalog, FileError

TEN = [f"data_batch_{i}.bin" for i in range(1, 6)]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def pixels(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), np.uint8)


def record(images, *labels):
    """Bytes of a file, picture by picture, as the page of the data set describes it."""
    return b"".join(
        bytes(label) + picture[0].tobytes() + picture[1].tobytes() + picture[2].tobytes()
        for *label, picture in zip(*labels, images, strict=True)
    )


def ten(folder):
    """CIFAR-10 with two pictures in each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate([*TEN, "test_batch.bin"]):
        (folder / name).write_bytes(record(pixels(2, i), [i, 9 - i]))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def hundred(folder):
    """CIFAR-100 with three pictures in each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(["train.bin", "test.bin"]):
        (folder / name).write_bytes(record(pixels(3, i), [19, 0, 1], [99, 0, 50 + i]))
    return folder


def check(data, images, labels):
    assert data.inputs.shape == images.shape
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert np.array_equal(data.inputs, images.astype(np.float32) / np.float32(255))
    assert data.labels.tolist() == labels


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10(catalog, tmp_path, inside):
    ten(tmp_path / inside)
    for source in (str(tmp_path), f"cifar:{tmp_path}"):
        data = catalog.load_data(source)
        check(data, np.concatenate([pixels(2, i) for i in range(5)]), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
        check(data.test, pixels(2, 5), [5, 4])
        assert data.classes == data.test.classes == tuple(NAMES)


@pytest.mark.parametrize("inside", ["", "cifar-100-binary"])
def test_cifar100_with_its_fine_labels(catalog, tmp_path, inside):
    hundred(tmp_path / inside)
    data = catalog.load_data(str(tmp_path))
    check(data, pixels(3, 0), [99, 0, 50])
    check(data.test, pixels(3, 1), [99, 0, 51])
    assert data.classes == data.test.classes == tuple(map(str, range(100)))
    names = [f"name_{i}" for i in range(100)]
    (tmp_path / inside / "fine_label_names.txt").write_text("\n".join(names))
    assert catalog.load_data(str(tmp_path)).classes == tuple(names)


def test_test_data_and_names_may_be_missing(catalog, tmp_path):
    ten(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "batches.meta.txt").unlink()
    data = catalog.load_data(str(tmp_path))
    assert data.test is None
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize(
    "names",
    [
        ["data_batch_1", "batches.meta"],
        ["train", "test", "meta"],
        ["cifar-10-batches-py/data_batch_1"],
        ["cifar-100-python/train", "cifar-100-python/meta"],
    ],
)
def test_the_python_version_is_refused_unopened(catalog, tmp_path, names, monkeypatch):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pickle.dumps({"data": [1]}))
    monkeypatch.delattr(pickle, "load")
    monkeypatch.delattr(pickle, "loads")
    for source in (str(tmp_path), f"cifar:{tmp_path}"):
        with pytest.raises(
            FileError, match=r"expected the binary version, got the Python version, .*; download 'CIFAR bin"
        ):
            catalog.load_data(source)


def test_the_binary_version_is_read_beside_the_python_version(catalog, tmp_path):
    ten(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").touch()
    assert len(catalog.load_data(str(tmp_path))) == 10


def test_one_of_the_two(catalog, tmp_path):
    with pytest.raises(
        FileError, match=r"expected the files of one of CIFAR-10 .* and CIFAR-100 .*, got none; point to"
    ):
        catalog.load_data(f"cifar:{tmp_path}")
    ten(tmp_path / "cifar-10-batches-bin")
    hundred(tmp_path / "cifar-100-binary")
    with pytest.raises(
        FileError, match=r"got .*cifar-10-batches-bin and .*cifar-100-binary; point to the folder of one"
    ):
        catalog.load_data(str(tmp_path))


@pytest.mark.parametrize("name", TEN)
def test_a_missing_batch_is_named(catalog, tmp_path, name):
    (ten(tmp_path) / name).unlink()
    with pytest.raises(
        FileError, match=f"data cifar .*{name}: expected a file that can be read, got FileNotFoundError;"
    ):
        catalog.load_data(str(tmp_path))


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074), bytes(2 * 3074)])
@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_only_whole_pictures(catalog, tmp_path, name, content):
    (ten(tmp_path) / name).write_bytes(content)
    message = f"{name}: expected pictures of 3073 bytes each, got {len(content)} bytes; unpack the archive again"
    with pytest.raises(FileError, match=message):
        catalog.load_data(str(tmp_path))


def test_labels_in_range(catalog, tmp_path):
    (ten(tmp_path / "ten") / "data_batch_2.bin").write_bytes(record(pixels(2, 0), [10, 0]))
    with pytest.raises(
        FileError, match=r"data_batch_2.bin: expected labels from 0 to 9, got 10; unpack the archive again"
    ):
        catalog.load_data(str(tmp_path / "ten"))
    (hundred(tmp_path / "hundred") / "test.bin").write_bytes(record(pixels(1, 0), [0], [100]))
    with pytest.raises(FileError, match=r"test.bin: expected labels from 0 to 99, got 100; unpack the archive again"):
        catalog.load_data(str(tmp_path / "hundred"))


@pytest.mark.parametrize(("content", "got"), [(b"cat\ndog\n", 2), (b"\xff" * 20, 0), (b"", 0)])
def test_names_for_all_classes(catalog, tmp_path, content, got):
    (ten(tmp_path) / "batches.meta.txt").write_bytes(content)
    with pytest.raises(FileError, match=f"batches.meta.txt: expected 10 names as text, got {got}; unpack the archive"):
        catalog.load_data(str(tmp_path))


# ---------------------------------------------------------------------- archives


def archive(folder, path):
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as packed:
        packed.add(folder, folder.name)
    return str(path)


@pytest.mark.parametrize("name", ["cifar-10-binary.tar.gz", "mine.tgz", "mine.tar"])
def test_the_archive_is_read_as_it_is(catalog, tmp_path, name):
    source = archive(ten(tmp_path / "cifar-10-batches-bin"), tmp_path / name)
    for given in (source, f"cifar:{source}"):
        data = catalog.load_data(given)
        check(data, np.concatenate([pixels(2, i) for i in range(5)]), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
        check(data.test, pixels(2, 5), [5, 4])
        assert data.classes == tuple(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["cifar-10-batches-bin", name])


def test_the_archive_of_cifar100(catalog, tmp_path):
    data = catalog.load_data(archive(hundred(tmp_path / "cifar-100-binary"), tmp_path / "cifar-100-binary.tar.gz"))
    check(data, pixels(3, 0), [99, 0, 50])
    check(data.test, pixels(3, 1), [99, 0, 51])


def test_the_archive_of_the_python_version_is_refused_unopened(catalog, tmp_path, monkeypatch):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({"data": [1]}))
    source = archive(tmp_path / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz")
    monkeypatch.delattr(pickle, "loads")
    with pytest.raises(FileError, match="expected the binary version, got the Python version, .*; download 'CIFAR bin"):
        catalog.load_data(source)


def test_another_archive_is_to_be_unpacked(catalog, tmp_path):
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "x.npy", np.zeros((2, 3)))
    np.save(tmp_path / "mine" / "y.npy", np.array([0, 1]))
    source = archive(tmp_path / "mine", tmp_path / "mine.tar.gz")
    with pytest.raises(FileError, match="got none; unpack it, and give the folder with what was in it"):
        catalog.load_data(source)
    (tmp_path / "there").mkdir()
    with tarfile.open(source) as packed:
        packed.extractall(tmp_path / "there", filter="data")
    assert len(catalog.load_data(str(tmp_path / "there" / "mine"))) == 2


def test_archives_that_are_damaged(catalog, tmp_path):
    source = archive(ten(tmp_path / "cifar-10-batches-bin"), tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    for end in range(0, len(whole) // 2, len(whole) // 20):
        (tmp_path / "a.tar.gz").write_bytes(whole[:end])
        with pytest.raises(FileError, match=r"a.tar.gz: expected (a whole archive, got|one data set that reads it)"):
            catalog.load_data(source)


def test_archives_that_lack_a_file_or_promise_too_much(catalog, tmp_path, monkeypatch):
    folder = ten(tmp_path / "cifar-10-batches-bin")
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(FileError, match="a whole archive, got one without data_batch_4.bin; download it again"):
        catalog.load_data(archive(folder, tmp_path / "a.tar.gz"))
    ten(folder)
    monkeypatch.setattr("simulator_plugins.datasets.cifar._LARGEST", 6000)
    with pytest.raises(FileError, match="expected at most 6,000 bytes in .*.bin, got 6,146; download it again"):
        catalog.load_data(archive(folder, tmp_path / "a.tar.gz"))


def test_links_in_an_archive_are_not_followed(catalog, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(record(pixels(2, 0), [0, 1]))
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        first = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
        packed.addfile(first, io.BytesIO())
        for name in TEN:
            link = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            packed.addfile(link)
    with pytest.raises(FileError, match="expected a whole archive, got one without data_batch_1.bin"):
        catalog.load_data(str(tmp_path / "a.tar"))
