"""Data from openml.org, without it: made results of scikit-learn, and scikit-learn itself on a cache of its own."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import sys
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest

from simulator import Catalog, FileError, ShapeError, SimulatorError

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No connection, an empty cache, and no waiting before another try."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)
    monkeypatch.setattr("sklearn.datasets._openml.time.sleep", lambda seconds: None)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))


@pytest.fixture
def given(monkeypatch):
    """Let scikit-learn find `data` and `target`; the calls to it are collected."""

    def give(data, target, categories=None):
        calls = []

        def fetch_openml(name=None, **options):
            calls.append({"name": name, **options})
            return SimpleNamespace(data=data, target=target, categories=categories or {})

        monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
        return calls

    return give


def cache(folder, features, rows, name="tiny", number=12345, version=1):
    """What scikit-learn keeps of a data set: four answers of openml.org and the file itself."""
    attributes = [f"@attribute {feature} {kind}" for feature, kind in features.items()]
    arff = "\n".join(["@relation tiny", *attributes, "@data", *(",".join(map(str, row)) for row in rows)]).encode()
    kinds = {"numeric": "numeric", "string": "string"}
    about = {
        "id": str(number),
        "name": name,
        "version": str(version),
        "format": "ARFF",
        "status": "active",
        "description": "made for a test",
        "url": f"https://www.openml.org/data/v1/download/{number}/tiny.arff",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }
    columns = [
        {
            "index": str(i),
            "name": feature,
            "data_type": kinds.get(kind, "nominal"),
            "is_target": str(feature == "class").lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for i, (feature, kind) in enumerate(features.items())
    ]
    found = {"data": {"dataset": [{"did": number, "name": name, "version": version, "status": "active"}]}}
    listed = f"api/v1/json/data/list/data_name/{name}/limit/2"
    answers = {
        f"{listed}/status/active/": found,
        f"{listed}/data_version/{version}": found,
        f"api/v1/json/data/{number}": {"data_set_description": about},
        f"api/v1/json/data/features/{number}": {"data_features": {"feature": columns}},
        f"api/v1/json/data/qualities/{number}": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": f"{len(rows)}.0"}]}
        },
    }
    files = {path: json.dumps(answer).encode() for path, answer in answers.items()}
    for path, content in {**files, f"data/v1/download/{number}/tiny.arff": arff}.items():
        file = folder / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content))


@pytest.mark.parametrize("source", ["openml:tiny", "openml:Tiny", "openml:tiny@1", "openml:12345"])
def test_scikit_learn_finds_it_by_name_version_and_id(catalog, tmp_path, source):
    features = {"length": "numeric", "class": "{9,10,2}", "width": "numeric"}
    cache(tmp_path, features, [(0.5, 10, 1), (1.5, 2, -1), (2.5, 9, 3), (3.5, 2, 4)])
    data = catalog.load_data(source)
    assert data.inputs.tolist() == [[0.5, 1], [1.5, -1], [2.5, 3], [3.5, 4]]
    assert data.classes == ("2", "9", "10")
    assert data.labels.tolist() == [2, 0, 1, 0]
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.test is None


def test_texts_among_the_features_are_refused(catalog, tmp_path):
    cache(tmp_path, {"title": "string", "class": "{a,b}"}, [("x", "a"), ("y", "b")])
    with pytest.raises(
        FileError,
        match="openml tiny: expected a data set of numbers on openml.org, got ValueError: STRING attributes are not",
    ):
        catalog.load_data("openml:tiny")


def test_a_file_that_the_parser_refuses(catalog, tmp_path):
    cache(tmp_path, {"length": "numeric", "class": "{a,b}"}, [(1, "c")])
    with pytest.warns(RuntimeWarning, match="Invalid cache"), pytest.raises(FileError, match="openml tiny: expected"):
        catalog.load_data("openml:tiny")
    with pytest.raises(FileError, match="openml tiny: expected a connection"):  # the file was thrown away
        catalog.load_data("openml:tiny")


def test_categories_among_the_features_are_refused(catalog, tmp_path):
    cache(tmp_path, {"colour": "{red,green}", "class": "{a,b}"}, [("red", "a"), ("green", "b")])
    with pytest.raises(
        ShapeError, match="openml tiny: expected numbers only, got categories in colour; choose data with"
    ):
        catalog.load_data("openml:tiny")


def test_missing_values_are_refused(catalog, tmp_path):
    cache(tmp_path, {"length": "numeric", "class": "{a,b}"}, [("?", "a"), (2, "b")])
    with pytest.raises(ShapeError, match="data: expected finite numbers, got 1 NaN or infinite ones"):
        catalog.load_data("openml:tiny")


@pytest.mark.parametrize("source", ["iris", "iris@3", "61"])
def test_without_a_connection_it_says_so(catalog, source):
    with pytest.raises(
        FileError,
        match=f"openml {source}: expected a connection to openml.org, got URLError: .*no route.*; connect, or use data "
        "that is bundled: digits",
    ):
        catalog.load_data(f"openml:{source}")


@pytest.mark.parametrize(
    "error",
    [TimeoutError("timed out"), http.client.IncompleteRead(b"x"), ConnectionResetError("reset"), OSError("full")],
)
def test_a_broken_connection_is_no_traceback(catalog, monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "fetch_openml", fail)
    with pytest.raises(FileError, match=f"a connection to openml.org, got {type(error).__name__}: .*; connect, or use"):
        catalog.load_data("openml:iris")


@pytest.mark.parametrize(
    ("source", "reason"),
    [("nothing", "No active dataset nothing found"), ("iris@99", "Dataset iris with version 99 not")],
)
def test_unknown_names_are_told(catalog, monkeypatch, source, reason):
    def unknown(request, *args, **kwargs):  # openml.org answers 412 where it knows no such data set
        raise urllib.error.HTTPError(request.full_url, 412, "Precondition Failed", None, None)

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unknown)
    with pytest.raises(
        FileError, match=f"openml {source}: expected a data set of numbers on openml.org, got OpenMLError: {reason}"
    ):
        catalog.load_data(f"openml:{source}")


@pytest.mark.parametrize(
    "source", ["a/b", "iris@", "iris@x", "iris@0", "iris@-1", "@1", "a b", "a?x=1", "é", "a@1@2", " "]
)
def test_what_is_no_name_is_not_asked_for(catalog, given, source):
    calls = given(np.zeros((1, 1)), np.array([0.0]))
    with pytest.raises(ShapeError, match="expected NAME, NAME@VERSION or the number of a data set, got .*; write for"):
        catalog.load_data(f"openml:{source}")
    assert not calls


def test_no_name_is_a_file_error(catalog):
    with pytest.raises(FileError, match="data openml: expected a name, got none; write openml:NAME"):
        catalog.load_data("openml")


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("mnist_784", {"name": "mnist_784", "version": "active"}),
        ("Fashion-MNIST@2", {"name": "Fashion-MNIST", "version": 2}),
        ("554", {"name": None, "data_id": 554}),
        ("2001(a),b+c.d", {"name": "2001(a),b+c.d", "version": "active"}),
    ],
)
def test_what_scikit_learn_is_asked_for(catalog, given, source, asked):
    calls = given(np.zeros((2, 3)), np.array(["a", "b"], object))
    catalog.load_data(f"openml:{source}")
    assert calls == [{**asked, "as_frame": False, "parser": "liac-arff"}]


PICTURES = np.random.default_rng(0).integers(0, 256, (5, 48)).astype(np.float64)
PICTURES[0, 0] = 255
LABELS = np.array(["cat", "dog", "ant", "dog", "cat"], object)


def test_labels_are_numbered_in_the_order_of_their_names(catalog, given):
    given(PICTURES, LABELS)
    data = catalog.load_data("openml:pets")
    assert data.classes == ("ant", "cat", "dog")
    assert data.labels.tolist() == [1, 2, 0, 2, 1]
    assert np.array_equal(data.inputs, PICTURES)  # as they are: without a shape nothing says that they are pictures
    given(np.zeros((4, 1)), np.array(["10", "9", "x", "10"], object))
    assert catalog.load_data("openml:mixed").classes == ("10", "9", "x")


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 6, 8), (12, 4), (48,), (2, 2, 3, 4)])
def test_features_fill_the_shape_in_order(catalog, given, shape):
    given(PICTURES, LABELS)
    data = catalog.load_data("openml:pets", shape)
    expected = PICTURES.reshape(5, *shape) / (255 if len(shape) == 3 else 1)
    np.testing.assert_allclose(data.inputs, expected, rtol=1e-6)
    assert data.inputs.dtype == np.float32


def test_square_pictures_come_in_any_size(catalog, given):
    given(np.full((2, 3 * 64), 255.0), np.array(["a", "b"], object))
    data = catalog.load_data("openml:pets", (3, 7, 9))
    assert data.inputs.shape == (2, 3, 7, 9)
    assert np.array_equal(data.inputs, np.ones((2, 3, 7, 9)))
    given(np.tile(np.arange(28.0), (2, 28)), np.array(["a", "b"], object))  # a ramp from left to right, not to 255
    data = catalog.load_data("openml:ramp", (1, 14, 14))
    middles = np.tile(np.arange(14) * 2 + 0.5, (14, 1))[:, 1:-1]
    np.testing.assert_allclose(data.inputs[0, 0, :, 1:-1], middles, rtol=1e-6)
    assert data.preparation.told == "784 numbers taken as 1x28x28; resized from 28x28 to 14x14"


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 4), (49,), (), (0, 4, 4), (-3, -4, 4)])
def test_other_numbers_of_features_do_not_fit(catalog, given, shape):
    given(PICTURES, LABELS)
    with pytest.raises(
        ShapeError, match=r"openml pets: expected features that fill samples of shape \(.*got 48; use a"
    ):
        catalog.load_data("openml:pets", shape)


def test_pictures_in_other_units_stay_as_they_are(catalog, given):
    for data in (PICTURES / 255, PICTURES - 1, np.minimum(PICTURES, 254)):
        given(data, LABELS)
        np.testing.assert_allclose(
            catalog.load_data("openml:pets", (3, 4, 4)).inputs, data.reshape(5, 3, 4, 4), rtol=1e-6
        )


def test_numbers_as_targets_are_values(catalog, given):
    given(np.zeros((3, 2)), np.array([0.5, 1, 2]))
    data = catalog.load_data("openml:cpu")
    assert (data.targets.tolist(), data.targets.dtype, data.labels, data.classes) == ([0.5, 1, 2], np.float32, None, ())
    given(np.zeros((3, 2)), np.ones((3, 4)))
    assert catalog.load_data("openml:cpu").targets.shape == (3, 4)


def test_sparse_features_are_filled_up(catalog, given):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 2.0, 0], [1, 0, 0]])
    given(sparse.csr_array(dense), np.array(["a", "b"], object))
    assert np.array_equal(catalog.load_data("openml:words").inputs, dense)


@pytest.mark.parametrize(
    ("target", "got"), [(None, "none"), (np.array([["a", "b"]] * 2, object), "2 columns of categories")]
)
def test_the_target_is_one_column(catalog, given, target, got):
    given(np.zeros((2, 3)), target)
    with pytest.raises(
        ShapeError, match=f"openml x: expected one column of classes or numbers as the target, got {got};"
    ):
        catalog.load_data("openml:x")


def test_features_are_numbers(catalog, given):
    given(np.array([["a"], ["b"]], object), np.array(["a", "b"], object))
    with pytest.raises(
        ShapeError, match=r"openml x: expected numbers \(n, features\), got object \(2, 1\); choose data"
    ):
        catalog.load_data("openml:x")


def test_scikit_learn_is_asked_for_where_it_is_missing(catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SimulatorError, match=r"expected scikit-learn, .*; pip install scikit-learn"):
        catalog.load_data("openml:iris")
