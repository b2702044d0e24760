"""What was trained on and what was held out: who decides, what a file keeps, and what it may not hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from simulator import Catalog, Dataset, Dense, FileError, Network, ShapeError, load, save
from simulator.splits import Splits, checksum, fingerprints, split_of_0_1


def numbered(first, last, seed=0):
    """Samples that hold their own number."""
    return Dataset(np.arange(first, last, dtype=np.float32)[:, None], np.arange(first, last) % 2, ("a", "b"))


def held(split):
    return np.flatnonzero(split.held_out).tolist()


def test_a_share_of_new_data_is_held_out():
    data = numbered(0, 40)
    (split,) = Splits().on(data, "forty", 0.25, 3).all
    rest, apart = split.parts(data)
    expected, held_out = data.split(0.25, 3)
    assert np.array_equal(rest.inputs, expected.inputs)
    assert np.array_equal(apart.inputs, held_out.inputs)
    assert (split.source, split.rule, split.share, split.seed) == ("forty", "share", 0.25, 3)
    assert repr(split) == "Split of forty: 30 samples to train on, 10 held out"


def test_the_same_data_keep_their_split_and_move_to_the_end():
    first = Splits().on(numbered(0, 40), "a", 0.25, 0)
    both = first.on(numbered(40, 60), "b", 0.5, 0)
    again = both.on(numbered(0, 40), "another name", 0.5, 9)
    assert [split.source for split in again.all] == ["b", "another name"]
    assert np.array_equal(again.all[1].held_out, first.all[0].held_out)
    assert (again.all[1].share, again.all[1].seed) == (0.25, 0)


def test_what_was_trained_on_is_never_held_out_and_what_was_held_out_stays_so():
    first = Splits().on(numbered(0, 40), "a", 0.25, 0)
    more = first.on(numbered(20, 60), "b", 0.5, 1)
    old, new = first.all[0].held_out, more.all[1].held_out
    assert np.array_equal(new[:20], old[20:])
    assert new[20:].sum() == 10  # half of the 20 new ones
    nothing_new = first.on(numbered(10, 30), "c", 0.9, 1).all[1]
    assert (nothing_new.rule, nothing_new.share, nothing_new.seed) == ("earlier", None, None)
    assert np.array_equal(nothing_new.held_out, old[10:30])


def test_test_samples_of_the_source_are_held_out_without_a_copy():
    data = replace(numbered(0, 10), test=numbered(10, 14))
    (split,) = Splits().on(data, "both", 0.5, 0).all
    rest, apart = split.parts(data)
    assert (split.rule, held(split)) == ("source", [10, 11, 12, 13])
    assert rest.inputs is data.inputs
    assert apart is data.test
    assert rest.test is None


def test_test_samples_that_were_trained_on_are_not_held_out():
    first = Splits().on(numbered(10, 14), "a", 0.5, 0)
    data = replace(numbered(0, 10), test=numbered(10, 16))
    split = first.on(data, "b", 0.5, 0).all[1]
    assert held(split) == [10 + i for i in range(6) if i >= 4 or first.all[0].held_out[i]]
    rest, apart = split.parts(data)
    assert sorted([*rest.inputs[:, 0], *apart.inputs[:, 0]]) == list(range(16))
    assert apart.inputs[:, 0].tolist() == held(split)


def test_nothing_left_on_one_side_is_refused():
    first = Splits().on(numbered(0, 40), "a", 0.25, 0)
    seen = numbered(0, 40).take(~first.all[0].held_out)
    with pytest.raises(ShapeError, match="data split: expected samples on both sides, got 30 and 0 of 30; use another"):
        first.on(seen, "b", 0.25, 0)


def test_of_any_data_it_is_known_what_was_trained_on():
    splits = Splits().on(numbered(0, 40), "a", 0.25, 0)
    old = splits.all[0].held_out
    prints = fingerprints(numbered(30, 50))
    assert np.array_equal(splits.trained_on(prints), [*~old[30:], *[False] * 10])
    assert np.array_equal(splits.held_out(prints), [*old[30:], *[False] * 10])
    assert np.array_equal(splits.unseen(prints), ~splits.trained_on(prints))
    assert splits.of(prints) is None
    assert splits.of(fingerprints(numbered(0, 40))) is splits.all[0]
    assert not Splits().trained_on(prints).any()


def test_a_checksum_is_that_of_the_whole_data():
    data = numbered(0, 10)
    same = checksum(data, fingerprints(data))
    for other in (
        replace(data, targets=1 - data.targets),
        replace(data, classes=("a", "c")),
        data.take(slice(9)),
        data.take([1, 0, *range(2, 10)]),
        replace(data, test=numbered(10, 12)),
        replace(data, inputs=data.inputs + 1),
    ):
        assert checksum(other, fingerprints(other)) != same
    twin = Dataset(data.inputs.astype(np.float64), data.targets.astype(np.int32), ["a", "b"])
    assert checksum(twin, fingerprints(twin)) == same


def test_a_split_of_0_1_0_never_changes():
    """Files of that version remember share and seed only: each label is cut at the rounded share."""
    order = np.random.default_rng(7).permutation(20)
    expected = [order[order % 2 == label][:2] for label in (0, 1)]  # round(0.25 * 10) = 2 of each label
    assert held(split_of_0_1(numbered(0, 20), "data", 0.25, 7)) == sorted(np.concatenate(expected).tolist())
    data = replace(numbered(0, 10), test=numbered(10, 14))
    assert held(split_of_0_1(data, "data", 0.25, 7)) == [10, 11, 12, 13]


@pytest.mark.parametrize("name", ["digits", "xo"])
def test_bundled_data_are_recognised(name):
    catalog = Catalog()
    shapes = ((1, 8, 8), (1, 13, 9)) if name == "digits" else ((1, 8, 8), (1, 8, 8))
    if name == "digits":
        pytest.importorskip("sklearn")
    first, second = (fingerprints(catalog.load_data(name, shape)) for shape in shapes)
    assert np.array_equal(first, second)
    assert len(np.unique(first)) == len(first)


# ---------------------------------------------------------------------- files


@pytest.fixture
def saved(tmp_path):
    """A file with two splits, and how to damage it."""
    network = Network.sequential((1,), [Dense(2)], rng=0)
    splits = replace(Splits().on(numbered(0, 40), "a", 0.25, 0).on(numbered(30, 60), "b", 0.5, 2), complete=False)
    save(tmp_path / "net", network, splits=splits)
    return tmp_path / "net", splits


def test_a_file_keeps_the_splits(saved):
    path, splits = saved
    again = load(path).splits
    assert again.complete is False
    for one, other in zip(splits.all, again.all, strict=True):
        for name in ("source", "rule", "share", "seed", "checksum"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.fingerprints, other.fingerprints)
        assert np.array_equal(one.held_out, other.held_out)
    save(path, load(path).network)
    assert load(path).splits is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("splits", 5, "a list of data sets"),
        ("splits", {"complete": 1, "all": []}, "a list of data sets"),
        ("splits", {"complete": True, "all": {}}, "a list of data sets"),
        ("splits", {"complete": True, "all": [7]}, "a list of data sets"),
        ("splits", {"complete": True, "all": [{}]}, "its name, rule, share, seed and checksum"),
        ("source", 5, "its name, rule, share, seed and checksum"),
        ("rule", "mood", "its name, rule, share, seed and checksum"),
        ("rule", ["share"], "its name, rule, share, seed and checksum"),
        ("share", "x" * 100, "its name, rule, share, seed and checksum"),
        ("share", True, "its name, rule, share, seed and checksum"),
        ("seed", [10**9] * 5, "its name, rule, share, seed and checksum"),
        ("checksum", None, "its name, rule, share, seed and checksum"),
        ("fingerprints", None, "fingerprints of 64 bits"),
        ("fingerprints", np.zeros(40), "fingerprints of 64 bits"),
        ("fingerprints", np.zeros((4, 10), np.uint64), "fingerprints of 64 bits"),
        ("held_out", None, "a yes or no for each sample"),
        ("held_out", np.zeros(39, bool), "a yes or no for each sample"),
        ("held_out", np.zeros(40, np.uint8), "a yes or no for each sample"),
    ],
)
def test_a_damaged_file_is_refused(key, value, message, saved):
    import json

    path, _ = saved
    arrays = load_file(path)
    with safe_open(path, framework="np") as file:
        content = json.loads(file.metadata()["simulator"])
    if key in ("fingerprints", "held_out"):
        arrays.pop(f"split/0/{key}")
        if value is not None:
            arrays[f"split/0/{key}"] = value
    elif key == "splits":
        content["splits"] = value
    else:
        content["splits"]["all"][0][key] = value
    save_file(arrays, path, {"simulator": json.dumps(content)})
    with pytest.raises(FileError, match=f"expected {message} .*the file is damaged") as error:
        load(path)
    assert len(str(error.value)) < 300 + len(str(path))
